"""The worker processes as their parent sees them: started when needed, killable, replaced when they die.

A worker is a plain child with pipes, not a `multiprocessing` process: it must not run the caller's main module
again (slow for a console script, an endless loop for a script without a guard), and it must start with an empty
environment rather than empty the one it was given.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import IO, TYPE_CHECKING, Self, TypeVar

from pdsync.errors import MappingError, error
from pdsync.jq import frames
from pdsync.jq.frames import read_frame, write_frames
from pdsync.jq.problems import CRASHED, NO_WORKER, OUT_OF_MEMORY, OUT_OF_TIME

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from types import TracebackType

    from pdsync.model import Json, Record

T = TypeVar("T")
U = TypeVar("U")

# Signal first: Ctrl-C reaches every process of the terminal's group, and ending is the parent's business.
_START = (
    "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
    "import json, sys; sys.path[:] = json.loads(sys.stdin.buffer.readline())\n"
    "from {} import main; main()"
)

_LOADER_VARIABLES = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT")
"""Without these some systems cannot start Python at all; the worker drops them once it runs."""

_WORTH_A_WORKER = 400
_ABORTED, _ABORTED_ON_WINDOWS, _KILLED = -6, 3, -9


_RUNNING: set[subprocess.Popen[bytes]] = set()
"""The worker processes of this process, which outlive it unless they are ended."""


def end_all() -> None:
    """End every worker at once, for who ends this process without waiting for its threads."""
    for process in tuple(_RUNNING):
        process.kill()


@dataclass(frozen=True, slots=True)
class JqLimits:
    """Bounds on the evaluation of one record, all expressions of a rule together.

    `seconds` are of processor time; where the system cannot tell that, of the clock, and a record is stopped at the
    latest after half as long again.  `memory` bounds a worker's address space in bytes, where the system can (Linux).
    An expression that had to be stopped for `stops` records is not evaluated any more.
    """

    seconds: float = 5.0
    memory: int = 1 << 30
    stops: int = 3


@dataclass(frozen=True, slots=True)
class Stop:
    """Why a worker died: a diagnostic code and the reason in words."""

    code: str
    reason: str


class Worker:
    """One worker process; started by the first request, again by the first after its death.

    `module` is what it runs, `settings` are what that is told beside the limits.
    """

    def __init__(
        self, limits: JqLimits, module: str = "pdsync.jq.worker", settings: Mapping[str, Json] = MappingProxyType({})
    ) -> None:
        self._limits = limits
        self._module = module
        self._settings = {**settings, "seconds": limits.seconds, "memory": limits.memory}
        self._process: subprocess.Popen[bytes] | None = None
        self._starting = threading.Lock()
        self._ended = False

    def run(self, program: str, records: Sequence[Record]) -> tuple[list[bytes], Stop | None]:
        """The answers to the records, in order; fewer, with the reason, when the worker died over the next one."""
        header = json.dumps({"run": program, "count": len(records)}).encode()
        return self.ask((header, *(record.raw for record in records)), len(records))

    def ask(self, frames: Sequence[bytes], count: int) -> tuple[list[bytes], Stop | None]:
        """So many answers to a request; fewer, with the reason, when the worker died before."""
        process = self._started()
        answers: list[bytes] = []
        with contextlib.suppress(BrokenPipeError, OSError):  # seen below: no answer comes
            write_frames(_pipe(process.stdin), frames)
            while len(answers) < count and (answer := read_frame(_pipe(process.stdout))) is not None:
                answers.append(answer)
        return answers, None if len(answers) == count else self._died()

    def compile(self, programs: Sequence[str]) -> list[str | None]:
        """The compiler's message for each program, None for one that compiles."""
        process = self._started()
        write_frames(_pipe(process.stdin), (json.dumps({"compile": programs}).encode(),))
        answer = read_frame(_pipe(process.stdout))
        if answer is None:
            raise _cannot_start(self._died().reason)
        messages: list[str | None] = json.loads(answer)
        return messages

    def kill(self) -> None:
        """End the process at once and for good; `close` must follow.  Safe while another thread uses the worker."""
        with self._starting:
            self._ended = True
            if (process := self._process) is not None:
                process.kill()

    def close(self) -> None:
        """End the process and wait for it, so that nothing is left of it."""
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        _RUNNING.discard(process)
        for pipe in (process.stdin, process.stdout, process.stderr):
            with contextlib.suppress(OSError):
                _pipe(pipe).close()

    def _started(self) -> subprocess.Popen[bytes]:
        with self._starting:
            if self._ended:
                raise _cannot_start("it was ended")
            if self._process is not None:
                return self._process
            self._process = process = _spawn(self._module)
            _RUNNING.add(process)
        with contextlib.suppress(BrokenPipeError, OSError):
            _pipe(process.stdin).write(json.dumps([str(Path(entry).absolute()) for entry in sys.path]).encode() + b"\n")
            write_frames(_pipe(process.stdin), (json.dumps(self._settings).encode(),))
            if read_frame(_pipe(process.stdout)) == b"ready":
                return process
        raise _cannot_start(self._died().reason)

    def _died(self) -> Stop:
        """Bury the process and say what it died of."""
        process = self._process
        assert process is not None
        said = _pipe(process.stderr).read().decode("utf-8", "replace")
        code = process.wait()
        self.close()
        return self._cause(code, said)

    def _cause(self, code: int, said: str) -> Stop:
        if code == frames.TIME_IS_UP and (code < 0 or "Timeout" in said):
            return Stop(OUT_OF_TIME, f"stopped after {self._limits.seconds:g} s")
        out_of_memory = code in (_ABORTED, _ABORTED_ON_WINDOWS) and "cannot allocate memory" in said
        if out_of_memory or code in (frames.OUT_OF_MEMORY, _KILLED):
            return Stop(OUT_OF_MEMORY, f"stopped: it needs more than {self._limits.memory >> 20} MiB of memory")
        last = said.strip().splitlines()[-1:] or ["no message"]
        return Stop(CRASHED, f"jq ended with exit status {code}: {last[0][:200]}")


