"""Entities that are to be made and relate to each other: whatever can be, is, in an order that Port takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from hypothesis import given, settings
from hypothesis import strategies as st

from pdsync.model import Change, EntityKey, FieldChange, Json
from pdsync.plan import Facts
from pdsync.plan.order import Pointers, relation_targets
from tests.apply.running import running
from tests.builders import blueprint, catalog, desired, existing, ledger, plan, relation, rule, want

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pdsync.model import Catalog, DesiredEntities, Plan

RELATIONS = {"needs": relation("service", required=True), "likes": relation("service")}
Links = Mapping[str, tuple[str | None, str | None, str | None]]
"""Name of a service -> the one that it needs, the one that it likes, and its team."""


def _world(links: Links) -> tuple[Catalog, DesiredEntities]:
    """Services that need one service, like one and may belong to a team; a team needs a service, too."""
    service = blueprint(needs=RELATIONS["needs"], likes=RELATIONS["likes"], team=relation("team"))
    team = blueprint("team", lead=relation("service", required=True))
    of = catalog(
        [service, team],
        [
            rule(paths=("title", "relations.needs", "relations.likes", "relations.team")),
            rule("team", ("title", "relations.lead"), "teams"),
        ],
    )
    services = [
        want(name, title=name, to_needs=needs, **_given(to_likes=likes, to_team=team))
        for name, (needs, likes, team) in links.items()
        if needs
    ]
    teams = [
        want(f"t{name}", "team", title=name, to_lead=name, rules=(of.rules[1].id,), source=f"teams/t{name}")
        for name in links
    ]
    return of, desired(*services, *teams)


def _given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _plan(links: Links) -> tuple[Plan, DesiredEntities, Catalog]:
    of, wanted = _world(links)
    there = of.blueprints.values()
    # `root` is in Port already, and ours to point at.
    held = existing(there, {})
    held = type(held)(held.org_id, held.org_name, held.blueprints, {}, frozenset([EntityKey("service", "root")]))
    return plan(Facts(of, wanted, held, ledger({}, there))), wanted, of


NAMES = ["a", "b", "c", "d", "e"]
TARGET = st.sampled_from([*NAMES, "root"])
LINKS = st.fixed_dictionaries(
    {
        name: st.tuples(TARGET, st.none() | TARGET, st.none() | st.sampled_from([f"t{n}" for n in NAMES]))
        for name in NAMES
    }
)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(LINKS)
def test_what_can_be_made_is_made_in_order_and_all_else_is_held(
    links: Links,
) -> None:
    """What needs only what can be made can be made; of that, each comes after what it requires, and nothing is lost."""
    made, wanted, of = _plan(links)
    makeable = {EntityKey("service", "root")}
    while True:
        more = {
            key
            for key, want in wanted.entities.items()
            if key not in makeable
            and all(
                t in makeable for p, t in _targets(of, key, want.fields) if p in ("relations.needs", "relations.lead")
            )
        }
        if not more:
            break
        makeable |= more
    created = {change.key: change for change in made.changes if change.action == "create"}
    assert created.keys() == makeable - {EntityKey("service", "root")}
    assert {held.key for held in made.held} == wanted.entities.keys() - makeable
    assert bool(made.held) is any(problem.code == "PD615" for problem in made.diagnostics)
    for key, change in created.items():
        deferred = {field.path for field in change.fields if field.deferred}
        assert not deferred & {"relations.needs", "relations.lead"}
        written = {field.path: field.after for field in change.fields}
        for path, target in _targets(of, key, written):
            assert path in deferred or target not in created or created[target].n < change.n
        kept = {path: v for path, v in wanted.entities[key].fields.items() if _there(of, key, path, v, makeable)}
        assert written == kept


def _targets(of: Catalog, key: EntityKey, fields: Any) -> Sequence[tuple[str, EntityKey]]:
    return relation_targets(fields, of.blueprints[key.blueprint])


def _there(of: Catalog, key: EntityKey, path: str, value: Any, makeable: set[EntityKey]) -> bool:
    return all(target in makeable for _, target in _targets(of, key, {path: value}))


def test_a_circle_is_one_error_that_names_it_and_the_way_out() -> None:
    """Two that require each other, one that requires itself, one that waits for them: three held, two errors."""
    links = {"a": ("b", None, None), "b": ("a", None, None), "c": ("c", None, None), "d": ("a", None, None)}
    made, _, _ = _plan({**links, "e": ("root", "a", None)})
    told = [problem for problem in made.diagnostics if problem.code == "PD615"]
    assert [problem.detail for problem in told] == [
        "service/c -> service/c, by service.needs",
        "service/a -> service/b -> service/a, by service.needs",
    ]
    assert [problem.records for problem in told] == [("services/c",), ("services/a", "services/b")]
    assert all(problem.origin and "required: false" in problem.hint for problem in told)
    reasons = {str(held.key): held.reason for held in made.held if held.blueprint == "service"}
    assert reasons == {
        "service/a": "relations.needs is required in a circle: service/a -> service/b -> service/a",
        "service/b": "relations.needs is required in a circle: service/a -> service/b -> service/a",
        "service/c": "relations.needs is required in a circle: service/c -> service/c",
        "service/d": "relations.needs points at service/a, which is held itself",
    }


def test_many_circles_alike_are_one_error() -> None:
    """A hundred pairs by the same relations are said once, with their number."""
    names = [f"s{n:02}" for n in range(40)]
    links = {name: (names[n ^ 1], None, None) for n, name in enumerate(names)}
    made, _, _ = _plan(links)
    told = [problem for problem in made.diagnostics if problem.code == "PD615"]
    assert [problem.detail for problem in told] == [
        "service/s00 -> service/s01 -> service/s00, by service.needs (first of 20 circles)"
    ]
    assert len(made.held) == 80


def test_port_takes_what_is_left_of_a_plan_with_circles(tmp_path: Path) -> None:
    """Against the sandbox: all that is not held is made, optional relations back into circles of them included."""
    links = {"a": ("b", None, None), "b": ("a", None, None), "c": ("d", "e", None), "d": ("e", "c", "tc")}
    of, wanted = _world({**links, "e": ("root", "c", "td")})
    with running(tmp_path) as here:
        for each in of.blueprints.values():
            here.port.create_blueprint({**each.definition, "relations": {}})
        for each in of.blueprints.values():
            here.port.patch_blueprint(each.identifier, {"relations": dict(each.relations)})
        here.port.patch_blueprint("service", {"relations": {"likes": RELATIONS["likes"]}})
        here.port.put_entity("service", {"identifier": "root"})
        here.port.patch_blueprint("service", {"relations": dict(of.blueprints["service"].relations)})
        made = here.plan(of, wanted)
        assert {str(held.key) for held in made.held} == {"service/a", "service/b", "team/ta", "team/tb"}
        assert here.apply(made).whole
        assert here.port.entities("service")["e"]["relations"] == {"needs": "root", "likes": "c", "team": "td"}
        assert here.plan(of, wanted).changes == ()


POINTING = st.none() | st.text("[]', ab", max_size=6) | st.lists(st.text("[]', ab", max_size=3), max_size=2)
POINTING |= POINTING.map(str)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(POINTING, POINTING), min_size=2, max_size=8), st.booleans())
def test_what_many_changes_point_at_is_what_each_does(values: list[tuple[Json, Json]], both: bool) -> None:
    """What is remembered of one is not taken for another: an identifier may look like a list that is written out."""
    held = blueprint(needs=RELATIONS["needs"], likes=RELATIONS["likes"])
    pointers = Pointers({"service": held})
    for pair in [*values, *(tuple(map(str, pair)) for pair in values)]:
        fields = dict(list(zip(("relations.likes", "relations.needs"), pair, strict=True))[: 1 + both])
        changes = [FieldChange(path, None, value, "source") for path, value in fields.items()]
        change = Change(1, "entity", "create", "service", "x", "", changes, "new", "source")
        assert pointers.of(change) == relation_targets(fields, held)
