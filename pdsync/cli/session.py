"""One call of the command line: its options and environment, the edges it opens, what it prints."""

from __future__ import annotations

import asyncio
import errno
import os
import re
import secrets
import signal
import socket
import sys
import threading
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
import orjson

from pdsync import __version__
from pdsync.cli.progress import Progress
from pdsync.cli.trouble import color_wanted, printable
from pdsync.errors import CatalogError, Interrupted, Severity, UsageError, error, warning
from pdsync.render.diagnostics import render_diagnostics

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable, Iterator, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager

    from pdsync.catalog.history import CatalogHistory
    from pdsync.cli import Options
    from pdsync.errors import Diagnostic
    from pdsync.model import Catalog
    from pdsync.sealing import Keyring
    from pdsync.sources import Source
    from pdsync.sources.pagerduty import PagerDuty
    from pdsync.state.open import Surroundings
    from pdsync.state.store import StateStore
    from pdsync.targets import TargetWriter, ValidatingReader

T = TypeVar("T")

STOP_SECONDS = 3.0
"""What threads at work get once a signal has ended the rest of a command that only reads."""

LAST_SECONDS = 2.0
"""What a second signal leaves for saving before the process ends, come what may."""


class Session:
    """What a command works with.  Edges are opened when they are asked for; secrets are read from `env` only.

    `default_state` is the state's URL when neither option, environment nor project names one; `git_environment` is
    what git needs to reach the remote.  Where PagerDuty is going to be asked (`asks`), stretches of time in the catalog
    that hold nothing now are errors: whoever only looks at the state, or goes on with a run, is not kept from that.
    """

    def __init__(
        self,
        options: Options,
        *,
        default_state: str = "",
        git_environment: Mapping[str, str] | None = None,
        asks: bool = False,
    ) -> None:
        self._asks = asks
        self._default_state = default_state
        self._git_environment = git_environment or {}
        self.options = options
        self.env = options.env
        self.color = color_wanted(options.color, sys.stdout)
        self.silence = options.process.silence
        self.progress = Progress(sys.stderr, enabled=not options.quiet, bars=sys.stderr.isatty(), silence=self.silence)
        self.stop = asyncio.Event()
        self.signal = 0
        self._last_call = threading.Timer(0, lambda: None)

    # -- what is read

    @cached_property
    def loaded(self) -> Catalog:
        """The catalog with its warnings, which nobody has said yet.  Raises `CatalogError`."""
        from dataclasses import replace

        from pdsync.catalog import catalog_revision, load_catalog

        at = datetime.now(UTC) if self._asks else None
        with self.progress.early("reading the catalog"):
            catalog = load_catalog(self.options.catalog, environment=self.options.environment, now=at)
            found = catalog_revision(self.options.catalog)
        unasked = (_without_git(found.problem),) if found.problem else ()
        diagnostics = (*catalog.diagnostics, *unasked)
        return replace(catalog, commit=found.commit, dirty=found.dirty, diagnostics=diagnostics)

    @cached_property
    def catalog(self) -> Catalog:
        """The catalog, its warnings printed once.  Raises `CatalogError`."""
        from dataclasses import replace

        self.tell(self.loaded.diagnostics)
        return replace(self.loaded, diagnostics=())

    def catalog_beside(self, base: Sequence[Diagnostic]) -> Catalog:
        """The catalog, its warnings told apart from those that a base has as well."""
        from dataclasses import replace

        from pdsync.plan.branch import not_known

        if "catalog" not in vars(self):  # else they are printed already
            mine = not_known(self.loaded.diagnostics, base)
            self.tell_apart(mine, not_known(self.loaded.diagnostics, mine))
            self.catalog = replace(self.loaded, diagnostics=())
        return self.catalog

    @property
    def history(self) -> CatalogHistory:
        """What git knows of the catalog."""
        from pdsync.catalog.history import CatalogHistory

        return CatalogHistory(self.options.catalog, self.options.environment)

    @property
    def port_url(self) -> str:
        """Port's API: PORT_BASE_URL, else the project's; the version at its end, which paths have, is left out."""
        url = self.env.get("PORT_BASE_URL", "").strip() or self.catalog.project.port_base_url
        return re.sub(r"/v1/*\Z", "", url)

    @property
    def pagerduty_url(self) -> str:
        """PagerDuty's API: PAGERDUTY_API_URL, else the project's."""
        return self.env.get("PAGERDUTY_API_URL", "").strip() or self.catalog.project.pagerduty_api_url

    def need(self, *names: str) -> list[str]:
        """Environment variables that must be set.  Raises `UsageError` naming every one that is missing."""
        missing = [name for name in names if not self.env.get(name, "").strip()]
        if missing:
            hint = "set it in the environment (or run `pdsync demo`, which needs no account)"
            raise UsageError(*(error("PD801", f"{name} is not set", hint=hint) for name in missing))
        return [self.env[name].strip() for name in names]

    def need_credentials(self, *, pagerduty: bool = True) -> None:
        """See that all credentials are there before anything is asked.  Raises `UsageError` naming what is not."""
        oauth = ("PAGERDUTY_CLIENT_ID", "PAGERDUTY_CLIENT_SECRET", "PAGERDUTY_SUBDOMAIN")
        source = oauth if self.env.get("PAGERDUTY_CLIENT_ID") else ("PAGERDUTY_TOKEN",)
        self.need("PORT_CLIENT_ID", "PORT_CLIENT_SECRET", *(source if pagerduty else ()))

    # -- edges

    def source(self) -> AbstractAsyncContextManager[Source]:
        """PagerDuty as a source."""
        return self.pagerduty()

    def pagerduty(self) -> AbstractAsyncContextManager[PagerDuty]:
        """PagerDuty, with the credentials of the environment."""
        from pdsync.sources.pagerduty import open_pagerduty

        aside = self.store.aside
        if self.env.get("PAGERDUTY_CLIENT_ID"):
            client_id, client_secret, subdomain = self.need(
                "PAGERDUTY_CLIENT_ID", "PAGERDUTY_CLIENT_SECRET", "PAGERDUTY_SUBDOMAIN"
            )
            return open_pagerduty(
                self.pagerduty_url,
                client_id=client_id,
                client_secret=client_secret,
                subdomain=subdomain,
                token_url=self.env.get("PAGERDUTY_OAUTH_URL"),
                on_wait=self.progress.wait,
                aside=aside,
            )
        return open_pagerduty(
            self.pagerduty_url, token=self.need("PAGERDUTY_TOKEN")[0], on_wait=self.progress.wait, aside=aside
        )

    def reader(self) -> AbstractAsyncContextManager[ValidatingReader]:
        """Port for reading: an object without any method that writes."""
        from pdsync.targets.port import open_port_reader

        client_id, client_secret = self.need("PORT_CLIENT_ID", "PORT_CLIENT_SECRET")
        return open_port_reader(
            self.port_url, client_id, client_secret, user_agent=self.user_agent, on_wait=self.progress.wait
        )

    def writer(self) -> AbstractAsyncContextManager[TargetWriter]:
        """Port for writing."""
        from pdsync.targets.port import open_port_writer

        client_id, client_secret = self.need("PORT_CLIENT_ID", "PORT_CLIENT_SECRET")
        return open_port_writer(
            self.port_url, client_id, client_secret, user_agent=self.user_agent, on_wait=self.progress.wait
        )

    @property
    def user_agent(self) -> str:
        """What Port derives an entity's datasource from; a header holds no other letters than these."""
        from urllib.parse import quote

        name = re.sub(r"[^ -~]", lambda letter: quote(letter[0]), self.catalog.project.name.strip())
        return f"pdsync/{__version__}/{name}"

    @cached_property
    def store(self) -> StateStore:
        """The state, from --state, the project, or state/ beside the catalog."""
        return self.open_state(self.state_url)

    def open_state(self, url: str) -> StateStore:
        """The state behind a URL."""
        from pdsync.state.open import open_store

        return open_store(
            url,
            self.around,
            now=now,
            new_id=new_id,
            who=self._who(),
            link=self._run_link(),
            pull=self._pull_link(),
        )

    @property
    def state_url(self) -> str:
        """Where the state is: --state, else PDSYNC_STATE, else the project's; empty for state/ beside the catalog."""
        told = self.options.state or self.env.get("PDSYNC_STATE", "").strip()
        return told or self._project_state() or self._default_state

    @property
    def around(self) -> Surroundings:
        """What the state's backends may need."""
        from pdsync.state.open import Surroundings

        return Surroundings(
            self.options.catalog, self.env, self._git_environment, self.progress.note, self._shares_snapshot()
        )

    @cached_property
    def keyring(self) -> Keyring | None:
        """The keys of the state, None when it is not encrypted.  Raises `UsageError`."""
        from pdsync.sealing import read_keys

        return read_keys(self.env)

    def read_file(self, path: Path) -> bytes:
        """A file that the user names, which may be sealed.  Raises `StateError`, `OSError`."""
        from pdsync.sealing import is_sealed, unseal

        data = path.read_bytes()
        return b"".join(unseal([data], self.keyring, str(path))) if is_sealed(data) else data

    def see_writable(self, path: Path) -> None:
        """See before any long work that a file can be written.  Raises `OSError`, as writing it would."""
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if not path.parent.is_dir():
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
        if not os.access(path if path.exists() else path.parent, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    def write_file(self, path: Path, chunks: Iterable[bytes]) -> None:
        """Write a plan or snapshot: for its owner alone, and sealed when there is a key.  Raises `OSError`."""
        from pdsync.sealing import seal

        write_private(path, seal(chunks, self.keyring) if self.keyring else chunks)

    def _project_state(self) -> str:
        """The project's state URL; state commands work without a valid catalog, so its absence is no error here."""
        return self.catalog.project.state_url if (self.options.catalog / "pdsync.yaml").exists() else ""

    def _shares_snapshot(self) -> bool:
        """Whether the project wants that; of a broken catalog the commands that need it tell themselves."""
        if not (self.options.catalog / "pdsync.yaml").exists():
            return False
        try:
            return self.catalog.project.state_snapshot == "remote"
        except CatalogError:
            return False

    def _run_link(self) -> str:
        run = self.env.get("GITHUB_RUN_ID")
        repository = f"{self.env.get('GITHUB_SERVER_URL', '')}/{self.env.get('GITHUB_REPOSITORY', '')}"
        return f"{repository}/actions/runs/{run}" if run else ""

    def _who(self) -> str:
        """Who runs this, and where: user and host, in a workflow whoever set it off."""
        if self.env.get("GITHUB_ACTIONS") == "true":
            return f"{self.env.get('GITHUB_ACTOR') or 'somebody'}@github"
        names = (self.env.get(name) for name in ("USER", "LOGNAME", "USERNAME"))
        return f"{next(filter(None, names), 'unknown')}@{socket.gethostname()}"

    def _pull_link(self) -> str:
        """The pull request that this run is about, if GitHub tells: by its ref, or in the message of the commit."""
        page = f"{self.env.get('GITHUB_SERVER_URL', '')}/{self.env.get('GITHUB_REPOSITORY', '')}/pull"
        from pdsync.github.pulls import named_pull

        ref = re.match(r"refs/pull/([0-9]+)/", self.env.get("GITHUB_REF", ""))
        number = ref[1] if ref else named_pull(self._head_message())
        return f"{page}/{number}" if number else ""

    def _head_message(self) -> str:
        """The message of the commit that was pushed; empty when this is no push."""
        with suppress(OSError, ValueError, AttributeError):  # no such file, or another event
            event = orjson.loads(Path(self.env.get("GITHUB_EVENT_PATH", "")).read_bytes())
            return str(event["head_commit"]["message"]) if event.get("head_commit") else ""
        return ""

    # -- what is said

    def show(self, text: str, form: str = "text") -> None:
        """Print a document, which ends its last line itself, to stdout."""
        click.echo(printable(text, self.env, form), nl=False)
        self.silence.broken()

    def tell(self, diagnostics: Sequence[Diagnostic], title: str = "", **told: str) -> None:
        """Print diagnostics to stderr: all of them, or only errors when quiet; `told` goes into their events."""
        shown = [d for d in diagnostics if not self.options.quiet or d.severity == Severity.ERROR]
        if not self.options.verbose:
            shown = [d for d in shown if d.severity != Severity.NOTE]
        if shown:
            color = color_wanted(self.options.color, sys.stderr)
            head = f"{title}\n\n" if title else ""
            click.echo(printable(head + render_diagnostics(shown, "text", color=color), self.env), err=True)
            self.silence.broken()
        self.events([diagnostic_event(d) | told for d in diagnostics])

    def tell_apart(self, mine: Sequence[Diagnostic], rest: Sequence[Diagnostic]) -> None:
        """Print what is a branch's doing, and apart from it what there is without it as well."""
        self.tell(mine, "Of this branch:", part="branch")
        self.tell(rest, "With or without this branch:", part="rest")

    def events(self, events: Sequence[dict[str, Any]]) -> None:
        """Append events to the file of --json-into, one JSON object a line."""
        if self.options.events is not None:
            append_events(self.options.events, events)

    # -- running

    @contextmanager
    def busy(self, what: str) -> Iterator[None]:
        """Show that something is being done that may take a while for very many entities."""
        with self.progress:
            self.progress(what, 0)
            yield

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run asynchronous work with progress shown and signals turned into a stop."""
        # Not the result of the task: asyncio puts a handler back at the end, for which Python 3.11 writes out the task.
        results: list[T] = []

        async def whole() -> None:
            with self._signals(), self.progress:
                results.append(await work)

        try:
            asyncio.run(whole())
            return results[0]
        except asyncio.CancelledError:
            raise self._interrupted() from None
        except Interrupted as problem:
            problem.exit_code = self.interrupted_code
            raise
        finally:
            self._last_call.cancel()

    def _interrupted(self) -> Interrupted:
        detail = "what was in flight may or may not have happened; the next run finds out" if self.writing else ""
        problem = Interrupted(error("PD814", "stopped", detail=detail or "nothing was written"))
        problem.exit_code = self.interrupted_code
        return problem

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """A first SIGINT or SIGTERM asks for a stop, a second one ends the process."""
        loop = asyncio.get_running_loop()
        wanted = (signal.SIGINT, signal.SIGTERM)
        before = [(number, signal.getsignal(number)) for number in wanted]
        with suppress(NotImplementedError):  # Windows has no handlers on its loop; Ctrl-C raises there
            for number in wanted:
                loop.add_signal_handler(number, self._on_signal, number, asyncio.current_task())
        try:
            yield
        finally:
            with suppress(NotImplementedError):
                for number, handler in before:
                    loop.remove_signal_handler(number)
                    signal.signal(number, handler)

    def _on_signal(self, number: int, task: asyncio.Task[Any] | None) -> None:
        if self.stop.is_set() and task is not None:
            self.progress.note("stopping at once; what was in flight may or may not have happened")
            task.cancel()
            last = threading.Timer(LAST_SECONDS, os._exit, [self.interrupted_code])  # the journal has what was begun
            last.daemon = True
            last.start()
            return
        self.signal = number
        self.stop.set()
        if self.writing:
            self.progress.note("stopping: what is in flight is finished and saved (again: stop at once)")
        elif task is not None:
            task.cancel()
            # A thread that evaluates cannot be cancelled, and is waited for when the loop ends: not for long.
            self._last_call = threading.Timer(STOP_SECONDS, _signal_main, [number])
            self._last_call.daemon = True
            self._last_call.start()

    writing = False
    """Whether writes are under way: then a first signal lets them end."""

    @property
    def interrupted_code(self) -> int:
        """The exit code of a run that a signal ended."""
        return 143 if self.signal == signal.SIGTERM else 130


def _signal_main(number: int) -> None:
    """Send a signal to the main thread."""
    if hasattr(signal, "pthread_kill") and (main := threading.main_thread().ident) is not None:
        signal.pthread_kill(main, number)


def now() -> str:
    """The time, RFC 3339 UTC, in seconds."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _without_git(problem: str) -> Diagnostic:
    hint = "do what git says; until then no commit is named, and causes may not be exact"
    return warning("PD870", "git does not tell what commit the catalog is of", detail=problem, hint=hint)


def new_id() -> str:
    """Sixteen random hexadecimal digits."""
    return secrets.token_hex(8)


def write_private(path: Path, chunks: Iterable[bytes]) -> None:
    """Write a file that names people and what they run: for its owner alone.  Raises `OSError`."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.writelines(chunks)


def append_events(path: Path, events: Sequence[dict[str, Any]]) -> None:
    """Append events to a file, one JSON object a line, each with its time.  Raises `OSError`."""
    with path.open("ab") as file:
        file.writelines(orjson.dumps({"at": now(), **event}, option=orjson.OPT_APPEND_NEWLINE) for event in events)


def diagnostic_event(diagnostic: Diagnostic) -> dict[str, Any]:
    """A diagnostic as an event."""
    import msgspec

    return {"type": "diagnostic", **msgspec.to_builtins(diagnostic)}
