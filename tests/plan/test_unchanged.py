"""What was found to need nothing saves the reading of it, and changes no plan."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pdsync.model import (
    DesiredEntities,
    DesiredEntity,
    EntityKey,
    ExistingEntity,
    Ledger,
    LedgerEntry,
    Lifecycle,
    unread,
)
from pdsync.plan.document import plan_document
from pdsync.plan.unchanged import VERSION, Unchanged, circumstances, dump_unchanged, parse_unchanged
from tests.builders import plan
from tests.drawing import among, several
from tests.plan.test_laws import PATHS, catalogs, do, facts, fields_of, ports

if TYPE_CHECKING:
    from pdsync.model import Catalog, Fields
    from pdsync.plan import Facts
    from pdsync.plan.unchanged import Remembered

World = tuple[DesiredEntities, dict[EntityKey, ExistingEntity], Ledger]


def _packed(fields: Fields, *more: str) -> bytes:
    return orjson.dumps([fields, *more], option=orjson.OPT_SORT_KEYS)


def _read(data: bytes) -> Fields:
    fields: Fields = orjson.loads(data)[0]
    return fields


def _as_bytes(told: Facts) -> Facts:
    """The same facts, with every side as bytes that nobody has read yet."""
    desired = {
        key: want
        if want.unknown
        else unread(DesiredEntity(key, {}, want.rules, want.source), _read, _packed(want.fields, *key))
        for key, want in told.desired.entities.items()
    }
    held = {
        key: unread(ExistingEntity({}), _read, _packed(dict(e.fields))) for key, e in told.existing.entities.items()
    }
    owned = {key: unread(replace(e), _read, _packed(dict(e.fields))) for key, e in told.ledger.entities.items()}
    return replace(
        told,
        desired=replace(told.desired, entities=desired),
        existing=replace(told.existing, entities=held),
        ledger=replace(told.ledger, entities=owned),
    )


def _with(told: Facts, remembered: Remembered, edition: str = "1") -> Facts:
    packed, certain = _as_bytes(told), circumstances(told, edition)
    return packed if certain is None else replace(packed, unchanged=Unchanged.recalled(packed, remembered, certain))


def _learnt(told: Facts) -> Remembered:
    """What a plan finds to need nothing, as the next run has it."""
    compared = _with(told, {})
    plan(compared)
    return parse_unchanged(dump_unchanged(compared.unchanged.kept))


_NAMES = [EntityKey(name, identifier) for name in PATHS for identifier in "abc"]


@st.composite
def _plain(draw: st.DrawFn) -> Catalog:
    """A catalog of which most rules leave nothing alone, so that much is known for certain."""
    of = draw(catalogs())
    rules = [replace(r, merge=True, lifecycle=Lifecycle()) if draw(_MOSTLY) else r for r in of.rules]
    return replace(of, rules=tuple(rules))


@st.composite
def _desired(draw: st.DrawFn, of: Catalog, key: EntityKey) -> DesiredEntity:
    made_by = next(r for r in of.rules if r.kind == f"{key.blueprint}s")
    fields = fields_of(draw, key.blueprint, made_by.fields)
    if key.blueprint == "incident":
        fields["relations.service"] = draw(among("a", "b", "c"))
    return DesiredEntity(key, fields, (made_by.id,), f"{key.blueprint}s/{key.identifier}")


@st.composite
def _settled(draw: st.DrawFn) -> tuple[Catalog, World]:
    """A catalog, and a world to which it was applied."""
    of = draw(_plain())
    world = DesiredEntities({key: draw(_desired(of, key)) for key in sorted(_NAMES)})
    port, owned = draw(ports()), Ledger("lineage", 1)
    return of, (world, *do(plan(facts(of, world, port, owned)), port, owned))


_MOSTLY = st.integers(0, 4)
_CASES = st.integers(0, 6)


@st.composite
def _later(draw: st.DrawFn, of: Catalog, before: World) -> World:
    """The same world with something else in PagerDuty, in Port or in the ledger, for some entities."""
    world, port, owned = before
    entities, port, entries = dict(world.entities), dict(port), dict(owned.entities)
    for key in draw(several(*_NAMES, most=4, unique=True)):
        entry, have = entries.get(key), port.get(key)
        match draw(_CASES):
            case 0:
                entities[key] = draw(_desired(of, key))
            case 1:
                del entities[key]
            case 2 if have:
                port[key] = ExistingEntity({**have.fields, **fields_of(draw, key.blueprint, PATHS[key.blueprint])})
            case 3:
                port.pop(key, None)
            case 4:
                entries.pop(key, None)
            case 5 if entry:
                entries[key] = replace(entry, fields=fields_of(draw, key.blueprint, entry.fields))
            case 6 if entry:
                entries[key] = replace(entry, protect=not entry.protect, on_remove="delete")
    return replace(world, entities=entities), port, replace(owned, entities=entries)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_the_same_plan_with_and_without(data: st.DataObject) -> None:
    """Whatever is remembered, of whichever world and catalog, a plan is the very one that compares everything."""
    of, before = data.draw(_settled())
    remembered = _learnt(facts(of, *before))
    now = data.draw(st.just(of) | _plain())
    told = facts(now, *data.draw(_later(of, before) | st.just(before)))
    expected = plan_document(plan(told))
    known = _with(told, remembered)
    assert plan_document(plan(known)) == expected
    kept = parse_unchanged(dump_unchanged(known.unchanged.kept))
    assert plan_document(plan(_with(told, kept))) == expected


def _nobody_reads(_: bytes) -> Fields:
    pytest.fail("an entity was read that has not changed")


@settings(max_examples=20, deadline=None)
@given(_settled())
def test_what_is_known_is_not_read(settled: tuple[Catalog, World]) -> None:
    """Of an entity that has not changed, no side is read to know it again."""
    of, world = settled
    told = facts(of, *world)
    remembered = _learnt(told)
    known = _with(told, remembered)
    found = known.unchanged.among(known)
    assert len(found) == len(remembered)
    for key in found:
        for side in (known.desired.entities[key], known.existing.entities[key], known.ledger.entities[key]):
            assert side.packed
            side.packed = _nobody_reads, *side.packed[1:]
    assert plan_document(plan(known)) == plan_document(plan(told))


def _one() -> tuple[Catalog, Facts]:
    from tests.builders import catalog, rule
    from tests.plan.test_laws import ALL

    of = catalog(ALL, [rule("service", ("title",), kind="services")])
    key = EntityKey("service", "a")
    want = DesiredEntity(key, {"title": "A"}, (of.rules[0].id,), "services/a")
    owned = Ledger("lineage", 1, entities={key: LedgerEntry({"title": "A"}, "created", want.rules, want.source)})
    return of, facts(of, DesiredEntities({key: want}), {key: ExistingEntity({"title": "A"})}, owned)


def test_other_circumstances_find_nothing() -> None:
    """Another organisation, policy, mapping, blueprint in Port or pdsync is another digest."""
    of, told = _one()
    remembered = _learnt(told)
    assert len(_with(told, remembered).unchanged.known) == 1
    service = told.existing.blueprints["service"]
    properties = {**service.properties, "tier": {"type": "number"}}
    other = replace(service, definition={**service.definition, "schema": {"properties": properties}})
    blueprints = {**told.existing.blueprints, "service": other}
    others = [
        replace(told, existing=replace(told.existing, org_id="another")),
        replace(
            told, catalog=replace(of, project=replace(of.project, policy=replace(of.project.policy, protect=("x",))))
        ),
        replace(told, catalog=replace(of, rules=(replace(of.rules[0], merge=False),))),
        replace(told, catalog=replace(of, blueprints={}), existing=replace(told.existing, blueprints=blueprints)),
    ]
    assert [len(_with(each, remembered).unchanged.known) for each in others] == [0, 0, 0, 0]
    assert not _with(told, remembered, edition="2").unchanged.known


def test_what_says_nothing_of_an_entity_does_not_matter() -> None:
    """Another rule, or an expression that gives the same: a branch finds what its base has compared."""
    from tests.builders import rule

    of, told = _one()
    remembered = _learnt(told)
    moved = replace(
        of.rules[0], origin=replace(of.rules[0].origin, line=7), fields={"title": rule("x", ("y",)).selector}
    )
    others = [(*of.rules, rule("incident", ("title",), kind="incidents")), (moved,)]
    for rules in others:
        assert len(_with(replace(told, catalog=replace(of, rules=rules)), remembered).unchanged.known) == 1


def test_it_speaks_only_of_the_facts_it_was_made_for() -> None:
    """Of the same facts with another side, nothing is known: also where the entities are equal."""
    of, told = _one()
    known = _with(told, _learnt(told))
    again = replace(known, desired=replace(known.desired, entities=dict(known.desired.entities)))
    assert (len(known.unchanged.among(known)), len(known.unchanged.among(again))) == (1, 0)
    assert not known.unchanged.among(replace(known, catalog=replace(of, tree="another")))


def test_a_blueprint_that_is_to_change_leaves_it_open() -> None:
    """Values may move or go with it: then everything is compared."""
    of, told = _one()
    assert circumstances(replace(told, catalog=replace(of, blueprints={})), "1") is not None
    held = {name: each for name, each in told.existing.blueprints.items() if name != "team"}
    assert circumstances(replace(told, existing=replace(told.existing, blueprints=held)), "1") is None


def test_a_file_that_is_not_whole_is_empty() -> None:
    """Cut, edited, foreign or of another version: nothing is remembered."""
    remembered: Remembered = {"ab" * 16: (("relations.team", EntityKey("team", "a")),), "cd" * 16: ()}
    sound = dump_unchanged(remembered)
    assert parse_unchanged(sound) == remembered
    assert dump_unchanged(dict(reversed(remembered.items()))) == sound
    others = [
        b"",
        b"\n",
        b"\0\xff",
        sound[:-1],
        sound.replace(b"abab", b"abac"),
        sound.replace(b'"version":%d' % VERSION, b'"version":%d' % (VERSION + 1)),
    ]
    assert [parse_unchanged(other) for other in others] == [{}] * len(others)
