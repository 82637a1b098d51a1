"""Real HTTP servers on loopback for the tests of the transport and of the PagerDuty source."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Awaitable, Callable
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

import uvicorn

from pdsync.sandbox.pagerduty import pagerduty_app
from pdsync.sandbox.serving import Server
from pdsync.sandbox.world import World
from pdsync.transport import Timing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Asgi = Callable[[Any, Any, Any], Awaitable[None]]
TOKEN = "u+sandboxkey00000001"


@dataclass(frozen=True, slots=True)
class Request:
    """A request as it arrived."""

    method: str
    path: str
    params: tuple[tuple[str, str], ...]
    headers: dict[str, str]

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.params if key == name]


@dataclass
class Tape:
    """An application that notes every request; `before` may change the world or answer in its stead."""

    app: Asgi
    requests: list[Request] = field(default_factory=list)
    before: Callable[[Request], Asgi | None] = lambda _: None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        query = tuple(parse_qsl(scope["query_string"].decode(), keep_blank_values=True))
        request = Request(scope["method"], scope["path"], query, headers)
        self.requests.append(request)
        await (self.before(request) or self.app)(scope, receive, send)

    def count(self, path: str) -> int:
        return sum(request.path == path for request in self.requests)


@contextmanager
def serving(app: Asgi, **tls: Path) -> Iterator[str]:
    """The base URL of an application that runs in a thread for the block; `tls` are uvicorn's options for it."""
    listener = socket.create_server(("127.0.0.1", 0))
    # Accepted connections inherit it; asyncio would set it only on sockets with an explicit protocol.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    options: dict[str, Any] = {name: str(path) for name, path in tls.items()}
    config = uvicorn.Config(app, log_config=None, lifespan="off", timeout_graceful_shutdown=1, **options)
    server = Server(config)
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    try:
        yield f"http{'s' if tls else ''}://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.leave()
        thread.join(10)
        listener.close()


EPOCH = 4_000_000_000.0
"""Later than whatever an answer takes the time for."""


class FakeTime:
    """Time that passes only when somebody sleeps; every sleep is noted.

    The clocks are arguments of the client, so this is no patch: what runs is the real client over real HTTP.
    """

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds
        await asyncio.sleep(0)

    def timing(self) -> Timing:
        return Timing(clock=lambda: self.now, wall=lambda: self.now + EPOCH, sleep=self.sleep, jitter=lambda: 0.0)


@dataclass
class Stage:
    """A sandbox PagerDuty over a world, with the tape of what was asked of it."""

    world: World
    tape: Tape
    url: str

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.world.clock, UTC)


@contextmanager
def staging(world: World, limit_per_minute: int = 960) -> Iterator[Stage]:
    tape = Tape(pagerduty_app(world, token=TOKEN, limit_per_minute=limit_per_minute))
    with serving(tape) as url:
        yield Stage(world, tape, url)


@dataclass
class Script:
    """An application that gives one answer after the other, the last one for ever.

    An answer is a status, headers and a body.
    """

    answers: list[tuple[int, dict[str, str], bytes]]

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        status, headers, body = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        raw = [(name.encode(), value.encode()) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": status, "headers": raw})
        await send({"type": "http.response.body", "body": body})


OK = (200, {"content-type": "application/json"}, b'{"fine":true}')


@contextmanager
def dropping(drops: int) -> Iterator[tuple[str, list[bytes]]]:
    """A server that hangs up on the first `drops` requests, half way through its answer; then it answers.

    Yields its URL and the list of what it was sent.
    """
    listener = socket.create_server(("127.0.0.1", 0))
    seen: list[bytes] = []

    def serve() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection:
                    seen.append(connection.recv(65536))
                    whole = b"HTTP/1.1 200 OK\r\ncontent-length: 13\r\nconnection: close\r\n\r\n"
                    connection.sendall(whole + (b'{"fi' if len(seen) <= drops else b'{"fine":true}'))

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", seen
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(10)


@dataclass
class Changed:
    """An application with what is made of the body of each of its answers."""

    app: Asgi
    change: Callable[[bytes], bytes]

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        parts: list[dict[str, Any]] = []

        async def collect(message: dict[str, Any]) -> None:
            parts.append(message)

        await self.app(
            {**scope, "headers": [pair for pair in scope["headers"] if pair[0] != b"accept-encoding"]}, receive, collect
        )
        body = self.change(b"".join(part.get("body", b"") for part in parts))
        kept = [pair for pair in parts[0]["headers"] if pair[0].lower() != b"content-length"]
        await send({**parts[0], "headers": [*kept, (b"content-length", str(len(body)).encode())]})
        await send({"type": "http.response.body", "body": body})


def reworded(app: Asgi, word: bytes, instead: bytes) -> Changed:
    """An application whose answers have another word in the place of one."""
    return Changed(app, lambda body: body.replace(word, instead))
