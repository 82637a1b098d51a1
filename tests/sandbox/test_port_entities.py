"""Entities of the sandbox's Port: what is taken, what is kept, what stands in the way of a delete."""

from __future__ import annotations

from typing import Any

import pytest

from pdsync.sandbox.port import Behaviour, PortRefusal, PortStore
from tests.sandbox.port_client import Answer, PortClient

PROPERTIES: dict[str, Any] = {
    "text": {"type": "string", "minLength": 2, "maxLength": 5, "pattern": "^[a-z]+$"},
    "choice": {"type": "string", "enum": ["red", "green"], "enumColors": {"red": "red"}},
    "number": {"type": "number", "minimum": 0, "exclusiveMaximum": 100},
    "size": {"type": "number", "enum": [1, 2]},
    "flag": {"type": "boolean"},
    "thing": {"type": "object", "properties": {"a": {"type": "number"}}, "additionalProperties": False},
    "anything": {"type": "object"},
    "tags": {"type": "array", "items": {"type": "string", "enum": ["x", "y"]}, "maxItems": 2, "uniqueItems": True},
    "loose": {"type": "array"},
    "when": {"type": "string", "format": "date-time"},
    "timer": {"type": "string", "format": "timer"},
    "url": {"type": "string", "format": "url"},
    "email": {"type": "string", "format": "email"},
    "user": {"type": "string", "format": "user"},
    "team": {"type": "string", "format": "team"},
    "v4": {"type": "string", "format": "ipv4"},
    "v6": {"type": "string", "format": "ipv6"},
    "text-md": {"type": "string", "format": "markdown"},
    "link": {"type": "object", "format": "labeled-url"},
    "urls": {"type": "array", "items": {"type": "string", "format": "url"}},
}


def to(target: str, *, many: bool = False, required: bool = False) -> dict[str, Any]:
    return {"target": target, "many": many, "required": required}


def with_behaviour(**switches: Any) -> PortClient:
    return PortClient(PortStore(behaviour=Behaviour(**switches)))


@pytest.fixture
def port() -> PortClient:
    return PortClient()


@pytest.fixture
def typed(port: PortClient) -> PortClient:
    port.blueprint("typed", properties=PROPERTIES)
    return port


def invalid(answer: Answer) -> bool:
    return answer.error == (422, "invalid_request")


# --- values ---

TAKEN = [
    ("text", "abc"),
    ("choice", "red"),
    ("number", 0),
    ("number", 99.5),
    ("size", 1),
    ("flag", False),
    ("thing", {"a": 1}),
    ("thing", {}),
    ("anything", {"deep": [{"er": None}]}),
    ("tags", ["x", "y"]),
    ("tags", []),
    ("loose", [1, "a", {}]),
    ("when", "2026-01-01T00:00:00+02:00"),
    ("timer", "2026-01-01T00:00:00Z"),
    ("url", "https://x.example/a?b=c"),
    ("email", "a@b.example"),
    ("user", "a@b.example"),
    ("team", "whoever"),
    ("v4", "10.0.0.1"),
    ("v6", "::1"),
    ("text-md", "# Title\n"),
    ("link", {"url": "https://x.example", "displayText": "X"}),
    ("link", {"url": "https://x.example", "label": "X"}),
    ("urls", ["https://x.example"]),
]
REFUSED = [
    ("text", "a"),
    ("text", "abcdef"),
    ("text", "ABC"),
    ("text", 1),
    ("text", ["abc"]),
    ("choice", "blue"),
    ("number", "1"),
    ("number", True),
    ("number", -1),
    ("number", 100),
    ("size", 3),
    ("flag", "true"),
    ("flag", 0),
    ("thing", {"a": "1"}),
    ("thing", {"b": 1}),
    ("thing", "{}"),
    ("tags", "x"),
    ("tags", ["z"]),
    ("tags", ["x", "x"]),
    ("tags", ["x", "y", "x"]),
    ("tags", [None]),
    ("when", "yesterday"),
    ("when", "2026-01-01"),
    ("when", 1767225600),
    ("timer", "soon"),
    ("url", "x.example"),
    ("email", "nobody"),
    ("user", "Jane Doe"),
    ("v4", "::1"),
    ("v6", "10.0.0.1"),
    ("link", "https://x.example"),
    ("link", {"displayText": "X"}),
    ("urls", ["nothing"]),
    ("unknown", 1),
]


