"""How long a command takes that does next to nothing: what one waits for on every call."""

from __future__ import annotations

import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks.comparison import PDSYNC
from benchmarks.measure import Cost, environment, timed
from benchmarks.world import ROOT

ROUNDS = 15


@dataclass(frozen=True, slots=True)
class Command:
    """A command line and the milliseconds that its median must stay below (None: no goal, it is the floor)."""

    name: str
    argv: tuple[str, ...]
    goal: int | None = None


PROGRAMS = {"python": sys.executable, "pdsync": PDSYNC}
"""Where they are on this machine, which is nobody's business: figures are kept."""

COMMANDS = (
    Command("python -c pass (the floor)", ("python", "-c", "pass")),
    Command("pdsync --version", ("pdsync", "--version"), 150),
    Command("pdsync --help", ("pdsync", "--help"), 150),
    Command("pdsync validate, starter catalog", ("pdsync", "validate"), 300),
)


@dataclass(frozen=True, slots=True)
class Started:
    """A command and what it cost each time."""

    command: Command
    costs: list[Cost]

    @property
    def milliseconds(self) -> float:
        """The median of wall time."""
        return median(cost.wall for cost in self.costs) * 1000


def startup(rounds: int = ROUNDS) -> list[Started]:
    """All commands in turn, `rounds` times, after one that does not count and fills the caches."""
    found = [Started(command, []) for command in COMMANDS]
    with tempfile.TemporaryDirectory(prefix="pdsync-benchmark-") as name:
        shutil.copytree(ROOT / "catalog", Path(name) / "catalog")
        for number in range(rounds + 1):
            for started in found:
                program, *arguments = started.command.argv
                cost = timed([PROGRAMS[program], *arguments], cwd=Path(name), env=environment())
                if number:
                    started.costs.append(cost)
    return found
