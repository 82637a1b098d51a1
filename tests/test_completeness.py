"""A list that came whole but much shorter is not believed at once."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pdsync.completeness import (
    SUSPICIOUS,
    Seen,
    doubts,
    given_to_each,
    judged,
    leans_on,
    noted,
    parents_list,
    remembered,
    seen_in,
    taken_over,
)
from pdsync.errors import Diagnostic, error
from pdsync.model import Collection, Leaned, Listed, Query, Record, Snapshot
from tests.builders import entry, ledger, rule

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

SERVICES = Query("services")
INCIDENTS = Query("incidents")
USERS = Query("users")
SCHEDULES = Query("schedules", enrich=(("__email", ""),))
HOUR = timedelta(hours=1)
EVER = (("date_range", "all"),)
OF_EVER = (("parents.date_range", "all"),)


SOME = st.sets(st.integers(0, 30))


def moment(minutes: int) -> str:
    return f"2026-01-01T{minutes // 60:02}:{minutes % 60:02}:00Z"


def snapshot(count: int, query: Query = SERVICES, *, whole: bool = True, taken: int = 0, at: int = 0) -> Snapshot:
    """So many records, `at` so many minutes."""
    problem = None if whole else error("PD320", "cut")
    records = tuple(Record(str(n), b"{}") for n in range(count))
    return Snapshot("pd", moment(at), {query: Collection(query, records, problem, taken=taken)})


@pytest.mark.parametrize(
    ("query", "before", "now", "suspicious"),
    [
        (SERVICES, 0, 0, False),
        (SERVICES, 100, 500, False),
        (SERVICES, 100, 51, False),
        (SERVICES, 100, 50, True),
        (SERVICES, 5, 3, False),
        (SERVICES, 4, 2, True),
        (SERVICES, 3, 1, False),
        (SERVICES, 1, 0, True),
        (Query("licenses"), 4, 2, True),
        (Query("incident_workflows.actions"), 1, 0, True),
        (Query("oncalls"), 1, 0, True),
        (Query("audit.records"), 9, 4, False),
        (Query("audit.records"), 4, 0, False),
        (Query("change_events"), 4, 2, True),
        (Query("change_events", (("since", "-30d"),)), 9, 4, False),
        (Query("change_events", (("since", "2026-01-01"),)), 4, 2, True),
        (INCIDENTS, 10, 5, True),
        (INCIDENTS, 9, 4, False),
        (INCIDENTS, 5, 0, True),
        (INCIDENTS, 4, 0, False),
        (Query("incidents", EVER), 4, 2, True),
        (Query("incidents", EVER), 1, 0, True),
        (Query("incidents", (*EVER, ("statuses[]", "triggered"))), 9, 4, False),
        (Query("incidents.notes"), 9, 4, False),
        (Query("incidents.notes", OF_EVER), 4, 2, True),
        (Query("incidents.notes", (*OF_EVER, ("parents.statuses[]", "triggered"))), 4, 0, False),
    ],
)
def test_a_shrink_to_nothing_or_by_half_is_suspicious(query: Query, before: int, now: int, *, suspicious: bool) -> None:
    """From four records up half is too few, from one none; ten and five of what leaves its list as time goes by."""
    found = judged(snapshot(now, query), {query: Seen(before, before, suspicious=False)}, HOUR).collections[query]
    assert (found.complete, found.believed) == (not suspicious, before if suspicious else now)


def test_a_second_complete_snapshot_is_believed_once_it_is_young_enough() -> None:
    """What snapshots say over an hour is so, and is what the next one is measured by; two in a moment may err alike."""
    seen, told = Seen(100, 100, suspicious=False), []
    for minutes, count in ((0, 3), (1, 3), (59, 4), (60, 3), (61, 3)):
        found = judged(snapshot(count, at=minutes), {SERVICES: seen}, HOUR).collections[SERVICES]
        told.append((found.complete, found.believed, found.short_since))
        seen = Seen(count, found.believed, suspicious=not found.complete, since=found.short_since)
    short = (False, 100, moment(0))
    assert told == [short, short, short, (True, 3, ""), (True, 3, "")]


def test_it_is_said_from_when_on_a_shrink_is_believed() -> None:
    """Without a least time, the next snapshot is."""
    seen = {SERVICES: Seen(3, 100, suspicious=True, since=moment(0))}
    problem = judged(snapshot(3, at=20), seen, HOUR).collections[SERVICES].problem
    assert problem is not None
    assert (problem.code, "from 2026-01-01T01:00:00Z on" in problem.hint) == (SUSPICIOUS, True)
    assert judged(snapshot(3, at=20), seen, timedelta(0)).collections[SERVICES].complete


def test_what_is_not_known_since_when_begins_anew() -> None:
    """As of a snapshot that was kept before this was noted."""
    seen = {SERVICES: Seen(3, 100, suspicious=True)}
    assert judged(snapshot(3, at=20), seen, HOUR).collections[SERVICES].short_since == moment(20)


@pytest.mark.parametrize(("now", "confirms"), [(0, False), (10, False), (11, True), (19, True), (21, True)])
def test_a_list_that_goes_on_shrinking_is_still_suspicious(now: int, *, confirms: bool) -> None:
    """A second snapshot that is shorter by half says something else than the first; a few records less do not."""
    seen = {SERVICES: Seen(20, 100, suspicious=True, since=moment(0))}
    again = judged(snapshot(now, at=60), seen, HOUR).collections[SERVICES]
    assert (again.complete, again.believed) == (confirms, now if confirms else 100)
    assert again.short_since == ("" if confirms else moment(60))


def test_a_shrink_can_be_accepted_by_kind() -> None:
    """`--accept-shrink services` believes it at once; another kind does not."""
    last = {SERVICES: Seen(100, 100, suspicious=False)}
    assert judged(snapshot(0), last, HOUR, ("services",)).collections[SERVICES].complete
    assert not judged(snapshot(0), last, HOUR, ("users",)).collections[SERVICES].complete


class Known:
    """What lists had, all of it known or but a part; whether a record belongs to the first list stands in its bytes."""

    def __init__(self, there: Mapping[Query, Iterable[int]], *, whole: bool = True, tells: bool = False) -> None:
        self.there = there
        self.whole = whole
        self.tells = tells

    def had(self, query: Query) -> frozenset[str]:
        return frozenset(map(str, self.there[query]))

    def all_of(self, query: Query) -> frozenset[str] | None:
        return self.had(query) if self.whole else None

    def test(self, _: Query) -> Callable[[bytes], bool] | None:
        return (lambda raw: raw == b"true") if self.tells else None


@given(before=SOME, now=SOME, elsewhere=SOME, always=SOME)
def test_what_is_in_another_list_of_the_kind_has_not_gone(
    before: set[int], now: set[int], elsewhere: set[int], always: set[int]
) -> None:
    """An open incident that is resolved is in the list of those; what is in neither, or was in both, has gone."""
    closed, users = Query("incidents", (("statuses[]", "resolved"),)), Query("users")
    taken = {
        query: Collection(query, tuple(Record(str(n), b"{}") for n in sorted(ids)))
        for query, ids in ((INCIDENTS, now), (closed, elsewhere), (users, before))
    }
    count = len(before)
    seen = {INCIDENTS: Seen(count, count, suspicious=False)}
    known = Known({INCIDENTS: before, closed: always})
    found = judged(Snapshot("pd", moment(0), taken), seen, HOUR, (), known).collections[INCIDENTS]
    left = len(now) + len(before & elsewhere - always - now)
    assert found.complete != ((count >= 10 and left * 2 <= count) or (count >= 5 and left == 0))
    assert found.believed == (len(now) if found.complete else count)


def test_what_was_taken_over_is_no_proof_that_it_is_there() -> None:
    """Another list has it from the snapshot before, and did not read it."""
    other = replace(snapshot(20, closed := Query("incidents", EVER)).collections[closed], taken=20)
    taken = Snapshot("pd", moment(0), {INCIDENTS: Collection(INCIDENTS, ()), closed: other})
    seen = {INCIDENTS: Seen(20, 20, suspicious=False)}
    known = Known({INCIDENTS: range(20), closed: ()})
    assert not judged(taken, seen, HOUR, (), known).collections[INCIDENTS].complete


@pytest.mark.parametrize(
    ("known", "raw", "believed"),
    [
        (Known({INCIDENTS: range(20)}, tells=True), b"false", True),
        (Known({INCIDENTS: range(20)}, tells=True), b"true", False),
        (Known({INCIDENTS: range(20)}, whole=False), b"false", False),
        (None, b"false", False),
    ],
    ids=["it left by its own word", "it belongs to both", "the other one may have had it", "nothing is known"],
)
def test_what_another_list_has_went_there_only_if_something_tells(
    known: Known | None, raw: bytes, believed: bool
) -> None:
    """Of two lists, one of all records and one of some, the second came empty: it is not that they moved."""
    other = Query("incidents", EVER)
    lists = {INCIDENTS: (), other: tuple(Record(str(n), raw) for n in range(20))}
    taken = Snapshot("pd", moment(0), {query: Collection(query, records) for query, records in lists.items()})
    seen = {INCIDENTS: Seen(20, 20, suspicious=False)}
    assert judged(taken, seen, HOUR, (), known).collections[INCIDENTS].complete == believed


@given(before=st.integers(0, 30), now=st.integers(0, 30))
def test_what_is_known_but_loosely_doubts_only_that_nothing_came(before: int, now: int) -> None:
    """Another filter may take less, and hardly takes nothing."""
    seen = {SERVICES: Seen(before, before, suspicious=False, loosely=True)}
    assert judged(snapshot(now), seen, HOUR).collections[SERVICES].complete == bool(now or not before)


def leaning(count: int, *, minutes: int = 0, problem: Diagnostic | None = None) -> Snapshot:
    """A schedule whose addresses are taken from so many users, which no mapping lists; another without addresses."""
    read = {query: Collection(query, (Record("P1", b"{}"),)) for query in (SCHEDULES, Query("schedules"))}
    return Snapshot("pd", moment(minutes), read, leaned={USERS: Leaned(USERS, count, problem)})


def test_what_leans_on_a_list_that_is_not_believed_is_in_doubt() -> None:
    """With no user there is no address: whoever maps addresses keeps them; a list that nobody leans on harms none."""
    found = doubts(judged(leaning(0), {USERS: Seen(8, 8, suspicious=False)}, HOUR))
    assert [(query, list(reasons)) for query, reasons in found.items()] == [(SCHEDULES, ["__email"])]
    problem = found[SCHEDULES]["__email"].problem
    assert problem is not None
    assert problem.detail == "users: 8 records before, 0 now"
    assert "--accept-shrink users" in problem.hint
    assert doubts(judged(leaning(8), {Query("schedules"): Seen(100, 100, suspicious=False)}, HOUR)) == {}


def test_a_list_that_only_enrichments_read_is_believed_as_any_other() -> None:
    """An hour later, if it says the same; at once if its kind is accepted; not while it could not be read."""
    seen, told = Seen(100, 100, suspicious=False), []
    unread = error("PD320", "cut")
    for minutes, count, problem in ((0, 3, None), (30, 0, unread), (59, 4, None), (60, 3, None), (61, 3, None)):
        found = judged(leaning(count, minutes=minutes, problem=problem), {USERS: seen}, HOUR)
        told.append((bool(doubts(found)), found.leaned[USERS].believed))
        if problem is None:
            leaned = found.leaned[USERS]
            seen = Seen(count, leaned.believed, suspicious=not leaned.complete, since=leaned.short_since)
    assert told == [(True, 100), (False, 100), (True, 100), (False, 3), (False, 3)]
    assert not doubts(judged(leaning(0), {USERS: Seen(8, 8, suspicious=False)}, HOUR, ("users",)))


@pytest.mark.parametrize(
    ("asked", "some", "doubted"),
    [
        (20, 20, False),
        (20, 11, False),
        (20, 10, True),
        (8, 5, False),
        (8, 4, True),
        (3, 1, False),
        (1, 0, True),
        (0, 0, False),
    ],
)
def test_what_is_given_to_each_record_shrinks_with_the_records(asked: int, some: int, *, doubted: bool) -> None:
    """Custom fields of fewer incidents are fewer; only queries whose own have become fewer are in doubt."""
    mine = Query("incidents", (("statuses[]", "triggered"),), (("__custom_fields", ""),))
    other = Query("incidents", (), (("__custom_fields", ""),))
    read = {query: Collection(query, (Record("P1", b"{}"),)) for query in (mine, other)}
    own, others = given_to_each(mine)["__custom_fields"], given_to_each(other)["__custom_fields"]
    leaned = {own: Leaned(own, some, asked=asked), others: Leaned(others, 500, asked=500)}
    seen = {each: Seen(20, 20, suspicious=False) for each in leaned}
    found = doubts(judged(Snapshot("pd", moment(0), read, leaned=leaned), seen, HOUR))
    assert [(query, list(reasons)) for query, reasons in found.items()] == (
        [(mine, ["__custom_fields"])] if doubted else []
    )


@given(counts=st.lists(st.integers(0, 60) | st.none(), min_size=1, max_size=12), anew=st.booleans())
def test_what_the_ledger_notes_of_such_a_list_tells_what_there_was(counts: list[int | None], *, anew: bool) -> None:
    """Where no snapshot is kept: just how many with a run that writes; else not far off.  A cut list leaves the note."""
    notes: dict[str, Listed] = {}
    for turn, count in enumerate(counts):
        before, cut = notes.get("users"), error("PD320", "cut") if count is None else None
        seen = {USERS: remembered(before)} if before else {}
        found = judged(leaning(count or 0, minutes=turn * 20, problem=cut), seen, HOUR)
        notes = noted(found, {}, notes, lambda query: query.kind, anew=anew)
        if count is None:
            assert notes.get("users") == before
            continue
        told = notes["users"].count
        assert told == count or (not anew and count < 2 * told and told < 2 * count)
        assert notes["users"].suspicious == bool(doubts(found))
        if before and not before.suspicious:
            assert bool(doubts(found)) == (count * 2 <= before.count >= 4 or (count == 0 and before.count > 0))


@pytest.mark.parametrize(
    ("before", "parents", "proves"),
    [(12, 12, True), (12, 7, True), (12, 6, False), (1, 0, False), (4, 2, False), (3, 1, True)],
)
def test_what_is_listed_under_a_list_that_is_not_believed_is_not_either(
    before: int, parents: int, *, proves: bool
) -> None:
    """Who is missing among the parents takes all that is under them along; they are doubted as any list of theirs."""
    users, methods = parents_list("users", ()), Query("users.contact_methods")
    now = replace(snapshot(30, methods), leaned={users: Leaned(users, parents)})
    seen = {users: Seen(before, before, suspicious=False), methods: Seen(31, 31, suspicious=False)}
    found = judged(now, seen, HOUR).collections[methods]
    assert (found.complete, found.believed) == (proves, 30)
    if found.problem:
        assert (
            found.problem.detail == f"users.contact_methods, listed under users: {before} records before, {parents} now"
        )
        assert found.problem.hint.endswith("or pass --accept-shrink users")
    assert judged(now, seen, HOUR, ("users",)).collections[methods].complete
    assert leans_on(methods) == {"users"}


def test_what_comes_in_two_lists_is_not_believed_when_one_of_them_shrank() -> None:
    """The shift-based schedules came empty: there are nearly as many schedules as before, and none is proven gone."""
    shifts, schedules = parents_list("schedules_v3", ()), Query("schedules")
    now = replace(snapshot(30, schedules), leaned={shifts: Leaned(shifts, 0)})
    found = judged(now, {shifts: Seen(1, 1, suspicious=False)}, HOUR)
    why = found.collections[schedules].problem
    assert why is not None
    assert (why.code, why.detail) == ("PD342", "schedules, listed with schedules_v3: 1 records before, 0 now")
    assert judged(now, {}, HOUR).collections[schedules].complete
    assert "schedules_v3" in leans_on(schedules)
    # Nothing of an empty list was noted before, and the next run may have nothing but what is noted now.
    [kept] = noted(found, {}, {}, str, anew=True).values()
    assert not judged(now, {shifts: remembered(kept)}, HOUR).collections[schedules].complete


def test_an_incomplete_list_changes_nothing_in_what_is_believed() -> None:
    """A list that was cut keeps its own problem, and the count before it."""
    found = judged(snapshot(1, whole=False), {SERVICES: Seen(100, 100, suspicious=False)}, HOUR).collections[SERVICES]
    assert found.problem is not None
    assert (found.problem.code, found.believed) == ("PD320", 100)


def test_the_ledger_knows_how_many_records_there_were_at_least() -> None:
    """Each record counts once for each query that it was mapped from, whatever number of entities it gave."""
    owned = {"a": entry(), "b": entry(), "c": entry(source="services/c"), "stub": entry(source="")}
    kept = replace(ledger(owned), expressions={rule().id: {"$query": "0a"}})
    assert seen_in(kept, {("services", "0a"): [SERVICES]}) == {SERVICES: Seen(2, 2, suspicious=False)}
    assert seen_in(kept, {("services", "0b"): [SERVICES], ("users", "0a"): [USERS]}) == {}


def test_what_was_taken_over_is_named() -> None:
    """Of the records that are asked for, those that stand among the first so many."""
    taken = taken_over(snapshot(5, taken=3), {"services/1", "services/4", "users/2", "services/99"})
    assert taken == {"services/1"}
