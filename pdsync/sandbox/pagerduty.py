"""PagerDuty's REST API over a `World`: strict, and faithful as far as it is published.

`SERVED` is the whole surface: a row for each operation, most of them made by `listing` and `single`.  Requests and
answers follow the official specification (`specs/pagerduty.json`, a cut of it).  Where the specification leaves a
choice, the sandbox takes the strict side:

* a parameter it does not know, a wrong type, a value outside an enum: 400
* `limit` over 100, `offset + limit` over 10,000: 400
* an `Accept` header that does not ask for version 2: 406
* `GET /users/me` with an account key: 400, as documented

Rows on a list come in a stable order: by name where the API sorts by name, else in order of creation.
"""

from __future__ import annotations

import asyncio
import gzip as gzip_module
import hmac
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC
from math import ceil
from typing import TYPE_CHECKING, Any

import orjson
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Route

from pdsync.model import Json
from pdsync.sandbox import pagerduty_analytics as analytics
from pdsync.sandbox import pagerduty_text as text
from pdsync.sandbox.pagerduty_company import DAY, STATUSES, URGENCIES, OnCall
from pdsync.sandbox.pagerduty_query import (
    ACCEPT,
    MAX_AUDIT_LIMIT,
    MAX_LIMIT,
    ApiError,
    Asked,
    Operation,
    audit_window,
    entries_window,
    incident_window,
    load_operations,
    oncall_window,
    read_body,
    read_page,
    read_query,
)
from pdsync.sandbox.pagerduty_records import INCIDENT_FIELDS, SERVICE_FIELDS, Records

if TYPE_CHECKING:
    from datetime import tzinfo

    from starlette.requests import Request

    from pdsync.sandbox.world import World

DAILY_LIMIT = 10_000
PAGING = frozenset({"limit", "offset", "total", "cursor", "include[]", "time_zone"})


# --- what is kept between requests -------------------------------------------------------------------------------


class View:
    """A world with what was worked out about it; forgotten when the world changes."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._seen = (world.version, world.clock)
        self._records: dict[str, Records] = {}
        self._rows: OrderedDict[object, Sequence[Any]] = OrderedDict()

    def _refresh(self) -> None:
        now = (self.world.version, self.world.clock)
        if now != self._seen:
            self._seen = now
            self._records.clear()
            self._rows.clear()

    def records(self, zone: tzinfo = UTC) -> Records:
        """The renderer for a time zone."""
        self._refresh()
        found = self._records.get(str(zone))
        if found is None:
            found = self._records[str(zone)] = Records(self.world, zone)
        return found

    def rows(self, key: object, make: Callable[[], Sequence[Any]]) -> Sequence[Any]:
        """The rows of a question that is asked page by page; the last eight questions are kept."""
        self._refresh()
        found = self._rows.get(key)
        if found is None:
            found = self._rows[key] = make()
            if len(self._rows) > 8:
                self._rows.popitem(last=False)
        return found


@dataclass(frozen=True, slots=True)
class Served:
    """One operation: which kind it belongs to (for 402 and 403), where it is, how it is answered."""

    kind: str
    method: str
    path: str
    answer: Callable[[View, Asked], Json]


# --- makers of operations ------------------------------------------------------------------------------------------


def listing(
    kind: str,
    path: str,
    key: str,
    rows: Callable[[World, Asked], Sequence[Any]],
    render: Callable[[Records, Any, Asked], Json],
) -> Served:
    """A list with classic paging: `rows` filters and orders, `render` shows one."""

    def answer(view: View, asked: Asked) -> Json:
        offset, limit = read_page(asked)
        filters = tuple(sorted((name, values) for name, values in asked.values.items() if name not in PAGING))
        found = view.rows((path, filters, str(asked.zone)), lambda: rows(view.world, asked))
        records = view.records(asked.zone)
        return {
            key: [render(records, row, asked) for row in found[offset : offset + limit]],
            "limit": limit,
            "offset": offset,
            "total": len(found) if asked.flag("total") else None,
            "more": offset + limit < len(found),
        }

    return Served(kind, "get", path, answer)


def single(
    kind: str, path: str, key: str, find: Callable[[World, str], Any], render: Callable[[Records, Any, Asked], Json]
) -> Served:
    """One record by its identifier; 404 when `find` gives None."""

    def answer(view: View, asked: Asked) -> Json:
        found = find(view.world, asked.path["id"])
        if found is None:
            raise ApiError(404, "the record does not exist or has been deleted")
        return {key: render(view.records(asked.zone), found, asked)}

    return Served(kind, "get", path, answer)


def shown(name: str) -> Callable[[Records, Any, Asked], Json]:
    """Renders with the method of that name and the request's `include[]`."""

    def render(records: Records, row: Any, asked: Asked) -> Json:
        return getattr(records, name)(row, asked.many("include[]"))

    return render


