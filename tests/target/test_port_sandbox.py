"""The contract of a target, kept by the Port target against the sandbox, whatever Port's open points turn out to be."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING, Any, Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pdsync.errors import TargetError
from pdsync.model import Blueprint, EntityKey, ExistingEntity, Fields, Json
from pdsync.normal import blueprint_fields, normal_entity, same
from pdsync.sandbox.http import Fault, rate_limited
from pdsync.sandbox.port import Behaviour, PortStore
from pdsync.sandbox.server import Sandbox
from pdsync.targets import EntityWrite, WriteResult
from pdsync.targets.port import PortReader, PortWriter, open_port_reader
from tests.target.running import Port, running_port

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

TARGET = Blueprint("target", {"identifier": "target", "title": "Target", "schema": {"properties": {}}})
THING = Blueprint(
    "thing",
    {
        "identifier": "thing",
        "title": "Thing",
        "icon": "Box",
        "schema": {
            "properties": {
                "text": {"type": "string"},
                "url": {"type": "string", "format": "url"},
                "email": {"type": "string", "format": "email"},
                "choice": {"type": "string", "enum": ["a", "b"], "enumColors": {"a": "red"}},
                "when": {"type": "string", "format": "date-time"},
                "timer": {"type": "string", "format": "timer"},
                "number": {"type": "number"},
                "boolean": {"type": "boolean"},
                "object": {"type": "object"},
                "list": {"type": "array", "items": {"type": "string"}},
                "moments": {"type": "array", "items": {"type": "string", "format": "date-time"}},
                "initial": {"type": "string", "default": "fresh"},
            },
            "required": [],
        },
        "relations": {
            "one": {"target": "target", "many": False, "required": False},
            "many": {"target": "target", "many": True, "required": False},
            "self": {"target": "thing", "many": False, "required": False},
        },
        "mirrorProperties": {"mirrored": {"path": "one.$title"}},
        "calculationProperties": {"computed": {"calculation": ".properties.text", "type": "string"}},
    },
)
PATHS = [
    "title",
    "icon",
    "team",
    *(f"properties.{name}" for name in THING.properties),
    *(f"relations.{name}" for name in THING.relations),
]
RICH: Fields = {
    "title": "A thing — 事物",
    "icon": "Box",
    "team": ["payments", "platform"],
    "properties.text": "",
    "properties.url": "https://example.com/a?b=c#d",
    "properties.email": "a@example.com",
    "properties.choice": "a",
    "properties.when": "2026-01-01T00:00:00+02:00",
    "properties.timer": "2026-01-01T00:00:00.25Z",
    "properties.number": 1.0,
    "properties.boolean": False,
    "properties.object": {"a": [1.0, {"b": None}]},
    "properties.list": ["b", "a", "b"],
    "properties.moments": ["2026-01-01T00:00:00Z"],
    "properties.initial": "set",
    "relations.one": "t/1",
    "relations.many": ["t:2", "t/1"],
    "relations.self": None,
}
SWITCHES = {
    "default": Behaviour(),
    "opposite": Behaviour(
        unknown_properties="drop",
        cleared="absent",
        date_times="normalised",
        rate_limit_reset="seconds",
        defaults="always",
        unknown_teams="refuse",
        duplicates_in_bulk="last_wins",
        unknown_deletes="refuse",
        blocked_deletes="partial",
        cascade="all",
        patch_maps="merge",
        next_on_full_last_page=True,
        has_dependents_status=409,
    ),
    "third": Behaviour(
        unknown_properties="store",
        cleared="absent",
        defaults="never",
        blocked_deletes="partial",
        has_dependents_status=403,
    ),
}
"""Port's open points, each one way and the other, and the third way where there is one."""


@pytest.fixture(params=SWITCHES)
def port(request: pytest.FixtureRequest) -> Iterator[Port]:
    """A Port with the blueprints and three targets, once for each reading of its open points."""
    with running_port(SWITCHES[request.param]) as running:
        furnish(running)
        yield running


@pytest.fixture(scope="module")
def shared() -> Iterator[Port]:
    """One Port for many examples, which use identifiers of their own or overwrite."""
    with running_port() as running:
        furnish(running)
        yield running


