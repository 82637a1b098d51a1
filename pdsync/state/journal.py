"""The journal: what an apply set out to do and how far it came, one JSON line per event, append-only.

    {"format":"pdsync-journal","version":4,"run":"20260601T120000Z-1f0c2a","started":...,"plan":{...the plan...}}
    {"before":{"commit":...,"entries":[[5,{...}]]}}  the ledger that the run found, where the plan does not tell
    {"images":[[5,{"entity":...}]]}              what will be deleted, as it is before the first write
    {"begin":[3,4,5]}                            durable before those writes start
    {"there":[5]}                                what was to be created was there already, by somebody else
    {"end":[[3,"done",""],[4,"failed","..."]]}   durable before they count
    {"closed":418}                               the ledger with this serial holds the result

Several begins and ends that come at the same time share one write and one sync.  A run that is not closed is replayed
when the state is opened (`pdsync.state.runs`).  Version 1 had neither format nor version, nor images; version 2 did not
tell of the ledger before, version 3 not of what was there already.
"""

from __future__ import annotations

import asyncio
import os
import threading
from dataclasses import fields, replace
from itertools import chain
from typing import TYPE_CHECKING, Any

import msgspec
import orjson

from pdsync import files
from pdsync.errors import StateError, error
from pdsync.model import ExistingEntity, LedgerBefore, RunHead, RunRecord
from pdsync.plan.document import parse_plan, plan_chunks
from pdsync.sealing import MAGIC, is_sealed, new_lines, read_lines
from pdsync.state.backends.sealed import not_sealed
from pdsync.state.header import read_header

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from pdsync.model import Image, Json, Outcome, OutcomeStatus, Plan
    from pdsync.sealing import Keyring
    from pdsync.state.carried import Carried, Carrier

FORMAT = "pdsync-journal"
VERSION = 4
BEGIN = b'{"begin"'
_PLAN = b',"plan":'
_BLOCK = 1 << 20
TAIL = 64
"""Bytes at the end of a journal that hold its last line, when that closes the run."""


