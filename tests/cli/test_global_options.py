"""Global options mean the same before and behind the command."""

from __future__ import annotations

import pytest

from pdsync.cli import hoisted


@pytest.mark.parametrize(
    ("written", "understood"),
    [
        (["plan", "-q"], ["-q", "plan"]),
        (["plan", "--state", "s", "--only", "x"], ["--state", "s", "plan", "--only", "x"]),
        (["plan", "--color=never", "--out", "p"], ["--color=never", "plan", "--out", "p"]),
        (["--catalog", "c", "validate"], ["--catalog", "c", "validate"]),
        (["plan", "--help"], ["plan", "--help"]),
        (["--help"], ["--help"]),
        (["show", "--", "-q"], ["show", "--", "-q"]),
        (["plan", "--state"], ["--state", "", "plan"]),
        ([], []),
    ],
)
def test_global_options_may_stand_anywhere(written: list[str], understood: list[str]) -> None:
    """They are moved to the front with their values; help and what is behind `--` stay where they are."""
    assert hoisted(written) == understood
