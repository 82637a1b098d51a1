"""Saved plans, against the sandbox's Port over HTTP: what moved is noticed."""

from __future__ import annotations

import copy
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pdsync.model import Blueprint
from pdsync.plan.document import parse_plan, plan_document
from pdsync.sight import watch
from tests.apply.running import Here, running
from tests.builders import blueprint, catalog, desired, rule, want

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pdsync.model import Catalog, DesiredEntities, Plan

SAYS = catalog([blueprint()], [rule(paths=("title", "properties.tier"))])
NAMES = "abcdef"
EDITS: dict[str, dict[str, Any]] = {
    "ours": {"properties": {"tier": "edited"}},
    "title": {"title": "edited"},
    "foreign": {"properties": {"url": "theirs"}},
    "nothing": {},
}


def world(tiers: Mapping[str, str]) -> DesiredEntities:
    return desired(*(want(name, title=name, tier=tier) for name, tier in tiers.items()))


def saved(plan: Plan) -> Plan:
    """The plan as it comes out of its file."""
    return parse_plan(plan_document(plan))


@settings(max_examples=12, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(
    before=st.dictionaries(st.sampled_from(NAMES), st.sampled_from("12"), min_size=1),
    after=st.dictionaries(st.sampled_from(NAMES), st.sampled_from("12")),
    edits=st.dictionaries(st.sampled_from(NAMES), st.sampled_from([*EDITS, "delete"]), max_size=3),
)
def test_exactly_what_moved_is_named(before: dict[str, str], after: dict[str, str], edits: dict[str, str]) -> None:
    """An unchanged world is always as planned; of a changed one, what the plan touches and others edited is named."""
    with tempfile.TemporaryDirectory() as folder, running(Path(folder)) as here:
        assert here.apply(here.plan(SAYS, world(before))).whole
        made = saved(here.plan(SAYS, world(after)))
        assert here.moved(made) == {}
        for name, edit in edits.items():
            _edit(here, name, edit)
        touched = {str(change.key) for change in made.changes}
        expected = {f"service/{name}" for name, edit in edits.items() if _shows(name, edit, before)}
        assert here.moved(made).keys() == expected & touched


def _edit(here: Here, name: str, edit: str) -> None:
    there = name in here.port.entities("service")
    if edit == "delete":
        if there:
            here.port.delete_entity("service", name)
    elif there or EDITS[edit]:
        here.port.put_entity("service", {"identifier": name, **EDITS[edit]})


def _shows(name: str, edit: str, before: Mapping[str, str]) -> bool:
    """Whether an edit is of anything that we own, or makes or removes the entity."""
    if name not in before:
        return edit not in ("nothing", "delete")
    return edit in ("ours", "title", "delete")


def with_parts(title: str, **properties: dict[str, Any]) -> Catalog:
    """The same catalog with another title of the blueprint and these properties besides."""
    plain = blueprint()
    schema = plain.definition["schema"]
    changed = {
        **plain.definition,
        "title": title,
        "schema": {**schema, "properties": schema["properties"] | properties},
    }
    return replace(SAYS, blueprints={"service": Blueprint("service", changed)})


def test_a_blueprint_that_moved_is_named_with_its_parts(tmp_path: Path) -> None:
    """What the plan writes of it or what is ours; what others add to it is theirs, and in nobody's way."""
    with running(tmp_path) as here:
        assert here.apply(here.plan(SAYS, world({"a": "1"}))).whole
        made = saved(here.plan(with_parts("Renamed", team={"type": "string"}), world({"a": "1"})))
        assert here.moved(made) == {}
        add = {"theirs": {"type": "string"}}
        _patch(here, lambda body: body["schema"]["properties"].update(add))
        assert here.moved(made) == {}
        _patch(here, lambda body: body["schema"]["properties"].update(team={"type": "number"}))
        assert here.moved(made) == {"service": ("schema.properties.team",)}
        _patch(here, lambda body: body["schema"]["properties"].pop("team"))
        _patch(here, lambda body: body["schema"]["properties"]["tier"].update(title="By hand"))
        assert here.moved(made) == {"service": ("schema.properties.tier",)}, "ours, though not written"
        _patch(here, lambda body: body["schema"]["properties"]["tier"].pop("title"))
        assert here.apply(made).whole


def test_a_saved_plan_of_a_blueprint_and_its_entities_at_once_applies(tmp_path: Path) -> None:
    """A property is made anew with another type, and every entity gets its value: nobody else has moved anything."""
    with running(tmp_path) as here:
        assert here.apply(here.plan(SAYS, world({"a": "1", "b": "2"}))).whole
        anew = with_parts("Service", tier={"type": "number"})
        told = desired(*(want(name, title=name, tier=n) for n, name in enumerate("ab", 1)))
        made = saved(here.plan(anew, told, allow_breaking={"service.tier": 2}))
        assert {c.target for c in made.changes} == {"entity", "blueprint"}
        assert here.moved(made) == {}

        assert here.apply(made, watching=watch).whole
        assert here.plan(anew, told).changes == ()


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        ({"schema": {"properties": {"tier": {"type": "string", "title": "Theirs"}}}}, "schema.properties.tier"),
        ({"title": "Theirs"}, "title"),
    ],
)
def test_a_blueprint_that_moves_during_the_apply_is_left_alone(tmp_path: Path, edit: dict[str, Any], said: str) -> None:
    """Somebody edits the second one as the first one is written."""
    with running(tmp_path) as here:
        assert here.apply(here.plan(catalog(list(map(blueprint, ("one", "two"))), []), desired())).whole
        ours = [
            _with(blueprint(name), title="Ours", tier={"type": "string", "title": "Ours"}) for name in ("one", "two")
        ]
        made = saved(here.plan(catalog(ours, []), desired()))
        assert [(c.action, c.blueprint) for c in made.changes] == [("update", "one"), ("update", "two")]

        def meddle(*_: object) -> None:
            here.port.patch_blueprint("two", edit)

        result = here.apply(made, watching=watch, progress=meddle)
        told = [(outcome.n, outcome.status, outcome.message) for outcome in result.outcomes]
        (first, second) = told
        assert (first, second[:2]) == ((1, "done", ""), (2, "skipped"))
        assert second[2].endswith(' is "Theirs"')
        assert second[2].startswith(f"changed in Port since the plan: {said}")


