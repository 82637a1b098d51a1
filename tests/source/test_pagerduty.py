"""The PagerDuty source, against the sandbox over real HTTP."""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import time
from bisect import bisect_left, bisect_right
from collections import Counter
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx
import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pdsync.errors import Interrupted, Severity, SourceError, UsageError, error
from pdsync.kinds import KINDS, Kind, Param, read_selector
from pdsync.model import Collection, Query, Record, Snapshot
from pdsync.recordfile import one_line, splice
from pdsync.sandbox.pagerduty import pagerduty_app
from pdsync.sandbox.world import World
from pdsync.sources.pagerduty import PagerDuty, open_pagerduty
from pdsync.sources.pagerduty.auth import (
    ClientCredentials,
    LoginRefused,
    account_of,
    login_of,
    make_auth,
    refused_hint,
    token_auth,
)
from pdsync.sources.pagerduty.enrich import Extra, shortcomings
from pdsync.sources.pagerduty.listing import Lister, Tally, counted
from pdsync.sources.pagerduty.moments import Span, in_utc, moment
from pdsync.sources.pagerduty.records import FieldReader, Page, PageReader, array
from pdsync.sources.pagerduty.records import replace as replace_key
from pdsync.sources.pagerduty.run import Counting
from pdsync.sources.pagerduty.source import ACCEPT, digest
from pdsync.sources.pagerduty.trail import Trail
from pdsync.transport import PAGERDUTY_LIMITS, ApiClient, FixedHeaders, Reply, Timing, Unreachable
from tests.source.loopback import (
    OK,
    TOKEN,
    Asgi,
    FakeTime,
    Request,
    Script,
    Stage,
    Tape,
    dropping,
    reworded,
    serving,
    staging,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence


def utc(text: str) -> datetime:
    """A moment that is written out."""
    return datetime.fromisoformat(text)


def query(kind: str, selector: dict[str, Any] | None = None) -> Query:
    """The query of a selector."""
    found, problems = read_selector(kind, selector or {})
    assert found is not None, problems
    return found


def fetch(stage: Stage, *queries: Query, token: str = TOKEN, **others: Any) -> Snapshot:
    """A snapshot of a stage."""

    async def main() -> Snapshot:
        options = {"now": stage.now, "timing": FakeTime().timing(), **others}
        progress = options.pop("progress", None)
        async with open_pagerduty(stage.url, token=token, **options) as source:
            return await source.fetch(queries, progress)

    return asyncio.run(main())


def only(snapshot: Snapshot) -> Collection:
    (collection,) = snapshot.collections.values()
    return collection


def ids(collection: Collection) -> list[str]:
    return [record.id for record in collection.records]


def parsed(collection: Collection) -> dict[str, Any]:
    return {record.id: json.loads(record.raw) for record in collection.records}


def ask(stage: Stage, method: str, path: str, **others: Any) -> Any:
    """What the sandbox answers to a plain request."""
    headers = {"authorization": f"Token token={TOKEN}", "accept": ACCEPT}
    answer = httpx.request(method, stage.url + path, headers=headers, trust_env=False, verify=False, **others)
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.fixture
def stage() -> Iterator[Stage]:
    with staging(World(services=12, users=30, incidents=230, incident_days=28)) as staged:
        yield staged


@pytest.fixture
def company() -> Iterator[Stage]:
    with staging(World(services=450, escalation_policies=40, users=130, incidents=0)) as staged:
        yield staged


# --- whole lists -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("services", lambda world: set(world.services)),
        ("users", lambda world: set(world.users)),
        ("teams", lambda world: set(world.teams)),
        ("schedules", lambda world: set(world.schedules)),
        ("escalation_policies", lambda world: set(world.policies)),
        ("priorities", lambda world: set(world.priorities)),
        ("business_services", lambda world: set(world.business_services)),
        ("vendors", lambda world: set(world.vendors)),
        ("incidents", lambda world: {world.incidents.record(n).id for n in range(len(world.incidents))}),
    ],
)
def test_every_record_of_every_kind_is_read_once(
    company: Stage, stage: Stage, kind: str, expected: Callable[[World], set[str]]
) -> None:
    """A list of one page or of many comes whole, proven, without repetition."""
    for place in (company, stage):
        collection = only(fetch(place, query(kind)))
        assert collection.complete
        assert len(ids(collection)) == len(set(ids(collection)))
        assert set(ids(collection)) == expected(place.world)


def test_records_are_what_pagerduty_says(stage: Stage) -> None:
    """The bytes of a record without enrichments mean the object that is shown alone."""
    records = parsed(only(fetch(stage, query("users"))))
    for id_, record in records.items():
        assert record == ask(stage, "GET", f"/users/{id_}")["user"]


def test_on_calls_get_an_id_from_what_they_are(stage: Stage) -> None:
    """Policy, level, schedule or direct, user, start: each row apart, the same row the same."""
    collection = only(fetch(stage, query("oncalls", {"apiQueryParams": {"until": 1}})))
    rows = ask(
        stage, "GET", "/oncalls", params={"until": in_utc(stage.now() + timedelta(days=30, minutes=-5)), "limit": 100}
    )["oncalls"]
    expected = [
        "-".join(
            str(part)
            for part in (
                row["escalation_policy"]["id"],
                row["escalation_level"],
                row["schedule"]["id"] if row["schedule"] else "direct",
                row["user"]["id"],
                row["start"],
            )
            if part
        )
        for row in rows
    ]
    assert collection.complete
    assert len(expected) == 100
    assert ids(collection)[:100] == expected
    assert any("-direct-" in id_ for id_ in ids(collection))


def test_pages_are_few(company: Stage) -> None:
    """Four hundred and fifty services cost five requests, a kind that fits on a page costs one."""
    snapshot = fetch(company, query("services", {"serviceAnalytics": False}), query("teams"))
    assert company.tape.count("/services") == 5
    assert company.tape.count("/teams") == 1
    assert [collection.requests for collection in snapshot.collections.values()][1] == 1


def test_each_request_is_counted_where_the_list_is_asked_for(stage: Stage) -> None:
    """However early another kind needs it, and however often it had to be sent: no row of what was read shows none."""
    twice = Script([(503, {}, b""), (503, {}, b"")])
    stage.tape.before = lambda r: twice if r.path == "/users" and stage.tape.count("/users") < 3 else None
    services, more = query("services"), query("services", {"includeCustomFields": True})
    others = [query(kind) for kind in ("schedules", "schedules_v3", "users", "teams.members", "teams")]
    found = fetch(stage, services, *others, more).collections
    paths = Counter(request.path for request in stage.tape.requests)
    assert sum(each.requests for each in found.values()) == len(stage.tape.requests)
    assert {each.query.kind: each.requests for each in found.values() if each.query != services} == {
        "services": len(stage.world.services),
        "schedules": paths["/schedules"],
        "schedules_v3": sum(count for path, count in paths.items() if path.startswith("/v3/schedules")),
        "users": 3,
        "teams.members": len(stage.world.teams),
        "teams": 1,
    }
    assert (found[services].sharing, found[more].sharing) == ("shared", "shared")


def test_stable_parameters_are_sent_where_they_are_taken(stage: Stage) -> None:
    """UTC and a fixed order unless the selector says otherwise; nothing that an endpoint does not know."""
    fetch(
        stage,
        query("incidents"),
        query("services", {"apiQueryParams": {"time_zone": "Europe/Berlin"}, "serviceAnalytics": False}),
        query("users"),
    )
    sent = {request.path: dict(request.params) for request in stage.tape.requests if request.path != "/oncalls"}
    assert sent["/incidents"].items() >= {"time_zone": "UTC", "sort_by": "incident_number:asc"}.items()
    assert sent["/services"]["time_zone"] == "Europe/Berlin"
    assert set(sent["/users"]) == {"limit", "offset", "total"}


def test_relative_moments_are_those_of_the_fetch(stage: Stage) -> None:
    """`-30d` is thirty days before the snapshot was taken, and the same query stays the same tomorrow."""
    wanted = query("schedules", {"apiQueryParams": {"since": 1, "until": 1}})
    snapshot = fetch(stage, wanted)
    (request,) = (request for request in stage.tape.requests if request.path == "/schedules")
    assert request.all("since") == [in_utc(stage.now() - timedelta(days=30))]
    assert request.all("until") == [in_utc(stage.now() + timedelta(days=30, minutes=-5))]
    assert snapshot.taken_at == in_utc(stage.now())
    assert wanted.params == (("since", "-30d"), ("until", "+30d"))


def test_progress_is_told(company: Stage) -> None:
    """What, that it is begun, how many so far, of how many, that it has ended."""
    told: list[tuple[str, int, int | None]] = []
    fetch(company, query("users"), progress=lambda *step: told.append(step))
    assert told == [("users", 0, None), ("users", 100, 130), ("users", 130, 130), ("users", 130, 130)]


def test_the_digest_depends_on_what_was_said_only(stage: Stage) -> None:
    """Equal worlds give equal digests, in whatever order they are asked; a change gives another."""
    queries = [query("services"), query("users"), query("incidents")]
    first = fetch(stage, *queries).digest
    assert fetch(stage, *reversed(queries)).digest == first
    stage.world.mutate({"action": "rename_service", "id": next(iter(stage.world.services)), "name": "Else"})
    assert fetch(stage, *queries).digest != first


