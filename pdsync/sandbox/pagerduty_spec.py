"""PagerDuty's official specification, or the cut of it that the sandbox serves (`specs/pagerduty.json`).

The file is read when a `Spec` is first asked something, and of it only where things are; an operation and a schema are
worked out when they are first needed, so that a sandbox costs what is asked of it.  The cut says of each list where
its rows are and how it is paged (`x-list`), and of each operation which OAuth scope it wants (`x-scope`);
`tests/sandbox/derive_pagerduty.py` makes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import msgspec

Schema = Mapping[str, Any]

_ALTERNATIVES = ("anyOf", "oneOf")


@dataclass(frozen=True, slots=True)
class Parameter:
    """A query parameter: its type, what it may be, whether it must be given, repeats or is split at commas.

    `default` and `least` to `greatest` are of numbers; None where the specification is silent.
    """

    name: str
    type: str
    format: str
    choices: tuple[str, ...]
    required: bool
    repeats: bool
    commas: bool
    most: int | None
    default: int | None
    least: int | None
    greatest: int | None


@dataclass(frozen=True, slots=True)
class Listing:
    """A list: the key of its rows, how it is paged (`classic`, `cursor`, `after` or `none`), what is beside the rows.

    `schema` is that of one row, `beside` has the schema of each other field.
    """

    rows: str
    paging: str
    schema: Schema
    beside: Mapping[str, Schema]


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation of the specification.

    Query parameters by name, the values that path parameters are limited to, headers that must have a value, schema
    of the body (None: takes none), scope that an OAuth token needs ("": none named), and the list, if it is one.
    """

    path: str
    method: str
    parameters: Mapping[str, Parameter]
    places: Mapping[str, tuple[str, ...]]
    headers: Mapping[str, str]
    body: Schema | None
    scope: str
    listing: Listing | None

    @property
    def listing_schema(self) -> Schema:
        """The schema of a row.  Raises `AssertionError` if this is no list."""
        assert self.listing is not None
        return self.listing.schema


class _Components(msgspec.Struct):
    parameters: dict[str, msgspec.Raw]
    schemas: dict[str, msgspec.Raw]


class _Document(msgspec.Struct):
    """The file, with all that is worked out later as the bytes it is."""

    paths: dict[str, dict[str, msgspec.Raw]]
    components: _Components


class Spec:
    """The specification, read on demand."""

    def __init__(self) -> None:
        self._operations: dict[tuple[str, str], Operation] = {}
        self._read_components: dict[str, Schema] = {}

    @cached_property
    def _document(self) -> _Document:
        raw = (Path(__file__).parent / "specs" / "pagerduty.json").read_bytes()
        return msgspec.json.decode(raw, type=_Document)

    def operation(self, method: str, path: str) -> Operation:
        """The operation of a method and a path.  Raises `KeyError` if there is none."""
        found = self._operations.get((method, path))
        if found is None:
            found = self._operations[method, path] = self._read(method, path)
        return found

    def _read(self, method: str, path: str) -> Operation:
        found = msgspec.json.decode(self._document.paths[path][method])
        given = [self.component(one) for one in found["parameters"]]
        body = found.get("requestBody")
        schema = found["responses"]["200"]["content"]["application/json"]["schema"]
        listed = found.get("x-list")
        return Operation(
            path=path,
            method=method,
            parameters={p["name"]: _parameter(p, self.component(p["schema"])) for p in given if p["in"] == "query"},
            places={
                p["name"]: tuple(p["schema"]["enum"]) for p in given if p["in"] == "path" and "enum" in p["schema"]
            },
            headers={p["name"]: p["schema"]["enum"][0] for p in given if p["in"] == "header" and p["name"] != "Accept"},
            body=self.resolved(body["content"]["application/json"]["schema"]) if body else None,
            scope=found.get("x-scope", ""),
            listing=self._listing(listed, self.fields(schema)) if listed else None,
        )

    def _listing(self, listed: Any, fields: Mapping[str, Schema]) -> Listing:
        rows = next((key for key in (listed["rows"], *fields) if key in fields and key not in listed["beside"]), "")
        return Listing(
            rows=listed["rows"],
            paging=listed["paging"],
            schema=self.component(fields[rows])["items"],
            beside={name: fields.get(name, {}) for name in listed["beside"]},
        )

    def component(self, schema: Schema) -> Schema:
        """What a reference leads to; anything else is itself."""
        while "$ref" in schema:
            pointer = schema["$ref"]
            if pointer not in self._read_components:
                _, _, kind, name = pointer.split("/")
                self._read_components[pointer] = msgspec.json.decode(getattr(self._document.components, kind)[name])
            schema = self._read_components[pointer]
        return schema

    def fields(self, schema: Schema) -> dict[str, Schema]:
        """The properties of a schema, those of its parts and of its alternatives included."""
        schema = self.component(schema)
        parts = [part for word in ("allOf", *_ALTERNATIVES) for part in schema.get(word, ())]
        return {**{k: v for part in parts for k, v in self.fields(part).items()}, **schema.get("properties", {})}

    def resolved(self, schema: Any) -> Any:
        """A schema without references; request bodies are shallow and have no cycles."""
        if isinstance(schema, dict):
            found = self.component(schema)
            return {key: self.resolved(value) for key, value in found.items()}
        return [self.resolved(value) for value in schema] if isinstance(schema, list) else schema


@cache
def official() -> Spec:
    """The specification, read once for all sandboxes of a process."""
    return Spec()


def _parameter(found: Schema, schema: Schema) -> Parameter:
    is_list = schema["type"] == "array" or "maxItems" in schema
    items = schema.get("items", schema)
    return Parameter(
        name=found["name"],
        type=items["type"],
        format=items.get("format", ""),
        choices=tuple(items.get("enum", ())),
        required=found.get("required", False),
        repeats=is_list and found.get("explode", True),
        commas=is_list and not found.get("explode", True),
        most=schema.get("maxItems"),
        default=schema.get("default") if schema["type"] == "integer" else None,
        least=schema.get("minimum"),
        greatest=schema.get("maximum"),
    )
