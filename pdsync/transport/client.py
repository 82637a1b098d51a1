"""An HTTP client of one API: it asks until it is answered, or there is no sense in asking on.

    send -> gate (how many at once) -> turn (pace by the server's budget) -> transfer -> accept | retry | ApiError

What is retried: 429 always; 408, 5xx and a broken connection when the request may be repeated; a connection that
never came about always.  401 is tried once more after the credentials were renewed; every other status is final.
All waiting of one `send` together is bounded by the client's `patience`.
"""

from __future__ import annotations

import asyncio
import random
import time
from codecs import BOM_UTF8
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from math import isfinite
from types import MappingProxyType
from typing import TYPE_CHECKING, Self

import msgspec

from pdsync.errors import Interrupted, PdsyncError
from pdsync.transport.connecting import check_base_url, check_url, in_vain, in_words, open_lanes
from pdsync.transport.exchange import GARBLED, Call, Exchange, Reply
from pdsync.transport.gate import Gate
from pdsync.transport.pacing import Pacer, area
from pdsync.transport.problems import ApiError, Spent, Unreachable
from pdsync.transport.stopping import Stopping
from pdsync.transport.wording import Wording
from pdsync.web import httpx

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from types import TracebackType

    from pdsync.model import Json
    from pdsync.transport.credentials import Auth
    from pdsync.transport.lanes import Lane
    from pdsync.transport.pacing import LimitHeaders

ACCEPTED = (200, 201, 202, 204, 207)
_RETRIED = frozenset({408, 500, 502, 503, 504, 520, 521, 522, 523, 524, 525, 527, 529})

_TROUBLE = 500
"""From this status on an answer does not tell what became of the request."""

_NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)
"""A proxy that leads nowhere was not given the request."""

_EPOCH = 1e9
"""A reset time above this is a point in time (epoch seconds), below a number of seconds to wait."""

_STOP_GRACE = 5.0
"""Seconds that a request in flight gets to finish once the client is stopping."""

_FIRST_CONTACT = 20.0
"""Seconds of patience, of all requests together, with a host that has never answered: most likely its name is wrong."""

_LONGEST_TURN = 900.0
"""Seconds that nobody waits for a turn: budgets are of a minute or five, what tells of more is wrong or lasts."""

_REPORTED_WAIT = 2.0
_REPORTED_AGAIN = 10.0
"""Seconds between two reports of waits that are short each, and go on."""

_LONGEST_BACK_OFF = 30.0


