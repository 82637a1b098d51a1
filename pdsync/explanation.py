"""What `explain` does: why an entity is as it is, or why a record gave none.

Everything is taken from what is at hand: the snapshot that was kept, the state, the journals.  Port is asked about the
one entity alone, where it can be; all others count as we last wrote them.
"""

from __future__ import annotations

import asyncio
import difflib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import orjson

from pdsync.causes import Evidence, History, told_causes
from pdsync.commands import expressions, unproven
from pdsync.errors import StateError, TargetError, UsageError, error
from pdsync.jq.inputs import inputs_of
from pdsync.kinds import KINDS
from pdsync.lookups import Searches
from pdsync.mapping import RowTrace, evaluate_record, jq_version, map_entities
from pdsync.model import (
    Catalog,
    DesiredEntities,
    EntityKey,
    Existing,
    ExistingEntity,
    Expression,
    PlanBase,
    Record,
    Snapshot,
)
from pdsync.plan import Facts, Scope, make_plan
from pdsync.plan.account import Account, Live, account_of, last_change
from pdsync.plan.order import relation_targets
from pdsync.privacy import Cleaner
from pdsync.render.explanation import Explanation, Reading
from pdsync.searching import unanswered
from pdsync.state.store import StateStore
from pdsync.targets import TargetReader

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from pdsync.model import Json, Ledger, MappingRule, Plan
    from pdsync.plan.account import LastChange
    from pdsync.searching import Lookup

    Progress = Callable[[str, int, int | None], None]

_CLOSE = 3
_CANDIDATES = 10


@dataclass(frozen=True, slots=True)
class Ground:
    """What an explanation stands on: catalog, snapshot, state, what git knows, and Port (None: it is not asked)."""

    catalog: Catalog
    snapshot: Snapshot
    store: StateStore
    history: History
    reader: TargetReader | None = None
    progress: Progress | None = None


@dataclass(frozen=True, slots=True)
class _Asked:
    """What is meant: entities, and records as `services/PX1`."""

    keys: tuple[EntityKey, ...]
    records: tuple[str, ...] = ()


async def explain(asked: str, ground: Ground) -> Explanation:
    """Explain an entity (`BLUEPRINT/IDENTIFIER`), a record (`KIND:ID`), or what has this identifier alone.

    Raises `UsageError` when there is nothing of that name, or when several things have it.
    """
    ledger, port = ground.store.load(), _Port(ground.reader)
    desired = await _desired(ground, ledger, port)
    meant = _meant(asked, desired, ledger, ground.snapshot) or await _elsewhere(asked, ground, port)
    if meant is None:
        raise UsageError(_nothing(asked, desired, ledger, ground.snapshot))
    sources = dict.fromkeys([*meant.records, *(s for key in meant.keys for s in _sources(key, desired, ledger))])
    readings = [each for source in sources for each in _readings(source, ground)]
    made = [key for key, want in desired.entities.items() if want.source in meant.records]
    owned = [key for key, entry in ledger.entities.items() if entry.source in meant.records]
    keys = [*dict.fromkeys([*meant.keys, *made, *owned])]
    return Explanation(
        asked=asked,
        snapshot=ground.snapshot.taken_at,
        entities=await _accounts(keys, desired, ledger, ground, port),
        readings=tuple(_of_keys(readings, meant)),
        failed={source: desired.failed[source] for source in sources if source in desired.failed},
        notes=(*_absent(sources, readings, ground), *port.notes),
    )


async def _desired(ground: Ground, ledger: Ledger, port: _Port) -> DesiredEntities:
    """What mapping gives; search queries are answered where Port can be asked."""
    seen = await port.around()
    if seen is not None and port.reader is not None:
        held = {key: ExistingEntity(entry.fields) for key, entry in ledger.entities.items()}
        existing = replace(seen, entities=held)
        known = expressions(ground.catalog.rules)
        before = Facts(ground.catalog, DesiredEntities({}), existing, ledger, expressions=known)
        port.searches = Searches(before, port.reader, asyncio.get_running_loop())
    return await asyncio.to_thread(
        map_entities,
        ground.catalog.rules,
        ground.snapshot,
        progress=ground.progress,
        memo=ground.store.load_memo(),
        like=ledger.entities,
        lookup=port.lookup(ground.catalog),
    )


