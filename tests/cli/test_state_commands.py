"""The state as people handle it: looked at, repaired, carried elsewhere - and what is refused meanwhile."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from pdsync.state.ledger_file import dump_ledger, parse_ledger

if TYPE_CHECKING:
    from collections.abc import Callable

    from pdsync.model import Ledger
    from tests.cli.workspace import Workspace


def kept(here: Workspace, *where: str) -> Ledger:
    return parse_ledger(here.ok(*where, "state", "pull").out.encode(), "pulled")


def keys(here: Workspace, *where: str) -> list[str]:
    return here.ok(*where, "state", "list").out.split()


# --- rm, mv


def test_rm_forgets_and_leaves_port_alone(applied: Workspace) -> None:
    """What is no longer owned is taken over again by the next plan, not made anew and not deleted."""
    key = next(k for k in keys(applied) if k.startswith("service/"))
    assert "1 no longer owned.  State saved, serial 2." in applied.ok("state", "rm", "--auto-approve", key).out
    assert applied.box.log.port_writes() == []
    assert applied.changes() == [f"adopt {key}"]
    assert key in applied.ok("state", "rm", "--auto-approve", key, code=1).err


def test_rm_takes_blueprints_too(applied: Workspace) -> None:
    """By their identifier alone, beside entities."""
    person = next(k for k in keys(applied) if k.startswith("person/"))
    assert "2 no longer owned" in applied.ok("state", "rm", "--auto-approve", "person", person).out
    assert {"person", person}.isdisjoint(keys(applied))
    assert sorted(applied.changes()) == [f"adopt {person}", "adopt person/person"]


def test_rm_asks_first(applied: Workspace) -> None:
    """Where there is nobody to ask it does nothing."""
    before = kept(applied)
    ran = applied.ok("state", "rm", keys(applied)[-1], code=1)
    assert ("PD805" in ran.err, kept(applied)) == (True, before)


def test_rm_of_what_is_not_owned_does_nothing_at_all(applied: Workspace) -> None:
    """Also not for those beside it that are."""
    before = kept(applied)
    applied.ok("state", "rm", "--auto-approve", keys(applied)[-1], "service/nobody", code=1)
    assert "$(pdsync state list 'service/*')" in applied.ok("state", "rm", "--auto-approve", "service/*", code=1).err
    assert kept(applied) == before


def test_mv_follows_a_rename(applied: Workspace) -> None:
    """An entity that got another identifier by hand is still ours under its new key."""
    first, second, *_ = sorted(applied.box.store.entities("person"))
    applied.ok("state", "mv", f"person/{first}", "person/renamed")
    listed = applied.ok("state", "list", "person/*").out.split()
    assert ("person/renamed" in listed, f"person/{first}" in listed) == (True, False)
    assert "owned already" in applied.ok("state", "mv", "person/renamed", f"person/{second}", code=1).err
    assert "not a key" in applied.ok("state", "mv", "person/renamed", "person", code=1).err


# --- pull, push


def test_a_successor_is_taken_as_it_is(applied: Workspace) -> None:
    """What is pulled is kept already; with a higher serial it is stored under that."""
    ledger = kept(applied)
    file = applied.folder / "pushed.jsonl"
    file.write_bytes(dump_ledger(ledger))
    assert "It was kept already, serial 1." in applied.ok("state", "push", "pushed.jsonl").out
    later = replace(ledger, serial=4, commit="c0ffee")
    file.write_bytes(dump_ledger(later))
    assert "13 entities owned.  State saved, serial 4." in applied.ok("state", "push", "pushed.jsonl").out
    assert kept(applied) == later


def without_one(ledger: Ledger) -> Ledger:
    return replace(ledger, entities=dict(list(ledger.entities.items())[1:]))


REFUSED: dict[str, tuple[str, Callable[[Ledger], Ledger]]] = {
    "another-lineage": ("PD506", lambda ledger: replace(ledger, serial=9, lineage="another")),
    "another-organization": ("PD506", lambda ledger: replace(ledger, serial=9, org_id="another")),
    "older": ("PD506", lambda ledger: replace(ledger, serial=0)),
    "other-content": ("PD506", without_one),
    "empty": ("PD504", lambda ledger: replace(ledger, serial=9, entities={})),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_successor_is_refused_and_allowed_by_its_name_alone(applied: Workspace, name: str) -> None:
    """Another name does not help; allowed, it gets a serial of its own after both."""
    code, change = REFUSED[name]
    before = kept(applied)
    (applied.folder / "pushed.jsonl").write_bytes(dump_ledger(change(before)))
    others = [word for other in REFUSED if other != name for word in ("--allow", other)]
    ran = applied.ok("state", "push", "pushed.jsonl", *others, code=1)
    assert (code in ran.err, f"--allow {name}" in ran.err, kept(applied)) == (True, True, before)
    applied.ok("state", "push", "pushed.jsonl", "--allow", name)
    after = kept(applied)
    pushed = change(before)
    assert (after.entities, after.lineage, after.serial > before.serial) == (pushed.entities, pushed.lineage, True)


def test_all_reasons_are_told_at_once(applied: Workspace) -> None:
    """Nobody has to allow one after the other to learn of the next."""
    other = replace(kept(applied), lineage="another", org_id="another", entities={})
    (applied.folder / "pushed.jsonl").write_bytes(dump_ledger(other))
    ran = applied.ok("state", "push", "pushed.jsonl", code=1)
    assert [f"--allow {name}" in ran.err for name in ("another-lineage", "another-organization", "empty")] == [True] * 3


def test_what_is_no_ledger_is_refused(applied: Workspace) -> None:
    """Whatever is allowed: damage, and a format of the future."""
    pulled = applied.ok("state", "pull").out
    everything = [word for name in REFUSED for word in ("--allow", name)]
    for text, code in (("nonsense", "PD501"), (pulled[:-9], "PD501"), (later_version(pulled), "PD502")):
        applied.write("pushed.jsonl", text)
        assert code in applied.ok("state", "push", "pushed.jsonl", *everything, code=1).err


def later_version(pulled: str) -> str:
    head, line_end, body = pulled.partition("\n")
    assert '"version":' in head
    return head.replace('"version":', '"version":9') + line_end + body


def test_into_an_empty_place_anything_is_pushed(applied: Workspace) -> None:
    """As it is: so a state is restored."""
    (applied.folder / "pushed.jsonl").write_bytes(dump_ledger(kept(applied)))
    applied.ok("--state", "elsewhere", "state", "push", "pushed.jsonl")
    assert kept(applied, "--state", "elsewhere") == kept(applied)


# --- check


def test_check_tells_of_relations_that_lead_nowhere(applied: Workspace) -> None:
    """A service that is no longer owned, with incidents that point at it: a warning with examples, and no failure."""
    incident = next(e for e in applied.box.store.entities("incident").values())
    service = incident["relations"]["service"]
    assert "PD570" not in applied.ok("state", "check").err
    applied.ok("state", "rm", "--auto-approve", f"service/{service}")
    ran = applied.ok("state", "check")
    assert ("PD570" in ran.err, f"-> service/{service}" in ran.err, "incident.relations.service" in ran.err) == (
        True,
        True,
        True,
    )


def test_check_tells_who_holds_the_lock(applied: Workspace) -> None:
    """Or that nobody does."""
    assert "lock      free" in applied.ok("state", "check").out


# --- migrate, reopen


def test_migrate_moves_and_leaves_a_marker(applied: Workspace) -> None:
    """The new place plans nothing; the old one says where it is now, whatever is asked of it."""
    before = kept(applied)
    ran = applied.ok("state", "migrate", "state", "elsewhere", "--with-snapshot", "--with-history")
    assert "ledger, snapshot, 1 journal moved: serial 1, 13 entities." in ran.out
    assert kept(applied, "--state", "elsewhere") == before
    assert "No changes." in applied.ok("--state", "elsewhere", "plan", "--offline").out
    assert "16 " in applied.ok("--state", "elsewhere", "show", "history").out
    for command in (["plan"], ["apply", "--auto-approve"], ["state", "list"], ["state", "push", "state/ledger.jsonl"]):
        ran = applied.ok(*command, code=1)
        assert ("PD571" in ran.err or "PD501" in ran.err, "elsewhere" in ran.err or "push" in command) == (True, True)


def test_a_moved_state_is_used_again_when_asked(applied: Workspace) -> None:
    """As it was then, byte for byte; one that was not moved cannot be reopened."""
    ledger = applied.folder / "state" / "ledger.jsonl"
    before = ledger.read_bytes()
    applied.ok("state", "migrate", "state", "elsewhere")
    assert "PD805" in applied.ok("state", "reopen", code=1).err
    applied.ok("state", "reopen", "--auto-approve")
    assert ledger.read_bytes() == before
    assert "PD573" in applied.ok("state", "reopen", "--auto-approve", code=1).err


def test_migrate_may_keep_the_source(applied: Workspace) -> None:
    """Then both go on."""
    applied.ok("state", "migrate", "state", "elsewhere", "--keep-source")
    assert keys(applied) == keys(applied, "--state", "elsewhere")


def test_migrate_there_and_back_again(applied: Workspace) -> None:
    """What the marker stands for is an earlier state of the same lineage: it may be replaced by its successor."""
    before = kept(applied)
    applied.ok("state", "migrate", "state", "elsewhere")
    applied.ok("state", "migrate", "elsewhere", "state")
    assert kept(applied) == before


def test_migrate_never_overwrites_another_state(applied: Workspace) -> None:
    """Nor moves onto itself, nor nothing."""
    applied.ok("-q", "--state", "elsewhere", "apply", "--auto-approve")
    before = kept(applied, "--state", "elsewhere")
    assert "PD574" in applied.ok("state", "migrate", "state", "elsewhere", code=1).err
    assert kept(applied, "--state", "elsewhere") == before
    assert "PD816" in applied.ok("state", "migrate", "state", "state", code=1).err
    assert "PD572" in applied.ok("state", "migrate", "nothing", "new", code=1).err


def test_migrate_waits_for_a_run_that_was_cut_short(applied: Workspace) -> None:
    """Its outcome stands in a journal that would stay behind; with the history it goes along."""
    before = keys(applied)
    (applied.folder / "state" / "ledger.jsonl").unlink()
    journal = next((applied.folder / "state" / "journal").glob("*.jsonl"))
    journal.write_bytes(journal.read_bytes().rpartition(b"\n")[0].rpartition(b"\n")[0] + b"\n")
    assert keys(applied) == before
    ran = applied.ok("state", "migrate", "state", "elsewhere", code=1)
    assert ("PD576" in ran.err, "--with-history" in ran.err) == (True, True)


def test_migrate_waits_for_a_run_that_could_not_save(applied: Workspace) -> None:
    """Somebody else had saved a newer ledger: only its journal, which would stay behind, tells what it wrote."""
    path = applied.folder / "state" / "ledger.jsonl"
    path.write_bytes(dump_ledger(replace(parse_ledger(path.read_bytes(), "ledger"), runs=())))
    journal = next((applied.folder / "state" / "journal").glob("*.jsonl"))
    journal.write_bytes(journal.read_bytes().rpartition(b"\n")[0].rpartition(b"\n")[0] + b"\n")
    ran = applied.ok("state", "migrate", "state", "elsewhere", code=1)
    assert ("PD576" in ran.err, f"pdsync resume {journal.stem}" in ran.err) == (True, True)
    applied.ok("state", "migrate", "state", "elsewhere", "--with-history")


def test_migrate_moves_what_is_encrypted(applied: Workspace) -> None:
    """It stays encrypted, with the key that there is."""
    applied.env["PDSYNC_STATE_KEY"] = applied.ok("state", "keygen").out.strip()
    applied.ok("state", "rekey")
    before = kept(applied)
    applied.ok("state", "migrate", "state", "elsewhere", "--with-snapshot", "--with-history")
    assert kept(applied, "--state", "elsewhere") == before
    assert not any(b"PagerDuty" in p.read_bytes() for p in (applied.folder / "elsewhere").rglob("*") if p.is_file())
    applied.ok("state", "rekey")
    assert "PD571" in applied.ok("plan", code=1).err
