"""What is taken over from an earlier snapshot, and what never is."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pdsync.completeness import PASSING, SUSPICIOUS
from pdsync.errors import SourceError, error
from pdsync.sandbox.world import World
from pdsync.snapshots import merged
from pdsync.sources.pagerduty.picking import picker
from pdsync.state.snapshot_file import dump_snapshot, parse_snapshot
from tests.source.asking import fetch, only, parsed, query
from tests.source.loopback import Script, staging

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pdsync.model import Query, Snapshot
    from tests.source.loopback import Asgi, Request, Stage

METRICS = "/analytics/metrics/incidents/services"
RAW = "/analytics/raw/incidents"
OLD, HOUR = timedelta(days=30), timedelta(hours=1)
COUNT = 240
"""Incidents: more than two pages, some of them old and open."""


@pytest.fixture
def stage() -> Iterator[Stage]:
    with staging(World(services=6, users=10, incidents=COUNT, incident_days=200), limit_per_minute=10**6) as staged:
        yield staged


def kept(snapshot: Snapshot) -> Snapshot:
    """The snapshot after it was written down and read again, as a run finds it."""
    return parse_snapshot(b"".join(dump_snapshot(snapshot)), "snapshot.jsonl")


def asked(stage: Stage, path: str) -> int:
    """How often a path was asked for since the last time."""
    count = stage.tape.count(path)
    stage.tape.requests.clear()
    return count


# --- analytics -------------------------------------------------------------------------------------------------


def test_metrics_are_read_once_a_day(stage: Stage) -> None:
    """Within a day not a single request is spent on them, a day later they are read again, however often in between."""
    first = fetch(stage, query("services"))
    assert asked(stage, METRICS) == 1
    previous = first
    for _ in range(3):
        stage.world.mutate({"action": "advance", "hours": 7})
        previous = kept(fetch(stage, query("services"), previous=previous))
        assert asked(stage, METRICS) == 0
        assert only(previous).as_of == {"__analytics": first.taken_at}
    before = {id_: record["__analytics"] for id_, record in parsed(only(first)).items()}
    assert {id_: record["__analytics"] for id_, record in parsed(only(previous)).items()} == before
    stage.world.mutate({"action": "advance", "hours": 4})
    last = fetch(stage, query("services"), previous=previous)
    assert asked(stage, METRICS) == 1
    assert only(last).as_of == {}


def test_credentials_that_are_refused_are_one_error_whatever_is_known_of_the_day(stage: Stage) -> None:
    """Analytics of the day need no request: that they are there is no sign that anything could be read."""
    wanted = [query("services"), query("analytics.raw.incidents")]
    first = kept(fetch(stage, *wanted))
    stage.tape.before = lambda _: Script([(401, {}, b"{}")])
    with pytest.raises(SourceError) as caught:
        fetch(stage, *wanted, previous=first)
    assert len(caught.value.diagnostics) == 1


def test_metrics_are_read_when_asked_for(stage: Stage) -> None:
    """Afresh on demand, for another window, and for a service that was not there; nothing else is read again."""
    first = kept(fetch(stage, query("services")))
    asked(stage, METRICS)
    fetch(stage, query("services"), previous=first, refresh_analytics=True)
    assert asked(stage, METRICS) == 1
    fetch(stage, query("services", analyticsMonthsPeriod=6), previous=first)
    assert asked(stage, METRICS) == 1
    new = stage.world.mutate({"action": "add_service", "name": "Brand new"})["id"]
    sizes: list[int] = []

    async def counted(scope: Any, receive: Any, send: Any) -> None:
        sizes.append(len((await receive())["body"]))
        await Script([(200, {}, b'{"data":[{"service_id":"another"}]}')])(scope, receive, send)

    stage.tape.before = lambda request: counted if request.path == METRICS else None
    second = only(fetch(stage, query("services"), previous=first))
    assert len(sizes) == 1
    assert sizes[0] < 300
    assert parsed(second)[new]["__analytics"] is None
    assert second.as_of == {"__analytics": first.taken_at}


def test_what_cannot_be_read_again_is_as_it_was(stage: Stage) -> None:
    """Once the quota is spent, asking for analytics anew loses none of the day, and says why they are not younger."""
    wanted = [query("services"), query("analytics.raw.incidents", apiQueryParams={"months": 2})]
    first = kept(fetch(stage, *wanted))
    stage.world.mutate({"action": "add_service", "name": "Brand new"})
    stage.world.mutate({"action": "analytics_quota", "remaining": 0})
    second = fetch(stage, *wanted, previous=first, refresh_analytics=True)
    services, raw = (second.collections[each] for each in wanted)
    before = {id_: record["__analytics"] for id_, record in parsed(first.collections[wanted[0]]).items()}
    told = {id_: record["__analytics"] for id_, record in parsed(services).items() if "__analytics" in record}
    assert (told, services.as_of) == (before, {"__analytics": first.taken_at})
    assert [note.code for note in services.notes] == ["PD330", "PD332"]
    assert (raw.complete, raw.records, raw.as_of) == (True, first.collections[wanted[1]].records, {"": first.taken_at})
    (note,) = raw.notes
    assert ("quota" in note.detail, first.taken_at in note.hint) == (True, True)
    assert fetch(stage, *wanted, previous=kept(second)).collections[wanted[1]].notes == ()  # nobody tried
    stage.world.mutate({"action": "advance", "hours": 25})
    services, raw = (fetch(stage, *wanted, previous=first).collections[each] for each in wanted)
    assert (raw.complete, [note.code for note in services.notes]) == (False, ["PD330"])


def test_refused_credentials_are_no_reason_to_use_what_is_there(stage: Stage) -> None:
    """Where all that is asked for anew is refused to whoever asks, the run ends with that."""
    wanted = query("analytics.raw.incidents", apiQueryParams={"months": 2})
    first = kept(fetch(stage, wanted))
    stage.tape.before = lambda _: Script([(401, {}, b"{}")])
    with pytest.raises(SourceError, match="401"):
        fetch(stage, wanted, previous=first, refresh_analytics=True)
    assert only(fetch(stage, wanted, previous=first)).records == only(first).records


def test_a_snapshot_of_elsewhere_or_of_the_future_is_of_no_use(stage: Stage) -> None:
    """Another account, or a clock that went backwards: analytics are read."""
    first = fetch(stage, query("services"))
    for other in (
        replace(first, source="https://api.eu.pagerduty.com"),
        replace(first, taken_at="2031-01-01T00:00:00Z"),
        replace(first, taken_at="2019-01-01T00:00:00Z"),
    ):
        asked(stage, METRICS)
        fetch(stage, query("services"), previous=other)
        assert asked(stage, METRICS) == 1


def test_what_was_unavailable_is_asked_for_again(stage: Stage) -> None:
    """A spent quota is not kept for a day."""
    stage.world.mutate({"action": "analytics_quota", "remaining": 0})
    first = kept(fetch(stage, query("services")))
    stage.world.mutate({"action": "analytics_quota", "remaining": None})
    asked(stage, METRICS)
    second = only(fetch(stage, query("services"), previous=first))
    assert asked(stage, METRICS) == 1
    assert [record.unavailable for record in second.records if record.unavailable] == []


def test_lists_of_analytics_are_taken_over_for_a_day(stage: Stage) -> None:
    """A kind that is analytics costs nothing within a day, and says how old it is."""
    wanted = query("analytics.raw.incidents", apiQueryParams={"months": 2})
    first = kept(fetch(stage, wanted))
    assert asked(stage, RAW) == 1
    second = only(fetch(stage, wanted, previous=first))
    assert (asked(stage, RAW), second.requests) == (0, 0)
    assert second.records == only(first).records
    assert second.as_of == {"": first.taken_at}
    fetch(stage, query("analytics.raw.incidents", apiQueryParams={"months": 3}), previous=first)
    assert asked(stage, RAW) == 1
    fetch(stage, wanted, previous=first, refresh_analytics=True)
    assert asked(stage, RAW) == 1


def test_a_list_of_analytics_in_doubt_is_read_again_once_that_could_dispel_it(stage: Stage) -> None:
    """Every snapshot before took one of the day's requests for it, to no avail."""
    wanted = query("analytics.raw.incidents", apiQueryParams={"months": 2})
    first = fetch(stage, wanted)
    short = replace(only(first), problem=error(SUSPICIOUS, "a list shrank"), short_since=first.taken_at)
    doubted = kept(replace(first, collections={wanted: short}))
    asked(stage, RAW)
    for hours, requests in ((0, 0), (1, 0), (1, 1)):
        stage.world.mutate({"action": "advance", "hours": hours})
        again = only(fetch(stage, wanted, previous=doubted, again_after=2 * HOUR))
        assert (asked(stage, RAW), again.complete, bool(again.as_of)) == (requests, True, not requests)
        assert asked(stage, RAW) == 0
    fetch(stage, wanted, previous=doubted, again_after=9 * HOUR, refresh_analytics=True)
    assert asked(stage, RAW) == 1
    older = replace(doubted, collections={wanted: replace(short, short_since="")})  # which did not tell since when
    assert only(fetch(stage, wanted, previous=kept(older), again_after=9 * HOUR)).complete


