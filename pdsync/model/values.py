"""What everything else is made of: keys, paths with values, and what holds very many of them in little room."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple, Self, TypeVar

__all__ = [
    "EntityKey",
    "Fields",
    "FieldsView",
    "Json",
    "Row",
    "Unread",
    "Unreadily",
    "WithKey",
    "glance",
    "many",
    "unpack",
    "unread",
]

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
"""Path to value, as in the package's docstring."""

FieldsView = Mapping[str, Json]
"""The same, only to be looked at."""


class Row(FieldsView):
    """Values under paths, of which both are held by others as well: there may be one for every entity."""

    __slots__ = ("_paths", "_values")

    def __init__(self, paths: tuple[str, ...], values: tuple[Json, ...]) -> None:
        self._paths = paths
        self._values = values

    def __getitem__(self, path: str) -> Json:
        return self._values[_places(self._paths)[path]]

    def __contains__(self, path: object) -> bool:
        return path in _places(self._paths)

    def __iter__(self) -> Iterator[str]:
        return iter(self._paths)

    def __len__(self) -> int:
        return len(self._paths)

    def __repr__(self) -> str:
        return repr(self.copy())

    def copy(self) -> Fields:
        """The same as a dict, which takes a seventh of the time that `dict` would take."""
        return dict(zip(self._paths, self._values, strict=True))


@lru_cache(maxsize=4096)
def _places(paths: tuple[str, ...]) -> Mapping[str, int]:
    return {path: n for n, path in enumerate(paths)}


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

        @property
        def fields(self) -> FieldsView:
            """Path to value."""

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


def unpack(made: Unread) -> None:
    """Have the fields read now."""
    assert made.fields is not None


def glance(at: Unread) -> FieldsView:
    """The fields, which are not kept where nobody had asked for them before: for a look at very many."""
    packed = at.packed
    return at.fields if packed is None else packed[0](packed[1])


class WithKey:
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
