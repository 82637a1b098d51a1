"""What the sandbox's Port holds: blueprints, entities, and who points at whom.  Knows no rules."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Literal

    from pdsync.model import Json
    from pdsync.sandbox.port_blueprint import CompiledBlueprint
    from pdsync.sandbox.port_rules import Entity

    Direction = Literal["upstream", "downstream"]


class Key(NamedTuple):
    """An entity's blueprint and identifier."""

    blueprint: str
    identifier: str


class Pointer(NamedTuple):
    """One relation value: the entity that holds it, the relation's identifier."""

    source: Key
    relation: str


def related_identifiers(value: Json) -> tuple[str, ...]:
    """The identifiers in a relation's value: none, one or several."""
    if value is None:
        return ()
    return (value,) if isinstance(value, str) else tuple(value)


class PortData:
    """Blueprints and entities by identifier, with an index from each entity to those that point at it."""

    def __init__(self) -> None:
        self.blueprints: dict[str, CompiledBlueprint] = {}
        self.entities: dict[str, dict[str, Entity]] = {}
        self._pointers: dict[Key, dict[Pointer, None]] = {}

    def find(self, key: Key) -> Entity | None:
        """The entity, or None."""
        return self.entities.get(key.blueprint, {}).get(key.identifier)

    def put(self, entity: Entity) -> None:
        """Store an entity, over the one of the same key."""
        held = self.entities[entity.blueprint]
        before = held.get(entity.identifier)
        if before is not None:
            self._unindex(before)
        held[entity.identifier] = entity
        self._index(entity)

    def remove(self, entity: Entity) -> None:
        """Forget an entity; what points at it is not touched."""
        self._unindex(entity)
        del self.entities[entity.blueprint][entity.identifier]

    def targets(self, entity: Entity) -> Iterator[tuple[str, Key]]:
        """Relation and key of everything an entity points at."""
        relations = self.blueprints[entity.blueprint].relations
        for name, value in entity.relations.items():
            if name in relations:
                target = relations[name].target
                for identifier in related_identifiers(value):
                    yield name, Key(target, identifier)

    def pointers(self, key: Key) -> tuple[Pointer, ...]:
        """Every relation value that names this entity, oldest first."""
        return tuple(self._pointers.get(key, ()))

    def reindex(self) -> None:
        """Work the index out anew, after blueprints changed."""
        self._pointers = {}
        for held in self.entities.values():
            for entity in held.values():
                self._index(entity)

    def related(self, start: Iterable[Key], direction: Direction, required: bool | None = None) -> set[Key]:  # noqa: FBT001
        """All entities that `start` depends on (upstream) or that depend on it (downstream), at any distance.

        `required` keeps to relations that are (True) or are not (False) required.
        """
        step = self._upstream if direction == "upstream" else self._downstream
        reached: set[Key] = set()
        waiting = deque(start)
        while waiting:
            for blueprint, relation, neighbour in step(waiting.popleft()):
                needed = self.blueprints[blueprint].relations[relation].required
                if neighbour not in reached and required in (None, needed):
                    reached.add(neighbour)
                    waiting.append(neighbour)
        return reached

    def _upstream(self, key: Key) -> Iterator[tuple[str, str, Key]]:
        entity = self.find(key)
        for relation, target in self.targets(entity) if entity is not None else ():
            yield key.blueprint, relation, target

    def _downstream(self, key: Key) -> Iterator[tuple[str, str, Key]]:
        for pointer in self.pointers(key):
            yield pointer.source.blueprint, pointer.relation, pointer.source

    def _index(self, entity: Entity) -> None:
        source = Key(entity.blueprint, entity.identifier)
        for relation, target in self.targets(entity):
            self._pointers.setdefault(target, {})[Pointer(source, relation)] = None

    def _unindex(self, entity: Entity) -> None:
        source = Key(entity.blueprint, entity.identifier)
        for relation, target in self.targets(entity):
            pointers = self._pointers.get(target, {})
            pointers.pop(Pointer(source, relation), None)
            if not pointers:
                self._pointers.pop(target, None)
