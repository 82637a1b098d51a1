"""Options that speak of nothing there is: most likely misspelt, so that a plan does more, or less, than was meant."""

from __future__ import annotations

from difflib import get_close_matches
from itertools import chain
from typing import TYPE_CHECKING

from pdsync.errors import warning
from pdsync.model import EntityKey
from pdsync.plan.decide import matches

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pdsync.errors import Diagnostic
    from pdsync.plan.decide import Facts, Scope


def idle_options(facts: Facts, scope: Scope) -> tuple[Diagnostic, ...]:
    """A warning for each option that limits a plan, or lifts a limit, and names neither a blueprint nor an entity."""
    names = sorted({*facts.catalog.blueprints, *facts.ledger.blueprints, *facts.existing.blueprints})
    return tuple(_told(option, named, names) for option, named in _idle(facts, scope, names))


def _idle(facts: Facts, scope: Scope, names: list[str]) -> Iterator[tuple[str, str]]:
    blueprints = [EntityKey(name, "") for name in names]
    for option, globs in (("--only", scope.only), ("--exclude", scope.exclude)):
        for glob in globs:
            entities = chain(facts.desired.entities, facts.ledger.entities, facts.existing.entities)
            if not any(matches(key, (glob,)) for key in chain(blueprints, entities)):
                yield option, glob
    allowed = (("--allow-deletes", scope.allow_deletes), ("--allow-breaking", scope.allow_breaking))
    for option, numbers in allowed:
        yield from ((option, name) for name in numbers if name.partition(".")[0] not in names)


def _told(option: str, named: str, names: list[str]) -> Diagnostic:
    blueprint = named.partition("/")[0].partition(".")[0]
    if blueprint in names:
        hint = f"no entity of {blueprint} has an identifier like that"
    elif close := get_close_matches(blueprint, names, n=1):
        hint = f'did you mean "{close[0]}"?'
    else:
        hint = f"the blueprints are {', '.join(names)}"
    return warning("PD631", f"{option} speaks of nothing that there is", detail=named, hint=hint)
