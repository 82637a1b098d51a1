"""What we own, as we last wrote it, and which runs wrote it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from pdsync.model.catalog import Removal
from pdsync.model.sides import DesiredEntity, Portion
from pdsync.model.values import EntityKey, FieldsView, Unread, many

EntityOrigin = Literal["created", "adopted", "integration"]
"""We made it; it was there; it was there, and Port's own PagerDuty integration had made it from the same records."""


@many(frozen=True, slots=True)
class LedgerEntry(Unread):
    """What we last wrote to one entity or blueprint, and where it came from.

    `fields` are the mapped paths in normal form, without nulls; `origin` says whether we made it or took it over;
    `rules`, `source` and `portions` are those of the `DesiredEntity` it came from; `on_remove` what their lifecycle
    said last, which holds on when they leave the catalog.  Of a blueprint, `parts` are the paths whose origin is not
    that of the blueprint: what we added to one that was there, and what was there of one that we made.
    """

    fields: FieldsView
    origin: EntityOrigin
    rules: tuple[str, ...] = ()
    source: str = ""
    protect: bool = False
    on_remove: Removal | None = None
    parts: Mapping[str, EntityOrigin] = field(default_factory=lambda: _NO_PARTS)
    portions: tuple[Portion, ...] = ()


_NO_PARTS: Mapping[str, EntityOrigin] = {}
"""One for all entries: of entities there are many, and they have no parts."""


def makers(made: DesiredEntity | LedgerEntry) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """The records that an entity is made of, each with its rules; none for one that only a relation needs."""
    if made.portions:
        return tuple((portion.source, portion.rules) for portion in made.portions)
    return ((made.source, made.rules),) if made.source else ()


def sources_of(made: DesiredEntity | LedgerEntry) -> tuple[str, ...]:
    """The records that an entity is made of."""
    return tuple(source for source, _ in makers(made))


def under_names(portions: tuple[Portion, ...], moved: Mapping[str, str]) -> tuple[Portion, ...]:
    """Portions with paths under the new names that some have."""
    named = ((each, tuple(sorted({moved.get(path, path) for path in each.paths}))) for each in portions)
    return tuple(Portion(each.source, each.rules, paths) for each, paths in named)


@dataclass(frozen=True, slots=True)
class RunNote:
    """What the ledger remembers of a run whose outcome it holds; `serial` is that of the first ledger that does.

    `operation` is the command, `who` user@host, `link` the CI run, `pull` the pull request, as a link or `#12`;
    `resumes` is the run that it went on with, `reverts` the one that it put back, `changes` how many the plan had, the
    counts how many of them ended so.
    """

    run: str
    started: str
    operation: str
    serial: int
    who: str = ""
    commit: str = ""
    link: str = ""
    pull: str = ""
    resumes: str = ""
    reverts: str = ""
    changes: int = 0
    done: int = 0
    failed: int = 0
    skipped: int = 0
    unknown: int = 0


@dataclass(frozen=True, slots=True)
class Listed:
    """How long a list was that had shrunk to `count` records: `when` is the first snapshot that had it so short.

    `believed` were believed last, the count itself unless it is `suspicious` (`pdsync.completeness`); `filter` is the
    query in words.  `missing` tells since when records that something owned was made from have been missing, or what
    they had, by id.
    """

    kind: str
    filter: str
    count: int
    believed: int
    when: str
    suspicious: bool
    missing: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Ledger:
    """What pdsync owns: the precious half of the state.

    `serial` grows by one with each write; `lineage` is drawn once and never changes; `parent` is the checksum of
    the ledger before this one; `org_id` the Port organisation, `account` the PagerDuty account (`pdsync.subdomain`);
    `commit` the catalog commit last applied, `catalog` the digest of its files and `snapshot` that of the snapshot (a
    plan that was limited leaves all three as they are, and the account);
    `expressions` maps rule id to path to a digest of the jq expression that was last applied; `runs` are the last runs
    whose outcomes it holds, the newest last; `listed` are lists that are shorter than what is owned tells, by query, so
    that a second snapshot can say the same where none is kept.
    Blueprints are kept under their identifier in `blueprints`, entities under their key.  `checksum` is that of the
    file that it was read from.
    """

    lineage: str
    serial: int = 0
    parent: str = ""
    org_id: str = ""
    account: str = ""
    commit: str = ""
    catalog: str = ""
    snapshot: str = ""
    tool: str = ""
    expressions: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    runs: tuple[RunNote, ...] = ()
    blueprints: Mapping[str, LedgerEntry] = field(default_factory=dict)
    entities: Mapping[EntityKey, LedgerEntry] = field(default_factory=dict)
    listed: Mapping[str, Listed] = field(default_factory=dict)
    checksum: str = field(default="", compare=False)
