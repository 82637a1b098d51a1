"""Scoped OAuth of the sandbox's PagerDuty: token requests, scopes, the life of a token."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pdsync.sandbox.pagerduty import SERVED, OAuth, Served
from pdsync.sandbox.server import Sandbox
from tests.sandbox.pagerduty_client import ACCEPT, READ, Api, early_access, path_of, required, upgraded_world

APP = OAuth("an-app", "its-secret", account="eu.acme")
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
GRANT = {"grant_type": "client_credentials", "client_id": APP.client_id, "client_secret": APP.client_secret}
SCOPES = sorted({READ.operation(one.method, one.path).scope for one in SERVED} - {""})


def ask(api: Api, scope: str = "as_account-eu.acme services.read", **changed: str) -> httpx.Response:
    form = {**GRANT, "scope": scope, **changed}
    return api.send("POST", "/oauth/token", content=urlencode(form), headers=FORM)


def token(api: Api, *scopes: str) -> str:
    answer = ask(api, " ".join(["as_account-eu.acme", *scopes]))
    assert answer.status_code == 200, answer.text
    found: str = answer.json()["access_token"]
    return found


def use(api: Api, bearer: str, path: str, one: Served | None = None) -> httpx.Response:
    headers = {"Authorization": f"Bearer {bearer}", "Accept": ACCEPT}
    if one is None:
        return api.send("GET", path, headers=headers)
    request: dict[str, Any] = {"json": {}} if one.method == "post" else {"params": required(one.path, api.world)}
    return api.send(one.method.upper(), path, headers={**headers, **early_access(one.path, one.method)}, **request)


# --- token requests ----------------------------------------------------------------------------------------------


def test_a_token_tells_its_scopes_and_its_life() -> None:
    """The answer of a token request: token, scopes as asked for, type, a day in seconds; it is not to be cached."""
    answer = ask(Api(oauth=APP))
    body = answer.json()
    assert sorted(body) == ["access_token", "expires_in", "scope", "token_type"]
    assert body["access_token"].startswith("pdus+_")
    assert (body["scope"], body["token_type"], body["expires_in"]) == (
        "as_account-eu.acme services.read",
        "bearer",
        86_400,
    )
    assert answer.headers["cache-control"] == "no-store"


@given(asked=st.lists(st.sampled_from(SCOPES), unique=True), granted=st.sets(st.sampled_from(SCOPES)))
@settings(deadline=None, max_examples=40)
def test_scopes_that_were_not_granted_are_left_out_without_a_word(asked: list[str], granted: set[str]) -> None:
    """The token holds what is both asked for and granted, in the order asked for; the request succeeds all the same."""
    api = Api(oauth=OAuth(APP.client_id, APP.client_secret, APP.account, frozenset(granted)))
    answer = ask(api, " ".join(["as_account-eu.acme", *asked]))
    expected = ["as_account-eu.acme", *(scope for scope in asked if scope in granted)]
    assert (answer.status_code, answer.json()["scope"].split(" ")) == (200, expected)


@pytest.mark.parametrize(
    ("changed", "status", "word"),
    [
        ({"client_secret": "guess"}, 401, "invalid_client"),
        ({"client_id": "somebody"}, 401, "invalid_client"),
        ({"client_id": "", "client_secret": ""}, 401, "invalid_client"),
        ({"grant_type": "password"}, 400, "unsupported_grant_type"),
        ({"scope": "services.read"}, 400, "invalid_scope"),
        ({"scope": ""}, 400, "invalid_scope"),
        ({"scope": "as_account-eu.acme as_account-us.acme services.read"}, 400, "invalid_scope"),
        ({"scope": "as_account-eu.acme as_account-eu.acme"}, 400, "invalid_scope"),
        ({"scope": "as_account-us.acme services.read"}, 400, "invalid_scope"),
    ],
)
def test_token_requests_that_cannot_be_are_refused(changed: dict[str, str], status: int, word: str) -> None:
    """Who it is not: 401.  Another grant, no account, two accounts, somebody else's account: 400."""
    answer = ask(Api(oauth=APP), **changed)
    assert (answer.status_code, answer.json()["error"]) == (status, word)
    assert "access_token" not in answer.json()


