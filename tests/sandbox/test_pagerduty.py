"""The sandbox's PagerDuty: held to the official specification, to its paging rules and to its own strictness."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pdsync.sandbox.pagerduty import SERVED, Served
from pdsync.sandbox.pagerduty_company import DAY, HOUR
from pdsync.sandbox.pagerduty_query import ApiError, months_later
from pdsync.sandbox.world import World
from tests.sandbox.pagerduty_client import (
    ACCEPT,
    HEADERS,
    KEYS,
    SPEC,
    TOKEN,
    Api,
    check_against_spec,
    early_access,
    includes,
    iso,
    path_of,
    required,
    upgraded_world,
)

if TYPE_CHECKING:
    from collections.abc import Callable

LISTS = [served for served in SERVED if served.method == "get" and "{" not in served.path]
TABLES = (
    "/business_services", "/escalation_policies", "/extension_schemas", "/extensions", "/incidents", "/priorities",
    "/schedules", "/services", "/teams", "/users", "/vendors",
)  # fmt: skip
SHOWN = [served for served in SERVED if served.path.endswith("/{id}") and served.path.count("/") == 2]


# --- the official specification ----------------------------------------------------------------------------------


@given(
    seed=st.integers(0, 500),
    sizes=st.fixed_dictionaries(
        {
            "services": st.integers(1, 12),
            "users": st.integers(1, 12),
            "teams": st.integers(0, 5),
            "schedules": st.integers(0, 5),
            "escalation_policies": st.integers(1, 5),
            "incidents": st.integers(1, 15),
        }
    ),
    served=st.sampled_from(LISTS),
    data=st.data(),
)
@settings(max_examples=30, deadline=None)
def test_lists_of_random_worlds_follow_the_specification(
    seed: int, sizes: dict[str, Any], served: Served, data: st.DataObject
) -> None:
    """Whatever the world and the includes, a list validates."""
    known = includes(served.path)
    chosen = data.draw(st.lists(st.sampled_from(known), unique=True)) if known else []
    world = World(seed, **sizes)
    params = {"include[]": chosen, **required(served.path, world)}
    answer = Api(world).send("GET", served.path, params=params, headers={**HEADERS, **early_access(served.path)})
    assert answer.status_code == 200, answer.text
    check_against_spec(answer)


@pytest.mark.parametrize(
    ("path", "params"),
    [
        ("/schedules", {"include[]": ["final_schedule", "schedule_layers"], "since": "2026-05-20T00:00:00Z"}),
        ("/oncalls", {"until": "2026-07-01T00:00:00Z", "include[]": ["schedules"]}),
        ("/incidents", {"time_zone": "Asia/Kathmandu", "statuses[]": ["triggered", "resolved"]}),
        ("/audit/records", {"since": "2026-05-10T00:00:00Z", "limit": 5}),
    ],
)
def test_filtered_answers_follow_the_specification(path: str, params: dict[str, Any]) -> None:
    """Windows, zones and rendered entries validate as well."""
    answer = Api().send("GET", path, params=params)
    assert answer.status_code == 200, answer.text
    check_against_spec(answer)


# Fields the API returns although the specification does not know them, seen in published payloads.
EXTRA = {
    "/incidents": {"description", "basic_alert_grouping"},
    "/services": {"updated_at"},
    "/teams": {"parent"},
    "/users": {"billed"},
    "/schedules": set[str](),
    "/escalation_policies": set[str](),
    "/oncalls": set[str](),
}


def spec_fields(node: Any) -> set[str]:
    """Names of the properties of a schema, through references, allOf and anyOf."""
    if "$ref" in node:
        return spec_fields(SPEC["components"]["schemas"][node["$ref"].rsplit("/", 1)[1]])
    parts = [*node.get("allOf", []), *node.get("anyOf", [])]
    return set(node.get("properties", {})).union(*(spec_fields(part) for part in parts))


def row_schema(path: str) -> Any:
    schema = SPEC["paths"][path]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    parts = [part.get("properties", {}) for part in schema["allOf"]]
    return next(part[KEYS[path]]["items"] for part in parts if KEYS[path] in part)


@pytest.mark.parametrize("path", EXTRA)
def test_records_have_no_field_that_is_made_up(path: str) -> None:
    """Schemas are open, so a misspelt field would pass them: every name is the specification's or on a short list."""
    known = spec_fields(row_schema(path)) | EXTRA[path]
    rows = Api().get(path, **{"include[]": includes(path)})[KEYS[path]]
    assert {name for row in rows for name in row} <= known


# --- paging ------------------------------------------------------------------------------------------------------

SMALL = World(services=130, users=45, teams=30, incidents=260)


@given(path=st.sampled_from(TABLES), limit=st.integers(1, 100))
@settings(deadline=None, max_examples=40)
def test_walking_a_list_gives_every_record_once(path: str, limit: int) -> None:
    """For any page size the pages together are the list: each record once, in one order, as many as `total` says."""
    api = Api(SMALL)
    found = api.walk(path, limit)
    assert found == api.walk(path, 100)
    texts = [orjson.dumps(row) for row in found]
    assert len(set(texts)) == len(texts)
    assert api.get(path, limit=1, total="true")["total"] == len(found)


