"""Talks to the sandbox's Port and holds each exchange to Port's official OpenAPI document.

Whatever a test asks, three laws are checked on the way, with a validator of another make (`jsonschema`):

- a request that succeeds fits the document's request schema; one that does not fit it is refused;
- the answer fits the document's schema for its status;
- every error has `ok: false` and a code, every answer a trace id.

Relaxed, because the document is wrong there (real answers say otherwise):

- entities: closed in the document, yet real ones have `createdAt`, `createdBy`, `updatedAt`, `updatedBy`, `blueprint`
  and `scorecards`; `title` and `icon` are null when there is none;
- errors: real ones have `details`, which the document's closed schema lacks;
- with `attach_title_to_relation` relation values are objects, which the document does not say;
- `POST /v1/entities/aggregate`: its answer is described as that of an entity search;
- organisation, audit log and integration have no schema for success at all; 400, 405, 409, 415 and 429 occur nowhere.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote, urlencode

import orjson
import regex  # type: ignore[import-untyped]
from jsonschema import Draft202012Validator, ValidationError
from jsonschema.validators import extend

from pdsync.sandbox.port import PortStore, port_app
from pdsync.sandbox.port_spec import load_document

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from starlette.types import Message

CREDENTIALS = {"clientId": "id", "clientSecret": "secret"}
DOCUMENT = load_document()
_WRONG_SUCCESS = {"/v1/entities/aggregate"}


def _pattern(_validator: Any, pattern: str, value: Any, _schema: Any) -> Iterator[ValidationError]:
    anchored = pattern[:-1] + r"\Z" if pattern.endswith("$") else pattern
    if isinstance(value, str) and not regex.search(anchored, value):
        yield ValidationError(f"{value!r} does not match {pattern!r}")


# Python's own `re` knows no \p{L}, which the document's patterns use.
OfficialValidator = extend(Draft202012Validator, {"pattern": _pattern})


def official(schema: Mapping[str, Any]) -> Any:
    """A validator of a schema of the document, its references resolved there."""
    return OfficialValidator({**schema, "components": DOCUMENT["components"]})


def _relaxed(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_relaxed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    opened = {key: _relaxed(value) for key, value in schema.items()}
    properties = opened.get("properties") or {}
    if {"identifier", "properties", "relations"} <= properties.keys():
        nullable = {"type": ["string", "null"]}
        return {
            **opened,
            "additionalProperties": True,
            "properties": {**properties, "title": nullable, "icon": nullable},
        }
    if {"ok", "error", "message"} == properties.keys():
        return {**opened, "additionalProperties": True}
    return opened


class Answer(NamedTuple):
    """What came back."""

    status: int
    body: Any
    headers: Mapping[str, str]

    @property
    def error(self) -> tuple[int, str]:
        """Status and Port's code."""
        return self.status, self.body["error"]


class Operation(NamedTuple):
    """An operation of the document and its template."""

    template: str
    definition: Mapping[str, Any]


def operation_of(method: str, path: str) -> Operation | None:
    """The document's operation for a path with encoded parts."""
    segments = path.strip("/").split("/")
    for template, methods in sorted(DOCUMENT["paths"].items(), key=lambda item: item[0].count("{")):
        names = template.strip("/").split("/")
        if len(names) == len(segments) and all(
            name == part or name[0] == "{" for name, part in zip(names, segments, strict=True)
        ):
            return Operation(template, methods[method.lower()]) if method.lower() in methods else None
    return None


def hold_to_document(method: str, path: str, query: Mapping[str, Any], body: Any, answer: Answer) -> None:
    """Check one exchange; see the module's docstring."""
    assert answer.headers["x-trace-id"]
    if answer.status >= 400:
        assert answer.body["ok"] is False
        assert isinstance(answer.body["error"], str)
    operation = operation_of(method, path)
    if operation is None:
        assert answer.status in (404, 405)
        return
    if "requestBody" in operation.definition:
        schema = operation.definition["requestBody"]["content"]["application/json"]["schema"]
        if not official(schema).is_valid(body):
            assert answer.status >= 400, f"{method} {path} took {body!r}"
    described = operation.definition["responses"].get(str(answer.status))
    is_wrong = operation.template in _WRONG_SUCCESS or "attach_title_to_relation" in query
    if described is not None and not (answer.status < 300 and is_wrong):
        schema = described["content"]["application/json"]["schema"]
        official(_relaxed(schema)).validate(answer.body)


