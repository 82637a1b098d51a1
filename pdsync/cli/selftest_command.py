"""selftest: whether pdsync works on this machine, and whether it can lose anything."""

from __future__ import annotations

import itertools
import os
import re
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

from pdsync.cli.progress import Progress
from pdsync.cli.selftest.faults import FAULTS
from pdsync.cli.selftest.processes import Hangs
from pdsync.cli.selftest.stage import Unfit

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pdsync.cli import Options
    from pdsync.cli.selftest.matrix import Row, Trial


class Wanted(NamedTuple):
    """Which part of the matrix is asked for, and how it is shown."""

    only: tuple[str, ...]
    points: tuple[int, int | None]
    lanes: int | None
    form: str


def _points(_context: click.Context, _param: click.Parameter, value: str | None) -> tuple[int, int | None]:
    """`17` or `3-9` as the first and the last point; all when nothing is given."""
    found = re.fullmatch(r"([1-9][0-9]*)(?:-([1-9][0-9]*))?", value) if value else None
    if value and not found:
        raise click.BadParameter("write a number, or two as in 3-9")
    if not found:
        return 1, None
    return int(found[1]), int(found[2] or found[1])


@click.command()
@click.option("--faults", is_flag=True, help="Break an apply at every point, and go on: some minutes.")
@click.option(
    "--only", multiple=True, type=click.Choice(list(FAULTS)), help="With --faults: only this one (repeatable)."
)
@click.option("--points", callback=_points, metavar="N[-M]", help="With --faults: only these points.")
@click.option("--lanes", type=click.IntRange(1, 32), help="With --faults: so many at once [default: two per core].")
@click.option("--format", "form", type=click.Choice(["text", "markdown"]), default="text", show_default=True)
@click.pass_obj
def selftest(
    options: Options,
    *,
    faults: bool,
    only: tuple[str, ...],
    points: tuple[int, int | None],
    lanes: int | None,
    form: str,
) -> int:
    """Run real commands against the sandbox: a whole cycle, or with --faults one that is broken again and again.

    Needs no account and touches nothing but a temporary folder.  With --faults a real apply is killed at every request
    and at every operation on a file, loses answers, meets full disks and more; then `resume` must come to the very same
    end, with nothing done twice.
    """
    if not faults and (only or points != (1, None) or lanes):
        raise click.UsageError("--only, --points and --lanes go with --faults.")
    with _temporary() as folder:
        try:
            return _broken(options, folder, Wanted(only, points, lanes, form)) if faults else _whole(folder)
        except (Unfit, Hangs) as problem:
            click.echo(f"failed: {problem}", err=True)
            return 1


@contextmanager
def _temporary() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="pdsync-selftest-", ignore_cleanup_errors=True) as name:
        yield Path(name).resolve()


def _whole(folder: Path) -> int:
    from pdsync.cli.selftest.quick import cycle

    cycle(folder, click.echo)
    click.echo("pdsync works here.")
    return 0


def _broken(options: Options, folder: Path, wanted: Wanted) -> int:
    from pdsync.cli.selftest import table
    from pdsync.cli.selftest.matrix import matrix

    progress = Progress(sys.stderr, enabled=not options.quiet, bars=sys.stderr.isatty())
    rows: list[Row] = []
    with progress, matrix(folder, wanted.lanes or 2 * (os.cpu_count() or 1)) as whole:
        for fault in (FAULTS[name] for name in wanted.only or FAULTS):
            done = itertools.count(1)
            progress(fault.name, 0, None)

            def tell(trial: Trial, name: str = fault.name, done: Iterable[int] = done) -> None:
                progress(name, next(iter(done)), None)
                if trial.problems:
                    progress.note(f"failed: {name} at point {trial.point}")

            rows.append(whole.run(fault, _numbers(*wanted.points), tell))
            progress(fault.name, rows[-1].points, rows[-1].points)
    click.echo(table.markdown(rows) if wanted.form == "markdown" else table.text(rows), nl=False)
    failed = [trial for row in rows for trial in row.failed]
    for trial in failed:
        click.echo(table.failure(trial, everything=options.verbose), err=True, nl=False)
    click.echo(table.verdict(rows), err=wanted.form == "markdown")
    return 1 if failed or not any(row.points for row in rows) else 0


def _numbers(first: int, last: int | None) -> Iterable[int]:
    return itertools.count(first) if last is None else range(first, last + 1)
