"""The laws of planning, over random worlds, catalogs and failures.

Applying is done here by a model of Port in ten lines: what a plan says is written, in its order, except where a write is
made to fail.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from itertools import cycle
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from hypothesis import example, given, settings
from hypothesis import strategies as st

from pdsync.commands import emptied, expressions
from pdsync.leftalone import place_of
from pdsync.model import (
    DesiredEntities,
    DesiredEntity,
    EntityKey,
    Existing,
    ExistingEntity,
    Ledger,
    Lifecycle,
    Plan,
    Surroundings,
)
from pdsync.normal import same
from pdsync.plan import Facts
from pdsync.plan.alone import LeftAlone
from pdsync.plan.decide import matches
from pdsync.plan.document import parse_plan, plan_document
from pdsync.plan.entities import EntityDecisions
from pdsync.plan.order import relation_targets
from pdsync.plan.rename import FOLLOWS, successors
from pdsync.state.runs import after_run
from tests import builders
from tests.builders import blueprint, catalog, entry, have, ledger, plan, relation, rule, want
from tests.drawing import among, several, some

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Collection, Mapping

    from pdsync.model import Blueprint, Catalog, Fields, LedgerEntry, OutcomeStatus


def with_object(of: Blueprint) -> Blueprint:
    """The blueprint with a property `meta`, which is an object."""
    schema = of.definition["schema"]
    properties = {**schema["properties"], "meta": {"type": "object"}}
    return replace(of, definition={**of.definition, "schema": {**schema, "properties": properties}})


TEAM = blueprint("team")
SERVICE = with_object(
    blueprint("service", team=relation("team"), next=relation("service"), users=relation("team", many=True))
)
INCIDENT = blueprint("incident", service=relation("service", required=True))
ALL = (TEAM, SERVICE, INCIDENT)
BY_NAME = {of.identifier: of for of in ALL}
PATHS = {
    "team": ("title", "properties.tier"),
    "service": (
        "title",
        "properties.tier",
        "properties.tags",
        "properties.meta",
        "relations.team",
        "relations.next",
        "relations.users",
    ),
    "incident": ("properties.url", "properties.size", "relations.service"),
}
IDS = st.sampled_from("abcde")
TARGETS = st.sampled_from("abcdeABC")
INTEGRATION = "ab"
"""What Port's own integration wrote has such an identifier."""
KEYS = st.builds(EntityKey, st.sampled_from(sorted(PATHS)), IDS)


@cache
def value_of(path: str) -> st.SearchStrategy[Any]:
    if path == "relations.users":
        return st.none() | st.lists(TARGETS, unique=True, max_size=3)
    if path.startswith("relations."):
        return st.none() | TARGETS
    if path == "properties.size":
        return st.none() | st.integers(0, 3)
    if path == "properties.meta":
        owner = st.fixed_dictionaries({}, optional={"name": st.integers(0, 1), "id": st.integers(0, 1)})
        return st.none() | st.fixed_dictionaries({}, optional={"tier": st.integers(0, 1), "owner": owner})
    if path == "properties.tags":
        return st.none() | st.lists(st.sampled_from("xyz"), max_size=2)
    return st.none() | st.sampled_from(["one", "two", "`three`"])


def fields_of(draw: st.DrawFn, name: str, mapped: Collection[str]) -> Fields:
    """Any values at the mapped paths of a blueprint."""
    required = "relations.service" if name == "incident" else ""
    return {path: draw(TARGETS if path == required else value_of(path)) for path in mapped}


@st.composite
def catalogs(draw: st.DrawFn) -> Catalog:
    """One rule a blueprint, each mapping some of the paths (an incident always its service)."""
    rules = []
    for name, paths in PATHS.items():
        mapped = draw(several(*paths, least=1, unique=True))
        mapped += ["relations.service"] if name == "incident" and "relations.service" not in mapped else []
        merge = draw(st.booleans()) if name == "team" else True
        rules.append(rule(name, mapped, kind=f"{name}s", merge=merge, lifecycle=draw(lifecycles(name))))
    return catalog(ALL, rules, protect=tuple(draw(PROTECTED)))


PROTECTED = st.lists(KEYS.map(str), max_size=1)


