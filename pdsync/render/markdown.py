"""A plan as GitHub Markdown within a budget of bytes.

Nothing is ever cut in the middle: each part of the document has levels, from everything down to a count.  The parts are
filled in by their weight, deletes first, each as telling as the room that is left allows.

Data from PagerDuty and Port stands in code spans and fences only, each longer than any run of backticks inside: GitHub
makes no mentions, links or HTML out of those.  It does not know code between more than eighty backticks (cmark-gfm, the
parser of GitHub's Markdown, counts no further), so longer runs are broken by an escape.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import groupby, zip_longest
from typing import TYPE_CHECKING

from pdsync.diff import changed_lines
from pdsync.errors import Severity
from pdsync.normal import same
from pdsync.plan.branch import changes_nothing
from pdsync.plan.branch import parts as split
from pdsync.render.because import behind, cause_tag, place_of
from pdsync.render.blast_text import blast_line, blast_names
from pdsync.render.escape import both_texts, line_text, quoted, visible
from pdsync.render.field_text import MOST_LINES, inner_text, more_lines, place_sign, places_in
from pdsync.render.left import held_lines, ignored_lines, unknown_lines
from pdsync.render.plan_text import (
    REST,
    SYMBOLS,
    spoken,
    taken_over,
    withheld_text,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from pdsync.model import Branch, Change, Commit, FieldChange, Guard, Plan

DIFF_MARK = {"create": "+", "update": "!", "delete": "-", "adopt": " ", "release": "!", "forget": " "}
PLAIN = re.compile(r"[A-Za-z0-9 .-]+")
"""Text that is nothing else in Markdown."""
LONGEST_REASON = 500
_TOO_LONG = re.compile("(`{78})`")
"""So many backticks in a row are too many, with one to spare: what encloses them has one more."""
OPEN_LINES = 12
"""A part with no more lines than this is shown open."""


@dataclass(frozen=True, slots=True)
class _Part:
    """One part of the document: its text at each level, most telling first, given the bytes there is room for.

    `least` says of how many bytes each level is at least, so that one that cannot fit is not written.
    """

    levels: tuple[Callable[[int], str], ...]
    least: tuple[int, ...] = ()


def render_plan_markdown(plan: Plan, *, budget: int, title: str) -> str:
    """The plan as Markdown of at most `budget` UTF-8 bytes (the summary and the counts stay even above that)."""
    lead = _headline(plan) if plan.branch is None else _branch_headline(plan, plan.branch)
    mine = plan if plan.branch is None else split(plan)[0]
    head = f"### {title if PLAIN.fullmatch(title) else code(title)}\n\n{lead}\n\n{_inexact(plan)}{_table(mine)}\n"
    weighed = _parts(plan) if plan.branch is None else _parts_by_branch(plan, plan.branch)
    texts = _fitted(weighed, budget - len(head.encode()) - 200)
    body = "\n".join(texts[name] for name in _SHOWN if texts.get(name))
    return (
        f"{head}\n{body}".rstrip() + f"\n\n<sub>plan {code(plan.fingerprint[:12])} on state {plan.base.serial}</sub>\n"
    )


_SHOWN = (
    *("deletes", "withheld", "blast", "guards", "held", "unknown", "ignored", "blueprints"),
    *("renames", "updates", "releases", "creates", "quiet", "otherwise", "gone"),
    *("rest", "rest guards", "rest withheld", "rest deletes"),
)
"""The parts in the order in which they are shown."""


def _parts(plan: Plan) -> dict[str, _Part]:
    """The parts of a plan, the weightiest first: what comes later takes the room that is left."""
    return {
        "deletes": _deletes(plan),
        "withheld": _withheld(plan),
        "blast": _blast(plan),
        "guards": _listed("Guards", [_guard(g) for g in plan.guards]),
        "held": _held(plan),
        "unknown": _unknown(plan),
        "ignored": _listed(
            "Left alone (`lifecycle.ignore_changes`)",
            [code(line) for line in ignored_lines(plan)],
        ),
        "blueprints": _blueprints(plan),
        "renames": _renames(plan),
        "releases": _changes(plan, "release", "To release (what we added is cleared)"),
        "updates": _changes(plan, "update", "To update"),
        "quiet": _quiet(plan),
        "creates": _changes(plan, "create", "To create"),
    }


def _parts_by_branch(plan: Plan, branch: Branch) -> dict[str, _Part]:
    """The parts of what the branch changes, and the rest: deletes by name, the others folded."""
    mine, rest = split(plan)
    own = _parts(mine)
    return {
        "deletes": own.pop("deletes"),
        "rest deletes": _deletes(rest, "Deletes, with or without this branch"),
        "withheld": own.pop("withheld"),
        "rest withheld": _withheld(rest, "Deletes withheld, with or without this branch"),
        **own,
        "rest guards": _listed("Guards, with or without this branch", [_guard(g) for g in rest.guards]),
        "otherwise": _told([each.base for each in branch.otherwise], "The base would do these otherwise", {}),
        "gone": _told(list(branch.gone), "No longer done (the base would do it)", {}),
        "rest": _rest(rest, branch),
    }


def _branch_headline(plan: Plan, branch: Branch) -> str:
    if changes_nothing(branch):
        return f"**This branch changes nothing.** {_without_it(plan)}"
    mine = split(plan)[0]
    gone = [f"{len(branch.gone)} no longer"] if branch.gone else []
    words = [*_counts(mine), *(f"{n} {word}" for word, n in _others(mine) if n), *gone]
    return f"**This branch:** {', '.join(words)}. {_without_it(plan)}"


def _without_it(plan: Plan) -> str:
    rest = split(plan)[1].summary
    parts = {"to create": rest.create, "to update": rest.update, "to delete": rest.delete, "to rename": rest.rename}
    told = [f"{count} {word}" for word, count in parts.items() if count]
    others = rest.adopt + rest.release + rest.forget
    told += [f"{others} others"] if others else []
    return f"With or without it: {', '.join(told) or 'nothing'}. {plan.summary.unchanged} unchanged."


def _rest(rest: Plan, branch: Branch) -> _Part:
    """What both do, folded: one line for each cause; then by name, where there is room."""
    told = [f"- {cause}: {count} ({REST[cause]})" for cause, count in branch.rest.items()]
    told += [f"- left as they are: {len(rest.held)}"] if rest.held else []
    known = sum(d.severity is Severity.ERROR for d in rest.diagnostics)
    told += [f"- problems that the base has as well: {known}"] if known else []
    if not told:
        return _NOTHING
    changes = [c for c in rest.changes if c.action != "delete"]
    summary = f"<details><summary>The rest, with or without this branch: {len(rest.changes)}</summary>\n\n"
    lines = "\n".join(told) + "\n\n"
    names = fenced([_named(c) for c in changes], "diff") + "\n\n" if changes else ""
    return _Part((lambda _: f"{summary}{lines}{names}</details>\n", lambda _: f"{summary}{lines}</details>\n"))


def code(text: str) -> str:
    """Inline code that the text cannot end: a run of backticks longer than any inside, on one line."""
    line = _broken_up(visible(text)) or " "
    fence = "`" * (_longest_run(line) + 1)
    pad = " " if line.startswith("`") or line.endswith("`") else ""
    return f"{fence}{pad}{line}{pad}{fence}"


def cell(text: str) -> str:
    """Inline code for a table cell, where a pipe would end the cell even inside code."""
    return code(text).replace("|", "\\|")


def fenced(lines: Iterable[str], language: str = "") -> str:
    """A fenced block that no line can end."""
    body = _broken_up("\n".join(lines))
    fence = "`" * max(3, _longest_run(body) + 1)
    return f"{fence}{language}\n{body}\n{fence}"


def _broken_up(text: str) -> str:
    """The text with an escape in runs of backticks that are too long to be told from."""
    return _TOO_LONG.sub(r"\1\\x60", text)


def _longest_run(text: str) -> int:
    return max((len(list(group)) for character, group in groupby(text) if character == "`"), default=0)


def _fitted(parts: Mapping[str, _Part], budget: int) -> dict[str, str]:
    """Each part's text; the parts are filled in in their order, above the least that can be said of the others."""
    texts = {name: part.levels[-1](0) for name, part in parts.items()}
    for name, part in parts.items():
        room = budget - sum(len(text.encode()) + 1 for other, text in texts.items() if other != name)
        texts[name] = next((text for text in _fitting(part, room)), texts[name])
    return texts


