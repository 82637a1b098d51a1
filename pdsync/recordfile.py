"""Records as lines of a file, written once and read where they stand.

    {"id":"PX1","r":{...}}

`r` is what PagerDuty sent, with its own bytes.  What is fetched besides a list stands in lines of the same form, apart
from the records: the values of each enrichment, and why one is missing.  So a record is put down as it comes in, and
again when a snapshot is saved, and never read for what has not changed.  In memory there is of a line its id, its place
and the digest of its bytes.

A block of lines has an index, lines of JSON as well: ids, the sizes of their bytes and the digests of them, some at a
time.  So a file is opened without being read, and bytes that another process wrote are checked when they are read.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, overload

import msgspec

from pdsync.errors import StateError, error
from pdsync.model import ManyRecords, Record, raw_digest
from pdsync.spool import Held, blocks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from pdsync.spool import Readable, Spool

_DIGEST = 16
_START, _BYTES, _END = b'{"id":', b',"r":', b"}\n"
_NOTHING: Mapping[str, str] = {}
_ABSENT = -1
_NOTHING_GIVEN = frozenset(map(raw_digest, (b"[]", b"null")))
_encode = msgspec.json.Encoder(order="deterministic").encode


def line(id_: str, raw: bytes) -> tuple[bytes, int]:
    """The line of some bytes, which have no line break, and where in it they begin."""
    head = _head(id_)
    return b"".join((head, raw, _END)), len(head)


def splice(raw: bytes, extra: Mapping[str, bytes]) -> bytes:
    """The JSON object `raw` with the keys of `extra` (name to JSON bytes) added at its end.

    The same as merging dicts when none of the keys is there yet.
    """
    if not extra:
        return raw
    added = b",".join(msgspec.json.encode(name) + b":" + value for name, value in extra.items())
    body = raw.strip()[:-1].rstrip()
    return body + (b"" if body == b"{" else b",") + added + b"}"


class Block:
    """Lines in a file, not necessarily one after the other: of each its id, where its bytes are, and their digest."""

    def __init__(self, source: Readable) -> None:
        self.source = source
        self.ids: list[str] = []
        self._offsets = array("Q")
        self._sizes = array("Q")
        self._digests = bytearray()

    def __len__(self) -> int:
        return len(self.ids)

    def add(self, id_: str, offset: int, size: int, digest: bytes) -> None:
        """The bytes of a line: where in the file they begin, how many they are, what tells them from others."""
        self.ids.append(id_)
        self._offsets.append(offset)
        self._sizes.append(size)
        self._digests += digest

    def raw(self, number: int) -> bytes:
        """The bytes of a line.  Raises `OSError`, and `StateError` when they are not those that were put down."""
        offset = self._offsets[number]
        raw = self.source.read(offset, self._sizes[number])
        return intact(raw, self.digest(number), self.source.whence(offset))

    def length(self, number: int) -> int:
        """How many they are."""
        return self._sizes[number]

    def offset(self, number: int) -> int:
        """Where they begin."""
        return self._offsets[number]

    def digest(self, number: int) -> bytes:
        """Their digest."""
        return bytes(self._digests[number * _DIGEST : (number + 1) * _DIGEST])

    @property
    def digests(self) -> bytes:
        """Those of all lines, one after the other."""
        return bytes(self._digests)

    def given(self) -> Iterator[str]:
        """The ids of lines that hold more than null or an empty list; nothing is read for that."""
        return (id_ for number, id_ in enumerate(self.ids) if self.digest(number) not in _NOTHING_GIVEN)

    @property
    def size(self) -> int:
        """How many bytes the lines have."""
        return sum(self._sizes) + sum(map(_head_size, self.ids)) + len(self.ids) * len(_END)

    def index(self) -> Iterator[bytes]:
        """As in the module's docstring."""
        for at in range(0, len(self), _AT_A_TIME):
            to = at + _AT_A_TIME
            digests = self._digests[at * _DIGEST : to * _DIGEST]
            yield _encode(_Index(self.ids[at:to], self._sizes[at:to].tolist(), bytes(digests))) + b"\n"

    def lines(self) -> Iterator[bytes]:
        """The lines, in blocks of any size: as they stand, where they follow each other."""
        for begin, end in self._stretches():
            yield from blocks(self.source, begin, end)

    def _stretches(self) -> Iterator[tuple[int, int]]:
        begin = end = 0
        for id_, offset, size in zip(self.ids, self._offsets, self._sizes, strict=True):
            start = offset - _head_size(id_)
            if start != end:
                if end > begin:
                    yield begin, end
                begin = start
            end = offset + size + len(_END)
        if end > begin:
            yield begin, end


