"""snapshot, plan, apply, show, drift, destroy."""

from __future__ import annotations

import sys
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pdsync import commands
from pdsync.branch import Base, Ground, plan_branch_from, plan_branch_online
from pdsync.cli.results import tell_result
from pdsync.cli.run_commands import history_text, run_text
from pdsync.cli.saved_plans import rebase, show_difference, show_unreviewed
from pdsync.cli.session import Session
from pdsync.errors import UsageError, error
from pdsync.plan import Scope
from pdsync.plan.document import parse_plan, plan_chunks, plan_document
from pdsync.plan.saved import to_review
from pdsync.plan.verdict import plan_exit_code, refusal
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
    from collections.abc import Callable

    from pdsync.apply import ApplyResult
    from pdsync.cli import Options
    from pdsync.model import Plan, Snapshot
    from pdsync.plan.drift import Drift

MARKDOWN_BUDGET = 60_000
FORMATS = ("text", "json", "markdown", "html")


def scope_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that limit a plan."""
    for option in (
        click.option("--only", multiple=True, metavar="GLOB", help="Limit to blueprint/identifier, or a blueprint."),
        click.option("--exclude", multiple=True, metavar="GLOB", help="Leave these out."),
        click.option("--no-delete", is_flag=True, help="Plan no deletes; they are listed as withheld."),
        click.option(
            "--allow-deletes", multiple=True, metavar="BLUEPRINT=N", help="Lift a delete limit for exactly N."
        ),
        click.option(
            "--allow-breaking",
            multiple=True,
            metavar="BLUEPRINT.PART=N",
            help="Let a blueprint change though exactly N entities lose or lack a value.",
        ),
    ):
        command = option(command)
    return command


def scope_of(
    only: tuple[str, ...],
    exclude: tuple[str, ...],
    allow_deletes: tuple[str, ...],
    allow_breaking: tuple[str, ...],
    *,
    no_delete: bool,
) -> Scope:
    """The scope that these options ask for.  Raises `UsageError`."""
    return Scope(
        only=only,
        exclude=exclude,
        no_delete=no_delete,
        allow_deletes=_numbers(allow_deletes, "--allow-deletes BLUEPRINT=N"),
        allow_breaking=_numbers(allow_breaking, "--allow-breaking BLUEPRINT.PART=N"),
    )


def _numbers(items: tuple[str, ...], usage: str) -> dict[str, int]:
    allowed = {}
    for item in items:
        name, _, number = item.partition("=")
        if not name or not number.isdecimal():
            hint = f"write {usage}, with the number that the plan names"
            raise UsageError(error("PD803", "not a number of entities", detail=item, hint=hint))
        allowed[name] = int(number)
    return allowed


def _fetching_options(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in (
        click.option(
            "--refresh-analytics", is_flag=True, help="Read analytics again that were read less than a day ago."
        ),
        click.option("--full", is_flag=True, help="Read all records, those too that no longer change."),
        click.option(
            "--accept-shrink", multiple=True, metavar="KIND", help="Believe that this kind has become that small."
        ),
    ):
        command = option(command)
    return command


VALIDATE_REMOTE = click.option(
    "--validate-remote", is_flag=True, help="Ask Port whether it would take each create and update; it stores nothing."
)


@click.command()
@click.option("--kind", "kinds", multiple=True, metavar="KIND", help="Only this kind (repeatable).")
@_fetching_options
@click.option(
    "--out", type=click.Path(path_type=Path), metavar="FILE", help="Write it there instead of into the state."
)
@click.pass_obj
def snapshot(
    options: Options,
    *,
    kinds: tuple[str, ...],
    accept_shrink: tuple[str, ...],
    full: bool,
    refresh_analytics: bool,
    out: Path | None,
) -> int:
    """Fetch what the catalog's mappings read from PagerDuty, and say what is complete."""
    session = Session(options)

    async def work() -> Snapshot:
        async with session.source() as source:
            how = commands.Fetching(kinds, accept_shrink, full=full, refresh_analytics=refresh_analytics)
            return await commands.take_snapshot(
                session.catalog, source, session.store, how=how, progress=session.progress
            )

    session.catalog  # noqa: B018  a broken catalog is said before anything is fetched
    taken = session.run(work())
    if out is None:
        kept = session.store.load_snapshot() if kinds else None
        session.store.save_snapshot(commands.merged(kept, taken) if kept else taken)
    else:
        from pdsync.state.snapshot_file import dump_snapshot

        session.write_file(out, dump_snapshot(taken))
    click.echo(render_snapshot(taken), nl=False)
    session.tell([d for c in taken.collections.values() for d in (c.problem, *c.notes) if d is not None])
    return 0 if all(c.complete for c in taken.collections.values()) else 7


