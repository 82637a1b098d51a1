"""What every backend promises, tried on each of them with its real protocol: folder, git remote, object servers."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pdsync.errors import Locked, LockLost, StalePlan, StateError
from pdsync.state.backends import LockInfo
from tests.state.places import ENVIRONMENT, PLACES, SECRET, Place

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pdsync.state.backends import Backend

INFO = LockInfo("lock-1", "apply", "ci@runner, pid 12", "2026-01-02T03:04:05Z", "https://ci.example/run/9")
OTHER = LockInfo("lock-2", "plan", "me@laptop, pid 9", "2026-01-02T03:05:00Z")


@pytest.fixture(scope="module", params=PLACES)
def shared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ENVIRONMENT.items():
            patch.setenv(name, value)
        with PLACES[request.param](tmp_path_factory.mktemp(request.param)) as place:
            yield place


@pytest.fixture
def place(shared: Place) -> Iterator[Place]:
    """A place where nothing is kept."""
    yield shared
    keeper = shared.open()
    for name in ("ledger.jsonl", "snapshot.jsonl", "runs/a.jsonl", "runs/b.jsonl"):
        keeper.delete(name)
    shared.shelf.faults.clear()


def kept(backend: Backend, name: str = "ledger.jsonl") -> bytes | None:
    held = backend.load(name)
    return held.data if held else None


def test_a_version_can_be_had_without_the_bytes(place: Place) -> None:
    """It is the one that loading gives; there is none of what is not there, or was removed."""
    keeper = place.open()
    assert keeper.version("ledger.jsonl") is None
    version = keeper.store("ledger.jsonl", b"one", None)
    assert place.open().version("ledger.jsonl") == version
    keeper.delete("ledger.jsonl")
    assert place.open().version("ledger.jsonl") is None


def test_a_place_is_proven_before_anything_is_kept(place: Place) -> None:
    """It answers and honours conditions; S3 without versioning is worth a word, and with it none."""
    told = [problem.code for problem in place.open().prove()]
    assert told == (["PD553"] if place.url.startswith("s3:") else [])
    assert kept(place.open()) is None
    place.shelf.versioning = True
    if place.shelf.objects:  # a server of ours
        assert place.open().prove() == ()
        place.shelf.versioning = False


def test_at_first_there_is_nothing(place: Place) -> None:
    """A place that nobody has used is empty, which is no error."""
    assert place.open().load("ledger.jsonl") is None


def test_what_is_stored_is_loaded_elsewhere(place: Place) -> None:
    """The same bytes and the version that storing them returned."""
    version = place.open().store("ledger.jsonl", b"one\n\xff\x00\n", None)
    held = place.open().load("ledger.jsonl")
    assert held is not None
    assert (held.data, held.version) == (b"one\n\xff\x00\n", version)


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(blobs=st.lists(st.binary(max_size=200), min_size=1, max_size=3))
def test_any_bytes_survive(place: Place, blobs: list[bytes]) -> None:
    """load(store(x)) is x, for any bytes, nothing at all included."""
    keeper = place.open()
    held = keeper.load("snapshot.jsonl")
    version = held.version if held else None
    for data in blobs:
        version = keeper.store("snapshot.jsonl", data, version)
    held = keeper.load("snapshot.jsonl")
    assert held is not None
    assert (held.data, held.version) == (blobs[-1], version)


@pytest.mark.parametrize("knows", ["nothing", "an older version"])
def test_who_does_not_know_what_is_kept_writes_nothing(place: Place, knows: str) -> None:
    """Exit code 4, and what is kept stays."""
    first, second = place.open(), place.open()
    old = first.store("ledger.jsonl", b"one\n", None)
    first.store("ledger.jsonl", b"two\n", old)
    with pytest.raises(StalePlan) as caught:
        second.store("ledger.jsonl", b"mine\n", None if knows == "nothing" else old)
    assert (caught.value.exit_code, kept(place.open())) == (4, b"two\n")


def test_what_is_gone_is_not_silently_made_anew(place: Place) -> None:
    """A store over a blob that was removed is stale; one that expects nothing is not."""
    keeper = place.open()
    version = keeper.store("ledger.jsonl", b"one\n", None)
    place.open().delete("ledger.jsonl")
    with pytest.raises(StalePlan):
        keeper.store("ledger.jsonl", b"two\n", version)
    assert kept(keeper) is None
    keeper.store("ledger.jsonl", b"three\n", None)
    assert kept(place.open()) == b"three\n"


def test_removing_twice_is_as_once(place: Place) -> None:
    """From anywhere."""
    place.open().store("ledger.jsonl", b"one\n", None)
    place.open().delete("ledger.jsonl")
    place.open().delete("ledger.jsonl")
    assert kept(place.open()) is None


def test_names_may_have_folders(place: Place) -> None:
    """Blobs do not get into each other's way."""
    keeper = place.open()
    keeper.store("runs/a.jsonl", b"a", None)
    keeper.store("runs/b.jsonl", b"b", None)
    assert (kept(keeper, "runs/a.jsonl"), kept(keeper, "runs/b.jsonl")) == (b"a", b"b")