class Journal:
    """The journal of one running apply, open for appending.

    Every method that notes something raises `StateError` when that could not be made durable, and from then on always.
    """

    def __init__(
        self,
        folder: Path,
        head: RunHead,
        plan: Plan,
        keyring: Keyring | None = None,
        *,
        before: LedgerBefore | None = None,
        carrier: Carrier | None = None,
    ) -> None:
        self.head = head
        self.plan = plan
        self.begun: set[int] = set()
        self.outcomes: dict[int, Outcome] = {}
        self.there: set[int] = set()
        self.path = folder / f"{head.run}.jsonl"
        self._broken: StateError | None = None
        self._turn = asyncio.Lock()
        self._waiting: list[bytes] = []
        self._asked = self._kept = 0
        self._writing = threading.Lock()
        self._carrier = carrier
        self._sealed = new_lines(keyring, str(self.path)) if keyring else None
        self._written = 0
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._handle = files.create(self.path)
        except OSError as e:
            raise _unwritten(self.path, e) from e
        try:
            self._write_first(_first_line(head, plan), [_before_line(before)] if before else [])
            files.sync_folder(folder)
        except OSError as e:
            raise _unwritten(self.path, e) from e

    @property
    def run(self) -> str:
        """The run's id."""
        return self.head.run

    async def keep(self, images: Mapping[int, Image]) -> None:
        """Note, durably, what the entities and blueprints hold that will be deleted."""
        if images:
            await self._note({"images": [[n, _image_out(image)] for n, image in images.items()]})

    async def begin(self, numbers: Iterable[int]) -> None:
        """Note, durably, that these changes are about to be written."""
        listed = list(numbers)
        await self._note({"begin": listed})
        self.begun.update(listed)

    async def found(self, numbers: Iterable[int]) -> None:
        """Note, durably, that what these changes were to create was there already; known it is in any case."""
        listed = list(numbers)
        self.there.update(listed)
        if listed:
            await self._note({"there": listed})

    async def end(self, outcomes: Iterable[Outcome]) -> None:
        """Note, durably, how these changes went; known they are in any case."""
        listed = list(outcomes)
        try:
            await self._note({"end": [[o.n, o.status, o.message] for o in listed]})
        finally:
            self.outcomes.update({o.n: o for o in listed})

    @property
    def statuses(self) -> dict[int, OutcomeStatus]:
        """By number, as a replay would find them: what was begun and has not ended is unknown."""
        open_ones: dict[int, OutcomeStatus] = dict.fromkeys(self.begun, "unknown")
        return open_ones | {n: outcome.status for n, outcome in self.outcomes.items()}

    def arrive(self) -> Carried | None:
        """Let the last lines of a journal that travels arrive, as far as that can be; what is to be told of it."""
        if self._carrier is None:
            return None
        self._carrier.end()
        return self._carrier.told

    def close(self, serial: int) -> None:
        """Note that the ledger with this serial holds the result."""
        self._write([orjson.dumps({"closed": serial})])
        self.leave()

    def leave(self) -> None:
        """Close the file, whatever became of the run."""
        with self._writing:
            if self._handle >= 0:
                os.close(self._handle)
            self._handle = -1

    async def _note(self, event: Mapping[str, Json]) -> None:
        """Append an event, together with all that others want to append at this time."""
        self._waiting.append(orjson.dumps(event))
        self._asked = ticket = self._asked + 1
        async with self._turn:
            if self._kept < ticket:
                lines, self._waiting = self._waiting, []
                upto = self._asked
                await asyncio.to_thread(self._write, lines)
                self._kept = upto

    def _write_first(self, line: Iterable[bytes], others: list[bytes]) -> None:
        """The line that holds the plan, in pieces: it is put together only where it is sealed, or travels."""
        if self._sealed or self._carrier:
            self._write([b"".join(line), *others])
            return
        files.append(self._handle, chain(line, [b"\n"], (other + b"\n" for other in others)))
        self._written += 1 + len(others)

    def _write(self, lines: list[bytes]) -> None:
        with self._writing:
            if self._broken:
                raise self._broken
            written = [self._on_paper(number, line) for number, line in enumerate(lines, self._written)]
            try:
                files.append(self._handle, written)
            except OSError as e:
                self._broken = _unwritten(self.path, e)
                raise self._broken from e
            self._written += len(lines)
            if self._carrier:
                self._carry(self._carrier, lines)

    def _carry(self, carrier: Carrier, lines: list[bytes]) -> None:
        """Let lines travel; what comes with the first begin, and all before, is to have arrived before that counts."""
        carrier.add(lines)
        if not carrier.begun and any(line.startswith(BEGIN) for line in lines):
            try:
                carrier.begin()
            except StateError as e:
                self._broken = e
                raise

    def _on_paper(self, number: int, line: bytes) -> bytes:
        if not self._sealed:
            return line + b"\n"
        return (b"" if number else self._sealed.head) + self._sealed.seal(number, line) + b"\n"


def _first_line(head: RunHead, plan: Plan) -> Iterator[bytes]:
    told = {f.name: getattr(head, f.name) for f in fields(head)}
    start = orjson.dumps(
        {"format": FORMAT, "version": VERSION} | {name: value for name, value in told.items() if value}
    )
    yield start[:-1] + _PLAN
    for chunk in plan_chunks(plan):
        yield chunk.rstrip(b"\n")
    yield b"}"


def _before_line(before: LedgerBefore) -> bytes:
    told = {f.name: getattr(before, f.name) for f in fields(before)} | {"entries": list(before.entries.items())}
    return msgspec.json.encode({"before": told})


def _unwritten(path: Path, cause: OSError) -> StateError:
    return StateError(
        error(
            "PD531",
            "cannot write the journal",
            detail=f"{path}: {cause.strerror or cause}",
            hint="without it nothing is written to Port: make room there, or see who may write",
        )
    )


# --- reading ---------------------------------------------------------------------------------------------------