class Pool:
    """Workers that share the records of a snapshot; use it as a context manager."""

    def __init__(self, workers: int, limits: JqLimits) -> None:
        self.limits = limits
        self._workers = [Worker(limits) for _ in range(workers)]
        self._idle: queue.LifoQueue[Worker] = queue.LifoQueue()  # the last used first: it has started already
        for worker in self._workers:
            self._idle.put(worker)
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="jq")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for worker in self._workers:
            worker.kill()
        self._threads.shutdown(wait=True, cancel_futures=True)
        for worker in self._workers:
            worker.close()

    def run(self, program: str, records: Sequence[Record]) -> tuple[list[bytes], Stop | None]:
        """See `Worker.run`; by whichever worker is idle."""
        with self._borrowed() as worker:
            return worker.run(program, records)

    def compile(self, programs: Sequence[str]) -> list[str | None]:
        """See `Worker.compile`."""
        with self._borrowed() as worker:
            return worker.compile(programs)

    def in_order(self, work: Callable[[T], U], items: Iterable[T]) -> Iterator[tuple[T, U]]:
        """Each item with what `work` makes of it, a worker for each at a time; never far ahead of the caller."""
        waiting: deque[tuple[T, Future[U]]] = deque()
        try:
            for item in items:
                waiting.append((item, self._threads.submit(work, item)))
                if len(waiting) > 2 * len(self._workers) + 2:
                    done, future = waiting.popleft()
                    yield done, future.result()
            while waiting:
                done, future = waiting.popleft()
                yield done, future.result()
        finally:
            for _, future in waiting:
                future.cancel()

    @contextlib.contextmanager
    def _borrowed(self) -> Iterator[Worker]:
        worker = self._idle.get()
        try:
            yield worker
        finally:
            self._idle.put(worker)


def default_workers(records: int) -> int:
    """How many processes so many records are worth: starting one costs as much as mapping a few hundred."""
    return max(1, min(4, os.cpu_count() or 1, records // _WORTH_A_WORKER))


def _spawn(module: str) -> subprocess.Popen[bytes]:
    environment = {name: os.environ[name] for name in _LOADER_VARIABLES if name in os.environ}
    try:
        return subprocess.Popen(  # noqa: S603  # our own interpreter, a constant program
            [sys.executable, "-I", "-c", _START.format(module)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
        )
    except OSError as problem:
        raise _cannot_start(str(problem)) from problem


def _pipe(stream: IO[bytes] | None) -> Json:
    """The stream, which is there because it was asked for."""
    assert stream is not None
    return stream


def _cannot_start(reason: str) -> MappingError:
    return MappingError(
        error(
            NO_WORKER,
            "the process that evaluates jq cannot run",
            detail=reason,
            hint="reinstall pdsync; check that its Python can `import jq, orjson`",
        )
    )
