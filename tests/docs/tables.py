"""The parts of pages that are written from the code: tables of kinds, checks, exit codes, and the command reference."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import click

import pdsync.plan
from pdsync.catalog.rules import RULES
from pdsync.cli import COMMANDS as CLI_COMMANDS
from pdsync.cli import cli
from pdsync.errors import PdsyncError
from pdsync.jq.problems import SORTS
from pdsync.kinds import KINDS, PARENT
from pdsync.sandbox.pagerduty_commands import COMMANDS as SANDBOX_COMMANDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pdsync.kinds import Kind, Option, Param

HELP_WIDTH = 98
"""What click uses on a terminal of 100 columns and more."""


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines) + "\n"


# --- kinds -----------------------------------------------------------------------------------------------------

MAIN = ("services", "incidents", "schedules", "oncalls", "escalation_policies", "users", "teams")
"""The kinds whose selectors are shown in full: those of Port's integration, and teams."""

_TAKES = {
    "text": "a text",
    "texts": "a list of texts",
    "choice": "one of {allowed}",
    "choices": "a list of {allowed}",
    "sorting": "up to two of {allowed}, each with `:asc` or `:desc`",
    "since": "a moment, or time back from now",
    "until": "a moment, or time ahead of now",
    "zone": "a time zone, as `Europe/Berlin`",
    "flag": "true or false",
    "count": "months, a whole number",
    "number": "a whole number",
}


def selectors() -> str:
    """What a selector of the main kinds may hold."""
    return "\n".join(f"#### {name}\n\n{_selector(KINDS[name])}" for name in MAIN)


def _selector(kind: Kind) -> str:
    rows = [(f"`{o.name}`", *_option(o)) for o in kind.options]
    rows += [(f"`apiQueryParams.{p.name}`", *_param(kind, p)) for p in kind.params]
    return table(("key", "takes", "default"), rows) if rows else "No keys besides `query`.\n"


def _option(option: Option) -> tuple[str, str]:
    bound = f", 1 to {option.maximum}" if option.maximum else ""
    return _TAKES[option.type] + bound, f"`{option.default}`"


def _param(kind: Kind, param: Param) -> tuple[str, str]:
    allowed = ", ".join(f"`{value}`" for value in param.allowed)
    takes = _TAKES[param.type].format(allowed=allowed).replace("one of `all`", "`all`")
    unit = " months" if param.type in ("since", "until") else ""
    bound = f", {param.minimum} to {param.maximum}{unit}" if param.maximum else ""
    default = ", ".join(f"`{value}`" for value in param.default)
    always = next((f"`{value}`" for name, value in kind.unless_given if name == param.wire), "not sent")
    return takes + bound, f"{default}, once `apiQueryParams` is there" if default else always


def enrichments() -> str:
    """What is put into the records of each kind, and what switches it."""
    rows = [
        (kind.name, f"`{e.name}`", f"`{e.when}: true`" if e.when else "always")
        for kind in KINDS.values()
        for e in kind.enrichments
        if e.name != PARENT
    ]
    return table(("kind", "key in the record", "fetched when"), rows)


def kinds() -> str:
    """Every kind: where it is listed, what may be asked for, what an OAuth app must be granted."""
    rows = [
        (
            f"`{kind.name}`",
            f"within `GET {KINDS[kind.parents[0].kind].path}`" if kind.inside else f"`{kind.method} {kind.path}`",
            ", ".join(f"`{p.name}`" + ("*" if p.required else "") for p in kind.params),
            f"`{kind.scope}`" if kind.scope else "",
            _stage(kind),
        )
        for kind in KINDS.values()
    ]
    return table(("kind", "list", "apiQueryParams", "scope", "note"), rows)


def _stage(kind: Kind) -> str:
    notes = {"early_access": "early access", "deprecated": "deprecated", "end_of_life": "its end is announced"}
    instead = f"use `{kind.instead}`" if kind.instead else ""
    return ", ".join(filter(None, (notes.get(kind.stage, ""), instead)))


# --- checks, decisions, exit codes -----------------------------------------------------------------------------


def checks() -> str:
    """Every check of the catalog."""
    rows = [(rule.code, rule.severity.value, rule.summary, rule.why) for rule in RULES.values()]
    return table(("code", "severity", "message", "why"), rows)


def mapping_problems() -> str:
    """Every problem that mapping a record may have."""
    rows = [(code, sort.severity.value, sort.summary, sort.hint) for code, sort in SORTS.items()]
    return table(("code", "severity", "message", "hint"), rows)


def decisions() -> str:
    """The decision table, from where it is the contract."""
    rows = re.findall(r"^ *\| (.*) \|$", pdsync.plan.__doc__ or "", flags=re.MULTILINE)
    cells = [[cell.strip() for cell in row.split(" | ")] for row in rows if not row.startswith("-")]
    return table(cells[0], [[*row[:3], re.sub(r" {2,}", " ", row[3])] for row in cells[1:]])


def exit_codes_of_errors() -> set[int]:
    """The exit codes of all errors there are."""

    def below(kind: type[PdsyncError]) -> Iterator[type[PdsyncError]]:
        yield kind
        for sub in kind.__subclasses__():
            yield from below(sub)

    return {kind.exit_code for kind in below(PdsyncError)}


# --- commands --------------------------------------------------------------------------------------------------


def commands() -> str:
    """The help of every command, as the command line prints it."""
    return "\n".join(_reference(path, command) for path, command in every_command())


def every_command() -> Iterator[tuple[str, click.Command]]:
    """Every command by its full name, `pdsync` itself first, hidden ones last."""
    yield "pdsync", cli
    context = click.Context(cli)
    for name in CLI_COMMANDS:
        command = cli.get_command(context, name)
        assert command is not None
        yield f"pdsync {name}", command
        if isinstance(command, click.Group):
            yield from ((f"pdsync {name} {sub}", part) for sub, part in command.commands.items())


def _reference(path: str, command: click.Command) -> str:
    context = click.Context(
        command, info_name=path, terminal_width=HELP_WIDTH, help_option_names=["-h", "--help"], color=False
    )
    return f"### {path}\n\n```text\n{command.get_help(context)}\n```\n"


def sandbox_changes() -> str:
    """The commands that change a sandbox's PagerDuty."""
    rows = [
        (
            f"`{name}`",
            ", ".join(f"`{a}`" + (" (optional)" if a in command.optional else "") for a in command.takes),
            command.says,
        )
        for name, command in SANDBOX_COMMANDS.items()
    ]
    return table(("action", "arguments", "what it does"), rows)


PARTS: dict[str, Callable[[], str]] = {
    "selectors": selectors,
    "enrichments": enrichments,
    "kinds": kinds,
    "checks": checks,
    "mapping-problems": mapping_problems,
    "decisions": decisions,
    "commands": commands,
    "sandbox-changes": sandbox_changes,
}
"""What writes each generated part, by its name."""
