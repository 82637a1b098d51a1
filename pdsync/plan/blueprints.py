"""Blueprints under the decision table: part by part, so that parts others added are left alone."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from pdsync.diff import Difference, diff_fields
from pdsync.model import Blueprint, Change, FieldChange, Guard, LedgerEntry, Withheld
from pdsync.normal import blueprint_definition, blueprint_fields, same
from pdsync.plan.decide import decide, main_cause, wanted_reason

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pdsync.model import Action, Cause, Fields
    from pdsync.plan.decide import Facts


def blueprints_after(facts: Facts) -> dict[str, Blueprint]:
    """The blueprints in force once the plan is applied: Port's, with what the catalog says laid over them."""
    after = dict(facts.existing.blueprints)
    for identifier, blueprint in facts.catalog.blueprints.items():
        have = after.get(identifier)
        fields = {**(blueprint_fields(have.definition) if have else {}), **blueprint_fields(blueprint.definition)}
        last = facts.ledger.blueprints.get(identifier)
        for path in (last.fields if last else {}).keys() - blueprint_fields(blueprint.definition).keys():
            fields.pop(path, None)
        definition = blueprint_definition(identifier, fields)
        after[identifier] = Blueprint(identifier, definition, blueprint.origins)
    return after


def blueprint_changes(facts: Facts) -> tuple[list[Change], list[Guard]]:
    """Creates, updates, adopts, deletes and forgets of blueprints, and the fields that Port would refuse."""
    changes: list[Change] = []
    guards: list[Guard] = []
    for identifier in sorted(facts.catalog.blueprints.keys() | facts.ledger.blueprints.keys()):
        blueprint = facts.catalog.blueprints.get(identifier)
        change = _wanted_blueprint(blueprint, facts) if blueprint else _unwanted_blueprint(identifier, facts)
        if change is not None:
            change, refused = _without_type_changes(change)
            guards += refused
            changes += [change] if change.fields or change.action != "update" else []
    return changes, guards


def _wanted_blueprint(blueprint: Blueprint, facts: Facts) -> Change | None:
    identifier = blueprint.identifier
    have, last = facts.existing.blueprints.get(identifier), facts.ledger.blueprints.get(identifier)
    existing = blueprint_fields(have.definition) if have else {}
    wanted = blueprint_fields(blueprint.definition)
    applied = last.fields if last else {}
    target: Fields = {**dict.fromkeys(applied.keys() - wanted.keys()), **wanted}
    differences = diff_fields(existing, target)
    action = decide(
        wanted=True, exists=have is not None, differs=bool(differences), last=last, settled=applied == wanted
    )
    if action is None:
        return None
    origin = "created" if action == "create" else last.origin if last else "adopted"
    entry = LedgerEntry(wanted, origin, protect=last.protect if last else False)
    fields = tuple(_blueprint_field(d, blueprint, last) for d in differences)
    return Change(
        n=0,
        target="blueprint",
        action=action,
        blueprint=identifier,
        identifier=identifier,
        title=str(wanted.get("title") or identifier),
        fields=fields,
        reason=wanted_reason(action, last),
        cause=main_cause(fields, "drift" if action == "create" and last else "catalog"),
        ledger=entry,
    )


def _blueprint_field(difference: Difference, blueprint: Blueprint, last: LedgerEntry | None) -> FieldChange:
    path, before, after = difference
    applied = last.fields.get(path) if last else None
    drift = last is not None and not same(before, applied)
    cause: Cause = "drift" if drift and same(applied, after) else "catalog"
    origin = blueprint.origins.get(path)
    return FieldChange(path, before, after, cause, str(origin) if origin else "", drift=drift)


def _unwanted_blueprint(identifier: str, facts: Facts) -> Change | None:
    last, have = facts.ledger.blueprints[identifier], facts.existing.blueprints.get(identifier)
    gone = have is None
    # Releasing an adopted blueprint would tear properties out of something that others use: it is only forgotten.
    action: Action = "delete" if last.origin == "created" and not gone else "forget"
    title = str((have.definition if have else last.fields).get("title") or identifier)
    reason = "gone-from-port" if gone else "unmapped"
    cause: Cause = "drift" if gone else "catalog"
    return Change(0, "blueprint", action, identifier, identifier, title, (), reason, cause)


def _without_type_changes(change: Change) -> tuple[Change, list[Guard]]:
    """Port never changes the type of a property; such a field is left out and named."""

    def shape(value: object) -> object:
        return (value.get("type"), (value.get("items") or {}).get("type")) if isinstance(value, dict) else None

    refused = [
        f
        for f in change.fields
        if f.path.startswith("schema.properties.")
        and None not in (f.before, f.after)
        and shape(f.before) != shape(f.after)
    ]
    if not refused:
        return change, []
    guards = [
        Guard(
            "permanent-type",
            change.blueprint,
            f"{f.path.removeprefix('schema.properties.')}: Port keeps the type of a property for good "
            f"({f.before.get('type')} -> {f.after.get('type')}); use a new property, or remove it in one apply and "
            "add it in the next (its values are lost)",
        )
        for f in refused
    ]
    paths = {f.path for f in refused}
    applied = change.ledger.fields if change.ledger else {}
    entry = LedgerEntry(
        {p: v for p, v in applied.items() if p not in paths} | {f.path: f.before for f in refused},
        change.ledger.origin if change.ledger else "adopted",
    )
    return replace(change, fields=tuple(f for f in change.fields if f.path not in paths), ledger=entry), guards


def blueprints_that_stay(
    changes: Iterable[Change], removals: Iterable[Change], blueprints: Mapping[str, Blueprint], facts: Facts
) -> tuple[list[Change], list[Withheld]]:
    """Take out deletes of blueprints that Port would refuse: one that holds entities, or that others relate to.

    `removals` are the removals of entities that will happen, `blueprints` those in force after the plan.
    """
    listed = list(changes)
    deleted = {c.key for c in removals if c.action == "delete"}
    holding = Counter(key.blueprint for key in facts.existing.entities if key not in deleted)
    withheld: dict[str, Withheld] = {}
    while True:
        gone = {c.blueprint for c in listed if c.action == "delete" and c.blueprint not in withheld}
        found = {name: reason for name in sorted(gone) if (reason := _needed(name, gone, holding, blueprints))}
        if not found:
            break
        withheld |= {c.blueprint: Withheld(*c.key, c.title, found[c.blueprint]) for c in listed if c.blueprint in found}
    kept = [c for c in listed if c.action != "delete" or c.blueprint not in withheld]
    return kept, [withheld[name] for name in sorted(withheld)]


def _needed(name: str, gone: set[str], holding: Mapping[str, int], blueprints: Mapping[str, Blueprint]) -> str:
    """Why a blueprint cannot be deleted together with the others that go; empty when it can."""
    if holding[name]:
        return f"it would still hold {holding[name]} entities"
    relating = (b.identifier for b in blueprints.values() if b.identifier not in gone)
    for other in sorted(relating):
        if any(relation.get("target") == name for relation in blueprints[other].relations.values()):
            return f"{other} relates to it"
    return ""