@pytest.mark.parametrize(("name", "value"), TAKEN, ids=str)
def test_a_value_that_fits_comes_back_as_sent(typed: PortClient, name: str, value: Any) -> None:
    assert typed.upsert("typed", {"identifier": "e", "properties": {name: value}}).status == 201
    assert typed.entity("typed", "e")["properties"] == {name: value}


@pytest.mark.parametrize(("name", "value"), REFUSED, ids=str)
def test_a_value_that_does_not_fit_is_422_and_stores_nothing(typed: PortClient, name: str, value: Any) -> None:
    entity = {"identifier": "e", "properties": {name: value}}
    answer = typed.upsert("typed", entity)
    assert invalid(answer)
    assert name in answer.body["message"]
    assert typed.bulk("typed", entity).body["errors"][0]["statusCode"] == 422
    assert typed.store.entities("typed") == {}


@pytest.mark.parametrize("name", sorted(PROPERTIES))
def test_an_optional_property_may_be_null(typed: PortClient, name: str) -> None:
    assert typed.upsert("typed", {"identifier": "e", "properties": {name: None}}).status == 201


def test_a_whole_number_is_the_same_with_and_without_a_fraction(typed: PortClient) -> None:
    answer = typed.ask(
        "POST",
        "/v1/blueprints/typed/entities",
        raw=b'{"identifier": "e", "properties": {"size": 2.0}}',
    )
    assert answer.status == 201


def test_integers_beyond_a_double_lose_their_last_digits(typed: PortClient) -> None:
    typed.blueprint("big", properties={"n": {"type": "number"}})
    typed.upsert("big", {"identifier": "e", "properties": {"n": 9007199254740993}})
    assert typed.entity("big", "e")["properties"] == {"n": 9007199254740992}


@pytest.mark.parametrize(("switch", "stored"), [("drop", {"flag": True}), ("store", {"flag": True, "unknown": 1})])
def test_unknown_properties_can_be_dropped_or_stored(switch: str, stored: dict[str, Any]) -> None:
    port = with_behaviour(unknown_properties=switch)
    port.blueprint("typed", properties=PROPERTIES)
    entity = {"identifier": "e", "properties": {"flag": True, "unknown": 1}, "relations": {"unknown": "x"}}
    assert port.upsert("typed", entity).status == 201
    assert port.entity("typed", "e")["properties"] == stored
    assert port.entity("typed", "e")["relations"] == {}


def test_date_times_can_come_back_normalised() -> None:
    port = with_behaviour(date_times="normalised")
    port.blueprint("typed", properties=PROPERTIES)
    port.upsert("typed", {"identifier": "e", "properties": {"when": "2026-01-01T00:30:00.5+02:00"}})
    assert port.entity("typed", "e")["properties"] == {"when": "2025-12-31T22:30:00.500Z"}


def test_derived_properties_cannot_be_set(port: PortClient) -> None:
    spec = {"calculationBy": "entities", "func": "count"}
    port.blueprint(
        relations={"r": to("service")},
        mirrorProperties={"mirror": {"path": "r.$title"}},
        calculationProperties={"calculation": {"calculation": ".title", "type": "string"}},
        aggregationProperties={"aggregation": {"title": "A", "target": "service", "calculationSpec": spec}},
    )
    for name in ("mirror", "calculation", "aggregation"):
        assert invalid(port.upsert("service", {"identifier": "e", "properties": {name: "x"}}))


# --- create, upsert, merge ---


@pytest.fixture
def full(port: PortClient) -> PortClient:
    """A service with every part set."""
    port.blueprint(
        properties={"a": {"type": "string"}, "b": {"type": "object"}}, relations={"r": to("service", many=True)}
    )
    port.upsert("service", {"identifier": "x"})
    port.upsert(
        "service",
        {
            "identifier": "e",
            "title": "Title",
            "icon": "Service",
            "team": "platform",
            "properties": {"a": "1", "b": {"c": 1, "d": 2}},
            "relations": {"r": ["x"]},
        },
    )
    return port


