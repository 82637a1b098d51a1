"""The worker process: runs jq programs on raw records for its parent, with bounds on time and memory.

The parent sends one frame of settings, then requests: a frame with a JSON header, followed by `count` frames of
records.  The worker answers each record with one frame, flushed at once, so that its parent knows which record it was
at when it dies.  It knows nothing of rules and entities.

    {"run": program, "count": n}   per record: the program's answer (a JSON list), or an object that says why there is
                                   none: {"unreadable": message}, {"raised": message}
    {"compile": [program, ...]}    one frame: a list with null or the compiler's message for each
"""

from __future__ import annotations

import faulthandler
import json
import os
import re
import signal
import sys
import time
import traceback
from typing import TYPE_CHECKING, Any, Protocol

import jq
import orjson

from pdsync.jq.frames import DEFECT, OUT_OF_MEMORY, read_frame, write_frames

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import BinaryIO

DEEPEST = 900
"""Levels of nesting in an answer; the parent reads no more than 1024, and jq itself gives up at 10,000."""

_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


def main() -> None:
    """Run programs for the parent."""
    attend(_serve)


def attend(serve: Callable[[BinaryIO, BinaryIO, Watchdog, Mapping[str, Any]], None]) -> None:
    """Serve the parent on standard input and output until it goes; `serve` is given its settings, too."""
    source = sys.stdin.buffer
    sink = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # nothing but answers may reach the parent
    try:
        settings = json.loads(read_frame(source) or b"{}")
        os.environ.clear()
        _bound_memory(settings["memory"])
        write_frames(sink, (b"ready",))
        serve(source, sink, watchdog(settings["seconds"]), settings)
    except MemoryError:
        os._exit(OUT_OF_MEMORY)
    except BrokenPipeError:
        os._exit(0)
    except BaseException:  # noqa: BLE001  # the parent reports what is on standard error
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(DEFECT)
    os._exit(0)


class Watchdog(Protocol):
    """Ends the process when one record takes too long; it works while libjq computes and holds Python's lock."""

    def watch(self) -> None:
        """A record begins."""
        ...

    def rest(self) -> None:
        """Nothing is under way."""
        ...


class ProcessorWatchdog:
    """A `Watchdog` for `seconds` of processor time: what waits for a busy machine is not at fault.

    The system ends the process by a signal.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        signal.signal(signal.SIGPROF, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGPROF})  # whoever starts us may not want it

    def watch(self) -> None:
        """See `Watchdog.watch`."""
        signal.setitimer(signal.ITIMER_PROF, self._seconds)

    def rest(self) -> None:
        """See `Watchdog.rest`."""
        signal.setitimer(signal.ITIMER_PROF, 0)


class ClockWatchdog:
    """A `Watchdog` where the system has no such timer: seconds by the clock, at the latest half as many again.

    It is `faulthandler`'s own thread.  Starting that for every record would cost more than the record: it is started
    anew only when half the time has passed.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._armed = 0.0

    def watch(self) -> None:
        """See `Watchdog.watch`."""
        now = time.monotonic()
        if now - self._armed > self._seconds / 2:
            faulthandler.dump_traceback_later(self._seconds * 1.5, exit=True)
            self._armed = now

    def rest(self) -> None:
        """See `Watchdog.rest`."""
        faulthandler.cancel_dump_traceback_later()
        self._armed = 0.0


def watchdog(seconds: float) -> Watchdog:
    """What bounds the time of a record on this system."""
    return ProcessorWatchdog(seconds) if hasattr(signal, "setitimer") else ClockWatchdog(seconds)


class Programs:
    """Programs by their text, each compiled once."""

    def __init__(self) -> None:
        self._compiled: dict[str, Any] = {}

    def answer(self, text: str, record: bytes) -> bytes:
        """The answer of a program to a record; see the module's docstring."""
        program = self._compiled.get(text)
        if program is None:
            program = self._compiled[text] = jq.compile(text)
        return _answer(program, record)


def _serve(source: BinaryIO, sink: BinaryIO, watchdog: Watchdog, _settings: Mapping[str, Any]) -> None:
    programs = Programs()
    while (header := read_frame(source)) is not None:
        request = json.loads(header)
        if "compile" in request:
            write_frames(sink, (json.dumps([compile_error(text) for text in request["compile"]]).encode(),))
            continue
        records = [read_frame(source) or b"" for _ in range(request["count"])]
        for record in records:
            watchdog.watch()
            write_frames(sink, (programs.answer(request["run"], record),))
        watchdog.rest()


def compile_error(text: str) -> str | None:
    """The compiler's message, None for a program that compiles."""
    try:
        jq.compile(text).input_text("0")
    except ValueError as error:
        return str(error)
    return None


def _answer(program: Any, record: bytes) -> bytes:
    try:
        return _run(program, record.decode())
    except ValueError as error:
        return _answer_repaired(program, record, error)


def _answer_repaired(program: Any, record: bytes, first: ValueError) -> bytes:
    """Try again with broken characters replaced by U+FFFD: libjq refuses a whole text for one of them."""
    try:
        text = _repaired(record)
    except (ValueError, RecursionError) as error:
        return orjson.dumps({"unreadable": str(first if isinstance(error, RecursionError) else error)})
    try:
        return _run(program, text)
    except ValueError as error:
        return orjson.dumps({"raised": str(error)})


def _run(program: Any, text: str) -> bytes:
    """The program's one answer.  Raises ValueError when there is none, or more than one."""
    answers = program.input_text(text).all()
    if len(answers) != 1:
        raise ValueError(f"{len(answers)} answers instead of one: not a single JSON text, or the program ended early")
    try:
        return orjson.dumps(answers[0])
    except TypeError:  # integers above 64 bits, deep nesting: the standard library takes them
        return _dumped_slowly(answers[0])


def _dumped_slowly(answer: Any) -> bytes:
    """As the standard library has it; how deep that goes depends on the interpreter, so the bound is ours."""
    level = [answer]
    for _ in range(DEEPEST):
        level = [inner for value in level for inner in _inside(value)]
    if level:
        raise ValueError("the value is nested too deeply")
    return json.dumps(answer, ensure_ascii=False).encode()


def _inside(value: Any) -> Any:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _repaired(record: bytes) -> str:
    parsed = json.loads(record.decode("utf-8", "replace"))
    return _LONE_SURROGATE.sub("\ufffd", json.dumps(parsed, ensure_ascii=False))


def _bound_memory(limit: int) -> None:
    """Bound the address space, where the system can; no core files."""
    if sys.platform == "win32":
        return
    import resource

    for kind, wanted in ((resource.RLIMIT_CORE, 0), (resource.RLIMIT_AS, limit)):
        hard = resource.getrlimit(kind)[1]
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        try:
            resource.setrlimit(kind, (soft, hard))
        except (ValueError, OSError):  # macOS refuses some bounds; time stays bounded
            continue
