"""Lists that tell how records hang together: members, contacts, tags, dependencies, licences, custom fields, scores.

What the world does not keep (who carries which tag, what depends on what) is drawn from the identifiers of both ends,
so that it is the same from either side, and stays when the rest of the world changes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple
from zlib import crc32

from pdsync.sandbox import pagerduty_text as text
from pdsync.sandbox.pagerduty_company import DAY, User
from pdsync.sandbox.pagerduty_drawn import expanded, filtered
from pdsync.sandbox.pagerduty_generic import TABLE_OF
from pdsync.sandbox.pagerduty_page import as_is, listing
from pdsync.sandbox.pagerduty_records import API, INCIDENT_FIELDS, INCIDENT_TYPES, SERVICE_FIELDS, WEB, field_id

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pdsync.model import Json
    from pdsync.sandbox.pagerduty_page import Served, View
    from pdsync.sandbox.pagerduty_query import Asked
    from pdsync.sandbox.pagerduty_records import CustomField, IncidentType, Records

Row = dict[str, Any]


def _one_in(share: int, *parts: str) -> bool:
    """True for one in so many combinations of identifiers, always the same ones."""
    return crc32("/".join(parts).encode()) % share == 0


# --- people --------------------------------------------------------------------------------------------------------

_MEMBER_ROLES = {"admin": "manager", "owner": "manager", "observer": "observer", "read_only_user": "observer"}


def members(view: View, asked: Asked) -> list[User]:
    """The users of a team."""
    return [user for user in view.world.users.values() if asked.path["id"] in user.team_ids]


def member(records: Records, user: User, asked: Asked) -> Json:
    """A membership: the user and the role."""
    person = records.pick("users", user.id, full="users" in asked.many("include[]"))
    return {"user": person, "role": _MEMBER_ROLES.get(user.role, "responder")}


def _user(view: View, asked: Asked) -> User:
    return view.world.users[asked.path["id"]]


def contact_methods(view: View, asked: Asked) -> list[Row]:
    """The contact methods of a user."""
    return view.records().contact_methods(_user(view, asked), full=True)


def notification_rules(view: View, asked: Asked) -> list[Row]:
    """The notification rules of a user, of one urgency or all."""
    found = view.records().notification_rules(_user(view, asked), full=True)
    return [rule for rule in found if asked.one("urgency") in {None, "all", rule["urgency"]}]


def handoff_rules(view: View, asked: Asked) -> list[Row]:
    """When a user is told that a shift begins or ends: those who have a telephone."""
    user = _user(view, asked)
    contacts = view.records().contact_methods(user, full=False)
    rule = {"handoff_type": "both", "notify_advance_in_minutes": 60, "contact_method": contacts[-1]}
    return [{"id": f"{user.id}H", **rule}] if user.has_phone else []


def status_rules(view: View, asked: Asked) -> list[Row]:
    """Where a user gets status updates: the e-mail address."""
    user = _user(view, asked)
    return [{"id": f"{user.id}U", "contact_method": view.records().contact_methods(user, full=False)[0]}]


def rule(records: Records, row: Row, asked: Asked) -> Json:
    """A rule, with the whole contact method if it is included."""
    if "contact_methods" not in asked.many("include[]"):
        return row
    contacts = records.contact_methods(records.world.users[asked.path["id"]], full=True)
    return {**row, "contact_method": next(one for one in contacts if one["id"] == row["contact_method"]["id"])}


# --- licences ------------------------------------------------------------------------------------------------------


class License(NamedTuple):
    """A licence and the roles it is for."""

    id: str
    name: str
    group: str
    roles: tuple[str, ...]


LICENSES = (
    License("PLFULL1", "Full User", "FullUser", ("user", "limited_user", "admin", "owner")),
    License("PLSTAKE", "Stakeholder", "Stakeholder", ("observer", "read_only_user", "read_only_limited_user")),
)


def license_of(records: Records, one: License, _: Asked) -> Row:
    """A licence with how many users have it."""
    used = sum(user.role in one.roles for user in records.world.users.values())
    return {**_license(one), "current_value": used, "allocations_available": None if one.group == "FullUser" else 5}


def _license(one: License) -> Row:
    return {
        "id": one.id,
        "type": "license",
        "name": one.name,
        "summary": one.name,
        "description": f"{one.name} licence",
        "valid_roles": list(one.roles),
        "role_group": one.group,
        "self": f"{API}/licenses/{one.id}",
        "html_url": f"{WEB}/subscription",
    }


def allocation(records: Records, user: User, _: Asked) -> Json:
    """Which licence a user has."""
    licence = next((one for one in LICENSES if user.role in one.roles), LICENSES[0])
    at = records.moment(records.world.founded - (crc32(user.id.encode()) % 900) * DAY)
    return {"user": records.reference("users", user.id), "license": _license(licence), "allocated_at": at}


# --- tags ----------------------------------------------------------------------------------------------------------


def tagged(view: View, asked: Asked) -> list[str]:
    """The identifiers of what carries a tag."""
    table = getattr(view.world, TABLE_OF[asked.path["entity_type"]])
    return [identifier for identifier in table if _one_in(9, asked.path["id"], identifier)]


def entity(records: Records, identifier: str, asked: Asked) -> Json:
    """A reference to what carries a tag."""
    return records.reference(TABLE_OF[asked.path["entity_type"]], identifier)


def tags_of(view: View, asked: Asked) -> list[Row]:
    """The tags that a user, a team or an escalation policy carries."""
    return [tag for tag in view.generic.rows("tags") if _one_in(9, tag["id"], asked.path["id"])]


# --- services ------------------------------------------------------------------------------------------------------


def _edge(supporting: tuple[str, str], dependent: tuple[str, str]) -> Row:
    ends = [{"id": identifier, "type": f"{kind}_service_reference"} for kind, identifier in (supporting, dependent)]
    identifier = f"D{crc32(f'{supporting[1]}/{dependent[1]}'.encode()):08X}"
    return {"id": identifier, "type": "service_dependency", "supporting_service": ends[0], "dependent_service": ends[1]}


def below_business(view: View, asked: Asked) -> list[Row]:
    """The services that a business service stands on."""
    business = asked.path["id"]
    found = [service for service in view.world.services if _one_in(6, business, service)]
    return [_edge(("technical", service), ("business", business)) for service in found]


def around_service(view: View, asked: Asked) -> list[Row]:
    """What a service stands on, and what stands on it: its neighbours in both directions."""
    world, mine = view.world, asked.path["id"]
    business = [one for one in world.business_services if _one_in(6, one, mine)]
    others = [one for one in world.services if one != mine]
    share = max(6, len(others) // 3)
    return [
        *(_edge(("technical", mine), ("business", one)) for one in business),
        *(_edge(("technical", one), ("technical", mine)) for one in others if _one_in(share, one, mine)),
        *(_edge(("technical", mine), ("technical", one)) for one in others if _one_in(share, mine, one)),
    ]


def changes_of(view: View, asked: Asked) -> list[Row]:
    """The change events that name a service."""
    rows = view.generic.rows("change_events")
    mine = [row for row in rows if asked.path["id"] in {service["id"] for service in row["services"]}]
    return filtered("change_events", mine, asked)


def _score(view: View, service_id: str) -> Row:
    kept = ("id", "name", "description", "active", "type")
    told = [{name: one[name] for name in kept} for one in view.generic.rows("standards")]
    standards = [{**one, "pass": not _one_in(3, one["id"], service_id)} for one in told]
    score = {"passing": sum(one["pass"] for one in standards), "total": len(standards)}
    return {"resource_id": service_id, "resource_type": "technical_service", "score": score, "standards": standards}


def scores(view: View, asked: Asked) -> list[Row]:
    """How the services that `ids` names meet the standards; unknown ones are left out."""
    return [_score(view, one) for one in asked.values["ids"] if one in view.world.services]


def standards_of(view: View, asked: Asked) -> list[Row]:
    """How one service meets each standard; the sum of it stands beside the list."""
    found: list[Row] = _score(view, asked.path["id"])["standards"]
    return found


def impacts_by_slug(view: View, asked: Asked) -> list[Row]:
    """What GET /status_dashboards/{id}/service_impacts tells, for a dashboard found by its slug."""
    (found,) = [one.id for one in view.generic.heads("status_dashboards") if one.id.lower() == asked.path["url_slug"]]
    return view.generic.rows("status_dashboards.service_impacts", [found])


def connections(view: View, asked: Asked) -> list[Row]:
    """The connections of all workflow integrations."""
    parents = [head.id for head in view.generic.heads("workflows.integrations")]
    rows = [row for one in parents for row in view.generic.rows("workflows.integration.connections", [one])]
    return filtered("workflows.integrations.connections", rows, asked)


# --- custom fields and types of incidents --------------------------------------------------------------------------


def incident_types(_: View, asked: Asked) -> list[IncidentType]:
    """The types of incidents: those in use, unless others are asked for."""
    wanted = {"enabled": {True}, "disabled": {False}, "all": {True, False}}[asked.one("filter") or "enabled"]
    return [one for one in INCIDENT_TYPES if one.enabled in wanted]


def incident_type(records: Records, one: IncidentType, _: Asked) -> Json:
    """A type of incidents; all but the first are kinds of the first."""
    base = INCIDENT_TYPES[0].id
    at = records.moment(records.world.founded - 400 * DAY)
    return {
        "id": one.id,
        "type": "incident_type",
        "name": one.name,
        "display_name": one.label,
        "description": f"{one.label}.",
        "parent": None if one.id == base else {"id": base, "type": "incident_type_reference"},
        "enabled": one.enabled,
        "created_at": at,
        "updated_at": at,
    }


def fields_of_type(_: View, asked: Asked) -> Sequence[CustomField]:
    """The custom fields of a type of incidents: the first one has some."""
    wanted = asked.path["type_id_or_name"]
    return INCIDENT_FIELDS if wanted in {INCIDENT_TYPES[0].id, INCIDENT_TYPES[0].name} else ()


def _field(records: Records, one: CustomField, asked: Asked, place: str) -> Row:
    name, label, data_type, field_type, description, _ = one
    at = records.moment(records.world.founded - 300 * DAY)
    identifier = field_id(name)
    found = {
        "id": identifier,
        "type": "field",
        "summary": label,
        "self": f"{API}{place}/{identifier}",
        "name": name,
        "display_name": label,
        "description": description,
        "data_type": data_type,
        "field_type": field_type,
        "created_at": at,
        "updated_at": at,
    }
    return found | ({"field_options": _options(records, one)} if "field_options" in asked.many("include[]") else {})


def service_field(records: Records, one: CustomField, asked: Asked) -> Json:
    """The definition of a service's custom field."""
    return {**_field(records, one, asked, "/services/custom_fields"), "enabled": True}


