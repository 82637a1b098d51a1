"""snapshot, plan, apply, show, drift, destroy."""

from __future__ import annotations

import sys
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from pdsync import commands
from pdsync.cli.making import Asking, base_of, make_again, make_plan
from pdsync.cli.plan_options import FORMATS, VALIDATE_REMOTE, fetching_options, scope_options
from pdsync.cli.results import tell_result
from pdsync.cli.run_commands import history_text, run_text
from pdsync.cli.saved_plans import rebase, show_difference, show_unreviewed, tell_edited
from pdsync.cli.session import Session
from pdsync.cli.together import FETCHING, SCOPE, refuse, refuse_clashes
from pdsync.errors import UsageError, error
from pdsync.freshness import check_fresh
from pdsync.plan import Scope
from pdsync.plan.branch import parts
from pdsync.plan.compare import to_review
from pdsync.plan.document import parse_plan, plan_chunks, plan_document, read_plan
from pdsync.plan.verdict import plan_exit_code, refusal
from pdsync.render.escape import value_text
from pdsync.render.markdown import render_plan_markdown
from pdsync.render.plan_text import render_plan
from pdsync.render.state_text import (
    render_drift,
    render_entry,
    render_ledger,
    render_snapshot,
)
from pdsync.state.runs import RUN

if TYPE_CHECKING:
    from pdsync.apply import ApplyResult
    from pdsync.cli import Options
    from pdsync.model import Plan, Snapshot
    from pdsync.plan.drift import Drift

MARKDOWN_BUDGET = 60_000

Age = Literal["before", "asked", "now"]
"""When a plan was made: before, and saved; now, but somebody was asked since; only just now."""


@click.command()
@click.option("--kind", "kinds", multiple=True, metavar="KIND", help="Only this kind (repeatable).")
@fetching_options
@click.option(
    "--out", type=click.Path(path_type=Path), metavar="FILE", help="Write it there instead of into the state."
)
@click.pass_obj
def snapshot(
    options: Options,
    *,
    kinds: tuple[str, ...],
    how: commands.Fetching,
    out: Path | None,
) -> int:
    """Fetch what the catalog's mappings read from PagerDuty, and say what is complete."""
    session = Session(options, asks=True)

    async def work() -> Snapshot:
        async with session.source() as source:
            return await commands.take_snapshot(
                session.catalog, source, session.store, how=replace(how, kinds=kinds), progress=session.progress
            )

    session.catalog  # noqa: B018  a broken catalog is said before anything is fetched
    if out is not None:
        session.see_writable(out)
    taken = session.run(work())
    with session.busy("keeping the snapshot"):
        if out is None:
            kept = session.store.load_snapshot() if kinds else None
            session.store.save_snapshot(commands.merged(kept, taken) if kept else taken)
        else:
            from pdsync.state.snapshot_file import dump_snapshot

            session.write_file(out, dump_snapshot(taken))
    session.show(render_snapshot(taken))
    found = [d for c in taken.collections.values() for d in (c.problem, *c.notes) if d is not None]
    session.tell([*dict.fromkeys([*taken.notes, *found])])  # what two lists of a kind lack is often the same
    return 0 if all(c.complete for c in taken.collections.values()) else 7


@click.command()
@click.argument("words", metavar="[diff A B]", nargs=-1)
@click.option("--out", type=click.Path(path_type=Path), metavar="FILE", help="Save the plan, for `apply FILE`.")
@click.option("--format", "form", type=click.Choice(FORMATS), default="text", show_default=True)
@click.option("--detailed-exitcode", is_flag=True, help="Exit 2 when there are changes.")
@click.option(
    "--base",
    "ref",
    metavar="REF",
    help="Lead with what this branch changes since it left REF (a branch, commit).",
)
@click.option(
    "--rebase",
    "old",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="PLAN",
    help="Put a saved plan on a new base: say what of it still holds.",
)
@scope_options
@click.option("--offline", is_flag=True, help="Use the last snapshot of the state instead of asking PagerDuty.")
@click.option(
    "--snapshot",
    "file",
    type=click.Path(path_type=Path, exists=True),
    metavar="FILE",
    help="Use the snapshot in FILE instead of asking PagerDuty.",
)
@fetching_options
@VALIDATE_REMOTE
@click.pass_obj
def plan(
    options: Options,
    *,
    words: tuple[str, ...],
    old: Path | None,
    ref: str | None,
    scope: Scope,
    out: Path | None,
    file: Path | None,
    offline: bool,
    how: commands.Fetching,
    validate: bool,
    detailed_exitcode: bool,
    form: str,
) -> int:
    """Show what apply would do, or with `diff A B` what two saved plans do.  Nothing is written to Port."""
    session = Session(options, asks=file is None and not offline)
    if words:
        return show_difference(session, words, form, detailed=detailed_exitcode)
    refuse_clashes()
    if out is not None:
        session.see_writable(out)
    asking = Asking(file, offline, how, validate)
    if old is not None:
        made = rebase(session, old, form, asking, ref)
    else:
        made = make_plan(session, scope, asking, base_of(session, ref) if ref is not None else None)
        show_plan(session, made, form)
    tell_problems(session, made)
    session.events([{"type": "plan", "fingerprint": made.fingerprint, "changes": len(made.changes)}])
    keep_plan(session, made, out)
    return plan_exit_code(made, detailed=detailed_exitcode)