# --- settled incidents -----------------------------------------------------------------------------------------

EVERYTHING = {"date_range": "all"}
YEAR = {"since": "12mo"}
WINDOWS: list[dict[str, Any]] = [EVERYTHING, {"since": "150d"}, {"since": "3mo", "until": "now"}, {"since": 6}]


@pytest.mark.parametrize("params", WINDOWS)
def test_old_resolved_incidents_are_not_read_again(stage: Stage, params: dict[str, Any]) -> None:
    """The snapshot is the same, byte for byte, in far fewer requests, and says that it is incremental."""
    wanted = query("incidents", apiQueryParams=params)
    first = fetch(stage, wanted)
    full = len(stage.tape.requests)
    stage.tape.requests.clear()
    second = fetch(stage, wanted, previous=kept(first), settled_after=OLD)
    assert second.digest == first.digest
    assert (only(first).incremental, only(second).incremental) == (False, True)
    assert len(stage.tape.requests) < full + 3
    assert only(second).complete
    listed = [r for r in stage.tape.requests if r.path == "/incidents" and r.all("limit") == ["100"]]
    assert all(r.all("statuses[]") or r.all("since")[0] >= "2026-04" for r in listed)


@pytest.mark.parametrize("told", ["yesterday", 5, None, "0001-01-01T00:00:00Z"])
def test_a_record_that_does_not_say_when_it_was_made_stops_nothing(told: str | int | None) -> None:
    """All is read as a whole then, and nothing is made of its analytics; what is listed by time leaves it out."""
    wanted = query("incidents", incidentAnalytics=True, apiQueryParams=EVERYTHING)
    with staging(World(services=2, users=2, incidents=20, incident_days=200)) as stage:
        odd, *others = parsed(only(fetch(stage, query("incidents", apiQueryParams=EVERYTHING)))).values()
        odd["created_at"] = told
        page = json.dumps({"incidents": [odd, *others], "more": False, "total": 20, "limit": 100, "offset": 0})
        whole = Script([(200, {}, page.encode())])
        stage.tape.before = lambda r: whole if r.path == "/incidents" else None
        first = fetch(stage, wanted)
        second = only(fetch(stage, wanted, previous=kept(first), settled_after=OLD))
    recent, whole_list = (query("incidents", apiQueryParams=each).params for each in ({"since": "3mo"}, EVERYTHING))
    takes = picker(("incidents", recent), ("incidents", whole_list), stage.now())
    assert not takes(json.dumps(odd).encode())
    for collection in (only(first), second):
        assert collection.complete
        assert [record.id for record in collection.records if record.unavailable] == [odd["id"]]
    assert not second.incremental


_STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("resolve_incident"), st.integers(0, COUNT - 1)),
        st.tuples(st.just("acknowledge_incident"), st.integers(0, COUNT - 1)),
        st.tuples(st.just("reopen"), st.integers(0, COUNT - 1)),
        st.tuples(st.just("trigger_incident"), st.integers(0, 5)),
        st.tuples(st.just("advance"), st.integers(1, 300)),
        st.tuples(st.just("delete_service"), st.integers(0, 5)),
    ),
    max_size=8,
)


def _change(world: World, step: tuple[str, int]) -> None:
    """One change, if it can be done."""
    action, number = step
    table = world.incidents
    services = sorted(world.services)
    if action == "advance":
        world.mutate({"action": action, "hours": number})
    elif action == "trigger_incident":
        world.mutate({"action": action, "service_id": services[number % len(services)], "title": "New"})
    elif action == "delete_service":
        if len(services) > 1:
            world.mutate({"action": action, "id": services[number % len(services)]})
    elif action == "reopen":
        table.status[number] = 0
        world.version += 1
    elif not table.hidden[number] and table.status[number] < (2 if action == "resolve_incident" else 1):
        world.mutate({"action": action, "id": table.ids[number]})


SHAPES = ("all", "expanded", "parted")
"""One mapping of all incidents, plain or with more in each; or one of the open ones and one of the resolved ones."""


