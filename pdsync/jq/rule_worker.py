"""The worker process that maps records ahead: whole rules, as far as they go without a word of warning.

The parent sends its settings, with the rules in them (`told_of`), then requests, each a frame of MessagePack: numbers
of rules and raw records.  The worker answers with one frame: for each rule, for each record what a memo is to know of
it, or null where there is anything to be said, which is for the parent to find out anew.

jq runs in this very process, with the same bounds as in `pdsync.jq.worker`: a record that breaks them ends it.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import msgspec

from pdsync.errors import Origin
from pdsync.jq.evaluate import Trial, faults_of
from pdsync.jq.frames import read_frame, write_frames
from pdsync.jq.pool import JqLimits
from pdsync.jq.problems import Problems
from pdsync.jq.program import layout_of
from pdsync.jq.reading import Reader
from pdsync.jq.worker import Programs, attend, compile_error
from pdsync.memo import written_rows
from pdsync.model import Expression, MappingRule, Query, Record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from typing import BinaryIO, TypeVar

    from pdsync.jq.pool import Stop
    from pdsync.jq.program import Layout
    from pdsync.jq.worker import Watchdog
    from pdsync.model import Json

    T = TypeVar("T")
    U = TypeVar("U")

_NOWHERE = Origin("")

Request = tuple[list[int], list[bytes]]
"""Numbers of rules, and records."""

Outcomes = list[list[bytes | None]]
"""For each rule, for each record what a memo is to know of it."""


def told_of(rule: MappingRule) -> dict[str, Json] | None:
    """A rule as it is told to the worker; None for one that has to search."""
    parts = {"identifier": rule.identifier, "blueprint": rule.blueprint, **rule.fields}
    texts = {path: part.text for path, part in parts.items() if isinstance(part, Expression)}
    if len(texts) < len(parts):
        return None
    items = [rule.items.text, rule.items_name, rule.items_strip] if rule.items else None
    return {"kind": rule.kind, "selector": rule.selector.text, "items": items, "texts": texts}


def _rule(told: Mapping[str, Any]) -> MappingRule:
    parts = {path: Expression(text, _NOWHERE) for path, text in told["texts"].items()}
    text, name, strip = told["items"] or ("", "", True)
    return MappingRule(
        id="",
        kind=told["kind"],
        query=Query(told["kind"]),
        selector=Expression(told["selector"], _NOWHERE),
        identifier=parts.pop("identifier"),
        blueprint=parts.pop("blueprint"),
        fields=parts,
        origin=_NOWHERE,
        items=Expression(text, _NOWHERE) if told["items"] else None,
        items_name=name,
        items_strip=strip,
    )


class _Here:
    """Runs programs in this process, one record after the other."""

    limits = JqLimits()

    def __init__(self, watchdog: Watchdog) -> None:
        self._watchdog = watchdog
        self._programs = Programs()

    def run(self, program: str, records: Sequence[Record]) -> tuple[list[bytes], Stop | None]:
        """See `pdsync.jq.evaluate.Runner`."""
        answers = []
        for record in records:
            self._watchdog.watch()
            answers.append(self._programs.answer(program, record.raw))
        return answers, None

    def compile(self, programs: Sequence[str]) -> list[str | None]:
        """See `pdsync.jq.evaluate.Runner`."""
        return [compile_error(text) for text in programs]

    def in_order(self, work: Callable[[T], U], items: Iterable[T]) -> Iterator[tuple[T, U]]:
        """See `pdsync.jq.evaluate.Runner`."""
        return ((item, work(item)) for item in items)


class _Work:
    """One rule, ready to be evaluated on any number of records."""

    def __init__(self, here: _Here, layout: Layout) -> None:
        self._here = here
        self._layout = layout

    @cached_property
    def _trial(self) -> Trial | None:
        """None for a rule with expressions that cannot be evaluated."""
        faults = faults_of(self._here, self._layout)
        return None if faults else Trial(self._here, self._layout, faults)

    def outcomes(self, records: Sequence[bytes]) -> list[bytes | None]:
        """What a memo is to know of each record."""
        if self._trial is None:
            return [None] * len(records)
        reader = Reader(self._layout, {}, Problems())
        answered = self._trial.answers(Record("", raw) for raw in records)
        readings = (reader.read(record, answer) for record, answer, _ in answered)
        return [written_rows(reading.rows) if reading.silent else None for reading in readings]


def _serve(source: BinaryIO, sink: BinaryIO, watchdog: Watchdog, settings: Mapping[str, Any]) -> None:
    here = _Here(watchdog)
    works = [_Work(here, layout_of(_rule(told))) for told in settings["rules"]]
    requests = msgspec.msgpack.Decoder(Request)
    while (frame := read_frame(source)) is not None:
        numbers, records = requests.decode(frame)
        outcomes: Outcomes = [works[number].outcomes(records) for number in numbers]
        watchdog.rest()
        write_frames(sink, (msgspec.msgpack.encode(outcomes),))


def main() -> None:
    """Map records for the parent."""
    attend(_serve)
