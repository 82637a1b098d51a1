"""Port's REST API over a `PortStore`: tokens, rate limits, body limits, routes.

    store = PortStore()
    app = port_app(store, client_id="...", client_secret="...")

Requests are held to Port's OpenAPI document (`port_spec`), their meaning to Port's documentation (`port_store` and
what stands below it); open points are switches of `Behaviour`.
"""

from __future__ import annotations

import asyncio
import math
import secrets
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson
from starlette.applications import Starlette
from starlette.routing import Mount

from pdsync.model import Json
from pdsync.sandbox.port_blueprints import RENAMED_PARTS
from pdsync.sandbox.port_read import Selection
from pdsync.sandbox.port_rules import Behaviour, PortRefusal, invalid, not_found
from pdsync.sandbox.port_spec import official_routes
from pdsync.sandbox.port_store import Options, PortStore

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from pdsync.sandbox.port_spec import Operation

__all__ = ["BODY_LIMIT", "Behaviour", "PortRefusal", "PortStore", "port_app"]

BODY_LIMIT = 1024 * 1024
"""Bytes that any request body may have (Port OpenAPI, answer 413)."""

TOKEN_LIFETIME = 3 * 60 * 60.0
"""Seconds (Port API reference, Authentication)."""

RATE_PERIOD = 300.0
"""Seconds of a rate-limit window (Port API reference, Rate limits)."""

PUBLISHED_LIMITS: Mapping[str, int] = {
    "anonymous": 100,
    "entities": 35_000,
    "upsert": 10_000,
    "bulk": 35_000,
    "search": 35_000,
    "blueprints": 15_000,
    "other": 15_000,
}
"""Requests per window and group of routes (Port API reference, Rate limits)."""


@dataclass(frozen=True, slots=True)
class Call:
    """One request, checked: path parameters in order, query, body, who asks, and with what (the User-Agent)."""

    store: PortStore
    path: list[str]
    query: Mapping[str, Json]
    body: Json
    by: str
    agent: str = ""

    @property
    def options(self) -> Options:
        """The query parameters of an entity write."""
        return Options(
            upsert=self.query.get("upsert", False),
            merge=self.query.get("merge", False),
            validation_only=self.query.get("validation_only", False),
            create_missing_related_entities=self.query.get("create_missing_related_entities", False),
            datasource=self.agent,
        )

    @property
    def selection(self) -> Selection:
        """The `include` and `exclude` of the query."""
        return Selection(self.query.get("include"), self.query.get("exclude"))


Answer = tuple[int, dict[str, Json]]
"""HTTP status and JSON body."""


def _ok(**parts: Json) -> Answer:
    return 200, {"ok": True, **parts}


# --- organisation ----------------------------------------------------------------------------------------------


def _organization(call: Call) -> Answer:
    return _ok(organization={"featureFlags": [], **call.store.organization})


def _users(call: Call) -> Answer:
    with call.store.lock:
        users = [
            {
                "id": f"user_{user.sequence}",
                "email": user.identifier,
                "firstName": (user.title or "").partition(" ")[0],
                "lastName": (user.title or "").partition(" ")[2],
                "status": str(user.properties.get("status", "")).upper(),
                "type": str(user.properties.get("port_type", "")).upper(),
                "providers": [],
                "createdAt": user.stamp.created_at,
                "updatedAt": user.stamp.updated_at,
                "teams": user.relations.get("teams", []),
                "roles": [{"name": user.properties.get("port_role", "Member")}],
            }
            for user in call.store.held("_user").values()
        ]
    return _ok(users=[_fields(user, call.query.get("fields")) for user in users])


def _teams(call: Call) -> Answer:
    with call.store.lock:
        teams = [
            {
                "id": f"team_{team.sequence}",
                "name": team.identifier,
                "provider": "port",
                "description": team.properties.get("description") or "",
                "createdAt": team.stamp.created_at,
                "updatedAt": team.stamp.updated_at,
                "users": [
                    {"email": user.identifier, "status": str(user.properties.get("status", "")).upper()}
                    for user in call.store.held("_user").values()
                    if team.identifier in user.relations.get("teams", ())
                ],
            }
            for team in call.store.held("_team").values()
        ]
    return _ok(teams=[_fields(team, call.query.get("fields")) for team in teams])


