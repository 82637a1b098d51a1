"""Saved plans that something has moved under: refused with what it is, put on a new base, compared."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import pytest

from tests.apply.killing import killed_at

if TYPE_CHECKING:
    from tests.cli.workspace import Workspace


def a_service(here: Workspace, n: int = 0) -> str:
    return sorted(here.box.world.services)[n]


@pytest.fixture
def renamed(applied: Workspace) -> Workspace:
    """Two services have another name in PagerDuty, and a plan of that is saved."""
    for n in (0, 1):
        applied.box.mutate({"action": "rename_service", "id": a_service(applied, n), "name": f"Renamed {n}"})
    applied.ok("-q", "plan", "--out", "saved.pdplan")
    applied.box.log.clear()
    return applied


def test_everything_that_moved_is_named_at_once(renamed: Workspace) -> None:
    """Catalog, PagerDuty and Port, each with what it is; nothing is written."""
    renamed.write("catalog/blueprints/another.json", '{"identifier":"a","title":"A","schema":{"properties":{}}}')
    renamed.box.mutate({"action": "rename_service", "id": a_service(renamed, 2), "name": "Renamed 2"})
    renamed.ok("-q", "snapshot")
    renamed.box.store.put_entity("service", {"identifier": a_service(renamed), "title": "edited"})
    renamed.box.log.clear()
    told = renamed.ok("apply", "saved.pdplan", code=4).err
    wanted = ("catalog: files", "PagerDuty: another snapshot", f'service/{a_service(renamed)} (title was "', "--rebase")
    assert [part for part in wanted if part not in told] == []
    assert renamed.box.log.port_writes() == []


def test_a_state_that_moved_is_named(renamed: Workspace) -> None:
    """Another run has been since: the serial of then and of now."""
    renamed.ok("-q", "apply", "--auto-approve")
    assert "state: serial 1 -> serial 2" in renamed.ok("apply", "saved.pdplan", code=4).err


def test_an_edit_that_the_plan_does_not_write_is_noticed_too(applied: Workspace) -> None:
    """The plan changes the title; somebody changed what else we own of the entity."""
    applied.box.mutate({"action": "rename_service", "id": a_service(applied), "name": "Renamed"})
    applied.ok("-q", "plan", "--out", "saved.pdplan")
    applied.box.store.put_entity("service", {"identifier": a_service(applied), "properties": {"status": "edited"}})
    assert f"service/{a_service(applied)}" in applied.ok("apply", "saved.pdplan", code=4).err


def test_a_rebased_plan_needs_a_look_at_what_differs_only(renamed: Workspace) -> None:
    """One change stayed, one is another now, one came; the first was looked at already."""
    renamed.box.mutate({"action": "rename_service", "id": a_service(renamed, 1), "name": "Once more"})
    renamed.box.mutate({"action": "rename_service", "id": a_service(renamed, 2), "name": "Renamed 2"})
    ran = renamed.ok("plan", "--rebase", "saved.pdplan", "--out", "fresh.pdplan")
    assert "Rebased: 1 identical, 0 no longer needed, 2 to be looked at." in ran.out
    assert a_service(renamed) not in ran.out
    ran = renamed.run("apply", "fresh.pdplan")
    assert (ran.code, "PD805" in ran.err, "they came with the new base" in ran.err) == (1, True, True)
    assert renamed.box.log.port_writes() == []
    ran = renamed.ok("apply", "fresh.pdplan", "--auto-approve")
    assert "2 to update" in ran.out
    assert "1 more was looked at before, and is done with them.\nApply complete: 3 done." in ran.out


def test_what_others_have_done_drops_out(renamed: Workspace) -> None:
    """Somebody has done half of it by hand: the rest is still approved, and applied without a question."""
    renamed.box.store.put_entity("service", {"identifier": a_service(renamed), "title": "Renamed 0"})
    ran = renamed.ok("plan", "--rebase", "saved.pdplan", "--out", "fresh.pdplan", "--format", "json")
    assert {name: len(v) for name, v in ran.json.items() if isinstance(v, list) and v} == {"done": 1}
    assert (ran.json["same"], ran.json["done"][0]["action"]) == (1, "adopt")
    renamed.ok("apply", "fresh.pdplan")
    assert renamed.changes() == []


def test_what_is_withheld_on_the_new_base_is_not_called_needless(applied: Workspace) -> None:
    """It is still needed, and each of it is named, in JSON too; nothing of it needs another look."""
    applied.box.mutate({"action": "delete_service", "id": a_service(applied), "keep_incidents": True})
    applied.ok("-q", "plan", "--only", "service", "--out", "saved.pdplan")
    applied.write("catalog/pdsync.yaml", 'name: tests\npolicy:\n  deletes: {"*": {count: 0, percent: 0}}\n')
    told = applied.ok("plan", "--rebase", "saved.pdplan", code=3).out
    wanted = ("Needed, but withheld or left as it is (1)", "0 no longer needed, 1 withheld or left as they are")
    assert [part for part in wanted if part not in told] == []
    found = applied.ok("plan", "--rebase", "saved.pdplan", "--format", "json", code=3).json
    listed = {name: len(value) for name, value in found.items() if isinstance(value, list) and value}
    assert listed == {"stopped": 1, "withheld": 1, "guards": 1}


def test_a_rebased_plan_keeps_its_scope(renamed: Workspace) -> None:
    """What the old plan left out, the new one leaves out; the scope cannot be changed on the way."""
    renamed.ok("-q", "plan", "--only", f"service/{a_service(renamed)}", "--out", "one.pdplan")
    assert "Rebased: 1 identical" in renamed.ok("plan", "--rebase", "one.pdplan", "--out", "fresh.pdplan").out
    renamed.ok("apply", "fresh.pdplan")
    assert renamed.changes() == [f"update service/{a_service(renamed, 1)}"]


def test_two_plans_are_compared(renamed: Workspace) -> None:
    """What only one does, what both do, what they do differently; with --detailed-exitcode a difference is 2."""
    renamed.box.mutate({"action": "rename_service", "id": a_service(renamed, 1), "name": "Once more"})
    renamed.ok("-q", "plan", "--out", "later.pdplan")
    ran = renamed.ok("plan", "diff", "saved.pdplan", "later.pdplan", "--detailed-exitcode", code=2)
    wanted = ("Different (1)", '"Renamed 1"', '"Once more"', "1 change does the same in both.")
    assert [part for part in wanted if part not in ran.out] == []
    ran = renamed.ok("plan", "diff", "saved.pdplan", "saved.pdplan", "--detailed-exitcode")
    assert ran.out == "2 changes do the same in both. They do the same.\n"
    assert renamed.ok("plan", "diff", "saved.pdplan", "later.pdplan", "--format", "json").json["equal"] is False


def test_an_update_that_one_plan_has_is_told_with_its_values(renamed: Workspace) -> None:
    """Its name alone does not say whether it is missed."""
    renamed.ok("-q", "plan", "--only", f"service/{a_service(renamed)}", "--out", "one.pdplan")
    told = renamed.ok("plan", "diff", "saved.pdplan", "one.pdplan").out
    only, line, value, rest = told.splitlines()
    assert (only, f"service/{a_service(renamed, 1)}" in line) == ("Only in saved.pdplan (1)", True)
    assert (value.split()[0], value.endswith('-> "Renamed 1"')) == ("title", True)
    assert rest == "1 change does the same in both. They do not do the same."


def test_what_is_no_plan_is_not_compared(renamed: Workspace) -> None:
    """Each says which of the two it is."""
    renamed.write("newer.pdplan", '{"changes":7,"format_version":"2.0"}')
    renamed.write("list.pdplan", "[]")
    renamed.write("other.pdplan", '{"changes":[{"n":1}],"format_version":"1.0"}')
    renamed.write("cut.pdplan", '{"changes":[{"n":1}')
    for name, said in (("newer", "format 2.0"), ("list", "no format_version"), ("other", "missing"), ("cut", "JSON")):
        err = renamed.ok("plan", "diff", "saved.pdplan", f"{name}.pdplan", code=1).err
        assert (f"{name}.pdplan" in err, said in err, err.count("error[")) == (True, True, 1), err


def test_what_cannot_be_compared_is_said(renamed: Workspace) -> None:
    """One error, no trace."""
    for words in (("diff",), ("diff", "saved.pdplan"), ("other", "a", "b"), ("diff", "a", "b")):
        ran = renamed.ok("plan", *words, code=1)
        assert (ran.err.count("error["), "Traceback" in ran.err) == (1, False), words


def test_an_option_that_would_mean_nothing_is_refused(renamed: Workspace) -> None:
    """None is ignored: a saved plan that was to be limited would otherwise be done whole."""
    for words, named in (
        ("plan --rebase saved.pdplan --no-delete --only service", "--rebase with --no-delete, --only"),
        ("plan --rebase saved.pdplan --format html", "--rebase with --format html"),
        ("plan diff saved.pdplan saved.pdplan --out other.pdplan", "diff with --out"),
        ("plan diff saved.pdplan saved.pdplan --format markdown", "diff with --format markdown"),
        ("plan --offline --full", "--offline with --full"),
        ("plan --snapshot saved.pdplan --offline", "--snapshot with --offline"),
        ("apply saved.pdplan --only service", "a saved plan with --only"),
        ("apply saved.pdplan --allow-deletes service=1", "a saved plan with --allow-deletes"),
        ("apply saved.pdplan --validate-remote", "a saved plan with --validate-remote"),
    ):
        ran = renamed.ok(*words.split(), code=1)
        assert ("error[PD852]" in ran.err, f" = {named}\n" in ran.err, ran.out) == (True, True, ""), words
    assert renamed.box.log.all("port") == []


def test_a_saved_plan_is_proven_by_its_own_scope(renamed: Workspace) -> None:
    """What it left out does not speak against it."""
    renamed.ok("-q", "plan", "--only", f"service/{a_service(renamed)}", "--out", "one.pdplan")
    assert "Proven" in renamed.ok("apply", "one.pdplan", "--prove").out


def test_resume_saves_what_only_had_not_been_saved(here: Workspace) -> None:
    """Killed after the last write and before the ledger was there: nothing is left to write, all is left to save."""
    here.ok("-q", "plan", "--out", "saved.pdplan")
    with killed_at("^before replace$"):
        here.run("-q", "apply", "saved.pdplan")
    assert not (here.folder / "state" / "ledger.jsonl").exists()
    assert here.ok("resume").out.endswith("State saved, serial 1.\n")
    assert "0 cut short" in here.ok("state", "check").out
    assert here.run("resume").code == 1


def test_an_edited_plan_is_shown_with_a_warning_and_not_applied(renamed: Workspace) -> None:
    """It can be looked at, alone and beside another one; whoever looks is told."""
    saved = (renamed.folder / "saved.pdplan").read_text(encoding="utf-8")
    renamed.write("edited.pdplan", saved.replace('"title":"Renamed', '"title":"Edited', 1))
    assert "PD512" not in renamed.ok("show", "saved.pdplan").err
    for words in (["show", "edited.pdplan"], ["plan", "diff", "saved.pdplan", "edited.pdplan"]):
        ran = renamed.ok(*words)
        assert ("warning[PD512]" in ran.err, "edited.pdplan" in ran.err, bool(ran.out)) == (True, True, True)
    assert "error[PD512]" in renamed.ok("apply", "edited.pdplan", code=1).err


def test_a_file_that_cannot_be_written_is_said_before_any_work(renamed: Workspace) -> None:
    """Nothing is asked of anybody whose answer would be lost."""
    renamed.box.log.clear()
    for command, file in product(("plan", "snapshot"), ("catalog", "nowhere/saved.pdplan")):
        ran = renamed.run(command, "--out", file)
        assert (ran.code, ran.out, "PD813" in ran.err) == (1, "", True)
    assert renamed.box.log.all() == []
