"""Running the blocks of a page and comparing what they print with what the page shows.

Two texts are the same when they are equal after `plain` has taken out what differs from run to run.  A line `...` in a
page stands for any number of lines.
"""

from __future__ import annotations

import re
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.docs.pages import Block, Step, blocks
from tests.docs.stages import Stage, stage

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator
    from pathlib import Path

ELLIPSIS = "..."

_VARYING = (
    (re.compile(r"127\.0\.0\.1:\d+"), "127.0.0.1:0"),
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z"), "<time>"),
    (re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{6}"), "<run>"),
    (re.compile(r"\b[0-9a-f]{32}\b"), "<digest>"),
    (re.compile(r"\b[0-9a-f]{16}\b"), "<id>"),
    # Who is on call depends on the hour.
    (re.compile(r"[a-z]+\.[a-z]+@example\.com"), "<somebody>"),
    (re.compile(r" +\d+\.\d  (yes|no)"), r" <seconds> \1"),
    (re.compile(r"\S+@\S+, pid \d+"), "<who>"),
    (re.compile(r"\bcommit [0-9a-f]{7,10}\b"), "commit <commit>"),
)
_PROGRESS = re.compile(r"(still at it: )?(working|[^\s,]+ [\d,]+(/[\d,]+)? \(\d+/s(, \d+ s left)?\)(, )?)+\n")


@dataclass(frozen=True, slots=True)
class Printed:
    """A step of a page, what it really printed, and its exit code; `before` is what came before it in the block."""

    block: Block
    number: int
    step: Step
    printed: str
    code: int

    @property
    def same(self) -> bool:
        """Whether the page shows what was printed."""
        return alike(self.step.shown, self.printed)


def plain(text: str) -> str:
    """A text without what differs from run to run: addresses, times, ids, who is on call, progress."""
    text = "".join(line for line in text.splitlines(keepends=True) if not _PROGRESS.fullmatch(line))
    for pattern, instead in _VARYING:
        text = pattern.sub(instead, text)
    return text


def alike(shown: str, printed: str) -> bool:
    """Whether a page shows what was printed."""
    lines = (
        r"(?:[^\n]*\n)*" if line == f"{ELLIPSIS}\n" else re.escape(line)
        for line in plain(shown).splitlines(keepends=True)
    )
    return re.fullmatch("".join(lines), plain(printed)) is not None


def play(page: Path, folder: Path) -> Iterator[Printed]:
    """Run everything that a page shows, in its order; `folder` is where its stages live."""
    with ExitStack() as running:
        here: Stage | None = None
        for number, block in enumerate(blocks(page)):
            if "stage" in block.marks:
                here = running.enter_context(stage(block.marks["stage"], folder / str(number) / "project"))
            if "demo" in block.marks or not _takes_part(block):
                continue
            assert here is not None, f"{block.place}: no stage; write <!-- stage: NAME --> above it"
            if not block.is_run:
                _write(here, block)
                continue
            for place, step in enumerate(block.steps):
                if "server" in block.marks:
                    printed, process = here.serve(step.command)
                    running.callback(_end, process)
                else:
                    printed = here.run(step.command)
                yield Printed(block, place, step, pretty(printed, here), here.code)


def _takes_part(block: Block) -> bool:
    return block.is_run or not {"file", "append"}.isdisjoint(block.marks)


def _write(here: Stage, block: Block) -> None:
    added = "append" in block.marks
    path = here.folder / block.marks["append" if added else "file"]
    path.parent.mkdir(parents=True, exist_ok=True)
    before = path.read_text(encoding="utf-8") if added else ""
    path.write_text(before + block.text, encoding="utf-8")


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    process.communicate()
    assert process.returncode in (0, 143), f"the sandbox ended with {process.returncode}"


def pretty(printed: str, here: Stage) -> str:
    """What was printed, with addresses and the folder as a reader would have them."""
    names = {here.env["PAGERDUTY_API_URL"]: "http://127.0.0.1:4020", here.env["PORT_BASE_URL"]: "http://127.0.0.1:4010"}
    for name, shown in {**names, str(here.folder): "/home/you/project"}.items():
        printed = printed.replace(name, shown)
    return printed


def demo_steps() -> Iterator[Step]:
    """What `pdsync demo` runs and prints, step by step.  Sentences between the steps are left out."""
    import subprocess

    done = subprocess.run(
        [sys.executable, "-m", "pdsync", "demo"], capture_output=True, text=True, encoding="utf-8", check=True
    )
    for part in re.split(r"^\$ ", done.stdout, flags=re.M)[1:]:
        command, _, printed = part.partition("\n")
        yield Step(command, re.split(r"^# ", printed, flags=re.M)[0].rstrip("\n") + "\n")
