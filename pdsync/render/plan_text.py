"""A plan as text for a terminal or a log.

Changes are numbered so that a review can speak of them; equal field changes of many entities fold into one line with a
count, and so do the rest of very many that differ in their values alone; deletes are listed by name right above the
summary and never fold; unchanged things are counted.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING

import orjson

from pdsync.errors import Severity
from pdsync.normal import same
from pdsync.plan.branch import base_fields, changes_nothing, parts
from pdsync.plan.guards import MISSING, NOT_READ, UNPROVEN
from pdsync.plan.parts import stays
from pdsync.render.because import behind
from pdsync.render.blast_text import blast_line, blast_names
from pdsync.render.escape import quoted, value_text, visible
from pdsync.render.field_text import field_lines, field_name, width_of
from pdsync.render.left import FOLD, first_few, held_lines, ignored_lines, unknown_lines
from pdsync.render.paint import Paint

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from pdsync.model import Branch, Change, Commit, FieldChange, Plan, PlanBase, Withheld

    Block = tuple[int, list[str]]
    """The number of a change and the lines that show it."""

SYMBOLS = {"create": "+", "update": "~", "delete": "-", "adopt": "=", "release": "<", "forget": "."}
COLORS = {
    "create": "green",
    "update": "yellow",
    "delete": "red",
    "adopt": "cyan",
    "release": "yellow",
    "forget": "cyan",
}
RENAME = ">"
RENAME_COLOR = "yellow"
WHOLE_CREATES = 3
"""Up to so many creates of one blueprint are shown with their fields; of more, the first one is."""
BREAKING = "breaking-change"
PARTS = {
    "schema.properties": ("property", "properties"),
    "relations": ("relation", "relations"),
    "mirrorProperties": ("mirror property", "mirror properties"),
    "calculationProperties": ("calculation", "calculations"),
    "aggregationProperties": ("aggregation", "aggregations"),
}
"""What a new blueprint has, in words for one and for several."""
NAMED = 40
"""Creates of one blueprint that are named, and notes of one sort; the rest are counted."""
EXAMPLES = 10
"""Of more than `NAMED` updates that differ in their values alone, so many are shown; the rest are one line."""


def render_plan(plan: Plan, *, color: bool = False, everything: bool = False) -> str:
    """The plan as text, ending with the summary line; `everything` shows what would be folded.

    One that was set beside the plan of a base leads with what the branch changes; of the rest, deletes are named and
    the others counted.
    """
    paint = Paint(color)
    if plan.branch is None:
        changes = _changes(plan, paint, everything=everything)
        removals = _removals(plan, paint)
        sections = [_head(plan), _legend(plan, paint), *changes, *_left(plan, everything=everything), *removals]
    else:
        sections = [_head(plan), *_by_branch(plan, plan.branch, paint, everything=everything)]
    sections += [_blast(plan), _summary(plan, paint)]
    return "\n\n".join(section for section in sections if section) + "\n"


def _changes(plan: Plan, paint: Paint, *, everything: bool) -> list[str]:
    return [
        _section("Blueprints", _blueprints(plan, paint)),
        _section("Entities", _entities(plan, paint, everything=everything)),
        _section("Left as they are", _noted(_held(plan, everything=everything), everything=everything)),
    ]


def _held(plan: Plan, *, everything: bool) -> list[str]:
    return [f"{who}: {why}" for who, why in held_lines(plan, everything=everything)]


def _noted(lines: Sequence[str], *, everything: bool) -> Iterator[str]:
    """Lines of a section; of many the first ones, and how many more there are."""
    yield from (f"  {visible(line)}" for line in (lines if everything else lines[:NAMED]))
    if len(lines) > NAMED and not everything:
        yield f"  and {len(lines) - NAMED:,} more"


def render_stopped(plan: Plan, *, color: bool = False) -> str:
    """What a plan deliberately does not do, alone: what it leaves as it is, its guards, deletes that are withheld."""
    paint = Paint(color)
    left = [f"  {visible(str(h.key))}: {visible(h.reason)}" for h in plan.held]
    sections = [_section("Left as they are", left), *_removals(replace(plan, changes=()), paint)]
    return "".join(f"{section}\n" for section in sections if section)


def _left(plan: Plan, *, everything: bool) -> list[str]:
    """What a plan leaves as it is of entities that it may change otherwise."""
    return [
        _section("Unknown", _noted(unknown_lines(plan, everything=everything), everything=everything)),
        _section("Ignored", [f"  {visible(line)}" for line in ignored_lines(plan)]),
    ]


def _removals(plan: Plan, paint: Paint, of: str = "") -> list[str]:
    """What would go; `of` says whose doing it is."""
    return [
        _section("Guards" + of, _guards(plan)),
        _section(f"Deletes withheld{of} ({len(plan.withheld)})", _withheld(plan, paint)),
        _section(f"Deletes{of} ({plan.summary.delete})", _deletes(plan, paint)),
    ]


def _by_branch(plan: Plan, branch: Branch, paint: Paint, *, everything: bool) -> list[str]:
    """What the branch changes, and then, counted, what would be done without it as well."""
    mine, rest = parts(plan)
    shown = plan if everything else replace(plan, changes=(*mine.changes, *_removed(rest)))
    if changes_nothing(branch):
        return [
            paint("bold", "This branch changes nothing."),
            _legend(shown, paint),
            *_rest(rest, branch, paint, everything=everything),
        ]
    return [
        paint("bold", f"What this branch changes ({_counted_parts(branch)})"),
        _legend(shown, paint),
        *_changes(mine, paint, everything=everything),
        _section(f"Otherwise on {base_name(branch)}", _otherwise(plan, branch, paint)),
        _section(f"No longer ({len(branch.gone)}): {base_name(branch)} would do it", _gone(branch, paint)),
        *_removals(mine, paint),
        *_rest(rest, branch, paint, everything=everything),
    ]


def _removed(plan: Plan) -> list[Change]:
    return [change for change in plan.changes if change.action == "delete"]


def _counted_parts(branch: Branch) -> str:
    counts = {
        "new": len(branch.new),
        "otherwise": len(branch.otherwise),
        "no longer": len(branch.gone),
        "deletes withheld": len(branch.withheld),
        "left as they are": len(branch.held),
    }
    return ", ".join(f"{count} {name}" for name, count in counts.items() if count) or "guards"


def _otherwise(plan: Plan, branch: Branch, paint: Paint) -> Iterator[str]:
    """What the base would do with what this plan does, too: where the two part."""
    changes = {change.n: change for change in plan.changes}
    for each in branch.otherwise[:NAMED]:
        symbol = paint(COLORS[each.base.action], SYMBOLS[each.base.action])
        yield f"{f'#{each.n}'.rjust(5)} {symbol} {_name_of(each.base)}"
        fields = base_fields(changes[each.n], each.base)
        yield from field_lines(fields, {}, paint)
        rest = {f.path for f in each.base.fields}
        only = [visible(f.path) for f in changes[each.n].fields if f.path not in rest]
        if only and not fields:
            yield f"       without {', '.join(only)}"
    if len(branch.otherwise) > NAMED:
        yield f"     and {len(branch.otherwise) - NAMED} more"


def _gone(branch: Branch, paint: Paint) -> Iterator[str]:
    """What only the base would do: each delete by name, many others folded."""
    named = [change for n, change in enumerate(branch.gone) if n < NAMED or change.action == "delete"]
    for change in named:
        symbol = paint(COLORS[change.action], SYMBOLS[change.action])
        paths = [visible(f.path) for f in change.fields] if change.action == "update" else []
        yield f"       {symbol} {_name_of(change)} {quoted(change.title, 80)}  {', '.join(paths)}".rstrip()
    if len(named) < len(branch.gone):
        yield f"     and {len(branch.gone) - len(named)} more"


REST: Mapping[str, str] = {
    "catalog": "the base is not applied yet",
    "source": "PagerDuty has moved",
    "drift": "somebody edited Port",
    "tool": "another version evaluates the mappings",
}
"""What is behind the changes that a branch has nothing to do with, by cause."""


def _rest(rest: Plan, branch: Branch, paint: Paint, *, everything: bool) -> list[str]:
    """What is done with or without the branch: one line for each cause, deletes by name."""
    of = " of the rest"
    lines = [f"  {cause} {count}  {REST[cause]}" for cause, count in branch.rest.items()]
    lines += [f"  left as they are {len(rest.held)}"] if rest.held else []
    known = sum(d.severity is Severity.ERROR for d in rest.diagnostics)
    lines += [f"  problems {known}  {base_name(branch)} has them as well"] if known else []
    whole = _changes(rest, paint, everything=True) if everything else []
    told = [_section("The rest, with or without this branch", lines), *whole, *_removals(rest, paint, of)]
    return [*told, *_left(rest, everything=everything)]


COMMIT = re.compile("[0-9a-f]{40}")
SHORT = 10
"""Digits of a commit that are printed."""


def base_name(branch: Branch) -> str:
    """What the base is called: by its name, or by the first digits of a commit."""
    return visible(branch.ref[:SHORT] if COMMIT.fullmatch(branch.ref) else branch.ref)


def base_text(branch: Branch) -> str:
    """What the base is called, and its commit, once where that is the same."""
    name, commit = base_name(branch), f"commit {visible(branch.commit[:SHORT])}"
    return commit if commit.endswith(f" {name}") else f"{name}  {commit}"


def catalog_text(base: PlanBase) -> str:
    """Which catalog a plan was made of."""
    if not base.commit:
        return "no commit"
    return f"commit {base.commit[:SHORT]}{' with uncommitted changes' if base.dirty else ''}"


def _head(plan: Plan) -> str:
    base = plan.base
    state = f"serial {base.serial}" if base.serial else "none yet"
    lines = [f"target   {visible(base.target)}  {visible(base.org_name)} {visible(base.org_id)}".rstrip()]
    if base.source:
        lines.append(f"source   {visible(base.source)}  snapshot of {visible(base.taken_at)}")
    if plan.branch is not None:
        lines.append(f"base     {base_text(plan.branch)}")
    lines.append(f"catalog  {visible(catalog_text(base))}  state {state}")
    return "\n".join([*lines, *(f"reverts  {visible(str(run))}" for run in [base.scope.get("reverts")] if run)])


def _legend(plan: Plan, paint: Paint) -> str:
    pairs = plan.renames
    used = {change.action for change in plan.changes if change.n not in pairs and change.n not in pairs.values()}
    parts = [paint(COLORS[action], f"{symbol} {action}") for action, symbol in SYMBOLS.items() if action in used]
    return "   ".join([*parts, *([paint(RENAME_COLOR, f"{RENAME} rename")] if pairs else [])])


def _section(title: str, lines: Iterable[str]) -> str:
    listed = list(lines)
    return "\n".join([title, *listed]) if listed else ""


def _blueprints(plan: Plan, paint: Paint) -> Iterator[str]:
    for change in plan.changes:
        if change.target == "blueprint" and change.action != "delete":
            yield _line(change, paint)
            if change.action == "create":
                yield f"       {_parts(change.fields)}"
            else:
                yield from field_lines(change.fields, plan.commits, paint)


def _parts(fields: Sequence[FieldChange]) -> str:
    counts = Counter(f.path.rsplit(".", 1)[0] for f in fields if "." in f.path)
    told = ((counts[part], one, several) for part, (one, several) in PARTS.items() if counts[part])
    return ", ".join(f"{n} {one if n == 1 else several}" for n, one, several in told) or "no properties"


def _entities(plan: Plan, paint: Paint, *, everything: bool) -> Iterator[str]:
    """What happens to entities, in the order of doing; deletes have a section of their own."""
    pairs = plan.renames
    changes = [c for c in plan.changes if c.target == "entity" and c.action != "delete"]
    blocks = [
        *_renames([c for c in changes if c.n in pairs], pairs, plan.commits, paint, everything=everything),
        *_creates([c for c in changes if c.action == "create" and c.n not in pairs], paint, everything=everything),
        *_updates(
            [c for c in changes if c.action in ("update", "release")], plan.commits, paint, everything=everything
        ),
        *_quiet([c for c in changes if c.action in ("adopt", "forget")], plan.commits, paint, everything=everything),
    ]
    for _, lines in sorted(blocks, key=lambda block: block[0]):
        yield from lines


def _renames(
    changes: list[Change],
    pairs: Mapping[int, int],
    commits: Mapping[str, Commit],
    paint: Paint,
    *,
    everything: bool,
) -> Iterator[Block]:
    """What gets another identifier, each by name; of many, only the first ones with the values that change too."""
    for number, change in enumerate(changes):
        names = f"{visible(change.blueprint)}/{visible(change.twin)} -> {visible(str(change.key))}"
        tail = paint("dim", f"[{change.cause}] the old one goes with #{pairs[change.n]}")
        head = f"{f'#{change.n}'.rjust(5)} {paint(RENAME_COLOR, RENAME)} {names} {quoted(change.title, 80)}  {tail}"
        fields = [f for f in change.fields if not same(f.before, f.after)]
        yield change.n, [head, *(field_lines(fields, commits, paint) if everything or number < WHOLE_CREATES else ())]


def _creates(changes: list[Change], paint: Paint, *, everything: bool) -> Iterator[Block]:
    seen: Counter[str] = Counter()
    total = Counter(c.blueprint for c in changes)
    for change in changes:
        seen[change.blueprint] += 1
        number, count = seen[change.blueprint], total[change.blueprint]
        lines = [_line(change, paint)] if number <= NAMED or everything else []
        if everything or number == 1 or count <= WHOLE_CREATES:
            lines += _values_only(change.fields)
        if number == count > NAMED and not everything:
            lines.append(paint("dim", f"     and {count - NAMED} more {visible(change.blueprint)} to create"))
        yield change.n, lines


def _values_only(fields: Sequence[FieldChange]) -> Iterator[str]:
    """The fields of something new: all of them come from where the change does."""
    told = [f for f in fields if f.path != "title"]  # the line above has it
    width = width_of(told)
    yield from (f"       {field_name(f):<{width}}  {value_text(f.after)}" for f in told)


def _same(changes: list[Change], *, everything: bool) -> list[list[Change]]:
    """Changes whose fields change alike, together; in the order of their first."""
    groups: defaultdict[bytes, list[Change]] = defaultdict(list)
    for change in changes:
        alike = [change.blueprint, change.action, change.reason]
        alike += [part for f in change.fields for part in (f.path, f.before, f.after, f.cause)]
        groups[orjson.dumps(alike, option=orjson.OPT_SORT_KEYS)].append(change)
    folded = []
    for group in groups.values():
        folded += [[c] for c in group] if everything or len(group) < FOLD else [group]
    return sorted(folded, key=lambda group: group[0].n)


def _updates(
    changes: list[Change], commits: Mapping[str, Commit], paint: Paint, *, everything: bool
) -> Iterator[Block]:
    for alike in _alike(_same(changes, everything=everything), everything=everything):
        shown = alike if len(alike) <= NAMED else alike[:EXAMPLES]
        for group in shown:
            head = _line(group[0], paint, commits) if len(group) == 1 else _folded(group, "the same change", paint)
            yield group[0].n, [head, *field_lines(group[0].fields, commits, paint)]
        if rest := sorted((change for group in alike[len(shown) :] for change in group), key=lambda change: change.n):
            paths = ", ".join(field_name(field) for field in rest[0].fields)
            yield rest[0].n, [_folded(rest, f"other values of {paths}, all with --verbose", paint)]


def _alike(groups: list[list[Change]], *, everything: bool) -> Iterable[list[list[Change]]]:
    """Those together that do the same to the same fields for the same cause, whatever the values.

    What takes away what somebody set in Port, or leaves nothing in a field, is looked at by itself.
    """
    if everything:
        return [[group] for group in groups]
    found: defaultdict[object, list[list[Change]]] = defaultdict(list)
    for group in groups:
        first = group[0]
        told = tuple((f.path, f.causes or f.cause, f.origin, f.note) for f in first.fields)
        found[first.n if _loses(first) else (first.blueprint, first.reason, told)].append(group)
    return found.values()


def _loses(change: Change) -> bool:
    """Whether a change takes away what somebody set in Port, or leaves nothing where something was."""
    if change.action != "update":
        return True
    by_hand = change.reason == "taken-over" and not _by_integration(change)
    return by_hand or any(field.drift or field.after is None for field in change.fields)


def _by_integration(change: Change) -> bool:
    return change.ledger is not None and change.ledger.origin == "integration"


def _is_kept(change: Change) -> bool:
    """Whether something stays for the sake of others alone."""
    return (change.reason, change.action) == ("stub", "adopt")


_TOLD_APART = (
    (_by_integration, "made by Port's integration, so ours to delete later"),
    (_is_kept, "stay that no record makes any more, as relations need them"),
)
"""What is counted where many changes are one line."""


def _folded(group: list[Change], how: str, paint: Paint) -> str:
    symbol = paint(COLORS[group[0].action], SYMBOLS[group[0].action])
    names = visible(first_few(c.identifier for c in group))
    told = f"{_number(group)} {symbol} {visible(group[0].blueprint)} x {len(group)}, {how}: {names}"
    cause = f"[{group[0].cause}]" if len({c.cause for c in group}) == 1 and group[0].action != "update" else ""
    why = " ".join(part for part in (cause, "" if group[0].twin else spoken(group[0])) if part)
    return f"{told}  {paint('dim', why)}".rstrip()


def _number(group: list[Change]) -> str:
    """From the first to the last, or, where others stand between them, so many that nobody takes those for them."""
    first, last = group[0].n, group[-1].n
    whole = last - first + 1 == len(group)
    return f"#{first}..#{last}".rjust(5) if whole else first_few(f"#{change.n}" for change in group)


def _quiet(changes: list[Change], commits: Mapping[str, Commit], paint: Paint, *, everything: bool) -> Iterator[Block]:
    """What only moves the ledger: by name when few, else counted."""
    for action in ("adopt", "forget"):
        group = [c for c in changes if c.action == action]
        if everything or len(group) <= WHOLE_CREATES:
            yield from ((c.n, [_line(c, paint), *field_lines(_released(c), commits, paint)]) for c in group)
        else:
            counts = Counter(c.blueprint for c in group)
            listed = ", ".join(f"{visible(name)} x {n}" for name, n in sorted(counts.items()))
            symbol = paint(COLORS[action], SYMBOLS[action])
            some = ((n, text) for holds, text in _TOLD_APART if (n := sum(map(holds, group))))
            ours = "".join(f"; {n} {text}" for n, text in some)
            paths = Counter(field.path for c in group for field in _released(c))
            left = "; released: " + ", ".join(f"{visible(path)} x {n}" for path, n in sorted(paths.items()))
            told = f"{listed} (only the state moves{ours}{left if paths else ''})"
            yield group[0].n, [f"{_number(group)} {symbol} {told}"]


def _released(change: Change) -> list[FieldChange]:
    """The fields that only cease to be ours."""
    return [field for field in change.fields if stays(field)]


def _line(change: Change, paint: Paint, commits: Mapping[str, Commit] = MappingProxyType({})) -> str:
    symbol = paint(COLORS[change.action], SYMBOLS[change.action])
    told = f"{symbol} {_name_of(change)} {quoted(change.title, 80)}  {_why(change, paint, commits)}"
    return f"{f'#{change.n}'.rjust(5)} {told}".rstrip()


def _name_of(change: Change) -> str:
    return visible(change.blueprint if change.target == "blueprint" else str(change.key))


def _why(change: Change, paint: Paint, commits: Mapping[str, Commit]) -> str:
    cause = "" if change.fields and change.action == "update" else f"[{change.cause}]"
    why = " ".join(part for part in (cause, spoken(change)) if part)
    return paint("dim", "  ".join(part for part in (why, behind(change, commits)) if part).rstrip())


REASONS = {
    "new": "",
    "changed": "",
    "equal": "already as it should be: taken over",
    "caught-up": "Port is as it should be, only the state moves",
    "stub": "a relation needs it",
    "taken-over": "exists in Port, not ours until now",
    "gone-from-port": "gone from Port",
    "gone-from-source": "gone from PagerDuty",
    "left-window": "older than the time window of its list",
    "not-listed": "no longer in its list",
    "not-selected": "its record no longer makes it",
    "unmapped": "nothing in the catalog makes it any more",
    "destroyed": "asked for by destroy",
    "parts-released": "parts that the catalog names no more stay as they are",
    "identifier-changed": "its record has another identifier",
    "follows": "",
    "carried": "its value is written back in the new form",
    "reverted": "as before that run",
    "made-by-run": "made by that run",
}
"""What people read for a change's reason."""


