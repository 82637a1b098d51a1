"""Asking before writing: on a terminal, and only what is typed exactly."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.cli.workspace import Workspace

pytestmark = pytest.mark.skipif(os.name == "nt", reason="terminals of POSIX")


def answered(here: Workspace, answer: str, *command: str) -> tuple[int, str]:
    """Exit code and stderr of a command whose question is answered on a terminal."""
    ours, its = pty.openpty()
    os.write(ours, answer.encode() + b"\n")
    with subprocess.Popen(
        [sys.executable, "-m", "pdsync", "-q", *command],
        cwd=here.folder,
        env=here.environment({}),
        stdin=its,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    ) as process:
        _, err = process.communicate()
    os.close(its)
    os.close(ours)
    return process.returncode, err


def test_yes_applies(here: Workspace) -> None:
    """Exactly `yes` does."""
    assert answered(here, "yes", "apply")[0] == 0
    assert len(here.box.store.entities("service")) == 4


@pytest.mark.parametrize("answer", ["", "no", "YES!", "1"])
def test_anything_else_does_not(here: Workspace, answer: str) -> None:
    """Nothing is written and the exit code is not that of success."""
    code, err = answered(here, answer, "apply")
    assert (code, f'error[PD817]: not applied\n = the answer was "{answer}", not yes' in err) == (1, True)
    assert here.box.log.port_writes() == []
    assert not (here.folder / "state" / "ledger.jsonl").exists()


def test_deletes_want_their_number(applied: Workspace) -> None:
    """`yes` is not enough where something is deleted: the number is asked for."""
    gone = min(applied.box.world.services)
    applied.box.mutate({"action": "delete_service", "id": gone, "keep_incidents": True})
    plan = applied.plan()
    code, err = answered(applied, "yes", "apply")
    assert (code == 0, f"({plan['summary']['delete']})" in err) == (False, True)
    assert applied.box.log.port_writes() == []
    assert answered(applied, str(plan["summary"]["delete"]), "apply")[0] == 0
    assert gone not in applied.box.store.entities("service")


def test_destroy_asks_too(applied: Workspace) -> None:
    """It wants the number of what is removed, and does not say that the catalog no longer makes it."""
    told = applied.ok("destroy", code=1).out
    assert ("asked for by destroy" in told, "nothing in the catalog" in told) == (True, False)
    assert answered(applied, "yes", "destroy")[0] != 0
    assert applied.box.log.port_writes() == []
    assert answered(applied, "16", "destroy")[0] == 0
    assert applied.box.store.entities("service") == {}
