"""`python -m benchmarks` runs all scenarios, `--only NAME` one of them; RESULTS.md is made of what is kept of each."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from benchmarks import figures
from benchmarks.comparison import ROUNDS, contest
from benchmarks.journal import journalled
from benchmarks.rendering import rendering
from benchmarks.report import RESULTS, machine, report
from benchmarks.scale import limited, scale
from benchmarks.startup import startup
from benchmarks.world import Size

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

SCENARIOS: Mapping[str, Callable[[argparse.Namespace], Any]] = {
    "startup": lambda _: startup(),
    "rendering": lambda _: rendering(),
    "plan": lambda given: contest(Size(given.incidents, given.services), given.rounds),
    "scale": lambda _: scale(),
    "limited": lambda _: limited(),
    "journal": lambda _: journalled(),
}
"""What is measured, by name; `figures.KINDS` says what comes of each."""


def main() -> None:
    """Measure, keep the figures, write them down."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", choices=SCENARIOS, help="measure this one, and keep the figures of the others")
    parser.add_argument("--incidents", type=int, default=Size().incidents, help="of `plan`")
    parser.add_argument("--services", type=int, default=Size().services, help="of `plan`")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="of `plan`")
    given = parser.parse_args()
    for name in [given.only] if given.only else SCENARIOS:
        where = machine()
        figures.keep(name, where, SCENARIOS[name](given))
    RESULTS.write_text(report(figures.kept()), encoding="utf-8")


if __name__ == "__main__":
    main()
