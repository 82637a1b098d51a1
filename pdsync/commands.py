"""What each command is, as a plain function over opened edges: the Python API.

Nothing here prints, reads the environment or knows a concrete edge; `pdsync.cli` opens them and says what happened.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from pdsync import garbage
from pdsync.apply import ApplyResult, apply_plan
from pdsync.around import look_around, not_asked, remote_refusals
from pdsync.causes import Evidence, History, told_causes
from pdsync.completeness import taken_over
from pdsync.edition import edition
from pdsync.errors import StateError, error, warning
from pdsync.lacking import NO_ENRICHMENT, unavailable_in
from pdsync.lookups import Searches
from pdsync.mapping import all_remembered, jq_version, map_entities, mapping_ahead
from pdsync.memo import Memo
from pdsync.model import (
    Catalog,
    DeleteLimit,
    DesiredEntities,
    Existing,
    Ledger,
    Plan,
    PlanBase,
    Snapshot,
)
from pdsync.needed import outside_targets, owned_paths, wanted_paths, with_computed_blueprints, with_values_at_stake
from pdsync.plan import Facts, Scope, make_plan
from pdsync.plan.blueprints import blueprints_after
from pdsync.plan.drift import Drift, find_drift
from pdsync.plan.moved import ledger_with, moved_rules
from pdsync.plan.pointing import with_beyond
from pdsync.plan.portions import lost_of, with_missing
from pdsync.plan.rest import idle, rest_key, rest_of
from pdsync.plan.unchanged import Unchanged, circumstances
from pdsync.plan.unkept import is_emptied, is_ours
from pdsync.sight import watch, watch_present
from pdsync.snapshots import Fetching, expressions, merged, queries, take_snapshot, to_remember
from pdsync.state.store import StateStore
from pdsync.subdomain import account_of, moved_account
from pdsync.targets import TargetReader, ValidatingReader
from pdsync.vanished import doubtful

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Mapping, Sequence

    from pdsync.errors import Diagnostic
    from pdsync.model import MappingRule
    from pdsync.sight import Watch
    from pdsync.sources import Source
    from pdsync.targets import Edit, TargetWriter

    Progress = Callable[[str, int, int | None], None]

__all__ = ["Fetching", "expressions", "merged", "queries", "take_snapshot", "watch", "watch_present"]

NO_LIMIT = DeleteLimit(count=2**62, percent=100.0, empty="allow")


@dataclass(frozen=True, slots=True)
class Sides:
    """What a plan is made from: the catalog, and the snapshot to map."""

    catalog: Catalog
    snapshot: Snapshot


@dataclass(frozen=True, slots=True)
class Ground:
    """What a plan stands on besides: Port as it is read, the state, and what is asked of the plan.

    `target` is Port's URL.  With a `history` of the catalog, causes are told as exactly as they can be; `validating` is
    asked about every entity to create or to change.
    """

    reader: TargetReader
    store: StateStore
    target: str
    history: History | None = None
    scope: Scope = field(default_factory=Scope)
    validating: ValidatingReader | None = None
    progress: Progress | None = None


@dataclass(frozen=True, slots=True)
class Decided:
    """A plan, and all that decided it."""

    facts: Facts
    plan: Plan


async def plan_online(
    catalog: Catalog,
    source: Source,
    ground: Ground,
    *,
    how: Fetching | None = None,
    held: list[object] | None = None,
) -> tuple[Plan, Snapshot]:
    """Snapshot PagerDuty and read Port at the same time; plan, and keep the snapshot.

    All that decided the plan is put into `held`, for who would rather have it than wait until it is given back.
    """
    held = [] if held is None else held
    ledger = ground.store.load()
    paths = wanted_paths(catalog, ledger)
    async with gathered(catalog, source, ground, paths, ledger, how=how) as found:
        sides, existing = Sides(catalog, found.snapshot), found.existing
        held += (ledger, found, sides)
        plain = ground.validating is None and ground.scope == Scope()
        rest = _resting(sides, existing, ledger, ground) if plain else None
        if rest and rest.plan:
            plan = rest.plan
        else:
            memo = found.memo or ground.store.load_memo()
            decided = await plan_read(sides, existing, ledger, ground, memo)
            plan = noting(decided.plan, keep_memo(ground.store, memo))
            held.append(decided)
            _remember(rest, decided, existing, ground.store)
    return noting(plan, found.keeping.result()), found.snapshot


class Gathered(NamedTuple):
    """What was read of PagerDuty and of Port, and what mapping remembers, that of these records included if it is new.

    `keeping` keeps the snapshot meanwhile, and gives what there is to say of that.
    """

    snapshot: Snapshot
    existing: Existing
    memo: Memo | None
    keeping: asyncio.Task[tuple[Diagnostic, ...]]


@asynccontextmanager
async def gathered(
    catalog: Catalog,
    source: Source,
    ground: Ground,
    paths: Mapping[str, Collection[str]],
    ledger: Ledger,
    *,
    how: Fetching | None = None,
) -> AsyncIterator[Gathered]:
    """Snapshot PagerDuty, read these paths of Port, and map what comes in: all at once.

    The snapshot is kept during the block.
    """
    rules, store, progress = catalog.rules, ground.store, ground.progress
    memo = None if all_remembered(rules, store.remembered_rules()) else store.load_memo()
    async with asyncio.TaskGroup() as keeping_on:
        with mapping_ahead(rules if memo else (), memo or Memo()) as ahead:
            came = ahead.came if ahead.is_of_use else None
            snapshot, existing = await _both(
                take_snapshot(catalog, source, store, how=how, progress=progress, came=came),
                ground.reader.read(paths, progress, ledger.entities),
            )
            same_organisation(ledger, existing)  # of another one nothing is kept
            keeping = keeping_on.create_task(asyncio.to_thread(keep_snapshot, store, snapshot))
            await asyncio.to_thread(ahead.finish)
        yield Gathered(snapshot, existing, memo, keeping)


async def _both(
    fetching: Coroutine[Any, Any, Snapshot], reading: Coroutine[Any, Any, Existing]
) -> tuple[Snapshot, Existing]:
    """What both give, at the same time; what one of them fails of ends the other."""
    async with asyncio.TaskGroup() as group:
        fetched, read = group.create_task(fetching), group.create_task(reading)
    return fetched.result(), read.result()


class _Resting(NamedTuple):
    """What a plan would say if there were no entities, under which key it is known, and the whole if that is known."""

    key: str
    idle: Plan
    plan: Plan | None


def _resting(sides: Sides, existing: Existing, ledger: Ledger, ground: Ground) -> _Resting | None:
    """Whether all that decides a plan is as it was when one found nothing to do; None where that cannot be told."""
    same_organisation(ledger, existing)
    catalog, snapshot = sides.catalog, sides.snapshot
    now = expressions(catalog.rules)
    facts = Facts(
        catalog,
        DesiredEntities({}),
        existing,
        ledger,
        unproven=unproven(catalog.rules, snapshot),
        expressions=now,
        tool=f"jq {jq_version()}",
        taken_at=snapshot.taken_at,
        lacking=unavailable_in(catalog.rules, snapshot),
        moved_rules=moved_rules(ledger.expressions, now),
        account=account_of(snapshot),
    )
    if not (key := rest_key(facts, snapshot.digest, edition())):
        return None
    plan = _telling(make_plan(idle(facts), _base(sides, facts, ground)), sides, facts, anew=False)
    known = ground.store.load_rest()
    return _Resting(key, plan, known.of(plan) if known and known.key == key else None)


def _remember(rest: _Resting | None, decided: Decided, existing: Existing, store: StateStore) -> None:
    """Keep a plan that finds nothing to do, if it was decided by what was `existing` alone."""
    seen = decided.facts.existing
    if rest is None or seen.entities is not existing.entities or seen.known_targets:
        return
    if found := rest_of(rest.key, decided.plan, rest.idle):
        store.save_rest(found)


def keep_snapshot(store: StateStore, snapshot: Snapshot) -> tuple[Diagnostic, ...]:
    """Keep a snapshot; a warning when that cannot be, for a plan only reads."""
    try:
        store.save_snapshot(snapshot)
    except StateError as e:
        hint = "the next plan compares with an older one, if any, and reads again what this one has read"
        return (warning("PD508", "cannot keep the snapshot", detail=e.diagnostics[0].detail, hint=hint),)
    return ()


def keep_memo(store: StateStore, memo: Memo) -> tuple[Diagnostic, ...]:
    """Keep what mapping remembers; a note when that cannot be."""
    note = store.save_memo(memo)
    return (note,) if note else ()


def noting(plan: Plan, found: Sequence[Diagnostic]) -> Plan:
    """The plan, with what there was to say before it."""
    return replace(plan, diagnostics=(*found, *plan.diagnostics))


async def plan_from(sides: Sides, ground: Ground) -> Plan:
    """Plan from a snapshot that was taken before."""
    ledger, memo = ground.store.load(), ground.store.load_memo()
    existing = await ground.reader.read(wanted_paths(sides.catalog, ledger), ground.progress, ledger.entities)
    decided = await plan_read(sides, existing, ledger, ground, memo)
    return noting(decided.plan, keep_memo(ground.store, memo))


async def plan_read(sides: Sides, existing: Existing, ledger: Ledger, ground: Ground, memo: Memo) -> Decided:
    """Plan from a snapshot and from what was read of Port under `wanted_paths`; what else is needed is asked.

    `memo` is what mapping remembers, and is told what it finds out.
    """
    with garbage.put_off():
        catalog, snapshot, validating = sides.catalog, sides.snapshot, ground.validating
        same_organisation(ledger, existing)
        now = expressions(catalog.rules)
        moved = moved_rules(ledger.expressions, now | expressions(catalog.ended))
        ledger = ledger_with(ledger, moved)
        before = Facts(catalog, DesiredEntities({}), existing, ledger, expressions=now, moved_rules=moved)
        searches = Searches(before, ground.reader, asyncio.get_running_loop())
        desired = await asyncio.to_thread(_mapped, sides, ledger, searches, ground, memo)
        facts = await _facts(replace(before, desired=desired), snapshot, ground)
        base = _base(sides, facts, ground)
        if ground.progress is not None:
            ground.progress("planning", 0, None)
        plan = make_plan(facts, base, ground.scope)
        ground.store.save_unchanged(facts.unchanged)
        if validating is not None and (refused := await remote_refusals(plan, validating)):
            plan = make_plan(replace(facts, refused=refused), base, ground.scope)
        if validating is not None:
            plan = replace(plan, diagnostics=(*plan.diagnostics, *not_asked(plan)))
        if ground.history is not None:
            anew = partial(_mapped_anew, searches)
            evidence = Evidence(facts, snapshot, ground.store, ground.history, anew, expressions)
            plan = await told_causes(plan, evidence, ground.reader)
        return Decided(facts, _telling(plan, sides, facts, anew=bool(plan.changes)))


async def plan_destroy(catalog: Catalog, ground: Ground) -> Plan:
    """A plan that removes all that is owned: as if the catalog were empty, without number limits."""
    plan = await plan_from(Sides(emptied(catalog), Snapshot(source="", taken_at="", collections={})), ground)
    changes = tuple(replace(c, reason=DESTROYED) if c.reason == UNMAPPED else c for c in plan.changes)
    withheld = tuple(replace(each, why=DESTROYED) if each.why == UNMAPPED else each for each in plan.withheld)
    return replace(plan, changes=changes, withheld=withheld)


UNMAPPED, DESTROYED = "unmapped", "destroyed"
"""Why something goes: the catalog no longer makes it, or somebody asked for an end of all of it."""


def emptied(catalog: Catalog) -> Catalog:
    """The catalog with nothing in it but what says how that ends."""
    policy = replace(catalog.project.policy, deletes={"*": NO_LIMIT})
    project = replace(catalog.project, policy=policy)
    return replace(catalog, rules=(), blueprints={}, tree="", project=project, ended=catalog.rules)


async def apply(
    plan: Plan,
    writer: TargetWriter,
    store: StateStore,
    *,
    reader: TargetReader | None = None,
    operation: str = "apply",
    watch: Watch | None = None,
    stop: asyncio.Event | None = None,
    progress: Progress | None = None,
) -> ApplyResult:
    """Do a plan.  Raises `StalePlan`, before anything is written, when the state has moved since it was made."""
    return await apply_plan(
        plan, writer, store, reader=reader, operation=operation, watch=watch, stop=stop, progress=progress
    )


async def drift(
    reader: TargetReader, store: StateStore, progress: Progress | None = None, *, catalog: Catalog | None = None
) -> tuple[Drift, ...]:
    """Where Port is no longer as we last wrote it, but for what the catalog leaves alone.

    Raises `StateError` where the state is of another organisation: all would seem to be gone.
    """
    ledger, rules = store.load(), catalog.rules if catalog else ()
    written = {name: paths for name, paths in owned_paths(ledger).items() if paths}
    existing = await reader.read(written, progress)
    same_organisation(ledger, existing)
    found = find_drift(ledger, existing, rules)
    edits = await reader.edits([each.key for each in found if each.target == "entity" and each.fields])
    return tuple(_with_edit(each, edits[each.key], ledger) if each.key in edits else each for each in found)


def _with_edit(drift: Drift, edit: Edit, ledger: Ledger) -> Drift:
    ours = is_ours(ledger.entities[drift.key], edit.by, edit.made_by)
    by_us = ours and not all(is_emptied(path, holds) for path, _, holds in drift.fields)
    return replace(drift, updated_by=edit.by, updated_at=edit.at, by_us=by_us)


async def _facts(facts: Facts, snapshot: Snapshot, ground: Ground) -> Facts:
    """All that decides, once it is known what is desired: what was not read of Port yet is asked."""
    reader, progress, scope = ground.reader, ground.progress, ground.scope
    catalog, desired = facts.catalog, facts.desired
    existing = await with_computed_blueprints(facts, reader, progress)
    facts = replace(
        facts,
        existing=existing,
        unproven=unproven(catalog.rules, snapshot),
        tool=f"jq {jq_version()}",
        not_read=_not_read(facts.ledger, desired, snapshot),
        missing=doubtful(snapshot),
        lacking=unavailable_in(catalog.rules, snapshot),
        taken_at=snapshot.taken_at,
        account=account_of(snapshot),
    )
    facts = with_missing(replace(facts, existing=await with_values_at_stake(facts, reader, progress, scope)))
    if (certain := circumstances(facts, edition())) is not None:
        facts = replace(facts, unchanged=Unchanged.recalled(facts, ground.store.load_unchanged(), certain))
    facts = replace(facts, beyond=with_beyond(facts, blueprints_after(facts)))
    known = await reader.known(outside_targets(facts, scope))
    facts = replace(facts, existing=replace(facts.existing, known_targets=known))
    return await look_around(facts, reader, progress, scope)


def _base(sides: Sides, facts: Facts, ground: Ground) -> PlanBase:
    """What the plan will stand on."""
    catalog, snapshot, existing = sides.catalog, sides.snapshot, facts.existing
    return PlanBase(
        lineage=facts.ledger.lineage,
        serial=facts.ledger.serial,
        catalog=catalog.tree,
        commit=catalog.commit or "",
        dirty=catalog.dirty,
        snapshot=snapshot.digest,
        taken_at=snapshot.taken_at,
        org_id=existing.org_id,
        org_name=existing.org_name,
        source=snapshot.source,
        target=ground.target,
        tool=facts.tool,
        account=facts.account,
    )


def _not_read(ledger: Ledger, desired: DesiredEntities, snapshot: Snapshot) -> frozenset[str]:
    """The records that make something no longer and that were taken over from an earlier snapshot."""
    if not any(collection.incremental for collection in snapshot.collections.values()):
        return frozenset()
    made = desired.entities
    lost = {source for key, last in ledger.entities.items() for source in lost_of(last, made.get(key))}
    return taken_over(snapshot, lost)


def _telling(plan: Plan, sides: Sides, facts: Facts, *, anew: bool) -> Plan:
    """The plan with what there is to say and to remember of the snapshot that it is made from."""
    listed = to_remember(sides.catalog, sides.snapshot, facts.ledger, anew=anew)
    told = (*snapshot_problems(sides.snapshot), *moved_account(facts.ledger, facts.account))
    return replace(plan, diagnostics=(*told, *plan.diagnostics), listed=listed)


def snapshot_problems(snapshot: Snapshot) -> tuple[Diagnostic, ...]:
    """What there was to notice, why collections are not complete, and what else there is to know of them, each once.

    That an enrichment is missing is said by the mappings that read it.
    """
    collections = snapshot.collections.values()
    problems = [collection.problem for collection in collections if collection.problem]
    notes = [note for collection in collections for note in collection.notes if note.code != NO_ENRICHMENT]
    return tuple(dict.fromkeys([*snapshot.notes, *problems, *notes]))


def _mapped(sides: Sides, ledger: Ledger, searches: Searches, ground: Ground, memo: Memo) -> DesiredEntities:
    """What mapping gives; records that have not changed since the last plan are not evaluated again."""
    return map_entities(
        sides.catalog.rules,
        sides.snapshot,
        progress=ground.progress,
        memo=memo,
        like=ledger.entities,
        lookup=searches.under(sides.catalog),
    )


def _mapped_anew(searches: Searches, catalog: Catalog, snapshot: Snapshot) -> DesiredEntities:
    """The same of another catalog or snapshot: what is remembered is for those at hand."""
    return map_entities(catalog.rules, snapshot, lookup=searches.under(catalog))


def same_organisation(ledger: Ledger, existing: Existing) -> None:
    """Refuse a state that belongs to another Port organisation than the one just read."""
    if ledger.org_id and existing.org_id and ledger.org_id != existing.org_id:
        detail = f"the state belongs to organisation {ledger.org_id}, the credentials to {existing.org_id}"
        hint = "use the credentials of the right organisation, or another --state"
        raise StateError(error("PD505", "state of another organisation", detail=detail, hint=hint))


def unproven(rules: Sequence[MappingRule], snapshot: Snapshot) -> Mapping[str, str]:
    """Rule id -> why absence from its collection proves nothing, for the rules of which that holds."""
    reasons = {}
    for rule in rules:
        collection = snapshot.collections.get(rule.query)
        if collection is None:
            reasons[rule.id] = f"{rule.kind} are not in this snapshot"
        elif collection.problem is not None:
            detail = f" ({collection.problem.detail})" if collection.problem.detail else ""
            reasons[rule.id] = f"{rule.kind}: {collection.problem.summary}{detail}"
    return reasons
