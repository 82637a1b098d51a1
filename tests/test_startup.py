"""Start-up: what `--help` must not wait for."""

from __future__ import annotations

import subprocess
import sys

import pytest

SLOW = frozenset(
    [
        "httpx",
        "jq",
        "rich",
        "git",
        "asyncio",
        "pydantic",
        "ruamel",
        "starlette",
        "deepdiff",
        "uvicorn",
        "msgspec",
        "orjson",
    ]
)


@pytest.mark.parametrize("argument", ["--help", "--version"])
def test_help_imports_nothing_slow(argument: str) -> None:
    """`--help` and `--version` import click and the standard library's light parts, and nothing that takes long."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "pdsync", argument],
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=True,
    )
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}
    assert "click" in imported
    assert imported & SLOW == set()
