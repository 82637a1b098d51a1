"""Journals that travel: those of a state that several machines share are kept with it, so that any of them can resume.

A journal is carried in parts that are written once and never again, so that nothing is sent twice however large the
plan or the state is:

    runs/RUN/0.jsonl     the plan and what will be deleted, before the first write starts; further parts as time goes by
    runs/index.jsonl     which runs there are, in how many parts, and which ledger holds their outcome

What is sent lags behind what is on disk by a few seconds.  So where a journal was not carried to its end, the machine
may have died or be at work: what is not known to have ended is unknown (`all_unknown`), and is settled by looking.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import msgspec
import orjson

from pdsync.errors import StalePlan, StateError, error
from pdsync.state.header import read_header

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from pdsync.model import OutcomeStatus, RunRecord
    from pdsync.state.backends import Backend

FORMAT = "pdsync-runs"
VERSION = 1
INDEX = "runs/index.jsonl"
WHOLE = b'{"whole":true}'
"""The last line of a journal that was carried to its end."""

ATTEMPTS = 5
"""How often the index is written anew when others keep writing it."""

LAST_PART = 2.0
"""Seconds that a part under way gets to arrive once the run has ended."""

KEPT_RUNS = 50
KEPT_BYTES = 256 * 1024 * 1024
"""So many journals of closed runs are kept, and so many bytes of them; that of the last run always."""


@dataclass(frozen=True, slots=True)
class Carried:
    """A run whose journal is kept with the state.

    `parts` and `size` (in bytes) are those of its begin until its end was told; `closed` is the serial of the ledger
    that holds its outcome.
    """

    run: str
    parts: int = 0
    size: int = 0
    closed: int | None = None


class CarriedJournals:
    """The journals that a backend keeps."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def listed(self) -> list[Carried]:
        """The runs, oldest first.  Raises `StateError`."""
        return self._index()[0]

    def read(self, run: str) -> tuple[bytes, bool] | None:
        """A run's journal as far as it was carried, and whether to its end; None when there is none."""
        parts: list[bytes] = []
        while (part := self._backend.load(_part(run, len(parts)))) is not None:
            parts.append(part.data)
        if not parts:
            return None
        data = b"".join(parts)
        whole = data.endswith(WHOLE + b"\n")
        return data.removesuffix(WHOLE + b"\n"), whole

    def carrier(self, run: str) -> Carrier:
        """What carries the journal of a run that sets out."""
        return Carrier(self, run, self._backend.heartbeat)

    def names(self) -> Iterator[str]:
        """The names of all that is kept.  Raises `StateError`."""
        held, version = self._index()
        for each in held:
            number = 0
            while self._backend.version(name := _part(each.run, number)) is not None:
                yield name
                number += 1
        if version is not None:
            yield INDEX

    def put(self, run: str, data: bytes, closed: int | None, *, whole: bool = True) -> None:
        """Keep a journal that is not at work any more; `whole`: it has come to its end.  Raises `StateError`."""
        carrier = self.carrier(run)
        carrier.add([*data.splitlines(), *([WHOLE] if whole else [])])
        carrier.send()
        self.note({run: replace(carrier.told, closed=closed)})

    def store(self, run: str, number: int, data: bytes) -> None:
        """Keep one part, once; that it is there already as it should be is fine.  Raises `StateError`."""
        name = _part(run, number)
        try:
            self._backend.store(name, data, None)
        except StalePlan:
            held = self._backend.load(name)
            if held is None or held.data != data:
                raise

    def note(self, runs: Mapping[str, Carried]) -> None:
        """Enter these runs into the index.  Raises `StateError`."""

        def entered(held: list[Carried]) -> list[Carried]:
            merged = {each.run: each for each in held} | dict(runs)
            return [merged[run] for run in sorted(merged)]

        self._change(entered)

    def close(self, holds: Callable[[str], bool], serial: int, told: Mapping[str, Carried]) -> None:
        """Note that the ledger with this serial holds the outcome of the runs of which `holds` says so.

        `told` is what is known of some of them.  The oldest ones that are too many go.  Raises `StateError`.
        """
        gone: list[Carried] = []

        def closed(held: list[Carried]) -> list[Carried]:
            known = [told.get(each.run, each) for each in held]
            kept = [replace(e, closed=serial) if e.closed is None and holds(e.run) else e for e in known]
            gone[:] = _too_many(kept)
            return [each for each in kept if each not in gone]

        self._change(closed)
        for each in gone:
            for number in range(each.parts):
                self._backend.delete(_part(each.run, number))

    def _change(self, edit: Callable[[list[Carried]], list[Carried]]) -> None:
        for attempt in range(ATTEMPTS):
            held, version = self._index()
            wanted = edit(held)
            if wanted == held:
                return
            try:
                self._backend.store(INDEX, _dump(wanted), version)
            except StalePlan:
                if attempt == ATTEMPTS - 1:
                    raise
            else:
                return

    def _index(self) -> tuple[list[Carried], str | None]:
        stored = self._backend.load(INDEX)
        if stored is None:
            return [], None
        name = f"{self._backend.url}/{INDEX}"
        head, _, rest = stored.data.partition(b"\n")
        read_header(head + b"\n", name, form=FORMAT, versions=[VERSION])
        try:
            return [msgspec.json.decode(line, type=Carried) for line in rest.splitlines()], stored.version
        except msgspec.DecodeError as e:
            hint = "keep a copy, then remove it: the journals of earlier runs are not found any more, nothing else"
            raise StateError(error("PD537", "the list of runs is damaged", detail=f"{name}: {e}", hint=hint)) from e


