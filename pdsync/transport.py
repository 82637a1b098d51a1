"""One HTTP client for PagerDuty and Port: credentials, retries, rate limits, and nothing secret in what it says.

    send -> turn (pace by the server's budget) -> gate (how many at once) -> exchange -> accept | retry | ApiError

What is retried: 429 always; 408, 5xx and a broken connection when the request may be repeated; a connection that
never came about always.  401 is tried once more after the credentials were renewed; every other status is final.
All waiting of one `send` together is bounded by the client's `patience`.
"""

from __future__ import annotations

import asyncio
import ipaddress
import random
import socket
import ssl
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from math import isfinite
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple, Protocol, Self
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import httpx
import msgspec

from pdsync.errors import Diagnostic, Interrupted, PdsyncError, UsageError, error
from pdsync.lanes import Lanes
from pdsync.trust import HINT, is_untrusted, links, trusted_certificates, why_untrusted

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection
    from types import TracebackType

    from pdsync.model import Json

ACCEPTED = (200, 201, 202, 204, 207)
_RETRIED = frozenset({408, 500, 502, 503, 504, 520, 521, 522, 523, 524, 525, 527, 529})
_TROUBLE = 500
"""From this status on an answer does not tell what became of the request."""

_EPOCH = 1e9
"""A reset time above this is a point in time (epoch seconds), below a number of seconds to wait."""

_STOP_GRACE = 5.0
"""Seconds that a request in flight gets to finish once the client is stopping."""

_FIRST_CONTACT = 20.0
"""Seconds of patience, of all requests together, with a host that has never answered: most likely its name is wrong."""

_LONGEST_TURN = 900.0
"""Seconds that nobody waits for a turn: budgets are of a minute or five, what tells of more is wrong or lasts."""

_DOUBT = 2.0
"""Seconds after which one request finds out whether a budget is spent that cannot be."""

_FEW_SENT = 25
"""So many requests more or less may be gone of a budget however small it is."""

_REPORTED_WAIT = 2.0
_MESSAGE_LENGTH = 600
_TRACE_HEADERS = ("x-request-id", "x-trace-id", "x-amzn-trace-id", "cf-ray")


@dataclass(frozen=True, slots=True)
class LimitHeaders:
    """Names of the headers that tell the request budget: its size, what is left, when it starts anew.

    `daily` names what is left of a longer budget that is not worth waiting for, and `renewed` when it starts anew: once
    nothing is left of it, nothing is asked for any more of what it is for.
    """

    limit: str
    remaining: str
    reset: str
    daily: str = ""
    renewed: str = ""


PAGERDUTY_LIMITS = LimitHeaders(
    "ratelimit-limit", "ratelimit-remaining", "ratelimit-reset", "daily-ratelimit-remaining", "daily-ratelimit-reset"
)
"""PagerDuty REST API, Rate limits; the daily budget is that of the analytics endpoints."""

PORT_LIMITS = LimitHeaders("x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset")
"""Port API reference, Rate limits."""


class Auth(Protocol):
    """Credentials of a client; an instance may be asked from several tasks at once."""

    async def headers(self, client: httpx.AsyncClient) -> dict[str, str]:
        """The headers that prove who we are; may fetch a token.  Raises `ApiError` or `Unreachable`."""
        ...

    async def renew(self) -> bool:
        """Drop a token that was refused; whether another try may succeed."""
        ...


class FixedHeaders:
    """Credentials that never change: one header with its value."""

    def __init__(self, name: str, value: str) -> None:
        self._headers = {name: value}

    async def headers(self, client: httpx.AsyncClient) -> dict[str, str]:  # noqa: ARG002
        """The header as given."""
        return dict(self._headers)

    async def renew(self) -> bool:
        """Never: there is no other token."""
        return False


