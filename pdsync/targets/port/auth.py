"""Port's access token: fetched when first needed, shared, and renewed before it runs out."""

from __future__ import annotations

import asyncio
import time
from codecs import BOM_UTF8
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from pdsync.errors import error
from pdsync.targets.port.paths import AUTHENTICATION
from pdsync.targets.port.problems import unreadable
from pdsync.transport import ApiError, Unreachable, in_vain, in_words, proxy_for, read_complaint, read_json
from pdsync.web import httpx

if TYPE_CHECKING:
    from collections.abc import Callable

MARGIN_SECONDS: Final = 60.0
"""How long before its end a token is no longer used, if it lasts that long at all."""


class _Token(NamedTuple):
    text: str
    deadline: float


class _Answer(msgspec.Struct, rename="camel"):
    """Port API reference, Create an access token: `expiresIn` are the seconds that remain."""

    access_token: str
    expires_in: float


_ANSWER = msgspec.json.Decoder(_Answer)


class PortAuth:
    """Machine credentials of a Port organization.

    Port keeps one token per pair of credentials and hands it out again with what is left of its time, so the
    deadline is counted from the moment of the answer.  Many tasks may ask at once; one of them fetches.

    Args:
        base_url: Port's API.
        client_id: the public half of the credentials.
        client_secret: the secret half; it is sent to `base_url` alone.
        clock: a steady clock, in seconds.
    """

    def __init__(
        self, base_url: str, client_id: str, client_secret: str, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._url = base_url.rstrip("/") + AUTHENTICATION
        self._credentials = {"clientId": client_id, "clientSecret": client_secret}
        self._clock = clock
        self._token: _Token | None = None
        self._fetching = asyncio.Lock()

    async def headers(self, client: httpx.AsyncClient) -> dict[str, str]:
        """The bearer header.  Raises `ApiError` when Port refuses a token, `Unreachable`, or `TargetError`."""
        async with self._fetching:
            if self._token is None or self._clock() >= self._token.deadline:
                self._token = await self._fetch(client)
            return {"authorization": f"Bearer {self._token.text}"}

    async def renew(self) -> bool:
        """Drop the token, so that the next request fetches one."""
        self._token = None
        return True

    async def _fetch(self, client: httpx.AsyncClient) -> _Token:
        try:
            response = await client.post(self._url, json=self._credentials)
        except httpx.RequestError as problem:
            raise _unreachable(problem, self._url) from None
        if not response.is_success:
            raise _refused(response)
        try:
            answer = read_json(_ANSWER.decode, response.content.removeprefix(BOM_UTF8))
        except ValueError:  # its text may quote the answer, and with it the token
            raise unreadable(f"POST {AUTHENTICATION}", "no access token in it") from None
        margin = min(MARGIN_SECONDS, answer.expires_in / 2)
        return _Token(answer.access_token, self._clock() + answer.expires_in - margin)


def _unreachable(silence: httpx.RequestError, url: str) -> Unreachable:
    advice, proxy = in_vain(silence), proxy_for(url)
    way = f" by way of the proxy {proxy}" if proxy else ""
    detail = f"POST {AUTHENTICATION} at {silence.request.url.host}{way}: {in_words(silence)}"
    problem = error(
        "PD401", "Port cannot be reached", detail=detail, hint=advice or "check PORT_BASE_URL and the network"
    )
    return Unreachable(problem, what="Port's login", sent=False, hopeless=bool(advice))


def _refused(response: httpx.Response) -> ApiError:
    told = read_complaint(response.content)
    return ApiError(
        error("PD402", "Port gives no access token", detail=f"POST {AUTHENTICATION}: {response.status_code}"),
        status=response.status_code,
        method="POST",
        path=AUTHENTICATION,
        code=told.code,
        message=told.message,
        trace_id=response.headers.get("x-trace-id", ""),
        details=told.details,
    )
