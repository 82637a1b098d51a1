"""What was found to need nothing, remembered: neither of the three sides of an entity need be read to know it again.

An entity that is in Port and in the ledger as it shall be was compared once, value by value.  A digest of the bytes of
the three sides, as they came from the memo, from the ledger and from Port, and of all that decides what they mean, says
next time that nothing has changed, and so that the verdict is the same.  With it is remembered what its relations
point at, which is all that a plan asks about an entity that it leaves alone.

It is a cache: what is remembered is never wrong, only unused.  The `circumstances` are part of every digest, so that
with another policy or organisation, another blueprint in Port or another pdsync nothing is found; of the mappings that
make an entity, what decides is part of its digest.  So a branch finds what its base has compared.  A file that is
damaged or of another version is empty.  Where a blueprint is to change, nothing is looked up.

    {"checksum":"blake2b-16 of the lines","format":"pdsync-unchanged","version":3}
    [[[path, blueprint, identifier of a target],...],[digest, ...]]

A line tells what some entities point at, and their digests; lines and digests are sorted.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

import orjson

from pdsync.model import EntityKey

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from pdsync.model import Json, MappingRule
    from pdsync.plan.decide import Facts

FORMAT = "pdsync-unchanged"
VERSION = 3

Targets = tuple[tuple[str, EntityKey], ...]
"""Relation paths, each with a key that it points at, sorted: see `pdsync.plan.order.relation_targets`."""

Remembered = dict[str, Targets]
"""Digest -> what the entity points at."""


class _Sides(NamedTuple):
    """What was compared: the very objects, which a change of any of the facts exchanges for others."""

    catalog: object
    desired: object
    existing: object
    ledger: object

    @classmethod
    def of(cls, facts: Facts) -> _Sides:
        return cls(facts.catalog, facts.desired.entities, facts.existing.entities, facts.ledger.entities)

    def are_those_of(self, facts: Facts) -> bool:
        return all(one is other for one, other in zip(self, _Sides.of(facts), strict=True))


class Unchanged:
    """The entities of one plan's facts that are known to need nothing; what is found out of others is noted."""

    def __init__(self, sides: _Sides | None = None, remembered: Mapping[str, Targets] = MappingProxyType({})) -> None:
        self._sides = sides
        self._remembered = remembered
        self._digests: dict[EntityKey, str] = {}
        self._noted: Remembered = {}
        self._equal: dict[Targets, Targets] = {}
        self.known: dict[EntityKey, Targets] = {}

    @classmethod
    def recalled(cls, facts: Facts, remembered: Mapping[str, Targets], circumstances: bytes) -> Unchanged:
        """What is remembered of the entities of which all three sides are at hand as bytes."""
        made = cls(_Sides.of(facts), remembered)
        for key, digest in _digests(facts, circumstances):
            targets = remembered.get(digest)
            made._digests[key] = digest
            if targets is not None:
                made.known[key] = targets
        return made

    def among(self, facts: Facts) -> Mapping[EntityKey, Targets]:
        """Those of these facts that are known to need nothing, with what they point at; none of any other facts."""
        return self.known if self._sides and self._sides.are_those_of(facts) else {}

    def noter(self, facts: Facts) -> Callable[[EntityKey, Iterable[tuple[str, EntityKey]]], None] | None:
        """What notes that an entity of these facts needs nothing, and what it points at; None for any other facts."""
        return self._note if self._sides and self._sides.are_those_of(facts) else None

    def _note(self, key: EntityKey, targets: Iterable[tuple[str, EntityKey]]) -> None:
        if (digest := self._digests.get(key)) is not None:
            told = tuple(targets)
            self._noted[digest] = self._equal.setdefault(told, told)

    @property
    def changed(self) -> bool:
        """Whether there is anything new to remember, or half of what is remembered is of no use any more."""
        return bool(self._noted) or 0 < 2 * len(self.known) < len(self._remembered)

    @property
    def kept(self) -> Remembered:
        """What is worth remembering: what was recognised or noted."""
        return {**{self._digests[key]: targets for key, targets in self.known.items()}, **self._noted}


def circumstances(facts: Facts, edition: str) -> bytes | None:
    """A digest of what decides whether an entity needs nothing, beside its sides and rules; None where that is open.

    `edition` says which pdsync this is.  Open it is where the mappings write a blueprint that is to change.
    """
    from pdsync.plan.blueprints import blueprints_after

    existing, project = facts.existing, facts.catalog.project
    if blueprints_after(facts) != existing.blueprints:
        return None
    blueprints = {name: blueprint.definition for name, blueprint in existing.blueprints.items()}
    told = [FORMAT, VERSION, edition, existing.org_id, repr(project.policy), blueprints]
    return hashlib.blake2b(orjson.dumps(told, option=orjson.OPT_SORT_KEYS), digest_size=16).digest()


def _digests(facts: Facts, circumstances: bytes) -> Iterator[tuple[EntityKey, str]]:
    existing, owned = facts.existing.entities, facts.ledger.entities
    prefixes: dict[tuple[object, ...], bytes] = {}
    rules = {rule.id: _told(rule) for rule in facts.catalog.rules}
    for key, want in facts.desired.entities.items():
        if (wanted := want.packed) is None:
            continue
        have, last = existing.get(key), owned.get(key)
        if have is None or last is None or last.source != want.source or last.rules != want.rules or last.portions:
            continue
        held, applied = have.packed, last.packed
        if held is None or applied is None:
            continue
        shape = want.rules, last.origin, last.protect, last.on_remove
        prefix = prefixes.get(shape)
        if prefix is None:
            prefix = prefixes[shape] = circumstances + orjson.dumps([shape, [rules.get(rule) for rule in want.rules]])
        # JSON that was written by pdsync holds no such byte: where the parts begin cannot be mistaken.
        parts = b"\0".join((prefix, wanted[1], applied[1], held[1]))
        yield key, hashlib.sha256(parts, usedforsecurity=False).hexdigest()[:32]


def _told(rule: MappingRule) -> Json:
    """What a rule says of an entity beside its values: which these are, and what is done about others."""
    return [[*rule.fields], rule.merge, repr(rule.lifecycle)]


def dump_unchanged(remembered: Mapping[str, Targets]) -> bytes:
    """What is remembered, as a file; equal for equal ones."""
    grouped: defaultdict[Targets, list[str]] = defaultdict(list)
    for digest, targets in remembered.items():
        grouped[targets].append(digest)
    body = b"".join(
        orjson.dumps([[[path, *key] for path, key in targets], sorted(digests)], option=orjson.OPT_APPEND_NEWLINE)
        for targets, digests in sorted(grouped.items())
    )
    header = {"format": FORMAT, "version": VERSION, "checksum": _checksum(body)}
    return orjson.dumps(header, option=orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE) + body


def parse_unchanged(data: bytes) -> Remembered:
    """What a file remembers; nothing when it is not a whole one of this version."""
    head, _, body = data.partition(b"\n")
    remembered: Remembered = {}
    try:
        header = orjson.loads(head)
        if (header["format"], header["version"], header["checksum"]) != (FORMAT, VERSION, _checksum(body)):
            return {}
        for line in body.splitlines():
            told, digests = orjson.loads(line)
            targets = tuple((path, EntityKey(blueprint, identifier)) for path, blueprint, identifier in told)
            remembered.update(dict.fromkeys(digests, targets))
    except (ValueError, TypeError, LookupError):
        return {}
    return remembered


def _checksum(body: bytes) -> str:
    return hashlib.blake2b(body, digest_size=16).hexdigest()
