"""Why an entity is as it is, as text."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pdsync.jq.inputs import WHOLE
from pdsync.normal import same
from pdsync.render.escape import quoted, value_text, visible
from pdsync.render.paint import Paint
from pdsync.render.plan_text import COLORS, REASONS, RENAME, RENAME_COLOR, SYMBOLS
from pdsync.render.trace_text import render_trace

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from pdsync.jq.tracing import SlotTrace
    from pdsync.model import FieldChange, Json
    from pdsync.plan.account import Account, FieldAccount, LastChange, NextChange
    from pdsync.render.explanation import Explanation, Reading

_COLORS = {"managed": "green", "held": "red", "withheld": "red", "protected": "cyan"}
_READ = 60
"""Characters of a value that was read."""


def render_explanation(told: Explanation, *, color: bool = False) -> str:
    """Each entity: whose it is, what Port holds, what was done last, what a plan would do; then how its records map."""
    paint = Paint(color)
    fields = {path: field for account in told.entities for path, field in account.fields.items()}
    alone = len(told.entities) == 1
    mapped = {slot.name for reading in told.readings for row in reading.trace.rows for slot in row.slots}
    blocks = [_account(account, mapped if alone else set(), paint) for account in told.entities]
    asked = alone and told.entities[0].live is not None
    blocks += [_reading(reading, fields if alone else {}, color=color, asked=asked) for reading in told.readings]
    said = {(reading.trace.record, reading.trace.failure) for reading in told.readings}
    rest = [each for each in told.failed.items() if each not in said]
    blocks += ["".join(f"{visible(record)}: {visible(why)}\n" for record, why in rest)]
    blocks += ["".join(f"({visible(note)})\n" for note in told.notes)]
    taken = f"(records of the snapshot taken {visible(told.snapshot)})\n"
    return "\n".join([block for block in blocks if block]) + taken


def _account(account: Account, mapped: set[str], paint: Paint) -> str:
    """One entity; of its fields those that no expression below speaks of."""
    head = f"{paint('bold', visible(str(account.key)))} {quoted(account.title, 80) if account.title else ''}".rstrip()
    standing = paint(_COLORS.get(account.standing, "yellow"), account.standing)
    why, *more = account.why.split("; ")
    lines = [head, f"  owner   {standing}: {visible(why)}", *(f"          {visible(part)}" for part in more)]
    lines += [f"          {visible(each)}" for each in account.also]
    made = [f"{visible(of)} by {', '.join(map(visible, rules))}" for of, rules in account.sources.items()]
    lines += [f"  {'' if n else 'source':<6}  {text}" for n, text in enumerate(made)]
    lines += [f"  Port    {_live(account)}"]
    lasts = _last(account.last) if account.last or account.origin else ()
    lines += [f"  {'' if n else 'last':<6}  {visible(text)}" for n, text in enumerate(lasts)]
    lines += _next(account, paint)
    rest = [field for path, field in account.fields.items() if path not in mapped]
    asked = account.live is not None and account.live.fields is not None
    lines += [line for field in rest for line in _field(field, asked=asked)]
    return "\n".join(lines) + "\n"


def _live(account: Account) -> str:
    live = account.live
    if live is None:
        return "was not asked"
    if live.fields is None:
        return "does not have it"
    made = " ".join(part for part in (live.made_by, live.made_at) if part)
    edited = " ".join(part for part in (live.edited_by, live.edited_at) if part)
    told = [f"made by {made}" if made else "", f"last written by {edited}" if edited else ""]
    if made and made == edited:
        told = [f"made by {made} and not written since"]
    return visible(", ".join([_as_mapped(account), *filter(None, told)]))


def _as_mapped(account: Account) -> str:
    """Whether Port holds what the mapping says, in a word; what differs is told where it stands."""
    if not account.wanted:
        return "has it"
    fields = [field for field in account.fields.values() if not field.unknown]
    differing = sum(not same(field.desired, field.live) for field in fields)
    told = f"has it, {differing} of {len(fields)} fields not as mapped" if differing else "has it as mapped"
    unknown = len(account.fields) - len(fields)
    return f"{told}, {unknown} {'field' if unknown == 1 else 'fields'} kept" if unknown else told


def _last(last: LastChange | None) -> Iterator[str]:
    if last is None:
        yield "no journal that is kept tells of it"
        return
    why = REASONS.get(last.reason, last.reason)
    done = f"{last.action}{f' ({why})' if why else ''}: {last.status} {last.message}".rstrip()
    yield f"{done}  [{' '.join(last.causes)}]"
    commit = f", catalog commit {last.commit[:10]}" if last.commit else ""
    link = f", {last.link}" if last.link else ""
    yield f"in {last.run}: {last.operation} by {last.who or 'somebody'} at {last.started}{commit}{link}"
    if last.action == "update":
        yield from (f"  {field.path}  {_change(field)}" for field in last.fields)


_NOTHING = {
    "held": "nothing: it is left as it is for as long as it is held",
    "withheld": "nothing: its delete is withheld",
    "foreign": "nothing",
    "gone": "nothing",
    "released": "nothing",
}


def _next(account: Account, paint: Paint) -> Iterator[str]:
    change = account.next
    if change is None:
        yield f"  next    {_NOTHING.get(account.standing, 'nothing to do')}"
        return
    why = REASONS.get(change.reason, change.reason) + (f": {change.twin}" if change.twin else "")
    symbol = paint(COLORS[change.action], f"{SYMBOLS[change.action]} {change.action}")
    if change.action == "create" and change.twin:
        symbol = paint(RENAME_COLOR, f"{RENAME} rename")
    place = f"  {change.origin}" if change.origin else ""
    yield f"  next    {symbol}{f' ({visible(why)})' if why else ''}  [{' '.join(change.causes)}]{visible(place)}"
    yield from (
        f"            {visible(field.path)}  {_change(field)}  [{' '.join(field.causes or (field.cause,))}]"
        for field in change.fields
        if _is_news(change, field)
    )


def _is_news(change: NextChange, field: FieldChange) -> bool:
    """Whether a field is told with the change; what an entity comes or goes with is told below."""
    if change.action == "create":
        return field.before is not None and not same(field.before, field.after)
    return change.action != "delete"


def _change(field: FieldChange) -> str:
    if field.note and same(field.before, field.after):
        return visible(field.note)
    return f"{value_text(field.before, _READ)} -> {value_text(field.after, _READ)}"


def _field(field: FieldAccount, *, asked: bool) -> Iterator[str]:
    """A field that no expression speaks of; on one line where there is one thing to say."""
    if field.desired is not None and asked and same(field.desired, field.live) and same(field.applied, field.live):
        yield f"  {visible(field.path)}  as mapped: {value_text(field.live)}"
        return
    said = [f"unknown: {visible(field.unknown)}"] if field.unknown else []
    said += [f"shall be: {value_text(field.desired)}"] if field.desired is not None else []
    said += _held(field, asked=asked)
    if len(said) == 1:
        yield f"  {visible(field.path)}  {said[0]}"
        return
    yield f"  {visible(field.path)}"
    yield from (f"      {line}" for line in said)


def _held(field: FieldAccount, *, asked: bool) -> Iterator[str]:
    """What we wrote and what Port holds, once where it is the same."""
    if field.left_alone:
        yield f"in Port, left alone by `ignore_changes`: {value_text(field.live)}"
        return
    for place in field.left_inside:
        where = f"{visible(place.path)} " if place.path else ""
        yield f"in Port, left alone by `ignore_changes`: {where}{value_text(place.live)}"
    if asked and same(field.applied, field.live):
        yield f"in Port, as we wrote it: {value_text(field.live)}"
        return
    if field.applied is not None:
        yield f"we wrote: {value_text(field.applied)}"
    if asked:
        yield f"in Port: {value_text(field.live)}"


def _reading(reading: Reading, fields: Mapping[str, FieldAccount], *, color: bool, asked: bool) -> str:
    def below(row: int, slot: SlotTrace) -> Iterable[str]:
        reads = reading.reads[row].get(slot.name, {}) if row < len(reading.reads) else {}
        yield from _reads(reads, slot)
        if slot.name in fields:
            yield from _beside(fields[slot.name], slot, asked=asked)

    return render_trace(replace(reading.trace, entities=()), color=color, below=below)


def _reads(reads: Mapping[str, Json], slot: SlotTrace) -> Iterator[str]:
    """What an expression read, unless it is that and nothing else that it gave."""
    for path, value in reads.items():
        if path == WHOLE:
            yield "reads the whole record"
        elif path != slot.expression.text.strip() or not same(value, slot.value):
            yield f"reads {visible(path)}: {value_text(value, _READ)}"


def _beside(field: FieldAccount, slot: SlotTrace, *, asked: bool) -> Iterator[str]:
    """Why it is not known what a field should be; what we wrote and what Port holds, where it is not what is given."""
    elsewhere = bool(field.unknown) and slot.state not in ("unknown", "error")  # else the expression itself says why
    if elsewhere:
        yield f"unknown: {visible(field.unknown)}"
    mapped = slot.value if field.desired is None else field.desired
    if elsewhere or not same(field.applied, mapped) or (asked and not same(field.live, mapped)):
        yield from _held(field, asked=asked)