def test_racing_writers_lose_no_update(place: Place) -> None:
    """Of two stores on one version exactly one wins: counting at once comes to the sum, and somebody had to wait."""
    place.open().store("ledger.jsonl", b"0", None)
    meet = threading.Barrier(3)
    refusals: list[int] = []

    def count_up(keeper: Backend) -> None:
        meet.wait()
        done = refused = 0
        while done < 4:
            held = keeper.load("ledger.jsonl")
            assert held is not None
            try:
                keeper.store("ledger.jsonl", b"%d" % (int(held.data) + 1), held.version)
            except StalePlan:
                refused += 1
            else:
                done += 1
        refusals.append(refused)

    racers = [threading.Thread(target=count_up, args=(place.open(),)) for _ in range(3)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join()
    assert (kept(place.open()), len(refusals)) == (b"12", 3)


def test_of_two_first_writers_one_wins(place: Place) -> None:
    """Nobody makes what somebody else has made meanwhile."""
    one, other = place.open(), place.open()
    assert (one.load("ledger.jsonl"), other.load("ledger.jsonl")) == (None, None)
    one.store("ledger.jsonl", b"one", None)
    with pytest.raises(StalePlan):
        other.store("ledger.jsonl", b"other", None)
    assert kept(other) == b"one"


def test_the_lock_keeps_others_out_and_names_its_holder(place: Place) -> None:
    """Exit code 5: who, what for, since when, and the CI run; afterwards the lock is free."""
    mine, theirs = place.open(), place.open()
    with mine.lock(INFO):
        with pytest.raises(Locked) as caught, theirs.lock(OTHER):
            pass
        mine.store("ledger.jsonl", b"one", None)
    told = str(caught.value)
    assert [part in told for part in (INFO.who, INFO.operation, INFO.since, INFO.link)] == [True] * 4
    assert caught.value.exit_code == 5
    with theirs.lock(OTHER), pytest.raises(Locked, match="me@laptop"), mine.lock(INFO):
        pass


def test_the_lock_is_given_back_when_the_work_fails(place: Place) -> None:
    """An error inside the block goes through and leaves no lock."""
    with pytest.raises(ZeroDivisionError), place.open().lock(INFO):
        raise ZeroDivisionError
    with place.open().lock(OTHER):
        pass


def test_the_lock_does_not_move_the_ledger(place: Place) -> None:
    """A version that was read before the lock was taken is still the version."""
    keeper = place.open()
    version = keeper.store("ledger.jsonl", b"one", None)
    with keeper.lock(INFO):
        keeper.store("ledger.jsonl", b"two", version)


def test_unlock_breaks_only_the_lock_that_it_names(place: Place) -> None:
    """A wrong id is refused; the right one frees the lock, and the old holder does not free the next one's."""
    mine, theirs = place.open(), place.open()
    if not place.breakable:
        with mine.lock(INFO), pytest.raises(Locked):
            theirs.unlock("lock-1")
        return
    with ExitStack() as next_holder:
        with mine.lock(INFO):
            with pytest.raises(StateError, match="lock-1"):
                theirs.unlock("lock-9")
            theirs.unlock("lock-1")
            next_holder.enter_context(theirs.lock(OTHER))
        with pytest.raises(Locked, match="me@laptop"), mine.lock(INFO):
            pass
    with pytest.raises(StateError):
        mine.unlock("lock-1")


def test_signs_of_life_are_seen_by_others(place: Place) -> None:
    """Who holds the lock, and how often they have said so; nobody once it is given back."""
    mine, theirs = place.open(), place.open()
    with mine.lock(INFO) as beat:
        assert theirs.holder() == INFO
        for n in (1, 2):
            beat(replace(INFO, beats=n, done=n, total=9))
            assert theirs.holder() == replace(INFO, beats=n, done=n, total=9)
        mine.store("ledger.jsonl", b"one", None)
    assert theirs.holder() is None


def test_a_broken_lock_is_noticed_by_who_held_it(place: Place) -> None:
    """The next sign of life is refused, and does not take the lock from whoever has it now."""
    mine, theirs = place.open(), place.open()
    if not place.breakable:
        return
    with ExitStack() as next_holder, mine.lock(INFO) as beat:
        theirs.unlock(INFO.id)
        with pytest.raises(LockLost):
            beat(replace(INFO, beats=1))
        next_holder.enter_context(theirs.lock(OTHER))
        with pytest.raises(LockLost, match="me@laptop"):
            beat(replace(INFO, beats=2))
        assert mine.holder() == OTHER


def test_an_address_shows_nothing_secret(place: Place) -> None:
    """The URL that messages name holds no credentials and no options."""
    backend = place.open()
    assert (SECRET in backend.url, "?" in backend.url) == (False, False)


def test_every_write_has_a_condition(place: Place) -> None:
    """What the server saw in all that went before: not one write that could overwrite blindly."""
    assert place.shelf.unconditional() == []
