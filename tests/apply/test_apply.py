"""One plan done over HTTP: order, stages, cycles, failures, lost answers, stops."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import pytest

from pdsync.apply import apply_plan
from pdsync.errors import StalePlan
from pdsync.model import Blueprint, EntityKey, Outcome
from pdsync.sandbox.http import Fault
from pdsync.sandbox.port_rules import Behaviour
from pdsync.sandbox.port_store import PortStore
from pdsync.targets.port import PortReader, PortWriter
from tests.apply.running import Here, create_blueprints, running
from tests.builders import blueprint, catalog, desired, relation, rule, want

if TYPE_CHECKING:
    from pathlib import Path

    from pdsync.apply import ApplyResult
    from pdsync.model import Catalog, DesiredEntities, Plan

SERVICE = blueprint()
NODE = blueprint("node", next=relation("node"), others=relation("node", many=True))
INCIDENT = blueprint("incident", service=relation("service", required=True))
SERVICES = catalog([SERVICE], [rule()])
NODES = catalog([NODE], [rule("node", ("title", "relations.next", "relations.others"), kind="nodes")])
BOTH = catalog([SERVICE, INCIDENT], [rule(), rule("incident", ("title", "relations.service"), kind="incidents")])


def do(here: Here, of: Catalog, world: DesiredEntities) -> tuple[Plan, ApplyResult]:
    plan = here.plan(of, world)
    return plan, here.apply(plan)


def statuses(plan: Plan, result: ApplyResult) -> dict[str, str]:
    names = {c.n: c.blueprint if c.target == "blueprint" else str(c.key) for c in plan.changes}
    return {names[outcome.n]: outcome.status for outcome in result.outcomes}


def messages(plan: Plan, result: ApplyResult) -> dict[str, str]:
    names = {c.n: c.blueprint if c.target == "blueprint" else str(c.key) for c in plan.changes}
    return {names[outcome.n]: outcome.message for outcome in result.outcomes if outcome.message}


def ours(here: Here) -> dict[str, str]:
    ledger = here.ledger()
    owned = [*ledger.blueprints.items(), *((str(key), entry) for key, entry in ledger.entities.items())]
    return {name: str(entry.origin) for name, entry in owned}


@pytest.mark.parametrize("merge", [True, False])
@pytest.mark.parametrize("when", ["on_create", "always", "never"])
def test_null_is_the_default_of_what_has_one(
    tmp_path: Path, when: Literal["on_create", "always", "never"], *, merge: bool
) -> None:
    """Of a new entity and of one that lost its value; whatever Port fills in, the next plan is empty."""
    told = {"default": "none", "type": "string"}
    properties = {**SERVICE.properties, "tier": told, "url": {"type": "string", "default": "https://x"}}
    schema = {"properties": properties, "required": ["tier"]}
    of = catalog([Blueprint("service", {**SERVICE.definition, "schema": schema})], [replace(rule(), merge=merge)])
    with running(tmp_path, PortStore(behaviour=Behaviour(defaults=when, cleared="absent"))) as here:
        for world in (want("a", title="A", tier=None), want("a", title="A", tier="1"), want("a", title="A", tier=None)):
            assert do(here, of, desired(world))[1].whole
            assert here.plan(of, desired(world)).changes == ()
        held = here.port.entities("service")["a"]["properties"]
        assert held["tier"] == "none"
        assert held.get("url") == ("https://x" if when != "never" or not merge else None)


# --- order


def test_everything_is_done_and_owned(here: Here) -> None:
    """Blueprint and entities are there with their values, in the ledger as created, and a second plan is empty."""
    world = desired(want("a", title="A", tier="1"), want("b", title="B", tier=None))
    _, result = do(here, SERVICES, world)
    assert result.whole
    assert here.port.entities("service")["a"]["properties"] == {"tier": "1"}
    assert ours(here) == {"service": "created", "service/a": "created", "service/b": "created"}
    assert result.ledger == here.ledger()
    assert here.plan(SERVICES, world).changes == ()


def test_relation_cycles_end_up_linked(here: Here) -> None:
    """Entities that point at each other, at themselves, and in a ring: all relations are there."""
    world = desired(
        want("a", "node", title="A", to_next="b", to_others=["c", "d"]),
        want("b", "node", title="B", to_next="c"),
        want("c", "node", title="C", to_next="a", to_others=["a", "b"]),
        want("d", "node", title="D", to_next="d"),
    )
    _, result = do(here, NODES, world)
    held = here.port.entities("node")
    assert result.whole
    assert {name: e["relations"]["next"] for name, e in held.items()} == {"a": "b", "b": "c", "c": "a", "d": "d"}
    assert (sorted(held["a"]["relations"]["others"]), sorted(held["c"]["relations"]["others"])) == (
        ["c", "d"],
        ["a", "b"],
    )
    assert here.plan(NODES, world).changes == ()


def staged(name: str, **parts: Any) -> Blueprint:
    plain = blueprint(name)
    return Blueprint(name, {**plain.definition, **parts})


def test_blueprints_are_made_in_stages(here: Here) -> None:
    """Blueprints that relate to and mirror each other, both ways, are made in one apply."""
    one = staged(
        "one",
        relations={"two": relation("two")},
        mirrorProperties={"tierOfTwo": {"title": "Tier", "path": "two.tier"}},
        calculationProperties={"twice": {"title": "Twice", "calculation": ".properties.size * 2", "type": "number"}},
    )
    two = staged(
        "two",
        relations={"one": relation("one")},
        mirrorProperties={"urlOfOne": {"title": "URL", "path": "one.url"}},
        aggregationProperties={
            "count": {
                "title": "Ones",
                "type": "number",
                "target": "one",
                "calculationSpec": {"func": "count", "calculationBy": "entities"},
            }
        },
    )
    of = catalog([one, two], [])
    plan, result = do(here, of, desired())
    assert messages(plan, result) == {}
    made = here.port.blueprint("one")
    assert made is not None
    assert (made["relations"]["two"]["target"], list(made["mirrorProperties"])) == ("two", ["tierOfTwo"])
    assert here.plan(of, desired()).changes == ()


def test_a_blueprint_gets_and_loses_parts_and_keeps_foreign_ones(here: Here) -> None:
    """What others added stays, what left the catalog goes, what came is there."""
    do(here, catalog([SERVICE], []), desired())
    here.port.patch_blueprint(
        "service", {"schema": {"properties": {**SERVICE.properties, "theirs": {"type": "string"}}}}
    )
    properties = {name: d for name, d in SERVICE.properties.items() if name != "url"} | {"new": {"type": "boolean"}}
    changed = staged("service", schema={"properties": properties, "required": []}, description="What we run")
    _, result = do(here, catalog([changed], []), desired())
    found = here.port.blueprint("service")
    assert found is not None
    assert result.whole
    assert (sorted(found["schema"]["properties"]), found["description"]) == (
        ["new", "size", "tags", "theirs", "tier"],
        "What we run",
    )
    assert here.plan(catalog([changed], []), desired()).changes == ()


def test_deletes_go_against_relations_and_blueprints_last(here: Here) -> None:
    """A whole catalog is taken away in one apply, though incidents require their service."""
    do(
        here,
        BOTH,
        desired(want("s"), want("i", "incident", to_service="s", rules=("mappings/test.yaml#incidents[0]",))),
    )
    plan, result = do(here, catalog([], []), desired())
    assert messages(plan, result) == {}
    assert [c.action for c in plan.changes] == ["delete"] * 4
    assert (here.port.blueprint("service"), here.port.blueprint("incident"), ours(here)) == (None, None, {})


def test_many_entities_go_in_batches(here: Here) -> None:
    """More than one request takes, created, changed and deleted: each ends in exactly one outcome."""
    everything = [want(f"s{n:03}", title=f"Service {n}", tier="1") for n in range(130)]
    plan, result = do(here, SERVICES, desired(*everything))
    assert [o.n for o in result.outcomes] == [c.n for c in plan.changes]
    assert len(here.port.entities("service")) == 130
    changed = [want(f"s{n:03}", title=f"Service {n}", tier="2") for n in range(130)]
    assert do(here, SERVICES, desired(*changed))[1].whole
    assert {e["properties"]["tier"] for e in here.port.entities("service").values()} == {"2"}
    limits = replace(SERVICES, project=replace(SERVICES.project, policy=replace(SERVICES.project.policy, deletes={})))
    plan = here.plan(limits, desired(*changed[:120]))
    assert here.apply(plan).count("done") == 10
    assert len(here.port.entities("service")) == 120


# --- failures


def picky() -> Blueprint:
    """Its `tier` may only be text that Port's own check lets through."""
    return staged(
        "service",
        schema={"properties": {**SERVICE.properties, "tier": {"type": "string", "enum": ["1", "2"]}}, "required": []},
    )