@pytest.mark.parametrize("content_type", ["application/json", "text/plain", ""])
def test_a_token_request_is_a_form(content_type: str) -> None:
    """A body of another type: 400."""
    body = urlencode({**GRANT, "scope": "as_account-eu.acme"})
    answer = Api(oauth=APP).send("POST", "/oauth/token", content=body, headers={"Content-Type": content_type})
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")


def test_without_an_app_there_is_no_token() -> None:
    """An account that knows no app has no such place: 404, and no bearer token is taken."""
    api = Api()
    assert api.refuse(404, "POST", "/oauth/token")["code"] == 2100
    assert use(api, "pdus+_guess", "/services").status_code == 401


# --- what a token may do -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def unchanged() -> Api:
    """For tests that only read."""
    return Api(upgraded_world(), oauth=APP)


@pytest.mark.parametrize("one", SERVED, ids=lambda one: f"{one.method} {one.path}")
def test_a_scope_opens_what_the_specification_says(one: Served, unchanged: Api) -> None:
    """With its scope an operation answers 200; with all scopes but that one 403; where none is named any token will do."""
    api = unchanged
    scope = READ.operation(one.method, one.path).scope
    path = path_of(one, api.world)
    others = [other for other in SCOPES if other != scope]
    found = [use(api, token(api, *scopes), path, one) for scopes in ((scope,), others)]
    assert [answer.status_code for answer in found] == [200, 403 if scope else 200]
    if scope:
        error = found[1].json()["error"]
        assert (error["code"], scope in error["errors"][0]) == (2010, True)


def test_a_token_ends() -> None:
    """Up to its last second a token is taken, then it answers 401; a new one is another."""
    now = [100.0]
    app = OAuth(APP.client_id, APP.client_secret, APP.account, lifetime=60.0)
    api = Api(oauth=app, clock=lambda: now[0])
    first = token(api, "services.read")
    statuses = []
    for moment in (100.0, 159.9, 160.0, 500.0):
        now[0] = moment
        statuses.append(use(api, first, "/services").status_code)
    assert statuses == [200, 200, 401, 401]
    second = token(api, "services.read")
    assert (second != first, use(api, second, "/services").status_code) == (True, 200)


@pytest.mark.parametrize("authorization", ["Token token={}", "{}", "Basic {}", "Bearer {}x"])
def test_an_oauth_token_is_a_bearer_token(authorization: str) -> None:
    """In any other scheme, or changed by a letter, it is refused."""
    api = Api(oauth=APP)
    headers = {"Authorization": authorization.format(token(api, "services.read")), "Accept": ACCEPT}
    assert api.send("GET", "/services", headers=headers).status_code == 401


def test_the_key_of_the_account_needs_no_scopes() -> None:
    """Beside tokens the key works as it did."""
    assert Api(oauth=APP).send("GET", "/services").status_code == 200


def test_token_requests_are_not_counted() -> None:
    """The limit is on the API: asking for tokens takes nothing from it."""
    api = Api(oauth=APP, limit_per_minute=2)
    tokens = [token(api, "services.read") for _ in range(5)]
    assert [use(api, one, "/services").status_code for one in tokens[:3]] == [200, 200, 429]


def test_the_running_sandbox_gives_tokens() -> None:
    """`Sandbox(pagerduty_oauth=...)`: over real HTTP a token is given and taken."""
    with Sandbox(pagerduty_oauth=APP) as sandbox, httpx.Client(base_url=sandbox.pagerduty_url) as client:
        form = {**GRANT, "scope": "as_account-eu.acme services.read"}
        bearer = client.post("/oauth/token", data=form).json()["access_token"]
        headers = {"Authorization": f"Bearer {bearer}", "Accept": ACCEPT}
        answers = [client.get(path, headers=headers).status_code for path in ("/services", "/users")]
    assert answers == [200, 403]