def _fields(body: dict[str, Json], fields: list[str] | None) -> dict[str, Json]:
    wanted = {name.partition(".")[0] for name in fields or body}
    return {key: value for key, value in body.items() if key in wanted}


def _audit_log(call: Call) -> Answer:
    query = call.query
    exact = [name for name in ("identifier", "entity", "blueprint", "action", "status") if name in query]
    events = [
        event
        for event in call.store.events()
        if all({**event, **event["context"]}[name] == query[name] for name in exact)
        and event["resourceType"] in (query.get("resources") or [event["resourceType"]])
        and query.get("from", "") <= event["trigger"]["at"] <= query.get("to", "~")
    ]
    includes = query.get("includes")
    shown = [{key: event[key] for key in event if includes is None or key in includes} for event in events]
    return _ok(audits=shown[: query.get("limit", len(shown))])


def _integration(call: Call) -> Answer:
    (identifier,) = call.path
    found = call.store.integrations.get(identifier)
    if found is None:
        raise not_found("Integration", identifier)
    return _ok(integration={"identifier": identifier, "installationId": identifier, **found})


# --- blueprints ------------------------------------------------------------------------------------------------


def _get_blueprints(call: Call) -> Answer:
    return _ok(blueprints=call.store.all_blueprints())


def _get_blueprint(call: Call) -> Answer:
    return _ok(blueprint=call.store.find_blueprint(*call.path).body())


def _post_blueprint(call: Call) -> Answer:
    created = call.store.create_blueprint(call.body, by=call.by)
    if call.query["create_catalog_page"]:
        call.store.pages.append(created["identifier"])
    return 201, {"ok": True, "blueprint": created}


def _put_blueprint(call: Call) -> Answer:
    (identifier,) = call.path
    return _ok(blueprint=call.store.replace_blueprint(identifier, call.body, by=call.by))


def _patch_blueprint(call: Call) -> Answer:
    (identifier,) = call.path
    return _ok(blueprint=call.store.patch_blueprint(identifier, call.body, by=call.by))


def _delete_blueprint(call: Call) -> Answer:
    call.store.delete_blueprint(*call.path, by=call.by)
    return _ok()


def _rename(part: str) -> Callable[[Call], Answer]:
    key, _ = RENAMED_PARTS[part]

    def rename(call: Call) -> Answer:
        if key not in call.body:
            raise invalid(f"body must have required property '{key}'")
        blueprint, name = call.path
        return _ok(blueprint=call.store.rename_part(blueprint, part, name, call.body[key], by=call.by))

    return rename


def _scorecards(call: Call) -> Answer:
    (blueprint,) = call.path
    return _ok(scorecards=call.store.scorecards_of(blueprint))


# --- entities --------------------------------------------------------------------------------------------------


def _get_entities(call: Call) -> Answer:
    (blueprint,) = call.path
    with call.store.lock:
        return _ok(entities=[_read(call, entity) for entity in call.store.held(blueprint).values()])


def _get_entity(call: Call) -> Answer:
    with call.store.lock:
        return _ok(entity=_read(call, call.store.find(*call.path)))


def _read(call: Call, entity: Any) -> dict[str, Json]:
    return call.store.reader.body(
        entity,
        call.selection,
        calculated=not call.query.get("exclude_calculated_properties", False),
        relation_titles=call.query.get("attach_title_to_relation", False),
    )


def _count_entities(call: Call) -> Answer:
    return _ok(count=len(call.store.held(*call.path)))


def _post_entity(call: Call) -> Answer:
    (blueprint,) = call.path
    entity, _created = call.store.write_entity(blueprint, call.body, call.options, call.by)
    return 201, {"ok": True, "entity": entity}


def _put_entity(call: Call) -> Answer:
    options = call.options._replace(upsert=True)
    blueprint, identifier = call.path
    return _ok(entity=call.store.change_entity(blueprint, identifier, call.body, options, call.by))


