"""One reading of PagerDuty: its moment, the lists read so far, and how they become collections."""

from __future__ import annotations

import time
from collections import defaultdict
from dataclasses import replace
from functools import partial
from itertools import starmap
from typing import TYPE_CHECKING, Protocol

from pdsync.completeness import is_too_short, parents_list
from pdsync.errors import Diagnostic, error
from pdsync.kinds import KINDS, PARENT, parents_of, scopes_for
from pdsync.model import Collection, Leaned, Missing, Query
from pdsync.privacy import ANY
from pdsync.sources.pagerduty import v3
from pdsync.sources.pagerduty.details import read_details
from pdsync.sources.pagerduty.earlier import Earlier, SettledReader, cut_off, is_all_read
from pdsync.sources.pagerduty.early import Early, early_wishes
from pdsync.sources.pagerduty.early import Hands as EarlyHands
from pdsync.sources.pagerduty.enrich import (
    Extra,
    Setting,
    asked_with,
    enriched,
    needed_lists,
    read_early,
    read_extra,
    shortcomings,
)
from pdsync.sources.pagerduty.leaps import Ground
from pdsync.sources.pagerduty.listing import Lister, Listing, Tally
from pdsync.sources.pagerduty.moments import wire_params
from pdsync.sources.pagerduty.nested import Branches, Had, Nest, is_nested, lists_needed, own_params
from pdsync.sources.pagerduty.pages import Pages
from pdsync.sources.pagerduty.picking import cutter, picker
from pdsync.sources.pagerduty.problems import not_again, not_granted
from pdsync.sources.pagerduty.shares import shared_lists, without_local
from pdsync.sources.pagerduty.shelf import Shelf
from pdsync.sources.pagerduty.taking import Hands, Once, Taker
from pdsync.sources.pagerduty.tasks import Meeting, together
from pdsync.spool import NOWHERE, Aside
from pdsync.transport import ApiError, Unreachable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
    from collections.abc import Collection as AbstractCollection

    from pdsync.kinds import Kind
    from pdsync.model import Json, PagesRead
    from pdsync.privacy import Cleaner
    from pdsync.sources import Came, Progress
    from pdsync.sources.pagerduty.earlier import Known
    from pdsync.sources.pagerduty.leaps import Ahead
    from pdsync.sources.pagerduty.listing import Asker, Beginning, ListKey
    from pdsync.sources.pagerduty.moments import Params
    from pdsync.sources.pagerduty.shelf import Rows
    from pdsync.transport import Reply

    Wish = tuple[str, str]
    """An enrichment and its argument."""

    Wanting = tuple[Sequence[Query], Rows]
    """Queries, and the records that they want something for."""

_FORBIDDEN = 403


class Grants(Protocol):
    """Knows what an OAuth app was granted; `ClientCredentials` does."""

    def lacking(self, scopes: Iterable[str]) -> tuple[str, ...]:
        """Which of these scopes it was not."""
        ...


class Everything:
    """Credentials that have no scopes, or whose scopes nobody knows."""

    def lacking(self, scopes: Iterable[str]) -> tuple[str, ...]:  # noqa: ARG002
        """None."""
        return ()