def incident_field(records: Records, one: CustomField, asked: Asked) -> Json:
    """The definition of an incident's custom field, account-wide (deprecated)."""
    return {**_field(records, one, asked, "/incidents/custom_fields"), "namespace": "incidents", "default_value": None}


def type_field(records: Records, one: CustomField, asked: Asked) -> Json:
    """The definition of an incident's custom field, under its type."""
    base = INCIDENT_TYPES[0].id
    found = _field(records, one, asked, f"/incidents/types/{base}/custom_fields")
    return {**found, "default_value": None, "enabled": True, "incident_type": base}


def _options(records: Records, one: CustomField) -> list[Row]:
    """What a field of fixed values may be."""
    name, _, __, field_type, ___, values = one
    flat = [each for value in values for each in (value if isinstance(value, list) else [value]) if each is not None]
    at = records.moment(records.world.founded - 300 * DAY)
    found = dict.fromkeys(flat) if field_type.endswith("_fixed") else {}
    return [
        {
            "id": f"{field_id(name)}O{n}",
            "type": "field_option",
            "data": {"data_type": "string", "value": value},
            "created_at": at,
            "updated_at": at,
        }
        for n, value in enumerate(found)
    ]


def _options_among(fields: Sequence[CustomField], view: View, asked: Asked) -> list[Row]:
    return [
        option
        for one in fields
        if field_id(one[0]) == asked.path["field_id"]
        for option in _options(view.records(), one)
    ]


