"""Diagnostics as text for people, JSON, GitHub workflow commands, or SARIF 2.1.0.

What diagnostics quote comes from files and from outside: in every format it is made visible and cannot end a line,
start a command or steer a terminal.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from typing import TYPE_CHECKING, Literal

from pdsync.errors import Severity
from pdsync.render.paint import Paint

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pdsync.errors import Diagnostic, Origin
    from pdsync.model import Json

Format = Literal["text", "json", "github", "sarif"]

WIDEST = 120
"""Characters of a source line that are shown."""

_MOST_PLACES = 5
_COLOURS = {Severity.ERROR: "red", Severity.WARNING: "yellow", Severity.NOTE: "cyan"}


def render_diagnostics(diagnostics: Sequence[Diagnostic], format: Format, *, color: bool) -> str:  # noqa: A002
    """All diagnostics in the order given; text ends with a newline, no diagnostics give no text.

    `color` is for text only.
    """
    match format:
        case "json":
            return _json(diagnostics)
        case "github":
            return "".join(f"{line}\n" for line in _github(diagnostics))
        case "sarif":
            return _sarif(diagnostics)
    return _text(diagnostics, Paint(color))


_RUNNER_COMMAND = "##["
"""GitHub's runner looks for this anywhere in a line."""


def _safe(text: str) -> str:
    """One line without control characters, in which GitHub's runner sees no command either."""
    return "".join(_characters(text))


def _characters(text: str) -> list[str]:
    """Each character of `text` as it is shown."""
    from pdsync.render.escape import visible

    shown = [visible(character) for character in text] if not text.isascii() or not text.isprintable() else [*text]
    at = text.find(_RUNNER_COMMAND)
    while at >= 0:
        shown[at + 2] = "\\x5b"
        at = text.find(_RUNNER_COMMAND, at + 1)
    return shown


# --- text ------------------------------------------------------------------------------------------------------


def _text(diagnostics: Sequence[Diagnostic], paint: Paint) -> str:
    blocks = ["\n".join(_block(diagnostic, paint)) for diagnostic in diagnostics]
    if len(blocks) > 1:
        blocks.append(count_line(diagnostics))
    return "\n\n".join(blocks) + "\n" if blocks else ""


def count_line(diagnostics: Sequence[Diagnostic]) -> str:
    """How many of which severity: `2 errors, 1 warning`."""
    counts = Counter(diagnostic.severity for diagnostic in diagnostics)
    return ", ".join(f"{counts[one]} {one}{'s' if counts[one] > 1 else ''}" for one in Severity if counts[one])


def _block(diagnostic: Diagnostic, paint: Paint) -> Iterator[str]:
    colour = _COLOURS[diagnostic.severity]
    head = paint(colour, f"{diagnostic.severity}[{diagnostic.code}]")
    yield f"{head}{paint('bold', ': ' + _safe(diagnostic.summary))}"
    gutter = " "
    if diagnostic.origin is not None:
        gutter = " " * (len(str(diagnostic.origin.line)) + 1)
        yield f"{gutter[1:]}{paint('dim', '-->')} {_safe(str(diagnostic.origin))}"
        yield from _excerpt(diagnostic.origin, gutter, colour, paint)
    bar = f"{gutter}{paint('dim', '=')} "
    for line in diagnostic.detail.splitlines():
        yield f"{bar}{_safe(line)}"
    yield from (f"{bar}{line}" for line in _besides(diagnostic))
    if diagnostic.hint:
        yield f"{bar}{paint('bold', 'hint:')} {_safe(diagnostic.hint)}"


def _besides(diagnostic: Diagnostic) -> Iterator[str]:
    shown = [f"see {_safe(str(place))}" for place in diagnostic.related[:_MOST_PLACES]]
    if left := len(diagnostic.related) - len(shown):
        shown.append(f"and {left} more places")
    yield from shown
    if diagnostic.records:
        named = ", ".join(_safe(record) for record in diagnostic.records[:_MOST_PLACES])
        left = max(0, len(diagnostic.records) - _MOST_PLACES) + diagnostic.more_records
        yield f"records: {named}{f' and {left} more' if left > 0 else ''}"


def _excerpt(origin: Origin, gutter: str, colour: str, paint: Paint) -> Iterator[str]:
    if not origin.text.strip():
        return
    before, marked, after = _window(origin)
    bar = paint("dim", "|")
    yield f"{gutter}{bar}"
    yield f"{paint('dim', str(origin.line))} {bar} {before}{marked}{after}".rstrip()
    yield f"{gutter}{bar} {' ' * _columns(before)}{paint(colour, '^' * max(_columns(marked), 1))}"


