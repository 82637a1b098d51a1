"""A plan of 100,000 incidents and 5,000 services against a bare download of the same bytes; and one under a limit.

The straightforward pipeline takes a quarter of an hour: it makes the first plan once, which must be the same.  Its
other figures are those of `plan`, scaled by the number of records (see `report`).
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.bare import Asked, write
from benchmarks.comparison import CHANGED, Stage, change, say, staged
from benchmarks.measure import Cost, measured
from benchmarks.speed import records_of, speed
from benchmarks.world import ROOT, Pace, Size, serving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from benchmarks.world import Served

LARGE = Size(100_000, 5_000)
LIMITED = Pace(per_minute=960, latency=0.3)
ROUNDS = 3
"""So often is measured what a goal is about and can be done again."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One situation: what the plan holds, its requests, the megabytes that came, what it costs and what they alone.

    `slowest` are the wall seconds of the slowest of several rounds, of which `ours` is the fastest; `speed` is that of
    the machine just before and after it.  `straightforward` is what that pipeline costs, where it was run.
    """

    name: str
    work: str
    requests: int
    megabytes: float
    ours: Cost
    bare: Cost
    slowest: float = 0.0
    speed: float = 0.0
    straightforward: Cost | None = None


@dataclass(frozen=True, slots=True)
class Scale:
    """All situations of one company."""

    size: Size
    situations: list[Measured]


def scale(size: Size = LARGE) -> Scale:
    """The situations of `comparison` as one meets them: analytics are read once a day, what needed nothing is known."""
    with serving(size) as served, staged(served) as stage:
        say("the sandbox makes up its records")
        stage.plan()
        first = _measured(stage, served, "first plan, nothing in Port", stage.forget)
        first = replace(first, straightforward=_straightforward(stage))
        created = stage.created()
        stage.hold()
        after = _measured(stage, served, "nothing changed, the first time after an apply")
        unchanged = _measured(stage, served, "nothing changed", lambda: None)
        change(served, created)
        say("the sandbox makes up its records anew")
        _download(served, _asked(served))
        changed = _measured(stage, served, f"about {CHANGED:.0%} changed")
    return Scale(size, [first, after, unchanged, changed])


def _straightforward(stage: Stage) -> Cost:
    """What the straightforward pipeline costs, which must come to the plan just made.  Raises `PlansDiffer`."""
    say("the same, straightforward")
    cost = stage.straightforward()
    stage.same()
    return cost


def _measured(stage: Stage, served: Served, name: str, again: Callable[[], None] | None = None) -> Measured:
    """What a plan costs, in several rounds where something (`again`) brings the situation about once more."""
    say(name)
    found = _tried(stage, served, ROUNDS if again else 1, again or (lambda: None))
    asked = _asked(served)
    bare, megabytes = _download(served, asked)
    slowest = found.slowest if again else 0.0
    return Measured(name, stage.work(), len(asked), megabytes, found.best, bare, slowest, found.speed)


class _Tried(NamedTuple):
    """The cost of the fastest of several rounds, the slowest's wall seconds, the machine's speed then."""

    best: Cost
    slowest: float
    speed: float


def _tried(stage: Stage, served: Served, rounds: int, again: Callable[[], None]) -> _Tried:
    records = records_of(served.incidents())
    costs, speeds = [], [speed(records)]
    for _ in range(rounds):
        again()
        served.forget_requests()
        costs.append(stage.plan())
        speeds.append(speed(records))
    walls = [cost.wall for cost in costs]
    best = walls.index(min(walls))
    return _Tried(costs[best], max(walls), (speeds[best] + speeds[best + 1]) / 2)


def _download(served: Served, asked: Sequence[Asked]) -> tuple[Cost, float]:
    """What it costs to send these requests and to throw the answers away, and how many megabytes come."""
    with TemporaryDirectory(prefix="pdsync-benchmark-") as folder:
        requests, size = Path(folder) / "requests", Path(folder) / "size"
        write(requests, asked)
        argv = [sys.executable, "-m", "benchmarks.bare", str(requests), str(size)]
        cost = measured(argv, cwd=ROOT, env=served.env)
        return cost, int(size.read_text(encoding="ascii")) / 1e6


def _asked(served: Served) -> list[Asked]:
    """The requests that brought something, without that for a token."""
    return [
        Asked(one["api"], one["method"], one["path"], one["query"], one["body"])
        for one in served.requests()
        if one["status"] == 200 and not one["path"].endswith("/access_token")
    ]


# --- under a limit ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Limited:
    """A plan against slow answers of which PagerDuty gives so many a minute; `requests` are those to PagerDuty.

    `slowest` and `speed` are as in `Measured`.
    """

    name: str
    size: Size
    pace: Pace
    requests: int
    cost: Cost
    slowest: float = 0.0
    speed: float = 0.0

    @property
    def least(self) -> float:
        """The seconds in which PagerDuty gives so many answers at an even pace."""
        return self.requests / self.pace.per_minute * 60


def limited() -> list[Limited]:
    """Plans under PagerDuty's documented limit, of the company of `plan` and of the large one."""
    return [found for size in (Size(), LARGE) for found in _limited(size)]


def _limited(size: Size) -> Iterator[Limited]:
    """The first plan; and the everyday one, of which all was compared before."""
    with serving(size, LIMITED) as served, staged(served) as stage:
        say("the sandbox makes up its records")
        stage.plan()
        yield _paced("first plan, nothing in Port", size, stage, served, stage.forget)
        stage.hold()
        _rest()
        stage.plan()
        yield _paced("nothing changed", size, stage, served, lambda: None)


def _paced(name: str, size: Size, stage: Stage, served: Served, before: Callable[[], None]) -> Limited:
    def again() -> None:
        before()
        _rest()

    say(f"{size.incidents:,} incidents under a limit: {name}")
    found = _tried(stage, served, _LIMITED_ROUNDS, again)
    sent = sum(one["api"] == "pagerduty" for one in served.requests())
    return Limited(name, size, LIMITED, sent, *found)


def _rest() -> None:
    time.sleep(_A_MINUTE)


_A_MINUTE = 60
"""Seconds after which nothing of what was asked before counts any more."""

_LIMITED_ROUNDS = 2
