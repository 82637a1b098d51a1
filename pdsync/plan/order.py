"""The order of doing: blueprints, entities along relations, releases, deletes against them, blueprints last.

Every edge runs between full keys (blueprint and identifier), since identifiers repeat across blueprints.  Within a
wave, changes are sorted by key, so that equal inputs give equal orders on every hash seed.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from functools import lru_cache, partial
from itertools import groupby, repeat
from operator import attrgetter, itemgetter
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

from pdsync.model import EntityKey, FieldChange, FieldChanges, number
from pdsync.normal import blueprint_fields
from pdsync.plan.readers import read_along, readers_last

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from pdsync.model import Blueprint, Change, ExistingEntity, FieldsView, Json

    _Wait = tuple[EntityKey, str, EntityKey]
    _Waits = tuple[tuple[EntityKey, frozenset[str]], ...]

    _MayDefer = Callable[[EntityKey, str, EntityKey], bool]
    """Whether one may go before another that it waits for through a path."""

    Edges = dict[EntityKey, _Waits]
    """Who waits for whom, and through which relation paths; equal ones are one, since most wait for a few."""


TARGETING = ("relations.", "aggregationProperties.")
"""Parts of a blueprint that keep Port from deleting the blueprint that they name."""
BETWEEN = (*TARGETING, "mirrorProperties.", "ownership")
"""Parts that only make sense while other blueprints are there."""


def relation_targets(fields: FieldsView, blueprint: Blueprint | None) -> Sequence[tuple[str, EntityKey]]:
    """(path, key of the target) for every relation value in `fields`, sorted."""
    return _pointed_at(_relations(blueprint), fields.get) if blueprint else ()


def targeting(blueprint: Blueprint) -> Callable[[FieldsView], Sequence[tuple[str, EntityKey]]]:
    """`relation_targets` for many entities of one blueprint: one object for all that point at the same."""
    shape = _Shape[str](_relations(blueprint))
    return lambda fields: shape.pointed_at(fields.get)


class Pointers:
    """What changes point at, once they are made: the same for very many, which get one object.

    Args:
        blueprints: those in force then.
    """

    def __init__(self, blueprints: Mapping[str, Blueprint]) -> None:
        self._relations = {name: _relations(blueprint) for name, blueprint in blueprints.items()}
        self._shapes: dict[tuple[str, tuple[str, ...]], _Shape[int]] = {}

    def of(self, change: Change) -> Sequence[tuple[str, EntityKey]]:
        """`relation_targets` of what a change writes."""
        assert isinstance(change.fields, FieldChanges)
        paths, _, afters, _ = change.fields.columns()
        shape = self._shapes.get((change.blueprint, paths))
        if shape is None:
            relations = self._relations.get(change.blueprint, ())
            places = [(paths.index(path), path, to) for _, path, to in relations if path in paths]
            shape = self._shapes[change.blueprint, paths] = _Shape[int](places)
        return shape.pointed_at(afters.__getitem__)


_Place = TypeVar("_Place")


class _Shape(Generic[_Place]):
    """What values point at; `relations` tell where each relation's value is found, its path and target."""

    def __init__(self, relations: Sequence[tuple[_Place, str, str]]) -> None:
        self._relations = relations
        self._places = [place for place, _, _ in relations]
        self._known: dict[Any, Sequence[tuple[str, EntityKey]]] = {}
        self._with_lists: dict[str, Sequence[tuple[str, EntityKey]]] = {}

    def pointed_at(self, value_at: Callable[[_Place], Json]) -> Sequence[tuple[str, EntityKey]]:
        """Path and key of each target."""
        pointing, known = tuple(map(value_at, self._places)), self._known
        try:
            found = known.get(pointing)
        except TypeError:  # lists are looked up by how they are written: apart, since an identifier may look like one
            return self._in_lists(repr(pointing), value_at)
        if found is None:
            found = known[pointing] = _pointed_at(self._relations, value_at)
        return found

    def _in_lists(self, written: str, value_at: Callable[[_Place], Json]) -> Sequence[tuple[str, EntityKey]]:
        if written not in self._with_lists:
            self._with_lists[written] = _pointed_at(self._relations, value_at)
        return self._with_lists[written]


