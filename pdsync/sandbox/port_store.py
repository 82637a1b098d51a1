"""An organisation in the sandbox's Port: everything it holds and every operation on it, without HTTP.

`PortStore` is what the HTTP routes, the demo and the tests share.  It is safe to use from several threads.
"""

from __future__ import annotations

import base64
import binascii
import threading
import time
from bisect import bisect_right
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import orjson

from pdsync.model import Json
from pdsync.sandbox.port_blueprints import BlueprintRules
from pdsync.sandbox.port_data import Key, PortData
from pdsync.sandbox.port_entities import EntityRules, Write
from pdsync.sandbox.port_read import Reader, Selection
from pdsync.sandbox.port_rules import Behaviour, PortRefusal, Stamp, conflict, invalid, not_found, timestamp
from pdsync.sandbox.port_search import named_in
from pdsync.sandbox.port_system import DEFINITIONS, PERSON, TEAMS, USERS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from pdsync.sandbox.port_blueprint import CompiledBlueprint
    from pdsync.sandbox.port_rules import Entity

_SYSTEM_WRITER = "port"
_AUDIT_EVENTS = 20_000
"""The newest events that are kept."""


class Options(NamedTuple):
    """The query parameters of an entity write, and the User-Agent that it came with."""

    upsert: bool = False
    merge: bool = False
    validation_only: bool = False
    create_missing_related_entities: bool = False
    datasource: str = ""


@dataclass(frozen=True, slots=True)
class Event:
    """One line of the audit log; `before` and `after` are bodies."""

    action: str
    resource: str
    blueprint: str
    identifier: str
    by: str
    at: str
    before: Json = None
    after: Json = None

    def body(self, number: int) -> dict[str, Json]:
        """As Port returns it (Port API reference, Audit log)."""
        return {
            "identifier": f"event_{number}",
            "action": self.action,
            "resourceType": self.resource,
            "status": "SUCCESS",
            "trigger": {"by": {"userId": self.by}, "origin": "API", "at": self.at},
            "context": {
                "blueprint": self.blueprint,
                "entity": self.identifier if self.resource == "entity" else None,
            },
            "diff": {"before": self.before, "after": self.after},
            "additionalData": {},
        }


def _entity_diff(entity: Entity | None) -> Json:
    if entity is None:
        return None
    return {
        "identifier": entity.identifier,
        "title": entity.title,
        "icon": entity.icon,
        "team": list(entity.team),
        "properties": entity.properties,
        "relations": entity.relations,
    }


class Checkpoint(NamedTuple):
    """What a store held at one moment; nothing in it is ever changed."""

    blueprints: Mapping[str, CompiledBlueprint]
    entities: Mapping[str, Mapping[str, Entity]]
    events: tuple[Event, ...]


