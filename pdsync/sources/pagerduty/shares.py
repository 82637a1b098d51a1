"""One list for several queries: which list each is taken from, and which are read on their own.

Two mappings of incidents, one of the open and one of the resolved ones, cost one list of both; each query then takes
its own.  What a record plainly tells (`Param.local`) is put together without asking anybody: one list of just what is
wanted, no row twice and none that nobody wants.

So are lists of the same records that differ in `include`: what of it a list did not ask for is cut again, as far as it
is documented.

Everything else is taken out of another list only where PagerDuty agrees (see `taking`): a shorter stretch of time, some
teams, what of `include` is not so well documented.  A list that another one has but for one end of its time is read up
to where that begins, or from where it ends; of sets of teams, what of one is in no team of the other.  Lists that have
no team in common stay apart: nothing tells beforehand how many records are of both.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime, timedelta
from itertools import combinations
from typing import TYPE_CHECKING, NamedTuple

from pdsync.kinds import INCLUDES, KINDS, PERHAPS
from pdsync.sources.pagerduty.moments import in_utc, moment, unbounded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from pdsync.sources.pagerduty.listing import ListKey
    from pdsync.sources.pagerduty.moments import Params

Box = tuple[frozenset[str] | None, ...]
"""What is wanted of a list, by filter: some values, or None for all."""

INCLUDE = "include[]"

_MOST_VALUES = 100
"""As many values of a filter are put together in one list: they stand in its address."""


class Share(NamedTuple):
    """Where a list is taken from.

    `whole` is a list that holds it, and that is all there is to it when `plain`: every record tells whether it belongs.
    Otherwise PagerDuty is asked, too.  `rest` is a list of what the whole lacks.
    """

    whole: ListKey
    plain: bool = True
    rest: ListKey | None = None


class Shares(NamedTuple):
    """What is taken from what; a list that is not in `taken` is read on its own.

    `widened` are lists that nobody asked for and that may cost more, each with the one that is read in its place then.
    """

    taken: Mapping[ListKey, Share]
    widened: Mapping[ListKey, ListKey]

    def root(self, key: ListKey) -> ListKey:
        """The list that a list comes from in the end."""
        while key in self.taken:
            key = self.taken[key].whole
        return key

    def parts(self, whole: ListKey) -> list[ListKey]:
        """The lists that are plainly parts of this one, whose records stand in it as they are."""
        plain = [key for key, share in self.taken.items() if share.plain and share.whole == whole]
        return [key for key in plain if included(key) == included(whole)]

    def rivals(self, widened: ListKey) -> dict[ListKey, Share]:
        """The lists for whose sake another one was widened."""
        own = self.widened[widened]
        return {key: share for key, share in self.taken.items() if share.whole == widened and key != own}


def shared_lists(keys: Iterable[ListKey], now: datetime, is_read: Callable[[ListKey], bool] = lambda _: True) -> Shares:
    """Where each list is taken from.

    `is_read` tells of a list whether all of it is read whenever it is asked for: one of which much is known from before
    costs little, and a list that is read in its place may cost more.
    """
    alike: dict[ListKey, list[ListKey]] = defaultdict(list)
    for key in dict.fromkeys(keys):
        alike[key[0], without_local(key)].append(key)
    boxes = {key: whole for group in alike.values() for key, whole in _in_boxes(group).items()}
    plan = _Plan([_Reach.of(key, now) for key in dict.fromkeys(boxes.values())], now, is_read)
    plan.put_under_longer()
    plan.widen()
    plan.join()
    plain = {key: Share(whole) for key, whole in boxes.items() if key != whole}
    return Shares(plain | plan.taken, plan.widened)


def differences(key: ListKey, others: Iterable[ListKey]) -> tuple[str, ...]:
    """The names of the parameters in which a list differs from others of its kind and that records do not tell."""
    pairs = {pair for other in others if other[0] == key[0] for pair in {*key[1]} ^ {*other[1]}}
    wires = {name for name, _ in pairs}
    return tuple(param.name for param in KINDS[key[0]].params if param.wire in wires and not param.local)


def included(key: ListKey) -> frozenset[str]:
    """What a list includes."""
    return frozenset(value for name, value in key[1] if name == INCLUDE)


# --- what records tell plainly ---------------------------------------------------------------------------------


def without_local(key: ListKey) -> Params:
    """The parameters of a list that no record tells."""
    local = local_filters(key[0])
    return tuple(pair for pair in key[1] if pair[0] not in local)


def local_filters(kind: str) -> dict[str, str]:
    """The filters of a kind that records tell, with the field that they are about."""
    return {param.wire: param.local for param in KINDS[kind].params if param.local}


def near_filters(kind: str) -> dict[str, str]:
    """The filters of a kind that records tell, but not for certain."""
    return {param.wire: param.near for param in KINDS[kind].params if param.near}


def box_of(key: ListKey) -> Box:
    """What a list asks for, by local filter."""
    return _wishes(key, local_filters(key[0]))


def is_of_first(key: ListKey) -> bool:
    """Whether a list is just of the earliest record of all that are alike."""
    window = KINDS[key[0]].window
    return window is not None and window.first is not None and (window.first[0], "true") in key[1]


def _wishes(key: ListKey, names: Iterable[str]) -> Box:
    given: dict[str, set[str]] = defaultdict(set)
    for name, value in key[1]:
        given[name].add(value)
    return tuple(frozenset(given[name]) if name in given else None for name in names)


def _in_boxes(group: list[ListKey]) -> dict[ListKey, ListKey]:
    every = _every_value(group[0][0])
    boxes: dict[Box, list[ListKey]] = defaultdict(list)
    for key in group:
        boxes[_opened(box_of(key), every) if len(group) > 1 else box_of(key)].append(key)
    while pair := next(((a, b) for a, b in combinations(boxes, 2) if _union(a, b, every) is not None), None):
        whole = _union(*pair, every)
        assert whole is not None
        members = [key for box in pair for key in boxes.pop(box)]
        boxes[whole] = [*members, *boxes.get(whole, [])]
    return {key: _key_of(box, members) for box, members in boxes.items() for key in members}


def _every_value(kind: str) -> tuple[frozenset[str], ...]:
    """All values that there are of each local filter; empty where that is not known."""
    return tuple(frozenset(param.allowed) for param in KINDS[kind].params if param.local)


def _union(a: Box, b: Box, every: tuple[frozenset[str], ...]) -> Box | None:
    """The box that holds just what two hold; None when there is none.

    That of every value there is holds all: without the filter it holds other lists that ask without it.
    """
    different = [index for index, (x, y) in enumerate(zip(a, b, strict=True)) if x != y]
    if len(different) <= 1 or _holds(a, b) or _holds(b, a):
        both = tuple(None if x is None or y is None else x | y for x, y in zip(a, b, strict=True))
        union = _opened(both, every)
        return union if all(len(values or ()) <= _MOST_VALUES for values in union) else None
    return None


def _opened(box: Box, every: tuple[frozenset[str], ...]) -> Box:
    """The same without filters that take every value there is."""
    return tuple(None if values == all_ else values for values, all_ in zip(box, every, strict=True))


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


# --- what PagerDuty is asked about, too ------------------------------------------------------------------------


class Bounds(NamedTuple):
    """The stretch of time that a list spans."""

    since: datetime
    until: datetime

    def around(self, other: Bounds) -> bool:
        """Whether it spans another one."""
        return self.since <= other.since and self.until >= other.until

    def overlaps(self, other: Bounds) -> bool:
        """Whether they have any time in common."""
        return max(self.since, other.since) < min(self.until, other.until)


_EVER = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)


def bounds_of(key: ListKey, now: datetime) -> Bounds | None:
    """The bounds of a list; None where nobody says from when, or records do not tell their time."""
    window, given = KINDS[key[0]].window, dict(key[1])
    if window and window.period:
        return Bounds(*(moment(given[end], now) if end in given else now for end in (window.since, window.until)))
    if window is None or not window.field:
        return None
    if window.everything and given.get(window.everything[0]) == window.everything[1]:
        return Bounds(*_EVER)
    if window.since not in given:
        return None
    until = given.get(window.until)
    return Bounds(moment(given[window.since], now), moment(until, now) if until else _EVER[1])


class _Reach(NamedTuple):
    """How far a list reaches: what must be the same, and what may be wider or narrower.

    `same` is None for a list of which PagerDuty does not say how much there is of it; `first` says that it is of the
    earliest records of those that are alike.
    """

    key: ListKey
    same: Params | None
    box: Box
    near: Box
    include: frozenset[str]
    bounds: Bounds | None
    first: bool

    @classmethod
    def of(cls, key: ListKey, now: datetime) -> _Reach:
        kind, bounds, near = KINDS[key[0]], bounds_of(key, now), near_filters(key[0])
        left = unbounded(kind.window, key[1]) if kind.window and bounds else key[1]
        told, first = {*local_filters(key[0]), *near, INCLUDE}, is_of_first(key)
        told |= {kind.window.first[0]} if first and kind.window and kind.window.first else set()
        comparable = kind.paging == "classic" and kind.counted and not (kind.parents or kind.detail)
        same = tuple(sorted(pair for pair in left if pair[0] not in told))
        return cls(key, same if comparable else None, box_of(key), _wishes(key, near), included(key), bounds, first)

    def is_like(self, other: _Reach) -> bool:
        """Whether what is there of the other's records is here, as far as plain filters go."""
        alike = self.same is not None and (self.key[0], self.same) == (other.key[0], other.same)
        timed = (self.bounds is None) == (other.bounds is None)
        return alike and timed and self.first <= other.first and _holds(self.box, other.box)

    def is_about(self, other: _Reach) -> bool:
        """The same as far as any filters go."""
        return self.is_like(other) and _holds(self.near, other.near)

    def spans(self, other: _Reach) -> bool:
        """Whether all of the other's time is here; which records are the first of it, only the same time tells."""
        if self.bounds is None or other.bounds is None:
            return True
        return self.bounds == other.bounds if self.first != other.first else self.bounds.around(other.bounds)

    def is_around(self, other: _Reach) -> bool:
        """Whether all of the other's records are here, in whatever form."""
        return self.is_about(other) and self.spans(other)

    def has_form(self, other: _Reach) -> bool:
        """Whether the other's form of a record can be made of that here."""
        return self.include >= other.include and self.may_differ(other)

    def may_differ(self, other: _Reach) -> bool:
        """Whether it is known what the includes are that only one of two has."""
        either = self.include | other.include
        return self.include == other.include or either <= INCLUDES.get(self.key[0], {}).keys()

    def tells(self, other: _Reach) -> bool:
        """Whether records plainly tell what of this list is in the other, and in what form."""
        paths = [INCLUDES[self.key[0]][value] for value in self.include - other.include]
        documented = not any(path.endswith(PERHAPS) for path in paths)
        return documented and (self.near, self.bounds, self.first) == (other.near, other.bounds, other.first)

    def beyond(self, other: _Reach) -> ListKey | None:
        """The list of what another one lacks of this, where that is one end of its time or some values of one filter.

        None where it is not, or where the other one has nothing of this.
        """
        if not (other.is_like(self) and other.has_form(self)):
            return None
        if other.spans(self):
            return self._of_other_values(other)
        return self._of_other_times(other) if _holds(other.near, self.near) else None

    def _of_other_values(self, other: _Reach) -> ListKey | None:
        wishes = zip(near_filters(self.key[0]), self.near, other.near, strict=True)
        lacking = [(name, mine, its) for name, mine, its in wishes if its is not None and not (mine and mine <= its)]
        if len(lacking) != 1:
            return None
        ((name, mine, its),) = lacking
        if not mine or mine.isdisjoint(its):
            return None
        return self.key[0], tuple(pair for pair in self.key[1] if pair[0] != name or pair[1] not in its)

    def _of_other_times(self, other: _Reach) -> ListKey | None:
        mine, its, window = self.bounds, other.bounds, KINDS[self.key[0]].window
        if not (window and mine and its and mine.overlaps(its)) or self.first:  # each time has a first of its own
            return None
        ends = [(window.until, its.since)] if mine.since < its.since else []
        ends += [(window.since, its.until)] if its.until < mine.until else []
        if len(ends) != 1 or mine.since == _EVER[0]:  # a list since ever is not bounded but by asking otherwise
            return None
        ((name, at),) = ends
        return _with(self.key, name, in_utc(at))

    @property
    def extent(self) -> tuple[timedelta, int]:
        """How much it may be, next to another list of the same records: by its time, and by its filters."""
        return self.bounds.until - self.bounds.since if self.bounds else timedelta(), len(self.key[1])


