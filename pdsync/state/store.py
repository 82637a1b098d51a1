"""The state kept honest: loaded with what a broken run left behind, saved under compare-and-swap, never emptied."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pdsync import files
from pdsync.errors import Diagnostic, Locked, Severity, StalePlan, StateError, error
from pdsync.memo import Memo, dump_memo, read_memo, rules_in
from pdsync.model import Ledger, Plan, RunHead, RunNote, RunRecord, Snapshot
from pdsync.plan import Scope
from pdsync.plan.rest import dump_rest, parse_rest
from pdsync.plan.unchanged import dump_unchanged, parse_unchanged
from pdsync.sealing import new_veil, seal
from pdsync.spool import Aside, lines
from pdsync.state.carried import all_unknown
from pdsync.state.holding import Verdict, holder_of, holding, in_the_way, watch
from pdsync.state.journal import (
    Journal,
    close_journal,
    has_a_line,
    open_paths,
    parse_journal,
    paths,
    read_journal,
    read_open_journals,
    serial_at_end,
)
from pdsync.state.ledger_file import checksum_of, dump_ledger, parse_ledger
from pdsync.state.moved import still_here
from pdsync.state.runs import (
    RUN,
    after_run,
    before_run,
    holds,
    is_astray,
    is_replayable,
    next_run_id,
    note_of,
    prune,
    with_note,
)
from pdsync.state.snapshot_file import dump_snapshot, parse_counts, parse_digest, read_snapshot
from pdsync.state.succession import successor

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from pdsync.completeness import Seen
    from pdsync.model import Query
    from pdsync.plan.rest import Rest
    from pdsync.plan.unchanged import Remembered, Unchanged
    from pdsync.sealing import Keyring
    from pdsync.state.backends import Backend, Cache, LockInfo
    from pdsync.state.carried import Carried, CarriedJournals
    from pdsync.state.holding import Holding

LEDGER = "ledger.jsonl"
SNAPSHOT = "snapshot.jsonl"
APPLIED = "applied.jsonl"
MEMO = "memo.jsonl"
UNCHANGED = "unchanged.jsonl"
REST = "rest.json"


class Overtaken(StateError):
    """Somebody else saved while a run was at work: what it did is in its journal only."""

    exit_code = 6


@dataclass(frozen=True, slots=True)
class Finished:
    """The ledger after a run, and why it could not be saved if it could not."""

    ledger: Ledger
    problem: StateError | None = None


class Emptied(StateError):
    """A save that would leave nothing of what is owned, and cannot explain it."""


class StateStore:
    """The state behind one backend.

    `journals` is a local folder; `snapshots` keeps the snapshot, which can always be taken again; `new_id` draws a
    random hexadecimal id, `now` the time as RFC 3339 UTC; `who` is user@host, `link` the CI run, `pull` the pull
    request; `notify` is told, in words, what is being waited for.  `keyring` seals the journals; backend and
    snapshots see to theirs themselves.  `carried` are the journals of a state that several machines share.
    """

    def __init__(
        self,
        backend: Backend,
        *,
        journals: Path,
        snapshots: Cache,
        now: Callable[[], str],
        new_id: Callable[[], str],
        who: str = "",
        link: str = "",
        pull: str = "",
        keyring: Keyring | None = None,
        notify: Callable[[str], None] | None = None,
        carried: CarriedJournals | None = None,
    ) -> None:
        self.backend = backend
        self.keyring = keyring
        self.journals = journals
        self.snapshots = snapshots
        self._now, self._new_id, self._who, self._link, self._pull = now, new_id, who, link, pull
        self._notify = notify or (lambda _: None)
        self._version: str | None = None
        self._checksum = ""
        self._stored = Ledger("")
        self._ledger = self._stored
        self._holding: Holding | None = None
        self._carried = carried
        self._elsewhere: list[RunRecord] = []
        self._told: dict[str, Carried] = {}

    @property
    def aside(self) -> Aside:
        """Where records are put aside meanwhile; unreadable for others where the state is encrypted."""
        return Aside(self.snapshots.folder, new_veil if self.keyring else None)

    def load(self) -> Ledger:
        """The ledger, with the outcome of runs that were cut short entered.

        At first it is empty, with serial 0 and no lineage: that is drawn by the first save.
        """
        stored = self.backend.load(LEDGER)
        if stored is None:
            self._version, self._checksum, ledger = None, "", Ledger("")
        else:
            data = still_here(stored.data, self.backend.url)
            ledger = parse_ledger(data, f"{self.backend.url}/{LEDGER}")
            self._version, self._checksum = stored.version, checksum_of(data)
        self._stored = ledger
        listed = self._carried.listed() if self._carried else []
        self._elsewhere = self._runs_elsewhere(listed)
        self._tell_if_older(listed)
        for record in self.unfinished():
            ledger = after_run(ledger, record.plan, record.statuses, record.there)
            if record.statuses:
                serial = self._stored.serial + 1
                ledger = with_note(ledger, note_of(record.head, record.plan, record.statuses, serial))
        self._ledger = ledger
        return ledger

    def unfinished(self) -> list[RunRecord]:
        """Runs on the ledger that was loaded that did not come to their end: it does not hold their outcome."""
        return [record for record in self._open_runs() if is_replayable(record, self._stored)]

    def astray(self) -> list[RunRecord]:
        """Runs that wrote something and could not save it, because somebody else had saved a newer ledger."""
        return [record for record in self._open_runs() if self.is_astray(record)]

    def is_astray(self, record: RunRecord) -> bool:
        """Whether a run wrote something that neither the loaded ledger nor a replay of its journal enters."""
        return record.closed is None and is_astray(record, self._stored)

    def _open_runs(self) -> list[RunRecord]:
        here = read_open_journals(self.journals, self.keyring)
        return sorted([*here, *self._elsewhere], key=lambda record: record.run)

    def _tell_if_older(self, listed: Sequence[Carried]) -> None:
        """Say so where the last run that is known was saved in a newer ledger: this one is old, or all is lost."""
        here = [(path.stem, serial_at_end(path)) for path in paths(self.journals)[-1:]]
        known = [*((each.run, each.closed) for each in listed), *here]
        run, serial = max(((run, closed) for run, closed in known if closed is not None), default=("", 0))
        if serial > (kept := self._stored.serial):
            have = f"the ledger has serial {kept}" if kept else "there is no ledger"
            self._notify(
                f"{have}, yet run {run} was saved in serial {serial}: a newer one was lost, or an older one put back. "
                "Put the newer one back first: without it, what was made since then counts as somebody else's"
            )

    def _runs_elsewhere(self, listed: Sequence[Carried]) -> list[RunRecord]:
        """The open runs of other machines, as far as they were told.

        With the lock in our hands they are dead, and what they did not tell is unknown; else they may be at work.
        """
        wanted = [
            e.run for e in listed if e.closed is None and not (self._is_here(e.run) or holds(self._stored, e.run))
        ]
        records = [record for run in wanted if (record := self._carried_run(run)) is not None]
        for record in records if self._holding is None else ():
            self._notify(f"run {record.run} of another machine has not come to its end: wait for it, or pdsync resume")
        return records

    def _carried_run(self, run: str) -> RunRecord | None:
        """A run of another machine; where its journal did not arrive whole, what is not known is unknown."""
        found = self._carried.read(run) if self._carried else None
        if found is None:
            return None
        record = parse_journal(found[0], f"{self.backend.url}/{run}")
        return record if found[1] or self._holding is None else all_unknown(record)

    def _is_here(self, run: str) -> bool:
        path = self.journals / f"{run}.jsonl"
        return path.exists() and has_a_line(path)

    def history(self) -> list[RunNote]:
        """All runs that the loaded ledger remembers or that were journalled here, oldest first.

        Those that no ledger holds have the serial 0.
        """
        noted = {note.run: note for note in self._stored.runs}
        unknown = [path.stem for path in paths(self.journals) if path.stem not in noted]
        records = [record for run in unknown if (record := self.run(run))]
        records += [record for record in self._elsewhere if record.run not in noted]
        notes = [note_of(r.head, r.plan, r.statuses, r.closed or 0) for r in records]
        return sorted([*noted.values(), *notes], key=lambda note: note.run)

    def applied_elsewhere(self, since: str, shared: str = "") -> bool:
        """Whether another machine has applied since a moment (RFC 3339 UTC), as far as the ledger remembers.

        It is loaded if it was not yet.  The snapshot with the digest `shared` is no older than itself.
        """
        if self._carried is None:
            return False
        if not self._stored.lineage:
            self.load()
        if shared and shared == self._stored.snapshot:
            return False
        return any(note.started >= since and not self._is_here(note.run) for note in self._stored.runs)

    def applied_since(self, since: str, digest: str) -> bool:
        """Whether anybody has applied since a moment (RFC 3339 UTC), with another snapshot than that of a digest."""
        ledger = self.load()
        runs = sum(note.started >= since for note in ledger.runs)
        return runs > (digest == ledger.snapshot)  # of the last run alone is known with which one

    def run(self, run: str) -> RunRecord | None:
        """One run by its journal; None when nothing has it.  Raises `StateError` when it cannot be read."""
        if not RUN.fullmatch(run):
            return None
        here = self._is_here(run)
        return read_journal(self.journals / f"{run}.jsonl", self.keyring) if here else self._carried_run(run)

    def save(self, ledger: Ledger, *, deletes: int) -> Ledger:
        """Store the ledger under the next serial; returns it as stored.

        `deletes` is how many entries this run was to remove: an empty ledger replaces a full one only when that many
        removals explain it.  Raises `StalePlan` when somebody else has saved since `load`.
        """
        lost = len(self._ledger.entities) - len(ledger.entities)
        if not ledger.entities and lost > deletes:
            detail = f"{lost} entities would be forgotten although {deletes} were removed"
            raise Emptied(error("PD504", "an empty ledger would replace a full one", detail=detail))
        lineage = ledger.lineage or self._new_id()
        ledger = replace(ledger, lineage=lineage, serial=self._stored.serial + 1, parent=self._checksum)
        data = dump_ledger(ledger)
        self._version = self.backend.store(LEDGER, data, self._version)
        self._checksum = checksum_of(data)
        self._stored = self._ledger = ledger
        self._close_runs(ledger)
        return ledger

    def push(self, pushed: Ledger, allowed: Collection[str] = ()) -> Ledger:
        """Put a ledger from elsewhere in the place of the one that is kept; returns it as stored.

        Raises `StateError` when it is no successor, but for what is `allowed` (`pdsync.state.succession`), `StalePlan`
        when somebody else has saved since `load`.
        """
        ledger = successor(self._stored, pushed, self._checksum, allowed)
        if ledger != self._stored:
            data = dump_ledger(ledger)
            self._version = self.backend.store(LEDGER, data, self._version)
            self._checksum = checksum_of(data)
            self._stored = self._ledger = ledger
            self._close_runs(ledger)
        return ledger

    def _close_runs(self, ledger: Ledger) -> None:
        """Close the journals of runs that the ledger holds, and of those that came to nothing."""
        for path in open_paths(self.journals, self.keyring):
            if holds(ledger, path.stem) or self._came_to_nothing(path, ledger):
                with suppress(StateError):  # the ledger says it, too: the next save closes it
                    close_journal(path, ledger.serial, self.keyring)
        if self._carried:
            with suppress(StateError):
                self._carried.close(lambda run: holds(ledger, run), ledger.serial, self._told)

    def _came_to_nothing(self, path: Path, ledger: Ledger) -> bool:
        record = read_journal(path, self.keyring)
        return not record.statuses and record.plan.base.serial < ledger.serial

    def settle(self, plan: Plan) -> Ledger:
        """Note that a plan without changes is done: which commit and expressions the ledger stands for.

        Nothing is stored when that is what it says already.  Raises `StalePlan` as `begin` does.
        """
        self._check_base(plan)
        ledger = after_run(self._ledger, plan, {})
        if ledger == self._stored:
            return ledger
        saved = self.save(ledger, deletes=0)
        self._keep_applied(saved)
        return saved

    def begin(self, plan: Plan, *, operation: str = "apply", resumes: str = "") -> Journal:
        """Open the journal of a new run, which may go on with an older one.

        Raises `StalePlan` when the plan was made on another ledger, or somebody else has saved since `load`: better now
        than when all is written.  Raises `StateError` when there can be no journal.
        """
        self._check_base(plan)
        if self.backend.version(LEDGER) != self._version:
            detail = f"{LEDGER} in {self.backend.url} was changed by somebody else; nothing was written"
            raise StalePlan(error("PD520", "state has moved", detail=detail, hint="plan again"))
        started = self._now()
        suffix = (self._holding.id if self._holding else self._new_id())[:6]
        others = (*(note.run for note in self._stored.runs), *(record.run for record in self._elsewhere))
        run = next_run_id(self.journals, started, suffix, others)
        reverts = Scope.read(plan.base.scope).reverts
        head = RunHead(run, started, operation, self._who, self._link, self._pull, resumes, reverts)
        carrier = self._carried.carrier(run) if self._carried else None
        before = before_run(self._ledger, plan)
        return Journal(self.journals, head, plan, self.keyring, before=before, carrier=carrier)

    def when_lock_lost(self, call: Callable[[StateError], None]) -> None:
        """Call this, from another thread, with the reason, once the lock that is held is found broken."""
        if self._holding:
            self._holding.when_lost(call)

    def progress(self, done: int, total: int) -> None:
        """How far a run is, for who finds the lock taken."""
        if self._holding:
            self._holding.progress(done, total)

    def _check_base(self, plan: Plan) -> None:
        base, held = plan.base, self._stored
        if (base.serial, base.lineage) != (held.serial, held.lineage):
            detail = f"it was made on serial {base.serial} of {base.lineage or 'no state'}, now it is {held.serial}"
            detail += f" of {held.lineage}" if held.lineage != base.lineage else ""
            raise StalePlan(error("PD520", "the plan is stale", detail=detail, hint="plan again"))

    def finish(self, journal: Journal) -> Finished:
        """Enter the run's outcomes into the ledger, save it, close the journal.

        What cannot be saved is not lost: the journal stays open, and is replayed here or taken up by `pdsync resume`.
        A run that began nothing leaves nothing.
        """
        statuses = journal.statuses
        if not statuses:
            journal.leave()
            files.remove(journal.path)
            return Finished(self._ledger)
        if told := journal.arrive():
            self._told[told.run] = told
        ledger = after_run(self._ledger, journal.plan, statuses, journal.there)
        ledger = with_note(ledger, note_of(journal.head, journal.plan, statuses, self._stored.serial + 1))
        removed = sum(c.ledger is None and statuses.get(c.n) == "done" for c in journal.plan.changes)
        try:
            saved = Finished(self.save(ledger, deletes=removed))
            self._keep_applied(saved.ledger)
        except Emptied as problem:
            saved = Finished(self._ledger, problem)
        except StalePlan as problem:
            saved = Finished(ledger, _overtaken(problem, journal.run))
        except StateError as problem:
            saved = Finished(ledger, self._rescued(ledger, problem))
        journal.leave()
        with suppress(OSError, StateError):  # what stays too long does no harm, and is seen to by the next run
            prune(self.journals, self.keyring)
        return saved

    def _rescued(self, ledger: Ledger, problem: StateError) -> StateError:
        """Write what could not be saved beside the state, or wherever there is room; the error that says where."""
        ledger = replace(ledger, lineage=ledger.lineage or self._new_id(), serial=self._stored.serial + 1)
        data = dump_ledger(replace(ledger, parent=self._checksum))
        chunks = seal([data], self.keyring) if self.keyring else [data]
        kept = list(chunks)
        for folder in (self.journals.parent, Path.cwd(), Path(tempfile.gettempdir())):
            path = folder / f"rescued-{ledger.runs[-1].run}.jsonl"
            with suppress(OSError):
                folder.mkdir(parents=True, exist_ok=True)
                files.replace(path, kept)
                return _unsaved(problem, f"what it should hold is in {path}", f"`pdsync state push {path}`")
        return _unsaved(problem, f"there was no room for it anywhere; its journal is in {self.journals}", "")

    def load_snapshot(self, kinds: Collection[str] | None = None) -> Snapshot | None:
        """The last snapshot, of some kinds only if they are named; None when there is none."""
        held = self.snapshots.open(SNAPSHOT)
        return read_snapshot(held, f"{self.snapshots.url}/{SNAPSHOT}", kinds) if held else None

    def last_counts(self) -> dict[Query, Seen]:
        """What the last snapshot had of every query, by its header alone."""
        return parse_counts(self.snapshots.first_line(SNAPSHOT))

    def last_digest(self) -> str:
        """The digest of the last snapshot, by its header alone; empty when there is none."""
        return parse_digest(self.snapshots.first_line(SNAPSHOT))

    def save_snapshot(self, snapshot: Snapshot) -> None:
        """Keep a snapshot; the last one wins, since it can always be taken again."""
        self.snapshots.replace(SNAPSHOT, dump_snapshot(snapshot))

    def load_applied(self, digest: str, kinds: Collection[str]) -> Snapshot | None:
        """The snapshot that was applied last, of some kinds; None when this machine has none with this digest."""
        if not digest or parse_digest(self.snapshots.first_line(APPLIED)) != digest:
            return None
        held = self.snapshots.open(APPLIED)
        return read_snapshot(held, f"{self.snapshots.url}/{APPLIED}", kinds) if held else None

    def _keep_applied(self, ledger: Ledger) -> None:
        """Keep the snapshot that a ledger stands for, if it is the last one: causes are told by it.

        Where it cannot be kept, the next plan says that its causes are not exact.
        """
        with suppress(StateError):
            if ledger.snapshot and ledger.snapshot == self.last_digest():
                self.snapshots.keep(SNAPSHOT, APPLIED)

    def load_memo(self) -> Memo:
        """What mapping remembers; empty when there is nothing, or nothing that can be used."""
        try:
            held = self.snapshots.open(MEMO)
            room = self.aside.spool(held)
            return read_memo(lines(held), room) if held else Memo(room=room)
        except StateError:  # the records are mapped again; that they cannot be remembered is told by save_memo
            return Memo()

    def remembered_rules(self) -> frozenset[bytes]:
        """The rules (fingerprints) of which mapping remembers anything, without reading what."""
        try:
            held = self.snapshots.open(MEMO)
            return rules_in(next(lines(held), b"")) if held else frozenset()
        except StateError:
            return frozenset()

    def save_memo(self, memo: Memo) -> Diagnostic | None:
        """Keep what mapping remembers, unless it is kept already; a note when that cannot be: it only saves time."""
        if not memo.changed:
            return None
        try:
            self.snapshots.replace(MEMO, dump_memo(memo))
        except StateError as e:
            summary = "cannot remember what was mapped; the next plan takes longer"
            return Diagnostic(Severity.NOTE, "PD507", summary, detail=e.diagnostics[0].detail)
        return None

    def load_unchanged(self) -> Remembered:
        """What is remembered of what needed nothing; nothing when there is nothing that can be used."""
        try:
            held = self.snapshots.open(UNCHANGED)
            return parse_unchanged(held.read(0, held.size)) if held else {}
        except StateError:  # then all is compared
            return {}

    def save_unchanged(self, unchanged: Unchanged) -> None:
        """Keep what needs nothing, if there is anything new about it; where that cannot be, all is compared again."""
        if unchanged.changed:
            with suppress(StateError):
                self.snapshots.replace(UNCHANGED, [dump_unchanged(unchanged.kept)])

    def load_rest(self) -> Rest | None:
        """What is remembered of the last plan, if it found nothing to do; None when there is nothing to be used."""
        try:
            held = self.snapshots.open(REST)
            return parse_rest(held.read(0, held.size)) if held else None
        except StateError:  # then a plan is made as ever
            return None

    def save_rest(self, rest: Rest) -> None:
        """Remember a plan that found nothing to do; where that cannot be, the next one is made as ever."""
        with suppress(StateError):
            self.snapshots.replace(REST, [dump_rest(rest)])

    @contextmanager
    def lock(self, operation: str, *, over: bool = False) -> Iterator[Holding]:
        """Hold the backend's lock for the block, with signs of life; with `over`, also that of a holder who is dead.

        Raises `Locked`, saying who holds it, whether they are alive, and what to do.
        """
        info = holder_of(self._new_id(), operation, self._who, self._now(), self._link, self.backend.heartbeat)
        with ExitStack() as stack:
            try:
                beat = stack.enter_context(self.backend.lock(info))
            except Locked:
                held, verdict = self._look_at_holder()
                if held is None or not (over and verdict.dead):
                    raise in_the_way(self.backend, held, verdict) from None
                self._notify(f"taking the lock over: {verdict.why}")
                self.backend.unlock(held.id)
                beat = stack.enter_context(self.backend.lock(info))
            files.sweep(self.snapshots.folder)
            files.sweep(self.journals)
            self._holding = stack.enter_context(holding(beat, info))
            try:
                yield self._holding
            finally:
                self._holding = None

    def unlock(self, lock_id: str) -> None:
        """Break the lock with this id.  Raises `Locked` while its holder gives signs of life."""
        held = self.backend.holder()
        if held is not None and held.id == lock_id:
            held, verdict = self._look_at_holder()
            if held is not None and held.id == lock_id and not verdict.dead:
                raise in_the_way(self.backend, held, verdict)
        self.backend.unlock(lock_id)

    def _look_at_holder(self) -> tuple[LockInfo | None, Verdict]:
        held = self.backend.holder()
        return held, watch(self.backend, held, self._notify) if held else Verdict(dead=False, why="it was free again")


def _overtaken(problem: StalePlan, run: str) -> Overtaken:
    """Somebody else saved while a run was at work: nothing is merged, nothing forced."""
    detail = f"{problem.diagnostics[0].detail}; what this run wrote is in its journal only"
    hint = f"`pdsync resume {run}` looks at every entity it wrote and enters what is still so"
    return Overtaken(
        error("PD527", "somebody else saved the state while this run was at work", detail=detail, hint=hint)
    )


def _unsaved(problem: StateError, where: str, push: str) -> StateError:
    cause = problem.diagnostics[0]
    hint = "mend the cause; on this machine the next run finds it all by itself"
    hint += f", anywhere else {push} brings it in" if push else ""
    detail = f"{cause.summary}: {cause.detail}; {where}"
    return StateError(error("PD526", "the state could not be saved", detail=detail, hint=hint))
