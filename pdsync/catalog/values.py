"""Constants against the definition of a property: defaults, enum values, literals in mappings."""

from __future__ import annotations

import re
from datetime import datetime
from types import MappingProxyType
from typing import TYPE_CHECKING

from pdsync.catalog.schema import describe

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pdsync.model import Json

_TYPES: Mapping[str, tuple[type, ...]] = MappingProxyType(
    {"string": (str,), "number": (int, float), "boolean": (bool,), "object": (dict,), "array": (list,)}
)
_WORDS: Mapping[str, str] = MappingProxyType(
    {"string": "text", "number": "a number", "boolean": "true or false", "object": "an object", "array": "a list"}
)


def misfit(definition: Mapping[str, Json], value: Json) -> str:
    """Why Port would refuse `value` for a property so defined; empty when it fits, null always does."""
    if value is None:
        return ""
    kind = definition.get("type")
    if isinstance(kind, str) and not has_type(kind, value):
        return f"expected {_WORDS[kind]}, not {describe(value)}"
    allowed = definition.get("enum")
    if isinstance(allowed, list) and value not in allowed:
        return f"{describe(value)} is not one of {', '.join(map(str, allowed))}"
    if isinstance(value, str):
        return _text_misfit(definition, value)
    if isinstance(value, list):
        return _list_misfit(definition, value)
    return _number_misfit(definition, value) if has_type("number", value) else ""


def has_type(kind: str, value: Json) -> bool:
    """Whether a value is of one of Port's property types; an unknown type takes everything."""
    if kind not in _TYPES:
        return True
    return isinstance(value, _TYPES[kind]) and (kind == "boolean") is isinstance(value, bool)


def _text_misfit(definition: Mapping[str, Json], value: str) -> str:
    check = _FORMATS.get(str(definition.get("format")))
    if check and not check(value):
        return f"{describe(value)} is not a value of format {definition['format']}"
    for keyword, word, wrong in (("minLength", "shorter", int.__lt__), ("maxLength", "longer", int.__gt__)):
        limit = definition.get(keyword)
        if isinstance(limit, int) and wrong(len(value), limit):
            return f"{describe(value)} is {word} than {limit} characters"
    return ""


def _list_misfit(definition: Mapping[str, Json], value: list[Json]) -> str:
    items = definition.get("items")
    problems = (misfit(items, item) for item in value) if isinstance(items, dict) else iter(())
    return next(filter(None, problems), "")


def _number_misfit(definition: Mapping[str, Json], value: float) -> str:
    for keyword, word, wrong in (("minimum", "below", float.__lt__), ("maximum", "above", float.__gt__)):
        limit = definition.get(keyword)
        if limit is not None and has_type("number", limit) and wrong(float(value), float(limit)):
            return f"{value} is {word} {limit}"
    return ""


_EMAIL = re.compile(r"[^@\s]+@[^@\s]+")


def _is_instant(value: str) -> bool:
    try:
        datetime.fromisoformat(value)
    except ValueError:
        return False
    return "T" in value.upper()


def _is_address(value: str) -> bool:
    import ipaddress

    try:
        ipaddress.ip_address(value)
    except ValueError:
        return False
    return True


_FORMATS: Mapping[str, Callable[[str], object]] = MappingProxyType(
    {
        "url": re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:\S+").fullmatch,
        "email": _EMAIL.fullmatch,
        "user": _EMAIL.fullmatch,
        "date-time": _is_instant,
        "timer": _is_instant,
        "ipv4": lambda value: _is_address(value) and ":" not in value,
        "ipv6": lambda value: _is_address(value) and ":" in value,
    }
)
