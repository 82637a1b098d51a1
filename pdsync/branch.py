"""Plan what a branch changes: its catalog and that of its base, from one snapshot and one reading of Port."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from pdsync.causes import History
from pdsync.commands import Sides, gathered, plan_read, queries
from pdsync.memo import Memo
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
    """What both plans stand on beside what the reader has told once.

    `memo` is what mapping remembers, if that is loaded already: what the first plan finds out the second one has of it.
    """

    snapshot: Snapshot
    ledger: Ledger
    memo: Memo | None = None


async def plan_branch_online(
    catalog: Catalog, base: Base, source: Source, ground: Ground, how: Fetching | None = None
) -> Plan:
    """Snapshot PagerDuty for both catalogs and read Port at the same time; plan, and keep the snapshot."""
    both = replace(catalog, rules=_together(catalog, base.catalog))
    ledger = ground.store.load()
    ground = replace(ground, reader=PinnedReader(ground.reader))
    paths = _paths(catalog, base.catalog, ledger)
    read = partial(ground.reader.read, paths, ground.progress, ledger.entities)
    async with gathered(both, source, read, ground.store, ledger, how=how, progress=ground.progress) as found:
        plan = await _planned(catalog, base, _Seen(found.snapshot, ledger, found.memo), ground)
    return replace(plan, diagnostics=(*found.keeping.result(), *plan.diagnostics))


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
        memo=seen.memo,
        scope=ground.scope,
        history=ground.history,
        progress=ground.progress,
        validating=ground.reader if ground.validate else None,
    )
    return decided.plan
