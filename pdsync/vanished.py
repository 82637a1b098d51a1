"""Records that a part of a list has no more: believed to be gone only once that lasts.

A list under a parent that PagerDuty does not count may come empty, or with half of what it had, for many reasons
(`pdsync.completeness`), and so may, of a list that is cut by time, a stretch that had many, or what is asked for with
another filter than before.  What is missing is doubted record by record: some parent loses all that is under it every
day, and whatever else is listed must not wait for that.  What was listed under a parent that is of another sort now is
listed elsewhere, and not gone at all.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pdsync.completeness import is_young, list_of, note_of, when_believed
from pdsync.errors import counted, some_of, warning
from pdsync.kinds import KINDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from collections.abc import Collection as AbstractCollection
    from datetime import timedelta

    from pdsync.errors import Diagnostic
    from pdsync.model import Collection, Listed, Missing, Query, Snapshot

VANISHED, MOVED = "PD341", "PD345"


def in_doubt(
    snapshot: Snapshot,
    since: Mapping[str, str],
    least: timedelta,
    accepted: AbstractCollection[str] = (),
    test: Callable[[Query], Callable[[bytes], bool] | None] = lambda _: None,
) -> Snapshot:
    """The snapshot with nothing missing but what is in doubt, and since when.

    `since` tells of records, as `users.contact_methods/PC1`, since when snapshots have missed them in a row; those
    that were missed for `least` are gone, as are all of the kinds `accepted`.  What could not be read was not missed,
    and what another list of the kind has is not missing, unless it belongs to this one as well, by a `test` of a query.
    """
    short = {query: each for query, each in snapshot.collections.items() if each.missing}
    at, found = snapshot.taken_at, {}
    for query, each in short.items():
        missing = _without(each, _elsewhere(snapshot, each, test(query)))
        found[query] = _in_doubt(missing, since, at, least, accepted)
    return replace(snapshot, collections={**snapshot.collections, **found}) if found else snapshot


def _elsewhere(snapshot: Snapshot, short: Collection, test: Callable[[bytes], bool] | None) -> set[str]:
    """The ids of records that other lists of the kind have, and that do not belong to this one as well."""
    return {
        record.id
        for query, each in snapshot.collections.items()
        if query.kind == short.query.kind
        for record in each.records
        if record.id in short.missing and not (test and each is not short and test(record.raw))
    }


def _without(collection: Collection, there: AbstractCollection[str]) -> Collection:
    left = {id_: each for id_, each in collection.missing.items() if id_ not in there}
    return replace(collection, missing=left)


def _in_doubt(
    collection: Collection, since: Mapping[str, str], at: str, least: timedelta, accepted: AbstractCollection[str]
) -> Collection:
    kind, missing = collection.query.kind, collection.missing
    if not collection.complete:
        return replace(collection, missing={id_: each._replace(since="") for id_, each in missing.items()})
    missed = {id_: each._replace(since=since.get(f"{kind}/{id_}") or at) for id_, each in missing.items()}
    moved = {} if kind in accepted else {id_: each for id_, each in missed.items() if each.moved}
    short = {id_: each for id_, each in missed.items() if not each.moved and is_young(each.since, at, least)}
    left = {} if kind in accepted else short
    notes = ((_note(kind, left, least),) if left else ()) + ((_moved(kind, moved),) if moved else ())
    return replace(collection, missing=left | moved, notes=(*collection.notes, *notes))


def _moved(kind: str, moved: Mapping[str, Missing]) -> Diagnostic:
    below, parents = kind.partition(".")[2], {each.parent for each in moved.values()}
    elsewhere = f"{KINDS[kind.partition('.')[0]].also}.{below}"
    instead = f"map {elsewhere}" if elsewhere in KINDS else "map the records that it stands in now"
    became = "that is shift-based now" if len(parents) == 1 else "that are shift-based now"
    return warning(
        MOVED,
        "what was listed under a schedule is listed elsewhere now",
        detail=f"{kind}: {counted(len(moved), 'record')} under {counted(len(parents), 'schedule')} {became}",
        hint=f"what is made from them stays; {instead}, or let it go with --accept-shrink {kind}",
        **some_of(f"{kind}/{id_}" for id_ in sorted(moved)),
    )


def _note(kind: str, doubted: Mapping[str, Missing], least: timedelta) -> Diagnostic:
    last = when_believed(max(each.since for each in doubted.values()), least)
    missing = f"{kind}: {counted(len(doubted), 'record')} missing"
    if KINDS[kind].also:
        what, why = "a list in two parts", f"{missing}, and the part that may hold them was refused"
    elif KINDS[kind].parents:
        parents = {each.parent for each in doubted.values()}
        under = "some parent" if "" in parents else counted(len(parents), "parent")
        what, why = "a list under a parent", f"{missing} under {under}, and nothing counts what there is"
    else:
        what = "a part of a list"
        why = f"{missing} of a time, or by a filter, of which half or more was there before"
    return warning(
        VANISHED,
        f"{what} came too short to be believed",
        detail=why,
        hint=f"what is made from them stays; look in PagerDuty; {last}, or pass --accept-shrink {kind}",
        **some_of(f"{kind}/{id_}" for id_ in sorted(doubted)),
    )


def missed_since(collections: Iterable[Collection]) -> dict[str, str]:
    """Since when records have been missed by the snapshot that these are of, as far as it knows."""
    return {
        f"{each.query.kind}/{id_}": one.since
        for each in collections
        for id_, one in each.missing.items()
        if one.since and not one.moved
    }


def doubtful(snapshot: Snapshot) -> frozenset[str]:
    """The records that may still be there although they are not listed, as `users.contact_methods/PC1`."""
    return frozenset(f"{each.query.kind}/{id_}" for each in snapshot.collections.values() for id_ in each.missing)


def noted_missing(
    snapshot: Snapshot,
    listed: Mapping[str, Listed],
    before: Mapping[str, Listed],
    name: Callable[[Query], str],
    owned: Callable[[], AbstractCollection[str]],
) -> dict[str, Listed]:
    """What is to be remembered of lists, with what is missing of them, for those who keep no snapshot.

    It is remembered for as long as what is `owned` was made from it: what has been believed may still have to wait.
    """
    found = dict(listed)
    for query, collection in snapshot.collections.items():
        key = name(list_of(query))
        last = before[key].missing if key in before else {}
        now = {id_: each.since for id_, each in collection.missing.items() if each.since and not each.moved}
        there = {record.id for record in collection.records} if last else set()
        ours = owned() if last else ()
        old = {id_: at for id_, at in last.items() if id_ not in there and f"{query.kind}/{id_}" in ours}
        if missing := dict(sorted((old | now).items())):
            note = found.get(key) or note_of(collection, snapshot.taken_at)
            found[key] = replace(note, missing=missing)
    return dict(sorted(found.items()))
