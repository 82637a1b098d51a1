"""Shell completion as the commands page says: each line of its block works, and completes commands and options."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.docs.pages import ROOT, blocks
from tests.docs.stages import clean_environment

if TYPE_CHECKING:
    from pathlib import Path

(LINES,) = (b.text.splitlines() for b in blocks(ROOT / "docs" / "commands.md") if b.language == "sh")
SHELLS = ("bash", "zsh", "fish")


def _run(command: list[str], folder: Path, **env: str) -> str:
    done = subprocess.run(
        command, cwd=folder, env=clean_environment(folder) | env, capture_output=True, text=True, check=False
    )
    assert done.returncode in (0, 1), done.stderr  # click ends with 1 after it has completed
    return done.stdout


def test_there_is_a_line_for_each_shell() -> None:
    """One for bash, one for zsh, one for fish."""
    assert [[shell for shell in SHELLS if f"{shell}_source" in line] for line in LINES] == [[s] for s in SHELLS]


@pytest.mark.parametrize("shell", SHELLS)
def test_the_script_registers_pdsync(shell: str, tmp_path: Path) -> None:
    """`_PDSYNC_COMPLETE=SHELL_source pdsync` prints a script that asks pdsync for completions."""
    script = _run(["pdsync"], tmp_path, _PDSYNC_COMPLETE=f"{shell}_source")
    assert f"_PDSYNC_COMPLETE={shell}_complete" in script
    if shutil.which(shell) and shell != "bash":
        checked = subprocess.run([shell, "-n"], input=script, capture_output=True, text=True, check=False)
        assert checked.returncode == 0, checked.stderr


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("pl", ["plan"]),
        ("sna", ["snapshot"]),
        ("state p", ["pull", "push"]),
        ("plan --detailed", ["--detailed-exitcode"]),
        ("plan --format m", ["markdown"]),
        ("act", []),
    ],
)
def test_bash_completes(words: str, expected: list[str], tmp_path: Path) -> None:
    """In a real bash, after the page's line, the function that it registers finds commands, options and values."""
    given = ["pdsync", *words.split()]
    typed = " ".join(f"'{word}'" for word in given)
    script = f"""{LINES[0]}
COMP_WORDS=({typed}); COMP_CWORD={len(given) - 1}
_pdsync_completion pdsync
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
    assert _run(["bash", "-c", script], tmp_path).split() == expected


@pytest.mark.parametrize(
    ("shell", "current", "expected"),
    [
        ("zsh", "1", "plain\nplan\nShow what apply would do"),
        ("fish", "pl", "plain,plan\tShow what apply would do"),
    ],
)
def test_the_other_shells_are_answered(shell: str, current: str, expected: str, tmp_path: Path) -> None:
    """What the scripts of zsh and fish ask for is answered in their forms, with a line of help."""
    answer = _run(
        ["pdsync"],
        tmp_path,
        _PDSYNC_COMPLETE=f"{shell}_complete",
        COMP_WORDS="pdsync pl",
        COMP_CWORD=current,
    )
    assert answer.startswith(expected)
