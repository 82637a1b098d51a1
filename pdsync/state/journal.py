"""The journal: what an apply set out to do and how far it came, one JSON line per event, append-only.

    {"run":"20260601T120000Z-1f0c","started":...,"plan":{...the plan's document...}}
    {"begin":[3,4,5]}                            durable before those writes start
    {"end":[[3,"done",""],[4,"failed","..."]]}   durable before they count
    {"closed":418}                               the ledger with this serial holds the result

A run that is not closed is replayed when the state is opened.  A write that began and did not end may or may not have
happened.  Creating or changing is then taken as done, deleting as not done: in either case the next plan compares with
what Port holds and finds what is left to do, and nothing we made is ever taken for somebody else's.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

import orjson

from pdsync.errors import StateError, error
from pdsync.model import Change, EntityKey, Ledger, LedgerEntry, Outcome, OutcomeStatus, Plan
from pdsync.plan import Scope
from pdsync.plan.document import parse_plan, plan_document
from pdsync.sealing import MAGIC, is_sealed, new_lines, read_lines
from pdsync.state.backends.local import sync_folder
from pdsync.state.backends.sealed import not_sealed

if TYPE_CHECKING:
    from pathlib import Path

    from pdsync.sealing import Keyring

TAIL = 64
"""Bytes at the end of a journal that hold its last line, when that closes the run."""

Key = TypeVar("Key", str, EntityKey)


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One run as its journal tells it; `statuses` are by change number, `closed` the serial that holds the result."""

    run: str
    started: str
    plan: Plan
    statuses: Mapping[int, OutcomeStatus] = field(default_factory=dict)
    messages: Mapping[int, str] = field(default_factory=dict)
    closed: int | None = None


