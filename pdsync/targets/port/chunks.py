"""Splitting a sequence into what one request takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable

T = TypeVar("T")


def chunks(
    items: Iterable[T], *, most: int, size: Callable[[T], int], budget: int, key: Callable[[T], Hashable]
) -> list[tuple[T, ...]]:
    """Split in order: at most `most` items and `budget` of `size` in a chunk, and no `key` twice in one.

    An item that is larger than the budget by itself gets a chunk of its own.
    """
    done: list[tuple[T, ...]] = []
    chunk: list[T] = []
    keys: set[Hashable] = set()
    room = budget
    for item in items:
        weight, name = size(item), key(item)
        if chunk and (len(chunk) == most or weight > room or name in keys):
            done.append(tuple(chunk))
            chunk, keys, room = [], set(), budget
        chunk.append(item)
        keys.add(name)
        room -= weight
    return [*done, tuple(chunk)] if chunk else done