def matching(
    table: str, filters: Mapping[str, Callable[[World, Any, Asked], bool]] | None = None, *, by_name: bool = False
) -> Callable[[World, Asked], Sequence[Any]]:
    """The rows of a table that pass every filter whose parameter is given, sorted by name if `by_name`."""

    def rows(world: World, asked: Asked) -> Sequence[Any]:
        checks = [check for name, check in (filters or {}).items() if name in asked.values]
        records = getattr(world, table).values()
        found = [row for row in records if all(check(world, row, asked) for check in checks)]
        if by_name:
            found.sort(key=lambda row: (row.name.casefold(), row.id))
            if asked.one("sort_by") == "name:desc":
                found.reverse()
        return found

    return rows


# --- filters -------------------------------------------------------------------------------------------------------


def _named(_: World, row: Any, asked: Asked) -> bool:
    return (asked.one("query") or "").casefold() in row.name.casefold()


def _user_named(world: World, row: Any, asked: Asked) -> bool:
    return _named(world, row, asked) or (asked.one("query") or "").casefold() in row.email.casefold()


def _in_teams(_: World, row: Any, asked: Asked) -> bool:
    return not asked.many("team_ids[]").isdisjoint(row.team_ids)


def _service_in_teams(world: World, row: Any, asked: Asked) -> bool:
    return not asked.many("team_ids[]").isdisjoint(world.policies[row.policy_id].team_ids)


def _policy_calls(world: World, row: Any, asked: Asked) -> bool:
    targets = [target for rule in row.rules for target in rule.targets]
    called = {target.id for target in targets if target.kind == "users"}
    layers = [layer for t in targets if t.kind == "schedules" for layer in world.schedules[t.id].layers]
    called.update(user_id for layer in layers for user_id in layer.user_ids)
    return not asked.many("user_ids[]").isdisjoint(called)


def _extra(parameter: str, name: str) -> Callable[[World, Any, Asked], bool]:
    return lambda _, row, asked: row.extra[name] == asked.one(parameter)


# --- incidents -----------------------------------------------------------------------------------------------------

_SORTS = ("incident_number", "created_at", "resolved_at", "urgency")


def incident_rows(world: World, asked: Asked) -> Sequence[int]:
    """Positions of the incidents asked for (PagerDuty REST API, Incidents).  Raises `ApiError` 400."""
    table = world.incidents
    sorts = _sorts(asked)
    start, end = incident_window(asked)
    found: Sequence[int] = table.between(start, end)
    if any(table.hidden):
        found = [n for n in found if not table.hidden[n]]
    for name, column, values in (
        ("statuses[]", table.status, STATUSES),
        ("urgencies[]", table.urgency, URGENCIES),
    ):
        if name in asked.values:
            codes = {values.index(value) for value in asked.many(name)}
            found = [n for n in found if column[n] in codes]
    services = _wanted_services(world, asked)
    if services is not None:
        found = [n for n in found if table.service[n] in services]
    if "user_ids[]" in asked.values:
        found = [n for n in found if table.status[n] != 2 and _assigned(world, n) in asked.many("user_ids[]")]
    if "incident_key" in asked.values:
        found = [n for n in found if f"{table.roll[n]:032x}" == asked.one("incident_key")]
    return _sorted(world, found, sorts)


