"""Mappings: whether their jq compiles, and the traps that compile but do not do what was meant."""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import TYPE_CHECKING

from pdsync.catalog.identifiers import entity_problem
from pdsync.catalog.jqcheck import compile_errors
from pdsync.catalog.jqtext import CLOSED, chains, closed_names, constant, enrichments_read, fields_read, shape, tokens
from pdsync.catalog.lifecycle import check_lifecycle, check_places
from pdsync.catalog.mappings import Search, Slot
from pdsync.catalog.nodes import plain
from pdsync.catalog.rules import found
from pdsync.catalog.schema import describe, did_you_mean, suggest
from pdsync.catalog.values import misfit
from pdsync.errors import Severity
from pdsync.pasting import in_yaml

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from pdsync.catalog.blueprints import Draft, Drafts
    from pdsync.catalog.jqcheck import JqError
    from pdsync.catalog.jqtext import Shape, Token
    from pdsync.catalog.mappings import Resource
    from pdsync.errors import Diagnostic, Origin
    from pdsync.model import Json

# --- does it compile -------------------------------------------------------------------------------------------


def check_jq(slots: list[Slot]) -> Iterator[Diagnostic]:
    """What does not compile, and what compiles but is closed to mappings."""
    errors = compile_errors([slot.text for slot in slots])
    for index, slot in enumerate(slots):
        closed = list(closed_names(tokens(slot.text))) if any(name in slot.text for name in CLOSED) else []
        for token in closed:
            place = slot.part(token.start, token.end)
            yield found("PD151", place, f"{token.text}: {CLOSED[token.text]}", "use only what the record holds")
        if index in errors and not closed:
            yield from _compile_problems(slot, errors[index])


_WORDS = re.compile(r"[A-Za-z_][\w-]*(?: [\w-]+)*")
_CONSTANTS = frozenset({"combinator", "operator", "property"})
_COMMENT = re.compile(r"[ \t]+#")


def _compile_problems(slot: Slot, errors: list[JqError]) -> Iterator[Diagnostic]:
    written = slot.node.raw.strip()
    if slot.node.style == "plain" and _COMMENT.match(slot.document.source.text, slot.node.end):
        place = slot.document.source.origin(slot.node.end, slot.node.end + 2)
        hint = "put the whole expression in quotes"
        yield found("PD155", place, f"jq sees only {written}", hint, related=(slot.origin,))
    elif _WORDS.fullmatch(written) or _is_bare(slot, written):
        quoted = f"'\"{written}\"'"
        yield found("PD154", slot.origin, f"{slot.role}: to jq, {written} is not text", f"write {quoted}")
    else:
        for error in errors:
            place = slot.part(error.start, error.end) if error.end else slot.origin
            yield found("PD150", place, f"{slot.role}: {error.message}", _jq_hint(slot, error))


def _is_bare(slot: Slot, written: str) -> bool:
    """In a search, what is not a path or a string was meant as a constant."""
    return slot.role.rpartition(" ")[2] in _CONSTANTS and written[0] not in ".\"'("


def _jq_hint(slot: Slot, error: JqError) -> str:
    text = slot.text
    if error.message.endswith("is not defined") and text[error.start - 1 : error.start] == "-":
        name = re.search(r"\.([\w-]+)$", text[: error.end])
        return f'write .["{name[1]}"]; jq takes the hyphen for a minus' if name else ""
    if text[error.start : error.start + 1] == "'":
        return "use double quotes for text in jq"
    return ""


# --- one resource ----------------------------------------------------------------------------------------------


def check_resource(resource: Resource) -> Iterator[Diagnostic]:
    """Traps in one resource, whatever the blueprints say."""
    yield from _check_selector(resource)
    yield from _check_enrichments(resource)
    yield from _check_includes(resource)
    yield from _check_identifier(resource)
    yield from _check_items(resource)
    yield from _check_window(resource)
    yield from _check_searches(resource)
    yield from check_lifecycle(resource)


def _check_selector(resource: Resource) -> Iterator[Diagnostic]:
    slot = resource.slot("selector")
    if slot is None:
        return
    known, value = constant(slot.text)
    if known and value is False:
        yield found("PD162", slot.origin, "the query is always false", "remove the resource, or write 'true'")
    elif known and value is not True:
        detail = f"the query is always {describe(value)}; only true selects"
        yield found("PD162", slot.origin, detail, "write 'true'", severity=Severity.ERROR)
    elif (given := shape(tokens(slot.text))) not in {None, "boolean"}:
        yield found("PD160", slot.origin, f"a query gives true or false, this gives {_SHAPES[given]}", "compare it")


