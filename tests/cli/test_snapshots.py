"""What a snapshot takes over from the one before, what it says of it, and what never rests on it."""

from __future__ import annotations

import inspect
import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from pdsync.model import Expression, Query
from pdsync.sandbox.http import Fault
from pdsync.sandbox.server import Sandbox
from pdsync.snapshots import expressions, query_digest, under_parents
from pdsync.sources.pagerduty import open_pagerduty
from pdsync.state.snapshot_file import parse_snapshot
from tests.builders import entry, ledger, rule
from tests.cli.workspace import BLUEPRINTS, MAPPING, PROJECT, Workspace, make_workspace, small_world

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pdsync.model import Collection
    from tests.cli.workspace import Ran

METRICS = "/analytics/metrics/incidents/services"
ROLES = """\
  - kind: %s
    selector: {query: 'true'%s}
    port:
      entity:
        mappings:
          identifier: .id
          blueprint: '"person"'
          properties:
            role: %s
"""
SCHEDULES = ROLES % ("schedules", "", ".users[0].__email")
FIELDS = ROLES % (
    "services",
    ", includeCustomFields: true, apiQueryParams: {sort_by: name}",
    ".__custom_fields[0].name",
)
SETTLED = PROJECT + "pagerduty: {settled_after: 30d, full_every: 3}\n"
METHODS = ROLES % ("users.contact_methods", "", ".__parent.id")


def metrics(here: Workspace) -> int:
    """How often analytics were asked for since the last time."""
    count = sum(r.path == METRICS for r in here.box.log.all("pagerduty"))
    here.box.log.clear()
    return count


def kept(here: Workspace, kind: str) -> Collection:
    snapshot = parse_snapshot((here.folder / "state" / "snapshot.jsonl").read_bytes(), "snapshot")
    return next(collection for query, collection in snapshot.collections.items() if query.kind == kind)


# --- damage ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sealed", [False, True], ids=["plain", "sealed"])
def test_a_damaged_snapshot_is_made_good_by_the_next_plan(here: Workspace, *, sealed: bool) -> None:
    """It plans as if there were none, and says so once; what reads the file alone says how to mend it.

    One that is sealed is refused as a whole, of one that is not some records are.
    """
    if sealed:
        here.env["PDSYNC_STATE_KEY"] = here.ok("state", "keygen").out.strip()
    here.ok("-q", "apply", "--auto-approve")
    here.write("catalog/mappings/pagerduty.yaml", MAPPING.replace(".name", '.name + "!"'))
    path = here.folder / "state" / "snapshot.jsonl"
    whole = path.read_bytes()
    path.unlink()
    expected = here.ok("plan").out
    at = int(len(whole) * 0.9)
    path.write_bytes(whole[:at] + bytes(each ^ 1 for each in whole[at : at + 2000]) + whole[at + 2000 :])
    refused = here.run("plan", "--offline")
    assert (refused.code, "`pdsync snapshot`" in refused.err) == (1, True)
    assert "snapshot  cannot be used\njournal   1 run" in here.ok("state", "check", code=1).out
    healed = here.ok("plan")
    assert (without_time(healed.out), healed.err.count("PD514")) == (without_time(expected), 1)
    again = here.ok("plan", "--offline")
    assert (without_time(again.out), "PD51" in again.err) == (without_time(expected), False)


def without_time(plan: str) -> str:
    return "\n".join(line for line in plan.splitlines() if not line.startswith("source "))


def test_what_two_lists_of_a_kind_lack_is_said_once(here: Workspace) -> None:
    """Both are refused for one reason."""
    here.write("catalog/mappings/pagerduty.yaml", MAPPING.replace("kind: users", "kind: incidents"))
    here.box.mutate({"action": "drop_permission", "kind": "incidents"})
    ran = here.ok("snapshot", code=7)
    assert (ran.out.count("no: "), ran.err.count("error[PD320]")) == (2, 1)


# --- analytics -------------------------------------------------------------------------------------------------