@pytest.mark.parametrize("path", TABLES)
def test_a_page_echoes_what_was_asked(path: str) -> None:
    """Without parameters: 25 rows at most, offset 0, total null; beyond the end: no rows, no more."""
    api = Api(SMALL)
    page = api.get(path)
    assert (page["limit"], page["offset"], page["total"]) == (25, 0, None)
    assert len(page[KEYS[path]]) <= 25
    beyond = api.get(path, offset=9_000)
    assert (beyond[KEYS[path]], beyond["more"]) == ([], False)


@pytest.mark.parametrize(
    "params",
    [
        {"limit": 0},
        {"limit": 101},
        {"limit": -5},
        {"offset": -1},
        {"limit": 100, "offset": 9_901},
        {"limit": "ten"},
        {"total": "yes"},
    ],
)
@pytest.mark.parametrize("path", ["/services", "/incidents", "/vendors"])
def test_paging_outside_the_rules_is_refused(path: str, params: dict[str, Any]) -> None:
    """A limit outside 1 to 100, a negative offset, anything past row 10,000: 400, and the parameter is named."""
    error = Api().refuse(400, "GET", path, params=params)
    assert error["code"] == 2001
    assert any(name in text for name in params for text in error["errors"])


def test_the_last_page_within_reach_is_served() -> None:
    """An offset + limit of exactly 10,000 is allowed, and `more` tells that there is more behind."""
    page = Api(World(incidents=10_050)).get("/incidents", limit=100, offset=9_900)
    assert (len(page["incidents"]), page["more"]) == (100, True)


def test_lists_sorted_by_name_are_sorted() -> None:
    """Services come by name unless told otherwise; sort_by=name:desc is the reverse."""
    api = Api()
    names = [row["name"] for row in api.walk("/services")]
    assert names == sorted(names, key=str.casefold)
    assert [row["name"] for row in api.walk("/services", sort_by="name:desc")] == names[::-1]


# --- references, includes, shows ---------------------------------------------------------------------------------


@pytest.mark.parametrize("served", SHOWN, ids=lambda served: served.path)
def test_a_record_looks_the_same_on_its_list_and_alone(served: Served) -> None:
    """What the show endpoint returns holds what the list returned for the same id, field by field."""
    api = Api()
    key = served.path.split("/")[1]
    row = api.get(f"/{key}")[key][0]
    (alone,) = api.get(f"/{key}/{row['id']}").values()
    assert {name: alone.get(name) for name in row} == row


@pytest.mark.parametrize(
    ("path", "include", "field"),
    [
        ("/services", "escalation_policies", "escalation_policy"),
        ("/incidents", "services", "service"),
        ("/oncalls", "users", "user"),
        ("/oncalls", "escalation_policies", "escalation_policy"),
    ],
)
def test_an_included_object_is_the_one_its_own_endpoint_shows(path: str, include: str, field: str) -> None:
    """include[] puts the whole object, type without suffix, where the reference was."""
    api = Api()
    key = KEYS[path]
    plain, full = api.get(path)[key][0][field], api.get(path, **{"include[]": include})[key][0][field]
    assert plain["type"] == full["type"] + "_reference"
    assert api.get(plain["self"].removeprefix("https://api.pagerduty.com"))[full["type"]] == full


def test_included_integrations_carry_their_key() -> None:
    """Integrations are references unless included; then they hold the secret integration_key, as in the real API."""
    api = Api()
    plain = [one for row in api.walk("/services") for one in row["integrations"]]
    full = [one for row in api.walk("/services", include_in="integrations") for one in row["integrations"]]
    assert {one["type"].endswith("_reference") for one in plain} == {True}
    assert {len(one["integration_key"]) for one in full} == {32}
    assert [one["id"] for one in plain] == [one["id"] for one in full]


def test_a_deleted_user_lives_on_as_a_reference() -> None:
    """A schedule still lists a user that is gone: without self, with deleted_at, not in /users, 404 on its own."""
    api = Api()
    former = [user for row in api.walk("/schedules") for user in row["users"] if user["self"] is None]
    assert [sorted(user) for user in former] == [["deleted_at", "html_url", "id", "self", "summary", "type"]]
    assert former[0]["id"] not in {user["id"] for user in api.walk("/users")}
    assert api.refuse(404, "GET", f"/users/{former[0]['id']}")["code"] == 2100


def test_changes_show_in_every_reference() -> None:
    """A renamed service has its new name on the list, alone, and wherever it is referred to."""
    api = Api()
    before = api.walk("/incidents")
    identifier = before[0]["service"]["id"]
    api.world.change("rename_service", id=identifier, name="Neu <b>")
    named = [row["name"] for row in api.walk("/services") if row["id"] == identifier]
    referred = {r["service"]["summary"] for r in api.walk("/incidents") if r["service"]["id"] == identifier}
    assert (named, referred) == (["Neu <b>"], {"Neu <b>"})


