"""The normal form of values: what is equal for Port is equal here by `==`.

Both sides of every comparison pass through this module, each at its edge, so that nothing behind it needs to know
that Port hands `team` back as a list, keeps numbers as doubles, or that a relation to many is a set.  Everything is
pure and idempotent; a value of the wrong shape stays as it is, so that checks can still see it.

Facts are from the Port API reference (Entities, Blueprints) unless said otherwise.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from sys import intern
from typing import TYPE_CHECKING, Final
from unicodedata import normalize

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from pdsync.model import Blueprint, Fields, Json

    Normaliser = Callable[[Json], Json]

# --- values ----------------------------------------------------------------------------------------------------

LARGEST_EXACT_INTEGER: Final = 2**53
"""Above it Port, whose numbers are doubles, does not keep every integer apart."""

_DAY_AND_TIME: Final = r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ](?:[01][0-9]|2[0-3]):[0-9]{2}:[0-9]{2}(?:\.[0-9]+)?"
_INSTANT: Final = re.compile(_DAY_AND_TIME + r"(?:[Zz]|[+-][0-9]{2}:?[0-5][0-9])")
_CANONICAL_INSTANT: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T(?:[01][0-9]|2[0-3]):[0-9]{2}:[0-9]{2}Z")


def normal_identifier(text: str) -> str:
    """An entity identifier in Unicode's composed form (NFC), the form it is sent and compared in."""
    return text if text.isascii() else normalize("NFC", text)


def normal_instant(value: Json) -> Json:
    """An RFC 3339 date-time as UTC text: `2026-01-01T00:00:00Z`, with milli- or microseconds if it has any.

    Text that names no instant - unparsable, or without an offset - stays as it is.
    """
    if not isinstance(value, str) or _CANONICAL_INSTANT.fullmatch(value) or not _INSTANT.fullmatch(value):
        return value
    try:
        moment = datetime.fromisoformat(value.upper()).astimezone(UTC).replace(tzinfo=None)
    except (ValueError, OverflowError):
        return value
    return f"{moment.isoformat(timespec=_precision(moment.microsecond))}Z"


def _precision(microsecond: int) -> str:
    if microsecond == 0:
        return "seconds"
    return "microseconds" if microsecond % 1000 else "milliseconds"


def normal_number(value: Json) -> Json:
    """A number by its value as a double: `1.0` is 1, `-0.0` is 0; a bool is not a number and stays."""
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return value if abs(value) <= LARGEST_EXACT_INTEGER else _as_double(value)
    if isinstance(value, float) and value.is_integer() and abs(value) <= LARGEST_EXACT_INTEGER:
        return int(value)
    return value


def _as_double(value: int) -> Json:
    try:
        return normal_number(float(value))
    except OverflowError:
        return value


