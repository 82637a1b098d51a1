"""The sandbox's company: believable, reproducible, and changed only through its commands."""

from __future__ import annotations

import os
import subprocess
import sys
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pdsync.sandbox.pagerduty_company import DAY, HOUR, Ids
from pdsync.sandbox.world import COMMANDS, KINDS, World

SIZES = st.fixed_dictionaries(
    {
        "seed": st.integers(0, 10_000),
        "services": st.integers(1, 80),
        "users": st.integers(1, 60),
        "teams": st.integers(0, 12),
        "schedules": st.integers(0, 12),
        "escalation_policies": st.integers(1, 12),
        "incidents": st.integers(0, 200),
    }
)

DIGEST = """
import hashlib
from pdsync.sandbox.pagerduty import SERVED
from tests.sandbox.pagerduty_client import HEADERS, Api, early_access, path_of, required, upgraded_world

api = Api(upgraded_world(seed=3, services=30, incidents=150))
found = hashlib.sha256()
for one in SERVED:
    headers = {**HEADERS, **early_access(one.path, one.method)}
    request = {"json": {}} if one.method == "post" else {"params": required(one.path, api.world)}
    answer = api.send(one.method, path_of(one, api.world), headers=headers, **request)
    assert answer.status_code == 200, answer.text
    found.update(answer.content)
print(found.hexdigest())
"""


def digest(hash_seed: str) -> str:
    env = {**os.environ, "PYTHONHASHSEED": hash_seed}
    run = [sys.executable, "-c", DIGEST]
    root = Path(__file__).parents[2]
    return subprocess.run(run, env=env, cwd=root, check=True, capture_output=True, text=True).stdout


def test_equal_arguments_give_equal_bytes_on_every_hash_seed() -> None:
    """All answers of two processes with different hash seeds are the same bytes."""
    assert digest("0") == digest("12345")


def test_a_seed_means_the_same_on_every_python_version() -> None:
    """What is drawn for the default seed is pinned: identifiers, moments, states."""
    world = World()
    last = world.incidents.record(59)
    found = [next(iter(world.services)), next(iter(world.users)), last.id, last.status, last.created, last.roll]
    assert found == PINNED


PINNED: list[object] = ["PH02XNL", "PJMOA8X", "QWWJL0V4889VKX", "triggered", 1780304811, 1852780134295473]


@given(SIZES)
def test_a_world_has_the_sizes_asked_for(sizes: dict[str, Any]) -> None:
    """Every table holds as many records as asked for, whatever the sizes."""
    world = World(**sizes)
    summary = world.summary()
    assert {name: summary[name] for name in sizes if name != "seed"} == {k: v for k, v in sizes.items() if k != "seed"}


@given(SIZES)
def test_names_and_identifiers_are_unique(sizes: dict[str, Any]) -> None:
    """No identifier is used twice in a world, no e-mail address, no service name, no team name."""
    world = World(**sizes)
    ids = [*world.teams, *world.users, *world.schedules, *world.policies, *world.services]
    ids += [rule.id for policy in world.policies.values() for rule in policy.rules]
    ids += [one.id for service in world.services.values() for one in service.integrations]
    assert len(ids) == len(set(ids))
    emails = [user.email for user in world.users.values()]
    names = [service.name for service in world.services.values()]
    teams = [team.name for team in world.teams.values()]
    assert (len(set(emails)), len(set(names)), len(set(teams))) == (len(emails), len(names), len(teams))
    assert all(email.isascii() for email in emails)


@given(SIZES)
def test_records_refer_to_records_that_exist(sizes: dict[str, Any]) -> None:
    """Teams, users, schedules, policies and services that records name are there (or remembered as deleted)."""
    world = World(**sizes)
    assert {team for user in world.users.values() for team in user.team_ids} <= set(world.teams)
    assert {user for s in world.schedules.values() for layer in s.layers for user in layer.user_ids} <= set(world.users)
    assert {user for s in world.schedules.values() for user in s.former_user_ids} == set(world.former_users)
    targets = {target for policy in world.policies.values() for rule in policy.rules for target in rule.targets}
    assert {target.id for target in targets if target.kind == "users"} <= set(world.users)
    assert {target.id for target in targets if target.kind == "schedules"} <= set(world.schedules)
    assert {service.policy_id for service in world.services.values()} <= set(world.policies)
    table = world.incidents
    assert {table.record(n).service_id for n in range(len(table))} <= set(world.services)