def furnish(port: Port) -> None:
    port.write(lambda writer: writer.create_blueprint(TARGET))
    port.write(lambda writer: writer.create_blueprint(THING))
    done = upsert(port, "target", *(EntityWrite(name, {"title": name}, create=True) for name in ("t/1", "t:2", "t3")))
    assert all(result.error == "" for result in done)


def upsert(port: Port, blueprint: str, *writes: EntityWrite) -> list[WriteResult]:
    return port.write(lambda writer: writer.upsert(blueprint, writes))


def delete(port: Port, blueprint: str, *identifiers: str) -> list[WriteResult]:
    return port.write(lambda writer: writer.delete(blueprint, identifiers))


def read(port: Port, blueprint: str, paths: Iterable[str] = PATHS) -> dict[str, ExistingEntity]:
    existing = port.read(lambda reader: reader.read({blueprint: list(paths)}))
    return {key.identifier: entity for key, entity in existing.entities.items() if key.blueprint == blueprint}


def normal(fields: Fields) -> Fields:
    return normal_entity(fields, THING)


def differing(wanted: Fields, held: Fields) -> list[str]:
    """Paths on which a plan would still have something to do."""
    return [path for path, value in wanted.items() if not same(value, held.get(path))]


# --- entities --------------------------------------------------------------------------------------------------


def test_what_is_written_is_read(port: Port) -> None:
    """Every kind of value reads back as it was written, in one round, computed values left out."""
    assert [WriteResult("a+b/c")] == upsert(port, "thing", EntityWrite("a+b/c", normal(RICH), create=True))
    found = read(port, "thing")["a+b/c"]
    assert normal(RICH) == found.fields
    assert differing(normal(RICH), found.fields) == []
    assert found.updated_at == "" or found.updated_at.endswith("Z")


def test_writing_again_changes_nothing(port: Port) -> None:
    """A write may be repeated to the same effect."""
    for _ in range(2):
        upsert(port, "thing", EntityWrite("a", normal(RICH), create=True))
    assert {"a": normal(RICH)} == {name: entity.fields for name, entity in read(port, "thing").items()}


def test_merge_leaves_the_rest(port: Port) -> None:
    """What a write does not speak of stays; that goes for bulk and for single writes."""
    upsert(port, "thing", EntityWrite("a", normal(RICH), create=True))
    upsert(port, "thing", EntityWrite("a", {"properties.text": "new"}))
    upsert(port, "thing", EntityWrite("a", {"icon": None, "properties.number": 2}))
    expected = {**normal(RICH), "properties.text": "new", "icon": None, "properties.number": 2}
    assert expected == read(port, "thing")["a"].fields


def test_everything_can_be_cleared(port: Port) -> None:
    """None empties each path of an existing entity, whatever kind of value it held."""
    upsert(port, "thing", EntityWrite("a", normal(RICH), create=True))
    assert [WriteResult("a")] == upsert(port, "thing", EntityWrite("a", dict.fromkeys(PATHS)))
    held = read(port, "thing")["a"].fields
    assert differing(dict.fromkeys(PATHS), held) == []


def test_null_of_a_new_entity_ends_as_null(port: Port) -> None:
    """A property that shall be empty is empty after at most one update, default or not."""
    wanted: Fields = dict.fromkeys(PATHS)
    upsert(port, "thing", EntityWrite("a", wanted, create=True))
    left = differing(wanted, read(port, "thing")["a"].fields)
    upsert(port, "thing", EntityWrite("a", dict.fromkeys(left)))
    assert differing(wanted, read(port, "thing")["a"].fields) == []


def test_title_that_port_makes_up() -> None:
    """Where Port shows the identifier for a missing title, that is what is read."""
    with running_port(Behaviour(missing_title="identifier")) as port:
        furnish(port)
        upsert(port, "thing", EntityWrite("a", {}, create=True))
        assert read(port, "thing", ["title"])["a"].fields == {"title": "a"}


