"""A process that dies at a chosen moment, within this process: at a request or at an operation on a file.

The moments are counted at the few places where all requests and all durable writes pass: right before a file is written
(right after is before the next), before a request is sent and after it took effect.  From the death on nothing is sent
and nothing is written any more, whatever `finally` may say.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from pdsync import files
from pdsync.state.backends.remote import RemoteBackend
from pdsync.state.carried import Carrier
from pdsync.transport import ApiClient

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence


class Killed(BaseException):
    """The process is dead."""


class Moments:
    """The moments that have passed; the process dies at number `fatal`, or at the first whose name has that pattern."""

    def __init__(self, fatal: int | str | None) -> None:
        self.fatal = fatal
        self.names: list[str] = []
        self.dead = False

    def pass_by(self, name: str) -> None:
        if not self.dead:
            self.names.append(name)
            self.dead = self._is_fatal(name)
        if self.dead:
            raise Killed(name)

    def _is_fatal(self, name: str) -> bool:
        if isinstance(self.fatal, str):
            return re.search(self.fatal, name) is not None
        return len(self.names) == self.fatal


def distinct(names: Sequence[str]) -> list[int]:
    """The numbers, from 1, of moments that differ to those who live on: right after something is before the next."""
    following = [*names[1:], ""]
    return [
        number
        for number, (name, after) in enumerate(zip(names, following, strict=True), start=1)
        if not (name.startswith("after ") and after.startswith("before "))
    ]


@contextmanager
def killed_at(fatal: int | str | None) -> Iterator[Moments]:
    """Count the moments of the block; die at the one with this number, from 1, or this name: so the block ends."""
    moments = Moments(fatal)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("create", "append", "replace", "remove"):
            patch.setattr(files, name, _around(moments, name, getattr(files, name)))
        patch.setattr(ApiClient, "_transfer", _around_request(moments, ApiClient._transfer))
        patch.setattr(RemoteBackend, "store", _around_store(moments, RemoteBackend.store))
        patch.setattr(Carrier, "_live", lambda _self: None)  # what it would send later, the dead do not
        try:
            yield moments
        except Killed:
            pass
        except BaseExceptionGroup as several:
            if several.split(Killed)[1] is not None:
                raise


def _around(moments: Moments, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
    def wrapped(*args: Any, **options: Any) -> Any:
        moments.pass_by(f"before {name}")
        return call(*args, **options)

    return wrapped


def _around_store(moments: Moments, call: Callable[..., str]) -> Callable[..., str]:
    def wrapped(self: RemoteBackend, name: str, data: bytes, expected: str | None) -> str:
        moments.pass_by(f"before storing {name}")
        version = call(self, name, data, expected)
        moments.pass_by(f"after storing {name}")
        return version

    return wrapped


def _around_request(moments: Moments, call: Callable[..., Any]) -> Callable[..., Any]:
    async def wrapped(self: ApiClient, request: Any, *rest: Any) -> Any:
        moments.pass_by(f"before {request.method} {request.path}")
        answer = await call(self, request, *rest)
        moments.pass_by(f"after {request.method} {request.path}")
        return answer

    return wrapped
