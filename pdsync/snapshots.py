"""Taking a snapshot: what is asked for, what of the last one is not read again, and whether the new one is believed."""

from __future__ import annotations

import asyncio
import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache, partial
from itertools import chain
from typing import TYPE_CHECKING

from pdsync.completeness import (
    Seen,
    abandoned,
    doubts,
    given_to_each,
    ids_in,
    judged,
    leans_on,
    list_of,
    lists_asked,
    noted,
    remembered,
    seen_in,
)
from pdsync.emptied import doubted_since, emptied, losing
from pdsync.errors import SourceError, StateError, error, some_of, warning
from pdsync.kinds import KINDS, PARENT, suggest
from pdsync.lacking import NO_ENRICHMENT, paths_with
from pdsync.model import (
    Catalog,
    Expression,
    Leaned,
    Ledger,
    PagesRead,
    Query,
    SearchQuery,
    Snapshot,
    makers,
    sources_of,
)
from pdsync.privacy import Cleaner, still_whole
from pdsync.recordfile import KeptRecords, doubted
from pdsync.sources import Reuse
from pdsync.sources.pagerduty.picking import own_test
from pdsync.vanished import in_doubt, missed_since, noted_missing

if TYPE_CHECKING:
    from collections.abc import Collection as AbstractCollection
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import timedelta

    from pdsync.errors import Diagnostic
    from pdsync.model import Collection, LedgerEntry, Listed, MappingRule
    from pdsync.recordfile import Block
    from pdsync.sources import Came, ListKey, Source
    from pdsync.state.store import StateStore

    Progress = Callable[[str, int, int | None], None]


@dataclass(frozen=True, slots=True)
class Fetching:
    """How to take a snapshot.

    Only `kinds`, if any are named; `accept_shrink` are kinds that may be short all at once; `full`: take over no
    records of the last snapshot; `refresh_analytics`: nor its analytics, however young, if they can be read.  What is
    to be applied at once `applies`: it is full as well where the last one was and nobody has applied anything since.
    """

    kinds: tuple[str, ...] = ()
    accept_shrink: tuple[str, ...] = ()
    full: bool = False
    refresh_analytics: bool = False
    applies: bool = False


async def take_snapshot(
    catalog: Catalog,
    source: Source,
    store: StateStore,
    *,
    how: Fetching | None = None,
    progress: Progress | None = None,
    came: Came | None = None,
) -> Snapshot:
    """Fetch what the catalog's mappings read, without what is private, judged against the last snapshot.

    `came` may be told of some records before all are there.

    Raises `SourceError`.
    """
    how = how or Fetching()
    wanted = queries(catalog, how.kinds)
    leaned = frozenset(kind for query in queries(catalog) for kind in leans_on(query))
    accepted = [kind_of(catalog, kind, leaned) for kind in how.accept_shrink]
    kept, notes = await asyncio.to_thread(_kept, store, {query.kind for query in wanted})
    ledger = cache(store.load)
    overtaken = kept is not None and await asyncio.to_thread(_is_overtaken, catalog, store, kept)
    how = replace(how, full=True, refresh_analytics=True) if overtaken else how
    if kept and how.applies and _is_full_and_unused(catalog, store, kept):
        # Plans and applies in turn: if plans alone were full, no apply would ever do what they say of what is settled.
        how = replace(how, full=True)

    def owned(new: Sequence[Query]) -> Mapping[ListKey, Mapping[str, str]]:
        asked = wanted if overtaken else new
        return under_parents(ledger(), asked) if asked else {}

    reuse = replace(_reuse(catalog, kept, how) if kept else Reuse(), owned=owned)
    fetched = await source.fetch(wanted, progress, reuse, Cleaner(catalog.rules), came)
    fetched = replace(fetched, notes=(*notes, *fetched.notes), applies=how.applies)
    fetched = _with_given(fetched)
    least = catalog.project.policy.believe_shrink_after
    mine = kept if kept and kept.source == fetched.source else None
    counts = _counts(store) if mine or not kept else {}
    before = _Before(catalog, mine, counts, ledger, overtaken, datetime.fromisoformat(fetched.taken_at))
    fetched = in_doubt(_without_unowned(fetched, ledger), before.missed_since(fetched), least, accepted, before.test)
    found = _with_doubts(judged(fetched, before.seen(fetched), least, accepted, before))
    return await asyncio.to_thread(_with_emptied, found, before, least, accepted)