@cache
def lifecycles(name: str) -> st.SearchStrategy[Lifecycle]:
    """Any end, and some paths left alone (never a required relation: without it Port takes no entity)."""
    paths = [path for path in PATHS[name] if name != "incident" or path != "relations.service"]
    paths += ["properties.meta.owner.name", "properties.meta.owner", "properties.*.*"] if name == "service" else []
    return st.builds(
        Lifecycle,
        st.sampled_from([None, "delete", "release", "forget"]),
        st.lists(st.sampled_from(paths), max_size=1).map(tuple),
    )


RECORDS = st.lists(KEYS, unique=True, max_size=8)
HELD = st.lists(KEYS, unique=True, max_size=6)


@st.composite
def worlds(draw: st.DrawFn, of: Catalog) -> DesiredEntities:
    """What a snapshot maps to under a catalog; some fields cannot be found out, some records fail.

    A record that is called `a` may have the identifier `a` or `A`, so that from one world to the next some are renamed.
    """
    entities: dict[EntityKey, DesiredEntity] = {}
    for record in draw(RECORDS):
        made_by = next(r for r in of.rules if r.kind == f"{record.blueprint}s")
        key = record._replace(identifier=draw(among(record.identifier, record.identifier.upper())))
        fields = fields_of(draw, key.blueprint, made_by.fields)
        unknown = set(draw(several(*sorted(fields), most=1))) - {"relations.service"}
        known = {p: v for p, v in fields.items() if p not in unknown}
        entities[key] = DesiredEntity(
            key, known, (made_by.id,), f"{key.blueprint}s/{record.identifier}", dict.fromkeys(unknown, "quota")
        )
    mapped = {EntityKey(key.blueprint, key.identifier.lower()) for key in entities}
    rest = sorted({EntityKey(n, i) for n in PATHS for i in "abcde"} - mapped)
    failed = some(draw, rest, 2)
    return DesiredEntities(entities, failed={f"{k.blueprint}s/{k.identifier}": "broken" for k in failed})


@st.composite
def ports(draw: st.DrawFn) -> dict[EntityKey, ExistingEntity]:
    """What Port holds before we ever came: whole entities whose required relations hold."""
    entities = {}
    for key in draw(HELD):
        entities[key] = ExistingEntity(fields_of(draw, key.blueprint, PATHS[key.blueprint]))
    return entities


def facts(of: Catalog, world: DesiredEntities, port: dict[EntityKey, ExistingEntity], owned: Ledger) -> Facts:
    held = Existing("org", "Org", {b.identifier: b for b in ALL}, port)
    around = Surroundings(frozenset(key for key in port if key.identifier in INTEGRATION))
    return Facts(of, world, held, owned, expressions=expressions(of.rules), tool="jq", around=around)


def do(
    made: Plan,
    port: dict[EntityKey, ExistingEntity],
    owned: Ledger,
    failing: Collection[int] = (),
    blueprints: Mapping[str, Blueprint] = BY_NAME,
) -> tuple[dict[EntityKey, ExistingEntity], Ledger]:
    """Port and ledger after an apply in which the changes of these numbers fail."""
    port = dict(port)
    statuses: dict[int, OutcomeStatus] = {}
    for change in made.changes:
        blocked = change.n in failing or any(statuses[n] != "done" for n in change.after)
        statuses[change.n] = "failed" if blocked else "done"
        if blocked or change.target == "blueprint":
            continue
        if change.action == "delete":
            del port[change.key]
            port = {k: without_target(k, entity, change.key, blueprints) for k, entity in port.items()}
        elif change.action in ("create", "update", "release"):
            before = port[change.key].fields if change.key in port else {}
            port[change.key] = ExistingEntity({**before, **{f.path: f.after for f in change.fields}})
    return port, after_run(owned, made, statuses)


def without_target(
    key: EntityKey, entity: ExistingEntity, gone: EntityKey, blueprints: Mapping[str, Blueprint]
) -> ExistingEntity:
    """As Port leaves what pointed at a deleted entity; it refuses to delete what others require."""
    fields = dict(entity.fields)
    for name, of in blueprints[key.blueprint].relations.items():
        value = fields.get(f"relations.{name}")
        if of["target"] == gone.blueprint and value and gone.identifier in value:
            assert not of["required"], f"{key} requires {gone}, which is deleted"
            fields[f"relations.{name}"] = [i for i in value if i != gone.identifier] if of["many"] else None
    return ExistingEntity(fields)