def parts(entity: Any) -> dict[str, Any]:
    return {key: entity[key] for key in ("title", "icon", "team", "properties", "relations")}


FULL = {
    "title": "Title",
    "icon": "Service",
    "team": ["platform"],
    "properties": {"a": "1", "b": {"c": 1, "d": 2}},
    "relations": {"r": ["x"]},
}


def test_an_entity_comes_back_with_its_blueprint_its_times_and_its_authors(full: PortClient) -> None:
    entity = full.entity("service", "e")
    assert parts(entity) == FULL
    assert (entity["identifier"], entity["blueprint"], entity["scorecards"]) == ("e", "service", {})
    assert (entity["createdBy"], entity["updatedBy"]) == ("id", "id")


def test_create_without_upsert_is_409_for_an_existing_one(full: PortClient) -> None:
    assert full.upsert("service", {"identifier": "e"}, upsert=False).error == (409, "conflict")
    assert full.upsert("service", {"identifier": "new"}, upsert=False, merge=False).status == 201


@pytest.mark.parametrize("how", ["post", "patch", "bulk"])
def test_merging_keeps_what_is_not_sent(full: PortClient, how: str) -> None:
    body = {"properties": {"a": "2"}}
    if how == "post":
        assert full.upsert("service", {"identifier": "e", **body}).status == 201
    elif how == "patch":
        assert full.patch("blueprints", "service", "entities", "e", body=body).status == 200
    else:
        assert full.bulk("service", {"identifier": "e", **body}).status == 200
    assert parts(full.entity("service", "e")) == {**FULL, "properties": {"a": "2", "b": {"c": 1, "d": 2}}}


@pytest.mark.parametrize("how", ["post", "put", "bulk"])
def test_replacing_clears_what_is_not_sent(full: PortClient, how: str) -> None:
    body = {"properties": {"a": "2"}}
    if how == "post":
        assert full.upsert("service", {"identifier": "e", **body}, merge=False).status == 201
    elif how == "put":
        assert full.put("blueprints", "service", "entities", "e", body=body).status == 200
    else:
        assert full.bulk("service", {"identifier": "e", **body}, merge=False).status == 200
    cleared: dict[str, Any] = {
        "title": None,
        "icon": None,
        "team": [],
        "properties": {"a": "2"},
        "relations": {"r": []},
    }
    assert parts(full.entity("service", "e")) == cleared


def test_object_properties_are_replaced_as_a_whole(full: PortClient) -> None:
    full.upsert("service", {"identifier": "e", "properties": {"b": {"d": 3}}})
    assert full.entity("service", "e")["properties"]["b"] == {"d": 3}


@pytest.mark.parametrize(("switch", "left"), [("null", {"a": None}), ("absent", {})])
@pytest.mark.parametrize("merge", [True, False])
def test_a_property_set_to_null_is_cleared(switch: str, left: dict[str, Any], merge: bool) -> None:
    port = with_behaviour(cleared=switch)
    port.blueprint(properties={"a": {"type": "string"}})
    port.upsert("service", {"identifier": "e", "properties": {"a": "1"}})
    port.upsert("service", {"identifier": "e", "properties": {"a": None}}, merge=merge)
    assert port.entity("service", "e")["properties"] == left


@pytest.mark.parametrize("name", ["title", "icon", "team"])
def test_title_icon_and_team_may_be_null_in_patch_only(full: PortClient, name: str) -> None:
    body = {name: None}
    assert invalid(full.upsert("service", {"identifier": "e", **body}))
    assert invalid(full.bulk("service", {"identifier": "e", **body}))
    assert invalid(full.put("blueprints", "service", "entities", "e", body=body))
    assert parts(full.entity("service", "e")) == FULL
    assert full.patch("blueprints", "service", "entities", "e", body=body).status == 200
    assert parts(full.entity("service", "e")) == {**FULL, name: [] if name == "team" else None}


