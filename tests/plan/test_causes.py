"""Causes are exact: recomputed by brute force over whole worlds, mapped by a mapping in ten lines of Python.

A world is what PagerDuty holds, as records with three fields; the expressions are jq's, but few.  One apply of a first
catalog and world leaves ledger and Port, somebody edits Port, and the plan of a second catalog and world is judged.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from hypothesis import given, settings
from hypothesis import strategies as st

from pdsync.causes import NOT_KEPT, Evidence, told_causes
from pdsync.commands import expressions
from pdsync.errors import CatalogError, error
from pdsync.jq.joining import Claims
from pdsync.mapping import map_entities
from pdsync.model import (
    Catalog,
    Collection,
    DesiredEntities,
    DesiredEntity,
    EntityKey,
    Existing,
    ExistingEntity,
    Expression,
    Ledger,
    LedgerEntry,
    Query,
    Record,
    Snapshot,
    sources_of,
)
from pdsync.plan import Facts, fingerprint, make_plan
from pdsync.plan.document import plan_document
from tests.builders import BASE, HERE, blueprint, catalog, relation, rule
from tests.drawing import among, several, some
from tests.plan.test_laws import do

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pdsync.model import Change, Commit, Json, Plan
    from pdsync.targets import Edit

    Words = dict[str, dict[str, dict[str, Json]]]
    """Kind -> id -> the record's fields."""

TEAM = blueprint("team")
SERVICE = blueprint("service", team=relation("team"))
BLUEPRINTS = {"teams": "team", "services": "service", "policies": "service"}
"""What the records of each kind are mapped to: a service may be made of two of them."""
IDS = ("a", "b", "c")
PATHS = {
    "teams": ("title", "properties.tier", "properties.url"),
    "services": ("title", "properties.tier"),
    "policies": ("icon", "properties.url"),
}

EDITED = st.sampled_from(["properties.tier", "properties.url"])

VALUES: dict[str, Callable[[dict[str, Json]], Json]] = {
    ".name": lambda r: r["name"],
    ".note": lambda r: r["note"],
    '"fixed"': lambda _: "fixed",
    ".name + .note": lambda r: r["name"] + r["note"],
    "if .on then .name else .note end": lambda r: r["name"] if r["on"] else r["note"],
}
SELECTORS: dict[str, Callable[[dict[str, Json]], Json]] = {
    "true": lambda _: True,
    ".on": lambda r: r["on"],
    ".on | not": lambda r: not r["on"],
}
IDENTIFIERS: dict[str, Callable[[dict[str, Json]], Json]] = {
    ".id": lambda r: r["id"],
    '"x-" + .id': lambda r: "x-" + r["id"],
}


@st.composite
def catalogs(draw: st.DrawFn) -> Catalog:
    """A rule for teams and two for services; their paths, selectors and identifiers are any."""
    rules = []
    for kind, name in BLUEPRINTS.items():
        paths = draw(several(*PATHS[kind], unique=True, least=1))
        fields = {path: draw(among(*VALUES)) for path in paths}
        fields |= {"relations.team": ".team"} if kind == "services" else {}
        made = replace(
            rule(name, fields, kind=kind),
            selector=Expression(draw(among(*SELECTORS)), HERE),
            fields={path: Expression(text, HERE) for path, text in fields.items()},
        )
        if name == "service":
            made = replace(made, identifier=Expression(draw(among(*IDENTIFIERS)), HERE))
        rules.append(made)
    chosen = draw(among((0, 1, 2), (0, 1), (0,), (0, 2)))
    return numbered(catalog((TEAM, SERVICE), [rules[place] for place in chosen]))


def numbered(of: Catalog) -> Catalog:
    """With a digest that is the same for equal catalogs alone."""
    return replace(of, tree=hashlib.blake2b(repr(of.rules).encode()).hexdigest()[:8])


WORDS = st.sampled_from(["one", "two"])


@st.composite
def worlds(draw: st.DrawFn) -> Words:
    def record(id_: str, kind: str) -> dict[str, Json]:
        told = {"id": id_, "name": draw(WORDS), "note": draw(WORDS), "on": draw(st.booleans())}
        return told | ({"team": draw(among(None, *IDS))} if kind == "services" else {})

    return {kind: {id_: record(id_, kind) for id_ in sorted(draw(several(*IDS, unique=True)))} for kind in BLUEPRINTS}


def snapshot(of: Words, digest: str) -> Snapshot:
    collections = {
        Query(kind): Collection(
            Query(kind), tuple(Record(id_, json.dumps(record).encode()) for id_, record in records.items())
        )
        for kind, records in of.items()
    }
    return Snapshot("pd", BASE.taken_at, collections, digest)


