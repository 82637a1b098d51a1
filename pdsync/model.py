"""The nouns of pdsync.

Everything that is compared is a flat map from *path* to value (`Fields`):

    entity      title, icon, team, properties.<id>, relations.<id>
    blueprint   title, description, icon, schema.properties.<id>, schema.required, relations.<id>,
                mirrorProperties.<id>, calculationProperties.<id>, aggregationProperties.<id>, ownership

A path that is absent was not spoken of; a value that is None is to be empty.  Both sides of a comparison are in
the normal form of `pdsync.normal`, so equality is `==`.  Values are plain JSON.  All types are frozen: build new,
never edit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import lru_cache
from hashlib import sha256
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, Self, TypeVar, overload

from pdsync.errors import Diagnostic, Origin

if TYPE_CHECKING:
    from dataclasses import dataclass as many
else:

    def many(*, frozen: bool, slots: bool) -> Any:
        """A frozen dataclass for what there is a hundred thousand of.

        That nothing sets a field is seen to by the type checker alone: to refuse it at run time makes making one five
        times as slow.
        """
        return dataclass(slots=slots, unsafe_hash=frozen)


Json = Any
"""A JSON value: None, bool, int, float, str, list or dict of the same."""

Fields = dict[str, Json]
"""Path to value, as in the module's docstring."""


class EntityKey(NamedTuple):
    """What identifies an entity in Port; printed `blueprint/identifier`."""

    blueprint: str
    identifier: str

    def __str__(self) -> str:
        return f"{self.blueprint}/{self.identifier}"


class Unread:
    """What has its `fields` as bytes until they are asked for: of all there is, hardly anything is.

    `packed` is what reads them, the bytes, and what saves room in fields that are kept; None once they are read, and
    where they never were bytes.
    """

    __slots__ = ("packed",)
    packed: tuple[Callable[[bytes], Fields], bytes, Callable[[Fields], Fields]] | None

    if TYPE_CHECKING:
        fields: Fields
    else:

        def __getattr__(self, name: str) -> Any:
            """Comes to be asked only about what is not there (yet)."""
            if name == "packed":
                return None
            if name != "fields":
                raise AttributeError(name)
            if (packed := self.packed) is not None:
                read, data, keep = packed
                self.fields = keep(read(data))
                self.packed = None  # only now: another thread may be asking, too
            return object.__getattribute__(self, name)


Unreadily = TypeVar("Unreadily", bound=Unread)


def unread(
    made: Unreadily,
    read: Callable[[bytes], Fields],
    data: bytes,
    keep: Callable[[Fields], Fields] = lambda fields: fields,
) -> Unreadily:
    """The same, just made with any fields, with those that `read` makes of `data` once they are asked for."""
    del made.fields
    made.packed = read, data, keep
    return made


def glance(at: Unread) -> Fields:
    """The fields, which are not kept where nobody had asked for them before: for a look at very many."""
    packed = at.packed
    return at.fields if packed is None else packed[0](packed[1])


# --- catalog ---------------------------------------------------------------------------------------------------


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


# --- snapshot --------------------------------------------------------------------------------------------------


class KeptBytes(Protocol):
    """Bytes that stand elsewhere: their number is known, calling reads them."""

    def __len__(self) -> int: ...

    def __call__(self) -> bytes:
        """Read them."""
        ...


class Record:
    """One PagerDuty record as raw JSON bytes, enrichments included.

    `unavailable` maps an enrichment's name to why it could not be read: what depends on it is unknown.  The bytes may
    be kept elsewhere: `raw` reads them each time, `size` and a `digest` that was given do without.
    """

    __slots__ = ("_digest", "_raw", "id", "unavailable")

    def __init__(
        self,
        id: str,  # noqa: A002
        raw: bytes | KeptBytes,
        unavailable: Mapping[str, str] | None = None,
        digest: bytes = b"",
    ) -> None:
        self.id = id
        self.unavailable = unavailable or {}
        self._raw = raw
        self._digest = digest

    @property
    def raw(self) -> bytes:
        """The bytes."""
        return self._raw if isinstance(self._raw, bytes) else self._raw()

    @property
    def size(self) -> int:
        """How many bytes there are, give or take a space."""
        return len(self._raw)

    @property
    def digest(self) -> bytes:
        """The one that was given, else `raw_digest` of the bytes."""
        return self._digest or raw_digest(self.raw)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Record):
            return NotImplemented
        return (self.id, self.raw, self.unavailable) == (other.id, other.raw, other.unavailable)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Record(id={self.id!r}, raw={self.raw!r}, unavailable={self.unavailable!r})"


