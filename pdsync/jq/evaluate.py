"""A rule and its records -> answers, whatever the expressions do.

What needs no jq is read straight from the record (`Plain`), and jq gets the excerpt of a record that its expressions
read.  Both make no difference to the answer, which is that of the whole program on the whole record.

A record over which a worker died, or which the combined program could not answer, is evaluated again with one
expression at a time: so the expression to blame gets an error, and the others their values.  An expression that had to
be stopped for a few records is given up: the rule starts again without it (`GivenUp`), so that the outcome depends on
how many records stop it, never on which of them came first.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeVar

import orjson

from pdsync.jq.cells import Cell
from pdsync.jq.excerpt import excerpt_of
from pdsync.jq.plain import Plain
from pdsync.jq.problems import DENIED, NOT_JQ, RAISED
from pdsync.jq.program import ITEMS, SELECTOR, definitions, guarded, prelude, program_of, refused
from pdsync.jq.reads import wanted_by
from pdsync.model import Record

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from pdsync.jq.pool import JqLimits, Stop
    from pdsync.jq.program import Layout, Slot
    from pdsync.model import Json

T = TypeVar("T")
U = TypeVar("U")

RULE = "rule"
"""Stands for all expressions of a rule together, when none alone is to blame."""

_BATCH_RECORDS = 128
_BATCH_BYTES = 1 << 20
_POSITION = re.compile(r"^jq: error: | at <top-level>.*", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Fault:
    """Why an expression is not evaluated: a diagnostic code, the reason, the records that showed it."""

    code: str
    reason: str
    records: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Unreadable:
    """In the place of an answer: the record cannot be read, and why."""

    reason: str


class Runner(Protocol):
    """Runs programs on records; `pdsync.jq.pool.Pool` does, in other processes."""

    limits: JqLimits

    def run(self, program: str, records: Sequence[Record]) -> tuple[list[bytes], Stop | None]:
        """The answers to the records, in order; fewer, with the reason, when the next one had to be stopped."""
        ...

    def compile(self, programs: Sequence[str]) -> list[str | None]:
        """The compiler's message for each program, None for one that compiles."""
        ...

    def in_order(self, work: Callable[[T], U], items: Iterable[T]) -> Iterator[tuple[T, U]]:
        """Each item with what `work` makes of it."""
        ...


class Answered(NamedTuple):
    """A record and its answer; `freely` unless something had to be stopped on the way to it."""

    record: Record
    answer: Json
    freely: bool = True


class GivenUp(Exception):
    """An expression was stopped too often: start again without it."""

    def __init__(self, name: str, fault: Fault) -> None:
        super().__init__(name)
        self.name = name
        self.fault = fault


def faults_of(pool: Runner, layout: Layout) -> dict[str, Fault]:
    """The expressions that cannot be evaluated at all, by slot name."""
    faults = {slot.name: fault for slot in layout.slots if (fault := _spelling_fault(slot.expression.text))}
    sound = [slot for slot in layout.slots if slot.name not in faults]
    whole = [program_of(layout, active_of(layout, faults)), definitions(tuple(slot.expression.text for slot in sound))]
    if ITEMS in faults or not any(pool.compile(whole)):
        return faults
    culprits = {slot.name: fault for slot in sound if (fault := _compile_fault(pool, slot))}
    return faults | (culprits or {RULE: Fault(NOT_JQ, "the expressions compile one by one, but not together")})


def active_of(layout: Layout, faults: Mapping[str, Fault]) -> frozenset[str]:
    """The names of the slots without a fault."""
    return frozenset(slot.name for slot in layout.slots if slot.name not in faults)


def answers(pool: Runner, layout: Layout, faults: Mapping[str, Fault], records: Iterable[Record]) -> Iterator[Answered]:
    """Each record with its answer (see `pdsync.jq.program`, a `Cell` where a stop took its place) or `Unreadable`.

    Raises `GivenUp` when an expression had to be stopped too often.
    """
    return Trial(pool, layout, faults).answers(records)