def _is_full_and_unused(catalog: Catalog, store: StateStore, kept: Snapshot) -> bool:
    """Whether incidents may be taken over from a full reading that was a plan's, with which nothing was applied."""
    is_full = not any(each.incremental for each in kept.collections.values())
    may_be = catalog.project.settled_after is not None and is_full and not kept.applies
    return may_be and not store.applied_since(kept.taken_at, "")


def _without_unowned(snapshot: Snapshot, ledger: Callable[[], Ledger]) -> Snapshot:
    """The snapshot without what is listed elsewhere now and concerns nobody, as nothing owned was made from it."""
    moved = {query for query, each in snapshot.collections.items() if any(one.moved for one in each.missing.values())}
    ours = _sources(ledger()) if moved else frozenset()
    found = {
        query: replace(
            each, missing={i: one for i, one in each.missing.items() if not one.moved or f"{query.kind}/{i}" in ours}
        )
        for query, each in snapshot.collections.items()
        if query in moved
    }
    return replace(snapshot, collections={**snapshot.collections, **found}) if found else snapshot


def _with_given(snapshot: Snapshot) -> Snapshot:
    """The snapshot with how much was given by enrichments that are asked for about each record."""
    wanted = [
        (each, name, own) for query, each in snapshot.collections.items() for name, own in given_to_each(query).items()
    ]
    more = {
        own: _given(own, each.problem, each.records, each.records.values(name))
        for each, name, own in wanted
        if isinstance(each.records, KeptRecords)
    }
    return replace(snapshot, leaned={**snapshot.leaned, **more}) if more else snapshot


def _given(own: Query, problem: Diagnostic | None, records: KeptRecords, values: Block) -> Leaned:
    unread = len(records) - len(values)
    if unread and not problem:
        problem = warning(NO_ENRICHMENT, "an enrichment could not be read", detail=f"{own.kind} of {unread} records")
    return Leaned(own, 0 if problem else sum(1 for _ in values.given()), problem, asked=len(records))


def _with_doubts(snapshot: Snapshot) -> Snapshot:
    """The snapshot with enrichments in doubt that lean on lists which are not believed."""
    found = {query: _doubted(snapshot.collections[query], reasons) for query, reasons in doubts(snapshot).items()}
    return replace(snapshot, collections={**snapshot.collections, **found}) if found else snapshot


def _doubted(collection: Collection, doubts: Mapping[str, Leaned]) -> Collection:
    problems = {name: each.problem for name, each in doubts.items() if each.problem}
    reasons = {
        name: f"{each.summary} ({each.detail}); --accept-shrink {doubts[name].query.kind} believes it"
        for name, each in problems.items()
    }
    count, kind = len(collection.records), collection.query.kind
    notes = tuple(
        warning(
            NO_ENRICHMENT,
            "an enrichment could not be read",
            detail=f"{name} of {count} of {count} {kind}: {each.summary} ({each.detail})",
            hint=f"what is mapped from it keeps the value it has in Port; {each.hint}",
        )
        for name, each in problems.items()
    )
    records = doubted(collection.records, reasons)
    return replace(collection, records=records, notes=(*collection.notes, *notes))


def _with_emptied(snapshot: Snapshot, before: _Before, least: timedelta, accepted: AbstractCollection[str]) -> Snapshot:
    """The snapshot with what is in doubt that came empty for records which had it before."""
    found, leaned = dict(snapshot.collections), dict(snapshot.leaned)
    for query, own, name in _given_of(snapshot, accepted):
        records = found[query].records
        if not isinstance(records, KeptRecords):
            continue
        was = before.records(query.kind, name)
        reasons = emptied(name, records, was, snapshot.taken_at, least)
        if own in leaned and not before.knows(query):
            since = before.lost(query, own, name, records, snapshot.taken_at)
            last = () if before.overtaken else was
            known = set[str]().union(*(each.rows.ids for each in last))
            told = {id_: at for id_, at in since.items() if id_ not in known}
            leaned[own] = replace(leaned[own], missing=told)
            reasons |= doubted_since(told, snapshot.taken_at, least)
        found[query] = _partly_doubted(found[query], records, name, own.kind, reasons)
    return replace(snapshot, collections=found, leaned=leaned)


def _said_before(rules: Sequence[MappingRule], name: str, ledger: Ledger) -> set[str]:
    """The paths that are made from an enrichment by the same expression as when the ledger was written."""
    known = {pair for said in ledger.expressions.values() for pair in said.items()}
    now = expressions(rules)
    return {path for rule in rules for path in paths_with(rule, name) if (path, now[rule.id][path]) in known}


