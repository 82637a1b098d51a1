"""What is read, and handed on, before the rest of a long list is there: it changes when things are done, nothing else."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from pdsync.sandbox.world import World
from pdsync.sources.pagerduty import coming, early, leaps, open_pagerduty
from pdsync.sources.pagerduty.coming import Coming, Stretch
from pdsync.sources.pagerduty.enrich import Extra
from pdsync.sources.pagerduty.leaps import Ahead, Ground, Leaps
from pdsync.sources.pagerduty.listing import Tally
from pdsync.sources.pagerduty.moments import in_utc
from pdsync.sources.pagerduty.records import Page
from pdsync.sources.pagerduty.shelf import Rows, Shelf
from pdsync.sources.pagerduty.tasks import Turns, together
from tests.source.asking import query
from tests.source.loopback import TOKEN, FakeTime, Script, staging
from tests.source.test_leaps import Analysed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, MutableMapping, Sequence

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


def test_a_list_that_is_not_cut_comes_page_by_page(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that analytics do not wait for its end, for no page more; each record comes once, as it is in the end."""
    monkeypatch.setattr(coming, "_A_PIECE", 200)
    monkeypatch.setattr(leaps, "_PER_PAGE", 100)
    recent = query("incidents", incidentAnalytics=True, apiQueryParams={"since": "-150d"})
    with staging(World(services=12, users=30, incidents=4000, incident_days=140), limit_per_minute=10**6) as stage:
        snapshot, came = read(stage, recent)
    paths = [request.path for request in stage.tape.requests]
    assert paths.index(ANALYTICS) < max(n for n, path in enumerate(paths) if path == "/incidents")
    assert paths.count(ANALYTICS) <= 4000 // 100 + 2
    whole = {record.id: record for record in snapshot.collections[recent].records}
    told = [record.id for record in came[recent]]
    assert len(whole) == 4000
    assert len(told) == len(set(told)) >= 400
    assert all((each, each.digest) == (whole[each.id], whole[each.id].digest) for each in came[recent])


def pages(*numbers: int, size: int = 3) -> list[Page]:
    """Pages of a list of records that were made one a minute, each beginning with the last one of the page before."""
    return [page(range(number * (size - 1), number * (size - 1) + size)) for number in numbers]


def page(minutes: Iterable[int]) -> Page:
    ids = [f"Q{n:02}" for n in minutes]
    made = [f"2026-01-01T00:{id_[1:]}:00Z" for id_ in ids]
    told = Page(ids, [id_.encode() for id_ in ids], more=None, total=None, following="")
    told.moments = made
    return told


def pieces(arriving: Iterable[tuple[int, Page]], monkeypatch: pytest.MonkeyPatch) -> list[tuple[list[str], Stretch]]:
    """What is told of pages as they arrive, four records at least at a time."""
    monkeypatch.setattr(coming, "_A_PIECE", 4)
    shelf, told = Shelf(), list[tuple[list[str], Stretch]]()
    one = Coming(lambda rows, stretch: told.append(([*rows], stretch)), shelf, Stretch("2026-01-01T00:00:00Z", ""))
    for number, each in arriving:
        one.page(number, each.put_on(shelf))
    return told


@pytest.mark.parametrize("order", [[0, 1, 2, 3], [3, 2, 1, 0], [1, 0, 3, 2]])
def test_pieces_of_a_list_border_on_each_other(order: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever page comes first: nobody is told twice of a record, nor of one before those that were made earlier."""
    told = pieces([(n, pages(n)[0]) for n in order], monkeypatch)
    assert told == [
        (["Q00", "Q01", "Q02", "Q03", "Q04"], Stretch("2026-01-01T00:00:00Z", "2026-01-01T00:04:00Z")),
        (["Q05", "Q06", "Q07", "Q08"], Stretch("2026-01-01T00:04:00Z", "2026-01-01T00:08:00Z")),
    ]


@pytest.mark.parametrize(
    "odd",
    [page(range(5, 8)), page([4, 3, 2]), page([]), Page(["Q04"], [b"Q04"], more=None, total=None, following="")],
    ids=["a gap", "back in time", "nothing", "no time"],
)
def test_nothing_is_told_of_pages_behind_one_that_does_not_fit(odd: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is there then is told when all of it is."""
    told = pieces(enumerate([*pages(0, 1), odd, *pages(3, 4, 5)]), monkeypatch)
    assert [ids for ids, _ in told] == [["Q00", "Q01", "Q02", "Q03", "Q04"]]


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


@pytest.mark.parametrize("order", [range(20), [1, 0, *range(2, 20)]], ids=["in order", "one before the other"])
@pytest.mark.parametrize("steps", [3, 12, 60])
def test_early_analytics_cost_no_page_more(monkeypatch: pytest.MonkeyPatch, order: Sequence[int], steps: int) -> None:
    """However many parts there are and however far they were read: what is left of one is read with what borders on it."""
    monkeypatch.setattr(leaps, "_PER_PAGE", 20)
    monkeypatch.setattr(early, "_VERY_LONG", 300)
    made = {f"Q{n:04}": datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=n) for n in range(20 * 151)}
    app, shelf, ground = Analysed({id_: in_utc(at) for id_, at in made.items()}, 20), Shelf(), Ground()

    def among(ids: Iterable[str], found: MutableMapping[str, bytes]) -> Leaps:
        sought = {id_: made[id_] for id_ in ids}
        asker = SimpleNamespace(send=app.send)
        return Leaps(
            asker, sought, {}, now=datetime.max.replace(tzinfo=UTC), found=found, tally=Tally("", None), ground=ground
        )

    async def read(_wish: Any, rows: Rows, ahead: Ahead) -> Extra:
        extra = Extra(shelf.rows())
        await among(rows, extra.values).read_full(ahead)
        return extra

    async def listed(reader: early.Early) -> None:
        names, edges = [*made], [*map(in_utc, made.values()), "end"]
        for number in order:
            begin, end = 151 * number, 151 * (number + 1)
            reader.part(shelf.rows(dict.fromkeys(names[begin:end], b"{}")), Stretch(edges[begin], edges[end]))
            for _ in range(steps):
                await asyncio.sleep(0)

    async def main() -> Rows:
        reader = early.Early({ALL: None}, early.Hands(lambda *_: shelf.rows(), read, None), shelf)
        await reader.beside(listed(reader))
        found = reader.found["__analytics", ""]
        await among(made.keys() - found.keys(), found).read()
        return found

    assert asyncio.run(main()).keys() == made.keys()
    assert len(app.asked) <= 20 * 151 // 20 + 1 + (order[0] != 0)


def test_parts_are_read_in_the_order_of_their_time() -> None:
    """So many at once; who gives up while waiting, or just when it is called, keeps nobody waiting."""
    turns, order = Turns(2), list[str]()

    async def work(rank: str) -> None:
        async with turns.of(rank):
            order.append(rank)
            await asyncio.sleep(0)

    async def main() -> None:
        jobs = [asyncio.create_task(work(rank)) for rank in "zyebdcaf"]
        await asyncio.sleep(0)
        jobs[6].cancel()
        await asyncio.sleep(0)
        jobs[4].cancel()
        await asyncio.wait(jobs)
        await asyncio.wait_for(together([work("1"), work("2")]), 10)

    asyncio.run(main())
    assert order == ["z", "y", *(rank for rank in "bcdef" if rank in order), "1", "2"]
    assert {*"becf12"} <= {*order}


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