def _fitting(part: _Part, room: int) -> Iterator[str]:
    for level, least in zip_longest(part.levels, part.least[: len(part.levels)], fillvalue=0):
        if callable(level) and least <= room and len((text := level(room)).encode()) + 1 <= room:
            yield text


def _headline(plan: Plan) -> str:
    count = plan.summary
    if not plan.changes and not plan.withheld:
        return ", ".join([f"**No changes.** {count.unchanged} unchanged", *_told_others(plan)]) + "."
    words = [*_counts(plan), *_told_others(plan)]
    return ", ".join(words) + f", {count.unchanged} unchanged."


def _counts(plan: Plan) -> list[str]:
    count = plan.summary
    deletes = f"**{count.delete} to delete**" if count.delete else "0 to delete"
    return [f"{count.create} to create", f"{count.update} to update", deletes]


def _told_others(plan: Plan) -> list[str]:
    return [f"{n} {word}" for word, n in _others(plan) if n]


def _others(plan: Plan) -> list[tuple[str, int]]:
    count = plan.summary
    return [
        ("to rename", count.rename),
        ("to adopt", count.adopt),
        ("to release", count.release),
        ("to forget", count.forget),
        ("taken over", taken_over(plan)),
        ("delete withheld" if count.withheld == 1 else "deletes withheld", count.withheld),
        ("left as they are", count.held),
        ("not ours", count.foreign),
        ("retained", count.retained),
        ("fields ignored", count.ignored),
    ]


