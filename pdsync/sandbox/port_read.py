"""How stored entities look from outside: derived properties, and the parts that a caller asked for."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Any

from pdsync.sandbox.port_data import Key, related_identifiers
from pdsync.sandbox.port_search import Search

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

    from pdsync.model import Json
    from pdsync.sandbox.port_blueprint import CompiledBlueprint
    from pdsync.sandbox.port_data import PortData
    from pdsync.sandbox.port_rules import Behaviour, Entity

_NESTED = ("properties", "relations")
_STATISTICS: Mapping[str, Callable[[list[float]], float]] = {
    "sum": sum,
    "min": min,
    "max": max,
    "median": statistics.median,
    "average": statistics.fmean,
}


class Selection:
    """Which parts of an entity to return: paths such as `title`, `properties`, `properties.url`, `relations.owner`.

    Without `include` everything is included; `exclude` is taken away afterwards.
    """

    def __init__(self, include: Iterable[str] | None = None, exclude: Iterable[str] | None = None) -> None:
        self._include = frozenset(include or ())
        self._exclude = frozenset(exclude or ())
        self._known: dict[tuple[str, str | None], bool] = {}

    @property
    def is_everything(self) -> bool:
        """Whether nothing is left out."""
        return not self._include and not self._exclude

    def wants(self, part: str, name: str | None = None) -> bool:
        """Whether a part (`title`), or one name within it (`properties`, `url`), is asked for."""
        known = self._known.get((part, name))
        if known is None:
            paths = {part} if name is None else {part, f"{part}.{name}"}
            known = (not self._include or bool(paths & self._include)) and not paths & self._exclude
            self._known[part, name] = known
        return known

    def cut(self, body: dict[str, Json]) -> dict[str, Json]:
        """The selected parts of a whole entity."""
        if self.is_everything:
            return body
        kept: dict[str, Json] = {}
        for part, value in body.items():
            if part not in _NESTED:
                if self.wants(part):
                    kept[part] = value
            elif inner := {name: value[name] for name in value if self.wants(part, name)}:
                kept[part] = inner
            elif self.wants(part):
                kept[part] = {}
        return kept


class Reader:
    """Reads entities with everything that Port computes on reading; `clock` gives epoch seconds."""

    def __init__(self, data: PortData, behaviour: Behaviour, clock: Callable[[], float]) -> None:
        self._data = data
        self.behaviour = behaviour
        self._clock = clock
        self._programs: dict[str, Any] = {}

    # --- whole entities ---

    def body(
        self,
        entity: Entity,
        selection: Selection | None = None,
        *,
        calculated: bool = True,
        relation_titles: bool = False,
    ) -> dict[str, Json]:
        """An entity as Port returns it.

        `calculated` includes calculation properties, `relation_titles` turns relation values into objects with a
        title.
        """
        selection = selection or Selection()
        blueprint = self._data.blueprints[entity.blueprint]
        left_out = frozenset() if calculated else frozenset(blueprint.part("calculationProperties"))
        wanted = [name for name in blueprint.derived if name not in left_out and selection.wants("properties", name)]
        body = self._stored(entity, blueprint)
        if wanted:
            body["properties"] = {**body["properties"], **self._derived(entity, wanted)}
        if relation_titles:
            body["relations"] = {
                name: self._with_titles(blueprint.relations[name].target, value)
                for name, value in body["relations"].items()
                if name in blueprint.relations
            }
        return selection.cut(body)

    def _stored(self, entity: Entity, blueprint: CompiledBlueprint) -> dict[str, Json]:
        title = entity.title
        if title is None and self.behaviour.missing_title == "identifier":
            title = entity.identifier
        return {
            "identifier": entity.identifier,
            "title": title,
            "icon": entity.icon,
            "blueprint": entity.blueprint,
            "team": self.team(entity),
            "properties": entity.properties,
            "relations": {**blueprint.empty_relations, **entity.relations},
            "scorecards": {},
            **entity.stamp.fields(),
        }

    def _with_titles(self, blueprint: str, value: Json) -> Json:
        if isinstance(value, list):
            return [self._with_titles(blueprint, identifier) for identifier in value]
        found = self._data.find(Key(blueprint, value)) if value is not None else None
        return None if found is None else {"identifier": found.identifier, "title": found.title}

    def team(self, entity: Entity) -> list[str]:
        """Owning teams: the entity's own, or those at the end of the ownership path."""
        ownership = self._data.blueprints[entity.blueprint].definition.get("ownership") or {}
        if ownership.get("type") != "Inherited":
            return list(entity.team)
        ends = self.follow([entity], ownership["path"].split("."))
        return list(dict.fromkeys(team for end in ends for team in end.team))

    # --- single values ---

    def value(self, entity: Entity, name: str) -> Json:
        """A property or meta-property by name; None when there is none."""
        if name.startswith("$"):
            return self._meta(entity, name)
        if name in entity.properties:
            return entity.properties[name]
        return self._derived(entity, [name]).get(name)

    def _meta(self, entity: Entity, name: str) -> Json:
        known: Mapping[str, Json] = {
            "$identifier": entity.identifier,
            "$title": entity.title,
            "$icon": entity.icon,
            "$blueprint": entity.blueprint,
            "$datasource": entity.stamp.datasource,
        }
        if name in known:
            return known[name]
        return self.team(entity) if name == "$team" else entity.stamp.fields().get(name[1:])

    def follow(self, start: Iterable[Entity], steps: Iterable[str]) -> list[Entity]:
        """The entities at the end of a chain of relations, each once."""
        here = list(start)
        for step in steps:
            keys = dict.fromkeys(
                key for entity in here for relation, key in self._data.targets(entity) if relation == step
            )
            here = [found for key in keys if (found := self._data.find(key)) is not None]
        return here

    def search(self, query: Mapping[str, Json]) -> Search:
        """A search query ready to be asked about entities.  Raises `PortRefusal`."""
        return Search(query, self._data, self, self._clock())

    # --- derived properties ---

    def _derived(self, entity: Entity, names: Collection[str]) -> dict[str, Json]:
        blueprint = self._data.blueprints[entity.blueprint]
        found: dict[str, Json] = {}
        for name in names:
            if name in blueprint.mirrors:
                found[name] = self._mirror(entity, blueprint, name)
            elif name in blueprint.part("aggregationProperties"):
                found[name] = self._aggregate(entity, blueprint.part("aggregationProperties")[name])
        calculations = blueprint.part("calculationProperties")
        if wanted := [name for name in names if name in calculations]:
            seen = self._seen_by_calculations(entity, blueprint)
            for name in wanted:
                found.update(self._calculate(name, calculations[name]["calculation"], seen))
        return found

    def _mirror(self, entity: Entity, blueprint: CompiledBlueprint, name: str) -> Json:
        *steps, last = blueprint.mirrors[name]
        values = [self.value(end, last) for end in self.follow([entity], steps)]
        return values if self._is_plural(blueprint, steps) else next(iter(values), None)

    def _is_plural(self, blueprint: CompiledBlueprint, steps: Iterable[str]) -> bool:
        for step in steps:
            relation = blueprint.relations[step]
            if relation.many:
                return True
            blueprint = self._data.blueprints[relation.target]
        return False

    def _seen_by_calculations(self, entity: Entity, blueprint: CompiledBlueprint) -> dict[str, Json]:
        body = self._stored(entity, blueprint)
        mirrors = {name: self._mirror(entity, blueprint, name) for name in blueprint.mirrors}
        return {**body, "properties": {**body["properties"], **mirrors}}

    def _calculate(self, name: str, text: str, seen: Json) -> Iterator[tuple[str, Json]]:
        import jq

        program = self._programs.get(text)
        if program is None:
            program = self._programs[text] = jq.compile(text)
        try:
            yield name, program.input_value(seen).first()
        except (ValueError, StopIteration):
            # A calculation that fails has no value; Port shows nothing then.
            return

    def _aggregate(self, entity: Entity, aggregation: Mapping[str, Json]) -> Json:
        key = Key(entity.blueprint, entity.identifier)
        related = self._data.related([key], "downstream") | self._data.related([key], "upstream")
        members = [
            found
            for other in sorted(related)
            if other.blueprint == aggregation["target"] and (found := self._data.find(other)) is not None
        ]
        query = aggregation.get("query")
        if query:
            matches = self.search(query).matches
            members = [member for member in members if matches(member)]
        spec = aggregation["calculationSpec"]
        return len(members) if spec["func"] == "count" else self.statistic(spec, members)

    def statistic(self, spec: Mapping[str, Json], members: Iterable[Entity]) -> float | None:
        """Sum, min, max, median or average of a number property; None without numbers."""
        values = [self.value(member, spec["property"]) for member in members if "property" in spec]
        numbers = [value for value in values if isinstance(value, (int, float)) and not isinstance(value, bool)]
        return _STATISTICS[spec["func"]](numbers) if numbers else None

    def count_values(self, members: Iterable[Entity], name: str, *, relation: bool) -> dict[str, int]:
        """How often each value of a property or relation occurs."""
        counts: dict[str, int] = {}
        for member in members:
            value = member.relations.get(name) if relation else self.value(member, name)
            for single in related_identifiers(value) if relation else (value,):
                counts[str(single)] = counts.get(str(single), 0) + 1
        return counts