def normal_json(value: Json) -> Json:
    """Any JSON with every number in it normalised, and nothing else changed."""
    if isinstance(value, dict):
        return {key: normal_json(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [normal_json(inner) for inner in value]
    return normal_number(value)


def same(a: Json, b: Json) -> bool:
    """Whether two normalised values are equal, bool and number told apart at any depth (in Python `1 == True`)."""
    return bool(a == b) and _bools_agree(a, b)


def _bools_agree(a: Json, b: Json) -> bool:
    if isinstance(a, dict):
        return all(_bools_agree(inner, b[key]) for key, inner in a.items())
    if isinstance(a, list):
        return all(map(_bools_agree, a, b))
    return isinstance(a, bool) is isinstance(b, bool)


# --- entities --------------------------------------------------------------------------------------------------


def normal_entity(fields: Fields, blueprint: Blueprint) -> Fields:
    """An entity's flat fields in normal form, each by what the blueprint says of it.

    Paths that the blueprint does not have are left as they are; None stays None (it means: to be empty).
    """
    return entity_normaliser(blueprint)(fields)


def entity_normaliser(blueprint: Blueprint) -> Callable[[Fields], Fields]:
    """`normal_entity` for many entities of one blueprint: what depends on the blueprint alone is done once."""
    return _by_table(_normalisers(blueprint))


def _by_table(table: Mapping[str, Normaliser]) -> Callable[[Fields], Fields]:
    def normalise(fields: Fields) -> Fields:
        made = fields.copy()
        for path, normal in table.items():
            value = made.get(path)
            # Nothing changes null, and hardly anything a number: asked first, for there are many.
            if value is not None and (value.__class__ is not int or abs(value) > LARGEST_EXACT_INTEGER):
                made[path] = normal(value)
        return made

    return normalise


def _normalisers(blueprint: Blueprint) -> dict[str, Normaliser]:
    """What normalises the values under each path, where they need it."""
    table: dict[str, Normaliser] = {"team": _normal_team}
    for name, definition in blueprint.properties.items():
        if (normal := _of_property(definition)) is not None:
            table[f"properties.{name}"] = normal
    for name, definition in blueprint.relations.items():
        table[f"relations.{name}"] = _normal_many if definition.get("many") else _normal_single
    return table


def _desired_normalisers(blueprint: Blueprint) -> dict[str, Normaliser]:
    """`_normalisers` for what shall be, where one text stands for a list of it in a relation to many.

    Port's default mapping gives such a text, and whether Port takes it is not promised; a list it takes in any case.
    What Port holds is not read so: a text there is the value of a relation that was to one.
    """
    to_many = (name for name, definition in blueprint.relations.items() if definition.get("many"))
    return _normalisers(blueprint) | dict.fromkeys((f"relations.{name}" for name in to_many), _normal_one_or_many)


def defaults_of(blueprint: Blueprint) -> Fields:
    """By path, what properties have where nothing else is said, in normal form."""
    given = ((name, definition.get("default")) for name, definition in blueprint.properties.items())
    return normal_entity({f"properties.{name}": value for name, value in given if value is not None}, blueprint)


def desired_normaliser(blueprint: Blueprint) -> Callable[[Fields], Fields]:
    """`entity_normaliser` for what shall be, where one text is a list of it, and null a property's default.

    Port gives a new entity the default of what has no value (Port documentation, Set up blueprint) and does not promise
    that null keeps it away, so nothing else could be the same for an entity that is new and for one that is changed.
    """
    normalise, defaults = _by_table(_desired_normalisers(blueprint)), defaults_of(blueprint)
    if not defaults:
        return normalise

    def filled(fields: Fields) -> Fields:
        return normalise(fields) | {path: value for path, value in defaults.items() if fields.get(path, path) is None}

    return filled


def desired_row(blueprint: Blueprint, paths: Iterable[str]) -> Callable[[Fields], tuple[Json, ...]]:
    """`desired_normaliser` for the values under some paths alone, in their order; null where there is none."""
    paths = tuple(paths)
    table, defaults = _desired_normalisers(blueprint), defaults_of(blueprint)
    not_as_given = [
        (place, table.get(path), defaults.get(path))
        for place, path in enumerate(paths)
        if path in table or defaults.get(path) is not None
    ]

    def row(fields: Fields) -> tuple[Json, ...]:
        made = list(map(fields.get, paths))
        for place, normal, default in not_as_given:
            value = made[place]
            if value is None:
                made[place] = default
            elif normal is not None and (value.__class__ is not int or abs(value) > LARGEST_EXACT_INTEGER):
                made[place] = normal(value)
        return tuple(made)

    return row


def _of_property(definition: Mapping[str, Json]) -> Normaliser | None:
    """How values of a property are normalised; None when they are taken as given."""
    match definition.get("type"), definition.get("format"):
        case "string", "date-time" | "timer":
            return normal_instant
        case "number", _:
            return normal_number
        case "object", _:
            return normal_json
        case "array", _:
            return _of_array(definition.get("items"))
    return None


def _of_array(items: Json) -> Normaliser:
    """Arrays keep their order; the empty one is not the absent one."""
    inner = (_of_property(items) if isinstance(items, dict) else None) or normal_json

    def normal_array(value: Json) -> Json:
        return [inner(element) for element in value] if isinstance(value, list) else value

    return normal_array


def _normal_team(value: Json) -> Json:
    """Port takes one team or a list of them and returns a list, the empty one for none."""
    return _string_set([value] if isinstance(value, str) else value)


def _normal_single(value: Json) -> Json:
    return normal_identifier(value) if isinstance(value, str) else value


def _normal_many(value: Json) -> Json:
    if not _is_strings(value):
        return value
    return _string_set([normal_identifier(element) for element in value])


def _normal_one_or_many(value: Json) -> Json:
    """The empty text stays: it is no identifier, and a list of it is none of identifiers."""
    return _normal_many([value] if isinstance(value, str) and value else value)


def _string_set(value: Json) -> Json:
    return (sorted(set(value)) or None) if _is_strings(value) else value


def _is_strings(value: Json) -> bool:
    return isinstance(value, list) and all(isinstance(element, str) for element in value)


def entity_fields(entity: Mapping[str, Json]) -> Fields:
    """Port's entity JSON as flat fields, values as they are; an absent key gives no path."""
    fields: Fields = {path: entity[path] for path in ("title", "icon", "team") if path in entity}
    for part in ("properties", "relations"):
        for name, value in (entity.get(part) or {}).items():
            fields[intern(f"{part}.{name}")] = value
    return fields


def entity_body(identifier: str, fields: Fields) -> dict[str, Json]:
    """Flat fields as Port's entity JSON, None as null: the inverse of `entity_fields`."""
    body: dict[str, Json] = {"identifier": identifier}
    for path, value in fields.items():
        part, _, name = path.partition(".")
        if name:
            body.setdefault(part, {})[name] = value
        else:
            body[part] = value
    return body


# --- blueprints ------------------------------------------------------------------------------------------------

BLUEPRINT_MAPS: Final = (
    "schema.properties",
    "relations",
    "mirrorProperties",
    "calculationProperties",
    "aggregationProperties",
)
"""Parts of a blueprint that hold one definition per identifier; absent and empty are equal."""

BLUEPRINT_SCALARS: Final = (
    "title",
    "description",
    "icon",
    "ownership",
    "changelogDestination",
    "includeInGlobalSearch",
)
"""Other parts that are written and compared, each whole; absent and null are equal."""

_DEFAULT_COLOUR: Final = "lightGray"
_SERVER_DEFAULTS: Final[Mapping[str, Mapping[str, Json]]] = {
    "ownership": {"title": "Owning teams"},
    "aggregationProperties": {"type": "number", "pathFilter": []},
    "calculationProperties": {"colorized": False, "colors": {}},
    "mirrorProperties": {},
    "schema.properties": {"uniqueItems": False},
}
"""What says nothing when it is read back: what Port fills in where it is not given, and what means the same as none."""


def blueprint_fields(definition: Mapping[str, Json]) -> Fields:
    """A blueprint's JSON as flat fields in normal form.

    Absent, null and empty are equal and give no path; what only the server writes (`createdAt` and the like) and
    keys that Port's reference does not have give none either; defaults that Port fills in are left out.
    """
    fields: Fields = {}
    for path in BLUEPRINT_SCALARS:
        if (value := definition.get(path)) is not None:
            fields[path] = _normal_definition(path, value)
    schema = definition.get("schema") or {}
    for part in BLUEPRINT_MAPS:
        members = schema.get("properties") if part == "schema.properties" else definition.get(part)
        for name, value in (members or {}).items():
            if value is not None:
                fields[f"{part}.{name}"] = _normal_definition(part, value)
    if required := _string_set(schema.get("required")):
        fields["schema.required"] = required
    return fields


def blueprint_definition(identifier: str, fields: Fields) -> dict[str, Json]:
    """Flat fields as Port's blueprint JSON, the inverse of `blueprint_fields`; None leaves the part out."""
    definition: dict[str, Json] = {"identifier": identifier, "schema": {"properties": {}, "required": []}}
    definition |= {part: {} for part in BLUEPRINT_MAPS if "." not in part}
    for path, value in fields.items():
        if value is not None:
            set_blueprint_path(definition, path, value)
    return definition


def set_blueprint_path(definition: dict[str, Json], path: str, value: Json) -> None:
    """Set one path of a blueprint's JSON in place; None removes it, parts that are missing are made."""
    *parents, name = path.split(".", 2 if path.startswith("schema.properties.") else 1)
    holder = definition
    for parent in parents:
        if not isinstance(holder.get(parent), dict):
            holder[parent] = {}
        holder = holder[parent]
    if value is None:
        holder.pop(name, None)
    else:
        holder[name] = value


def _normal_definition(part: str, value: Json) -> Json:
    if not isinstance(value, dict):
        return value
    if part == "relations":
        return _normal_relation(value)
    defaults = _SERVER_DEFAULTS.get(part, {})
    spoken = {key: normal_json(inner) for key, inner in value.items() if inner is not None}
    return _without_default_colours({k: v for k, v in spoken.items() if k not in defaults or v != defaults[k]})


def _normal_relation(value: Mapping[str, Json]) -> Json:
    spoken = {key: inner for key, inner in value.items() if inner is not None}
    return {**spoken, "required": spoken.get("required", False), "many": spoken.get("many", False)}


def _without_default_colours(definition: dict[str, Json]) -> Json:
    """Port colours each enum value that was given no colour; in `items` of an array as well."""
    changed = dict(definition)
    if isinstance(changed.get("items"), dict):
        changed["items"] = _without_default_colours(changed["items"])
    colours = changed.get("enumColors")
    if isinstance(colours, dict):
        chosen = {value: colour for value, colour in colours.items() if colour != _DEFAULT_COLOUR}
        changed = {key: inner for key, inner in changed.items() if key != "enumColors"}
        return {**changed, "enumColors": chosen} if chosen else changed
    return changed
