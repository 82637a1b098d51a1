"""`pdsync selftest` without faults: one whole cycle, as after an installation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pdsync.cli.selftest.stage import Place, expect
from pdsync.cli.session import now
from pdsync.sandbox.server import Sandbox
from pdsync.sandbox.world import World

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CYCLE: tuple[tuple[tuple[str, ...], str], ...] = (
    (("init",), "Next: "),
    (("validate",), "valid"),
    (("plan", "--out", "first.pdplan"), " to create, 0 to update, 0 to delete."),
    (("apply", "first.pdplan"), "State saved, serial 1."),
    (("plan",), "No changes."),
)
"""Each command and what it must say."""


def cycle(folder: Path, tell: Callable[[str], None]) -> None:
    """Do the cycle; `tell` is given each command that went well.  Raises `Unfit`, `Hangs`."""
    world = World(services=3, users=3, teams=1, schedules=1, escalation_policies=1, incidents=3, now=now())
    with Sandbox(world) as box:
        place = Place(folder, box)
        for args, words in CYCLE:
            expect(place.commands.run("--quiet", *args), words)
            tell(f"ok  pdsync {' '.join(args)}")