@st.composite
def histories(draw: st.DrawFn) -> tuple[Catalog, DesiredEntities, dict[EntityKey, ExistingEntity], Ledger]:
    """A catalog, a world, a Port and a ledger as an earlier apply of another catalog and world left them."""
    first = draw(catalogs())
    port = draw(ports())
    owned = Ledger("lineage", 1)
    made = plan(facts(first, draw(worlds(first)), port, owned))
    port, owned = do(made, port, owned)
    for key in some(draw, sorted(port), 2):
        edited = fields_of(draw, key.blueprint, PATHS[key.blueprint])
        port[key] = ExistingEntity({**port[key].fields, **edited})
    second = draw(catalogs())
    return second, draw(worlds(second)), port, owned


@settings(max_examples=60, deadline=None)
@given(histories())
def test_apply_then_plan_is_empty(
    history: tuple[Catalog, DesiredEntities, dict[EntityKey, ExistingEntity], Ledger],
) -> None:
    """Once a plan is applied there is nothing left to do."""
    of, world, port, owned = history
    made = plan(facts(of, world, port, owned))
    port, owned = do(made, port, owned)
    assert plan(facts(of, world, port, owned)).changes == ()


def history_of(
    wanted: Collection[DesiredEntity], port: Mapping[str, ExistingEntity], last: Mapping[str, LedgerEntry], **more: Any
) -> tuple[Catalog, DesiredEntities, dict[EntityKey, ExistingEntity], Ledger]:
    """A history written out: rules that map the title of every blueprint, now as before."""
    rules = [rule(name, ("title",), kind=f"{name}s", **more.get(name, {})) for name in PATHS]
    world = DesiredEntities({entity.key: entity for entity in wanted})
    owned = ledger(last, ALL, expressions=expressions(rules))
    return catalog(ALL, rules), world, {builders.key(k): entity for k, entity in port.items()}, owned


NOT_MAPPED_AND_LEFT_ALONE = history_of(
    [want("B", source="services/b")],
    {"b": have(tier="two")},
    {"b": entry(tier="two", source="services/b")},
    service={"lifecycle": Lifecycle(ignore_changes=("properties.tier",))},
)
"""What left the mapping, and is left alone, is with the new one too."""

PROTECTED_AND_NOT_LISTED = history_of(
    [want("D", "team", source="teams/d", rules=("mappings/test.yaml#teams[0]",))],
    {"b": have(to_users=["d"]), "team/d": have()},
    {
        "b": entry(to_users=["d"], source="services/b", protect=True),
        "team/d": entry(source="teams/d", rules=("mappings/test.yaml#teams[0]",)),
    },
)
"""What is only withheld from being deleted stays, and points at what comes."""

THERE_ALREADY = history_of(
    [
        want("c", source="services/c"),
        want("A", "incident", to_service="b", source="incidents/a", rules=("mappings/test.yaml#incidents[0]",)),
    ],
    {"b": have(to_next="C"), "C": have(), "c": have(tier="one")},
    {"b": entry(to_next="C", source="services/b", protect=True), "C": entry(source="services/c")},
)
"""The new one is there before."""


@settings(max_examples=60, deadline=None)
@given(histories())
@example(NOT_MAPPED_AND_LEFT_ALONE)
@example(PROTECTED_AND_NOT_LISTED)
@example(THERE_ALREADY)
def test_a_rename_loses_nothing(
    history: tuple[Catalog, DesiredEntities, dict[EntityKey, ExistingEntity], Ledger],
) -> None:
    """What others set on the old entity is with the new one, and what is not known now; the old one goes last of all.

    What is ours and pointed at the old one, though its record is not listed at the moment, points at the new one.
    """
    of, world, port, owned = history
    made = plan(facts(of, world, port, owned))
    after, _ = do(made, port, owned)
    changes = {change.n: change for change in made.changes}
    assert (made.summary.rename, made.summary.create + made.summary.rename) == (
        len(made.renames),
        sum(c.action == "create" for c in made.changes),
    )
    for old, new in {changes[go].key: changes[come].key for come, go in made.renames.items()}.items():
        assert (old in after, new in after) == (False, True)
        wanted = world.entities[new]
        alone = {path for r in of.rules if r.id in wanted.rules for path in r.lifecycle.ignore_changes}
        for path, value in port[old].fields.items():
            theirs = path not in wanted.fields and path not in owned.entities[old].fields
            kept = value is not None and (theirs or path in alone or path in wanted.unknown)
            # A mapping that replaces whole entities speaks of every property.
            if kept and not path.startswith("relations.") and old.blueprint != "team":
                assert same(after[new].fields.get(path), value)
            elif path in wanted.fields and path not in wanted.unknown and path == "properties.meta":
                now = LeftAlone(of.rules).inside(wanted.rules, path, wanted.fields[path], value).value
                assert after[new].fields.get(path) == now
    assert all(come in changes[go].after for come, go in made.renames.items())
    # A successor may also be there already, and what was renamed may be kept from going.
    asked = {c.key for c in made.changes if c.target == "entity"} | {w.key for w in made.withheld}
    moved = {old: new for old, new in successors(facts(of, world, port, owned)).items() if old in asked}
    touched = {c.key for c in made.changes if c.reason != "follows"} | world.entities.keys()
    mapped = {(r.kind.removesuffix("s"), path) for r in of.rules for path in r.fields}
    for key in owned.entities.keys() & port.keys() & after.keys() - touched:
        # What left the mapping goes from a bare entity, too, that has to follow.
        for path in {path for name, path in mapped if name == key.blueprint} & owned.entities[key].fields.keys():
            if path.startswith("relations.") and port[key].fields.get(path) != after[key].fields.get(path):
                was, now = (targets(path, e[key].fields.get(path), BY_NAME[key.blueprint]) for e in (port, after))
                gone = {target for target in was if target in port and target not in after}
                assert now == {moved.get(target, target) for target in was if target in moved or target not in gone}


