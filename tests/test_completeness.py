"""A list that came whole but much shorter is not believed at once."""

from __future__ import annotations

import pytest

from pdsync.completeness import SUSPICIOUS, Seen, judged, seen_in, taken_over
from pdsync.errors import error
from pdsync.model import Collection, Query, Record, Snapshot
from tests.builders import entry, ledger, rule

SERVICES = Query("services")
INCIDENTS = Query("incidents")


def snapshot(count: int, query: Query = SERVICES, *, whole: bool = True, taken: int = 0) -> Snapshot:
    problem = None if whole else error("PD320", "cut")
    records = tuple(Record(str(n), b"{}") for n in range(count))
    return Snapshot("pd", "now", {query: Collection(query, records, problem, taken=taken)})


@pytest.mark.parametrize(
    ("query", "before", "now", "suspicious"),
    [
        (SERVICES, 0, 0, False),
        (SERVICES, 100, 51, False),
        (SERVICES, 100, 50, True),
        (SERVICES, 100, 0, True),
        (SERVICES, 9, 3, False),
        (SERVICES, 2, 0, True),
        (SERVICES, 1, 0, False),
        (INCIDENTS, 5, 0, True),
        (INCIDENTS, 4, 0, False),
        (SERVICES, 100, 500, False),
    ],
)
def test_a_shrink_to_nothing_or_by_half_is_suspicious(query: Query, before: int, now: int, *, suspicious: bool) -> None:
    """From ten records up half is too few, from two (by time: five) up nothing is; what was believed is remembered."""
    found = judged(snapshot(now, query), {query: Seen(before, before, suspicious=False)}).collections[query]
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


def test_the_ledger_knows_how_many_records_there_were_at_least() -> None:
    """Each record counts once for each query that it was mapped from, whatever number of entities it gave."""
    owned = {"a": entry(), "b": entry(), "c": entry(source="services/c"), "stub": entry(source="")}
    assert seen_in(ledger(owned), [rule()]) == {SERVICES: Seen(2, 2, suspicious=False)}
    assert seen_in(ledger(owned), [rule(id="another")]) == {}


def test_what_was_taken_over_is_named() -> None:
    """Of the records that are asked for, those that stand among the first so many."""
    taken = taken_over(snapshot(5, taken=3), {"services/1", "services/4", "users/2", "services/99"})
    assert taken == {"services/1"}
