"""What keeps a plan from deleting what should stay.

Guards are computed from the final list of changes, never from a proxy.  Those about one entity come first (its
absence is not proven, it is protected, others require it); those about numbers count what is left: too many at once,
or all there are.  An entity that another one requires stays for as long as that one does, whatever keeps that.  A guard
is lifted narrowly and by number (`--allow-deletes pagerdutyService=31`), never as a whole.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

from pdsync.completeness import comes_and_goes
from pdsync.model import Blueprint, Change, EntityKey, Guard, Withheld, glance, sources_of
from pdsync.plan.decide import Facts, Scope, matches
from pdsync.plan.order import relation_targets
from pdsync.subdomain import is_another

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from collections.abc import Set as AbstractSet

    from pdsync.model import ExistingEntity, Fields, Policy

EMPTIED = 2
"""So many deletes that leave nothing of a blueprint are a guard's business; a single one is not told from chance."""
NAMED = 5
_REQUIRED = "required by"
_POINTED_AT = "pointed at by"


UNPROVEN = "absence is not proven"
NO_DELETE = "--no-delete was given"
PROTECTED_BEFORE = "protected by an earlier policy, until `pdsync state unprotect`"
NOT_READ = "incremental reading: its record was not read; run with --full"
MISSING = "its record is not listed any more, but may still be there"


@dataclass(frozen=True, slots=True)
class Removals:
    """Deletes and releases that may happen, those that are withheld, and the guards that fired."""

    allowed: tuple[Change, ...]
    withheld: tuple[Withheld, ...]
    guards: tuple[Guard, ...]


@dataclass(frozen=True, slots=True)
class Situation:
    """What guards look at beside the removals.

    `unproven` maps a blueprint to why no absence in it is proven, `updates` are those of the plan, `needed` are
    entities that nothing maps and that stay because a relation needs them, `blueprints` those in force afterwards.
    """

    facts: Facts
    scope: Scope
    unproven: Mapping[str, str]
    updates: Mapping[EntityKey, Change]
    needed: Collection[EntityKey]
    blueprints: Mapping[str, Blueprint]


_FLAGS = {NOT_READ: "--full"}
_NUMBERED = {
    "delete-limit": "above the delete limit",
    "empty-desired": "nothing would be left",
    "another-account": "PagerDuty is another account than it was made from",
}
GUARD_OF = {reason: name for name, reason in _NUMBERED.items()} | {UNPROVEN: "absence-unproven"}
"""The guard that tells more of why something is withheld, by the reason."""


def guard_removals(removals: Iterable[Change], situation: Situation) -> Removals:
    """Sort removals into allowed and withheld."""
    asked = {change.key: change for change in removals}
    reasons = {key: why for key, change in asked.items() if (why := _objection(change, situation))}
    needing = _needing(asked, reasons, situation)
    reasons |= _required(asked, reasons, needing)
    if situation.scope.no_delete:
        deletes = (key for key, change in asked.items() if change.action == "delete")
        reasons = dict.fromkeys(deletes, NO_DELETE) | reasons
    guards = {guard.blueprint: guard for guard in _by_number(asked, reasons, situation)}
    stopped = {key for key in _losses(asked, reasons) if key.blueprint in guards}
    reasons |= {key: _NUMBERED[guards[key.blueprint].name] for key in stopped}
    reasons |= _required(asked, reasons, needing)
    withheld = tuple(
        Withheld(
            *key,
            asked[key].title,
            reasons[key],
            guards[key.blueprint].flag if key in stopped else _flag(key, reasons[key], situation),
            why=asked[key].reason,
        )
        for key in sorted(reasons)
    )
    allowed = tuple(change for key, change in asked.items() if key not in reasons)
    return Removals(allowed, withheld, (*_unproven(withheld, situation.unproven), *guards.values()))


def _flag(key: EntityKey, reason: str, situation: Situation) -> str:
    """What lets one removal through."""
    if reason != MISSING:
        return _FLAGS.get(reason, "")
    doubted = sorted(situation.facts.missing.intersection(sources_of(situation.facts.ledger.entities[key])))
    return f"--accept-shrink {doubted[0].partition('/')[0]}"


def _losses(asked: Mapping[EntityKey, Change], reasons: Mapping[EntityKey, str]) -> list[EntityKey]:
    """What would go without another one in its place: the record of what is only renamed is there."""
    return [k for k, change in asked.items() if change.action == "delete" and not change.twin and k not in reasons]


