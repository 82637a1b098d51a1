"""The order of doing: blueprints, entities along relations, releases, deletes against them, blueprints last.

Every edge runs between full keys (blueprint and identifier), since identifiers repeat across blueprints.  Within a
wave, changes are sorted by key, so that equal inputs give equal orders on every hash seed.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from operator import attrgetter
from typing import TYPE_CHECKING

from pdsync.model import Change, EntityKey, FieldChange

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from pdsync.model import Blueprint, ExistingEntity, Fields, Json

    Edges = dict[EntityKey, dict[EntityKey, set[str]]]
    """Who waits for whom, and through which relation paths."""


def relation_targets(fields: Fields, blueprint: Blueprint | None) -> list[tuple[str, EntityKey]]:
    """(path, key of the target) for every relation value in `fields`, sorted."""
    if blueprint is None:
        return []
    return sorted(
        (path, EntityKey(str(relation["target"]), identifier))
        for name, relation in blueprint.relations.items()
        if (value := fields.get(path := f"relations.{name}")) is not None
        for identifier in _identifiers(value)
    )


def in_order(
    drafts: Sequence[Change], blueprints: Mapping[str, Blueprint], existing: Mapping[EntityKey, ExistingEntity]
) -> tuple[Change, ...]:
    """Number the changes in the order of doing, say what each waits for, and defer relations that close a cycle.

    `blueprints` are those in force after the plan; `existing` what Port holds now.
    """
    entity = _by_action(c for c in drafts if c.target == "entity")
    blueprint = _by_action(c for c in drafts if c.target == "blueprint")
    upserts, edges = _upserts(entity["create"] + entity["update"], blueprints)
    deletes, waits = _deletes(entity["delete"], blueprints, existing)
    listed = [
        *(c for action in ("create", "update", "adopt", "forget") for c in blueprint[action]),
        *upserts,
        *(c for action in ("adopt", "release", "forget") for c in entity[action]),
        *deletes,
        *_blueprint_deletes(blueprint["delete"], blueprints),
    ]
    return _numbered(listed, edges, waits, _moved_away(entity["update"], blueprints))


def _by_action(changes: Iterable[Change]) -> defaultdict[str, list[Change]]:
    actions: defaultdict[str, list[Change]] = defaultdict(list)
    for change in sorted(changes, key=attrgetter("blueprint", "identifier")):
        actions[change.action].append(change)
    return actions


def _upserts(changes: list[Change], blueprints: Mapping[str, Blueprint]) -> tuple[list[Change], Edges]:
    """Creates and updates, targets of relations first; relations that close a cycle are marked deferred."""
    created = {change.key for change in changes if change.action == "create"}
    edges: Edges = {change.key: _waits_for(change, blueprints.get(change.blueprint), created) for change in changes}
    order, deferred = _waves(edges, lambda key, path: not _required(blueprints.get(key.blueprint), path))
    by_key = {change.key: _defer(change, deferred.get(change.key, frozenset())) for change in changes}
    return [by_key[key] for key in order], edges


def _waits_for(change: Change, blueprint: Blueprint | None, created: set[EntityKey]) -> dict[EntityKey, set[str]]:
    fields = {path: after for path, after in change.afters() if path.startswith("relations.")}
    waits: dict[EntityKey, set[str]] = {}
    for path, key in relation_targets(fields, blueprint):
        if key in created:
            waits.setdefault(key, set()).add(path)
    return waits


def _defer(change: Change, paths: frozenset[str] | set[str]) -> Change:
    if not paths:
        return change
    return replace(change, fields=tuple(replace(f, deferred=f.path in paths) for f in change.fields))


def _waves(
    edges: Edges, may_defer: Callable[[EntityKey, str], bool]
) -> tuple[list[EntityKey], dict[EntityKey, set[str]]]:
    """Keys in an order in which each comes after those it waits for, and the paths that had to be deferred.

    Takes away from `edges` the waits that were deferred.
    """
    waiting = {key: set(targets) for key, targets in edges.items()}
    dependents: defaultdict[EntityKey, list[EntityKey]] = defaultdict(list)
    for key, targets in edges.items():
        for target in targets:
            dependents[target].append(key)
    order: list[EntityKey] = []
    deferred: dict[EntityKey, set[str]] = {}
    ready = sorted(key for key, targets in waiting.items() if not targets)
    while waiting:
        if not ready:
            key = _breakable(waiting, edges, may_defer)
            for target in sorted(waiting[key]):
                deferred.setdefault(key, set()).update(edges[key].pop(target))
            waiting[key] = set()
            ready = [key]
        order += ready
        ready = _release(ready, waiting, dependents)
    return order, deferred


def _release(
    done: list[EntityKey], waiting: dict[EntityKey, set[EntityKey]], dependents: Mapping[EntityKey, list[EntityKey]]
) -> list[EntityKey]:
    """Strike `done` from `waiting`; the keys that wait for nothing now, sorted."""
    freed = set()
    for key in done:
        del waiting[key]
    for key in done:
        for dependent in dependents.get(key, ()):
            if dependent in waiting:
                waiting[dependent].discard(key)
                if not waiting[dependent]:
                    freed.add(dependent)
    return sorted(freed)


def _breakable(
    waiting: Mapping[EntityKey, set[EntityKey]], edges: Edges, may_defer: Callable[[EntityKey, str], bool]
) -> EntityKey:
    """The member of a cycle to write first: one whose relations into the cycle are optional, the smallest such."""
    seen: list[EntityKey] = []
    key = min(waiting)
    while key not in seen:
        seen.append(key)
        key = min(waiting[key])
    cycle = seen[seen.index(key) :]
    optional = [k for k in cycle if all(may_defer(k, path) for t in waiting[k] for path in edges[k][t])]
    return min(optional or cycle)


def _required(blueprint: Blueprint | None, path: str) -> bool:
    relation = blueprint.relations.get(path.removeprefix("relations.")) if blueprint else None
    return bool(relation and relation.get("required"))


def _deletes(
    changes: list[Change], blueprints: Mapping[str, Blueprint], existing: Mapping[EntityKey, ExistingEntity]
) -> tuple[list[Change], Edges]:
    """Deletes, sources of relations before their targets."""
    by_key = {change.key: change for change in changes}
    edges: Edges = {key: {} for key in by_key}
    for key in by_key:
        fields = existing[key].fields if key in existing else {}
        for path, target in relation_targets(fields, blueprints.get(key.blueprint)):
            if target in by_key and target != key:
                edges[target].setdefault(key, set()).add(path)
    order, _ = _waves(edges, lambda _key, _path: True)
    return [by_key[key] for key in order], edges


def _blueprint_deletes(changes: list[Change], blueprints: Mapping[str, Blueprint]) -> list[Change]:
    """Blueprints that relate to others before those; in a circle, their relations are removed first."""
    by_key = {change.key: change for change in changes}
    edges: Edges = {key: {} for key in by_key}
    for key in by_key:
        for path, target in _related(key, blueprints):
            if target in by_key and target != key:
                edges[target].setdefault(key, set()).add(path)
    order, circular = _waves(edges, lambda _key, _path: True)
    return [_bare(by_key[key], blueprints) if circular else by_key[key] for key in order]


def _related(key: EntityKey, blueprints: Mapping[str, Blueprint]) -> list[tuple[str, EntityKey]]:
    definition = blueprints.get(key.blueprint)
    relations = definition.relations if definition else {}
    return [(f"relations.{name}", EntityKey(*[str(r["target"])] * 2)) for name, r in sorted(relations.items())]


def _bare(change: Change, blueprints: Mapping[str, Blueprint]) -> Change:
    relations = blueprints[change.blueprint].relations if change.blueprint in blueprints else {}
    fields = (
        FieldChange(f"relations.{n}", r, None, "catalog", causes=("catalog",)) for n, r in sorted(relations.items())
    )
    return replace(change, fields=tuple(fields))


def _moved_away(updates: list[Change], blueprints: Mapping[str, Blueprint]) -> dict[EntityKey, list[EntityKey]]:
    """Target of a relation before the plan -> the updates that point elsewhere after it."""
    moved: dict[EntityKey, list[EntityKey]] = {}
    for change in updates:
        before = {path: value for path, value in change.befores() if path.startswith("relations.")}
        for _, target in relation_targets(before, blueprints.get(change.blueprint)):
            moved.setdefault(target, []).append(change.key)
    return moved


def _numbered(
    changes: list[Change], edges: Edges, waits: Edges, moved: Mapping[EntityKey, list[EntityKey]]
) -> tuple[Change, ...]:
    """The changes with their numbers and those that each waits for."""
    upserts, deletes, schemas = {}, {}, {}
    for n, change in enumerate(changes, start=1):
        if change.target == "entity" and change.action in ("create", "update"):
            upserts[change.key] = n
        elif change.target == "entity" and change.action == "delete":
            deletes[change.key] = n
        elif change.target == "blueprint" and change.action in ("create", "update"):
            schemas[change.blueprint] = n

    def after(change: Change) -> set[int]:
        if change.target == "blueprint":
            wanted = change.action == "delete"
            return {n for key, n in deletes.items() if key.blueprint == change.blueprint} if wanted else set()
        own = {schemas[change.blueprint]} if change.blueprint in schemas else set()
        if change.action in ("create", "update"):
            return own | {upserts[key] for key in edges.get(change.key, ())}
        successor = EntityKey(change.blueprint, change.twin)
        comes = {upserts[successor]} if change.twin and successor in upserts else set()
        if change.action == "delete":
            gone = {deletes[key] for key in waits.get(change.key, ())}
            return gone | comes | {upserts[key] for key in moved.get(change.key, ()) if key in upserts}
        return comes

    return tuple(replace(change, n=n, after=tuple(sorted(after(change)))) for n, change in enumerate(changes, start=1))


def _identifiers(value: Json) -> list[str]:
    if isinstance(value, str):
        return [value]
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []
