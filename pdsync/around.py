"""Ask the target about the entities that a plan is about to adopt, rename or remove, and nothing without any."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pdsync.errors import warning
from pdsync.model import EntityKey, Existing, Surroundings
from pdsync.plan.ownership import to_adopt
from pdsync.plan.rename import successors
from pdsync.targets import EntityWrite

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from pdsync.errors import Diagnostic
    from pdsync.model import Blueprint, FieldChange, Plan
    from pdsync.plan import Facts
    from pdsync.targets import TargetReader, ValidatingReader


async def look_around(facts: Facts, reader: TargetReader) -> Facts:
    """The facts with what a plan needs to know besides.  Raises `TargetError`."""
    facts = replace(facts, existing=await _with_renamed_whole(facts, reader))
    adopted = to_adopt(facts)
    by_integration = await reader.by_integration(adopted) if adopted else frozenset()
    notes = (_not_told(len(adopted)),) if by_integration is None else ()
    return replace(facts, around=Surroundings(by_integration or frozenset(), notes))


async def _with_renamed_whole(facts: Facts, reader: TargetReader) -> Existing:
    """What Port holds; of entities that get another identifier all of it, also what nobody maps."""
    blueprints, held = facts.existing.blueprints, facts.existing.entities
    renamed = [key for key in successors(facts) if key in held and key.blueprint in blueprints]
    if not renamed:
        return facts.existing
    whole = await reader.look({key: _own_paths(blueprints[key.blueprint]) for key in renamed})
    return replace(facts.existing, entities={**held, **whole})


def _own_paths(blueprint: Blueprint) -> list[str]:
    """Everything that an entity holds itself."""
    return [
        *("title", "icon", "team"),
        *(f"properties.{name}" for name in blueprint.properties),
        *(f"relations.{name}" for name in blueprint.relations),
    ]


def _not_told(count: int) -> Diagnostic:
    return warning(
        "PD620",
        "Port does not tell who wrote the entities that are adopted",
        detail=f"{count} entities: once their records are gone they are released, never deleted",
        hint="set lifecycle.on_remove: delete in their mapping if they are to be deleted",
    )


async def remote_refusals(plan: Plan, reader: ValidatingReader) -> dict[EntityKey, str]:
    """Entities of a plan that the target says it would refuse -> its message.

    What waits for the plan's own blueprints and entities cannot be asked about before they are there: entities of a
    blueprint that the plan makes or changes are not, and relations to entities that it creates are left out.
    """
    changing = {c.blueprint for c in plan.changes if c.target == "blueprint" and c.action in ("create", "update")}
    created = {c.identifier for c in plan.changes if c.target == "entity" and c.action == "create"}
    asked: dict[str, list[EntityWrite]] = {}
    for change in plan.changes:
        if change.target == "entity" and change.action in ("create", "update") and change.blueprint not in changing:
            fields = {f.path: f.after for f in change.fields if not _points_at(f, created)}
            asked.setdefault(change.blueprint, []).append(EntityWrite(change.identifier, fields))
    return {
        EntityKey(blueprint, identifier): why
        for blueprint, writes in asked.items()
        for identifier, why in (await reader.refusals(blueprint, writes)).items()
    }


def _points_at(field: FieldChange, created: AbstractSet[str]) -> bool:
    targets = field.after if isinstance(field.after, list) else [field.after]
    return field.path.startswith("relations.") and any(target in created for target in targets)
