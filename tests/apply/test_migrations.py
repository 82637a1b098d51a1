"""Blueprints that change while entities hold values, against the sandbox's Port over HTTP."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pdsync.model import Blueprint, EntityKey, Expression
from pdsync.plan.convert import converter
from pdsync.sight import watch
from tests.apply.running import Here, create_blueprints, running
from tests.builders import HERE, blueprint, catalog, desired, relation, rule, want

if TYPE_CHECKING:
    from pdsync.model import Catalog, DesiredEntities, Json, Plan

TYPES: dict[str, dict[str, Any]] = {
    "string": {"type": "string"},
    "number": {"type": "number"},
    "boolean": {"type": "boolean"},
    "object": {"type": "object"},
    "strings": {"type": "array", "items": {"type": "string"}},
    "numbers": {"type": "array", "items": {"type": "number"}},
}
VALUES: dict[str, list[Json]] = {
    "string": ["x", "7", "true", '{"a":1}'],
    "number": [7, 0.5],
    "boolean": [True, False],
    "object": [{"a": 1}],
    "strings": [["x"], ["1", "2"], []],
    "numbers": [[1], [1, 2]],
}


def service(tier: str | None, *, level: str | None = None, required: tuple[str, ...] = ()) -> Blueprint:
    """A blueprint whose `tier` (and `level`) are of some type, or not there."""
    plain = blueprint(team=relation("service"))
    properties = {name: part for name, part in plain.properties.items() if name != "tier"}
    properties |= {name: TYPES[of] for name, of in (("tier", tier), ("level", level)) if of}
    return Blueprint("service", {**plain.definition, "schema": {"properties": properties, "required": [*required]}})


def says(made: Blueprint, *paths: str, **policy: Any) -> Catalog:
    return catalog([made], [rule(paths=("title", *paths))], **policy)


def value(here: Here, identifier: str, name: str) -> Json:
    return here.port.entities("service")[identifier]["properties"].get(name)


def test_a_renamed_property_keeps_what_others_wrote(tmp_path: Path) -> None:
    """Told by the policy: values move, our own are not written again, and the next plan is empty."""
    with running(tmp_path) as here:
        _done(here, says(service("string"), "properties.tier"), desired(want("a", title="A", tier="gold")))
        here.port.put_entity("service", {"identifier": "theirs", "properties": {"tier": "silver"}})
        renamed = says(service(None, level="string"), "properties.level", renames={"service": {"tier": "level"}})
        wanted = desired(want("a", title="A", level="gold"))
        made = here.plan(renamed, wanted)
        assert [(c.target, c.action) for c in made.changes] == [("blueprint", "update"), ("entity", "adopt")]
        assert here.moved(made) == {}
        assert here.apply(made).whole
        assert (value(here, "a", "level"), value(here, "theirs", "level")) == ("gold", "silver")
        assert here.plan(renamed, wanted).changes == ()
        assert here.ledger().entities[EntityKey("service", "a")].fields == {"title": "A", "properties.level": "gold"}


def test_a_required_property_that_gets_another_name_is_required_under_that(tmp_path: Path) -> None:
    """Nobody lacks it: what others wrote has the new name as well."""
    with running(tmp_path) as here:
        old = says(service("string", required=("tier",)), "properties.tier")
        _done(here, old, desired(want("a", title="A", tier="gold")))
        here.port.put_entity("service", {"identifier": "theirs", "properties": {"tier": "silver"}})
        new = says(
            service(None, level="string", required=("level",)),
            "properties.level",
            renames={"service": {"tier": "level"}},
        )
        wanted = desired(want("a", title="A", level="gold"))
        assert here.plan(new, wanted).guards == ()
        _done(here, new, wanted)
        assert here.port.find_blueprint("service").required == {"level"}


def test_what_is_mapped_alike_is_a_rename_without_being_told(tmp_path: Path) -> None:
    """The expression that wrote the old property writes the new one: nothing else it could be."""
    with running(tmp_path) as here:
        _done(here, says(service("string"), "properties.tier"), desired(want("a", title="A", tier="gold")))
        here.port.put_entity("service", {"identifier": "theirs", "properties": {"tier": "silver"}})
        after = says(service(None, level="string"), "properties.level")
        same = {**after.rules[0].fields, "properties.level": Expression(".properties.tier", HERE)}
        after = replace(after, rules=(replace(after.rules[0], fields=same),))
        made = here.plan(after, desired(want("a", title="A", level="gold")))
        assert [f.moved_from for c in made.changes for f in c.fields] == ["schema.properties.tier"]
        assert here.apply(made).whole
        assert value(here, "theirs", "level") == "silver"


def test_a_relation_to_another_blueprint_is_made_anew(tmp_path: Path) -> None:
    """With the mirror property that runs through it, and the values that the mapping gives."""
    team = blueprint("team")
    before = blueprint(owner=relation("service"))
    mirrored = {**before.definition, "mirrorProperties": {"ownerUrl": {"path": "owner.url", "title": "Owner"}}}
    after = {**mirrored, "relations": {"owner": relation("team")}}
    rules = [rule(paths=("title", "relations.owner")), rule("team", ("title",), "teams")]
    with running(tmp_path) as here:
        wanted = desired(want("a", title="A", to_owner="a"), want("t", "team", title="T", rules=(rules[1].id,)))
        _done(here, catalog([Blueprint("service", mirrored), team], rules), wanted)
        wanted = desired(want("a", title="A", to_owner="t"), want("t", "team", title="T", rules=(rules[1].id,)))
        changed = catalog([Blueprint("service", after), team], rules)
        made = here.plan(changed, wanted)
        assert made.guards == ()
        assert here.apply(made).whole
        assert here.port.entities("service")["a"]["relations"] == {"owner": "t"}
        assert here.plan(changed, wanted).changes == ()


@settings(
    max_examples=15,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(st.data())
def test_no_value_is_lost_unless_it_was_allowed_by_name(data: st.DataObject) -> None:
    """Any type becomes any other or goes; what others wrote is converted, kept, or the plan says how many lose it."""
    kind = data.draw(st.sampled_from(sorted(TYPES)), "type before")
    to = data.draw(st.none() | st.sampled_from(sorted(TYPES)), "type after")
    ours, theirs = (data.draw(st.sampled_from(VALUES[kind])) for _ in range(2))
    mapped = to is not None and data.draw(st.booleans(), "mapped")
    allow = data.draw(st.booleans(), "allowed")
    with tempfile.TemporaryDirectory() as folder, running(Path(folder)) as here:
        _done(here, says(service(kind), "properties.tier"), desired(want("a", title="A", tier=ours)))
        here.port.put_entity("service", {"identifier": "theirs", "properties": {"tier": theirs}})
        fitting = mapped and data.draw(st.booleans(), "mapped to what fits")
        given_type = to if fitting and to else data.draw(st.sampled_from(sorted(TYPES)), "type of what is mapped")
        again = {"tier": data.draw(st.sampled_from(VALUES[given_type]))} if mapped else {}
        invalid = data.draw(st.sampled_from(["hold", "drop-field"]))
        after = says(service(to), *(["properties.tier"] if mapped else []), invalid=invalid)
        wanted = desired(want("a", title="A", **again))
        made = here.plan(after, wanted)
        if made.guards and allow:
            made = here.plan(after, wanted, allow_breaking=_numbers(made))
            assert made.guards == ()
        assert here.moved(made) == {}
        assert here.apply(made).whole
        assert [c for c in here.plan(after, wanted).changes if c.fields] == []
        held, own = value(here, "theirs", "tier"), value(here, "a", "tier")
    assert own is not None or allow or not mapped, "what is mapped and cannot be written is not lost"
    if made.guards:
        assert held == theirs
    elif not allow:
        assert to is not None
        assert held == (theirs if to == kind else converter(TYPES[to])(theirs))


def test_what_becomes_required_waits_for_values(tmp_path: Path) -> None:
    """Until every entity has one; then it is written like anything else."""
    with running(tmp_path) as here:
        create_blueprints(here, service("string"))
        here.port.put_entity("service", {"identifier": "theirs", "properties": {}})
        strict = says(service("string", required=("tier",)), "properties.tier")
        wanted = desired(want("a", title="A", tier="gold"))
        made = here.plan(strict, wanted)
        assert [(g.name, g.flag) for g in made.guards] == [("breaking-change", "--allow-breaking service.required=1")]
        assert here.apply(made).whole
        here.port.put_entity("service", {"identifier": "theirs", "properties": {"tier": "tin"}})
        made = here.plan(strict, wanted)
        assert made.guards == ()
        assert here.apply(made).whole
        assert here.plan(strict, wanted).changes == ()


@pytest.mark.parametrize("kind", sorted(TYPES))
def test_a_value_converts_to_its_own_type_unchanged(kind: str) -> None:
    """A conversion never makes something else of a value that fits."""
    assert all(converter(TYPES[kind])(v) == v for v in VALUES[kind] if v != ["x"])


def _done(here: Here, of: Catalog, wanted: DesiredEntities) -> None:
    assert here.apply(here.plan(of, wanted)).whole


def _numbers(made: Plan) -> dict[str, int]:
    flags = [guard.flag.removeprefix("--allow-breaking ").partition("=") for guard in made.guards]
    return {name: int(number) for name, _, number in flags}


@pytest.mark.parametrize("more", [False, True])
def test_a_relation_becomes_a_list_and_single_again(tmp_path: Path, more: bool) -> None:
    """Port keeps its values in the new form: no drift, nothing that a saved plan takes for somebody's edit."""
    single, many = blueprint(owner=relation("service")), blueprint(owner=relation("service", many=True))
    rules = [rule(paths=("title", "relations.owner"))]
    one = desired(want("a", title="A", to_owner="a"), want("b", title="B"))
    several = desired(want("a", title="A", to_owner=["a", "b"] if more else ["a"]), want("b", title="B"))
    with running(tmp_path) as here:
        _done(here, catalog([single], rules), one)
        for of, wanted in ((many, several), (single, one)):
            plan = here.plan(catalog([of], rules), wanted)
            entities = [c for c in plan.changes if c.target == "entity"]
            assert [(c.action, any(f.drift for f in c.fields)) for c in entities] == [
                ("update" if more else "adopt", False)
            ]
            assert here.moved(plan) == {}
            assert here.apply(plan, watching=watch).whole
            assert here.plan(catalog([of], rules), wanted).changes == ()


