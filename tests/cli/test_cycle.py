"""The whole cycle on the command line: plan, apply, nothing to do, changes of each cause, destroy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pdsync.sandbox.http import Fault
from pdsync.sandbox.port_system import TEAMS
from tests.cli.workspace import BLUEPRINTS, MAPPING

if TYPE_CHECKING:
    from tests.cli.workspace import Workspace

TEAM = str(TEAMS[0]["identifier"])


def services(here: Workspace) -> list[str]:
    return sorted(here.box.store.entities("service"))


def test_plan_apply_plan(here: Workspace) -> None:
    """A first plan creates all; once applied there is nothing to do."""
    assert "Plan: 16 to create, 0 to update, 0 to delete." in here.ok("plan").out
    assert "Apply complete: 16 done. State saved, serial 1." in here.ok("apply", "--auto-approve").out
    assert len(services(here)) == 4
    assert here.ok("plan").out.endswith("No changes. 13 unchanged.\n")


def test_every_cause_is_told(applied: Workspace) -> None:
    """A rename in PagerDuty, an edit in Port and a line of the catalog: each change says where it comes from."""
    renamed, edited, *_ = services(applied)
    applied.box.mutate({"action": "rename_service", "id": renamed, "name": "Renamed"})
    applied.box.store.put_entity("service", {"identifier": edited, "properties": {"status": "by hand"}})
    applied.write("catalog/mappings/pagerduty.yaml", MAPPING.replace("role: .role", 'role: .role + "!"'))
    plan = applied.plan()
    causes = {(c["blueprint"], c["identifier"]): {f["path"]: f["cause"] for f in c["fields"]} for c in plan["changes"]}
    assert causes.pop(("service", renamed)) == {"title": "source"}
    assert causes.pop(("service", edited)) == {"properties.status": "drift"}
    assert {name for name, _ in causes} == {"person"}
    assert all(fields == {"properties.role": "catalog"} for fields in causes.values())
    origins = {f["origin"] for c in plan["changes"] for f in c["fields"] if f["cause"] == "catalog"}
    assert origins == {"catalog/mappings/pagerduty.yaml:22:19"}
    applied.ok("-q", "apply", "--auto-approve")
    assert applied.changes() == []


def test_what_is_gone_from_pagerduty_is_deleted(applied: Workspace) -> None:
    """A deleted service goes with its incidents, each by name."""
    gone = services(applied)[0]
    incidents = [i for i, e in applied.box.store.entities("incident").items() if e["relations"]["service"] == gone]
    applied.box.mutate({"action": "delete_service", "id": gone})
    ran = applied.ok("apply", "--auto-approve")
    assert [f"- service/{gone} " in ran.out, *(f"- incident/{i} " in ran.out for i in incidents)] == [True] * (
        1 + len(incidents)
    )
    assert gone not in services(applied)
    assert applied.changes() == []


def test_foreign_things_and_unmapped_properties_never_change(here: Workspace) -> None:
    """An entity that is not ours, and a property that no mapping writes, are the same after every apply and destroy."""
    here.ok("-q", "apply", "--auto-approve")
    here.box.store.put_entity("service", {"identifier": "theirs", "title": "Theirs", "properties": {"note": "n"}})
    ours = services(here)[0]
    here.box.store.put_entity("service", {"identifier": ours, "properties": {"note": "kept"}})
    theirs = here.box.store.entities("service")["theirs"]
    here.box.mutate({"action": "rename_service", "id": ours, "name": "Renamed"})
    here.ok("-q", "apply", "--auto-approve")
    held = here.box.store.entities("service")
    assert (held["theirs"], held[ours]["properties"]["note"], held[ours]["title"]) == (theirs, "kept", "Renamed")
    here.run("-q", "destroy", "--auto-approve")
    assert here.box.store.entities("service") == {"theirs": theirs}


def test_destroy_removes_all_that_is_ours(applied: Workspace) -> None:
    """Entities, then blueprints; the state is empty afterwards, and a second destroy has nothing to do."""
    before = {name for name in ("service", "person", "incident") if applied.box.store.blueprint(name)}
    ran = applied.ok("destroy", "--auto-approve")
    assert "Plan: 0 to create, 0 to update, 16 to delete." in ran.out
    assert before == {"service", "person", "incident"}
    assert [applied.box.store.blueprint(name) for name in sorted(before)] == [None, None, None]
    assert applied.ok("state", "list").out == ""
    assert "No changes." in applied.ok("destroy", "--auto-approve").out


def test_destroy_keeps_a_blueprint_that_others_use(applied: Workspace) -> None:
    """The foreign entity stays, its blueprint is withheld by name, and the exit code says so."""
    applied.box.store.put_entity("service", {"identifier": "theirs", "title": "Theirs"})
    ran = applied.ok("destroy", "--auto-approve", code=3)
    assert '- service "Service"  asked for by destroy; it would still hold 1 entity' in ran.out
    assert "1 delete was withheld; `pdsync destroy` tells which." in ran.out
    assert list(applied.box.store.entities("service")) == ["theirs"]
    assert (applied.box.store.entities("person"), applied.box.store.blueprint("person")) == ({}, None)
    again = applied.ok("destroy", "--auto-approve", code=3)  # nothing in it is ours any more
    assert "it would still hold 1 entity" in again.out


def test_destroy_releases_what_was_taken_over(here: Workspace) -> None:
    """An entity that was there before us stays, and only what we wrote to it is cleared."""
    here.box.store.create_blueprint(
        {
            "identifier": "person",
            "title": "Person",
            "schema": {"properties": {"role": {"type": "string"}, "own": {"type": "string"}}},
        }
    )
    user = min(here.box.world.users)
    here.box.store.put_entity("person", {"identifier": user, "properties": {"own": "theirs"}})
    here.ok("-q", "apply", "--auto-approve")
    assert here.box.store.entities("person")[user]["properties"]["role"] is not None
    here.run("-q", "destroy", "--auto-approve")
    left = here.box.store.entities("person")
    assert list(left) == [user]
    assert (left[user]["properties"].get("role"), left[user]["properties"]["own"]) == (None, "theirs")


def test_only_and_exclude_limit_a_run(here: Workspace) -> None:
    """--only and --exclude take globs over keys and blueprints, and the rest is planned again later."""
    here.ok("-q", "apply", "--auto-approve", "--only", "service", "--only", "person*", "--exclude", "person/*")
    assert len(services(here)) == 4
    assert here.box.store.entities("person") == {}
    assert {change.partition("/")[0] for change in here.changes()} == {
        "create person",
        "create incident",
    }


def test_no_delete_withholds(applied: Workspace) -> None:
    """--no-delete leaves deletes withheld, by name, with exit code 3."""
    gone = services(applied)[0]
    applied.box.mutate({"action": "delete_service", "id": gone, "keep_incidents": True})
    ran = applied.ok("apply", "--auto-approve", "--no-delete", code=3)
    assert gone in services(applied)
    assert f"service/{gone}" in ran.out


def test_a_delete_limit_is_lifted_by_exactly_its_number(applied: Workspace) -> None:
    """Above the limit nothing of the blueprint is deleted; another number than the plan names lifts nothing."""
    for gone in services(applied):
        applied.box.mutate({"action": "delete_service", "id": gone})
    ran = applied.ok("plan", "--accept-shrink", "services", "--accept-shrink", "incidents", code=3)
    assert "--allow-deletes service=4" in ran.out
    wrong = ("--allow-deletes", "service=3", "--allow-deletes", "incident=99")
    applied.ok(
        "-q", "apply", "--auto-approve", "--accept-shrink", "services", "--accept-shrink", "incidents", *wrong, code=3
    )
    assert len(services(applied)) == 4
    right = (
        "--allow-deletes",
        "service=4",
        "--allow-deletes",
        f"incident={len(applied.box.store.entities('incident'))}",
    )
    applied.ok("-q", "apply", "--auto-approve", *right)
    assert (services(applied), applied.box.store.entities("incident")) == ([], {})


def test_an_incomplete_listing_deletes_nothing(applied: Workspace) -> None:
    """When PagerDuty refuses a kind its entities stay, withheld with the reason, and the snapshot says 7."""
    gone = services(applied)[0]
    applied.box.mutate({"action": "delete_service", "id": gone})
    applied.box.mutate({"action": "drop_permission", "kind": "services"})
    before = services(applied)
    applied.run("-q", "apply", "--auto-approve")
    assert services(applied) == before
    assert applied.run("-q", "snapshot").code == 7


def test_a_listing_that_breaks_off_deletes_nothing(applied: Workspace) -> None:
    """An answer that PagerDuty keeps failing to give is not an empty one."""
    applied.box.faults.add(Fault("answer", api="pagerduty", path="^/users$", count=None, status=400))
    before = set(applied.box.store.entities("person"))
    applied.run("-q", "apply", "--auto-approve")
    assert set(applied.box.store.entities("person")) == before


def test_prove_plans_again(here: Workspace) -> None:
    """--prove says that nothing is left to do."""
    assert "Proven: planning again finds nothing to do." in here.ok("apply", "--auto-approve", "--prove").out


def test_prove_fails_when_somebody_interferes(here: Workspace) -> None:
    """Port that does not keep what was written is found out."""
    here.write("catalog/blueprints/all.yaml", BLUEPRINTS)
    here.ok("-q", "apply", "--auto-approve")
    edited = services(here)[0]
    here.box.store.put_entity("service", {"identifier": edited, "title": "edited"})
    here.box.faults.add(
        Fault(
            "answer",
            api="port",
            path="/entities/bulk$",
            method="POST",
            status=200,
            body={"ok": True, "entities": [{"identifier": edited, "index": 0}], "errors": []},
        )
    )
    ran = here.ok("apply", "--auto-approve", "--prove", code=1)
    assert "Not proven" in ran.err


def test_title_icon_and_team_are_written_and_cleared(here: Workspace) -> None:
    """They are compared like properties, and emptied when the mapping gives null or has them no more."""

    def people(*lines: str) -> set[str]:
        text = "\n          ".join(lines)
        head, tail = MAPPING.split("  - kind: incidents")
        services, users = head.split("  - kind: users")
        users = users.replace("title: .name", text)
        here.write("catalog/mappings/pagerduty.yaml", f"{services}  - kind: users{users}  - kind: incidents{tail}")
        here.ok("-q", "apply", "--auto-approve")
        assert here.changes() == []
        held = here.box.store.entities("person")
        return {f"{e['title'] not in (None, name)} {e['icon']} {e['team']}" for name, e in held.items()}

    assert people("title: .name", """icon: '"Server"'""", f"""team: '"{TEAM}"'""") == {f"True Server ['{TEAM}']"}
    assert people("title: .name", "icon: 'null'", "team: 'null'") == {"True None []"}
    assert people("title: .name", """icon: '"Cloud"'""", f"""team: '["{TEAM}"]'""") == {f"True Cloud ['{TEAM}']"}
    assert people("title: 'null'") == {"False None []"}