def _objection(change: Change, situation: Situation) -> str | None:
    """What speaks against one removal by itself."""
    entry = situation.facts.ledger.entities.get(change.key)
    seen_to_go = change.reason == "gone-from-port" or bool(change.twin)  # PagerDuty need not say so
    if change.blueprint in situation.unproven and not seen_to_go:
        return UNPROVEN
    if protected(change.key, situation.facts.catalog.project.policy):
        return "protected"
    if entry is not None and entry.protect:
        return PROTECTED_BEFORE
    if entry is None or seen_to_go:
        return None
    records = sources_of(entry)
    if not situation.facts.not_read.isdisjoint(records):
        return NOT_READ
    return None if situation.facts.missing.isdisjoint(records) else MISSING


def protected(key: EntityKey, policy: Policy) -> bool:
    """Whether the policy's `protect` globs cover a key (`blueprint/identifier` or the blueprint alone)."""
    return bool(policy.protect) and matches(key, policy.protect)


def is_waiting(item: Withheld) -> bool:
    """Whether what is withheld would go one day by itself: no policy keeps it."""
    return item.target == "entity" and item.reason not in {"protected", PROTECTED_BEFORE}


def _by_number(
    asked: Mapping[EntityKey, Change], reasons: Mapping[EntityKey, str], situation: Situation
) -> Iterator[Guard]:
    """Guards over how many of a blueprint would go."""
    policy, owned = situation.facts.catalog.project.policy, situation.facts.ledger.entities
    for blueprint, count in sorted(Counter(key.blueprint for key in _losses(asked, reasons)).items()):
        flag, limit = f"--allow-deletes {blueprint}={count}", policy.delete_limit(blueprint)
        given = situation.scope.allow_deletes.get(blueprint)
        but = f"; {given} were allowed" if given is not None else ""
        total = sum(key.blueprint == blueprint for key in owned)
        if given == count:
            continue
        if is_another(situation.facts.ledger, now := situation.facts.account):
            detail = f"PagerDuty is {now}, not {situation.facts.ledger.account}"
            yield Guard("another-account", blueprint, f"{detail}, {count} of {total} owned would be deleted{but}", flag)
            continue
        if count >= EMPTIED and limit.empty == "withhold" and (why := _emptied(blueprint, asked, situation)):
            detail = f"{why}, {count} of {total} owned would be deleted{but}"
            yield Guard("empty-desired", blueprint, detail, flag)
        elif count > limit.count and count * 100 > limit.percent * total:
            detail = f"{count} of {total} owned would be deleted, the limit is {limit.count} and {limit.percent:g} %"
            yield Guard("delete-limit", blueprint, f"{detail}{but}", flag)


def _emptied(blueprint: str, asked: Mapping[EntityKey, Change], situation: Situation) -> str:
    """In words, that nothing of a blueprint would be left; or nothing at all of what is owned."""
    if _is_emptied(blueprint, asked, situation):
        return "nothing is desired any more"
    if _is_replaced(blueprint, asked, situation):
        return "PagerDuty has nothing any more of all that is owned (is it another account?)"
    return ""


def _is_replaced(blueprint: str, asked: Mapping[EntityKey, Change], situation: Situation) -> bool:
    """Whether the records are gone that all that is owned was made from, and others are in their place.

    Where only incidents and the like are mapped, that is so every day.
    """
    facts, owned = situation.facts, situation.facts.ledger.entities
    by_source = all(c.reason == "gone-from-source" for key, c in asked.items() if key.blueprint == blueprint)
    lost = (source for key in asked.keys() & owned.keys() for source in sources_of(owned[key]))
    lasting = {rule.kind for rule in facts.catalog.rules if not comes_and_goes(rule.query)}
    if not (by_source and facts.desired.entities and any(source.partition("/")[0] in lasting for source in lost)):
        return False
    stays = (key for key in owned if key in facts.existing.entities and (key not in asked or asked[key].twin))
    return all(key in situation.needed for key in stays)


def _is_emptied(blueprint: str, asked: Mapping[EntityKey, Change], situation: Situation) -> bool:
    """Whether nothing of a blueprint is mapped, and nothing of ours there is kept for another reason.

    What stays only because a relation needs it is no sign that the mapping works.
    """
    facts = situation.facts
    if any(key.blueprint == blueprint for key in facts.desired.entities):
        return False
    stays = facts.ledger.entities.keys() & facts.existing.entities.keys()
    return not any(key.blueprint == blueprint and key not in asked and key not in situation.needed for key in stays)


