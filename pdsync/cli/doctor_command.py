"""doctor: what the credentials can read, and what this catalog needs."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import click

from pdsync.cli.session import Session
from pdsync.examination import examine
from pdsync.render.doctor_text import render_examination

if TYPE_CHECKING:
    from pdsync.cli import Options
    from pdsync.model import Examination


@click.command()
@click.option("--all", "every_kind", is_flag=True, help="Ask for every kind there is, mapped or not.")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.pass_obj
def doctor(options: Options, *, every_kind: bool, form: str) -> int:
    """Say what the credentials can read, which mapped kinds they cannot, and the least scopes.  Only reads."""
    session = Session(options)
    session.catalog  # noqa: B018  a broken catalog is said before anything is asked
    session.need_credentials()

    async def work() -> Examination:
        async with AsyncExitStack() as stack:
            reader = await stack.enter_async_context(session.reader())
            source = await stack.enter_async_context(session.pagerduty())
            urls = (session.pagerduty_url, session.port_url)
            catalog, told = session.catalog, session.progress
            return await examine(
                catalog, source, reader, session.store, urls=urls, every_kind=every_kind, progress=told
            )

    found = session.run(work())
    session.show(render_examination(found, form, color=session.color), form)
    return 0 if found.well else 1
