"""An explanation as a value, and its document."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
import orjson

from pdsync.jq.tracing import RecordTrace
from pdsync.model import Json
from pdsync.plan.account import Account

FORMAT_VERSION = "1.1"


@dataclass(frozen=True, slots=True)
class Reading:
    """One record under one rule; `reads` says for each row by expression what it read, by path."""

    trace: RecordTrace
    reads: tuple[Mapping[str, Mapping[str, Json]], ...]


@dataclass(frozen=True, slots=True)
class Explanation:
    """What was asked and all that is known of it.

    `snapshot` is when the records were read; `failed` says why records gave no entity, by record; `notes` what could
    not be found out, and why.
    """

    asked: str
    snapshot: str
    entities: tuple[Account, ...]
    readings: tuple[Reading, ...]
    failed: Mapping[str, str]
    notes: tuple[str, ...] = ()


def explanation_document(explanation: Explanation) -> str:
    """The explanation as JSON for people and programs: sorted, indented."""
    names = Explanation.__dataclass_fields__
    value = {"format_version": FORMAT_VERSION} | {name: getattr(explanation, name) for name in names}
    plain = orjson.loads(msgspec.json.encode(value, enc_hook=list))
    options = orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE
    return orjson.dumps(plain, option=options).decode()


def explanation_schema() -> dict[str, Any]:
    """The JSON Schema of the document."""
    schema = msgspec.json.schema(Explanation)
    body = schema["$defs"]["Explanation"]
    body["properties"]["format_version"] = {"type": "string", "pattern": r"^1\.\d+$"}
    body["required"] = ["format_version", *body["required"]]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "pdsync explanation", **schema}
