"""What is read, and handed on, before the rest of a long list is there: it changes when things are done, nothing else."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from pdsync.sandbox.world import World
from pdsync.sources.pagerduty import early, leaps, open_pagerduty
from pdsync.sources.pagerduty.listing import Tally
from tests.source.asking import query
from tests.source.loopback import TOKEN, FakeTime, Script, staging

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pdsync.model import Query, Record, Snapshot
    from tests.source.loopback import Stage

ANALYTICS = "/analytics/raw/incidents"
WIDE: dict[str, Any] = {"since": "-700d"}
OPEN = query("incidents", apiQueryParams={**WIDE, "statuses": ["triggered", "acknowledged"]})
RESOLVED = query("incidents", incidentAnalytics=True, apiQueryParams={**WIDE, "statuses": ["resolved"]})
ALL = query("incidents", incidentAnalytics=True, apiQueryParams=WIDE)


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    """Four half-years of incidents, and analytics of which a page holds twenty."""
    monkeypatch.setattr(leaps, "_PER_PAGE", 20)
    with staging(World(services=12, users=30, incidents=400, incident_days=690), limit_per_minute=10**6) as staged:
        yield staged


def read(stage: Stage, *queries: Query) -> tuple[Snapshot, dict[Query, list[Record]]]:
    """A snapshot, and what was handed on before it was whole."""
    came: dict[Query, list[Record]] = {each: [] for each in queries}

    def note(query: Query, records: Sequence[Record]) -> None:
        came[query] += records

    async def main() -> Snapshot:
        async with open_pagerduty(stage.url, token=TOKEN, now=stage.now, timing=FakeTime().timing()) as source:
            return await source.fetch(queries, came=note)

    return asyncio.run(main()), came


@pytest.mark.parametrize("queries", [(ALL,), (OPEN, RESOLVED), (query("incidents", apiQueryParams=WIDE),)])
def test_what_comes_early_is_what_comes_in_the_end(
    stage: Stage, queries: tuple[Query, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each record once, as it is in the snapshot; which is the same, for no more requests, as without."""
    snapshot, came = read(stage, *queries)
    cost = len(stage.tape.requests)
    assert sum(map(len, came.values())) >= 20
    for each, records in came.items():
        whole = {record.id: record for record in snapshot.collections[each].records}
        assert [record.id for record in records] == list(dict.fromkeys(record.id for record in records))
        assert all((record, record.digest) == (whole[record.id], whole[record.id].digest) for record in records)
    monkeypatch.setattr(early, "can_be_early", lambda *_: False)
    stage.tape.requests.clear()
    late, _ = read(stage, *queries)
    assert (late.digest, late.collections.keys()) == (snapshot.digest, snapshot.collections.keys())
    fragments = 4  # the last page of a part may not be full
    assert cost <= len(stage.tape.requests) + fragments


def test_lists_that_are_whole_come_while_longer_ones_are_read(stage: Stage) -> None:
    """With all they shall have, as they are in the snapshot, each record once."""
    services, users = query("services"), query("users")
    snapshot, came = read(stage, ALL, services, users)
    for each in (services, users):
        told = [(record, record.digest) for record in snapshot.collections[each].records]
        assert [(record, record.digest) for record in came[each]] == told
        assert told
    assert all(b'"__analytics"' in record.raw for record in came[services])


def test_analytics_are_asked_for_while_the_list_is_read(stage: Stage) -> None:
    """Neither waits for the other."""
    read(stage, ALL)
    paths = [request.path for request in stage.tape.requests]
    last_of_list = max(n for n, path in enumerate(paths) if path == "/incidents")
    assert paths.index(ANALYTICS) < last_of_list


@pytest.mark.parametrize("status", [402, 403])
def test_analytics_that_are_refused_are_not_asked_for_with_every_part(stage: Stage, status: int) -> None:
    """A refusal holds for all; each incident says why it has none, and the list is whole."""
    refusal = Script([(status, {}, b'{"error":{"message":"no"}}')])
    stage.tape.before = lambda request: refusal if request.path == ANALYTICS else None
    snapshot, came = read(stage, ALL)
    collection = snapshot.collections[ALL]
    assert collection.complete
    assert len(collection.records) == 400
    assert all("__analytics" in record.unavailable for record in collection.records)
    assert came == {ALL: []}
    at_the_end = 8  # as many parts are begun at once
    assert stage.tape.count(ANALYTICS) <= 1 + at_the_end


def test_analytics_that_fail_early_are_read_at_the_end(stage: Stage) -> None:
    """An answer that makes no sense stops what is early, and nothing is lost."""
    broken = Script([(200, {}, b'{"data":[')])
    asked = iter(range(10**6))
    stage.tape.before = lambda request: broken if request.path == ANALYTICS and next(asked) == 0 else None
    snapshot, _ = read(stage, ALL)
    assert not any(record.unavailable for record in snapshot.collections[ALL].records)


def test_a_whole_that_nobody_counted_has_as_many_rows_as_its_parts() -> None:
    """So that time left can be told of a list that is cut by time; what is counted as a whole is not counted twice."""
    told: list[tuple[int, int | None]] = []
    whole = Tally("incidents", lambda _, done, total: told.append((done, total)))
    one, other = whole.part(), whole.part()
    one.expect(30)
    other.expect(12000)
    inner = other.part()
    inner.expect(7000)
    inner.add(5)
    one.add(30)
    assert told == [(5, 12030), (35, 12030)]
    whole.expect(12031)
    one.expect(31)
    one.add(1)
    assert told[-1] == (36, 12031)
