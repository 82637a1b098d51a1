"""What of a list is handed on while other pages of it are still to come.

Whether its records are all there are, and as they are in the end, is not known by then: what is done with them early is
of use if they are, and does no harm if not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from pdsync.sources.pagerduty.records import Page
    from pdsync.sources.pagerduty.shelf import Kept, Rows, Shelf


class Stretch(NamedTuple):
    """From when to when something goes, as it is asked for or as records say it."""

    since: str
    until: str


_A_PIECE = 1000
"""So many records are handed on together, at least: as many as one answer of analytics is about at most."""


class Coming:
    """Tells of a list that is sorted by time, piece by piece, as far as its pages fit together from its beginning on.

    Args:
        came: is told of the records of a piece, and of the time they are of: where one ends, the next one begins.
        shelf: where the pages are; it knows when the records on them were made.
        stretch: the time that the whole list is of, of whose end nobody is told: then all of it is there.
    """

    def __init__(self, came: Callable[[Rows, Stretch], None], shelf: Shelf, stretch: Stretch) -> None:
        self._came = came
        self._shelf = shelf
        self._stretch = stretch
        self._pages: dict[int, Page] = {}
        self._number = 0
        self._last, self._reached = "", ""
        self._piece: dict[str, Kept] = {}

    def page(self, number: int, page: Page) -> None:
        """The page of that number, from 0 on, is there; each begins with the last record of the one before."""
        self._pages[number] = page
        while (following := self._pages.pop(self._number, None)) and self._fits(following):
            self._number += 1
            self._take(following)

    def _fits(self, page: Page) -> bool:
        """Whether a page goes on where the one before it ended, and later.  Nothing follows one that does not."""
        at = self._moment(page)
        return bool(page.ids) and (not self._number or page.ids[0] == self._last) and at >= self._reached

    def _take(self, page: Page) -> None:
        rows = list(zip(page.ids, page.places, strict=True))
        self._piece.update(rows[1:] if self._number > 1 else rows)
        self._last, self._reached = page.ids[-1], self._moment(page)
        if len(self._piece) >= _A_PIECE and self._reached > self._stretch.since:
            self._came(self._shelf.rows(self._piece), self._stretch._replace(until=self._reached))
            self._piece, self._stretch = {}, self._stretch._replace(since=self._reached)

    def _moment(self, page: Page) -> str:
        """When the last record of a page was made; empty where that is not known."""
        return str(self._shelf.moments.get(page.places[-1]) or "") if page.places else ""