class _Pieces:
    """The bytes of a record that is in pieces: its own, and the values of enrichments."""

    __slots__ = ("_number", "_records")

    def __init__(self, records: KeptRecords, number: int) -> None:
        self._records = records
        self._number = number

    def __len__(self) -> int:
        """As many as `splice` makes of them if there is no space before the last brace."""
        return self._records.length(self._number)

    def __call__(self) -> bytes:
        found = self._records.pieces(self._number).items()
        return splice(
            self._records.rows.raw(self._number), {name: block.raw(number) for name, (block, number) in found}
        )


class KeptRecords(ManyRecords):
    """The records of one collection, kept in a file.

    Args:
        rows: the records as they were listed.
        values: what each enrichment has for some of them, in the same order.
        unavailable: why others have none, by id.
    """

    def __init__(
        self,
        rows: Block,
        values: Mapping[str, Block] | None = None,
        unavailable: Mapping[str, Mapping[str, str]] | None = None,
    ) -> None:
        self.rows = rows
        self._values = values or {}
        self._unavailable = unavailable or {}

    @cached_property
    def _at(self) -> dict[str, array[int]]:
        """Which line of each enrichment belongs to each record."""
        return {name: _matched(self.rows.ids, block.ids) for name, block in self._values.items()}

    @cached_property
    def _found(self) -> list[tuple[bytes, Block, array[int]]]:
        """The name of each enrichment, its values, and which of them belongs to each record."""
        return [(name.encode(), self._values[name], at) for name, at in self._at.items()]

    def __len__(self) -> int:
        return len(self.rows)

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
        id_ = self.rows.ids[number]
        return Record(id_, _Pieces(self, number), self._unavailable.get(id_, _NOTHING), self._digest(number))

    def _digest(self, number: int) -> bytes:
        """What tells a record from others: the digest of its own bytes, or one of those of all its pieces."""
        at = number * _DIGEST
        return bytes(self._digests[at : at + _DIGEST]) if self._values else self.rows.digest(number)

    @cached_property
    def _digests(self) -> bytes:
        """The digests of records that are in pieces."""
        return b"".join(map(self._whole_digest, range(len(self))))

    def _whole_digest(self, number: int) -> bytes:
        parts = [self.rows.digest(number)]
        for name, block, at in self._found:
            if (there := at[number]) != _ABSENT:
                parts += (name, block.digest(there))
        return raw_digest(b"".join(parts)) if len(parts) > 1 else parts[0]

    @property
    def ids(self) -> Sequence[str]:
        """See `ManyRecords.ids`."""
        return self.rows.ids

    def digests(self, lacking: Callable[[Record], bytes]) -> list[bytes]:
        """See `ManyRecords.digests`."""
        count, digests = len(self), self._digests if self._values else self.rows.digests
        found = [digests[at : at + _DIGEST] for at in range(0, count * _DIGEST, _DIGEST)]
        if self._unavailable:
            for number, id_ in enumerate(self.rows.ids):
                if self._unavailable.get(id_):
                    found[number] = lacking(self._record(number))
        return found

    def length(self, number: int) -> int:
        """How many bytes a record has, its pieces and what joins them."""
        size = self.rows.length(number)
        for name, block, at in self._found:
            if (there := at[number]) != _ABSENT:
                size += len(name) + 4 + block.length(there)  # two quotes, a colon and a comma
        return size

    def pieces(self, number: int) -> dict[str, tuple[Block, int]]:
        """Where the values of enrichments are that belong into a record, by name."""
        found = ((name, at[number]) for name, at in self._at.items())
        return {name: (self._values[name], there) for name, there in found if there != _ABSENT}

    def doubted(self, reasons: Mapping[str, str]) -> KeptRecords:
        """The same, of which some enrichments are not to be believed: why, by name."""
        unavailable = {id_: {**reasons, **self._unavailable.get(id_, _NOTHING)} for id_ in self.rows.ids}
        return KeptRecords(self.rows, self._values, unavailable)

    def doubted_of(self, name: str, reasons: Mapping[str, str]) -> KeptRecords:
        """The same, of which one enrichment of some records is not to be believed: why, by id."""
        more = {id_: {name: why, **self._unavailable.get(id_, _NOTHING)} for id_, why in reasons.items()}
        return KeptRecords(self.rows, self._values, {**self._unavailable, **more})

    def lacking(self, name: str) -> Mapping[str, str]:
        """The records of which an enrichment is not known, or not believed, and why."""
        return {id_: reasons[name] for id_, reasons in self._unavailable.items() if name in reasons}

    def values(self, name: str) -> Block:
        """What an enrichment has, by record id."""
        return self._values.get(name) or Block(Held(b""))

    def blocks(self) -> Iterator[tuple[str, Lines]]:
        """All that there is to write, by name: the records, the values of each enrichment, why there are none."""
        yield RECORDS, self.rows
        yield from self._values.items()
        yield UNAVAILABLE, _reasons(self._unavailable)


