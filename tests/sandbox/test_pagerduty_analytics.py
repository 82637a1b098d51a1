"""Metrics and raw rows of the sandbox's analytics beside those of services and incidents (see test_pagerduty)."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pdsync.sandbox.pagerduty_analytics import SPLITS
from pdsync.sandbox.pagerduty_company import DAY
from pdsync.sandbox.world import World
from tests.sandbox.pagerduty_client import Api, iso

METRICS = "/analytics/metrics"
WORLD = World(services=25, incidents=400, users=30, teams=6)
TOTALS = ("total_incident_count", "total_interruptions", "total_engaged_seconds", "total_escalation_count")


def raw(api: Api, **filters: Any) -> list[Any]:
    found: list[Any] = api.post("/analytics/raw/incidents", {"limit": 1_000, "filters": filters})["data"]
    return found


def sums(rows: list[Any]) -> dict[str, int]:
    return {name: sum(row[name] for row in rows) for name in TOTALS}


def walk(api: Api, path: str, key: str, limit: int, body: dict[str, Any]) -> list[Any]:
    """All rows of a raw list; one that does not tell of more ends with a page that is not full."""
    found: list[Any] = []
    while True:
        cursor = {"starting_after": found[-1][key]} if found else {}
        page = api.post(path, {**body, "limit": limit, **cursor})
        found += page["data"]
        if not page.get("more", len(page["data"]) == limit):
            return found


@pytest.mark.parametrize("kind", ["services", "teams", "escalation_policies"])
def test_totals_are_the_sums_of_the_parts(kind: str) -> None:
    """What .../all tells of services, teams or policies is the sum over them; one row, without a name."""
    api = Api(WORLD)
    parts = api.post(f"{METRICS}/incidents/{kind}", {})["data"]
    (whole,) = api.post(f"{METRICS}/incidents/{kind}/all", {})["data"]
    assert sums([whole]) == sums(parts)
    assert [name for name in whole if name.endswith(("_id", "_name"))] == []


def test_all_incidents_are_those_of_the_raw_list() -> None:
    """The metrics of the account count each raw incident once; percentiles are times that occur, in order."""
    api = Api(WORLD)
    rows = raw(api)
    (whole,) = api.post(f"{METRICS}/incidents/all", {})["data"]
    assert whole["total_incident_count"] == len(rows)
    for name in ("seconds_to_first_ack", "seconds_to_resolve"):
        told = [whole[f"p{share}_{name}"] for share in (50, 75, 90, 95)]
        times = sorted(row[name] for row in rows if row[name] is not None)
        assert told == sorted(told)
        assert set(told) <= set(times)
        assert abs(sum(time <= told[0] for time in times) - len(times) / 2) <= 1


@pytest.mark.parametrize(("kind", "key"), [("teams", "team_id"), ("escalation_policies", "escalation_policy_id")])
def test_incidents_are_put_together_by_what_raw_rows_say(kind: str, key: str) -> None:
    """A team's or policy's count is that of the raw incidents that name it; without incidents there is no row."""
    api = Api(WORLD)
    rows = raw(api)
    counted = {row[key]: row["total_incident_count"] for row in api.post(f"{METRICS}/incidents/{kind}", {})["data"]}
    ids = {row[key] for row in rows} - {None}
    assert counted == {one: sum(row[key] == one for row in rows) for one in ids}


@pytest.mark.parametrize("path", sorted(SPLITS))
@pytest.mark.parametrize("order", ["asc", "desc"])
def test_metrics_are_sorted_as_asked(path: str, order: str) -> None:
    """By any field of the rows; one that they do not have is refused."""
    api = Api(WORLD)
    rows = api.post(path, {"order": order, "order_by": "total_interruptions"})["data"]
    values = [row["total_interruptions"] for row in rows]
    assert values == sorted(values, reverse=order == "desc")
    assert "order_by" in api.refuse(400, "POST", path, json={"order_by": "colour"})["errors"][0]


def test_responders_are_counted_by_whom_incidents_were_assigned_to() -> None:
    """A responder's count is the raw incidents assigned to them, in all and team by team."""
    api = Api(WORLD)
    rows = raw(api)
    people = {user for row in rows for user in row["assigned_user_ids"]}
    whole = {row["responder_id"]: row for row in api.post(f"{METRICS}/responders/all", {})["data"]}
    assert {one: whole[one]["total_incident_count"] for one in whole} == {
        one: sum(one in row["assigned_user_ids"] for row in rows) for one in people
    }
    by_team = api.post(f"{METRICS}/responders/teams", {})["data"]
    for row in by_team:
        mine = [r for r in rows if row["responder_id"] in r["assigned_user_ids"] and r["team_id"] == row["team_id"]]
        assert row["total_incident_count"] == len(mine)
    some = sorted(people)[:2]
    chosen = api.post(f"{METRICS}/responders/all", {"filters": {"responder_ids": some}})["data"]
    assert {row["responder_id"] for row in chosen} == set(some)


