"""The two sides that are compared: what is to be in Port, and what is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pdsync.errors import Diagnostic
from pdsync.model.catalog import Blueprint
from pdsync.model.values import EntityKey, Fields, Unread, many


@dataclass(frozen=True, slots=True)
class Portion:
    """What one of several records gives of an entity: by which mapping rules, and which paths, sorted."""

    source: str
    rules: tuple[str, ...]
    paths: tuple[str, ...]


@many(frozen=True, slots=True)
class DesiredEntity(Unread):
    """What the mapping says an entity shall be.

    `fields` holds every mapped path that is known, null included; `unknown` the mapped paths whose value could
    not be found out, with the reason: they keep Port's value.  `rules` are the mapping rules that wrote it,
    `source` the record it comes from, as `services/PX1`.  Where several records make it, `portions` has each of them,
    sorted, `source` is the first and `rules` are those of all; else `portions` is empty.  `assumed` are those of them
    of which nothing is known at the moment: that they still make it is what the ledger says.
    """

    key: EntityKey
    fields: Fields
    rules: tuple[str, ...]
    source: str
    unknown: Mapping[str, str] = field(default_factory=dict)
    portions: tuple[Portion, ...] = ()
    assumed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DesiredEntities:
    """The outcome of mapping a snapshot.

    `held` are keys that must be left as they are, with the reason (colliding identifiers); `failed` are records
    that gave no entity because of an error, as `services/PX1`: what was made from them is not to be deleted.
    `counts` says per rule id how many records were read, selected and mapped.
    """

    entities: Mapping[EntityKey, DesiredEntity]
    held: Mapping[EntityKey, str] = field(default_factory=dict)
    failed: Mapping[str, str] = field(default_factory=dict)
    diagnostics: tuple[Diagnostic, ...] = ()
    counts: Mapping[str, RuleCount] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RuleCount:
    """How many records a rule read, how many its selector took, how many entities came out."""

    records: int
    selected: int
    entities: int


@many(frozen=True, slots=True)
class ExistingEntity(Unread):
    """What Port holds: the fields that were asked for, in normal form; who wrote it last and when, and its birth."""

    fields: Fields
    updated_at: str = ""
    updated_by: str = ""
    created_at: str = ""


@dataclass(frozen=True, slots=True)
class Existing:
    """What Port holds of what was asked for: organisation, blueprints as Port's JSON, entities."""

    org_id: str
    org_name: str
    blueprints: Mapping[str, Blueprint]
    entities: Mapping[EntityKey, ExistingEntity]
    known_targets: frozenset[EntityKey] = frozenset()


@dataclass(frozen=True, slots=True)
class Scorecard:
    """A scorecard, and the properties and relations that its rules and its filter read."""

    identifier: str
    reads: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What was asked of Port about entities that a plan is about to adopt or to remove.

    `by_integration` are those that Port's own PagerDuty integration wrote last; `teams` the teams of those that may go;
    `dependents` hold the relations by which entities that are not read otherwise point at them; `scorecards` by
    blueprint; `unknown` names what Port did not tell.
    """

    by_integration: frozenset[EntityKey] = frozenset()
    teams: Mapping[EntityKey, tuple[str, ...]] = field(default_factory=dict)
    dependents: Mapping[EntityKey, ExistingEntity] = field(default_factory=dict)
    scorecards: Mapping[str, tuple[Scorecard, ...]] = field(default_factory=dict)
    unknown: tuple[str, ...] = ()
    diagnostics: tuple[Diagnostic, ...] = ()
