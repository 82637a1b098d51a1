"""Doing things at the same time, and stopping all of them when one must."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterable

T = TypeVar("T")


async def together(jobs: Iterable[Coroutine[object, object, T]]) -> list[T]:
    """The results of all jobs, in order.

    The first exception cancels the others, which are waited for, and is raised as it is, not in a group.
    """
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(job) for job in jobs]
    except BaseExceptionGroup as failures:
        raise _first(failures) from None
    return [task.result() for task in tasks]


def _first(failure: BaseException) -> BaseException:
    while isinstance(failure, BaseExceptionGroup):
        failure = failure.exceptions[0]
    return failure


async def each(items: Iterable[T], work: Callable[[T], Awaitable[None]], width: int) -> None:
    """`work` on every item, `width` at a time; unlike `together` it holds no task per item."""
    left = iter(items)

    async def worker() -> None:
        for item in left:
            await work(item)

    await together(worker() for _ in range(width))
