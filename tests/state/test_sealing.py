"""Encryption: what was written comes back, and nothing that was touched does - for every byte that there is."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pdsync.errors import StateError, UsageError
from pdsync.sealing import (
    CHUNK,
    TAG,
    Keyring,
    is_sealed,
    key_of,
    new_key,
    new_lines,
    parse_key,
    read_keys,
    read_lines,
    seal,
    unseal,
    unsealed_view,
)
from pdsync.spool import Held

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

ONE, OTHER = (parse_key(base64.b64encode(bytes([n] * 32)).decode(), "test") for n in (1, 2))
RING = Keyring(ONE)
SIZES = (0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 2 * CHUNK + 5)


def sealed(data: bytes, keyring: Keyring = RING, *, packed: bool = False) -> bytes:
    return b"".join(seal([data], keyring, packed=packed))


def opened(blocks: Iterable[bytes], keyring: Keyring | None = RING) -> bytes:
    return b"".join(unseal(blocks, keyring, "state/ledger.jsonl"))


def refusal(data: bytes, keyring: Keyring | None = RING) -> str:
    with pytest.raises(StateError) as caught:
        opened([data], keyring)
    assert "state/ledger.jsonl" in str(caught.value)
    return caught.value.diagnostics[0].code


@settings(max_examples=50)
@given(st.lists(st.binary(max_size=300), max_size=4), st.booleans(), st.integers(1, 400))
def test_what_was_sealed_comes_back(pieces: list[bytes], packed: bool, cut: int) -> None:
    """Whatever the pieces it was written in, and those it is read in."""
    data = b"".join(seal(pieces, RING, packed=packed))
    blocks = [data[n : n + cut] for n in range(0, len(data), cut)]
    assert opened(blocks) == b"".join(pieces)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("size", SIZES)
def test_sizes_around_a_chunk_come_back(size: int, packed: bool) -> None:
    """Also those that end exactly with a chunk."""
    data = bytes(n % 251 for n in range(size))
    assert opened([sealed(data, packed=packed)]) == data


def test_it_says_that_it_is_sealed_and_with_which_key() -> None:
    """The first line is JSON in the clear; what is inside does not show."""
    data = sealed(b"pagerdutyService" * 9)
    assert (is_sealed(data), is_sealed(b'{"format":"pdsync-ledger"}'), key_of(data)) == (True, False, ONE.id)
    assert b"pagerdutyService" not in data


def test_the_same_twice_is_not_the_same_bytes() -> None:
    """Every file has a key of its own, so nothing is learned from comparing two."""
    assert sealed(b"same") != sealed(b"same")


@pytest.mark.parametrize("packed", [False, True])
def test_any_changed_byte_is_found_out(packed: bool) -> None:
    """In the header and in what follows; never is anything else than the truth given."""
    data = sealed(b"one line\n" * 5, packed=packed)
    codes = set()
    for place in range(len(data)):
        changed = bytearray(data)
        changed[place] ^= 1
        codes.add(refusal(bytes(changed)))
    assert codes <= {"PD561", "PD562", "PD502"}


@settings(max_examples=50)
@given(st.integers(0, 3 * CHUNK), st.integers(-5, 3 * CHUNK + 5), st.integers(0, 2 * CHUNK + 5), st.booleans())
def test_any_part_can_be_read_alone(size: int, offset: int, length: int, packed: bool) -> None:
    """By position, as from the plain bytes."""
    data, offset = bytes(n % 251 for n in range(size)), max(0, offset)
    view = unsealed_view(Held(sealed(data, packed=packed)), RING, "s")
    assert (view.size, view.read(offset, length)) == (size, data[offset : offset + length])


def test_a_part_is_tried_when_it_is_read_and_the_end_at_once() -> None:
    """A changed chunk is found where it is read, a missing end before anything is."""
    data = sealed(bytes(3 * CHUNK))
    changed = bytearray(data)
    changed[data.index(b"\n") + CHUNK + TAG + 9] ^= 1
    view = unsealed_view(Held(bytes(changed)), RING, "s")
    assert view.read(0, CHUNK) == bytes(CHUNK)
    for attempt in (lambda: view.read(CHUNK, 1), lambda: unsealed_view(Held(data[: -CHUNK - TAG]), RING, "s")):
        with pytest.raises(StateError) as caught:
            attempt()
        assert caught.value.diagnostics[0].code == "PD562"


def test_any_cut_is_found_out() -> None:
    """Also one between two chunks, which leaves only genuine ones."""
    data = sealed(bytes(3 * CHUNK))
    head = data.index(b"\n") + 1
    cuts = [0, 1, head - 1, head, head + 1, *(head + n * (CHUNK + TAG) for n in (1, 2)), len(data) - 1]
    assert {refusal(data[:cut]) for cut in cuts} == {"PD562"}


def test_chunks_cannot_be_moved_doubled_left_out_or_lent() -> None:
    """Each vouches for its number, for being the last or not, and for the file that it belongs to."""
    first, second = (sealed(bytes([n]) * (2 * CHUNK)) for n in (1, 2))
    head = first.index(b"\n") + 1
    size = CHUNK + TAG
    a, b = first[head : head + size], first[head + size :]
    theirs = second[head : head + size]
    forged = [b + a, a + a, a + a + b, b, theirs + b, a + b + a]
    assert {refusal(first[:head] + body) for body in forged} == {"PD562"}


def test_a_wrong_key_is_named_as_such() -> None:
    """By ids, which are not the keys."""
    data = sealed(b"x")
    with pytest.raises(StateError) as caught:
        opened([data], Keyring(OTHER))
    told = str(caught.value)
    assert (caught.value.diagnostics[0].code, ONE.id in told, OTHER.id in told) == ("PD561", True, True)
    assert base64.b64encode(ONE.secret).decode() not in told


def test_without_a_key_it_is_said_that_there_is_none() -> None:
    """Not that the file is damaged."""
    assert refusal(sealed(b"x"), None) == "PD560"


def test_after_a_change_of_key_the_old_one_still_reads() -> None:
    """What is written from then on has the new one."""
    ring = Keyring(OTHER, (ONE,))
    assert (opened([sealed(b"old")], ring), key_of(sealed(b"new", ring))) == (b"old", OTHER.id)


def test_a_newer_version_is_refused_by_name() -> None:
    """It is not taken for damage."""
    assert refusal(sealed(b"x").replace(b'"version":1', b'"version":2', 1)) == "PD502"


@settings(max_examples=30)
@given(st.lists(st.binary(max_size=60), max_size=5))
def test_lines_come_back(lines: list[bytes]) -> None:
    """A file that grows: begun by one process, gone on with by another."""
    begun = new_lines(RING, "journal")
    again = read_lines(begun.head, Keyring(OTHER, (ONE,)), "journal")
    written = [(begun if n % 2 else again).seal(n, line) for n, line in enumerate(lines)]
    assert [again.unseal(n, line) for n, line in enumerate(written)] == lines
    assert not any(b"\n" in line for line in written)


def test_lines_cannot_be_changed_moved_or_lent() -> None:
    """Each vouches for its number and its file."""
    file, other = new_lines(RING, "journal"), new_lines(RING, "journal")
    line = file.seal(0, b'{"begin":[1]}')
    forged = [
        (1, line),
        (0, line[:-4] + b"AAAA"),
        (0, line[:-1]),
        (0, b"not base64"),
        (0, b""),
        (0, other.seal(0, b"")),
    ]
    for number, text in forged:
        with pytest.raises(StateError) as caught:
            file.unseal(number, text)
        assert caught.value.diagnostics[0].code == "PD562"


def test_a_new_key_is_32_random_bytes() -> None:
    """In base64, which is what the environment is to hold."""
    one, other = new_key(), new_key()
    assert (len(base64.b64decode(one)), one != other) == (32, True)
    assert read_keys({"PDSYNC_STATE_KEY": one}) == Keyring(parse_key(one, ""))


def test_keys_come_from_the_environment_or_a_file(tmp_path: Path) -> None:
    """A file holds the key in its first line; further lines, and the fallbacks, are for reading."""
    one, two, three = new_key(), new_key(), new_key()
    (tmp_path / "keys").write_text(f"{one}\n\n{two}\n")
    ring = read_keys({"PDSYNC_STATE_KEY_FILE": str(tmp_path / "keys"), "PDSYNC_STATE_KEY_FALLBACK": three})
    assert ring == Keyring(parse_key(one, ""), (parse_key(two, ""), parse_key(three, "")))
    assert read_keys({}) is None
    both = read_keys({"PDSYNC_STATE_KEY": one, "PDSYNC_STATE_KEY_FALLBACK": f"{two}, {three}"})
    assert both is not None
    assert [key.id for key in both.fallbacks] == [parse_key(two, "").id, parse_key(three, "").id]


UNUSABLE = {
    "no base64": {"PDSYNC_STATE_KEY": "correct horse battery staple"},
    "too short": {"PDSYNC_STATE_KEY": base64.b64encode(bytes(31)).decode()},
    "not ASCII": {"PDSYNC_STATE_KEY": "é" * 44},
    "a fallback alone": {"PDSYNC_STATE_KEY_FALLBACK": base64.b64encode(bytes(32)).decode()},
    "a bad fallback": {"PDSYNC_STATE_KEY": base64.b64encode(bytes(32)).decode(), "PDSYNC_STATE_KEY_FALLBACK": "x"},
    "two at once": {"PDSYNC_STATE_KEY": base64.b64encode(bytes(32)).decode(), "PDSYNC_STATE_KEY_FILE": "keys"},
    "no file": {"PDSYNC_STATE_KEY_FILE": "does-not-exist"},
}


@pytest.mark.parametrize("environment", UNUSABLE.values(), ids=UNUSABLE)
def test_what_is_no_key_is_refused_and_not_shown(environment: dict[str, str]) -> None:
    """It may be a key all the same, mistyped."""
    with pytest.raises(UsageError) as caught:
        read_keys(environment)
    assert caught.value.diagnostics[0].code == "PD563"
    assert not any(value in str(caught.value.diagnostics[0]) for value in environment.values() if len(value) > 20)


def test_an_empty_file_is_no_key(tmp_path: Path) -> None:
    """It does not mean that nothing is to be encrypted."""
    (tmp_path / "keys").write_text("\n")
    with pytest.raises(UsageError, match="empty"):
        read_keys({"PDSYNC_STATE_KEY_FILE": str(tmp_path / "keys")})
