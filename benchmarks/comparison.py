"""A plan of pdsync against one of the straightforward pipeline: same sandbox, same catalog, and the same plan required.

Three situations: nothing in Port yet, nothing changed, and about 2 % changed.  Rounds alternate between the two, so
that whatever else the machine does falls on both.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from benchmarks.measure import Cost, measured
from benchmarks.world import ROOT, Served, Size, serving
from pdsync.cli.session import new_id, now
from pdsync.plan.document import parse_plan
from pdsync.state.open import Surroundings, open_store
from pdsync.state.runs import after_run

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pdsync.model import Fields

PDSYNC = str(Path(sys.executable).parent / "pdsync")
ROUNDS = 3
CHANGED = 0.02


class PlansDiffer(Exception):
    """The two pipelines do not come to the same plan: comparing their speed would mean nothing."""


@dataclass(slots=True)
class Situation:
    """What both pipelines cost in one situation, round by round; `work` is how much the plan holds."""

    name: str
    work: str = ""
    ours: list[Cost] = field(default_factory=list)
    yardstick: list[Cost] = field(default_factory=list)
    our_phases: list[dict[str, float]] = field(default_factory=list)
    yardstick_phases: list[dict[str, float]] = field(default_factory=list)

    def ratio(self, what: str) -> float:
        """How many times as much the yardstick takes: the ratio of the medians of `wall`, `cpu` or `memory`."""
        ours, yardstick = (
            median(float(getattr(cost, what)) for cost in costs) for costs in (self.ours, self.yardstick)
        )
        return yardstick / ours


@dataclass(frozen=True, slots=True)
class Contest:
    """The outcome: what the company was like, and each situation."""

    size: Size
    records: dict[str, int]
    situations: list[Situation]


def contest(size: Size, rounds: int = ROUNDS) -> Contest:
    """All three situations.  Raises `PlansDiffer`, and `CommandFailed` when a command does not end with 0."""
    with serving(size) as served, staged(served) as stage:
        counts = {name: n for name, n in served.summary()["world"].items() if isinstance(n, int)}
        first = stage.situation("first plan, nothing in Port", rounds)
        created = stage.created()
        stage.apply()
        unchanged = stage.situation("nothing changed", rounds)
        change(served, created)
        changed = stage.situation(f"about {CHANGED:.0%} changed", rounds)
    return Contest(size, counts, [first, unchanged, changed])


@contextmanager
def staged(served: Served) -> Iterator[Stage]:
    """A folder with the starter catalog for the block."""
    with tempfile.TemporaryDirectory(prefix="pdsync-benchmark-") as name:
        folder = Path(name)
        shutil.copytree(ROOT / "catalog", folder / "catalog")
        yield Stage(served, folder)


class Stage:
    """A folder with the starter catalog, and the commands that are run there."""

    def __init__(self, served: Served, folder: Path) -> None:
        self.folder = folder
        self._served = served
        self._catalog = folder / "catalog"
        self._plan = folder / "first.pdplan"
        self._theirs = folder / "yardstick.json"
        self._state = folder / "state"

    def situation(self, name: str, rounds: int) -> Situation:
        """Both pipelines in turn, as often as there are rounds, each of ours on the state that it began with."""
        found = Situation(name)
        before = self.folder / "state-before"
        shutil.copytree(self._state, before, dirs_exist_ok=True) if self._state.exists() else before.mkdir()
        for number in range(rounds):
            say(f"{name}, round {number + 1} of {rounds}")
            found.yardstick.append(self.straightforward())
            shutil.rmtree(self._state, ignore_errors=True)
            shutil.copytree(before, self._state)
            found.ours.append(self._ours())
            found.our_phases.append(self._our_phases())
            found.yardstick_phases.append(json.loads(self._theirs.read_bytes())["phases"])
            found.work = self.same()
        shutil.rmtree(before)
        return found

    def apply(self) -> Cost:
        """Make Port what the last plan says."""
        say("apply")
        return measured([PDSYNC, "apply", str(self._plan), "--auto-approve"], cwd=self.folder, env=self._served.env)

    def created(self) -> Mapping[str, Fields]:
        """What the last plan creates, by blueprint and identifier."""
        created: dict[str, Fields] = _comparable(self._made())["creates"]
        return created

    def forget(self) -> None:
        """Know nothing of the plans before."""
        shutil.rmtree(self._state)

    def work(self) -> str:
        """How much the last plan holds."""
        return _worded(_comparable(self._made()))

    def hold(self) -> None:
        """Have Port and the state as they are after an apply of the last plan, without one."""
        say("what an apply leaves")
        self._served.hold(self._plan)
        store = open_store(str(self._state), Surroundings(self._catalog), now=now, new_id=new_id)
        plan = parse_plan(self._plan.read_bytes())
        store.save(after_run(store.load(), plan, {change.n: "done" for change in plan.changes}), deletes=0)

    def plan(self, *options: str) -> Cost:
        """The whole of `pdsync plan`."""
        argv = [PDSYNC, "plan", *options, "--out", str(self._plan)]
        return measured(argv, cwd=self.folder, env=self._served.env)

    def _made(self) -> dict[str, Any]:
        """The last plan of pdsync."""
        made: dict[str, Any] = json.loads(self._plan.read_bytes())
        return made

    def _ours(self) -> Cost:
        # The straightforward pipeline reads analytics each time: so does ours here, else the plans would differ.
        return self.plan("--refresh-analytics")

    def same(self) -> str:
        """How much the last plans of both pipelines hold, which must be the same.  Raises `PlansDiffer`."""
        return _same(self._made(), json.loads(self._theirs.read_bytes())["plan"])

    def straightforward(self) -> Cost:
        """A plan of the straightforward pipeline."""
        argv = [sys.executable, "-m", "benchmarks.yardstick", str(self._catalog), str(self._theirs)]
        return measured(argv, cwd=ROOT, env=self._served.env)

    def _our_phases(self) -> dict[str, float]:
        argv = [sys.executable, "-m", "benchmarks.phases", str(self._catalog), str(self._state)]
        done = subprocess.run(argv, cwd=ROOT, env=self._served.env, stdout=subprocess.PIPE, check=True)
        seconds: dict[str, float] = json.loads(done.stdout)
        return seconds


# --- a changed world -------------------------------------------------------------------------------------------


def change(served: Served, entities: Mapping[str, Fields]) -> None:
    """Let life go on: incidents opened and resolved, services renamed, one deleted with its incidents.

    Others change with them: incidents name the service that raised them, services count their incidents.
    """
    services = _of("pagerdutyService", entities)
    incidents = _of("pagerdutyIncident", entities)
    each = round(CHANGED * (len(services) + len(incidents)) / 4)
    renamed = max(1, each * len(services) // len(incidents))
    unresolved = [id_ for id_, fields in incidents.items() if fields["properties.status"] != "resolved"]
    for number, service in zip(range(each), cycle(services), strict=False):
        served.mutate(action="trigger_incident", service_id=service, title=f"Something broke {number}")
    for incident in unresolved[:each]:
        served.mutate(action="resolve_incident", id=incident)
    for number, service in zip(range(renamed), services, strict=False):
        served.mutate(action="rename_service", id=service, name=f"Renamed {number}")
    served.mutate(action="delete_service", id=list(services)[-1], keep_incidents=False)


def _of(blueprint: str, entities: Mapping[str, Fields]) -> dict[str, Fields]:
    """The entities of one blueprint by identifier, sorted."""
    found = {key.removeprefix(f"{blueprint}/"): fields for key, fields in entities.items() if key.startswith(blueprint)}
    return dict(sorted(found.items()))


# --- the same plan ---------------------------------------------------------------------------------------------


def _same(ours: dict[str, Any], theirs: dict[str, Any]) -> str:
    """How much both plans hold.  Raises `PlansDiffer` when they do not hold the same."""
    mine = _comparable(ours)
    for part in ("creates", "updates", "deletes"):
        if mine[part] != theirs[part]:
            raise PlansDiffer(f"{part}: {_difference(mine[part], theirs[part])}")
    return _worded(mine)


def _worded(plan: dict[str, Any]) -> str:
    return ", ".join(f"{len(plan[part])} {part}" for part in plan)


def _comparable(plan: dict[str, Any]) -> dict[str, Any]:
    """The entity changes of a plan document in the yardstick's form."""
    if plan["withheld"] or plan["held"]:
        raise PlansDiffer("pdsync withholds or holds something, which the yardstick cannot")
    by_action: dict[str, dict[str, Any]] = {"create": {}, "update": {}, "delete": {}}
    for change in plan["changes"]:
        if change["target"] == "entity":
            fields = {field["path"]: field["after"] for field in change["fields"]}
            by_action[change["action"]][f"{change['blueprint']}/{change['identifier']}"] = fields
    return {
        "creates": {key: _without_nulls(fields) for key, fields in by_action["create"].items()},
        "updates": by_action["update"],
        "deletes": sorted(by_action["delete"]),
    }


def _without_nulls(fields: dict[str, Any]) -> dict[str, Any]:
    return {path: value for path, value in fields.items() if value is not None}


def _difference(ours: Any, theirs: Any) -> str:
    """One example of what is not the same."""
    keys = sorted(set(ours) | set(theirs))
    if isinstance(ours, list):
        return f"only one has {sorted(set(ours) ^ set(theirs))[:3]}, or they repeat"
    key = next(key for key in keys if ours.get(key) != theirs.get(key))
    return f"{key}: {ours.get(key)} here, {theirs.get(key)} in the yardstick"


def say(text: str) -> None:
    """What is being done, to who waits for it."""
    print(text, file=sys.stderr, flush=True)
