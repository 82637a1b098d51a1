"""A state with a key, on the command line: nothing in it can be read or replaced by who does not have it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pdsync.sealing import is_sealed, key_of, new_key, parse_key

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from tests.cli.workspace import Workspace

CACHES = {"lock", ".swap", ".gitignore"}


def keyed(here: Workspace) -> str:
    """Make a key and work with it from now on."""
    key = here.ok("state", "keygen").out.strip()
    here.env["PDSYNC_STATE_KEY"] = key
    return key


def kept(here: Workspace) -> list[Path]:
    files = sorted(path for path in (here.folder / "state").rglob("*") if path.is_file() and path.name not in CACHES)
    assert len(files) >= 4  # ledger, snapshot, memo, a journal
    return files


def all_sealed(here: Workspace) -> bool:
    return all(is_sealed(path.read_bytes()) for path in kept(here))


def test_with_a_key_everything_is_encrypted_and_works(here: Workspace) -> None:
    """Ledger, snapshot, memo, journal and saved plan: no name of an entity is found in any file."""
    keyed(here)
    here.ok("plan", "--out", "saved.pdplan")
    here.ok("apply", "saved.pdplan")
    here.ok("snapshot", "--out", "taken.jsonl")
    files = [*kept(here), here.folder / "saved.pdplan", here.folder / "taken.jsonl"]
    assert all(is_sealed(path.read_bytes()) for path in files)
    named = [e["title"].encode() for e in here.box.store.entities("person").values()]
    assert not any(name in path.read_bytes() for name in named for path in files)
    assert here.ok("plan", "--snapshot", "taken.jsonl").out.endswith("No changes. 13 unchanged.\n")
    assert "16 " in here.ok("show", "history").out
    assert "Plan: 16 to create" in here.ok("show", "saved.pdplan").out


def test_without_the_key_nothing_is_read(here: Workspace) -> None:
    """It is said that there is none, or that it is another; never that the state is empty."""
    keyed(here)
    here.ok("-q", "apply", "--auto-approve")
    del here.env["PDSYNC_STATE_KEY"]
    for command in (["plan"], ["state", "list"], ["show", "history"], ["apply", "--auto-approve"]):
        ran = here.run(*command)
        assert (ran.code, "PD560" in ran.err) == (1, True)
    keyed(here)
    ran = here.run("state", "list")
    assert (ran.code, "PD561" in ran.err) == (1, True)


def test_a_touched_state_is_refused(here: Workspace) -> None:
    """One bit is enough."""
    keyed(here)
    here.ok("-q", "apply", "--auto-approve")
    ledger = here.folder / "state" / "ledger.jsonl"
    data = bytearray(ledger.read_bytes())
    data[-20] ^= 1
    ledger.write_bytes(data)
    ran = here.run("plan")
    assert (ran.code, "PD562" in ran.err) == (1, True)


def test_a_plain_state_is_encrypted_when_asked(applied: Workspace) -> None:
    """A key alone does not make a plain ledger believed; `state rekey` encrypts all of it, history included."""
    before = applied.ok("state", "pull").out
    key = keyed(applied)
    ran = applied.run("plan")
    assert (ran.code, "PD564" in ran.err, "pdsync state rekey" in ran.err) == (1, True, True)
    applied.ok("state", "rekey")
    assert all_sealed(applied)
    assert {key_of(path.read_bytes()) for path in kept(applied)} == {parse_key(key, "").id}
    assert applied.ok("state", "pull").out == before
    assert applied.ok("plan").out.endswith("No changes. 13 unchanged.\n")
    assert "16 " in applied.ok("show", "history").out


def test_a_key_is_changed(applied: Workspace) -> None:
    """With the old one as fallback everything is read; after rekey it is not needed any more."""
    old = keyed(applied)
    applied.ok("state", "rekey")
    keyed(applied)
    assert applied.run("state", "list").code == 1
    applied.env["PDSYNC_STATE_KEY_FALLBACK"] = old
    before = applied.ok("state", "list").out
    applied.ok("state", "rekey")
    del applied.env["PDSYNC_STATE_KEY_FALLBACK"]
    assert applied.ok("state", "list").out == before
    assert applied.ok("show", "history").code == 0


def test_a_state_is_decrypted_when_asked(applied: Workspace) -> None:
    """Byte for byte what it was before."""
    ledger = applied.folder / "state" / "ledger.jsonl"
    before = ledger.read_bytes()
    keyed(applied)
    applied.ok("state", "rekey")
    applied.ok("state", "rekey", "--decrypt")
    del applied.env["PDSYNC_STATE_KEY"]
    assert ledger.read_bytes() == before
    assert applied.ok("plan").out.endswith("No changes. 13 unchanged.\n")


def test_rekey_needs_a_key(applied: Workspace) -> None:
    """It does not silently do nothing."""
    ran = applied.run("state", "rekey")
    assert (ran.code, "PD815" in ran.err, "keygen" in ran.err) == (1, True, True)


def test_a_run_that_was_cut_short_is_made_good_with_a_key(here: Workspace) -> None:
    """An open journal is read although it is sealed, and although its last line was cut."""
    keyed(here)
    here.ok("-q", "apply", "--auto-approve")
    (here.folder / "state" / "ledger.jsonl").unlink()
    journal = next((here.folder / "state" / "journal").glob("*.jsonl"))
    data = journal.read_bytes()
    journal.write_bytes(data[: data.rindex(b"\n", 0, -1) + 20])
    assert "1 cut short" in here.ok("state", "check").out
    assert here.ok("plan").out.endswith("No changes. 13 unchanged.\n")


def test_what_is_put_aside_meanwhile_cannot_be_read_either(here: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Records on their way into the snapshot lie in temporary files that are veiled; without a key they are plain."""
    written: list[bytes] = []
    write = os.write

    def noted(handle: int, data: bytes) -> int:
        written.append(bytes(data))
        return write(handle, data)

    monkeypatch.setattr(os, "write", noted)
    name = b'"html_url"'
    here.ok("-q", "snapshot")
    assert any(name in data for data in written)
    written.clear()
    here.ok("-q", "snapshot", "--out", "again.jsonl", PDSYNC_STATE="sealed", PDSYNC_STATE_KEY=new_key())
    assert len(written) > 1
    assert not any(name in data for data in written)
