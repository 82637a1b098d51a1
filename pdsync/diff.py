"""Which fields differ between two sides, and where inside a nested value.

Both sides are in normal form, so a field differs when it is not `==` under `pdsync.normal.same`; nothing here is
tolerant.  DeepDiff is only asked to look inside one nested value that is known to differ, for people to read: on
every pair it would cost more than the rest of a plan together.
"""

from __future__ import annotations

from difflib import unified_diff
from typing import TYPE_CHECKING, NamedTuple

import orjson

from pdsync.normal import same

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pdsync.model import Fields, Json


CONTEXT = 2
"""Unchanged lines that are shown around changed ones."""


class Difference(NamedTuple):
    """One path with the value on either side; an absent path reads as None."""

    path: str
    before: Json
    after: Json


def diff_fields(before: Fields, after: Fields) -> list[Difference]:
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


def inside(before: Json, after: Json) -> list[Difference]:
    """The places inside two nested values of one type at which they differ, sorted by path (`.a[0].b`).

    Empty when either is not a list or an object, when the types differ, or when one of them is empty: then the
    whole value is the difference.  A list that only changed its order yields one difference with path `reordered`.
    Texts that both hold JSON are looked into alike; when only their white space differs the path is `spacing`.
    """
    parsed = _as_json(before), _as_json(after)
    if None not in parsed:
        return inside(*parsed) if parsed[0] != parsed[1] else [Difference("spacing", before, after)]
    if type(before) is not type(after) or not isinstance(before, list | dict) or not before or not after:
        return []
    if isinstance(before, list) and _reordered(before, after):
        return [Difference("reordered", before, after)]
    from deepdiff import DeepDiff

    tree = DeepDiff(before, after, ignore_numeric_type_changes=True, view="tree", threshold_to_diff_deeper=0)
    return sorted(_leaves(tree), key=lambda d: d.path)


def changed_lines(before: Json, after: Json) -> list[str]:
    """Two texts of several lines as a diff: lines that go (`-`) and come (`+`), with two unchanged ones around.

    Empty when either is no text, or neither has more than one line.
    """
    if not isinstance(before, str) or not isinstance(after, str) or "\n" not in before + after:
        return []
    lines = unified_diff(before.splitlines(), after.splitlines(), n=CONTEXT, lineterm="")
    return [line for line in lines if not line.startswith(("---", "+++"))]


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


def _as_json(text: Json) -> Json:
    """A text's JSON, if it is that of a list or an object; else None."""
    if not isinstance(text, str) or not text.lstrip().startswith(("{", "[")):
        return None
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    return value if isinstance(value, list | dict) else None


def _reordered(before: list[Json], after: list[Json]) -> bool:
    return len(before) == len(after) and sorted(map(repr, before)) == sorted(map(repr, after))


def _leaves(tree: dict[str, Json]) -> Iterator[Difference]:
    for report, nodes in tree.items():
        for node in nodes:
            path = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in node.path(output_format="list"))
            added, removed = report.endswith("_added"), report.endswith("_removed")
            yield Difference(path, None if added else node.t1, None if removed else node.t2)
