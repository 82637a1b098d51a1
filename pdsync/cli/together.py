"""Options that do not go together: given all the same, they are refused and never silently ignored."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from pdsync.errors import UsageError, error

if TYPE_CHECKING:
    from collections.abc import Collection

SCOPE = frozenset({"--only", "--exclude", "--no-delete", "--allow-deletes", "--allow-breaking"})
FETCHING = frozenset({"--accept-shrink", "--full", "--refresh-analytics"})
RECORDS = FETCHING | {"--snapshot", "--offline"}

CLASHES = {
    "--snapshot": (FETCHING | {"--offline"}, "the records are those in the file"),
    "--offline": (FETCHING, "the records are those of the last snapshot"),
}
"""Of an option those that mean nothing beside it, and why."""


def given() -> list[str]:
    """The options of the command at hand that stand on the command line, by name."""
    context = click.get_current_context()
    return [
        option.opts[0]
        for option in context.command.params
        if isinstance(option, click.Option)
        and context.get_parameter_source(str(option.name)) is ParameterSource.COMMANDLINE
    ]


def refuse(what: str, unwanted: Collection[str], hint: str) -> None:
    """See that none of these options is given beside `what`.  Raises `UsageError`."""
    if found := sorted(name for name in given() if name in unwanted):
        detail = f"{what} with {', '.join(found)}"
        raise UsageError(error("PD852", "options that do not go together", detail=detail, hint=hint))


def refuse_clashes() -> None:
    """See that no option is given that means nothing beside another one.  Raises `UsageError`."""
    for name in given():
        refuse(name, *CLASHES.get(name, ((), "")))


def refuse_others(what: str, wanted: Collection[str], hint: str) -> None:
    """See that no option but these is given beside `what`.  Raises `UsageError`."""
    refuse(what, {*given()} - {*wanted}, hint)


def refuse_page(what: str, form: str) -> None:
    """See that a comparison is not asked for as a page, which only a plan has.  Raises `UsageError`."""
    if form in ("markdown", "html"):
        hint = "--format text or json; `pdsync show PLAN` gives a plan in each format"
        detail = f"{what} with --format {form}"
        raise UsageError(error("PD852", "options that do not go together", detail=detail, hint=hint))