def read_journal(path: Path, keyring: Keyring | None = None) -> RunRecord:
    """Read one journal; a last line that was cut by a crash is left out.

    Raises `StateError` when the first line is not whole (the run never began) or another one makes no sense, for one
    of a newer version, and for a sealed journal whose key we do not have.
    """
    return parse_journal(_plain(path, keyring), str(path))


def parse_journal(data: bytes, name: str) -> RunRecord:
    """A journal's bytes as `read_journal` reads them."""
    head, *lines = data.split(b"\n")
    if head.startswith(b'{"format"'):
        read_header(_without_plan(head) + b"\n", name, form=FORMAT, versions=range(1, VERSION + 1))
    try:
        first = msgspec.json.decode(head, type=dict[str, msgspec.Raw])
        plan = parse_plan(bytes(first["plan"]), name)
        told = {f.name: str(orjson.loads(bytes(first[f.name]))) for f in fields(RunHead) if f.name in first}
        return _with_events(RunRecord(RunHead(**told), plan), map(orjson.loads, lines[:-1]))
    except (ValueError, LookupError, TypeError, AttributeError) as e:
        hint = "keep a copy, then remove it: what that run did is planned again, as changes or as something to adopt"
        raise StateError(error("PD530", "journal is damaged", detail=f"{name}: {e}", hint=hint)) from e


def _without_plan(head: bytes) -> bytes:
    """The first line without the plan that ends it, which is by far the most of it."""
    begin, plan, _ = head.partition(_PLAN)
    return begin + b"}" if plan else head


def _with_events(record: RunRecord, events: Iterable[Any]) -> RunRecord:
    statuses: dict[int, OutcomeStatus] = {}
    messages: dict[int, str] = {}
    images: dict[int, Image] = {}
    there: set[int] = set()
    before: LedgerBefore | None = None
    closed: int | None = None
    for event in events:
        statuses.update(dict.fromkeys(event.get("begin", ()), "unknown"))
        images.update((n, _image_in(image)) for n, image in event.get("images", ()))
        there.update(event.get("there", ()))
        for n, status, message in event.get("end", ()):
            statuses[n], messages[n] = status, message
        before = _before_in(event["before"]) if "before" in event else before
        closed = event.get("closed")
    record = replace(record, statuses=statuses, messages=messages, images=images)
    return replace(record, there=frozenset(there), closed=closed, before=before)


def _before_in(told: Mapping[str, Json]) -> LedgerBefore:
    return msgspec.convert({**told, "entries": dict(told["entries"])}, LedgerBefore)


def _image_out(image: Image) -> Json:
    return {"entity": msgspec.to_builtins(image)} if isinstance(image, ExistingEntity) else {"blueprint": image}


def _image_in(image: Mapping[str, Json]) -> Image:
    if "entity" in image:
        return msgspec.convert(image["entity"], ExistingEntity)
    return dict(image["blueprint"])


def _plain(path: Path, keyring: Keyring | None) -> bytes:
    """The bytes of a journal that is sealed if there is a key.  Raises `StateError` when it is not."""
    data = path.read_bytes()
    if keyring is not None and data and not is_sealed(data):
        raise not_sealed(str(path))
    return unsealed_journal(data, keyring, str(path))


def unsealed_journal(data: bytes, keyring: Keyring | None, name: str) -> bytes:
    """A journal as it would be had it not been sealed; a line that a crash has cut is left out."""
    whole = data[: data.rfind(b"\n") + 1]
    if not is_sealed(whole):
        return whole
    head, _, rest = whole.partition(b"\n")
    lines = read_lines(head + b"\n", keyring, name)
    return b"".join(lines.unseal(n, line) + b"\n" for n, line in enumerate(rest.split(b"\n")[:-1]))


def sealed_journal(data: bytes, keyring: Keyring, name: str) -> bytes:
    """A plain journal, sealed; a line that a crash has cut is left out."""
    lines = new_lines(keyring, name)
    whole = data.split(b"\n")[:-1]
    return lines.head + b"".join(lines.seal(n, line) + b"\n" for n, line in enumerate(whole))


