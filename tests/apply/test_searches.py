"""What a plan says that searches find is what Port, asked of all its entities once the plan is applied, finds."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pdsync.commands import Ground, Sides, plan_from
from pdsync.model import Blueprint, Query, SearchQuery
from tests.apply.running import Here, create_blueprints, running
from tests.builders import catalog
from tests.mapping.builders import jq, record, rule, snapshot_of
from tests.target.test_searches import LISTS, QUERIES, TEXTS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pdsync.model import Json, MappingRule, Plan, Snapshot

MANY, SINGLE = ("m0", "m1", "m2"), ("s0", "s1", "s2")
THING = Blueprint(
    "thing",
    {
        "identifier": "thing",
        "title": "Thing",
        "schema": {"properties": {"text": {"type": "string"}, "list": {"type": "array"}}, "required": []},
        "relations": {},
    },
)
ASKER = Blueprint(
    "asker",
    {
        "identifier": "asker",
        "title": "Asker",
        "schema": {"properties": {}, "required": []},
        "relations": {name: {"target": "thing", "required": False, "many": name in MANY} for name in (*MANY, *SINGLE)},
    },
)
MADE = rule({"title": ".t", "properties.text": ".text", "properties.list": ".list"}, kind="users", blueprint='"thing"')
VALUES = st.fixed_dictionaries({"t": TEXTS, "text": TEXTS | st.none(), "list": LISTS | st.none()})
SIDES = st.tuples(st.none() | VALUES, st.none() | VALUES)
"""What Port holds of a thing before, and what the mapping makes of it."""


def with_leaves(query: Json, leaves: list[Json]) -> Json:
    """The query as a mapping has it: every leaf is jq, which reads it from the record."""
    if isinstance(query, dict):
        return {key: value if key == "combinator" else with_leaves(value, leaves) for key, value in query.items()}
    if isinstance(query, list) and query and isinstance(query[0], dict):
        return [with_leaves(each, leaves) for each in query]
    leaves.append(query)
    return jq(f".q[{len(leaves) - 1}]")


def asking(queries: dict[str, Json]) -> tuple[MappingRule, Json]:
    """The rule that puts these queries in the place of relations, and its record."""
    leaves: list[Json] = []
    fields = {
        f"relations.{name}": SearchQuery(with_leaves(query, leaves), rule().origin) for name, query in queries.items()
    }
    return rule(fields, blueprint='"asker"'), {"id": "one", "q": leaves}


def plan(here: Here, rules: list[MappingRule], world: Snapshot) -> Plan:
    store, of = here.store(), catalog([THING, ASKER], rules)
    return here.reading(lambda reader: plan_from(Sides(of, world), Ground(reader, store, "port")))


def things(here: Here, sides: dict[str, tuple[Any, Any]]) -> Iterator[dict[str, Json]]:
    """Put things into Port as they are before; the records of those that are mapped."""
    for name, (before, after) in sides.items():
        if before is not None:
            properties = {part: before[part] for part in ("text", "list") if before[part] is not None}
            here.port.put_entity("thing", {"identifier": name, "title": before["t"], "properties": properties})
        if after is not None:
            yield {"id": name, **after}


def found(here: Here, query: Json, *, many: bool) -> Json:
    """What Port makes of a query: of a single relation nothing where it does not find exactly one."""
    identifiers = sorted(each.identifier for each in here.port.search(query) if each.blueprint == "thing")
    return identifiers if many else identifiers[0] if len(identifiers) == 1 else None


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    sides=st.dictionaries(st.sampled_from(["a", "b", "ab", "A", "é"]), SIDES),
    queries=st.fixed_dictionaries(dict.fromkeys((*MANY, *SINGLE), QUERIES)),
)
def test_a_plan_finds_what_port_finds_afterwards(sides: dict[str, tuple[Any, Any]], queries: dict[str, Json]) -> None:
    """Whatever the plan makes or changes, whatever is there besides; from the memo it says the very same."""
    with tempfile.TemporaryDirectory() as folder, running(Path(folder)) as here:
        create_blueprints(here, THING, ASKER)
        asker, asked = asking(queries)
        made = [record(each, name=str(each["id"])) for each in things(here, sides)]
        world = snapshot_of({Query("users"): made, Query("services"): [record(asked, name="one")]})
        first = plan(here, [MADE, asker], world)
        assert plan(here, [MADE, asker], world) == first
        assert here.apply(first).whole
        held = here.port.entities("asker")["one"]["relations"]
        for name, query in queries.items():
            assert (held.get(name) or None) == (found(here, query, many=name in MANY) or None), (name, query)
        assert plan(here, [MADE, asker], world).changes == ()