class Counting:
    """A client that counts what one query costs: requests, each as often as it was sent, and the time they took.

    That is from the first one to the last answer.
    """

    def __init__(self, client: Asker, clock: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._clock = clock
        self._begun, self._ended = float("inf"), 0.0
        self.requests = 0

    @property
    def seconds(self) -> float:
        """How long it took; what its requests waited for others before the first was sent does not count."""
        return self._ended - self._begun if self.requests else 0.0

    async def send(
        self,
        method: str,
        path: str,
        *,
        params: Sequence[tuple[str, str]] = (),
        body: Json | bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """As the client does, counted."""
        begun = self._clock()
        try:
            reply = await self._client.send(method, path, params=params, body=body, headers=headers)
            begun = self._clock() - reply.seconds
        except (ApiError, Unreachable) as problem:
            self.requests += problem.times_sent
            raise
        else:
            self.requests += reply.times_sent
            return reply
        finally:
            self._begun, self._ended = min(begun, self._begun), self._clock()


class Run:
    """Reads queries into collections; every list is read once however many queries want it.

    Args:
        client: sends the requests.
        grants: what the credentials may do.
        progress: told of records as they come in.
        earlier: what need not be read again; its moment is that of the run.
        cleaner: takes private fields out of records.
        aside: where records are put aside.
        came: told of records as soon as they have all they shall have, where that is before the end.
    """

    def __init__(
        self,
        client: Asker,
        grants: Grants,
        progress: Progress | None,
        earlier: Earlier,
        *,
        cleaner: Cleaner,
        aside: Aside = NOWHERE,
        came: Came | None = None,
    ) -> None:
        self.now = earlier.now
        self._client = client
        self._grants = grants
        self._progress = progress
        self._earlier = earlier
        self._cleaner = cleaner
        self._shelf = Shelf(aside.spool(earlier.file), partial(cleaner.clean, ANY), self._pages)
        self._listings: Once[ListKey, Listing] = Once()
        self._alone: Once[tuple[str, Params, Params], Listing] = Once()
        self._branches = Branches()
        self._absent: dict[ListKey, Mapping[str, str]] = {}
        self._meetings: Mapping[Query, Mapping[Wish, Meeting[Wanting, Extra]]] = {}
        self._came = came
        self._early: dict[ListKey, Early] = {}
        self._tallies: dict[str, Tally] = {}
        self._grounds: dict[tuple[ListKey, tuple[str, str]], Ground] = {}
        self._askers: dict[Query, Counting] = {}
        self._asker_of: dict[ListKey, Counting] = {}
        self._queried: list[ListKey] = []
        self._open = 0
        self._share(())

    async def collect(self, queries: Sequence[Query]) -> list[tuple[Collection, Exception | None]]:
        """The collection of each query, and what stopped the reading of its list."""
        known = [query for query in queries if query.kind in KINDS]
        self._queried = [(query.kind, query.params) for query in known]
        self._askers = {query: Counting(self._client) for query in known}
        self._asker_of = {(query.kind, query.params): self._askers[query] for query in reversed(known)}
        self._share(key for query in known for key in _lists_of(query))
        together_read: dict[ListKey, list[Query]] = defaultdict(list)
        for query in known:
            together_read[self._shares.root((query.kind, query.params))].append(query)
        self._meetings = _meetings(together_read.values())
        self._open = len(together_read)
        groups = await together(self._collect(group) for group in together_read.values())
        self._shelf.flush()
        self._shelf.moments.clear()
        done = {collection.query: (collection, failure) for group in groups for collection, failure in group}
        return [done.get(query) or (_unknown(query), None) for query in queries]

    def _pages(self, shelf: Shelf) -> Pages:
        """What knows answers from the earlier snapshot."""
        earlier = self._earlier
        return Pages(earlier.read, partial(earlier.listed, shelf=shelf), earlier.sound, self._cleaner.way)

    @property
    def read(self) -> PagesRead:
        """The answers of lists that were read."""
        return self._shelf.read

    async def leaned_on(self, queries: Sequence[Query]) -> dict[Query, Leaned]:
        """How long the lists were, read already, that some queries lean on.

        Their enrichments were taken from them, or they were listed under what these list, or with it (`parents_list`).
        """
        taken_from = (Query(*need) for query in queries for need in needed_lists(query.kind, query.enrich))
        rows = [(query, KINDS[query.kind]) for query in queries if query.kind in KINDS]
        keys = [key for query, row in rows if not row.daily for key in lists_needed((row.name, query.params))[1:]]
        keys += [(up.also, ()) for _, row in rows for up in parents_of(row.name) if up.also]
        needs = list(dict.fromkeys([*taken_from, *starmap(parents_list, keys)]))
        listings = await together(self._listing(self._client, need.kind, need.params) for need in needs)
        return {query: _leaned(query, each) for query, each in zip(needs, listings, strict=True)}

    def _share(self, keys: Iterable[ListKey]) -> None:
        """Say which lists are to be read, so that some are taken from others."""
        self._asked = tuple(dict.fromkeys(keys))
        self._shares = shared_lists(self._asked, self.now, partial(is_all_read, self._earlier))
        hands = Hands(self._taken, self._apart, self._lister, self._shelf)
        self._taker = Taker(self._shares, hands, self.now)

    # --- queries that are read together

    async def _collect(self, group: Sequence[Query]) -> list[tuple[Collection, Exception | None]]:
        """Queries of one kind that share their list, and with it their enrichments."""
        old = [self._earlier.whole(query) for query in group]
        if all(old) and not self._earlier.refresh:
            return [(collection, None) for collection in old if collection]
        askers = [self._askers[query] for query in group]
        reading = together(self._wanted(asker, query) for asker, query in zip(askers, group, strict=True))
        early = self._reading_ahead(group, askers)
        listings = await (early.beside(reading) if early else reading)
        found, as_of = await self._extras(group, askers, listings, early.found if early else {})
        done = [
            _or_of_today(
                self._collection(query, listing, found, as_of, (asker.requests, asker.seconds)), listing.failure, known
            )
            for query, asker, listing, known in zip(group, askers, listings, old, strict=True)
        ]
        self._open -= 1
        for collection, _ in done:
            self._tell(collection, early)
        return done

    def _tell(self, collection: Collection, early: Early | None) -> None:
        """Tell of the records of a list that is whole, unless it is the last one, or they were told of in parts."""
        if self._came and self._open and collection.complete and not (early and early.tells(collection.query)):
            self._shelf.flush()
            self._came(collection.query, collection.records)

    async def _wanted(self, asker: Asker, query: Query) -> Listing:
        """The list of a query; the lists that its enrichments need are read while it is."""
        others = [self._listing(asker, *each) for each in needed_lists(query.kind, query.enrich)]
        listing, *_ = await together([self._whole(asker, query), *others])
        return self._explained(KINDS[query.kind], listing)

    def _collection(
        self,
        query: Query,
        listing: Listing,
        found: Mapping[tuple[str, str], Extra],
        as_of: Mapping[tuple[str, str], str],
        cost: tuple[int, float],
    ) -> Collection:
        mine = {name: found[name, argument] for name, argument in query.enrich if name != PARENT}
        rows = self._shelf.rows() | listing.records
        records = enriched(query.kind, rows, mine, partial(self._cleaned, query.kind))
        return Collection(
            query,
            records,
            listing.problem,
            *cost,
            (*listing.notes, *shortcomings(query.kind, listing.records, mine)),
            taken=len(listing.taken),
            since_full=self._earlier.since_full(query) + 1 if listing.taken else 0,
            as_of={name: as_of[name, argument] for name, argument in query.enrich if as_of.get((name, argument))},
            private=self._cleaner.left_in(query.kind),
            sharing=self._sharing(query, cost[0]),
            missing={
                **{id_: Missing(parent) for id_, parent in self._missing(query, listing).items()},
                **{id_: Missing(parent, moved=True) for id_, parent in listing.moved.items()},
            },
        )

    def _missing(self, query: Query, listing: Listing) -> Mapping[str, str]:
        """What may be there although it is not listed.

        Also what was, in stretches of time of which nothing came, and of what is asked for in this way for the first
        time.
        """
        gone = self._earlier.left_out(query, listing.records.keys(), whole=listing.problem is None)
        if listing.empty and not listing.problem:
            gone |= self._earlier.emptied(query, listing.empty, listing.records)
        return {**listing.missing, **dict.fromkeys(sorted(gone), "")}

    def _sharing(self, query: Query, requests: int) -> str:
        """In words, what of it was read together with others, and why not."""
        key = query.kind, query.params
        if key in self._branches.shared or (KINDS[query.kind].inside and not requests):
            return "shared"
        return self._taker.told(key, self._queried)

    def _cleaned(self, kind: str, rows: Rows) -> Rows:
        """The same without what is left in of kinds that read it, which is nothing where all read the same."""
        if self._cleaner.is_done(kind):
            return rows
        clean = partial(self._cleaner.clean, kind)
        return (
            self._shelf.rows()
            | rows
            | self._shelf.keep((id_, less) for id_, raw in rows.items() if (less := clean(raw)) is not raw)
        )

    def _reading_ahead(self, group: Sequence[Query], askers: Sequence[Counting]) -> Early | None:
        """What reads on from the parts of the list that some queries share; None where that would be of no use."""
        root = self._shares.root((group[0].kind, group[0].params))
        mine = {query: asker for query, asker in zip(group, askers, strict=True) if self._is_plain_part(query, root)}
        unread = [
            wish for wish in early_wishes(mine) if self._earlier.refresh or not self._earlier.has_today(root[0], *wish)
        ]
        if not (unread or (mine and self._came)):
            return None

        def known(wish: tuple[str, str], rows: Rows) -> Rows:
            return self._known(root[0], wish, [Listing(rows)])[0]

        async def read(wish: tuple[str, str], rows: Rows, ahead: Ahead) -> Extra:
            wanting = [query for query in mine if wish in query.enrich]
            setting = replace(self._setting(mine[wanting[0]], wanting, wish), ahead=ahead)
            return await read_early(setting, wish[0], rows)

        keys = {query: (query.kind, query.params) for query in mine}
        takes = {query: None if key == root else picker(key, root, self.now) for query, key in keys.items()}
        self._early[root] = Early(takes, EarlyHands(known, read, self._handed_on if self._came else None), self._shelf)
        return self._early[root]

    def _is_plain_part(self, query: Query, root: ListKey) -> bool:
        """Whether the records of a list tell which of them are those of a query, and are as they are there.

        What is asked for about the records of other lists as well waits for these.
        """
        if self._meetings.get(query):
            return False
        key = query.kind, query.params
        share = self._shares.taken.get(key)
        return (key == root or (share is not None and share.plain)) and cutter(key, root) is None

    def _handed_on(self, query: Query, rows: Rows, found: Mapping[str, Extra]) -> None:
        """Tell of records that have all they shall have."""
        if self._came:
            records = enriched(query.kind, rows, found, partial(self._cleaned, query.kind))
            self._shelf.flush()
            self._came(query, records)

    # --- enrichments

    async def _extras(
        self,
        group: Sequence[Query],
        askers: Sequence[Counting],
        listings: Sequence[Listing],
        early: Mapping[tuple[str, str], Rows],
    ) -> tuple[dict[tuple[str, str], Extra], dict[tuple[str, str], str]]:
        """What every enrichment that is wanted has for the records that want it, read once; and as of when."""
        wishes: dict[tuple[str, str], list[int]] = defaultdict(list)
        for index, query in enumerate(group):
            for wish in query.enrich:
                wishes[wish] += [index] if wish[0] != PARENT else []
        jobs = {
            wish: self._extra(
                askers[who[0]],
                [group[index] for index in who],
                wish,
                [listings[index] for index in who],
                early.get(wish) or self._shelf.rows(),
            )
            for wish, who in wishes.items()
            if who
        }
        done = dict(zip(jobs, await together(jobs.values()), strict=True))
        return {wish: extra for wish, (extra, _) in done.items()}, {wish: at for wish, (_, at) in done.items()}

    async def _extra(
        self,
        asker: Counting,
        queries: Sequence[Query],
        wish: tuple[str, str],
        listings: Sequence[Listing],
        early: Rows,
    ) -> tuple[Extra, str]:
        """One enrichment: what is known already, what was read early, and the rest from PagerDuty."""
        name, _ = wish
        kind = queries[0].kind
        raws = self._shelf.rows()
        for listing in listings:
            raws |= listing.records
        known, read_at = self._known(kind, wish, listings)
        values = early | known if early else known
        unread = raws.only(id_ for id_ in raws if id_ not in values)
        extra = await self._read_extra(asker, queries, wish, unread)
        reasons = self._reasons(kind, name, extra.unavailable)
        older = self._of_today(kind, wish, reasons)
        found = self._shelf.rows() | values | extra.values | older.values if extra.values or older.values else values
        left = {id_: reason for id_, reason in reasons.items() if id_ not in older.values}
        stale = {id_: (reasons[id_], older.read_at) for id_ in older.values}
        return Extra(found, left, stale), min(filter(None, (read_at, older.read_at)), default="")

    async def _read_extra(self, asker: Counting, queries: Sequence[Query], wish: Wish, raws: Rows) -> Extra:
        """One enrichment of some records; where other lists of the kind want it as well, of the records of all."""
        name, _ = wish
        meeting = self._meetings.get(queries[0], {}).get(wish)
        if meeting is None:
            return await read_extra(self._setting(asker, queries, wish), name, raws)

        async def of_all(brought: Sequence[Wanting]) -> Extra:
            wanting = sorted((query for each, _ in brought for query in each), key=[*self._askers].index)
            every = self._shelf.rows()
            for _, rows in brought:
                every |= rows
            return await read_extra(self._setting(self._askers[wanting[0]], wanting, wish), name, every)

        return (await meeting.join((queries, raws), of_all)).of(raws)

    def _setting(self, asker: Counting, queries: Sequence[Query], wish: tuple[str, str]) -> Setting:
        """What an enrichment of the records of some queries has to work with."""
        (name, argument), kind = wish, queries[0].kind
        what = f"{kind} {name}"
        return Setting(
            asker=asker,
            listing=partial(self._listing, asker),
            now=self.now,
            kind=kind,
            params=_widest(queries),
            argument=argument,
            tally=self._tallies.setdefault(what, Tally(what, self._progress)),
            shelf=self._shelf,
            given=partial(self._earlier.given, kind, name),
            ground=self._grounds.setdefault((self._shares.root((kind, queries[0].params)), wish), Ground()),
        )

    def _known(self, kind: str, wish: tuple[str, str], listings: Sequence[Listing]) -> tuple[Rows, str]:
        """Values that need not be read: of settled records, and of the day."""
        taken = frozenset[str]().union(*(listing.taken for listing in listings))
        values = self._earlier.ever(kind, *wish, taken, self._shelf)
        if self._earlier.refresh:
            return values, ""
        ids: set[str] = set().union(*(listing.records.keys() for listing in listings))
        today = self._of_today(kind, wish, ids - values.keys())
        return values.and_missing(today.values), today.read_at

    def _of_today(self, kind: str, wish: tuple[str, str], ids: AbstractCollection[str]) -> Known:
        """Values of an enrichment that were read less than a day ago, if they are those of the day."""
        daily = any(each.daily for each in KINDS[kind].enrichments if each.name == wish[0])
        return self._earlier.of_today(kind, *wish, ids if daily else (), self._shelf)

    def _reasons(self, kind: str, name: str, unavailable: Mapping[str, str]) -> dict[str, str]:
        """Why an enrichment is not there; a scope that is missing explains it best."""
        needed = {scope for each in KINDS[kind].enrichments if each.name == name for scope in scopes_for(each.kinds)}
        if unavailable and (missing := self._grants.lacking(needed)):
            return dict.fromkeys(unavailable, f"the app was not granted {' and '.join(missing)}")
        return dict(unavailable)

    # --- lists

    def _explained(self, kind: Kind, listing: Listing) -> Listing:
        """The same, with the scopes named that it failed for."""
        needed = {row.scope for row in (kind, *(up for each in kind.parents for up in parents_of(each.kind)))} - {""}
        forbidden = isinstance(listing.failure, ApiError) and listing.failure.status == _FORBIDDEN
        if forbidden and (missing := self._grants.lacking(needed)):
            return replace(listing, problem=not_granted(kind, missing))
        return listing

    async def _whole(self, asker: Asker, query: Query) -> Listing:
        """The list of a query, with what belongs to it from elsewhere."""
        kind = KINDS[query.kind]
        if kind.detail:
            await self._layered(asker)
            return await self._shown_alone(asker, kind.name, query.params, ())
        listing = await self._listing(asker, kind.name, query.params)
        if kind.also != v3.V3:
            return listing
        shown = v3.detail_params(wire_params(kind, query.params, self.now))
        shifted = partial(self._shown_alone, asker, v3.V3, (), shown)
        return await self._with_shift_based(
            asker, (kind.name, query.params), listing, shifted, partial(self._people, asker)
        )

    async def _shown_alone(self, asker: Asker, kind: str, params: Params, shown: Params) -> Listing:
        """A list of references, each record asked for alone, by whoever wants it so first."""
        asker = asker if shown else self._whose((kind, params), asker)
        return await self._alone.get((kind, params, shown), partial(self._read_alone, asker, kind, params, shown))

    async def _read_alone(self, asker: Asker, kind: str, params: Params, shown: Params) -> Listing:
        row = KINDS[kind]
        assert row.detail is not None
        listing = await self._listing(asker, kind, params)

        async def afresh() -> Iterable[str]:
            again = await self._read(asker, (kind, params))
            return (listing if again.problem else again).records  # what cannot be told counts as there

        tally = Tally(kind, self._progress)
        alone = await read_details(
            asker, row, row.detail, listing.records, shown, afresh=afresh, tally=tally, shelf=self._shelf
        )
        return replace(alone, problem=listing.problem or alone.problem, failure=listing.failure or alone.failure)

    async def _layered(self, asker: Asker) -> None:
        """Read what is asked for of the others: a schedule that is upgraded meanwhile moves to the shift-based ones."""
        await together(self._listing(asker, *key) for key in self._queried if KINDS[key[0]].also == v3.V3)

    async def _people(self, asker: Asker) -> Mapping[str, bytes]:
        """All users."""
        return (await self._listing(asker, "users", ())).records

    async def _with_shift_based(
        self,
        asker: Asker,
        key: ListKey,
        layered: Listing,
        read: Callable[[], Awaitable[Listing]],
        people: Callable[[], Awaitable[Mapping[str, bytes]]],
    ) -> Listing:
        """Schedules of both sorts; the shift-based ones are `read` when all lists of the others have been.

        `people` are those whom their rotations name.
        """
        await self._layered(asker)
        kind, params = key
        shifted = await read()
        missing: dict[str, str] = {}
        if status := v3.refused(shifted):
            policies = await self._listing(asker, v3.POLICIES, ())
            owned = self._earlier.owned.get(key, {})
            known = (self._earlier.signed(kind, v3.is_one) | owned.keys()) - layered.records.keys()
            missing = dict.fromkeys(sorted(known), "")
            if not v3.in_use(policies, status) and not (missing and v3.is_closed(status)):
                unseen = (v3.unseen(status),) if missing or v3.is_closed(status) else ()
                return replace(layered, notes=(*layered.notes, *unseen), missing=missing, upgraded=None)
        users = await people() if shifted.records else {}
        return replace(v3.merged(layered, shifted, params, users, self._shelf), missing=missing)

    async def _listing(self, asker: Asker, kind: str, params: Params) -> Listing:
        """A list, read by whoever asks first."""
        return await self._taken(asker, (kind, params))

    def _whose(self, key: ListKey, asker: Asker) -> Asker:
        """Whose requests those of a list are: of the query that asks for just this list, whoever else is first to."""
        return self._asker_of.get(key, asker)

    async def _taken(self, asker: Asker, key: ListKey) -> Listing:
        asker = self._whose(key, asker)
        return await self._listings.get(key, partial(self._taker.take, asker, key))

    async def _apart(self, asker: Asker, key: ListKey, begun: Beginning | None) -> Listing:
        """A list on its own, without what of it is settled and known."""
        settled = await self._without_settled(asker, key)
        return settled or await self._read(asker, key, begun, self._branches_of(key))

    def _lister(self, asker: Asker, key: ListKey) -> Lister:
        """Who reads a list that is not nested."""
        row = KINDS[key[0]]
        tally, early = Tally(row.name, self._progress), self._early.get(key)
        came = early.part if early else None
        return Lister(
            self._whose(key, asker), row, wire_params(row, key[1], self.now), tally, shelf=self._shelf, came=came
        )

    async def _read(
        self, asker: Asker, key: ListKey, begun: Beginning | None = None, branches: Branches | None = None
    ) -> Listing:
        """A list, whether it was read before or not, from where it was begun; `branches` of it are read but once."""
        kind, params = key
        row = KINDS[kind]
        if not is_nested(row):
            return await self._read_plain(asker, key, begun)

        async def afresh(kind: str, params: Params) -> Listing:
            listing = await self._read(asker, (kind, params))
            if KINDS[kind].also != v3.V3:
                return listing
            upgraded = await self._read(asker, (v3.V3, ()))
            problem = listing.problem or (None if v3.is_not_there(upgraded.failure) else upgraded.problem)
            return replace(listing, records=self._shelf.rows() | listing.records | upgraded.records, problem=problem)

        tally = Tally(kind, self._progress)
        owned = {**self._earlier.astray(kind), **self._earlier.owned.get(key, {})}
        had = Had(partial(self._earlier.parents, kind), owned)
        nest = Nest(
            asker,
            row,
            params,
            self.now,
            lists=partial(self._parents_of, asker),
            afresh=afresh,
            had=had,
            branches=branches,
            tally=tally,
            shelf=self._shelf,
        )
        return await nest.read()

    async def _parents_of(self, asker: Asker, kind: str, params: Params) -> Listing:
        """A list of what others are listed under, of every sort of it, and which of them are missing."""
        listing = await self._listing(asker, kind, params)
        if KINDS[kind].also == v3.V3:
            # Only where there are filters does more count than that there is a schedule.
            alone = partial(self._shown_alone, asker, v3.V3, (), ())
            read = alone if params else partial(self._listing, asker, v3.V3, ())
            listing = await self._with_shift_based(asker, (kind, params), listing, read, _nobody)
        if (kind, params) not in self._absent:
            self._absent[kind, params] = self._missing(Query(kind, params), listing)
        return replace(listing, missing=self._absent[kind, params])

    def _branches_of(self, key: ListKey) -> Branches | None:
        """What a nested list shares with others that differ from it only in what they are listed under, if any do."""
        alike = [each for each in self._asked if each[0] == key[0] and own_params(each[1]) == own_params(key[1])]
        return self._branches if len(alike) > 1 else None

    async def _read_plain(self, asker: Asker, key: ListKey, begun: Beginning | None) -> Listing:
        """A list that stands alone; that half of it is gone, which nothing counts, is asked twice.

        That all is gone has been asked twice by then.
        """
        listing = await self._lister(asker, key).read(self.now, begun)
        uncounted = listing.problem is None and listing.counted is None and not KINDS[key[0]].daily
        if uncounted and listing.records and is_too_short(self._earlier.count(key), len(listing.records)):
            return await self._lister(asker, key).read(self.now)
        return listing

    async def _without_settled(self, asker: Asker, key: ListKey) -> Listing | None:
        """A list without what is settled and known; None where it is to be read as a whole."""
        row = KINDS[key[0]]
        before = cut_off(self._earlier)
        if before is None or is_all_read(self._earlier, key):
            return None
        parts = self._shares.parts(key)
        members = [key, *parts] if key in self._asked or not parts else parts
        known, elsewhere = self._earlier.records(members, self._shelf), self._earlier.unsettled_elsewhere(key)
        if not known or elsewhere is None:
            return None
        everything = without_local(key)
        reader = SettledReader(
            asker,
            row,
            wire_params(row, everything, self.now),
            self.now,
            known=known,
            elsewhere=elsewhere,
            before=before,
            tally=Tally(row.name, self._progress),
            shelf=self._shelf,
        )
        listing = await reader.read()
        return self._picked(listing, picker(key, (row.name, everything), self.now)) if listing else None

    def _picked(self, listing: Listing, wanted: Callable[[bytes], bool]) -> Listing:
        picked = [id_ for id_, raw in listing.records.items() if wanted(raw)]
        records = (self._shelf.rows() | listing.records).only(picked)
        return replace(listing, records=records, counted=None, taken=listing.taken.intersection(picked))


def _or_of_today(
    collection: Collection, failure: Exception | None, known: Collection | None
) -> tuple[Collection, Exception | None]:
    """A list of analytics that could not be read again is that of earlier in the day."""
    if collection.problem is None or known is None:
        return collection, failure
    note = not_again(collection.query.kind, collection.problem.detail, known.as_of[""])
    return replace(known, notes=(*known.notes, note), requests=collection.requests, seconds=collection.seconds), failure


def _leaned(query: Query, listing: Listing) -> Leaned:
    """The length of a list; of one that is too long to be read, as PagerDuty counts it."""
    if listing.problem is None or (listing.failure is None and listing.counted):
        return Leaned(query, len(listing.records) if listing.problem is None else listing.counted or 0)
    return Leaned(query, problem=listing.problem)


def _lists_of(query: Query) -> list[ListKey]:
    """All lists that a query needs."""
    own = (query.kind, query.params)
    return [key for each in (own, *needed_lists(query.kind, query.enrich)) for key in lists_needed(each)]


def _meetings(groups: Iterable[Sequence[Query]]) -> dict[Query, dict[Wish, Meeting[Wanting, Extra]]]:
    """Where queries that do not share a list meet, as their records may be the same: to ask about each once.

    None meet that ask for it in other ways.
    """
    wanting: dict[tuple[str, Wish, Params], list[list[Query]]] = defaultdict(list)
    for group in groups:
        for wish in dict.fromkeys(wish for query in group for wish in query.enrich):
            mine = [query for query in group if wish in query.enrich]
            if (ways := asked_with(mine[0].kind, wish[0], _widest(mine))) is not None:
                wanting[mine[0].kind, wish, ways].append(mine)
    found: dict[Query, dict[Wish, Meeting[Wanting, Extra]]] = defaultdict(dict)
    for (_, wish, _), all_ in wanting.items():
        meeting: Meeting[Wanting, Extra] = Meeting(len(all_))
        for query in (query for mine in all_ for query in mine if len(all_) > 1):
            found[query][wish] = meeting
    return found


def _widest(queries: Sequence[Query]) -> Params:
    """The parameters that hold for the records of all of some queries: a filter only where each of them has it."""
    names = [{name for name, _ in query.params} for query in queries]
    every = set[str].intersection(*names)
    return tuple(dict.fromkeys(pair for query in queries for pair in query.params if pair[0] in every))


def _unknown(query: Query) -> Collection:
    problem: Diagnostic = error("PD310", "unknown kind", detail=query.kind, hint="update pdsync")
    return Collection(query, (), problem)


async def _nobody() -> Mapping[str, bytes]:
    return {}
