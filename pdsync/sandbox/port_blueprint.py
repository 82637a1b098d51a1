"""Blueprints: what a definition may say, and what it makes of an entity's values.

The outer shape of a definition is checked by the route's schema; here stand the rules between its parts and between
blueprints.  A definition is compiled once per version.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from pdsync.model import Json
from pdsync.sandbox.port_rules import META_PROPERTIES, Stamp, invalid, not_found
from pdsync.sandbox.port_schema import Check, Compiler, parse_date_time

if TYPE_CHECKING:
    from pdsync.sandbox.port_rules import Behaviour

KEYS = (
    "identifier",
    "title",
    "description",
    "icon",
    "schema",
    "relations",
    "mirrorProperties",
    "calculationProperties",
    "aggregationProperties",
    "ownership",
    "changelogDestination",
    "includeInGlobalSearch",
)
"""Top-level keys of a blueprint; any other is refused."""

MAPS = ("relations", "mirrorProperties", "calculationProperties", "aggregationProperties")

COLOURS = (
    "blue",
    "turquoise",
    "orange",
    "purple",
    "pink",
    "yellow",
    "green",
    "red",
    "gold",
    "silver",
    "paleBlue",
    "darkGray",
    "lightGray",
    "bronze",
    "lime",
    "olive",
    "brown",
)

_COUNT = {"type": "integer", "minimum": 0}
_VALUE_OPTIONS = {
    "enum": {"type": "array", "minItems": 1, "uniqueItems": True},
    "enumColors": {"type": "object", "additionalProperties": {"enum": list(COLOURS)}},
    "pattern": {"type": "string"},
    "minLength": _COUNT,
    "maxLength": _COUNT,
    "minimum": {"type": "number"},
    "maximum": {"type": "number"},
    "exclusiveMinimum": {"type": "number"},
    "exclusiveMaximum": {"type": "number"},
    "minItems": _COUNT,
    "maxItems": _COUNT,
    "uniqueItems": {"type": "boolean"},
    "properties": {"type": "object"},
    "patternProperties": {"type": "object"},
    "additionalProperties": {"type": ["boolean", "object"]},
    "required": {"type": "array", "items": {"type": "string"}},
}
_TYPE = {"enum": ["string", "number", "boolean", "object", "array"]}
_PROPERTY_OPTIONS = Compiler().compile(
    {"properties": {**_VALUE_OPTIONS, "items": {"type": "object", "properties": {**_VALUE_OPTIONS, "type": _TYPE}}}}
)
"""What the documentation of properties says about options that the route's schema leaves open."""

_VALIDATING = frozenset({"type", "format", *_VALUE_OPTIONS} - {"enumColors"})
_LABELED_URL = {
    "type": "object",
    "properties": {"url": {"type": "string", "format": "url"}},
    "required": ["url"],
    "additionalProperties": {"type": "string"},
}
_EXACT_INTEGERS = 2**53


class Relation(NamedTuple):
    """A relation of a blueprint: where it points, how often, whether it must be given."""

    target: str
    many: bool
    required: bool


@dataclass(frozen=True, slots=True)
class CompiledBlueprint:
    """A blueprint ready for use: its definition and what was worked out from it.

    `checks` judges each own property, `convert` says what is stored instead of a value where that differs from what
    was sent; `mirrors` are split paths; `derived` the names of all properties that are computed on read.
    """

    identifier: str
    definition: Mapping[str, Json]
    stamp: Stamp
    checks: Mapping[str, Check]
    convert: Mapping[str, Callable[[Json], Json]]
    required: frozenset[str]
    defaults: Mapping[str, Json]
    relations: Mapping[str, Relation]
    mirrors: Mapping[str, tuple[str, ...]]
    derived: frozenset[str]
    empty_relations: Mapping[str, Json]

    @property
    def properties(self) -> Mapping[str, Mapping[str, Json]]:
        """Definitions of own properties."""
        schema: Mapping[str, Mapping[str, Json]] = self.definition["schema"]
        return schema["properties"]

    def part(self, name: str) -> Mapping[str, Mapping[str, Json]]:
        """One of the maps of the definition: relations, calculationProperties, ..."""
        found: Mapping[str, Mapping[str, Json]] = self.definition[name]
        return found

    def body(self) -> dict[str, Json]:
        """As Port returns it."""
        return {**self.definition, **self.stamp.fields()}


