"""Both APIs on loopback: `Sandbox` runs them in a background thread, `serve_forever` until a signal comes.

Beside PagerDuty's own routes its port has control routes under `/_sandbox`:

    GET    /_sandbox            what there is: addresses, sizes, counts
    POST   /_sandbox/world      a command for `World.mutate`
    POST   /_sandbox/port       {"op": "put_entity", "blueprint", "entity"}
                                {"op": "delete_entity", "blueprint", "identifier", "delete_dependents"?}
    GET    /_sandbox/requests   the request log; DELETE empties it
    GET    /_sandbox/faults     the faults that are set; POST adds one (fields of `Fault`); DELETE takes all away
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import threading
from typing import TYPE_CHECKING, Any

import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

from pdsync.sandbox.http import Fault, Faults, RequestLog, observed
from pdsync.sandbox.pagerduty import pagerduty_app
from pdsync.sandbox.port import PortRefusal, PortStore, port_app
from pdsync.sandbox.serving import Server
from pdsync.sandbox.world import World

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from types import FrameType, TracebackType
    from typing import Self

    from starlette.requests import Request
    from starlette.types import ASGIApp, Receive, Scope, Send

    from pdsync.model import Json
    from pdsync.sandbox.pagerduty_oauth import OAuth

CONTROL = "/_sandbox"

PORT_CLIENT_ID = "sandbox-client-id"
PORT_CLIENT_SECRET = "sandbox-client-secret"  # noqa: S105  (opens nothing but the sandbox)
PAGERDUTY_TOKEN = "sandbox-pagerduty-token"  # noqa: S105

_START_SECONDS = 10.0


class ListenError(OSError):
    """A TCP port cannot be had: it is taken, is not for everybody, or is none."""


class Sandbox:
    """A PagerDuty and a Port on 127.0.0.1, running inside `with`.

    `world` and `port_store` are what they serve (fresh ones if not given) and may be looked at and changed while they
    run; ports of 0 are chosen by the system.  `pagerduty_limit` is requests per minute, `pagerduty_oauth` the app that
    may ask for tokens at `/oauth/token` of PagerDuty; `port_limit`, `port_period` and `latency` are as in `port_app`.
    """

    def __init__(
        self,
        world: World | None = None,
        *,
        port_store: PortStore | None = None,
        pagerduty_port: int = 0,
        port_port: int = 0,
        pagerduty_limit: int = 960,
        pagerduty_oauth: OAuth | None = None,
        port_limit: int | None = None,
        port_period: float = 300.0,
        token_lifetime: float = 3 * 60 * 60.0,
        latency: float = 0.0,
    ) -> None:
        self.world = world if world is not None else World()
        self.store = port_store if port_store is not None else PortStore()
        self.log = RequestLog()
        self.faults = Faults()
        self._ports = (pagerduty_port, port_port)
        pagerduty = pagerduty_app(
            self.world,
            token=PAGERDUTY_TOKEN,
            oauth=pagerduty_oauth,
            limit_per_minute=pagerduty_limit,
            latency=latency,
        )
        port = port_app(
            self.store,
            client_id=PORT_CLIENT_ID,
            client_secret=PORT_CLIENT_SECRET,
            rate_limit=port_limit,
            rate_period=port_period,
            token_lifetime=token_lifetime,
            latency=latency,
        )
        self._apps = (
            _with_control(observed(pagerduty, "pagerduty", self.log, self.faults), control_app(self)),
            observed(port, "port", self.log, self.faults),
        )
        self._sockets: list[socket.socket] = []
        self._servers: list[Server] = []
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    # --- addresses ---

    @property
    def pagerduty_url(self) -> str:
        """PagerDuty's base URL, without a slash at the end."""
        return self._url(0)

    @property
    def port_url(self) -> str:
        """Port's base URL, without a slash at the end."""
        return self._url(1)

    @property
    def control_url(self) -> str:
        """Where the control routes are."""
        return self.pagerduty_url + CONTROL

    def _url(self, number: int) -> str:
        if not self._sockets:
            raise RuntimeError("the sandbox is not running")
        return f"http://127.0.0.1:{self._sockets[number].getsockname()[1]}"

    def env(self) -> dict[str, str]:
        """The environment variables that point pdsync here; their values open nothing else."""
        return {
            "PORT_CLIENT_ID": PORT_CLIENT_ID,
            "PORT_CLIENT_SECRET": PORT_CLIENT_SECRET,
            "PORT_BASE_URL": self.port_url,
            "PAGERDUTY_TOKEN": PAGERDUTY_TOKEN,
            "PAGERDUTY_API_URL": self.pagerduty_url,
        }

    def mutate(self, command: Mapping[str, Json]) -> dict[str, Json]:
        """`World.mutate` on the thread that serves the world.  Raises `ValueError` as that does."""
        if self._loop is None:
            return self.world.mutate(command)

        async def on_the_loop() -> dict[str, Json]:
            return self.world.mutate(command)

        return asyncio.run_coroutine_threadsafe(on_the_loop(), self._loop).result()

    def summary(self) -> dict[str, Json]:
        """Addresses, sizes and counts."""
        with self.store.lock:
            entities = {blueprint: len(held) for blueprint, held in self.store.data.entities.items()}
        return {
            "pagerduty_url": self.pagerduty_url,
            "port_url": self.port_url,
            "world": self.world.summary(),
            "port": {"organization": self.store.organization, "entities": entities},
            "requests": len(self.log),
            "faults": len(self.faults.all()),
        }

    # --- running ---

    def __enter__(self) -> Self:
        """Start; returns when both answer.  Raises `ListenError` when a port cannot be had."""
        with contextlib.ExitStack() as on_failure:
            self._sockets = [on_failure.enter_context(_listening(port)) for port in self._ports]
            on_failure.pop_all()
        self._servers = [Server(_settings(app)) for app in self._apps]
        started = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(started,), name="sandbox", daemon=True)
        self._thread.start()
        if not started.wait(_START_SECONDS):
            raise RuntimeError("the sandbox did not start")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop; returns when nothing runs any more."""
        for server in self._servers:
            server.leave()
        if self._thread is not None:
            self._thread.join()
        for listener in self._sockets:
            listener.close()
        self._sockets, self._servers, self._thread, self._loop = [], [], None, None

    def _run(self, started: threading.Event) -> None:
        asyncio.run(self._serve(started))

    async def _serve(self, started: threading.Event) -> None:
        self._loop = asyncio.get_running_loop()
        running = [
            asyncio.create_task(server.serve(sockets=[listener]))
            for server, listener in zip(self._servers, self._sockets, strict=True)
        ]
        while not all(server.started for server in self._servers):  # noqa: ASYNC110  (uvicorn only sets a flag)
            await asyncio.sleep(0.001)
        started.set()
        await asyncio.gather(*running)


def _listening(port: int) -> socket.socket:
    # The protocol is named because asyncio switches Nagle's algorithm off only then: 40 ms per answer.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen(128)
    except (OSError, OverflowError) as e:
        listener.close()
        raise ListenError(f"TCP port {port}: {getattr(e, 'strerror', None) or e}") from e
    return listener


def _settings(app: ASGIApp) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        lifespan="off",
        loop="asyncio",
        http="h11",
        ws="none",
        log_config=None,
        log_level="critical",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=1,
    )


def _with_control(app: ASGIApp, control: ASGIApp) -> ASGIApp:
    async def choose(scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "")
        chosen = control if path == CONTROL or path.startswith(CONTROL + "/") else app
        await chosen(scope, receive, send)

    return choose


# --- control ---------------------------------------------------------------------------------------------------


def _json(value: Any, status: int = 200) -> Response:
    return Response(msgspec.json.encode(value), status, media_type="application/json")


def _handled(work: Callable[[Json], Any]) -> Callable[[Request], Awaitable[Response]]:
    """An endpoint that gives the request's JSON to `work`, and says in 422 what was wrong with it."""

    async def endpoint(request: Request) -> Response:
        raw = await request.body()
        try:
            return _json(work(msgspec.json.decode(raw) if raw else None))
        except PortRefusal as refusal:
            return _json(refusal.body(), refusal.status)
        except (ValueError, KeyError, TypeError) as reason:
            return _json({"error": str(reason)}, 422)

    return endpoint


