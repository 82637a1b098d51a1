"""By way of which proxy a server is asked: the environment names it, and only one that a URL needs has to be usable.

An HTTP client that looks by itself wants to use all there are: `ALL_PROXY=socks://…`, as desktops set it, would keep it
from starting although `HTTPS_PROXY` is what leads to the server.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from pdsync.errors import UsageError, error
from pdsync.web import httpx

if TYPE_CHECKING:
    from urllib.parse import SplitResult

_PORTS = {"http": "80", "https": "443"}


def is_loopback(host: str) -> bool:
    """Whether a host is this very machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def named_proxy(url: str) -> str | None:
    """The proxy for a URL, with user and password if it has any; None where requests go straight.

    It is never asked for this very machine.  Raises `UsageError` if it cannot be used.
    """
    found = _named(url)
    if found and not _is_usable(found):
        scheme = urlsplit(url).scheme.upper()
        raise UsageError(
            error(
                "PD313",
                "the proxy that the environment names cannot be used",
                detail=f"{scheme}_PROXY or ALL_PROXY says {_shown(found)}",
                hint=f"{scheme}_PROXY=http://USER:PASSWORD@HOST:PORT; only http and https lead to a proxy",
            )
        )
    return found or None


def proxy_for(url: str) -> str:
    """The host and port of the proxy for a URL; empty where requests go straight."""
    return _named(url).partition("://")[2].rpartition("@")[2].partition("/")[0]


def _named(url: str) -> str:
    parts = urlsplit(url)
    named = getproxies()
    if is_loopback(parts.hostname or "") or _goes_straight(parts, named.get("no", "")):
        return ""
    found = (named.get(parts.scheme) or named.get("all") or "").strip()
    return found if "://" in found or not found else f"http://{found}"


def _goes_straight(parts: SplitResult, left_out: str) -> bool:
    """Whether a host is one of those that are reached without a proxy: by its name, or that of a domain above it.

    As HTTP clients have it, one that is left out with a scheme is so for that scheme, or for all: `https://api.test`.
    """
    host = parts.netloc.rpartition("@")[2]
    host = host if host.rpartition(":")[2].isdigit() else f"{host}:{_PORTS.get(parts.scheme, '')}"
    entries = (entry.strip().lower().partition("://") for entry in left_out.split(","))
    names = [name.partition("/")[0] for scheme, mark, name in entries if mark and scheme in {parts.scheme, "all"}]
    domains = {"." + name.lstrip("*.") for name in names} - {"."}
    own = any(f".{name}".lower().endswith(domain) for name in (parts.hostname, host) for domain in domains)
    return "*" in names or own or bool(proxy_bypass(host))


def _shown(proxy: str) -> str:
    """As much of a proxy's address as surely is no password: what stands behind a colon may be one."""
    scheme = proxy.partition("://")[0].lower()
    try:
        parts = urlsplit(proxy)
        port = f":{parts.port}" if parts.port is not None else ""
    except ValueError:
        return f"{scheme}://..."
    return f"{scheme}://{parts.hostname or ''}{port}"


def _is_usable(proxy: str) -> bool:
    try:
        parts = urlsplit(proxy)
        httpx.Proxy(proxy)
        return parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except (ValueError, httpx.InvalidURL):
        return False
