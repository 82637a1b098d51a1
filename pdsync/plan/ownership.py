"""Whose an entity is, and what becomes of it once nothing makes it.

What exists and is desired is adopted; nothing is written for that.  What Port's own PagerDuty integration had made from
the same records is ours to delete once its record is gone, as if we had made it; anything else that was there before us
is only ever released, unless the policy or the mapping's `lifecycle` says otherwise.

What a lifecycle says of the end of an entity is kept in the ledger: it holds on when the mapping is removed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pdsync.plan.decide import is_system

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pdsync.model import EntityKey, EntityOrigin, ExistingEntity, LedgerEntry, Removal
    from pdsync.plan.decide import Facts

_MILDEST: tuple[Removal, ...] = ("forget", "release", "delete")
"""Where the mappings that write one entity do not agree, the first of these that one of them says holds."""


def to_adopt(facts: Facts) -> list[EntityKey]:
    """Entities that Port has, the mapping speaks of and we do not own yet, sorted."""
    return sorted((facts.desired.entities.keys() & facts.existing.entities.keys()) - facts.ledger.entities.keys())


class Ownership:
    """What a plan's facts say about whose entities are."""

    def __init__(self, facts: Facts) -> None:
        self._by_integration = facts.around.by_integration
        self._adopted: Removal = facts.catalog.project.policy.on_remove
        self._lifecycles = {rule.id: rule.lifecycle for rule in (*facts.catalog.rules, *facts.catalog.ended)}

    def origin(self, key: EntityKey, have: ExistingEntity | None, last: LedgerEntry | None) -> EntityOrigin:
        """What the ledger says of where an entity comes from, once it is written or adopted."""
        if have is None:
            return "created"
        if last is not None:
            return last.origin
        return "integration" if key in self._by_integration else "adopted"

    # --- the end

    def on_remove(self, rules: Iterable[str]) -> Removal | None:
        """What the lifecycles of these rules say of the end of an entity; None when they do not."""
        said = {self._lifecycles[rule].on_remove for rule in rules if rule in self._lifecycles}
        return next((removal for removal in _MILDEST if removal in said), None)

    def removal(self, key: EntityKey, last: LedgerEntry) -> Removal:
        """What becomes of an entity of ours that nothing makes any more and that Port still has."""
        still = any(rule in self._lifecycles for rule in last.rules)
        said = self.on_remove(last.rules) if still else last.on_remove
        removal = said or (self._adopted if last.origin == "adopted" else "delete")
        return "release" if removal == "delete" and is_system(key.blueprint) else removal

    def renaming(self, key: EntityKey, last: LedgerEntry) -> Removal:
        """What becomes of the old one of an entity that has another identifier now.

        That is no removal: what we made goes, whatever its lifecycle says of its end, for the new one is the same thing
        with all that it held.  What others made has its end under the old identifier.
        """
        if last.origin == "adopted":
            return self.removal(key, last)
        return "release" if is_system(key.blueprint) else "delete"
