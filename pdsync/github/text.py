"""Lengths as GitHub counts them, and rendering until a text fits."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

BASIC_PLANE = 0xFFFF
SMALLEST = 200
"""A budget below this many bytes renders nothing worth reading."""


def utf16_units(text: str) -> int:
    """The length of `text` as JavaScript counts it: the stricter reading of GitHub's limit of 65,536 characters."""
    return len(text) + sum(1 for character in text if ord(character) > BASIC_PLANE)


def fits(text: str, *, units: int, size: int) -> bool:
    """Whether `text` has at most `units` UTF-16 units and `size` bytes of UTF-8."""
    return utf16_units(text) <= units and len(text.encode()) <= size


def fit(render: Callable[[int], str], *, units: int, size: int) -> str:
    """The longest rendering that fits; empty when none does.

    `render` is given a budget in bytes and keeps to it by leaving whole parts out.  As bytes are not UTF-16 units it
    is asked again with a smaller budget until the outcome fits: text is never cut.
    """
    budget = size
    while budget >= SMALLEST:
        text = render(budget)
        if fits(text, units=units, size=size):
            return text
        over = max(utf16_units(text) / units, len(text.encode()) / size)
        budget = int(min(budget, len(text.encode())) / max(over, 1.0) * 0.95)
    return ""


def clip(text: str, longest: int) -> str:
    """`text` with at most `longest` characters, and a sign when some are missing."""
    return text if len(text) <= longest else f"{text[: longest - 1]}…"
