"""Reading from the sandbox's Port: search rules, pages, selections, derived properties."""

from __future__ import annotations

from typing import Any

import pytest

from pdsync.sandbox.port import Behaviour, PortStore
from tests.sandbox.port_client import PortClient

NOW = 1_767_225_600.0  # 2026-01-01T00:00:00Z


def to(target: str, *, many: bool = False, required: bool = False) -> dict[str, Any]:
    return {"target": target, "many": many, "required": required}


def rule(property_: str, operator: str, value: Any = ...) -> dict[str, Any]:
    rest = {} if value is ... else {"value": value}
    return {"property": property_, "operator": operator, **rest}


@pytest.fixture
def port() -> PortClient:
    return filled()


@pytest.fixture(scope="module")
def unchanged() -> PortClient:
    """For tests that only read."""
    return filled()


def filled() -> PortClient:
    """Teams own services, incidents hit services; all written at midnight."""
    port = PortClient(PortStore(clock=lambda: NOW))
    port.blueprint("crew", properties={"size": {"type": "number"}})
    port.blueprint(
        "service",
        properties={
            "tier": {"type": "string"},
            "cost": {"type": "number"},
            "live": {"type": "boolean"},
            "tags": {"type": "array"},
            "since": {"type": "string", "format": "date-time"},
            "ends": {"type": "string", "format": "timer"},
        },
        relations={"crew": to("crew"), "uses": to("service", many=True)},
    )
    port.blueprint("incident", relations={"service": to("service", required=True)})
    port.upsert("crew", {"identifier": "red", "title": "Red crew", "properties": {"size": 3}})
    services: dict[str, Any] = {
        "a": {"tier": "gold", "cost": 1, "live": True, "tags": ["x", "y"], "since": "2025-12-31T12:00:00Z"},
        "b": {"tier": "silver", "cost": 2.5, "live": False, "tags": ["y"], "since": "2025-06-01T00:00:00+02:00"},
        "c": {"tier": None, "ends": "2025-01-01T00:00:00Z"},
        "d": {"tier": "golden", "cost": 10, "tags": [], "ends": "2027-01-01T00:00:00Z"},
    }
    for identifier, properties in services.items():
        port.upsert("service", {"identifier": identifier, "title": identifier.upper(), "properties": properties})
    port.upsert("service", {"identifier": "a", "team": "platform", "relations": {"crew": "red", "uses": ["b", "c"]}})
    port.upsert("service", {"identifier": "b", "relations": {"uses": ["d"]}})
    port.upsert("incident", {"identifier": "i", "relations": {"service": "a"}})
    return port


