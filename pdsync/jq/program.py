r"""One jq program per mapping rule, which says of every expression what became of it.

The program answers one record with `[items, rows]`:

    items   null; or 1 when `itemsToParse` gave several values; or its cell when that was not one list (no rows then)
    rows    one per item (one in all without `itemsToParse`): `[selector]`, followed by the other slots' cells when
            the selector took it
    cell    what an expression gave: `[]` nothing, `[[v]]` one value, `[[v], ...]` several (two are looked at),
            `[[0, 0, e]]` the error e, any JSON; 0 when the slot was not evaluated

Why it is written as it is (jq manual, and trials with libjq 1.7 and 1.8): an expression is followed by *two* newlines,
because it may end in a comment, and a comment may end in a backslash; only a complete expression passes both as an
operand in brackets and as the body of a function, so both are compiled; something stands in front of it, so that
`import` and `include` are syntax errors; `//` is never used, because it takes false for absent; what the wrapper
binds is bound inside functions, where the expressions cannot see it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pdsync.model import Expression, Json, MappingRule, SearchQuery

if TYPE_CHECKING:
    from collections.abc import Iterator
    from collections.abc import Set as AbstractSet

ITEMS = "items"
SELECTOR = "selector"
IDENTIFIER = "identifier"
BLUEPRINT = "blueprint"

DENIED_KEY = "__pdsync_denied"
"""The error of a denied function is an object with its name under this key."""

_DENIED_FUNCTIONS = (
    "env", "now", "localtime", "strflocaltime(f)", "input", "inputs", "debug", "debug(f)", "stderr", "input_filename",
    "input_line_number", "get_search_list", "get_jq_origin", "get_prog_origin", "modulemeta", "halt", "halt_error",
    "halt_error(f)",
)  # fmt: skip
"""Functions that read something else than the record, or act on the process: equal records must give equal values."""

_DENIED_TEXT = (
    (re.compile(r"\$ENV\b"), "$ENV"),
    (re.compile(r"\$__loc__\b"), "$__loc__"),
    (re.compile(r"^\s*(?:#.*\n\s*)*(?:import|include)\b"), "import and include"),
)
"""What cannot be redefined is refused by its spelling, inside strings too."""

_SINGLE_OUTPUT = re.compile(r"""\s*(?:(?:\.[A-Za-z_]\w*)+|"[^"\\]*"|true|false|null|\d{1,15})\s*""", re.ASCII)
"""Plain paths and literals: they cannot give several values, so nothing needs to count."""

_LEADING_PATH = re.compile(r"""[\s(]*((?:\.[A-Za-z_]\w*|\."[^"\\]*"|\.?\["[^"\\]*"\])+)""", re.ASCII)
_PATH_STEP = re.compile(r"""\.([A-Za-z_]\w*)|\."([^"\\]*)"|\.?\["([^"\\]*)"\]""", re.ASCII)

END = "\n# \\q\n\n"
"""What ends an expression inside a program: a comment, whatever comment the expression ended with; inside a string that
the expression left open it is an escape that jq refuses."""

_WRAPPER = """
def __pdsync_row(selector; cells): selector as $s | if $s == [[true]] then [$s, cells] else [$s] end;
def __pdsync_items(items; $name; $strip; row): . as $record | items as $i
  | if ($i | length) == 0 or ($i[0] | length) != 1 or ($i[0][0] | type) != "array" then [$i, []]
    else (try delpaths($strip) catch $record) as $rest
      | [(if ($i | length) > 1 then 1 else null end), [$i[0][0][] as $item | $rest + {($name): $item} | row]] end;
"""


@dataclass(frozen=True, slots=True)
class Slot:
    """One expression of a rule.

    `name` is unique within the rule: `items`, `selector`, `identifier`, `blueprint`, a path, or for a leaf of a search
    query the path with the leaf's number, `relations.owner[0]`.  `path` is what the outcome belongs to.
    """

    name: str
    path: str
    expression: Expression


@dataclass(frozen=True, slots=True)
class Layout:
    """The expressions of a rule in the order of the program's cells.

    `paths` are the mapped paths (identifier and blueprint are not among them); `cells` the slots behind the selector:
    identifier, blueprint and the paths in order, a search query with as many slots as it has leaves (none for a path:
    see `spans`, which gives for identifier, blueprint and every path the range of its slots).
    """

    rule: MappingRule
    items: Slot | None
    selector: Slot
    cells: tuple[Slot, ...]
    paths: tuple[str, ...]
    spans: Mapping[str, tuple[int, int]]

    @property
    def slots(self) -> tuple[Slot, ...]:
        """All slots, in the order in which they are evaluated."""
        return (*((self.items,) if self.items else ()), self.selector, *self.cells)

    @property
    def searches(self) -> frozenset[str]:
        """The paths (identifier included) whose value is to be searched for."""
        values = {IDENTIFIER: self.rule.identifier, **self.rule.fields}
        return frozenset(path for path, value in values.items() if isinstance(value, SearchQuery))