def _inexact(plan: Plan) -> str:
    return f"Causes are not exact: {code(plan.inexact[:LONGEST_REASON])}\n\n" if plan.inexact else ""


def _table(plan: Plan) -> str:
    pairs = plan.renames
    halves = {*pairs, *pairs.values()}
    told = [c for c in plan.changes if c.target == "entity"]
    counts: Counter[tuple[str, str]] = Counter((c.blueprint, c.action) for c in told if c.n not in halves)
    counts += Counter((c.blueprint, RENAMED) for c in told if c.n in pairs)
    names = sorted({blueprint for blueprint, _ in counts})
    if not names:
        return ""
    actions = [*_ACTIONS, *([RENAMED] if pairs else [])]
    rows = [f"| blueprint | {' | '.join(actions)} |", f"|---|{'--:|' * len(actions)}"]
    rows += [f"| {cell(n)} | " + " | ".join(str(counts[n, action] or "") for action in actions) + " |" for n in names]
    return "\n".join(rows) + "\n"


RENAMED = "rename"
_ACTIONS = ("create", "update", "delete", "adopt", "release", "forget")


def _changes(plan: Plan, action: str, title: str) -> _Part:
    pairs = plan.renames
    changes = [c for c in plan.changes if c.target == "entity" and c.action == action and c.n not in pairs]
    return _told(changes, title, plan.commits)


def _renames(plan: Plan) -> _Part:
    """What gets another identifier: as one, with the values that change besides."""
    pairs = plan.renames
    changes = [c for c in plan.changes if c.n in pairs]
    if not changes:
        return _NOTHING
    title = "To rename (made anew with all it holds, then removed)"
    names = {c.n: f"! {visible(c.blueprint)}/{visible(c.twin)} -> {visible(str(c.key))}" for c in changes}
    moving = {c.n: [f for f in c.fields if not same(f.before, f.after)] for c in changes}
    told = {c.n: f"{names[c.n]} {quoted(c.title, 80)}  [{c.cause}]" for c in changes}
    whole = {c.n: [told[c.n], *_values(moving[c.n], plan.commits)] for c in changes}
    count = len(changes)
    return _Part(
        (
            lambda _: _details(title, count, [line for c in changes for line in whole[c.n]]),
            lambda _: _details(title, count, [told[c.n] for c in changes]),
            lambda _: _details(title, count, [names[c.n] for c in changes]),
            lambda _: _counted(title, changes),
        ),
        (count * _LEAST_NAMED, count * _LEAST_NAMED, count * _LEAST_KEY, 0),
    )


def _blueprints(plan: Plan) -> _Part:
    return _told([c for c in plan.changes if c.target == "blueprint"], "Blueprints", plan.commits)


def _told(changes: list[Change], title: str, commits: Mapping[str, Commit]) -> _Part:
    if not changes:
        return _NOTHING
    count = len(changes)
    return _Part(
        (
            lambda _: _details(title, count, [line for c in changes for line in _whole(c, commits)]),
            lambda _: _details(title, count, [_named(c) for c in changes]),
            lambda _: _counted(title, changes),
        ),
        (count * _LEAST_WHOLE, count * _LEAST_NAMED, 0),
    )


def _details(title: str, count: int, lines: list[str]) -> str:
    opened = " open" if len(lines) <= OPEN_LINES else ""
    return f"<details{opened}><summary>{title}: {count}</summary>\n\n{fenced(lines, 'diff')}\n\n</details>\n"


def _counted(title: str, changes: list[Change]) -> str:
    counts = Counter(c.blueprint for c in changes)
    listed = ", ".join(f"{code(name)} {n}" for name, n in sorted(counts.items()))
    return f"**{title}: {len(changes)}** ({listed}; too many to list here, see the job summary or the plan file)\n"


def _explained(change: Change) -> str:
    return f"{_named(change)} {spoken(change)}".rstrip()


def _named(change: Change) -> str:
    name = visible(change.blueprint if change.target == "blueprint" else str(change.key))
    return f"{DIFF_MARK[change.action]} {name} {quoted(change.title, 80)}  [{change.cause}]"


def _whole(change: Change, commits: Mapping[str, Commit]) -> list[str]:
    name = visible(change.blueprint if change.target == "blueprint" else str(change.key))
    number = f"#{change.n} " if change.n else ""
    why = "  ".join(part for part in (spoken(change), behind(change, commits)) if part)
    told = f"{number}{SYMBOLS[change.action]} {name} {quoted(change.title, 80)}  {why}".rstrip()
    return [f"  {told}", *_values(change.fields, commits)]


def _values(fields: Iterable[FieldChange], commits: Mapping[str, Commit]) -> Iterator[str]:
    for field in fields:
        place = f"{cause_tag(field)} {place_of(field, commits)}".rstrip()
        place += f"  {visible(field.note)}" if field.note else ""
        if field.note and same(field.before, field.after):
            yield f"      {visible(field.path)}   {place}"  # nothing of the value changes
            continue
        nested = _nested(field)
        if nested or field.moved_from:
            moved = f"{visible(field.moved_from)} => " if field.moved_from else ""
            yield f"!     {moved}{visible(field.path)}   {place}"
            yield from nested
            continue
        before, after = both_texts(field.before, field.after)
        if field.before is not None:
            yield f"-     {visible(field.path)}: {before}"
        yield f"+     {visible(field.path)}: {after}   {place}"


def _nested(field: FieldChange) -> list[str]:
    """Where inside a value the difference is, as lines of a diff."""
    if lines := changed_lines(field.before, field.after):
        shown = [f"{line[:1]}         {line_text(line[1:])}" for line in lines[:MOST_LINES] if not line.startswith("@")]
        return [*shown, *more_lines(lines)]
    return [f"{place_sign(place) or ' '}         {inner_text(place)}" for place in places_in(field)]


def _quiet(plan: Plan) -> _Part:
    changes = [c for c in plan.changes if c.target == "entity" and c.action in ("adopt", "forget")]
    return _told(changes, "Only the state moves (adopted or forgotten)", plan.commits)