# --- lists that move -------------------------------------------------------------------------------------------

_CHANGES = st.lists(
    st.one_of(
        st.none(),
        st.tuples(st.just("delete_service"), st.integers(0, 229)),
        st.tuples(st.just("rename_service"), st.integers(0, 229), st.text("AZaz", min_size=1, max_size=4)),
        st.tuples(st.just("add_service"), st.text("AZaz", min_size=1, max_size=4)),
    ),
    max_size=14,
)


@contextmanager
def changing(changes: Sequence[tuple[Any, ...] | None]) -> Iterator[tuple[Stage, set[str]]]:
    """A stage whose services change between requests, and the ids of those that were there all the time."""
    world = World(services=230, incidents=0)
    always, left = set(world.services), list(changes)

    def change(_: Request) -> None:
        step = left.pop(0) if left else None
        everything = sorted(world.services)
        match step:
            case ("delete_service", number):
                always.discard(everything[number % len(everything)])
                world.mutate({"action": "delete_service", "id": everything[number % len(everything)]})
            case ("rename_service", number, name):
                taken = {service.name for service in world.services.values()}
                if name not in taken:
                    world.mutate({"action": "rename_service", "id": everything[number % len(everything)], "name": name})
            case ("add_service", name):
                world.mutate({"action": "add_service", "name": f"{name}{len(left)}"})

    with staging(world) as stage:
        stage.tape.before = change
        yield stage, always


@settings(max_examples=15, deadline=None)
@given(_CHANGES)
def test_a_list_called_complete_lacks_nothing(changes: list[tuple[Any, ...] | None]) -> None:
    """Whatever comes, goes or moves while paging: complete means that what was there all along is there."""
    with changing(changes) as (stage, always):
        collection = only(fetch(stage, Query("services")))
    assert not collection.complete or always <= set(ids(collection))


_PLACE = st.integers(0, 70)
_CHANGE = st.tuples(st.sampled_from(["remove", "insert", "cut"]), _PLACE) | st.tuples(st.just("move"), _PLACE, _PLACE)
_SWAP = st.tuples(st.just("swap"), _PLACE, _PLACE)


def _moved(rows: list[str], move: tuple[Any, ...] | None, new: str) -> list[str]:
    """The rows after one change."""
    match move:
        case ("remove", at):
            return rows[:at] + rows[at + 1 :]
        case ("cut", at):
            return rows[:at] + rows[at + 15 :]
        case ("insert", at):
            return [*rows[:at], new, *rows[at:]]
        case ("move", at, to) if at < len(rows):
            rest = rows[:at] + rows[at + 1 :]
            return [*rest[:to], rows[at], *rest[to:]]
        case ("swap", at, to) if max(at, to) < len(rows):
            places = {at: to, to: at}
            return [rows[places.get(number, number)] for number in range(len(rows))]
    return rows


def _walked(
    count: int, moves: Sequence[tuple[Any, ...] | None], *, counted: bool, size: int = 25, says_more: bool = True
) -> tuple[Trail, set[str]]:
    """A walk over so many rows with a change after each page, and the rows that were there all the time."""
    rows = [f"R{number}" for number in range(count)]
    always, left, trail = set(rows), list(moves), Trail(KINDS["users"])
    while not trail.over:
        part = rows[trail.offset : trail.offset + size]
        more = trail.offset + size < len(rows) if says_more or counted else None
        total = len(rows) if counted else None
        trail.follow(Page(part, [b"{}"] * len(part), more=more, total=total, following=""))
        rows = _moved(rows, left.pop(0) if left else None, f"N{len(left)}")
        always &= set(rows)
    return trail, always


@settings(max_examples=300)
@example(moves=[None, ("move", 0, 60), ("cut", 0)], count=61, counted=False, size=25, says_more=True)
@example(moves=[None, ("cut", 0), ("move", 25, 0)], count=41, counted=False, size=25, says_more=True)
@given(
    st.lists(st.none() | _CHANGE, max_size=12), _PLACE, st.booleans(), st.sampled_from([25, 10, 3, 1]), st.booleans()
)
def test_a_quiet_walk_has_seen_everything(
    moves: list[tuple[Any, ...] | None], count: int, counted: bool, size: int, says_more: bool
) -> None:
    """One change between any two pages: a walk that calls itself quiet lacks nothing that was there all the time."""
    trail, always = _walked(count, moves, counted=counted, size=size, says_more=says_more)
    assert not trail.quiet or always <= set(trail.records)
    assert trail.quiet or any(moves) or size == 1


@settings(max_examples=150)
@given(st.lists(st.none() | _SWAP, max_size=12), _PLACE)
def test_rows_that_change_places_are_noticed_by_counting(moves: list[tuple[Any, ...] | None], count: int) -> None:
    """A swap shifts nothing; what it hides is missing from the count."""
    trail, always = _walked(count, moves, counted=True)
    assert not trail.quiet or always <= set(trail.records)


@pytest.mark.parametrize("size", [1, 2, 25, 100])
@pytest.mark.parametrize("total", [None, 1, 500])
def test_the_same_page_again_and_again_is_not_followed_for_long(size: int, total: int | None) -> None:
    """A proxy that answers from its memory, whatever the offset: that is no list, and a few requests tell."""
    trail, asked = Trail(KINDS["users"]), 0
    while not trail.over:
        page = [f"R{number}" for number in range(size)]
        trail.follow(Page(page, [b"{}"] * size, more=True, total=total, following=""))
        asked += 1
    assert (asked, trail.problem is None) == (10, False)


def test_rows_that_vanish_while_paging_cost_a_second_walk_and_nothing_else() -> None:
    """A service deleted from a page that was read already hides no other, and the list is complete."""
    with changing([None, None, ("delete_service", 3), ("delete_service", 5)]) as (stage, always):
        collection = only(fetch(stage, Query("services")))
    assert collection.complete
    assert always <= set(ids(collection))


def test_a_list_that_never_rests_is_not_called_complete() -> None:
    """Rows that keep appearing at the front make absence unproven, and the snapshot says so."""
    with changing([None, *((("add_service", "AA"),) * 40)]) as (stage, _):
        collection = only(fetch(stage, Query("services")))
    assert collection.problem is not None
    assert collection.problem.code == "PD322"


def test_a_list_that_is_another_one_each_time_is_given_up() -> None:
    """No row is ever seen twice: the reading ends, and nothing is proven."""
    count = 0

    async def app(scope: Any, receive: Any, send: Any) -> None:
        nonlocal count
        count += 1
        rows = [{"id": f"R{count}-{number}"} for number in range(100)]
        await Script([(200, {}, msgspec.json.encode({"users": rows, "more": True}))])(scope, receive, send)

    listing, tape = listed(app, KINDS["users"])
    assert listing.problem.code == "PD322"
    assert len(tape.requests) < 50


def test_a_list_shorter_than_pagerduty_counts_is_not_complete() -> None:
    """Four rows where five are counted: one is kept from us."""
    body = b'{"users":[{"id":"a"},{"id":"b"},{"id":"c"},{"id":"d"}],"more":false,"total":5}'
    listing, _ = listed(Script([(200, {}, body)]), KINDS["users"])
    assert (list(listing.records), listing.problem.code) == (list("abcd"), "PD326")
    assert listing.problem.detail == "users: 4 records came, PagerDuty counts 5"


# --- lists that are too long -------------------------------------------------------------------------------------


def rows_app(
    count: int,
    field: str = "users",
    start: str = "2020-01-01T00:00:00Z",
    step: float = 60.0,
    counts: float | None = float("inf"),
) -> Asgi:
    """A list of any length with classic paging, the cap, and a window by `created_at`.

    It `counts` so far and says no more of what is beyond; or not at all (None).
    """
    first = utc(start)
    rows = [{"id": f"R{n:06}", "created_at": in_utc(first + timedelta(seconds=n * step))} for n in range(count)]

    def created(row: dict[str, str]) -> str:
        return row["created_at"]

    async def app(scope: Any, receive: Any, send: Any) -> None:
        params = dict(httpx.QueryParams(scope["query_string"].decode()).multi_items())
        offset, limit = int(params["offset"]), int(params["limit"])
        since, until = params.get("since", ""), params.get("until", "~")
        found = rows[bisect_left(rows, since, key=created) : bisect_right(rows, until, key=created)]
        body = {
            field: found[offset : offset + limit],
            "more": offset + limit < min(len(found), counts or len(found)),
            "total": min(len(found), counts) if params.get("total") and counts else None,
        }
        refused = offset + limit > 10_000
        await Script([(400 if refused else 200, {}, msgspec.json.encode(body))])(scope, receive, send)

    return app


def listed(app: Asgi, kind: Kind, params: tuple[tuple[str, str], ...] = ()) -> tuple[Any, Tape]:
    """A listing of one kind from an application of our own."""

    async def main(client: ApiClient) -> Any:
        return await Lister(client, kind, params, Tally(kind.name, None)).read(utc("2026-06-01T12:00:00Z"))

    return asking(app, main)


