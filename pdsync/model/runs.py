"""What became of a plan that was applied."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from pdsync.model.ledger import LedgerEntry
from pdsync.model.plan import Plan
from pdsync.model.sides import ExistingEntity
from pdsync.model.values import Json

OutcomeStatus = Literal["done", "failed", "skipped", "unknown"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one change went: `message` is Port's for a failure, or which failed change it depended on.

    `there`: what was to be created was there already, by somebody else.
    """

    n: int
    status: OutcomeStatus
    message: str = ""
    there: bool = False


Image = ExistingEntity | dict[str, Json]
"""What was there before it was deleted: an entity, or a blueprint as Port's JSON."""


@dataclass(frozen=True, slots=True)
class RunHead:
    """A run as it sets out; see `RunNote`."""

    run: str
    started: str
    operation: str = "apply"
    who: str = ""
    link: str = ""
    pull: str = ""
    resumes: str = ""
    reverts: str = ""


@dataclass(frozen=True, slots=True)
class LedgerBefore:
    """The ledger as a run found it, as far as the run's plan does not tell.

    `entries` are by change number (`pdsync.plan.revert.entry_before` tells the others); the rest is as in `Ledger`.
    """

    commit: str = ""
    catalog: str = ""
    snapshot: str = ""
    tool: str = ""
    expressions: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    entries: Mapping[int, LedgerEntry] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One run as its journal tells it.

    `statuses`, `messages` and `images` are by change number, `there` those that were to create what turned out to be
    there already; `closed` is the serial of the ledger that holds the result, None while none does.  `before` is None
    in journals of older versions.
    """

    head: RunHead
    plan: Plan
    statuses: Mapping[int, OutcomeStatus] = field(default_factory=dict)
    messages: Mapping[int, str] = field(default_factory=dict)
    images: Mapping[int, Image] = field(default_factory=dict)
    there: frozenset[int] = frozenset()
    closed: int | None = None
    before: LedgerBefore | None = None

    @property
    def run(self) -> str:
        """Its id."""
        return self.head.run
