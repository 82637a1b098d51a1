"""The matrix: every fault at every point of an apply, what the user does then, and what must hold in the end."""

from __future__ import annotations

import json
import threading
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from pdsync.cli.selftest.faults import Fault
from pdsync.cli.selftest.judge import judge
from pdsync.cli.selftest.processes import Hangs, Ran
from pdsync.cli.selftest.stage import PLAN, Place, Unfit, expect, set_stage, small_world
from pdsync.errors import PdsyncError
from pdsync.sandbox.server import Sandbox

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from pdsync.cli.selftest.processes import Command
    from pdsync.cli.selftest.stage import Picture, Stage, Written

WHOLE = "whole at once"
RESUMED = "resumed"
SAVED = "was saved already"
NEVER = "as if never begun"
REFUSED = "refused, planned anew"
ENDS = (WHOLE, RESUMED, SAVED, NEVER, REFUSED)
"""How a run may end that was struck; all but the first after what a user does then."""

NOTHING_TO_RESUME = "PD532"
STALE, PARTLY = 4, 6


@dataclass(frozen=True, slots=True)
class Trial:
    """One fault at one point: how it ended, what did not hold, and all that was said on the way.

    `name` is the request or operation that was struck, empty when the run came to its end before this point;
    `duplicates` and `again` are as in `Judgement`.
    """

    fault: Fault
    point: int
    name: str = ""
    end: str = ""
    again: int = 0
    duplicates: int = 0
    problems: tuple[str, ...] = ()
    said: tuple[Ran, ...] = ()


@dataclass(slots=True)
class Row:
    """All trials of one fault."""

    fault: Fault
    ends: Counter[str] = field(default_factory=Counter)
    again: int = 0
    duplicates: int = 0
    failed: list[Trial] = field(default_factory=list)

    @property
    def points(self) -> int:
        """How many there were."""
        return self.ends.total() + len(self.failed)

    def add(self, trial: Trial) -> None:
        """Count one trial."""
        self.again += trial.again
        self.duplicates += trial.duplicates
        if trial.problems:
            self.failed.append(trial)
        else:
            self.ends[trial.end] += 1


class Matrix:
    """Runs trials, as many at once as there are places, all beginning with the same stage."""

    def __init__(self, stage: Stage, places: Sequence[Place], reference: Picture) -> None:
        self._stage = stage
        self._places = places
        self._reference = reference
        self._since = len(stage.port.events)

    def run(self, fault: Fault, points: Iterable[int], tell: Callable[[Trial], None]) -> Row:
        """Try every point of `points`, in order, until one that no run comes to."""
        row = Row(fault)
        numbers = iter(points)
        lock = threading.Lock()
        over = threading.Event()

        def work(place: Place) -> None:
            while not over.is_set():
                with lock:
                    point = next(numbers, None)
                if point is None:
                    return
                trial = self.trial(place, fault, point)
                with lock:
                    if not trial.name and not trial.problems:
                        over.set()
                        return
                    row.add(trial)
                    tell(trial)

        with ThreadPoolExecutor(len(self._places)) as threads:
            try:
                for done in [threads.submit(work, place) for place in self._places]:
                    done.result()
            finally:
                over.set()
        row.failed.sort(key=lambda trial: trial.point)
        return row

    def trial(self, place: Place, fault: Fault, point: int) -> Trial:
        """Strike once, do what a user would do, and look at everything."""
        place.reset(self._stage)
        trial = Trial(fault, point)
        try:
            return self._tried(place, trial)
        except (Unfit, Hangs, PdsyncError, OSError) as problem:
            return replace(trial, problems=(str(problem),))

    def _tried(self, place: Place, trial: Trial) -> Trial:
        fault = trial.fault
        ran, name = (_strike_file if fault.at == "files" else _strike_request)(place, fault, trial.point)
        trial = replace(trial, name=name, said=(ran,))
        if not name:
            return trial
        anew = self._make_anew(place) if fault.anew else ()
        end, then = _go_on(place, ran, skips=bool(anew))
        trial = replace(trial, end=end, said=(ran, *then))
        if not end:
            return replace(trial, problems=("nothing of what pdsync advises brings it to its end",))
        planned = place.commands.run("-q", *fault.look)
        found = judge(place.picture(self._since), self._reference, planned, anew)
        return replace(
            trial,
            again=found.again,
            duplicates=found.duplicates,
            problems=found.problems,
            said=(*trial.said, planned),
        )

    def _make_anew(self, place: Place) -> tuple[Written, ...]:
        deleted = tuple(w for w in place.written(self._since) if w.action == "DELETE" and w.identifier)
        for written in deleted:
            place.make_anew(written, self._stage)
        return deleted


