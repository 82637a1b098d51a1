"""The analytics rows of some incidents, in as few requests as there can be: each counts against a small daily quota.

Rows are listed in the order in which incidents were made, a thousand a page.  A page begins where the next incident at
hand was made, and so leaps over those in between that nobody asked for: a few incidents cost a few requests, however
many others there are, and all of them cost no more than their pages.  As a page begins where the last one ended, many
are read in parts of a few pages, side by side.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from pdsync.kinds import KINDS
from pdsync.sources.pagerduty.moments import in_utc
from pdsync.sources.pagerduty.records import FieldReader, malformed, rows_of, understood
from pdsync.sources.pagerduty.tasks import together

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, MutableMapping

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

_AT_ONCE = 8
"""So many parts are read at the same time; each may have a last page that is not full, and so cost a request more."""

_LEAST_PAGES = 2
"""A part is not smaller: what is asked for costs more than the time that is won."""

Enough = Callable[[], bool]
"""Whether to read no further."""

Sought = tuple[float, str]
"""When an incident was made, and its id."""


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

    `filters` narrow what is listed; the incidents pass them.  `now` tells which of them must have a row.
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
    ) -> None:
        self._asker = asker
        self._made = made
        self._filters = dict(filters)
        self._late = now.timestamp() - _LATE
        self._found = found
        self._tally = tally

    async def read(self) -> None:
        """Read them all; who has no row is not found.  Raises what `send` raises, and `Malformed`."""
        await together(self._read(part) for part in _parts(self._sought()))

    async def read_full(self, enough: Enough) -> set[str]:
        """Read as many as fill their pages, the oldest first; the others, which may share one with later incidents."""
        return {id_ for _, id_ in await self._read(self._sought(), _PER_PAGE, enough)}

    def _sought(self) -> list[Sought]:
        return sorted((at.timestamp(), id_) for id_, at in self._made.items())

    async def _read(self, sought: list[Sought], least: int = 1, enough: Enough = lambda: False) -> list[Sought]:
        """Read for as long as there are so many and it is not enough; those that are left."""
        cursors, seen = [""], set[str]()
        start = 0.0
        while len(sought) >= least and not enough():
            start = start if cursors[-1] else sought[0][0] - _SLACK
            end = min(sought[-1][0] + 2 * _SLACK, start + _WIDEST)
            page, told = await self._page(start, end, cursors[-1])
            if not page.data and (cursors[-1] or sought[0][0] < self._late):  # some were promised
                page, told = await self._page(start, end, cursors[-1])
            reached, ids = self._take(page, told)
            if not page.goes_on:
                sought = [each for each in sought if each[0] >= end - _SLACK]
                cursors, seen = [""], set()
                continue
            if not page.last or page.last in cursors or seen.issuperset(ids):
                raise malformed(_KIND, "there is more, but no way on")
            sought = self._left(sought, reached)
            leap = bool(sought) and sought[0][0] - _SLACK > max(start, reached)
            cursors, seen = ([""], set()) if leap else ([*cursors, page.last], seen.union(ids))
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
            return _Page(_ROWS.decode(content), _TOLD.decode(content).rows)

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
        if any(earlier > later for earlier, later in pairwise(times)):
            raise malformed(_KIND, "rows are not in the order that was asked for")
        return times[-1] if times else 0.0, ids


def _parts(sought: list[Sought]) -> list[list[Sought]]:
    """Parts that can be read at the same time, each of a few whole pages if all rows are asked for.

    They are cut where nothing was made for a while, so that no row is listed with two of them.
    """
    size = _PER_PAGE * max(_LEAST_PAGES, -(-len(sought) // (_PER_PAGE * _AT_ONCE)))
    parts, begin = [], 0
    while len(sought) - begin > size:
        gaps = (end for end in range(begin + size, begin, -1) if sought[end][0] - sought[end - 1][0] > _APART)
        end = next(gaps, len(sought))
        parts.append(sought[begin:end])
        begin = end
    return [*parts, sought[begin:]] if begin < len(sought) else parts


def _seconds(created: object) -> float:
    try:
        at = datetime.fromisoformat(str(created))
    except ValueError:
        raise malformed(_KIND, "a row does not say when its incident was made") from None
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()


def _written(seconds: float) -> str:
    return in_utc(datetime.fromtimestamp(seconds, UTC))
