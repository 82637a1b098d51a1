"""Signs of life: given while a lock is held, and looked for by who finds it taken - with time that tests make pass."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec
import pytest

from pdsync.errors import Locked, LockLost, StalePlan, StateError, error
from pdsync.state.backends import LockInfo
from pdsync.state.backends.local import LocalBackend
from pdsync.state.backends.locks import break_lock, hold, read_lock
from pdsync.state.holding import Verdict, holding, in_the_way, machine, watch
from tests.state.runs import store_in

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from pathlib import Path

    from pdsync.errors import Diagnostic
    from pdsync.state.backends import Backend, Beat
    from pdsync.state.store import StateStore

SINCE = "2026-06-01T12:00:00Z"
INFO = LockInfo("id1", "apply", "ci@runner, pid 7", SINCE, "https://ci.example/9", every=15.0)


class Shared:
    """A folder as if it were far away: its lock is a blob that outlives its process."""

    heartbeat = 0.05
    lock_ends = False

    def __init__(self, inner: LocalBackend) -> None:
        self.inner = inner
        self.url = inner.url
        self.load, self.store, self.delete = inner.load, inner.store, inner.delete
        self.version = inner.version

    def runs(self) -> Backend:
        return self

    def prove(self) -> tuple[Diagnostic, ...]:
        return ()

    def lock(self, info: LockInfo) -> AbstractContextManager[Beat]:
        return hold(self, info)

    def holder(self) -> LockInfo | None:
        return read_lock(self.load("lock.json"))

    def unlock(self, lock_id: str) -> None:
        break_lock(self, lock_id)


class Time:
    """A clock that only sleeping moves; `during` happens with each sleep."""

    def __init__(self, during: Callable[[float], None] = lambda _: None) -> None:
        self.now = 1000.0
        self.during = during

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.during(self.now - 1000.0)

    def clock(self) -> float:
        return self.now


@pytest.fixture
def store(tmp_path: Path) -> StateStore:
    return shared_store(tmp_path)


def shared_store(folder: Path) -> StateStore:
    made = store_in(folder)
    made.backend = Shared(LocalBackend(folder))
    return made


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who looks for a sign of life waits for the first one, however long this machine takes to give it."""
    monkeypatch.setattr("pdsync.state.holding.MISSED", 1e6)


def looked(store: StateStore, held: LockInfo, time: Time) -> Verdict:
    return watch(store.backend, held, lambda _: None, sleep=time.sleep, clock=time.clock)


# --- giving them


def test_signs_of_life_go_on_while_the_lock_is_held(store: StateStore) -> None:
    """Each has a greater number and tells how far the work is; none comes after the end."""
    with store.lock("apply") as held:
        held.progress(3, 9)
        until(lambda: (held_by(store).beats, held_by(store).done) > (3, 0))
        seen = held_by(store)
    assert (seen.operation, seen.done, seen.total, seen.pid) == ("apply", 3, 9, os.getpid())
    assert store.backend.holder() is None


def test_a_sign_that_fails_is_followed_by_the_next(store: StateStore) -> None:
    """A store that does not answer for a moment costs a sign of life, not the run."""
    failing = [StateError(error("PD550", "no answer"))] * 2
    said: list[int] = []

    def beat(info: LockInfo) -> None:
        if failing:
            raise failing.pop()
        said.append(info.beats)

    with holding(beat, replace(INFO, every=0.001)) as held:
        until(lambda: len(said) > 2)
    assert (said[:2], held.lost) == ([3, 4], None)


def test_who_loses_the_lock_is_told(store: StateStore) -> None:
    """At the next sign of life, with who has it now; the thread ends, and nobody's lock is given back at the end."""
    told = threading.Event()
    with store.lock("apply") as held:
        held.when_lost(lambda _: told.set())
        store.backend.unlock(held.id)
        told.wait()
        assert isinstance(held.lost, LockLost)
        with store.backend.lock(INFO):
            pass