def _wanted_services(world: World, asked: Asked) -> set[int] | None:
    """Positions of the services that `service_ids[]` and `team_ids[]` leave; None without either."""
    if not {"service_ids[]", "team_ids[]"} & asked.values.keys():
        return None
    ids, teams = asked.many("service_ids[]"), asked.many("team_ids[]")
    found = set()
    for position, identifier in enumerate(world.incidents.service_ids):
        service = world.services.get(identifier) or world.former_services[identifier]
        by_id = not ids or identifier in ids
        if by_id and (not teams or not teams.isdisjoint(world.policies[service.policy_id].team_ids)):
            found.add(position)
    return found


def _assigned(world: World, position: int) -> str | None:
    incident = world.incidents.record(position)
    service = world.services.get(incident.service_id) or world.former_services[incident.service_id]
    return world.responder(world.policies[service.policy_id], incident.created, incident.roll)


def _sorts(asked: Asked) -> list[tuple[str, bool]]:
    """(field, descending) of `sort_by`.  Raises `ApiError` 400."""
    found = []
    for value in asked.values.get("sort_by", ()):
        name, _, direction = value.partition(":")
        if name not in _SORTS or direction not in {"", "asc", "desc"}:
            raise ApiError(400, f"sort_by must name one of {', '.join(_SORTS)} with :asc or :desc: {value}")
        found.append((name, direction == "desc"))
    return found


def _sorted(world: World, found: Sequence[int], sorts: list[tuple[str, bool]]) -> Sequence[int]:
    table = world.incidents
    keys: Mapping[str, Callable[[int], int]] = {
        "incident_number": lambda n: n,
        "created_at": lambda n: table.created[n],
        "resolved_at": lambda n: table.changed[n] if table.status[n] == 2 else 2**62,
        "urgency": lambda n: table.urgency[n],
    }
    for name, descending in reversed(sorts):
        found = sorted(found, key=keys[name], reverse=descending)
    return found


def incident(records: Records, position: int, asked: Asked) -> Json:
    """The incident at a position."""
    return records.incident_at(position, asked.many("include[]"))


# --- on-calls, schedules, audit, analytics -------------------------------------------------------------------------


def oncall_rows(world: World, asked: Asked) -> Sequence[OnCall]:
    """The on-calls of the window that pass the filters (PagerDuty REST API, On-calls).  Raises `ApiError` 400."""
    users, policies = asked.many("user_ids[]"), asked.many("escalation_policy_ids[]")
    schedules = asked.many("schedule_ids[]")
    found = [
        shift
        for shift in world.oncalls(*oncall_window(asked))
        if (not users or shift.user_id in users)
        and (not policies or shift.policy_id in policies)
        and (not schedules or (shift.schedule_id or "null") in schedules)
    ]
    if not asked.flag("earliest"):
        return found
    first: dict[tuple[str, int, str], OnCall] = {}
    for shift in sorted(found, key=lambda shift: shift.start or 0):
        first.setdefault((shift.policy_id, shift.level, shift.user_id), shift)
    return [shift for shift in found if first[shift.policy_id, shift.level, shift.user_id] is shift]


def schedule(records: Records, row: Any, asked: Asked) -> Json:
    """A schedule of the list."""
    window = entries_window(asked)
    return records.schedule(row, asked.many("include[]"), window, next_for=asked.one("include_next_oncall_for_user"))


def schedule_alone(records: Records, row: Any, asked: Asked) -> Json:
    """A schedule on its own: with its layers, whatever was asked for."""
    parts = frozenset({"schedule_layers", "overrides_subschedule", "final_schedule"})
    next_for = asked.one("include_next_oncall_for_user")
    return records.schedule(row, parts, entries_window(asked), overflow=asked.flag("overflow"), next_for=next_for)


def _audit_rows(world: World, asked: Asked) -> Sequence[Any]:
    start, end = audit_window(asked)
    kinds, actions = asked.many("root_resource_types[]"), asked.many("actions[]")
    actor, method = asked.one("actor_id"), asked.one("method_type")
    found = [
        entry
        for entry in world.audit
        if start <= entry.at <= end
        and (not kinds or entry.kind in kinds)
        and (not actions or entry.action in actions)
        and (actor is None or entry.actor_id == actor)
        and (method is None or method == ("browser" if entry.actor_id else "other"))
        and (asked.one("actor_type") or "user_reference") == "user_reference"
        and asked.one("method_truncated_token") is None
    ]
    return sorted(found, key=lambda entry: (-entry.at, entry.id))


