"""From an exception to words and an exit code."""

from __future__ import annotations

import errno
import os
import sys
import traceback
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pdsync.errors import error, first, known
from pdsync.render.diagnostics import render_diagnostics
from pdsync.render.escape import visible_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pdsync.errors import Diagnostic


_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}


def report(problem: BaseException, argv: list[str]) -> int:
    """Print what happened to stderr; returns the exit code."""
    verbose = any(arg in ("-v", "--verbose") for arg in argv)
    if verbose:
        click.echo(printable("".join(traceback.format_exception(problem)), os.environ), err=True)
    ours = list(known(problem))
    diagnostics = [d for e in ours for d in e.diagnostics] or [_unknown(first(problem))]
    unique = list(dict.fromkeys(diagnostics))
    color = color_wanted(_given("--color", argv) or "auto", sys.stderr)
    told = printable(render_diagnostics(unique, "text", color=color), os.environ)
    click.echo(told, err=True, nl=False, color=color)
    if events := _given("--json-into", argv):
        _into(Path(events), unique)
    return max((e.exit_code for e in ours), default=1)


def _given(option: str, argv: list[str]) -> str:
    """The value of a global option, on a command line that may not have been understood; empty when not given."""
    for word, following in zip(argv, [*argv[1:], ""], strict=False):
        name, _, value = word.partition("=")
        if name == option:
            return value or following
    return ""


def _into(events: Path, diagnostics: list[Diagnostic]) -> None:
    from pdsync.cli.session import append_events, diagnostic_event

    with suppress(OSError):  # that it cannot be written is then what was just said
        append_events(events, [diagnostic_event(d) for d in diagnostics])


def _unknown(problem: BaseException) -> Diagnostic:
    if isinstance(problem, OSError) and problem.filename is not None:
        hint = "check the path, and that you may read and write there"
        return error("PD813", "a file cannot be used", detail=f"{problem.filename}: {problem.strerror}", hint=hint)
    if isinstance(problem, OSError) and problem.errno in _NO_ROOM:
        hint = "see that there is room where the output goes; nothing that was applied is lost"
        return error("PD819", "the output cannot be written", detail=str(problem.strerror), hint=hint)
    where = traceback.extract_tb(problem.__traceback__)[-1:] if problem.__traceback__ else []
    place = f" in {where[0].name}" if where else ""
    hint = "run again with --verbose and report what it prints; nothing that was applied is lost"
    return error("PD900", "pdsync met something it does not know", detail=f"{type(problem).__name__}{place}", hint=hint)


def printable(text: str, env: Mapping[str, str], form: str = "text") -> str:
    """A document of some format, with nothing in it that is obeyed where it is printed.

    JSON on a terminal is the same JSON without control characters, which no other format has.  In GitHub's log no line
    is one that the runner takes for a command.
    """
    if form in ("json", "sarif") and sys.stdout.isatty():
        text = visible_json(text)
    if env.get("GITHUB_ACTIONS") != "true":
        return text
    from pdsync.github.log import harmless

    return harmless(text, form)


def color_wanted(choice: str, stream: object) -> bool:
    """Whether to colour a stream: as asked, else on a terminal and in GitHub's log unless NO_COLOR is set."""
    if choice != "auto":
        return choice == "always"
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    isatty = getattr(stream, "isatty", lambda: False)
    return bool(isatty()) or os.environ.get("GITHUB_ACTIONS") == "true"
