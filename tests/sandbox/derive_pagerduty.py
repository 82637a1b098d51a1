"""Cut pdsync/sandbox/specs/pagerduty.json out of PagerDuty's official OpenAPI file.

    python tests/sandbox/derive_pagerduty.py OFFICIAL_SPEC.json [OUT.json]

The cut keeps, for the paths the sandbox serves, what a machine can check: parameters, request bodies and the
schemas of answers.  Texts and examples go.  Where the official file contradicts the API, a correction is applied;
each one is a row of the tables below and says why.
"""

from __future__ import annotations

import json
import sys
from functools import cached_property
from pathlib import Path
from typing import Any

NOT_LISTS = {
    "/analytics/raw/incidents/{id}": "one record without a wrapper; the arrays are its fields",
    "/enrichment/integrations/servicenow/{integration_id}/tables/{table_id}/test": "the outcome of a trial",
    "/vendors/{id}": "one vendor, typed as an array by mistake",
    "/workflows/integrations/{id}": "one record without a wrapper; the arrays are its fields",
    "/workflows/integrations/{integration_id}/connections/{id}": "one record without a wrapper, likewise",
}
"""GET operations with an array at the top of their answer that are no lists, and why."""

SHOWN = (
    "/analytics/raw/incidents/{id}",
    "/escalation_policies/{id}",
    "/incidents/{id}",
    "/schedules/{id}",
    "/services/{id}",
    "/teams/{id}",
    "/users/me",
    "/users/{id}",
    "/v3/schedules/{id}",
)
"""Single records that are served beside the lists."""

ROWS = {"/tags/{id}/{entity_type}": "{entity_type}"}
"""Where the key of the rows is the value of a path parameter."""

BESIDE = {
    "/alert_grouping_settings": ("after", "before"),
    "/change_events": ("limit", "more", "offset", "total"),
    "/services/{id}/change_events": ("limit", "more", "offset", "total"),
}
"""Paging fields that answers have although their schemas leave them out (the official client reads them)."""

TEXTS = {"description", "example", "examples", "externalDocs", "tags", "summary", "title", "deprecated", "readOnly"}
"""Keys for people; a *property* of one of these names is kept."""

DROPPED = TEXTS | {"discriminator"}
"""What the cut leaves out.  Discriminators map to places that the cut does not have; the types tell as well."""

# Any field of an answer may be null (PagerDuty developer documentation, Resource Schemas); these are seen so.
NULLABLE = {
    "EscalationPolicy": ("description",),
    "Incident": ("resolved_at", "priority", "alert_grouping", "last_status_change_by", "resolve_reason"),
    "Integration": ("vendor", "integration_email"),
    "Oncall": ("schedule", "start", "end"),
    "Schedule": ("description",),
    "ScheduleLayer": ("end",),
    "Service": (
        "description",
        "auto_resolve_timeout",
        "acknowledgement_timeout",
        "last_incident_timestamp",
        "support_hours",
        "response_play",
        "alert_grouping",
        "alert_grouping_timeout",
        "alert_grouping_parameters",
    ),
    "Team": ("description",),
    "User": ("job_title", "color"),
    "BusinessService": ("description", "point_of_contact"),
    "Vendor": ("website_url", "logo_url", "thumbnail_url", "description", "integration_guide_url"),
    "AnalyticsIncidentMetrics": ("*",),
    "AnalyticsIncidentMetricsEscalationPolicy": ("*",),
    "AnalyticsRawIncidentResponses": ("responded_at", "time_to_respond_seconds"),
    "AnalyticsResponderMetrics": ("*",),
    "IncidentType": ("parent",),
    "AnalyticsRawIncident": ("*",),
}

# Paging fields that end a walk by being null, though some schemas only know strings.
NULLABLE_ANYWHERE = frozenset({"after", "before", "next_cursor"})

