"""Journals that travel: what a machine that is gone had told, on every backend, with its real protocol."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from pdsync.errors import StalePlan, StateError, error
from pdsync.model import ExistingEntity, Outcome, RunHead
from pdsync.sealing import Keyring, is_sealed, new_key, parse_key
from pdsync.state import carried as module
from pdsync.state.backends.local import LocalBackend
from pdsync.state.backends.sealed import SealedBackend
from pdsync.state.carried import INDEX, Carried, CarriedJournals, Carrier, all_unknown
from pdsync.state.journal import Journal, parse_journal
from pdsync.state.migrate import migrate
from pdsync.state.open import Places
from pdsync.state.rekey import rekey
from tests.state.places import ENVIRONMENT, PLACES, SERVED, Place
from tests.state.runs import before, begin, crash, end, numbers, plan_of_each, store_in

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pdsync.model import RunRecord
    from pdsync.state.backends import Backend
    from pdsync.state.store import StateStore

PLAN = plan_of_each()
N = numbers(PLAN)
RING, OTHER_RING = (Keyring(parse_key(new_key(), "test")) for _ in range(2))
GONE = ExistingEntity({"title": "Gone"}, created_at="then")


@pytest.fixture(autouse=True)
def _nobody_left(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a run that ended as a crash does would go on to send ends with its test."""
    at_work: list[Carrier] = []
    live = Carrier._live

    def noted(self: Carrier) -> None:
        at_work.append(self)
        live(self)

    monkeypatch.setattr(Carrier, "_live", noted)
    yield
    for carrier in at_work:
        carrier._ended.set()


@pytest.fixture(scope="module", params=PLACES)
def shared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ENVIRONMENT.items():
            patch.setenv(name, value)
        with PLACES[request.param](tmp_path_factory.mktemp(request.param)) as place:
            yield place


@pytest.fixture
def place(shared: Place) -> Iterator[Place]:
    """A place where nothing is kept that anybody would find."""
    yield shared
    keeper = shared.open()
    keeper.delete("ledger.jsonl")
    keeper.runs().delete(INDEX)


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Place]:
    with SERVED["https"](tmp_path) as place:
        yield place


def machine(place: Place, folder: Path) -> StateStore:
    """The state as a process on a machine of its own opens it."""
    return store_in(folder, place.open())


def prepared(place: Place, folder: Path) -> StateStore:
    """A machine that has saved the ledger that the plan is made on."""
    store = machine(place, folder)
    store.load()
    store.save(before(), deletes=0)
    return store


def of(store: StateStore) -> Journal:
    owned = store.load()
    return store.begin(plan_of_each(replace(before(), lineage=owned.lineage, serial=owned.serial)))


def seen(store: StateStore) -> list[RunRecord]:
    """The open runs, as one who holds the lock sees them."""
    with store.lock("resume", over=True):
        store.load()
        return store.unfinished()


# --- every backend


def test_a_run_whose_machine_is_gone_is_seen_elsewhere(place: Place, tmp_path: Path) -> None:
    """The plan, what was to be deleted, and who it was; whatever is not known to have ended is unknown."""
    journal = of(prepared(place, tmp_path / "one"))
    asyncio.run(journal.keep({N["gone"]: GONE}))
    begin(journal, N["new"])
    end(journal, Outcome(N["new"], "done"))
    crash(journal)
    other = machine(place, tmp_path / "other")
    (record,) = seen(other)
    assert (record.head, record.plan, record.images) == (journal.head, journal.plan, {N["gone"]: GONE})
    assert set(record.statuses) == {change.n for change in journal.plan.changes}
    assert set(record.statuses.values()) == {"unknown"}
    assert other.load().entities.keys() == before().entities.keys() | {
        c.key for c in PLAN.changes if c.action == "create" and c.target == "entity"
    }


def test_a_run_that_ended_is_whole_elsewhere(place: Place, tmp_path: Path) -> None:
    """Its journal is the very same, it is not open, and both machines tell of it alike."""
    one = prepared(place, tmp_path / "one")
    journal = of(one)
    begin(journal, N["new"], N["old"])
    end(journal, Outcome(N["new"], "done"), Outcome(N["old"], "failed", "no"))
    assert one.finish(journal).problem is None
    other = machine(place, tmp_path / "other")
    assert seen(other) == []
    record, here = other.run(journal.run), one.run(journal.run)
    assert record is not None
    assert here is not None
    assert replace(record, closed=here.closed) == here
    assert other.history() == one.history()


