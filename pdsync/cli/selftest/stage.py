"""A small company, a catalog and a saved plan with a change of every sort, to be applied again and again.

What the plan does: a blueprint is made and another one changed; entities are made (two of them in a circle), changed,
deleted; one that we took over is released; and entities of other people are in between.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from pdsync.cli.selftest.processes import Commands
from pdsync.cli.session import new_id, now
from pdsync.files import TEMPORARY
from pdsync.model import Json, Ledger
from pdsync.sandbox.port_store import Checkpoint
from pdsync.sandbox.port_system import PERSON
from pdsync.sandbox.world import World
from pdsync.state.backends.local import LocalBackend
from pdsync.state.journal import is_closed, paths
from pdsync.state.ledger_file import parse_ledger
from pdsync.state.runs import holds
from pdsync.state.store import StateStore

if TYPE_CHECKING:
    from pdsync.cli.selftest.processes import Ran
    from pdsync.sandbox.port_store import PortStore
    from pdsync.sandbox.server import Sandbox

PLAN = "second.pdplan"
MADE_BY_HAND = ("service", "by-hand")
THEIRS = ("theirs", "one")

PROJECT = "name: selftest\nstate: {url: state}\n"
BEFORE = """\
identifier: service
title: Service
schema:
  properties:
    status: {type: string}
    note: {type: string}
  required: []
---
identifier: person
title: Person
schema: {properties: {role: {type: string}}, required: []}
---
identifier: old
title: Old
schema: {properties: {}, required: []}
"""
AFTER = """\
identifier: service
title: Service
schema:
  properties:
    status: {type: string}
    note: {type: string}
    url: {type: string, format: url}
  required: []
relations:
  next: {target: service, required: false, many: false}
---
identifier: person
title: Person
schema: {properties: {role: {type: string}}, required: []}
---
identifier: team
title: Team
schema: {properties: {}, required: []}
relations:
  first: {target: service, required: false, many: false}
mirrorProperties:
  firstStatus: {title: Status of the first service, path: first.status}
"""
_RESOURCE = """\
  - kind: %s
    selector: {query: 'true'}
    port:
      entity:
        mappings:
          identifier: .id
          title: .name
          blueprint: '"%s"'
"""
_PERSON = _RESOURCE % ("users", "person") + "          properties: {role: .role}\n"
_SERVICE = _RESOURCE % ("services", "service") + "          properties: {status: .status%s}\n"
MAPPED_BEFORE = "resources:\n" + _SERVICE % "" + _PERSON


def mapped_after(first: str, second: str) -> str:
    """The mapping of the second plan, in which two services follow one another in a circle."""
    circle = f'if .id == "{first}" then "{second}" elif .id == "{second}" then "{first}" else null end'
    service = _SERVICE % ", url: .html_url" + f"          relations: {{next: '{circle}'}}\n"
    team = _RESOURCE % ("teams", "team") + f"          relations: {{first: '\"{first}\"'}}\n"
    return "resources:\n" + service + _PERSON + team


class Unfit(Exception):
    """The stage could not be set: a command of an unbroken run ended otherwise than it must."""


@dataclass(frozen=True, slots=True)
class Stage:
    """What every run of the plan begins with: `folder` holds catalog, state and plan, `port` what Port holds."""

    folder: Path
    port: Checkpoint


@dataclass(frozen=True, slots=True)
class Written:
    """One write that took effect in Port: what was done to whom, and what it holds since."""

    action: str
    blueprint: str
    identifier: str
    after: bytes

    def __str__(self) -> str:
        return f"{self.action.lower()} {self.blueprint}/{self.identifier}"


@dataclass(frozen=True, slots=True)
class Picture:
    """How all is at the end of a run: Port, the ledger, what was written on the way, what lies about in the state."""

    port: Mapping[str, Json]
    ledger: Ledger
    written: tuple[Written, ...]
    litter: tuple[str, ...]


class Place:
    """A folder with a state and a sandbox of its own, in which the plan is applied."""

    def __init__(self, folder: Path, box: Sandbox) -> None:
        self.folder = folder
        self.box = box
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "SYSTEMROOT") if name in os.environ}
        temporary = folder / "tmp"
        temporary.mkdir(parents=True, exist_ok=True)
        env = {**kept, **box.env(), "TMPDIR": str(temporary), "TEMP": str(temporary), "PYTHONUTF8": "1"}
        self.commands = Commands(folder, env)

    @property
    def port(self) -> PortStore:
        """What the sandbox's Port holds."""
        return self.box.store

    @property
    def state(self) -> Path:
        """The folder of the state."""
        return self.folder / "state"

    def reset(self, stage: Stage) -> None:
        """Be as the stage is."""
        self.box.faults.clear()
        self.box.log.clear()
        self.port.restore(stage.port)
        for stale in self.folder.iterdir():
            shutil.rmtree(stale) if stale.is_dir() else stale.unlink()
        shutil.copytree(stage.folder, self.folder, dirs_exist_ok=True)
        (self.folder / "tmp").mkdir()

    def ledger(self) -> Ledger:
        """The ledger as it is stored."""
        path = self.state / "ledger.jsonl"
        return parse_ledger(path.read_bytes(), str(path))

    def picture(self, since: int) -> Picture:
        """How all is; what was written is told from that event of the audit log on."""
        return Picture(self.port.snapshot(), self.ledger(), self.written(since), self._litter())

    def written(self, since: int) -> tuple[Written, ...]:
        """What pdsync wrote to Port, from that event of the audit log on."""
        events = self.port.events()[::-1][since:]
        return tuple(_written(event) for event in events if event["trigger"]["by"]["userId"] != PERSON)

    def make_anew(self, written: Written, stage: Stage) -> None:
        """Somebody makes again what was deleted, the very same: only its birth tells it from what it was."""
        was = stage.port.entities[written.blueprint][written.identifier]
        body = {"identifier": was.identifier, "title": was.title, "properties": dict(was.properties)}
        self.port.put_entity(written.blueprint, body)

    def save_as_others(self) -> None:
        """Somebody else, on a machine of their own, saves the state, whoever holds its lock."""
        elsewhere = self.folder / "elsewhere"
        theirs = StateStore(
            LocalBackend(self.state), journals=elsewhere, snapshots=LocalBackend(elsewhere), now=now, new_id=new_id
        )
        theirs.save(theirs.load(), deletes=0)

    def _litter(self) -> tuple[str, ...]:
        """Files that a run should not leave behind: temporary ones, and journals of runs that no ledger holds."""
        left = [path.name for path in self.state.rglob(f"{TEMPORARY}*")]
        ledger = self.ledger()
        open_runs = [path for path in paths(self.state / "journal") if not is_closed(path)]
        return (*left, *(f"{path.name}, open" for path in open_runs if not holds(ledger, path.stem)))


