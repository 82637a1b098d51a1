"""A uvicorn server that ends as soon as it may: uvicorn's own looks ten times a second whether it is to, and has."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import uvicorn

if TYPE_CHECKING:
    import socket


class Server(uvicorn.Server):
    """Serves until `leave`; what runs then has the time for it that its settings give."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._leaving = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    def leave(self) -> None:
        """End; on whichever thread this is called."""
        self.should_exit = True
        if (loop := self._loop) is not None:
            with contextlib.suppress(RuntimeError):  # it has just ended by itself
                loop.call_soon_threadsafe(self._leaving.set)

    async def main_loop(self) -> None:
        """Return once it is to end; until then the date of its answers is kept right."""
        self._loop = asyncio.get_running_loop()
        while not await self.on_tick(0):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._leaving.wait(), 1.0)
        self._loop = None

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take no more requests; return when those that run are answered, or are out of time."""
        for listener in (*self.servers, *(sockets or ())):
            listener.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.config.timeout_graceful_shutdown):
                while self.server_state.connections or self.server_state.tasks:  # noqa: ASYNC110  (uvicorn's own sets)
                    await asyncio.sleep(0.001)
        for task in self.server_state.tasks:
            task.cancel()
