"""What became of an apply, as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pdsync.errors import Severity
from pdsync.plan import Scope
from pdsync.render.escape import quoted, visible
from pdsync.render.paint import Paint
from pdsync.render.plan_text import SYMBOLS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pdsync.model import Outcome, Plan

_TITLES = {"failed": "Failed", "skipped": "Skipped", "unknown": "Not known to be whole"}


def render_result(
    plan: Plan, outcomes: Sequence[Outcome], *, serial: int | None, following: str = "", color: bool = False
) -> str:
    """Every change that was not done, with the reason, then the counts; the number of the state that holds it, if any.

    `following` is the command that goes on, when there is something left.
    """
    paint = Paint(color)
    changes = {change.n: change for change in plan.changes}
    lines: list[str] = []
    listings = [("red", title, [o for o in outcomes if o.status == status]) for status, title in _TITLES.items()]
    for hue, title, listed in [*listings, ("yellow", "There already", [o for o in outcomes if o.there])]:
        lines += [paint(hue, f"{title} ({len(listed)})")] if listed else []
        for outcome in listed:
            change = changes[outcome.n]
            name = visible(change.blueprint if change.target == "blueprint" else str(change.key))
            lines.append(f"  #{outcome.n} {SYMBOLS[change.action]} {name} {quoted(change.title, 80)}")
            lines.append(f"       {visible(outcome.message)}")
    counts = {status: sum(o.status == status for o in outcomes) for status in ("done", *_TITLES)}
    whole = counts["done"] == len(outcomes)
    count = ", ".join(f"{n} {status}" for status, n in counts.items() if status == "done" or not whole)
    verdict = "Apply complete" if whole else "Apply incomplete"
    lines += [paint("yellow", told) for told in _left_out(plan)]
    state = f"State saved, serial {serial}." if serial is not None else paint("red", "The state is NOT saved.")
    after = [f"Next: {following}"] if following else []
    return "\n".join([*lines, paint("bold", f"{verdict}: {count}.") + f" {state}", *after]) + "\n"


def command_of(plan: Plan) -> str:
    """The command that makes such a plan anew."""
    if reverts := Scope.read(plan.base.scope).reverts:
        return f"pdsync revert {reverts}"
    whys = {*(change.reason for change in plan.changes), *(item.why for item in plan.withheld)}
    return "pdsync destroy" if "destroyed" in whys else "pdsync plan"


def _left_out(plan: Plan) -> Iterator[str]:
    """What there would be to do besides what was done, for which there is an exit code as well."""
    command = command_of(plan)
    if count := len(plan.withheld):
        yield f"{'1 delete was' if count == 1 else f'{count} deletes were'} withheld; `{command}` tells which."
    if count := sum(each.severity is Severity.ERROR for each in plan.diagnostics):
        problems = "1 problem" if count == 1 else f"{count} problems"
        yield f"{problems} kept a part from being planned; `{command}` tells which."