def raw_digest(raw: bytes | memoryview) -> bytes:
    """What tells the bytes of one record from those of another: the first half of their SHA-256, which CPUs know."""
    return sha256(raw, usedforsecurity=False).digest()[:16]


class Missing(NamedTuple):
    """A record that a list does not have any more; under which parent it was (empty: nobody knows), and since when.

    That it is gone is not known: the list under its parent is not counted and came too short, or was not read.
    """

    parent: str
    since: str = ""


@dataclass(frozen=True, slots=True)
class Collection:
    """All records that one query gave, in the order PagerDuty gave them, each id once.

    `records` may be kept elsewhere and be read as they are looked at.
    `problem` is why absence from this collection proves nothing; None when the collection is complete.
    `requests` counts HTTP requests, `seconds` is the time from the first of them to the last answer; `notes` tell what
    else went wrong (an enrichment); `believed` is the last count that was not suspiciously small
    (`pdsync.completeness`), which this one is since the snapshot taken at `short_since`, if it is.

    `taken` is how many of the first records were not read but taken over from an earlier snapshot, and `since_full` how
    many such readings there were, this one included, since all of them were read.  `as_of` tells when what was taken
    over was read (RFC 3339 UTC), by enrichment, under the empty name for the records themselves; what it does not name
    was read for this snapshot.  `private` are the private fields that were left in, because a mapping reads them
    (`pdsync.privacy`).  `sharing` says in words what was read together with other queries of the kind, and why not.
    `missing` are records, by id, that may still be there (`pdsync.vanished`).
    """

    query: Query
    records: Sequence[Record]
    problem: Diagnostic | None = None
    requests: int = 0
    seconds: float = 0.0
    notes: tuple[Diagnostic, ...] = ()
    believed: int = 0
    taken: int = 0
    since_full: int = 0
    as_of: Mapping[str, str] = field(default_factory=dict)
    private: tuple[str, ...] = ()
    sharing: str = ""
    short_since: str = ""
    missing: Mapping[str, Missing] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """Whether a record that is not here is proven not to exist."""
        return self.problem is None

    @property
    def incremental(self) -> bool:
        """Whether some of it was taken over."""
        return self.taken > 0


@dataclass(frozen=True, slots=True)
class Leaned:
    """A list that enrichments were taken from, of which nothing but its length is kept; see `Collection`.

    `count` is 0 where it is not known, which `problem` then explains.  Of what is asked for about each record, it is
    how many of the records, of `asked`, have any of it, and `missing` are records that had, with since when not.
    """

    query: Query
    count: int = 0
    problem: Diagnostic | None = None
    believed: int = 0
    short_since: str = ""
    asked: int | None = None
    missing: Mapping[str, str] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """Whether who is missing from it is missing in PagerDuty."""
        return self.problem is None


@many(frozen=True, slots=True)
class PageRead:
    """One answer of a list, by which it is known when it comes again.

    `body` is the digest of the answer, `records` that of the digests of its records; `ids` are theirs, in order.  The
    rest is what the answer says of the list.
    """

    kind: str
    body: bytes
    ids: tuple[str, ...]
    records: bytes
    more: bool | None = None
    total: int | None = None
    following: str = ""
    limit: int | None = None


@dataclass(frozen=True, slots=True)
class PagesRead:
    """The answers of lists that a snapshot was made of, and the private fields that were left in their records."""

    private: tuple[str, ...] = ()
    pages: tuple[PageRead, ...] = ()


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What PagerDuty said at one moment; `taken_at` is RFC 3339 UTC, `source` the API it came from.

    `leaned` are the lists that enrichments were taken from, whether a mapping lists them as well or not.  `read` are
    the answers that all this was read from.  `notes` tell what else there was to notice meanwhile; they are not kept.
    """

    source: str
    taken_at: str
    collections: Mapping[Query, Collection]
    digest: str = ""
    leaned: Mapping[Query, Leaned] = field(default_factory=dict)
    read: PagesRead = PagesRead()
    notes: tuple[Diagnostic, ...] = ()


# --- desired and existing --------------------------------------------------------------------------------------


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
    sorted, `source` is the first and `rules` are those of all; else `portions` is empty.
    """

    key: EntityKey
    fields: Fields
    rules: tuple[str, ...]
    source: str
    unknown: Mapping[str, str] = field(default_factory=dict)
    portions: tuple[Portion, ...] = ()


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


# --- ledger ----------------------------------------------------------------------------------------------------


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

    fields: Fields
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
    the ledger before this one; `org_id` the Port organisation; `commit` the catalog commit last applied, `catalog` the
    digest of its files and `snapshot` that of the snapshot (a plan that was limited leaves all three as they are);
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