# --- striking --------------------------------------------------------------------------------------------------


def _strike_request(place: Place, fault: Fault, point: int) -> tuple[Ran, str]:
    """Apply, with a fault at one request; what it ended with, and the request, if it came to that."""
    command: Future[Command] = Future()
    at_once: dict[str, Callable[[], None]] = {
        "": lambda: None,
        "kill": lambda: command.result().kill(),
        "overtake": place.save_as_others,
    }
    place.box.faults.struck = lambda _: at_once[fault.also]()
    place.box.faults.add(fault.strike_at(point))
    command.set_result(place.commands.start("apply", PLAN))
    ran = command.result().wait()
    place.box.faults.clear()
    fitting = [f"{r.method} {r.path}" for r in place.box.log.all("port") if fault.fits(r.path)]
    return ran, fitting[point - 1] if len(fitting) >= point else ""


def _strike_file(place: Place, fault: Fault, point: int) -> tuple[Ran, str]:
    """Apply, with a fault at one operation on a file; what it ended with, and the operation, if it came to that."""
    trace = place.folder / "points.txt"
    wanted = {"effect": fault.effect, "at": point, "folder": str(place.state), "trace": str(trace)}
    ran = place.commands.start("apply", PLAN, PDSYNC_FAULT=json.dumps(wanted)).wait()
    passed = trace.read_text(encoding="utf-8").splitlines()
    return ran, passed[point - 1] if len(passed) >= point else ""


# --- going on --------------------------------------------------------------------------------------------------


def _go_on(place: Place, ran: Ran, *, skips: bool) -> tuple[str, list[Ran]]:
    """Do what a user does: resume, apply what was never begun, plan anew what is stale; how it ended, "" if it did not.

    `skips`: something is skipped by the run that goes on.
    """
    if ran.code == 0 and not ran.killed:
        return WHOLE, []
    if ran.code == STALE:
        planned = place.commands.run("-q", "plan", "--out", PLAN)
        applied = place.commands.run("-q", "apply", PLAN)
        return (REFUSED if applied.code == 0 else ""), [planned, applied]
    resumed = place.commands.run("-q", "resume")
    if resumed.code == (PARTLY if skips else 0):
        return RESUMED, [resumed]
    if not resumed.says(NOTHING_TO_RESUME):
        return "", [resumed]
    applied = place.commands.run("-q", "apply", PLAN)
    return {0: NEVER, STALE: SAVED}.get(applied.code, ""), [resumed, applied]


# --- all of it -------------------------------------------------------------------------------------------------


@contextmanager
def matrix(folder: Path, lanes: int) -> Iterator[Matrix]:
    """Set the stage and so many places, and do one run that nothing happens to.  Raises `Unfit`."""
    world = small_world()
    with ExitStack() as stack:
        boxes = [stack.enter_context(Sandbox(world)) for _ in range(lanes)]
        places = [Place(folder / f"place-{number}", box) for number, box in enumerate(boxes)]
        first = places[0]
        stage = set_stage(first, folder / "stage")
        first.reset(stage)
        expect(first.commands.run("-q", "apply", PLAN), "Apply complete")
        expect(first.commands.run("-q", "plan", "--offline"), "No changes.")
        yield Matrix(stage, places, first.picture(len(stage.port.events)))