class Carrier:
    """Carries the journal of a run at work: what is added is sent, in order, each line once.

    `told` is the run's line of the index.
    """

    def __init__(self, journals: CarriedJournals, run: str, every: float) -> None:
        self.told = Carried(run)
        self._journals = journals
        self._every = every
        self._lines: list[bytes] = []
        self._part = b""
        self._sent = 0
        self._adding, self._sending = threading.Lock(), threading.Lock()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def begun(self) -> bool:
        """Whether anything was sent."""
        return self._sent > 0

    def add(self, lines: Sequence[bytes]) -> None:
        """Take up lines, to be sent with the next part."""
        with self._adding:
            self._lines += lines

    def begin(self) -> None:
        """Send all there is, and from now on what comes, from time to time.  Raises `StateError`."""
        self.send()
        self._journals.note({self.told.run: self.told})
        self._thread = threading.Thread(target=self._live, name="pdsync-journal", daemon=True)
        self._thread.start()

    def send(self) -> None:
        """Send what was added.  Raises `StateError`; what could not be sent is sent next time, the very same."""
        with self._sending:
            while self._take():
                self._journals.store(self.told.run, self._sent, self._part)
                self._sent += 1
                self.told = replace(self.told, parts=self._sent, size=self.told.size + len(self._part))
                self._part = b""

    def end(self) -> None:
        """The run has ended, and all lines were added: send the last ones.  What cannot be sent stays here alone."""
        self._ended.set()
        if self._thread is None:
            return
        self._thread.join(LAST_PART)
        if not self._thread.is_alive():  # else the store has not answered for a while
            self.add([WHOLE])
            with suppress(StateError):  # the ledger is stored next: what is wrong is told then
                self.send()

    def _take(self) -> bool:
        """Make a part of what was added, unless one is still to be sent; whether there is one."""
        if not self._part:
            with self._adding:
                lines, self._lines = self._lines, []
            self._part = b"".join(line + b"\n" for line in lines)
        return bool(self._part)

    def _live(self) -> None:
        # The longer a run takes the rarer, so that its parts do not become too many.
        while not self._ended.wait(self._every * (1 + self._sent // 4)):
            with suppress(StateError):  # what is not sent now is sent next time
                self.send()


def all_unknown(record: RunRecord) -> RunRecord:
    """A run of which not all is known: whatever is not known to have ended may or may not have been done."""
    unknown: dict[int, OutcomeStatus] = {change.n: "unknown" for change in record.plan.changes}
    return replace(record, statuses=unknown | dict(record.statuses))


def _part(run: str, number: int) -> str:
    return f"runs/{run}/{number}.jsonl"


def _dump(runs: Sequence[Carried]) -> bytes:
    head = orjson.dumps({"format": FORMAT, "version": VERSION})
    return b"".join(line + b"\n" for line in (head, *map(msgspec.json.encode, runs)))


def _too_many(runs: Sequence[Carried]) -> list[Carried]:
    """Closed runs beyond those that are kept, oldest first."""
    found, size = [], 0
    closed = [each for each in reversed(runs) if each.closed is not None]
    for number, each in enumerate(closed):
        size += each.size
        if number and (number >= KEPT_RUNS or size > KEPT_BYTES):
            found.append(each)
    return found[::-1]
