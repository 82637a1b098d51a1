"""Saved plans over random worlds: what has not moved is as planned at every write, and what has is named exactly."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from hypothesis import given, settings
from hypothesis import strategies as st

from pdsync.diff import Difference
from pdsync.model import Catalog, DesiredEntities, EntityKey, Existing, ExistingEntity, Ledger
from pdsync.plan.compare import compare, compare_files, rebased
from pdsync.plan.document import plan_document, read_plan
from pdsync.plan.saved import moved, moved_since, paths_seen
from pdsync.plan.wording import moved_fields
from tests.builders import plan
from tests.drawing import several
from tests.plan.test_laws import BY_NAME, KEYS, PATHS, do, facts, fields_of, histories

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pdsync.model import Change, FieldChange, Fields, Plan

History = tuple[Catalog, DesiredEntities, dict[EntityKey, ExistingEntity], Ledger]
Port = dict[EntityKey, ExistingEntity]

NOT_THERE: Fields = {"there": False}


def held(port: Port) -> Existing:
    return Existing("org", "Org", BY_NAME, port)


def waves(made: Plan) -> Iterator[list[Change]]:
    """Changes of entities as an apply writes them: each once those it waits for are done."""
    for actions in (("create", "update"), ("release",), ("delete",)):
        rest = {c.n: c for c in made.changes if c.target == "entity" and c.action in actions}
        while rest:
            ready = [c for c in rest.values() if not any(n in rest for n in c.after)]
            yield ready
            rest = {n: c for n, c in rest.items() if c not in ready}


def written(made: Plan, some: list[Change], port: Port) -> Port:
    """Port after these writes alone."""
    others = {c.n for c in made.changes} - {c.n for c in some}
    kept = [c for c in made.changes if c.n not in others]
    return do(_only(made, kept), port, Ledger("x", 1))[0]


def _only(made: Plan, changes: list[Change]) -> Plan:
    return replace(made, changes=tuple(replace(c, after=()) for c in changes))


@settings(max_examples=30, deadline=None)
@given(histories())
def test_on_an_unchanged_world_a_saved_plan_always_applies(history: History) -> None:
    """As a whole, and each entity right before its own write, whatever the plan has written by then."""
    of, world, port, owned = history
    made = plan(facts(of, world, port, owned))
    assert moved(made, held(port)) == {}
    for wave in waves(made):
        assert moved_since(made, wave, port) == {}
        port = written(made, wave, port)


EDITED = st.lists(KEYS, unique=True, max_size=4)


@st.composite
def edits(draw: st.DrawFn) -> dict[EntityKey, Fields | None]:
    """What others do: set some values of an entity that may be there or not, or (None) delete it."""
    names: dict[EntityKey, Any] = {}
    for key in draw(EDITED):
        paths = draw(several(*PATHS[key.blueprint], unique=True))
        names[key] = None if draw(st.booleans()) else fields_of(draw, key.blueprint, paths)
    return names


def edited(port: Port, by: Mapping[EntityKey, Fields | None]) -> Port:
    port = dict(port)
    for key, fields in by.items():
        if fields is None:
            port.pop(key, None)
        else:
            port[key] = ExistingEntity({**(port[key].fields if key in port else {}), **fields})
    return port


def seen(change: Change, port: Port) -> Fields:
    """What of Port a change stands on."""
    if change.action == "forget" and change.reason != "gone-from-port":
        return {}
    have = port.get(change.key)
    if have is None:
        return NOT_THERE
    paths = () if change.action in ("create", "forget") else paths_seen(change)
    return {path: value for path in paths if (value := have.fields.get(path)) is not None}


@settings(max_examples=40, deadline=None)
@given(histories(), edits())
def test_what_moved_is_named_exactly(history: History, by: dict[EntityKey, Fields | None]) -> None:
    """Found by brute force: entities of which anything moved that the plan writes or that is ours; paths that did move."""
    of, world, port, owned = history
    made = plan(facts(of, world, port, owned))
    after = edited(port, by)
    found = moved(made, held(after))
    assert found.keys() == {str(c.key) for c in made.changes if seen(c, port) != seen(c, after)}
    for change in made.changes:
        there = change.action != "create" and change.key in port and change.key in after
        moving = found.get(str(change.key), ())
        assert bool(moving) is (there and change.action != "forget" and str(change.key) in found)
        for path, *values in moving:
            before, now = (world.get(change.key, ExistingEntity({})).fields.get(path) for world in (port, after))
            assert (before != now, values) == (True, [before, now])
    for wave in waves(made):
        told = moved_since(made, wave, after)
        assert told.keys() == {c.n for c in wave if seen(c, port) != seen(c, after)}
        assert "changed in Port since the plan" not in told.values(), "what moved is always known"


def test_what_moved_is_told_where_it_can_be_seen() -> None:
    """Inside a nested value by its place, in a long text from a little before it differs, and never at any length."""
    seen = {"owner": {"name": "a", "id": 1}, "more": ["x" * 500]}
    now = {"owner": {"name": "b", "id": 1}, "more": ["x" * 500]}
    assert moved_fields([Difference("meta", seen, now)]) == 'meta.owner.name was "a", is "b"'
    told = moved_fields([Difference("note", "x" * 500 + "a", "x" * 500 + "b")])
    assert told == f'note was ...{"x" * 20}a", is ...{"x" * 20}b"'
    many = [Difference(f"f{n}", "y" * 500, None) for n in range(9)]
    assert moved_fields(many).endswith("; 6 more")
    assert len(moved_fields(many)) < 300


@settings(max_examples=30, deadline=None)
@given(histories(), edits())
def test_a_rebased_plan_approves_what_was_looked_at_alone(history: History, by: dict[EntityKey, Fields | None]) -> None:
    """It is the plan of the world of now; what it does and the old one did not, in full, is to be looked at."""
    of, world, port, owned = history
    old, fresh = (plan(facts(of, world, some, owned)) for some in (port, edited(port, by)))
    found = rebased(old, fresh)
    made = found.plan
    assert made.changes == fresh.changes
    known = [_told(c) for c in old.changes] + [_told(c) for c in found.done]
    new = {change.n for change in made.changes if _told(change) not in known}
    pairs = [{*pair} for pair in made.renames.items()]
    # A rename is looked at as a whole.
    assert {*made.unreviewed} == new.union(*(pair for pair in pairs if pair & new))
    entries = {c.key: c.ledger for c in old.changes}
    assert [c for c in found.done if c.action != "adopt" or entries[c.key] != c.ledger] == []
    left = {w.key for w in made.withheld} | {h.key for h in made.held}
    assert {c.key for c in found.stopped} <= left
    assert left.isdisjoint(c.key for c in found.gone if c.target == "entity")


@settings(max_examples=15, deadline=None)
@given(histories(), edits())
def test_two_plan_files_are_compared_as_the_plans_are(history: History, by: dict[EntityKey, Fields | None]) -> None:
    """Without reading what is written alike: a cause or a number that differs is no difference."""
    of, world, port, owned = history
    one, other = (plan(facts(of, world, some, owned)) for some in (port, edited(port, by)))
    other = replace(other, changes=tuple(replace(c, n=c.n + 1, fields=_otherwise_caused(c)) for c in other.changes))
    files = [plan_document(each) for each in (one, other)]
    assert compare_files((files[0], "one"), (files[1], "other")) == compare(*map(read_plan, files))


def _otherwise_caused(change: Change) -> tuple[FieldChange, ...]:
    """The fields with another cause in every second change."""
    return tuple(replace(f, cause="tool" if change.n % 2 else f.cause) for f in change.fields)


def _told(change: Change) -> tuple[Any, ...]:
    return change.target, change.key, change.action, sorted((f.path, repr((f.before, f.after))) for f in change.fields)
