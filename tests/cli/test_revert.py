"""revert on the command line: a plan to be looked at, saved and applied, with the exit codes of plan."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.cli.workspace import Workspace


def last_run(here: Workspace) -> str:
    return str(here.ok("history", "--format", "json").json[0]["run"])


def a_service(here: Workspace) -> str:
    return min(here.box.world.services)


def with_another_status(here: Workspace) -> str:
    """Apply a catalog that sets another status on all services; the run."""
    mapping = here.folder / "catalog/mappings/pagerduty.yaml"
    text = mapping.read_text(encoding="utf-8")
    mapping.write_text(text.replace("status: .status\n            url", "status: '\"new\"'\n            url"), "utf-8")
    here.ok("-q", "apply", "--auto-approve")
    return last_run(here)


def test_a_run_is_put_back(applied: Workspace) -> None:
    """Shown and saved, applied as a run of its own; and said that the catalog still asks for what was put back."""
    before = applied.box.store.entities("service")
    run = with_another_status(applied)
    assert applied.box.store.entities("service") != before
    ran = applied.ok("revert", run)
    assert "Nothing was written: save it with --out FILE" in ran.err
    assert "Plan: 0 to create, 4 to update, 0 to delete." in ran.out
    assert ("PD640" in ran.err, "git revert" in ran.err) == (True, True)
    assert applied.ok("revert", run, "--format", "json", "--out", "back.pdplan", "--detailed-exitcode", code=2).json[
        "base"
    ]["scope"] == {"reverts": run}
    assert "[revert]" in applied.ok("revert", run, "--format", "markdown").out
    assert "Apply complete: 4 done." in applied.ok("apply", "back.pdplan").out
    held = applied.box.store.entities("service")
    assert {k: e["properties"] for k, e in held.items()} == {k: e["properties"] for k, e in before.items()}
    note = applied.ok("history", "--format", "json").json[0]
    assert (note["operation"], note["reverts"]) == ("revert", run)
    assert f"reverts {run}" in applied.ok("history").out
    assert len(applied.changes()) == 4, "the catalog was not put back"
    assert applied.ok("apply", "back.pdplan", code=4).code == 4


def test_a_saved_revert_is_put_on_a_new_base(applied: Workspace) -> None:
    """One entity was touched since and one put back by hand: what is as it was stays approved, the rest is named."""
    before = {name: each["properties"]["status"] for name, each in applied.box.store.entities("service").items()}
    run = with_another_status(applied)
    first, second, *others = sorted(before)
    applied.ok("-q", "revert", run, "--only", "service", "--out", "back.pdplan")
    applied.box.store.put_entity("service", {"identifier": first, "properties": {"status": "mine"}})
    applied.box.store.put_entity("service", {"identifier": second, "properties": {"status": before[second]}})
    applied.ok("apply", "back.pdplan", code=4)
    ran = applied.run("plan", "--rebase", "back.pdplan", "--out", "fresh.pdplan")
    assert ran.code == 3
    assert f"service/{first}: changed since the run: properties.status" in ran.out, "what it stops at now is said"
    rebased = "2 identical, 1 done since, 0 no longer needed, 1 withheld or left as they are, 0 to be looked at"
    assert f"Rebased: {rebased}." in ran.out
    assert [name for name in others if name in ran.out] == []
    applied.ok("apply", "fresh.pdplan", code=3)
    held = {name: each["properties"]["status"] for name, each in applied.box.store.entities("service").items()}
    assert held == {**before, first: "mine"}
    assert applied.ok("history", "--format", "json").json[0]["reverts"] == run
    for options in (("--offline",), ("--base", "main"), ("--validate-remote",), ("--full",)):
        ran = applied.ok("plan", "--rebase", "back.pdplan", *options, code=1)
        assert ("PD852" in ran.err, options[0] in ran.err, ran.out) == (True, True, "")


def test_what_was_touched_since_is_refused_by_name(applied: Workspace) -> None:
    """The rest is planned, and the command ends with 3."""
    run = with_another_status(applied)
    key = a_service(applied)
    applied.box.store.put_entity("service", {"identifier": key, "properties": {"status": "mine"}})
    ran = applied.ok("revert", run, code=3)
    assert f'service/{key}: changed since the run: properties.status is now "mine", the run wrote "new"' in ran.out
    assert "changed-since service: 1 entity is not as the run left them" in ran.out
    assert "Plan: 0 to create, 3 to update, 0 to delete." in ran.out


def test_what_cannot_be_put_back_says_why(applied: Workspace) -> None:
    """No such run, nothing written, credentials missing."""
    assert "PD532" in applied.ok("revert", "20200101T000000Z-abcdef", code=1).err
    assert "PORT_CLIENT_ID is not set" in applied.ok("revert", last_run(applied), code=1, PORT_CLIENT_ID="").err
