"""revert: a plan that puts back what a run did."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pdsync.cli.plan_commands import FORMATS, plan_in, scope_of, scope_options
from pdsync.cli.session import Session
from pdsync.plan.document import plan_document
from pdsync.plan.verdict import plan_exit_code, refusal
from pdsync.revert import find_done, plan_revert

if TYPE_CHECKING:
    from pdsync.cli import Options
    from pdsync.model import Plan


@click.command()
@click.argument("run")
@scope_options
@click.option("--out", type=click.Path(path_type=Path), metavar="FILE", help="Save the plan, for `apply FILE`.")
@click.option("--detailed-exitcode", is_flag=True, help="Exit 2 when there are changes.")
@click.option("--format", "form", type=click.Choice(FORMATS), default="text", show_default=True)
@click.pass_obj
def revert(
    options: Options,
    *,
    run: str,
    only: tuple[str, ...],
    exclude: tuple[str, ...],
    no_delete: bool,
    allow_deletes: tuple[str, ...],
    allow_breaking: tuple[str, ...],
    out: Path | None,
    detailed_exitcode: bool,
    form: str,
) -> int:
    """Show what would put back what RUN did: a plan like any other, to be saved and applied.

    What it made is deleted, what it changed is as before, what it deleted is made again.  What was changed since, by
    anyone, is left as it is and named.  Nothing is written to Port.
    """
    session = Session(options)
    session.catalog  # noqa: B018  a broken catalog is said before anything is read
    session.need_credentials(pagerduty=False)
    scope = scope_of(only, exclude, allow_deletes, allow_breaking, no_delete=no_delete)
    ledger = session.store.load()
    record = find_done(session.store, run)

    async def work() -> Plan:
        async with session.reader() as reader:
            return await plan_revert(
                record,
                session.catalog,
                reader,
                ledger,
                target=session.port_url,
                scope=scope,
                progress=session.progress,
            )

    made = session.run(work())
    click.echo(plan_in(made, form, session), nl=False)
    session.tell((*made.diagnostics, *refusal(made)))
    session.events([{"type": "plan", "fingerprint": made.fingerprint, "changes": len(made.changes)}])
    if out is not None:
        session.write_file(out, [plan_document(made)])
        session.progress.note(f"Saved to {out}; `pdsync apply {out}` does exactly this.")
    elif made.changes:
        session.progress.note("Nothing was written: save it with --out FILE, then `pdsync apply FILE`.")
    return plan_exit_code(made, detailed=detailed_exitcode)