def asking(app: Asgi, job: Callable[[ApiClient], Awaitable[Any]]) -> tuple[Any, Tape]:
    """What comes of asking an application of our own, and what it was asked."""
    tape = Tape(app)

    async def main(url: str) -> Any:
        auth = FixedHeaders("authorization", "Token token=x")
        time = FakeTime()
        async with ApiClient(
            url, name="PagerDuty", auth=auth, user_agent="t", limits=PAGERDUTY_LIMITS, timing=time.timing()
        ) as client:
            return await job(client)

    with serving(tape) as url:
        return asyncio.run(main(url)), tape


@pytest.mark.parametrize("counts", [10_000, None])
@pytest.mark.parametrize(("count", "code"), [(9_999, ""), (10_000, "PD321"), (10_050, "PD321")])
def test_a_list_that_may_go_on_beyond_the_cap_is_not_complete(count: int, code: str, counts: int | None) -> None:
    """Nobody promises that PagerDuty counts further than it gives: of ten thousand rows, none knows what follows."""
    listing, _ = listed(rows_app(count, counts=counts), KINDS["users"])
    assert (len(listing.records), listing.problem and listing.problem.code) == (min(count, 10_000), code or None)
    if code and counts:
        assert listing.problem.detail == "users: 10000 records or more, PagerDuty gives the first 10000"


def test_a_list_beyond_the_cap_says_so() -> None:
    """What can be reached is read, and the rest is not passed off as absent."""
    listing, tape = listed(rows_app(10_050), KINDS["users"])
    assert (len(listing.records), listing.problem.code) == (10_000, "PD321")
    assert "10050 records" in listing.problem.detail
    assert max(int(r.all("offset")[0]) + int(r.all("limit")[0]) for r in tape.requests) == 10_000


@pytest.mark.parametrize(
    ("count", "params", "counts"),
    [
        (25_000, (("date_range", "all"),), float("inf")),
        (10_500, (("date_range", "all"),), 10_000),
        (10_500, (("date_range", "all"),), None),
        (10_000, (("date_range", "all"),), 10_000),
        (10_500, (("since", "2026-05-01T00:00:00Z"),), float("inf")),
        (10_500, (("since", "2019-01-01T00:00:00Z"), ("until", "2026-05-31T00:00:00Z")), 10_000),
    ],
)
def test_a_long_list_with_a_time_is_cut_by_time(
    count: int, params: tuple[tuple[str, str], ...], counts: float | None
) -> None:
    """Incidents beyond the cap, or over more than six months, come in slices, whole, and none is wider than allowed.

    However far PagerDuty counts.
    """
    app = rows_app(count, "incidents", "2026-05-02T00:00:00Z", 60.0, counts)
    listing, tape = listed(app, KINDS["incidents"], params)
    assert (len(listing.records), listing.problem) == (count, None)
    spans = [(r.all("since")[0], r.all("until")[0]) for r in tape.requests if r.all("since") and r.all("until")]
    assert all(utc(until) - utc(since) <= timedelta(days=180) for since, until in spans)


def test_a_slice_that_is_empty_is_not_believed_at_once() -> None:
    """It says so itself, with a count; the others would pass for all there is."""
    whole, none = rows_app(300, "incidents", "2025-09-01T00:00:00Z", 70_000.0), rows_app(0, "incidents")
    empty = [True]

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await (none if empty and empty.pop() else whole)(scope, receive, send)

    listing, _ = listed(app, KINDS["incidents"], (("since", "2025-09-01T00:00:00Z"),))
    assert (len(listing.records), listing.problem) == (300, None)


def test_slices_that_hold_less_than_was_counted_are_not_complete() -> None:
    """A row that no slice has, as its time is another one for PagerDuty, is missing although each slice is whole."""
    whole, short = (rows_app(count, "incidents", "2026-05-02T00:00:00Z") for count in (10_200, 10_199))

    async def app(scope: Any, receive: Any, send: Any) -> None:
        sliced = b"until=" in scope["query_string"]
        await (short if sliced else whole)(scope, receive, send)

    listing, _ = listed(app, KINDS["incidents"], (("date_range", "all"),))
    assert (len(listing.records), listing.problem.code) == (10_199, "PD326")


def test_slices_that_hold_less_than_was_counted_prove_nothing() -> None:
    """Whether an incident was resolved meanwhile, or is missing, nobody knows; the next reading tells."""
    whole, short = (rows_app(count, "incidents", "2026-05-02T00:00:00Z") for count in (10_200, 10_199))
    apps = iter([whole])

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await next(apps, short)(scope, receive, send)

    listing, _ = listed(app, KINDS["incidents"], (("date_range", "all"),))
    assert (len(listing.records), listing.problem.code) == (10_199, "PD326")


@pytest.mark.parametrize(("params", "count"), [({"date_range": "all"}, 25_000), ({"since": "18mo"}, 11_000)])
def test_a_long_history_arrives_whole_through_the_cap(params: dict[str, Any], count: int) -> None:
    """So many incidents over a year and a half, from a server that gives ten thousand rows of a list."""
    world = World(services=20, users=20, incidents=count, incident_days=535)
    with staging(world, limit_per_minute=10**6) as staged:
        collection = only(fetch(staged, query("incidents", {"apiQueryParams": params})))
        requests = len(staged.tape.requests)
    assert collection.problem is None
    assert {record.id for record in collection.records} == {world.incidents.ids[n] for n in range(count)}
    assert len(collection.records) == count
    assert requests < count / 99 + 20


@pytest.mark.parametrize(
    ("params", "counts", "probes"),
    [((), float("inf"), 3), ((), 10_000, 0), ((("since", "2025-08-01T00:00:00Z"),), float("inf"), 0)],
)
def test_a_history_without_bounds_is_cut_by_time_all_the_same(
    params: tuple[tuple[str, str], ...], counts: float, probes: int
) -> None:
    """Where it begins is found out by counting, for it cannot be sorted; where counts tell nothing, all time is cut."""
    app = rows_app(19_000, "log_entries", "2025-09-01T00:00:00Z", 1200.0, counts)
    listing, tape = listed(app, KINDS["log_entries"], params)
    assert (len(listing.records), listing.problem) == (19_000, None)
    assert sum(request.all("limit") == ["1"] for request in tape.requests) == probes