def test_analytics_of_the_day_are_not_read_again_unless_asked_for(here: Workspace) -> None:
    """By whichever command; what they are of is said."""
    here.ok("snapshot")
    assert metrics(here) == 1
    said = here.ok("snapshot").out
    here.ok("plan")
    here.ok("apply", "--auto-approve", "--prove")
    assert metrics(here) == 0
    assert f"full, __analytics of {kept(here, 'services').as_of['__analytics']}" in said
    for command in (["snapshot"], ["plan"], ["apply", "--auto-approve"]):
        here.ok(*command, "--refresh-analytics")
        assert metrics(here) == 1


@pytest.mark.parametrize(
    "options", ["{query: 'true', analyticsMonthsPeriod: 6}", "{query: 'true', serviceAnalytics: no}"]
)
def test_other_analytics_are_not_taken_for_those_of_before(here: Workspace, options: str) -> None:
    """The snapshot had another period, or none at all."""
    here.write("catalog/mappings/pagerduty.yaml", MAPPING.replace("{query: 'true'}", options, 1))
    here.ok("snapshot")
    metrics(here)
    here.write("catalog/mappings/pagerduty.yaml", MAPPING)
    here.ok("snapshot")
    assert metrics(here) == 1


def test_what_lacks_a_field_that_is_now_mapped_is_not_taken_over(here: Workspace) -> None:
    """A private field was taken out of the snapshot; now a mapping spells it."""
    here.ok("snapshot")
    assert kept(here, "services").private == ()
    metrics(here)
    spelled = MAPPING.replace(".html_url", "(.integrations[0].integration_key // .html_url)", 1)
    here.write("catalog/mappings/pagerduty.yaml", spelled)
    here.ok("snapshot")
    assert (metrics(here), kept(here, "services").private) == (1, ("integration_key",))
    here.ok("snapshot")
    assert metrics(here) == 0


# --- settled incidents -----------------------------------------------------------------------------------------


@pytest.fixture
def old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workspace]:
    """A workspace with incidents of 200 days, most of which settled long ago."""
    with Sandbox(small_world(incidents=150, incident_days=200)) as box:
        made = make_workspace(tmp_path, box, monkeypatch)
        made.write("catalog/pdsync.yaml", SETTLED)
        made.write("catalog/blueprints/all.yaml", BLUEPRINTS)
        yield made


def reading(here: Workspace, *options: str) -> str:
    """How the incidents of a snapshot were read, as it is printed."""
    (line,) = (one for one in here.ok("snapshot", *options).out.splitlines() if one.startswith("incidents"))
    assert "  yes  " in line
    return line


def test_every_few_snapshots_everything_is_read(old: Workspace) -> None:
    """Two incremental readings after each full one, and a full one on demand."""
    first = reading(old)
    said = [reading(old) for _ in range(3)]
    assert ["incremental" in line for line in [first, *said]] == [False, True, True, False]
    assert ("last full 1 ago" in said[0], "last full 2 ago" in said[1]) == (True, True)
    assert ["incremental" in reading(old, *options) for options in ([], ["--full"], [])] == [True, False, True]
    collection = kept(old, "incidents")
    assert (collection.since_full, 0 < collection.taken < 150, len(collection.records)) == (1, True, 150)


def test_nothing_is_incremental_by_default(old: Workspace) -> None:
    """Without the setting every reading is full."""
    old.write("catalog/pdsync.yaml", PROJECT)
    assert ["incremental" in reading(old) for _ in range(2)] == [False, False]


def test_what_is_taken_over_stands_first(old: Workspace) -> None:
    """The first so many records are those that were not read: resolved ones that are old."""
    reading(old)
    before = {record.id: record.raw for record in kept(old, "incidents").records}
    reading(old)
    collection = kept(old, "incidents")
    taken = collection.records[: collection.taken]
    assert all(b'"status":"resolved"' in record.raw and before[record.id] == record.raw for record in taken)