def test_a_failure_is_its_entitys_own(port: Port) -> None:
    """Missing targets and refused values fail their entity, with Port's message; the others are stored."""
    writes = [
        EntityWrite("good", {"properties.text": "x"}, create=True),
        EntityWrite("dangling", {"relations.one": "nowhere"}, create=True),
        EntityWrite("wrong", {"properties.number": "one"}, create=True),
        EntityWrite("also-good", {"properties.text": "y"}, create=True),
    ]
    good, dangling, wrong, also = upsert(port, "thing", *writes)
    assert (good.error, also.error) == ("", "")
    assert "not_found" in dangling.error
    assert "nowhere" in dangling.error
    assert "(422)" in wrong.error
    assert set(port.store.entities("thing")) == {"good", "also-good"}
    assert set(port.store.entities("target")) == {"t/1", "t:2", "t3"}


def test_an_identifier_that_port_refuses(port: Port) -> None:
    """Port refuses a whole call for one bad identifier; the others are stored all the same."""
    names = [f"e{n}" for n in range(9)]
    names[4] = "not allowed"
    results = upsert(port, "thing", *(EntityWrite(name, {"properties.text": name}, create=True) for name in names))
    assert [name == "not allowed" for name in names] == [bool(result.error) for result in results]
    assert set(port.store.entities("thing")) == set(names) - {"not allowed"}


def test_patch_of_an_unknown_entity(port: Port) -> None:
    """Clearing the title of an entity that is gone is a failure, not a new entity."""
    (result,) = upsert(port, "thing", EntityWrite("gone", {"title": None}))
    assert "not_found" in result.error
    assert port.store.entities("thing") == {}


def test_unknown_blueprint(port: Port) -> None:
    """Writing to a blueprint that Port does not have fails; reading it finds nothing."""
    (result,) = upsert(port, "nowhere", EntityWrite("a", {"title": "A"}))
    assert "not_found" in result.error
    assert read(port, "nowhere") == {}
    assert port.read(lambda reader: reader.known([EntityKey("nowhere", "a")])) == frozenset()
    assert port.read(lambda reader: reader.edits([EntityKey("nowhere", "a")])) == {}


def test_known(port: Port) -> None:
    """Known are those of the keys that exist, whatever characters they have."""
    keys = {EntityKey("target", name) for name in ("t/1", "t:2", "t4")} | {EntityKey("thing", "t/1")}
    assert port.read(lambda reader: reader.known(keys)) == {EntityKey("target", "t/1"), EntityKey("target", "t:2")}


@pytest.mark.parametrize("count", [999, 1000, 1001, 2000])
@pytest.mark.parametrize("empty_last_page", [False, True])
def test_pages(count: int, *, empty_last_page: bool) -> None:
    """Entities are read completely and once, around the size of a page too."""
    with running_port(Behaviour(next_on_full_last_page=empty_last_page)) as port:
        port.write(lambda writer: writer.create_blueprint(TARGET))
        names = [f"e{n:05}" for n in range(count)]
        for name in names:
            port.store.put_entity("target", {"identifier": name, "title": name})
        progress: list[tuple[str, int, int | None]] = []
        existing = port.read(lambda reader: reader.read({"target": ["title"]}, lambda *told: progress.append(told)))
        assert names == [key.identifier for key in existing.entities]
        assert names == [entity.fields["title"] for entity in existing.entities.values()]
        assert (progress[0], progress[-1]) == (("target", 0, None), ("target", count, count))


