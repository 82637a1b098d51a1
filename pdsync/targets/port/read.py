"""Reading Port: organization, blueprints, entities.  Nothing here can write.

Entities are read by the paged search of their blueprint, asking for the wanted paths alone, which also keeps
mirrored, calculated and aggregated values out (Port API reference, Search a blueprint's entities).
"""

from __future__ import annotations

from operator import itemgetter
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Generic, NamedTuple, TypeVar

import msgspec

from pdsync.errors import TargetError
from pdsync.model import Blueprint, EntityKey, Existing, ExistingEntity, Json, unread
from pdsync.normal import entity_normaliser
from pdsync.sharing import Pool, empty, share
from pdsync.targets import Edit
from pdsync.targets.port.around import by_blueprint, by_integration, in_parts, is_refusal, scorecards
from pdsync.targets.port.paths import BLUEPRINTS, ORGANIZATION, count_path, search_path
from pdsync.targets.port.problems import unreadable, unsettled
from pdsync.targets.port.requests import ask, ask_object, is_absent, tasks, understood
from pdsync.targets.port.search import answers
from pdsync.targets.port.validate import refusals
from pdsync.transport import read_json

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence

    from pdsync.model import Fields, LedgerEntry, Scorecard
    from pdsync.searching import Question
    from pdsync.targets import EntityWrite, Progress
    from pdsync.transport import ApiClient

PAGE_SIZE: Final = 1000
"""Port API reference: a page of the search holds at most 1000 entities."""

READ_ATTEMPTS: Final = 3

_EMPTY_ONES: Final = 50
"""So many empty pages in a row, each of which leads on, lead nowhere; that a page has any rows is not promised."""


class _Entity(msgspec.Struct, rename="camel"):
    identifier: str
    title: Json = None
    icon: Json = None
    team: Json = None
    properties: dict[str, Json] | None = None
    relations: dict[str, Json] | None = None
    updated_at: str | None = None
    updated_by: str | None = None
    created_at: str | None = None
    created_by: str | None = None


class _Object(msgspec.Struct):
    """A JSON object, whatever is in it."""


class _Head(msgspec.Struct, rename="camel"):
    """What is read of an entity at once; that the rest can be read later is seen."""

    identifier: str
    properties: _Object | None = None
    relations: _Object | None = None
    updated_at: str | None = None
    updated_by: str | None = None


_Row = TypeVar("_Row", _Entity, msgspec.Raw)


class _Page(msgspec.Struct, Generic[_Row]):
    entities: list[_Row]
    next: str | None = None


_ENTITY = msgspec.json.Decoder(_Entity)
_HEAD = msgspec.json.Decoder(_Head)
_ENTITIES = msgspec.json.Decoder(_Page[_Entity])
_ROWS = msgspec.json.Decoder(_Page[msgspec.Raw])


class _Columns(NamedTuple):
    """The wanted paths of one blueprint, by where they stand in an entity; each path is one string for all."""

    meta: tuple[str, ...]
    properties: tuple[tuple[str, str], ...]
    relations: tuple[tuple[str, str], ...]
    paths: tuple[str, ...]

    @property
    def include(self) -> list[str]:
        """What the search is asked to return."""
        return ["identifier", *self.paths]

    def fields(self, entity: _Entity) -> Fields:
        """The wanted paths of an entity, None where Port has nothing."""
        properties, relations = entity.properties or {}, entity.relations or {}
        fields = empty(self.paths).copy()
        for path in self.meta:
            fields[path] = getattr(entity, path)
        for held, columns in ((properties, self.properties), (relations, self.relations)):
            for name, path in columns:
                if (value := held.get(name)) is not None:
                    fields[path] = value
        return fields


class _Reading:
    """How all entities of one blueprint are read: what of them, and what texts they share with others."""

    def __init__(self, blueprint: Blueprint, paths: Collection[str], like: Mapping[EntityKey, LedgerEntry]) -> None:
        self.blueprint = blueprint.identifier
        self.columns = _columns(blueprint, paths)
        self._normalise = entity_normaliser(blueprint)
        self._like = like
        self._pool = Pool()
        self._nothing: Fields = {}

    def entity(self, row: msgspec.Raw) -> tuple[str, ExistingEntity]:
        """An entity by its identifier, in normal form once its fields are asked for.  Raises ValueError."""
        head = _HEAD.decode(row)
        at, by = self._pool.text(head.updated_at or ""), self._pool.text(head.updated_by or "")
        return head.identifier, unread(
            ExistingEntity(self._nothing, at, by), self._fields, bytes(row), self._pool.share
        )

    def _fields(self, data: bytes) -> Fields:
        try:
            entity = _ENTITY.decode(data)
        except (ValueError, RecursionError) as problem:
            raise unreadable(f"POST {search_path(self.blueprint)}", str(problem)) from None
        fields = self._normalise(self.columns.fields(entity))
        known = self._like.get(EntityKey(self.blueprint, entity.identifier))
        if known is not None and known.packed is None:
            share(fields, known.fields)
        return fields


