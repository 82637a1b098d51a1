"""Whose the parts of a shared blueprint are: what others made is never removed, what we made goes with its line."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pdsync.model import Blueprint, Existing, Ledger
from pdsync.normal import blueprint_definition, blueprint_fields
from pdsync.plan import Facts
from pdsync.plan.blueprints import in_force
from pdsync.plan.parts import stays
from pdsync.state.ledger_file import dump_ledger, parse_ledger
from pdsync.state.runs import after_run
from tests.builders import catalog, desired, plan

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pdsync.model import Change, FieldChange, Fields, Plan

PARTS: dict[str, Any] = {
    "schema.properties.tier": {"type": "string"},
    "schema.properties.size": {"type": "number"},
    "relations.parent": {"target": "shared", "many": False, "required": False},
    "mirrorProperties.parentTitle": {"path": "parent.$title", "title": "Parent"},
    "calculationProperties.twice": {"calculation": ".properties.size * 2", "type": "number"},
    "aggregationProperties.children": {
        "title": "Children",
        "target": "shared",
        "calculationSpec": {"calculationBy": "entities", "func": "count"},
    },
    "icon": "Service",
}
MIRROR, READ = "mirrorProperties.parentTitle", "relations.parent"
TITLE: Fields = {"title": "Shared"}


def shared(parts: Mapping[str, Any]) -> Blueprint:
    return Blueprint("shared", blueprint_definition("shared", {**TITLE, **parts}))


def having(names: Iterable[str]) -> dict[str, Any]:
    """These parts, and what they cannot be without."""
    whole = {*names, *([READ] if MIRROR in names else [])}
    return {name: PARTS[name] for name in sorted(whole)}


class World:
    """A blueprint in Port and what the ledger says of it; `ours` are the parts that we, and nobody else, put there."""

    def __init__(self, theirs: Mapping[str, Any] | None) -> None:
        self.port = None if theirs is None else shared(theirs)
        self.ledger = Ledger("lineage", 1)
        self.ours: set[str] = set()

    @property
    def parts(self) -> Fields:
        return blueprint_fields(self.port.definition) if self.port else {}

    def edit(self, parts: Mapping[str, Any]) -> None:
        """Somebody else makes the blueprint so."""
        self.port = shared(parts)

    def plan(self, parts: Mapping[str, Any] | None, **policy: Any) -> Plan:
        """What follows from a catalog with these parts of the blueprint (None: without the blueprint)."""
        blueprints = [] if parts is None else [shared(parts)]
        there = {"shared": self.port} if self.port else {}
        facts = Facts(catalog(blueprints, [], **policy), desired(), Existing("org", "Org", there, {}), self.ledger)
        return plan(facts)

    def apply(self, made: Plan) -> None:
        before = self.parts.keys()
        self.ours &= before  # what went and came back between two plans looks like what was there all along
        after = in_force({"shared": self.port} if self.port else {}, made.changes)
        self.port = after.get("shared")
        self.ours = (self.ours | (self.parts.keys() - before)) & self.parts.keys()
        done = after_run(self.ledger, made, dict.fromkeys((c.n for c in made.changes), "done"))
        self.ledger = parse_ledger(dump_ledger(done), "ledger")  # what is not in the file is not known the next time


ANY = st.sets(st.sampled_from(sorted(PARTS)))


@settings(max_examples=150, deadline=None, derandomize=True)
@given(ANY | st.none(), st.lists(st.tuples(st.sampled_from(["apply", "edit"]), ANY), min_size=1, max_size=5))
def test_nothing_that_others_made_is_ever_removed(theirs: set[str] | None, steps: list[tuple[str, set[str]]]) -> None:
    """Whatever catalogs and edits follow each other: what goes was ours, what was ours and is not named goes."""
    world = World(None if theirs is None else having(theirs))
    for what, names in steps:
        parts = having(names)
        if what == "edit" and world.port is not None:
            world.edit(parts)
            continue
        before, ours = dict(world.parts), set(world.ours)
        world.apply(world.plan(parts))
        assert before.keys() - world.parts.keys() <= ours, "only what we made goes"
        read = {READ} if MIRROR in before.keys() - ours else set()  # somebody else's mirror runs through it
        assert not ours & before.keys() & world.parts.keys() - {*parts, *TITLE, *read}, "what we made and drop goes"
        assert parts.items() <= world.parts.items()
        assert world.plan(parts).changes == ()


def _released(made: Plan) -> list[str]:
    return [field.path for change in made.changes for field in change.fields if stays(field)]


def _only(made: Plan) -> tuple[Change, list[FieldChange]]:
    assert len(made.changes) == 1
    return made.changes[0], list(made.changes[0].fields)


def test_a_part_that_was_there_before_us_is_released_and_said_to_be() -> None:
    """Named, then dropped: one change that writes nothing, with the part's name and why it stays."""
    world = World(having(["schema.properties.tier"]))
    world.apply(world.plan(having(["schema.properties.tier"])))
    change, fields = _only(world.plan({}))
    assert (change.action, change.reason) == ("release", "parts-released")
    assert [(f.path, f.before == f.after, f.note) for f in fields] == [
        ("schema.properties.tier", True, "released: it was in Port before pdsync, and stays")
    ]
    world.apply(world.plan({}))
    assert "schema.properties.tier" in world.parts
    assert "schema.properties.tier" not in world.ledger.blueprints["shared"].fields