def _given_of(snapshot: Snapshot, accepted: AbstractCollection[str]) -> Iterator[tuple[Query, Query, str]]:
    """What is asked for about each record but analytics: by which query, as a list, under which name.

    What nothing happened to for a while has no analytics.
    """
    for query in snapshot.collections:
        for name, own in given_to_each(query).items():
            if own.kind not in accepted and not KINDS[own.kind].daily:
                yield query, own, name


def _partly_doubted(
    collection: Collection, records: KeptRecords, name: str, given_by: str, reasons: Mapping[str, str]
) -> Collection:
    kind, count = collection.query.kind, len(records)
    hint = f"what is mapped from it keeps the value it has in Port until that lasts, or --accept-shrink {given_by}"
    notes = tuple(
        warning(
            NO_ENRICHMENT,
            "an enrichment could not be read",
            detail=f"{name} of {len(ids)} of {count} {kind}: {reason}",
            hint=hint,
            **some_of(f"{kind}/{id_}" for id_ in ids),
        )
        for reason, ids in _by_reason(reasons).items()
    )
    return replace(collection, records=records.doubted_of(name, reasons), notes=(*collection.notes, *notes))


def _by_reason(reasons: Mapping[str, str]) -> dict[str, list[str]]:
    found: defaultdict[str, list[str]] = defaultdict(list)
    for id_, reason in sorted(reasons.items()):
        found[reason].append(id_)
    return dict(sorted(found.items()))


def merged(kept: Snapshot, taken: Snapshot) -> Snapshot:
    """A snapshot of some kinds laid over the one that is kept, whose records are as old as they were.

    One of another account is of no use.
    """
    if kept.source != taken.source:
        return taken
    digest = hashlib.blake2b(f"{kept.digest}{taken.digest}".encode(), digest_size=16).hexdigest()
    old = {
        query: replace(each, as_of={"": kept.taken_at, **each.as_of})
        for query, each in kept.collections.items()
        if query not in taken.collections
    }
    collections, leaned = {**old, **taken.collections}, {**kept.leaned, **taken.leaned}
    return replace(taken, collections=collections, leaned=leaned, digest=digest, read=_together(kept.read, taken.read))


def _together(kept: PagesRead, taken: PagesRead) -> PagesRead:
    """The answers of both; those that are kept only where the same was left in their records."""
    found = {page.body: page for page in (*(kept.pages if kept.private == taken.private else ()), *taken.pages)}
    return PagesRead(taken.private, tuple(found.values()))


def queries(catalog: Catalog, kinds: AbstractCollection[str] = ()) -> list[Query]:
    """The queries of the mappings, each once, in their order; `kinds`, in any spelling, limit them.

    Raises `SourceError` for a kind that no mapping reads.
    """
    mapped = dict.fromkeys(rule.query for rule in catalog.rules)
    chosen = {kind_of(catalog, kind) for kind in kinds}
    return [query for query in mapped if not kinds or query.kind in chosen]


def kind_of(catalog: Catalog, spelling: str, besides: AbstractCollection[str] = ()) -> str:
    """The kind that is meant by a name or a path.

    Raises `SourceError` when no mapping reads it and it is not one of those `besides`.
    """
    mapped = sorted({rule.kind for rule in catalog.rules}.union(besides))
    row = KINDS.get(spelling)
    if row is not None and row.name in mapped:
        return row.name
    hint = suggest(spelling, mapped) or f"mapped kinds: {', '.join(mapped)}"
    raise SourceError(error("PD305", "no mapping reads this kind", detail=spelling, hint=hint))


# --- what the last snapshot is good for ------------------------------------------------------------------------


def under_parents(ledger: Ledger, wanted: Sequence[Query]) -> dict[ListKey, dict[str, str]]:
    """The ids of records that something owned was made from, by list, of kinds that are not listed as a whole.

    Those are listed under parents, or together with records of another kind.  Each with the id of its parent, where
    something owned says that (otherwise empty).  A record that was asked for in another way than any of these lists may
    be in each of its kind.
    """
    nested = _by_list([query for query in wanted if KINDS[query.kind].parents or KINDS[query.kind].also])
    kinds = {kind for kind, _ in nested}
    asked = lists_asked(ledger)
    found: defaultdict[ListKey, dict[str, str]] = defaultdict(dict)
    for entry, source, rules in _made_of(ledger, kinds):
        kind, _, id_ = source.partition("/")
        told = [nested.get((kind, asked.get(rule, "")), ()) for rule in rules]
        any_of_kind = (each for (its, _), each in nested.items() if its == kind)
        for query in chain.from_iterable(told if told and all(told) else any_of_kind):
            mine = found[query.kind, query.params]
            mine[id_] = mine.get(id_) or _parent_of(entry, ledger)
    return dict(found)


