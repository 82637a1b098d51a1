"""A rule and its records -> answers, whatever the expressions do.

A record over which a worker died, or which the combined program could not answer, is evaluated again with one
expression at a time: so the expression to blame gets an error, and the others their values.  An expression that had to
be stopped for a few records is given up: the rule starts again without it (`GivenUp`), so that the outcome depends on
how many records stop it, never on which of them came first.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import orjson

from pdsync.jq.cells import Cell
from pdsync.jq.problems import DENIED, NOT_JQ, RAISED
from pdsync.jq.program import ITEMS, SELECTOR, definitions, guarded, prelude, program_of, refused

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from pdsync.jq.pool import Pool, Stop
    from pdsync.jq.program import Layout, Slot
    from pdsync.model import Json, Record

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


def faults_of(pool: Pool, layout: Layout) -> dict[str, Fault]:
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


def answers(pool: Pool, layout: Layout, faults: Mapping[str, Fault], records: Iterable[Record]) -> Iterator[Answered]:
    """Each record with its answer (see `pdsync.jq.program`, a `Cell` where a stop took its place) or `Unreadable`.

    Raises `GivenUp` when an expression had to be stopped too often.
    """
    trial = _Trial(pool, layout, faults)
    for batch, replies, stop in pool.run_all(trial.program, _batches(records)):
        yield from trial.settle(batch, replies, stop)


def isolate(pool: Pool, layout: Layout, faults: Mapping[str, Fault], record: Record) -> tuple[Json, dict[str, Cell]]:
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


class _Trial:
    """One run over a rule's records; counts which expressions had to be stopped."""

    def __init__(self, pool: Pool, layout: Layout, faults: Mapping[str, Fault]) -> None:
        self.program = program_of(layout, active_of(layout, faults))
        self._pool = pool
        self._layout = layout
        self._faults = faults
        self._stopped: dict[str, list[str]] = {}

    def settle(self, batch: Sequence[Record], replies: list[bytes], stop: Stop | None) -> Iterator[Answered]:
        while True:
            for record, reply in zip(batch, replies, strict=False):
                yield Answered(record, self._decoded(record, reply))
            if stop is None:
                return
            yield Answered(batch[len(replies)], self._isolated(batch[len(replies)], stop), freely=False)
            batch = batch[len(replies) + 1 :]
            replies, stop = self._pool.run(self.program, batch) if batch else ([], None)

    def _decoded(self, record: Record, reply: bytes) -> Json:
        answer = orjson.loads(reply)
        if isinstance(answer, list):
            return answer
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


def _batches(records: Iterable[Record]) -> Iterator[Sequence[Record]]:
    """Records in order, in batches whose borders depend on nothing but the records."""
    batch: list[Record] = []
    size = 0
    for record in records:
        if batch and (len(batch) >= _BATCH_RECORDS or size + record.size > _BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(record)
        size += record.size
    if batch:
        yield batch


class _Probe:
    """Asks for one record's answer again and again; notes which expressions had to be stopped."""

    def __init__(self, pool: Pool, layout: Layout, record: Record, stops: dict[str, Cell]) -> None:
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


def _compile_fault(pool: Pool, slot: Slot) -> Fault | None:
    text = slot.expression.text
    messages = pool.compile([prelude() + guarded(text), definitions((text,))])
    message = next((m for m in messages if m), None)
    return Fault(NOT_JQ, _POSITION.sub("", message) or message) if message else None


def source_of(layout: Layout, record: Record) -> str:
    """A record as it is named in messages: `services/PX1`."""
    return f"{layout.rule.kind}/{record.id}"


def blocked(faults: Iterable[str]) -> bool:
    """Whether faults of these slots leave nothing to evaluate: no row can be told to be selected."""
    return not {ITEMS, SELECTOR, RULE}.isdisjoint(faults)