@dataclass(frozen=True, slots=True)
class Reply:
    """What a server answered; header names are lower case.  Its repr holds neither headers nor content.

    `seconds` is how long that took since the request was first sent, what it waited for its turn before left out.
    """

    status: int
    headers: Mapping[str, str] = field(repr=False)
    content: bytes = field(repr=False)
    seconds: float = 0.0

    def json(self) -> Json:
        """The content as JSON; an empty one is None.  Raises `ValueError` (msgspec's) for anything else."""
        return msgspec.json.decode(self.content) if self.content else None


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request and its answer, for whoever watches; `status` is 0 when there was no answer."""

    method: str
    path: str
    status: int
    seconds: float
    attempt: int
    size: int


class ApiError(PdsyncError):
    """A server answered, and not as hoped.

    `code` and `message` are the server's own; `details` whatever else its body said about the error; `doubtful`: it had
    more than one try, or trouble, so that what was asked for may have been done all the same.
    """

    doubtful = False

    def __init__(
        self,
        diagnostic: Diagnostic,
        *,
        status: int,
        method: str,
        path: str,
        code: str = "",
        message: str = "",
        trace_id: str = "",
        details: Json = None,
    ) -> None:
        super().__init__(diagnostic)
        self.status = status
        self.method = method
        self.path = path
        self.code = code
        self.message = message
        self.trace_id = trace_id
        self.details = details


class Spent(ApiError):
    """Nothing is left of a longer budget: what would need it is not sent, and was not done."""


class Unreachable(PdsyncError):
    """No answer came.

    `sent` is whether the server may have received, and done, what was asked; `hopeless` whether trying again is
    in vain.
    """

    def __init__(self, diagnostic: Diagnostic, *, sent: bool, hopeless: bool = False) -> None:
        super().__init__(diagnostic)
        self.sent = sent
        self.hopeless = hopeless


@dataclass(frozen=True, slots=True)
class Timing:
    """Where time and chance come from: a steady clock, the wall clock, sleep (seconds), jitter in [0, 1)."""

    clock: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    jitter: Callable[[], float] = random.SystemRandom().random


# --- error bodies ----------------------------------------------------------------------------------------------


class Complaint(NamedTuple):
    """What an error body says."""

    code: str = ""
    message: str = ""
    details: Json = None


def read_complaint(content: bytes) -> Complaint:
    """The error in a body of PagerDuty, Port or an OAuth server; empty when the body is none of these.

    PagerDuty: `{"error": {"message", "code", "errors"}}`, `error` may be a text and `errors` an object (PagerDuty
    REST API, Errors).  Port: `{"ok": false, "error", "message", "details"}` (Port API reference).
    """
    try:
        body = msgspec.json.decode(content)
    except ValueError:
        return Complaint()
    if not isinstance(body, dict):
        return Complaint()
    inner = body.get("error")
    if isinstance(inner, dict):
        message = ": ".join(part for part in (_text(inner.get("message")), _list_errors(inner.get("errors"))) if part)
        return Complaint(_text(inner.get("code")), _shorten(message), inner.get("errors"))
    message = _text(body.get("message")) or _text(body.get("error_description"))
    if message:
        return Complaint(_text(inner), _shorten(message), body.get("details"))
    return Complaint("", _shorten(_text(inner)), body.get("details"))


def _text(value: Json) -> str:
    return "" if value is None or isinstance(value, dict | list) else str(value)


def _list_errors(errors: Json) -> str:
    if isinstance(errors, dict):
        return "; ".join(f"{name} {_list_errors(told)}" for name, told in errors.items())
    if isinstance(errors, list):
        return "; ".join(_text(told) for told in errors if _text(told))
    return _text(errors)


def _shorten(text: str) -> str:
    return text if len(text) <= _MESSAGE_LENGTH else text[: _MESSAGE_LENGTH - 1] + "…"


# --- pacing ----------------------------------------------------------------------------------------------------


class _Budget:
    """The requests left in a window, kept between the answers that tell it.

    All but the last twentieth is there to be spent at once; that is spread evenly over the rest of the window, so
    that the client slows down before it is refused.  A spent window is waited out.

    One answer may be wrong, or somebody else's: that far more is gone than was sent is not believed before another one
    says so too, which a request is sent for soon, or a refusal.
    """

    def __init__(self, limit: int, sent: int = 0) -> None:
        self.limit = limit
        self.left: float | None = None
        self.ends = 0.0
        self._sent = sent
        self._next = 0.0
        self._ask_at: float | None = None
        self._is_sure = False

    @property
    def _much(self) -> float:
        """So many requests are not in flight, nor sent by others in a moment."""
        return max(_FEW_SENT, self.limit / 4)

    def told(self, left: float, ends: float, now: float) -> None:
        """An answer said what is left; within the same window the lower of two views that are near each other holds."""
        same_window = self.left is not None and now < self.ends and ends <= self.ends + 1.5
        if self._ask_at is not None:
            self._is_sure, self._ask_at = left <= self._much, None
        else:
            left = self._weighed(left, same_window=same_window, soon=now + _DOUBT)
        self.left, self.ends = left, ends

    def _weighed(self, left: float, *, same_window: bool, soon: float) -> float:
        """What is to be believed of one answer."""
        self._is_sure = self._is_sure and same_window
        held = self.left if same_window and self.left is not None else self.limit - self._sent
        if not self._is_sure and left <= self.limit / 20 and held - left > self._much:
            self._ask_at = soon
            return 0.0
        is_near = self._is_sure or left - held <= self._much
        return min(left, held) if same_window and is_near else left

    def refused(self, until: float) -> None:
        """A request was one too many: no answer that says otherwise is believed before that."""
        self.left, self.ends = 0.0, until
        self._is_sure, self._ask_at = True, None

    def turn(self, now: float) -> tuple[float, bool]:
        """How long to wait, and whether one may go then (else: ask again)."""
        if self.left is None or now >= self.ends:
            self.left, self._sent, self._is_sure, self._ask_at = None, 1, False, None
            return 0.0, True
        if self.left < 1:
            return self._spent(now)
        wait = 0.0
        if self.left <= self.limit / 20:
            slot = max(now, self._next)
            self._next = slot + (self.ends - now) / self.left
            wait = slot - now
        self.left -= 1
        self._sent += 1
        return wait, True

    def _spent(self, now: float) -> tuple[float, bool]:
        """The same when nothing is left, as far as is known: where that is in doubt, one goes and finds out."""
        if self._ask_at is None or self._ask_at > now:
            return min(self.ends, self._ask_at or self.ends) - now, False
        self._ask_at = now + _DOUBT
        self._sent += 1
        return 0.0, True


class _Pacer:
    """Budgets by their size, and which one a part of the API draws on.

    PagerDuty reports the budget that is nearest to its end, and some endpoints have one of their own; requests
    are told apart by the first segment of their path.
    """

    def __init__(self) -> None:
        self._budgets: dict[int, _Budget] = {}
        self._used_by: dict[str, _Budget] = {}
        self._sent = 0

    def turn(self, path: str, now: float) -> tuple[float, bool]:
        budget = self._of(path)
        wait, granted = budget.turn(now) if budget else (0.0, True)
        self._sent += granted
        return wait, granted

    def told(self, path: str, limit: int, left: float, ends: float, now: float) -> None:
        budget = self._budgets.setdefault(limit, _Budget(limit, self._sent))
        self._used_by[_segment(path)] = budget
        budget.told(left, ends, now)

    def refused(self, path: str, now: float, wait: float) -> None:
        """A 429: nobody who draws on the same budget goes before `wait` seconds are over."""
        budget = self._of(path) or self._budgets.setdefault(0, _Budget(0))
        self._used_by.setdefault(_segment(path), budget)
        budget.refused(now + wait)

    def _of(self, path: str) -> _Budget | None:
        if not self._budgets:
            return None
        return self._used_by.get(_segment(path)) or self._budgets[max(self._budgets)]


def _segment(path: str) -> str:
    return path.lstrip("/").partition("/")[0]


class _Gate:
    """Lets so many in at once; fewer after the server pushed back, more again as answers come in.

    Who waits, waits in a line with those who want the same part of the API, and each line has its turn: so a list whose
    pages name the next one does not wait for all the pages of another one, each time.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self.limit = float(most)
        self.busy = 0
        self._lines: dict[str, deque[asyncio.Future[None]]] = {}

    async def enter(self, line: str) -> None:
        while self.busy >= int(self.limit):
            turn = asyncio.get_running_loop().create_future()
            self._lines.setdefault(line, deque()).append(turn)
            try:
                await turn
            except asyncio.CancelledError:
                if turn.cancelled():
                    self._lines[line].remove(turn)
                else:
                    self._wake()
                raise
        self.busy += 1

    def leave(self) -> None:
        self.busy -= 1
        self._wake()

    def _wake(self) -> None:
        if self.busy >= int(self.limit):
            return
        for name, line in self._lines.items():
            if turn := next((turn for turn in line if not turn.done()), None):
                line.remove(turn)
                self._lines[name] = self._lines.pop(name)  # the last to have a turn again
                turn.set_result(None)
                return

    def eased(self) -> None:
        """A good answer: a whole round of them admits one more."""
        self.limit = min(float(self._most), self.limit + 1 / self.limit)
        self._wake()

    def pushed_back(self, admitted_under: float) -> None:
        """The server had too much: half as many, once for all that were admitted under the same limit."""
        if admitted_under <= self.limit:
            self.limit = max(1.0, self.limit / 2)


