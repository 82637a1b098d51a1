"""Entities that several records make, while records change, fail, are not listed, come back and go.

What Port and the ledger hold after each apply is worked out here in another way: record by record, with no word of
plans.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pdsync.commands import expressions
from pdsync.jq.joining import Claims
from pdsync.model import (
    DeleteLimit,
    DesiredEntities,
    DesiredEntity,
    EntityKey,
    Existing,
    Expression,
    Fields,
    Ledger,
    Lifecycle,
    Portion,
    Query,
    sources_of,
    under_names,
)
from pdsync.plan import Facts
from pdsync.plan.document import parse_plan, plan_document
from pdsync.plan.portions import with_missing
from tests.builders import (
    HERE,
    blueprint,
    catalog,
    desired,
    entry,
    existing,
    have,
    ledger,
    plan,
    rule,
    want,
)
from tests.drawing import among, several
from tests.plan.test_laws import do

if TYPE_CHECKING:
    from pdsync.model import Catalog, ExistingEntity, LedgerEntry, Plan

SERVICE = blueprint()
PATHS = {
    "services": ("title", "properties.tier"),
    "policies": ("icon", "properties.size"),
    "schedules": ("properties.url", "properties.size"),
}
"""What the mapping of each kind writes of a service; two of them write a path which they never disagree about."""
RULES = {kind: f"mappings/test.yaml#{kind}[0]" for kind in PATHS}
WORDS = ("one", "two", None)


@dataclass(frozen=True)
class World:
    """What there is of each kind: the records and their words; those that fail; the lists that are not whole.

    `prefix` is what the catalog puts before the id of a record to name its entity.
    """

    records: Mapping[str, str | None]
    failing: frozenset[str]
    unproven: frozenset[str]
    not_read: frozenset[str]
    size: int
    prefix: str

    @property
    def catalog(self) -> Catalog:
        rules = [
            replace(rule(paths=written, kind=kind), identifier=Expression(f'"{self.prefix}" + .id', HERE))
            for kind, written in PATHS.items()
        ]
        return catalog([SERVICE], rules, deletes={"*": DeleteLimit(empty="allow")})

    def given(self, source: str) -> Fields:
        """What one record gives."""
        kind = source.partition("/")[0]
        return {p: self.size if p == "properties.size" else self.records[source] for p in PATHS[kind]}

    def key(self, source: str) -> EntityKey:
        return EntityKey("service", self.prefix + source.partition("/")[2])

    @property
    def desired(self) -> DesiredEntities:
        claims = Claims()
        for source in self.records:
            claims.add(DesiredEntity(self.key(source), self.given(source), (RULES[source.partition("/")[0]],), source))
        return DesiredEntities(dict(sorted(claims.joined()[0].items())), failed=dict.fromkeys(self.failing, "broken"))

    def plan(self, port: dict[EntityKey, ExistingEntity], owned: Ledger) -> Plan:
        return plan(
            Facts(
                self.catalog,
                self.desired,
                Existing("org", "Org", {"service": SERVICE}, port),
                owned,
                unproven={RULES[kind]: "the list is not whole" for kind in self.unproven},
                expressions=expressions(self.catalog.rules),
                not_read=self.not_read,
                tool="jq",
            )
        )


@st.composite
def worlds(draw: st.DrawFn) -> World:
    every = [f"{kind}/{id_}" for kind in PATHS for id_ in "ab"]
    state = {source: draw(among("there", "there", "gone", "failing", "not read")) for source in every}
    return World(
        {source: draw(among(*WORDS)) for source, of in state.items() if of == "there"},
        frozenset(source for source, of in state.items() if of == "failing"),
        frozenset(draw(several(*PATHS, most=1))),
        frozenset(source for source, of in state.items() if of == "not read"),
        draw(among(1, 2)),
        draw(among("", "", "x-")),
    )


@dataclass
class Kept:
    """An entity as it should be: its values, and which records gave which paths."""

    values: Fields = field(default_factory=dict)
    given: dict[str, set[str]] = field(default_factory=dict)


def afterwards(before: dict[EntityKey, Kept], now: World) -> dict[EntityKey, Kept]:
    """What there should be once a world is applied."""

    def doubtful(source: str) -> bool:
        return source in now.failing | now.not_read or source.partition("/")[0] in now.unproven

    after: dict[EntityKey, Kept] = {}
    making: dict[EntityKey, list[str]] = {}
    for source in now.records:
        making.setdefault(now.key(source), []).append(source)
    for name, sources in making.items():
        id_ = sources[0].partition("/")[2]
        others = [EntityKey("service", p + id_) for p in ("", "x-") if p != now.prefix]
        old = next((o for o in others if o in before and {*before[o].given} & {*sources}), None)
        was = before.get(name) or (before[old] if old else Kept())
        # What only failed to be mapped stays where it is, and nothing is carried over from there.
        stuck = name not in before and old is not None and bool({*was.given} & now.failing)
        kept = Kept(given={s: set(p) for s, p in was.given.items() if s not in sources and doubtful(s)})
        for given_paths in kept.given.values():
            kept.values |= {p: was.values[p] for p in given_paths if p in was.values and not stuck}
        for source in sources:
            kept.given[source] = set(now.given(source))
        for source in sources:
            kept.values |= now.given(source)
        after[name] = Kept({p: v for p, v in kept.values.items() if v is not None}, kept.given)
    for name, kept in before.items():
        if name in making:
            continue
        moved = any(source in now.records for source in kept.given)
        held = bool({*kept.given} & now.failing)
        withheld = not moved and (bool(now.unproven) or bool({*kept.given} & now.not_read))
        if held or withheld:
            after[name] = kept
    return after


def kept_alone(after: Mapping[EntityKey, Kept], now: World) -> set[tuple[EntityKey, str]]:
    """The values of entities that are made which no record gives that is there."""
    made: dict[EntityKey, set[str]] = {}
    for source in now.records:
        made.setdefault(now.key(source), set()).update(now.given(source))
    return {(key, path) for key, given in made.items() for path in after[key].values if path not in given}


NONE: frozenset[str] = frozenset()
BESIDE_WHAT_WAS_HELD = [
    World({"services/b": "one", "schedules/b": "one"}, NONE, NONE, NONE, 1, "x-"),
    World({"services/b": "one", "policies/b": "one"}, frozenset(["schedules/b"]), NONE, NONE, 1, ""),
    World({"policies/b": "one"}, NONE, NONE, frozenset(["schedules/b"]), 1, ""),
]
"""An entity is held because one of its records fails, while its successor comes; then that record is not read."""


@settings(max_examples=120, deadline=None)
@given(st.lists(worlds(), min_size=2, max_size=4))
@example(BESIDE_WHAT_WAS_HELD)
def test_each_record_answers_for_what_it_gave(story: list[World]) -> None:
    """What is gone takes along what it alone gave; what cannot be known keeps it, which is told; the rest is as mapped.

    And once it is done there is nothing left to do.
    """
    port: dict[EntityKey, ExistingEntity] = {}
    owned, expected = Ledger("lineage", 1), dict[EntityKey, Kept]()
    for world in story:
        made = world.plan(port, owned)
        assert parse_plan(plan_document(made)) == made
        expected = afterwards(expected, world)
        assert {(told.key, path) for told in made.kept for path in told.paths} == kept_alone(expected, world)
        port, owned = do(made, port, owned)
        assert {k: {p: v for p, v in e.fields.items() if v is not None} for k, e in port.items()} == {
            k: kept.values for k, kept in expected.items()
        }
        assert {k: e.fields for k, e in owned.entities.items()} == {k: kept.values for k, kept in expected.items()}
        assert {k: sources_of(e) for k, e in owned.entities.items()} == {
            k: tuple(sorted(kept.given)) for k, kept in expected.items()
        }
        assert world.plan(port, owned).changes == ()


@settings(max_examples=40, deadline=None)
@given(worlds(), worlds())
def test_facts_are_completed_once(one: World, other: World) -> None:
    """What was completed is complete."""
    port, owned = do(one.plan({}, Ledger("lineage", 1)), {}, Ledger("lineage", 1))
    given = Facts(
        other.catalog,
        other.desired,
        Existing("org", "Org", {"service": SERVICE}, port),
        owned,
        unproven={RULES[kind]: "not whole" for kind in other.unproven},
        not_read=other.not_read,
    )
    completed = with_missing(given)
    assert with_missing(completed) is completed


# --- one by one --------------------------------------------------------------------------------------------------

OWN, POLICY = "services/P1", "policies/E1"
BOTH = entry(
    title="A",
    tier="1",
    icon="Alert",
    rules=(RULES["policies"], RULES["services"]),
    source=POLICY,
    portions=(
        Portion(POLICY, (RULES["policies"],), ("icon",)),
        Portion(OWN, (RULES["services"],), ("properties.tier", "title")),
    ),
)
OF_SERVICE = want("a", title="A", tier="1", source=OWN, rules=(RULES["services"],))
THERE = have(title="A", tier="1", icon="Alert")


def facts_of(*entities: DesiredEntity, last: LedgerEntry = BOTH, **more: Any) -> Facts:
    """A service in Port and in the ledger, made of two records; what is desired of it now."""
    rules = more.pop("rules", [rule(), rule(paths=("icon",), kind="policies", **more.pop("policies", {}))])
    return Facts(
        catalog([SERVICE], rules),
        desired(*entities, failed=more.pop("failed", {})),
        existing([SERVICE], {"a": THERE}),
        ledger({"a": last}, [SERVICE], expressions=expressions([rule(), rule(paths=("icon",), kind="policies")])),
        expressions=expressions(rules),
        tool="jq",
        **more,
    )


def test_what_a_record_gave_goes_with_it() -> None:
    """Named is the record that is gone, not the one that is there."""
    (change,) = plan(facts_of(OF_SERVICE)).changes
    assert (change.action, change.source, change.causes) == ("update", POLICY, ("source",))
    assert [(f.path, f.before, f.after) for f in change.fields] == [("icon", "Alert", None)]
    assert change.ledger is not None
    assert (change.ledger.source, change.ledger.portions) == (OWN, ())


DOUBTS: list[dict[str, Any]] = [
    {"failed": {POLICY: "selector: it is null"}},
    {"unproven": {RULES["policies"]: "policies: no permission"}},
    {"not_read": frozenset([POLICY])},
    {"missing": frozenset([POLICY])},
]


@pytest.mark.parametrize("doubt", DOUBTS, ids=lambda doubt: next(iter(doubt)))
def test_what_is_not_known_to_be_gone_stays(doubt: dict[str, Any]) -> None:
    """Nothing changes for what it gave, neither in Port nor in the ledger; what others give is kept up."""
    assert plan(facts_of(OF_SERVICE, **doubt)).changes == ()
    (change,) = plan(facts_of(replace(OF_SERVICE, fields={"title": "B", "properties.tier": "1"}), **doubt)).changes
    assert [(f.path, f.after) for f in change.fields] == [("title", "B")]
    assert change.source == OWN
    assert change.ledger == replace(BOTH, fields={**BOTH.fields, "title": "B"})


@pytest.mark.parametrize("doubt", DOUBTS, ids=lambda doubt: next(iter(doubt)))
def test_an_entity_goes_with_the_last_of_its_records(doubt: dict[str, Any]) -> None:
    """While one of them is not known to be gone, it stays."""
    assert [c.action for c in plan(facts_of()).changes] == ["delete"]
    assert plan(facts_of(**doubt)).changes == ()


def test_a_path_that_left_the_mapping_goes_though_its_record_failed() -> None:
    """That is known of it all the same."""
    made = plan(facts_of(OF_SERVICE, rules=[rule(), rule(paths=("team",), kind="policies")], failed={POLICY: "broken"}))
    (change,) = made.changes
    assert [(f.path, f.after, f.cause) for f in change.fields] == [("icon", None, "catalog")]


def test_a_record_in_the_place_of_another_is_not_waited_for() -> None:
    """Of one mapping one record makes an entity: who is on call now, and who was before."""
    of_policy = want("a", icon="Alert", source="policies/E2", rules=(RULES["policies"],))
    claims = Claims()
    for each in (OF_SERVICE, of_policy):
        claims.add(each)
    made = plan(facts_of(*claims.joined()[0].values(), unproven={RULES["policies"]: "not whole"}))
    (change,) = made.changes
    assert change.ledger is not None
    assert (change.action, sources_of(change.ledger)) == ("adopt", ("policies/E2", OWN))


def test_the_record_of_before_is_waited_for_where_another_makes_the_entity() -> None:
    """Also where it was the only one: its values stay until it is known to be gone."""
    of_policy = want("a", icon="Alert", source=POLICY, rules=(RULES["policies"],))
    alone = entry(title="A", tier="1", source=OWN, rules=(RULES["services"],))
    held = plan(facts_of(of_policy, last=alone, failed={OWN: "broken"}))
    assert [(c.action, c.ledger and sources_of(c.ledger)) for c in held.changes] == [("adopt", (POLICY, OWN))]
    (change,) = plan(facts_of(of_policy, last=alone)).changes
    assert [(f.path, f.after) for f in change.fields] == [("properties.tier", None), ("title", None)]


def test_what_an_entity_is_kept_for_by_its_age_counts_for_each_record() -> None:
    """An incident that only left its list still gives what it gave."""
    incident = rule(paths=("properties.url",), kind="incidents", lifecycle=Lifecycle(retention=timedelta(days=900)))
    incident = replace(
        incident,
        fields={"properties.url": Expression(".created_at", HERE)},
        query=Query("incidents", (("since", "-30d"),)),
    )
    last = replace(
        BOTH,
        fields={"title": "A", "properties.tier": "1", "properties.url": "2026-01-01T00:00:00Z"},
        rules=(incident.id, RULES["services"]),
        source="incidents/I1",
        portions=(Portion("incidents/I1", (incident.id,), ("properties.url",)), BOTH.portions[1]),
    )
    given = facts_of(OF_SERVICE, last=last, rules=[rule(), incident], taken_at="2026-06-01T12:00:00Z")
    there = have(title="A", tier="1", url="2026-01-01T00:00:00Z")
    given = replace(given, existing=existing([SERVICE], {"a": there}))
    assert plan(given).changes == ()


def test_renamed_paths_stay_those_of_their_record() -> None:
    """A property that has a new name is still given by the record that gave it."""
    assert under_names(BOTH.portions, {"properties.tier": "properties.level"})[1].paths == ("properties.level", "title")
