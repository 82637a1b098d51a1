"""Plan what a branch changes: its catalog and that of its base, from one snapshot and one reading of Port."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pdsync.causes import History
from pdsync.commands import Sides, keep_snapshot, plan_read, queries, take_snapshot
from pdsync.model import Catalog, Ledger, Snapshot
from pdsync.needed import wanted_paths
from pdsync.pinned import PinnedReader
from pdsync.plan import Scope
from pdsync.plan.branch import with_branch
from pdsync.state.store import StateStore
from pdsync.targets import ValidatingReader

if TYPE_CHECKING:
    from collections.abc import Callable

    from pdsync.model import MappingRule, Plan
    from pdsync.snapshots import Fetching
    from pdsync.sources import Source

    Progress = Callable[[str, int, int | None], None]


@dataclass(frozen=True, slots=True)
class Base:
    """What a plan is compared with: what it is called, its commit, and its catalog (without rules if it has none)."""

    ref: str
    commit: str
    catalog: Catalog


@dataclass(frozen=True, slots=True)
class Ground:
    """What both plans stand on; `target` is Port's URL, `history` what git knows, `validate` as `--validate-remote`."""

    reader: ValidatingReader
    store: StateStore
    target: str
    history: History
    scope: Scope | None = None
    validate: bool = False
    progress: Progress | None = None


@dataclass(frozen=True, slots=True)
class _Seen:
    """What both plans stand on beside what the reader has told once."""

    snapshot: Snapshot
    ledger: Ledger


async def plan_branch_online(
    catalog: Catalog, base: Base, source: Source, ground: Ground, how: Fetching | None = None
) -> Plan:
    """Snapshot PagerDuty for both catalogs and read Port at the same time; plan, and keep the snapshot."""
    both = replace(catalog, rules=_together(catalog, base.catalog))
    ledger = ground.store.load()
    ground = replace(ground, reader=PinnedReader(ground.reader))
    async with asyncio.TaskGroup() as group:
        fetching = group.create_task(take_snapshot(both, source, ground.store, how=how, progress=ground.progress))
        paths = _paths(catalog, base.catalog, ledger)
        group.create_task(ground.reader.read(paths, ground.progress, ledger.entities))
    notes = await asyncio.to_thread(keep_snapshot, ground.store, fetching.result())
    plan = await _planned(catalog, base, _Seen(fetching.result(), ledger), ground)
    return replace(plan, diagnostics=(*notes, *plan.diagnostics))


async def plan_branch_from(catalog: Catalog, base: Base, snapshot: Snapshot, ground: Ground) -> Plan:
    """The same from a snapshot that was taken before: what it lacks of a query, it lacks for the plan that asks it."""
    ledger = ground.store.load()
    ground = replace(ground, reader=PinnedReader(ground.reader))
    await ground.reader.read(_paths(catalog, base.catalog, ledger), ground.progress, ledger.entities)
    return await _planned(catalog, base, _Seen(snapshot, ledger), ground)


def _together(catalog: Catalog, base: Catalog) -> tuple[MappingRule, ...]:
    """The rules of both, each once."""
    return (*catalog.rules, *(rule for rule in base.rules if rule not in catalog.rules))


def _paths(catalog: Catalog, base: Catalog, ledger: Ledger) -> dict[str, frozenset[str]]:
    """All that either plan reads of Port."""
    wanted: defaultdict[str, frozenset[str]] = defaultdict(frozenset)
    for each in (catalog, base):
        for name, paths in wanted_paths(each, ledger).items():
            wanted[name] |= paths
    return dict(sorted(wanted.items()))


async def _planned(catalog: Catalog, base: Base, seen: _Seen, ground: Ground) -> Plan:
    """The plan of the base first: what mapping remembers then is of the catalog that goes on."""
    before = await _one(base.catalog, seen, ground)
    plan = await _one(catalog, seen, ground)
    return with_branch(plan, before, base.ref, base.commit)


async def _one(catalog: Catalog, seen: _Seen, ground: Ground) -> Plan:
    """One of the plans, as it would be alone: it sees no more than its own catalog asks for."""
    collections = seen.snapshot.collections
    own = {query: collections[query] for query in queries(catalog) if query in collections}
    decided = await plan_read(
        Sides(catalog, replace(seen.snapshot, collections=own), ground.target),
        await ground.reader.read(wanted_paths(catalog, seen.ledger)),
        ground.reader,
        ground.store,
        seen.ledger,
        scope=ground.scope,
        history=ground.history,
        progress=ground.progress,
        validating=ground.reader if ground.validate else None,
    )
    return decided.plan
