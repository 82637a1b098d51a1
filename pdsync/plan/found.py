"""What a search finds once the plan is applied: Port's answer of now, and what the plan makes of the entities.

A query is answered as it would be after the writes, because that is what Port resolves it to from then on.  So

    new here            found when its values match
    changed here        found or not by its new values, where the query speaks of what changes
    another identifier  the entity of the old one is not found any more, unless it is only let go of
    all else            as Port says

An entity that is ours and that nothing makes any more counts as Port says: while something desired points at it, it
stays (`pdsync.plan.entities.with_stubs`).  Where it is one of several, and so nothing points at it, it may go, and the
next plan find fewer; where it is only let go of, what we set there is cleared, and the next plan may find others.
"""

from __future__ import annotations

import json
from collections import defaultdict
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from pdsync.model import EntityKey
from pdsync.normal import defaults_of, desired_normaliser, same
from pdsync.plan.alone import LeftAlone
from pdsync.plan.ownership import Ownership
from pdsync.plan.parts import was_there
from pdsync.plan.rename import successors
from pdsync.searching import MOST, UNTOLD, Answer, holds, names_in, refusal, single

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from pdsync.model import Blueprint, DesiredEntity, ExistingEntity, Json
    from pdsync.plan.decide import Facts
    from pdsync.searching import Asked, Question

_NAMED = 5
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
        self._left_alone = LeftAlone(facts.catalog.rules)
        self._normalisers = {name: desired_normaliser(blueprint) for name, blueprint in blueprints.items()}
        self._defaults = {name: defaults_of(blueprint) for name, blueprint in blueprints.items()}
        owned, ownership = facts.ledger.entities, Ownership(facts)
        self._superseded = {old for old in successors(facts) if ownership.renaming(old, owned[old]) == "delete"}
        self._by_target: defaultdict[str, dict[EntityKey, DesiredEntity]] = defaultdict(dict)
        for key, want in facts.desired.entities.items():
            self._by_target[key.blueprint][key] = want
        self._moving: dict[str, dict[str, _Moving]] = {}
        self._letting_go: dict[str, list[EntityKey]] = {}
        self._having: dict[tuple[str, str], dict[str, list[str]]] = {}

    def answer(self, question: Question, found: Collection[str] | str, *, many: bool) -> Answer:
        """What a query means at its place, `found` being what Port finds now, or why it does not say."""
        if isinstance(found, str):
            return Answer("unknown", told=found)
        identifiers, later = self._afterwards(question, found)
        if not identifiers:
            return Answer("none", [] if many else None, f"{question.query} finds no {question.blueprint}", later)
        if len(identifiers) > (MOST if many else 1):
            told = f"{question.query} finds {_count(identifiers)} of {question.blueprint}: {_first(identifiers)}"
            return Answer("several", told=told, later=later or any(map(self._may_go(question.blueprint), identifiers)))
        return Answer("found", identifiers if many else identifiers[0], later=later)

    def _may_go(self, target: str) -> Callable[[str], bool]:
        """A test whether an entity is ours and nothing makes it any more: with no relation to it, it may go."""
        owned, desired = self._facts.ledger.entities, self._by_target[target]
        return lambda identifier: (key := EntityKey(target, identifier)) in owned and key not in desired

    def _afterwards(self, question: Question, found: Collection[str]) -> tuple[list[str], bool]:
        query = json.loads(question.query)
        gone = {key.identifier for key in self._superseded if key.blueprint == question.blueprint}
        matching = set(found) - gone
        names = set(names_in(query))
        later = any(self._is_worked_out(question.blueprint, name) for name in names) and self._moves(question.blueprint)
        later = later or any(
            holds(query, partial(self._once_released, key)) is not (key.identifier in matching)
            for key in self._released(question.blueprint)
            if not self._cleared(key).isdisjoint(map(_path, names))
        )
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

    def _released(self, target: str) -> list[EntityKey]:
        """What we only adopted and nothing makes any more: what we set there is cleared, if it is let go."""
        if target not in self._letting_go:
            ours, there = self._facts.ledger.entities, self._facts.existing.entities
            self._letting_go[target] = [
                key
                for key, last in ours.items()
                if key.blueprint == target
                and last.origin == "adopted"
                and key in there
                and key not in self._by_target[target]
            ]
        return self._letting_go[target]

    def _cleared(self, key: EntityKey) -> AbstractSet[str]:
        last = self._facts.ledger.entities[key]
        return {path for path in last.fields if path != "title" and not was_there(last, path)}

    def _once_released(self, key: EntityKey, name: str) -> Json:
        path = _path(name)
        have = self._facts.existing.entities[key]
        if name == "$identifier" or path not in self._cleared(key):
            return key.identifier if name == "$identifier" else have.fields.get(path, UNTOLD)
        return None

    def _is_worked_out(self, target: str, name: str) -> bool:
        """Whether it is Port that makes a property's value, of others."""
        blueprint = self._blueprints.get(target)
        return not name.startswith("$") and (blueprint is None or name not in blueprint.properties)

    def _moves(self, target: str) -> bool:
        """Whether the plan makes or changes anything from which a value of such entities may be worked out."""
        definition = self._blueprints[target].definition if target in self._blueprints else {}
        parts = [*(definition.get("relations") or {}).values()]
        parts += (definition.get("aggregationProperties") or {}).values()
        return any(map(self._moved, {target, *(str(part.get("target")) for part in parts)}))

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
            if not self._left_alone.covers(want.rules, path)
            and not same(held := have.fields.get(path), self._left_alone.inside(want.rules, path, value, held).value)
        }
        return _Moving(want, have, paths) if paths else None

    def _value(self, moving: _Moving, name: str) -> Json:
        want, have, _ = moving
        if name == "$identifier":
            return want.key.identifier
        if name == "$blueprint":
            return want.key.blueprint
        path = _path(name)
        if name not in _META and (name.startswith("$") or self._is_worked_out(want.key.blueprint, name)):
            return UNTOLD
        blueprint = self._blueprints.get(want.key.blueprint)
        if path in want.fields and (moving.paths is None or path in moving.paths):
            value = want.fields[path]
            return self._defaults[want.key.blueprint].get(path) if value is None and blueprint else value
        if have is not None:
            return have.fields.get(path, UNTOLD)
        has_default = blueprint and "default" in (blueprint.properties.get(name) or {})
        return UNTOLD if path in want.unknown or has_default else None


def _path(name: str) -> str:
    return _META.get(name, f"properties.{name}")


def _first(identifiers: Sequence[str]) -> str:
    more = f" and {len(identifiers) - _NAMED} more" if len(identifiers) > _NAMED else ""
    return f"{', '.join(identifiers[:_NAMED])}{more}"


def _count(identifiers: Collection[str]) -> str:
    return f"more than {MOST}" if len(identifiers) > MOST else str(len(identifiers))
