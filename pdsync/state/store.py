"""The state kept honest: loaded with what a broken run left behind, saved under compare-and-swap, never emptied."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from pdsync.errors import Diagnostic, Locked, Severity, StalePlan, StateError, error
from pdsync.memo import Memo, dump_memo, parse_memo
from pdsync.model import Ledger, Plan, Snapshot
from pdsync.state.holding import Verdict, holder_of, holding, in_the_way, watch
from pdsync.state.journal import Journal, RunRecord, after_run, read_journals, read_open_journals
from pdsync.state.ledger_file import checksum_of, dump_ledger, parse_ledger
from pdsync.state.moved import still_here
from pdsync.state.snapshot_file import dump_snapshot, parse_counts, parse_digest, read_snapshot
from pdsync.state.succession import successor

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator
    from pathlib import Path

    from pdsync.completeness import Seen
    from pdsync.model import Query
    from pdsync.sealing import Keyring
    from pdsync.state.backends import Backend, Cache, LockInfo
    from pdsync.state.holding import Holding

LEDGER = "ledger.jsonl"
SNAPSHOT = "snapshot.jsonl"
APPLIED = "applied.jsonl"
MEMO = "memo.jsonl"


class StateStore:
    """The state behind one backend.

    `journals` is a local folder; `snapshots` keeps the snapshot, which can always be taken again; `new_id` draws a
    random hexadecimal id, `now` the time as RFC 3339 UTC; `who` is user@host and pid, `link` the CI run, both for the
    lock; `notify` is told, in words, what is being waited for.  `keyring` seals the journals; backend and snapshots see
    to theirs themselves.
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
        keyring: Keyring | None = None,
        notify: Callable[[str], None] | None = None,
    ) -> None:
        self.backend = backend
        self.keyring = keyring
        self.journals = journals
        self.snapshots = snapshots
        self._now, self._new_id, self._who, self._link = now, new_id, who, link
        self._notify = notify or (lambda _: None)
        self._version: str | None = None
        self._checksum = ""
        self._stored = Ledger("")
        self._ledger = self._stored

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
        for record in self.unfinished(ledger):
            ledger = after_run(ledger, record.plan, record.statuses)
        self._ledger = ledger
        return ledger

    def unfinished(self, ledger: Ledger) -> list[RunRecord]:
        """Runs on this ledger's serial that did not come to their end."""
        return [
            record
            for record in read_open_journals(self.journals, self.keyring)
            if record.closed is None
            and record.plan.base.serial == ledger.serial
            and record.plan.base.lineage == ledger.lineage
        ]

    def history(self) -> list[RunRecord]:
        """All runs that were journalled here, oldest first."""
        return read_journals(self.journals, self.keyring)

    def save(self, ledger: Ledger, *, deletes: int) -> Ledger:
        """Store the ledger under the next serial; returns it as stored.

        `deletes` is how many entries this run was to remove: an empty ledger replaces a full one only when that many
        removals explain it.  Raises `StalePlan` when somebody else has saved since `load`.
        """
        lost = len(self._ledger.entities) - len(ledger.entities)
        if not ledger.entities and lost > deletes:
            detail = f"{lost} entities would be forgotten although {deletes} were removed"
            raise StateError(error("PD504", "an empty ledger would replace a full one", detail=detail))
        lineage = ledger.lineage or self._new_id()
        ledger = replace(ledger, lineage=lineage, serial=self._stored.serial + 1, parent=self._checksum)
        data = dump_ledger(ledger)
        self._version = self.backend.store(LEDGER, data, self._version)
        self._checksum = checksum_of(data)
        self._stored = self._ledger = ledger
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
        return ledger

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

    def begin(self, plan: Plan) -> Journal:
        """Open the journal of a new run.  Raises `StalePlan` when the plan was made on another ledger."""
        self._check_base(plan)
        started = self._now()
        stamp = started.replace("-", "").replace(":", "")[:15] + "Z"
        return Journal(self.journals, f"{stamp}-{self._new_id()[:6]}", started, plan, self.keyring)

    def _check_base(self, plan: Plan) -> None:
        base, held = plan.base, self._stored
        if (base.serial, base.lineage) != (held.serial, held.lineage):
            detail = f"it was made on serial {base.serial} of {base.lineage or 'no state'}, now it is {held.serial}"
            detail += f" of {held.lineage}" if held.lineage != base.lineage else ""
            raise StalePlan(error("PD520", "the plan is stale", detail=detail, hint="plan again"))

    def finish(self, journal: Journal) -> Ledger:
        """Enter the run's outcomes into the ledger, save it, close the journal."""
        statuses = journal.statuses
        ledger = after_run(self._ledger, journal.plan, statuses)
        removed = sum(c.ledger is None and statuses.get(c.n) == "done" for c in journal.plan.changes)
        saved = self.save(ledger, deletes=removed)
        journal.close(saved.serial)
        self._keep_applied(saved)
        return saved

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
        if ledger.snapshot and ledger.snapshot == self.last_digest():
            with suppress(StateError):
                self.snapshots.keep(SNAPSHOT, APPLIED)

    def load_memo(self) -> Memo:
        """What mapping remembers; empty when there is nothing, or nothing that can be used."""
        try:
            stored = self.snapshots.load(MEMO)
        except StateError:  # the records are mapped again; that they cannot be remembered is told by save_memo
            return Memo()
        return parse_memo(stored.data) if stored else Memo()

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
            yield stack.enter_context(holding(beat, info))

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
