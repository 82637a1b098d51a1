"""Markdown pages as data: fenced blocks with the mark above them, generated parts, headings, links.

A *mark* is an HTML comment on the line before a fence; it says what to do with the block:

    <!-- stage: NAME -->   a new folder and sandbox in the state NAME (see `stages`), then run the block there
    <!-- again: NAME -->   go on in the last stage of that name
    <!-- server -->        start the block's one command in the background, with its sandbox instead of the stage's
    <!-- demo -->          the block stands in what `pdsync demo` prints
    <!-- file: PATH -->    the block is the file PATH of the stage, and is written there
    <!-- append: PATH -->  the same, added to the end of the file

Several are parted by `;`.  A console block without a mark goes on in the stage of the block before it.
What stands between `<!-- generated: NAME -->` and `<!-- end -->` is written by `python -m tests.docs.generate`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))

_BLOCK = re.compile(
    r"(?:^<!-- (?P<mark>[^\n]*?) -->\n)?^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)
_GENERATED = re.compile(r"^<!-- generated: (?P<name>[\w-]+) -->\n(?P<text>.*?)^<!-- end -->$", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^#{1,6} (.+)$", re.MULTILINE)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_SPAN = re.compile(r"`[^`\n]+`")


@dataclass(frozen=True, slots=True)
class Step:
    """One command of a console block and what the page shows below it."""

    command: str
    shown: str


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block: `start` and `end` are where its text stands in the page."""

    page: str
    line: int
    language: str
    text: str
    start: int
    end: int
    marks: Mapping[str, str] = field(default_factory=dict)

    @property
    def place(self) -> str:
        """Where it is, for messages."""
        return f"{self.page}:{self.line}"

    @property
    def is_run(self) -> bool:
        """Whether it shows commands with a prompt."""
        return self.language == "console"

    @property
    def steps(self) -> list[Step]:
        """The commands of a console block, in order; lines before the first one belong to none."""
        parts = re.split(r"^\$ ", self.text, flags=re.MULTILINE)
        return [Step(command, shown) for command, _, shown in (part.partition("\n") for part in parts[1:])]


@dataclass(frozen=True, slots=True)
class Generated:
    """A part that is written by a program."""

    page: str
    name: str
    text: str
    start: int
    end: int


def read(page: Path) -> str:
    """A page's text."""
    return page.read_text(encoding="utf-8")


def name_of(page: Path) -> str:
    """A page as it is named in messages and marks: `docs/catalog.md`."""
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path, text: str | None = None) -> list[Block]:
    """The fenced blocks of a page, in order."""
    text = read(page) if text is None else text
    return [
        Block(
            page=name_of(page),
            line=text.count("\n", 0, found.start("language")) + 1,
            language=found["language"],
            text=found["text"],
            start=found.start("text"),
            end=found.end("text"),
            marks=dict(_marks(found["mark"] or "")),
        )
        for found in _BLOCK.finditer(text)
    ]


def _marks(written: str) -> Iterator[tuple[str, str]]:
    for part in filter(None, (part.strip() for part in written.split(";"))):
        name, _, value = part.partition(":")
        yield name.strip(), value.strip()


def generated(page: Path, text: str | None = None) -> list[Generated]:
    """The generated parts of a page, in order."""
    text = read(page) if text is None else text
    return [
        Generated(name_of(page), found["name"], found["text"], found.start("text"), found.end("text"))
        for found in _GENERATED.finditer(text)
    ]


def prose(page: Path) -> str:
    """A page without its fenced blocks."""
    return _BLOCK.sub("", read(page))


def links(page: Path) -> list[str]:
    """Where a page's links lead, those in code left out."""
    return _LINK.findall(_SPAN.sub("", prose(page)))


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub makes of a page's headings."""
    found: set[str] = set()
    for heading in _HEADING.findall(prose(page)):
        slug = re.sub(r"[^\w\- ]", "", re.sub(r"[`*]", "", heading).lower()).replace(" ", "-")
        found.add(next(s for s in (slug, *(f"{slug}-{n}" for n in range(1, 99))) if s not in found))
    return found
