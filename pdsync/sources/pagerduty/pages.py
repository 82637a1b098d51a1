"""Answers of lists that are known from an earlier snapshot: their records stay where they stand.

An answer is known by the digest of its bytes, whatever was asked.  What it holds is taken over if the snapshot still
has all its records, byte for byte, and as much was left in them as would be now.  They are read for that: it costs less
than to take the answer apart, and a failing disk is not believed while the answer is at hand.  Most answers of long
lists are about what no longer changes, and most of what it costs to read one is what is saved here.
"""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING

from pdsync.model import PageRead, PagesRead, raw_digest
from pdsync.sources.pagerduty.records import Page

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pdsync.sources.pagerduty.records import PageReader
    from pdsync.sources.pagerduty.shelf import Rows, Shelf


class Pages:
    """Reads answers, those that are known without looking into them.

    Args:
        known: the answers of an earlier snapshot.
        rows: the records that it has of a kind, by list, on the shelf that answers are put on.
        sound: those of some rows of a kind that can be read as they were written.
        private: in what way records are cleaned now (`pdsync.privacy.Cleaner.way`).
    """

    def __init__(
        self,
        known: PagesRead,
        rows: Callable[[str], Sequence[Rows]],
        sound: Callable[[str, Rows], Rows],
        private: tuple[str, ...],
    ) -> None:
        self._known = {page.body: page for page in known.pages} if known.private == private else {}
        self._of_kind = rows
        self._sound = sound
        self._rows: dict[str, Sequence[Rows]] = {}
        self._private = private
        self._read: dict[bytes, PageRead] = {}

    @property
    def read(self) -> PagesRead:
        """All answers that were read, in an order that does not tell which of them came first."""
        return PagesRead(self._private, tuple(sorted(self._read.values(), key=attrgetter("kind", "body"))))

    def page(self, reader: PageReader, content: bytes, shelf: Shelf) -> Page:
        """The page in an answer, its records on the shelf.  Raises `Malformed`."""
        body = raw_digest(content)
        told = self._known.get(body)
        page = self._recalled(told) if told and told.kind == reader.kind.name else None
        if page is None:
            page = reader.read(content).put_on(shelf)
            told = _told(reader.kind.name, body, page, shelf)
        assert told
        self._read[body] = told
        return page

    def _recalled(self, told: PageRead) -> Page | None:
        """The page of an answer that is known, if its records are where they were and as they were."""
        if told.kind not in self._rows:
            self._rows[told.kind] = self._of_kind(told.kind)
        rows = next((each for each in self._rows[told.kind] if told.ids[0] in each), None) if told.ids else None
        if rows is None or not all(id_ in rows for id_ in told.ids):
            return None
        places = [rows.places[id_] for id_ in told.ids]
        if rows.shelf.digest(places) != told.records or len(self._sound(told.kind, rows.only(told.ids))) < len(
            set(told.ids)
        ):
            return None
        page = Page(list(told.ids), [], more=told.more, total=told.total, following=told.following, limit=told.limit)
        page.places = places
        return page


def _told(kind: str, body: bytes, page: Page, shelf: Shelf) -> PageRead:
    records = shelf.digest(page.places)
    return PageRead(kind, body, tuple(page.ids), records, page.more, page.total, page.next, page.limit)
