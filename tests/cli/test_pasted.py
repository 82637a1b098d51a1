"""The analytics examples of the page about Port's PagerDuty integration: run as they are printed there, and corrected."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pdsync.sandbox.server import Sandbox
from tests.cli.workspace import Workspace, small_world

if TYPE_CHECKING:
    from collections.abc import Mapping

PASTED = Path(__file__).parent.parent / "catalog" / "pasted"
CORRECTED: Mapping[str, tuple[tuple[str, str], ...]] = {
    "service-analytics": (
        (".__oncall_user | sort_by(.escalation_level) | .[0].user.email", '"[.__oncall_user[0].user.email]"'),
    ),
    "incident-analytics": (
        (
            "include: ['assignees']",
            "incidentAnalytics: 'true'\n      apiQueryParams: {include: ['assignees'], since: 90d}",
        ),
    ),
}


@pytest.mark.parametrize(
    ("example", "records", "fields"),
    [
        ("service-analytics", 4, ("properties.oncall", "meanSecondsToFirstAck")),
        ("incident-analytics", 6, ("properties.assignees", "analytics")),
    ],
)
def test_an_example_runs_as_printed_and_corrected(
    example: str, records: int, fields: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its lists are read whole; what Port would refuse is said by field with what to write; then every record is there."""
    refused, read = fields
    shutil.copytree(PASTED / example / "catalog", tmp_path / "catalog")
    shutil.copy(
        next((PASTED / "service-analytics" / "catalog" / "blueprints").iterdir()), tmp_path / "catalog/blueprints"
    )
    with Sandbox(small_world()) as box:
        here = Workspace(tmp_path, box, monkeypatch, box.env())
        here.ok("-q", "snapshot")
        printed = here.run("plan").err
        assert ("error[PD610]" in printed, f"= {refused} of " in printed, "hint: try: " in printed) == (
            True,
            True,
            True,
        )
        mapping = next((tmp_path / "catalog" / "mappings").iterdir())
        text = mapping.read_text(encoding="utf-8")
        for wrong, right in CORRECTED[example]:
            text = text.replace(wrong, right, 1)
        mapping.write_text(text, encoding="utf-8")
        here.ok("-q", "apply", "--auto-approve")
        blueprint = "pagerdutyService" if example == "service-analytics" else "pagerdutyIncident"
        made = box.store.entities(blueprint).values()
        assert (len(made), any(each["properties"].get(read) for each in made)) == (records, True)
