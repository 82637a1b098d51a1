"""The starter catalog: valid without a word, one source, and better than what it began as."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pdsync.catalog import check_catalog, load_catalog
from pdsync.catalog.starter import starter_files
from pdsync.model import Catalog, Expression, MappingRule
from tests.catalog.cases import STARTER

SEED = Path(__file__).parent.parent / "fixtures" / "seed"


@pytest.fixture(scope="module")
def starter() -> Catalog:
    return load_catalog(STARTER)


def test_the_starter_has_no_problem_of_any_kind() -> None:
    """No error, no warning, not even a note."""
    assert check_catalog(STARTER)[1] == ()


def test_the_starter_files_are_those_of_the_repository() -> None:
    """Packaged are the files of catalog/ themselves, every one."""
    files = {path.relative_to(STARTER).as_posix(): path.read_bytes() for path in STARTER.rglob("*") if path.is_file()}
    assert starter_files() == files


def test_the_starter_is_not_kept_twice() -> None:
    """In the repository, each packaged file is a link to the one source."""
    import pdsync.catalog

    links = [path for path in (Path(pdsync.catalog.__file__).parent / "starter_files").rglob("*") if not path.is_dir()]
    assert [path for path in links if not (path.is_symlink() and path.resolve().is_relative_to(STARTER))] == []


def test_the_starter_covers_what_ports_default_does(starter: Catalog) -> None:
    """Six blueprints, and seven resources that write them all."""
    assert [rule.kind for rule in starter.rules] == [
        "services",
        "incidents",
        "incidents",
        "schedules",
        "oncalls",
        "escalation_policies",
        "users",
    ]
    written = {json.loads(rule.blueprint.text) for rule in starter.rules}
    assert written == set(starter.blueprints)


def _rule(starter: Catalog, kind: str, number: int = 0) -> MappingRule:
    return [rule for rule in starter.rules if rule.kind == kind][number]


def _value(expression: object, record: dict[str, Any]) -> Any:
    assert isinstance(expression, Expression)
    return jq.compile(expression.text).input_value(record).first()


def _mapped(rule: MappingRule, record: dict[str, Any]) -> dict[str, Any]:
    return {path: _value(expression, record) for path, expression in rule.fields.items()}


def _seed(name: str) -> dict[str, Any]:
    record: dict[str, Any] = json.loads((SEED / f"{name}.json").read_bytes())
    return record


def test_an_on_call_of_the_documentation(starter: Catalog) -> None:
    """The relation to many gets a list; the identifier is made of what tells on-calls apart."""
    rule, record = _rule(starter, "oncalls"), _seed("oncall")
    assert _value(rule.identifier, record) == "P7LVMYP-1-PWAXLIH-HDW63E2"
    assert _mapped(rule, record) == {
        "title": "John Doe, level 1 of Test Escalation Policy",
        "properties.url": "https://getport-io.pagerduty.com/schedules/PWAXLIH",
        "properties.user": "johndoe@domain.io",
        "properties.escalationLevel": 1,
        "properties.startDate": "2024-02-25T00:00:00Z",
        "properties.endDate": "2024-04-14T11:10:48Z",
        "relations.pagerdutySchedule": ["PWAXLIH"],
        "relations.pagerdutyEscalationPolicy": "P7LVMYP",
    }


def _without_summary(**more: Any) -> Any:
    return {"id": "P1", "summary": None, **more}


@pytest.mark.parametrize(
    ("user", "policy", "title"),
    [
        (_without_summary(), _without_summary(), "P1, level 1 of P1"),
        (_without_summary(email="a@x"), _without_summary(name="Database"), "a@x, level 1 of Database"),
        (_without_summary(email="a@x", name="Adam"), {"id": "P2"}, "Adam, level 1 of P2"),
    ],
)
def test_an_on_call_without_summaries_has_a_title_all_the_same(
    starter: Catalog, user: Any, policy: Any, title: str
) -> None:
    """PagerDuty lets the summary of a reference be null: that is nobody's name."""
    mapped = _mapped(_rule(starter, "oncalls"), {**_seed("oncall"), "user": user, "escalation_policy": policy})
    assert mapped["title"] == title


def test_names_of_nobody_are_no_values(starter: Catalog) -> None:
    """A user without teams' names has their ids, one without labels none; who has no e-mail hides nobody on call."""
    user = {"teams": [{"id": "PT1", "summary": None}, {"id": "PT2", "summary": "Ops"}]}
    user["contact_methods"] = [{"id": "PC1", "summary": None}, {"id": "PC2", "summary": "Work"}]
    mapped = _mapped(_rule(starter, "users"), user)
    assert (mapped["properties.teams"], mapped["properties.contact_methods"]) == (["PT1", "Ops"], ["Work"])
    rows = [{"escalation_level": 1, "user": {"email": email}} for email in ("b@x", None)]
    for kind, key, path in (
        ("services", "__oncall_user", "oncall"),
        ("escalation_policies", "__oncall_users", "primaryOncall"),
    ):
        assert _mapped(_rule(starter, kind), {key: rows})[f"properties.{path}"] == "b@x"


