"""Does every expression compile?  All in two programs; one by one only where something is wrong.

A list of parenthesised expressions alone would accept `.a) | (.b`, a list of definitions alone `.a; def g: .b`;
only a whole expression passes both.  A string left open would reach over into the next expression: after each one
stands a comment that is an invalid escape inside a string.  Behind the prelude no expression can be an import.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import jq

from pdsync.jq.program import END

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

LONGEST = 20_000
"""Characters that an expression may have; libjq's parser gives up at about that much."""

_PRELUDE = "{} as $ENV |\n"
_CHUNK = 32


@dataclass(frozen=True, slots=True)
class JqError:
    """What jq says of an expression; `start` and `end` are offsets in it (equal: no place is known)."""

    message: str
    start: int = 0
    end: int = 0


def compile_errors(expressions: Sequence[str]) -> dict[int, list[JqError]]:
    """Per index of an expression that does not compile: why.  Never raises."""
    fit = [index for index, text in enumerate(expressions) if len(text) <= LONGEST and "\0" not in text]
    errors = {index: [_unfit(text)] for index, text in enumerate(expressions) if index not in set(fit)}
    if _all_compile([expressions[index] for index in fit]):
        return errors
    for first in range(0, len(fit), _CHUNK):
        chunk = fit[first : first + _CHUNK]
        if not _all_compile([expressions[index] for index in chunk]):
            errors |= {index: found for index in chunk if (found := _errors_of(expressions[index]))}
    return errors


def _unfit(text: str) -> JqError:
    if "\0" in text:
        at = text.index("\0")
        return JqError("a NUL character ends the expression", at, at + 1)
    return JqError(f"longer than {LONGEST} characters")


def _all_compile(expressions: Sequence[str]) -> bool:
    if not expressions:
        return True
    listed = ",".join(f"(\n{text}{END})" for text in expressions)
    defined = " ".join(f"def f{index}:\n{text}{END};" for index, text in enumerate(expressions))
    return _compiles(f"{_PRELUDE}[{listed}]") and _compiles(f"{_PRELUDE}{defined} .")


@lru_cache(maxsize=64)
def _compiles(program: str) -> bool:
    """Whether jq takes a program; a catalog of another commit mostly has the same ones."""
    try:
        jq.compile(program)
    except ValueError:
        return False
    return True


_ERROR = re.compile(
    r"jq: error: (?P<message>.*?)(?: at <top-level>, line (?P<line>\d+), column (?P<column>\d+):"
    r"\n    [^\n]*\n    (?P<blank> *)(?P<carets>\^*))?(?=\njq: |\Z)",
    re.DOTALL,
)


def _errors_of(text: str) -> list[JqError]:
    """Every error of one expression, compiled alone."""
    try:
        jq.compile(f"{_PRELUDE}{text}\n\n")
    except ValueError as problem:
        found = list(dict.fromkeys(_parsed(text, str(problem))))
        exact = [error for error in found if not error.message.startswith("Possibly")]
        return exact or found or [JqError("it is not a jq expression")]
    # Complete by itself, yet not among others: it closes what it did not open.
    return [] if _all_compile([text]) else [JqError("brackets or definitions are not complete")]


def _parsed(text: str, said: str) -> Iterator[JqError]:
    for match in _ERROR.finditer(said):
        message = " ".join(match["message"].split())
        if match["line"] is None:
            yield JqError(_plain(message))
            continue
        start = _offset(text, int(match["line"]) - 1 - _PRELUDE.count("\n"), int(match["column"]) - 1)
        yield JqError(_plain(message), start, max(start + len(match["carets"]), start + 1))


def _offset(text: str, line: int, column: int) -> int:
    """The offset in characters of a line and a column in bytes, both from 0; past the end is the end."""
    lines = text.split("\n")
    if line >= len(lines):
        return max(len(text) - 1, 0)
    before = sum(len(part) + 1 for part in lines[: max(line, 0)])
    characters = lines[max(line, 0)].encode("utf-8", "surrogatepass")[:column].decode("utf-8", "ignore")
    return min(before + len(characters), max(len(text) - 1, 0))


_TOKENS = {
    "INVALID_CHARACTER": "character",
    "end of file": "end of the expression",
    "IDENT": "name",
    "FIELD": "field",
    "LITERAL": "number",
    "FORMAT": "format",
    "QQSTRING_START": "string",
    "BINDING": "variable",
}


def _plain(message: str) -> str:
    """The message in words: the names of its grammar are not the user's."""
    said, _, expected = message.partition(", expecting ")
    for token, words in _TOKENS.items():
        said = said.replace(f"unexpected {token}", f"unexpected {words}")
    if "QQSTRING" in expected:
        return f"{said}: a string is not closed"
    if said.startswith("Top-level program not given"):
        return "there is no expression"
    return said
