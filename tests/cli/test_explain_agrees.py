"""`explain` tells of an entity what `plan` tells: the same action, fields, causes, verdicts and numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pdsync.sandbox.server import Sandbox
from tests.cli.workspace import BLUEPRINTS, MAPPING, PROJECT, Workspace, make_workspace, small_world
from tests.state.places import ENVIRONMENT, SERVED

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PLACE = "catalog/mappings/pagerduty.yaml"
SELECTED = "selector: {query: 'true'}"
ALL_INCIDENTS = "query: 'true'\n      apiQueryParams"
EVENTS: tuple[dict[str, str], ...] = (
    {"action": "rename_service", "name": "Renamed"},
    {"action": "delete_service"},
    {"action": "delete_service"},
    {"action": "add_service", "name": "Brand new"},
)


@pytest.fixture
def moved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workspace]:
    """A workspace in which, since the last apply, everything has moved that can: PagerDuty, the catalog, Port, ours."""
    with Sandbox(small_world(services=9, users=3, incidents=8)) as box:
        here = make_workspace(tmp_path, box, monkeypatch)
        here.ok("-q", "apply", "--auto-approve")
        services = sorted(box.store.entities("service"))
        renamed, deleted, protected, edited, lost, forgotten, refused = services[:7]
        for event, service in zip(EVENTS, (renamed, deleted, protected, ""), strict=True):
            box.mutate({**event, **({"id": service} if service else {})})
        box.store.put_entity("service", {"identifier": edited, "properties": {"url": "https://by.hand"}})
        box.store.put_entity("service", {"identifier": forgotten, "properties": {"status": "other"}})
        box.store.put_entity("service", {"identifier": "foreign", "title": "Not ours"})
        box.store.delete_entity("service", lost)
        here.ok("-q", "state", "rm", f"service/{forgotten}", "--auto-approve")
        here.write("catalog/pdsync.yaml", PROJECT + f"  protect: [service/{protected}]\n")
        here.write("catalog/blueprints/all.yaml", BLUEPRINTS.replace("note: {type", "note: {maxLength: 20, type", 1))
        note = f'if .id == "{refused}" then "far too long for a note like this" else .summary[:9] end'
        mapping = MAPPING.replace("status: .status\n", f"status: .status\n            note: '{note}'\n", 1)
        users = mapping.index("- kind: users")
        mapping = mapping[:users] + mapping[users:].replace("identifier: .id", 'identifier: .id + "-x"', 1)
        here.write(PLACE, mapping.replace(ALL_INCIDENTS, "query: .id == null\n      apiQueryParams", 1))
        here.ok("-q", "snapshot")
        yield here


def verdict(plan: dict[str, Any], key: str) -> Any:
    """What a plan's document says of an entity."""
    for change in plan["changes"]:
        if f"{change['blueprint']}/{change['identifier']}" == key:
            fields = [(f["path"], f.get("before"), f.get("after"), f["causes"]) for f in change["fields"]]
            return change["action"], change["reason"], change["causes"], fields
    for part in ("withheld", "held"):
        for each in plan[part]:
            if f"{each['blueprint']}/{each['identifier']}" == key:
                return part, each["reason"]
    return "nothing"


def told(account: dict[str, Any]) -> Any:
    """What an explanation says of one, in the same shape."""
    following = account["next"]
    if following is not None:
        fields = [(f["path"], f["before"], f["after"], f["causes"]) for f in following["fields"]]
        return following["action"], following["reason"], following["causes"], fields
    if account["standing"] in ("withheld", "held"):
        return account["standing"], account["why"]
    return "nothing"


def agree(one: Any, other: Any) -> bool:
    """A verdict is told with more words than the plan's."""
    return bool(one == other or (one[0] == other[0] in ("withheld", "held") and other[1].startswith(one[1])))


def test_an_explanation_and_the_plan(moved: Workspace) -> None:
    """Over every kind of change at once, of each entity that the plan speaks of, and of some of which it does not."""
    plan = moved.run("-q", "plan", "--offline", "--format", "json").json
    spoken = [*plan["changes"], *plan["withheld"], *plan["held"]]
    keys = {f"{e['blueprint']}/{e['identifier']}": None for e in spoken if e.get("target") != "blueprint"}
    kinds = {verdict(plan, key)[:2] for key in keys}
    assert {kind[0] for kind in kinds} >= {"create", "update", "delete", "withheld", "held"}
    assert {kind[1] for kind in kinds} >= {"new", "gone-from-port", "taken-over", "identifier-changed", "protected"}
    assert ("withheld", "nothing would be left") in kinds
    by_kind = {verdict(plan, key)[:2]: key for key in keys}
    unchanged = sorted(moved.box.store.entities("service"))[-2:]
    for key in (*by_kind.values(), *(f"service/{each}" for each in unchanged), "service/foreign"):
        (account,) = moved.ok("explain", key, "--format", "json").json["entities"]
        assert agree(verdict(plan, key), told(account)), (key, verdict(plan, key), told(account))


def test_numbers_are_those_of_the_plan(moved: Workspace) -> None:
    """A delete that a limit withholds is told with the numbers of all of them, and with the plan's own flag."""
    plan = moved.run("-q", "plan", "--offline", "--format", "json").json
    guards = {guard["blueprint"]: guard for guard in plan["guards"]}
    each = next(e for e in plan["withheld"] if e.get("flag"))
    guard = guards[each["blueprint"]]
    out = moved.ok("explain", f"{each['blueprint']}/{each['identifier']}").out
    assert f"withheld: {each['reason']}: {guard['detail']}\n          `{guard['flag']}` lets it through\n" in out


def test_the_last_run_is_told_on_any_machine(here: Workspace, tmp_path: Path) -> None:
    """Where the state is shared its journals are, too: who ran nothing is told the same as who did."""
    service = min(here.box.world.services)
    with SERVED["https"](tmp_path) as place:
        state = ("-q", "--state", place.url)
        here.env.update(ENVIRONMENT)
        here.ok(*state, "apply", "--auto-approve")
        other = make_workspace(tmp_path / "other", here.box, here.monkeypatch)
        other.env.update(ENVIRONMENT)
        other.ok(*state, "snapshot")
        accounts = [each.ok(*state, "explain", service, "--format", "json").json["entities"] for each in (here, other)]
        assert not list(other.folder.rglob("journal/*.jsonl"))
    (mine,), (others,) = accounts
    assert mine["last"] == others["last"]
    assert (mine["last"]["action"], mine["last"]["status"], mine["last"]["operation"]) == ("create", "done", "apply")