def test_a_refused_entity_is_named_and_the_rest_goes_on(here: Here) -> None:
    """In one bulk request: the others are stored, the failing one has Port's message, what waits for it is skipped.

    Port has become pickier since the plan, else the plan would have held it.
    """
    assert do(here, BOTH, desired())[1].whole
    of = catalog([picky(), INCIDENT], BOTH.rules)
    world = desired(
        want("good", tier="1"),
        want("bad", tier="9"),
        want("i1", "incident", to_service="good", rules=("mappings/test.yaml#incidents[0]",)),
        want("i2", "incident", to_service="bad", rules=("mappings/test.yaml#incidents[0]",)),
    )
    plan = here.plan(BOTH, world)
    here.port.patch_blueprint("service", {"schema": picky().definition["schema"]})
    result = here.apply(plan)
    told = messages(plan, result)
    assert {k: v for k, v in statuses(plan, result).items() if v != "done"} == {
        "service/bad": "failed",
        "incident/i2": "skipped",
    }
    assert "(422)" in told["service/bad"]
    assert f"waits for #{next(c.n for c in plan.changes if c.identifier == 'bad')}" in told["incident/i2"]
    assert (list(here.port.entities("service")), list(here.port.entities("incident"))) == (["good"], ["i1"])
    assert "service/bad" not in ours(here)
    again, ended = do(
        here,
        of,
        desired(
            *(
                replace(e, fields={**e.fields, "properties.tier": "2"}) if e.key.identifier == "bad" else e
                for e in world.entities.values()
            )
        ),
    )
    changed = [str(c.key) for c in again.changes if c.target == "entity"]
    assert (ended.whole, changed) == (True, ["service/bad", "incident/i2"])


