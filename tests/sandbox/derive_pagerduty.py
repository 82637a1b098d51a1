"""Cut pdsync/sandbox/specs/pagerduty.json out of PagerDuty's official OpenAPI file.

    python tests/sandbox/derive_pagerduty.py OFFICIAL_SPEC.json [OUT.json]

The cut keeps, for the paths the sandbox serves, what a machine can check: parameters, request bodies and the
schemas of answers.  Texts and examples go.  Where the official file contradicts the API, a correction is applied;
each one is a row of the tables below and says why.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

SERVED = {
    "get": (
        "/abilities",
        "/audit/records",
        "/business_services",
        "/escalation_policies",
        "/escalation_policies/{id}",
        "/extension_schemas",
        "/extensions",
        "/incidents",
        "/incidents/{id}",
        "/incidents/{id}/custom_fields/values",
        "/oncalls",
        "/priorities",
        "/schedules",
        "/schedules/{id}",
        "/services",
        "/services/{id}",
        "/services/{id}/custom_fields/values",
        "/teams",
        "/teams/{id}",
        "/users",
        "/users/me",
        "/users/{id}",
        "/vendors",
    ),
    "post": ("/analytics/metrics/incidents/services", "/analytics/raw/incidents"),
}

DROPPED = {"description", "example", "examples", "externalDocs", "tags", "summary", "title", "deprecated", "readOnly"}
"""Keys for people; a *property* of one of these names is kept."""

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
    "AnalyticsRawIncident": ("*",),
}

# `include[]` puts the object in the place of its reference (Includes); the schemas of lists only know the reference.
EXPANDABLE = {
    "ContactMethodReference": "ContactMethod",
    "EscalationPolicyReference": "EscalationPolicy",
    "IntegrationReference": "Integration",
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
        return found

    def operation(self, path: str, method: str) -> Any:
        """An operation: identifier, parameters, request body, answers."""
        item = self.spec["paths"][path]
        found = item[method]
        parameters = [self.parameter(p) for p in [*item.get("parameters", []), *found.get("parameters", [])]]
        # Content-Type is marked as required on GET; nothing is sent there.  Accept is missing on some.
        parameters = [p for p in parameters if p["name"] not in {"Content-Type", "Accept"}]
        accept = {"type": "string", "enum": ["application/vnd.pagerduty+json;version=2"]}
        parameters.append({"in": "header", "name": "Accept", "required": True, "schema": accept})
        error = {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}, "description": ""}
        body = {"requestBody": self.copy(found["requestBody"])} if "requestBody" in found else {}
        ok = {"description": "", "content": self.copy(found["responses"]["200"]["content"])}
        return {
            "operationId": found["operationId"],
            "parameters": parameters,
            **body,
            "responses": {"200": ok, "default": error},
        }


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


def mend(node: Any) -> None:
    """Two corrections that hold everywhere.

    OneOf becomes anyOf: alternatives of the official file overlap once references may be expanded.  What is nullable
    and has an enum gets null into the enum: OpenAPI 3.0 asks for both.
    """
    if isinstance(node, list):
        for item in node:
            mend(item)
    elif isinstance(node, dict):
        if isinstance(node.get("oneOf"), list):
            node["anyOf"] = node.pop("oneOf")
        if node.get("nullable") is True and None not in node.get("enum", [None]):
            node["enum"].append(None)
        for value in node.values():
            mend(value)


def property_holders(schemas: dict[str, Any], node: Any) -> list[dict[str, Any]]:
    """The `properties` maps of a schema, through allOf and references."""
    if "$ref" in node:
        return property_holders(schemas, schemas[node["$ref"].rsplit("/", 1)[1]])
    own = [node["properties"]] if "properties" in node else []
    return own + [found for part in node.get("allOf", []) for found in property_holders(schemas, part)]


def allow_null(schemas: dict[str, Any], schema: str, names: tuple[str, ...]) -> None:
    """Let the named properties (`*`: all) of a schema be null."""
    for holder in property_holders(schemas, schemas[schema]) if schema in schemas else []:
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
        allow_null(schemas, schema, names)
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
    paths: dict[str, Any] = {}
    for method, served in SERVED.items():
        for path in served:
            paths.setdefault(path, {})[method] = cut.operation(path, method)
    for full in EXPANDABLE.values():
        cut.reference(f"#/components/schemas/{full}")
    correct(cut.schemas)
    mend(paths)
    cut.schemas["Error"] = ERROR
    return {
        "openapi": "3.0.2",
        "info": {"title": "PagerDuty API, cut", "version": spec["info"]["version"]},
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {"schemas": reachable(cut.schemas, paths, {})},
    }


def main(source: str, out: str = "pdsync/sandbox/specs/pagerduty.json") -> None:
    """Read the official file, write the cut."""
    cut = derive(json.loads(Path(source).read_bytes()))
    Path(out).write_text(json.dumps(cut, separators=(",", ":"), sort_keys=True, ensure_ascii=False) + "\n", "utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