def test_patch_takes_no_other_keys_and_the_rest_does(full: PortClient) -> None:
    assert invalid(full.patch("blueprints", "service", "entities", "e", body={"blueprint": "service"}))
    assert full.put("blueprints", "service", "entities", "e", body={"blueprint": "service"}).status == 200
    assert full.upsert("service", {"identifier": "e", "blueprint": "service"}).status == 201


@pytest.mark.parametrize(("switch", "title"), [("null", None), ("identifier", "e")])
def test_an_entity_without_a_title_can_show_its_identifier(switch: str, title: str | None) -> None:
    port = with_behaviour(missing_title=switch)
    port.blueprint()
    port.upsert("service", {"identifier": "e"})
    assert port.entity("service", "e")["title"] == title


@pytest.mark.parametrize("call", ["put", "patch", "get", "delete"])
def test_an_entity_or_a_blueprint_that_is_not_there_is_404(full: PortClient, call: str) -> None:
    def ask(*to: str) -> Answer:
        body: dict[str, Any] = {"body": {}} if call in ("put", "patch") else {}
        answer: Answer = getattr(full, call)(*to, **body)
        return answer

    assert ask("blueprints", "service", "entities", "nothing").error == (404, "not_found")
    assert ask("blueprints", "nothing", "entities", "e").error == (404, "not_found")


def test_put_and_patch_with_another_identifier_rename_and_pointers_follow(full: PortClient) -> None:
    assert full.patch("blueprints", "service", "entities", "x", body={"identifier": "y"}).status == 200
    assert full.entity("service", "e")["relations"] == {"r": ["y"]}
    assert full.patch("blueprints", "service", "entities", "y", body={"identifier": "e"}).error == (409, "conflict")
    assert sorted(full.store.entities("service")) == ["e", "y"]


def test_validation_only_judges_and_stores_nothing(full: PortClient) -> None:
    before = full.store.snapshot()
    assert full.upsert("service", {"identifier": "new"}, validation_only=True).status == 201
    assert full.upsert("service", {"identifier": "e", "title": "N"}, validation_only=True).status == 201
    assert full.bulk("service", {"identifier": "new"}, validation_only=True).status == 200
    assert invalid(full.upsert("service", {"identifier": "e", "properties": {"a": 1}}, validation_only=True))
    missing = {"identifier": "e", "relations": {"r": ["nothing"]}}
    assert full.upsert("service", missing, validation_only=True).error == (404, "not_found")
    creating = {"validation_only": True, "create_missing_related_entities": True}
    assert full.upsert("service", missing, **creating).status == 201
    assert full.store.snapshot() == before


# --- required and defaults ---


def test_required_properties_must_be_given_on_create_and_replace_and_cannot_be_cleared(port: PortClient) -> None:
    port.blueprint(properties={"a": {"type": "string"}, "b": {"type": "string"}}, required=["a"])
    assert invalid(port.upsert("service", {"identifier": "e", "properties": {"b": "1"}}))
    assert invalid(port.upsert("service", {"identifier": "e", "properties": {"a": None}}))
    assert port.upsert("service", {"identifier": "e", "properties": {"a": "1"}}).status == 201
    assert port.upsert("service", {"identifier": "e", "properties": {"b": "1"}}).status == 201
    assert invalid(port.upsert("service", {"identifier": "e", "properties": {"b": "1"}}, merge=False))
    assert invalid(port.patch("blueprints", "service", "entities", "e", body={"properties": {"a": None}}))


def test_required_relations_must_be_given_on_create_and_cannot_be_cleared(port: PortClient) -> None:
    port.blueprint()
    port.blueprint("incident", relations={"service": to("service", required=True)})
    port.upsert("service", {"identifier": "s"})
    assert invalid(port.upsert("incident", {"identifier": "i"}))
    assert port.upsert("incident", {"identifier": "i", "relations": {"service": "s"}}).status == 201
    assert port.upsert("incident", {"identifier": "i", "title": "t"}).status == 201
    assert invalid(port.upsert("incident", {"identifier": "i", "relations": {"service": None}}))


