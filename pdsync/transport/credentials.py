"""What proves to an API who asks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import httpx


class Auth(Protocol):
    """Credentials of a client; an instance may be asked from several tasks at once."""

    async def headers(self, client: httpx.AsyncClient) -> dict[str, str]:
        """The headers that prove who we are; may fetch a token.  Raises `ApiError` or `Unreachable`."""
        ...

    async def renew(self) -> bool:
        """Drop a token that was refused; whether another try may succeed."""
        ...


class FixedHeaders:
    """Credentials that never change: one header with its value."""

    def __init__(self, name: str, value: str) -> None:
        self._headers = {name: value}

    async def headers(self, client: httpx.AsyncClient) -> dict[str, str]:  # noqa: ARG002
        """The header as given."""
        return dict(self._headers)

    async def renew(self) -> bool:
        """Never: there is no other token."""
        return False