def test_a_deleted_service_is_gone_and_kept_incidents_refer_to_it() -> None:
    """404 on its own, off the list; incidents that were kept hold a reference without self."""
    api = Api()
    identifier = api.walk("/incidents")[0]["service"]["id"]
    api.world.change("delete_service", id=identifier, keep_incidents=True)
    assert api.refuse(404, "GET", f"/services/{identifier}")["message"] == "Not Found"
    assert identifier not in {row["id"] for row in api.walk("/services")}
    kept = [row["service"]["self"] for row in api.walk("/incidents") if row["service"]["id"] == identifier]
    assert set(kept) == {None}


def test_incidents_of_a_deleted_service_are_gone_with_it() -> None:
    """They are off the list and the analytics, and 404 on their own; every other incident stays."""
    api = Api()
    rows, raw = api.walk("/incidents"), walk_raw(api, {"limit": 1000})
    identifier = rows[0]["service"]["id"]
    api.world.change("delete_service", id=identifier)
    assert api.walk("/incidents") == [row for row in rows if row["service"]["id"] != identifier]
    assert walk_raw(api, {"limit": 1000}) == [row for row in raw if row["service_id"] != identifier]
    assert api.refuse(404, "GET", f"/incidents/{rows[0]['id']}")["code"] == 2100


@pytest.mark.parametrize("include", ["services", "agents"])
def test_including_what_is_gone_leaves_the_reference(include: str) -> None:
    """An include of a deleted service gives the reference, and the answer still validates."""
    api = Api()
    api.world.change("delete_service", id=next(iter(api.world.services)), keep_incidents=True)
    check_against_spec(api.send("GET", "/incidents", params={"include[]": include, "limit": 100}))


# --- incidents -----------------------------------------------------------------------------------------------------

LONG = World(services=20, incidents=400, incident_days=500)
RECORDS = [LONG.incidents.record(n) for n in range(400)]


def test_without_a_window_the_last_month_is_listed() -> None:
    """No since, no until, no date_range: incidents of the last 30 days, and only these."""
    found = [row["id"] for row in Api(LONG).walk("/incidents")]
    assert found == [r.id for r in RECORDS if r.created >= LONG.clock - 30 * DAY]


def test_all_dates_are_listed_on_demand() -> None:
    """date_range=all lists everything, whatever since and until say."""
    found = Api(LONG).walk("/incidents", date_range="all", since="2026-05-30T00:00:00Z")
    assert [row["id"] for row in found] == [record.id for record in RECORDS]


def test_the_ends_of_a_window_belong_to_it() -> None:
    """An incident created at the very second of since and until is listed."""
    moment = iso(RECORDS[200].created)
    assert [row["id"] for row in Api(LONG).walk("/incidents", since=moment, until=moment)] == [RECORDS[200].id]


@given(start=st.integers(0, 500 * DAY), length=st.integers(0, 180 * DAY))
@settings(deadline=None, max_examples=25)
def test_a_window_selects_by_creation(start: int, length: int) -> None:
    """Both since and until given: list the incidents created between them."""
    since = LONG.clock - 500 * DAY + start
    found = Api(LONG).walk("/incidents", since=iso(since), until=iso(since + length))
    assert [row["id"] for row in found] == [r.id for r in RECORDS if since <= r.created <= since + length]


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"since": "2025-11-30T00:00:00Z", "until": "2026-05-31T00:00:00Z"}, 2005),
        ({"since": "2025-01-01T00:00:00Z"}, 2005),
        ({"since": "2026-05-02T00:00:00Z", "until": "2026-05-01T00:00:00Z"}, 2005),
        ({"since": "yesterday"}, 2004),
    ],
)
def test_windows_that_cannot_be_are_refused(params: dict[str, str], code: int) -> None:
    """More than six months, the wrong way round, not a time: 400 with PagerDuty's code."""
    assert Api().refuse(400, "GET", "/incidents", params=params)["code"] == code


def test_six_months_to_the_day_are_allowed() -> None:
    """The widest window is six calendar months."""
    found = Api(LONG).get("/incidents", since="2025-11-30T00:00:00Z", until="2026-05-30T00:00:00Z", total="true")
    assert found["total"] == len(
        [r for r in RECORDS if "2025-11-30T00:00:00Z" <= iso(r.created) <= "2026-05-30T00:00:00Z"]
    )


@given(moment=st.integers(0, 2**32), months=st.integers(-24, 24))
def test_months_are_calendar_months(moment: int, months: int) -> None:
    """So many months later is that month, the same time of day, and the same day or the month's last."""
    before, after = (datetime.fromtimestamp(x, UTC) for x in (moment, months_later(moment, months)))
    assert (after.year - before.year) * 12 + after.month - before.month == months
    assert (after.hour, after.minute, after.second) == (before.hour, before.minute, before.second)
    assert after.day <= before.day
    assert after.day == before.day or datetime.fromtimestamp(after.timestamp() + DAY, UTC).day == 1


@cache
def long_list() -> list[Any]:
    """All incidents of LONG, which nobody changes."""
    return Api(LONG).walk("/incidents", date_range="all")