@click.command()
@click.argument("words", metavar="[diff A B]", nargs=-1)
@scope_options
@click.option(
    "--rebase",
    "old",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="PLAN",
    help="Put a saved plan on a new base: say what of it still holds.",
)
@click.option(
    "--base",
    "ref",
    metavar="REF",
    help="Lead with what this branch changes since it left REF (a branch, commit).",
)
@click.option("--out", type=click.Path(path_type=Path), metavar="FILE", help="Save the plan, for `apply FILE`.")
@click.option(
    "--snapshot",
    "snapshot_file",
    type=click.Path(path_type=Path, exists=True),
    metavar="FILE",
    help="Use the snapshot in FILE instead of asking PagerDuty.",
)
@click.option("--offline", is_flag=True, help="Use the last snapshot of the state instead of asking PagerDuty.")
@_fetching_options
@VALIDATE_REMOTE
@click.option("--detailed-exitcode", is_flag=True, help="Exit 2 when there are changes.")
@click.option("--format", "form", type=click.Choice(FORMATS), default="text", show_default=True)
@click.pass_obj
def plan(
    options: Options,
    *,
    words: tuple[str, ...],
    old: Path | None,
    ref: str | None,
    only: tuple[str, ...],
    exclude: tuple[str, ...],
    no_delete: bool,
    allow_deletes: tuple[str, ...],
    allow_breaking: tuple[str, ...],
    out: Path | None,
    snapshot_file: Path | None,
    offline: bool,
    accept_shrink: tuple[str, ...],
    full: bool,
    refresh_analytics: bool,
    validate_remote: bool,
    detailed_exitcode: bool,
    form: str,
) -> int:
    """Show what apply would do, or with `diff A B` what two saved plans do.  Nothing is written to Port."""
    session = Session(options)
    if words:
        return show_difference(session, words, form, detailed=detailed_exitcode)
    scope = scope_of(only, exclude, allow_deletes, allow_breaking, no_delete=no_delete)
    how = commands.Fetching((), accept_shrink, full=full, refresh_analytics=refresh_analytics)
    base = base_of(session, ref) if ref is not None and old is None else None
    make = partial(
        make_plan,
        session,
        snapshot_file=snapshot_file,
        offline=offline,
        how=how,
        validate_remote=validate_remote,
        base=base,
    )
    if old is not None:
        if scope != Scope() or ref is not None:
            hint = "a rebased plan has the scope of the old one, and is compared with that"
            raise UsageError(error("PD852", "--rebase takes no scope and no base", hint=hint))
        made = rebase(session, old, form, make, out)
        session.tell((*made.diagnostics, *refusal(made)))
        return plan_exit_code(made, detailed=detailed_exitcode)
    made = make(scope)
    click.echo(plan_in(made, form, session), nl=False)
    session.tell((*made.diagnostics, *refusal(made)))
    session.events([{"type": "plan", "fingerprint": made.fingerprint, "changes": len(made.changes)}])
    if out is not None:
        session.write_file(out, plan_chunks(made))
        session.progress.note(f"Saved to {out}; `pdsync apply {out}` does exactly this.")
    return plan_exit_code(made, detailed=detailed_exitcode)