@settings(max_examples=40, deadline=None)
@given(histories())
def test_what_a_relation_needed_goes_only_when_nothing_of_ours_points_at_it(
    history: tuple[Catalog, DesiredEntities, dict[EntityKey, ExistingEntity], Ledger],
) -> None:
    """Whatever else stays ours as it is - held, failed, unknown, protected, withheld - keeps its relation."""
    _, _, port, owned = history
    made = plan(facts(*history))
    gone = {c.key for c in made.changes if c.action == "delete" and not owned.entities[c.key].source}
    written = {(c.key, field.path) for c in made.changes if c.action != "delete" for field in c.fields}
    left = {c.key for c in made.changes if c.action in ("delete", "release", "forget")}
    for key in port.keys() & owned.entities.keys() - left:
        pointing = {
            path for path, target in relation_targets(port[key].fields, BY_NAME[key.blueprint]) if target in gone
        }
        assert {(key, path) for path in pointing} <= written


@settings(max_examples=40, deadline=None)
@given(histories(), st.sampled_from(["service", "team/*", "*/[abAB]"]))
def test_a_limited_plan_speaks_of_nothing_else(
    history: tuple[Catalog, DesiredEntities, dict[EntityKey, ExistingEntity], Ledger], glob: str
) -> None:
    """Neither changes, withheld or held entities nor the counts; what is in scope and what is not are all there is.

    But for what has to follow a rename: left alone, it would lose its relation.
    """
    given = facts(*history)
    inside, outside, whole = plan(given, only=(glob,)), plan(given, exclude=(glob,)), plan(given)
    for limited, expected in ((inside, True), (outside, False)):
        named = {
            *(c.key for c in limited.changes if c.reason != FOLLOWS),
            *(w.key for w in limited.withheld),
            *(h.key for h in limited.held),
        }
        assert {matches(key, [glob]) for key in named} <= {expected}
    for count in ("unchanged", "foreign", "retained"):
        assert sum(getattr(part.summary, count) for part in (inside, outside)) == getattr(whole.summary, count)


@settings(max_examples=60, deadline=None)
@given(histories())
def test_what_is_not_ours_never_changes(
    history: tuple[Catalog, DesiredEntities, dict[EntityKey, ExistingEntity], Ledger],
) -> None:
    """A foreign entity stays as it is, and so does every property that neither is nor was mapped.

    But for relations to what this plan deletes: those Port empties by itself, and nobody may keep it from that.
    """
    of, world, port, owned = history
    made = plan(facts(of, world, port, owned))
    after, _ = do(made, port, owned)
    mapped = {r.kind.removesuffix("s"): set(r.fields) for r in of.rules}
    replaced = {r.kind.removesuffix("s") for r in of.rules if not r.merge}
    for key, entity in port.items():
        if key not in world.entities and key not in owned.entities and not _stub(made, key):
            assert _pointing(entity, key, after) == _pointing(after[key], key, after)
        elif key in after and key.blueprint not in replaced:
            ours = mapped[key.blueprint] | set(owned.entities[key].fields if key in owned.entities else ())
            assert _pointing(_without(entity, ours), key, after) == _pointing(_without(after[key], ours), key, after)