def _pointed_at(
    relations: Iterable[tuple[_Place, str, str]], value_at: Callable[[_Place], Json]
) -> list[tuple[str, EntityKey]]:
    """Path and key of each target; `relations` are sorted, each with where its value is, its path and its target."""
    found: list[tuple[str, EntityKey]] = []
    for place, path, target in relations:
        value = value_at(place)
        if value.__class__ is str:
            found.append((path, EntityKey(target, value)))
        elif value is not None:
            found += [(path, EntityKey(target, identifier)) for identifier in sorted(_identifiers(value))]
    return found


def _relations(blueprint: Blueprint) -> list[tuple[str, str, str]]:
    """Path, path and target of each relation, sorted."""
    paths = ((f"relations.{name}", str(relation.get("target", ""))) for name, relation in blueprint.relations.items())
    return [(path, path, target) for path, target in sorted(paths)]


def targets_of(blueprint: Blueprint) -> dict[str, str]:
    """The blueprints that one names, by relations or aggregations -> the first path that does."""
    fields = sorted(blueprint_fields(blueprint.definition).items(), reverse=True)
    return {str(value["target"]): path for path, value in fields if path.startswith(TARGETING)}


def in_order(
    drafts: Sequence[Change],
    blueprints: Mapping[str, Blueprint],
    existing: Mapping[EntityKey, ExistingEntity],
    standing: Mapping[EntityKey, str] | None = None,
) -> tuple[Change, ...]:
    """Number the changes in the order of doing, say what each waits for, and defer relations that close a cycle.

    The drafts become the changes: nobody else may go on with them as they were.  `blueprints` are those in force after
    the plan; `existing` what Port holds now; `standing` what comes in the place of another -> the identifier of that
    one, which is there until the end.
    """
    entity = _by_action(c for c in drafts if c.target == "entity")
    blueprint = _by_action(c for c in drafts if c.target == "blueprint")
    wanted = sorted(entity["create"] + entity["update"], key=_by_key) if entity["update"] else entity["create"]
    upserts = _upserts(wanted, blueprints, standing or {})
    deletes, waits = _deletes(entity["delete"], blueprints, existing)
    first = [
        *readers_last(blueprint["create"] + blueprint["update"], blueprints),
        *(c for action in ("adopt", "release", "forget") for c in blueprint[action]),
    ]
    last = [
        *(c for action in ("adopt", "release", "forget") for c in entity[action]),
        *deletes,
        *_blueprint_deletes(blueprint["delete"], blueprints),
    ]
    edges = [*repeat((), len(first)), *upserts.waits, *repeat((), len(last))]
    moved = _looked_to(entity["update"], deletes, blueprints)
    return _numbered([*first, *upserts.changes, *last], edges, waits, moved)


_by_key = attrgetter("blueprint", "identifier")


def _by_action(changes: Iterable[Change]) -> defaultdict[str, list[Change]]:
    actions: defaultdict[str, list[Change]] = defaultdict(list)
    for change in sorted(changes, key=_by_key):
        actions[change.action].append(change)
    return actions


class _Upserts(NamedTuple):
    """Creates and updates, and what each waits for."""

    changes: list[Change]
    waits: list[_Waits]


def _upserts(changes: list[Change], blueprints: Mapping[str, Blueprint], standing: Mapping[EntityKey, str]) -> _Upserts:
    """Creates and updates, sorted before, targets of relations first; relations that close a cycle are marked deferred.

    A required one that does points at what is `standing` meanwhile.
    """
    waits, created = _waits_of(changes, blueprints)
    if levels := _levels(waits, lambda key: waits[created[key]]):
        order = sorted(range(len(changes)), key=lambda n: levels[id(waits[n])])
        return _Upserts([changes[n] for n in order], [waits[n] for n in order])
    return _circling(dict(zip((change.key for change in changes), waits, strict=True)), changes, blueprints, standing)


