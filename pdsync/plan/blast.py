"""What a plan touches beyond what it changes: who loses a relation, whose entities go, what judges them.

Port empties an optional relation to what is deleted and refuses the delete where the relation is required; scorecards
and teams are not asked.  All of it is told before, in one line and by name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import ahocorasick_rs

from pdsync.model import BlastRadius, Dependent, EntityKey, glance
from pdsync.plan.guards import is_required
from pdsync.plan.order import targeting
from pdsync.plan.portions import failed_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from pdsync.model import Blueprint, Change, ExistingEntity, Fields, Withheld
    from pdsync.plan.decide import Facts

_PARTS = ("schema.properties.", "relations.")


# --- what has to be asked for ----------------------------------------------------------------------------------


def leaving(facts: Facts) -> list[EntityKey]:
    """Entities of ours in Port that nothing makes any more, sorted; not those of which that cannot be known."""
    gone = (facts.ledger.entities.keys() & facts.existing.entities.keys()) - facts.desired.entities.keys()
    return sorted(key for key in gone - facts.desired.held.keys() if _is_known(key, facts))


def _is_known(key: EntityKey, facts: Facts) -> bool:
    last = facts.ledger.entities[key]
    return failed_of(last, facts) is None and not any(rule in facts.unproven for rule in last.rules)


def unread_relations(targets: Iterable[EntityKey], facts: Facts) -> list[tuple[str, str]]:
    """(blueprint, relation) by which something may point at these entities, and that was not read with the rest."""
    names = {key.blueprint for key in targets}
    if not names:
        return []
    read: dict[str, ExistingEntity] = {}
    for key, entity in facts.existing.entities.items():
        read.setdefault(key.blueprint, entity)
    return sorted(
        (name, relation)
        for name, blueprint in facts.existing.blueprints.items()
        for relation, definition in blueprint.relations.items()
        if definition.get("target") in names and not _is_read(read.get(name), f"relations.{relation}")
    )


def _is_read(sample: ExistingEntity | None, path: str) -> bool:
    return sample is not None and path in sample.fields


def removed_parts(changes: Iterable[Change]) -> dict[str, set[str]]:
    """Blueprint -> names of the properties and relations that go, get another name or lose their values."""
    removed: dict[str, set[str]] = {}
    for change in changes:
        for each in change.fields if change.target == "blueprint" and change.action == "update" else ():
            path = each.moved_from or (each.path if each.after is None or each.replace else "")
            if path.startswith(_PARTS) and (each.moved_from or each.before is not None):
                removed.setdefault(change.blueprint, set()).add(path.rsplit(".", 1)[-1])
    return removed


# --- what is touched -------------------------------------------------------------------------------------------


def blast_radius(
    changes: Sequence[Change], withheld: Iterable[Withheld], facts: Facts, blueprints: Mapping[str, Blueprint]
) -> BlastRadius | None:
    """What these changes touch; None for a plan that removes nothing.

    Deletes that are withheld because something requires them count with what does; `blueprints` are those in force
    afterwards.
    """
    entities = [change for change in changes if change.target == "entity"]
    gone = {change.key for change in entities if change.action == "delete"}
    ends = gone | {change.key for change in entities if change.action == "release"}
    parts = removed_parts(changes)
    dropped = {change.blueprint for change in changes if change.target == "blueprint" and change.action == "delete"}
    refused = {item.key for item in withheld if is_required(item)}
    if not (ends or parts or dropped or refused):
        return None
    judged = {key.blueprint for key in gone} | dropped
    around = facts.around
    return BlastRadius(
        teams=tuple(sorted({team for key in ends for team in around.teams.get(key, ())})),
        dependents=tuple(_dependents(gone, refused, entities, facts, blueprints)),
        scorecards=tuple(
            f"{name}/{card.identifier}"
            for name in sorted(judged | parts.keys())
            for card in around.scorecards.get(name, ())
            if name in judged or card.reads & parts[name]
        ),
        unknown=around.unknown,
    )


def _dependents(
    gone: AbstractSet[EntityKey],
    refused: AbstractSet[EntityKey],
    changes: Iterable[Change],
    facts: Facts,
    blueprints: Mapping[str, Blueprint],
) -> Iterator[Dependent]:
    """Sorted: what stays and points at what goes, or requires what therefore does not go."""
    targets = {*gone, *refused}
    pointing = _pointing(blueprints, {key.blueprint for key in targets})
    written = {change.key: change for change in changes if change.action in ("create", "update")}
    pointed_at = {name: targeting(blueprints[name]) for name in pointing}
    named, besides = _naming(targets), facts.around.dependents
    sources = {
        key
        for key, entity in facts.existing.entities.items()
        if key.blueprint in pointing and (key in written or named(entity))
    }
    for key in sorted((sources | besides.keys()) - gone):
        if key.blueprint not in pointing:
            continue
        relations = blueprints[key.blueprint].relations
        for path, target in pointed_at[key.blueprint](_afterwards(key, pointing[key.blueprint], written, facts)):
            name = path.removeprefix("relations.")
            required = bool(relations[name].get("required"))
            if target in (refused if required else gone) and target != key:
                yield Dependent(*key, name, str(target), required)


def _naming(targets: Collection[EntityKey]) -> Callable[[ExistingEntity], bool]:
    """Whether an entity may name any of these: of one that nobody has looked at, its bytes tell that it does not.

    A text of JSON without a backslash stands there as it is.
    """
    names = [target.identifier.encode() for target in targets]
    if any(b"\\" in name or b'"' in name for name in names):
        return lambda _: True
    search = ahocorasick_rs.BytesAhoCorasick([*names, b"\\"]).find_matches_as_indexes

    def may_name(entity: ExistingEntity) -> bool:
        packed = entity.packed
        return packed is None or bool(search(packed[1]))

    return may_name


def _pointing(blueprints: Mapping[str, Blueprint], targets: Collection[str]) -> dict[str, set[str]]:
    """Blueprint -> paths of its relations to any of these blueprints."""
    found = {
        name: {f"relations.{r}" for r, definition in blueprint.relations.items() if definition.get("target") in targets}
        for name, blueprint in blueprints.items()
    }
    return {name: paths for name, paths in found.items() if paths}


def _afterwards(key: EntityKey, paths: set[str], written: Mapping[EntityKey, Change], facts: Facts) -> Fields:
    have, besides = facts.existing.entities.get(key), facts.around.dependents.get(key)
    held = {**(glance(have) if have else {}), **(besides.fields if besides else {})}
    fields = {path: held[path] for path in paths & held.keys()}
    change = written.get(key)
    return fields | ({f.path: f.after for f in change.fields if f.path in paths} if change else {})
