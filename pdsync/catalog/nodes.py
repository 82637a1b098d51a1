"""Catalog files as trees that remember where every key and value stands.

YAML 1.2 (core schema) is read from ruamel's parser events, JSON by its own strict rules; both give the same tree.
What JSON cannot say - tags, infinities, maps as keys - is an error here, so everything behind sees plain JSON.
"""

from __future__ import annotations

import json
import math
import re
from bisect import bisect_right
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

from pdsync.catalog.rules import found
from pdsync.errors import Origin
from pdsync.model import Json

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pdsync.errors import Diagnostic

Style = Literal["plain", "single", "double", "literal", "folded"]
Path = tuple[str | int, ...]

DEEPEST = 100
"""Levels of nesting that are read; no catalog needs more, and recursion stays bounded."""


@dataclass(frozen=True, slots=True)
class Source:
    """A file's text; `name` is the path that origins show, `starts` the offset of each line."""

    name: str
    text: str
    starts: tuple[int, ...]

    def origin(self, start: int, end: int) -> Origin:
        """The span as an Origin; what runs over the end of the line is cut there."""
        row = bisect_right(self.starts, start) - 1
        line = self._line(row)
        column = start - self.starts[row]
        length = min(end, self.starts[row] + len(line)) - start
        return Origin(self.name, row + 1, column + 1, max(length, 1), line)

    def _line(self, row: int) -> str:
        end = self.starts[row + 1] if row + 1 < len(self.starts) else len(self.text)
        return self.text[self.starts[row] : end].rstrip("\r\n")


def source(name: str, text: str) -> Source:
    """A file's text with its lines found."""
    return Source(name, text, (0, *(match.end() for match in re.finditer(r"\r\n|\r|\n", text))))


@dataclass(frozen=True, slots=True)
class Scalar:
    """A single value; `raw` is the text that was resolved to it (quotes and folding undone)."""

    value: Json
    raw: str
    style: Style
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Sequence:
    """A list."""

    items: tuple[Node, ...]
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Entry:
    """A key of a map and its value."""

    key: Scalar
    value: Node


@dataclass(frozen=True, slots=True)
class Map:
    """Keys and values, each key once."""

    entries: dict[str, Entry]
    start: int
    end: int

    def get(self, key: str) -> Node | None:
        """The value of a key."""
        entry = self.entries.get(key)
        return entry.value if entry else None


Node = Scalar | Sequence | Map


@dataclass(frozen=True, slots=True)
class Document:
    """One document of a file."""

    source: Source
    root: Node

    def key(self, path: Path) -> Origin:
        """Where the key or list element that `path` leads to stands; the nearest one there is."""
        return self._place(path, want_key=True)

    def value(self, path: Path) -> Origin:
        """Where the value that `path` leads to stands; the nearest one there is."""
        return self._place(path, want_key=False)

    def _place(self, path: Path, *, want_key: bool) -> Origin:
        node, key = self.root, None
        for step in path:
            if isinstance(node, Map) and step in node.entries:
                entry = node.entries[str(step)]
                node, key = entry.value, entry.key
            elif isinstance(node, Sequence) and isinstance(step, int) and step < len(node.items):
                node, key = node.items[step], None
        absent = isinstance(node, Scalar) and node.start == node.end
        return self.at(key if key and (want_key or absent) else node)

    def at(self, node: Node) -> Origin:
        """Where a node stands: a map by its first key, a block of text by its first line."""
        if isinstance(node, Map) and node.entries and self.source.text[node.start] != "{":
            node = next(iter(node.entries.values())).key
        if isinstance(node, Scalar) and node.raw and node.style in {"literal", "folded"}:
            first = next((index for index, char in enumerate(node.raw) if not char.isspace()), 0)
            return self.source.origin(offset_of(self.source.text, node, first), node.end)
        return self.source.origin(node.start, node.end)


def find(node: Node | None, *path: str | int) -> Node | None:
    """The node that `path` leads to, None when there is none."""
    for step in path:
        if isinstance(node, Map):
            node = node.get(str(step))
        elif isinstance(node, Sequence) and isinstance(step, int) and step < len(node.items):
            node = node.items[step]
        else:
            return None
    return node


def plain(node: Node) -> Json:
    """The node as plain JSON."""
    match node:
        case Scalar():
            return node.value
        case Sequence():
            return [plain(item) for item in node.items]
        case Map():
            return {key: plain(entry.value) for key, entry in node.entries.items()}


# --- text ------------------------------------------------------------------------------------------------------

_UNSHOWABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ufffe\uffff]")


def read_text(name: str, data: bytes) -> tuple[Source, list[Diagnostic]]:
    """The file's text (a leading byte order mark is dropped), and whether it is text at all."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        read = source(name, data[: problem.start].decode("utf-8-sig", "replace"))
        place = read.origin(len(read.text), len(read.text) + 1)
        detail = f"byte 0x{data[problem.start]:02x} at offset {problem.start} is not UTF-8"
        return read, [found("PD107", place, detail, "save the file as UTF-8")]
    read = source(name, text)
    if bad := _UNSHOWABLE.search(text):
        detail = f"control character U+{ord(bad[0]):04X}"
        return read, [found("PD107", read.origin(bad.start(), bad.end()), detail, "remove the character")]
    return read, []


@lru_cache(maxsize=256)
def read_documents(name: str, data: bytes) -> tuple[tuple[Document, ...], tuple[Diagnostic, ...]]:
    """Every document of a file, and every problem of its form; with a syntax error there are no documents.

    Parsing YAML takes longer than all else about a catalog, and most files of the catalog of another commit, of the
    base or of the last apply, are the same.
    """
    read, problems = read_text(name, data)
    if problems:
        return (), tuple(problems)
    roots, problems = _read_json(read) if name.lower().endswith(".json") else _read_yaml(read)
    return tuple(Document(read, root) for root in roots), tuple(problems)


# --- YAML ------------------------------------------------------------------------------------------------------

_STYLES: dict[str | None, Style] = {None: "plain", "'": "single", '"': "double", "|": "literal", ">": "folded"}
_WORDS: dict[str, Json] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_INTEGER = re.compile(r"[-+]?[0-9]{1,400}")
_RADIX = re.compile(r"0o([0-7]{1,400})|0x([0-9a-fA-F]{1,400})")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_SPECIAL = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_DATE = re.compile(
    r"\d{4}-\d\d?-\d\d?((?:[Tt]|\s+)\d\d?:\d\d:\d\d(\.\d*)?(\s*(Z|[-+]\d\d?(:?\d\d)?))?)?",
)
_TAG = "tag:yaml.org,2002:"
_TAGS = frozenset(_TAG + name for name in ("str", "int", "float", "bool", "null", "map", "seq"))
_SURROGATE = re.compile("[\ud800-\udfff]")
_LAST_OF_FIRST_PLANE = 0xFFFF
_PROPERTIES = re.compile(r"(?:[!&]\S*\s+)*")


def _read_yaml(read: Source) -> tuple[list[Node], list[Diagnostic]]:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    composer = _Composer(read)
    try:
        return list(composer.documents(YAML(typ="safe", pure=True).parse(read.text))), composer.problems
    except _TooDeepError as stop:
        return [], [found("PD106", read.origin(stop.start, stop.start + 1), f"nested more than {DEEPEST} levels deep")]
    except MarkedYAMLError as problem:
        return [], [_syntax_error(read, problem)]
    except YAMLError as problem:
        return [], [found("PD101", read.origin(0, 1), " ".join(str(problem).split())[:200])]


def _syntax_error(read: Source, problem: object) -> Diagnostic:
    mark = getattr(problem, "problem_mark", None) or getattr(problem, "context_mark", None)
    index = min(mark.index if mark else 0, max(len(read.text.rstrip()) - 1, 0))
    said = getattr(problem, "problem", None) or "cannot be parsed"
    context = getattr(problem, "context", None)
    detail = f"{context}: {said}" if context else str(said)
    return found("PD101", read.origin(index, index + 1), detail, _syntax_hint(read, index, said))


def _syntax_hint(read: Source, index: int, said: str) -> str:
    if read.text[index : index + 1] == "\t":
        return "indent with spaces; YAML does not allow tabs there"
    if "mapping values are not allowed" in said:
        return "quote a value that contains a colon followed by a space"
    if "cannot start any token" in said:
        return "quote the value"
    return ""


class _TooDeepError(Exception):
    def __init__(self, start: int) -> None:
        super().__init__(start)
        self.start = start


class _Composer:
    """Builds nodes from parser events; problems that leave the rest readable are collected."""

    def __init__(self, read: Source) -> None:
        self.read = read
        self.problems: list[Diagnostic] = []

    def documents(self, events: Iterator[object]) -> Iterator[Node]:
        from ruamel.yaml.events import DocumentStartEvent

        for event in events:
            if isinstance(event, DocumentStartEvent):
                yield self._node(next(events), events, 0)

    def _node(self, event: object, events: Iterator[object], depth: int) -> Node:
        from ruamel.yaml.events import AliasEvent, MappingStartEvent, ScalarEvent, SequenceStartEvent

        start = event.start_mark.index  # type: ignore[attr-defined]
        if depth > DEEPEST:
            raise _TooDeepError(start)
        if isinstance(event, ScalarEvent):
            return self._scalar(event)
        if isinstance(event, AliasEvent):
            self._report("PD104", start, event.end_mark.index, "", "write the value out")
            return Scalar(None, "", "plain", start, event.end_mark.index)
        self._check_tag(event)
        if isinstance(event, SequenceStartEvent):
            return self._sequence(start, events, depth)
        assert isinstance(event, MappingStartEvent)
        return self._map(start, events, depth)

    def _sequence(self, start: int, events: Iterator[object], depth: int) -> Sequence:
        from ruamel.yaml.events import SequenceEndEvent

        items: list[Node] = []
        for event in events:
            if isinstance(event, SequenceEndEvent):
                return Sequence(tuple(items), start, event.end_mark.index)
            items.append(self._node(event, events, depth + 1))
        raise AssertionError("the parser closes what it opens")

    def _map(self, start: int, events: Iterator[object], depth: int) -> Map:
        from ruamel.yaml.events import AliasEvent, MappingEndEvent

        entries: dict[str, Entry] = {}
        for event in events:
            if isinstance(event, MappingEndEvent):
                return Map(entries, start, event.end_mark.index)
            key = self._key(event, events, depth)
            value_event = next(events)
            value = self._node(value_event, events, depth + 1)
            merges = key is not None and key.raw == "<<" and isinstance(value_event, AliasEvent)
            if key is not None and not merges:
                _add(self.read, entries, Entry(key, value), self.problems)
        raise AssertionError("the parser closes what it opens")

    def _key(self, event: object, events: Iterator[object], depth: int) -> Scalar | None:
        """Keys are text whatever they look like: `1:` under enumColors is the key "1".  None for what is no key."""
        from ruamel.yaml.events import ScalarEvent

        if isinstance(event, ScalarEvent):
            return self._text(event)
        node = self._node(event, events, depth + 1)
        self._report("PD106", node.start, node.end, "a key must be text", "")
        return None

    def _scalar(self, event: object) -> Scalar:
        scalar = self._text(event)
        tag = event.tag  # type: ignore[attr-defined]
        self._check_tag(event)
        if scalar.style != "plain" or tag == _TAG + "str":
            return scalar
        value, problem = _resolve(scalar.raw)
        if problem:
            code, detail, hint = problem
            self._report(code, scalar.start, scalar.end, detail, hint)
        return Scalar(value, scalar.raw, scalar.style, scalar.start, scalar.end)

    def _text(self, event: object) -> Scalar:
        start, end = event.start_mark.index, event.end_mark.index  # type: ignore[attr-defined]
        if event.tag is not None or self.read.text[start : start + 1] in {"!", "&"}:  # type: ignore[attr-defined]
            properties = _PROPERTIES.match(self.read.text, start, end)
            start = properties.end() if properties else start
        raw = self._joined(event.value, start, end)  # type: ignore[attr-defined]
        return Scalar(raw, raw, _STYLES[event.style], start, end)  # type: ignore[attr-defined]

    def _joined(self, raw: str, start: int, end: int) -> str:
        if not _SURROGATE.search(raw):
            return raw
        joined, problem = join_surrogates(raw)
        if problem:
            self._report("PD107", start, end, problem, "write the character itself")
        return joined

    def _check_tag(self, event: object) -> None:
        tag = getattr(event, "tag", None)
        if tag is not None and tag not in _TAGS:
            start, end = event.start_mark.index, event.end_mark.index  # type: ignore[attr-defined]
            self._report("PD106", start, end, "tags are not allowed", "remove the tag")

    def _report(self, code: str, start: int, end: int, detail: str, hint: str) -> None:
        self.problems.append(found(code, self.read.origin(start, end), detail, hint))


def _add(read: Source, entries: dict[str, Entry], entry: Entry, problems: list[Diagnostic]) -> None:
    """Put an entry into a map; the first of two equal keys stays."""
    first = entries.get(entry.key.raw)
    if first is None:
        entries[entry.key.raw] = entry
        return
    place = read.origin(entry.key.start, entry.key.end)
    before = read.origin(first.key.start, first.key.end)
    detail = f'"{entry.key.raw}" stands on line {before.line} already'
    problems.append(found("PD103", place, detail, "remove one of them", related=(before,)))


def join_surrogates(text: str) -> tuple[str, str]:
    """Escaped pairs of surrogates as the characters they mean; a lone one becomes U+FFFD and is told."""
    pairs = text.encode("utf-16-le", "surrogatepass")
    try:
        return pairs.decode("utf-16-le"), ""
    except UnicodeDecodeError:
        return pairs.decode("utf-16-le", "replace"), "half of a surrogate pair is not a character"


def _resolve(raw: str) -> tuple[Json, tuple[str, str, str] | None]:
    """A plain scalar by the core schema of YAML 1.2, and what is wrong with it: code, detail, hint."""
    if raw in _WORDS:
        return _WORDS[raw], None
    return _resolve_number(raw) if raw[0] in "-+.0123456789" else (raw, None)


def _resolve_number(raw: str) -> tuple[Json, tuple[str, str, str] | None]:
    if _INTEGER.fullmatch(raw):
        return int(raw), None
    if radix := _RADIX.fullmatch(raw):
        return int(radix[1] or radix[2], 8 if radix[1] else 16), None
    if _FLOAT.fullmatch(raw):
        return _finite(raw)
    if _DATE.fullmatch(raw):
        return raw, ("PD105", "", f'write "{raw}"')
    if _SPECIAL.fullmatch(raw):
        return None, ("PD106", f"{raw} is not a number in JSON", "quote it if it is meant as text")
    return raw, None


def _finite(raw: str) -> tuple[Json, tuple[str, str, str] | None]:
    number = float(raw)
    if math.isfinite(number):
        return number, None
    return None, ("PD106", "the number is too large for JSON", "quote it if it is meant as text")


# --- JSON ------------------------------------------------------------------------------------------------------

_BLANK = re.compile(r"[ \t\r\n]*")
_NUMBER = re.compile(r"-?(?:Infinity|\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)|NaN")
_LITERALS: dict[str, tuple[Json, str]] = {"t": (True, "true"), "f": (False, "false"), "n": (None, "null")}


def _read_json(read: Source) -> tuple[list[Node], list[Diagnostic]]:
    try:
        json.loads(read.text)
    except json.JSONDecodeError as problem:
        at, said = _json_error(read.text, problem)
        return [], [found("PD102", read.origin(at, at + 1), said, _json_hint(read.text, at))]
    except (RecursionError, ValueError) as problem:
        detail = "nested too deep" if isinstance(problem, RecursionError) else "a number has too many digits"
        return [], [found("PD106", read.origin(0, 1), detail)]
    composer = _JsonComposer(read)
    try:
        root, _ = composer.node(0, 0)
    except _TooDeepError as stop:
        return [], [found("PD106", read.origin(stop.start, stop.start + 1), f"nested more than {DEEPEST} levels deep")]
    return [root], composer.problems


def _json_error(text: str, problem: json.JSONDecodeError) -> tuple[int, str]:
    """Where and what; Python 3.13 points at the comma too many, older ones behind it: here it is always behind."""
    if problem.msg.startswith("Illegal trailing comma"):
        behind = _BLANK.match(text, problem.pos + 1)
        return behind.end() if behind else problem.pos, "a comma with nothing behind it"
    if text[: problem.pos].rstrip().endswith(",") and text[problem.pos : problem.pos + 1] in {"}", "]"}:
        return problem.pos, "a comma with nothing behind it"
    return problem.pos, problem.msg[:1].lower() + problem.msg[1:]


def _json_hint(text: str, at: int) -> str:
    before = text[:at].rstrip()
    if text[at : at + 1] in {"}", "]"} or before.endswith(",") or text[at : at + 1] == ",":
        return "JSON allows no comma after the last element"
    if text[at : at + 1] in {"#", "/"}:
        return "JSON allows no comments; rename the file to .yaml to have them"
    return ""


class _JsonComposer:
    """Builds nodes from text that `json.loads` has accepted, so no error can occur but those collected."""

    def __init__(self, read: Source) -> None:
        self.read = read
        self.text = read.text
        self.problems: list[Diagnostic] = []

    def node(self, at: int, depth: int) -> tuple[Node, int]:
        """The value at or after `at`, and where it ends."""
        at = self._skip(at)
        if depth > DEEPEST:
            raise _TooDeepError(at)
        match self.text[at]:
            case "{":
                return self._map(at, depth)
            case "[":
                return self._sequence(at, depth)
            case '"':
                return self._string(at)
            case "t" | "f" | "n" as letter:
                value, word = _LITERALS[letter]
                return Scalar(value, word, "plain", at, at + len(word)), at + len(word)
        return self._number(at)

    def _skip(self, at: int) -> int:
        blank = _BLANK.match(self.text, at)
        return blank.end() if blank else at

    def _map(self, start: int, depth: int) -> tuple[Map, int]:
        entries: dict[str, Entry] = {}
        at = self._skip(start + 1)
        while self.text[at] != "}":
            key, at = self._string(self._skip(at + (self.text[at] == ",")))
            value, at = self.node(self._skip(at) + 1, depth + 1)
            _add(self.read, entries, Entry(key, value), self.problems)
            at = self._skip(at)
        return Map(entries, start, at + 1), at + 1

    def _sequence(self, start: int, depth: int) -> tuple[Sequence, int]:
        items = []
        at = self._skip(start + 1)
        while self.text[at] != "]":
            item, at = self.node(at + (self.text[at] == ","), depth + 1)
            items.append(item)
            at = self._skip(at)
        return Sequence(tuple(items), start, at + 1), at + 1

    def _string(self, start: int) -> tuple[Scalar, int]:
        value, end = json.decoder.scanstring(self.text, start + 1)  # type: ignore[attr-defined]
        if _SURROGATE.search(value):
            value, problem = join_surrogates(value)
            if problem:
                self._report("PD107", start, end, problem)
        return Scalar(value, value, "double", start, end), end

    def _number(self, start: int) -> tuple[Scalar, int]:
        word = _NUMBER.match(self.text, start)
        assert word is not None
        raw = word[0]
        value: Json = int(raw) if raw.lstrip("-").isdigit() else float(raw)
        if isinstance(value, float) and not math.isfinite(value):
            value = None
            self._report("PD106", start, word.end(), f"{raw} is not a number in JSON")
        return Scalar(value, raw, "plain", start, word.end()), word.end()

    def _report(self, code: str, start: int, end: int, detail: str) -> None:
        self.problems.append(found(code, self.read.origin(start, end), detail))


# --- places inside a value -------------------------------------------------------------------------------------

_ESCAPE_LENGTHS = {"x": 4, "u": 6, "U": 10}


def offset_of(text: str, scalar: Scalar, index: int) -> int:
    """Where in the file's `text` the character `scalar.raw[index]` stands, whatever the scalar's style."""
    at = _content_start(text, scalar)
    for position, character in enumerate(scalar.raw):
        if scalar.style == "double":
            at, width = _escaped(text, at, scalar.end, character)
        else:
            at, width = _folded(text, at, scalar.end, character, scalar.style)
        if position == index:
            break
        at += width
    return min(at, len(text))


def _content_start(text: str, scalar: Scalar) -> int:
    if scalar.style in {"single", "double"}:
        return scalar.start + 1
    if scalar.style in {"literal", "folded"}:
        return text.find("\n", scalar.start) + 1 or scalar.end
    return scalar.start


def _folded(text: str, at: int, end: int, character: str, style: Style) -> tuple[int, int]:
    """Outside double quotes only whitespace is rewritten: indentation is skipped, line ends become one space."""
    if character.isspace():
        return at, 1 if text[at : at + 1].isspace() else 0
    return _after_blank(text, at, end), 2 if style == "single" and character == "'" else 1


def _escaped(text: str, at: int, end: int, character: str) -> tuple[int, int]:
    """Inside double quotes one character may be written as an escape, and line ends may be escaped away."""
    at = _after_escaped_breaks(text, at, end)
    if not character.isspace():
        at = _after_escaped_breaks(text, _after_blank(text, at, end), end)
    if text.startswith("\\", at):
        width = _ESCAPE_LENGTHS.get(text[at + 1 : at + 2], 2)
        return at, 2 * width if ord(character) > _LAST_OF_FIRST_PLANE and width == _ESCAPE_LENGTHS["u"] else width
    if character.isspace():
        blank = text[at : _after_blank(text, at, end)]
        return at, len(blank) if "\n" in blank or "\r" in blank else min(len(blank), 1)
    return at, 1


def _after_escaped_breaks(text: str, at: int, end: int) -> int:
    while text.startswith(("\\\n", "\\\r"), at):
        at = _after_blank(text, at + 1, end)
    return at


def _after_blank(text: str, at: int, end: int) -> int:
    while at < end and text[at].isspace():
        at += 1
    return at
