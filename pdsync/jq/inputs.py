"""What of a record an expression reads, with the values that are there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pdsync.jq.reads import wanted_by

if TYPE_CHECKING:
    from pdsync.jq.reads import Wanted
    from pdsync.model import Json

WHOLE = "."
"""The path of the record itself: the expression reads all of it, or it cannot be told what."""


def inputs_of(text: str, record: Json) -> dict[str, Json]:
    """Path (`.service.id`) -> value of everything in the record that an expression may read; null where it is absent.

    Empty for an expression that reads nothing, such as a constant.
    """
    found: dict[str, Json] = {}
    wanted = wanted_by([text])
    if wanted.whole or wanted.members:
        _gather(wanted, record, "", found)
    return found


def _gather(wanted: Wanted, value: Json, path: str, found: dict[str, Json]) -> None:
    if wanted.whole or not wanted.members or not isinstance(value, Mapping):
        found[path or WHOLE] = value
        return
    for name, member in sorted(wanted.members.items()):
        _gather(member, value.get(name), f"{path}.{name}", found)
