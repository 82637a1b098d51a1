"""Records as lines of a file, written once and read where they stand.

    {"id":"PX1","r":{...},"u":{"__analytics":"daily quota is spent"}}

`r` is the record with PagerDuty's own bytes, `u` (left out when empty) why an enrichment is missing.  A snapshot's
records are put down in this form as they come in; its file is a copy of the lines, and mapping reads a record by its
place.  What stays in memory of a record is its id, its place and the digest of its bytes.

The checksum of a collection is over its lines with each record replaced by the digest of its bytes, so that every byte
is hashed once.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING, overload

import msgspec

from pdsync.model import Record, raw_digest
from pdsync.spool import blocks

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from pdsync.spool import Readable, Spool

_DIGEST = 16
_START, _RECORD, _REASONS, _END = b'{"id":', b',"r":', b',"u":', b"}\n"
_NOTHING: Mapping[str, str] = {}
_encode = msgspec.json.Encoder(order="deterministic").encode


class _Place:
    """The bytes of a record, where they are kept."""

    __slots__ = ("_offset", "_size", "_source")

    def __init__(self, source: Readable, offset: int, size: int) -> None:
        self._source = source
        self._offset = offset
        self._size = size

    def __len__(self) -> int:
        return self._size

    def __call__(self) -> bytes:
        return self._source.read(self._offset, self._size)


class KeptRecords(Sequence[Record]):
    """The records of one collection, whose lines stand one after the other in `source`.

    `checksum` is as in the module's docstring.
    """

    def __init__(
        self,
        source: Readable,
        index: _Index,
    ) -> None:
        self._source = source
        self._ids = index.ids
        self._borders = index.borders
        self._digests = index.digests
        self._unavailable = index.unavailable
        self.checksum = index.checksum.hexdigest()

    def __len__(self) -> int:
        return len(self._ids)

    @overload
    def __getitem__(self, index: int) -> Record: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Record]: ...
    def __getitem__(self, index: int | slice) -> Record | Sequence[Record]:
        if isinstance(index, slice):
            return tuple(self._record(number) for number in range(*index.indices(len(self))))
        return self._record(range(len(self))[index])

    def __iter__(self) -> Iterator[Record]:
        return map(self._record, range(len(self)))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence):
            return NotImplemented
        return len(self) == len(other) and all(one == two for one, two in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<{len(self)} records>"

    def _record(self, number: int) -> Record:
        id_ = self._ids[number]
        unavailable = self._unavailable.get(number, _NOTHING)
        begin = self._borders[number] + _head_size(id_)
        end = self._borders[number + 1] - len(_tail(unavailable))
        digest = bytes(self._digests[number * _DIGEST : (number + 1) * _DIGEST])
        return Record(id_, _Place(self._source, begin, end - begin), unavailable, digest)

    @property
    def size(self) -> int:
        """How many bytes the lines have."""
        return self._borders[-1] - self._borders[0]

    def lines(self) -> Iterator[bytes]:
        """The lines, in blocks of any size."""
        return blocks(self._source, self._borders[0], self._borders[-1])


class RecordWriter:
    """Puts the records of one collection into a spool, where nothing else is put meanwhile."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._index = _Index(spool.size)

    def add(self, id_: str, raw: bytes, unavailable: Mapping[str, str] = _NOTHING) -> None:
        """Put down a record.  Raises `StateError` when there is no room."""
        head, tail = _head(id_), _tail(unavailable)
        raw = _one_line(raw)
        self._spool.append(b"".join((head, raw, tail)))
        self._index.add(id_, raw_digest(raw), unavailable, (head, len(raw), tail))

    def done(self) -> KeptRecords:
        """The records.  Raises `StateError` when there is no room."""
        self._spool.flush()
        return KeptRecords(self._spool, self._index)


class _Index:
    """Where the lines of a collection are, and what is known of them; built up line by line."""

    def __init__(self, start: int) -> None:
        self.ids: list[str] = []
        self.borders = array("Q", [start])
        self.digests = bytearray()
        self.unavailable: dict[int, Mapping[str, str]] = {}
        self.checksum = blake2b(digest_size=_DIGEST)
        self._reasons: dict[tuple[tuple[str, str], ...], Mapping[str, str]] = {}

    def add(self, id_: str, digest: bytes, unavailable: Mapping[str, str], line: tuple[bytes, int, bytes]) -> None:
        """A line: what stands before its record, the size of that, what stands behind it."""
        head, size, tail = line
        if unavailable:
            reasons = tuple(sorted(unavailable.items()))
            self.unavailable[len(self.ids)] = self._reasons.setdefault(reasons, dict(reasons))
        self.ids.append(id_)
        self.borders.append(self.borders[-1] + len(head) + size + len(tail))
        self.digests += digest
        self.checksum.update(b"".join((head, digest, tail)))


class _Line(msgspec.Struct):
    id: str
    r: msgspec.Raw
    u: dict[str, str] = {}


_line = msgspec.json.Decoder(_Line)


class Uneven(ValueError):
    """A line is not in the form in which lines are written."""


def read_records(source: Readable, start: int, found: Iterable[bytes]) -> KeptRecords:
    """The records of the lines in `found`, the first of which stands at `start` of `source`.

    Raises `Uneven`, and `msgspec.DecodeError` for a line that is none.
    """
    index = _Index(start)
    for text in found:
        line = _line.decode(text)
        head, tail = _head(line.id), _tail(line.u)
        end = len(text) - len(tail)
        if not text.startswith(head) or not text.endswith(tail):
            raise Uneven(f"the line of {line.id} is not as it was written")
        index.add(line.id, raw_digest(memoryview(text)[len(head) : end]), line.u, (head, end - len(head), tail))
    return KeptRecords(source, index)


def written_lines(records: Iterable[Record]) -> Iterator[bytes]:
    """The lines of records that are kept elsewhere."""
    for record in records:
        yield b"".join((_head(record.id), _one_line(record.raw), _tail(record.unavailable)))


def checksum_of(records: Iterable[Record]) -> tuple[str, int]:
    """Checksum and size of the lines of records that are kept elsewhere."""
    checksum, size = blake2b(digest_size=_DIGEST), 0
    for record in records:
        head, raw, tail = _head(record.id), _one_line(record.raw), _tail(record.unavailable)
        checksum.update(b"".join((head, raw_digest(raw), tail)))
        size += len(head) + len(raw) + len(tail)
    return checksum.hexdigest(), size


def _head(id_: str) -> bytes:
    return b"".join((_START, _encode(id_), _RECORD))


def _head_size(id_: str) -> int:
    """The size of `_head`; of an id that needs no escapes, as nearly all are, it is counted."""
    return len(id_) + _PLAIN_HEAD if id_.isalnum() and id_.isascii() else len(_head(id_))


_PLAIN_HEAD = len(_head(""))


def _tail(unavailable: Mapping[str, str]) -> bytes:
    return b"".join((_REASONS, _encode(dict(unavailable)), _END)) if unavailable else _END


def _one_line(raw: bytes) -> bytes:
    return msgspec.json.format(raw, indent=-1) if b"\n" in raw or b"\r" in raw else raw
