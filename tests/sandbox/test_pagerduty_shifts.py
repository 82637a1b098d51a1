"""Overrides, users on call, and shift-based schedules of the sandbox's PagerDuty."""

from __future__ import annotations

from typing import Any

import pytest

from pdsync.sandbox.pagerduty_company import DAY
from pdsync.sandbox.world import World
from tests.sandbox.pagerduty_client import Api, check_against_spec, iso, served, upgraded_world

WORLD = World(schedules=8)
FIRST = next(iter(WORLD.schedules))


def fresh() -> tuple[Api, str]:
    """An account in which one schedule was upgraded, and which one."""
    api = Api(World(schedules=8))
    api.world.change("upgrade_schedule", id=FIRST)
    return api, FIRST


def window(api: Api, before: int = 20, after: int = 20) -> dict[str, str]:
    return {"since": iso(api.world.clock - before * DAY), "until": iso(api.world.clock + after * DAY)}


# --- leaving one list for the other ------------------------------------------------------------------------------


def test_an_upgraded_schedule_moves_from_one_list_to_the_other() -> None:
    """It keeps its identifier, leaves /schedules, and /v3/schedules holds a reference to it."""
    before = [row["id"] for row in Api(World(schedules=8)).walk("/schedules")]
    api, gone = fresh()
    assert [row["id"] for row in api.walk("/schedules")] == [one for one in before if one != gone]
    (row,) = api.get("/v3/schedules")["schedules"]
    assert (row["id"], row["type"], row["summary"]) == (gone, "schedule_v3_reference", WORLD.schedules[gone].name)
    assert sorted(row) == ["html_url", "id", "self", "summary", "type"]


def test_each_interface_shows_its_own_schedules_only() -> None:
    """/v3/schedules/{id} of a classic one answers 400; of nobody's 404; /schedules/{id} of an upgraded one 404."""
    api, gone = fresh()
    classic = api.walk("/schedules")[0]["id"]
    assert "not shift-based" in api.refuse(400, "GET", f"/v3/schedules/{classic}")["errors"][0]
    assert api.refuse(404, "GET", "/v3/schedules/PNOPE")["code"] == 2100
    assert api.refuse(404, "GET", f"/schedules/{gone}")["code"] == 2100
    assert api.get(f"/schedules/{classic}")["schedule"]["id"] == classic
    assert api.get(f"/v3/schedules/{gone}")["schedule"]["id"] == gone


@pytest.mark.parametrize("kind", ["rotations", "overrides", "custom_shifts", "audit/records"])
def test_below_v3_a_classic_schedule_answers_400(kind: str) -> None:
    """As for the schedule itself, so for all lists below it."""
    api, _ = fresh()
    classic = api.walk("/schedules")[0]["id"]
    params = window(api) if kind in {"overrides", "custom_shifts"} else {}
    error = api.refuse(400, "GET", f"/v3/schedules/{classic}/{kind}", params=params)
    assert "not shift-based" in error["errors"][0]


def test_a_schedule_is_upgraded_once() -> None:
    """A second time, and a schedule that is not there, are refused."""
    api, gone = fresh()
    for identifier, told in ((gone, "upgraded already"), ("PNOPE", "no such schedule")):
        with pytest.raises(ValueError, match=told):
            api.world.change("upgrade_schedule", id=identifier)


def test_references_to_an_upgraded_schedule_have_the_new_type() -> None:
    """On-calls and escalation policies go on naming it, as schedule_v3_reference, included or not."""
    api, gone = fresh()
    for params in ({}, {"include[]": "schedules"}):
        rows = api.walk("/oncalls", **params)
        types = {row["schedule"]["type"] for row in rows if row["schedule"] and row["schedule"]["id"] == gone}
        assert types == {"schedule_v3_reference"}
    policies = api.walk("/escalation_policies", **{"include[]": "targets"})
    targets = [target for policy in policies for rule in policy["escalation_rules"] for target in rule["targets"]]
    assert {target["type"] for target in targets if target["id"] == gone} == {"schedule_v3_reference"}
    for path in ("/oncalls", "/escalation_policies"):
        answer = api.send("GET", path, params={"include[]": "schedules" if path == "/oncalls" else "targets"})
        check_against_spec(answer)