def test_a_delete_never_rests_on_what_was_not_read(old: Workspace) -> None:
    """The selector now drops resolved incidents: those that were read go, the others wait for a full reading."""
    old.write("catalog/pdsync.yaml", SETTLED.replace("{count: 3, percent: 10}", "{count: 999, percent: 100}"))
    old.ok("-q", "apply", "--auto-approve")
    dropping = MAPPING.replace("query: 'true'\n", 'query: .status != "resolved"\n')
    old.write("catalog/mappings/pagerduty.yaml", dropping)
    ran = old.ok("plan", code=3)
    taken = kept(old, "incidents").taken
    assert f"Deletes withheld ({taken})" in ran.out
    assert ran.out.count("incremental reading: its record was not read; run with --full") == taken > 0
    assert "to let them through: --full" in ran.out
    deletes = {c["identifier"] for c in old.ok("-q", "plan", "--offline", "--format", "json", code=3).json["changes"]}
    assert deletes.isdisjoint(record.id for record in kept(old, "incidents").records[:taken])
    assert old.ok("-q", "plan", "--full", "--format", "json").json["summary"]["withheld"] == 0


def test_an_old_incident_that_is_gone_is_deleted_all_the_same(old: Workspace) -> None:
    """PagerDuty counts one less, so all are read; a service takes its incidents with it."""
    old.write("catalog/pdsync.yaml", SETTLED.replace("{count: 3, percent: 10}", "{count: 999, percent: 100}"))
    old.ok("-q", "apply", "--auto-approve")
    gone = old.box.mutate({"action": "delete_service", "id": max(old.box.world.services)})
    made = old.ok("-q", "plan", "--format", "json").json
    deleted = [c["identifier"] for c in made["changes"] if c["action"] == "delete" and c["blueprint"] == "incident"]
    assert (len(deleted), kept(old, "incidents").incremental) == (150 - len(kept(old, "incidents").records), False)
    assert gone["action"] == "delete_service"
    assert deleted


# --- kinds -----------------------------------------------------------------------------------------------------


def test_a_kind_may_be_spelt_as_in_a_mapping(here: Workspace) -> None:
    """By its path as well; what was probably meant is said.  What an enrichment reads may be accepted, too, and parents."""
    here.write("catalog/mappings/pagerduty.yaml", MAPPING.replace("kind: users", "kind: teams/{id}/members"))
    for spelling in ("teams.members", "teams/members", "/teams/{id}/members"):
        said = here.ok("snapshot", "--kind", spelling).out
        assert [line.split()[0] for line in said.splitlines()[2:]] == ["teams.members"]
    ran = here.ok("snapshot", "--kind", "service", code=1)
    assert ("PD305" in ran.err, 'did you mean "services"?' in ran.err) == (True, True)
    ran = here.ok("plan", "--accept-shrink", "vendors", code=1)
    assert ("PD305" in ran.err, "incidents, oncalls, services, teams, teams.members" in ran.err) == (True, True)


@pytest.mark.parametrize("command", ["snapshot", "plan", "validate"])
def test_a_stretch_of_time_that_is_over_is_refused_at_its_line(here: Workspace, command: str) -> None:
    """Before anything is asked: it began to move past its end at some time, which the catalog alone does not tell."""
    over = MAPPING.replace("{date_range: all}", "{since: 30d, until: '2026-01-01'}")
    here.write("catalog/mappings/pagerduty.yaml", over)
    here.box.log.clear()
    ran = here.ok(command, code=1)
    line = 1 + over[: over.index("30d")].count("\n")
    place = f"catalog/mappings/pagerduty.yaml:{line}:43"
    assert ("PD143" in ran.out + ran.err, place in ran.out + ran.err) == (True, True)
    assert "nothing lies between -30d and 2026-01-01" in ran.out + ran.err
    assert [here.box.log.all(side) for side in ("pagerduty", "port")] == [[], []]
    here.ok("history")  # who only looks, or goes on with a run, is not kept from that
    here.ok("state", "check")


def test_a_snapshot_of_one_kind_leaves_the_others(here: Workspace) -> None:
    """It is laid over the one that is kept."""
    here.ok("snapshot")
    here.ok("snapshot", "--kind", "users")
    assert len(kept(here, "services").records) == 4


