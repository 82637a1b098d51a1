"""A plan as one page that works offline: search, filters by action, cause and blueprint, thousands of changes.

Data stands in the page twice over harmless: as JSON in which no tag can begin, and, where people read it at once, as
escaped text.  Deletes come first, then the order of doing.
"""

from __future__ import annotations

import base64
import hashlib
import html
from typing import TYPE_CHECKING

import msgspec

from pdsync.normal import same
from pdsync.plan.branch import base_fields
from pdsync.render.because import behind, cause_tag, place_of
from pdsync.render.blast_text import blast_line, blast_names
from pdsync.render.escape import value_text, visible
from pdsync.render.field_text import nested_lines
from pdsync.render.html_page import PAGE, SCRIPT, STYLE
from pdsync.render.left import held_lines, ignored_lines, unknown_lines
from pdsync.render.plan_text import (
    RENAME,
    SYMBOLS,
    base_text,
    catalog_text,
    spoken,
    taken_over,
    withheld_text,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from pdsync.model import Change, Commit, FieldChange, Plan

LONGEST = 2000
"""Characters of one value that are shown."""
OPEN_LINES = 12
"""Notes of one sort that are shown at once; more of them are opened by whoever wants to read them."""


def render_plan_html(plan: Plan, *, title: str) -> str:
    """The whole plan as an HTML document."""
    data = {"symbols": {**SYMBOLS, "rename": RENAME}, "changes": list(_rows(plan))}
    return PAGE.format(
        title=_text(f"{title}: {_counted(plan)}"),
        base=_text(_base(plan)),
        counts="".join(f"<li><b>{count:,}</b>{_text(name)}</li>" for name, count in _counts(plan)),
        notes="".join(_notes(plan)),
        # In JSON a `<` may always be written so; then nothing in it can end the element or begin a comment.  And a `#`,
        # for GitHub's runner, should the page be printed into its log.
        data=msgspec.json.encode(data).decode().replace("<", "\\u003c").replace("##[", "#\\u0023["),
        style=STYLE,
        script=SCRIPT,
        style_digest=digest(STYLE),
        script_digest=digest(SCRIPT),
    )


def digest(text: str) -> str:
    """What a content security policy knows an inline style or script by."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


MINE, REST, GONE = "this branch", "the rest", "only the base"
"""Whose doing a change is, in a plan that was set beside that of a base."""


def _rows(plan: Plan) -> Iterator[list[object]]:
    """Deletes first, then the order of doing; of a plan with a base first what the branch changes."""
    pairs = plan.renames
    halves = set(pairs.values())
    branch = plan.branch
    otherwise = {each.n: each.base for each in branch.otherwise} if branch else {}
    mine = {*branch.new, *otherwise} if branch else set()

    def whose(change: Change) -> str:
        return (MINE if change.n in mine else REST) if branch else ""

    shown = (change for change in plan.changes if change.n not in halves)
    for change in sorted(shown, key=lambda change: (whose(change) == REST, change.action != "delete")):
        beside = base_fields(change, otherwise[change.n]) if change.n in otherwise else ()
        more = [_on_the_base(field, plan.commits) for field in beside]
        row = _renamed(change, plan) if change.n in pairs else _row(change, plan, more)
        yield [*row, whose(change), _causes(change)]
    yield from ([*_row(change, plan), GONE, _causes(change)] for change in (branch.gone if branch else ()))


def _row(change: Change, plan: Plan, more: Iterable[list[object]] = ()) -> list[object]:
    name = change.blueprint if change.target == "blueprint" else str(change.key)
    fields = [*(_field(field, plan.commits) for field in change.fields), *more]
    return [
        change.n,
        change.action,
        visible(name),
        visible(change.blueprint),
        visible(change.title),
        change.cause,
        ", ".join(part for part in (visible(spoken(change)), behind(change, plan.commits)) if part),
        fields,
    ]


def _renamed(change: Change, plan: Plan) -> list[object]:
    """The create of a rename as the whole of it: with the values that change besides."""
    fields = [_field(field, plan.commits) for field in change.fields if not same(field.before, field.after)]
    names = f"{visible(change.blueprint)}/{visible(change.twin)} -> {visible(str(change.key))}"
    row = _row(change, plan)
    return [row[0], "rename", names, *row[3:6], "", fields]


def _causes(change: Change) -> list[str]:
    """All causes of a change and of its fields, each once: by each of them it is found."""
    told = (cause for field in change.fields for cause in (field.cause, *field.causes))
    return sorted({change.cause, *change.causes, *told, *(["drift"] if any(f.drift for f in change.fields) else [])})


def _field(field: FieldChange, commits: Mapping[str, Commit]) -> list[object]:
    """Path, before, after, causes, place, and, of a value that differs inside, the lines that say where."""
    note = f"  {field.note}" if field.note else ""
    moved = f"{visible(field.moved_from)} => " if field.moved_from else ""
    stays = bool(field.note) and same(field.before, field.after)
    return [
        f"{moved}{visible(field.path)}",
        "" if field.before is None or stays else value_text(field.before, LONGEST),
        "" if field.after is None or stays else value_text(field.after, LONGEST),
        cause_tag(field).strip("[]"),
        f"{place_of(field, commits)}{visible(note)}".strip(),
        [] if stays else list(nested_lines(field)),
    ]


def _on_the_base(field: FieldChange, commits: Mapping[str, Commit]) -> list[object]:
    """A field as the base would write it, below those of the plan."""
    path, *rest = _field(field, commits)
    return [f"{path} (on the base)", *rest]


def _text(text: str) -> str:
    return html.escape(visible(text)).replace("##[", "#&#35;[")


def _base(plan: Plan) -> str:
    base = plan.base
    source = f"{base.source}, snapshot of {base.taken_at}" if base.source else "no source"
    beside = f" - base {base_text(plan.branch)}" if plan.branch else ""
    told = f"{base.target} {base.org_name} {base.org_id} - {source} - catalog {catalog_text(base)}{beside}"
    return f"{told} - state serial {base.serial}"


def _counted(plan: Plan) -> str:
    count = plan.summary
    return f"{count.create:,} to create, {count.update:,} to update, {count.delete:,} to delete"


def _counts(plan: Plan) -> list[tuple[str, int]]:
    always = ("create", "update", "delete")
    counts = [(name, getattr(plan.summary, name)) for name in plan.summary.__dataclass_fields__]
    counts += [("taken over", taken_over(plan))]
    counts += [("of this branch", len(plan.branch.new) + len(plan.branch.otherwise))] if plan.branch else []
    return [(_WORDS.get(name, name), count) for name, count in counts if count or name in always]


_WORDS = {
    "withheld": "deletes withheld",
    "held": "left as they are",
    "foreign": "not ours",
    "ignored": "fields ignored",
}
"""What counts are called where people read them, if otherwise."""


def _notes(plan: Plan) -> Iterator[str]:
    withheld = [f"{w.name} {w.title}: {withheld_text(w)} {w.flag}".rstrip() for w in plan.withheld]
    yield from _listed("Deletes withheld", withheld)
    yield from _listed("Guards", [f"{g.name} {g.blueprint}: {g.detail} {g.flag}".rstrip() for g in plan.guards])
    if plan.blast is not None:
        yield from _listed("Blast radius", [blast_line(plan.blast), *blast_names(plan.blast)])
    yield from _listed("Causes are not exact", [plan.inexact] if plan.inexact else [])
    yield from _listed("Unknown", unknown_lines(plan))
    yield from _listed("Ignored", ignored_lines(plan))
    yield from _listed("Left as they are", [f"{who}: {why}" for who, why in held_lines(plan)])


def _listed(title: str, lines: Sequence[str]) -> Iterator[str]:
    """A list, closed where it is so long that what changes would be far below."""
    items = "".join(f"<li>{_text(line)}</li>" for line in lines)
    if not items:
        return
    listed = f'<ul class="notes">{items}</ul>'
    heading = f"<h2>{title}</h2>" if len(lines) <= OPEN_LINES else f"<h2>{title} ({len(lines):,})</h2>"
    opened = len(lines) <= OPEN_LINES
    yield heading + listed if opened else f'<details class="many"><summary>{heading}</summary>{listed}</details>'