# --- plan ------------------------------------------------------------------------------------------------------

Action = Literal["create", "update", "delete", "adopt", "release", "forget"]
Cause = Literal["catalog", "source", "drift", "tool", "revert"]


@many(frozen=True, slots=True)
class FieldChange:
    """One path that will change: before (Port's) and after, why, and the catalog line that says so.

    `causes` are all there are, the main one first, which is `cause` (see `pdsync.plan.cause`).  `drift` marks that
    Port's value is not what we last wrote, `deferred` a relation that is written in a second pass because it closes a
    cycle.  Of a blueprint, `moved_from` is the path that is renamed to this one, and `replace` says that the part is
    removed and made anew; `note` tells what that means for entities.
    """

    path: str
    before: Json
    after: Json
    cause: Cause
    origin: str = ""
    drift: bool = False
    deferred: bool = False
    moved_from: str = ""
    replace: bool = False
    note: str = ""
    causes: tuple[Cause, ...] = ()

    @property
    def stays(self) -> bool:
        """Of a blueprint: whether Port keeps the part as it is, and we only cease, or begin again, to own it."""
        return self.before is not None and self.before == self.after and not (self.replace or self.moved_from)


class FieldChanges(Sequence[FieldChange]):
    """The fields of one change, made as they are looked at.

    A first plan has a field change for every value there is: kept apart from the values is only what is the same for
    many entities, once for all of them.
    """

    __slots__ = ("_afters", "_befores", "_paths", "_told")

    def __init__(self, fields: Iterable[FieldChange]) -> None:
        fields = tuple(fields)
        befores = tuple(field.before for field in fields)
        self._paths = _one_of_many(tuple(field.path for field in fields))
        self._told = _one_of_many(tuple(map(_told, fields)))
        self._befores = befores if any(before is not None for before in befores) else _one_of_many(befores)
        self._afters = tuple(field.after for field in fields)

    def from_nothing(self, afters: tuple[Json, ...]) -> FieldChanges:
        """The same paths, causes and origins, from null to these values."""
        made = FieldChanges.__new__(FieldChanges)
        made._paths, made._told, made._afters = self._paths, self._told, afters  # noqa: SLF001
        made._befores = _one_of_many((None,) * len(afters))  # noqa: SLF001
        return made

    def __len__(self) -> int:
        return len(self._paths)

    @overload
    def __getitem__(self, index: int) -> FieldChange: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[FieldChange]: ...
    def __getitem__(self, index: int | slice) -> FieldChange | Sequence[FieldChange]:
        return tuple(self)[index]

    def __iter__(self) -> Iterator[FieldChange]:
        for path, before, after, told in zip(self._paths, self._befores, self._afters, self._told, strict=True):
            yield FieldChange(path, before, after, *told)

    def __eq__(self, other: object) -> bool:
        return tuple(self) == tuple(other) if isinstance(other, Sequence) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return repr(tuple(self))

    def columns(self) -> tuple[tuple[str, ...], tuple[Json, ...], tuple[Json, ...], tuple[tuple[Any, ...], ...]]:
        """What `rows` gives, each as one tuple; paths and the rest are the same tuples for many."""
        return self._paths, self._befores, self._afters, self._told

    def rows(self) -> Iterable[tuple[str, Json, Json, tuple[Any, ...]]]:
        """Path, values before and after, and the rest of each field, which `ALIKE` names."""
        return zip(self._paths, self._befores, self._afters, self._told, strict=True)

    def afters(self) -> Iterable[tuple[str, Json]]:
        """Path and value after."""
        return zip(self._paths, self._afters, strict=True)

    def befores(self) -> Iterable[tuple[str, Json]]:
        """Path and value before."""
        return zip(self._paths, self._befores, strict=True)


ALIKE = ("cause", "origin", "drift", "deferred", "moved_from", "replace", "note", "causes")
"""What of a field change is the same for many."""

_told = attrgetter(*ALIKE)


@lru_cache(maxsize=4096)
def _one_of_many(equal: tuple[Any, ...]) -> tuple[Any, ...]:
    """The same tuple for all that are equal."""
    return equal


class _WithKey:
    """What has a key that is asked for often; there may be one for every entity there is."""

    __slots__ = ("_key",)
    _key: EntityKey
    blueprint: str
    identifier: str

    @property
    def key(self) -> EntityKey:
        """The entity's key; of a blueprint change its identifier twice."""
        try:
            return self._key
        except AttributeError:
            self._key = EntityKey(self.blueprint, self.identifier)
            return self._key

    def known_as(self, key: EntityKey) -> Self:
        """The same; `key` is its key, which somebody else holds already."""
        self._key = key
        return self


