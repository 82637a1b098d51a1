"""The command line: argv and environment in, exit code out.

Only click is imported here, and what shows progress; a command's module is imported when the command is called, so that
`--help` is instant.  If that takes long, it is said, as of anything else.
"""

from __future__ import annotations

import gc
import importlib
import io
import os
import signal
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from pdsync import __version__
from pdsync.cli.progress import Progress, Silence

COMMANDS = {
    "init": ("catalog_commands:init", "Start a catalog: blueprints, mappings, a workflow."),
    "validate": ("catalog_commands:validate", "Check the catalog offline, all problems at once."),
    "schema": ("catalog_commands:schema", "Print the JSON Schemas of catalog and plan files."),
    "eval": ("catalog_commands:eval_", "Show how one record is mapped, value by value."),
    "explain": ("explain_command:explain", "Say why an entity is as it is, or why a record gave none."),
    "snapshot": ("plan_commands:snapshot", "Fetch what the mappings read from PagerDuty."),
    "plan": ("plan_commands:plan", "Show what apply would do, and change nothing."),
    "apply": ("plan_commands:apply", "Do a plan: the one given, or a new one after asking."),
    "resume": ("run_commands:resume", "Go on with a run that did not come to its end."),
    "revert": ("revert_command:revert", "Show what would put back what a run did, and save it."),
    "history": ("run_commands:history", "List the runs, or one of them change by change."),
    "show": ("plan_commands:show", "Show a saved plan, the state, the history, or one entity."),
    "drift": ("plan_commands:drift", "Show what somebody else changed in Port."),
    "destroy": ("plan_commands:destroy", "Remove everything that is owned, after asking."),
    "state": ("state_commands:state", "Look at the state and repair it."),
    "unlock": ("state_commands:unlock", "Break the lock with this id."),
    "doctor": ("doctor_command:doctor", "Say what the credentials can read, and the least scopes."),
    "sandbox": ("sandbox_commands:sandbox", "Run a local PagerDuty and Port to try things on."),
    "demo": ("sandbox_commands:demo", "Watch the whole cycle against the sandbox."),
    "selftest": (
        "selftest_command:selftest",
        "Check that pdsync works here; with --faults, that it cannot lose state.",
    ),
    "action": ("action_commands:action", "What the GitHub Action runs."),
}
HIDDEN = frozenset({"action"})
INTERRUPTED = (130, 143)


@dataclass(slots=True)
class Process:
    """What a command knows of the process that it runs in.

    What is large and no longer needed is `held`: where the process ends soon, giving it back piece by piece is what
    takes longest.
    """

    held: list[object] = field(default_factory=list)
    silence: Silence = field(default_factory=Silence)


@dataclass(slots=True)
class Options:
    """The global options, as given, and the process that they were given to."""

    catalog: Path
    state: str
    environment: str | None
    color: str
    quiet: bool
    verbose: bool
    events: Path | None
    env: dict[str, str] = field(default_factory=dict)
    process: Process = field(default_factory=Process)


class LazyGroup(click.Group):
    """A group that knows its commands by name and help, and imports one when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, in the order of the table."""
        del ctx
        return [name for name in COMMANDS if name not in HIDDEN]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, imported now; None when there is none of that name."""
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        silence = ctx.obj.silence if isinstance(ctx.obj, Process) else Silence()
        with Progress(
            sys.stderr, enabled=not (ctx.params.get("quiet") or ctx.resilient_parsing), bars=False, silence=silence
        ).early("starting"):
            command: click.Command = getattr(importlib.import_module(f"pdsync.cli.{module}"), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list for `--help`, from the table: nothing is imported for it."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name][1]) for name in self.list_commands(ctx)])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, with a suggestion for a name that is nearly one."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as e:
            import difflib

            close = difflib.get_close_matches(args[0], COMMANDS, n=1) if args else []
            if not close:
                raise
            raise click.UsageError(f"{e.message} Did you mean '{close[0]}'?", ctx) from e


HELP = """Plan and apply for a Port catalog that is fed by PagerDuty.

Blueprints and jq mappings live in git under catalog/.  `pdsync plan` shows what they, PagerDuty and Port as it is now
come to; `pdsync apply` does exactly that.

\b
Environment:
  PORT_CLIENT_ID PORT_CLIENT_SECRET PORT_BASE_URL  PAGERDUTY_TOKEN PAGERDUTY_API_URL
  PAGERDUTY_CLIENT_ID PAGERDUTY_CLIENT_SECRET PAGERDUTY_SUBDOMAIN (scoped OAuth instead of a token)
  PDSYNC_STATE (as --state)  PDSYNC_STATE_KEY (encrypts it)  NO_COLOR

\b
Exit codes:
  0 done or no changes       1 error            2 changes (with --detailed-exitcode)
  3 withheld by a guard      4 stale plan       5 locked
  6 applied partly           7 snapshot not complete    130/143 interrupted
