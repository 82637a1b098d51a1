"""Port's outside: routes, tokens, limits, bodies, and what the official document says about them."""

from __future__ import annotations

import json
from importlib import resources
from typing import Any

import pytest

from pdsync.sandbox.port import BODY_LIMIT, HANDLERS, PUBLISHED_LIMITS, Behaviour, PortStore
from tests.sandbox.derive_port import SERVED, derive
from tests.sandbox.port_client import CREDENTIALS, PortClient, path


class Clock:
    """Epoch seconds that stand still until moved."""

    def __init__(self) -> None:
        self.now = 1_750_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def port() -> PortClient:
    return PortClient()


# --- the document ---


def test_the_cut_holds_nothing_but_what_the_derivation_leaves() -> None:
    cut = resources.files("pdsync.sandbox").joinpath("specs", "port.json").read_text(encoding="utf-8")
    assert json.dumps(derive(json.loads(cut)), separators=(",", ":"), sort_keys=True) + "\n" == cut


def test_every_operation_of_the_cut_is_served() -> None:
    served = {(method, template) for template, methods in SERVED.items() for method in methods}
    assert served == {*HANDLERS, ("post", "/v1/auth/access_token")}


@pytest.mark.parametrize(
    "to", ["/", "/v1", "/v1/nothing", "/v2/blueprints", "/v1/blueprints/a/entities/b/c", "/v1/pages"]
)
def test_a_route_that_port_lacks_or_we_do_not_serve_is_404(port: PortClient, to: str) -> None:
    assert port.ask("GET", to).error == (404, "not_found")


@pytest.mark.parametrize(
    ("method", "to"), [("PUT", "/v1/blueprints"), ("GET", "/v1/entities/search"), ("HEAD", "/v1/users")]
)
def test_a_wrong_method_on_a_known_route_is_405(port: PortClient, method: str, to: str) -> None:
    assert port.ask(method, to).error == (405, "method_not_allowed")


# --- bodies and queries ---


def test_a_body_over_1_mib_is_413_on_every_route_and_one_of_1_mib_is_not(port: PortClient) -> None:
    for method, template in HANDLERS:
        if method != "get":
            assert port.ask(method.upper(), template, raw=b" " * (BODY_LIMIT + 1)).status == 413
    padded = json.dumps({"entities": ["x"]}).encode().ljust(BODY_LIMIT)
    port.blueprint()
    assert port.ask("POST", path("blueprints", "service", "bulk", "entities", "delete"), raw=padded).status == 200


@pytest.mark.parametrize("raw", [b"", b"{", b"nonsense", b'"\xff"'])
def test_a_body_that_is_not_json_is_400(port: PortClient, raw: bytes) -> None:
    assert port.ask("POST", path("blueprints"), raw=raw).error == (400, "bad_request")


def test_a_body_of_another_content_type_is_415(port: PortClient) -> None:
    answer = port.ask("POST", path("blueprints"), raw=b"{}", content_type="text/plain")
    assert answer.error == (415, "unsupported_media_type")


@pytest.mark.parametrize("query", [{"upsert": "yes"}, {"upsert": ""}, {"upsertt": "true"}])
def test_a_query_parameter_of_a_wrong_type_or_name_is_422(port: PortClient, query: dict[str, Any]) -> None:
    port.blueprint()
    answer = port.ask("POST", path("blueprints", "service", "entities"), {"identifier": "a"}, **query)
    assert answer.error == (422, "invalid_request")


def test_upsert_and_delete_dependents_left_out_count_as_false(port: PortClient) -> None:
    """The document calls them required, with a default: the default is what a missing one gets."""
    port.blueprint()
    entities = path("blueprints", "service", "entities")
    assert port.ask("POST", entities, {"identifier": "a"}).status == 201
    assert port.ask("POST", entities, {"identifier": "a"}).error == (409, "conflict")
    assert port.ask("DELETE", entities + "/a").status == 200


@pytest.mark.parametrize(
    "identifier", ["a/b", "a+b", "a:b", "a=b", "a\\b", "a@b", "ä.ö", "日本", "a%2Fb".replace("%2F", "/"), "..."]
)
def test_identifiers_travel_encoded_in_paths(port: PortClient, identifier: str) -> None:
    port.blueprint()
    assert port.upsert("service", {"identifier": identifier}).status == 201
    assert port.entity("service", identifier)["identifier"] == identifier
    assert port.delete("blueprints", "service", "entities", identifier, delete_dependents=False).status == 200
    assert port.store.entities("service") == {}


@pytest.mark.parametrize(
    "identifier", ["", ".", "..", "a b", "a#", "a?", "a%", "a,b", "a&b", "(a)", "a\n", "x" * 1001, 7, None]
)
def test_identifiers_outside_the_pattern_are_422(port: PortClient, identifier: Any) -> None:
    port.blueprint()
    assert port.upsert("service", {"identifier": identifier}).error == (422, "invalid_request")


# --- tokens ---


def test_wrong_credentials_are_401(port: PortClient) -> None:
    answer = port.post("auth", "access_token", body={**CREDENTIALS, "clientSecret": "other"})
    assert answer.error == (401, "invalid_credentials")