# --- what is meant -----------------------------------------------------------------------------------------------


def _meant(asked: str, desired: DesiredEntities, ledger: Ledger, snapshot: Snapshot) -> _Asked | None:
    keys, records = {*desired.entities, *desired.held, *ledger.entities}, _records(snapshot)
    if (key := _key(asked)) in keys:
        return _Asked((key,))
    if record := next((name for name in _as_record(asked) if name in records), ""):
        return _Asked((), (record,))
    named = sorted(key for key in keys if key.identifier == asked)
    having = [] if named else sorted(name for name in records if name.partition("/")[2] == asked)
    if len(named) + len(having) > 1:
        raise UsageError(_ambiguous(asked, [*map(str, named), *map(_spelled, having)]))
    return _Asked(tuple(named), tuple(having)) if named or having else None


def _key(asked: str) -> EntityKey:
    blueprint, _, identifier = asked.partition("/")
    return EntityKey(blueprint, identifier)


def _as_record(asked: str) -> Iterator[str]:
    """What `services:PX1` or `services/PX1` is called everywhere else, whatever spelling of the kind."""
    for sign in (":", "/"):
        spelling, _, id_ = asked.partition(sign)
        row = KINDS.get(spelling)
        yield f"{row.name if row else spelling}/{id_}"


def _records(snapshot: Snapshot) -> set[str]:
    """All records, as `services/PX1`."""
    return {f"{query.kind}/{record.id}" for query, each in snapshot.collections.items() for record in each.records}


def _spelled(record: str) -> str:
    """A record as it is asked for: `services:PX1`."""
    return record.replace("/", ":", 1)


async def _elsewhere(asked: str, ground: Ground, port: _Port) -> _Asked | None:
    """An entity that only Port or a journal knows."""
    key = _key(asked)
    if not key.identifier:
        return None
    if _lasts([key], ground.store):
        return _Asked((key,))
    live = await port.live({key: ()})
    return _Asked((key,)) if key in live and live[key].fields is not None else None


def _nothing(asked: str, desired: DesiredEntities, ledger: Ledger, snapshot: Snapshot) -> Json:
    keys = sorted({str(key) for key in (*desired.entities, *desired.held, *ledger.entities)})
    names = [*keys, *sorted(map(_spelled, _records(snapshot)))]
    close = difflib.get_close_matches(asked, names, n=_CLOSE, cutoff=0.6)
    if not close:
        bare = {name.replace(":", "/", 1).partition("/")[2]: name for name in reversed(names)}
        close = [bare[name] for name in difflib.get_close_matches(asked, bare, n=_CLOSE, cutoff=0.6)]
    hint = f"did you mean {', '.join(close)}?" if close else "write BLUEPRINT/IDENTIFIER, or KIND:ID for a record"
    detail = f"{asked}: no entity and no record of the snapshot taken {snapshot.taken_at}"
    return error("PD860", "there is nothing of that name", detail=detail, hint=hint)


def _ambiguous(asked: str, candidates: Sequence[str]) -> Json:
    more = f" and {len(candidates) - _CANDIDATES} more" if len(candidates) > _CANDIDATES else ""
    hint = f"name one of them: {', '.join(candidates[:_CANDIDATES])}{more}"
    return error("PD861", "several things have that identifier", detail=asked, hint=hint)


# --- the records -------------------------------------------------------------------------------------------------


def _sources(key: EntityKey, desired: DesiredEntities, ledger: Ledger) -> Iterator[str]:
    """The records that an entity is made of, was made of, or that claim it."""
    if key in desired.entities:
        yield desired.entities[key].source
    if key in ledger.entities:
        yield ledger.entities[key].source
    if key in desired.held:
        yield from (source for source, why in desired.failed.items() if f"claims {key}," in why)


def _readings(source: str, ground: Ground) -> Iterator[Reading]:
    """How every rule that reads a record maps it."""
    kind, _, id_ = source.partition("/")
    cleaner = Cleaner(ground.catalog.rules)
    for rule in ground.catalog.rules:
        collection = ground.snapshot.collections.get(rule.query) if rule.kind == kind else None
        for record in collection.records if collection else ():
            if record.id == id_:
                yield _reading(rule, record, cleaner)