def _written(event: Mapping[str, Any]) -> Written:
    context = event["context"]
    after = orjson.dumps(event["diff"]["after"], option=orjson.OPT_SORT_KEYS)
    return Written(event["action"], context["blueprint"], context["entity"] or "", after)


# --- setting it ------------------------------------------------------------------------------------------------


def small_world() -> World:
    """A company of a handful of people, as of now."""
    return World(services=3, users=3, teams=1, schedules=1, escalation_policies=1, incidents=0, now=now())


def set_stage(place: Place, folder: Path) -> Stage:
    """Apply a first catalog, let everything change, save the plan of what is to do; the stage is kept in `folder`.

    Raises `Unfit`.
    """
    _catalog(place, BEFORE, MAPPED_BEFORE)
    _people_of_before(place)
    expect(place.commands.run("-q", "apply", "--auto-approve"), "State saved")
    _everything_changes(place)
    expect(place.commands.run("-q", "plan", "--out", PLAN), "Plan: ")
    for name in ("tmp", "said.txt"):
        path = place.folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    shutil.copytree(place.folder, folder)
    return Stage(folder, place.port.checkpoint())


def expect(ran: Ran, words: str) -> None:
    """See that a command ended with 0 and said this.  Raises `Unfit`."""
    if ran.code or words not in ran.text:
        raise Unfit(f"expected it to end with 0 and to say {words!r}\n{ran.shown()}")


def _catalog(place: Place, blueprints: str, mapping: str) -> None:
    for name, text in (("pdsync.yaml", PROJECT), ("blueprints/all.yaml", blueprints), ("mappings/all.yaml", mapping)):
        path = place.folder / "catalog" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def _people_of_before(place: Place) -> None:
    """Before we come: a blueprint and an entity of other people, and one that we will take over."""
    port = place.port
    port.create_blueprint({"identifier": "theirs", "title": "Theirs", "schema": {"properties": {}, "required": []}})
    port.put_entity(THEIRS[0], {"identifier": THEIRS[1], "title": "Theirs"})
    role = {"properties": {"role": {"type": "string"}}, "required": []}
    port.create_blueprint({"identifier": "person", "title": "Person", "schema": role})
    port.put_entity("person", {"identifier": _leaving(place), "title": "Known before", "properties": {"role": "boss"}})


def _leaving(place: Place) -> str:
    return min(place.box.world.users)


def _everything_changes(place: Place) -> None:
    """In PagerDuty, in Port by hand, and in the catalog."""
    box = place.box
    renamed, deleted, edited = sorted(box.world.services)
    box.mutate({"action": "rename_service", "id": renamed, "name": "Renamed"})
    box.mutate({"action": "delete_service", "id": deleted, "keep_incidents": False})
    made = [box.mutate({"action": "add_service", "name": name})["id"] for name in ("Gift Cards", "Loyalty")]
    first, leaving = _leaving(place), sorted(box.world.users)[1]
    for user in (first, leaving):
        box.mutate({"action": "delete_user", "id": user})
    box.store.put_entity("service", {"identifier": edited, "properties": {"status": "by hand"}})
    box.store.put_entity(MADE_BY_HAND[0], {"identifier": MADE_BY_HAND[1], "title": "By hand"})
    _catalog(place, AFTER, mapped_after(*made))