def test_parts_that_were_sent_are_known(place: Place, tmp_path: Path) -> None:
    """As time goes by, what has ended is told; only what came after the last part is unknown."""
    journal = of(prepared(place, tmp_path / "one"))
    begin(journal, N["new"], N["old"])
    end(journal, Outcome(N["new"], "done"))
    assert journal._carrier is not None
    journal._carrier.send()
    end(journal, Outcome(N["old"], "done"))
    crash(journal)
    (record,) = seen(machine(place, tmp_path / "other"))
    assert (record.statuses[N["new"]], record.statuses[N["old"]], record.statuses[N["same"]]) == (
        "done",
        "unknown",
        "unknown",
    )


def test_of_two_who_write_the_list_both_are_in_it(place: Place) -> None:
    """It is written anew on what the other one wrote."""
    one, other = CarriedJournals(place.open().runs()), CarriedJournals(place.open().runs())
    one.note({"a": Carried("a", 1, 10)})
    other.note({"b": Carried("b", 2, 20)})
    one.close(lambda run: run == "a", 7, {})
    assert other.listed() == [Carried("a", 1, 10, 7), Carried("b", 2, 20)]


# --- what is sent when


class Counting:
    """A backend that notes what is stored."""

    def __init__(self, inner: Backend) -> None:
        self.inner = inner
        self.heartbeat = inner.heartbeat
        self.url = inner.url
        self.load, self.delete = inner.load, inner.delete
        self.stored: list[tuple[str, int]] = []
        self.away = False

    def store(self, name: str, data: bytes, expected: str | None) -> str:
        if self.away:
            raise StateError(error("PD550", "the state's store does not answer"))
        self.stored.append((name, len(data)))
        return self.inner.store(name, data, expected)


def carried_in(folder: Path) -> tuple[CarriedJournals, Counting]:
    backend = Counting(LocalBackend(folder / "store"))
    return CarriedJournals(backend), backend  # type: ignore[arg-type]


def journal_in(folder: Path, journals: CarriedJournals) -> Journal:
    return Journal(
        folder / "journal",
        RunHead("20260101T000000Z-aa", "then"),
        PLAN,
        carrier=journals.carrier("20260101T000000Z-aa"),
    )


def test_nothing_is_sent_before_the_first_write_and_nothing_twice(tmp_path: Path) -> None:
    """A run that writes nothing leaves nothing; of one that does, each line is sent once, whatever the plan's size."""
    journals, backend = carried_in(tmp_path)
    journal = journal_in(tmp_path, journals)
    asyncio.run(journal.keep({N["gone"]: GONE}))
    assert backend.stored == []
    begin(journal, N["new"])
    assert [name for name, _ in backend.stored] == [f"runs/{journal.run}/0.jsonl", INDEX]
    for _ in range(3):
        end(journal, Outcome(N["new"], "done"))
        assert journal._carrier is not None
        journal._carrier.send()
        journal._carrier.send()
    assert [size < 60 for name, size in backend.stored[2:]] == [True] * 3
    end(journal, Outcome(N["old"], "failed", "no"))
    told = journal.arrive()
    assert told is not None
    found = journals.read(journal.run)
    assert found == (journal.path.read_bytes(), True)
    assert (told.parts, told.size) == (5, sum(size for name, size in backend.stored if name != INDEX))
    assert parse_journal(found[0], "here").statuses == journal.statuses


def test_no_write_begins_while_its_journal_cannot_travel(tmp_path: Path) -> None:
    """The store is away before the first write: nothing may begin, then and later."""
    journals, backend = carried_in(tmp_path)
    journal = journal_in(tmp_path, journals)
    backend.away = True
    for _ in range(2):
        with pytest.raises(StateError, match="does not answer"):
            begin(journal, N["new"])
    backend.away = False
    with pytest.raises(StateError, match="does not answer"):
        begin(journal, N["new"])
    assert journal.begun == set()


def test_what_could_not_be_sent_is_sent_next_time(tmp_path: Path) -> None:
    """Also what had arrived though nobody said so; in the order in which it came."""
    journals, backend = carried_in(tmp_path)
    journal = journal_in(tmp_path, journals)
    begin(journal, N["new"])
    assert journal._carrier is not None
    end(journal, Outcome(N["new"], "done"))
    backend.away = True
    with pytest.raises(StateError):
        journal._carrier.send()
    backend.away = False
    backend.inner.store(f"runs/{journal.run}/1.jsonl", journal._carrier._part, None)
    end(journal, Outcome(N["old"], "done"))
    journal._carrier.send()
    assert journals.read(journal.run) == (journal.path.read_bytes(), False)