def test_audit_records_are_read_month_by_month() -> None:
    """No request spans more than the thirty-one days that are allowed, and the parts touch."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        asked = httpx.QueryParams(scope["query_string"].decode())
        body = {"records": [{"id": asked["since"]}], "next_cursor": None}
        await Script([(200, {}, msgspec.json.encode(body))])(scope, receive, send)

    params = (("since", "2026-01-01T00:00:00Z"),)
    listing, tape = listed(app, KINDS["audit.records"], params)
    spans = sorted((utc(r.all("since")[0]), utc(r.all("until")[0])) for r in tape.requests)
    assert all(until - since <= timedelta(days=31) for since, until in spans)
    assert [a[1] for a in spans[:-1]] == [b[0] for b in spans[1:]]
    assert (len(listing.records), listing.problem) == (len(spans), None)


@pytest.mark.parametrize("counts", [float("inf"), 10_000])
def test_a_burst_that_no_slice_divides_says_so(counts: float) -> None:
    """More than ten thousand in one second cannot be told apart by time."""
    listing, _ = listed(rows_app(10_200, "incidents", "2026-05-20T00:00:00Z", 0.0, counts), KINDS["incidents"])
    assert (len(listing.records), listing.problem.code) == (10_000, "PD321")


def test_what_goes_beyond_a_count_is_counted_in_parts() -> None:
    """So many are there in a stretch of time, from a PagerDuty that never says more than ten thousand."""

    async def main(client: ApiClient) -> int | None:
        params = (("since", "2026-05-01T00:00:30Z"), ("until", "2026-06-01T00:00:30Z"))
        return await counted(client, KINDS["incidents"], params, utc("2026-06-01T12:00:00Z"))

    app = rows_app(25_000, "incidents", "2026-05-02T00:00:01Z", 60.0, 10_000)
    assert asking(app, main)[0] == 25_000


@given(
    st.integers(0, 2**31),
    st.timedeltas(min_value=timedelta(seconds=2), max_value=timedelta(days=4000)),
    st.integers(1, 400),
)
def test_slices_of_time_leave_no_gap(since: int, width: timedelta, widest: int) -> None:
    """Each begins where the one before ends, on a whole second, and all together are the whole."""
    begin = datetime.fromtimestamp(since, UTC)
    span = Span(begin, begin + timedelta(seconds=int(width.total_seconds())))
    parts = span.cut(timedelta(days=widest))
    assert (parts[0].since, parts[-1].until) == (span.since, span.until)
    assert all(a.until == b.since for a, b in pairwise(parts))
    assert all(part.width <= timedelta(days=widest, seconds=1) for part in parts)
    assert all(part.since.microsecond == 0 for part in parts)
    assert len(parts) >= 2


def test_cursors_are_followed_to_the_end() -> None:
    """A list whose pages name the next one, read in order."""
    pages = {"": ("a", "b", "n1"), "n1": ("c", "d", "n2"), "n2": ("e", "f", None)}

    async def app(scope: Any, receive: Any, send: Any) -> None:
        *rows, following = pages[httpx.QueryParams(scope["query_string"].decode()).get("cursor", "")]
        body = {"things": [{"id": row} for row in rows], "next_cursor": following}
        await Script([(200, {}, msgspec.json.encode(body))])(scope, receive, send)

    listing, _ = listed(app, Kind("things", "/things", "things", paging="cursor"))
    assert (list(listing.records), listing.problem) == (list("abcdef"), None)


def test_a_cursor_that_leads_in_a_circle_is_noticed() -> None:
    """No endless reading, and no proof."""
    app = Script([(200, {}, b'{"things":[{"id":"a"}],"next_cursor":"again"}')])
    listing, tape = listed(app, Kind("things", "/things", "things", paging="cursor"))
    assert listing.problem.code == "PD323"
    assert len(tape.requests) == 4


@pytest.mark.parametrize(("id_", "code"), [(("id",), "PD327"), (("id", "team"), "PD323")])
def test_pages_that_come_again_under_new_cursors_end(id_: tuple[str, ...], code: str) -> None:
    """They lead on for ever: of rows that are named by more than an id, the same page tells."""
    cursors = itertools.count()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        body = {"things": [{"id": "a", "team": "t"}, {"id": "b", "team": "t"}], "next_cursor": f"n{next(cursors)}"}
        await Script([(200, {}, msgspec.json.encode(body))])(scope, receive, send)

    listing, tape = listed(app, Kind("things", "/things", "things", paging="cursor", id=id_))
    assert (len(listing.records), listing.problem.code) == (2, code)
    assert len(tape.requests) <= 4


def test_a_list_without_paging_that_has_more_says_so() -> None:
    """`more` with no way to ask for it is not the end."""
    app = Script([(200, {}, b'{"things":[{"id":"a"}],"more":true}')])
    listing, _ = listed(app, Kind("things", "/things", "things", paging="none"))
    assert (list(listing.records), listing.problem.code) == (["a"], "PD323")
    params = (Param("query", "query", "text"), Param("include", "include[]", "texts"))
    listing, _ = listed(app, Kind("things", "/things", "things", paging="none", params=params))
    assert listing.problem.hint.startswith("ask for less with apiQueryParams: query; ")


@pytest.mark.parametrize(
    "body", [b"<html>", b"[]", b"{}", b'{"users":[{}]}', b'{"users":[{"id":null}]}', b'{"users":[1]}', b'{"users":{}}']
)
def test_an_answer_that_is_no_list_is_a_problem(body: bytes) -> None:
    """Not an exception, and not an empty list either."""
    listing, _ = listed(Script([(200, {}, body)]), KINDS["users"])
    assert (listing.records, listing.problem.code) == ({}, "PD320")


# --- what cannot be read ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("action", "status"), [("plan_missing", 402), ("drop_permission", 403)])
def test_a_kind_that_is_refused_is_incomplete_and_the_others_are_not(stage: Stage, action: str, status: int) -> None:
    """No records, no proof, the status and what to do; the rest of the snapshot is as good as ever."""
    stage.world.mutate({"action": action, "kind": "users"})
    refused, fine = fetch(stage, query("users"), query("teams")).collections.values()
    assert refused.problem is not None
    assert refused.problem.severity is Severity.ERROR
    assert (refused.records, refused.problem.code) == ((), "PD320")
    assert f"PagerDuty answered {status}" in refused.problem.detail
    assert refused.problem.hint != ""
    assert fine.complete
    assert len(fine.records) == 4


@pytest.mark.parametrize("status", [404, 500])
def test_a_page_that_fails_leaves_what_was_read_and_no_proof(company: Stage, status: int) -> None:
    """Records so far, and why they are not all."""
    company.tape.before = lambda r: Script([(status, {}, b"{}")]) if r.all("offset") == ["198"] else None
    collection = only(fetch(company, query("services", {"serviceAnalytics": False})))
    assert collection.problem is not None
    assert f"answered {status}" in collection.problem.detail
    assert 300 < len(collection.records) < 450


def test_wrong_credentials_are_an_error_at_once(stage: Stage) -> None:
    """One error for all kinds, each asked once, no waiting, no token in it."""
    time = FakeTime()
    with pytest.raises(SourceError) as caught:
        fetch(stage, query("users"), query("teams"), token="u+wrongkeywrongkey00", timing=time.timing())
    assert [diagnostic.summary for diagnostic in caught.value.diagnostics] == ["PagerDuty answered 401"]
    assert "wrongkey" not in f"{caught.value!r}{caught.value.diagnostics}"
    assert (len(stage.tape.requests), time.slept) == (2, [])


def test_a_host_that_is_not_there_is_an_error() -> None:
    """Nothing can be read, so nothing is pretended."""
    nowhere = Stage(World(services=1, incidents=0), Tape(Script([OK])), "http://127.0.0.1:9")
    with pytest.raises(SourceError) as caught:
        fetch(nowhere, query("users"), query("teams"))
    assert [diagnostic.code for diagnostic in caught.value.diagnostics] == ["PD301"]


def test_an_unknown_kind_is_a_problem_of_its_own(stage: Stage) -> None:
    """A query from elsewhere does not stop the others."""
    odd, fine = fetch(stage, Query("gadgets"), query("teams")).collections.values()
    assert odd.problem is not None
    assert (odd.problem.code, fine.complete) == ("PD310", True)


def test_stopping_interrupts_a_fetch(company: Stage) -> None:
    """Ctrl-C ends the reading without a traceback and without a half snapshot."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with open_pagerduty(company.url, token=TOKEN, now=company.now, concurrency=1) as source:

            def stop(_: Request) -> None:
                loop.call_soon_threadsafe(source.stop)

            company.tape.before = stop
            await source.fetch([query("services"), query("users")])

    with pytest.raises(Interrupted):
        asyncio.run(main())


# --- enrichments -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("until", [6, "1y", "2199-01-01", "91d"])
def test_on_calls_are_not_asked_for_beyond_what_pagerduty_looks_ahead(stage: Stage, until: Any) -> None:
    """Nothing lies there, and it refuses to look: who asks for more gets all that there is."""
    most = only(fetch(stage, query("oncalls", {"apiQueryParams": {"until": 3}})))
    stage.tape.requests.clear()
    more = only(fetch(stage, query("oncalls", {"apiQueryParams": {"until": until}})))
    assert (more.complete, ids(more)) == (True, ids(most))
    latest = max(moment(request.all("until")[0], stage.now()) for request in stage.tape.requests)
    assert latest == stage.now() + timedelta(days=90, minutes=-5)


def test_services_and_policies_share_one_list_of_on_calls(company: Stage) -> None:
    """Who is on call is asked once, for the whole account, however many services there are."""
    services, policies = fetch(
        company, query("services", {"serviceAnalytics": False}), query("escalation_policies")
    ).collections.values()
    asked = [request for request in company.tape.requests if request.path == "/oncalls"]
    rows = [row for page in range(len(asked)) for row in on_calls(company, page)]
    assert {request.all("escalation_policy_ids[]") == [] for request in asked} == {True}
    assert len({request.all("offset")[0] for request in asked}) == len(asked)
    by_policy: dict[str, list[Any]] = {}
    for row in rows:
        by_policy.setdefault(row["escalation_policy"]["id"], []).append(row)
    for id_, service in parsed(services).items():
        assert service["__oncall_user"] == by_policy.get(service["escalation_policy"]["id"], []), id_
    for id_, policy in parsed(policies).items():
        assert policy["__oncall_users"] == by_policy.get(id_, [])


def on_calls(stage: Stage, page: int) -> list[Any]:
    params = {"include[]": "users", "limit": 100, "offset": page * 100, "time_zone": "UTC"}
    rows: list[Any] = ask(stage, "GET", "/oncalls", params=params)["oncalls"]
    stage.tape.requests.pop()
    return rows


def test_a_list_of_on_calls_that_is_too_long_is_asked_for_by_policy(company: Stage) -> None:
    """Beyond the cap each policy's rows still arrive, from lists of their own."""
    everything = parsed(only(fetch(company, Query("services", enrich=(("__oncall_user", ""),)))))

    def too_long(request: Request) -> Asgi | None:
        if request.path != "/oncalls" or request.all("escalation_policy_ids[]"):
            return None
        return Script([(200, {}, b'{"oncalls":[],"more":true,"total":10001}')])

    company.tape.before = too_long
    again = only(fetch(company, Query("services", enrich=(("__oncall_user", ""),))))
    assert (parsed(again), again.notes) == (everything, ())


def test_users_of_schedules_get_their_address(stage: Stage) -> None:
    """From one list of users, shared with the kind users; who has left gets none; everything else stays."""
    schedules, users = fetch(stage, query("schedules"), query("users")).collections.values()
    emails = {id_: user["email"] for id_, user in parsed(users).items()}
    assert stage.tape.count("/users") == 1
    strangers = 0
    for id_, schedule in parsed(schedules).items():
        plain = ask(stage, "GET", "/schedules", params={"time_zone": "UTC", "limit": 100})["schedules"]
        expected = next(row for row in plain if row["id"] == id_)
        for user in expected["users"]:
            strangers += user["id"] not in emails
            user |= {"__email": emails[user["id"]]} if user["id"] in emails else {}  # noqa: PLW2901
        assert schedule == expected
        assert list(schedule) == list(expected)
    assert strangers > 0


