"""PagerDuty's analytics over a world: metrics of incidents, responders and users, and the rows behind them.

As in the service the data is a day behind, a service without incidents has no row, and a window is a year at most
(PagerDuty REST API, Analytics).  Where the API names no default window, the sandbox takes the year until now.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from statistics import fmean
from typing import TYPE_CHECKING, Any, NamedTuple
from zlib import crc32

import orjson

from pdsync.sandbox import pagerduty_text as text
from pdsync.sandbox.pagerduty_company import DAY, HOUR, Incident, Policy, Service, User, iso_time
from pdsync.sandbox.pagerduty_query import ApiError, months_later, seconds
from pdsync.sandbox.pagerduty_records import INCIDENT_TYPES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pdsync.model import Json
    from pdsync.sandbox.world import World

PARTS_OF_DAY = ("business_hour", "off_hour", "sleep_hour")


@dataclass(frozen=True, slots=True)
class Row:
    """An incident with what analytics knows about it; times in seconds, None where nothing happened yet."""

    incident: Incident
    service: Service
    policy: Policy
    user_id: str | None
    to_ack: int | None
    to_resolve: int | None
    engaged: int
    interruptions: int
    part_of_day: int

    @property
    def major(self) -> bool:
        """One of the two highest priorities."""
        return self.incident.priority is not None and self.incident.priority < 2


def _row(world: World, incident: Incident) -> Row:
    service = world.services.get(incident.service_id) or world.former_services[incident.service_id]
    policy = world.policies[service.policy_id]
    user_id = world.responder(policy, incident.created, incident.roll)
    to_ack = None if incident.acknowledged is None else incident.acknowledged - incident.created
    to_resolve = None if incident.resolved is None else incident.resolved - incident.created
    engaged = (to_resolve or 0) - (to_ack or 0) if to_ack is not None and to_resolve is not None else 0
    hour = incident.created % DAY // HOUR
    part = 0 if 9 <= hour < 17 else 2 if hour < 7 or hour >= 22 else 1
    interruptions = 1 + incident.escalations if incident.urgency == "high" else 0
    return Row(incident, service, policy, user_id, to_ack, to_resolve, engaged, interruptions, part)


class Analysed:
    """The rows behind analytics as long as the world stays as it is: each is made once."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._rows: dict[int, Row] = {}
        self._raws: dict[int, orjson.Fragment] = {}

    def row(self, position: int) -> Row:
        """What analytics knows about the incident at a position."""
        found = self._rows.get(position)
        if found is None:
            found = self._rows[position] = _row(self.world, self.world.incidents.record(position))
        return found

    def raw(self, position: int) -> orjson.Fragment:
        """A row of POST /analytics/raw/incidents, and the answer of GET /analytics/raw/incidents/{id}."""
        found = self._raws.get(position)
        if found is None:
            found = self._raws[position] = orjson.Fragment(orjson.dumps(_raw(self.world, self.row(position))))
        return found


# --- filters ---------------------------------------------------------------------------------------------------


def _window(world: World, filters: Mapping[str, Any]) -> tuple[int, int]:
    """[start, end) of the incidents asked for.  Raises `ApiError` 400."""
    end_text, start_text = filters.get("created_at_end"), filters.get("created_at_start")
    end = world.clock if end_text is None else seconds(end_text, "filters.created_at_end")
    start = months_later(end, -12) if start_text is None else seconds(start_text, "filters.created_at_start")
    if start > end:
        raise ApiError(400, "created_at_start must not be after created_at_end", code=2005)
    if months_later(start, 12) < end:
        raise ApiError(400, "the window must not be over one year", code=2005)
    return start, end


def _priority_id(world: World, row: Row) -> str | None:
    return None if row.incident.priority is None else list(world.priorities)[row.incident.priority]