@pytest.mark.parametrize(
    ("switch", "created", "replaced"),
    [("on_create", {"a": "d"}, {}), ("always", {"a": "d"}, {"a": "d"}), ("never", {}, {})],
)
def test_defaults_are_filled_in_when_the_switch_says(switch: str, created: Any, replaced: Any) -> None:
    port = with_behaviour(defaults=switch)
    port.blueprint(properties={"a": {"type": "string", "default": "d"}})
    port.upsert("service", {"identifier": "e"})
    assert port.entity("service", "e")["properties"] == created
    port.upsert("service", {"identifier": "e"}, merge=False)
    assert port.entity("service", "e")["properties"] == replaced
    port.upsert("service", {"identifier": "given", "properties": {"a": "x"}})
    assert port.entity("service", "given")["properties"] == {"a": "x"}


# --- relations ---


@pytest.fixture
def related(port: PortClient) -> PortClient:
    port.blueprint("target")
    port.blueprint("source", relations={"one": to("target"), "many": to("target", many=True), "user": to("_user")})
    for identifier in ("t1", "t2"):
        port.upsert("target", {"identifier": identifier})
    return port


def test_absent_relations_are_null_and_empty(related: PortClient) -> None:
    related.upsert("source", {"identifier": "e"})
    assert related.entity("source", "e")["relations"] == {"one": None, "many": [], "user": None}


def test_relations_keep_their_order_and_lose_duplicates(related: PortClient) -> None:
    related.upsert("source", {"identifier": "e", "relations": {"one": "t1", "many": ["t2", "t1", "t2"]}})
    assert related.entity("source", "e")["relations"] == {"one": "t1", "many": ["t2", "t1"], "user": None}
    related.upsert("source", {"identifier": "e", "relations": {"one": None, "many": []}})
    assert related.entity("source", "e")["relations"] == {"one": None, "many": [], "user": None}


@pytest.mark.parametrize("relations", [{"one": ["t1"]}, {"many": "t1"}, {"nothing": "t1"}, {"one": 1}, {"one": "a b"}])
def test_a_relation_of_a_wrong_shape_is_422(related: PortClient, relations: Any) -> None:
    assert invalid(related.upsert("source", {"identifier": "e", "relations": relations}))


@pytest.mark.parametrize("relations", [{"one": "ghost"}, {"many": ["t1", "ghost"]}, {"user": "ghost"}])
def test_a_missing_target_is_404_and_stores_nothing(related: PortClient, relations: Any) -> None:
    entity = {"identifier": "e", "relations": relations}
    assert related.upsert("source", entity).error == (404, "not_found")
    error = related.bulk("source", entity).body["errors"][0]
    assert (error["statusCode"], error["error"]) == (404, "not_found")
    assert related.store.entities("source") == {}


def test_missing_targets_can_be_created_bare_but_not_users(related: PortClient) -> None:
    creating = {"create_missing_related_entities": True}
    entity = {"identifier": "e", "relations": {"one": "g1", "many": ["g2"]}}
    assert related.upsert("source", entity, **creating).status == 201
    assert sorted(related.store.entities("target")) == ["g1", "g2", "t1", "t2"]
    user = {"identifier": "f", "relations": {"user": "ghost@x.example"}}
    assert related.upsert("source", user, **creating).error == (404, "not_found")


def test_an_entity_can_point_at_itself_once_it_exists(port: PortClient) -> None:
    port.blueprint(relations={"r": to("service")})
    entity = {"identifier": "e", "relations": {"r": "e"}}
    assert port.upsert("service", entity).error == (404, "not_found")
    port.upsert("service", {"identifier": "e"})
    assert port.upsert("service", entity).status == 201