@settings(max_examples=60, deadline=None)
@given(histories())
def test_what_is_protected_is_neither_deleted_nor_released(
    history: tuple[Catalog, DesiredEntities, dict[EntityKey, ExistingEntity], Ledger],
) -> None:
    """By the policy of now, or by that of any earlier apply, which the ledger remembers."""
    of, world, port, owned = history
    made = plan(facts(of, world, port, owned))
    kept = {key for key, last in owned.entities.items() if last.protect} | {
        key for key in port if str(key) in of.project.policy.protect
    }
    assert {c.key for c in made.changes if c.action in ("delete", "release")}.isdisjoint(kept)
    after, left = do(made, port, owned)
    assert kept & port.keys() <= after.keys()
    assert all(left.entities[key].protect for key in kept & left.entities.keys() & world.entities.keys())


@settings(max_examples=60, deadline=None)
@given(histories())
def test_what_is_left_alone_is_never_written_again(
    history: tuple[Catalog, DesiredEntities, dict[EntityKey, ExistingEntity], Ledger],
) -> None:
    """Of an entity that exists, a path in `ignore_changes` of its mapping is the same after every apply."""
    of, world, port, owned = history
    made = plan(facts(of, world, port, owned))
    after, _ = do(made, port, owned)
    left_alone = {r.id: r.lifecycle.ignore_changes for r in of.rules}
    differ = 0
    for key, wanted in world.entities.items():
        for path in {p for r in wanted.rules for p in left_alone[r]} if key in port else ():
            # But for relations to what is deleted, which Port empties.
            was, now = (_pointing(ExistingEntity({path: e[key].fields.get(path)}), key, after) for e in (port, after))
            assert was == now
            if place_of(path):
                continue
            # A relation to nobody is none.
            shall = wanted.fields.get(path) or (None if path.startswith("relations.") else wanted.fields.get(path))
            differ += path in wanted.fields and not same(port[key].fields.get(path), shall)
    left, held = LeftAlone(of.rules), {each.key for each in made.held}
    for key, wanted in world.entities.items():
        for path, value in wanted.fields.items() if key in port else ():
            if path == "properties.meta" and not left.covers(wanted.rules, path) and key not in held:
                kept = left.inside(wanted.rules, path, value, port[key].fields.get(path))
                assert after[key].fields.get(path) == kept.value
                differ += len(kept.differing)
    assert made.summary.ignored >= differ
    assert made.summary.ignored == sum(item.count for item in made.ignored)


@settings(max_examples=60, deadline=None)
@given(histories())
def test_what_people_made_is_only_ever_released(
    history: tuple[Catalog, DesiredEntities, dict[EntityKey, ExistingEntity], Ledger],
) -> None:
    """An adopted entity that the integration did not make is deleted only where a lifecycle says so by name."""
    of, world, port, owned = history
    ends = {r.id: r.lifecycle.on_remove for r in of.rules}
    for change in plan(facts(of, world, port, owned)).changes:
        last = owned.entities.get(change.key)
        if change.target == "entity" and change.action == "delete" and last and last.origin == "adopted":
            assert "delete" in {ends.get(r) for r in last.rules} | {last.on_remove}


@st.composite
def applied(
    draw: st.DrawFn,
) -> tuple[Catalog, dict[EntityKey, ExistingEntity], dict[EntityKey, ExistingEntity], Ledger]:
    """A catalog that was applied: what Port held before that, what it holds by now, with edits, and what is owned."""
    of, before = draw(catalogs()), draw(ports())
    port, owned = do(plan(facts(of, draw(worlds(of)), before, Ledger("lineage", 1))), before, Ledger("lineage", 1))
    for key in some(draw, sorted(port), 3):
        edited = fields_of(draw, key.blueprint, PATHS[key.blueprint])
        port[key] = ExistingEntity({**port[key].fields, **edited})
    return of, before, port, owned


NOTHING = DesiredEntities({})