class PortStore:
    """Blueprints, entities, audit log and integrations of one organisation.

    `behaviour` settles what Port's documents leave open, `clock` gives epoch seconds.  Methods raise `PortRefusal`
    where Port would refuse.  `by` names who acts; a person, unless said otherwise.  `pages` are the blueprints for
    which a catalog page was made (a side effect of creating one, unless it is declined); `integrations` are what
    `GET /v1/integration/{id}` answers, by identifier; `scorecards` the bodies of scorecards, by blueprint (they can be
    read, and judge nothing).
    """

    def __init__(
        self,
        *,
        behaviour: Behaviour | None = None,
        clock: Callable[[], float] = time.time,
        organization: Mapping[str, Json] | None = None,
    ) -> None:
        self.lock = threading.RLock()
        self.behaviour = behaviour or Behaviour()
        self.clock = clock
        self.organization = dict(organization or {"id": "org_sandbox", "name": "Sandbox"})
        self.pages: list[str] = []
        self.integrations: dict[str, Mapping[str, Json]] = {}
        self.scorecards: dict[str, list[Mapping[str, Json]]] = {}
        self.data = PortData()
        self.reader = Reader(self.data, self.behaviour, clock)
        self._blueprints = BlueprintRules(self.data, self.behaviour)
        self._entities = EntityRules(self.data, self.reader, self.behaviour)
        self._events: deque[Event] = deque(maxlen=_AUDIT_EVENTS)
        self._event_count = 0
        self._populate()

    def _populate(self) -> None:
        now = self._now()
        for definition in DEFINITIONS:
            self._blueprints.create(definition, Stamp(now, _SYSTEM_WRITER, now, _SYSTEM_WRITER))
        for blueprint, bodies in (("_team", TEAMS), ("_user", USERS)):
            for body in bodies:
                self._entities.write(self._blueprints.find(blueprint), body, Write(_SYSTEM_WRITER, now))

    def _now(self) -> str:
        return timestamp(self.clock())

    # --- for tests and the demo ---

    def blueprint(self, identifier: str) -> dict[str, Json] | None:
        """A blueprint as Port returns it, or None."""
        with self.lock:
            found = self.data.blueprints.get(identifier)
            return None if found is None else _copy(found.body())

    def entities(self, blueprint: str) -> dict[str, dict[str, Json]]:
        """All entities of a blueprint as Port returns them, by identifier; none when there is no blueprint."""
        with self.lock:
            held = self.data.entities.get(blueprint, {})
            return _copy({identifier: self.reader.body(entity) for identifier, entity in held.items()})

    def put_entity(
        self, blueprint: str, entity: Mapping[str, Json], *, by: str = PERSON, datasource: str = ""
    ) -> dict[str, Json]:
        """A person's edit by hand: creates the entity, or changes what is given and leaves the rest.

        With a `datasource` it is an integration's, which signs with its User-Agent.
        """
        with self.lock:
            options = Options(upsert=True, merge=True, datasource=datasource)
            return _copy(self.write_entity(blueprint, _copy(dict(entity)), options, by)[0])

    def delete_entity(
        self, blueprint: str, identifier: str, *, delete_dependents: bool = False, by: str = PERSON
    ) -> None:
        """Delete an entity; with `delete_dependents` also those that require it."""
        with self.lock:
            doomed = self.find(blueprint, identifier)
            self._log_deletes(self._entities.delete([doomed], delete_dependents=delete_dependents), by)

    def snapshot(self) -> dict[str, Json]:
        """Everything that a client can change, without times, authors and derived values: comparable with `==`."""
        with self.lock:
            return _copy(
                {
                    "blueprints": {name: part.definition for name, part in self.data.blueprints.items()},
                    "entities": {
                        blueprint: {identifier: _entity_diff(entity) for identifier, entity in held.items()}
                        for blueprint, held in self.data.entities.items()
                    },
                }
            )

    def checkpoint(self) -> Checkpoint:
        """Blueprints, entities and audit log as they are now, to come back to."""
        with self.lock:
            held = {blueprint: dict(entities) for blueprint, entities in self.data.entities.items()}
            return Checkpoint(dict(self.data.blueprints), held, tuple(self._events))

    def restore(self, checkpoint: Checkpoint) -> None:
        """Be again as at a checkpoint, of this store or of another one, audit log included."""
        with self.lock:
            self.data.blueprints = dict(checkpoint.blueprints)
            self.data.entities = {blueprint: dict(held) for blueprint, held in checkpoint.entities.items()}
            self.data.reindex()
            self._entities.continue_after(self.data)
            self._events = deque(checkpoint.events, maxlen=_AUDIT_EVENTS)
            self._event_count = len(checkpoint.events)

    # --- blueprints ---

    def all_blueprints(self) -> list[dict[str, Json]]:
        """Every blueprint as Port returns it."""
        with self.lock:
            return [blueprint.body() for blueprint in self.data.blueprints.values()]

    def find_blueprint(self, identifier: str) -> CompiledBlueprint:
        """A blueprint; refused with 404 when there is none."""
        with self.lock:
            return self._blueprints.find(identifier)

    def create_blueprint(self, body: Mapping[str, Json], *, by: str = PERSON) -> dict[str, Json]:
        """Add a blueprint; returns it as Port does."""
        with self.lock:
            now = self._now()
            created = self._blueprints.create(body, Stamp(now, by, now, by))
            self._log_blueprint("CREATE", by, None, created)
            return created.body()

    def replace_blueprint(self, identifier: str, body: Mapping[str, Json], *, by: str = PERSON) -> dict[str, Json]:
        """Overwrite a blueprint; returns it as Port does."""
        with self.lock:
            before = self._blueprints.find(identifier)
            after = self._blueprints.replace(identifier, body, self._now(), by)
            self._log_blueprint("UPDATE", by, before, after)
            return after.body()

    def patch_blueprint(self, identifier: str, body: Mapping[str, Json], *, by: str = PERSON) -> dict[str, Json]:
        """Overwrite parts of a blueprint; returns it as Port does."""
        with self.lock:
            before = self._blueprints.find(identifier)
            after = self._blueprints.patch(identifier, body, self._now(), by)
            self._log_blueprint("UPDATE", by, before, after)
            return after.body()

    def rename_part(self, identifier: str, part: str, name: str, new: str, *, by: str = PERSON) -> dict[str, Json]:
        """Rename one of a blueprint's `properties`, `mirror` properties or `relations`."""
        with self.lock:
            before = self._blueprints.find(identifier)
            after = self._blueprints.rename_part(identifier, part, name, new, at=self._now(), by=by)
            self._log_blueprint("UPDATE", by, before, after)
            return after.body()

    def delete_blueprint(self, identifier: str, *, by: str = PERSON) -> None:
        """Remove a blueprint that has no entities and is nobody's target."""
        with self.lock:
            self._log_blueprint("DELETE", by, self._blueprints.delete(identifier), None)

    def scorecards_of(self, blueprint: str) -> list[Mapping[str, Json]]:
        """The scorecards of a blueprint; refused with 404 when there is none."""
        with self.lock:
            self._blueprints.find(blueprint)
            return list(self.scorecards.get(blueprint, ()))

    # --- entities: writing ---

    def write_entity(
        self, blueprint: str, body: Mapping[str, Json], options: Options, by: str
    ) -> tuple[dict[str, Json], bool]:
        """Create or upsert one entity; returns it as Port does, and whether it is new."""
        with self.lock:
            entity, created = self._write(self._blueprints.find(blueprint), body, Write(by, self._now(), *options))
            return self.reader.body(entity), created

    def _write(self, blueprint: CompiledBlueprint, body: Mapping[str, Json], how: Write) -> tuple[Entity, bool]:
        entity, before = self._entities.write(blueprint, body, how)
        if not how.validation_only:
            self._log_entity(how.by, how.at, before, entity)
        return entity, before is None

    def bulk_write(
        self, blueprint: str, bodies: Sequence[Mapping[str, Json]], options: Options, by: str
    ) -> tuple[list[Json], list[Json]]:
        """Write several entities one after the other; returns what was stored and what was refused, by index."""
        with self.lock:
            compiled = self._blueprints.find(blueprint)
            how = Write(by, self._now(), *options)
            stored: list[Json] = []
            refused: list[Json] = []
            seen: set[str] = set()
            for index, body in enumerate(bodies):
                name = body.get("identifier")
                identifier = name if isinstance(name, str) else "unknown"
                try:
                    if identifier in seen and self.behaviour.duplicates_in_bulk == "refuse":
                        raise conflict(f'Entity with identifier "{identifier}" occurs more than once in the request')
                    entity, created = self._write(compiled, body, how)
                    stored.append({"identifier": entity.identifier, "index": index, "created": created})
                    seen.add(entity.identifier)
                except PortRefusal as refusal:
                    refused.append(
                        {
                            "identifier": identifier,
                            "index": index,
                            "statusCode": refusal.status,
                            "error": refusal.error,
                            "message": refusal.message,
                        }
                    )
            return stored, refused

    def change_entity(
        self, blueprint: str, identifier: str, body: Mapping[str, Json], options: Options, by: str
    ) -> dict[str, Json]:
        """Replace, or with `merge` patch, an entity that exists; returns it as Port does."""
        with self.lock:
            before = self.find(blueprint, identifier)
            how = Write(by, self._now(), *options)
            after = self._entities.change(before, body, how)
            self._log_entity(by, how.at, before, after)
            return self.reader.body(after)

    def bulk_delete(self, blueprint: str, identifiers: Sequence[str], *, delete_dependents: bool, by: str) -> list[str]:
        """Delete several entities of one blueprint; returns the identifiers that are gone."""
        with self.lock:
            self._blueprints.find(blueprint)
            doomed = {name: self.data.find(Key(blueprint, name)) for name in identifiers}
            missing = [name for name, entity in doomed.items() if entity is None]
            if missing and self.behaviour.unknown_deletes == "refuse":
                raise not_found("Entity", missing[0])
            found = [entity for entity in doomed.values() if entity is not None]
            batches = [found] if self.behaviour.blocked_deletes == "all_or_nothing" else [[one] for one in found]
            gone: list[Entity] = []
            for batch in batches:
                present = [entity for entity in batch if self.data.find(Key(blueprint, entity.identifier)) is not None]
                try:
                    gone += self._entities.delete(present, delete_dependents=delete_dependents)
                except PortRefusal:
                    if self.behaviour.blocked_deletes == "all_or_nothing":
                        raise
            self._log_deletes(gone, by)
            removed = {entity.identifier for entity in gone if entity.blueprint == blueprint}
            return [name for name in doomed if name in removed]

    # --- entities: reading ---

    def find(self, blueprint: str, identifier: str) -> Entity:
        """An entity; refused with 404 when it or its blueprint does not exist."""
        with self.lock:
            self._blueprints.find(blueprint)
            found = self.data.find(Key(blueprint, identifier))
            if found is None:
                raise not_found("Entity", identifier)
            return found

    def held(self, blueprint: str) -> dict[str, Entity]:
        """Stored entities of a blueprint, oldest first; refused with 404 when there is no blueprint."""
        with self.lock:
            self._blueprints.find(blueprint)
            return self.data.entities[blueprint]

    def page(
        self, blueprint: str, query: Mapping[str, Json] | None, limit: int, cursor: str | None
    ) -> tuple[list[Entity], str | None]:
        """One page of a search within a blueprint, and the cursor of the next one (None: this was the last)."""
        with self.lock:
            held, named = self.held(blueprint), None if query is None else named_in(query)
            asked = held.values() if named is None else (held[name] for name in named if name in held)
            rows = list(asked) if named is None else sorted(asked, key=_sequence)
            start = 0 if cursor is None else bisect_right(rows, _position(cursor), key=_sequence)
            if query is None:
                found = rows[start : start + limit + 1]
            else:
                matches = self.reader.search(query).matches
                hits = (entity for entity in rows[start:] if matches(entity))
                found = [entity for entity, _ in zip(hits, range(limit + 1), strict=False)]
            shown = found[:limit]
            goes_on = len(found) > limit or (self.behaviour.next_on_full_last_page and len(shown) == limit)
            return shown, _cursor(shown[-1].sequence) if goes_on else None

    def search(self, query: Mapping[str, Json]) -> list[Entity]:
        """Entities of all blueprints that match."""
        with self.lock:
            matches = self.reader.search(query).matches
            return [entity for held in self.data.entities.values() for entity in held.values() if matches(entity)]

    def bodies(self, entities: Iterable[Entity], selection: Selection, *, calculated: bool = True) -> list[Json]:
        """Entities as Port returns them."""
        with self.lock:
            return [self.reader.body(entity, selection, calculated=calculated) for entity in entities]

    # --- audit log ---

    def events(self) -> list[dict[str, Json]]:
        """The audit log, newest first."""
        with self.lock:
            newest = self._event_count
            return [event.body(newest - back) for back, event in enumerate(reversed(self._events))]

    def _log(self, event: Event) -> None:
        self._events.append(event)
        self._event_count += 1

    def _log_blueprint(
        self, action: str, by: str, before: CompiledBlueprint | None, after: CompiledBlueprint | None
    ) -> None:
        subject = after or before
        assert subject is not None
        old, new = (part.definition if part else None for part in (before, after))
        name = subject.identifier
        self._log(Event(action, "blueprint", name, name, by, self._now(), old, new))

    def _log_entity(self, by: str, at: str, before: Entity | None, after: Entity | None) -> None:
        subject = after or before
        assert subject is not None
        action = "CREATE" if before is None else "DELETE" if after is None else "UPDATE"
        diffs = (_entity_diff(before), _entity_diff(after))
        self._log(Event(action, "entity", subject.blueprint, subject.identifier, by, at, *diffs))

    def _log_deletes(self, gone: Iterable[Entity], by: str) -> None:
        at = self._now()
        for entity in gone:
            self._log_entity(by, at, entity, None)


def _sequence(entity: Entity) -> int:
    return entity.sequence


def _copy(value: dict[str, Json]) -> dict[str, Json]:
    copied: dict[str, Json] = orjson.loads(orjson.dumps(value))
    return copied


def _cursor(sequence: int) -> str:
    return base64.urlsafe_b64encode(f"after:{sequence}".encode()).decode()


def _position(cursor: str) -> int:
    try:
        return int(base64.b64decode(cursor, altchars=b"-_", validate=True).decode().removeprefix("after:"))
    except (binascii.Error, ValueError) as reason:
        raise invalid("body/from is not a cursor of this search") from reason
