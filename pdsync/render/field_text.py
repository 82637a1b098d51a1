"""Fields of a change as text: what each was and will be, and where inside of it the difference is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pdsync.diff import changed_lines, inside, is_set, kind_of
from pdsync.normal import same
from pdsync.render.because import cause_tag, place_of
from pdsync.render.escape import both_texts, line_text, value_text, visible

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pdsync.diff import Place
    from pdsync.model import Commit, FieldChange, Json
    from pdsync.render.paint import Paint

_LINE_COLORS = {"-": "red", "+": "green", "@": "dim"}
MOST_LINES = 40
"""Lines of one text that are shown."""
ONLY = {
    "reordered": "order only",
    "spacing": "white space only",
    "spelling": "the same JSON, written otherwise (order of keys, numbers, escapes)",
}
"""Differences that are none of any value inside."""
SIGNS = {"added": "+", "removed": "-"}
"""Differences that are a value on one side alone."""
OWN_FIELDS = frozenset(("title", "icon", "team"))


def field_lines(fields: Sequence[FieldChange], commits: Mapping[str, Commit], paint: Paint) -> Iterator[str]:
    """The fields of one change: what each was and will be, why, and the place in the catalog."""
    width = width_of(fields)
    for field in fields:
        tag = paint("dim", f"  {cause_tag(field)}  {place_of(field, commits)}".rstrip())
        tag += f"  {visible(field.note)}" if field.note else ""
        nested = list(_nested(field, paint))
        told = f"{field_name(field):<{width}}"
        if field.moved_from:
            told = f"{visible(field.moved_from)} => {visible(field.path)}"
        elif not nested and not (field.note and same(field.before, field.after)):
            told += f"  {_values(field, paint)}"
        yield f"       {told}{tag}"
        yield from (f"         {line}" for line in nested)


def _nested(field: FieldChange, paint: Paint) -> Iterator[str]:
    """`nested_lines` in colours."""
    for line in nested_lines(field):
        yield paint(_LINE_COLORS[line[:1]], line) if line[:1] in _LINE_COLORS else line


def nested_lines(field: FieldChange) -> Iterator[str]:
    """Where inside the value the difference is; nothing when the whole value is the difference."""
    lines = changed_lines(field.before, field.after)
    yield from map(line_text, lines[:MOST_LINES])
    yield from more_lines(lines)
    if not lines:
        for place in places_in(field):
            yield f"{place_sign(place)} {inner_text(place)}" if place_sign(place) else inner_text(place)


def more_lines(lines: Sequence[str]) -> list[str]:
    """A word about the lines that are not shown."""
    return [f" ... and {len(lines) - MOST_LINES} more lines"] if len(lines) > MOST_LINES else []


def places_in(field: FieldChange) -> list[Place]:
    """Where inside a field's value the difference is."""
    return inside(field.before, field.after, as_sets=is_set(field.path))


def place_sign(place: Place) -> str:
    """What stands before a place that only one side has; else empty."""
    return SIGNS.get(place.only, "")


def inner_text(place: Place) -> str:
    """One place inside a nested value, before and after, or what is there on the one side that has it."""
    if place.only in SIGNS:
        told = value_text(place.after if place.only == "added" else place.before)
    else:
        told = f"{place.only}  {ONLY[place.only]}" if place.only else _both(place.before, place.after)
    return f"{visible(place.path)}  {told}" if place.path else told


def _both(before: Json, after: Json) -> str:
    return " -> ".join(both_texts(before, after))


def field_name(field: FieldChange) -> str:
    """A field as it is told: a property by its name alone, unless an entity has a field of its own by that name."""
    name = field.path.removeprefix("properties.")
    return visible(field.path if name in OWN_FIELDS else name)


def width_of(fields: Sequence[FieldChange]) -> int:
    """How wide the column of their names is."""
    return min(max((len(field_name(f)) for f in fields), default=0), 40)


def _values(field: FieldChange, paint: Paint) -> str:
    if field.before is None:
        return paint("green", value_text(field.after))
    before, after = both_texts(field.before, field.after)
    kinds = kind_of(field.before), kind_of(field.after)
    told = ("", "") if "null" in kinds or kinds[0] == kinds[1] else tuple(f" ({kind})" for kind in kinds)
    return f"{paint('red', before)}{told[0]} -> {paint('green', after)}{told[1]}"
