"""Plan what a branch changes: its catalog and that of its base, from one snapshot and one reading of Port."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pdsync.commands import Ground, Sides, gathered, keep_memo, noting, plan_read, queries
from pdsync.memo import Memo
from pdsync.model import Catalog, Ledger, Snapshot
from pdsync.needed import owned_paths, wanted_beside
from pdsync.pinned import PinnedReader
from pdsync.plan.branch import with_branch

if TYPE_CHECKING:
    from pdsync.model import MappingRule, Plan
    from pdsync.snapshots import Fetching
    from pdsync.sources import Source


@dataclass(frozen=True, slots=True)
class Base:
    """What a plan is compared with: what it is called, its commit, and its catalog (without rules if it has none)."""

    ref: str
    commit: str
    catalog: Catalog


@dataclass(frozen=True, slots=True)
class _Seen:
    """What both plans stand on beside what the reader has told once; what one finds out, the other has of the memo."""

    snapshot: Snapshot
    ledger: Ledger
    owned: Mapping[str, Collection[str]]
    memo: Memo


async def plan_branch_online(
    catalog: Catalog, base: Base, source: Source, ground: Ground, how: Fetching | None = None
) -> Plan:
    """Snapshot PagerDuty for both catalogs and read Port at the same time; plan, and keep the snapshot."""
    both = replace(catalog, rules=_together(catalog, base.catalog))
    ledger = ground.store.load()
    ground = _pinned(ground)
    owned = owned_paths(ledger)
    paths = _paths(catalog, base.catalog, owned)
    async with gathered(both, source, ground, paths, ledger, how=how) as found:
        memo = found.memo or ground.store.load_memo()
        plan = await _planned(catalog, base, _Seen(found.snapshot, ledger, owned, memo), ground)
    return noting(plan, found.keeping.result())


async def plan_branch_from(catalog: Catalog, base: Base, snapshot: Snapshot, ground: Ground) -> Plan:
    """The same from a snapshot that was taken before: what it lacks of a query, it lacks for the plan that asks it."""
    ledger = ground.store.load()
    ground = _pinned(ground)
    owned = owned_paths(ledger)
    await ground.reader.read(_paths(catalog, base.catalog, owned), ground.progress, ledger.entities)
    return await _planned(catalog, base, _Seen(snapshot, ledger, owned, ground.store.load_memo()), ground)


def _pinned(ground: Ground) -> Ground:
    """The same, with all that Port says said once for both plans."""
    pinned = PinnedReader(ground.reader, ground.validating)
    return replace(ground, reader=pinned, validating=pinned if ground.validating else None)


def _together(catalog: Catalog, base: Catalog) -> tuple[MappingRule, ...]:
    """The rules of both, each once."""
    return (*catalog.rules, *(rule for rule in base.rules if rule not in catalog.rules))


def _paths(catalog: Catalog, base: Catalog, owned: Mapping[str, Collection[str]]) -> dict[str, frozenset[str]]:
    """All that either plan reads of Port."""
    wanted: defaultdict[str, frozenset[str]] = defaultdict(frozenset)
    for each in (catalog, base):
        for name, paths in wanted_beside(owned, each).items():
            wanted[name] |= paths
    return dict(sorted(wanted.items()))


async def _planned(catalog: Catalog, base: Base, seen: _Seen, ground: Ground) -> Plan:
    """The plan of the base first: what is known to need nothing then is of the catalog that goes on."""
    before = await _one(base.catalog, seen, ground)
    plan = await _one(catalog, seen, ground)
    return noting(with_branch(plan, before, base.ref, base.commit), keep_memo(ground.store, seen.memo))


async def _one(catalog: Catalog, seen: _Seen, ground: Ground) -> Plan:
    """One of the plans, as it would be alone: it sees no more than its own catalog asks for."""
    collections = seen.snapshot.collections
    own = {query: collections[query] for query in queries(catalog) if query in collections}
    sides = Sides(catalog, replace(seen.snapshot, collections=own))
    existing = await ground.reader.read(wanted_beside(seen.owned, catalog))
    return (await plan_read(sides, existing, seen.ledger, ground, seen.memo)).plan