def closed_by(data: bytes) -> int | None:
    """The serial of the ledger that holds the outcome, as the last line of a plain journal tells."""
    last = data.rpartition(b"\n")[0].rpartition(b"\n")[2]
    return int(orjson.loads(last)["closed"]) if last.startswith(b'{"closed":') else None


def serial_at_end(path: Path) -> int | None:
    """The serial of the ledger that holds the outcome, by the end of the file alone.

    None while none does, and of an encrypted journal, which would have to be read whole.
    """
    with path.open("rb") as file:
        if is_sealed(file.read(len(MAGIC))):
            return None
        file.seek(max(0, path.stat().st_size - TAIL))
        return closed_by(file.read())


def open_paths(folder: Path, keyring: Keyring | None = None) -> list[Path]:
    """The journals of runs that were not closed, oldest first; of the others only the end is looked at.

    A run without a whole first line did nothing and is left out.
    """
    return [path for path in paths(folder) if not is_closed(path, keyring) and has_a_line(path)]


def read_open_journals(folder: Path, keyring: Keyring | None = None) -> list[RunRecord]:
    """The runs of `open_paths`."""
    return [read_journal(path, keyring) for path in open_paths(folder, keyring)]


def read_journals(folder: Path, keyring: Keyring | None = None) -> list[RunRecord]:
    """All runs, oldest first; one without a whole first line did nothing and is left out."""
    return [read_journal(path, keyring) for path in paths(folder) if has_a_line(path)]


def paths(folder: Path) -> list[Path]:
    """The journals of a folder, oldest first."""
    return sorted(folder.glob("*.jsonl")) if folder.is_dir() else []


def close_journal(path: Path, serial: int, keyring: Keyring | None = None) -> None:
    """Note in the journal of a run that has ended that the ledger with this serial holds its result.

    A line that a crash has cut is taken away.  Raises `StateError`.
    """
    try:
        end, count = _whole_lines(path)
        line = orjson.dumps({"closed": serial})
        if head := _sealed_head(path):
            line = read_lines(head, keyring, str(path)).seal(count - 1, line)
        handle = os.open(path, os.O_WRONLY | os.O_APPEND | getattr(os, "O_BINARY", 0))
        try:
            os.ftruncate(handle, end)
            files.append(handle, [line + b"\n"])
        finally:
            os.close(handle)
    except OSError as e:
        raise _unwritten(path, e) from e


def has_a_line(path: Path) -> bool:
    """Whether a run came as far as to say what it was about to do; one that did not did nothing."""
    return _whole_lines(path)[1] >= (2 if _sealed_head(path) else 1)


def _sealed_head(path: Path) -> bytes:
    """The first line of a sealed journal, which is about the sealing; empty of one that is not sealed."""
    with path.open("rb") as file:
        start = file.read(len(MAGIC))
        return start + file.readline() if is_sealed(start) else b""


def _whole_lines(path: Path) -> tuple[int, int]:
    """Where the last whole line of a file ends, and how many there are; the first is as long as a plan."""
    end = count = at = 0
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            if found := block.count(b"\n"):
                end, count = at + block.rindex(b"\n") + 1, count + found
            at += len(block)
    return end, count


def is_closed(path: Path, keyring: Keyring | None = None) -> bool:
    """Whether the ledger holds the result of a run, by the last line of its journal."""
    with path.open("rb") as file:
        if is_sealed(file.read(len(MAGIC))):
            file.seek(0)
            last = _last_sealed(file.readline(), file.read(), keyring, str(path))
        else:
            file.seek(max(0, path.stat().st_size - TAIL))
            last = file.read().rpartition(b"\n")[0].rpartition(b"\n")[2]
    return last.startswith(b'{"closed":')


def _last_sealed(head: bytes, rest: bytes, keyring: Keyring | None, name: str) -> bytes:
    """The last whole line of a sealed journal; empty when it has none."""
    lines = rest.split(b"\n")[:-1]
    return read_lines(head, keyring, name).unseal(len(lines) - 1, lines[-1]) if lines else b""
