"""Blueprints of the sandbox's Port: what a definition may say, what may change, what that does to entities."""

from __future__ import annotations

from typing import Any

import pytest

from pdsync.sandbox.port import Behaviour, PortStore
from tests.sandbox.port_client import PortClient

STRING = {"type": "string"}
NUMBER = {"type": "number"}


def to(target: str, *, many: bool = False, required: bool = False) -> dict[str, Any]:
    return {"target": target, "many": many, "required": required}


@pytest.fixture
def port() -> PortClient:
    return PortClient()


def invalid(answer: Any) -> bool:
    return bool(answer.error == (422, "invalid_request"))


# --- creating ---


def test_a_blueprint_comes_back_as_sent_with_the_empty_maps_filled_in(port: PortClient) -> None:
    properties = {"url": {"type": "string", "format": "url", "title": "URL"}}
    created = port.blueprint(properties=properties, required=["url"], icon="Service", description="d")
    assert created.status == 201
    body = created.body["blueprint"]
    assert port.get("blueprints", "service").body["blueprint"] == body
    assert {key: body[key] for key in body if not key.endswith(("At", "By"))} == {
        "identifier": "service",
        "title": "service",
        "description": "d",
        "icon": "Service",
        "schema": {"properties": properties, "required": ["url"]},
        "relations": {},
        "mirrorProperties": {},
        "calculationProperties": {},
        "aggregationProperties": {},
    }
    assert body["createdBy"] == body["updatedBy"] == "id"


def test_a_catalog_page_is_made_unless_it_is_declined(port: PortClient) -> None:
    def body(identifier: str) -> dict[str, Any]:
        return {"identifier": identifier, "title": "T", "schema": {"properties": {}}}

    port.post("blueprints", body=body("a"))
    port.post("blueprints", body=body("b"), create_catalog_page=True)
    port.post("blueprints", body=body("c"), create_catalog_page=False)
    assert port.store.pages == ["a", "b"]


def test_an_existing_identifier_is_409(port: PortClient) -> None:
    port.blueprint()
    assert port.blueprint().error == (409, "conflict")


def test_all_blueprints_are_listed_system_ones_included(port: PortClient) -> None:
    port.blueprint()
    listed = [blueprint["identifier"] for blueprint in port.get("blueprints").body["blueprints"]]
    assert listed == ["_team", "_user", "service"]


@pytest.mark.parametrize("identifier", ["", ".", "..", "a b", "a=b", "a#", "x" * 101, "a\n"])
def test_identifiers_outside_the_pattern_are_422(port: PortClient, identifier: str) -> None:
    assert invalid(port.blueprint(identifier))


@pytest.mark.parametrize("identifier", ["x" * 100, "a/b", "ünïcode", "a.b+c:d@e\\f-g_h"])
def test_identifiers_within_the_pattern_are_taken(port: PortClient, identifier: str) -> None:
    assert port.blueprint(identifier).status == 201
    assert port.get("blueprints", identifier).status == 200


@pytest.mark.parametrize(
    "parts",
    [
        {"title": ""},
        {"title": "x" * 101},
        {"description": "x" * 201},
        {"teamInheritance": {"path": "x"}},
        {"unknown": 1},
        {"createdAt": "2026-01-01T00:00:00Z"},
        {"icon": None},
        {"properties": {"a b": STRING}},
        {"properties": {"x" * 101: STRING}},
        {"properties": {"p": {}}},
        {"properties": {"p": {"type": "text"}}},
        {"properties": {"p": {"type": "string", "format": "phone"}}},
        {"properties": {"p": {"type": "string", "title": "x" * 101}}},
        {"properties": {"p": {"type": "number", "format": "url"}}},
        {"properties": {"p": {"type": "string", "format": "labeled-url"}}},
        {"properties": {"p": {"type": "string", "pattern": "("}}},
        {"properties": {"p": {"type": "string", "enum": []}}},
        {"properties": {"p": {"type": "string", "enum": "x"}}},
        {"properties": {"p": {"type": "string", "enumColors": {"a": "mauve"}}}},
        {"properties": {"p": {"type": "string", "default": 1}}},
        {"properties": {"p": {"type": "string", "minLength": -1}}},
        {"properties": {"p": {"type": "array", "items": {"type": "date"}}}},
        {"properties": {"p": {"type": "object", "properties": {"x": {"type": "nothing"}}}}},
        {"required": ["nothing"]},
        {"relations": {"r": {"target": "service"}}},
        {"relations": {"r": {**to("service"), "extra": 1}}},
        {"relations": {"r": to("service", many=True, required=True)}},
        {"mirrorProperties": {"m": {"path": "$title"}}},
        {"mirrorProperties": {"m": {"path": "r.$title"}}},
        {"relations": {"r": to("service")}, "mirrorProperties": {"m": {"path": "r.nothing"}}},
        {"relations": {"r": to("service")}, "mirrorProperties": {"m": {"path": "r.$nothing"}}},
        {"calculationProperties": {"c": {"calculation": ".x"}}},
        {"calculationProperties": {"c": {"calculation": ".x | nope(", "type": "string"}}},
        {"properties": {"p": STRING}, "calculationProperties": {"p": {"calculation": ".x", "type": "string"}}},
        {"ownership": {"type": "Inherited"}},
        {"ownership": {"type": "Inherited", "path": "nothing"}},
    ],
    ids=str,
)
def test_a_definition_that_breaks_a_rule_is_422_and_leaves_nothing(port: PortClient, parts: dict[str, Any]) -> None:
    assert invalid(port.blueprint(**parts))
    assert port.store.blueprint("service") is None


