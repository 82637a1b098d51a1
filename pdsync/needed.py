"""What of Port a plan has to know: before anything is mapped, and once it is known what is desired."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pdsync.plan import Scope
from pdsync.plan.blueprints import blueprint_drafts
from pdsync.plan.decide import constant_blueprint
from pdsync.plan.migrate import paths_at_stake
from pdsync.state.ledger_file import paths_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from pdsync.model import Catalog, EntityKey, Existing, Ledger
    from pdsync.plan import Facts
    from pdsync.targets import TargetReader

    Progress = Callable[[str, int, int | None], None]


def wanted_paths(catalog: Catalog, ledger: Ledger) -> dict[str, frozenset[str]]:
    """Blueprint -> the paths to read from Port: what is mapped, what we wrote, and relations that must be there."""
    return wanted_beside(owned_paths(ledger), catalog)


def wanted_beside(owned: Mapping[str, Collection[str]], catalog: Catalog) -> dict[str, frozenset[str]]:
    """The same, where it is known already what we wrote."""
    wanted: dict[str, set[str]] = {name: set(paths) for name, paths in owned.items()}
    for name in catalog.blueprints:
        wanted.setdefault(name, set())
    for rule in catalog.rules:
        constant = constant_blueprint(rule)
        for blueprint in [constant] if constant else list(catalog.blueprints):
            wanted.setdefault(blueprint, set()).update(rule.fields)
            if not rule.merge and (definition := catalog.blueprints.get(blueprint)):
                wanted[blueprint].update(f"properties.{p}" for p in definition.properties)
                wanted[blueprint].update(f"relations.{r}" for r in definition.relations)
    for name, paths in wanted.items():
        if definition := catalog.blueprints.get(name):
            paths.update(f"relations.{r}" for r, d in definition.relations.items() if d.get("required"))
    return {name: frozenset(paths | {"title"}) for name, paths in sorted(wanted.items())}


def owned_paths(ledger: Ledger) -> dict[str, frozenset[str]]:
    """Blueprint -> the paths that we wrote, and the title; none of a blueprint that we made and own nothing in.

    Before such a one goes it has to be known whether others have put entities into it.
    """
    owned: dict[str, set[str]] = {name: set() for name, entry in ledger.blueprints.items() if entry.origin == "created"}
    for key, entry in ledger.entities.items():
        owned.setdefault(key.blueprint, set()).update(paths_of(entry), ("title",))
    return {name: frozenset(paths) for name, paths in sorted(owned.items())}


async def with_computed_blueprints(facts: Facts, reader: TargetReader, progress: Progress | None) -> Existing:
    """Read the blueprints, too, that only turned up when mappings were evaluated: what is mapped, and what is ours."""
    turned_up: dict[str, set[str]] = {}
    for entity in facts.desired.entities.values():
        if entity.key.blueprint not in facts.catalog.blueprints:
            turned_up.setdefault(entity.key.blueprint, {"title"}).update(entity.fields)
    if not turned_up:
        return facts.existing
    read = wanted_paths(facts.catalog, facts.ledger)
    paths = {name: found | read.get(name, set()) for name, found in turned_up.items() if found - read.get(name, set())}
    more = await reader.read(paths, progress)
    return replace(facts.existing, entities={**facts.existing.entities, **more.entities})


async def with_values_at_stake(
    facts: Facts, reader: TargetReader, progress: Progress | None = None, scope: Scope | None = None
) -> Existing:
    """Read what decides whether a blueprint may change: values that no mapping writes are not read otherwise."""
    existing = facts.existing
    stake = paths_at_stake(filter((scope or Scope()).covers, blueprint_drafts(facts)))
    if not stake:
        return existing
    more = await reader.read(stake, progress)
    entities = dict(existing.entities)
    for key, entity in more.entities.items():
        have = entities.get(key)
        entities[key] = replace(have, fields={**entity.fields, **have.fields}) if have else entity
    return replace(existing, entities=entities)


def outside_targets(facts: Facts, scope: Scope) -> frozenset[EntityKey]:
    """Relation targets that are neither desired nor among what was read, where either end is in scope."""
    assert facts.beyond is not None
    have = facts.desired.entities.keys() | facts.existing.entities.keys()
    return frozenset(
        target
        for entity, targets in facts.beyond.found
        for _, target in targets
        if target not in have and (scope.covers_key(entity.key) or scope.covers_key(target))
    )