property_values: dict[str, st.SearchStrategy[Json]] = {
    "text": st.text(max_size=10),
    "choice": st.sampled_from(["a", "b"]),
    "when": st.datetimes(timezones=st.timezones()).map(lambda moment: moment.isoformat())
    | st.sampled_from(["2026-01-01T00:00:00Z", "2026-01-01T00:00:00.123456+05:30"]),
    "timer": st.sampled_from(["2026-01-01T00:00:00.5Z", "2026-06-01T12:00:00-07:00"]),
    "moments": st.lists(st.sampled_from(["2026-01-01T00:00:00Z", "2026-01-01T01:00:00+01:00"]), max_size=3),
    "url": st.sampled_from(["https://example.com", "http://user@example.com:80/a?b#c"]),
    "email": st.sampled_from(["zoe@example.com", "Zoe.O'Neill+x@example.co"]),
    "number": st.integers(-(2**60), 2**60) | st.floats(allow_nan=False, allow_infinity=False),
    "boolean": st.booleans(),
    "object": st.dictionaries(
        st.text(max_size=3), st.integers(-99, 99) | st.floats(-9, 9) | st.booleans() | st.text(max_size=3), max_size=3
    ),
    "list": st.lists(st.text(max_size=3), max_size=4),
}
entity_fields: st.SearchStrategy[Fields] = st.fixed_dictionaries(
    {},
    optional={
        "title": st.none() | st.text(min_size=1, max_size=10),
        "team": st.none() | st.lists(st.sampled_from(["platform", "payments"]), max_size=3),
        "relations.one": st.none() | st.sampled_from(["t/1", "t3"]),
        "relations.many": st.none() | st.lists(st.sampled_from(["t/1", "t:2", "t3"]), max_size=5),
        **{f"properties.{name}": st.none() | values for name, values in property_values.items()},
    },
)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(versions=st.lists(entity_fields, min_size=1, max_size=3))
def test_any_values_converge(shared: Port, versions: Sequence[Fields]) -> None:
    """However an entity's values change, what was last written of each path is what is read."""
    delete(shared, "thing", "e")
    held: Fields = {}
    for fields in versions:
        wanted = normal(fields)
        assert normal(wanted) == wanted
        (result,) = upsert(shared, "thing", EntityWrite("e", wanted, create=not held))
        if result.error:  # the sandbox checks formats: a date that is none is refused, and stays what it was
            assert "(422)" in result.error
            continue
        held = read(shared, "thing")["e"].fields
        assert differing(wanted, held) == []


# --- deletes ---------------------------------------------------------------------------------------------------

NEEDY = Blueprint(
    "needy",
    {
        "identifier": "needy",
        "title": "Needy",
        "schema": {"properties": {}},
        "relations": {"need": {"target": "target", "many": False, "required": True}},
    },
)


def test_delete(port: Port) -> None:
    """Entities go, one that is gone already counts as deleted, and nobody else goes."""
    upsert(port, "thing", EntityWrite("a", {"relations.one": "t/1"}, create=True))
    assert [WriteResult(name) for name in ("t/1", "gone", "t:2")] == delete(port, "target", "t/1", "gone", "t:2")
    assert set(port.store.entities("target")) == {"t3"}
    assert set(port.store.entities("thing")) == {"a"}


def test_delete_what_others_require(port: Port) -> None:
    """An entity that another one requires stays, with Port's reason; the rest of the list goes."""
    port.write(lambda writer: writer.create_blueprint(NEEDY))
    upsert(port, "needy", EntityWrite("n", {"relations.need": "t:2"}, create=True))
    first, needed, last = delete(port, "target", "t/1", "t:2", "t3")
    assert (first.error, last.error) == ("", "")
    assert "has_dependents" in needed.error
    assert set(port.store.entities("target")) == {"t:2"}
    assert set(port.store.entities("needy")) == {"n"}


# --- blueprints ------------------------------------------------------------------------------------------------


def held_blueprint(port: Port, identifier: str) -> Fields:
    return blueprint_fields(port.read(lambda reader: reader.read({})).blueprints[identifier].definition)


def test_blueprint_is_read_as_created(port: Port) -> None:
    """A blueprint reads back as it was created."""
    assert blueprint_fields(THING.definition) == held_blueprint(port, "thing")


def test_blueprint_changes(port: Port) -> None:
    """Paths are set and removed, the rest stays, entities keep the values of what stays."""
    upsert(port, "thing", EntityWrite("a", {"properties.text": "x"}, create=True))
    changes: Fields = {
        "title": "Things",
        "icon": None,
        "schema.properties.number": None,
        "schema.properties.more": {"type": "string", "title": "More"},
        "relations.self": None,
        "relations.new": {"target": "target", "many": True, "required": False},
        "mirrorProperties.mirrored": None,
        "calculationProperties.computed": {"calculation": ".title", "type": "string"},
    }
    for _ in range(2):
        port.write(lambda writer: writer.change_blueprint("thing", changes))
    expected = {**blueprint_fields(THING.definition), **changes}
    assert {path: value for path, value in expected.items() if value is not None} == held_blueprint(port, "thing")
    assert read(port, "thing", ["properties.text"])["a"].fields == {"properties.text": "x"}