def test_the_title_and_the_schema_must_be_given(port: PortClient) -> None:
    schema: dict[str, Any] = {"properties": {}}
    assert invalid(port.post("blueprints", body={"identifier": "a", "schema": schema}))
    assert invalid(port.post("blueprints", body={"identifier": "a", "title": "A"}))
    assert port.post("blueprints", body={"identifier": "a", "title": "A", "schema": schema}).status == 201


def test_a_relation_to_a_missing_blueprint_is_404_and_to_itself_is_fine(port: PortClient) -> None:
    assert port.blueprint(relations={"r": to("nothing")}).error == (404, "not_found")
    assert port.blueprint(relations={"r": to("service")}).status == 201


def test_an_aggregation_needs_a_target_that_exists_and_is_related(port: PortClient) -> None:
    def aggregation(target: str) -> dict[str, Any]:
        spec = {"calculationBy": "entities", "func": "count"}
        return {"aggregationProperties": {"n": {"title": "N", "target": target, "calculationSpec": spec}}}

    port.blueprint()
    port.blueprint("incident", relations={"service": to("service")})
    port.blueprint("stranger")
    assert port.patch("blueprints", "service", body=aggregation("nothing")).error == (404, "not_found")
    assert invalid(port.patch("blueprints", "service", body=aggregation("stranger")))
    assert port.patch("blueprints", "service", body=aggregation("incident")).status == 200


def test_identifiers_that_start_with_an_underscore_are_reserved(port: PortClient) -> None:
    assert invalid(port.blueprint("_mine"))


# --- changing ---


def test_put_overwrites_what_it_does_not_name_is_gone(port: PortClient) -> None:
    port.blueprint(
        properties={"a": STRING, "b": STRING},
        description="d",
        relations={"r": to("service")},
        calculationProperties={"c": {"calculation": ".identifier", "type": "string"}},
    )
    body = {"title": "New", "schema": {"properties": {"a": STRING}}}
    after = port.put("blueprints", "service", body=body).body["blueprint"]
    assert after["schema"] == {"properties": {"a": STRING}, "required": []}
    assert (after["title"], after["relations"], after["calculationProperties"]) == ("New", {}, {})
    assert "description" not in after


def test_put_without_title_or_schema_is_422(port: PortClient) -> None:
    port.blueprint()
    assert invalid(port.put("blueprints", "service", body={"title": "t"}))
    assert invalid(port.put("blueprints", "service", body={"schema": {"properties": {}}}))


def test_patch_keeps_the_parts_it_does_not_name_and_replaces_whole_maps(port: PortClient) -> None:
    port.blueprint(properties={"a": STRING}, relations={"r": to("service")}, description="d")
    body = {"relations": {"s": to("service")}, "title": "New"}
    after = port.patch("blueprints", "service", body=body).body["blueprint"]
    assert (after["title"], after["description"], list(after["relations"])) == ("New", "d", ["s"])
    assert list(after["schema"]["properties"]) == ["a"]


def test_patch_can_lay_maps_over_the_old_ones() -> None:
    port = PortClient(PortStore(behaviour=Behaviour(patch_maps="merge")))
    port.blueprint(properties={"a": STRING}, relations={"r": to("service")})
    body = {"relations": {"s": to("service")}, "schema": {"properties": {"b": NUMBER}}}
    after = port.patch("blueprints", "service", body=body).body["blueprint"]
    assert list(after["relations"]) == ["r", "s"]
    assert list(after["schema"]["properties"]) == ["a", "b"]


@pytest.mark.parametrize("method", ["put", "patch"])
def test_the_type_of_a_property_is_permanent_and_the_rest_of_it_is_not(port: PortClient, method: str) -> None:
    port.blueprint(properties={"a": STRING})
    change = port.put if method == "put" else port.patch
    body: dict[str, Any] = {"title": "t", "schema": {"properties": {"a": NUMBER}}}
    assert invalid(change("blueprints", "service", body=body))
    body["schema"]["properties"]["a"] = {"type": "string", "enum": ["x"], "title": "A"}
    assert change("blueprints", "service", body=body).status == 200