def _patch_entity(call: Call) -> Answer:
    options = call.options._replace(upsert=True, merge=True)
    blueprint, identifier = call.path
    return _ok(entity=call.store.change_entity(blueprint, identifier, call.body, options, call.by))


def _delete_entity(call: Call) -> Answer:
    delete_dependents = call.query["delete_dependents"]
    call.store.delete_entity(*call.path, delete_dependents=delete_dependents, by=call.by)
    return _ok()


def _bulk_entities(call: Call) -> Answer:
    (blueprint,) = call.path
    stored, refused = call.store.bulk_write(blueprint, call.body["entities"], call.options, call.by)
    return 207 if refused else 200, {"ok": not refused, "entities": stored, "errors": refused}


def _bulk_delete(call: Call) -> Answer:
    (blueprint,) = call.path
    gone = call.store.bulk_delete(
        blueprint, call.body["entities"], delete_dependents=call.query["delete_dependents"], by=call.by
    )
    return _ok(deletedEntities=gone)


def _search_blueprint(call: Call) -> Answer:
    (blueprint,) = call.path
    body = call.body
    limit = body.get("limit", 200)
    if limit != int(limit):
        raise invalid("body/limit must be integer")
    with call.store.lock:
        found, following = call.store.page(blueprint, body.get("query"), int(limit), body.get("from"))
        entities = call.store.bodies(found, Selection(body.get("include"), body.get("exclude")))
    return _ok(entities=entities, **({} if following is None else {"next": following}))


def _search_all(call: Call) -> Answer:
    with call.store.lock:
        found = call.store.search(call.body)
        entities = [_read(call, entity) for entity in found]
    blueprints = list(dict.fromkeys(entity.blueprint for entity in found))
    return _ok(entities=entities, matchingBlueprints=blueprints, failedBlueprints=[])


def _aggregate(call: Call) -> Answer:
    body, reader = call.body, call.store.reader
    with call.store.lock:
        members = call.store.search(body["query"])
        if body["func"] == "count":
            return _ok(result=len(members))
        if body["func"] == "countValues":
            name = body.get("relation") or body.get("property")
            if name is None:
                raise invalid("the sandbox has no scorecards to group by")
            return _ok(result=reader.count_values(members, name, relation="relation" in body))
        return _ok(result=reader.statistic(body, members))


_ACCESS = "/v1/auth/access_token"
_BLUEPRINT = "/v1/blueprints/{blueprint_identifier}"
HANDLERS: Mapping[tuple[str, str], Callable[[Call], Answer]] = {
    ("get", "/v1/organization"): _organization,
    ("get", "/v1/users"): _users,
    ("get", "/v1/teams"): _teams,
    ("get", "/v1/audit-log"): _audit_log,
    ("get", "/v1/integration/{identifier}"): _integration,
    ("get", "/v1/blueprints"): _get_blueprints,
    ("post", "/v1/blueprints"): _post_blueprint,
    ("get", "/v1/blueprints/{identifier}"): _get_blueprint,
    ("put", "/v1/blueprints/{identifier}"): _put_blueprint,
    ("patch", "/v1/blueprints/{identifier}"): _patch_blueprint,
    ("delete", "/v1/blueprints/{identifier}"): _delete_blueprint,
    ("patch", _BLUEPRINT + "/properties/{property_identifier}/rename"): _rename("properties"),
    ("patch", _BLUEPRINT + "/mirror/{property_identifier}/rename"): _rename("mirror"),
    ("patch", _BLUEPRINT + "/relations/{relation_identifier}/rename"): _rename("relations"),
    ("get", _BLUEPRINT + "/scorecards"): _scorecards,
    ("get", _BLUEPRINT + "/entities"): _get_entities,
    ("post", _BLUEPRINT + "/entities"): _post_entity,
    ("get", _BLUEPRINT + "/entities-count"): _count_entities,
    ("get", _BLUEPRINT + "/entities/{entity_identifier}"): _get_entity,
    ("put", _BLUEPRINT + "/entities/{entity_identifier}"): _put_entity,
    ("patch", _BLUEPRINT + "/entities/{entity_identifier}"): _patch_entity,
    ("delete", _BLUEPRINT + "/entities/{entity_identifier}"): _delete_entity,
    ("post", _BLUEPRINT + "/entities/bulk"): _bulk_entities,
    ("post", _BLUEPRINT + "/entities/search"): _search_blueprint,
    ("post", _BLUEPRINT + "/bulk/entities/delete"): _bulk_delete,
    ("post", "/v1/entities/search"): _search_all,
    ("post", "/v1/entities/aggregate"): _aggregate,
}
"""What answers each operation of the document; the token route is answered by `Tokens`."""

