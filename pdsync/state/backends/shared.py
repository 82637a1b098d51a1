"""Snapshots kept with the ledger, so that every machine goes on from the last one that any of them took.

What is read is a copy on this machine, brought up to date when it is first asked for; what is written goes there first
and then to the backend.  Of two writers the last one wins, since a snapshot can always be taken again: for the same
reason one that cannot be shared is said, and is no error.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pdsync.errors import StalePlan, StateError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable
    from pathlib import Path

    from pdsync.spool import Readable
    from pdsync.state.backends import Backend, Stored
    from pdsync.state.backends.local import LocalBackend
    from pdsync.state.backends.sealed import SealedFolder

ATTEMPTS = 5
"""How often a snapshot is offered while others keep sharing theirs."""


class SharedFolder:
    """A `pdsync.state.backends.Cache` whose files `names` are kept by `backend` too, sealed or plain as they are."""

    def __init__(
        self,
        folder: SealedFolder,
        backend: Backend,
        names: Collection[str],
        notify: Callable[[str], None] | None = None,
    ) -> None:
        self.url = folder.url
        self._folder = folder
        self._copy: LocalBackend = folder.inner
        self._backend = backend
        self._names = names
        self._notify = notify or (lambda _: None)
        self._fresh: set[str] = set()

    @property
    def folder(self) -> Path:
        """Where the copies are."""
        return self._folder.folder

    def load(self, name: str) -> Stored | None:
        """See `Cache.load`."""
        self._refresh(name)
        return self._folder.load(name)

    def open(self, name: str) -> Readable | None:
        """See `Cache.open`."""
        self._refresh(name)
        return self._folder.open(name)

    def first_line(self, name: str) -> bytes:
        """See `Cache.first_line`."""
        self._refresh(name)
        return self._folder.first_line(name)

    def replace(self, name: str, chunks: Iterable[bytes]) -> None:
        """See `Cache.replace`."""
        self._folder.replace(name, chunks)
        if name in self._names:
            self._share(name)

    def keep(self, name: str, under: str) -> None:
        """See `Cache.keep`."""
        self._folder.keep(name, under)
        if under in self._names:
            self._share(under)

    def _refresh(self, name: str) -> None:
        """Once in a process, bring the copy up to date.  Raises `StateError`, and then again until that is done."""
        if name in self._names and name not in self._fresh:
            self._fetch(name)
            self._fresh.add(name)

    def _fetch(self, name: str) -> None:
        """Fetch the file if the backend has another version of it."""
        version = self._backend.version(name)
        marker = self._copy.load(_marker(name))
        if version is None or (marker and marker.data.decode() == version and self._copy.open(name) is not None):
            return
        stored = self._backend.load(name)
        if stored is not None:
            self._copy.replace(name, [stored.data])
            self._mark(name, stored.version)

    def _share(self, name: str) -> None:
        stored = self._copy.load(name)
        self._fresh.add(name)
        try:
            if stored is not None:
                self._mark(name, self._stored(name, stored.data))
        except StateError as problem:
            self._notify(f"the snapshot stays on this machine: {problem}")

    def _stored(self, name: str, data: bytes) -> str:
        for _ in range(ATTEMPTS - 1):
            try:
                return self._backend.store(name, data, self._backend.version(name))
            except StalePlan:
                continue
        return self._backend.store(name, data, self._backend.version(name))

    def _mark(self, name: str, version: str) -> None:
        self._copy.replace(_marker(name), [version.encode()])


def _marker(name: str) -> str:
    """The file that says which version of the shared one the copy is."""
    return f".{name}.version"