def test_a_property_that_was_taken_out_may_return_with_another_type_and_its_values_are_lost(port: PortClient) -> None:
    port.blueprint(properties={"a": STRING, "b": STRING})
    port.upsert("service", {"identifier": "e", "properties": {"a": "1", "b": "2"}})
    port.put("blueprints", "service", body={"title": "t", "schema": {"properties": {"b": STRING}}})
    back = {"title": "t", "schema": {"properties": {"a": NUMBER, "b": STRING}}}
    assert port.put("blueprints", "service", body=back).status == 200
    assert port.entity("service", "e")["properties"] == {"b": "2"}


def test_a_change_of_a_blueprint_that_is_not_there_is_404(port: PortClient) -> None:
    body = {"title": "t", "schema": {"properties": {}}}
    assert port.put("blueprints", "nothing", body=body).error == (404, "not_found")
    assert port.patch("blueprints", "nothing", body=body).error == (404, "not_found")
    assert port.get("blueprints", "nothing").error == (404, "not_found")


def test_a_refused_change_leaves_the_blueprint_as_it_was(port: PortClient) -> None:
    port.blueprint(properties={"a": STRING})
    before = port.store.snapshot()
    assert invalid(port.patch("blueprints", "service", body={"title": "n", "mirrorProperties": {"m": {"path": "r.x"}}}))
    assert port.store.snapshot() == before


def test_a_relation_that_mirrors_run_through_cannot_go_first(port: PortClient) -> None:
    port.blueprint("team", properties={"lead": STRING})
    port.blueprint(relations={"team": to("team")}, mirrorProperties={"lead": {"path": "team.lead"}})
    assert invalid(port.patch("blueprints", "service", body={"relations": {}}))
    assert invalid(port.patch("blueprints", "team", body={"schema": {"properties": {}}}))
    assert port.patch("blueprints", "service", body={"relations": {}, "mirrorProperties": {}}).status == 200


# --- relations that change ---


def test_deleting_or_retargeting_a_relation_clears_its_values(port: PortClient) -> None:
    port.blueprint("a")
    port.blueprint("b")
    port.blueprint(relations={"r": to("a"), "s": to("a")})
    port.upsert("a", {"identifier": "x"})
    port.upsert("b", {"identifier": "x"})
    port.upsert("service", {"identifier": "e", "relations": {"r": "x", "s": "x"}})
    port.patch("blueprints", "service", body={"relations": {"r": to("b"), "s": to("a")}})
    assert port.entity("service", "e")["relations"] == {"r": None, "s": "x"}
    port.patch("blueprints", "service", body={"relations": {"r": to("b")}})
    port.patch("blueprints", "service", body={"relations": {"r": to("b"), "s": to("a")}})
    assert port.entity("service", "e")["relations"] == {"r": None, "s": None}


def test_many_becomes_single_only_while_no_entity_holds_several(port: PortClient) -> None:
    port.blueprint(relations={"r": to("service", many=True)})
    for identifier in ("x", "y"):
        port.upsert("service", {"identifier": identifier})
    port.upsert("service", {"identifier": "e", "relations": {"r": ["x", "y"]}})
    single = {"relations": {"r": to("service")}}
    assert invalid(port.patch("blueprints", "service", body=single))
    port.upsert("service", {"identifier": "e", "relations": {"r": ["y"]}})
    assert port.patch("blueprints", "service", body=single).status == 200
    assert port.entity("service", "e")["relations"] == {"r": "y"}
    port.patch("blueprints", "service", body={"relations": {"r": to("service", many=True)}})
    assert port.entity("service", "e")["relations"] == {"r": ["y"]}


# --- renaming ---


def test_a_renamed_property_keeps_its_values_and_its_being_required(port: PortClient) -> None:
    port.blueprint(properties={"a": STRING, "b": STRING}, required=["a"])
    port.upsert("service", {"identifier": "e", "properties": {"a": "1", "b": "2"}})
    rename = ("blueprints", "service", "properties", "a", "rename")
    after = port.patch(*rename, body={"newPropertyName": "c"}).body["blueprint"]
    assert after["schema"] == {"properties": {"c": STRING, "b": STRING}, "required": ["c"]}
    assert port.entity("service", "e")["properties"] == {"c": "1", "b": "2"}
    assert port.patch(*rename, body={"newPropertyName": "d"}).error == (404, "not_found")


