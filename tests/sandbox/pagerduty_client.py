"""A sandbox's PagerDuty that is called in-process, and what holds its answers to the official specification."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import orjson
from openapi_core import Config, OpenAPI
from openapi_core.datatypes import RequestParameters
from openapi_core.validation.response.exceptions import InvalidData
from werkzeug.datastructures import Headers, ImmutableMultiDict

from pdsync.sandbox import pagerduty
from pdsync.sandbox.pagerduty import SERVED, Served, pagerduty_app
from pdsync.sandbox.pagerduty_generic import Generic
from pdsync.sandbox.pagerduty_lists import parents
from pdsync.sandbox.pagerduty_records import field_id
from pdsync.sandbox.pagerduty_spec import Spec
from pdsync.sandbox.world import World

if TYPE_CHECKING:
    from collections.abc import Callable

    from jsonschema import ValidationError

TOKEN = "a-token"
ACCEPT = "application/vnd.pagerduty+json;version=2"
HEADERS = {"Authorization": f"Token token={TOKEN}", "Accept": ACCEPT}
CUT = Path(pagerduty.__file__).parent / "specs" / "pagerduty.json"
SPEC = orjson.loads(CUT.read_bytes())
READ = Spec()

KEYS: dict[str, str] = {
    path: item["get"]["x-list"]["rows"] for path, item in SPEC["paths"].items() if "x-list" in item.get("get", {})
}
"""The key of the rows, by path."""


@cache
def official() -> OpenAPI:
    """What holds requests and answers to the specification, which is taken for valid here: to tell takes seconds."""
    return OpenAPI.from_dict(SPEC, config=Config(spec_validator_cls=None))


def parameters(path: str, method: str = "get") -> list[Any]:
    """The parameters of an operation, references followed."""
    found = SPEC["paths"][path][method]["parameters"]
    return [SPEC["components"]["parameters"][p["$ref"].rsplit("/", 1)[1]] if "$ref" in p else p for p in found]


def includes(path: str) -> list[str]:
    """What include[] may name."""
    found = [p for p in parameters(path) if p["name"] == "include[]"]
    return list(found[0]["schema"]["items"]["enum"]) if found else []


def iso(moment: int) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def upgraded_world(seed: int = 7, **sizes: Any) -> World:
    """A world in which every other schedule is shift-based."""
    world = World(seed, **sizes)
    for identifier in list(world.schedules)[::2]:
        world.change("upgrade_schedule", id=identifier)
    return world


def served(kind: str, method: str = "get") -> Served:
    """The list of a kind."""
    found = [one for one in SERVED if one.kind == kind and one.method == method and not one.path.endswith("/{id}")]
    return found[0] if found else next(one for one in SERVED if one.kind == kind)


def required(path: str, world: World) -> dict[str, str]:
    """The query parameters that a list insists on, around the world's clock."""
    day = 86_400
    known = {
        "since": iso(world.clock - 10 * day),
        "until": iso(world.clock + 20 * day),
        "ids": next(iter(world.services)),
    }
    return {p["name"]: known[p["name"]] for p in parameters(path) if p.get("required") and p["in"] == "query"}


def early_access(path: str, method: str = "get") -> dict[str, str]:
    """The headers that an operation wants beside the usual ones."""
    wanted = [p for p in parameters(path, method) if p["in"] == "header" and p["name"] != "Accept"]
    return {p["name"]: p["schema"]["enum"][0] for p in wanted}


def path_of(one: Served, world: World, roll: int = 0) -> str:
    """The path of an operation with records of the world in it; another roll takes other records (the next ones, if there are none)."""
    generic = Generic(world, READ)
    path = one.path.replace("{entity_type}", "users").replace("{resource_type}", "technical_services")
    around: dict[str, str] = {}
    for name, kind in parents(one.path):
        value = _parent(generic, kind or "users", name, around, roll)
        if value is None:
            return path_of(one, world, roll + 1)
        around[kind or "users"] = value
        path = path.replace(f"{{{name}}}", value)
    return path


def _parent(generic: Generic, kind: str, name: str, around: dict[str, str], roll: int) -> str | None:
    world = generic.world
    classic = [one for one in world.schedules if one not in world.upgraded]
    fixed = {
        "schedules": classic[roll % len(classic)] if classic else "",
        "schedules_v3": sorted(world.upgraded)[roll % len(world.upgraded)] if world.upgraded else "",
        "incidents.types": "incident_default",
        "incidents.types.custom_fields": field_id("cause"),
        "incidents.custom_fields": field_id("cause"),
        "services.custom_fields": field_id("tier"),
    }
    if kind in fixed:
        return fixed[kind]
    if kind == "schedules_v3.rotations":
        return world.schedules[around["schedules_v3"]].layers[0].id
    if kind == "incidents":
        return world.incidents.ids[len(world.incidents) - 1 - roll]
    head = generic.pick(kind, roll, around)
    return None if head is None else head.id.lower() if name == "url_slug" else head.id


