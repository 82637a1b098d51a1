"""Where a reading puts records aside until it is known what goes into them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from pdsync.spool import Spool

Cleaner = Callable[[bytes], bytes]

Kept = bytes | int
"""The bytes of a record, or where they stand in the spool: offset and size in one number, which costs the least."""

_SIZE_BITS = 32
_SIZE = (1 << _SIZE_BITS) - 1


class Shelf:
    """Keeps bytes: in a spool, or in memory if there is none.

    Args:
        spool: where they are put.
        clean: takes out what must not be stored, not even for a moment.
    """

    def __init__(self, spool: Spool | None = None, clean: Cleaner | None = None) -> None:
        self._spool = spool
        self._clean = clean

    def put(self, raw: bytes) -> Kept:
        """Keep the bytes of a record."""
        if self._clean:
            raw = self._clean(raw)
        return raw if self._spool is None else self._spool.append(raw) << _SIZE_BITS | len(raw)

    def get(self, place: Kept) -> bytes:
        """The bytes that were put there."""
        if isinstance(place, bytes):
            return place
        assert self._spool is not None
        return self._spool.read(place >> _SIZE_BITS, place & _SIZE)

    def rows(self, places: dict[str, Kept] | None = None) -> Rows:
        """Records by id, from where each was put."""
        return Rows(self, {} if places is None else places)

    def keep(self, records: Iterable[tuple[str, bytes]]) -> Rows:
        """Records by id, put here."""
        return Rows(self, {id_: self.put(raw) for id_, raw in records})


class Rows(MutableMapping[str, bytes]):
    """Bytes by record id, in order, kept on a shelf: looked up, they are read."""

    __slots__ = ("places", "shelf")

    def __init__(self, shelf: Shelf, places: dict[str, Kept]) -> None:
        self.shelf = shelf
        self.places = places

    def __getitem__(self, id_: str) -> bytes:
        return self.shelf.get(self.places[id_])

    def __setitem__(self, id_: str, raw: bytes) -> None:
        self.places[id_] = self.shelf.put(raw)

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
        return {id_: self.shelf.put(raw) for id_, raw in other.items()}


IN_MEMORY = Shelf()
