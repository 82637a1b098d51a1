"""Search queries: rules on properties, relations and the graph, as a predicate over entities.

Port documentation, Search and query.  The shape of a query is checked by the route's schema; rules that only make
sense for a person's token are refused here.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pdsync.sandbox.port_data import Key, related_identifiers
from pdsync.sandbox.port_rules import Entity, invalid
from pdsync.sandbox.port_schema import parse_date_time

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pdsync.model import Json
    from pdsync.sandbox.port_data import Direction, PortData
    from pdsync.sandbox.port_read import Reader

Predicate = Callable[[Entity], bool]
"""Whether an entity matches."""


def _is_empty(value: Json) -> bool:
    return value is None or value in ("", [])


def _many(value: Json) -> list[Json]:
    return value if isinstance(value, list) else [value]


def _same(value: Json, wanted: Json) -> bool:
    return isinstance(value, bool) == isinstance(wanted, bool) and value == wanted


def _contains(value: Json, wanted: Json) -> bool:
    if isinstance(value, list):
        return all(part in value for part in _many(wanted))
    return isinstance(value, str) and isinstance(wanted, str) and wanted in value


def _contains_any(value: Json, wanted: Json) -> bool:
    held = _many(value)
    return any(part in held for part in _many(wanted))


def _begins(value: Json, wanted: Json) -> bool:
    return isinstance(value, str) and isinstance(wanted, str) and value.startswith(wanted)


def _ends(value: Json, wanted: Json) -> bool:
    return isinstance(value, str) and isinstance(wanted, str) and value.endswith(wanted)


def _in(value: Json, wanted: Json) -> bool:
    return any(_same(value, part) for part in _many(wanted))


_COMPARE: Mapping[str, Callable[[Json, Json], bool]] = {
    "=": _same,
    "in": _in,
    "contains": _contains,
    "containsAny": _contains_any,
    "beginsWith": _begins,
    "endsWith": _ends,
}
_OPPOSITES = {
    "!=": "=",
    "notIn": "in",
    "doesNotContains": "contains",
    "doesNotBeginsWith": "beginsWith",
    "doesNotEndsWith": "endsWith",
    "isNotEmpty": "isEmpty",
    "isNotExpired": "isExpired",
    "notBetween": "between",
}
_ORDER: Mapping[str, Callable[[Any, Any], bool]] = {
    ">": lambda left, right: left > right,
    ">=": lambda left, right: left >= right,
    "<": lambda left, right: left < right,
    "<=": lambda left, right: left <= right,
}
_DAY = dt.timedelta(days=1)
_PRESETS: Mapping[str, tuple[dt.timedelta, dt.timedelta]] = {
    "lastDay": (_DAY, dt.timedelta()),
    "lastWeek": (7 * _DAY, dt.timedelta()),
    "last2Weeks": (14 * _DAY, dt.timedelta()),
    "lastMonth": (30 * _DAY, dt.timedelta()),
    "last3Months": (91 * _DAY, dt.timedelta()),
    "last6Months": (182 * _DAY, dt.timedelta()),
    "last12Months": (365 * _DAY, dt.timedelta()),
}
_WHOLE_DAYS = {"yesterday": -1, "today": 0, "tomorrow": 1}


def _instant(value: Json) -> dt.datetime | None:
    return parse_date_time(value) if isinstance(value, str) else None


def _ordered(value: Json, wanted: Json, compare: Callable[[Any, Any], bool]) -> bool:
    if isinstance(wanted, str):
        left, right = _instant(value), _instant(wanted)
        return left is not None and right is not None and compare(left, right)
    return isinstance(value, (int, float)) and not isinstance(value, bool) and compare(value, wanted)


def named_in(query: Mapping[str, Json]) -> set[str] | None:
    """The identifiers of which some must be an entity's for it to match; None where a query names none.

    Who looks some entities up asks so: nobody else need be looked at.
    """
    if query["combinator"] != "and":
        return None
    rules = (
        rule for rule in query["rules"] if rule.get("property") == "$identifier" and rule["operator"] in ("=", "in")
    )
    told = [{name for name in _many(rule.get("value")) if isinstance(name, str)} for rule in rules]
    return set.intersection(*told) if told else None


class Search:
    """A query over the entities of `data`, values read by `reader`, at the moment `now` (epoch seconds)."""

    def __init__(self, query: Mapping[str, Json], data: PortData, reader: Reader, now: float) -> None:
        self._data = data
        self._reader = reader
        self._now = dt.datetime.fromtimestamp(now, tz=dt.UTC)
        self.matches = self._group(query)

    def _group(self, group: Mapping[str, Json]) -> Predicate:
        parts = [self._rule(rule) for rule in group["rules"]]
        if not parts:
            return lambda _entity: True
        combine = all if group["combinator"] == "and" else any
        return lambda entity: combine(part(entity) for part in parts)

    def _rule(self, rule: Mapping[str, Json]) -> Predicate:
        if "combinator" in rule:
            return self._group(rule)
        if rule.get("property") == "$datasource" and self._reader.behaviour.datasource != "found":
            return self._datasource()
        operator = rule["operator"]
        positive = _OPPOSITES.get(operator)
        if positive is not None:
            opposite = self._rule({**rule, "operator": positive})
            return lambda entity: not opposite(entity)
        if any(isinstance(rule.get(side), dict) and "context" in rule[side] for side in ("property", "value")):
            raise invalid("a rule with a user's context cannot be evaluated for machine credentials")
        special = {
            "relatedTo": self._related_to,
            "matchAny": self._match_any,
            "isEmpty": self._empty,
            "isExpired": self._expired,
            "between": self._between,
        }.get(operator)
        return special(rule) if special is not None else self._compare(rule)

    def _datasource(self) -> Predicate:
        """A rule on what no document of Port's API speaks of, where it does not work."""
        how = self._reader.behaviour.datasource
        if how == "refused":
            raise invalid("body/rules/0/property: $datasource is not a property that can be searched")
        return lambda _entity: how == "everything"

    # --- values ---

    def _values(self, rule: Mapping[str, Json]) -> Callable[[Entity], Iterable[Json]]:
        """The values a rule speaks of; a property schema may speak of several."""
        if "scorecard" in rule:
            return lambda _entity: (None,)
        if "relation" in rule:
            return self._relation_values(rule["relation"], rule.get("targetProperty", "$identifier"))
        if "propertySchema" in rule:
            return self._schema_values(rule["propertySchema"])
        name = rule["property"]
        return lambda entity: (self._reader.value(entity, name),)

    def _relation_values(self, name: str, target_property: str) -> Callable[[Entity], Iterable[Json]]:
        def values(entity: Entity) -> Iterable[Json]:
            value = entity.relations.get(name)
            if target_property == "$identifier":
                return (value,)
            return [self._reader.value(end, target_property) for end in self._reader.follow([entity], [name])] or (
                None,
            )

        return values

    def _schema_values(self, schema: Mapping[str, Json]) -> Callable[[Entity], Iterable[Json]]:
        def values(entity: Entity) -> Iterable[Json]:
            properties = self._data.blueprints[entity.blueprint].properties
            fitting = [name for name, part in properties.items() if all(part.get(key) == schema[key] for key in schema)]
            return [entity.properties.get(name) for name in fitting]

        return values

    # --- rules ---

    def _compare(self, rule: Mapping[str, Json]) -> Predicate:
        values, wanted, operator = self._values(rule), rule.get("value"), rule["operator"]
        if isinstance(wanted, dict):
            return self._between(rule)
        if operator in _ORDER:
            compare = _ORDER[operator]
            return lambda entity: any(_ordered(value, wanted, compare) for value in values(entity))
        test = _COMPARE[operator]
        return lambda entity: any(test(value, wanted) for value in values(entity))

    def _empty(self, rule: Mapping[str, Json]) -> Predicate:
        values = self._values(rule)
        return lambda entity: all(_is_empty(value) for value in values(entity))

    def _expired(self, rule: Mapping[str, Json]) -> Predicate:
        values, now = self._values(rule), self._now

        def predicate(entity: Entity) -> bool:
            instants = [_instant(value) for value in values(entity)]
            return any(instant is not None and instant <= now for instant in instants)

        return predicate

    def _between(self, rule: Mapping[str, Json]) -> Predicate:
        start, end = self._span(rule["value"])
        values = self._values(rule)

        def predicate(entity: Entity) -> bool:
            instants = [_instant(value) for value in values(entity)]
            return any(instant is not None and start <= instant <= end for instant in instants)

        return predicate

    def _span(self, value: Mapping[str, Json]) -> tuple[dt.datetime, dt.datetime]:
        preset = value.get("preset")
        if preset in _WHOLE_DAYS:
            midnight = self._now.replace(hour=0, minute=0, second=0, microsecond=0) + _WHOLE_DAYS[preset] * _DAY
            return midnight, midnight + _DAY
        if preset is not None:
            before, after = _PRESETS[preset]
            return self._now - before, self._now + after
        start, end = _instant(value["from"]), _instant(value["to"])
        if start is None or end is None:
            raise invalid("a date range needs two date-times")
        return start, end

    def _related_to(self, rule: Mapping[str, Json]) -> Predicate:
        start = [Key(rule["blueprint"], identifier) for identifier in related_identifiers(rule["value"])]
        directions: tuple[Direction, ...] = ("upstream", "downstream")
        if "direction" in rule:
            directions = (rule["direction"],)
        related: set[Key] = set()
        for direction in directions:
            related |= self._data.related(start, direction, rule.get("required"))
        return lambda entity: Key(entity.blueprint, entity.identifier) in related

    def _match_any(self, rule: Mapping[str, Json]) -> Predicate:
        wanted = set(_many(rule["value"]))
        where = rule["property"]
        if isinstance(where, str):
            return lambda entity: _contains_any(self._reader.value(entity, where), list(wanted))
        steps = self._hops(where["path"])
        origin = where.get("fromBlueprint")
        if origin is None:
            return lambda entity: any(end.identifier in wanted for end in self._ends(entity, steps))
        starts = [entity for entity in self._data.entities.get(origin, {}).values() if entity.identifier in wanted]
        ends = {Key(end.blueprint, end.identifier) for start in starts for end in self._ends(start, steps)}
        return lambda entity: Key(entity.blueprint, entity.identifier) in ends

    @staticmethod
    def _hops(path: Iterable[Json]) -> list[tuple[str, int]]:
        return [
            (step, 1) if isinstance(step, str) else (step["relation"], int(step.get("maxHops", 1))) for step in path
        ]

    def _ends(self, start: Entity, steps: Iterable[tuple[str, int]]) -> list[Entity]:
        here = [start]
        for relation, hops in steps:
            reached: dict[Key, Entity] = {}
            for _ in range(hops):
                here = self._reader.follow(here, [relation])
                reached.update({Key(end.blueprint, end.identifier): end for end in here})
            here = list(reached.values())
        return here