@dataclass(frozen=True, slots=True)
class Timing:
    """Where time and chance come from: a steady clock, the wall clock, sleep (seconds), jitter in [0, 1)."""

    clock: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    jitter: Callable[[], float] = random.SystemRandom().random


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
        on_wait: told of every wait of more than two seconds, in words, and how long it takes; of shorter ones now and
            then, where one request has to wait again and again.
        on_exchange: told of every request that was sent.
        allow_plain_http: talk unencrypted to another host than this one.
        headers: sent with every request.
        codes: prefix of the codes of diagnostics: `PD30` for a source, `PD40` for a target.
        hints: what to do about a status, where it is known better than here.
        timing: clock, sleep and jitter.

    Raises:
        UsageError: the base URL is none, has a query, or is unencrypted to another host.
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
        on_wait: Callable[[str, float], None] | None = None,
        on_exchange: Callable[[Exchange], None] | None = None,
        allow_plain_http: bool = False,
        headers: Mapping[str, str] = MappingProxyType({}),
        codes: str = "PD30",
        hints: Mapping[int, str] = MappingProxyType({}),
        timing: Timing | None = None,
    ) -> None:
        check_url(base_url, name, allow_plain_http=allow_plain_http, codes=codes)
        check_base_url(base_url, name, codes)
        self.base_url = base_url.rstrip("/")
        self.name = name
        self.requests = 0
        self._auth = auth
        self._limits = limits
        self._patience = patience
        self._on_wait = on_wait
        self._on_exchange = on_exchange
        self._wording = Wording(name, self.base_url, codes, hints)
        self._timing = timing or Timing()
        self._pacer = Pacer()
        self._spent: dict[str, float | None] = {}
        self._gate = Gate(concurrency)
        self._renewing = asyncio.Lock()
        self._in_flight = 0
        self._reported_until = float("-inf")
        self._stopping = Stopping(self._wording.interrupted)
        self._answered = False
        self._behind = float("inf")
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
        self._stopping.begin()

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
        call = Call(
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

    async def _attempt(self, call: Call) -> Reply | None:
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
            wait = self._asked_wait({"retry-after": problem.retry_after}) or self._back_off(call)
            await self._wait(call, wait, problem, f"of HTTP {problem.status} for a token")
            return None
        if reply.status in call.accept:
            return reply
        await self._after_refusal(call, reply)
        return None

    async def _exchange(self, call: Call) -> Reply:
        """Send once, in turn, and learn from the answer's headers."""
        async with self._stopping.bounded(grace=0.0):
            await self._gate.enter(area(call.path))
        admitted_under = self._gate.limit
        try:
            async with self._stopping.bounded(grace=0.0):
                await self._turn(call)
            if area(call.path) in self._spent:
                raise self._wording.used_up(call, self._spent[area(call.path)])
            async with self._lanes.one() as lane:
                call.credentials = await self._auth.headers(lane.client)  # now: a token may run out while one waits
                reply = await self._transfer(call, lane)
        finally:
            self._gate.leave()
        self._learn(call.path, reply, admitted_under)
        return reply

    async def _transfer(self, call: Call, lane: Lane) -> Reply:
        begun = self._timing.clock()
        call.sent = begun if call.sent is None else call.sent
        self.requests += 1
        call.times_sent += 1
        self._in_flight += 1
        status, size = 0, 0
        try:
            async with self._stopping.bounded(grace=_STOP_GRACE):
                response = await lane.answer(
                    call.method,
                    self.base_url + call.path,
                    params=call.params,
                    content=call.content,
                    headers={**call.headers, **call.credentials},
                )
                # A response that has read itself keeps its content until the garbage collector comes by, which is late.
                async with aclosing(response):
                    content = await _content(call, response)
            status, size = response.status_code, len(content)
            self._answered = True
            took = self._timing.clock() - call.sent
            return Reply(status, MappingProxyType(dict(response.headers)), content, took, call.times_sent)
        except httpx.RequestError as problem:
            sent = not isinstance(problem, _NEVER_SENT)
            raise self._wording.unreachable(call, in_words(problem), sent=sent, advice=in_vain(problem)) from None
        except Interrupted:
            raise self._wording.unreachable(call, "stopped before the answer came", sent=True) from None
        finally:
            self._in_flight -= 1
            if self._on_exchange:
                seconds = self._timing.clock() - begun
                self._on_exchange(Exchange(call.method, call.path, status, seconds, call.attempt, size))

    async def _turn(self, call: Call) -> None:
        """Wait until the server's budget has room for one more; not for hours, which no such budget lasts."""
        granted = False
        while not granted:
            wait, granted = self._pacer.turn(call.path, self._timing.clock())
            if wait > _LONGEST_TURN:
                raise self._wording.no_room(call, wait)
            if wait > 0:
                self._report(wait, "to stay within the rate limit")
                await self._timing.sleep(wait)

    @property
    def behind(self) -> float:
        """By how many seconds all answers that tell when they were given say that it is later than it is here."""
        return self._behind if isfinite(self._behind) else 0.0

    def _learn(self, path: str, reply: Reply, admitted_under: float) -> None:
        if (later := self._seconds(reply.headers.get("date"))) is not None:
            self._behind = min(self._behind, later)
        left = _number(reply.headers.get(self._limits.remaining))
        limit = _number(reply.headers.get(self._limits.limit))
        reset = self._seconds(reply.headers.get(self._limits.reset))
        now = self._timing.clock()
        if self._spent_for_today(reply):
            again = self._seconds(reply.headers.get(self._limits.renewed))
            self._spent[area(path)] = None if again is None else self._timing.wall() + again
        if left is not None and limit is not None and reset is not None:
            # What is in flight was not counted yet when the server wrote this.
            self._pacer.told(path, int(limit), max(0.0, left - self._in_flight), now + reset, now)
        if reply.status in {429, 503}:
            self._gate.pushed_back(admitted_under)
        elif reply.status < 400:  # noqa: PLR2004
            self._gate.eased()

    # --- when it did not go well

    def _with_doubt(self, call: Call, problem: PdsyncError) -> PdsyncError:
        """What to raise in the end: an earlier try may have been done, whatever became of the last one."""
        if isinstance(problem, ApiError | Unreachable):
            problem.times_sent = call.times_sent
        if isinstance(problem, ApiError):
            problem.doubtful = call.doubtful
        elif isinstance(problem, Unreachable):
            problem.sent = problem.sent or call.doubtful
        elif call.doubtful:
            return self._wording.unreachable(call, "stopped before the answer came", sent=True)
        return problem

    async def _after_silence(self, call: Call, problem: Unreachable) -> None:
        call.doubtful = call.doubtful or problem.sent
        if problem.hopeless or self._stopping.begun or (problem.sent and not call.repeatable):
            raise problem
        if not self._answered:
            self._give_up_at = min(self._give_up_at, self._timing.clock() + _FIRST_CONTACT)
            call.deadline = min(call.deadline, self._give_up_at)
        await self._wait(call, self._back_off(call), problem, f"{problem.what} got no answer")

    async def _after_refusal(self, call: Call, reply: Reply) -> None:
        """Wait for the next try, or raise `ApiError`."""
        problem = self._wording.api_error(call, reply)
        call.doubtful = call.doubtful or reply.status == HTTPStatus.REQUEST_TIMEOUT or reply.status >= _TROUBLE
        if reply.status == HTTPStatus.UNAUTHORIZED and await self._renewed(call):
            return
        if reply.status == HTTPStatus.TOO_MANY_REQUESTS and self._spent_for_today(reply):
            raise self._wording.used_up(call, self._spent[area(call.path)])
        if reply.status == HTTPStatus.TOO_MANY_REQUESTS:
            wait = self._asked_wait(reply.headers, self._limits.reset) or self._back_off(call)
            self._pacer.refused(call.path, self._timing.clock(), wait)
            await self._wait(call, wait, problem, "the rate limit is reached")
        elif reply.status in _RETRIED and call.repeatable:
            wait = self._asked_wait(reply.headers) or self._back_off(call)
            await self._wait(call, wait, problem, f"{call.method} {call.path} was answered with HTTP {reply.status}")
        else:
            raise problem

    async def _renewed(self, call: Call) -> bool:
        """Whether the refused credentials of this call gave way to others, by us or by a call before us."""
        if call.renewed:
            return False
        call.renewed = True
        async with self._renewing:
            async with self._lanes.one() as lane:
                credentials = await self._auth.headers(lane.client)
            if credentials != call.credentials:
                return True
            return await self._auth.renew()

    async def _wait(self, call: Call, seconds: float, problem: PdsyncError, reason: str) -> None:
        """Sleep before the next try; raises `problem` when that would be longer than our patience."""
        now = self._timing.clock()
        left = call.deadline - now - seconds
        if left < 0:
            told, why = problem.diagnostics[0], ""
            if call.attempt > 1:
                why = f", given up after {call.attempt} tries in {now - call.begun:.0f} s"
            elif seconds > _LONGEST_BACK_OFF:
                why = f", it asks to wait {seconds:.0f} s"
            problem.explain(replace(told, detail=told.detail + why))
            if isinstance(problem, ApiError):
                problem.given_up = why
            raise problem
        words = f"because {reason} (try {call.attempt}, {left:.0f} s more before giving up)"
        self._report(seconds, words, since=call.begun if call.sent is None else call.sent)
        async with self._stopping.bounded(grace=0.0):
            await self._timing.sleep(seconds)

    def _report(self, seconds: float, reason: str, since: float | None = None) -> None:
        """Tell of a wait that people would notice, by itself or after those since then; one of all at the same time."""
        until = self._timing.clock() + seconds
        is_long = seconds > _REPORTED_WAIT and until > self._reported_until + _REPORTED_WAIT
        again = self._reported_until + _REPORTED_AGAIN
        goes_on = since is not None and until > max(since + _REPORTED_WAIT, again)
        if self._on_wait and (is_long or goes_on):
            self._reported_until = until
            self._on_wait(f"{self.name}: waiting {max(seconds, 1):.0f} s {reason}", seconds)

    def _back_off(self, call: Call) -> float:
        longest = min(_LONGEST_BACK_OFF, 0.5 * 2.0 ** min(call.attempt - 1, 10))
        return longest * (0.5 + self._timing.jitter() / 2)

    def _asked_wait(self, headers: Mapping[str, str], *also: str) -> float | None:
        """The seconds that the answer asks us to wait, if it asks for at least one."""
        for name in ("retry-after", *also):
            seconds = self._seconds(headers.get(name))
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


async def _content(call: Call, response: httpx.Response) -> bytes:
    """What a response has in it; one that cannot be unpacked is asked for once more before that is its answer."""
    try:
        return b"".join([part async for part in response.aiter_bytes()]).removeprefix(BOM_UTF8)
    except httpx.DecodingError:
        if not call.garbled:
            call.garbled = True
            raise
        return GARBLED


def _number(text: str | None) -> float | None:
    try:
        number = float(text) if text else None
    except ValueError:
        return None
    return number if number is not None and isfinite(number) else None