LISTS = [("incidents", "assignments", "assignees"), ("schedules", "users", "users")]
LISTS += [("users", "teams", "teams"), ("users", "contact_methods", "contact_methods")]


@pytest.mark.parametrize("given", [{}, None, []])
def test_a_record_without_its_lists_has_empty_ones(starter: Catalog, given: Any) -> None:
    """PagerDuty's specification requires none of them; there are no errors, and nothing passes for one."""
    enriched: dict[str, Any] = {"__oncall_user": [], "__oncall_users": []}
    for rule in starter.rules:
        lists = {} if given == {} else {key: given for kind, key, _ in LISTS if kind == rule.kind}
        mapped = _mapped(rule, {**enriched, **lists})
        found = {path for kind, _, path in LISTS if kind == rule.kind and f"properties.{path}" in mapped}
        assert all(mapped[f"properties.{path}"] == [] for path in found)


@pytest.mark.parametrize(("kind", "key", "path"), LISTS)
@pytest.mark.parametrize("odd", ["PT1", 5, ["PT1"]])
def test_what_is_no_list_of_objects_is_an_error(starter: Catalog, kind: str, key: str, path: str, odd: Any) -> None:
    """That something may be absent hides nothing else."""
    expression = _rule(starter, kind).fields[f"properties.{path}"]
    with pytest.raises(ValueError, match="Cannot i"):
        _value(expression, {key: odd})


def test_somebody_who_stands_in_a_policy_directly(starter: Catalog) -> None:
    """Without a schedule there is no start and no end; the identifier has a word in its place."""
    rule = _rule(starter, "oncalls")
    record = {**_seed("oncall"), "schedule": None, "start": None, "end": None}
    assert _value(rule.identifier, record) == "P7LVMYP-1-direct-HDW63E2"
    mapped = _mapped(rule, record)
    assert (mapped["relations.pagerdutySchedule"], mapped["properties.url"]) == (
        [],
        "https://getport-io.pagerduty.com/escalation_policies/P7LVMYP",
    )


ONCALLS = _rule(load_catalog(STARTER), "oncalls")
IDS = st.text("PABC123", min_size=1, max_size=4)
KEYS = st.tuples(IDS, st.integers(1, 3), IDS | st.none(), IDS)


@given(KEYS, KEYS)
def test_on_calls_of_the_starter_do_not_collide(one: tuple[Any, ...], other: tuple[Any, ...]) -> None:
    """Two on-calls have the same identifier only if policy, level, schedule and user are the same."""
    records = [
        {
            "escalation_policy": {"id": policy},
            "escalation_level": level,
            "schedule": schedule and {"id": schedule},
            "user": {"id": user},
        }
        for policy, level, schedule, user in (one, other)
    ]
    first, second = (_value(ONCALLS.identifier, record) for record in records)
    assert (first == second) == (one == other)


def test_a_service_of_the_documentation(starter: Catalog) -> None:
    """On call is who is at level 1; without analytics the numbers are empty."""
    mapped = _mapped(_rule(starter, "services"), _seed("service"))
    assert {path: value for path, value in mapped.items() if value is not None} == {
        "title": "My Test Service",
        "properties.status": "active",
        "properties.url": "https://getport-io.pagerduty.com/service-directory/PGAAJBE",
        "properties.oncall": "devops-port@pager-demo.com",
        "properties.escalationLevels": 0,
    }


def test_the_second_on_call_is_of_the_second_level(starter: Catalog) -> None:
    """Two people at level 1 are not each other's second; the order of rows does not matter."""
    rows = [(1, "b@x"), (2, "c@x"), (1, "a@x"), (2, None)]
    record = {
        "__oncall_user": [{"escalation_level": level, "user": {"email": email}} for level, email in rows[:3]],
        "escalation_policy": {"escalation_rules": [{}, {}, {}]},
    }
    mapped = _mapped(_rule(starter, "services"), record)
    assert (
        mapped["properties.oncall"],
        mapped["properties.secondaryOncall"],
        mapped["properties.escalationLevels"],
    ) == (
        "a@x",
        "c@x",
        3,
    )


def test_an_incident_of_the_documentation(starter: Catalog) -> None:
    """References that are not expanded have no e-mail: the list is empty, not full of nulls."""
    rule, record = _rule(starter, "incidents"), _seed("incident")
    assert _value(rule.identifier, record) == "Q1P3AHC3KLGVAS"
    mapped = _mapped(rule, record)
    assert mapped["properties.assignees"] == []
    assert mapped["relations.pagerdutyService"] == "PWJAGSD"
    assert "properties.assignees" not in _rule(starter, "incidents", 1).fields


def test_teams_and_contact_methods_become_their_names(starter: Catalog) -> None:
    """Lists of text, and never an address or a number."""
    record = {
        "teams": [{"id": "T1", "summary": "Core"}],
        "contact_methods": [{"type": "sms_contact_method", "summary": "Mobile", "address": "5550100"}],
    }
    mapped = _mapped(_rule(starter, "users"), record)
    assert (mapped["properties.teams"], mapped["properties.contact_methods"]) == (["Core"], ["Mobile"])