def test_a_search_query_can_stand_for_identifier_team_and_relations(related: PortClient) -> None:
    def query(value: str) -> dict[str, Any]:
        return {"combinator": "and", "rules": [{"property": "$identifier", "operator": "in", "value": value.split()}]}

    entity = {"identifier": "e", "team": query("platform"), "relations": {"one": query("t2"), "many": query("t1 t2")}}
    assert related.upsert("source", entity).status == 201
    stored = related.entity("source", "e")
    assert (stored["team"], stored["relations"]["one"], stored["relations"]["many"]) == (
        ["platform"],
        "t2",
        ["t1", "t2"],
    )
    assert invalid(related.upsert("source", {"identifier": "e", "relations": {"one": query("t1 t2")}}))
    assert related.upsert("source", {"identifier": query("e"), "title": "T"}).body["entity"]["title"] == "T"
    assert related.upsert("source", {"identifier": query("nothing")}).error == (404, "not_found")


# --- teams ---


def test_a_team_is_a_string_or_a_list_and_comes_back_as_a_list(port: PortClient) -> None:
    port.blueprint()
    port.upsert("service", {"identifier": "a", "team": "platform"})
    port.upsert("service", {"identifier": "b", "team": ["platform", "payments", "platform"]})
    assert port.entity("service", "a")["team"] == ["platform"]
    assert port.entity("service", "b")["team"] == ["platform", "payments"]


@pytest.mark.parametrize(("switch", "status"), [("accept", 201), ("refuse", 422)])
def test_an_unknown_team_is_taken_or_refused(switch: str, status: int) -> None:
    port = with_behaviour(unknown_teams=switch)
    port.blueprint()
    assert port.upsert("service", {"identifier": "a", "team": "nobody"}).status == status


def test_inherited_teams_come_from_the_end_of_the_path_and_cannot_be_set(port: PortClient) -> None:
    port.blueprint()
    ownership = {"type": "Inherited", "path": "service"}
    port.blueprint("incident", relations={"service": to("service")}, ownership=ownership)
    port.upsert("service", {"identifier": "s", "team": ["platform"]})
    port.upsert("incident", {"identifier": "i", "relations": {"service": "s"}})
    assert port.entity("incident", "i")["team"] == ["platform"]
    assert invalid(port.upsert("incident", {"identifier": "i", "team": ["payments"]}))


# --- bulk ---


def test_a_bulk_says_by_index_what_was_created_and_what_failed_and_stores_the_rest(related: PortClient) -> None:
    related.upsert("source", {"identifier": "old"})
    answer = related.bulk(
        "source",
        {"identifier": "old", "title": "O"},
        {"identifier": "bad", "relations": {"one": "ghost"}},
        {"identifier": "new"},
        {"identifier": "worse", "relations": {"one": ["t1"]}},
    )
    assert answer.status == 207
    assert answer.body["ok"] is False
    assert answer.body["entities"] == [
        {"identifier": "old", "index": 0, "created": False},
        {"identifier": "new", "index": 2, "created": True},
    ]
    shown = [
        (error["identifier"], error["index"], error["statusCode"], error["error"]) for error in answer.body["errors"]
    ]
    assert shown == [("bad", 1, 404, "not_found"), ("worse", 3, 422, "invalid_request")]
    assert sorted(related.store.entities("source")) == ["new", "old"]


def test_a_bulk_without_failures_is_200(related: PortClient) -> None:
    answer = related.bulk("source", {"identifier": "a"}, {"identifier": "b"})
    assert (answer.status, answer.body["ok"], answer.body["errors"]) == (200, True, [])


def test_entities_of_a_bulk_are_stored_one_after_the_other(port: PortClient) -> None:
    port.blueprint(relations={"r": to("service")})
    first, second = {"identifier": "a"}, {"identifier": "b", "relations": {"r": "a"}}
    assert [error["index"] for error in port.bulk("service", second, first).body["errors"]] == [0]
    assert port.bulk("service", first, second).status == 200


@pytest.mark.parametrize(("count", "status"), [(0, 422), (1, 200), (20, 200), (21, 422)])
def test_a_bulk_takes_1_to_20(related: PortClient, count: int, status: int) -> None:
    entities = [{"identifier": f"e{number}"} for number in range(count)]
    assert related.bulk("source", *entities).status == status
    assert len(related.store.entities("source")) == (count if status == 200 else 0)


