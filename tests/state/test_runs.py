"""Runs and their journals when disks fill up, clocks are set back, and versions age."""

from __future__ import annotations

import asyncio
import errno
import os
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pdsync import files
from pdsync.errors import StateError, error
from pdsync.model import EntityKey, Outcome, RunHead, Withheld
from pdsync.state.journal import Journal, read_journal
from pdsync.state.ledger_file import parse_ledger
from pdsync.state.runs import KEPT_JOURNALS, after_run, next_run_id, prune
from tests.state.runs import before, begin, crash, end, numbers, plan_of_each, store_in

if TYPE_CHECKING:
    from collections.abc import Callable

    from pdsync.model import OutcomeStatus

FIXTURES = Path(__file__).parents[1] / "fixtures" / "state"
PLAN = plan_of_each()
N = numbers(PLAN)


def journal_in(folder: Path, run: str = "20260601T120000Z-1f") -> Journal:
    return Journal(folder, RunHead(run, "2026-06-01T12:00:00Z"), PLAN)


def test_a_journal_of_version_1_is_read_for_ever() -> None:
    """As the first pdsync wrote it: what was done, refused with its message, and left open."""
    record = read_journal(FIXTURES / "journal-v1.jsonl")
    assert (record.run, record.head.operation, record.closed, dict(record.images)) == (
        "20260601T120000Z-1f0c2a",
        "apply",
        None,
        {},
    )
    assert dict(record.statuses) == {
        N["incident"]: "done",
        N["new"]: "done",
        N["old"]: "failed",
        N["gone"]: "unknown",
    }


@pytest.mark.parametrize(
    ("reason", "after"),
    [(None, "new"), ("protected", "new"), ("absence is not proven", "old"), ("above the delete limit", "old")],
)
def test_the_account_is_that_of_before_while_anything_waits_to_go(reason: str | None, after: str) -> None:
    """Whatever keeps it: another account's list that is in doubt must not make that account the one of the state."""
    withheld = (Withheld("service", "gone", "Gone", reason),) if reason else ()
    made = replace(PLAN, base=replace(PLAN.base, account="new"), withheld=withheld)
    done: dict[int, OutcomeStatus] = dict.fromkeys((change.n for change in made.changes), "done")
    assert after_run(replace(before(), account="old"), made, done).account == after


def test_what_comes_at_the_same_time_shares_a_sync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many begins at once are a few writes, and all of them are there."""
    journal = journal_in(tmp_path)
    writes: list[bytes] = []
    append: Callable[[int, list[bytes]], None] = files.append

    def counted(handle: int, pieces: list[bytes]) -> None:
        writes.append(b"".join(pieces))
        append(handle, pieces)

    monkeypatch.setattr(files, "append", counted)

    async def many() -> None:
        await asyncio.gather(*(journal.begin([n]) for n in range(1, 51)))

    asyncio.run(many())
    crash(journal)
    assert len(writes) < 10
    assert sorted(read_journal(journal.path).statuses) == list(range(1, 51))


def test_a_full_disk_leaves_no_torn_line_and_ends_the_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What could not be written whole is taken away again, and nothing more is noted after it."""
    journal = journal_in(tmp_path)
    begin(journal, N["new"])
    write = files._write

    def full(handle: int, data: bytes) -> None:
        write(handle, data[:3])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(files, "_write", full)
        with pytest.raises(StateError, match="No space left"):
            end(journal, Outcome(N["new"], "done"))
    with pytest.raises(StateError, match="No space left"):
        begin(journal, N["old"])
    assert journal.statuses == {N["new"]: "done"}
    crash(journal)
    assert dict(read_journal(journal.path).statuses) == {N["new"]: "unknown"}


def test_a_state_that_cannot_be_saved_is_put_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the file and the command; the next run finds everything by itself, and push takes the file."""
    store = store_in(tmp_path)
    journal = store.begin(plan_of_each(store.save(before(), deletes=0)))
    end(journal, *(Outcome(n, "done") for n in N.values()))

    def gone(*_: object) -> str:
        raise StateError(error("PD550", "the state's store does not answer"))

    with monkeypatch.context() as patch:
        patch.setattr(store.backend, "store", gone)
        finished = store.finish(journal)
    rescued = tmp_path / f"rescued-{journal.run}.jsonl"
    assert finished.problem is not None
    assert f"pdsync state push {rescued}" in finished.problem.diagnostics[0].hint
    assert rescued.stat().st_mode & 0o777 == 0o600
    assert EntityKey("service", "new") in store_in(tmp_path).load().entities
    again = store_in(tmp_path)
    again.load()
    pushed = again.push(parse_ledger(rescued.read_bytes(), "r"))
    assert (pushed.runs[-1].run, again.unfinished()) == (journal.run, [])


def test_a_clock_that_was_set_back_does_not_change_the_order(tmp_path: Path) -> None:
    """A new run sorts after all that there are."""
    crash(journal_in(tmp_path, "20260601T120000Z-ff"))
    assert next_run_id(tmp_path, "2026-06-01T11:00:00Z", "00") == "20260601T120001Z-00"
    assert next_run_id(tmp_path, "2026-06-01T12:00:00Z", "00") == "20260601T120001Z-00"
    assert next_run_id(tmp_path, "2026-06-01T13:00:00Z", "00") == "20260601T130000Z-00"
    assert next_run_id(tmp_path, "2026-06-01T13:00:00Z", "00", ["20260601T140000Z-aa"]) == "20260601T140001Z-00"


@pytest.mark.parametrize("clock", ["1970-01-01T00:00:00Z", "2999-12-31T23:59:59Z"])
def test_a_clock_that_jumps_loses_no_run(tmp_path: Path, clock: str) -> None:
    """Far back or far ahead, in the middle of it all: the order of runs, and what is told of each, are as they were."""
    runs: list[str] = []
    for time in ("2026-06-01T12:00:00Z", clock, "2026-06-01T12:00:01Z"):
        store = store_in(tmp_path)
        store._now = partial(str, time)
        owned = store.load() if runs else store.save(before(), deletes=0)
        with store.lock("apply"):
            journal = store.begin(plan_of_each(owned))
            begin(journal, N["new"])
            end(journal, Outcome(N["new"], "done"))
            assert store.finish(journal).problem is None
        runs.append(journal.run)
    assert runs == sorted(runs)
    store = store_in(tmp_path)
    store.load()
    assert [note.run for note in store.history()] == runs
    assert store.unfinished() == []


def test_only_the_last_closed_journals_are_kept(tmp_path: Path) -> None:
    """Those of runs that are open stay, however old."""
    crash(journal_in(tmp_path, "20260101T000000Z-aa"))
    for number in range(KEPT_JOURNALS + 2):
        journal_in(tmp_path, f"20260601T12{number:04}Z-1f").close(number)
    assert prune(tmp_path) == ["20260601T120001Z-1f", "20260601T120000Z-1f"]
    assert (tmp_path / "20260101T000000Z-aa.jsonl").exists()


def test_temporary_files_of_dead_writers_are_swept(tmp_path: Path) -> None:
    """Those of writers at work are not."""
    (tmp_path / ".pdsync-ledger.jsonl.dead").write_bytes(b"half")
    handle, temporary = files._temporary(tmp_path / "ledger.jsonl")
    try:
        assert files.sweep(tmp_path) == [".pdsync-ledger.jsonl.dead"]
        assert temporary.exists()
    finally:
        os.close(handle)
