"""Creating, changing, renaming and deleting blueprints, and what that does to their entities."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pdsync.sandbox.port_blueprint import (
    MAPS,
    check_change,
    check_definition,
    compile_blueprint,
    completed,
    refuse_unknown_keys,
)
from pdsync.sandbox.port_data import related_identifiers
from pdsync.sandbox.port_rules import SYSTEM_BLUEPRINTS, PortRefusal, Stamp, conflict, invalid, not_found
from pdsync.sandbox.port_system import DEFINITIONS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from pdsync.model import Json
    from pdsync.sandbox.port_blueprint import CompiledBlueprint
    from pdsync.sandbox.port_data import PortData
    from pdsync.sandbox.port_rules import Behaviour, Entity

RENAMED_PARTS = {
    "properties": ("newPropertyName", "Property"),
    "mirror": ("newMirrorName", "Mirror property"),
    "relations": ("newRelationIdentifier", "Relation"),
}
"""What can be renamed, by its name in the route: the key of the new name in the body, and what to call it."""


def _renamed(entries: Mapping[str, Json], old: str, new: str) -> dict[str, Json]:
    """A map with one key renamed, in its place."""
    return {new if key == old else key: value for key, value in entries.items()}


def _retargeted(part: Mapping[str, Json], old: str, new: str) -> dict[str, Json]:
    return {**part, "target": new} if part.get("target") == old else dict(part)


class BlueprintRules:
    """Port's rules for blueprints, over the data they apply to."""

    def __init__(self, data: PortData, behaviour: Behaviour) -> None:
        self._data = data
        self._behaviour = behaviour

    def find(self, identifier: str) -> CompiledBlueprint:
        """The blueprint.  Raises `PortRefusal` (404)."""
        found = self._data.blueprints.get(identifier)
        if found is None:
            raise not_found("Blueprint", identifier)
        return found

    def create(self, body: Mapping[str, Json], stamp: Stamp) -> CompiledBlueprint:
        """Add a blueprint.  Raises `PortRefusal`: 409 when it exists, 404 for missing targets, 422."""
        refuse_unknown_keys(body)
        identifier = body["identifier"]
        if identifier in self._data.blueprints:
            raise conflict(f'Blueprint with identifier "{identifier}" already exists')
        if identifier.startswith("_") and identifier not in SYSTEM_BLUEPRINTS:
            raise invalid('blueprint identifiers that start with "_" are reserved')
        definition = completed(body)
        check_definition(definition, self._definitions())
        return self._install(definition, stamp)

    def replace(self, identifier: str, body: Mapping[str, Json], at: str, by: str) -> CompiledBlueprint:
        """Overwrite a blueprint: what the body does not name is gone.  Raises `PortRefusal`."""
        refuse_unknown_keys(body)
        return self._change(self.find(identifier), completed({"identifier": identifier, **body}), at, by)

    def patch(self, identifier: str, body: Mapping[str, Json], at: str, by: str) -> CompiledBlueprint:
        """Overwrite the parts of a blueprint that the body names.  Raises `PortRefusal`."""
        refuse_unknown_keys(body)
        old = self.find(identifier)
        merged = {**old.definition, **body}
        if self._behaviour.patch_maps == "merge":
            merged |= {name: {**old.part(name), **body[name]} for name in MAPS if name in body}
            if "schema" in body:
                merged["schema"] = {**body["schema"], "properties": {**old.properties, **body["schema"]["properties"]}}
        return self._change(old, completed(merged), at, by)

    def delete(self, identifier: str) -> CompiledBlueprint:
        """Remove a blueprint without entities that no other points to.  Raises `PortRefusal`."""
        old = self.find(identifier)
        if identifier in SYSTEM_BLUEPRINTS:
            raise invalid(f'system blueprint "{identifier}" cannot be deleted')
        held = len(self._data.entities[identifier])
        if held:
            raise self._has_dependents(identifier, f"has {held} entities", {"entitiesCount": held})
        users = sorted(
            other.identifier
            for other in self._data.blueprints.values()
            if other.identifier != identifier and identifier in self._mentioned(other)
        )
        if users:
            raise self._has_dependents(identifier, f"is a target of {', '.join(users)}", {"dependents": users})
        del self._data.blueprints[identifier], self._data.entities[identifier]
        return old

    def rename_part(self, identifier: str, part: str, name: str, new: str, *, at: str, by: str) -> CompiledBlueprint:
        """Rename a property, mirror property or relation; entities keep its values.  Raises `PortRefusal`."""
        old = self.find(identifier)
        definition: dict[str, Json] = dict(old.definition)
        entries: Mapping[str, Json] = {
            "properties": old.properties,
            "mirror": old.part("mirrorProperties"),
            "relations": old.part("relations"),
        }[part]
        if name not in entries:
            raise not_found(RENAMED_PARTS[part][1], name)
        if new != name and new in entries:
            raise conflict(f'"{new}" already exists in blueprint "{identifier}"')
        renamed = _renamed(entries, name, new)
        if part == "properties":
            required = [new if key == name else key for key in definition["schema"]["required"]]
            definition["schema"] = {"properties": renamed, "required": required}
        else:
            definition["mirrorProperties" if part == "mirror" else "relations"] = renamed
        self._refuse_locked(old, definition)
        check_definition(definition, self._definitions(without=identifier))
        blueprint = self._install(definition, old.stamp.touched(at, by))
        if part == "properties":
            self._migrate(blueprint, lambda entity: replace(entity, properties=_renamed(entity.properties, name, new)))
        elif part == "relations":
            self._migrate(blueprint, lambda entity: replace(entity, relations=_renamed(entity.relations, name, new)))
        return blueprint

    # --- inside ---

    def _definitions(self, without: str = "") -> dict[str, Mapping[str, Json]]:
        return {name: part.definition for name, part in self._data.blueprints.items() if name != without}

    def _mentioned(self, blueprint: CompiledBlueprint) -> set[str]:
        aggregated = {part["target"] for part in blueprint.part("aggregationProperties").values()}
        return aggregated | {relation.target for relation in blueprint.relations.values()}

    def _has_dependents(self, identifier: str, why: str, details: Mapping[str, Json]) -> PortRefusal:
        return PortRefusal(
            self._behaviour.has_dependents_status,
            "has_dependents",
            f'Blueprint with identifier "{identifier}" {why}',
            {"blueprint": identifier, "entitiesCount": 0, **details},
        )

    def _install(self, definition: Mapping[str, Json], stamp: Stamp) -> CompiledBlueprint:
        compiled = compile_blueprint(definition, stamp, self._behaviour)
        self._data.blueprints[compiled.identifier] = compiled
        self._data.entities.setdefault(compiled.identifier, {})
        return compiled

    def _change(self, old: CompiledBlueprint, definition: Mapping[str, Json], at: str, by: str) -> CompiledBlueprint:
        self._refuse_locked(old, definition)
        check_change(old.definition, definition)
        if definition["identifier"] != old.identifier:
            old, definition = self._rename(old, definition)
        check_definition(definition, self._definitions(without=old.identifier))
        self._refuse_several(old, definition)
        new = self._install(definition, old.stamp.touched(at, by))
        self._fit_entities(old, new)
        return new

    def _refuse_locked(self, old: CompiledBlueprint, definition: Mapping[str, Json]) -> None:
        """Own parts of a system blueprint stay; more may be added (Port documentation, Users and teams)."""
        if old.identifier not in SYSTEM_BLUEPRINTS:
            return
        locked = next(part for part in DEFINITIONS if part["identifier"] == old.identifier)
        kept = {
            **{name: definition["schema"]["properties"].get(name) == part for name, part in _own(locked)},
            **{name: definition["relations"].get(name) == part for name, part in locked["relations"].items()},
        }
        broken = [name for name, same in kept.items() if not same]
        if broken or definition["identifier"] != old.identifier:
            raise invalid(f'system blueprint "{old.identifier}" keeps its own properties ({", ".join(broken)})')

    def _refuse_several(self, old: CompiledBlueprint, definition: Mapping[str, Json]) -> None:
        """A relation cannot become single while an entity holds several values."""
        narrowed = [
            name
            for name, relation in old.relations.items()
            if relation.many and name in definition["relations"] and not definition["relations"][name]["many"]
        ]
        for entity in self._data.entities[old.identifier].values() if narrowed else ():
            for name in narrowed:
                if len(related_identifiers(entity.relations.get(name))) > 1:
                    raise invalid(f'relation "{name}" holds several values in entity "{entity.identifier}"')

    def _fit_entities(self, old: CompiledBlueprint, new: CompiledBlueprint) -> None:
        """Take out values whose property or relation is gone, reshape those that became single or many."""
        gone = old.checks.keys() - new.checks.keys()
        changed = {name for name, relation in old.relations.items() if new.relations.get(name) != relation}
        if not gone and not changed:
            return

        def fitted(entity: Entity) -> Entity:
            properties = {name: value for name, value in entity.properties.items() if name not in gone}
            kept = {name: value for name, value in entity.relations.items() if name not in changed}
            for name in changed & entity.relations.keys() & new.relations.keys():
                if new.relations[name].target == old.relations[name].target:
                    values = list(related_identifiers(entity.relations[name]))
                    kept[name] = values if new.relations[name].many else values[0]
            return replace(entity, properties=properties, relations=kept)

        self._migrate(new, fitted)

    def _migrate(self, blueprint: CompiledBlueprint, change: Callable[[Entity], Entity]) -> None:
        held = self._data.entities[blueprint.identifier]
        held.update({identifier: change(entity) for identifier, entity in held.items()})
        self._data.reindex()

    def _rename(
        self, old: CompiledBlueprint, definition: Mapping[str, Json]
    ) -> tuple[CompiledBlueprint, Mapping[str, Json]]:
        """Give a blueprint another identifier, everywhere it is mentioned, before its definition changes."""
        new = definition["identifier"]
        if new in self._data.blueprints:
            raise conflict(f'Blueprint with identifier "{new}" already exists')
        definition = self._with_targets_renamed(definition, old.identifier, new)
        # Everything that could refuse must do so before the first change.
        others = {
            name: self._with_targets_renamed(part, old.identifier, new)
            for name, part in self._definitions(without=old.identifier).items()
        }
        check_definition(definition, others)
        self._refuse_several(old, definition)
        for name, part in others.items():
            self._install(part, self._data.blueprints[name].stamp)
        del self._data.blueprints[old.identifier]
        held = self._data.entities.pop(old.identifier)
        moved = self._with_targets_renamed({**old.definition, "identifier": new}, old.identifier, new)
        renamed = self._install(moved, old.stamp)
        self._data.entities[new] = held
        self._migrate(renamed, lambda entity: replace(entity, blueprint=new))
        return renamed, definition

    @staticmethod
    def _with_targets_renamed(definition: Mapping[str, Json], old: str, new: str) -> dict[str, Json]:
        retargeted = {
            name: {key: _retargeted(part, old, new) for key, part in definition[name].items()}
            for name in ("relations", "aggregationProperties")
        }
        return {**definition, **retargeted}


def _own(definition: Mapping[str, Json]) -> Iterable[tuple[str, Json]]:
    properties: Mapping[str, Json] = definition["schema"]["properties"]
    return properties.items()
