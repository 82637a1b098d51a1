"""How a value of one type becomes one of another, where nothing of it is lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson

if TYPE_CHECKING:
    from collections.abc import Callable

    from pdsync.model import Json


def converter(definition: Json) -> Callable[[Json], Json]:
    """How a value becomes one of this definition; the function gives None when it cannot be without a loss."""
    wanted = definition if isinstance(definition, dict) else {}
    match wanted.get("type"):
        case "string":
            return _to_string if not wanted.get("format") else (lambda value: value if isinstance(value, str) else None)
        case "number":
            return lambda value: _parsed(value, (int, float))
        case "boolean":
            return lambda value: _parsed(value, (bool,))
        case "object":
            return lambda value: _parsed(value, (dict,))
        case "array":
            inner = converter(wanted["items"]) if isinstance(wanted.get("items"), dict) else (lambda value: value)
            return lambda value: _to_list(value, inner)
    return lambda _: None


def _to_string(value: Json) -> Json:
    if isinstance(value, list):
        return _to_string(value[0]) if len(value) == 1 else None
    return value if isinstance(value, str) else orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()


def _parsed(value: Json, kinds: tuple[type, ...]) -> Json:
    if isinstance(value, list) and len(value) == 1:
        return _parsed(value[0], kinds)
    if isinstance(value, str):
        try:
            value = orjson.loads(value)
        except ValueError:
            return None
    # In Python true is an int.
    fits = isinstance(value, kinds) and (bool in kinds or not isinstance(value, bool))
    return value if fits else None


def _to_list(value: Json, inner: Callable[[Json], Json]) -> Json:
    converted = [inner(element) for element in (value if isinstance(value, list) else [value])]
    return None if any(element is None for element in converted) else converted
