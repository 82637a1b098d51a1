"""Scoped OAuth of the sandbox's PagerDuty: app tokens by client credentials (PagerDuty developer documentation).

A token holds the scopes that were asked for and granted; one that was not granted is left out without an error.  It
lives for `OAuth.lifetime` seconds.  Where the documentation is silent errors have the form of RFC 6749.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import parse_qsl

if TYPE_CHECKING:
    from collections.abc import Callable

    from pdsync.model import Json

PATH = "/oauth/token"
FORM = "application/x-www-form-urlencoded"
_ACCOUNT = "as_account-"


@dataclass(frozen=True, slots=True)
class OAuth:
    """An app that may ask for tokens.

    Args:
        client_id: Who it is.
        client_secret: How it proves that.
        account: What follows `as_account-` in the one scope that names the account, `us.acme`.
        granted: The scopes that the app was granted; None: all there are.
        lifetime: Seconds that a token lives.
    """

    client_id: str
    client_secret: str
    account: str = "us.sandbox"
    granted: frozenset[str] | None = None
    lifetime: float = 86_400.0


class _Token(NamedTuple):
    scopes: frozenset[str]
    until: float


class Refused(Exception):
    """A token request that is refused: the status, and the word for it in RFC 6749."""

    def __init__(self, status: int, word: str, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.body: dict[str, Json] = {"error": word, "error_description": text}


class TokenOffice:
    """Gives out tokens and knows them again; `clock` gives seconds from anywhere."""

    def __init__(self, app: OAuth, clock: Callable[[], float]) -> None:
        self.app = app
        self._clock = clock
        self._tokens: dict[str, _Token] = {}

    def issue(self, content_type: str, body: bytes) -> dict[str, Json]:
        """The answer to a token request.  Raises `Refused`."""
        if content_type.partition(";")[0].strip() != FORM:
            raise Refused(400, "invalid_request", f"Content-Type must be {FORM}")
        form = dict(parse_qsl(body.decode("utf-8", "replace")))
        if form.get("grant_type") != "client_credentials":
            raise Refused(400, "unsupported_grant_type", "grant_type must be client_credentials")
        if not self._is_app(form):
            raise Refused(401, "invalid_client", "client_id and client_secret do not belong to an app")
        scopes = self._granted(form.get("scope", "").split())
        token = "pdus+_" + blake2b(f"{self.app.client_id}/{len(self._tokens)}".encode(), digest_size=18).hexdigest()
        self._tokens[token] = _Token(frozenset(scopes), self._clock() + self.app.lifetime)
        told = {"scope": " ".join(scopes), "token_type": "bearer", "expires_in": int(self.app.lifetime)}
        return {"access_token": token, **told}

    def _is_app(self, form: dict[str, str]) -> bool:
        pairs = (
            (form.get("client_id", ""), self.app.client_id),
            (form.get("client_secret", ""), self.app.client_secret),
        )
        return all(hmac.compare_digest(given.encode(), known.encode()) for given, known in pairs)

    def _granted(self, asked: list[str]) -> list[str]:
        accounts = [scope for scope in asked if scope.startswith(_ACCOUNT)]
        if accounts != [_ACCOUNT + self.app.account]:
            raise Refused(
                400, "invalid_scope", f"scope must hold {_ACCOUNT}{self.app.account} once, and no other account"
            )
        granted = self.app.granted
        return [scope for scope in asked if scope in accounts or granted is None or scope in granted]

    def scopes(self, token: str) -> frozenset[str] | None:
        """The scopes of a token; None for one that is not known or has run out."""
        found = self._tokens.get(token)
        return found.scopes if found is not None and self._clock() < found.until else None
