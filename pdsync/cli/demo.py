"""The demo: real `pdsync` commands against the sandbox, with a sentence before each."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pdsync.cli.session import now
from pdsync.sandbox.server import Sandbox
from pdsync.sandbox.world import World

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

INTRO = """\
PagerDuty knows services, on-calls and incidents. Port is a portal that shows a company's software catalog.
pdsync keeps Port as the files in catalog/ say it should be, from what PagerDuty says.
Both run here, on this machine only, as a sandbox; every line after a $ is a real command.
"""
MAPPED = "summary: .summary"
REMAPPED = 'summary: .summary + " (" + (.escalation_rules | length | tostring) + " levels)"'

_GIT = {
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    **{
        f"GIT_{who}_{what}": value
        for who in ("AUTHOR", "COMMITTER")
        for what, value in (
            ("NAME", "You"),
            ("EMAIL", "you@example.com"),
            ("DATE", "2026-06-01T12:00:00Z"),
        )
    },
}
"""Git as it is where nobody has set it up, with the same commits every time."""


class DemoFailed(Exception):
    """A command of the demo ended otherwise than it must."""


class _Stage:
    """A folder, a sandbox, and the commands run there."""

    def __init__(self, folder: Path, box: Sandbox, env: Mapping[str, str]) -> None:
        self.folder = folder
        self.box = box
        self.env = {**env, **box.env(), **_GIT, "PDSYNC_STATE": ""}

    def say(self, text: str) -> None:
        click.echo(click.style(f"\n# {text}", bold=True))

    def run(self, *args: str, expect: int = 0) -> str:
        """Run one command and show it with what it printed; another exit code than `expect` ends the demo."""
        return self._command("pdsync", [sys.executable, "-m", "pdsync", "--quiet"], args, expect)

    def git(self, *args: str) -> None:
        """The same of git."""
        self._command("git", ["git"], args, 0)

    def _command(self, name: str, program: Sequence[str], args: Sequence[str], expect: int) -> str:
        line = shlex.join([name, *args])
        click.echo(click.style(f"$ {line}", fg="cyan"))
        done = subprocess.run(  # noqa: S603  (our own command line and git, arguments from this file)
            [*program, *args],
            cwd=self.folder,
            env=self.env,
            capture_output=True,
            text=True,
            encoding="utf-8",
            check=False,
        )
        click.echo(done.stdout + done.stderr, nl=False)
        if done.returncode != expect:
            raise DemoFailed(f"{line} ended with {done.returncode}, not {expect}")
        return done.stdout


def run_demo(*, env: Mapping[str, str], keep: bool) -> int:
    """Run it; 0 when every command did what it should."""
    click.echo(INTRO, nl=False)
    world = World(services=4, users=5, teams=2, schedules=2, escalation_policies=2, incidents=6, now=now())
    folder = Path(tempfile.mkdtemp(prefix="pdsync-demo-"))
    try:
        with Sandbox(world) as box:
            _play(_Stage(folder, box, env))
    except DemoFailed as e:
        click.echo(f"\nThe demo failed: {e}", err=True)
        return 1
    finally:
        if keep:
            click.echo(f"\nThe folder is kept: {folder}")
        else:
            import shutil

            shutil.rmtree(folder, ignore_errors=True)
    return 0


def _play(stage: _Stage) -> None:
    stage.say("A fresh catalog: blueprints (what Port shows) and mappings (where it comes from).")
    stage.git("init", "--quiet", "--initial-branch=main")
    stage.run("init")
    stage.run("validate")
    stage.git("add", "--all")
    stage.git("commit", "--quiet", "--message=Start the catalog")
    stage.say("What would happen? Plan only reads.")
    stage.run("plan", "--out", "first.pdplan")
    stage.say("Do exactly that, and look again: nothing is left to do.")
    stage.run("apply", "first.pdplan")
    _expect(stage.run("plan"), "No changes.")
    _change_everything(stage)
    stage.say("The plan says what each change comes from: the catalog, the source, or drift in Port.")
    shown = stage.run("plan", "--out", "second.pdplan")
    for cause in ("[catalog]", "[source]", "[drift]"):
        _expect(shown, cause)
    stage.say("Apply exactly this plan, and prove that nothing is left.")
    stage.run("apply", "second.pdplan")
    _expect(stage.run("plan"), "No changes.")
    stage.say("That was a whole cycle. In a team, the GitHub Action comments the plan and applies it on merge.")


def _change_everything(stage: _Stage) -> None:
    """A change of each cause: PagerDuty moves, somebody edits Port, the catalog is edited."""
    box = stage.box
    renamed, deleted, edited, *_ = sorted(box.store.entities("pagerdutyService"))
    stage.say("Then life goes on. In PagerDuty a service is renamed, one is added, one is deleted with its incidents.")
    box.mutate(
        {
            "action": "rename_service",
            "id": renamed,
            "name": f"{box.store.entities('pagerdutyService')[renamed]['title']} EU",
        }
    )
    box.mutate({"action": "add_service", "name": "Gift Cards"})
    box.mutate({"action": "delete_service", "id": deleted, "keep_incidents": False})
    stage.say("In Port somebody edits an entity by hand.")
    box.store.put_entity("pagerdutyService", {"identifier": edited, "properties": {"status": "disabled"}})
    stage.say("And one line of the mapping is changed:")
    mapping = stage.folder / "catalog" / "mappings" / "pagerduty.yaml"
    text = mapping.read_text(encoding="utf-8")
    if text.count(MAPPED) != 1:
        raise DemoFailed(f"{MAPPED!r} is not in the starter mapping exactly once")
    mapping.write_text(text.replace(MAPPED, REMAPPED), encoding="utf-8")
    click.echo(click.style(f"- {MAPPED}", fg="red") + "\n" + click.style(f"+ {REMAPPED}", fg="green"))
    stage.git("commit", "--quiet", "--all", "--message=Say how many levels a policy has")


def _expect(shown: str, words: str) -> None:
    if words not in shown:
        raise DemoFailed(f"expected {words!r} in what it printed")
