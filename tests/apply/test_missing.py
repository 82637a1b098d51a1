"""Parts of blueprints that name what is nowhere: left out and said, and made once it is there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pdsync.errors import Origin
from pdsync.model import Blueprint
from pdsync.plan import Facts
from pdsync.plan.verdict import refusal
from tests.apply.running import running
from tests.builders import blueprint, catalog, desired, existing, ledger, plan, relation, rule, want

if TYPE_CHECKING:
    from pathlib import Path

COUNT = {"calculationSpec": {"calculationBy": "entities", "func": "count"}, "title": "Count"}


def extended(**more: Any) -> Blueprint:
    plain = blueprint("service", team=relation("team", required=True), own=relation("service"))
    mirrors = {"sizes": {"path": "own.size"}, "far": {"path": "own.team.tier"}, "lost": {"path": "own.nothing"}}
    own = {"mirrorProperties": mirrors, "aggregationProperties": {"all": {**COUNT, "target": "team"}}}
    return Blueprint(
        "service", {**plain.definition, **own, "ownership": {"type": "Inherited", "path": "own.team"}, **more}
    )


def test_what_names_what_is_nowhere_is_left_out_until_it_is_there(tmp_path: Path) -> None:
    """Relation, aggregation, mirrors and an inherited owner, also along one another; the entities come without."""
    paths = ("title", "relations.team", "relations.own")
    of = catalog([extended()], [rule("service", paths, create_missing_related=False)])
    wanted = desired(want("a", title="A", to_team="t", to_own="a"))
    with running(tmp_path) as here:
        plan = here.plan(of, wanted)
        nowhere = 'there is no blueprint team, neither in the catalog nor in Port; did you mean "_team"?'
        assert [(g.name, g.detail) for g in plan.guards] == [
            ("missing-target", f"all is left out: {nowhere}"),
            ("missing-target", f"far is left out: {nowhere}"),
            ("missing-target", "lost is left out: service has no property nothing"),
            ("missing-target", f"ownership is left out: {nowhere}"),
            ("missing-target", f"team is left out: {nowhere}"),
        ]
        assert here.apply(plan).whole
        again = here.plan(of, wanted)
        assert (again.changes, again.guards) == ((), plan.guards)
        here.port.create_blueprint(blueprint("team").definition)
        here.port.put_entity("team", {"identifier": "t"})
        rest = here.plan(of, wanted)
        assert [g.detail for g in rest.guards] == ["lost is left out: service has no property nothing"]
        assert here.apply(rest).whole
        assert here.plan(of, wanted).changes == ()
        held = here.port.entities("service")["a"]["relations"]
        assert held == {"team": "t", "own": "a"}


PLACE = Origin("catalog/blueprints/own.yaml", 9, 3)
PATHS = {
    "on.status": "",
    "on.teams.$title": "",
    "on.teams.description": "",
    "on.statsu": '_user has no property statsu; did you mean "status"?',
    "on.team.description": '_user has no relation team; did you mean "teams"?',
    "on.teams.nothing": "_team has no property nothing",
    "off.status": 'there is no blueprint _usr, neither in the catalog nor in Port; did you mean "_user"?',
}


@pytest.mark.parametrize("path", PATHS)
def test_what_port_s_own_blueprints_lack_is_said_before_anything_is_written(tmp_path: Path, path: str) -> None:
    """By the place that names it; what they have may be named, and the apply is whole either way."""
    plain = blueprint("own", on=relation("_user"), **({"off": relation("_usr")} if path.startswith("off") else {}))
    own = {**plain.definition, "mirrorProperties": {"far": {"path": path}}}
    of = catalog([Blueprint("own", own, {"mirrorProperties.far": PLACE})], [rule("own", ("title",))])
    with running(tmp_path) as here:
        wanted = desired(want("a", "own", title="A"))
        plan = here.plan(of, wanted)
        why = PATHS[path]
        assert [g.detail for g in plan.guards if "far" in g.detail] == ([f"far is left out: {why}"] if why else [])
        told = [d.detail for d in refusal(plan) if d.origin == PLACE and d.code == "PD633"]
        assert told == ([f"own: far is left out: {why}"] if why else [])
        assert here.apply(plan).whole
        assert here.plan(of, wanted).changes == ()


def test_of_blueprints_that_port_does_not_list_nothing_is_said() -> None:
    """A Port that lists none of its own may have any of them."""
    plain = blueprint("own", on=relation("_user"))
    own = Blueprint("own", {**plain.definition, "mirrorProperties": {"far": {"path": "on.whatever"}}})
    given = Facts(catalog([own], []), desired(), existing([], {}), ledger({}))
    assert plan(given).guards == ()
