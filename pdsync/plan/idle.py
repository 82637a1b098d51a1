"""Options that speak of nothing there is: most likely misspelt, so that a plan does more, or less, than was meant."""

from __future__ import annotations

from difflib import get_close_matches
from itertools import chain
from typing import TYPE_CHECKING

from pdsync.errors import warning
from pdsync.model import EntityKey
from pdsync.normal import blueprint_fields
from pdsync.plan.decide import matches
from pdsync.plan.migrate import REQUIRED, part_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pdsync.errors import Diagnostic
    from pdsync.plan.decide import Facts, Scope


def idle_options(facts: Facts, scope: Scope) -> tuple[Diagnostic, ...]:
    """A warning for each option that limits a plan, or lifts a limit, and names nothing that there is."""
    names = sorted({*facts.catalog.blueprints, *facts.ledger.blueprints, *facts.existing.blueprints})
    told = (_told(option, named, names) for option, named in _idle(facts, scope, names))
    return (*told, *_without_a_part(facts, scope, names))


def _idle(facts: Facts, scope: Scope, names: list[str]) -> Iterator[tuple[str, str]]:
    blueprints = [EntityKey(name, "") for name in names]
    for option, globs in (("--only", scope.only), ("--exclude", scope.exclude)):
        for glob in globs:
            entities = chain(facts.desired.entities, facts.ledger.entities, facts.existing.entities)
            if not any(matches(key, (glob,)) for key in chain(blueprints, entities)):
                yield option, glob
    yield from (("--allow-deletes", name) for name in scope.allow_deletes if name not in names)


def _told(option: str, named: str, names: list[str]) -> Diagnostic:
    blueprint = named.partition("/")[0]
    if blueprint in names:
        hint = f"no entity of {blueprint} has an identifier like that"
    elif close := get_close_matches(blueprint, names, n=1):
        hint = f'did you mean "{close[0]}"?'
    else:
        hint = f"the blueprints are {', '.join(names)}"
    return _warning(option, named, hint)


def _without_a_part(facts: Facts, scope: Scope, names: list[str]) -> Iterator[Diagnostic]:
    """A warning for each `--allow-breaking` of what is a part of no blueprint, in the catalog or in Port."""
    parts = {f"{name}.{part}": None for name in names for part in _parts(facts, name)}
    for named in scope.allow_breaking:
        if named in parts:
            continue
        holder = next((name for name in names if named.startswith(f"{name}.")), "")
        near = get_close_matches(named, [part for part in parts if not holder or part.startswith(f"{holder}.")], n=1)
        last = f"{holder}.{named.rpartition('.')[2]}"
        meant = last if last in parts else near[0] if near else ""
        hint = f'did you mean "{meant}"?' if meant else "it takes a blueprint and a part of it, as a guard names them"
        yield _warning("--allow-breaking", named, hint)


def _parts(facts: Facts, blueprint: str) -> Iterator[str]:
    """The names of a blueprint's parts, as guards know them."""
    for known in (facts.catalog.blueprints.get(blueprint), facts.existing.blueprints.get(blueprint)):
        if known is not None:
            yield from map(part_name, blueprint_fields(known.definition))
    yield part_name(REQUIRED)


def _warning(option: str, named: str, hint: str) -> Diagnostic:
    return warning("PD631", f"{option} speaks of nothing that there is", detail=named, hint=hint)