def _circling(
    edges: Edges, changes: list[Change], blueprints: Mapping[str, Blueprint], standing: Mapping[EntityKey, str]
) -> _Upserts:
    """`_upserts` where some wait for each other."""
    by_key = {change.key: change for change in changes}

    def required(key: EntityKey, path: str) -> bool:
        return _required(blueprints.get(key.blueprint), path)

    order, deferred = _waves(
        edges, lambda key, path, _: not required(key, path), lambda _, __, target: target in standing
    )
    for key, paths in deferred.items():
        elsewhere = _pointing_elsewhere(by_key[key], filter(partial(required, key), paths), blueprints, standing)
        by_key[key] = _defer(by_key[key], paths, elsewhere)
    return _Upserts([by_key[key] for key in order], [edges[key] for key in order])


def _waits_of(
    changes: Sequence[Change], blueprints: Mapping[str, Blueprint]
) -> tuple[list[_Waits], Mapping[EntityKey, int]]:
    """What each change waits for that is created, and where among the changes that is.

    Found out once for all that point at the same: there may be a change for each entity.
    """
    pointers = Pointers(blueprints)
    pointing = list(map(pointers.of, changes))
    distinct = {id(each): each for each in pointing}
    targets = {key for each in distinct.values() for _, key in each}
    named = {key.blueprint for key in targets}
    created = {
        change.key: n
        for n, change in enumerate(changes)
        if change.blueprint in named and change.action == "create" and change.key in targets
    }
    waits = {id_: _waits(pair for pair in each if pair[1] in created) for id_, each in distinct.items()}
    return [waits[id(each)] for each in pointing], created


def _pointing_elsewhere(
    change: Change, paths: Iterable[str], blueprints: Mapping[str, Blueprint], standing: Mapping[EntityKey, str]
) -> Iterator[tuple[str, Json]]:
    """Relations of a change, with what is standing in place of what takes its place."""
    values = dict(change.afters())
    for path in sorted(paths):
        target = str(blueprints[change.blueprint].relations[path.removeprefix("relations.")]["target"])
        yield path, _in_place(values[path], partial(_standing, standing, target))


def _standing(standing: Mapping[EntityKey, str], target: str, identifier: str) -> str:
    return standing.get(EntityKey(target, identifier), identifier)


def _in_place(value: Json, other: Callable[[str], str]) -> Json:
    """A relation's value with other identifiers."""
    return [other(each) for each in _identifiers(value)] if isinstance(value, list) else other(value)


def _waits(pointing: Iterable[tuple[str, EntityKey]]) -> _Waits:
    paths: dict[EntityKey, frozenset[str]] = {}
    for path, target in pointing:
        paths[target] = paths[target] | {path} if target in paths else _alone(path)
    return tuple(paths.items())


@lru_cache(maxsize=4096)
def _alone(path: str) -> frozenset[str]:
    """A set of one path, the same for all."""
    return frozenset((path,))


def _waiting(keys: Iterable[EntityKey], found: Iterable[_Wait]) -> Edges:
    """The same of all these keys; found is who waits through which path for whom, in any order."""
    waits = {key: _waits(each[1:] for each in group) for key, group in groupby(sorted(found), key=itemgetter(0))}
    return {key: waits.get(key, ()) for key in keys}


def _defer(change: Change, paths: AbstractSet[str], meanwhile: Iterable[tuple[str, Json]]) -> Change:
    fields = tuple(replace(f, deferred=f.path in paths) for f in change.fields)
    return replace(change, fields=fields, meanwhile=tuple(meanwhile))


