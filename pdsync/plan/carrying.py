"""What changes of blueprints ask of entities: values that go along with a new name, are written again, or converted."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pdsync.model import Change, FieldChange
from pdsync.normal import entity_normaliser, same
from pdsync.plan.convert import converter
from pdsync.plan.decide import all_causes, main_cause, writers
from pdsync.plan.migrate import is_ours

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from pdsync.model import Blueprint, Cause, DesiredEntity, EntityKey, Fields, FieldsView, Json
    from pdsync.plan.decide import Facts
    from pdsync.plan.migrate import Migration


def between(facts: Facts, migrations: Mapping[str, Migration]) -> Facts:
    """The facts as they are once the blueprints are changed: values moved with renames, gone where made anew."""
    touched = {name: each for name, each in migrations.items() if each.touches_values}
    if not touched:
        return facts
    existing = {
        key: replace(entity, fields=_carried_fields(entity.fields, touched[key.blueprint]))
        if key.blueprint in touched
        else entity
        for key, entity in facts.existing.entities.items()
    }
    owned = {
        key: touched[key.blueprint].carried_entry(entry) if key.blueprint in touched else entry
        for key, entry in facts.ledger.entities.items()
    }
    return replace(
        facts,
        existing=replace(facts.existing, entities=existing),
        ledger=replace(facts.ledger, entities=owned),
    )


def _carried_fields(fields: Fields, migration: Migration) -> Fields:
    return {p: v for p, v in migration.carried(fields).items() if p not in migration.dropped}


def with_carried(
    upserts: Sequence[Change],
    facts: Facts,
    migrations: Mapping[str, Migration],
    blueprints: Mapping[str, Blueprint],
    desired: Mapping[EntityKey, DesiredEntity],
) -> tuple[list[Change], AbstractSet[EntityKey]]:
    """Upserts with what migrations ask of entities, and which that are as desired got a change by that alone.

    Values that were dropped are shown as what Port still holds; those that no mapping writes are written back
    converted; an entity whose ledger entry only changes a path's name is adopted.  `facts` are those before.
    """
    if not any(migration.touches_values for migration in migrations.values()):
        return list(upserts), frozenset()
    changes = {change.key: change for change in upserts}
    settled = desired.keys() - changes.keys()
    written = writers(facts.catalog.rules)
    for name, migration in sorted(migrations.items()):
        if migration.touches_values:
            convert = _converters(name, migration, blueprints)
            unmapped = {path for path in migration.dropped if not written(name, path)}
            for key in _concerned(name, facts):
                was = changes.get(key)
                change = _one(key, was, facts, migration, convert, wanted=key in desired, unmapped=unmapped)
                if change is not None:
                    changes[key] = change
    return [changes[key] for key in sorted(changes)], settled & changes.keys()


def _concerned(blueprint: str, facts: Facts) -> list[EntityKey]:
    keys = facts.existing.entities.keys() | facts.ledger.entities.keys()
    return sorted(key for key in keys if key.blueprint == blueprint)


def _one(
    key: EntityKey,
    change: Change | None,
    facts: Facts,
    migration: Migration,
    convert: Mapping[str, Callable[[Json], Json]],
    *,
    wanted: bool,
    unmapped: AbstractSet[str],
) -> Change | None:
    have, last = facts.existing.entities.get(key), facts.ledger.entities.get(key)
    held = have.fields if have else {}
    applied = last.fields if last else {}
    another = migration.dropped | migration.many.keys()
    shown = [_as_held(f, held, applied) if f.path in another else f for f in _fields(change)]
    spoken = {f.path for f in shown}
    shown += [
        FieldChange(path, held[path], after, "catalog", note="carried over", causes=("catalog",))
        for path in sorted(convert.keys() & held.keys() - spoken)
        if path not in unmapped or not is_ours(facts.ledger, key, path, held[path])
        if held[path] is not None and (after := convert[path](held[path])) is not None
    ]
    entry = last and migration.carried_entry(last)
    if change is not None:
        cause = main_cause(shown, change.cause)
        causes = all_causes(cause, (c for f in shown for c in f.causes))
        return replace(change, fields=tuple(shown), cause=cause, causes=causes)
    if shown:
        title = str(held.get("title") or key.identifier)
        told = Change(0, "entity", "update", *key, title, tuple(shown), "carried", "catalog", ledger=entry)
        return replace(told, causes=("catalog",))
    if wanted and entry is not None and entry != last:
        title = str(entry.fields.get("title") or key.identifier)
        reason = "renamed" if migration.moved else "caught-up"
        told = Change(0, "entity", "adopt", *key, title, (), reason, "catalog", source=entry.source, ledger=entry)
        return replace(told, causes=("catalog",))
    return None


def _as_held(change: FieldChange, held: FieldsView, applied: FieldsView) -> FieldChange:
    before = held.get(change.path)
    drift = change.path in applied and not same(before, applied[change.path])
    causes: tuple[Cause, ...] = ("catalog", "drift") if drift else ("catalog",)
    return replace(change, before=before, cause="catalog", drift=drift, causes=causes)


def _fields(change: Change | None) -> Sequence[FieldChange]:
    return change.fields if change else ()


def _converters(
    blueprint: str, migration: Migration, blueprints: Mapping[str, Blueprint]
) -> dict[str, Callable[[Json], Json]]:
    """Path -> how a value that was dropped is written back."""
    definition = blueprints[blueprint]
    normalise = entity_normaliser(definition)

    def one(path: str, convert: Callable[[Json], Json]) -> Callable[[Json], Json]:
        return lambda value: normalise({path: convert(value)})[path]

    names = {path: path.removeprefix("properties.") for path in migration.dropped if path.startswith("properties.")}
    return {path: one(path, converter(definition.properties[name])) for path, name in names.items()}