def _window(origin: Origin) -> tuple[str, str, str]:
    """The line in three parts, made visible, with so much around the marked part as fits."""
    start = min(origin.column - 1, len(origin.text))
    end = min(start + max(origin.length, 1), len(origin.text))
    end = min(end, start + WIDEST)
    room = WIDEST - (end - start)
    first = max(0, start - max(room // 2, room - (len(origin.text) - end)))
    last = min(len(origin.text), end + room - (start - first))
    shown = _characters(origin.text)
    before = "".join(["…" if first else "", *shown[first:start]])
    after = "".join([*shown[end:last], "…" if last < len(origin.text) else ""])
    return before, "".join(shown[start:end]), after


def _columns(text: str) -> int:
    """How many columns of a terminal a text takes."""
    wide = sum(unicodedata.east_asian_width(char) in {"W", "F"} for char in text)
    combining = sum(unicodedata.combining(char) != 0 for char in text)
    return len(text) + wide - combining


# --- machines --------------------------------------------------------------------------------------------------


def _dumped(value: Json) -> str:
    import orjson

    return orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE).decode()


def _json(diagnostics: Sequence[Diagnostic]) -> str:
    counts = Counter(diagnostic.severity for diagnostic in diagnostics)
    return _dumped(
        {
            "format_version": "1.0",
            "diagnostics": [_json_one(diagnostic) for diagnostic in diagnostics],
            "summary": {f"{severity}s": counts[severity] for severity in Severity},
        }
    )


def _json_one(diagnostic: Diagnostic) -> dict[str, Json]:
    return {
        "severity": str(diagnostic.severity),
        "code": diagnostic.code,
        "summary": diagnostic.summary,
        "detail": diagnostic.detail,
        "origin": _json_place(diagnostic.origin) if diagnostic.origin else None,
        "hint": diagnostic.hint,
        "related": [_json_place(place) for place in diagnostic.related],
        "records": list(diagnostic.records),
        "more_records": diagnostic.more_records,
    }


def _json_place(origin: Origin) -> dict[str, Json]:
    return {"file": origin.file, "line": origin.line, "column": origin.column, "length": origin.length}


MOST_ANNOTATIONS = 10
"""Annotations of one level that GitHub shows for a step; what comes after is lost silently."""

_LONGEST_MESSAGE = 4000
_LEVELS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.NOTE: "notice"}


def _github(diagnostics: Sequence[Diagnostic]) -> Iterator[str]:
    """Workflow commands, the worst first; when there are too many, the last one says how many are left out."""
    for severity, command in _LEVELS.items():
        found = [diagnostic for diagnostic in diagnostics if diagnostic.severity == severity]
        shown = found if len(found) <= MOST_ANNOTATIONS else found[: MOST_ANNOTATIONS - 1]
        for diagnostic in shown:
            yield f"::{command} {_github_place(diagnostic)}::{_github_message(diagnostic)}"
        if len(shown) < len(found):
            left = len(found) - len(shown)
            yield f"::{command} title=pdsync::and {left} more; run pdsync validate to see all"


def _github_place(diagnostic: Diagnostic) -> str:
    title = f"title={_property(f'{diagnostic.code} {diagnostic.summary}')}"
    origin = diagnostic.origin
    if origin is None:
        return title
    return (
        f"file={_property(origin.file)},line={origin.line},endLine={origin.line},"
        f"col={origin.column},endColumn={origin.column + origin.length},{title}"
    )


def _github_message(diagnostic: Diagnostic) -> str:
    lines = [*diagnostic.detail.splitlines(), *_besides(diagnostic)]
    if diagnostic.hint:
        lines.append(f"hint: {diagnostic.hint}")
    message = "\n".join(_safe(line) for line in lines or [diagnostic.summary])
    return _data(message[:_LONGEST_MESSAGE])


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(_safe(text)).replace(":", "%3A").replace(",", "%2C")


_SARIF_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"


def _sarif(diagnostics: Sequence[Diagnostic]) -> str:
    """One run; columns count characters, paths are relative to the folder that holds the catalog."""
    summaries = {diagnostic.code: diagnostic.summary for diagnostic in diagnostics}
    codes = sorted(summaries)
    rules = [{"id": code, "shortDescription": {"text": summaries[code]}} for code in codes]
    return _dumped(
        {
            "$schema": _SARIF_SCHEMA,
            "version": "2.1.0",
            "runs": [
                {
                    "tool": {"driver": {"name": "pdsync", "rules": rules}},
                    "columnKind": "unicodeCodePoints",
                    "results": [_sarif_result(diagnostic, codes.index(diagnostic.code)) for diagnostic in diagnostics],
                }
            ],
        }
    )


def _sarif_result(diagnostic: Diagnostic, rule: int) -> dict[str, Json]:
    parts = [diagnostic.detail or diagnostic.summary, *_besides(diagnostic)]
    if diagnostic.hint:
        parts.append(f"hint: {diagnostic.hint}")
    result: dict[str, Json] = {
        "ruleId": diagnostic.code,
        "ruleIndex": rule,
        "level": str(diagnostic.severity),
        "message": {"text": "\n".join(_safe(line) for part in parts for line in part.splitlines())},
    }
    if diagnostic.origin is not None:
        result["locations"] = [_sarif_location(diagnostic.origin)]
    if diagnostic.related:
        result["relatedLocations"] = _sarif_locations(diagnostic.related)
    return result


def _sarif_locations(places: Sequence[Origin]) -> list[dict[str, Json]]:
    """Each place once, as the format wants it."""
    located = [_sarif_location(place) for place in places]
    return [place for index, place in enumerate(located) if place not in located[:index]]


def _sarif_location(origin: Origin) -> dict[str, Json]:
    from urllib.parse import quote

    region = {"startLine": origin.line, "startColumn": origin.column, "endColumn": origin.column + origin.length}
    return {"physicalLocation": {"artifactLocation": {"uri": quote(origin.file)}, "region": region}}
