"""The sample payloads of Port's PagerDuty page map to the entities that the page's own mappings define."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pdsync.mapping import map_entities
from pdsync.model import EntityKey
from tests.mapping.builders import rule, snapshot

if TYPE_CHECKING:
    from pdsync.model import Fields, MappingRule

_SEED = Path(__file__).parent.parent / "fixtures" / "seed"

_ON_CALL = ".__oncall_user | sort_by(.escalation_level) | .[{}].user.email"


def _seed(name: str) -> Any:
    return json.loads((_SEED / f"{name}.json").read_text(encoding="utf-8"))


def _only(mapping: MappingRule, content: Any) -> tuple[EntityKey, Fields]:
    """The one entity that comes out, with nothing to complain about."""
    desired = map_entities([mapping], snapshot(content, kind=mapping.kind))
    assert (desired.diagnostics, desired.failed, desired.held) == ((), {}, {})
    [(key, entity)] = desired.entities.items()
    assert entity.unknown == {}
    return key, entity.fields


def _schedule(description: str) -> MappingRule:
    return rule(
        {
            "title": ".name",
            "properties.url": ".html_url",
            "properties.timezone": ".time_zone",
            "properties.description": description,
            "properties.users": '[.users[] | select(has("__email")) | .__email]',
        },
        kind="schedules",
        blueprint='"pagerdutySchedule"',
    )


def _with_emails(schedule: dict[str, Any], order: list[str] | None = None) -> dict[str, Any]:
    """The schedule as the source enriches it: each known user with an e-mail address."""
    emails = {user["id"]: user["email"] for user in _seed("users")}
    users = [{**user, "__email": emails[user["id"]]} if user["id"] in emails else user for user in schedule["users"]]
    wanted = order or [user["id"] for user in users]
    return {**schedule, "users": sorted(users, key=lambda user: wanted.index(user["id"]))}


def test_schedule_by_the_default_mapping() -> None:
    """The integration's own mapping takes the payload's description and the users in the payload's order."""
    key, fields = _only(_schedule(".description"), _with_emails(_seed("schedule")))
    assert EntityKey("pagerdutySchedule", "PWAXLIH") == key
    assert {
        "title": "Port Test Service - Weekly Rotation",
        "properties.url": "https://getport-io.pagerduty.com/schedules/PWAXLIH",
        "properties.timezone": "Asia/Jerusalem",
        "properties.description": "This is the weekly on call schedule for Port Test Service associated with your "
        "first escalation policy.",
        "properties.users": [f"{name}@getport-io.com" for name in ("adam", "alice", "doe", "pages", "demo")],
    } == fields


def test_schedule_as_printed_on_the_page() -> None:
    """The page's printed entity, field by field.

    It differs from what the default mapping makes of the printed payload in two things, both of which follow from
    other inputs than the page shows: its description is the time zone, so it was made by a mapping with
    `description: .time_zone`; and demo comes before pages, so PagerDuty listed these two users the other way round.
    """
    printed = _seed("schedule_entity")
    order = ["PJCRRLH", "P4K4DLP", "HDW63E2", "PYIEKLY", "PRGAUI4"]
    key, fields = _only(_schedule(".time_zone"), _with_emails(_seed("schedule"), order))
    assert EntityKey(printed["blueprint"], printed["identifier"]) == key
    expected = {"title": printed["title"]} | {f"properties.{name}": v for name, v in printed["properties"].items()}
    assert expected == fields


def test_schedule_without_emails() -> None:
    """Users that the source knows no address of are left out."""
    _, fields = _only(_schedule(".description"), _seed("schedule"))
    assert fields["properties.users"] == []