@many(frozen=True, slots=True)
class Change(_WithKey):
    """One action on one entity or blueprint.

    `n` counts from 1 in the order of doing; `after` are the numbers of changes that must have succeeded before.
    `reason` is one word for why the action is what it is (see `pdsync.plan`).  `ledger` is what the ledger will
    say once this is done (None: the entry goes).  `seen` is a digest of the entity as the plan saw it.  `twin` is the
    identifier of the other half of a rename: on what is created that of what goes, on what goes that of what comes.
    `meanwhile` are paths and values of relations that stand in between: on what is created until the second pass, on
    what goes from right before the deletes.
    `causes` are all of its causes; `origin` is the catalog line that makes or removes the whole of it, `source_at` when
    its record was last changed as far as the record tells, `edited_by` and `edited_at` who wrote it in Port last, when
    that was not us (all times RFC 3339).
    """

    n: int
    target: Literal["entity", "blueprint"]
    action: Action
    blueprint: str
    identifier: str
    title: str
    fields: Sequence[FieldChange]
    reason: str
    cause: Cause
    after: tuple[int, ...] = ()
    source: str = ""
    ledger: LedgerEntry | None = None
    seen: str = ""
    twin: str = ""
    causes: tuple[Cause, ...] = ()
    origin: str = ""
    source_at: str = ""
    edited_by: str = ""
    edited_at: str = ""
    meanwhile: tuple[tuple[str, Json], ...] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.fields, FieldChanges):
            object.__setattr__(self, "fields", FieldChanges(self.fields))

    def afters(self) -> Iterable[tuple[str, Json]]:
        """Path and value after of each field, which is told faster than by `fields`."""
        assert isinstance(self.fields, FieldChanges)
        return self.fields.afters()

    def befores(self) -> Iterable[tuple[str, Json]]:
        """Path and value before of each field."""
        assert isinstance(self.fields, FieldChanges)
        return self.fields.befores()


def number(draft: Change, n: int, after: tuple[int, ...]) -> None:
    """Make a change of a draft, which has no place among the others yet: there may be one for every entity there is."""
    object.__setattr__(draft, "n", n)
    object.__setattr__(draft, "after", after)


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

    `catalog` is a digest over its files, `commit` what they stand on, `dirty` whether they differ from it.  `scope`
    holds what limits it: the arguments of `pdsync.plan.Scope` that are not the default.
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


# --- apply -----------------------------------------------------------------------------------------------------

OutcomeStatus = Literal["done", "failed", "skipped", "unknown"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one change went: `message` is Port's for a failure, or which failed change it depended on."""

    n: int
    status: OutcomeStatus
    message: str = ""


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

    `statuses`, `messages` and `images` are by change number; `closed` is the serial of the ledger that holds the
    result, None while none does.  `before` is None in journals of older versions.
    """

    head: RunHead
    plan: Plan
    statuses: Mapping[int, OutcomeStatus] = field(default_factory=dict)
    messages: Mapping[int, str] = field(default_factory=dict)
    images: Mapping[int, Image] = field(default_factory=dict)
    closed: int | None = None
    before: LedgerBefore | None = None

    @property
    def run(self) -> str:
        """Its id."""
        return self.head.run


# --- doctor ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class KindState:
    """Whether something can be read: a kind, or what is put into its records (`services: __oncall_user`)."""

    kind: str
    status: str
    detail: str
    scope: str


@dataclass(frozen=True, slots=True)
class Examination:
    """What `doctor` found.

    `scopes` are the least that an OAuth app needs for the catalog, `granted` those that its token has (None: not
    known), `missing` the first without the second.  `other_kinds` are not mapped.  `pagerduty_error` and `port_error`
    are why one of them could not be asked at all.
    """

    catalog_blueprints: int
    catalog_rules: int
    pagerduty_url: str
    credentials: str
    pagerduty_error: str
    kinds: tuple[KindState, ...]
    other_kinds: tuple[KindState, ...]
    scopes: tuple[str, ...]
    granted: tuple[str, ...] | None
    missing: tuple[str, ...]
    port_url: str
    org_id: str
    org_name: str
    blueprints: int
    port_error: str
    state: str

    @property
    def well(self) -> bool:
        """Whether everything that is mapped can be read, as far as that was asked, and Port too."""
        fine = all(kind.status in {"readable", "not asked", "none here"} for kind in self.kinds)
        return fine and not (self.pagerduty_error or self.port_error or self.missing)
