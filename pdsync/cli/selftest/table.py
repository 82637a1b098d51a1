"""What `pdsync selftest --faults` prints: a row for each fault, and below it every point that did not hold."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pdsync.cli.selftest.matrix import ENDS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pdsync.cli.selftest.matrix import Row, Trial

HEAD = ("fault", "what goes wrong", "points", "how it ended", "duplicates", "sent again", "failed")


def cells(row: Row) -> tuple[str, ...]:
    """A row of the table."""
    ended = ", ".join(f"{row.ends[end]} {end}" for end in ENDS if row.ends[end])
    numbers = (row.duplicates, row.again, len(row.failed))
    return (row.fault.name, row.fault.says, str(row.points), ended or "-", *map(str, numbers))


def text(rows: Sequence[Row]) -> str:
    """The table for a terminal."""
    lines = [HEAD, *map(cells, rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEAD))]
    return "".join("  ".join(map(str.ljust, line, widths)).rstrip() + "\n" for line in lines)


def markdown(rows: Sequence[Row]) -> str:
    """The table for docs/selftest.md."""
    lines = [HEAD, ("---",) * len(HEAD), *((f"`{name}`", *rest) for name, *rest in map(cells, rows))]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def verdict(rows: Sequence[Row]) -> str:
    """The last line: what was tried and what it came to."""
    points, failed = (sum(found) for found in ([row.points for row in rows], [len(row.failed) for row in rows]))
    if not points:
        return "Nothing was tried: no run comes to these points."
    if failed:
        return f"{failed} of {points} points failed."
    return f"All {points} points held: same Port, same ledger, nothing done twice, nothing foreign touched."


def failure(trial: Trial, *, everything: bool) -> str:
    """A point that did not hold: what was wrong, and how to see it again; with `everything` all that was printed."""
    name = trial.fault.name
    lines = [f"failed: {name} at point {trial.point}, {trial.name or 'before its end'}"]
    lines += [f"  {line}" for problem in trial.problems for line in problem.splitlines()]
    lines += [f"  again: pdsync --verbose selftest --faults --only {name} --points {trial.point}"]
    lines += [line for ran in trial.said for line in ran.shown().splitlines()] if everything else []
    return "\n".join(lines) + "\n"