def test_a_bulk_with_a_body_of_a_wrong_shape_stores_nothing(related: PortClient) -> None:
    assert invalid(related.bulk("source", {"identifier": "a"}, {"identifier": "not this"}))
    assert related.store.entities("source") == {}


def test_a_bulk_into_a_missing_blueprint_is_404(port: PortClient) -> None:
    assert port.bulk("nothing", {"identifier": "a"}).error == (404, "not_found")


@pytest.mark.parametrize(("switch", "status", "title"), [("refuse", 207, "first"), ("last_wins", 200, "second")])
def test_duplicates_in_one_bulk(switch: str, status: int, title: str) -> None:
    port = with_behaviour(duplicates_in_bulk=switch)
    port.blueprint()
    answer = port.bulk("service", {"identifier": "a", "title": "first"}, {"identifier": "a", "title": "second"})
    assert answer.status == status
    assert [error["index"] for error in answer.body["errors"]] == ([1] if status == 207 else [])
    assert port.entity("service", "a")["title"] == title


def test_a_bulk_without_upsert_reports_existing_ones(related: PortClient) -> None:
    related.upsert("source", {"identifier": "a"})
    answer = related.bulk("source", {"identifier": "a"}, {"identifier": "b"}, upsert=False)
    assert [error["statusCode"] for error in answer.body["errors"]] == [409]


# --- deleting ---


@pytest.fixture
def chain() -> PortClient:
    """Log -required-> incident -required-> service <-optional- dashboard."""
    return chained()


def chained(**switches: Any) -> PortClient:
    port = with_behaviour(**switches)
    port.blueprint()
    port.blueprint("incident", relations={"service": to("service", required=True)})
    port.blueprint("log", relations={"incident": to("incident", required=True)})
    port.blueprint("dashboard", relations={"service": to("service"), "services": to("service", many=True)})
    for identifier in ("s", "t"):
        port.upsert("service", {"identifier": identifier})
    port.upsert("incident", {"identifier": "i", "relations": {"service": "s"}})
    port.upsert("log", {"identifier": "l", "relations": {"incident": "i"}})
    port.upsert("dashboard", {"identifier": "d", "relations": {"service": "s", "services": ["s", "t"]}})
    return port


def held(port: PortClient) -> dict[str, list[str]]:
    return {name: sorted(port.store.entities(name)) for name in ("service", "incident", "log", "dashboard")}


def test_what_others_require_is_not_deleted(chain: PortClient) -> None:
    answer = chain.delete("blueprints", "service", "entities", "s", delete_dependents=False)
    assert answer.error == (422, "has_dependents")
    assert answer.body["details"] == {"dependents": ["incident/i"]}
    assert held(chain) == {"service": ["s", "t"], "incident": ["i"], "log": ["l"], "dashboard": ["d"]}


def test_optional_relations_to_what_was_deleted_are_cleared(chain: PortClient) -> None:
    for blueprint, identifier in (("log", "l"), ("incident", "i"), ("service", "s")):
        assert chain.delete("blueprints", blueprint, "entities", identifier, delete_dependents=False).status == 200
    assert chain.entity("dashboard", "d")["relations"] == {"service": None, "services": ["t"]}


@pytest.mark.parametrize(("switch", "dashboards"), [("required", ["d"]), ("all", [])])
def test_deleting_dependents_goes_on_to_theirs(switch: str, dashboards: list[str]) -> None:
    port = chained(cascade=switch)
    assert port.delete("blueprints", "service", "entities", "s", delete_dependents=True).status == 200
    assert held(port) == {"service": ["t"], "incident": [], "log": [], "dashboard": dashboards}


def delete_services(port: PortClient, *identifiers: str, delete_dependents: bool = False) -> Answer:
    body = {"entities": list(identifiers)}
    return port.post(
        "blueprints", "service", "bulk", "entities", "delete", body=body, delete_dependents=delete_dependents
    )


