"""How one record was mapped, value by value, as text."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from pdsync.render.escape import value_text, visible
from pdsync.render.paint import Paint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pdsync.jq.tracing import RecordTrace, RowTrace, SlotTrace

    Below = Callable[[int, SlotTrace], Iterable[str]]
    """The number of a row and one of its expressions -> more to say of it."""

_COLORS = {"value": "green", "null": "dim", "none": "yellow", "several": "yellow", "error": "red", "unknown": "yellow"}


def render_trace(trace: RecordTrace, *, color: bool = False, below: Below = lambda *_: ()) -> str:
    """Selector, then every expression with its place, what it gave and what that means; then the entities.

    `below` gives more lines for an expression of a row.
    """
    paint = Paint(color)
    lines = [paint("bold", f"{visible(trace.record)} under {visible(trace.rule)}")]
    lines += [paint("red", f"  {visible(trace.failure)}")] if trace.failure else []
    lines += _slot(trace.items, paint) if trace.items else []
    for number, row in enumerate(trace.rows, start=1):
        lines += [f"  item {number}"] if len(trace.rows) > 1 else []
        lines += _row(row, paint, partial(below, number - 1))
    for entity in trace.entities:
        lines.append(paint("green", f"  = {visible(str(entity.key))}"))
        lines += [f"      {visible(path)}  {value_text(value)}" for path, value in sorted(entity.fields.items())]
        lines += [f"      {visible(path)}  unknown: {visible(why)}" for path, why in sorted(entity.unknown.items())]
    return "\n".join(lines) + "\n"


def _row(row: RowTrace, paint: Paint, below: Callable[[SlotTrace], Iterable[str]]) -> list[str]:
    lines = [*_slot(row.selector, paint), *(f"      {line}" for line in below(row.selector))]
    if not row.selected:
        return [*lines, paint("yellow", "  not selected: no entity comes of it")]
    for slot in row.slots:
        lines += [*_slot(slot, paint), *(f"      {line}" for line in below(slot))]
    return lines


def _slot(slot: SlotTrace, paint: Paint) -> list[str]:
    expression = visible(" ".join(slot.expression.text.split()))
    given = paint(_COLORS[slot.state], _given(slot))
    place = paint("dim", f"  {slot.expression.origin}")
    return [f"  {visible(slot.name)}  {given}{place}", paint("dim", f"      {expression}")]


def _given(slot: SlotTrace) -> str:
    reason = f": {visible(slot.reason)}" if slot.reason else ""
    return {
        "value": value_text(slot.value),
        "null": "null",
        "none": "no output (null)",
        "several": f"{value_text(slot.value)} (the first of several outputs)",
        "error": f"error{reason}",
        "unknown": f"unknown{reason}",
    }[slot.state]
