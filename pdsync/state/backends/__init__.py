"""Where state bytes are kept.  A backend knows no format; versions make every store a compare-and-swap."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable
    from contextlib import AbstractContextManager
    from pathlib import Path

    from pdsync.errors import Diagnostic
    from pdsync.spool import Readable

HEARTBEAT = 15.0
"""Seconds between two signs of life of who holds a lock, where one costs little."""


@dataclass(frozen=True, slots=True)
class Stored:
    """Bytes as kept, and the backend's version of them (an ETag, a commit id, a digest)."""

    data: bytes
    version: str


@dataclass(frozen=True, slots=True)
class LockInfo:
    """Who holds the lock, and how to see that they are alive.

    `id` is random, `operation` the command, `who` user@host and pid, `since` RFC 3339 UTC, `link` the CI run.  `beats`
    grows with every sign of life, which is due `every` seconds (0: none is ever given): who looks twice, by a clock of
    their own, sees it grow or not.  `pid` is the process, `machine` the table of processes that it stands in (empty:
    cannot be told).  `done` and `total` tell how far the work is.
    """

    id: str
    operation: str
    who: str
    since: str
    link: str = ""
    pid: int = 0
    machine: str = ""
    every: float = 0.0
    beats: int = 0
    done: int = 0
    total: int = 0


Beat = Callable[[LockInfo], None]
"""Says anew who holds a lock that one holds.

Raises `LockLost` when it has been broken, `StateError` when that cannot be told.  May be called by another thread than
the one that holds the lock, which may store at the same time.
"""


class Backend(Protocol):
    """A keeper of named blobs (`ledger.jsonl`, `snapshot.jsonl`, journals).

    `heartbeat` is how many seconds apart a lock's holder gives signs of life here; `lock_ends` whether the lock ends
    with the process that holds it, so that a lock that is held is held by somebody alive.
    """

    url: str
    heartbeat: float
    lock_ends: bool

    def load(self, name: str) -> Stored | None:
        """The blob, or None when there is none.  Raises `StateError` when that cannot be told."""
        ...

    def version(self, name: str) -> str | None:
        """The blob's version without its bytes, None when there is none.  Raises as `load` does."""
        ...

    def store(self, name: str, data: bytes, expected: str | None) -> str:
        """Replace the blob whole or not at all, if its version still is `expected` (None: does not exist).

        Returns the new version.  Raises `StalePlan` when somebody else has stored in between, `StateError` otherwise.
        """
        ...

    def delete(self, name: str) -> None:
        """Remove the blob; one that is not there is fine."""
        ...

    def prove(self) -> tuple[Diagnostic, ...]:
        """See that the place answers and honours what it is asked; what should better be otherwise there.

        Raises `StateError` when it does not.
        """
        ...

    def runs(self) -> Backend:
        """Where journals of runs are kept: here, or beside where they do not get in the way of the rest."""
        ...

    def lock(self, info: LockInfo) -> AbstractContextManager[Beat]:
        """Hold the lock for the block, which is given what says anew who holds it.  Raises `Locked`."""
        ...

    def holder(self) -> LockInfo | None:
        """Who holds the lock, None when nobody does.  Raises `StateError` when that cannot be told."""
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

    def keep(self, name: str, under: str) -> None:
        """Keep a file as it is now under another name as well.  Raises `StateError`."""
        ...

    def first_line(self, name: str) -> bytes:
        """The first line of a file, without reading the rest; empty when there is none."""
        ...