_GROUPS: Mapping[tuple[str, str], str] = {
    ("post", _BLUEPRINT + "/entities"): "upsert",
    ("post", _BLUEPRINT + "/entities/bulk"): "bulk",
    ("post", _BLUEPRINT + "/entities/search"): "search",
    ("post", "/v1/entities/search"): "search",
}


def _group(operation: Operation) -> str:
    special = _GROUPS.get((operation.method, operation.template))
    if special is not None:
        return special
    if "entities" in operation.template:
        return "entities"
    return "blueprints" if "/blueprints" in operation.template else "other"


# --- tokens and limits -----------------------------------------------------------------------------------------


@dataclass(slots=True)
class Tokens:
    """The one active token of a credential pair; asking again gives the same one until it runs out."""

    client_id: str
    client_secret: str
    lifetime: float
    clock: Callable[[], float]
    token: str = ""
    expires_at: float = 0.0

    def issue(self, body: Mapping[str, str]) -> Answer:
        """Answer a request for a token.  Raises `PortRefusal` (401) for other credentials."""
        given = (body["clientId"], body["clientSecret"])
        if given != (self.client_id, self.client_secret):
            raise PortRefusal(401, "invalid_credentials", "The client id or secret is wrong")
        now = self.clock()
        if now >= self.expires_at:
            self.token, self.expires_at = secrets.token_urlsafe(32), now + self.lifetime
        return _ok(accessToken=self.token, expiresIn=math.ceil(self.expires_at - now), tokenType="Bearer")

    def check(self, header: str) -> None:
        """Let a request with the current token pass.  Raises `PortRefusal` (401)."""
        scheme, _, token = header.partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise PortRefusal(401, "unauthorized", "Missing access token")
        if not self.token or not secrets.compare_digest(token.encode(), self.token.encode()):
            raise PortRefusal(401, "unauthorized", "Invalid access token")
        if self.clock() >= self.expires_at:
            raise PortRefusal(401, "unauthorized", "The access token has expired")


@dataclass(slots=True)
class RateLimits:
    """Fixed windows, one per group of routes.

    `limit` is the number of requests per window and group; None lets everything pass and reports the published
    numbers.  `reset` says what the header of that name holds.
    """

    limit: int | None
    period: float
    reset: str
    clock: Callable[[], float]
    windows: dict[str, tuple[float, int]] = field(default_factory=dict)

    def take(self, group: str) -> tuple[bool, dict[str, str]]:
        """Count one request: whether it may pass, and the headers that say so."""
        now = self.clock()
        start, used = self.windows.get(group, (now, 0))
        if now >= start + self.period:
            start, used = now, 0
        limit = PUBLISHED_LIMITS[group] if self.limit is None else self.limit
        # Without a limit nothing runs down, or a client that keeps a reserve would wait for nothing.
        used = 1 if self.limit is None else used + 1
        self.windows[group] = (start, used)
        end = start + self.period
        return used <= limit, {
            "x-ratelimit-limit": str(limit),
            "x-ratelimit-remaining": str(max(0, limit - used)),
            "x-ratelimit-reset": str(math.ceil(end if self.reset == "epoch" else end - now)),
            "x-ratelimit-period": str(math.ceil(self.period)),
        }


# --- the application -------------------------------------------------------------------------------------------


