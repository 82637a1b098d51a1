"""Records as lines: read where they stand, they are the records that were written."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pdsync.model import Collection, Query, Record, raw_digest
from pdsync.recordfile import KeptRecords, RecordWriter, Uneven, checksum_of, read_records, written_lines
from pdsync.spool import Held, Spool, lines
from tests.state.strategies import RECORDS

COLLECTIONS = st.lists(st.lists(RECORDS, max_size=4), max_size=3)


def kept(records: list[Record], spool: Spool) -> KeptRecords:
    writer = RecordWriter(spool)
    for record in records:
        writer.add(record.id, record.raw, record.unavailable)
    return writer.done()


@settings(max_examples=50)
@given(COLLECTIONS)
def test_kept_records_are_the_records(collections: list[list[Record]]) -> None:
    """Whatever else is in the spool: in order, by number, from the end, as a slice, and equal to a plain tuple."""
    spool = Spool()
    for records, found in [(records, kept(records, spool)) for records in collections]:
        assert list(found) == records
        assert found == tuple(records)
        assert Collection(Query("a"), tuple(records)) == Collection(Query("a"), found)
        assert [found[number] for number in range(len(records))] == records
        assert [found[-number] for number in range(1, len(records) + 1)] == records[::-1]
        assert list(found[1:3]) == records[1:3]
        assert [(r.size, r.digest, r.unavailable) for r in found] == [
            (len(r.raw), raw_digest(r.raw), r.unavailable) for r in records
        ]


@settings(max_examples=50)
@given(COLLECTIONS)
def test_written_by_either_way_lines_are_the_same(collections: list[list[Record]]) -> None:
    """From a spool or from memory: the same bytes, size and checksum; and reading them gives the same again."""
    spool = Spool()
    for records in collections:
        found = kept(records, spool)
        text = b"".join(found.lines())
        assert text == b"".join(written_lines(records))
        assert (found.checksum, found.size) == checksum_of(records)
        again = read_records(Held(b"--" + text), 2, lines(Held(text)))
        assert (again, again.checksum, again.size) == (found, found.checksum, found.size)


@settings(max_examples=50)
@given(st.lists(RECORDS, min_size=1, max_size=4), st.data())
def test_another_record_is_another_checksum(records: list[Record], data: st.DataObject) -> None:
    """Id, bytes and reasons count, and so does the order."""
    number = data.draw(st.integers(0, len(records) - 1))
    old, new = records[number], data.draw(RECORDS)
    others = [*records[:number], new, *records[number + 1 :]]
    assert (checksum_of(records) == checksum_of(others)) == (old == new)
    assert (checksum_of(records[::-1]) == checksum_of(records)) == (records[::-1] == records)


def test_a_place_outside_is_none() -> None:
    """As of any sequence."""
    found = kept([Record("a", b"1")], Spool())
    with pytest.raises(IndexError):
        found[1]
    assert found != [Record("a", b"2")]
    assert found != "a"


@pytest.mark.parametrize("text", [b'{"r":1,"id":"a"}\n', b'{"id": "a","r":1}\n', b'{"id":"a","r":1}'])
def test_a_line_in_another_form_is_named(text: bytes) -> None:
    """Its record could not be found by its place."""
    with pytest.raises(Uneven, match="line of a"):
        read_records(Held(text), 0, [text])


def test_a_line_that_is_none_is_refused() -> None:
    """As the decoder says."""
    with pytest.raises(msgspec.DecodeError):
        read_records(Held(b"{"), 0, [b"{"])


def test_a_collection_of_kept_records_can_be_changed_around_them() -> None:
    """The records stay where they are."""
    found = kept([Record("a", b"1")], Spool())
    assert replace(Collection(Query("a"), found), believed=1).records is found
