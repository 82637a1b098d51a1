"""The store: compare-and-swap, never emptied, and runs that were cut short are made good."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from pdsync.errors import Locked, StalePlan, StateError
from pdsync.model import EntityKey, Ledger, LedgerEntry, Outcome, Snapshot
from pdsync.state.journal import read_journal
from pdsync.state.ledger_file import checksum_of, dump_ledger
from pdsync.state.open import Surroundings, open_store
from tests.builders import BASE, catalog, desired, existing, have, plan, rule
from tests.state.runs import SERVICE, before, begin, crash, end, numbers, plan_of_each, store_in

if TYPE_CHECKING:
    from pathlib import Path

    from pdsync.model import Plan
    from pdsync.state.store import StateStore

ONE = Ledger("", entities={EntityKey("service", "a"): LedgerEntry({"title": "A"}, "created")})


def begun_on(store: StateStore) -> Plan:
    """A store that holds `before()`, and the plan made on it."""
    return plan_of_each(store.save(before(), deletes=0))


def test_at_first_nothing_is_owned(tmp_path: Path) -> None:
    """Without a file the ledger is empty, has serial 0 and no lineage."""
    assert store_in(tmp_path).load() == Ledger("")


def test_saving_counts_and_chains(tmp_path: Path) -> None:
    """Lineage is drawn once, the serial grows by one, each ledger names the checksum of the one before."""
    store = store_in(tmp_path)
    store.load()
    first = store.save(ONE, deletes=0)
    second = store.save(replace(first, commit="c2"), deletes=0)
    assert (first.serial, first.parent, second.serial, second.lineage) == (1, "", 2, first.lineage)
    assert second.parent == checksum_of(dump_ledger(first))
    assert store_in(tmp_path).load() == second


def test_of_two_stores_one_wins(tmp_path: Path) -> None:
    """A store that did not see the last save is refused with exit code 4, and nothing is merged."""
    winner, loser = store_in(tmp_path), store_in(tmp_path)
    start = winner.load()
    loser.load()
    won = winner.save(replace(start, commit="mine"), deletes=0)
    with pytest.raises(StalePlan) as caught:
        loser.save(replace(start, commit="theirs"), deletes=0)
    assert (caught.value.exit_code, store_in(tmp_path).load()) == (4, won)


@pytest.mark.parametrize("removed", [0, 1, 2])
def test_an_empty_ledger_never_replaces_a_full_one(tmp_path: Path, removed: int) -> None:
    """Only as many entities may go at once to nothing as were removed on purpose."""
    store = store_in(tmp_path)
    store.load()
    held = store.save(before(), deletes=0)
    with pytest.raises(StateError) as caught:
        store.save(replace(held, entities={}), deletes=removed)
    assert (caught.value.diagnostics[0].code, store_in(tmp_path).load()) == ("PD504", held)


def test_a_ledger_is_emptied_by_removing_everything(tmp_path: Path) -> None:
    """When all that was owned is removed the ledger may be empty."""
    store = store_in(tmp_path)
    store.load()
    held = store.save(before(), deletes=0)
    assert store.save(replace(held, entities={}), deletes=len(held.entities)).entities == {}


def test_a_damaged_ledger_stops_everything(tmp_path: Path) -> None:
    """It is never taken for nothing owned."""
    store_in(tmp_path).save(ONE, deletes=0)
    file = tmp_path / "ledger.jsonl"
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(StateError) as caught:
        store_in(tmp_path).load()
    assert (caught.value.diagnostics[0].code, str(file) in str(caught.value)) == ("PD501", True)


def test_a_plan_made_on_another_serial_is_stale(tmp_path: Path) -> None:
    """Before anything is journalled or written."""
    store = store_in(tmp_path)
    made = begun_on(store)
    store.save(store.load(), deletes=0)
    with pytest.raises(StalePlan) as caught:
        store.begin(made)
    assert ("serial" in str(caught.value), list(tmp_path.glob("journal/*"))) == (True, [])


def test_a_ledger_that_has_moved_since_it_was_loaded_begins_nothing(tmp_path: Path) -> None:
    """Somebody else saved while this run was reading: it is said before the first write, not after the last."""
    store, other = store_in(tmp_path), store_in(tmp_path)
    made = begun_on(store)
    other.save(other.load(), deletes=0)
    with pytest.raises(StalePlan, match="nothing was written"):
        store.begin(made)
    assert list(tmp_path.glob("journal/*")) == []


def test_a_plan_of_another_lineage_is_stale(tmp_path: Path) -> None:
    """A state of the same age that began elsewhere is another state."""
    store = store_in(tmp_path)
    made = begun_on(store)
    with pytest.raises(StalePlan):
        store.begin(replace(made, base=replace(made.base, lineage="another")))


def test_a_finished_run_is_in_the_ledger_and_closed(tmp_path: Path) -> None:
    """Outcomes are entered, saved under the next serial, and the journal says which one holds them."""
    store = store_in(tmp_path)
    made = begun_on(store)
    journal = store.begin(made)
    end(journal, *(Outcome(n, "done") for n in numbers(made).values()))
    saved = store.finish(journal).ledger
    assert (saved.serial, sorted(key.identifier for key in saved.entities)) == (2, ["new", "old", "same"])
    assert read_journal(journal.path).closed == 2
    assert store_in(tmp_path).load() == saved


def test_what_began_and_did_not_end_stays_ours(tmp_path: Path) -> None:
    """After a crash in the middle of a write: created things are ours, not somebody else's; deletes are open."""
    store = store_in(tmp_path)
    made = begun_on(store)
    n = numbers(made)
    journal = store.begin(made)
    begin(journal, n["new"], n["gone"])
    crash(journal)
    again = store_in(tmp_path)
    ledger = again.load()
    assert ledger.entities[EntityKey("service", "new")].origin == "created"
    assert EntityKey("service", "gone") in ledger.entities
    assert [record.closed for record in again.unfinished()] == [None]


