"""What stands between the network and the sandbox's two APIs: a log of requests, and faults on demand.

A `Fault` says which requests it hits, how often, and what goes wrong; `EFFECTS` is the table of what can go wrong.
A lost connection *after* the work was done is the case that matters most to a client: it cannot know.
"""

from __future__ import annotations

import asyncio
import re
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import orjson
from starlette.types import ASGIApp, Receive, Scope, Send

from pdsync.model import Json

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.types import Message

# --- log -------------------------------------------------------------------------------------------------------

_PORT_READS = re.compile(r"GET .*|POST /v1/(auth/access_token|entities/(search|aggregate)|.*/entities/search)")


class Request(NamedTuple):
    """One request as it came in: raw path, raw query, status (0: no answer was sent), epoch seconds, body."""

    api: str
    method: str
    path: str
    query: str
    status: int
    at: float
    body: str = ""


class RequestLog:
    """All requests in the order in which they were answered; safe to use from several threads.

    A request is in the log before its answer is on its way, so who has the answer finds the request.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: list[Request] = []

    def add(self, request: Request) -> None:
        """Append one request."""
        with self._lock:
            self._requests.append(request)

    def clear(self) -> None:
        """Forget all requests."""
        with self._lock:
            self._requests.clear()

    def all(self, api: str = "") -> list[Request]:
        """All requests so far, or those to one API."""
        with self._lock:
            return [request for request in self._requests if api in ("", request.api)]

    def port_writes(self) -> list[Request]:
        """Requests to Port that are not reads (a search is a read, though it is a POST)."""
        return [
            request for request in self.all("port") if _PORT_READS.fullmatch(f"{request.method} {request.path}") is None
        ]

    def __iter__(self) -> Iterator[Request]:
        return iter(self.all())

    def __len__(self) -> int:
        with self._lock:
            return len(self._requests)


# --- faults ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that goes wrong.

    Attributes:
        effect: `answer` (with `status`, `headers`, `body`), `delay` (by `seconds`), `drop` (the connection),
            `truncate` (half of the JSON, well framed), `cut` (half of the JSON, then the connection is lost).
        when: whether `answer`, `delay` and `drop` strike before the request takes effect, or after it did.
        api: `pagerduty`, `port`, or empty for both.
        method: the method, or empty for all.
        path: a regular expression that is searched in the path; empty fits all.
        skip: how many fitting requests pass first.
        count: how many requests are hit then; None for all.
        body: JSON; None is the error body of neither API but an empty object.
    """

    effect: Literal["answer", "delay", "drop", "truncate", "cut"]
    when: Literal["before", "after"] = "before"
    api: Literal["", "pagerduty", "port"] = ""
    method: str = ""
    path: str = ""
    skip: int = 0
    count: int | None = 1
    status: int = 500
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Json = None
    seconds: float = 0.0


def rate_limited(retry_after: float = 1, **which: Any) -> Fault:
    """A 429 that says how many seconds to wait; `which` are the fields that choose the requests."""
    body = {"ok": False, "error": "too_many_requests", "message": "Rate limit exceeded"}
    return Fault("answer", status=429, headers={"Retry-After": f"{retry_after:g}"}, body=body, **which)


class Faults:
    """The faults that are set; the first one that fits a request strikes.  Safe to use from several threads.

    `struck` is called, on the thread of the server, at the very moment: before the request takes effect or after it
    did, and before anything of an answer is sent.
    """

    def __init__(self) -> None:
        self.struck: Callable[[Fault], None] = lambda _: None
        self._lock = threading.Lock()
        self._set: list[tuple[Fault, re.Pattern[str]]] = []
        self._seen: list[int] = []

    def add(self, *faults: Fault) -> None:
        """Set faults, behind those that are set.  Raises `ValueError` for a path that is no regular expression."""
        with self._lock:
            for fault in faults:
                try:
                    self._set.append((fault, re.compile(fault.path)))
                except re.error as reason:
                    raise ValueError(f"path {fault.path!r} is no regular expression: {reason}") from reason
                self._seen.append(0)

    def clear(self) -> None:
        """Take all faults away."""
        with self._lock:
            self._set.clear()
            self._seen.clear()

    def all(self) -> list[Fault]:
        """The faults that are set, spent ones too."""
        with self._lock:
            return [fault for fault, _ in self._set]

    def take(self, api: str, method: str, path: str) -> Fault | None:
        """The fault that strikes this request, if any; counts."""
        with self._lock:
            for number, (fault, pattern) in enumerate(self._set):
                if fault.api not in ("", api) or fault.method.upper() not in ("", method) or not pattern.search(path):
                    continue
                self._seen[number] += 1
                nth = self._seen[number] - fault.skip
                if nth >= 1 and (fault.count is None or nth <= fault.count):
                    return fault
            return None


