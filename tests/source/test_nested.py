"""Lists under parents: what one parent's trouble means for all, and shift-based schedules among the others."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from contextlib import suppress
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from pdsync.completeness import parents_list
from pdsync.kinds import KINDS
from pdsync.model import Missing
from pdsync.sandbox.world import World
from pdsync.sources.pagerduty.listing import Listing, Tally
from pdsync.sources.pagerduty.nested import Had, Nest
from pdsync.sources.pagerduty.shelf import IN_MEMORY
from pdsync.transport import Reply
from tests.source.asking import fetch, only, parsed, query
from tests.source.loopback import Script, Stage, Tape, serving, staging
from tests.source.served import Lists

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pdsync.model import Collection, Query
    from pdsync.sources.pagerduty.moments import Params
    from tests.source.loopback import Asgi, Request

MEMBERS = query("teams.members")


@pytest.fixture
def lists() -> Iterator[Stage]:
    tape = Tape(Lists())
    with serving(tape) as url:
        yield Stage(World(services=1, incidents=0), tape, url)


def answering(status: int, *paths: str) -> Any:
    return lambda request: Script([(status, {}, b"{}")]) if request.path in paths else None


def members(collection: Collection) -> list[str]:
    return sorted({record.id.partition("/")[0] for record in collection.records})


TEAMS = ["teams:0", "teams:1", "teams:2"]


@pytest.mark.parametrize("status", [400, 403, 500])
def test_one_parent_that_fails_is_named(lists: Stage, status: int) -> None:
    """The others' records are there, absence proves nothing, and the message says whose are missing."""
    lists.tape.before = answering(status, "/teams/teams:1/members")
    collection = only(fetch(lists, MEMBERS))
    assert members(collection) == ["teams:0", "teams:2"]
    assert collection.problem is not None
    assert (collection.problem.code, collection.problem.records) == ("PD324", ("teams/teams:1",))
    assert collection.problem.detail.startswith(f"teams.members of teams/teams:1: PagerDuty answered {status}")


def test_a_parent_that_vanished_meanwhile_is_no_hole(lists: Stage) -> None:
    """It answers 404, and is no longer listed: nothing of it is missing."""
    gone: list[str] = []

    def vanishing(request: Request) -> Asgi | None:
        if request.path == "/teams/teams:1/members":
            gone.append("teams:1")
            return Script([(404, {}, b"{}")])
        if request.path == "/teams" and gone:
            rows = [row for row in Lists().rows("/teams") if row["id"] not in gone]
            return Script([(200, {}, json.dumps({"teams": rows, "more": False, "total": len(rows)}).encode())])
        return None

    lists.tape.before = vanishing
    collection = only(fetch(lists, MEMBERS))
    assert (collection.problem, members(collection)) == (None, ["teams:0", "teams:2"])
    assert lists.tape.count("/teams") == 2


def test_a_404_of_a_parent_that_is_there_is_a_hole(lists: Stage) -> None:
    """Its list may be hidden from us, or the whole endpoint gone: never taken for empty."""
    lists.tape.before = answering(404, *(f"/teams/{team}/members" for team in TEAMS))
    collection = only(fetch(lists, MEMBERS))
    assert collection.problem is not None
    assert collection.problem.records == tuple(f"teams/{team}" for team in TEAMS)
    assert "404 although teams/teams:0 is there (and 2 more of 3)" in collection.problem.detail


def test_that_a_parent_has_nothing_any_more_is_asked_twice(lists: Stage) -> None:
    """Where no count says so and it had something; of the others, and where all is new, it costs no request more."""
    wanted = query("users.contact_methods")
    first = fetch(lists, wanted)
    path, requests = lists.tape.requests[-1].path, len(lists.tape.requests)
    once = [Script([(200, {}, b'{"contact_methods": []}')])]
    lists.tape.before = lambda request: once.pop() if request.path == path and once else None
    second = fetch(lists, wanted, previous=first)
    assert {record.id for record in only(second).records} == {record.id for record in only(first).records}
    assert len(lists.tape.requests) == 2 * requests + 1
    lists.tape.before = lambda r: Script([(200, {}, b'{"contact_methods": []}')]) if r.path == path else None
    third, fourth = fetch(lists, wanted, previous=second), fetch(lists, wanted)
    lost = {record.id for record in only(first).records} - {record.id for record in only(third).records}
    assert lost == {*only(third).missing} == {record.id for record in only(first).records} - {*parsed(only(fourth))}
    assert {each.parent for each in only(third).missing.values()} == {path.split("/")[2]}
    assert len(lists.tape.requests) == 4 * requests + 2
    fifth = fetch(lists, wanted, previous=third)
    assert (only(fifth).missing, len(lists.tape.requests)) == (only(third).missing, 5 * requests + 3)
    lists.tape.before = answering(403, "/users")
    assert only(fetch(lists, wanted, previous=fifth)).missing.keys() == {record.id for record in only(first).records}


