"""What must never happen: a write from a plan, a secret anywhere, an unencrypted request, a traceback."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from pdsync.cli import Options
from pdsync.cli.session import Session
from pdsync.sandbox.server import PAGERDUTY_TOKEN, PORT_CLIENT_SECRET, Sandbox
from tests.cli.workspace import make_workspace, small_world

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.workspace import Workspace


def test_a_plan_without_changes_writes_nothing_on_apply(applied: Workspace) -> None:
    """Applying nothing sends nothing."""
    applied.ok("apply", "--auto-approve")
    assert applied.box.log.port_writes() == []


# --- credentials


def test_all_missing_variables_are_named_at_once(here: Workspace) -> None:
    """Nobody has to set them one by one."""
    none = {"PORT_CLIENT_ID": "", "PORT_CLIENT_SECRET": "", "PAGERDUTY_TOKEN": ""}
    for command in (["plan"], ["apply", "--auto-approve"]):
        ran = here.ok(*command, code=1, **none)
        assert sorted(set(re.findall(r"(\w+) is not set", ran.err))) == sorted(none)
    assert list(here.box.log) == []


@pytest.mark.parametrize("command", [["drift"], ["destroy", "--auto-approve"], ["plan", "--offline"]])
def test_commands_ask_only_for_what_they_need(applied: Workspace, command: list[str]) -> None:
    """Who only talks to Port needs no PagerDuty token."""
    assert "PAGERDUTY" not in applied.ok(*command, PAGERDUTY_TOKEN="").err


@pytest.mark.parametrize(
    ("name", "who"),
    [("PAGERDUTY_TOKEN", "PagerDuty"), ("PORT_CLIENT_SECRET", "Port"), ("PORT_CLIENT_ID", "Port")],
)
def test_a_wrong_credential_is_one_clear_error(here: Workspace, name: str, who: str) -> None:
    """Who refused and what to check, and no retry, no traceback, no secret."""
    ran = here.ok("plan", code=1, **{name: "wrong-value-of-a-credential"})
    refused = [r for r in here.box.log if r.status == 401]
    assert (ran.err.count("error["), "Traceback" in ran.err, "wrong-value" in ran.err) == (1, False, False)
    assert (who in ran.err, "check" in ran.err) == (True, True)
    assert len(refused) <= 4


def test_two_wrong_credentials_are_two_errors(here: Workspace) -> None:
    """Both sides are asked at the same time, and both are told."""
    ran = here.ok("plan", code=1, PAGERDUTY_TOKEN="wrong", PORT_CLIENT_SECRET="wrong")
    assert ("Traceback" in ran.err, ran.err.count("error[") in (1, 2)) == (False, True)


@pytest.mark.parametrize("name", ["PORT_BASE_URL", "PAGERDUTY_API_URL"])
@pytest.mark.parametrize("url", ["http://api.example.com", "http://10.0.0.1:8080", "http://localhost.example.com"])
def test_plain_http_goes_to_this_machine_only(here: Workspace, name: str, url: str) -> None:
    """Credentials are never sent unencrypted to another host: refused before any request."""
    ran = here.ok("plan", code=1, **{name: url})
    assert ("Traceback" in ran.err, "http" in ran.err) == (False, True)
    assert [r.method for r in here.box.log.port_writes()] == []


@pytest.mark.parametrize("url", ["nonsense", "ftp://api.example.com", "https://", "http://"])
def test_what_is_no_url_is_said(here: Workspace, url: str) -> None:
    """In words, with whose it is."""
    ran = here.ok("plan", code=1, PORT_BASE_URL=url)
    assert ("Traceback" in ran.err, "PD900" in ran.err, "Port" in ran.err) == (False, False, True)


@pytest.mark.parametrize("rest", ["", "/v1", "/v1/"])
def test_the_address_of_port_may_have_its_version(tmp_path: Path, rest: str) -> None:
    """As the addresses in Port's documentation do; a path that only ends like it is another one."""
    env = {"PORT_BASE_URL": f"https://api.example.com/gw-v1{rest}"}
    options = Options(tmp_path, "", None, "never", quiet=True, verbose=False, events=None, env=env)
    assert Session(options).port_url == "https://api.example.com/gw-v1"


