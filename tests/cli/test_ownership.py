"""Taking over what is in Port already: in bulk, without a write, and what becomes of it later."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pdsync.sandbox.http import Fault
from pdsync.sandbox.port import Behaviour, PortStore
from pdsync.sandbox.port_system import TEAMS
from pdsync.sandbox.server import Sandbox
from tests.cli.workspace import MAPPING, Workspace, make_workspace, small_world

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TEAM = str(TEAMS[0]["identifier"])
OCEAN = "port-ocean/pagerduty/0.5.141/my-pd/exporter"


@pytest.fixture(params=["found", "refused"])
def taken_over(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workspace]:
    """A Port that the integration has filled from the same PagerDuty, and a catalog that is applied over it."""
    with Sandbox(small_world(), port_store=PortStore(behaviour=Behaviour(datasource=request.param))) as box:
        here = make_workspace(tmp_path, box, monkeypatch)
        here.ok("-q", "apply", "--auto-approve")
        for name in ("service", "person", "incident"):
            for identifier in box.store.entities(name):
                hand_made = name == "person"
                box.store.put_entity(name, {"identifier": identifier}, datasource="" if hand_made else OCEAN)
        for file in here.folder.glob("state/*"):
            if file.is_file():
                file.unlink()
        box.log.clear()
        here.ok("-q", "apply", "--auto-approve")
        yield here


def origins(here: Workspace) -> dict[str, set[str]]:
    listed = here.ok("state", "pull").out.splitlines()[1:]
    found: dict[str, set[str]] = {}
    for line in listed:
        for name in ("service", "person", "incident"):
            if f'"k":["{name}",' in line:
                found.setdefault(name, set()).add(line.partition('"o":"')[2].partition('"')[0])
    return found


def test_a_filled_port_is_taken_over_without_a_write(taken_over: Workspace) -> None:
    """Everything is adopted at once; what the integration made is told apart where Port tells."""
    assert taken_over.box.log.port_writes() == []
    told = taken_over.box.store.behaviour.datasource == "found"
    made = {"integration"} if told else {"adopted"}
    assert origins(taken_over) == {"service": made, "incident": made, "person": {"adopted"}}
    asked = [r for r in taken_over.box.log.all("port") if r.path == "/v1/entities/search"]
    assert asked != []
    taken_over.box.log.clear()
    assert taken_over.changes() == []
    assert [r for r in taken_over.box.log.all("port") if r.path == "/v1/entities/search"] == []


def test_what_the_integration_made_goes_with_its_record(taken_over: Workspace) -> None:
    """A service that is gone from PagerDuty is deleted if the integration made it, and released if nobody can tell."""
    gone = min(taken_over.box.store.entities("service"))
    taken_over.box.mutate({"action": "delete_service", "id": gone})
    told = taken_over.box.store.behaviour.datasource == "found"
    action = "delete" if told else "release"
    assert f"{action} service/{gone}" in taken_over.changes()
    taken_over.ok("-q", "apply", "--auto-approve")
    assert (gone in taken_over.box.store.entities("service")) is not told
    assert taken_over.changes() == []


def test_a_port_that_does_not_tell_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A plan that adopts without knowing who made it says so, and what that means."""
    with Sandbox(small_world(), port_store=PortStore(behaviour=Behaviour(datasource="refused"))) as box:
        here = make_workspace(tmp_path, box, monkeypatch)
        here.ok("-q", "apply", "--auto-approve")
        (here.folder / "state" / "ledger.jsonl").unlink()
        ran = here.ok("plan")
        assert "warning[PD620]: Port does not tell who wrote the entities that are adopted" in ran.err
        assert "released, never deleted" in ran.err


def test_another_identifier_is_a_rename(applied: Workspace) -> None:
    """The mapping's identifier changes: one change each, what points at it follows, what people set on it stays."""
    held = applied.box.store.entities("service")
    applied.box.store.put_entity("service", {"identifier": min(held), "properties": {"note": "by hand"}})
    before, _, after = MAPPING.partition("identifier: .id")
    text = f"{before}identifier: '\"svc-\" + .id'{after}"
    text = text.replace("service: .service.id", "service: '\"svc-\" + .service.id'")
    applied.write("catalog/mappings/pagerduty.yaml", text)
    ran = applied.ok("plan")
    assert f"> service/{min(held)} -> service/svc-{min(held)} " in ran.out
    assert "[catalog]" in ran.out
    assert "Plan: 0 to create, 6 to update, 0 to delete, 4 to rename." in ran.out
    assert "by hand" not in ran.out
    applied.ok("-q", "apply", "--auto-approve")
    services = applied.box.store.entities("service")
    assert sorted(services) == [f"svc-{name}" for name in sorted(held)]
    assert services[f"svc-{min(held)}"]["properties"]["note"] == "by hand"
    assert {e["relations"]["service"] for e in applied.box.store.entities("incident").values()} <= set(services)
    assert applied.changes() == []