RULES: list[tuple[dict[str, Any], str]] = [
    (rule("tier", "=", "gold"), "a"),
    (rule("tier", "!=", "gold"), "bcd"),
    (rule("tier", "=", None), "c"),
    (rule("tier", "in", ["gold", "silver"]), "ab"),
    (rule("tier", "notIn", ["gold", "silver"]), "cd"),
    (rule("tier", "contains", "old"), "ad"),
    (rule("tier", "doesNotContains", "old"), "bc"),
    (rule("tier", "beginsWith", "gold"), "ad"),
    (rule("tier", "doesNotBeginsWith", "gold"), "bc"),
    (rule("tier", "endsWith", "en"), "d"),
    (rule("tier", "doesNotEndsWith", "en"), "abc"),
    (rule("tier", "isEmpty"), "c"),
    (rule("tier", "isNotEmpty"), "abd"),
    (rule("tags", "contains", "x"), "a"),
    (rule("tags", "containsAny", ["x", "y"]), "ab"),
    (rule("tags", "isEmpty"), "cd"),
    (rule("cost", "=", 1), "a"),
    (rule("cost", "=", True), ""),
    (rule("live", "=", True), "a"),
    (rule("live", "=", 1), ""),
    (rule("cost", ">", 1), "bd"),
    (rule("cost", ">=", 2.5), "bd"),
    (rule("cost", "<", 2.5), "a"),
    (rule("cost", "<=", 2.5), "ab"),
    (rule("since", ">", "2025-12-01T00:00:00Z"), "a"),
    (rule("since", "<", "2025-05-31T22:00:01Z"), "b"),
    (rule("since", "between", {"from": "2025-05-31T22:00:00Z", "to": "2025-06-01T00:00:00Z"}), "b"),
    (rule("since", "between", {"preset": "lastDay"}), "a"),
    (rule("since", "between", {"preset": "yesterday"}), "a"),
    (rule("since", "between", {"preset": "today"}), ""),
    (rule("since", "=", {"preset": "last12Months"}), "ab"),
    (rule("since", "notBetween", {"preset": "lastMonth"}), "bcd"),
    (rule("ends", "isExpired"), "c"),
    (rule("ends", "isNotExpired"), "abd"),
    (rule("$identifier", "in", ["a", "d", "z"]), "ad"),
    (rule("$title", "=", "B"), "b"),
    (rule("$team", "containsAny", ["platform", "payments"]), "a"),
    (rule("$createdBy", "=", "id"), "abcd"),
    (rule("$blueprint", "=", "service"), "abcd"),
    (rule("$updatedAt", "between", {"preset": "today"}), "abcd"),
    ({"relation": "crew", "operator": "=", "value": "red"}, "a"),
    ({"relation": "crew", "operator": "isEmpty"}, "bcd"),
    ({"relation": "crew", "targetProperty": "$title", "operator": "contains", "value": "Red"}, "a"),
    ({"relation": "uses", "operator": "containsAny", "value": ["c", "d"]}, "ab"),
    ({"propertySchema": {"type": "number"}, "operator": "=", "value": 10}, "d"),
    ({"propertySchema": {"type": "string", "format": "timer"}, "operator": "!=", "value": None}, "cd"),
    ({"operator": "relatedTo", "blueprint": "incident", "value": "i", "direction": "upstream"}, "abcd"),
    ({"operator": "relatedTo", "blueprint": "incident", "value": "i", "direction": "upstream", "required": True}, "a"),
    ({"operator": "relatedTo", "blueprint": "service", "value": "d", "direction": "downstream"}, "ab"),
    ({"operator": "relatedTo", "blueprint": "service", "value": ["b"]}, "ad"),
    ({"operator": "relatedTo", "blueprint": "service", "value": "nothing"}, ""),
    (rule("tier", "matchAny", ["gold", "silver"]), "ab"),
    ({"property": {"path": ["crew"]}, "operator": "matchAny", "value": ["red"]}, "a"),
    ({"property": {"path": [{"relation": "uses", "maxHops": 2}]}, "operator": "matchAny", "value": ["d"]}, "ab"),
    ({"property": {"path": ["service"], "fromBlueprint": "incident"}, "operator": "matchAny", "value": ["i"]}, "a"),
]


@pytest.mark.parametrize(("asked", "found"), RULES, ids=str)
def test_a_rule_finds(unchanged: PortClient, asked: dict[str, Any], found: str) -> None:
    assert "".join(unchanged.search("service", asked)) == found


def test_rules_are_combined_and_nested(port: PortClient) -> None:
    gold, cheap = rule("tier", "beginsWith", "gold"), rule("cost", "<", 5)
    either = {"combinator": "or", "rules": [gold, cheap]}
    assert "".join(port.search("service", gold, cheap)) == "a"
    assert "".join(port.search("service", either)) == "abd"
    assert "".join(port.search("service", either, rule("$identifier", "!=", "a"))) == "bd"
    assert "".join(port.search("service")) == "abcd"


@pytest.mark.parametrize(
    "query",
    [
        {"rules": []},
        {"combinator": "xor", "rules": []},
        {"combinator": "and", "rules": [{"property": "a", "operator": "~", "value": 1}]},
        {"combinator": "and", "rules": [{"property": "a", "operator": "="}]},
        {"combinator": "and", "rules": [{"property": "a", "operator": "isEmpty", "value": 1}]},
        {"combinator": "and", "rules": [rule("$team", "=", {"property": "$team", "context": "user"})]},
        {"combinator": "and", "rules": [rule("since", "between", {"preset": "lastCentury"})]},
        {"combinator": "and", "rules": [rule("since", "between", {"from": "then", "to": "now"})]},
    ],
    ids=str,
)
def test_a_query_that_says_nothing_sensible_is_422(unchanged: PortClient, query: Any) -> None:
    answer = unchanged.post("blueprints", "service", "entities", "search", body={"query": query})
    assert answer.error == (422, "invalid_request")


# --- pages ---


def pages(port: PortClient, **body: Any) -> list[list[str]]:
    """Identifiers page by page, until there is no cursor."""
    found: list[list[str]] = []
    while True:
        answer = port.post("blueprints", "service", "entities", "search", body=body).body
        found.append([entity["identifier"] for entity in answer["entities"]])
        if "next" not in answer:
            return found
        body = {**body, "from": answer["next"]}


