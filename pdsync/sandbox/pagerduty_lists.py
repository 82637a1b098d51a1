"""Every list that PagerDuty's REST API has: which kind it holds, where it is, whose it is.

`LISTS` has one row for each list of the specification (a test holds the two to each other), `ANALYTICS` one for each
list that is asked for with POST.  What the specification says of a list - the key of its rows, its paging, its
parameters - is not said again here.  Kinds that the company of `World` does not have are drawn from the schemas of
the specification (`pagerduty_generic`): for these a row says how many there are and whom they stand for.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from pdsync.model import Json

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Listed:
    """One list.

    `rows` are the fewest and the most records that a parent has; None where the world models the kind.
    `of` is the kind that the rows stand for, if it is another one: subscribers are users.
    `id` is the dotted path of what tells rows apart, `fixed` holds values by dotted path;
    `{users}` is the identifier of the user in the list's path.
    """

    kind: str
    path: str
    rows: tuple[int, int] | None = None
    of: str = ""
    id: str = "id"
    fixed: tuple[tuple[str, Json], ...] = ()


def _subscribers(kind: str, path: str, most: int) -> Listed:
    return Listed(kind, path, (0, most), "users", "subscriber_id", (("subscriber_type", "user"),))


def _subscriptions(kind: str, path: str) -> Listed:
    parent = kind.partition(".")[0]
    fixed = (
        ("subscription.subscribable_type", "business_service"),
        ("subscription.subscriber_id", f"{{{parent}}}"),
        ("subscription.subscriber_type", parent.removesuffix("s")),
    )
    return Listed(kind, path, (0, 3), "business_services", "subscription.subscribable_id", fixed)


def _features(kind: str, path: str) -> Listed:
    return Listed(kind, path, (0, 1), id="feature", fixed=(("feature", "aiops"),))


LISTS: tuple[Listed, ...] = (
    Listed("abilities", "/abilities"),
    Listed("addons", "/addons", (6, 6)),
    Listed("alert_grouping_settings", "/alert_grouping_settings", (30, 30)),
    Listed("analytics.raw.incidents.responses", "/analytics/raw/incidents/{id}/responses"),
    Listed("audit.records", "/audit/records"),
    Listed("automation_actions.actions", "/automation_actions/actions", (60, 60)),
    Listed("automation_actions.actions.services", "/automation_actions/actions/{id}/services", (0, 3), of="services"),
    Listed("automation_actions.actions.teams", "/automation_actions/actions/{id}/teams", (0, 2), of="teams"),
    Listed("automation_actions.invocations", "/automation_actions/invocations", (25, 25)),
    Listed("automation_actions.runners", "/automation_actions/runners", (12, 12)),
    Listed("automation_actions.runners.teams", "/automation_actions/runners/{id}/teams", (0, 2), of="teams"),
    Listed("business_services", "/business_services"),
    Listed("business_services.impactors", "/business_services/impactors", (3, 3), of="incidents"),
    Listed("business_services.impacts", "/business_services/impacts", (3, 3), of="business_services"),
    _subscribers("business_services.subscribers", "/business_services/{id}/subscribers", 4),
    Listed(
        "business_services.supporting_services.impacts",
        "/business_services/{id}/supporting_services/impacts",
        (0, 2),
        of="business_services",
    ),
    Listed("change_events", "/change_events", (130, 130)),
    Listed("enrichment.event_enrichments", "/enrichment/event_enrichments", (9, 9)),
    Listed("enrichment.event_enrichments.associations", "/enrichment/event_enrichments/{id}/associations", (0, 3)),
    Listed("enrichment.integrations.servicenow", "/enrichment/integrations/servicenow", (2, 2)),
    Listed("enrichment.schemas", "/enrichment/schemas", (4, 4)),
    Listed("enrichment.schemas.records", "/enrichment/schemas/{schema_id}/records", (0, 260), id="record_id"),
    Listed("entity_tags", "/{entity_type}/{id}/tags"),
    Listed("escalation_policies", "/escalation_policies"),
    Listed("escalation_policies.audit.records", "/escalation_policies/{id}/audit/records"),
    Listed("event_orchestrations", "/event_orchestrations", (30, 30)),
    Listed("event_orchestrations.cache_variables", "/event_orchestrations/{id}/cache_variables", (0, 3)),
    _features("event_orchestrations.enablements", "/event_orchestrations/{id}/enablements"),
    Listed("event_orchestrations.integrations", "/event_orchestrations/{id}/integrations", (0, 3)),
    Listed(
        "event_orchestrations.services.cache_variables",
        "/event_orchestrations/services/{service_id}/cache_variables",
        (0, 2),
    ),
    Listed("extension_schemas", "/extension_schemas"),
    Listed("extensions", "/extensions"),
    Listed("incident_workflows", "/incident_workflows", (28, 28)),
    Listed("incident_workflows.actions", "/incident_workflows/actions", (40, 40)),
    Listed("incident_workflows.triggers", "/incident_workflows/triggers", (35, 35)),
    Listed("incidents", "/incidents"),
    Listed("incidents.alerts", "/incidents/{id}/alerts"),
    Listed(
        "incidents.business_services.impacts",
        "/incidents/{id}/business_services/impacts",
        (0, 2),
        of="business_services",
    ),
    Listed("incidents.custom_fields", "/incidents/custom_fields"),
    Listed("incidents.custom_fields.field_options", "/incidents/custom_fields/{field_id}/field_options"),
    Listed("incidents.custom_fields.values", "/incidents/{id}/custom_fields/values"),
    Listed("incidents.log_entries", "/incidents/{id}/log_entries"),
    Listed("incidents.notes", "/incidents/{id}/notes", (0, 3)),
    Listed("incidents.past_incidents", "/incidents/{id}/past_incidents"),
    Listed("incidents.related_change_events", "/incidents/{id}/related_change_events", (0, 2), of="change_events"),
    Listed(
        "incidents.related_incidents", "/incidents/{id}/related_incidents", (0, 3), of="incidents", id="incident.id"
    ),
    _subscribers("incidents.status_updates.subscribers", "/incidents/{id}/status_updates/subscribers", 2),
    Listed("incidents.types", "/incidents/types"),
    Listed("incidents.types.custom_fields", "/incidents/types/{type_id_or_name}/custom_fields"),
    Listed(
        "incidents.types.custom_fields.field_options",
        "/incidents/types/{type_id_or_name}/custom_fields/{field_id}/field_options",
    ),
    Listed("ip_allow_lists", "/ip_allow_lists", (1, 1)),
    Listed("ip_allow_lists.audit.records", "/ip_allow_lists/{id}/audit/records"),
    Listed("license_allocations", "/license_allocations"),
    Listed("licenses", "/licenses"),
    Listed("log_entries", "/log_entries"),
    Listed("maintenance_windows", "/maintenance_windows", (27, 27)),
    Listed("notifications", "/notifications", (220, 220)),
    Listed("oncalls", "/oncalls"),
    Listed("priorities", "/priorities"),
    Listed(
        "recommendations.event_orchestrations.rules",
        "/recommendations/event_orchestrations/rules",
        (60, 60),
        id="recommendation_id",
    ),
    Listed("rulesets", "/rulesets", (3, 3)),
    Listed("rulesets.rules", "/rulesets/{id}/rules", (0, 60)),
    Listed("schedules", "/schedules"),
    Listed("schedules.audit.records", "/schedules/{id}/audit/records"),
    Listed("schedules.overrides", "/schedules/{id}/overrides"),
    Listed("schedules.users", "/schedules/{id}/users"),
    Listed("schedules_v3", "/v3/schedules"),
    Listed("schedules_v3.audit.records", "/v3/schedules/{id}/audit/records"),
    Listed("schedules_v3.custom_shifts", "/v3/schedules/{id}/custom_shifts"),
    Listed("schedules_v3.overrides", "/v3/schedules/{id}/overrides"),
    Listed("schedules_v3.rotations", "/v3/schedules/{id}/rotations"),
    Listed("schedules_v3.rotations.events", "/v3/schedules/{id}/rotations/{rotation_id}/events"),
    Listed("service_dependencies.business_services", "/service_dependencies/business_services/{id}"),
    Listed("service_dependencies.technical_services", "/service_dependencies/technical_services/{id}"),
    Listed("services", "/services"),
    Listed("services.audit.records", "/services/{id}/audit/records"),
    Listed("services.change_events", "/services/{id}/change_events"),
    Listed("services.custom_fields", "/services/custom_fields"),
    Listed("services.custom_fields.field_options", "/services/custom_fields/{field_id}/field_options"),
    Listed("services.custom_fields.values", "/services/{id}/custom_fields/values"),
    _features("services.enablements", "/services/{id}/enablements"),
    Listed("services.rules", "/services/{id}/rules", (0, 3)),
    Listed("session_configurations", "/session_configurations"),
    Listed("sre_agent.memories", "/sre_agent/memories", (45, 45)),
    Listed("standards", "/standards", (5, 5)),
    Listed("standards.scores", "/standards/scores/{resource_type}"),
    Listed("standards.scores.resource", "/standards/scores/{resource_type}/{id}"),
    Listed("status_dashboards", "/status_dashboards", (3, 3)),
    Listed("status_dashboards.by_slug.service_impacts", "/status_dashboards/url_slugs/{url_slug}/service_impacts"),
    Listed(
        "status_dashboards.service_impacts",
        "/status_dashboards/{id}/service_impacts",
        (0, 3),
        of="business_services",
    ),
    Listed("status_pages", "/status_pages", (3, 3)),
    Listed("status_pages.impacts", "/status_pages/{id}/impacts", (4, 4)),
    Listed("status_pages.posts", "/status_pages/{id}/posts", (0, 6)),
    Listed("status_pages.posts.post_updates", "/status_pages/{id}/posts/{post_id}/post_updates", (1, 3)),
    Listed("status_pages.services", "/status_pages/{id}/services", (0, 5)),
    Listed("status_pages.severities", "/status_pages/{id}/severities", (3, 3)),
    Listed("status_pages.statuses", "/status_pages/{id}/statuses", (4, 4)),
    Listed("status_pages.subscriptions", "/status_pages/{id}/subscriptions", (0, 40)),
    Listed("tags", "/tags", (30, 30)),
    Listed("tags.entities", "/tags/{id}/{entity_type}"),
    Listed("teams", "/teams"),
    Listed("teams.audit.records", "/teams/{id}/audit/records"),
    Listed("teams.members", "/teams/{id}/members"),
    _subscriptions("teams.notification_subscriptions", "/teams/{id}/notification_subscriptions"),
    Listed("templates", "/templates", (26, 26)),
    Listed("templates.fields", "/templates/fields", (8, 8), id="summary"),
    Listed("users", "/users"),
    Listed("users.audit.records", "/users/{id}/audit/records"),
    Listed("users.contact_methods", "/users/{id}/contact_methods"),
    Listed("users.notification_rules", "/users/{id}/notification_rules"),
    _subscriptions("users.notification_subscriptions", "/users/{id}/notification_subscriptions"),
    Listed("users.oauth_delegations", "/users/{id}/oauth_delegations", (0, 3)),
    Listed("users.oncall_handoff_notification_rules", "/users/{id}/oncall_handoff_notification_rules"),
    Listed("users.sessions", "/users/{id}/sessions", (0, 2)),
    Listed("users.status_update_notification_rules", "/users/{id}/status_update_notification_rules"),
    Listed("vendors", "/vendors"),
    Listed("webhook_subscriptions", "/webhook_subscriptions", (5, 5)),
    Listed("webhook_subscriptions.oauth_clients", "/webhook_subscriptions/oauth_clients", (2, 2)),
    Listed("workflows.integration.connections", "/workflows/integrations/{integration_id}/connections", (0, 3)),
    Listed("workflows.integrations", "/workflows/integrations", (30, 30)),
    Listed("workflows.integrations.connections", "/workflows/integrations/connections"),
)

ANALYTICS: tuple[str, ...] = (
    "/analytics/metrics/incidents/all",
    "/analytics/metrics/incidents/escalation_policies",
    "/analytics/metrics/incidents/escalation_policies/all",
    "/analytics/metrics/incidents/services",
    "/analytics/metrics/incidents/services/all",
    "/analytics/metrics/incidents/teams",
    "/analytics/metrics/incidents/teams/all",
    "/analytics/metrics/pd_advance_usage/features",
    "/analytics/metrics/responders/all",
    "/analytics/metrics/responders/teams",
    "/analytics/metrics/users/all",
    "/analytics/raw/incidents",
    "/analytics/raw/responders/{responder_id}/incidents",
    "/analytics/raw/users",
)
"""Paths of the lists that are asked for with POST."""


def analytics_kind(path: str) -> str:
    """The kind of an analytics list: its path with dots, without the parameter."""
    return path[1:].replace("/{responder_id}", "").replace("/", ".")


BY_KIND: Mapping[str, Listed] = MappingProxyType({row.kind: row for row in LISTS})

KINDS: tuple[str, ...] = tuple(sorted([*BY_KIND, *(analytics_kind(path) for path in ANALYTICS)]))
"""Every kind that is served: what access can be taken from, what can be hidden, what can move while it is read."""

_KIND_OF_PLACE: Mapping[str, str] = {row.path: row.kind for row in LISTS} | {
    "/event_orchestrations/services": "services",
    "/service_dependencies/business_services": "business_services",
    "/service_dependencies/technical_services": "services",
    "/analytics/raw/incidents": "incidents",
    "/analytics/raw/responders": "users",
    "/standards/scores/{resource_type}": "services",
    "/status_dashboards/url_slugs": "status_dashboards",
}

ENTITY_TYPES = ("users", "teams", "escalation_policies")
"""What can carry a tag; in a path the kind itself is the parameter."""


def parents(path: str) -> tuple[tuple[str, str], ...]:
    """(parameter, kind) of the records that a path names; "" for the kind that stands in the path itself."""
    parts = path.split("/")
    found = []
    for n, part in enumerate(parts):
        if part.startswith("{") and part not in {"{entity_type}", "{resource_type}"}:
            place = "/".join(parts[:n])
            found.append((part[1:-1], "" if place == "/{entity_type}" else _KIND_OF_PLACE[place]))
    return tuple(found)