def test_services_get_their_metrics(stage: Stage) -> None:
    """The row of the months asked for, whole; null for a service without incidents; few requests."""
    collection = only(fetch(stage, query("services", {"analyticsMonthsPeriod": 2})))
    window = {
        "created_at_start": in_utc(stage.now() - timedelta(days=60)),
        "created_at_end": in_utc(stage.now()),
        "service_ids": ids(collection),
    }
    rows = ask(stage, "POST", "/analytics/metrics/incidents/services", json={"filters": window})["data"]
    by_service = {row["service_id"]: row for row in rows}
    assert {id_: record["__analytics"] for id_, record in parsed(collection).items()} == {
        id_: by_service.get(id_) for id_ in ids(collection)
    }
    assert stage.tape.count("/analytics/metrics/incidents/services") == 2
    assert any(row is not None for row in by_service.values())


def test_metrics_of_no_service_are_asked_for_twice(stage: Stage) -> None:
    """One empty answer is not believed, for null would clear what is mapped; a quiet account costs a request more."""
    answers: list[int] = []

    def once(request: Request) -> Asgi | None:
        answers.extend([1] if request.path == "/analytics/metrics/incidents/services" else [])
        return Script([(200, {}, b'{"data":[]}')]) if len(answers) == 1 and request.method == "POST" else None

    stage.tape.before = once
    found = parsed(only(fetch(stage, query("services"))))
    assert any(record["__analytics"] for record in found.values())
    assert len(answers) == 2


def test_many_services_are_asked_for_in_smaller_blocks_when_refused(company: Stage) -> None:
    """A server that takes few ids at a time gets few ids at a time."""
    rows: list[int] = []

    async def few(scope: Any, receive: Any, send: Any) -> None:
        message = await receive()
        asked = json.loads(message["body"])["filters"]["service_ids"]
        rows.append(len(asked))
        data = [{"service_id": id_, "n": 1} for id_ in asked]
        status, body = (200, json.dumps({"data": data})) if len(asked) <= 120 else (400, "{}")
        await Script([(status, {}, body.encode())])(scope, receive, send)

    company.tape.before = lambda r: few if r.path.startswith("/analytics") else None
    collection = only(fetch(company, query("services")))
    assert {record["__analytics"]["n"] for record in parsed(collection).values()} == {1}
    assert sum(size for size in rows if size <= 120) == 450


def test_incidents_get_their_analytics(stage: Stage) -> None:
    """Each its row; null for those of the last day, which PagerDuty has not analysed yet."""
    collection = only(fetch(stage, query("incidents", {"incidentAnalytics": True})))
    found = {id_: record["__analytics"] for id_, record in parsed(collection).items()}
    assert collection.notes == ()
    assert {row["id"] == id_ for id_, row in found.items() if row} == {True}
    young = {
        id_
        for id_, record in parsed(collection).items()
        if moment(record["created_at"], stage.now()) > stage.now() - timedelta(days=1)
    }
    assert young == {id_ for id_, row in found.items() if row is None}
    assert stage.tape.count("/analytics/raw/incidents") == 1


@pytest.mark.parametrize("last", ["null", '"PSAME"'])
def test_analytics_that_break_off_are_unknown(stage: Stage, last: str) -> None:
    """There is more, but no way on: nobody is told that an incident has no analytics."""
    body = f'{{"data":[],"more":true,"last":{last}}}'.encode()
    stage.tape.before = lambda r: Script([(200, {}, body)]) if r.path.startswith("/analytics") else None
    collection = only(fetch(stage, query("incidents", {"incidentAnalytics": True})))
    assert all("no way on" in record.unavailable["__analytics"] for record in collection.records)


@pytest.mark.parametrize("kind", ["services", "incidents"])
def test_custom_fields_are_read_for_each_record(stage: Stage, kind: str) -> None:
    """The list of fields as PagerDuty gives it."""
    selector = (
        {"includeCustomFields": True, "serviceAnalytics": False}
        if kind == "services"
        else {"includeCustomFields": True}
    )
    collection = only(fetch(stage, query(kind, selector)))
    for id_, record in list(parsed(collection).items())[:20]:
        values = ask(stage, "GET", f"/{kind}/{id_}/custom_fields/values")["custom_fields"]
        assert record["__custom_fields"] == values
        assert values != []


UNAVAILABLE = [
    ("services", {}, "__analytics", "analytics.metrics.incidents.services"),
    ("services", {"includeCustomFields": True}, "__custom_fields", "services.custom_fields.values"),
    ("services", {}, "__oncall_user", "oncalls"),
    ("escalation_policies", {}, "__oncall_users", "oncalls"),
    ("schedules", {}, "__email", "users"),
    ("incidents", {"incidentAnalytics": True}, "__analytics", "analytics.raw.incidents"),
    ("incidents", {"includeCustomFields": True}, "__custom_fields", "incidents.custom_fields.values"),
]


_SPENT = {"daily-ratelimit-limit": "10", "daily-ratelimit-remaining": "0", "daily-ratelimit-reset": "3600"}
_ODD = "cannot be understood"
TROUBLE: dict[str, tuple[int, dict[str, str], str, str]] = {
    "402": (402, {}, "{}", "402"),
    "403": (403, {}, "{}", "403"),
    "404": (404, {}, "{}", "404"),
    "500 for good": (500, {}, "", "500"),
    "429, the day's quota spent": (429, _SPENT, "{}", "quota"),
    "truncated": (200, {}, '{"ROWS": [{"id": "P', _ODD),
    "no body": (200, {}, "", _ODD),
    "a list": (200, {}, "[]", _ODD),
    "an object for the list": (200, {}, '{"ROWS": {}}', _ODD),
    "null for the list": (200, {}, '{"ROWS": null}', _ODD),
    "no list": (200, {}, '{"other": []}', _ODD),
    "rows that are none": (200, {}, '{"ROWS": [7]}', _ODD),
    "rows without anything": (200, {}, '{"ROWS": [{}], "more": false}', ""),
}
"""An answer (`ROWS`: under its own key), and what the reason says of it (empty: something)."""


@pytest.fixture(scope="module")
def shop() -> Iterator[Stage]:
    with staging(World(services=3, users=3, incidents=4, schedules=2), limit_per_minute=10**6) as staged:
        yield staged


CELLS = [
    pytest.param(case, trouble, id=f"{case[2]} of {case[0]}: {trouble}")
    for case in UNAVAILABLE
    for trouble in TROUBLE
    if (case[2], trouble) != ("__custom_fields", "rows without anything")  # nothing is promised of a field
]


@pytest.mark.parametrize(("case", "trouble"), CELLS)
def test_an_enrichment_that_cannot_be_read_is_absent_with_its_reason(
    shop: Stage, case: tuple[str, dict[str, Any], str, str], trouble: str
) -> None:
    """The key is not there at all, every record says why, one warning sums it up, and the kind stays complete."""
    (kind, selector, name, lacking), (status, headers, body, reason) = case, TROUBLE[trouble]
    row = KINDS[lacking]
    answer = Script([(status, headers, body.replace("ROWS", row.rows).encode())])
    path = re.compile(re.sub(r"\{\w+\}", "[^/]+", row.path))
    shop.tape.before = lambda request: answer if path.fullmatch(request.path) else None
    collection = only(fetch(shop, query(kind, selector)))
    assert collection.complete
    assert len(collection.records) > 0
    for record in collection.records:
        assert f'"{name}"'.encode() not in record.raw
        assert reason in record.unavailable[name]
    reasons = [note for note in collection.notes if note.detail.startswith(name)]
    assert {(note.code, note.severity) for note in reasons} == {("PD330", Severity.WARNING)}


def test_a_warning_names_the_first_records_whichever_answer_came_first() -> None:
    """Equal readings say the same, on every hash seed."""
    raws = {f"P{n}": b"{}" for n in range(7)}
    (note,) = shortcomings(
        "services", raws, {"__custom_fields": Extra(unavailable=dict.fromkeys(reversed(raws), "why"))}
    )
    assert note.records == tuple(f"services/P{n}" for n in range(5))


@pytest.mark.parametrize("case", UNAVAILABLE, ids=lambda case: f"{case[2]} of {case[0]}")
def test_an_enrichment_that_broke_off_is_asked_for_once_more(
    shop: Stage, case: tuple[str, dict[str, Any], str, str]
) -> None:
    """As a page of a list is: one answer that ends in the middle makes nothing unknown."""
    kind, selector, name, lacking = case
    path = re.compile(re.sub(r"\{\w+\}", "[^/]+", KINDS[lacking].path))
    seen: set[str] = set()

    def broken_once(request: Request) -> Asgi | None:
        if not path.fullmatch(request.path) or request.path in seen:
            return None
        seen.add(request.path)
        return Script([(200, {}, f'{{"{KINDS[lacking].rows}": [{{"id": "P'.encode())])

    shop.tape.before = lambda _: None
    whole = only(fetch(shop, query(kind, selector)))
    shop.tape.before = broken_once
    collection = only(fetch(shop, query(kind, selector)))
    assert (collection.notes, bool(seen)) == ((), True)
    assert parsed(collection) == parsed(whole)
    assert any(name in record or name == "__email" for record in parsed(collection).values())


