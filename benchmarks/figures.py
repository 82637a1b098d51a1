"""The figures of each scenario, kept in figures.json until it is measured again, with where that was."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.comparison import Contest
from benchmarks.journal import Journalled
from benchmarks.rendering import Rendered
from benchmarks.scale import Limited, Scale
from benchmarks.startup import Started

FIGURES = Path(__file__).parent / "figures.json"

KINDS: dict[str, Any] = {
    "startup": list[Started],
    "rendering": list[Rendered],
    "plan": Contest,
    "scale": Scale,
    "limited": list[Limited],
    "journal": Journalled,
}
"""What comes of each scenario."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What was found, and on which machine."""

    where: str
    found: Any


def kept() -> dict[str, Kept]:
    """The figures by scenario; those that were never measured are missing."""
    raw = msgspec.json.decode(FIGURES.read_bytes()) if FIGURES.exists() else {}
    return {
        name: Kept(raw[name]["where"], msgspec.convert(raw[name]["found"], kind))
        for name, kind in KINDS.items()
        if name in raw
    }


def keep(name: str, where: str, found: Any) -> None:
    """Put the figures of one scenario in the place of those before."""
    known = {**kept(), name: Kept(where, found)}
    FIGURES.write_bytes(msgspec.json.format(msgspec.json.encode(known)) + b"\n")
