"""Strategies that are made once.

One that is made anew for every example is checked, labelled and put aside anew each time: that takes several times as
long as to draw from it.
"""

from __future__ import annotations

from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, TypeVar

from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Sequence

Item = TypeVar("Item")

PLACES = 120
"""More than there are items to choose from, and a multiple of the usual numbers of them: each is as likely."""


@lru_cache(maxsize=1000, typed=True)
def among(*values: Any) -> st.SearchStrategy[Any]:
    """One of these values."""
    return st.sampled_from(values)


@lru_cache(maxsize=1000, typed=True)
def several(*values: Any, least: int = 0, most: int | None = None, unique: bool = False) -> st.SearchStrategy[Any]:
    """A list of some of these values."""
    return st.lists(among(*values), min_size=least, max_size=most, unique=unique)


def some(draw: st.DrawFn, items: Sequence[Item], most: int) -> list[Item]:
    """A list of so many of items at most, which are others in every example: none of none."""
    assert len(items) < PLACES
    return [items[place % len(items)] for place in draw(_places(most))] if items else []


@cache
def _places(most: int) -> st.SearchStrategy[list[int]]:
    return st.lists(st.integers(0, PLACES - 1), max_size=most)