# Whether a row passes a filter; `value` is what was asked for.  The window and `service_ids` go first, on columns.
_FILTERS: Mapping[str, Callable[[World, Row, Any], bool]] = {
    "urgency": lambda _, row, value: row.incident.urgency == value,
    "major": lambda _, row, value: row.major == value,
    "min_ackowledgements": lambda _, row, value: (row.to_ack is not None) >= value,
    "min_timeout_escalations": lambda _, row, value: row.incident.escalations >= value,
    "min_manual_escalations": lambda _, __, value: value <= 0,
    "team_ids": lambda _, row, value: bool(set(row.policy.team_ids) & set(value)),
    "escalation_policy_ids": lambda _, row, value: row.policy.id in value,
    "priority_ids": lambda world, row, value: _priority_id(world, row) in value,
    "priority_names": lambda _, row, value: (
        row.incident.priority is not None and text.PRIORITIES[row.incident.priority][0] in value
    ),
    "incident_type_ids": lambda _, __, value: INCIDENT_TYPES[0].id in value,
    "pd_advance_used": lambda _, __, value: not value,
    "updated_after": lambda world, _, value: world.clock > seconds(value, "filters.updated_after"),
}


def _positions(world: World, filters: Mapping[str, Any]) -> Iterator[int]:
    """Positions of the incidents that pass the filters, in order of creation."""
    start, end = _window(world, filters)
    checks = [(check, filters[name]) for name, check in _FILTERS.items() if name in filters]
    table = world.incidents
    wanted = None if filters.get("service_ids") is None else set(filters["service_ids"])
    positions = None
    if wanted is not None:
        positions = {n for n, identifier in enumerate(table.service_ids) if identifier in wanted}
    for position in table.between(start, min(end, world.clock - DAY) - 1):
        if table.hidden[position] or (positions is not None and table.service[position] not in positions):
            continue
        row = _row(world, table.record(position)) if checks else None
        if row is None or all(check(world, row, value) for check, value in checks):
            yield position


# --- metrics ---------------------------------------------------------------------------------------------------


