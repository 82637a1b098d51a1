"""What `doctor` finds out: what the credentials can read, what the catalog needs, and what is missing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pdsync.kinds import KINDS
from pdsync.sandbox.http import Fault
from pdsync.sandbox.pagerduty_oauth import OAuth
from pdsync.sandbox.server import Sandbox
from tests.cli.workspace import MAPPING, make_workspace, small_world

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.workspace import Workspace

SCOPES = ["analytics.write", "incidents.read", "oncalls.read", "services.read", "users.read"]


def states(here: Workspace, *options: str, code: int = 0) -> dict[str, str]:
    found = here.ok("doctor", "--format", "json", *options, code=code).json
    return {each["kind"]: each["status"] for each in found["kinds"]}


def test_what_is_mapped_and_what_is_put_into_it_is_asked_for(here: Workspace) -> None:
    """A request or two each, none for what has a daily quota, and the least scopes."""
    assert states(here) == {
        "incidents": "readable",
        "services": "readable",
        "services: __analytics": "not asked",
        "services: __oncall_user": "readable",
        "users": "readable",
    }
    assert not any("analytics" in r.path for r in here.box.log.all("pagerduty"))
    said = here.ok("doctor").out
    assert (f"Least scopes for this catalog: {' '.join(SCOPES)}" in said, "API key" in said) == (True, True)
    assert said.endswith("All is well.\n")


def test_what_cannot_be_read_is_told_from_the_rest(here: Workspace) -> None:
    """A kind that is forbidden, an enrichment that the plan lacks; schedules are of two sorts."""
    here.write("catalog/mappings/pagerduty.yaml", MAPPING.replace("kind: users", "kind: schedules"))
    here.box.mutate({"action": "drop_permission", "kind": "incidents"})
    here.box.mutate({"action": "plan_missing", "kind": "oncalls"})
    found = states(here, code=1)
    assert (found["incidents"], found["services: __oncall_user"]) == ("forbidden", "unavailable")
    assert {found[name] for name in ("services", "schedules", "schedules: schedules_v3")} == {"readable"}
    assert "Not all is well" in here.ok("doctor", code=1).out


def test_an_account_without_shift_based_schedules_is_well(here: Workspace) -> None:
    """It answers that there is no such list; a snapshot is complete without it."""
    here.write("catalog/mappings/pagerduty.yaml", MAPPING.replace("kind: users", "kind: schedules"))
    here.box.faults.add(Fault("answer", path="^/v3/schedules$", count=None, status=404, body={}))
    assert states(here)["schedules: schedules_v3"] == "none here"
    here.ok("-q", "snapshot")


def test_every_kind_can_be_asked_for(here: Workspace) -> None:
    """What is not mapped cannot make it unwell."""
    here.box.mutate({"action": "drop_permission", "kind": "teams"})
    found = here.ok("doctor", "--all", "--format", "json").json
    others = {each["kind"]: each["status"] for each in found["other_kinds"]}
    assert {each["kind"] for each in found["kinds"] if ":" not in each["kind"]} | others.keys() == set(KINDS)
    assert (others["teams"], others["vendors"], others["analytics.raw.incidents"]) == (
        "forbidden",
        "readable",
        "not asked",
    )


@pytest.mark.parametrize(
    ("token", "hint"),
    [
        (
            "wrong-value-of-a-key",
            "check that PAGERDUTY_TOKEN is a REST API key and that PAGERDUTY_API_URL is its region",
        ),
        ("pdus+_0XBPWQQ_wrong_token", "check that PAGERDUTY_TOKEN has not run out"),
    ],
)
def test_a_wrong_token_is_said_with_the_variable_that_holds_it(here: Workspace, token: str, hint: str) -> None:
    """By `plan` and by `doctor`, and the token itself by neither."""
    for command in ("plan", "doctor"):
        ran = here.ok(command, code=1, PAGERDUTY_TOKEN=token)
        assert ((ran.out + ran.err).count(hint), token in ran.out + ran.err) == (1, False)
    found = here.ok("doctor", "--format", "json", code=1, PAGERDUTY_TOKEN=token).json
    assert {each["status"] for each in found["kinds"]} == {"not asked"}
    assert hint in found["pagerduty_error"]


def test_while_it_waits_it_says_for_whom(here: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that does not answer is waited for a while."""
    monkeypatch.setattr("pdsync.cli.progress.SILENCE", 0.001)
    assert "asking PagerDuty" in here.ok("doctor").err


def test_what_keeps_port_from_being_read_is_said_with_what_to_do(here: Workspace) -> None:
    """As of PagerDuty, by name: which variables to look at."""
    here.box.faults.add(Fault("answer", api="port", path="organization", status=403, count=None))
    assert "check its IP allow list" in here.ok("doctor", code=1).out


def test_a_state_that_cannot_be_read_keeps_nothing_else_from_being_told(here: Workspace) -> None:
    """Its line says why, and the command that all is not well."""
    here.write("state/ledger.jsonl", "<html>")
    ran = here.ok("doctor", code=1).out
    assert ("organisation" in ran, "readable" in ran, "state file is damaged" in ran) == (True, True, True)


def test_one_kind_that_refuses_the_credentials_does_not_speak_for_the_others(here: Workspace) -> None:
    """401 may be its own; of two kinds it is of all."""
    here.box.faults.add(Fault("answer", api="pagerduty", path="^/incidents$", status=401, count=None))
    found = states(here, code=1)
    assert (found["incidents"], found["services"], found["users"]) == ("forbidden", "readable", "readable")


@pytest.mark.parametrize("lacking", [None, "services.read", "analytics.write"])
def test_scopes_of_an_app_are_compared_with_what_is_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lacking: str | None
) -> None:
    """PagerDuty leaves out what was not granted; what is missing is named even where nothing was asked."""
    app = OAuth("app", "apps-own-secret", granted=frozenset(SCOPES) - {lacking or ""})
    with Sandbox(small_world(), pagerduty_oauth=app) as box:
        here = make_workspace(tmp_path, box, monkeypatch)
        reading = MAPPING.replace("status: .status", "status: .__analytics.service_name", 1)
        here.write("catalog/mappings/pagerduty.yaml", reading)
        here.env |= {
            "PAGERDUTY_TOKEN": "",
            "PAGERDUTY_CLIENT_ID": "app",
            "PAGERDUTY_CLIENT_SECRET": "apps-own-secret",
            "PAGERDUTY_SUBDOMAIN": "sandbox",
            "PAGERDUTY_OAUTH_URL": f"{box.pagerduty_url}/oauth/token",
        }
        ran = here.run("doctor")
        assert ("OAuth app" in ran.out, ran.code) == (True, 1 if lacking else 0)
        assert (f"Not granted: {lacking}" in ran.out) == bool(lacking)
        assert f"Granted to the app: {' '.join(scope for scope in SCOPES if scope != lacking)}\n" in ran.out
        (analytics,) = [line for line in ran.out.splitlines() if "services: __analytics" in line]
        assert ("forbidden" in analytics, "not asked" in analytics) == (
            (True, False) if lacking == "analytics.write" else (False, True)
        )
        assert "check PAGERDUTY_CLIENT_ID" in here.run("doctor", PAGERDUTY_SUBDOMAIN="another").out
        plan = here.run("plan")
        assert f"the app was not granted {lacking}" in plan.err or not lacking
        assert "apps-own-secret" not in ran.out + ran.err + plan.out + plan.err
