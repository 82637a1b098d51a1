"""Mapping files: what stands in them, expression by expression, and the `MappingRule`s they make."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pdsync.catalog.lifecycle import make_lifecycle
from pdsync.catalog.nodes import Document, Map, Path, Scalar, Sequence, find, offset_of, plain
from pdsync.catalog.quotes import double_quoted
from pdsync.catalog.rules import found
from pdsync.catalog.schema import describe
from pdsync.errors import Diagnostic
from pdsync.model import Expression, Json, MappingRule, Query, SearchQuery

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from pdsync.catalog.nodes import Node
    from pdsync.errors import Origin

_MAPPINGS: Path = ("port", "entity", "mappings")
_SINGLE = ("title", "icon", "team")
_GROUPS = ("properties", "relations")


@dataclass(frozen=True, slots=True)
class Slot:
    """A place where jq stands; `role` is what it is for: `selector`, `identifier`, `properties.url`."""

    role: str
    document: Document
    path: Path
    node: Scalar
    text: str

    @property
    def origin(self) -> Origin:
        """Where the expression stands."""
        return self.document.at(self.node)

    def part(self, start: int, end: int) -> Origin:
        """Where a part of the expression stands in its file, whatever the YAML style."""
        text = self.document.source.text
        begin = offset_of(text, self.node, min(start, max(len(self.node.raw) - 1, 0)))
        last = offset_of(text, self.node, min(max(end - 1, start), max(len(self.node.raw) - 1, 0)))
        return self.document.source.origin(begin, last + 1)

    def expression(self) -> Expression:
        """As the mapping engine wants it."""
        return Expression(self.text, self.origin)


@dataclass(frozen=True, slots=True)
class Search:
    """A search query in the place of jq; `rules` is the object with a Slot (or None) for every leaf."""

    role: str
    document: Document
    path: Path
    rules: Json

    @property
    def origin(self) -> Origin:
        """Where the query stands."""
        return self.document.value(self.path)

    def slots(self) -> Iterator[Slot]:
        """Every leaf."""
        yield from _leaves(self.rules)


def _leaves(rules: Json) -> Iterator[Slot]:
    if isinstance(rules, Slot):
        yield rules
    elif isinstance(rules, dict):
        for value in rules.values():
            yield from _leaves(value)
    elif isinstance(rules, list):
        for value in rules:
            yield from _leaves(value)


@dataclass(frozen=True, slots=True)
class Resource:
    """One resource as written: its expressions by role, as far as they are readable."""

    id: str
    kind: str
    document: Document
    path: Path
    node: Map
    query: Query | None
    parts: Mapping[str, Slot | Search]

    def slots(self) -> Iterator[Slot]:
        """Every expression, those inside search queries too."""
        for part in self.parts.values():
            yield from part.slots() if isinstance(part, Search) else (part,)

    def slot(self, role: str) -> Slot | None:
        """The expression of a role, None when there is none or it is a search."""
        part = self.parts.get(role)
        return part if isinstance(part, Slot) else None

    @property
    def origin(self) -> Origin:
        """Where the resource begins."""
        return self.document.value(self.path)

    def fields(self) -> Iterator[Slot | Search]:
        """What is mapped onto the entity beside identifier and blueprint."""
        for role, part in self.parts.items():
            if role in _SINGLE or role.startswith(("properties.", "relations.")):
                yield part

    @property
    def items_name(self) -> str:
        """The name under which an item is put into its record."""
        name = find(self.node, "port", "itemsToParseName")
        return name.value if isinstance(name, Scalar) and isinstance(name.value, str) else "item"


# --- reading ---------------------------------------------------------------------------------------------------


def lost_indentation(document: Document) -> list[Diagnostic]:
    """One error for a mapping that was copied from where it has no indentation: every line of it would be wrong."""
    root, listed = document.root, find(document.root, "resources")
    if not isinstance(root, Map) or not isinstance(listed, Sequence) or not {"selector", "port"} <= {*root.entries}:
        return []
    detail = '"selector" stands beside "resources", so it belongs to no "kind"'
    hint = 'write "selector" and "port" right below "kind", and what is in them two spaces further'
    return [found("PD175", document.key(("selector",)), detail, hint, related=(document.value(("resources",)),))]


def read_resources(
    file: str, document: Document, counts: dict[str, int], now: datetime | None = None
) -> tuple[list[Resource], list[Diagnostic]]:
    """The resources of a mapping file (`file` relative to the catalog), and what is wrong with single values.

    `counts` holds the number of the last resource of each kind in this file, and is counted on.  `now` is when the
    mapping is to be used, if that is known.
    """
    listed = find(document.root, "resources")
    resources: list[Resource] = []
    problems: list[Diagnostic] = []
    for index, node in enumerate(listed.items if isinstance(listed, Sequence) else ()):
        kind = find(node, "kind")
        if not isinstance(node, Map) or not isinstance(kind, Scalar) or not isinstance(kind.value, str):
            continue
        number = counts[kind.value] = counts.get(kind.value, -1) + 1
        path: Path = ("resources", index)
        query, found_in_selector = _read_selector(document, path, node, kind.value, now)
        parts, found_in_parts = _read_parts(document, path, node)
        problems += found_in_selector + found_in_parts
        name = f"{file}#{kind.value}[{number}]"
        resources.append(Resource(name, kind.value, document, path, node, query, parts))
    return resources, problems


def _read_selector(
    document: Document, path: Path, node: Map, kind: str, now: datetime | None
) -> tuple[Query | None, list[Diagnostic]]:
    from pdsync.kinds import read_selector

    selector = find(node, "selector")
    written = plain(selector) if isinstance(selector, Map) else {}
    query, problems = read_selector(kind, {key: value for key, value in written.items() if key != "query"}, now)
    return query, [
        Diagnostic(
            problem.severity,
            problem.code,
            problem.summary,
            problem.detail,
            _selector_place(document, path, problem.path, problem.code),
            problem.hint,
        )
        for problem in problems
    ]


_ABOUT_KEYS = frozenset({"PD141", "PD142", "PD146", "PD147"})


def _selector_place(document: Document, path: Path, inside: Path, code: str) -> Origin:
    if not inside:
        return document.value((*path, "kind"))
    place = (*path, "selector", *inside)
    return document.key(place) if code in _ABOUT_KEYS else document.value(place)


def _read_parts(document: Document, path: Path, node: Map) -> tuple[dict[str, Slot | Search], list[Diagnostic]]:
    parts: dict[str, Slot | Search] = {}
    problems: list[Diagnostic] = []
    for role, inside in _places(node):
        place = (*path, *inside)
        value = find(node, *inside)
        if value is None:
            continue
        part, found_here = _part(role, document, place, value)
        problems += found_here
        if part is not None:
            parts[role] = part
    problems += _group_problems(document, path, node)
    return parts, problems


def _places(node: Map) -> Iterator[tuple[str, Path]]:
    yield "selector", ("selector", "query")
    yield "items", ("port", "itemsToParse")
    for role in ("identifier", "blueprint", *_SINGLE):
        yield role, (*_MAPPINGS, role)
    for group in _GROUPS:
        members = find(node, *_MAPPINGS, group)
        for name in members.entries if isinstance(members, Map) else ():
            yield f"{group}.{name}", (*_MAPPINGS, group, name)


def _group_problems(document: Document, path: Path, node: Map) -> list[Diagnostic]:
    problems = []
    for group in _GROUPS:
        members = find(node, *_MAPPINGS, group)
        if members is not None and not isinstance(members, Map) and plain(members) is not None:
            place = document.value((*path, *_MAPPINGS, group))
            problems.append(found("PD113", place, f"expected keys and values, not {describe(plain(members))}"))
    return problems


def _part(role: str, document: Document, path: Path, node: Node) -> tuple[Slot | Search | None, list[Diagnostic]]:
    if isinstance(node, Map) and (role in {"identifier", "team"} or role.startswith("relations.")):
        rules, problems = _search_node(role, document, path, node, top=True)
        return Search(role, document, path, rules), problems
    return _slot(role, document, path, node)


def _slot(role: str, document: Document, path: Path, node: Node) -> tuple[Slot | None, list[Diagnostic]]:
    if isinstance(node, Scalar) and isinstance(node.value, str) and node.value.strip():
        return Slot(role, document, path, node, double_quoted(node.value)), []
    return None, [_not_jq(role, document, path, node)]


def _not_jq(role: str, document: Document, path: Path, node: Node) -> Diagnostic:
    place = document.value(path)
    if not isinstance(node, Scalar):
        return found("PD156", place, f"{role} is {describe(plain(node))}, not jq", _nested_hint(node))
    if role == "selector" and isinstance(node.value, bool):
        return found("PD153", place, f"{node.raw} is not text", f"write '{node.raw.lower()}'")
    if node.value is None or isinstance(node.value, str):
        return found("PD152", place, f"{role} is empty", "write an expression, or remove the key")
    return found("PD152", place, f"{role} is {describe(node.value)}", f"write '{node.raw}'")


def _nested_hint(node: Map | Sequence) -> str:
    """The jq that builds what was written, where that is easily said."""
    if isinstance(node, Map) and all(isinstance(entry.value, Scalar) for entry in node.entries.values()):
        inner = ", ".join(f"{key}: {_raw(entry.value)}" for key, entry in node.entries.items())
        return f"build it in jq: '{{{inner}}}'"
    if isinstance(node, Sequence) and all(isinstance(item, Scalar) for item in node.items):
        return f"build it in jq: '[{', '.join(map(_raw, node.items))}]'"
    return "build objects and lists in jq"


def _raw(node: Node) -> str:
    return node.raw if isinstance(node, Scalar) else ""


# --- search queries --------------------------------------------------------------------------------------------

_RULE_KEYS = ("property", "operator", "value")


def _search_node(
    role: str, document: Document, path: Path, node: Node, *, top: bool = False
) -> tuple[Json, list[Diagnostic]]:
    """A combinator with rules, or (not at the top) a single rule."""
    if not isinstance(node, Map):
        return None, [found("PD167", document.at(node), f"expected a rule, not {describe(plain(node))}")]
    if top and node.entries.keys() & set(_RULE_KEYS):
        detail, hint = "this is a rule, not a query", "put it into a list under rules, and add a combinator"
        return None, [found("PD167", document.at(node), detail, hint)]
    wanted = ("combinator", "rules") if top or "rules" in node.entries else _RULE_KEYS
    problems = list(_search_keys(document, path, node, wanted))
    made: dict[str, Json] = {}
    for key, entry in node.entries.items():
        if key in wanted:
            read = _search_rules if key == "rules" else _search_leaf
            made[key], inner = read(role, document, (*path, key), entry.value)
            problems += inner
    return made, problems


def _search_keys(document: Document, path: Path, node: Map, wanted: tuple[str, ...]) -> Iterator[Diagnostic]:
    for key in node.entries:
        if key not in wanted:
            yield found("PD167", document.key((*path, key)), f'"{key}" is not one of {", ".join(wanted)}')
    for key in wanted:
        if key not in node.entries:
            yield found("PD167", document.at(node), f'"{key}" is missing', f'add "{key}"')


def _search_rules(role: str, document: Document, path: Path, node: Node) -> tuple[Json, list[Diagnostic]]:
    if not isinstance(node, Sequence) or not node.items:
        return None, [found("PD167", document.at(node), "rules must be a list with at least one rule")]
    made, problems = [], []
    for index, item in enumerate(node.items):
        rule, inner = _search_node(role, document, (*path, index), item)
        made.append(rule)
        problems += inner
    return made, problems


def _search_leaf(role: str, document: Document, path: Path, node: Node) -> tuple[Json, list[Diagnostic]]:
    return _slot(f"{role} search {path[-1]}", document, path, node)


# --- rules -----------------------------------------------------------------------------------------------------


def make_rule(resource: Resource, unsent: frozenset[str]) -> MappingRule:
    """The rule of a resource without errors; roles in `unsent` are left out, because Port would not take them."""
    assert resource.query is not None
    blueprint, selector = resource.slot("blueprint"), resource.slot("selector")
    assert blueprint is not None
    assert selector is not None
    root = resource.document.root
    merging = find(root, "enableMergeEntity")
    items = resource.slot("items")
    return MappingRule(
        id=resource.id,
        kind=resource.query.kind,
        query=resource.query,
        selector=selector.expression(),
        identifier=_made(resource.parts["identifier"]),
        blueprint=blueprint.expression(),
        fields={part.role: _made(part) for part in resource.fields() if part.role not in unsent},
        origin=resource.origin,
        items=items.expression() if items else None,
        items_name=resource.items_name,
        items_strip=_switch(find(resource.node, "port", "itemsToParseTopLevelTransform"), default=True),
        create_missing_related=_switch(find(root, "createMissingRelatedEntities"), default=True),
        delete_dependents=_switch(find(root, "deleteDependentEntities"), default=False),
        merge=_switch(merging, default=True),
        deletion_threshold=_number(find(root, "entityDeletionThreshold"), default=0.9),
        lifecycle=make_lifecycle(resource),
        merge_origin=resource.document.at(merging) if merging is not None else None,
    )


def _made(part: Slot | Search) -> Expression | SearchQuery:
    return part.expression() if isinstance(part, Slot) else SearchQuery(_with_expressions(part.rules), part.origin)


def _with_expressions(rules: Json) -> Json:
    if isinstance(rules, Slot):
        return rules.expression()
    if isinstance(rules, dict):
        return {key: _with_expressions(value) for key, value in rules.items()}
    return [_with_expressions(value) for value in rules]


_TRUE = frozenset({"true", "t", "yes", "y", "on", "1"})


def _switch(node: Node | None, *, default: bool) -> bool:
    """A bool as the model takes it: quoted or in other words too."""
    return node.raw.casefold() in _TRUE if isinstance(node, Scalar) and node.value is not None else default


def _number(node: Node | None, *, default: float) -> float:
    return float(node.value) if isinstance(node, Scalar) and isinstance(node.value, int | float) else default