# --- looking for them


def test_a_holder_that_gives_a_sign_is_alive(store: StateStore) -> None:
    """Seen by one's own clock, as soon as it comes."""
    with store.backend.lock(INFO) as beat:
        time = Time(lambda passed: beat(replace(INFO, beats=1)) if passed > 14 else None)
        verdict = looked(store, INFO, time)
    assert (verdict.dead, time.now < 1020) == (False, True)


def test_a_holder_without_a_sign_looks_dead(store: StateStore) -> None:
    """After two and a half times the pause that it promised."""
    with store.backend.lock(INFO):
        time = Time()
        verdict = looked(store, INFO, time)
    assert verdict.dead
    assert time.now - 1000 == pytest.approx(37.5)
    assert verdict.why == "looks dead: no sign of life in 38 s, one is due every 15 s"


@pytest.mark.parametrize("clock", ["1970-01-01T00:00:00Z", "2999-12-31T23:59:59Z"])
@pytest.mark.parametrize("alive", [True, False])
def test_the_clock_of_the_holder_proves_nothing(store: StateStore, clock: str, *, alive: bool) -> None:
    """Whatever time it says, or jumps to: a sign of life while one looks tells, by one's own clock."""
    held = replace(INFO, since=clock)
    with store.backend.lock(held) as beat:
        time = Time(lambda passed: beat(replace(held, beats=1, since="2026-01-01T00:00:00Z")) if alive else None)
        assert looked(store, held, time).dead is not alive


@pytest.mark.parametrize("then", ["free", "somebody else's"])
def test_a_lock_that_is_given_back_was_not_a_dead_one(store: StateStore, then: str) -> None:
    """Whoever comes next has it."""
    with ExitStack() as first, ExitStack() as second:

        def meanwhile(_passed: float) -> None:
            first.close()
            if then != "free":
                second.enter_context(store.backend.lock(replace(INFO, id="id2")))

        first.enter_context(store.backend.lock(INFO))
        verdict = looked(store, INFO, Time(meanwhile))
        assert (verdict.dead, verdict.over) == (False, True)
        assert in_the_way(store.backend, INFO, verdict).diagnostics[0].hint == "run it again"


@pytest.mark.skipif(not machine(), reason="no table of processes")
def test_on_this_machine_the_process_is_asked_for(store: StateStore) -> None:
    """One that is gone is dead at once; one that is there may be another by now: its signs decide."""
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        gone.wait()
    time = Time()
    ours = replace(INFO, machine=machine(), pid=gone.pid)
    assert (looked(store, ours, time).dead, time.now) == (True, 1000)
    with store.backend.lock(INFO):
        assert looked(store, replace(ours, pid=os.getpid()), time).dead
    assert time.now > 1030


def test_another_machine_with_the_same_pid_proves_nothing(store: StateStore) -> None:
    """A process table is that of one machine, one boot, one container."""
    with store.backend.lock(INFO) as beat:
        time = Time(lambda _: beat(replace(INFO, beats=1)))
        assert not looked(store, replace(INFO, machine="another", pid=2**30), time).dead


def test_a_lock_that_ends_with_its_process_is_held_by_somebody_alive(tmp_path: Path) -> None:
    """Nobody needs to wait for a sign."""
    store, time = store_in(tmp_path), Time()
    with store.lock("apply"):
        assert (looked(store, held_by(store), time).dead, time.now) == (False, 1000)


# --- what is said and done


@pytest.mark.usefixtures("patient")
def test_a_second_run_is_told_everything(tmp_path: Path) -> None:
    """Who, what, since when, the CI run, how far, alive, and what to do: exit code 5."""
    first, second = shared_store(tmp_path), shared_store(tmp_path)
    with first.lock("apply") as held, pytest.raises(Locked) as caught, second.lock("destroy"):
        held.progress(2, 8)
    told = caught.value.diagnostics[0]
    assert (caught.value.exit_code, told.code, told.hint) == (5, "PD521", "wait until that run has ended")
    assert [part in told.detail for part in (f"apply by me@here, pid {os.getpid()} since 20", "alive")] == [True, True]


