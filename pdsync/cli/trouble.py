"""From an exception to words and an exit code."""

from __future__ import annotations

import os
import sys
import traceback
from typing import TYPE_CHECKING

import click

from pdsync.errors import PdsyncError, error
from pdsync.render.diagnostics import render_diagnostics

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pdsync.errors import Diagnostic


def report(problem: BaseException, argv: list[str]) -> int:
    """Print what happened to stderr; returns the exit code."""
    verbose = any(arg in ("-v", "--verbose") for arg in argv)
    if verbose:
        click.echo("".join(traceback.format_exception(problem)), err=True)
    known = list(_known(problem))
    if not known:
        click.echo(render_diagnostics([_internal(problem)], "text", color=color_wanted("auto", sys.stderr)), err=True)
        return 1
    diagnostics = [d for e in known for d in e.diagnostics]
    unique = list(dict.fromkeys(diagnostics))
    click.echo(render_diagnostics(unique, "text", color=color_wanted("auto", sys.stderr)), err=True, nl=False)
    return max(e.exit_code for e in known)


def _known(problem: BaseException) -> Iterator[PdsyncError]:
    """The errors of ours in a problem or a group of problems; nothing when one is not ours."""
    if isinstance(problem, PdsyncError):
        yield problem
    elif isinstance(problem, BaseExceptionGroup):
        for part in problem.exceptions:
            yield from _known(part)


def _internal(problem: BaseException) -> Diagnostic:
    where = traceback.extract_tb(problem.__traceback__)[-1:] if problem.__traceback__ else []
    place = f" in {where[0].name}" if where else ""
    hint = "run again with --verbose and report what it prints; nothing that was applied is lost"
    return error("PD900", "pdsync met something it does not know", detail=f"{type(problem).__name__}{place}", hint=hint)


def color_wanted(choice: str, stream: object) -> bool:
    """Whether to colour a stream: as asked, else on a terminal and in GitHub's log unless NO_COLOR is set."""
    if choice != "auto":
        return choice == "always"
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    isatty = getattr(stream, "isatty", lambda: False)
    return bool(isatty()) or os.environ.get("GITHUB_ACTIONS") == "true"
