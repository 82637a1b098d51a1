"""Rules known again: a mapping that stands in another place now is the mapping that it was.

A rule is named after its file and its place there.  The ledger says of each rule that it knows what digests its
expressions had, and so a rule is told by what it says: by all of it, wherever that stands; else by which entities it
makes and how much else is as it was.  Only where that tells nothing does the place count.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from dataclasses import replace
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

import orjson

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from pdsync.model import Catalog, Ledger, LedgerEntry

    Expressions = Mapping[str, Mapping[str, str]]

IDENTITY = ("$blueprint", "$identifier", "$items")
"""The parts of a rule that say which entities it makes of a record."""

ALIKE = 0.5
"""A rule elsewhere that makes other entities of the same blueprint is the same when so much of both is."""


def moved_rules(before: Expressions, now: Expressions) -> dict[str, str]:
    """Id that a rule had in the ledger -> its id now, of the rules that stand in another place.

    A rule that is gone, and in whose place another one stands, gets a name that no rule has.
    """
    pairs = _same(before, now)
    pairs |= _most_alike(_without(before, pairs), _without(now, pairs.values()))
    moved = {old: new for old, new in pairs.items() if old != new}
    replaced = (rule for rule in before if rule in now and rule not in pairs)
    return moved | {rule: _gone(rule, before[rule]) for rule in replaced}


def _without(of: Expressions, rules: Iterable[str]) -> Expressions:
    left_out = {*rules}
    return {rule: parts for rule, parts in of.items() if rule not in left_out}


def _same(before: Expressions, now: Expressions) -> dict[str, str]:
    """The rules that say what they said: in their place, or else elsewhere, equal ones in their order."""
    stay = {rule: rule for rule in before if rule in now and before[rule] == now[rule]}
    old, new = (_by_content(_without(side, stay)) for side in (before, now))
    return stay | {rule: other for like in old for rule, other in zip(old[like], new.get(like, ()), strict=False)}


def _by_content(of: Expressions) -> dict[tuple[str, bytes], list[str]]:
    found: defaultdict[tuple[str, bytes], list[str]] = defaultdict(list)
    for rule, parts in of.items():
        found[_kind(rule), orjson.dumps(parts, option=orjson.OPT_SORT_KEYS)].append(rule)
    return found


class _Likeness(NamedTuple):
    """How much speaks for two rules being the same: which entities they make, what they share, where they stand."""

    identity: bool
    shared: float
    place: bool


class _Pair(NamedTuple):
    likeness: _Likeness
    old: str
    new: str


def _most_alike(before: Expressions, now: Expressions) -> dict[str, str]:
    """The rules that were edited, each with what it most likely is; where two could be meant as well, with neither."""
    found: dict[str, str] = {}
    told: set[str] = set()  # old ones and new ones of which it is decided what they are, or that they are nothing
    for _, group in groupby(sorted(_pairs(before, now), reverse=True), key=lambda pair: pair.likeness):
        free = [pair for pair in group if f"<{pair.old}" not in told and f">{pair.new}" not in told]
        named = Counter(side for pair in free for side in (f"<{pair.old}", f">{pair.new}"))
        found |= {p.old: p.new for p in free if named[f"<{p.old}"] == named[f">{p.new}"] == 1}
        told.update(named)
    return found


def _pairs(before: Expressions, now: Expressions) -> Iterator[_Pair]:
    for old, parts in before.items():
        for new, others in now.items():
            if _kind(old) == _kind(new):
                likeness = _likeness(parts, others, place=old == new)
                alike = likeness.shared >= ALIKE and parts.get("$blueprint") == others.get("$blueprint")
                if likeness.place or likeness.identity or alike:
                    yield _Pair(likeness, old, new)


def _likeness(one: Mapping[str, str], other: Mapping[str, str], *, place: bool) -> _Likeness:
    identity = all(one.get(name) == other.get(name) for name in IDENTITY)
    shared = len(one.items() & other.items()) / max(1, len(one.items() | other.items()))
    return _Likeness(identity, shared, place)


def _kind(rule: str) -> str:
    return rule.rpartition("#")[2].partition("[")[0]


def _gone(rule: str, parts: Mapping[str, str]) -> str:
    digest = hashlib.blake2b(orjson.dumps(parts, option=orjson.OPT_SORT_KEYS), digest_size=4).hexdigest()
    return f"{rule}@{digest}"


def ledger_with(ledger: Ledger, moved: Mapping[str, str]) -> Ledger:
    """The ledger with the ids that rules have now."""
    if not moved:
        return ledger
    return replace(
        ledger,
        entities={key: _entry_with(entry, moved) for key, entry in ledger.entities.items()},
        expressions=dict(sorted((moved.get(rule, rule), parts) for rule, parts in ledger.expressions.items())),
    )


def _entry_with(entry: LedgerEntry, moved: Mapping[str, str]) -> LedgerEntry:
    if moved.keys().isdisjoint(entry.rules):
        return entry
    portions = tuple(replace(each, rules=_now(each.rules, moved)) for each in entry.portions)
    return replace(entry, rules=_now(entry.rules, moved), portions=portions)


def _now(rules: Iterable[str], moved: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(moved.get(rule, rule) for rule in rules)


def catalog_with(catalog: Catalog, moved: Mapping[str, str]) -> Catalog:
    """An earlier catalog whose rules have the ids that they have now."""
    rules = tuple(replace(rule, id=moved.get(rule.id, rule.id)) for rule in catalog.rules)
    return replace(catalog, rules=rules) if moved else catalog