class PortReader:
    """A Port organization, to be read.

    Args:
        client: what requests are sent with.
    """

    def __init__(self, client: ApiClient) -> None:
        self._client = client
        self._looked_through: dict[str, Blueprint] | None = None
        self.name = client.base_url

    def stop(self) -> None:
        """Ask nothing any more; what is in flight has five seconds."""
        self._client.stop()

    async def read(
        self,
        wanted: Mapping[str, Collection[str]],
        progress: Progress | None = None,
        like: Mapping[EntityKey, LedgerEntry] = MappingProxyType({}),
    ) -> Existing:
        """Read organization, all blueprints, and the wanted paths of the entities of the wanted blueprints.

        A text that `like` has at the same place is held once for both.  A path that Port's blueprint does not have is
        absent from the fields; one that it has and the entity leaves empty is None.  Raises `TargetError` rather than
        return a part.
        """
        async with tasks() as group:
            organization = group.create_task(self._organization())
            listing = group.create_task(self._blueprints())
        blueprints = listing.result()
        async with tasks() as group:
            parts = {
                name: group.create_task(self._entities(_Reading(blueprints[name], wanted[name], like), progress))
                for name in sorted(wanted)
                if name in blueprints
            }
        entities = {
            EntityKey(name, identifier): entity
            for name, part in parts.items()
            for identifier, entity in sorted(part.result().items(), key=itemgetter(0))
        }
        return Existing(*organization.result(), blueprints, entities)

    async def look(self, wanted: Mapping[EntityKey, Collection[str]]) -> dict[EntityKey, ExistingEntity]:
        """The wanted paths of these entities as they are at this moment; those that do not exist are absent.

        Blueprints are asked for once, with the first look.  Raises `TargetError`.
        """
        if self._looked_through is None:
            self._looked_through = await self._blueprints()
        async with tasks() as group:
            parts = [
                group.create_task(self._look(self._looked_through[name], some, wanted))
                for name, identifiers in by_blueprint(wanted.keys()).items()
                if name in self._looked_through
                for some in in_parts(identifiers)
            ]
        return {key: entity for part in parts for key, entity in part.result().items()}

    async def whole(self, keys: Collection[EntityKey]) -> dict[EntityKey, ExistingEntity]:
        """All that these entities hold at this moment; those that do not exist are absent.  Raises `TargetError`."""
        blueprints = await self._blueprints()
        wanted = {key: _all_paths(blueprints[key.blueprint]) for key in keys if key.blueprint in blueprints}
        async with tasks() as group:
            parts = [
                group.create_task(self._look(blueprints[name], some, wanted, alone=False))
                for name, identifiers in by_blueprint(wanted.keys()).items()
                for some in in_parts(identifiers)
            ]
        return {key: entity for part in parts for key, entity in part.result().items()}

    async def known(self, keys: Collection[EntityKey]) -> frozenset[EntityKey]:
        """Those of `keys` that exist; of a blueprint that does not exist, none."""
        async with tasks() as group:
            parts = [
                group.create_task(self._known(blueprint, some))
                for blueprint, identifiers in by_blueprint(keys).items()
                for some in in_parts(identifiers)
            ]
        return frozenset[EntityKey]().union(*(part.result() for part in parts))

    async def edits(self, keys: Collection[EntityKey]) -> dict[EntityKey, Edit]:
        """Who wrote each of these entities last, and when: told only of whole entities, so not when all are read."""
        async with tasks() as group:
            parts = [
                group.create_task(self._edits(blueprint, some))
                for blueprint, identifiers in by_blueprint(keys).items()
                for some in in_parts(identifiers)
            ]
        return {key: edit for part in parts for key, edit in part.result().items() if key in keys}

    async def by_integration(
        self, keys: Collection[EntityKey], progress: Progress | None = None
    ) -> frozenset[EntityKey] | None:
        """Those of `keys` that Port's own PagerDuty integration wrote last; None when Port does not tell."""
        return await by_integration(self._client, keys, progress)

    async def pointing_at(
        self, blueprint: str, relation: str, targets: Collection[str]
    ) -> dict[EntityKey, ExistingEntity] | None:
        """The entities of a blueprint whose relation has any of these targets, with that relation.

        None when Port does not search so.
        """
        if self._looked_through is None:
            self._looked_through = await self._blueprints()
        definition = self._looked_through.get(blueprint)
        if definition is None or relation not in definition.relations:
            return {}
        try:
            async with tasks() as group:
                parts = [group.create_task(self._pointing(definition, relation, part)) for part in in_parts(targets)]
        except TargetError as problem:
            if is_refusal(problem):
                return None
            raise
        return {key: entity for part in parts for key, entity in part.result().items()}

    async def found(self, questions: Collection[Question]) -> dict[Question, tuple[str, ...] | str]:
        """The entities that each question finds now, or why Port does not answer it; at most one more than it takes."""
        return await answers(self._pages, questions)

    async def scorecards(self, blueprint: str) -> tuple[Scorecard, ...] | None:
        """The scorecards of a blueprint; None when Port does not tell (they have a permission of their own)."""
        return await scorecards(self._client, blueprint)

    async def refusals(self, blueprint: str, writes: Sequence[EntityWrite]) -> dict[str, str]:
        """Identifier -> why, for each of these entities that Port says it would refuse; it stores none of them."""
        return await refusals(self._client, blueprint, writes)

    # --- parts

    async def _organization(self) -> tuple[str, str]:
        """Identifier and name; the answer's shape is not documented."""
        answer = await ask_object(self._client, "GET", ORGANIZATION)
        organization = answer.get("organization", answer)
        if not isinstance(organization, dict) or not (organization.get("id") or organization.get("name")):
            raise unreadable(f"GET {ORGANIZATION}", "no organization in it")
        name = str(organization.get("name") or "")
        return str(organization.get("id") or name), name

    async def _blueprints(self) -> dict[str, Blueprint]:
        found = (await ask_object(self._client, "GET", BLUEPRINTS)).get("blueprints")
        if not isinstance(found, list) or not all(isinstance(b, dict) and b.get("identifier") for b in found):
            raise unreadable(f"GET {BLUEPRINTS}", "no blueprints in it")
        return {b["identifier"]: Blueprint(b["identifier"], b) for b in sorted(found, key=itemgetter("identifier"))}

    async def _entities(self, reading: _Reading, progress: Progress | None) -> dict[str, ExistingEntity]:
        """Every entity of a blueprint by identifier.

        A row that shows up twice means that rows moved between two pages, so that another one may have been missed:
        then the number of entities must be the one that Port counts, or all is read anew.
        """
        name = reading.blueprint
        found: dict[str, ExistingEntity] = {}
        counted = 0
        for _ in range(READ_ATTEMPTS):
            found, rows = await self._read_through(reading, progress)
            counted = rows if rows == len(found) else await self._count(name)
            if counted == len(found):
                if progress:
                    progress(name, counted, counted)
                return found
        raise unsettled(name, len(found), counted)

    async def _read_through(
        self, reading: _Reading, progress: Progress | None
    ) -> tuple[dict[str, ExistingEntity], int]:
        """All pages once: the entities, and the number of rows they came from."""
        found: dict[str, ExistingEntity] = {}
        rows = 0
        name = reading.blueprint
        if progress:
            progress(name, 0, None)
        async for page in self._decoded(_ROWS, name, {"include": reading.columns.include}):
            rows += len(page)
            try:
                found.update(map(reading.entity, page))
            except (ValueError, RecursionError) as problem:
                raise unreadable(f"POST {search_path(name)}", str(problem)) from None
            if progress:
                progress(name, len(found), None)
        return found, rows

    async def _look(
        self,
        blueprint: Blueprint,
        identifiers: Collection[str],
        wanted: Mapping[EntityKey, Collection[str]],
        *,
        alone: bool = True,
    ) -> dict[EntityKey, ExistingEntity]:
        """The wanted paths of some entities; with `alone`, Port is asked for no more than these."""
        name, normalise = blueprint.identifier, entity_normaliser(blueprint)
        columns = _columns(blueprint, {path for i in identifiers for path in wanted[EntityKey(name, i)]})
        found: dict[EntityKey, ExistingEntity] = {}
        asked = {**_named(identifiers), **({"include": columns.include} if alone else {})}
        async for page in self._pages(name, asked):
            for entity in page:
                if (key := EntityKey(name, entity.identifier)) in wanted:
                    fields = normalise(columns.fields(entity))
                    stamps = (entity.updated_at, entity.updated_by, entity.created_at)
                    found[key] = ExistingEntity(fields, *(stamp or "" for stamp in stamps))
        return found

    async def _pointing(
        self, blueprint: Blueprint, relation: str, targets: Collection[str]
    ) -> dict[EntityKey, ExistingEntity]:
        name, path, normalise = blueprint.identifier, f"relations.{relation}", entity_normaliser(blueprint)
        operator = "containsAny" if blueprint.relations[relation].get("many") else "in"
        rule = {"relation": relation, "operator": operator, "value": list(targets)}
        columns = _columns(blueprint, [path])
        question = {"query": {"combinator": "and", "rules": [rule]}, "include": columns.include}
        asked = set(targets)
        found: dict[EntityKey, ExistingEntity] = {}
        async for page in self._pages(name, question):
            for entity in page:
                fields = normalise(columns.fields(entity))
                value = fields.get(path)
                if asked.intersection(value if isinstance(value, list) else [value]):
                    found[EntityKey(name, entity.identifier)] = ExistingEntity(fields)
        return found

    async def _known(self, blueprint: str, identifiers: Collection[str]) -> set[EntityKey]:
        question = {**_named(identifiers), "include": ["identifier"]}
        found: set[str] = set()
        async for page in self._pages_if_any(blueprint, question):
            found.update(entity.identifier for entity in page)
        return {EntityKey(blueprint, identifier) for identifier in found.intersection(identifiers)}

    async def _edits(self, blueprint: str, identifiers: Collection[str]) -> dict[EntityKey, Edit]:
        return {
            EntityKey(blueprint, entity.identifier): Edit(
                entity.updated_by or "", entity.updated_at or "", entity.created_by or "", entity.created_at or ""
            )
            async for page in self._pages_if_any(blueprint, _named(identifiers))
            for entity in page
        }

    async def _pages_if_any(self, blueprint: str, question: Mapping[str, Json]) -> AsyncIterator[list[_Entity]]:
        """The same, of a blueprint that need not exist."""
        try:
            async for page in self._pages(blueprint, question):
                yield page
        except TargetError as problem:
            if not is_absent(problem):
                raise

    def _pages(self, blueprint: str, question: Mapping[str, Json]) -> AsyncIterator[list[_Entity]]:
        return self._decoded(_ENTITIES, blueprint, question)

    async def _decoded(
        self, decoder: msgspec.json.Decoder[_Page[_Row]], blueprint: str, question: Mapping[str, Json]
    ) -> AsyncIterator[list[_Row]]:
        path = search_path(blueprint)
        cursors: set[str] = set()
        empty_ones = 0
        following: dict[str, Json] = {}
        while True:
            page = await self._page(decoder, path, {**question, "limit": PAGE_SIZE, **following})
            yield page.entities
            if not page.next:
                return
            if page.next in cursors:
                raise unreadable(f"POST {path}", "a page is announced a second time")
            empty_ones = 0 if page.entities else empty_ones + 1
            if empty_ones == _EMPTY_ONES:
                raise unreadable(f"POST {path}", f"{empty_ones} pages in a row are empty and say that there is more")
            cursors.add(page.next)
            following = {"from": page.next}

    async def _page(self, decoder: msgspec.json.Decoder[_Page[_Row]], path: str, body: Json) -> _Page[_Row]:
        """A page of a search; one that cannot be read, as if it broke off on its way, is asked for once more."""

        async def read() -> _Page[_Row]:
            reply = await ask(self._client, "POST", path, body=body)
            try:
                return read_json(decoder.decode, reply.content)
            except ValueError as problem:
                raise unreadable(f"POST {path}", str(problem)) from None

        return await understood(read)

    async def _count(self, blueprint: str) -> int:
        path = count_path(blueprint)
        counted = (await ask_object(self._client, "GET", path)).get("count")
        if not isinstance(counted, int):
            raise unreadable(f"GET {path}", "no count in it")
        return counted


def _all_paths(blueprint: Blueprint) -> list[str]:
    properties = [f"properties.{name}" for name in blueprint.properties]
    return [*blueprint.meta, *properties, *(f"relations.{name}" for name in blueprint.relations)]


def _named(identifiers: Collection[str]) -> dict[str, Json]:
    """A search for entities by their identifiers."""
    rule = {"property": "$identifier", "operator": "in", "value": list(identifiers)}
    return {"query": {"combinator": "and", "rules": [rule]}}


def _columns(blueprint: Blueprint, paths: Collection[str]) -> _Columns:
    """Those of `paths` that the blueprint has, and that are not computed by Port."""
    wanted = set(paths)

    def of(part: str, names: Iterable[str]) -> tuple[tuple[str, str], ...]:
        return tuple((name, f"{part}.{name}") for name in sorted(names) if f"{part}.{name}" in wanted)

    meta = tuple(path for path in blueprint.meta if path in wanted)
    properties, relations = of("properties", blueprint.properties), of("relations", blueprint.relations)
    return _Columns(meta, properties, relations, (*meta, *(path for _, path in (*properties, *relations))))
