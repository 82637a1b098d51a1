"""The journal: whatever it was cut at, it tells as much as is certain, and what we made stays ours."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pdsync.errors import StateError
from pdsync.model import EntityKey, Outcome, RunHead
from pdsync.state.journal import Journal, read_journal, read_journals, read_open_journals
from pdsync.state.runs import after_run
from tests.state.runs import before, begin, crash, end, numbers, plan_of_each

if TYPE_CHECKING:
    from pathlib import Path

    from pdsync.model import OutcomeStatus

PLAN = plan_of_each()
N = numbers(PLAN)
STATUSES = st.dictionaries(
    st.sampled_from(sorted(N.values())), st.sampled_from(["done", "failed", "skipped", "unknown"])
)


def journal_of(folder: Path, run: str = "20260601T120000Z-1") -> Journal:
    return Journal(folder, RunHead(run, "2026-06-01T12:00:00Z"), PLAN)


def whole_journal(folder: Path) -> Journal:
    """Two batches, the second of which fails in part, and the close."""
    journal = journal_of(folder)
    begin(journal, N["incident"])
    end(journal, Outcome(N["incident"], "done"))
    begin(journal, N["new"], N["old"])
    end(journal, Outcome(N["new"], "done"), Outcome(N["old"], "failed", 'invalid: "tier"\n(422)'))
    journal.close(2)
    return journal


def test_a_run_is_read_back(tmp_path: Path) -> None:
    """Plan, outcomes, messages and the serial that holds the result."""
    record = read_journal(whole_journal(tmp_path).path)
    assert (record.run, record.head.started, record.plan) == ("20260601T120000Z-1", "2026-06-01T12:00:00Z", PLAN)
    assert dict(record.statuses) == {N["incident"]: "done", N["new"]: "done", N["old"]: "failed"}
    assert (record.messages[N["old"]], record.closed) == ('invalid: "tier"\n(422)', 2)


def test_a_journal_is_readable_by_its_owner_alone_and_never_overwritten(tmp_path: Path) -> None:
    """Mode 0600; a run of the same name is refused rather than mixed with the old one."""
    journal = journal_of(tmp_path)
    journal.close(1)
    assert journal.path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(StateError, match="exists"):
        journal_of(tmp_path)


def test_a_journal_cut_at_any_byte_still_replays(tmp_path: Path) -> None:
    """A crash at whatever byte leaves what was durable before: a begin without an end is unknown, never forgotten."""
    path = whole_journal(tmp_path).path
    data = path.read_bytes()
    head, begin, end, begin2, end2, close = (line + b"\n" for line in data.splitlines())
    known: list[tuple[bytes, dict[int, OutcomeStatus], int | None]] = [
        (head, {}, None),
        (begin, {N["incident"]: "unknown"}, None),
        (end, {N["incident"]: "done"}, None),
        (begin2, {N["incident"]: "done", N["new"]: "unknown", N["old"]: "unknown"}, None),
        (end2, {N["incident"]: "done", N["new"]: "done", N["old"]: "failed"}, None),
        (close, {N["incident"]: "done", N["new"]: "done", N["old"]: "failed"}, 2),
    ]
    reached = 0
    for (line, statuses, closed), (following, _, _) in zip(known, [*known[1:], (b"x", {}, None)], strict=True):
        reached += len(line)
        for cut in range(reached, reached + len(following)):
            path.write_bytes(data[:cut])
            record = read_journal(path)
            assert (dict(record.statuses), record.closed) == (statuses, closed), cut


def test_a_run_that_never_began_is_left_out(tmp_path: Path) -> None:
    """A journal without a whole first line did nothing, and stands in nobody's way."""
    journal = journal_of(tmp_path)
    crash(journal)
    path, data = journal.path, journal.path.read_bytes()
    for cut in (0, 1, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:cut])
        assert (read_journals(tmp_path), read_open_journals(tmp_path)) == ([], [])


