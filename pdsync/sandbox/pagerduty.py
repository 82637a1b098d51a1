"""PagerDuty's REST API over a `World`: strict, and faithful as far as it is published.

`SERVED` is the whole surface: every list of the specification, and a few single records.  The kinds of the company
are listed here and in the modules beside (`pagerduty_links`, `pagerduty_shifts`, `pagerduty_trails`), all others are
drawn from the specification's schemas (`pagerduty_drawn`).  Requests and answers follow the official specification
(`specs/pagerduty.json`, a cut of it).  Where the specification leaves a choice, the sandbox takes the strict side:

* a parameter it does not know, a required one that is missing, a wrong type, a value outside an enum: 400
* `limit` over 100, `offset + limit` over 10,000: 400
* an `Accept` header that does not ask for version 2: 406; early access without its header: 400
* `GET /users/me` with an account key: 400, as documented

Rows on a list come in a stable order: by name where the API sorts by name, else in order of creation.
"""

from __future__ import annotations

import asyncio
import gzip as gzip_module
import hmac
import time
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING, Any

import orjson
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Route

from pdsync.sandbox import pagerduty_analytics as analytics
from pdsync.sandbox.pagerduty_company import DAY, STATUSES, URGENCIES, OnCall
from pdsync.sandbox.pagerduty_drawn import DRAWN
from pdsync.sandbox.pagerduty_links import LINKS
from pdsync.sandbox.pagerduty_lists import analytics_kind
from pdsync.sandbox.pagerduty_oauth import PATH as TOKEN_PATH
from pdsync.sandbox.pagerduty_oauth import OAuth, Refused, TokenOffice
from pdsync.sandbox.pagerduty_page import (
    Body,
    Find,
    Served,
    Show,
    View,
    as_is,
    check_parents,
    disturbed,
    listing,
    single,
)
from pdsync.sandbox.pagerduty_query import (
    ACCEPT,
    ApiError,
    Asked,
    entries_window,
    incident_window,
    oncall_window,
    read_body,
    read_query,
)
from pdsync.sandbox.pagerduty_shifts import SHIFTS
from pdsync.sandbox.pagerduty_spec import official
from pdsync.sandbox.pagerduty_trails import TRAILS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

    from starlette.requests import Request

    from pdsync.model import Json
    from pdsync.sandbox.pagerduty_analytics import Analysed
    from pdsync.sandbox.pagerduty_records import Records
    from pdsync.sandbox.pagerduty_spec import Operation
    from pdsync.sandbox.world import World

__all__ = ["SERVED", "OAuth", "Served", "Settings", "pagerduty_app"]

DAILY_LIMIT = 10_000


# --- makers of rows ------------------------------------------------------------------------------------------------


def shown(name: str) -> Show:
    """Renders with the method of that name and the request's `include[]`."""

    def render(records: Records, row: Any, asked: Asked) -> Json:
        return getattr(records, name)(row, asked.many("include[]"))

    return render


def matching(
    table: str, filters: Mapping[str, Callable[[World, Any, Asked], bool]] | None = None, *, by_name: bool = False
) -> Find:
    """The rows of a table that pass every filter whose parameter is given, sorted by name if `by_name`."""

    def rows(view: View, asked: Asked) -> Sequence[Any]:
        world = view.world
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


def incident_rows(view: View, asked: Asked) -> Sequence[int]:
    """Positions of the incidents asked for (PagerDuty REST API, Incidents).  Raises `ApiError` 400."""
    world = view.world
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


# --- on-calls, schedules -------------------------------------------------------------------------