def test_oncall() -> None:
    """The on-call sample by the default mapping; the relation keeps the one id that the mapping gives."""
    mapping = rule(
        {
            "title": ".user.name",
            "properties.user": ".user.email",
            "properties.startDate": ".start",
            "properties.endDate": ".end",
            "properties.url": ".schedule.html_url",
            "relations.pagerdutySchedule": ".schedule.id",
            "relations.pagerdutyEscalationPolicy": ".escalation_policy.id",
        },
        kind="oncalls",
        identifier='.user.id + "-" + .schedule.id + "-" + .start',
        blueprint='"pagerdutyOncall"',
    )
    key, fields = _only(mapping, _seed("oncall"))
    assert EntityKey("pagerdutyOncall", "HDW63E2-PWAXLIH-2024-02-25T00:00:00Z") == key
    assert fields == {
        "title": "John Doe",
        "properties.user": "johndoe@domain.io",
        "properties.startDate": "2024-02-25T00:00:00Z",
        "properties.endDate": "2024-04-14T11:10:48Z",
        "properties.url": "https://getport-io.pagerduty.com/schedules/PWAXLIH",
        "relations.pagerdutySchedule": "PWAXLIH",
        "relations.pagerdutyEscalationPolicy": "P7LVMYP",
    }


def test_service_with_analytics() -> None:
    """The service sample by the page's analytics mapping: the payload has no analytics, so these are to be empty."""
    analytics = {
        "meanSecondsToResolve": "mean_seconds_to_resolve",
        "meanSecondsToFirstAck": "mean_seconds_to_first_ack",
        "meanSecondsToEngage": "mean_seconds_to_engage",
        "totalIncidentCount": "total_incident_count",
        "totalIncidentsAcknowledged": "total_incidents_acknowledged",
        "totalIncidentsAutoResolved": "total_incidents_auto_resolved",
        "totalIncidentsManualEscalated": "total_incidents_manual_escalated",
    }
    mapping = rule(
        {
            "title": ".name",
            "properties.status": ".status",
            "properties.url": ".html_url",
            "properties.oncall": _ON_CALL.format(0),
            "properties.secondaryOncall": _ON_CALL.format(1),
            "properties.escalationLevels": ".__oncall_user | map(.escalation_level) | unique | length",
        }
        | {f"properties.{name}": f".__analytics.{field}" for name, field in analytics.items()},
        blueprint='"pagerdutyService"',
    )
    bare = {
        "title": "My Test Service",
        "properties.status": "active",
        "properties.url": "https://getport-io.pagerduty.com/service-directory/PGAAJBE",
        "properties.oncall": "devops-port@pager-demo.com",
        "properties.secondaryOncall": None,
        "properties.escalationLevels": 1,
    }
    key, fields = _only(mapping, _seed("service"))
    assert EntityKey("pagerdutyService", "PGAAJBE") == key
    assert bare | {f"properties.{name}": None for name in analytics} == fields

    row = {field: n + 0.5 for n, field in enumerate(analytics.values())}
    _, fields = _only(mapping, {**_seed("service"), "__analytics": row})
    assert bare | {f"properties.{name}": row[field] for name, field in analytics.items()} == fields


def test_incident_with_analytics() -> None:
    """The incident sample by the page's analytics mapping.

    Its assignee is a reference without an address, so the list holds one null: that is what the mapping says.
    """
    mapping = rule(
        {
            "title": ".title",
            "properties.status": ".status",
            "properties.url": ".self",
            "properties.urgency": ".urgency",
            "properties.assignees": ".assignments | map(.assignee.email)",
            "properties.escalation_policy": ".escalation_policy.summary",
            "properties.created_at": ".created_at",
            "properties.updated_at": ".updated_at",
            "properties.priority": "if .priority != null then .priority.summary else null end",
            "properties.description": ".description",
            "properties.analytics": ".__analytics",
            "relations.pagerdutyService": ".service.id",
        },
        kind="incidents",
        identifier=".id | tostring",
        blueprint='"pagerdutyIncident"',
    )
    key, fields = _only(mapping, _seed("incident"))
    assert EntityKey("pagerdutyIncident", "Q1P3AHC3KLGVAS") == key
    assert fields == {
        "title": "Example Incident",
        "properties.status": "triggered",
        "properties.url": "https://api.pagerduty.com/incidents/Q1P3AHC3KLGVAS",
        "properties.urgency": "high",
        "properties.assignees": [None],
        "properties.escalation_policy": "Test Escalation Policy",
        "properties.created_at": "2023-05-15T13:59:45Z",
        "properties.updated_at": "2023-05-15T13:59:45Z",
        "properties.priority": None,
        "properties.description": "Example Incident",
        "properties.analytics": None,
        "relations.pagerdutyService": "PWJAGSD",
    }
