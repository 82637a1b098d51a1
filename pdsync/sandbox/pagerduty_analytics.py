"""PagerDuty's analytics over a world: metrics per service and a row per incident.

As in the service the data is a day behind, a service without incidents has no row, and a window is a year at most
(PagerDuty REST API, Analytics).  Where the API names no default window, the sandbox takes the year until now.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from statistics import fmean
from typing import TYPE_CHECKING, Any

from pdsync.sandbox import pagerduty_text as text
from pdsync.sandbox.pagerduty_company import DAY, HOUR, Incident, Policy, Service
from pdsync.sandbox.pagerduty_query import ApiError, months_later, seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from pdsync.model import Json
    from pdsync.sandbox.world import World

INCIDENT_TYPE = ("PTDEFLT", "incident_default")
DEFAULT_LIMIT = 20


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
    "incident_type_ids": lambda _, __, value: INCIDENT_TYPE[0] in value,
    "pd_advance_used": lambda _, __, value: not value,
    "updated_after": lambda world, _, value: world.clock > seconds(value, "filters.updated_after"),
}


def _positions(world: World, filters: Mapping[str, Any]) -> Iterator[int]:
    """Positions of the incidents that pass the filters, in order of creation."""
    start, end = _window(world, filters)
    checks = [(check, filters[name]) for name, check in _FILTERS.items() if name in filters]
    table = world.incidents
    wanted = filters.get("service_ids")
    positions = None
    if wanted is not None:
        positions = {n for n, identifier in enumerate(table.service_ids) if identifier in set(wanted)}
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


def _metrics(rows: list[Row], world: World) -> dict[str, Json]:
    service, policy = rows[0].service, rows[0].policy
    team = world.teams[policy.team_ids[0]] if policy.team_ids else None
    engaged = [row.engaged for row in rows if row.to_ack is not None]
    parts = [sum(row.interruptions for row in rows if row.part_of_day == part) for part in range(3)]
    down = sum(row.to_resolve or 0 for row in rows if row.major)
    return {
        "service_id": service.id,
        "service_name": service.name,
        "team_id": team.id if team else None,
        "team_name": team.name if team else None,
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
        "total_business_hour_interruptions": parts[0],
        "total_off_hour_interruptions": parts[1],
        "total_sleep_hour_interruptions": parts[2],
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


def service_metrics(world: World, body: Mapping[str, Any]) -> Json:
    """POST /analytics/metrics/incidents/services: one row per service, or per service and time unit."""
    filters, unit = body.get("filters") or {}, body.get("aggregate_unit")
    groups: dict[tuple[str, str], list[Row]] = {}
    for position in _positions(world, filters):
        row = _row(world, world.incidents.record(position))
        start = _unit_start(row.incident.created, unit) if unit else ""
        groups.setdefault((row.service.id, start), []).append(row)
    data = [{**_metrics(rows, world), **({"range_start": at} if at else {})} for (_, at), rows in groups.items()]
    order, order_by = body.get("order", "desc"), body.get("order_by", "total_incident_count")
    if any(order_by not in row for row in data):
        raise ApiError(400, f"order_by does not name a field: {order_by}")
    data.sort(key=lambda row: row["service_id"])
    data.sort(key=lambda row: (row[order_by] is not None, row[order_by] or 0), reverse=order == "desc")
    zone = body.get("time_zone", "Etc/UTC")
    echo = {"filters": filters, "time_zone": zone, "order": order, "order_by": order_by, "aggregate_unit": unit}
    return {"data": data, **echo}


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
        "business_hour_interruptions": parts[0],
        "off_hour_interruptions": parts[1],
        "sleep_hour_interruptions": parts[2],
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
        "incident_type_id": INCIDENT_TYPE[0],
        "incident_type_name": INCIDENT_TYPE[1],
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


def raw_page(world: World, rows: Sequence[int], body: Mapping[str, Any]) -> Json:
    """A page of rows, from the cursor on.  Raises `ApiError` 400 for a cursor that names no row."""
    limit = body.get("limit", DEFAULT_LIMIT)
    after, before = body.get("starting_after"), body.get("ending_before")
    if after is not None and before is not None:
        raise ApiError(400, "starting_after and ending_before exclude each other")
    start = 0 if after is None else _place(world, rows, after, "starting_after") + 1
    end = start + limit
    if before is not None:
        end = _place(world, rows, before, "ending_before")
        start = max(0, end - limit)
    data = [_raw(world, _row(world, world.incidents.record(position))) for position in rows[start:end]]
    return {
        "first": data[0]["id"] if data else "",
        "last": data[-1]["id"] if data else "",
        "limit": limit,
        "more": end < len(rows) if before is None else start > 0,
        "order": body.get("order", "desc"),
        "order_by": body.get("order_by", "created_at"),
        "filters": body.get("filters") or {},
        "time_zone": body.get("time_zone", "Etc/UTC"),
        "data": data,
    }


def _place(world: World, rows: Sequence[int], identifier: str, name: str) -> int:
    position = world.incidents.position(identifier)
    if position is None or position not in rows:
        raise ApiError(400, f"{name} names no incident of this list: {identifier}")
    return rows.index(position)