@given(
    statuses=st.sets(st.sampled_from(["triggered", "acknowledged", "resolved"])),
    urgencies=st.sets(st.sampled_from(["high", "low"])),
    services=st.sets(st.sampled_from(sorted(LONG.services)), max_size=5),
    teams=st.sets(st.sampled_from(sorted(LONG.teams)), max_size=2),
)
@settings(deadline=None, max_examples=25)
def test_filters_all_must_match_and_values_of_one_are_alternatives(
    statuses: set[str], urgencies: set[str], services: set[str], teams: set[str]
) -> None:
    """Every combination of filters gives what picking by hand from the whole list gives."""
    api = Api(LONG)
    params = {"statuses[]": statuses, "urgencies[]": urgencies, "service_ids[]": services, "team_ids[]": teams}
    given_: dict[str, Any] = {name: sorted(values) for name, values in params.items() if values}
    found = [row["id"] for row in api.walk("/incidents", date_range="all", **given_)]
    assert found == [
        row["id"]
        for row in long_list()
        if (not statuses or row["status"] in statuses)
        and (not urgencies or row["urgency"] in urgencies)
        and (not services or row["service"]["id"] in services)
        and (not teams or teams & {team["id"] for team in row["teams"]})
    ]


def test_incidents_can_be_found_by_assignee_and_by_key() -> None:
    """By user_ids[] open incidents are found, as resolved ones have no assignment; incident_key is an exact match."""
    api = Api(World(incidents=300))
    rows = api.walk("/incidents")
    user = next(row["assignments"][0]["assignee"]["id"] for row in rows if row["assignments"])
    expected = [r["id"] for r in rows if user in {a["assignee"]["id"] for a in r["assignments"]}]
    assert [row["id"] for row in api.walk("/incidents", user_ids_in=user)] == expected
    assert [r["id"] for r in api.walk("/incidents", incident_key=rows[7]["incident_key"])] == [rows[7]["id"]]


def sort_key(name: str) -> Callable[[Any], Any]:
    ranks = {"low": 0, "high": 1, None: "9"}
    return lambda row: ranks.get(row[name], row[name])


@pytest.mark.parametrize("sort_by", ["created_at:desc", "urgency,created_at:desc", "resolved_at", "incident_number"])
def test_incidents_are_sorted_as_asked(sort_by: str) -> None:
    """Up to two fields, ascending unless told otherwise; unresolved ones come last by resolved_at."""
    rows = Api().walk("/incidents", sort_by=sort_by)
    expected = sorted(rows, key=lambda row: row["incident_number"])
    for part in reversed(sort_by.split(",")):
        name, _, direction = part.partition(":")
        expected.sort(key=sort_key(name), reverse=direction == "desc")
    assert [row["id"] for row in rows] == [row["id"] for row in expected]


def test_assignments_and_acknowledgements_follow_the_status() -> None:
    """Resolved: nobody assigned.  Acknowledged: assigned and acknowledged.  Triggered: assigned alone."""
    rows = Api(World(incidents=400)).walk("/incidents")
    seen = {(r["status"], len(r["assignments"]), len(r["acknowledgements"]), bool(r["resolved_at"])) for r in rows}
    assert seen == {("resolved", 0, 0, True), ("acknowledged", 1, 1, False), ("triggered", 1, 0, False)}


def test_times_are_rendered_in_the_zone_asked_for() -> None:
    """time_zone changes how a moment is written, not the moment; naive since is read in it."""
    api = Api(LONG)
    utc = api.get("/incidents", limit=1)["incidents"][0]["created_at"]
    tokyo = api.get("/incidents", limit=1, time_zone="Asia/Tokyo")["incidents"][0]["created_at"]
    assert (utc[-1], tokyo[-6:]) == ("Z", "+09:00")
    assert datetime.fromisoformat(utc) == datetime.fromisoformat(tokyo)


def test_a_time_without_offset_is_read_in_the_zone_asked_for() -> None:
    """The same since means another moment in another zone; with Z it means the same everywhere."""
    api, since = Api(SMALL), "2026-05-10T09:00:00"
    tokyo, utc = ([r["id"] for r in api.walk("/incidents", since=since, time_zone=z)] for z in ("Asia/Tokyo", "UTC"))
    assert tokyo == [r["id"] for r in api.walk("/incidents", since="2026-05-10T00:00:00Z")]
    assert utc == [r["id"] for r in api.walk("/incidents", since="2026-05-10T09:00:00Z", time_zone="Asia/Tokyo")]
    assert len(utc) < len(tokyo)


# --- the other lists -----------------------------------------------------------------------------------------------


def test_services_can_be_filtered() -> None:
    """The name is exact, query a part of it whatever the case, team_ids[] the team of the policy."""
    api = Api(SMALL)
    rows = api.walk("/services")
    team = next(iter(SMALL.teams))
    assert [row["name"] for row in api.walk("/services", name="Ledger")] == ["Ledger"]
    assert [row["name"] for row in api.walk("/services", name="ledger")] == []
    expected = [row["id"] for row in rows if "gateway" in row["name"].lower()]
    assert [row["id"] for row in api.walk("/services", query="GateWay")] == expected
    mine = [row["id"] for row in rows if team in {t["id"] for t in row["teams"]}]
    assert [row["id"] for row in api.walk("/services", team_ids_in=team)] == mine
    assert expected
    assert mine