class _Plan:
    """Decides, among lists that would each be read, which are taken from which."""

    def __init__(self, reaches: list[_Reach], now: datetime, is_read: Callable[[ListKey], bool]) -> None:
        self._reaches = reaches
        self._now = now
        self._is_read = is_read
        self.taken: dict[ListKey, Share] = {}
        self.widened: dict[ListKey, ListKey] = {}

    def _left(self) -> list[_Reach]:
        return [each for each in self._reaches if each.key not in self.taken]

    def put_under_longer(self) -> None:
        """A list is taken from one that has all of it; of two that have the same, from the first."""
        for at, each in enumerate(self._reaches):
            holding = (
                other
                for where, other in enumerate(self._reaches)
                if where != at and _holds_all(other, each) and (where < at or not _holds_all(each, other))
            )
            if (longest := max(holding, key=self._held_by, default=None)) is not None:
                self.taken[each.key] = Share(longest.key, plain=longest.tells(each))

    def _held_by(self, holder: _Reach) -> int:
        return sum(_holds_all(holder, other) for other in self._reaches)

    def widen(self) -> None:
        """Lists of the same records that differ in `include` are taken from one that has all of it.

        To have a short list from a long one, the long one would be read with more than anybody asked for.
        """
        for each in self._left():
            rivals = [other for other in self._left() if other is not each and _may_be_cut_from(each, other)]
            if not rivals or each.key in self.taken or not all(self._is_read(one.key) for one in (each, *rivals)):
                continue
            include = each.include.union(*(other.include for other in rivals))
            others = tuple(pair for pair in each.key[1] if pair[0] != INCLUDE)
            widened = each.key[0], (*others, *((INCLUDE, value) for value in sorted(include)))
            whole = each._replace(key=widened, include=include)
            for one in (each, *rivals):
                self.taken[one.key] = Share(widened, plain=whole.tells(one))
            if not self.taken[each.key].plain:
                self.widened[widened] = each.key

    def join(self) -> None:
        """A list that another one has but for a rest is taken from there as far as that goes, the later one first."""
        in_time = sorted(self._left(), key=lambda each: each.bounds or _EVER)
        for each in reversed(in_time):
            if rests := list(self._rests(each, in_time)):
                rest, other = min(rests, key=lambda found: found[0].extent)
                if self._leads(rest.key, each.key):
                    del self.taken[rest.key]
                self.taken[each.key] = Share(other.key, plain=False, rest=rest.key)
                self._put_under_any(rest)

    def _rests(self, each: _Reach, others: Iterable[_Reach]) -> Iterator[tuple[_Reach, _Reach]]:
        """What each of others lacks of a list, unless that is the more to read, or it waits for this list itself."""
        for other in others:
            rest = each.beyond(other)
            if rest and self._is_read(rest) and not self._leads(other.key, each.key):
                yield _Reach.of(rest, self._now), other

    def _put_under_any(self, rest: _Reach) -> None:
        """A rest that somebody else reads all of is taken from there."""
        holding = (other for other in self._reaches if other.key != rest.key and _holds_all(other, rest))
        for other in holding if rest.key not in self.taken else ():
            if not self._leads(other.key, rest.key):
                self.taken[rest.key] = Share(other.key, plain=other.tells(rest))
                return

    def _leads(self, begin: ListKey, end: ListKey) -> bool:
        """Whether a list is taken, by whatever way, from another one."""
        share = self.taken.get(begin)
        below = (share.whole, share.rest) if share else ()
        return any(each == end or (each is not None and self._leads(each, end)) for each in below)


def _holds_all(a: _Reach, b: _Reach) -> bool:
    return a.is_around(b) and a.has_form(b)


def _with(key: ListKey, name: str, value: str) -> ListKey:
    """The same list, but for one parameter: as a query names it."""
    order = [param.wire for param in KINDS[key[0]].params]
    others = [pair for pair in key[1] if pair[0] != name]
    return key[0], tuple(sorted([*others, (name, value)], key=lambda pair: order.index(pair[0])))


def _may_be_cut_from(a: _Reach, b: _Reach) -> bool:
    return a.is_around(b) and b.is_around(a) and a.may_differ(b)
