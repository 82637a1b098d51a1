"""Whose an entity is: what we made, what we took over, and what taking over means for its end.

What exists and is desired is adopted; nothing is written for that.  What Port's own PagerDuty integration had made from
the same records is ours to delete once its record is gone, as if we had made it; anything else that was there before us
is only ever released, unless the policy says otherwise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pdsync.model import EntityKey, EntityOrigin, ExistingEntity, LedgerEntry
    from pdsync.plan.decide import Facts


def to_adopt(facts: Facts) -> list[EntityKey]:
    """Entities that Port has, the mapping speaks of and we do not own yet, sorted."""
    return sorted((facts.desired.entities.keys() & facts.existing.entities.keys()) - facts.ledger.entities.keys())


class Ownership:
    """What a plan's facts say about whose entities are."""

    def __init__(self, facts: Facts) -> None:
        self._by_integration = facts.around.by_integration

    def origin(self, key: EntityKey, have: ExistingEntity | None, last: LedgerEntry | None) -> EntityOrigin:
        """What the ledger says of where an entity comes from, once it is written or adopted."""
        if have is None:
            return "created"
        if last is not None:
            return last.origin
        return "integration" if key in self._by_integration else "adopted"
