"""What an earlier snapshot knows already: analytics of the day, and incidents that no longer change."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

from pdsync.completeness import given_to_each, is_short, is_too_many, is_young, list_of, shrank
from pdsync.errors import StateError, warning
from pdsync.kinds import KINDS, PARENT, Kind, Settled, Window, window_start
from pdsync.model import PagesRead
from pdsync.recordfile import KeptRecords
from pdsync.sources.pagerduty.listing import Lister, Listing, Tally, counted
from pdsync.sources.pagerduty.moments import Params, Span, in_utc, moment, moment_told, span_of, unbounded
from pdsync.sources.pagerduty.picking import own_test
from pdsync.sources.pagerduty.problems import NOT_AGAIN
from pdsync.sources.pagerduty.records import FieldReader, taken_apart
from pdsync.sources.pagerduty.shares import box_of, local_filters, without_local
from pdsync.sources.pagerduty.shelf import Rows, Shelf, rows_of
from pdsync.sources.pagerduty.tasks import together

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
    from collections.abc import Collection as AbstractCollection

    from pdsync.errors import Diagnostic
    from pdsync.model import Collection, Leaned, Query, Record
    from pdsync.sources import Reuse
    from pdsync.sources.pagerduty.coming import Stretch
    from pdsync.sources.pagerduty.listing import Asker, ListKey
    from pdsync.spool import Readable

A_DAY = timedelta(hours=24)
"""Analytics are worked out once a day (PagerDuty REST API, Analytics), so they are read once a day."""

_MARGIN = timedelta(hours=1)
_A_SECOND = timedelta(seconds=1)
_MOST_LOOKED_UP = 100


@dataclass(frozen=True, slots=True)
class Known:
    """Values by record id, as JSON bytes, and when the oldest of them was read."""

    values: Rows
    read_at: str = ""


class Earlier:
    """An earlier snapshot of the same source.

    Its records stand in a file that may have been damaged since, so each is read before it is taken over.  One that is
    not as it was written is as if it were not there: PagerDuty can be asked again.

    Args:
        reuse: the snapshot, and what may be taken over from it.
        source: the base URL that is read now; a snapshot of another one is of no use.
        wanted: what is read now.
        now: the time.
    """

    def __init__(self, reuse: Reuse, source: str, wanted: Iterable[Query], now: datetime) -> None:
        self._snapshot = reuse.snapshot if reuse.snapshot and reuse.snapshot.source == source else None
        self.file = _file(self._collections()) if self._snapshot else None
        self.refresh = reuse.refresh_analytics  # what is of today is of use only where it cannot be read again
        self.settled_after = reuse.settled_after
        known = self._snapshot.collections if self._snapshot else {}
        self.owned = reuse.owned([query for query in wanted if query not in known])
        self._again_after = reuse.again_after
        self.now = now
        self._damaged: set[str] = set()

    @property
    def notes(self) -> tuple[Diagnostic, ...]:
        """What is to be said of the snapshot, once it was gone through."""
        return (_damaged(self._damaged, self.file.whence(0) if self.file else ""),) if self._damaged else ()

    def sound(self, kind: str, rows: Rows) -> Rows:
        """Those of some rows of a kind that can be read as they were written."""
        found = Rows(rows.shelf, rows.shelf.sound(rows.places))
        if len(found) < len(rows):
            self._damaged.add(kind)
        return found

    def _bare(self, collection: Collection, but: Container[str] = frozenset()) -> Iterator[tuple[str, bytes]]:
        """Its records by id, without enrichments where these are kept apart; those that can be read, `but` some."""
        for id_, read in _readers(collection.records):
            if id_ in but:
                continue
            try:
                raw = read()
            except (OSError, StateError):
                self._damaged.add(collection.query.kind)
            else:
                yield id_, raw

    def _collections(self, kind: str = "") -> list[Collection]:
        """Those of a kind, or all; what was read last comes first."""
        found = self._snapshot.collections.values() if self._snapshot else ()
        of_kind = (collection for collection in found if kind in ("", collection.query.kind))
        return sorted(of_kind, key=lambda each: self._read_at(each, ""), reverse=True)

    @property
    def read(self) -> PagesRead:
        """The answers that it was read from."""
        return self._snapshot.read if self._snapshot else PagesRead()

    def listed(self, kind: str, shelf: Shelf) -> list[Rows]:
        """The records of a kind, by list, that stand in the file which a shelf goes on from."""
        found = [each.records for each in self._collections(kind)]
        return [rows_of(each.rows, shelf) for each in found if isinstance(each, KeptRecords)] if self.file else []

    @property
    def taken_at(self) -> datetime | None:
        """When the snapshot was taken; the oldest of its lists that may be settled, which may be of an earlier one."""
        if not self._snapshot:
            return None
        return min(map(self._moment_of, self._may_be_settled()), default=moment(self._snapshot.taken_at, self.now))

    @property
    def doubts_settled(self) -> bool:
        """Whether records are missing, and in doubt, of a list that may be settled."""
        return any(each.missing for each in self._may_be_settled())

    def _may_be_settled(self) -> Iterator[Collection]:
        return (each for each in self._collections() if (row := KINDS.get(each.query.kind)) and row.settled)

    def _moment_of(self, collection: Collection) -> datetime:
        """When the records of a list were read."""
        return moment(self._read_at(collection, ""), self.now)

    # --- analytics

    def _read_at(self, collection: Collection, name: str) -> str:
        """When an enrichment (empty: the records themselves) was read, through all snapshots it was taken over in."""
        told = collection.as_of.get(name) or collection.as_of.get("")
        return told or (self._snapshot.taken_at if self._snapshot else "")

    def _is_of_today(self, read_at: str) -> bool:
        age = self.now - moment(read_at, self.now)
        return timedelta() <= age < A_DAY

    def of_today(self, kind: str, name: str, argument: str, ids: AbstractCollection[str], shelf: Shelf) -> Known:
        """What was read of a daily enrichment less than a day ago, with the same argument."""
        values = shelf.rows()
        oldest = ""
        for collection in self._collections(kind) if ids else ():
            read_at = self._read_at(collection, name)
            if (name, argument) in collection.query.enrich and self._is_of_today(read_at):
                values = values.and_missing(self._values(collection, name, ids, shelf))
                oldest = min(filter(None, (oldest, read_at)))
        return Known(values, oldest if values else "")

    def has_today(self, kind: str, name: str, argument: str) -> bool:
        """Whether a daily enrichment was read less than a day ago, with the same argument, for whichever records."""
        return any(
            (name, argument) in collection.query.enrich and self._is_of_today(self._read_at(collection, name))
            for collection in self._collections(kind)
        )

    def ever(self, kind: str, name: str, argument: str, ids: AbstractCollection[str], shelf: Shelf) -> Rows:
        """What is known of an enrichment with the same argument, however old: for records that no longer change."""
        values = shelf.rows()
        for collection in self._collections(kind) if ids else ():
            if (name, argument) in collection.query.enrich:
                values = values.and_missing(self._values(collection, name, ids, shelf))
        return values

    def _values(self, collection: Collection, name: str, ids: AbstractCollection[str], shelf: Shelf) -> Rows:
        records = collection.records
        if not isinstance(records, KeptRecords):
            return shelf.rows()
        block, doubted = records.values(name), records.lacking(name)
        if self._is_to_wait(self._leaned_on(collection, name)):
            doubted = {}
        found = rows_of(block, shelf if block.source is self.file else Shelf(block.source))
        return self.sound(collection.query.kind, found.only(id_ for id_ in found if id_ in ids and id_ not in doubted))

    def _leaned_on(self, collection: Collection, name: str) -> Leaned | None:
        """How much there was of an enrichment that has a daily quota."""
        own = given_to_each(collection.query).get(name)
        return self._snapshot.leaned.get(own) if self._snapshot and own and KINDS[own.kind].daily else None

    def _is_to_wait(self, listed: Collection | Leaned | None) -> bool:
        """Whether reading a short list again, of which there are few a day, could not make it believed yet."""
        if listed is None or not is_short(listed) or not listed.short_since:  # snapshots once did not tell since when
            return False
        return is_young(listed.short_since, in_utc(self.now), self._again_after)

    def given(self, kind: str, name: str) -> frozenset[str]:
        """The records of a kind for which an enrichment had something."""
        kept = [each.records for each in self._collections(kind) if isinstance(each.records, KeptRecords)]
        return frozenset(id_ for records in kept for id_ in records.values(name).given())

    def parents(self, kind: str) -> dict[str, str]:
        """What the records of a kind were listed under, by their ids; those, too, that were missing by then."""
        reader = FieldReader([f"{PARENT}.id"])
        missing = {id_: gone.parent for each in self._collections(kind) for id_, gone in each.missing.items()}
        listed = (one for each in self._collections(kind) for one in self._bare(each))
        return missing | {id_: str(reader.read(raw)[0] or "") for id_, raw in listed}

    def astray(self, kind: str) -> dict[str, str]:
        """The records of a kind that were missing by then and of which nobody knew the parent, with none."""
        return {id_: "" for each in self._collections(kind) for id_, gone in each.missing.items() if not gone.parent}

    def signed(self, kind: str, sign: Callable[[bytes], bool]) -> set[str]:
        """The ids of the records of a kind that bear a sign; those, too, that were missing by then."""
        collections = self._collections(kind)
        found = {id_ for each in collections for id_, raw in self._bare(each) if sign(raw)}
        return found.union(*(each.missing for each in collections))

    def whole(self, query: Query) -> Collection | None:
        """The collection of a query about analytics that was read whole less than a day ago."""
        found = self._snapshot.collections.get(query) if self._snapshot else None
        if found is None or not KINDS[query.kind].daily or not (found.complete or self._is_to_wait(found)):
            return None
        read_at = self._read_at(found, "")
        if not self._is_of_today(read_at) or sum(1 for _ in self._bare(found)) < len(found.records):
            return None
        notes = tuple(note for note in found.notes if note.code != NOT_AGAIN)  # of who tried to
        return replace(found, problem=None, notes=notes, requests=0, seconds=0.0, as_of={**found.as_of, "": read_at})

    def count(self, key: ListKey) -> int:
        """How many records a list had."""
        return max((len(each.records) for each in self._collections(key[0]) if each.query.params == key[1]), default=0)

    def emptied(self, query: Query, stretches: Iterable[Stretch], listed: Container[str]) -> set[str]:
        """The records that a query had in stretches of time of which it has nothing now: too many to have gone at once.

        With those that were missing by then: when they were made is not known any more.  Those that are `listed` are
        not among them.
        """
        window = KINDS[query.kind].window
        if window is None or not window.field:
            return set()
        reader = FieldReader([window.field])
        found: set[str] = set()
        for each in (each for each in self._collections(query.kind) if each.query.params == query.params):
            made = {id_: at for id_, raw in self._bare(each, listed) if (at := moment_told(reader.read(raw)[0]))}
            for since, until in (map(moment_told, stretch) for stretch in stretches):
                ids = {id_ for id_, at in made.items() if since and until and since <= at < until}
                found |= ids if is_too_many(query, len(ids)) else set()
            found.update(id_ for id_ in each.missing if id_ not in listed)
        return found

    def left_out(self, query: Query, listed: AbstractCollection[str], *, whole: bool) -> set[str]:
        """The records that a query nobody asked before should have by what they said, where most are not `listed`.

        Who changes a filter just when PagerDuty gives half of a list would not see it: there is no such list to compare
        with.  With those that were missing by then, of which nobody knows any more what they said.  What is not read
        `whole` is compared with nothing, and what was in doubt stays so.
        """
        kind, lists = KINDS[query.kind], self._collections(query.kind)
        if kind.parents:
            return set()
        same = [each for each in lists if list_of(each.query) == list_of(query)]
        missing = {id_ for each in same or lists for id_ in each.missing if id_ not in listed}
        test = own_test(query, self.now) if whole and lists and not same else None
        if test is None:
            return missing
        sought = {id_ for each in lists for id_, raw in self._bare(each) if test(raw)}
        there = sum(1 for id_ in sought if id_ in listed)
        return missing | (sought.difference(listed) if shrank(query, len(sought), there) else set())

    # --- records that are settled

    def since_full(self, query: Query) -> int:
        """How many readings there were since all records of a query were read."""
        found = self._snapshot.collections.get(query) if self._snapshot else None
        return found.since_full if found else 0

    def records(self, members: Iterable[ListKey], shelf: Shelf) -> Rows | None:
        """All records of some lists as the snapshot has them, without enrichments; None when it lacks any of it."""
        records = shelf.rows()
        for kind, params in members:
            fits = [each for each in self._collections(kind) if each.query.params == params and each.complete]
            if not fits:
                return None
            names = [enrichment.name for enrichment in KINDS[kind].enrichments]
            records |= shelf.keep((id_, taken_apart(raw, names)[0]) for id_, raw in self._bare(fits[0]))
        return records

    def unsettled_elsewhere(self, whole: ListKey) -> dict[str, datetime] | None:
        """When the unsettled records were made that a list leaves out; None when no other list tells that of them all.

        What settles meanwhile comes into the list from there.
        """
        kind = KINDS[whole[0]]
        assert kind.settled is not None
        assert kind.window is not None
        wish = _wish(whole)
        missing = {value for _, value in kind.settled.unsettled} - (wish or set())
        if wish is None or not missing:
            return {}
        covered: set[str] = set()
        made: dict[str, datetime] = {}
        reader = FieldReader([kind.window.field, kind.settled.field])
        for collection in self._collections(kind.name):
            if collection.complete and self._spans(collection, whole):
                told = _wish((kind.name, collection.query.params))
                covered |= missing if told is None else missing & told
                for id_, raw in self._bare(collection):
                    at, state = reader.read(raw)
                    if state in missing:
                        if (when := moment_told(at)) is None:
                            return None
                        made[id_] = when
        return made if covered >= missing else None

    def _spans(self, collection: Collection, whole: ListKey) -> bool:
        """Whether what a query gave was bounded by nothing that bounds a list."""
        query = collection.query
        window = KINDS[query.kind].window
        own, mine = dict(query.params), dict(whole[1])
        if window is None or not may_be_settled((query.kind, query.params), whatever_state=True) or window.until in own:
            return False
        begun = window_start(window, query.params, self._moment_of(collection))
        if begun is None or window.since not in own:
            return begun is None
        since = window_start(window, whole[1], self.now) if window.since in mine else None
        return since is not None and begun <= since


def _readers(records: Sequence[Record]) -> Iterator[tuple[str, Callable[[], bytes]]]:
    """What reads each record, by its id."""
    if isinstance(records, KeptRecords):
        rows = records.rows
        return ((id_, partial(rows.raw, number)) for number, id_ in enumerate(rows.ids))
    return ((record.id, partial(getattr, record, "raw")) for record in records)


def _damaged(kinds: Iterable[str], file: str) -> Diagnostic:
    named = ", ".join(sorted(kinds))
    return warning(
        "PD514",
        "the kept snapshot was damaged",
        detail=f"{file}: {named}: it was edited, or its disk is failing" if file else named,
        hint="what was damaged has been read from PagerDuty again",
    )


def may_be_settled(whole: ListKey, *, whatever_state: bool = False) -> bool:
    """Whether a list is bounded by nothing but time and state, so that what is settled in it stays in it."""
    settled = KINDS[whole[0]].settled
    if settled is None or not {name for name, _ in without_local(whole)} <= settled.harmless:
        return False
    allowed = {param.wire: frozenset(param.allowed) for param in KINDS[whole[0]].params}
    wanted = zip(local_filters(whole[0]).items(), box_of(whole), strict=True)
    others = all(
        values is None or values == allowed[name] for (name, field), values in wanted if field != settled.field
    )
    wish = _wish(whole)
    return others and (whatever_state or wish is None or settled.value in wish)


def _wish(key: ListKey) -> frozenset[str] | None:
    """The states that a list is of; None: of all."""
    settled = KINDS[key[0]].settled
    assert settled is not None
    wishes = zip(local_filters(key[0]).values(), box_of(key), strict=True)
    return next(values for field, values in wishes if field == settled.field)


def _file(collections: Iterable[Collection]) -> Readable | None:
    """The one file that records of an earlier snapshot stand in; None when there are several."""
    found = [each.records.rows.source for each in collections if isinstance(each.records, KeptRecords)]
    return found[0] if found and all(each is found[0] for each in found) else None


class SettledReader:
    """Reads a list without what is settled and known.

    Args:
        asker: sends the requests.
        kind: the kind; it has `settled` and `window`.
        params: as they are sent, with all wishes that a record tells left out.
        now: the time.
        known: the records of an earlier reading of the same list.
        elsewhere: when other unsettled records were made.
        before: when what is taken over was made at the latest.
        tally: counts what comes in.
        shelf: where records are put.
    """

    def __init__(
        self,
        asker: Asker,
        kind: Kind,
        params: Params,
        now: datetime,
        *,
        known: Rows,
        elsewhere: Mapping[str, datetime],
        before: datetime,
        tally: Tally,
        shelf: Shelf,
    ) -> None:
        assert kind.settled is not None
        assert kind.window is not None
        self._asker = asker
        self._kind = kind
        self._settled: Settled = kind.settled
        self._window: Window = kind.window
        self._params = params
        self._now = now
        self._tally = tally
        self._shelf = shelf
        made = FieldReader([kind.window.field, kind.settled.field])
        self._told = {id_: (at, "") for id_, at in elsewhere.items()}
        self._told |= {
            id_: (when, state)
            for id_, raw in known.items()
            for at, state in [made.read(raw)]
            if (when := moment_told(at))
        }
        self._known = known
        self._cut = before.replace(microsecond=0)

    async def read(self) -> Listing | None:
        """The list; None when it has to be read as a whole, because something does not add up or failed."""
        span = span_of(self._window, self._params, self._now)
        since = span.since if span else min((at for at, _ in self._told.values()), default=self._cut)
        until = span.until if span else self._now + timedelta(days=self._window.ahead_days)
        old = Span(since.replace(microsecond=0), self._cut)
        taken = {
            id_ for id_, (at, state) in self._told.items() if state == self._settled.value and since <= at < self._cut
        }
        if not taken or until <= self._cut or not self._known.keys() <= self._told.keys():
            return None
        newer, unsettled, counted = await together(
            [
                self._lister(Span(self._cut, until)).as_part(self._now),
                self._listed(old, *self._settled.unsettled),
                self._count(old),
            ]
        )
        assert isinstance(newer, Listing)
        assert isinstance(unsettled, Listing)
        if newer.problem or unsettled.problem or not isinstance(counted, int):
            return None
        return await self._together(old, taken, newer, unsettled, counted)

    async def _together(
        self, old: Span, taken: set[str], newer: Listing, unsettled: Listing, counted: int
    ) -> Listing | None:
        """The parts as one; what was unsettled and is no longer is looked up."""
        read = self._shelf.rows() | newer.records | unsettled.records
        changed = [
            id_ for id_, (at, _) in self._told.items() if old.since <= at < old.until and id_ not in taken | read.keys()
        ]
        if len(changed) > _MOST_LOOKED_UP:
            return None
        looked_up = await self._looked_up(changed)
        kept = self._known.only(id_ for id_ in self._known if id_ in taken and id_ not in read)
        before = kept | looked_up.records | unsettled.records
        if looked_up.problem or counted != self._within(old, before):
            return None
        # What was taken over stands first.
        return Listing(before | newer.records, taken=frozenset(kept), empty=newer.empty)

    def _within(self, span: Span, records: Rows) -> int:
        reader = FieldReader([self._window.field])
        moments = (moment_told(reader.read(raw)[0]) for raw in records.values())
        return sum(at is not None and span.since <= at < span.until for at in moments)

    async def _listed(self, span: Span, *more: tuple[str, str]) -> Listing:
        return await self._lister(span, *more).read(self._now)

    def _lister(self, span: Span, *more: tuple[str, str]) -> Lister:
        params = (*unbounded(self._window, self._params), *more, *span.as_params(self._window))
        return Lister(self._asker, self._kind, params, self._tally, shelf=self._shelf)

    async def _count(self, span: Span) -> int | None:
        """How many records PagerDuty has of a stretch of time."""
        params = (*unbounded(self._window, self._params), *span.as_params(self._window))
        return await counted(self._asker, self._kind, params, self._now)

    async def _looked_up(self, ids: list[str]) -> Listing:
        """Some records as they are now, from lists of the second in which each was made: they look like the others."""
        moments = {self._told[id_][0].replace(microsecond=0) for id_ in ids}
        spans = [Span(at, at + _A_SECOND) for at in sorted(moments)]
        found = await together(self._listed(span) for span in spans)
        records = self._shelf.rows()
        for listing in found:
            records |= {id_: raw for id_, raw in listing.records.items() if id_ in ids}
        return Listing(records, problem=next((listing.problem for listing in found if listing.problem), None))


def is_all_read(earlier: Earlier, key: ListKey) -> bool:
    """Whether nothing of a list could be taken over: it is of what may change, or begins when nothing is settled."""
    before, window = cut_off(earlier), KINDS[key[0]].window
    if before is None or window is None or not may_be_settled(key):
        return True
    since = window_start(window, key[1], earlier.now)
    return since is not None and since >= before


def cut_off(earlier: Earlier) -> datetime | None:
    """The moment before which settled records are taken over; None when nothing may be.

    While something of such a list is in doubt, all of it is read: what was settled cannot tell whether that lasts.
    """
    if earlier.settled_after is None or earlier.taken_at is None or earlier.doubts_settled:
        return None
    return min(earlier.now - earlier.settled_after, earlier.taken_at - _MARGIN)