def test_a_bulk_delete_says_what_is_gone(chain: PortClient) -> None:
    assert delete_services(chain, "t").body == {"ok": True, "deletedEntities": ["t"]}
    answer = delete_services(chain, "s", delete_dependents=True)
    assert answer.body["deletedEntities"] == ["s"]
    assert held(chain) == {"service": [], "incident": [], "log": [], "dashboard": ["d"]}


def test_one_blocked_entity_stops_the_whole_bulk_delete_or_only_itself(chain: PortClient) -> None:
    assert delete_services(chain, "t", "s").error == (422, "has_dependents")
    assert held(chain)["service"] == ["s", "t"]
    partial = chained(blocked_deletes="partial")
    assert delete_services(partial, "t", "s").body["deletedEntities"] == ["t"]
    assert held(partial)["service"] == ["s"]


def test_unknown_identifiers_in_a_bulk_delete_are_ignored_or_refused(chain: PortClient) -> None:
    assert delete_services(chain, "t", "ghost", "t").body["deletedEntities"] == ["t"]
    refusing = chained(unknown_deletes="refuse")
    assert delete_services(refusing, "t", "ghost").error == (404, "not_found")
    assert held(refusing)["service"] == ["s", "t"]


def test_entities_that_require_each_other_can_go_together(port: PortClient) -> None:
    port.blueprint()
    required = {"r": to("service", required=True)}
    creating = {"create_missing_related_entities": True}
    port.patch("blueprints", "service", body={"relations": required})
    port.upsert("service", {"identifier": "a", "relations": {"r": "b"}}, **creating)
    port.upsert("service", {"identifier": "b", "relations": {"r": "a"}})
    assert delete_services(port, "a").error == (422, "has_dependents")
    assert delete_services(port, "a", "b").body["deletedEntities"] == ["a", "b"]


@pytest.mark.parametrize(("count", "status"), [(0, 422), (1, 200), (100, 200), (101, 422)])
def test_a_bulk_delete_takes_1_to_100(chain: PortClient, count: int, status: int) -> None:
    assert delete_services(chain, *(f"x{number}" for number in range(count))).status == status


# --- the store itself ---


def test_an_edit_by_hand_keeps_the_rest_and_names_its_author(full: PortClient) -> None:
    full.store.put_entity("service", {"identifier": "e", "properties": {"a": "by hand"}})
    entity = full.entity("service", "e")
    assert parts(entity) == {**FULL, "properties": {**FULL["properties"], "a": "by hand"}}  # type: ignore[dict-item]
    assert (entity["createdBy"], entity["updatedBy"]) == ("id", "admin@sandbox.example")


def test_an_edit_by_hand_obeys_the_rules(full: PortClient) -> None:
    with pytest.raises(PortRefusal, match="must be string"):
        full.store.put_entity("service", {"identifier": "e", "properties": {"a": 1}})
    with pytest.raises(PortRefusal, match="Entity with identifier"):
        full.store.delete_entity("service", "ghost")
    full.store.delete_entity("service", "x")
    assert full.store.entities("service")["e"]["relations"] == {"r": []}


def test_what_the_store_hands_out_is_a_copy(full: PortClient) -> None:
    before = full.store.snapshot()
    full.store.entities("service")["e"]["properties"]["b"]["c"] = 99
    full.store.snapshot()["entities"]["service"]["e"]["properties"]["b"]["c"] = 99
    full.store.blueprint("service")["schema"]["properties"].clear()  # type: ignore[index]
    given = {"identifier": "e", "properties": {"b": {"c": 1, "d": 2}}}
    full.store.put_entity("service", given)["properties"].clear()
    given["properties"]["b"]["c"] = 99  # type: ignore[index]
    assert full.store.snapshot() == before


def test_snapshots_are_equal_when_only_times_and_authors_differ() -> None:
    def filled(by: str) -> PortStore:
        store = PortStore(clock=lambda: float(len(by)))
        store.create_blueprint({"identifier": "b", "title": "B", "schema": {"properties": {}}}, by=by)
        store.put_entity("b", {"identifier": "e", "title": "E"}, by=by)
        return store

    assert filled("one").snapshot() == filled("another").snapshot()
