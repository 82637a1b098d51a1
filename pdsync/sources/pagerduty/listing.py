"""Reading whole lists, and proving that they are whole.

A list is paged by offset while it changes.  Each page is asked for with some rows of the one before it, so that the
two can be held against each other.  Pages are read at once first; if they do not fit together or do not add up to
what PagerDuty counted, the list is walked again, page by page, stepping back where rows vanished.  Only a list that
was read without a gap, to its end, and adds up, is complete.

At most 10 000 rows of a list can be reached (PagerDuty REST API, Pagination); longer lists are cut by time where
the kind has a time (`Window`), otherwise the rest is missing and said to be.  Nobody promises that PagerDuty counts
further than it gives: a list of 10 000 rows is one of so many or more.  A list that is read by cursor is
complete when the last page names no other; one that is not paged at all, when it does not say that there is more and
did not give as much as it ever gives.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import pairwise, zip_longest
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol, TypeVar

from pdsync.errors import Diagnostic, Interrupted, PdsyncError
from pdsync.sources.pagerduty.coming import Coming, Stretch
from pdsync.sources.pagerduty.moments import OLDEST, Params, Span, body_of, moment, span_of, unbounded, wire_params
from pdsync.sources.pagerduty.problems import REACH, cut_short, miscounted, repeated, too_long, unreadable
from pdsync.sources.pagerduty.records import FieldReader, Malformed, Page, PageReader, malformed
from pdsync.sources.pagerduty.shelf import IN_MEMORY, Rows
from pdsync.sources.pagerduty.tasks import Turns, together
from pdsync.sources.pagerduty.trail import OWN_ID, Trail, is_named_once

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator

    from pdsync.kinds import Kind, Paging, Window
    from pdsync.model import Json
    from pdsync.sources import Progress
    from pdsync.sources.pagerduty.shelf import Kept, Shelf
    from pdsync.transport import Reply

_A_PART = REACH * 3 // 4
"""How many rows a slice shall have, about: those that have more than can be reached are cut once more."""

_SLICES_AT_ONCE = 2
"""So many slices are read at the same time: enough for there always to be something to ask, and few enough for the
first ones to be done long before the last."""

_SHORTEST_SLICE = timedelta(seconds=2)
_LOOK_BACK = (30, 90, 365, 3 * 365)
"""Days within which the beginning of a list that cannot be sorted is looked for, before all there can be is taken."""

_NOTHING = "PagerDuty says there is more and gives nothing"

T = TypeVar("T")

ListKey = tuple[str, Params]
"""A list: kind and parameters, as in a query."""


class Asker(Protocol):
    """Sends requests; `pdsync.transport.ApiClient` is one."""

    async def send(
        self,
        method: str,
        path: str,
        *,
        params: Sequence[tuple[str, str]] = (),
        body: Json | bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """The answer to a request that does no harm when repeated."""
        ...


class Tally:
    """Counts the rows of a list, or of a part of one, as they come in, and tells `progress`."""

    def __init__(self, what: str, progress: Progress | None, whole: Tally | None = None) -> None:
        self._what = what
        self._progress = progress
        self._whole = whole
        self._done = 0
        self._total: int | None = None
        self._is_told = False

    def part(self) -> Tally:
        """What counts the rows of a part: they are rows of the whole."""
        return Tally(self._what, None, self)

    def expect(self, total: int | None) -> None:
        """So many rows are to come in all; a whole that nobody told how many has as many as its parts."""
        more = (total or 0) - (self._total or 0)
        self._total, self._is_told = total, total is not None
        if self._whole and more:
            self._whole.expect_in_part(more)

    def expect_in_part(self, more: int) -> None:
        """So many rows more are to come in a part."""
        if not self._is_told:
            self._total = (self._total or 0) + more
            if self._whole:
                self._whole.expect_in_part(more)

    def add(self, rows: int) -> None:
        """So many rows came in."""
        self._done += rows
        if self._whole:
            self._whole.add(rows)
        if self._progress:
            self._progress(self._what, self._done, self._total)

    def end(self) -> None:
        """No more come."""
        if self._progress:
            self._progress(self._what, self._done, self._done)


@dataclass(frozen=True, slots=True)
class Listing:
    """Records by id as read, in order; why they are not all (None: they are); what stopped the reading, if anything.

    `missing` are records that were listed before, and their parents: what they would be listed under came too short.
    So are those that have `moved`: their parent is now of a sort under which nothing is listed here.
    `empty` are the stretches of time, of a list that was cut by time, of which it has nothing.  `counted` is how many
    PagerDuty says there are.  `taken` are the ids of records that were not read but taken over from an earlier
    snapshot.  `upgraded` are those of schedules that are shift-based; None where PagerDuty does not give their list.
    `notes` tell what else there is to know.
    """

    records: Mapping[str, bytes] = field(default_factory=dict)
    counted: int | None = None
    problem: Diagnostic | None = None
    failure: PdsyncError | None = None
    taken: frozenset[str] = frozenset()
    missing: Mapping[str, str] = field(default_factory=dict)
    moved: Mapping[str, str] = field(default_factory=dict)
    empty: tuple[Stretch, ...] = ()
    upgraded: frozenset[str] | None = frozenset()
    notes: tuple[Diagnostic, ...] = ()


@dataclass(frozen=True, slots=True)
class Place:
    """Where a list is: its path with everything filled in, and who reads its pages."""

    path: str
    reader: PageReader


@dataclass(frozen=True, slots=True)
class Beginning:
    """The first page of a list, or of each part that it is to be cut into by time.

    `total` is how many records there are in all, if that is told, `to_come` how many requests the rest takes at least.
    """

    pages: Sequence[Page]
    rows: Rows
    total: int | None
    to_come: int

    @property
    def is_all(self) -> bool:
        """Whether nothing follows, as far as is told."""
        return all(page.more is False for page in self.pages)


class Lister:
    """Reads one list of one kind, with parameters as they are sent, onto a shelf.

    `place` is for a kind with parts to fill in; `came` is told of what is there of a list that goes by time, and of the
    time it is of: of the parts of one that is cut, each as soon as it is whole, of any other one by pages; `turns` is
    what parts wait for, the earliest first.
    """

    def __init__(
        self,
        asker: Asker,
        kind: Kind,
        params: Params,
        tally: Tally,
        *,
        place: Place | None = None,
        shelf: Shelf = IN_MEMORY,
        came: Callable[[Rows, Stretch], None] | None = None,
        turns: Turns | None = None,
    ) -> None:
        self._asker = asker
        self._kind = kind
        self._params = params
        self._tally = tally
        self._came = came
        self._turns = turns or Turns(_SLICES_AT_ONCE)
        self._place = place or Place(
            kind.path, PageReader(kind, moment=kind.window.field if came and kind.window else "")
        )
        self._shelf = shelf
        by_pages = came if self._goes_by_time and not turns else None
        self._coming = Coming(by_pages, shelf, self._stretch) if by_pages else None

    async def read(self, now: datetime, begun: Beginning | None = None) -> Listing:
        """The whole list, or as much as could be had with the reason in `problem`.  Raises only `Interrupted`.

        It is read on from where it was begun, if it was.
        """
        self._tally.add(0)
        listing = await self._told(self._on_from(begun.pages, now) if begun else _WAYS[self._kind.paging](self, now))
        self._tally.end()
        return listing

    async def begin(self, now: datetime) -> Beginning | Listing:
        """The beginning of a list that is paged by offset; a listing with the reason if it could not be had."""
        return await self._told(self._begun(now))

    async def _told(self, job: Awaitable[T]) -> T | Listing:
        """What `job` gives; or why it gives nothing."""
        try:
            return await job
        except Interrupted:
            raise
        except PdsyncError as failure:
            return Listing(problem=unreadable(self._kind, failure), failure=failure)
        except ValueError:
            odd = malformed(self._kind, "a record has no time")
            return Listing(problem=unreadable(self._kind, odd), failure=odd)

    async def count(self, now: datetime) -> int | None:
        """How many rows PagerDuty says there are, in all parts where it may not count further.

        Raises what `send` raises.
        """
        total = (await self._at(0, 1, ("total", "true"))).total
        if _is_told(total):
            return total
        window = self._kind.window
        span = span_of(window, self._params, now) if window else None
        if total is None or window is None or span is None or span.width < _SHORTEST_SLICE:
            return None
        parts = span.cut(timedelta(days=window.widest_days))
        return _sum(await together(self._within(window, part).count(now) for part in parts))

    async def _page(self, *extra: tuple[str, str]) -> Page:
        """A page; one that cannot be understood, as if it broke off on its way, is asked for once more."""
        try:
            return self._put(await self._answer(extra))
        except Malformed:
            return self._put(await self._answer(extra))

    def _put(self, content: bytes) -> Page:
        """The page in an answer; one that belongs to a parent is not known again, as its records are told of it."""
        reader = self._place.reader
        return reader.read(content).put_on(self._shelf) if self._kind.parents else self._shelf.page(reader, content)

    async def _answer(self, extra: Params) -> bytes:
        kind, path, headers = self._kind, self._place.path, dict(self._kind.headers)
        if kind.method == "POST":
            body = body_of(kind, self._params) | {k: int(v) if k == "limit" else v for k, v in extra}
            return (await self._asker.send("POST", path, body=body, headers=headers)).content
        return (await self._asker.send("GET", path, params=(*self._params, *extra), headers=headers)).content

    async def _at(self, offset: int, size: int, *extra: tuple[str, str]) -> Page:
        """Rows from an offset, and whether there is more, as far as that is told."""
        asked = min(size, REACH - offset)
        told = extra if self._kind.counted else ()
        page = await self._page(("limit", str(asked)), ("offset", str(offset)), *told)
        page.more = _is_followed(page, offset, asked)
        return page

    @property
    def _limit(self) -> Params:
        return (("limit", str(self._kind.page_size)),) if self._kind.page_size else ()

    # --- in one answer, by cursor

    def _may_hide(self, page: Page) -> bool:
        """Whether a first page that is empty is not believed at once: no count says so, and asking again costs little.

        It would where there is a page for every parent; of what has a daily quota, it is one request a day.
        """
        return not (page.ids or page.total is not None or self._kind.parents)

    async def in_one(self, _now: datetime) -> Listing:
        """A list that is not paged."""
        page = await self._page(*self._limit)
        if self._may_hide(page) or self._repeats(page):
            page = await self._page(*self._limit)
        self._tally.add(len(page.ids))
        if again := self._repeats(page):
            return Listing(self._merged([page]), page.total, repeated(self._kind, len(page.ids) - again, again))
        why = None
        if page.more or page.next or (page.total or 0) > len(page.ids):
            why = "PagerDuty says there is more but no way to ask for it"
        elif (most := self._kind.most or (page.limit if page.more is None else 0)) and len(page.ids) >= most:
            why = f"PagerDuty gives {most} records at most, so there may be more"
        return Listing(self._merged([page]), page.total, cut_short(self._kind, why) if why else None)

    def _repeats(self, page: Page) -> int:
        """How many rows of a page came before on it, perhaps in place of others."""
        return len(page.ids) - len(set(page.ids)) if is_named_once(self._kind) else 0

    async def by_cursor(self, now: datetime) -> Listing:
        """A list whose pages name the next one; followed once more if rows came again, perhaps in place of others."""
        if parts := self._too_wide(now):
            return await self._in_slices(*parts, None, now)
        listing, again = await self._followed()
        if again:
            listing, again = await self._followed()
        problem = repeated(self._kind, len(listing.records), again) if again else None
        return replace(listing, problem=listing.problem or problem)

    async def _followed(self) -> tuple[Listing, int]:
        """The list as far as its pages lead to any that are new, and how many rows came that had come before."""
        places: dict[str, Kept] = {}
        records = self._shelf.rows(places)
        cursors: list[str] = []
        seen: set[tuple[str, ...]] = set()
        again = 0
        last: Page | None = None
        while True:
            page = await self._after(cursors[-1:])
            new = _add(places, page)
            known = len(page.ids) - new if is_named_once(self._kind) else 0
            again += known
            self._tally.add(len(page.ids))
            if why := self._dead_end(page, cursors):
                return Listing(records, problem=cut_short(self._kind, why)), again
            if not self._goes_on(page):
                why = await self._unproven_end(page, last, cursors)
                return Listing(records, problem=cut_short(self._kind, why) if why else None), again
            if known and not new:
                return Listing(records), again
            if not is_named_once(self._kind):  # where several rows are of one record, only a whole page tells
                if page.ids and tuple(page.ids) in seen:
                    return Listing(records, problem=cut_short(self._kind, "the same page came again")), again
                seen.add(tuple(page.ids))
            cursors.append(page.next)
            last = page

    async def _unproven_end(self, page: Page, before: Page | None, cursors: Sequence[str]) -> str:
        """Why a page that names no other is not known to be the last one."""
        if before is None:
            return await self._silence(page)
        return "" if page.ids or await self._comes_last(before, cursors) else _NOTHING

    async def _comes_last(self, before: Page, cursors: Sequence[str]) -> bool:
        """Whether nothing follows a page although it led on to one, which came empty.

        Then its last row, asked for with a page of its own, promises nothing.  Of what has a daily quota, what the page
        itself said must do.
        """
        if self._kind.paging == "post":
            return not before.more
        shorter = len(before.ids) - 1
        own = await self._page(("limit", str(shorter or 1)), *self._led_by(cursors[-2:-1]))
        if shorter and own.next:
            own = await self._page(*self._limit, *self._led_by([own.next]))
        if own.ids != before.ids[-1:] or own.more:
            return False
        if not own.next or self._kind.paging == "after":
            return True
        beyond = await self._page(*self._limit, *self._led_by([own.next]))  # it may end all its lists that way
        return not (beyond.ids or beyond.more or beyond.next)

    async def _silence(self, page: Page) -> str:
        """Why an only page is not known to be all: it is full, and where there must be more nothing says so either."""
        full = min(page.limit or self._kind.page_size, self._kind.page_size)
        if page.more is not None or not 1 < full <= len(page.ids):
            return ""
        shorter = await self._page(("limit", str(len(page.ids) - 1)))
        return "" if shorter.next or shorter.more else "a full page does not say whether there is more"

    async def _after(self, cursor: Sequence[str]) -> Page:
        """The page that a cursor leads to (none: the first); an empty one is asked for once more.

        Not the only page of a list where that may cost too much.
        """
        where = (*self._limit, *self._led_by(cursor))
        page = await self._page(*where)
        promised = cursor or page.more or page.next
        return await self._page(*where) if not page.ids and (promised or self._may_hide(page)) else page

    def _led_by(self, cursor: Sequence[str]) -> Params:
        """What asks for the page that a cursor leads to."""
        return tuple((_CURSOR[self._kind.paging], each) for each in cursor)

    def _goes_on(self, page: Page) -> bool:
        """Whether another page follows.

        That there is none is not believed of a full page that tells where to go on; lists that only name the last row
        of each page are over when one is short.
        """
        if self._kind.paging == "cursor":
            return bool(page.next or page.more)
        if self._kind.paging == "after":
            return bool(page.more or (page.next and page.ids))
        full = len(page.ids) >= min(page.limit or self._kind.page_size, self._kind.page_size)
        # Any page may be full where none says how many rows it has at most.
        silent = page.more is None and page.limit is None and page.ids and page.next
        return bool(page.more or silent or (full and (page.next or page.more is None)))

    def _dead_end(self, page: Page, cursors: list[str]) -> str:
        """Why there is no way on although there should be."""
        if not self._goes_on(page):
            return ""
        if not page.next:
            return "PagerDuty says there is more but not where"
        if not page.ids:
            return _NOTHING
        return "PagerDuty leads back to a page already read" if page.next in cursors else ""

    # --- by offset

    async def by_offset(self, now: datetime) -> Listing:
        """A list paged by `offset` and `limit`, cut by time if it is too long or its span too wide."""
        return await self._on_from([] if self._too_wide(now) else [await self.opening()], now)

    async def _on_from(self, opened: Sequence[Page], now: datetime) -> Listing:
        """The whole list from its first page on, or from those of the parts that it is cut into for its span."""
        if parts := self._too_wide(now):
            return await self._in_slices(*parts, None, now, opened)
        return await self._onwards(opened[0], now)

    async def first_page(self) -> Page:
        """The first page of a list that is paged by offset.  Raises what `send` raises."""
        page = await self._at(0, self._kind.page_size, ("total", "true"))
        return await self._at(0, self._kind.page_size, ("total", "true")) if self._may_hide(page) else page

    async def opening(self) -> Page:
        """The first page; if nobody counts how much follows, whether it may be more than can be reached is found out.

        That is of use where the list can be cut.
        """
        page = await self.first_page()
        if page.total is None and page.more is not False and self._kind.window:
            page.total = REACH if (await self._at(REACH - 1, 1)).ids else None
        return page

    async def _begun(self, now: datetime) -> Beginning:
        return self._begun_with(await together(lister.opening() for lister in self._parts(now)))

    def _parts(self, now: datetime) -> Sequence[Lister]:
        """Those who read the parts that the list is cut into for its span; this one, if it is not."""
        if wide := self._too_wide(now):
            window, span = wide
            return [self._within(window, part) for part in span.cut(timedelta(days=window.widest_days))]
        return [self]

    def _begun_with(self, pages: Sequence[Page]) -> Beginning:
        to_come = sum(self.requests(page.total) - 1 for page in pages if page.total is not None)
        total = _sum(page.total if _is_told(page.total) else None for page in pages)
        may_be_in_two = len(pages) > 1 and self._kind.window and self._kind.window.period
        return Beginning(pages, self._merged(pages), None if may_be_in_two else total, to_come)

    def requests(self, total: int) -> int:
        """How many requests it takes to read so many rows: each page but the first has one of the page before."""
        size = self._kind.page_size
        return 1 + max(0, -(-(total - size) // (size - 1)))

    def at_most(self, total: int, now: datetime) -> int:
        """How many requests it takes to read so many rows, however they are spread over the parts of the list.

        Each part ends with a page of its own; that there is nothing in one is asked twice.
        """
        return self.requests(total) + 2 * (len(self._parts(now)) - 1)

    async def _onwards(self, first: Page, now: datetime) -> Listing:
        """The whole list, from its first page on."""
        self._tally.expect(first.total if _is_told(first.total) else None)
        if first.total is None or first.total < REACH:
            self._tally.add(len(first.ids))
            return await self._pages(first, first.total)
        if window := self._kind.window:
            span = span_of(window, self._params, now) or await self._since_ever(window, first.total, now)
            return await self._in_slices(window, span, first, now)
        return await self._out_of_reach(first)

    async def _pages(self, first: Page, total: int | None) -> Listing:
        """The rest of a list that is within reach."""
        if first.more is not False and (total is None or len(first.ids) < 2):  # noqa: PLR2004
            return await self._walk(first if first.ids else None)
        pages, failure = await self._at_once(first, total or 0)
        records = self._merged(pages)
        if failure:
            return Listing(records, total, unreadable(self._kind, failure), failure)
        if not pages[-1].more and _seamless(pages) and self._as_counted(pages, records, total):
            return Listing(records, total)
        return await self._walk()

    async def _at_once(self, first: Page, total: int) -> tuple[list[Page], PdsyncError | None]:
        """All pages up to `total`, each beginning with the last row of the one before; what stopped some of them."""
        size = min(len(first.ids), self._kind.page_size)
        offsets = range(size - 1, total - 1, size - 1) if first.more else ()
        if self._coming:
            self._coming.page(0, first)
        jobs = (self._counted(number, offset, size) for number, offset in enumerate(offsets, start=1))
        read = await asyncio.gather(*jobs, return_exceptions=True)
        failures = [outcome for outcome in read if isinstance(outcome, BaseException)]
        for failure in failures:
            if isinstance(failure, Interrupted) or not isinstance(failure, PdsyncError):
                raise failure
        pages = [first, *(outcome for outcome in read if isinstance(outcome, Page))]
        return pages, next((failure for failure in failures if isinstance(failure, PdsyncError)), None)

    async def _counted(self, number: int, offset: int, size: int) -> Page:
        page = await self._at(offset, size)
        self._tally.add(max(0, len(page.ids) - 1))
        if self._coming:
            self._coming.page(number, page)
        return page

    def _as_counted(self, pages: Sequence[Page], records: Mapping[str, bytes], total: int | None) -> bool:
        """Whether there is exactly what PagerDuty counted.

        An id made up from other fields may stand for several rows that are all there is to say: there, rows count.
        Where PagerDuty does not count, a row that comes twice may have come in place of another.
        """
        if total is None:
            return len(records) == len(pages[0].ids) or not is_named_once(self._kind)
        rows = sum(len(page.ids) for page in pages) - (len(pages) - 1)
        return (len(records) if self._kind.id == OWN_ID else rows) == total

    async def _walk(self, first: Page | None = None) -> Listing:
        """Page by page, each overlapping the one before, twice if rows moved meanwhile."""
        trail = await self._walk_once(first or await self.first_page())
        if not trail.quiet:
            trail = await self._walk_once(await self.first_page())
        return Listing(self._shelf.rows(trail.records), trail.total, trail.problem)

    async def _walk_once(self, first: Page) -> Trail:
        trail = Trail(self._kind)
        trail.follow(first)
        while not trail.over:
            trail.follow(await self._at(trail.offset, self._kind.page_size, ("total", "true")))
        return trail

    async def _out_of_reach(self, first: Page) -> Listing:
        """As much as can be reached of a list that is too long."""
        self._tally.add(len(first.ids))
        pages, failure = await self._at_once(first, REACH)
        problem = unreadable(self._kind, failure) if failure else too_long(self._kind, first.total)
        return Listing(self._merged(pages), first.total, problem, failure)

    # --- by time

    def _too_wide(self, now: datetime) -> tuple[Window, Span] | None:
        """The window of the kind and the span of the list, if the list may not span so much."""
        window = self._kind.window
        span = span_of(window, self._params, now) if window else None
        wide = window and span and span.width > timedelta(days=window.widest_days)
        return (window, span) if window and span and wide else None

    async def _since_ever(self, window: Window, total: int, now: datetime) -> Span:
        """From the oldest record to now, or from a moment since when there are as many as there are in all.

        Of a list that cannot be sorted and may not be counted, from the oldest that there can be.
        """
        until = dict(self._params).get(window.until)
        end = moment(until, now) if until else now + timedelta(days=window.ahead_days)
        if not window.sortable:
            return Span(await self._reaching_back(window, total, end) if _is_told(total) else OLDEST, end)
        others = tuple(pair for pair in self._params if pair[0] != "sort_by")
        oldest = Lister(
            self._asker,
            self._kind,
            (*others, ("sort_by", f"{window.field}:asc")),
            self._tally,
            place=self._place,
            shelf=self._shelf,
        )
        page = await oldest._at(0, 1)
        first = FieldReader([window.field]).read(self._shelf.get(page.places[0]))[0] if page.places else None
        return Span(moment(str(first), now) if first else now, end)

    async def _reaching_back(self, window: Window, total: int, end: datetime) -> datetime:
        for days in _LOOK_BACK:
            since = end - timedelta(days=days)
            if (await self._within(window, Span(since, end)).count(end) or 0) >= total:
                return since
        return OLDEST

    def _within(self, window: Window, span: Span) -> Lister:
        """The same list, bounded in time."""
        params = (*unbounded(window, self._params), *span.as_params(window))
        tally, place, shelf, came, turns = self._tally.part(), self._place, self._shelf, self._came, self._turns
        return Lister(self._asker, self._kind, params, tally, place=place, shelf=shelf, came=came, turns=turns)

    async def _in_slices(
        self, window: Window, span: Span, first: Page | None, now: datetime, opened: Sequence[Page] = ()
    ) -> Listing:
        """A list cut by time into parts that are read on their own, cut again where needed."""
        if first and span.width < _SHORTEST_SLICE:
            return await self._out_of_reach(first)
        least = max(2, -(-(first.total or 0) // _A_PART)) if first else 2
        parts = span.cut(timedelta(days=window.widest_days), least)
        jobs = (self._within(window, part).as_part(now, page) for part, page in zip_longest(parts, opened))
        whole = self._joined(await together(jobs))
        if first and first.total and not whole.problem and not self._adds_up(len(whole.records), first.total):
            return replace(whole, problem=miscounted(self._kind, len(whole.records), first.total))
        return whole

    async def as_part(self, now: datetime, opened: Page | None = None) -> Listing:
        """The list as a part of another one: how much it is is found out at once, the rest is read in turn.

        That there is nothing is asked twice, although it is counted: nobody sees in the whole that a part is gone.
        """
        begun: Beginning | Listing | None = self._begun_with([opened]) if opened else None
        if begun is None and self._kind.paging == "classic":
            begun = await self.begin(now)
        if isinstance(begun, Beginning) and begun.is_all and not begun.rows:
            begun = await self.begin(now)
        if isinstance(begun, Listing):
            return begun
        if begun and (begun.pages[0].total or 0) >= REACH:
            return await self.read(now, begun)
        async with self._turns.of(self._stretch[0]):
            listing = await self.read(now, begun)
        if self._came and not listing.problem:
            self._came(self._shelf.rows() | listing.records, self._stretch)
        return listing if listing.records or listing.problem else replace(listing, empty=(self._stretch,))

    @property
    def _stretch(self) -> Stretch:
        """From when to when a list that is bounded in time goes."""
        window, given = self._kind.window, dict(self._params)
        return Stretch(given.get(window.since, ""), given.get(window.until, "")) if window else Stretch("", "")

    @property
    def _goes_by_time(self) -> bool:
        """Whether, as far as it is asked for, the list begins with what was made first."""
        window, asked = self._kind.window, dict(self._params).get("sort_by")
        return window is not None and (
            asked in {None, f"{window.field}:asc"} or ("sort_by", asked) in self._kind.unless_given
        )

    def _joined(self, parts: Sequence[Listing]) -> Listing:
        """One listing from several, in order of time; a record that is in two is taken once."""
        records = self._shelf.rows()
        for mine in self._first_of([part.records for part in parts]):
            records |= mine
        problem = next((part.problem for part in parts if part.problem), None)
        failure = next((part.failure for part in parts if part.failure), None)
        return Listing(records, len(records), problem, failure, empty=tuple(at for part in parts for at in part.empty))

    def _first_of(self, parts: Sequence[Mapping[str, bytes]]) -> Iterator[Mapping[str, bytes]]:
        """The records of each part; where only the earliest are listed, those that have not come before in another."""
        first = self._kind.window.first if self._kind.window else None
        if first is None or (first[0], "true") not in self._params:
            yield from parts
            return
        read, seen = FieldReader(first[1]).read, set[tuple[str, ...]]()
        for part in parts:
            found = {id_: tuple(map(str, read(raw))) for id_, raw in part.items()}
            yield {id_: part[id_] for id_, alike in found.items() if alike not in seen}
            seen.update(found.values())

    def _merged(self, pages: Iterable[Page]) -> Rows:
        places: dict[str, Kept] = {}
        for page in pages:
            _add(places, page)
        return self._shelf.rows(places)

    def _adds_up(self, records: int, total: int) -> bool:
        """Whether slices hold what the whole was counted to hold; meanwhile there may be more, with an own id."""
        return records >= total if self._kind.id == OWN_ID else records == total or not _is_told(total)


async def counted(asker: Asker, kind: Kind, params: Params, now: datetime) -> int | None:
    """How many records of a list PagerDuty counts; None when it does not say.  Parameters are as in a query."""
    window, wire, quiet = kind.window, wire_params(kind, params, now), Tally(kind.name, None)
    span = span_of(window, params, now) if window else None
    parts = [wire]
    if window and span and span.width > timedelta(days=window.widest_days):
        cut = span.cut(timedelta(days=window.widest_days))
        parts = [(*unbounded(window, wire), *part.as_params(window)) for part in cut]
    try:
        return _sum(await together(Lister(asker, kind, part, quiet).count(now) for part in parts))
    except Interrupted:
        raise
    except PdsyncError:
        return None


_WAYS: Mapping[Paging, Callable[[Lister, datetime], Awaitable[Listing]]] = MappingProxyType(
    {
        "classic": Lister.by_offset,
        "cursor": Lister.by_cursor,
        "after": Lister.by_cursor,
        "post": Lister.by_cursor,
        "none": Lister.in_one,
    }
)

_CURSOR: Mapping[Paging, str] = MappingProxyType({"cursor": "cursor", "after": "after", "post": "starting_after"})
"""What the next page is asked for with."""


# --- pages and listings ----------------------------------------------------------------------------------------


def _is_followed(page: Page, offset: int, asked: int) -> bool | None:
    """Whether there is more than a page; None where the next one has to tell.

    A server may give fewer rows than were asked for: it is only over where that adds up, or where the page is shorter
    than the server says it gives.  That nothing follows a full page is not believed either, unless rows are counted.
    """
    if page.more or not page.ids:
        return bool(page.more)
    if page.total is not None:
        return page.more is None and offset + len(page.ids) < page.total
    is_short = len(page.ids) < min(asked, page.limit or asked)
    return False if is_short and (page.more is False or page.limit) else None


def _is_told(total: int | None) -> bool:
    """Whether a count tells how many rows there are: as many as can be reached may stand for any number from there."""
    return total is not None and total != REACH


def _sum(counts: Iterable[int | None]) -> int | None:
    """How many there are in all; None where that is not known of each."""
    known = list(counts)
    return None if None in known else sum(count or 0 for count in known)


def _add(places: dict[str, Kept], page: Page) -> int:
    """Add what a page has; how many of its rows are new."""
    before = len(places)
    for name, place in zip(page.ids, page.places, strict=True):
        places.setdefault(name, place)
    return len(places) - before


def _seamless(pages: Sequence[Page]) -> bool:
    """Whether every page begins with the last row of the one before."""
    return all(a.ids and b.ids and a.ids[-1] == b.ids[0] for a, b in pairwise(pages))
