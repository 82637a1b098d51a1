"""A world's records as PagerDuty's REST API shows them.

One method of `Records` for each kind; `include` names what `include[]` asked for: the object in the place of its
reference (PagerDuty REST API, References and Includes).  References are encoded once and spliced into records as
`orjson.Fragment`, which is what makes a page of a hundred incidents cheap.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple
from zlib import crc32

import orjson

from pdsync.sandbox import pagerduty_text as text
from pdsync.sandbox.pagerduty_company import DAY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import tzinfo

    from pdsync.model import Json
    from pdsync.sandbox.pagerduty_company import (
        AuditEntry,
        Incident,
        Integration,
        Layer,
        Named,
        OnCall,
        Policy,
        Schedule,
        Service,
        Shift,
        Team,
        User,
    )
    from pdsync.sandbox.world import World

API = "https://api.pagerduty.com"
WEB = "https://sandbox.pagerduty.com"
KEPT_INCIDENTS = 200_000  # 2 kB each
Include = frozenset[str]
NOTHING: Include = frozenset()

# kind: type, path of `self`, path of `html_url` (None: the web application has no page for it)
_PLACES: Mapping[str, tuple[str, str, str | None]] = {
    "users": ("user", "users", "users"),
    "teams": ("team", "teams", "teams"),
    "schedules": ("schedule", "schedules", "schedules"),
    "policies": ("escalation_policy", "escalation_policies", "escalation_policies"),
    "services": ("service", "services", "service-directory"),
    "incidents": ("incident", "incidents", "incidents"),
    "priorities": ("priority", "priorities", None),
    "vendors": ("vendor", "vendors", None),
    "business_services": ("business_service", "business_services", "business-services"),
    "extensions": ("extension", "extensions", None),
    "extension_schemas": ("extension_schema", "extension_schemas", None),
}

# name, label, data type, field type, description, values (None: not set)
CustomField = tuple[str, str, str, str, str | None, tuple[Any, ...]]
SERVICE_FIELDS: tuple[CustomField, ...] = (
    ("tier", "Tier", "string", "single_value_fixed", "How much it matters", ("gold", "silver", "bronze", None)),
    ("cost_center", "Cost centre", "integer", "single_value", None, (4100, 4200, 4711, None)),
    ("on_prem", "On premises", "boolean", "single_value", None, (True, False)),
    ("regions", "Regions", "string", "multi_value_fixed", "Where it runs", (["eu", "us"], ["eu"], [], None)),
    ("runbook", "Runbook 📖", "url", "single_value", None, ("https://example.com/runbook", None)),
)
INCIDENT_FIELDS: tuple[CustomField, ...] = (
    ("customers_affected", "Customers affected", "integer", "single_value", None, (0, 12, 4711, None)),
    ("loss", "Loss (€)", "float", "single_value", "Rough estimate", (0.5, 1200.0, 99999.99, None)),
    ("started", "Started", "datetime", "single_value", None, ("2026-05-01T00:00:00Z", None)),
    ("cause", "Cause", "string", "single_value_fixed", None, ("deploy", "capacité", "不明", None)),
)


class IncidentType(NamedTuple):
    """A type of incidents; fields are those of the first one."""

    id: str
    name: str
    label: str
    enabled: bool


INCIDENT_TYPES = (
    IncidentType("PTDEFLT", "incident_default", "Base Incident", enabled=True),
    IncidentType("PTMAJOR", "major_incident", "Major Incident", enabled=True),
    IncidentType("PTSECUR", "security_incident", "Incident de sécurité", enabled=False),
)


def field_id(name: str) -> str:
    """The identifier of a custom field."""
    return f"PF{crc32(name.encode()) % 100_000:05d}"


def field_ids(fields: tuple[CustomField, ...]) -> frozenset[str]:
    """The identifiers of custom fields."""
    return frozenset(field_id(name) for name, *_ in fields)


class Records:
    """Renders records of one world in one time zone; made anew when the world has changed."""

    def __init__(self, world: World, zone: tzinfo = UTC) -> None:
        self.world = world
        self.zone = zone
        self._references: dict[tuple[str, str], orjson.Fragment] = {}
        self._fulls: dict[tuple[str, str], orjson.Fragment] = {}
        self._incidents: dict[tuple[int, Include], orjson.Fragment] = {}
        self._services_of: dict[str, list[str]] = {}
        self._policies_of: dict[str, list[str]] = {}
        for service in world.services.values():
            self._services_of.setdefault(service.policy_id, []).append(service.id)
        for policy in world.policies.values():
            for schedule_id in {t.id: 0 for rule in policy.rules for t in rule.targets if t.kind == "schedules"}:
                self._policies_of.setdefault(schedule_id, []).append(policy.id)
        self._priority_ids = list(world.priorities)
        self._full_of: Mapping[str, tuple[Mapping[str, Any], Callable[[Any], Json]]] = {
            "users": (world.users, self.user),
            "teams": (world.teams, self.team),
            "schedules": (world.schedules, self.schedule),
            "policies": (world.policies, self.policy),
            "services": (world.services, self.service),
            "priorities": (world.priorities, self.priority),
            "extension_schemas": (world.extension_schemas, self.extension_schema),
        }

    # --- parts ---

    def time(self, seconds: int | None) -> str | None:
        """A moment as the API writes it; None stays None."""
        return None if seconds is None else self.moment(seconds)

    def moment(self, seconds: int) -> str:
        """A moment as the API writes it: `Z` in UTC, an offset elsewhere."""
        found = datetime.fromtimestamp(seconds, self.zone).isoformat(timespec="seconds")
        return found[:-6] + "Z" if self.zone is UTC else found

    def head(self, kind: str, identifier: str, summary: str) -> dict[str, Json]:
        """The five fields that every record has (API, Endpoints)."""
        type_, path, page = _PLACES[kind]
        return {
            "id": identifier,
            "type": type_,
            "summary": summary,
            "self": f"{API}/{path}/{identifier}",
            "html_url": f"{WEB}/{page}/{identifier}" if page else None,
        }

    def reference(self, kind: str, identifier: str) -> orjson.Fragment:
        """A reference to a record; records that are gone have no `self` any more."""
        found = self._references.get((kind, identifier))
        if found is None:
            found = self._references[kind, identifier] = orjson.Fragment(orjson.dumps(self._refer(kind, identifier)))
        return found

    def _refer(self, kind: str, identifier: str) -> dict[str, Json]:
        live: Mapping[str, Any] = getattr(self.world, kind)
        gone: Mapping[str, Any] = getattr(self.world, f"former_{kind}", {})
        record = live.get(identifier) or gone[identifier]
        head = self.head(kind, identifier, record.name)
        head["type"] += "_reference"
        if kind == "schedules" and identifier in self.world.upgraded:
            return {**head, "type": "schedule_v3_reference", "self": f"{API}/v3/schedules/{identifier}"}
        if identifier in live:
            return head
        deleted = getattr(record, "deleted_at", None)
        return {**head, "self": None} | ({"deleted_at": self.moment(deleted)} if deleted else {})

    def pick(self, kind: str, identifier: str, *, full: bool) -> orjson.Fragment:
        """The record itself if `full` and it still exists, else a reference to it.

        A schedule that was upgraded is referred to even so: its record has another form.
        """
        table, render = self._full_of[kind]
        if not full or identifier not in table or (kind == "schedules" and identifier in self.world.upgraded):
            return self.reference(kind, identifier)
        found = self._fulls.get((kind, identifier))
        if found is None:
            record = render(table[identifier])
            found = self._fulls[kind, identifier] = orjson.Fragment(orjson.dumps(record))
        return found

    def picks(self, kind: str, identifiers: Iterable[str], *, full: bool = False) -> list[orjson.Fragment]:
        """`pick` for each of the identifiers."""
        return [self.pick(kind, identifier, full=full) for identifier in identifiers]

    # --- kinds ---

    def team(self, team: Team, include: Include = NOTHING) -> Json:
        """A team."""
        found = {
            **self.head("teams", team.id, team.name),
            "name": team.name,
            "description": team.description,
            "default_role": "manager",
            "parent": None,
        }
        if "privileges" in include:
            found["privileges"] = {"role": "observer", "permissions": ["read"]}
        return found

    def user(self, user: User, include: Include = NOTHING) -> Json:
        """A user; contact methods and notification rules are references unless included."""
        found = {
            **self.head("users", user.id, user.name),
            "name": user.name,
            "email": user.email,
            "time_zone": user.time_zone,
            "color": user.color,
            "avatar_url": f"https://avatars.example.com/{user.id}.png",
            "billed": True,
            "role": user.role,
            "description": user.description,
            "invitation_sent": not user.via_sso,
            "job_title": user.job_title,
            "created_via_sso": user.via_sso,
            "teams": self.picks("teams", user.team_ids, full="teams" in include),
            "contact_methods": self.contact_methods(user, full="contact_methods" in include),
            "notification_rules": self.notification_rules(user, full="notification_rules" in include),
        }
        if "calendar_urls" in include:
            secret = f"{crc32(user.id.encode()):08x}"
            found["http_cal_url"] = f"{WEB}/private/{secret}/feed"
            found["web_cal_url"] = f"webcal://sandbox.pagerduty.com/private/{secret}/feed"
        return found

    def contact_methods(self, user: User, *, full: bool) -> list[dict[str, Json]]:
        """A user's contact methods, or references to them: e-mail always, telephone and text message for some."""
        phone = f"5550{crc32(user.id.encode()) % 10_000:04d}"
        rows = [("E", "email_contact_method", "Default", {"address": user.email, "send_short_email": False})]
        if user.has_phone:
            numbers = {"address": phone, "country_code": 1, "enabled": True, "blacklisted": False}
            rows += [("T", "phone_contact_method", "Mobile", numbers), ("S", "sms_contact_method", "Mobile", numbers)]
        return [
            {
                "id": user.id + letter,
                "type": kind if full else f"{kind}_reference",
                "summary": label,
                "self": f"{API}/users/{user.id}/contact_methods/{user.id}{letter}",
                "html_url": None,
            }
            | ({"label": label, **extra} if full else {})
            for letter, kind, label, extra in rows
        ]

    def notification_rules(self, user: User, *, full: bool) -> list[dict[str, Json]]:
        """A user's notification rules, or references to them: at once when it is urgent, else after a while."""
        contact = self.contact_methods(user, full=False)[-1]
        kind = "assignment_notification_rule"
        return [
            {
                "id": f"{user.id}N{n}",
                "type": kind if full else f"{kind}_reference",
                "summary": f"{delay} minutes: channel {contact['id']}",
                "self": f"{API}/users/{user.id}/notification_rules/{user.id}N{n}",
                "html_url": None,
            }
            | ({"start_delay_in_minutes": delay, "contact_method": contact, "urgency": urgency} if full else {})
            for n, (delay, urgency) in enumerate(((0, "high"), (15, "low")))
        ]

    def schedule(
        self,
        schedule: Schedule,
        include: Include = NOTHING,
        window: tuple[int, int] | None = None,
        *,
        overflow: bool = False,
        next_for: str | None = None,
    ) -> Json:
        """A schedule; rendered entries only with a window, cut at its bounds unless `overflow`."""
        members = dict.fromkeys(user_id for layer in schedule.layers for user_id in layer.user_ids)
        found = {
            **self.head("schedules", schedule.id, schedule.name),
            "name": schedule.name,
            "time_zone": schedule.time_zone,
            "description": schedule.description,
            "users": self.picks("users", [*members, *schedule.former_user_ids]),
            "escalation_policies": self.picks("policies", self._policies_of.get(schedule.id, ())),
            "teams": self.picks("teams", schedule.team_ids),
        }
        entries = self._entries(schedule, window, overflow=overflow)
        coverage = 100.0 if entries else 0.0
        if "schedule_layers" in include:
            found["schedule_layers"] = [self._layer(schedule, layer, window, overflow) for layer in schedule.layers]
        if "overrides_subschedule" in include:
            overridden = self._cut(self.world.overrides(schedule), window, overflow=overflow)
            found["overrides_subschedule"] = self._subschedule("Overrides", overridden, 0.0)
        if "final_schedule" in include:
            found["final_schedule"] = self._subschedule("Final Schedule", entries, coverage)
        if next_for is not None:
            found["next_oncall_for_user"] = self._next_oncall(schedule, next_for)
        return found

    def _subschedule(self, name: str, entries: list[Json], coverage: float) -> Json:
        return {"name": name, "rendered_schedule_entries": entries, "rendered_coverage_percentage": coverage}

    def _entries(self, schedule: Schedule, window: tuple[int, int] | None, *, overflow: bool) -> list[Json]:
        return [] if window is None else self._cut(self.world.shifts(schedule, *window), window, overflow=overflow)

    def _cut(self, shifts: Iterable[Shift], window: tuple[int, int] | None, *, overflow: bool) -> list[Json]:
        """Shifts that touch a window, cut at its bounds unless `overflow`; none without a window."""
        since, until = window or (0, 0)
        return [
            {
                "start": self.moment(start if overflow else max(start, since)),
                "end": self.moment(end if overflow else min(end, until)),
                "user": self.reference("users", user_id),
            }
            for user_id, start, end in shifts
            if start < until and end > since
        ]

    def _layer(self, schedule: Schedule, layer: Layer, window: tuple[int, int] | None, overflow: bool) -> Json:  # noqa: FBT001
        alone = type(schedule)(schedule.id, schedule.name, None, schedule.time_zone, (), (layer,))
        entries = self._entries(alone, window, overflow=overflow)
        return {
            "id": layer.id,
            "name": layer.name,
            "start": self.moment(layer.start),
            "end": self.time(layer.end),
            "rotation_virtual_start": self.moment(layer.start),
            "rotation_turn_length_seconds": layer.turn,
            "users": [{"user": self.reference("users", user_id)} for user_id in layer.user_ids],
            "restrictions": [],
            "rendered_schedule_entries": entries,
            "rendered_coverage_percentage": 100.0 if entries else 0.0,
        }

    def _next_oncall(self, schedule: Schedule, user_id: str) -> Json:
        now = self.world.clock
        for found, start, end in self.world.shifts(schedule, now, now + 90 * DAY):
            if found == user_id:
                user = self.reference("users", user_id)
                return {"start": self.moment(start), "end": self.moment(end), "user": user}
        return {}

    def policy(self, policy: Policy, include: Include = NOTHING) -> Json:
        """An escalation policy."""
        strategy = {"escalation_rule_assignment_strategy": "assign_to_everyone"}
        return {
            **self.head("policies", policy.id, policy.name),
            "name": policy.name,
            "description": policy.description,
            "num_loops": policy.num_loops,
            "on_call_handoff_notifications": policy.handoff,
            "escalation_rules": [
                {
                    "id": rule.id,
                    "escalation_delay_in_minutes": rule.delay,
                    "targets": [self.pick(t.kind, t.id, full="targets" in include) for t in rule.targets],
                    **(strategy if "escalation_rule_assignment_strategies" in include else {}),
                }
                for rule in policy.rules
            ],
            "services": self.picks("services", self._services_of.get(policy.id, ()), full="services" in include),
            "teams": self.picks("teams", policy.team_ids, full="teams" in include),
        }

    def service(self, service: Service, include: Include = NOTHING) -> Json:
        """A service; its teams are those of its escalation policy."""
        teams = self.world.policies[service.policy_id].team_ids
        integrations = [self.integration(service, one, full="integrations" in include) for one in service.integrations]
        found = {
            **self.head("services", service.id, service.name),
            "name": service.name,
            "description": service.description,
            "created_at": self.moment(service.created),
            "updated_at": self.moment(service.created),
            "status": service.status,
            "teams": self.picks("teams", teams, full="teams" in include),
            "alert_creation": "create_alerts_and_incidents",
            "addons": [],
            "scheduled_actions": [],
            "support_hours": SUPPORT_HOURS if service.support_hours else None,
            "last_incident_timestamp": self.time(self._last_incident.get(service.id)),
            "escalation_policy": self.pick("policies", service.policy_id, full="escalation_policies" in include),
            "incident_urgency_rule": URGENCY_RULES[service.support_hours],
            "acknowledgement_timeout": service.ack_timeout,
            "auto_resolve_timeout": service.auto_resolve,
            "alert_grouping": None,
            "alert_grouping_timeout": None,
            "alert_grouping_parameters": {"type": None},
            "integrations": integrations,
            "response_play": None,
        }
        if "auto_pause_notifications_parameters" in include:
            found["auto_pause_notifications_parameters"] = {"enabled": service.support_hours, "timeout": 300}
        return found

    @cached_property
    def _last_incident(self) -> Mapping[str, int]:
        """When each service last had an incident: the last row of a service wins, as rows are in order."""
        table = self.world.incidents
        rows = zip(table.service, table.created, table.hidden, strict=True)
        return {table.service_ids[service]: created for service, created, hidden in rows if not hidden}

    def integration(self, service: Service, one: Integration, *, full: bool = False) -> Json:
        """An integration of a service, or a reference to it."""
        place = f"services/{service.id}/integrations/{one.id}"
        head = {
            "id": one.id,
            "type": one.type if full else f"{one.type}_reference",
            "summary": one.name,
            "self": f"{API}/{place}",
            "html_url": f"{WEB}/{place}",
        }
        if not full:
            return head
        mail = {"integration_email": f"{one.id.lower()}@sandbox.pagerduty.com"} if "email" in one.type else {}
        return {
            **head,
            "name": one.name,
            "service": self.reference("services", service.id),
            "created_at": self.moment(one.created),
            "vendor": self.reference("vendors", one.vendor_id) if one.vendor_id else None,
            "integration_key": one.key,
            **mail,
        }

    def oncall(self, shift: OnCall, include: Include = NOTHING) -> Json:
        """An on-call; it has no id, no type and no self."""
        schedule = shift.schedule_id
        return {
            "escalation_policy": self.pick("policies", shift.policy_id, full="escalation_policies" in include),
            "escalation_level": shift.level,
            "schedule": schedule and self.pick("schedules", schedule, full="schedules" in include),
            "user": self.pick("users", shift.user_id, full="users" in include),
            "start": self.time(shift.start),
            "end": self.time(shift.end),
        }

    def incident_at(self, position: int, include: Include = NOTHING) -> orjson.Fragment:
        """The incident at a position, encoded; kept, as pages are asked for again and again."""
        found = self._incidents.get((position, include))
        if found is None:
            record = self.incident(self.world.incidents.record(position), include)
            found = self._incidents[position, include] = orjson.Fragment(orjson.dumps(record))
            if len(self._incidents) > KEPT_INCIDENTS:
                del self._incidents[next(iter(self._incidents))]
        return found

    def incident(self, incident: Incident, include: Include = NOTHING) -> Json:
        """An incident; assignments are empty once it is resolved, acknowledgements unless it is acknowledged."""
        world = self.world
        service = world.services.get(incident.service_id) or world.former_services[incident.service_id]
        policy = world.policies[service.policy_id]
        created, updated = self.moment(incident.created), self.moment(incident.updated)
        is_open = incident.resolved is None
        who = world.responder(policy, incident.created, incident.roll)
        title = incident.title
        found: dict[str, Json] = {
            **self.head("incidents", incident.id, f"[#{incident.number}] {title}"),
            "incident_number": incident.number,
            "title": title,
            "description": title,
            "created_at": created,
            "updated_at": updated,
            "status": incident.status,
            "incident_key": f"{incident.roll:032x}",
            "service": self.pick("services", incident.service_id, full="services" in include),
            **self._responders(incident, who, include),
            "assigned_via": "escalation_policy",
            "last_status_change_at": updated,
            "resolved_at": None if is_open else updated,
            "first_trigger_log_entry": self._trigger(incident, created, "first_trigger_log_entries" in include),
            "alert_counts": {
                "all": incident.alerts,
                "triggered": incident.alerts if is_open else 0,
                "resolved": 0 if is_open else incident.alerts,
            },
            "is_mergeable": is_open,
            "incident_type": {"name": INCIDENT_TYPES[0].name},
            "escalation_policy": self.pick("policies", policy.id, full="escalation_policies" in include),
            "teams": self.picks("teams", policy.team_ids, full="teams" in include),
            "pending_actions": self._pending(incident, service.auto_resolve) if is_open else [],
            "alert_grouping": None,
            "basic_alert_grouping": None,
            "last_status_change_by": self._changer(incident, who, include),
            "priority": self._priority(incident, full="priorities" in include),
            "resolve_reason": None,
            "incidents_responders": [],
            "responder_requests": [],
            "urgency": incident.urgency,
        }
        if "conference_bridge" in include:
            found["conference_bridge"] = BRIDGE
        if "custom_fields" in include:
            found["custom_fields"] = self.custom_fields(incident.id, INCIDENT_FIELDS)
        return found

    def _responders(self, incident: Incident, who: str | None, include: Include) -> dict[str, Json]:
        found: dict[str, Json] = {"assignments": [], "acknowledgements": []}
        for name, role, since, given, is_so in (
            ("assignments", "assignee", incident.created, "assignees", incident.resolved is None),
            ("acknowledgements", "acknowledger", incident.updated, "acknowledgers", incident.status == "acknowledged"),
        ):
            if who and is_so:
                person = self.pick("users", who, full=given in include or "users" in include)
                found[name] = [{"at": self.moment(since), role: person}]
        return found

    def _changer(self, incident: Incident, who: str | None, include: Include) -> orjson.Fragment:
        if incident.status == "triggered" or incident.auto_resolved or who is None:
            return self.pick("services", incident.service_id, full="agents" in include)
        return self.pick("users", who, full=bool({"agents", "users"} & include))

    def _priority(self, incident: Incident, *, full: bool) -> orjson.Fragment | None:
        return (
            None
            if incident.priority is None
            else self.pick("priorities", self._priority_ids[incident.priority], full=full)
        )

    def _pending(self, incident: Incident, timeout: int | None) -> list[Json]:
        at = incident.created + (timeout or 0)
        return [{"type": "resolve", "at": self.moment(at)}] if timeout and at > self.world.clock else []

    def _trigger(self, incident: Incident, created: str, full: bool) -> Json:  # noqa: FBT001
        identifier = f"R{incident.id[1:]}"
        kind, summary = text.CHANNELS[incident.channel]
        head = {
            "id": identifier,
            "type": "trigger_log_entry" if full else "trigger_log_entry_reference",
            "summary": summary,
            "self": f"{API}/log_entries/{identifier}",
            "html_url": f"{WEB}/incidents/{incident.id}/log_entries/{identifier}",
        }
        if not full:
            return head
        return {
            **head,
            "created_at": created,
            "agent": self.reference("services", incident.service_id),
            "channel": {"type": kind, "summary": summary, "details": {"roll": incident.number}},
            "service": self.reference("services", incident.service_id),
            "incident": {**self.head("incidents", incident.id, incident.title), "type": "incident_reference"},
            "teams": [],
            "contexts": [],
            "event_details": {"description": incident.title},
        }

    def custom_fields(self, identifier: str, fields: tuple[CustomField, ...]) -> list[Json]:
        """The values of a record's custom fields, drawn from its identifier."""
        return [
            {
                "id": field_id(name),
                "type": "field_value",
                "name": name,
                "display_name": label,
                "data_type": data_type,
                "field_type": field_type,
                "description": description,
                "value": values[crc32(f"{identifier}{name}".encode()) % len(values)],
            }
            for name, label, data_type, field_type, description, values in fields
        ]

    def priority(self, one: Named, include: Include = NOTHING) -> Json:  # noqa: ARG002
        """A priority."""
        return {**self.head("priorities", one.id, one.name), "name": one.name, "description": one.description}

    def vendor(self, one: Named, include: Include = NOTHING) -> Json:  # noqa: ARG002
        """A vendor."""
        rest = dict.fromkeys(("logo_url", "thumbnail_url", "integration_guide_url"))
        words = {"name": one.name, "description": one.description}
        return {**self.head("vendors", one.id, one.name), **words, **one.extra, **rest}

    def business_service(self, one: Named, include: Include = NOTHING) -> Json:  # noqa: ARG002
        """A business service."""
        words = {"name": one.name, "description": one.description, "team": None}
        return {**self.head("business_services", one.id, one.name), **words, **one.extra}

    def extension_schema(self, one: Named, include: Include = NOTHING) -> Json:  # noqa: ARG002
        """An extension schema."""
        place = f"https://assets.example.com/{one.extra['key']}"
        return {
            **self.head("extension_schemas", one.id, one.name),
            "label": one.name,
            "key": one.extra["key"],
            "description": "",
            "guide_url": f"{place}/guide",
            "icon_url": f"{place}/icon.png",
            "logo_url": f"{place}/logo.png",
            "send_types": ["trigger", "acknowledge", "resolve"],
            "url": place,
        }

    def extension(self, one: Named, include: Include = NOTHING) -> Json:
        """An extension of one service."""
        schema = self.pick("extension_schemas", one.extra["schema_id"], full="extension_schemas" in include)
        service = self.pick("services", one.extra["service_id"], full="extension_objects" in include)
        return {
            **self.head("extensions", one.id, one.name),
            "name": one.name,
            "endpoint_url": f"https://hooks.example.com/{one.id}",
            "extension_schema": schema,
            "extension_objects": [service],
            "temporarily_disabled": False,
            "config": {},
        }

    def audit(self, entry: AuditEntry, include: Include = NOTHING) -> Json:  # noqa: ARG002
        """A record of the audit trail."""
        resource = {**self.head(entry.kind, entry.record_id, entry.summary)}
        resource["type"] += "_reference"
        fields = [{"name": name, "before_value": before, "value": after} for name, before, after in entry.fields]
        return {
            "id": entry.id,
            "self": None,
            "execution_time": self.moment(entry.at),
            "execution_context": {"request_id": f"{crc32(entry.id.encode()):032x}", "remote_address": "192.0.2.1"},
            "actors": [self.reference("users", entry.actor_id)] if entry.actor_id else [],
            "method": {"type": "browser" if entry.actor_id else "other", "truncated_token": None},
            "root_resource": resource,
            "action": entry.action,
            "details": {"resource": resource, "fields": fields, "references": []},
        }


SUPPORT_HOURS = {
    "type": "fixed_time_per_day",
    "time_zone": "UTC",
    "days_of_week": [1, 2, 3, 4, 5],
    "start_time": "09:00:00",
    "end_time": "17:00:00",
}
URGENCY_RULES = {
    False: {"type": "constant", "urgency": "high"},
    True: {
        "type": "use_support_hours",
        "during_support_hours": {"type": "constant", "urgency": "high"},
        "outside_support_hours": {"type": "constant", "urgency": "low"},
    },
}
BRIDGE = {"conference_number": "+1-555-555-0100", "conference_url": "https://meet.example.com/bridge"}