def test_a_state_of_an_unknown_kind_is_said(here: Workspace) -> None:
    """A state URL that no backend knows is refused with what was given."""
    ran = here.ok("--state", "ftp://bucket", "plan", code=1)
    assert ("PD802" in ran.err, "ftp://" in ran.err) == (True, True)


# --- secrets


def secrets_of(box: Sandbox) -> list[str]:
    """Tokens, and the addresses of contact methods of people."""
    return [PAGERDUTY_TOKEN, PORT_CLIENT_SECRET, *_addresses(box)]


def _addresses(box: Sandbox) -> list[str]:
    """Addresses of contact methods, as PagerDuty serves them, but those that are the e-mail of the person as well."""
    import httpx

    found = httpx.get(
        f"{box.pagerduty_url}/users",
        params={"include[]": "contact_methods", "limit": 100},
        headers={
            "Authorization": f"Token token={PAGERDUTY_TOKEN}",
            "Accept": "application/vnd.pagerduty+json;version=2",
        },
    ).json()["users"]
    return [
        method["address"]
        for user in found
        for method in user["contact_methods"]
        if method.get("address") not in (None, "", user["email"])
    ]


def test_no_secret_is_ever_written_or_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the whole cycle of the starter catalog, with events and failures, no token and no phone number is anywhere."""
    with Sandbox(small_world()) as box:
        here = make_workspace(tmp_path, box, monkeypatch)
        here.ok("--catalog", "starter", "init", ".")
        for name in ("catalog/mappings/pagerduty.yaml", "catalog/blueprints/all.yaml"):
            (tmp_path / name).unlink()
        told = [
            here.run("-v", "--json-into", "events.ndjson", "--catalog", "starter", *command)
            for command in (
                ["plan", "--out", "saved.pdplan"],
                ["apply", "saved.pdplan"],
                ["plan", "--format", "json"],
                ["show", "state"],
                ["show", "history"],
                ["drift"],
                ["eval", "users", min(box.world.users)],
                ["explain", f"users:{min(box.world.users)}", "--format", "json"],
                ["snapshot", "--out", "snapshot.jsonl"],
                ["destroy", "--auto-approve"],
            )
        ]
        told += [here.run("-v", "--catalog", "starter", "plan", PORT_CLIENT_SECRET=PORT_CLIENT_SECRET + "x")]
        hidden = secrets_of(box)
    assert [ran.code for ran in told] == [0] * 10 + [1]
    assert len(hidden) > 2
    everything = {f"{n}": ran.out + ran.err for n, ran in enumerate(told)}
    everything |= {name: data.decode(errors="replace") for name, data in here.files().items()}
    assert [(name, secret) for secret in hidden for name, text in everything.items() if secret in text] == []


@pytest.mark.parametrize("name", ["saved.pdplan", "state/ledger.jsonl", "state/snapshot.jsonl"])
def test_what_is_saved_is_for_its_owner(here: Workspace, name: str) -> None:
    """Plans and state hold names and titles of people: mode 0600."""
    here.ok("-q", "plan", "--out", "saved.pdplan")
    here.ok("-q", "apply", "saved.pdplan")
    assert (here.folder / name).stat().st_mode & 0o777 == 0o600


def test_an_unexpected_error_has_no_traceback_unless_verbose(here: Workspace) -> None:
    """What breaks an assumption inside ends in one error, which quotes nothing; -v shows where."""
    here.ok("-q", "plan", "--out", "saved.pdplan")

    def broken(*_: object) -> None:
        raise KeyError("what nobody should read")

    here.monkeypatch.setattr("pdsync.cli.plan_commands.read_plan", broken)
    ran = here.ok("show", "saved.pdplan", code=1)
    assert ("PD900" in ran.err, "Traceback" in ran.err, "nobody" in ran.err) == (True, False, False)
    assert "Traceback" in here.ok("-v", "show", "saved.pdplan", code=1).err