def _mean(values: Iterable[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return round(fmean(known)) if known else None


def _metrics(rows: list[Row]) -> dict[str, Json]:
    """The numbers about some incidents; means are null where nothing counts."""
    engaged = [row.engaged for row in rows if row.to_ack is not None]
    parts = [sum(row.interruptions for row in rows if row.part_of_day == part) for part in range(3)]
    down = sum(row.to_resolve or 0 for row in rows if row.major)
    return {
        "mean_seconds_to_resolve": _mean(row.to_resolve for row in rows),
        "mean_seconds_to_first_ack": _mean(row.to_ack for row in rows),
        "mean_seconds_to_engage": _mean(row.to_ack for row in rows),
        "mean_seconds_to_mobilize": None,
        "mean_engaged_seconds": _mean(engaged),
        "mean_engaged_user_count": _mean(int(row.to_ack is not None) for row in rows),
        "mean_assignment_count": _mean(1 + row.incident.escalations for row in rows),
        "mean_user_defined_engaged_seconds": _mean(engaged),
        "total_incident_count": len(rows),
        "total_incidents_acknowledged": sum(row.to_ack is not None for row in rows),
        "total_incidents_auto_resolved": sum(row.incident.auto_resolved for row in rows),
        "total_incidents_manual_escalated": 0,
        "total_incidents_reassigned": 0,
        "total_incidents_timeout_escalated": sum(row.incident.escalations > 0 for row in rows),
        "total_escalation_count": sum(row.incident.escalations for row in rows),
        "total_interruptions": sum(parts),
        **{f"total_{part}_interruptions": count for part, count in zip(PARTS_OF_DAY, parts, strict=True)},
        "total_notifications": 2 * sum(parts),
        "total_engaged_seconds": sum(engaged),
        "total_snoozed_seconds": 0,
        "total_user_defined_engaged_seconds": sum(engaged),
        "up_time_pct": round(max(0.0, 100 - down / (365 * DAY) * 100), 3),
    }


def _unit_start(seconds_: int, unit: str | None) -> str:
    found = datetime.fromtimestamp(seconds_, UTC).replace(hour=0, minute=0, second=0)
    if unit == "week":
        found = datetime.fromtimestamp(found.timestamp() - found.weekday() * DAY, UTC)
    return (found.replace(day=1) if unit == "month" else found).strftime("%Y-%m-%dT%H:%M:%S")


def _by_service(_: World, row: Row) -> str | None:
    return row.service.id


def _by_team(_: World, row: Row) -> str | None:
    return next(iter(row.policy.team_ids), None)


def _by_policy(_: World, row: Row) -> str | None:
    return row.policy.id


def _of_service(world: World, rows: list[Row]) -> dict[str, Json]:
    row = rows[0]
    return {"service_id": row.service.id, "service_name": row.service.name, **_team_of(world, row.policy)}


def _of_team(world: World, rows: list[Row]) -> dict[str, Json]:
    return _team_of(world, rows[0].policy)


def _of_policy(world: World, rows: list[Row]) -> dict[str, Json]:
    policy = rows[0].policy
    people = {row.user_id for row in rows if row.user_id and row.to_ack is not None}
    told = {"escalation_policy_id": policy.id, "escalation_policy_name": policy.name}
    return {**told, **_team_of(world, policy), "distinct_responder_count": len(people)}


def _team_of(world: World, policy: Policy) -> dict[str, Json]:
    team = world.teams[policy.team_ids[0]] if policy.team_ids else None
    return {"team_id": team.id if team else None, "team_name": team.name if team else None}


def _percentiles(_: World, rows: list[Row]) -> dict[str, Json]:
    """Of the times to acknowledge and to resolve: what so many of a hundred incidents took at most."""
    times = {
        "seconds_to_first_ack": sorted(row.to_ack for row in rows if row.to_ack is not None),
        "seconds_to_resolve": sorted(row.to_resolve for row in rows if row.to_resolve is not None),
    }
    return {
        f"p{share}_{name}": found[(len(found) - 1) * share // 100] if found else None
        for name, found in times.items()
        for share in (50, 75, 90, 95)
    }


class Split(NamedTuple):
    """How metrics are split: what incidents are put together by (None: not counted), what is told beside numbers."""

    group: Callable[[World, Row], str | None]
    tell: Callable[[World, list[Row]], dict[str, Json]]


SPLITS: Mapping[str, Split] = {
    "/analytics/metrics/incidents/all": Split(lambda _, __: "", _percentiles),
    "/analytics/metrics/incidents/services": Split(_by_service, _of_service),
    "/analytics/metrics/incidents/services/all": Split(lambda _, __: "", lambda _, __: {}),
    "/analytics/metrics/incidents/teams": Split(_by_team, _of_team),
    "/analytics/metrics/incidents/teams/all": Split(
        lambda world, row: None if _by_team(world, row) is None else "", lambda _, __: {}
    ),
    "/analytics/metrics/incidents/escalation_policies": Split(_by_policy, _of_policy),
    "/analytics/metrics/incidents/escalation_policies/all": Split(lambda _, __: "", lambda _, __: {}),
}
"""The incident metrics, by path."""


def incident_metrics(analysed: Analysed, split: Split, body: Mapping[str, Any]) -> list[dict[str, Json]]:
    """Rows of a POST /analytics/metrics/incidents/...: one for each group that has incidents (and time unit)."""
    world = analysed.world
    filters, unit = body.get("filters") or {}, body.get("aggregate_unit")
    groups: dict[tuple[str, str], list[Row]] = {}
    for position in _positions(world, filters):
        row = analysed.row(position)
        key = split.group(world, row)
        start = _unit_start(row.incident.created, unit) if unit else ""
        if key is not None:
            groups.setdefault((key, start), []).append(row)
    return [
        {**split.tell(world, rows), **_metrics(rows), **({"range_start": at} if at else {})}
        for (_, at), rows in sorted(groups.items(), key=lambda group: group[0])
    ]


def ordered(rows: list[dict[str, Json]], body: Mapping[str, Any], order_by: str) -> list[dict[str, Json]]:
    """The rows sorted as the body asks, descending by `order_by` unless it does.  Raises `ApiError` 400."""
    field = body.get("order_by", order_by)
    if any(field not in row for row in rows):
        raise ApiError(400, f"order_by does not name a field: {field}")
    up = body.get("order", "desc") == "asc"
    return sorted(rows, key=lambda row: (row[field] is not None, row[field] or 0), reverse=not up)


def echo(body: Mapping[str, Any], order_by: str, *names: str) -> dict[str, Json]:
    """What answers repeat of the question, with what was taken where nothing was said."""
    usual: dict[str, Json] = {
        "filters": {},
        "time_zone": "Etc/UTC",
        "order": "desc",
        "order_by": order_by,
        "aggregate_unit": None,
    }
    return {name: usual[name] if body.get(name) is None else body[name] for name in names}


# --- responders and users ------------------------------------------------------------------------------------------


def _responder_rows(analysed: Analysed, filters: Mapping[str, Any]) -> list[Row]:
    """The incidents that somebody answered to, within `date_range_start` and `date_range_end`."""
    dates = {"date_range_start": "created_at_start", "date_range_end": "created_at_end"}
    plain = {dates.get(name, name): value for name, value in filters.items() if name != "responder_ids"}
    wanted = filters.get("responder_ids")
    rows = map(analysed.row, _positions(analysed.world, plain))
    return [row for row in rows if row.user_id in analysed.world.users and (wanted is None or row.user_id in wanted)]


def responder_metrics(analysed: Analysed, body: Mapping[str, Any], *, by_team: bool) -> list[dict[str, Json]]:
    """Rows of POST /analytics/metrics/responders/...: one for each responder, or each responder and team."""
    world = analysed.world
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in _responder_rows(analysed, body.get("filters") or {}):
        team = _by_team(world, row)
        if not by_team or team is not None:
            groups.setdefault((str(row.user_id), str(team) if by_team else ""), []).append(row)
    return [_responder(world, rows) for _, rows in sorted(groups.items(), key=lambda group: group[0])]


def _responder(world: World, rows: list[Row]) -> dict[str, Json]:
    user = world.users[str(rows[0].user_id)]
    counted = _metrics(rows)
    names = ("mean_engaged_seconds", "total_engaged_seconds", "total_incident_count", "total_incidents_acknowledged")
    parts = ("total_interruptions", "total_notifications", *(f"total_{part}_interruptions" for part in PARTS_OF_DAY))
    moves = ("manual_escalated", "reassigned", "timeout_escalated")
    zeros: dict[str, Json] = {f"total_incidents_{move}_{end}": 0 for move in moves for end in ("from", "to")}
    on_call = sum(row.engaged for row in rows)
    return {
        "responder_id": user.id,
        "responder_name": user.name,
        **_team_of(world, rows[0].policy),
        "mean_time_to_acknowledge_seconds": counted["mean_seconds_to_first_ack"],
        **{name: counted[name] for name in (*names, *parts)},
        **zeros,
        "total_incidents_timeout_escalated_from": counted["total_incidents_timeout_escalated"],
        "total_seconds_on_call": on_call,
        "total_seconds_on_call_level_1": on_call,
        "total_seconds_on_call_level_2_plus": 0,
    }


def responder_incidents(world: World, user_id: str, body: Mapping[str, Any]) -> list[dict[str, Json]]:
    """Rows of POST /analytics/raw/responders/{responder_id}/incidents, the latest first unless asked otherwise."""
    filters = {**(body.get("filters") or {})}
    rows = (_row(world, world.incidents.record(position)) for position in _positions(world, filters))
    found = [_responder_incident(world, row) for row in rows if row.user_id == user_id]
    return found if body.get("order", "desc") == "asc" else found[::-1]


def _responder_incident(world: World, row: Row) -> dict[str, Json]:
    raw, user = _raw(world, row), world.users[str(row.user_id)]
    told = {f"incident_{name}": raw[name] for name in ("created_at", "description", "urgency")}
    told |= {f"incident_priority_{name}": raw[f"priority_{name}"] for name in ("id", "name", "order")}
    moves = ("manual_escalations", "reassignments", "timeout_escalations")
    zeros: dict[str, Json] = {f"total_{move}_{end}": 0 for move in moves for end in ("from", "to")}
    return {
        "incident_id": raw["id"],
        "incident_number": raw["incident_number"],
        **told,
        "responder_id": user.id,
        "responder_name": user.name,
        "service_id": raw["service_id"],
        "service_name": raw["service_name"],
        "service_team_id": raw["team_id"],
        "service_team_name": raw["team_name"],
        "mean_time_to_acknowledge_seconds": row.to_ack or 0,
        "total_acknowledgements": raw["acknowledgement_count"],
        "total_engaged_seconds": row.engaged,
        "total_interruptions": row.interruptions,
        **{f"total_{part}_interruptions": raw[f"{part}_interruptions"] for part in PARTS_OF_DAY},
        **zeros,
        "total_timeout_escalations_from": raw["timeout_escalation_count"],
    }


def responses(world: World, position: int) -> list[dict[str, Json]]:
    """Rows of GET /analytics/raw/incidents/{id}/responses: whoever was called first."""
    row = _row(world, world.incidents.record(position))
    user = world.users.get(row.user_id or "")
    if user is None:
        return []
    answered = row.incident.acknowledged
    return [
        {
            "requested_at": _plain(row.incident.created),
            "responded_at": _plain(answered),
            "responder_id": user.id,
            "responder_name": user.name,
            "responder_type": "assigned",
            "response_status": "pending" if answered is None else "joined",
            "time_to_respond_seconds": row.to_ack,
        }
    ]


def _users(world: World, filters: Mapping[str, Any]) -> list[User]:
    """The users that pass the filters; when somebody joined is drawn from the identifier."""
    teams, ids = filters.get("team_ids"), filters.get("user_ids")
    start, end = (
        None if filters.get(f"created_at_{side}") is None else seconds(filters[f"created_at_{side}"], f"filters.{side}")
        for side in ("start", "end")
    )
    return [
        user
        for user in world.users.values()
        if (teams is None or set(teams) & set(user.team_ids))
        and (ids is None or user.id in ids)
        and (start is None or _joined(world, user) >= start)
        and (end is None or _joined(world, user) < end)
    ]


def _joined(world: World, user: User) -> int:
    return world.founded - (30 + crc32(user.id.encode()) % 1_500) * DAY


def user_metrics(analysed: Analysed, body: Mapping[str, Any]) -> list[dict[str, Json]]:
    """The one row of POST /analytics/metrics/users/all."""
    world = analysed.world
    rows = [_raw_user(world, user) for user in _users(world, body.get("filters") or {})]
    counts = {
        "downloaded_mobile_app": sum(bool(row["downloaded_mobile_app"]) for row in rows),
        "on_escalation_policy": sum(bool(row["on_escalation_policy"]) for row in rows),
        "signed_up": sum(bool(row["signed_up"]) for row in rows),
        "with_notification_methods": sum(bool(row["notification_methods"]) for row in rows),
    }
    shares = {f"total_{name}_percentage": round(100 * n / max(1, len(rows)), 2) for name, n in counts.items()}
    return [{"total_user_count": len(rows), **{f"total_{name}_count": n for name, n in counts.items()}, **shares}]


def _raw_user(world: World, user: User) -> dict[str, Json]:
    policies = [p.id for p in world.policies.values() for rule in p.rules if ("users", user.id) in rule.targets]
    schedules = [s.id for s in world.schedules.values() for layer in s.layers if user.id in layer.user_ids]
    team = world.teams[user.team_ids[0]] if user.team_ids else None
    return {
        "id": user.id,
        "user_name": user.name,
        "email": user.email,
        "account_id": 1,
        "role": user.role,
        "time_zone": user.time_zone,
        "description": user.description,
        "team_id": team.id if team else None,
        "team_name": team.name if team else None,
        "team_count": len(user.team_ids),
        "created_at": iso_time(_joined(world, user)),
        "last_sign_in_at": iso_time(world.founded - crc32(user.name.encode()) % 40 * DAY),
        "escalation_policies_count": len(set(policies)),
        "schedules_count": len(set(schedules)),
        "default_notification_channel_count": 3 if user.has_phone else 1,
        "channel_types_configured": ["email", "phone", "sms"] if user.has_phone else ["email"],
        "downloaded_mobile_app": user.has_phone,
        "notification_methods": True,
        "on_escalation_policy": bool(policies),
        "on_schedule": bool(schedules),
        "signed_up": True,
    }


def raw_users(world: World, body: Mapping[str, Any]) -> list[dict[str, Json]]:
    """Rows of POST /analytics/raw/users, by identifier unless asked otherwise."""
    rows = [_raw_user(world, user) for user in _users(world, body.get("filters") or {})]
    field = {"user_id": "id", "name": "user_name"}.get(body.get("order_by", "user_id"), body.get("order_by"))
    return ordered(rows, {"order": body.get("order", "desc"), "order_by": field}, "id")


def usage(analysed: Analysed, body: Mapping[str, Any]) -> list[dict[str, Json]]:
    """Rows of POST /analytics/metrics/pd_advance_usage/features: a row for each of two features."""
    filters = {k: v for k, v in (body.get("filters") or {}).items() if not k.startswith("incident_created")}
    count = sum(1 for _ in _positions(analysed.world, filters))
    return [
        {
            "feature_id": feature,
            "total_use_count": count // share,
            "total_credits_used": count // share * 4,
            "total_proactive_use_count": 0,
            "total_proactive_credits_used": 0,
        }
        for feature, share in (("status_update", 5), ("incident_summary", 3))
    ]


# --- raw incidents ---------------------------------------------------------------------------------------------


def _plain(seconds_: int | None) -> str | None:
    return None if seconds_ is None else datetime.fromtimestamp(seconds_, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _people(world: World, user_id: str | None, word: str) -> dict[str, Json]:
    user = world.users.get(user_id or "") or world.former_users.get(user_id or "")
    return {f"{word}_user_ids": [user.id] if user else [], f"{word}_user_names": [user.name] if user else []}


def _counts(row: Row) -> dict[str, Json]:
    """The numbers of a raw incident."""
    incident, engaged = row.incident, int(row.to_ack is not None)
    parts = [row.interruptions if row.part_of_day == part else 0 for part in range(3)]
    return {
        "acknowledgement_count": engaged,
        "active_user_count": engaged,
        "assignment_count": 1 + incident.escalations,
        "engaged_user_count": engaged,
        "escalation_count": incident.escalations,
        "manual_escalation_count": 0,
        "timeout_escalation_count": incident.escalations,
        "reassignment_count": 0,
        "engaged_seconds": row.engaged,
        "seconds_to_resolve": row.to_resolve,
        "seconds_to_first_ack": row.to_ack,
        "seconds_to_engage": row.to_ack,
        "seconds_to_mobilize": None,
        "snoozed_seconds": 0,
        "user_defined_effort_seconds": None,
        **{f"{part}_interruptions": count for part, count in zip(PARTS_OF_DAY, parts, strict=True)},
        "total_interruptions": row.interruptions,
        "total_notifications": 2 * row.interruptions,
    }


def _raw(world: World, row: Row) -> dict[str, Json]:
    incident, policy = row.incident, row.policy
    team = world.teams[policy.team_ids[0]] if policy.team_ids else None
    resolver = world.users.get(row.user_id or "") if incident.resolved and not incident.auto_resolved else None
    return {
        "id": incident.id,
        "incident_number": incident.number,
        "description": incident.title,
        "status": incident.status,
        "urgency": incident.urgency,
        "major": row.major,
        "auto_resolved": incident.auto_resolved,
        "created_at": _plain(incident.created),
        "resolved_at": _plain(incident.resolved),
        "updated_at": _plain(world.clock // DAY * DAY),
        "service_id": row.service.id,
        "service_name": row.service.name,
        "team_id": team.id if team else None,
        "team_name": team.name if team else None,
        "escalation_policy_id": policy.id,
        "escalation_policy_name": policy.name,
        "incident_type_id": INCIDENT_TYPES[0].id,
        "incident_type_name": INCIDENT_TYPES[0].name,
        "priority_id": _priority_id(world, row),
        "priority_name": None if incident.priority is None else text.PRIORITIES[incident.priority][0],
        "priority_order": None if incident.priority is None else len(text.PRIORITIES) - incident.priority,
        "resolved_by_user_id": resolver.id if resolver else None,
        "resolved_by_user_name": resolver.name if resolver else None,
        **_people(world, row.user_id, "assigned"),
        **_people(world, row.user_id if row.to_ack is not None else None, "acknowledged"),
        **_people(world, None, "joined"),
        **_counts(row),
    }


def incident_rows(world: World, filters: Mapping[str, Any], order: str, order_by: str) -> list[int]:
    """Positions of all incidents of POST /analytics/raw/incidents that pass the filters, in order."""
    table = world.incidents
    found = list(_positions(world, filters))
    if order_by == "seconds_to_resolve":
        found.sort(key=lambda n: table.changed[n] - table.created[n] if table.status[n] == 2 else -1)
    if order == "desc":
        found.reverse()
    return found


def page_of(names: Sequence[str], body: Mapping[str, Any], default: int) -> tuple[range, dict[str, Json]]:
    """The places of a page in a list of rows with these names, and the fields that tell where it stands.

    Raises `ApiError` 400 for a cursor that names no row.
    """
    limit = body.get("limit", default)
    after, before = body.get("starting_after"), body.get("ending_before")
    if after is not None and before is not None:
        raise ApiError(400, "starting_after and ending_before exclude each other")
    start = 0 if after is None else _place(names, after, "starting_after") + 1
    end = start + limit
    if before is not None:
        end = _place(names, before, "ending_before")
        start = max(0, end - limit)
    page = range(start, min(end, len(names)))
    more = end < len(names) if before is None else start > 0
    first, last = (names[page[0]], names[page[-1]]) if page else ("", "")
    return page, {"first": first, "last": last, "limit": limit, "more": more}


def _place(names: Sequence[str], wanted: str, name: str) -> int:
    if wanted not in names:
        raise ApiError(400, f"{name} names no row of this list: {wanted}")
    return names.index(wanted)


class Names(Sequence[str]):
    """The identifiers of incidents by their positions; looked up without making them all."""

    def __init__(self, world: World, positions: Sequence[int]) -> None:
        self._ids = world.incidents
        self._positions = positions

    def __len__(self) -> int:
        return len(self._positions)

    def __getitem__(self, place: Any) -> Any:
        return self._ids.ids[self._positions[place]]

    def __contains__(self, wanted: object) -> bool:
        position = self._ids.position(str(wanted))
        return position is not None and position in self._positions

    def index(self, wanted: str, *_: int) -> int:
        """The place of an identifier that is among them."""
        position = self._ids.position(wanted)
        assert position is not None
        return self._positions.index(position)