def test_a_counted_list_under_a_parent_that_comes_empty_is_asked_for_twice(lists: Stage) -> None:
    """Among the lists of all parents nobody sees that one is empty; that it says so twice is believed."""
    wanted = query("incidents.alerts")
    first = fetch(lists, wanted)
    path, empty = lists.tape.requests[-1].path, Script([(200, {}, b'{"alerts": [], "more": false, "total": 0}')])
    once = [empty]
    lists.tape.before = lambda request: once.pop() if request.path == path and once else None
    second = fetch(lists, wanted, previous=first)
    assert ({*parsed(only(second))}, once) == ({*parsed(only(first))}, [])
    lists.tape.before = lambda request: empty if request.path == path else None
    third = only(fetch(lists, wanted, previous=first))
    assert (third.complete, third.missing, len(third.records) < len(only(first).records)) == (True, {}, True)


@pytest.mark.parametrize(("left", "asked"), [(2, 2), (3, 1)])
def test_half_of_a_list_that_stands_alone_is_asked_for_twice(left: int, asked: int) -> None:
    """Nothing counts it either; what the second answer has is there."""
    answers = [range(4), range(left), range(4)]
    bodies = [json.dumps({"licenses": [{"id": f"PL{n}"} for n in each]}).encode() for each in answers]
    tape = Tape(Script([(200, {}, body) for body in bodies]))
    wanted = query("licenses")
    with serving(tape) as url:
        stage = Stage(World(services=1, incidents=0), tape, url)
        first = fetch(stage, wanted)
        second = only(fetch(stage, wanted, previous=first))
    assert (len(tape.requests), len(second.records)) == (1 + asked, 4 if asked == 2 else left)


PARENTS: list[tuple[str, Params]] = [("users", ()), ("services", (("include[]", "integrations"),))]


def test_half_of_a_list_that_nothing_counts_is_doubted_too() -> None:
    """Two of four under a parent, asked for twice; one of three may well go.  What stands in the parent is no other."""
    users = [{"id": id_, "type": "user"} for id_ in ("PU1", "PU2")]
    own = {"PU1": ["A", "B", "C", "D"], "PU2": ["E", "F", "G"]}
    services = [{"id": "PS1", "type": "service", "integrations": [{"id": id_} for id_ in "IJKL"]}]

    async def app(scope: Any, receive: Any, send: Any) -> None:
        path = scope["path"].split("/")
        lists: dict[str, list[Any]] = {
            "users": users if len(path) == 2 else [],
            "contact_methods": [{"id": id_} for id_ in own.get(path[2], [])] if len(path) > 2 else [],
            "services": services,
        }
        body = {path[-1]: lists[path[-1]]} | ({} if len(path) > 2 else {"more": False, "total": len(lists[path[-1]])})
        await Script([(200, {}, json.dumps(body).encode())])(scope, receive, send)

    tape = Tape(app)
    wanted = [query("users.contact_methods"), query("services.integrations")]
    with serving(tape) as url:
        stage = Stage(World(services=1, incidents=0), tape, url)
        first = fetch(stage, *wanted)
        own |= {"PU1": ["A", "B"], "PU2": ["E"]}
        services[0]["integrations"] = [{"id": "I"}]
        second = fetch(stage, *wanted, previous=first)
    methods, integrations = second.collections.values()
    assert [second.leaned[parents_list(kind, params)].count for kind, params in PARENTS] == [2, 1]
    assert methods.missing == {"C": Missing("PU1"), "D": Missing("PU1")}
    assert integrations.missing == dict.fromkeys("JKL", Missing("PS1"))
    assert [tape.count(f"/users/{id_}/contact_methods") for id_ in own] == [3, 2]


