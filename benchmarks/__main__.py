"""`python -m benchmarks` runs all and rewrites RESULTS.md; `python -m benchmarks NAME` runs one and prints it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.comparison import ROUNDS, contest
from benchmarks.rendering import rendering
from benchmarks.report import contest_section, machine, rendering_section, startup_section
from benchmarks.startup import startup
from benchmarks.world import Size

if TYPE_CHECKING:
    from collections.abc import Callable

RESULTS = Path(__file__).parent / "RESULTS.md"
TITLE = "# Benchmarks"
HOW = "Measured by `python -m benchmarks`, which rewrites this file (`make bench`)."

Sections = dict[str, "Callable[[argparse.Namespace], str]"]

BENCHMARKS: Sections = {
    "startup": lambda _: startup_section(startup()),
    "rendering": lambda _: rendering_section(rendering()),
    "plan": lambda given: contest_section(contest(Size(given.incidents, given.services), given.rounds)),
}


def main() -> None:
    """All benchmarks into RESULTS.md, or one to the terminal."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("name", nargs="?", choices=sorted(BENCHMARKS), help="only this one, printed")
    parser.add_argument("--incidents", type=int, default=Size().incidents)
    parser.add_argument("--services", type=int, default=Size().services)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    given = parser.parse_args()
    told = machine()
    if given.name:
        print(BENCHMARKS[given.name](given))
        return
    sections = [TITLE, f"{HOW} {told}", *(run(given) for run in BENCHMARKS.values())]
    RESULTS.write_text("\n\n".join(sections) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
