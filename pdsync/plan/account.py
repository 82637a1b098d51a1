"""Whose one entity is, what is known of it, and what a plan would do with it: what `explain` tells.

Everything here was found out already; this puts it in order and in words.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from pdsync.diff import Place, inside
from pdsync.model import Cause, EntityKey, EntityOrigin, FieldChange, Fields, FieldsView, Json, Removal, makers
from pdsync.normal import desired_normaliser, same
from pdsync.plan.alone import LeftAlone
from pdsync.plan.blueprints import blueprints_after
from pdsync.plan.guards import GUARD_OF, protected
from pdsync.plan.order import relation_targets
from pdsync.plan.ownership import Ownership
from pdsync.plan.retention import Retention

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pdsync.model import Change, DesiredEntity, LedgerEntry, Plan, RunNote, Withheld
    from pdsync.plan.decide import Facts

Standing = Literal[
    "managed", "protected", "held", "withheld", "needed", "retained", "new", "to adopt", "released", "foreign", "gone"
]
"""Ours; ours and never deleted; left as it is; its delete was not planned; there for others alone; there although its
record left the list; to be made; to be taken over; no longer ours; never ours; nowhere any more."""

_NAMED = 3


@dataclass(frozen=True, slots=True)
class Live:
    """What Port holds of an entity: `fields` is None when it does not have it.

    Who wrote it last and when, who made it and when, as far as that is told.
    """

    fields: Fields | None
    edited_by: str = ""
    edited_at: str = ""
    made_by: str = ""
    made_at: str = ""


@dataclass(frozen=True, slots=True)
class LastChange:
    """The last change of an entity that a journal that is kept tells: in which run, and how it ended."""

    run: str
    started: str
    operation: str
    who: str
    commit: str
    link: str
    action: str
    reason: str
    status: str
    message: str
    causes: tuple[Cause, ...]
    fields: tuple[FieldChange, ...]


@dataclass(frozen=True, slots=True)
class NextChange:
    """What a plan would do with an entity now.

    `twin` is its other identifier when its record has a new one; `origin` the place in the catalog that makes it come
    or go.
    """

    action: str
    reason: str
    causes: tuple[Cause, ...]
    fields: tuple[FieldChange, ...]
    twin: str = ""
    origin: str = ""


@dataclass(frozen=True, slots=True)
class LeftInside:
    """A place inside a value that is left alone: what is desired there, and what Port has; null for nothing."""

    path: str
    desired: Json
    live: Json


@dataclass(frozen=True, slots=True)
class FieldAccount:
    """One field: what the mapping says, what we last wrote, what Port holds; null stands for absent, too.

    `unknown` is why it cannot be found out what it should be, empty when it can; `left_alone` says that Port's value
    is another one and stays, because `ignore_changes` covers it; of `left_inside` that is true inside the value.
    """

    path: str
    desired: Json
    applied: Json
    live: Json
    unknown: str = ""
    left_alone: bool = False
    left_inside: tuple[LeftInside, ...] = ()


@dataclass(frozen=True, slots=True)
class Account:
    """All there is to tell of one entity.

    `why` explains the standing; `origin` is the ledger's, None when it does not have it; `sources` are the records that
    make it, or made it last, each with its rules; `wanted` says whether the mapping makes it; `live` is None when Port
    was not asked; `next` when a plan would do nothing with it; `last` when no journal that is kept tells of it.
    """

    key: EntityKey
    title: str
    standing: Standing
    why: str
    origin: EntityOrigin | None
    source: str
    rules: tuple[str, ...]
    wanted: bool
    fields: Mapping[str, FieldAccount]
    live: Live | None = None
    next: NextChange | None = None
    last: LastChange | None = None
    also: tuple[str, ...] = ()
    sources: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


_ORIGINS: Mapping[EntityOrigin, str] = {
    "created": "pdsync made it",
    "adopted": "somebody else had made it, pdsync took it over",
    "integration": "Port's own PagerDuty integration had made it, pdsync took it over",
}
_ENDS: Mapping[Removal, str] = {"delete": "deleted", "release": "released", "forget": "forgotten"}
_LEFT = {"release": "released", "forget": "released", "delete": "gone"}
_NEW = {"create": "new", "adopt": "to adopt", "update": "to adopt"}


def account_of(key: EntityKey, facts: Facts, plan: Plan, live: Live | None, last: LastChange | None) -> Account:
    """What is known of an entity; `plan` is one over these facts that covers it."""
    want, entry = facts.desired.entities.get(key), facts.ledger.entities.get(key)
    change, made = _change(key, plan), want or entry
    also = dict(_standings(key, facts, plan, live, last))
    standing = next(iter(also))
    return Account(
        key=key,
        title=_title(want.fields if want else {}, entry.fields if entry else {}, live),
        standing=standing,
        why=also.pop(standing),
        origin=entry.origin if entry else None,
        source=made.source if made else "",
        rules=made.rules if made else (),
        wanted=want is not None,
        fields=_fields(key, facts, live),
        live=live,
        next=_next(change) if change else None,
        last=last,
        also=tuple(f"{name}: {why}" for name, why in also.items()),
        sources=dict(makers(made)) if made else {},
    )


def last_change(note: RunNote, change: Change, status: str, message: str) -> LastChange:
    """What a run did with an entity."""
    return LastChange(
        run=note.run,
        started=note.started,
        operation=note.operation,
        who=note.who,
        commit=note.commit,
        link=note.pull or note.link,
        action=change.action,
        reason=change.reason,
        status=status,
        message=message,
        causes=change.causes or (change.cause,),
        fields=tuple(change.fields),
    )


def _change(key: EntityKey, plan: Plan) -> Change | None:
    return next((c for c in plan.changes if c.target == "entity" and c.key == key), None)


def _next(change: Change) -> NextChange:
    causes = change.causes or (change.cause,)
    return NextChange(change.action, change.reason, causes, tuple(change.fields), change.twin, change.origin)


def _standings(
    key: EntityKey, facts: Facts, plan: Plan, live: Live | None, last: LastChange | None
) -> Iterator[tuple[Standing, str]]:
    """Everything that holds of an entity, what matters most first."""
    entry, change = facts.ledger.entities.get(key), _change(key, plan)
    held = [each.reason for each in plan.held if each.key == key]
    yield from (("held", reason) for reason in held)
    yield from (("withheld", _withheld(each, plan)) for each in plan.withheld if each.key == key)
    if entry is not None:
        if protected(key, facts.catalog.project.policy):
            yield "protected", "`policy.protect` names it: it is never deleted"
        elif entry.protect:
            yield "protected", "an earlier `policy.protect` named it: it is never deleted"
        if change is None and not held and key not in facts.desired.entities:
            yield from _kept(key, entry, facts)
        yield "managed", _owned(key, entry, facts)
    elif change is not None and change.action in _NEW:
        yield _not_ours_yet(change, facts, live)
    elif last is not None and last.status == "done" and last.action in _LEFT:
        yield ("gone", f"deleted in {last.run}") if last.action == "delete" else ("released", f"in {last.run}")
    elif not held:
        yield "foreign", "no mapping speaks of it, and the state does not have it: pdsync never touches it"


def _withheld(each: Withheld, plan: Plan) -> str:
    """Why a removal is withheld, with the numbers of the guard and the flag that lifts it."""
    guard = GUARD_OF.get(each.reason)
    details = [g.detail for g in plan.guards if (g.name, g.blueprint) == (guard, each.blueprint)]
    flag = f"; `{each.flag}` lets it through" if each.flag else ""
    return ": ".join([each.reason, *details]) + flag


def _kept(key: EntityKey, entry: LedgerEntry, facts: Facts) -> Iterator[tuple[Standing, str]]:
    """Why an entity of ours stays although no record makes it."""
    if pointing := pointing_at(key, facts):
        more = f" and {len(pointing) - _NAMED} more" if len(pointing) > _NAMED else ""
        named = ", ".join(map(str, pointing[:_NAMED]))
        yield "needed", f"no record makes it any more; it stays as long as {named}{more} points at it"
    elif Retention(facts.catalog.rules, facts.taken_at).age(key, entry) == "kept":
        yield "retained", "its record is too old for its list by now; `lifecycle.retention` keeps it"


def pointing_at(key: EntityKey, facts: Facts) -> list[EntityKey]:
    """What points at an entity, sorted: as the mapping says, or, where nothing makes it, as Port has it."""
    blueprints, desired, there = blueprints_after(facts), facts.desired.entities, facts.existing.entities
    left = facts.ledger.entities.keys() & there.keys() - desired.keys() - {key}
    sides = {other: want.fields for other, want in desired.items()} | {other: there[other].fields for other in left}
    return sorted(
        other
        for other, fields in sides.items()
        if any(target == key for _, target in relation_targets(fields, blueprints.get(other.blueprint)))
    )


def _not_ours_yet(change: Change, facts: Facts, live: Live | None) -> tuple[Standing, str]:
    if change.action == "create":
        told = "Port does not have it yet" if live is not None else "the state does not have it; Port was not asked"
        if change.reason != "stub":
            return "new", told
        pointing = pointing_at(change.key, facts)
        more = f" and {len(pointing) - _NAMED} more" if len(pointing) > _NAMED else ""
        return "new", f"{told}; no record makes it, {', '.join(map(str, pointing[:_NAMED]))}{more} points at it"
    told = "Port has it, the mapping makes it: the next apply takes it over"
    return "to adopt", f"{told}; {_before(change, facts)}"


def _owned(key: EntityKey, entry: LedgerEntry, facts: Facts) -> str:
    """Whose an entity was, and what becomes of it in the end where that goes without saying for what we made alone."""
    end = Ownership(facts).removal(key, entry)
    told = _ORIGINS[entry.origin]
    return told if (entry.origin, end) == ("created", "delete") else f"{told}; {_end(end)}"


def _before(change: Change, facts: Facts) -> str:
    """Who wrote an entity that is to be taken over, and what that means for its end."""
    if change.ledger is None:
        return ""
    if change.ledger.origin == "integration":
        told = "Port's own PagerDuty integration wrote it before"
    elif facts.around.diagnostics:
        told = "Port does not tell whether its own PagerDuty integration wrote it before"
    else:
        told = "somebody else wrote it before"
    return f"{told}; {_end(Ownership(facts).removal(change.key, change.ledger))}"


def _end(removal: Removal) -> str:
    return f"once nothing makes it any more it is {_ENDS[removal]}"


def _title(desired: FieldsView, applied: FieldsView, live: Live | None) -> str:
    held = live.fields if live and live.fields else {}
    return str(next((fields["title"] for fields in (desired, held, applied) if fields.get("title")), ""))


def _normal(want: DesiredEntity, facts: Facts) -> Fields:
    """What an entity shall be, spelled as Port's values are: a moment is the same in whatever zone."""
    blueprint = blueprints_after(facts).get(want.key.blueprint)
    return desired_normaliser(blueprint)(want.fields) if blueprint else want.fields


def _fields(key: EntityKey, facts: Facts, live: Live | None) -> dict[str, FieldAccount]:
    want, entry = facts.desired.entities.get(key), facts.ledger.entities.get(key)
    desired, unknown = (_normal(want, facts), want.unknown) if want else ({}, {})
    applied = entry.fields if entry else {}
    held = (live.fields or {}) if live else {}
    paths = sorted({*desired, *unknown, *applied} or {path for path, value in held.items() if value is not None})
    left_alone, rules = LeftAlone(facts.catalog.rules), want.rules if want else ()

    def account(path: str) -> FieldAccount:
        wanted, there = desired.get(path), held.get(path)
        differs = want is not None and path in held and not same(wanted, there)
        left = differs and left_alone.covers(rules, path)
        kept = left_alone.inside(rules, path, wanted, there) if differs else None
        places = inside(wanted, kept.value) or [Place("", wanted, kept.value)] if kept and kept.differing else ()
        told = tuple(LeftInside(place.path, place.before, place.after) for place in places)
        return FieldAccount(path, wanted, applied.get(path), there, unknown.get(path, ""), left, told)

    return {path: account(path) for path in paths}