def test_what_is_owned_and_missing_is_looked_for_once_more(lists: Stage) -> None:
    """Where no snapshot is kept: parents that came empty are asked again if something is missing, and only then."""
    wanted = query("users.contact_methods")
    first = fetch(lists, wanted)
    path, requests = lists.tape.requests[-1].path, len(lists.tape.requests)
    ids = {record.id for record in only(first).records}
    once = [Script([(200, {}, b'{"contact_methods": []}')])]
    lists.tape.before = lambda request: once.pop() if request.path == path and once else None
    second = fetch(lists, wanted, owned={(wanted.kind, wanted.params): dict.fromkeys(ids, "")})
    assert ({record.id for record in only(second).records}, len(lists.tape.requests)) == (ids, 2 * requests + 1)
    lists.tape.before = lambda r: Script([(200, {}, b'{"contact_methods": []}')]) if r.path == path else None
    third = fetch(lists, wanted)
    assert (len(only(third).records) < len(ids), len(lists.tape.requests)) == (True, 3 * requests + 1)
    assert (only(first).missing, only(second).missing, only(third).missing) == ({}, {}, {})
    fourth = only(fetch(lists, wanted, owned={(wanted.kind, wanted.params): dict.fromkeys(ids, "")}))
    assert {*fourth.missing} == ids - {*parsed(fourth)} != set()


def test_an_owned_record_of_a_list_without_parents_is_missing_where_that_comes_empty() -> None:
    """One that only the path of the list tells of is under no parent, and so is the list."""
    kind, owned = KINDS["standards.scores"], {"technical_services/S1": ""}

    async def send(*_: Any, **__: Any) -> Any:
        return Reply(200, {}, json.dumps({kind.rows: []}).encode())

    async def lists(*_: Any) -> Listing:
        return Listing(IN_MEMORY.rows())

    asker, now = SimpleNamespace(send=send), datetime(2026, 6, 1, tzinfo=UTC)
    nest = Nest(
        asker, kind, (), now, lists=lists, afresh=lists, had=Had(owned=owned), tally=Tally("", None), shelf=IN_MEMORY
    )
    assert asyncio.run(nest.read()).missing.keys() == owned.keys()


def test_an_owned_record_whose_id_tells_its_parent_is_missing_under_that_one_alone(lists: Stage) -> None:
    """Where no snapshot is kept: what is gone from a list that has others is gone."""
    wanted = query("schedules.users")
    ids = {*parsed(only(fetch(lists, wanted)))}
    first, *_, last = sorted({id_.partition("/")[0] for id_ in ids})
    path, owned = f"/schedules/{first}/users", dict.fromkeys({*ids, f"{last}/PGONE"}, "")
    lists.tape.before = lambda r: Script([(200, {}, b'{"users": []}')]) if r.path == path else None
    missing = only(fetch(lists, wanted, owned={(wanted.kind, wanted.params): owned})).missing
    assert {*missing} == {id_ for id_ in ids if id_.startswith(f"{first}/")}


def test_an_owned_record_is_missing_under_its_own_parent_alone(lists: Stage) -> None:
    """Where the ledger tells that; otherwise, or if that one is not there, under any that has nothing."""
    wanted = query("users.contact_methods")
    parents = {id_: str(record["__parent"]["id"]) for id_, record in parsed(only(fetch(lists, wanted))).items()}
    first, *_, last = sorted({*parents.values()})
    path = f"/users/{first}/contact_methods"
    lists.tape.before = lambda r: Script([(200, {}, b'{"contact_methods": []}')]) if r.path == path else None
    owned = parents | {"PGONE": last, "PNOWHERE": "PU0", "PUNKNOWN": ""}
    missing = only(fetch(lists, wanted, owned={(wanted.kind, wanted.params): owned})).missing
    assert {*missing} == {id_ for id_, parent in parents.items() if parent == first} | {"PNOWHERE", "PUNKNOWN"}


def test_parents_that_are_not_all_there_make_the_rest_unproven(lists: Stage) -> None:
    """A list of parents that could not be read is a problem of everything under it, on every level."""
    lists.tape.before = answering(403, "/status_pages")
    snapshot = fetch(lists, query("status_pages.posts"), query("status_pages.posts.post_updates"), query("tags"))
    posts, updates, tags = snapshot.collections.values()
    for collection in (posts, updates):
        assert collection.problem is not None
        assert "status_pages: PagerDuty answered 403" in collection.problem.detail
        assert collection.records == ()
    assert tags.complete


