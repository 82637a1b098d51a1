"""Places inside a value that are left alone: what stands in Port at such a place is kept in what is written.

A place is the path of an entity's property, and on from there the keys of objects: `properties.meta.owner.name`.  A key
may be a glob (`properties.meta.*`); one that holds a dot is written in quotes, as in jq: `properties.labels."team.id"`,
or `properties.labels["team.id"]`.  An object may also be the JSON that a text holds.

    we say of the object | Port holds of it | is written
    ---------------------|------------------|-----------------------------------------------------------
    an object            | an object        | ours, and at the place what Port has there, or nothing
    nothing, or null     | an object        | what Port has at the place, and nothing else
    an object            | nothing          | ours: the object is made, with all that is in it

The last row is also that of an entity that is made.  A list has no keys: which of its members is which changes with
every edit, so no place leads into one.
"""

from __future__ import annotations

import re
from fnmatch import fnmatchcase, translate
from typing import TYPE_CHECKING, Final, NamedTuple

import orjson

from pdsync.diff import held_in, kind_of
from pdsync.normal import same

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pdsync.model import Json

_HEAD: Final = re.compile(r'properties\.[^."]+?(?=\.|\["|\Z)')
_KEY: Final = re.compile(r'\.(?:(?P<glob>[^."\[\]]+)|"(?P<quoted>[^"]*)")|\["(?P<bracketed>[^"]*)"\]')
_LITERAL: Final = re.compile(r'\["[^"]*"\]|"[^"]*"')
_ABSENT: Final = object()

Keys = tuple[re.Pattern[str], ...]
"""What each key on the way to a place must match."""


class Place(NamedTuple):
    """A place inside a property: a glob over paths of properties, the keys from there on, and these as written."""

    head: str
    keys: Keys
    below: str


class Kept(NamedTuple):
    """What is to be written, and the names of the places at which Port's value is another one than ours."""

    value: Json
    differing: tuple[str, ...]


def place_of(text: str) -> Place | None:
    """The place that a path of `ignore_changes` names; None where it is no place inside a property."""
    head = _HEAD.match(text)
    if head is None or head.end() == len(text):
        return None
    keys: list[re.Pattern[str]] = []
    at = head.end()
    while at < len(text):
        if (key := _KEY.match(text, at)) is None:
            return None
        literal = key["quoted"] or key["bracketed"] or ""
        keys.append(re.compile(translate(key["glob"]) if key["glob"] else re.escape(literal)))
        at = key.end()
    return Place(head[0], tuple(keys), text[head.end() :])


def list_in(text: str) -> str:
    """The part of a path that it takes for a list, by an index or a place for one: `properties.rules[0].name`."""
    masked = _LITERAL.sub(lambda literal: "_" * len(literal[0]), text)
    before, bracket, _ = masked.partition("[")
    return text[: len(before)] if bracket else ""


def places_in(path: str, places: Iterable[Place]) -> dict[str, Keys]:
    """The places inside one path, by name: the path, and on from there as it is written in the mapping."""
    return {f"{path}{place.below}": place.keys for place in places if fnmatchcase(path, place.head)}


def kept(ours: Json, held: Json, places: dict[str, Keys]) -> Kept:
    """What is to be written of a value where Port holds another one, of which these places stay as they are."""
    differing: dict[str, None] = {}
    if isinstance(held, str) and (ours is None or isinstance(ours, str)):
        return _kept_in_text(ours, held, places)
    value = _kept(ours, held, places, differing)
    return Kept(value, tuple(differing))


def _kept_in_text(ours: str | None, held: str, places: dict[str, Keys]) -> Kept:
    """`kept` of texts that hold JSON, which are spelled as either side spells the same."""
    mine, theirs, differing = _read(ours), _read(held), dict[str, None]()
    if not isinstance(theirs, dict) or not (mine is None or isinstance(mine, dict)):
        return Kept(ours, ())
    value = _kept(mine, theirs, places, differing)
    if same(value, theirs):
        return Kept(held, tuple(differing))
    return Kept(ours if same(value, mine) else orjson.dumps(value).decode(), tuple(differing))


def _kept(ours: Json, held: Json, places: dict[str, Keys], differing: dict[str, None]) -> Json:
    """`kept` of one object; `_ABSENT` stands for what is not there."""
    if not isinstance(held, dict) or not (isinstance(ours, dict) or ours in (None, _ABSENT)):
        return ours
    made = dict(ours) if isinstance(ours, dict) else {}
    for key in (*made, *sorted(held.keys() - made.keys())):
        inner = {name: keys[1:] for name, keys in places.items() if keys[0].fullmatch(key)}
        mine, theirs = made.get(key, _ABSENT), held.get(key, _ABSENT)
        if name := next((name for name, keys in inner.items() if not keys), ""):
            after = theirs
            if not _alike(mine, theirs):
                differing[name] = None
        else:
            after = _kept(mine, theirs, inner, differing) if inner else mine
        if after is _ABSENT:
            made.pop(key, None)
        else:
            made[key] = after
    return made if made or isinstance(ours, dict) else ours


def in_the_way(value: Json, keys: Keys) -> str:
    """What stands on the way to a place where an object should, in words; "" where the place can be reached."""
    return next(_in_the_way(_read(value), keys), "")


def _in_the_way(value: Json, keys: Keys) -> Iterator[str]:
    if value is None or not keys:
        return
    if not isinstance(value, dict):
        yield kind_of(value)
        return
    for key, inner in value.items():
        if keys[0].fullmatch(key):
            yield from _in_the_way(inner, keys[1:])


def _read(value: Json) -> Json:
    """The object or list that a text holds; any other value as it is."""
    read = held_in(value)
    return value if read is None else read


def _alike(one: Json, other: Json) -> bool:
    return one is other or (one is not _ABSENT and other is not _ABSENT and same(one, other))
