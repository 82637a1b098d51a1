"""What stands in the catalog: blueprints, mappings and the policy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal

from pdsync.errors import Diagnostic, Origin
from pdsync.model.values import Json


@dataclass(frozen=True, slots=True)
class Expression:
    """A jq expression and where it stands; `text` is what jq compiles (single quotes already rewritten)."""

    text: str
    origin: Origin


@dataclass(frozen=True, slots=True)
class SearchQuery:
    """A Port search (`combinator` and `rules`) in the place of an identifier, a team or a relation.

    `rules` is the object as written, with an `Expression` for every leaf: each leaf is jq itself.
    """

    rules: Mapping[str, Any]
    origin: Origin

    @property
    def text(self) -> str:
        """What it says, wherever it stands: equal for queries with equal expressions."""
        return repr(_texts(self.rules))


def _texts(part: object) -> object:
    if isinstance(part, Expression):
        return part.text
    if isinstance(part, Mapping):
        return {name: _texts(each) for name, each in sorted(part.items())}
    return [_texts(each) for each in part] if isinstance(part, list | tuple) else part


@dataclass(frozen=True, slots=True)
class Query:
    """What to ask the source for: a kind, its parameters and its enrichments.

    `params` are the query string, in order, list parameters repeated under their bracket name
    (`("statuses[]", "resolved")`); `enrich` names enrichments with their option
    (`("__analytics", "3")`, `("__custom_fields", "")`).  Two mappings whose queries are equal share one fetch.
    """

    kind: str
    params: tuple[tuple[str, str], ...] = ()
    enrich: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        options = "&".join(f"{name}={value}" for name, value in self.params)
        return f"{self.kind}?{options}" if options else self.kind


Removal = Literal["delete", "release", "forget"]
"""What becomes of an entity that is ours once nothing makes it any more."""


@dataclass(frozen=True, slots=True)
class Lifecycle:
    """What a mapping says of its entities beyond what they are.

    `on_remove` is what becomes of them once nothing makes them any more (None: as their origin says);
    `ignore_changes` are paths, or globs over paths, that are written once and then left alone; `retention` is for how
    long an entity is kept whose record only left the time window of its list (None: not at all).
    """

    on_remove: Removal | None = None
    ignore_changes: tuple[str, ...] = ()
    retention: timedelta | None = None


@dataclass(frozen=True, slots=True)
class MappingRule:
    """One resource of a mapping file.

    `id` is stable while the file keeps its name and the order of resources of one kind (else see `pdsync.plan.moved`):
    `mappings/pagerduty.yaml#incidents[1]`.  `fields` holds the expression of each mapped path.  Without `merge`,
    what is not mapped is cleared, as `merge_origin` says.
    """

    id: str
    kind: str
    query: Query
    selector: Expression
    identifier: Expression | SearchQuery
    blueprint: Expression
    fields: Mapping[str, Expression | SearchQuery]
    origin: Origin
    items: Expression | None = None
    items_name: str = "item"
    items_strip: bool = True
    create_missing_related: bool = True
    delete_dependents: bool = False
    merge: bool = True
    deletion_threshold: float | None = None
    lifecycle: Lifecycle = Lifecycle()
    merge_origin: Origin | None = None


@dataclass(frozen=True, slots=True)
class Blueprint:
    """A blueprint: `definition` is Port's own JSON, `origins` the place of each path of its flat form."""

    identifier: str
    definition: Mapping[str, Json]
    origins: Mapping[str, Origin] = field(default_factory=dict)

    @property
    def properties(self) -> Mapping[str, Mapping[str, Json]]:
        """The definition of each own property (mirror, calculation and aggregation are not own)."""
        schema = self.definition.get("schema") or {}
        return schema.get("properties") or {}

    @property
    def required(self) -> frozenset[str]:
        """Own properties that an entity must have."""
        return frozenset((self.definition.get("schema") or {}).get("required") or ())

    @property
    def relations(self) -> Mapping[str, Mapping[str, Json]]:
        """The definition of each relation: target, many, required."""
        return self.definition.get("relations") or {}

    @property
    def meta(self) -> tuple[str, ...]:
        """What its entities have beside properties and relations; a team that is inherited is not theirs."""
        inherits = (self.definition.get("ownership") or {}).get("type") == "Inherited"
        return ("title", "icon") if inherits else ("title", "icon", "team")


@dataclass(frozen=True, slots=True)
class DeleteLimit:
    """Deletes of one blueprint are withheld above `count` *and* above `percent` of what we own.

    `empty` says what is done when nothing would be left at all, however little that is.
    """

    count: int = 10
    percent: float = 2.0
    empty: Literal["withhold", "allow"] = "withhold"


@dataclass(frozen=True, slots=True)
class Policy:
    """What a plan may do: delete limits per blueprint (`deletes`, default under `*`) and the like.

    `invalid` says what becomes of an entity with a value that Port would refuse: it is held, or loses only that field.
    `renames` says by blueprint which property or relation is now called what; `system_blueprints` which of Port's own
    blueprints (`_user`, `_team`) the catalog may add parts to and write entities of.  A list that shrank
    suspiciously is believed when it is still as short `believe_shrink_after` later (`pdsync.completeness`).
    """

    deletes: Mapping[str, DeleteLimit] = field(default_factory=dict)
    adopt: Literal["allow", "refuse"] = "allow"
    on_remove: Literal["release", "delete"] = "release"
    protect: tuple[str, ...] = ()
    invalid: Literal["hold", "drop-field"] = "hold"
    renames: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    system_blueprints: tuple[str, ...] = ()
    believe_shrink_after: timedelta = timedelta(hours=1)

    def delete_limit(self, blueprint: str) -> DeleteLimit:
        """The limit in force for a blueprint."""
        return self.deletes.get(blueprint) or self.deletes.get("*") or DeleteLimit()


@dataclass(frozen=True, slots=True)
class Project:
    """catalog/pdsync.yaml, with the environment's part laid over it.

    Records that no longer change are not read again from the age of `settled_after` on (None: always), but in every
    `full_every`-th snapshot.
    """

    name: str
    port_base_url: str = "https://api.port.io"
    pagerduty_api_url: str = "https://api.pagerduty.com"
    settled_after: timedelta | None = None
    full_every: int = 10
    state_url: str = ""
    state_snapshot: Literal["cache", "remote"] = "cache"
    policy: Policy = field(default_factory=Policy)


@dataclass(frozen=True, slots=True)
class Catalog:
    """catalog/ as read from the working tree or from a git commit.

    `tree` is a digest over the names and bytes of its files; `commit` the git commit it stands on (with `dirty`
    when the files differ from it), None outside git.  `ended` are rules that map nothing any more, whose lifecycles
    say all the same how what they made ends.
    """

    project: Project
    blueprints: Mapping[str, Blueprint]
    rules: tuple[MappingRule, ...]
    tree: str
    commit: str | None = None
    dirty: bool = False
    diagnostics: tuple[Diagnostic, ...] = ()
    ended: tuple[MappingRule, ...] = ()