@pytest.mark.parametrize(
    ("kind", "name", "key", "reason"),
    [
        ("services", "__oncall_user", b'"escalation_policy":', "record 1 of a page has no id"),
        ("escalation_policies", "__oncall_users", b'"escalation_policy":', "record 1 of a page has no id"),
        ("schedules", "__email", b'"email":', "without an address"),
    ],
)
def test_a_key_that_is_not_there_is_not_null(shop: Stage, kind: str, name: str, key: bytes, reason: str) -> None:
    """Nobody is on call, nobody has an address: so it would seem."""
    spoilt = reworded(shop.tape.app, key, b'"other":')
    shop.tape.before = lambda request: spoilt if request.path in {"/oncalls", "/users"} else None
    collection = only(fetch(shop, query(kind)))
    assert all(reason in record.unavailable[name] for record in collection.records)


@pytest.mark.parametrize(
    ("hours", "unproven"),
    [(-48, {}), (0, {}), (20, {"audit.records": 20}), (48, {"audit.records": 48, "incidents": 48})],
)
def test_what_a_slow_clock_does_not_reach_is_not_taken_for_gone(
    stage: Stage, hours: int, unproven: dict[str, int]
) -> None:
    """Slices of time end by our clock, a day later where that costs nothing: what was made after that is not listed."""
    slow = Timing(wall=lambda: time.time() - hours * 3600)
    kinds = [query("incidents", {"apiQueryParams": {"since": "400d"}}), query("audit.records"), query("teams")]
    snapshot = fetch(stage, *kinds, timing=slow)
    problems = {each.query.kind: each.problem for each in snapshot.collections.values() if each.problem}
    assert {kind: (problem.code, problem.detail) for kind, problem in problems.items()} == {
        kind: ("PD328", f"{kind}: by PagerDuty's answers it is {late} hours later than by this machine")
        for kind, late in unproven.items()
    }


def test_a_refusal_is_not_asked_for_again_and_again(stage: Stage) -> None:
    """Hundreds of records do not mean hundreds of refusals, nor those under way as many reasons."""
    stage.world.mutate({"action": "plan_missing", "kind": "incidents.custom_fields.values"})
    (note,) = only(fetch(stage, query("incidents", {"includeCustomFields": True}))).notes
    assert "__custom_fields of 230 of 230 incidents: PagerDuty answered 402" in note.detail
    values = [request for request in stage.tape.requests if request.path.endswith("/values")]
    assert 1 <= len(values) <= 16
    stage.tape.before = lambda request: Script([(200, {}, b"<html>")]) if request.path.endswith("/values") else None
    stage.world.mutate({"action": "restore", "kind": "incidents.custom_fields.values"})
    stage.tape.requests.clear()
    fetch(stage, query("incidents", {"includeCustomFields": True}))
    values = [request for request in stage.tape.requests if request.path.endswith("/values")]
    assert 6 <= len(values) <= 40


def test_a_spent_daily_quota_makes_metrics_unavailable_at_once(stage: Stage) -> None:
    """No waiting for tomorrow, no null over what Port holds."""
    stage.world.mutate({"action": "analytics_quota", "remaining": 0})
    time = FakeTime()
    collection = only(fetch(stage, query("services"), timing=time.timing()))
    assert {record.unavailable["__analytics"].partition(":")[0] for record in collection.records} == {
        "the daily quota of PagerDuty is used up"
    }
    assert stage.tape.count("/analytics/metrics/incidents/services") == 1
    assert time.slept == []


def test_the_last_of_the_daily_quota_is_noticed_before_it_is_missed(stage: Stage) -> None:
    """What the last request gave is used; no other is sent, and the reason says until when."""
    stage.world.mutate({"action": "analytics_quota", "remaining": 1})
    time, asked = FakeTime(), [query("services"), query("services", {"analyticsMonthsPeriod": 1})]
    snapshot = fetch(stage, *asked, timing=time.timing(), concurrency=1)
    lacking = [
        [record.unavailable.get("__analytics") for record in each.records] for each in _in_order(snapshot, asked)
    ]
    assert stage.tape.count("/analytics/metrics/incidents/services") == 1
    assert [set(map(bool, each)) for each in lacking] in ([{False}, {True}], [{True}, {False}])
    until = datetime.fromtimestamp(time.timing().wall(), UTC) + timedelta(days=1, seconds=-(stage.world.clock % 86400))
    (reason,) = {why for each in lacking for why in each if why}
    assert reason.endswith(f"nothing under /analytics is asked for any more, until {until:%Y-%m-%d %H:%M} UTC")


def _in_order(snapshot: Snapshot, asked: list[Query]) -> list[Collection]:
    return [snapshot.collections[each] for each in asked]


@pytest.mark.parametrize(("status", "place"), [(404, 3), (403, 3), (403, 0)])
def test_one_record_that_fails_does_not_touch_the_others(stage: Stage, status: int, place: int) -> None:
    """A 404 for one service, or one that is closed to us, is that service's alone."""
    gone = sorted(stage.world.services)[place]
    stage.tape.before = lambda r: (
        Script([(status, {}, b"{}")]) if r.path == f"/services/{gone}/custom_fields/values" else None
    )
    selector = {"includeCustomFields": True, "serviceAnalytics": False}
    collection = only(fetch(stage, query("services", selector)))
    assert [record.id for record in collection.records if record.unavailable] == [gone]
    assert [note.records for note in collection.notes] == [(f"services/{gone}",)]


def test_records_that_fail_alike_are_told_of_together(stage: Stage) -> None:
    """The reason once, and the records beside it: each answer names another address."""
    stage.tape.before = lambda r: Script([(404, {}, b"{}")]) if r.path.endswith("/values") else None
    collection = only(fetch(stage, query("services", {"includeCustomFields": True, "serviceAnalytics": False})))
    (note,) = collection.notes
    assert "of 12 of 12 services: PagerDuty answered 404: GET /services/{id}/custom_fields/values" in note.detail


def test_queries_that_differ_in_enrichment_share_the_list(stage: Stage) -> None:
    """The list of services is read once for two mappings that want different things of it."""
    both = fetch(stage, query("services"), query("services", {"serviceAnalytics": False})).collections.values()
    assert stage.tape.count("/services") == 1
    assert ["__analytics" in next(iter(parsed(each).values())) for each in both] == [True, False]


def test_a_query_given_twice_is_read_once(stage: Stage) -> None:
    """One collection, one request."""
    assert len(fetch(stage, query("teams"), query("teams")).collections) == 1
    assert stage.tape.count("/teams") == 1


# --- bytes -------------------------------------------------------------------------------------------------------

_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
_OBJECT = st.dictionaries(st.text(), _JSON, max_size=5)
_SPACED = st.sampled_from([None, 1])


@given(_OBJECT, _OBJECT, st.booleans(), _SPACED)
def test_spliced_bytes_are_the_merged_object(
    record: dict[str, Any], extra: dict[str, Any], ascii_only: bool, indent: int | None
) -> None:
    """Splicing is what merging dicts would be, for any JSON, however it is written."""
    raw = one_line(json.dumps(record, ensure_ascii=ascii_only, indent=indent).encode())
    added = {name: json.dumps(value).encode() for name, value in extra.items()}
    assert json.loads(splice(raw, added)) == record | extra
    assert b"\n" not in raw


@given(_OBJECT, st.text(), _JSON)
def test_a_replaced_key_changes_nothing_else(record: dict[str, Any], key: str, value: Any) -> None:
    """Other keys keep value and place."""
    changed = json.loads(replace_key(json.dumps(record).encode(), key, json.dumps(value).encode()))
    assert changed == record | {key: value}
    assert list(changed) == list(record | {key: value})


@given(st.lists(_JSON))
def test_an_array_is_its_parts(values: list[Any]) -> None:
    """In order, none lost."""
    assert json.loads(array(json.dumps(value).encode() for value in values)) == values


@given(st.lists(_OBJECT.map(lambda row: {**row, "id": "P" + str(len(row))}), max_size=5), _SPACED)
def test_a_page_is_cut_into_its_records(rows: list[dict[str, Any]], indent: int | None) -> None:
    """Every record's bytes mean that record, on one line."""
    body = json.dumps({"limit": 100, "users": rows, "more": False, "new_field": {"x": 1}}, indent=indent).encode()
    page = PageReader(KINDS["users"]).read(body)
    assert [json.loads(raw) for raw in page.raws] == rows
    assert page.ids == [row["id"] for row in rows]
    assert [raw for raw in page.raws if b"\n" in raw] == []


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        (rb'"cut \ud83d"', "cut �"),
        (rb'"\ude00 cut"', "� cut"),
        (rb'"\ud83d\ude00"', "😀"),
        (rb'"\\ud83d and \ud83d"', "\\ud83d and �"),
        (rb'"\ud83d\ud83d\ude00"', "�😀"),
    ],
)
def test_half_an_emoji_does_not_cost_the_kind(text: bytes, meaning: str) -> None:
    """A text cut in the middle of a surrogate pair becomes what jq makes of it; whole ones stay."""
    page = PageReader(KINDS["users"]).read(b'{"users":[{"id":"P1","name":' + text + b'},{"id":"P2","name":"\\ud83d"}]}')
    assert json.loads(page.raws[0])["name"] == meaning


