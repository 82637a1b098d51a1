"""Saved plans: two of them compared, one put on a new base, and what of it still has to be looked at."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pdsync.cli.making import make_again
from pdsync.cli.together import RECORDS, SCOPE, refuse, refuse_others, refuse_page
from pdsync.errors import Severity, UsageError, error
from pdsync.plan.branch import without
from pdsync.plan.compare import compare_files, rebased, to_review
from pdsync.plan.document import edited, is_whole, parse_plan
from pdsync.render.comparison_text import comparison_json, rebase_json, render_comparison, render_rebase
from pdsync.render.plan_text import render_plan, render_stopped

if TYPE_CHECKING:
    from pdsync.cli.making import Asking
    from pdsync.cli.session import Session
    from pdsync.model import Plan

CHANGED = 2


def show_difference(session: Session, words: tuple[str, ...], form: str, *, detailed: bool) -> int:
    """`plan diff A B`: what two saved plans have in common, and where they part."""
    if len(words) != 3 or words[0] != "diff":  # noqa: PLR2004
        hint = "to compare two saved plans: pdsync plan diff A B"
        raise UsageError(error("PD850", "not an argument of plan", detail=" ".join(words), hint=hint))
    refuse_others("diff", ("--format", "--detailed-exitcode"), "plan diff only compares what two files hold")
    refuse_page("diff", form)
    first, second = words[1:]
    read = [(_bytes(session, name), name) for name in (first, second)]
    compared = compare_files(*read)
    told = render_comparison(compared, (first, second), color=session.color)
    session.show(comparison_json(compared) if form == "json" else told, form)
    for data, name in read:
        tell_edited(session, data, name)
    return CHANGED if detailed and not compared.equal else 0


def tell_edited(session: Session, data: bytes, name: str) -> None:
    """Warn of a plan that is not as it was written: it can be looked at, and is not applied."""
    if not is_whole(data):
        session.tell([replace(edited(name), severity=Severity.WARNING)])


def rebase(session: Session, file: Path, form: str, asking: Asking, ref: str | None) -> Plan:
    """`plan --rebase FILE`: what it set out to do planned anew, and only what differs is to be looked at again."""
    refuse("--rebase", SCOPE, "a rebased plan has the scope of the old one; for another scope plan anew")
    refuse_page("--rebase", form)
    old = parse_plan(session.read_file(file), str(file))
    if old.base.scope.get("reverts"):
        beside = RECORDS | {"--base", "--validate-remote"}
        refuse("--rebase of a revert", beside, "it stands on what its run did and on Port as it is now")
    made = rebased(old, make_again(session, old, asking, ref))
    stopped = replace(
        made.plan,
        withheld=without(made.plan.withheld, old.withheld),
        held=without(made.plan.held, old.held),
        guards=without(made.plan.guards, old.guards),
    )
    if form == "json":
        session.show(rebase_json(made, stopped), form)
    else:
        told = render_stopped(stopped, color=session.color)
        session.show(told + render_rebase(made, color=session.color))
    return made.plan


def show_unreviewed(session: Session, made: Plan) -> None:
    """The changes of a rebased plan that nobody has looked at yet."""
    session.show(render_plan(to_review(made), color=session.color))
    if known := len(made.changes) - len(made.unreviewed):
        what = "1 more was looked at before, and is" if known == 1 else f"{known} more were looked at before, and are"
        click.echo(f"These are the changes that nobody has looked at yet; {what} done with them.")


def _bytes(session: Session, name: str) -> bytes:
    try:
        return session.read_file(Path(name))
    except OSError as problem:
        raise UsageError(error("PD851", "cannot read the plan", detail=f"{name}: {problem.strerror}")) from problem
