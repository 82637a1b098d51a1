"""What PagerDuty does not list is not deleted while that may be its fault, whatever else happens meanwhile."""

from __future__ import annotations

import inspect
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from pdsync.sandbox.http import Fault
from pdsync.sandbox.server import Sandbox
from pdsync.sources.pagerduty import open_pagerduty
from pdsync.state.snapshot_file import open_snapshot
from tests.cli.workspace import PROJECT, make_workspace, small_world

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.workspace import Workspace

NO_LIMIT = PROJECT.replace("{count: 3, percent: 10}", "{count: 999, percent: 100, empty: allow}")
MAPPING = """\
resources:
  - kind: {kind}
    selector: {{query: 'true', apiQueryParams: {params}}}
    port:
      entity:
        mappings:
          identifier: (.id // (.start + .user.id)) + (.__parent.id // "") | gsub("[^A-Za-z0-9]"; "_")
          blueprint: '"person"'
          properties: {{role: .__parent.id}}
"""


def mapped(kind: str, params: str = "{}") -> str:
    return MAPPING.format(kind=kind, params=params)


class Bench:
    """A workspace without limits on deletes, whose clock can be set on, and which may forget what it keeps."""

    def __init__(self, here: Workspace, *, keeps: bool) -> None:
        self.here = here
        self.keeps = keeps
        here.write("catalog/pdsync.yaml", NO_LIMIT)

    def asks_for(self, *mappings: str) -> None:
        first, *more = mappings
        self.here.write("catalog/mappings/pagerduty.yaml", first + "".join(each.partition("\n")[2] for each in more))

    def applies(self) -> None:
        self._forget()
        self.here.run("-q", "apply", "--auto-approve")

    def plans(self, *args: str) -> tuple[int, int]:
        """How many deletes a plan has, and how many it withholds."""
        self._forget()
        plan: Any = self.here.run("-q", "plan", "--format", "json", *args).json
        return plan["summary"]["delete"], plan["summary"]["withheld"]

    def waits(self, hours: float) -> None:
        when = datetime.now(UTC) + timedelta(hours=hours)
        defaults = inspect.unwrap(open_pagerduty).__kwdefaults__
        self.here.monkeypatch.setitem(defaults, "now", lambda: when)

    def _forget(self) -> None:
        for name in () if self.keeps else ("snapshot.jsonl", "memo.jsonl", "applied.jsonl"):
            (self.here.folder / "state" / name).unlink(missing_ok=True)


def bench_of(box: Sandbox, path: Path, monkeypatch: pytest.MonkeyPatch, *, keeps: bool = True) -> Bench:
    return Bench(make_workspace(path, box, monkeypatch), keeps=keeps)


def answers(status: int, path: str, body: Any = None) -> Fault:
    return Fault("answer", api="pagerduty", path=path, status=status, body=body, count=None)


@pytest.mark.parametrize("keeps", [True, False])
@pytest.mark.parametrize("trouble", ["empty", 404, 403])
@pytest.mark.parametrize("kind", ["schedules.users", "schedules.overrides"])
def test_what_was_under_an_upgraded_schedule_stays_whatever_their_list_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, trouble: int | str, keeps: bool
) -> None:
    """First it is listed elsewhere, however long; then nobody tells where."""
    with Sandbox(small_world(schedules=8, users=20)) as box:
        bench = bench_of(box, tmp_path, monkeypatch, keeps=keeps)
        bench.asks_for(mapped(kind, "{since: 30d, until: 30d}" if kind.endswith("overrides") else "{}"))
        bench.applies()
        for schedule in sorted(box.world.schedules)[:6]:
            box.mutate({"action": "upgrade_schedule", "id": schedule})
        deletes, away = bench.plans()
        assert (deletes, away > 0) == (0, True)
        bench.applies()
        bench.waits(3)
        assert bench.plans() == (0, away)
        if trouble == "empty":
            box.mutate({"action": "empty", "kind": "schedules_v3"})
        else:
            box.faults.add(answers(int(trouble), "/v3/schedules$", {"error": {"message": "no"}}))
            box.faults.add(
                answers(200, "/escalation_policies$", {"escalation_policies": [], "more": False, "total": 0})
            )
        assert bench.plans() == (0, away)


@pytest.mark.parametrize("keeps", [True, False])
def test_that_an_old_path_is_empty_is_doubted_from_then_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keeps: bool
) -> None:
    """What was listed elsewhere before was not missed then."""
    with Sandbox(small_world(schedules=8, users=20)) as box:
        bench = bench_of(box, tmp_path, monkeypatch, keeps=keeps)
        bench.asks_for(mapped("schedules.users"))
        bench.applies()
        upgraded = min(box.world.schedules)
        box.mutate({"action": "upgrade_schedule", "id": upgraded})
        bench.applies()
        bench.waits(3)
        bench.applies()
        box.faults.add(answers(200, f"/schedules/{upgraded}/users$", {"users": []}))
        assert bench.plans()[0] == 0


