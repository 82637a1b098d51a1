"""Gather what a plan's causes are told by: the catalog and the records of the last apply, git, and Port.

All of it is asked for what the plan changes or withholds alone, and records that moved; a plan of neither asks nothing.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

import orjson

from pdsync.errors import CatalogError, StateError
from pdsync.kinds import KINDS
from pdsync.model import Collection, Snapshot, ids_of, sources_of
from pdsync.plan import Facts
from pdsync.plan.absence import Seen, absent, with_absences
from pdsync.plan.cause import Past, lines_of, may_have_moved, records_behind, with_causes
from pdsync.plan.moved import catalog_with
from pdsync.plan.portions import giver_of
from pdsync.plan.unkept import is_ours, unkept
from pdsync.state.snapshot_file import read_through
from pdsync.state.store import StateStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from pdsync.model import Catalog, Change, Commit, DesiredEntities, MappingRule, Plan, Query, Record
    from pdsync.targets import TargetReader

    Mapped = Callable[[Catalog, Snapshot], DesiredEntities]
    Digests = Callable[[Sequence[MappingRule]], Mapping[str, Mapping[str, str]]]

TOLD = 1000
"""Of so many changes it is asked when their record or their entity was last touched, and by whom."""

NOT_KEPT = "the records of the last apply are not kept on this machine"
_MOMENTS = ("updated_at", "last_status_change_at")
"""What a record tells of when it was changed; when it was made says nothing of that."""


class History(Protocol):
    """What version control knows of the catalog (`pdsync.catalog.history.CatalogHistory`)."""

    def catalog(self, commit: str) -> Catalog:
        """The catalog at a commit.  Raises `CatalogError`."""
        ...

    def lacking(self, commit: str) -> str:
        """Why a commit is not there, and what to do; empty where it is, or where that is not known."""
        ...

    def commits(self, places: Iterable[str], since: str) -> Mapping[str, Commit]:
        """By place the commit after `since` that brought it."""
        ...


@dataclass(frozen=True, slots=True)
class Evidence:
    """Where a plan's causes are found: its facts and snapshot, what remembers, and how to map.

    `mapped` maps a snapshot under a catalog, `digests` gives what the ledger's `expressions` are of rules.
    """

    facts: Facts
    snapshot: Snapshot
    store: StateStore
    history: History
    mapped: Mapped
    digests: Digests


async def told_causes(plan: Plan, found: Evidence, reader: TargetReader | None) -> Plan:
    """The plan with the causes of its changes, as exact as they can be had, and who is behind them.

    Without a reader the target is not asked who wrote in it.
    """
    if not plan.changes and not plan.withheld:
        return plan
    plan = await asyncio.to_thread(_attributed, plan, found)
    return await _edited(plan, reader) if reader is not None else plan


def _attributed(plan: Plan, found: Evidence) -> Plan:
    if may_have_moved(found.facts):
        catalog, why = _catalog_then(found)
        plan = replace(plan, inexact=why) if catalog is None else _by_corners(plan, found, catalog)
    plan = _dated(_with_records(_without_false_loss(plan, found), found.facts), found.snapshot)
    since = found.facts.ledger.commit
    lines = set(lines_of(plan)) if since else ()
    return replace(plan, commits=found.history.commits(lines, since)) if lines else plan


def _catalog_then(found: Evidence) -> tuple[Catalog | None, str]:
    """The catalog of the last apply, or why it cannot be had."""
    ledger, now = found.facts.ledger, found.facts.catalog
    if ledger.catalog == now.tree and ledger.expressions == found.facts.expressions:
        return now, ""
    if not ledger.commit:
        return None, "the catalog that was applied last is in no commit"
    try:
        then = found.history.catalog(ledger.commit)
    except CatalogError as problem:
        why = found.history.lacking(ledger.commit) or problem
        return None, f"commit {ledger.commit[:10]}, which was applied last, cannot be read here ({why})"
    if then.tree != ledger.catalog:
        return None, f"commit {ledger.commit[:10]} was applied with changes that were not committed"
    return catalog_with(then, found.facts.moved_rules), ""


def _by_corners(plan: Plan, found: Evidence, then: Catalog) -> Plan:
    now, kept = found.facts.catalog, _kept(found, then)
    sources = records_behind(plan, found.facts)
    sources |= _moved(kept, found.snapshot, (now, then)) if kept else set()
    records_then = _read(kept, (now, then), sources) if kept else None
    records_now = _with_unread(limited(found.snapshot, (now, then), sources), records_then, found.snapshot)
    same = then is now
    by_source = found.facts.desired if same else found.mapped(then, records_now)
    both = found.mapped(then, records_then) if records_then else None
    by_catalog = both if same else found.mapped(now, records_then) if records_then else None
    taken_at = records_then.taken_at if records_then else ""
    past = Past(then, found.digests(then.rules), by_source, by_catalog, both, taken_at)
    told = with_causes(plan, found.facts, past)
    return told if records_then else replace(told, inexact=NOT_KEPT)


def _kept(found: Evidence, then: Catalog) -> Snapshot | None:
    """The records of the last apply, none of which is read; None where they are not kept, or damaged."""
    kinds = {rule.query.kind for catalog in (found.facts.catalog, then) for rule in catalog.rules}
    with suppress(StateError):  # one that cannot be read is as good as none
        return found.store.load_applied(found.facts.ledger.snapshot, kinds)
    return None


def _moved(then: Snapshot, now: Snapshot, catalogs: Iterable[Catalog]) -> set[str]:
    """The records that are not as they were, by their digests, of what was read then and now.

    What one of them gives to the catalog of the other time is in neither plan nor ledger, and may be what changes or
    point at it.  What has not moved gives each catalog what it gave it, or gives it, at its own time: that is known.
    """
    found: set[str] = set()
    for query in _queries(catalogs):
        if not (_asked(then, query) and _asked(now, query)):
            continue  # one catalog alone asks for it, and it has its own records of it
        one, other = _told(then, query), _told(now, query)
        found |= {f"{query.kind}/{id_}" for id_ in one.keys() | other.keys() if one.get(id_) != other.get(id_)}
    return found


def _told(snapshot: Snapshot, query: Query) -> dict[str, tuple[bytes, Mapping[str, str]]]:
    """What tells the records of a query from others with their ids."""
    records = (record for collection in reversed(_asked(snapshot, query)) for record in collection.records)
    return {record.id: (record.digest, record.unavailable) for record in records}


def _queries(catalogs: Iterable[Catalog]) -> set[Query]:
    return {rule.query for catalog in catalogs for rule in catalog.rules}


def _read(kept: Snapshot, catalogs: Iterable[Catalog], sources: AbstractSet[str]) -> Snapshot | None:
    """These records of the last apply; None where one of them is damaged."""
    then = limited(kept, catalogs, sources)
    try:
        read_through(then)
    except StateError:
        return None
    return then


def limited(snapshot: Snapshot, catalogs: Iterable[Catalog], sources: AbstractSet[str]) -> Snapshot:
    """The snapshot with these records alone, for every query of the catalogs.

    A query that it does not have gets the records of its kind, whatever they were asked for by.
    """
    wanted = _by_kind(sources)
    asked = {query: _asked(snapshot, query) for query in _queries(catalogs)}
    return replace(
        snapshot,
        collections={query: Collection(query, tuple(_some(some, wanted[query.kind]))) for query, some in asked.items()},
    )


def _with_unread(now: Snapshot, then: Snapshot | None, read: Snapshot) -> Snapshot:
    """The records of now; of kinds that no mapping asks for any more, and so nobody read, those of then."""
    kinds = {query.kind for query in read.collections}
    unread = {query: each for query, each in (then.collections if then else {}).items() if query.kind not in kinds}
    return replace(now, collections={**now.collections, **unread})


def _asked(snapshot: Snapshot, query: Query) -> list[Collection]:
    own = snapshot.collections.get(query)
    return [own] if own else [each for other, each in snapshot.collections.items() if other.kind == query.kind]


def _some(collections: Iterable[Collection], ids: AbstractSet[str]) -> Iterator[Record]:
    seen: set[str] = set()
    for collection in collections if ids else ():
        for record in collection.records:
            if record.id in ids and record.id not in seen:
                seen.add(record.id)
                yield record


def _without_false_loss(plan: Plan, found: Evidence) -> Plan:
    """The plan without saying that records are gone that are there, or may be."""
    sources = absent(plan, found.facts)
    if not sources:
        return plan
    wanted = _by_kind(sources)
    listed = {
        query: {f"{query.kind}/{id_}" for id_ in ids_of(each.records) if id_ in wanted[query.kind]}
        for query, each in found.snapshot.collections.items()
    }
    windows = {kind: row.window.field for kind, row in KINDS.items() if row.window and row.window.field}
    aging = {source for source in sources if source.partition("/")[0] in windows}
    kept = _kept(found, found.facts.catalog) if aging else None
    then = _read(kept, (found.facts.catalog,), aging) if kept else None
    made = {
        f"{query.kind}/{record.id}": _told_by(record, windows.get(query.kind, ""))
        for query, each in (then.collections if then else {}).items()
        for record in each.records
    }
    return with_absences(plan, found.facts, Seen(listed, made))


def _by_kind(sources: Iterable[str]) -> defaultdict[str, set[str]]:
    """The ids of records, by kind."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for source in sources:
        kind, _, id_ = source.partition("/")
        found[kind].add(id_)
    return found


