"""Values, and what a JSON Schema validator says of them, in words that people use."""

from __future__ import annotations

import ast
import json
import re
from typing import TYPE_CHECKING, Final

import orjson

from pdsync.diff import Difference, inside

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pdsync.model import Json

_NAMES: Final = {
    "string": "text",
    "number": "a number",
    "integer": "a whole number",
    "boolean": "true or false",
    "array": "a list",
    "object": "an object",
    "date-time": "a moment, such as 2026-01-31T09:00:00Z",
    "timer": "a moment, such as 2026-01-31T09:00:00Z",
    "url": "a URL, such as https://example.com",
    "email": "an e-mail address",
    "idn-email": "an e-mail address",
    "user": "the e-mail address of a user",
    "ipv4": "an IPv4 address",
    "ipv6": "an IPv6 address",
}
"""Types and formats, as what a value must be."""


def in_words(message: str) -> str:
    """A validator's message; one that is not known stays as it is."""
    for pattern, told in _WORDS:
        if found := pattern.fullmatch(message):
            return f"{found[1]} {told(found[2])}"
    return message


LONGEST = 60
"""Characters of a value that is quoted in a sentence."""

_SEVERAL = 3


def shown(value: Json) -> str:
    """A value as it is quoted in a sentence, cut where it is long."""
    return _cut(_text(value), 0)


def moved_fields(differences: Sequence[Difference]) -> str:
    """Fields of which a plan saw other values than there are now, in words; the first of many."""
    places = [place for difference in differences for place in _places(difference)]
    told = [f"{path} was {before}, is {after}" for path, before, after in places[:_SEVERAL]]
    more = [f"{len(places) - _SEVERAL} more"] if len(places) > _SEVERAL else []
    return "; ".join([*told, *more])


def _places(difference: Difference) -> list[tuple[str, str, str]]:
    """Where inside a value it differs, or the value itself, with what is on either side, quoted."""
    path, before, after = difference
    within = [Difference(path + place.path, place.before, place.after) for place in inside(before, after) if place.path]
    return [(where, *_both_shown(one, other)) for where, one, other in within or [difference]]


def _both_shown(one: Json, other: Json) -> tuple[str, str]:
    """Two values that differ, so that it can be seen: long ones from a little before the first difference."""
    texts = _text(one), _text(other)
    pairs = enumerate(zip(*texts, strict=False))
    alike = next((n for n, (a, b) in pairs if a != b), min(map(len, texts)))
    start = max(0, alike - LONGEST // 3) if max(map(len, texts)) > LONGEST else 0
    return _cut(texts[0], start), _cut(texts[1], start)


def _cut(text: str, start: int) -> str:
    return f"{'...' if start else ''}{text[start : start + LONGEST]}{'...' if len(text) > start + LONGEST else ''}"


def _text(value: Json) -> str:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()


def _items(least_or_most: str) -> Callable[[str], str]:
    return lambda count: f"must have {least_or_most} {count} {'item' if count == '1' else 'items'}"


def _listed(listing: str) -> str:
    return ", ".join(json.dumps(value, ensure_ascii=False) for value in ast.literal_eval(listing))


_WORDS: Final[tuple[tuple[re.Pattern[str], Callable[[str], str]], ...]] = tuple(
    (re.compile(f"(.*) {pattern}", re.DOTALL), told)
    for pattern, told in (
        (f"must be ({'|'.join(_NAMES)})", lambda name: f"must be {_NAMES[name]}"),
        (r"must be one of (\[.*\])", lambda listing: f"must be one of {_listed(listing)}"),
        (r"must contain (\[.*\]) properties", lambda listing: f"must have {_listed(listing)}"),
        (r"must be bigger than or equal to (\S+)", lambda bound: f"must be at least {bound}"),
        (r"must be smaller than or equal to (\S+)", lambda bound: f"must be at most {bound}"),
        (r"must be bigger than (\S+)", lambda bound: f"must be more than {bound}"),
        (r"must be smaller than (\S+)", lambda bound: f"must be less than {bound}"),
        (r"must contain at least (\d+) items", _items("at least")),
        (r"must contain less than or equal to (\d+) items", _items("at most")),
        (r"must contain (unique) items", lambda _: "must hold nothing twice"),
        (r"cannot be validated by (any) definition", lambda _: "fits nothing of what is allowed"),
        (r"must be valid exactly by (one) definition.*", lambda one: f"must fit exactly {one} of what is allowed"),
        (r"must NOT match a (disallowed) definition", lambda _: "is what is not allowed"),
    )
)
