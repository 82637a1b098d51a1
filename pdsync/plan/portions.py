"""Entities of several records of which some are missing.

What a record gave of an entity goes with the record, and the entity with the last of them.  Until that is known of a
record - it failed, its list is incomplete, it was not read or only left the time window - what it gave stays as it is:
such paths are unknown, and the record still counts among those that make the entity.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pdsync.model import DesiredEntity, EntityKey, Portion, glance, makers, sources_of
from pdsync.plan.decide import constant_blueprint, writers
from pdsync.plan.rename import successors
from pdsync.plan.retention import Retention

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from pdsync.model import LedgerEntry
    from pdsync.plan.decide import Facts

GIVEN_NO_MORE = "gives it no more"
"""What is noted of a field behind the record that it goes with."""


def portions_of(made: DesiredEntity | LedgerEntry) -> tuple[Portion, ...]:
    """What each record gives of an entity, also where it is only one."""
    if made.portions:
        return made.portions
    paths = {*glance(made), *(made.unknown if isinstance(made, DesiredEntity) else ())}
    return tuple(Portion(source, rules, tuple(sorted(paths))) for source, rules in makers(made))


def givers(made: DesiredEntity | LedgerEntry, path: str) -> tuple[str, ...]:
    """The records that give a path of an entity."""
    if not made.portions:
        unknown = made.unknown if isinstance(made, DesiredEntity) else ()
        return sources_of(made) if path in made.fields or path in unknown else ()
    return tuple(portion.source for portion in made.portions if path in portion.paths)


def giver_of(paths: Iterable[str], want: DesiredEntity | LedgerEntry, last: LedgerEntry | None) -> str:
    """The first record that gives, or gave, one of these paths; where there is none, the first of the entity."""
    if last is None or sources_of(want) == sources_of(last) == (want.source,):
        return want.source
    found = (source for path in paths for side in (want, last) for source in givers(side, path))
    return next(found, want.source)


def lost_of(last: LedgerEntry, want: DesiredEntity | None) -> tuple[str, ...]:
    """The records of which an entity was made and is not any more."""
    if want is None:
        return sources_of(last)
    if last.source == want.source and not last.portions:
        return ()
    there = sources_of(want)
    return tuple(source for source in sources_of(last) if source not in there)


def failed_of(last: LedgerEntry, facts: Facts) -> str | None:
    """A record of which an entity was made and that could not be mapped."""
    failed = facts.desired.failed
    return next((source for source in sources_of(last) if source in failed), None) if failed else None


def noted_portions(want: DesiredEntity, last: LedgerEntry | None, kept: Collection[str]) -> tuple[Portion, ...]:
    """The portions that the ledger is to tell: with paths that a record once gave and that are `kept`."""
    if last is None or not kept or not want.portions:
        return want.portions
    before = {portion.source: portion.paths for portion in portions_of(last)}
    return tuple(
        replace(
            portion, paths=tuple(sorted({*portion.paths, *(p for p in before.get(portion.source, ()) if p in kept)}))
        )
        for portion in want.portions
    )


def with_missing(facts: Facts) -> Facts:
    """The facts with what is desired completed by what records gave of which nothing is known at the moment.

    What is complete already is left as it is; where nothing is missing the facts are the very same.
    """
    doubt = _Doubt(facts)
    if not doubt.possible:
        return facts
    completed = dict(_completed(facts, doubt))
    if not completed:
        return facts
    entities = {key: completed.get(key, want) for key, want in facts.desired.entities.items()}
    return replace(facts, desired=replace(facts.desired, entities=entities))


def _completed(facts: Facts, doubt: _Doubt) -> Iterator[tuple[EntityKey, DesiredEntity]]:
    for key, want, last in _owned(facts):
        sources = lost_of(last, want)
        lost = [portion for portion in portions_of(last) if portion.source in sources] if sources else []
        # What another record gives by the same rules has taken the place of it.
        lost = [portion for portion in lost if not set(want.rules).issuperset(portion.rules)]
        reasons = {p.source: why for p in lost if (why := doubt.about(p.source, key, last))}
        if reasons:
            lost = [portion for portion in lost if portion.source in reasons]
            yield key, _with(want, [doubt.mapped(key.blueprint, portion) for portion in lost], reasons)


def _owned(facts: Facts) -> Iterator[tuple[EntityKey, DesiredEntity, LedgerEntry]]:
    """What is desired, with what the ledger says of it, or of what it was called before."""
    desired, owned = facts.desired.entities, facts.ledger.entities
    for key, want in desired.items():
        if (last := owned.get(key)) is not None:
            yield key, want, last
    if any(last.portions and key not in desired for key, last in owned.items()):
        for old, new in successors(facts).items():
            if new not in owned:
                yield new, desired[new], owned[old]


def _with(want: DesiredEntity, missing: Sequence[Portion], reasons: Mapping[str, str]) -> DesiredEntity:
    """An entity with what some records gave, whose paths are unknown where no other record gives them."""
    said = {*want.fields, *want.unknown}
    unknown = {p: reasons[portion.source] for portion in missing for p in portion.paths if p not in said}
    portions = tuple(sorted([*portions_of(want), *missing], key=lambda portion: portion.source))
    rules = tuple(dict.fromkeys(rule for portion in portions for rule in portion.rules))
    assumed = tuple(sorted({*want.assumed, *(portion.source for portion in missing)}))
    return DesiredEntity(
        want.key, want.fields, rules, portions[0].source, {**want.unknown, **unknown}, portions, assumed
    )


class _Doubt:
    """What makes it doubtful that a record is gone."""

    def __init__(self, facts: Facts) -> None:
        self._facts = facts
        self._retention = Retention(facts.catalog.rules, facts.taken_at)
        self._writers = writers(facts.catalog.rules)
        self._unproven = [
            (rule.kind, constant_blueprint(rule), facts.unproven[rule.id])
            for rule in facts.catalog.rules
            if rule.id in facts.unproven
        ]

    @property
    def possible(self) -> bool:
        """Whether there is any reason for doubt about any record."""
        facts = self._facts
        kept = any(rule.lifecycle.retention is not None for rule in facts.catalog.rules)
        return bool(kept or facts.desired.failed or self._unproven or facts.not_read or facts.missing)

    def about(self, source: str, key: EntityKey, last: LedgerEntry) -> str:
        """Why a record that gives nothing of an entity any more may do so all the same; "" when it does not."""
        if reason := self._facts.desired.failed.get(source):
            return f"its record {source} could not be mapped: {reason}"
        if source in self._facts.not_read:
            return f"incremental reading: its record {source} was not read; run with --full"
        kind = source.partition("/")[0]
        if source in self._facts.missing:
            return f"its record {source} is missing of a list that came too short; --accept-shrink {kind} believes it"
        for of, blueprint, reason in self._unproven:
            if of == kind and blueprint in (None, key.blueprint):
                return f"its record {source} is not listed, which proves nothing: {reason}"
        if self._retention.age_of(kind, key, last) in ("kept", "unknown"):
            return f"its record {source} is not listed any more, perhaps only for its age"
        return ""

    def mapped(self, blueprint: str, portion: Portion) -> Portion:
        """A portion without the paths that no rule writes any more: those leave the mapping, and not the record."""
        return replace(portion, paths=tuple(path for path in portion.paths if self._writers(blueprint, path)))
