"""The analytics rows of some incidents, in as few requests as there can be: each counts against a small daily quota.

Rows are listed in the order in which incidents were made, a thousand a page.  A page begins where the next incident at
hand was made, and so leaps over those in between that nobody asked for: a few incidents cost a few requests, however
many others there are, and all of them cost no more than their pages.  As a page begins where the last one ended, many
are read in parts of a few pages, side by side.  Each part is as large as its pages are, as far as it is known how many
rows there are in between that nobody asked for (`Ground`): a part that is a few rows longer costs a page more.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from math import ceil, inf, sqrt
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from pdsync.kinds import KINDS
from pdsync.sources.pagerduty.moments import in_utc, moment_told
from pdsync.sources.pagerduty.records import FieldReader, malformed, rows_of, understood
from pdsync.sources.pagerduty.tasks import each
from pdsync.transport import read_json

if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping

    from pdsync.model import Json
    from pdsync.sources.pagerduty.listing import Asker, Tally

_KIND = KINDS["analytics.raw.incidents"]
_PER_PAGE = 1000
_WIDEST = timedelta(days=365).total_seconds()
"""The widest window of analytics (PagerDuty REST API, Analytics)."""

_SLACK = 1.0
"""Seconds by which the moment in a row may differ from that in the incident."""

_APART = 5 * _SLACK
"""Between incidents so far from each other, no window that ends with the one begins before the other."""

_LATE = timedelta(days=2).total_seconds()
"""Rows come a day late; an incident that is so old has one."""

_DEVIATIONS = 2.0
"""By so many standard deviations there may be more rows in between than is to be expected."""

_AT_ONCE = 8
"""So many parts are read at the same time."""

_LEAST_PAGES = 2
"""A part is not smaller: what is asked for costs more than the time that is won."""

Enough = Callable[[], bool]
"""Whether to read no further."""

Sought = tuple[float, str]
"""When an incident was made, and its id."""


class Ahead(NamedTuple):
    """How the rows of some incidents are read while there are incidents still to come.

    Until it is `enough`.  `later` is told before anything is asked for of the incidents that are left: those that may
    share a page with what borders on them, which is what comes after them, or (`before`) what comes before.
    """

    enough: Enough = lambda: False
    later: Callable[[Iterable[str]], None] = lambda _: None
    before: bool = False


@dataclass(slots=True)
class Ground:
    """What is known of a list of rows from the parts of it that were read.

    How many `rows` there were in them, of which so many were `sought`, the others being in between; and where each
    part was `begun`.
    """

    rows: int = 0
    sought: int = 0
    begun: list[float] = field(default_factory=list)

    def pages(self, incidents: int) -> float:
        """On how many pages some incidents stand, most likely, with the others in between."""
        rows = incidents * self.rows / self.sought if self.sought else incidents
        return rows / _PER_PAGE

    def fit(self, pages: int) -> int:
        """How many incidents hardly ever stand on more than so many pages.

        That is fewer than may be expected, as others come in between by chance, and half of those at least.
        """
        room = pages * _PER_PAGE
        if not self.sought:
            return room
        expected = room * self.sought / self.rows
        others = room - expected
        # That many by chance have this variance; the less was read, the less is known of how many are to be expected.
        more = _DEVIATIONS * sqrt(others * (1 + room / self.rows))
        return max(1, int(max(expected - more, expected / 2)))

    def full_pages(self, incidents: int) -> int:
        """How many pages some incidents fill: as many as have no room for more than these."""
        return bisect_right(range(1, incidents + 1), incidents, key=self.fit)

    def runs(self, sought: list[Sought]) -> list[list[Sought]]:
        """Incidents in order, apart where a part was read that lies between them: no page reaches over it."""
        cuts = sorted({0, len(sought), *(bisect_left(sought, (begun, "")) for begun in self.begun)})
        return [sought[begin:end] for begin, end in pairwise(cuts)]


class Rows(msgspec.Struct):
    """An answer of analytics."""

    data: list[msgspec.Raw]
    more: bool | None = None
    last: str | None = None

    @property
    def goes_on(self) -> bool:
        """Whether another page follows; an answer that does not say so has another for as long as it has rows."""
        return bool(self.data and self.last) if self.more is None else self.more


_OF_ROW = FieldReader(["id", "created_at"])
_ROWS = msgspec.json.Decoder(Rows)
_TOLD = msgspec.json.Decoder(rows_of(_OF_ROW.shape, "data"))


class _Page(NamedTuple):
    """An answer of analytics, and what is looked at of its rows."""

    rows: Rows
    told: list[Any]


class Leaps:
    """Reads the rows of the incidents of `made`, which says when each was made, into `found`.

    `filters` narrow what is listed; the incidents pass them.  `now` tells which of them must have a row.  `ground` is
    what is known from other parts of the list.
    """

    def __init__(
        self,
        asker: Asker,
        made: Mapping[str, datetime],
        filters: Mapping[str, Json],
        *,
        now: datetime,
        found: MutableMapping[str, bytes],
        tally: Tally,
        ground: Ground | None = None,
    ) -> None:
        self._asker = asker
        self._made = made
        self._ground = ground or Ground()
        self._filters = dict(filters)
        self._late = now.timestamp() - _LATE
        self._found = found
        self._tally = tally

    async def read(self) -> None:
        """Read them all; who has no row is not found.  Raises what `send` raises, and `Malformed`.

        Where nothing is known of what lies between them, the first pages tell how many rows that are.
        """
        sought, ground = self._sought(), self._ground
        if not ground.rows:
            whole = len(sought)

            def is_much() -> bool:
                return ground.rows > 0 and not self._is_little(whole - ground.sought)

            sought = await self._read(sought, enough=is_much)
        await each(self._parts(sought), self._part, _AT_ONCE)

    async def read_full(self, ahead: Ahead) -> set[str]:
        """Read as many as fill their pages; the others, which may share one with what borders on them."""
        sought = self._sought()
        pages = self._ground.full_pages(len(sought))
        mine, rest = _split(sought, self._ground.fit(pages), from_end=ahead.before) if pages else ([], sought)
        ahead.later(id_ for _, id_ in rest)
        if mine:
            self._ground.begun.append(mine[0][0])
        return {id_ for _, id_ in [*await self._read(mine, pages, ahead.enough), *rest]}

    async def _part(self, sought: list[Sought]) -> None:
        await self._read(sought)

    def _parts(self, sought: list[Sought]) -> list[list[Sought]]:
        """Parts that can be read at the same time, each of a few whole pages."""
        if self._is_little(len(sought)):
            return self._ground.runs(sought)
        fitting = self._ground.fit(max(_LEAST_PAGES, ceil(self._ground.pages(len(sought)) / _AT_ONCE)))
        size = max(fitting, ceil(len(sought) / _AT_ONCE))
        return [part for run in self._ground.runs(sought) for part in _cut(run, size)]

    def _is_little(self, incidents: int) -> bool:
        """Whether so many incidents stand on so few pages, most likely, that cutting them is not worth its requests."""
        return incidents <= _LEAST_PAGES * _PER_PAGE and self._ground.pages(incidents) <= _AT_ONCE

    def _sought(self) -> list[Sought]:
        return sorted((at.timestamp(), id_) for id_, at in self._made.items())

    async def _read(self, sought: list[Sought], pages: float = inf, enough: Enough = lambda: False) -> list[Sought]:
        """Read so many pages at most, for as long as it is not enough; those that are left."""
        cursors, seen = [""], set[str]()
        start = promised = 0.0
        while sought and pages > 0 and not enough():
            pages -= 1
            start = start if cursors[-1] else sought[0][0] - _SLACK
            end = min(sought[-1][0] + 2 * _SLACK, start + _WIDEST)
            page, told = await self._page(start, end, cursors[-1])
            if not page.data and (cursors[-1] or sought[0][0] < self._late):  # some were promised
                page, told = await self._page(start, end, cursors[-1])
            if not (page.data or page.goes_on) and promised == end:
                raise malformed(_KIND, "there is more, and nothing comes")
            reached, ids = self._take(page, told)
            if not page.goes_on:
                sought = [each for each in sought if each[0] >= end - _SLACK]
                cursors, seen, promised = [""], set(), 0.0
                continue
            if not page.last or page.last in cursors or seen.issuperset(ids):
                raise malformed(_KIND, "there is more, but no way on")
            sought = self._left(sought, reached)
            leap = bool(sought) and sought[0][0] - _SLACK > max(start, reached)
            cursors, seen = ([""], set()) if leap else ([*cursors, page.last], seen.union(ids))
            promised = end if page.more and not leap else 0.0
        return sought

    def _left(self, sought: list[Sought], reached: float) -> list[Sought]:
        """Of incidents in order, those whose rows may still come once all rows up to a moment have."""
        begin, end = (bisect_left(sought, (reached + slack, "")) for slack in (-_SLACK, 2 * _SLACK))
        late = [each for each in sought[begin:end] if each[1] not in self._found]
        return late + sought[end:]

    async def _page(self, start: float, end: float, cursor: str) -> _Page:
        window = {"created_at_start": _written(start), "created_at_end": _written(end)}
        body: dict[str, Any] = {
            "filters": {**self._filters, **window},
            "limit": _PER_PAGE,
            "order_by": "created_at",
            "order": "asc",
            "time_zone": "Etc/UTC",
        }
        body |= {"starting_after": cursor} if cursor else {}

        async def read() -> _Page:
            content = (await self._asker.send(_KIND.method, _KIND.path, body=body)).content
            return _Page(read_json(_ROWS.decode, content), read_json(_TOLD.decode, content).rows)

        return await understood(read)

    def _take(self, page: Rows, told: Iterable[Any]) -> tuple[float, list[str]]:
        """Keep the rows of incidents at hand; the moment up to which rows have come, and the ids of all of them."""
        times, ids = [], []
        for row, (id_, created) in zip(page.data, map(_OF_ROW.values, told), strict=True):
            times.append(_seconds(created))
            ids.append(str(id_))
            if id_ in self._made:
                self._found[id_] = bytes(row)
        self._tally.add(len(times))
        self._ground.rows += len(ids)
        self._ground.sought += sum(id_ in self._made for id_ in ids)
        if any(earlier > later for earlier, later in pairwise(times)):
            raise malformed(_KIND, "rows are not in the order that was asked for")
        return times[-1] if times else 0.0, ids


def _cut(sought: list[Sought], size: int) -> list[list[Sought]]:
    """Parts of so many incidents in order."""
    parts = []
    while len(sought) > size:
        part, sought = _split(sought, size)
        parts.append(part)
    return [*parts, sought] if sought else parts


def _split(sought: list[Sought], size: int, *, from_end: bool = False) -> tuple[list[Sought], list[Sought]]:
    """So many incidents from their beginning, or from their end, and the rest.

    They are cut where nothing was made for a while, so that no row is listed with both of them: where there is no such
    place, all of them are one.
    """
    whole = len(sought)
    if size >= whole:
        return sought, []
    ends = range(whole - size, whole) if from_end else range(size, 0, -1)
    at = next((end for end in ends if sought[end][0] - sought[end - 1][0] > _APART), None)
    if at is None:
        return sought, []
    return (sought[at:], sought[:at]) if from_end else (sought[:at], sought[at:])


def _seconds(created: object) -> float:
    if (at := moment_told(created)) is None:
        raise malformed(_KIND, "a row does not say when its incident was made")
    return at.timestamp()


def _written(seconds: float) -> str:
    return in_utc(datetime.fromtimestamp(seconds, UTC))