@given(SIZES)
def test_incidents_lie_in_order_within_the_default_window(sizes: dict[str, Any]) -> None:
    """Incidents are numbered by creation, all within 28 days before now; none ends before it begins or after now."""
    world = World(**sizes)
    found = [world.incidents.record(n) for n in range(len(world.incidents))]
    created = [incident.created for incident in found]
    assert created == sorted(created)
    assert all(world.clock - 28 * DAY <= moment <= world.clock for moment in created)
    assert all(incident.created <= incident.updated <= world.clock for incident in found)
    assert all((incident.resolved is not None) == (incident.status == "resolved") for incident in found)
    for incident in found:
        assert incident.acknowledged is None or incident.created <= incident.acknowledged <= incident.updated


@given(SIZES)
def test_services_with_open_incidents_show_it(sizes: dict[str, Any]) -> None:
    """A service with a triggered incident is critical, one whose open incidents are all acknowledged is warning."""
    world = World(**sizes)
    found = [world.incidents.record(n) for n in range(len(world.incidents))]
    triggered = {incident.service_id for incident in found if incident.status == "triggered"}
    acknowledged = {incident.service_id for incident in found if incident.status == "acknowledged"} - triggered
    states = {service.id: service.status for service in world.services.values()}
    assert {identifier for identifier, status in states.items() if status == "critical"} == triggered
    assert {identifier for identifier, status in states.items() if status == "warning"} == acknowledged


def test_the_default_world_has_incidents_in_every_state() -> None:
    """A demo on the default world finds triggered, acknowledged and resolved incidents."""
    world = World()
    assert {world.incidents.record(n).status for n in range(60)} == {"triggered", "acknowledged", "resolved"}


def test_text_comes_in_many_scripts_and_with_traps() -> None:
    """Titles and names hold Latin with accents, Cyrillic, Hebrew, Arabic, Han, kana, emoji, markup and control signs."""
    world = World(incidents=2_000)
    texts = "".join(world.incidents.record(n).title for n in range(2_000))
    texts += "".join(user.name for user in world.users.values())
    scripts = {unicodedata.name(letter, "").split(" ")[0] for letter in set(texts)}
    assert {"LATIN", "CYRILLIC", "HEBREW", "ARABIC", "CJK", "KATAKANA", "HANGUL", "FIRE"} <= scripts
    assert {"é", "<", "`", "|", "\n", "\t", '"', "\\"} <= set(texts)


def test_some_descriptions_are_long() -> None:
    """In a larger company some descriptions run over a thousand characters, and some are missing."""
    world = World(services=300)
    lengths = [len(service.description or "") for service in world.services.values()]
    assert max(lengths) > 1_000
    assert min(lengths) == 0


def test_a_large_world_can_be_had() -> None:
    """Five thousand services and a hundred thousand incidents are all there and can be looked up."""
    world = World(services=5_000, users=800, teams=60, schedules=120, escalation_policies=300, incidents=100_000)
    table = world.incidents
    assert world.summary()["incidents"] == 100_000
    assert [table.position(table.record(n).id) for n in (0, 49_999, 99_999)] == [0, 49_999, 99_999]


@pytest.mark.parametrize(
    "sizes",
    [
        {"services": 1, "escalation_policies": 0, "incidents": 0},
        {"escalation_policies": 1, "users": 0, "schedules": 0},
        {"schedules": 1, "users": 0, "escalation_policies": 0, "services": 0, "incidents": 0},
        {"incidents": 1, "services": 0},
        {"services": -1},
    ],
)
def test_sizes_that_cannot_be_are_refused(sizes: dict[str, Any]) -> None:
    """Services without a policy, policies without users and the like are a ValueError."""
    with pytest.raises(ValueError, match=r"need|negative"):
        World(**sizes)


@given(st.integers(0, 10**9), st.integers(0, 10**6))
def test_identifiers_can_be_undone(number: int, offset: int) -> None:
    """Number to identifier and back is the identity, and other strings have no number."""
    ids = Ids("Q", 13, offset)
    assert ids.number(ids[number]) == number
    assert [ids.number(text) for text in ("", ids[number][1:], ids[number].lower(), ids[number] + "0")] == [None] * 4


# --- on call ---------------------------------------------------------------------------------------------------