def test_who_is_on_call_does_not_change_by_an_upgrade() -> None:
    """The same people, policies, levels and times; only the type of the reference differs."""
    plain, (api, _) = Api(World(schedules=8)), fresh()

    def told(one: Api) -> list[Any]:
        return [
            (row["user"]["id"], row["escalation_level"], row["start"], row["end"], (row["schedule"] or {}).get("id"))
            for row in one.walk("/oncalls", **window(one, 0, 30))
        ]

    assert told(api) == told(plain)


# --- the shift-based interface -----------------------------------------------------------------------------------


def test_v3_schedules_can_be_found_by_name_and_team() -> None:
    """A query is a part of the name whatever the case; team_ids[] those of the schedule."""
    api = Api(upgraded_world(schedules=12))
    rows = api.get("/v3/schedules")["schedules"]
    by_id = {row["id"]: api.get(f"/v3/schedules/{row['id']}")["schedule"] for row in rows}
    found = api.get("/v3/schedules", query="WEEKLY")["schedules"]
    assert found == [row for row in rows if "weekly" in row["summary"].lower()] != []
    team = next(one["teams"][0]["id"] for one in by_id.values() if one["teams"])
    mine = [row for row in rows if team in {one["id"] for one in by_id[row["id"]]["teams"]}]
    assert api.get("/v3/schedules", **{"team_ids[]": team})["schedules"] == mine != []


def test_v3_schedules_have_larger_pages() -> None:
    """100 unless asked, 1,000 at most; no total, though it may be asked for."""
    api = Api(upgraded_world(schedules=260))
    page = api.get("/v3/schedules", total="true")
    assert (len(page["schedules"]), page["limit"], page["more"], "total" in page) == (100, 100, True, False)
    assert len(api.get("/v3/schedules", limit=1_000)["schedules"]) == 130
    assert "limit" in api.refuse(400, "GET", "/v3/schedules", params={"limit": 1_001})["errors"][0]


def test_a_rotation_has_the_users_and_turns_of_its_layer() -> None:
    """Rotations below a schedule are those shown in it; their events repeat what the layer was."""
    api, gone = fresh()
    schedule = api.get(f"/v3/schedules/{gone}")["schedule"]
    rows = api.get(f"/v3/schedules/{gone}/rotations")["rotations"]
    assert schedule["rotations"] == rows
    for layer, row in zip(WORLD.schedules[gone].layers, rows, strict=True):
        events = api.get(f"/v3/schedules/{gone}/rotations/{row['id']}/events")["events"]
        assert (row["id"], row["events"]) == (layer.id, events)
        members = [member["user_id"] for member in events[0]["assignment_strategy"]["members"]]
        assert members == list(layer.user_ids)
        assert events[0]["effective_since"] == iso(layer.start)
    assert api.refuse(404, "GET", f"/v3/schedules/{gone}/rotations/PNOPE/events")["code"] == 2100


def test_the_final_schedule_tells_who_is_on_call() -> None:
    """With include[]=final_schedule the shifts of the window, cut at its ends, are those of /oncalls."""
    api = Api(upgraded_world(schedules=8))
    span = window(api, 0, 10)
    rows = api.walk("/oncalls", **span)
    checked = 0
    for reference in api.get("/v3/schedules")["schedules"]:
        path = f"/v3/schedules/{reference['id']}"
        final = api.get(path, **{"include[]": "final_schedule"}, **span)["schedule"]["final_schedule"]
        shifts = {(one["member"]["user_id"], one["end_time"]) for one in final["computed_shift_assignments"]}
        mine = [row for row in rows if row["schedule"] and row["schedule"]["id"] == reference["id"]]
        told = {(row["user"]["id"], min(row["end"], span["until"])) for row in mine if row["start"] < span["until"]}
        assert shifts == told or mine == []
        checked += bool(mine)
        starts = [one["start_time"] for one in final["computed_shift_assignments"]]
        assert all(span["since"] <= start < span["until"] for start in starts)
    assert checked > 0
    assert "final_schedule" not in api.get(path)["schedule"]


