"""What went wrong with a request, as an error that people can act upon; no secret is in it."""

from __future__ import annotations

from datetime import UTC, datetime
from http import HTTPStatus
from types import MappingProxyType
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pdsync.errors import Interrupted, error
from pdsync.transport.connecting import PROXY_ASKS
from pdsync.transport.pacing import area
from pdsync.transport.problems import ApiError, Complaint, Spent, Unreachable, read_complaint
from pdsync.transport.proxies import proxy_for

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pdsync.transport.exchange import Call, Reply

_TRACE_HEADERS = ("x-request-id", "x-trace-id", "x-amzn-trace-id", "cf-ray")
_LEADS_ON = (301, 302, 303, 307, 308)
_ELSEWHERE = "check that the base URL is that of the API itself: credentials are not sent on to where an answer points"
_HINTS: Mapping[int, str] = MappingProxyType(
    {
        **dict.fromkeys(_LEADS_ON, _ELSEWHERE),
        401: "check the credentials, and that the base URL is that of their region",
        402: "the account's plan does not include this",
        403: "give the credentials the permission or scope for this",
        404: "it is not there, or these credentials may not see it",
        407: PROXY_ASKS,
        429: "try again later, or ask for a higher limit",
    }
)


class Wording:
    """Errors of one API.

    Args:
        name: what it is called.
        base_url: where it is.
        codes: prefix of the codes of diagnostics.
        hints: what to do about a status, where it is known better than here.
    """

    def __init__(self, name: str, base_url: str, codes: str, hints: Mapping[int, str]) -> None:
        self._name = name
        self._base_url = base_url
        self._codes = codes
        self._hints = {**_HINTS, **hints}

    def interrupted(self) -> Interrupted:
        """What was to be sent is not, as the client was stopped."""
        return Interrupted(error(f"{self._codes}9", "stopped", detail=f"no more requests are sent to {self._name}"))

    def unreachable(self, call: Call, what: str, *, sent: bool, advice: str = "") -> Unreachable:
        """`advice`: what to do, where trying again is of no use."""
        host, proxy = urlsplit(self._base_url).netloc.rpartition("@")[2], proxy_for(self._base_url)
        way = f" by way of the proxy {proxy}" if proxy else ""
        diagnostic = error(
            f"{self._codes}1",
            f"{self._name} did not answer" if sent else f"{self._name} cannot be reached",
            detail=f"{call.method} {call.path} at {host}{way}: {what}",
            hint=advice or f"check base URL and network{', and what HTTPS_PROXY says' if proxy else ''}",
        )
        return Unreachable(diagnostic, what=f"{call.method} {call.path}", sent=sent, hopeless=bool(advice))

    def used_up(self, call: Call, again: float | None) -> Spent:
        """Nothing is left of a daily budget, until the moment `again` (epoch seconds) if that is known."""
        diagnostic = error(
            "PD307",
            f"the daily quota of {self._name} is used up",
            detail=f"nothing under {area(call.path)} is asked for any more{_until(again)}",
            hint="what is known of today is read from the last snapshot; ask for less, or for a larger quota",
        )
        return Spent(diagnostic, status=int(HTTPStatus.TOO_MANY_REQUESTS), method=call.method, path=call.path)

    def no_room(self, call: Call, wait: float) -> Spent:
        """There is no turn for a request, as `wait` says, for longer than is waited."""
        says = f"it says that the next request has to wait {wait:.0f} s"
        diagnostic = error(
            f"{self._codes}0",
            f"the rate limit of {self._name} leaves no room",
            detail=f"{call.method} {call.path}: {says}",
            hint="try again later; if it never has such limits, something on the way answers in its place",
        )
        status = int(HTTPStatus.TOO_MANY_REQUESTS)
        return Spent(diagnostic, status=status, method=call.method, path=call.path, message=says)

    def api_error(self, call: Call, reply: Reply) -> ApiError:
        """The server answered this, which is not what was asked for."""
        told = read_complaint(reply.content)
        message = _without(told.message, call.credentials) or pointed_to(reply.status, reply.headers)
        trace_id = next((reply.headers[name] for name in _TRACE_HEADERS if name in reply.headers), "")
        about = [f"{call.method} {call.path}", message or _phrase(reply.status)]
        about += [f"code {told.code}"] if told.code else []
        about += [f"trace {trace_id}"] if trace_id else []
        diagnostic = error(
            f"{self._codes}0",
            f"{self._name} answered {reply.status}",
            detail=", ".join(about),
            hint=self._hint(reply.status, told),
        )
        return ApiError(
            diagnostic,
            status=reply.status,
            method=call.method,
            path=call.path,
            code=told.code,
            message=message,
            trace_id=trace_id,
            details=told.details,
        )

    def _hint(self, status: int, told: Complaint) -> str:
        if status == HTTPStatus.NOT_FOUND and told == Complaint():
            return f"check the base URL: {self._name} would say what is not found, what answers there does not"
        return self._hints.get(status, "")


def _until(again: float | None) -> str:
    """Until when, in words; empty where that is not known, or no moment that there can be."""
    try:
        return "" if again is None else datetime.fromtimestamp(again, UTC).strftime(", until %Y-%m-%d %H:%M UTC")
    except (ValueError, OverflowError, OSError):
        return ""


def pointed_to(status: int, headers: Mapping[str, str]) -> str:
    """Where an answer leads to, in words; server and path alone, as the rest of an address may hold secrets."""
    if status not in _LEADS_ON:
        return ""
    try:
        to = urlsplit(headers.get("location", ""))
    except ValueError:
        return ""
    host = to.netloc.rpartition("@")[2]
    where = f"{to.scheme}://{host}{to.path}" if to.scheme and host else to.path
    return f"it points to {where}" if where else ""


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "no message"


def _without(text: str, secrets: Mapping[str, str]) -> str:
    """`text` with every value of `secrets`, and every longer word of one, blotted out."""
    words = {word for value in secrets.values() for word in (value, *value.replace("=", " ").split())}
    for word in sorted(words, key=len, reverse=True):
        if len(word) >= 8:  # noqa: PLR2004
            text = text.replace(word, "[secret]")
    return text
