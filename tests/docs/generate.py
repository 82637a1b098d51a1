"""Rewrite what pages show: `python -m tests.docs.generate`.

Generated parts are written anew.  Of console blocks only the output below a command is replaced, and only where it is
no longer what the command prints; output that a page shortens with `...` is left to its author, and named.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tests.docs.pages import PAGES, blocks, generated, name_of, read
from tests.docs.shell import ELLIPSIS, alike, demo, play, steps_of
from tests.docs.tables import PARTS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tests.docs.pages import Block, Step


def main() -> int:
    """Rewrite every page; 1 when something is left to do by hand."""
    left = 0
    for page in PAGES:
        _rewrite_parts(page)
        left += _rewrite_blocks(page)
    return 1 if left else 0


def _rewrite_parts(page: Path) -> None:
    text = read(page)
    for part in reversed(generated(page, text)):
        text = f"{text[: part.start]}\n{PARTS[part.name]()}\n{text[part.end :]}"
    page.write_text(text, encoding="utf-8")


def _rewrite_blocks(page: Path) -> int:
    text = read(page)
    found = {block.start: block for block in blocks(page)}
    outputs: dict[int, dict[int, str]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for printed in play(page, Path(folder)):
            assert "error[PD9" not in printed.printed, f"{printed.place} met a defect:\n{printed.printed}"
            outputs.setdefault(printed.block.start, {})[printed.number] = printed.printed
    for block in found.values():
        if "demo" in block.marks:
            shown = {step.command: step.shown for step in steps_of(demo())}
            outputs[block.start] = {n: shown.get(s.command, "") for n, s in enumerate(block.steps)}
    left = 0
    for start, printed_by_step in sorted(outputs.items(), reverse=True):
        block = found[start]
        steps, open_ = _merged(block, printed_by_step)
        left += open_
        text = text[: block.start] + "".join(steps) + text[block.end :]
    page.write_text(text, encoding="utf-8")
    return left


def _merged(block: Block, printed: Mapping[int, str]) -> tuple[Iterable[str], int]:
    """The steps of a block with what they print, and how many are left to do by hand."""
    left = 0
    texts = []
    for number, step in enumerate(block.steps):
        shown = step.shown
        if not alike(shown, printed[number]):
            if f"{ELLIPSIS}\n" in shown.splitlines(keepends=True):
                left += 1
                _tell(block, step, printed[number])
            else:
                shown = printed[number]
        texts.append(f"$ {step.command}\n{shown}")
    return texts, left


def _tell(block: Block, step: Step, printed: str) -> None:
    sys.stdout.write(f"{block.page}:{block.line}: by hand, below `{step.command}`:\n{printed}\n")


if __name__ == "__main__":
    print(", ".join(name_of(page) for page in PAGES))  # noqa: T201
    sys.exit(main())
