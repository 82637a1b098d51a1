"""A list that takes many requests, one for each of some items: who failed, who is gone, and what that proves."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypeVar

from pdsync.errors import error
from pdsync.sources.pagerduty.listing import Listing
from pdsync.sources.pagerduty.problems import ENOUGH_TROUBLE, is_trouble, some_missing
from pdsync.sources.pagerduty.tasks import each
from pdsync.transport import ApiError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Mapping

    from pdsync.errors import Diagnostic
    from pdsync.kinds import Kind
    from pdsync.sources.pagerduty.listing import Tally
    from pdsync.sources.pagerduty.shelf import Shelf

T = TypeVar("T")

AT_ONCE = 16
"""How many items are worked on at a time; how many requests are in flight is up to the client."""

_GONE = 404
_FORBIDDEN = 403
_FOR_ALL = frozenset({401, 402, 429})
"""Answers that hold for every further request of the same sort."""

_REFUSALS = 3
"""So many 403 without one good answer hold for the rest, too; some objects may be closed to us and others open."""


@dataclass(slots=True)
class _Toll:
    """What became of the items so far."""

    read: dict[str, Listing] = field(default_factory=dict)
    failed: dict[str, Listing] = field(default_factory=dict)
    gone: list[str] = field(default_factory=list)
    unasked: int = 0
    refusals: int = 0
    troubles: int = 0
    final: bool = False

    def take(self, name: str, listing: Listing) -> None:
        """Note how an item went."""
        status = listing.failure.status if isinstance(listing.failure, ApiError) else 0
        if status == _GONE:
            self.gone.append(name)
        elif listing.problem:
            self.failed[name] = listing
        else:
            self.read[name] = listing
        self.refusals += status == _FORBIDDEN
        self.troubles = self.troubles + is_trouble(listing.failure) if listing.problem else 0
        closed = status in _FOR_ALL or (self.refusals >= _REFUSALS and not self.read)
        self.final = closed or self.troubles >= ENOUGH_TROUBLE


class Apart(Generic[T]):
    """Reads `kind` item by item.

    Args:
        kind: what is read.
        work: reads what belongs to one item.
        still_there: the names of the items that exist now; asked when some answered 404, for what has vanished
            meanwhile leaves no hole, and what has not, does.
        tally: counts items as they are done.
        shelf: where records are.
    """

    def __init__(
        self,
        kind: Kind,
        work: Callable[[T], Awaitable[Listing]],
        still_there: Callable[[], Awaitable[Collection[str]]],
        tally: Tally,
        shelf: Shelf,
    ) -> None:
        self._kind = kind
        self._work = work
        self._still_there = still_there
        self._tally = tally
        self._shelf = shelf

    async def read(self, items: Mapping[str, T]) -> Listing:
        """Everything, in the order of the items; incomplete where an item could not be read, which is then named."""
        toll = _Toll()

        async def work(item: tuple[str, T]) -> None:
            if toll.final:
                toll.unasked += 1
            else:
                toll.take(item[0], await self._work(item[1]))
            self._tally.add(1)

        self._tally.expect(len(items))
        await each(items.items(), work, AT_ONCE)
        await self._look_for(toll)
        return self._summed_up(toll, items)

    async def _look_for(self, toll: _Toll) -> None:
        """Who answered 404 although it is there has failed."""
        there = await self._still_there() if toll.gone else ()
        for name in toll.gone:
            if name in there:
                toll.failed[name] = Listing(problem=_hidden(self._kind, name))

    def _summed_up(self, toll: _Toll, items: Mapping[str, T]) -> Listing:
        records = self._shelf.rows()
        for name in items:
            for listing in (toll.read.get(name), toll.failed.get(name)):
                if listing:
                    records.add_missing(listing.records)
        named = [(name, toll.failed[name].problem) for name in items if name in toll.failed]
        failed = [(name, problem) for name, problem in named if problem]
        if not failed:
            return Listing(records)
        problem = some_missing(self._kind, failed, toll.unasked, len(items))
        failure = None if toll.read else next(iter(toll.failed.values())).failure
        return Listing(records, problem=problem, failure=failure)


def _hidden(kind: Kind, name: str) -> Diagnostic:
    detail = f"{kind.name}: PagerDuty answered 404 although {name} is there"
    return error("PD320", "a list could not be read completely", detail=detail)