"""


@click.group(
    cls=LazyGroup, help=HELP, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.option("--catalog", default="catalog", show_default=True, metavar="DIR", help="The catalog folder.")
@click.option(
    "--state", default="", metavar="URL", help="Where the state is kept [default: state/ beside the catalog]."
)
@click.option("--environment", metavar="NAME", help="Part of pdsync.yaml to lay over the rest.")
@click.option("--color", type=click.Choice(["auto", "always", "never"]), default="auto", show_default=True)
@click.option("-q", "--quiet", is_flag=True, help="Errors and results only.")
@click.option("-v", "--verbose", is_flag=True, help="Everything, tracebacks included.")
@click.option(
    "--json-into", "events", type=click.Path(path_type=Path), metavar="FILE", help="Write NDJSON events there."
)
@click.version_option(__version__, prog_name="pdsync", message="%(prog)s %(version)s")
@click.pass_context
def cli(
    ctx: click.Context,
    *,
    catalog: str,
    state: str,
    environment: str | None,
    color: str,
    quiet: bool,
    verbose: bool,
    events: Path | None,
) -> None:
    """The root command: it only gathers the global options."""
    ctx.color = _escapes_pass(color)
    ctx.obj = Options(
        catalog=Path(catalog),
        state=state,
        environment=environment,
        color=color,
        quiet=quiet,
        verbose=verbose,
        events=events,
        env=dict(os.environ),
        process=ctx.obj,
    )


def _escapes_pass(choice: str) -> bool | None:
    """Whether click lets escape sequences through, wherever they go; None: where there is a terminal."""
    if choice != "auto":
        return choice == "always"
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    return True if os.environ.get("GITHUB_ACTIONS") == "true" else None


class Terminated(KeyboardInterrupt):
    """SIGTERM outside of an event loop: as Ctrl-C, so that locks are given back, with an exit code of its own."""


def main() -> None:
    """The console script: runs the command and ends the process with its exit code."""
    process = Process(silence=Silence(time.process_time()))
    signal.signal(signal.SIGTERM, _terminate)
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    _open_closed_streams()
    _print_all_letters()
    # What is loaded and what is read lives until the end: collecting garbage every 700 objects finds nothing.
    gc.set_threshold(50_000, 20, 100)
    if fault := os.environ.get("PDSYNC_FAULT"):  # internal: `pdsync selftest --faults`
        from pdsync.cli.injected import install

        install(fault)
    code = run(sys.argv[1:], process)
    if code in INTERRUPTED:  # threads that evaluate or fetch are not waited for, and what evaluates for them goes, too
        if pool := sys.modules.get("pdsync.jq.pool"):
            pool.end_all()
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):
                stream.flush()
        os._exit(code)
    if process.held and all(thread.daemon for thread in threading.enumerate() if thread is not threading.main_thread()):
        _end(code)
    sys.exit(code)


def _end(code: int) -> None:
    """End the process with all that it holds, unless something keeps its last words from being written."""
    with suppress(OSError, ValueError):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _open_closed_streams() -> None:
    """Let what was closed by whoever started this lead nowhere: else the next file that is opened takes its number."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), mode, encoding="utf-8"))


def _print_all_letters() -> None:
    """Documents in files and pipes are UTF-8; a terminal, or who names an encoding, gets escapes for what it lacks."""
    out = sys.stdout
    if isinstance(out, io.TextIOWrapper):
        told = out.isatty() or "PYTHONIOENCODING" in os.environ
        out.reconfigure(encoding=out.encoding if told else "utf-8", errors="backslashreplace")


def _terminate(*_: object) -> None:
    raise Terminated


def hoisted(argv: list[str]) -> list[str]:
    """The command line with the global options in front, wherever they were written; `--` ends options."""
    takes_value = {
        name: not option.is_flag for option in cli.params if isinstance(option, click.Option) for name in option.opts
    }
    front: list[str] = []
    rest: list[str] = []
    words = iter(argv)
    for word in words:
        name, equals, _ = word.partition("=")
        if word == "--":
            rest += [word, *words]
        elif name not in takes_value or (rest and name in ("--help", "-h", "--version")):
            rest.append(word)
        else:
            front += [word, *([next(words, "")] if takes_value[name] and not equals else [])]
    return front + rest


def run(argv: list[str], process: Process | None = None) -> int:
    """Run one command line; the exit code.  Errors are printed to stderr, never as a traceback without --verbose.

    Without a `process` it is one of several that this one runs: nothing is held for longer, and silence begins now.
    """
    argv = hoisted(argv)
    try:
        result: Any = cli.main(argv, prog_name="pdsync", standalone_mode=False, obj=process or Process())
    except click.exceptions.Abort as e:
        return _say("interrupted", 143 if isinstance(e.__cause__, Terminated) else 130)
    except click.ClickException as e:
        e.show()
        return 1
    except KeyboardInterrupt as e:
        return _say("interrupted", 143 if isinstance(e, Terminated) else 130)
    except BrokenPipeError:
        sys.stderr.close()
        return 0
    except Exception as e:  # noqa: BLE001  the last place: whatever it is, the user gets words
        from pdsync.cli.trouble import report

        return report(e, argv)
    return result if isinstance(result, int) else 0


def _say(text: str, code: int) -> int:
    """Say a last word: below what a terminal shows of the keys that were pressed."""
    click.echo(f"\n{text}" if sys.stderr.isatty() else text, err=True)
    return code