def test_responders_have_windows_of_their_own_name() -> None:
    """date_range_start and date_range_end bound them; a range over a year is refused; the other names are not known."""
    api = Api(WORLD)
    path, since = f"{METRICS}/responders/all", iso(WORLD.clock - 8 * DAY)
    rows = api.post(path, {"filters": {"date_range_start": since}})["data"]
    expected = sum(bool(row["assigned_user_ids"]) for row in raw(api, created_at_start=since))
    assert sum(row["total_incident_count"] for row in rows) == expected
    assert "one year" in str(api.refuse(400, "POST", path, json={"filters": {"date_range_start": "2024-01-01"}}))
    assert "not known" in str(api.refuse(400, "POST", path, json={"filters": {"created_at_start": since}}))


@cache
def raw_rows() -> list[Any]:
    """All raw incidents of WORLD, which nobody changes."""
    return raw(Api(WORLD))


@given(limit=st.integers(1, 60), order=st.sampled_from(["asc", "desc"]))
@settings(deadline=None, max_examples=15)
def test_incidents_of_a_responder_page_without_telling_of_more(limit: int, order: str) -> None:
    """Walked until a page is not full: each raw incident assigned to the responder once, in the order asked for."""
    api, rows = Api(WORLD), raw_rows()
    user = max(WORLD.users, key=lambda one: sum(one in row["assigned_user_ids"] for row in rows))
    path = f"/analytics/raw/responders/{user}/incidents"
    found = walk(api, path, "incident_id", limit, {"order": order})
    expected = [row["id"] for row in rows if user in row["assigned_user_ids"]]
    assert [row["incident_id"] for row in found] == (expected if order == "desc" else expected[::-1])
    assert "more" not in api.post(path, {})


@given(
    limit=st.integers(1, 40), order=st.sampled_from(["asc", "desc"]), by=st.sampled_from(["user_id", "name", "email"])
)
@settings(deadline=None, max_examples=15)
def test_raw_users_page_by_cursor(limit: int, order: str, by: str) -> None:
    """Following `last` while there is more gives each user once, in the order asked for."""
    found = walk(Api(WORLD), "/analytics/raw/users", "id", limit, {"order": order, "order_by": by})
    assert {row["id"] for row in found} == set(WORLD.users)
    assert len(found) == len(WORLD.users)
    values = [row[{"user_id": "id", "name": "user_name"}.get(by, by)] for row in found]
    assert values == sorted(values, reverse=order == "desc")


def test_users_can_be_filtered_and_counted() -> None:
    """By team, by identifier, by when they joined; the metrics count the rows of the raw list."""
    api = Api(WORLD)
    team = next(iter(WORLD.teams))
    mine = {user.id for user in WORLD.users.values() if team in user.team_ids}
    some = sorted(WORLD.users)[:3]
    rows = api.post("/analytics/raw/users", {})["data"]
    middle = sorted(row["created_at"] for row in rows)[15]
    late = {row["id"] for row in rows if row["created_at"] >= middle}
    for filters, expected in (
        ({"team_ids": [team]}, mine),
        ({"user_ids": some}, set(some)),
        ({"created_at_start": middle}, late),
    ):
        found = api.post("/analytics/raw/users", {"filters": filters})["data"]
        (counted,) = api.post(f"{METRICS}/users/all", {"filters": filters})["data"]
        assert {row["id"] for row in found} == expected
        assert counted["total_user_count"] == len(expected)
        assert counted["total_on_escalation_policy_count"] == sum(row["on_escalation_policy"] for row in found)


def test_one_raw_incident_is_the_row_of_the_list() -> None:
    """GET /analytics/raw/incidents/{id} answers the row, without a wrapper; its responses name whom it went to."""
    api = Api(WORLD)
    for row in raw(api)[:20]:
        assert api.get(f"/analytics/raw/incidents/{row['id']}") == row
        answer = api.get(f"/analytics/raw/incidents/{row['id']}/responses")
        assert answer["incident_id"] == row["id"]
        assert [one["responder_id"] for one in answer["responses"]] == row["assigned_user_ids"]
        assert [one["time_to_respond_seconds"] for one in answer["responses"]] in ([row["seconds_to_first_ack"]], [])


@pytest.mark.parametrize("path", [f"{METRICS}/incidents/all", "/analytics/raw/incidents"])
def test_a_users_key_must_say_whose_incidents_it_wants(path: str) -> None:
    """Without team_ids or service_ids a user's key is refused; an account's key need not say."""
    user = next(iter(WORLD.users))
    api = Api(WORLD, token_user=user)
    assert "team_ids" in api.refuse(400, "POST", path, json={})["errors"][0]
    assert api.post(path, {"filters": {"team_ids": [next(iter(WORLD.teams))]}})["data"] != []
    assert Api(WORLD).post(path, {})["data"] != []


def test_usage_counts_features() -> None:
    """A row for each feature, within the window asked for."""
    api = Api(WORLD)
    path = f"{METRICS}/pd_advance_usage/features"
    whole = api.post(path, {})["data"]
    week = api.post(path, {"filters": {"created_at_start": iso(WORLD.clock - 8 * DAY)}})["data"]
    assert (
        [row["feature_id"] for row in whole]
        == [row["feature_id"] for row in week]
        == ["status_update", "incident_summary"]
    )
    assert all(0 < part["total_use_count"] < row["total_use_count"] for row, part in zip(whole, week, strict=True))
