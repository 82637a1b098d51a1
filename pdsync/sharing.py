"""Equal texts held once: a large catalog says the same in many places.

What is here changes fields as they are given: only who has just made them may ask for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pdsync.model import Fields

MOST: Final = 4096
"""So many different texts are remembered: enough for every status and target, few enough to be cheap."""


def share(fields: Fields, like: Fields) -> None:
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
