"""One row of the decision table, and the words that go with it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from pdsync.model import (
    Catalog,
    Cause,
    DesiredEntities,
    DesiredEntity,
    EntityKey,
    Existing,
    Json,
    Ledger,
    Surroundings,
    Unavailable,
)
from pdsync.plan.unchanged import Unchanged

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pdsync.model import (
        Action,
        Change,
        FieldChange,
        LedgerEntry,
        MappingRule,
    )


class Beyond(NamedTuple):
    """The desired entities that point at something else as well, sorted, each with paths and targets of its relations.

    Found by going through all entities there are, so it is found once: it holds for what is desired, and where these
    relations lead.
    """

    found: tuple[tuple[DesiredEntity, Sequence[tuple[str, EntityKey]]], ...]
    desired: Mapping[EntityKey, DesiredEntity]
    relations: Mapping[str, Json]


@dataclass(frozen=True, slots=True)
class Facts:
    """The three sides and what is known about them.

    `unproven` maps a rule id to why absence from its collection proves nothing; `expressions` rule id to path to a
    digest of the expression (of its own parts under `$query`, `$selector`, `$identifier`, `$blueprint`, `$items`, and
    `$merge` if it replaces whole entities); `tool` is the version of what evaluates them; `around` what was asked of
    Port about single entities; `taken_at` the moment of the snapshot; `not_read` are source records, as
    `incidents/PX1`, that an incremental reading took over from an earlier one, `missing` those that may be
    there although they are not listed; `refused` are entities that the target, asked, says it would refuse, with its
    message; `lacking` is what could not be read of the source; `unchanged` what is known to need nothing;
    `moved_rules` the ids that rules had in the ledger, which has those of now here; `beyond` what of all that is
    desired points elsewhere, if somebody has found that out; `account` the one of PagerDuty that records are of, if
    they say so.
    """

    catalog: Catalog
    desired: DesiredEntities
    existing: Existing
    ledger: Ledger
    unproven: Mapping[str, str] = field(default_factory=dict)
    expressions: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    tool: str = ""
    around: Surroundings = field(default_factory=Surroundings)
    taken_at: str = ""
    not_read: frozenset[str] = frozenset()
    missing: frozenset[str] = frozenset()
    refused: Mapping[EntityKey, str] = field(default_factory=dict)
    lacking: tuple[Unavailable, ...] = ()
    unchanged: Unchanged = field(default_factory=Unchanged)
    moved_rules: Mapping[str, str] = field(default_factory=dict)
    beyond: Beyond | None = None
    account: str = ""


@dataclass(frozen=True, slots=True)
class Scope:
    """What a plan is limited to.

    `only` and `exclude` are globs over `blueprint/identifier` and over the blueprint's name; `allow_deletes` lifts the
    delete limit of a blueprint for exactly that number, `allow_breaking` (`blueprint.part`) lets exactly that many
    entities lose what they hold of a blueprint's part, or lack what it will require.  `reverts` is the run that the
    plan undoes.
    """

    only: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    no_delete: bool = False
    allow_deletes: Mapping[str, int] = field(default_factory=dict)
    allow_breaking: Mapping[str, int] = field(default_factory=dict)
    reverts: str = ""

    @property
    def limited(self) -> bool:
        """Whether anything may be out of scope."""
        return bool(self.only or self.exclude)

    @property
    def told(self) -> dict[str, Json]:
        """What is not the default, as plain JSON; `Scope.read` reads it."""
        values = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {name: list(v) if isinstance(v, tuple) else v for name, v in values.items() if v}

    @classmethod
    def read(cls, told: Mapping[str, Json]) -> Scope:
        """A scope from what `told` gave."""
        return msgspec.convert(told, cls)

    def covers(self, change: Change) -> bool:
        """Whether a change is in scope; a blueprint itself is meant by its name alone."""
        return self.covers_blueprint(change.blueprint) if change.target == "blueprint" else self.covers_key(change.key)

    def covers_blueprint(self, blueprint: str) -> bool:
        """Whether a blueprint itself is in scope."""
        return self.covers_key(EntityKey(blueprint, ""))

    def covers_key(self, key: EntityKey) -> bool:
        """Whether an entity is in scope; with an empty identifier, its blueprint."""
        return not self.limited or ((not self.only or matches(key, self.only)) and not matches(key, self.exclude))


def matches(key: EntityKey, globs: Iterable[str]) -> bool:
    """Whether any glob covers a key: `blueprint/identifier`, or the blueprint's name alone."""
    name = str(key) if key.identifier else key.blueprint
    return any(fnmatchcase(name, glob) or fnmatchcase(key.blueprint, glob) for glob in globs)


def is_system(blueprint: str) -> bool:
    """Whether a blueprint is Port's own (`_user`, `_team`): neither it nor what is in it is ever deleted."""
    return blueprint.startswith("_")


def constant_blueprint(rule: MappingRule) -> str | None:
    """The blueprint a rule writes when its expression is a plain text, else None."""
    try:
        value = json.loads(rule.blueprint.text)
    except ValueError:
        return None
    return value if isinstance(value, str) else None


def writers(rules: Iterable[MappingRule]) -> Callable[[str, str], bool]:
    """A test whether any rule writes a path of a blueprint (one whose blueprint is computed may write any)."""
    written = {(constant_blueprint(rule), path) for rule in rules for path in rule.fields}
    return lambda blueprint, path: (blueprint, path) in written or (None, path) in written


def decide(*, wanted: bool, exists: bool, differs: bool, last: LedgerEntry | None, settled: bool) -> Action | None:
    """One row of the table in `pdsync.plan`; None is nothing to do.

    `differs` says whether a mapped field of Port's is not as desired, `settled` whether the ledger already says what it
    would say afterwards.
    """
    if wanted:
        if not exists:
            return "create"
        if differs:
            return "update"
        return None if settled else "adopt"
    if last is None:
        return None
    if not exists:
        return "forget"
    return "release" if last.origin == "adopted" else "delete"


def wanted_reason(action: Action, last: LedgerEntry | None) -> str:
    """Why something that is desired is created, updated or adopted, in the words of the table."""
    ours = last is not None
    return {
        "create": "gone-from-port" if ours else "new",
        "update": "changed" if ours else "taken-over",
        "adopt": "caught-up" if ours else "equal",
    }[action]


CAUSES: tuple[Cause, ...] = ("catalog", "source", "tool", "drift")
"""In the order in which they are told."""


def all_causes(main: Cause, found: Iterable[Cause]) -> tuple[Cause, ...]:
    """Causes, each once: the main one, then the others in their order."""
    others = {*found} - {main}
    return (main, *(cause for cause in CAUSES if cause in others)) if others else (main,)


def main_cause(fields: Iterable[FieldChange], otherwise: Cause) -> Cause:
    """The cause that most fields share; the first in the order catalog, source, drift, tool when several do."""
    counts = Counter(f.cause for f in fields)
    order: tuple[Cause, ...] = ("catalog", "source", "drift", "tool")
    return max(order, key=lambda cause: (counts[cause], -order.index(cause))) if counts else otherwise
