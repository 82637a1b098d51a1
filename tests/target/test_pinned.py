"""Two plans stand on one world: of a target that never stands still, a pinned reader tells each thing once."""

from __future__ import annotations

import asyncio
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from hypothesis import given, settings
from hypothesis import strategies as st

from pdsync.model import Blueprint, EntityKey, Existing, ExistingEntity, Scorecard
from pdsync.pinned import PinnedReader
from pdsync.searching import Question
from pdsync.targets import Edit, EntityWrite

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from pdsync.targets import Progress, ValidatingReader

KEYS = tuple(EntityKey(blueprint, name) for blueprint in ("service", "team") for name in "abc")
PATHS = ("title", "properties.tier", "relations.owner")
BLUEPRINTS = {name: Blueprint(name, {"identifier": name}) for name in ("service", "team")}

World = dict[EntityKey, dict[str, Any]]

worlds = st.dictionaries(
    st.sampled_from(KEYS),
    st.fixed_dictionaries({path: st.sampled_from([None, "a", "b"]) for path in PATHS}),
)
keys = st.sets(st.sampled_from(KEYS), max_size=3)
paths = st.sets(st.sampled_from(PATHS))
names = st.sampled_from(sorted(BLUEPRINTS))
questions = st.one_of(
    st.tuples(st.just("read"), st.dictionaries(names, paths)),
    st.tuples(st.just("look"), st.dictionaries(st.sampled_from(KEYS), paths, max_size=3)),
    st.tuples(st.sampled_from(["known", "whole", "edits", "by_integration"]), keys),
    st.tuples(st.just("pointing_at"), st.sampled_from("ab")),
    st.tuples(st.just("found"), st.sets(st.sampled_from("xyz"))),
    st.tuples(st.just("scorecards"), names),
    st.tuples(st.just("refusals"), st.dictionaries(st.sampled_from("abc"), st.sampled_from("12"))),
)


class Restless:
    """A `ValidatingReader` over the next of its worlds each time it is asked, again and again from the first."""

    name = "restless"

    def __init__(self, worlds: Sequence[World]) -> None:
        self._worlds = worlds
        self.asked = 0

    def stop(self) -> None:
        """Nothing is in flight."""

    def _next(self) -> World:
        self.asked += 1
        return self._worlds[self.asked % len(self._worlds)]

    async def read(
        self, wanted: Mapping[str, Collection[str]], _progress: object = None, _like: object = MappingProxyType({})
    ) -> Existing:
        world = self._next()
        entities = {
            key: ExistingEntity({path: fields[path] for path in wanted[key.blueprint]})
            for key, fields in sorted(world.items())
            if key.blueprint in wanted
        }
        return Existing("org", "Org", BLUEPRINTS, entities)

    async def look(self, wanted: Mapping[EntityKey, Collection[str]]) -> dict[EntityKey, ExistingEntity]:
        world = self._next()
        some = {path for paths in wanted.values() for path in paths}  # as Port: more than was wanted of one
        return {key: ExistingEntity({path: world[key][path] for path in some}) for key in wanted if key in world}

    async def whole(self, keys: Collection[EntityKey]) -> dict[EntityKey, ExistingEntity]:
        world = self._next()
        return {key: ExistingEntity(world[key], created_at=str(self.asked)) for key in keys if key in world}

    async def known(self, keys: Collection[EntityKey]) -> frozenset[EntityKey]:
        return frozenset(self._next().keys() & {*keys})

    async def edits(self, keys: Collection[EntityKey]) -> dict[EntityKey, Edit]:
        return {key: Edit(str(self.asked), "") for key in self._next().keys() & {*keys}}

    async def by_integration(
        self, keys: Collection[EntityKey], _progress: Progress | None = None
    ) -> frozenset[EntityKey] | None:
        return frozenset(self._next().keys() & {*keys}) if self.asked % 3 else None

    async def pointing_at(
        self, blueprint: str, relation: str, targets: Collection[str]
    ) -> dict[EntityKey, ExistingEntity] | None:
        path = f"relations.{relation}"
        if self.asked % 5 == 1:
            return None
        world = {key: fields[path] for key, fields in self._next().items() if key.blueprint == blueprint}
        return {key: ExistingEntity({path: value}) for key, value in world.items() if value in targets}

    async def found(self, questions: Collection[Question]) -> dict[Question, tuple[str, ...] | str]:
        self._next()
        return {question: (str(self.asked),) for question in questions}

    async def scorecards(self, blueprint: str) -> tuple[Scorecard, ...] | None:
        self._next()
        return (Scorecard(f"{blueprint}{self.asked}"),)

    async def refusals(self, _blueprint: str, writes: Sequence[EntityWrite]) -> dict[str, str]:
        self._next()
        return {write.identifier: str(self.asked) for write in writes if self.asked % 2}


