"""Walking a list page by page, and noticing what moved underneath."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pdsync.completeness import is_too_short
from pdsync.sources.pagerduty.problems import REACH, cut_short, miscounted, moved, repeated, too_long

if TYPE_CHECKING:
    from pdsync.errors import Diagnostic
    from pdsync.kinds import Kind
    from pdsync.sources.pagerduty.records import Page
    from pdsync.sources.pagerduty.shelf import Kept

OWN_ID = ("id",)
"""What `Kind.id` is for records that carry an id of their own."""


def is_named_once(kind: Kind) -> bool:
    """Whether no two rows of a list can be of one record: it is named by one field that is its own."""
    return len(kind.id) == 1 and kind.id[0].isidentifier() and not kind.in_parent


_OVERLAP = 10
"""So many rows of each page come again with the next one at most: of short pages a quarter."""

_STEPS_BACK = 8
_REPEATED = 8
"""So often the same page in a row comes from a server, or what stands before it, that does not look at the offset."""


class Trail:
    """A list walked page by page: what was read, where to go on, whether rows moved underneath.

    A page begins with rows that are known, and the last of them tells how far the rows have shifted since the page
    before.  Rows that vanished from what was read shift the rest to the front: nothing is lost, the walk steps back
    where it must.  Rows that appeared there, or stand in another order, may have come from what was not read yet:
    then the walk proves nothing.
    """

    def __init__(self, kind: Kind) -> None:
        self._kind = kind
        self.records: dict[str, Kept] = {}
        self.offset = 0
        self.over = False
        self.total: int | None = None
        self._places: dict[str, int] = {}
        self._seen = 0
        self._vanished = 0
        self._steps_back = 0
        self._last: list[str] = []
        self._repeated = 0
        self._stirred = False
        self._lost = False
        self._beyond = False
        self._promised = False
        self._cut = False
        self._blind = False
        self._again = 0
        self._overlap = 0

    def follow(self, page: Page) -> None:
        """Take in the page at `offset`, and decide where to go on."""
        known = [self._places[id_] for id_ in page.ids if id_ in self._places]
        if self.offset and not known and self._seen > self.offset:
            self._step_back()
            return
        if self.offset:
            shift = self._seen - (self.offset + len(known))
            in_order = known == sorted(known) and all(id_ in self._places for id_ in page.ids[: len(known)])
            # Rows only move to the front while others vanish; one that is further back was put there.
            in_order = in_order and all(self.offset + at <= place for at, place in enumerate(known))
            self._vanished += max(0, shift)
            self._stirred = self._stirred or shift < 0 or not in_order
        self._repeated = self._repeated + 1 if page.ids == self._last else 0
        self._lost = self._repeated > _REPEATED
        self._last = page.ids
        reached, is_new = self.offset + len(page.ids), len(known) < len(page.ids)
        self._promised = bool(page.more) and not is_new and reached == self._seen
        self._blind = self._blind or (is_new and 0 < self.offset == self._seen)
        self._again += len(page.ids) - len(set(page.ids)) if is_named_once(self._kind) else 0
        self._take(page)
        self._seen = reached
        self._cut = page.more is False and self._denies_count(page, reached)
        # Who does not count further than this may not say either that there is more.
        self._beyond = self._seen >= REACH and (page.more is not False or (page.total or REACH) >= REACH)
        ends = not is_new if page.more is None else not page.more
        self.over = self._lost or self._beyond or self._promised or self._blind or ends
        self._overlap = min(_OVERLAP, max(1, len(page.ids) // 4), len(page.ids) - 1)
        self.offset = self._seen - self._overlap

    def _take(self, page: Page) -> None:
        for id_, place in zip(page.ids, page.places, strict=True):
            self._places.setdefault(id_, len(self._places))
            self.records.setdefault(id_, place)
        self.total = page.total

    def _denies_count(self, page: Page, reached: int) -> bool:
        """Whether a page that says it is the last one is not, as the count tells, be it a little off.

        It is full, or there is nothing; or half of what is counted, where one field names a record: then few rows can
        be of the same one.
        """
        total, is_full = page.total or 0, len(page.ids) >= self._kind.page_size
        is_half = len(self._kind.id) == 1 and is_too_short(total, reached)
        return reached < total and (is_full or not reached or is_half)

    def _step_back(self) -> None:
        """Look for a row that is known further to the front."""
        self._steps_back += 1
        self._lost = self.over = self._steps_back > _STEPS_BACK
        self.offset = max(0, self.offset - self._overlap * 2**self._steps_back)

    @property
    def quiet(self) -> bool:
        """Whether nothing was lost and nothing moved in a way that proves nothing."""
        # What vanished was read and is no longer counted; an id made up from other fields counts for nothing.
        adds_up = self._uncounted or len(self.records) - self._vanished == self.total
        # A page that is the last although there are many more: other counts may be wrong, but not in this way.
        return adds_up and not (self._moved or self._cut or self._blind or self._doubled)

    @property
    def _doubled(self) -> int:
        """How many rows a page had twice, perhaps in place of others, as nothing counts them."""
        return self._again if self._uncounted else 0

    @property
    def _moved(self) -> bool:
        """Whether rows moved in a way that proves nothing."""
        # Of many that vanished at once, as one had to step back, nobody knows whether others came instead.
        return self._stirred or self._lost or (self._uncounted and (self._promised or self._steps_back > 0))

    @property
    def _uncounted(self) -> bool:
        return self.total is None or self._beyond or self._kind.id != OWN_ID

    @property
    def problem(self) -> Diagnostic | None:
        """Why the walk proves nothing, if so."""
        if self._beyond:
            return too_long(self._kind, self.total)
        if self._blind:
            return cut_short(self._kind, "each page has one row, so that none can be held against another")
        if self._promised and not self._stirred and self.total is None:
            return cut_short(self._kind, "PagerDuty says there is more and gives nothing")
        if self.quiet:
            return None
        count = len(self.records)
        if self._doubled and not self._moved:
            return repeated(self._kind, count, self._doubled)
        is_odd = self.total is not None and not self._moved
        odd = miscounted(self._kind, count, self.total or 0, self._vanished)
        return odd if is_odd else moved(self._kind, count, self.total)
