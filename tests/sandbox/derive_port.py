"""Cut the sandbox's part out of Port's official OpenAPI document.

    python tests/sandbox/derive_port.py path/to/port-openapi.json > pdsync/sandbox/specs/port.json

Kept are the operations that the sandbox serves: parameters, request and response schemas, and the component schemas
these refer to.  Prose, examples and titles go: only what a validator reads is left.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

BLUEPRINT = "/v1/blueprints/{blueprint_identifier}"
SERVED = {
    "/v1/auth/access_token": ("post",),
    "/v1/organization": ("get",),
    "/v1/teams": ("get",),
    "/v1/users": ("get",),
    "/v1/audit-log": ("get",),
    "/v1/integration/{identifier}": ("get",),
    "/v1/entities/search": ("post",),
    "/v1/entities/aggregate": ("post",),
    "/v1/blueprints": ("get", "post"),
    "/v1/blueprints/{identifier}": ("get", "put", "patch", "delete"),
    f"{BLUEPRINT}/properties/{{property_identifier}}/rename": ("patch",),
    f"{BLUEPRINT}/mirror/{{property_identifier}}/rename": ("patch",),
    f"{BLUEPRINT}/relations/{{relation_identifier}}/rename": ("patch",),
    f"{BLUEPRINT}/entities": ("get", "post"),
    f"{BLUEPRINT}/entities-count": ("get",),
    f"{BLUEPRINT}/entities/{{entity_identifier}}": ("get", "put", "patch", "delete"),
    f"{BLUEPRINT}/entities/bulk": ("post",),
    f"{BLUEPRINT}/entities/search": ("post",),
    f"{BLUEPRINT}/bulk/entities/delete": ("post",),
    f"{BLUEPRINT}/scorecards": ("get",),
}

ANNOTATIONS = {"description", "example", "examples", "title", "summary"}
SCHEMA_MAPS = {"properties", "patternProperties"}


def schema_only(schema: Any) -> Any:
    """The schema without annotations; property *names* that look like annotations stay."""
    if isinstance(schema, list):
        return [schema_only(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        keyword: {name: schema_only(part) for name, part in value.items()}
        if keyword in SCHEMA_MAPS
        else schema_only(value)
        for keyword, value in schema.items()
        if keyword not in ANNOTATIONS
    }


def references(value: Any) -> set[str]:
    """Names of the component schemas that a value refers to."""
    if isinstance(value, list):
        return {name for part in value for name in references(part)}
    if not isinstance(value, dict):
        return set()
    own = {value["$ref"].rpartition("/")[2]} if isinstance(value.get("$ref"), str) else set()
    return own.union(*(references(part) for part in value.values()))


def content_schema(content: Any) -> Any:
    """The JSON body's schema in the place where OpenAPI wants it."""
    return {"content": {"application/json": {"schema": schema_only(content["content"]["application/json"]["schema"])}}}


def operation_only(operation: dict[str, Any]) -> dict[str, Any]:
    """Parameters, request body and responses of one operation."""
    cut: dict[str, Any] = {
        "parameters": [
            {key: schema_only(part) for key, part in parameter.items() if key not in ANNOTATIONS}
            for parameter in operation.get("parameters") or ()
        ],
        "responses": {
            status: content_schema(response)
            for status, response in operation["responses"].items()
            if "content" in response
        },
    }
    if "requestBody" in operation:
        cut["requestBody"] = content_schema(operation["requestBody"])
    return cut


def derive(spec: dict[str, Any]) -> dict[str, Any]:
    """The cut of the whole document."""
    paths = {
        path: {method: operation_only(spec["paths"][path][method]) for method in methods}
        for path, methods in SERVED.items()
    }
    components = spec["components"]["schemas"]
    wanted = references(paths)
    while (more := wanted.union(*(references(components[name]) for name in wanted))) != wanted:
        wanted = more
    return {
        "openapi": spec["openapi"],
        "info": {"title": spec["info"]["title"], "version": spec["info"]["version"]},
        "paths": paths,
        "components": {"schemas": {name: schema_only(components[name]) for name in sorted(wanted)}},
    }


if __name__ == "__main__":
    document = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    sys.stdout.write(json.dumps(derive(document), separators=(",", ":"), sort_keys=True) + "\n")