@settings(max_examples=60, deadline=None)
@given(applied())
def test_destroy_gives_each_its_own_end(
    given_: tuple[Catalog, dict[EntityKey, ExistingEntity], dict[EntityKey, ExistingEntity], Ledger],
) -> None:
    """What we made goes, what others had made is as they would have it, and the rest is not touched.

    A bare entity stays for what is protected and points at it.  Of what is released stays what had a value before us, the title, what Port requires, and what is left alone.
    """
    of, before, port, owned = given_
    made = plan(facts(emptied(of), NOTHING, port, owned))
    after, left = do(made, port, owned)
    ends = {r.id: r.lifecycle.on_remove for r in of.rules}
    guarded = [w.key for w in made.withheld if w.target == "entity"]
    standing = {t for key in guarded for _, t in relation_targets(port[key].fields, BY_NAME[key.blueprint])}
    bare = {key for key in standing & owned.entities.keys() if not owned.entities[key].source}
    kept = {*guarded, *bare}
    alone = LeftAlone(of.rules)
    for key, entity in port.items():
        last = owned.entities.get(key)
        end = None
        if last is not None and key not in kept:
            adopted = "delete" if key.identifier in INTEGRATION and last.origin == "integration" else "release"
            end = ends[last.rules[0]] or ("delete" if last.origin == "created" else adopted)
        assert (end == "delete") == (key not in after), (key, end)
        if key not in after:
            continue
        for path, value in entity.fields.items():
            ours = end == "release" and last is not None and path in last.fields and path != "title"
            had = key in before and before[key].fields.get(path) is not None
            needed = path == "relations.service" and key.blueprint == "incident"
            if ours and last and not needed and not (last.origin == "adopted" and had):
                value = alone.inside(last.rules, path, None, value).value  # noqa: PLW2901
            was, now = (_pointing(ExistingEntity({path: v}), key, after) for v in (value, after[key].fields.get(path)))
            assert was == now
    # What is bare and stays may be let go of.
    assert left.entities.keys() - bare == kept & owned.entities.keys() - bare


@settings(max_examples=60, deadline=None)
@given(histories())
def test_destroy_ends_as_if_all_records_were_gone(
    history: tuple[Catalog, DesiredEntities, dict[EntityKey, ExistingEntity], Ledger],
) -> None:
    """The same of every entity, whatever its lifecycle, its origin, and what is left alone in it."""
    of, _, port, owned = history
    unlimited = replace(of, project=replace(of.project, policy=emptied(of).project.policy))
    one, other = (plan(facts(catalog_, NOTHING, port, owned)) for catalog_ in (emptied(of), unlimited))
    ended, gone = (
        {c.key: (c.action, [(f.path, f.after) for f in c.fields]) for c in made.changes if c.target == "entity"}
        for made in (one, other)
    )
    assert ended == gone
    assert [w.key for w in one.withheld] == [w.key for w in other.withheld]


TOUCHES: tuple[Callable[[LedgerEntry], LedgerEntry], ...] = (
    lambda last: last,
    lambda last: replace(last, source="services/other"),
    lambda last: replace(last, rules=(*last.rules, "gone")),
    lambda last: replace(last, protect=not last.protect),
    lambda last: replace(last, on_remove="forget"),
    lambda last: replace(last, fields={**last.fields, "title": "another"}),
    lambda last: replace(last, fields={**last.fields, "properties.tier": "four"}),
    lambda last: replace(last, fields=dict(list(last.fields.items())[1:])),
)


@settings(max_examples=60, deadline=None)
@given(histories(), st.lists(st.sampled_from(TOUCHES), min_size=1), st.sampled_from(["existing", "ledger"]))
def test_what_is_told_at_once_is_what_the_table_tells(
    history: tuple[Catalog, DesiredEntities, dict[EntityKey, ExistingEntity], Ledger],
    touches: list[Callable[[LedgerEntry], LedgerEntry]],
    side: str,
) -> None:
    """The plan is the same when no entity is passed over as settled: after an apply, with a part of it touched since."""
    of, world, port, owned = history
    after, left = do(plan(facts(of, world, port, owned)), port, owned)
    touched = {key: touch(last) for (key, last), touch in zip(left.entities.items(), cycle(touches), strict=False)}
    if side == "ledger":
        left = replace(left, entities=touched)
    else:
        after = {
            key: replace(has, fields=dict(touched[key].fields)) if key in touched else has for key, has in after.items()
        }
    made = plan_document(plan(facts(of, world, after, left)))
    with patch.object(EntityDecisions, "_is_settled", lambda *_: False):
        assert plan_document(plan(facts(of, world, after, left))) == made


