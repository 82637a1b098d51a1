"""One list for several queries: those that differ only in what a record in hand tells are read together.

Two mappings of incidents, one of the open and one of the resolved ones, cost one list of both; each query then takes
its own.  Lists are put together only where that asks for no row twice and for none that nobody wants.
"""

from __future__ import annotations

from collections import defaultdict
from itertools import combinations
from typing import TYPE_CHECKING

from pdsync.kinds import KINDS
from pdsync.sources.pagerduty.records import FieldReader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pdsync.sources.pagerduty.listing import ListKey
    from pdsync.sources.pagerduty.moments import Params

Box = tuple[frozenset[str] | None, ...]
"""What is wanted of a list, by filter: some values, or None for all."""


def shared_lists(keys: Iterable[ListKey]) -> dict[ListKey, ListKey]:
    """For every list the one that it is read with, which may be itself."""
    alike: dict[ListKey, list[ListKey]] = defaultdict(list)
    for key in dict.fromkeys(keys):
        alike[key[0], without_local(key)].append(key)
    return {key: whole for group in alike.values() for key, whole in _in_boxes(group).items()}


def without_local(key: ListKey) -> Params:
    """The parameters of a list that no record tells."""
    local = local_filters(key[0])
    return tuple(pair for pair in key[1] if pair[0] not in local)


def local_filters(kind: str) -> dict[str, str]:
    """The filters of a kind that records tell, with the field that they are about."""
    return {param.wire: param.local for param in KINDS[kind].params if param.local}


def box_of(key: ListKey) -> Box:
    """What a list asks for, by local filter."""
    given: dict[str, set[str]] = defaultdict(set)
    for name, value in key[1]:
        given[name].add(value)
    return tuple(frozenset(given[name]) if name in given else None for name in local_filters(key[0]))


def _in_boxes(group: list[ListKey]) -> dict[ListKey, ListKey]:
    boxes: dict[Box, list[ListKey]] = defaultdict(list)
    for key in group:
        boxes[box_of(key)].append(key)
    while pair := next(((a, b) for a, b in combinations(boxes, 2) if _union(a, b) is not None), None):
        whole = _union(*pair)
        assert whole is not None
        members = [key for box in pair for key in boxes.pop(box)]
        boxes[whole] = [*members, *boxes.get(whole, [])]
    return {key: _key_of(box, members) for box, members in boxes.items() for key in members}


def _union(a: Box, b: Box) -> Box | None:
    """The box that holds just what two hold; None when there is none."""
    different = [index for index, (x, y) in enumerate(zip(a, b, strict=True)) if x != y]
    if len(different) <= 1 or _holds(a, b) or _holds(b, a):
        return tuple(None if x is None or y is None else x | y for x, y in zip(a, b, strict=True))
    return None


def _holds(a: Box, b: Box) -> bool:
    return all(x is None or (y is not None and y <= x) for x, y in zip(a, b, strict=True))


def _key_of(box: Box, members: list[ListKey]) -> ListKey:
    """The list with these wishes: a member that has them already, or one made for it."""
    for key in members:
        if box_of(key) == box:
            return key
    kind = members[0][0]
    wanted = zip(local_filters(kind), box, strict=True)
    local = tuple((name, value) for name, values in wanted for value in sorted(values or ()))
    return kind, without_local(members[0]) + local


def picker(key: ListKey, whole: ListKey) -> Callable[[bytes], bool] | None:
    """Whether a record of the whole list belongs to this one; None when all do."""
    if key == whole:
        return None
    fields = local_filters(key[0])
    wishes = [(field, values) for field, values in zip(fields.values(), box_of(key), strict=True) if values is not None]
    reader = FieldReader(field for field, _ in wishes)
    return lambda raw: all(value in values for value, (_, values) in zip(reader.read(raw), wishes, strict=True))
