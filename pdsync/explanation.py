"""What `explain` does: why an entity is as it is, or why a record gave none.

It makes the very plan that `plan --snapshot` would make of the snapshot that was kept, and tells of it what concerns
the one entity: so no number, cause or verdict can be another one than the plan's.  Where Port is not asked, all counts
as we last wrote it, which is said.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import orjson

from pdsync import commands
from pdsync.asked import Asked, Names
from pdsync.aswritten import AsWritten
from pdsync.causes import History
from pdsync.errors import StateError, TargetError, UsageError
from pdsync.jq.inputs import inputs_of
from pdsync.mapping import RowTrace, evaluate_record
from pdsync.model import Catalog, DesiredEntities, EntityKey, Expression, Plan, Record, Snapshot, sources_of
from pdsync.needed import wanted_paths
from pdsync.plan import Facts
from pdsync.plan.account import Account, Live, account_of, last_change
from pdsync.plan.decide import constant_blueprint
from pdsync.privacy import Cleaner
from pdsync.render.explanation import Explanation, Reading
from pdsync.state.store import StateStore
from pdsync.targets import TargetReader

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    from pdsync.model import Json, Ledger, MappingRule
    from pdsync.plan.account import LastChange

    Progress = Callable[[str, int, int | None], None]

AS_WRITTEN = "all counts as pdsync last wrote it, and a plan may find otherwise"
NOT_ASKED = f"Port was not asked: {AS_WRITTEN}"


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
class _Told:
    """The plan as it would be made now, what decided it, whom was asked, and what could not be found out."""

    facts: Facts
    plan: Plan
    reader: TargetReader
    asked: bool
    notes: tuple[str, ...] = ()


async def explain(asked: str, ground: Ground) -> Explanation:
    """Explain an entity (`BLUEPRINT/IDENTIFIER`), a record (`KIND:ID`), or what else is meant (`pdsync.asked`).

    Raises `UsageError` when there is nothing of that name, or when several things have it.
    """
    told = await _decided(ground)
    desired, ledger = told.facts.desired, told.facts.ledger
    names = Names(told.facts, told.plan, ground.snapshot)
    meant = names.meant(asked) or await _elsewhere(asked, ground, told)
    if meant is None:
        raise UsageError(names.nothing(asked))
    sources = dict.fromkeys([*meant.records, *(s for key in meant.keys for s in _sources(key, desired, ledger))])
    readings = [each for source in sources for each in _readings(source, ground)]
    records = set(meant.records)
    made = [key for key, want in desired.entities.items() if not records.isdisjoint(sources_of(want))]
    owned = [key for key, entry in ledger.entities.items() if not records.isdisjoint(sources_of(entry))]
    keys = [*dict.fromkeys([*meant.keys, *made, *owned])]
    accounts = await _accounts(keys, told, ground)
    inexact = told.plan.inexact if any(account.next for account in accounts) else ""
    notes = [*_absent(sources, readings, ground), *_unread(sources, ground), *_said(sources, told.plan), *told.notes]
    return Explanation(
        asked=asked,
        snapshot=ground.snapshot.taken_at,
        entities=accounts,
        readings=tuple(_of_keys(readings, meant, ground.catalog)),
        failed={source: desired.failed[source] for source in sources if source in desired.failed},
        notes=(*notes, *([f"causes not exact: {inexact}"] if inexact else [])),
    )


async def _decided(ground: Ground) -> _Told:
    """The very plan that would be made of the snapshot; where Port is not asked, it counts as we last wrote it."""
    ledger, note = ground.store.load(), NOT_ASKED
    if ground.reader is not None:
        try:
            facts, plan = await _decided_by(ground.reader, ground, ledger)
            return _Told(facts, plan, ground.reader, asked=True)
        except TargetError as problem:
            note = f"Port could not be read: {problem}; {AS_WRITTEN}"
    written = AsWritten(ground.catalog, ledger)
    facts, plan = await _decided_by(written, ground, ledger)
    return _Told(facts, plan, written, asked=False, notes=(note,))


async def _decided_by(reader: TargetReader, ground: Ground, ledger: Ledger) -> tuple[Facts, Plan]:
    sides = commands.Sides(ground.catalog, ground.snapshot)
    existing = await reader.read(wanted_paths(ground.catalog, ledger), ground.progress, ledger.entities)
    under = commands.Ground(reader, ground.store, reader.name, ground.history, progress=ground.progress)
    memo = ground.store.load_memo()
    decided = await commands.plan_read(sides, existing, ledger, under, memo)
    ground.store.save_memo(memo)
    return decided.facts, decided.plan


# --- what is meant -----------------------------------------------------------------------------------------------


async def _elsewhere(asked: str, ground: Ground, told: _Told) -> Asked | None:
    """An entity that only a journal knows, or Port in a blueprint that is none of ours."""
    blueprint, _, identifier = asked.partition("/")
    key = EntityKey(blueprint, identifier)
    if not identifier:
        return None
    known = _lasts([key], ground) or (told.asked and await told.reader.known([key]))
    return Asked((key,)) if known else None


# --- the records -------------------------------------------------------------------------------------------------


def _sources(key: EntityKey, desired: DesiredEntities, ledger: Ledger) -> Iterator[str]:
    """The records that an entity is made of, was made of, or that claim it."""
    if key in desired.entities:
        yield from sources_of(desired.entities[key])
    if key in ledger.entities:
        yield from sources_of(ledger.entities[key])
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


def _of_keys(readings: Sequence[Reading], meant: Asked, catalog: Catalog) -> Iterator[Reading]:
    """The readings; of a record with many items only the rows that make what was asked for, if any does.

    What a record makes of other blueprints is told of where the record is asked for.
    """
    names = {key.blueprint for key in meant.keys}
    others = {rule.id for rule in catalog.rules if constant_blueprint(rule) not in {None, *names}}
    for reading in readings:
        wanted = [n for n, row in enumerate(reading.trace.rows) if _made_by(row.slots) in meant.keys]
        if not wanted or meant.records:
            if meant.records or reading.trace.rule not in others:
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


def _unread(sources: Iterable[str], ground: Ground) -> Iterator[str]:
    """Rules for such records that could not be evaluated, because the snapshot was taken for other ones."""
    kinds = {source.partition("/")[0] for source in sources}
    for rule in ground.catalog.rules:
        if rule.kind in kinds and rule.query not in ground.snapshot.collections:
            yield f"{rule.id} asks for a list that this snapshot does not have: `pdsync snapshot` takes a new one"


def _said(sources: Collection[str], plan: Plan) -> Iterator[str]:
    """What the plan reports of such records, with what to do about it."""
    for each in plan.diagnostics:
        if not set(sources).isdisjoint(each.records):
            hint = f" (hint: {each.hint})" if each.hint else ""
            yield f"{each.severity.value}[{each.code}] {each.summary}: {each.detail}{hint}"


# --- one entity --------------------------------------------------------------------------------------------------


async def _accounts(keys: Sequence[EntityKey], told: _Told, ground: Ground) -> tuple[Account, ...]:
    """What is known of each of these entities."""
    live = await _live(keys, told) if told.asked else {}
    lasts = _lasts(keys, ground)
    return tuple(account_of(key, told.facts, told.plan, live.get(key), lasts.get(key)) for key in keys)


async def _live(keys: Sequence[EntityKey], told: _Told) -> dict[EntityKey, Live]:
    """What Port holds of these entities, and who wrote it."""
    there = told.facts.existing.entities
    elsewhere = [key for key in keys if key not in there]
    # Of what is not mapped no more than its title: its values are nobody's to print.
    found = {**there, **(await told.reader.look(dict.fromkeys(elsewhere, ("title",))) if elsewhere else {})}
    edits = await told.reader.edits([key for key in keys if key in found])
    who = {key: (edit.by, edit.at, edit.made_by, edit.made_at) for key, edit in edits.items()}
    return {key: Live(found[key].fields if key in found else None, *who.get(key, ())) for key in keys}


def _lasts(keys: Sequence[EntityKey], ground: Ground) -> dict[EntityKey, LastChange]:
    """The last change of each of these entities that a journal that is kept tells."""
    found: dict[EntityKey, LastChange] = {}
    wanted = set(keys)
    notes = ground.store.history()
    for number, note in enumerate(reversed(notes)):
        if wanted <= found.keys():
            break
        if ground.progress:
            ground.progress("journals", number, len(notes))
        try:
            record = ground.store.run(note.run)
        except StateError:  # one that cannot be read tells nothing
            continue
        for change in reversed(record.plan.changes) if record else ():
            begun = record is not None and change.n in record.statuses and change.target == "entity"
            if record and begun and change.key in wanted and change.key not in found:
                status, message = record.statuses[change.n], record.messages.get(change.n, "")
                found[change.key] = last_change(note, change, status, message)
    return found