def isolate(pool: Runner, layout: Layout, faults: Mapping[str, Fault], record: Record) -> tuple[Json, dict[str, Cell]]:
    """The answer to one record, with one expression evaluated at a time; and those that had to be stopped."""
    base = frozenset({ITEMS}) if layout.items else frozenset()
    stops: dict[str, Cell] = {}
    probe = _Probe(pool, layout, record, stops)
    first = probe.ask(ITEMS, base)
    if isinstance(first, Cell):
        return ([first, []] if layout.items else Unreadable(first.reason)), stops
    selected = probe.ask(SELECTOR, base | {SELECTOR})
    if isinstance(selected, Cell):
        return [first[0], [[selected] for _ in first[1]]], stops
    if isinstance(selected, Unreadable):
        return selected, stops
    for position, slot in enumerate(layout.cells, start=1):
        if slot.name not in faults:
            answer = probe.ask(slot.name, base | {SELECTOR, slot.name})
            _fill(selected[1], position, answer)
    return selected, stops


@dataclass(frozen=True, slots=True)
class _Way:
    """One way to evaluate a rule.

    `program` is what is left to jq ("" if nothing is), and `excerpt` gives what it gets of a record; `places` are the
    cells of a row whose values are read from the record, the selector's is 0, of `width` cells in all.
    """

    program: str
    excerpt: Callable[[bytes], bytes]
    places: tuple[int, ...]
    width: int

    def answer(self, values: Sequence[Json]) -> Json:
        """The answer to a record of which nothing is left to jq."""
        row: list[Json] = [0] * self.width
        for place, value in zip(self.places, values, strict=True):
            row[place] = [[value]]
        return [None, [row]]

    def complete(self, answer: Json, values: Sequence[Json]) -> Json:
        """What jq answered, with the values in their places."""
        if values and len(row := answer[1][0]) > 1:
            for place, value in zip(self.places, values, strict=True):
                row[place] = [[value]]
        return answer


class _Batch(NamedTuple):
    """Records that are evaluated in one way; `given` is what jq gets of each, `values` are those it need not find."""

    way: _Way
    records: list[Record]
    given: list[Record]
    values: list[Sequence[Json]]

    def after(self, count: int) -> _Batch:
        """What is left when so many are done."""
        return _Batch(self.way, self.records[count:], self.given[count:], self.values[count:])


class Trial:
    """One run over a rule's records; counts which expressions had to be stopped."""

    def __init__(self, pool: Runner, layout: Layout, faults: Mapping[str, Fault]) -> None:
        self._pool = pool
        self._layout = layout
        self._faults = faults
        self._active = active_of(layout, faults)
        self._plain = Plain(slot for slot in layout.slots if slot.name in self._active and not layout.items)
        self._ways: dict[tuple[str, ...], _Way] = {}
        self._stopped: dict[str, list[str]] = {}

    def answers(self, records: Iterable[Record]) -> Iterator[Answered]:
        """Some of the records, in order; see the function `answers`."""
        for batch, (replies, stop) in self._pool.in_order(self._run, self._batches(records)):
            yield from self._settle(batch, replies, stop)

    def _batches(self, records: Iterable[Record]) -> Iterator[_Batch]:
        """Records in order, in batches whose borders depend on nothing but the records."""
        batch, size = _Batch(self._way(()), [], [], []), 0
        for record in records:
            raw = record.raw
            way, values = self._sorted(raw)
            given = Record(record.id, way.excerpt(raw))
            full = len(batch.records) >= _BATCH_RECORDS or size + given.size > _BATCH_BYTES
            if batch.records and (full or way is not batch.way):
                yield batch
                batch, size = _Batch(way, [], [], []), 0
            batch = batch if batch.records else batch._replace(way=way)
            batch.records.append(record)
            batch.given.append(given)
            batch.values.append(values)
            size += given.size
        if batch.records:
            yield batch

    def _run(self, batch: _Batch) -> tuple[list[bytes], Stop | None]:
        """The replies of jq; empty ones where it is not needed."""
        if not batch.way.program:
            return [b""] * len(batch.records), None
        return self._pool.run(batch.way.program, batch.given)

    def _settle(self, batch: _Batch, replies: list[bytes], stop: Stop | None) -> Iterator[Answered]:
        while True:
            for record, reply, values in zip(batch.records, replies, batch.values, strict=False):
                yield Answered(record, self._decoded(record, reply, batch.way, values))
            if stop is None:
                return
            record = batch.records[len(replies)]
            yield Answered(record, self._isolated(record, stop), freely=False)
            batch = batch.after(len(replies) + 1)
            replies, stop = self._run(batch) if batch.records else ([], None)

    def _sorted(self, raw: bytes) -> tuple[_Way, Sequence[Json]]:
        """The way that a record goes, and the values that are found without jq."""
        values = self._plain.read(raw)
        if values is None:
            return self._way(()), ()
        names = self._plain.names
        if SELECTOR in names and (taken := values[names.index(SELECTOR)]) is not True:
            return _NOT_TAKEN, [taken]
        return self._way(names), values

    def _way(self, plain: tuple[str, ...]) -> _Way:
        """The way in which these slots are not left to jq."""
        way = self._ways.get(plain)
        if way is None:
            names = [SELECTOR, *(slot.name for slot in self._layout.cells)]
            left = [slot for slot in self._layout.slots if slot.name in self._active.difference(plain)]
            excerpt = excerpt_of(wanted_by(slot.expression.text for slot in left))
            program = program_of(self._layout, frozenset(slot.name for slot in left)) if left else ""
            places = tuple(map(names.index, plain))
            way = self._ways[plain] = _Way(program, excerpt or _whole, places, len(names))
        return way

    def _decoded(self, record: Record, reply: bytes, way: _Way, values: Sequence[Json]) -> Json:
        if not reply:
            return way.answer(values)
        answer = orjson.loads(reply)
        if isinstance(answer, list):
            return way.complete(answer, values)
        if "raised" in answer:
            return isolate(self._pool, self._layout, self._faults, record)[0]
        return Unreadable(answer["unreadable"])

    def _isolated(self, record: Record, stop: Stop) -> Json:
        answer, stops = isolate(self._pool, self._layout, self._faults, record)
        for name, cell in (stops or {RULE: Cell("error", code=stop.code, reason=stop.reason)}).items():
            self._blame(name, cell, f"{self._layout.rule.kind}/{record.id}")
        return answer

    def _blame(self, name: str, cell: Cell, record: str) -> None:
        records = self._stopped.setdefault(name, [])
        records.append(record)
        if len(records) >= self._pool.limits.stops:
            reason = f"{cell.reason}, for {len(records)} records; given up"
            raise GivenUp(name, Fault(cell.code, reason, tuple(records)))


