"""Running the blocks of a page and comparing what they print with what the page shows.

Two texts are the same when they are equal after `plain` has taken out what differs from run to run.  A line `...` in a
page stands for any number of lines.
"""

from __future__ import annotations

import re
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.docs.pages import Block, Step, blocks
from tests.docs.stages import Stage, stage

if TYPE_CHECKING:
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
    # Lists that several queries share are counted with the first one that asks.
    (re.compile(r" +\d+ +\d+\.\d +(yes|no:)"), r" <requests, seconds> \1"),
    (re.compile(r", \d+ requests$", re.MULTILINE), ", <so many> requests"),
    (re.compile(r"\S+@\S+, pid \d+"), "<who>"),
    (re.compile(r"\b(you|unknown)@\S+ *"), "<who> "),
    (re.compile(r"\bwho +commit"), "who commit"),
    (re.compile(r"\bcommit [0-9a-f]{7,10}\b"), "commit <commit>"),
)
_PROGRESS = re.compile(
    r"(still at it: )?(working|([^,\n]+ [\d,]+(/[\d,]+)? \(\d+/s(, \d+ s left)?\)(, )?)+(and \d+ more)?)\n"
)


@dataclass(frozen=True, slots=True)
class Printed:
    """A step of a page (the `number`th of its block), what it really printed, and its exit code."""

    block: Block
    number: int
    step: Step
    printed: str
    code: int

    @property
    def place(self) -> str:
        """Where it is, for messages."""
        return f"{self.block.place} $ {self.step.command}"


def plain(text: str) -> str:
    """A text without what differs from run to run: addresses, times, ids, who is on call."""
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
        stages: dict[str, Stage] = {}
        for number, block in enumerate(blocks(page)):
            if "stage" in block.marks:
                name = block.marks["stage"]
                here = stages[name] = running.enter_context(stage(name, folder / str(number) / "project"))
            if "again" in block.marks:
                here = stages[block.marks["again"]]
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
    """What was printed, with addresses and the folder as a reader would have them, without how far it was."""
    printed = "".join(line for line in printed.splitlines(keepends=True) if not _PROGRESS.fullmatch(line))
    names = {here.env["PAGERDUTY_API_URL"]: "http://127.0.0.1:4020", here.env["PORT_BASE_URL"]: "http://127.0.0.1:4010"}
    for name, shown in {**names, str(here.folder): "/home/you/project"}.items():
        printed = printed.replace(name, shown)
    return re.sub(r"\bunknown@\S+ *", lambda who: "you@laptop".ljust(len(who[0])), printed)


def demo() -> str:
    """What `pdsync demo` prints.  Raises `CalledProcessError` when it does not come to its end."""
    argv = [sys.executable, "-m", "pdsync", "demo"]
    return subprocess.run(argv, stdout=subprocess.PIPE, text=True, encoding="utf-8", check=True).stdout


def steps_of(printed: str) -> Iterator[Step]:
    """What a demo ran and printed, step by step.  Sentences between the steps are left out."""
    for part in re.split(r"^\$ ", printed, flags=re.MULTILINE)[1:]:
        command, _, printed = part.partition("\n")
        for side, number in (("target  ", 4010), ("source  ", 4020)):
            printed = re.sub(rf"^({side} http://127\.0\.0\.1):\d+", rf"\1:{number}", printed, flags=re.MULTILINE)
        yield Step(command, re.split(r"^# ", printed, flags=re.MULTILINE)[0].rstrip("\n") + "\n")
