"""The options that several commands take of which each makes a plan."""

from __future__ import annotations

from functools import reduce, wraps
from typing import TYPE_CHECKING, Any

import click

from pdsync.errors import UsageError, error
from pdsync.plan import Scope
from pdsync.snapshots import Fetching

if TYPE_CHECKING:
    from collections.abc import Callable

FORMATS = ("text", "json", "markdown", "html")


def scope_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that limit a plan; the command gets a `scope`.  Raises `UsageError`."""

    @wraps(command)
    def scoped(
        *args: Any,
        only: tuple[str, ...],
        exclude: tuple[str, ...],
        no_delete: bool,
        allow_deletes: tuple[str, ...],
        allow_breaking: tuple[str, ...],
        **others: Any,
    ) -> Any:
        scope = Scope(
            only=only,
            exclude=exclude,
            no_delete=no_delete,
            allow_deletes=_numbers(allow_deletes, "--allow-deletes BLUEPRINT=N"),
            allow_breaking=_numbers(allow_breaking, "--allow-breaking BLUEPRINT.PART=N"),
        )
        return command(*args, scope=scope, **others)

    return _with_options(
        scoped,
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


def fetching_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options by which a snapshot is taken; the command gets `how`."""

    @wraps(command)
    def fetching(*args: Any, accept_shrink: tuple[str, ...], full: bool, refresh_analytics: bool, **others: Any) -> Any:
        how = Fetching((), accept_shrink, full=full, refresh_analytics=refresh_analytics)
        return command(*args, how=how, **others)

    return _with_options(
        fetching,
        click.option(
            "--accept-shrink",
            multiple=True,
            metavar="KIND",
            help="Believe that this kind has become that small; kept with the snapshot, so later runs believe it, too.",
        ),
        click.option("--full", is_flag=True, help="Read all records, those too that no longer change."),
        click.option(
            "--refresh-analytics", is_flag=True, help="Read analytics again that were read less than a day ago."
        ),
    )


def _with_options(command: Callable[..., Any], *options: Callable[..., Any]) -> Callable[..., Any]:
    """A command with options, listed in the order given."""
    return reduce(lambda made, option: option(made), reversed(options), command)


VALIDATE_REMOTE = click.option(
    "--validate-remote",
    "validate",
    is_flag=True,
    help="Ask Port whether it would take each create and update; it stores nothing.",
)
