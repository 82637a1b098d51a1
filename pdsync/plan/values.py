"""What Port takes as a value: one check per path of a blueprint, compiled once.

A check gives why a value would be refused, in words, or the empty text.  It is as strict as Port's reference is, where
that says anything (Port API reference, Properties, Relations); what only Port knows is left to `--validate-remote`.
"""

from __future__ import annotations

import ipaddress
import json
import re
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import regex  # type: ignore[import-untyped]

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from pdsync.model import Blueprint, Json

    Check = Callable[[Json], str]

_KEYWORDS: Final = (
    "type",
    "enum",
    "minLength",
    "maxLength",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "minItems",
    "maxItems",
    "uniqueItems",
    "format",
    "properties",
    "patternProperties",
    "additionalProperties",
    "required",
)
"""What of a property's definition is about its values; titles, icons and colours are not."""

_ATOM: Final = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LABEL: Final = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
_EMAIL: Final = regex.compile(rf"{_ATOM}(?:\.{_ATOM})*@{_LABEL}(?:\.{_LABEL})+")
_IDN_EMAIL: Final = regex.compile(r"[^\s@]+@[^\s@.]+(?:\.[^\s@.]+)+")
_INSTANT: Final = regex.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(?:\.\d+)?(?:[Zz]|[+-]\d\d:\d\d)", regex.ASCII)
PLAIN_URL: Final = re.compile(r"https?://[A-Za-z0-9][A-Za-z0-9.-]*(?:/[!-~]*)?")
"""What nearly every URL is; nothing that a closer look would refuse."""

_IDENTIFIER: Final = regex.compile(r"(?!\.{1,2}\Z)[\p{L}0-9@_.+:\\/=-]{1,1000}")


def checks_of(blueprint: Blueprint) -> dict[str, Check]:
    """The check of each path that an entity of the blueprint may have."""
    checks: dict[str, Check] = {"title": _text, "icon": _text, "team": _team}
    checks |= {f"properties.{name}": property_check(part) for name, part in blueprint.properties.items()}
    checks |= {f"relations.{name}": relation_check(part) for name, part in blueprint.relations.items()}
    return checks


def required_paths(blueprint: Blueprint) -> dict[str, bool]:
    """The paths that must have a value -> whether Port fills in a default when an entity is created without."""
    properties = blueprint.properties
    paths = {f"properties.{name}": "default" in properties.get(name, {}) for name in blueprint.required}
    return paths | {f"relations.{name}": False for name, part in blueprint.relations.items() if part.get("required")}


def property_check(definition: Mapping[str, Json]) -> Check:
    """Whether a value is one of this property."""
    import fastjsonschema

    matches = _pattern_check(definition)
    schema = {"$schema": "http://json-schema.org/draft-07/schema#", **_schema(definition)}
    try:
        if _refers(schema):
            return lambda _: ""  # a reference is not followed: it may lead to any address
        validate = fastjsonschema.compile(schema, formats=_FORMATS, use_default=False)
    except (fastjsonschema.JsonSchemaDefinitionException, SyntaxError, re.error):
        return lambda _: ""  # what Port keeps as a definition is Port's; only it can tell

    def check(value: Json) -> str:
        try:
            validate(value)
        except fastjsonschema.JsonSchemaValueException as refused:
            return str(refused.message).replace("data", "it", 1)
        return matches(value) if matches else ""

    return check


def relation_check(definition: Mapping[str, Json]) -> Check:
    """Whether a value is one identifier, or a list of them where the relation is to many."""
    if definition.get("many"):
        return lambda value: (
            "" if isinstance(value, list) and all(map(_is_identifier, value)) else "it must be a list of identifiers"
        )
    return lambda value: "" if _is_identifier(value) else "it must be one identifier"


def correction(definition: Mapping[str, Json], value: Json, expression: str) -> str:
    """The expression as it was probably meant; empty where that is not evident."""
    inner = f"({expression})" if "|" in expression or "," in expression else expression
    if definition.get("type") == "string" and definition.get("enum"):
        return _other_case(definition["enum"], value, inner)
    meant = next((text for fits, text in _CORRECTIONS if fits(definition, value)), "")
    return meant.format(whole=expression, inner=inner)


_CORRECTIONS: Final[tuple[tuple[Callable[[Mapping[str, Json], Json], bool], str], ...]] = (
    (lambda d, v: bool("target" in d and d.get("many") and isinstance(v, str)), "[{whole}]"),
    (lambda d, v: "target" in d and not d.get("many") and _is_single(v), "{inner} | first"),
    (lambda d, v: d.get("type") == "string" and not d.get("format") and not isinstance(v, str), "{inner} | tostring"),
    (lambda d, v: d.get("type") == "number" and isinstance(v, str) and _is_numeric(v), "{inner} | tonumber"),
    (lambda d, v: d.get("type") == "boolean" and v in ("true", "false"), '{inner} == "true"'),
    (lambda d, v: d.get("type") == "array" and not isinstance(v, list), "[{whole}]"),
    (lambda d, v: d.get("type") in ("number", "boolean", "object") and _is_single(v), "{inner} | first"),
)
"""When a definition and a value that it does not take speak for one mistake: the expression without it."""


def _is_single(value: Json) -> bool:
    return isinstance(value, list) and len(value) == 1