@pytest.mark.parametrize(
    ("raw", "values"),
    [
        (b'{"a":{"b":1},"c":"x"}', [1, "x", None]),
        (b'{"a":null,"c":null,"a2":5}', [None, None, None]),
        (b'{"d":{"e":{"f":true}},"z":[1,{"a":2}]}', [None, None, True]),
    ],
)
def test_fields_are_read_by_path(raw: bytes, values: list[Any]) -> None:
    """What is missing or null on the way is None."""
    assert FieldReader(["a.b", "c", "d.e.f"]).read(raw) == values


def test_the_digest_tells_records_apart() -> None:
    """Where one record ends and the next begins, what is unavailable and what is unproven, all count."""
    asked = Query("users")
    one = Collection(asked, (Record("a", b'"x"'), Record("b", b'"y"')))
    others = [
        replace(one, records=(Record("a", b'"x"'), Record("b", b'"z"'))),
        replace(one, records=(Record("a", b'"x"'),)),
        replace(one, records=(Record("a", b'"x"', {"__email": "no"}), Record("b", b'"y"'))),
        replace(one, query=Query("users", (("query", "x"),))),
        replace(one, query=Query("users", enrich=(("__email", ""),))),
    ]
    assert len({digest([each]) for each in (one, *others)}) == 1 + len(others)
    assert digest([replace(one, records=one.records[::-1])]) == digest([one])


# --- credentials -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("token", "header"),
    [
        ("y_NbAkKc66ryYTWUXYEu", "Token token=y_NbAkKc66ryYTWUXYEu"),
        ("pdNbAkKc66ryYTWUXYEu", "Token token=pdNbAkKc66ryYTWUXYEu"),
        ("pdus+_0XBPWQQ_rest_of_token", "Bearer pdus+_0XBPWQQ_rest_of_token"),
        ("pdeu+_0XBPWQQ_rest_of_token", "Bearer pdeu+_0XBPWQQ_rest_of_token"),
        ("Bearer 0f1e2d3c", "Bearer 0f1e2d3c"),
        ("Token token=y_NbAkKc66ryYTWUXYEu", "Token token=y_NbAkKc66ryYTWUXYEu"),
    ],
)
def test_tokens_are_sent_in_their_own_way(token: str, header: str) -> None:
    """API keys as tokens, OAuth tokens as bearers."""

    async def main() -> dict[str, str]:
        async with httpx.AsyncClient() as client:
            return await token_auth(token).headers(client)

    assert asyncio.run(main()) == {"authorization": header}


@pytest.mark.parametrize(
    "token", ["hun ter", "hun\nter", "hunt\xe9r", "Bearer ", "Token token=hun ter", "\u200bhunter"]
)
def test_what_no_token_has_is_said_before_anything_is_sent(token: str) -> None:
    """And not repeated, for it may hold a token."""
    with pytest.raises(UsageError) as caught:
        token_auth(token)
    told = caught.value.diagnostics[0]
    assert (told.code, "PAGERDUTY_TOKEN" in told.detail, "hun" in repr(told)) == ("PD312", True, False)


class Identity:
    """A login that hands out the token of the sandbox, or refuses."""

    def __init__(self, status: int = 200) -> None:
        self.forms: list[dict[str, str]] = []
        self.status = status

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        form = httpx.QueryParams((await receive())["body"].decode())
        self.forms.append(dict(form.multi_items()))
        granted = {"access_token": TOKEN, "token_type": "bearer", "expires_in": 86400, "scope": form["scope"]}
        refused = {"error": "invalid_client", "error_description": f"unknown {form['client_secret']}"}
        body = json.dumps(granted if self.status == 200 else refused).encode()
        await Script([(self.status, {}, body)])(scope, receive, send)


def test_an_app_gets_its_token_once_and_uses_it(stage: Stage) -> None:
    """Client credentials become a bearer, one for all requests, bound to the account and to reading."""
    identity = Identity()
    with serving(identity) as login:
        snapshot = fetch(
            stage,
            query("teams"),
            query("users"),
            token="",
            client_id="app",
            client_secret="apps-own-secret",
            subdomain="acme",
            token_url=f"{login}/oauth/token",
        )
    assert all(collection.complete for collection in snapshot.collections.values())
    assert [(form["grant_type"], form["client_id"]) for form in identity.forms] == [("client_credentials", "app")]
    assert identity.forms[0]["scope"].startswith("as_account-us.acme ")
    assert stage.tape.requests[0].headers["authorization"] == f"Bearer {TOKEN}"


def test_a_token_is_renewed_before_it_runs_out() -> None:
    """A day later another one is fetched, without a refused request in between."""
    identity, clock = Identity(), [0.0]

    async def main(url: str) -> None:
        auth = ClientCredentials("app", "secret", "us.acme", token_url=url, clock=lambda: clock[0])
        async with httpx.AsyncClient(trust_env=False) as client:
            for clock[0] in (0.0, 86000.0, 86399.0):
                await auth.headers(client)

    with serving(identity) as url:
        asyncio.run(main(url))
    assert len(identity.forms) == 2


def test_a_login_that_is_busy_says_when_to_come_back() -> None:
    """As any answer may, and nobody asks before; a lifetime it need not say."""
    answers: list[Any] = [(429, {"retry-after": "7"}, b"{}"), (200, {}, b'{"access_token":"abc","expires_in":null}')]
    time, tape = FakeTime(), Tape(Script(answers))

    async def main(login: str, url: str) -> list[int]:
        auth = ClientCredentials("app", "secret", "us.acme", token_url=login, clock=lambda: time.now)
        async with ApiClient(
            url, name="PagerDuty", auth=auth, user_agent="t", limits=PAGERDUTY_LIMITS, timing=time.timing()
        ) as client:
            replies = await asyncio.gather(*(client.send("GET", "/things") for _ in range(3)))
            return [reply.status for reply in replies]

    with serving(tape) as login, serving(Script([OK])) as url:
        assert asyncio.run(main(login, url)) == [200] * 3
    assert (set(time.slept), len(tape.requests)) == ({7.0}, 2)


def test_a_login_that_does_not_answer_is_waited_for_once_by_all() -> None:
    """Seven lists do not wait one after the other for the same silence; each says it for itself."""

    async def main(url: str) -> list[Any]:
        auth = ClientCredentials("app", "secret", "us.acme", token_url=url)
        async with httpx.AsyncClient(trust_env=False) as client:
            failures = await asyncio.gather(*(auth.headers(client) for _ in range(7)), return_exceptions=True)
            later = await asyncio.gather(auth.headers(client), return_exceptions=True)
            return [*failures, *later]

    with dropping(9) as (url, seen):
        failures = asyncio.run(main(url))
    assert {type(failure) for failure in failures} == {Unreachable}
    assert (len({id(failure) for failure in failures}), len(seen)) == (8, 2)


def test_a_wait_that_is_too_long_is_told_once_by_each() -> None:
    """The same refusal is that of every list, none of which says what another one did."""
    tape = Tape(Script([(429, {"retry-after": "4000"}, b"{}")]))

    async def main(login: str, url: str) -> list[Any]:
        auth = ClientCredentials("app", "secret", "us.acme", token_url=login)
        async with ApiClient(url, name="PagerDuty", auth=auth, user_agent="t", limits=PAGERDUTY_LIMITS) as client:
            return await asyncio.gather(*(client.send("GET", "/things") for _ in range(3)), return_exceptions=True)

    with serving(tape) as login, serving(Script([OK])) as url:
        refusals = asyncio.run(main(login, url))
    told = {(each.diagnostics[0].detail, each.diagnostics[0].hint) for each in refusals}
    assert told == {("without a token, it asks to wait 4000 s", "try again later")}
    assert len(tape.requests) == 1


@pytest.mark.parametrize(
    ("answer", "detail", "hint"),
    [
        ((302, {"location": "https://sso.example/login?a=b"}, b""), "it points to https://sso.example/login", "URL"),
        ((200, {}, b"<html>"), "without a token", "URL"),
        ((404, {}, b"no"), "without a token", "URL"),
        ((400, {}, b'{"error":"invalid_client"}'), "invalid_client", "APP"),
        ((401, {}, b""), "without a token", "APP"),
        ((500, {}, b""), "without a token", "LATER"),
    ],
)
def test_what_to_do_about_a_login_depends_on_what_it_says(answer: Any, detail: str, hint: str) -> None:
    """What answers is no login, the app is not as it should be, or the login has troubles of its own."""

    async def main(login: str) -> None:
        auth = ClientCredentials("app", "secret", "us.acme", token_url=login)
        async with httpx.AsyncClient(trust_env=False) as client:
            await auth.headers(client)

    with serving(Script([answer])) as login, pytest.raises(LoginRefused) as caught:
        asyncio.run(main(f"{login.replace('//', '//me:hidden@')}/oauth/token?key=hidden"))
    assert "hidden" not in f"{caught.value!r}{caught.value.diagnostics}"
    hints = {
        "URL": f"check PAGERDUTY_OAUTH_URL: what answers at {urlsplit(login).netloc}/oauth/token is no login",
        "APP": "check PAGERDUTY_CLIENT_ID, PAGERDUTY_CLIENT_SECRET and PAGERDUTY_SUBDOMAIN, "
        "and that PAGERDUTY_API_URL is the API of its region",
        "LATER": "try again later",
    }
    assert (caught.value.diagnostics[0].detail, caught.value.diagnostics[0].hint) == (detail, hints[hint])