def test_what_an_older_ledger_does_not_tell_has_the_origin_of_its_blueprint() -> None:
    """Of an adopted blueprint nothing is removed then, of one that we made everything that is dropped."""
    for origin, action in (("adopted", "release"), ("created", "update")):
        world = World({})
        world.apply(world.plan(having(["schema.properties.tier"])))
        entry = replace(world.ledger.blueprints["shared"], origin=origin, parts={})  # type: ignore[arg-type]
        world.ledger = replace(world.ledger, blueprints={"shared": entry})
        assert _only(world.plan({}))[0].action == action


def test_an_adopted_part_gets_another_name_only_where_the_policy_says_so() -> None:
    """By name it is renamed; else it stays and its like comes beside it."""
    tier, level = "schema.properties.tier", "schema.properties.level"
    named: dict[str, Any] = {level: PARTS[tier]}
    world = World(having([tier]))
    world.apply(world.plan(having([tier])))
    _, fields = _only(world.plan(named, renames={"shared": {"tier": "level"}}))
    assert [(f.path, f.moved_from) for f in fields] == [(level, tier)]
    made = world.plan(named)
    assert _released(made) == [tier]
    world.apply(made)
    assert {tier, level} <= world.parts.keys()
    world.apply(world.plan({}))
    assert (tier in world.parts, level in world.parts) == (True, False)


REQUIRED = "schema.required"
ALL = {"schema.properties.tier": PARTS["schema.properties.tier"], "schema.properties.size": {"type": "number"}}


@pytest.mark.parametrize(
    ("theirs", "first", "then", "expected"),
    [
        pytest.param(["tier"], {"size": ["size"]}, {"size": ["size"]}, ["size", "tier"], id="theirs stays beside ours"),
        pytest.param(["tier"], {"size": ["size"]}, {"size": []}, ["tier"], id="ours is required no more"),
        pytest.param(["tier"], {"size": ["size"]}, {}, ["tier"], id="ours goes"),
        pytest.param(["tier"], {"tier": ["tier"]}, {"tier": []}, ["tier"], id="what was required before us stays so"),
        pytest.param([], {"size": ["size"]}, {}, None, id="nothing is left"),
    ],
)
def test_what_others_require_is_required_on(
    theirs: list[str], first: dict[str, list[str]], then: dict[str, list[str]], expected: list[str] | None
) -> None:
    """The list of what is required is one part, but has an entry for each property, whosever that is."""
    there = {path: part for path, part in ALL.items() if path.endswith("tier")}
    world = World({**there, REQUIRED: theirs})
    for named in (first, then):
        (required,) = [*named.values()] or [[]]
        parts = {path: part for path, part in ALL.items() if path.rsplit(".", 1)[-1] in named}
        world.apply(world.plan({**parts, REQUIRED: required}))
        assert world.plan({**parts, REQUIRED: required}).changes == ()
    assert world.parts.get(REQUIRED) == expected


def test_of_ports_own_blueprints_no_part_is_removed() -> None:
    """Nothing that was added to `_user` can be taken away by Port's API: it is let go of, and the plan says so."""
    user = Blueprint("_user", blueprint_definition("_user", {"title": "User", **having(["schema.properties.tier"])}))
    bare = Blueprint("_user", blueprint_definition("_user", {"title": "User"}))
    world = World(None)
    facts = Facts(catalog([user], []), desired(), Existing("org", "Org", {"_user": bare}, {}), world.ledger)
    made = plan(facts)
    ledger = after_run(world.ledger, made, {1: "done"})
    assert ledger.blueprints["_user"].parts == {"schema.properties.tier": "created"}
    facts = replace(
        facts, catalog=catalog([bare], []), existing=Existing("org", "Org", {"_user": user}, {}), ledger=ledger
    )
    _, (field,) = _only(plan(facts))
    assert field.note == "released: nothing can be removed from Port's own blueprints, it stays"
