"""The examples of Port's PagerDuty page: as printed, and put right as the warnings say."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import tests.catalog
from pdsync.sandbox.server import Sandbox
from tests.cli.workspace import Workspace, make_workspace, small_world

if TYPE_CHECKING:
    from collections.abc import Iterator

PASTED = Path(tests.catalog.__file__).parent / "pasted"
SERVICE_BLUEPRINT = PASTED / "service-analytics" / "catalog" / "blueprints" / "service.json"
NAMED = (
    "teams",
    "audit/records",
    "business_services",
    "extensions",
    "incident_workflows",
    "status_dashboards",
    "vendors",
)
"""What the page says can be ingested as well; two of these fail in Port's integration."""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workspace]:
    with Sandbox(small_world(incidents=40)) as box:
        yield make_workspace(tmp_path, box, monkeypatch)


def pasted(here: Workspace, name: str) -> dict[str, str]:
    """A workspace with an example's catalog as printed; the text of its mapping, by file."""
    shutil.rmtree(here.folder / "catalog")
    shutil.copytree(PASTED / name / "catalog", here.folder / "catalog")
    (mapping,) = (here.folder / "catalog" / "mappings").iterdir()
    return {f"catalog/mappings/{mapping.name}": mapping.read_text(encoding="utf-8")}


def corrected(here: Workspace, texts: dict[str, str], changes: dict[str, str]) -> None:
    """Change the mapping, each text exactly once."""
    for name, text in texts.items():
        changed = text
        for old, new in changes.items():
            assert changed.count(old) == 1, old
            changed = changed.replace(old, new)
        here.write(name, changed)


def entities(here: Workspace, blueprint: str) -> list[dict[str, Any]]:
    found: dict[str, dict[str, Any]] = here.box.store.entities(blueprint)
    return [found[name] for name in sorted(found)]


def test_service_analytics(here: Workspace) -> None:
    """As printed it runs, and says what Port would refuse: a text where the blueprint has a list.  Put right it is done."""
    texts = pasted(here, "service-analytics")
    printed = here.ok("apply", "--auto-approve", code=1)
    assert (printed.err.count("warning[PD157]"), printed.err.count("warning[PD160]")) == (1, 1)
    assert (
        "pagerdutyService x 4, P390CCA, PBQV5PO, PH02XNL and 1 more: Port would refuse properties.oncall" in printed.out
    )
    assert entities(here, "pagerdutyService") == []
    corrected(
        here,
        texts,
        {
            ".__oncall_user | sort_by(.escalation_level) | .[0].user.email": (
                "'[.__oncall_user | sort_by(.escalation_level) | .[0].user.email | values]'"
            ),
            "            secondaryOncall: .__oncall_user | sort_by(.escalation_level) | .[1].user.email\n": "",
        },
    )
    ran = here.ok("apply", "--auto-approve", "--prove")
    assert ("warning" in ran.err, "Proven" in ran.out) == (False, True)
    for each in entities(here, "pagerdutyService"):
        properties = each["properties"]
        assert isinstance(properties["oncall"], list)
        assert isinstance(properties.get("totalIncidentCount", 0), int)
    assert any(each["properties"].get("totalIncidentCount") for each in entities(here, "pagerdutyService"))
    bodies = [r for r in here.box.log.all("pagerduty") if r.path == "/analytics/metrics/incidents/services"]
    assert len(bodies) == 1


def test_incident_analytics(here: Workspace) -> None:
    """As printed it asks for no analytics, and gives a text for a list, which is made one.  Put right it is the same."""
    texts = pasted(here, "incident-analytics")
    shutil.copy(SERVICE_BLUEPRINT, here.folder / "catalog" / "blueprints" / "service.json")
    printed = here.ok("apply", "--auto-approve", code=1)
    assert printed.err.count("error[") == printed.err.count("assignees of pagerdutyIncident/") == 1
    assert [f"warning[{code}]" in printed.err for code in ("PD142", "PD165", "PD160")] == [True] * 3
    made = {each["identifier"]: each["relations"] for each in entities(here, "pagerdutyIncident")}
    assert (len(made) > 20, {len(each["pagerdutyService"]) for each in made.values()}) == (True, {1})
    corrected(
        here,
        texts,
        {
            "      include: ['assignees']\n": (
                "      incidentAnalytics: true\n      apiQueryParams: {include: ['assignees'], date_range: all}\n"
            ),
            "pagerdutyService: .service.id": "pagerdutyService: '[.service.id | values]'",
        },
    )
    ran = here.ok("apply", "--auto-approve", "--prove")
    assert ("warning" in ran.err, "Proven" in ran.out) == (False, True)
    incidents = entities(here, "pagerdutyIncident")
    assert len(incidents) == 40
    assert sum(bool(each["properties"].get("analytics")) for each in incidents) > 20
    assert all("@" in person for each in incidents for person in each["properties"].get("assignees") or ())
    assert made == {each["identifier"]: each["relations"] for each in incidents if each["identifier"] in made}


def test_the_other_lists_that_the_page_names(here: Workspace) -> None:
    """Each is mapped under the name that the page's custom kinds have, and arrives."""
    resource = """\
  - kind: {kind}
    selector: {{query: 'true'}}
    port:
      entity:
        mappings:
          identifier: .id
          title: .summary // .name // .id
          blueprint: '"thing"'
          properties: {{kind: '"{kind}"'}}
"""
    here.write(
        "catalog/blueprints/all.yaml", "identifier: thing\ntitle: Thing\nschema: {properties: {kind: {type: string}}}\n"
    )
    here.write(
        "catalog/mappings/pagerduty.yaml", "resources:\n" + "".join(resource.format(kind=kind) for kind in NAMED)
    )
    here.ok("apply", "--auto-approve", "--prove")
    kinds = [each["properties"]["kind"] for each in entities(here, "thing")]
    assert set(kinds) == set(NAMED)
    wrong = resource.format(kind="status_dashboard")
    here.write("catalog/mappings/more.yaml", "resources:\n" + wrong)
    assert 'did you mean "status_dashboards"?' in here.ok("validate", code=1).out
