"""What is taken out of PagerDuty's records before they are kept or mapped: keys and ways to reach a person.

A field is left in when an expression of a mapping that reads the kind spells its name: then the user has mapped it.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import msgspec

from pdsync.jq.program import leaves
from pdsync.model import Record, SearchQuery

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pdsync.model import Collection, MappingRule, Snapshot

KEYS = (
    "integration_key",  # services, event orchestrations: sends events in the account's name
    "integration_email",
    "routing_key",
    "http_cal_url",  # a calendar that opens without a login
    "web_cal_url",
    "secret",
    "custom_headers",  # of webhook subscriptions: often a bearer token
    "truncated_token",
    "remote_address",
)
"""Fields that are taken out wherever they stand (PagerDuty REST API, object schemas)."""

ADDRESS = "address"
COUNTRY = "country_code"
REACHED_BY = ("_contact_method", "_notification")
"""An object whose type ends so holds a phone number or an e-mail address under `address`."""


def without_private(snapshot: Snapshot, rules: Sequence[MappingRule]) -> Snapshot:
    """The snapshot with private fields taken out of its records, except those that a mapping spells."""
    spelled: defaultdict[str, str] = defaultdict(str)
    for rule in rules:
        spelled[rule.kind] += "\n".join(_texts(rule))
    collections = {
        query: _cleaned(collection, _private_names(spelled[query.kind]))
        for query, collection in snapshot.collections.items()
    }
    return replace(snapshot, collections=collections)


def _private_names(expressions: str) -> tuple[str, ...]:
    words = set(re.findall(r"\w+", expressions))
    return tuple(name for name in (*KEYS, ADDRESS) if name not in words)


def _cleaned(collection: Collection, names: tuple[str, ...]) -> Collection:
    marks = [f'"{name}"'.encode() for name in names]
    records = tuple(
        replace(record, raw=_without(record, names)) if any(mark in record.raw for mark in marks) else record
        for record in collection.records
    )
    return replace(collection, records=records) if records != collection.records else collection


def _without(record: Record, names: tuple[str, ...]) -> bytes:
    try:
        value = msgspec.json.decode(record.raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return record.raw  # mapping reports a record that is not JSON; nothing can be read from it
    return msgspec.json.encode(_stripped(value, frozenset(names)))


def _stripped(value: Any, names: frozenset[str]) -> Any:
    if isinstance(value, list):
        return [_stripped(item, names) for item in value]
    if not isinstance(value, dict):
        return value
    reached = str(value.get("type", "")).endswith(REACHED_BY)
    private = names if reached else names - {ADDRESS}
    if reached and ADDRESS in names:
        private |= {COUNTRY}
    return {key: _stripped(item, names) for key, item in value.items() if key not in private}


def _texts(rule: MappingRule) -> Iterator[str]:
    for part in (rule.selector, rule.identifier, rule.blueprint, rule.items, *rule.fields.values()):
        yield from (leaf.text for leaf in leaves(part.rules if isinstance(part, SearchQuery) else part))