@dataclass(slots=True)
class Exchange:
    """One request on its way to an app and the answer on its way back; `record` notes the status, once.

    `struck` is to be told once the request has taken effect, or been taken off the wire without any.
    """

    app: ASGIApp
    scope: Scope
    receive: Receive
    connection: Send
    record: Callable[[int], None]
    struck: Callable[[], None] = lambda: None

    async def send(self, message: Message) -> None:
        """Pass a part of the answer on."""
        if message["type"] == "http.response.start":
            self.record(message["status"])
        await self.connection(message)

    async def run(self) -> None:
        """Let it pass."""
        await self.app(self.scope, self.receive, self.send)

    async def held(self) -> tuple[Message, bytes]:
        """Let the request take effect, and keep the answer: its start and its body."""
        messages: list[Message] = []

        async def keep(message: Message) -> None:
            messages.append(message)

        await self.app(self.scope, self.receive, keep)
        self.struck()
        return messages[0], b"".join(message.get("body", b"") for message in messages[1:])

    async def swallow(self) -> None:
        """Take the request's body off the wire."""
        while (await self.receive()).get("more_body", False):
            pass
        self.struck()

    async def answer(self, start: Message, body: bytes) -> None:
        """Send an answer."""
        await self.send(start)
        await self.send({"type": "http.response.body", "body": body})

    @property
    def transport(self) -> Any:
        """The connection: uvicorn's `send` is a method of the object that holds it, ASGI offers no other way."""
        return self.connection.__self__.transport  # type: ignore[attr-defined]


def _start(status: int, length: int, headers: Mapping[str, str]) -> Message:
    fields = {"content-type": "application/json", "content-length": str(length), **headers}
    encoded = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in fields.items()]
    return {"type": "http.response.start", "status": status, "headers": encoded}


def _resized(start: Message, length: int) -> Message:
    kept = [(name, value) for name, value in start["headers"] if name.lower() != b"content-length"]
    return {**start, "headers": [*kept, (b"content-length", str(length).encode())]}


async def _answer(fault: Fault, exchange: Exchange) -> None:
    await (exchange.held() if fault.when == "after" else exchange.swallow())
    body = orjson.dumps({} if fault.body is None else fault.body)
    await exchange.answer(_start(fault.status, len(body), fault.headers), body)


async def _delay(fault: Fault, exchange: Exchange) -> None:
    if fault.when == "before":
        await asyncio.sleep(fault.seconds)
    start, body = await exchange.held()
    if fault.when == "after":
        await asyncio.sleep(fault.seconds)
    await exchange.answer(start, body)


async def _drop(fault: Fault, exchange: Exchange) -> None:
    await (exchange.held() if fault.when == "after" else exchange.swallow())
    exchange.record(0)
    exchange.transport.abort()
    # One turn of the loop, in which the server learns that the connection is gone and expects no answer.
    await asyncio.sleep(0)


async def _truncate(_fault: Fault, exchange: Exchange) -> None:
    start, body = await exchange.held()
    half = body[: len(body) // 2]
    await exchange.answer(_resized(start, len(half)), half)


async def _cut(_fault: Fault, exchange: Exchange) -> None:
    start, body = await exchange.held()
    await exchange.send(start)
    await exchange.send({"type": "http.response.body", "body": body[: len(body) // 2], "more_body": True})
    exchange.transport.close()
    await asyncio.sleep(0)


EFFECTS: Mapping[str, Callable[[Fault, Exchange], Awaitable[None]]] = {
    "answer": _answer,
    "delay": _delay,
    "drop": _drop,
    "truncate": _truncate,
    "cut": _cut,
}
"""What each effect does with an exchange."""


# --- both around an app ----------------------------------------------------------------------------------------


def observed(app: ASGIApp, api: str, log: RequestLog, faults: Faults) -> ASGIApp:
    """The app with its requests logged and faults applied; `api` is its name in both."""

    async def watch(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        path = (scope.get("raw_path") or scope["path"].encode()).decode("latin-1")
        method, at = scope["method"], time.time()
        query = scope["query_string"].decode("latin-1")
        recorded = False
        body = bytearray()

        async def received() -> Message:
            message = await receive()
            body.extend(message.get("body", b""))
            return message

        def record(status: int) -> None:
            nonlocal recorded
            if not recorded:
                recorded = True
                log.add(Request(api, method, path, query, status, at, body.decode(errors="replace")))

        fault = faults.take(api, method, path)
        exchange = Exchange(app, scope, received, send, record)
        if fault is not None:
            exchange.struck = partial(faults.struck, fault)
        try:
            await (exchange.run() if fault is None else EFFECTS[fault.effect](fault, exchange))
        finally:
            record(0)

    return watch
