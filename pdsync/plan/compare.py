"""Two plans side by side, and what is left of one on a new base.

Work is what a change does, whatever its number, cause or wording: equal work was looked at already.  Of two plan files
only those changes are read whose fields are not written alike.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from operator import itemgetter
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

import orjson

from pdsync.model import ALIKE, Change, FieldChanges, Plan
from pdsync.plan import summary_of
from pdsync.plan.document import WrittenChange, read_change, written_changes

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence
    from collections.abc import Set as AbstractSet

    from pdsync.model import EntityKey

    About = tuple[str, str, str]


class _Doing(Protocol):
    """What is asked of a change to find its like in another plan."""

    @property
    def n(self) -> int: ...
    @property
    def target(self) -> str: ...
    @property
    def action(self) -> str: ...
    @property
    def blueprint(self) -> str: ...
    @property
    def identifier(self) -> str: ...


LEFT = ("unchanged", "withheld", "held", "foreign", "retained", "ignored")
"""What a summary counts besides changes."""

T = TypeVar("T", bound=_Doing)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two plans side by side: changes that only one has, and that do another thing to the same.

    `same` are the numbers of those changes of the second plan that do what the first one does.
    """

    same: tuple[int, ...]
    gone: tuple[Change, ...]
    new: tuple[Change, ...]
    differing: tuple[tuple[Change, Change], ...]

    @property
    def equal(self) -> bool:
        """Whether both do the very same work."""
        return not (self.gone or self.new or self.differing)


def compare(one: Plan, other: Plan) -> Comparison:
    """What `other` does beside `one`; `same` and `new` are changes of `other`, `gone` those of `one`."""
    pairs = _paired(one.changes, other.changes)
    alike, differing = _parted(pairs.both, lambda old, new: _work(old) == _work(new))
    return Comparison(tuple(new.n for _, new in alike), tuple(pairs.gone), tuple(pairs.new), tuple(differing))


def compare_files(one: tuple[bytes, str], other: tuple[bytes, str]) -> Comparison:
    """`compare` of two plan documents, each with its name.  Raises `StateError` when one is none.

    Most changes of two plans are written alike, and are not read any further.
    """
    pairs = _paired(written_changes(*one), written_changes(*other))
    written_alike, others = _parted(pairs.both, _written_alike)
    read = [(read_change(old, one[1]), read_change(new, other[1])) for old, new in others]
    alike, differing = _parted(read, lambda old, new: _work(old) == _work(new))
    return Comparison(
        tuple(sorted(new.n for both in (written_alike, alike) for _, new in both)),
        tuple(read_change(old, one[1]) for old in pairs.gone),
        tuple(read_change(new, other[1]) for new in pairs.new),
        tuple(differing),
    )


def _written_alike(old: WrittenChange, new: WrittenChange) -> bool:
    return old.action == new.action and bytes(old.fields) == bytes(new.fields)


@dataclass(frozen=True, slots=True)
class _Pairs(Generic[T]):
    """Changes of two plans: those about the same, and those that only one has."""

    both: list[tuple[T, T]]
    gone: list[T]
    new: list[T]


def _paired(one: Sequence[T], other: Sequence[T]) -> _Pairs[T]:
    """The changes of two plans by what they are about."""
    twice = _twice(one) | _twice(other)
    before, after = ({_place(c, twice): c for c in changes} for changes in (one, other))
    return _Pairs(
        both=[(before[place], change) for place, change in after.items() if place in before],
        gone=[change for place, change in before.items() if place not in after],
        new=[change for place, change in after.items() if place not in before],
    )


def _twice(changes: Iterable[_Doing]) -> set[About]:
    """What a plan writes first and then lets go of: there are two changes of it."""
    return {about for about, n in Counter(map(_about, changes)).items() if n > 1}


def _about(change: _Doing) -> About:
    return change.target, change.blueprint, change.identifier


