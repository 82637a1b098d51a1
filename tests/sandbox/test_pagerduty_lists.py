"""Every list of PagerDuty's specification: served, held to it, paged, filtered, reproducible, and changed by mutations."""

from __future__ import annotations

from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openapi_core import OpenAPI

from pdsync.sandbox.pagerduty import SERVED, Served
from pdsync.sandbox.pagerduty_company import DAY
from pdsync.sandbox.pagerduty_generic import Generic, singular
from pdsync.sandbox.pagerduty_lists import ANALYTICS, BY_KIND, KINDS, LISTS, Listed, parents
from pdsync.sandbox.world import World
from tests.sandbox.pagerduty_client import (
    CUT,
    HEADERS,
    KEYS,
    READ,
    SPEC,
    Api,
    check_against_spec,
    early_access,
    includes,
    iso,
    parameters,
    path_of,
    required,
    served,
    upgraded_world,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

API = "https://api.pagerduty.com"
GETS = [one for one in SERVED if one.method == "get" and one.path in KEYS]
ANY = World()
DRAWN = [served(row.kind) for row in LISTS if row.rows is not None]


def name(one: Served) -> str:
    return f"{one.method} {one.path}"


@pytest.fixture(scope="module")
def api() -> Api:
    """A world that nobody changes."""
    return Api(upgraded_world(services=25, incidents=120))


@cache
def of_seed(seed: int) -> Api:
    """Another world that nobody changes."""
    return Api(upgraded_world(seed, services=25, incidents=120))


def send(api: Api, one: Served, path: str, **params: Any) -> Any:
    if one.method == "post":
        request: dict[str, Any] = {"json": {"time_zone": "Etc/UTC"}}
    else:
        request = {"params": {**required(one.path, api.world), **params}}
    headers = {**HEADERS, **early_access(one.path, one.method)}
    return api.send(one.method.upper(), path, headers=headers, **request)


# --- the table and the specification -----------------------------------------------------------------------------


def test_there_is_a_row_for_every_list_of_the_specification() -> None:
    """The 121 lists that the cut finds in the official file are the rows of the table, path by path."""
    assert {row.path for row in LISTS} == set(KEYS)
    assert (len(LISTS), len(BY_KIND)) == (121, 121)


def test_everything_in_the_cut_is_served_and_nothing_else() -> None:
    """Operations of the cut and served ones are the same; so are their kinds and those that mutations know."""
    operations = {(method, path) for path, methods in SPEC["paths"].items() for method in methods}
    assert operations == {(one.method, one.path) for one in SERVED} | {("get", "/users/me")}
    assert {path for method, path in operations if method == "post"} == set(ANALYTICS)
    assert {one.kind for one in SERVED} == set(KINDS)


def test_the_cut_is_whole_and_small() -> None:
    """Every reference of the cut leads somewhere, every schema is needed, and the file stays under 300 kB."""
    text = CUT.read_text("utf-8")
    named = {part.split('"', 1)[0] for part in text.split("#/components/schemas/")[1:]}
    assert named == set(SPEC["components"]["schemas"])
    assert len(text.encode()) < 300_000


def test_the_cut_is_a_specification() -> None:
    """It is an OpenAPI document, as the library sees it that holds answers to it."""
    OpenAPI.from_dict(SPEC)


def few(one: Served) -> dict[str, Any]:
    """As many rows as show what a row may be: to hold each to the specification takes most of the time."""
    return {"limit": 8} if any(each["name"] == "limit" for each in parameters(one.path, one.method)) else {}


@pytest.mark.parametrize("one", SERVED, ids=name)
@pytest.mark.parametrize(("full", "seed"), [(False, 1), (True, 2)], ids=["plain", "with includes"])
def test_requests_and_answers_follow_the_specification(one: Served, full: bool, seed: int) -> None:
    """Each operation, plain and with every include: request and answer validate against the official schemas."""
    api = of_seed(seed)
    wanted = {"include[]": includes(one.path)} if full and one.method == "get" else {}
    answer = send(api, one, path_of(one, api.world, seed), **few(one), **wanted)
    assert answer.status_code == 200, answer.text
    check_against_spec(answer)


def rows_of(answer: Any) -> int:
    return max((len(value) for value in answer.json().values() if isinstance(value, list)), default=1)


@pytest.mark.parametrize("kind", KINDS)
def test_no_list_is_empty_for_everybody(kind: str, api: Api) -> None:
    """Each kind has rows for one of its parents at least, so that validating it means something."""
    one = served(kind, "post" if kind.startswith("analytics.") and kind not in BY_KIND else "get")
    wide = {"since": iso(api.world.clock - 30 * DAY)} if kind.endswith("audit.records") else {}
    answers = (send(api, one, path_of(one, api.world, roll), **wide) for roll in range(12))
    assert any(map(rows_of, answers)) or kind == "ip_allow_lists.audit.records"


# --- who is there ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("one", [one for one in SERVED if parents(one.path)], ids=name)
def test_a_parent_that_is_not_there_is_404(one: Served, api: Api) -> None:
    """An identifier that nobody has: 404 with code 2100, for each parameter of the path in turn."""
    whole = path_of(one, api.world).split("/")
    for place, part in enumerate(one.path.split("/")):
        if part.startswith("{") and part not in {"{entity_type}", "{resource_type}"}:
            path = "/".join([*whole[:place], "PNOPE", *whole[place + 1 :]])
            answer = send(api, one, path)
            assert (answer.status_code, answer.json()["error"]["code"]) == (404, 2100)


@pytest.mark.parametrize("path", ["/tags/PX/services", "/services/PX/tags", "/standards/scores/business_services"])
def test_a_word_outside_the_choices_of_a_path_is_404(path: str) -> None:
    """Where the specification lists what a part of a path may be, anything else is not there."""
    assert Api().refuse(404, "GET", path, params={"ids": "PX"} if "scores" in path else {})["code"] == 2100


@pytest.mark.parametrize("one", [one for one in GETS if required(one.path, ANY)], ids=name)
def test_parameters_that_are_required_are_named(one: Served, api: Api) -> None:
    """Without them the answer is 400, and it tells every one of them."""
    errors = api.refuse(400, "GET", path_of(one, api.world))["errors"]
    assert errors == [f"{wanted} is required" for wanted in required(one.path, api.world)]


@pytest.mark.parametrize("one", GETS, ids=name)
def test_parameters_that_are_not_known_are_refused(one: Served, api: Api) -> None:
    """A misspelt parameter answers 400 instead of being ignored, however deep the path is."""
    answer = send(api, one, path_of(one, api.world), fliter="x")
    assert (answer.status_code, answer.json()["error"]["errors"]) == (
        400,
        [f"fliter is not a parameter of GET {one.path}"],
    )


@pytest.mark.parametrize("one", [one for one in SERVED if early_access(one.path, one.method)], ids=name)
def test_early_access_must_be_asked_for(one: Served, api: Api) -> None:
    """Without the header, or with another word in it, the answer is 400 and names the header."""
    for headers in (HEADERS, {**HEADERS, "X-EARLY-ACCESS": "something"}):
        assert "X-EARLY-ACCESS" in api.refuse(400, "GET", path_of(one, api.world), headers=headers)["errors"][0]


# --- paging ------------------------------------------------------------------------------------------------------


def identity(one: Served, row: Any) -> str:
    """What tells a row from the others, as the table says; the whole row where it has nothing of the kind."""
    found = row
    for part in BY_KIND[one.kind].id.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    return orjson.dumps(row if found is None else found).decode()


@pytest.mark.parametrize("one", GETS, ids=name)
def test_pages_of_any_size_make_the_same_list(one: Served, api: Api) -> None:
    """Walked with small pages a list is what it is with large ones; each row is there once."""
    for roll in range(2):
        path = path_of(one, api.world, roll)
        sizes = (100, 7) if KIND_OF_PAGING[one.path] != "none" else (None,)
        whole, *others = [api.everything(one, path, size) for size in sizes]
        assert others == [whole] * (len(sizes) - 1)
        names = [identity(one, row) for row in whole]
        assert len(set(names)) == len(names)


KIND_OF_PAGING = {path: item["get"]["x-list"]["paging"] for path, item in SPEC["paths"].items() if path in KEYS}


@pytest.mark.parametrize("paging", ["classic", "cursor", "after"])
def test_each_way_of_paging_has_lists_of_several_pages(paging: str, api: Api) -> None:
    """Without a limit some lists of each kind do not fit on one page, so that nobody can do without paging."""
    paths = [path for path, kind in KIND_OF_PAGING.items() if kind == paging]
    several = []
    for one in (one for one in GETS if one.path in paths and "{" not in one.path):
        page = api.page(one, one.path)
        if page.get("more") or page.get("next_cursor") or page.get("after"):
            several.append(one.kind)
    assert len(several) >= (1 if paging == "after" else 4)


@pytest.mark.parametrize("one", [one for one in GETS if KIND_OF_PAGING[one.path] == "classic"], ids=name)
def test_classic_pages_keep_to_the_rules(one: Served, api: Api) -> None:
    """Echo, default size, no rows behind the end; a size or a place outside the bounds is refused."""
    path = path_of(one, api.world)
    sizes = next(p["schema"] for p in parameters(one.path) if p["name"] == "limit")
    most = sizes.get("maximum", 100)
    page = api.page(one, path, limit=3, offset=1)
    assert (page["limit"], page["offset"]) == (3, 1)
    assert api.page(one, path)["limit"] == sizes.get("default", 25)
    behind = api.page(one, path, offset=9_000)
    key = KEYS[one.path].format(entity_type="users")
    assert (behind[key], behind["more"]) == ([], False)
    for params in ({"limit": most + 1}, {"limit": 0}, {"offset": -1}, {"offset": 10_000, "limit": 1}):
        assert send(api, one, path, **params).status_code == 400


@pytest.mark.parametrize("one", [one for one in GETS if KIND_OF_PAGING[one.path] in {"cursor", "after"}], ids=name)
def test_a_cursor_that_nobody_gave_is_refused(one: Served, api: Api) -> None:
    """400, and the parameter is named."""
    word = KIND_OF_PAGING[one.path]
    answer = send(api, one, path_of(one, api.world), **{word: "nowhere"})
    assert (answer.status_code, answer.json()["error"]["errors"]) == (400, [f"{word} is not known: nowhere"])


def test_settings_of_alert_grouping_page_forwards_and_back(api: Api) -> None:
    """`after` leads to the next page, `before` to the one in front of it; both together are refused."""
    one = served("alert_grouping_settings")
    first = api.page(one, one.path, limit=8)
    second = api.page(one, one.path, limit=8, after=first["after"])
    assert (first["before"], second["before"]) == (None, second["alert_grouping_settings"][0]["id"])
    assert api.page(one, one.path, limit=8, before=second["before"]) == first
    assert send(api, one, one.path, after=first["after"], before=second["before"]).status_code == 400


def test_lists_without_paging_say_that_they_are_whole(api: Api) -> None:
    """Where the body has paging fields although nothing can be asked, they tell that there is no more."""
    for one in (one for one in GETS if KIND_OF_PAGING[one.path] == "none"):
        page = api.page(one, path_of(one, api.world))
        assert (page.get("more", False), page.get("next_cursor")) == (False, None)


def test_past_incidents_can_be_cut(api: Api) -> None:
    """Five unless asked, at most 999; total is told when it is asked for."""
    big = Api(World(incidents=300, services=3))
    path = path_of(served("incidents.past_incidents"), big.world)
    assert [len(big.get(path, **params)["past_incidents"]) for params in ({}, {"limit": 9})] == [5, 9]
    assert (big.get(path, total="true")["total"], "total" in big.get(path)) == (12, False)
    assert "limit" in big.refuse(400, "GET", path, params={"limit": 1_000})["errors"][0]


# --- filters -----------------------------------------------------------------------------------------------------


def samples(parameter: Any) -> list[str]:
    """Values that a parameter may have: all of an enum, or one that fits the type."""
    schema = parameter["schema"]
    schema = schema if "$ref" not in schema else SPEC["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]]
    schema = schema.get("items", schema)
    if "enum" in schema:
        return [str(choice) for choice in schema["enum"] if choice is not None]
    plain = {"boolean": "true", "integer": "10"}
    by_format = {"date-time": "2026-05-25T00:00:00Z", "tzinfo": "UTC"}
    return [plain.get(schema["type"], by_format.get(schema.get("format", ""), "created_at:asc"))]


SKIPPED = {"cursor", "after", "before", "since", "until", "ids", "time_zone"}


@pytest.mark.parametrize("one", GETS, ids=name)
def test_every_filter_of_the_specification_is_taken(one: Served, api: Api) -> None:
    """Each parameter with each of its values answers 200, and the answer validates."""
    path = path_of(one, api.world)
    for parameter in (p for p in parameters(one.path) if p["in"] == "query" and p["name"] not in SKIPPED):
        for value in samples(parameter):
            answer = send(api, one, path, **{**few(one), parameter["name"]: value})
            assert answer.status_code == 200, answer.text
            check_against_spec(answer)


HONOURED: list[tuple[str, dict[str, str], Callable[[Any], bool]]] = [
    ("addons", {"filter": "full_page_addon"}, lambda row: row["type"].startswith("full_page_addon")),
    (
        "automation_actions.actions",
        {"classification": "diagnostic"},
        lambda r: r["action_classification"] == "diagnostic",
    ),
    ("automation_actions.actions", {"action_type": "script"}, lambda row: row["action_type"] == "script"),
    ("automation_actions.invocations", {"invocation_state": "queued"}, lambda row: row["state"] == "queued"),
    ("automation_actions.invocations", {"not_invocation_state": "queued"}, lambda row: row["state"] != "queued"),
    ("automation_actions.runners", {"name": "work"}, lambda row: "work" in row["name"].lower()),
    ("incident_workflows", {"query": "orders"}, lambda row: "orders" in row["name"].lower()),
    ("incident_workflows.triggers", {"trigger_type": "manual"}, lambda row: row["trigger_type"] == "manual"),
    ("incident_workflows.triggers", {"is_disabled": "true"}, lambda row: row["is_disabled"]),
    ("maintenance_windows", {"filter": "past"}, lambda row: row["end_time"] < "2026-06-01T12:00:00Z"),
    ("maintenance_windows", {"filter": "open"}, lambda row: row["end_time"] >= "2026-06-01T12:00:00Z"),
    ("notifications", {"filter": "sms_notification"}, lambda row: row["type"] == "sms_notification"),
    ("sre_agent.memories", {"type": "runbook"}, lambda row: row["attributes"]["type"] == "runbook"),
    ("status_pages", {"status_page_type": "public"}, lambda row: row["status_page_type"] == "public"),
    ("tags", {"query": "TAX"}, lambda row: "tax" in row["label"].lower()),
    ("webhook_subscriptions", {"filter_type": "account"}, lambda row: row["filter"]["type"] == "account_reference"),
    ("session_configurations", {"type": "web"}, lambda row: row["type"] == "web"),
    ("standards", {"active": "true"}, lambda row: row["active"]),
]


@pytest.mark.parametrize(("kind", "params", "keep"), HONOURED, ids=[f"{k} {p}" for k, p, _ in HONOURED])
def test_filters_select_what_rows_say_of_themselves(
    kind: str, params: dict[str, str], keep: Callable[[Any], bool], api: Api
) -> None:
    """A filter gives exactly the rows of the whole list that tell so."""
    one = served(kind)
    wide = {"limit": 45} if kind == "sre_agent.memories" else {}
    whole = api.everything(one, one.path, **wide)
    assert api.everything(one, one.path, **wide, **params) == [row for row in whole if keep(row)]


@pytest.mark.parametrize(
    ("kind", "parameter", "field"),
    [
        ("alert_grouping_settings", "service_ids[]", "services"),
        ("change_events", "integration_ids[]", "integration"),
        ("maintenance_windows", "service_ids[]", "services"),
        ("maintenance_windows", "team_ids[]", "teams"),
        ("incident_workflows.triggers", "workflow_id", "workflow"),
        ("incident_workflows.triggers", "service_id", "services"),
    ],
)
def test_filters_by_identifier_select_what_refers_to_it(kind: str, parameter: str, field: str, api: Api) -> None:
    """A service, a team, a workflow, an integration: the rows that name it, and no others."""
    one = served(kind)
    whole = api.everything(one, one.path)

    def ids(row: Any) -> set[str]:
        refs = row[field] if isinstance(row[field], list) else [row[field]]
        return {ref["id"] for ref in refs}

    wanted = min(next(ids(row) for row in whole if ids(row)))
    assert api.everything(one, one.path, **{parameter: wanted}) == [row for row in whole if wanted in ids(row)]


def test_lists_that_are_drawn_can_be_sorted(api: Api) -> None:
    """sort_by with a field that rows have, both ways."""
    one = served("event_orchestrations")
    rows = api.everything(one, one.path)
    for word, reverse in (("routes:asc", False), ("routes:desc", True)):
        found = [row["routes"] for row in api.everything(one, one.path, sort_by=word)]
        assert found == sorted((row["routes"] for row in rows), reverse=reverse)


def test_deprecated_integrations_are_listed_on_demand(api: Api) -> None:
    """include_deprecated is off unless asked for."""
    one = served("workflows.integrations")
    whole = api.everything(one, one.path, include_deprecated="true")
    assert api.everything(one, one.path) == [row for row in whole if not row["is_deprecated"]]
    assert {row["is_deprecated"] for row in whole} == {True, False}


@pytest.mark.parametrize(("kind", "field"), [("notifications", "started_at"), ("change_events", "timestamp")])
def test_windows_select_by_time(kind: str, field: str, api: Api) -> None:
    """Rows whose moment lies between since and until are listed, both ends included."""
    one = served(kind)
    windows = [(iso(api.world.clock - (90 * n + 89) * DAY), iso(api.world.clock - 90 * n * DAY)) for n in range(3)]
    for since, until in windows:
        found = [row[field] for row in api.everything(one, one.path, since=since, until=until)]
        assert found != []
        assert all(since <= moment <= until for moment in found)


@pytest.mark.parametrize(
    ("kind", "params", "told"),
    [
        ("notifications", {"since": "2026-01-01T00:00:00Z", "until": "2026-05-01T00:00:00Z"}, "92 days"),
        ("notifications", {"since": "2026-05-02T00:00:00Z", "until": "2026-05-01T00:00:00Z"}, "after until"),
        ("change_events", {"since": "2026-05-01T00:00:00+02:00"}, "UTC"),
        ("services.audit.records", {"since": "2026-04-01T00:00:00Z"}, "31 days"),
        ("log_entries", {"since": "2026-05-02T00:00:00Z", "until": "2026-05-01T00:00:00Z"}, "after until"),
        ("log_entries", {"time_zone": "Mars/Base"}, "time zone"),
        ("schedules_v3.overrides", {"time_zone": "Mars/Base"}, "time zone"),
    ],
)
def test_windows_that_cannot_be_are_refused(kind: str, params: dict[str, str], told: str, api: Api) -> None:
    """Too wide, the wrong way round, in a zone that is not taken: 400 with the reason."""
    answer = send(api, served(kind), path_of(served(kind), api.world), **params)
    assert (answer.status_code, told in str(answer.json()["error"]["errors"])) == (400, True)


# --- what is drawn from schemas ----------------------------------------------------------------------------------


def inner(value: Any) -> Iterator[dict[str, Any]]:
    """Every object in a value, itself included."""
    if isinstance(value, dict):
        yield value
    for each in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from inner(each)


TABLES = ("users", "teams", "services", "escalation_policies", "schedules", "business_services", "priorities")


def live(world: World) -> dict[str, set[str]]:
    """The identifiers that there are, by the word before them in `self`."""
    tables = {word: set(getattr(world, "policies" if word == "escalation_policies" else word)) for word in TABLES}
    return {**tables, "incidents": {world.incidents.ids[n] for n in range(len(world.incidents))}}


@pytest.mark.parametrize("one", DRAWN, ids=name)
def test_references_point_at_what_exists(one: Served, api: Api) -> None:
    """Whatever has a `self` among users, teams, services, ...: its identifier is that of a record of the world."""
    known = live(api.world)
    for roll in range(3):
        for row in api.everything(one, path_of(one, api.world, roll)):
            for found in inner(row):
                place = str(found.get("self", "")).removeprefix(API).split("/")
                if len(place) == 3 and place[1] in known:
                    assert place[2] in known[place[1]]


def test_references_to_records_that_are_drawn_point_at_rows_of_their_list(api: Api) -> None:
    """A trigger's workflow, an invocation's action, a post's page: rows of the lists that they are on."""
    generic = Generic(api.world, READ)
    workflows = {row["id"] for row in generic.rows("incident_workflows")}
    actions = {row["id"] for row in generic.rows("automation_actions.actions")}
    assert {row["workflow"]["id"] for row in generic.rows("incident_workflows.triggers")} <= workflows
    assert {row["action_id"] for row in generic.rows("automation_actions.invocations")} <= actions
    page = generic.rows("status_pages")[0]["id"]
    severities = {row["id"] for row in generic.rows("status_pages.severities", [page])}
    for post in generic.rows("status_pages.posts", [page]):
        assert post["status_page"]["id"] == page
        for update in generic.rows("status_pages.posts.post_updates", [page, post["id"]]):
            assert (update["post"]["id"], update["severity"]["id"] in severities) == (post["id"], True)


def test_drawn_records_stay_when_the_world_moves_on() -> None:
    """Two days later, with a service, an incident and a name more, every row of every list is what it was."""
    api = Api(upgraded_world(services=25, incidents=120))
    asked = [(one, path_of(one, api.world), required(one.path, api.world)) for one in DRAWN]
    before = [api.everything(one, path, **params) for one, path, params in asked]
    api.world.change("advance", hours=48)
    api.world.change("add_service", name="One more")
    api.world.change("trigger_incident", service_id=next(iter(api.world.services)), title="Another")
    after = [api.everything(one, path, **params) for one, path, params in asked]
    assert [one.kind for one, was, is_ in zip(DRAWN, before, after, strict=True) if was != is_] == []


@pytest.mark.parametrize("table", ["services", "users"])
def test_what_is_deleted_is_not_referred_to_any_more(table: str) -> None:
    """No row of any drawn list names a service or a user that was deleted; rows that did not name it are unchanged."""
    world = World(services=25, incidents=120)
    gone = list(getattr(world, table))[4]
    before = {one.kind: Generic(world, READ).rows(one.kind) for one in DRAWN if not parents(one.path)}
    world.change(f"delete_{singular(table)}", id=gone)
    for kind, rows in before.items():
        after = Generic(world, READ).rows(kind)
        assert gone not in orjson.dumps(after).decode()
        untouched = [row for row in map(orjson.dumps, rows) if gone.encode() not in row]
        now = [*map(orjson.dumps, after)]
        kept = set(untouched) & set(now)
        assert [row for row in now if row in kept] == [row for row in untouched if row in kept]
        assert len(after) == len(rows)


@pytest.mark.parametrize("row", [row for row in LISTS if row.rows and row.rows[0] != row.rows[1]], ids=lambda r: r.kind)
def test_counts_differ_from_parent_to_parent(row: Listed) -> None:
    """Nested lists are longer for some parents than for others, within the bounds of the table."""
    generic = Generic(World(services=40, incidents=200, users=40, teams=20), READ)
    outer = {tuple(path_of(served(row.kind), generic.world, roll).split("/")) for roll in range(25)}
    places = [n for n, part in enumerate(row.path.split("/")) if part.startswith("{")]
    counts = {len(generic.heads(row.kind, [path[n] for n in places])) for path in outer}
    assert row.rows is not None
    assert counts <= set(range(row.rows[0], row.rows[1] + 1))
    assert len(counts) > 1 or len(outer) < 5


@given(seed=st.integers(0, 10_000), kind=st.sampled_from([one.kind for one in DRAWN if not parents(one.path)]))
@settings(deadline=None, max_examples=20)
def test_any_seed_draws_records_that_follow_the_specification(seed: int, kind: str) -> None:
    """Whatever the seed, a list of any drawn kind validates."""
    api = Api(World(seed, services=5, users=5, incidents=20))
    answer = send(api, served(kind), served(kind).path)
    assert answer.status_code == 200, answer.text
    check_against_spec(answer)


def test_other_seeds_draw_other_records() -> None:
    """Two companies do not have the same tags."""
    assert Generic(World(1), READ).rows("tags") != Generic(World(2), READ).rows("tags")


def test_an_empty_company_can_be_asked_everything() -> None:
    """Without teams, schedules and incidents every list of the account answers, and validates."""
    api = Api(World(services=1, users=1, teams=0, schedules=0, escalation_policies=1, incidents=0))
    for one in (one for one in GETS if not parents(one.path) and "{entity_type}" not in one.path):
        answer = send(api, one, path_of(one, api.world))
        assert answer.status_code == 200, answer.text
        check_against_spec(answer)


def test_includes_of_drawn_lists_are_the_objects_of_their_own_endpoints(api: Api) -> None:
    """A maintenance window with its services: what /services/{id} shows."""
    one = served("maintenance_windows")
    plain, full = (api.everything(one, one.path, **params) for params in ({}, {"include[]": "services"}))
    found = [service for row in full for service in row["services"]]
    assert [service["id"] for service in found] == [service["id"] for row in plain for service in row["services"]]
    assert api.get(f"/services/{found[0]['id']}")["service"] == found[0]


# --- mutations ---------------------------------------------------------------------------------------------------


def shown(api: Api, one: Served, path: str) -> list[Any]:
    """The rows of the first page."""
    answer = send(api, one, path).json()
    return next(value for key, value in answer.items() if isinstance(value, list) and key != "errors")


@pytest.fixture(scope="module")
def restored() -> Api:
    """A world that everybody leaves as it was."""
    return Api(upgraded_world(services=25, incidents=120))


@pytest.mark.parametrize("one", [one for one in SERVED if one.path in KEYS or one.method == "post"], ids=name)
def test_a_kind_can_be_emptied_and_restored(one: Served, restored: Api) -> None:
    """`empty` answers 200 without rows and without more; restore brings back what was there."""
    api = restored
    path = path_of(one, api.world)
    before = send(api, one, path).json()
    api.world.change("empty", kind=one.kind)
    answer = send(api, one, path)
    assert (answer.status_code, shown(api, one, path)) == (200, [])
    assert (answer.json().get("more", False), answer.json().get("next_cursor"), answer.json().get("after")) == (
        False,
        None,
        None,
    )
    check_against_spec(answer)
    api.world.change("restore", kind=one.kind)
    assert send(api, one, path).json() == before


@pytest.mark.parametrize("kind", ["services", "incidents", "users", "tags", "oncalls", "analytics.raw.users"])
def test_half_of_a_kind_can_be_hidden(kind: str) -> None:
    """Some rows stay and some go, the same ones for every page size; nothing else changes."""
    api = Api(World(services=60, users=60, incidents=200))
    one = served(kind, "post" if kind == "analytics.raw.users" else "get")
    before = shown(api, one, one.path)
    api.world.change("hide_half", kind=kind)
    after = shown(api, one, one.path)
    if one.method == "get":
        whole = api.everything(one, one.path)
        assert whole == api.everything(one, one.path, 7)
        total = api.page(one, one.path, total="true").get("total")
        assert total == len(whole)
    assert after != before
    assert after != []
    api.world.change("restore", kind=kind)
    assert shown(api, one, one.path) == before


def test_hidden_records_are_still_there_on_their_own() -> None:
    """A list that lies does not delete: the service can be shown, and incidents refer to it."""
    api = Api()
    api.world.change("empty", kind="services")
    identifier = next(iter(api.world.services))
    assert api.get("/services")["services"] == []
    assert api.get(f"/services/{identifier}")["service"]["id"] == identifier


@pytest.mark.parametrize("kind", ["services", "incidents", "tags", "automation_actions.actions"])
def test_rows_can_move_between_pages(kind: str) -> None:
    """A walk while rows move loses some or sees some twice; when they rest a walk sees each once again."""
    api = Api(World(services=60, incidents=200))
    one = served(kind)
    before = {row["id"] for row in api.everything(one, one.path, 10)}
    api.world.change("shuffle_while_paging", kind=kind, requests=4)
    moved = [row["id"] for row in api.everything(one, one.path, 10)]
    assert (len(moved) > len(set(moved)), set(moved) < before) != (False, False)
    rested = [row["id"] for row in api.everything(one, one.path, 10)]
    assert (set(rested), len(rested)) == (before, len(before))
    assert rested == [row["id"] for row in api.everything(one, one.path, 10)]


def test_what_is_kept_of_an_answer_goes_with_a_change() -> None:
    """The same question has the same answer until the world or its clock moves; another question has its own."""
    api = Api()
    one, other = (next(iter(api.world.services)), list(api.world.services)[1])
    before = api.get(f"/services/{one}")
    assert api.get(f"/services/{one}") == before != api.get(f"/services/{other}")
    assert len(api.get("/services", limit="1")["services"]) == 1 < len(api.get("/services", limit="2")["services"])
    api.world.change("rename_service", id=one, name="Renamed")
    assert api.get(f"/services/{one}")["service"]["name"] == "Renamed"
    on_call = api.get("/oncalls")
    api.world.change("advance", hours=24 * 30)
    assert api.get("/oncalls") != on_call


# --- how records hang together -----------------------------------------------------------------------------------


def test_members_of_teams_are_the_users_who_are_in_them(api: Api) -> None:
    """teams.members and users.teams tell the same; included users are the users."""
    users = api.walk("/users")
    for team in api.world.teams:
        rows = api.walk_nested(f"/teams/{team}/members", "members", **{"include[]": "users"})
        assert [row["user"] for row in rows] == [user for user in users if team in {t["id"] for t in user["teams"]}]


def test_tags_are_the_same_from_both_sides(api: Api) -> None:
    """A user carries a tag if and only if the tag lists the user; so for teams and policies."""
    tags = [row["id"] for row in api.everything(served("tags"), "/tags")]
    for kind in ("users", "teams", "escalation_policies"):
        from_tags = {(tag, row["id"]) for tag in tags for row in api.walk_nested(f"/tags/{tag}/{kind}", kind)}
        ids = {row["id"] for row in api.walk(f"/{kind}")}
        from_ids = {(row["id"], one) for one in ids for row in api.walk_nested(f"/{kind}/{one}/tags", "tags")}
        assert from_tags == from_ids != set()


def test_dependencies_are_listed_at_both_ends(api: Api) -> None:
    """Each edge is told by either of its ends, with the same identifier."""
    seen: dict[str, list[tuple[str, str]]] = {}
    places = (
        ("technical", "technical_services", list(api.world.services)),
        ("business", "business_services", list(api.world.business_services)),
    )
    for word, path, ids in places:
        for identifier in ids:
            for row in api.get(f"/service_dependencies/{path}/{identifier}")["relationships"]:
                ends = {(row[side]["type"], row[side]["id"]) for side in ("supporting_service", "dependent_service")}
                assert (f"{word}_service_reference", identifier) in ends
                seen.setdefault(row["id"], []).append((word, identifier))
    assert {len(ends) for ends in seen.values()} == {2}


def test_change_events_of_a_service_are_those_that_name_it(api: Api) -> None:
    """services.change_events is a part of change_events; an incident's related ones are rows of it too."""
    whole = api.walk("/change_events")
    for service in list(api.world.services)[:5]:
        mine = api.walk_nested(f"/services/{service}/change_events", "change_events")
        assert mine == [row for row in whole if service in {one["id"] for one in row["services"]}]
    incident = api.world.incidents.ids[7]
    related = api.get(f"/incidents/{incident}/related_change_events")["change_events"]
    by_id = {row["id"]: row for row in whole}
    assert [{name: row[name] for name in by_id[row["id"]]} for row in related] == [by_id[row["id"]] for row in related]


def test_log_entries_of_an_incident_are_those_of_the_account(api: Api) -> None:
    """The account's log entries are all incidents' together, latest first; an overview leaves assignments out."""
    whole = api.walk("/log_entries")
    mine = [
        e
        for n in range(120)
        for e in api.walk_nested(f"/incidents/{api.world.incidents.ids[n]}/log_entries", "log_entries")
    ]
    assert sorted(e["id"] for e in whole) == sorted(e["id"] for e in mine)
    moments = [entry["created_at"] for entry in whole]
    assert moments == sorted(moments, reverse=True)
    overview = api.walk("/log_entries", is_overview="true")
    assert overview == [entry for entry in whole if entry["type"] != "assign_log_entry"]
    team = next(iter(api.world.teams))
    assert api.walk("/log_entries", **{"team_ids[]": team}) == [
        e for e in whole if team in {t["id"] for t in e["teams"]}
    ]


def test_log_entries_of_a_window_are_those_within_it(api: Api) -> None:
    """Since and until select by the moment of the entry, whenever its incident began."""
    whole = api.walk("/log_entries")
    since, until = iso(api.world.clock - 9 * DAY), iso(api.world.clock - 2 * DAY)
    expected = [entry for entry in whole if since <= entry["created_at"] <= until]
    assert api.walk("/log_entries", since=since, until=until) == expected != []


def test_alerts_are_as_many_as_their_incident_counts(api: Api) -> None:
    """alert_counts of an incident are the alerts it lists; a filter by status gives all or none; a key gives one."""
    for incident in api.walk("/incidents")[:40]:
        path = f"/incidents/{incident['id']}/alerts"
        rows = api.walk_nested(path, "alerts")
        counts = {status: sum(row["status"] == status for row in rows) for status in ("triggered", "resolved")}
        assert {"all": len(rows), **counts} == incident["alert_counts"]
        assert api.walk_nested(path, "alerts", **{"statuses[]": "resolved"}) == [
            r for r in rows if r["status"] == "resolved"
        ]
        assert api.walk_nested(path, "alerts", alert_key=rows[0]["alert_key"]) == rows[:1]


def test_custom_fields_are_defined_where_they_have_values(api: Api) -> None:
    """Fields and values have the same identifiers; a value of a fixed field is one of its options."""
    incident = api.world.incidents.ids[3]
    for fields, values in (
        ("/services/custom_fields", f"/services/{next(iter(api.world.services))}/custom_fields/values"),
        ("/incidents/types/incident_default/custom_fields", f"/incidents/{incident}/custom_fields/values"),
        ("/incidents/custom_fields", f"/incidents/{incident}/custom_fields/values"),
    ):
        defined = {row["id"]: row for row in api.get(fields, **{"include[]": "field_options"})["fields"]}
        found = api.get(values)["custom_fields"]
        assert [row["id"] for row in found] == list(defined)
        for row in found:
            options = [option["data"]["value"] for option in defined[row["id"]]["field_options"]]
            told = row["value"] if isinstance(row["value"], list) else [row["value"]]
            assert not options or set(told) <= {*options, None}
            assert (
                api.get(f"{fields}/{row['id']}/field_options")["field_options"] == defined[row["id"]]["field_options"]
            )


def test_types_of_incidents_go_by_name_or_identifier(api: Api) -> None:
    """Enabled types unless asked for others; the custom fields of a type are found under either."""
    enabled, disabled, every = (
        api.get("/incidents/types", filter=w)["incident_types"] for w in ("enabled", "disabled", "all")
    )
    assert api.get("/incidents/types")["incident_types"] == enabled
    assert sorted(row["id"] for row in every) == sorted(row["id"] for row in [*enabled, *disabled])
    found = [api.get(f"/incidents/types/{enabled[0][name]}/custom_fields") for name in ("id", "name")]
    assert found[0] == found[1]
    assert api.get(f"/incidents/types/{enabled[1]['id']}/custom_fields")["fields"] == []


def test_licences_count_their_allocations(api: Api) -> None:
    """Each user has one licence; a licence's value is the number of users who have it."""
    rows = api.walk("/license_allocations")
    assert [row["user"]["id"] for row in rows] == [row["id"] for row in api.walk("/users")]
    for licence in api.get("/licenses")["licenses"]:
        assert licence["current_value"] == sum(row["license"]["id"] == licence["id"] for row in rows)


def test_scores_are_the_same_for_one_and_for_many(api: Api) -> None:
    """The scores of services that `ids` names are those of each on its own; unknown ones are left out."""
    ids = list(api.world.services)[:3]
    rows = api.get("/standards/scores/technical_services", ids=[*ids, "PNOPE"])["resources"]
    assert rows == [api.get(f"/standards/scores/technical_services/{one}") for one in ids]
    standards = {row["id"] for row in api.get("/standards")["standards"]}
    assert {one["id"] for row in rows for one in row["standards"]} == standards


def test_connections_of_the_account_are_those_of_its_integrations(api: Api) -> None:
    """workflows.integrations.connections is the union over all integrations."""
    whole = api.everything(served("workflows.integrations.connections"), "/workflows/integrations/connections")
    parents_ = api.everything(served("workflows.integrations"), "/workflows/integrations", include_deprecated="true")
    one = served("workflows.integration.connections")
    nested = [
        row for parent in parents_ for row in api.everything(one, one.path.replace("{integration_id}", parent["id"]))
    ]
    assert whole == nested != []


def test_dashboards_tell_the_same_by_slug(api: Api) -> None:
    """status_dashboards.by_slug finds the dashboard that its slug names."""
    for row in api.get("/status_dashboards")["status_dashboards"]:
        by_id = api.get(f"/status_dashboards/{row['id']}/service_impacts")
        assert api.get(f"/status_dashboards/url_slugs/{row['url_slug']}/service_impacts") == by_id


def test_rules_of_users_name_their_own_contacts(api: Api) -> None:
    """Contact methods, and rules of three kinds that refer to them; includes put the whole contact in."""
    for user in list(api.world.users)[:10]:
        contacts = {row["id"]: row for row in api.get(f"/users/{user}/contact_methods")["contact_methods"]}
        for path in ("notification_rules", "oncall_handoff_notification_rules", "status_update_notification_rules"):
            assert {row["contact_method"]["id"] for row in api.get(f"/users/{user}/{path}")[path]} <= set(contacts)
        full = api.get(f"/users/{user}/notification_rules", **{"include[]": "contact_methods"})["notification_rules"]
        assert [row["contact_method"] for row in full] == [contacts[row["contact_method"]["id"]] for row in full]
        high = api.get(f"/users/{user}/notification_rules", urgency="high")["notification_rules"]
        assert {row["urgency"] for row in high} == {"high"}


def test_audit_records_of_a_record_are_those_of_the_account_about_it() -> None:
    """Below a service the audit trail tells of that service alone."""
    api = Api()
    window = {"since": iso(api.world.clock - 30 * DAY)}
    whole = api.get("/audit/records", limit=1_000, **window)["records"]
    for service in api.world.services:
        mine = api.get(f"/services/{service}/audit/records", limit=1_000, **window)["records"]
        assert mine == [row for row in whole if row["root_resource"]["id"] == service]


# --- sizes -------------------------------------------------------------------------------------------------------


def test_a_long_history_can_be_read_in_windows() -> None:
    """25,000 incidents over 18 months: more than a walk may reach, yet windows of three months hold each once."""
    api = Api(World(services=60, incidents=25_000, incident_days=540))
    page = api.get("/incidents", date_range="all", total="true", limit=100, offset=9_900)
    assert (page["total"], page["more"]) == (25_000, True)
    assert api.send("GET", "/incidents", params={"date_range": "all", "offset": 10_000}).status_code == 400
    ends = [api.world.clock - 90 * DAY * n for n in range(7)]
    windows = [(iso(start + 1), iso(end)) for end, start in pairwise(ends)]
    counts = [
        api.get("/incidents", since=since, until=until, total="true", limit=1)["total"] for since, until in windows
    ]
    assert (sum(counts), max(counts) < 10_000) == (25_000, True)
