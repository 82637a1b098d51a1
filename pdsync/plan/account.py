"""Whose one entity is, what is known of it, and what a plan would do with it: what `explain` tells.

Everything here was found out already; this puts it in order and in words.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pdsync.model import Cause, EntityKey, EntityOrigin, FieldChange, Fields, Json
from pdsync.plan.guards import protected

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pdsync.model import Change, Plan, RunNote
    from pdsync.plan.decide import Facts

Standing = Literal["managed", "protected", "held", "withheld", "new", "to adopt", "released", "foreign", "gone"]
"""Ours; ours and never deleted; left as it is; its delete was not planned; to be made; to be taken over; no longer
ours; never ours; nowhere any more."""


@dataclass(frozen=True, slots=True)
class Live:
    """What Port holds of an entity: `fields` is None when it does not have it; who wrote it last, if that is told."""

    fields: Fields | None
    edited_by: str = ""
    edited_at: str = ""


@dataclass(frozen=True, slots=True)
class LastChange:
    """The last change of an entity that a journal here tells: in which run, and how it ended."""

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
    """What a plan would do with an entity now."""

    action: str
    reason: str
    causes: tuple[Cause, ...]
    fields: tuple[FieldChange, ...]


@dataclass(frozen=True, slots=True)
class FieldAccount:
    """One field: what the mapping says, what we last wrote, what Port holds; null stands for absent, too.

    `unknown` is why it cannot be found out what it should be, empty when it can.
    """

    path: str
    desired: Json
    applied: Json
    live: Json
    unknown: str = ""


@dataclass(frozen=True, slots=True)
class Account:
    """All there is to tell of one entity.

    `why` explains the standing; `origin` is the ledger's, None when it does not have it; `wanted` says whether the
    mapping makes it; `live` is None when Port was not asked; `next` when a plan would do nothing with it; `last` when
    no journal here tells of it.
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


_ORIGINS: Mapping[EntityOrigin, str] = {
    "created": "pdsync made it",
    "adopted": "somebody else had made it, pdsync took it over: once nothing makes it any more it is released",
    "integration": "Port's own PagerDuty integration had made it, pdsync took it over",
}
_LEFT = {"release": "released", "forget": "released", "delete": "gone"}
_NEW = {"create": "new", "adopt": "to adopt", "update": "to adopt"}


def account_of(key: EntityKey, facts: Facts, plan: Plan, live: Live | None, last: LastChange | None) -> Account:
    """What is known of an entity; `plan` is one over these facts that covers it."""
    want, entry = facts.desired.entities.get(key), facts.ledger.entities.get(key)
    change = _change(key, plan)
    also = dict(_standings(key, facts, plan, live, last))
    standing = next(iter(also))
    return Account(
        key=key,
        title=_title(want.fields if want else {}, entry.fields if entry else {}, live),
        standing=standing,
        why=also.pop(standing),
        origin=entry.origin if entry else None,
        source=want.source if want else entry.source if entry else "",
        rules=want.rules if want else entry.rules if entry else (),
        wanted=want is not None,
        fields=_fields(key, facts, live),
        live=live,
        next=NextChange(change.action, change.reason, change.causes or (change.cause,), tuple(change.fields))
        if change
        else None,
        last=last,
        also=tuple(f"{name}: {why}" for name, why in also.items()),
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


def _standings(
    key: EntityKey, facts: Facts, plan: Plan, live: Live | None, last: LastChange | None
) -> Iterator[tuple[Standing, str]]:
    """Everything that holds of an entity, what matters most first."""
    entry, change = facts.ledger.entities.get(key), _change(key, plan)
    yield from (("held", held.reason) for held in plan.held if held.key == key)
    yield from (("withheld", " ".join(filter(None, [w.reason, w.flag]))) for w in plan.withheld if w.key == key)
    if entry is not None:
        if protected(key, facts.catalog.project.policy):
            yield "protected", "`policy.protect` names it: it is never deleted"
        elif entry.protect:
            yield "protected", "an earlier `policy.protect` named it: it is never deleted"
        yield "managed", _ORIGINS[entry.origin]
    elif change is not None and change.action in _NEW:
        yield _not_ours_yet(change, live)
    elif last is not None and last.status == "done" and last.action in _LEFT:
        yield ("gone", f"deleted in {last.run}") if last.action == "delete" else ("released", f"in {last.run}")
    else:
        yield "foreign", "no mapping speaks of it, and the state does not have it: pdsync never touches it"


def _not_ours_yet(change: Change, live: Live | None) -> tuple[Standing, str]:
    if change.action == "create":
        asked = "Port does not have it yet" if live is not None else "the state does not have it; Port was not asked"
        return "new", asked
    return "to adopt", "Port has it, the mapping speaks of it: the next apply takes it over"


def _title(desired: Fields, applied: Fields, live: Live | None) -> str:
    held = live.fields if live and live.fields else {}
    return str(next((fields["title"] for fields in (desired, held, applied) if fields.get("title")), ""))


def _fields(key: EntityKey, facts: Facts, live: Live | None) -> dict[str, FieldAccount]:
    want, entry = facts.desired.entities.get(key), facts.ledger.entities.get(key)
    desired, unknown = (want.fields, want.unknown) if want else ({}, {})
    applied = entry.fields if entry else {}
    held = (live.fields or {}) if live else {}
    paths = sorted({*desired, *unknown, *applied} or {*held})
    return {
        path: FieldAccount(path, desired.get(path), applied.get(path), held.get(path), unknown.get(path, ""))
        for path in paths
    }
