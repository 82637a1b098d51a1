"""Nothing that an enrichment gave is erased because PagerDuty has no answer, and the plan says why it is unknown.

All enrichments at once, through the whole of it; `tests/source/test_pagerduty.py` has each of them alone, with more.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import pytest

from pdsync.sandbox.http import Fault
from pdsync.sandbox.server import Sandbox
from tests.cli.workspace import make_workspace, small_world

if TYPE_CHECKING:
    from pathlib import Path

BLUEPRINT = """\
identifier: thing
title: Thing
schema: {properties: {metrics: {type: string}, field: {type: string}, who: {type: string}}, required: []}
"""
RESOURCE = """\
  - kind: %s
    selector: {query: 'true', %s}
    port: {entity: {mappings: {identifier: .id, blueprint: '"thing"', properties: {%s}}}}
"""
MAPPED = [
    (
        "services",
        "includeCustomFields: true",
        "metrics: .__analytics.service_name, field: '.__custom_fields[0].name', who: '.__oncall_user[0].user.email'",
    ),
    (
        "incidents",
        "incidentAnalytics: true, includeCustomFields: true, apiQueryParams: {date_range: all}",
        "metrics: .__analytics.service_name, field: '.__custom_fields[0].name'",
    ),
    ("schedules", "", "who: '.users[0].__email'"),
    ("escalation_policies", "attachOncallUsers: true", "who: '.__oncall_users[0].user.email'"),
]
ANALYTICS = {("services", "__analytics"), ("incidents", "__analytics")}
FIELDS = {("services", "__custom_fields"), ("incidents", "__custom_fields")}
ON_CALLS = {("services", "__oncall_user"), ("escalation_policies", "__oncall_users")}
EMAILS = {("schedules", "__email")}
LISTS = {"^/oncalls$": ON_CALLS, "^/users$": EMAILS, "analytics/": ANALYTICS, "custom_fields/values": FIELDS}
EVERY = "|".join(LISTS)
SPENT = {"daily-ratelimit-limit": "10", "daily-ratelimit-remaining": "0", "daily-ratelimit-reset": "3600"}


def answer(path: str, status: int = 200, headers: Any = None, **lists: Any) -> Fault:
    return Fault("answer", path=path, count=None, status=status, headers=headers or {}, body=lists, api="pagerduty")


def all_lists(value: Any) -> dict[str, Any]:
    return dict.fromkeys(("oncalls", "users", "data", "custom_fields"), value)


TROUBLE = {
    "spent": (answer(EVERY, 429, SPENT), EVERY),
    "truncated": (Fault("truncate", path=EVERY, count=None), EVERY),
    "null": (answer(EVERY, **all_lists(None)), EVERY),
    **{f"empty {path}": (answer(path, more=False, total=0, **all_lists([])), path) for path in LISTS},
}


@pytest.mark.parametrize("kept", ["snapshot", "ledger"])
def test_no_answer_erases_what_there_was(kept: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the ledger is all that is kept as well; analytics of the day stand in where the snapshot has them."""
    with Sandbox(small_world(incidents=8, services=5, schedules=2, incident_days=20)) as box:
        here = make_workspace(tmp_path, box, monkeypatch)
        shutil.rmtree(here.folder / "catalog" / "blueprints")
        here.write("catalog/blueprints/thing.yaml", BLUEPRINT)
        here.write("catalog/mappings/pagerduty.yaml", "resources:\n" + "".join(RESOURCE % each for each in MAPPED))
        here.ok("-q", "apply", "--auto-approve")
        state, before = here.folder / "state", tmp_path / "before"
        if kept == "ledger":
            for name in ("snapshot.jsonl", "memo.jsonl", "applied.jsonl"):
                (state / name).unlink()
        shutil.copytree(state, before)
        for trouble, (fault, path) in TROUBLE.items():
            shutil.rmtree(state)
            shutil.copytree(before, state)
            box.faults.clear()
            box.faults.add(fault)
            made = here.ok("-q", "plan", "--format", "json", "--refresh-analytics").json
            told = {(each["kind"], each["enrichment"]) for each in made["unavailable"]}
            known = ANALYTICS if kept == "snapshot" and not trouble.startswith("empty") else set()
            expected = {each for lists, given in LISTS.items() if lists in path for each in given} - known
            assert (trouble, made["changes"], told) == (trouble, [], expected)