def test_users_are_found_by_name_and_by_address() -> None:
    """A query matches the name or the e-mail address."""
    api = Api()
    assert [row["email"] for row in api.walk("/users", query="zoë")] == ["zoe.lindqvist@example.com"]
    assert [row["name"] for row in api.walk("/users", query="misaki.sato")] == ["佐藤 美咲"]


def test_policies_are_found_by_whom_they_call() -> None:
    """user_ids[] finds the policies that call a user directly or through a schedule."""
    api = Api()
    user = next(o.user_id for o in api.world.oncalls(api.world.clock, api.world.clock) if o.schedule_id)
    calling = {o.policy_id for o in api.world.oncalls(0, api.world.clock + 80 * DAY) if o.user_id == user}
    assert {row["id"] for row in api.walk("/escalation_policies", user_ids_in=user)} == calling


def test_current_oncalls_need_no_window() -> None:
    """Without since and until exactly the shifts that cover now are listed; rows have no id."""
    rows = Api().walk("/oncalls")
    now = iso(World().clock)
    assert all(row["start"] is None or row["start"] <= now < row["end"] for row in rows)
    assert {"id", "type", "self"} & {name for row in rows for name in row} == set()
    assert any(row["schedule"] is None for row in rows)


def test_oncalls_can_be_filtered() -> None:
    """By user, by policy, by schedule; schedule_ids[]=null finds those without one; earliest keeps the first."""
    api = Api()
    until = iso(api.world.clock + 20 * DAY)
    rows = api.walk("/oncalls", until=until)
    user, policy = rows[0]["user"]["id"], rows[-1]["escalation_policy"]["id"]
    assert api.walk("/oncalls", until=until, user_ids_in=user) == [r for r in rows if r["user"]["id"] == user]
    mine = [r for r in rows if r["escalation_policy"]["id"] == policy]
    assert api.walk("/oncalls", until=until, escalation_policy_ids_in=policy) == mine
    direct = [r for r in rows if r["schedule"] is None]
    assert api.walk("/oncalls", until=until, schedule_ids_in="null") == direct
    earliest = api.walk("/oncalls", until=until, earliest="true")
    keys = [(r["escalation_policy"]["id"], r["escalation_level"], r["user"]["id"]) for r in earliest]
    assert len(keys) == len(set(keys)) < len(rows)
    assert {(r["escalation_policy"]["id"], r["escalation_level"], r["user"]["id"]) for r in rows} == set(keys)


@pytest.mark.parametrize(
    "params",
    [
        {"until": "2026-05-31T00:00:00Z"},
        {"until": "2026-09-01T00:00:00Z"},
        {"since": "2026-06-02T00:00:00Z"},
    ],
)
def test_oncall_windows_that_cannot_be_are_refused(params: dict[str, str]) -> None:
    """An until before since (both default to now), more than 90 days ahead: 400."""
    assert Api().refuse(400, "GET", "/oncalls", params=params)["code"] == 2005


def test_rendered_entries_need_a_window() -> None:
    """Layers come without entries until since or until is given; then they are cut at the window's ends."""
    api = Api()
    plain = api.get("/schedules", include_in="final_schedule")["schedules"][0]
    until = "2026-06-08T00:00:00Z"
    found = api.get("/schedules", include_in="final_schedule", since="2026-06-03T10:00:00Z", until=until)
    entries = found["schedules"][0]["final_schedule"]["rendered_schedule_entries"]
    assert plain["final_schedule"]["rendered_schedule_entries"] == []
    assert (entries[0]["start"], entries[-1]["end"]) == ("2026-06-03T10:00:00Z", until)


def test_overflow_shows_turns_whole() -> None:
    """overflow=true gives the turns beyond the window's ends."""
    api = Api()
    path = f"/schedules/{next(iter(api.world.schedules))}"
    window = {"since": "2026-06-03T10:00:00Z", "until": "2026-06-03T11:00:00Z"}
    cut = api.get(path, **window)["schedule"]["final_schedule"]["rendered_schedule_entries"]
    whole = api.get(path, **window, overflow="true")["schedule"]["final_schedule"]["rendered_schedule_entries"]
    assert [(e["start"], e["end"]) for e in cut] == [tuple(window.values())]
    assert whole[0]["start"] < window["since"] < window["until"] < whole[0]["end"]


def test_the_next_oncall_of_a_user_can_be_included() -> None:
    """include_next_oncall_for_user names the user's next shift of each schedule, or nothing."""
    api = Api()
    schedule = next(iter(api.world.schedules.values()))
    user = schedule.layers[0].user_ids[0]
    rows = api.walk("/schedules", include_next_oncall_for_user=user)
    (found,) = [row["next_oncall_for_user"] for row in rows if row["id"] == schedule.id]
    assert (found["user"]["id"], found["end"] > iso(api.world.clock)) == (user, True)
    gone = api.walk("/schedules", include_next_oncall_for_user="PNOBODY")
    assert [row["next_oncall_for_user"] for row in gone] == [{}] * 6