def _reading(rule: MappingRule, record: Record, cleaner: Cleaner) -> Reading:
    """One record under one rule; what is private was taken out when it was read, and is once more."""
    record = Record(record.id, cleaner.clean(rule.kind, record.raw), record.unavailable)
    traced = evaluate_record(rule, record)
    rows = zip(traced.rows, _row_inputs(rule, record), strict=False)
    return Reading(traced, tuple(_row_reads(row, value) for row, value in rows))


def _row_reads(row: RowTrace, value: Json) -> dict[str, dict[str, Json]]:
    return {slot.name: inputs_of(slot.expression.text, value) for slot in (row.selector, *row.slots)}


def _row_inputs(rule: MappingRule, record: Record) -> list[Json]:
    """What each row's expressions get: the record, with its item if it has items."""
    if rule.items is None:
        try:
            return [orjson.loads(record.raw)]
        except orjson.JSONDecodeError:  # the trace says so
            return []
    here = rule.items.origin
    bare = replace(rule, selector=Expression("true", here), identifier=Expression(".", here), fields={})
    return [row.slots[0].value for row in evaluate_record(bare, record).rows if row.slots]


def _of_keys(readings: Sequence[Reading], meant: _Asked) -> Iterator[Reading]:
    """The readings; of a record with many items only the rows that make what was asked for, if any does."""
    for reading in readings:
        wanted = [n for n, row in enumerate(reading.trace.rows) if _made_by(row.slots) in meant.keys]
        if not wanted or meant.records:
            yield reading
            continue
        rows = tuple(reading.trace.rows[n] for n in wanted)
        entities = tuple(entity for entity in reading.trace.entities if entity.key in meant.keys)
        reads = tuple(reading.reads[n] for n in wanted if n < len(reading.reads))
        yield Reading(replace(reading.trace, rows=rows, entities=entities), reads)


def _made_by(slots: Sequence[Json]) -> EntityKey:
    values = {slot.name: slot.value for slot in slots}
    return EntityKey(str(values.get("blueprint")), str(values.get("identifier")))


def _absent(sources: Mapping[str, None], readings: Sequence[Reading], ground: Ground) -> Iterator[str]:
    """Records that no rule reads, and why not as far as that is known."""
    read = {reading.trace.record for reading in readings}
    for source in sources:
        if source and source not in read:
            kind = source.partition("/")[0]
            lists = [each for query, each in ground.snapshot.collections.items() if query.kind == kind]
            missing = f"{source} is not in the snapshot taken {ground.snapshot.taken_at}"
            if kind not in {rule.kind for rule in ground.catalog.rules}:
                yield f"{source}: no mapping reads {kind}"
            elif all(each.complete for each in lists) and lists:
                yield f"{missing}: PagerDuty does not list it"
            else:
                yield f"{missing}, which does not have all {kind}"


# --- one entity --------------------------------------------------------------------------------------------------


class _Port:
    """Port, asked about single entities; what could not be asked is noted once."""

    def __init__(self, reader: TargetReader | None) -> None:
        self._reader = reader
        self._seen: Existing | None = None
        self.searches: Searches | None = None
        self.notes: list[str] = []

    async def around(self) -> Existing | None:
        """Organisation and blueprints; None when Port is not asked."""
        if self._reader is not None and self._seen is None:
            try:
                self._seen = await self._reader.read({})
            except TargetError as problem:
                self._give_up(problem)
        return self._seen

    async def live(self, wanted: Mapping[EntityKey, Collection[str]]) -> dict[EntityKey, Live]:
        """What Port holds of entities under these paths and their title; nothing when Port does not tell."""
        if await self.around() is None or self._reader is None:
            return {}
        try:
            found = await self._reader.look({key: sorted({"title", *paths}) for key, paths in wanted.items()})
            edits = await self._reader.edits(list(found)) if found else {}
        except TargetError as problem:
            self._give_up(problem)
            return {}
        held = {key: found[key].fields if key in found else None for key in wanted}
        return {
            key: Live(fields, edits[key].by, edits[key].at) if key in edits else Live(fields)
            for key, fields in held.items()
        }

    async def known(self, keys: frozenset[EntityKey]) -> frozenset[EntityKey]:
        """Those of them that Port has; all of them when it is not asked."""
        return await self._reader.known(keys) if self._reader is not None and keys else keys

    def lookup(self, catalog: Catalog) -> Lookup:
        """What answers the search queries of a catalog."""
        return self.searches.under(catalog) if self.searches is not None else unanswered

    @property
    def reader(self) -> TargetReader | None:
        """Port, as long as it answers."""
        return self._reader

    def _give_up(self, problem: TargetError) -> None:
        self.notes.append(f"Port could not be read: {problem}")
        self._reader = None