def audit_records(view: View, asked: Asked) -> Json:
    """GET /audit/records: cursor paging, newest first; a limit over the largest size is lowered to it."""
    found = _audit_rows(view.world, asked)
    limit = min(asked.integer("limit", MAX_LIMIT), MAX_AUDIT_LIMIT)
    if limit < 1:
        raise ApiError(400, "limit must be at least 1")
    cursor = asked.one("cursor")
    ids = [entry.id for entry in found]
    if cursor is not None and cursor not in ids:
        raise ApiError(400, f"cursor is not known: {cursor}")
    start = 0 if cursor is None else ids.index(cursor)
    records = view.records(asked.zone)
    return {
        "records": [records.audit(entry) for entry in found[start : start + limit]],
        "limit": limit,
        "next_cursor": ids[start + limit] if start + limit < len(ids) else None,
        "response_metadata": {"messages": None},
    }


def abilities(_: View, __: Asked) -> Json:
    """GET /abilities."""
    return {"abilities": list(text.ABILITIES)}


def raw_incidents(view: View, asked: Asked) -> Json:
    """POST /analytics/raw/incidents: a page from the cursor on."""
    body = asked.body
    filters = body.get("filters") or {}
    order, order_by = body.get("order", "desc"), body.get("order_by", "created_at")
    key = ("raw", orjson.dumps(filters, option=orjson.OPT_SORT_KEYS), order, order_by)
    rows = view.rows(key, lambda: analytics.incident_rows(view.world, filters, order, order_by))
    return analytics.raw_page(view.world, rows, body)


def service_metrics(view: View, asked: Asked) -> Json:
    """POST /analytics/metrics/incidents/services."""
    return analytics.service_metrics(view.world, asked.body)


def find_incident(world: World, identifier: str) -> int | None:
    """The position of an incident, None when there is none."""
    return world.incidents.position(identifier)


def service_values(records: Records, row: Any, _: Asked) -> Json:
    """Values of a service's custom fields."""
    return records.custom_fields(row.id, SERVICE_FIELDS)


def incident_values(records: Records, position: int, _: Asked) -> Json:
    """Values of an incident's custom fields."""
    return records.custom_fields(records.world.incidents.ids[position], INCIDENT_FIELDS)


QUERY = {"query": _named}

SERVED: tuple[Served, ...] = (
    listing(
        "services",
        "/services",
        "services",
        matching(
            "services",
            QUERY | {"team_ids[]": _service_in_teams, "name": lambda _, row, asked: row.name == asked.one("name")},
            by_name=True,
        ),
        shown("service"),
    ),
    listing("incidents", "/incidents", "incidents", incident_rows, incident),
    listing(
        "schedules", "/schedules", "schedules", matching("schedules", QUERY | {"team_ids[]": _in_teams}), schedule
    ),
    listing("oncalls", "/oncalls", "oncalls", oncall_rows, shown("oncall")),
    listing(
        "escalation_policies",
        "/escalation_policies",
        "escalation_policies",
        matching("policies", QUERY | {"team_ids[]": _in_teams, "user_ids[]": _policy_calls}, by_name=True),
        shown("policy"),
    ),
    listing(
        "users", "/users", "users", matching("users", {"query": _user_named, "team_ids[]": _in_teams}), shown("user")
    ),
    listing("teams", "/teams", "teams", matching("teams", QUERY), shown("team")),
    listing("priorities", "/priorities", "priorities", matching("priorities"), shown("priority")),
    listing(
        "business_services",
        "/business_services",
        "business_services",
        matching("business_services"),
        shown("business_service"),
    ),
    listing("vendors", "/vendors", "vendors", matching("vendors"), shown("vendor")),
    listing(
        "extensions",
        "/extensions",
        "extensions",
        matching(
            "extensions",
            QUERY
            | {
                "extension_object_id": _extra("extension_object_id", "service_id"),
                "extension_schema_id": _extra("extension_schema_id", "schema_id"),
            },
        ),
        shown("extension"),
    ),
    listing(
        "extension_schemas",
        "/extension_schemas",
        "extension_schemas",
        matching("extension_schemas"),
        shown("extension_schema"),
    ),
    single("services", "/services/{id}", "service", lambda world, i: world.services.get(i), shown("service")),
    single("incidents", "/incidents/{id}", "incident", find_incident, incident),
    single("schedules", "/schedules/{id}", "schedule", lambda world, i: world.schedules.get(i), schedule_alone),
    single(
        "escalation_policies",
        "/escalation_policies/{id}",
        "escalation_policy",
        lambda world, i: world.policies.get(i),
        shown("policy"),
    ),
    single("users", "/users/{id}", "user", lambda world, i: world.users.get(i), shown("user")),
    single("teams", "/teams/{id}", "team", lambda world, i: world.teams.get(i), shown("team")),
    single(
        "services.custom_fields.values",
        "/services/{id}/custom_fields/values",
        "custom_fields",
        lambda world, i: world.services.get(i),
        service_values,
    ),
    single(
        "incidents.custom_fields.values",
        "/incidents/{id}/custom_fields/values",
        "custom_fields",
        find_incident,
        incident_values,
    ),
    Served("abilities", "get", "/abilities", abilities),
    Served("audit.records", "get", "/audit/records", audit_records),
    Served("analytics.raw.incidents", "post", "/analytics/raw/incidents", raw_incidents),
    Served(
        "analytics.metrics.incidents.services", "post", "/analytics/metrics/incidents/services", service_metrics
    ),
)  # fmt: skip
"""Everything that is served but `/users/me`, which depends on the key."""