def test_audit_records_page_by_cursor() -> None:
    """Newest first, a day unless asked; following next_cursor gives each record of the window once."""
    api = Api()
    api.world.change("rename_service", id=next(iter(api.world.services)), name="New")
    day = api.get("/audit/records")
    assert all(row["execution_time"] >= iso(api.world.clock - DAY) for row in day["records"])
    window = {"since": iso(api.world.clock - 30 * DAY)}
    found, cursor = [], None
    while True:
        page = api.get("/audit/records", limit=7, **window, **({"cursor": cursor} if cursor else {}))
        found += page["records"]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    times = [row["execution_time"] for row in found]
    assert times == sorted(times, reverse=True)
    assert len({row["id"] for row in found}) == len(found) == len(api.world.audit)
    assert (found[0]["action"], found[0]["details"]["fields"][0]["value"]) == ("update", "New")


@pytest.mark.parametrize(
    "params",
    [
        {"since": "2026-04-01T00:00:00Z"},
        {"since": "2026-06-02T00:00:00Z"},
        {"limit": 0},
        {"cursor": "nowhere"},
    ],
)
def test_audit_questions_that_cannot_be_are_refused(params: dict[str, Any]) -> None:
    """More than 31 days, the wrong way round, a cursor nobody gave: 400."""
    assert Api().refuse(400, "GET", "/audit/records", params=params)["errors"] != []


@pytest.mark.parametrize("served", [s for s in SERVED if s.path.endswith("/values")], ids=lambda served: served.path)
def test_custom_fields_hold_what_their_type_says(served: Served) -> None:
    """Each value is null or of its data type; fields with several values hold lists."""
    api = Api(World(incidents=200))
    types = {"string": str, "integer": int, "float": float, "boolean": bool, "datetime": str, "url": str}
    ids = api.world.services if served.path.startswith("/services") else [api.world.incidents.ids[n] for n in range(60)]
    for identifier in ids:
        for row in api.get(served.path.replace("{id}", identifier))["custom_fields"]:
            expected = list if row["field_type"].startswith("multi") else types[row["data_type"]]
            assert row["value"] is None or type(row["value"]) is expected


# --- analytics -----------------------------------------------------------------------------------------------------

RAW, METRICS = "/analytics/raw/incidents", "/analytics/metrics/incidents/services"


def walk_raw(api: Api, body: dict[str, Any]) -> list[Any]:
    found: list[Any] = []
    page: dict[str, Any] = {"more": True}
    while page["more"]:
        cursor = {"starting_after": page["last"]} if found else {}
        page = api.post(RAW, {**body, **cursor})
        assert page["data"] or not found, "more rows were promised"
        found += page["data"]
    return found


@given(
    limit=st.integers(9, 1000),
    order=st.sampled_from(["asc", "desc"]),
    by=st.sampled_from(["created_at", "seconds_to_resolve"]),
)
@settings(deadline=None, max_examples=15)
def test_raw_incidents_page_by_cursor(limit: int, order: str, by: str) -> None:
    """Following `last` gives each incident up to a day ago once, in the order asked for."""
    rows = walk_raw(Api(SMALL), {"limit": limit, "order": order, "order_by": by})
    old = [SMALL.incidents.record(n) for n in range(260)]
    assert {row["id"] for row in rows} == {r.id for r in old if r.created < SMALL.clock - DAY}
    assert len({row["id"] for row in rows}) == len(rows)
    values = [row[by] for row in rows]
    ordered = sorted(values, key=lambda v: (v is not None, v or 0), reverse=order == "desc")
    assert values == ordered


def test_a_page_before_a_row_ends_there() -> None:
    """ending_before gives the rows just in front of the cursor."""
    api = Api()
    rows = walk_raw(api, {"limit": 1000})
    page = api.post(RAW, {"limit": 5, "ending_before": rows[12]["id"]})
    assert [row["id"] for row in page["data"]] == [row["id"] for row in rows[7:12]]


def test_metrics_are_sums_over_raw_incidents() -> None:
    """A service's counts are those of its rows; services without incidents have no row."""
    api = Api()
    raw, metrics = walk_raw(api, {"limit": 1000}), api.post(METRICS, {})["data"]
    assert {row["service_id"] for row in metrics} == {row["service_id"] for row in raw}
    for row in metrics:
        mine = [r for r in raw if r["service_id"] == row["service_id"]]
        times = [r["seconds_to_resolve"] for r in mine if r["seconds_to_resolve"] is not None]
        assert row["total_incident_count"] == len(mine)
        assert row["total_interruptions"] == sum(r["total_interruptions"] for r in mine)
        assert row["mean_seconds_to_resolve"] == (round(sum(times) / len(times)) if times else None)
        assert row["total_incidents_acknowledged"] == sum(r["acknowledgement_count"] for r in mine)


@pytest.mark.parametrize("unit", ["day", "week", "month"])
def test_metrics_can_be_split_by_time(unit: str) -> None:
    """With a unit the counts of a service's rows add up to its whole."""
    api = Api()
    whole = {row["service_id"]: row["total_incident_count"] for row in api.post(METRICS, {})["data"]}
    parts: dict[str, int] = {}
    for row in api.post(METRICS, {"aggregate_unit": unit})["data"]:
        assert row["range_start"].endswith("T00:00:00")
        parts[row["service_id"]] = parts.get(row["service_id"], 0) + row["total_incident_count"]
    assert parts == whole


