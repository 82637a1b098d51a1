"""explain: why an entity is as it is, or why a record gave none."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pdsync.cli.session import Session
from pdsync.commands import take_snapshot
from pdsync.errors import UsageError, error
from pdsync.explanation import Ground
from pdsync.explanation import explain as explained
from pdsync.render.explanation import explanation_document
from pdsync.render.explanation_text import render_explanation
from pdsync.snapshots import as_of_file, as_of_then

if TYPE_CHECKING:
    from pdsync.cli import Options
    from pdsync.model import Snapshot
    from pdsync.render.explanation import Explanation


@click.command()
@click.argument("key")
@click.option(
    "--snapshot",
    "file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="FILE",
    help="Use the snapshot in FILE instead of the last one of the state.",
)
@click.option("--offline", is_flag=True, help="Do not ask Port: all counts as pdsync last wrote it.")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.pass_obj
def explain(options: Options, *, key: str, file: Path | None, offline: bool, form: str) -> int:
    """Say why an entity (KEY is BLUEPRINT/IDENTIFIER) is as it is, or why a record (KIND:ID) gave none.

    An identifier or a title alone will do where only one thing has it, and so will the address of its page in
    PagerDuty or Port.  Records are those of the last snapshot; what it says of the next apply is what `plan --offline`
    says.  Nothing is written to Port.
    """
    session = Session(options)
    session.catalog  # noqa: B018  a broken catalog is said before anything is asked

    async def work() -> Explanation:
        async with AsyncExitStack() as stack:
            taken = _kept(session, file) or await _taken(session)
            reader = None
            if not offline and not _lacking(session):
                reader = await stack.enter_async_context(session.reader())
            ground = Ground(session.catalog, taken, session.store, session.history, reader, session.progress)
            return await explained(key, ground)

    found = session.run(work())
    told = explanation_document(found) if form == "json" else render_explanation(found, color=session.color)
    session.show(told, form)
    return 0


def _kept(session: Session, file: Path | None) -> Snapshot | None:
    from pdsync.state.snapshot_file import open_snapshot

    if file:
        return as_of_file(session.catalog, session.store, open_snapshot(file, session.keyring))
    kept = session.store.load_snapshot()
    return as_of_then(session.catalog, session.store, kept) if kept else None


async def _taken(session: Session) -> Snapshot:
    """The first snapshot, which is kept.  Raises `UsageError` when there are no credentials to take it with."""
    if not (session.env.get("PAGERDUTY_TOKEN") or session.env.get("PAGERDUTY_CLIENT_ID")):
        hint = "run `pdsync snapshot`, or set PAGERDUTY_TOKEN"
        raise UsageError(error("PD804", "there is no snapshot yet", hint=hint))
    async with session.source() as source:
        taken = await take_snapshot(session.catalog, source, session.store, progress=session.progress)
    session.store.save_snapshot(taken)
    return taken


def _lacking(session: Session) -> bool:
    return not (session.env.get("PORT_CLIENT_ID") and session.env.get("PORT_CLIENT_SECRET"))
