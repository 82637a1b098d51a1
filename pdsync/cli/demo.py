"""The demo: real `pdsync` commands against the sandbox, with a sentence before each."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pdsync.sandbox.server import Sandbox
from pdsync.sandbox.world import World

if TYPE_CHECKING:
    from collections.abc import Mapping

INTRO = """\
PagerDuty knows services, on-calls and incidents. Port is a portal that shows a company's software catalog.
pdsync keeps Port as the files in catalog/ say it should be, from what PagerDuty says.
Both run here, on this machine only, as a sandbox; every line after a $ is a real command.
"""
OWNER_MAPPING = '            description: .description // "no description yet"'


class DemoFailed(Exception):
    """A command of the demo ended otherwise than it must."""


class _Stage:
    """A folder, a sandbox, and the commands run there."""

    def __init__(self, folder: Path, box: Sandbox, env: Mapping[str, str]) -> None:
        self.folder = folder
        self.box = box
        self.env = {**env, **box.env(), "PDSYNC_STATE": ""}

    def say(self, text: str) -> None:
        click.echo(click.style(f"\n# {text}", bold=True))

    def run(self, *args: str, expect: int = 0) -> str:
        """Run one command and show it with what it printed; another exit code than `expect` ends the demo."""
        click.echo(click.style(f"$ pdsync {' '.join(args)}", fg="cyan"))
        done = subprocess.run(
            [sys.executable, "-m", "pdsync", "--quiet", *args],
            cwd=self.folder,
            env=self.env,
            capture_output=True,
            text=True,
            encoding="utf-8",
            check=False,
        )
        click.echo(done.stdout + done.stderr, nl=False)
        if done.returncode != expect:
            raise DemoFailed(f"pdsync {' '.join(args)} ended with {done.returncode}, not {expect}")
        return done.stdout


def run_demo(*, env: Mapping[str, str], keep: bool) -> int:
    """Run it; 0 when every command did what it should."""
    click.echo(INTRO, nl=False)
    world = World(services=5, users=6, teams=2, schedules=3, escalation_policies=3, incidents=8)
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
    stage.run("init")
    stage.run("validate")
    stage.say("What would happen? Plan only reads.")
    stage.run("plan")
    stage.say("Do it, and look again: nothing is left to do.")
    stage.run("apply", "--auto-approve")
    _expect(stage.run("plan"), "No changes.")
    _change_everything(stage)
    stage.say("The plan says what each change comes from: the catalog, the source, or drift in Port.")
    shown = stage.run("plan", "--out", "demo.pdplan")
    for cause in ("[catalog]", "[source]", "[drift]"):
        _expect(shown, cause)
    stage.say("Apply exactly this plan, and prove that nothing is left.")
    stage.run("apply", "demo.pdplan")
    _expect(stage.run("plan"), "No changes.")
    stage.say(
        "That was a whole cycle. In a team, the GitHub Action comments the plan on the pull request and applies on merge."
    )


def _change_everything(stage: _Stage) -> None:
    raise NotImplementedError


def _expect(shown: str, words: str) -> None:
    if words not in shown:
        raise DemoFailed(f"expected {words!r} in what it printed")
