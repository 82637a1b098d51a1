"""A kept snapshot that is not as it was written: what can be read again is, and the outcome is the same."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pdsync.errors import StateError
from pdsync.sandbox.world import World
from pdsync.state.snapshot_file import dump_snapshot, parse_counts, parse_digest, parse_snapshot, read_through
from tests.source.asking import fetch, query
from tests.source.loopback import staging

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pdsync.model import Snapshot
    from tests.source.loopback import Stage

QUERIES = (
    query("services"),
    query("incidents", incidentAnalytics=True),
    query("users"),
    query("analytics.raw.incidents", apiQueryParams={"months": 2}),
)
SETTLED = timedelta(days=7)


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with staging(World(services=5, users=5, incidents=40, incident_days=25), limit_per_minute=10**6) as staged:
        yield staged


@pytest.fixture(scope="module")
def fresh(stage: Stage) -> Snapshot:
    return fetch(stage, *QUERIES)


@pytest.fixture(scope="module")
def whole(fresh: Snapshot) -> bytes:
    return b"".join(dump_snapshot(fresh))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_byte_may_be_another(stage: Stage, fresh: Snapshot, whole: bytes, data: st.DataObject) -> None:
    """The file is refused as a whole, or the next snapshot is what it would be without it, and sound again."""
    at = data.draw(st.integers(0, len(whole) - 1) | st.integers(0, whole.index(b"\n")))
    spoilt = whole[:at] + bytes([whole[at] ^ data.draw(st.integers(1, 255))]) + whole[at + 1 :]
    try:
        earlier = parse_snapshot(spoilt, "old.jsonl")
    except StateError:
        return
    assert (parse_digest(_head(spoilt)), parse_counts(_head(spoilt))) == (fresh.digest, parse_counts(_head(whole)))
    again = fetch(stage, *QUERIES, previous=earlier, settled_after=SETTLED)
    assert (again.digest, {note.code for note in again.notes} <= {"PD514"}) == (fresh.digest, True)
    read_through(parse_snapshot(b"".join(dump_snapshot(again)), "new.jsonl"))


def _head(data: bytes) -> bytes:
    return data[: data.index(b"\n") + 1]


def test_all_records_may_be_others(stage: Stage, fresh: Snapshot, whole: bytes) -> None:
    """Not one of them is believed, and it is said once; what is read is sound."""
    earlier = parse_snapshot(whole.replace(b"summary", b"summery").replace(b"_count", b"-count"), "old.jsonl")
    again = fetch(stage, *QUERIES, previous=earlier, settled_after=SETTLED)
    assert again.digest == fresh.digest
    (note,) = again.notes
    assert note.detail.startswith("old.jsonl: analytics.raw.incidents, incidents, services, users: ")
    assert fetch(stage, *QUERIES, previous=again, settled_after=SETTLED).notes == ()