def test_a_refused_blueprint_skips_its_entities(here: Here) -> None:
    """Nothing of a blueprint that could not be made is tried; other blueprints are."""
    broken = staged("service", schema={"properties": {"tier": {"type": "nonsense"}}, "required": []})
    of = catalog([broken, NODE], [rule(), *NODES.rules])
    plan, result = do(here, of, desired(want("a"), want("n", "node", rules=("mappings/test.yaml#nodes[0]",))))
    assert statuses(plan, result) == {"node": "done", "service": "failed", "node/n": "done", "service/a": "skipped"}


def test_a_blueprint_that_was_made_in_part_is_ours(here: Here) -> None:
    """Its relation is refused after it was created bare: it is told, and the next run goes on with it as created."""
    half = staged("half", relations={"gone": relation("half")})
    refusal = {"ok": False, "error": "invalid_request", "message": "not now"}
    fault = Fault("answer", api="port", path="/blueprints/half$", method="PUT", count=1, status=422, body=refusal)
    here.box.faults.add(fault)
    plan, result = do(here, catalog([half], []), desired())
    assert result.count("done") == 0
    assert "not now" in messages(plan, result)["half"]
    assert here.port.blueprint("half") is not None
    assert ours(here) == {"half": "created"}
    whole = staged("half", relations={"self": relation("half")})
    assert do(here, catalog([whole], []), desired())[1].whole
    assert do(here, catalog([], []), desired())[1].whole
    assert here.port.blueprint("half") is None


def test_an_entity_whose_second_write_is_refused_is_ours(here: Here) -> None:
    """One of a cycle is made without its relation, which then fails: it stays created, and another run links it."""
    world = desired(want("a", "node", to_next="b"), want("b", "node", to_next="a"))
    create_blueprints(here, NODE)
    plan = here.plan(NODES, world)
    refusal = {"ok": False, "error": "invalid_request", "message": "not now"}
    here.box.faults.add(
        Fault("answer", api="port", path="/entities/bulk$", method="POST", skip=2, status=422, body=refusal)
    )
    result = here.apply(plan)
    assert "not now" in messages(plan, result)["node/a"]
    assert ours(here)["node/a"] == "created"
    here.box.faults.clear()
    assert do(here, NODES, world)[1].whole
    assert here.port.entities("node")["a"]["relations"]["next"] == "b"
    assert set(ours(here).values()) == {"created", "adopted"}
    assert ours(here)["node"] == "adopted"