def make_plan(
    session: Session,
    scope: Scope,
    *,
    snapshot_file: Path | None = None,
    offline: bool = False,
    how: commands.Fetching | None = None,
    validate_remote: bool = False,
    base: Base | None = None,
) -> Plan:
    """Plan from PagerDuty as it is now, or from a snapshot that was taken before; beside the plan of a base."""
    session.catalog  # noqa: B018  a broken catalog is said before anything is fetched
    taken = _kept_snapshot(session, snapshot_file) if snapshot_file or offline else None
    session.need_credentials(pagerduty=taken is None)

    if base is not None:
        return session.run(_beside(session, base, taken, how, scope=scope, validate=validate_remote))

    async def work() -> Plan:
        async with AsyncExitStack() as stack:
            reader = await stack.enter_async_context(session.reader())
            validating = reader if validate_remote else None
            if taken is not None:
                sides = commands.Sides(session.catalog, taken, session.port_url)
                return await commands.plan_from(
                    sides,
                    reader,
                    session.store,
                    scope=scope,
                    history=session.history,
                    progress=session.progress,
                    validating=validating,
                )
            source = await stack.enter_async_context(session.source())
            made, _ = await commands.plan_online(
                session.catalog,
                source,
                reader,
                session.store,
                target=session.port_url,
                scope=scope,
                how=how,
                history=session.history,
                progress=session.progress,
                validating=validating,
            )
            return made

    return session.run(work())


async def _beside(
    session: Session,
    base: Base,
    taken: Snapshot | None,
    how: commands.Fetching | None,
    *,
    scope: Scope,
    validate: bool,
) -> Plan:
    """The plan with what it changes about that of a base."""
    async with AsyncExitStack() as stack:
        reader = await stack.enter_async_context(session.reader())
        ground = Ground(
            reader,
            session.store,
            session.port_url,
            session.history,
            scope,
            validate=validate,
            progress=session.progress,
        )
        if taken is not None:
            return await plan_branch_from(session.catalog, base, taken, ground)
        source = await stack.enter_async_context(session.source())
        return await plan_branch_online(session.catalog, base, source, ground, how)


def base_of(session: Session, ref: str) -> Base:
    """What a plan is compared with; where the commit has no catalog yet, an empty one.  Raises `CatalogError`."""
    catalog = session.catalog  # what is wrong with this one is said first
    then = session.history.base(ref)
    empty = replace(catalog, rules=(), blueprints={}, tree="", commit=then.commit, diagnostics=())
    if then.catalog is None:
        session.progress.note(f"{ref} has no catalog yet: all of it is this branch's.")
    return Base(ref, then.commit, then.catalog or empty)


def _kept_snapshot(session: Session, file: Path | None) -> Snapshot:
    from pdsync.state.snapshot_file import open_snapshot

    if file is not None:
        return open_snapshot(file, session.keyring)
    kept = session.store.load_snapshot()
    if kept is None:
        raise UsageError(error("PD804", "there is no snapshot yet", hint="run `pdsync snapshot`"))
    session.progress.note(f"Using the snapshot taken {kept.taken_at}.")
    return kept