# Types and values that are slips: (schema, property) -> what it is.
CORRECTED = {
    ("AnalyticsResponderMetrics", "responder_id"): {"type": "string"},
    ("AnalyticsRawResponderIncidents", "total_off_hour_interruptions"): {"type": "integer"},
    ("AcknowledgeLogEntry", "type"): {"type": "string", "enum": ["acknowledge_log_entry"]},
}

# `include[]` puts the object in the place of its reference (Includes); the schemas of lists only know the reference.
EXPANDABLE = {
    "ContactMethodReference": "ContactMethod",
    "EscalationPolicyReference": "EscalationPolicy",
    "IncidentReference": "Incident",
    "IntegrationReference": "Integration",
    "LogEntryReference": "LogEntry",
    "NotificationRuleReference": "NotificationRule",
    "ScheduleReference": "Schedule",
    "ServiceReference": "Service",
    "TeamReference": "Team",
    "UserReference": "User",
    "ExtensionSchemaReference": "ExtensionSchema",
}


def resolve(spec: Any, pointer: str) -> Any:
    """The node a `#/...` pointer names; array indices are allowed."""
    node = spec
    for part in pointer[2:].split("/"):
        key = part.replace("~1", "/").replace("~0", "~")
        node = node[int(key)] if isinstance(node, list) else node[key]
    return node


def component_name(pointer: str) -> str:
    """A component name for a pointer: the schema's own name, or the path joined with dots."""
    parts = pointer[2:].replace("~1", "_").split("/")
    return parts[2] if parts[:2] == ["components", "schemas"] and len(parts) == 3 else ".".join(parts[1:])


class Cut:
    """Copies nodes without their texts and gathers the schemas they refer to."""

    def __init__(self, spec: Any) -> None:
        self.spec = spec
        self.schemas: dict[str, Any] = {}

    def copy(self, node: Any, *, names: bool = False) -> Any:
        """A copy of a node; `names` says that its keys are names of properties, not keywords."""
        if isinstance(node, list):
            return [self.copy(item) for item in node]
        if not isinstance(node, dict):
            return node
        if "$ref" in node and not names:
            return self.reference(node["$ref"])
        kept = {k: v for k, v in node.items() if names or not (k in DROPPED or k.startswith("x-"))}
        return {k: self.copy(v, names=k == "properties" and not names) for k, v in kept.items()}

    def reference(self, pointer: str) -> Any:
        """A reference into the cut's own components."""
        name = component_name(pointer)
        if name not in self.schemas:
            self.schemas[name] = {}
            self.schemas[name] = self.copy(resolve(self.spec, pointer))
        return {"$ref": f"#/components/schemas/{name}"}

    def parameter(self, node: Any) -> Any:
        """A parameter, inlined.  Bracket parameters are lists, however they are typed (Filtering)."""
        found = self.copy(resolve(self.spec, node["$ref"]) if "$ref" in node else node)
        if found["name"].endswith("[]") and found["schema"].get("type") != "array":
            items = {k: v for k, v in found["schema"].items() if k in {"type", "enum", "format"}}
            found["schema"] = {"type": "array", "items": items, "uniqueItems": True}
        # One default is a sentence: "20 - incident_summary".
        if found["schema"].get("type") == "integer" and isinstance(found["schema"].get("default"), str):
            found["schema"]["default"] = int(found["schema"]["default"].split(" ")[0])
        return found

    def operation(self, path: str, method: str) -> Any:
        """An operation: identifier, scope, parameters, request body, answers; of a list its paging as well."""
        item = self.spec["paths"][path]
        found = item[method]
        parameters = [self.parameter(p) for p in [*item.get("parameters", []), *found.get("parameters", [])]]
        # Content-Type is marked as required on GET; nothing is sent there.  Accept is missing on some.
        parameters = [p for p in parameters if p["name"] not in {"Content-Type", "Accept"}]
        parameters.append({"$ref": "#/components/parameters/Accept"})
        body = {"requestBody": self.copy(found["requestBody"])} if "requestBody" in found else {}
        ok = {"description": "", "content": self.copy(self.success(found)["content"])}
        scope = found.get("x-pd-requires-scope")
        return {
            "operationId": found["operationId"],
            "parameters": parameters,
            **body,
            "responses": {"200": ok, "default": {"$ref": "#/components/responses/Error"}},
            **({"x-scope": scope} if scope else {}),
            **({"x-list": self.paging(path, parameters)} if path in self.lists and method == "get" else {}),
        }

    def success(self, operation: Any) -> Any:
        """What an operation answers when all is well.  GET /schedules/{id}/overrides has it under 201 by mistake."""
        answers = operation["responses"]
        found = answers.get(min((status for status in answers if status.startswith("2")), default=""), {})
        return resolve(self.spec, found["$ref"]) if "$ref" in found else found

    def paging(self, path: str, parameters: list[Any]) -> Any:
        """The key of a list's rows, how it is paged, and what stands beside the rows."""
        asked = {p.get("name") for p in parameters}
        kinds = (("offset", "classic"), ("cursor", "cursor"), ("after", "after"))
        keys, beside = self.lists[path]
        return {
            "rows": ROWS.get(path, keys[0]),
            "paging": next((kind for name, kind in kinds if name in asked), "none"),
            "beside": sorted({*beside, *BESIDE.get(path, ())}),
        }

    @cached_property
    def lists(self) -> dict[str, tuple[list[str], list[str]]]:
        """Every list of the specification: by path the arrays at the top of its answer, and the other fields."""
        found = {}
        for path, item in self.spec["paths"].items():
            content = self.success(item["get"]).get("content") if "get" in item and path not in NOT_LISTS else None
            fields = self.fields(content["application/json"]["schema"]) if content else {}
            arrays = [name for name, node in fields.items() if self.plain(node).get("type") == "array"]
            if arrays:
                found[path] = (arrays, [name for name in fields if name not in arrays])
        return found

    def plain(self, node: Any) -> Any:
        """What a reference leads to; anything else is itself."""
        while "$ref" in node:
            node = resolve(self.spec, node["$ref"])
        return node

    def fields(self, node: Any) -> dict[str, Any]:
        """The properties of a schema, those of its parts and alternatives included."""
        node = self.plain(node)
        parts = [part for word in ("allOf", "anyOf", "oneOf") for part in node.get(word, [])]
        return {**{k: v for part in parts for k, v in self.fields(part).items()}, **node.get("properties", {})}


