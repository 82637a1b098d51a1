"""The files through which a step hands values to the runner (GitHub documentation, Environment files)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")


def output_lines(name: str, value: str, delimiter: str) -> str:
    """One output as the runner reads it.

    A value of one line is `name=value`, any other stands between two lines of `delimiter`, which must be random.
    Line ends are written as line feeds: before one of those, a carriage return of the value's own would vanish.
    Raises `ValueError` for a name that is none, and when the value holds the delimiter.
    """
    if NAME.fullmatch(name) is None:
        raise ValueError(f"not the name of an output: {name!r}")
    lines = value.replace("\r\n", "\n").replace("\r", "\n")
    if "\n" not in lines:
        return f"{name}={lines}\n"
    if delimiter in lines:
        raise ValueError(f"the value of {name} holds the delimiter")
    return f"{name}<<{delimiter}\n{lines}\n{delimiter}\n"


def write_outputs(path: str, outputs: Mapping[str, str], draw: Callable[[], str]) -> None:
    """Append outputs to the file of `GITHUB_OUTPUT`; `draw` gives a new random word each time it is called.

    Without a path (not on a runner) nothing is written.
    """
    text = "".join(output_lines(name, value, f"ghadelimiter_{draw()}") for name, value in outputs.items())
    _append(path, text)


def write_summary(path: str, text: str) -> None:
    """Append Markdown to the file of `GITHUB_STEP_SUMMARY`; without a path nothing is written."""
    _append(path, text.rstrip("\n") + "\n")


def _append(path: str, text: str) -> None:
    if path:
        with Path(path).open("a", encoding="utf-8", newline="\n") as file:
            file.write(text)
