"""A server of every list, made from the official specification alone (`lists.json`), strict about what it is asked.

It knows nothing of pdsync's table: which parameters there are, which values and headers, how a list is paged and what
a row has come from the specification; which list fills a part of a path from the path itself.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote

from tests.source.loopback import Script

if TYPE_CHECKING:
    from collections.abc import Iterator

START = datetime(2026, 1, 1, tzinfo=UTC)
PAGING = frozenset({"limit", "offset", "total", "cursor", "after", "before"})
LONG, SHORT = 130, 3

FILLED_FROM = {
    "/service_dependencies/business_services/{id}": ("/business_services", "id"),
    "/service_dependencies/technical_services/{id}": ("/services", "id"),
    "/event_orchestrations/services/{service_id}": ("/services", "id"),
    "/status_dashboards/url_slugs/{url_slug}": ("/status_dashboards", "url_slug"),
    "/analytics/raw/responders/{responder_id}": ("/users", "id"),
    "/analytics/raw/incidents/{id}": ("/incidents", "id"),
    "/standards/scores/technical_services/{id}": ("/services", "id"),
}
"""Where a path does not begin with that of the list that fills it."""

CHOICES = {
    "/{entity_type}": ("users", "teams", "escalation_policies"),
    "/tags/{id}/{entity_type}": ("users", "teams", "escalation_policies"),
    "/standards/scores/{resource_type}": ("technical_services",),
}


@cache
def lists() -> dict[str, dict[str, Any]]:
    """What the specification says, by kind."""
    found: dict[str, dict[str, Any]] = json.loads(Path(__file__).with_name("lists.json").read_text(encoding="utf-8"))
    return found


class Refused(Exception):
    """A request that the specification does not allow."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


_OLD_PATH = re.compile(r"/schedules/v3\.schedules:\d+/")
"""Of what a shift-based schedule had before: whether it is there is not documented, and may be asked."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request: its concrete path, parameters or body, and headers."""

    path: str
    params: tuple[tuple[str, str], ...]
    body: dict[str, Any]
    headers: Mapping[str, str]

    def get(self, name: str) -> str | None:
        return next((value for key, value in self.params if key == name), None)


class Lists:
    """Every list with rows of its own; `refusals` are the requests that were not as specified."""

    def __init__(self) -> None:
        self.refusals: list[str] = []
        self._by_path = {(row["method"], row["path"]): row for row in lists().values()}
        self._rows: dict[str, list[dict[str, Any]]] = {}
        self._paths: dict[str, frozenset[str]] = {}

    # --- what there is

    def paths(self, template: str) -> Iterator[str]:
        """Every concrete path that a template stands for, given the rows of the lists above it."""
        found = [""]
        for step in template.strip("/").split("/"):
            found = [f"{path}/{value}" for path in found for value in self._values(path, step, template)]
        yield from found

    def _values(self, so_far: str, step: str, template: str) -> list[str]:
        if not step.startswith("{"):
            return [step]
        for pattern, choices in CHOICES.items():
            if _matches(pattern, f"{so_far}/x") and step == pattern.rpartition("/")[2]:
                return list(choices)
        for pattern, (above, name) in FILLED_FROM.items():
            if _matches(pattern, f"{so_far}/x"):
                return [row[name] for row in self.rows(above)]
        return [row["id"] for row in self.rows(so_far)]

    def rows(self, path: str) -> list[dict[str, Any]]:
        """The rows at a concrete path; each is found nowhere else."""
        if path not in self._rows:
            self._rows[path] = self._made(path)
        return self._rows[path]

    def _made(self, path: str) -> list[dict[str, Any]]:
        row = self._row_of("GET", path) or self._row_of("POST", path)
        assert row is not None, path
        shape = row["rows"].get(path.rpartition("/")[2]) or next(iter(row["rows"].values()))
        has_children = any(other["path"].startswith(row["path"] + "/{") for other in lists().values())
        leads = any(above == row["path"] for above, _ in FILLED_FROM.values())
        count = LONG if _paging(row) != "none" and not has_children and not leads and "{" not in row["path"] else SHORT
        count = count if shape else 1  # nothing could tell two rows apart: they are a total
        return [_made(shape, f"{path.strip('/').replace('/', '.')}:{n}", n) for n in range(count)]

    def _row_of(self, method: str, path: str) -> dict[str, Any] | None:
        exact = self._by_path.get((method, path))
        fits = (row for (how, template), row in self._by_path.items() if how == method and _matches(template, path))
        return exact or next(fits, None)

    def _all(self, template: str) -> frozenset[str]:
        if template not in self._paths:
            self._paths[template] = frozenset(self.paths(template))
        return self._paths[template]

    # --- serving

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body = b""
        if scope["method"] == "POST":
            body = (await receive())["body"]
        query = tuple(parse_qsl(scope["query_string"].decode(), keep_blank_values=True))
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        asked = Asked(unquote(scope["raw_path"].decode()), query, json.loads(body or b"{}"), headers)
        try:
            status, answer = 200, self.answer(scope["method"], asked)
        except Refused as refused:
            if not _OLD_PATH.match(asked.path):
                self.refusals.append(f"{scope['method']} {asked.path}: {refused}")
            status, answer = refused.status, {"error": {"message": str(refused)}}
        await Script([(status, {"content-type": "application/json"}, json.dumps(answer).encode())])(
            scope, receive, send
        )

    def answer(self, method: str, asked: Asked) -> Any:
        if shown := re.fullmatch(r"/v3/schedules/([^/]+)", asked.path):
            return {"schedule": next(row for row in self.rows("/v3/schedules") if row["id"] == shown[1])}
        row = self._row_of(method, asked.path)
        if row is None or asked.path not in self._all(row["path"]):
            raise Refused(404, "not there")
        _check(row, asked)
        return self._page(row, asked)

    def _page(self, row: dict[str, Any], asked: Asked) -> Any:
        rows, paging = self.rows(asked.path), _paging(row)
        key = asked.path.rpartition("/")[2] if len(row["rows"]) > 1 else next(iter(row["rows"]))
        limit = int(asked.get("limit") or asked.body.get("limit") or 25)
        begin = _begin(paging, asked, rows)
        part = rows if paging == "none" else rows[begin : begin + limit]
        more = paging != "none" and begin + limit < len(rows)
        told = {
            "more": more,
            "limit": len(rows) + 1 if paging == "none" else limit,
            "offset": begin,
            "total": len(rows) if asked.get("total") == "true" else None,
            "next_cursor": f"c{begin + limit}" if more else None,
            "last": part[-1]["uid"] if part else None,
        }
        extra = {"after": part[-1]["uid"] if more else None} if paging == "after" else {}
        return (
            {key: [each["uid"] if each.get("plain") else each for each in part]}
            | {name: told[name] for name in row.get("told", ())}
            | extra
        )


