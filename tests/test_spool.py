"""Bytes put aside are the bytes that come back, and nothing of them is left behind."""

from __future__ import annotations

import os
from threading import Thread
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pdsync.errors import StateError
from pdsync.sealing import new_veil
from pdsync.spool import BLOCK, Aside, Held, Spool, blocks, lines, open_file

if TYPE_CHECKING:
    from pathlib import Path

PIECES = st.lists(st.binary(max_size=40), max_size=12)


@pytest.mark.parametrize("aside", [Aside(), Aside(veil=new_veil)], ids=["plain", "veiled"])
@settings(max_examples=30)
@given(PIECES, st.data())
def test_what_was_put_comes_back(aside: Aside, pieces: list[bytes], data: st.DataObject) -> None:
    """Each piece by its place, whether it was written yet or not, in any order, between others that are put."""
    spool, places = aside.spool(), []
    for piece in pieces:
        places.append((spool.append(piece), piece))
        offset, expected = data.draw(st.sampled_from(places))
        assert spool.read(offset, len(expected)) == expected
    assert b"".join(blocks(spool)) == b"".join(pieces)
    assert spool.size == sum(map(len, pieces))


@settings(max_examples=30)
@given(st.lists(st.tuples(st.integers(0, 250_000), st.integers(0, 100_000) | st.integers(0, 300)), max_size=20))
def test_reading_ahead_changes_nothing(tmp_path_factory: pytest.TempPathFactory, asked: list[tuple[int, int]]) -> None:
    """In order, backwards, across what was read before and beyond the end: always the bytes of the file."""
    data = bytes(number * number % 251 for number in range(200_000))
    path = tmp_path_factory.mktemp("read") / "file"
    path.write_bytes(data)
    file = open_file(path)
    for offset, size in asked:
        assert file.read(offset, size) == data[offset : offset + size]
        assert file.read(offset + size, 7) == data[offset + size :][:7]


@given(st.binary(max_size=60).map(lambda text: text.replace(b"\r", b"\n")))
def test_lines_are_those_of_the_bytes(text: bytes) -> None:
    """Every line with its end, the last one with what it has."""
    assert (
        list(lines(Held(text)))
        == [line + b"\n" for line in text.split(b"\n")[:-1]]
        + [text.rpartition(b"\n")[2]][: not text.endswith(b"\n") and bool(text)]
    )


def test_lines_go_across_blocks() -> None:
    """A line that is longer than what is read at a time is whole."""
    long = b"x" * (2 * BLOCK + 5) + b"\n"
    assert list(lines(Held(b"a\n" + long + b"b\n"), 2)) == [long, b"b\n"]


def test_nothing_is_left_in_the_folder(tmp_path: Path) -> None:
    """The file has no name: nobody else finds it, and a killed process leaves nothing."""
    spool = Spool(tmp_path)
    spool.append(b"secret" * BLOCK)
    assert list(tmp_path.iterdir()) == []
    assert spool.read(6, 6) == b"secret"


def test_a_spool_is_its_owners_alone(tmp_path: Path) -> None:
    """Nobody else may open it by its handle either."""
    spool = Spool(tmp_path)
    assert os.fstat(spool._handle).st_mode & 0o777 == 0o600


def test_a_folder_that_cannot_be_used_is_not_needed(tmp_path: Path) -> None:
    """There is always the system's own place for temporary files."""
    assert Spool(tmp_path / "absent").append(b"a") == 0


def test_a_full_disk_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """No traceback, but what to do."""

    def full(_handle: int, _data: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    spool = Spool()
    with pytest.raises(StateError, match="No space left on device") as caught:
        spool.append(b"x" * BLOCK)
    assert (caught.value.diagnostics[0].code, "TMPDIR" in caught.value.diagnostics[0].hint) == ("PD509", True)


def test_other_threads_read_what_was_written() -> None:
    """While one thread maps records another one saves them."""
    spool = Spool()
    for number in range(1000):
        spool.append(number.to_bytes(4))
    spool.flush()
    seen: list[bool] = []

    def look() -> None:
        seen.append(all(spool.read(4 * n, 4) == n.to_bytes(4) for n in range(1000)))

    threads = [Thread(target=look) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [True] * 4


def test_an_open_file_is_read_after_another_took_its_name(tmp_path: Path) -> None:
    """A snapshot that is being read is not disturbed by the one that replaces it."""
    path, other = tmp_path / "a", tmp_path / "b"
    path.write_bytes(b"old")
    other.write_bytes(b"new")
    opened = open_file(path)
    other.replace(path)
    assert opened.read(0, 9) == b"old"


def test_a_veiled_spool_cannot_be_read_on_disk() -> None:
    """Neither what is in it, nor that two hold the same; not even equal pieces are equal there."""
    secret = b"the name of a customer, " * 4
    spools = [Aside(veil=new_veil).spool() for _ in range(2)]
    found = []
    for spool in spools:
        for _ in range(2):
            spool.append(secret)
        spool.flush()
        found.append(os.pread(spool._handle, spool.size, 0))
        assert spool.read(3, len(secret)) == (secret * 2)[3 : len(secret) + 3]
    assert all(b"customer" not in data for data in found)
    assert len({found[0], found[1], found[0][len(secret) :] + found[0][: len(secret)]}) == 3
