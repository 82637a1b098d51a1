"""What a plan asks of Port about single entities: told where Port tells, and not known where it does not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pdsync.errors import TargetError
from pdsync.model import EntityKey, ExistingEntity, Scorecard
from pdsync.sandbox.http import Fault
from pdsync.sandbox.port import Behaviour
from tests.target.running import running_port
from tests.target.scripted import Answer, scripted_port
from tests.target.test_port_answers import reading

if TYPE_CHECKING:
    from tests.target.running import Port
    from tests.target.scripted import Request

OCEAN = "port-ocean/pagerduty/0.5.141/my-pd/exporter"
THING = {"identifier": "thing", "title": "Thing", "schema": {"properties": {}}}


def furnish(port: Port, *, count: int = 3) -> frozenset[EntityKey]:
    """Entities that the integration wrote (returned), that others wrote, and that somebody edited after it."""
    port.store.create_blueprint(THING)
    for n in range(count):
        port.store.put_entity("thing", {"identifier": f"ocean{n}"}, datasource=OCEAN)
        port.store.put_entity("thing", {"identifier": f"hand{n}"})
    port.store.put_entity("thing", {"identifier": "other"}, datasource="port-ocean/github/1/x/exporter")
    port.store.put_entity("thing", {"identifier": "edited"}, datasource=OCEAN)
    port.store.put_entity("thing", {"identifier": "edited", "title": "By hand"})
    return frozenset(EntityKey("thing", f"ocean{n}") for n in range(count))


def everything(port: Port) -> list[EntityKey]:
    return [EntityKey("thing", identifier) for identifier in port.store.entities("thing")]


def test_what_the_integration_wrote_last_is_told() -> None:
    """By the datasource of the last write, in any number; what was not asked for is not answered."""
    with running_port() as port:
        wrote = furnish(port, count=250)
        asked = [*everything(port), EntityKey("thing", "absent"), EntityKey("nothing", "at all")]
        assert port.read(lambda reader: reader.by_integration(asked)) == wrote
        some = frozenset(sorted(wrote)[:3])
        assert port.read(lambda reader: reader.by_integration(some)) == some


@pytest.mark.parametrize("how", ["refused", "everything"])
def test_a_port_that_cannot_search_by_datasource_tells_nothing(how: str) -> None:
    """A refusal is no answer, and neither is a rule without effect, which would call everything the integration's."""
    with running_port(Behaviour(datasource=how)) as port:  # type: ignore[arg-type]
        furnish(port)
        assert port.read(lambda reader: reader.by_integration(everything(port))) is None


def test_a_port_that_does_not_know_datasources_names_nobody() -> None:
    """Then nothing is the integration's: the side on which nothing is deleted."""
    with running_port(Behaviour(datasource="nothing")) as port:
        furnish(port)
        assert port.read(lambda reader: reader.by_integration(everything(port))) == frozenset()


def test_trouble_is_no_answer() -> None:
    """A server in trouble, or one whose answer cannot be read, is an error and not a no."""
    with running_port() as port:
        wrote = furnish(port)
        port.box.faults.add(Fault("answer", path="/v1/entities/search", status=403))
        with pytest.raises(TargetError):
            port.read(lambda reader: reader.by_integration(wrote))

    def script(_: Request) -> Answer:
        return Answer(200, {"ok": True, "entities": "none"})

    with scripted_port(script) as scripted, pytest.raises(TargetError):
        reading(scripted, lambda reader: reader.by_integration([EntityKey("thing", "a")]))


# --- what points at something

PAGE = {
    "identifier": "page",
    "title": "Page",
    "schema": {"properties": {"text": {"type": "string"}}},
    "relations": {
        "about": {"target": "thing", "many": False, "required": False},
        "mentions": {"target": "thing", "many": True, "required": False},
    },
}


def with_pages(port: Port) -> None:
    furnish(port, count=250)
    port.store.create_blueprint(PAGE)
    port.store.put_entity("page", {"identifier": "one", "relations": {"about": "ocean1", "mentions": ["hand1"]}})
    port.store.put_entity("page", {"identifier": "two", "relations": {"mentions": ["ocean1", "ocean249"]}})
    port.store.put_entity("page", {"identifier": "none", "properties": {"text": "x"}})


def test_what_points_at_entities_is_found_by_the_relation() -> None:
    """By a relation to one and to many, for any number of targets, and nothing else of the entity is read."""
    with running_port() as port:
        with_pages(port)
        every = [key.identifier for key in everything(port)]
        one = {EntityKey("page", "one"): ExistingEntity({"relations.about": "ocean1"})}
        assert port.read(lambda reader: reader.pointing_at("page", "about", every)) == one
        assert port.read(lambda reader: reader.pointing_at("page", "about", ["hand1"])) == {}
        found = port.read(lambda reader: reader.pointing_at("page", "mentions", every)) or {}
        assert {key.identifier: sorted(e.fields["relations.mentions"]) for key, e in found.items()} == {
            "one": ["hand1"],
            "two": ["ocean1", "ocean249"],
        }
        assert port.read(lambda reader: reader.pointing_at("page", "nothing", every)) == {}
        assert port.read(lambda reader: reader.pointing_at("nothing", "about", every)) == {}


def test_a_port_that_does_not_search_by_relations_tells_nothing() -> None:
    """It is not known then, rather than nothing."""
    with running_port() as port:
        with_pages(port)
        port.box.faults.add(Fault("answer", path="page/entities/search", status=422, count=None))
        assert port.read(lambda reader: reader.pointing_at("page", "about", ["ocean1"])) is None


# --- scorecards

CARD = {
    "identifier": "ready",
    "title": "Ready",
    "filter": {"combinator": "and", "conditions": [{"property": "text", "operator": "isNotEmpty"}]},
    "rules": [
        {
            "identifier": "owned",
            "title": "Owned",
            "level": "Gold",
            "query": {"combinator": "and", "conditions": [{"relation": "about", "operator": "=", "value": "x"}]},
        }
    ],
}


def test_scorecards_are_read_with_what_they_read() -> None:
    """Properties and relations of the filter and of every rule."""
    with running_port() as port:
        with_pages(port)
        port.store.scorecards["page"] = [CARD, {"identifier": "empty", "rules": []}]
        cards = (Scorecard("ready", frozenset({"text", "about"})), Scorecard("empty"))
        assert port.read(lambda reader: reader.scorecards("page")) == cards
        assert port.read(lambda reader: reader.scorecards("thing")) == ()
        assert port.read(lambda reader: reader.scorecards("nothing")) is None


@pytest.mark.parametrize("status", [400, 403, 404, 422])
def test_scorecards_that_may_not_be_read_are_not_known(status: int) -> None:
    """They have a permission of their own, which a plan does not need."""
    with running_port() as port:
        port.store.create_blueprint(THING)
        port.box.faults.add(Fault("answer", path="/scorecards", status=status))
        assert port.read(lambda reader: reader.scorecards("thing")) is None


@pytest.mark.parametrize("body", [{"ok": True, "Scorecard": [CARD]}, {"ok": True, "scorecards": [CARD]}])
def test_scorecards_are_found_under_any_name(body: Any) -> None:
    """Port does not document the answer."""
    with scripted_port(lambda _: Answer(200, body)) as scripted:
        (card,) = reading(scripted, lambda reader: reader.scorecards("page")) or ()
        assert card.identifier == "ready"
    with scripted_port(lambda _: Answer(200, {"ok": True})) as scripted:
        assert reading(scripted, lambda reader: reader.scorecards("page")) is None
