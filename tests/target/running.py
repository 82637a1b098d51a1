"""A sandbox with what a test does to its Port: open a reader or a writer, and do one thing with it."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from pdsync.sandbox.port import Behaviour, PortStore
from pdsync.sandbox.server import PORT_CLIENT_ID, PORT_CLIENT_SECRET, Sandbox
from pdsync.targets.port import PortReader, PortWriter, open_port_reader, open_port_writer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

T = TypeVar("T")


class Port:
    """The Port of a running sandbox."""

    def __init__(self, box: Sandbox) -> None:
        self.box = box
        self.store = box.store

    def read(self, work: Callable[[PortReader], Awaitable[T]]) -> T:
        """Do something with a reader."""

        async def run() -> T:
            async with open_port_reader(
                self.box.port_url, PORT_CLIENT_ID, PORT_CLIENT_SECRET, user_agent="test"
            ) as reader:
                return await work(reader)

        return asyncio.run(run())

    def write(self, work: Callable[[PortWriter], Awaitable[T]]) -> T:
        """Do something with a writer."""

        async def run() -> T:
            async with open_port_writer(
                self.box.port_url, PORT_CLIENT_ID, PORT_CLIENT_SECRET, user_agent="test"
            ) as writer:
                return await work(writer)

        return asyncio.run(run())


@contextmanager
def running_port(behaviour: Behaviour | None = None, **options: Any) -> Iterator[Port]:
    """A sandbox for the block; `options` are those of `Sandbox`."""
    with Sandbox(port_store=PortStore(behaviour=behaviour or Behaviour()), **options) as box:
        yield Port(box)