def _made_of(ledger: Ledger, kinds: AbstractCollection[str]) -> Iterator[tuple[LedgerEntry, str, tuple[str, ...]]]:
    """What is owned, with each record of some kinds that it was made from and the rules that did."""
    for entry in ledger.entities.values() if kinds else ():
        for source, rules in makers(entry):
            if source.partition("/")[0] in kinds:
                yield entry, source, rules


def _parent_of(entry: LedgerEntry, ledger: Ledger) -> str:
    """The id of the parent of the only record that an entity is made of, if its rule maps that as it is."""
    rules = [rule for _, made_by in makers(entry) for rule in made_by]
    said = ledger.expressions.get(rules[0], {}) if len(rules) == 1 else {}
    found = (entry.fields.get(path) for path, digest in said.items() if digest == _PARENT_ID)
    return next((value for value in found if isinstance(value, str)), "")


def _is_overtaken(catalog: Catalog, store: StateStore, kept: Snapshot) -> bool:
    """Whether another machine has applied since the kept snapshot was read, so that there may be newer in Port.

    One that is shared has all that was applied with it, taken over or not.  Of analytics, which are of the day, it is
    not asked.
    """
    if catalog.project.state_snapshot == "remote":
        return store.applied_elsewhere(kept.taken_at, kept.digest)
    lists = kept.collections.values()
    lasting = [each for each in lists if each.query.kind in KINDS and not KINDS[each.query.kind].daily]
    return store.applied_elsewhere(min((each.as_of.get("", kept.taken_at) for each in lasting), default=kept.taken_at))


def as_of_then(catalog: Catalog, store: StateStore, kept: Snapshot) -> Snapshot:
    """The kept snapshot, to plan from: it proves no absence where another machine has applied since it was taken."""
    return _proving_nothing(kept) if _is_overtaken(catalog, store, kept) else kept


def as_of_file(catalog: Catalog, store: StateStore, saved: Snapshot) -> Snapshot:
    """A snapshot of a file, to plan from: it proves no absence where anybody has applied a newer one since."""
    overtaken = store.applied_since(saved.taken_at, saved.digest) or _is_overtaken(catalog, store, saved)
    return _proving_nothing(saved) if overtaken else saved


def _proving_nothing(old: Snapshot) -> Snapshot:
    found = {q: replace(each, problem=each.problem or _overtaken(q, old)) for q, each in old.collections.items()}
    return replace(old, collections=found)


def _overtaken(query: Query, kept: Snapshot) -> Diagnostic:
    detail = f"{query.kind}: something newer was applied since this was read, {kept.taken_at}"
    return error(
        "PD343", "a list is older than what was applied", detail=detail, hint="take a new one: `pdsync snapshot`"
    )


def _reuse(catalog: Catalog, kept: Snapshot, how: Fetching) -> Reuse:
    """What of the kept snapshot need not be read again."""
    age = None if how.full else catalog.project.settled_after
    readings = 1 + max((each.since_full for each in kept.collections.values()), default=0)
    settled_after = age if readings < catalog.project.full_every else None
    whole = still_whole(kept, catalog.rules)
    return Reuse(
        replace(whole, read=PagesRead()) if how.full else whole,
        how.refresh_analytics,
        settled_after,
        again_after=catalog.project.policy.believe_shrink_after,
    )


def _kept(store: StateStore, kinds: AbstractCollection[str]) -> tuple[Snapshot | None, tuple[Diagnostic, ...]]:
    """The last snapshot of some kinds; one that cannot be read is of no use, and will be replaced: that is said."""
    try:
        return store.load_snapshot(kinds), ()
    except StateError as problem:
        why = problem.diagnostics[0]
        hint = "all of it has been read from PagerDuty again"
        return None, (
            warning("PD514", "the kept snapshot is of no use", detail=f"{why.summary}: {why.detail}", hint=hint),
        )


