"""What became of a write whose outcome is not known: told by what Port holds now.

Writes are by identifier and say the same however often they are sent, so one look decides.  What holds all that the
change would have written is done; what is as the plan saw it, or half-way between, is not, and may be done again;
anything else was touched by somebody since, and is left alone.  What was to be deleted and is there is only the same
thing when it is as it was (its birth included) right before the run: what was made anew since is not ours to delete.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import orjson

from pdsync.diff import Difference, diff_fields
from pdsync.model import ExistingEntity
from pdsync.normal import blueprint_fields, same
from pdsync.plan.parts import RELEASED
from pdsync.plan.saved import differences, saw, since_the_plan

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pdsync.model import Change, FieldChange, Fields, Image, Json, Plan


@dataclass(frozen=True, slots=True)
class Found:
    """What one look at a change's entity or blueprint tells; `why` says what is in the way of `other`.

    `begun`: a part of it is done; `first`: of an entity that takes two writes, all of the first one; `parts`: of a
    blueprint, the paths that are as they shall be and were not.
    """

    state: Literal["done", "undone", "other"]
    why: str = ""
    begun: bool = False
    first: bool = False
    parts: frozenset[str] = frozenset()


DONE, UNDONE, BEGUN = Found("done"), Found("undone"), Found("undone", begun=True)
FIRST = Found("undone", begun=True, first=True)


@dataclass(frozen=True, slots=True)
class Losses:
    """What a plan takes from relations by deleting what they point at, or by changing the relations themselves."""

    identifiers: frozenset[str] = frozenset()
    relations: frozenset[tuple[str, str]] = frozenset()


def losses_of(plan: Plan) -> Losses:
    """The identifiers of what a plan deletes, and blueprint and path of the relations that it changes.

    What comes in the place of what is renamed counts as well: what is deleted may point at it before.
    """
    deletes = [c for c in plan.changes if c.target == "entity" and c.action == "delete"]
    between = any(c.meanwhile for c in deletes)
    return Losses(
        frozenset([c.identifier for c in deletes] + ([c.twin for c in deletes if c.twin] if between else [])),
        frozenset((c.blueprint, f.path) for c in plan.changes if c.target == "blueprint" for f in c.fields),
    )


def settled(plan: Plan, change: Change, now: Image | None, before: str = "", losses: Losses | None = None) -> Found:
    """What became of a change, by what Port holds `now`; `before` is the `print_of` what was to be deleted.

    `losses` are those of the plan, where they are known already.
    """
    if change.action == "delete":
        return _deleted(change, now, before, losses or losses_of(plan))
    if change.action in ("adopt", "forget") or (change.action == "release" and change.target == "blueprint"):
        return _noted(change, now)
    fields = None if now is None else _fields(now)
    return _entity(plan, change, fields) if change.target == "entity" else _blueprint(change, fields)


def print_of(image: Image, blueprint: str, losses: Losses) -> str:
    """What tells an entity or a blueprint from any other, and from itself after a change by somebody else.

    Of an entity's relations what the run itself takes from them is left out: the target may clear a relation when what
    it points at is deleted.  So are the parts of a blueprint that it takes away before the blueprint itself.
    """
    fields = {path: value for path, value in _fields(image).items() if value is not None}
    if isinstance(image, ExistingEntity):
        fields = dict(_lasting(fields, blueprint, losses))
    else:
        fields = {path: value for path, value in fields.items() if (blueprint, path) not in losses.relations}
    return hashlib.blake2b(orjson.dumps([_born(image), fields], option=orjson.OPT_SORT_KEYS), digest_size=8).hexdigest()


def _lasting(fields: Fields, blueprint: str, losses: Losses) -> Iterator[tuple[str, Json]]:
    for path, value in fields.items():
        if not path.startswith("relations."):
            yield path, value
        elif (blueprint, path) not in losses.relations:
            listed = value if isinstance(value, list) else [value]
            left = sorted(str(each) for each in listed if each not in losses.identifiers)
            if left:
                yield path, left


def _fields(image: Image) -> Fields:
    return image.fields if isinstance(image, ExistingEntity) else blueprint_fields(image)


def _born(image: Image) -> Json:
    return image.created_at if isinstance(image, ExistingEntity) else image.get("createdAt")


def _deleted(change: Change, now: Image | None, before: str, losses: Losses) -> Found:
    if now is None:
        return DONE
    if not before:
        return Found("other", "whether it is still the same cannot be told: nobody noted what it was")
    same_thing = print_of(now, change.blueprint, losses) == before
    return UNDONE if same_thing else Found("other", "it was changed, or made anew, since this run began")


def _noted(change: Change, now: Image | None) -> Found:
    """Adopting and forgetting write nothing to Port; they stand as long as Port is as they say."""
    if change.ledger is None:
        return DONE if now is None or change.reason != "gone-from-port" else Found("other", "it is there again")
    if now is None:
        return Found("other", "it is gone")
    moved = [Difference(path, seen, has) for path, has, seen in diff_fields(_fields(now), change.ledger.fields)]
    return Found("other", since_the_plan(moved)) if moved else DONE


def _entity(plan: Plan, change: Change, now: Fields | None) -> Found:
    if now is None:
        return UNDONE if change.action == "create" else Found("other", "it is gone")
    if not diff_fields(now, {f.path: f.after for f in change.fields if f.note != RELEASED}):
        return DONE
    if change.action == "create":
        first = {f.path: f.after for f in change.fields if not f.deferred and f.after is not None}
        first |= dict(change.meanwhile)
        return Found("other", "it is there, but not as this run made it") if diff_fields(now, first) else FIRST
    if saw(plan, change, now):
        return UNDONE
    as_seen = {**now, **{f.path: f.before for f in change.fields}}
    if _half_way(change.fields, now) and saw(plan, change, as_seen):
        return BEGUN if diff_fields(now, {f.path: f.after for f in change.fields if not f.deferred}) else FIRST
    return Found("other", since_the_plan(_moved(plan, change, now)))


def _moved(plan: Plan, change: Change, now: Fields) -> list[Difference]:
    """What is neither as the plan saw it nor as it makes it."""
    made = dict(change.afters())
    found = differences(plan, change, now)
    return [each for each in found if each.path not in made or not same(each.after, made[each.path])]


def _blueprint(change: Change, now: Fields | None) -> Found:
    if now is None:
        return UNDONE if change.action == "create" else Found("other", "it is gone")
    target = {f.path: f.after for f in change.fields} | {f.moved_from: None for f in change.fields if f.moved_from}
    if not diff_fields(now, target) and not all(f.replace and same(f.before, f.after) for f in change.fields):
        return DONE
    if all(_on_its_way(field, now) for field in change.fields):
        if change.action == "create":
            return BEGUN
        there = (f for f in change.fields if same(now.get(f.path), f.after) and not same(f.before, f.after))
        parts = frozenset(field.path for field in there)
        return Found("undone", begun=bool(parts), parts=parts)
    return Found("other", "changed in Port since the plan")


def _half_way(fields: Sequence[FieldChange], now: Mapping[str, Json]) -> bool:
    return all(same(now.get(f.path), f.before) or same(now.get(f.path), f.after) for f in fields)


def _on_its_way(field: FieldChange, now: Mapping[str, Json]) -> bool:
    """A part of a blueprint may also be not there: under its old name, taken away to be made anew, or not yet made."""
    value = now.get(field.path)
    return value is None or same(value, field.before) or same(value, field.after)
