"""What the pages show is what happens: their commands, their Python, their demo."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.docs.pages import PAGES, ROOT, Block, Step, blocks, name_of, read
from tests.docs.shell import Printed, alike, demo, plain, play, steps_of
from tests.docs.stages import STAGES, clean_environment

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

README = ROOT / "README.md"
WITH_COMMANDS = [page for page in PAGES if any(block.is_run for block in blocks(page))]
NOT_RUN = {
    ("README.md", "make demo"): "sets up an environment in the checkout; what it runs is run below, and `make test` is "
    "what runs these tests",
    ("README.md", "uv tool install git+https://github.com/OWNER/pdsync@v0.1.0"): "needs a network and a release",
    ("docs/commands.md", 'eval "$(_PDSYNC_COMPLETE=bash_source pdsync)"      # ~/.bashrc'): "each line is tried by "
    "test_completion.py, in its own shell",
    (
        "docs/state.md",
        "pdsync state rm $(pdsync state list pagerdutyUser 'pagerdutyUser/*')",
    ): "ends the example before it; `state rm` is run there, `state list` above",
}
"""Blocks with commands that are not run, by page and first line, and why."""

COMMAND_LANGUAGES = {"console", "sh", "bash", "shell", "zsh", "fish", "python"}


@pytest.mark.parametrize("page", WITH_COMMANDS, ids=name_of)
def test_what_a_page_shows_is_what_happens(page: Path, tmp_path: Path) -> None:
    """Every command of every console block, in the page's order, prints what stands below it.

    One that does not end with 0 is followed by `echo $?`.
    """
    played = list(play(page, tmp_path))
    wrong = [p for p in played if not alike(p.step.shown, p.printed)]
    assert [(p.place, plain(p.step.shown)) for p in wrong] == [(p.place, plain(p.printed)) for p in wrong]
    assert [p.place for p in wrong] == []
    assert [p.step for p in played] == [
        step for block in blocks(page) if block.is_run and "demo" not in block.marks for step in block.steps
    ]
    assert _silent_failures(played) == []


def _silent_failures(played: Sequence[Printed]) -> list[str]:
    """Commands that fail without their exit code being shown."""
    after = [p.step.command for p in played[1:]]
    followed = zip(played, [*after, ""], strict=True)
    return [p.place for p, command in followed if p.code and "echo $?" not in (p.step.command, command)]


def test_the_demo_plays_to_its_end_and_the_readme_shows_a_plan_of_it() -> None:
    """Each of its commands ends as it must, every cause is shown, nothing is left to do; the README opens with it."""
    played = demo()
    assert played.count("No changes.") == 2
    assert [cause for cause in ("[catalog]", "[source]", "[drift]") if cause not in played] == []
    assert "\x1b[" not in played
    shown = [step for block in blocks(README) if "demo" in block.marks for step in block.steps]
    printed = {step.command: plain(step.shown) for step in steps_of(played)}
    assert len(shown) == 1
    assert {step.command: plain(step.shown) for step in shown} == {s.command: printed[s.command] for s in shown}


def test_the_plan_in_the_readme_shows_every_cause() -> None:
    """It holds a change from the catalog, one from the source, a drift, a create and deletes."""
    (text,) = (block.text for block in blocks(README) if "demo" in block.marks)
    wanted = ("[catalog]", "[source]", "[drift]", " + ", "\nDeletes (")
    assert [part for part in wanted if part not in text] == []


def _python_blocks() -> list[Block]:
    return [block for page in PAGES for block in blocks(page) if block.language == "python"]


@pytest.mark.parametrize("block", _python_blocks(), ids=lambda block: block.place)
def test_python_of_a_page_runs(block: Block, tmp_path: Path) -> None:
    """A block of Python is a test file that passes, and has a test in it."""
    (tmp_path / "test_page.py").write_text(block.text, encoding="utf-8")
    done = subprocess.run(
        # A folder of its own: in the shared one the inner run would clear away what outer runs have left.
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--basetemp=run", "-c", "/dev/null", "."],
        cwd=tmp_path,
        env=clean_environment(tmp_path) | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout


def test_no_block_is_skipped() -> None:
    """A block with commands is run, or stands in NOT_RUN with its reason; nothing stands there that is not a block."""
    left = {
        (block.page, block.text.partition("\n")[0])
        for page in PAGES
        for block in blocks(page)
        if block.language in COMMAND_LANGUAGES - {"console", "python"}
    }
    assert left == set(NOT_RUN)


def test_every_block_is_found_and_has_a_language() -> None:
    """No fence is overlooked, and none is without a language: a block with commands could hide in it."""
    for page in PAGES:
        fences = [line for line in read(page).splitlines() if re.match(r" {0,3}(```|~~~)", line)]
        found = blocks(page)
        assert 2 * len(found) == sum(line.startswith("```") and len(line) >= 3 for line in fences) == len(fences)
        assert {b.language for b in found} <= {"console", "sh", "python", "yaml", "json", "text"}, page
        assert [b.place for b in found if b.language == "text" and re.search(r"^\$ ", b.text, re.MULTILINE)] == []


def test_console_blocks_begin_with_a_command() -> None:
    """So no line of one is without a command that printed it."""
    wrong = [
        block.place for page in PAGES for block in blocks(page) if block.is_run and not block.text.startswith("$ ")
    ]
    assert wrong == []


def test_no_page_shows_a_defect() -> None:
    """An internal error that got into a page would be taken for what is meant."""
    assert [name_of(page) for page in PAGES if "error[PD9" in read(page) or "Traceback" in read(page)] == []


def test_every_stage_is_used() -> None:
    """A stage that no page begins from is not needed."""
    used = {block.marks["stage"] for page in PAGES for block in blocks(page) if "stage" in block.marks}
    assert used == set(STAGES)


@pytest.mark.parametrize(
    ("shown", "printed", "same"),
    [
        ("a\nb\n", "a\nb\n", True),
        ("a\nb\n", "a\nc\n", False),
        ("a\n...\nd\n", "a\nb\nc\nd\n", True),
        ("...\nd\n", "d\n", True),
        ("...\n", "", True),
        ("a\n", "a\nb\n", False),
        ("at 127.0.0.1:4010\n", "at 127.0.0.1:4711\n", True),
        ("taken 2026-01-01T00:00:00Z\n", "taken 2026-05-05T05:05:05Z\n", True),
        ("1 to delete\n", "2 to delete\n", False),
        ('oncall "zoe.lindqvist@example.com"\n', 'oncall "noa.levi@example.com"\n', True),
        ('oncall "zoe.lindqvist@example.com"\n', "oncall null\n", False),
    ],
)
def test_only_what_must_differ_may(shown: str, printed: str, *, same: bool) -> None:
    """Addresses, times, ids and who is on call may; words and counts may not."""
    assert alike(shown, printed) is same


def test_steps_are_commands_with_what_they_print() -> None:
    """A block is cut at its prompts."""
    block = Block("x.md", 1, "console", "$ one\nfirst\n\nsecond\n$ two\n", 0, 0)
    assert block.steps == [Step("one", "first\n\nsecond\n"), Step("two", "")]