def test_what_a_finished_run_left_open_stays_ours(tmp_path: Path) -> None:
    """A run that was stopped after a write began, but could still finish, does not forget that write."""
    store = store_in(tmp_path)
    made = begun_on(store)
    journal = store.begin(made)
    begin(journal, numbers(made)["new"])
    saved = store.finish(journal).ledger
    assert saved.entities[EntityKey("service", "new")].origin == "created"


def test_two_crashes_in_a_row_are_both_replayed(tmp_path: Path) -> None:
    """A run on top of a replayed one that crashes, too, loses nothing of either."""
    store = store_in(tmp_path)
    made = begun_on(store)
    n = numbers(made)
    journal = store.begin(made)
    begin(journal, n["new"])
    crash(journal)
    second = store_in(tmp_path)
    second.load()
    journal = second.begin(made)
    end(journal, Outcome(n["gone"], "done"))
    crash(journal)
    ledger = store_in(tmp_path).load()
    assert EntityKey("service", "new") in ledger.entities
    assert EntityKey("service", "gone") not in ledger.entities


def test_a_run_is_replayed_until_a_save_holds_it(tmp_path: Path) -> None:
    """The next save contains the replayed outcomes; from then on the old journal is only history."""
    store = store_in(tmp_path)
    made = begun_on(store)
    journal = store.begin(made)
    begin(journal, numbers(made)["new"])
    crash(journal)
    second = store_in(tmp_path)
    saved = second.save(second.load(), deletes=0)
    third = store_in(tmp_path)
    assert (third.load(), third.unfinished(), len(third.history())) == (saved, [], 1)


def test_a_removal_that_was_cut_short_can_be_ended(tmp_path: Path) -> None:
    """Deletes that an interrupted run had done explain the empty ledger that the next run leaves."""
    store = store_in(tmp_path)
    empty = catalog([SERVICE], [rule()])
    owned = store.save(before(), deletes=0)
    from pdsync.plan import Facts, Scope, make_plan

    def allowed(number: int) -> Scope:
        return Scope(allow_deletes={"service": number})

    held = existing([SERVICE], {k: have(tier="1") for k in ("old", "gone", "lost")})
    base = replace(BASE, lineage=owned.lineage, serial=owned.serial)
    made = make_plan(Facts(empty, desired(), held, owned), base, allowed(3))
    assert [c.action for c in made.changes] == ["delete"] * 3
    journal = store.begin(made)
    end(journal, Outcome(1, "done"), Outcome(2, "done"))
    crash(journal)
    again = store_in(tmp_path)
    left = again.load()
    assert len(left.entities) == 1
    held = existing([SERVICE], {made.changes[2].identifier: have(tier="1")})
    rest = make_plan(Facts(empty, desired(), held, left), base, allowed(1))
    journal = again.begin(rest)
    end(journal, Outcome(1, "done"))
    assert again.finish(journal).ledger.entities == {}


def test_settling_a_plan_without_changes_moves_the_commit_once(tmp_path: Path) -> None:
    """An empty plan of a newer commit is noted; the same one again stores nothing."""
    from pdsync.plan import Facts

    store = store_in(tmp_path)
    owned = store.save(replace(before(), entities={}), deletes=0)
    made = plan(Facts(catalog([SERVICE], [rule()]), desired(), existing([SERVICE], {}), owned))
    made = replace(made, base=replace(made.base, lineage=owned.lineage, serial=owned.serial, commit="new"))
    first = store.settle(made)
    second = store.settle(replace(made, base=replace(made.base, serial=first.serial)))
    assert (first.commit, first.serial, second.serial) == ("new", 2, 2)


def test_a_snapshot_is_kept_and_replaced(tmp_path: Path) -> None:
    """The last snapshot wins, whoever took it."""
    one, other = store_in(tmp_path), store_in(tmp_path)
    assert one.load_snapshot() is None
    one.save_snapshot(Snapshot("pd", "t1", {}))
    other.save_snapshot(Snapshot("pd", "t2", {}))
    one.save_snapshot(Snapshot("pd", "t3", {}))
    kept = other.load_snapshot()
    assert kept is not None
    assert kept.taken_at == "t3"
    assert (tmp_path / "snapshot.jsonl").stat().st_mode & 0o777 == 0o600


def test_a_held_lock_is_refused_with_its_holder(tmp_path: Path) -> None:
    """Exit code 5, with who, what for and since when."""
    with store_in(tmp_path).lock("apply"), pytest.raises(Locked) as caught, store_in(tmp_path).lock("destroy"):
        pass
    told = str(caught.value)
    assert (caught.value.exit_code, f"me@here, pid {os.getpid()}" in told, "apply by" in told) == (5, True, True)


@pytest.mark.parametrize("url", ["", "{folder}/state", "file://{folder}/state"])
def test_a_state_url_may_be_a_folder(tmp_path: Path, url: str) -> None:
    """An empty one is `state/` beside the catalog."""
    (tmp_path / "catalog").mkdir()
    around = Surroundings(tmp_path / "catalog")
    store = open_store(url.format(folder=tmp_path), around, now=lambda: "t", new_id=lambda: "0" * 16)
    store.save(ONE, deletes=0)
    assert (tmp_path / "state" / "ledger.jsonl").exists()