def oncall_rows(view: View, asked: Asked) -> Sequence[OnCall]:
    """The on-calls of the window that pass the filters (PagerDuty REST API, On-calls).  Raises `ApiError` 400."""
    users, policies = asked.many("user_ids[]"), asked.many("escalation_policy_ids[]")
    schedules = asked.many("schedule_ids[]")
    found = [
        shift
        for shift in view.world.oncalls(*oncall_window(asked))
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


def classic_schedules(view: View, asked: Asked) -> Sequence[Any]:
    """The schedules that were not upgraded to shifts."""
    found = matching("schedules", QUERY | {"team_ids[]": _in_teams})(view, asked)
    return [schedule for schedule in found if schedule.id not in view.world.upgraded]


def find_schedule(world: World, identifier: str) -> Any:
    """A schedule that was not upgraded to shifts."""
    return None if identifier in world.upgraded else world.schedules.get(identifier)


def find_incident(world: World, identifier: str) -> int | None:
    """The position of an incident, None when there is none."""
    return world.incidents.position(identifier)


# --- analytics -----------------------------------------------------------------------------------------------------


def _metrics(path: str, order_by: str, rows: Callable[[Analysed, Mapping[str, Any]], list[dict[str, Json]]]) -> Served:
    """Metrics: `rows` of the body, in the order it asks for."""
    kind = analytics_kind(path)

    def answer(view: View, asked: Asked) -> Json:
        names = asked.operation.body["properties"].keys() & _ECHOED if asked.operation.body else ()
        found = disturbed(view.world, kind, rows(view.analysed, asked.body))
        key = order_by if "order_by" in names else ""
        data = analytics.ordered(list(found), asked.body, order_by) if key else list(found)
        return {"data": data, **analytics.echo(asked.body, order_by, *sorted(names))}

    return Served(kind, "post", path, answer)


_ECHOED = frozenset({"filters", "time_zone", "order", "order_by", "aggregate_unit"})


def _incident_metrics(path: str) -> Served:
    split = analytics.SPLITS[path]
    return _metrics(path, "total_incident_count", lambda rows, body: analytics.incident_metrics(rows, split, body))


def _key(asked: Asked) -> object:
    filters = orjson.dumps(asked.body.get("filters") or {}, option=orjson.OPT_SORT_KEYS)
    return (asked.operation.path, *asked.path.values(), filters, asked.body.get("order"), asked.body.get("order_by"))


def raw_incidents(view: View, asked: Asked) -> Json:
    """POST /analytics/raw/incidents: a page from the cursor on."""
    world, body = view.world, asked.body
    order, order_by = body.get("order", "desc"), body.get("order_by", "created_at")
    filters = body.get("filters") or {}
    rows = view.rows(_key(asked), lambda: analytics.incident_rows(world, filters, order, order_by))
    rows = disturbed(world, "analytics.raw.incidents", rows)
    page, told = analytics.page_of(analytics.Names(world, rows), body, 20)
    data = [view.analysed.raw(rows[place]) for place in page]
    return {**told, **analytics.echo(body, "created_at", "filters", "time_zone", "order", "order_by"), "data": data}


def raw_users(view: View, asked: Asked) -> Json:
    """POST /analytics/raw/users: a page from the cursor on."""
    rows = view.rows(_key(asked), lambda: analytics.raw_users(view.world, asked.body))
    return _raw_page(view, asked, rows, name="id", kind="analytics.raw.users", order_by="user_id")


def responder_incidents(view: View, asked: Asked) -> Json:
    """POST /analytics/raw/responders/{responder_id}/incidents: a page from the cursor on; it does not tell of more."""
    check_parents(view, asked)
    user_id = asked.path["responder_id"]
    rows = view.rows(_key(asked), lambda: analytics.responder_incidents(view.world, user_id, asked.body))
    kind = "analytics.raw.responders.incidents"
    found = _raw_page(view, asked, rows, name="incident_id", kind=kind, order_by="incident_created_at")
    del found["more"]
    return found


def _raw_page(
    view: View, asked: Asked, rows: Sequence[dict[str, Json]], *, name: str, kind: str, order_by: str
) -> dict[str, Json]:
    rows = disturbed(view.world, kind, rows)
    page, told = analytics.page_of([row[name] for row in rows], asked.body, 1_000)
    echo = analytics.echo(asked.body, order_by, "filters", "time_zone", "order", "order_by")
    return {**told, **echo, "data": [rows[place] for place in page]}


def raw_incident(view: View, asked: Asked) -> Json:
    """GET /analytics/raw/incidents/{id}: one row, without a wrapper."""
    check_parents(view, asked)
    position = view.world.incidents.position(asked.path["id"])
    assert position is not None
    return view.analysed.raw(position)


def responses(view: View, asked: Asked) -> Sequence[Any]:
    """Who answered to an incident."""
    position = view.world.incidents.position(asked.path["id"])
    assert position is not None
    return analytics.responses(view.world, position)


ASKED_BY_POST: tuple[Served, ...] = (
    *(_incident_metrics(path) for path in analytics.SPLITS),
    _metrics("/analytics/metrics/pd_advance_usage/features", "feature_id", analytics.usage),
    _metrics(
        "/analytics/metrics/responders/all",
        "total_incident_count",
        lambda rows, body: analytics.responder_metrics(rows, body, by_team=False),
    ),
    _metrics(
        "/analytics/metrics/responders/teams",
        "total_incident_count",
        lambda rows, body: analytics.responder_metrics(rows, body, by_team=True),
    ),
    _metrics("/analytics/metrics/users/all", "total_user_count", analytics.user_metrics),
    Served("analytics.raw.incidents", "post", "/analytics/raw/incidents", raw_incidents),
    Served(
        "analytics.raw.responders.incidents",
        "post",
        "/analytics/raw/responders/{responder_id}/incidents",
        responder_incidents,
    ),
    Served("analytics.raw.users", "post", "/analytics/raw/users", raw_users),
)  # fmt: skip


# --- the table -----------------------------------------------------------------------------------------------------

QUERY = {"query": _named}

_SERVICE_FILTERS = QUERY | {
    "team_ids[]": _service_in_teams,
    "name": lambda _, row, asked: row.name == asked.one("name"),
}
_EXTENSION_FILTERS = QUERY | {
    "extension_object_id": _extra("extension_object_id", "service_id"),
    "extension_schema_id": _extra("extension_schema_id", "schema_id"),
}
_POLICY_FILTERS = QUERY | {"team_ids[]": _in_teams, "user_ids[]": _policy_calls}

COMPANY: tuple[Served, ...] = (
    listing("services", matching("services", _SERVICE_FILTERS, by_name=True), shown("service")),
    listing("incidents", incident_rows, incident),
    listing("schedules", classic_schedules, schedule),
    listing("oncalls", oncall_rows, shown("oncall")),
    listing("escalation_policies", matching("policies", _POLICY_FILTERS, by_name=True), shown("policy")),
    listing("users", matching("users", {"query": _user_named, "team_ids[]": _in_teams}), shown("user")),
    listing("teams", matching("teams", QUERY), shown("team")),
    listing("priorities", matching("priorities"), shown("priority")),
    listing("business_services", matching("business_services"), shown("business_service")),
    listing("vendors", matching("vendors"), shown("vendor")),
    listing("extensions", matching("extensions", _EXTENSION_FILTERS), shown("extension")),
    listing("extension_schemas", matching("extension_schemas"), shown("extension_schema")),
    listing("analytics.raw.incidents.responses", responses, as_is),
    single("services", "/services/{id}", "service", lambda world, i: world.services.get(i), shown("service")),
    single("incidents", "/incidents/{id}", "incident", find_incident, incident),
    single("schedules", "/schedules/{id}", "schedule", find_schedule, schedule_alone),
    single(
        "escalation_policies",
        "/escalation_policies/{id}",
        "escalation_policy",
        lambda world, i: world.policies.get(i),
        shown("policy"),
    ),
    single("users", "/users/{id}", "user", lambda world, i: world.users.get(i), shown("user")),
    single("teams", "/teams/{id}", "team", lambda world, i: world.teams.get(i), shown("team")),
    Served("analytics.raw.incidents", "get", "/analytics/raw/incidents/{id}", raw_incident),
)


def _most_exact_first(rows: Iterable[Served]) -> tuple[Served, ...]:
    """Words before parameters, place by place: /incidents/types is not the incident called `types`."""
    return tuple(sorted(rows, key=lambda row: [(part.startswith("{"), part) for part in row.path.split("/")]))


SERVED: tuple[Served, ...] = _most_exact_first([*COMPANY, *LINKS, *SHIFTS, *TRAILS, *DRAWN, *ASKED_BY_POST])
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
    office: TokenOffice | None
    latency: float
    gzip: bool


def pagerduty_app(
    world: World,
    *,
    token: str,
    token_user: str | None = None,
    oauth: OAuth | None = None,
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
        oauth: The app that may ask for tokens at `/oauth/token`; such a token reads what its scopes allow.
        limit_per_minute: Counted requests per minute; more answer 429.
        path_limits: Limits of single paths beside that, `{"/oncalls": 60}`; the real numbers are not published.
        latency: Seconds that each answer is held back.
        gzip: Whether bodies are compressed for clients that accept it; costs more time than the rest of an answer.
        clock: Seconds for the rate limit and the life of tokens, counting from anywhere.
    """
    office = None if oauth is None else TokenOffice(oauth, clock)
    settings = Settings(token, token_user, office, latency, gzip)
    view, general = View(world, official()), Limiter(limit_per_minute, clock)
    special = {path: (Limiter(limit, clock),) for path, limit in (path_limits or {}).items()}
    rows = (Served("users", "get", "/users/me", _current_user(settings)), *SERVED)
    routes = [_route(row, view, (general, *special.get(row.path, ())), settings) for row in rows]
    if office is not None:
        routes.append(Route(TOKEN_PATH, _token_endpoint(office), methods=["POST"]))
    return Starlette(routes=routes, exception_handlers={HTTPException: _not_served})


def _token_endpoint(office: TokenOffice) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        try:
            found = office.issue(request.headers.get("content-type", ""), await request.body())
        except Refused as refusal:
            return _json(refusal.body, refusal.status, {}, request, compress=False)
        return _json(found, 200, {"cache-control": "no-store"}, request, compress=False)

    return endpoint


def _current_user(settings: Settings) -> Callable[[View, Asked], Json]:
    def answer(view: View, asked: Asked) -> Json:
        user = view.world.users.get(settings.token_user or "")
        if user is None:
            raise ApiError(400, "an account key has no user")
        return {"user": view.records().user(user, asked.many("include[]"))}

    return answer


def _route(served: Served, view: View, limiters: Sequence[Limiter], settings: Settings) -> Route:
    async def endpoint(request: Request) -> Response:
        if settings.latency:
            await asyncio.sleep(settings.latency)
        headers: dict[str, str] = {}
        try:
            scopes = _authorise(request, settings)
            headers = count_request(limiters)
            operation = view.spec.operation(served.method, served.path)
            _check_access(served, operation, view.world, request, scopes)
            headers.update(_spend_analytics(served, view.world))
            content = await request.body()
            body = read_body(operation, content) if operation.body is not None else {}
            _check_team_filter(served, body, settings)
            values = read_query(operation, request.query_params.multi_items())
            asked = Asked(operation, request.path_params, values, view.world.clock, body)
            compress = settings.gzip and _takes_gzip(request)
            key = request.method, request.url.path, request.url.query, content, compress
            told = view.body(key, lambda: _body(served.answer(view, asked), compress=compress))
        except ApiError as problem:
            return _json(problem.body, problem.status, {**headers, **problem.headers}, request, compress=settings.gzip)
        return _response(told, 200, headers)

    return Route(served.path, endpoint, methods=[served.method])


def _authorise(request: Request, settings: Settings) -> frozenset[str] | None:
    """The scopes of the request's token; None for a key, which has no scopes.  Raises `ApiError` 401."""
    scheme, _, rest = request.headers.get("authorization", "").partition(" ")
    given, token = rest.strip(), settings.token
    expected = {"token": f"token={token}", "bearer": token}.get(scheme.lower())
    if expected is not None and hmac.compare_digest(given.encode(), expected.encode()):
        return None
    scopes = settings.office.scopes(given) if settings.office is not None and scheme.lower() == "bearer" else None
    if scopes is None:
        raise ApiError(401)
    return scopes


def _check_access(
    served: Served, operation: Operation, world: World, request: Request, scopes: frozenset[str] | None
) -> None:
    """Path, version, media type, headers, scope, permission, plan.  Raises `ApiError` 400, 402, 403, 404 or 406."""
    for name, choices in operation.places.items():
        if request.path_params[name] not in choices:
            raise ApiError(404, f"there is no {request.path_params[name]}")
    if request.headers.get("accept", "").replace(" ", "") != ACCEPT:
        raise ApiError(406, f"Accept must be {ACCEPT}")
    content_type = request.headers.get("content-type", "").partition(";")[0].strip()
    if served.method == "post" and content_type != "application/json":
        raise ApiError(400, "Content-Type must be application/json")
    wrong = [
        f"{name} must be {value}" for name, value in operation.headers.items() if request.headers.get(name) != value
    ]
    if wrong:
        raise ApiError(400, *wrong)
    if scopes is not None and operation.scope and operation.scope not in scopes:
        raise ApiError(403, f"the token lacks the scope {operation.scope}")
    if served.kind in world.denied:
        raise ApiError(403, "the key may not read this")
    if served.kind in world.unavailable:
        raise ApiError(402, "the plan does not include this")


_OWN_DATA_ONLY = frozenset({"/analytics/metrics/incidents/all", "/analytics/raw/incidents"})


def _check_team_filter(served: Served, body: Mapping[str, Any], settings: Settings) -> None:
    """A user's key must say whose incidents it wants (PagerDuty REST API, Analytics).  Raises `ApiError` 400."""
    filters = body.get("filters") or {}
    is_user = settings.token_user is not None and served.path in _OWN_DATA_ONLY and served.method == "post"
    if is_user and not filters.keys() & {"team_ids", "service_ids"}:
        raise ApiError(400, "a user's key must filter by team_ids or service_ids")


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
    return _response(_body(found, compress=compress and _takes_gzip(request)), status, headers)


def _body(found: Json, *, compress: bool) -> Body:
    content = orjson.dumps(found)
    if compress and len(content) > 1_000:
        return Body(gzip_module.compress(content, 1, mtime=0), packed=True)
    return Body(content, packed=False)


def _takes_gzip(request: Request) -> bool:
    return "gzip" in request.headers.get("accept-encoding", "")


def _response(body: Body, status: int, headers: Mapping[str, str]) -> Response:
    packed = {"content-encoding": "gzip", "vary": "Accept-Encoding"} if body.packed else {}
    return Response(body.content, status, {**headers, **packed}, media_type="application/json")
