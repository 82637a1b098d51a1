"""Relations, teams and identifiers by search query, against a strict Port: resolved by the plan, and settled with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.cli.workspace import BLUEPRINTS, MAPPING

if TYPE_CHECKING:
    from tests.cli.workspace import Workspace

PLACE = "catalog/mappings/pagerduty.yaml"


def query(value: str, name: str = "pd", operator: str = "=") -> str:
    return (
        "{combinator: '\"and\"', rules: [{property: '\"" + name + "\"', operator: '\"" + operator + "\"', "
        "value: '" + value + "'}]}"
    )


def searching(relation: str, *, blueprints: str = BLUEPRINTS) -> tuple[str, str]:
    """Services keep PagerDuty's id in a property, and incidents find them by it."""
    named = MAPPING.replace("identifier: .id\n", "identifier: '\"svc-\" + .id'\n", 1)
    named = named.replace("            status: .status\n            url", "            pd: .id\n            url", 1)
    return (
        blueprints.replace("status: {type: string, title: Status}", "pd: {type: string}").replace(
            "service.status", "service.pd"
        ),
        named.replace("service: .service.id", f"service: {relation}"),
    )


@pytest.fixture
def found(here: Workspace) -> Workspace:
    blueprints, mapping = searching(query(".service.id"))
    here.write("catalog/blueprints/all.yaml", blueprints)
    here.write(PLACE, mapping)
    return here


def relations(plan: dict[str, Any], name: str = "relations.service") -> dict[str, Any]:
    return {
        c["identifier"]: f["after"]
        for c in plan["changes"]
        if c["blueprint"] == "incident" and c["target"] == "entity"
        for f in c["fields"]
        if f["path"] == name
    }


def codes(plan: dict[str, Any]) -> set[str]:
    return {d["code"] for d in plan["diagnostics"]}


def test_a_relation_finds_what_the_same_plan_creates(found: Workspace) -> None:
    """The plan shows the identifiers, what is found comes first, and after the apply there is nothing left."""
    plan = found.plan()
    assert set(relations(plan).values()) <= {c["identifier"] for c in plan["changes"] if c["blueprint"] == "service"}
    assert len(relations(plan)) == 6
    found.ok("-q", "apply", "--auto-approve")
    stored = found.box.store.entities("incident")
    assert {i: e["relations"]["service"] for i, e in stored.items()} == relations(plan)
    assert found.changes() == []


def test_planning_only_reads_and_asks_alike_queries_at_once(found: Workspace) -> None:
    """A plan without changes reads the services, and asks one question for all its incidents."""
    found.ok("-q", "apply", "--auto-approve")
    found.box.log.clear()
    assert found.plan()["changes"] == []
    asked = [r for r in found.box.log.all("port") if r.path == "/v1/blueprints/service/entities/search"]
    assert (len(asked), found.box.log.port_writes()) == (2, [])


def test_a_change_of_what_is_searched_for_is_followed_in_the_same_plan(found: Workspace) -> None:
    """Values that this plan changes count as they will be: all incidents move on with it, and it settles."""
    found.ok("-q", "apply", "--auto-approve")
    _, mapping = searching(query('.service.id + "!"'))
    found.write(PLACE, mapping.replace("pd: .id", 'pd: .id + "!"'))
    assert found.plan()["summary"]["update"] == 4  # the services alone: every incident still finds its own
    found.ok("-q", "apply", "--auto-approve")
    assert found.changes() == []


def test_another_identifier_is_followed(found: Workspace) -> None:
    """What is searched for is renamed by the plan: the old one is not found beside the new one."""
    found.ok("-q", "apply", "--auto-approve")
    _, mapping = searching(query(".service.id"))
    found.write(PLACE, mapping.replace('"svc-" + .id', '"s-" + .id'))
    plan = found.plan()
    assert (plan["summary"]["rename"], plan["summary"]["update"]) == (4, 6)
    assert all(after.startswith("s-") for after in relations(plan).values())
    found.ok("-q", "apply", "--auto-approve")
    assert found.changes() == []


@pytest.mark.parametrize(
    ("relation", "code", "exit_code", "updates"),
    [
        (query('"nowhere"'), "PD222", 0, 6),
        (query('"P"', operator="contains"), "PD223", 1, 0),
        (query(".service.id", operator="in"), "PD220", 0, 0),
        (query(".service.id", name="none"), "PD222", 0, 6),
    ],
)
def test_nothing_several_and_refused(found: Workspace, relation: str, code: str, exit_code: int, updates: int) -> None:
    """Nothing empties the relation; several, and what Port does not take, leave it as it is; each is said."""
    found.ok("-q", "apply", "--auto-approve")
    found.write(PLACE, searching(relation)[1])
    plan = found.ok("-q", "plan", "--format", "json", code=exit_code).json
    assert (codes(plan), plan["summary"]["update"]) == ({code}, updates)
    assert set(relations(plan).values()) <= {None}


def test_an_identifier_by_search_writes_what_is_there(here: Workspace) -> None:
    """An entity made by hand is found by its property and written to; a record that finds none makes nothing."""
    service = min(here.box.world.services)
    here.write("catalog/blueprints/all.yaml", BLUEPRINTS)
    here.ok("-q", "apply", "--auto-approve")
    hand = {"identifier": "by-hand", "properties": {"note": service}}
    here.box.store.put_entity("service", hand)
    extra = f"""\
resources:
  - kind: services
    selector: {{query: '.id == "{service}"'}}
    port:
      entity:
        mappings:
          identifier: {query(".id", "note")}
          blueprint: '"service"'
          properties: {{status: .status}}
"""
    here.write("catalog/mappings/extra.yaml", extra)
    plan = here.plan()
    assert [(c["action"], c["identifier"]) for c in plan["changes"]] == [("update", "by-hand")]
    here.ok("-q", "apply", "--auto-approve")
    assert here.changes() == []
    other = max(here.box.world.services)
    for name in ("one", "two"):
        here.box.store.put_entity("service", {"identifier": name, "properties": {"note": other}})
    here.write("catalog/mappings/extra.yaml", extra.replace(f"'.id == \"{service}\"'", "'true'"))
    plan = here.run("-q", "plan", "--format", "json").json
    assert (codes(plan), plan["changes"]) == ({"PD221"}, [])
    none, several = sorted(plan["diagnostics"], key=lambda each: "finds 2" in each["detail"])
    assert ("finds no service (first of 2 records)" in none["detail"], len(none["records"])) == (True, 2)
    assert ("finds 2 of service: one, two" in several["detail"], several["records"]) == (True, [f"services/{other}"])


def test_a_mirrored_value_is_told_by_the_next_plan(found: Workspace) -> None:
    """What only Port works out of new entities is not told before they are there: said now, and seen next time."""
    blueprints, mapping = searching(query(".service.id"))
    person = "identifier: person\ntitle: Person\nschema: {properties: {role: {type: string}}, required: []}\n"
    related = person + "relations:\n  all: {target: incident, required: false, many: true}\n"
    found.write("catalog/blueprints/all.yaml", blueprints.replace(person, related))
    wanted = query('"P"', "serviceStatus", "contains")
    found.write(PLACE, mapping.replace("role: .role\n", f"role: .role\n          relations: {{all: {wanted}}}\n"))
    assert codes(found.plan()) == {"PD222", "PD224"}
    found.ok("-q", "apply", "--auto-approve")
    plan = found.plan()
    assert (codes(plan), plan["summary"]["update"]) == (set(), 3)
    found.ok("-q", "apply", "--auto-approve")
    assert found.changes() == []
