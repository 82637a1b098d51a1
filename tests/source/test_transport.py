"""The HTTP client, against real servers on loopback."""

from __future__ import annotations

import asyncio
import gc
import gzip
import re
import ssl
import tracemalloc
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pdsync.errors import Interrupted, UsageError
from pdsync.targets.port.problems import as_target_error
from pdsync.transport import (
    PAGERDUTY_LIMITS,
    ApiClient,
    ApiError,
    Complaint,
    Exchange,
    FixedHeaders,
    Reply,
    Unreachable,
    check_url,
    named_proxy,
    read_complaint,
)
from pdsync.transport.gate import Gate
from pdsync.transport.pacing import Pacer
from pdsync.trust import is_untrusted
from tests.source.loopback import EPOCH, OK, FakeTime, Request, Script, Tape, dropping, serving

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

SECRET = "u+verysecretkey12345"
T = TypeVar("T")
Answer = tuple[int, dict[str, str], bytes]


class Renewable:
    """Tokens `token-0`, `token-1`, ...; `renew` goes on to the next."""

    def __init__(self, tokens: int) -> None:
        self.tokens = tokens
        self.current = 0
        self.renewals = 0

    async def headers(self, client: httpx.AsyncClient) -> dict[str, str]:
        return {"authorization": f"Bearer token-{self.current}"}

    async def renew(self) -> bool:
        self.renewals += 1
        self.current += 1
        return self.current < self.tokens


def client(url: str, time: FakeTime | None = None, **others: Any) -> ApiClient:
    """A client as the source has one."""
    timing = time.timing() if time else None
    auth = others.pop("auth", FixedHeaders("authorization", f"Token token={SECRET}"))
    return ApiClient(
        url, name="PagerDuty", auth=auth, user_agent="pdsync/test", limits=PAGERDUTY_LIMITS, timing=timing, **others
    )


def run(body: Callable[[], Awaitable[T]]) -> T:
    """The outcome of an async block."""

    async def main() -> T:
        return await body()

    return asyncio.run(main())


def ask(answers: list[Answer], time: FakeTime | None = None, method: str = "GET", **others: Any) -> tuple[Reply, Tape]:
    """One request to a server that gives these answers, and what it saw."""
    repeatable, accept = others.pop("repeatable", True), others.pop("accept", (200,))
    tape = Tape(Script(list(answers)))

    async def body() -> Reply:
        async with client(url, time or FakeTime(), **others) as api:
            return await api.send(method, "/things", repeatable=repeatable, accept=accept)

    with serving(tape) as url:
        try:
            return run(body), tape
        except ApiError as problem:
            problem.add_note(str(len(tape.requests)))
            raise


def failing(answers: list[Answer], time: FakeTime | None = None, **others: Any) -> tuple[ApiError, int]:
    """The error that a request to such a server ends in, and how often it was sent."""
    with pytest.raises(ApiError) as caught:
        ask(answers, time, **others)
    return caught.value, int(caught.value.__notes__[-1])


def plain(status: int, **headers: str) -> Answer:
    return status, {name.replace("_", "-"): value for name, value in headers.items()}, b""


# --- what is retried -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [429, 408, 500, 502, 503, 504])
def test_passing_trouble_is_retried(status: int) -> None:
    """A request that may be repeated is, until it is answered."""
    reply, tape = ask([plain(status), plain(status), OK])
    assert reply.json() == {"fine": True}
    assert len(tape.requests) == 3


@pytest.mark.parametrize(("status", "sent"), [(429, 2), (408, 1), (500, 1), (503, 1)])
def test_what_must_not_be_repeated_is_only_retried_when_it_was_not_done(status: int, sent: int) -> None:
    """A 429 was certainly not carried out, a 5xx perhaps."""
    if status == 429:
        _, tape = ask([plain(status), OK], method="POST", repeatable=False)
        assert len(tape.requests) == sent
    else:
        problem, requests = failing([plain(status), OK], method="POST", repeatable=False)
        assert (problem.status, requests) == (status, sent)


def test_a_mark_of_the_byte_order_is_no_part_of_an_answer() -> None:
    """RFC 8259, 8.1: it must not be sent, and may be ignored."""
    reply, _ = ask([(200, {}, b'\xef\xbb\xbf{"a":1}')])
    assert reply.json() == {"a": 1}


@pytest.mark.parametrize("status", [400, 402, 403, 404, 409, 413, 422, 301])
def test_final_answers_fail_at_once(status: int) -> None:
    """No second request and no waiting for what will not change."""
    time = FakeTime()
    problem, requests = failing([plain(status), OK], time)
    assert (problem.status, requests, time.slept) == (status, 1, [])


@pytest.mark.parametrize(
    ("body", "hint"), [(b"<html>", "check the base URL"), (b'{"error": {"message": "Not Found"}}', "it is not there")]
)
def test_a_404_that_is_no_word_of_the_api_is_of_another_address(body: bytes, hint: str) -> None:
    """As behind a prefix that is not the right one."""
    problem, _ = failing([(404, {}, body)])
    assert hint in problem.diagnostics[0].hint