def test_a_renamed_relation_keeps_its_values_and_still_guards_its_target(port: PortClient) -> None:
    port.blueprint(relations={"r": to("service")})
    port.upsert("service", {"identifier": "x"})
    port.upsert("service", {"identifier": "e", "relations": {"r": "x"}})
    port.patch("blueprints", "service", "relations", "r", "rename", body={"newRelationIdentifier": "s"})
    assert port.entity("service", "e")["relations"] == {"s": "x"}
    port.delete("blueprints", "service", "entities", "x", delete_dependents=False)
    assert port.entity("service", "e")["relations"] == {"s": None}


def test_a_renamed_mirror_reads_the_same(port: PortClient) -> None:
    port.blueprint(relations={"r": to("service")}, mirrorProperties={"m": {"path": "r.$title"}})
    port.upsert("service", {"identifier": "e", "title": "E"})
    port.upsert("service", {"identifier": "e", "relations": {"r": "e"}})
    port.patch("blueprints", "service", "mirror", "m", "rename", body={"newMirrorName": "n"})
    assert port.entity("service", "e")["properties"] == {"n": "E"}


@pytest.mark.parametrize("body", [{"newPropertyName": "b"}, {"newPropertyName": "a b"}, {}, {"newName": "c"}])
def test_a_rename_onto_another_property_or_to_no_name_is_refused(port: PortClient, body: dict[str, str]) -> None:
    port.blueprint(properties={"a": STRING, "b": NUMBER})
    answer = port.patch("blueprints", "service", "properties", "a", "rename", body=body)
    assert answer.status in (409, 422)
    assert list(port.store.blueprint("service")["schema"]["properties"]) == ["a", "b"]  # type: ignore[index]


def test_a_renamed_blueprint_takes_its_entities_along_and_is_followed_by_relations(port: PortClient) -> None:
    port.blueprint(relations={"self": to("service")})
    port.blueprint("incident", relations={"service": to("service", required=True)})
    port.upsert("service", {"identifier": "s"})
    port.upsert("service", {"identifier": "s", "relations": {"self": "s"}})
    port.upsert("incident", {"identifier": "i", "relations": {"service": "s"}})
    assert port.patch("blueprints", "service", body={"identifier": "svc"}).status == 200
    assert port.get("blueprints", "service").error == (404, "not_found")
    assert port.entity("svc", "s")["relations"] == {"self": "s"}
    assert port.get("blueprints", "incident").body["blueprint"]["relations"]["service"]["target"] == "svc"
    answer = port.delete("blueprints", "svc", "entities", "s", delete_dependents=False)
    assert answer.error == (422, "has_dependents")


def test_a_blueprint_cannot_be_renamed_onto_another(port: PortClient) -> None:
    port.blueprint()
    port.blueprint("other")
    before = port.store.snapshot()
    assert port.patch("blueprints", "service", body={"identifier": "other"}).error == (409, "conflict")
    assert port.store.snapshot() == before


# --- deleting ---


@pytest.mark.parametrize("status", [422, 409])
def test_a_blueprint_with_entities_has_dependents(status: int) -> None:
    port = PortClient(PortStore(behaviour=Behaviour(has_dependents_status=status)))
    port.blueprint()
    port.upsert("service", {"identifier": "e"})
    answer = port.delete("blueprints", "service")
    assert answer.error == (status, "has_dependents")
    assert answer.body["details"] == {"blueprint": "service", "entitiesCount": 1}
    port.delete("blueprints", "service", "entities", "e", delete_dependents=False)
    assert port.delete("blueprints", "service").status == 200
    assert port.delete("blueprints", "service").error == (404, "not_found")


def test_a_relation_target_has_dependents_and_a_relation_to_oneself_is_none(port: PortClient) -> None:
    port.blueprint(relations={"r": to("service")})
    port.blueprint("incident", relations={"service": to("service")})
    assert port.delete("blueprints", "service").error == (422, "has_dependents")
    assert port.delete("blueprints", "incident").status == 200
    assert port.delete("blueprints", "service").status == 200


# --- system blueprints ---


def test_system_blueprints_can_be_extended_but_not_cut_renamed_or_deleted(port: PortClient) -> None:
    user = port.get("blueprints", "_user").body["blueprint"]
    schema = {"properties": {**user["schema"]["properties"], "slack": STRING}, "required": []}
    assert port.patch("blueprints", "_user", body={"schema": schema}).status == 200
    assert invalid(port.patch("blueprints", "_user", body={"schema": {"properties": {"slack": STRING}}}))
    assert invalid(port.patch("blueprints", "_user", body={"identifier": "people"}))
    assert invalid(port.patch("blueprints", "_user", "properties", "status", "rename", body={"newPropertyName": "s"}))
    assert invalid(port.delete("blueprints", "_user"))
    assert "slack" in port.get("blueprints", "_user").body["blueprint"]["schema"]["properties"]
