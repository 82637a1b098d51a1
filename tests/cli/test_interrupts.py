"""Stopped in the middle, politely or not: what was made stays ours, and the next run finishes the rest."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pdsync.cli import Options
from pdsync.cli.session import Session
from pdsync.sandbox.http import Fault
from pdsync.sandbox.server import Sandbox
from pdsync.state.ledger_file import parse_ledger
from tests.cli.workspace import Workspace, answers_held, make_workspace, small_world, stop, until
from tests.never import NEVER
from tests.state.servers import Web, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

PROMPTLY = 30.0
"""Seconds: far more than a stop takes on any machine, far less than what it must not wait for."""

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workspace]:
    """A sandbox that takes its time for every answer, and more entities than fit into one wave."""
    with Sandbox(small_world(services=30, incidents=90, users=5), latency=0.03) as box:
        yield make_workspace(tmp_path, box, monkeypatch)


STOPPED_WHILE_LOADED = """
import os, signal, sys
from pdsync.__main__ import main
class Finder:
    def find_spec(self, name, path, target=None):
        if name == "pdsync.cli":
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Finder())
main()
"""


def test_a_stop_before_there_is_a_command_line_ends_without_a_traceback() -> None:
    """It is as of a process that does nothing about it; where nobody is to be stopped, nobody is."""
    told = [sys.executable, "-c", STOPPED_WHILE_LOADED]
    stopped = subprocess.run(told, check=False, capture_output=True, text=True)
    assert (stopped.returncode, stopped.stderr) == (-signal.SIGINT, "")
    ignoring = f"import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n{STOPPED_WHILE_LOADED}"
    spared = subprocess.run([sys.executable, "-c", ignoring, "--version"], check=False, capture_output=True, text=True)
    assert (spared.returncode, spared.stdout[:6]) == (0, "pdsync")


def entities(here: Workspace) -> set[str]:
    held = here.box.store
    return {f"{name}/{i}" for name in ("service", "person", "incident") for i in held.entities(name)}


def owned(here: Workspace) -> dict[str, str]:
    """Key -> origin of all that the ledger, with its replayed journal, says is ours."""
    ledger = parse_ledger(here.ok("state", "pull").out.encode(), "l")
    return {str(key): entry.origin for key, entry in ledger.entities.items()}


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stop_ends_what_is_in_flight_and_saves(here: Workspace, number: signal.Signals, code: int) -> None:
    """Begun writes end, no more are begun, the state is saved, the exit code says it; the next apply does the rest."""
    with (
        answers_held(here.box, "service/entities/bulk$") as released,
        here.start("apply", "--auto-approve") as process,
    ):
        until(lambda: len(here.box.store.entities("service")) > 0, process)
        stop(process, number)
        released.set()
        out, err = process.communicate()
    assert (process.returncode, "Traceback" in err) == (code, False)
    assert "Apply incomplete" in out
    assert "unknown" not in out.splitlines()[-1]
    held, whole = entities(here), here.box.world
    assert 0 < len(held) < len(whole.services) + len(whole.users) + 90
    assert owned(here) == dict.fromkeys(held, "created")
    here.ok("-q", "apply", "--auto-approve")
    assert here.changes() == []
    assert set(owned(here).values()) == {"created"}


def test_a_second_stop_ends_at_once(here: Workspace) -> None:
    """What was in flight is not waited for, is kept as ours all the same, and the next run finds out."""
    here.ok("-q", "apply", "--auto-approve", "--only", "person")
    here.box.faults.add(Fault("delay", api="port", path="/entities/bulk$", seconds=NEVER, when="after", count=None))
    with here.start("apply", "--auto-approve") as process:
        until(lambda: len(here.box.store.entities("service")) > 0, process)
        stop(process, signal.SIGINT)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate()
    assert (process.returncode, "Traceback" in err) == (130, False)
    here.box.faults.clear()
    made = entities(here)
    assert len(made) > 5
    assert made <= set(owned(here))
    here.ok("-q", "apply", "--auto-approve")
    assert here.changes() == []
    assert set(owned(here).values()) == {"created"}


def test_a_stop_while_planning_writes_nothing(here: Workspace) -> None:
    """Ctrl-C during the reads ends with 130, at once and in words."""
    here.box.faults.add(Fault("delay", api="pagerduty", path="^/services$", seconds=NEVER, count=None))
    with here.start("apply", "--auto-approve") as process:
        until(lambda: len(here.box.log.all("port")) > 0, process)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate()
    assert (process.returncode, "Traceback" in err, "PD900" in err) == (130, False, False)
    assert here.box.log.port_writes() == []
    assert not (here.folder / "state" / "ledger.jsonl").exists()


@pytest.mark.parametrize("writes", [1, 6])
def test_a_killed_apply_is_made_good(here: Workspace, writes: int) -> None:
    """Kill -9 after so many writes (after any in apply/test_resume): nothing that was created is taken for somebody else's, and the rest is done."""
    with here.start("apply", "--auto-approve") as process:
        until(lambda: len(here.box.log.port_writes()) >= writes, process)
        process.kill()
        process.communicate()
    assert not (here.folder / "state" / "ledger.jsonl").exists()
    made = entities(here)
    assert made <= set(owned(here))
    plan = here.plan()
    assert {c["reason"] for c in plan["changes"]} <= {"new", "gone-from-port", "changed", "caught-up", "stub"}
    here.ok("-q", "apply", "--auto-approve")
    assert here.changes() == []
    assert set(owned(here).values()) == {"created"}
    here.ok("-q", "destroy", "--auto-approve")
    assert entities(here) == set()
    assert here.box.store.blueprint("service") is None