def test_what_is_listed_elsewhere_concerns_nobody_once_nothing_is_made_from_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is said of it then."""
    with Sandbox(small_world(schedules=3, users=9)) as box:
        bench = bench_of(box, tmp_path, monkeypatch)
        bench.asks_for(mapped("schedules.users"))
        bench.applies()
        for schedule in box.world.schedules:
            box.mutate({"action": "upgrade_schedule", "id": schedule})
        assert "PD345" in bench.here.run("plan").err
        keys = bench.here.ok("state", "list", "person/*").out.split()
        bench.here.ok("state", "rm", "--auto-approve", *keys)
        assert "PD345" not in bench.here.run("plan").err


@pytest.mark.parametrize("every", [2, 3, 4])
def test_plans_and_applies_in_turn_let_go_of_what_is_settled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, every: int
) -> None:
    """A delete waits for a full reading, and each second one is that of a plan, which deletes nothing."""
    with Sandbox(small_world(incidents=60)) as box:
        bench = bench_of(box, tmp_path, monkeypatch)
        bench.here.write("catalog/pdsync.yaml", f"{NO_LIMIT}pagerduty: {{settled_after: 3d, full_every: {every}}}\n")
        resolved = mapped("incidents", "{since: 90d, statuses: [resolved]}")
        still_open = mapped("incidents", "{date_range: all, statuses: [triggered, acknowledged]}")
        bench.asks_for(still_open, resolved)
        bench.plans()
        bench.applies()
        bench.asks_for(still_open, resolved.replace("'true'", '.urgency == "high"'))
        seen = []
        for _ in range(every):
            seen.append(bench.plans())
            bench.applies()
        assert seen[0][1] > 0
        assert bench.plans() == (0, 0)


def test_applies_that_find_nothing_to_do_take_over_what_is_settled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All but each third: a full reading that an apply had no use for is no reason for another one."""
    with Sandbox(small_world(incidents=60)) as box:
        bench = bench_of(box, tmp_path, monkeypatch)
        bench.here.write("catalog/pdsync.yaml", f"{NO_LIMIT}pagerduty: {{settled_after: 3d, full_every: 3}}\n")
        bench.asks_for(mapped("incidents", "{date_range: all}"))
        taken = []
        for hour in range(8):
            bench.waits(hour + 1)
            bench.applies()
            (collection,) = open_snapshot(bench.here.folder / "state/snapshot.jsonl").collections.values()
            taken.append(collection.taken > 0)
        assert taken == [False, True, True, False, True, True, False, True]


@pytest.mark.parametrize("share", [3, 0])
def test_a_doubt_outlasts_a_run_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, share: int) -> None:
    """And ends an hour after what could be read began to say the same."""
    with Sandbox(small_world(incidents=60)) as box:
        bench = bench_of(box, tmp_path, monkeypatch)
        bench.asks_for(mapped("incidents", "{since: 180d}"))
        bench.applies()
        bench.asks_for(mapped("incidents", "{date_range: all}"))
        box.mutate({"action": "empty", "kind": "incidents"})
        box.world.shrunk["incidents"] = share
        lost = 60 - (60 // share if share else 0)
        assert bench.plans() == (0, lost)
        box.faults.add(answers(403, "/incidents$"))
        assert bench.plans() == (0, 60)
        box.faults.clear()
        assert bench.plans() == (0, lost)
        bench.waits(0.5)
        assert bench.plans() == (0, lost)
        bench.waits(1.6)
        assert bench.plans() == (lost, 0)


@pytest.mark.parametrize(
    ("between", "share"),
    [("{date_range: all}", 3), ("{date_range: all}", 0), ("{since: 1d}", 0), ("refused", 3), ("refused", 0)],
)
@pytest.mark.parametrize("last", ["{since: 179d}", "{since: 180d, urgencies: [high, low]}", "{since: 180d}"])
def test_a_doubt_outlasts_another_filter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, share: int, between: str, last: str
) -> None:
    """Whether the one between was short as well, was a small one, or could not be read."""
    with Sandbox(small_world(incidents=60)) as box:
        bench = bench_of(box, tmp_path, monkeypatch)
        bench.asks_for(mapped("incidents", "{since: 180d}"))
        bench.applies()
        if between == "refused":
            box.faults.add(answers(403, "/incidents$"))
        else:
            bench.asks_for(mapped("incidents", between))
        if between == "{date_range: all}":
            box.mutate({"action": "empty", "kind": "incidents"})
            box.world.shrunk["incidents"] = share
        bench.plans()
        box.faults.clear()
        bench.asks_for(mapped("incidents", last))
        box.mutate({"action": "empty", "kind": "incidents"})
        box.world.shrunk["incidents"] = share
        assert bench.plans() == (0, 60 - (60 // share if share else 0))


def test_odd_values_in_what_is_kept_stop_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether such a record fits a new filter nobody knows: it may."""
    with Sandbox(small_world()) as box:
        bench = bench_of(box, tmp_path, monkeypatch)
        for field, odd in (("teams", 5), ("teams", "x"), ("teams", [1]), ("teams", {}), ("teams", ["a"])):
            rows: list[Any] = [{"id": f"P{n}", "type": "service", "name": f"S{n}", field: odd} for n in range(6)]
            box.faults.clear()
            body = {"services": rows, "more": False, "total": 6, "limit": 100, "offset": 0}
            box.faults.add(answers(200, "/services$", body))
            bench.asks_for(mapped("services"))
            bench.here.run("-q", "snapshot")
            bench.asks_for(mapped("services", "{team_ids: [PT1]}"))
            ran = bench.here.run("-q", "plan")
            assert "PD900" not in ran.err, (field, odd)


def test_an_old_snapshot_deletes_nothing_after_it_was_applied_either(applied: Workspace) -> None:
    """Something newer had been applied before that."""
    bench = Bench(applied, keeps=False)
    applied.ok("snapshot", "--out", "old.jsonl")
    applied.box.mutate({"action": "add_service", "name": "Later"})
    applied.box.mutate({"action": "rename_service", "id": min(applied.box.world.services), "name": "Renamed"})
    bench.applies()
    assert bench.plans("--snapshot", "old.jsonl") == (0, 1)
    applied.run("-q", "plan", "--snapshot", "old.jsonl", "--out", "old.pdplan")
    assert "1 done" in applied.run("apply", "old.pdplan").out
    assert bench.plans("--snapshot", "old.jsonl") == (0, 1)
