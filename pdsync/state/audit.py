"""What a whole and readable ledger may still have wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pdsync.errors import warning
from pdsync.model import EntityKey

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pdsync.errors import Diagnostic
    from pdsync.model import Json, Ledger

RELATION = "relations."
NAMED = 3
"""So many examples are named."""


def audit(ledger: Ledger) -> tuple[Diagnostic, ...]:
    """Relations that point at nothing we own, though their blueprint is ours: one diagnostic for each relation."""
    dangling: dict[str, list[str]] = {}
    for key, entry in sorted(ledger.entities.items()):
        for path, value in entry.fields.items():
            target = _target(ledger, key.blueprint, path)
            if target in ledger.blueprints:
                lost = [name for name in _identifiers(value) if EntityKey(target, name) not in ledger.entities]
                if lost:
                    dangling.setdefault(f"{key.blueprint}.{path}", []).extend(f"{key} -> {target}/{n}" for n in lost)
    return tuple(_dangling(relation, found) for relation, found in dangling.items())


def _target(ledger: Ledger, blueprint: str, path: str) -> str:
    """The blueprint that a relation leads to, as the ledger knows it; empty when it is none, or not known."""
    if not path.startswith(RELATION) or blueprint not in ledger.blueprints:
        return ""
    relation = ledger.blueprints[blueprint].fields.get(path)
    return str(relation.get("target", "")) if isinstance(relation, dict) else ""


def _identifiers(value: Json) -> Iterator[str]:
    for item in value if isinstance(value, list) else [value]:
        if isinstance(item, str):
            yield item


def _dangling(relation: str, found: list[str]) -> Diagnostic:
    more = f" and {len(found) - NAMED} more" if len(found) > NAMED else ""
    return warning(
        "PD570",
        "a relation points at what is not owned",
        detail=f"{relation}: {', '.join(found[:NAMED])}{more}",
        hint="it may be in Port all the same; the next plan tells",
    )