def _waves(
    edges: Edges, may_defer: _MayDefer, may_bridge: _MayDefer = lambda *_: False
) -> tuple[list[EntityKey], dict[EntityKey, set[str]]]:
    """Keys in an order in which each comes after those it waits for, and the paths that had to be deferred.

    Takes away from `edges` the waits that were deferred.
    """
    keys = sorted(edges)
    if levels := _levels(edges.values(), edges.__getitem__):
        return sorted(keys, key=lambda key: levels[id(edges[key])]), {}
    waiting = _Waiting(keys, edges)
    order: list[int] = []
    deferred: dict[EntityKey, set[str]] = {}
    ready = [n for n, count in enumerate(waiting.counts) if not count]
    while len(order) < len(keys):
        if not ready:
            key = _breakable(waiting, edges, may_defer, may_bridge)
            for target, paths in edges[key]:
                if target in waiting:
                    deferred.setdefault(key, set()).update(paths)
            edges[key] = tuple(edge for edge in edges[key] if edge[0] not in waiting)
            ready = [waiting.release(key)]
        order += ready
        ready = waiting.freed(ready)
    return [keys[n] for n in order], deferred


def _levels(found: Iterable[_Waits], of: Callable[[EntityKey], _Waits]) -> dict[int, int] | None:
    """How many others must come one after the other before those with these very waits; None where some are a circle.

    Found once for all that wait for the same, which are one object: there may be a key for each entity.
    """
    levels: dict[int, int] = {}
    begun: set[int] = set()
    for waits in {id(waits): waits for waits in found}.values():
        stack = [] if id(waits) in levels else [waits]
        while stack:
            first = [of(target) for target, _ in stack[-1]]
            if open_ := [each for each in first if id(each) not in levels]:
                begun.add(id(stack[-1]))
                if not begun.isdisjoint(map(id, open_)):
                    return None
                stack += open_
            else:
                levels[id(stack.pop())] = 1 + max((levels[id(each)] for each in first), default=-1)
    return levels


class _Waiting:
    """For how many others each key waits, known by its place among all of them: there may be one for each entity."""

    def __init__(self, keys: Sequence[EntityKey], edges: Edges) -> None:
        self._keys = keys
        self._place = {key: n for n, key in enumerate(keys)}
        self.counts = [len(edges[key]) for key in keys]
        self._dependents: defaultdict[int, list[int]] = defaultdict(list)
        for n, key in enumerate(keys):
            for target, _ in edges[key]:
                self._dependents[self._place[target]].append(n)
        self._first = 0

    def __contains__(self, key: EntityKey) -> bool:
        """Whether a key waits for any."""
        return self.counts[self._place[key]] > 0

    def first(self) -> EntityKey:
        """The first of the keys that wait.  None waits again that has ceased to."""
        while not self.counts[self._first]:
            self._first += 1
        return self._keys[self._first]

    def release(self, key: EntityKey) -> int:
        """Let a key wait no longer; its place."""
        place = self._place[key]
        self.counts[place] = 0
        return place

    def freed(self, done: Iterable[int]) -> list[int]:
        """Those that wait for nothing any more once these are done, in order."""
        freed = []
        for n in done:
            for dependent in self._dependents.get(n, ()):
                if left := self.counts[dependent]:
                    self.counts[dependent] = left - 1
                    if left == 1:
                        freed.append(dependent)
        return sorted(freed)


def _breakable(waiting: _Waiting, edges: Edges, may_defer: _MayDefer, may_bridge: _MayDefer) -> EntityKey:
    """What to write first of what waits: in a cycle, the smallest whose relations to what waits are all optional.

    Where each member requires something that waits, it is the end of what they require; if that is a circle, the end of
    what nothing stands in for.  There is one, since what requires itself in a circle otherwise is not written at all
    (`pdsync.plan.circles`), or withheld.
    """

    def following(key: EntityKey, *may: _MayDefer) -> list[EntityKey]:
        waits = ((target, paths) for target, paths in edges[key] if target in waiting)
        return [target for target, paths in waits if not all(any(of(key, p, target) for of in may) for p in paths)]

    def vital(key: EntityKey) -> list[EntityKey]:
        return following(key, may_defer)

    cycle = _end_of(waiting.first(), following)
    last = [key for key in cycle if not vital(key)] or _end_of(min(cycle), vital)
    if all(map(vital, last)):
        last = _end_of(min(last), lambda key: following(key, may_defer, may_bridge))
    return min(last)


