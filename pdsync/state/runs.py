"""What runs leave behind: their outcomes in the ledger, a note of each, and their journals for a while.

A run that is not closed is replayed when the state is opened.  A write that began and did not end may or may not have
happened.  Creating or changing is then taken as done, deleting as not done: in either case the next plan compares with
what Port holds and finds what is left to do, and nothing we made is ever taken for somebody else's.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from pdsync import files
from pdsync.model import EntityKey, LedgerBefore, RunNote
from pdsync.plan import Scope
from pdsync.plan.guards import is_waiting
from pdsync.plan.moved import ledger_with, moved_rules
from pdsync.plan.parts import found_there
from pdsync.plan.revert import entry_before
from pdsync.state.journal import has_a_line, is_closed, paths

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from pathlib import Path

    from pdsync.model import Change, Ledger, LedgerEntry, OutcomeStatus, Plan, RunHead, RunRecord
    from pdsync.sealing import Keyring

KEPT_NOTES = 50
"""Of so many runs the ledger keeps a note."""

KEPT_JOURNALS = 50
KEPT_BYTES = 256 * 1024 * 1024
"""So many journals of closed runs are kept, and so many bytes of them; that of the last run always."""

RUN = re.compile(r"[0-9]{8}T[0-9]{6}Z-[0-9a-f]+")
"""What the id of a run looks like."""

Key = TypeVar("Key", str, EntityKey)


def after_run(ledger: Ledger, plan: Plan, statuses: Mapping[int, OutcomeStatus], there: Collection[int] = ()) -> Ledger:
    """The ledger once a run's outcomes are entered; what was planned but not begun is as before.

    `there` are changes that were to create what was there already.  Entered once more, by a run that goes on with it,
    they change nothing.
    """
    ledger = ledger_with(ledger, moved_rules(ledger.expressions, plan.expressions))
    blueprints, entities = dict(ledger.blueprints), dict(ledger.entities)
    for change in plan.changes:
        if _counts(change, statuses.get(change.n)):
            if change.target == "blueprint":
                _enter(blueprints, change.blueprint, change.ledger)
            else:
                _enter(entities, change.key, as_found(change, there, ledger).ledger)
    listed = ledger.listed if plan.listed is None else plan.listed
    org_id = ledger.org_id or plan.base.org_id
    ledger = replace(ledger, blueprints=blueprints, entities=entities, org_id=org_id, listed=listed)
    whole = all(statuses.get(change.n) == "done" for change in plan.changes)
    if not whole or Scope.read(plan.base.scope).limited:
        return ledger
    base = plan.base
    now = replace(ledger, commit=base.commit, catalog=base.catalog, tool=base.tool, expressions=plan.expressions)
    now = replace(now, account=_account_after(ledger, plan))
    # Another snapshot that comes to the same is no reason to write anything.
    return replace(now, snapshot=base.snapshot) if plan.changes or now != ledger else ledger


def _account_after(ledger: Ledger, plan: Plan) -> str:
    """The PagerDuty account that what is owned is of; that of before while anything waits to go."""
    if ledger.account and any(map(is_waiting, plan.withheld)):
        return ledger.account
    return plan.base.account or ledger.account


def as_found(change: Change, there: Collection[int], ledger: Ledger) -> Change:
    """The change; of an entity that turned out to be `there` already, with what the ledger is to say of that."""
    if change.ledger is None or change.n not in there:
        return change
    return replace(change, ledger=found_there(change.ledger, ledger.entities.get(change.key)))


def before_run(ledger: Ledger, plan: Plan) -> LedgerBefore:
    """What the ledger says before a run and the plan does not tell: what a revert needs to put it back."""
    found = ((change, _entry_of(ledger, change)) for change in plan.changes)
    entries = {c.n: entry for c, entry in found if entry is not None and entry != entry_before(c)}
    return LedgerBefore(ledger.commit, ledger.catalog, ledger.snapshot, ledger.tool, ledger.expressions, entries)


def _entry_of(ledger: Ledger, change: Change) -> LedgerEntry | None:
    blueprint = change.target == "blueprint"
    return ledger.blueprints.get(change.blueprint) if blueprint else ledger.entities.get(change.key)


def _counts(change: Change, status: OutcomeStatus | None) -> bool:
    return status == "done" or (status == "unknown" and change.action in ("create", "update", "adopt"))


def _enter(entries: dict[Key, LedgerEntry], key: Key, entry: LedgerEntry | None) -> None:
    if entry is None:
        entries.pop(key, None)
    else:
        entries[key] = entry


def with_note(ledger: Ledger, note: RunNote) -> Ledger:
    """The ledger with a note of a run whose outcome it holds, in place of an older one of the same run."""
    others = [each for each in ledger.runs if each.run != note.run]
    return replace(ledger, runs=(*others, note)[-KEPT_NOTES:])


def note_of(head: RunHead, plan: Plan, statuses: Mapping[int, OutcomeStatus], serial: int) -> RunNote:
    """A run in numbers; `serial` is that of the ledger that holds its outcome, 0 when none does."""
    counts = Counter(statuses.values())
    return RunNote(
        run=head.run,
        started=head.started,
        operation=head.operation,
        serial=serial,
        who=head.who,
        commit=plan.base.commit,
        link=head.link,
        pull=head.pull,
        resumes=head.resumes,
        reverts=head.reverts,
        changes=len(plan.changes),
        done=counts["done"],
        failed=counts["failed"],
        skipped=counts["skipped"],
        unknown=counts["unknown"],
    )


def is_replayable(record: RunRecord, ledger: Ledger) -> bool:
    """Whether a run that was not closed was made on this very ledger, which does not hold it yet."""
    base = record.plan.base
    on_it = (base.serial, base.lineage) == (ledger.serial, ledger.lineage)
    return on_it and not holds(ledger, record.run)


def is_astray(record: RunRecord, ledger: Ledger) -> bool:
    """Whether a run that was not closed wrote something, and somebody else saved the ledger before it could."""
    base = record.plan.base
    ours = base.lineage in ("", ledger.lineage) and base.serial < ledger.serial
    return ours and bool(record.statuses) and not holds(ledger, record.run)


def holds(ledger: Ledger, run: str) -> bool:
    """Whether the ledger says that it holds the outcome of a run, or that of one that went on with it."""
    return any(run in (note.run, note.resumes) for note in ledger.runs)


def next_run_id(folder: Path, started: str, suffix: str, others: Iterable[str] = ()) -> str:
    """An id for a new run that sorts after all runs in the folder, and `others` by their ids.

    Even when the clock was set back, or that of another machine is fast.
    """
    stamp = started.replace("-", "").replace(":", "")[:15] + "Z"
    last = max((name[: len(stamp)] for name in (*(path.name for path in paths(folder)), *others)), default="")
    return f"{max(stamp, _following(last) if last >= stamp else '')}-{suffix}"


def _following(stamp: str) -> str:
    """The stamp of a second later; of none, none."""
    from datetime import UTC, datetime, timedelta

    form = "%Y%m%dT%H%M%SZ"
    try:
        return (datetime.strptime(stamp, form).replace(tzinfo=UTC) + timedelta(seconds=1)).strftime(form)
    except ValueError:
        return ""


def prune(folder: Path, keyring: Keyring | None = None) -> list[str]:
    """Remove the journals of closed runs beyond those that are kept, and of runs that came to nothing; their runs.

    Nobody else may be beginning a run meanwhile.  Raises `StateError` for a journal that cannot be read.
    """
    listed = paths(folder)
    going = [path for path in listed if not has_a_line(path)]
    closed = [path for path in reversed(listed) if path not in going and is_closed(path, keyring)]
    size = 0
    for number, path in enumerate(closed):
        size += path.stat().st_size
        if number and (number >= KEPT_JOURNALS or size > KEPT_BYTES):
            going.append(path)
    for path in going:
        files.remove(path)
    return [path.stem for path in going]