async def _accounts(
    keys: Sequence[EntityKey], desired: DesiredEntities, ledger: Ledger, ground: Ground, port: _Port
) -> tuple[Account, ...]:
    """What is known of each of these entities; one plan says of all of them what comes next."""
    if not keys:
        return ()
    live = await port.live({key: _paths(key, desired, ledger) for key in keys})
    existing = await _existing(live, ledger, ground.catalog, port)
    wanted = [desired.entities[key] for key in keys if key in desired.entities]
    targets = [relation_targets(each.fields, existing.blueprints.get(each.key.blueprint)) for each in wanted]
    known = await port.known(frozenset(target for some in targets for _, target in some))
    facts = Facts(
        ground.catalog,
        desired,
        replace(existing, known_targets=known),
        ledger,
        unproven(ground.catalog.rules, ground.snapshot),
        expressions(ground.catalog.rules),
        f"jq {jq_version()}",
        taken_at=ground.snapshot.taken_at,
    )
    plan = await _planned(keys, facts, ground, port)
    lasts = _lasts(keys, ground.store)
    return tuple(account_of(key, facts, plan, live.get(key), lasts.get(key)) for key in keys)


def _paths(key: EntityKey, desired: DesiredEntities, ledger: Ledger) -> set[str]:
    want, entry = desired.entities.get(key), ledger.entities.get(key)
    return {*(want.fields if want else ()), *(want.unknown if want else ()), *(entry.fields if entry else ())}


async def _existing(live: Mapping[EntityKey, Live], ledger: Ledger, catalog: Catalog, port: _Port) -> Existing:
    """Port as we last wrote it, but for what was looked at."""
    entities = {owned: ExistingEntity(entry.fields) for owned, entry in ledger.entities.items() if owned not in live}
    entities |= {key: ExistingEntity(each.fields) for key, each in live.items() if each.fields is not None}
    seen = await port.around()
    if seen is None:
        return Existing(ledger.org_id, "", catalog.blueprints, entities)
    return replace(seen, entities=entities)


async def _planned(keys: Sequence[EntityKey], facts: Facts, ground: Ground, port: _Port) -> Plan:
    """What a plan says of these entities alone, with its causes."""
    globs = tuple("".join(f"[{c}]" if c in "*?[" else c for c in str(key)) for key in keys)
    snapshot, ledger = ground.snapshot, facts.ledger
    base = PlanBase(
        ledger.lineage,
        ledger.serial,
        ground.catalog.tree,
        ground.catalog.commit or "",
        snapshot.digest,
        snapshot.taken_at,
        facts.existing.org_id,
        facts.existing.org_name,
        snapshot.source,
        "",
        facts.tool,
    )
    plan = make_plan(facts, base, Scope(only=globs))

    def mapped(catalog: Catalog, snapshot: Snapshot) -> DesiredEntities:
        return map_entities(catalog.rules, snapshot, lookup=port.lookup(catalog))

    evidence = Evidence(facts, snapshot, ground.store, ground.history, mapped, expressions)
    return await told_causes(plan, evidence, port.reader)


def _lasts(keys: Sequence[EntityKey], store: StateStore) -> dict[EntityKey, LastChange]:
    """The last change of each of these entities that a journal here tells."""
    found: dict[EntityKey, LastChange] = {}
    wanted = set(keys)
    for note in reversed(store.history()):
        if wanted <= found.keys():
            break
        try:
            record = store.run(note.run)
        except StateError:  # one that cannot be read tells nothing
            continue
        for change in reversed(record.plan.changes) if record else ():
            begun = record is not None and change.n in record.statuses and change.target == "entity"
            if record and begun and change.key in wanted and change.key not in found:
                status, message = record.statuses[change.n], record.messages.get(change.n, "")
                found[change.key] = last_change(note, change, status, message)
    return found
