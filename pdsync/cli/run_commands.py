"""history, resume: runs that were, and the rest of one that did not come to its end."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import click

from pdsync.cli.results import tell_result
from pdsync.cli.session import Session
from pdsync.errors import UsageError, error
from pdsync.render.run_text import render_history, render_run
from pdsync.resume import enter, find_run, rest_of
from pdsync.resume import resume as go_on

if TYPE_CHECKING:
    from pdsync.apply import ApplyResult
    from pdsync.cli import Options

FORM = click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)


@click.command()
@click.argument("run", required=False)
@FORM
@click.pass_obj
def history(options: Options, *, run: str | None, form: str) -> int:
    """List the runs, the newest first: who, when, from where and how they went; or one RUN change by change."""
    session = Session(options)
    told = history_text(session, form) if run is None else run_text(session, run, form)
    session.show(told, form)
    return 0


def history_text(session: Session, form: str) -> str:
    """All runs."""
    session.store.load()
    return render_history(session.store.history(), form)


def run_text(session: Session, run: str, form: str) -> str:
    """One run.  Raises `UsageError` when there is none of that name."""
    session.store.load()
    note = next((note for note in session.store.history() if note.run == run), None)
    if note is None:
        raise UsageError(error("PD532", "there is no such run", detail=run, hint="`pdsync history` lists all runs"))
    return render_run(note, session.store.run(run), form)


@click.command()
@click.argument("run", required=False)
@click.pass_obj
def resume(options: Options, *, run: str | None) -> int:
    """Go on with a RUN that did not come to its end, or with the last one: the rest of the same plan.

    What is not known is looked up in Port; what has changed there since is skipped and named.  The lock of a run that
    is dead is taken over.
    """
    session = Session(options)
    session.need_credentials(pagerduty=False)
    store = session.store
    with store.lock("resume", over=True):
        ledger = store.load()
        record = find_run(store, ledger, run)
        rest, _ = rest_of(record, ledger, astray=store.is_astray(record))
        done = len(record.plan.changes) - len(rest.changes)
        click.echo(f"Resuming {record.run}: {done} of {len(record.plan.changes)} changes done.", err=True)
        if not rest.changes:
            saved = enter(record, rest, store)
            told = f"  State saved, serial {saved.serial}." if saved else ""
            click.echo(f"Nothing is left of {record.run}.{told}")
            return 0

        async def work() -> ApplyResult:
            async with AsyncExitStack() as stack:
                reader = await stack.enter_async_context(session.reader())
                writer = await stack.enter_async_context(session.writer())
                session.writing = True
                return await go_on(record, ledger, writer, reader, store, stop=session.stop, progress=session.progress)

        return tell_result(session, session.run(work()))
