"""What goes to and fro: a request on its way, its answer, and what is told of both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable

    from pdsync.model import Json

T = TypeVar("T")

GARBLED = b"(what came could not be unpacked)"
"""Stands for the content of an answer that is not compressed as it says, also after a second try."""


def read_json(decode: Callable[[bytes], T], content: bytes) -> T:
    """What `decode` makes of a server's answer.  Raises `msgspec.DecodeError`, also for one that is nested too deep."""
    if content == GARBLED:
        raise msgspec.DecodeError("it is not compressed as it says, and cannot be unpacked")
    try:
        return decode(content)
    except RecursionError:
        raise msgspec.DecodeError("it is nested too deep") from None


@dataclass(slots=True)
class Call:
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
    times_sent: int = 0
    doubtful: bool = False
    renewed: bool = False
    garbled: bool = False
    credentials: dict[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Reply:
    """What a server answered; header names are lower case.  Its repr holds neither headers nor content.

    `seconds` is how long that took since the request was first sent, what it waited for its turn before left out, and
    `times_sent` how often it was.
    """

    status: int
    headers: Mapping[str, str] = field(repr=False)
    content: bytes = field(repr=False)
    seconds: float = 0.0
    times_sent: int = 1

    def json(self) -> Json:
        """The content as JSON; an empty one is None.  Raises `msgspec.DecodeError` for anything else."""
        return read_json(msgspec.json.decode, self.content) if self.content else None


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request and its answer, for whoever watches; `status` is 0 when there was no answer."""

    method: str
    path: str
    status: int
    seconds: float
    attempt: int
    size: int
