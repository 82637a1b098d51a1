"""What keeps a plan from deleting what should stay.

Guards are computed from the final list of changes, never from a proxy.  Those about one entity come first (its
absence is not proven, it is protected, others require it); those about numbers count what is left.  A guard is
lifted narrowly and by number (`--allow-deletes pagerdutyService=31`), never as a whole.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pdsync.model import Change, Guard, Withheld
from pdsync.plan.decide import matches
from pdsync.plan.order import relation_targets

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pdsync.model import Blueprint, EntityKey, ExistingEntity, Ledger, Policy


NOT_READ = "incremental reading: its record was not read; run with --full"


@dataclass(frozen=True, slots=True)
class Removals:
    """Deletes and releases that may happen, those that are withheld, and the guards that fired."""

    allowed: tuple[Change, ...]
    withheld: tuple[Withheld, ...]
    guards: tuple[Guard, ...]


def guard_removals(
    removals: Iterable[Change],
    *,
    unproven: Mapping[str, str],
    not_read: frozenset[str],
    policy: Policy,
    ledger: Ledger,
    required_by: Mapping[EntityKey, list[EntityKey]],
    allow_deletes: Mapping[str, int],
    no_delete: bool,
) -> Removals:
    """Sort removals into allowed and withheld.

    `unproven` maps a blueprint to why no absence in it is proven; `not_read` are the source records that were taken
    over from an earlier snapshot; `required_by` maps a key to the entities that stay and require it; `allow_deletes` a
    blueprint to the number of deletes for which its limit is lifted.
    """
    withheld: list[Withheld] = []
    passed: list[Change] = []
    for change in removals:
        reason = _objection(change, unproven, policy, ledger, required_by)
        if reason is None and change.source in not_read and change.action != "forget":
            reason = NOT_READ
        if reason is None and no_delete and change.action == "delete":
            reason = "--no-delete was given"
        if reason is None:
            passed.append(change)
        else:
            withheld.append(Withheld(*change.key, change.title, reason, "--full" if reason == NOT_READ else ""))
    guards = _over_limit(passed, policy, ledger, allow_deletes)
    fired = {guard.blueprint: guard for guard in guards}
    stopped = [c for c in passed if c.action == "delete" and c.blueprint in fired]
    withheld += [Withheld(*c.key, c.title, "above the delete limit", fired[c.blueprint].flag) for c in stopped]
    allowed = tuple(c for c in passed if c.action != "delete" or c.blueprint not in fired)
    return Removals(allowed, tuple(sorted(withheld, key=lambda w: w.key)), (*_unproven(withheld, unproven), *guards))


def _objection(
    change: Change,
    unproven: Mapping[str, str],
    policy: Policy,
    ledger: Ledger,
    required_by: Mapping[EntityKey, list[EntityKey]],
) -> str | None:
    key, entry = change.key, ledger.entities.get(change.key)
    if change.blueprint in unproven and change.action != "forget":
        return "absence is not proven"
    if (entry is not None and entry.protect) or protected(key, policy):
        return "protected"
    if change.action == "delete" and required_by.get(key):
        names = ", ".join(map(str, required_by[key][:5]))
        more = len(required_by[key]) - 5
        return f"required by {names}" + (f" and {more} more" if more > 0 else "")
    return None


def protected(key: EntityKey, policy: Policy) -> bool:
    """Whether the policy's `protect` globs cover a key (`blueprint/identifier` or the blueprint alone)."""
    return matches(key, policy.protect)


def _over_limit(passed: list[Change], policy: Policy, ledger: Ledger, allow_deletes: Mapping[str, int]) -> list[Guard]:
    owned = Counter(key.blueprint for key in ledger.entities)
    deletes = Counter(change.blueprint for change in passed if change.action == "delete")
    guards = []
    for blueprint, count in sorted(deletes.items()):
        limit = policy.delete_limit(blueprint)
        above = count > limit.count and count * 100 > limit.percent * owned[blueprint]
        if above and allow_deletes.get(blueprint) != count:
            detail = (
                f"{count} of {owned[blueprint]} owned would be deleted, "
                f"the limit is {limit.count} and {limit.percent:g} %"
            )
            guards.append(Guard("delete-limit", blueprint, detail, f"--allow-deletes {blueprint}={count}"))
    return guards


def _unproven(withheld: list[Withheld], unproven: Mapping[str, str]) -> list[Guard]:
    blueprints = sorted({w.key.blueprint for w in withheld if w.reason == "absence is not proven"})
    return [Guard("absence-unproven", blueprint, unproven[blueprint]) for blueprint in blueprints]


def required_by(
    removed: set[EntityKey],
    existing: Mapping[EntityKey, ExistingEntity],
    overrides: Mapping[EntityKey, Change],
    blueprints: Mapping[str, Blueprint],
) -> dict[EntityKey, list[EntityKey]]:
    """Removed key -> entities that stay and require it, sorted.

    `overrides` are the updates of this plan: a required relation that they point elsewhere no longer counts.
    """
    required = {
        (name, f"relations.{relation}")
        for name, blueprint in blueprints.items()
        for relation, definition in blueprint.relations.items()
        if definition.get("required")
    }
    found: dict[EntityKey, list[EntityKey]] = {}
    for key, entity in existing.items():
        if key in removed:
            continue
        fields = {p: v for p, v in entity.fields.items() if (key.blueprint, p) in required}
        if key in overrides:
            fields |= {f.path: f.after for f in overrides[key].fields if (key.blueprint, f.path) in required}
        for _, target in relation_targets(fields, blueprints.get(key.blueprint)):
            if target in removed:
                found.setdefault(target, []).append(key)
    return {target: sorted(keys) for target, keys in found.items()}