@given(SIZES, st.integers(-30 * DAY, 60 * DAY), st.integers(0, 20 * DAY))
@settings(max_examples=40)
def test_shifts_follow_each_other_without_a_gap(sizes: dict[str, Any], start: int, length: int) -> None:
    """The turns of a schedule that touch a window cover it, one after the other, each from a live user."""
    world = World(**sizes)
    since = world.clock + start
    for schedule in world.schedules.values():
        found = list(world.shifts(schedule, since, since + length))
        assert found[0][1] <= since
        assert since + length < found[-1][2]
        assert [end for _, _, end in found[:-1]] == [begin for _, begin, _ in found[1:]]
        assert {user_id for user_id, _, _ in found} <= set(world.users)


def test_on_call_is_handed_over_as_the_clock_moves() -> None:
    """A day later a daily rotation has another user on call, and its shift has begun since."""
    world = World()
    daily = next(s for s in world.schedules.values() if s.layers[0].turn == DAY and len(s.layers[0].user_ids) > 1)
    before = next(world.shifts(daily, world.clock, world.clock))
    world.change("advance", hours=24)
    after = next(world.shifts(daily, world.clock, world.clock))
    assert before[0] != after[0]
    assert after[1] == before[2]


def test_users_called_directly_have_no_shift() -> None:
    """An on-call of a direct target has neither schedule nor start nor end; the others have all three."""
    world = World()
    found = list(world.oncalls(world.clock, world.clock))
    direct = [(o.start, o.end) for o in found if o.schedule_id is None]
    assert set(direct) == {(None, None)}
    assert all(o.start and o.end and o.start <= world.clock < o.end for o in found if o.schedule_id)


def test_every_level_of_every_policy_is_on_call() -> None:
    """Now is covered: each level of each policy has somebody."""
    world = World()
    levels = {(policy.id, n) for policy in world.policies.values() for n in range(1, len(policy.rules) + 1)}
    assert {(o.policy_id, o.level) for o in world.oncalls(world.clock, world.clock)} == levels


# --- commands --------------------------------------------------------------------------------------------------


def first(table: dict[str, Any]) -> str:
    return next(iter(table))


def test_a_service_can_be_renamed_and_its_incidents_keep_their_titles() -> None:
    """rename_service changes the name alone; titles were written when the incidents began."""
    world = World()
    titles = [world.incidents.record(n).title for n in range(60)]
    identifier = first(world.services)
    done = world.mutate({"action": "rename_service", "id": identifier, "name": "Kasse 2"})
    assert done == {"action": "rename_service", "id": identifier, "before": "Checkout API", "after": "Kasse 2"}
    assert world.services[identifier].name == "Kasse 2"
    assert [world.incidents.record(n).title for n in range(60)] == titles


def test_a_deleted_service_takes_its_incidents_with_it() -> None:
    """delete_service hides the service's incidents and nothing else; keep_incidents leaves them."""
    world, keeping = World(), World()
    identifier = world.incidents.record(0).service_id
    rows = world.incidents.rows_of(identifier)
    done = world.change("delete_service", id=identifier)
    kept = keeping.change("delete_service", id=identifier, keep_incidents=True)
    assert (done["incidents"], kept["incidents"]) == (len(rows), 0)
    assert [n for n in range(60) if world.incidents.hidden[n]] == rows
    assert (world.summary()["incidents"], keeping.summary()["incidents"]) == (60 - len(rows), 60)
    assert identifier not in world.services


def test_added_services_are_new() -> None:
    """add_service makes a service with an identifier of its own, under a policy that exists; a name is used once."""
    world = World()
    made = [world.change("add_service", name=name)["id"] for name in ("One", "Two")]
    assert set(made) <= set(world.services)
    assert len(world.services) == 14
    assert world.services[made[0]].policy_id in world.policies
    with pytest.raises(ValueError, match="One"):
        world.change("add_service", name="One")


def test_an_added_service_never_takes_the_place_of_a_deleted_one() -> None:
    """Identifiers are not used again after a deletion."""
    world = World()
    one = world.change("add_service", name="One")["id"]
    world.change("delete_service", id=one)
    assert world.change("add_service", name="Two")["id"] != one


