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

    Getter = Callable[[Any], Json]

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
        return [get(record) for get in self._getters]

    def _prepare(self) -> None:
        self._decode, found = _reader(self._paths)
        self._getters = [*found.values(), *map(_always, self._constants.values())]
        self.names = (*found, *self._constants)

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


def _always(value: Json) -> Getter:
    return lambda _: value


def _fits(paths: Mapping[str, _Path], raw: bytes) -> bool:
    try:
        _reader(paths)[0](raw)
    except UNFIT:
        return False
    return True


def _reader(paths: Mapping[str, _Path]) -> tuple[Callable[[bytes], Any], dict[str, Getter]]:
    """What decodes a record as far as these paths go, and what then gets the value of each."""
    tree: dict[str, Any] = {}
    for path in paths.values():
        *parents, last = path.steps
        holder = tree
        for parent in parents:
            holder = holder.setdefault(parent, {})
        holder[last] = str if str in (path.value, holder.get(last)) else path.value
    getters = dict(_getters(tree, (), None))
    return msgspec.json.Decoder(_struct(tree)).decode, {name: getters[path.steps] for name, path in paths.items()}


def _struct(tree: Mapping[str, Any]) -> type[msgspec.Struct]:
    """A type with a member for each branch; only what must be a text must be there."""
    fields: list[Any] = []
    for number, value in enumerate(tree.values()):
        if isinstance(value, dict):
            fields.append((f"m{number}", _struct(value) | None, None))
        else:
            fields.append((f"m{number}", value) if value is str else (f"m{number}", value, None))
    names = {f"m{number}": name for number, name in enumerate(tree)}
    return msgspec.defstruct("Record", fields, rename=names, kw_only=True, gc=False)


def _getters(
    tree: Mapping[str, Any], steps: tuple[str, ...], outer: Getter | None
) -> Iterable[tuple[tuple[str, ...], Getter]]:
    for number, (name, value) in enumerate(tree.items()):
        get = _member_of(outer, f"m{number}") if outer else attrgetter(f"m{number}")
        if isinstance(value, dict):
            yield from _getters(value, (*steps, name), get)
        else:
            yield (*steps, name), get


def _member_of(outer: Getter, name: str) -> Getter:
    def get(record: Any) -> Json:
        parent = outer(record)
        return None if parent is None else getattr(parent, name)

    return get