def test_a_part_of_somebody_else_is_not_overwritten(tmp_path: Path) -> None:
    """Two runs of one name cannot be; what is there stays, and the run ends."""
    journals, backend = carried_in(tmp_path)
    backend.inner.store("runs/20260101T000000Z-aa/0.jsonl", b"theirs\n", None)
    with pytest.raises(StalePlan):
        begin(journal_in(tmp_path, journals), N["new"])
    assert journals.read("20260101T000000Z-aa") == (b"theirs\n", False)


def test_parts_come_by_themselves(tmp_path: Path) -> None:
    """From a thread of their own, which ends with the run."""
    journals, backend = carried_in(tmp_path)
    backend.heartbeat = 0.01
    journal = journal_in(tmp_path, journals)
    begin(journal, N["new"])
    end(journal, Outcome(N["new"], "done"))
    while len(backend.stored) <= 2:
        asyncio.run(asyncio.sleep(0.01))
    assert backend.stored[2][0] == f"runs/{journal.run}/1.jsonl"
    journal.arrive()
    assert journal._carrier is not None
    assert journal._carrier._thread is not None
    assert not journal._carrier._thread.is_alive()


def test_too_many_journals_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest closed ones, with all their parts; open ones stay."""
    monkeypatch.setattr(module, "KEPT_RUNS", 2)
    journals, _ = carried_in(tmp_path)
    for name in ("1", "2", "3", "4"):
        journals.put(name, b"one\ntwo\n", None)
    journals.close(lambda run: run != "2", 9, {})
    assert [each.run for each in journals.listed()] == ["2", "3", "4"]
    assert [journals.read(name) for name in ("1", "2")] == [None, (b"one\ntwo\n", True)]


# --- the other machine


def test_who_only_looks_takes_a_run_at_work_for_what_it_told(web: Place, tmp_path: Path) -> None:
    """Without the lock it may be alive: nothing more than was told counts; and it is said that there is one."""
    journal = of(prepared(web, tmp_path / "one"))
    begin(journal, N["new"])
    said: list[str] = []
    other = machine(web, tmp_path / "other")
    other._notify = said.append
    other.load()
    assert [record.statuses for record in other.unfinished()] == [{N["new"]: "unknown"}]
    assert [journal.run in text for text in said] == [True]
    crash(journal)


@pytest.mark.parametrize("elsewhere", [True, False], ids=["another machine", "the one that ran"])
def test_a_ledger_that_went_back_is_named(web: Place, tmp_path: Path, *, elsewhere: bool) -> None:
    """Where the last run was saved in a newer ledger than there is, or there is none any more; else nothing is said."""
    backend, one = web.open(), prepared(web, tmp_path / "one")
    older = backend.load("ledger.jsonl")
    run = of(one)
    begin(run, N["new"])
    end(run, Outcome(N["new"], "done"))
    saved = one.finish(run).ledger.serial
    said: list[str] = []
    store = machine(web, tmp_path / ("other" if elsewhere else "one"))
    store._notify = said.append
    store.load()
    assert (older is not None, said) == (True, [])
    backend.delete("ledger.jsonl")
    store.load()
    backend.store("ledger.jsonl", older.data if older else b"", None)
    store.load()
    began = [text.partition(":")[0] for text in said]
    assert began == [
        f"{there}, yet run {run.run} was saved in serial {saved}"
        for there in ("there is no ledger", f"the ledger has serial {saved - 1}")
    ]


def test_the_machine_that_ran_knows_more(web: Place, tmp_path: Path) -> None:
    """There the journal on disk is read, with all that had ended."""
    journal = of(prepared(web, tmp_path / "one"))
    begin(journal, N["new"])
    end(journal, Outcome(N["new"], "done"))
    crash(journal)
    (record,) = seen(machine(web, tmp_path / "one"))
    assert record.statuses == {N["new"]: "done"}


def test_once_another_machine_has_entered_it_a_run_is_closed(web: Place, tmp_path: Path) -> None:
    """Its outcome is in the ledger: neither machine takes it up again."""
    journal = of(prepared(web, tmp_path / "one"))
    begin(journal, N["new"])
    crash(journal)
    other = machine(web, tmp_path / "other")
    with other.lock("apply"):
        other.save(other.load(), deletes=0)
    assert (seen(other), seen(machine(web, tmp_path / "one"))) == ([], [])
    assert [each.closed for each in CarriedJournals(web.open().runs()).listed()] == [2]


def test_a_damaged_list_is_named(web: Place, tmp_path: Path) -> None:
    """With what may be done."""
    store = prepared(web, tmp_path / "one")
    web.open().runs().store(INDEX, b'{"format":"pdsync-runs","version":1}\nnonsense\n', None)
    with pytest.raises(StateError, match="list of runs is damaged"):
        store.load()


def test_all_that_did_not_end_is_unknown() -> None:
    """What has ended stays as it is told."""
    record = parse_journal(_record(), "here")
    assert all_unknown(record).statuses == {c.n: "failed" if c.n == 1 else "unknown" for c in PLAN.changes}


def _record() -> bytes:
    from pdsync.state.journal import _first_line

    return b"".join(_first_line(RunHead("20260101T000000Z-aa", "then"), PLAN)) + b'\n{"end":[[1,"failed",""]]}\n'


# --- moved, and another key


def finished(place: Place, folder: Path) -> str:
    """A run that has ended, and one whose machine is gone; the first one's name."""
    one = prepared(place, folder)
    journal = of(one)
    begin(journal, N["new"])
    end(journal, Outcome(N["new"], "done"))
    assert one.finish(journal).problem is None
    return journal.run