def _whole(raw: bytes) -> bytes:
    return raw


_NOT_TAKEN = _Way("", _whole, (0,), 1)
"""Of a record that the selector does not take nothing else is looked at."""


class _Probe:
    """Asks for one record's answer again and again; notes which expressions had to be stopped."""

    def __init__(self, pool: Runner, layout: Layout, record: Record, stops: dict[str, Cell]) -> None:
        self._pool = pool
        self._layout = layout
        self._record = record
        self._stops = stops

    def ask(self, name: str, active: frozenset[str]) -> Json:
        """The answer with these slots; `Unreadable`, or a Cell when the slot under trial, `name`, left none."""
        replies, stop = self._pool.run(program_of(self._layout, active), [self._record])
        if stop is not None:
            self._stops[name] = Cell("error", code=stop.code, reason=stop.reason)
            return self._stops[name]
        answer = orjson.loads(replies[0])
        if isinstance(answer, list):
            return answer
        if "raised" in answer:
            return Cell("error", code=RAISED, reason=answer["raised"])
        return Unreadable(answer["unreadable"])


def _fill(rows: list[list[Json]], position: int, answer: Json) -> None:
    """Put the outcome of one expression into every row that the selector took."""
    for number, row in enumerate(rows):
        if len(row) > 1:
            row[position] = answer if isinstance(answer, Cell) else answer[1][number][position]


def _spelling_fault(text: str) -> Fault | None:
    if not text.strip():
        return Fault(NOT_JQ, "it is empty")
    if "\0" in text:
        return Fault(NOT_JQ, "it holds a NUL character, which ends it for jq")
    name = refused(text)
    return Fault(DENIED, f"`{name}` is not available in mappings") if name else None


def _compile_fault(pool: Runner, slot: Slot) -> Fault | None:
    text = slot.expression.text
    messages = pool.compile([prelude() + guarded(text), definitions((text,))])
    message = next((m for m in messages if m), None)
    return Fault(NOT_JQ, _POSITION.sub("", message) or message) if message else None


def source_of(layout: Layout, id_: str) -> str:
    """A record as it is named in messages: `services/PX1`."""
    return f"{layout.rule.kind}/{id_}"


def blocked(faults: Iterable[str]) -> bool:
    """Whether faults of these slots leave nothing to evaluate: no row can be told to be selected."""
    return not {ITEMS, SELECTOR, RULE}.isdisjoint(faults)