@pytest.mark.parametrize("status", [401, 403, 500, 503])
def test_a_port_that_refuses_everything_fails_everything(here: Here, status: int) -> None:
    """Every change has its reason, nothing is owned, and the next run starts over."""
    here.patience = 0.2
    here.box.faults.add(Fault("answer", api="port", path="/v1/blueprints", method="POST", count=None, status=status))
    plan = here.plan(SERVICES, desired(want("a")))
    result = here.apply(plan)
    here.box.faults.clear()
    assert statuses(plan, result) == {"service": "failed", "service/a": "skipped"}
    assert ours(here) == {}
    assert do(here, SERVICES, desired(want("a")))[1].whole


# --- answers that never came


def test_a_lost_answer_is_asked_for_again(here: Here) -> None:
    """A connection that breaks after the work was done: the repeated request has the same effect."""
    create_blueprints(here, SERVICE)
    plan = here.plan(SERVICES, desired(want("a", title="A", tier="1")))
    here.box.faults.add(Fault("drop", api="port", path="/entities/bulk$", when="after"))
    assert here.apply(plan).whole
    assert here.plan(SERVICES, desired(want("a", title="A", tier="1"))).changes == ()


@pytest.mark.parametrize("effect", ["drop", "cut", "truncate"])
@pytest.mark.parametrize("looking", [True, False])
def test_what_was_made_without_an_answer_is_ours(here: Here, effect: Any, *, looking: bool) -> None:
    """The work was done and no answer ever came: it is looked up, else unknown, and in any case kept as created."""
    create_blueprints(here, SERVICE)
    world = desired(want("a", title="A", tier="1"), want("b", title="B"))
    plan = here.plan(SERVICES, world)
    here.patience = 0.2
    here.box.faults.add(Fault(effect, api="port", path="/entities/bulk$", when="after", count=None))
    result = here.apply(plan, looking=looking)
    here.box.faults.clear()
    assert sorted(here.port.entities("service")) == ["a", "b"]
    assert {k: v for k, v in statuses(plan, result).items() if k != "service"} == dict.fromkeys(
        ["service/a", "service/b"], "done" if looking else "unknown"
    )
    assert {k: v for k, v in ours(here).items() if k != "service"} == {"service/a": "created", "service/b": "created"}
    assert [c for c in here.plan(SERVICES, world).changes if c.target == "entity"] == []


def test_what_was_never_made_is_made_by_the_next_run(here: Here) -> None:
    """The request was lost on its way: unknown as well, and the next plan creates it."""
    create_blueprints(here, SERVICE)
    plan = here.plan(SERVICES, desired(want("a", tier="1")))
    here.patience = 0.2
    here.box.faults.add(Fault("drop", api="port", path="/entities/bulk$", when="before", count=None))
    here.apply(plan)
    here.box.faults.clear()
    assert here.port.entities("service") == {}
    again, result = do(here, SERVICES, desired(want("a", tier="1")))
    assert ([c.action for c in again.changes if c.target == "entity"], result.whole) == (["create"], True)


def test_a_blueprint_made_without_an_answer_is_ours(here: Here) -> None:
    """As with entities: what we may have made is ours."""
    plan = here.plan(SERVICES, desired())
    here.patience = 0.2
    here.box.faults.add(Fault("drop", api="port", path="/v1/blueprints$", method="POST", when="after", count=None))
    here.apply(plan)
    here.box.faults.clear()
    assert here.port.blueprint("service") is not None
    assert ours(here) == {"service": "created"}


# --- stops and staleness


@pytest.mark.parametrize("after", [1, 3, 21])
def test_a_stop_begins_nothing_more(here: Here, after: int) -> None:
    """What had begun is whole, the rest is told as not begun, all that is in Port is in the ledger."""
    incidents = ("mappings/test.yaml#incidents[0]",)
    world = desired(
        *(want(f"s{n:03}", tier="1") for n in range(400)),
        *(want(f"i{n:03}", "incident", to_service=f"s{n:03}", rules=incidents) for n in range(60)),
    )
    plan = here.plan(BOTH, world)
    result = here.apply(plan, stop_after=after)
    ended = list(zip(plan.changes, result.outcomes, strict=True))
    held = {f"{name}/{i}" for name in ("service", "incident") for i in here.port.entities(name)}
    assert result.interrupted
    # A blueprint may be between its stages: that is told as not whole.
    assert {c.target for c, o in ended if o.status not in ("done", "skipped")} <= {"blueprint"}
    assert {str(c.key) for c, o in ended if o.status == "done" and c.target == "entity"} == held
    assert len(held) < 400
    assert do(here, BOTH, world)[1].whole
    assert set(ours(here).values()) == {"created"}


