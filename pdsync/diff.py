"""Which fields differ between two sides, and where inside a nested value.

Both sides are in normal form, so a field differs when it is not `==` under `pdsync.normal.same`; nothing here is
tolerant.  Inside a nested value that is known to differ, for people to read, lists of objects are compared by key, and
DeepDiff is asked about other lists alone: on every pair it would cost more than the rest of a plan together.
"""

from __future__ import annotations

import json
import re
from difflib import unified_diff
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from pdsync.normal import same

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from pdsync.model import FieldsView, Json


CONTEXT = 2
"""Unchanged lines that are shown around changed ones."""


class Difference(NamedTuple):
    """One path with the value on either side; an absent path reads as None."""

    path: str
    before: Json
    after: Json


def diff_fields(before: FieldsView, after: FieldsView) -> list[Difference]:
    """The paths of `after` whose value in `before` is another one, sorted.

    Paths that only `before` has were not spoken of and do not count.
    """
    if not before:
        return [Difference(path, None, after[path]) for path in sorted(after) if after[path] is not None]
    differing = [
        path
        for path, wanted in after.items()
        # Told at once for nearly all there is: one text, null.
        if (held := before.get(path)) is not wanted
        and (held != wanted if held.__class__ is str and wanted.__class__ is str else not same(held, wanted))
    ]
    return [Difference(path, before.get(path), after[path]) for path in sorted(differing)]


class Place(NamedTuple):
    """A place inside a nested value at which two sides differ (`.a[0].b`, or `.rules[id=P1].b` by key).

    `only` says what there is to it: `reordered`, or of texts `spacing` or `spelling`, where the values are equal but
    for that; `added` or `removed` where one side has no such place at all, which is not the same as null.
    """

    path: str
    before: Json
    after: Json
    only: str = ""


def inside(before: Json, after: Json, *, as_sets: bool = False) -> list[Place]:
    """The places inside two nested values of one type at which they differ.

    Two lists that are `as_sets` differ in their members, which have no place.  Empty when either is not a list or an
    object, when the types differ, or when one of them is empty: then the whole value is the difference.  Lists of
    objects are compared by a key that is unique in both; a list that changed its order is `reordered`.  Texts that both
    hold JSON are looked into alike; they may differ in `spacing` only, or in `spelling` (the order of keys, escapes).
    """
    parsed = held_in(before), held_in(after)
    if None not in parsed:
        return inside(*parsed) if not same(*parsed) else [Place("", before, after, _only_written(before, after))]
    if type(before) is not type(after) or not isinstance(before, list | dict) or not before or not after:
        return []
    if as_sets and isinstance(before, list) and isinstance(after, list):
        return [*_members(before, after, "removed"), *_members(after, before, "added")]
    return list(_places("", before, after))


def is_set(path: str) -> bool:
    """Whether the order of a field's list means nothing: relations to many, teams, what a blueprint requires."""
    return path.startswith("relations.") or path in ("team", "schema.required")


def _members(of: list[Json], other: list[Json], only: str) -> Iterator[Place]:
    yield from (_one_sided("", value, only) for value in of if value not in other)


def _one_sided(path: str, value: Json, only: str) -> Place:
    return Place(path, value, None, only) if only == "removed" else Place(path, None, value, only)


def _places(path: str, before: Json, after: Json) -> Iterator[Place]:
    if isinstance(before, dict) and isinstance(after, dict):
        yield from _of_members(before, after, lambda name: f"{path}.{name}")
    elif not isinstance(before, list) or not isinstance(after, list):
        if not same(before, after):
            yield Place(path, before, after)
    elif _reordered(before, after):
        if not same(before, after):
            yield Place(path, before, after, "reordered")
    elif key := _key_of(before, after):
        one, other = ({element[key]: element for element in side} for side in (before, after))
        yield from _of_members(one, other, lambda value: f"{path}[{key}={value}]")
        if [value for value in one if value in other] != [value for value in other if value in one]:
            yield Place(path, before, after, "reordered")
    else:
        yield from _of_elements(path, before, after)


