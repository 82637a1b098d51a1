"""The sandbox in a process of its own, so that its work is not counted as anybody else's.

`python -m benchmarks.world INCIDENTS SERVICES PER_MINUTE LATENCY` serves until it is told to stop; its first line is
the environment that points there.  To each line that it reads, the name of a saved plan, it answers with a line once
Port holds what that plan creates.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

from benchmarks.bare import pagerduty_headers
from benchmarks.measure import environment
from pdsync.normal import blueprint_definition, entity_body
from pdsync.plan.document import parse_plan
from pdsync.sandbox.server import CONTROL, Sandbox, serve_forever
from pdsync.sandbox.world import World

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pdsync.sandbox.port import PortStore

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
    process: subprocess.Popen[str]

    def hold(self, plan: Path) -> None:
        """Put into Port what a saved plan creates, at once: a hundred thousand writes take long, and are not measured.

        Raises `SandboxFailed`.
        """
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(plan, file=self.process.stdin, flush=True)
        if not self.process.stdout.readline():
            raise SandboxFailed("the sandbox ended; see what it printed above")

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

    def incidents(self) -> bytes:
        """A page of incidents, as PagerDuty gives it."""
        query = {"limit": "100", "date_range": "all", "include[]": "first_trigger_log_entries"}
        url, headers = f"{self.env['PAGERDUTY_API_URL']}/incidents", pagerduty_headers(self.env["PAGERDUTY_TOKEN"])
        return httpx.get(url, params=query, headers=headers, timeout=60).raise_for_status().content

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
    with subprocess.Popen(argv, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            first = process.stdout.readline()
            if not first:
                raise SandboxFailed("the sandbox did not start; see what it printed above")
            pointed = json.loads(first)
            env = {**environment(), **pointed, "NO_PROXY": "127.0.0.1", "NO_COLOR": "1", "PDSYNC_STATE": ""}
            yield Served(env, process)
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
    threading.Thread(target=_hold_plans, args=(sandbox.store,), daemon=True).start()
    serve_forever(sandbox, ready=lambda box: print(json.dumps(box.env()), flush=True))


def _hold_plans(store: PortStore) -> None:
    for line in sys.stdin:
        changes = parse_plan(Path(line.strip()).read_bytes()).changes
        definitions = {c.blueprint: dict(c.afters()) for c in changes if c.target == "blueprint"}
        for name, fields in definitions.items():  # their relations point at each other
            bare = {path: value for path, value in fields.items() if not path.startswith("relations.")}
            store.create_blueprint(blueprint_definition(name, bare))
        for name, fields in definitions.items():
            store.replace_blueprint(name, blueprint_definition(name, fields))
        for change in changes:
            if change.target == "entity":
                store.put_entity(change.blueprint, entity_body(change.identifier, dict(change.afters())))
        print("held", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Pace(int(sys.argv[3]), float(sys.argv[4])))