def test_pages_follow_the_cursor_to_the_end(port: PortClient) -> None:
    assert pages(port, limit=3) == [["a", "b", "c"], ["d"]]
    assert pages(port, limit=2) == [["a", "b"], ["c", "d"]]
    query = {"combinator": "and", "rules": [rule("tier", "isNotEmpty")]}
    assert pages(port, limit=2, query=query) == [["a", "b"], ["d"]]


@pytest.mark.parametrize("asked", [["d", "a", "nobody"], ["c"], [], ["d", "c", "b", "a"]])
@pytest.mark.parametrize("beside", [[], [rule("tier", "isNotEmpty")], [rule("$identifier", "in", ["a", "c"])]])
def test_entities_that_are_named_come_as_by_any_other_search(
    unchanged: PortClient, asked: list[str], beside: list[dict[str, Any]]
) -> None:
    """Nobody but those that are named is looked at; in a group of its own the same rule is one like any other."""
    named = rule("$identifier", "in", asked)
    looked_up = {"combinator": "and", "rules": [named, *beside]}
    gone_through = {"combinator": "and", "rules": [{"combinator": "or", "rules": [named]}, *beside]}
    assert pages(unchanged, limit=2, query=looked_up) == pages(unchanged, limit=2, query=gone_through)


def test_a_full_last_page_can_have_a_cursor_to_nothing() -> None:
    port = PortClient(PortStore(behaviour=Behaviour(next_on_full_last_page=True)))
    port.blueprint()
    port.bulk("service", *({"identifier": name} for name in "abcd"))
    assert pages(port, limit=2) == [["a", "b"], ["c", "d"], []]


def test_a_page_has_200_unless_asked_otherwise_and_1000_at_most(port: PortClient) -> None:
    for start in range(0, 240, 20):
        port.bulk("service", *({"identifier": f"e{number}"} for number in range(start, start + 20)))
    assert [len(page) for page in pages(port)] == [200, 44]
    assert [len(page) for page in pages(port, limit=1000)] == [244]


@pytest.mark.parametrize("body", [{"limit": 0}, {"limit": 1001}, {"limit": 1.5}, {"from": "nonsense"}, {"order": "x"}])
def test_a_limit_out_of_bounds_or_a_foreign_cursor_is_422(unchanged: PortClient, body: Any) -> None:
    answer = unchanged.post("blueprints", "service", "entities", "search", body=body)
    assert answer.error == (422, "invalid_request")


def test_what_is_deleted_or_created_between_pages_shifts_nothing(port: PortClient) -> None:
    first = port.post("blueprints", "service", "entities", "search", body={"limit": 2}).body
    port.delete("blueprints", "service", "entities", "d", delete_dependents=False)
    port.upsert("service", {"identifier": "0"})
    rest = port.post("blueprints", "service", "entities", "search", body={"limit": 2, "from": first["next"]}).body
    assert [entity["identifier"] for entity in rest["entities"]] == ["c", "0"]


# --- selections ---


def test_include_and_exclude_name_parts_and_single_values(port: PortClient) -> None:
    def shown(**body: Any) -> Any:
        query = {"combinator": "and", "rules": [rule("$identifier", "=", "a")]}
        return port.post("blueprints", "service", "entities", "search", body={"query": query, **body}).body["entities"][
            0
        ]

    include = ["identifier", "title", "properties.tier", "properties.nothing", "relations.crew"]
    assert shown(include=include) == {
        "identifier": "a",
        "title": "A",
        "properties": {"tier": "gold"},
        "relations": {"crew": "red"},
    }
    assert shown(include=["relations"]) == {"relations": {"crew": "red", "uses": ["b", "c"]}}
    assert shown(include=["identifier", "title"], exclude=["title"]) == {"identifier": "a"}
    without = shown(exclude=["properties.tier", "relations"])
    assert sorted(without["properties"]) == ["cost", "live", "since", "tags"]
    assert "relations" not in without
    assert without["title"] == "A"


def test_reads_of_one_and_of_all_take_include_too(port: PortClient) -> None:
    assert port.entity("service", "a", include=["identifier"]) == {"identifier": "a"}
    listed = port.get("blueprints", "service", "entities", **{"include[]": ["identifier"]}).body["entities"]
    assert listed == [{"identifier": name} for name in "abcd"]
    assert port.get("blueprints", "service", "entities-count").body == {"ok": True, "count": 4}


def test_relations_can_come_with_titles(port: PortClient) -> None:
    relations = port.entity("service", "a", attach_title_to_relation=True)["relations"]
    assert relations["crew"] == {"identifier": "red", "title": "Red crew"}
    assert [end["title"] for end in relations["uses"]] == ["B", "C"]
    assert port.entity("service", "d", attach_title_to_relation=True)["relations"] == {"crew": None, "uses": []}