def test_the_lock_of_a_dead_run_is_broken_by_its_id(tmp_path: Path) -> None:
    """The next run names the command; that frees the lock."""
    store = shared_store(tmp_path)
    leave_locked(store)
    with pytest.raises(Locked) as caught, store.lock("apply"):
        pass
    told = caught.value.diagnostics[0]
    assert ("2 of 8 changes written; looks dead" in told.detail, told.hint) == (
        True,
        "go on with its run, which takes the lock over: pdsync resume; or only break the lock: pdsync unlock id1",
    )
    store.unlock("id1")
    with store.lock("apply"):
        pass


@pytest.mark.usefixtures("patient")
def test_a_lock_is_not_broken_while_its_holder_lives(tmp_path: Path) -> None:
    """Exit code 5, and the lock stays; a wrong id breaks nothing either."""
    first, second = shared_store(tmp_path), shared_store(tmp_path)
    with first.lock("apply") as held:
        with pytest.raises(Locked):
            second.unlock(held.id)
        with pytest.raises(StateError):
            second.unlock("another")
        assert held_by(second).id == held.id


def test_a_dead_run_can_be_taken_over_in_one_step(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """Only where it is asked for, and never from one that lives."""
    store = shared_store(tmp_path)
    leave_locked(store)
    with store.lock("resume", over=True) as held:
        assert held_by(store).id == held.id
        request.getfixturevalue("patient")
        with pytest.raises(Locked), shared_store(tmp_path).lock("resume", over=True):
            pass


def test_of_two_who_take_at_the_same_moment_one_is_told(store: StateStore) -> None:
    """A lock that is free again when one looks is no mystery."""
    told = in_the_way(store.backend, None, Verdict(dead=False, why="")).diagnostics[0]
    assert (told.code, told.hint) == ("PD521", "run it again")


# --- help


def held_by(store: StateStore) -> LockInfo:
    found = store.backend.holder()
    assert found is not None
    return found


def leave_locked(store: StateStore) -> None:
    """As a run leaves the lock that was killed after two of eight changes."""
    info = replace(INFO, every=0.02, done=2, total=8)
    store.backend.store("lock.json", msgspec.json.encode(info), None)


def until(true: Callable[[], bool]) -> None:
    """Wait for another thread; the test hangs, and is ended by its runner, when it never does."""
    while not true():
        threading.Event().wait(0.002)


class Late(Shared):
    """A shared store where something happens right before a write of the lock."""

    def __init__(self, inner: LocalBackend) -> None:
        super().__init__(inner)
        self.before: list[Callable[[], object]] = []
        self.after: list[Callable[[], object]] = []
        self.store = self._store

    def _store(self, name: str, data: bytes, expected: str | None) -> str:
        if self.before:
            self.before.pop()()
        version = LocalBackend.store(self.inner, name, data, expected)
        if self.after:
            self.after.pop()()
        return version


def test_a_last_sign_of_life_does_not_keep_the_lock(tmp_path: Path) -> None:
    """One that arrives while the lock is given back is no reason to leave it behind."""
    backend = Late(LocalBackend(tmp_path))
    with backend.lock(INFO) as beat:
        backend.before = [lambda: beat(replace(INFO, beats=1))]
    assert backend.holder() is None


def test_a_sign_of_life_whose_answer_was_lost_is_no_lost_lock(tmp_path: Path) -> None:
    """What is kept says that the lock is still ours."""

    def answer_lost() -> None:
        raise StalePlan(error("PD542", "the state has moved"))

    backend = Late(LocalBackend(tmp_path))
    with backend.lock(INFO) as beat:
        backend.after = [answer_lost]
        beat(replace(INFO, beats=1))
        assert backend.holder() == replace(INFO, beats=1)
