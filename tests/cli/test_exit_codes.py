"""Each exit code of DESIGN 7, and that no output format alters it."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from pdsync.sandbox.http import Fault
from pdsync.sandbox.port_rules import Behaviour
from pdsync.sandbox.port_store import PortStore
from pdsync.sandbox.server import Sandbox
from tests.cli.workspace import MAPPING, make_workspace, small_world

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.workspace import Workspace

FORMATS = ("text", "json", "markdown")


def a_service(here: Workspace) -> str:
    return min(here.box.store.entities("service"))


@pytest.mark.parametrize("form", FORMATS)
def test_0_done_and_no_changes(here: Workspace, form: str) -> None:
    """A plan ends with 0 whether it has changes or not."""
    here.ok("plan", "--format", form)
    here.ok("-q", "apply", "--auto-approve")
    here.ok("plan", "--format", form)
    here.ok("apply", "--auto-approve")


@pytest.mark.parametrize("form", FORMATS)
def test_1_an_error_in_a_record(here: Workspace, form: str) -> None:
    """A record that cannot be mapped is an error, although the rest is planned."""
    here.write("catalog/mappings/pagerduty.yaml", MAPPING.replace("role: .role", 'role: .role | error("no")'))
    ran = here.ok("plan", "--format", form, code=1)
    assert ran.err.count("error[PD2") == 1
    assert "catalog/mappings/pagerduty.yaml:22:19" in ran.err


def test_1_a_broken_catalog(here: Workspace) -> None:
    """Nothing is asked of anybody when the catalog is broken."""
    here.write("catalog/mappings/pagerduty.yaml", MAPPING.replace(".status", ".status |"))
    for command in (["plan"], ["apply", "--auto-approve"], ["snapshot"], ["validate"]):
        ran = here.ok(*command, code=1)
        assert "catalog/mappings/pagerduty.yaml:11:" in ran.out + ran.err
    assert list(here.box.log) == []


@pytest.mark.parametrize("form", FORMATS)
def test_2_changes_when_asked(here: Workspace, form: str) -> None:
    """--detailed-exitcode says that there is something to do."""
    here.ok("plan", "--detailed-exitcode", "--format", form, code=2)
    here.ok("-q", "apply", "--auto-approve")
    here.ok("plan", "--detailed-exitcode", "--format", form, code=0)


def test_2_drift_when_asked(applied: Workspace) -> None:
    """Drift --detailed-exitcode says that somebody was at it."""
    applied.ok("drift", "--detailed-exitcode")
    applied.box.store.put_entity("service", {"identifier": a_service(applied), "title": "edited"})
    applied.ok("drift", "--detailed-exitcode", code=2)
    applied.ok("drift")


@pytest.mark.parametrize("form", FORMATS)
def test_3_deletes_withheld(applied: Workspace, form: str) -> None:
    """Withheld deletes win over --detailed-exitcode."""
    applied.box.mutate({"action": "delete_service", "id": a_service(applied), "keep_incidents": True})
    applied.ok("plan", "--no-delete", "--detailed-exitcode", "--format", form, code=3)


def test_4_the_state_moved(here: Workspace) -> None:
    """A saved plan is refused once another apply came between; nothing is written."""
    here.ok("-q", "plan", "--out", "saved.pdplan")
    here.ok("-q", "apply", "--auto-approve", "--only", "person")
    here.box.log.clear()
    ran = here.ok("apply", "saved.pdplan", code=4)
    assert "stale" in ran.err or "no longer exact" in ran.err
    assert here.box.log.port_writes() == []


def test_4_port_moved(applied: Workspace) -> None:
    """A saved plan is refused once somebody touched in Port what it is about, with the name of it."""
    service = a_service(applied)
    applied.box.mutate({"action": "rename_service", "id": service, "name": "Renamed"})
    applied.ok("-q", "plan", "--out", "saved.pdplan")
    applied.box.store.put_entity("service", {"identifier": service, "title": "edited meanwhile"})
    applied.box.log.clear()
    ran = applied.ok("apply", "saved.pdplan", code=4)
    assert f"service/{service}" in ran.err
    assert applied.box.log.port_writes() == []
    assert applied.box.store.entities("service")[service]["title"] == "edited meanwhile"


def test_4_a_created_thing_is_there_already(here: Workspace) -> None:
    """A saved plan does not create what somebody else created since."""
    here.ok("-q", "apply", "--auto-approve", "--only", "person")
    here.ok("-q", "plan", "--out", "saved.pdplan")
    here.box.store.create_blueprint({"identifier": "service", "title": "Theirs", "schema": {"properties": {}}})
    assert "service" in here.ok("apply", "saved.pdplan", code=4).err


def test_a_saved_plan_is_applied_exactly(here: Workspace) -> None:
    """What PagerDuty says since then is for the next plan."""
    here.ok("-q", "plan", "--out", "saved.pdplan")
    service = min(here.box.world.services)
    before = here.box.world.services[service].name
    here.box.mutate({"action": "rename_service", "id": service, "name": "Later"})
    here.ok("apply", "saved.pdplan")
    assert here.box.store.entities("service")[service]["title"] == before
    assert here.changes() == [f"update service/{service}"]
    assert here.run("apply", "saved.pdplan").code == 4


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format_version":"9.0"}', '{"format_version":"1.0"}', "\x00\xff"])
def test_1_what_is_no_plan_is_not_applied(here: Workspace, text: str) -> None:
    """One error that names the file."""
    here.write("saved.pdplan", text)
    for command in ("apply", "show"):
        ran = here.ok(command, "saved.pdplan", code=1)
        assert ("saved.pdplan" in ran.err, ran.err.count("error["), "Traceback" in ran.err) == (True, 1, False)


def test_1_a_folder_is_no_plan(here: Workspace) -> None:
    """Files that cannot be read are said, not stumbled over."""
    ran = here.ok("apply", "catalog", code=1)
    assert ("catalog" in ran.err, "PD900" in ran.err, "Traceback" in ran.err) == (True, False, False)


HOLDER = """
import sys
from pathlib import Path
from pdsync.state.backends import LockInfo
from pdsync.state.backends.local import LocalBackend
with LocalBackend(Path("state")).lock(LockInfo("id1", "destroy", "eve@elsewhere, pid 7", "2026-06-01T12:00:00Z")):
    print("held", flush=True)
    sys.stdin.readline()
