"""State on a web server: GET, PUT and DELETE of one URL for each object, with conditions on its ETag (RFC 9110, 13.1).

    https://state.example.com/pdsync/production

The server must give strong ETags and honour If-Match and If-None-Match on PUT; one that does not is found out and
refused (`RemoteBackend`).  Credentials, if it asks for any, come from the environment:
`PDSYNC_STATE_HTTP_TOKEN` (Bearer), or `PDSYNC_STATE_HTTP_USER` and `PDSYNC_STATE_HTTP_PASSWORD` (Basic).
"""

from __future__ import annotations

import base64
import re
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from pdsync.errors import StateError, UsageError, error
from pdsync.render.escape import visible
from pdsync.state.backends import Stored
from pdsync.state.backends.patience import NoAnswer
from pdsync.state.backends.remote import Conflict, Seen, is_page, page_in_place
from pdsync.transport import check_url, in_words, named_proxy
from pdsync.trust import is_untrusted, trusted_certificates
from pdsync.web import httpx

if TYPE_CHECKING:
    from collections.abc import Mapping

BEARER, USER, BASIC = "PDSYNC_STATE_HTTP_TOKEN", "PDSYNC_STATE_HTTP_USER", "PDSYNC_STATE_HTTP_PASSWORD"
TIMEOUT = httpx.Timeout(60.0, connect=5.0)
"""Seconds without a byte, and until there is a connection."""

_SENDABLE = re.compile("[ -~]+")
_WRITTEN = frozenset({200, 201, 204})
_MISSING = frozenset({404, 410})
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504, 520, 521, 522, 523, 524, 527, 529})
_HINTS = {
    401: f"Set {BEARER}, or {USER} and {BASIC}.",
    403: "The credentials must be allowed to GET, PUT and DELETE below this URL.",
    404: "The folder must exist on the server.",
    405: "The server must allow GET, PUT and DELETE below this URL.",
    409: "The folder must exist on the server.",
    413: "The server must accept larger bodies.",
}


def parse_http_url(url: str) -> str:
    """The URL, without a slash at its end.  Raises `UsageError` for one that is not encrypted or holds more."""
    check_url(url, "the state", codes="PD55")
    parts = urlsplit(url)
    if parts.username or parts.password or parts.query or parts.fragment:
        detail = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
        hint = f"Write the URL alone; credentials come from {BEARER}, or {USER} and {BASIC}."
        raise UsageError(error("PD552", "a state URL holds no credentials and no query", detail=detail, hint=hint))
    return url.rstrip("/")


