"""`--validate-remote`: Port is asked about creates and updates, stores nothing, and what it would refuse is held."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pdsync.sandbox.port_rules import Behaviour
from pdsync.sandbox.port_store import PortStore
from pdsync.sandbox.server import Sandbox
from tests.cli.workspace import MAPPING, make_workspace, small_world

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from tests.cli.workspace import Workspace

TITLE = "          title: .name\n          blueprint: '\"service\"'"
WITH_TEAM = TITLE.replace(
    "title: .name", 'title: .name\n          team: if .name == "Not fine" then "nobody" else null end'
)


def test_what_port_says_it_would_refuse_is_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A team that only Port knows not to exist: an error with Port's message, and the rest goes on."""
    store = PortStore(behaviour=Behaviour(unknown_teams="refuse"))
    with Sandbox(small_world(), port_store=store) as box:
        here = make_workspace(tmp_path, box, monkeypatch)
        here.write("catalog/mappings/pagerduty.yaml", MAPPING.replace(TITLE, WITH_TEAM))
        here.ok("-q", "apply", "--auto-approve")
        first, second = sorted(box.world.services)[:2]
        for service, name in ((first, "Fine"), (second, "Not fine")):
            box.mutate({"action": "rename_service", "id": service, "name": name})
        before = store.snapshot()
        ran = here.ok("plan", "--validate-remote", code=1)
        assert ("PD612" in ran.err, f"service/{second}: Port would refuse it" in ran.out) == (True, True)
        assert "1 to update" in ran.out
        assert store.snapshot() == before
        here.ok("apply", "--auto-approve", "--validate-remote", code=1)
        titles = {name: entity["title"] for name, entity in store.entities("service").items()}
        assert (titles[first], titles[second] == "Not fine") == ("Fine", False)


def test_asking_is_only_asking(applied: Workspace) -> None:
    """Each request of it says that nothing is to be stored, and nothing is."""
    applied.box.store.delete_entity("service", min(applied.box.world.services))
    applied.box.log.clear()
    before = applied.box.store.snapshot()
    applied.ok("plan", "--validate-remote")
    asked = applied.box.log.port_writes()
    assert {(call.method, "validation_only=true" in call.query, call.status) for call in asked} == {("POST", True, 200)}
    assert applied.box.store.snapshot() == before


def test_what_port_could_not_be_asked_about_is_said(here: Workspace) -> None:
    """Of a blueprint that is yet to be made Port knows nothing: a warning counts whose entities were not asked about."""
    ran = here.ok("plan", "--validate-remote")
    assert "warning[PD616]" in ran.err
    assert "6 of incident, 3 of person, 4 of service" in ran.err
    here.ok("-q", "apply", "--auto-approve")
    assert "PD616" not in here.ok("plan", "--validate-remote").err
