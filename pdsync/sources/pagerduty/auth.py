"""How pdsync proves to PagerDuty who it is: an API key, an OAuth token, or an app's own client credentials."""

from __future__ import annotations

import asyncio
import re
import time
from codecs import BOM_UTF8
from contextlib import suppress
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import msgspec

from pdsync.errors import UsageError, error
from pdsync.transport import (
    ApiError,
    FixedHeaders,
    Unreachable,
    check_url,
    in_vain,
    open_lanes,
    pointed_to,
    proxy_for,
    read_complaint,
    read_json,
)
from pdsync.transport import in_words as why_silent
from pdsync.web import httpx

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from pdsync.transport import Auth

TOKEN_URL = "https://identity.pagerduty.com/oauth/token"  # noqa: S105
"""Where tokens of an app are had, in either region (PagerDuty, OAuth functionality)."""

_BEARER, _API_KEY = "Bearer ", "Token token="
_API_KEY_LENGTH = 20
_SENDABLE = re.compile(r"[!-~]+")
_WORD = re.compile(r"[a-z_]{1,40}")
_REGIONS: Mapping[str, str] = MappingProxyType(
    {"us": "https://api.pagerduty.com", "eu": "https://api.eu.pagerduty.com"}
)
_FOR_GOOD = frozenset({400, 401, 403, 404})
_PATIENCE = 30.0
_DOMAIN = ".pagerduty.com"
_MARGIN = 60.0
_LIFETIME = 3600.0
"""Seconds that a token lives at least of which the login does not say that."""

_CHECK_APP = "check PAGERDUTY_CLIENT_ID, PAGERDUTY_CLIENT_SECRET and PAGERDUTY_SUBDOMAIN"


def token_auth(token: str) -> Auth:
    """Credentials from an API key (`Token token=`) or an OAuth token (`Bearer`).

    OAuth tokens begin with `pd` and the region and are long; an API key has 20 characters.  A user's token of the older
    sort looks like neither: written as in the header, `Bearer TOKEN`, a token is what it says.

    Raises:
        UsageError: it is none, whatever it is: it has spaces or letters that a header cannot hold.
    """
    bare = token.removeprefix(_BEARER).removeprefix(_API_KEY)
    if not _SENDABLE.fullmatch(bare):
        hint = "paste the token alone; one is of letters, digits and a few signs"
        detail = "PAGERDUTY_TOKEN has spaces, line breaks or other characters that no token has"
        raise UsageError(error("PD312", "this is no token", detail=detail, hint=hint))
    return FixedHeaders("authorization", f"{_BEARER if _is_oauth(token) else _API_KEY}{bare}")


def _is_oauth(token: str) -> bool:
    return token.startswith(_BEARER) or (token.startswith("pd") and len(token) > _API_KEY_LENGTH)


def in_words(token: str | None) -> str:
    """What sort of credentials these are; without a token it is an app."""
    if not token:
        return "OAuth app"
    return "OAuth token" if _is_oauth(token.strip()) else "API key"


def refused_hint(base_url: str, token: str | None) -> str:
    """What to check when PagerDuty does not accept the credentials."""
    if not token:
        return _CHECK_APP
    region = token.strip().removeprefix(_BEARER)[2:4] if _is_oauth(token.strip()) else ""
    if region in _REGIONS and _is_pagerduty(base_url) and region != _region(base_url):
        return f"PAGERDUTY_TOKEN is of another region: set PAGERDUTY_API_URL={_REGIONS[region]}"
    expired = "has not run out" if _is_oauth(token.strip()) else "is a REST API key"
    return f"check that PAGERDUTY_TOKEN {expired} and that PAGERDUTY_API_URL is its region's"


def _region(base_url: str) -> str:
    return "eu" if ".eu." in (urlsplit(base_url).hostname or "") else "us"


def account_of(base_url: str, subdomain: str) -> str:
    """The account as a scope names it, `us.acme`; `subdomain` may be the address of its pages, or name the region.

    The region is that of the base URL, unless the subdomain says it (`eu.acme`, `acme.eu.pagerduty.com`).

    Raises:
        UsageError: that region's API is another one.
    """
    host = subdomain.strip().lower().rpartition("://")[2].partition("/")[0].removesuffix(_DOMAIN)
    parts = host.split(".")
    region = next((part for part in parts if part in _REGIONS and len(parts) > 1), "")
    name = ".".join(part for part in parts if part != region)
    if region and _is_pagerduty(base_url) and region != _region(base_url):
        raise UsageError(
            error(
                "PD309",
                "the account is of another region",
                detail=f"PAGERDUTY_SUBDOMAIN={subdomain} with the API at {base_url}",
                hint=f"set PAGERDUTY_API_URL={_REGIONS[region]}",
            )
        )
    return f"{region or _region(base_url)}.{name}"


