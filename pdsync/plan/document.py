"""A plan as a JSON document and back; `document(parse(document(plan)))` is the same bytes.

The document is a contract: `format_version` counts as major.minor, a reader takes any minor of its major.  The JSON
Schema is generated from the same types (`plan_schema`).
"""

from __future__ import annotations

from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING, Any

import msgspec

from pdsync.errors import StateError, error
from pdsync.model import ALIKE, Plan
from pdsync.plan import fingerprint

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pdsync.model import Change, FieldChanges, Json

FORMAT_VERSION = "1.0"
_AT_ONCE = 200


def plan_document(plan: Plan) -> bytes:
    """The plan as canonical JSON: sorted keys, no white space, one trailing newline."""
    return b"".join(plan_chunks(plan))


def plan_chunks(plan: Plan) -> Iterator[bytes]:
    """`plan_document` piece by piece: of a large plan, it is several times as much as the plan itself."""
    values = {"format_version": FORMAT_VERSION} | {name: getattr(plan, name) for name in Plan.__dataclass_fields__}
    for number, (name, value) in enumerate(sorted(values.items())):
        yield (b"," if number else b"{") + encoded(name) + b":"
        if name == "changes":
            yield from _listed(value)
        else:
            yield encoded(value)
    yield b"}\n"


def _listed(changes: Sequence[Change]) -> Iterator[bytes]:
    """Changes as a list, some at a time: each piece but the first begins with a comma."""
    following = iter(changes)
    opening = b"["
    while some := list(islice(following, _AT_ONCE)):
        yield opening + encoded(some)[1:-1]
        opening = b","
    yield b"]" if changes else b"[]"


def encoded(value: Any) -> bytes:
    """Parts of a plan as JSON with sorted keys; the fields of a change are a list of what one sees of them."""
    return msgspec.json.encode(value, order="sorted", enc_hook=_fields)


def _fields(changes: FieldChanges) -> msgspec.Raw:
    """The fields of a change, without making them: there are more of them than of all else in a plan."""
    return msgspec.Raw(b"[" + b",".join(map(_field, changes.rows())) + b"]")


def _field(row: tuple[str, Json, Json, tuple[Any, ...]]) -> bytes:
    path, before, after, told = row
    was = b"null" if before is None else _encode(before)
    return b'{"after":%b,"before":%b%b' % (_encode(after), was, _rest(path, told))


@lru_cache(maxsize=4096)
def _rest(path: str, told: tuple[Any, ...]) -> bytes:
    """What follows the values, which the alphabet puts first."""
    return b"," + _encode({"path": path, **dict(zip(ALIKE, told, strict=True))})[1:]


_encode = msgspec.json.Encoder(order="sorted").encode


def parse_plan(data: bytes, name: str = "plan") -> Plan:
    """Read a plan document to be applied.  Raises `StateError` as `read_plan` does, and when it was edited."""
    plan = read_plan(data, name)
    if fingerprint(plan.changes) != plan.fingerprint:
        detail = f"{name}: its changes are not those that its fingerprint stands for"
        raise StateError(error("PD512", "the plan was edited", detail=detail, hint="plan again"))
    return plan


class _Versioned(msgspec.Struct):
    """What is looked at before anything else of a plan."""

    format_version: Any = None


def read_plan(data: bytes, name: str = "plan") -> Plan:
    """Read a plan document to be shown.  Raises `StateError` when it is none, or of another major version."""
    try:
        version = msgspec.json.decode(data, type=_Versioned).format_version
    except msgspec.ValidationError:
        version = None
    except msgspec.DecodeError as e:
        raise StateError(error("PD510", "not a plan", detail=f"{name} is not JSON: {e}")) from e
    if not isinstance(version, str):
        raise StateError(error("PD510", "not a plan", detail=f"{name} has no format_version"))
    if version.split(".")[0] != FORMAT_VERSION.split(".", maxsplit=1)[0]:
        detail = f"{name} has format {version}, this pdsync reads {FORMAT_VERSION}"
        raise StateError(error("PD511", "plan of another format", detail=detail, hint="plan again with this pdsync"))
    try:
        return msgspec.json.decode(data, type=Plan)
    except msgspec.DecodeError as e:
        raise StateError(error("PD510", "not a plan", detail=f"{name}: {e}")) from e


def plan_schema() -> dict[str, Any]:
    """The JSON Schema of the document."""
    schema = msgspec.json.schema(Plan)
    plan = schema["$defs"]["Plan"]
    plan["properties"]["format_version"] = {"type": "string", "pattern": r"^1\.\d+$"}
    plan["required"] = ["format_version", *plan["required"]]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "pdsync plan", **schema}
