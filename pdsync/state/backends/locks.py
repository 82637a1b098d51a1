"""A lock as an object of a shared store: made, and given back, under the same conditions as any other write.

The object says who holds the lock; an empty one says that nobody does.  It is emptied, never removed, because a removal
is the one request that stores know no condition for: so nobody's lock but one's own is ever given back.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

import msgspec

from pdsync.errors import Locked, LockLost, StalePlan, StateError, error
from pdsync.state.backends import LockInfo

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pdsync.state.backends import Beat, Stored

LOCK = "lock.json"
FREE = b""
ATTEMPTS = 5


class Kept(Protocol):
    """What a lock needs of its backend."""

    def load(self, name: str) -> Stored | None:
        """See `Backend.load`."""
        ...

    def store(self, name: str, data: bytes, expected: str | None) -> str:
        """See `Backend.store`."""
        ...


@contextmanager
def hold(kept: Kept, info: LockInfo) -> Iterator[Beat]:
    """Hold the lock for the block.  Raises `Locked`, naming the holder.

    A lock that was broken meanwhile is no error at the end: the compare-and-swap of `store` protects the state.
    """
    _take(kept, info)
    try:
        yield lambda now: _beat(kept, now)
    except BaseException as failure:
        try:
            _give_back(kept, info.id)
        except StateError as problem:
            failure.add_note(f"The lock {info.id} could not be released either: {problem}")
        raise
    _give_back(kept, info.id)


def break_lock(kept: Kept, lock_id: str) -> None:
    """Free the lock with this id.  Raises `StateError` when another one, or none, is held."""
    if not _give_back(kept, lock_id):
        held = read_lock(kept.load(LOCK))
        found = f"the lock {held.id} of {held.who} is held" if held else "no lock is held"
        raise StateError(error("PD544", "there is no such lock", detail=f"{found}, not {lock_id}"))


def read_lock(stored: Stored | None) -> LockInfo | None:
    """Who holds the lock, None when nobody does.  Raises `StateError` when the object says neither."""
    if stored is None or stored.data == FREE:
        return None
    try:
        return msgspec.json.decode(stored.data, type=LockInfo)
    except msgspec.MsgspecError as problem:
        raise StateError(error("PD546", "the lock cannot be read", detail=str(problem))) from problem


def _take(kept: Kept, info: LockInfo) -> None:
    stored = kept.load(LOCK)
    held = read_lock(stored)
    if held is not None:
        raise locked(held)
    try:
        kept.store(LOCK, msgspec.json.encode(info), stored.version if stored else None)
    except StalePlan:
        other = read_lock(kept.load(LOCK))
        if other is None or other.id != info.id:  # else it is ours, and only the answer was lost
            raise locked(other) from None


def _beat(kept: Kept, now: LockInfo) -> None:
    stored = kept.load(LOCK)
    held = read_lock(stored)
    if stored is None or held is None or held.id != now.id:
        raise lost(held)
    try:
        kept.store(LOCK, msgspec.json.encode(now), stored.version)
    except StalePlan:
        other = read_lock(kept.load(LOCK))
        if other is None or other.id != now.id:  # else only the answer was lost
            raise lost(other) from None


def _give_back(kept: Kept, lock_id: str) -> bool:
    """Free the lock if it still is the one with this id; whether it was.  A last sign of life may get in between."""
    for _ in range(ATTEMPTS):
        stored = kept.load(LOCK)
        held = read_lock(stored)
        if stored is None or held is None or held.id != lock_id:
            return False
        try:
            kept.store(LOCK, FREE, stored.version)
        except StalePlan:
            continue
        return True
    return False


def locked(held: LockInfo | None) -> Locked:
    """The error of who finds the lock taken."""
    if held is None:
        return Locked(error("PD543", "somebody took the state's lock at the same moment", hint="Run it again."))
    detail = f"{held.operation} by {held.who} since {held.since}" + (f", {held.link}" if held.link else "")
    hint = f"Wait for it, or if it is dead: pdsync unlock {held.id}"
    return Locked(error("PD543", "the state is locked", detail=detail, hint=hint))


def lost(held: LockInfo | None) -> LockLost:
    """The error of who finds that the lock that was theirs is not any more; `held` is who has it now."""
    detail = f"{held.operation} by {held.who} holds it now" if held else "nobody holds it now"
    hint = "somebody has unlocked it: see who works on this state besides you"
    return LockLost(error("PD525", "the lock of this run was broken", detail=detail, hint=hint))
