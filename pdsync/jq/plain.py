"""Expressions that need no interpreter: constants, and paths to a text, a small integer, true, false or null.

Most of what people map is of this sort (`.status`, `.service.id`, `"pagerdutyService"`), and there jq does nothing but
hand over what stands in the record.  Where it does more, its own answer counts: for fractions and large integers (1.0
is 1 for jq, 2^53 + 1 loses a digit), lists and objects, a step into something that is no object, what is not JSON.
"""

from __future__ import annotations

import re
from collections import Counter
from operator import attrgetter
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import msgspec

from pdsync.jq.excerpt import UNFIT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from pdsync.jq.program import Slot
    from pdsync.model import Json

_EXACT = 2**53 - 1
_Value = str | bool | Annotated[int, msgspec.Meta(ge=-_EXACT, le=_EXACT)] | None
"""What is for jq what it is as it stands."""

_PATH = re.compile(r"\s*((?:\.[A-Za-z_]\w*)+)\s*", re.ASCII)
_TEXT = re.compile(r"\s*(\.[A-Za-z_]\w*)\s*\|\s*tostring\s*", re.ASCII)
_CONSTANT = re.compile(r'\s*(?:"([^"\\]*)"|(true|false|null)|(\d{1,15}))\s*', re.ASCII)
_WORDS: Mapping[str, Json] = {"true": True, "false": False, "null": None}

_PATIENCE = 8
"""For so many records an expression may need jq after all; then it is left to jq for all that follow."""


class _Path(NamedTuple):
    """The steps of a path, and what is to stand there."""

    steps: tuple[str, ...]
    value: Any


class Plain:
    """Reads the plain ones among some slots straight from a record.

    `names` are those of the slots that are read, in the order of their values; they may become fewer.
    """

    def __init__(self, slots: Iterable[Slot]) -> None:
        texts = {slot.name: slot.expression.text for slot in slots}
        constants = {name: found for name, text in texts.items() if (found := _CONSTANT.fullmatch(text))}
        paths = {name: path for name, text in texts.items() if (path := _path_of(text))}
        stepped = {path.steps[:end] for path in paths.values() for end in range(1, len(path.steps))}
        self._constants = {name: _constant(*found.groups()) for name, found in constants.items()}
        self._paths = {name: path for name, path in paths.items() if path.steps not in stepped}
        self._failures: Counter[str] = Counter()
        self._prepare()

    def read(self, raw: bytes) -> list[Json] | None:
        """The values of the slots, as jq would give them; None when that cannot be told."""
        try:
            record = self._decode(raw)
        except UNFIT:
            self._blame(raw)
            return None
        found: list[Json] = []
        self._shape.collect(record, found)
        return [*found, *self._constants.values()]

    def _prepare(self) -> None:
        self._shape = _Shape(self._paths)
        self._decode = self._shape.decoder()
        self.names = (*self._shape.names, *self._constants)

    def _blame(self, raw: bytes) -> None:
        """Note which slots cannot be read from a record; leave those to jq for which that was too often so."""
        if not _fits({}, raw):
            return  # no object at all, or no JSON: nothing is said about a slot
        self._failures.update(name for name, path in self._paths.items() if not _fits({name: path}, raw))
        kept = {name: path for name, path in self._paths.items() if self._failures[name] < _PATIENCE}
        if len(kept) < len(self._paths):
            self._paths = kept
            self._prepare()


def _path_of(text: str) -> _Path | None:
    if found := _TEXT.fullmatch(text):
        return _Path((found[1][1:],), str)
    if found := _PATH.fullmatch(text):
        return _Path(tuple(found[1][1:].split(".")), _Value)
    return None


def _constant(text: str | None, word: str | None, digits: str | None) -> Json:
    return text if text is not None else _WORDS[word] if word else int(digits or 0)


def _fits(paths: Mapping[str, _Path], raw: bytes) -> bool:
    try:
        _Shape(paths).decoder()(raw)
    except UNFIT:
        return False
    return True


class _Shape:
    """An object as far as some paths go through it: what decodes it, and what then finds the value of each path.

    `names` are those of the paths, in the order of the values.
    """

    def __init__(self, paths: Mapping[str, _Path], depth: int = 0) -> None:
        here: dict[str, dict[str, _Path]] = {}
        beyond: dict[str, dict[str, _Path]] = {}
        for name, path in paths.items():
            ends = len(path.steps) == depth + 1
            (here if ends else beyond).setdefault(path.steps[depth], {})[name] = path
        self._inner = [_Shape(inner, depth + 1) for inner in beyond.values()]
        self.names: list[str] = [name for ending in here.values() for name in ending]
        self.names += [name for inner in self._inner for name in inner.names]
        attributes = [f"m{number}" for number, ending in enumerate(here.values()) for _ in ending]
        self._get = _getter(attributes)
        self._enter = [attrgetter(f"m{len(here) + number}") for number in range(len(beyond))]
        self._nothing: list[Json] = [None] * len(self.names)
        types: list[Any] = [_type_of(ending.values()) for ending in here.values()]
        types += [(inner.type | None, None) for inner in self._inner]
        self.type: Any = msgspec.defstruct(
            "Record",
            [(f"m{number}", *kind) for number, kind in enumerate(types)],
            rename={f"m{number}": member for number, member in enumerate([*here, *beyond])},
            kw_only=True,
            gc=False,
        )

    def decoder(self) -> Callable[[bytes], Any]:
        """What decodes such an object; raises `UNFIT` for any other."""
        return msgspec.json.Decoder(self.type).decode

    def collect(self, record: Any, found: list[Json]) -> None:
        """Put the values behind those that were found."""
        found += self._get(record)
        for enter, inner in zip(self._enter, self._inner, strict=True):
            value = enter(record)
            if value is None:
                found += inner._nothing  # noqa: SLF001
            else:
                inner.collect(value, found)


def _type_of(paths: Iterable[_Path]) -> tuple[Any, ...]:
    """Type and default of a member; only what must be a text must be there."""
    return (str,) if any(path.value is str for path in paths) else (_Value, None)


def _getter(attributes: list[str]) -> Callable[[Any], Iterable[Json]]:
    """The values of some attributes, in their order."""
    if not attributes:
        return lambda _: ()
    get = attrgetter(*attributes)
    return get if len(attributes) > 1 else lambda record: (get(record),)