@settings(max_examples=60, deadline=None)
@given(histories())
def test_what_is_new_is_made_as_the_table_makes_it(
    history: tuple[Catalog, DesiredEntities, dict[EntityKey, ExistingEntity], Ledger],
) -> None:
    """The plan is the same when what is neither in Port nor ours is compared with nothing, field by field."""
    made = plan(facts(*history))
    with patch.object(EntityDecisions, "new", lambda table, want: table.wanted(want, None, None)):
        assert plan(facts(*history)) == made


def _stub(made: Plan, key: EntityKey) -> bool:
    return any(c.key == key and c.reason == "stub" for c in made.changes)


def _without(entity: ExistingEntity, paths: Collection[str]) -> ExistingEntity:
    return ExistingEntity({p: v for p, v in entity.fields.items() if p not in paths})


def _pointing(entity: ExistingEntity, key: EntityKey, there: Collection[EntityKey]) -> Fields:
    """An entity's fields, of relations only what points at something that is there."""
    return {
        path: {t for t in targets(path, value, BY_NAME[key.blueprint]) if t in there}
        if path.startswith("relations.")
        else value
        for path, value in entity.fields.items()
    }


@settings(max_examples=100, deadline=None)
@given(histories(), st.randoms(use_true_random=False))
def test_equal_inputs_give_byte_equal_plans(
    history: tuple[Catalog, DesiredEntities, dict[EntityKey, ExistingEntity], Ledger], order: random.Random
) -> None:
    """The order in which anything was found does not show in the plan."""
    of, world, port, owned = history

    def shuffled(items: dict[Any, Any]) -> dict[Any, Any]:
        listed = list(items.items())
        order.shuffle(listed)
        return dict(listed)

    one = plan_document(plan(facts(of, world, port, owned)))
    other_world = replace(world, entities=shuffled(dict(world.entities)), failed=shuffled(dict(world.failed)))
    other_owned = replace(owned, entities=shuffled(dict(owned.entities)))
    assert one == plan_document(plan(facts(of, other_world, shuffled(port), other_owned)))


@settings(max_examples=100, deadline=None)
@given(histories())
def test_a_plan_survives_its_document(
    history: tuple[Catalog, DesiredEntities, dict[EntityKey, ExistingEntity], Ledger],
) -> None:
    """Plan to JSON to plan is the same plan, and the same bytes again."""
    made = plan(facts(*history))
    document = plan_document(made)
    again = parse_plan(document)
    assert (made, document) == (again, plan_document(again))


@settings(max_examples=60, deadline=None)
@given(histories(), st.sets(st.integers(1, 30)))
def test_failed_writes_then_another_run_converges(
    history: tuple[Catalog, DesiredEntities, dict[EntityKey, ExistingEntity], Ledger], failing: set[int]
) -> None:
    """Whatever failed, the next run ends where an unbroken one would have: with nothing to do."""
    of, world, port, owned = history
    port, owned = do(plan(facts(of, world, port, owned)), port, owned, failing)
    port, owned = do(plan(facts(of, world, port, owned)), port, owned)
    assert plan(facts(of, world, port, owned)).changes == ()


@settings(max_examples=60, deadline=None)
@given(histories())
def test_every_wait_comes_before(
    history: tuple[Catalog, DesiredEntities, dict[EntityKey, ExistingEntity], Ledger],
) -> None:
    """Numbers count from one in the order of doing, and no change waits for a later one."""
    made = plan(facts(*history))
    assert list(range(1, len(made.changes) + 1)) == [c.n for c in made.changes]
    assert all(n < c.n for c in made.changes for n in c.after)


@settings(max_examples=60, deadline=None)
@given(histories())
def test_no_relation_points_at_what_is_not_there_yet(
    history: tuple[Catalog, DesiredEntities, dict[EntityKey, ExistingEntity], Ledger],
) -> None:
    """In the order of the plan each relation that is not deferred finds its target."""
    of, world, port, owned = history
    made = plan(facts(of, world, port, owned))
    there = set(port)
    for change in made.changes:
        if change.target == "entity" and change.action in ("create", "update"):
            for field in change.fields:
                if field.path.startswith("relations.") and not field.deferred:
                    assert targets(field.path, field.after, BY_NAME[change.blueprint]) <= there | {change.key}
            there.add(change.key)


def targets(path: str, value: Any, of: Blueprint) -> set[EntityKey]:
    name = str(of.relations[path.removeprefix("relations.")]["target"])
    return {EntityKey(name, i) for i in ([value] if isinstance(value, str) else value or [])}
