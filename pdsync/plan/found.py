"""What a search finds once the plan is applied: Port's answer of now, and what the plan makes of the entities.

A query is answered as it would be after the writes, because that is what Port resolves it to from then on.  So

    new here            found when its values match
    changed here        found or not by its new values, where the query speaks of what changes
    another identifier  the entity of the old one is not found any more
    all else            as Port says

An entity that is ours and that nothing makes any more counts as Port says: while something desired points at it, it
stays (`pdsync.plan.entities.with_stubs`).
"""

from __future__ import annotations

import json
from collections import defaultdict
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from pdsync.normal import entity_normaliser, same
from pdsync.plan.ownership import Ownership
from pdsync.plan.rename import successors
from pdsync.searching import MOST, UNTOLD, Answer, holds, names_in, refusal, single

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping
    from collections.abc import Set as AbstractSet

    from pdsync.model import Blueprint, DesiredEntity, EntityKey, ExistingEntity, Json
    from pdsync.plan.decide import Facts
    from pdsync.searching import Asked, Question

_META = {"$title": "title", "$icon": "icon", "$team": "team"}


class _Moving(NamedTuple):
    """An entity that the plan makes or changes; `paths` are what changes, None for all of one that is new."""

    want: DesiredEntity
    have: ExistingEntity | None
    paths: AbstractSet[str] | None


def place_of(asked: Asked, blueprints: Mapping[str, Blueprint]) -> tuple[str, bool] | str:
    """The blueprint that is searched, and whether many may be found; or why nothing can be asked."""
    if told := refusal(json.loads(asked.query)):
        return f"Port does not take the query: {told}"
    if asked.path == "identifier":
        return asked.blueprint, False
    if asked.path == "team":
        return "_team", True
    blueprint, name = blueprints.get(asked.blueprint), asked.path.removeprefix("relations.")
    relation = blueprint.relations.get(name) if blueprint else None
    if relation is None:
        return f"{asked.blueprint} has no relation {name}"
    return str(relation["target"]), bool(relation.get("many"))


class Findings:
    """What searches find after a plan of these facts."""

    def __init__(self, facts: Facts, blueprints: Mapping[str, Blueprint]) -> None:
        self._facts = facts
        self._blueprints = blueprints
        self._leaves_alone = Ownership(facts).leaves_alone
        self._normalisers = {name: entity_normaliser(blueprint) for name, blueprint in blueprints.items()}
        self._superseded = successors(facts).keys()
        self._by_target: defaultdict[str, dict[EntityKey, DesiredEntity]] = defaultdict(dict)
        for key, want in facts.desired.entities.items():
            self._by_target[key.blueprint][key] = want
        self._moving: dict[str, dict[str, _Moving]] = {}
        self._having: dict[tuple[str, str], dict[str, list[str]]] = {}

    def answer(self, asked: Asked, question: Question, found: Collection[str] | str, *, many: bool) -> Answer:
        """What a query means at its place, `found` being what Port finds now, or why it does not say."""
        if isinstance(found, str):
            return Answer("unknown", told=found)
        identifiers, later = self._afterwards(question, found)
        if asked.path == "identifier" and len(identifiers) != 1:
            count = "nothing" if not identifiers else f"{_count(identifiers)} of {question.blueprint}"
            return Answer("none" if not identifiers else "several", told=f"{question.query} finds {count}", later=later)
        if not identifiers:
            return Answer("none", [] if many else None, f"{question.query} finds no {question.blueprint}", later)
        if len(identifiers) > (MOST if many else 1):
            told = f"{question.query} finds {_count(identifiers)} of {question.blueprint}: {', '.join(identifiers[:5])}"
            return Answer("several", told=told, later=later)
        return Answer("found", identifiers if many else identifiers[0], later=later)

    def _afterwards(self, question: Question, found: Collection[str]) -> tuple[list[str], bool]:
        query = json.loads(question.query)
        gone = {key.identifier for key in self._superseded if key.blueprint == question.blueprint}
        matching, later = set(found) - gone, False
        names = set(names_in(query))
        for identifier, moving in self._concerned(question.blueprint, query, matching):
            if moving.paths is not None and moving.paths.isdisjoint(map(_path, names)):
                continue
            verdict = holds(query, partial(self._value, moving))
            if verdict is None:
                later = True
            elif verdict:
                matching.add(identifier)
            else:
                matching.discard(identifier)
        return sorted(matching), later

    def _concerned(self, target: str, query: Mapping[str, Json], found: Iterable[str]) -> Iterator[tuple[str, _Moving]]:
        """What moves and may match a query, or does now."""
        moving = self._moved(target)
        asked = single(query)
        if asked is None:
            yield from moving.items()
            return
        name, value = asked
        candidates = {*self._values(target, name).get(value, ()), *self._values(target, name).get("", ()), *found}
        yield from ((each, moving[each]) for each in sorted(candidates) if each in moving)

    def _values(self, target: str, name: str) -> dict[str, list[str]]:
        """The entities that move, by the text that they have of a property; under "" where it is no text."""
        by_value = self._having.get((target, name))
        if by_value is None:
            by_value = self._having[target, name] = defaultdict(list)
            for identifier, moving in self._moved(target).items():
                value = self._value(moving, name)
                by_value[value if isinstance(value, str) else ""].append(identifier)
        return by_value

    def _moved(self, target: str) -> dict[str, _Moving]:
        if target not in self._moving:
            of = ((key.identifier, self._move(want)) for key, want in self._by_target[target].items())
            self._moving[target] = {identifier: moving for identifier, moving in of if moving is not None}
        return self._moving[target]

    def _move(self, want: DesiredEntity) -> _Moving | None:
        have = self._facts.existing.entities.get(want.key)
        if have is None:
            return _Moving(want, None, None)
        normalise = self._normalisers.get(want.key.blueprint)
        if normalise is None:
            return None
        paths = {
            path
            for path, value in normalise(want.fields).items()
            if not same(have.fields.get(path), value) and not self._leaves_alone(want.rules, path)
        }
        return _Moving(want, have, paths) if paths else None

    def _value(self, moving: _Moving, name: str) -> Json:
        want, have, _ = moving
        if name == "$identifier":
            return want.key.identifier
        if name == "$blueprint":
            return want.key.blueprint
        path = _path(name)
        blueprint = self._blueprints.get(want.key.blueprint)
        if name not in _META and (blueprint is None or name not in blueprint.properties):
            return UNTOLD
        if path in want.fields and (moving.paths is None or path in moving.paths):
            return want.fields[path]
        if have is not None:
            return have.fields.get(path, UNTOLD)
        has_default = blueprint and "default" in (blueprint.properties.get(name) or {})
        return UNTOLD if path in want.unknown or has_default else None


def _path(name: str) -> str:
    return _META.get(name, f"properties.{name}")


def _count(identifiers: Collection[str]) -> str:
    return f"more than {MOST}" if len(identifiers) > MOST else str(len(identifiers))