def _blast(plan: Plan) -> _Part:
    if plan.blast is None:
        return _NOTHING
    line = f"**Blast radius:** {code(blast_line(plan.blast))}\n"
    names = "".join(f"- {code(name)}\n" for name in blast_names(plan.blast))
    return _Part((lambda _: f"{line}\n{names}" if names else line, lambda _: line, lambda _: ""))


def _guard(guard: Guard) -> str:
    flag = f" (to let it through: {code(guard.flag)})" if guard.flag else ""
    return f"{code(guard.name)} {code(guard.blueprint)}: {code(guard.detail)}{flag}"


def _withheld(plan: Plan, name: str = "Deletes withheld") -> _Part:
    flags = sorted({w.flag for w in plan.withheld if w.flag})
    hint = "\n" + "\n".join(f"To let them through: {code(flag)}" for flag in flags) + "\n" if flags else ""
    lines = [f"{code(w.name)} {code(w.title)}: {code(withheld_text(w))}" for w in plan.withheld]
    listed = _listed(f"{name}: {len(plan.withheld)}", lines)
    return _Part(tuple(partial(_followed, level, hint) for level in listed.levels)) if lines else listed


def _followed(level: Callable[[int], str], by: str, room: int) -> str:
    return level(room) + by


def _held(plan: Plan) -> _Part:
    """By name; where there is no room for that, those with the same reason together."""
    told = (
        _listed("Left as they are", [f"{code(who)}: {code(why)}" for who, why in held_lines(plan, everything=whole)])
        for whole in (True, False)
    )
    by_name, together = (part.levels for part in told)
    return _Part((by_name[0], *together))


def _unknown(plan: Plan) -> _Part:
    """What is not known, folded as what is held."""
    told = ([code(line) for line in unknown_lines(plan, everything=whole)] for whole in (True, False))
    by_name, together = (_listed("Unknown (could not be read)", lines).levels for lines in told)
    return _Part((by_name[0], *together))


def _deletes(plan: Plan, name: str = "Deletes") -> _Part:
    """Every one by name; where even the names do not fit, as many as do, and how many more there are."""
    halves = set(plan.renames.values())
    changes = [c for c in plan.changes if c.action == "delete" and c.n not in halves]
    if not changes:
        return _NOTHING
    title = f"**{name}: {len(changes)}**\n\n"
    return _Part(
        (
            lambda _: title + fenced([_explained(c) for c in changes], "diff") + "\n",
            lambda _: title + fenced([_named(c) for c in changes], "diff") + "\n",
            lambda _: title + fenced([f"- {visible(str(c.key))}" for c in changes], "diff") + "\n",
            lambda room: title + _as_many(changes, room - len(title) - _ROOM_FOR_MORE),
            lambda _: _counted(name, changes),
        ),
        (*(len(changes) * least for least in (_LEAST_NAMED, _LEAST_NAMED, _LEAST_KEY)), _ROOM_FOR_MORE * 2, 0),
    )


def _as_many(changes: list[Change], room: int) -> str:
    """Names in order, until there is no more room."""
    lines: list[str] = []
    for change in changes:
        line = f"- {visible(str(change.key))}"
        room -= len(line.encode()) + 1
        if room < 0:
            break
        lines.append(line)
    more = f"**and {len(changes) - len(lines)} more to delete**: see the job summary or the plan file\n"
    return f"{fenced(lines, 'diff')}\n\n{more}"


def _listed(title: str, lines: list[str]) -> _Part:
    if not lines:
        return _NOTHING
    return _Part(
        (
            lambda _: f"**{title}**\n\n" + "\n".join(f"- {line}" for line in lines) + "\n",
            lambda _: f"**{title}** (too many to list here)\n",
        )
    )


_NOTHING = _Part((lambda _: "",))
_LEAST_WHOLE = 40
_LEAST_NAMED = 12
_LEAST_KEY = 6
"""Bytes that the lines of one change take at least, at each level."""
_ROOM_FOR_MORE = 200
"""Bytes for the frame of a list and the line that counts what is not in it."""
