"""Values that Port does not keep as they are written, so that each plan would write them anew."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import orjson

from pdsync.errors import some_of, warning

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from pdsync.errors import Diagnostic
    from pdsync.model import Change, EntityKey, FieldChange, Json, LedgerEntry

_LONGEST = 80


def is_ours(entry: LedgerEntry | None, by: str, made_by: str) -> bool:
    """Whether an entity of ours was written last by who made it: with our credentials, as far as can be told."""
    return entry is not None and entry.origin == "created" and bool(by) and by == made_by


def unkept(changes: Iterable[Change], by_us: Collection[EntityKey]) -> tuple[Diagnostic, ...]:
    """A warning for every path that is to be written as it was before, although it is `by_us` that it was written last.

    Who else has our credentials may have edited it, or made it anew; otherwise Port has, and will again.
    """
    found: defaultdict[tuple[str, str], list[tuple[EntityKey, FieldChange]]] = defaultdict(list)
    for change in changes:
        if change.target == "entity" and change.action == "update" and change.key in by_us:
            for field in change.fields:
                only_drift = field.drift and (field.causes or (field.cause,)) == ("drift",)
                if only_drift and not is_emptied(field.path, field.before):
                    found[change.blueprint, field.path].append((change.key, field))
    return tuple(_told(path, some) for (_, path), some in sorted(found.items()))


def is_emptied(path: str, holds: Json) -> bool:
    """Whether this is a relation to nothing, as Port leaves it when somebody deletes what it pointed at."""
    return path.startswith("relations.") and holds in (None, [])


def _told(path: str, some: list[tuple[EntityKey, FieldChange]]) -> Diagnostic:
    key, field = some[0]
    wrote = f"{key}: {path} was written as {_text(field.after)} and is {_text(field.before)}"
    nobody = "whoever wrote it last has also made it"
    return warning(
        "PD416",
        "Port does not hold what was written",
        detail=f"{wrote}; {nobody}{f' (the first of {len(some)} entities)' if len(some) > 1 else ''}",
        hint="if it is so again after the next apply, Port keeps such a value otherwise: map it as Port keeps it",
        **some_of(str(each) for each, _ in some),
    )


def _text(value: Json) -> str:
    text = orjson.dumps(value).decode()
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