THEIRS = """
resources:
  - kind: services
    selector: {query: 'true'}
    port:
      entity:
        mappings:
          identifier: .id
          title: .name
          blueprint: '"theirs"'
          properties:
            status: .status
"""


def test_what_people_had_set_stays_when_a_mapping_or_a_record_goes(applied: Workspace) -> None:
    """Of a blueprint that the catalog does not have: a line that goes clears what we added, and so does a release."""
    store, services = applied.box.store, sorted(applied.box.store.entities("service"))
    properties = {"status": {"type": "string"}, "tier": {"type": "string"}}
    schema = {"properties": properties, "required": []}
    store.create_blueprint({"identifier": "theirs", "title": "Theirs", "schema": schema, "relations": {}})
    store.put_entity("theirs", {"identifier": services[0], "title": "By hand", "properties": {"tier": "gold"}})
    applied.write("catalog/mappings/theirs.yaml", f"{THEIRS}            tier: '\"silver\"'\n")
    applied.ok("-q", "apply", "--auto-approve")
    applied.write("catalog/mappings/theirs.yaml", THEIRS)
    made = applied.plan()["changes"]
    cleared = {c["identifier"]: [(f["path"], f["after"]) for f in c["fields"]] for c in made}
    kept = [("properties.tier", "silver")]  # named with the reason, and not written
    assert cleared == {services[0]: kept, **{key: [("properties.tier", None)] for key in services[1:]}}
    applied.ok("-q", "apply", "--auto-approve")
    applied.box.mutate({"action": "delete_service", "id": services[0]})
    assert f"release theirs/{services[0]}" in applied.changes()
    applied.ok("-q", "apply", "--auto-approve")
    left = store.entities("theirs")[services[0]]
    assert left["properties"]["tier"] == "silver"
    assert left["properties"].get("status") is None
    assert left["title"] not in ("", None, services[0])


AGED = MAPPING.replace("date_range: all", "since: -30d").replace(
    "            status: .status\n          relations:",
    "            status: .status\n            url: .created_at\n          relations:",
)


def test_incidents_that_left_their_window_are_retained(here: Workspace) -> None:
    """A narrower window lists fewer incidents; with a retention the others stay, and are counted in every plan."""
    blueprint = "schema: {properties: {status: {type: string}"
    text = (here.folder / "catalog/blueprints/all.yaml").read_text(encoding="utf-8")
    here.write("catalog/blueprints/all.yaml", text.replace(blueprint, f"{blueprint}, url: {{type: string}}"))
    here.write("catalog/mappings/pagerduty.yaml", AGED)
    here.ok("-q", "apply", "--auto-approve")
    listed = len(here.box.store.entities("incident"))
    assert listed > 1
    narrow = AGED.replace("since: -30d", "since: -1h")
    kept = narrow.replace("  - kind: incidents\n", "  - kind: incidents\n    lifecycle: {retention: 90d}\n")
    here.write("catalog/mappings/pagerduty.yaml", kept)
    ran = here.ok("plan")
    assert "retained" in ran.out
    assert "Deletes" not in ran.out
    here.ok("-q", "apply", "--auto-approve")
    assert len(here.box.store.entities("incident")) == listed
    here.write("catalog/mappings/pagerduty.yaml", narrow)
    assert f"--allow-deletes incident={listed}" in here.ok("plan", code=3).out
    gone = here.ok("plan", "--allow-deletes", f"incident={listed}").out
    assert gone.count("older than the time window of its list") == listed


