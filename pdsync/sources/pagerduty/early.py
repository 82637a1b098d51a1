"""What of a long list is made whole, and handed on, while the rest of it is still to come.

A list that is cut by time comes in parts.  The values of a part's records are read while other parts are: neither has
to wait for the other, and no more is asked than at the end.  Whatever is left, or fails, is read at the end.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from pdsync.sources.pagerduty.enrich import Extra, can_be_early
from pdsync.sources.pagerduty.tasks import together

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping

    from pdsync.model import Query
    from pdsync.sources.pagerduty.leaps import Enough
    from pdsync.sources.pagerduty.shelf import Rows, Shelf

    Taking = Callable[[bytes], bool]
    """Whether a record of the list belongs to a query."""

_AT_ONCE = 2
"""So many parts of a very long list are looked after at the same time, so that it does not run away.

What is left of two parts that do not border on each other may cost a page more than what is left of two that do.
"""

_VERY_LONG = 30_000
"""A list is, once so many of its records are there: then a page more is not much."""

Wish = tuple[str, str]
"""An enrichment and its argument."""

T = TypeVar("T")


class Hands(NamedTuple):
    """What it takes.

    `known` gives the values that need not be read, `read` reads those of some records until it is enough, `came` is
    given the records of a query with what was found for each wish (None: nobody waits for them).
    """

    known: Callable[[Wish, Rows], Rows]
    read: Callable[[Wish, Rows, Enough], Awaitable[Extra]]
    came: Callable[[Query, Rows, Mapping[str, Extra]], None] | None


class Early:
    """Reads ahead for some queries of one list; `takes` says which of its records are whose (None: all of them)."""

    def __init__(self, takes: Mapping[Query, Taking | None], hands: Hands, shelf: Shelf) -> None:
        self._takes = takes
        self._hands = hands
        self._shelf = shelf
        self._parts: asyncio.Queue[Rows | None] = asyncio.Queue()
        self._wishes = early_wishes(takes)
        self._open: dict[Query, Rows] = {}
        self._failed: set[Wish] = set()
        self._told: set[Query] = set()
        self._ended = False
        self._came = 0
        self._is_very_long = asyncio.Event()
        self.found: dict[Wish, Rows] = {wish: shelf.rows() for wish in self._wishes}

    def part(self, rows: Rows) -> None:
        """Some of the list's records are there."""
        self._came += len(rows)
        if self._came >= _VERY_LONG:
            self._is_very_long.set()
        self._parts.put_nowait(rows)

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
                    self._parts.put_nowait(None)

        await together([whole(), self._work(), *(self._help() for _ in range(1, _AT_ONCE))])
        return given[0]

    def _is_over(self) -> bool:
        """Whether all of the list is there: then the rest is read at once."""
        return self._ended

    async def _help(self) -> None:
        await self._is_very_long.wait()
        await self._work()

    async def _work(self) -> None:
        while (part := await self._parts.get()) is not None:
            rows = {query: self._open.pop(query, self._shelf.rows()) for query in self._takes}
            for query, ids in self._taken(part).items():
                rows[query] |= part.only(ids)
            for wish in self._wishes:
                await self._read(wish, rows)
            for query, each in rows.items():
                left = self._hand_on(query, each)
                self._open[query] = self._open.get(query, self._shelf.rows()) | left

    def _taken(self, part: Rows) -> dict[Query, list[str]]:
        """Which of some records each query takes; every record is looked up once at most."""
        taken = {query: list(part) if takes is None else [] for query, takes in self._takes.items()}
        choosing = [(takes, taken[query]) for query, takes in self._takes.items() if takes is not None]
        for id_, raw in part.items() if choosing else ():
            for takes, ids in choosing:
                if takes(raw):
                    ids.append(id_)
        return taken

    async def _read(self, wish: Wish, of: Mapping[Query, Rows]) -> None:
        """Read what can be read now of one enrichment of some records."""
        if wish in self._failed:
            return
        found, new = self.found[wish], self._shelf.rows()
        for query, rows in of.items():
            new |= rows.only(id_ for id_ in rows if wish in query.enrich and id_ not in found)
        found |= self._hands.known(wish, new)
        if self._is_over():
            return
        extra = await self._hands.read(wish, new.only(id_ for id_ in new if id_ not in found), self._is_over)
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
