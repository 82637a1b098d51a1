"""Analytics of incidents cost few requests, however many incidents there are."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pdsync.sandbox.world import World
from pdsync.sources.pagerduty import leaps
from pdsync.sources.pagerduty.leaps import Leaps
from pdsync.sources.pagerduty.listing import Tally
from pdsync.sources.pagerduty.moments import in_utc
from pdsync.sources.pagerduty.records import Malformed
from pdsync.transport import Reply
from tests.source.asking import fetch, only, parsed, query
from tests.source.loopback import Script, staging

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.source.loopback import Asgi, Stage


NOW = datetime(2026, 6, 1, tzinfo=UTC)


@pytest.fixture
def stage() -> Iterator[Stage]:
    with staging(World(services=12, users=30, incidents=230, incident_days=28)) as staged:
        yield staged


class Analysed:
    """Raw analytics of incidents, so many to a page at most, and what was asked of it."""

    silent = False
    """Whether it does not say that there is more."""

    def __init__(self, made: dict[str, str], size: int) -> None:
        self.rows = [{"id": id_, "created_at": at.removesuffix("Z")} for id_, at in made.items()]
        self.rows.sort(key=lambda row: row["created_at"])
        self.size = size
        self.asked: list[dict[str, Any]] = []
        self.open = self.most = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body = json.loads((await receive())["body"])
        self.asked.append(body)
        since, until = (body["filters"][f"created_at_{end}"].removesuffix("Z") for end in ("start", "end"))
        found = [row for row in self.rows if since <= row["created_at"] < until]
        names = [row["id"] for row in found]
        begin = names.index(body["starting_after"]) + 1 if "starting_after" in body else 0
        part = found[begin : begin + self.size]
        more = begin + self.size < len(found)
        page = {"data": part, "more": more, "first": None, "last": part[-1]["id"] if part else None}
        if self.silent:
            del page["more"]
        await Script([(200, {}, json.dumps(page).encode())])(scope, receive, send)

    async def send(self, _method: str, _path: str, *, body: Any, **_: Any) -> Any:
        """The same without a server; notes how many were asked for at the same time."""
        answers: list[bytes] = []

        async def receive() -> Any:
            return {"body": json.dumps(body).encode()}

        async def collect(message: Any) -> None:
            answers.append(message.get("body", b""))

        self.open += 1
        self.most = max(self.most, self.open)
        await asyncio.sleep(0)
        await self({}, receive, collect)
        self.open -= 1
        return Reply(200, {}, b"".join(answers))


def analysed(stage: Stage, size: int, **others: Any) -> tuple[dict[str, Any], Analysed]:
    """Incidents of a mapping with their analytics, of which a page holds so many."""
    made = parsed(only(fetch(stage, query("incidents", apiQueryParams={"date_range": "all"}))))
    app = Analysed({id_: incident["created_at"] for id_, incident in made.items()}, size)
    stage.tape.before = lambda r: app if r.path == "/analytics/raw/incidents" else None
    wanted = query("incidents", incidentAnalytics=True, apiQueryParams={"date_range": "all", **others})
    return parsed(only(fetch(stage, wanted))), app


def test_pages_of_incident_analytics_are_followed(stage: Stage) -> None:
    """Every incident gets its row, in no more requests than there are pages."""
    incidents, app = analysed(stage, 90)
    assert len(incidents) == 230
    assert {id_: incident["__analytics"]["id"] for id_, incident in incidents.items()} == {
        id_: id_ for id_ in incidents
    }
    assert len(app.asked) == 3


def test_pages_that_do_not_say_whether_there_is_more_are_followed(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row that was not asked for is not one that does not exist."""
    monkeypatch.setattr(Analysed, "silent", True)
    incidents, _ = analysed(stage, 90)
    assert [id_ for id_, incident in incidents.items() if incident["__analytics"] is None] == []


def test_few_incidents_cost_few_requests(stage: Stage) -> None:
    """The open ones among many: pages of those in between are leapt over."""
    incidents, app = analysed(stage, 10, statuses=["triggered", "acknowledged"])
    assert 3 < len(incidents) < 15
    assert all(incident["__analytics"]["id"] == id_ for id_, incident in incidents.items())
    assert len(app.asked) <= len(incidents)


