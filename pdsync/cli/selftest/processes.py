"""Command lines, each in a process of its own that can be killed.

Starting Python and reading all modules takes longer than a small apply, and the matrix has hundreds of them.  So, where
the system can, processes are forked from one that has read the modules and does nothing else.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
from dataclasses import dataclass
from multiprocessing.connection import wait
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from multiprocessing.process import BaseProcess
    from pathlib import Path

PRELOADED = (
    "anyio._backends._asyncio",
    "git",
    "httpcore",
    "importlib.metadata",
    "pdsync.apply",
    "pdsync.catalog.history",
    "pdsync.catalog.loading",
    "pdsync.cli.plan_commands",
    "pdsync.cli.run_commands",
    "pdsync.github.pulls",
    "pdsync.mapping",
    "pdsync.sources.pagerduty",
    "pdsync.state.open",
    "pdsync.targets.port",
    "ruamel.yaml",
)
"""What apply, resume and plan import, some of it late."""

PATIENCE = 120.0
"""Seconds after which a command is taken to hang."""

_ONE_AT_A_TIME = threading.Lock()
"""Starting a process asks all others whether they have ended; an exit code can be read only once."""


class Hangs(Exception):
    """A command did not come to its end."""


@dataclass(frozen=True, slots=True)
class Ran:
    """What a command ended with (`killed`: it was), and what it printed, stdout and stderr as they came."""

    args: tuple[str, ...]
    code: int
    killed: bool
    text: str

    def says(self, code: str) -> bool:
        """Whether it printed an error with this code."""
        return f"error[{code}]" in self.text

    def shown(self) -> str:
        """For people."""
        how = "was killed" if self.killed else f"ended with {self.code}"
        return f"$ pdsync {' '.join(self.args)}\n{self.text.rstrip()}\n({how})"


class Command:
    """A command that runs."""

    def __init__(self, process: BaseProcess, args: tuple[str, ...], said: Path) -> None:
        self._process = process
        self._args = args
        self._said = said
        self._killed = False

    def kill(self) -> None:
        """End it at once."""
        self._killed = True
        self._process.kill()

    def wait(self) -> Ran:
        """What it ended with.  Raises `Hangs`."""
        wait([self._process.sentinel], PATIENCE)
        with _ONE_AT_A_TIME:
            code = self._process.exitcode
        if code is None:
            self._process.kill()
            self._process.join()
            raise Hangs(f"pdsync {' '.join(self._args)} did not end in {PATIENCE:.0f} s")
        self._process.close()
        text = self._said.read_text(encoding="utf-8", errors="replace") if self._said.exists() else ""
        return Ran(self._args, code, self._killed or code < 0, text)


class Commands:
    """Starts command lines in `folder`, with this environment and no other."""

    def __init__(self, folder: Path, env: Mapping[str, str]) -> None:
        self._folder = folder
        self._env = dict(env)
        self._process = _forked() if "forkserver" in multiprocessing.get_all_start_methods() else _spawned()

    def start(self, *args: str, **env: str) -> Command:
        """Start `pdsync ARGS`; `env` is added to its environment."""
        said = self._folder / "said.txt"
        said.unlink(missing_ok=True)
        process = self._process(target=_run, args=(args, self._folder, {**self._env, **env}, said))
        with _ONE_AT_A_TIME:
            process.start()
        return Command(process, args, said)

    def run(self, *args: str) -> Ran:
        """Run `pdsync ARGS` to its end.  Raises `Hangs`."""
        return self.start(*args).wait()


def _forked() -> Callable[..., BaseProcess]:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(PRELOADED))
    return context.Process


def _spawned() -> Callable[..., BaseProcess]:
    return multiprocessing.get_context("spawn").Process


def _run(args: tuple[str, ...], folder: Path, env: Mapping[str, str], said: Path) -> None:
    """In the new process: be what a shell would have started."""
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(env)
    handle = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    sys.stdout.flush()
    sys.stderr.flush()
    for stream in (1, 2):
        os.dup2(handle, stream)
    from pdsync.cli import main

    sys.argv[:] = ["pdsync", *args]
    main()
