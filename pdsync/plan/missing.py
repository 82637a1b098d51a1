"""Parts of blueprints that cannot come, since what they name is neither in Port nor comes with the plan.

Port takes no relation to a blueprint, no aggregation over one and no path along relations that it does not have, and
refuses what comes in the same request with them.  So such a part is left out and named, and the rest goes on.

Port lists its own blueprints (`_user`, `_team`) with the others, and they are looked at like these; only where it lists
none of them is nothing known of any.
"""

from __future__ import annotations

from dataclasses import replace
from difflib import get_close_matches
from typing import TYPE_CHECKING

from pdsync.model import Guard
from pdsync.normal import blueprint_fields
from pdsync.plan.decide import is_system
from pdsync.plan.order import TARGETING
from pdsync.plan.parts import origins_of, with_origins
from pdsync.plan.readers import MIRRORS, OWNERSHIP, READ, Part, value_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from pdsync.errors import Origin
    from pdsync.model import Blueprint, Change, FieldChange

    InForce = Callable[[Mapping[str, Blueprint], Sequence[Change]], Mapping[str, Blueprint]]

MISSING = "missing-target"


def without_missing(
    changes: Sequence[Change], there: Mapping[str, Blueprint], in_force: InForce, catalog: Mapping[str, Blueprint]
) -> tuple[list[Change], list[Guard]]:
    """Changes of blueprints without the parts that cannot come, and what is said of those.

    `there` are the blueprints that Port lists, `catalog` tells where each part stands.  A path may lead through a part
    that is left out itself, so that is asked again until nothing more is found.
    """
    listed, guards = list(changes), list[Guard]()
    while True:
        after = in_force(there, listed)
        found = {
            (change.blueprint, each.path): why
            for change in listed
            if change.action in ("create", "update")
            for each in change.fields
            if each.after is not None and (why := _lack(Part(change.blueprint, each.path), each, after))
        }
        if not found:
            return listed, sorted(guards, key=lambda guard: (guard.blueprint, guard.detail))
        guards += [
            Guard(MISSING, name, f"{path.rsplit('.', 1)[-1]} is left out: {why}", origin=_place(name, path, catalog))
            for (name, path), why in found.items()
        ]
        listed = [_less(change, {path for name, path in found if name == change.blueprint}) for change in listed]


def _place(name: str, path: str, catalog: Mapping[str, Blueprint]) -> Origin | None:
    return catalog[name].origins.get(path) if name in catalog else None


def _lack(part: Part, field: FieldChange, after: Mapping[str, Blueprint]) -> str:
    """What a part names and nobody has; empty where it may come."""
    if part.path.startswith(TARGETING):
        return _nowhere(str(field.after.get("target")), after)
    if part.path.startswith(MIRRORS):
        *steps, last = str(field.after.get("path", "")).split(".")
        return _astray(part.blueprint, steps, last, after)
    if part.path == OWNERSHIP and field.after.get("type") == "Inherited":
        return _astray(part.blueprint, str(field.after.get("path", "")).split("."), "$team", after)
    return ""


def _nowhere(target: str, after: Mapping[str, Blueprint]) -> str:
    """That there is no such blueprint; empty where there is, or where that is not known."""
    if target in after or _is_unlisted(target, after):
        return ""
    return f"there is no blueprint {target}, neither in the catalog nor in Port{_meant(target, after)}"


def _is_unlisted(name: str, after: Mapping[str, Blueprint]) -> bool:
    return is_system(name) and not any(map(is_system, after))


def _astray(start: str, steps: Sequence[str], last: str, after: Mapping[str, Blueprint]) -> str:
    """Where a path along relations leads nowhere, `last` being what is read at its end; empty where it does not."""
    here = start
    for step in steps:
        relation = after[here].relations.get(step)
        if relation is None:
            return f"{here} has no relation {step}{_meant(step, after[here].relations)}"
        here = str(relation.get("target"))
        if here not in after:
            return _nowhere(here, after)
    if last.startswith("$") or any(value_of(Part(here, kind + last), after[here]) is not None for kind in READ):
        return ""
    named = (path for path in blueprint_fields(after[here].definition) if path.startswith(READ))
    return f"{here} has no property {last}{_meant(last, (path.rsplit('.', 1)[-1] for path in named))}"


def _meant(word: str, names: Iterable[str]) -> str:
    close = get_close_matches(word, sorted(names), n=1, cutoff=0.75)
    return f'; did you mean "{close[0]}"?' if close else ""


def _less(change: Change, gone: set[str]) -> Change:
    """The change without some of its fields: what Port has of them stays."""
    if not gone:
        return change
    assert change.ledger is not None
    left = {each.path: each.before for each in change.fields if each.path in gone}
    fields = {path: left.get(path, value) for path, value in change.ledger.fields.items()}
    kept = {path: value for path, value in fields.items() if value is not None}
    ledger = with_origins(replace(change.ledger, fields=kept), origins_of(change.ledger))
    return replace(change, fields=tuple(each for each in change.fields if each.path not in gone), ledger=ledger)
