"""Writing and deleting entities: what a request makes of what is stored, and what stands in its way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pdsync.sandbox.port_data import Key, Pointer, related_identifiers
from pdsync.sandbox.port_rules import SYSTEM_BLUEPRINTS, Entity, PortRefusal, Stamp, conflict, invalid, not_found

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from pdsync.model import Json
    from pdsync.sandbox.port_blueprint import CompiledBlueprint
    from pdsync.sandbox.port_data import PortData
    from pdsync.sandbox.port_read import Reader
    from pdsync.sandbox.port_rules import Behaviour

_QUERY_RESULTS = 100
"""How many entities a search query in the place of a relation may stand for."""


@dataclass(frozen=True, slots=True)
class Write:
    """How to write: Port's query parameters, who writes, and when (Port's form of a time)."""

    by: str
    at: str
    upsert: bool = False
    merge: bool = False
    validation_only: bool = False
    create_missing_related_entities: bool = False
    datasource: str = ""

    def stamp(self, before: Entity | None) -> Stamp:
        """The stamp of what is written over `before`."""
        if before is None:
            return Stamp(self.at, self.by, self.at, self.by, self.datasource)
        return before.stamp.touched(self.at, self.by, self.datasource)


def _missing_key(entity: str, name: str) -> PortRefusal:
    return invalid(f"entity {entity} must have required property '{name}'")


class EntityRules:
    """Port's rules for entities, over the data they apply to."""

    def __init__(self, data: PortData, reader: Reader, behaviour: Behaviour) -> None:
        self._data = data
        self._reader = reader
        self._behaviour = behaviour
        self._sequence = 0

    def continue_after(self, data: PortData) -> None:
        """Create what is created next after all that `data` holds."""
        held = (entity.sequence for entities in data.entities.values() for entity in entities.values())
        self._sequence = max(self._sequence, max(held, default=0))

    # --- writing ---

    def write(self, blueprint: CompiledBlueprint, body: Mapping[str, Json], how: Write) -> tuple[Entity, Entity | None]:
        """Create, replace or merge an entity; returns it, and what it was before (None: it is new).

        Raises `PortRefusal`: 409 for an existing one without upsert, 404 for missing targets, 422 for bad values.
        """
        before = self._addressed(blueprint, body)
        if before is not None and not how.upsert:
            raise conflict(f'Entity with identifier "{before.identifier}" already exists')
        identifier = body["identifier"] if before is None else before.identifier
        return self._store(self._draft(blueprint, identifier, body, before, how), before, how), before

    def change(self, before: Entity, body: Mapping[str, Json], how: Write) -> Entity:
        """Replace or (merging) patch an entity that exists; another identifier in the body renames it.

        Raises `PortRefusal`.
        """
        blueprint = self._data.blueprints[before.blueprint]
        identifier = body.get("identifier", before.identifier)
        if identifier != before.identifier and self._data.find(Key(before.blueprint, identifier)) is not None:
            raise conflict(f'Entity with identifier "{identifier}" already exists')
        draft = self._draft(blueprint, before.identifier, body, before, how)
        stored = self._store(draft, before, how)
        if identifier == before.identifier or how.validation_only:
            return stored
        return self._rename(stored, identifier)

    def _addressed(self, blueprint: CompiledBlueprint, body: Mapping[str, Json]) -> Entity | None:
        identifier = body.get("identifier")
        if identifier is None:
            raise invalid("body must have required property 'identifier'")
        if isinstance(identifier, str):
            return self._data.find(Key(blueprint.identifier, identifier))
        found = self._query(blueprint.identifier, identifier, limit=2)
        if len(found) != 1:
            raise PortRefusal(404, "not_found", "the identifier query must match exactly one entity")
        return found[0]

    def _query(self, blueprint: str, query: Mapping[str, Json], limit: int) -> list[Entity]:
        matches = self._reader.search(query).matches
        found = (entity for entity in self._data.entities.get(blueprint, {}).values() if matches(entity))
        return [entity for entity, _ in zip(found, range(limit), strict=False)]

    def _draft(
        self,
        blueprint: CompiledBlueprint,
        identifier: str,
        body: Mapping[str, Json],
        before: Entity | None,
        how: Write,
    ) -> Entity:
        kept = before if how.merge else None
        draft = Entity(
            blueprint=blueprint.identifier,
            identifier=identifier,
            title=body.get("title", kept.title if kept else None),
            icon=body.get("icon", kept.icon if kept else None),
            team=self._team(blueprint, body["team"]) if "team" in body else kept.team if kept else (),
            properties=self._properties(blueprint, body.get("properties") or {}, kept),
            relations=self._relations(blueprint, body.get("relations") or {}, kept),
            stamp=how.stamp(before),
            sequence=0 if before is None else before.sequence,
        )
        draft = self._with_defaults(blueprint, draft, before, how)
        self._check_required(blueprint, draft)
        self._check_targets(blueprint, draft, body.get("relations") or {}, how)
        return draft

    def _team(self, blueprint: CompiledBlueprint, team: Json) -> tuple[str, ...]:
        if (blueprint.definition.get("ownership") or {}).get("type") == "Inherited":
            raise invalid(f'blueprint "{blueprint.identifier}" inherits its team; it cannot be set')
        if isinstance(team, Mapping):
            return tuple(found.identifier for found in self._query("_team", team, _QUERY_RESULTS))
        names = related_identifiers(team)
        if self._behaviour.unknown_teams == "refuse":
            for name in names:
                if self._data.find(Key("_team", name)) is None:
                    raise invalid(f'team "{name}" does not exist')
        return tuple(dict.fromkeys(names))

    def _properties(
        self, blueprint: CompiledBlueprint, given: Mapping[str, Json], kept: Entity | None
    ) -> dict[str, Json]:
        properties = dict(kept.properties) if kept else {}
        for name, value in given.items():
            check = blueprint.checks.get(name)
            if check is None:
                if self._keeps_unknown(blueprint, name):
                    properties[name] = value
                continue
            if value is not None:
                if (problem := check(value)) is not None:
                    raise invalid(problem.said(f"properties/{name}"))
                convert = blueprint.convert.get(name)
                properties[name] = value if convert is None else convert(value)
            elif self._behaviour.cleared == "null":
                properties[name] = None
            else:
                properties.pop(name, None)
        return properties

    def _keeps_unknown(self, blueprint: CompiledBlueprint, name: str) -> bool:
        if name in blueprint.derived:
            raise invalid(f'property "{name}" of blueprint "{blueprint.identifier}" is computed; it cannot be set')
        if self._behaviour.unknown_properties == "refuse":
            raise invalid(f'blueprint "{blueprint.identifier}" has no property "{name}"')
        return self._behaviour.unknown_properties == "store"

    def _relations(
        self, blueprint: CompiledBlueprint, given: Mapping[str, Json], kept: Entity | None
    ) -> dict[str, Json]:
        relations = dict(kept.relations) if kept else {}
        for name, value in given.items():
            relation = blueprint.relations.get(name)
            if relation is None:
                if self._behaviour.unknown_properties == "refuse":
                    raise invalid(f'blueprint "{blueprint.identifier}" has no relation "{name}"')
                continue
            found = self._found(relation.target, relation.many, value) if isinstance(value, Mapping) else value
            if found is None or found == []:
                relations.pop(name, None)
            elif isinstance(found, list) != relation.many:
                raise invalid(f"relations/{name} must be {'an array of identifiers' if relation.many else 'a string'}")
            else:
                relations[name] = list(dict.fromkeys(found)) if relation.many else found
        return relations

    def _found(self, target: str, many: bool, query: Mapping[str, Json]) -> Json:  # noqa: FBT001
        found = [entity.identifier for entity in self._query(target, query, _QUERY_RESULTS)]
        if many:
            return found
        if len(found) > 1:
            raise invalid(f"the query for a single relation matches {len(found)} entities")
        return found[0] if found else None

    def _with_defaults(self, blueprint: CompiledBlueprint, draft: Entity, before: Entity | None, how: Write) -> Entity:
        when = self._behaviour.defaults
        applies = before is None if when == "on_create" else when == "always" and not (before and how.merge)
        missing = {name: value for name, value in blueprint.defaults.items() if name not in draft.properties}
        return replace(draft, properties={**draft.properties, **missing}) if applies and missing else draft

    def _check_required(self, blueprint: CompiledBlueprint, draft: Entity) -> None:
        for name in sorted(blueprint.required):
            if draft.properties.get(name) is None:
                raise _missing_key(draft.identifier, name)
        for name, relation in blueprint.relations.items():
            if relation.required and draft.relations.get(name) is None:
                raise _missing_key(draft.identifier, name)

    def _check_targets(
        self, blueprint: CompiledBlueprint, draft: Entity, given: Mapping[str, Json], how: Write
    ) -> None:
        for name in given.keys() & draft.relations.keys():
            target = blueprint.relations[name].target
            for identifier in related_identifiers(draft.relations[name]):
                if self._data.find(Key(target, identifier)) is not None:
                    continue
                if not how.create_missing_related_entities or target in SYSTEM_BLUEPRINTS:
                    raise not_found(f'Entity of blueprint "{target}"', identifier)

    # --- storing ---

    def _next(self) -> int:
        self._sequence += 1
        return self._sequence

    def _store(self, draft: Entity, before: Entity | None, how: Write) -> Entity:
        if how.validation_only:
            return draft
        if before is None:
            draft = replace(draft, sequence=self._next())
        self._data.put(draft)
        if how.create_missing_related_entities:
            for _, key in list(self._data.targets(draft)):
                if self._data.find(key) is None:
                    self._data.put(self._bare(key, how))
        return draft

    def _bare(self, key: Key, how: Write) -> Entity:
        return Entity(key.blueprint, key.identifier, None, None, (), {}, {}, how.stamp(None), self._next())

    def _rename(self, entity: Entity, identifier: str) -> Entity:
        pointers = self._data.pointers(Key(entity.blueprint, entity.identifier))
        renamed = replace(entity, identifier=identifier, sequence=self._next())
        self._data.remove(entity)
        self._data.put(renamed)
        for pointer in pointers:
            # The entity may point at itself: then the pointer's source has a new name already.
            source = self._data.find(pointer.source) or renamed
            self._data.put(_redirected(source, pointer.relation, entity.identifier, identifier))
        found = self._data.find(Key(entity.blueprint, identifier))
        assert found is not None
        return found

    # --- deleting ---

    def delete(self, doomed: Collection[Entity], *, delete_dependents: bool) -> list[Entity]:
        """Delete entities, those that require them too if so asked; returns all that are gone, asked-for first.

        Optional relations that point at them are cleared.  Raises `PortRefusal` when others require them.
        """
        closed = self._with_dependents(doomed) if delete_dependents else list(doomed)
        gone = {Key(entity.blueprint, entity.identifier) for entity in closed}
        blockers = [pointer for key in gone for pointer in self.requiring(key) if pointer.source not in gone]
        if blockers:
            raise self.has_dependents(blockers)
        for key in gone:
            for pointer in self._data.pointers(key):
                source = self._data.find(pointer.source)
                if source is not None and pointer.source not in gone:
                    self._data.put(_redirected(source, pointer.relation, key.identifier, None))
        for entity in closed:
            self._data.remove(self._data.entities[entity.blueprint][entity.identifier])
        return closed

    def requiring(self, key: Key) -> Iterator[Pointer]:
        """Relation values that need this entity."""
        for pointer in self._data.pointers(key):
            if self._data.blueprints[pointer.source.blueprint].relations[pointer.relation].required:
                yield pointer

    def has_dependents(self, pointers: Iterable[Pointer]) -> PortRefusal:
        """The refusal to delete what others require."""
        names = sorted({f"{pointer.source.blueprint}/{pointer.source.identifier}" for pointer in pointers})
        return PortRefusal(
            self._behaviour.has_dependents_status,
            "has_dependents",
            f"Entity is required by {len(names)} other entities",
            {"dependents": names[:20]},
        )

    def _with_dependents(self, doomed: Collection[Entity]) -> list[Entity]:
        closed = {Key(entity.blueprint, entity.identifier): entity for entity in doomed}
        waiting = list(closed)
        while waiting:
            key = waiting.pop()
            pointers = self.requiring(key) if self._behaviour.cascade == "required" else self._data.pointers(key)
            for pointer in pointers:
                source = self._data.find(pointer.source)
                if source is not None and pointer.source not in closed:
                    closed[pointer.source] = source
                    waiting.append(pointer.source)
        return list(closed.values())


def _redirected(entity: Entity, relation: str, old: str, new: str | None) -> Entity:
    """The entity with one relation target renamed, or (None) taken out."""
    value = entity.relations[relation]
    changed = [new if identifier == old else identifier for identifier in related_identifiers(value)]
    left = [identifier for identifier in changed if identifier is not None]
    relations = {name: held for name, held in entity.relations.items() if name != relation}
    if left:
        relations[relation] = left if isinstance(value, list) else left[0]
    return replace(entity, relations=relations)
