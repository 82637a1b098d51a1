"""A state moved to another place: written there, read again, and only then given up where it was."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pdsync.errors import StateError, error
from pdsync.model import Ledger
from pdsync.sealing import seal
from pdsync.state.backends.sealed import SealedBackend, opened
from pdsync.state.carried import CarriedJournals
from pdsync.state.journal import closed_by, sealed_journal, unsealed_journal
from pdsync.state.ledger_file import parse_ledger
from pdsync.state.moved import marker, split_marker, still_here
from pdsync.state.store import LEDGER, SNAPSHOT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pdsync.sealing import Keyring
    from pdsync.state.backends import Stored
    from pdsync.state.open import Places


@dataclass(frozen=True, slots=True)
class Migrated:
    """What was moved."""

    ledger: Ledger
    snapshot: bool
    journals: int


def migrate(
    source: Places,
    target: Places,
    keyring: Keyring | None,
    *,
    at: str,
    snapshot: bool = False,
    journals: bool = False,
    keep: bool = False,
) -> Migrated:
    """Move the ledger, and the rest if asked, from one place to the other; the caller holds both locks.

    What is broken off may be run again.  With `keep` the source stays as it is, else it is left with a marker.  Raises
    `StateError` when there is nothing to move, when the target holds something else, or does not keep what it is given.
    """
    here = source.backend.load(LEDGER)
    if here is None:
        raise StateError(error("PD572", "there is nothing to move", detail=f"{source.backend.url} holds no ledger"))
    data = still_here(_plain(source, here, keyring), source.backend.url)
    ledger = parse_ledger(data, f"{source.backend.url}/{LEDGER}")
    there = target.backend.load(LEDGER)
    _check_target(target, there, keyring, ledger, data)
    copied = _copy_journals(source, target, keyring) if journals else 0
    took = _copy_snapshot(source, target, keyring) if snapshot else False
    _put(target, data, there, keyring)
    _check_arrived(target, data, keyring)
    if not keep:
        _put(source, marker(data, target.url, at), here, keyring)
    return Migrated(ledger, took, copied)


def reopen(place: Places, keyring: Keyring | None) -> Ledger:
    """Take the marker of a moved state away; the caller holds the lock.  Raises `StateError` when there is none."""
    stored = place.backend.load(LEDGER)
    to, data = split_marker(_plain(place, stored, keyring)) if stored else ("", b"")
    if not to:
        raise StateError(error("PD573", "this state was not moved", detail=place.backend.url))
    ledger = parse_ledger(data, f"{place.backend.url}/{LEDGER}")
    _put(place, data, stored, keyring)
    return ledger


def _check_target(target: Places, there: Stored | None, keyring: Keyring | None, ledger: Ledger, data: bytes) -> None:
    """A target may be empty, hold this very ledger, or an earlier one of its own that was moved away."""
    if there is None:
        return
    to, theirs = split_marker(_plain(target, there, keyring))
    if theirs == data:
        return
    other = parse_ledger(theirs, f"{target.backend.url}/{LEDGER}")
    if to and other.lineage == ledger.lineage and other.serial <= ledger.serial:
        return
    raise StateError(
        error(
            "PD574",
            "there is another state already",
            detail=f"{target.backend.url} holds serial {other.serial} of {other.lineage}, to be moved is "
            f"serial {ledger.serial} of {ledger.lineage}",
            hint="choose another place, or replace it with: pdsync state push",
        )
    )


def _check_arrived(target: Places, data: bytes, keyring: Keyring | None) -> None:
    kept = target.backend.load(LEDGER)
    if kept is None or _plain(target, kept, keyring) != data:
        detail = f"{target.backend.url} does not give back what was stored; the source is as it was"
        raise StateError(error("PD575", "the state did not arrive", detail=detail))


def _copy_journals(source: Places, target: Places, keyring: Keyring | None) -> int:
    """The journals of this machine and, where other machines share a state, those that are kept with it."""
    found = {run: (data, whole, closed) for run, data, whole, closed in _carried_journals(source, keyring)}
    for path in sorted(source.journals.folder.glob("*.jsonl")):
        if data := unsealed_journal(path.read_bytes(), keyring, str(path)):  # else that run never began
            found[path.stem] = data, True, closed_by(data)
    for run, (data, whole, closed) in sorted(found.items()):
        name = f"{run}.jsonl"
        if whole:
            target.journals.replace(name, [sealed_journal(data, keyring, name) if keyring else data])
        if target.backend is not target.local:
            _carried_by(target, keyring).put(run, data, closed, whole=whole)
        elif not whole:
            raise _not_whole(run)
    return len(found)


def _carried_journals(source: Places, keyring: Keyring | None) -> Iterator[tuple[str, bytes, bool, int | None]]:
    journals = _carried_by(source, keyring)
    for each in journals.listed() if source.backend is not source.local else ():
        if (found := journals.read(each.run)) is not None:
            yield each.run, found[0], found[1] or each.closed is not None, each.closed


def _carried_by(place: Places, keyring: Keyring | None) -> CarriedJournals:
    return CarriedJournals(SealedBackend(place.backend.runs(), keyring))


def _not_whole(run: str) -> StateError:
    hint = f"go on with it first, where the state is now: pdsync resume {run}"
    detail = f"{run} ran on another machine, which did not tell all of it"
    return StateError(error("PD538", "a run was cut short elsewhere", detail=detail, hint=hint))


def _copy_snapshot(source: Places, target: Places, keyring: Keyring | None) -> bool:
    stored = source.local.load(SNAPSHOT)
    if stored is None:
        return False
    plain = opened(stored.data, keyring, f"{source.local.url}/{SNAPSHOT}")
    target.local.replace(SNAPSHOT, seal([plain], keyring) if keyring else [plain])
    return True


def _plain(place: Places, stored: Stored, keyring: Keyring | None) -> bytes:
    return opened(stored.data, keyring, f"{place.backend.url}/{LEDGER}")


def _put(place: Places, data: bytes, held: Stored | None, keyring: Keyring | None) -> None:
    sealed = b"".join(seal([data], keyring, packed=True)) if keyring else data
    place.backend.store(LEDGER, sealed, held.version if held else None)