def _mappings(shape: str, params: dict[str, Any]) -> list[Query]:
    if shape == "parted":
        opened = query("incidents", apiQueryParams={"date_range": "all", "statuses": ["triggered", "acknowledged"]})
        resolved = {**params, "statuses": ["resolved"], "include": ["assignees"]}
        return [opened, query("incidents", apiQueryParams=resolved)]
    include = {"include": ["services"]} if shape == "expanded" else {}
    return [query("incidents", apiQueryParams={**params, **include})]


@settings(max_examples=14, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(_STEPS, st.sampled_from(WINDOWS), st.sampled_from(SHAPES))
def test_an_incremental_reading_is_what_a_full_one_would_be(
    steps: list[tuple[str, int]], params: dict[str, Any], shape: str
) -> None:
    """Incidents resolved, reopened, new, deleted, windows moving on: the same records come either way.

    So they do where every page is asked for, and those that are known are not looked into.
    One that was reopened and is resolved again looks settled all the while: the next full reading brings what changed.
    """
    wanted = _mappings(shape, params)
    with staging(World(services=6, users=10, incidents=COUNT, incident_days=200), limit_per_minute=10**6) as stage:
        first = kept(fetch(stage, *wanted))
        for step in steps:
            _change(stage.world, step)
        full, quick = fetch(stage, *wanted), fetch(stage, *wanted, previous=first, settled_after=OLD)
        again = fetch(stage, *wanted, previous=first)
        reopened = {stage.world.incidents.ids[number] for action, number in steps if action == "reopen"}
    for each in wanted:
        assert again.collections[each].records == full.collections[each].records
        before = parsed(first.collections[each])
        seemed_settled = {id_ for id_, record in before.items() if record["status"] == "resolved"}
        mine, whole = quick.collections[each], full.collections[each]
        taken, read = ({record.id: record.raw for record in collection.records} for collection in (mine, whole))
        differing = {id_ for id_ in taken.keys() | read.keys() if taken.get(id_) != read.get(id_)}
        assert taken.keys() == read.keys()
        assert differing <= reopened & seemed_settled or (shape == "expanded" and mine.incremental)


@pytest.mark.parametrize("params", WINDOWS)
def test_resolved_incidents_of_their_own_mapping_are_not_read_again(stage: Stage, params: dict[str, Any]) -> None:
    """As in the starter: what is resolved meanwhile is known from the mapping of the open ones."""
    wanted = _mappings("parted", params)
    first = kept(fetch(stage, *wanted))
    full = len(stage.tape.requests)
    opened = next(id_ for id_, each in parsed(first.collections[wanted[0]]).items() if each["created_at"] < "2026-04")
    stage.world.mutate({"action": "resolve_incident", "id": opened})
    stage.tape.requests.clear()
    second = fetch(stage, *wanted, previous=first, settled_after=OLD)
    assert [second.collections[each].incremental for each in wanted] == [False, True]
    assert len(stage.tape.requests) < full + 5
    assert parsed(second.collections[wanted[1]]) == parsed(fetch(stage, *wanted).collections[wanted[1]])


def test_resolved_incidents_alone_are_read_as_a_whole(stage: Stage) -> None:
    """Where no other mapping has the open ones of the same time, nobody knows what was resolved meanwhile."""
    _, resolved = _mappings("parted", EVERYTHING)
    shorter = query("incidents", apiQueryParams={"since": "100d", "statuses": ["triggered", "acknowledged"]})
    triggered = query(
        "incidents", apiQueryParams={"date_range": "all", "statuses": ["triggered"], "include": ["teams"]}
    )
    for others in ([], [shorter], [triggered]):
        first = kept(fetch(stage, resolved, *others))
        second = fetch(stage, resolved, *others, previous=first, settled_after=OLD)
        assert not second.collections[resolved].incremental


@pytest.mark.parametrize(
    "other", [{"since": "100d"}, {"since": "190d", "until": "-80d"}, {"since": "190d", "until": "-20d"}]
)
def test_what_is_settled_is_not_read_again_for_the_sake_of_another_list(other: dict[str, str]) -> None:
    """A list that goes further than another one is not put together from that and a rest of which nothing is known.

    Where the rest is of what may change, it is, and says what of it was taken over.
    """
    wanted = [
        *_mappings("parted", {"since": "170d"}),
        query("incidents", apiQueryParams={**other, "include": ["assignees"]}),
    ]
    with staging(World(services=6, users=10, incidents=1500, incident_days=200), limit_per_minute=10**6) as stage:
        first = kept(fetch(stage, *wanted))
        second = fetch(stage, *wanted, previous=first, settled_after=OLD)
    assert second.collections[wanted[1]].incremental
    assert second.digest == first.digest


def test_an_old_incident_that_was_resolved_meanwhile_is_looked_up(stage: Stage) -> None:
    """It is no longer among the open ones: one request shows it as it is now, and the rest stays taken over."""
    wanted = query("incidents", apiQueryParams=EVERYTHING)
    first = fetch(stage, wanted)
    old = next(
        id_
        for id_, record in parsed(only(first)).items()
        if record["status"] != "resolved" and record["created_at"] < "2026-04"
    )
    stage.world.mutate({"action": "resolve_incident", "id": old})
    stage.tape.requests.clear()
    second = only(fetch(stage, wanted, previous=kept(first), settled_after=OLD))
    made = parsed(only(first))[old]["created_at"]
    assert [r.all("since") for r in stage.tape.requests if r.all("since") == [made]] == [[made]]
    assert (second.incremental, parsed(second)[old]["status"]) == (True, "resolved")


def test_two_mappings_that_part_the_incidents_share_what_is_settled(stage: Stage) -> None:
    """Open ones in one, resolved ones in the other: together they are all there is, so the old need not be read."""
    parts = [query("incidents", apiQueryParams={**EVERYTHING, "statuses": list(s)}) for s in _PARTS]
    first = fetch(stage, *parts)
    stage.tape.requests.clear()
    second = fetch(stage, *parts, previous=kept(first), settled_after=OLD)
    assert second.digest == first.digest
    assert [second.collections[each].incremental for each in parts] == [False, True]


_PARTS = (("triggered", "acknowledged"), ("resolved",))
UNSOUND: list[dict[str, Any]] = [
    {**EVERYTHING, "statuses": ["resolved"]},
    {**EVERYTHING, "urgencies": ["high"]},
    {**EVERYTHING, "service_ids": ["a service"]},
]


@pytest.mark.parametrize("params", UNSOUND)
def test_filters_that_a_settled_incident_may_pass_through_are_read_as_a_whole(
    stage: Stage, params: dict[str, Any]
) -> None:
    """What an old incident was when it was open decides nothing: such lists are never incremental."""
    busiest = stage.world.incidents.service_ids[0]
    params = {name: [busiest] if value == ["a service"] else value for name, value in params.items()}
    wanted = query("incidents", apiQueryParams=params)
    first = fetch(stage, wanted)
    assert any(record["status"] == "resolved" for record in parsed(only(first)).values())
    assert not only(fetch(stage, wanted, previous=kept(first), settled_after=OLD)).incremental


def test_an_incomplete_snapshot_settles_nothing(stage: Stage) -> None:
    """What may be missing there may not be missing here."""
    wanted = query("incidents", apiQueryParams=EVERYTHING)
    stage.tape.before = lambda request: _refusal if request.all("offset") == ["198"] else None
    first = kept(fetch(stage, wanted))
    stage.tape.before = lambda _: None
    second = only(fetch(stage, wanted, previous=first, settled_after=OLD))
    assert not only(first).complete
    assert (second.complete, second.incremental, len(second.records)) == (True, False, COUNT)


_refusal: Asgi = Script([(404, {}, b"{}")])


def test_that_there_are_no_young_incidents_is_not_believed_at_once(stage: Stage) -> None:
    """A part that is empty, and counted so, is seen by nobody among those that were taken over."""
    wanted = query("incidents", apiQueryParams=EVERYTHING)
    first = fetch(stage, wanted)
    nothing = [Script([(200, {}, b'{"incidents":[],"limit":100,"offset":0,"more":false,"total":0}')])]

    def answer(request: Request) -> Asgi | None:
        young = "limit" in dict(request.params) and request.all("since") > ["2026-04"] and not request.all("statuses[]")
        return nothing.pop() if nothing and young else None

    stage.tape.before = answer
    second = fetch(stage, wanted, previous=kept(first), settled_after=OLD)
    assert (second.digest == first.digest, only(second).incremental, nothing) == (True, True, [])


@pytest.mark.parametrize("settled_after", [None, OLD])
def test_a_stretch_of_time_that_had_many_is_not_empty_at_once(stage: Stage, settled_after: timedelta | None) -> None:
    """Of a part that stays empty nobody sees in the whole that it is gone: what was in it may still be there."""
    wanted = query("incidents", apiQueryParams={"since": "12mo"})
    first = fetch(stage, wanted)
    begin = min(r.all("since")[0] for r in stage.tape.requests[-9:] if r.all("since") > ["2026-0"])
    nothing = Script([(200, {}, b'{"incidents":[],"limit":100,"offset":0,"more":false,"total":0}')])
    stage.tape.before = lambda r: nothing if r.all("since") >= [begin] and r.all("offset") == ["0"] else None
    previous = kept(first)
    for _ in range(2):
        found = only(snapshot := fetch(stage, wanted, previous=previous, settled_after=settled_after))
        lost = parsed(only(first)).keys() - parsed(found).keys()
        assert (found.complete, len(lost) >= PASSING.halved, set(found.missing)) == (True, True, lost)
        previous = kept(snapshot)
    stage.tape.before = lambda _: None
    found = only(fetch(stage, wanted, previous=previous, settled_after=settled_after))
    assert (len(found.records), found.missing) == (COUNT, {})


def test_what_is_missing_of_an_old_stretch_stays_in_doubt(stage: Stage) -> None:
    """What was settled is no longer among what is known, and the count fits that: all is read until it is believed."""
    wanted = query("incidents", apiQueryParams={"since": "12mo"})
    snapshot = fetch(stage, wanted)
    old = {id_ for id_, record in parsed(only(snapshot)).items() if record["created_at"] < "2026-02-02"}
    table = stage.world.incidents
    for row in range(COUNT):
        table.hidden[row] = table.ids[row] in old
    stage.world.version += 1
    for _ in range(2):
        snapshot = fetch(stage, wanted, previous=kept(snapshot), settled_after=OLD)
        assert (only(snapshot).complete, set(only(snapshot).missing)) == (True, old)


OTHERWISE: tuple[tuple[dict[str, Any], dict[str, Any], Callable[[dict[str, Any]], bool]], ...] = (
    ({"since": "180d"}, {"date_range": "all"}, lambda _: True),
    ({"date_range": "all"}, {"date_range": "all", "statuses": ["resolved"]}, lambda one: one["status"] == "resolved"),
    (
        {"date_range": "all", "statuses": ["resolved"]},
        {"date_range": "all", "statuses": ["resolved", "triggered"]},
        lambda _: True,
    ),
)


@pytest.mark.parametrize("share", [3, 0])
@pytest.mark.parametrize(("before", "after", "fits"), OTHERWISE, ids=["wider", "narrower", "more"])
def test_what_is_asked_for_in_another_way_is_compared_with_what_fits_it(
    stage: Stage, before: dict[str, Any], after: dict[str, Any], fits: Any, share: int
) -> None:
    """Who changes a filter while half of a list is not there would not see it, as there was no such list before."""
    first = kept(fetch(stage, query("incidents", apiQueryParams=before)))
    had = {id_ for id_, one in parsed(only(first)).items() if fits(one)}
    calm = only(fetch(stage, query("incidents", apiQueryParams=after), previous=first))
    assert (calm.complete, calm.missing, had - parsed(calm).keys()) == (True, {}, set())
    stage.world.mutate({"action": "empty", "kind": "incidents"})
    stage.world.shrunk["incidents"] = share
    last = first
    for _ in range(3):
        last = kept(fetch(stage, query("incidents", apiQueryParams=after), previous=last))
        assert {*only(last).missing} == had - parsed(only(last)).keys() != set()
    stage.world.mutate({"action": "restore", "kind": "incidents"})
    assert only(fetch(stage, query("incidents", apiQueryParams=after), previous=last)).missing == {}


def test_what_a_narrower_filter_leaves_out_is_not_missing(stage: Stage) -> None:
    """However little is left: it says itself that it is not asked for."""
    first = kept(fetch(stage, query("incidents", apiQueryParams={"date_range": "all"})))
    for after in (
        {"since": "3d"},
        {"date_range": "all", "urgencies": ["low"]},
        {"since": "60d", "statuses": ["triggered"]},
    ):
        assert only(fetch(stage, query("incidents", apiQueryParams=after), previous=first)).missing == {}


def test_a_count_that_does_not_fit_means_a_full_reading(stage: Stage) -> None:
    """PagerDuty counts one more among the old ones than are known: all are read."""
    wanted = query("incidents", apiQueryParams=EVERYTHING)
    first = fetch(stage, wanted)
    lost = replace(only(first), records=tuple(r for r in only(first).records if r.id != only(first).records[7].id))
    previous = kept(replace(first, collections={wanted: lost}))
    second = fetch(stage, wanted, previous=previous, settled_after=OLD)
    assert second.digest == first.digest
    assert not only(second).incremental


def test_what_came_since_the_incidents_were_read_is_not_taken_for_settled(stage: Stage) -> None:
    """Also where a snapshot of another kind is laid over theirs, and one that is gone makes up for one that came."""
    wanted = query("incidents", apiQueryParams={"date_range": "all"})
    old = kept(fetch(stage, wanted))
    table = stage.world.incidents
    table.hidden[0] = 1
    stage.world.mutate({"action": "advance", "hours": 24})
    service = min(stage.world.services)
    new = stage.world.mutate({"action": "trigger_incident", "service_id": service, "title": "New"})["id"]
    stage.world.mutate({"action": "resolve_incident", "id": new})
    stage.world.mutate({"action": "advance", "hours": 24 * 31})
    both = kept(merged(old, fetch(stage, query("teams"))))
    again = only(fetch(stage, wanted, previous=both, settled_after=OLD))
    assert again.complete
    assert {record.id for record in again.records} == {*(table.ids[row] for row in range(1, COUNT)), new}


def test_what_was_put_into_settled_incidents_is_kept_with_them(stage: Stage) -> None:
    """Custom fields and analytics of old incidents are not asked for again, those of the others are."""
    wanted = query("incidents", apiQueryParams=EVERYTHING, includeCustomFields=True, incidentAnalytics=True)
    first = fetch(stage, wanted)
    stage.tape.requests.clear()
    stage.world.mutate({"action": "advance", "hours": 30})
    second = fetch(stage, wanted, previous=kept(first), settled_after=OLD)
    values = [r.path.split("/")[2] for r in stage.tape.requests if r.path.endswith("/values")]
    fresh = [id_ for id_, record in parsed(only(second)).items() if _is_fresh(record)]
    assert sorted(values) == sorted(fresh)
    assert 0 < len(fresh) < COUNT // 3
    before, after = parsed(only(first)), parsed(only(second))
    assert {id_: r["__custom_fields"] for id_, r in after.items()} == {
        id_: r["__custom_fields"] for id_, r in before.items()
    }
    assert all("__analytics" in record for record in after.values())


def test_what_was_put_into_settled_incidents_is_what_was_read_last(stage: Stage) -> None:
    """Also where a snapshot of one kind has left a list of another catalog."""
    before, now = (query("incidents", apiQueryParams=each, includeCustomFields=True) for each in (EVERYTHING, YEAR))
    first = fetch(stage, before)
    old = min(
        (r for r in parsed(only(first)).values() if r["status"] == "resolved"), key=lambda r: str(r["created_at"])
    )
    path, new = f"/incidents/{old['id']}/custom_fields/values", Script([(200, {}, b'{"custom_fields":[{"id":"NEW"}]}')])
    stage.tape.before = lambda r: new if r.path == path else None
    stage.world.mutate({"action": "advance", "hours": 1})
    both = kept(merged(kept(first), kept(fetch(stage, now))))
    stage.tape.before = lambda _: None
    again = only(fetch(stage, now, previous=both, settled_after=OLD))
    assert again.incremental
    assert parsed(again)[old["id"]]["__custom_fields"] == [{"id": "NEW"}]


def test_custom_fields_are_asked_for_once_more_before_they_are_gone(stage: Stage) -> None:
    """One empty answer loses nothing, neither does one to each; where there were none, nobody asks again."""
    wanted = query("services", includeCustomFields=True)
    first = kept(fetch(stage, wanted))
    told = {id_: record["__custom_fields"] for id_, record in parsed(only(first)).items()}
    assert all(told.values())
    empty = set(told)

    def once(request: Request) -> Asgi | None:
        id_ = request.path.removeprefix("/services/").partition("/")[0]
        if not request.path.endswith("/values") or id_ not in empty:
            return None
        empty.discard(id_)
        return Script([(200, {}, b'{"custom_fields": [ ]}')])

    stage.tape.before = once
    second = only(fetch(stage, wanted, previous=first))
    assert {id_: record["__custom_fields"] for id_, record in parsed(second).items()} == told
    stage.tape.before = lambda r: Script([(200, {}, b'{"custom_fields":[]}')]) if r.path.endswith("/values") else None
    third = fetch(stage, wanted, previous=first)
    assert all(record["__custom_fields"] == [] for record in parsed(only(third)).values())
    stage.tape.requests.clear()
    fetch(stage, wanted, previous=kept(third))
    assert sum(request.path.endswith("/values") for request in stage.tape.requests) == len(told)


def _is_fresh(record: dict[str, Any]) -> bool:
    return bool(record["status"] != "resolved" or record["created_at"] >= "2026-05-03T18:00:00Z")


def test_nothing_is_taken_over_without_being_asked(stage: Stage) -> None:
    """A previous snapshot alone makes no incident incremental."""
    wanted: Query = query("incidents", apiQueryParams=EVERYTHING)
    first = fetch(stage, wanted)
    assert not only(fetch(stage, wanted, previous=kept(first))).incremental


def test_what_is_under_what_may_be_there_may_be_there_too(stage: Stage) -> None:
    """A stretch of incidents that comes empty takes no alert along."""
    params = {"since": "12mo"}
    wanted = (query("incidents", apiQueryParams=params), query("incidents.alerts", parents={"apiQueryParams": params}))
    first = fetch(stage, *wanted)
    incidents, alerts = (parsed(each) for each in first.collections.values())
    old = {id_ for id_, record in incidents.items() if record["created_at"] < "2026-02-02"}
    table = stage.world.incidents
    for row in range(COUNT):
        table.hidden[row] = table.ids[row] in old
    stage.world.version += 1
    last = first
    for _ in range(2):
        last = kept(fetch(stage, *wanted, previous=last))
        above, below = last.collections.values()
        assert ({*above.missing}, above.complete, below.complete) == (old, True, True)
        assert {*below.missing} == alerts.keys() - parsed(below).keys() != set()
