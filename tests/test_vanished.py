"""What is listed under a parent no more is believed to be gone once that lasts, and not before."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pdsync.errors import error
from pdsync.model import Collection, Listed, Missing, Query, Record, Snapshot
from pdsync.vanished import MOVED, VANISHED, doubtful, in_doubt, missed_since, noted_missing

METHODS = Query("users.contact_methods")
HOUR = timedelta(hours=1)


def moment(minutes: int) -> str:
    return f"2026-01-01T{minutes // 60:02}:{minutes % 60:02}:00Z"


def snapshot(there: str, missing: str, at: int, *, whole: bool = True) -> Snapshot:
    """So many minutes after the first, some records are there and some others missing."""
    problem = None if whole else error("PD320", "cut")
    records, gone = tuple(Record(id_, b"{}") for id_ in there), {id_: Missing("PU1") for id_ in missing}
    return Snapshot("pd", moment(at), {METHODS: Collection(METHODS, records, problem, missing=gone)})


@pytest.mark.parametrize("keeps", ["snapshot", "ledger"])
@given(steps=st.lists(st.tuples(st.sets(st.sampled_from("ABC")), st.integers(1, 50), st.booleans()), max_size=9))
def test_nothing_is_gone_before_it_was_missed_for_an_hour(keeps: str, steps: list[tuple[set[str], int, bool]]) -> None:
    """In every snapshot that could be read, whether the last one is kept or but the ledger; one that was cut begins anew."""
    last = snapshot("ABC", "", 0)
    notes: dict[str, Listed] = {}
    owned = frozenset(f"users.contact_methods/{id_}" for id_ in "ABC")
    missed: dict[str, int] = {}
    gone: set[str] = set()
    at = 0
    for there, minutes, whole in steps:
        at += minutes
        if keeps == "ledger":
            known = {
                f"users.contact_methods/{id_}": when for each in notes.values() for id_, when in each.missing.items()
            }
            gone = set()
        else:
            known = missed_since(last.collections.values())
            gone -= there
        lacking = "".join(sorted({*"ABC"} - there - gone))
        now = in_doubt(snapshot("".join(sorted(there)), lacking, at, whole=whole), known, HOUR)
        if whole:
            missed = {id_: missed.get(id_, at) for id_ in lacking}
            young = {id_ for id_, since in missed.items() if since == at or at < since + 60}
            assert doubtful(now) == {f"users.contact_methods/{id_}" for id_ in young}
            assert [note.code for note in now.collections[METHODS].notes] == [VANISHED] * bool(young)
            gone |= {*lacking} - young
        elif keeps == "snapshot":
            missed = {}
        notes = noted_missing(now, {}, notes, str, lambda: owned)
        missed = {id_: since for id_, since in missed.items() if id_ not in there}
        last = now


def test_what_is_accepted_is_gone() -> None:
    """Of that kind alone."""
    short = snapshot("A", "BC", 0)
    assert doubtful(in_doubt(short, {}, HOUR, ("users.contact_methods",))) == frozenset()
    assert len(doubtful(in_doubt(short, {}, HOUR, ("users",)))) == 2


def test_what_another_list_of_the_kind_has_is_not_missing() -> None:
    """Two mappings of a kind, each of some parents: nobody knows beforehand whose records are whose."""
    short, other = snapshot("A", "BC", 0), Query("users.contact_methods", (("parent.team_ids[]", "PT1"),))
    both = {**short.collections, other: Collection(other, (Record("C", b"{}"),), missing={"A": Missing("")})}
    found = in_doubt(replace(short, collections=both), {}, HOUR)
    assert doubtful(found) == {"users.contact_methods/B"}
    (note,) = found.collections[METHODS].notes
    assert "1 record missing under 1 parent" in note.detail
    assert found.collections[other].notes == ()


def test_what_is_missing_of_a_stretch_of_time_is_said_to_be() -> None:
    """Of a kind that has no parents."""
    query = Query("incidents")
    short = Snapshot("pd", moment(0), {query: Collection(query, (), missing={"A": Missing("")})})
    (note,) = in_doubt(short, {}, HOUR).collections[query].notes
    assert (note.code, "1 record missing of a time, or by a filter," in note.detail, "parent" in note.summary) == (
        VANISHED,
        True,
        False,
    )


def test_the_ledger_remembers_what_is_missing_for_as_long_as_it_is_owned() -> None:
    """Beside what it notes of the length of the list; what nothing is made of any more is forgotten."""
    before = {
        str(METHODS): Listed("users.contact_methods", "", 9, 9, moment(0), suspicious=True, missing={"B": moment(5)})
    }
    now = in_doubt(snapshot("A", "", 200), {}, HOUR)
    noted = noted_missing(now, before, before, str, lambda: {"users.contact_methods/B"})
    assert noted == before
    assert noted_missing(now, {}, before, str, lambda: ()) == {}
    back = replace(now, collections=snapshot("AB", "", 200).collections)
    assert noted_missing(back, {}, before, str, lambda: {"users.contact_methods/B"}) == {}


@given(minutes=st.integers(0, 10_000), seen=st.booleans())
def test_what_is_listed_elsewhere_is_never_gone_but_by_a_persons_word(minutes: int, seen: bool) -> None:
    """No time makes it so: that its parent is of another sort now says nothing of it."""
    users = Query("schedules.users")
    away = {"PS1/PU1": Missing("PS1", moved=True)}
    now = Snapshot("pd", moment(minutes), {users: Collection(users, (), None, missing=away)})
    since = {"schedules.users/PS1/PU1": moment(0)} if seen else {}
    left = in_doubt(now, since, HOUR).collections[users]
    assert ({*left.missing}, [note.code for note in left.notes]) == ({"PS1/PU1"}, [MOVED])
    let_go = in_doubt(now, since, HOUR, {"schedules.users"}).collections[users]
    assert (let_go.missing, let_go.notes) == ({}, ())


def test_where_it_is_listed_now_is_said() -> None:
    """By the kind that has it, where there is one."""
    for below, hint in (("overrides", "map schedules_v3.overrides,"), ("users", "map the records that it stands in")):
        which = Query(f"schedules.{below}")
        away = {"A": Missing("PS1", moved=True), "B": Missing("PS2", moved=True)}
        now = Snapshot("pd", moment(0), {which: Collection(which, (), None, missing=away)})
        (note,) = in_doubt(now, {}, HOUR).collections[which].notes
        assert note.detail == f"schedules.{below}: 2 records under 2 schedules that are shift-based now"
        assert hint in note.hint