@pytest.mark.parametrize("status", [402, 403])
def test_a_refusal_that_holds_for_all_is_not_collected_a_thousand_times(status: int) -> None:
    """A plan without the feature, or a scope that is missing, costs a handful of requests, not one for each parent."""
    with staging(World(services=2, users=4, incidents=900, incident_days=28), limit_per_minute=10**6) as stage:
        stage.tape.before = lambda r: Script([(status, {}, b"{}")]) if r.path.endswith("/notes") else None
        collection = only(fetch(stage, query("incidents.notes")))
        notes = [request for request in stage.tape.requests if request.path.endswith("/notes")]
    assert len(notes) <= 32
    assert collection.problem is not None
    assert f"{status}" in collection.problem.detail
    assert "more of 900" in collection.problem.detail


@pytest.mark.parametrize("wanted", [query("incidents.notes"), query("incidents", includeCustomFields=True)])
def test_trouble_that_lasts_is_not_waited_for_at_each_record(wanted: Query) -> None:
    """Five minutes of patience with one record are enough for all nine hundred; what is read already counts."""
    ends = ("/notes", "/custom_fields/values")
    with staging(World(services=2, users=4, incidents=900, incident_days=28), limit_per_minute=10**6) as stage:
        good = iter(range(40))
        spoilt = Script([(500, {}, b"")])
        stage.tape.before = lambda r: spoilt if r.path.endswith(ends) and next(good, None) is None else None
        collection = only(fetch(stage, wanted))
        asked = {request.path for request in stage.tape.requests if request.path.endswith(ends)}
    assert 40 <= len(asked) <= 40 + 32
    told = collection.problem or collection.notes[0]
    assert "answered 500" in told.detail


def test_parents_can_be_narrowed(lists: Stage) -> None:
    """What the selector says of the parents is sent for them, and only for them."""
    wanted = query(
        "status_pages.posts",
        apiQueryParams={"post_type": "incident"},
        parents={"apiQueryParams": {"status_page_type": "public"}},
    )
    assert only(fetch(lists, wanted)).complete
    sent = {request.path: request.params for request in lists.tape.requests}
    assert sent.pop("/status_pages") == (("status_page_type", "public"),)
    assert set(sent.values()) == {(("post_type", "incident"),)}


@pytest.mark.parametrize(
    ("kind", "narrow"),
    [("teams.members", {"query": "a"}), ("incidents.notes", {"since": "30d", "statuses": ["resolved"]})],
)
def test_one_parent_is_read_once_for_lists_under_some_and_under_all(
    lists: Stage, kind: str, narrow: dict[str, Any]
) -> None:
    """Mappings of one nested kind that are about other parents cost the parents of both, each once."""
    some, whole = query(kind, parents={"apiQueryParams": narrow}), query(kind)
    alone = {each: parsed(only(fetch(lists, each))) for each in (some, whole)}
    lists.tape.requests.clear()
    found = fetch(lists, some, whole).collections
    assert {each: parsed(collection) for each, collection in found.items()} == alone
    assert {collection.sharing for collection in found.values()} == {"shared"}
    below = Counter(request.path for request in lists.tape.requests if request.path.count("/") > 1)
    assert {*below.values()} == {1}


def test_what_stands_in_its_parents_costs_nothing_beside_them(stage: Stage) -> None:
    """Integrations are in the services that are listed anyway, which is said."""
    found = fetch(stage, query("services", serviceAnalytics=False), query("services.integrations")).collections
    services, integrations = found.values()
    assert (stage.tape.count("/services"), services.requests, integrations.requests) == (1, 2, 0)
    assert integrations.records
    assert integrations.sharing == "shared"


def test_ids_tell_associations_apart(lists: Stage) -> None:
    """What is only unique under one parent is named by it; what is unique in the account is not."""
    rows = [{"id": "PX1", "summary": "the same everywhere"}]
    body = {"users": rows, "teams": rows, "escalation_policies": rows, "notes": rows, "more": False, "total": 1}
    ends = ("/users", "/teams", "/escalation_policies", "/notes")
    lists.tape.before = lambda r: (
        Script([(200, {}, json.dumps(body).encode())]) if r.path.endswith(ends) and r.path.count("/") > 2 else None
    )
    tagged, notes = fetch(lists, query("tags.entities"), query("incidents.notes")).collections.values()
    tags = [f"tags:{n}" for n in range(3)]
    assert sorted(record.id for record in tagged.records) == sorted(
        f"{tag}/{kind}/PX1" for tag in tags for kind in ("users", "teams", "escalation_policies")
    )
    assert [record.id for record in notes.records] == ["PX1"]