def layout_of(rule: MappingRule) -> Layout:
    """The slots of a rule."""
    cells: list[Slot] = []
    spans: dict[str, tuple[int, int]] = {}
    for path, value in {IDENTIFIER: rule.identifier, BLUEPRINT: rule.blueprint, **rule.fields}.items():
        start = len(cells)
        if isinstance(value, SearchQuery):
            cells += (Slot(f"{path}[{n}]", path, leaf) for n, leaf in enumerate(leaves(value.rules)))
        else:
            cells.append(Slot(path, path, value))
        spans[path] = (start, len(cells))
    return Layout(
        rule=rule,
        items=Slot(ITEMS, ITEMS, rule.items) if rule.items else None,
        selector=Slot(SELECTOR, SELECTOR, rule.selector),
        cells=tuple(cells),
        paths=tuple(rule.fields),
        spans=spans,
    )


def leaves(query: object) -> Iterator[Expression]:
    """The expressions in a search query, in the order in which they are written."""
    if isinstance(query, Expression):
        yield query
    elif isinstance(query, dict):
        for value in query.values():
            yield from leaves(value)
    elif isinstance(query, list | tuple):
        for value in query:
            yield from leaves(value)


def with_leaves(query: object, values: Iterator[Json]) -> Json:
    """A search query with the next of `values` in the place of each expression."""
    if isinstance(query, Expression):
        return next(values)
    if isinstance(query, dict):
        return {name: with_leaves(value, values) for name, value in query.items()}
    if isinstance(query, list | tuple):
        return [with_leaves(value, values) for value in query]
    return query


def refused(text: str) -> str | None:
    """The name of what an expression may not use, where its spelling shows it; see also `prelude`."""
    return next((name for pattern, name in _DENIED_TEXT if pattern.search(text)), None)


def prelude() -> str:
    """What stands in front of every program: denied functions raise, `$ENV` is empty."""
    denials = (
        f'def {signature}: error({{"{DENIED_KEY}": "{signature.partition("(")[0]}"}});'
        for signature in _DENIED_FUNCTIONS
    )
    return "\n".join((*denials, _WRAPPER, "{} as $ENV |\n"))


def guarded(text: str) -> str:
    """The jq that gives the cell of an expression."""
    attempt = f"try ((\n{text}{END}) | [.]) catch [0, 0, .]"
    return f"[{attempt}]" if _SINGLE_OUTPUT.fullmatch(text) else f"[limit(2; {attempt})]"


def program_of(layout: Layout, active: AbstractSet[str]) -> str:
    """The program of a rule in which only the slots named in `active` are evaluated.

    A selector that is not evaluated takes every row.  `itemsToParse` must be active if the rule has it.
    """
    cells = ", ".join(guarded(slot.expression.text) if slot.name in active else "0" for slot in layout.cells)
    selector = guarded(layout.selector.expression.text) if SELECTOR in active else "[[true]]"
    row = f"__pdsync_row({selector}; ({cells}))"
    return prelude() + (
        _over_items(layout.items.expression.text, layout.rule, row) if layout.items else f"[null, [{row}]]"
    )


def definitions(texts: tuple[str, ...]) -> str:
    """A program that compiles only if every text is a whole expression when it stands as a function's body."""
    return prelude() + " ".join(f"def f{n}:\n{text}{END};" for n, text in enumerate(texts)) + " 0"


def stripped_path(items: str) -> list[str] | None:
    """The steps of the path to the list that `itemsToParse` starts from; None when it does not start with a path.

    Ocean deletes that list from the record before mapping (`itemsToParseTopLevelTransform`), and where it finds no
    path, everything; here nothing is deleted then.
    """
    found = _LEADING_PATH.match(items)
    if not found:
        return None
    return [next(step for step in steps if step) for steps in _PATH_STEP.findall(found[1]) if any(steps)]


def _over_items(items: str, rule: MappingRule, row: str) -> str:
    path = stripped_path(items) if rule.items_strip else None
    name, strip = json.dumps(rule.items_name), json.dumps([path] if path else [])
    return f"__pdsync_items({guarded(items)}; {name}; {strip}; {row})"
