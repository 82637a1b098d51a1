"""The routes that the sandbox's Port serves, with the request schemas of Port's own OpenAPI document.

`specs/port.json` is a cut of that document (made by tests/sandbox/derive_port.py).  Schemas are compiled when a route
is first used, once for all sandboxes of a process.
"""

from __future__ import annotations

from functools import cache, cached_property
from importlib import resources
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, unquote

import orjson

from pdsync.sandbox.port_rules import PortRefusal, invalid
from pdsync.sandbox.port_schema import Compiler

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pdsync.model import Json
    from pdsync.sandbox.port_schema import Check

_LATER_PARAMETERS = frozenset({"ocean_info_event_type", "ocean_info_resync_id"})
"""Query parameters that the document has gained since; they change nothing here."""

_BOOLEANS = {"true": True, "false": False}


def load_document() -> dict[str, Json]:
    """The cut of the OpenAPI document that ships with the package."""
    document: dict[str, Json] = orjson.loads(
        resources.files("pdsync.sandbox").joinpath("specs", "port.json").read_bytes()
    )
    return document


class Operation:
    """One method of one route: splits its query, checks its body."""

    def __init__(self, method: str, template: str, definition: Mapping[str, Json], compiler: Compiler) -> None:
        self.method = method
        self.template = template
        self._definition = definition
        self._compiler = compiler

    @property
    def has_body(self) -> bool:
        """Whether the route takes a JSON body."""
        return "requestBody" in self._definition

    @cached_property
    def body_check(self) -> Check:
        """Judges a parsed body."""
        return self._compiler.compile(self._definition["requestBody"]["content"]["application/json"]["schema"])

    @cached_property
    def _parameters(self) -> dict[str, Mapping[str, Json]]:
        return {part["name"]: part["schema"] for part in self._definition["parameters"] if part["in"] == "query"}

    @cached_property
    def _defaults(self) -> dict[str, Json]:
        """A boolean that is left out counts as false, be it declared as required or not."""
        return {name: False for name, schema in self._parameters.items() if schema.get("type") == "boolean"} | {
            name: schema["default"] for name, schema in self._parameters.items() if schema.get("default") is not None
        }

    def query(self, raw: bytes) -> dict[str, Json]:
        """The query string's values in their types.  Raises `PortRefusal` (422) for unknown names and wrong values."""
        values = dict(self._defaults)
        for given, text in parse_qsl(raw.decode("latin-1"), keep_blank_values=True):
            name = given.removesuffix("[]")
            schema = self._parameters.get(name)
            if schema is None:
                if name in _LATER_PARAMETERS:
                    continue
                raise invalid(f"querystring must NOT have additional properties ('{name}')")
            kind = schema.get("type")
            if kind == "boolean":
                values[name] = _boolean(name, text)
            elif kind == "number":
                values[name] = _number(name, text)
            elif kind == "array" or "anyOf" in schema:
                values[name] = [*values.get(name, ()), text]
            else:
                values[name] = text
        return values


def _boolean(name: str, text: str) -> bool:
    if text not in _BOOLEANS:
        raise invalid(f"querystring/{name} must be boolean")
    return _BOOLEANS[text]


def _number(name: str, text: str) -> int:
    if not text.isdecimal():
        raise invalid(f"querystring/{name} must be number")
    return int(text)


class Routes:
    """Finds the operation of a request by its raw path: identifiers may hold encoded slashes."""

    def __init__(self, document: Mapping[str, Json]) -> None:
        compiler = Compiler(document)
        self._templates: list[tuple[tuple[str, ...], dict[str, Operation]]] = [
            (
                tuple(template.strip("/").split("/")),
                {method.upper(): Operation(method, template, part, compiler) for method, part in methods.items()},
            )
            # Fixed segments win over placeholders: `entities/search` is no entity.
            for template, methods in sorted(document["paths"].items(), key=lambda item: item[0].replace("{", "~"))
        ]

    def find(self, method: str, raw_path: str) -> tuple[Operation, list[str]]:
        """The operation and the decoded path parameters.

        Raises `PortRefusal`: 404 when there is no such route, 405 when it knows no such method.
        """
        segments = raw_path.strip("/").split("/")
        allowed: set[str] = set()
        for template, operations in self._templates:
            if len(template) == len(segments) and _fits(template, segments):
                if method in operations:
                    pairs = zip(template, segments, strict=True)
                    return operations[method], [unquote(part) for name, part in pairs if name[0] == "{"]
                allowed |= operations.keys()
        if allowed:
            message = f"{method} is not allowed here, {', '.join(sorted(allowed))} is"
            raise PortRefusal(405, "method_not_allowed", message)
        raise PortRefusal(404, "not_found", f"Route {method}:{raw_path} not found")


@cache
def official_routes() -> Routes:
    """The routes of the document; they hold nothing of any store."""
    return Routes(load_document())


def _fits(template: tuple[str, ...], segments: list[str]) -> bool:
    return all(
        part == segment or (part[0] == "{" and segment != "") for part, segment in zip(template, segments, strict=True)
    )