def test_statuses_that_are_accepted_are_returned() -> None:
    """The caller says which statuses are answers."""
    reply, _ = ask([plain(404)], accept=(200, 404))
    assert (reply.status, reply.json()) == (404, None)


def test_patience_bounds_all_waiting_of_a_request() -> None:
    """A server that never recovers is given up within the patience."""
    time = FakeTime()
    problem, requests = failing([plain(503)], time, patience=60.0)
    assert problem.status == 503
    assert requests > 3
    assert sum(time.slept) <= 60
    assert f"given up after {requests} tries in {sum(time.slept):.0f} s" in f"{problem}"


def test_back_off_grows() -> None:
    """Each wait is longer than the one before, up to half a minute."""
    time = FakeTime()
    failing([plain(500)], time, patience=200.0)
    assert time.slept[:6] == [0.25, 0.5, 1.0, 2.0, 4.0, 8.0]
    assert max(time.slept) == 15.0


@pytest.mark.parametrize(
    ("headers", "waited"),
    [
        ({"retry_after": "7"}, 7.0),
        ({"ratelimit_reset": "11"}, 11.0),
        ({"ratelimit_reset": str(EPOCH + 1000 + 13)}, 13.0),
        ({"retry_after": "5", "ratelimit_reset": "50"}, 5.0),
        ({"retry_after": format_datetime(datetime.fromtimestamp(EPOCH + 1017, UTC), usegmt=True)}, 17.0),
        ({"retry_after": "0"}, 0.25),
        ({"retry_after": "soon"}, 0.25),
        ({}, 0.25),
    ],
)
def test_a_rate_limit_is_waited_out(headers: dict[str, str], waited: float) -> None:
    """The server's own word counts, as seconds, as a date or as epoch seconds; without one we back off."""
    time = FakeTime()
    ask([plain(429, **headers), OK], time)
    assert sum(time.slept) == pytest.approx(waited)


def test_a_reset_header_does_not_delay_the_retry_of_other_failures() -> None:
    """`ratelimit-reset` stands in every answer and says nothing about a 500."""
    time = FakeTime()
    ask([plain(500, ratelimit_reset="55"), OK], time)
    assert time.slept == [0.25]


def test_a_wait_beyond_the_patience_is_not_begun() -> None:
    """Being told to come back in an hour is an error now."""
    time = FakeTime()
    problem, requests = failing([plain(429, retry_after="3600"), OK], time)
    assert (problem.status, requests, time.slept) == (429, 1, [])
    assert problem.diagnostics[0].detail.endswith(", it asks to wait 3600 s")
    assert as_target_error(problem).diagnostics[0].detail.endswith("(429), it asks to wait 3600 s")


def test_a_spent_daily_budget_is_final() -> None:
    """Nobody waits until tomorrow."""
    time = FakeTime()
    problem, requests = failing([plain(429, daily_ratelimit_remaining="0", ratelimit_reset="5"), OK], time)
    assert (problem.status, requests, time.slept) == (429, 1, [])


@pytest.mark.parametrize("reset", ["4102444800000", "1e18"], ids=["milliseconds", "never"])
def test_a_daily_budget_that_is_renewed_at_no_moment_is_said_to_be_spent_all_the_same(reset: str) -> None:
    """A number that stands for no moment that there can be says nothing of when."""
    problem, _ = failing([plain(429, daily_ratelimit_remaining="0", daily_ratelimit_reset=reset)])
    assert problem.diagnostics[0].detail == "nothing under /things is asked for any more"


def test_what_is_left_of_a_day_is_known_before_it_is_asked_for() -> None:
    """After an answer that says that it was the last: no request to that part of the API, the others as ever."""
    last = plain(200, daily_ratelimit_remaining="0", daily_ratelimit_reset="60")
    tape = Tape(Script([last, OK]))

    async def body() -> ApiError:
        async with client(url, FakeTime()) as api:
            await api.send("POST", "/analytics/raw/incidents")
            with pytest.raises(ApiError) as caught:
                await api.send("POST", "/analytics/metrics/incidents/all")
            await api.send("GET", "/services")
            return caught.value

    with serving(tape) as url:
        problem = run(body)
    assert [request.path for request in tape.requests] == ["/analytics/raw/incidents", "/services"]
    assert (problem.status, problem.diagnostics[0].code, problem.doubtful) == (429, "PD307", False)


def test_long_waits_are_told_and_short_ones_are_not() -> None:
    """People hear why nothing happens, once, and what it is that is in trouble."""
    told: list[tuple[str, float]] = []
    answers = [plain(500), plain(429, retry_after="30"), plain(503, retry_after="40"), OK]
    ask(answers, on_wait=lambda *what: told.append(what))
    trouble = "GET /things was answered with HTTP 503"
    assert told == [
        ("PagerDuty: waiting 30 s because the rate limit is reached (try 2, 270 s more before giving up)", 30.0),
        (f"PagerDuty: waiting 40 s because {trouble} (try 3, 230 s more before giving up)", 40.0),
    ]


