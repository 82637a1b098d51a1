"""Ask the target about the few entities that a plan is about to adopt, rename or remove, and nothing without any."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from pdsync.errors import warning
from pdsync.model import EntityKey, Existing, ExistingEntity, Surroundings
from pdsync.plan.blast import leaving, removed_parts, unread_relations
from pdsync.plan.blueprints import blueprint_drafts
from pdsync.plan.decide import Scope
from pdsync.plan.ownership import to_adopt
from pdsync.plan.rename import successors
from pdsync.targets import EntityWrite

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from collections.abc import Set as AbstractSet

    from pdsync.errors import Diagnostic
    from pdsync.model import Blueprint, Change, FieldChange, Plan
    from pdsync.plan import Facts
    from pdsync.targets import Progress, TargetReader, ValidatingReader


async def look_around(
    facts: Facts, reader: TargetReader, progress: Progress | None = None, scope: Scope | None = None
) -> Facts:
    """The facts with what a plan needs to know besides, of what is in its scope.  Raises `TargetError`."""
    scope = scope or Scope()
    facts = replace(facts, existing=await _with_renamed_whole(facts, reader, scope))
    adopted = [key for key in to_adopt(facts) if scope.covers_key(key)]
    going = [key for key in leaving(facts) if scope.covers_key(key)]
    by_integration = await reader.by_integration(adopted, progress) if adopted else frozenset()
    notes = (_not_told(len(adopted)),) if by_integration is None else ()
    if progress and going:
        progress("what is around deletes", 0, len(going))
    around = await ask_around(going, filter(scope.covers, blueprint_drafts(facts)), facts, reader)
    around = replace(around, by_integration=by_integration or frozenset(), diagnostics=notes)
    return replace(facts, around=around)


async def ask_around(
    going: Sequence[EntityKey],
    drafts: Iterable[Change],
    facts: Facts,
    reader: TargetReader,
    listed: Existing | None = None,
) -> Surroundings:
    """What is there around entities that may go, and blueprints that change.  Raises `TargetError`.

    `listed` are the blueprints of which all entities were read, where that is not so of all in `facts`.
    """
    judged = {key.blueprint for key in going} | removed_parts(drafts).keys()
    dependents, not_told = await _dependents(going, replace(facts, existing=listed or facts.existing), reader)
    cards = {name: await reader.scorecards(name) for name in sorted(judged & facts.existing.blueprints.keys())}
    return Surroundings(
        teams=await _teams(going, facts, reader),
        dependents=dependents,
        scorecards={name: found for name, found in cards.items() if found is not None},
        unknown=(*not_told, *(f"scorecards of {name}" for name, found in cards.items() if found is None)),
    )


async def _teams(going: Sequence[EntityKey], facts: Facts, reader: TargetReader) -> dict[EntityKey, tuple[str, ...]]:
    """The teams that own these entities; where they are not read with the rest, they are asked for."""
    held = {key: facts.existing.entities[key].fields for key in going}
    unread = [key for key, fields in held.items() if "team" not in fields]
    looked = await reader.look(dict.fromkeys(unread, ("team",))) if unread else {}
    teams = {key: fields.get("team") for key, fields in held.items()}
    teams |= {key: entity.fields.get("team") for key, entity in looked.items()}
    return {key: tuple(map(str, value)) for key, value in teams.items() if isinstance(value, list) and value}


async def _dependents(
    going: Sequence[EntityKey], facts: Facts, reader: TargetReader
) -> tuple[dict[EntityKey, ExistingEntity], list[str]]:
    """What points at these entities by a relation that is not read otherwise, and the relations that are not told."""
    found: dict[EntityKey, ExistingEntity] = {}
    not_told = []
    for blueprint, relation in unread_relations(going, facts):
        target = facts.existing.blueprints[blueprint].relations[relation]["target"]
        asked = [key.identifier for key in going if key.blueprint == target]
        pointing = await reader.pointing_at(blueprint, relation, asked)
        if pointing is None:
            not_told.append(f"what points at {target} by {blueprint}.{relation}")
        for key, entity in (pointing or {}).items():
            before = found.get(key)
            found[key] = ExistingEntity({**before.fields, **entity.fields}) if before else entity
    return found, not_told


async def _with_renamed_whole(facts: Facts, reader: TargetReader, scope: Scope) -> Existing:
    """What Port holds; of entities that get another identifier all of it, also what nobody maps."""
    blueprints, held = facts.existing.blueprints, facts.existing.entities
    ours = filter(scope.covers_key, successors(facts))
    renamed = [key for key in ours if key in held and key.blueprint in blueprints]
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
    changing = _changing(plan)
    created = {c.identifier for c in plan.changes if c.target == "entity" and c.action == "create"}
    asked: dict[str, list[EntityWrite]] = {}
    for change in plan.changes:
        if _is_written(change) and change.blueprint not in changing:
            fields = {f.path: f.after for f in change.fields if not _points_at(f, created)}
            asked.setdefault(change.blueprint, []).append(EntityWrite(change.identifier, fields))
    return {
        EntityKey(blueprint, identifier): why
        for blueprint, writes in asked.items()
        for identifier, why in (await reader.refusals(blueprint, writes)).items()
    }


def not_asked(plan: Plan) -> tuple[Diagnostic, ...]:
    """What of a plan the target could not be asked about."""
    changing = _changing(plan)
    counts = Counter(c.blueprint for c in plan.changes if _is_written(c) and c.blueprint in changing)
    if not counts:
        return ()
    told = ", ".join(f"{count} of {name}" for name, count in sorted(counts.items()))
    detail = f"entities whose blueprint this plan makes or changes: {told}"
    hint = "what Port would refuse of them fails when it is written, and is named; the rest is done"
    return (warning("PD616", "Port could not be asked about everything before", detail=detail, hint=hint),)


def _changing(plan: Plan) -> set[str]:
    return {c.blueprint for c in plan.changes if c.target == "blueprint" and c.action in ("create", "update")}


def _is_written(change: Change) -> bool:
    return change.target == "entity" and change.action in ("create", "update")


def _points_at(field: FieldChange, created: AbstractSet[str]) -> bool:
    targets = field.after if isinstance(field.after, list) else [field.after]
    return field.path.startswith("relations.") and any(target in created for target in targets)