@pytest.mark.parametrize("to_read", [("entities",), ("entities-count",), ("entities", "a")])
def test_reading_a_missing_blueprint_is_404(unchanged: PortClient, to_read: tuple[str, ...]) -> None:
    assert unchanged.get("blueprints", "nothing", *to_read).error == (404, "not_found")
    assert unchanged.post("blueprints", "nothing", "entities", "search", body={}).error == (404, "not_found")


# --- over all blueprints ---


def test_the_catalog_wide_search_names_the_blueprints_it_found(port: PortClient) -> None:
    query = {"combinator": "or", "rules": [rule("$identifier", "=", "red"), rule("$blueprint", "=", "incident")]}
    body = port.post("entities", "search", body=query, include=["identifier"]).body
    assert body["entities"] == [{"identifier": "red"}, {"identifier": "i"}]
    assert (body["matchingBlueprints"], body["failedBlueprints"]) == (["crew", "incident"], [])


@pytest.mark.parametrize(
    ("asked", "result"),
    [
        ({"func": "count"}, 4),
        ({"func": "sum", "property": "cost"}, 13.5),
        ({"func": "min", "property": "cost"}, 1),
        ({"func": "max", "property": "cost"}, 10),
        ({"func": "median", "property": "cost"}, 2.5),
        ({"func": "average", "property": "cost"}, 4.5),
        ({"func": "sum", "property": "tier"}, None),
        ({"func": "countValues", "property": "live"}, {"True": 1, "False": 1, "None": 2}),
        ({"func": "countValues", "relation": "uses"}, {"b": 1, "c": 1, "d": 1}),
    ],
)
def test_aggregates(unchanged: PortClient, asked: dict[str, Any], result: Any) -> None:
    query = {"combinator": "and", "rules": [rule("$blueprint", "=", "service")]}
    assert unchanged.post("entities", "aggregate", body={**asked, "query": query}).body["result"] == result


# --- derived properties ---


@pytest.fixture
def derived(port: PortClient) -> PortClient:
    def count(target: str, **more: Any) -> dict[str, Any]:
        spec = {"calculationBy": "entities", "func": "count"}
        return {"title": "N", "target": target, "calculationSpec": spec, **more}

    total = {"calculationBy": "property", "func": "sum", "property": "cost"}
    body = {
        "mirrorProperties": {
            "crew_size": {"path": "crew.size"},
            "crew_title": {"path": "crew.$title"},
            "used_titles": {"path": "uses.$title"},
        },
        "calculationProperties": {
            "slug": {"calculation": '.identifier + "-" + (.properties.tier // "none")', "type": "string"},
            "double_size": {"calculation": ".properties.crew_size * 2", "type": "number"},
            "broken": {"calculation": ".title | tonumber", "type": "number"},
        },
        "aggregationProperties": {
            "incidents": count("incident"),
            "used_cost": {**count("service"), "calculationSpec": total},
        },
    }
    assert port.patch("blueprints", "service", body=body).status == 200
    return port


def test_derived_properties_are_computed_on_reading(derived: PortClient) -> None:
    properties = derived.entity("service", "a")["properties"]
    found = {name: properties.get(name) for name in ("crew_size", "crew_title", "used_titles", "slug", "double_size")}
    assert found == {
        "crew_size": 3,
        "crew_title": "Red crew",
        "used_titles": ["B", "C"],
        "slug": "a-gold",
        "double_size": 6,
    }
    assert (properties["incidents"], properties["used_cost"]) == (1, 12.5)
    assert "broken" not in properties
    derived.upsert("crew", {"identifier": "red", "properties": {"size": 4}})
    assert derived.entity("service", "a")["properties"]["double_size"] == 8


def test_a_mirror_through_an_empty_relation_is_null(derived: PortClient) -> None:
    properties = derived.entity("service", "d")["properties"]
    assert (properties["crew_size"], properties["used_titles"]) == (None, [])


def test_calculations_can_be_left_out(derived: PortClient) -> None:
    properties = derived.entity("service", "a", exclude_calculated_properties=True)["properties"]
    assert "slug" not in properties
    assert properties["crew_size"] == 3


def test_derived_properties_can_be_searched(derived: PortClient) -> None:
    assert derived.search("service", rule("crew_size", ">", 2)) == ["a"]
    assert derived.search("service", rule("slug", "endsWith", "none")) == ["c"]
    assert derived.search("service", rule("incidents", "=", 1)) == ["a", "b", "c", "d"]
