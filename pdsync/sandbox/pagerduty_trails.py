"""What happened: alerts and log entries of incidents, similar incidents, and the audit trail.

A log entry is kept as one number (moment, incident, place among the incident's entries), because an account has
several for each incident; sorted, they are in order of time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from pdsync.sandbox import pagerduty_text as text
from pdsync.sandbox.pagerduty_generic import TABLE_OF
from pdsync.sandbox.pagerduty_lists import BY_KIND
from pdsync.sandbox.pagerduty_page import Served, listing
from pdsync.sandbox.pagerduty_query import audit_window, window
from pdsync.sandbox.pagerduty_records import API, WEB

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pdsync.model import Json
    from pdsync.sandbox.pagerduty_company import AuditEntry, Incident
    from pdsync.sandbox.pagerduty_page import Find, View
    from pdsync.sandbox.pagerduty_query import Asked
    from pdsync.sandbox.pagerduty_records import Records

SIMILAR = 12
"""How many incidents before it are like an incident, at most."""


def _position(view: View, asked: Asked) -> int:
    found = view.world.incidents.position(asked.path["id"])
    assert found is not None
    return found


# --- alerts --------------------------------------------------------------------------------------------------------


class Alert(NamedTuple):
    """An alert: the incident's position and the alert's number in it."""

    position: int
    number: int


def alerts(view: View, asked: Asked) -> list[Alert]:
    """The alerts of an incident; all have its status."""
    position = _position(view, asked)
    incident = view.world.incidents.record(position)
    wanted = asked.many("statuses[]")
    found = [Alert(position, n) for n in range(incident.alerts)]
    key = asked.one("alert_key")
    found = [one for one in found if key in {None, _alert_key(incident, one.number)}]
    is_down = (asked.one("sort_by") or "").endswith(":desc")
    return [] if wanted and _alert_status(incident) not in wanted else found[:: -1 if is_down else 1]


def _alert_key(incident: Incident, n: int) -> str:
    return f"{incident.roll:x}.{n}"


def _alert_status(incident: Incident) -> str:
    return "resolved" if incident.resolved is not None else "triggered"


def alert(records: Records, one: Alert, asked: Asked) -> Json:
    """An alert of an incident."""
    incident = records.world.incidents.record(one.position)
    include = asked.many("include[]")
    place = f"incidents/{incident.id}/alerts/A{one.number}{incident.id[1:]}"
    plain = {**records.head("incidents", incident.id, incident.title), "type": "incident_reference"}
    full = records.incident_at(one.position) if "incidents" in include else plain
    service = records.world.services.get(incident.service_id)
    sources = service.integrations if service else ()
    source = sources[one.number % len(sources)] if sources else None
    return {
        "id": f"A{one.number}{incident.id[1:]}",
        "type": "alert",
        "summary": incident.title,
        "self": f"{API}/{place}",
        "html_url": f"{WEB}/alerts/A{one.number}{incident.id[1:]}",
        "created_at": records.moment(min(incident.created + 30 * one.number, incident.updated)),
        "status": _alert_status(incident),
        "alert_key": _alert_key(incident, one.number),
        "service": records.pick("services", incident.service_id, full="services" in include),
        "first_trigger_log_entry": _entry(records, incident, ("trigger", incident.created, 0), include, {}),
        "incident": full,
        "suppressed": False,
        "severity": ("critical", "warning", "info", "error")[one.number % 4],
        "integration": records.integration(service, source) if service and source else None,
        "body": {"type": "alert_body", "contexts": [], "details": {"count": one.number}},
    }


# --- log entries ---------------------------------------------------------------------------------------------------

_LETTERS = {"trigger": "R", "assign": "A", "escalate": "E", "acknowledge": "K", "resolve": "S"}
_SUMMARIES = {"assign": "Assigned", "escalate": "Escalated", "acknowledge": "Acknowledged", "resolve": "Resolved"}
_OVERVIEW = frozenset({"trigger", "escalate", "acknowledge", "resolve"})
_SLOTS = 1 << 4
_PLACES = 1 << 28
_Event = tuple[str, int, int]  # what, when, which of its sort


def _events(incident: Incident, now: int) -> list[_Event]:
    """What happened to an incident, in order."""
    turns = [("escalate", incident.created + 600 * (n + 1), n) for n in range(incident.escalations)]
    found: list[_Event] = [("trigger", incident.created, 0), ("assign", min(incident.created + 1, now), 0)]
    found += [turn for turn in turns if turn[1] <= (incident.acknowledged or incident.updated)]
    if incident.acknowledged is not None:
        found.append(("acknowledge", incident.acknowledged, 0))
    if incident.resolved is not None:
        found.append(("resolve", incident.resolved, 0))
    return found


def _codes(view: View, positions: Sequence[int], asked: Asked) -> list[int]:
    """The entries of incidents within the window, latest first."""
    table, now = view.world.incidents, view.world.clock
    since, until = window(asked)
    overview = asked.flag("is_overview")
    found = [
        (at * _PLACES + position) * _SLOTS + n
        for position in positions
        if not table.hidden[position] and table.created[position] <= until and table.changed[position] >= since
        for n, (what, at, _) in enumerate(_events(table.record(position), now))
        if since <= at <= until and (not overview or what in _OVERVIEW)
    ]
    return sorted(found, reverse=True)


def entries_of(view: View, asked: Asked) -> list[int]:
    """The log entries of one incident."""
    return _codes(view, [_position(view, asked)], asked)


def entries(view: View, asked: Asked) -> list[int]:
    """The log entries of all incidents, or of those of some teams."""
    world, table = view.world, view.world.incidents
    teams = asked.many("team_ids[]")
    if not teams:
        return _codes(view, range(len(table)), asked)
    services = {**world.former_services, **world.services}
    wanted = {
        n
        for n, identifier in enumerate(table.service_ids)
        if not teams.isdisjoint(world.policies[services[identifier].policy_id].team_ids)
    }
    return _codes(view, [n for n, service in enumerate(table.service) if service in wanted], asked)


def entry(records: Records, code: int, asked: Asked) -> Json:
    """A log entry."""
    rest, n = divmod(code, _SLOTS)
    position = rest % _PLACES
    incident = records.world.incidents.record(position)
    include = asked.many("include[]")
    event = _events(incident, records.world.clock)[n]
    whole = {"incident": records.incident_at(position)} if "incidents" in include else {}
    return _entry(records, incident, event, include | {"first_trigger_log_entries"}, whole)


def _entry(
    records: Records, incident: Incident, event: _Event, include: frozenset[str], whole: Mapping[str, Any]
) -> dict[str, Any]:
    """A log entry, or a reference to it unless `first_trigger_log_entries` is included; `whole` replaces fields."""
    what, at, n = event
    identifier = f"{_LETTERS[what]}{n or ''}{incident.id[1:]}"
    kind, summary = text.CHANNELS[incident.channel] if what == "trigger" else ("auto", _SUMMARIES[what])
    is_full = "first_trigger_log_entries" in include
    head = {
        "id": identifier,
        "type": f"{what}_log_entry" if is_full else f"{what}_log_entry_reference",
        "summary": summary,
        "self": f"{API}/log_entries/{identifier}",
        "html_url": f"{WEB}/incidents/{incident.id}/log_entries/{identifier}",
    }
    if not is_full:
        return head
    world = records.world
    service = world.services.get(incident.service_id) or world.former_services[incident.service_id]
    policy = world.policies[service.policy_id]
    who = world.responder(policy, incident.created, incident.roll) if what in {"acknowledge", "resolve"} else None
    by_service = who is None or (what == "resolve" and incident.auto_resolved)
    details = {"details": {"number": incident.number}} if "channels" in include else {}
    return {
        **head,
        "created_at": records.moment(at),
        "agent": records.reference("services", service.id) if by_service else records.reference("users", str(who)),
        "channel": {"type": kind, "summary": summary, **details},
        "service": records.pick("services", service.id, full="services" in include),
        "incident": {**records.head("incidents", incident.id, incident.title), "type": "incident_reference"},
        "teams": records.picks("teams", policy.team_ids, full="teams" in include),
        "contexts": [],
        "event_details": {"description": incident.title},
        **whole,
    }


# --- similar incidents ---------------------------------------------------------------------------------------------


def past_incidents(view: View, asked: Asked) -> list[int]:
    """Positions of earlier incidents of the same service, latest first."""
    table, position = view.world.incidents, _position(view, asked)
    found = []
    for n in range(position - 1, -1, -1):
        if table.service[n] == table.service[position] and not table.hidden[n]:
            found.append(n)
            if len(found) == SIMILAR:
                break
    return found


def past_incident(records: Records, position: int, _: Asked) -> Json:
    """An earlier incident and how alike it is."""
    one = records.world.incidents.record(position)
    told = {"id": one.id, "created_at": records.moment(one.created), "self": f"{API}/incidents/{one.id}"}
    return {"incident": {**told, "title": one.title}, "score": 20.0 + one.roll % 80}


# --- audit ---------------------------------------------------------------------------------------------------------


def audit_of(kind: str) -> Find:
    """Finds the audit records of one record of a kind, or of all with ""; newest first."""
    wanted = TABLE_OF.get(kind.removesuffix("_v3"), kind)

    def find(view: View, asked: Asked) -> list[AuditEntry]:
        start, end = audit_window(asked)
        checks = [_AUDIT_FILTERS[name] for name in asked.values if name in _AUDIT_FILTERS]
        found = [
            one
            for one in view.world.audit
            if start <= one.at <= end
            and (not kind or (one.kind, one.record_id) == (wanted, asked.path["id"]))
            and all(check(one, asked) for check in checks)
        ]
        return sorted(found, key=lambda one: (-one.at, one.id))

    return find


_AUDIT_FILTERS: Mapping[str, Callable[[AuditEntry, Asked], bool]] = {
    "root_resource_types[]": lambda one, asked: (
        one.kind in {TABLE_OF.get(kind, kind) for kind in asked.many("root_resource_types[]")}
    ),
    "actions[]": lambda one, asked: one.action in asked.many("actions[]"),
    "actor_id": lambda one, asked: one.actor_id == asked.one("actor_id"),
    "actor_type": lambda _, asked: asked.one("actor_type") == "user_reference",
    "method_type": lambda one, asked: asked.one("method_type") == ("browser" if one.actor_id else "other"),
    "method_truncated_token": lambda _, __: False,
}


TRAILS: tuple[Served, ...] = (
    listing("incidents.alerts", alerts, alert),
    listing("incidents.log_entries", entries_of, entry),
    listing("log_entries", entries, entry),
    listing("incidents.past_incidents", past_incidents, past_incident),
    *(
        listing(
            kind,
            audit_of(kind.removesuffix("audit.records").removesuffix(".")),
            lambda records, one, _: records.audit(one),
        )
        for kind in BY_KIND
        if kind.endswith("audit.records")
    ),
)
"""What is served about what happened."""
