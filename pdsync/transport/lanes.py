"""Connections to one server, each with an HTTP client of its own.

A client with a pool of connections looks at every idle one, down to its socket, before each request and after it: with
ten of them, that takes a third as long as the request itself.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from pdsync.transport.problems import ApiError
from pdsync.web import httpx

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Mapping, Sequence


class Lane:
    """One connection.

    An HTTP client looks after cookies, redirects and credentials with each request: that takes as long as a third of
    the request itself, and neither API has use for it.  `client` is for what is asked rarely.

    Args:
        headers: what is sent with each request; names in lower case.
        timeout: seconds without a byte after which one is given up.
        transport: what the connection is opened by.
    """

    def __init__(self, headers: Mapping[str, str], timeout: float, transport: httpx.AsyncHTTPTransport) -> None:
        self._headers = headers
        self._extensions = {"timeout": httpx.Timeout(timeout).as_dict()}
        self._transport = transport
        self.client = httpx.AsyncClient(headers=headers, timeout=timeout, trust_env=False, transport=transport)

    async def answer(
        self,
        method: str,
        url: str,
        *,
        params: Sequence[tuple[str, str]],
        content: bytes | None,
        headers: Mapping[str, str],
    ) -> httpx.Response:
        """The answer to a request, its content unread: it is to be closed.  Raises `httpx.RequestError`."""
        own = {name.lower(): value for name, value in headers.items()}
        request = httpx.Request(
            method,
            url,
            params=list(params) or None,
            content=content,
            headers={**self._headers, **own},
            extensions=self._extensions,
        )
        return await self._transport.handle_async_request(request)

    async def close(self) -> None:
        """Close the connection."""
        await self.client.aclose()


class Lanes:
    """HTTP/1.1 with gzip over as many connections as are wanted at once; what is idle is used again.

    Args:
        headers: what is sent with each request; names in lower case.
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
        self._idle: list[Lane] = []
        self._opened: list[Lane] = []

    @asynccontextmanager
    async def one(self) -> AsyncIterator[Lane]:
        """A connection that nobody else uses meanwhile; one on which something went wrong is not used again.

        It may wait for itself: a tunnel through a proxy in which TLS fails is never given back (httpcore 1.0).
        """
        lane = self._idle.pop() if self._idle else self._open()
        try:
            yield lane
        except ApiError:
            self._idle.append(lane)
            raise
        except BaseException:
            self._opened.remove(lane)
            await lane.close()
            raise
        else:
            self._idle.append(lane)

    async def close(self) -> None:
        """Close all connections."""
        await asyncio.gather(*(lane.close() for lane in self._opened))

    def _open(self) -> Lane:
        transport = httpx.AsyncHTTPTransport(
            http2=False,
            limits=httpx.Limits(max_connections=1, max_keepalive_connections=1),
            trust_env=False,
            proxy=self._proxy,
            verify=self._verify,
        )
        usual = {"accept": "application/json", "accept-encoding": "gzip", "connection": "keep-alive"}
        lane = Lane({**usual, **self._headers}, self._timeout, transport)
        self._opened.append(lane)
        return lane
