"""Entities to be made that require each other in a circle: none can be the first.

Port wants the target of a relation to be there, and a required relation with the entity itself.  What it would make on
the way (`create_missing_related_entities`) is bare, and it does not promise to take a bare entity of a blueprint that
requires something.  So what is in such a circle is held; what only leads into one waits with it.

Where a member comes in the place of an entity that is still there, the others can point at that one until it is made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pdsync.plan.order import relation_targets

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping

    from pdsync.model import Blueprint, Change, EntityKey

    Circle = list[tuple[EntityKey, str]]
    """Its members, the smallest first: each requires the next one by this path, and the last one the first."""

    _Waits = dict[EntityKey, dict[EntityKey, str]]
    """What is to be made -> what of that it requires, and by which path."""


def required_circles(
    changes: Mapping[EntityKey, Change], blueprints: Mapping[str, Blueprint], standing: Container[EntityKey] = ()
) -> list[Circle]:
    """Circles that keep all of their members from being made; each entity is in one at most.

    `standing` are those of which the ones whose place they take are there until the end.
    """
    waits = _waits(changes, blueprints, standing)
    pointing: dict[EntityKey, list[EntityKey]] = {}
    for key, targets in waits.items():
        for target in targets:
            pointing.setdefault(target, []).append(key)
    _strike([key for key, targets in waits.items() if not targets], waits, pointing)
    circles: list[Circle] = []
    for key in sorted(waits):
        while key in waits:  # all that is left leads into a circle
            circles.append(_circle(key, waits))
            _strike([member for member, _ in circles[-1]], waits, pointing)
    return sorted(circles)


def _waits(
    changes: Mapping[EntityKey, Change], blueprints: Mapping[str, Blueprint], standing: Container[EntityKey]
) -> _Waits:
    required = {
        name: {f"relations.{r}" for r, part in blueprint.relations.items() if part.get("required")}
        for name, blueprint in blueprints.items()
    }
    new = {key: change for key, change in changes.items() if change.action == "create" and required.get(key.blueprint)}
    return {
        key: {
            target: path
            for path, target in relation_targets(dict(change.afters()), blueprints[key.blueprint])
            if path in required[key.blueprint] and target in new and target not in standing
        }
        for key, change in new.items()
    }


def _strike(done: Iterable[EntityKey], waits: _Waits, pointing: Mapping[EntityKey, list[EntityKey]]) -> None:
    """Take out what waits for nothing, and then what waited for that alone."""
    going = list(done)
    while going:
        key = going.pop()
        waits.pop(key, None)
        waiting = [other for other in pointing.get(key, ()) if other in waits]
        for other in waiting:
            waits[other].pop(key, None)
        going += [other for other in waiting if not waits[other]]


def _circle(start: EntityKey, waits: _Waits) -> Circle:
    """The first circle that one comes to by always going on to the smallest."""
    seen: dict[EntityKey, int] = {}
    key = start
    while key not in seen:
        seen[key] = len(seen)
        key = min(waits[key])
    members = list(seen)[seen[key] :]
    first = members.index(min(members))
    members = [*members[first:], *members[:first]]
    following = [*members[1:], members[0]]
    return [(member, waits[member][target]) for member, target in zip(members, following, strict=True)]