"""


def test_5_locked(applied: Workspace) -> None:
    """While another process holds the state nothing is applied; who holds it is said; reading goes on."""
    import sys

    with subprocess.Popen(
        [sys.executable, "-c", HOLDER], cwd=applied.folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        for command in (
            ["apply", "--auto-approve"],
            ["destroy", "--auto-approve"],
            ["state", "rm", "--auto-approve", f"service/{a_service(applied)}"],
        ):
            ran = applied.ok(*command, code=5)
            assert ("eve@elsewhere, pid 7" in ran.err, "destroy" in ran.err) == (True, True)
        applied.ok("plan")
        holder.communicate(b"\n")
    assert applied.box.log.port_writes() == []
    applied.ok("apply", "--auto-approve")


def test_6_applied_partly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One entity that Port refuses: it is named with Port's message, what waits for it is skipped, the rest is done.

    Only Port knows that its team does not exist, so the plan could not tell.
    """
    store = PortStore(behaviour=Behaviour(unknown_teams="refuse"))
    with Sandbox(small_world(), port_store=store) as box:
        here = make_workspace(tmp_path, box, monkeypatch)
        incidents = [c for c in here.plan()["changes"] if (c["blueprint"], c["target"]) == ("incident", "entity")]
        service = next(f["after"] for f in incidents[0]["fields"] if f["path"] == "relations.service")
        team = f"""if .id == "{service}" then "nobody" else null end"""
        title = "title: .name\n          blueprint: '\"service\"'"
        here.write("catalog/mappings/pagerduty.yaml", MAPPING.replace(title, f"team: '{team}'\n          {title}"))
        ran = here.ok("apply", "--auto-approve", code=6)
        waiting = [i for i in here.plan()["changes"] if i["blueprint"] == "incident" and i["action"] == "create"]
        assert f"+ service/{service}" in ran.out
        assert "nobody" in ran.out
        assert waiting
        assert [f"+ incident/{i['identifier']}" in ran.out for i in waiting] == [True] * len(waiting)
        assert "which was not done" in ran.out
        assert "\nNext: pdsync resume 2" in ran.out
        assert set(store.entities("service")) == set(box.world.services) - {service}
        assert len(store.entities("person")) == 3
        assert here.changes() == [f"create service/{service}", *(f"create incident/{i['identifier']}" for i in waiting)]


def test_7_an_incomplete_snapshot(here: Workspace) -> None:
    """A kind that could not be read whole: the snapshot is kept and says so."""
    here.box.mutate({"action": "drop_permission", "kind": "users"})
    ran = here.ok("snapshot", code=7)
    assert "no: " in ran.out
    assert "users" in ran.err
    for command in (["plan"], ["apply", "--auto-approve"]):
        assert "users" in here.ok(*command, code=7).err
    assert here.box.store.entities("person") == {}
    assert len(here.box.store.entities("service")) == 4


