"""A reader of the target for two plans that are to stand on one world: whatever has been told once stays so.

Not questions are pinned but what their answers tell: a value at a path of an entity, whether there is such an entity,
who wrote it last.  A question of one plan alone is asked for what nobody has told yet, and what has been told already
is put into its answer, by whatever question it became known.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from hashlib import blake2b
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeVar

import orjson

from pdsync.model import EntityKey, ExistingEntity

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from pdsync.model import Existing, Json, LedgerEntry, Scorecard
    from pdsync.searching import Question
    from pdsync.targets import Edit, EntityWrite, Progress, TargetReader, ValidatingReader

K = TypeVar("K")

_NOBODY: AbstractSet[str] = frozenset()


class PinnedReader:
    """A `ValidatingReader` over another one, which is `validating` where what it would refuse is to be asked."""

    def __init__(self, reader: TargetReader, validating: ValidatingReader | None = None) -> None:
        self.name = reader.name
        self._reader = reader
        self._validating = validating
        self._world: Existing | None = None
        self._paths: dict[str, AbstractSet[str]] = {}  # of blueprints whose entities are all known
        self._looked = _Looked()
        self._whole: dict[EntityKey, ExistingEntity | None] = {}
        self._edits: dict[EntityKey, Edit | None] = {}
        self._integration: dict[EntityKey, bool | None] = {}
        self._pointing: defaultdict[tuple[str, str], dict[str, bool]] = defaultdict(dict)
        self._found: dict[Question, tuple[str, ...] | str] = {}
        self._scorecards: dict[str, tuple[Scorecard, ...] | None] = {}
        self._refusals: dict[bytes, str] = {}

    def stop(self) -> None:
        """See `TargetReader.stop`."""
        self._reader.stop()

    # --- entities

    async def read(
        self,
        wanted: Mapping[str, Collection[str]],
        progress: Progress | None = None,
        like: Mapping[EntityKey, LedgerEntry] = MappingProxyType({}),
    ) -> Existing:
        """See `TargetReader`; of a blueprint that was read, only the paths that were not are asked for."""
        missing = {name: paths for name in wanted if (paths := self._unread(name, wanted[name])) is not None}
        if missing or self._world is None:
            found = await self._reader.read(missing, progress, like)
            self._world = self._joined(found, missing)
            self._paths |= {name: self._paths.get(name, _NOBODY) | {*paths} for name, paths in missing.items()}
        under = {name: {*paths} for name, paths in wanted.items()}
        whole = {name for name, paths in under.items() if self._paths.get(name, _NOBODY) <= paths}
        told = {
            # What nobody has looked into is as it was read.
            key: each if key.blueprint in whole and each.packed is not None else _under(each, under[key.blueprint])
            for key, each in self._world.entities.items()
            if key.blueprint in under
        }
        return replace(self._world, entities=told)

    def _unread(self, name: str, paths: Collection[str]) -> Collection[str] | None:
        """Those of the paths that are still to be read of a blueprint's entities; None when there is none."""
        if self._world is not None and name not in self._world.blueprints:
            return None
        if name not in self._paths:
            return paths
        return {*paths} - self._paths[name] or None

    def _joined(self, found: Existing, asked: Mapping[str, Collection[str]]) -> Existing:
        """What was read before, with what is new of it: an entity that has come since then was not there."""
        if self._world is None:
            return self._looked.over(found, asked)
        entities = dict(self._world.entities)
        for key, entity in self._looked.over(found, asked).entities.items():
            if key.blueprint not in self._paths:
                entities[key] = entity
            elif key in entities:
                entities[key] = _with(entities[key], entity)
        return replace(self._world, entities=entities)

    async def look(self, wanted: Mapping[EntityKey, Collection[str]]) -> Mapping[EntityKey, ExistingEntity]:
        """See `TargetReader`; only the paths that are not known yet are asked for."""
        missing = {key: paths for key in wanted if (paths := self._unseen(key, wanted[key])) is not None}
        if missing:
            self._looked.note(missing, await self._reader.look(missing))
        found = {key: self._seen(key) for key in wanted}
        return {key: _under(entity, {*wanted[key]}) for key, entity in found.items() if entity is not None}

    def _unseen(self, key: EntityKey, paths: Collection[str]) -> Collection[str] | None:
        if self._is_there(key) is False:
            return None
        known = self._paths.get(key.blueprint, _NOBODY) | self._looked.paths.get(key, _NOBODY)
        if self._is_there(key) is None:
            return paths
        return {*paths} - known or None

    def _seen(self, key: EntityKey) -> ExistingEntity | None:
        """All that is known of an entity, what was read first; None when it is not there."""
        if self._is_there(key) is False:
            return None
        read = self._world.entities.get(key) if self._world else None
        looked = self._looked.entities.get(key)
        if read is None or looked is None:
            return read or looked or ExistingEntity({})
        return replace(_with(read, looked), created_at=looked.created_at)

    def _is_there(self, key: EntityKey) -> bool | None:
        """Whether there is such an entity; None as long as that is not known."""
        if key.blueprint in self._paths:
            return self._world is not None and key in self._world.entities
        return self._looked.there.get(key)

    async def whole(self, keys: Collection[EntityKey]) -> Mapping[EntityKey, ExistingEntity]:
        """See `TargetReader`; each entity is asked for once."""
        if fresh := _unknown(keys, self._whole):
            found = await self._reader.whole(fresh)
            self._whole |= {key: found.get(key) for key in fresh}
        return {key: entity for key in keys if (entity := self._whole[key]) is not None}

    async def known(self, keys: Collection[EntityKey]) -> frozenset[EntityKey]:
        """See `TargetReader`; each entity is asked for once, and none that is known by other answers."""
        if fresh := [key for key in keys if self._is_there(key) is None]:
            found = await self._reader.known(fresh)
            self._looked.there |= {key: key in found for key in fresh}
        return frozenset(key for key in keys if self._is_there(key))

    async def pointing_at(
        self, blueprint: str, relation: str, targets: Collection[str]
    ) -> Mapping[EntityKey, ExistingEntity] | None:
        """See `TargetReader`; each target is asked for once, and none of a relation that was read."""
        path, told = f"relations.{relation}", self._pointing[blueprint, relation]
        if path not in self._paths.get(blueprint, _NOBODY):
            if fresh := _unknown(targets, told):
                found = await self._reader.pointing_at(blueprint, relation, fresh)
                told |= dict.fromkeys(fresh, found is not None)
                self._looked.note({key: self._unseen(key, [path]) or () for key in found or {}}, found or {})
            if not all(told[target] for target in targets):
                return None
        known = self._looked.entities.keys() | (self._world.entities.keys() if self._world else ())
        entities = {k: _under(e, {path}) for k in known if k.blueprint == blueprint and (e := self._seen(k))}
        return {key: each for key, each in entities.items() if _points(each, path, targets)}

    # --- about entities

    async def edits(self, keys: Collection[EntityKey]) -> Mapping[EntityKey, Edit]:
        """See `TargetReader`; each entity is asked for once."""
        if fresh := _unknown(keys, self._edits):
            found = await self._reader.edits(fresh)
            self._edits |= {key: found.get(key) for key in fresh}
        return {key: edit for key in keys if (edit := self._edits[key]) is not None}

    async def by_integration(
        self, keys: Collection[EntityKey], progress: Progress | None = None
    ) -> frozenset[EntityKey] | None:
        """See `TargetReader`; each entity is asked for once."""
        if fresh := _unknown(keys, self._integration):
            found = await self._reader.by_integration(fresh, progress)
            self._integration |= {key: None if found is None else key in found for key in fresh}
        if any(self._integration[key] is None for key in keys):
            return None
        return frozenset(key for key in keys if self._integration[key])

    async def found(self, questions: Collection[Question]) -> Mapping[Question, tuple[str, ...] | str]:
        """See `TargetReader`; each question is asked once."""
        if fresh := _unknown(questions, self._found):
            self._found.update(await self._reader.found(fresh))
        return {question: self._found[question] for question in questions}

    async def scorecards(self, blueprint: str) -> tuple[Scorecard, ...] | None:
        """See `TargetReader`; each blueprint is asked for once."""
        if blueprint not in self._scorecards:
            self._scorecards[blueprint] = await self._reader.scorecards(blueprint)
        return self._scorecards[blueprint]

    async def refusals(self, blueprint: str, writes: Sequence[EntityWrite]) -> Mapping[str, str]:
        """See `ValidatingReader`; the same write is asked about once."""
        digests = {_digest(blueprint, write): write for write in writes}
        if fresh := _unknown(digests, self._refusals):
            assert self._validating is not None
            refused = await self._validating.refusals(blueprint, [digests[digest] for digest in fresh])
            self._refusals |= {digest: refused.get(digests[digest].identifier, "") for digest in fresh}
        told = ((write.identifier, self._refusals[digest]) for digest, write in digests.items())
        return {identifier: why for identifier, why in told if why}