def test_choices_in_the_path_are_kept_to(lists: Stage) -> None:
    """Tags of teams only: nobody lists users."""
    collection = only(fetch(lists, query("entity_tags", apiQueryParams={"entity_type": ["teams"]})))
    assert collection.complete
    assert {request.path.split("/")[1] for request in lists.tape.requests} == {"teams"}
    assert {json.loads(record.raw)["__parent"]["kind"] for record in collection.records} == {"teams"}


# --- shift-based schedules -------------------------------------------------------------------------------------


@pytest.fixture
def stage() -> Iterator[Stage]:
    with staging(World(services=8, users=30, incidents=0)) as staged:
        yield staged


def shifted(id_: str, **fields: Any) -> dict[str, Any]:
    """A schedule as `/v3/schedules/{id}` shows it."""
    strategy = {"type": "rotating_member_assignment_strategy", "members": fields.pop("members", [])}
    event = {"id": "E1", "type": "schedule_event", "assignment_strategy": strategy}
    plain = {"id": id_, "type": "schedule_v3", "name": f"Shifts {id_}", "time_zone": "UTC", "description": "by shift"}
    return {**plain, "teams": [], "rotations": [{"id": "R1", "type": "rotation", "events": [event]}], **fields}


def upgraded(stage: Stage, *schedules: dict[str, Any]) -> None:
    """Let the stage have these shift-based schedules."""
    shown = {f"/v3/schedules/{each['id']}": each for each in schedules}
    references = [{"id": each["id"], "type": "schedule_v3_reference", "summary": each["name"]} for each in schedules]

    def before(request: Request) -> Asgi | None:
        if request.path == "/v3/schedules":
            body: Any = {"schedules": references, "limit": 1000, "offset": 0, "more": False}
        elif request.path in shown:
            body = {"schedule": shown[request.path]}
        else:
            return None
        return Script([(200, {}, json.dumps(body).encode())])

    stage.tape.before = before


def test_upgraded_schedules_are_schedules(stage: Stage) -> None:
    """Both sorts come as one kind, with name, zone, description and users with their addresses."""
    users = sorted(stage.world.users)[:2]
    members = [{"type": "user_member", "user_id": id_} for id_ in (*users, users[0])] + [{"type": "empty_member"}]
    upgraded(
        stage, shifted("PNEW1", members=members), shifted("PNEW2", users=[{"id": users[1], "type": "user_reference"}])
    )
    collection = only(fetch(stage, query("schedules")))
    records = parsed(collection)
    assert collection.complete
    assert set(records) == {*stage.world.schedules, "PNEW1", "PNEW2"}
    emails = {id_: stage.world.users[id_].email for id_ in users}
    assert [(user["id"], user["__email"]) for user in records["PNEW1"]["users"]] == list(emails.items())
    assert records["PNEW1"]["users"][0]["summary"] == stage.world.users[users[0]].name
    assert [user["__email"] for user in records["PNEW2"]["users"]] == [emails[users[1]]]
    assert [records["PNEW1"][name] for name in ("name", "time_zone", "description")] == [
        "Shifts PNEW1",
        "UTC",
        "by shift",
    ]


def test_a_schedule_in_both_lists_was_upgraded_meanwhile(stage: Stage) -> None:
    """It is one schedule, and the newer one; the layers are read first, so that it cannot slip through."""
    moved = min(stage.world.schedules)
    upgraded(stage, shifted(moved))
    collection = only(fetch(stage, query("schedules")))
    assert parsed(collection)[moved]["type"] == "schedule_v3"
    assert len(collection.records) == len(stage.world.schedules)
    paths = [r.path for r in stage.tape.requests]
    assert paths.index("/schedules") < paths.index("/v3/schedules")


def test_filters_of_schedules_hold_for_both_sorts(stage: Stage) -> None:
    """The list of shift-based ones is not known to have filters: theirs are applied here."""
    upgraded(
        stage, shifted("PNEW1", name="Night Watch", teams=[{"id": "PT1"}]), shifted("PNEW2", teams=[{"id": "PT2"}])
    )
    by_name, by_team = fetch(
        stage,
        query("schedules", apiQueryParams={"query": "night"}),
        query("schedules", apiQueryParams={"team_ids": ["PT2"]}),
    ).collections.values()
    assert [id_ for id_ in parsed(by_name) if id_.startswith("PNEW")] == ["PNEW1"]
    assert [id_ for id_ in parsed(by_team) if id_.startswith("PNEW")] == ["PNEW2"]
    assert {request.params for request in stage.tape.requests if request.path == "/v3/schedules"} == {
        (("limit", "1000"), ("offset", "0"))
    }