def spoken(change: Change) -> str:
    """Why a change is what it is, in words; empty where the action says it all."""
    told = REASONS.get(change.reason, change.reason)
    if _is_kept(change):
        told = f"no record makes it any more; {told}"
    if change.reason in ("equal", "taken-over") and _by_integration(change):
        told += "; made by Port's integration, so ours to delete later"
    return f"{told}: {quoted(change.twin)}" if change.twin else told


def _guards(plan: Plan) -> Iterator[str]:
    for guard in plan.guards:
        yield f"  {visible(guard.name)} {visible(guard.blueprint)}: {visible(guard.detail)}"
        if guard.flag and guard.name == BREAKING:
            yield f"      to let it through: {visible(guard.flag)}"


def withheld_text(item: Withheld) -> str:
    """Why something would be deleted, and why it is not; the former only where it is known."""
    why = "" if item.reason in (UNPROVEN, NOT_READ, MISSING) else REASONS.get(item.why, item.why)
    return f"{why}; {item.reason}" if why else item.reason


def _withheld(plan: Plan, paint: Paint) -> Iterator[str]:
    flags: dict[str, None] = {}
    for item in plan.withheld:
        yield f"      {paint('red', '-')} {visible(item.name)} {quoted(item.title, 80)}  {visible(withheld_text(item))}"
        if item.flag:
            flags[item.flag] = None
    yield from (f"      to let them through: {visible(flag)}" for flag in flags)


