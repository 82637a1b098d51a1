"""A plan that was kept: whether it is still exact.

What a plan saw of an entity is a digest over the paths that it writes or that we own, so that any edit by others is
noticed, also one that the plan would not have touched.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING

import orjson

from pdsync.diff import Difference, diff_fields
from pdsync.model import ExistingEntity
from pdsync.normal import blueprint_fields
from pdsync.plan.migrate import entity_path
from pdsync.plan.parts import RELEASED
from pdsync.plan.wording import moved_fields

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from pdsync.model import Blueprint, Change, EntityKey, Existing, Fields, Json, Plan

    Names = Mapping[tuple[str, str], str]
    """Blueprint and entity path after a plan -> the path before, for what the plan renames."""


def with_seen(changes: Iterable[Change], existing: Existing) -> tuple[Change, ...]:
    """The changes, each with what was seen of its entity or blueprint."""
    listed = tuple(changes)
    names, anew = names_before(listed), _made_anew(listed)

    def seen(change: Change) -> str:
        if change.target == "blueprint":
            return _blueprint_digest(change, existing.blueprints.get(change.blueprint))
        return _digest(existing.entities.get(change.key), change, names, anew)

    return tuple(replace(change, seen=seen(change)) if change.action != "create" else change for change in listed)


def paths_seen(change: Change) -> frozenset[str]:
    """The paths that a change of an entity writes or that we own, by their names after the plan."""
    written = (f.path for f in change.fields if change.target == "blueprint" or f.note != RELEASED)
    return frozenset([*written, *(change.ledger.fields if change.ledger else ())])


def paths_to_read(plan: Plan) -> dict[str, set[str]]:
    """Blueprint -> the paths by which to tell whether its entities are as the plan saw them."""
    names = names_before(plan.changes)
    wanted: dict[str, set[str]] = {}
    for change in plan.changes:
        if change.target == "entity":
            paths = wanted.setdefault(change.blueprint, {"title"})
            paths.update(names.get((change.blueprint, path), path) for path in paths_seen(change))
    return wanted


def moved(plan: Plan, existing: Existing) -> dict[str, tuple[Difference, ...]]:
    """What is no longer as the plan saw it: entities and blueprints by name, each with what the plan saw and what is.

    None where something moved of which it is not known what it was: of an entity that is gone, or is there already.
    """
    names, anew = names_before(plan.changes), _made_anew(plan.changes)
    found: dict[str, tuple[Difference, ...]] = {}
    for change in plan.changes:
        if change.target == "blueprint":
            if (differing := _parts_differing(change, existing.blueprints.get(change.blueprint))) is not None:
                found[change.blueprint] = differing
        elif (differing := _differing(change, existing.entities.get(change.key), names, anew)) is not None:
            found[str(change.key)] = differing
    return found


def moved_since(plan: Plan, changes: Sequence[Change], now: Mapping[EntityKey, ExistingEntity]) -> dict[int, str]:
    """Number of a change -> why its entity, as it is right before the write, is not the one that the plan saw."""
    names: Names = {}
    anew = _made_anew(plan.changes)
    gone = {c.identifier for c in plan.changes if c.target == "entity" and c.action == "delete"}
    told: dict[int, str] = {}
    for change in changes:
        have = now.get(change.key)
        if (change.action == "create") != (have is None):
            told[change.n] = "it is there already" if have else "it is gone"
        elif (
            have is not None and _digest(now_has := _with_lost(have, change, gone), change, names, anew) != change.seen
        ):
            told[change.n] = since_the_plan(_differences(change, now_has, names, anew))
    return told


def since_the_plan(differences: Sequence[Difference]) -> str:
    """That something is not as the plan saw it, with what moved as far as that is known."""
    moved = moved_fields(differences)
    return f"changed in Port since the plan{f': {moved}' if moved else ''}"


def _with_lost(have: ExistingEntity, change: Change, gone: Collection[str]) -> ExistingEntity:
    """What goes, with what Port took from its relations when the plan deleted what they point at.

    So are those that the plan lets point elsewhere before that.
    """
    if change.action != "delete":
        return have
    between, now = dict(change.meanwhile), have.fields
    lost = {
        path: before
        for path, before in change.befores()
        if path.startswith("relations.")
        and (
            _only_lost(_members(before), _members(now.get(path)), gone)
            or (path in between and _only_lost(_members(between[path]), _members(now.get(path)), gone))
        )
    }
    return ExistingEntity({**have.fields, **lost})


def _only_lost(before: Collection[Json], now: Collection[Json], gone: Collection[str]) -> bool:
    return all(each in before for each in now) and all(each in now or each in gone for each in before)


def _members(relation: Json) -> list[Json]:
    if relation is None:
        return []
    return relation if isinstance(relation, list) else [relation]


def parts_moved_since(changes: Iterable[Change], now: Mapping[str, Blueprint]) -> dict[int, str]:
    """Number of a change -> why its blueprint, as it is right before its first write, is not as the plan saw it."""
    told: dict[int, str] = {}
    for change in changes:
        have = now.get(change.blueprint)
        if (differing := _parts_differing(change, have)) is None:
            continue
        if (change.action == "create") == (have is not None):
            told[change.n] = "it is there already" if have else "it is gone"
        else:
            told[change.n] = since_the_plan(differing) if differing else f"{since_the_plan(())}: what of it is ours"
    return told


def saw(plan: Plan, change: Change, fields: Fields) -> bool:
    """Whether an entity with these values is the one that the plan saw."""
    return _digest(ExistingEntity(fields), change, {}, _made_anew(plan.changes)) == change.seen


def differences(plan: Plan, change: Change, fields: Fields) -> tuple[Difference, ...]:
    """Of an entity with these values, what is not as the plan saw it, as far as that is known."""
    return _differences(change, ExistingEntity(fields), {}, _made_anew(plan.changes))


def _differing(
    change: Change, have: ExistingEntity | None, names: Names, anew: frozenset[tuple[str, str]]
) -> tuple[Difference, ...] | None:
    """What is not as planned, None when all is as planned."""
    if have is None or change.action in ("create", "forget"):
        return _amiss(change, there=have is not None)
    if written := _of_written(change, have, names):
        return written
    return None if _digest(have, change, names, anew) == change.seen else _of_owned(change, have, names, anew)


def _differences(
    change: Change, have: ExistingEntity, names: Names, anew: frozenset[tuple[str, str]]
) -> tuple[Difference, ...]:
    return _of_written(change, have, names) or _of_owned(change, have, names, anew)


def _of_written(change: Change, have: ExistingEntity, names: Names) -> tuple[Difference, ...]:
    """Of the fields that a change writes, those that are not as the plan saw them."""
    before = {names.get((change.blueprint, f.path), f.path): f.before for f in change.fields if f.note != RELEASED}
    return tuple(Difference(path, seen, now) for path, now, seen in diff_fields(have.fields, before))


def _of_owned(
    change: Change, have: ExistingEntity, names: Names, anew: frozenset[tuple[str, str]]
) -> tuple[Difference, ...]:
    """Of the fields that are ours and that a change does not write, those that are not as the plan saw them.

    They were as they were last written, unless their values could not be found out: the digest of what the plan saw
    tells which it was.
    """
    written = {field.path for field in change.fields}
    owned = change.ledger.fields if change.ledger else {}
    before = {names.get((change.blueprint, p), p): value for p, value in owned.items() if p not in written}
    if _digest(ExistingEntity({**have.fields, **before}), change, names, anew) != change.seen:
        return ()
    return tuple(Difference(path, seen, now) for path, now, seen in diff_fields(have.fields, before))


def _amiss(change: Change, *, there: bool) -> tuple[Difference, ...] | None:
    """None when what is there, or is not, is so as planned; what is only let go of may be there or not."""
    if change.action == "create":
        return () if there else None
    if change.action == "forget":
        return () if there and change.reason == "gone-from-port" else None
    return None if there else ()


def _parts_differing(change: Change, have: Blueprint | None) -> tuple[Difference, ...] | None:
    """The parts of a blueprint that are not as planned, None when all is as planned."""
    if have is None or change.action in ("create", "forget"):
        return _amiss(change, there=have is not None)
    before = {f.moved_from or f.path: f.before for f in change.fields}
    if moved := diff_fields(blueprint_fields(have.definition), before):
        return tuple(Difference(path, seen, now) for path, now, seen in moved)
    return None if _blueprint_digest(change, have) == change.seen else _parts_of_ours(change, have)


def _parts_of_ours(change: Change, have: Blueprint) -> tuple[Difference, ...]:
    """Of the parts that are ours and that a change does not write, those that are not as they were last written.

    None where that is not all there is to it: the digest of what the plan saw tells.
    """
    written = {path for field in change.fields for path in (field.path, field.moved_from)}
    owned = change.ledger.fields if change.ledger else {}
    before = {path: value for path, value in owned.items() if path not in written}
    now = blueprint_fields(have.definition)
    if _digest_of(_parts_seen(change, {**now, **before})) != change.seen:
        return ()
    return tuple(Difference(path, seen, there) for path, there, seen in diff_fields(now, before))


def _blueprint_digest(change: Change, have: Blueprint | None) -> str:
    return _digest_of(_parts_seen(change, blueprint_fields(have.definition))) if have is not None else ""


def _parts_seen(change: Change, parts: Fields) -> Fields:
    """What a plan stands on of a blueprint: the parts that it writes or that are ours; of one that goes, all of it."""
    if change.action != "delete":
        names = {f.path: f.moved_from for f in change.fields if f.moved_from}
        wanted = {names.get(path, path) for path in paths_seen(change)}
        return {path: value for path, value in parts.items() if path in wanted}
    return parts


def _digest(have: ExistingEntity | None, change: Change, names: Names, anew: frozenset[tuple[str, str]]) -> str:
    if have is None:
        return ""
    fields: Fields = {
        # A blueprint that the plan changes may make a list of a single relation, or the other way round.
        path: [value] if path.startswith("relations.") and isinstance(value, str) else value
        for path in paths_seen(change)
        if (change.blueprint, path) not in anew
        and (value := have.fields.get(names.get((change.blueprint, path), path))) is not None
    }
    return _digest_of(fields)


def _digest_of(fields: Fields) -> str:
    return hashlib.blake2b(orjson.dumps(fields, option=orjson.OPT_SORT_KEYS), digest_size=8).hexdigest()


def names_before(changes: Iterable[Change]) -> Names:
    """By what plans do to blueprints: the names that entities' paths have before, by those they have afterwards."""
    return {
        (change.blueprint, entity_path(field.path)): entity_path(field.moved_from)
        for change in changes
        if change.target == "blueprint"
        for field in change.fields
        if field.moved_from
    }


def _made_anew(changes: Iterable[Change]) -> frozenset[tuple[str, str]]:
    """Blueprint and path of values that are gone by the time entities are written."""
    return frozenset(
        (change.blueprint, entity_path(field.path))
        for change in changes
        if change.target == "blueprint"
        for field in change.fields
        if field.replace
    ) | frozenset((change.blueprint, "team") for change in changes if _moves_teams(change))


def _moves_teams(change: Change) -> bool:
    """Whether a blueprint's entities have their own team before it and not after, or the other way round."""
    return change.target == "blueprint" and any(field.path == "ownership" for field in change.fields)
