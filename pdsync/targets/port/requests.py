"""Sending a request to Port, and reading what every answer has in common."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING, TypeVar

from pdsync.targets.port.paths import SEARCH
from pdsync.targets.port.problems import NOT_FOUND, Unreadable, as_target_error, unreadable
from pdsync.transport import ACCEPTED, ApiError, Unreachable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence

    from pdsync.errors import TargetError
    from pdsync.model import Json
    from pdsync.transport import ApiClient, Reply

T = TypeVar("T")


async def ask(
    client: ApiClient,
    method: str,
    path: str,
    *,
    params: Mapping[str, str] | Sequence[tuple[str, str]] = (),
    body: Json | bytes | None = None,
    accept: Collection[int] = ACCEPTED,
) -> Reply:
    """Send a request that may be repeated to the same effect.  Raises `TargetError`, caused by an `ApiError`."""
    pairs = tuple(params.items() if isinstance(params, Mapping) else params)
    try:
        return await client.send(method, path, params=pairs, body=body, accept=accept)
    except (ApiError, Unreachable) as problem:
        raise as_target_error(problem) from problem


async def ask_object(
    client: ApiClient,
    method: str,
    path: str,
    *,
    params: Mapping[str, str] | Sequence[tuple[str, str]] = (),
    body: Json = None,
) -> dict[str, Json]:
    """The JSON object that answers.  Raises `TargetError` when it is none, for what only reads after a second try."""

    async def read() -> dict[str, Json]:
        return json_object(await ask(client, method, path, params=params, body=body), method, path)

    return await (understood(read) if method == "GET" or path == SEARCH else read())


async def understood(read: Callable[[], Awaitable[T]]) -> T:
    """What `read` makes of an answer; one that cannot be read, as if it broke off, is asked for once more."""
    try:
        return await read()
    except Unreadable:
        return await read()


def json_object(reply: Reply, method: str, path: str) -> dict[str, Json]:
    """A reply's JSON object.  Raises `TargetError` when it is none."""
    try:
        answer = reply.json()
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        raise unreadable(f"{method} {path}", "no JSON object", doubtful=True)
    return answer


def refused(problem: TargetError) -> ApiError | None:
    """Port's refusal behind an error, if it is one (and not, say, an answer that never came)."""
    return problem.__cause__ if isinstance(problem.__cause__, ApiError) else None


def is_absent(problem: TargetError) -> bool:
    """Whether it is Port that answered that what was asked for does not exist - and not, say, a proxy."""
    answer = refused(problem)
    return answer is not None and answer.status == HTTPStatus.NOT_FOUND and NOT_FOUND in (answer.code, answer.message)


@asynccontextmanager
async def tasks() -> AsyncIterator[asyncio.TaskGroup]:
    """A task group that raises the first problem itself instead of a group of one."""
    problem: BaseException | None = None
    try:
        async with asyncio.TaskGroup() as group:
            yield group
    except BaseExceptionGroup as problems:
        problem = problems.exceptions[0]
    if problem:
        raise problem
