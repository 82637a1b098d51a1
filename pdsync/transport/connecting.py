"""The way to a server: which URLs are taken, by way of which proxy, and in plain words why there is none."""

from __future__ import annotations

import re
import socket
import ssl
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urlsplit

from pdsync.errors import UsageError, error
from pdsync.transport.lanes import Lanes
from pdsync.transport.proxies import is_loopback, named_proxy
from pdsync.trust import is_untrusted, links, trusted_certificates, what_to_do, why_untrusted
from pdsync.web import httpx

if TYPE_CHECKING:
    from collections.abc import Mapping

PROXY_ASKS = "the proxy asks who you are: HTTPS_PROXY=http://USER:PASSWORD@HOST:PORT"
_PROXY_FORBIDS = "have the proxy let this host through, or leave it out with NO_PROXY"


def check_url(url: str, name: str, *, allow_plain_http: bool = False, codes: str = "PD30") -> None:
    """Raise `UsageError` unless `url` is https, or plain http to this machine (or asked for by name)."""
    code = f"{codes}3"
    parts = _parts(url)
    if parts is None:
        raise UsageError(error(code, f"the base URL of {name} is no URL", hint="such as https://api.example.com"))
    if parts.scheme == "http" and not allow_plain_http and not is_loopback(parts.hostname or ""):
        summary = f"the base URL of {name} is not encrypted"
        raise UsageError(error(code, summary, detail=f"plain http to {parts.hostname}", hint="use https://"))


def check_base_url(url: str, name: str, codes: str) -> None:
    """Raise `UsageError` where a URL that paths are put behind has more than host and path; plans show such a URL."""
    if urlsplit(url).username is not None:
        hint = "leave out what stands before the @: whoever reads a plan would read it"
        raise UsageError(error(f"{codes}3", f"the base URL of {name} holds credentials", hint=hint))
    if set(url) & set("?#"):
        hint = "leave out what begins with ? or #"
        raise UsageError(error(f"{codes}3", f"the base URL of {name} has more than a host and a path", hint=hint))


def _parts(url: str) -> SplitResult | None:
    """The parts of a URL of a web server; None when it is none."""
    try:
        parts = urlsplit(url)
        whole = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:  # brackets that are not closed, a port that is none
        return None
    return parts if whole and not re.search(r"[\s\x00-\x1f\x7f]", url) else None


def open_lanes(base_url: str, headers: Mapping[str, str], timeout: float) -> Lanes:
    """Connections to a server, by way of the proxy that the environment names.  Raises `UsageError`."""
    parts = urlsplit(base_url)
    verify = trusted_certificates() if parts.scheme == "https" else False
    return Lanes(headers, timeout, verify=verify, proxy=named_proxy(base_url))


_WORDS: tuple[tuple[type[httpx.RequestError], str], ...] = (
    (httpx.ConnectTimeout, "no connection in time"),
    (httpx.ProxyError, "the proxy refused"),
    (httpx.ConnectError, "no connection"),
    (httpx.TimeoutException, "no answer in time"),
    (httpx.DecodingError, "the answer could not be unpacked"),
    (httpx.RemoteProtocolError, "the connection broke off"),
    (httpx.NetworkError, "the connection broke off"),
)

_CAUSES: tuple[tuple[type[OSError], str], ...] = (
    (ssl.SSLError, "it does not speak TLS"),
    (socket.gaierror, "the name of the host is not known"),
    (ConnectionRefusedError, "nothing listens there"),
)


def in_words(problem: httpx.RequestError) -> str:
    """What went wrong, without the library's text: it may quote what was sent."""
    known = (words for kind, words in _WORDS if isinstance(problem, kind))
    told = why_untrusted(problem) or next(known, type(problem).__name__)
    behind = (words for kind, words in _CAUSES for each in links(problem) if isinstance(each, kind))
    why = next(behind, "") if type(problem) is httpx.ConnectError else _proxy_status(problem)
    return f"{told}: {why}" if why and not is_untrusted(problem) else told


def _proxy_status(problem: httpx.RequestError) -> str:
    """The status with which a proxy refused to lead on; empty when it was something else."""
    status = str(problem)[:3] if isinstance(problem, httpx.ProxyError) else ""
    return status if status.isdigit() else ""


def in_vain(problem: httpx.RequestError) -> str:
    """What to do about a problem that trying again does not help; empty for others."""
    if advice := what_to_do(problem):
        return advice
    status = _proxy_status(problem)
    return PROXY_ASKS if status == "407" else _PROXY_FORBIDS if status in {"401", "403"} else ""
