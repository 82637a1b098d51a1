"""A plan as a JSON document and back; `document(parse(document(plan)))` is the same bytes.

The document is a contract: `format_version` counts as major.minor, a reader takes any minor of its major.  The JSON
Schema is generated from the same types (`plan_schema`).
"""

from __future__ import annotations

from typing import Any

import msgspec
import orjson

from pdsync.errors import StateError, error
from pdsync.model import Plan
from pdsync.plan import fingerprint

FORMAT_VERSION = "1.0"


def plan_document(plan: Plan) -> bytes:
    """The plan as canonical JSON: sorted keys, no white space, one trailing newline."""
    value = {"format_version": FORMAT_VERSION} | {name: getattr(plan, name) for name in Plan.__dataclass_fields__}
    return encoded(value) + b"\n"


def encoded(value: Any) -> bytes:
    """Parts of a plan as JSON with sorted keys; the fields of a change are a list of what one sees of them."""
    return msgspec.json.encode(value, order="sorted", enc_hook=list)


def parse_plan(data: bytes, name: str = "plan") -> Plan:
    """Read a plan document to be applied.  Raises `StateError` as `read_plan` does, and when it was edited."""
    plan = read_plan(data, name)
    if fingerprint(plan.changes) != plan.fingerprint:
        detail = f"{name}: its changes are not those that its fingerprint stands for"
        raise StateError(error("PD512", "the plan was edited", detail=detail, hint="plan again"))
    return plan


def read_plan(data: bytes, name: str = "plan") -> Plan:
    """Read a plan document to be shown.  Raises `StateError` when it is none, or of another major version."""
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError as e:
        raise StateError(error("PD510", "not a plan", detail=f"{name} is not JSON: {e}")) from e
    version = value.get("format_version") if isinstance(value, dict) else None
    if not isinstance(version, str):
        raise StateError(error("PD510", "not a plan", detail=f"{name} has no format_version"))
    if version.split(".")[0] != FORMAT_VERSION.split(".", maxsplit=1)[0]:
        detail = f"{name} has format {version}, this pdsync reads {FORMAT_VERSION}"
        raise StateError(error("PD511", "plan of another format", detail=detail, hint="plan again with this pdsync"))
    try:
        return msgspec.convert({k: v for k, v in value.items() if k != "format_version"}, Plan)
    except msgspec.ValidationError as e:
        raise StateError(error("PD510", "not a plan", detail=f"{name}: {e}")) from e


def plan_schema() -> dict[str, Any]:
    """The JSON Schema of the document."""
    schema = msgspec.json.schema(Plan)
    plan = schema["$defs"]["Plan"]
    plan["properties"]["format_version"] = {"type": "string", "pattern": r"^1\.\d+$"}
    plan["required"] = ["format_version", *plan["required"]]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "pdsync plan", **schema}
