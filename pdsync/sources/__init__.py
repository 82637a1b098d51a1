"""Where records come from: the seam that PagerDuty stands behind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pdsync.model import Query, Snapshot

    Progress = Callable[[str, int, int | None], None]
    """Called with (what, done so far, total if known): `("incidents", 300, 4812)`."""


class Source(Protocol):
    """Something records can be read from.

    `fetch` returns all records of every query, or says in the collection's `problem` why that is not so; a part is
    never passed off as the whole.  It raises `SourceError` only when nothing at all can be read (bad credentials,
    host unreachable).
    """

    name: str

    async def fetch(self, queries: Sequence[Query], progress: Progress | None = None) -> Snapshot:
        """Read every query (each once) into one snapshot."""
        ...
