"""Blueprints under the decision table: part by part, so that parts others added are left alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import TYPE_CHECKING

from pdsync.diff import Difference, diff_fields
from pdsync.model import Blueprint, Change, EntityKey, FieldChange, Guard, LedgerEntry, Withheld
from pdsync.normal import blueprint_definition, blueprint_fields, same
from pdsync.plan.decide import Scope, all_causes, decide, is_system, main_cause, wanted_reason
from pdsync.plan.guards import NO_DELETE, PROTECTED_BEFORE, protected
from pdsync.plan.migrate import Migration, migrated, renamed_by_name
from pdsync.plan.missing import without_missing
from pdsync.plan.order import targets_of
from pdsync.plan.parts import (
    REQUIRED,
    note_of,
    origins_after,
    origins_of,
    released,
    required_after,
    stays,
    with_origins,
)
from pdsync.plan.readers import with_readers

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from collections.abc import Set as AbstractSet

    from pdsync.model import Action, Cause, Fields, Json
    from pdsync.plan.decide import Facts
    from pdsync.plan.migrate import Unfilled


SYSTEM_PARTS = ("schema.properties.", "relations.", "mirrorProperties.", "calculationProperties.", "aggregation")
"""What may be added to Port's own blueprints; their title and the like stay Port's."""


@dataclass(frozen=True, slots=True)
class BlueprintPlan:
    """What happens to blueprints: changes and guards, by blueprint what moves values, and those in force afterwards."""

    changes: tuple[Change, ...]
    guards: tuple[Guard, ...]
    migrations: Mapping[str, Migration]
    after: Mapping[str, Blueprint]

    @property
    def counted_on(self) -> frozenset[str]:
        """Blueprints that others can only change as planned if they are really deleted."""
        return frozenset(change.blueprint for change in self.changes if change.action == "delete" and change.fields)


def plan_blueprints(
    facts: Facts,
    scope: Scope,
    used: AbstractSet[str],
    staying: AbstractSet[str] = frozenset(),
    unfilled: Unfilled = frozenset(),
) -> BlueprintPlan:
    """Creates, updates, adopts, deletes and forgets of blueprints in scope, and what may not be done to them.

    A new blueprint in `used` is made though it is out of scope, with those that it relates to: entities in scope need
    it, and Port takes no relation to a blueprint that is not there.  `staying` are those whose delete will be withheld,
    `unfilled` what will not be written of what is mapped.
    """
    used = _with_targets(used, facts)
    changes: list[Change] = []
    migrations: dict[str, Migration] = {}
    drafts = [d for d in blueprint_drafts(facts) if scope.covers(d) or (d.action == "create" and d.blueprint in used)]
    leaving = {d.blueprint for d in drafts if d.action == "delete" and scope.covers(d)} - staying
    there, catalog = facts.existing.blueprints, facts.catalog.blueprints
    # What cannot come keeps nobody from having it, and is weighed no more.
    drafts, absent = without_missing(drafts, there, in_force, catalog)
    guards: list[Guard] = []
    for draft in drafts:
        change = draft
        if draft.action == "update":
            migration = migrated(draft.blueprint, draft.fields, facts, scope, leaving, unfilled=unfilled)
            migrations[draft.blueprint] = migration
            guards += migration.guards
            change = settled_for(draft, migration, facts)
        changes.append(change)
    changes, missing = without_missing(changes, there, in_force, catalog)
    guards += sorted([*absent, *missing], key=lambda guard: (guard.blueprint, guard.detail))
    changes = [as_release(c) for c in with_readers(changes, facts) if c.fields or c.action != "update"]
    return BlueprintPlan(tuple(changes), tuple(guards), migrations, in_force(there, changes))


def _with_targets(used: AbstractSet[str], facts: Facts) -> AbstractSet[str]:
    """Blueprints, and whatever those that are new relate to, directly or by others."""
    found: set[str] = set()
    waiting = [*used]
    while waiting:
        name = waiting.pop()
        if name not in found and name in facts.catalog.blueprints and name not in facts.existing.blueprints:
            found.add(name)
            waiting += [str(part.get("target")) for part in facts.catalog.blueprints[name].relations.values()]
    return found


def blueprint_drafts(facts: Facts) -> Iterator[Change]:
    """What the decision table says of every blueprint, before anything is weighed."""
    for identifier in sorted(facts.catalog.blueprints.keys() | facts.ledger.blueprints.keys()):
        blueprint = facts.catalog.blueprints.get(identifier)
        draft = _wanted_blueprint(blueprint, facts) if blueprint else _unwanted_blueprint(identifier, facts)
        if draft is not None:
            yield draft


def blueprints_after(facts: Facts) -> Mapping[str, Blueprint]:
    """The blueprints in force once everything is applied."""
    return plan_blueprints(facts, Scope(), frozenset()).after


def in_force(blueprints: Mapping[str, Blueprint], changes: Iterable[Change]) -> dict[str, Blueprint]:
    """The blueprints in force once the changes are done; one that is deleted stays, for what still speaks of it."""
    after = dict(blueprints)
    for change in changes:
        if change.action in ("create", "update"):
            have = after.get(change.blueprint)
            fields = blueprint_fields(have.definition) if have else {}
            for each in change.fields:
                fields.pop(each.moved_from, None)
                fields[each.path] = each.after
            after[change.blueprint] = Blueprint(change.blueprint, blueprint_definition(change.blueprint, fields))
    return after


def settled_for(draft: Change, migration: Migration, facts: Facts) -> Change:
    """The draft with the fields that may be written; the ledger keeps what Port keeps of the others."""
    assert draft.ledger is not None
    ours = draft.ledger.fields
    told = {each.path: each.after for each in migration.fields if each.after is None or each.path in ours}
    refused = {each.path: each.before for each in draft.fields if not _settled(each, migration)}
    fields = {**ours, **told, **{p: v for p, v in refused.items() if v is not None}}
    last = facts.ledger.blueprints.get(draft.blueprint)
    spoken = draft.ledger.fields.keys() | (last.fields.keys() if last else set())
    kept = {path: value for path, value in sorted(fields.items()) if value is not None and path in spoken}
    origins = {**origins_of(last), **origins_of(draft.ledger)}
    origins |= {f.path: origins[f.moved_from] for f in migration.fields if f.moved_from in origins}
    return replace(draft, fields=migration.fields, ledger=with_origins(replace(draft.ledger, fields=kept), origins))


def _settled(change: FieldChange, migration: Migration) -> bool:
    """Whether a field of a draft is written, or goes as the old name of one that is."""
    return any(change.path in (each.path, each.moved_from) for each in migration.fields)


def _wanted_blueprint(blueprint: Blueprint, facts: Facts) -> Change | None:
    identifier = blueprint.identifier
    have, last = facts.existing.blueprints.get(identifier), facts.ledger.blueprints.get(identifier)
    existing = blueprint_fields(have.definition) if have else {}
    wanted = blueprint_fields(blueprint.definition)
    if is_system(identifier):
        wanted = {path: value for path, value in wanted.items() if path.startswith(SYSTEM_PARTS)}
    target, left = _parts_after(identifier, wanted, existing, last, facts)
    wanted = {path: target[path] for path in wanted}
    differences = diff_fields(existing, target)
    protect = _is_protected(identifier, facts) or (last is not None and last.protect)
    settled = last is not None and same(dict(last.fields), wanted) and last.protect == protect
    action = decide(wanted=True, exists=have is not None, differs=bool(differences), last=last, settled=settled)
    if action is None:
        return None
    origin = "created" if action == "create" else last.origin if last else "adopted"
    entry = with_origins(LedgerEntry(wanted, origin, protect=protect), origins_after(wanted, existing, last))
    fields = (*(_blueprint_field(d, blueprint, last) for d in differences), *left)
    fields = tuple(sorted(fields, key=attrgetter("path")))
    cause = main_cause(fields, "drift" if action == "create" and last else "catalog")
    return as_release(
        Change(
            n=0,
            target="blueprint",
            action="update" if left else action,
            blueprint=identifier,
            identifier=identifier,
            title=str(wanted.get("title") or existing.get("title") or identifier),
            fields=fields,
            reason=wanted_reason(action, last),
            cause=cause,
            ledger=entry,
            causes=all_causes(cause, (c for f in fields for c in f.causes)),
        )
    )


def _parts_after(
    identifier: str, wanted: Fields, existing: Fields, last: LedgerEntry | None, facts: Facts
) -> tuple[Fields, list[FieldChange]]:
    """What the parts that are, or were, ours shall be (None: not there), and those that are let go of as they are."""
    applied = last.fields if last else {}
    renames = facts.catalog.project.policy.renames.get(identifier, {})
    named = renamed_by_name(existing, wanted, renames)
    left = released(identifier, last, wanted, existing, named) if last else set()
    going = applied.keys() - wanted.keys() - left
    target: Fields = {**dict.fromkeys(going), **wanted}
    required = required_after(wanted, existing, last, going)
    if REQUIRED in target or REQUIRED in left or not same(existing.get(REQUIRED), required):
        target[REQUIRED] = required
    left = {path for path in left if path not in target or same(existing[path], target[path])}
    fields = [_left(path, existing[path], note_of(identifier, last, path)) for path in sorted(left) if last]
    return {path: value for path, value in target.items() if path not in left}, fields


def _left(path: str, value: Json, note: str) -> FieldChange:
    return FieldChange(path, value, value, "catalog", note=note, causes=("catalog",))


RELEASED = "parts-released"
"""The reason of a change by which only parts of a blueprint are let go of."""


def as_release(change: Change) -> Change:
    """The change, called a release where it writes nothing and only lets go of parts."""
    if change.action != "update" or not change.fields or not all(stays(each) for each in change.fields):
        return change
    return replace(change, action="release", reason=RELEASED)


def _blueprint_field(difference: Difference, blueprint: Blueprint, last: LedgerEntry | None) -> FieldChange:
    path, before, after = difference
    applied = last.fields.get(path) if last else None
    drift = last is not None and path in last.fields and not same(before, applied)
    causes: tuple[Cause, ...] = ("catalog", "drift") if drift else ("catalog",)
    if drift and same(applied, after):
        causes = ("drift",)
    origin = blueprint.origins.get(path)
    return FieldChange(path, before, after, causes[0], str(origin) if origin else "", drift=drift, causes=causes)


def _unwanted_blueprint(identifier: str, facts: Facts) -> Change | None:
    last, have = facts.ledger.blueprints[identifier], facts.existing.blueprints.get(identifier)
    gone = have is None
    # Releasing an adopted blueprint would tear properties out of something that others use: it is only forgotten.
    ours = last.origin == "created" and not is_system(identifier)
    action: Action = "delete" if ours and not gone else "forget"
    title = str((have.definition if have else last.fields).get("title") or identifier)
    reason = "gone-from-port" if gone else "unmapped"
    causes: tuple[Cause, ...] = ("drift", "catalog") if gone else ("catalog",)
    return Change(0, "blueprint", action, identifier, identifier, title, (), reason, causes[0], causes=causes)


def blueprints_that_stay(
    changes: Iterable[Change],
    removals: Iterable[Change],
    blueprints: Mapping[str, Blueprint],
    facts: Facts,
    scope: Scope,
) -> tuple[list[Change], list[Withheld]]:
    """Take out deletes of blueprints that nobody wants, or that Port would refuse: it holds entities, others name it.

    `removals` are the removals of entities that will happen, `blueprints` those in force after the plan.
    """
    listed = list(changes)
    deleted = {c.key for c in removals if c.action == "delete"}
    holding = Counter(key.blueprint for key in facts.existing.entities if key not in deleted)
    withheld: dict[str, Withheld] = {}
    while True:
        gone = {c.blueprint for c in listed if c.action == "delete" and c.blueprint not in withheld}
        found = {
            name: reason
            for name in sorted(gone)
            if (reason := _kept(name, facts, scope) or _needed(name, gone, holding, blueprints))
        }
        if not found:
            break
        withheld |= {
            c.blueprint: Withheld(*c.key, c.title, found[c.blueprint], target="blueprint", why=c.reason)
            for c in listed
            if c.blueprint in found
        }
    kept = [c for c in listed if c.action != "delete" or c.blueprint not in withheld]
    return kept, [withheld[name] for name in sorted(withheld)]


def _kept(name: str, facts: Facts, scope: Scope) -> str:
    """Why a blueprint stays whatever holds or relates to it: the policy protects it, or did once; or nothing may go."""
    if _is_protected(name, facts):
        return "protected"
    if facts.ledger.blueprints[name].protect:
        return PROTECTED_BEFORE
    return NO_DELETE if scope.no_delete else ""


def _is_protected(name: str, facts: Facts) -> bool:
    """Whether `policy.protect` means a blueprint itself, by its name alone."""
    return protected(EntityKey(name, ""), facts.catalog.project.policy)


def _needed(name: str, gone: set[str], holding: Mapping[str, int], blueprints: Mapping[str, Blueprint]) -> str:
    """Why a blueprint cannot be deleted together with the others that go; empty when it can."""
    if holding[name]:
        return f"it would still hold {holding[name]} {'entity' if holding[name] == 1 else 'entities'}"
    for other in sorted(blueprints.keys() - gone):
        if name in targets_of(blueprints[other]):
            return f"{other} relates to it"
    return ""
