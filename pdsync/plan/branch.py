"""What a branch changes: the plan of its catalog beside that of its base, made from the same records and the same Port.

A change that both plans have is not the branch's doing: PagerDuty has moved, somebody edited Port, or the base itself
is not applied yet.  Everything else is: what only one of them does, and what they do differently.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from pdsync.model import Branch, Otherwise
from pdsync.normal import same
from pdsync.plan import summary_of
from pdsync.plan.compare import compare, other_halves

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pdsync.errors import Diagnostic
    from pdsync.model import Change, FieldChange, Plan

T = TypeVar("T")


def with_branch(plan: Plan, base: Plan, ref: str, commit: str) -> Plan:
    """The plan, with what it changes about that of its base, which is called `ref` and stands at `commit`."""
    compared = compare(base, plan)
    otherwise = {change.n: before for before, change in compared.differing}
    new = {change.n for change in compared.new}
    new |= other_halves(plan, new | otherwise.keys()) - otherwise.keys()
    branch = Branch(
        ref=ref,
        commit=commit,
        catalog=base.base.catalog,
        new=tuple(sorted(new)),
        otherwise=tuple(Otherwise(n, _told(otherwise[n])) for n in sorted(otherwise)),
        gone=tuple(_told(change) for change in compared.gone),
        withheld=without(plan.withheld, base.withheld),
        held=without(plan.held, base.held),
        guards=without(plan.guards, base.guards),
        diagnostics=not_known(plan.diagnostics, base.diagnostics),
    )
    numbers = _numbers(branch)
    why = {(c.target, c.key, c.action): c.cause for c in base.changes}
    rest = Counter(why.get((c.target, c.key, c.action), c.cause) for c in plan.changes if c.n not in numbers)
    return replace(plan, branch=replace(branch, rest=dict(sorted(rest.items()))))


def parts(plan: Plan) -> tuple[Plan, Plan]:
    """A plan with a branch cut in two: what the branch changes, and the rest; each counted for itself."""
    branch = plan.branch
    if branch is None:
        return replace(plan, changes=()), plan
    numbers = _numbers(branch)
    mine = tuple(change for change in plan.changes if change.n in numbers)
    rest = tuple(change for change in plan.changes if change.n not in numbers)
    one = replace(
        plan,
        changes=mine,
        withheld=branch.withheld,
        held=branch.held,
        guards=branch.guards,
        diagnostics=branch.diagnostics,
        summary=summary_of(mine, withheld=len(branch.withheld), held=len(branch.held)),
    )
    withheld, held = without(plan.withheld, branch.withheld), without(plan.held, branch.held)
    other = replace(
        plan,
        changes=rest,
        withheld=withheld,
        held=held,
        guards=without(plan.guards, branch.guards),
        diagnostics=not_known(plan.diagnostics, branch.diagnostics),
        summary=summary_of(rest, withheld=len(withheld), held=len(held)),
    )
    return one, other


def changes_nothing(branch: Branch) -> bool:
    """Whether the plan of the base is the same in all that a plan does and does not do."""
    return not (branch.new or branch.otherwise or branch.gone or branch.withheld or branch.held or branch.guards)


def base_fields(change: Change, base: Change) -> list[FieldChange]:
    """Of what the base does with an entity, the fields in which it is not what the branch does."""
    own = {f.path: f for f in change.fields}
    return [f for f in base.fields if f.path not in own or not _alike(f, own[f.path])]


def _alike(one: FieldChange, other: FieldChange) -> bool:
    return same(one.before, other.before) and same(one.after, other.after) and one.moved_from == other.moved_from


def _numbers(branch: Branch) -> set[int]:
    return {*branch.new, *(each.n for each in branch.otherwise)}


def _told(change: Change) -> Change:
    """A change of the base's plan, which nobody will apply: without its number, and what only an apply needs."""
    return replace(change, n=0, after=(), ledger=None, seen="")


def without(some: Iterable[T], others: Iterable[T]) -> tuple[T, ...]:
    """Those of some that are not among the others."""
    known = frozenset(others)
    return tuple(each for each in some if each not in known)


def not_known(some: Iterable[Diagnostic], others: Iterable[Diagnostic]) -> tuple[Diagnostic, ...]:
    """Those diagnostics that the others do not say as well, wherever: an edit above it moves a line."""
    known = {_said(each) for each in others}
    return tuple(each for each in some if _said(each) not in known)


def _said(diagnostic: Diagnostic) -> tuple[object, ...]:
    return (diagnostic.severity, diagnostic.code, diagnostic.summary, diagnostic.detail, diagnostic.records)