def test_a_stop_between_the_two_passes_of_a_cycle_keeps_both(here: Here) -> None:
    """Created without their relations yet: ours, and linked by the next run."""
    world = desired(*(want(f"n{n}", "node", to_next=f"n{(n + 1) % 5}") for n in range(5)))
    create_blueprints(here, NODE)
    plan = here.plan(NODES, world)
    result = here.apply(plan, stop_after=4)
    assert result.interrupted
    assert {str(EntityKey("node", i)) for i in here.port.entities("node")} <= set(ours(here))
    assert do(here, NODES, world)[1].whole
    assert {i: e["relations"]["next"] for i, e in here.port.entities("node").items()} == {
        f"n{n}": f"n{(n + 1) % 5}" for n in range(5)
    }


def test_a_stale_plan_writes_nothing(here: Here) -> None:
    """A plan on a ledger that has moved is refused before the first request."""
    plan = here.plan(SERVICES, desired(want("a")))
    do(here, NODES, desired())
    here.box.log.clear()
    with pytest.raises(StalePlan):
        here.apply(plan)
    assert here.box.log.port_writes() == []


def test_what_only_moves_the_ledger_asks_nobody(here: Here) -> None:
    """Adopting and forgetting send no request."""
    create_blueprints(here, SERVICE)
    here.port.put_entity("service", {"identifier": "a", "title": "A", "properties": {"tier": "1"}})
    plan = here.plan(SERVICES, desired(want("a", title="A", tier="1")))
    here.box.log.clear()
    result = here.apply(plan)
    assert [c.action for c in plan.changes] == ["adopt", "adopt"]
    assert (here.box.log.all(), result.outcomes) == ([], (Outcome(1, "done"), Outcome(2, "done")))
    here.port.delete_entity("service", "a")
    gone = here.plan(SERVICES, desired())
    assert [c.action for c in gone.changes] == ["forget"]
    assert here.apply(gone).ledger.entities == {}


def test_a_release_clears_what_we_set_and_deletes_nothing(here: Here) -> None:
    """Something that was there before us stays, with what others wrote; required properties keep their value."""
    needed = staged("service", schema={"properties": dict(SERVICE.properties), "required": ["url"]})
    create_blueprints(here, needed)
    of = catalog([needed], [rule(paths=("title", "properties.tier", "properties.url"))])
    here.port.put_entity("service", {"identifier": "a", "title": "Theirs", "properties": {"url": "u", "size": 3}})
    do(here, of, desired(want("a", title="Ours", tier="1", url="v")))
    plan, result = do(here, of, desired())
    held = here.port.entities("service")["a"]
    assert ([c.action for c in plan.changes], result.whole) == (["release"], True)
    assert {k: v for k, v in held["properties"].items() if v is not None} == {"url": "v", "size": 3}
    assert "service/a" not in ours(here)


def test_a_stop_does_not_wait_for_what_is_looked_at(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    """Looking at what will be deleted gets no more time than a write does, and nothing is begun after it."""
    monkeypatch.setattr("pdsync.transport.client._STOP_GRACE", 0.1)
    do(here, SERVICES, desired(want("a"), want("b")))
    plan = here.plan(SERVICES, desired(want("a")))
    here.box.log.clear()
    here.box.faults.add(Fault("delay", api="port", path="/search$", seconds=60, count=None))
    store = here.store()
    store.load()

    async def work() -> ApplyResult:
        stop = asyncio.Event()
        asyncio.get_running_loop().call_later(0.3, stop.set)
        async with here.client() as asking, here.client() as writing, asyncio.timeout(20):
            return await apply_plan(plan, PortWriter(writing), store, reader=PortReader(asking), stop=stop)

    result = asyncio.run(work())
    assert (result.interrupted, result.count("skipped")) == (True, len(plan.changes))
    here.box.faults.clear()
    assert here.box.log.port_writes() == []
    assert here.history()[-1].done == 3