# --- who and when ------------------------------------------------------------------------------------------------


def _with_records(plan: Plan, facts: Facts) -> Plan:
    """The changes of what several records make with the record that PagerDuty changed, if it did."""

    def told(change: Change) -> Change:
        last = facts.ledger.entities.get(change.key) if change.target == "entity" else None
        if change.ledger is None or last is None or "source" not in change.causes:
            return change
        if sources_of(change.ledger) == sources_of(last) == (change.source,):
            return change
        paths = [field.path for field in change.fields if "source" in field.causes]
        return replace(change, source=giver_of(paths, change.ledger, last)) if paths else change

    return replace(plan, changes=tuple(map(told, plan.changes)))


def _dated(plan: Plan, snapshot: Snapshot) -> Plan:
    """The changes that PagerDuty caused, with the moment at which their record says it was changed."""
    wanted = [c for c in plan.changes if c.target == "entity" and "source" in c.causes and c.action != "delete"]
    if not 0 < len(wanted) <= TOLD:
        return plan
    kinds = _by_kind(change.source for change in wanted)
    moments = {
        f"{query.kind}/{record.id}": _moment(record)
        for query, collection in snapshot.collections.items()
        for record in _some([collection], kinds[query.kind])
    }

    def dated(change: Change) -> Change:
        at = moments.get(change.source, "") if "source" in change.causes else ""
        return replace(change, source_at=at) if at else change

    return replace(plan, changes=tuple(map(dated, plan.changes)))