def test_shift_based_schedules_are_read_when_all_mappings_have_the_others(stage: Stage) -> None:
    """A schedule that is upgraded before the slowest list of the others came is not missed; each is shown but once."""
    first, moved, *_ = sorted(stage.world.schedules)
    stage.world.mutate({"action": "upgrade_schedule", "id": first})
    slow = {"query": stage.world.schedules[moved].name}

    too_early = asyncio.Event()

    async def slowly(scope: Any, receive: Any, send: Any) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(too_early.wait(), 0.3)
        if moved not in stage.world.upgraded:
            stage.world.mutate({"action": "upgrade_schedule", "id": moved})
        await stage.tape.app(scope, receive, send)

    def before(request: Request) -> Asgi | None:
        if request.path == "/v3/schedules":
            too_early.set()
        return slowly if request.path == "/schedules" and request.all("query") else None

    stage.tape.before = before
    queries = [query("schedules"), query("schedules", apiQueryParams=slow), query("schedules_v3")]
    snapshot = fetch(stage, *queries)
    assert parsed(snapshot.collections[queries[1]])[moved]["type"] == "schedule_v3"
    shown = [request.path for request in stage.tape.requests if request.path.startswith("/v3/schedules/")]
    assert len(shown) == len(set(shown)) == 2


def test_rendered_shifts_are_asked_for_where_they_are_wanted(stage: Stage) -> None:
    """`include: [final_schedule]` with its window goes to every shift-based schedule."""
    upgraded(stage, shifted("PNEW1"))
    wanted = {"include": ["final_schedule", "schedule_layers"], "since": 1, "until": "2w", "time_zone": "Europe/Paris"}
    fetch(stage, query("schedules", apiQueryParams=wanted))
    (request,) = (request for request in stage.tape.requests if request.path == "/v3/schedules/PNEW1")
    assert request.all("include[]") == ["final_schedule"]
    assert {name for name, _ in request.params} == {"include[]", "since", "until", "time_zone"}


@pytest.mark.parametrize("status", [400, 402, 403, 404])
def test_accounts_without_shift_based_schedules_miss_nothing(stage: Stage, status: int) -> None:
    """Their refusal is no problem, unless it may hide something."""
    stage.tape.before = answering(status, "/v3/schedules")
    collection = only(fetch(stage, query("schedules")))
    assert collection.complete
    assert set(parsed(collection)) == set(stage.world.schedules)
    assert [note.code for note in collection.notes] == (["PD331"] if status in (402, 403) else [])


@pytest.mark.parametrize(("status", "complete"), [(402, False), (403, False), (400, True), (404, True)])
def test_shift_based_schedules_that_there_were_are_not_gone_for_a_refusal(
    stage: Stage, status: int, complete: bool
) -> None:
    """Without permission nothing is proven, however often; what is not there any more is in doubt at first."""
    upgraded(stage, shifted("PNEW1"))
    before = fetch(stage, query("schedules"))
    stage.tape.before = answering(status, "/v3/schedules")
    owned = {("schedules", ()): {"PNEW1": ""}}  # where no snapshot is kept
    assert only(fetch(stage, query("schedules"), owned=owned)).missing.keys() == {"PNEW1"}
    assert only(fetch(stage, query("schedules"), owned=owned)).complete == complete
    for _ in range(2):
        before = fetch(stage, query("schedules"), previous=before)
        collection = only(before)
        assert (collection.complete, list(collection.missing)) == (complete, ["PNEW1"])
        assert not complete or [note.code for note in collection.notes] == ["PD331"]


def test_how_many_shift_based_schedules_there_were_is_known(stage: Stage) -> None:
    """Their list may come empty like any other, which nobody sees among all schedules."""
    upgraded(stage, shifted("PNEW1"), shifted("PNEW2"))
    assert fetch(stage, query("schedules")).leaned[parents_list("schedules_v3", ())].count == 2