def service_values(view: View, asked: Asked) -> list[Row]:
    """The values of a service's custom fields."""
    return view.records().custom_fields(asked.path["id"], SERVICE_FIELDS)


def incident_values(view: View, asked: Asked) -> list[Row]:
    """The values of an incident's custom fields."""
    return view.records().custom_fields(asked.path["id"], INCIDENT_FIELDS)


# --- the account ---------------------------------------------------------------------------------------------------


def session_configurations(_: View, asked: Asked) -> list[Row]:
    """How long a session lasts, on the web and on telephones; in seconds."""
    rows = [
        {"type": "mobile", "idle_session_ttl": 86_400, "absolute_session_ttl": 7_776_000},
        {"type": "web", "idle_session_ttl": 3_600, "absolute_session_ttl": 1_209_600},
    ]
    return [row for row in rows if asked.one("type") in {None, row["type"]}]


def abilities(_: View, __: Asked) -> Sequence[str]:
    """What the account can do."""
    return text.ABILITIES


LINKS: tuple[Served, ...] = (
    listing("abilities", abilities, as_is),
    listing("session_configurations", session_configurations, as_is),
    listing("teams.members", members, member),
    listing("users.contact_methods", contact_methods, as_is),
    listing("users.notification_rules", notification_rules, rule),
    listing("users.oncall_handoff_notification_rules", handoff_rules, as_is),
    listing("users.status_update_notification_rules", status_rules, rule),
    listing("licenses", lambda _, __: LICENSES, license_of),
    listing("license_allocations", lambda view, _: list(view.world.users.values()), allocation),
    listing("tags.entities", tagged, entity),
    listing("entity_tags", tags_of, as_is),
    listing("service_dependencies.business_services", below_business, as_is),
    listing("service_dependencies.technical_services", around_service, as_is),
    listing("services.change_events", changes_of, expanded),
    listing("standards.scores", scores, as_is),
    listing("standards.scores.resource", standards_of, as_is),
    listing("status_dashboards.by_slug.service_impacts", impacts_by_slug, as_is),
    listing("workflows.integrations.connections", connections, expanded),
    listing("incidents.types", incident_types, incident_type),
    listing("incidents.types.custom_fields", fields_of_type, type_field),
    listing(
        "incidents.types.custom_fields.field_options",
        lambda view, asked: _options_among(INCIDENT_FIELDS, view, asked),
        as_is,
    ),
    listing("incidents.custom_fields", lambda _, __: INCIDENT_FIELDS, incident_field),
    listing(
        "incidents.custom_fields.field_options",
        lambda view, asked: _options_among(INCIDENT_FIELDS, view, asked),
        as_is,
    ),
    listing("services.custom_fields", lambda _, __: SERVICE_FIELDS, service_field),
    listing(
        "services.custom_fields.field_options",
        lambda view, asked: _options_among(SERVICE_FIELDS, view, asked),
        as_is,
    ),
    listing("services.custom_fields.values", service_values, as_is),
    listing("incidents.custom_fields.values", incident_values, as_is),
)
"""What is served about how records hang together."""