class PortApi:
    """The ASGI application behind `port_app`: one request in, one JSON answer out."""

    def __init__(self, store: PortStore, tokens: Tokens, limits: RateLimits, latency: float) -> None:
        self._store = store
        self._tokens = tokens
        self._limits = limits
        self._latency = latency
        self._routes = official_routes()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request."""
        if self._latency:
            await asyncio.sleep(self._latency)
        headers: dict[str, str] = {}
        try:
            status, body = await self._answer(scope, receive, headers)
        except PortRefusal as refusal:
            status, body = refusal.status, refusal.body()
        await _send(send, status, body, {**headers, "x-trace-id": uuid.uuid4().hex})

    async def _answer(self, scope: Scope, receive: Receive, headers: dict[str, str]) -> Answer:
        # The body is taken off the wire first, whatever the answer: the connection stays usable.
        raw = await _read_body(receive)
        raw_path = (scope.get("raw_path") or scope["path"].encode()).decode("ascii", "replace").partition("?")[0]
        operation, path = self._routes.find(scope["method"], raw_path)
        sent = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        is_token = operation.template == _ACCESS
        passes, limit_headers = self._limits.take("anonymous" if is_token else _group(operation))
        headers |= limit_headers
        if not passes:
            raise PortRefusal(429, "too_many_requests", "Rate limit exceeded")
        if not is_token:
            self._tokens.check(sent.get("authorization", ""))
        if raw is None:
            raise PortRefusal(413, "payload_too_large", "Request body is too large (limit is 1MiB)")
        query = operation.query(scope["query_string"])
        body: Json = _json_body(operation, sent.get("content-type", ""), raw) if operation.has_body else None
        if is_token:
            return self._tokens.issue(body)
        handler = HANDLERS[operation.method, operation.template]
        return handler(Call(self._store, path, query, body, self._tokens.client_id, sent.get("user-agent", "")))


async def _read_body(receive: Receive) -> bytes | None:
    """The whole body, None when it is over the limit."""
    chunks: list[bytes] = []
    size, more = 0, True
    while more:
        message = await receive()
        chunk = message.get("body", b"")
        size += len(chunk)
        if size <= BODY_LIMIT:
            chunks.append(chunk)
        more = message.get("more_body", False)
    return None if size > BODY_LIMIT else b"".join(chunks)


def _json_body(operation: Operation, content_type: str, raw: bytes) -> Json:
    """Parse a body and hold it to the route's schema.  Raises `PortRefusal`: 415, 400, 422."""
    if content_type.partition(";")[0].strip().lower() != "application/json":
        raise PortRefusal(415, "unsupported_media_type", "The body must be application/json")
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError as reason:
        raise PortRefusal(400, "bad_request", f"The body is not JSON: {reason}") from reason
    if (problem := operation.body_check(body)) is not None:
        raise invalid(problem.said("body"))
    return body


async def _send(send: Send, status: int, body: Json, headers: Mapping[str, str]) -> None:
    raw = orjson.dumps(body)
    fields = {"content-type": "application/json; charset=utf-8", "content-length": str(len(raw)), **headers}
    encoded = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in fields.items()]
    await send({"type": "http.response.start", "status": status, "headers": encoded})
    await send({"type": "http.response.body", "body": raw})


def port_app(
    store: PortStore,
    *,
    client_id: str,
    client_secret: str,
    rate_limit: int | None = None,
    latency: float = 0.0,
    rate_period: float = RATE_PERIOD,
    token_lifetime: float = TOKEN_LIFETIME,
) -> Starlette:
    """Port's API over a store.

    `rate_limit` is how many requests each group of routes may take per `rate_period` seconds (None: as many as come,
    while the headers report the published limits); `latency` delays each answer by so many seconds;
    `token_lifetime` is in seconds.  Tokens and limits go by the store's clock.
    """
    tokens = Tokens(client_id, client_secret, token_lifetime, store.clock)
    limits = RateLimits(rate_limit, rate_period, store.behaviour.rate_limit_reset, store.clock)
    return Starlette(routes=[Mount("/", app=PortApi(store, tokens, limits, latency))])