def test_system_blueprint_is_extended(port: Port) -> None:
    """Relations can be added to a blueprint of Port's own; all it had stays."""
    before = held_blueprint(port, "_user")
    added = {"target": "thing", "many": False, "required": False}
    port.write(lambda writer: writer.change_blueprint("_user", {"relations.thing": added}))
    assert {**before, "relations.thing": added} == held_blueprint(port, "_user")


def extended(port: Port) -> None:
    furnish(port)
    added = {"target": "thing", "many": False, "required": False}
    port.write(lambda writer: writer.change_blueprint("_user", {"relations.thing": added}))


def test_removal_from_a_system_blueprint() -> None:
    """Where a patch replaces maps, what is removed is gone."""
    with running_port(Behaviour(patch_maps="replace")) as port:
        extended(port)
        port.write(lambda writer: writer.change_blueprint("_user", {"relations.thing": None}))
        assert "relations.thing" not in held_blueprint(port, "_user")


def test_removal_from_a_system_blueprint_without_effect() -> None:
    """Where a patch lays maps over the old ones, it is said that the part is still there."""
    with running_port(Behaviour(patch_maps="merge")) as port:
        extended(port)
        with pytest.raises(TargetError) as caught:
            port.write(lambda writer: writer.change_blueprint("_user", {"relations.thing": None}))
        assert caught.value.diagnostics[0].code == "PD414"
        assert "relations.thing" in held_blueprint(port, "_user")


def test_blueprint_type_change_is_refused(port: Port) -> None:
    """Port's refusal to change a property's type carries its message."""
    with pytest.raises(TargetError) as caught:
        port.write(lambda writer: writer.change_blueprint("thing", {"schema.properties.text": {"type": "number"}}))
    assert caught.value.diagnostics[0].code == "PD407"
    assert blueprint_fields(THING.definition) == held_blueprint(port, "thing")


def test_blueprint_is_deleted(port: Port) -> None:
    """A blueprint without entities goes; again is fine."""
    for _ in range(2):
        port.write(lambda writer: writer.delete_blueprint("thing"))
    assert port.store.blueprint("thing") is None


# --- the whole -------------------------------------------------------------------------------------------------


def test_reading_sends_nothing_but_reads(port: Port) -> None:
    """A reader gets its token, GETs, and POSTs to search; Port holds afterwards what it held before."""
    upsert(port, "thing", EntityWrite("a", normal(RICH), create=True))
    before = json.dumps(port.store.snapshot(), sort_keys=True)
    with Sandbox(port_store=port.store) as box:
        read(Port(box), "thing")
        Port(box).read(lambda reader: reader.known([EntityKey("target", "t/1")]))
    assert {f"{request.method} {request.path}" for request in box.log} == {
        "GET /v1/blueprints",
        "GET /v1/organization",
        "POST /v1/auth/access_token",
        "POST /v1/blueprints/target/entities/search",
        "POST /v1/blueprints/thing/entities/search",
    }
    assert box.log.port_writes() == []
    assert before == json.dumps(port.store.snapshot(), sort_keys=True)


def test_a_reader_cannot_write() -> None:
    """What a plan is given has no method that writes."""
    assert {name for name in vars(PortReader) if not name.startswith("_")} == {
        "read",
        "look",
        "whole",
        "known",
        "by_integration",
        "pointing_at",
        "scorecards",
        "edits",
        "refusals",
        "found",
        "stop",
    }


def test_a_short_read_takes_four_requests(port: Port) -> None:
    """Token, organization, blueprints, and one page per wanted blueprint: no more."""
    with Sandbox(port_store=port.store) as box:
        read(Port(box), "thing")
    assert sorted(f"{request.method} {request.path}" for request in box.log) == [
        "GET /v1/blueprints",
        "GET /v1/organization",
        "POST /v1/auth/access_token",
        "POST /v1/blueprints/thing/entities/search",
    ]


# --- disturbances ----------------------------------------------------------------------------------------------

BULK: dict[str, Any] = {"api": "port", "method": "POST", "path": "/entities/bulk"}
SEARCH: dict[str, Any] = {"api": "port", "method": "POST", "path": "/entities/search"}


