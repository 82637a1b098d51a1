"""What became of an apply, as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pdsync.render.escape import quoted, visible
from pdsync.render.paint import Paint
from pdsync.render.plan_text import SYMBOLS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pdsync.model import Outcome, Plan

_TITLES = {"failed": "Failed", "skipped": "Skipped", "unknown": "Not known to be whole"}


def render_result(
    plan: Plan, outcomes: Sequence[Outcome], *, serial: int | None, run: str = "", color: bool = False
) -> str:
    """Every change that was not done, with the reason, then the counts; the number of the state that holds it, if any.

    `run` is the run to go on with, when there is something left.
    """
    paint = Paint(color)
    changes = {change.n: change for change in plan.changes}
    lines: list[str] = []
    for status, title in _TITLES.items():
        listed = [o for o in outcomes if o.status == status]
        lines += [paint("red", f"{title} ({len(listed)})")] if listed else []
        for outcome in listed:
            change = changes[outcome.n]
            name = visible(change.blueprint if change.target == "blueprint" else str(change.key))
            lines.append(f"  #{outcome.n} {SYMBOLS[change.action]} {name} {quoted(change.title, 80)}")
            lines.append(f"       {visible(outcome.message)}")
    counts = {status: sum(o.status == status for o in outcomes) for status in ("done", *_TITLES)}
    whole = counts["done"] == len(outcomes)
    told = ", ".join(f"{n} {status}" for status, n in counts.items() if status == "done" or not whole)
    verdict = "Apply complete" if whole else "Apply incomplete"
    withheld = {0: "", 1: "1 delete was"}.get(len(plan.withheld), f"{len(plan.withheld)} deletes were")
    command = "destroy" if any(item.why == "destroyed" for item in plan.withheld) else "plan"
    lines += [paint("yellow", f"{withheld} withheld; `pdsync {command}` tells which.")] if withheld else []
    state = f"State saved, serial {serial}." if serial is not None else paint("red", "The state is NOT saved.")
    following = [f"Next: pdsync resume {run}"] if run else []
    return "\n".join([*lines, paint("bold", f"{verdict}: {told}.") + f" {state}", *following]) + "\n"
