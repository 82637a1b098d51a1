"""All that is to be done, all that is not and why, and what it was decided on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from pdsync.errors import Diagnostic, Origin
from pdsync.model.changes import Change
from pdsync.model.ledger import Listed
from pdsync.model.values import EntityKey, Json


@dataclass(frozen=True, slots=True)
class Withheld:
    """A delete that is not planned, and the `reason`; `flag` is what would let it through, if anything.

    `why` is the reason that the change itself would have: why there is something to delete.
    """

    blueprint: str
    identifier: str
    title: str
    reason: str
    flag: str = ""
    target: Literal["entity", "blueprint"] = "entity"
    why: str = ""

    @property
    def key(self) -> EntityKey:
        """What would have been deleted."""
        return EntityKey(self.blueprint, self.identifier)

    @property
    def name(self) -> str:
        """What that is called."""
        return self.blueprint if self.target == "blueprint" else str(self.key)


@dataclass(frozen=True, slots=True)
class Unavailable:
    """An enrichment that could not be read of some `records` of the `of` records of a kind, and why.

    What is mapped from it keeps the value it has in Port: `paths` are what of the mappings reads it, their own parts
    (such as the selector) under `$` names.
    """

    kind: str
    enrichment: str
    reason: str
    records: int
    of: int
    paths: tuple[str, ...] = ()

    def __str__(self) -> str:
        kept = ", ".join(f"entities (by their {p[1:]})" if p.startswith("$") else p for p in self.paths)
        what = f"{self.enrichment} of {self.records} of {self.of} {self.kind}: {self.reason}"
        return f"{what}; kept as in Port: {kept}" if kept else what


def lacking(enrichment: str, reason: str) -> str:
    """Why a field is not known that reads an enrichment which could not be read."""
    return f"{enrichment} could not be read: {reason}"


@dataclass(frozen=True, slots=True)
class Guard:
    """A guard that fired: its name, the blueprint, what it counted and what it allows; the place that it speaks of."""

    name: str
    blueprint: str
    detail: str
    flag: str = ""
    origin: Origin | None = None


@dataclass(frozen=True, slots=True)
class PlanBase:
    """What a plan was made on; a plan is stale when any of it has moved.

    `catalog` is a digest over its files, `commit` what they stand on, `dirty` whether they differ from it.  `account`
    is that of PagerDuty that the records are of, as far as they say.  `scope` holds what limits the plan: the arguments
    of `pdsync.plan.Scope` that are not the default.
    """

    lineage: str
    serial: int
    catalog: str
    commit: str
    snapshot: str
    taken_at: str
    org_id: str
    org_name: str
    source: str
    target: str
    tool: str
    scope: Mapping[str, Json] = field(default_factory=dict)
    dirty: bool = False
    account: str = ""


@dataclass(frozen=True, slots=True)
class Summary:
    """How many changes of a plan have each action, blueprints included; the other counts are of entities.

    A rename is a create and a delete that belong together: it counts as `rename`, and not as either of them.
    `ignored` counts fields that differ and are left alone, `retained` entities that are kept for their retention.
    """

    create: int = 0
    update: int = 0
    delete: int = 0
    adopt: int = 0
    forget: int = 0
    release: int = 0
    unchanged: int = 0
    withheld: int = 0
    held: int = 0
    foreign: int = 0
    retained: int = 0
    ignored: int = 0
    rename: int = 0


@dataclass(frozen=True, slots=True)
class Held:
    """An entity that is left as it is because what it should be is not known; `record` is one that failed, if any."""

    blueprint: str
    identifier: str
    reason: str
    record: str = ""

    @property
    def key(self) -> EntityKey:
        """What is left alone."""
        return EntityKey(self.blueprint, self.identifier)


@dataclass(frozen=True, slots=True)
class Kept:
    """Fields of an entity that stay as they are in Port, because what its `record` gives of them is not known."""

    blueprint: str
    identifier: str
    paths: tuple[str, ...]
    reason: str
    record: str = ""

    @property
    def key(self) -> EntityKey:
        """The entity whose fields these are."""
        return EntityKey(self.blueprint, self.identifier)


@dataclass(frozen=True, slots=True)
class Ignored:
    """How many entities of a blueprint differ in a path that their lifecycle says to leave alone."""

    blueprint: str
    path: str
    count: int


@dataclass(frozen=True, slots=True)
class Commit:
    """A commit that changed a line of the catalog since it was last applied; `at` is RFC 3339 UTC."""

    id: str
    author: str
    at: str
    summary: str


@dataclass(frozen=True, slots=True)
class Dependent:
    """An entity that stays and points at one that goes: Port empties the relation, or, if required, refuses."""

    blueprint: str
    identifier: str
    relation: str
    target: str
    required: bool

    @property
    def key(self) -> EntityKey:
        """The entity that points."""
        return EntityKey(self.blueprint, self.identifier)


@dataclass(frozen=True, slots=True)
class BlastRadius:
    """What a plan touches beyond what it changes: by deletes, renames, releases and parts of blueprints that go.

    `teams` own entities that go or are released; `scorecards` (`blueprint/identifier`) judge entities that go or read
    parts that go; `unknown` names what Port did not tell.
    """

    teams: tuple[str, ...] = ()
    dependents: tuple[Dependent, ...] = ()
    scorecards: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Otherwise:
    """A change that the catalog of the base would do in another way: its number in the plan, and the other way."""

    n: int
    base: Change


@dataclass(frozen=True, slots=True)
class Branch:
    """What a catalog changes about the plan of its base, both made from one snapshot and one reading of Port.

    `ref` is what the base is called, `commit` and `catalog` say which it is.  `new` are the numbers of the plan's
    changes that the base's does not have, `otherwise` those that it has, but others; `gone` is what only the base's
    would do.  Of `withheld`, `held`, `guards` and `diagnostics` these are the plan's that the base's does not have.
    `rest` counts the changes that both have, by the cause that they have for the base.
    """

    ref: str
    commit: str
    catalog: str
    new: tuple[int, ...] = ()
    otherwise: tuple[Otherwise, ...] = ()
    gone: tuple[Change, ...] = ()
    withheld: tuple[Withheld, ...] = ()
    held: tuple[Held, ...] = ()
    guards: tuple[Guard, ...] = ()
    diagnostics: tuple[Diagnostic, ...] = ()
    rest: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything an apply does, and what it deliberately does not do.

    `branch` sets it beside the plan of a base, if it was compared with one. `expressions` is what the ledger's
    `expressions` will be.  `fingerprint` is a digest of the changes alone: equal for equal work.  `unreviewed` are the
    numbers of changes that nobody has looked at yet, in a saved plan that was put on a new base.  `commits` tells by
    catalog line (as in `origin`) which commit brought the change; `inexact` why the causes are not exact, empty when
    they are.  `unavailable` is what could not be read of PagerDuty, so that the plan leaves what is mapped from it;
    `kept` are fields that it leaves for any other reason; `listed` what the ledger is to say of lists (None: what it
    says); `clearing` numbers of blueprint changes with the paths that each takes away before all else, in the order of
    doing.
    """

    base: PlanBase
    changes: tuple[Change, ...]
    withheld: tuple[Withheld, ...]
    held: tuple[Held, ...]
    guards: tuple[Guard, ...]
    summary: Summary
    expressions: Mapping[str, Mapping[str, str]]
    fingerprint: str
    diagnostics: tuple[Diagnostic, ...] = ()
    ignored: tuple[Ignored, ...] = ()
    blast: BlastRadius | None = None
    branch: Branch | None = None
    unreviewed: tuple[int, ...] = ()
    commits: Mapping[str, Commit] = field(default_factory=dict)
    inexact: str = ""
    unavailable: tuple[Unavailable, ...] = ()
    kept: tuple[Kept, ...] = ()
    listed: Mapping[str, Listed] | None = None
    clearing: tuple[tuple[int, tuple[str, ...]], ...] = ()

    @property
    def renames(self) -> dict[int, int]:
        """Of each rename the number of its create -> the number of its delete."""
        return renames_of(self.changes)


def renames_of(changes: Iterable[Change]) -> dict[int, int]:
    """Creates and deletes of entities that name each other as twins, by number."""
    linked = [change for change in changes if change.twin and change.target == "entity"]
    going = {(c.key, c.twin): c.n for c in linked if c.action == "delete"}
    pairs = ((c.n, (EntityKey(c.blueprint, c.twin), c.identifier)) for c in linked if c.action == "create")
    return {n: going[other] for n, other in pairs if other in going}
