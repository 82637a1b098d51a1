"""State that is encrypted on its way out and in, whatever keeps it.

With a key, everything that is stored is sealed and only what is sealed is read: a plain file in its place may have been
put there by somebody who has no key.  Without a key, a sealed file is named as that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pdsync.errors import StateError, error
from pdsync.sealing import MAGIC, is_sealed, seal, unseal, unsealed_view
from pdsync.spool import lines
from pdsync.state.backends import Stored

if TYPE_CHECKING:
    from collections.abc import Iterable
    from contextlib import AbstractContextManager
    from pathlib import Path

    from pdsync.errors import Diagnostic
    from pdsync.sealing import Keyring
    from pdsync.spool import Readable
    from pdsync.state.backends import Backend, Beat, LockInfo
    from pdsync.state.backends.local import LocalBackend


class SealedBackend:
    """A `pdsync.state.backends.Backend` in front of another one; the lock stays readable for all."""

    def __init__(self, inner: Backend, keyring: Keyring | None) -> None:
        self.url = inner.url
        self.heartbeat = inner.heartbeat
        self.lock_ends = inner.lock_ends
        self.inner = inner
        self.keyring = keyring

    def load(self, name: str) -> Stored | None:
        """See `Backend.load`."""
        stored = self.inner.load(name)
        if stored is None:
            return None
        return Stored(opened(stored.data, self.keyring, f"{self.url}/{name}"), stored.version)

    def version(self, name: str) -> str | None:
        """See `Backend.version`."""
        return self.inner.version(name)

    def store(self, name: str, data: bytes, expected: str | None) -> str:
        """See `Backend.store`."""
        sealed = b"".join(seal([data], self.keyring, packed=True)) if self.keyring else data
        return self.inner.store(name, sealed, expected)

    def delete(self, name: str) -> None:
        """See `Backend.delete`."""
        self.inner.delete(name)

    def prove(self) -> tuple[Diagnostic, ...]:
        """See `Backend.prove`."""
        return self.inner.prove()

    def runs(self) -> SealedBackend:
        """See `Backend.runs`."""
        return SealedBackend(self.inner.runs(), self.keyring)

    def lock(self, info: LockInfo) -> AbstractContextManager[Beat]:
        """See `Backend.lock`."""
        return self.inner.lock(info)

    def holder(self) -> LockInfo | None:
        """See `Backend.holder`."""
        return self.inner.holder()

    def unlock(self, lock_id: str) -> None:
        """See `Backend.unlock`."""
        self.inner.unlock(lock_id)


class SealedFolder:
    """Files of this machine that can be taken again, in front of a `LocalBackend`."""

    def __init__(self, inner: LocalBackend, keyring: Keyring | None) -> None:
        self.url = inner.url
        self.inner = inner
        self.keyring = keyring

    @property
    def folder(self) -> Path:
        """Where they are."""
        return self.inner.folder

    def load(self, name: str) -> Stored | None:
        """See `Backend.load`."""
        return SealedBackend(self.inner, self.keyring).load(name)

    def replace(self, name: str, chunks: Iterable[bytes]) -> None:
        """See `LocalBackend.replace`."""
        self.inner.replace(name, seal(chunks, self.keyring) if self.keyring else chunks)

    def keep(self, name: str, under: str) -> None:
        """See `LocalBackend.keep`."""
        self.inner.keep(name, under)

    def open(self, name: str) -> Readable | None:
        """See `LocalBackend.open`."""
        held = self.inner.open(name)
        if held is None:
            return None
        where = f"{self.url}/{name}"
        if self.keyring is not None and not is_sealed(held.read(0, len(MAGIC))):
            raise not_sealed(where)
        return unsealed_view(held, self.keyring, where)

    def first_line(self, name: str) -> bytes:
        """See `LocalBackend.first_line`."""
        held = self.open(name)
        return next(lines(held), b"") if held else b""


def opened(data: bytes, keyring: Keyring | None, name: str) -> bytes:
    """What a file holds, whether it is sealed or, without a key, plain.  Raises `StateError`."""
    if is_sealed(data):
        return b"".join(unseal([data], keyring, name))
    if keyring is not None:
        raise not_sealed(name)
    return data


def not_sealed(name: str) -> StateError:
    """A plain file where only a sealed one is believed."""
    return StateError(
        error(
            "PD564",
            "the state is not encrypted although there is a key",
            detail=f"{name}: somebody without the key may have written it",
            hint="if it is yours, encrypt it once with: pdsync state rekey",
        )
    )
