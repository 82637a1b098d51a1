"""Two machines that work on one state in turn, each with a snapshot of its own: the older one undoes nothing."""

from __future__ import annotations

import inspect
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from pdsync.sandbox.http import Fault
from pdsync.sandbox.server import Sandbox
from pdsync.sources.pagerduty import open_pagerduty
from tests.cli.test_snapshots import FIELDS
from tests.cli.workspace import MAPPING, Workspace, make_workspace, small_world
from tests.state.servers import Web, serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PROJECT = """\
name: tests
policy: {deletes: {"*": {count: 99, percent: 100, empty: allow}}}
pagerduty: {settled_after: 2d}
state: {url: "%s/pdsync/one"}
"""


@pytest.fixture
def two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Workspace, Workspace]]:
    """Both have applied what there is."""
    with Sandbox(small_world()) as box, serving(Web(), "pdsync") as (address, _):
        one, other = (make_workspace(tmp_path / name, box, monkeypatch) for name in ("one", "other"))
        for machine in (one, other):
            machine.write("catalog/pdsync.yaml", PROJECT % address)
            machine.write("catalog/mappings/pagerduty.yaml", MAPPING)
            machine.ok("-q", "apply", "--auto-approve")
        yield one, other


def test_what_another_machine_made_does_not_go_at_once(two: tuple[Workspace, Workspace]) -> None:
    """A snapshot of before does not know it; a list that shrank is compared with what is owned, too."""
    one, other = two
    few = list(one.box.world.services)
    for number in range(8):
        one.box.mutate({"action": "add_service", "name": f"Service {number}"})
    one.ok("-q", "apply", "--auto-approve")
    plan = other.run("-q", "plan", "--offline", "--format", "json").json
    assert (plan["changes"], len(plan["withheld"])) == ([], 8)
    assert {each["code"] for each in plan["diagnostics"]} == {"PD343"}
    for service in set(one.box.world.services).difference(few):
        one.box.mutate({"action": "delete_service", "id": service})
    for machine in (other, one):
        plan = machine.run("-q", "plan", "--format", "json").json
        assert (plan["changes"], len(plan["withheld"])) == ([], 8)


@pytest.mark.parametrize("sharing", ["", ", snapshot: remote"], ids=["neither shares", "one alone shares"])
def test_what_another_machine_read_later_is_not_written_over(
    sharing: str, two: tuple[Workspace, Workspace], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is settled is read anew where somebody else has applied since, and from then on taken over again."""
    one, other = two
    project = (other.folder / "catalog/pdsync.yaml").read_text()
    other.write("catalog/pdsync.yaml", project.replace('/one"', f'/one"{sharing}'))
    other.ok("-q", "apply", "--auto-approve")
    table = one.box.world.incidents
    settled = min(range(len(table)), key=lambda row: table.created[row])
    assert table.status[settled] == 2
    table.titles[settled] = "Told better"
    one.box.world.version += 1
    one.ok("-q", "apply", "--auto-approve", "--full")
    assert one.box.store.entities("incident")[table.ids[settled]]["title"] == "Told better"
    when = datetime.now(UTC) + timedelta(minutes=1)
    monkeypatch.setitem(inspect.unwrap(open_pagerduty).__kwdefaults__, "now", lambda: when)
    assert (other.changes(), one.changes()) == ([], [])
    assert "incremental" in other.ok("snapshot").out


def test_what_another_machine_found_of_a_record_is_not_emptied_at_once(two: tuple[Workspace, Workspace]) -> None:
    """Custom fields that the older snapshot has nothing of, and that are gone again, are in doubt like others."""
    one, other = two
    service = min(one.box.world.services)
    path = f"/services/{service}/custom_fields/values"
    nothing = Fault("answer", path=path, count=None, status=200, body={"custom_fields": []})
    for machine in two:
        machine.write("catalog/mappings/pagerduty.yaml", "resources:\n" + FIELDS)
    one.box.faults.add(nothing)
    one.ok("-q", "apply", "--auto-approve", "--allow-deletes", "service=4", "--allow-deletes", "incident=6")
    other.ok("-q", "plan")
    one.box.faults.clear()
    one.ok("-q", "apply", "--auto-approve")
    role = one.box.store.entities("person")[service]["properties"]["role"]
    one.box.faults.add(nothing)
    other.ok("-q", "apply", "--auto-approve")
    assert (role is not None, one.box.store.entities("person")[service]["properties"]["role"]) == (True, role)
