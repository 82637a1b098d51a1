"""Drift: where Port is no longer as we last wrote it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pdsync.diff import Difference, diff_fields
from pdsync.model import EntityKey, Existing, Ledger
from pdsync.normal import blueprint_fields
from pdsync.plan.alone import LeftAlone

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pdsync.model import FieldsView, LedgerEntry, MappingRule


@dataclass(frozen=True, slots=True)
class Drift:
    """One entity or blueprint that somebody else touched; no `fields` means that it is gone.

    `before` of each field is what we wrote, `after` what Port holds now.  `by_us` is whether it was written last with
    the credentials that made it, our own (see `pdsync.plan.unkept`).
    """

    target: Literal["entity", "blueprint"]
    key: EntityKey
    title: str
    fields: tuple[Difference, ...]
    updated_by: str = ""
    updated_at: str = ""
    by_us: bool = False


def find_drift(ledger: Ledger, existing: Existing, rules: Iterable[MappingRule] = ()) -> tuple[Drift, ...]:
    """Everything owned that is gone from Port or differs from what we last wrote, sorted.

    What these rules leave alone inside a value is nobody's drift.
    """
    left = LeftAlone(rules)
    found = []
    for name, entry in sorted(ledger.blueprints.items()):
        have = existing.blueprints.get(name)
        fields = _moved(blueprint_fields(have.definition), entry.fields) if have else ()
        if have is None or fields:
            found.append(Drift("blueprint", EntityKey(name, name), str(entry.fields.get("title") or name), fields))
    for key, entry in sorted(ledger.entities.items()):
        entity = existing.entities.get(key)
        fields = _moved(entity.fields, left.as_left(entry, entity).fields) if entity else ()
        title = str(entry.fields.get("title") or key.identifier)
        if entity is None:
            found.append(Drift("entity", key, title, ()))
        elif fields:
            found.append(Drift("entity", key, title, fields, entity.updated_by, entity.updated_at))
    return tuple(found)


def spoke_of(ledger: Ledger, entry: LedgerEntry, path: str) -> bool:
    """Whether the last apply said what an entity has under a path: else what is there is nobody's edit of ours.

    A ledger that knows no expressions does not tell; then it did.
    """
    mapped = (ledger.expressions.get(rule, {}) for rule in entry.rules)
    return path in entry.fields or not ledger.expressions or any(path in of or "$merge" in of for of in mapped)


def _moved(have: FieldsView, applied: FieldsView) -> tuple[Difference, ...]:
    return tuple(Difference(path, wrote, holds) for path, holds, wrote in diff_fields(have, applied))
