"""Connections to one server, each with an HTTP client of its own.

A client with a pool of connections looks at every idle one, down to its socket, before each request and after it: with
ten of them, that takes a third as long as the request itself.
"""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pdsync.web import httpx

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator, Mapping


class Lanes:
    """HTTP/1.1 with gzip over as many connections as are wanted at once; what is idle is used again.

    Args:
        headers: what is sent with each request.
        timeout: seconds without a byte after which one is given up.
        verify: whose certificates are trusted.
        proxy: the one that is asked, if any.
    """

    def __init__(
        self, headers: Mapping[str, str], timeout: float, *, verify: ssl.SSLContext | bool, proxy: str | None
    ) -> None:
        self._headers = headers
        self._timeout = timeout
        self._verify = verify
        self._proxy = proxy
        self._idle: list[httpx.AsyncClient] = []
        self._opened: list[httpx.AsyncClient] = []

    @contextmanager
    def one(self) -> Iterator[httpx.AsyncClient]:
        """A client that nobody else uses meanwhile."""
        client = self._idle.pop() if self._idle else self._open()
        try:
            yield client
        finally:
            self._idle.append(client)

    async def close(self) -> None:
        """Close all connections."""
        await asyncio.gather(*(client.aclose() for client in self._opened))

    def _open(self) -> httpx.AsyncClient:
        client = httpx.AsyncClient(
            http2=False,
            headers={"accept": "application/json", "accept-encoding": "gzip", **self._headers},
            limits=httpx.Limits(max_connections=1, max_keepalive_connections=1),
            timeout=self._timeout,
            trust_env=False,
            proxy=self._proxy,
            verify=self._verify,
        )
        self._opened.append(client)
        return client