def completed(definition: Mapping[str, Json]) -> dict[str, Json]:
    """A definition with the empty maps that Port adds, its keys in Port's order."""
    schema = definition["schema"]
    filled = {
        **definition,
        "schema": {"properties": schema["properties"], "required": schema.get("required", [])},
        **{name: definition.get(name, {}) for name in MAPS},
    }
    return {key: filled[key] for key in KEYS if key in filled}


def refuse_unknown_keys(definition: Mapping[str, Json]) -> None:
    """Only keys of a blueprint are taken.  Raises `PortRefusal`."""
    unknown = [key for key in definition if key not in KEYS]
    if unknown:
        raise invalid(f"body must NOT have additional properties ({', '.join(map(repr, unknown))})")


# --- compiling -------------------------------------------------------------------------------------------------


def property_schema(definition: Mapping[str, Json]) -> dict[str, Json]:
    """The JSON Schema that values of a property must fit."""
    if definition.get("format") == "labeled-url":
        return _LABELED_URL
    schema = {key: value for key, value in definition.items() if key in _VALIDATING}
    if "items" in definition:
        schema["items"] = property_schema(definition["items"])
    return schema


def _as_double(value: Json) -> Json:
    return int(float(value)) if isinstance(value, int) and abs(value) > _EXACT_INTEGERS else value


def _as_utc(value: Json) -> Json:
    moment = parse_date_time(value) if isinstance(value, str) else None
    if moment is None:
        return value
    offset = moment.utcoffset()
    shifted = (moment - offset) if offset else moment
    return shifted.replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"


def _conversion(definition: Mapping[str, Json], behaviour: Behaviour) -> Callable[[Json], Json] | None:
    if definition["type"] == "number":
        return _as_double
    if behaviour.date_times == "normalised" and definition.get("format") in ("date-time", "timer"):
        return _as_utc
    return None


def compile_blueprint(definition: Mapping[str, Json], stamp: Stamp, behaviour: Behaviour) -> CompiledBlueprint:
    """Work out a completed and checked definition."""
    compiler = Compiler()
    properties = definition["schema"]["properties"]
    relations = {
        name: Relation(relation["target"], relation["many"], relation["required"])
        for name, relation in definition["relations"].items()
    }
    conversions = {name: _conversion(part, behaviour) for name, part in properties.items()}
    return CompiledBlueprint(
        identifier=definition["identifier"],
        definition=definition,
        stamp=stamp,
        checks={name: compiler.compile(property_schema(part)) for name, part in properties.items()},
        convert={name: convert for name, convert in conversions.items() if convert is not None},
        required=frozenset(definition["schema"]["required"]),
        defaults={name: part["default"] for name, part in properties.items() if part.get("default") is not None},
        relations=relations,
        mirrors={name: tuple(part["path"].split(".")) for name, part in definition["mirrorProperties"].items()},
        derived=frozenset(name for part in MAPS[1:] for name in definition[part]),
        empty_relations={name: [] if relation.many else None for name, relation in relations.items()},
    )


# --- rules within one definition -------------------------------------------------------------------------------


def _check_property(name: str, definition: Mapping[str, Json]) -> None:
    place = f"body/schema/properties/{name}"
    if (problem := _PROPERTY_OPTIONS(definition)) is not None:
        raise invalid(problem.said(place))
    wanted = "object" if definition.get("format") == "labeled-url" else "string"
    if "format" in definition and definition["type"] != wanted:
        raise invalid(f'{place} has format "{definition["format"]}" and so must be of type {wanted}')
    try:
        check = Compiler().compile(property_schema(definition))
    except (TypeError, ValueError, KeyError, AttributeError) as reason:
        raise invalid(f"{place} is not a valid schema: {reason}") from reason
    default = definition.get("default")
    if default is not None and (problem := check(default)) is not None:
        raise invalid(problem.said(f"{place}/default"))


def _check_calculation(name: str, definition: Mapping[str, Json]) -> None:
    import jq

    try:
        jq.compile(definition["calculation"])
    except ValueError as reason:
        raise invalid(f"body/calculationProperties/{name}/calculation is no jq program: {reason}") from reason