class Api:
    """A sandbox that is called in-process, one request at a time."""

    def __init__(self, world: World | None = None, **options: Any) -> None:
        self.world = world if world is not None else World()
        self.app = pagerduty_app(self.world, token=TOKEN, **{"limit_per_minute": 10**9, **options})

    def send(self, method: str, url: str, **request: Any) -> httpx.Response:
        async def run() -> httpx.Response:
            transport = httpx.ASGITransport(self.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://sandbox") as client:
                return await client.request(method, url, **{"headers": HEADERS, **request})

        return asyncio.run(run())

    def get(self, path: str, **params: Any) -> Any:
        found = self.send("GET", path, params={k.replace("_in", "[]"): v for k, v in params.items()})
        assert found.status_code == 200, found.text
        return found.json()

    def post(self, path: str, body: Any) -> Any:
        found = self.send("POST", path, json=body)
        assert found.status_code == 200, found.text
        return found.json()

    def walk(self, path: str, limit: int = 100, /, **params: Any) -> list[Any]:
        """All rows of a list with classic paging."""
        return self.walk_nested(path, KEYS[path], limit, **params)

    def walk_nested(self, path: str, key: str, limit: int = 100, /, **params: Any) -> list[Any]:
        """All rows of a list with classic paging, by the key of its rows."""
        more = True
        found: list[Any] = []
        while more:
            page = self.get(path, limit=limit, offset=len(found), **params)
            assert page[key] or not found, "more rows were promised"
            found += page[key]
            more = page["more"]
        return found

    def page(self, one: Served, path: str, /, **params: Any) -> Any:
        """One page of a list, with what the list insists on."""
        given = {**required(one.path, self.world), **params}
        found = self.send("GET", path, params=given, headers={**HEADERS, **early_access(one.path)})
        assert found.status_code == 200, found.text
        return found.json()

    def everything(self, one: Served, path: str, limit: int | None = None, /, **params: Any) -> list[Any]:
        """All rows of a list, however it is paged; the bounds on `limit` are those of the list."""
        listed = SPEC["paths"][one.path]["get"]["x-list"]
        key = "users" if listed["rows"] == "{entity_type}" else listed["rows"]
        ways: dict[str, Callable[[Any, int], dict[str, Any] | None]] = {
            "classic": lambda page, count: {"offset": count} if page["more"] else None,
            "cursor": lambda page, _: {"cursor": page["next_cursor"]} if page["next_cursor"] else None,
            "after": lambda page, _: {"after": page["after"]} if page["after"] else None,
            "none": lambda _, __: None,
        }
        known = next((p["schema"] for p in parameters(one.path) if p["name"] == "limit"), None)
        sized: dict[str, Any] = {}
        if limit is not None and known is not None:
            sized["limit"] = min(limit, known.get("maximum", limit))
        found: list[Any] = []
        step: dict[str, Any] | None = {}
        while step is not None:
            page = self.page(one, path, **params, **sized, **step)
            assert page[key] or not step, "more rows were promised"
            found += page[key]
            step = ways[listed["paging"]](page, len(found))
        return found

    def refuse(self, status: int, method: str, url: str, **request: Any) -> dict[str, Any]:
        """The error of an answer that must have this status; its body must have the documented shape and no more."""
        found = self.send(method, url, **request)
        assert found.status_code == status, found.text
        body = found.json()
        assert list(body) == ["error"]
        assert sorted(body["error"]) == ["code", "errors", "message"]
        error: dict[str, Any] = body["error"]
        return error


class SpecRequest:
    """An httpx request as openapi-core wants to see it."""

    def __init__(self, request: httpx.Request) -> None:
        self.host_url = "http://sandbox"
        self.path = request.url.path
        self.method = request.method.lower()
        self.content_type = request.headers.get("content-type", "")
        self.body = request.content or None
        self.parameters = RequestParameters(
            query=ImmutableMultiDict(request.url.params.multi_items()), header=Headers(list(request.headers.items()))
        )


class SpecResponse:
    """An httpx response as openapi-core wants to see it."""

    def __init__(self, response: httpx.Response) -> None:
        self.status_code = response.status_code
        self.content_type = response.headers["content-type"]
        self.headers = Headers(list(response.headers.items()))
        self.data = response.content


def check_against_spec(answer: httpx.Response) -> None:
    """Fail with the places that do not fit, rather than with the whole answer."""
    request = SpecRequest(answer.request)
    official().validate_request(request)
    try:
        official().validate_response(request, SpecResponse(answer))
    except InvalidData as problem:
        errors: list[ValidationError] = list(getattr(problem.__cause__, "schema_errors", []))
        assert [(list(error.absolute_path), error.message[:200]) for error in errors[:3]] == []
        raise
