"""A limited plan asks Port about what is in its scope alone, and comes to the same as if it had asked about all."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from hypothesis import given, settings
from hypothesis import strategies as st

from pdsync.around import look_around
from pdsync.model import EntityKey, ExistingEntity, Scorecard
from pdsync.plan import Facts, Scope, make_plan
from pdsync.plan.decide import matches
from tests.builders import BASE, blueprint, catalog, desired, entry, existing, have, ledger, relation, rule, want

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from pdsync.targets import TargetReader

SERVICE = blueprint("service", team=relation("team"))
TEAM = blueprint("team")
PAGE = blueprint("page", about=relation("service", required=True), by=relation("team"))
KEYS = [EntityKey(name, identifier) for name in ("service", "team") for identifier in "abc"]


@dataclass
class Asked:
    """A Port that knows one foreign page of every service, and which entities and blueprints it was asked about."""

    keys: set[EntityKey] = field(default_factory=set)
    blueprints: set[str] = field(default_factory=set)

    async def look(self, paths: Mapping[EntityKey, Iterable[str]]) -> dict[EntityKey, ExistingEntity]:
        self.keys.update(paths)
        return {key: ExistingEntity({"team": ["owners"], "title": key.identifier}) for key in paths}

    async def by_integration(self, keys: Collection[EntityKey], _progress: Any = None) -> frozenset[EntityKey]:
        self.keys.update(keys)
        return frozenset(key for key in keys if key.identifier == "a")

    async def pointing_at(
        self, name: str, by: str, identifiers: Collection[str]
    ) -> dict[EntityKey, ExistingEntity] | None:
        target = "team" if by in ("by", "team") else "service"
        self.keys.update(EntityKey(target, each) for each in identifiers)
        if (name, by) != ("page", "about"):
            return {}
        return {EntityKey(name, f"of-{i}"): ExistingEntity({"relations.about": i}) for i in identifiers}

    async def scorecards(self, name: str) -> tuple[Scorecard, ...]:
        self.blueprints.add(name)
        return (Scorecard(f"{name}-ready"),)


SIDES = st.fixed_dictionaries({key: st.tuples(st.booleans(), st.booleans(), st.booleans()) for key in KEYS})
GLOBS = st.lists(st.sampled_from(["service", "team", "service/a", "*/b", "service/[bc]"]), max_size=2).map(tuple)


def facts(sides: Mapping[EntityKey, tuple[bool, bool, bool]], *, renamed: bool) -> Facts:
    """What is desired, there and ours; `renamed` is a service whose record has another identifier now."""
    wanted = [want(k.identifier, k.blueprint, tier="x", source=f"s/{k}") for k, (yes, *_) in sides.items() if yes]
    there = {str(k): have(tier="y") for k, (_, yes, _) in sides.items() if yes}
    owned = {str(k): entry(tier="y", source=f"s/{k}") for k, (_, _, yes) in sides.items() if yes}
    if renamed:
        wanted.append(want("new", source="s/old"))
        there["service/old"], owned["service/old"] = have(tier="y"), entry(source="s/old")
    rules = [rule(name, ("properties.tier",)) for name in ("service", "team")]
    own = [SERVICE, TEAM]
    return Facts(
        catalog(own, rules), desired(*wanted), existing([*own, PAGE], there), ledger(owned, own), expressions={}
    )


@settings(max_examples=60, deadline=None)
@given(sides=SIDES, renamed=st.booleans(), only=GLOBS, exclude=GLOBS)
def test_a_limited_plan_asks_about_its_scope(
    *,
    sides: Mapping[EntityKey, tuple[bool, bool, bool]],
    renamed: bool,
    only: tuple[str, ...],
    exclude: tuple[str, ...],
) -> None:
    """And nothing that is outside of it would have changed the plan."""
    given, scope = facts(sides, renamed=renamed), Scope(only, exclude)
    asked, everything = Asked(), Asked()
    narrow = asyncio.run(look_around(given, cast("TargetReader", asked), scope=scope))
    wide = asyncio.run(look_around(given, cast("TargetReader", everything)))
    assert all((not only or matches(key, only)) and not matches(key, exclude) for key in asked.keys)
    assert asked.keys == {key for key in everything.keys if scope.covers_key(key)}
    assert asked.blueprints <= {key.blueprint for key in asked.keys}
    assert make_plan(narrow, BASE, scope) == make_plan(wide, BASE, scope)