def _other_case(allowed: Json, value: Json, inner: str) -> str:
    """An allowed value that only differs in case is what was meant."""
    if not isinstance(value, str):
        return ""
    if value.lower() in allowed:
        return f"{inner} | ascii_downcase"
    if value.upper() in allowed:
        return f"{inner} | ascii_upcase"
    meant = next((one for one in allowed if isinstance(one, str) and one.lower() == value.lower()), None)
    return f"if {inner} == {json.dumps(value)} then {json.dumps(meant)} else {inner} end" if meant else ""


def _is_numeric(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _schema(definition: Mapping[str, Json]) -> dict[str, Any]:
    """A property's definition as the JSON Schema of its values, without what Port says in keywords of its own."""
    schema = _spoken({key: definition[key] for key in (*_KEYWORDS, "items") if key in definition})
    return {**_LABELED_URL, **schema} if definition.get("format") == "labeled-url" else schema


def _spoken(definition: Mapping[str, Json]) -> dict[str, Any]:
    """A schema with all that is in it, less patterns, which are checked apart, and formats that say nothing."""
    schema: dict[str, Any] = {key: part for key, part in definition.items() if key != "pattern"}
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            schema[key] = _spoken(schema[key])
    for key in ("properties", "patternProperties"):
        if isinstance(schema.get(key), dict):
            schema[key] = {n: _spoken(part) if isinstance(part, dict) else part for n, part in schema[key].items()}
    if schema.get("format") not in _FORMATS:
        schema.pop("format", None)
    return schema


def _refers(schema: Json) -> bool:
    if isinstance(schema, dict):
        return isinstance(schema.get("$ref"), str) or any(map(_refers, schema.values()))
    return isinstance(schema, list) and any(map(_refers, schema))


def _pattern_check(definition: Mapping[str, Json]) -> Check | None:
    """Whether texts match the patterns that a definition, its items and its members have; None where there are none."""
    pattern = _pattern(definition.get("pattern"))
    items = definition.get("items")
    of_items = _pattern_check(items) if isinstance(items, dict) else None
    members = definition.get("properties")
    of_members = {
        name: inner
        for name, part in (members.items() if isinstance(members, dict) else ())
        if isinstance(part, dict) and (inner := _pattern_check(part))
    }
    if pattern is None and of_items is None and not of_members:
        return None

    def check(value: Json) -> str:
        if isinstance(value, str) and pattern is not None and pattern.search(value) is None:
            return f"it must match {definition['pattern']}"
        inside: Iterable[tuple[str, str]] = ()
        if isinstance(value, list) and of_items:
            inside = ((f"[{n}]", of_items(part)) for n, part in enumerate(value))
        elif isinstance(value, dict):
            inside = ((f".{name}", inner(value[name])) for name, inner in of_members.items() if name in value)
        return next((f"it{where}{reason.removeprefix('it')}" for where, reason in inside if reason), "")

    return check


def _pattern(text: Json) -> regex.Pattern[str] | None:
    """An ECMA-262 pattern; None where there is none, or none that can be told here."""
    if not isinstance(text, str):
        return None
    try:
        return regex.compile(regex.sub(r"(?<!\\)\$\Z", r"\\Z", text), regex.ASCII)
    except regex.error:
        return None


def _text(value: Json) -> str:
    return "" if value is None or isinstance(value, str) else "it must be text"


def _team(value: Json) -> str:
    texts = isinstance(value, list) and all(isinstance(part, str) for part in value)
    return "" if value is None or isinstance(value, str) or texts else "it must be text or a list of texts"


def _is_identifier(value: Json) -> bool:
    return isinstance(value, str) and _IDENTIFIER.fullmatch(value) is not None


def _is_instant(text: str) -> bool:
    try:
        return _INSTANT.fullmatch(text) is not None and bool(datetime.fromisoformat(text.upper()))
    except ValueError:
        return False


def _is_url(text: str) -> bool:
    return PLAIN_URL.fullmatch(text) is not None or is_any_url(text)


def is_any_url(text: str) -> bool:
    """Whether a text is a URL with a host."""
    try:
        parts = urlsplit(text)
        fits = parts.scheme in ("http", "https", "ftp") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        return False
    return fits and text.split() == [text]


def _is_address(kind: type[ipaddress.IPv4Address | ipaddress.IPv6Address]) -> Callable[[str], bool]:
    def fits(text: str) -> bool:
        try:
            kind(text)
        except ValueError:
            return False
        return "%" not in text

    return fits


def _fully(pattern: regex.Pattern[str]) -> Callable[[str], bool]:
    return lambda text: pattern.fullmatch(text) is not None


_LABELED_URL: Final = {
    "properties": {"url": {"type": "string", "format": "url"}},
    "required": ["url"],
    "additionalProperties": {"type": "string"},
}
"""The value of a labeled URL; Port's pages name the key of its text in two ways, so any is taken."""

_FORMATS: Final[dict[str, Callable[[str], bool]]] = {
    "date-time": _is_instant,
    "timer": _is_instant,
    "url": _is_url,
    "email": _fully(_EMAIL),
    "user": _fully(_EMAIL),
    "idn-email": _fully(_IDN_EMAIL),
    "ipv4": _is_address(ipaddress.IPv4Address),
    "ipv6": _is_address(ipaddress.IPv6Address),
}
"""Formats that say something about a text; every other one takes any."""
