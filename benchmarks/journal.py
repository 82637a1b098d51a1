"""What the journal costs an apply: the same plan applied with it, with it but not synced, and without it.

`python -m benchmarks.journal WAY PLAN TIMES` applies the plan in this process, journalled in that way, and writes to
TIMES how often the journal was appended to and how many seconds that took.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from benchmarks.comparison import say, staged
from benchmarks.measure import Cost, measured
from benchmarks.world import ROOT, Pace, Size, serving
from pdsync import files
from pdsync.cli import run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

COMPANY = Size(3_000, 300)
PACE = Pace(latency=0.1)
"""As an API that is reached over the internet: without, the sandbox's own work is all there is to compare with."""
ROUNDS = 4


@dataclass(slots=True)
class Way:
    """One way to journal, and what an apply cost each time.

    `appends` and `seconds` say how often the journal was appended to, and how long that took.
    """

    name: str
    costs: list[Cost] = field(default_factory=list)
    appends: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    @property
    def best(self) -> int:
        """The number of the fastest round: in the others something else was at work as well."""
        return min(range(len(self.costs)), key=lambda number: self.costs[number].wall)

    @property
    def share(self) -> float:
        """How much of the wall time of the fastest round was spent appending."""
        return self.seconds[self.best] / self.costs[self.best].wall


@dataclass(frozen=True, slots=True)
class Journalled:
    """All ways, how many changes the plan has, and how fast the APIs answer.

    `sync` is what the disk alone takes to append a line and sync it, seconds, in the midst of it all.
    """

    changes: int
    pace: Pace
    sync: float
    ways: list[Way]


def _unsynced(handle: int, pieces: Iterable[bytes]) -> None:
    os.write(handle, b"".join(pieces))


def _nothing(handle: int, pieces: Iterable[bytes]) -> None:
    """No journal at all."""
    del handle, pieces


WAYS: dict[str, Callable[[int, Iterable[bytes]], None]] = {
    "as it is": files.append,
    "not synced": _unsynced,
    "no journal": _nothing,
}


def journalled(size: Size = COMPANY, rounds: int = ROUNDS) -> Journalled:
    """A first plan, applied to an empty Port in each way in turn, `rounds` times."""
    with TemporaryDirectory(prefix="pdsync-benchmark-") as name:
        before, at_work = Path(name) / "before", Path(name) / "at-work"
        with serving(size) as served, staged(served) as stage:
            say("journal: the plan")
            stage.plan()
            shutil.copytree(stage.folder, before)
        ways = [Way(way) for way in WAYS]
        for number in range(rounds):
            for way in ways:
                say(f"journal: {way.name}, round {number + 1} of {rounds}")
                shutil.rmtree(at_work, ignore_errors=True)
                shutil.copytree(before, at_work)
                _measure(way, size, at_work)
        changes = len(json.loads((before / "first.pdplan").read_bytes())["changes"])
        return Journalled(changes, PACE, _bare_sync(Path(name) / "bare"), ways)


def _bare_sync(path: Path) -> float:
    """The median of so many appends as an apply may have, one after the other."""
    handle, took = files.create(path), []
    for _ in range(300):
        began = time.perf_counter()
        files.append(handle, [b"x" * 200])
        took.append(time.perf_counter() - began)
    os.close(handle)
    return median(took)


def _measure(way: Way, size: Size, folder: Path) -> None:
    times = folder / "times.json"
    argv = [sys.executable, "-m", "benchmarks.journal", way.name, "first.pdplan", str(times)]
    with serving(size, PACE) as served:
        env = {**served.env, "PYTHONPATH": str(ROOT)}
        way.costs.append(measured(argv, cwd=folder, env=env))
    told = json.loads(times.read_bytes())
    way.appends.append(told["appends"])
    way.seconds.append(told["seconds"])


def main(way: str, plan: str, times: Path) -> int:
    """Apply, journalled so."""
    spent: list[float] = []

    def timed(handle: int, pieces: Iterable[bytes]) -> None:
        began = time.perf_counter()
        WAYS[way](handle, pieces)
        spent.append(time.perf_counter() - began)

    files.append = timed
    code = run(["--quiet", "apply", plan])
    times.write_text(json.dumps({"appends": len(spent), "seconds": sum(spent)}), encoding="utf-8")
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], Path(sys.argv[3])))