def test_incidents_made_at_once_are_read_through(stage: Stage) -> None:
    """More of them in one second than a page holds: only the cursor leads on."""
    at = "2026-05-20T00:00:00Z"
    body = json.dumps({"incidents": [{"id": f"Q{n}", "created_at": at} for n in range(50)], "more": False, "total": 50})
    app = Analysed({f"Q{n}": at for n in range(50)}, 8)
    apps: dict[str, Asgi] = {"/incidents": Script([(200, {}, body.encode())]), "/analytics/raw/incidents": app}
    stage.tape.before = lambda r: apps.get(r.path)
    incidents = parsed(only(fetch(stage, query("incidents", incidentAnalytics=True))))
    assert [incident["__analytics"]["id"] for incident in incidents.values()] == list(incidents)
    assert (len(incidents), len(app.asked)) == (50, 7)


@pytest.mark.parametrize("order", [("30d", "365d"), ("365d", "30d")])
def test_mappings_of_one_list_may_come_in_any_order(stage: Stage, order: tuple[str, str]) -> None:
    """What lies within the list of another one is analysed with it, whichever is written first."""
    wanted = [query("incidents", incidentAnalytics=True, apiQueryParams={"since": since}) for since in order]
    collections = fetch(stage, *wanted).collections.values()
    assert [each.complete for each in collections] == [True, True]
    assert all(any(incident["__analytics"] for incident in parsed(each).values()) for each in collections)


def test_incidents_of_two_lists_are_analysed_and_asked_about_once(stage: Stage) -> None:
    """Of two mappings whose lists stay apart, the records that are in both; each gets what it would get alone."""
    both: dict[str, Any] = {"incidentAnalytics": True, "includeCustomFields": True}
    wanted = [
        query("incidents", apiQueryParams={"since": "14d"}, **both),
        query("incidents", apiQueryParams={"since": "28d", "statuses": ["resolved"]}, **both),
    ]
    alone = {each: parsed(only(fetch(stage, each))) for each in wanted}
    stage.tape.requests.clear()
    found = fetch(stage, *wanted).collections
    assert {each: parsed(collection) for each, collection in found.items()} == alone
    assert {collection.sharing for collection in found.values()} == {"apart: other since"}
    ids = set().union(*alone.values())
    assert len(ids) < sum(map(len, alone.values()))
    assert stage.tape.count("/analytics/raw/incidents") == 1
    assert sum(request.path.endswith("/values") for request in stage.tape.requests) == len(ids)


def test_pages_that_lead_nowhere_end() -> None:
    """The same rows under one new way on after the other: that is given up, not followed for ever."""
    made = {f"Q{n}": NOW - timedelta(days=9, hours=-n) for n in range(6)}
    first = [{"id": id_, "created_at": in_utc(at)} for id_, at in made.items()][:3]
    asked: list[Any] = []

    async def send(_method: str, _path: str, *, body: Any, **_: Any) -> Any:
        asked.append(body)
        return Reply(200, {}, json.dumps({"data": first, "more": True, "last": f"C{len(asked)}"}).encode())

    leaps = Leaps(SimpleNamespace(send=send), made, {}, now=NOW, found={}, tally=Tally("", None))
    with pytest.raises(Malformed):
        asyncio.run(leaps.read())
    assert len(asked) < 2 * len(made)


def test_a_page_that_was_promised_and_stays_empty_is_named() -> None:
    """There is more, said the one before: the incidents that may be on it are not such without analytics."""
    made = {f"Q{n}": NOW - timedelta(days=9) for n in range(6)}
    app = Analysed({id_: in_utc(at) for id_, at in made.items()}, 3)

    async def send(*given_: Any, body: Any, **more: Any) -> Any:
        if "starting_after" in body:
            return Reply(200, {}, b'{"data":[],"more":false,"last":null}')
        return await app.send(*given_, body=body, **more)

    with pytest.raises(Malformed):
        asyncio.run(Leaps(SimpleNamespace(send=send), made, {}, now=NOW, found={}, tally=Tally("", None)).read())


@pytest.mark.parametrize(("days", "empty", "found", "asked"), [(5, 1, True, 2), (5, 9, False, 2), (1, 1, False, 1)])
def test_an_answer_without_rows_is_not_believed_at_once(days: int, empty: int, found: bool, asked: int) -> None:
    """Of incidents that are days old there are some; those of the last day may well have none, which costs no more."""
    made = {"Q1": NOW - timedelta(days=days)}
    app = Analysed({id_: in_utc(at) for id_, at in made.items()}, 1000)
    rows: dict[str, bytes] = {}

    async def send(*given_: Any, **more: Any) -> Any:
        reply = await app.send(*given_, **more)
        return reply if len(app.asked) > empty else Reply(200, {}, b'{"data":[],"more":false,"last":null}')

    asyncio.run(Leaps(SimpleNamespace(send=send), made, {}, now=NOW, found=rows, tally=Tally("", None)).read())
    assert (bool(rows), len(app.asked)) == (found, asked)