def test_what_was_in_flight_when_it_was_killed_is_ours(here: Workspace) -> None:
    """Kill -9 between the work and its answer: the begin was durable, so that what was made is known to be ours."""
    here.ok("-q", "apply", "--auto-approve", "--only", "person")
    here.box.faults.add(Fault("delay", api="port", path="/entities/bulk$", seconds=NEVER, when="after", count=None))
    with here.start("apply", "--auto-approve") as process:
        until(lambda: len(here.box.store.entities("service")) > 0, process)
        process.kill()
        process.communicate()
    here.box.faults.clear()
    made = entities(here)
    assert {key.partition("/")[0] for key in made} == {"service", "person"}
    assert owned(here).keys() >= made
    assert {c["reason"] for c in here.plan()["changes"]} <= {"new", "gone-from-port"}
    here.ok("-q", "apply", "--auto-approve")
    assert set(owned(here).values()) == {"created"}


def test_a_killed_destroy_is_made_good(here: Workspace) -> None:
    """Kill -9 in the middle of deletes: the next destroy ends with nothing of ours left, and the state is empty."""
    here.ok("-q", "apply", "--auto-approve")
    with here.start("destroy", "--auto-approve") as process:
        until(lambda: len(here.box.store.entities("incident")) < 90, process)
        process.kill()
        process.communicate()
    here.ok("-q", "destroy", "--auto-approve")
    assert (entities(here), owned(here)) == (set(), {})
    assert here.ok("state", "check").out.count("cut short") == 1


def test_a_sigterm_before_the_loop_gives_the_lock_back(here: Workspace) -> None:
    """While the lock is waited for, or a plan is looked at: in words, with 143, and nobody has to break a lock."""
    with serving(Web(), "pdsync") as (address, shelf):
        shelf.token = "Bearer t"
        env = {"PDSYNC_STATE": f"{address}/pdsync/p", "PDSYNC_STATE_HTTP_TOKEN": "t"}
        shelf.faults += [503] * 500
        with here.start("apply", "--auto-approve", **env) as process:
            until(lambda: len(shelf.requests) > 1, process)
            process.send_signal(signal.SIGTERM)
            _, err = process.communicate(timeout=PROMPTLY)
        assert (process.returncode, err.splitlines()[-1]) == (143, "interrupted")
        shelf.faults.clear()
        here.box.faults.add(Fault("delay", api="pagerduty", path="^/services$", seconds=NEVER, count=None))
        with here.start("apply", "--auto-approve", **env) as process:
            until(lambda: len(here.box.log.all("port")) > 0, process)
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=PROMPTLY)
        assert process.returncode == 143
        here.box.faults.clear()
        assert "lock      free" in here.run("state", "check", **env).out


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks for the workers under /proc")
def test_a_stop_does_not_wait_for_what_is_evaluated(here: Workspace) -> None:
    """A mapping that takes very long is left behind; the lock is free again."""
    here.ok("-q", "snapshot")
    mapping = here.folder / "catalog/mappings/pagerduty.yaml"
    slow = "url: 'last(range(1000000000)) | tostring'"
    mapping.write_text(mapping.read_text("utf-8").replace("url: .html_url", slow), "utf-8")
    with here.start("plan", "--offline") as process:
        until(lambda: _has_children(process.pid), process)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=PROMPTLY)
    assert process.returncode == 143


def _has_children(pid: int) -> bool:
    return any(task.joinpath("children").read_text() for task in Path(f"/proc/{pid}/task").iterdir())


class Large:
    """What must not be written out as text: a plan of many changes takes seconds, and memory, to be."""

    written = False

    def __repr__(self) -> str:
        self.written = True
        return ""


def test_what_work_gives_is_not_written_out(tmp_path: Path) -> None:
    """When the handlers of signals are put back, no text is made of the result."""

    async def work() -> Large:
        return Large()

    options = Options(tmp_path, "", None, "never", quiet=True, verbose=False, events=None)
    assert not Session(options).run(work()).written
