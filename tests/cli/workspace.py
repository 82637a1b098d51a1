"""A folder with a small catalog, a sandbox, and the command line run in it: in this process, or in one of its own."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TextIO

import orjson
import pytest

from pdsync.cli import run
from pdsync.cli.session import now
from pdsync.sandbox.http import Fault
from pdsync.sandbox.server import Sandbox
from pdsync.sandbox.world import World

if TYPE_CHECKING:
    import signal
    from collections.abc import Callable, Iterator

PROJECT = """\
name: tests
policy:
  deletes: {"*": {count: 3, percent: 10}}
"""
BLUEPRINTS = """\
identifier: service
title: Service
schema:
  properties:
    status: {type: string, title: Status}
    url: {type: string, format: url}
    note: {type: string}
  required: []
---
identifier: person
title: Person
schema: {properties: {role: {type: string}}, required: []}
---
identifier: incident
title: Incident
schema: {properties: {status: {type: string}}, required: []}
relations:
  service: {target: service, required: false, many: false}
mirrorProperties:
  serviceStatus: {title: Status of the service, path: service.status}
"""
MAPPING = """\
resources:
  - kind: services
    selector: {query: 'true'}
    port:
      entity:
        mappings:
          identifier: .id
          title: .name
          blueprint: '"service"'
          properties:
            status: .status
            url: .html_url
  - kind: users
    selector: {query: 'true'}
    port:
      entity:
        mappings:
          identifier: .id
          title: .name
          blueprint: '"person"'
          properties:
            role: .role
  - kind: incidents
    selector:
      query: 'true'
      apiQueryParams: {date_range: all}
    port:
      entity:
        mappings:
          identifier: .id
          title: .title
          blueprint: '"incident"'
          properties:
            status: .status
          relations:
            service: .service.id
"""
NEUTRAL = (
    "PATH",
    "HOME",
    "PYTHONPATH",
    "SYSTEMROOT",
    "TEMP",
    "TMP",
    "TMPDIR",
    "COVERAGE_PROCESS_START",
    "COVERAGE_PROCESS_CONFIG",
)
"""Variables that a run keeps; nothing else of this process's environment reaches it."""


class Ran(NamedTuple):
    """What one command ended with and printed."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Stdout as JSON, which it must be all of."""
        return orjson.loads(self.out)


def small_world(**sizes: Any) -> World:
    """A company of a few records, as of now: PagerDuty takes no window that lies too far from its clock."""
    small = {"services": 4, "users": 3, "teams": 1, "schedules": 1, "escalation_policies": 1, "incidents": 6}
    return World(**{**small, "now": now(), **sizes})


@dataclass
class Workspace:
    """`folder` holds catalog/ and, once something is applied, state/."""

    folder: Path
    box: Sandbox
    monkeypatch: pytest.MonkeyPatch
    env: dict[str, str]

    def run(self, *args: str, **env: str) -> Ran:
        """Run a command in this process; `env` is added to the environment, an empty value takes one away."""
        out, err = _stream(), _stream()
        code = self.run_into(out, err, *args, **env)
        return Ran(code, _text(out), _text(err))

    def run_into(self, out: TextIO, err: TextIO, *args: str, **env: str) -> int:
        """Run a command in this process with these streams; its exit code."""
        with self.monkeypatch.context() as patch, ExitStack() as stack:
            patch.chdir(self.folder)
            for name in set(os.environ) - set(NEUTRAL):
                patch.delenv(name)
            for name, value in self.environment(env).items():
                patch.setenv(name, value)
            stack.enter_context(redirect_stdout(out))
            stack.enter_context(redirect_stderr(err))
            return run(list(args))

    def ok(self, *args: str, code: int = 0, **env: str) -> Ran:
        """Run a command that must end with `code`."""
        ran = self.run(*args, **env)
        assert ran.code == code, f"{args} ended with {ran.code}\n{ran.out}\n{ran.err}"
        return ran

    def environment(self, more: dict[str, str]) -> dict[str, str]:
        kept = {name: os.environ[name] for name in NEUTRAL if name in os.environ}
        return {name: value for name, value in {**kept, **self.env, **more}.items() if value}

    @contextmanager
    def start(self, *args: str, **env: str) -> Iterator[subprocess.Popen[str]]:
        """A command in a process of its own, which is killed when it has not ended with the block."""
        with subprocess.Popen(
            [sys.executable, "-m", "pdsync", *args],
            cwd=self.folder,
            env=self.environment(env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        ) as process:
            try:
                yield process
            finally:
                process.kill()

    def spawn(self, *args: str, **env: str) -> Ran:
        """Run a command in a process of its own, to its end."""
        with self.start(*args, **env) as process:
            out, err = process.communicate()
        return Ran(process.returncode, out, err)

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    def plan(self, *args: str, **env: str) -> dict[str, Any]:
        """The plan document as of now."""
        document: dict[str, Any] = self.ok("-q", "plan", "--format", "json", *args, code=0, **env).json
        return document

    def changes(self, *args: str) -> list[str]:
        """What a plan would do now: `update service/PX1`."""
        ran = self.run("-q", "plan", "--format", "json", *args)
        return [f"{c['action']} {c['blueprint']}/{c['identifier']}" for c in ran.json["changes"]]

    def files(self) -> dict[str, bytes]:
        """Every file below the folder."""
        return {str(p.relative_to(self.folder)): p.read_bytes() for p in sorted(self.folder.rglob("*")) if p.is_file()}


def make_workspace(folder: Path, box: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    made = Workspace(folder, box, monkeypatch, box.env())
    made.write("catalog/pdsync.yaml", PROJECT)
    made.write("catalog/blueprints/all.yaml", BLUEPRINTS)
    made.write("catalog/mappings/pagerduty.yaml", MAPPING)
    return made


def until(true: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    """Wait until something holds, as long as the process runs."""
    while not true():
        assert process.poll() is None, "\n".join(process.communicate())
        time.sleep(0.002)


@contextmanager
def answers_held(box: Sandbox, path: str) -> Iterator[threading.Event]:
    """Answers to such requests to Port are held back, though all has its effect, until the event is set."""
    released = threading.Event()

    def held(_: Fault) -> None:
        released.wait()

    box.faults.struck = held
    box.faults.add(Fault("delay", api="port", path=path, seconds=0, when="after", count=None))
    try:
        yield released
    finally:
        released.set()
        box.faults.clear()


def stop(process: subprocess.Popen[str], number: signal.Signals) -> None:
    """Send a signal, and wait until the process says that it heeds it."""
    process.send_signal(number)
    assert process.stderr is not None
    assert next(line for line in process.stderr if "stopping" in line)


def _stream() -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(), encoding="utf-8", newline="", write_through=True)


def _text(stream: io.TextIOWrapper) -> str:
    stream.flush()
    assert isinstance(stream.buffer, io.BytesIO)
    return stream.buffer.getvalue().decode()
