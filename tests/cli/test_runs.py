"""history, show RUN, resume, revert: what they print, whole, of runs that ended in every way.

The texts are in `tests/cases/runs`; what differs from run to run is named there by what it is (`RUN1`, `TIME`).
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pdsync.sandbox.http import Fault

if TYPE_CHECKING:
    from tests.cli.workspace import Workspace

CASES = Path(__file__).parents[1] / "cases" / "runs"
REFUSAL = {"ok": False, "error": "invalid_request", "message": "not today"}
_NAMES = (
    (re.compile(r"http://127\.0\.0\.1:\d+"), "URL"),
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z"), "TIME"),
    (re.compile(r"unknown@\S+"), "unknown@HOST"),
    (re.compile(r"  +"), "  "),
    (re.compile(r"[PQ][A-Z0-9]{6,13}"), "ID"),
    (re.compile(r' "[^"]*"  \[revert\]'), ' "TITLE"  [revert]'),
)


def named(text: str) -> str:
    """A text with what differs from run to run by its name."""
    for pattern, name in _NAMES:
        text = pattern.sub(name, text)
    runs = dict.fromkeys(re.findall(r"\d{8}T\d{6}Z-[0-9a-f]+", text))
    for number, run in enumerate(sorted(runs), start=1):
        text = text.replace(run, f"RUN{number}")
    return text


def told(here: Workspace, *args: str, code: int = 0) -> str:
    """What a command prints, with its line and its exit code."""
    ran = here.ok(*args, code=code)
    return named(f"$ pdsync {' '.join(args)}\n{ran.out}{ran.err}[{ran.code}]\n")


def runs(here: Workspace) -> list[str]:
    """Their ids, oldest first."""
    return [note["run"] for note in reversed(here.ok("history", "--format", "json").json)]


@pytest.fixture
def partly(here: Workspace) -> Workspace:
    """A workspace whose first apply was refused the incidents."""
    here.box.faults.add(
        Fault("answer", api="port", path="/blueprints/incident/entities", count=None, status=422, body=REFUSAL)
    )
    here.ok("-q", "apply", "--auto-approve", code=6)
    here.box.faults.clear()
    return here


def test_what_is_told_of_runs(partly: Workspace) -> None:
    """Refused in part, resumed, put back: each command says it all, and what there is to do next."""
    (first,) = runs(partly)
    texts = [
        told(partly, "history"),
        told(partly, "show", first),
        told(partly, "resume"),
        told(partly, "resume", code=1),
    ]
    last = runs(partly)[-1]
    texts += [told(partly, "revert", last, code=3)]
    texts += [told(partly, "revert", last, "--allow-deletes", "incident=6", "--out", "back.pdplan")]
    texts += [told(partly, "apply", "back.pdplan")]
    texts += [told(partly, "history"), told(partly, "show", runs(partly)[-1]), told(partly, "show", "RUN", code=1)]
    path, text = CASES / "told.txt", "\n".join(texts)
    if os.environ.get("PDSYNC_UPDATE_CASES"):
        path.write_text(text, "utf-8")
    assert text == path.read_text("utf-8")
