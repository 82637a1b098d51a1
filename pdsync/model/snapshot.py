"""What a source said, and of what it said nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import NamedTuple, Protocol

from pdsync.errors import Diagnostic
from pdsync.model.catalog import Query
from pdsync.model.values import many


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


class ManyRecords(Sequence[Record]):
    """Records that are made when they are looked at: what is asked of all of them is told without that."""

    @property
    def ids(self) -> Sequence[str]:
        """Their ids, in order."""
        raise NotImplementedError

    def digests(self, lacking: Callable[[Record], bytes]) -> list[bytes]:
        """The digest of each, in order; `lacking` gives those of records that lack an enrichment."""
        raise NotImplementedError


def ids_of(records: Sequence[Record]) -> Sequence[str]:
    """The ids of records, in order."""
    return records.ids if isinstance(records, ManyRecords) else [record.id for record in records]


def digests_of(records: Sequence[Record], lacking: Callable[[Record], bytes]) -> list[bytes]:
    """The digest of each record, in order; `lacking` gives those of records that lack an enrichment."""
    if isinstance(records, ManyRecords):
        return records.digests(lacking)
    return [lacking(record) if record.unavailable else record.digest for record in records]


def raw_digest(raw: bytes | memoryview) -> bytes:
    """What tells the bytes of one record from those of another: the first half of their SHA-256, which CPUs know."""
    return sha256(raw, usedforsecurity=False).digest()[:16]


class Missing(NamedTuple):
    """A record that a list does not have any more; under which parent it was (empty: nobody knows), and since when.

    That it is gone is not known: the list under its parent is not counted and came too short, or was not read.  Where
    the parent has `moved`, what is under it is listed elsewhere, and its absence here never tells anything.
    """

    parent: str
    since: str = ""
    moved: bool = False


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
    """The answers of lists that a snapshot was made of, and in what way records were cleaned of private fields."""

    private: tuple[str, ...] = ()
    pages: tuple[PageRead, ...] = ()


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What PagerDuty said at one moment; `taken_at` is RFC 3339 UTC, `source` the API it came from.

    `leaned` are the lists that enrichments were taken from, whether a mapping lists them as well or not.  `read` are
    the answers that all this was read from.  `applies` says that it was taken by who applies what comes of it at once.
    `notes` tell what else there was to notice meanwhile; they are not kept.
    """

    source: str
    taken_at: str
    collections: Mapping[Query, Collection]
    digest: str = ""
    leaned: Mapping[Query, Leaned] = field(default_factory=dict)
    read: PagesRead = PagesRead()
    notes: tuple[Diagnostic, ...] = ()
    applies: bool = False