class Journal:
    """The journal of one running apply, open for appending."""

    def __init__(self, folder: Path, run: str, started: str, plan: Plan, keyring: Keyring | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.run = run
        self.plan = plan
        self.begun: set[int] = set()
        self.outcomes: dict[int, Outcome] = {}
        self.path = folder / f"{run}.jsonl"
        handle = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        self._file: BinaryIO = os.fdopen(handle, "ab")
        self._sealed = new_lines(keyring, str(self.path)) if keyring else None
        self._written = 0
        if self._sealed:
            self._file.write(self._sealed.head)
        head = orjson.dumps({"run": run, "started": started})
        self._append(head[:-1] + b',"plan":' + plan_document(plan).rstrip(b"\n") + b"}")
        sync_folder(folder)

    def begin(self, numbers: Iterable[int]) -> None:
        """Note, durably, that these changes are about to be written."""
        listed = list(numbers)
        self._append(orjson.dumps({"begin": listed}))
        self.begun.update(listed)

    def end(self, outcomes: Iterable[Outcome]) -> None:
        """Note, durably, how these changes went."""
        listed = list(outcomes)
        self._append(orjson.dumps({"end": [[o.n, o.status, o.message] for o in listed]}))
        self.outcomes.update({o.n: o for o in listed})

    @property
    def statuses(self) -> dict[int, OutcomeStatus]:
        """By number, as a replay would find them: what was begun and has not ended is unknown."""
        open_ones: dict[int, OutcomeStatus] = dict.fromkeys(self.begun, "unknown")
        return open_ones | {n: outcome.status for n, outcome in self.outcomes.items()}

    def close(self, serial: int) -> None:
        """Note that the ledger with this serial holds the result."""
        self._append(orjson.dumps({"closed": serial}))
        self._file.close()

    def _append(self, line: bytes) -> None:
        self._file.write((self._sealed.seal(self._written, line) if self._sealed else line) + b"\n")
        self._written += 1
        self._file.flush()
        os.fsync(self._file.fileno())


def read_journal(path: Path, keyring: Keyring | None = None) -> RunRecord:
    """Read one journal; a last line that was cut by a crash is left out.

    Raises `StateError` when the first line is not whole (the run never began) or another one makes no sense, and for a
    sealed journal whose key we do not have.
    """
    head, *lines = _plain(path, keyring).split(b"\n")
    try:
        first = orjson.loads(head)
        plan = parse_plan(orjson.dumps(first["plan"]), str(path))
        record = RunRecord(first["run"], first["started"], plan)
        return _with_events(record, map(orjson.loads, lines[:-1]))
    except (ValueError, LookupError, TypeError, AttributeError) as e:
        hint = "keep a copy, then remove it: what that run did is planned again, as changes or as something to adopt"
        raise StateError(error("PD530", "journal is damaged", detail=f"{path}: {e}", hint=hint)) from e


def _plain(path: Path, keyring: Keyring | None) -> bytes:
    """The bytes of a journal that is sealed if there is a key.  Raises `StateError` when it is not."""
    data = path.read_bytes()
    if keyring is not None and data and not is_sealed(data):
        raise not_sealed(str(path))
    return unsealed_journal(data, keyring, str(path))


def unsealed_journal(data: bytes, keyring: Keyring | None, name: str) -> bytes:
    """A journal as it would be had it not been sealed; of a sealed one, a line that a crash has cut is left out."""
    if not is_sealed(data):
        return data
    head, _, rest = data.partition(b"\n")
    lines = read_lines(head + b"\n", keyring, name)
    return b"".join(lines.unseal(n, line) + b"\n" for n, line in enumerate(rest.split(b"\n")[:-1]))


def sealed_journal(data: bytes, keyring: Keyring, name: str) -> bytes:
    """A plain journal, sealed; a line that a crash has cut is left out."""
    lines = new_lines(keyring, name)
    whole = data.split(b"\n")[:-1]
    return lines.head + b"".join(lines.seal(n, line) + b"\n" for n, line in enumerate(whole))


def _with_events(record: RunRecord, events: Iterable[Any]) -> RunRecord:
    statuses: dict[int, OutcomeStatus] = {}
    messages: dict[int, str] = {}
    closed = None
    for event in events:
        statuses.update(dict.fromkeys(event.get("begin", ()), "unknown"))
        for n, status, message in event.get("end", ()):
            statuses[n], messages[n] = status, message
        closed = event.get("closed", closed)
    return replace(record, statuses=statuses, messages=messages, closed=closed)


def read_journals(folder: Path, keyring: Keyring | None = None) -> list[RunRecord]:
    """All runs, oldest first; one whose first line was never finished did nothing and is left out."""
    return [read_journal(path, keyring) for path in _paths(folder) if _has_a_line(path)]


def read_open_journals(folder: Path, keyring: Keyring | None = None) -> list[RunRecord]:
    """The runs that were not closed, oldest first; of the others only the end is looked at."""
    return [
        read_journal(path, keyring) for path in _paths(folder) if not _is_closed(path, keyring) and _has_a_line(path)
    ]


def _paths(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.jsonl")) if folder.is_dir() else []


def _has_a_line(path: Path) -> bool:
    with path.open("rb") as file:
        first = file.readline()
        return (file.readline() if is_sealed(first) else first).endswith(b"\n")


def _is_closed(path: Path, keyring: Keyring | None) -> bool:
    with path.open("rb") as file:
        if is_sealed(file.read(len(MAGIC))):
            end = _plain(path, keyring)
        else:
            file.seek(max(0, path.stat().st_size - TAIL))
            end = file.read()
    return end.rpartition(b"\n")[0].rpartition(b"\n")[2].startswith(b'{"closed":')


def after_run(ledger: Ledger, plan: Plan, statuses: Mapping[int, OutcomeStatus]) -> Ledger:
    """The ledger once a run's outcomes are entered; what was planned but not begun is as before."""
    blueprints, entities = dict(ledger.blueprints), dict(ledger.entities)
    for change in plan.changes:
        if _counts(change, statuses.get(change.n)):
            if change.target == "blueprint":
                _enter(blueprints, change.blueprint, change.ledger)
            else:
                _enter(entities, change.key, change.ledger)
    ledger = replace(ledger, blueprints=blueprints, entities=entities, org_id=ledger.org_id or plan.base.org_id)
    whole = all(statuses.get(change.n) == "done" for change in plan.changes)
    if not whole or Scope.read(plan.base.scope).limited:
        return ledger
    base = plan.base
    now = replace(ledger, commit=base.commit, catalog=base.catalog, tool=base.tool, expressions=plan.expressions)
    # Another snapshot that comes to the same is no reason to write anything.
    return replace(now, snapshot=base.snapshot) if plan.changes or now != ledger else ledger


def _counts(change: Change, status: OutcomeStatus | None) -> bool:
    return status == "done" or (status == "unknown" and change.action in ("create", "update", "adopt"))


def _enter(entries: dict[Key, LedgerEntry], key: Key, entry: LedgerEntry | None) -> None:
    if entry is None:
        entries.pop(key, None)
    else:
        entries[key] = entry