def test_protection_outlives_its_line_until_it_is_taken_back(applied: Workspace) -> None:
    """The policy's line protects; removing it does not; `state unprotect` does, and nothing that it does not name."""
    gone, other, *_ = sorted(applied.box.store.entities("service"))
    project = (applied.folder / "catalog/pdsync.yaml").read_text(encoding="utf-8")
    applied.write("catalog/pdsync.yaml", f"{project}  protect: [service]\n")
    applied.ok("-q", "apply", "--auto-approve")
    applied.write("catalog/pdsync.yaml", project)
    applied.box.mutate({"action": "delete_service", "id": gone})
    ran = applied.ok("plan", code=3)
    assert f'- service/{gone} "' in ran.out
    assert "protected by an earlier policy" in ran.out
    ran = applied.ok("state", "unprotect", "service/nothing", code=1)
    assert "error[PD818]: nothing that is protected" in ran.err
    assert f"service/{gone}" in ran.err
    ran = applied.ok("state", "unprotect", f"service/{gone}")
    assert ran.out.splitlines()[0] == f"service/{gone}"
    assert "1 no longer protected." in ran.out
    applied.ok("-q", "apply", "--auto-approve")
    held = applied.box.store.entities("service")
    assert (gone in held, other in held) == (False, True)
    ran = applied.ok("state", "unprotect", "service*")
    assert ran.out.splitlines()[0] == "service"
    assert f"{len(held) + 1} no longer protected." in ran.out


def test_the_refusal_follows_the_plan_with_the_exact_flag(applied: Workspace) -> None:
    """The whole plan first; then, on stderr, what a guard stopped and what would let it through, which does."""
    for identifier in sorted(applied.box.store.entities("service")):
        applied.box.mutate({"action": "delete_service", "id": identifier})
    ran = applied.run("plan", "--accept-shrink", "services", "--accept-shrink", "incidents")
    assert ran.code == 3
    assert "error[PD630]: guards keep a part of this plan from happening" in ran.err
    flags = ran.err.partition("if all of that is meant: ")[2].splitlines()[0].split()
    assert flags == ["--allow-deletes", "incident=6", "--allow-deletes", "service=4"]
    again = applied.ok("plan", "--accept-shrink", "services", "--accept-shrink", "incidents", *flags)
    assert again.err.count("PD630") == 0


def test_what_a_delete_touches_is_told(applied: Workspace) -> None:
    """Teams, what others relate to it, scorecards: read only when something goes, and each tolerated when refused."""
    store = applied.box.store
    gone = min(store.entities("service"))
    relation = {"target": "service", "required": False, "many": False}
    deployment = {"identifier": "deployment", "title": "Deployment", "schema": {"properties": {}}}
    store.create_blueprint({**deployment, "relations": {"service": relation}})
    store.put_entity("deployment", {"identifier": "d1", "relations": {"service": gone}})
    store.put_entity("service", {"identifier": gone, "team": [TEAM]})
    store.scorecards["service"] = [{"identifier": "ready", "rules": []}]
    applied.ok("plan")
    assert [r.path for r in applied.box.log.all("port") if "scorecards" in r.path or "deployment" in r.path] == []
    applied.box.mutate({"action": "delete_service", "id": gone})
    line = (
        f"Blast radius: touches 1 team ({TEAM}), 0 required relations, 1 relation emptied by Port, "
        f"1 scorecard (service/ready)\n  deployment/d1 loses service/{gone} (service)\n"
    )
    assert line in applied.ok("plan").out
    document = applied.plan()
    assert (document["blast"]["teams"], document["blast"]["scorecards"]) == ([TEAM], ["service/ready"])
    assert f"touches 1 team ({TEAM}), 0 required relations" in applied.ok("plan", "--format", "markdown").out
    applied.box.faults.add(Fault("answer", path="/scorecards", status=403, count=None))
    assert "0 scorecards; not known: scorecards of service" in applied.ok("plan").out
    applied.ok("-q", "apply", "--auto-approve")
    assert store.entities("deployment")["d1"]["relations"]["service"] is None


def test_a_foreign_entity_that_requires_one_of_ours_keeps_it(applied: Workspace) -> None:
    """Though nothing of its blueprint is mapped: Port would refuse the delete, so it is not planned."""
    store = applied.box.store
    gone = min(store.entities("service"))
    relation = {"target": "service", "required": True, "many": False}
    contract = {"identifier": "contract", "title": "Contract", "schema": {"properties": {}}}
    store.create_blueprint({**contract, "relations": {"service": relation}})
    store.put_entity("contract", {"identifier": "c1", "relations": {"service": gone}})
    applied.box.mutate({"action": "delete_service", "id": gone})
    ran = applied.ok("plan", code=3)
    assert "required by contract/c1" in ran.out
    assert "1 required relation" in ran.out
