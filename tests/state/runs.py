"""A plan with one change of each sort, and a store in a folder."""

from __future__ import annotations

import asyncio
import secrets
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pdsync.plan import Facts
from pdsync.state.backends.local import LocalBackend
from pdsync.state.carried import CarriedJournals
from pdsync.state.store import StateStore
from tests.builders import BASE, blueprint, catalog, desired, entry, existing, have, ledger, relation, rule, want

if TYPE_CHECKING:
    from pathlib import Path

    from pdsync.model import Ledger, Outcome, Plan
    from pdsync.state.backends import Backend
    from pdsync.state.journal import Journal

SERVICE = blueprint()
INCIDENT = blueprint("incident", service=relation("service"))


def plan_of_each(owned: Ledger | None = None) -> Plan:
    """Blueprint incident and service/new to create, /old to update, /gone to delete, /same to adopt, /lost to forget."""
    from dataclasses import replace

    from pdsync.plan import make_plan

    owned = owned or before()
    facts = Facts(
        catalog([SERVICE, INCIDENT], [rule()]),
        desired(want("new", tier="1"), want("old", tier="2"), want("same", tier="1")),
        existing([SERVICE], {"old": have(tier="1"), "gone": have(tier="1"), "same": have(tier="1")}),
        owned,
        tool="jq",
    )
    return make_plan(facts, replace(BASE, lineage=owned.lineage, serial=owned.serial, commit="c0ffee"))


def before() -> Ledger:
    """The ledger that `plan_of_each` is made on."""
    return ledger({"old": entry(tier="1"), "gone": entry(tier="1"), "lost": entry(tier="1")}, [SERVICE])


def numbers(plan: Plan) -> dict[str, int]:
    """Identifier -> number of its change."""
    return {change.identifier: change.n for change in plan.changes}


def begin(journal: Journal, *numbers: int) -> None:
    asyncio.run(journal.begin(numbers))


def end(journal: Journal, *outcomes: Outcome) -> None:
    asyncio.run(journal.end(outcomes))


def crash(journal: Journal) -> None:
    """End a run as a crash does: what is durable is there, and nothing more comes."""
    journal.leave()


def store_in(folder: Path, backend: Backend | None = None) -> StateStore:
    """A store as one run opens it."""
    local = LocalBackend(folder)
    return StateStore(
        backend or local,
        journals=folder / "journal",
        snapshots=local,
        carried=CarriedJournals(backend.runs()) if backend else None,
        now=lambda: datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        new_id=lambda: secrets.token_hex(8),
        who="me@here",
    )
