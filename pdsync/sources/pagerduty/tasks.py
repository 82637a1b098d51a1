"""Doing things at the same time, and stopping all of them when one must."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from heapq import heappop, heappush
from itertools import count
from typing import TYPE_CHECKING, Generic, TypeVar

from pdsync.errors import first

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Sequence

T = TypeVar("T")
B = TypeVar("B")


async def together(jobs: Iterable[Coroutine[object, object, T]]) -> list[T]:
    """The results of all jobs, in order.

    The first exception cancels the others, which are waited for, and is raised as it is, not in a group.
    """
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(job) for job in jobs]
    except BaseExceptionGroup as failures:
        raise first(failures) from None
    return [task.result() for task in tasks]


async def each(items: Iterable[T], work: Callable[[T], Awaitable[None]], width: int) -> None:
    """`work` on every item, `width` at a time; unlike `together` it holds no task per item."""
    left = iter(items)

    async def worker() -> None:
        for item in left:
            await work(item)

    await together(worker() for _ in range(width))


class Meeting(Generic[B, T]):
    """What so many do together once the last of them has come: each brings something, and gets what comes of all."""

    def __init__(self, number: int) -> None:
        self._left = number
        self._brought: list[B] = []
        self._outcome: asyncio.Future[T] = asyncio.get_running_loop().create_future()

    async def join(self, brought: B, job: Callable[[Sequence[B]], Awaitable[T]]) -> T:
        """What the `job` of the last one makes of what all have brought; who waits stops when that is stopped."""
        self._brought.append(brought)
        self._left -= 1
        if not self._left:
            try:
                self._outcome.set_result(await job(self._brought))
            except BaseException:
                self._outcome.cancel()
                raise
        return await asyncio.shield(self._outcome)


class Turns:
    """Lets so many do something at the same time; of those who wait, the first in order of their ranks is next."""

    def __init__(self, number: int) -> None:
        self._free = number
        self._waiting: list[tuple[str, int, asyncio.Future[None]]] = []
        self._came = count()

    @asynccontextmanager
    async def of(self, rank: str) -> AsyncIterator[None]:
        """A turn for who has this rank."""
        if self._free:
            self._free -= 1
        else:
            called: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            heappush(self._waiting, (rank, next(self._came), called))
            try:
                await called
            except asyncio.CancelledError:
                if not called.cancelled():
                    self._next()
                raise
        try:
            yield
        finally:
            self._next()

    def _next(self) -> None:
        while self._waiting:
            _, _, called = heappop(self._waiting)
            if not called.done():
                called.set_result(None)
                return
        self._free += 1
