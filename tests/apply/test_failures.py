"""A state that cannot be written: full disks, read-only folders, a store that goes away, somebody who is faster."""

from __future__ import annotations

import errno
import tempfile
from pathlib import Path
from threading import Barrier, Thread
from typing import TYPE_CHECKING

import pytest

from pdsync.cli.results import exit_code_of
from pdsync.errors import StateError
from pdsync.state.ledger_file import parse_ledger
from tests.apply.failing import failing_from
from tests.apply.running import Here, running
from tests.apply.test_elsewhere import Machine, machines
from tests.apply.test_resume import AFTER, ALSO_TEAMS, finish, prepared, state_of

if TYPE_CHECKING:
    from pdsync.apply import ApplyResult


BEGINS = 3
"""So many writes begin a journal and keep in it what will be deleted; without them nothing is begun."""


@pytest.fixture(scope="module")
def unbroken() -> tuple[int, object]:
    """How many durable writes a run makes, and how all is in the end."""
    with tempfile.TemporaryDirectory() as folder, running(Path(folder)) as here:
        plan = prepared(here)
        with failing_from(None) as disk:
            assert here.apply(plan).whole
        return disk.count, state_of(here)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS], ids=["full", "read-only"])
def test_a_disk_that_fails_at_any_write_loses_nothing(number: int, unbroken: tuple[int, object]) -> None:
    """From whichever write on: what was done is told, or why nothing was; once there is room the rest is done."""
    count, end = unbroken
    assert count > 10
    with tempfile.TemporaryDirectory() as folder, running(Path(folder)) as here:
        plan = prepared(here)
        back = here.kept()
        for first in range(1 + (number == errno.EROFS), count + 1, 3):
            back()
            if first <= BEGINS:
                with failing_from(first, number), pytest.raises(StateError, match="cannot write the journal"):
                    here.apply(plan)
            else:
                with failing_from(first, number):
                    result = here.apply(plan)
                told = (result.problem is not None, exit_code_of(result) != 0)
                saved = first == count  # the last one only says in the journal that the ledger holds the run
                assert told == (not saved, not saved), f"from write {first} on"
            finish(here, plan)
            assert state_of(here) == end, f"from write {first} on"
            assert here.plan(ALSO_TEAMS, AFTER).changes == ()


def test_nothing_is_written_to_port_without_a_journal(here: Here) -> None:
    """A folder that cannot be written to: said before the first write."""
    plan = prepared(here)
    here.box.log.clear()
    with failing_from(1, errno.EROFS), pytest.raises(StateError, match="cannot write the journal") as caught:
        here.apply(plan)
    assert (caught.value.exit_code, here.box.log.port_writes()) == (1, [])
    assert "Read-only file system" in caught.value.diagnostics[0].detail


# --- a store that goes away


def apply_while_the_store_goes_away(one: Machine) -> ApplyResult:
    """From the first outcome on the store does not answer any more."""
    plan = prepared(one)
    return one.apply(plan, progress=lambda *_: one.place.shelf.faults.extend(["broken"] * 1000))


@pytest.mark.parametrize("way", ["push", "push elsewhere", "resume elsewhere", "the next run"])
def test_a_store_that_goes_away_in_the_middle(way: str, unbroken: tuple[int, object]) -> None:
    """Everything is written, loudly not saved, and beside; each way that is told of brings it back."""
    with machines() as (one, other):
        result = apply_while_the_store_goes_away(one)
        assert (result.count("done"), result.saved) == (len(result.plan.changes), False)
        assert result.problem is not None
        (told,) = result.problem.diagnostics
        (rescued,) = one.folder.glob("rescued-*.jsonl")
        assert (exit_code_of(result), told.code) == (1, "PD526")
        assert f"pdsync state push {rescued}" in told.hint
        one.place.shelf.faults.clear()
        machine = other if "elsewhere" in way else one
        if way.startswith("push"):
            store = machine.store()
            with store.lock("state push", over=True):
                store.load()
                store.push(parse_ledger(rescued.read_bytes(), "rescued"))
        elif way.startswith("resume"):
            assert machine.resume().whole
        assert one.plan(ALSO_TEAMS, AFTER).changes == ()
        if way != "the next run":
            assert state_of(other) == unbroken[1]
            assert other.plan(ALSO_TEAMS, AFTER).changes == ()


def test_a_store_that_is_away_before_the_first_write_prevents_it() -> None:
    """Nobody else could tell what this run would have done."""
    with machines() as (one, _):
        plan = prepared(one)
        one.box.log.clear()
        one.place.shelf.faults.extend(["broken"] * 1000)
        with pytest.raises(StateError, match="does not answer"):
            one.apply(plan)
        one.place.shelf.faults.clear()
        assert one.box.log.port_writes() == []
        assert one.apply(plan).whole


# --- two at once


def test_of_two_who_apply_at_once_one_is_told_and_can_resume(unbroken: tuple[int, object]) -> None:
    """Both have no lock in common: one of them saves, the other enters its own by resume, and nothing is lost.

    A blueprint that the other one was first to make is somebody else's: that change fails, and what waits for it.
    """
    with machines() as (one, other):
        plan = prepared(one)
        results: list[ApplyResult] = []
        meet = Barrier(2)

        def apply(machine: Machine) -> None:
            meet.wait()
            results.append(machine.apply(plan))

        threads = [Thread(target=apply, args=[machine]) for machine in (one, other)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        loser = next(result for result in results if result.problem is not None)
        winner = next(result for result in results if result is not loser)
        missed = [{each.n for each in result.outcomes if each.status != "done"} for result in (winner, loser)]
        assert missed[0].isdisjoint(missed[1])
        assert exit_code_of(winner) == (6 if missed[0] else 0)
        assert (exit_code_of(loser), loser.saved) == (6, False)
        machine = next(m for m in (one, other) if (m.folder / "journal" / f"{loser.run}.jsonl").exists())
        machine.resume(loser.run)
        assert state_of(one)[:3] == unbroken[1][:3]  # type: ignore[index]
        assert other.plan(ALSO_TEAMS, AFTER).changes == ()
