"""Blueprints: what Port refuses or ignores in one, and what the blueprints of a catalog say about each other."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, cast

from pdsync.catalog.identifiers import blueprint_problem, property_problem
from pdsync.catalog.jqtext import properties_read, tokens
from pdsync.catalog.mappings import Slot
from pdsync.catalog.nodes import Document, Map, Scalar, find
from pdsync.catalog.rules import found
from pdsync.catalog.schema import check_shape, describe, did_you_mean, suggest
from pdsync.catalog.values import has_type, misfit
from pdsync.model import Blueprint, Json

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from pdsync.catalog.nodes import Path
    from pdsync.errors import Diagnostic, Origin

READ_ONLY = frozenset({"id", "_id", "createdAt", "createdBy", "updatedAt", "updatedBy"})
"""What Port adds when a blueprint is read."""

PROPERTY_MAPS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "schema.properties": ("schema", "properties"),
        "mirrorProperties": ("mirrorProperties",),
        "calculationProperties": ("calculationProperties",),
        "aggregationProperties": ("aggregationProperties",),
    }
)
"""The four maps whose members share one set of names on an entity, by the path of `Blueprint.origins`."""

META_PROPERTIES = frozenset(
    {"$identifier", "$title", "$team", "$icon", "$createdAt", "$updatedAt", "$createdBy", "$updatedBy", "$blueprint"}
)
_SINGLE = ("title", "description", "icon", "ownership", "changelogDestination", "includeInGlobalSearch")


@dataclass(frozen=True, slots=True)
class Draft:
    """A blueprint as written: its document and its definition without what is read-only."""

    identifier: str
    document: Document
    definition: Mapping[str, Json]

    def members(self, *path: str) -> Mapping[str, Mapping[str, Json]]:
        """The definitions under a map of the blueprint; what is not one is left out."""
        value: Json = self.definition
        for step in path:
            value = value.get(step) if isinstance(value, dict) else None
        return {name: one for name, one in value.items() if isinstance(one, dict)} if isinstance(value, dict) else {}

    @property
    def properties(self) -> Mapping[str, Mapping[str, Json]]:
        """Own properties."""
        return self.members("schema", "properties")

    @property
    def relations(self) -> Mapping[str, Mapping[str, Json]]:
        """Relations."""
        return self.members("relations")

    @property
    def computed(self) -> frozenset[str]:
        """Mirror, calculation and aggregation properties."""
        return frozenset(
            name for path in PROPERTY_MAPS.values() if path != ("schema", "properties") for name in self.members(*path)
        )

    @property
    def required(self) -> Mapping[int, str]:
        """Own properties that an entity must have, by their place in the list."""
        listed = (self.definition.get("schema") or {}).get("required") or ()
        return {index: name for index, name in enumerate(listed) if isinstance(name, str)}

    def has(self, name: str) -> bool:
        """Whether an entity has a property of this name, of any sort."""
        return name in self.properties or name in self.computed or name in META_PROPERTIES


Drafts = dict[str, Draft]


def read_draft(document: Document) -> tuple[Draft | None, list[Diagnostic]]:
    """The blueprint of a document (None when it has no identifier), and what is wrong with its shape."""
    definition, problems = check_shape(document, "blueprint", READ_ONLY)
    identifier = definition.get("identifier")
    return (Draft(identifier, document, definition) if identifier is not None else None), problems


def make_blueprint(draft: Draft) -> Blueprint:
    """The blueprint with the place of each path of its flat form, and of `identifier`."""
    return Blueprint(draft.identifier, draft.definition, dict(_origins(draft)))


def _origins(draft: Draft) -> Iterator[tuple[str, Origin]]:
    document = draft.document
    yield "identifier", document.value(("identifier",))
    for single in _SINGLE:
        if single in draft.definition:
            yield single, document.key((single,))
    if find(document.root, "schema", "required") is not None:
        yield "schema.required", document.key(("schema", "required"))
    for name, path in {**PROPERTY_MAPS, "relations": ("relations",)}.items():
        for member in draft.members(*path):
            yield f"{name}.{member}", document.key((*path, member))


def calculation_slots(draft: Draft) -> Iterator[Slot]:
    """The jq of calculated properties, to be compiled with everything else."""
    for name in draft.members("calculationProperties"):
        path = ("calculationProperties", name, "calculation")
        node = find(draft.document.root, *path)
        if isinstance(node, Scalar) and isinstance(node.value, str):
            yield Slot(f"calculationProperties.{name}", draft.document, path, node, node.value)


# --- one blueprint ---------------------------------------------------------------------------------------------


def check_blueprint(draft: Draft, asked: Collection[str] = ()) -> Iterator[Diagnostic]:
    """What is wrong with a blueprint by itself; `asked` are Port's own blueprints that may be added to."""
    document = draft.document
    yield from _check_identifiers(draft, asked)
    for key in READ_ONLY & set(cast("Map", document.root).entries):
        yield found("PD134", document.key((key,)), f'"{key}" is set by Port', "remove the key")
    for name, definition in draft.properties.items():
        yield from _check_property(document, ("schema", "properties", name), definition)
    for index, name in draft.required.items():
        if name not in draft.properties:
            place = document.value(("schema", "required", index))
            yield found("PD124", place, f'no property "{name}"', did_you_mean(name, draft.properties))
    for name, relation in draft.relations.items():
        if relation.get("many") is True and relation.get("required") is True:
            place = document.key(("relations", name))
            yield found("PD123", place, f'relation "{name}"', "remove required, or make it single")
    for name in draft.members("calculationProperties"):
        yield from _check_calculation(draft, name)