def _end_of(start: EntityKey, following: Callable[[EntityKey], list[EntityKey]]) -> list[EntityKey]:
    """Where one comes to by always going on to the smallest that follows: a circle, or what nothing follows."""
    seen, key = {start: 0}, start
    while targets := following(key):
        key = min(targets)
        if key in seen:
            return list(seen)[seen[key] :]
        seen[key] = len(seen)
    return [key]


def _required(blueprint: Blueprint | None, path: str) -> bool:
    relation = blueprint.relations.get(path.removeprefix("relations.")) if blueprint else None
    return bool(relation and relation.get("required"))


def _deletes(
    changes: list[Change], blueprints: Mapping[str, Blueprint], existing: Mapping[EntityKey, ExistingEntity]
) -> tuple[list[Change], Edges]:
    """Deletes, sources of relations before their targets.

    Of what requires each other in a circle, what is renamed goes while the others point at what came in its place.
    """
    by_key = {change.key: change for change in changes}
    found = [
        (target, path, key)
        for key in by_key
        if key in existing
        for path, target in relation_targets(existing[key].fields, blueprints.get(key.blueprint))
        if target in by_key and target != key
    ]

    def required(path: str, source: EntityKey) -> bool:
        return _required(blueprints.get(source.blueprint), path)

    edges = _waiting(by_key, found)
    order, _ = _waves(
        edges, lambda _, path, source: not required(path, source), lambda target, *_: bool(by_key[target].twin)
    )
    place = {key: n for n, key in enumerate(order)}
    early = [(key, path, target) for target, path, key in found if place[target] < place[key] and required(path, key)]
    for key, path, target in early:
        by_key[key] = _pointing_on(by_key[key], path, by_key[target])
    return [by_key[key] for key in order], edges


def _pointing_on(change: Change, path: str, gone: Change) -> Change:
    """A delete that is preceded by its relation pointing at what came in the place of another that goes before it."""
    values = {**dict(change.befores()), **dict(change.meanwhile)}
    value = _in_place(values[path], lambda each: gone.twin if each == gone.identifier else each)
    return replace(change, meanwhile=tuple(sorted({**dict(change.meanwhile), path: value}.items())))


def _blueprint_deletes(changes: list[Change], blueprints: Mapping[str, Blueprint]) -> list[Change]:
    """Blueprints that relate to others, or read along them, before those; in a circle, what is between goes first."""
    by_key = {change.key: change for change in changes}
    standing = {key.blueprint: blueprints[key.blueprint] for key in by_key if key.blueprint in blueprints}
    between = [(name, *each) for name, blueprint in standing.items() for each in targets_of(blueprint).items()]
    found = [
        (target, path, EntityKey(name, name))
        for name, other, path in (*between, *read_along(blueprints))
        if (target := EntityKey(other, other)) in by_key and name != other and EntityKey(name, name) in by_key
    ]
    order, circular = _waves(_waiting(by_key, found), lambda *_: True)
    if not circular:
        return [by_key[key] for key in order]
    return [_bare(change, blueprints) for change in reversed(readers_last([by_key[key] for key in order], blueprints))]


def _bare(change: Change, blueprints: Mapping[str, Blueprint]) -> Change:
    definition = blueprints[change.blueprint].definition if change.blueprint in blueprints else {}
    first = {each.path: each for each in change.fields}
    between = {p: v for p, v in blueprint_fields(definition).items() if p.startswith(BETWEEN) and p not in first}
    late = {p: FieldChange(p, v, None, "catalog", deferred=True, causes=("catalog",)) for p, v in between.items()}
    fields = {**first, **late}
    return replace(change, fields=tuple(fields[path] for path in sorted(fields)))


