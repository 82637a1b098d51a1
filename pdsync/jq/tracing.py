"""One record under one rule, value by value: what `pdsync eval` shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pdsync.errors import Diagnostic
from pdsync.jq.cells import Cell, State, read_cell
from pdsync.jq.evaluate import Unreadable, blocked, faults_of, isolate, source_of
from pdsync.jq.problems import Problems
from pdsync.jq.program import with_leaves
from pdsync.jq.reading import Reader
from pdsync.jq.searched import Waiting, settle
from pdsync.model import DesiredEntity, Expression, Json, SearchQuery
from pdsync.searching import unanswered

if TYPE_CHECKING:
    from pdsync.jq.pool import Pool
    from pdsync.jq.program import Layout, Slot
    from pdsync.model import Record


@dataclass(frozen=True, slots=True)
class SlotTrace:
    """What one expression gave; `name` is a path, `selector`, or a leaf of a search (`relations.owner[0]`)."""

    name: str
    expression: Expression
    state: State
    value: Json = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class RowTrace:
    """One item of a record (the record itself without `itemsToParse`).

    `slots` and `searches` are empty when the selector does not take it.  `searches` holds the search query of each
    path that has one, every leaf evaluated (null where it could not be).
    """

    selector: SlotTrace
    selected: bool
    slots: tuple[SlotTrace, ...] = ()
    searches: Mapping[str, Json] | None = None


@dataclass(frozen=True, slots=True)
class RecordTrace:
    """One record under one rule: `items` is there if the rule has `itemsToParse` and it did not give one list.

    `failure` says why something is missing, "" if nothing is.
    """

    rule: str
    record: str
    rows: tuple[RowTrace, ...]
    entities: tuple[DesiredEntity, ...]
    failure: str = ""
    items: SlotTrace | None = None
    diagnostics: tuple[Diagnostic, ...] = ()


def trace(pool: Pool, layout: Layout, record: Record) -> RecordTrace:
    """Evaluate each expression of a rule by itself on one record."""
    faults = faults_of(pool, layout)
    problems = Problems()
    reader = Reader(layout, faults, problems)
    source = source_of(layout, record.id)
    if blocked(faults):
        reason = "; ".join(f"{name}: {fault.reason}" for name, fault in faults.items())
        return RecordTrace(layout.rule.id, source, (), (), reason, None, problems.diagnostics())
    answer, _ = isolate(pool, layout, faults, record)
    reading = reader.read(record, answer)
    waiting = Waiting(layout.rule, reading.pending, problems=problems)
    settle([waiting], {}, unanswered)
    return RecordTrace(
        rule=layout.rule.id,
        record=source,
        rows=_rows(reader, layout, record, answer),
        entities=(*reading.entities, *waiting.entities),
        failure=reading.failure or next(iter(waiting.failed.values()), ""),
        items=_items(layout, answer),
        diagnostics=problems.diagnostics(),
    )


def _rows(reader: Reader, layout: Layout, record: Record, answer: Json) -> tuple[RowTrace, ...]:
    if isinstance(answer, Unreadable):
        return ()
    return tuple(_row(reader, layout, record, row) for row in answer[1])


def _row(reader: Reader, layout: Layout, record: Record, row: list[Json]) -> RowTrace:
    selector = _slot(layout.selector, read_cell(row[0]))
    if len(row) == 1:
        return RowTrace(selector, selected=False)
    cells = reader.cells(row, record)
    slots = tuple(_slot(slot, cell) for slot, cell in zip(layout.cells, cells, strict=True))
    return RowTrace(selector, selected=True, slots=slots, searches=_searches(layout, cells))


def _searches(layout: Layout, cells: list[Cell]) -> dict[str, Json]:
    queries = {"identifier": layout.rule.identifier, **layout.rule.fields}
    return {
        path: with_leaves(query.rules, iter([cell.value for cell in cells[slice(*layout.spans[path])]]))
        for path, query in queries.items()
        if isinstance(query, SearchQuery)
    }


def _items(layout: Layout, answer: Json) -> SlotTrace | None:
    if layout.items is None or isinstance(answer, Unreadable) or answer[0] in (None, 1):
        return None
    return _slot(layout.items, read_cell(answer[0]))


def _slot(slot: Slot, cell: Cell) -> SlotTrace:
    return SlotTrace(slot.name, slot.expression, cell.state, cell.value, cell.reason)