RECORDS, UNAVAILABLE = "r", "u"
"""Names of blocks; any other is that of an enrichment."""


class LooseLines:
    """Lines of bytes that are kept elsewhere; an iterable that can be gone through again."""

    def __init__(self, found: Callable[[], Iterable[tuple[str, bytes]]]) -> None:
        self._found = found

    def __len__(self) -> int:
        return sum(1 for _ in self._found())

    @property
    def size(self) -> int:
        """How many bytes the lines have."""
        return sum(map(len, self.lines()))

    def index(self) -> Iterator[bytes]:
        """As in the module's docstring."""
        told = [(id_, len(raw), raw_digest(raw)) for id_, raw in self._on_one_line()]
        for at in range(0, len(told), _AT_A_TIME):
            ids, sizes, digests = zip(*told[at : at + _AT_A_TIME], strict=True)
            yield _encode(_Index(list(ids), list(sizes), b"".join(digests))) + b"\n"

    def lines(self) -> Iterator[bytes]:
        """The lines."""
        return (line(id_, raw)[0] for id_, raw in self._on_one_line())

    def _on_one_line(self) -> Iterator[tuple[str, bytes]]:
        return ((id_, one_line(raw)) for id_, raw in self._found())


Lines = Block | LooseLines


def blocks_of(records: Sequence[Record]) -> Iterator[tuple[str, Lines]]:
    """All that there is to write of a collection; see `KeptRecords.blocks`."""
    if isinstance(records, KeptRecords):
        return records.blocks()
    reasons = {record.id: record.unavailable for record in records if record.unavailable}
    rows = LooseLines(lambda: ((record.id, record.raw) for record in records))
    return iter([(RECORDS, rows), (UNAVAILABLE, _reasons(reasons))])


def doubted(records: Sequence[Record], reasons: Mapping[str, str]) -> Sequence[Record]:
    """See `KeptRecords.doubted`."""
    if isinstance(records, KeptRecords):
        return records.doubted(reasons)
    return tuple(Record(each.id, each.raw, {**reasons, **each.unavailable}, each.digest) for each in records)


