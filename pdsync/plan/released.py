"""Fields of an entity that was there before us which are mapped no more: they stay as they are, and are named.

Nothing is written for them, so that nothing is checked or ordered by them either: they are told last of all.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pdsync.diff import Difference
from pdsync.plan.parts import RELEASED, was_there

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pdsync.model import Change, FieldChange
    from pdsync.plan.entities import EntityDecisions


def with_released(changes: Iterable[Change], decisions: EntityDecisions) -> tuple[Change, ...]:
    """The changes, with the fields that only the ledger forgets by them."""
    return tuple(_named(change, decisions) for change in changes)


def _named(change: Change, decisions: EntityDecisions) -> Change:
    released = _released(change, decisions)
    if not released:
        return change
    return replace(change, fields=tuple(sorted([*change.fields, *released], key=lambda field: field.path)))


def _released(change: Change, decisions: EntityDecisions) -> list[FieldChange]:
    if change.target != "entity" or change.ledger is None or change.action not in ("adopt", "update"):
        return []
    key, facts = change.key, decisions.facts
    last, have, want = facts.ledger.entities.get(key), facts.existing.entities.get(key), decisions.desired.get(key)
    if last is None or have is None or want is None or change.ledger.fields.keys() >= last.fields.keys():
        return []
    gone = sorted(last.fields.keys() - change.ledger.fields.keys() - {field.path for field in change.fields})
    held = ((path, have.fields.get(path)) for path in gone if was_there(last, path))
    return [
        replace(decisions.cause_of(Difference(path, value, None), want, last), after=value, note=RELEASED)
        for path, value in held
        if value is not None
    ]
