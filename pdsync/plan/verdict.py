"""What a command that made a plan ends with, apart from how its writes went."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pdsync.errors import GuardRefused, IncompleteSnapshot, Severity

if TYPE_CHECKING:
    from pdsync.model import Plan

CHANGES = 2
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