def test_only_runs_that_were_not_closed_are_open(tmp_path: Path) -> None:
    """All runs are history, those without a close are open, oldest first; no folder is no runs."""
    assert read_journals(tmp_path / "none") == []
    whole_journal(tmp_path)
    later, earlier = journal_of(tmp_path, "20260601T120002Z-3"), journal_of(tmp_path, "20260601T120001Z-2")
    begin(later, 1)
    crash(later)
    crash(earlier)
    assert [record.run for record in read_journals(tmp_path)] == ["20260601T120000Z-1", earlier.run, later.run]
    assert [record.run for record in read_open_journals(tmp_path)] == [earlier.run, later.run]


def test_a_cut_close_leaves_the_run_open(tmp_path: Path) -> None:
    """Only a whole close counts."""
    path = whole_journal(tmp_path).path
    data = path.read_bytes()
    path.write_bytes(data[:-1])
    assert [record.closed for record in read_open_journals(tmp_path)] == [None]


@pytest.mark.parametrize("line", [b"not json\n", b'"begin"\n', b'{"end":3}\n', b'{"end":[[1]]}\n', b"\xff\n"])
def test_a_damaged_line_is_named(tmp_path: Path, line: bytes) -> None:
    """A whole line that makes no sense is no cut: the file is named, nothing is guessed."""
    journal = journal_of(tmp_path)
    crash(journal)
    path = journal.path
    path.write_bytes(path.read_bytes() + line + b'{"begin":[1]}\n')
    with pytest.raises(StateError) as caught:
        read_journal(path)
    assert (caught.value.diagnostics[0].code, path.name in str(caught.value)) == ("PD530", True)


@pytest.mark.parametrize("head", [b"\n", b"[]\n", b'{"run":"x"}\n', b'{"run":"x","started":"t","plan":{}}\n'])
def test_a_damaged_head_is_named(tmp_path: Path, head: bytes) -> None:
    """A first line that is whole and no run is damage."""
    path = tmp_path / "x.jsonl"
    path.write_bytes(head)
    with pytest.raises(StateError) as caught:
        read_journal(path)
    assert path.name in str(caught.value)


# --- what a run leaves in the ledger


def test_done_changes_are_entered() -> None:
    """Created, updated and adopted things stand in the ledger with what was written; deleted and forgotten ones go."""
    after = after_run(before(), PLAN, dict.fromkeys(N.values(), "done"))
    assert {str(key): (e.origin, e.fields) for key, e in after.entities.items()} == {
        "service/new": ("created", {"properties.tier": "1"}),
        "service/old": ("created", {"properties.tier": "2"}),
        "service/same": ("adopted", {"properties.tier": "1"}),
    }
    assert sorted(after.blueprints) == ["incident", "service"]
    assert (after.commit, after.tool) == ("c0ffee", "jq")


def test_a_run_that_was_not_whole_does_not_move_the_commit() -> None:
    """The commit that was applied is the one of the last run in which all was done."""
    after = after_run(before(), PLAN, {n: "done" for n in N.values() if n != N["gone"]})
    assert (after.commit, after.tool, after.expressions) == ("", "", {})


@given(STATUSES)
def test_what_we_may_have_made_is_ours_and_what_we_may_have_deleted_too(statuses: dict[int, OutcomeStatus]) -> None:
    """Created things are ours when done or unknown; a delete only counts when it is done."""
    after = after_run(before(), PLAN, statuses)
    made = statuses.get(N["new"]) in ("done", "unknown")
    assert (EntityKey("service", "new") in after.entities) == made
    assert not made or after.entities[EntityKey("service", "new")].origin == "created"
    assert (EntityKey("service", "gone") not in after.entities) == (statuses.get(N["gone"]) == "done")
    assert (EntityKey("service", "lost") not in after.entities) == (statuses.get(N["lost"]) == "done")


@given(STATUSES)
def test_entering_a_run_twice_is_entering_it_once(statuses: dict[int, OutcomeStatus]) -> None:
    """A replay over a ledger that already holds the result changes nothing."""
    once = after_run(before(), PLAN, statuses)
    assert once == after_run(once, PLAN, statuses)
