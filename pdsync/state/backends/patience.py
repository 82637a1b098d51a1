"""Trying again what fails for the moment: growing pauses that differ, an end, and a word when it takes long."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator

T = TypeVar("T")

SILENCE = 2.0
REPEAT = 10.0
"""Seconds until something is said, and between saying it again."""

FIRST_CONTACT = 20.0
"""Seconds of patience with who has never answered."""


class NoAnswer(Exception):
    """The request failed for the moment and may have taken effect.

    Its text says why; `wait` is how many seconds the server asks to wait.
    """

    def __init__(self, why: str, wait: float = 0.0) -> None:
        super().__init__(why)
        self.wait = wait


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to try: no try begins later than `total` seconds after the first one.

    Pauses begin at `first` seconds and double up to `longest`; each is cut by up to a half, so that two who failed at
    the same moment part.  `sleep`, `clock` and `chance` (in [0, 1)) are where time and chance come from.
    """

    total: float = 60.0
    first: float = 0.5
    longest: float = 10.0
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic
    chance: Callable[[], float] = random.SystemRandom().random

    def with_a_stranger(self) -> Patience:
        """The same with less time: for who has never answered, most likely because the name is wrong."""
        return replace(self, total=min(self.total, FIRST_CONTACT))

    def insist(self, call: Callable[[], T], on_pause: Callable[[float, NoAnswer], None] | None = None) -> T:
        """What `call` returns, as soon as it does not raise `NoAnswer`; the last one raised once the time is over."""
        ends, bound = self.clock() + self.total, self.first
        while True:
            try:
                return call()
            except NoAnswer as problem:
                left = ends - self.clock()
                if left <= 0:
                    raise
                pause = min(left, max(problem.wait, bound * (0.5 + self.chance() / 2)))
                if on_pause:
                    on_pause(pause, problem)
                self.sleep(pause)
                bound = min(self.longest, bound * 2)


@contextmanager
def telling(notify: Callable[[str], None] | None, text: str) -> Iterator[None]:
    """Say what is being waited for when the block takes more than two seconds, and every ten seconds after that."""
    if notify is None:
        yield
        return
    ended = threading.Event()

    def tell() -> None:
        pause = SILENCE
        while not ended.wait(pause):
            notify(text)
            pause = REPEAT

    teller = threading.Thread(target=tell, daemon=True)
    teller.start()
    try:
        yield
    finally:
        ended.set()
        teller.join()