def login_of(base_url: str, token_url: str | None = None) -> str:
    """Where an app's token is had: PagerDuty's own login for PagerDuty's own API, else where the user says.

    An app's secret goes nowhere else: behind another base URL may be whoever answers there.

    Raises:
        UsageError: the user does not say, or it cannot be sent there safely.
    """
    if token_url:
        check_url(token_url, "PagerDuty's login")
        return token_url
    if _is_pagerduty(base_url):
        return TOKEN_URL
    own = f"{base_url.rstrip('/')}{urlsplit(TOKEN_URL).path}"
    raise UsageError(
        error(
            "PD308",
            "it is not known where the app's token is had",
            detail=f"the API at {base_url} is not PagerDuty's own",
            hint=f"set PAGERDUTY_OAUTH_URL, to {TOKEN_URL} where that passes requests on to PagerDuty, or to {own}",
        )
    )


def _is_pagerduty(base_url: str) -> bool:
    return f".{urlsplit(base_url).hostname or ''}".endswith(_DOMAIN)


class _Granted(msgspec.Struct):
    access_token: str
    expires_in: float | None = None
    scope: str | None = None


_GRANTED = msgspec.json.Decoder(_Granted, strict=False)


class LoginRefused(ApiError):
    """The login gives no token, so that nothing at all can be read."""


def shuts_out(failure: Exception | None) -> bool:
    """Whether a failure holds for everything there is to read: credentials are refused, or nobody is there."""
    refused = isinstance(failure, ApiError) and failure.status == httpx.codes.UNAUTHORIZED
    return refused or isinstance(failure, LoginRefused | Unreachable)


