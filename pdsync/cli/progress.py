"""How far a long command is: bars on a terminal, plain lines elsewhere, and never more than two seconds of silence.

That counts from the start of the process: what is loaded takes a while, too, on a slow machine.
"""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Self, TextIO

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from rich.progress import TaskID

SILENCE = 2.0
"""Seconds after which a line says what is being waited for."""

NAMED = 4
"""How many pieces of work a line tells of: those that moved last."""

_LONG = 120
_LASTING = float("inf")


class Silence:
    """Since when nothing was said: for so many seconds by now."""

    def __init__(self, lasted: float = 0.0) -> None:
        self._since = time.monotonic() - lasted

    def broken(self) -> None:
        """Something was said, or asked and answered."""
        self._since = time.monotonic()

    @property
    def left(self) -> float:
        """For how many seconds nothing need be said."""
        return max(0.0, self._since + SILENCE - time.monotonic())


class Progress:
    """Shows counts, rate and time left of named pieces of work, on stderr.

    Call it with (what, done, total or None).  Entered as a context it shows itself; `note` says something in between.
    """

    def __init__(self, stream: TextIO, *, enabled: bool, bars: bool, silence: Silence | None = None) -> None:
        self._stream = stream
        self._silence = silence or Silence()
        self._kind: type[_Nothing] = _Nothing if not enabled else _Bars if bars else _Lines
        self._work = self._nothing = _Nothing(stream, self._silence)

    def __enter__(self) -> Self:
        self._show(self._kind)
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        self._hide()

    def _show(self, kind: type[_Nothing], *whats: str) -> None:
        self._work = kind(self._stream, self._silence)
        for what in whats:
            self(what, 0)
        self._work.start()

    def _hide(self) -> None:
        self._work.stop()
        self._work = self._nothing

    @contextmanager
    def early(self, what: str) -> Iterator[None]:
        """Say what is being done before there is anything to show, if that lasts.

        In lines on a terminal, too: most of it is over before there were bars.
        """
        if self._work is not self._nothing:
            yield
            return
        self._show(_Nothing if self._kind is _Nothing else _Lines, what)
        try:
            yield
        finally:
            self._hide()

    def __call__(self, what: str, done: int, total: int | None = None) -> None:
        """`done` of `total` are done of `what`."""
        self._work.update(what, done, total)

    def note(self, text: str) -> None:
        """A sentence of its own, such as why nothing moves for a while."""
        if self._kind is not _Nothing:
            self._work.note(text)

    def wait(self, text: str, seconds: float) -> None:
        """The same of what takes so many seconds from now."""
        if self._kind is not _Nothing:
            self._work.wait(text, seconds)


class _Nothing:
    """Shows nothing; notes are said all the same, unless nothing is to be shown at all."""

    def __init__(self, stream: TextIO, silence: Silence) -> None:
        self._stream = stream
        self._silence = silence

    def start(self) -> None:
        """Nothing to show."""

    def stop(self) -> None:
        """Nothing to show."""

    def update(self, what: str, done: int, total: int | None) -> None:
        """Nothing to show."""

    def note(self, text: str) -> None:
        self._say(text)

    def _say(self, text: str) -> None:
        print(text, file=self._stream, flush=True)
        self._silence.broken()

    def wait(self, text: str, seconds: float) -> None:  # noqa: ARG002
        """Said once."""
        self.note(text)


class _Lines(_Nothing):
    """Plain lines: at most one every two seconds, from a thread, so that waiting is seen too."""

    def __init__(self, stream: TextIO, silence: Silence) -> None:
        super().__init__(stream, silence)
        self._state: dict[str, tuple[int, int | None, float]] = {}
        self._moved: set[str] = set()
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._talk, daemon=True)
        self._noted = ""
        self._noted_until = _LASTING

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._ended.set()
        self._thread.join()

    def update(self, what: str, done: int, total: int | None) -> None:
        with self._lock:
            _, _, began = self._state.pop(what, (0, None, time.monotonic()))
            self._state[what] = (done, total, began)
            self._moved.add(what)
            if self._noted_until == _LASTING:
                self._noted = ""

    def note(self, text: str) -> None:
        """Say it, and again while nothing moves from now on: it is why."""
        self._noted, self._noted_until = text, _LASTING
        self._say(text)

    def wait(self, text: str, seconds: float) -> None:
        """Say it, and again whenever nothing moves, with what is left of it: of several waits, of the longest."""
        until = time.monotonic() + seconds
        self._say(text)
        if self._noted_until == _LASTING or until > self._noted_until:
            self._noted, self._noted_until = text, until

    def _talk(self) -> None:
        while not self._ended.wait(self._silence.left):
            with self._lock:
                moved, self._moved = self._moved, set()
                going = [(w, *s) for w, s in reversed(self._state.items()) if s[1] is None or s[0] < s[1]]
            if work := [each for each in going if each[0] in moved]:
                self._say(_together(work))
            else:
                self._say(f"still at it: {self._why() or _together(going)}")

    def _why(self) -> str:
        """What was noted, if it still holds."""
        left = self._noted_until - time.monotonic()
        told = self._noted if left == _LASTING else f"{_duration(left)} left, {self._noted}"
        return told if self._noted and left > 0 else ""


def _together(work: list[tuple[str, int, int | None, float]]) -> str:
    """Those that moved last, and how many more."""
    more = f", and {len(work) - NAMED} more" if len(work) > NAMED else ""
    return (", ".join(_words(*each) for each in work[:NAMED]) or "working") + more


def _words(what: str, done: int, total: int | None, began: float) -> str:
    if not done and total is None:
        return what
    rate = _rate(done, began)
    left = f", {_duration((total - done) / rate)} left" if total and rate else ""
    return f"{what} {done:,}" + (f"/{total:,}" if total else "") + (f" ({_speed(rate)}{left})" if done else "")


def _rate(done: int, began: float) -> float:
    return done / max(time.monotonic() - began, 0.001)


def _speed(rate: float) -> str:
    """By the second, or by the minute where it is slower than that."""
    return f"{rate * 60:,.0f}/min" if 0 < rate < 1 else f"{rate:,.0f}/s"


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < _LONG else f"{seconds / 60:.0f} min"


class _Bars(_Nothing):
    """Bars that a terminal redraws."""

    def __init__(self, stream: TextIO, silence: Silence) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as RichProgress

        super().__init__(stream, silence)
        self._console = Console(file=stream)
        self._bars = RichProgress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
        )
        self._tasks: dict[str, TaskID] = {}
        self._began: dict[str, float] = {}

    def start(self) -> None:
        self._bars.start()

    def stop(self) -> None:
        self._bars.stop()

    def update(self, what: str, done: int, total: int | None) -> None:
        if what not in self._tasks:
            self._began[what] = time.monotonic()
            self._tasks[what] = self._bars.add_task(what, total=total, rate="")
        speed = _speed(_rate(done, self._began[what])) if done else ""
        self._bars.update(self._tasks[what], completed=done, total=total, rate=speed)

    def note(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False)