class _Looked:
    """What is known of single entities: whether they are there, and of those that were looked at, which paths."""

    def __init__(self) -> None:
        self.there: dict[EntityKey, bool] = {}
        self.paths: dict[EntityKey, AbstractSet[str]] = {}
        self.entities: dict[EntityKey, ExistingEntity] = {}

    def note(self, asked: Mapping[EntityKey, Collection[str]], found: Mapping[EntityKey, ExistingEntity]) -> None:
        """Remember an answer; of what was known to be there, and is gone, the paths are empty."""
        for key, paths in asked.items():
            there = self.there.setdefault(key, key in found)
            self.paths[key] = self.paths.get(key, _NOBODY) | {*paths}
            if there:
                fresh = _under(found[key], {*paths}) if key in found else ExistingEntity(dict.fromkeys(paths))
                self.entities[key] = _with(self.entities[key], fresh) if key in self.entities else fresh

    def over(self, read: Existing, blueprints: Collection[str]) -> Existing:
        """What was read of whole blueprints, where single entities of them were known before as they were."""
        if not self.there:
            return read
        entities = {key: entity for key, entity in read.entities.items() if self.there.get(key, True)}
        for key in (key for key, there in self.there.items() if there and key.blueprint in blueprints):
            known = self.entities.get(key, ExistingEntity({}))
            entities[key] = _with(known, entities[key]) if key in entities else known
        return replace(read, entities=entities)


def _unknown(asked: Iterable[K], known: Mapping[K, object]) -> list[K]:
    return [each for each in asked if each not in known]


def _under(entity: ExistingEntity, paths: AbstractSet[str]) -> ExistingEntity:
    """An entity with these paths alone."""
    if entity.fields.keys() <= paths:
        return entity
    return replace(entity, fields={path: value for path, value in entity.fields.items() if path in paths})


def _with(entity: ExistingEntity, more: ExistingEntity) -> ExistingEntity:
    """An entity with the paths of another reading that it has not."""
    return replace(entity, fields={**more.fields, **entity.fields})


def _points(entity: ExistingEntity, path: str, targets: Collection[str]) -> bool:
    return any(each in targets for each in _listed(entity.fields.get(path)))


def _listed(value: Json) -> Iterator[Json]:
    yield from value if isinstance(value, list) else [value]


def _digest(blueprint: str, write: EntityWrite) -> bytes:
    told = [blueprint, write.identifier, write.fields, write.create]
    return blake2b(orjson.dumps(told, option=orjson.OPT_SORT_KEYS), digest_size=16).digest()
