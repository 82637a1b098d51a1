"""Holding the state's lock: signs of life while it is held, and what is known of a holder who is in the way.

Who holds the lock says so anew every few seconds, from a thread of its own.  Whether somebody else who holds it is
alive is told by looking until that changes, by one's own clock: the clocks of two machines are never compared.  Only on
one's own machine is the process itself asked for.
"""

from __future__ import annotations

import os
import platform
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pdsync.errors import Locked, LockLost, StateError, error
from pdsync.state.backends import LockInfo

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pdsync.state.backends import Backend, Beat

RESUMABLE = ("apply", "destroy", "resume")
"""Operations that leave a journal behind."""

MISSED = 2.5
"""So many times the pause between two signs of life without one: the holder looks dead."""

LOOKS = 8
"""How often the lock is looked at in the time of one sign of life."""

LAST_WORD = 5.0
"""Seconds that a sign of life under way gets to arrive once the lock is given back."""


class Holding:
    """A lock that is held.  `lost` is why it is not any more, once somebody has broken it."""

    def __init__(self, beat: Beat, info: LockInfo) -> None:
        self.lost: LockLost | None = None
        self._beat = beat
        self._info = info
        self._on_lost: Callable[[LockLost], None] = lambda _: None
        self._ended = threading.Event()

    @property
    def id(self) -> str:
        """The lock's id."""
        return self._info.id

    def progress(self, done: int, total: int) -> None:
        """What the next sign of life tells of how far the work is."""
        self._info = replace(self._info, done=done, total=total)

    def when_lost(self, call: Callable[[LockLost], None]) -> None:
        """Call this, from another thread, with the reason, once the lock is found broken."""
        self._on_lost = call

    def live(self) -> None:
        """Give signs of life until the end."""
        while not self._ended.wait(self._info.every):
            self._info = replace(self._info, beats=self._info.beats + 1)
            try:
                self._beat(self._info)
            except LockLost as problem:
                self.lost = problem
                self._on_lost(problem)
                return
            except StateError:  # who watches sees no sign of life meanwhile; the state is safe by its compare-and-swap
                continue

    def end(self) -> None:
        """No more signs of life."""
        self._ended.set()


@contextmanager
def holding(beat: Beat, info: LockInfo) -> Iterator[Holding]:
    """Signs of life of a lock, for the block."""
    held = Holding(beat, info)
    heart = threading.Thread(target=held.live, name="pdsync-lock", daemon=True)
    heart.start()
    try:
        yield held
    finally:
        held.end()
        heart.join(LAST_WORD)


def holder_of(lock_id: str, operation: str, who: str, since: str, link: str, every: float) -> LockInfo:  # noqa: PLR0917
    """This process as the holder of a lock."""
    pid = os.getpid()
    return LockInfo(lock_id, operation, f"{who}, pid {pid}", since, link, pid, machine(), every)


# --- somebody else's --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether the holder of a lock looks dead, and why; `over`: it holds that lock no more."""

    dead: bool
    why: str
    over: bool = False


def watch(
    backend: Backend,
    held: LockInfo,
    notify: Callable[[str], None],
    *,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> Verdict:
    """Look at a lock until its holder gives a sign of life, or should have given one.  Raises `StateError`."""
    if backend.lock_ends:
        return Verdict(dead=False, why="alive: the lock would have ended with its process")
    if held.machine and held.machine == machine() and not _is_running(held.pid):
        return Verdict(dead=True, why=f"looks dead: on this machine there is no process {held.pid}")
    if not held.every:
        return Verdict(dead=True, why="gives no signs of life: look for yourself whether it is alive")
    patience = held.every * MISSED
    notify(f"the state is locked by {held.who}: looking for a sign of life, {patience:.0f} s at most")
    begun = clock()
    while clock() - begun < patience:
        sleep(held.every / LOOKS)
        now = backend.holder()
        if now is None or now.id != held.id:
            return Verdict(dead=False, why="it has just given the lock back", over=True)
        if now.beats != held.beats:
            return Verdict(dead=False, why=f"alive: it gave a sign of life {clock() - begun:.0f} s ago at most")
    due = f"one is due every {held.every:.0f} s"
    return Verdict(dead=True, why=f"looks dead: no sign of life in {clock() - begun:.0f} s, {due}")


def in_the_way(backend: Backend, held: LockInfo | None, verdict: Verdict) -> Locked:
    """The error of who needs the lock and finds it taken."""
    if held is None:
        hint = "run it again"
        return Locked(error("PD521", "somebody took the state's lock at the same moment", hint=hint))
    since = f"{held.operation} by {held.who} since {held.since}"
    far = f"{held.done} of {held.total} changes written" if held.total else ""
    detail = ", ".join(part for part in (since, held.link, far) if part)
    return Locked(
        error("PD521", "the state is locked", detail=f"{detail}; {verdict.why}", hint=_advice(backend, held, verdict))
    )


def _advice(backend: Backend, held: LockInfo, verdict: Verdict) -> str:
    if verdict.dead:
        taken = "go on with its run, which takes the lock over: pdsync resume; or only "
        return f"{taken if held.operation in RESUMABLE else ''}break the lock: pdsync unlock {held.id}"
    if verdict.over:
        return "run it again"
    if backend.lock_ends:
        return "wait until that run has ended, or end it: the lock goes with its process"
    return "wait until that run has ended"


def machine() -> str:
    """What names the table of processes of this machine, one boot and one container long; empty when nothing does."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot}/{Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return platform.node() if os.name == "posix" else ""


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it is there and somebody else's
        return True
    return True
