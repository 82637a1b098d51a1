"""What is taken out of PagerDuty's records before they are kept or mapped: keys and ways to reach a person.

A field is left in when an expression of a mapping that reads the kind spells its name, in a comment too, or that of an
object which holds nothing else: then the user has mapped it.  What a snapshot has left in is noted with each
collection, so that one that lacks a field which is now mapped is not taken for one that has it.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import replace
from functools import cache, lru_cache
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import ahocorasick_rs
import msgspec

from pdsync.jq.program import leaves
from pdsync.model import SearchQuery

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

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
    "snow_user",  # of extensions for ServiceNow: one half of a login
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
"""Fields that are taken out wherever they stand (PagerDuty REST API, object schemas), beside those of `is_secret`."""

_SECRET = re.compile(
    r"""webhook_?urls?$
      | (?: passw(?:or)?d | passphrase | credential | authorization | (?:api|private|access)_?key
          | (?:secret|token|bearer)s? (?![a-z]) )
        (?! .* _(?:at|counts?|description|enabled|expiry|expires|ids?|labels?|length|limit|name|policy|required|schema
                  |scopes?|status|types?|urls?|version)$ )""",
    re.VERBOSE,
)
"""What a name has that is a secret's, of an extension or in an alert's details; what is only told of one is none."""

_STEMS = (
    *("assword", "ASSWORD", "asswd", "ASSWD", "assphrase", "ASSPHRASE", "ecret", "ECRET", "token", "Token", "TOKEN"),
    *("bearer", "Bearer", "BEARER", "uthorization", "UTHORIZATION", "redential", "REDENTIAL"),
    *(
        "pi_key",
        "pi-key",
        "PI_KEY",
        "pi-Key",
        "PI-Key",
        "PI Key",
        "pikey",
        "piKey",
        "rivate_key",
        "rivateKey",
        "RIVATE_KEY",
    ),
    *("cess_key", "cessKey", "CESS_KEY", "ebhook_url", "ebhookUrl"),
)
"""What stands in every such name, as few letters as will do: bytes are looked through for all of them at once."""

_WRITTEN = 80
"""Longer names, in bytes on either side of such a stem, are texts."""

ADDRESS = "address"
COUNTRY = "country_code"
REACHED_BY = ("_contact_method", "_notification")
"""An object whose type ends so holds a phone number or an e-mail address under `address`."""

URL = "url"
DELIVERY = "http_delivery_method"
"""An object of this type holds under `url` where webhooks go, which may be all that it takes to send some."""

CONFIG = "config"
"""What an extension has under this key does so, too."""

NOTIFICATION = "notification"
"""What a log entry has under this key went to a number or an address, of whatever type it is."""

NAMES = (*KEYS, ADDRESS, URL)

NOTHING_ELSE = {"conference_bridge": frozenset({"conference_number", "conference_url"})}
"""Objects that hold nothing but what is private: who spells such a one, and no field of it, has mapped all of it."""

_CHANGED = frozenset({"name", "description", "value", "before_value"})
"""The keys of a changed field in an audit record: the value of a private one stands beside its name."""

_VALUES = frozenset({"value", "before_value"})
_NAMED = ("name", "key")
"""Of an input of a step, or of a header: the key whose value is the name of what stands under `value`."""

_IS_KEY = re.compile(rb'"\s*:')
_IS_NAMED = re.compile(rb'"(?:name|key)"\s*:\s*"\Z')

_SPELLINGS = tuple(map(re.compile, (r"\w+", r"\w+(?:-\w+)+", r'"([^"\\]+)"')))
"""How jq spells a name: as one, or in quotes, where any character is one of it; in a comment without, too."""

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
        return _without(raw, self._private(kind)) if self._marks_of(kind).are_in(raw) else raw

    def is_done(self, kind: str) -> bool:
        """Whether nothing is left to take out of records of a kind that were cleaned as `ANY`."""
        return self._spelled.get(kind, _NOTHING) == self._spelled[ANY]

    def left_in(self, kind: str) -> tuple[str, ...]:
        """The private fields that stay in the records of a kind."""
        return tuple(sorted(self._spelled.get(kind, _NOTHING)))

    @property
    def way(self) -> tuple[str, ...]:
        """What tells records that were cleaned as `ANY` in just this way: what is private, and what of it stays."""
        return _rules(), *self.left_in(ANY)

    def _private(self, kind: str) -> _Private:
        return _Private(self._spelled.get(kind, _NOTHING))

    def _marks_of(self, kind: str) -> _Marks:
        if kind not in self._marks:
            self._marks[kind] = _Marks(self._private(kind))
        return self._marks[kind]


@cache
def _rules() -> str:
    """A digest of what is private: what another pdsync has left in records is looked through once more."""
    rules = NAMES, _SECRET.pattern, REACHED_BY, DELIVERY, CONFIG, NOTIFICATION, _NAMED
    return blake2b(repr(rules).encode(), digest_size=8).hexdigest()


class _Private:
    """Which names are private, but for those that are spelled."""

    def __init__(self, spelled: frozenset[str]) -> None:
        self._spelled = spelled
        self.names = frozenset(NAMES) - spelled

    def is_secret(self, name: str) -> bool:
        """Whether a name is that of a secret by the words in it."""
        return is_secret(name) and name not in self._spelled


class _Marks:
    """Finds any of some names in quotes, and any name of a secret.

    All bytes that PagerDuty gives are looked through.  For the names alone that takes a tenth of the time that it takes
    for them with their quotes: a quote stands at every turn.
    """

    def __init__(self, private: _Private) -> None:
        longest = ahocorasick_rs.MatchKind.LeftmostLongest  # else "contact" would hide a longer name
        self._private = private
        self._whole = {name.encode() for name in private.names - {URL}}
        if URL in private.names:
            self._whole |= {DELIVERY.encode(), CONFIG.encode()}
        looked_for = {name for name in self._whole if not any(stem.encode() in name for stem in _STEMS)}
        stems = {stem.encode() for stem in _STEMS}
        self._found = ahocorasick_rs.BytesAhoCorasick(sorted(looked_for | stems), matchkind=longest)

    def are_in(self, raw: bytes) -> bool:
        """Whether one of them is: a match that began earlier would hold the quote before it, which no name does."""
        return any(self._is_marked(raw, start, end) for _, start, end in self._found.find_matches_as_indexes(raw))

    def _is_marked(self, raw: bytes, start: int, end: int) -> bool:
        """Whether the text around a match is such a name, and not one that something else is called."""
        begin = raw.rfind(b'"', max(start - _WRITTEN, 0), start) + 1
        until = raw.find(b'"', end, end + _WRITTEN)
        if not begin or until < 0:
            return False
        name = raw[begin:until]
        if name in self._whole:
            return True
        is_name = _IS_KEY.match(raw, until) or _IS_NAMED.search(raw, max(begin - _WRITTEN, 0), begin)
        return bool(is_name) and self._private.is_secret(name.decode("utf-8", "replace"))


@lru_cache(maxsize=4096)
def is_secret(name: str) -> bool:
    """Whether a name is that of a secret by the words in it, in snake, kebab or camel case."""
    apart = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)
    return _SECRET.search(re.sub(r"[^a-z0-9]+", "_", apart.lower())) is not None


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
            found = {word for spelling in _SPELLINGS for word in spelling.findall(text)}
            whole = (fields for name, fields in NOTHING_ELSE.items() if name in found and found.isdisjoint(fields))
            words[rule.kind].update(found, *whole)
    return {kind: frozenset(filter(_is_private, found)) for kind, found in words.items()}


def _is_private(name: str) -> bool:
    return name in NAMES or is_secret(name)


def _without(raw: bytes, private: _Private) -> bytes:
    try:
        value = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return raw  # mapping reports a record that is not JSON; nothing can be read from it
    _strip(value, private)
    return msgspec.json.encode(value)


def _strip(value: Any, private: _Private) -> None:
    """Take it out of a value, and of all in it, one after the other: it may be nested as deep as it likes."""
    left = [("", value)]
    while left:
        under, inner = left.pop()
        if isinstance(inner, list):
            left += ((under, item) for item in inner)
        elif isinstance(inner, dict):
            for key in _private_keys(inner, private, under):
                del inner[key]
            left += inner.items()


def _private_keys(value: dict[str, Any], private: _Private, under: str) -> set[str]:
    """The keys to take out of one object, which stands under a key."""
    names = private.names
    if _names_secret(value, private):
        return {*_VALUES} & value.keys()
    type_ = str(value.get("type", ""))
    reaches = type_.endswith(REACHED_BY) or under == NOTIFICATION
    stays = {None if reaches else ADDRESS, None if type_ == DELIVERY or under == CONFIG else URL}
    goes = (names - stays) | ({COUNTRY} if reaches and ADDRESS in names else set())
    return {key for key, item in value.items() if key in goes or (private.is_secret(key) and _may_be_secret(key, item))}


def _names_secret(value: dict[str, Any], private: _Private) -> bool:
    """Whether what stands under `value` is private by the name that stands beside it."""
    if value.keys() <= _CHANGED and str(value.get("name")) in private.names:
        return True
    return "value" in value and any(private.is_secret(str(value[key])) for key in _NAMED if key in value)


def _may_be_secret(name: str, value: Any) -> bool:
    """Neither whether there is one nor how many there are is a secret."""
    is_number = isinstance(value, int | float)
    return not (value is None or isinstance(value, bool) or (is_number and name.lower().endswith("tokens")))


def _texts(rule: MappingRule) -> Iterator[str]:
    for part in (rule.selector, rule.identifier, rule.blueprint, rule.items, *rule.fields.values()):
        yield from (leaf.text for leaf in leaves(part.rules if isinstance(part, SearchQuery) else part))
