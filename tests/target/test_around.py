"""What a plan asks of Port about single entities: told where Port tells, and not known where it does not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pdsync.errors import TargetError
from pdsync.model import EntityKey
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