def test_what_a_snapshot_of_one_kind_leaves_is_no_younger(here: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Analytics are of the day on which they were read, however often another kind has been read since."""
    begun, asked = datetime.now(UTC), []
    for hours, command in ((0, ("snapshot",)), (23, ("snapshot", "--kind", "users")), (25, ("plan",))):
        when = begun + timedelta(hours=hours)
        monkeypatch.setitem(inspect.unwrap(open_pagerduty).__kwdefaults__, "now", lambda when=when: when)
        here.ok(*command)
        asked.append(metrics(here))
    assert asked == [1, 0, 1]


def test_a_snapshot_of_one_kind_of_another_account_leaves_nothing(here: Workspace) -> None:
    """What the other one had is not there."""
    here.ok("snapshot")
    with Sandbox(small_world()) as other:
        here.ok("snapshot", "--kind", "users", PAGERDUTY_API_URL=other.pagerduty_url)
    snapshot = parse_snapshot((here.folder / "state" / "snapshot.jsonl").read_bytes(), "snapshot")
    assert [query.kind for query in snapshot.collections] == ["users"]


def test_what_another_account_had_is_not_what_there_was(applied: Workspace) -> None:
    """That it has nothing, and that this was accepted, makes nobody believe that there is nothing in ours."""
    with Sandbox(small_world()) as other:
        other.mutate({"action": "empty", "kind": "users"})
        applied.run("plan", "--accept-shrink", "users", PAGERDUTY_API_URL=other.pagerduty_url)
    applied.box.mutate({"action": "empty", "kind": "users"})
    assert {"PD340"} == {
        each["code"] for each in applied.ok("-q", "plan", "--format", "json", code=3).json["diagnostics"]
    }


def test_what_one_parent_lost_is_doubted_beside_a_snapshot_of_another_account(here: Workspace) -> None:
    """The ledger tells then what there was under each parent, as where no snapshot is kept."""
    here.write("catalog/mappings/pagerduty.yaml", "resources:\n" + METHODS)
    here.ok("-q", "apply", "--auto-approve")
    one = min(here.box.world.users)
    mine = [each for each in here.box.store.entities("person").values() if each["properties"]["role"] == one]
    answer: Any = {"contact_methods": []}
    here.box.faults.add(Fault("answer", path=f"/users/{one}/contact_methods", count=None, status=200, body=answer))
    with Sandbox(small_world()) as other:
        here.ok("snapshot", PAGERDUTY_API_URL=other.pagerduty_url)
    made = here.ok("-q", "plan", "--format", "json", code=3).json
    assert (made["summary"]["withheld"], made["summary"]["delete"]) == (len(mine), 0)


# --- where nothing can be kept ---------------------------------------------------------------------------------


def test_a_plan_only_warns_where_the_snapshot_cannot_be_kept(here: Workspace) -> None:
    """It only reads: it is made all the same, and says what is lost; a snapshot that is asked for is an error."""
    blocked = here.folder / "state" / "snapshot.jsonl"
    (blocked / "in the way").mkdir(parents=True)
    (here.folder / "state" / "memo.jsonl" / "in the way").mkdir(parents=True)
    ran = here.ok("plan")
    assert ("Plan: " in ran.out, "warning[PD508]" in ran.err, "error" in ran.err) == (True, True, False)
    assert "PD503" in here.ok("snapshot", code=1).err


def test_a_second_run_that_finds_the_same_is_believed_without_a_snapshot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in CI: the ledger carries how short a list was since when, until what it owns is as short; an hour must pass."""
    with Sandbox(small_world(users=12)) as box:
        here = make_workspace(tmp_path, box, monkeypatch)
        here.write("catalog/pdsync.yaml", PROJECT.replace("{count: 3, percent: 10}", "{count: 99, percent: 99}"))

        def anew(*command: str, code: int = 0) -> Ran:
            for name in ("snapshot.jsonl", "memo.jsonl", "applied.jsonl"):
                (here.folder / "state" / name).unlink(missing_ok=True)
            return here.ok("-q", *command, code=code)

        def listed() -> Any:
            header = json.loads((here.folder / "state" / "ledger.jsonl").read_text().partition("\n")[0])
            return {key: note for key, note in header.get("listed", {}).items() if note["kind"] == "users"}

        def later(hours: float) -> None:
            when = datetime.now(UTC) + timedelta(hours=hours)
            monkeypatch.setitem(inspect.unwrap(open_pagerduty).__kwdefaults__, "now", lambda: when)

        anew("apply", "--auto-approve")
        box.mutate({"action": "hide_half", "kind": "users"})
        (mapping,) = (here.folder / "catalog" / "mappings").glob("*.yaml")
        mapping.rename(mapping.with_name("moved.yaml"))  # a mapping elsewhere asks for the same list
        assert anew("plan", "--format", "json", code=3).json["summary"]["withheld"] == 6
        assert listed() == {}
        anew("apply", "--auto-approve", code=3)
        (note,) = listed().values()
        assert (note["kind"], note["filter"], note["count"], note["believed"]) == ("users", "users", 6, 12)
        assert note["suspicious"]
        later(0.9)
        moved = here.folder / "catalog" / "mappings" / "moved.yaml"
        more = "kind: users\n    selector: {apiQueryParams: {include: [teams]}, query: 'true'}"
        moved.write_text(moved.read_text().replace("kind: users\n    selector: {query: 'true'}", more))
        assert "teams" in moved.read_text()
        anew("apply", "--auto-approve", code=3)
        assert list(listed().values()) == [note | {"filter": "users?include[]=teams"}]
        later(1)
        assert anew("plan", "--format", "json").json["summary"]["delete"] == 6
        anew("apply", "--auto-approve", "--no-delete", code=3)
        (note,) = listed().values()
        assert (note["count"], note["believed"], note["suspicious"]) == (6, 6, False)
        anew("apply", "--auto-approve")
        anew("apply", "--auto-approve")
        assert listed() == {}
        assert len(box.store.entities("person")) == 6


def test_the_ledger_tells_of_which_list_a_record_is() -> None:
    """So that not every list of a kind looks for what another one has; what was asked for otherwise may be in any."""
    some, others = Query("users.contact_methods", (("parent.team_ids[]", "PT1"),)), Query("users.contact_methods")
    mine, other = rule(id="a", kind=some.kind), rule(id="b", kind=some.kind)
    entries = {
        name: entry(source=f"{some.kind}/{name}", rules=rules)
        for name, rules in (("A", (mine.id,)), ("B", (other.id,)), ("C", ("gone",)), ("D", ()))
    }
    told = {mine.id: {"$query": query_digest(some)}, other.id: {"$query": query_digest(others)}}
    kept = replace(ledger({**entries, "E": entry(source="users/E")}), expressions=told)
    found = under_parents(kept, [some, others, Query("users")])
    assert found == {(some.kind, some.params): dict.fromkeys("ACD", ""), (others.kind, ()): dict.fromkeys("BCD", "")}
    assert under_parents(kept, [Query("users")]) == {}


@pytest.mark.parametrize(
    ("expression", "rules", "parent"),
    [
        (".__parent.id", 1, "PU1"),
        (".__parent.summary", 1, ""),
        (".__parent.id", 2, ""),
    ],
)
def test_the_ledger_tells_of_which_parent_a_record_is(expression: str, rules: int, parent: str) -> None:
    """Where one rule maps just that; what another one wrote to the same path may be something else."""
    mine = rule(id="a", kind="users.contact_methods", paths=("relations.user",))
    mine = replace(mine, fields={"relations.user": Expression(expression, mine.origin)})
    made = entry(to_user="PU1", source="users.contact_methods/A", rules=(mine.id, "b")[:rules])
    kept = replace(ledger({"A": made}), expressions=expressions([mine]))
    assert under_parents(kept, [mine.query]) == {("users.contact_methods", ()): {"A": parent}}


@pytest.mark.parametrize("kept", ["snapshot", "ledger"])
def test_what_one_parent_lost_is_believed_once_that_lasts(
    kept: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its list came empty, twice in a row, which proves nothing: of others deletes go on, these are withheld for an hour."""
    with Sandbox(small_world()) as box:
        here = make_workspace(tmp_path, box, monkeypatch)
        methods = ROLES % ("users.contact_methods", "", ".__parent.id")
        here.write("catalog/mappings/pagerduty.yaml", "resources:\n" + methods)
        here.ok("-q", "apply", "--auto-approve")
        one = min(box.world.users)
        mine = [key for key, each in box.store.entities("person").items() if each["properties"]["role"] == one]
        answer: Any = {"contact_methods": []}
        box.faults.add(Fault("answer", path=f"/users/{one}/contact_methods", count=None, status=200, body=answer))

        def anew(*command: str, hours: float = 0, code: int = 3) -> Ran:
            when = datetime.now(UTC) + timedelta(hours=hours)
            monkeypatch.setitem(inspect.unwrap(open_pagerduty).__kwdefaults__, "now", lambda: when)
            if kept == "ledger":
                for name in ("snapshot.jsonl", "memo.jsonl", "applied.jsonl"):
                    (here.folder / "state" / name).unlink(missing_ok=True)
            return here.ok("-q", *command, code=code)

        def planned(*options: str, hours: float, code: int = 0) -> Any:
            return anew("plan", "--format", "json", *options, hours=hours, code=code).json

        for hours in (0, 0.9):
            made = planned(hours=hours, code=3)
            assert (made["summary"]["withheld"], made["summary"]["delete"]) == (len(mine), 0)
            assert {each["flag"] for each in made["withheld"]} == {"--accept-shrink users.contact_methods"}
            assert [each["code"] for each in made["diagnostics"]] == ["PD341"]
            if not hours:
                anew("apply", "--auto-approve")
        allowed = ("--allow-deletes", f"person={len(mine)}")
        if kept == "ledger":
            accepted = planned(*allowed, "--accept-shrink", "users.contact_methods", hours=0.9)
            assert accepted["summary"]["delete"] == len(mine)
        for _ in range(2):
            assert planned(*allowed, hours=1.1)["summary"]["delete"] == len(mine)


@pytest.mark.parametrize("kept", ["snapshot", "ledger"])
@pytest.mark.parametrize("more", [", serviceAnalytics: true", ", apiQueryParams: {include: [teams]}"])
def test_what_is_asked_for_in_records_makes_no_list_believed(here: Workspace, more: str, kept: str) -> None:
    """A selector that asks for more in the records of a list is about the same records: what is in doubt stays so."""
    here.write("catalog/pdsync.yaml", PROJECT.replace("{count: 3, percent: 10}", "{count: 99, empty: allow}"))
    for selector, code in ((", serviceAnalytics: false", 0), (more, 3)):
        here.write("catalog/mappings/pagerduty.yaml", "resources:\n" + ROLES % ("services", selector, ".name"))
        here.ok("-q", *(("plan",) if code else ("apply", "--auto-approve")), code=code)
        here.box.mutate({"action": "empty", "kind": "services"})
        if kept == "ledger":
            (here.folder / "state" / "snapshot.jsonl").unlink()


@pytest.mark.parametrize(
    ("mapping", "path", "answer"),
    [
        (ROLES % ("services", "", ".name"), "/services", {"services": [], "more": False, "total": 0}),
        (METHODS, "/users/{users}/contact_methods", {"contact_methods": []}),
        (FIELDS, "/services/{services}/custom_fields/values", {"custom_fields": []}),
    ],
    ids=["list", "parent", "enrichment"],
)
def test_what_a_snapshot_for_another_catalog_lacks_the_ledger_tells(
    mapping: str, path: str, answer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A plan on a branch without the mapping leaves nothing that would have it back on main believed at once."""
    with Sandbox(small_world()) as box:
        here = make_workspace(tmp_path, box, monkeypatch)
        here.write("catalog/pdsync.yaml", PROJECT.replace("{count: 3, percent: 10}", "{count: 99, empty: allow}"))
        here.write("catalog/mappings/pagerduty.yaml", "resources:\n" + mapping)
        here.ok("-q", "apply", "--auto-approve")
        here.write("catalog/mappings/pagerduty.yaml", "resources:\n" + ROLES % ("teams", "", ".name"))
        here.run("-q", "plan")
        here.write("catalog/mappings/pagerduty.yaml", "resources:\n" + mapping)
        own = re.escape(path.format(users=min(box.world.users), services=min(box.world.services)))
        box.faults.add(Fault("answer", path=own + "$", count=None, status=200, body=answer))
        moved = []
        for hours in (0, 0.9, 1.1):
            when = datetime.now(UTC) + timedelta(hours=hours)
            monkeypatch.setitem(inspect.unwrap(open_pagerduty).__kwdefaults__, "now", lambda when=when: when)
            moved.append(bool(here.changes()))
        assert moved == [False, False, True]


@pytest.mark.parametrize("kept", ["users listed", "snapshot", "ledger"])
def test_what_leans_on_a_list_that_shrank_keeps_its_value(
    kept: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No address of a schedule's users is lost because PagerDuty lists no users for a while, and the plan says so.

    Whether a mapping lists users or none does, and also where the ledger is all that is kept, until it is accepted.
    """
    with Sandbox(small_world()) as box:
        here = make_workspace(tmp_path, box, monkeypatch)
        listed = "" if kept == "users listed" else "resources:\n"
        here.write("catalog/mappings/pagerduty.yaml", (listed or MAPPING) + SCHEDULES)
        here.ok("-q", "apply", "--auto-approve")
        box.mutate({"action": "empty", "kind": "users"})

        def planned(*options: str, code: int = 0) -> Any:
            if kept == "ledger":
                (here.folder / "state" / "snapshot.jsonl").unlink()
            return here.ok("-q", "plan", "--format", "json", *options, code=code).json

        for _ in range(2):
            made = planned(code=0 if listed else 3)
            assert (made["summary"]["update"], made["summary"]["withheld"]) == (0, 0 if listed else 3)
            (unknown,) = made["unavailable"]
            assert (unknown["enrichment"], "shrank suspiciously" in unknown["reason"]) == ("__email", True)
        allowed = planned("--accept-shrink", "users", "--no-delete", code=0 if listed else 3)
        assert (allowed["summary"]["update"], allowed["unavailable"]) == (1, [])


@pytest.mark.parametrize("kept", ["snapshot", "ledger"])
def test_custom_fields_that_come_empty_keep_their_value(
    kept: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A property is not erased because PagerDuty has no custom fields for a while, until that lasts or is accepted."""
    with Sandbox(small_world()) as box:
        here = make_workspace(tmp_path, box, monkeypatch)
        here.write("catalog/mappings/pagerduty.yaml", "resources:\n" + FIELDS)
        here.ok("-q", "apply", "--auto-approve")
        assert all(each["properties"]["role"] for each in box.store.entities("person").values())
        box.faults.add(Fault("answer", path="custom_fields/values", count=None, status=200, body={"custom_fields": []}))

        def planned(*options: str) -> Any:
            if kept == "ledger":
                (here.folder / "state" / "snapshot.jsonl").unlink()
            return here.ok("-q", "plan", "--format", "json", *options).json

        for _ in range(2):
            made = planned()
            assert made["summary"]["update"] == 0
            (unknown,) = made["unavailable"]
            assert (unknown["enrichment"], "4 records before, 0 now" in unknown["reason"]) == ("__custom_fields", True)
        made = planned("--accept-shrink", "services.custom_fields.values")
        assert (made["summary"]["update"], made["unavailable"]) == (4, [])
        box.faults.clear()
        made = planned()
        assert (made["summary"]["update"], made["unavailable"]) == (0, [])


def test_analytics_in_doubt_cost_no_request_before_one_could_dispel_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There are few a day: they stay unknown for an hour, are read once more, and that is believed for a day."""
    mapped = FIELDS.replace("includeCustomFields: true", "serviceAnalytics: true")
    mapped = mapped.replace(".__custom_fields[0].name", ".__analytics.service_name")
    with Sandbox(small_world(services=8, incidents=60)) as box:
        here = make_workspace(tmp_path, box, monkeypatch)
        here.write("catalog/mappings/pagerduty.yaml", "resources:\n" + mapped)
        here.ok("-q", "apply", "--auto-approve")
        had = sum(1 for each in box.store.entities("person").values() if each["properties"]["role"])
        box.faults.add(Fault("answer", path="analytics/metrics", count=None, status=200, body={"data": []}))
        metrics(here)

        def planned(hours: float, *options: str) -> tuple[int, int, int]:
            """Changes, what is unknown, and how often analytics were asked for."""
            when = datetime.now(UTC) + timedelta(hours=hours)
            monkeypatch.setitem(inspect.unwrap(open_pagerduty).__kwdefaults__, "now", lambda: when)
            made = here.ok("-q", "plan", "--format", "json", *options).json
            hints = [each["hint"] for each in made["diagnostics"] if each["code"] == "PD330"]
            assert all("only with --refresh-analytics" in hint for hint in hints)
            return made["summary"]["update"], len(made["unavailable"]), metrics(here)

        assert planned(0, "--refresh-analytics") == (0, 1, 2)
        assert [planned(hours) for hours in (0.1, 0.9)] == [(0, 1, 0)] * 2
        assert planned(0.9, "--refresh-analytics") == (0, 1, 2)
        assert planned(1.1) == (had, 0, 2)
        assert planned(1.2) == (had, 0, 0)


@pytest.mark.parametrize("kept", ["snapshot", "ledger"])
def test_custom_fields_of_one_record_that_come_empty_keep_their_value(
    kept: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the others they are there, so that nothing shrank: it is unknown all the same, and said, until it is accepted.

    Where the ledger alone is kept, it remembers since when; there an hour passes between two applies.
    """
    titled = FIELDS.replace("properties:", 'title: .__custom_fields[0].name // "none"\n          properties:')
    with Sandbox(small_world()) as box:
        here = make_workspace(tmp_path, box, monkeypatch)
        here.write("catalog/mappings/pagerduty.yaml", "resources:\n" + titled)
        one, never, *_ = sorted(box.world.services)
        empty: Any = {"custom_fields": []}

        def silenced(id_: str) -> None:
            path = f"/services/{id_}/custom_fields/values"
            box.faults.add(Fault("answer", path=path, count=None, status=200, body=empty))

        def run_at(hours: float, *command: str) -> Ran:
            when = datetime.now(UTC) + timedelta(hours=hours)
            monkeypatch.setitem(inspect.unwrap(open_pagerduty).__kwdefaults__, "now", lambda: when)
            if kept == "ledger":
                for name in ("snapshot.jsonl", "memo.jsonl", "applied.jsonl"):
                    (here.folder / "state" / name).unlink(missing_ok=True)
            return here.ok("-q", *command)

        def planned(hours: float, *options: str) -> Any:
            return run_at(hours, "plan", "--format", "json", *options).json

        silenced(never)
        here.ok("-q", "apply", "--auto-approve")
        silenced(one)
        for hours in (0, 0.9):
            made = planned(hours)
            (unknown,) = made["unavailable"]
            assert (made["summary"]["update"], unknown["records"], unknown["of"]) == (0, 1, 4)
            assert unknown["reason"].startswith("PagerDuty gave some before, and none since ")
            run_at(hours, "apply", "--auto-approve")
        made = planned(0.9, "--accept-shrink", "services.custom_fields.values")
        assert (made["summary"]["update"], made["unavailable"]) == (1, [])
        made = planned(1.1)
        assert (made["summary"]["update"], made["unavailable"]) == (1, [])
        here.write("catalog/mappings/pagerduty.yaml", "resources:\n" + titled.replace('"none"', '"no fields"'))
        made = planned(0.9)  # what the catalog says otherwise now is no sign of what a record had
        assert made["summary"]["update"] >= 1


def test_without_a_snapshot_the_ledger_tells_what_there_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in CI, where only the ledger is kept: a list that is suddenly empty is not believed, unless accepted."""
    with Sandbox(small_world(users=6)) as box:
        here = make_workspace(tmp_path, box, monkeypatch)
        here.write("catalog/pdsync.yaml", PROJECT.replace("{count: 3, percent: 10}", "{count: 99, percent: 99}"))
        here.ok("-q", "apply", "--auto-approve")
        box.mutate({"action": "empty", "kind": "users"})
        for name in ("snapshot.jsonl", "memo.jsonl"):
            (here.folder / "state" / name).unlink()
        made = here.ok("-q", "plan", "--format", "json", code=3).json
        assert (made["summary"]["withheld"], made["summary"]["delete"]) == (6, 0)
        (here.folder / "state" / "snapshot.jsonl").unlink()
        allowed = ("--accept-shrink", "users", "--allow-deletes", "person=6")
        made = here.ok("-q", "plan", *allowed, "--format", "json").json
        assert made["summary"]["delete"] == 6