def test_short_waits_that_go_on_are_told_now_and_then() -> None:
    """A minute of a second each is no silence, and not sixty lines either."""
    told: list[tuple[str, float]] = []
    ask([*[plain(429, retry_after="1")] * 25, OK], on_wait=lambda *what: told.append(what))
    reason = "waiting 1 s because the rate limit is reached"
    assert [text.partition(" (")[0] for text, _ in told] == [f"PagerDuty: {reason}"] * 3
    assert [re.findall(r"try (\d+), (\d+) s more", text)[0] for text, _ in told] == [
        ("3", "297"),
        ("14", "286"),
        ("25", "275"),
    ]


def test_a_server_that_says_nothing_is_told_of_with_what_is_left_of_the_patience() -> None:
    """A wait of half a second after a minute without an answer is not short."""
    told: list[str] = []
    time = FakeTime()

    def a_minute_later(_: Exchange) -> None:
        time.now += 60

    async def body() -> None:
        async with client(url, time, on_wait=lambda text, _: told.append(text), on_exchange=a_minute_later) as api:
            with pytest.raises(Unreachable):
                await api.send("GET", "/things")

    with dropping(9) as (url, _):
        run(body)
    assert told == ["PagerDuty: waiting 1 s because GET /things got no answer (try 1, 20 s more before giving up)"]


# --- broken connections ----------------------------------------------------------------------------------------


def test_a_broken_connection_is_retried_when_that_is_harmless() -> None:
    """A request whose answer broke off is sent again."""

    async def body() -> Reply:
        async with client(url, FakeTime()) as api:
            return await api.send("GET", "/things")

    with dropping(2) as (url, seen):
        assert run(body).json() == {"fine": True}
    assert len(seen) == 3


def test_a_broken_connection_is_not_retried_when_it_may_have_been_done() -> None:
    """A write that may have happened is left to the caller, who is told that it may have."""

    async def body() -> None:
        async with client(url, FakeTime()) as api:
            await api.send("POST", "/things", body={}, repeatable=False)

    with dropping(1) as (url, seen), pytest.raises(Unreachable) as caught:
        run(body)
    assert (caught.value.sent, len(seen)) == (True, 1)


def test_a_refused_connection_is_retried_for_writes_too() -> None:
    """What never left may be tried again; a host that never answered is given up soon, by all requests together."""
    time = FakeTime()

    async def body() -> None:
        async with client("http://127.0.0.1:9", time) as api:
            for _ in range(3):
                with pytest.raises(Unreachable) as caught:
                    await api.send("POST", "/things", body={}, repeatable=False)
                assert caught.value.sent is False

    run(body)
    assert 10 < sum(time.slept) <= 20


