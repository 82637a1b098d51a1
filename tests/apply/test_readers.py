"""Parts of blueprints that others read along a path, changed and removed against the sandbox's Port over HTTP."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from pdsync.model import Blueprint, DeleteLimit, Expression
from pdsync.sandbox.http import Fault
from pdsync.sight import watch
from tests.apply.killing import killed_at
from tests.apply.running import Here, running
from tests.builders import HERE, blueprint, catalog, desired, key, relation, rule, want

if TYPE_CHECKING:
    from pathlib import Path

    from pdsync.model import Catalog, DesiredEntities, DesiredEntity, MappingRule

ALL = DeleteLimit(empty="allow")
NAMES = ("one", "three", "two")


def made(name: str, relations: dict[str, Any], tier: str = "string", **more: Any) -> Blueprint:
    plain = blueprint(name, **relations)
    schema = {"properties": {**plain.properties, "tier": {"type": tier}}, "required": []}
    mirrors = {mirror: {"path": path, "title": mirror} for mirror, path in more.pop("mirrors", {}).items()}
    return Blueprint(name, {**plain.definition, "schema": schema, "mirrorProperties": mirrors, **more})


def circle(step: str = "to", tier: str = "string", *, back: bool = False) -> list[Blueprint]:
    """Three blueprints in a circle, with mirrors along it, one of a mirror, and an inherited owner."""
    owned: dict[str, Any] = {"ownership": {"type": "Inherited", "path": "to", "title": "Owning teams"}}
    return [
        made("one", {"to": relation("two", required=True)}, mirrors={"far": f"to.{step}.tier", "of": "to.up"}, **owned),
        made("two", {step: relation("three", required=True)}, mirrors={"up": f"{step}.tier"}),
        made("three", {"to": relation("one", required=back)}, tier, mirrors={"on": f"to.to.{step}.$title"}),
    ]


def says(blueprints: list[Blueprint], step: str = "to") -> Catalog:
    return catalog(blueprints, [_rule(name, step if name == "two" else "to") for name in NAMES])


def _rule(name: str, step: str) -> MappingRule:
    """What is mapped by the same expression under another name is a rename."""
    plain = rule(name, ("title", "properties.tier"), id=_id(name))
    return replace(plain, fields={**plain.fields, f"relations.{step}": Expression(".to", HERE)})


def _id(name: str) -> str:
    return f"mappings/test.yaml#{name}[0]"


def world(step: str = "to", tier: Any = "x") -> DesiredEntities:
    by = {"one": "to", "two": step, "three": "to"}
    return desired(
        *(
            want("a", name, title="A", tier=tier if name == "three" else "x", rules=(_id(name),), **{f"to_{to}": "a"})
            for name, to in by.items()
        )
    )


def _done(here: Here, of: Catalog, wanted: DesiredEntities) -> None:
    assert here.apply(here.plan(of, wanted)).whole
    assert here.plan(of, wanted).changes == ()


def _left(here: Here) -> list[str]:
    return [
        str(each["identifier"]) for each in here.port.all_blueprints() if not str(each["identifier"]).startswith("_")
    ]


STEPS = {
    "a relation renamed": (says(circle("on"), "on"), world("on")),
    "a property of another type": (says(circle(tier="number")), world(tier=7)),
    "both at once": (says(circle("on", "number"), "on"), world("on", 7)),
}


@pytest.mark.parametrize("step", sorted(STEPS))
def test_what_reads_a_part_goes_before_it_and_comes_after_it(tmp_path: Path, step: str) -> None:
    """Also where it stands in a blueprint to which nothing else happens; and the way back."""
    of, wanted = STEPS[step]
    with running(tmp_path) as here:
        _done(here, says(circle()), world())
        _done(here, of, wanted)
        back = here.revert()
        assert back.guards == ()
        assert here.apply(back).whole
        assert here.plan(says(circle()), world()).changes == ()


def test_killed_while_readers_are_away_it_is_resumed_to_the_same_end(tmp_path: Path) -> None:
    """At each request that changes a blueprint, before it is sent and after it took effect."""
    of, wanted = STEPS["both at once"]
    with running(tmp_path / "whole") as here:
        _done(here, says(circle()), world())
        plan = here.plan(of, wanted)
        back = here.kept()
        with killed_at(None) as moments:
            assert here.apply(plan).whole
        fatal = [n for n, name in enumerate(moments.names, start=1) if " PUT " in name or " PATCH " in name]
        assert len(fatal) > 10, moments.names
        for n in fatal[::3]:
            back()
            with killed_at(n):
                here.apply(plan)
            result = here.resume()
            assert result.whole, (n, moments.names[n - 1], result.outcomes)
            assert here.plan(of, wanted).changes == ()


def test_what_others_read_stays(tmp_path: Path) -> None:
    """A mirror property that is not ours reads a part that would go: it is named, and the rest goes on."""
    without = made("one", {})
    two = made("two", {"to": relation("one")})
    of = catalog([without], [rule("one", ("title",), id=_id("one"))])
    with running(tmp_path) as here:
        wanted = desired(want("a", "one", title="A", rules=(_id("one"),)))
        _done(here, of, wanted)
        here.port.create_blueprint({**two.definition, "mirrorProperties": {"theirs": {"path": "to.tier"}}})
        schema = {"properties": {"level": {"type": "string"}}, "required": []}
        fewer = catalog([Blueprint("one", {**without.definition, "schema": schema})], of.rules)
        plan = here.plan(fewer, wanted)
        assert [(g.name, g.detail, g.flag) for g in plan.guards] == [
            ("breaking-change", "tier is removed: two.theirs reads it; take that away in Port first", "")
        ]
        assert here.apply(plan).whole
        assert sorted(here.port.find_blueprint("one").properties) == ["level", "tier"]
        here.port.patch_blueprint("two", {"mirrorProperties": {}})
        _done(here, fewer, wanted)


def test_a_circle_is_deleted_along_what_may_be_empty(tmp_path: Path) -> None:
    """Required relations go with what points, the optional one is what Port empties; the blueprints go as well."""
    with running(tmp_path) as here:
        _done(here, says(circle()), world())
        plan = here.plan(catalog([], [], deletes={"*": ALL}), desired())
        assert (plan.withheld, plan.summary.delete) == ((), 6)
        assert here.apply(plan, watching=watch).whole, "what Port empties as a part of it goes is nobody's edit"
        assert _left(here) == []


def test_a_circle_that_is_required_all_around_is_not_torn(tmp_path: Path) -> None:
    """Port would delete none of it, so it is said before, and who requires whom."""
    with running(tmp_path) as here:
        _done(here, says(circle()), world())
        _done(here, says(circle(back=True)), world())
        plan = here.plan(catalog([], [], deletes={"*": ALL}), desired())
        assert plan.changes == ()
        reasons = {str(w.key): w.reason for w in plan.withheld}
        assert reasons["two/a"] == "required by one/a in a circle; make a relation of it optional first"


def test_a_blueprint_that_another_one_counts_goes_after_it(tmp_path: Path) -> None:
    """An aggregation keeps Port from deleting what it counts, as a relation does."""
    spec = {"calculationSpec": {"calculationBy": "entities", "func": "count"}, "target": "one", "title": "Ones"}
    one = made("one", {"to": relation("two")})
    two = made("two", {}, aggregationProperties={"ones": spec})
    with running(tmp_path) as here:
        _done(here, catalog([one, two], []), desired())
        left = here.plan(catalog([two], []), desired())
        assert [(w.blueprint, w.reason) for w in left.withheld] == [("one", "two relates to it")]
        assert here.apply(here.plan(catalog([], []), desired())).whole
        assert _left(here) == []


def test_what_only_gets_another_name_in_the_state_waits_for_its_blueprint(tmp_path: Path) -> None:
    """The ledger does not say that a value has another name where Port would not rename it."""
    of, wanted = STEPS["a relation renamed"]
    with running(tmp_path) as here:
        _done(here, says(circle()), world())
        plan = here.plan(of, wanted)
        here.box.faults.add(Fault("answer", api="port", path="/rename$", count=None, status=422))
        result = here.apply(plan)
        assert {o.status for c in plan.changes for o in result.outcomes if o.n == c.n and c.action == "adopt"} == {
            "skipped"
        }
        assert "relations.to" in here.ledger().entities[key("two/a")].fields
        here.box.faults.clear()
        assert here.apply(here.plan(of, wanted)).whole
        assert here.plan(of, wanted).changes == ()


def _read_from_afar() -> Catalog:
    """`report` reads the tier of what it is of, and `page` what the report reads; all three hold something."""
    report = made("report", {"of": relation("one")}, mirrors={"read": "of.tier"})
    page = made("page", {"of": relation("report")}, mirrors={"again": "of.read"})
    return _mapped([made("one", {}), report, page])


def _without_tier(*others: Blueprint, **policy: Any) -> Catalog:
    plain = made("one", {})
    schema = {"properties": {"level": {"type": "string"}}, "required": []}
    return _mapped([Blueprint("one", {**plain.definition, "schema": schema}), *others], **policy)


def _mapped(blueprints: list[Blueprint], *properties: str, **policy: Any) -> Catalog:
    return catalog(blueprints, [_mapping(each, properties) for each in blueprints], deletes={"*": ALL}, **policy)


def _mapping(of: Blueprint, properties: tuple[str, ...]) -> MappingRule:
    """Properties as far as it has them, all of one expression: another name for one is a rename."""
    values = {f"properties.{name}": Expression(".value", HERE) for name in properties if of.identifier == "one"}
    plain = rule(of.identifier, ("title", *(f"relations.{to}" for to in of.relations)), id=_id(of.identifier))
    return replace(plain, fields={**plain.fields, **values})


def _reports(*names: str) -> DesiredEntities:
    to = {"one": {}, "report": {"to_of": "a"}, "page": {"to_of": "a"}}
    return desired(*(want("a", name, title="A", rules=(_id(name),), **to[name]) for name in names))


ALL_THREE = _reports("one", "report", "page")


def test_what_a_blueprint_reads_that_goes_with_it_goes_in_the_same_plan(tmp_path: Path) -> None:
    """Mirrors first, those of mirrors before them; then what they read; their blueprints at the end; and the way back."""
    after = _without_tier()
    with running(tmp_path) as here:
        _done(here, _read_from_afar(), ALL_THREE)
        plan = here.plan(after, _reports("one"))
        assert (plan.guards, plan.withheld) == ((), ())
        assert here.apply(plan, watching=watch).whole
        assert here.plan(after, _reports("one")).changes == ()
        assert _left(here) == ["one"]
        assert sorted(here.port.find_blueprint("one").properties) == ["level"]
        back = here.revert()
        assert back.guards == ()
        assert here.apply(back, watching=watch).whole
        assert here.plan(_read_from_afar(), ALL_THREE).changes == ()
        again = here.revert()
        assert (again.guards, again.withheld) == ((), ())
        assert here.apply(again).whole
        assert here.plan(after, _reports("one")).changes == ()


@pytest.mark.parametrize(
    ("why", "policy"),
    {"the blueprint is protected": {"protect": ("report",)}, "an entity is": {"protect": ("report/a",)}}.items(),
)
def test_what_a_blueprint_reads_that_stays_after_all_stays_as_well(tmp_path: Path, why: str, policy: Any) -> None:
    """Whatever withholds the delete: its mirror is as it was, and so is what it reads."""
    after = _without_tier(**policy)
    with running(tmp_path) as here:
        _done(here, _read_from_afar(), ALL_THREE)
        plan = here.plan(after, _reports("one"))
        assert [g.detail for g in plan.guards] == [
            "tier is removed: report.read reads it; plan again once that is deleted"
        ]
        assert here.apply(plan).whole
        assert sorted(here.port.find_blueprint("one").properties) == ["level", "tier"], why
        assert "read" in here.port.find_blueprint("report").definition["mirrorProperties"]


def test_killed_while_a_reader_is_gone_and_its_blueprint_is_not_it_is_resumed(tmp_path: Path) -> None:
    """At each write of a blueprint: what the run itself took from what it deletes does not pass for somebody's edit."""
    after = _without_tier()
    with running(tmp_path / "whole") as here:
        _done(here, _read_from_afar(), ALL_THREE)
        plan = here.plan(after, _reports("one"))
        back = here.kept()
        with killed_at(None) as moments:
            assert here.apply(plan).whole
        fatal = [n for n, name in enumerate(moments.names, start=1) if "/blueprints/" in name and " GET " not in name]
        assert len(fatal) > 7, moments.names
        for n in fatal[1::4]:
            back()
            with killed_at(n):
                here.apply(plan)
            result = here.resume()
            assert result.whole, (n, moments.names[n - 1], result.outcomes)
            assert here.plan(after, _reports("one")).changes == ()