def _check_enrichments(resource: Resource) -> Iterator[Diagnostic]:
    """Keys that are fetched besides, read without being fetched; each once, where it is read first."""
    if resource.query is None:
        return
    fetched = {name for name, _ in resource.query.enrich}
    seen: set[str] = set()
    for slot in resource.slots():
        for token in enrichments_read(tokens(slot.text)) if "__" in slot.text else ():
            if token.text not in fetched and token.text not in seen:
                seen.add(token.text)
                place = slot.part(token.start, token.end)
                detail = f"{token.text} is not part of these {resource.kind}"
                yield found("PD165", place, detail, _enrichment_hint(resource.kind, token.text))


def _enrichment_hint(kind: str, name: str) -> str:
    from pdsync.kinds import KINDS

    row = KINDS[kind]
    for enrichment in row.enrichments:
        if enrichment.name == name and enrichment.when:
            return f"set {enrichment.when}: true in the selector"
    return did_you_mean(name, [enrichment.name for enrichment in row.enrichments])


_OF_A_REFERENCE = frozenset({"id", "type", "summary", "self", "html_url"})
"""What a reference to an object has (PagerDuty REST API, References)."""


_REFERS = ("is a reference", "are references")


def _check_includes(resource: Resource) -> Iterator[Diagnostic]:
    """Fields of objects of which the record has references only; each include once, where one is read first.

    An expression that reads what a reference has, too, may well do with it (`.user | .email // .summary`).
    """
    lacking = _not_included(resource)
    for slot in resource.slots() if lacking else ():
        found_chains = list(chains(tokens(slot.text)))
        for value, path in tuple(lacking.items()):
            read = list(_members_read(found_chains, path.split(".")))
            if read and _OF_A_REFERENCE.isdisjoint(token.text for token in read):
                del lacking[value]
                place = slot.part(read[0].start, read[0].end)
                detail = f".{read[0].text} is not there: without include, .{path} {_REFERS[path.endswith('[]')]}"
                yield found("PD177", place, detail, f"put {value} into apiQueryParams.include")


def _not_included(resource: Resource) -> dict[str, str]:
    """The paths of the references that no `include` replaces, by what would; none where that is not known."""
    from pdsync.kinds import ADDED, INCLUDES, PERHAPS

    paths = INCLUDES.get(resource.kind, {})
    if resource.query is None or not paths:
        return {}
    asked = {value for name, value in resource.query.params if name == "include[]"}
    if not asked <= paths.keys():
        return {}
    return {value: path for value, path in paths.items() if value not in asked and not path.endswith((ADDED, PERHAPS))}


def _members_read(found_chains: Iterable[Sequence[tuple[str, Token]]], path: Sequence[str]) -> Iterator[Token]:
    """What is read of the object at a path, by chains that begin anywhere along it; not what is put into it."""
    for chain in found_chains:
        for length in range(1, len(chain)):
            if [name for name, _ in chain[:length]] == path[-length:] and not chain[length][0].startswith("__"):
                yield chain[length][1]


KEY_PARTS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"oncalls": ("escalation_policy", "escalation_level", "schedule", "user")}
)
"""Kinds without an id of their own, and what tells their records apart (PagerDuty REST API, List on-calls)."""


def _check_identifier(resource: Resource) -> Iterator[Diagnostic]:
    slot = resource.slot("identifier")
    if slot is None:
        return
    known, value = constant(slot.text)
    if known:
        problem = entity_problem(value) if isinstance(value, str) else f"{describe(value)} is not text"
        if problem:
            yield found("PD159", slot.origin, f"identifier: {problem}")
        else:
            yield found("PD166", slot.origin, "every record gets the same identifier", "use a field, such as .id")
        return
    read = fields_read(tokens(slot.text))
    missing = [part for part in KEY_PARTS.get(resource.kind, ()) if part not in read]
    if missing:
        detail = f"{resource.kind} that differ only in {' or '.join(missing)} get the same identifier"
        yield found("PD166", slot.origin, detail, f"put {', '.join(missing)} into the identifier")


def _check_items(resource: Resource) -> Iterator[Diagnostic]:
    slot, items = resource.slot("identifier"), resource.slot("items")
    name = resource.items_name
    if slot is not None and items is not None and name not in fields_read(tokens(slot.text)):
        yield found("PD168", slot.origin, f"the identifier does not read .{name}", f"such as .{name}.id")


