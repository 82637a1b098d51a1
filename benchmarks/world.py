"""The sandbox in a process of its own, so that its work is not counted as anybody else's.

`python -m benchmarks.world INCIDENTS SERVICES PER_MINUTE LATENCY` serves until it is told to stop; its first line is
the environment that points there.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

from benchmarks.measure import environment
from pdsync.sandbox.server import CONTROL, Sandbox, serve_forever
from pdsync.sandbox.world import World

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent.parent
NO_LIMIT = 10**9


class SandboxFailed(Exception):
    """The sandbox's process ended before it served."""


@dataclass(frozen=True, slots=True)
class Size:
    """How big the company is.  PagerDuty pages the first 10,000 rows of a list: more, and the yardstick stops there."""

    incidents: int = 10_000
    services: int = 500


@dataclass(frozen=True, slots=True)
class Served:
    """A sandbox that runs: the environment that points a command there."""

    env: Mapping[str, str]

    def mutate(self, **command: Any) -> dict[str, Any]:
        """Change the world by one of its commands."""
        reply = httpx.post(f"{self.env['PAGERDUTY_API_URL']}{CONTROL}/world", json=command, timeout=60)
        reply.raise_for_status()
        done: dict[str, Any] = reply.json()
        return done

    def summary(self) -> dict[str, Any]:
        """What there is."""
        reply = httpx.get(f"{self.env['PAGERDUTY_API_URL']}{CONTROL}", timeout=60)
        reply.raise_for_status()
        told: dict[str, Any] = reply.json()
        return told

    def requests(self) -> list[dict[str, Any]]:
        """The requests that came since `forget_requests`."""
        reply = httpx.get(f"{self.env['PAGERDUTY_API_URL']}{CONTROL}/requests", timeout=60)
        found: list[dict[str, Any]] = reply.raise_for_status().json()
        return found

    def forget_requests(self) -> None:
        """Begin the log of requests anew."""
        httpx.delete(f"{self.env['PAGERDUTY_API_URL']}{CONTROL}/requests", timeout=60).raise_for_status()


@dataclass(frozen=True, slots=True)
class Pace:
    """How many requests a minute PagerDuty takes, and how many seconds each answer of either API takes."""

    per_minute: int = NO_LIMIT
    latency: float = 0.0


@contextmanager
def serving(size: Size, pace: Pace = Pace()) -> Iterator[Served]:
    """A sandbox of that size for the block."""
    numbers = (size.incidents, size.services, pace.per_minute, pace.latency)
    argv = [sys.executable, "-m", "benchmarks.world", *map(str, numbers)]
    with subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            first = process.stdout.readline()
            if not first:
                raise SandboxFailed("the sandbox did not start; see what it printed above")
            pointed = json.loads(first)
            yield Served({**environment(), **pointed, "NO_PROXY": "127.0.0.1", "NO_COLOR": "1", "PDSYNC_STATE": ""})
        finally:
            process.terminate()


def main(incidents: int, services: int, pace: Pace) -> None:
    """Serve."""
    world = World(
        services=services,
        users=200,
        teams=20,
        schedules=40,
        escalation_policies=60,
        incidents=incidents,
        now=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    )
    sandbox = Sandbox(world, pagerduty_limit=pace.per_minute, port_limit=NO_LIMIT, latency=pace.latency)
    serve_forever(sandbox, ready=lambda box: print(json.dumps(box.env()), flush=True))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Pace(int(sys.argv[3]), float(sys.argv[4])))
