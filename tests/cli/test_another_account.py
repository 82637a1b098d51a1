"""Credentials of another PagerDuty account: what was made from the one is not gone because the other lacks it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from pdsync.sandbox import pagerduty_records
from pdsync.sandbox.server import Sandbox
from pdsync.state.ledger_file import dump_ledger, parse_ledger
from tests.cli.workspace import small_world

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.cli.workspace import Ran, Workspace

OURS, THEIRS = "sandbox.pagerduty.com", "other.pagerduty.com"


@pytest.fixture
def other(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """Another company on another account."""
    monkeypatch.setattr(pagerduty_records, "WEB", f"https://{THEIRS}")
    with Sandbox(small_world(seed=8)) as box:
        yield box


def account(site: Workspace) -> str:
    told: str = site.ok("show", "--format", "json").json["account"]
    return told


def codes(ran: Ran) -> set[str]:
    return {each["code"] for each in ran.json["diagnostics"]}


def test_what_another_account_lacks_waits_in_every_run(applied: Workspace, other: Sandbox) -> None:
    """Also once entities of its own are there, until the deletes are allowed: then it is the account of the state."""
    assert account(applied) == OURS
    ours = set(applied.box.store.entities("service"))
    url = other.pagerduty_url
    for _ in range(3):
        ran = applied.ok("apply", "--auto-approve", code=3, PAGERDUTY_API_URL=url)
        assert f"records are of {THEIRS}, what is owned was made from {OURS}" in ran.err
        assert f"PagerDuty is {THEIRS}, not {OURS}" in ran.out
        assert ours < set(applied.box.store.entities("service"))
        assert account(applied) == OURS
    waiting = applied.run("-q", "plan", "--format", "json", PAGERDUTY_API_URL=url).json
    flags = sorted({word for each in waiting["withheld"] for word in each["flag"].split()})
    applied.ok("apply", "--auto-approve", *allowing(flags), PAGERDUTY_API_URL=url)
    assert ours.isdisjoint(applied.box.store.entities("service"))
    assert account(applied) == THEIRS
    ran = applied.ok("-q", "plan", "--format", "json", PAGERDUTY_API_URL=url)
    assert (ran.json["changes"], codes(ran)) == ([], set())


def allowing(words: list[str]) -> list[str]:
    return [given for word in words if "=" in word for given in ("--allow-deletes", word)]


def test_an_account_with_a_new_name_costs_a_warning(applied: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its records are the same: nothing waits, and from the next apply on the state knows the name."""
    monkeypatch.setattr(pagerduty_records, "WEB", f"https://{THEIRS}")
    applied.box.world.version += 1
    assert codes(applied.ok("-q", "plan", "--format", "json")) == {"PD344"}
    applied.ok("apply", "--auto-approve")
    assert account(applied) == THEIRS
    assert codes(applied.ok("-q", "plan", "--format", "json")) == set()


def test_a_state_that_does_not_know_its_account_learns_it(applied: Workspace) -> None:
    """One that an earlier pdsync wrote; a plan by itself writes nothing."""
    path = applied.folder / "state" / "ledger.jsonl"
    ledger = parse_ledger(path.read_bytes(), "ledger")
    path.write_bytes(dump_ledger(replace(ledger, account="")))
    assert "account" not in json.loads(path.read_bytes().partition(b"\n")[0])
    applied.ok("plan")
    assert account(applied) == ""
    applied.ok("apply", "--auto-approve")
    assert account(applied) == OURS