def _check_window(resource: Resource) -> Iterator[Diagnostic]:
    from pdsync.kinds import KINDS

    row = KINDS.get(resource.kind)
    if row is None or row.window is None or row.window.everything is None or resource.query is None:
        return
    days, (everything, value) = row.window.back_days, row.window.everything
    given = {name for name, _ in resource.query.params}
    if not given & {row.window.since, everything}:
        detail = f"only {resource.kind} of the last {days} days are listed"
        if row.window.until in given:
            detail = f"{row.window.until} alone leaves it to PagerDuty from when on {resource.kind} are listed"
        hint = f'say what you want under apiQueryParams: since: "-{days}d", or {everything}: {value}'
        yield found("PD171", resource.document.key((*resource.path, "selector")), detail, hint)


_ALLOWED: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"combinator": ("and", "or"), "operator": ("=", "in", "contains", "containsAny")}
)


def _check_searches(resource: Resource) -> Iterator[Diagnostic]:
    for slot in resource.slots():
        _, _, leaf = slot.role.partition(" search ")
        known, value = constant(slot.text) if leaf in _ALLOWED else (False, None)
        if known and value not in _ALLOWED[leaf]:
            detail = f"{leaf} {describe(value)} is not one of {', '.join(_ALLOWED[leaf])}"
            yield found("PD167", slot.origin, detail)


# --- a resource and its blueprint ------------------------------------------------------------------------------


def check_target(resource: Resource, drafts: Drafts, asked: Collection[str] = ()) -> Iterator[tuple[str, Diagnostic]]:
    """What a resource writes against the blueprint it writes to, if that is a constant.

    Of Port's own blueprints only those in `asked` may be written to; their parts are Port's to know.

    Gives pairs: a role that is not sent because of the problem (empty: it is sent), and the problem.
    """
    slot = resource.slot("blueprint")
    known, name = constant(slot.text) if slot else (False, None)
    if slot is None or not known:
        return
    if not isinstance(name, str):
        yield "", found("PD159", slot.origin, f"blueprint: {describe(name)} is not text")
    elif name.startswith("_"):
        if name not in asked:
            hint = "relate to it instead, or name it under policy.system_blueprints"
            yield "", found("PD133", slot.origin, f'"{name}" holds real users and teams', hint)
    elif name not in drafts:
        hint = did_you_mean(name, drafts)
        yield "", found("PD161", slot.origin, f'no blueprint "{name}"', hint if "did you" in hint else "")
    else:
        for part in resource.fields():
            yield from _check_field(part, drafts[name])
        yield from (("", problem) for problem in check_places(resource, drafts[name].properties))


def _check_field(part: Slot | Search, draft: Draft) -> Iterator[tuple[str, Diagnostic]]:
    group, _, name = part.role.partition(".")
    if group == "properties":
        yield from _check_property(part, name, draft)
    elif group == "relations":
        yield from _check_relation(part, name, draft)
    elif group == "team":
        yield from _check_team(part, draft)
    elif isinstance(part, Slot):
        known, value = constant(part.text)
        if known and not isinstance(value, str | None):
            yield "", found("PD159", part.origin, f"{group}: {describe(value)} is not text")


def _check_property(part: Slot | Search, name: str, draft: Draft) -> Iterator[tuple[str, Diagnostic]]:
    place = part.document.key(part.path)
    if name in draft.computed:
        yield part.role, found("PD158", place, f'"{name}" of {draft.identifier} is computed', "remove the key")
    elif name not in draft.properties:
        yield part.role, _lacks(part, "property", name, draft, draft.properties)
    elif isinstance(part, Slot):
        definition = draft.properties[name]
        known, value = constant(part.text)
        problem = misfit(definition, value) if known else ""
        if problem:
            yield "", found("PD159", part.origin, f"{name}: {problem}", related=_defined(draft, "schema", name))
        elif not known and (detail := _shape_problem(part, definition)):
            yield (
                "",
                found("PD160", part.origin, f"{name} {detail[0]}", detail[1], related=_defined(draft, "schema", name)),
            )


def _lacks(part: Slot | Search, what: str, name: str, draft: Draft, known: Collection[str]) -> Diagnostic:
    place = part.document.key(part.path)
    detail = f'{draft.identifier} has no {what} "{name}", so it is not sent'
    close = suggest(name, known) or _source_name(part, known)
    hint = f'did you mean "{close}"?' if close else f'add "{name}" to the blueprint, or remove it here'
    return found("PD157", place, detail, hint, related=(draft.document.value(("identifier",)),))


def _source_name(part: Slot | Search, known: Collection[str]) -> str:
    """The last field that the expression reads, if the blueprint has a property of that name."""
    last = tokens(part.text)[-1:] if isinstance(part, Slot) else []
    return last[0].text if last and last[0].kind == "field" and last[0].text in known else ""


def _defined(draft: Draft, group: str, name: str) -> tuple[Origin, ...]:
    path = ("schema", "properties", name) if group == "schema" else (group, name)
    return (draft.document.key(path),)


