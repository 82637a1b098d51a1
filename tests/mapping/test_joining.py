"""What several rules give of one entity, put together: by brute force over random claims, and what is said of clashes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hypothesis import given, settings
from hypothesis import strategies as st

from pdsync.jq.joining import Claims
from pdsync.mapping import map_entities
from pdsync.model import DesiredEntity, EntityKey, Portion, Query
from tests.mapping.builders import FILE, record, rule, snapshot_of

if TYPE_CHECKING:
    import random

    from pdsync.model import DesiredEntities

KEY = EntityKey("service", "a")
RULES = ("r0", "r1", "r2")
PATHS = ("title", "icon", "properties.x", "properties.y")
VALUES = st.sampled_from([None, True, 1, "one"])
SERVICES, POLICIES = f"{FILE}#services[0]", f"{FILE}#escalation_policies[1]"


@st.composite
def claims(draw: st.DrawFn) -> list[DesiredEntity]:
    """Up to three rules, each giving one entity of some records; mostly they do not speak of the same paths."""
    made = []
    for name in draw(st.lists(st.sampled_from(RULES), unique=True, min_size=1)):
        paths = draw(st.lists(st.sampled_from(PATHS), unique=True, min_size=1, max_size=2))
        for source in draw(st.lists(st.sampled_from(["s/1", "s/2", "t/1"]), min_size=1, max_size=2)):
            values = {path: draw(VALUES) for path in paths}
            unknown = dict.fromkeys(draw(st.lists(st.sampled_from(paths), max_size=1)), "quota")
            known = {path: value for path, value in values.items() if path not in unknown}
            made.append(DesiredEntity(KEY, known, (name,), source, unknown))
    return made


def told(*made: DesiredEntity) -> tuple[dict[EntityKey, DesiredEntity], dict[EntityKey, str]]:
    gathered = Claims()
    for each in made:
        gathered.add(each)
    entities, clashes = gathered.joined()
    return entities, {key: clash.reason for key, clash in clashes.items()}


def alike(one: Any, other: Any) -> bool:
    return (type(one), one) == (type(other), other)


@settings(max_examples=150, deadline=None)
@given(claims())
def test_all_of_it_or_nothing(made: list[DesiredEntity]) -> None:
    """An entity has every value that any rule gives, and comes to be unless something is said in two ways."""
    entities, held = told(*made)
    said = [(each.rules[0], path, value) for each in made for path, value in each.fields.items()]
    twice = any(
        one.rules == other.rules
        and (
            one.unknown.keys() != other.unknown.keys()
            or any(not alike(one.fields[path], other.fields[path]) for path in one.fields)
        )
        for one in made
        for other in made
    )
    contradicted = any(path == other and not alike(v, w) for _, path, v in said for _, other, w in said)
    assert (KEY in held) == (twice or contradicted)
    assert (KEY in held) != (KEY in entities)
    if KEY in entities:
        entity = entities[KEY]
        unknown = {path for each in made for path in each.unknown}
        assert entity.unknown.keys() == unknown
        assert entity.fields == {path: value for _, path, value in said if path not in unknown}
        assert set(entity.rules) == {each.rules[0] for each in made}
        assert len(entity.rules) == len(set(entity.rules))


@settings(max_examples=100, deadline=None)
@given(claims(), st.randoms(use_true_random=False))
def test_the_order_of_mappings_does_not_show(made: list[DesiredEntity], order: random.Random) -> None:
    """Which records make an entity, by which rules, and what of it, is told alike in whatever order they come."""
    first = {each.rules[0]: each for each in reversed(made)}
    one, other = list(first.values()), list(first.values())
    order.shuffle(other)
    (entities, held), (again, held_again) = told(*one), told(*other)
    assert held.keys() == held_again.keys()
    for key, entity in entities.items():
        portions = {portion.source: (set(portion.rules), portion.paths) for portion in entity.portions}
        assert portions == {portion.source: (set(portion.rules), portion.paths) for portion in again[key].portions}
        assert (entity.source, entity.fields) == (again[key].source, again[key].fields)
        if entity.portions:
            assert list(portions) == sorted({each.source for each in one})
            assert set(entity.rules) == {each.rules[0] for each in one}


def both(one: dict[str, str], other: dict[str, str]) -> DesiredEntities:
    """A service by its own mapping and by that of escalation policies, whose record names it."""
    rules = [rule(one), rule(other, kind="escalation_policies", number=1, identifier=".service")]
    world = {
        Query("services"): [record({"id": "a", "t": "T"}, name="P1")],
        Query("escalation_policies"): [record({"service": "a", "t": "T", "e": "E"}, name="E1")],
    }
    return map_entities(rules, snapshot_of(world))


def test_records_of_different_mappings_are_one_entity() -> None:
    """With what each of them gave; a value that both give is of both."""
    [entity] = both({"title": ".t"}, {"title": ".t", "properties.policy": ".e"}).entities.values()
    assert entity.fields == {"title": "T", "properties.policy": "E"}
    assert entity.portions == (
        Portion("escalation_policies/E1", (POLICIES,), ("properties.policy", "title")),
        Portion("services/P1", (SERVICES,), ("title",)),
    )
    assert (entity.source, entity.rules) == ("escalation_policies/E1", (POLICIES, SERVICES))


def test_what_records_disagree_about_is_named_with_both_and_both_places() -> None:
    """The path, each value with its record, and the lines of both mappings."""
    desired = both({"title": ".t", "icon": ".t"}, {"title": ".e"})
    assert desired.held == {KEY: "its mappings disagree about title"}
    assert desired.failed == dict.fromkeys(
        ["escalation_policies/E1", "services/P1"], "it claims service/a, as others do"
    )
    [problem] = desired.diagnostics
    assert (problem.code, problem.records) == ("PD251", ("services/P1", "escalation_policies/E1"))
    assert '"T" of services/P1 or "E" of escalation_policies/E1' in problem.detail
    assert (problem.origin is not None, len(problem.related)) == (True, 1)


def test_what_one_mapping_gives_twice_is_no_identifier() -> None:
    """Named are the records of that mapping alone, though another one writes the entity as well."""
    rules = [rule({"title": ".t"}), rule({"icon": ".e"}, kind="users", number=1, identifier=".service")]
    world = {
        Query("services"): [record({"id": "a", "t": "T"}, name="P1")],
        Query("users"): [record({"service": "a", "e": e}, name=f"U{e}") for e in "12"],
    }
    desired = map_entities(rules, snapshot_of(world))
    assert desired.held == {KEY: "claimed by users/U1, users/U2"}
    [problem] = desired.diagnostics
    assert (problem.code, problem.records, problem.related) == ("PD250", ("users/U1", "users/U2"), ())
    assert "different icon" in problem.detail