def _deletes(plan: Plan, paint: Paint) -> Iterator[str]:
    halves = set(plan.renames.values())
    for change in plan.changes:
        if change.action == "delete" and change.n not in halves:
            yield _line(change, paint, plan.commits)


def _blast(plan: Plan) -> str:
    if plan.blast is None:
        return ""
    return "\n".join([f"Blast radius: {blast_line(plan.blast)}", *(f"  {line}" for line in blast_names(plan.blast))])


def _summary(plan: Plan, paint: Paint) -> str:
    count = plan.summary
    parts = [f"{count.create} to create", f"{count.update} to update", f"{count.delete} to delete"]
    extra = [("rename", "to rename"), ("adopt", "to adopt"), ("release", "to release"), ("forget", "to forget")]
    parts += [f"{getattr(count, name)} {words}" for name, words in extra if getattr(count, name)]
    rest = [f"{count.unchanged} unchanged"]
    rest += [f"{taken} taken over"] if (taken := taken_over(plan)) else []
    rest += [f"{count.foreign} not ours"] if count.foreign else []
    rest += [f"{count.held} left as they are"] if count.held else []
    rest += [f"{count.retained} retained"] if count.retained else []
    rest += [f"{count.withheld} {'delete' if count.withheld == 1 else 'deletes'} withheld"] if count.withheld else []
    rest += [f"ignored: {count.ignored}"] if count.ignored else []
    if not plan.changes:
        return paint("bold", "No changes.") + f" {', '.join(rest)}."
    return "\n".join((_causes(plan), f"({', '.join(rest)})", paint("bold", f"Plan: {', '.join(parts)}.")))


def taken_over(plan: Plan) -> int:
    """How many updates are of entities that were not ours until now."""
    return sum(change.reason == "taken-over" and change.target == "entity" for change in plan.changes)


def _causes(plan: Plan) -> str:
    halves = set(plan.renames.values())
    counts = Counter(change.cause for change in plan.changes if change.n not in halves)
    told = "Causes: " + ", ".join(f"{cause} {n}" for cause, n in sorted(counts.items()))
    return f"{told}\n(causes not exact: {visible(plan.inexact)})" if plan.inexact else told