@pytest.mark.parametrize(
    ("filters", "keep"),
    [
        ({"urgency": "high"}, lambda row: row["urgency"] == "high"),
        ({"major": True}, lambda row: row["major"]),
        ({"priority_names": ["P1", "P3"]}, lambda row: row["priority_name"] in {"P1", "P3"}),
        ({"incident_type_ids": ["PNONE"]}, lambda row: False),
        ({"service_ids": []}, lambda row: False),
        ({"created_at_start": "2026-05-20T00:00:00Z"}, lambda row: row["created_at"] >= "2026-05-20"),
        ({"created_at_end": "2026-05-20T00:00:00Z"}, lambda row: row["created_at"] < "2026-05-20"),
    ],
)
def test_raw_incidents_can_be_filtered(filters: dict[str, Any], keep: Any) -> None:
    """Each filter keeps the rows that say so themselves."""
    api = Api(World(incidents=300))
    rows = walk_raw(api, {"limit": 1000})
    assert walk_raw(api, {"limit": 1000, "filters": filters}) == [row for row in rows if keep(row)]


@pytest.mark.parametrize(
    ("path", "body", "told"),
    [
        (RAW, {"limit": 1001}, "body.limit"),
        (RAW, {"limit": 0}, "body.limit"),
        (RAW, {"starting_after": "QNOPE"}, "starting_after"),
        (RAW, {"starting_after": "a", "ending_before": "b"}, "exclude"),
        (RAW, {"order_by": "name"}, "body.order_by"),
        (RAW, {"filter": {}}, "body.filter is not known"),
        (RAW, {"filters": {"team_ids": "PX"}}, "body.filters.team_ids must be of type array"),
        (METRICS, {"filters": {"created_at_start": "2024-01-01T00:00:00Z"}}, "one year"),
        (METRICS, {"filters": {"min_acknowledgements": 1}}, "body.filters.min_acknowledgements is not known"),
        (METRICS, {"filters": {"major": "yes"}}, "type boolean"),
        (METRICS, {"filters": {"created_at_end": "soon"}}, "ISO 8601"),
        (METRICS, {"aggregate_unit": "year"}, "aggregate_unit"),
        (METRICS, {"order_by": "colour"}, "order_by"),
        (METRICS, [], "body must be of type object"),
    ],
)
def test_analytics_bodies_are_checked(path: str, body: Any, told: str) -> None:
    """Unknown names, wrong types, values outside an enum or a range: 400, and the place is named."""
    assert told in str(Api().refuse(400, "POST", path, json=body)["errors"])


def test_broken_json_is_refused() -> None:
    """A body that is not JSON: 400."""
    headers = {**HEADERS, "Content-Type": "application/json"}
    assert "not JSON" in Api().refuse(400, "POST", RAW, content=b"{", headers=headers)["errors"][0]


def test_the_daily_quota_runs_out() -> None:
    """Each call takes one; the headers count down; then 429 with nothing left, other kinds unharmed."""
    api = Api()
    api.world.change("analytics_quota", remaining=2)
    answers = [api.send("POST", path, json={}) for path in (RAW, METRICS, RAW)]
    seen = [(a.status_code, a.headers["daily-ratelimit-remaining"]) for a in answers]
    assert seen == [(200, "1"), (200, "0"), (429, "0")]
    assert int(answers[2].headers["daily-ratelimit-reset"]) == 12 * HOUR
    assert api.send("GET", "/services").status_code == 200


# --- who may ask, how often, and how -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "authorization", ["", "Token token=wrong", f"Bearer {TOKEN}x", TOKEN, f"Token {TOKEN}", f"Basic {TOKEN}"]
)
def test_bad_credentials_are_refused_and_not_counted(authorization: str) -> None:
    """No key, another key, another scheme: 401, code 2006, no rate-limit headers."""
    answer = Api().send("GET", "/services", headers={**HEADERS, "Authorization": authorization})
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, 2006)
    assert "ratelimit-limit" not in answer.headers


@pytest.mark.parametrize("authorization", [f"Token token={TOKEN}", f"Bearer {TOKEN}"])
def test_both_forms_of_credentials_are_taken(authorization: str) -> None:
    """An API key and an OAuth token go in different words."""
    assert Api().send("GET", "/abilities", headers={**HEADERS, "Authorization": authorization}).status_code == 200


@pytest.mark.parametrize("accept", ["*/*", "application/json", "application/vnd.pagerduty+json;version=1"])
def test_the_version_must_be_asked_for(accept: str) -> None:
    """An Accept header that does not name version 2: 406."""
    error = Api().refuse(406, "GET", "/services", headers={**HEADERS, "Accept": accept})
    assert ACCEPT in error["errors"][0]


def test_bodies_must_say_what_they_are() -> None:
    """A POST without Content-Type application/json: 400."""
    headers = {**HEADERS, "Content-Type": "text/plain"}
    assert "Content-Type" in Api().refuse(400, "POST", RAW, content=b"{}", headers=headers)["errors"][0]