def tell_problems(session: Session, made: Plan) -> None:
    """Print what there is to say of a plan; of one beside a base, what is the branch's doing apart from the rest."""
    if made.branch is None:
        session.tell((*made.diagnostics, *refusal(made)))
        return
    mine, rest = parts(made)
    session.tell_apart((*mine.diagnostics, *refusal(mine)), (*rest.diagnostics, *refusal(rest)))


def keep_plan(session: Session, made: Plan, out: Path | None) -> None:
    """Save a plan if it is to be, and say so."""
    if out is not None:
        with session.busy(f"writing {out}"):
            session.write_file(out, plan_chunks(made))
        session.progress.note(f"Saved to {out}; `pdsync apply {out}` does exactly this.")


def show_plan(session: Session, made: Plan, form: str = "text") -> None:
    """Print a plan in one of the formats."""
    with session.busy("putting the plan into words"):
        text = _plan_in(session, made, form)
    session.show(text, form)


def _plan_in(session: Session, made: Plan, form: str) -> str:
    if form == "json":
        return plan_document(made).decode()
    if form == "markdown":
        return render_plan_markdown(made, budget=MARKDOWN_BUDGET, title=session.catalog.project.name)
    if form == "html":
        from pdsync.render.html import render_plan_html

        return render_plan_html(made, title=session.catalog.project.name)
    return render_plan(made, color=session.color, everything=session.options.verbose)


@click.command()
@click.argument("plan_file", metavar="[PLAN]", required=False, type=click.Path(path_type=Path, exists=True))
@click.option("--auto-approve", is_flag=True, help="Do not ask.")
@click.option("--prove", is_flag=True, help="Plan again afterwards and fail unless that is empty.")
@scope_options
@fetching_options
@VALIDATE_REMOTE
@click.pass_obj
def apply(
    options: Options,
    *,
    plan_file: Path | None,
    auto_approve: bool,
    prove: bool,
    how: commands.Fetching,
    validate: bool,
    scope: Scope,
) -> int:
    """Do a plan: the saved one, exactly, or a new one after showing it and asking."""
    session = Session(options, asks=plan_file is None)
    if plan_file is not None:
        refuse("a saved plan", SCOPE | FETCHING | {"--validate-remote"}, "it is done as it is, or not at all")
    with session.store.lock("apply"):
        if plan_file is None:
            made = make_plan(session, scope, Asking(how=replace(how, applies=True), validate=validate))
            show_plan(session, made)
            session.tell((*made.diagnostics, *refusal(made)))
            if not made.changes:
                session.store.settle(made)
                return plan_exit_code(made, detailed=False)
            _approve(made, auto=auto_approve)
        else:
            made = parse_plan(session.read_file(plan_file), str(plan_file))
            if made.unreviewed:
                show_unreviewed(session, made)
                _approve(to_review(made), auto=auto_approve, unasked=UNREVIEWED)
        operation = "revert" if made.base.scope.get("reverts") else "apply"
        age: Age = "before" if plan_file is not None else "now" if auto_approve else "asked"
        code = do_plan(session, made, age, operation=operation)
        return _prove(session, made) if prove and code == 0 else code


UNREVIEWED = "give --auto-approve if the changes above are meant: they came with the new base"


def _approve(made: Plan, *, auto: bool, unasked: str = "give --auto-approve, or a saved plan") -> None:
    """Ask, or raise `UsageError` where there is nobody to ask."""
    if auto:
        return
    if not sys.stdin.isatty():
        raise UsageError(error("PD805", "nobody to ask", hint=unasked))
    deletes = str(made.summary.delete)
    if made.summary.delete:
        wanted, question = deletes, f"Type the number of deletes ({deletes}) to apply"
    else:
        wanted, question = "yes", "Only 'yes' applies"
    answer = click.prompt(question, default="", show_default=False, err=True).strip()
    if answer != wanted:
        detail = f"the answer was {value_text(answer)}, not {wanted}"
        raise UsageError(error("PD817", "not applied", detail=detail, hint="nothing was written"))