ERROR = {
    "type": "object",
    "required": ["error"],
    "additionalProperties": False,
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "code", "errors"],
            "additionalProperties": False,
            "properties": {
                "message": {"type": "string"},
                "code": {"type": "integer"},
                "errors": {"type": "array", "items": {"type": "string"}},
            },
        }
    },
}


ERROR_ANSWER = {
    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
    "description": "",
}
ACCEPT = {
    "in": "header",
    "name": "Accept",
    "required": True,
    "schema": {"type": "string", "enum": ["application/vnd.pagerduty+json;version=2"]},
}


def mend(node: Any) -> None:
    """Corrections that hold everywhere.

    OneOf becomes anyOf: alternatives of the official file overlap once references may be expanded.  What is nullable
    and has an enum gets null into the enum, and null among its alternatives: OpenAPI 3.0 asks for both.
    """
    if isinstance(node, list):
        for item in node:
            mend(item)
    elif isinstance(node, dict):
        if isinstance(node.get("oneOf"), list):
            node["anyOf"] = node.pop("oneOf")
        if node.get("nullable") is True and None not in node.get("enum", [None]):
            node["enum"].append(None)
        if node.get("nullable") is True and NULL not in node.get("anyOf", [NULL]):
            node["anyOf"].append(NULL)
        for name in NULLABLE_ANYWHERE & node.get("properties", {}).keys():
            node["properties"][name] = {**node["properties"][name], "nullable": True}
        for value in node.values():
            mend(value)


def property_holders(schemas: dict[str, Any], node: Any) -> list[dict[str, Any]]:
    """The `properties` maps of a schema, through allOf and references."""
    if "$ref" in node:
        return property_holders(schemas, schemas[node["$ref"].rsplit("/", 1)[1]])
    own = [node["properties"]] if "properties" in node else []
    return own + [found for part in node.get("allOf", []) for found in property_holders(schemas, part)]


