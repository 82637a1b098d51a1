"""The laws of applying, against the sandbox's Port over HTTP: each example has a Port of its own.

The world of an example is three blueprints, some of which are there before us, with entities of other people; a mapping
that changes; records that come, go and change; and writes that fail in every way a network knows.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, given, settings
from hypothesis import example as sample
from hypothesis import strategies as st

from pdsync.model import Catalog, DesiredEntities, DesiredEntity, EntityKey
from pdsync.sandbox.http import Fault
from tests.apply.running import Here, create_blueprints, running
from tests.builders import blueprint, catalog, desired, relation, rule, want

if TYPE_CHECKING:
    from collections.abc import Callable

    from pdsync.model import Fields, Json

TEAM = blueprint("team")
SERVICE = blueprint("service", team=relation("team"), next=relation("service"), users=relation("team", many=True))
INCIDENT = blueprint("incident", service=relation("service", required=True))
ALL = {b.identifier: b for b in (TEAM, SERVICE, INCIDENT)}
PATHS = {
    "team": ("title", "icon", "properties.tier"),
    "service": ("title", "properties.tier", "properties.tags", "relations.team", "relations.next", "relations.users"),
    "incident": ("title", "properties.tier", "properties.size", "relations.service"),
}
FOREIGN = "properties.url"
"""No mapping ever writes it."""
IDENTIFIERS = st.sampled_from("abcd")

LAW = settings(
    max_examples=9,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@dataclass(frozen=True)
class Episode:
    """What the catalog and PagerDuty say at one time."""

    catalog: Catalog
    world: DesiredEntities


def value_of(path: str) -> st.SearchStrategy[Json]:
    if path == "relations.users":
        return st.none() | st.lists(IDENTIFIERS, unique=True, max_size=3)
    if path.startswith("relations."):
        return st.none() | IDENTIFIERS
    if path == "properties.size":
        return st.none() | st.integers(0, 3) | st.just(1.5)
    if path == "properties.tags":
        return st.none() | st.lists(st.sampled_from(["x", "y", {"z": [1, None]}]), max_size=2)
    if path == "icon":
        return st.sampled_from([None, "Server", "Cloud"])
    return st.sampled_from([None, "one", "two", "`three`", "четыре"])


@st.composite
def fields_of(draw: st.DrawFn, name: str, paths: tuple[str, ...]) -> Fields:
    fields = {path: draw(value_of(path)) for path in paths}
    if name == "incident":
        fields["relations.service"] = draw(IDENTIFIERS)
    return fields


@st.composite
def episodes(draw: st.DrawFn) -> Episode:
    """One rule a blueprint, each mapping some of its paths; up to four records of each."""
    rules, entities = [], {}
    for name, paths in PATHS.items():
        mapped = tuple(path for path in paths if path == "relations.service" or draw(st.booleans())) or paths[:1]
        made = rule(name, mapped, kind=f"{name}s")
        rules.append(made)
        for identifier in draw(st.sets(IDENTIFIERS)):
            key = EntityKey(name, identifier)
            fields = draw(fields_of(name, mapped))
            entities[key] = DesiredEntity(key, fields, (made.id,), f"{name}s/{identifier}")
    return Episode(catalog(ALL.values(), rules), DesiredEntities(entities))


@dataclass(frozen=True)
class Before:
    """What Port holds before we come: which blueprints, and entities of other people, some under our identifiers."""

    blueprints: tuple[str, ...]
    entities: tuple[tuple[str, str, str], ...]

    def put(self, here: Here) -> None:
        create_blueprints(here, *(ALL[name] for name in self.blueprints))
        for name, identifier, url in self.entities:
            body: dict[str, Any] = {"identifier": identifier, "title": "theirs", "properties": {"url": url}}
            if name == "incident":
                here.port.put_entity("service", {"identifier": "foreign"})
                body["relations"] = {"service": "foreign"}
            here.port.put_entity(name, body)


@st.composite
def befores(draw: st.DrawFn) -> Before:
    known = draw(st.sampled_from([(), ("team",), ("team", "service"), ("team", "service", "incident")]))
    names = st.sampled_from([*"abcd", "foreign", "other"])
    held = {(name, identifier) for name in known for identifier in draw(st.sets(names, max_size=3))}
    return Before(known, tuple((n, i, draw(st.sampled_from(["u", "v"]))) for n, i in sorted(held)))


def example(law: Callable[[Here], None]) -> None:
    with tempfile.TemporaryDirectory() as folder, running(Path(folder) / "state", patience=0.3) as here:
        law(here)


def entities(here: Here) -> dict[str, dict[str, Any]]:
    """All entities by key, without what only Port writes."""
    parts = ("title", "icon", "team", "properties", "relations")
    return {
        f"{name}/{i}": {part: e.get(part) for part in parts}
        for name in PATHS
        for i, e in here.port.entities(name).items()
    }


def without_null(entity: dict[str, Any]) -> dict[str, Any]:
    """What is emptied is as if it had never been there."""
    return {**entity, "properties": {name: v for name, v in entity["properties"].items() if v is not None}}


def unmapped(entity: dict[str, Any]) -> Json:
    return entity["properties"].get(FOREIGN.partition(".")[2])


def arrive(here: Here, episode: Episode) -> None:
    """Plan and apply; nothing fails, and there is nothing left to do."""
    plan = here.plan(episode.catalog, episode.world)
    result = here.apply(plan)
    assert [o for o in result.outcomes if o.status != "done"] == []
    left = here.plan(episode.catalog, episode.world)
    assert (left.changes, left.withheld) == ((), plan.withheld)


@LAW
@given(befores(), st.lists(episodes(), min_size=1, max_size=3))
def test_apply_then_plan_is_empty(before: Before, history: list[Episode]) -> None:
    """However catalog and PagerDuty move on, each plan is done whole and leaves nothing to do."""

    def law(here: Here) -> None:
        before.put(here)
        for episode in history:
            arrive(here, episode)

    example(law)


@LAW
@given(befores(), st.lists(episodes(), min_size=1, max_size=2))
def test_what_is_not_ours_never_changes(before: Before, history: list[Episode]) -> None:
    """Entities that no record ever claimed, and a property that no mapping ever wrote, stay; also through a destroy."""

    def law(here: Here) -> None:
        before.put(here)
        held = entities(here)
        claimed: set[str] = set()
        for episode in [*history, Episode(catalog([], []), DesiredEntities({}))]:
            plan = here.plan(episode.catalog, episode.world)
            claimed |= {
                str(c.key)
                for c in plan.changes
                if c.target == "entity" and c.reason in ("new", "taken-over", "equal", "stub")
            }
            here.apply(plan)
            now = entities(here)
            assert {key: now.get(key) for key in held if key not in claimed} == {
                key: e for key, e in held.items() if key not in claimed
            }
            assert {key: unmapped(now[key]) for key in held} == {key: unmapped(entity) for key, entity in held.items()}

    example(law)


@st.composite
def faults(draw: st.DrawFn) -> Fault:
    """One thing that goes wrong with some of the writes."""
    status = draw(st.sampled_from([404, 409, 422]))
    refusal = Fault("answer", status=status, body={"ok": False, "error": "refused", "message": "not this one"})
    kind = draw(st.sampled_from(["refuse", "refuse after", "lose", "lose after", "cut"]))
    made = {
        "refuse": refusal,
        "refuse after": Fault("answer", when="after", status=status, body=refusal.body),
        "lose": Fault("drop"),
        "lose after": Fault("drop", when="after"),
        "cut": Fault("cut"),
    }[kind]
    where = draw(
        st.sampled_from(
            [
                ("POST", "/entities/bulk$"),
                ("PATCH", "/entities/"),
                ("PUT", "/v1/blueprints/"),
                ("POST", "/v1/blueprints$"),
                ("POST", "/bulk"),
                ("DELETE", "/"),
            ]
        )
    )
    return replace(
        made,
        api="port",
        method=where[0],
        path=where[1],
        skip=draw(st.integers(0, 3)),
        count=draw(st.sampled_from([1, 2, None])),
    )


@LAW
@given(befores(), episodes(), episodes(), st.lists(faults(), min_size=1, max_size=3))
def test_failed_writes_then_another_run_converges(
    before: Before, first: Episode, second: Episode, wrong: list[Fault]
) -> None:
    """Whatever was refused or lost, once it stops another run ends where an unbroken one would have."""

    def law(here: Here) -> None:
        before.put(here)
        arrive(here, first)
        plan = here.plan(second.catalog, second.world)
        here.box.faults.add(*wrong)
        result = here.apply(plan)
        assert len(result.outcomes) == len(plan.changes)
        assert all(o.message for o in result.outcomes if o.status != "done")
        here.box.faults.clear()
        arrive(here, second)

    example(law)


@LAW
@given(befores(), episodes(), st.lists(faults(), min_size=1, max_size=2), st.integers(1, 12))
def test_what_we_made_is_ours_whatever_fails(
    before: Before, episode: Episode, wrong: list[Fault], stop_after: int
) -> None:
    """After failures and a stop, everything in Port that was not there before us is in the ledger as created.

    Also what was made without an answer; only what Port says it refused, though it did it, is nobody's fault.
    """

    def law(here: Here) -> None:
        before.put(here)
        held = entities(here)
        here.box.faults.add(*(fault for fault in wrong if (fault.effect, fault.when) != ("answer", "after")))
        here.apply(here.plan(episode.catalog, episode.world), stop_after=stop_after)
        here.box.faults.clear()
        owned = {str(key): entry.origin for key, entry in here.ledger().entities.items()}
        made = entities(here).keys() - held.keys()
        assert {key: owned.get(key) for key in made} == dict.fromkeys(made, "created")
        assert {key for key, origin in owned.items() if origin == "created"} & held.keys() == set()
        arrive(here, episode)

    example(law)


EMPTY = Episode(
    catalog(ALL.values(), [rule("team", ("properties.tier",), kind="teams")]),
    desired(want("a", "team", tier=None, rules=("mappings/test.yaml#teams[0]",), source="teams/a")),
)
"""A property that is mapped to nothing, which Port shows as null once it was something."""


@LAW
@given(befores(), episodes(), st.lists(st.tuples(st.sampled_from(sorted(PATHS)), IDENTIFIERS), max_size=3))
@sample(Before((), ()), EMPTY, [("team", "a")])
def test_drift_is_put_right(before: Before, episode: Episode, edited: list[tuple[str, str]]) -> None:
    """What somebody edits or deletes in Port by hand is put back by the next run."""

    def law(here: Here) -> None:
        before.put(here)
        arrive(here, episode)
        wanted = entities(here)
        for name, identifier in edited:
            if identifier in here.port.entities(name):
                here.port.put_entity(name, {"identifier": identifier, "properties": {"tier": "by hand"}})
        arrive(here, episode)
        mapped = {r.kind.removesuffix("s"): r.fields for r in episode.catalog.rules}
        for key, entity in entities(here).items():
            if key in {str(k) for k in episode.world.entities} and "properties.tier" in mapped[key.partition("/")[0]]:
                assert without_null(entity) == without_null(wanted[key])

    example(law)