class ClientCredentials:
    """The token of a scoped OAuth app: fetched when first needed, shared, and renewed before it runs out.

    Scopes that the app was not granted are left out of the token without an error (PagerDuty, OAuth functionality), so
    what was asked for is held against what was given.

    Args:
        client_id: of the app.
        client_secret: of the app.
        account: `us.SUBDOMAIN` or `eu.SUBDOMAIN`.
        token_url: where the token is had.
        clock: a steady clock in seconds.
    """

    def __init__(
        self,
        client_id: str,
        client_secret: str,
        account: str,
        *,
        token_url: str = TOKEN_URL,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._form = {"grant_type": "client_credentials", "client_id": client_id, "client_secret": client_secret}
        self.account = account
        self._url = token_url
        self._clock = clock
        self._wanted: frozenset[str] = frozenset()
        self._hoped: frozenset[str] = frozenset()
        self._granted: frozenset[str] | None = None
        self._token = ""
        self._good_until = float("-inf")
        self._refusal: Callable[[], LoginRefused] | None = None
        self._refused_until = float("inf")
        self._silence: Callable[[], Unreachable] | None = None
        self._silences = 0
        self._fetching = asyncio.Lock()

    def want(self, scopes: Iterable[str], hoped: Iterable[str] = ()) -> None:
        """From now on ask for these scopes as well; a token that was fetched without them is not used any more.

        Those that are `hoped` for nobody is known to need: where the login refuses a scope, it is asked without them.
        """
        if not (self._wanted.issuperset(scopes) and self._wanted.union(self._hoped).issuperset(hoped)):
            self._wanted, self._hoped = self._wanted.union(scopes), self._hoped.union(hoped)
            self._good_until, self._refusal = float("-inf"), None

    def lacking(self, scopes: Iterable[str]) -> tuple[str, ...]:
        """Which of these the last token does not have; none while there is no token, or it did not say."""
        return () if self._granted is None else tuple(sorted(set(scopes) - self._granted))

    @property
    def granted(self) -> tuple[str, ...] | None:
        """The scopes of the last token, the account left out; None while there is no token, or it did not say."""
        if self._granted is None:
            return None
        return tuple(sorted(scope for scope in self._granted if not scope.startswith("as_account-")))

    async def headers(self, client: httpx.AsyncClient) -> dict[str, str]:
        """The header with the token, fetched if there is none that is good.

        Raises `Unreachable`, one for all who waited for the same answer, and `LoginRefused`: where that is for good,
        the login is not asked again, and else not before it says.
        """
        silences = self._silences
        async with self._fetching:
            if self._refusal and self._clock() < self._refused_until:
                raise self._refusal()
            if self._silence and self._silences > silences:
                raise self._silence()
            if self._clock() >= self._good_until:
                self._take(await self._fetch(client))
        return {"authorization": f"Bearer {self._token}"}

    def _take(self, granted: _Granted) -> None:
        self._token = granted.access_token
        self._granted = None if granted.scope is None else frozenset(granted.scope.split())
        lifetime = _LIFETIME if granted.expires_in is None else granted.expires_in
        self._good_until = self._clock() + lifetime - min(_MARGIN, lifetime / 2)

    async def renew(self) -> bool:
        """Forget the token; there is always another."""
        self._good_until = float("-inf")
        return True

    async def _fetch(self, client: httpx.AsyncClient) -> _Granted:
        form = {**self._form, "scope": " ".join([f"as_account-{self.account}", *sorted(self._wanted | self._hoped)])}
        try:
            response = await self._ask(client, form)
        except httpx.RequestError as problem:
            self._silence, self._silences = partial(_silent, problem, self._url), self._silences + 1
            raise self._silence() from None
        if response.is_success:
            with suppress(msgspec.DecodeError):
                granted = read_json(_GRANTED.decode, response.content.removeprefix(BOM_UTF8))
                if _SENDABLE.fullmatch(granted.access_token):
                    return granted
        refusal = _refused(response, self._url)
        if refusal.code == "invalid_scope" and self._hoped - self._wanted:
            self._hoped = frozenset()
            return await self._fetch(client)
        wait = refusal.retry_after
        lasts = float("inf") if response.status_code in _FOR_GOOD else float(wait) if wait.isdecimal() else 0.0
        self._refusal, self._refused_until = partial(_refused, response, self._url), self._clock() + lasts
        raise refusal

    async def _ask(self, client: httpx.AsyncClient, form: Mapping[str, str]) -> httpx.Response:
        """The login's answer, on a connection of its own: proxies and certificates are as its own host wants them."""
        own = {"user-agent": client.headers.get("user-agent", "pdsync")}
        lanes = open_lanes(self._url, own, _PATIENCE)
        try:
            async with lanes.one() as login:
                return await login.client.post(self._url, data=form)
        finally:
            await lanes.close()


def _silent(problem: httpx.RequestError, url: str) -> Unreachable:
    parts, advice, proxy = urlsplit(url), in_vain(problem), proxy_for(url)
    way = f" by way of the proxy {proxy}" if proxy else ""
    what = error(
        "PD301",
        "PagerDuty's login cannot be reached",
        detail=f"POST {parts.path} at {_host(url)}{way}: {why_silent(problem)}",
        hint=advice or "check PAGERDUTY_OAUTH_URL and the network",
    )
    return Unreachable(what, what="PagerDuty's login", sent=False, hopeless=bool(advice))


def _refused(response: httpx.Response, url: str) -> LoginRefused:
    told = read_complaint(response.content)
    # Why is one word under `error`; what may be said beside it is optional (RFC 6749, 5.2).
    word = told.code or (told.message if _WORD.fullmatch(told.message) else "")
    diagnostic = error(
        "PD302",
        f"PagerDuty's login answered {response.status_code}",
        detail=word or pointed_to(response.status_code, response.headers) or "without a token",
        hint=_what_to_do(response.status_code, word, url),
    )
    path = urlsplit(url).path
    refusal = LoginRefused(diagnostic, status=response.status_code, method="POST", path=path, code=word)
    refusal.retry_after = response.headers.get("retry-after", "")
    return refusal


def _what_to_do(status: int, word: str, url: str) -> str:
    if status == httpx.codes.TOO_MANY_REQUESTS or status >= httpx.codes.INTERNAL_SERVER_ERROR:
        return "try again later"
    if word or status in {httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN}:
        return f"{_CHECK_APP}, and that PAGERDUTY_API_URL is the API of its region"
    return f"check PAGERDUTY_OAUTH_URL: what answers at {_host(url)}{urlsplit(url).path} is no login"


def _host(url: str) -> str:
    """Host and port, without the user and password that may stand before them."""
    return urlsplit(url).netloc.rpartition("@")[2]


def make_auth(
    base_url: str,
    *,
    token: str | None = None,
    client_id: str | None = None,
    client_secret: str | None = None,
    subdomain: str | None = None,
    token_url: str | None = None,
) -> Auth:
    """Credentials from whatever there is; an app, which can do less, goes before a token.

    Raises:
        UsageError: there are none, or they are none, or an app's are not complete, or could not be sent safely.
    """
    if client_id and client_secret and subdomain:
        account, login = account_of(base_url, subdomain), login_of(base_url, token_url)
        return ClientCredentials(client_id, client_secret, account, token_url=login)
    if token:
        return token_auth(token.strip())
    given = {"client id": client_id, "client secret": client_secret, "subdomain": subdomain}
    missing = [name for name, value in given.items() if not value]
    raise UsageError(
        error(
            "PD304",
            "there are no credentials for PagerDuty",
            detail="" if len(missing) == len(given) else f"{' and '.join(missing)} missing",
            hint="set PAGERDUTY_TOKEN, or PAGERDUTY_CLIENT_ID, PAGERDUTY_CLIENT_SECRET and PAGERDUTY_SUBDOMAIN",
        )
    )
