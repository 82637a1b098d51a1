"""A state moved between all kinds of places: nothing is given up before it is seen to have arrived."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pdsync.errors import StateError
from pdsync.sealing import Keyring, is_sealed, new_key, parse_key
from pdsync.state.backends.local import LocalBackend
from pdsync.state.ledger_file import dump_ledger, parse_ledger
from pdsync.state.migrate import migrate, reopen
from pdsync.state.moved import split_marker, still_here
from pdsync.state.open import Places
from pdsync.state.store import LEDGER
from tests.state.places import ENVIRONMENT, PLACES
from tests.state.runs import store_in

if TYPE_CHECKING:
    from pathlib import Path

    from pdsync.state.backends import Stored

AT = "2026-06-01T12:00:00Z"
RING = Keyring(parse_key(new_key(), "test"))


@pytest.fixture(autouse=True)
def _credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def source(tmp_path: Path) -> Places:
    from tests.state.runs import before

    local = LocalBackend(tmp_path / "source")
    store_in(local.folder).save(before(), deletes=0)
    return here(local)


def here(local: LocalBackend) -> Places:
    return Places(local, local, local.url)


def kept(places: Places) -> bytes:
    stored = places.backend.load(LEDGER)
    assert stored is not None
    return stored.data


@pytest.mark.parametrize("kind", PLACES)
def test_there_and_back_it_is_the_same_bytes(source: Places, tmp_path: Path, kind: str) -> None:
    """From a folder to every other kind of place, and home again."""
    before = kept(source)
    with PLACES[kind](tmp_path) as place:
        there = Places(place.open(), LocalBackend(tmp_path / "cache"), place.url)
        moved = migrate(source, there, None, at=AT)
        assert dump_ledger(moved.ledger) == before
        assert kept(Places(place.open(), there.local, place.url)) == before
        assert split_marker(kept(source)) == (place.url, before)
        migrate(Places(place.open(), there.local, place.url), source, None, at=AT)
        assert kept(source) == before
        with pytest.raises(StateError, match="was moved"):
            still_here(kept(Places(place.open(), there.local, place.url)), place.url)


class Forgetful(LocalBackend):
    """Takes what it is given, and keeps something else."""

    def load(self, name: str) -> Stored | None:
        held = super().load(name)
        return held and type(held)(held.data[:-1], held.version)


def test_what_did_not_arrive_is_not_given_up(source: Places, tmp_path: Path) -> None:
    """The source is as it was, to the byte."""
    before = kept(source)
    target = here(Forgetful(tmp_path / "target"))
    with pytest.raises(StateError) as caught:
        migrate(source, target, None, at=AT)
    assert (caught.value.diagnostics[0].code, kept(source)) == ("PD575", before)


def test_a_move_that_was_broken_off_is_ended_by_doing_it_again(source: Places, tmp_path: Path) -> None:
    """Arrived, but the source not yet marked: that is no other state in the way."""
    local = LocalBackend(tmp_path / "target")
    target = here(local)
    migrate(source, target, None, at=AT, keep=True)
    migrate(source, target, None, at=AT)
    assert split_marker(kept(source))[0] == local.url


def test_marker_and_ledger_are_sealed(source: Places, tmp_path: Path) -> None:
    """With a key nothing of either can be read, and the marker is no way around it."""
    local = LocalBackend(tmp_path / "target")
    sealed = LocalBackend(tmp_path / "sealed")
    plain = kept(source)
    migrate(source, here(local), None, at=AT)
    from pdsync.state.rekey import rekey

    rekey(here(local), RING, RING)
    migrate(here(local), here(sealed), RING, at=AT)
    assert [is_sealed(kept(here(place))) for place in (local, sealed)] == [True, True]
    assert dump_ledger(reopen(here(local), RING)) == plain
    with pytest.raises(StateError, match="not encrypted"):
        migrate(source, here(sealed), RING, at=AT)


def test_a_marker_is_no_ledger() -> None:
    """And a ledger is no marker, whatever is in it."""
    assert split_marker(b"") == ("", b"")
    assert split_marker(b'{"at":1}\nx') == ("", b'{"at":1}\nx')
    assert split_marker(b'{"at":') == ("", b'{"at":')
    with pytest.raises(StateError):
        parse_ledger(b'{"at":"t","format":"pdsync-moved","to":"x","version":1}\n', "l")
