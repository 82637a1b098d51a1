"""Reading whole lists, and proving that they are whole.

A list is paged by offset while it changes.  Each page is asked for with some rows of the one before it, so that the
two can be held against each other.  Pages are read at once first; if they do not fit together or do not add up to
what PagerDuty counted, the list is walked again, page by page, stepping back where rows vanished.  Only a list that
was read without a gap, to its end, and adds up, is complete.

At most 10 000 rows of a list can be reached (PagerDuty REST API, Pagination); longer lists are cut by time where
the kind has a time (`Window`), otherwise the rest is missing and said to be.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol

from pdsync.errors import Diagnostic, Interrupted, PdsyncError, error
from pdsync.kinds import RELATIVE_MOMENT, Kind, Paging, Window
from pdsync.sources.pagerduty.records import FieldReader, Page, PageReader, malformed
from pdsync.sources.pagerduty.tasks import together

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

    from pdsync.model import Json
    from pdsync.sources import Progress
    from pdsync.transport import Reply

PAGE_SIZE = 100
REACH = 10_000
"""Rows of one list that can be reached."""

OWN_ID = ("id",)
"""What `Kind.id` is for records that carry an id of their own."""

_OVERLAP = 10
_STEPS_BACK = 8
_SKEW = timedelta(minutes=5)
_SHORTEST_SLICE = timedelta(seconds=2)

Params = tuple[tuple[str, str], ...]


class Asker(Protocol):
    """Sends requests; `pdsync.transport.ApiClient` is one."""

    async def send(
        self, method: str, path: str, *, params: Sequence[tuple[str, str]] = (), body: Json | bytes | None = None
    ) -> Reply:
        """The answer to a request that does no harm when repeated."""
        ...


class Tally:
    """Counts the rows of a list as they come in, and tells `progress`."""

    def __init__(self, what: str, progress: Progress | None) -> None:
        self._what = what
        self._progress = progress
        self._done = 0
        self._total: int | None = None

    def expect(self, total: int | None) -> None:
        """So many rows are to come in all."""
        self._total = total

    def add(self, rows: int) -> None:
        """So many rows came in."""
        self._done += rows
        if self._progress:
            self._progress(self._what, self._done, self._total)


@dataclass(frozen=True, slots=True)
class Listing:
    """Records by id as read, in order; why they are not all (None: they are); what stopped the reading, if anything.

    `counted` is how many PagerDuty says there are.
    """

    records: dict[str, bytes] = field(default_factory=dict)
    counted: int | None = None
    problem: Diagnostic | None = None
    failure: PdsyncError | None = None


def moment(text: str, now: datetime) -> datetime:
    """The moment that a parameter means: ISO 8601 (UTC unless it says otherwise) or relative, such as `-90d`.

    Days ahead fall short by a few minutes: they are bounded, and the server's clock may be behind ours.
    """
    if RELATIVE_MOMENT.fullmatch(text):
        return now + timedelta(days=int(text[:-1])) - (_SKEW if text.startswith("+") else timedelta())
    read = datetime.fromisoformat(text)
    return read if read.tzinfo else read.replace(tzinfo=UTC)


def in_utc(when: datetime) -> str:
    """RFC 3339 in UTC, to the second."""
    return when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def wire_params(kind: Kind, params: Params, now: datetime) -> Params:
    """What is sent for the parameters of a query: moments as moments, and what makes the list stable."""
    moments = {param.wire for param in kind.params if param.type in {"moment", "months_ago", "months_ahead"}}
    given = tuple((name, in_utc(moment(value, now)) if name in moments else value) for name, value in params)
    names = {name for name, _ in given}
    return given + tuple((name, value) for name, value in kind.unless_given if name not in names)


class Lister:
    """Reads one list of one kind, with parameters as they are sent."""

    def __init__(self, asker: Asker, kind: Kind, params: Params, tally: Tally) -> None:
        self._asker = asker
        self._kind = kind
        self._params = params
        self._tally = tally
        self._reader = PageReader(kind)

    async def read(self, now: datetime) -> Listing:
        """The whole list, or as much as could be had with the reason in `problem`.  Raises only `Interrupted`."""
        try:
            return await _WAYS[self._kind.paging](self, now)
        except Interrupted:
            raise
        except PdsyncError as failure:
            return Listing(problem=unreadable(self._kind, failure), failure=failure)
        except ValueError:
            odd = malformed(self._kind, "a record has no time")
            return Listing(problem=unreadable(self._kind, odd), failure=odd)

    async def _page(self, *extra: tuple[str, str]) -> Page:
        reply = await self._asker.send("GET", self._kind.path, params=(*self._params, *extra))
        return self._reader.read(reply.content)

    async def _at(self, offset: int, size: int, *extra: tuple[str, str]) -> Page:
        return await self._page(("limit", str(min(size, REACH - offset))), ("offset", str(offset)), *extra)

    # --- in one answer, by cursor

    async def in_one(self, _now: datetime) -> Listing:
        """A list that is not paged."""
        page = await self._page()
        self._tally.add(len(page.ids))
        problem = _cut_short(self._kind, "PagerDuty says there is more but no way to ask for it") if page.more else None
        return Listing(_merged([page]), page.total, problem)

    async def by_cursor(self, _now: datetime) -> Listing:
        """A list whose pages name the next one."""
        records: dict[str, bytes] = {}
        cursors: list[str] = []
        while True:
            page = await self._page(("limit", str(PAGE_SIZE)), *(("cursor", each) for each in cursors[-1:]))
            _add(records, page)
            self._tally.add(len(page.ids))
            if not page.next:
                return Listing(records)
            if page.next in cursors:
                return Listing(records, problem=_cut_short(self._kind, "PagerDuty leads back to a page already read"))
            cursors.append(page.next)

    # --- by offset

    async def by_offset(self, now: datetime) -> Listing:
        """A list paged by `offset` and `limit`, cut by time if it is too long or its span too wide."""
        window = self._kind.window
        span = _span(window, self._params, now) if window else None
        if window and span and span.width > timedelta(days=window.widest_days):
            return await self._in_slices(window, span, None, now)
        first = await self._at(0, PAGE_SIZE, ("total", "true"))
        self._tally.expect(first.total)
        if first.total is None or first.total <= REACH:
            self._tally.add(len(first.ids))
            return await self._pages(first, first.total)
        if window:
            return await self._in_slices(window, span or await self._since_ever(window, now), first, now)
        return await self._out_of_reach(first)

    async def _pages(self, first: Page, total: int | None) -> Listing:
        """The rest of a list that is within reach."""
        if first.more and (total is None or len(first.ids) < 2):  # noqa: PLR2004
            return await self._walk()
        pages, failure = await self._at_once(first, total or 0)
        records = _merged(pages)
        if failure:
            return Listing(records, total, unreadable(self._kind, failure), failure)
        if not pages[-1].more and _seamless(pages) and self._as_counted(pages, records, total):
            return Listing(records, total)
        return await self._walk()

    async def _at_once(self, first: Page, total: int) -> tuple[list[Page], PdsyncError | None]:
        """All pages up to `total`, each beginning with the last row of the one before; what stopped some of them."""
        size = len(first.ids)
        offsets = range(size - 1, total - 1, size - 1) if first.more else ()
        read = await asyncio.gather(*(self._counted(offset, size) for offset in offsets), return_exceptions=True)
        failures = [outcome for outcome in read if isinstance(outcome, BaseException)]
        for failure in failures:
            if isinstance(failure, Interrupted) or not isinstance(failure, PdsyncError):
                raise failure
        pages = [first, *(outcome for outcome in read if isinstance(outcome, Page))]
        return pages, next((failure for failure in failures if isinstance(failure, PdsyncError)), None)

    async def _counted(self, offset: int, size: int) -> Page:
        page = await self._at(offset, size)
        self._tally.add(max(0, len(page.ids) - 1))
        return page

    def _as_counted(self, pages: Sequence[Page], records: dict[str, bytes], total: int | None) -> bool:
        """Whether there is exactly what PagerDuty counted.

        An id made up from other fields may stand for several rows that are all there is to say: there, rows count.
        """
        if total is None:
            return True
        rows = sum(len(page.ids) for page in pages) - (len(pages) - 1)
        return (len(records) if self._kind.id == OWN_ID else rows) == total

    async def _walk(self) -> Listing:
        """Page by page, each overlapping the one before, twice if rows moved meanwhile."""
        trail = await self._walk_once()
        return trail.listing if trail.quiet else (await self._walk_once()).listing

    async def _walk_once(self) -> Trail:
        trail = Trail(self._kind)
        while not trail.over:
            page = await self._at(trail.offset, PAGE_SIZE, ("total", "true"))
            trail.follow(page)
        return trail

    async def _out_of_reach(self, first: Page) -> Listing:
        """As much as can be reached of a list that is too long."""
        self._tally.add(len(first.ids))
        pages, failure = await self._at_once(first, REACH)
        problem = unreadable(self._kind, failure) if failure else _too_long(self._kind, first.total)
        return Listing(_merged(pages), first.total, problem, failure)

    # --- by time

    async def _since_ever(self, window: Window, now: datetime) -> Span:
        """From the oldest record to now."""
        names = {"sort_by", "limit", "offset"}
        params = tuple(pair for pair in self._params if pair[0] not in names)
        oldest = (("limit", "1"), ("offset", "0"), ("sort_by", f"{window.field}:asc"))
        reply = await self._asker.send("GET", self._kind.path, params=(*params, *oldest))
        page = self._reader.read(reply.content)
        field = FieldReader([window.field]).read(page.raws[0])[0] if page.raws else None
        return Span(moment(str(field), now) if field else now, now + timedelta(days=window.ahead_days))

    async def _in_slices(self, window: Window, span: Span, first: Page | None, now: datetime) -> Listing:
        """A list cut by time into parts that are read on their own, cut again where needed."""
        if first and span.width < _SHORTEST_SLICE:
            return await self._out_of_reach(first)
        bounds = {window.since, window.until, *(window.everything or ())[:1]}
        params = tuple(pair for pair in self._params if pair[0] not in bounds)
        parts = [
            Lister(self._asker, self._kind, (*params, *part.as_params(window)), self._tally)
            for part in span.cut(timedelta(days=window.widest_days))
        ]
        whole = _joined(await together(part.read(now) for part in parts))
        if first and first.total and not whole.problem and not self._adds_up(len(whole.records), first.total):
            return replace(whole, problem=_moved(self._kind, len(whole.records), first.total))
        return whole

    def _adds_up(self, records: int, total: int) -> bool:
        """Whether slices hold what the whole was counted to hold; meanwhile there may be more, with an own id."""
        return records >= total if self._kind.id == OWN_ID else records == total


_WAYS: Mapping[Paging, Callable[[Lister, datetime], Awaitable[Listing]]] = MappingProxyType(
    {"classic": Lister.by_offset, "cursor": Lister.by_cursor, "none": Lister.in_one}
)


# --- a walk ----------------------------------------------------------------------------------------------------


class Trail:
    """A list walked page by page: what was read, where to go on, whether rows moved underneath.

    A page begins with rows that are known, and the last of them tells how far the rows have shifted since the page
    before.  Rows that vanished from what was read shift the rest to the front: nothing is lost, the walk steps back
    where it must.  Rows that appeared there, or stand in another order, may have come from what was not read yet:
    then the walk proves nothing.
    """

    def __init__(self, kind: Kind) -> None:
        self._kind = kind
        self.records: dict[str, bytes] = {}
        self.offset = 0
        self.over = False
        self._places: dict[str, int] = {}
        self._seen = 0
        self._vanished = 0
        self._steps_back = 0
        self._stirred = False
        self._lost = False
        self._beyond = False
        self._total: int | None = None

    def follow(self, page: Page) -> None:
        """Take in the page at `offset`, and decide where to go on."""
        known = [self._places[id_] for id_ in page.ids if id_ in self._places]
        if self.offset and not known and self._seen > self.offset:
            self._step_back()
            return
        if self.offset:
            shift = self._seen - (self.offset + len(known))
            in_order = known == sorted(known) and all(id_ in self._places for id_ in page.ids[: len(known)])
            self._vanished += max(0, shift)
            self._stirred = self._stirred or shift < 0 or not in_order
        self._take(page)
        self._seen = self.offset + len(page.ids)
        self._beyond = page.more and self._seen >= REACH
        self.over = self._lost or self._beyond or not page.more or not page.ids
        self.offset = self._seen - min(_OVERLAP, len(page.ids) - 1)

    def _take(self, page: Page) -> None:
        for id_, raw in zip(page.ids, page.raws, strict=True):
            self._places.setdefault(id_, len(self._places))
            self.records.setdefault(id_, raw)
        self._total = page.total

    def _step_back(self) -> None:
        """Look for a row that is known further to the front."""
        self._steps_back += 1
        self._lost = self.over = self._steps_back > _STEPS_BACK
        self.offset = max(0, self.offset - _OVERLAP * 2**self._steps_back)

    @property
    def quiet(self) -> bool:
        """Whether nothing was lost and nothing moved in a way that proves nothing."""
        return not (self._stirred or self._lost or self._miscounted)

    @property
    def _miscounted(self) -> bool:
        """What vanished was read and is no longer counted; an id made up from other fields counts for nothing."""
        if self._total is None or self._beyond or self._kind.id != OWN_ID:
            return False
        return len(self.records) - self._vanished != self._total

    @property
    def listing(self) -> Listing:
        """What the walk came to."""
        problem = None if self.quiet else _moved(self._kind, len(self.records), self._total)
        if self._beyond:
            problem = _too_long(self._kind, self._total)
        return Listing(self.records, self._total, problem)


# --- pages and listings ----------------------------------------------------------------------------------------


def _add(records: dict[str, bytes], page: Page) -> None:
    for name, raw in zip(page.ids, page.raws, strict=True):
        records.setdefault(name, raw)


def _merged(pages: Iterable[Page]) -> dict[str, bytes]:
    records: dict[str, bytes] = {}
    for page in pages:
        _add(records, page)
    return records


def _seamless(pages: Sequence[Page]) -> bool:
    """Whether every page begins with the last row of the one before."""
    return all(a.ids and b.ids and a.ids[-1] == b.ids[0] for a, b in pairwise(pages))


def _joined(parts: Sequence[Listing]) -> Listing:
    """One listing from several; a record that is in two is taken once."""
    records: dict[str, bytes] = {}
    for part in parts:
        records |= part.records
    problem = next((part.problem for part in parts if part.problem), None)
    failure = next((part.failure for part in parts if part.failure), None)
    return Listing(records, len(records), problem, failure)


# --- spans of time ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of time."""

    since: datetime
    until: datetime

    @property
    def width(self) -> timedelta:
        """How long it is."""
        return self.until - self.since

    def cut(self, widest: timedelta) -> list[Span]:
        """Parts of at most `widest` that touch each other, at least two."""
        count = max(2, -(-self.width // widest))
        edges = [self.since + self.width * number / count for number in range(count)]
        # Whole seconds: finer ones are not sent, and parts must not leave a gap.
        edges = [self.since, *(edge.replace(microsecond=0) for edge in edges[1:]), self.until]
        return [Span(since, until) for since, until in pairwise(edges)]

    def as_params(self, window: Window) -> Params:
        """As query parameters."""
        return ((window.since, in_utc(self.since)), (window.until, in_utc(self.until)))


def _span(window: Window, params: Params, now: datetime) -> Span | None:
    """The time that a list is bounded to; None when it is not."""
    if window.everything in params:
        return None
    given = dict(params)
    since, until = given.get(window.since), given.get(window.until)
    return Span(
        moment(since, now) if since else now - timedelta(days=window.back_days),
        moment(until, now) if until else now + timedelta(days=window.ahead_days),
    )


# --- problems --------------------------------------------------------------------------------------------------


def unreadable(kind: Kind, failure: PdsyncError) -> Diagnostic:
    """Why a list is not complete when a request for it failed for good."""
    cause = failure.diagnostics[0]
    detail = f"{kind.name}: {cause.summary}: {cause.detail}"
    return error("PD320", "a list could not be read completely", detail=detail, hint=cause.hint)


def _too_long(kind: Kind, total: int | None) -> Diagnostic:
    detail = f"{kind.name}: {'more' if total is None else total} records, PagerDuty gives the first {REACH}"
    return error("PD321", "a list is too long to be read", detail=detail, hint="narrow the selector's apiQueryParams")


def _moved(kind: Kind, got: int, total: int | None) -> Diagnostic:
    detail = f"{kind.name}: {got} records read, PagerDuty counts {'no total' if total is None else total}"
    return error("PD322", "a list kept changing while it was read", detail=detail, hint="try again")


def _cut_short(kind: Kind, why: str) -> Diagnostic:
    return error("PD323", "a list could not be read to its end", detail=f"{kind.name}: {why}")