def _check_names(definition: Mapping[str, Json]) -> None:
    seen: set[str] = set()
    for names in (definition["schema"]["properties"], *(definition[part] for part in MAPS[1:])):
        twice = seen.intersection(names)
        if twice:
            raise invalid(f'property identifier "{min(twice)}" is used more than once in the blueprint')
        seen.update(names)
    for name in definition["schema"]["required"]:
        if name not in definition["schema"]["properties"]:
            raise invalid(f'body/schema/required names "{name}", which is not a property')


def _check_own(definition: Mapping[str, Json]) -> None:
    _check_names(definition)
    for name, part in definition["schema"]["properties"].items():
        _check_property(name, part)
    for name, part in definition["calculationProperties"].items():
        _check_calculation(name, part)
    for name, relation in definition["relations"].items():
        if relation["many"] and relation["required"]:
            raise invalid(f'relation "{name}" cannot be both many and required')


# --- rules between blueprints ----------------------------------------------------------------------------------

Definitions = Mapping[str, Mapping[str, Json]]
"""Completed definitions by identifier."""


def _walk(definitions: Definitions, start: str, steps: tuple[str, ...] | list[str], place: str) -> Mapping[str, Json]:
    """The blueprint at the end of a chain of relations."""
    here = definitions[start]
    for step in steps:
        relation = here["relations"].get(step)
        if relation is None:
            raise invalid(f'{place}: blueprint "{here["identifier"]}" has no relation "{step}"')
        here = definitions[relation["target"]]
    return here


def _check_mirror(definitions: Definitions, blueprint: str, name: str, path: str) -> None:
    *steps, last = path.split(".")
    place = f"mirror property {blueprint}/{name}"
    end = _walk(definitions, blueprint, steps, place)
    own = {*end["schema"]["properties"], *(key for part in MAPS[1:] for key in end[part])}
    if last not in own and last not in META_PROPERTIES:
        raise invalid(f'{place}: blueprint "{end["identifier"]}" has no property "{last}"')


def _connected(definitions: Definitions, start: str) -> set[str]:
    """Blueprints that hang together by relations, in either direction."""
    edges = [
        (blueprint, relation["target"])
        for blueprint, definition in definitions.items()
        for relation in definition["relations"].values()
    ]
    reached = {start}
    while True:
        more = {end for edge in edges if reached.intersection(edge) for end in edge}
        if more <= reached:
            return reached
        reached |= more


def _check_aggregations(definitions: Definitions, blueprint: str) -> None:
    aggregations = definitions[blueprint]["aggregationProperties"]
    reachable = _connected(definitions, blueprint) if aggregations else set()
    for name, aggregation in aggregations.items():
        target = aggregation["target"]
        if target not in definitions:
            raise not_found("Blueprint", target)
        if target not in reachable:
            raise invalid(f'aggregation property {blueprint}/{name}: "{target}" is not related to "{blueprint}"')


def check_definition(definition: Mapping[str, Json], others: Definitions) -> None:
    """Hold a completed definition to the rules, with the other blueprints as they will be beside it.

    Raises `PortRefusal`: 404 for a target that does not exist, 422 otherwise.
    """
    _check_own(definition)
    definitions = {**others, definition["identifier"]: definition}
    for relation in definition["relations"].values():
        if relation["target"] not in definitions:
            raise not_found("Blueprint", relation["target"])
    for blueprint, part in definitions.items():
        for name, mirror in part["mirrorProperties"].items():
            _check_mirror(definitions, blueprint, name, mirror["path"])
    ownership = definition.get("ownership") or {}
    if ownership.get("type") == "Inherited":
        _walk(definitions, definition["identifier"], ownership["path"].split("."), "ownership path")
    _check_aggregations(definitions, definition["identifier"])


def check_change(old: Mapping[str, Json], new: Mapping[str, Json]) -> None:
    """A property keeps its type for as long as it exists (Port documentation, Set up blueprint).

    Raises `PortRefusal`.
    """
    before, after = old["schema"]["properties"], new["schema"]["properties"]
    for name in before.keys() & after.keys():
        kept, given = before[name]["type"], after[name]["type"]
        if kept != given:
            raise invalid(f'the type of property "{name}" cannot be changed from {kept} to {given}')