def test_silence_is_given_up() -> None:
    """A server that does not answer in time counts as a broken connection."""

    async def silent(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.sleep(1)

    async def body() -> None:
        async with client(url, timeout=0.05, patience=0.2) as api:
            await api.send("GET", "/things")

    tape = Tape(silent)
    with serving(tape) as url, pytest.raises(Unreachable) as caught:
        run(body)
    assert "no answer in time" in str(caught.value)
    assert len(tape.requests) >= 1


def test_an_untrusted_certificate_is_recognised_through_the_chain() -> None:
    """The library wraps it; trying again would be in vain."""
    outer = httpx.ConnectError("handshake")
    outer.__cause__ = OSError()
    outer.__cause__.__context__ = ssl.SSLCertVerificationError()
    assert is_untrusted(outer)
    assert not is_untrusted(httpx.ConnectError("refused"))


# --- credentials -----------------------------------------------------------------------------------------------


def _tokens(good: str) -> Callable[[Any, Any, Any], Awaitable[None]]:
    """An application that takes one token."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        given = dict(scope["headers"]).get(b"authorization")
        answer = OK if given == f"Bearer {good}".encode() else plain(401)
        await Script([answer])(scope, receive, send)

    return app


def test_a_refused_token_is_renewed_once() -> None:
    """An expired token costs one more request."""
    auth, tape = Renewable(2), Tape(_tokens("token-1"))

    async def body() -> Reply:
        async with client(url, FakeTime(), auth=auth) as api:
            return await api.send("GET", "/things")

    with serving(tape) as url:
        assert run(body).status == 200
    assert (auth.renewals, len(tape.requests)) == (1, 2)


def test_a_renewed_token_that_is_refused_too_ends_it() -> None:
    """Wrong credentials are reported at once, without waiting."""
    auth, tape, time = Renewable(9), Tape(_tokens("never")), FakeTime()

    async def body() -> Reply:
        async with client(url, time, auth=auth) as api:
            return await api.send("GET", "/things")

    with serving(tape) as url, pytest.raises(ApiError) as caught:
        run(body)
    assert (caught.value.status, len(tape.requests), time.slept) == (401, 2, [])


def test_fixed_credentials_that_are_refused_fail_at_once() -> None:
    """There is nothing to renew in an API key."""
    problem, requests = failing([plain(401, ratelimit_reset="30"), OK])
    assert (problem.status, requests) == (401, 1)


def test_many_requests_with_one_dead_token_renew_it_once() -> None:
    """A fresh token is not thrown away because an old one was refused."""
    auth, tape = Renewable(2), Tape(_tokens("token-1"))

    async def body() -> list[Reply]:
        async with client(url, FakeTime(), auth=auth) as api:
            return await asyncio.gather(*(api.send("GET", f"/things/{n}") for n in range(20)))

    with serving(tape) as url:
        assert [reply.status for reply in run(body)] == [200] * 20
    assert auth.renewals == 1


def test_a_token_that_runs_out_is_refused_to_those_in_flight_alone() -> None:
    """Who waits for a turn meanwhile is sent with the new one at once: a long read has thousands who wait."""
    auth, tape = Renewable(2), Tape(Script([OK] * 40))
    used = 0

    def worn(request: Request) -> Any:
        nonlocal used
        old = request.headers["authorization"] == "Bearer token-0"
        used += old
        return Script([plain(401) if old and used > 3 else OK])

    tape.before = worn

    async def body() -> None:
        async with client(url, FakeTime(), auth=auth, concurrency=2) as api:
            await asyncio.gather(*(api.send("GET", "/things") for _ in range(40)))

    with serving(tape) as url:
        run(body)
    assert (len(tape.requests) <= 42, auth.renewals) == (True, 1)


# --- pace and concurrency --------------------------------------------------------------------------------------


class Limited:
    """An application with a budget per minute, by a clock of its own."""

    def __init__(self, time: FakeTime, budget: int) -> None:
        self.time, self.budget = time, budget
        self.begun, self.used, self.refused = time.now, 0, 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if self.time.now - self.begun >= 60:
            self.begun, self.used = self.time.now, 0
        fits = self.used < self.budget
        self.used += fits
        self.refused += not fits
        headers = {
            "ratelimit-limit": str(self.budget),
            "ratelimit-remaining": str(self.budget - self.used),
            "ratelimit-reset": str(60 - (self.time.now - self.begun)),
        }
        await Script([(200 if fits else 429, headers, b"{}")])(scope, receive, send)


@settings(max_examples=10, deadline=None)
@given(budget=st.integers(1, 60), requests=st.integers(1, 130))
def test_the_budget_is_never_overdrawn(budget: int, requests: int) -> None:
    """Whoever reads the headers is never refused, and waits no longer than the windows demand."""
    time = FakeTime()
    app = Limited(time, budget)

    async def body() -> None:
        async with client(url, time) as api:
            for _ in range(requests):
                await api.send("GET", "/things")

    with serving(app) as url:
        run(body)
    assert app.refused == 0
    assert sum(time.slept) <= 60 * (1 + requests // budget)


@given(st.lists(st.tuples(st.floats(0, 2), st.integers(0, 50), st.booleans()), min_size=1, max_size=80))
def test_nobody_waits_for_longer_than_a_window(steps: list[tuple[float, int, bool]]) -> None:
    """Few requests are left, and some take their turn while others still wait for theirs: all go in the next window."""
    pacer, now, ends = Pacer(), 0.0, 60.0
    for passed, left, told in steps:
        now += passed
        if told:
            ends = now + max(1.0, 60.0 - now % 60)
            pacer.told("/things", 1000, left, ends, now)
        wait, _ = pacer.turn("/things", now)
        assert now + wait <= ends + 1e-6 or wait == 0


def ample(left: int) -> Answer:
    return plain(200, ratelimit_limit="960", ratelimit_remaining=str(left), ratelimit_reset="60")


@pytest.mark.parametrize(
    "headers",
    [
        {"ratelimit_remaining": "0", "ratelimit_reset": "60"},
        {"ratelimit_remaining": "10", "ratelimit_reset": "60"},
        {"ratelimit_remaining": "0", "ratelimit_reset": "86400"},
    ],
)
@pytest.mark.parametrize("before", [0, 3])
def test_one_header_that_says_all_is_spent_is_not_believed(headers: dict[str, str], before: int) -> None:
    """So much cannot be gone at once: one request finds out, soon; and it is known what the others said."""
    time, odd = FakeTime(), plain(200, ratelimit_limit="960", **headers)
    answers = [*(ample(959 - n) for n in range(before)), odd, *(ample(950 - n) for n in range(20))]

    async def body() -> None:
        async with client(url, time, concurrency=1) as api:
            await asyncio.gather(*(api.send("GET", "/things") for _ in range(before + 21)))

    with serving(Tape(Script(answers))) as url:
        run(body)
    assert sum(time.slept) <= 2


@pytest.mark.parametrize("second", [ample(0), plain(429, ratelimit_reset="60")])
def test_what_a_second_answer_says_too_is_believed(second: Answer) -> None:
    """Somebody else spent it: one request finds that out, and everybody waits for the next window."""
    time = FakeTime()
    tape = Tape(Script([ample(900), ample(0), second, *([ample(900)] * 10)]))
    sent_at: list[float] = []
    tape.before = lambda _: sent_at.append(time.now)

    async def body() -> None:
        async with client(url, time, concurrency=1) as api:
            await asyncio.gather(*(api.send("GET", "/things") for _ in range(8)))

    with serving(tape) as url:
        run(body)
    assert [moment - sent_at[0] >= 60 for moment in sent_at] == [False] * 3 + [True] * (len(sent_at) - 3)


def test_a_budget_that_suffices_is_spent_at_once() -> None:
    """Nobody is slowed down for requests that fit into the window."""
    time = FakeTime()
    app = Limited(time, 100)

    async def body() -> None:
        async with client(url, time) as api:
            await asyncio.gather(*(api.send("GET", "/things") for _ in range(80)))

    with serving(app) as url:
        run(body)
    assert (app.refused, time.slept) == (0, [])


def test_one_refusal_holds_back_everybody() -> None:
    """After a 429 nobody sends before the time that the server named."""
    time = FakeTime()
    tape = Tape(Script([plain(429, retry_after="40"), OK]))
    sent_at: list[float] = []
    tape.before = lambda _: sent_at.append(time.now)

    async def body() -> None:
        async with client(url, time, concurrency=1) as api:
            await asyncio.gather(api.send("GET", "/a"), api.send("GET", "/b"))

    with serving(tape) as url:
        run(body)
    assert all(moment >= sent_at[0] + 40 for moment in sent_at[1:])
    assert len(sent_at) == 3


def test_no_more_requests_are_in_flight_than_allowed() -> None:
    """The limit on concurrency holds, and is used."""
    now, most = 0, 0

    async def app(scope: Any, receive: Any, send: Any) -> None:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.01)
        now -= 1
        await Script([OK])(scope, receive, send)

    async def body() -> None:
        async with client(url, concurrency=3) as api:
            await asyncio.gather(*(api.send("GET", "/things") for _ in range(12)))
            assert api.requests == 12

    with serving(app) as url:
        run(body)
    assert most == 3


def test_the_gate_narrows_once_per_round_and_widens_again() -> None:
    """Eight refusals at once halve the concurrency once; a round of good answers admits one more."""
    gate = Gate(8)
    for _ in range(8):
        gate.pushed_back(8.0)
    assert gate.limit == 4.0
    for _ in range(40):
        gate.eased()
    assert gate.limit == 8.0


def test_a_cancelled_waiter_does_not_keep_its_place() -> None:
    """Whoever is cancelled while waiting, or just as the turn comes, leaves no gap behind."""

    async def body() -> int:
        gate = Gate(1)
        await gate.enter("")
        first, second = asyncio.create_task(gate.enter("")), asyncio.create_task(gate.enter(""))
        await asyncio.sleep(0)
        gate.leave()
        first.cancel()
        await second
        gate.leave()
        await gate.enter("")
        return gate.busy

    assert run(body) == 1


def test_nobody_is_let_in_before_one_who_came_first() -> None:
    """A place that was made for one is not taken by another who comes before that one wakes up."""
    came: list[int] = []

    async def body() -> int:
        gate, later = Gate(2), list[asyncio.Task[None]]()

        async def through(number: int) -> None:
            await gate.enter("")
            came.append(number)
            await asyncio.sleep(0)
            gate.leave()
            if number < 3:  # somebody else comes before the one who was let in wakes up
                later.append(asyncio.create_task(through(6 + number)))

        await asyncio.gather(*(through(number) for number in range(6)))
        await asyncio.gather(*later)
        return gate.busy

    assert run(body) == 0
    assert came == list(range(9))


def test_a_wider_gate_lets_in_all_there_is_room_for() -> None:
    """One more good answer may make room for one, a leaving request for another."""

    async def body() -> tuple[int, int]:
        gate = Gate(4)
        gate.limit = 1.0
        waiting = [asyncio.create_task(gate.enter(str(number))) for number in range(4)]
        await asyncio.sleep(0)
        before = gate.busy
        gate.limit = 3.0
        gate.eased()
        await asyncio.gather(*waiting[:3])
        waiting[3].cancel()
        return before, gate.busy

    assert run(body) == (1, 3)


# --- doubt -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("statuses", "doubtful"),
    [([422], False), ([429, 422], False), ([500], True), ([408], True), ([502, 401], True), ([503, 429], True)],
)
def test_an_answer_tells_whether_it_may_have_been_done(statuses: list[int], doubtful: bool) -> None:
    """A server in trouble may have done what it was asked, whatever it says of a later try."""
    problem, _ = failing([plain(status) for status in statuses], patience=0.9, method="PUT")
    assert (problem.status, problem.doubtful) == (statuses[-1], doubtful)


def test_a_silence_that_ends_in_no_connection_stays_doubtful() -> None:
    """The last try never left, but an earlier one did."""

    async def body() -> None:
        server = await asyncio.start_server(lambda _, writer: hang_up(writer), "127.0.0.1", 0)
        address = server.sockets[0].getsockname()

        def hang_up(writer: asyncio.StreamWriter) -> None:
            writer.close()
            server.close()

        async with client(f"http://127.0.0.1:{address[1]}", FakeTime(), patience=1.0) as api:
            await api.send("PUT", "/things")

    with pytest.raises(Unreachable) as caught:
        run(body)
    assert (caught.value.sent, "cannot be reached" in str(caught.value)) == (True, True)


@pytest.mark.parametrize(
    ("scheme", "proxy", "why"),
    [
        ("http", "", "at 127.0.0.1:1: no connection: nothing listens there"),
        ("https", "", " no connection: it does not speak TLS"),
        ("https", "http://me:hunter2@127.0.0.1:1", "at api.test by way of the proxy 127.0.0.1:1: no connection: noth"),
    ],
)
def test_why_there_is_no_connection_is_told(scheme: str, proxy: str, why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was found there, and the proxy that was to lead there, without its password."""
    for name in ("HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    with serving(Script([])) as url:
        host = "127.0.0.1:1" if scheme == "http" else urlsplit(url).netloc
        if proxy:
            monkeypatch.setenv("HTTPS_PROXY", proxy)
            host = "api.test"

        async def body() -> None:
            async with client(f"{scheme}://{host}", FakeTime(), patience=0.1) as api:
                await api.send("GET", "/things")

        with pytest.raises(Unreachable) as caught:
            run(body)
    told = caught.value.diagnostics[0]
    assert why in told.detail
    assert ("hunter2" in str(caught.value), "HTTPS_PROXY" in told.hint) == (False, bool(proxy))


@pytest.mark.parametrize(("status", "advice"), [(407, "USER:PASSWORD@HOST"), (403, "NO_PROXY"), (502, "HTTPS_PROXY")])
def test_a_proxy_that_refuses_is_told_by_its_status(status: int, advice: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it will not do the next time either is not tried again."""
    for name in ("https_proxy", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    tape = Tape(Script([plain(status)] * 9))

    async def body() -> None:
        async with client("https://api.test", FakeTime(), patience=2) as api:
            await api.send("GET", "/things")

    with serving(tape) as url:
        monkeypatch.setenv("HTTPS_PROXY", url)
        with pytest.raises(Unreachable) as caught:
            run(body)
    told = caught.value.diagnostics[0]
    assert (f"the proxy refused: {status}" in told.detail, advice in told.hint) == (True, True)
    assert (len(tape.requests) > 1) == (status == 502)


def test_a_stop_while_waiting_for_another_try_stays_doubtful() -> None:
    """What was sent before is not forgotten; without any try it is an interruption."""

    async def body() -> None:
        async with client(url) as api:
            asyncio.get_running_loop().call_later(0.05, api.stop)
            await api.send("PUT", "/things")

    with serving(Script([plain(503, retry_after="250")])) as url, pytest.raises(Unreachable) as caught:
        run(body)
    assert caught.value.sent


# --- stopping --------------------------------------------------------------------------------------------------


def test_a_stopped_client_sends_nothing_more() -> None:
    """Waiting requests are interrupted; the one in flight is finished."""
    tape = Tape(Script([OK]))

    async def body() -> list[Reply | BaseException]:
        loop = asyncio.get_running_loop()
        async with client(url, concurrency=1) as api:

            def stop(_: Request) -> None:
                loop.call_soon_threadsafe(api.stop)

            tape.before = stop
            return await asyncio.gather(*(api.send("GET", "/x") for _ in range(3)), return_exceptions=True)

    with serving(tape) as url:
        outcomes = run(body)
    assert [type(outcome) for outcome in outcomes] == [Reply, Interrupted, Interrupted]
    assert len(tape.requests) == 1


def test_stopping_ends_a_wait() -> None:
    """Nobody has to wait for a rate limit before the program ends."""

    async def body() -> None:
        async with client(url) as api:
            asyncio.get_running_loop().call_later(0.05, api.stop)
            await api.send("GET", "/things")

    with serving(Script([plain(429, retry_after="250")])) as url, pytest.raises(Interrupted):
        run(body)


def test_an_outside_cancellation_is_not_an_interruption() -> None:
    """A cancelled task sees its own cancellation."""

    async def body() -> None:
        async with client(url) as api:
            async with asyncio.timeout(0.05):
                await api.send("GET", "/things")

    with serving(Script([plain(429, retry_after="250")])) as url, pytest.raises(TimeoutError):
        run(body)


# --- what is sent and what is said -----------------------------------------------------------------------------


def test_a_request_arrives_as_it_was_meant() -> None:
    """List parameters repeat, JSON is JSON, answers come zipped, the connection is HTTP/1.1 and says who we are."""
    packed = gzip.compress(b'{"fine":true}')
    tape = Tape(Script([(200, {"content-encoding": "gzip", "content-length": str(len(packed))}, packed)]))
    watched: list[Exchange] = []

    async def body() -> Reply:
        async with client(url + "/v1/", on_exchange=watched.append) as api:
            return await api.send("POST", "/things", params=[("ids[]", "a"), ("ids[]", "b&c")], body={"x": [1]})

    with serving(tape) as url:
        assert run(body).json() == {"fine": True}
    (request,) = tape.requests
    assert (request.method, request.path) == ("POST", "/v1/things")
    assert request.params == (("ids[]", "a"), ("ids[]", "b&c"))
    assert request.headers["accept-encoding"] == "gzip"
    assert request.headers["user-agent"] == "pdsync/test"
    assert request.headers["content-type"] == "application/json"
    assert request.headers["authorization"] == f"Token token={SECRET}"
    assert [(each.status, each.attempt, each.path) for each in watched] == [(200, 1, "/things")]


def test_errors_say_what_where_and_what_to_do() -> None:
    """Status, the server's message and code, its trace, the request, a hint."""
    body = b'{"error":{"message":"Access Denied","code":2010,"errors":["scope missing"]}}'
    problem, _ = failing([(403, {"x-request-id": "r-77"}, body)])
    (diagnostic,) = problem.diagnostics
    assert (problem.status, problem.code, problem.message) == (403, "2010", "Access Denied: scope missing")
    assert (problem.method, problem.path, problem.trace_id) == ("GET", "/things", "r-77")
    assert problem.details == ["scope missing"]
    assert diagnostic.summary == "PagerDuty answered 403"
    assert diagnostic.detail == "GET /things, Access Denied: scope missing, code 2010, trace r-77"
    assert diagnostic.hint == "give the credentials the permission or scope for this"


@pytest.mark.parametrize(
    "answer",
    [
        plain(200, ratelimit_limit="960", ratelimit_remaining="0", ratelimit_reset="3600"),
        plain(200, ratelimit_limit="960", ratelimit_remaining="1", ratelimit_reset="86400"),
        plain(429, ratelimit_reset="3600"),
        plain(429, retry_after="Wed, 21 Oct 2099 07:28:00 GMT"),
        plain(200, ratelimit_limit="960", ratelimit_remaining="0", ratelimit_reset="inf"),
        plain(429, retry_after="nan"),
    ],
)
def test_nobody_waits_for_hours(answer: Answer) -> None:
    """Whatever headers say: what cannot go for long is refused at once, what says nothing sensible is not listened to."""
    time, tape = FakeTime(), Tape(Script([answer, answer, OK, OK]))
    begun = time.now

    async def body() -> list[str]:
        async with client(url, time) as api:
            told = []
            for _ in range(4):
                try:
                    await api.send("GET", "/things")
                except ApiError as problem:
                    told.append(problem.diagnostics[0].summary)
            return told

    with serving(tape) as url:
        told = run(body)
    assert time.now - begun < 60
    sensible = not any(text in {"inf", "nan"} for text in answer[1].values())
    assert ("the rate limit of PagerDuty leaves no room" in told) == sensible


@pytest.mark.parametrize(
    ("status", "named"), [(302, "base URL"), (308, "base URL"), (407, "HTTPS_PROXY"), (402, "plan")]
)
def test_what_to_do_about_a_status(status: int, named: str) -> None:
    """A redirect is not followed: the credentials are for the one server."""
    problem, sent = failing([plain(status, location=f"https://me:{SECRET}@elsewhere.test/v2?key={SECRET}")])
    (told,) = problem.diagnostics
    assert (named in told.hint, sent, SECRET in told.detail) == (True, 1, False)
    assert ("https://elsewhere.test/v2" in told.detail) == (status < 400)


def test_no_secret_is_ever_said() -> None:
    """Not in errors (even when the server repeats it), not in what a reply or a client looks like."""
    body = f'{{"error":{{"message":"bad token {SECRET} or Token token={SECRET}"}}}}'.encode()
    problem, _ = failing([(400, {}, body)])
    reply, _ = ask([(200, {"x-secret": SECRET}, SECRET.encode())])

    async def unreachable() -> str:
        async with client("http://127.0.0.1:9", FakeTime()) as api:
            try:
                await api.send("GET", "/things", params=[("q", SECRET)])
            except Unreachable as gone:
                return f"{gone!r} {gone} {gone.diagnostics} {api!r} {gone.__cause__!r}"
            return ""

    said = [str(problem), repr(problem), repr(problem.diagnostics), problem.message, repr(reply), run(unreachable)]
    assert [text for text in said if SECRET in text or not text] == []


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b'{"error":{"message":"No","code":2001,"errors":["a","b"]}}', Complaint("2001", "No: a; b", ["a", "b"])),
        (b'{"error":{"message":"No","errors":["No"]}}', Complaint("", "No", ["No"])),
        (b'{"error":{"message":"No","errors":"No"}}', Complaint("", "No", "No")),
        (b'{"error":{"message":"No","errors":{"x.y":["a"]}}}', Complaint("", "No: x.y a", {"x.y": ["a"]})),
        (b'{"error":"plain words"}', Complaint("", "plain words", None)),
        (
            b'{"ok":false,"error":"not_found","message":"Gone","details":{"id":1}}',
            Complaint("not_found", "Gone", {"id": 1}),
        ),
        (b'{"error":"invalid_client","error_description":"Who?"}', Complaint("invalid_client", "Who?", None)),
        (b'{"error":null}', Complaint("", "", None)),
        (b'["no"]', Complaint()),
        (b"<html>502</html>", Complaint()),
        (b"", Complaint()),
    ],
)
def test_error_bodies_of_both_apis_are_read(body: bytes, told: Complaint) -> None:
    """PagerDuty's objects and texts, Port's flat form, OAuth's, and what is none of these."""
    assert read_complaint(body) == told


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda x: st.lists(x) | st.dictionaries(st.sampled_from(["error", "message", "errors", "code", "details"]), x),
    )
)
def test_any_error_body_can_be_read(body: Any) -> None:
    """No body makes reading it fail, and the message is a text that is not endless."""
    import msgspec

    told = read_complaint(msgspec.json.encode(body))
    assert isinstance(told.message, str)
    assert len(told.message) <= 600