def test_a_relation_that_becomes_a_list_takes_what_is_mapped_as_before(tmp_path: Path) -> None:
    """One text stands for a list of it from then on; a number would not, and the plan says so."""
    rules = [rule(paths=("title", "relations.owner"))]
    many = catalog([blueprint(owner=relation("service", many=True))], rules)
    with running(tmp_path) as here:
        _done(here, catalog([blueprint(owner=relation("service"))], rules), desired(want("a", title="A", to_owner="a")))
        wrong = here.plan(many, desired(want("a", title="A", to_owner=1)))
        assert [str(held.key) for held in wrong.held] == ["service/a"]
        _done(here, many, desired(want("a", title="A", to_owner="a")))
        assert here.port.entities("service")["a"]["relations"] == {"owner": ["a"]}


def test_teams_that_become_inherited_are_not_written(tmp_path: Path) -> None:
    """Nor cleared, nor compared, nor in the way of a delete; and written again once entities have their own."""
    own, none = {"type": "Direct"}, {"type": "Inherited", "path": "team"}

    def of(ownership: Json) -> Catalog:
        return says(
            Blueprint("service", {**service("string").definition, "ownership": ownership}), "team", "relations.team"
        )

    both = desired(want("a", title="A", team=["x"], to_team="a"), want("b", title="B", team=["x"], to_team="a"))
    one = desired(want("a", title="A", team=["x"], to_team="a"))
    with running(tmp_path) as here:
        _done(here, of(own), both)
        made = here.plan(of(none), one)
        assert [f.note for f in made.changes[0].fields] == ["the teams of 2 entities are inherited then"]
        assert here.apply(made, watching=watch).whole
        assert here.plan(of(none), one).changes == ()
        assert "team" not in here.ledger().entities[EntityKey("service", "a")].fields
        _done(here, of(own), one)
        assert here.port.entities("service")["a"]["team"] == ["x"]
