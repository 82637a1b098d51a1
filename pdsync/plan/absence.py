"""Why a record makes an entity no more, in a word: that it is gone is said of those alone of which that is known.

An entity whose record gives nothing any more is decided to go as `gone-from-source`.  What was read tells more:

    its own list has the record                                  not-selected
    a list of all that there can be of its kind has it no more   gone-from-source
    it is older than its list goes back                          left-window
    only another list has it, or nobody can tell                 not-listed

A list is not one of all that there can be where its parameters leave some out, or where it has a window that the record
may have left: how old that was, the records of the last apply tell, if they are kept.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pdsync.kinds import KINDS, SAME_ROWS, window_start
from pdsync.model import Query, sources_of
from pdsync.plan.retention import SLACK, Retention, moment_of

if TYPE_CHECKING:
    from datetime import datetime

    from pdsync.model import Change, EntityKey, LedgerEntry, MappingRule, Plan, Withheld
    from pdsync.plan.decide import Facts

GONE = "gone-from-source"
_NOT_LISTED = "not-listed"


@dataclass(frozen=True, slots=True)
class Seen:
    """What is known of some records, as `incidents/PX1`: which of them each list has, and when they were `made`.

    The latter is the moment that the window of their list is about.
    """

    listed: Mapping[Query, Collection[str]]
    made: Mapping[str, str]


def absent(plan: Plan, facts: Facts) -> frozenset[str]:
    """The records that a plan has for gone."""
    going = [change.key for change in plan.changes if change.target == "entity" and change.reason == GONE]
    going += [item.key for item in plan.withheld if item.target == "entity" and item.why == GONE]
    entries = (facts.ledger.entities.get(key) for key in going)
    return frozenset(source for last in entries if last for source in sources_of(last))


def with_absences(plan: Plan, facts: Facts, seen: Seen) -> Plan:
    """The plan, which says of no record that it is gone unless that is known."""
    told = _Absences(facts, seen)
    changes = tuple(map(told.change, plan.changes))
    return replace(plan, changes=changes, withheld=tuple(map(told.withheld, plan.withheld)))


class _Absences:
    def __init__(self, facts: Facts, seen: Seen) -> None:
        self._facts, self._seen = facts, seen
        self._rules = {rule.id: rule for rule in facts.catalog.rules}
        self._retention = Retention(facts.catalog.rules, facts.taken_at)
        self._now = moment_of(facts.taken_at)

    def change(self, change: Change) -> Change:
        is_gone = change.target == "entity" and change.reason == GONE
        return replace(change, reason=self._word(change.key)) if is_gone else change

    def withheld(self, item: Withheld) -> Withheld:
        return replace(item, why=self._word(item.key)) if item.target == "entity" and item.why == GONE else item

    def _word(self, key: EntityKey) -> str:
        """The word for all its records; of several with different ones, what is true of each."""
        last = self._facts.ledger.entities.get(key)
        words = {self._of(source, key, last) for source in sources_of(last)} if last else {GONE}
        return words.pop() if len(words) == 1 else _NOT_LISTED

    def _of(self, source: str, key: EntityKey, last: LedgerEntry) -> str:
        kind = source.partition("/")[0]
        rules = [rule for rule in self._rules.values() if rule.kind == kind]
        having = {rule.id for rule in rules if source in self._seen.listed.get(rule.query, ())}
        if having.intersection(last.rules):
            return "not-selected"
        made = moment_of(self._seen.made.get(source))
        if not having and any(self._would_have(rule, made) for rule in rules):
            return GONE
        return "left-window" if made and self._retention.has_left(kind, key, made) else _NOT_LISTED

    def _would_have(self, rule: MappingRule, made: datetime | None) -> bool:
        """Whether the list of a rule would have a record of its kind, made at a moment if that is known."""
        row = KINDS.get(rule.kind)
        if row is None or rule.id in self._facts.unproven:
            return False
        harmless = {param.wire for param in row.params if param.name in SAME_ROWS}
        if row.window:
            if self._now is None or row.window.period:
                return False
            start = window_start(row.window, rule.query.params, self._now)
            if start is not None and (made is None or made < start + SLACK):
                return False
            harmless |= {row.window.since, *(row.window.everything or ())[:1]}
        return not {wire for wire, _ in rule.query.params} - harmless
