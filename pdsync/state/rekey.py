"""A new key for a state: everything kept is read with the keys that there are, and written with the one to come."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pdsync.sealing import is_sealed, seal, unseal
from pdsync.state.backends.sealed import SealedBackend
from pdsync.state.carried import CarriedJournals
from pdsync.state.journal import sealed_journal, unsealed_journal
from pdsync.state.ledger_file import parse_ledger
from pdsync.state.moved import split_marker
from pdsync.state.store import APPLIED, LEDGER, MEMO, REST, SNAPSHOT, UNCHANGED

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pdsync.sealing import Keyring
    from pdsync.state.backends import Backend, Stored
    from pdsync.state.backends.local import LocalBackend
    from pdsync.state.open import Places


def rekey(places: Places, have: Keyring | None, want: Keyring | None) -> list[str]:
    """Write every part of a state anew with `want` (None: in the clear); the names of the parts, in order.

    The caller holds the lock.  The ledger comes last, so that a run that is cut short can be repeated: what is sealed
    with a key of `have` and what is plain are both read.  Raises `StateError`.
    """
    done = [*_journals(places.journals, have, want), *_cached(places.local, have, want)]
    shared = () if places.backend is places.local else (SNAPSHOT, APPLIED)
    if shared:
        runs = places.backend.runs()
        done += _kept(runs, list(CarriedJournals(_Either(runs, have)).names()), have, want)
    return [*done, *_kept(places.backend, (*shared, LEDGER), have, want)]


class _Either(SealedBackend):
    """A backend of which what is sealed is read, and what is plain."""

    def load(self, name: str) -> Stored | None:
        """See `Backend.load`."""
        stored = self.inner.load(name)
        return stored and replace(stored, data=_plain(stored.data, self.keyring, f"{self.url}/{name}"))


def _kept(backend: Backend, names: Iterable[str], have: Keyring | None, want: Keyring | None) -> Iterator[str]:
    for name in names:
        stored = backend.load(name)
        if stored is not None:
            plain = _plain(stored.data, have, f"{backend.url}/{name}")
            if name == LEDGER:
                parse_ledger(split_marker(plain)[1], f"{backend.url}/{name}")
            backend.store(name, _whole(plain, want, packed=name not in (SNAPSHOT, APPLIED)), stored.version)
            yield f"{backend.url}/{name}"


def _cached(local: LocalBackend, have: Keyring | None, want: Keyring | None) -> Iterator[str]:
    for name in (SNAPSHOT, APPLIED, MEMO, UNCHANGED, REST):
        stored = local.load(name)
        if stored is not None:
            plain = _plain(stored.data, have, f"{local.url}/{name}")
            local.replace(name, seal([plain], want) if want else [plain])
            yield name


def _journals(folder: LocalBackend, have: Keyring | None, want: Keyring | None) -> Iterator[str]:
    for path in sorted(folder.folder.glob("*.jsonl")):
        plain = unsealed_journal(path.read_bytes(), have, str(path))
        folder.replace(path.name, [sealed_journal(plain, want, str(path)) if want else plain])
        yield f"journal/{path.name}"


def _plain(data: bytes, have: Keyring | None, name: str) -> bytes:
    return b"".join(unseal([data], have, name)) if is_sealed(data) else data


def _whole(plain: bytes, want: Keyring | None, *, packed: bool) -> bytes:
    return b"".join(seal([plain], want, packed=packed)) if want else plain