def test_1_an_unknown_command_suggests_one(here: Workspace) -> None:
    """A slip of the hand is told what was meant."""
    ran = here.ok("aply", code=1)
    assert ("Did you mean 'apply'?" in ran.err, ran.out) == (True, "")
    assert "No such command" in here.ok("xyzzy", code=1).err


@pytest.mark.parametrize(
    "command",
    [
        ["plan", "--nonsense"],
        ["--format", "json"],
        ["plan", "--format", "xml"],
        ["--color", "pink", "plan"],
        ["state"],
        ["eval"],
    ],
    ids=" ".join,
)
def test_1_a_wrong_command_line(here: Workspace, command: list[str]) -> None:
    """Usage errors end with 1 (2 means changes), with help on stderr."""
    ran = here.run(*command)
    assert (ran.code, "Usage:" in ran.err, "Traceback" in ran.err) == (1, True, False)


def test_1_a_flag_without_its_number(here: Workspace) -> None:
    """--allow-deletes wants a blueprint and a number."""
    for given in ("service", "service=", "=3", "service=many", "service=-1"):
        assert "PD803" in here.ok("plan", "--allow-deletes", given, code=1).err


def test_1_nobody_to_ask(here: Workspace) -> None:
    """Without a terminal an apply that nobody approved does nothing."""
    ran = here.spawn("apply")
    assert (ran.code, "--auto-approve" in ran.err) == (1, True)
    assert here.box.log.port_writes() == []


def test_1_a_failing_source_keeps_everything(applied: Workspace) -> None:
    """When PagerDuty cannot be reached nothing is planned, written or forgotten."""
    before = applied.files()
    ran = applied.ok("apply", "--auto-approve", code=1, PAGERDUTY_TOKEN="wrong")
    assert "PagerDuty" in ran.err
    assert applied.box.log.port_writes() == []
    assert {n: d for n, d in before.items() if "lock" not in n} == {
        n: d for n, d in applied.files().items() if "lock" not in n
    }


def test_3_and_6_the_worse_one_wins(applied: Workspace) -> None:
    """A run that was not whole ends with 6 although deletes were withheld, too."""
    first, second, *_ = sorted(applied.box.store.entities("service"))
    applied.box.mutate({"action": "rename_service", "id": first, "name": "Renamed"})
    applied.box.mutate({"action": "delete_service", "id": second, "keep_incidents": True})
    applied.box.faults.add(
        Fault(
            "answer",
            api="port",
            method="POST",
            path="/entities/bulk$",
            status=422,
            body={"ok": False, "error": "invalid_request", "message": "not this one"},
        )
    )
    ran = applied.ok("apply", "--auto-approve", "--no-delete", code=6)
    assert "not this one" in ran.out


def test_a_state_that_is_gone_is_not_an_empty_one(applied: Workspace) -> None:
    """Without its ledger pdsync owns nothing: it takes over again and deletes nothing."""
    shutil.rmtree(applied.folder / "state")
    actions = {change.split()[0] for change in applied.changes()}
    assert actions == {"adopt"}


def test_a_damaged_state_stops(applied: Workspace) -> None:
    """Every command that needs the ledger names the damaged file and writes nothing."""
    file = applied.folder / "state" / "ledger.jsonl"
    file.write_bytes(file.read_bytes()[:-20])
    for command in (["plan"], ["apply", "--auto-approve"], ["destroy", "--auto-approve"], ["state", "list"], ["drift"]):
        ran = applied.ok(*command, code=1)
        assert ("PD501" in ran.err, "ledger.jsonl" in ran.err) == (True, True)
    assert applied.box.log.port_writes() == []


def test_the_state_of_another_organisation_is_refused(applied: Workspace) -> None:
    """Credentials of another organisation do not touch what this one's state says, nor the snapshot that is kept."""
    kept = {file.name: file.stat().st_mtime_ns for file in (applied.folder / "state").iterdir()}
    applied.box.store.organization["id"] = "org_other"
    for command in (["plan"], ["destroy", "--auto-approve"], ["drift"]):
        ran = applied.ok(*command, code=1)
        assert ("PD505" in ran.err, "org_other" in ran.err, ran.out) == (True, True, "")
    now = {file.name: file.stat().st_mtime_ns for file in (applied.folder / "state").iterdir()}
    assert (now["snapshot.jsonl"], now["ledger.jsonl"]) == (kept["snapshot.jsonl"], kept["ledger.jsonl"])