# --- where to ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1", "http://localhost:8080", "http://[::1]:1", "https://api.example.com"]
)
def test_safe_addresses_are_taken(url: str) -> None:
    """Encrypted, or this machine."""
    check_url(url, "PagerDuty")


@pytest.mark.parametrize(
    "url",
    [
        *("http://api.example.com", "http://10.0.0.1", "ftp://x", "api.example.com", "", "https://"),
        *("https://api.example.com\n", "https://api.example.com/a b", "https://h:70000", "https://h:x", "https://[::1"),
    ],
)
def test_unsafe_addresses_are_refused(url: str) -> None:
    """Credentials do not leave this machine in the clear."""
    with pytest.raises(UsageError):
        check_url(url, "PagerDuty")


@pytest.mark.parametrize("rest", ["?", "?x=1", "/#", "/sub#a"])
def test_nothing_follows_the_path_of_a_base_url(rest: str) -> None:
    """The path of a request would become part of it."""
    with pytest.raises(UsageError) as caught:
        client(f"https://api.example.com{rest}", FakeTime())
    assert "leave out what begins with ? or #" in caught.value.diagnostics[0].hint


@pytest.mark.parametrize("who", ["me:hunter2@", "me@", ":hunter2@"])
def test_a_base_url_holds_no_credentials(who: str) -> None:
    """Plans, comments and saved files show it."""
    with pytest.raises(UsageError, match="holds credentials") as caught:
        client(f"https://{who}api.example.com", FakeTime())
    assert "hunter2" not in str(caught.value.diagnostics)


