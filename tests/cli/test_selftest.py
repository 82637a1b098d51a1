"""`pdsync selftest --faults`: a point of every fault, and that the matrix sees what it looks for.

The quick selftest is run where docs/selftest.md shows it.
"""

from __future__ import annotations

import re
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from pdsync.cli import cli
from pdsync.cli.selftest import matrix as matrices
from pdsync.cli.selftest.faults import FAULTS
from pdsync.cli.selftest.judge import Judgement, judge
from pdsync.cli.selftest.matrix import Matrix, Row, Trial, matrix
from pdsync.cli.selftest.processes import Ran
from pdsync.cli.selftest.stage import Written
from pdsync.cli.selftest.table import HEAD, cells, failure, verdict

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pdsync.cli.selftest.stage import Picture

PAGE = Path(__file__).parents[2] / "docs" / "selftest.md"
SAMPLE = {
    "kill-before": (10, "resumed"),
    "kill-after": (26, "resumed"),
    "kill-file": (30, "resumed"),
    "made-anew": (2, "resumed"),
    "no-answer": (12, "whole at once"),
    "rate-limit": (2, "whole at once"),
    "unavailable": (4, "whole at once"),
    "bad-gateway": (33, "whole at once"),
    "half-json": (26, ""),
    "overtaken": (20, "resumed"),
    "disk-full": (12, "resumed"),
}
"""A point of every fault, and how it ends."""

PLANNED = Ran(("plan",), 0, killed=False, text="No changes. 6 unchanged.\n")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Matrix]:
    with matrix(tmp_path_factory.mktemp("matrix"), 2) as made:
        yield made


@pytest.fixture(scope="module")
def reference(whole: Matrix) -> Picture:
    return whole._reference


def test_the_sample_has_every_fault() -> None:
    """And the page tells of every one, in order, and that none failed."""
    rows = re.findall(
        r"^\| `([a-z-]+)` \| (.*?) \|.*\| (\d+) \| \d+ \| (\d+) \|$", PAGE.read_text("utf-8"), re.MULTILINE
    )
    assert list(SAMPLE) == list(FAULTS)
    assert rows == [(fault.name, fault.says, "0", "0") for fault in FAULTS.values()]


@pytest.mark.parametrize("name", SAMPLE)
def test_a_point_of_every_fault_holds(whole: Matrix, name: str) -> None:
    """A real apply is struck, and what pdsync advises then brings it to the very same end."""
    point, end = SAMPLE[name]
    row = whole.run(FAULTS[name], [point], lambda _: None)
    assert [failure(trial, everything=True) for trial in row.failed] == []
    assert (row.points, row.duplicates) == (1, 0)
    assert not end or row.ends[end] == 1


def test_beyond_the_last_point_nothing_is_counted(whole: Matrix) -> None:
    """The matrix ends by itself at the first point that no run comes to."""
    row = whole.run(FAULTS["made-anew"], [99], lambda _: None)
    assert (row.points, "Nothing was tried" in verdict([row])) == (0, True)


# --- it sees what it looks for


def problems(picture: Picture, reference: Picture, planned: Ran = PLANNED) -> list[str]:
    return list(judge(picture, reference, planned).problems)


def test_an_unbroken_run_is_without_fault(reference: Picture) -> None:
    """Compared with itself."""
    assert judge(reference, reference, PLANNED) == Judgement((), 0, 0)


@pytest.mark.parametrize("action", ["CREATE", "DELETE"])
def test_what_is_done_twice_is_seen(reference: Picture, action: str) -> None:
    """Made again after a delete by somebody, or deleted again: in the log though not in the end."""
    again = next(w for w in reference.written if w.action == action and w.identifier)
    found = judge(replace(reference, written=(*reference.written, again)), reference, PLANNED)
    assert (found.problems, found.duplicates) == ((f"2 times: {again}",), 1)


def test_a_write_that_is_sent_again_is_counted(reference: Picture) -> None:
    """It changes nothing, and is told."""
    again = next(w for w in reference.written if w.action == "UPDATE")
    assert judge(replace(reference, written=(*reference.written, again)), reference, PLANNED) == Judgement((), 0, 1)


def test_what_others_own_is_not_to_be_written(reference: Picture) -> None:
    """Even where it ends as it was."""
    touched = Written("UPDATE", "service", "by-hand", b"{}")
    found = problems(replace(reference, written=(*reference.written, touched)), reference)
    assert found == ["not in the plan: update service/by-hand"]


def test_another_end_is_seen(reference: Picture) -> None:
    """In Port, in the ledger, in the folder of the state, in the next plan."""
    port = {**reference.port, "entities": {**reference.port["entities"], "service": {}}}
    assert any(found.startswith("Port: service/") for found in problems(replace(reference, port=port), reference))
    key = next(iter(reference.ledger.entities))
    without = {k: entry for k, entry in reference.ledger.entities.items() if k != key}
    lost = replace(reference, ledger=replace(reference.ledger, entities=without))
    assert problems(lost, reference) == [f"ledger: {key} differs"]
    moved = replace(reference, ledger=replace(reference.ledger, snapshot="another"))
    assert problems(moved, reference) == ["ledger: what it says of itself differs"]
    assert problems(replace(reference, litter=(".pdsync-x",)), reference) == ["left behind: .pdsync-x"]
    assert problems(reference, reference, replace(PLANNED, text="Plan: 1 to create")) != []


# --- what is said


def test_a_failed_point_is_named_with_the_command_that_shows_it_again(
    whole: Matrix, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the exit code is 1."""
    monkeypatch.setattr(matrices, "judge", lambda *_: Judgement(("Port: service/a differs",), 0, 0))
    monkeypatch.setattr(matrices, "matrix", lambda *_: nullcontext(whole))
    ran = CliRunner().invoke(
        cli,
        ["-q", "selftest", "--faults", "--only", "kill-before", "--points", "9", "--lanes", "1"],
        standalone_mode=False,
    )
    assert ran.return_value == 1
    assert "failed: kill-before at point 9, GET /v1/organization" in ran.stderr
    assert "Port: service/a differs" in ran.stderr
    assert "pdsync --verbose selftest --faults --only kill-before --points 9" in ran.stderr
    assert ran.stdout.splitlines()[-1] == "1 of 1 points failed."


def test_a_row_tells_how_its_points_ended() -> None:
    """Each way with its number."""
    row = Row(FAULTS["kill-file"])
    for end in ("resumed", "as if never begun", "resumed"):
        row.add(Trial(row.fault, 1, "write", end))
    row.add(Trial(row.fault, 2, "write", "resumed", again=1, problems=("wrong",)))
    told = dict(zip(HEAD, cells(row), strict=True))
    assert (told["points"], told["how it ended"]) == ("4", "2 resumed, 1 as if never begun")
    assert (told["duplicates"], told["sent again"], told["failed"]) == ("0", "1", "1")
    assert verdict([row]) == "1 of 4 points failed."


@pytest.mark.parametrize("args", [["--points", "0"], ["--points", "3-"], ["--only", "fire"], ["--only", "kill-file"]])
def test_options_that_make_no_sense_are_refused(args: list[str]) -> None:
    """The last one lacks --faults."""
    faults = [] if args == ["--only", "kill-file"] else ["--faults"]
    assert CliRunner().invoke(cli, ["selftest", *faults, *args]).exit_code == 2
