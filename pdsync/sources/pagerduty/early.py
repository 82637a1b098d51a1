"""What of a long list is made whole, and handed on, while the rest of it is still to come.

A list comes in parts: those it is cut into by time, or some of its pages.  The values of a part's records are read
while other parts are: neither has to wait for the other, and no more is asked than at the end.  Whatever is left, or
fails, is read at the end.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from pdsync.sources.pagerduty.enrich import Extra, can_be_early
from pdsync.sources.pagerduty.leaps import Ahead
from pdsync.sources.pagerduty.tasks import together

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping

    from pdsync.model import Query
    from pdsync.sources.pagerduty.coming import Stretch
    from pdsync.sources.pagerduty.shelf import Rows, Shelf

    Taking = Callable[[bytes], bool]
    """Whether a record of the list belongs to a query."""

_AT_ONCE = 2
"""So many parts of a very long list are looked after at the same time, so that it does not run away."""

_VERY_LONG = 30_000
"""A list is, once so many of its records are there."""

Wish = tuple[str, str]
"""An enrichment and its argument."""

T = TypeVar("T")


class Hands(NamedTuple):
    """What it takes.

    `known` gives the values that need not be read, `read` reads those of some records as it is told, `came` is given
    the records of a query with what was found for each wish (None: nobody waits for them).
    """

    known: Callable[[Wish, Rows], Rows]
    read: Callable[[Wish, Rows, Ahead], Awaitable[Extra]]
    came: Callable[[Query, Rows, Mapping[str, Extra]], None] | None


class _Part(NamedTuple):
    """Records that were made from one moment to another; `edge` is one of these: what is not read yet is left there."""

    since: str
    until: str
    rows: Rows
    edge: str = ""


class Early:
    """Reads ahead for some queries of one list; `takes` says which of its records are whose (None: all of them).

    What does not fill a page is left at an edge of its part, to be read together with the part that borders on it
    there: only what has been read on both sides costs a page of its own.
    """

    def __init__(self, takes: Mapping[Query, Taking | None], hands: Hands, shelf: Shelf) -> None:
        self._takes = takes
        self._hands = hands
        self._shelf = shelf
        self._parts: asyncio.Queue[bool] = asyncio.Queue()
        self._waiting: list[_Part] = []
        self._begins: set[str] = set()
        self._ends: set[str] = set()
        self._left: dict[str, dict[Query, Rows]] = {}
        self._wishes = early_wishes(takes)
        self._failed: set[Wish] = set()
        self._told: set[Query] = set()
        self._ended = False
        self._came = 0
        self._is_very_long = asyncio.Event()
        self.found: dict[Wish, Rows] = {wish: shelf.rows() for wish in self._wishes}

    def part(self, rows: Rows, stretch: Stretch) -> None:
        """Some of the list's records are there: those of a stretch of time."""
        self._came += len(rows)
        if self._came >= _VERY_LONG:
            self._is_very_long.set()
        self._waiting.append(_Part(*stretch, rows))
        self._parts.put_nowait(item=True)

    def tells(self, query: Query) -> bool:
        """Whether records of a query were handed on."""
        return query in self._told

    async def beside(self, job: Coroutine[object, object, T]) -> T:
        """What `job` gives, which reads the list; what comes of it meanwhile is read on."""
        given: list[T] = []

        async def whole() -> None:
            try:
                given.append(await job)
            finally:
                self._ended = True
                self._is_very_long.set()  # so that nobody waits for that
                for _ in range(_AT_ONCE):
                    self._parts.put_nowait(item=False)

        await together([whole(), self._work(), *(self._help() for _ in range(1, _AT_ONCE))])
        return given[0]

    def _is_over(self) -> bool:
        """Whether all of the list is there: then the rest is read at once."""
        return self._ended

    async def _help(self) -> None:
        await self._is_very_long.wait()
        await self._work()

    async def _work(self) -> None:
        while await self._parts.get():
            part = self._next()
            rows = self._with_edges(part)
            for wish in self._wishes:
                await self._read(wish, rows, part)
            for query, each in rows.items():
                self._leave(part.edge, query, self._lacking(query, self._hand_on(query, each)))

    def _next(self) -> _Part:
        """The part to be looked after next: one that borders on what was, the earliest first.

        What is left of it is left at its end, unless what follows has been looked after.
        """
        part = min(self._waiting, key=self._rank)
        self._waiting.remove(part)
        self._begins.add(part.since)
        self._ends.add(part.until)
        return part._replace(edge=part.until if part.until not in self._begins else part.since)

    def _rank(self, part: _Part) -> tuple[bool, bool, str]:
        return part.since not in self._ends, part.until not in self._begins, part.since

    def _with_edges(self, part: _Part) -> dict[Query, Rows]:
        """The records of each query in a part, with what was left of others at its edges."""
        rows = {query: part.rows.only(ids) for query, ids in self._taken(part.rows).items()}
        for edge in (part.since, part.until):
            for query, left in self._left.pop(edge, {}).items():
                rows[query] |= left
        return rows

    def _leave(self, edge: str, query: Query, rows: Rows) -> None:
        """Leave records of a query to the part beyond an edge; where that was begun, they are read at the end."""
        if rows and not (edge in self._begins and edge in self._ends):
            left = self._left.setdefault(edge, {})
            left[query] = left.get(query, self._shelf.rows()) | rows

    def _lacking(self, query: Query, rows: Rows) -> Rows:
        """Those of some records of a query that lack what may still be read early."""
        wishes = [self.found[wish] for wish in query.enrich if wish in self.found and wish not in self._failed]
        return rows.only(id_ for id_ in rows if any(id_ not in found for found in wishes))

    def _taken(self, part: Rows) -> dict[Query, list[str]]:
        """Which of some records each query takes; every record is looked up once at most."""
        taken = {query: list(part) if takes is None else [] for query, takes in self._takes.items()}
        choosing = [(takes, taken[query]) for query, takes in self._takes.items() if takes is not None]
        for id_, raw in part.items() if choosing else ():
            for takes, ids in choosing:
                if takes(raw):
                    ids.append(id_)
        return taken

    async def _read(self, wish: Wish, of: dict[Query, Rows], part: _Part) -> None:
        """Read what can be read now of one enrichment of some records; who is read later is taken out of them."""
        if wish in self._failed:
            return
        found, new = self.found[wish], self._shelf.rows()
        for query, rows in of.items():
            new |= rows.only(id_ for id_ in rows if wish in query.enrich and id_ not in found)
        found |= self._hands.known(wish, new)
        if self._is_over():
            return

        def later(ids: Iterable[str]) -> None:
            them = set(ids)
            for query, rows in of.items() if them else ():
                self._leave(part.edge, query, rows.only(id_ for id_ in rows if id_ in them and wish in query.enrich))
                of[query] = rows.only(id_ for id_ in rows if id_ not in them or wish not in query.enrich)

        ahead = Ahead(self._is_over, later, before=part.edge == part.since)
        extra = await self._hands.read(wish, new.only(id_ for id_ in new if id_ not in found), ahead)
        found |= extra.values
        if extra.unavailable:
            self._failed.add(wish)

    def _hand_on(self, query: Query, rows: Rows) -> Rows:
        """Hand on those records of a query that have all they shall have; the others."""
        if self._hands.came is None or not all(_is_early(query, wish) for wish in query.enrich):
            return rows
        whole = rows.only(id_ for id_ in rows if all(id_ in self.found[wish] for wish in query.enrich))
        found = {wish[0]: Extra(self.found[wish].only(whole)) for wish in query.enrich}
        if whole:
            self._told.add(query)
            self._hands.came(query, whole, found)
        return rows.only(id_ for id_ in rows if id_ not in whole)


def _is_early(query: Query, wish: Wish) -> bool:
    return can_be_early(query.kind, wish[0])


def early_wishes(queries: Iterable[Query]) -> list[Wish]:
    """What of these queries is read early, each once."""
    return list(dict.fromkeys(wish for query in queries for wish in query.enrich if _is_early(query, wish)))
