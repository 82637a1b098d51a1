"""Where state bytes are kept.  A backend knows no format; versions make every store a compare-and-swap."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable
    from contextlib import AbstractContextManager
    from pathlib import Path

    from pdsync.spool import Readable


@dataclass(frozen=True, slots=True)
class Stored:
    """Bytes as kept, and the backend's version of them (an ETag, a commit id, a digest)."""

    data: bytes
    version: str


@dataclass(frozen=True, slots=True)
class LockInfo:
    """Who holds the lock.

    `id` is random, `operation` the command, `who` user@host and pid, `since` RFC 3339 UTC, `link` the CI run.
    """

    id: str
    operation: str
    who: str
    since: str
    link: str = ""


class Backend(Protocol):
    """A keeper of named blobs (`ledger.jsonl`, `snapshot.jsonl`, journals)."""

    url: str

    def load(self, name: str) -> Stored | None:
        """The blob, or None when there is none.  Raises `StateError` when that cannot be told."""
        ...

    def store(self, name: str, data: bytes, expected: str | None) -> str:
        """Replace the blob whole or not at all, if its version still is `expected` (None: does not exist).

        Returns the new version.  Raises `StalePlan` when somebody else has stored in between, `StateError` otherwise.
        """
        ...

    def delete(self, name: str) -> None:
        """Remove the blob; one that is not there is fine."""
        ...

    def lock(self, info: LockInfo) -> AbstractContextManager[None]:
        """Hold the lock for the block.  Raises `Locked`, naming the holder."""
        ...

    def unlock(self, lock_id: str) -> None:
        """Break the lock with this id.  Raises `StateError` when another one is held."""
        ...


class Cache(Protocol):
    """Files of this machine that can be made again: the snapshot, what mapping remembers."""

    url: str

    @property
    def folder(self) -> Path:
        """Where they are."""
        ...

    def load(self, name: str) -> Stored | None:
        """See `Backend.load`."""
        ...

    def open(self, name: str) -> Readable | None:
        """A file, to be read bit by bit, as it is now whatever becomes of it; None when there is none."""
        ...

    def replace(self, name: str, chunks: Iterable[bytes]) -> None:
        """Replace a file whatever it was, whole or not at all.  Raises `StateError`."""
        ...

    def first_line(self, name: str) -> bytes:
        """The first line of a file, without reading the rest; empty when there is none."""
        ...
