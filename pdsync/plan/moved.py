"""Rules known again: a mapping that stands in another file now is the mapping that it was.

A rule is named after its file and its place there.  The ledger says of each rule that it knows what digests its
expressions had; a rule that is not there any more is the one that came with the same expressions, or, where just one of
either is left over, the one that makes the same entities of the same kind.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Mapping

    from pdsync.model import Catalog, Ledger, LedgerEntry

    Expressions = Mapping[str, Mapping[str, str]]
    Likeness = Callable[[str, Mapping[str, str]], Hashable]

IDENTITY = ("$blueprint", "$identifier", "$items")
"""The parts of a rule that say which entities it makes of a record."""


def moved_rules(before: Expressions, now: Expressions) -> dict[str, str]:
    """Id that a rule had in the ledger -> its id now, of the rules that stand in another place."""
    moved: dict[str, str] = {}
    for likeness, many in ((_as_a_whole, True), (_by_identity, False)):
        gone = _alike(before, [i for i in before if i not in now and i not in moved], likeness)
        come = _alike(now, [i for i in now if i not in before and i not in moved.values()], likeness)
        for like, old in gone.items():
            new = come.get(like, [])
            if len(new) == len(old) and (many or len(old) == 1):
                moved |= dict(zip(old, new, strict=True))
    return moved


def _alike(of: Expressions, ids: Iterable[str], likeness: Likeness) -> dict[Hashable, list[str]]:
    found: defaultdict[Hashable, list[str]] = defaultdict(list)
    for rule in ids:
        found[likeness(rule, of[rule])].append(rule)
    return found


def _as_a_whole(rule: str, parts: Mapping[str, str]) -> Hashable:
    return _kind(rule), tuple(sorted(parts.items()))


def _by_identity(rule: str, parts: Mapping[str, str]) -> Hashable:
    return _kind(rule), tuple(parts.get(name) for name in IDENTITY)


def _kind(rule: str) -> str:
    return rule.rpartition("#")[2].partition("[")[0]


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