# --- the application -----------------------------------------------------------------------------------------------


class Limiter:
    """Requests per minute in fixed windows, as the `ratelimit-*` headers tell it (API, Rate limits)."""

    def __init__(self, limit: int, clock: Callable[[], float]) -> None:
        self.limit = limit
        self._clock = clock
        self._start = clock()
        self._used = 0

    def left(self) -> int:
        """How many requests are left in this window."""
        now = self._clock()
        if now - self._start >= 60:
            self._start, self._used = now, 0
        return self.limit - self._used

    def take(self) -> None:
        """Count a request."""
        self._used += 1

    def headers(self) -> dict[str, str]:
        """How things stand; the reset is in whole seconds, rounded up."""
        return {
            "ratelimit-limit": str(self.limit),
            "ratelimit-remaining": str(self.limit - self._used),
            "ratelimit-reset": str(max(1, ceil(self._start + 60 - self._clock()))),
        }


def count_request(limiters: Sequence[Limiter]) -> dict[str, str]:
    """Count a request against every limit that it falls under; the headers of the one nearest to running out.

    Raises `ApiError` 429, with the headers and nothing counted, when one of them has run out.
    """
    tightest = min(limiters, key=Limiter.left)
    if tightest.left() <= 0:
        raise ApiError(429, "too many requests in this minute", headers=tightest.headers())
    for limiter in limiters:
        limiter.take()
    return tightest.headers()


@dataclass(frozen=True, slots=True)
class Settings:
    """How the application answers: see `pagerduty_app`."""

    token: str
    token_user: str | None
    latency: float
    gzip: bool


def pagerduty_app(
    world: World,
    *,
    token: str,
    token_user: str | None = None,
    limit_per_minute: int = 960,
    path_limits: Mapping[str, int] | None = None,
    latency: float = 0.0,
    gzip: bool = True,
    clock: Callable[[], float] = time.monotonic,
) -> Starlette:
    """PagerDuty's REST API over a world.

    Args:
        world: What is served; it may change between requests (`World.mutate`), on the same thread.
        token: The key that is accepted, as `Token token=...` or `Bearer ...`.
        token_user: Whose key it is; None makes it an account key, for which `/users/me` answers 400.
        limit_per_minute: Counted requests per minute; more answer 429.
        path_limits: Limits of single paths beside that, `{"/oncalls": 60}`; the real numbers are not published.
        latency: Seconds that each answer is held back.
        gzip: Whether bodies are compressed for clients that accept it; costs more time than the rest of an answer.
        clock: Seconds for the rate limit, counting from anywhere.
    """
    settings = Settings(token, token_user, latency, gzip)
    view, general = View(world), Limiter(limit_per_minute, clock)
    special = {path: (Limiter(limit, clock),) for path, limit in (path_limits or {}).items()}
    operations = load_operations()
    rows = (Served("users", "get", "/users/me", _current_user(settings)), *SERVED)
    routes = [
        _route(row, operations[row.method, row.path], view, (general, *special.get(row.path, ())), settings)
        for row in rows
    ]
    return Starlette(routes=routes, exception_handlers={HTTPException: _not_served})


