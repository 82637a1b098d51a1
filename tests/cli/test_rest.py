"""A plan that found nothing to do is not made again while all is as it was; whatever moves, it is."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from pdsync.mapping import map_entities
from pdsync.state.store import REST
from tests.cli.workspace import BLUEPRINTS, MAPPING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cli.workspace import Workspace


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many records each mapping was given; empty while nothing is mapped."""
    found: list[int] = []
    mapped: Callable[..., Any] = map_entities

    def noted(rules: Any, snapshot: Any, **others: Any) -> Any:
        found.append(len(snapshot.collections))
        return mapped(rules, snapshot, **others)

    monkeypatch.setattr("pdsync.commands.map_entities", noted)
    return found


def _rest(here: Workspace) -> Path:
    return here.folder / "state" / REST


def _text(here: Workspace) -> str:
    """The plan as text, without the moment of its snapshot."""
    return re.sub(r"snapshot of \S+", "snapshot", here.ok("plan").out)


def _document(here: Workspace) -> dict[str, Any]:
    """The plan as JSON, without the moment of its snapshot and the digest that covers it."""
    document: dict[str, Any] = here.ok("-q", "plan", "--format", "json").json
    document["base"].pop("taken_at")
    document.pop("checksum")
    return document


def test_the_plan_is_the_same_and_nothing_is_mapped(applied: Workspace, made: list[int]) -> None:
    """To the last word, in text as well; without the file it is made as ever."""
    plain, text = _document(applied), _text(applied)
    assert (plain["changes"], plain["summary"]["unchanged"]) == ([], 13)
    made.clear()
    assert (_document(applied), _text(applied)) == (plain, text)
    assert made == []
    _rest(applied).unlink()
    assert _document(applied) == plain
    assert made != []


def _renamed(here: Workspace) -> None:
    here.box.mutate({"action": "rename_service", "id": min(here.box.store.entities("service")), "name": "Renamed"})


def _deleted(here: Workspace) -> None:
    here.box.mutate({"action": "delete_service", "id": min(here.box.store.entities("service"))})


def _edited(here: Workspace) -> None:
    edited = min(here.box.store.entities("service"))
    here.box.store.put_entity("service", {"identifier": edited, "properties": {"status": "by hand"}})


def _gone(here: Workspace) -> None:
    here.box.store.delete_entity("person", min(here.box.store.entities("person")))


def _mapped_otherwise(here: Workspace) -> None:
    here.write("catalog/mappings/pagerduty.yaml", MAPPING.replace("role: .role", 'role: .role + "!"'))


def _described(here: Workspace) -> None:
    here.write("catalog/blueprints/all.yaml", BLUEPRINTS.replace("title: Service", "title: A service", 1))


def _forgotten(here: Workspace) -> None:
    here.ok("state", "rm", "--auto-approve", "service/" + min(here.box.store.entities("service")))


@pytest.mark.parametrize("move", [_renamed, _deleted, _edited, _gone, _mapped_otherwise, _described, _forgotten])
def test_whatever_moves_is_found(applied: Workspace, move: Callable[[Workspace], None]) -> None:
    """In PagerDuty, in Port, in the catalog, in the state."""
    for _ in range(2):
        assert applied.changes() == []
    assert _rest(applied).exists()
    move(applied)
    assert applied.changes() != []


def test_a_foreign_entity_is_counted(applied: Workspace) -> None:
    """It changes nothing, and the plan says that there is one."""
    applied.plan()
    applied.box.store.put_entity("service", {"identifier": "foreign", "title": "Somebody's"})
    assert applied.plan()["summary"]["foreign"] == 1


@pytest.mark.parametrize("options", [("--only", "service/*"), ("--no-delete",), ("--validate-remote",)])
def test_a_plan_with_other_options_is_made(applied: Workspace, options: tuple[str, ...], made: list[int]) -> None:
    """What is remembered is the plan of everything, as it is without being told anything."""
    applied.plan()
    made.clear()
    applied.ok("-q", "plan", *options)
    assert made != []


def test_what_has_more_to_say_is_not_remembered(here: Workspace) -> None:
    """Changes, warnings, fields that are left alone: each is looked at anew."""
    here.plan()
    assert not _rest(here).exists()
    here.write("catalog/mappings/pagerduty.yaml", MAPPING.replace("role: .role", "role: .role, 1"))
    here.ok("-q", "apply", "--auto-approve")
    assert here.changes() == []
    assert not _rest(here).exists()


@pytest.mark.parametrize("content", [b"", b"{}", b'{"format":"pdsync-rest","version":2}', b"[1]"])
def test_a_file_that_cannot_be_used_is_replaced(applied: Workspace, content: bytes) -> None:
    """Whatever stands in it."""
    applied.plan()
    sound = _rest(applied).read_bytes()
    _rest(applied).write_bytes(content)
    assert applied.changes() == []
    assert _rest(applied).read_bytes() == sound
