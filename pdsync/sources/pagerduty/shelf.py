"""Where a reading puts records aside until it is known what goes into them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self

from pdsync.errors import StateError
from pdsync.model import PagesRead, raw_digest
from pdsync.recordfile import Block, intact, line, one_line
from pdsync.spool import Spool

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pdsync.sources.pagerduty.pages import Pages
    from pdsync.sources.pagerduty.records import Page, PageReader
    from pdsync.spool import Readable

Cleaner = Callable[[bytes], bytes]

Kept = bytes | int
"""The bytes of a record, or where they stand in the spool: digest, offset and size in one number, which costs least."""

_AT_ONCE = 1000
"""So many records are looked at together."""

_SIZE_BITS, _OFFSET_BITS, _DIGEST_SIZE = 32, 48, 16
_SIZE, _OFFSET = (1 << _SIZE_BITS) - 1, (1 << _OFFSET_BITS) - 1


class Shelf:
    """Keeps bytes: in a spool, as the lines that a snapshot's file has, or in memory if there is none.

    `moments` are when records were made, by place, of which that was read with their ids.

    Args:
        spool: where they are put; from anything else than a spool, they are only read.
        clean: takes out what must not be stored, not even for a moment.
        pages: knows answers that were read before.
    """

    def __init__(
        self, spool: Readable | None = None, clean: Cleaner | None = None, pages: Callable[[Shelf], Pages] | None = None
    ) -> None:
        self._spool = spool
        self._clean = clean
        self._pages = pages(self) if pages else None
        self.moments: dict[Kept, Any] = {}

    def put(self, id_: str, raw: bytes) -> Kept:
        """Keep the bytes of a record, or what belongs to it."""
        if self._clean:
            raw = self._clean(raw)
        if self._spool is None:
            return raw
        assert isinstance(self._spool, Spool)
        raw = one_line(raw)
        text, inside = line(id_, raw)
        return _place(raw_digest(raw), self._spool.append(text) + inside, len(raw))

    def get(self, place: Kept) -> bytes:
        """The bytes that were put there."""
        if isinstance(place, bytes):
            return place
        assert self._spool is not None
        offset = _offset(place)
        return intact(self._spool.read(offset, place & _SIZE), _digest(place), self._spool.whence(offset))

    def sound(self, places: Mapping[str, Kept]) -> dict[str, Kept]:
        """Those of some places at which there can be read what was put there, by whichever process."""
        found = list(places.items())
        some = (found[at : at + _AT_ONCE] for at in range(0, len(found), _AT_ONCE))
        return {id_: place for each in some for id_, place in self._sound(each)}

    def _sound(self, some: Sequence[tuple[str, Kept]]) -> Iterator[tuple[str, Kept]]:
        strange = [place for _, place in some if isinstance(place, int) and self.file.whence(_offset(place))]
        read = self._reader(strange)
        damaged = {place for place in strange if not _reads(read, place)}
        return (each for each in some if each[1] not in damaged)

    def _reader(self, places: Sequence[int]) -> _Read:
        """What reads at some places; those that stand close together have been read in one go."""
        begin = min(map(_offset, places), default=0)
        size = max((_offset(place) + (place & _SIZE) for place in places), default=0) - begin
        if size <= 2 * sum(place & _SIZE for place in places):
            with suppress(OSError, StateError):  # read one by one, they tell which of them it is
                view = memoryview(self.file.read(begin, size))
                return lambda offset, length: view[offset - begin : offset - begin + length]
        return self.file.read

    def digest(self, places: Iterable[Kept]) -> bytes:
        """What tells the bytes at some places from others."""
        return raw_digest(b"".join(raw_digest(each) if isinstance(each, bytes) else _digest(each) for each in places))

    def page(self, reader: PageReader, content: bytes) -> Page:
        """The page in an answer, its records put here.  Raises `Malformed`."""
        return self._pages.page(reader, content, self) if self._pages else reader.read(content).put_on(self)

    @property
    def read(self) -> PagesRead:
        """The answers whose pages were put here."""
        return self._pages.read if self._pages else PagesRead()

    @property
    def file(self) -> Readable:
        """Where it is that bytes are put."""
        assert self._spool is not None
        return self._spool

    def flush(self) -> None:
        """Have all that was put here be there for other threads, too."""
        if isinstance(self._spool, Spool):
            self._spool.flush()

    def rows(self, places: dict[str, Kept] | None = None) -> Rows:
        """Records by id, from where each was put."""
        return Rows(self, {} if places is None else places)

    def keep(self, records: Iterable[tuple[str, bytes]]) -> Rows:
        """Records by id, put here."""
        return Rows(self, {id_: self.put(id_, raw) for id_, raw in records})


def _digest(place: int) -> bytes:
    return (place >> _SIZE_BITS + _OFFSET_BITS).to_bytes(_DIGEST_SIZE, "big")


def _offset(place: int) -> int:
    return place >> _SIZE_BITS & _OFFSET


_Read = Callable[[int, int], bytes | memoryview]


def _reads(read: _Read, place: int) -> bool:
    """Whether what is read at a place is what was put there."""
    try:
        return raw_digest(read(_offset(place), place & _SIZE)) == _digest(place)
    except (OSError, StateError):
        return False


def _place(digest: bytes, offset: int, size: int) -> int:
    return (int.from_bytes(digest, "big") << _OFFSET_BITS | offset) << _SIZE_BITS | size


def rows_of(block: Block, shelf: Shelf) -> Rows:
    """What stands in a file already, from which the shelf reads."""
    found = enumerate(block.ids)
    places: dict[str, Kept] = {id_: _place(block.digest(n), block.offset(n), block.length(n)) for n, id_ in found}
    return Rows(shelf, places)


class Rows(MutableMapping[str, bytes]):
    """Bytes by record id, in order, kept on a shelf: looked up, they are read."""

    __slots__ = ("places", "shelf")

    def __init__(self, shelf: Shelf, places: dict[str, Kept]) -> None:
        self.shelf = shelf
        self.places = places

    def __getitem__(self, id_: str) -> bytes:
        return self.shelf.get(self.places[id_])

    def __setitem__(self, id_: str, raw: bytes) -> None:
        self.places[id_] = self.shelf.put(id_, raw)

    def __delitem__(self, id_: str) -> None:
        del self.places[id_]

    def __contains__(self, id_: object) -> bool:
        return id_ in self.places

    def __iter__(self) -> Iterator[str]:
        return iter(self.places)

    def __len__(self) -> int:
        return len(self.places)

    def __or__(self, other: Mapping[str, bytes]) -> Rows:
        """Those of both; where both have an id, the other's."""
        return Rows(self.shelf, self.places | self._taken(other))

    def and_missing(self, other: Rows) -> Rows:
        """Those of both, on this shelf; the others as they are where there are none here."""
        return Rows(self.shelf, self._taken(other) | self.places) if self else other

    def add_missing(self, other: Mapping[str, bytes]) -> None:
        """Take in those of another whose ids are not here."""
        for id_, place in self._taken(other).items():
            self.places.setdefault(id_, place)

    def __ior__(self, other: Mapping[str, bytes]) -> Self:
        self.places |= self._taken(other)
        return self

    def only(self, wanted: Iterable[str]) -> Rows:
        """Those with these ids, in the order of the ids."""
        return Rows(self.shelf, {id_: self.places[id_] for id_ in wanted})

    def block(self) -> Block:
        """The same, to be kept as it stands in the shelf's file."""
        block = Block(self.shelf.file)
        for id_, place in self.places.items():
            assert isinstance(place, int)
            block.add(id_, _offset(place), place & _SIZE, _digest(place))
        return block

    def _taken(self, other: Mapping[str, bytes]) -> dict[str, Kept]:
        """The places of others, on this shelf."""
        if isinstance(other, Rows) and other.shelf is self.shelf:
            return other.places
        return {id_: self.shelf.put(id_, raw) for id_, raw in other.items()}


IN_MEMORY = Shelf()
