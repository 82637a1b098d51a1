"""What desired entities point at, where that is more than other ones of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pdsync.plan.decide import Beyond
from pdsync.plan.order import targeting

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from pdsync.model import Blueprint, DesiredEntity, EntityKey, Json
    from pdsync.plan.decide import Facts

    Targets = Sequence[tuple[str, EntityKey]]
    """Paths of relations and what they point at."""


def pointing_beyond(facts: Facts, blueprints: Mapping[str, Blueprint]) -> tuple[tuple[DesiredEntity, Targets], ...]:
    """What `Beyond` says of these; looked up where the facts have it."""
    known, relations = facts.beyond, _relations(blueprints.values())
    if known is not None and known.desired is facts.desired.entities and known.relations == relations:
        return known.found
    return tuple(_pointing(facts, blueprints))


def with_beyond(facts: Facts, blueprints: Mapping[str, Blueprint]) -> Beyond:
    """What there is to be known by the facts."""
    return Beyond(pointing_beyond(facts, blueprints), facts.desired.entities, _relations(blueprints.values()))


def _relations(blueprints: Iterable[Blueprint]) -> dict[str, Json]:
    return {blueprint.identifier: blueprint.relations for blueprint in blueprints}


def _pointing(facts: Facts, blueprints: Mapping[str, Blueprint]) -> Iterator[tuple[DesiredEntity, Targets]]:
    targets, desired = targets_of(facts, blueprints), facts.desired.entities
    within: dict[int, bool] = {}
    for key in sorted(desired):
        told = targets(desired[key])
        if (known := within.get(id(told))) is None:  # one object for all that are equal
            known = within[id(told)] = all(target in desired for _, target in told)
        if not known:
            yield desired[key], told


def targets_of(facts: Facts, blueprints: Mapping[str, Blueprint]) -> Callable[[DesiredEntity], Targets]:
    """What tells the relation paths and targets of a desired entity; of one that is unchanged without reading it.

    For all that point at the same it gives one object.
    """
    known = facts.unchanged.among(facts)
    of = {name: targeting(blueprint) for name, blueprint in blueprints.items()}

    def targets(entity: DesiredEntity) -> Targets:
        found = known.get(entity.key)
        if found is not None:
            return found
        return of[entity.key.blueprint](entity.fields) if entity.key.blueprint in of else ()

    return targets
