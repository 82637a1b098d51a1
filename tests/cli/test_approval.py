"""Asking before writing: on a terminal, and only what is typed exactly."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.cli.workspace import Workspace

pytestmark = pytest.mark.skipif(os.name == "nt", reason="terminals of POSIX")


@contextmanager
def typed(answer: str) -> Iterator[TextIO]:
    """A terminal on which somebody has typed an answer."""
    ours, its = pty.openpty()
    os.write(ours, answer.encode() + b"\n")
    try:
        with os.fdopen(its, encoding="utf-8") as terminal:
            yield terminal
    finally:
        os.close(ours)


def answered(here: Workspace, answer: str, *command: str) -> tuple[int, str]:
    """Exit code and stderr of a command whose question is answered on a terminal."""
    with typed(answer) as terminal, here.monkeypatch.context() as patch:
        patch.setattr(sys, "stdin", terminal)
        ran = here.run("-q", *command)
    return ran.code, ran.err


def test_yes_applies(here: Workspace) -> None:
    """Exactly `yes` does: here in a process of its own, below in this one."""
    with typed("yes") as terminal:
        command = [sys.executable, "-m", "pdsync", "-q", "apply"]
        subprocess.run(command, cwd=here.folder, env=here.environment({}), stdin=terminal, check=True)
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


@pytest.mark.parametrize("auto", [True, False], ids=["at once", "after being asked"])
@pytest.mark.parametrize("there", ["edited", "made"])
def test_what_somebody_does_before_the_write_is_left_alone(applied: Workspace, there: str, *, auto: bool) -> None:
    """It was shown otherwise: a delete is skipped by name.  So is a create, where somebody has looked at the plan."""
    store, service = applied.box.store, min(applied.box.world.services)
    if there == "edited":
        applied.box.mutate({"action": "delete_service", "id": service, "keep_incidents": True})
    else:
        store.delete_entity("service", service)

    def ask(*_: object, **__: object) -> None:
        store.put_entity("service", {"identifier": service, "title": "Theirs"})

    applied.monkeypatch.setattr("pdsync.cli.plan_commands._approve", ask)
    ran = applied.run("apply", *(["--auto-approve"] if auto else []))
    made = there == "made" and auto  # in the moment between: the write itself tells
    assert (ran.code, store.entities("service")[service]["title"] == "Theirs") == (0 if made else 6, not made)
    assert ('is "Theirs"' if there == "edited" else "it is there already") in ran.out or made
    assert ran.out.endswith("Next: pdsync plan\n") or made  # the same plan once more would skip it again


def test_destroy_asks_too(applied: Workspace) -> None:
    """It wants the number of what is removed, and does not say that the catalog no longer makes it."""
    told = applied.ok("destroy", code=1).out
    assert ("asked for by destroy" in told, "nothing in the catalog" in told) == (True, False)
    assert answered(applied, "yes", "destroy")[0] != 0
    assert applied.box.log.port_writes() == []
    assert answered(applied, "16", "destroy")[0] == 0
    assert applied.box.store.entities("service") == {}