def _of_members(before: Mapping[Any, Json], after: Mapping[Any, Json], path: Callable[[Any], str]) -> Iterator[Place]:
    for name in sorted(before.keys() | after.keys(), key=str):
        if name in before and name in after:
            yield from _places(path(name), before[name], after[name])
        elif name in before:
            yield _one_sided(path(name), before[name], "removed")
        else:
            yield _one_sided(path(name), after[name], "added")


def _of_elements(path: str, before: list[Json], after: list[Json]) -> Iterator[Place]:
    """Where two lists without a key differ: what came and went is told from what was changed."""
    from deepdiff import DeepDiff

    tree = DeepDiff(before, after, ignore_numeric_type_changes=True, view="tree", threshold_to_diff_deeper=0)
    found = [place._replace(path=path + place.path) for place in _leaves(tree)]
    if not found and path and not same(before, after):  # true for 1, which DeepDiff takes for the same
        found = [Place(path, before, after)]
    yield from sorted(found, key=lambda place: place.path)


_KEYS = ("id", "identifier", "key", "name", "email", "title")
"""What the objects of a list may be told apart by, the surest first."""


def _key_of(before: list[Json], after: list[Json]) -> str:
    """The first key that every object of both lists has, each list with other values throughout; else ""."""
    if not all(isinstance(element, dict) for element in (*before, *after)):
        return ""
    return next((key for key in _KEYS if _is_unique(key, before) and _is_unique(key, after)), "")


def _is_unique(key: str, elements: list[Json]) -> bool:
    values = [element.get(key) for element in elements]
    fit = all(isinstance(value, str) or type(value) is int for value in values)
    return fit and len(set(values)) == len(values)


HEADER = 2
"""Lines of a unified diff that name the files; a line of a text may look like one."""


def changed_lines(before: Json, after: Json) -> list[str]:
    """Two texts of several lines as a diff: lines that go (`-`) and come (`+`), with two unchanged ones around.

    Empty when either is no text, or neither has more than one line.
    """
    if not isinstance(before, str) or not isinstance(after, str) or "\n" not in before + after:
        return []
    lines = unified_diff(before.splitlines(), after.splitlines(), n=CONTEXT, lineterm="")
    return list(islice(lines, HEADER, None))


def kind_of(value: Json) -> str:
    """The type of a value, as people call it."""
    if value is None or isinstance(value, bool):
        return "null" if value is None else "boolean"
    return next(name for of, name in _KINDS if isinstance(value, of))


_KINDS: tuple[tuple[type | tuple[type, ...], str], ...] = (
    (str, "text"),
    ((int, float), "number"),
    (list, "list"),
    (dict, "object"),
)


def held_in(text: Json) -> Json:
    """The list or object whose JSON a text is; None for any other value."""
    if not isinstance(text, str) or not text.lstrip().startswith(("{", "[")):
        return None
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    return value if isinstance(value, list | dict) else None


_SPACING = re.compile(r'("(?:[^"\\]|\\.)*")|\s+')
"""White space of a JSON text outside of its strings, or one of these."""


def _only_written(before: str, after: str) -> str:
    """How two texts of the same JSON differ."""
    bare = [_SPACING.sub(lambda match: match[1] or "", text) for text in (before, after)]
    return "spacing" if bare[0] == bare[1] else "spelling"


def _reordered(before: list[Json], after: list[Json]) -> bool:
    """Whether both have the same elements, as many times each."""
    return len(before) == len(after) and sorted(map(_canonical, before)) == sorted(map(_canonical, after))


def _canonical(value: Json) -> str:
    """One text for equal values in normal form, whatever the order of their keys; true is not 1."""
    return json.dumps(value, sort_keys=True)


def _leaves(tree: dict[str, Json]) -> Iterator[Place]:
    for report, nodes in tree.items():
        for node in nodes:
            path = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in node.path(output_format="list"))
            if report.endswith("_added"):
                yield _one_sided(path, node.t2, "added")
            elif report.endswith("_removed"):
                yield _one_sided(path, node.t1, "removed")
            else:
                yield Place(path, node.t1, node.t2)
