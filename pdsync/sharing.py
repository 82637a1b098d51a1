"""Equal texts and equal keys held once: a large catalog says the same in many places.

`share` and `Pool` change fields as they are given: only who has just made them may ask for it.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pdsync.model import Fields, FieldsView, Json

MOST: Final = 4096
"""So many different texts are remembered: enough for every status and target, few enough to be cheap."""

_INSTANCES: Final = 40
_LAYOUTS: Final = 4096


def filled(paths: tuple[str, ...], values: Iterable[Json]) -> Fields:
    """These values under these paths, in this order, in less than half the room of a dict that is made otherwise."""
    fields = empty(paths).copy()
    for path, value in zip(paths, values, strict=True):
        fields[path] = value
    return fields


@lru_cache(maxsize=_LAYOUTS)
def empty(paths: tuple[str, ...]) -> Fields:
    """Null under every path, to be copied: the copies are dicts that share one table of keys.

    CPython has such a table for the attributes of all instances of a class, and what is copied from one of their dicts
    goes on sharing it for as long as no key is added or taken away.  Nothing else depends on that.
    """

    class Holder:
        """Its attributes are the paths."""

    # The first instance fills the table, which has room for more; each of the others takes away a place that is left.
    for _ in range(_INSTANCES):
        holder = Holder()
        for path in paths:
            setattr(holder, path, None)
    return vars(holder)


def share(fields: Fields, like: FieldsView) -> None:
    """Put the texts of `like` where the fields have equal ones at the same paths."""
    for path, value in fields.items():
        if type(value) is str and value == (held := like.get(path)):
            fields[path] = held


class Pool:
    """Texts that were seen before."""

    def __init__(self) -> None:
        self._seen: dict[str, str] = {}

    def text(self, text: str) -> str:
        """The text, or an equal one that was seen before."""
        held = self._seen.get(text)
        if held is not None:
            return held
        if len(self._seen) < MOST:
            self._seen[text] = text
        return text

    def share(self, fields: Fields) -> Fields:
        """The same fields, with texts that were seen before."""
        seen = self._seen
        for path, value in fields.items():
            if type(value) is not str:
                continue
            held = seen.get(value)
            if held is not None:
                fields[path] = held
            elif len(seen) < MOST:
                seen[value] = value
        return fields
