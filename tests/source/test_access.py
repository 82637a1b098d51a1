"""What the credentials may do: scopes of an app, and what `doctor` finds out."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from pdsync.kinds import KINDS, scopes_for
from pdsync.sandbox.world import World
from pdsync.sources.pagerduty import ProbeResult
from tests.source.asking import fetch, only, probe, query
from tests.source.loopback import TOKEN, Script, Stage, Tape, serving, staging
from tests.source.served import Lists

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.source.loopback import Asgi, Request


class Login:
    """An identity server that grants some scopes and leaves out the others, without a word."""

    def __init__(self, *denied: str, silent: bool = False, unknown: str = "") -> None:
        self.denied = frozenset(denied)
        self.unknown = unknown
        self.silent = silent
        self.asked: list[list[str]] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        form = httpx.QueryParams((await receive())["body"].decode())
        scopes = form["scope"].split()
        self.asked.append(scopes)
        if self.unknown in scopes:
            return await Script([(400, {}, b'{"error": "invalid_scope"}')])(scope, receive, send)
        granted = " ".join(each for each in scopes if each not in self.denied)
        body = {"access_token": TOKEN, "token_type": "bearer", "expires_in": 86400}
        body |= {"expires_in": "86400"} if self.silent else {"scope": granted}  # a number as text, as some say it
        return await Script([(200, {}, json.dumps(body).encode())])(scope, receive, send)


@pytest.fixture
def stage() -> Iterator[Stage]:
    with staging(World(services=5, users=8, incidents=20)) as staged:
        yield staged


def app(login: str) -> dict[str, Any]:
    return {"token": "", "client_id": "app", "client_secret": "apps-own", "subdomain": "acme", "token_url": login}


def forbidding(*paths: str) -> Any:
    return lambda request: Script([(403, {}, b"{}")]) if request.path in paths else None


def test_an_app_asks_for_no_more_than_it_needs(stage: Stage) -> None:
    """The scopes of the kinds at hand, with those of parents and enrichments, one account, nothing else."""
    login = Login()
    with serving(login) as url:
        fetch(stage, query("services"), query("schedules"), query("teams.members"), **app(url))
    wanted = scopes_for(["services", "schedules", "teams.members"])
    assert login.asked == [["as_account-us.acme", *wanted]]
    assert "incidents.read" not in wanted


def test_a_scope_that_was_not_granted_is_named(stage: Stage) -> None:
    """The kind it is for is incomplete and says which scope is missing; the others are fine."""
    stage.tape.before = forbidding("/users")
    with serving(Login("users.read")) as url:
        users, teams = fetch(stage, query("users"), query("teams"), **app(url)).collections.values()
    assert users.problem is not None
    assert (users.problem.code, users.problem.detail) == ("PD325", "users: the app was not granted users.read")
    assert users.problem.hint == "grant users.read to the app in PagerDuty"
    assert teams.complete


def test_a_scope_that_an_enrichment_lacks_is_named(stage: Stage) -> None:
    """The records say why the value is unknown."""
    stage.tape.before = forbidding("/analytics/metrics/incidents/services")
    with serving(Login("analytics.write")) as url:
        collection = only(fetch(stage, query("services"), **app(url)))
    assert collection.complete
    assert {record.unavailable["__analytics"] for record in collection.records} == {
        "the app was not granted analytics.write"
    }


def test_a_login_that_does_not_say_what_it_granted_is_not_guessed_at(stage: Stage) -> None:
    """Then PagerDuty's own answer is all there is."""
    stage.tape.before = forbidding("/users")
    with serving(Login(silent=True)) as url:
        collection = only(fetch(stage, query("users"), **app(url)))
    assert collection.problem is not None
    assert collection.problem.code == "PD320"


def test_a_kind_whose_scope_nobody_names_gets_all_there_are(stage: Stage) -> None:
    """PagerDuty leaves out what the app does not have."""
    login = Login()
    with serving(login) as url:
        fetch(stage, query("automation_actions.runners"), **app(url))
    assert login.asked == [["as_account-us.acme", *scopes_for(KINDS)]]