# --- overrides ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["schedules.overrides", "schedules_v3.overrides", "schedules_v3.custom_shifts"])
def test_overrides_lie_in_the_window_and_are_cut_at_its_ends(kind: str) -> None:
    """What touches the window is listed, cut; with overflow it is whole; a window beside it holds nothing."""
    api = Api(upgraded_world(schedules=24))
    one = served(kind)
    names = ("start", "end") if kind == "schedules.overrides" else ("start_time", "end_time")
    paths = [one.path.replace("{id}", identifier) for identifier in api.world.schedules]
    mine = [path for path in paths if (path.split("/")[-2] in api.world.upgraded) == ("v3" in kind)]
    found = [(path, row) for path in mine for row in api.page(one, path, **window(api))[one.path.split("/")[-1]]]
    assert found != []
    for path, row in found:
        start, end = (row[name] for name in names)
        inside = {"since": start[:14] + "30:00Z", "until": end}
        (cut,) = api.page(one, path, **inside)[one.path.split("/")[-1]]
        (whole,) = api.page(one, path, **inside, overflow="true")[one.path.split("/")[-1]]
        assert ([cut[name] for name in names], whole) == ([inside["since"], end], row)
        assert api.page(one, path, since=end, until=end)[one.path.split("/")[-1]] == []


def test_overrides_have_an_identifier_when_they_can_be_edited() -> None:
    """With editable those that have not ended are listed with id; without it all of them, without id."""
    api = Api(World(schedules=12))
    for identifier in api.world.schedules:
        path = f"/schedules/{identifier}/overrides"
        rows = api.get(path, **window(api))["overrides"]
        editable = api.get(path, **window(api), editable="true")["overrides"]
        assert ["id" in row for row in rows] == [False] * len(rows)
        without = [{name: value for name, value in row.items() if name != "id"} for row in editable]
        assert without == [row for row in rows if row["end"] > iso(api.world.clock)]
        assert len({row["id"] for row in editable}) == len(editable)


def test_an_override_confirms_who_is_on_call() -> None:
    """At any override's start the schedule's users on call are its user, so that on-calls need not know of it."""
    api = Api(World(schedules=12))
    seen = 0
    for identifier in api.world.schedules:
        for row in api.get(f"/schedules/{identifier}/overrides", **window(api))["overrides"]:
            moment = {"since": row["start"], "until": row["start"]}
            users = api.get(f"/schedules/{identifier}/users", **moment)["users"]
            assert row["user"]["id"] in {user["id"] for user in users}
            seen += 1
    assert seen > 0


def test_overrides_are_part_of_a_schedule_when_included() -> None:
    """The overrides subschedule of a window holds what the list of overrides holds."""
    api = Api(World(schedules=12))
    rows = api.walk("/schedules", **{"include[]": "overrides_subschedule"}, **window(api))
    for row in rows:
        listed = api.get(f"/schedules/{row['id']}/overrides", **window(api))["overrides"]
        assert row["overrides_subschedule"]["rendered_schedule_entries"] == listed


def test_users_of_a_schedule_are_those_on_call_now() -> None:
    """Without a window now counts, as in /oncalls; with one whoever has a shift in it."""
    api = Api()
    rows = api.walk("/oncalls")
    for identifier in api.world.schedules:
        mine = {row["user"]["id"] for row in rows if row["schedule"] and row["schedule"]["id"] == identifier}
        users = {user["id"] for user in api.get(f"/schedules/{identifier}/users")["users"]}
        longer = {user["id"] for user in api.get(f"/schedules/{identifier}/users", **window(api))["users"]}
        assert mine <= users <= longer
