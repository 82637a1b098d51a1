"""Where a reading puts records aside until it is known what goes into them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from typing import TYPE_CHECKING, Self

from pdsync.model import raw_digest
from pdsync.recordfile import Block, line, one_line

if TYPE_CHECKING:
    from pdsync.spool import Spool

Cleaner = Callable[[bytes], bytes]

Kept = bytes | int
"""The bytes of a record, or where they stand in the spool: digest, offset and size in one number, which costs least."""

_SIZE_BITS, _OFFSET_BITS, _DIGEST_SIZE = 32, 48, 16
_SIZE, _OFFSET = (1 << _SIZE_BITS) - 1, (1 << _OFFSET_BITS) - 1


class Shelf:
    """Keeps bytes: in a spool, as the lines that a snapshot's file has, or in memory if there is none.

    Args:
        spool: where they are put.
        clean: takes out what must not be stored, not even for a moment.
    """

    def __init__(self, spool: Spool | None = None, clean: Cleaner | None = None) -> None:
        self._spool = spool
        self._clean = clean

    def put(self, id_: str, raw: bytes) -> Kept:
        """Keep the bytes of a record, or what belongs to it."""
        if self._clean:
            raw = self._clean(raw)
        if self._spool is None:
            return raw
        raw = one_line(raw)
        text, inside = line(id_, raw)
        offset = self._spool.append(text) + inside
        return (int.from_bytes(raw_digest(raw), "big") << _OFFSET_BITS | offset) << _SIZE_BITS | len(raw)

    def get(self, place: Kept) -> bytes:
        """The bytes that were put there."""
        if isinstance(place, bytes):
            return place
        assert self._spool is not None
        return self._spool.read(place >> _SIZE_BITS & _OFFSET, place & _SIZE)

    def block(self, places: Mapping[str, Kept]) -> Block:
        """What was put at some places, by id, to be kept as it stands in the spool."""
        assert self._spool is not None
        block = Block(self._spool)
        for id_, place in places.items():
            assert isinstance(place, int)
            digest = (place >> _SIZE_BITS + _OFFSET_BITS).to_bytes(_DIGEST_SIZE, "big")
            block.add(id_, place >> _SIZE_BITS & _OFFSET, place & _SIZE, digest)
        return block

    def flush(self) -> None:
        """Have all that was put here be there for other threads, too."""
        if self._spool is not None:
            self._spool.flush()

    def rows(self, places: dict[str, Kept] | None = None) -> Rows:
        """Records by id, from where each was put."""
        return Rows(self, {} if places is None else places)

    def keep(self, records: Iterable[tuple[str, bytes]]) -> Rows:
        """Records by id, put here."""
        return Rows(self, {id_: self.put(id_, raw) for id_, raw in records})


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

    def _taken(self, other: Mapping[str, bytes]) -> dict[str, Kept]:
        """The places of others, on this shelf."""
        if isinstance(other, Rows) and other.shelf is self.shelf:
            return other.places
        return {id_: self.shelf.put(id_, raw) for id_, raw in other.items()}


IN_MEMORY = Shelf()
