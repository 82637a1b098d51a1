"""Data from outside, made safe to print: nothing in it can steer a terminal, hide, or reorder what is read."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING

import orjson

if TYPE_CHECKING:
    from pdsync.model import Json

ASCII = 0x7F
LONGEST = 160
"""Characters of one value that are printed; what is cut is said."""

# Characters that change how their neighbours are read without being seen: bidirectional controls and zero-widths.
_INVISIBLE = {"Cc", "Cf", "Cs", "Zl", "Zp"}


def visible(text: str) -> str:
    """The text on one line, every control, format and separator character as an escape such as `x1b` or `u202e`."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(_shown(c) if unicodedata.category(c) in _INVISIBLE else c for c in text)


def _shown(character: str) -> str:
    code = ord(character)
    if character in "\n\r\t":
        return {"\n": "\\n", "\r": "\\r", "\t": "\\t"}[character]
    return character.encode("ascii", "backslashreplace").decode() if code > ASCII else f"\\x{code:02x}"


def visible_json(text: str) -> str:
    """JSON that says the same, every control, format and separator character but the ends of lines as its escape."""
    if text.isascii() and "\x7f" not in text:  # the others stand in JSON escaped anyway
        return text
    return "".join(_escaped(c) if c != "\n" and unicodedata.category(c) in _INVISIBLE else c for c in text)


def _escaped(character: str) -> str:
    return "".join(f"\\u{unit}" for unit in character.encode("utf-16-be", "surrogatepass").hex(" ", 2).split())


def value_text(value: Json, longest: int = LONGEST) -> str:
    """A JSON value in one line: canonical JSON, invisible characters escaped, cut with a note of its length."""
    return _cut(_in_a_line(value), longest)


def both_texts(before: Json, after: Json) -> tuple[str, str]:
    """Two values in one line each; what is cut before they differ begins a little before the difference instead.

    Where they would look alike (a letter with its accent in one character or in two, a space that does not break), all
    that is not ASCII is escaped.
    """
    one, other = _in_a_line(before), _in_a_line(after)
    if one != other and unicodedata.normalize("NFKC", one) == unicodedata.normalize("NFKC", other):
        one, other = _in_ascii(one), _in_ascii(other)
    alike = next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    if max(len(one), len(other)) <= LONGEST or alike < LONGEST - _TOLD:
        return _cut(one, LONGEST), _cut(other, LONGEST)
    return _from(one, alike - _BEFORE), _from(other, alike - _BEFORE)


_TOLD = 40
"""So many of a value's last characters may have to make room for what tells its length."""
_BEFORE = 20


def _from(text: str, start: int) -> str:
    told = f" ({len(text):,} characters)"
    rest, room = text[start:], LONGEST - len(told) - len("……")
    return f"…{rest[:room]}{'…' if len(rest) > room else ''}{told}"


def _in_a_line(value: Json) -> str:
    return visible(orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode())


def _in_ascii(text: str) -> str:
    return text.encode("ascii", "backslashreplace").decode()


def line_text(line: str) -> str:
    """A line of a longer text, cut as a value is."""
    return _cut(visible(line), LONGEST)


def _cut(text: str, longest: int) -> str:
    if len(text) <= longest:
        return text
    told = f"… ({len(text):,} characters)"
    return text[: longest - len(told)] + told


def quoted(text: str, longest: int = LONGEST) -> str:
    """A title or the like, in double quotes."""
    return value_text(text, longest)
