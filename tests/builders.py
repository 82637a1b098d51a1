"""Small worlds, built in one line each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pdsync.errors import Origin
from pdsync.model import (
    Blueprint,
    Catalog,
    DesiredEntities,
    DesiredEntity,
    EntityKey,
    Existing,
    ExistingEntity,
    Expression,
    Ledger,
    LedgerEntry,
    MappingRule,
    Plan,
    PlanBase,
    Policy,
    Project,
    Query,
)
from pdsync.plan import Facts, Scope, make_plan

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

HERE = Origin("catalog/mappings/test.yaml", 3, 7)


def blueprint(identifier: str = "service", **relations: dict[str, Any]) -> Blueprint:
    properties = {
        "url": {"type": "string"},
        "tier": {"type": "string"},
        "size": {"type": "number"},
        "tags": {"type": "array"},
    }
    definition = {
        "identifier": identifier,
        "title": identifier.title(),
        "schema": {"properties": properties, "required": []},
        "relations": relations,
    }
    return Blueprint(identifier, definition)


def relation(target: str, *, many: bool = False, required: bool = False) -> dict[str, Any]:
    return {"target": target, "many": many, "required": required}


def rule(
    blueprint: str = "service", paths: Iterable[str] = ("title", "properties.tier"), kind: str = "services", **more: Any
) -> MappingRule:
    return MappingRule(
        id=more.pop("id", f"mappings/test.yaml#{kind}[0]"),
        kind=kind,
        query=Query(kind),
        selector=Expression("true", HERE),
        identifier=Expression(".id", HERE),
        blueprint=Expression(f'"{blueprint}"', HERE),
        fields={path: Expression(f".{path}", HERE) for path in paths},
        origin=HERE,
        **more,
    )


def catalog(blueprints: Iterable[Blueprint], rules: Iterable[MappingRule], **policy: Any) -> Catalog:
    return Catalog(
        Project("test", policy=Policy(**policy)), {b.identifier: b for b in blueprints}, tuple(rules), tree="t"
    )


def desired(*entities: DesiredEntity, **more: Any) -> DesiredEntities:
    return DesiredEntities({e.key: e for e in entities}, **more)


def want(identifier: str, blueprint: str = "service", **values: Any) -> DesiredEntity:
    rules = values.pop("rules", ("mappings/test.yaml#services[0]",))
    unknown = values.pop("unknown", {})
    return DesiredEntity(
        EntityKey(blueprint, identifier), paths(values), rules, values.pop("source", f"services/{identifier}"), unknown
    )


def paths(values: Mapping[str, Any]) -> dict[str, Any]:
    """`tier="x"` -> `properties.tier`; `to_team="y"` -> `relations.team`; title, icon and team as they are."""
    own = ("title", "icon", "team")
    named = {}
    for name, value in values.items():
        if name in own or name == "source":
            named[name] = value
        else:
            named[f"relations.{name[3:]}" if name.startswith("to_") else f"properties.{name}"] = value
    named.pop("source", None)
    return named


def have(**values: Any) -> ExistingEntity:
    return ExistingEntity(paths(values))


def entry(origin: str = "created", **values: Any) -> LedgerEntry:
    rules = values.pop("rules", ("mappings/test.yaml#services[0]",))
    source = values.pop("source", "services/a")
    protect, on_remove = values.pop("protect", False), values.pop("on_remove", None)
    made = dict.fromkeys(values.pop("added", ()), "created")
    portions = values.pop("portions", ())
    return LedgerEntry(paths(values), origin, rules, source, protect, on_remove, made, portions)  # type: ignore[arg-type]


def existing(blueprints: Iterable[Blueprint], entities: Mapping[str, ExistingEntity]) -> Existing:
    return Existing("org", "Org", {b.identifier: b for b in blueprints}, {key(k): e for k, e in entities.items()})


def key(text: str) -> EntityKey:
    """`service/a`, or `a` for a service."""
    name, _, identifier = text.rpartition("/")
    return EntityKey(name or "service", identifier)


def ledger(entities: Mapping[str, LedgerEntry], blueprints: Iterable[Blueprint] = (), **more: Any) -> Ledger:
    from pdsync.normal import blueprint_fields

    owned = {b.identifier: LedgerEntry(blueprint_fields(b.definition), "created") for b in blueprints}
    return Ledger("lineage", 1, blueprints=owned, entities={key(k): e for k, e in entities.items()}, **more)


BASE = PlanBase("lineage", 1, "t", "", "s", "2026-06-01T12:00:00Z", "org", "Org", "pd", "port", "jq")


def plan(facts: Facts, **scope: Any) -> Plan:
    return make_plan(facts, BASE, Scope(**scope))
