"""jq expressions as text: tokens, what they read, what they give; nothing is compiled or run here.

Tokens serve lint rules only, so what is unusual may be told wrongly; whether an expression is jq at all is said by
jq itself (`pdsync.catalog.jqcheck`).
"""

from __future__ import annotations

import itertools
import json
import re
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pdsync.model import Json

TokenKind = Literal["string", "field", "name", "key", "variable", "number", "format", "sign"]


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of jq: `text` as written (a field without its dot, a string without quotes), where, how deep.

    A `key` is a bare name in the place of an object's key; `depth` counts open brackets and `if`s.
    """

    kind: TokenKind
    text: str
    start: int
    depth: int

    @property
    def end(self) -> int:
        """Where it ends in the expression, dot or quotes included."""
        return self.start + len(self.text) + {"field": 1, "string": 2}.get(self.kind, 0)


_LEX = re.compile(
    r"""(?P<blank>\s+|\#[^\n]*)
    |(?P<field>\.[A-Za-z_]\w*)
    |(?P<variable>\$(?:__loc__|[A-Za-z_]\w*(?:::\w+)*))
    |(?P<format>@[A-Za-z0-9]+)
    |(?P<name>[A-Za-z_]\w*(?:::\w+)*)
    |(?P<number>\d+(?:\.\d*)?(?:[eE][-+]?\d+)?|\.\d+)
    |(?P<quote>")
    |(?P<sign>\?//=?|//=?|\|=|[-+*/%]=|==|!=|<=|>=|\.\.|.)""",
    re.VERBOSE | re.DOTALL | re.ASCII,
)
_STRING_PART = re.compile(r'(?:[^"\\]|\\[^(])*', re.DOTALL)
_CLOSES = MappingProxyType({")": "(", "]": "[", "}": "{", "end": "if"})


def tokens(expression: str) -> list[Token]:
    """The tokens of an expression, those of string interpolations included; any text has some reading."""
    lexer = _Lexer(expression)
    while lexer.at < len(expression):
        lexer.step()
    return lexer.found


class _Lexer:
    """`open` are the brackets that enclose `at`; `strings` how many were open where an interpolation began."""

    def __init__(self, expression: str) -> None:
        self.text = expression
        self.at = 0
        self.open: list[str] = []
        self.strings: list[int] = []
        self.found: list[Token] = []

    def step(self) -> None:
        match = _LEX.match(self.text, self.at)
        if match is None:
            self.at += 1
            return
        kind, text, start = match.lastgroup, match[0], self.at
        self.at = match.end()
        if kind == "quote":
            self._string(start)
        elif text in _CLOSES and kind in {"sign", "name"}:
            self._close(text, start)
        elif kind != "blank":
            self._open_or_add(kind or "sign", text, start)

    def _close(self, text: str, start: int) -> None:
        if self.open and self.open[-1] == _CLOSES[text]:
            self.open.pop()
        self._add("name" if text == "end" else "sign", text, start)
        if text == ")" and self.strings and self.strings[-1] == len(self.open):
            self.strings.pop()
            self._string(start)

    def _open_or_add(self, kind: str, text: str, start: int) -> None:
        if kind == "name" and self._is_key():
            kind = "key"
        self._add(kind, text.removeprefix(".") if kind == "field" else text, start)
        if (kind == "sign" and text in "([{") or (kind == "name" and text == "if"):
            self.open.append(text)

    def _is_key(self) -> bool:
        before = self.found[-1] if self.found else None
        return bool(self.open) and self.open[-1] == "{" and before is not None and before.text in {"{", ","}

    def _add(self, kind: str, text: str, start: int) -> None:
        self.found.append(Token(kind, text, start, len(self.open)))  # type: ignore[arg-type]

    def _string(self, start: int) -> None:
        """From inside a string to its end, or into an interpolation."""
        part = _STRING_PART.match(self.text, self.at)
        self.at = part.end() if part else self.at
        self._add("string", part[0] if part else "", start)
        if self.text.startswith("\\(", self.at):
            self.strings.append(len(self.open))
            self._add("sign", "(", self.at + 1)
            self.open.append("(")
            self.at += 2
        else:
            self.at += 1


# --- what an expression reads ----------------------------------------------------------------------------------

CLOSED: Mapping[str, str] = MappingProxyType(
    {
        "env": "the environment holds secrets",
        "$ENV": "the environment holds secrets",
        "now": "the result would differ on every run",
        "localtime": "the result would depend on the machine; use gmtime",
        "strflocaltime": "the result would depend on the machine; use strftime",
        "input": "there is one record and no more input",
        "inputs": "there is one record and no more input",
        "debug": "nothing may be printed",
        "stderr": "nothing may be printed",
        "input_filename": "there is no file",
        "input_line_number": "there is no file",
        "halt": "it would end the mapping of everything else",
        "halt_error": "it would end the mapping of everything else",
        "get_search_list": "modules are closed",
        "get_jq_origin": "there is no program file",
        "get_prog_origin": "there is no program file",
        "$__loc__": "the place in the file is not part of the record",
        "modulemeta": "modules are closed",
        "import": "modules are closed",
        "include": "modules are closed",
    }
)
"""Names that jq has and a mapping may not use, and why."""


def closed_names(found: Sequence[Token]) -> Iterator[Token]:
    """Uses of what is closed to mappings; a function that the expression defines itself is its own."""
    own = {after.text for before, after in itertools.pairwise(found) if before.text == "def"}
    for token in found:
        if token.kind in {"name", "variable"} and token.text in CLOSED and token.text not in own:
            yield token


def enrichments_read(found: Sequence[Token]) -> Iterator[Token]:
    """Fields that begin with two underscores: what is fetched besides the record itself."""
    for token in found:
        if token.kind in {"field", "string", "key"} and re.fullmatch(r"__[a-z_]+", token.text):
            yield token


def fields_read(found: Sequence[Token]) -> set[str]:
    """Every field name that occurs, as `.name`, `."name"` or `["name"]`."""
    return {token.text for token in found if token.kind in {"field", "string", "key"}}


def chains(found: Sequence[Token]) -> Iterator[list[tuple[str, Token]]]:
    """Fields that follow each other (`.a[].b?.c`), each with its name, `a[]` where a step to items follows."""
    chain: list[tuple[str, Token]] = []
    for token in found:
        if token.kind == "field":
            chain.append((token.text, token))
        elif chain and token.text == "]":
            chain[-1] = (f"{chain[-1][1].text}[]", chain[-1][1])
        elif not (chain and (token.text in {"[", "?"} or token.kind == "number")):
            if chain:
                yield chain
            chain = []
    if chain:
        yield chain


def properties_read(found: Sequence[Token]) -> Iterator[Token]:
    """In an expression over a Port entity: the names that follow `.properties`."""
    for place, token in enumerate(found):
        if token.kind == "field" and token.text == "properties":
            after = [part for part in found[place + 1 : place + 4] if part.text not in {".", "["}]
            if after and after[0].kind in {"field", "string"}:
                yield after[0]


# --- what an expression gives ----------------------------------------------------------------------------------

_NOT_JSON = object()


def constant(expression: str) -> tuple[bool, Json]:
    """Whether the expression is a JSON literal, and which: true and its value, or false and None."""
    try:
        value = json.loads(expression, parse_constant=lambda _: _NOT_JSON)
    except (ValueError, RecursionError):
        return False, None
    return (False, None) if value is _NOT_JSON else (True, value)


Shape = Literal["string", "number", "boolean", "object", "array", "objects"]
"""A JSON type, `objects` being an array of objects."""

_FIELD_SHAPES: Mapping[str, Shape] = MappingProxyType(
    {
        **dict.fromkeys(
            (
                "id", "summary", "self", "html_url", "name", "email", "time_zone", "role", "job_title", "status",
                "urgency", "title", "incident_key", "created_at", "updated_at", "resolved_at", "description", "start",
                "end", "last_status_change_at", "avatar_url", "color", "assigned_via",
            ),
            "string",
        ),
        **dict.fromkeys(("escalation_level", "incident_number", "num_loops", "alert_counts_total"), "number"),
        **dict.fromkeys(
            (
                "teams", "contact_methods", "notification_rules", "escalation_rules", "integrations", "addons",
                "users", "assignments", "acknowledgements", "assignees", "escalation_policies", "schedules",
                "schedule_layers", "pending_actions", "__oncall_user", "__oncall_users", "__custom_fields",
            ),
            "objects",
        ),
        **dict.fromkeys(
            (
                "escalation_policy", "service", "user", "schedule", "priority", "assignee", "__analytics",
                "first_trigger_log_entry", "incident_urgency_rule", "final_schedule", "agent",
            ),
            "object",
        ),
    }
)  # fmt: skip
"""What PagerDuty's fields hold wherever they occur (REST API reference)."""

_CALL_SHAPES: Mapping[str, Shape] = MappingProxyType(
    {
        **dict.fromkeys(("map", "sort", "sort_by", "unique", "unique_by", "keys", "group_by", "to_entries"), "array"),
        **dict.fromkeys(("split", "flatten", "explode"), "array"),
        **dict.fromkeys(("length", "tonumber", "floor", "ceil", "round", "fromdateiso8601", "mktime"), "number"),
        **dict.fromkeys(("tostring", "tojson", "join", "ascii_downcase", "ascii_upcase", "gsub", "sub"), "string"),
        **dict.fromkeys(("todate", "todateiso8601", "strftime", "type"), "string"),
        **dict.fromkeys(("not", "any", "all", "has", "test", "startswith", "endswith", "contains"), "boolean"),
        "from_entries": "object",
    }
)
_COMPARISONS = frozenset({"==", "!=", "<", "<=", ">", ">=", "and", "or"})


def shape(found: Sequence[Token]) -> Shape | None:
    """The JSON type that an expression evidently gives (null aside), None when that cannot be told."""
    if any(token.text in {"def", "reduce", "foreach", "label"} for token in found if token.kind == "name"):
        return None
    last = _last_stage(found)
    outer = [token for token in last if token.depth == 0]
    if not outer:
        return None
    if any(token.kind in {"sign", "name"} and token.text in _COMPARISONS for token in outer):
        return "boolean"
    return _literal_shape(outer) or _path_shape(outer) or _call_shape(outer)


def _last_stage(found: Sequence[Token]) -> Sequence[Token]:
    for place in range(len(found) - 1, -1, -1):
        token = found[place]
        if token.depth == 0 and token.kind == "sign" and token.text == "|":
            return found[place + 1 :]
        if token.depth == 0 and token.kind == "sign" and token.text == ",":
            return ()
    return found


def _literal_shape(outer: Sequence[Token]) -> Shape | None:
    signs = [token.text for token in outer if token.kind == "sign"]
    if outer[0].kind == "string" and all(token.kind == "string" or token.text in {"(", ")"} for token in outer):
        return "string"
    if signs == ["[", "]"] and outer[0].text == "[" and outer[-1].text == "]":
        return "array"
    if signs == ["{", "}"] and outer[0].text == "{" and outer[-1].text == "}":
        return "object"
    return None


def _path_shape(outer: Sequence[Token]) -> Shape | None:
    """A plain path is known by its last field; an index or an iteration after it is not."""
    starts = outer[0].kind == "field" or outer[0].text == "."
    if not starts or any(token.kind not in {"field", "sign"} for token in outer):
        return None
    if any(token.text not in {".", "[", "]", "?"} for token in outer if token.kind == "sign"):
        return None
    tail = [token for token in outer if token.text != "?"][-1]
    if tail.kind != "field":
        return None
    if tail.text.startswith(("mean_", "total_")):
        return "number"
    return _FIELD_SHAPES.get(tail.text)


def _call_shape(outer: Sequence[Token]) -> Shape | None:
    names = [token for token in outer if token.kind == "name"]
    others = [token for token in outer if token.kind != "name" and token.text not in {"(", ")"}]
    return _CALL_SHAPES.get(names[0].text) if len(names) == 1 and not others and outer[0] is names[0] else None
