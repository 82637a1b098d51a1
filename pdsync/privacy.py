"""What is taken out of PagerDuty's records before they are kept or mapped: keys and ways to reach a person.

A field is left in when an expression of a mapping that reads the kind spells its name, in a comment too: then the user
has mapped it.  What a snapshot has left in is noted with each collection, so that one that lacks a field which is now
mapped is not taken for one that has it.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import ahocorasick_rs
import msgspec

from pdsync.jq.program import leaves
from pdsync.model import SearchQuery

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from pdsync.model import MappingRule, Snapshot

KEYS = (
    "integration_key",  # services, event orchestrations: sends events in the account's name
    "integration_email",
    "endpoint_url",  # of extensions: where a chat takes messages from whoever knows it
    "service_key",  # the same, in the first log entry of an incident
    "routing_key",
    "routing_keys",
    "http_cal_url",  # a calendar that opens without a login
    "web_cal_url",
    "private_url_key",
    "secret",
    "secrets",
    "client_secret",
    "password",
    "api_key",
    "runbook_api_key",
    "access_token",
    "refresh_token",
    "custom_headers",  # of webhook subscriptions: often a bearer token
    "truncated_token",
    "remote_address",
    "conference_number",
    "conference_url",  # often opens with its password in it
    "conferenceAddress",
    "point_of_contact",  # of business services: a free text, a number or an address as often as a name
    "contact",  # of status page subscriptions: a number, an address
)
"""Fields that are taken out wherever they stand (PagerDuty REST API, object schemas)."""

ADDRESS = "address"
COUNTRY = "country_code"
REACHED_BY = ("_contact_method", "_notification")
"""An object whose type ends so holds a phone number or an e-mail address under `address`."""

URL = "url"
DELIVERY = "http_delivery_method"
"""An object of this type holds under `url` where webhooks go, which may be all that it takes to send some."""

NAMES = (*KEYS, ADDRESS, URL)

_CHANGED = frozenset({"name", "description", "value", "before_value"})
"""The keys of a changed field in an audit record: the value of a private one stands beside its name."""

_NOTHING: frozenset[str] = frozenset()


ANY = ""
"""Stands for the kind of records that go into those of another one."""


class Cleaner:
    """Takes private fields out of records, except those that a mapping of their kind spells.

    Under the kind `ANY` only what no mapping at all spells is taken out.
    """

    def __init__(self, rules: Iterable[MappingRule]) -> None:
        self._spelled = dict(spelled_names(rules))
        self._spelled[ANY] = _NOTHING.union(*self._spelled.values())
        self._marks: dict[str, _Marks] = {}

    def clean(self, kind: str, raw: bytes) -> bytes:
        """The bytes of a record without what is private; the same ones when there is nothing."""
        return _without(raw, self._names(kind)) if self._marks_of(kind).are_in(raw) else raw

    def is_done(self, kind: str) -> bool:
        """Whether nothing is left to take out of records of a kind that were cleaned as `ANY`."""
        return self._names(kind) == self._names(ANY)

    def left_in(self, kind: str) -> tuple[str, ...]:
        """The private fields that stay in the records of a kind."""
        return tuple(sorted(self._spelled.get(kind, _NOTHING)))

    def _names(self, kind: str) -> list[str]:
        spelled = self._spelled.get(kind, _NOTHING)
        return [name for name in NAMES if name not in spelled]

    def _marks_of(self, kind: str) -> _Marks:
        if kind not in self._marks:
            self._marks[kind] = _Marks([DELIVERY if name == URL else name for name in self._names(kind)])
        return self._marks[kind]


class _Marks:
    """Finds any of some names in quotes.

    All bytes that PagerDuty gives are looked through.  For the names alone that takes a tenth of the time that it takes
    for them with their quotes: a quote stands at every turn.
    """

    def __init__(self, names: Sequence[str]) -> None:
        longest = ahocorasick_rs.MatchKind.LeftmostLongest  # else "secret" would hide "secrets"
        self._names = ahocorasick_rs.BytesAhoCorasick([name.encode() for name in names], matchkind=longest)

    def are_in(self, raw: bytes) -> bool:
        """Whether one of them is: a match that began earlier would hold the quote before it, which no name does."""
        found = self._names.find_matches_as_indexes(raw)
        return any(raw[start - 1 : start] == b'"' == raw[end : end + 1] for _, start, end in found)


def still_whole(snapshot: Snapshot, rules: Iterable[MappingRule]) -> Snapshot:
    """An earlier snapshot without the collections from which something was taken out that a mapping now reads."""
    spelled = spelled_names(rules)
    collections = {
        query: collection
        for query, collection in snapshot.collections.items()
        if spelled.get(query.kind, _NOTHING).issubset(collection.private)
    }
    return replace(snapshot, collections=collections)


def spelled_names(rules: Iterable[MappingRule]) -> Mapping[str, frozenset[str]]:
    """The names of private fields that mappings spell, by kind."""
    words: defaultdict[str, set[str]] = defaultdict(set)
    for rule in rules:
        for text in _texts(rule):
            words[rule.kind].update(re.findall(r"\w+", text))
    return {kind: frozenset(found.intersection(NAMES)) for kind, found in words.items()}


def _without(raw: bytes, names: Iterable[str]) -> bytes:
    try:
        value = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return raw  # mapping reports a record that is not JSON; nothing can be read from it
    return msgspec.json.encode(_stripped(value, frozenset(names)))


def _stripped(value: Any, names: frozenset[str]) -> Any:
    if isinstance(value, list):
        return [_stripped(item, names) for item in value]
    if not isinstance(value, dict):
        return value
    private = _private_keys(value, names)
    return {key: _stripped(item, names) for key, item in value.items() if key not in private}


def _private_keys(value: dict[str, Any], names: frozenset[str]) -> frozenset[str]:
    """The keys to take out of one object."""
    if value.keys() <= _CHANGED and str(value.get("name")) in names:
        return frozenset({"value", "before_value"})
    type_ = str(value.get("type", ""))
    reaches = type_.endswith(REACHED_BY)
    stays = {None if reaches else ADDRESS, None if type_ == DELIVERY else URL}
    return (names - stays) | ({COUNTRY} if reaches and ADDRESS in names else set())


def _texts(rule: MappingRule) -> Iterator[str]:
    for part in (rule.selector, rule.identifier, rule.blueprint, rule.items, *rule.fields.values()):
        yield from (leaf.text for leaf in leaves(part.rules if isinstance(part, SearchQuery) else part))
