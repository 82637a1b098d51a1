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


def value_text(value: Json, longest: int = LONGEST) -> str:
    """A JSON value in one line: canonical JSON, invisible characters escaped, cut with a note of its length."""
    return _cut(visible(orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()), longest)


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