def plan_in(made: Plan, form: str, session: Session) -> str:
    """The plan in one of the formats."""
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
@_fetching_options
@VALIDATE_REMOTE
@scope_options
@click.pass_obj
def apply(
    options: Options,
    *,
    plan_file: Path | None,
    auto_approve: bool,
    prove: bool,
    accept_shrink: tuple[str, ...],
    full: bool,
    refresh_analytics: bool,
    validate_remote: bool,
    only: tuple[str, ...],
    exclude: tuple[str, ...],
    no_delete: bool,
    allow_deletes: tuple[str, ...],
    allow_breaking: tuple[str, ...],
) -> int:
    """Do a plan: the saved one, exactly, or a new one after showing it and asking."""
    session = Session(options)
    scope = scope_of(only, exclude, allow_deletes, allow_breaking, no_delete=no_delete)
    with session.store.lock("apply"):
        if plan_file is None:
            how = commands.Fetching((), accept_shrink, full=full, refresh_analytics=refresh_analytics)
            made = make_plan(session, scope, how=how, validate_remote=validate_remote)
            click.echo(plan_in(made, "text", session), nl=False)
            session.tell((*made.diagnostics, *refusal(made)))
            if not made.changes:
                session.store.settle(made)
                return plan_exit_code(made, detailed=False)
            _approve(made, auto=auto_approve)
        else:
            made = parse_plan(session.read_file(plan_file), str(plan_file))
            if made.unreviewed:
                show_unreviewed(session, made)
                _approve(to_review(made), auto=auto_approve)
        operation = "revert" if made.base.scope.get("reverts") else "apply"
        code = do_plan(session, made, saved=plan_file is not None, operation=operation)
        return _prove(session, scope) if prove and code == 0 else code


def _approve(made: Plan, *, auto: bool) -> None:
    """Ask, or raise `UsageError` where there is nobody to ask."""
    if auto:
        return
    if not sys.stdin.isatty():
        raise UsageError(error("PD805", "nobody to ask", hint="give --auto-approve, or a saved plan"))
    if made.summary.delete:
        answer = click.prompt(f"Type the number of deletes ({made.summary.delete}) to apply", default="", err=True)
        if answer.strip() != str(made.summary.delete):
            raise click.Abort
    elif click.prompt("Only 'yes' applies", default="", show_default=False, err=True) != "yes":
        raise click.Abort


def do_plan(session: Session, made: Plan, *, saved: bool, operation: str = "apply") -> int:
    """Apply, print what became of it, return the exit code."""
    return tell_result(session, session.run(applied(session, made, saved=saved, operation=operation)))


async def applied(session: Session, made: Plan, *, saved: bool, operation: str = "apply") -> ApplyResult:
    """Write a plan; a saved one is compared with all that it stands on, as a whole and entity by entity.

    Raises `StalePlan`.
    """
    async with AsyncExitStack() as stack:
        reader = await stack.enter_async_context(session.reader())
        watch = None
        if saved:
            await commands.check_fresh(made, reader, session.store, session.catalog, session.progress)
            watch = commands.watch(made, reader)
        session.writing = True
        writer = await stack.enter_async_context(session.writer())
        return await commands.apply(
            made,
            writer,
            session.store,
            reader=reader,
            operation=operation,
            watch=watch,
            stop=session.stop,
            progress=session.progress,
        )


def _prove(session: Session, scope: Scope) -> int:
    again = make_plan(session, scope)
    if not again.changes:
        click.echo("Proven: planning again finds nothing to do.")
        return 0
    click.echo(plan_in(again, "text", session), nl=False)
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
        made = parse_plan(session.read_file(Path(what)), what)
        click.echo(plan_in(made, form, session), nl=False)
        return 0
    if what == "history":
        click.echo(history_text(session, form), nl=False)
    elif RUN.fullmatch(what):
        click.echo(run_text(session, what, form), nl=False)
    elif what == "state":
        click.echo(render_ledger(session.store.load(), session.store.load_snapshot(), form), nl=False)
    else:
        click.echo(_entry(session, what, form), nl=False)
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
            return await commands.drift(reader, session.store, session.progress)

    found = session.run(work())
    click.echo(render_drift(found, form, color=session.color), nl=False)
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
            return await commands.plan_destroy(
                session.catalog, reader, session.store, target=session.port_url, scope=scope
            )

    with session.store.lock("destroy"):
        made = session.run(work())
        click.echo(plan_in(made, "text", session), nl=False)
        if not made.changes:
            return plan_exit_code(made, detailed=False)
        _approve(made, auto=auto_approve)
        return do_plan(session, made, saved=False, operation="destroy")