# --- the client ------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Call:
    """A request on its way, and how often it was tried."""

    method: str
    path: str
    params: Sequence[tuple[str, str]]
    content: bytes | None
    headers: Mapping[str, str]
    repeatable: bool
    accept: frozenset[int]
    deadline: float
    begun: float = 0.0
    sent: float | None = None
    attempt: int = 0
    doubtful: bool = False
    renewed: bool = False
    credentials: dict[str, str] = field(default_factory=dict, repr=False)


_ELSEWHERE = "check that the base URL is that of the API itself: credentials are not sent on to where an answer points"
_PROXY_FORBIDS = "have the proxy let this host through, or leave it out with NO_PROXY"
_HINTS: Mapping[int, str] = MappingProxyType(
    {
        **dict.fromkeys((301, 302, 303, 307, 308), _ELSEWHERE),
        401: "check the credentials, and that the base URL is that of their region",
        402: "the account's plan does not include this",
        403: "give the credentials the permission or scope for this",
        404: "it is not there, or these credentials may not see it",
        407: "the proxy asks who you are: HTTPS_PROXY=http://USER:PASSWORD@HOST:PORT",
        429: "try again later, or ask for a higher limit",
    }
)


class ApiClient:
    """An HTTP client of one API; `async with` it.

    Args:
        base_url: scheme, host and leading path of every request.
        name: the API's name in messages.
        auth: credentials.
        user_agent: sent with every request.
        concurrency: how many requests are in flight at most.
        timeout: seconds without a byte after which a request is given up.
        patience: seconds that one `send` spends waiting and retrying at most.
        limits: the headers that tell the request budget.
        on_wait: told of every wait of more than two seconds, in words.
        on_exchange: told of every request that was sent.
        allow_plain_http: talk unencrypted to another host than this one.
        headers: sent with every request.
        codes: prefix of the codes of diagnostics: `PD30` for a source, `PD40` for a target.
        hints: what to do about a status, where it is known better than here.
        timing: clock, sleep and jitter.

    Raises:
        UsageError: the base URL is no URL, or unencrypted to another host.
    """

    def __init__(
        self,
        base_url: str,
        *,
        name: str,
        auth: Auth,
        user_agent: str,
        limits: LimitHeaders,
        concurrency: int = 8,
        timeout: float = 60.0,
        patience: float = 300.0,
        on_wait: Callable[[str], None] | None = None,
        on_exchange: Callable[[Exchange], None] | None = None,
        allow_plain_http: bool = False,
        headers: Mapping[str, str] = MappingProxyType({}),
        codes: str = "PD30",
        hints: Mapping[int, str] = MappingProxyType({}),
        timing: Timing | None = None,
    ) -> None:
        check_url(base_url, name, allow_plain_http=allow_plain_http, codes=codes)
        self.base_url = base_url.rstrip("/")
        self.name = name
        self.requests = 0
        self._auth = auth
        self._limits = limits
        self._patience = patience
        self._on_wait = on_wait
        self._on_exchange = on_exchange
        self._codes = codes
        self._hints = {**_HINTS, **hints}
        self._timing = timing or Timing()
        self._pacer = _Pacer()
        self._spent: dict[str, float | None] = {}
        self._gate = _Gate(concurrency)
        self._renewing = asyncio.Lock()
        self._scopes: dict[asyncio.Timeout, float] = {}
        self._in_flight = 0
        self._reported_until = float("-inf")
        self._stopping = False
        self._answered = False
        self._give_up_at = float("inf")
        self._lanes = open_lanes(base_url, {"user-agent": user_agent, **headers}, timeout)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._lanes.close()

    def stop(self) -> None:
        """Begin no request any more: who waits gets `Interrupted`, what is in flight has five seconds.

        To be called on the event loop that the client runs on.
        """
        self._stopping = True
        now = asyncio.get_running_loop().time()
        for scope, grace in self._scopes.items():
            scope.reschedule(now + grace)

    async def send(
        self,
        method: str,
        path: str,
        *,
        params: Sequence[tuple[str, str]] = (),
        body: Json | bytes | None = None,
        headers: Mapping[str, str] | None = None,
        repeatable: bool = True,
        accept: Collection[int] = ACCEPTED,
    ) -> Reply:
        """Send a request until it is answered with one of `accept`, or there is no sense in trying on.

        Args:
            method: the HTTP method.
            path: below the base URL, percent-encoded where needed.
            params: the query string, in order.
            body: JSON to encode, or bytes that are JSON already.
            headers: besides those of the client.
            repeatable: whether doing it twice does no harm; if not, it is only retried when it was surely not done.
            accept: the statuses that are returned instead of raised.

        Raises:
            ApiError: the server answered with another status.
            Unreachable: no answer came.
            Interrupted: the client was stopped before the request was sent.
        """
        content = body if body is None or isinstance(body, bytes) else msgspec.json.encode(body)
        typed = {} if content is None else {"content-type": "application/json"}
        call = _Call(
            method,
            path,
            params,
            content,
            {**typed, **(headers or {})},
            repeatable,
            frozenset(accept),
            deadline=self._timing.clock() + self._patience,
            begun=self._timing.clock(),
        )
        try:
            while (reply := await self._attempt(call)) is None:
                pass
        except (ApiError, Unreachable, Interrupted) as problem:
            raise self._with_doubt(call, problem) from None
        return reply

    async def _attempt(self, call: _Call) -> Reply | None:
        """One try: the reply if it is final, None after having waited for the next."""
        call.attempt += 1
        try:
            reply = await self._exchange(call)
        except Spent:
            raise
        except Unreachable as problem:
            await self._after_silence(call, problem)
            return None
        except ApiError as problem:  # from the credentials' own request
            if problem.status not in _RETRIED | {429}:
                raise
            await self._wait(call, self._back_off(call), problem, f"HTTP {problem.status} for a token")
            return None
        if reply.status in call.accept:
            return reply
        await self._after_refusal(call, reply)
        return None

    async def _exchange(self, call: _Call) -> Reply:
        """Send once, in turn, and learn from the answer's headers."""
        async with self._interruptible(grace=0.0):
            await self._gate.enter(_segment(call.path))
        admitted_under = self._gate.limit
        try:
            async with self._interruptible(grace=0.0):
                await self._turn(call)
            if _area(call.path) in self._spent:
                raise self._used_up(call)
            with self._lanes.one() as http:
                call.credentials = await self._auth.headers(http)  # now, as a token may run out while one waits
                reply = await self._transfer(call, http)
        finally:
            self._gate.leave()
        self._learn(call.path, reply, admitted_under)
        return reply

    async def _transfer(self, call: _Call, http: httpx.AsyncClient) -> Reply:
        begun = self._timing.clock()
        call.sent = begun if call.sent is None else call.sent
        self.requests += 1
        self._in_flight += 1
        status, size = 0, 0
        try:
            async with self._interruptible(grace=_STOP_GRACE):
                answer = http.stream(
                    call.method,
                    self.base_url + call.path,
                    params=list(call.params) or None,
                    content=call.content,
                    headers={**call.headers, **call.credentials},
                )
                # A response that has read itself keeps its content until the garbage collector comes by, which is late.
                async with answer as response:
                    content = b"".join([part async for part in response.aiter_bytes()])
            status, size = response.status_code, len(content)
            self._answered = True
            took = self._timing.clock() - call.sent
            return Reply(status, MappingProxyType(dict(response.headers)), content, took)
        except httpx.RequestError as problem:
            sent = not isinstance(problem, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout)
            raise self._unreachable(call, in_words(problem), sent=sent, advice=in_vain(problem)) from None
        except Interrupted:
            raise self._unreachable(call, "stopped before the answer came", sent=True) from None
        finally:
            self._in_flight -= 1
            if self._on_exchange:
                seconds = self._timing.clock() - begun
                self._on_exchange(Exchange(call.method, call.path, status, seconds, call.attempt, size))

    async def _turn(self, call: _Call) -> None:
        """Wait until the server's budget has room for one more; not for hours, which no such budget lasts."""
        granted = False
        while not granted:
            wait, granted = self._pacer.turn(call.path, self._timing.clock())
            if wait > _LONGEST_TURN:
                raise self._no_room(call, wait)
            if wait > 0:
                self._report(wait, "to stay within the rate limit")
                await self._timing.sleep(wait)

    def _learn(self, path: str, reply: Reply, admitted_under: float) -> None:
        left = _number(reply.headers.get(self._limits.remaining))
        limit = _number(reply.headers.get(self._limits.limit))
        reset = self._seconds(reply.headers.get(self._limits.reset))
        now = self._timing.clock()
        if self._spent_for_today(reply):
            again = self._seconds(reply.headers.get(self._limits.renewed))
            self._spent[_area(path)] = None if again is None else self._timing.wall() + again
        if left is not None and limit is not None and reset is not None:
            # What is in flight was not counted yet when the server wrote this.
            self._pacer.told(path, int(limit), max(0.0, left - self._in_flight), now + reset, now)
        if reply.status in {429, 503}:
            self._gate.pushed_back(admitted_under)
        elif reply.status < 400:  # noqa: PLR2004
            self._gate.eased()

    # --- when it did not go well

    def _with_doubt(self, call: _Call, problem: PdsyncError) -> PdsyncError:
        """What to raise in the end: an earlier try may have been done, whatever became of the last one."""
        if isinstance(problem, ApiError):
            problem.doubtful = call.doubtful
        elif isinstance(problem, Unreachable):
            problem.sent = problem.sent or call.doubtful
        elif call.doubtful:
            return self._unreachable(call, "stopped before the answer came", sent=True)
        return problem

    async def _after_silence(self, call: _Call, problem: Unreachable) -> None:
        call.doubtful = call.doubtful or problem.sent
        if problem.hopeless or self._stopping or (problem.sent and not call.repeatable):
            raise problem
        if not self._answered:
            self._give_up_at = min(self._give_up_at, self._timing.clock() + _FIRST_CONTACT)
            call.deadline = min(call.deadline, self._give_up_at)
        await self._wait(call, self._back_off(call), problem, "no answer")

    async def _after_refusal(self, call: _Call, reply: Reply) -> None:
        """Wait for the next try, or raise `ApiError`."""
        problem = self._api_error(call, reply)
        call.doubtful = call.doubtful or reply.status == HTTPStatus.REQUEST_TIMEOUT or reply.status >= _TROUBLE
        if reply.status == HTTPStatus.UNAUTHORIZED and await self._renewed(call):
            return
        if reply.status == HTTPStatus.TOO_MANY_REQUESTS and self._spent_for_today(reply):
            raise self._used_up(call)
        if reply.status == HTTPStatus.TOO_MANY_REQUESTS:
            wait = self._asked_wait(reply, self._limits.reset) or self._back_off(call)
            self._pacer.refused(call.path, self._timing.clock(), wait)
            await self._wait(call, wait, problem, "the rate limit is reached")
        elif reply.status in _RETRIED and call.repeatable:
            wait = self._asked_wait(reply) or self._back_off(call)
            await self._wait(call, wait, problem, f"HTTP {reply.status}")
        else:
            raise problem

    async def _renewed(self, call: _Call) -> bool:
        """Whether the refused credentials of this call gave way to others, by us or by a call before us."""
        if call.renewed:
            return False
        call.renewed = True
        async with self._renewing:
            with self._lanes.one() as http:
                credentials = await self._auth.headers(http)
            if credentials != call.credentials:
                return True
            return await self._auth.renew()

    async def _wait(self, call: _Call, seconds: float, problem: PdsyncError, reason: str) -> None:
        """Sleep before the next try; raises `problem` when that would be longer than our patience."""
        now = self._timing.clock()
        left = call.deadline - now - seconds
        if left < 0:
            if call.attempt > 1:
                told = problem.diagnostics[0]
                tries = f"{told.detail}, given up after {call.attempt} tries in {now - call.begun:.0f} s"
                problem.explain(replace(told, detail=tries))
            raise problem
        self._report(seconds, f"because {reason} (try {call.attempt}, {left:.0f} s more before giving up)")
        async with self._interruptible(grace=0.0):
            await self._timing.sleep(seconds)

    def _report(self, seconds: float, reason: str) -> None:
        """Tell of a wait that people would notice; one for all who wait at the same time."""
        until = self._timing.clock() + seconds
        if self._on_wait and seconds > _REPORTED_WAIT and until > self._reported_until + _REPORTED_WAIT:
            self._reported_until = until
            self._on_wait(f"{self.name}: waiting {seconds:.0f} s {reason}")

    def _back_off(self, call: _Call) -> float:
        longest = min(30.0, 0.5 * 2.0 ** min(call.attempt - 1, 10))
        return longest * (0.5 + self._timing.jitter() / 2)

    def _asked_wait(self, reply: Reply, *also: str) -> float | None:
        """The seconds that the answer asks us to wait, if it asks for at least one."""
        for name in ("retry-after", *also):
            seconds = self._seconds(reply.headers.get(name))
            if seconds is not None:
                return seconds + self._timing.jitter() / 4 if seconds >= 1 else None
        return None

    def _seconds(self, text: str | None) -> float | None:
        """Seconds from now, given as such, as epoch seconds or as an HTTP date."""
        number = _number(text)
        if number is not None:
            return max(0.0, number - self._timing.wall() if number > _EPOCH else number)
        try:
            return max(0.0, parsedate_to_datetime(text or "").timestamp() - self._timing.wall())
        except ValueError:
            return None

    def _spent_for_today(self, reply: Reply) -> bool:
        left = _number(reply.headers.get(self._limits.daily))
        return left is not None and left <= 0

    @asynccontextmanager
    async def _interruptible(self, grace: float) -> AsyncIterator[None]:
        """A block that `stop` ends after `grace` seconds; none begins once it was called."""
        if self._stopping:
            raise self._interrupted()
        try:
            async with asyncio.timeout(None) as scope:
                self._scopes[scope] = grace
                try:
                    yield
                finally:
                    del self._scopes[scope]
        except TimeoutError:
            raise self._interrupted() from None

    # --- saying what happened

    def _interrupted(self) -> Interrupted:
        return Interrupted(error(f"{self._codes}9", "stopped", detail=f"no more requests are sent to {self.name}"))

    def _unreachable(self, call: _Call, what: str, *, sent: bool, advice: str = "") -> Unreachable:
        """`advice`: what to do, where trying again is of no use."""
        host, proxy = urlsplit(self.base_url).netloc.rpartition("@")[2], proxy_for(self.base_url)
        way = f" by way of the proxy {proxy}" if proxy else ""
        diagnostic = error(
            f"{self._codes}1",
            f"{self.name} did not answer" if sent else f"{self.name} cannot be reached",
            detail=f"{call.method} {call.path} at {host}{way}: {what}",
            hint=advice or f"check base URL and network{', and what HTTPS_PROXY says' if proxy else ''}",
        )
        return Unreachable(diagnostic, sent=sent, hopeless=bool(advice))

    def _used_up(self, call: _Call) -> Spent:
        area = _area(call.path)
        again = self._spent[area]
        until = "" if again is None else datetime.fromtimestamp(again, UTC).strftime(", until %Y-%m-%d %H:%M UTC")
        diagnostic = error(
            "PD307",
            f"the daily quota of {self.name} is used up",
            detail=f"nothing under {area} is asked for any more{until}",
            hint="what is known of today is read from the last snapshot; ask for less, or for a larger quota",
        )
        return Spent(diagnostic, status=int(HTTPStatus.TOO_MANY_REQUESTS), method=call.method, path=call.path)

    def _no_room(self, call: _Call, wait: float) -> Spent:
        diagnostic = error(
            f"{self._codes}0",
            f"the rate limit of {self.name} leaves no room",
            detail=f"{call.method} {call.path}: it says that the next request has to wait {wait:.0f} s",
            hint="try again later; if it never has such limits, something on the way answers in its place",
        )
        return Spent(diagnostic, status=int(HTTPStatus.TOO_MANY_REQUESTS), method=call.method, path=call.path)

    def _api_error(self, call: _Call, reply: Reply) -> ApiError:
        told = read_complaint(reply.content)
        message = _without(told.message, call.credentials)
        trace_id = next((reply.headers[name] for name in _TRACE_HEADERS if name in reply.headers), "")
        about = [f"{call.method} {call.path}", message or _phrase(reply.status)]
        about += [f"code {told.code}"] if told.code else []
        about += [f"trace {trace_id}"] if trace_id else []
        diagnostic = error(
            f"{self._codes}0",
            f"{self.name} answered {reply.status}",
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
            return f"check the base URL: {self.name} would say what is not found, what answers there does not"
        return self._hints.get(status, "")


def _area(path: str) -> str:
    """The part of the API that a path is in, for which there may be a budget of its own: its first step."""
    return "/" + path.lstrip("/").partition("/")[0]


def check_url(url: str, name: str, *, allow_plain_http: bool = False, codes: str = "PD30") -> None:
    """Raise `UsageError` unless `url` is https, or plain http to this machine (or asked for by name)."""
    parts = urlsplit(url)
    code = f"{codes}3"
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise UsageError(error(code, f"the base URL of {name} is no URL", hint="such as https://api.example.com"))
    if parts.scheme == "http" and not allow_plain_http and not is_loopback(parts.hostname):
        summary = f"the base URL of {name} is not encrypted"
        raise UsageError(error(code, summary, detail=f"plain http to {parts.hostname}", hint="use https://"))


def is_loopback(host: str) -> bool:
    """Whether a host is this very machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def open_lanes(base_url: str, headers: Mapping[str, str], timeout: float) -> Lanes:
    """Connections to a server; a proxy is never asked for this very machine."""
    parts = urlsplit(base_url)
    verify = trusted_certificates() if parts.scheme == "https" else False
    return Lanes(headers, timeout, verify=verify, trust_env=not is_loopback(parts.hostname or ""))


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
    if is_untrusted(problem):
        return HINT
    status = _proxy_status(problem)
    return _HINTS[int(status)] if status == "407" else _PROXY_FORBIDS if status in {"401", "403"} else ""


def proxy_for(url: str) -> str:
    """The host and port of the proxy that the environment names for a URL; empty where requests go straight."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    named = getproxies()
    found = "" if is_loopback(host) or proxy_bypass(host) else named.get(parts.scheme) or named.get("all") or ""
    return urlsplit(found if "://" in found else f"//{found}").netloc.rpartition("@")[2]


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


def _number(text: str | None) -> float | None:
    try:
        number = float(text) if text else None
    except ValueError:
        return None
    return number if number is not None and isfinite(number) else None