class HttpBucket:
    """A `pdsync.state.backends.remote.Bucket` below one URL; `environment` holds the credentials."""

    stale_version = '"00000000000000000000000000000000"'

    def __init__(self, url: str, environment: Mapping[str, str]) -> None:
        self._url = url
        self._http = httpx.Client(
            headers={"accept-encoding": "identity", **_credentials(environment)},
            timeout=TIMEOUT,
            limits=httpx.Limits(max_keepalive_connections=0),
            trust_env=False,
            proxy=named_proxy(url),
            verify=trusted_certificates() if url.startswith("https:") else False,
        )

    def get(self, name: str) -> Stored | None:
        """See `Bucket.get`."""
        status, headers, content = self._send("GET", name)
        if status in _MISSING:
            return None
        if status != HTTPStatus.OK:
            raise self._refused("GET", name, status)
        if is_page(content):
            raise page_in_place(f"{self._url}/{name}", visible(headers.get("content-type", "")))
        return Stored(content, self._etag(name, headers))

    def look(self, name: str) -> Seen | None:
        """See `Bucket.look`; what has no length, or may be a login page, is asked for whole."""
        status, headers, _ = self._send("HEAD", name)
        if status in _MISSING:
            return None
        if status != HTTPStatus.OK:
            raise self._refused("HEAD", name, status)
        length = headers.get("content-length", "")
        if not length.isdigit() or "html" in headers.get("content-type", ""):
            held = self.get(name)
            return Seen(held.version, len(held.data)) if held else None
        return Seen(self._etag(name, headers), int(length))

    def put(self, name: str, data: bytes, expected: str | None) -> str:
        """See `Bucket.put`."""
        condition = {"if-none-match": "*"} if expected is None else {"if-match": expected}
        typed = {"content-type": "application/octet-stream", **condition}
        status, headers, said = self._send("PUT", name, data, typed)
        gone = status in _MISSING and expected is not None and self.get(name) is None
        if status == HTTPStatus.PRECONDITION_FAILED or gone:
            raise Conflict
        if status not in _WRITTEN:
            raise self._refused("PUT", name, status)
        if is_page(said):  # some servers say so that they have done it, and every login page
            return self._version_behind(name, data, headers)
        return self._etag(name, headers) if "etag" in headers else self._version_of(name, data)

    def keeps_older(self, _name: str) -> bool | None:
        """See `Bucket.keeps_older`: a web server does not tell."""
        return None

    def remove(self, name: str, expected: str) -> None:
        """See `Bucket.remove`."""
        status, _, _ = self._send("DELETE", name, headers={"if-match": expected})
        if status == HTTPStatus.PRECONDITION_FAILED:
            raise Conflict
        if status not in _WRITTEN | _MISSING | {202}:
            raise self._refused("DELETE", name, status)

    def _send(
        self, method: str, name: str, content: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, httpx.Headers, bytes]:
        """One request; the body is taken as it is kept, whatever the server says of its encoding."""
        try:
            with self._http.stream(method, f"{self._url}/{quote(name)}", content=content, headers=headers) as answer:
                status, told, body = answer.status_code, answer.headers, b"".join(answer.iter_raw())
        except httpx.RequestError as problem:
            if is_untrusted(problem):
                raise self._unreachable(in_words(problem)) from None
            raise NoAnswer(in_words(problem)) from None
        if status in _PASSING:
            raise NoAnswer(f"HTTP {status}", _seconds(told.get("retry-after", "")))
        return status, told, body

    def _version_of(self, name: str, data: bytes) -> str:
        """The ETag of what was just written, when the answer to the write did not hold it."""
        held = self.get(name)
        if held is None or held.data != data:
            raise Conflict
        return held.version

    def _version_behind(self, name: str, data: bytes, headers: httpx.Headers) -> str:
        """The ETag of what was just written, if it was: a page came as the answer, whose own ETag says nothing."""
        held = self.get(name)
        if held is None or held.data != data:
            raise page_in_place(f"PUT {self._url}/{name}", visible(headers.get("content-type", "")))
        return held.version

    def _etag(self, name: str, headers: httpx.Headers) -> str:
        etag: str = headers.get("etag", "")
        if not etag or etag.startswith("W/"):
            detail = f"{self._url}/{name} has {f'the weak ETag {etag}' if etag else 'none'}"
            hint = "Keep the state where every object has a strong ETag."
            raise StateError(error("PD551", "this server gives no usable ETags", detail=detail, hint=hint))
        return etag

    def _refused(self, method: str, name: str, status: int) -> StateError:
        detail = f"{method} {self._url}/{name}: HTTP {status}"
        redirects = httpx.codes.is_redirect(status)
        elsewhere = "Write the URL that it leads to; if that is a login page, set the credentials."
        other = elsewhere if redirects else "Check the URL and what its server allows."
        hint = _HINTS.get(status, other)
        return StateError(error("PD554", "the state's server refused", detail=detail, hint=hint))

    def _unreachable(self, why: str) -> StateError:
        hint = "Set SSL_CERT_FILE to the certificates of your server or proxy."
        return StateError(
            error("PD550", "the state's server cannot be trusted", detail=f"{self._url}: {why}", hint=hint)
        )


def _credentials(environment: Mapping[str, str]) -> dict[str, str]:
    """The header with them, without the end of a line that was pasted along.  Raises `UsageError`."""
    token, user, password = (environment.get(name, "").strip() for name in (BEARER, USER, BASIC))
    if token:
        if not _SENDABLE.fullmatch(token):
            detail = f"{BEARER} has line breaks or letters that no token has"
            raise UsageError(error("PD557", "this is no token", detail=detail, hint="paste the token alone"))
        return {"authorization": f"Bearer {token}"}
    if user or password:
        return {"authorization": f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"}
    return {}


def _seconds(text: str) -> float:
    """A Retry-After in seconds; a date is not worth waiting for exactly."""
    return float(text) if text.isdigit() else 0.0