def path(*parts: str) -> str:
    """`/v1/` and the parts, each encoded."""
    return "/v1/" + "/".join(quote(part, safe="") for part in parts)


class PortClient:
    """Asks an app over a store, with a token; `options` are those of `port_app`."""

    def __init__(self, store: PortStore | None = None, **options: Any) -> None:
        self.store = store or PortStore()
        self.app = port_app(self.store, client_id="id", client_secret="secret", **options)
        self.token = self.ask("POST", path("auth", "access_token"), CREDENTIALS, token="").body["accessToken"]

    def ask(
        self,
        method: str,
        to: str,
        body: Any = None,
        *,
        raw: bytes | None = None,
        token: str | None = None,
        content_type: str = "application/json",
        **query: Any,
    ) -> Answer:
        """Send one request (`raw` bytes or `body` as JSON) and check the exchange."""
        content = raw if raw is not None else b"" if body is None else orjson.dumps(body)
        bearer = self.token if token is None else token
        headers = [(b"content-type", content_type.encode())]
        if bearer:
            headers.append((b"authorization", f"Bearer {bearer}".encode()))
        scope = {
            "type": "http",
            "method": method,
            "path": to,
            "raw_path": to.encode(),
            "query_string": _query(query),
            "headers": headers,
        }
        answer = _call(self.app, scope, content)
        if raw is None:
            hold_to_document(method, to, query, body, answer)
        return answer

    def get(self, *parts: str, **query: Any) -> Answer:
        return self.ask("GET", path(*parts), **query)

    def post(self, *parts: str, body: Any, **query: Any) -> Answer:
        return self.ask("POST", path(*parts), body, **query)

    def put(self, *parts: str, body: Any, **query: Any) -> Answer:
        return self.ask("PUT", path(*parts), body, **query)

    def patch(self, *parts: str, body: Any, **query: Any) -> Answer:
        return self.ask("PATCH", path(*parts), body, **query)

    def delete(self, *parts: str, **query: Any) -> Answer:
        return self.ask("DELETE", path(*parts), **query)

    # --- short forms ---

    def blueprint(self, identifier: str = "service", **parts: Any) -> Answer:
        """Create a blueprint; `properties` and `required` go into its schema."""
        schema = {"properties": parts.pop("properties", {}), "required": parts.pop("required", [])}
        body = {"identifier": identifier, "title": identifier, "schema": schema, **parts}
        return self.post("blueprints", body=body, create_catalog_page=False)

    def upsert(self, blueprint: str, entity: Mapping[str, Any], **query: Any) -> Answer:
        return self.post("blueprints", blueprint, "entities", body=entity, **{"upsert": True, "merge": True, **query})

    def bulk(self, blueprint: str, *entities: Mapping[str, Any], **query: Any) -> Answer:
        body = {"entities": list(entities)}
        return self.post(
            "blueprints", blueprint, "entities", "bulk", body=body, **{"upsert": True, "merge": True, **query}
        )

    def entity(self, blueprint: str, identifier: str, **query: Any) -> Any:
        """An entity that must exist."""
        answer = self.get("blueprints", blueprint, "entities", identifier, **query)
        assert answer.status == 200, answer.body
        return answer.body["entity"]

    def search(self, blueprint: str, *rules: Mapping[str, Any], **parts: Any) -> list[str]:
        """Identifiers of the entities that match all rules."""
        body = {"query": {"combinator": "and", "rules": list(rules)}, **parts}
        answer = self.post("blueprints", blueprint, "entities", "search", body=body)
        assert answer.status == 200, answer.body
        return [entity["identifier"] for entity in answer.body["entities"]]


def _query(query: Mapping[str, Any]) -> bytes:
    def text(value: Any) -> Any:
        return str(value).lower() if isinstance(value, bool) else value

    return urlencode({name: text(value) for name, value in query.items()}, doseq=True).encode()


def _call(app: Callable[..., Any], scope: Mapping[str, Any], content: bytes) -> Answer:
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": content, "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    asyncio.run(app(scope, receive, send))
    answered = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return Answer(sent[0]["status"], orjson.loads(sent[1]["body"]), answered)
