"""A machine that dies for good in the middle of a run, and another one that goes on with it, on a state they share."""

from __future__ import annotations

import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.apply.killing import distinct, killed_at
from tests.apply.running import Here, running
from tests.apply.test_resume import AFTER, ALSO_TEAMS, BEFORE, prepared, state_of, statuses
from tests.state.places import SERVED, Place
from tests.state.runs import store_in

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pdsync.sandbox.server import Sandbox
    from pdsync.state.store import StateStore


class Machine(Here):
    """A checkout on a machine of its own."""

    def __init__(self, box: Sandbox, place: Place, folder: Path) -> None:
        super().__init__(box, folder)
        self.place = place

    def store(self) -> StateStore:
        return store_in(self.folder, self.place.open())


@contextmanager
def machines() -> Iterator[tuple[Machine, Machine]]:
    """Two machines with a state on a web server."""
    with tempfile.TemporaryDirectory() as name, running(Path(name)) as here:
        folder = Path(name)
        with SERVED["https"](folder) as place:
            yield Machine(here.box, place, folder / "one"), Machine(here.box, place, folder / "other")


def finish(machine: Machine, serial: int) -> None:
    """What a second machine does after the first is gone: resume, or apply anew where nothing had begun."""
    store = machine.store()
    with store.lock("resume", over=True):
        ledger = store.load()
        begun = bool(store.unfinished())
    if begun:
        assert machine.resume().whole
    elif ledger.serial == serial:
        assert machine.apply(machine.plan(ALSO_TEAMS, AFTER)).whole


@pytest.fixture(scope="module")
def uninterrupted() -> tuple[list[str], object]:
    """The moments of a run that nobody kills, and how all is in the end."""
    with machines() as (one, other):
        plan = prepared(one)
        with killed_at(None) as moments:
            assert one.apply(plan).whole
        assert other.plan(ALSO_TEAMS, AFTER).changes == ()
        return moments.names, state_of(one)


@pytest.mark.parametrize("part", range(2))
def test_killed_at_any_moment_another_machine_ends_it(part: int, uninterrupted: tuple[list[str], object]) -> None:
    """Port and the ledger are as after an unbroken run, everything made is ours, and nothing is left to do."""
    names, end = uninterrupted
    assert sum(name.startswith("before storing runs/") for name in names) >= 4
    for fatal in distinct(names)[3 * part :: 6]:
        with machines() as (one, other):
            plan = prepared(one)
            with killed_at(fatal):
                one.apply(plan)
            finish(other, plan.base.serial)
            assert state_of(other) == end, f"killed at {fatal}, {names[fatal - 1]}"
            assert other.plan(ALSO_TEAMS, AFTER).changes == ()
            assert one.plan(ALSO_TEAMS, AFTER).changes == (), "the first machine is back"


def test_another_machine_reverts_and_shows(uninterrupted: tuple[list[str], object]) -> None:
    """A run's journal is found wherever it ran."""
    del uninterrupted
    with machines() as (one, other):
        assert one.apply(one.plan(ALSO_TEAMS, BEFORE)).whole
        plan = one.plan(ALSO_TEAMS, AFTER)
        result = one.apply(plan)
        record = other.store().run(result.run)
        assert record is not None
        assert set(record.statuses.values()) == {"done"}
        revert = other.revert(result.run)
        assert statuses(plan, result.outcomes).keys() == {c.identifier for c in revert.changes}
        assert other.apply(revert).whole
        assert one.plan(ALSO_TEAMS, BEFORE).changes == ()