def allow_null(schemas: dict[str, Any], schema: Any, names: tuple[str, ...]) -> None:
    """Let the named properties (`*`: all) of a schema be null."""
    for holder in property_holders(schemas, schema):
        for name in holder if names == ("*",) else [n for n in names if n in holder]:
            node = holder[name]
            holder[name] = {**node, "nullable": True} if "type" in node else {"anyOf": [node, NULL]}


NULL = {"type": "string", "nullable": True, "enum": [None]}


def unwrap_values(schemas: dict[str, Any], schema: str) -> None:
    """Let a custom field's `value` be the value.  The official file wraps each alternative in `{"value": ...}`."""
    holder = next(holder for holder in property_holders(schemas, schemas[schema]) if "value" in holder)
    wrapped = [inner["value"] for part in holder["value"]["anyOf"] for inner in property_holders(schemas, part)]
    holder["value"] = {"anyOf": wrapped}


def correct(schemas: dict[str, Any]) -> None:
    """Apply the corrections."""
    for schema, names in NULLABLE.items():
        allow_null(schemas, schemas[schema], names)
    for (schema, name), corrected in CORRECTED.items():
        next(h for h in reversed(property_holders(schemas, schemas[schema])) if name in h)[name] = corrected
    mend(schemas)
    for schema in ("CustomFieldsFieldValue", "ServiceCustomFieldsFieldValueReadModel"):
        unwrap_values(schemas, schema)
    for reference, full in EXPANDABLE.items():
        if reference in schemas and full in schemas:
            schemas[f"{reference}.plain"] = schemas[reference]
            both = [f"{reference}.plain", full]
            schemas[reference] = {"anyOf": [{"$ref": f"#/components/schemas/{name}"} for name in both]}


def reachable(schemas: dict[str, Any], node: Any, found: dict[str, Any]) -> dict[str, Any]:
    """The schemas that a node leads to; `found` holds those seen so far."""
    for part in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        if isinstance(part, str) and part.startswith("#/components/schemas/"):
            name = part.rsplit("/", 1)[1]
            if name not in found:
                found[name] = schemas[name]
                reachable(schemas, schemas[name], found)
        else:
            reachable(schemas, part, found)
    return found


def derive(spec: Any) -> Any:
    """The cut of an official specification."""
    cut = Cut(spec)
    analytics = [path for path, item in spec["paths"].items() if path.startswith("/analytics/") and "post" in item]
    served = [*(("get", path) for path in [*cut.lists, *SHOWN]), *(("post", path) for path in analytics)]
    paths: dict[str, Any] = {}
    for method, path in served:
        paths.setdefault(path, {})[method] = cut.operation(path, method)
    for full in EXPANDABLE.values():
        cut.reference(f"#/components/schemas/{full}")
    # The one row of these metrics has no name of its own.
    totals = paths["/analytics/metrics/incidents/all"]["post"]["responses"]["200"]["content"]["application/json"]
    (data,) = [holder["data"] for holder in property_holders(cut.schemas, totals["schema"]) if "data" in holder]
    allow_null(cut.schemas, data["items"], ("*",))
    correct(cut.schemas)
    mend(paths)
    cut.schemas["Error"] = ERROR
    return {
        "openapi": "3.0.2",
        "info": {"title": "PagerDuty API, cut", "version": spec["info"]["version"]},
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "parameters": {"Accept": ACCEPT},
            "responses": {"Error": ERROR_ANSWER},
            "schemas": reachable(cut.schemas, [paths, ERROR_ANSWER], {}),
        },
    }


def main(source: str, out: str = "pdsync/sandbox/specs/pagerduty.json") -> None:
    """Read the official file, write the cut."""
    cut = derive(json.loads(Path(source).read_bytes()))
    Path(out).write_text(json.dumps(cut, separators=(",", ":"), sort_keys=True, ensure_ascii=False) + "\n", "utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
