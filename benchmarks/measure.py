"""One command measured from outside: wall time, CPU seconds, memory, its children included."""

from __future__ import annotations

import os
import subprocess
import tempfile
import threading
import time
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

_EVERY = 0.02
_PROC = Path("/proc")


def environment() -> dict[str, str]:
    """This process's environment, as users have it: compiled code is kept, as it is where pdsync is installed."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


class CommandFailed(Exception):
    """A measured command ended with another code than 0: its time means nothing."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Wall seconds and CPU seconds (user and system) of a command with its children; peak of memory in MB.

    Memory is the resident set of all processes of the command together, at the worst moment seen (Linux; 0 elsewhere).
    """

    wall: float
    cpu: float
    memory: float = 0.0


def timed(argv: Sequence[str], *, cwd: Path, env: Mapping[str, str]) -> Cost:
    """What a command costs, without a look at its memory: nothing disturbs a run of milliseconds.

    Raises `CommandFailed`.
    """
    with tempfile.TemporaryFile() as said:
        started = time.perf_counter()
        process = _started(argv, cwd, env, said.fileno())
        return _finished(process, started, said.fileno())


def measured(argv: Sequence[str], *, cwd: Path, env: Mapping[str, str]) -> Cost:
    """What a command costs, memory included.  Raises `CommandFailed`."""
    with tempfile.TemporaryFile() as said:
        started = time.perf_counter()
        process = _started(argv, cwd, env, said.fileno())
        with _Watch(process.pid) as watch:
            cost = _finished(process, started, said.fileno())
    return Cost(cost.wall, cost.cpu, watch.peak_kb * 1024 / 1e6)


def _started(argv: Sequence[str], cwd: Path, env: Mapping[str, str], stderr: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(argv, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=stderr)


def _finished(process: subprocess.Popen[bytes], started: float, stderr: int) -> Cost:
    # The usage of a process includes that of the children it has waited for, and so of its workers.
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        os.lseek(stderr, 0, os.SEEK_SET)
        said = os.read(stderr, 1 << 20).decode(errors="replace")
        raise CommandFailed(f"{process.args!r} ended with {process.returncode}:\n{said[-4000:]}")
    return Cost(wall, usage.ru_utime + usage.ru_stime)


class _Watch(AbstractContextManager["_Watch"]):
    """Looks at the memory of a process and its descendants again and again, inside `with`."""

    def __init__(self, pid: int) -> None:
        self.peak_kb = 0
        self._pid = pid
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, name="memory", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(_EVERY):
            resident = {pid: _resident_kb(pid) for pid in _family(self._pid)}
            self.peak_kb = max(self.peak_kb, sum(resident.values()))


def _family(pid: int) -> list[int]:
    """A process and its descendants, but for those that are still their parent: begun, they share all its memory."""
    found = [pid]
    for parent in found:  # it grows while it is read
        for listed in _PROC.glob(f"{parent}/task/*/children"):
            found += [child for child in map(int, _text(listed).split()) if _program(child) != _program(parent)]
    return found


def _program(pid: int) -> str:
    """What a process runs."""
    return _text(_PROC / str(pid) / "cmdline")


def _resident_kb(pid: int) -> int:
    line = next((line for line in _text(_PROC / str(pid) / "status").splitlines() if line.startswith("VmRSS:")), "")
    return int(line.split()[1]) if line else 0


def _text(path: Path) -> str:
    """The file's text; empty when the process is gone."""
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
