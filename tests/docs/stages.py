"""Where the commands of a page are run: a folder, a sandbox with a small company, and a state to begin from."""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING

from pdsync.cli import run
from pdsync.cli.session import now
from pdsync.sandbox.server import Sandbox
from pdsync.sandbox.world import World

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

OURS = re.compile(r"^(PORT|PAGERDUTY|PDSYNC|GITHUB|GIT|PYTEST)_|^(NO_COLOR|COLUMNS|LINES|TERM|FORCE_COLOR)$")
PLAIN = re.compile(r"(pdsync(?: [\w./=:+-]+| '[^']*')*)(?: > ([\w./-]+))?")
"""A line that a shell would hand to pdsync as it stands, and the file that its output goes to."""
CONSOLE_SCRIPT = f"""#!{sys.executable}
from pdsync.cli import main, progress

progress.SILENCE = 3600.0
main()
"""
"""pdsync, for a shell, without the lines that say what it waits for: a page shows what it prints on any machine."""
SERVER_LINES = 6
"""What `pdsync sandbox` prints before it only serves: five variables and a sentence."""


class Stage:
    """A folder to work in and the environment that commands get there."""

    def __init__(self, folder: Path, box: Sandbox) -> None:
        self.folder = folder
        self.box = box
        self.env = clean_environment(folder) | box.env()
        self.env["PATH"] = os.pathsep.join((str(_console_script(folder.parent / "bin")), self.env["PATH"]))
        self.code = 0

    def run(self, command: str) -> str:
        """Run a line as a shell does; what it printed, to both streams.  `code` is then its exit code.

        A line that needs no shell is run in this process, as the console script would: that saves its start.
        """
        if command == "echo $?":
            return f"{self.code}\n"
        plain = PLAIN.fullmatch(command)
        printed, self.code = self._here(shlex.split(plain[1])[1:], plain[2]) if plain else self._in_a_shell(command)
        return printed

    def must(self, *commands: str) -> None:
        """Run lines that must succeed, to get somewhere."""
        for command in commands:
            printed = self.run(command)
            assert self.code == 0, f"{command} ended with {self.code}: {printed}"

    def _here(self, args: list[str], file: str | None) -> tuple[str, int]:
        told = io.BytesIO()
        with ExitStack() as stack:
            said = io.TextIOWrapper(told, encoding="utf-8", write_through=True)
            stack.enter_context(contextlib.chdir(self.folder))
            stack.enter_context(_environment(self.env))
            out = stack.enter_context(Path(file).open("w", encoding="utf-8")) if file else said
            stack.enter_context(redirect_stdout(out))
            stack.enter_context(redirect_stderr(said))
            code = run(args)
        return told.getvalue().decode(), code

    def _in_a_shell(self, command: str) -> tuple[str, int]:
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=self.folder,
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        return done.stdout.decode(), done.returncode

    def serve(self, command: str) -> tuple[str, subprocess.Popen[bytes]]:
        """Start a sandbox in the background and point the stage at it; what it printed, and the process."""
        process = subprocess.Popen(
            ["bash", "-c", f"exec {command}"],
            cwd=self.folder,
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        assert process.stdout is not None
        lines = [process.stdout.readline().decode() for _ in range(SERVER_LINES)]
        for line in lines:
            if found := re.fullmatch(r"export (\w+)=(\S+)\n", line):
                self.env[found[1]] = found[2]
        return "".join(lines), process


def _console_script(folder: Path) -> Path:
    """`folder`, which has pdsync in it now, and nothing else."""
    folder.mkdir()
    script = folder / "pdsync"
    script.write_text(CONSOLE_SCRIPT, encoding="utf-8")
    script.chmod(0o755)
    return folder


@contextmanager
def _environment(env: dict[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.clear()
    os.environ.update(env)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def clean_environment(folder: Path) -> dict[str, str]:
    """This process's environment without what would change what pdsync or git print."""
    kept = {name: value for name, value in os.environ.items() if not OURS.match(name)}
    git = {"init.defaultBranch": "main", "user.name": "You", "user.email": "you@example.com", "gc.auto": "0"}
    settings = {f"GIT_CONFIG_KEY_{n}": key for n, key in enumerate(git)}
    settings |= {f"GIT_CONFIG_VALUE_{n}": value for n, value in enumerate(git.values())}
    path = os.pathsep.join((sysconfig.get_path("scripts"), kept.get("PATH", "")))
    moment = "2026-06-01T12:00:00Z"  # so that commits have the same ids every time
    return kept | {
        "PATH": path,
        "HOME": str(folder),
        "LC_ALL": "C.UTF-8",
        "COLUMNS": "100",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_COUNT": str(len(git)),
        "GIT_AUTHOR_DATE": moment,
        "GIT_COMMITTER_DATE": moment,
        **settings,
    }


@contextmanager
def stage(name: str, folder: Path) -> Iterator[Stage]:
    """A stage in one of the states of `STAGES`; `folder` must not exist."""
    folder.mkdir(parents=True)
    world = World(services=4, users=5, teams=2, schedules=2, escalation_policies=2, incidents=6, now=now())
    with Sandbox(world) as box:
        made = Stage(folder, box)
        STAGES[name](made)
        yield made


def _empty(stage: Stage) -> None:
    """A folder with nothing in it."""
    del stage


def _started(stage: Stage) -> None:
    """The starter catalog, committed; nothing applied."""
    stage.must("git init -q", "pdsync init", "git add -A", "git commit -qm 'Start a catalog'")


def _applied(stage: Stage) -> None:
    """The starter catalog, applied."""
    _started(stage)
    stage.must("pdsync -q apply --auto-approve")


def _changed(stage: Stage) -> None:
    """Applied; then a service was renamed, another one deleted with its incidents, a third one edited in Port."""
    _applied(stage)
    renamed, deleted, edited, *_ = sorted(stage.box.store.entities("pagerdutyService"))
    stage.box.mutate({"action": "rename_service", "id": renamed, "name": "Ledger EU"})
    stage.box.mutate({"action": "delete_service", "id": deleted})
    stage.box.store.put_entity("pagerdutyService", {"identifier": edited, "properties": {"status": "disabled"}})


def _filled(stage: Stage) -> None:
    """Port is full already, by other means: pdsync has no state.  One service differs from PagerDuty."""
    _applied(stage)
    shutil.rmtree(stage.folder / "state")
    one = min(stage.box.store.entities("pagerdutyService"))
    stage.box.store.put_entity("pagerdutyService", {"identifier": one, "title": "Ledger (old)"})


def _guarded(stage: Stage) -> None:
    """Applied, in git, under a policy that lets no service go; then one is deleted in PagerDuty."""
    _applied(stage)
    project = stage.folder / "catalog" / "pdsync.yaml"
    text = project.read_text(encoding="utf-8")
    limit = "  deletes:\n    pagerdutyService: {count: 0, percent: 0}\n"
    project.write_text(text.replace("  deletes:\n", limit, 1), encoding="utf-8")
    stage.must("git commit -qam 'Let no service go'")
    stage.box.mutate({"action": "delete_service", "id": max(stage.box.store.entities("pagerdutyService"))})


def _unproven(stage: Stage) -> None:
    """Applied; then PagerDuty no longer lets anybody list incidents."""
    _applied(stage)
    stage.box.mutate({"action": "drop_permission", "kind": "incidents"})


def _crashed(stage: Stage) -> None:
    """A first apply that lost its machine after the last write: journal not closed, ledger not saved."""
    _applied(stage)
    (stage.folder / "state" / "ledger.jsonl").unlink()
    (journal,) = (stage.folder / "state" / "journal").glob("*.jsonl")
    lines = journal.read_bytes().splitlines(keepends=True)
    assert b"closed" in lines[-1]
    journal.write_bytes(b"".join(lines[:-1]))


def _repository(stage: Stage) -> None:
    """The starter catalog committed to a git repository with a remote; nothing applied."""
    stage.must("pdsync init", "git init -q --bare .remote", "git init -q", "git remote add origin .remote")
    (stage.folder / ".git" / "info" / "exclude").write_text(".remote\n", encoding="utf-8")
    stage.must("git add -A", "git commit -qm 'Start a catalog'", "git push -q -u origin main")


STAGES: dict[str, Callable[[Stage], None]] = {
    "empty": _empty,
    "started": _started,
    "applied": _applied,
    "changed": _changed,
    "filled": _filled,
    "guarded": _guarded,
    "unproven": _unproven,
    "crashed": _crashed,
    "repository": _repository,
}