@pytest.mark.parametrize("token", ["", "a\\nb"])
def test_a_login_that_gives_no_token_is_refused_by_it(token: str) -> None:
    """What cannot be sent is none, whatever it is called."""

    async def main(login: str) -> None:
        auth = ClientCredentials("app", "secret", "us.acme", token_url=login)
        async with httpx.AsyncClient(trust_env=False) as client:
            await auth.headers(client)

    answer = b'{"access_token":"%s"}' % token.encode()
    with serving(Script([(200, {}, answer)])) as login, pytest.raises(LoginRefused):
        asyncio.run(main(login))


@pytest.mark.parametrize("status", [400, 401, 403])
def test_an_app_that_is_refused_is_one_error_without_its_secret(stage: Stage, status: int) -> None:
    """What to check, and nothing that was sent; the login is asked once for all lists."""
    identity = Identity(status)
    with serving(identity) as login, pytest.raises(SourceError) as caught:
        fetch(
            stage,
            query("teams"),
            query("users"),
            token="",
            client_id="app",
            client_secret="apps-own-secret",
            subdomain="acme",
            token_url=f"{login}/oauth/token",
        )
    assert "apps-own-secret" not in f"{caught.value!r}{caught.value.diagnostics}"
    assert [each.detail for each in caught.value.diagnostics] == ["invalid_client"]
    assert len(identity.forms) == 1


@pytest.mark.parametrize(
    ("url", "account"), [("https://api.pagerduty.com", "us.x"), ("https://api.eu.pagerduty.com", "eu.x")]
)
def test_the_region_of_an_app_follows_the_base_url(url: str, account: str) -> None:
    """Europe is asked for by its host."""
    auth = make_auth(url, client_id="a", client_secret="b", subdomain="x")
    assert isinstance(auth, ClientCredentials)
    assert auth.account == account


@pytest.mark.parametrize(
    ("url", "subdomain", "account"),
    [
        ("https://api.pagerduty.com", "https://Acme.pagerduty.com/", "us.acme"),
        ("https://api.eu.pagerduty.com", "acme.eu.pagerduty.com", "eu.acme"),
        ("http://127.0.0.1:4020", "eu.acme", "eu.acme"),
        ("http://127.0.0.1:4020", "acme", "us.acme"),
        ("https://api.pagerduty.com", "eu", "us.eu"),
    ],
)
def test_a_subdomain_may_say_its_region(url: str, subdomain: str, account: str) -> None:
    """Behind another base URL nothing else does; the address of PagerDuty's pages will do, too."""
    assert account_of(url, subdomain) == account


def test_an_account_of_another_region_is_an_error_with_its_api() -> None:
    """Before anything is sent."""
    with pytest.raises(UsageError) as caught:
        make_auth("https://api.pagerduty.com", client_id="a", client_secret="b", subdomain="acme.eu.pagerduty.com")
    assert caught.value.diagnostics[0].hint == "set PAGERDUTY_API_URL=https://api.eu.pagerduty.com"


@pytest.mark.parametrize(
    ("url", "given", "login"),
    [
        ("https://api.pagerduty.com", "", "https://identity.pagerduty.com/oauth/token"),
        ("https://api.eu.pagerduty.com", "", "https://identity.pagerduty.com/oauth/token"),
        ("https://api.eu.pagerduty.com", "https://login.example.com/token", "https://login.example.com/token"),
        ("http://127.0.0.1:4020", "http://127.0.0.1:4021/oauth/token", "http://127.0.0.1:4021/oauth/token"),
        ("https://pagerduty.example.com", "", "PD308"),
        ("https://notpagerduty.com", "", "PD308"),
        ("https://api.pagerduty.com.example.com", "", "PD308"),
        ("http://127.0.0.1:4020", "http://login.example.com/token", "PD303"),
    ],
)
def test_an_apps_secret_is_sent_to_pagerduty_or_where_the_user_says(url: str, given: str, login: str) -> None:
    """A base URL that is not PagerDuty's does not tell where, and is an error that asks; never in the clear."""
    try:
        found = login_of(url, given)
    except UsageError as refused:
        found = refused.diagnostics[0].code
    assert found == login


def test_the_login_is_asked_on_a_connection_of_its_own(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the proxy and the trust of its own host, not those of the API: a login on this machine is asked directly."""
    identity = Identity()

    async def main(url: str) -> None:
        async with httpx.AsyncClient(proxy="http://127.0.0.1:9", verify=False) as client:
            await ClientCredentials("app", "secret", "us.acme", token_url=url).headers(client)

    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    with serving(identity) as url:
        asyncio.run(main(url))
    assert len(identity.forms) == 1


@pytest.mark.parametrize(
    ("url", "hint"),
    [
        ("https://api.pagerduty.com", "PAGERDUTY_TOKEN is of another region: set PAGERDUTY_API_URL=https://api.eu."),
        ("https://api.eu.pagerduty.com", "check that PAGERDUTY_TOKEN has not run out"),
        ("https://gateway.example.com", "check that PAGERDUTY_TOKEN has not run out"),
    ],
)
def test_a_token_tells_its_region_where_the_region_of_the_api_is_known(url: str, hint: str) -> None:
    """Behind another base URL may be either."""
    assert refused_hint(url, "pdeu+_0XBPWQQ_wrong_token").startswith(hint)


def test_an_app_goes_before_a_token() -> None:
    """It can do less, and somebody set it up for this."""
    auth = make_auth("https://api.pagerduty.com", token="x", client_id="a", client_secret="b", subdomain="acme")
    assert isinstance(auth, ClientCredentials)


@pytest.mark.parametrize(("given", "missing"), [({}, ""), ({"client_id": "a"}, "client secret and subdomain missing")])
def test_missing_credentials_are_named(given: dict[str, str], missing: str) -> None:
    """Which, and where they come from."""
    with pytest.raises(UsageError) as caught:
        make_auth("https://api.pagerduty.com", **given)
    assert caught.value.diagnostics[0].detail == missing


def test_a_list_takes_the_time_from_its_first_request_to_its_last_answer() -> None:
    """What its requests waited for those of others, before the first was sent, is not its own; a failure is."""
    clock = FakeTime()

    class Slow:
        async def send(self, *_: Any, **__: Any) -> Reply:
            clock.now += 100.0 + 3.0  # in a queue, and on its way
            if clock.now > 1300:
                raise Unreachable(error("PD301", "no"), what="it", sent=True)
            return Reply(200, {}, b"", seconds=3.0)

    async def main() -> list[float]:
        told = [(asker := Counting(Slow(), lambda: clock.now)).seconds]
        for _ in range(3):
            with suppress(Unreachable):
                await asker.send("GET", "/teams")
            told.append(asker.seconds)
        return told

    assert asyncio.run(main()) == [0.0, 3.0, 106.0, 209.0]


def test_how_long_an_answer_took_is_told_without_what_it_waited() -> None:
    """From the first try on: what a server makes wait by refusing is its own doing."""
    time = FakeTime()
    script = Script([(503, {}, b""), (200, {}, b"{}")])

    async def main(url: str) -> Reply:
        async with ApiClient(
            url, name="t", auth=token_auth(TOKEN), user_agent="t", limits=PAGERDUTY_LIMITS, timing=time.timing()
        ) as client:
            return await client.send("GET", "/teams")

    with serving(script) as url:
        reply = asyncio.run(main(url))
    assert reply.seconds == sum(time.slept) > 0


def test_pagerduty_is_a_source(stage: Stage) -> None:
    """It can be made from any client, and has its name."""

    async def main() -> Snapshot:
        async with ApiClient(
            stage.url,
            name="PagerDuty",
            auth=token_auth(TOKEN),
            user_agent="t",
            limits=PAGERDUTY_LIMITS,
            headers={"accept": ACCEPT},
        ) as client:
            return await PagerDuty(client, now=stage.now).fetch([query("teams")])

    snapshot = asyncio.run(main())
    assert (snapshot.source, only(snapshot).complete) == (stage.url, True)


def test_a_rate_limit_is_kept(company: Stage) -> None:
    """With a small budget the snapshot takes its time, is refused at most once, and is complete all the same."""
    time = FakeTime()
    tape = Tape(pagerduty_app(company.world, token=TOKEN, limit_per_minute=3, clock=lambda: time.now))
    with serving(tape) as url:
        slow = Stage(company.world, tape, url)
        collection = only(
            fetch(slow, query("services", {"serviceAnalytics": False}), timing=time.timing(), concurrency=1)
        )
    assert collection.complete
    assert time.now > 1000.0 + 60