def test_an_incident_runs_its_course_and_its_service_follows() -> None:
    """Triggered, acknowledged, resolved: the incident's state and the status of its service."""
    world = World(incidents=0)
    service = next(s.id for s in world.services.values() if s.status == "active")
    identifier = world.change("trigger_incident", service_id=service, title="Feuer 🔥")["id"]
    row = world.incidents.position(identifier)
    assert row is not None
    seen = [(world.incidents.record(row).status, world.services[service].status)]
    for action in ("acknowledge_incident", "resolve_incident"):
        world.change("advance", hours=1)
        world.change(action, id=identifier)
        seen.append((world.incidents.record(row).status, world.services[service].status))
    assert seen == [("triggered", "critical"), ("acknowledged", "warning"), ("resolved", "active")]
    incident = world.incidents.record(row)
    assert (incident.title, incident.created, incident.resolved) == ("Feuer 🔥", world.clock - 2 * HOUR, world.clock)


def test_an_incident_is_resolved_once() -> None:
    """Resolving a resolved incident is refused."""
    world = World()
    identifier = next(world.incidents.record(n).id for n in range(60) if world.incidents.status[n] != 2)
    world.change("resolve_incident", id=identifier)
    with pytest.raises(ValueError, match="resolved already"):
        world.change("resolve_incident", id=identifier)


def test_a_deleted_user_is_off_every_rotation() -> None:
    """delete_user leaves nobody on call by that name, whatever the window."""
    world = World()
    identifier = next(o.user_id for o in world.oncalls(world.clock, world.clock) if o.schedule_id)
    world.change("delete_user", id=identifier)
    assert identifier not in {o.user_id for o in world.oncalls(world.clock, world.clock + 90 * DAY)}
    assert world.former_users[identifier].deleted_at == world.clock


def test_status_schedule_and_switches_can_be_set() -> None:
    """The remaining commands each change the one thing they name."""
    world = World()
    service, schedule = first(world.services), first(world.schedules)
    world.change("set_service_status", id=service, status="maintenance")
    world.change("rename_schedule", id=schedule, name="Nachtschicht")
    world.change("drop_permission", kind="users")
    world.change("plan_missing", kind="audit.records")
    world.change("analytics_quota", remaining=3)
    assert world.services[service].status == "maintenance"
    assert world.schedules[schedule].name == "Nachtschicht"
    switched = ["users"], ["audit.records"], 3
    assert (world.summary()["denied"], world.summary()["unavailable"], world.summary()["analytics_left"]) == switched
    for kind in ("users", "audit.records"):
        world.change("restore", kind=kind)
    assert (world.denied, world.unavailable) == (frozenset(), frozenset())


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ({}, "unknown action None"),
        ({"action": ["x"]}, "unknown action"),
        ({"action": "explode"}, "rename_service"),
        ({"action": "rename_service", "id": "P"}, "missing: name"),
        ({"action": "rename_service", "id": "P", "name": "x", "nmae": "y"}, "unknown: nmae"),
        ({"action": "rename_service", "id": "NOPE", "name": "x"}, "no such service: 'NOPE'"),
        ({"action": "rename_service", "id": 7, "name": "x"}, "id must be str"),
        ({"action": "advance", "hours": True}, "hours must be int or float"),
        ({"action": "advance", "hours": -1}, "forwards"),
        ({"action": "delete_user", "id": "NOPE"}, "no such user"),
        ({"action": "resolve_incident", "id": "QNOPE"}, "no such incident"),
        ({"action": "drop_permission", "kind": "usrs"}, "no such kind: 'usrs'"),
        ({"action": "analytics_quota", "remaining": -1}, "negative"),
        ({"action": "hide_half", "kind": "usrs"}, "no such kind: 'usrs'"),
        ({"action": "empty", "kind": "usrs"}, "no such kind: 'usrs'"),
        ({"action": "shuffle_while_paging", "kind": "users", "requests": 0}, "at least 1"),
        ({"action": "upgrade_schedule", "id": "NOPE"}, "no such schedule"),
        ({"action": "add_service", "name": " "}, "needs a name"),
    ],
)
def test_a_command_that_cannot_be_done_says_why_and_changes_nothing(command: dict[str, Any], message: str) -> None:
    """The message names what is wrong; the world's summary and version stay as they were."""
    world = World()
    before = world.summary()
    with pytest.raises(ValueError, match=message):
        world.mutate(command)
    assert (world.summary(), world.version) == (before, 0)


def test_each_command_is_told_in_one_line() -> None:
    """The table of commands can be shown to people, and every change moves the version."""
    assert all(command.says.endswith((".", "`.")) for command in COMMANDS.values())
    world = World()
    world.change("advance", hours=0)
    assert world.version == 1


def test_kinds_are_sorted_and_unique() -> None:
    """The list of kinds reads like a list."""
    assert list(KINDS) == sorted(set(KINDS))
