"""revert: a plan that puts back what a run did."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pdsync.cli.making import make_revert
from pdsync.cli.plan_commands import keep_plan, show_plan
from pdsync.cli.plan_options import FORMATS, scope_options
from pdsync.cli.session import Session
from pdsync.plan.verdict import plan_exit_code, refusal

if TYPE_CHECKING:
    from pdsync.cli import Options
    from pdsync.plan import Scope


@click.command()
@click.argument("run")
@click.option("--out", type=click.Path(path_type=Path), metavar="FILE", help="Save the plan, for `apply FILE`.")
@click.option("--format", "form", type=click.Choice(FORMATS), default="text", show_default=True)
@click.option("--detailed-exitcode", is_flag=True, help="Exit 2 when there are changes.")
@scope_options
@click.pass_obj
def revert(
    options: Options,
    *,
    run: str,
    scope: Scope,
    out: Path | None,
    detailed_exitcode: bool,
    form: str,
) -> int:
    """Show what would put back what RUN did: a plan like any other, to be saved and applied.

    What it made is deleted, what it changed is as before, what it deleted is made again.  What was changed since, by
    anyone, is left as it is and named.  Nothing is written to Port.
    """
    session = Session(options)
    if out is not None:
        session.see_writable(out)
    made = make_revert(session, run, scope)
    show_plan(session, made, form)
    session.tell((*made.diagnostics, *refusal(made)))
    session.events([{"type": "plan", "fingerprint": made.fingerprint, "changes": len(made.changes)}])
    keep_plan(session, made, out)
    if out is None and made.changes:
        session.progress.note("Nothing was written: save it with --out FILE, then `pdsync apply FILE`.")
    return plan_exit_code(made, detailed=detailed_exitcode)