def test_plain_http_can_be_asked_for() -> None:
    """By name."""
    check_url("http://api.example.com", "PagerDuty", allow_plain_http=True)


def test_no_proxy_is_asked_for_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sandbox works on a machine with a proxy."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    assert ask([OK])[0].status == 200


def test_a_proxy_is_used_for_other_machines(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request to another host goes through the proxy that the environment names, with user and password."""
    tape = Tape(Script([OK]))

    async def body() -> Reply:
        async with client("http://api.example.com", FakeTime(), allow_plain_http=True) as api:
            return await api.send("GET", "/things")

    with serving(tape) as url:
        monkeypatch.setenv("HTTP_PROXY", url.replace("://", "://me:hunter2@"))
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        assert run(body).status == 200
    headers = tape.requests[0].headers
    assert (headers["host"], headers["proxy-authorization"]) == ("api.example.com", "Basic bWU6aHVudGVyMg==")


def test_a_proxy_that_is_not_needed_need_not_be_usable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Desktops name one for SOCKS beside it; and a host that is left out goes straight, also by its port."""
    for name in ("https_proxy", "no_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTPS_PROXY", " me:hunter2@proxy.test:3128\n")  # as files end
    monkeypatch.setenv("ALL_PROXY", "socks://127.0.0.1:1080/")
    monkeypatch.setenv("NO_PROXY", "internal.test,api.test:8443")
    hosts = ("api.test", "api.test:8443", "a.internal.test", "127.0.0.1", "localhost")
    assert [named_proxy(f"https://{host}") for host in hosts] == ["http://me:hunter2@proxy.test:3128", *[None] * 4]


STRAIGHT = {
    "https://api.test": True,
    "HTTPS://api.test/": True,
    "https://api.test:443": True,
    "api.test:443": True,
    "x.test , all://*.test": True,
    "https://*": True,
    "http://api.test": False,
    "https://api.test:8443": False,
    "https://other-api.test,https://pi.test": False,
    "https://": False,
}


@pytest.mark.parametrize("left_out", STRAIGHT)
def test_a_host_may_be_left_out_with_its_scheme(left_out: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As other HTTP clients take it: for that scheme and that port, where they are named."""
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.setenv("https_proxy", "http://proxy.test:3128")
    monkeypatch.setenv("NO_PROXY", left_out)
    assert (named_proxy("https://api.test") is None) == STRAIGHT[left_out]


@pytest.mark.parametrize(
    "proxy",
    ["socks5://me:hunter2@127.0.0.1:1", "ftp://x", "http://me:hun/ter2@proxy:3128", "http://me:hunter2", "http://"],
)
def test_a_proxy_that_cannot_be_used_is_said(proxy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is sent, and without its password."""
    for name in ("https_proxy", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    with pytest.raises(UsageError) as caught:
        client("https://api.test", FakeTime())
    (told,) = caught.value.diagnostics
    assert (told.code, "HTTPS_PROXY" in told.hint, "hun" in str(caught.value)) == ("PD313", True, False)


def test_answers_are_not_kept() -> None:
    """Pages of 100,000 records go when their records were taken: they do not wait for the garbage collector."""
    page = b'"' + b"x" * 1_000_000 + b'"'

    async def body() -> int:
        async with client(url, FakeTime()) as api:
            await api.send("GET", "/things")
            gc.collect()
            gc.disable()
            tracemalloc.start()
            try:
                for _ in range(20):
                    assert len((await api.send("GET", "/things")).content) == len(page)
                return tracemalloc.get_traced_memory()[0]
            finally:
                tracemalloc.stop()
                gc.enable()

    with serving(Tape(Script([(200, {}, page)] * 21))) as url:
        assert run(body) < 5_000_000
