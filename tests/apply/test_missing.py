"""Parts of blueprints that name what is nowhere: left out and said, and made once it is there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pdsync.model import Blueprint
from tests.apply.running import running
from tests.builders import blueprint, catalog, desired, relation, rule, want

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
        nowhere = "there is no blueprint team, neither in the catalog nor in Port"
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