def _matches(template: str, path: str) -> bool:
    return re.fullmatch(re.sub(r"\{[^}]*\}", "[^/]+", template), path) is not None


def _paging(row: dict[str, Any]) -> str:
    names = {each["name"] for each in row.get("parameters", ())}
    if "offset" in names:
        return "classic"
    if "starting_after" in row.get("body", {}) and "last" in row.get("told", ()):
        return "post"
    return next((way for way in ("cursor", "after") if way in names), "none")


def _begin(paging: str, asked: Asked, rows: list[dict[str, Any]]) -> int:
    """The place of the first row that is asked for."""
    if paging == "classic":
        return int(asked.get("offset") or 0)
    if paging == "cursor":
        return int((asked.get("cursor") or "c0")[1:])
    after = asked.get("after") if paging == "after" else asked.body.get("starting_after")
    return 1 + next(n for n, row in enumerate(rows) if row["uid"] == after) if after else 0


def _made(shape: Any, uid: str, number: int) -> dict[str, Any]:
    """A row of a shape; `uid` is its own."""
    if not isinstance(shape, dict):
        return {"uid": uid, "plain": True}
    return {name: _value(name, inner, uid, number) for name, inner in shape.items()} | {"uid": uid}


def _value(name: str, shape: Any, uid: str, number: int) -> Any:
    if isinstance(shape, dict):
        return {inner: _value(inner, below, uid, number) for inner, below in shape.items()}
    if name.endswith(("_at", "_time", "start", "end")) or name == "timestamp":
        return (START + timedelta(hours=number)).strftime("%Y-%m-%dT%H:%M:%SZ")
    plain = {"integer": number, "number": number, "boolean": True, "object": {}, "array": []}
    return plain.get(shape, f"{uid}" if name in {"id", "url_slug"} else f"{name} {uid}")


# --- what may be asked -----------------------------------------------------------------------------------------


def _check(row: dict[str, Any], asked: Asked) -> None:
    for name, value in row.get("headers", {}).items():
        if asked.headers.get(name) != value:
            raise Refused(400, f"header {name} is not {value}")
    known = {each["name"]: each for each in row.get("parameters", ())}
    for name, value in asked.params:
        if name not in known:
            raise Refused(400, f"parameter {name} is not known")
        _check_value(known[name], value)
    for name, parameter in known.items():
        if parameter.get("required") and asked.get(name) is None:
            raise Refused(400, f"parameter {name} is missing")
    _check_body(row.get("body", {}), asked.body, "")


def _check_value(parameter: dict[str, Any], value: str) -> None:
    name = parameter["name"]
    if parameter.get("enum") and value not in parameter["enum"]:
        raise Refused(400, f"{name} is {value}")
    if parameter["type"] == "boolean" and value not in {"true", "false"}:
        raise Refused(400, f"{name} is {value}")
    if name == "limit" and not 1 <= int(value) <= parameter.get("maximum", 100):
        raise Refused(400, f"limit is {value}")
    if name in {"since", "until"} and not re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", value):
        raise Refused(400, f"{name} is {value}")


_TYPES: dict[str, type | tuple[type, ...]] = {
    "string": str,
    "boolean": bool,
    "integer": int,
    "array": list,
    "object": dict,
    "number": (int, float),
}


def _check_body(shape: dict[str, Any], body: dict[str, Any], where: str) -> None:
    for name, value in body.items():
        if name not in shape:
            raise Refused(400, f"{where}{name} is not known")
        inner = shape[name]
        if isinstance(value, dict):
            _check_body(inner, value, f"{name}.")
        elif not isinstance(value, _TYPES[inner["type"]]) or (inner.get("enum") and value not in inner["enum"]):
            raise Refused(400, f"{where}{name} is {value!r}")


@dataclass
class Spoilt:
    """An application that answers wrongly now and then: `faults` are given one after the other, then it is itself."""

    app: Any
    faults: list[Any] = field(default_factory=list)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await (self.faults.pop(0) if self.faults else self.app)(scope, receive, send)