def _check_identifiers(draft: Draft, asked: Collection[str]) -> Iterator[Diagnostic]:
    document = draft.document
    place = document.value(("identifier",))
    if draft.identifier.startswith("_"):
        if draft.identifier not in asked:
            hint = "relate to it; to add parts to it, name it under policy.system_blueprints"
            yield found("PD133", place, f'"{draft.identifier}" belongs to Port', hint)
    elif problem := blueprint_problem(draft.identifier):
        yield found("PD115", place, problem)
    first: dict[str, Path] = {}
    for path in PROPERTY_MAPS.values():
        for name in draft.members(*path):
            yield from _check_name(document, (*path, name), first)
    for name in draft.relations:
        yield from _check_name(document, ("relations", name), {})


def _check_name(document: Document, path: Path, first: dict[str, Path]) -> Iterator[Diagnostic]:
    name = str(path[-1])
    if problem := property_problem(name):
        yield found("PD115", document.key(path), problem)
    before = first.setdefault(name, path)
    if before != path:
        detail = f'"{name}" stands under {before[-2]} already'
        yield found("PD128", document.key(path), detail, "rename one of them", related=(document.key(before),))


# --- properties ------------------------------------------------------------------------------------------------

_ONLY_FOR: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        **dict.fromkeys(("minLength", "maxLength", "pattern"), ("string",)),
        **dict.fromkeys(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"), ("number",)),
        **dict.fromkeys(("items", "minItems", "maxItems", "uniqueItems"), ("array",)),
        **dict.fromkeys(("properties", "patternProperties", "additionalProperties", "required"), ("object",)),
        **dict.fromkeys(("enum", "enumColors"), ("string", "number")),
        "dateFormat": ("string",),
        "format": ("string", "object"),
    }
)
_BOUNDS = (("minLength", "maxLength"), ("minimum", "maximum"), ("minItems", "maxItems"))


def _check_property(document: Document, path: Path, definition: Mapping[str, Json]) -> Iterator[Diagnostic]:
    """A property, or the items of an array."""
    kind = definition.get("type")
    for keyword, kinds in _ONLY_FOR.items():
        if definition.get(keyword) is not None and isinstance(kind, str) and kind not in kinds:
            place = document.key((*path, keyword))
            yield found("PD127", place, f"{keyword} is for {' and '.join(kinds)}, not for {kind}", "remove the key")
    yield from _check_format(document, path, definition)
    for low, high in _BOUNDS:
        least, most = definition.get(low), definition.get(high)
        if has_type("number", least) and has_type("number", most) and cast("float", least) > cast("float", most):
            yield found("PD127", document.key((*path, low)), f"{low} {least} is above {high} {most}")
    yield from _check_enum(document, path, definition)
    if "default" in definition and (problem := misfit(definition, definition["default"])):
        yield found("PD126", document.value((*path, "default")), problem)
    if kind == "array" and isinstance(definition.get("items"), dict):
        yield from _check_property(document, (*path, "items"), definition["items"])