def _with(plain: Blueprint, title: str, **properties: dict[str, str]) -> Blueprint:
    schema = {"properties": {**plain.properties, **properties}, "required": []}
    return replace(plain, definition={**plain.definition, "title": title, "schema": schema})


def test_what_is_let_go_of_because_it_is_gone_may_stay_gone(tmp_path: Path) -> None:
    """A blueprint that somebody has deleted is forgotten by a saved plan, too, as long as it is not there again."""
    with running(tmp_path) as here:
        other = catalog([blueprint(), blueprint("other")], SAYS.rules)
        assert here.apply(here.plan(other, world({"a": "1"}))).whole
        body = dict(here.port.blueprint("other") or {})
        here.port.delete_blueprint("other")
        made = saved(here.plan(SAYS, world({"a": "1"})))
        assert [(c.action, c.blueprint) for c in made.changes] == [("forget", "other")]
        assert here.moved(made) == {}
        here.port.create_blueprint({key: body[key] for key in ("identifier", "title", "schema", "relations")})
        assert here.moved(made) == {"other": ()}


def _patch(here: Here, edit: Callable[[dict[str, Any]], object]) -> None:
    """Somebody edits the blueprint in Port."""
    body = copy.deepcopy(here.port.blueprint("service") or {})
    edit(body)
    kept = ("identifier", "title", "schema", "relations", "calculationProperties", "mirrorProperties")
    here.port.replace_blueprint("service", {key: body[key] for key in kept if key in body})
