"""`state.snapshot: remote`: every machine goes on from the last snapshot that any of them took."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from pdsync.errors import StateError
from pdsync.model import Snapshot
from pdsync.sealing import new_key
from pdsync.state.open import Surroundings, open_store
from tests.state.places import SECRET, SERVED, Place

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pdsync.state.store import StateStore


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with SERVED["https"](tmp_path) as place:
        yield place


class Machine:
    """A checkout on a machine of its own; `open` is one process there."""

    def __init__(self, place: Place, folder: Path) -> None:
        self.said: list[str] = []
        self.url = place.url
        self.around = Surroundings(
            folder / "catalog", {"PDSYNC_STATE_HTTP_TOKEN": SECRET}, notify=self.said.append, share_snapshot=True
        )

    def open(self) -> StateStore:
        return open_store(self.url, self.around, now=lambda: "t", new_id=lambda: "0" * 16)

    def seen(self) -> str | None:
        kept = self.open().load_snapshot()
        return kept.taken_at if kept else None


@pytest.fixture
def one(place: Place, tmp_path: Path) -> Machine:
    return Machine(place, tmp_path / "one")


@pytest.fixture
def other(place: Place, tmp_path: Path) -> Machine:
    return Machine(place, tmp_path / "other")


def test_a_snapshot_is_seen_from_elsewhere(one: Machine, other: Machine) -> None:
    """Whoever took it; the last one wins."""
    assert other.seen() is None
    one.open().save_snapshot(Snapshot("pd", "t1", {}))
    assert other.seen() == "t1"
    other.open().save_snapshot(Snapshot("pd", "t2", {}))
    assert (one.seen(), other.seen()) == ("t2", "t2")


def test_kept_as_cache_it_is_not_shared(one: Machine, other: Machine, place: Place) -> None:
    """The default: nothing of it leaves the machine."""
    one.around = replace(one.around, share_snapshot=False)
    one.open().save_snapshot(Snapshot("pd", "t1", {}))
    assert (other.seen(), one.seen(), place.shelf.objects) == (None, "t1", {})


def test_it_is_fetched_once(one: Machine, other: Machine, place: Place) -> None:
    """A copy that is up to date is only looked at."""
    one.open().save_snapshot(Snapshot("pd", "t1", {}))
    other.seen()
    place.shelf.requests.clear()
    other.seen()
    one.seen()
    assert [method for method, _, _ in place.shelf.requests] == ["HEAD", "HEAD"]


def test_with_a_key_it_is_shared_encrypted(one: Machine, other: Machine, place: Place) -> None:
    """And is read with the key alone."""
    key = {"PDSYNC_STATE_KEY": new_key()}
    one.around = replace(one.around, environment={**one.around.environment, **key})
    other.around = replace(other.around, environment={**other.around.environment, **key})
    one.open().save_snapshot(Snapshot("a-private-source", "t1", {}))
    assert other.seen() == "t1"
    assert not any(b"a-private-source" in kept.data for kept in place.shelf.objects.values())


def test_one_that_cannot_be_shared_is_said(one: Machine, place: Place) -> None:
    """It can be taken again: that is no error, and it is there on this machine."""
    store = one.open()
    place.shelf.faults = [403]
    store.save_snapshot(Snapshot("pd", "t1", {}))
    assert "the snapshot stays on this machine" in one.said[-1]
    assert one.seen() == "t1"


def test_a_copy_that_is_not_up_to_date_is_not_taken_for_the_last_one(
    one: Machine, other: Machine, place: Place
) -> None:
    """Whoever asks again, after the store failed once, gets the last one, and no older one without a word."""
    for at in ("t1", "t2"):
        store = other.open()
        one.open().save_snapshot(Snapshot("pd", at, {}, digest=at))
        place.shelf.faults = [403]
        with pytest.raises(StateError):
            store.load_snapshot()
        assert (store.last_digest(), store.load_snapshot()) == (at, one.open().load_snapshot())


def test_a_local_copy_that_is_gone_is_fetched_again(one: Machine) -> None:
    """The cache may be removed at any time."""
    one.open().save_snapshot(Snapshot("pd", "t1", {}))
    (one.open().snapshots.folder / "snapshot.jsonl").unlink()
    assert one.seen() == "t1"