def do_plan(session: Session, made: Plan, age: Age, *, operation: str = "apply") -> int:
    """Apply, print what became of it, return the exit code."""
    session.silence.broken()  # whoever was asked may have taken a while
    return tell_result(session, session.run(applied(session, made, age, operation=operation)))


async def applied(session: Session, made: Plan, age: Age, *, operation: str = "apply") -> ApplyResult:
    """Write a plan, each entity and blueprint looked at once more before; a saved one is first compared as a whole.

    Raises `StalePlan`.
    """
    async with AsyncExitStack() as stack:
        reader = await stack.enter_async_context(session.reader())
        if age == "before":
            await check_fresh(made, reader, session.store, session.catalog, session.progress)
        watching = commands.watch_present if age == "now" else commands.watch
        session.writing = True
        writer = await stack.enter_async_context(session.writer())
        return await commands.apply(
            made,
            writer,
            session.store,
            reader=reader,
            operation=operation,
            watch=watching(made, reader),
            stop=session.stop,
            progress=session.progress,
        )


def _prove(session: Session, made: Plan) -> int:
    """Plan once more what was done, which must find nothing."""
    again = make_again(session, replace(made, branch=None), Asking())
    if not again.changes:
        click.echo("Proven: planning again finds nothing to do.")
        return 0
    show_plan(session, again)
    click.echo("Not proven: planning again finds the changes above.", err=True)
    return 1


@click.command()
@click.argument("what", metavar="[PLAN|state|history|RUN|KEY]", default="state")
@click.option("--format", "form", type=click.Choice(FORMATS), default="text", show_default=True)
@click.pass_obj
def show(options: Options, *, what: str, form: str) -> int:
    """Show a saved plan, the state, the history of runs, one run, or one entity as we last wrote it."""
    session = Session(options)
    if Path(what).is_file():
        data = session.read_file(Path(what))
        show_plan(session, read_plan(data, what), form)
        tell_edited(session, data, what)
        return 0
    if what == "history":
        session.show(history_text(session, form), form)
    elif RUN.fullmatch(what):
        session.show(run_text(session, what, form), form)
    elif what == "state":
        session.show(render_ledger(session.store.load(), session.store.load_snapshot(), form), form)
    else:
        session.show(_entry(session, what, form), form)
    return 0


def _entry(session: Session, what: str, form: str) -> str:
    ledger = session.store.load()
    found = next((e for key, e in ledger.entities.items() if str(key) == what), ledger.blueprints.get(what))
    if found is None:
        import difflib

        names = [*map(str, ledger.entities), *ledger.blueprints]
        close = ", ".join(difflib.get_close_matches(what, names, n=3, cutoff=0.5))
        hint = f"did you mean {close}?" if close else "see `pdsync state list`"
        raise UsageError(error("PD806", "neither a plan, a run nor something that is owned", detail=what, hint=hint))
    return render_entry(what, found, form)


@click.command()
@click.option("--detailed-exitcode", is_flag=True, help="Exit 2 when there is drift.")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.pass_obj
def drift(options: Options, *, detailed_exitcode: bool, form: str) -> int:
    """Show where Port is no longer as we last wrote it.  Nothing is written."""
    session = Session(options)

    async def work() -> tuple[Drift, ...]:
        async with session.reader() as reader:
            return await commands.drift(reader, session.store, session.progress, catalog=session.catalog)

    found = session.run(work())
    session.show(render_drift(found, form, color=session.color), form)
    return 2 if detailed_exitcode and found else 0


@click.command()
@click.option("--auto-approve", is_flag=True, help="Do not ask.")
@click.option("--only", multiple=True, metavar="GLOB", help="Limit to blueprint/identifier, or a blueprint.")
@click.option("--exclude", multiple=True, metavar="GLOB", help="Leave these out.")
@click.pass_obj
def destroy(options: Options, *, auto_approve: bool, only: tuple[str, ...], exclude: tuple[str, ...]) -> int:
    """Remove what we created and release what we took over, after asking."""
    session = Session(options)
    scope = Scope(only=only, exclude=exclude)

    async def work() -> Plan:
        async with session.reader() as reader:
            ground = commands.Ground(reader, session.store, session.port_url, scope=scope)
            return await commands.plan_destroy(session.catalog, ground)

    with session.store.lock("destroy"):
        made = session.run(work())
        show_plan(session, made)
        if not made.changes:
            return plan_exit_code(made, detailed=False)
        _approve(made, auto=auto_approve)
        return do_plan(session, made, "now" if auto_approve else "asked", operation="destroy")
