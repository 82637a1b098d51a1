"""When a complete listing is too short to be believed at once.

PagerDuty may answer 200 with fewer rows than there are: a permission that was narrowed, a filter that stopped matching,
an outage that looks like emptiness.  A collection that came whole but shrank to nothing, or by half, against the last
one that was believed is *suspicious*: it is marked as a problem, so that no delete rests on it.  It is believed once a
second complete snapshot says the same and is so much younger that one outage hardly explains both, or when the user
accepts the kind.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeVar

from pdsync.errors import error
from pdsync.kinds import KINDS, PARENT, PARENT_PREFIX, is_relative, parents_of
from pdsync.model import Collection, Leaned, Listed, Query, makers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from collections.abc import Collection as AbstractCollection
    from collections.abc import Set as AbstractSet

    from pdsync.kinds import Enrichment, Kind, Window
    from pdsync.model import Ledger, Snapshot

AnyList = TypeVar("AnyList", Collection, Leaned)

SUSPICIOUS, UNDER_SHORT = "PD340", "PD342"


class Smallest(NamedTuple):
    """How many records a list must have had for it to be doubted that they were `emptied`, or `halved`.

    Fewer may well go in an ordinary change.
    """

    emptied: int
    halved: int


LASTING = Smallest(emptied=1, halved=4)

PASSING = Smallest(emptied=5, halved=10)
"""Of what leaves its list by itself, as time goes on: the last open incidents are resolved every day."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What an earlier snapshot had of one query.

    `count` records came, `believed` were believed last (an earlier count, while `suspicious`, which it is `since`).
    What was seen of other lists of its kind alone tells `loosely` how many there should be: only of nothing at all.
    """

    count: int
    believed: int
    suspicious: bool
    since: str = ""
    loosely: bool = False


_UNSEEN = Seen(0, 0, suspicious=False)


class History(Protocol):
    """What is known of the time before a snapshot."""

    def had(self, query: Query, /) -> Iterable[str]:
        """The ids of what a list had, as far as they are known."""
        ...

    def all_of(self, query: Query, /) -> AbstractSet[str] | None:
        """The ids of all that a list had; None where that is not known for certain."""
        ...

    def test(self, query: Query, /) -> Callable[[bytes], bool] | None:
        """Whether a record belongs to a list by what it says itself; None where it does not tell that."""
        ...


def judged(
    snapshot: Snapshot,
    last: Mapping[Query, Seen],
    least: timedelta,
    accepted: AbstractCollection[str] = (),
    history: History | None = None,
) -> Snapshot:
    """The snapshot with suspicious lists marked, and every list's `believed` count filled in.

    `last` is what the snapshot before this one had; two that say the same of a list that shrank must be `least` apart
    to be believed; `accepted` names kinds whose shrinking the user knows to be right.  By the `history`, what went from
    one list to another one of its kind is not gone.
    """

    def told(each: AnyList) -> AnyList:
        seen = last.get(each.query, _UNSEEN)
        found = _judged(each, seen, snapshot.taken_at, least)
        if not is_short(found):
            return found
        sure = each.query.kind in accepted or not _shrank_with(_moved(each, snapshot, history), each, seen)
        return _believed(each) if sure else found

    leaned = {query: told(each) for query, each in snapshot.leaned.items()}
    short = {query.kind: each for query, each in leaned.items() if is_short(each) and _is_of_parents(query)}
    collections = {query: _with_parents(told(each), short) for query, each in snapshot.collections.items()}
    return replace(snapshot, collections=collections, leaned=leaned)


def parents_list(kind: str, params: tuple[tuple[str, str], ...]) -> Query:
    """What a list is called as that of what other records are listed under, or that has some of their kind."""
    return Query(kind, params, ((PARENT, ""),))


def _is_of_parents(query: Query) -> bool:
    return query.enrich == ((PARENT, ""),)


def _with_parents(collection: Collection, short: Mapping[str, Leaned]) -> Collection:
    """The same, which proves nothing either where it was listed under what is not believed."""
    for kind in _above(collection.query.kind) if short and collection.complete else ():
        if kind in short and (why := short[kind].problem):
            how = "with" if kind == KINDS[collection.query.kind].also else "under"
            detail = f"{collection.query.kind}, listed {how} {why.detail}"
            return replace(collection, problem=replace(why, code=UNDER_SHORT, detail=detail))
    return collection


def _judged(listed: AnyList, last: Seen, at: str, least: timedelta) -> AnyList:
    if not listed.complete:
        return replace(listed, believed=last.believed)
    kind, count = listed.query.kind, _count(listed)
    if not _shrank_with(0, listed, last):
        return _believed(listed)
    confirms = last.suspicious and not _shrank_again(last.count, count)
    since = last.since if confirms and last.since else at
    if confirms and _moment(at) >= _moment(since) + least:
        return _believed(listed)
    problem = error(
        SUSPICIOUS,
        "a list shrank suspiciously",
        detail=f"{kind}: {last.believed} records before, {count} now",
        hint=f"look in PagerDuty; {when_believed(since, least)}, or pass --accept-shrink {kind}{_sparing(kind)}",
    )
    return replace(listed, problem=problem, believed=last.believed, short_since=since)


def _moved(listed: Collection | Leaned, snapshot: Snapshot, history: History | None) -> int:
    """How many of the records that a list had are in other lists of its kind now, and went there.

    That is so where such a record says itself that it belongs to the list no more, as an open incident that was
    resolved; or, where it does not tell that, if the other list is known not to have had it.  What is in both lists by
    right is gone from one of them all the same.
    """
    if history is None or isinstance(listed, Leaned):
        return 0
    lost = set(history.had(listed.query)).difference(record.id for record in listed.records)
    others = [each for each in snapshot.collections.values() if each.query.kind == listed.query.kind]
    went = set[str]()
    for other in others if lost else ():
        if other is not listed:
            went |= _went_to(other, lost, listed.query, history)
    return len(went)


def _went_to(other: Collection, lost: AbstractSet[str], query: Query, history: History) -> set[str]:
    found = [record for record in islice(other.records, other.taken, None) if record.id in lost]
    if test := history.test(query):
        return {record.id for record in found if not test(record.raw)}
    had = history.all_of(other.query)
    return set() if had is None else {record.id for record in found} - had


def _believed(listed: AnyList) -> AnyList:
    return replace(listed, believed=_count(listed))


def _expected(listed: Collection | Leaned, believed: int) -> int:
    """As many as there were; not more than there can be."""
    asked = listed.asked if isinstance(listed, Leaned) else None
    return believed if asked is None else min(believed, asked)


def _count(listed: Collection | Leaned) -> int:
    return listed.count if isinstance(listed, Leaned) else len(listed.records)


def _shrank_again(before: int, count: int) -> bool:
    """Whether a list that was short already is so much shorter that it says something else."""
    return count * 2 <= before and count < before


def when_believed(since: str, least: timedelta) -> str:
    """In words, which snapshot of something that is in doubt since a moment is believed."""
    if not least:
        return "a second snapshot that says the same is believed"
    moment = (_moment(since) + least).strftime("%Y-%m-%dT%H:%M:%SZ")
    return f"a snapshot from {moment} on that says the same is believed"


def _sparing(kind: str) -> str:
    daily = kind in KINDS and KINDS[kind].daily
    return (
        "; until then it is read again only with --refresh-analytics, as there are few requests a day" if daily else ""
    )


def is_young(since: str, at: str, least: timedelta) -> bool:
    """Whether what snapshots say `since` a moment is not believed `at` another one; it takes two of them."""
    return since == at or _moment(at) < _moment(since) + least


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def _shrank(smallest: Smallest, believed: int, count: int) -> bool:
    emptied = count == 0 and believed >= smallest.emptied
    return emptied or (believed >= smallest.halved and count * 2 <= believed)


def _smallest_of(listed: Collection | Leaned) -> Smallest:
    """What holds for a list; what enrichments take from one delays nothing but the value of a field."""
    is_taken_from = isinstance(listed, Leaned) and not _is_of_parents(listed.query)
    return LASTING if is_taken_from else _smallest(listed.query)


def _smallest(query: Query) -> Smallest:
    """What holds for a query, whose records leave with those that they are listed under, if not before."""
    rows = (KINDS[query.kind], *parents_of(query.kind)) if query.kind in KINDS else ()
    return PASSING if any(_is_passing(row, query.params) for row in rows) else LASTING


def shrank(query: Query, before: int, now: int) -> bool:
    """Whether so many records of what a query asks for hardly went at once."""
    return _shrank(_smallest(query), before, now)


def is_too_many(query: Query, count: int) -> bool:
    """Whether so many records of a query, all that it had of some stretch of time, hardly leave its list at once."""
    return count >= _smallest(query).halved


def comes_and_goes(query: Query) -> bool:
    """Whether a query may have nothing one day of what it had the day before, and all be well."""
    rows = (KINDS[query.kind], *parents_of(query.kind)) if query.kind in KINDS else ()
    return any(row.window and (not row.window.field or _is_passing(row, query.params)) for row in rows)


def _is_passing(row: Kind, params: tuple[tuple[str, str], ...]) -> bool:
    """Whether records of a kind leave a list as time goes by, or as their status changes.

    On-calls are listed by time as well, but somebody else is on call then.
    """
    asked = {name.replace(PARENT_PREFIX, ""): value for name, value in params}
    return bool(row.window and row.window.field and ("statuses[]" in asked or _moves(row.window, asked)))


def _moves(window: Window, asked: Mapping[str, str]) -> bool:
    """Whether what a list begins with depends on the time it is asked for."""
    if window.everything and asked.get(window.everything[0]) == window.everything[1]:
        return False
    since = asked.get(window.since)
    return is_relative(since) if since else window.back_days is not None


def _shrank_with(moved: int, listed: Collection | Leaned, last: Seen) -> bool:
    """Whether a list shrank suspiciously, so many records of which are somewhere else."""
    count = _count(listed) + moved + _listed_elsewhere(listed)
    return not (count and last.loosely) and _shrank(_smallest_of(listed), _expected(listed, last.believed), count)


def _listed_elsewhere(listed: Collection | Leaned) -> int:
    return 0 if isinstance(listed, Leaned) else sum(each.moved for each in listed.missing.values())


def is_too_short(before: int, now: int) -> bool:
    """Whether a list that nothing counts lost so many of its rows that this is not believed at once."""
    return _shrank(LASTING, before, now)


def doubts(snapshot: Snapshot) -> dict[Query, dict[str, Leaned]]:
    """The enrichments that lean on a list which shrank suspiciously, by query and name, with that list.

    Whoever such a list left out would be missing from them, as if nobody were on call.
    """
    short = [each for each in snapshot.leaned.values() if is_short(each)]
    found = {query: dict(_leaning(query, short)) for query in snapshot.collections} if short else {}
    return {query: reasons for query, reasons in found.items() if reasons}


def _leaning(query: Query, short: Sequence[Leaned]) -> Iterator[tuple[str, Leaned]]:
    for each in _enrichments(query):
        own = _given_by(query, each)
        yield from ((each.name, one) for one in short if one.query.kind in each.kinds and own in {None, one.query})


def given_to_each(query: Query) -> dict[str, Query]:
    """The enrichments of a query that are asked for about each record: what each gave, as if it were a list."""
    found = ((each.name, _given_by(query, each)) for each in _enrichments(query))
    return {name: own for name, own in found if own}


def _given_by(query: Query, enrichment: Enrichment) -> Query | None:
    (kind,) = enrichment.kinds
    is_asked_for = KINDS[kind].parents or enrichment.daily
    return Query(kind, query.params, ((enrichment.name, enrichment.argument),)) if is_asked_for else None


def leans_on(query: Query) -> frozenset[str]:
    """The kinds that the enrichments of a query are taken from, and those that it is listed under."""
    return frozenset(kind for each in _enrichments(query) for kind in each.kinds).union(_above(query.kind))


def _above(kind: str) -> list[str]:
    """The kinds that one is listed under, and the one whose list has some of its records."""
    if kind not in KINDS:
        return []
    rows = list(parents_of(kind))
    return [row.name for row in rows if row.name != kind] + [row.also for row in rows if row.also]


def _enrichments(query: Query) -> list[Enrichment]:
    wanted = {name for name, _ in query.enrich} - {PARENT}
    return [each for each in KINDS[query.kind].enrichments if each.name in wanted] if query.kind in KINDS else []


_OF_RECORDS = frozenset({"include[]", "sort_by", "time_zone"})
"""Parameters that say what is in records, and in what order they come: not which there are."""


def list_of(query: Query) -> Query:
    """Which records a query is about, whatever else is asked for about them."""
    params = tuple(pair for pair in query.params if pair[0].removeprefix(PARENT_PREFIX) not in _OF_RECORDS)
    return replace(query, params=params, enrich=())


def is_short(listed: Collection | Leaned) -> bool:
    """Whether a list is not believed because it shrank."""
    return listed.problem is not None and listed.problem.code == SUSPICIOUS


def noted(
    snapshot: Snapshot,
    owned: Mapping[Query, Seen],
    before: Mapping[str, Listed],
    name: Callable[[Query], str],
    *,
    anew: bool,
) -> dict[str, Listed]:
    """What is to be remembered of a snapshot that nobody keeps: lists that are shorter than what is owned tells.

    Lists that enrichments are taken from are remembered in any case, exactly where all is noted `anew`.  `owned` is
    what there was at least when the ledger was written, `before` what was remembered so far, by the `name` of each
    query.  A list that is incomplete for another reason tells nothing new.
    """
    kept = {}
    for query, collection in snapshot.collections.items():
        key, least = name(list_of(query)), owned[query].believed if query in owned else 0
        short = collection.complete and _shrank(_smallest(query), least, len(collection.records))
        if short or is_short(collection):
            kept[key] = note_of(collection, snapshot.taken_at)
        elif not collection.complete and key in before:
            kept[key] = before[key]
    return dict(sorted((kept | _noted_of_leaned(snapshot, before, name, anew=anew)).items()))


def _noted_of_leaned(
    snapshot: Snapshot, before: Mapping[str, Listed], name: Callable[[Query], str], *, anew: bool
) -> dict[str, Listed]:
    """The same of lists that enrichments were taken from: nothing that is owned tells how long these were.

    Unless all is noted anew, a note that is not far off stays: who is on call now is no reason to write a ledger.
    """
    kept = {}
    for query, leaned in snapshot.leaned.items():
        key, old = name(query), before.get(name(query))
        if leaned.complete or is_short(leaned):
            note = note_of(leaned, snapshot.taken_at)
            # Most accounts have no shift-based schedules.
            if old or note.count or note.suspicious or not _is_of_parents(query):
                kept[key] = old if old and not anew and _says_about(old, note) else note
        elif old:
            kept[key] = old
    return kept


def note_of(listed: Collection | Leaned, now: str) -> Listed:
    """What is to be remembered of a list as it is now."""
    query, count, suspicious = listed.query, _count(listed), is_short(listed)
    believed = listed.believed if suspicious else count
    missing = listed.missing if isinstance(listed, Leaned) else {}
    return Listed(query.kind, str(query), count, believed, listed.short_since or now, suspicious, missing)


def _says_about(old: Listed, new: Listed) -> bool:
    fewer, more = sorted((old.count, new.count))
    alike = not (old.suspicious or new.suspicious) and old.missing == new.missing
    return alike and (more < 2 * fewer or more == fewer)


def remembered(listed: Listed) -> Seen:
    """What was seen of a list."""
    return Seen(listed.count, listed.believed, suspicious=listed.suspicious, since=listed.when)


def seen_in(ledger: Ledger, wanted: Mapping[tuple[str, str], Iterable[Query]]) -> dict[Query, Seen]:
    """What there was at least when the ledger was written, of some queries."""
    found = ids_in(ledger, wanted)
    return {query: Seen(len(ids), len(ids), suspicious=False) for query, ids in found.items()}


def ids_in(ledger: Ledger, wanted: Mapping[tuple[str, str], Iterable[Query]]) -> dict[Query, set[str]]:
    """The ids of every record that something owned was made from.

    Of the `wanted` queries, by kind and by the digest of their list (`lists_asked`): whatever a rule was called, and
    wherever it stands now.
    """
    asked = lists_asked(ledger)
    found: defaultdict[Query, set[str]] = defaultdict(set)
    for entry in ledger.entities.values():
        for source, made_by in makers(entry):
            kind, _, id_ = source.partition("/")
            for rule in made_by:
                for query in wanted.get((kind, asked.get(rule, "")), ()):
                    found[query].add(id_)
    return dict(found)


def abandoned(ledger: Ledger, wanted: Mapping[tuple[str, str], object]) -> dict[str, frozenset[str]]:
    """The ids of every record that something owned was made from, of lists that are not `wanted` any more, by kind."""
    asked = lists_asked(ledger)
    found: defaultdict[str, set[str]] = defaultdict(set)
    for entry in ledger.entities.values():
        for source, made_by in makers(entry):
            kind, _, id_ = source.partition("/")
            if any((kind, asked.get(rule, "")) not in wanted for rule in made_by):
                found[kind].add(id_)
    return {kind: frozenset(ids) for kind, ids in found.items()}


def lists_asked(ledger: Ledger) -> dict[str, str]:
    """Rule id -> digest of the list that the rule was mapped from, as the ledger notes it: `$list`.

    Ledgers from before there was that have only one of all that the query asked for: `$query`.
    """
    return {rule: parts.get("$list") or parts.get("$query", "") for rule, parts in ledger.expressions.items()}


def taken_over(snapshot: Snapshot, sources: AbstractCollection[str]) -> frozenset[str]:
    """Those of some records, as `incidents/PX1`, that the snapshot did not read but took over from an earlier one."""
    names = (
        f"{collection.query.kind}/{record.id}"
        for collection in snapshot.collections.values()
        for record in islice(collection.records, collection.taken)
    )
    return frozenset(name for name in names if name in sources)