def _current_user(settings: Settings) -> Callable[[View, Asked], Json]:
    def answer(view: View, asked: Asked) -> Json:
        user = view.world.users.get(settings.token_user or "")
        if user is None:
            raise ApiError(400, "an account key has no user")
        return {"user": view.records().user(user, asked.many("include[]"))}

    return answer


def _route(served: Served, operation: Operation, view: View, limiters: Sequence[Limiter], settings: Settings) -> Route:
    async def endpoint(request: Request) -> Response:
        if settings.latency:
            await asyncio.sleep(settings.latency)
        headers: dict[str, str] = {}
        try:
            _authorise(request, settings.token)
            headers = count_request(limiters)
            _check_access(served, view.world, request)
            headers.update(_spend_analytics(served, view.world))
            body = read_body(operation, await request.body()) if operation.body is not None else {}
            values = read_query(operation, request.query_params.multi_items())
            found = served.answer(view, Asked(request.path_params, values, view.world.clock, body))
        except ApiError as problem:
            return _json(problem.body, problem.status, {**headers, **problem.headers}, request, compress=settings.gzip)
        return _json(found, 200, headers, request, compress=settings.gzip)

    return Route(served.path, endpoint, methods=[served.method])


def _authorise(request: Request, token: str) -> None:
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    expected = {"token": f"token={token}", "bearer": token}.get(scheme.lower())
    if expected is None or not hmac.compare_digest(given.strip().encode(), expected.encode()):
        raise ApiError(401)


def _check_access(served: Served, world: World, request: Request) -> None:
    """Version, media type, permission and plan.  Raises `ApiError` 400, 402, 403 or 406."""
    if request.headers.get("accept", "").replace(" ", "") != ACCEPT:
        raise ApiError(406, f"Accept must be {ACCEPT}")
    content_type = request.headers.get("content-type", "").partition(";")[0].strip()
    if served.method == "post" and content_type != "application/json":
        raise ApiError(400, "Content-Type must be application/json")
    if served.kind in world.denied:
        raise ApiError(403, "the key may not read this")
    if served.kind in world.unavailable:
        raise ApiError(402, "the plan does not include this")


def _spend_analytics(served: Served, world: World) -> dict[str, str]:
    """Count a call against the daily quota of analytics; the headers that say how much is left."""
    if not served.kind.startswith("analytics."):
        return {}
    left = world.analytics_left
    headers = {
        "daily-ratelimit-limit": str(DAILY_LIMIT),
        "daily-ratelimit-remaining": str(DAILY_LIMIT if left is None else max(0, left - 1)),
        "daily-ratelimit-reset": str(DAY - world.clock % DAY),
    }
    if left == 0:
        raise ApiError(429, "the daily quota is used up", headers=headers)
    if left is not None:
        world.analytics_left = left - 1
    return headers


async def _not_served(request: Request, problem: Exception) -> Response:
    status = problem.status_code if isinstance(problem, HTTPException) else 404
    known = ApiError(status if status in {404, 405} else 404, f"{request.method} {request.url.path} is not served")
    return _json(known.body, known.status, {}, request, compress=False)


def _json(found: Json, status: int, headers: dict[str, str], request: Request, *, compress: bool) -> Response:
    body = orjson.dumps(found)
    if compress and len(body) > 1_000 and "gzip" in request.headers.get("accept-encoding", ""):
        body = gzip_module.compress(body, 1, mtime=0)
        headers = {**headers, "content-encoding": "gzip", "vary": "Accept-Encoding"}
    return Response(body, status, headers, media_type="application/json")
