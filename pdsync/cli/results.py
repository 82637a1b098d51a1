"""What became of an apply: said to people and to programs, and as an exit code."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pdsync.errors import Interrupted, PartlyApplied
from pdsync.plan.verdict import plan_exit_code
from pdsync.render.result_text import command_of, render_result

if TYPE_CHECKING:
    from pdsync.apply import ApplyResult
    from pdsync.cli.session import Session


def tell_result(session: Session, result: ApplyResult) -> int:
    """Print what became of every change and what to do next; the exit code."""
    saved = result.ledger.serial if result.saved else None
    told = render_result(result.plan, result.outcomes, serial=saved, following=_following(result), color=session.color)
    session.show(told)
    session.events([{"type": "outcome", "n": o.n, "status": o.status, "message": o.message} for o in result.outcomes])
    if result.problem is not None:
        session.tell(result.problem.diagnostics)
    return exit_code_of(result, session.interrupted_code)


def _following(result: ApplyResult) -> str:
    """The command that does what is left, if anything is: what Port has moved under only another plan can do."""
    if result.whole and result.saved:
        return ""
    return f"pdsync resume {result.run}" if result.resumable else command_of(result.plan)


def exit_code_of(result: ApplyResult, interrupted: int = Interrupted.exit_code) -> int:
    """0, or why not: the state is not saved, a signal came, something was not done, something is withheld."""
    if not result.saved and result.problem is not None:
        return result.problem.exit_code
    if result.interrupted and not result.whole:
        return interrupted
    if not result.whole:
        return PartlyApplied.exit_code
    return plan_exit_code(result.plan, detailed=False)
