"""When a complete listing is too short to be believed at once.

PagerDuty may answer 200 with fewer rows than there are: a permission that was narrowed, a filter that stopped matching,
an outage that looks like emptiness.  A collection that came whole but shrank to nothing, or by half, against the last
one that was believed is *suspicious*: it is marked as a problem, so that no delete rests on it.  A second complete
snapshot that says the same is believed, and so is one whose kind the user accepts.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pdsync.errors import error

if TYPE_CHECKING:
    from collections.abc import Collection as AbstractCollection
    from collections.abc import Mapping

    from pdsync.model import Collection, Query, Snapshot

SUSPICIOUS = "PD340"
SMALLEST_HALVED = 10
"""Fewer records than this may well be halved by an ordinary change."""
SMALLEST_EMPTIED = 5
"""Fewer records than this may well all go in an ordinary change, as the last open incidents do."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What an earlier snapshot had of one query.

    `count` records came, `believed` were believed last (an earlier count, while `suspicious`).
    """

    count: int
    believed: int
    suspicious: bool


def judged(snapshot: Snapshot, last: Mapping[Query, Seen], accepted: AbstractCollection[str] = ()) -> Snapshot:
    """The snapshot with suspicious collections marked, and every collection's `believed` count filled in.

    `last` is what the snapshot before this one had; `accepted` names kinds whose shrinking the user knows to be right.
    """
    collections = {
        query: _judged(collection, last.get(query, Seen(0, 0, suspicious=False)), accepted=query.kind in accepted)
        for query, collection in snapshot.collections.items()
    }
    return replace(snapshot, collections=collections)


def _judged(collection: Collection, last: Seen, *, accepted: bool) -> Collection:
    count = len(collection.records)
    if not collection.complete:
        return replace(collection, believed=last.believed)
    seen_before = last.suspicious and count >= last.count
    if accepted or seen_before or not _shrank(last.believed, count):
        return replace(collection, believed=count)
    kind = collection.query.kind
    problem = error(
        SUSPICIOUS,
        "a list shrank suspiciously",
        detail=f"{kind}: {last.believed} records before, {count} now",
        hint=f"look in PagerDuty; a second snapshot that says the same is believed, or pass --accept-shrink {kind}",
    )
    return replace(collection, problem=problem, believed=last.believed)


def _shrank(believed: int, count: int) -> bool:
    emptied = count == 0 and believed >= SMALLEST_EMPTIED
    return emptied or (believed >= SMALLEST_HALVED and count * 2 <= believed)