def _looked_to(
    updates: list[Change], deletes: list[Change], blueprints: Mapping[str, Blueprint]
) -> dict[EntityKey, list[EntityKey]]:
    """What may be deleted -> the upserts before it: what points elsewhere after it, what it points at in between."""
    found: dict[EntityKey, list[EntityKey]] = {}
    for change in updates:
        for _, target in relation_targets(dict(change.befores()), blueprints.get(change.blueprint)):
            found.setdefault(target, []).append(change.key)
    for change in deletes:
        targets = relation_targets(dict(change.meanwhile), blueprints.get(change.blueprint)) if change.meanwhile else ()
        for _, target in targets:
            found.setdefault(change.key, []).append(target)
    return found


def _numbered(
    changes: list[Change], edges: Sequence[_Waits], waits: Edges, moved: Mapping[EntityKey, list[EntityKey]]
) -> tuple[Change, ...]:
    """The changes with their numbers and those that each waits for; `edges` are what each waits for that is wanted."""
    waited = _waited_for(changes, edges, moved)
    upserts, deletes, schemas = _places(changes, waited)
    equal: dict[tuple[int, ...], tuple[int, ...]] = {}
    of_waits: dict[tuple[int, int], tuple[int, ...]] = {}

    def wanted(change: Change, waits: _Waits) -> tuple[int, ...]:
        """What an entity waits for that is wanted: the same for all with these very waits."""
        schema = schemas.get(change.blueprint, 0)
        found = of_waits.get((id(waits), schema))
        if found is None:
            numbers = {upserts[key] for key, _ in waits} | ({schema} if schema else set())
            found = of_waits[id(waits), schema] = tuple(sorted(numbers))
        return found

    def after(change: Change) -> set[int]:
        if change.target == "blueprint":
            goes = change.action == "delete"
            return {n for key, n in deletes.items() if key.blueprint == change.blueprint} if goes else set()
        successor = EntityKey(change.blueprint, change.twin)
        comes = {upserts[successor]} if change.twin and successor in upserts else set()
        if change.action == "delete":
            gone = {deletes[key] for key, _ in waits.get(change.key, ())}
            return gone | comes | {upserts[key] for key in moved.get(change.key, ()) if key in upserts}
        return comes

    for n, (change, before) in enumerate(zip(changes, edges, strict=True), start=1):
        is_wanted = change.target == "entity" and change.action in ("create", "update", "adopt")
        waited_for = wanted(change, before) if is_wanted else tuple(sorted(after(change)))
        number(change, n, equal.setdefault(waited_for, waited_for))
    return tuple(changes)


def _places(
    changes: Iterable[Change], waited: Collection[EntityKey]
) -> tuple[dict[EntityKey, int], dict[EntityKey, int], dict[str, int]]:
    """The numbers of the upserts that are waited for, of deletes, and of blueprints that are written."""
    upserts, deletes, schemas = {}, {}, {}
    named = {key.blueprint for key in waited}
    for n, change in enumerate(changes, start=1):
        if change.target == "entity" and change.action in ("create", "update"):
            if change.blueprint in named and change.key in waited:
                upserts[change.key] = n
        elif change.target == "entity" and change.action == "delete":
            deletes[change.key] = n
        elif change.target == "blueprint" and change.action in ("create", "update"):
            schemas[change.blueprint] = n
    return upserts, deletes, schemas


def _waited_for(
    changes: Iterable[Change], edges: Iterable[_Waits], moved: Mapping[EntityKey, list[EntityKey]]
) -> set[EntityKey]:
    """The upserts that others may wait for: of all there are, few."""
    waits = {id(some): some for some in edges}.values()
    found = {key for some in waits for key, _ in some} | {key for some in moved.values() for key in some}
    return found | {EntityKey(change.blueprint, change.twin) for change in changes if change.twin}


def _identifiers(value: Json) -> list[str]:
    if isinstance(value, str):
        return [value]
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []
