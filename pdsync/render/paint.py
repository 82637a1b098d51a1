"""Colour, which only ever repeats what a symbol already says."""

from __future__ import annotations

_CODES = {"red": 31, "green": 32, "yellow": 33, "cyan": 36, "bold": 1, "dim": 2}


class Paint:
    """Wraps text in a colour, or leaves it as it is."""

    def __init__(self, color: bool) -> None:  # noqa: FBT001  the one thing it is made from
        self._color = color

    def __call__(self, name: str, text: str) -> str:
        """`text` in the colour `name`; empty text stays empty."""
        return f"\x1b[{_CODES[name]}m{text}\x1b[0m" if self._color and text else text