Facts = dict[tuple[Any, ...], Any]


def values(there: Mapping[EntityKey, ExistingEntity], asked: Mapping[EntityKey, Collection[str]]) -> Facts:
    told: Facts = {("there", key): key in there for key in asked}
    return told | {("value", k, p): there[k].fields.get(p) for k, paths in asked.items() if k in there for p in paths}


def all_of(names: Mapping[str, Collection[str]]) -> dict[EntityKey, Collection[str]]:
    return {key: names[key.blueprint] for key in KEYS if key.blueprint in names}


async def answered(reader: ValidatingReader, what: str, about: Any) -> Facts:
    """What the answer to one question says, thing by thing."""
    asks: dict[str, Callable[[], Any]] = {
        "read": lambda: reader.read(about),
        "look": lambda: reader.look(about),
        "pointing_at": lambda: reader.pointing_at("service", "owner", [about]),
        "found": lambda: reader.found([Question("service", each) for each in sorted(about)]),
        "refusals": lambda: reader.refusals("service", [EntityWrite(i, {"title": t}) for i, t in about.items()]),
    }
    answer = await asks.get(what, lambda: getattr(reader, what)(about))()
    if what in ("read", "look"):
        found, asked = (answer.entities, all_of(about)) if what == "read" else (answer, about)
        if isinstance(reader, PinnedReader):
            assert all(entity.fields.keys() <= {*asked[key]} for key, entity in found.items())
        return values(found, asked)
    if what == "known":
        return {("there", key): key in answer for key in about}
    if what == "pointing_at":
        return values(answer or {}, dict.fromkeys(answer or (), PATHS[2:]))
    if what == "refusals":
        return {(what, i, t): answer.get(i) for i, t in about.items()}
    if isinstance(answer, dict | frozenset):
        return {(what, each): (answer.get(each) if isinstance(answer, dict) else each in answer) for each in about}
    return {(what, str(about)): answer}


def read_once(asked: Sequence[tuple[str, Any]], reader: ValidatingReader) -> list[Facts]:
    async def work() -> list[Facts]:
        return [await answered(reader, *each) for each in asked]

    return asyncio.run(work())


@settings(max_examples=200, deadline=None)
@given(st.lists(worlds, min_size=2, max_size=4), st.lists(questions, max_size=8))
def test_whatever_is_told_once_stays_so(worlds: list[World], asked: list[tuple[str, Any]]) -> None:
    """No two answers contradict each other, whatever is asked in between; what was asked before is not asked again."""
    restless = Restless(worlds)
    reader = PinnedReader(restless, restless)
    told: Facts = {}
    for facts in read_once(asked, reader):
        assert {fact: told[fact] for fact in facts.keys() & told.keys()} == {f: facts[f] for f in facts.keys() & told}
        told |= facts
    before = restless.asked
    again = read_once(asked, reader)
    assert restless.asked == before
    assert all(told[fact] == value for facts in again for fact, value in facts.items())


@settings(max_examples=60, deadline=None)
@given(worlds, st.lists(questions, max_size=6))
def test_of_a_world_that_stands_still_it_says_what_is_so(world: World, asked: list[tuple[str, Any]]) -> None:
    """Pinning adds nothing and leaves nothing out of what is told of entities."""
    told = ("read", "look", "known", "whole", "pointing_at")
    some = [each for each in asked if each[0] in told]
    plain = [fact for fact in read_once(some, Steady([world])) if fact]
    assert [fact for fact in read_once(some, PinnedReader(Steady([world]))) if fact] == plain


class Steady(Restless):
    """The same, and nothing that it tells depends on how often it was asked."""

    async def whole(self, keys: Collection[EntityKey]) -> dict[EntityKey, ExistingEntity]:
        return await self.look(dict.fromkeys(keys, PATHS))

    async def pointing_at(
        self, blueprint: str, relation: str, targets: Collection[str]
    ) -> dict[EntityKey, ExistingEntity] | None:
        self.asked = 0
        return await super().pointing_at(blueprint, relation, targets)
