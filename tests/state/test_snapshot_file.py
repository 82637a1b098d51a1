"""The snapshot as a file: PagerDuty's own bytes, whole or refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import orjson
import pytest
from hypothesis import given

from pdsync.errors import StateError, error
from pdsync.model import Collection, Query, Record, Snapshot
from pdsync.state.snapshot_file import dump_snapshot, open_snapshot, parse_counts, parse_snapshot, read_through
from tests.state.strategies import snapshots

FIXTURES = Path(__file__).parents[1] / "fixtures" / "state"
SERVICES = Query("services", (("include[]", "teams"),), (("__analytics", "3"),))
SMALL = Snapshot(
    "https://api.pagerduty.com",
    "2026-06-01T12:00:00Z",
    {
        Query("users"): Collection(Query("users"), (), error("PD301", "not allowed")),
        SERVICES: Collection(
            SERVICES, (Record("PX1", b'{"id":"PX1","n":1.0}', {"__analytics": "quota"}),), requests=2, seconds=0.25
        ),
    },
    "5eed",
)


def dumped(snapshot: Snapshot) -> bytes:
    return b"".join(dump_snapshot(snapshot))


def refusal(data: bytes) -> str:
    with pytest.raises(StateError) as caught:
        read_through(parse_snapshot(data, "state/snapshot.jsonl"))
    assert "state/snapshot.jsonl" in str(caught.value)
    return caught.value.diagnostics[0].code


@given(snapshots())
def test_round_trip(snapshot: Snapshot) -> None:
    """Records keep their very bytes; queries, problems and notes are as they were."""
    assert snapshot == parse_snapshot(dumped(snapshot), "s")


@given(snapshots())
def test_equal_snapshots_are_equal_bytes(snapshot: Snapshot) -> None:
    """The order in which queries were fetched does not show."""
    backwards = dict(reversed(list(snapshot.collections.items())))
    other = replace(snapshot, collections=backwards)
    assert dumped(snapshot) == dumped(other)


def test_a_record_is_a_line() -> None:
    """Below the header stands one record a line, with PagerDuty's bytes untouched; then why it lacks something."""
    _, *lines = dumped(SMALL).splitlines()
    assert lines[1::2] == [b'{"id":"PX1","r":{"id":"PX1","n":1.0}}', b'{"id":"PX1","r":{"__analytics":"quota"}}']
    assert [orjson.loads(index)["ids"] for index in lines[::2]] == [["PX1"], ["PX1"]]


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_indented_records_are_put_on_one_line(end: bytes) -> None:
    """A record with line breaks keeps its meaning and gets one line."""
    pretty = Record("PX1", b'{\n  "id": "PX1",\n  "name": "a\\nb"\n}'.replace(b"\n", end))
    whole = Snapshot("pd", "t", {Query("services"): Collection(Query("services"), (pretty,))})
    data = dumped(whole)
    (record,) = parse_snapshot(data, "s").collections[Query("services")].records
    assert (data.count(b"\n"), orjson.loads(record.raw)) == (3, {"id": "PX1", "name": "a\nb"})


def test_any_cut_is_refused() -> None:
    """A file that lost its end is never taken for fewer records: absence would be proven by an accident."""
    data = dumped(SMALL)
    assert {refusal(data[:length]) for length in range(len(data))} == {"PD501"}


def test_an_edited_record_is_refused() -> None:
    """A record that was changed in the file does not pass."""
    assert refusal(dumped(SMALL).replace(b'"n":1.0', b'"n":2.0')) == "PD513"


def test_a_newer_version_is_refused() -> None:
    """A snapshot of a newer format is named as that."""
    assert refusal(dumped(SMALL).replace(b'"version":6', b'"version":7')) == "PD502"


def test_a_ledger_is_no_snapshot() -> None:
    """Files are not taken for each other."""
    assert refusal(b'{"format":"pdsync-ledger","version":1,"checksum":""}\n') == "PD501"


def test_a_header_without_its_parts_is_refused() -> None:
    """A header that lost its collections is damage."""
    head, _, body = dumped(SMALL).partition(b"\n")
    left = {name: value for name, value in orjson.loads(head).items() if name != "collections"}
    assert refusal(orjson.dumps(left) + b"\n" + body) == "PD501"


@pytest.mark.parametrize(("version", "taken", "private"), [(1, 2, ()), (2, 1, ("secret",)), (3, 1, ("secret",))])
def test_an_older_version_is_read(version: int, taken: int, private: tuple[str, ...]) -> None:
    """What an older pdsync saved is still understood, and saved anew in the form of now."""
    data = (FIXTURES / f"snapshot-v{version}.jsonl").read_bytes()
    snapshot = parse_snapshot(data, "s")
    services, teams, users = (snapshot.collections[query] for query in sorted(snapshot.collections, key=str))
    assert (snapshot.source, snapshot.taken_at, snapshot.digest) == (SMALL.source, SMALL.taken_at, "5eed")
    assert services == SMALL.collections[SERVICES]
    assert [(record.id, record.raw) for record in teams.records] == [
        ("PT1", '{"id":"PT1","name":"café"}'.encode()),
        ("PT2", b'{"id":"PT2","name":"a\\nb"}'),
    ]
    assert (teams.believed, teams.taken, teams.private, users.problem) == (
        2,
        taken,
        private,
        error("PD301", "not allowed"),
    )
    assert parse_snapshot(dumped(snapshot), "s") == snapshot
    assert parse_counts(data) == parse_counts(dumped(snapshot))


@pytest.mark.parametrize("version", [1, 2, 3])
def test_an_older_version_that_was_edited_is_refused(version: int) -> None:
    """Its own checksum holds for it."""
    data = (FIXTURES / f"snapshot-v{version}.jsonl").read_bytes()
    assert {refusal(data.replace(b'"n":1.0', b'"n":2.0')), refusal(data[:-1])} == {"PD501"}


@pytest.mark.parametrize("data", [dumped(SMALL), *(path.read_bytes() for path in sorted(FIXTURES.glob("snapshot-v*")))])
@pytest.mark.parametrize("kinds", [(), ("services",), ("users", "teams"), ("services", "teams", "users")])
def test_some_kinds_alone_are_those_of_the_whole(data: bytes, kinds: tuple[str, ...]) -> None:
    """What is left out is not missed by the others."""
    whole = parse_snapshot(data, "s").collections
    some = parse_snapshot(data, "s", kinds).collections
    assert some == {query: collection for query, collection in whole.items() if query.kind in kinds}


def test_what_stands_behind_the_last_record_is_refused() -> None:
    """A file with more than its header says is no snapshot."""
    assert refusal(dumped(SMALL) + b"{}\n") == "PD501"


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """A folder is no snapshot."""
    with pytest.raises(StateError, match="cannot be read"):
        open_snapshot(tmp_path)
