"""Lines for the runner's log: commands that it obeys, and text that it must not obey.

The runner reads `::command::` at the start of a line, spaces aside, and the older `##[command]` anywhere in one, on
both streams (actions/runner, ActionCommand).  So data only goes out escaped inside a command, or between
`::stop-commands::` and its token, with both forms broken besides.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pdsync.errors import Severity
from pdsync.render.escape import visible

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from pdsync.errors import Diagnostic

COMMANDS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.NOTE: "notice"}
PER_LEVEL = 10
"""Annotations of one level that GitHub shows for one step; a composite action is one step."""

KEPT_FOR_REPORT = 2
"""Of these, left for what the report step may have to say."""

LONGEST_MESSAGE = 4_000
"""Characters of a message; the runner cuts at 4,096."""


def command(name: str, message: str, properties: Mapping[str, str | int] | None = None) -> str:
    """A workflow command, escaped as the runner unescapes it."""
    known = {key: str(value) for key, value in (properties or {}).items() if value not in ("", 0)}
    listed = ",".join(f"{key}={_escape_property(value)}" for key, value in known.items())
    return f"::{name}{' ' if listed else ''}{listed}::{_escape(message)}"


def mask(value: str) -> list[str]:
    """Commands that hide `value` in the log: the whole and, when it has several, each of its lines."""
    lines = dict.fromkeys([value, *value.splitlines()])
    return [command("add-mask", line) for line in lines if len(line.strip()) >= SHORTEST_MASK]


SHORTEST_MASK = 6


def safe(line: str) -> str:
    """`line` with everything broken that the runner might take for a command."""
    return re.sub(r"^(\s*):(?=:)", r"\1: ", line.replace("##[", "# #["))


def harmless(text: str, form: str = "text") -> str:
    """A document in one of the formats, no line of it a command to the runner.

    JSON stays the same JSON, and Markdown what it is made of; of what it quotes, a character is shown as an escape.  A
    page and workflow commands are made so from the start.
    """
    return _HARMLESS[form](text)


def _safe_lines(text: str) -> str:
    return "\n".join(map(safe, text.split("\n")))


def _same_json(text: str) -> str:
    """In JSON a `#` stands in strings alone, and no line begins inside of one."""
    return text.replace("##[", "#\\u0023[")


def _same_markdown(text: str) -> str:
    """In code, where all data is, nothing can be written otherwise: so it is shown as what cannot be seen is."""
    return re.sub(r"^(\s*):(?=:)", r"\1\\x3a", text.replace("##[", "##\\x5b"), flags=re.MULTILINE)


_HARMLESS: dict[str, Callable[[str], str]] = {
    "text": _safe_lines,
    "json": _same_json,
    "sarif": _same_json,
    "markdown": _same_markdown,
    "html": str,
    "github": str,
}


def guarded(text: str, token: str) -> list[str]:
    """The lines of `text` for people, with commands switched off meanwhile; `token` is random and used once."""
    lines = [safe(line) for line in re.split(r"\r\n|[\r\n\v\f\x1c-\x1e\x85\u2028\u2029]", text)]
    return [f"::stop-commands::{token}", *lines, f"::{token}::"]


def annotation(diagnostic: Diagnostic, folder: str) -> str:
    """One diagnostic as an annotation; `folder` is where its file lies, relative to the workspace."""
    parts = [diagnostic.summary, diagnostic.detail, diagnostic.hint and f"Fix: {diagnostic.hint}"]
    message = "\n".join(visible(line) for part in filter(None, parts) for line in part.split("\n"))
    return command(
        COMMANDS[diagnostic.severity],
        message if len(message) <= LONGEST_MESSAGE else f"{message[: LONGEST_MESSAGE - 1]}…",
        {**_place(diagnostic, folder), "title": f"pdsync {diagnostic.code}"},
    )


def annotation_lines(diagnostics: Sequence[Diagnostic], folder: str) -> list[str]:
    """The annotations that GitHub will show, worst first; what is too many for a level is counted in its last."""
    room = PER_LEVEL - KEPT_FOR_REPORT
    return [line for severity in COMMANDS for line in _level(diagnostics, severity, folder, room)]


def _level(diagnostics: Iterable[Diagnostic], severity: Severity, folder: str, room: int) -> list[str]:
    found = [diagnostic for diagnostic in diagnostics if diagnostic.severity is severity]
    if len(found) <= room:
        return [annotation(diagnostic, folder) for diagnostic in found]
    rest = len(found) - (room - 1)
    shown = [annotation(diagnostic, folder) for diagnostic in found[: room - 1]]
    return [*shown, command(COMMANDS[severity], f"and {rest} more, see the job summary", {"title": "pdsync"})]


def _place(diagnostic: Diagnostic, folder: str) -> dict[str, str | int]:
    origin = diagnostic.origin
    if origin is None:
        return {}
    path = "/".join(part for part in f"{folder}/{origin.file}".replace("\\", "/").split("/") if part not in {"", "."})
    end = origin.column + max(origin.length, 1) - 1
    return {"file": path, "line": origin.line, "endLine": origin.line, "col": origin.column, "endColumn": end}


def _escape(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _escape_property(text: str) -> str:
    return _escape(text).replace(":", "%3A").replace(",", "%2C")