def test_all_mistakes_of_a_query_are_told_together() -> None:
    """Unknown parameters, values outside an enum, repeated scalars, bad zones and times: one answer names them all."""
    query = "sevice_ids[]=PX&statuses[]=open&limit=1&limit=2&time_zone=Mars/Base&date_range=some&sort_by=a,b,c"
    errors = Api().refuse(400, "GET", f"/incidents?{query}")["errors"]
    names = ["sevice_ids[]", "statuses[]", "limit", "time_zone", "date_range", "sort_by"]
    assert [name for name, error in zip(names, errors, strict=True) if error.startswith(name)] == names


@pytest.mark.parametrize("served", LISTS, ids=lambda served: served.path)
def test_unknown_parameters_and_includes_are_refused(served: Served) -> None:
    """A misspelt parameter or an include the list does not know answers 400 instead of being ignored."""
    api = Api()
    headers = {**HEADERS, **early_access(served.path)}
    for name, value in (("fliter", "x"), ("include[]", "everything")):
        errors = api.refuse(400, "GET", served.path, params={name: value}, headers=headers)["errors"]
        assert [error for error in errors if error.startswith(name)] != []


@pytest.mark.parametrize("path", ["/services/PNOPE", "/incidents/QNOPE", "/users/P/custom_fields/values", "/nothing"])
def test_what_is_not_there_is_404(path: str) -> None:
    """Unknown records and unknown paths: 404, code 2100."""
    assert Api().refuse(404, "GET", path)["code"] == 2100


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_nothing_can_be_written(method: str) -> None:
    """The sandbox serves reads alone: 405 elsewhere."""
    assert Api().refuse(405, method, "/services")["message"] == "Method Not Allowed"


@pytest.fixture(scope="module")
def restored() -> Api:
    """A world that everybody leaves as it was."""
    return Api(upgraded_world())


@pytest.mark.parametrize("served", SERVED, ids=lambda served: f"{served.method} {served.path}")
def test_access_to_a_kind_can_be_taken_and_given_back(served: Served, restored: Api) -> None:
    """drop_permission answers 403 (2010), plan_missing 402 (2014), restore brings the records back."""
    api = restored
    path = path_of(served, api.world)
    headers = {**HEADERS, **early_access(served.path, served.method)}
    request: dict[str, Any] = {"json": {}} if served.method == "post" else {"params": required(served.path, api.world)}
    api.world.change("drop_permission", kind=served.kind)
    codes = [api.refuse(403, served.method, path, headers=headers, **request)["code"]]
    api.world.change("restore", kind=served.kind)
    api.world.change("plan_missing", kind=served.kind)
    codes.append(api.refuse(402, served.method, path, headers=headers, **request)["code"])
    api.world.change("restore", kind=served.kind)
    assert codes == [2010, 2014]
    assert api.send(served.method, path, headers=headers, **request).status_code == 200


def test_the_rate_limit_counts_and_resets() -> None:
    """Headers count down, the next request answers 429 (2020) with the reset; a minute later all is well again."""
    now = [1_000.0]
    api = Api(limit_per_minute=3, clock=lambda: now[0])
    counted = [api.send("GET", "/teams").headers["ratelimit-remaining"] for _ in range(3)]
    now[0] += 20.5
    refused = api.send("GET", "/teams")
    assert counted == ["2", "1", "0"]
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, 2020)
    assert (refused.headers["ratelimit-limit"], refused.headers["ratelimit-reset"]) == ("3", "40")
    now[0] += 40
    assert api.send("GET", "/teams").headers["ratelimit-remaining"] == "2"


def test_errors_are_counted_too() -> None:
    """A 400 and a 404 take from the limit and say so."""
    api = Api(limit_per_minute=3)
    remaining = [api.send("GET", path).headers["ratelimit-remaining"] for path in ("/teams?x=1", "/teams/PNOPE")]
    assert remaining == ["2", "1"]


def test_a_path_can_have_a_limit_of_its_own() -> None:
    """The headers tell the limit nearest to running out; other paths go on."""
    api = Api(limit_per_minute=100, path_limits={"/oncalls": 1})
    first, second = api.send("GET", "/oncalls"), api.send("GET", "/oncalls")
    assert (first.headers["ratelimit-limit"], second.status_code) == ("1", 429)
    assert api.send("GET", "/teams").headers["ratelimit-limit"] == "100"


def test_the_owner_of_a_key_can_be_asked_for() -> None:
    """/users/me answers the user of a user key, and 400 for an account key."""
    user = next(iter(World().users))
    assert Api(token_user=user).get("/users/me") == Api().get(f"/users/{user}")
    assert "account key" in Api().refuse(400, "GET", "/users/me")["errors"][0]


def test_compression_changes_nothing_but_the_size() -> None:
    """The same bytes come out of a gzipped answer, which is smaller; it can be switched off."""
    packed, plain = Api().send("GET", "/incidents"), Api(gzip=False).send("GET", "/incidents")
    assert packed.content == plain.content
    assert (packed.headers["content-encoding"], "content-encoding" in plain.headers) == ("gzip", False)
    assert int(packed.headers["content-length"]) < int(plain.headers["content-length"]) / 4


def test_error_bodies_have_one_shape() -> None:
    """Every status the sandbox uses has a message and PagerDuty's code; the errors are as given."""
    error = ApiError(400, "one", "two")
    assert error.body == {"error": {"message": "Invalid Input Provided", "code": 2001, "errors": ["one", "two"]}}