def _check_format(document: Document, path: Path, definition: Mapping[str, Json]) -> Iterator[Diagnostic]:
    kind, shown, spec = definition.get("type"), definition.get("format"), definition.get("spec")
    if shown is not None and kind in {"string", "object"} and (shown == "labeled-url") is not (kind == "object"):
        right = "object" if shown == "labeled-url" else "string"
        place = document.value((*path, "format"))
        yield found("PD127", place, f"format {shown} is for {right}, not for {kind}", f'write type: "{right}"')
    embedded = kind == "string" and shown == "url"
    fits = embedded if spec == "embedded-url" else kind == "object" or embedded or shown == "yaml"
    if spec is not None and not fits:
        wanted = "string with format url" if spec == "embedded-url" else "object, or string with format url or yaml"
        yield found("PD127", document.value((*path, "spec")), f"spec {spec} is for {wanted}")
    if definition.get("dateFormat") is not None and shown != "date-time":
        yield found("PD127", document.key((*path, "dateFormat")), "dateFormat is for format date-time")


def _check_enum(document: Document, path: Path, definition: Mapping[str, Json]) -> Iterator[Diagnostic]:
    values = definition.get("enum")
    colours = definition.get("enumColors")
    if not isinstance(values, list):
        if isinstance(colours, dict):
            yield found("PD125", document.key((*path, "enumColors")), "enumColors without enum", "add enum")
        return
    bare = {key: value for key, value in definition.items() if key != "enum"}
    for index, value in enumerate(values):
        place = document.value((*path, "enum", index))
        if value in values[:index]:
            yield found("PD125", place, f"{describe(value)} is listed already", "remove one")
        elif problem := misfit(bare, value):
            yield found("PD125", place, problem)
    names = {str(value) for value in values}
    for name in colours if isinstance(colours, dict) else ():
        if name not in names:
            place = document.key((*path, "enumColors", name))
            yield found("PD125", place, f'no value "{name}" in enum', did_you_mean(name, names))


# --- computed properties ---------------------------------------------------------------------------------------


def _check_calculation(draft: Draft, name: str) -> Iterator[Diagnostic]:
    slot = next((one for one in calculation_slots(draft) if one.path[1] == name), None)
    calculated = draft.members("calculationProperties")
    for token in properties_read(tokens(slot.text)) if slot else ():
        place = slot.part(token.start, token.end) if slot else None
        if token.text in calculated:
            detail = f'"{token.text}" is calculated itself, which Port does not support'
            yield found("PD130", place, detail, "repeat its expression here")
        elif not draft.has(token.text):
            known = {*draft.properties, *draft.computed} - set(calculated)
            yield found("PD130", place, f'no property "{token.text}"', did_you_mean(token.text, known))


_MIRROR = re.compile(r"(?:[A-Za-z0-9@_=\-$]+\.)+[A-Za-z0-9@_=\-$]+")


def check_between(draft: Draft, drafts: Drafts) -> Iterator[Diagnostic]:
    """What a blueprint says about others: relation targets, mirror and ownership paths, aggregations."""
    for name, relation in draft.relations.items():
        yield from _check_target(draft, ("relations", name, "target"), relation.get("target"), drafts)
    for name, mirror in draft.members("mirrorProperties").items():
        yield from _check_mirror(draft, ("mirrorProperties", name, "path"), mirror.get("path"), drafts)
    for name, aggregation in draft.members("aggregationProperties").items():
        yield from _check_aggregation(draft, ("aggregationProperties", name), aggregation, drafts)
    ownership = draft.definition.get("ownership")
    if isinstance(ownership, dict):
        yield from _check_ownership(draft, ownership, drafts)


def _check_target(draft: Draft, path: Path, target: Json, drafts: Drafts) -> Iterator[Diagnostic]:
    if not isinstance(target, str) or target in drafts or target.startswith("_"):
        return
    place = draft.document.value(path)
    if close := suggest(target, drafts, cutoff=0.85):
        yield found("PD122", place, f'no blueprint "{target}"', f'did you mean "{close}"?')
    else:
        yield found("PD121", place, f'"{target}" is expected to exist in Port', "add it if this catalog owns it")


def _follow(draft: Draft, steps: list[str], drafts: Drafts) -> tuple[Draft | None, str]:
    """The blueprint at the end of a path of relations (None when it is not in the catalog), and what is wrong."""
    here: Draft | None = draft
    for step in steps:
        if here is None:
            return None, ""
        if step not in here.relations:
            hint = suggest(step, here.relations)
            meant = f', did you mean "{hint}"?' if hint else ""
            return None, f'"{here.identifier}" has no relation "{step}"{meant}'
        here = drafts.get(str(here.relations[step].get("target")))
    return here, ""


