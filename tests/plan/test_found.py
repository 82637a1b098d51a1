"""What searches find counts what the plan does: after an apply they find the same, so that there is nothing left."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from pdsync.commands import expressions
from pdsync.model import DesiredEntities, DesiredEntity, EntityKey, Existing, ExistingEntity, Ledger
from pdsync.plan import Facts
from pdsync.plan.found import Findings, place_of
from pdsync.searching import Asked, Question, Searched, holds
from tests.builders import blueprint, catalog, plan, relation, rule, want
from tests.plan.test_laws import do

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pdsync.model import Catalog

SERVICE = blueprint()
INCIDENT = blueprint("incident", service=relation("service"), users=relation("service", many=True))
BLUEPRINTS = {of.identifier: of for of in (SERVICE, INCIDENT)}
INCIDENTS = ("mappings/test.yaml#incidents[0]",)
OF = catalog(
    BLUEPRINTS.values(),
    [rule(paths=("properties.tier",)), rule("incident", ("relations.service", "relations.users"), "incidents")],
)
ALONE = catalog(BLUEPRINTS.values(), OF.rules, protect=("service/A",), on_remove="delete")

IDS = st.sampled_from("abc")
TIERS = st.sampled_from(["x", "y", None])
SERVICES = st.dictionaries(IDS, st.tuples(st.booleans(), TIERS), max_size=3)
"""A record -> whether its identifier is in upper case now, and its tier."""
RULES = st.one_of(
    st.builds(lambda v: {"property": "tier", "operator": "=", "value": v}, TIERS),
    st.builds(
        lambda v: {"property": "tier", "operator": "in", "value": v}, st.lists(st.sampled_from("xy"), max_size=2)
    ),
    st.builds(lambda v: {"property": "$identifier", "operator": "=", "value": v}, st.sampled_from("abA")),
    st.just({"property": "mirrored", "operator": "=", "value": "x"}),
)
QUERIES = st.builds(
    lambda combinator, rules: Searched.of({"combinator": combinator, "rules": rules}).query,
    st.sampled_from(["and", "or"]),
    st.lists(RULES, min_size=1, max_size=2),
)
WORLDS = st.tuples(SERVICES, st.lists(st.tuples(QUERIES, QUERIES), max_size=2))
MOST_ROUNDS = 3
"""What only Port works out is found by the second plan; if there are several then, the third finds which of them stay."""

TIER_X = Searched.of({"combinator": "and", "rules": [{"property": "tier", "operator": "=", "value": "x"}]}).query

World = tuple[dict[str, tuple[bool, Any]], list[tuple[str, str]]]


def mapped(
    world: World, of: Catalog, port: Mapping[EntityKey, ExistingEntity], owned: Ledger
) -> tuple[DesiredEntities, bool]:
    """What is desired, every query answered; and whether any answer waits for the apply."""
    services = [
        want(i.upper() if upper else i, tier=tier, source=f"services/{i}") for i, (upper, tier) in world[0].items()
    ]
    known = DesiredEntities({entity.key: entity for entity in services})
    findings = Findings(facts(of, known, port, owned), BLUEPRINTS)
    entities, later = dict(known.entities), False
    for n, queries in enumerate(world[1]):
        fields, unknown = {}, {}
        for path, query in zip(("relations.service", "relations.users"), queries, strict=True):
            asked, question = Asked("incident", path, query), Question("service", query)
            place = place_of(asked, BLUEPRINTS)
            assert not isinstance(place, str), place
            answer = findings.answer(question, found_in(port, query), many=place[1])
            later = later or answer.later
            if answer.state in ("found", "none"):
                fields[path] = answer.value
            else:
                unknown[path] = answer.told
        key = EntityKey("incident", f"i{n}")
        entities[key] = DesiredEntity(key, fields, INCIDENTS, f"incidents/i{n}", unknown)
    return DesiredEntities(entities), later


def found_in(port: Mapping[EntityKey, ExistingEntity], query: str) -> tuple[str, ...]:
    """What Port finds; it mirrors the tier under another name."""
    import json

    def value(key: EntityKey, name: str) -> Any:
        return key.identifier if name == "$identifier" else port[key].fields.get("properties.tier")

    read = json.loads(query)
    return tuple(
        sorted(k.identifier for k in port if k.blueprint == "service" and holds(read, lambda name, k=k: value(k, name)))  # type: ignore[misc]
    )


def facts(of: Catalog, world: DesiredEntities, port: Mapping[EntityKey, ExistingEntity], owned: Ledger) -> Facts:
    return Facts(
        of, world, Existing("org", "Org", BLUEPRINTS, port), owned, expressions=expressions(of.rules), tool="jq"
    )


@settings(max_examples=80)
@given(
    st.dictionaries(st.sampled_from("abcAB"), TIERS, max_size=3),
    st.lists(WORLDS, min_size=1, max_size=3),
    st.sampled_from([OF, ALONE]),
)
@example({}, [({"a": (False, "x")}, []), ({"a": (True, "x")}, [])], OF)
@example({"a": "x"}, [({"a": (False, "x")}, []), ({"a": (True, "x")}, [(TIER_X, TIER_X)])], OF)
@example({"A": None}, [({"a": (True, "x")}, []), ({}, [(TIER_X, TIER_X)])], OF)
def test_apply_then_plan_is_empty(foreign: dict[str, Any], worlds: list[World], of: Catalog) -> None:
    """Whatever was there before; where the plan says that it cannot tell all yet, after the next one."""
    port = {EntityKey("service", i): ExistingEntity({"properties.tier": tier}) for i, tier in foreign.items()}
    owned = Ledger("lineage", 1)
    for world in worlds:
        later, rounds = True, 0
        while later and rounds < MOST_ROUNDS:
            wanted, later = mapped(world, of, port, owned)
            port, owned = do(plan(facts(of, wanted, port, owned)), port, owned, blueprints=BLUEPRINTS)
            rounds += 1
        wanted, _ = mapped(world, of, port, owned)
        assert plan(facts(of, wanted, port, owned)).changes == ()
