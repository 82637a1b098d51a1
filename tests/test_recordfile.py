"""Records as lines: read where they stand, they are the records that were written."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pdsync.errors import StateError
from pdsync.model import Collection, Query, Record, raw_digest
from pdsync.recordfile import Block, KeptRecords, RecordWriter, blocks_of, line, read_index, splice
from pdsync.spool import Found, Held, Spool
from tests.state.strategies import RECORDS, records

COLLECTIONS = st.lists(records(4), max_size=3)
IDS = st.lists(st.text(max_size=5), unique=True, max_size=6)


def kept(some: list[Record], spool: Spool) -> KeptRecords:
    writer = RecordWriter(spool)
    for record in some:
        writer.add(record.id, record.raw, record.unavailable)
    return writer.done()


def put(spool: Spool, found: dict[str, bytes]) -> dict[str, int]:
    """Where in a spool some lines begin."""
    return {id_: spool.append(line(id_, raw)[0]) for id_, raw in found.items()}


def block(spool: Spool, found: dict[str, bytes], places: dict[str, int]) -> Block:
    made = Block(spool)
    for id_, raw in found.items():
        made.add(id_, places[id_] + line(id_, raw)[1], len(raw), raw_digest(raw))
    return made


@settings(max_examples=50)
@given(COLLECTIONS)
def test_kept_records_are_the_records(collections: list[list[Record]]) -> None:
    """Whatever else is in the spool: in order, by number, from the end, as a slice, and equal to a plain tuple."""
    spool = Spool()
    for some, found in [(some, kept(some, spool)) for some in collections]:
        assert list(found) == some
        assert found == tuple(some)
        assert Collection(Query("a"), tuple(some)) == Collection(Query("a"), found)
        assert [found[number] for number in range(len(some))] == some
        assert [found[-number] for number in range(1, len(some) + 1)] == some[::-1]
        assert list(found[1:3]) == some[1:3]
        assert [(r.size, r.digest, r.unavailable) for r in found] == [
            (len(r.raw), raw_digest(r.raw), r.unavailable) for r in some
        ]


@settings(max_examples=50)
@given(COLLECTIONS)
def test_written_by_either_way_lines_are_the_same(collections: list[list[Record]]) -> None:
    """From a spool or from memory: the same bytes, size and index; and what has that index gives the same again."""
    spool = Spool()
    for some in collections:
        for (name, one), (also, other) in zip(blocks_of(kept(some, spool)), blocks_of(some), strict=True):
            text, index = b"".join(one.lines()), list(one.index())
            assert (name, text) == (also, b"".join(other.lines()))
            assert (len(one), one.size, index) == (len(other), other.size, list(other.index()))
            again = read_index(Held(b"--" + text), 2, index)
            assert (b"".join(again.lines()), again.size, list(again.index())) == (text, one.size, index)


@given(records(6, least=1), records(6), st.data())
def test_a_spool_goes_on_from_a_file(old: list[Record], new: list[Record], data: st.DataObject) -> None:
    """Records of a file and records put down since stand in one block, in any order, each where it was written."""
    (_, before), _ = blocks_of(old)
    text = b"".join(before.lines())
    base = Found(Held(text), "old.jsonl")
    found = read_index(base, 0, before.index())
    spool = Spool(base=base)
    fresh = kept(new, spool).rows
    choice = data.draw(st.permutations([(found, n) for n in range(len(old))] + [(fresh, n) for n in range(len(new))]))
    made = Block(spool)
    for block, n in choice:
        made.add(block.ids[n], block.offset(n), block.length(n), block.digest(n))
    assert [made.raw(n) for n in range(len(made))] == [block.raw(n) for block, n in choice]
    assert b"".join(made.lines()) == b"".join(line(block.ids[n], block.raw(n))[0] for block, n in choice)


@given(records(4, least=1), st.data())
def test_what_another_process_wrote_is_checked(some: list[Record], data: st.DataObject) -> None:
    """A record that was changed in its file is not read; what this process put down itself is not looked at twice."""
    (_, before), _ = blocks_of(some)
    text, at = bytearray(b"".join(before.lines())), data.draw(st.integers(0, len(some) - 1))
    place = read_index(Held(bytes(text)), 0, before.index()).offset(at)
    text[place] ^= 1
    spoilt = read_index(Found(Held(bytes(text)), "old.jsonl"), 0, before.index())
    with pytest.raises(StateError, match=r"old\.jsonl"):
        spoilt.raw(at)
    assert [spoilt.raw(n) for n in range(len(some)) if n != at] == [r.raw for n, r in enumerate(some) if n != at]


@settings(max_examples=100)
@given(IDS, st.data())
def test_lines_are_found_wherever_they_stand(ids: list[str], data: st.DataObject) -> None:
    """In whatever order they were put down, with others in between: written, they stand in the order of the block."""
    spool = Spool()
    found = {id_: msgspec.json.encode(data.draw(st.text(max_size=9))) for id_ in ids}
    order = data.draw(st.permutations(ids))
    places = put(spool, {id_: found[id_] for id_ in order})
    some = {id_: raw for id_, raw in found.items() if data.draw(st.booleans())}
    text = b"".join(block(spool, some, places).lines())
    assert text == b"".join(line(id_, raw)[0] for id_, raw in some.items())


@settings(max_examples=100)
@given(IDS, st.data())
def test_a_record_in_pieces_is_its_bytes_with_the_values(ids: list[str], data: st.DataObject) -> None:
    """An enrichment stands in those records that have it, and what tells two records apart tells their pieces apart."""
    spool = Spool()
    rows = {id_: msgspec.json.encode({"n": data.draw(st.integers(0, 1))}) for id_ in ids}
    extras = {
        name: {id_: msgspec.json.encode(data.draw(st.integers(0, 1))) for id_ in ids if data.draw(st.booleans())}
        for name in ("__one", "__two")
    }
    values = {name: block(spool, found, put(spool, found)) for name, found in extras.items()}
    found = list(KeptRecords(block(spool, rows, put(spool, rows)), values))
    whole = [splice(raw, {name: of[id_] for name, of in extras.items() if id_ in of}) for id_, raw in rows.items()]
    assert [(record.id, record.raw, record.size) for record in found] == [
        (id_, raw, len(raw)) for id_, raw in zip(ids, whole, strict=True)
    ]
    assert all((one.digest == two.digest) == (one.raw == two.raw) for one, two in pairwise(found))


@settings(max_examples=50)
@given(records(4, least=1), st.data())
def test_another_record_is_another_index(some: list[Record], data: st.DataObject) -> None:
    """Id, bytes and reasons count, and so does the order."""

    def indexes(found: list[Record]) -> list[bytes]:
        return [b"".join(block.index()) for _, block in blocks_of(found)]

    number = data.draw(st.integers(0, len(some) - 1))
    old = some[number]
    new = data.draw(RECORDS.filter(lambda record: record.id not in {each.id for each in some} - {old.id}))
    others = [*some[:number], new, *some[number + 1 :]]
    assert (indexes(some) == indexes(others)) == (old == new)
    assert (indexes(some[::-1]) == indexes(some)) == (some[::-1] == some)


def test_a_place_outside_is_none() -> None:
    """As of any sequence."""
    found = kept([Record("a", b"1")], Spool())
    with pytest.raises(IndexError):
        found[1]
    assert found != [Record("a", b"2")]
    assert found != "a"


@pytest.mark.parametrize("text", [b"{", b'{"ids":["a"],"sizes":[],"digests":""}', b'{"ids":[],"sizes":[]}'])
def test_an_index_that_is_none_is_refused(text: bytes) -> None:
    """Whatever is wrong with it."""
    with pytest.raises(ValueError, match=r".+"):
        read_index(Held(b""), 0, [text])


def test_a_collection_of_kept_records_can_be_changed_around_them() -> None:
    """The records stay where they are."""
    found = kept([Record("a", b"1")], Spool())
    assert replace(Collection(Query("a"), found), believed=1).records is found
