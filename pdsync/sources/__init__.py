"""Where records come from: the seam that PagerDuty stands behind."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Protocol

from pdsync.model import Query, Snapshot

if TYPE_CHECKING:
    from pdsync.model import Record
    from pdsync.privacy import Cleaner

    Progress = Callable[[str, int, int | None], None]
    """Called with (what, done so far, total if known): `("incidents", 300, 4812)`."""

    Came = Callable[[Query, Sequence[Record]], None]
    """Called with some records of a query as they will most likely be in the snapshot, while others are still read."""

ListKey = tuple[str, tuple[tuple[str, str], ...]]
"""A list: kind and parameters, as in a query."""

Owned = Callable[[Sequence[Query]], Mapping[ListKey, Mapping[str, str]]]


def _nothing(_: Sequence[Query]) -> Mapping[ListKey, Mapping[str, str]]:
    return {}


@dataclass(frozen=True, slots=True)
class Reuse:
    """What of an earlier snapshot may be taken over instead of being read.

    Analytics that are younger than a day are; with `refresh_analytics` only where they cannot be read again.  Records
    that no longer change are from the age of `settled_after` on (None: never): the collection is then incremental.
    Analytics that are in doubt are not read again before that could dispel it, when it is `again_after` old.
    `owned` gives of some queries, by list, the ids of records that must not be taken for gone because one empty answer
    says so, each with the id of its parent (empty: nobody knows); an earlier snapshot tells that of what it has.
    """

    snapshot: Snapshot | None = None
    refresh_analytics: bool = False
    settled_after: timedelta | None = None
    owned: Owned = _nothing
    again_after: timedelta = timedelta()


class Source(Protocol):
    """Something records can be read from.

    `fetch` returns all records of every query, or says in the collection's `problem` why that is not so; a part is
    never passed off as the whole.  It raises `SourceError` only when nothing at all can be read (bad credentials,
    host unreachable).
    """

    name: str

    async def fetch(
        self,
        queries: Sequence[Query],
        progress: Progress | None = None,
        reuse: Reuse | None = None,
        cleaner: Cleaner | None = None,
        came: Came | None = None,
    ) -> Snapshot:
        """Read every query (each once) into one snapshot.

        `cleaner` takes out of records what must not be stored, before they are put anywhere.  `came` may be told of
        some records beforehand, so that there is less to do once all are there; it returns at once.
        """
        ...