def control_app(sandbox: Sandbox) -> Starlette:
    """The control routes; see the module's docstring."""
    routes: list[tuple[str, str, Callable[[Json], Any]]] = [
        ("GET", "", lambda _body: sandbox.summary()),
        ("GET", "/", lambda _body: sandbox.summary()),
        ("POST", "/world", sandbox.world.mutate),
        ("POST", "/port", lambda body: _edit_port(sandbox.store, body)),
        ("GET", "/requests", lambda _body: [request._asdict() for request in sandbox.log.all()]),
        ("DELETE", "/requests", lambda _body: sandbox.log.clear()),
        ("GET", "/faults", lambda _body: sandbox.faults.all()),
        ("POST", "/faults", lambda body: sandbox.faults.add(msgspec.convert(body, Fault))),
        ("DELETE", "/faults", lambda _body: sandbox.faults.clear()),
    ]
    return Starlette(routes=[Route(CONTROL + path, _handled(work), methods=[method]) for method, path, work in routes])


def _edit_port(store: PortStore, command: Mapping[str, Json]) -> Any:
    match command:
        case {"op": "put_entity", "blueprint": str(blueprint), "entity": dict(entity)}:
            return store.put_entity(blueprint, entity)
        case {"op": "delete_entity", "blueprint": str(blueprint), "identifier": str(identifier), **rest}:
            return store.delete_entity(
                blueprint, identifier, delete_dependents=bool(rest.get("delete_dependents", False))
            )
        case _:
            raise ValueError('op is "put_entity" (blueprint, entity) or "delete_entity" (blueprint, identifier)')


def serve_forever(
    sandbox: Sandbox, ready: Callable[[Sandbox], None] = lambda _sandbox: None, stop: threading.Event | None = None
) -> None:
    """Run a sandbox until SIGINT or SIGTERM (or `stop`); `ready` is called once it answers.

    Call it on the main thread: signals are delivered there.
    """
    stop = stop or threading.Event()

    def end(_signal: int, _frame: FrameType | None) -> None:
        stop.set()

    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with sandbox:
            ready(sandbox)
            # A wait without an end cannot be interrupted by a signal on every platform.
            while not stop.wait(0.5):
                pass
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