@pytest.mark.parametrize("reset", ["epoch", "seconds"])
def test_rate_limit_is_waited_out(reset: Literal["epoch", "seconds"]) -> None:
    """More writes than a window allows get through, in either reading of the reset header."""

    async def many(writer: PortWriter) -> list[WriteResult]:
        return [(await writer.upsert("target", [EntityWrite(f"e{n}", {}, create=True)]))[0] for n in range(25)]

    with running_port(Behaviour(rate_limit_reset=reset), port_limit=10, port_period=1.0) as port:
        port.write(lambda writer: writer.create_blueprint(TARGET))
        assert port.write(many) == [WriteResult(f"e{n}") for n in range(25)]
        assert len(port.store.entities("target")) == 25


def test_token_that_runs_out_is_renewed() -> None:
    """Work goes on over the end of a token, even one that ends before it said it would."""
    now = [time.time()]
    store = PortStore(clock=lambda: now[0])

    async def twice(reader: PortReader) -> list[str]:
        first = await reader.read({})
        now[0] += 3600
        return [first.org_id, (await reader.read({})).org_id]

    with Sandbox(port_store=store, token_lifetime=1800.0) as box:
        assert Port(box).read(twice) == ["org_sandbox", "org_sandbox"]
    assert [request for request in box.log if request.status == 401]
    assert len([request for request in box.log if request.path == "/v1/auth/access_token"]) == 2


def test_wrong_credentials() -> None:
    """Bad credentials are named as such, and the secret is not repeated."""

    async def run(url: str) -> None:
        async with open_port_reader(url, "sandbox-client-id", "not-the-secret", user_agent="t") as reader:
            await reader.read({})

    with running_port() as port:
        with pytest.raises(TargetError) as caught:
            asyncio.run(run(port.box.port_url))
        assert caught.value.diagnostics[0].code == "PD402"
        assert "not-the-secret" not in repr(caught.value) + str(caught.value)


@pytest.mark.parametrize(
    "fault",
    [
        Fault("drop", when="after", **BULK),
        Fault("drop", when="before", **BULK),
        Fault("cut", **BULK),
        Fault("answer", status=503, **BULK),
        Fault("answer", when="after", status=502, **BULK),
        Fault("answer", status=401, **BULK),
        rate_limited(**BULK),
    ],
    ids=lambda fault: f"{fault.effect}-{fault.when}-{fault.status}",
)
def test_lost_answers_do_no_harm(fault: Fault) -> None:
    """A write whose answer is lost, done or not, is repeated and is done once."""
    with running_port() as port:
        furnish(port)
        port.box.faults.add(fault)
        assert upsert(port, "thing", EntityWrite("a", normal(RICH), create=True)) == [WriteResult("a")]
        assert normal(RICH) == read(port, "thing")["a"].fields


def test_lost_answers_to_blueprint_and_delete_calls() -> None:
    """Creating, changing and deleting may be repeated: a lost answer is made good without an error."""
    with running_port() as port:
        furnish(port)
        for method, path in (("PUT", "blueprints/thing"), ("POST", "entities/delete"), ("DELETE", "blueprints/thing")):
            port.box.faults.add(Fault("drop", when="after", api="port", method=method, path=path))
        port.box.faults.add(Fault("drop", when="after", api="port", method="POST", path="blueprints$"))
        port.write(lambda writer: writer.create_blueprint(NEEDY))
        port.write(lambda writer: writer.change_blueprint("thing", {"title": "Things"}))
        assert held_blueprint(port, "thing")["title"] == "Things"
        assert delete(port, "target", "t3") == [WriteResult("t3")]
        port.write(lambda writer: writer.delete_blueprint("thing"))
        assert port.store.blueprint("thing") is None
        assert port.store.blueprint("needy") is not None


def test_half_a_page_is_not_a_page() -> None:
    """A page that breaks off is never taken for the whole: it is read again, and an error in the end."""
    with running_port() as port:
        furnish(port)
        port.box.faults.add(Fault("cut", **SEARCH))
        assert set(read(port, "target")) == {"t/1", "t:2", "t3"}
        port.box.faults.add(Fault("truncate", **SEARCH))
        assert set(read(port, "target")) == {"t/1", "t:2", "t3"}
        port.box.faults.add(Fault("truncate", count=2, **SEARCH))
        with pytest.raises(TargetError) as caught:
            read(port, "target")
        assert caught.value.diagnostics[0].code == "PD412"