_SHAPES: Mapping[Shape | None, str] = MappingProxyType(
    {
        "string": "one text",
        "number": "a number",
        "boolean": "true or false",
        "object": "an object",
        "array": "a list",
        "objects": "a list of objects",
    }
)
_TYPES: Mapping[str, str] = MappingProxyType(
    {"string": "text", "number": "a number", "boolean": "true or false", "object": "an object", "array": "a list"}
)


def _shape_problem(slot: Slot, definition: Mapping[str, Json]) -> tuple[str, str] | None:
    """In which way an expression evidently gives another type than the property has, and a hint."""
    given, kind = shape(tokens(slot.text)), definition.get("type")
    if given is None or not isinstance(kind, str) or kind not in _TYPES:
        return None
    if given == "objects" and kind == "array":
        items = definition.get("items")
        inner = items.get("type") if isinstance(items, dict) else None
        if inner in {None, "object"}:
            return None
        return (
            f"is a list of {inner}s, this gives a list of objects",
            f"such as {in_yaml(slot.text.strip() + ' | map(.summary)')}",
        )
    if given == kind or (given in {"array", "objects"} and kind == "array"):
        return None
    one_for_many = kind == "array" and given in {"string", "number"}
    hint = f"such as {in_yaml(f'[{slot.text.strip()} | values]')}" if one_for_many else ""
    return f"is {_TYPES[kind]}, this gives {_SHAPES[given]}", hint


def _check_relation(part: Slot | Search, name: str, draft: Draft) -> Iterator[tuple[str, Diagnostic]]:
    relation = draft.relations.get(name)
    if relation is None:
        yield part.role, _lacks(part, "relation", name, draft, draft.relations)
    elif isinstance(part, Slot):
        many = relation.get("many") is True
        kind = {"type": "array", "items": {"type": "string"}} if many else {"type": "string"}
        known, value = constant(part.text)
        is_one = many and known and isinstance(value, str) and value != ""  # which stands for a list of it
        problem = misfit(kind, value) if known and not is_one else ""
        where = _defined(draft, "relations", name)
        if problem:
            yield "", found("PD159", part.origin, f"{name}: {problem}", related=where)
        elif (not known or is_one) and (detail := _shape_problem(part, kind)):
            yield "", found("PD160", part.origin, f"relation {name} {detail[0]}", detail[1], related=where)


def _check_team(part: Slot | Search, draft: Draft) -> Iterator[tuple[str, Diagnostic]]:
    ownership = draft.definition.get("ownership")
    if isinstance(ownership, dict) and ownership.get("type") == "Inherited":
        place = part.document.key(part.path)
        yield (
            "team",
            found("PD170", place, f"{draft.identifier} inherits its team, so it is not sent", "remove the key"),
        )


# --- all resources together ------------------------------------------------------------------------------------


def check_together(resources: list[Resource], drafts: Drafts) -> Iterator[Diagnostic]:
    """Repeated resources, blueprints that nothing writes, required values that no mapping gives."""
    yield from _check_repeats(resources)
    written: dict[str, set[str]] = {}
    dynamic = False
    for resource in resources:
        slot = resource.slot("blueprint")
        known, name = constant(slot.text) if slot else (True, None)
        dynamic = dynamic or not known
        if isinstance(name, str):
            written.setdefault(name, set()).update(part.role for part in resource.fields())
    for draft in drafts.values():
        if draft.identifier in written:
            yield from _check_required(draft, written[draft.identifier])
        elif resources and not dynamic:
            place = draft.document.value(("identifier",))
            yield found("PD164", place, f'"{draft.identifier}"', "add a mapping, or remove the blueprint")


def _check_repeats(resources: list[Resource]) -> Iterator[Diagnostic]:
    first: list[tuple[Json, Resource]] = []
    for resource in resources:
        value = plain(resource.node)
        before = next((other for seen, other in first if seen == value), None)
        if before is None:
            first.append((value, resource))
        else:
            yield found("PD163", resource.origin, f"the same as {before.id}", "remove one", related=(before.origin,))


def _check_required(draft: Draft, written: set[str]) -> Iterator[Diagnostic]:
    for index, name in draft.required.items():
        definition = draft.properties.get(name)
        if definition is not None and "default" not in definition and f"properties.{name}" not in written:
            place = draft.document.value(("schema", "required", index))
            yield found("PD169", place, f'no mapping gives "{name}"', "map it, or do not require it")
    for name, relation in draft.relations.items():
        if relation.get("required") is True and f"relations.{name}" not in written:
            place = draft.document.key(("relations", name))
            yield found("PD169", place, f'no mapping gives relation "{name}"', "map it, or do not require it")