@pytest.mark.parametrize(("status", "believed"), [(402, False), (403, False), (400, True), (404, True)])
def test_a_refusal_that_hides_schedules_in_use_is_a_hole(stage: Stage, status: int, believed: bool) -> None:
    """An escalation policy leads to a shift-based schedule that is not to be had: schedules are not complete.

    Where policies may not be read either, it is believed that there is no such list, but not that it is closed.
    """
    policy = {"id": "PE1", "escalation_rules": [{"targets": [{"id": "PNEW1", "type": "schedule_v3_reference"}]}]}
    policies = json.dumps({"escalation_policies": [policy], "more": False, "total": 1}).encode()
    answers: dict[str, Asgi] = {
        "/v3/schedules": Script([(status, {}, b"{}")]),
        "/escalation_policies": Script([(200, {}, policies)]),
    }
    stage.tape.before = lambda request: answers.get(request.path)
    assert not only(fetch(stage, query("schedules"))).complete
    answers["/escalation_policies"] = Script([(403, {}, b"{}")])
    assert only(fetch(stage, query("schedules"))).complete == believed


def test_a_shift_based_schedule_whose_answer_breaks_off_is_asked_for_again(stage: Stage) -> None:
    """Once, as pages are."""
    upgraded(stage, shifted("PNEW1"))
    serve, spoilt = stage.tape.before, [Script([(200, {}, b'{"schedule":{"id":')])]
    stage.tape.before = lambda r: spoilt.pop() if r.path == "/v3/schedules/PNEW1" and spoilt else serve(r)
    assert "PNEW1" in parsed(collection := only(fetch(stage, query("schedules"))))
    assert collection.complete


def test_a_shift_based_schedule_that_cannot_be_shown_is_a_hole(stage: Stage) -> None:
    """It is in the list, and not to be had: named, and nothing is proven."""
    upgraded(stage, shifted("PNEW1"), shifted("PNEW2"))
    serve = stage.tape.before
    stage.tape.before = lambda r: Script([(404, {}, b"{}")]) if r.path == "/v3/schedules/PNEW2" else serve(r)
    collection = only(fetch(stage, query("schedules")))
    assert collection.problem is not None
    assert collection.problem.records == ("schedules_v3/PNEW2",)
    assert "PNEW1" in parsed(collection)


def test_a_shift_based_schedule_of_which_the_list_says_nothing_any_more_is_a_hole(stage: Stage) -> None:
    """It answers 404, and whether it is still listed cannot be told: nothing proves that it is gone."""
    upgraded(stage, shifted("PNEW1"), shifted("PNEW2"))
    serve, hidden = stage.tape.before, Counter[str]()

    def before(request: Request) -> Asgi | None:
        hidden[request.path] += 1
        if request.path == "/v3/schedules/PNEW2":
            return Script([(404, {}, b"{}")])
        again = request.path == "/v3/schedules" and hidden["/v3/schedules/PNEW2"]
        return Script([(403, {}, b"{}")]) if again else serve(request)

    stage.tape.before = before
    collection = only(fetch(stage, query("schedules")))
    assert collection.problem is not None
    assert collection.problem.records == ("schedules_v3/PNEW2",)


def test_the_kind_of_its_own_has_the_whole_records(stage: Stage) -> None:
    """`schedules_v3` gives what is shown alone, not references."""
    upgraded(stage, shifted("PNEW1"))
    assert parsed(only(fetch(stage, query("schedules_v3"))))["PNEW1"]["time_zone"] == "UTC"
    assert KINDS["/v3/schedules"].detail is not None


UNDER_SCHEDULES = (
    query("schedules.users"),
    query("schedules.overrides", apiQueryParams={"since": "30d", "until": "30d"}),
    query("schedules.audit.records", apiQueryParams={"since": "30d"}),
)


def beneath(collection: Collection, parent: str) -> set[str]:
    return {id_ for id_, record in parsed(collection).items() if record["__parent"]["id"] == parent}


@pytest.mark.parametrize("status", [404, 400])
@pytest.mark.parametrize("wanted", UNDER_SCHEDULES, ids=lambda each: each.kind)
def test_what_is_under_a_schedule_is_not_gone_when_that_is_upgraded(stage: Stage, wanted: Query, status: int) -> None:
    """Its old path is not there any more: what it had is listed elsewhere now, however often one looks."""
    first = fetch(stage, wanted)
    moved = next(id_ for id_ in sorted(stage.world.schedules) if beneath(only(first), id_))
    there = beneath(only(first), moved)
    stage.world.mutate({"action": "upgrade_schedule", "id": moved})
    refused = Script([(status, {}, b"{}")])
    stage.tape.before = lambda r: refused if r.path.startswith(f"/schedules/{moved}/") else None
    last = first
    for _ in range(3):
        last = fetch(stage, wanted, previous=last)
        assert only(last).complete
        assert only(last).missing == dict.fromkeys(there, Missing(moved, moved=True))
        assert {*parsed(only(last))} == {*parsed(only(first))} - there


