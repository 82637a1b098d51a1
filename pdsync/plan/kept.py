"""Fields that stay as they are in Port, because nobody could find out what they should be."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pdsync.model import Kept, lacking
from pdsync.plan.portions import givers

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from pdsync.model import DesiredEntity, EntityKey, Fields
    from pdsync.plan.decide import Facts, Scope


def kept_fields(
    facts: Facts, held: Collection[EntityKey], successors: Mapping[EntityKey, EntityKey], scope: Scope
) -> tuple[Kept, ...]:
    """What Port has in fields that are not known, of entities that are not `held` as a whole, sorted.

    What cannot be known for want of an enrichment is told with the enrichment (`Facts.lacking`): by its paths, once for
    all entities.  `successors` are the keys that entities have now, by those that they had.
    """
    doubtful = [w for k, w in facts.desired.entities.items() if w.unknown and k not in held and scope.covers_key(k)]
    if not doubtful:
        return ()
    told = {lacking(each.enrichment, each.reason) for each in facts.lacking}
    before = {new: old for old, new in successors.items() if old not in held}
    there = facts.existing.entities
    found: list[Kept] = []
    for want in doubtful:
        have = there.get(want.key) or there.get(before.get(want.key, want.key))
        if have is not None:
            found += _kept(want, have.fields, told)
    return tuple(sorted(found, key=lambda each: (each.key, each.paths)))


def _kept(want: DesiredEntity, have: Fields, told: Collection[str]) -> Iterator[Kept]:
    """Fields of one entity, those for the same reason together."""
    reasons: dict[str, list[str]] = {}
    for path, reason in want.unknown.items():
        if reason not in told and have.get(path) is not None:
            reasons.setdefault(reason, []).append(path)
    for reason, paths in reasons.items():
        yield Kept(*want.key, tuple(sorted(paths)), reason, next(iter(givers(want, paths[0])), want.source))