@pytest.mark.parametrize(
    "body", [{}, {"clientId": "id"}, {**CREDENTIALS, "more": 1}, {**CREDENTIALS, "clientId": 1}, []]
)
def test_a_token_request_of_another_shape_is_422(port: PortClient, body: Any) -> None:
    assert port.post("auth", "access_token", body=body).error == (422, "invalid_request")


@pytest.mark.parametrize("token", ["", "nonsense"])
def test_a_missing_or_foreign_token_is_401(port: PortClient, token: str) -> None:
    assert port.ask("GET", path("blueprints"), token=token).error == (401, "unauthorized")


def test_the_same_token_comes_back_until_it_expires_with_the_time_that_is_left() -> None:
    clock = Clock()
    port = PortClient(PortStore(clock=clock), token_lifetime=100)
    clock.now += 99
    again = port.post("auth", "access_token", body=CREDENTIALS).body
    assert (again["accessToken"], again["expiresIn"], again["tokenType"]) == (port.token, 1, "Bearer")
    assert port.get("blueprints").status == 200
    clock.now += 1
    assert port.get("blueprints").error == (401, "unauthorized")
    fresh = port.post("auth", "access_token", body=CREDENTIALS).body
    assert fresh["accessToken"] != port.token
    assert fresh["expiresIn"] == 100
    assert port.ask("GET", path("blueprints"), token=fresh["accessToken"]).status == 200


# --- rate limits ---


def limits(headers: Any) -> list[str]:
    return [headers[f"x-ratelimit-{name}"] for name in ("limit", "remaining", "reset", "period")]


def test_over_the_limit_is_429_until_the_window_ends_and_groups_count_apart() -> None:
    clock = Clock()
    port = PortClient(PortStore(clock=clock), rate_limit=2, rate_period=60)
    reset = str(int(clock.now) + 60)
    assert limits(port.get("blueprints").headers) == ["2", "1", reset, "60"]
    clock.now += 20
    assert limits(port.get("blueprints").headers) == ["2", "0", reset, "60"]
    refused = port.get("blueprints")
    assert refused.error == (429, "too_many_requests")
    assert limits(refused.headers) == ["2", "0", reset, "60"]
    assert port.get("organization").status == 200
    clock.now += 40
    assert port.get("blueprints").status == 200


def test_the_reset_header_can_hold_seconds_to_wait() -> None:
    clock = Clock()
    store = PortStore(clock=clock, behaviour=Behaviour(rate_limit_reset="seconds"))
    port = PortClient(store, rate_limit=5, rate_period=60)
    port.get("blueprints")
    clock.now += 20
    assert port.get("blueprints").headers["x-ratelimit-reset"] == "40"


def test_without_a_limit_the_published_numbers_are_reported_and_do_not_run_down(port: PortClient) -> None:
    port.blueprint()
    upsert = PUBLISHED_LIMITS["upsert"]
    seen = [limits(port.upsert("service", {"identifier": "a"}).headers)[:2] for _ in range(3)]
    assert seen == [[str(upsert), str(upsert - 1)]] * 3


# --- organisation ---


def test_the_organisation_names_itself() -> None:
    port = PortClient(PortStore(organization={"id": "org_1", "name": "Acme"}))
    assert port.get("organization").body["organization"] == {"featureFlags": [], "id": "org_1", "name": "Acme"}


def test_users_and_teams_are_the_entities_of_their_blueprints(port: PortClient) -> None:
    port.upsert("_team", {"identifier": "new", "title": "New"})
    port.upsert("_user", {"identifier": "n@x.example", "title": "N X", "relations": {"teams": ["new"]}})
    teams = {team["name"]: team for team in port.get("teams").body["teams"]}
    assert teams["new"]["users"] == [{"email": "n@x.example", "status": "STAGED"}]
    users = port.get("users", fields=["email"]).body["users"]
    assert {"email": "n@x.example"} in users


def test_the_audit_log_tells_who_changed_what_newest_first(port: PortClient) -> None:
    port.blueprint(properties={"n": {"type": "number"}})
    port.upsert("service", {"identifier": "a", "properties": {"n": 1}})
    port.store.put_entity("service", {"identifier": "a", "properties": {"n": 2}}, by="person@x.example")
    port.delete("blueprints", "service", "entities", "a", delete_dependents=False)
    audits = port.get("audit-log", entity="a", blueprint="service").body["audits"]
    assert [(event["action"], event["trigger"]["by"]["userId"]) for event in audits] == [
        ("DELETE", "id"),
        ("UPDATE", "person@x.example"),
        ("CREATE", "id"),
    ]
    assert [audits[1]["diff"][side]["properties"] for side in ("before", "after")] == [{"n": 1}, {"n": 2}]
    assert port.get("audit-log", resources="blueprint", includes=["action"], limit=1).body["audits"] == [
        {"action": "CREATE"}
    ]


def test_a_stored_integration_is_returned_and_an_unknown_one_is_404(port: PortClient) -> None:
    port.store.integrations["my-pagerduty"] = {"config": {"resources": []}}
    assert port.get("integration", "my-pagerduty").body["integration"]["config"] == {"resources": []}
    assert port.get("integration", "other").error == (404, "not_found")
