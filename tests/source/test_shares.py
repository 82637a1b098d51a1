"""One snapshot serves all mappings: what is read together, and what it saves."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pdsync.sandbox.world import World
from pdsync.sources.pagerduty.moments import in_utc
from pdsync.sources.pagerduty.picking import chooser, picker
from pdsync.sources.pagerduty.shares import bounds_of, shared_lists
from tests.source.asking import fetch, only, parsed, query
from tests.source.loopback import Changed, Script, reworded, staging

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pdsync.model import Query, Snapshot
    from tests.source.loopback import Stage

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
STATUSES = ("triggered", "acknowledged", "resolved")
URGENCIES = ("high", "low")


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with staging(World(services=6, users=10, incidents=400, incident_days=28), limit_per_minute=10**6) as staged:
        yield staged


def incidents(statuses: Any, urgencies: Any, **others: Any) -> Query:
    given_ = {"statuses": statuses, "urgencies": urgencies, **others}
    return query("incidents", apiQueryParams={name: list(value) for name, value in given_.items() if value})


def cost(stage: Stage, *queries: Query) -> tuple[Snapshot, int]:
    before = len(stage.tape.requests)
    snapshot = fetch(stage, *queries)
    return snapshot, len(stage.tape.requests) - before


_SETS = [(), ("triggered",), ("acknowledged",), ("resolved",), ("triggered", "acknowledged"), STATUSES]
_URGENT = [(), ("high",), ("low",)]
_WISHES = st.lists(st.tuples(st.sampled_from(_SETS), st.sampled_from(_URGENT)), min_size=1, max_size=4, unique=True)


def test_open_and_resolved_incidents_are_one_list(stage: Stage) -> None:
    """Two mappings that part the incidents between them cost as much as one that takes all."""
    _, everything = cost(stage, incidents(STATUSES, ()))
    _, parted = cost(stage, incidents(("triggered", "acknowledged"), ()), incidents(("resolved",), ()))
    assert parted == everything


@pytest.mark.parametrize(
    ("path", "field", "queries"),
    [
        ("/incidents", "status", [incidents(STATUSES[:2], ()), incidents(STATUSES[2:], ())]),
        (
            "/users",
            "contact_methods",
            [query("users", apiQueryParams={"include": ["contact_methods"]}), query("users")],
        ),
    ],
    ids=["picked", "cut"],
)
def test_what_cannot_be_told_of_a_record_is_asked_for(
    stage: Stage, path: str, field: str, queries: list[Query]
) -> None:
    """A record that has an object where a text or a list should be: each list is read on its own, and has it still."""

    def odd(body: bytes) -> bytes:
        page = json.loads(body)
        page[path.strip("/")][0][field] = {"odd": True}
        return json.dumps(page).encode()

    before = [{*parsed(fetch(stage, each).collections[each])} for each in queries]
    change = Changed(stage.tape.app, odd)
    stage.tape.before = lambda request: change if request.path == path else None
    try:
        snapshot = fetch(stage, *queries)
    finally:
        stage.tape.before = lambda _: None
    assert [snapshot.collections[each].problem for each in queries] == [None] * len(queries)
    assert [{*parsed(snapshot.collections[each])} for each in queries] == before


def test_all_there_are_hold_what_is_asked_for_otherwise() -> None:
    """Open and resolved ones are all: with them come the urgent ones, and those of a shorter time, at a request more."""
    urgent = incidents(None, ["high"])
    for others in ([incidents(STATUSES[:2], None), incidents(STATUSES[2:], None)], [incidents(STATUSES, None)]):
        keys = [(each.kind, each.params) for each in (*others, urgent)]
        shares = shared_lists(keys, NOW)
        assert {shares.root(key) for key in keys} == {("incidents", ())}
        assert all(shares.taken[key].plain for key in keys)


@settings(max_examples=200)
@given(_WISHES, st.tuples(st.sampled_from(STATUSES), st.sampled_from(URGENCIES)))
def test_a_whole_holds_its_parts_and_nothing_else(wishes: list[tuple[Any, Any]], record: tuple[str, str]) -> None:
    """A record is asked for together exactly when somebody asks for it, and is picked by exactly those who do."""
    keys = [(each.kind, each.params) for each in (incidents(*wish) for wish in wishes)]
    shares = shared_lists(keys, NOW)
    raw = json.dumps({"status": record[0], "urgency": record[1]}).encode()

    def takes(key: tuple[str, tuple[tuple[str, str], ...]]) -> bool:
        wanted = [{value for name, value in key[1] if name == filter_} for filter_ in ("statuses[]", "urgencies[]")]
        return all(not values or word in values for values, word in zip(wanted, record, strict=True))

    for key in keys:
        assert takes(key) == (picker(key, shares.root(key), NOW)(raw) and takes(shares.root(key)))
    assert {takes(shares.root(key)) for key in keys} <= {False} or any(takes(key) for key in keys)


def apart(keys: list[Any]) -> bool:
    return not shared_lists(keys, NOW).taken


APART: list[list[tuple[str, tuple[tuple[str, str], ...]]]] = [
    [("incidents", (("team_ids[]", "PT1"),)), ("incidents", (("team_ids[]", "PT2"),))],
    [("incidents", (("include[]", "services"),)), ("incidents", (("include[]", "users"),))],
    [("incidents", (("since", "-90d"), ("until", "-40d"))), ("incidents", (("since", "-20d"),))],
    [("incidents", (("since", "-90d"),)), ("incidents", ())],
    [("incidents", (("time_zone", "Europe/Paris"),)), ("incidents", ())],
    [("services", (("query", "x"),)), ("services", ())],
    [("audit.records", (("since", "-90d"),)), ("audit.records", (("since", "-20d"),))],
    [("oncalls", (("schedule_ids[]", "PS1"),)), ("oncalls", ())],
    [("users", (("include[]", "teams"),)), ("users", (("include[]", "subdomains"),))],
    [("incidents", (("include[]", "services"), ("statuses[]", "triggered"))), ("incidents", (("include[]", "teams"),))],
    [("incidents", tuple(("service_ids[]", f"PS{start + n}") for n in range(60))) for start in (0, 100)],
]


@pytest.mark.parametrize("keys", APART)
def test_lists_that_records_do_not_tell_apart_stay_apart(keys: list[Any]) -> None:
    """Other teams, includes that are not described, windows that do not touch, filters that are searches."""
    assert apart(keys)


TIMES = [("2026-01-01", "2026-03-01"), ("2026-02-01", "2026-04-01"), ("2026-03-01", "2026-04-01"), ("2026-03-15", "")]
IN_TIME = [
    tuple((name, f"{day}T00:00:00Z") for name, day in zip(("since", "until"), each, strict=True) if day)
    for each in TIMES
]
OF_TEAMS = [tuple(("team_ids[]", f"PT{n}") for n in each) for each in ("1", "2", "12", "23", "34", "135", "")]


@settings(max_examples=200)
@given(st.lists(st.sampled_from([*IN_TIME, *OF_TEAMS]), min_size=2, max_size=6, unique=True))
def test_no_list_waits_for_itself(params: list[tuple[tuple[str, str], ...]]) -> None:
    """Whatever is taken from another list, and completed by a third, comes from lists that are read on their own."""
    taken = shared_lists([("incidents", each) for each in params], NOW).taken

    def needs(key: Any, waiting: tuple[Any, ...]) -> None:
        assert key not in waiting
        for below in (taken[key].whole, taken[key].rest) if key in taken else ():
            if below:
                needs(below, (*waiting, key))

    for key in taken:
        needs(key, ())


@settings(max_examples=300)
@given(
    st.lists(st.tuples(st.sampled_from(IN_TIME), st.sampled_from(_SETS)), min_size=2, max_size=5, unique=True),
    st.sampled_from(STATUSES),
    st.integers(min_value=0, max_value=150),
)
def test_a_list_is_what_is_picked_of_another_one_and_the_rest(
    wishes: list[tuple[Any, Any]], status: str, day: int
) -> None:
    """Whatever the times and filters: nothing that is wanted is in neither, nothing that is picked is not wanted."""
    keys = [("incidents", (*time, *(("statuses[]", one) for one in statuses))) for time, statuses in wishes]
    at = datetime(2025, 12, 20, tzinfo=UTC) + timedelta(days=day)
    raw = json.dumps({"status": status, "created_at": in_utc(at)}).encode()

    def holds(key: Any) -> bool:
        values, bounds = {value for name, value in key[1] if name == "statuses[]"}, bounds_of(key, NOW)
        assert bounds
        return (not values or status in values) and bounds.since <= at < bounds.until

    for key, share in shared_lists(keys, NOW).taken.items():
        picked = holds(share.whole) and picker(key, share.whole, NOW)(raw)
        assert holds(key) == (picked or bool(share.rest and holds(share.rest)))


# --- stretches of time -----------------------------------------------------------------------------------------

EVER = query("incidents", apiQueryParams={"date_range": "all"})


@pytest.fixture(scope="module")
def history() -> Iterator[Stage]:
    with staging(World(services=6, users=10, incidents=400, incident_days=400), limit_per_minute=10**6) as staged:
        yield staged


SHORTER: list[dict[str, Any]] = [
    {"since": "30d"},
    {"since": "300d"},
    {"since": "200d", "until": "-20d"},
    {"since": "90d", "statuses": ["resolved"]},
    {"since": "90d", "urgencies": ["high"], "statuses": ["triggered"]},
]


@pytest.mark.parametrize("longer", [{"date_range": "all"}, {"since": "350d"}])
@pytest.mark.parametrize("params", SHORTER)
def test_a_shorter_time_is_taken_from_a_longer(history: Stage, params: dict[str, Any], longer: dict[str, Any]) -> None:
    """The same records as alone, for a request that counts (one for each half year), whichever mapping stands first."""
    short, long = query("incidents", apiQueryParams=params), query("incidents", apiQueryParams=longer)
    alone, _ = cost(history, short)
    _, whole = cost(history, long)
    for order in ((short, long), (long, short)):
        snapshot, requests = cost(history, *order)
        assert parsed(snapshot.collections[short]) == parsed(only(alone))
        assert snapshot.collections[short].complete
        assert requests - whole <= 2


ROTA = World(escalation_policies=25, users=60, incidents=10)


@pytest.fixture(scope="module")
def rotas() -> Iterator[Stage]:
    """Some hundreds of shifts, and of people who are on call first."""
    with staging(ROTA, limit_per_minute=10**6) as staged:
        yield staged


@pytest.mark.parametrize(
    ("short", "longer"),
    [
        ({"until": "10d"}, {"until": "20d"}),
        ({"until": "10d"}, {"since": "5d", "until": "20d"}),
        ({"since": "3d", "until": "10d"}, {"since": "5d", "until": "20d"}),
        ({"until": "10d", "earliest": "true"}, {"until": "20d", "earliest": "true"}),
        ({"until": "20d", "earliest": "true"}, {"until": "20d"}),
        ({"since": "5d", "until": "10d", "earliest": "true"}, {"since": "5d", "until": "10d"}),
    ],
)
def test_on_calls_of_a_shorter_time_are_taken_from_a_longer(
    rotas: Stage, short: dict[str, str], longer: dict[str, str]
) -> None:
    """The same as alone, for one request: a shift belongs to every time that it touches, and is told whole.

    So are the earliest ones of the same time: what they are of is told by each.
    """
    asked, long = query("oncalls", apiQueryParams=short), query("oncalls", apiQueryParams=longer)
    alone, pages = cost(rotas, asked)
    _, whole = cost(rotas, long)
    snapshot, requests = cost(rotas, asked, long)
    assert parsed(snapshot.collections[asked]) == parsed(only(alone))
    assert snapshot.collections[asked].sharing == "shared"
    assert requests - whole == 1 < pages


@pytest.mark.parametrize("since", ["5d", "20d", "150d"])
def test_the_earliest_on_calls_are_those_of_the_whole_time(rotas: Stage, since: str) -> None:
    """One for each policy, level and user, however many parts the time is read in: each part has an earliest."""
    whole, earliest = (
        only(fetch(rotas, query("oncalls", apiQueryParams={"since": since, "until": "80d", **more})))
        for more in ({}, {"earliest": "true"})
    )
    first: dict[tuple[Any, ...], str] = {}
    for shift in parsed(whole).values():
        who = shift["escalation_policy"]["id"], shift["escalation_level"], shift["user"]["id"]
        first[who] = min(first.get(who, "~"), shift["start"] or "")
    found = [
        (shift["escalation_policy"]["id"], shift["escalation_level"], shift["user"]["id"], shift["start"] or "")
        for shift in parsed(earliest).values()
    ]
    assert sorted(found) == sorted((*who, start) for who, start in first.items())
    assert (earliest.problem, whole.problem) == (None, None)


def _fewer(answer: dict[str, Any]) -> dict[str, Any]:
    rows, total = answer["oncalls"], answer["total"]
    return answer | {"oncalls": rows if answer["more"] else rows[:-1], "total": total and total - 1}


def _later(answer: dict[str, Any]) -> dict[str, Any]:
    return answer | {"oncalls": [row | {"start": row["start"] and row["end"]} for row in answer["oncalls"]]}


@pytest.mark.parametrize("change", [_fewer, _later])
def test_the_earliest_on_calls_are_those_that_pagerduty_says_are(
    rotas: Stage, change: Callable[[dict[str, Any]], dict[str, Any]]
) -> None:
    """Should it mean others, or fewer, these are read."""
    asked, every = (query("oncalls", apiQueryParams={"until": "20d", **more}) for more in ({"earliest": "true"}, {}))
    before = parsed(only(fetch(rotas, asked)))
    changed = Changed(rotas.tape.app, lambda body: json.dumps(change(json.loads(body))).encode())
    rotas.tape.before = lambda request: changed if request.all("earliest") else None
    try:
        alone, snapshot = fetch(rotas, asked), fetch(rotas, asked, every)
    finally:
        rotas.tape.before = lambda _: None
    assert parsed(snapshot.collections[asked]) == parsed(only(alone)) != before
    assert snapshot.collections[asked].sharing == "apart: other earliest"


FIRST = [
    (["2026-06-02T00:00:00Z", "2026-06-03T00:00:00Z"], [0]),
    (["2026-06-03T00:00:00Z", "2026-06-02T00:00:00Z", None], [2]),
    (["2026-06-02T00:00:00Z", "2026-06-02T00:00:00Z"], []),
    (["2026-05-31T00:00:00Z", "2026-05-30T00:00:00Z", "2026-06-03T00:00:00Z"], []),
]


@pytest.mark.parametrize(("starts", "chosen"), FIRST)
def test_of_several_on_calls_that_may_be_the_earliest_none_is_taken(starts: list[Any], chosen: list[int]) -> None:
    """Whoever is on call by several schedules at once, or when the time begins: which one is given is not for us to say."""
    who = {"escalation_policy": {"id": "PE1"}, "escalation_level": 1, "user": {"id": "PU1"}, "end": None}
    records = {str(at): json.dumps({**who, "start": start}).encode() for at, start in enumerate(starts)}
    other = {"other": json.dumps({**who, "escalation_level": 2, "start": starts[0]}).encode()}
    every = "oncalls", (("until", "+20d"),)
    choose = chooser(("oncalls", (("earliest", "true"), *every[1])), every, NOW)
    assert sorted(choose(records | other)) == [*map(str, chosen), "other"]


OVERLAPPING: list[tuple[dict[str, Any], dict[str, Any], dict[str, str]]] = [
    ({"since": "3d", "until": "20d"}, {"since": "5d", "until": "10d"}, {"since": "+10d"}),
    (
        {"since": "9d", "until": "10d", "escalation_policy_ids": sorted(ROTA.policies)[1:]},
        {"since": "1d", "until": "20d"},
        {"until": "-1d"},
    ),
]


@pytest.mark.parametrize(("params", "others", "lacking"), OVERLAPPING)
def test_of_on_calls_what_touches_the_time_of_another_list_is_taken_from_there(
    rotas: Stage, params: dict[str, Any], others: dict[str, Any], lacking: dict[str, str]
) -> None:
    """Neither lies within the other; those at the edge come with both, and are known by when they begin."""
    asked, other, rest = (query("oncalls", apiQueryParams=each) for each in (params, others, params | lacking))
    (alone, pages), (_, whole), (_, left) = (cost(rotas, each) for each in (asked, other, rest))
    snapshot, requests = cost(rotas, asked, other)
    assert parsed(snapshot.collections[asked]) == parsed(only(alone))
    assert snapshot.collections[asked].sharing == "shared"
    assert requests == whole + left + 1 < whole + pages


LONGER: tuple[dict[str, Any], dict[str, Any]] = ({"until": "10d"}, {"until": "20d"})


@pytest.mark.parametrize(
    ("wishes", "hidden"), [(LONGER, False), (LONGER, True), *((each[:2], True) for each in OVERLAPPING)]
)
def test_on_calls_whose_time_is_clipped_are_read_on_their_own(
    rotas: Stage, wishes: Sequence[dict[str, Any]], *, hidden: bool
) -> None:
    """A server that tells no shift beyond what was asked about has other records for every time.

    So they are where nothing on the first page, which is compared, goes on beyond it.
    """
    queries = [query("oncalls", apiQueryParams=each) for each in wishes]
    first = list(parsed(only(fetch(rotas, queries[0]))).values())[:100]
    open_ended = {row["escalation_policy"]["id"] for row in first if hidden}

    def clipped(until: str, body: bytes) -> bytes:
        answer = json.loads(body)
        for row in answer["oncalls"]:
            is_open = row["escalation_policy"]["id"] in open_ended or not row["end"]
            row["end"] = None if is_open else min(row["end"], until)
        return json.dumps(answer).encode()

    rotas.tape.before = lambda request: Changed(rotas.tape.app, partial(clipped, request.all("until")[0]))
    try:
        alone = [parsed(only(fetch(rotas, each))) for each in queries]
        snapshot = fetch(rotas, *queries)
    finally:
        rotas.tape.before = lambda _: None
    assert [parsed(snapshot.collections[each]) for each in queries] == alone
    assert len({row["end"] for each in alone for row in each.values()}) > 2
    assert snapshot.collections[queries[0]].sharing.startswith("apart: other ")


def test_on_calls_that_come_twice_and_are_not_alike_are_read_once_more(rotas: Stage) -> None:
    """Where only what is over is told otherwise, neither number nor first page shows it: what is at the edge does."""
    asked, other = (query("oncalls", apiQueryParams=each) for each in OVERLAPPING[1][:2])
    alone = parsed(only(fetch(rotas, asked)))
    shown = {row["escalation_policy"]["id"] for row in list(alone.values())[:100]}

    def over(until: str, body: bytes) -> bytes:
        answer = json.loads(body)
        for row in answer["oncalls"]:
            if row["end"] and row["escalation_policy"]["id"] not in shown:
                row["end"] = min(row["end"], until)
        return json.dumps(answer).encode()

    def otherwise(request: Any) -> Any:
        until = request.all("until")[0]
        return Changed(rotas.tape.app, partial(over, until if until < in_utc(rotas.now()) else "9"))

    rotas.tape.before = otherwise
    try:
        snapshot = fetch(rotas, asked, other)
    finally:
        rotas.tape.before = lambda _: None
    assert parsed(snapshot.collections[asked]) == alone
    assert snapshot.collections[asked].sharing == "apart: other since, until"


# --- whatever there is to differ in ----------------------------------------------------------------------------

LAW = World(services=130, users=150, incidents=600, incident_days=400)
TEAMS, SOME = sorted(LAW.teams), sorted(LAW.services)[:2]
WINDOWS: list[dict[str, str]] = [
    {},
    {"date_range": "all"},
    {"since": "60d"},
    {"since": "300d"},
    {"since": "300d", "until": "-50d"},
    {"since": "150d", "until": "-20d"},
    {"since": "200d", "until": "-100d"},
]


def some_of(*values: str) -> st.SearchStrategy[list[str]]:
    return st.one_of(st.just([]), st.lists(st.sampled_from(values), max_size=3, unique=True))


INCIDENT_WISHES = st.builds(
    lambda window, **lists: window | lists,
    st.sampled_from(WINDOWS),
    statuses=some_of(*STATUSES),
    urgencies=some_of(*URGENCIES),
    team_ids=some_of(*TEAMS[:3]),
    service_ids=st.sampled_from([[], [], SOME]),
    include=some_of("services", "assignees", "priorities", "teams", "conference_bridge", "users"),
)
KIND_WISHES = {
    "incidents": INCIDENT_WISHES,
    "services": st.fixed_dictionaries(
        {
            "team_ids": some_of(*TEAMS[:3]),
            "include": some_of("teams", "integrations", "escalation_policies", "auto_pause_notifications_parameters"),
        }
    ),
    "users": st.fixed_dictionaries(
        {"team_ids": some_of(*TEAMS[:3]), "include": some_of("teams", "contact_methods", "notification_rules")}
    ),
    "escalation_policies": st.fixed_dictionaries(
        {"team_ids": some_of(*TEAMS[:3]), "include": some_of("teams", "targets", "services")}
    ),
    "schedules": st.fixed_dictionaries(
        {"team_ids": some_of(*TEAMS[:3]), "include": some_of("schedule_layers", "final_schedule")}
    ),
    "oncalls": st.builds(
        lambda window, **lists: window | lists,
        st.sampled_from(
            [{}, {"until": "80d"}, {"until": "20d"}, {"since": "10d", "until": "20d"}, {"since": "5d", "until": "-2d"}]
        ),
        include=some_of("users", "schedules"),
        escalation_policy_ids=some_of(*sorted(LAW.policies)[:3]),
        earliest=st.sampled_from(["", "", "true"]),
    ),
}


def wish(kind: str, params: dict[str, Any]) -> Query:
    plain = {"serviceAnalytics": False} if kind == "services" else {}
    plain |= {"attachOncallUsers": False} if kind == "escalation_policies" else {}
    return query(kind, apiQueryParams={name: value for name, value in params.items() if value}, **plain)


SEVERAL = st.sampled_from([*sorted(KIND_WISHES), "incidents", "incidents"]).flatmap(
    lambda kind: st.lists(st.builds(partial(wish, kind), KIND_WISHES[kind]), min_size=2, max_size=3, unique=True)
)


@pytest.fixture(scope="module")
def law() -> Iterator[tuple[Stage, dict[Query, tuple[list[tuple[str, bytes]], int]]]]:
    with staging(LAW, limit_per_minute=10**6) as staged:
        yield staged, {}


def told(snapshot: Snapshot, asked: Query) -> list[tuple[str, bytes]]:
    assert snapshot.collections[asked].complete
    return sorted((record.id, bytes(record.raw)) for record in snapshot.collections[asked].records)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(SEVERAL)
def test_whatever_mappings_differ_in_each_gets_the_bytes_it_would_get_alone(
    law: tuple[Stage, dict[Query, tuple[list[tuple[str, bytes]], int]]], queries: list[Query]
) -> None:
    """And all together cost no more requests than one by one.

    Lists that become one share their pages: those of a hundred rows each, full to the last, would not have had a row
    twice, and so may cost one request less.
    """
    staged, alone = law
    for each in queries:
        if each not in alone:
            snapshot, requests = cost(staged, each)
            alone[each] = told(snapshot, each), requests
    snapshot, requests = cost(staged, *queries)
    assert [told(snapshot, each) for each in queries] == [alone[each][0] for each in queries]
    full = any(len(alone[each][0]) % 99 in {0, 1} for each in queries)
    assert requests <= sum(alone[each][1] for each in queries) + full


PAIRS: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("incidents", {"date_range": "all", "include": ["services"]}, {"date_range": "all", "include": ["assignees"]}),
    ("incidents", {"include": ["services"]}, {"include": ["teams"]}),
    ("services", {"include": ["teams"], "team_ids": TEAMS[:1]}, {"include": ["integrations"], "team_ids": TEAMS[:1]}),
    ("incidents", {"date_range": "all", "team_ids": TEAMS[:1]}, {"date_range": "all"}),
    ("incidents", {"since": "170d", "until": "-20d"}, {"since": "150d"}),
    ("users", {"include": ["contact_methods"]}, {}),
    ("incidents", {"date_range": "all", "team_ids": TEAMS[:3]}, {"date_range": "all", "team_ids": TEAMS[1:4]}),
]


@pytest.mark.parametrize(("kind", "one", "other"), PAIRS)
def test_what_overlaps_is_read_once(
    law: tuple[Stage, Any], kind: str, one: dict[str, Any], other: dict[str, Any]
) -> None:
    """The pages of both lists, but for the first of each, come but once."""
    staged, queries = law[0], [wish(kind, one), wish(kind, other)]
    apart_ = sum(cost(staged, each)[1] for each in queries)
    snapshot, requests = cost(staged, *queries)
    assert requests < apart_
    assert {snapshot.collections[each].sharing for each in queries} == {"shared"}


def test_a_long_time_that_is_not_taken_is_read_on_from_where_it_was_begun(law: tuple[Stage, Any]) -> None:
    """Where taking saves nothing, the first pages of the parts that a long list is cut into were not asked in vain."""
    staged, queries = law[0], [wish("incidents", {"since": "300d", "team_ids": TEAMS[n : n + 2]}) for n in (0, 1)]
    alone = [cost(staged, each) for each in queries]
    snapshot, requests = cost(staged, *queries)
    assert [told(snapshot, each) for each in queries] == [told(one, only(one).query) for one, _ in alone]
    assert requests == sum(each for _, each in alone)


@pytest.fixture(scope="module")
def busy() -> Iterator[Stage]:
    """Many incidents a day."""
    with staging(World(services=6, users=10, incidents=2400, incident_days=400), limit_per_minute=10**6) as staged:
        yield staged


REACHING: list[tuple[dict[str, Any], dict[str, Any], dict[str, str], int]] = [
    ({"since": "170d", "statuses": ["resolved"]}, {"since": "100d"}, {"until": "-100d"}, 1),
    ({"since": "170d", "until": "-20d", "statuses": ["resolved"]}, {"since": "90d"}, {"until": "-90d"}, 1),
    ({"since": "170d", "statuses": ["resolved"]}, {"since": "390d", "until": "-60d"}, {"since": "60d"}, 1),
    ({"since": "360d", "statuses": ["resolved"]}, {"since": "200d"}, {"until": "-200d"}, 3),
]


@pytest.mark.parametrize(("params", "others", "lacking", "parts"), REACHING)
def test_a_list_of_some_that_reaches_further_is_read_where_the_list_of_all_does_not(
    busy: Stage, params: dict[str, Any], others: dict[str, Any], lacking: dict[str, str], parts: int
) -> None:
    """Neither lies within the other; what both are about comes once, and the first page of each part besides."""
    asked, whole, rest = (wish("incidents", each) for each in (params, others, params | lacking))
    alone, pages = cost(busy, asked)
    apart_, left = cost(busy, whole)[1], cost(busy, rest)[1]
    for order in ((asked, whole), (whole, asked)):
        snapshot, requests = cost(busy, *order)
        assert told(snapshot, asked) == told(alone, asked)
        assert snapshot.collections[asked].sharing == "shared"
        assert requests == apart_ + left + parts < apart_ + pages


def test_a_list_that_is_not_as_its_parts_are_is_read_on_its_own(busy: Stage) -> None:
    """Should PagerDuty not list in a long time what it lists in a shorter one, that is not there."""
    asked, whole = (wish("incidents", each) for each in REACHING[0][:2])
    *_, hidden = parsed(only(fetch(busy, asked)))

    def without(body: bytes) -> bytes:
        answer = json.loads(body)
        rows = [row for row in answer["incidents"] if row["id"] != hidden]
        return json.dumps(answer | {"incidents": rows, "total": answer["total"] and answer["total"] - 1}).encode()

    def otherwise(request: Any) -> Any:
        is_whole = request.all("statuses[]") and not request.all("until")
        return Changed(busy.tape.app, without) if is_whole else None

    busy.tape.before = otherwise
    try:
        alone, snapshot = fetch(busy, asked), fetch(busy, asked, whole)
    finally:
        busy.tape.before = lambda _: None
    assert told(snapshot, asked) == told(alone, asked)
    assert hidden not in parsed(snapshot.collections[asked])
    assert hidden in parsed(snapshot.collections[whole])
    assert snapshot.collections[asked].sharing == "apart: other since"


def test_a_wider_list_that_fails_takes_nothing_from_a_narrower(law: tuple[Stage, Any]) -> None:
    """Each list stands on its own proof: what others asked for besides is not a reason to be incomplete."""
    staged = law[0]
    narrow = wish("incidents", {"date_range": "all", "include": ["services"]})
    wide = wish("incidents", {"date_range": "all", "include": ["teams"]})
    alone = told(fetch(staged, narrow), narrow)
    timeout = Script([(400, {}, b'{"error":{"message":"no"}}')])
    staged.tape.before = lambda r: timeout if "teams" in r.all("include[]") else None
    try:
        snapshot = fetch(staged, narrow, wide)
    finally:
        staged.tape.before = lambda _: None
    assert told(snapshot, narrow) == alone
    assert not snapshot.collections[wide].complete


def test_a_server_that_gives_more_than_documented_is_asked_for_each(law: tuple[Stage, Any]) -> None:
    """Should a field be there that seemed to have to be asked for, it is not cut."""
    staged, name = law[0], "auto_pause_notifications_parameters"
    plain, full = (wish("services", {"include": include}) for include in ([], [name]))
    more = (b'"response_play":null', f'"response_play":null,"{name}":null'.encode())

    def otherwise(request: Any) -> Any:
        return (
            reworded(staged.tape.app, *more) if request.path == "/services" and not request.all("include[]") else None
        )

    staged.tape.before = otherwise
    try:
        snapshot = fetch(staged, plain, full)
    finally:
        staged.tape.before = lambda _: None
    assert all(name in json.loads(raw) for _, raw in told(snapshot, plain))
    assert snapshot.collections[plain].sharing == "apart: other include"


def test_analytics_of_some_services_do_not_hide_those_of_others(stage: Stage) -> None:
    """Mappings that are read together narrow the rows of analytics only to what all of them want."""
    queries = [
        query("incidents", apiQueryParams={"service_ids": [service]}, incidentAnalytics=True)
        for service in sorted(stage.world.services)[:2]
    ]
    alone = [parsed(only(fetch(stage, each))) for each in queries]
    snapshot = fetch(stage, *queries)
    assert [parsed(snapshot.collections[each]) for each in queries] == alone
    assert all(any(record["__analytics"] for record in each.values()) for each in alone)


def test_another_count_means_that_it_is_read_on_its_own(history: Stage) -> None:
    """Should PagerDuty mean something else by its bounds, what it lists is what counts."""
    short = query("incidents", apiQueryParams={"since": "30d"})
    listed = parsed(only(fetch(history, short)))
    some = dict(list(listed.items())[1:])
    body = json.dumps({"incidents": list(some.values()), "more": False, "total": len(some)}).encode()
    history.tape.before = lambda r: Script([(200, {}, body)]) if r.all("since") and not r.all("date_range") else None
    try:
        snapshot = fetch(history, short, EVER)
    finally:
        history.tape.before = lambda _: None
    assert parsed(snapshot.collections[short]) == some
    assert len(snapshot.collections[EVER].records) == 400


def test_mappings_of_other_times_share_what_is_put_into_records(history: Stage) -> None:
    """Custom fields of an incident that is in both are read once."""
    wishes = [{"since": "20d"}, {"since": "40d"}]
    history.tape.requests.clear()
    fetch(history, *(query("incidents", apiQueryParams=each, includeCustomFields=True) for each in wishes))
    values = [request.path for request in history.tape.requests if request.path.endswith("/custom_fields/values")]
    assert len(values) == len(set(values)) > 0


def test_mappings_of_some_services_share_the_list_of_all(history: Stage) -> None:
    """The service of an incident stands in it."""
    some = sorted(history.world.services)[:2]
    both = query("incidents", apiQueryParams={"date_range": "all", "service_ids": some})
    alone, _ = cost(history, both)
    _, everything = cost(history, EVER)
    snapshot, requests = cost(history, both, EVER)
    assert (parsed(snapshot.collections[both]), requests) == (parsed(only(alone)), everything)


def test_an_enrichment_is_read_once_for_all_who_want_it() -> None:
    """Two mappings of incidents with custom fields: one request an incident, not two."""
    with staging(World(services=4, users=6, incidents=60, incident_days=20)) as stage:
        halves = [
            query("incidents", apiQueryParams={"statuses": list(part)}, includeCustomFields=True)
            for part in (("triggered", "acknowledged"), ("resolved",), STATUSES)
        ]
        snapshot = fetch(stage, *halves)
        values = [request.path for request in stage.tape.requests if request.path.endswith("/custom_fields/values")]
    assert len(values) == len(set(values)) == 60
    assert [
        all("__custom_fields" in record for record in parsed(snapshot.collections[each]).values()) for each in halves
    ] == [True] * 3
