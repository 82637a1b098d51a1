"""What a command that made a plan ends with, apart from how its writes went."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from pdsync.errors import GuardRefused, IncompleteSnapshot, Severity, error
from pdsync.plan.guards import is_pointed_at, is_required
from pdsync.plan.migrate import BREAKING
from pdsync.plan.missing import MISSING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pdsync.errors import Diagnostic
    from pdsync.model import Plan

CHANGES = 2
_NAMED = 5
SOURCE_CODES = "PD3"
"""Diagnostics about the source begin so."""


def plan_exit_code(plan: Plan, *, detailed: bool) -> int:
    """0, or why not.

    An error in a record or a mapping (1), something that a guard stopped (3), a list that could not be read whole (7),
    changes when `detailed` (2); the first of these that holds.
    """
    errors = {d.code for d in plan.diagnostics if d.severity is Severity.ERROR}
    incomplete = {code for code in errors if code.startswith(SOURCE_CODES)}
    if errors - incomplete:
        return 1
    if plan.withheld or plan.guards:
        return GuardRefused.exit_code
    if incomplete:
        return IncompleteSnapshot.exit_code
    return CHANGES if detailed and plan.changes else 0


def refusal(plan: Plan) -> tuple[Diagnostic, ...]:
    """What guards kept from happening and would let through if told so, with the exact flags.

    And what no flag lets through: what others require, and parts of blueprints that cannot be made or changed.  To be
    said after the plan itself, which names all that is withheld.
    """
    return (*_flagged(plan), *_required(plan), *_left_out(plan))


def _flagged(plan: Plan) -> tuple[Diagnostic, ...]:
    waiting = [item for item in plan.withheld if item.flag]
    counts = Counter((item.blueprint, item.reason) for item in waiting)
    told = [
        f"{count} {'delete' if count == 1 else 'deletes'} of {name}: {reason}"
        for (name, reason), count in sorted(counts.items())
    ]
    known = {item.flag for item in waiting}
    told += [f"{g.blueprint}: {g.detail}" for g in plan.guards if g.flag and g.flag not in known]
    if not told:
        return ()
    flags = dict.fromkeys([*(item.flag for item in waiting), *(guard.flag for guard in plan.guards if guard.flag)])
    hint = f"if all of that is meant: {' '.join(flags)}"
    return (error("PD630", "guards keep a part of this plan from happening", detail="; ".join(told), hint=hint),)


_WAY_OUT = "or make the relation optional (required: false)"
_NEEDED = (
    (is_required, "others require what would be deleted", f"have what requires them go or point elsewhere, {_WAY_OUT}"),
    (
        is_pointed_at,
        "others point at what would be deleted",
        "they go once what points at them goes or points elsewhere",
    ),
)
"""Deletes that are withheld for the sake of others: which, what is said of them, and the way out."""


def _required(plan: Plan) -> Iterator[Diagnostic]:
    for is_so, summary, hint in _NEEDED:
        needed = [f"{each.blueprint}/{each.identifier} is {each.reason}" for each in plan.withheld if is_so(each)]
        if needed:
            more = f"; and {len(needed) - _NAMED:,} more" if len(needed) > _NAMED else ""
            yield error("PD632", summary, detail="; ".join(needed[:_NAMED]) + more, hint=hint)


_LEFT_OUT = "change the part or what stands in its way; all else of the plan goes on"


def _left_out(plan: Plan) -> Iterator[Diagnostic]:
    """Parts that have a place in the catalog each with that, all others as one."""
    found = [guard for guard in plan.guards if not guard.flag and guard.name in (BREAKING, MISSING)]
    summary = "parts of blueprints are left as they are"
    if told := [f"{guard.blueprint}: {guard.detail}" for guard in found if guard.origin is None]:
        more = f"; and {len(told) - _NAMED:,} more" if len(told) > _NAMED else ""
        yield error("PD633", summary, detail="; ".join(told[:_NAMED]) + more, hint=_LEFT_OUT)
    for guard in found:
        if guard.origin is not None:
            detail = f"{guard.blueprint}: {guard.detail}"
            yield error(
                "PD633", "a part of a blueprint cannot come", detail=detail, origin=guard.origin, hint=_LEFT_OUT
            )
