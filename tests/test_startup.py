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


def test_httpx_comes_without_its_command_line() -> None:
    """Whoever asks for its client does not wait for rich, and httpx is as it would be without its extra `cli`."""
    program = (
        "from pdsync.web import httpx; import sys; print(*(sys.modules.keys() & {'rich', 'httpx._main'})); httpx.main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, encoding="utf-8", check=False
    )
    assert done.returncode == 1
    assert done.stdout.startswith("\nThe httpx command line client could not run")
