"""Port as a target: a reader that cannot write, a writer, and how to open either."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from pdsync.targets.port.auth import PortAuth
from pdsync.targets.port.read import PortReader
from pdsync.targets.port.write import PortWriter
from pdsync.transport import PORT_LIMITS, ApiClient

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager

P = ParamSpec("P")
T = TypeVar("T")

__all__ = ["PortAuth", "PortReader", "PortWriter", "open_port_reader", "open_port_writer", "port_client"]


def port_client(
    base_url: str,
    client_id: str,
    client_secret: str,
    *,
    user_agent: str,
    on_wait: Callable[[str, float], None] | None = None,
    allow_plain_http: bool = False,
) -> ApiClient:
    """An HTTP client of Port, to be entered with `async with`.

    Args:
        base_url: the API of the organization's region, such as `https://api.port.io`.
        client_id: the public half of the organization's credentials.
        client_secret: the secret half.
        user_agent: sent with every request; Port derives an entity's datasource from it.
        on_wait: told of longer waits, in words, and how long they take.
        allow_plain_http: talk unencrypted to another host than this one.

    Raises:
        UsageError: `base_url` is no URL, or unencrypted.
    """
    return ApiClient(
        base_url,
        name="Port",
        auth=PortAuth(base_url, client_id, client_secret),
        user_agent=user_agent,
        limits=PORT_LIMITS,
        on_wait=on_wait,
        codes="PD40",
        allow_plain_http=allow_plain_http,
    )


def _opening(
    make_client: Callable[P, ApiClient], make: Callable[[ApiClient], T]
) -> Callable[P, AbstractAsyncContextManager[T]]:
    """What takes the arguments of a client, and has for a block what is made with it."""

    @asynccontextmanager
    async def opened(*args: P.args, **kwargs: P.kwargs) -> AsyncIterator[T]:
        async with make_client(*args, **kwargs) as client:
            yield make(client)

    return opened


open_port_reader = _opening(port_client, PortReader)
"""A reader for the block; arguments as for `port_client`.  No request is sent before the first read."""

open_port_writer = _opening(port_client, PortWriter)
"""A writer for the block; arguments as for `port_client`.  No request is sent before the first write."""
