"""What a run did, put back over HTTP: everything is as before it, but for what somebody has touched since."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pdsync.errors import StateError, UsageError
from pdsync.model import Blueprint, EntityKey
from pdsync.sandbox.http import Fault
from tests.apply.killing import killed_at
from tests.apply.running import Here, create_blueprints, running
from tests.apply.test_resume import AFTER, ALSO_TEAMS, BEFORE, PATHS, SAYS, SERVICE, prepared
from tests.builders import blueprint, catalog, desired, rule, want

if TYPE_CHECKING:
    from pdsync.model import Catalog, DesiredEntities, Ledger, Plan

STAMPS = ("createdAt", "createdBy", "updatedAt", "updatedBy")


def port_of(here: Here) -> Any:
    """Blueprints and entities, without who wrote them and when."""
    return _plain(here.port.snapshot())


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items() if name not in STAMPS and inner is not None}
    return [_plain(inner) for inner in value] if isinstance(value, list) else value


def owned(ledger: Ledger) -> tuple[Any, ...]:
    """All that the ledger says, but for its own history."""
    head = (ledger.commit, ledger.catalog, ledger.snapshot, ledger.tool, ledger.expressions)
    return (*head, ledger.blueprints, ledger.entities)


def named(plan: Plan) -> list[str]:
    return [f"{c.action} {c.blueprint if c.target == 'blueprint' else c.key}" for c in plan.changes]


def left(plan: Plan) -> dict[str, str]:
    return {str(held.key): held.reason for held in plan.held}


# --- all of it


def test_a_run_of_every_sort_is_put_back(here: Here) -> None:
    """What it made goes, what it changed is as before, what it deleted is there: in Port and in the ledger."""
    assert here.apply(here.plan(SAYS, BEFORE)).whole
    before, ledger = port_of(here), here.ledger()
    plan = here.plan(ALSO_TEAMS, AFTER)
    run = here.apply(plan).run
    assert port_of(here) != before
    revert = here.revert()
    assert sorted(named(revert)) == [
        "create service/gone",
        "delete service/c",
        "delete team",
        "delete team/t",
        "update service/a",
        "update service/b",
    ]
    assert {change.cause for change in revert.changes} == {"revert"}
    assert (revert.guards, revert.held, revert.withheld) == ((), (), ())
    assert [d.code for d in revert.diagnostics] == ["PD640"]
    assert here.apply(revert).whole
    assert port_of(here) == before
    assert owned(here.ledger()) == owned(ledger)
    assert here.plan(SAYS, BEFORE).changes == ()
    assert here.history()[-1].reverts == run
    assert named(here.plan(ALSO_TEAMS, AFTER)) == named(plan), "it would be done again"


def test_a_revert_is_reverted(here: Here) -> None:
    """It is a run like any other."""
    plan = prepared(here)
    assert here.apply(plan).whole
    after, ledger = port_of(here), here.ledger()
    assert here.apply(here.revert()).whole
    assert here.apply(here.revert()).whole
    assert (port_of(here), owned(here.ledger())) == (after, owned(ledger))


def test_the_first_run_is_put_back_to_nothing(here: Here) -> None:
    """Blueprints and entities go; a state that owns nothing is no accident then."""
    assert here.apply(here.plan(SAYS, BEFORE)).whole
    assert here.apply(here.revert()).whole
    assert here.port.blueprint("service") is None
    assert owned(here.ledger()) == ("", "", "", "", {}, {}, {})


TIERS = st.sampled_from(["1", "2", None])
WORLDS = st.dictionaries(st.sampled_from("abcd"), st.tuples(TIERS, st.sampled_from([None, "a", "b"])), max_size=4)


@given(worlds=st.lists(WORLDS, min_size=2, max_size=4))
@settings(max_examples=6, deadline=None)
def test_runs_are_put_back_one_after_the_other(worlds: list[dict[str, tuple[str | None, str | None]]]) -> None:
    """Whatever runs have done, reverting them from the last one on goes through every state there was."""
    with tempfile.TemporaryDirectory() as folder, running(Path(folder)) as here:
        create_blueprints(here, SERVICE)
        seen = []
        for world in worlds:
            plan = here.plan(SAYS, _world(world))
            seen.append((port_of(here), here.ledger(), here.apply(plan).run))
        for port, ledger, run in reversed(seen):
            if run:
                revert = here.revert(run)
                assert (revert.held, revert.guards, revert.withheld) == ((), (), ())
                assert here.apply(revert).whole
            assert (port_of(here), here.ledger().entities) == (port, ledger.entities)


def _world(world: dict[str, tuple[str | None, str | None]]) -> DesiredEntities:
    wants = (
        want(name, title=name.upper(), tier=tier, to_next=next_ if next_ in world else None)
        for name, (tier, next_) in world.items()
    )
    return desired(*wants)


# --- what was there before us


def test_what_was_taken_over_is_given_back(here: Here) -> None:
    """Its values are those of before, and it is not ours any more; what was only adopted is forgotten."""
    create_blueprints(here, SERVICE)
    for name in ("a", "b"):
        here.port.put_entity("service", {"identifier": name, "title": "T", "properties": {"tier": "1"}})
    world = desired(want("a", title="T", tier="1"), want("b", title="T", tier="2"))
    assert here.apply(here.plan(SAYS, world)).whole
    revert = here.revert()
    assert sorted(named(revert)) == ["forget service", "forget service/a", "update service/b"]
    assert here.apply(revert).whole
    assert here.port.entities("service")["b"]["properties"] == {"tier": "1"}
    assert (here.ledger().entities, here.ledger().blueprints) == ({}, {})


def test_what_was_released_is_ours_again(here: Here) -> None:
    """With the values that we had added to it; what it had of its own it never lost."""
    create_blueprints(here, SERVICE)
    here.port.put_entity("service", {"identifier": "a", "title": "T", "properties": {"url": "u"}})
    here.port.put_entity("service", {"identifier": "b", "title": "T", "properties": {"tier": "0"}})
    world = [want("z", tier="1"), *(want(name, title="T", tier="1") for name in "ab")]
    assert here.apply(here.plan(SAYS, desired(*world))).whole
    before, ledger = port_of(here), here.ledger()
    assert here.apply(here.plan(SAYS, desired(world[0]))).whole
    assert here.port.entities("service")["a"]["properties"] == {"tier": None, "url": "u"}
    assert here.port.entities("service")["b"]["properties"] == {"tier": "1"}
    assert here.apply(here.revert()).whole
    assert (port_of(here), here.ledger().entities) == (before, ledger.entities)


# --- touched since


def test_what_was_touched_since_is_left_and_named(here: Here) -> None:
    """Field by field of what was changed; what was made and is another thing now, or gone, or not ours."""
    everything = [want(name, title=name, tier="1") for name in "abc"]
    assert here.apply(here.plan(SAYS, desired(*everything))).whole
    changed = [want(name, title=f"{name}2", tier="2") for name in "ab"]
    made = [want(name, title=name) for name in "xyz"]
    assert here.apply(here.plan(SAYS, desired(*changed, *made))).whole
    run = here.history()[-1].run
    here.port.put_entity("service", {"identifier": "a", "properties": {"tier": "9"}})
    here.port.put_entity("service", {"identifier": "x", "properties": {"url": "theirs"}})
    here.port.delete_entity("service", "y")
    here.port.put_entity("service", {"identifier": "c", "title": "again"})
    revert = here.revert(run)
    assert sorted(named(revert)) == ["delete service/z", "forget service/y", "update service/a", "update service/b"]
    told = left(revert)
    assert sorted(told) == ["service/a", "service/c", "service/x"]
    assert 'properties.tier is now "9", the run wrote "2"' in told["service/a"]
    assert "last written by" in told["service/a"]
    assert 'properties.url is now "theirs", the run wrote empty' in told["service/x"]
    assert told["service/c"] == "it is there again"
    assert [(g.name, g.detail) for g in revert.guards] == [("changed-since", "3 entities are not as the run left them")]
    assert here.apply(revert).whole
    held = here.port.entities("service")
    assert (held["a"]["title"], held["a"]["properties"]["tier"]) == ("a", "9")
    assert (held["b"]["title"], held["b"]["properties"]["tier"]) == ("b", "1")
    assert sorted(held) == ["a", "b", "c", "x"]
    assert sorted(key.identifier for key in here.ledger().entities) == ["a", "b", "x"]
    assert here.ledger().entities[EntityKey("service", "a")].fields == {"title": "a", "properties.tier": "2"}


def test_a_later_run_stands_in_the_way(here: Here) -> None:
    """Its own writes are changes since, too; it is named."""
    runs = [here.apply(here.plan(SAYS, desired(want("a", title="A", tier=tier)))).run for tier in "123"]
    revert = here.revert(runs[1])
    assert (revert.changes, list(left(revert))) == ((), ["service/a"])
    assert runs[2] in next(d.detail for d in revert.diagnostics if d.code == "PD641")
    for run, tier in ((runs[2], "2"), (runs[1], "1")):
        assert here.apply(here.revert(run)).whole
        assert here.port.entities("service")["a"]["properties"]["tier"] == tier


def test_what_moves_after_the_revert_was_planned_is_not_written(here: Here) -> None:
    """A revert that was saved is looked at again like any plan."""
    assert here.apply(here.plan(SAYS, desired(want("a", title="A", tier="1")))).whole
    assert here.apply(here.plan(SAYS, desired(want("a", title="A", tier="2")))).whole
    revert = here.revert()
    assert here.moved(revert) == {}
    here.port.put_entity("service", {"identifier": "a", "properties": {"tier": "9"}})
    assert here.moved(revert) == {"service/a": ("properties.tier",)}


# --- guards


def test_a_revert_is_guarded(here: Here) -> None:
    """Many deletes at once have to be allowed by number, and what others require stays."""
    assert here.apply(here.plan(SAYS, desired(want("z")))).whole
    assert here.apply(here.plan(SAYS, desired(want("z"), *(want(f"s{n}") for n in range(12))))).whole
    revert = here.revert()
    assert (revert.changes, len(revert.withheld)) == ((), 12)
    assert {item.flag for item in revert.withheld} == {"--allow-deletes service=12"}
    assert here.apply(here.revert(allow_deletes={"service": 12})).whole
    assert list(here.port.entities("service")) == ["z"]


def test_a_blueprint_that_others_use_by_now_stays(here: Here) -> None:
    """It holds an entity of somebody else."""
    assert here.apply(here.plan(SAYS, desired(want("a")))).whole
    here.port.put_entity("service", {"identifier": "theirs", "title": "T"})
    revert = here.revert()
    assert (named(revert), [w.reason for w in revert.withheld]) == (
        ["delete service/a"],
        ["it would still hold 1 entity"],
    )


# --- blueprints


def with_parts(**properties: Any) -> Blueprint:
    plain = blueprint()
    schema = {"properties": {"tier": {"type": "string"}, **properties}, "required": []}
    return Blueprint("service", {**plain.definition, "schema": schema})


def says(of: Blueprint, *paths: str, **policy: Any) -> Catalog:
    return catalog([of], [rule(paths=("title", *paths))], **policy)


SIZE, LEVEL = {"type": "number"}, {"type": "string"}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (with_parts(), with_parts(size=SIZE)),
        (with_parts(size=SIZE), with_parts(size=SIZE | {"title": "Size"})),
        (with_parts(size=SIZE), with_parts(size=LEVEL)),
    ],
    ids=["a part more", "a part described", "a part of another type"],
)
def test_parts_of_a_blueprint_are_put_back(here: Here, old: Blueprint, new: Blueprint) -> None:
    """With the values of its entities."""
    many = new.properties.get("size", {}).get("type") == "number"
    sized = old.properties.get("size")
    first = desired(want("a", title="A", tier="1", size=5) if sized else want("a", title="A", tier="1"))
    second = desired(want("a", title="A", tier="1", size=5 if many else "5"))
    assert here.apply(here.plan(says(old, "properties.tier", "properties.size"), first)).whole
    before, ledger = port_of(here), here.ledger()
    assert here.apply(here.plan(says(new, "properties.tier", "properties.size"), second)).whole
    assert port_of(here) != before
    revert = here.revert()
    assert (revert.guards, revert.held) == ((), ())
    assert here.apply(revert).whole
    assert port_of(here) == before
    assert (here.ledger().blueprints, here.ledger().entities) == (ledger.blueprints, ledger.entities)


def test_a_renamed_part_gets_its_name_back(here: Here) -> None:
    """And entities keep their values, also those that nobody maps."""
    old, new = with_parts(rank=LEVEL), with_parts(level=LEVEL)
    renames = {"service": {"rank": "level"}}
    assert here.apply(here.plan(says(old, "properties.rank"), desired(want("a", rank="1"), want("b", rank="1")))).whole
    here.port.put_entity("service", {"identifier": "theirs", "title": "T", "properties": {"rank": "7"}})
    before, ledger = port_of(here), here.ledger()
    world = desired(want("a", level="2"), want("b", level="1"))
    assert here.apply(here.plan(says(new, "properties.level", renames=renames), world)).whole
    assert here.port.entities("service")["theirs"]["properties"] == {"level": "7"}
    assert here.apply(here.revert()).whole
    assert port_of(here) == before
    assert (here.ledger().blueprints, here.ledger().entities) == (ledger.blueprints, ledger.entities)


def test_a_part_that_was_removed_comes_back_empty(here: Here) -> None:
    """Its values are gone, which is said."""
    assert here.apply(here.plan(says(with_parts(size=SIZE), "properties.size"), desired(want("a", size=5)))).whole
    assert here.apply(here.plan(says(with_parts()), desired(want("a")))).whole
    revert = here.revert()
    notes = [field.note for change in revert.changes for field in change.fields if field.note]
    assert notes == ["comes back empty: the values went with it"]
    assert here.apply(revert).whole
    made = here.port.blueprint("service")
    assert made is not None
    assert "size" in made["schema"]["properties"]


def test_a_renamed_entity_gets_its_identifier_back(here: Here) -> None:
    """The old one with all that it held is there, the new one is gone, and what pointed at it points back."""
    said = replace(SAYS, rules=(rule(paths=PATHS),))
    first = desired(want("old", source="services/1", tier="1"), want("b", to_next="old"))
    assert here.apply(here.plan(said, first)).whole
    here.port.put_entity("service", {"identifier": "old", "properties": {"url": "theirs"}})
    before, ledger = port_of(here), here.ledger()
    second = desired(want("new", source="services/1", tier="1"), want("b", to_next="new"))
    plan = here.plan(said, second)
    assert plan.summary.rename == 1
    assert here.apply(plan).whole
    revert = here.revert()
    assert revert.summary.rename == 1
    assert here.apply(revert).whole
    assert (port_of(here), here.ledger().entities) == (before, ledger.entities)


# --- runs that did not come to their end


def test_a_run_in_part_is_put_back_in_part(here: Here) -> None:
    """Only what it did; what was refused was never there."""
    plan = prepared(here)
    before = port_of(here)
    refusal = {"ok": False, "error": "invalid_request", "message": "not now"}
    here.box.faults.add(
        Fault("answer", api="port", path="/blueprints/team/entities", count=None, status=422, body=refusal)
    )
    result = here.apply(plan)
    here.box.faults.clear()
    assert (result.count("failed"), result.whole) == (1, False)
    revert = here.revert()
    assert "delete team/t" not in named(revert)
    assert here.apply(revert).whole
    assert port_of(here) == before


def test_what_is_not_known_is_resumed_first(here: Here) -> None:
    """A run that was killed has to be settled; then each of the two runs is put back, the later one first."""
    plan = prepared(here)
    before = port_of(here)
    with killed_at("after POST .*/entities/bulk"):
        here.apply(plan)
    killed = here.history()[-1].run
    with pytest.raises(StateError, match="has to be resumed before"):
        here.revert(killed)
    assert here.resume().whole
    for run in [note.run for note in reversed(here.history()) if note.run >= killed]:
        revert = here.revert(run)
        assert ("PD642" in [d.code for d in revert.diagnostics]) is (run == killed)
        assert not revert.changes or here.apply(revert).whole
    assert port_of(here) == before
    with pytest.raises(UsageError, match="no such run"):
        here.revert("20200101T000000Z-000000")


@pytest.mark.parametrize("fatal", [6, 16])
def test_a_revert_that_is_killed_is_resumed(fatal: int) -> None:
    """It ends where an unbroken one does."""
    with tempfile.TemporaryDirectory() as folder, running(Path(folder)) as here:
        plan = prepared(here)
        before, ledger = port_of(here), here.ledger()
        assert here.apply(plan).whole
        revert = here.revert()
        with killed_at(fatal):
            here.apply(revert)
        assert here.resume().whole
        assert port_of(here) == before
        assert owned(here.ledger()) == owned(ledger)


def test_an_older_journal_is_put_back_as_well_as_it_tells(here: Here) -> None:
    """One that does not tell what the ledger said: Port is as before, and all is ours as it was."""
    plan = prepared(here)
    before, ledger = port_of(here), here.ledger()
    assert here.apply(plan).whole
    path = next(iter(sorted((here.folder / "journal").glob("*.jsonl"))[-1:]))
    lines = path.read_bytes().splitlines(keepends=True)
    old = lines[0].replace(b'"version":4', b'"version":2')
    path.write_bytes(b"".join([old, *(line for line in lines[1:] if not line.startswith(b'{"before"'))]))
    assert here.apply(here.revert()).whole
    assert port_of(here) == before
    assert here.ledger().entities.keys() == ledger.entities.keys()
    assert {e.origin for e in here.ledger().entities.values()} == {"created"}