@given(st.integers(1, 40), st.lists(st.integers(0, 3 * 366 * 24), min_size=1, max_size=40), st.sets(st.integers(0, 39)))
def test_rows_are_found_wherever_they_are(size: int, hours: list[int], wanted: set[int]) -> None:
    """Whatever the density: all that are sought and have a row, in no more requests than incidents or pages."""
    moments = {f"Q{n}": datetime(2022, 1, 1, tzinfo=UTC) + timedelta(hours=hour) for n, hour in enumerate(hours)}
    app = Analysed({id_: in_utc(at) for id_, at in moments.items()}, size)
    sought = {id_: at for n, (id_, at) in enumerate(moments.items()) if n in wanted}

    found: dict[str, bytes] = {}
    asyncio.run(Leaps(SimpleNamespace(send=app.send), sought, {}, now=NOW, found=found, tally=Tally("", None)).read())
    assert found.keys() == sought.keys()
    assert len(app.asked) <= max(len(sought), len(hours) // size + 4)


@pytest.mark.parametrize(
    ("count", "requests", "at_once"), [(1000, 1, 1), (3500, 4, 2), (12_000, 12, 6), (24_000, 24, 8)]
)
def test_many_are_read_side_by_side(count: int, requests: int, at_once: int) -> None:
    """All incidents of a time in as few requests as they have pages, several at the same time."""
    made = {f"Q{n}": datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=n) for n in range(count)}
    app = Analysed({id_: in_utc(at) for id_, at in made.items()}, 1000)
    found: dict[str, bytes] = {}
    asyncio.run(Leaps(SimpleNamespace(send=app.send), made, {}, now=NOW, found=found, tally=Tally("", None)).read())
    assert found.keys() == made.keys()
    assert (len(app.asked), app.most) == (requests, at_once)


@pytest.mark.parametrize(("every", "most"), [(25, 13), (3, 14)])
def test_rows_that_nobody_asked_for_do_not_make_every_part_a_page_longer(every: int, most: int) -> None:
    """How many there are is learnt from the first page, and the parts that are read side by side are cut so."""
    made = {f"Q{n}": datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=n) for n in range(12_000)}
    app = Analysed({id_: in_utc(at) for id_, at in made.items()}, 1000)
    sought = {id_: at for n, (id_, at) in enumerate(made.items()) if n % every}
    found: dict[str, bytes] = {}
    asyncio.run(Leaps(SimpleNamespace(send=app.send), sought, {}, now=NOW, found=found, tally=Tally("", None)).read())
    assert found.keys() == sought.keys()
    assert 12 <= len(app.asked) <= most
    assert app.most >= 6


@pytest.mark.parametrize("every", [5, 19, 200])
def test_a_few_among_very_many_cost_what_their_pages_cost(monkeypatch: pytest.MonkeyPatch, every: int) -> None:
    """Where most rows are of others, no page is read for one incident that is on that of another one."""
    monkeypatch.setattr(leaps, "_PER_PAGE", 20)
    made = {f"Q{n}": datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=n) for n in range(9000)}
    app = Analysed({id_: in_utc(at) for id_, at in made.items()}, 20)
    sought = {id_: at for n, (id_, at) in enumerate(made.items()) if n % every == 0}
    found: dict[str, bytes] = {}
    asyncio.run(Leaps(SimpleNamespace(send=app.send), sought, {}, now=NOW, found=found, tally=Tally("", None)).read())
    assert found.keys() == sought.keys()
    assert len(app.asked) <= min(len(sought), 9000 // 20) + 9


@pytest.mark.parametrize(("every", "pages", "at_once"), [(150, 27, 8), (4000, 6, 1)])
def test_few_that_are_far_apart_are_read_side_by_side(every: int, pages: int, at_once: int) -> None:
    """Nobody waits for many pages one after the other, though few incidents are on them; of few pages none is wasted."""
    made = {f"Q{n}": datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=n) for n in range(24_000)}
    app = Analysed({id_: in_utc(at) for id_, at in made.items()}, 1000)
    sought = {id_: at for n, (id_, at) in enumerate(made.items()) if n % every == 0}
    found: dict[str, bytes] = {}
    asyncio.run(Leaps(SimpleNamespace(send=app.send), sought, {}, now=NOW, found=found, tally=Tally("", None)).read())
    assert found.keys() == sought.keys()
    assert len(app.asked) <= pages
    assert app.most == at_once