def _moment(record: Record) -> str:
    """When a record was last changed, as far as it tells."""
    return _told_by(record, *_MOMENTS)


def _told_by(record: Record, *names: str) -> str:
    """The first text that there is under some names in a record; empty where there is none."""
    try:
        told = orjson.loads(record.raw)
    except orjson.JSONDecodeError:
        return ""
    found = (told.get(name) for name in names) if isinstance(told, dict) else ()
    return next((at for at in found if isinstance(at, str)), "")


async def _edited(plan: Plan, reader: TargetReader) -> Plan:
    """The changes that undo what somebody did in Port, with who that was and when."""
    keys = [c.key for c in plan.changes if c.target == "entity" and "drift" in c.causes and c.action != "create"]
    edits = await reader.edits(keys[:TOLD]) if keys else {}
    if not edits:
        return plan
    entries = {c.key: c.ledger for c in plan.changes if c.target == "entity" and c.key in edits}

    def told(change: Change) -> Change:
        edit = edits.get(change.key) if change.target == "entity" and "drift" in change.causes else None
        return replace(change, edited_by=edit.by, edited_at=edit.at) if edit else change

    changes = tuple(map(told, plan.changes))
    by_us = {key for key, entry in entries.items() if is_ours(entry, edits[key].by, edits[key].made_by)}
    return replace(plan, changes=changes, diagnostics=(*plan.diagnostics, *unkept(changes, by_us)))
