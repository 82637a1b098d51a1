"""What is under way ends soon, once it is told to."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from pdsync.errors import Interrupted


class Stopping:
    """Ends blocks on one event loop, once it has `begun`; `interrupted` makes what they raise then."""

    def __init__(self, interrupted: Callable[[], Interrupted]) -> None:
        self.begun = False
        self._interrupted = interrupted
        self._scopes: dict[asyncio.Timeout, float] = {}

    def begin(self) -> None:
        """Stop: no block begins any more, and those that run have their grace."""
        self.begun = True
        now = asyncio.get_running_loop().time()
        for scope, grace in self._scopes.items():
            scope.reschedule(now + grace)

    @asynccontextmanager
    async def bounded(self, grace: float) -> AsyncIterator[None]:
        """A block that has so many seconds left once that begins, before it is interrupted; none begins after it."""
        if self.begun:
            raise self._interrupted()
        try:
            async with asyncio.timeout(None) as scope:
                self._scopes[scope] = grace
                try:
                    yield
                finally:
                    del self._scopes[scope]
        except TimeoutError:
            raise self._interrupted() from None
