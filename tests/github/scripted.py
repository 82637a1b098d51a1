"""A small engine behind the action's seam: a catalog of one JSON file against a Port of another.

It makes real plans of the real types, so that everything from the event to the comment can be run for itself.  As a
program it is `pdsync action run|report`: what the real command line does with the real engine.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pdsync.errors import Diagnostic, Origin, SourceError, error
from pdsync.github.action import report_action, run_action
from pdsync.model import Ledger, Outcome, Plan
from tests.github.plans import BASE, change, plan

if TYPE_CHECKING:
    from pdsync.github.settings import Settings

CATALOG = "catalog/entities.json"


@dataclass(frozen=True)
class Applied:
    """As `pdsync.apply.ApplyResult`."""

    outcomes: tuple[Outcome, ...]
    ledger: Ledger
    interrupted: bool = False


@dataclass(frozen=True)
class Scripted:
    """`catalog` maps identifier to value, as `port` does; `port` may also hold `refuse` and `broken`."""

    catalog: Path
    port: Path
    hide: Callable[[str], None]

    def validate(self) -> tuple[Diagnostic, ...]:
        """A value that is not text is an error at its line."""
        lines = self.catalog.read_text("utf-8").splitlines()
        return tuple(
            error(
                "PD110", "a value is not text", detail=line.strip(), origin=Origin(CATALOG, number, 1, len(line), line)
            )
            for number, line in enumerate(lines, 1)
            if "null" in line
        )

    def plan(self, base: str = "") -> Plan:
        """What differs; reading Port needs a token that is made on the way, and must be hidden."""
        self.hide("derived-access-token")
        wanted, world = json.loads(self.catalog.read_text("utf-8")), self._world()
        if world.get("broken"):
            raise SourceError(error("PD301", "PagerDuty answered 500", detail="with derived-access-token in its text"))
        have: dict[str, str] = world["entities"]
        found = [
            *(change("create", key, title=value, after=value) for key, value in wanted.items() if key not in have),
            *(
                change("update", key, title=value, before=have[key], after=value)
                for key, value in wanted.items()
                if key in have and have[key] != value
            ),
            *(change("delete", key, title=value) for key, value in have.items() if key not in wanted),
        ]
        made = plan(*found, withheld=world.get("withheld", 0))
        return replace(made, base=replace(BASE, serial=world["serial"]))

    def overtaken(self, branch: str) -> str:
        """What the world says."""
        return str(self._world().get("overtaken", "")) if branch else ""

    def apply(self, made: Plan) -> Applied:
        """Writes what is not refused."""
        world = self._world()
        outcomes = []
        for one in made.changes:
            if one.identifier in world.get("refuse", []):
                outcomes.append(Outcome(one.n, "failed", "422 no such team"))
                continue
            if one.action == "delete":
                del world["entities"][one.identifier]
            else:
                world["entities"][one.identifier] = one.fields[0].after
            outcomes.append(Outcome(one.n, "done"))
        world["serial"] += 1
        self.port.write_text(json.dumps(world), "utf-8")
        return Applied(tuple(outcomes), Ledger(lineage="lineage-1", serial=world["serial"]))

    def _world(self) -> dict[str, Any]:
        world: dict[str, Any] = json.loads(self.port.read_text("utf-8"))
        return world


def open_scripted(port: Path, folder: Path) -> Callable[[Settings, Callable[[str], None]], Scripted]:
    """Operations over the catalog in `folder` and the Port in `port`."""
    return lambda _, hide: Scripted(folder / CATALOG, port, hide)


def main() -> int:
    """`pdsync action run|report`."""
    assert sys.argv[1] == "action"
    if sys.argv[2] == "report":
        return report_action(os.environ, sys.stdout)
    return run_action(os.environ, sys.stdout, open_scripted(Path(os.environ["TEST_PORT"]), Path.cwd()))


if __name__ == "__main__":
    sys.exit(main())