@dataclass(frozen=True, slots=True)
class _Before:
    """What there was before: as the last snapshot says, if it is of the same account.

    Of what that does not have, the ledger tells, as where none was kept: it may have been taken for another catalog.
    So it does of all where the snapshot is `overtaken`: what another machine has applied since may be more.
    """

    catalog: Catalog
    kept: Snapshot | None
    counts: Mapping[Query, Seen]
    ledger: Callable[[], Ledger]
    overtaken: bool
    now: datetime

    @property
    def _kept_queries(self) -> Iterable[Query]:
        return self.kept.collections if self.kept else ()

    def knows(self, query: Query) -> bool:
        """Whether the snapshot has a query, and nobody knows more of it."""
        return self.kept is not None and query in self.kept.collections and not self.overtaken

    def seen(self, fetched: Snapshot) -> Mapping[Query, Seen]:
        """What there was of each query; of a list that is asked for with more or less in its records as well."""
        every = (*fetched.collections, *fetched.leaned)
        new = [query for query in every if self.overtaken or query not in self.counts]
        if not new:
            return self.counts
        lists = {list_of(query): self.counts[query] for query in self._kept_queries if query in self.counts}
        alike = {query: lists[list_of(query)] for query in fetched.collections if list_of(query) in lists}
        ledger = self.ledger()
        names = {each: each for each in fetched.leaned} | {each: list_of(each) for each in fetched.collections}
        listed = {query: ledger.listed.get(query_name(names[query])) for query in new}
        told = {query: remembered(each) for query, each in listed.items() if each}
        mine, others = {**alike, **self.counts}, {**_owned(self.catalog, ledger), **told}
        known = others.keys() | mine.keys()
        others |= self._seen_otherwise([each for query, each in fetched.collections.items() if query not in known])
        more = {query: each for query, each in others.items() if self.overtaken and _is_more(each, mine.get(query))}
        return {**others, **mine, **more}

    def _seen_otherwise(self, new: Sequence[Collection]) -> dict[Query, Seen]:
        """What there was of the kinds of lists that are new: as much as was made from lists that are asked for no more.

        What the last snapshot has is compared record by record (`Earlier.left_out`), where records tell what fits.  The
        rest may not fit: unless something is in doubt already, only that nothing at all came is doubted for its sake.
        """
        owned = abandoned(self.ledger(), _asked(self.catalog)) if new else {}
        found = {}
        for each in new:
            ids = owned.get(each.query.kind, frozenset())
            if not ids <= self._compared(each.query):
                sure = not each.missing and all(last.complete for last in self._of_kind(each.query.kind))
                found[each.query] = Seen(len(ids), len(ids), suspicious=False, loosely=sure)
        return found

    def _of_kind(self, kind: str) -> list[Collection]:
        return [each for each in self.kept.collections.values() if each.query.kind == kind] if self.kept else []

    def _compared(self, query: Query) -> frozenset[str]:
        """The ids of the records that a new list is compared with."""
        if KINDS[query.kind].parents or self.test(query) is None:
            return frozenset()
        return frozenset(record.id for each in self._of_kind(query.kind) for record in each.records)

    def had(self, query: Query) -> Iterable[str]:
        """The ids of what a query had, as far as they are known."""
        if self.kept and self.knows(query):
            return (record.id for record in self.kept.collections[query].records)
        alike = [each for each in self._kept_queries if list_of(each) == list_of(query)]
        if self.kept and alike:
            return (record.id for record in self.kept.collections[alike[0]].records)
        return ids_in(self.ledger(), _asked(self.catalog)).get(query, ())

    def all_of(self, query: Query) -> frozenset[str] | None:
        """The ids of all that a query had; None where it was not read whole, or nobody knows."""
        if self.kept is None or not self.knows(query) or not (last := self.kept.collections[query]).complete:
            return None
        return frozenset(record.id for record in last.records).union(last.missing)

    def test(self, query: Query) -> Callable[[bytes], bool] | None:
        """Whether a record belongs to a query by what it says itself; None where it does not tell that."""
        return own_test(query, self.now)

    def missed_since(self, fetched: Snapshot) -> dict[str, str]:
        """Since when records have been missing."""
        new = {
            f"{query.kind}/{id_}"
            for query, each in fetched.collections.items()
            for id_ in (() if self.knows(query) else each.missing)
        }
        listed = self.ledger().listed.values() if new else ()
        noted = {f"{each.kind}/{id_}": at for each in listed for id_, at in each.missing.items()}
        told = {name: at for name, at in noted.items() if name in new}
        return told | (missed_since(self.kept.collections.values()) if self.kept else {})

    def records(self, kind: str, enrichment: str) -> list[KeptRecords]:
        """The records of a kind that had an enrichment, by list."""
        lists = self.kept.collections.values() if self.kept else ()
        mine = (each.records for each in lists if each.query.kind == kind and enrichment in dict(each.query.enrich))
        return [each for each in mine if isinstance(each, KeptRecords)]

    def lost(self, query: Query, own: Query, name: str, records: KeptRecords, at: str) -> dict[str, str]:
        """The records that something owned was made from, which would lose by an enrichment `at` a moment; since when.

        `own` is the enrichment as a list.
        """
        ledger = self.ledger()
        note = ledger.listed.get(query_name(own))
        begun = note.when if note and note.suspicious else at
        told = note.missing if note else {}
        rules = [rule for rule in self.catalog.rules if rule.query == query]
        paths = _said_before(rules, name, ledger)
        return {id_: told.get(id_, begun) for id_ in sorted(losing(name, records, rules, paths, ledger))}


