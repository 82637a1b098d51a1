"""Ask the target about the few entities that a plan is about to adopt, rename or remove, and nothing without any."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pdsync.errors import warning
from pdsync.model import Existing, Surroundings
from pdsync.plan.ownership import to_adopt
from pdsync.plan.rename import successors

if TYPE_CHECKING:
    from pdsync.errors import Diagnostic
    from pdsync.model import Blueprint
    from pdsync.plan import Facts
    from pdsync.targets import TargetReader


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