def test_a_login_that_knows_not_all_of_these_is_asked_for_what_is_needed(stage: Stage) -> None:
    """One scope that it does not know, as those of other kinds may be, does not keep everybody out."""
    login = Login(unknown="incident.read")
    with serving(login) as url:
        runners, teams = fetch(
            stage, query("automation_actions.runners"), query("teams"), **app(url)
        ).collections.values()
    assert (runners.problem, teams.problem) == (None, None)
    assert login.asked == [["as_account-us.acme", *scopes] for scopes in (scopes_for(KINDS), scopes_for(["teams"]))]


def test_a_refused_token_is_renewed_once(stage: Stage) -> None:
    """After a day it is 401: another is fetched, and the list is complete."""
    login, refusals = Login(), [1]

    def before(request: Request) -> Asgi | None:
        return Script([(401, {}, b"{}")]) if refusals and refusals.pop() else None

    stage.tape.before = before
    with serving(login) as url:
        collection = only(fetch(stage, query("teams"), **app(url)))
    assert (collection.complete, len(login.asked)) == (True, 2)


# --- probing ---------------------------------------------------------------------------------------------------


@pytest.fixture
def lists() -> Iterator[Stage]:
    tape = Tape(Lists())
    with serving(tape) as url:
        yield Stage(World(services=1, incidents=0), tape, url)


def test_every_kind_can_be_probed(lists: Stage) -> None:
    """All are readable, with at most one request each and none that is not allowed; parents are asked once for all."""
    kinds = list(KINDS)
    results = probe(lists, *kinds)
    assert [(each.kind, each.status, each.scope) for each in results] == [
        (kind, "readable", KINDS[kind].scope) for kind in kinds
    ]
    assert lists.tape.app.refusals == []  # type: ignore[attr-defined]
    assert len(lists.tape.requests) == sum(not KINDS[kind].inside for kind in kinds)
    limits = [request.all("limit") for request in lists.tape.requests]
    assert all(limit in ([], ["1"]) for limit in limits)


@pytest.mark.parametrize(
    ("status", "expected"),
    [(401, "forbidden"), (402, "unavailable"), (403, "forbidden"), (404, "unavailable"), (400, "failed")],
)
def test_a_probe_tells_one_refusal_from_another(lists: Stage, status: int, expected: str) -> None:
    """May not, is not there, or something else; what is listed under it shares its fate, the rest does not."""
    lists.tape.before = lambda r: Script([(status, {}, b"{}")]) if r.path == "/teams" else None
    teams, members, users = probe(lists, "teams", "teams.members", "users")
    assert (teams.status, members.status, users.status) == (expected, expected, "readable")
    assert f"answered {status}" in teams.detail
    assert members.detail.startswith(f"listed under teams, which is {expected}")
    assert (teams.scope, members.kind) == ("teams.read", "teams.members")


def test_a_probe_names_the_scope_that_is_missing(stage: Stage) -> None:
    """Instead of PagerDuty's plain 403."""
    stage.tape.before = forbidding("/users")
    with serving(Login("users.read")) as url:
        results = probe(stage, "users", "teams", **app(url))
    assert results == [
        ProbeResult("users", "forbidden", "the app was not granted users.read", "users.read"),
        ProbeResult("teams", "readable", "", "teams.read"),
    ]


def test_a_parent_without_records_proves_little(stage: Stage) -> None:
    """What is under it could not be tried, and the result says so."""
    empty = b'{"teams":[],"more":false,"total":0}'
    stage.tape.before = lambda r: Script([(200, {}, empty)]) if r.path == "/teams" else None
    (result,) = probe(stage, "teams/members")
    assert (result.kind, result.status) == ("teams.members", "readable")
    assert result.detail == "teams can be read, but there is none to try it with"
