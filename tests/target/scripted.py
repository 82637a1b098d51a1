"""A Port that answers as it was told to: for answers that a well-behaved one never gives."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pdsync.model import Json


class Request(NamedTuple):
    """A request as it arrived; `path` is still encoded and includes the query string."""

    method: str
    path: str
    body: Json
    headers: dict[str, str]


class Answer(NamedTuple):
    """What to answer; bytes are sent as they are."""

    status: int
    body: Json | bytes = None
    location: str = ""


class ScriptedPort:
    """Answers by a function, except that it gives a token to everybody.

    Args:
        script: from request to answer; an int is a status with an empty JSON object.
        tokens: seconds that the tokens given out last, in turn (the last for ever after).
    """

    def __init__(self, script: Callable[[Request], Answer], tokens: tuple[float, ...] = (10800,)) -> None:
        self.script = script
        self.tokens = list(tokens)
        self.requests: list[Request] = []
        self.url = ""
        self.token: Answer | None = None
        self._lock = threading.Lock()

    def answer(self, request: Request) -> Answer:
        with self._lock:
            self.requests.append(request)
            if request.path != "/v1/auth/access_token":
                return self.script(request)
            if self.token:
                return self.token
            seconds = self.tokens.pop(0) if len(self.tokens) > 1 else self.tokens[0]
            given = len(self.sent("POST", "/v1/auth/access_token"))
            return Answer(200, {"ok": True, "accessToken": f"token-{given}", "expiresIn": seconds})

    def sent(self, method: str, start: str = "") -> list[Request]:
        """The requests of a method to paths that start so."""
        return [r for r in self.requests if r.method == method and r.path.startswith(start)]


@contextmanager
def scripted_port(script: Callable[[Request], Answer], tokens: tuple[float, ...] = (10800,)) -> Iterator[ScriptedPort]:
    """A scripted Port on a free port of this machine."""
    port = ScriptedPort(script, tokens)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            raw = self.rfile.read(int(self.headers.get("content-length") or 0))
            body = json.loads(raw) if raw else None
            answer = port.answer(Request(self.command, self.path, body, dict(self.headers)))
            content = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body or {}).encode()
            self.send_response(answer.status)
            self.send_header("content-length", str(len(content)))
            self.send_header("x-trace-id", "trace-1")
            if answer.location:
                self.send_header("location", answer.location)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
        setattr(Handler, f"do_{method}", Handler.handle_any)

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 64

    server = Server(("127.0.0.1", 0), Handler)
    port.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