def _reasons(unavailable: Mapping[str, Mapping[str, str]]) -> LooseLines:
    return LooseLines(lambda: ((id_, _encode(dict(reasons))) for id_, reasons in unavailable.items()))


class RecordWriter:
    """Puts records into a spool, whole, one after the other."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._rows = Block(spool)
        self._unavailable: dict[str, Mapping[str, str]] = {}

    def add(self, id_: str, raw: bytes, unavailable: Mapping[str, str] = _NOTHING) -> None:
        """Put down a record.  Raises `StateError` when there is no room."""
        raw = one_line(raw)
        text, inside = line(id_, raw)
        self._rows.add(id_, self._spool.append(text) + inside, len(raw), raw_digest(raw))
        if unavailable:
            self._unavailable[id_] = unavailable

    def done(self) -> KeptRecords:
        """The records.  Raises `StateError` when there is no room."""
        self._spool.flush()
        return KeptRecords(self._rows, unavailable=self._unavailable)


class _Index(msgspec.Struct):
    ids: list[str]
    sizes: list[int]
    digests: bytes


_index = msgspec.json.Decoder(_Index)
_AT_A_TIME = 1000


def read_index(source: Readable, start: int, found: Iterable[bytes]) -> Block:
    """The block whose index this is, the first line of which stands at `start` of `source`.

    Raises `ValueError` for an index that is none.
    """
    block = Block(source)
    for text in found:
        read = _index.decode(text)
        for number, (id_, size) in enumerate(zip(read.ids, read.sizes, strict=True)):
            start += _head_size(id_)
            block.add(id_, start, size, read.digests[number * _DIGEST : (number + 1) * _DIGEST])
            start += size + len(_END)
    return block


def intact(raw: bytes, digest: bytes, name: str) -> bytes:
    """The same bytes.  Raises `StateError` if they are from the file `name` and have another digest."""
    if name and raw_digest(raw) != digest:
        summary, hint = "a kept record is damaged", "`pdsync snapshot` reads anew what is damaged"
        raise StateError(error("PD513", summary, detail=f"{name}: it was edited, or its disk is failing", hint=hint))
    return raw


def read_reasons(block: Block) -> dict[str, Mapping[str, str]]:
    """Why enrichments are missing, by record id; what many say is held once.  Raises `msgspec.DecodeError`."""
    told: dict[bytes, Mapping[str, str]] = {}
    found = {}
    for number, id_ in enumerate(block.ids):
        raw = block.raw(number)
        if raw not in told:
            told[raw] = msgspec.json.decode(raw, type=dict[str, str])
        found[id_] = told[raw]
    return found


def _matched(ids: Sequence[str], some: Sequence[str]) -> array[int]:
    """Where each id stands among some of them, `_ABSENT` for the others."""
    if ids == some:
        return array("q", range(len(ids)))
    numbers = {id_: number for number, id_ in enumerate(some)}
    return array("q", (numbers.get(id_, _ABSENT) for id_ in ids))


def _head(id_: str) -> bytes:
    return b"".join((_START, _encode(id_), _BYTES))


def _head_size(id_: str) -> int:
    """The size of `_head`; of an id that needs no escapes, as nearly all are, it is counted."""
    return len(id_) + _PLAIN_HEAD if id_.isalnum() and id_.isascii() else len(_head(id_))


_PLAIN_HEAD = len(_head(""))


def one_line(raw: bytes) -> bytes:
    """JSON bytes without line breaks: a record is one line wherever it is kept.

    A line break inside of a JSON string is escaped, so one in the bytes is only ever between tokens.
    """
    return raw if is_one_line(raw) else msgspec.json.format(raw, indent=-1)


def is_one_line(raw: bytes) -> bool:
    """Whether JSON bytes have no line breaks."""
    return b"\n" not in raw and b"\r" not in raw