def _check_mirror(draft: Draft, path: Path, written: Json, drafts: Drafts) -> Iterator[Diagnostic]:
    if not isinstance(written, str):
        return
    place = draft.document.value(path)
    if not _MIRROR.fullmatch(written):
        yield found("PD129", place, f'"{written}" is not relation.property')
        return
    *steps, last = written.split(".")
    end, problem = _follow(draft, steps, drafts)
    if problem:
        yield found("PD129", place, problem)
    elif end is not None and not end.has(last):
        known = [*end.properties, *end.computed]
        yield found("PD129", place, f'"{end.identifier}" has no property "{last}"', did_you_mean(last, known))


def _check_ownership(draft: Draft, ownership: Mapping[str, Json], drafts: Drafts) -> Iterator[Diagnostic]:
    path = ownership.get("path")
    if ownership.get("type") == "Inherited" and not path:
        yield found("PD132", draft.document.key(("ownership",)), "inherited ownership needs a path", 'add "path"')
    elif isinstance(path, str):
        _, problem = _follow(draft, path.split("."), drafts)
        if problem:
            yield found("PD132", draft.document.value(("ownership", "path")), problem)


_OF_PROPERTY = frozenset({"sum", "min", "max", "median", "average"})


def _check_aggregation(draft: Draft, path: Path, written: Mapping[str, Json], drafts: Drafts) -> Iterator[Diagnostic]:
    yield from _check_target(draft, (*path, "target"), written.get("target"), drafts)
    target = drafts.get(str(written.get("target")))
    spec = written.get("calculationSpec")
    if isinstance(spec, dict):
        yield from _check_function(draft.document, (*path, "calculationSpec"), spec, target)
    for index, one in enumerate(_path_filters(written)):
        start = drafts.get(str(one.get("fromBlueprint"))) if one.get("fromBlueprint") else draft
        steps = [str(step) for step in one.get("path") or ()]
        _, problem = _follow(start, steps, drafts) if start else (None, "")
        if problem:
            yield found("PD131", draft.document.value((*path, "pathFilter", index, "path")), problem)
    if target is not None and not _related(draft, target, drafts):
        detail = f'no relation leads from "{draft.identifier}" to "{target.identifier}" or back'
        yield found("PD131", draft.document.value((*path, "target")), detail)


def _path_filters(written: Mapping[str, Json]) -> list[dict[str, Json]]:
    listed = written.get("pathFilter")
    return [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []


def _check_function(
    document: Document, path: Path, spec: Mapping[str, Json], target: Draft | None
) -> Iterator[Diagnostic]:
    by, function, name = spec.get("calculationBy"), spec.get("func"), spec.get("property")
    if by == "entities" and function not in {"count", "average"}:
        yield found(
            "PD131", document.value((*path, "func")), f"{function} needs a property", "write calculationBy: property"
        )
    if by == "property" and function not in _OF_PROPERTY:
        yield found(
            "PD131", document.value((*path, "func")), f"{function} counts entities", "write calculationBy: entities"
        )
    if function == "average" and spec.get("averageOf") is None:
        yield found("PD131", document.key(path), "an average needs averageOf", "add averageOf: total")
    if by == "property" and not name:
        yield found("PD131", document.key(path), "property is missing", 'add "property"')
    if target is None or not isinstance(name, str):
        return
    if not target.has(name):
        detail = f'"{target.identifier}" has no property "{name}"'
        yield found("PD131", document.value((*path, "property")), detail, did_you_mean(name, target.properties))
    elif name in target.properties and target.properties[name].get("type") != "number":
        yield found("PD131", document.value((*path, "property")), f'"{name}" is not a number')


def _related(one: Draft, other: Draft, drafts: Drafts) -> bool:
    """Whether relations connect two blueprints, in whichever direction; what lies outside the catalog might."""
    seen, waiting = {one.identifier}, [one.identifier]
    while waiting:
        here = waiting.pop()
        near = (
            {str(relation.get("target")) for relation in drafts[here].relations.values()} if here in drafts else set()
        )
        near |= {
            draft.identifier
            for draft in drafts.values()
            if any(relation.get("target") == here for relation in draft.relations.values())
        }
        if other.identifier in near or (near - set(drafts)):
            return True
        waiting += near - seen
        seen |= near
    return False
