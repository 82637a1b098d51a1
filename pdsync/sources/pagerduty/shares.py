"""One list for several queries: those that differ only in what a record in hand tells are read together.

Two mappings of incidents, one of the open and one of the resolved ones, cost one list of both; each query then takes
its own.  Lists are put together only where that asks for no row twice and for none that nobody wants.

A list of a shorter stretch of time is taken from one of a longer.  What bounds in time are about is not said as plainly
as what a status is, so that PagerDuty is asked how many there are: another number means that it is read on its own.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime
from itertools import combinations
from typing import TYPE_CHECKING, NamedTuple

from pdsync.kinds import KINDS
from pdsync.sources.pagerduty.moments import moment, unbounded
from pdsync.sources.pagerduty.records import FieldReader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pdsync.sources.pagerduty.listing import ListKey
    from pdsync.sources.pagerduty.moments import Params

Box = tuple[frozenset[str] | None, ...]
"""What is wanted of a list, by filter: some values, or None for all."""


_MOST_VALUES = 100
"""As many values of a filter are put together in one list: they stand in its address."""


def shared_lists(keys: Iterable[ListKey], now: datetime) -> dict[ListKey, ListKey]:
    """For every list the one that it is read with, which may be itself."""
    alike: dict[ListKey, list[ListKey]] = defaultdict(list)
    for key in dict.fromkeys(keys):
        alike[key[0], without_local(key)].append(key)
    shares = {key: whole for group in alike.values() for key, whole in _in_boxes(group).items()}
    longer = _longer(dict.fromkeys(shares.values()), now)
    return {key: longer.get(whole, whole) for key, whole in shares.items()}


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
        union = tuple(None if x is None or y is None else x | y for x, y in zip(a, b, strict=True))
        return union if all(len(values or ()) <= _MOST_VALUES for values in union) else None
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


def picker(key: ListKey, whole: ListKey, now: datetime) -> Callable[[bytes], bool] | None:
    """Whether a record of the whole list belongs to this one; None when all do."""
    if key == whole:
        return None
    fields = local_filters(key[0])
    wishes = [(field, values) for field, values in zip(fields.values(), box_of(key), strict=True) if values is not None]
    reader = FieldReader(field for field, _ in wishes)
    fits_in = _by_time(key, now) if is_shorter(key, whole) else lambda _: True
    return lambda raw: (
        fits_in(raw) and all(value in values for value, (_, values) in zip(reader.read(raw), wishes, strict=True))
    )


# --- stretches of time -----------------------------------------------------------------------------------------


def is_shorter(key: ListKey, whole: ListKey) -> bool:
    """Whether a list is taken from one with other bounds in time."""
    return without_local(key) != without_local(whole)


def _longer(wholes: Iterable[ListKey], now: datetime) -> dict[ListKey, ListKey]:
    """For lists that lie within a longer one: the longest of these."""
    alike: dict[ListKey, list[tuple[ListKey, _Bounds]]] = defaultdict(list)
    for key in wholes:
        window = KINDS[key[0]].window
        if window and (bounds := _bounds(key, now)):
            alike[key[0], unbounded(window, without_local(key))].append((key, bounds))
    found: dict[ListKey, ListKey] = {}
    for group in alike.values():
        longest_first = sorted(
            sorted(group, key=lambda each: each[1].until, reverse=True), key=lambda each: each[1].since
        )
        for key, bounds in group:
            around = (each for each, other in longest_first if other.around(bounds))
            if whole := next((each for each in around if _holds(box_of(each), box_of(key))), None):
                found[key] = whole
    return found


class _Bounds(NamedTuple):
    """The stretch of time that a list spans."""

    since: datetime
    until: datetime

    def around(self, other: _Bounds) -> bool:
        """Whether it is longer than another one, and spans it."""
        return self != other and self.since <= other.since and self.until >= other.until


_EVER = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)


def _bounds(key: ListKey, now: datetime) -> _Bounds | None:
    """The bounds of a list; None where nobody says from when, or records do not tell their time, or are not counted."""
    kind, given = KINDS[key[0]], dict(key[1])
    window = kind.window
    if window is None or not window.field or kind.paging != "classic" or not kind.counted:
        return None
    if window.everything and given.get(window.everything[0]) == window.everything[1]:
        return _Bounds(*_EVER)
    if window.since not in given:
        return None
    until = given.get(window.until)
    return _Bounds(moment(given[window.since], now), moment(until, now) if until else _EVER[1])


def _by_time(key: ListKey, now: datetime) -> Callable[[bytes], bool]:
    window, bounds = KINDS[key[0]].window, _bounds(key, now)
    assert window is not None
    assert bounds is not None
    since, until = (end.replace(microsecond=0) for end in bounds)
    reader = FieldReader([window.field])
    return lambda raw: since <= moment(str(reader.read(raw)[0]), now) < until