def test_journals_move_with_the_state(web: Place, tmp_path: Path) -> None:
    """From a state that machines share to a folder and back: every run is told of as before."""
    run = finished(web, tmp_path / "one")
    before_move = machine(web, tmp_path / "other").run(run)
    folder = LocalBackend(tmp_path / "folder")
    shared = Places(web.open(), LocalBackend(tmp_path / "cache"), web.url)
    moved = migrate(shared, Places(folder, folder, folder.url), None, at="now", journals=True)
    assert moved.journals == 1
    assert store_in(folder.folder).run(run) == before_move
    with SERVED["s3"](tmp_path / "s3") as elsewhere:
        there = Places(elsewhere.open(), LocalBackend(tmp_path / "cache2"), elsewhere.url)
        migrate(Places(folder, folder, folder.url), there, None, at="now", journals=True)
        store = machine(elsewhere, tmp_path / "third")
        assert store.run(run) == before_move
        assert seen(store) == []


def test_a_journal_that_is_not_whole_does_not_move_to_a_folder(web: Place, tmp_path: Path) -> None:
    """There nobody could tell any more what is not known."""
    journal = of(prepared(web, tmp_path / "one"))
    begin(journal, N["new"])
    crash(journal)
    folder = LocalBackend(tmp_path / "folder")
    shared = Places(web.open(), LocalBackend(tmp_path / "cache"), web.url)
    with pytest.raises(StateError, match="cut short elsewhere"):
        migrate(shared, Places(folder, folder, folder.url), None, at="now", journals=True)


@pytest.mark.parametrize("ring", [None, RING], ids=["plain", "sealed"])
@pytest.mark.parametrize(("kept", "told"), [(-5, [{N["new"]: "unknown"}]), (300, [])], ids=["its last", "its first"])
def test_a_line_that_a_crash_has_cut_does_not_move(
    web: Place, tmp_path: Path, kept: int, told: list[dict[int, str]], ring: Keyring | None
) -> None:
    """Any machine reads what was whole; a run that was cut in its first line never began.  So it is with another key."""
    folder = LocalBackend(tmp_path / "folder")
    one = store_in(folder.folder)
    one.save(before(), deletes=0)
    journal = of(one)
    begin(journal, N["new"])
    end(journal, Outcome(N["new"], "done"))
    crash(journal)
    source = Places(folder, folder, folder.url)
    rekey(source, None, ring)
    journal.path.write_bytes(journal.path.read_bytes()[:kept])
    rekey(source, ring, None)
    target = Places(web.open(), LocalBackend(tmp_path / "cache"), web.url)
    migrate(source, target, None, at="now", journals=True)
    for machine_ in (store_in(tmp_path / "cache", web.open()), machine(web, tmp_path / "other")):
        machine_.load()
        assert [record.statuses for record in machine_.unfinished()] == told


def test_journals_are_encrypted_on_their_way_and_get_a_new_key(web: Place, tmp_path: Path) -> None:
    """Nothing readable arrives; with another key all of it is read, also when that was broken off before."""
    run = finished(web, tmp_path / "one")
    places = Places(web.open(), LocalBackend(tmp_path / "cache"), web.url)
    for have, want in ((None, RING), (RING, RING), (RING, OTHER_RING)):
        rekey(places, have, want)
        kept = [stored.data for name in _names(web, want) if (stored := web.open().runs().load(name))]
        assert len(kept) > 2
        assert all(map(is_sealed, kept))
        assert CarriedJournals(SealedBackend(web.open().runs(), want)).read(run)
    with pytest.raises(StateError):
        CarriedJournals(SealedBackend(web.open().runs(), RING)).read(run)


def _names(place: Place, ring: Keyring) -> list[str]:
    return list(CarriedJournals(SealedBackend(place.open().runs(), ring)).names())
