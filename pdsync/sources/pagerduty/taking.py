"""Takes lists out of other lists, where PagerDuty agrees.

What records tell plainly is taken as it is.  Any other list that is to be taken from another one is begun on its own:
its first page tells how much there is, and how its records look.  If that is all of it, it is done; otherwise it is
taken from the other one, provided that as much is found there and that it looks the same.  If not, it is read on from
the page that there is.  So whatever is put together, no list costs more requests than on its own, and none depends on
how another one was widened: what is not complete, is read again on its own.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

import msgspec

from pdsync.sources.pagerduty.listing import Listing
from pdsync.sources.pagerduty.picking import beyond, chooser, cutter, picker
from pdsync.sources.pagerduty.shares import differences
from pdsync.sources.pagerduty.tasks import together
from pdsync.transport import ApiError, Unreachable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
    from datetime import datetime

    from pdsync.sources.pagerduty.listing import Asker, Beginning, Lister, ListKey
    from pdsync.sources.pagerduty.shares import Share, Shares
    from pdsync.sources.pagerduty.shelf import Shelf

K = TypeVar("K", bound="Hashable")
T = TypeVar("T")

_FOR_ALL = frozenset({401, 402, 403, 429})
"""Answers that another list of the same kind would get as well."""


class Once(Generic[K, T]):
    """What is done once, by whoever asks first; the others wait for it, and stop waiting when that is stopped."""

    def __init__(self) -> None:
        self._done: dict[K, asyncio.Future[T]] = {}

    async def get(self, key: K, job: Callable[[], Awaitable[T]]) -> T:
        """What `job` gives, or gave."""
        if key not in self._done:
            future = self._done[key] = asyncio.get_running_loop().create_future()
            try:
                future.set_result(await job())
            except BaseException:
                future.cancel()
                raise
        return await asyncio.shield(self._done[key])


class Hands(NamedTuple):
    """What taking needs of a reading: `listing` reads a list, `apart` on its own, `lister` is who would."""

    listing: Callable[[Asker, ListKey], Awaitable[Listing]]
    apart: Callable[[Asker, ListKey, Beginning | None], Awaitable[Listing]]
    lister: Callable[[Asker, ListKey], Lister]
    shelf: Shelf


class Taker:
    """Takes lists as the shares say.

    Args:
        shares: what is taken from what.
        hands: what it is done with.
        now: the moment that relative ones refer to.
    """

    def __init__(self, shares: Shares, hands: Hands, now: datetime) -> None:
        self._shares = shares
        self._hands = hands
        self._now = now
        self._begun: Once[ListKey, Beginning | Listing] = Once()
        self._found: set[ListKey] = set()

    def told(self, key: ListKey, asked: Sequence[ListKey]) -> str:
        """In words, what a list that was read has to do with others of its kind that somebody asked for."""
        others = [other for other in asked if other[0] == key[0] and other != key]
        served = [share.whole for other, share in self._shares.taken.items() if other in self._found]
        if key in self._found or key in served or asked.count(key) > 1:
            return "shared"
        names = differences(key, others)
        return f"apart: other {', '.join(names)}" if names else ""

    async def take(self, asker: Asker, key: ListKey) -> Listing:
        """A list: taken from another one, or read on its own."""
        share = self._shares.taken.get(key)
        if share is None:
            return await self._hands.apart(asker, key, None)
        begun = None if share.plain else await self._beginning(asker, key)
        if isinstance(begun, Listing):
            return begun
        try:
            if begun is None:
                found = await self._plainly(asker, key, share)
            else:
                found = await self._elsewhere(asker, key, share, begun)
        except msgspec.DecodeError:  # a record is not what it should be: nobody but PagerDuty tells what it belongs to
            found = None
        if found is None:
            return await self._hands.apart(asker, key, begun)
        self._found.add(key)
        return found

    async def _plainly(self, asker: Asker, key: ListKey, share: Share) -> Listing | None:
        """What another list has of it, as its records tell; None where that list does not tell it."""
        whole = await self._hands.listing(asker, share.whole)
        return self._picked(key, share.whole, whole) if _serves(whole) else None

    async def _beginning(self, asker: Asker, key: ListKey) -> Beginning | Listing:
        return await self._begun.get(key, lambda: self._hands.lister(asker, key).begin(self._now))

    async def _elsewhere(self, asker: Asker, key: ListKey, share: Share, begun: Beginning) -> Listing | None:
        """What another list has of it; None unless that is all of it, and as PagerDuty gives it."""
        if begun.is_all or begun.total is None or not await self._is_worth(asker, share.whole):
            return None
        whole = await self._hands.listing(asker, share.whole)
        if whole.problem:
            return None
        taken, reaching = self._picked(key, share.whole, whole), beyond(key, self._now)
        rest = await self._rest(asker, share, begun, whole, begun.total - len(taken.records))
        if rest is None or (reaching and _differ(taken.records, rest.records)):
            return None
        records = self._hands.shelf.rows() | taken.records | rest.records
        same_form = cutter(key, share.whole) is None and not reaching
        shown = all(_is_shown(each, begun, records) for each in reaching)
        agreed = shown and _agrees(begun, records, same_form=same_form)
        old, empty = taken.taken.difference(rest.records), (*taken.empty, *rest.empty)
        return replace(taken, records=records, taken=old, empty=empty) if agreed else None

    async def _is_worth(self, asker: Asker, whole: ListKey) -> bool:
        """Whether a list that nobody asked for saves anything: one that would be read besides is longer than a page."""
        if whole not in self._shares.widened:
            return True
        rivals = self._shares.rivals(whole)
        if any(share.plain for share in rivals.values()):
            return True
        begun = await together(self._beginning(asker, key) for key in rivals)
        return any(isinstance(each, Listing) or not each.is_all for each in begun)

    async def _rest(self, asker: Asker, share: Share, begun: Beginning, whole: Listing, left: int) -> Listing | None:
        """What the other list lacks, which are so many records; None where reading that is no less than reading all.

        What is in both comes again.
        """
        if share.rest is None or left <= 0:
            return Listing()
        again = sum(map(picker(share.rest, share.whole, self._now), whole.records.values()))
        if self._hands.lister(asker, share.rest).at_most(left + again, self._now) >= begun.to_come:
            return None
        rest = await self._hands.listing(asker, share.rest)
        return None if rest.problem else rest

    def _picked(self, key: ListKey, whole: ListKey, listing: Listing) -> Listing:
        """What belongs to a list, in the form that it has there."""
        wanted, cut = picker(key, whole, self._now), cutter(key, whole)
        every = self._hands.shelf.rows() | listing.records
        belonging = every.only(id_ for id_, raw in every.items() if wanted(raw))
        picked = list(chooser(key, whole, self._now)(belonging))
        records = every.only(picked)
        if cut:
            records = self._hands.shelf.keep((id_, cut(raw)) for id_, raw in records.items())
        return Listing(
            records,
            problem=listing.problem,
            failure=listing.failure,
            taken=listing.taken.intersection(picked),
            missing=listing.missing,
            empty=listing.empty,
            notes=listing.notes,
        )


def _serves(whole: Listing) -> bool:
    """Whether a list says all that one of its parts would say: it is complete, or nothing of its kind can be read."""
    failure = whole.failure
    return whole.problem is None or isinstance(failure, Unreachable) or _is_for_all(failure)


def _is_for_all(failure: Exception | None) -> bool:
    return isinstance(failure, ApiError) and failure.status in _FOR_ALL


def _differ(some: Mapping[str, bytes], others: Mapping[str, bytes]) -> bool:
    """Whether any record that is among both is not told alike there."""
    return any(some[id_] != raw for id_, raw in others.items() if id_ in some)


def _agrees(begun: Beginning, records: Mapping[str, bytes], *, same_form: bool) -> bool:
    """Whether there are as many records as PagerDuty counts, and those of the first page are there as it has them."""
    return len(records) == begun.total and all(
        id_ in records and (same_form or records[id_] == raw) for id_, raw in begun.rows.items()
    )


def _is_shown(odd: Callable[[bytes], bool], begun: Beginning, records: Mapping[str, bytes]) -> bool:
    """Whether the first page shows how such records look, if there are any."""
    return any(map(odd, begun.rows.values())) or not any(map(odd, records.values()))
