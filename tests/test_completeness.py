"""A list that came whole but much shorter is not believed at once."""

from __future__ import annotations

import pytest

from pdsync.completeness import SUSPICIOUS, Seen, judged
from pdsync.errors import error
from pdsync.model import Collection, Query, Record, Snapshot

SERVICES = Query("services")


def snapshot(count: int, *, whole: bool = True) -> Snapshot:
    problem = None if whole else error("PD320", "cut")
    records = tuple(Record(str(n), b"{}") for n in range(count))
    return Snapshot("pd", "now", {SERVICES: Collection(SERVICES, records, problem)})


@pytest.mark.parametrize(
    ("before", "now", "suspicious"),
    [
        (0, 0, False),
        (100, 51, False),
        (100, 50, True),
        (100, 0, True),
        (9, 3, False),
        (5, 0, True),
        (4, 0, False),
        (1, 0, False),
        (100, 500, False),
    ],
)
def test_a_shrink_to_nothing_or_by_half_is_suspicious(before: int, now: int, *, suspicious: bool) -> None:
    """From ten records up half is too few, from five up nothing is; what was believed is remembered."""
    found = judged(snapshot(now), {SERVICES: Seen(before, before, suspicious=False)}).collections[SERVICES]
    assert (found.complete, found.believed) == (not suspicious, before if suspicious else now)


def test_a_second_complete_snapshot_is_believed() -> None:
    """What two snapshots say in a row is so, and is what the next one is measured by."""
    first = judged(snapshot(3), {SERVICES: Seen(100, 100, suspicious=False)}).collections[SERVICES]
    assert first.problem is not None
    assert first.problem.code == SUSPICIOUS
    again = judged(snapshot(3), {SERVICES: Seen(3, first.believed, suspicious=True)}).collections[SERVICES]
    assert (again.complete, again.believed) == (True, 3)


def test_a_list_that_goes_on_shrinking_is_still_suspicious() -> None:
    """A second snapshot that is shorter still says something else than the first."""
    again = judged(snapshot(1), {SERVICES: Seen(3, 100, suspicious=True)}).collections[SERVICES]
    assert (again.complete, again.believed) == (False, 100)


def test_a_shrink_can_be_accepted_by_kind() -> None:
    """`--accept-shrink services` believes it at once; another kind does not."""
    last = {SERVICES: Seen(100, 100, suspicious=False)}
    assert judged(snapshot(0), last, ("services",)).collections[SERVICES].complete
    assert not judged(snapshot(0), last, ("users",)).collections[SERVICES].complete


def test_an_incomplete_list_changes_nothing_in_what_is_believed() -> None:
    """A list that was cut keeps its own problem, and the count before it."""
    found = judged(snapshot(1, whole=False), {SERVICES: Seen(100, 100, suspicious=False)}).collections[SERVICES]
    assert found.problem is not None
    assert (found.problem.code, found.believed) == ("PD320", 100)
