"""Runs: their history, and one of them change by change; as text or JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from pdsync.render.escape import visible
from pdsync.render.state_text import as_json, table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pdsync.model import RunNote, RunRecord

_COLUMNS = ("run", "started", "operation", "who", "commit", "changes", "done", "failed", "skipped", "unknown", "state")
_COMMIT = 10


def render_history(notes: Sequence[RunNote], form: str) -> str:
    """All runs, newest first."""
    newest = list(reversed(notes))
    if form == "json":
        return as_json([_told(note) for note in newest])
    if not newest:
        return "No runs yet.\n"
    head = [*_COLUMNS, "from"] if any(_place(note) for note in newest) else list(_COLUMNS)
    return table([head, *([visible(text) for text in _row(note)][: len(head)] for note in newest)])


def _row(note: RunNote) -> list[str]:
    told = _told(note) | {"commit": note.commit[:_COMMIT] or "-", "who": note.who or "-"}
    return [*(str(told[name]) for name in _COLUMNS), _place(note)]


def _place(note: RunNote) -> str:
    earlier = (f"{verb} {run}" for verb, run in (("resumes", note.resumes), ("reverts", note.reverts)) if run)
    parts = (*earlier, note.pull, note.link)
    return ", ".join(part for part in parts if part)


def _told(note: RunNote) -> dict[str, object]:
    """A run in the words of the JSON; `state` is the serial of the ledger that holds it."""
    told: dict[str, object] = msgspec.to_builtins(note)
    del told["serial"]
    return {**told, "state": note.serial or "not saved"}


def render_run(note: RunNote, record: RunRecord | None, form: str) -> str:
    """One run: who, when and from where, and each change with its outcome, if its journal is at hand."""
    listed = _listed(record) if record else []
    if form == "json":
        return as_json({**_told(note), "listed": listed if record else None})
    facts = (f"catalog commit {note.commit}" if note.commit else "", _place(note), f"state {_told(note)['state']}")
    lines = [visible(f"{note.run}: {note.operation} by {note.who or 'somebody'}, started {note.started}")]
    lines += [visible(", ".join(fact for fact in facts if fact))]
    lines += [visible(f"  #{c['n']} {c['action']} {c['key']}  {c['status']}  {c['message']}".rstrip()) for c in listed]
    left = note.changes - note.done - note.failed - note.skipped - note.unknown
    counts = {name: getattr(note, name) for name in ("done", "failed", "skipped", "unknown")} | {"not begun": left}
    lines += [
        f"{note.changes} {'change' if note.changes == 1 else 'changes'}: "
        + (", ".join(f"{n} {what}" for what, n in counts.items() if n) or "none begun")
    ]
    lines += [] if record else ["Its journal, which tells every change, is not here."]
    return "\n".join(lines) + "\n"


def _listed(record: RunRecord) -> list[dict[str, object]]:
    return [
        {
            "n": change.n,
            "action": change.action,
            "key": change.blueprint if change.target == "blueprint" else str(change.key),
            "status": record.statuses.get(change.n, "not begun"),
            "message": record.messages.get(change.n, ""),
        }
        for change in record.plan.changes
    ]