def _place(change: _Doing, twice: Collection[About]) -> tuple[About, bool]:
    about = _about(change)
    return about, about in twice and change.action in ("delete", "release", "forget")


def _parted(pairs: Iterable[tuple[T, T]], alike: Callable[[T, T], bool]) -> tuple[list[tuple[T, T]], list[tuple[T, T]]]:
    """Pairs that are alike, and those that are not."""
    parted: tuple[list[tuple[T, T]], list[tuple[T, T]]] = ([], [])
    for pair in pairs:
        parted[not alike(*pair)].append(pair)
    return parted


def _work(change: Change) -> bytes:
    """What a change does, as canonical bytes."""
    assert isinstance(change.fields, FieldChanges)
    rows = change.fields.rows()  # no field is made for it: a large plan has hundreds of thousands
    fields = [[path, before, after, told[_MOVED_FROM], told[_REPLACE]] for path, before, after, told in rows]
    return orjson.dumps([change.action, sorted(fields, key=itemgetter(0))], option=orjson.OPT_SORT_KEYS)


_MOVED_FROM, _REPLACE = ALIKE.index("moved_from"), ALIKE.index("replace")


# --- a new base ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Rebased:
    """A plan on a new base, which knows what was not looked at yet, and what became of the changes of the old one.

    `same` are the numbers of those that are as they were.  `done` are so by now: only the state is left to move.
    `stopped` would still be needed, and are withheld or held; `gone` are not.  `new` and `differing` need a look.
    """

    plan: Plan
    same: tuple[int, ...]
    done: tuple[Change, ...]
    gone: tuple[Change, ...]
    stopped: tuple[Change, ...]
    new: tuple[Change, ...]
    differing: tuple[tuple[Change, Change], ...]

    @property
    def equal(self) -> bool:
        """Whether it does the very work of the old one."""
        return not (self.done or self.gone or self.stopped or self.new or self.differing)


def rebased(old: Plan, fresh: Plan) -> Rebased:
    """A plan on a new base that remembers what was looked at: only what differs from the old one needs another look."""
    compared = compare(old, fresh)
    others, done = _parted(compared.differing, lambda before, now: not _done_since(before, now))
    left = {(each.target, each.key) for each in fresh.withheld} | {("entity", each.key) for each in fresh.held}
    unseen = {change.n for change in (*compared.new, *(change for _, change in others))}
    before, unreviewed = {*compared.same, *(change.n for _, change in done)}, _unreviewed(old)
    unseen |= {c.n for c in fresh.changes if c.n in before and (c.target, c.key) in unreviewed}
    return Rebased(
        plan=replace(fresh, unreviewed=tuple(sorted(unseen | other_halves(fresh, unseen)))),
        same=compared.same,
        done=tuple(change for _, change in done),
        gone=tuple(c for c in compared.gone if (c.target, c.key) not in left),
        stopped=tuple(c for c in compared.gone if (c.target, c.key) in left),
        new=compared.new,
        differing=tuple(others),
    )


def _done_since(before: Change, now: Change) -> bool:
    """Whether somebody else has done what a change was to do: we would own the very same by it."""
    return before.action == "update" and now.action == "adopt" and before.ledger == now.ledger


def other_halves(plan: Plan, numbers: AbstractSet[int]) -> set[int]:
    """A rename is one: with one half comes the other."""
    return {n for pair in plan.renames.items() if numbers & {*pair} for n in pair}


def to_review(plan: Plan) -> Plan:
    """The plan cut down to the changes that nobody has looked at yet, whichever part they are of."""
    changes = tuple(change for change in plan.changes if change.n in plan.unreviewed)
    others = {name: getattr(plan.summary, name) for name in LEFT}
    return replace(plan, changes=changes, branch=None, summary=summary_of(changes, **others))


def _unreviewed(plan: Plan) -> set[tuple[str, EntityKey]]:
    return {(c.target, c.key) for c in plan.changes if c.n in plan.unreviewed}