def mapped(of: Catalog, taken: Snapshot, *, older: bool = False) -> DesiredEntities:
    """What `map_entities` gives, for these few expressions; an `older` tool writes the word two differently."""
    claims = Claims()
    for each in of.rules:
        for held in taken.collections[each.query].records:
            record = json.loads(held.raw)
            if SELECTORS[each.selector.text](record):
                key = EntityKey(BLUEPRINTS[each.kind], IDENTIFIERS[text_of(each.identifier)](record))
                fields = {path: value(text_of(text), record) for path, text in each.fields.items()}
                if older:
                    fields = {p: v.replace("two", "TWO") if p != "relations.team" else v for p, v in fields.items()}
                claims.add(DesiredEntity(key, fields, (each.id,), f"{each.kind}/{held.id}"))
    return DesiredEntities(dict(sorted(claims.joined()[0].items())))


def text_of(expression: Any) -> str:
    return str(expression.text)


def value(text: str, record: dict[str, Json]) -> Json:
    return record["team"] if text == ".team" else VALUES[text](record)


@dataclass
class Then:
    """What remembers the last apply: a store, a history and a Port that tells nothing of edits."""

    of: Catalog | None
    taken: Snapshot | None

    def load_applied(self, digest: str, _kinds: object) -> Snapshot | None:
        return self.taken if self.taken and self.taken.digest == digest else None

    def catalog(self, commit: str) -> Catalog:
        if self.of is None:
            raise CatalogError(error("PD100", "no such commit", detail=commit))
        return self.of

    def lacking(self, _commit: str) -> str:
        return ""

    def commits(self, _places: object, _since: str) -> Mapping[str, Commit]:
        return {}

    async def edits(self, _keys: object) -> Mapping[EntityKey, Edit]:
        return {}


@dataclass
class Story:
    """Two catalogs, two worlds, what Port and ledger were left as by the first apply, and what Port is now."""

    catalogs: tuple[Catalog, Catalog]
    worlds: tuple[Words, Words]
    older: bool
    port: dict[EntityKey, ExistingEntity]
    owned: Ledger

    @property
    def facts(self) -> Facts:
        return facts(self.catalogs[1], mapped(self.catalogs[1], snapshot(self.worlds[1], "s2")), self.port, self.owned)

    def plan(
        self, mapping: Callable[[Catalog, Snapshot], DesiredEntities] = mapped, *, kept: bool = True, known: bool = True
    ) -> Plan:
        """The plan of now, its causes told with what is `kept` of the records and `known` of the catalog of then."""
        then = Then(self.catalogs[0] if known else None, snapshot(self.worlds[0], "s1") if kept else None)
        now = snapshot(self.worlds[1], "s2")
        evidence = Evidence(self.facts, now, then, then, mapping, expressions)  # type: ignore[arg-type]
        made = make_plan(self.facts, replace(BASE, catalog=self.catalogs[1].tree, commit="c2", snapshot="s2"))
        return asyncio.run(told_causes(made, evidence, then))  # type: ignore[arg-type]


def facts(of: Catalog, world: DesiredEntities, port: dict[EntityKey, ExistingEntity], owned: Ledger) -> Facts:
    held = Existing("org", "Org", {"team": TEAM, "service": SERVICE}, port)
    return Facts(of, world, held, owned, expressions=expressions(of.rules), tool="jq")


def applied(of: Catalog, world: Words, *, older: bool) -> tuple[dict[EntityKey, ExistingEntity], Ledger]:
    """Port and ledger after the first apply."""
    owned = Ledger("lineage", 1)
    made = make_plan(
        facts(of, mapped(of, snapshot(world, "s1"), older=older), {}, owned),
        replace(BASE, catalog=of.tree, commit="c1", snapshot="s1", tool="jq 0" if older else "jq"),
    )
    return do(made, {}, owned)


@st.composite
def stories(draw: st.DrawFn) -> Story:
    one, other = draw(catalogs()), draw(worlds())
    two = draw(st.just(one) | catalogs())
    another = draw(st.just(other) | worlds())
    older = draw(st.booleans())
    port, owned = applied(one, other, older=older)
    for key in dict.fromkeys(some(draw, sorted(port), 2)):
        if draw(st.booleans()):
            port[key] = ExistingEntity({**port[key].fields, draw(EDITED): draw(among("one", "by hand"))})
        else:
            del port[key]
    return Story((one, two), (other, another), older, port, owned)