def test_where_the_old_path_of_a_shift_based_schedule_answers_that_is_read(stage: Stage) -> None:
    """Whether it does is not documented."""
    wanted = query("schedules.users")
    first = fetch(stage, wanted)
    moved = next(id_ for id_ in sorted(stage.world.schedules) if beneath(only(first), id_))
    rows = [stage.world.users[id_.partition("/")[2]] for id_ in beneath(only(first), moved)]
    answer = json.dumps({"users": [{"id": user.id, "type": "user", "summary": user.name} for user in rows]}).encode()
    stage.world.mutate({"action": "upgrade_schedule", "id": moved})
    stage.tape.before = lambda r: Script([(200, {}, answer)]) if r.path == f"/schedules/{moved}/users" else None
    second = only(fetch(stage, wanted, previous=first))
    assert (second.complete, second.missing, {*parsed(second)}) == (True, {}, {*parsed(only(first))})
    assert [request.path for request in stage.tape.requests].count("/users") == 0


def test_a_schedule_that_is_upgraded_while_what_is_under_it_is_read_is_a_hole(stage: Stage) -> None:
    """It was in the list and is not any more; that it is among the others tells that it is not gone."""
    wanted = query("schedules.users")
    first = fetch(stage, wanted)
    moved = next(id_ for id_ in sorted(stage.world.schedules) if beneath(only(first), id_))

    def before(request: Request) -> Asgi | None:
        if request.path == f"/schedules/{moved}/users" and moved not in stage.world.upgraded:
            stage.world.mutate({"action": "upgrade_schedule", "id": moved})
        return None

    stage.tape.before = before
    problem = only(fetch(stage, wanted, previous=first)).problem
    assert problem is not None
    assert f"404 although schedules/{moved} is there" in problem.detail


@pytest.mark.parametrize("status", [403, 500])
def test_a_schedule_that_may_have_been_upgraded_meanwhile_is_a_hole(stage: Stage, status: int) -> None:
    """It left its list while what is under it was read, and the list of the others cannot be read."""
    wanted = query("schedules.users")
    first = fetch(stage, wanted)
    moved = next(id_ for id_ in sorted(stage.world.schedules) if beneath(only(first), id_))
    refused = Script([(status, {}, b"{}")])

    def before(request: Request) -> Asgi | None:
        if request.path == f"/schedules/{moved}/users" and moved not in stage.world.upgraded:
            stage.world.mutate({"action": "upgrade_schedule", "id": moved})
        return refused if request.path == "/v3/schedules" and moved in stage.world.upgraded else None

    stage.tape.before = before
    assert only(fetch(stage, wanted, previous=first, patience=1.0)).problem is not None


def test_what_is_under_many_upgraded_schedules_takes_few_requests(stage: Stage) -> None:
    """One tells that nothing is listed under any of them any more; and they need not be shown."""
    wanted = query("schedules.users")
    for schedule in stage.world.schedules:
        stage.world.mutate({"action": "upgrade_schedule", "id": schedule})
    fetch(stage, wanted)
    asked = [request.path for request in stage.tape.requests]
    assert not [path for path in asked if path.startswith("/v3/schedules/")]
    assert len(asked) <= 2 + 16  # as many as are worked on at once


def test_what_no_parent_was_known_of_stays_missing_while_one_has_nothing(lists: Stage) -> None:
    """First only the ledger told of it, then a snapshot: that it was missing then is no reason to believe it now."""
    wanted = query("users.contact_methods")
    ids = {*parsed(only(fetch(lists, wanted)))}
    path = lists.tape.requests[-1].path
    lists.tape.before = lambda r: Script([(200, {}, b'{"contact_methods": []}')]) if r.path == path else None
    first = fetch(lists, wanted, owned={(wanted.kind, wanted.params): dict.fromkeys(ids, "")})
    second = fetch(lists, wanted, previous=first)
    assert only(first).missing == only(second).missing != {}
