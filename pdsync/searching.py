"""Search queries in the place of an identifier, a team or a relation: what is asked, what it means, what comes of it.

Port resolves such a query when an entity is written: of an identifier exactly one entity must be found, of a relation
or a team at most a hundred are taken (Port API reference, create an entity; Port documentation, mapping relations using
search queries).  Here it is resolved while planning, so that the plan shows what is found.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from pdsync.model import DesiredEntity, EntityKey, Fields, Json

MOST = 100
"""So many entities a query in the place of a relation may stand for."""

State = Literal["found", "none", "several", "unknown"]


@dataclass(frozen=True, slots=True)
class Searched:
    """In the place of a value: what the query asks for one record, as canonical JSON."""

    query: str

    @classmethod
    def of(cls, query: Json) -> Searched:
        """The question that a query with all its leaves evaluated is."""
        return cls(json.dumps(query, sort_keys=True, ensure_ascii=False, separators=(",", ":")))

    @classmethod
    def told(cls, query: Json) -> Searched:
        """The same of its canonical JSON.  Raises ValueError or TypeError for what is none."""
        json.loads(query)
        return cls(query)


@dataclass(frozen=True, slots=True)
class Pending:
    """What a record gave, with `Searched` in the place of its identifier or of the values of some fields."""

    blueprint: str
    identifier: str | Searched
    fields: Fields
    rules: tuple[str, ...]
    source: str
    unknown: Mapping[str, str] = field(default_factory=dict)


class Asked(NamedTuple):
    """A query for a path (`identifier`, `team`, `relations.x`) of an entity of a blueprint."""

    blueprint: str
    path: str
    query: str


class Question(NamedTuple):
    """A query over the entities of a blueprint, as the target is asked."""

    blueprint: str
    query: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What a query means at its place: the `value` when something was `found`, else `told` says why there is none.

    `later` says that entities which the plan makes may match, too, and that only the target can tell.
    """

    state: State
    value: Json = None
    told: str = ""
    later: bool = False


Lookup = Callable[[Collection[Asked], Mapping[EntityKey, DesiredEntity]], Mapping[Asked, Answer]]
"""Answers queries, given what the mapping says that shall be beside what they stand in."""

LATER = "Port answers it when a plan is made"


def unanswered(asked: Collection[Asked], _desired: Mapping[EntityKey, DesiredEntity]) -> dict[Asked, Answer]:
    """The lookup where there is nobody to ask."""
    return {each: Answer("unknown", told=LATER) for each in asked}


def refusal(query: Json) -> str:
    """Why Port would not take a query at such a place; "" when it would."""
    if not isinstance(query, dict) or query.get("combinator") not in ("and", "or"):
        return 'combinator must be "and" or "or"'
    rules = query.get("rules")
    for rule in rules if isinstance(rules, list) else ():
        told = refusal(rule) if "combinator" in rule or "rules" in rule else _rule_refusal(rule)
        if told:
            return told
    return "" if isinstance(rules, list) else "rules must be a list"


def _rule_refusal(rule: Mapping[str, Json]) -> str:
    name, operator, value = (rule.get(key) for key in ("property", "operator", "value"))
    if not isinstance(name, str):
        return "property must be text"
    takes = _TAKES.get(operator) if isinstance(operator, str) else None
    if takes is None:
        return f"operator must be one of {', '.join(_TAKES)}"
    return "" if takes(value) else f"the value of {name} does not go with {operator}"


def _scalar(value: Json) -> bool:
    return value is None or (isinstance(value, str | int | float) and not isinstance(value, bool))


def _texts(value: Json) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)


_TAKES: Mapping[str, Callable[[Json], bool]] = {
    "=": _scalar,
    "in": _texts,
    "contains": lambda value: value is None or isinstance(value, str) or _texts(value),
    "containsAny": _texts,
}
"""What goes with each operator, in the schema of a search for identifiers and relations."""


def names_in(query: Mapping[str, Any]) -> Iterator[str]:
    """The properties that a query speaks of, meta-properties with their `$`."""
    for rule in query["rules"]:
        if "combinator" in rule:
            yield from names_in(rule)
        else:
            yield rule["property"]


def holds(query: Mapping[str, Any], value_of: Callable[[str], Json]) -> bool | None:
    """Whether a query that Port takes holds for an entity; None when that cannot be told.

    `value_of` gives a property's value, or `UNTOLD`.
    """
    verdicts = [
        holds(rule, value_of) if "combinator" in rule else _rule_holds(rule, value_of(rule["property"]))
        for rule in query["rules"]
    ]
    decisive = query["combinator"] == "or"
    if decisive in verdicts:
        return decisive if verdicts else True
    return None if None in verdicts else not decisive or not verdicts


UNTOLD = object()
"""In the place of a value that cannot be told."""


def _rule_holds(rule: Mapping[str, Json], held: Json) -> bool | None:
    return None if held is UNTOLD else _MATCHES[rule["operator"]](held, rule["value"])


def _contains(held: Json, wanted: Json) -> bool:
    if isinstance(held, list):
        return all(each in held for each in (wanted if isinstance(wanted, list) else [wanted]))
    return isinstance(held, str) and isinstance(wanted, str) and wanted in held


def _contains_any(held: Json, wanted: Json) -> bool:
    listed = held if isinstance(held, list) else [held]
    return any(each in listed for each in wanted)


def _equal(held: Json, wanted: Json) -> bool:
    return isinstance(held, bool) == isinstance(wanted, bool) and held == wanted


_MATCHES: Mapping[str, Callable[[Json, Json], bool]] = {
    "=": _equal,
    "in": lambda held, wanted: isinstance(held, str) and held in wanted,
    "contains": _contains,
    "containsAny": _contains_any,
}


def single(query: Mapping[str, Any]) -> tuple[str, str] | None:
    """Property and text of a query that only asks for one being equal to the other."""
    rules = query["rules"]
    if len(rules) != 1 or rules[0].get("operator") != "=" or not isinstance(rules[0]["value"], str):
        return None
    return rules[0]["property"], rules[0]["value"]