def _unproven(withheld: Iterable[Withheld], unproven: Mapping[str, str]) -> list[Guard]:
    blueprints = sorted({w.key.blueprint for w in withheld if w.reason == UNPROVEN})
    return [Guard("absence-unproven", blueprint, unproven[blueprint]) for blueprint in blueprints]


# --- what others require ---------------------------------------------------------------------------------------


Needing = Mapping[EntityKey, Mapping[EntityKey, bool]]
"""Key -> what needs that entity to stay -> whether it requires it, or only points at it."""


def _required(
    asked: Mapping[EntityKey, Change], reasons: Mapping[EntityKey, str], needing: Needing
) -> dict[EntityKey, str]:
    """Deletes that something which stays needs, with what that is; what stays for that keeps others in turn."""
    found: dict[EntityKey, str] = {}
    while True:
        gone = {k for k, c in asked.items() if c.action == "delete" and k not in reasons and k not in found}
        staying = {k: {by: hard for by, hard in needing.get(k, {}).items() if by not in gone} for k in gone}
        more = {key: _named(by) for key, by in staying.items() if by}
        if not more:
            renamed = {key for key in gone if asked[key].twin}
            return found | _in_a_circle(gone - renamed, needing)
        found |= more


def _in_a_circle(gone: set[EntityKey], needing: Needing) -> dict[EntityKey, str]:
    """Of what goes, what cannot go first: it and what requires it require each other.

    What is renamed can: what requires it can point at what came in its place before it goes itself.
    """
    left = {
        key: {by for by, hard in needing[key].items() if hard and by in gone} for key in sorted(gone & needing.keys())
    }
    while free := [key for key, by in left.items() if not by & left.keys()]:
        for key in free:
            del left[key]
    return {
        key: f"{_named(dict.fromkeys(by & left.keys(), True))} in a circle; make a relation of it optional first"
        for key, by in left.items()
    }


def _named(by: Mapping[EntityKey, bool]) -> str:
    required = any(by.values())
    keys = sorted(key for key, hard in by.items() if hard == required)
    more = len(keys) - NAMED
    named = ", ".join(map(str, keys[:NAMED])) + (f" and {more} more" if more > 0 else "")
    return f"{_REQUIRED if required else _POINTED_AT} {named}"


def is_required(withheld: Withheld) -> bool:
    """Whether something is withheld because others require it."""
    return withheld.reason.startswith(_REQUIRED)


def is_pointed_at(withheld: Withheld) -> bool:
    """Whether something that a relation needed is withheld because others, which stay, point at it."""
    return withheld.reason.startswith(_POINTED_AT)


def _needing(asked: Mapping[EntityKey, Change], reasons: Mapping[EntityKey, str], situation: Situation) -> Needing:
    """Of what is to be deleted, what needs it once the plan's updates are done.

    What was only made because a relation needs it is needed by whatever points at it and is ours then, too.
    """
    deletes = {key for key, change in asked.items() if change.action == "delete"}
    left = {key for key, change in asked.items() if change.action != "delete" and key not in reasons}
    owned = situation.facts.ledger.entities
    stubs = {key for key in deletes if key in owned and not owned[key].source}
    required = {
        name: {f"relations.{r}" for r, definition in blueprint.relations.items() if definition.get("required")}
        for name, blueprint in situation.blueprints.items()
    }
    looked_at = {
        name: {f"relations.{relation}" for relation in situation.blueprints[name].relations} if stubs else paths
        for name, paths in required.items()
    }
    found: dict[EntityKey, dict[EntityKey, bool]] = {}
    held = situation.facts.existing.entities
    besides = situation.facts.around.dependents
    for key, entity in chain(held.items(), besides.items()) if deletes else ():
        if paths := looked_at.get(key.blueprint):
            fields = _afterwards(key, entity, paths, situation)
            for path, target in relation_targets(fields, situation.blueprints[key.blueprint]):
                hard = path in required[key.blueprint]
                needs = hard or (target in stubs and key in owned and key not in left)
                if needs and target in deletes and target != key:
                    by = found.setdefault(target, {})
                    by[key] = hard or by.get(key, False)
    return found


def _afterwards(key: EntityKey, entity: ExistingEntity, paths: AbstractSet[str], situation: Situation) -> Fields:
    """Some relations of an entity as they are after the plan."""
    fields = {path: value for path, value in glance(entity).items() if path in paths}
    update = situation.updates.get(key)
    return fields | {f.path: f.after for f in update.fields if f.path in paths} if update else fields