# --- by brute force ----------------------------------------------------------------------------------------------


def points(entity: DesiredEntity | LedgerEntry, at: EntityKey) -> bool:
    return at.blueprint == "team" and entity.fields.get("relations.team") == at.identifier


class Judge:
    """The causes of a story's changes, from all four mappings of the whole worlds."""

    def __init__(self, story: Story) -> None:
        self.story = story
        self.corners = {
            (c, s): mapped(story.catalogs[c], snapshot(story.worlds[s], "s")).entities for c in (0, 1) for s in (0, 1)
        }

    def there(self, key: EntityKey, corner: tuple[int, int]) -> bool:
        """Made from a record, or pointed at."""
        held = self.corners[corner]
        return key in held or any(points(entity, key) for entity in held.values())

    def sources(self, key: EntityKey, corner: tuple[int, int]) -> tuple[str, ...] | None:
        entity = self.corners[corner].get(key)
        return sources_of(entity) if entity else () if self.there(key, corner) else None

    def field(self, key: EntityKey, path: str, corner: tuple[int, int]) -> Json:
        if entity := self.corners[corner].get(key):
            return entity.fields.get(path)
        last, rules = self.story.owned.entities.get(key), self.story.catalogs[corner[0]].rules
        written = any(path in each.fields for each in rules if each.kind == f"{key.blueprint}s")
        # What is only pointed at keeps what it has, for as long as anything may write it.
        return last.fields.get(path) if last and written and self.there(key, corner) else None

    def told(self, at: Callable[[tuple[int, int]], Json], was: Json, shall: Json) -> set[str]:
        then = at((0, 0))
        found = {"tool"} if was != then else set()
        found |= {"catalog"} if at((1, 0)) != then else set()
        found |= {"source"} if at((0, 1)) != then else set()
        if not found & {"catalog", "source"} and shall != then:
            found |= {"catalog", "source"}
        return found

    def of_field(self, change: Change, path: str, after: Json) -> set[str]:
        last, have = self.story.owned.entities.get(change.key), self.story.port.get(change.key)
        was = last.fields.get(path) if last else None
        found = set() if was == after else self.told(lambda c: self.field(change.key, path, c), was, after)
        drift = last is not None and (have.fields.get(path) if have else None) != was
        return found | ({"drift"} if drift and last and self.spoken_of(last, path) else set())

    def spoken_of(self, last: LedgerEntry, path: str) -> bool:
        """Whether the catalog of then had anything to say of a field: else what Port holds is nobody's edit."""
        mapped = (each.fields for each in self.story.catalogs[0].rules if each.id in last.rules)
        return path in last.fields or any(path in fields for fields in mapped)

    def of_being(self, key: EntityKey, *, was: bool, shall: bool) -> set[str]:
        return self.told(lambda corner: self.there(key, corner), was, shall)

    def records(self, change: Change) -> set[str]:
        """Of what is updated, the records that give, or gave, what PagerDuty changed of it."""
        now, last = self.corners[1, 1].get(change.key), self.story.owned.entities.get(change.key)
        changed = {f.path for f in change.fields if "source" in f.causes} if change.action == "update" else set()
        kinds = {kind for kind, paths in PATHS.items() if not changed.isdisjoint(paths)}
        if not changed <= {path for paths in PATHS.values() for path in paths} or now is None or last is None:
            return set()
        made = {*sources_of(now), *sources_of(last)}
        return {source for source in made if source.partition("/")[0] in kinds}

    def of_change(self, change: Change) -> set[str]:
        last = self.story.owned.entities.get(change.key)
        gone = {"drift"} if last is not None and change.key not in self.story.port else set()
        shall = change.action not in ("delete", "release", "forget")
        if shall is not (last is not None):
            return gone | self.of_being(change.key, was=last is not None, shall=shall)
        if change.action == "adopt":
            assert last is not None
            assert change.ledger is not None
            paths = {
                p for p in (*last.fields, *change.ledger.fields) if last.fields.get(p) != change.ledger.fields.get(p)
            }
            found = {c for p in paths for c in self.of_field(change, p, change.ledger.fields.get(p))}
            found |= {"drift"} if any(self.spoken_of(last, path) for path in paths) else set()
            if (was := sources_of(last)) != (now := sources_of(change.ledger)):
                found |= self.told(lambda c: self.sources(change.key, c), was, now)
            return found or {"catalog"}
        return gone.union(*(self.of_field(change, f.path, f.after) for f in change.fields))


