"""Two plans side by side, as text or JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pdsync.plan.document import encoded
from pdsync.render.escape import quoted, value_text, visible
from pdsync.render.paint import Paint
from pdsync.render.plan_text import COLORS, SYMBOLS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pdsync.model import Change, FieldChange, Plan
    from pdsync.plan.compare import Comparison, Rebased

MOST = 40
"""So many changes of one sort are named (deletes always are); the rest is counted."""

WITH_VALUES = ("update", "release")
"""What takes one value for another; of a create or a delete, its name says it."""


def render_comparison(compared: Comparison, names: tuple[str, str], *, color: bool = False) -> str:
    """What two plans have in common and where they part; `names` are what they are called."""
    paint = Paint(color)
    one, other = map(visible, names)
    lines = [
        *_listed(f"Only in {one}", compared.gone, paint),
        *_listed(f"Only in {other}", compared.new, paint),
        *_differing(compared.differing, (one, other), paint),
    ]
    verdict = "They do the same." if compared.equal else "They do not do the same."
    same = "1 change does" if len(compared.same) == 1 else f"{len(compared.same)} changes do"
    return "\n".join([*lines, f"{same} the same in both. {paint('bold', verdict)}"]) + "\n"


def render_rebase(made: Rebased, *, color: bool = False) -> str:
    """What became of a plan on a new base: what was looked at holds, what differs needs another look."""
    paint = Paint(color)
    lines = [
        *_listed("No longer needed", made.gone, paint),
        *_listed("Needed, but withheld or left as it is", made.stopped, paint),
        *_listed("Done by others since, only the state is left to move", made.done, paint),
        *_listed("New, to be looked at", made.new, paint),
        *_differing(made.differing, ("before", "now"), paint),
    ]
    fresh = len(made.new) + len(made.differing)
    counts = [
        f"{len(made.same)} identical",
        *([f"{len(made.done)} done since"] if made.done else ()),
        f"{len(made.gone)} no longer needed",
        *([f"{len(made.stopped)} withheld or left as they are"] if made.stopped else ()),
        f"{fresh} to be looked at",
    ]
    return "\n".join([*lines, paint("bold", f"Rebased: {', '.join(counts)}.")]) + "\n"


def comparison_json(compared: Comparison) -> str:
    """The comparison as one JSON document; what is the same is counted."""
    return _document(_parts(compared))


def rebase_json(made: Rebased, stopped: Plan) -> str:
    """What became of a plan on a new base, and what it deliberately does not do that the old one did not stop at."""
    left = {"withheld": stopped.withheld, "held": stopped.held, "guards": stopped.guards}
    return _document(_parts(made) | {"done": made.done, "stopped": made.stopped} | left)


def _parts(compared: Comparison | Rebased) -> dict[str, object]:
    parts = {"gone": compared.gone, "new": compared.new, "differing": compared.differing}
    return {"same": len(compared.same), "equal": compared.equal, **parts}


def _document(value: dict[str, object]) -> str:
    return encoded(value).decode() + "\n"


def _listed(title: str, changes: tuple[Change, ...], paint: Paint) -> Iterator[str]:
    if not changes:
        return
    yield f"{title} ({len(changes)})"
    named = [c for n, c in enumerate(changes) if n < MOST or c.action == "delete"]
    for change in named:
        yield f"  {_line(change, paint)}"
        yield from (f"       {_field(field)}" for field in change.fields if change.action in WITH_VALUES)
    if len(named) < len(changes):
        yield paint("dim", f"  and {len(changes) - len(named)} more")


def _differing(pairs: tuple[tuple[Change, Change], ...], names: tuple[str, str], paint: Paint) -> Iterator[str]:
    if pairs:
        yield f"Different ({len(pairs)})"
    for old, new in pairs[:MOST]:
        yield f"  {_line(new, paint)}"
        for name, change, rest in ((names[0], old, new), (names[1], new, old)):
            told = [_field(f) for f in change.fields if f not in rest.fields]
            yield f"       {name}: {change.action} {', '.join(told)}".rstrip()
    if len(pairs) > MOST:
        yield paint("dim", f"  and {len(pairs) - MOST} more")


def _field(field: FieldChange) -> str:
    told = f"{visible(field.path)} {value_text(field.before)} -> {value_text(field.after)}"
    renamed = f" (was {visible(field.moved_from)})" if field.moved_from else ""
    return told + renamed + (" (removed and made anew)" if field.replace else "")


def _line(change: Change, paint: Paint) -> str:
    name = visible(change.blueprint if change.target == "blueprint" else str(change.key))
    return f"{paint(COLORS[change.action], SYMBOLS[change.action])} {name} {quoted(change.title, 80)}"
