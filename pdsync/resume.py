"""Going on with a run that did not come to its end: the rest of the very same plan, on what Port holds now.

What is not known is looked up once.  What is left is done only where Port is as the plan saw it.  When somebody else
has saved the ledger meanwhile, nothing is merged: what the run wrote is entered where Port still holds it, entity by
entity, which is safe because each write says by its identifier all that it writes.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pdsync.apply import Resuming, apply_plan
from pdsync.errors import StateError, UsageError, error
from pdsync.plan import fingerprint, summary_of
from pdsync.sight import watch
from pdsync.state.runs import as_found

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from pdsync.apply import ApplyResult
    from pdsync.model import Change, Ledger, Plan, RunNote, RunRecord
    from pdsync.state.store import StateStore
    from pdsync.targets import TargetReader, TargetWriter


def find_run(store: StateStore, ledger: Ledger, run: str | None) -> RunRecord:
    """The run to go on with: the one named, or whichever went on with that, or the last one that left something open.

    Raises `UsageError` when there is none, `StateError` when its journal is not here or tells of another state.
    """
    history = store.history()
    wanted = _last_of(history, run) if run else _left_open(store, history)
    record = store.run(wanted)
    if record is None:
        known = any(note.run == wanted for note in history)
        raise journal_elsewhere(wanted) if known else no_such_run(wanted)
    if record.plan.base.lineage not in ("", ledger.lineage):
        detail = f"it was made on the state {record.plan.base.lineage}, this is {ledger.lineage or 'none yet'}"
        raise StateError(
            error("PD534", "a run of another state", detail=detail, hint="give the --state that it ran on")
        )
    return record


def _last_of(history: list[RunNote], run: str) -> str:
    """The run at the end of those that went on with `run`, one after the other."""
    for note in history:
        if note.resumes == run:
            run = note.run
    return run


def _left_open(store: StateStore, history: list[RunNote]) -> str:
    open_runs = [*store.astray(), *(record for record in store.unfinished() if record.statuses)]
    if open_runs:
        return max(record.run for record in open_runs)
    if history and history[-1].done < history[-1].changes:
        return history[-1].run
    hint = "`pdsync history` lists all runs; `pdsync plan` finds what is to do now"
    detail = "the last run is whole" if history else "no run is known here"
    raise UsageError(error("PD532", "there is nothing to resume", detail=detail, hint=hint))


def no_such_run(run: str) -> UsageError:
    """That there is no run of this name."""
    return UsageError(error("PD532", "there is no such run", detail=run, hint="`pdsync history` lists all runs"))


def journal_elsewhere(run: str) -> StateError:
    """That only the ledger knows this run."""
    hint = "only those of the last runs are kept, and of some on the machine that ran them alone; or plan again"
    return StateError(error("PD533", "the journal of this run is not here", detail=run, hint=hint))


def rest_of(record: RunRecord, ledger: Ledger, *, astray: bool) -> tuple[Plan, Resuming]:
    """What a run has left to do, as a plan on the ledger as it is now; and what is to be looked up first.

    Of a run that is `astray` nothing is in the ledger: what it has done is looked up, too.
    """
    plan, statuses = record.plan, record.statuses
    newer = ledger.serial != (record.closed if record.closed is not None else plan.base.serial)
    left = [
        as_found(change, record.there, ledger) for change in plan.changes if astray or statuses.get(change.n) != "done"
    ]
    numbers = {change.n for change in left}
    changes = tuple(replace(c, after=tuple(n for n in c.after if n in numbers)) for c in left)
    rest = replace(
        plan,
        base=replace(plan.base, serial=ledger.serial, lineage=ledger.lineage),
        changes=changes,
        summary=summary_of(changes, withheld=len(plan.withheld), held=len(plan.held)),
        fingerprint=fingerprint(changes),
        unreviewed=(),
    )
    if newer:  # an older plan does not tell any more which catalog and snapshot the ledger stands for
        base = replace(rest.base, commit=ledger.commit, dirty=False, catalog=ledger.catalog, tool=ledger.tool)
        base = replace(base, snapshot=ledger.snapshot)
        rest = replace(rest, base=base, expressions=ledger.expressions, listed=None)
    return rest, Resuming(
        run=record.run,
        plan=plan,
        unknown=frozenset(c.n for c in left if statuses.get(c.n) == "unknown" or (newer and _only_noted(c))),
        written=frozenset(c.n for c in left if statuses.get(c.n) == "done"),
        images={n: image for n, image in record.images.items() if n in numbers},
    )


def enter(record: RunRecord, rest: Plan, store: StateStore) -> Ledger | None:
    """Save the outcome of a run that has nothing left to do; None when the ledger holds it already.

    Raises `StateError` when it cannot be saved.
    """
    open_ones = {each.run for each in store.unfinished()}
    return store.settle(rest) if record.run in open_ones else None


def _only_noted(change: Change) -> bool:
    return change.action in ("adopt", "forget")


async def resume(
    record: RunRecord,
    ledger: Ledger,
    writer: TargetWriter,
    reader: TargetReader,
    store: StateStore,
    *,
    stop: asyncio.Event | None = None,
    progress: Callable[[str, int, int | None], None] | None = None,
) -> ApplyResult:
    """Do the rest of a run; the result tells of every change that it had left.

    `ledger` is the store's, just loaded.  Raises `StateError` for another organisation, and as `apply_plan` does.
    """
    org_id = (await reader.read({})).org_id
    if record.plan.base.org_id not in ("", org_id):
        detail = f"it wrote to organisation {record.plan.base.org_id}, the credentials are of {org_id}"
        raise StateError(error("PD505", "a run in another organisation", detail=detail))
    rest, resuming = rest_of(record, ledger, astray=store.is_astray(record))
    return await apply_plan(
        rest,
        writer,
        store,
        reader=reader,
        operation="resume",
        resuming=resuming,
        watch=watch(record.plan, reader),
        stop=stop,
        progress=progress,
    )
