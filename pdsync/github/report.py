"""What the run step hands to the report step, and how it ended."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from pdsync import errors
from pdsync.errors import Diagnostic, PdsyncError, Severity, StateError, error
from pdsync.github.events import Mode
from pdsync.model import Outcome, Plan
from pdsync.plan.branch import changes_nothing
from pdsync.plan.document import plan_document, read_plan
from pdsync.plan.verdict import plan_exit_code

if TYPE_CHECKING:
    from collections.abc import Callable

WITHHELD = 3
PARTLY = 6
INTERRUPTED = 130

REASONS: tuple[tuple[type[PdsyncError], str], ...] = (
    (errors.IncompleteSnapshot, "source-incomplete"),
    (errors.SourceError, "source"),
    (errors.TargetError, "target"),
    (errors.StalePlan, "plan-changed"),
    (errors.Locked, "state-locked"),
    (errors.StateError, "state"),
    (errors.GuardRefused, "guard"),
    (errors.PartlyApplied, "apply-failed"),
    (errors.Interrupted, "cancelled"),
    (errors.CatalogError, "catalog-invalid"),
    (errors.MappingError, "catalog-invalid"),
    (errors.UsageError, "usage"),
)
"""From exception to the output `failure-reason`, the first that fits."""


@dataclass(frozen=True, slots=True)
class Report:
    """How the run step ended.

    `exit_code` is what the command line would end with (`plan --detailed-exitcode`), `fails` whether the step does,
    `reason` the output `failure-reason`.  `comment_on` is the pull request to tell, if the event names one.
    `outcomes` is None when nothing was applied; `at` is RFC 3339 UTC; `serial` is that of the state afterwards.
    """

    mode: Mode
    why: str
    at: str
    exit_code: int = 0
    fails: bool = False
    reason: str = ""
    comment_on: int | None = None
    diagnostics: tuple[Diagnostic, ...] = ()
    outcomes: tuple[Outcome, ...] | None = None
    serial: int = 0
    plan_file: str = ""


def changed(plan: Plan | None) -> bool:
    """Whether the plan would write to Port or let go of anything: adopting and forgetting move the state only."""
    return plan is not None and bool(plan.changes)


def told_something(plan: Plan | None) -> bool:
    """Whether a pull request has something to look at: what it changes itself, where that is known."""
    if plan is None:
        return False
    return changed(plan) or bool(plan.withheld) if plan.branch is None else not changes_nothing(plan.branch)


def of_base(found: Diagnostic, plan: Plan | None) -> bool:
    """Whether the base of a pull request has the same problem."""
    if plan is None or plan.branch is None:
        return False
    return found in plan.diagnostics and found not in plan.branch.diagnostics


def softer(found: Diagnostic) -> Diagnostic:
    """An error that does not fail the step, as the warning that it is then."""
    return replace(found, severity=Severity.WARNING) if found.severity is Severity.ERROR else found


def drifted(plan: Plan | None) -> bool:
    """Whether somebody else has touched what we own."""
    return plan is not None and any(c.cause == "drift" or any(f.drift for f in c.fields) for c in plan.changes)


def apply_exit(plan: Plan, outcomes: tuple[Outcome, ...], *, interrupted: bool) -> int:
    """What `pdsync apply` ends with."""
    if interrupted:
        return INTERRUPTED
    if any(outcome.status != "done" for outcome in outcomes):
        return PARTLY
    return plan_exit_code(plan, detailed=False)


def reason_of(failure: PdsyncError) -> str:
    """The output `failure-reason` for an exception."""
    return next((reason for kind, reason in REASONS if isinstance(failure, kind)), "error")


def has_errors(diagnostics: tuple[Diagnostic, ...]) -> bool:
    """Whether any of them makes a command fail."""
    return any(diagnostic.severity is Severity.ERROR for diagnostic in diagnostics)


def hand_over(folder: str, report: Report, plan: Plan | None, clean: Callable[[str], str]) -> Report:
    """Write report and plan into `folder` (made if need be); the report as written, with the plan's path.

    `clean` takes secrets out: the plan may be uploaded, and it is what the comment is rendered from.
    """
    home = Path(folder)
    home.mkdir(parents=True, exist_ok=True)
    path = home / "plan.json"
    path.unlink(missing_ok=True)
    if plan is not None:
        path.write_text(clean(plan_document(plan).decode()), "utf-8", newline="\n")
        report = replace(report, plan_file=str(path))
    (home / "report.json").write_text(clean(msgspec.json.encode(report).decode()), "utf-8", newline="\n")
    return report


def take_over(folder: str) -> tuple[Report, Plan | None]:
    """What `hand_over` wrote.  Raises `StateError` when the run step left nothing that can be read."""
    path = Path(folder) / "report.json"
    try:
        report = msgspec.json.decode(path.read_bytes(), type=Report)
    except (OSError, msgspec.MsgspecError) as problem:
        hint = "Look at the log of the step before: it ended early, as when a job is cancelled. Run the job again."
        told = error("PD705", "the run step left no report", detail=type(problem).__name__, hint=hint)
        raise StateError(told) from problem
    plan = read_plan(Path(report.plan_file).read_bytes(), "plan.json") if report.plan_file else None
    return report, plan