def judge(story: Story, made: Plan) -> None:
    by_force = Judge(story)
    for change in made.changes:
        if change.target == "entity":
            assert set(change.causes) == by_force.of_change(change), change
            assert change.cause in change.causes
            assert len(set(change.causes)) == len(change.causes)
            if records := by_force.records(change):
                assert change.source in records
            for field in change.fields:
                if (
                    field.note and "gives it no more" not in field.note
                ):  # somebody's value, which goes along with a new identifier
                    assert field.before == field.after
                    continue
                removed = change.action in ("delete", "release")
                wanted = set(change.causes) if removed else by_force.of_field(change, field.path, field.after)
                assert set(field.causes) == wanted, (field, change)
                assert (field.cause, field.drift) == (field.causes[0], "drift" in field.causes)


@settings(max_examples=200, deadline=None)
@given(stories())
def test_causes_are_exact(story: Story) -> None:
    """Of every field and every change of an entity, the set of causes is what brute force finds."""
    made = story.plan()
    assert made.inexact == ""
    judge(story, made)


def switched(on: str) -> Catalog:
    """A rule for teams and one for services, of the records that are on, or off."""
    fields = {("teams", "team"): ("title", '"fixed"'), ("services", "service"): ("relations.team", ".team")}
    rules = [
        replace(rule(name, kind=kind), selector=Expression(on, HERE), fields={path: Expression(text, HERE)})
        for (kind, name), (path, text) in fields.items()
    ]
    return numbered(catalog((TEAM, SERVICE), rules))


def test_what_only_the_other_catalog_makes_of_a_new_record_counts() -> None:
    """A team is made of a record now; the catalog of then would not, but have a new service point at it all the same."""
    then, now = switched(".on"), switched(".on | not")
    told = {"name": "one", "note": "one"}
    world: Words = {
        "teams": {"a": {"id": "a", "on": False, **told}},
        "services": {"s": {"id": "s", "on": True, "team": "a", **told}},
        "policies": {},
    }
    nothing: Words = {kind: {} for kind in BLUEPRINTS}
    story = Story((then, now), (nothing, world), False, *applied(then, nothing, older=False))
    (change,) = story.plan().changes
    assert (str(change.key), change.action, change.causes) == ("team/a", "create", ("source",))
    judge(story, story.plan())


@settings(max_examples=50, deadline=None)
@given(stories())
def test_apply_leaves_nothing(story: Story) -> None:
    """Telling the causes changes nothing about what is done: once it is, there is nothing left to do."""
    made = story.plan()
    plain = story.plan(known=False)
    assert made.fingerprint == fingerprint(made.changes) == plain.fingerprint
    port, owned = do(made, story.port, story.owned)
    assert replace(story, port=port, owned=owned).plan().changes == ()
    assert owned.catalog == story.catalogs[1].tree


@settings(max_examples=50, deadline=None)
@given(stories())
def test_equal_inputs_give_equal_bytes(story: Story) -> None:
    """A second plan of the same is the same document."""
    assert plan_document(story.plan()) == plan_document(story.plan())


@settings(max_examples=80, deadline=None)
@given(stories())
def test_one_thing_that_moved_needs_no_records_of_then(story: Story) -> None:
    """Where either the catalog or PagerDuty is as it was, causes are exact without the records of the last apply."""
    if story.older:
        story = replace(story, older=False)
        story.port, story.owned = applied(story.catalogs[0], story.worlds[0], older=False)
    if story.catalogs[0] != story.catalogs[1]:
        story.worlds = (story.worlds[0], story.worlds[0])
    judge(story, story.plan(kept=False))


@settings(max_examples=60, deadline=None)
@given(stories())
def test_what_cannot_be_had_is_said(story: Story) -> None:
    """Without the catalog of then, or the records, a plan says so wherever it would have made a difference."""
    without_catalog, without_records = story.plan(known=False), story.plan(kept=False)
    moved = story.catalogs[0].tree != story.catalogs[1].tree
    made = story.plan()
    changes = bool(made.changes or made.withheld)
    assert bool(without_catalog.inexact) == (moved and changes)
    assert without_records.inexact == (NOT_KEPT if changes and (moved or story.older) else "")
    for change in (*without_catalog.changes, *without_records.changes):
        assert change.cause in change.causes
        assert all(field.cause in field.causes for field in change.fields)


@settings(max_examples=15, deadline=None)
@given(stories())
def test_jq_tells_the_same(story: Story) -> None:
    """With jq itself in the place of the little mapping."""
    judge(story, story.plan(lambda of, taken: map_entities(of.rules, taken)))