def _is_more(seen: Seen, than: Seen | None) -> bool:
    return than is None or seen.believed > than.believed


def _counts(store: StateStore) -> Mapping[Query, Seen]:
    """What the last snapshot had of each query; one that cannot be read tells nothing."""
    with suppress(StateError):
        return store.last_counts()
    return {}


def _owned(catalog: Catalog, ledger: Ledger) -> dict[Query, Seen]:
    """What there was of each query at least, of those that still ask for the same."""
    return seen_in(ledger, _asked(catalog))


def _asked(catalog: Catalog) -> dict[tuple[str, str], list[Query]]:
    return _by_list(queries(catalog))


def _by_list(wanted: Iterable[Query]) -> dict[tuple[str, str], list[Query]]:
    """Queries by kind and by what the ledger notes of their lists, now and formerly (`lists_asked`)."""
    found: defaultdict[tuple[str, str], list[Query]] = defaultdict(list)
    for query in wanted:
        for digest in {query_digest(list_of(query)), query_digest(query)}:
            found[query.kind, digest].append(query)
    return dict(found)


def to_remember(catalog: Catalog, snapshot: Snapshot, ledger: Ledger, *, anew: bool) -> dict[str, Listed]:
    """What the ledger is to say of the lists of a snapshot; see `pdsync.completeness.noted`."""
    short = noted(snapshot, _owned(catalog, ledger), ledger.listed, query_name, anew=anew)
    return noted_missing(snapshot, short, ledger.listed, query_name, partial(_sources, ledger))


def _sources(ledger: Ledger) -> frozenset[str]:
    return frozenset(source for entry in ledger.entities.values() for source in sources_of(entry))


def query_name(query: Query) -> str:
    """What a list is called in the ledger; an enrichment of it, by what it gives."""
    return f"{query.kind} {query_digest(replace(query, params=list_of(query).params))}"


def query_digest(query: Query) -> str:
    """A digest of what a query asks for, as the ledger notes it with each rule under `$query`."""
    return hashlib.blake2b(repr((query.params, query.enrich)).encode(), digest_size=6).hexdigest()


def expressions(rules: Sequence[MappingRule]) -> dict[str, dict[str, str]]:
    """Rule id -> path -> digest of its expression; the rule's own parts stand under `$` names."""
    return {rule.id: _digests(rule) for rule in rules}


def _digests(rule: MappingRule) -> dict[str, str]:
    own = {
        "$selector": rule.selector.text,
        "$identifier": _text(rule.identifier),
        "$blueprint": rule.blueprint.text,
        "$items": repr((rule.items.text if rule.items else "", rule.items_name, rule.items_strip)),
    }
    if not rule.merge:
        own["$merge"] = repr(rule.merge)
    texts = own | {path: _text(value) for path, value in rule.fields.items()}
    digests = {path: _digest(text) for path, text in texts.items()}
    asked = {"$query": query_digest(rule.query), "$list": query_digest(list_of(rule.query))}
    return dict(sorted((digests | asked).items()))


def _text(value: object) -> str:
    return value.text if isinstance(value, Expression | SearchQuery) else repr(value)


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=6).hexdigest()


_PARENT_ID = _digest(f".{PARENT}.id")
"""Of the expression that says what a record is listed under."""