def test_killed_while_a_circle_is_deleted_it_is_resumed(tmp_path: Path) -> None:
    """Also between the relations that go first and the blueprints themselves."""
    gone = catalog([], [], deletes={"*": ALL})
    with running(tmp_path / "whole") as here:
        _done(here, says(circle()), world())
        plan = here.plan(gone, desired())
        back = here.kept()
        with killed_at(None) as moments:
            assert here.apply(plan).whole
        fatal = [n for n, name in enumerate(moments.names, start=1) if "/blueprints/" in name and " GET " not in name]
        for n in fatal[1::4]:
            back()
            with killed_at(n):
                here.apply(plan)
            result = here.resume()
            assert result.whole, (n, moments.names[n - 1], result.outcomes)
            assert _left(here) == []


def test_a_name_goes_from_one_kind_of_part_to_another(tmp_path: Path) -> None:
    """Renamed into the name of what was computed, whose own name another part takes; what reads it reads the new one."""
    reads = made("two", {"to": relation("one")}, mirrors={"read": "to.tier"})
    plain = made("one", {"to": relation("two")})
    computed = {"calculationProperties": {"level": {"calculation": ".title", "type": "string"}}}
    before = _mapped([Blueprint("one", {**plain.definition, **computed}), reads], "tier")
    schema = {"properties": {"level": {"type": "string"}}, "required": []}
    turned = {"calculationProperties": {}, "mirrorProperties": {"tier": {"path": "to.$title"}}, "schema": schema}
    after = _mapped([Blueprint("one", {**plain.definition, **turned}), reads], "level")
    first = desired(want("a", "one", title="A", tier="x", to_to="a", rules=(_id("one"),)), _two())
    then = desired(want("a", "one", title="A", level="x", to_to="a", rules=(_id("one"),)), _two())
    with running(tmp_path) as here:
        _done(here, before, first)
        _done(here, after, then)
        assert here.port.find_blueprint("two").definition["mirrorProperties"]["read"]["path"] == "to.tier"
        _done(here, before, first)
        back = here.revert()
        assert (back.guards, here.apply(back).whole) == ((), True)
        assert here.plan(after, then).changes == ()


def _two() -> DesiredEntity:
    return want("a", "two", title="A", to_to="a", rules=(_id("two"),))
