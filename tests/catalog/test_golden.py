"""A folder is a case: a catalog, and in expected.txt all that `pdsync validate` says of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from pdsync.catalog import check_catalog
from pdsync.catalog.rules import RULES
from pdsync.errors import Severity
from pdsync.render.diagnostics import render_diagnostics
from tests.catalog.cases import HERE

BROKEN = sorted(path for path in (HERE / "broken").iterdir() if path.is_dir())
PASTED = sorted(path for path in (HERE / "pasted").iterdir() if path.is_dir())


@pytest.mark.parametrize("case", [*BROKEN, *PASTED], ids=lambda case: case.name)
def test_a_catalog_gets_exactly_the_expected_diagnostics(case: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every problem is found at once, none twice, each with its place, the text underlined, and a hint."""
    monkeypatch.chdir(case)
    chosen = case / "environment"
    environment = chosen.read_text(encoding="utf-8").strip() if chosen.exists() else None
    catalog, diagnostics = check_catalog(Path("catalog"), environment=environment)
    assert render_diagnostics(diagnostics, "text", color=False) == (case / "expected.txt").read_text(encoding="utf-8")
    assert (catalog is None) == any(d.severity is Severity.ERROR for d in diagnostics)


@pytest.mark.parametrize("case", PASTED, ids=lambda case: case.name)
def test_what_port_publishes_loads_with_its_defects_named(case: Path) -> None:
    """A team can paste Port's own mapping, defects and all, and run: they are warnings."""
    catalog, diagnostics = check_catalog(case / "catalog")
    assert catalog is not None
    assert {d.severity for d in diagnostics} == {Severity.WARNING, Severity.NOTE} - (
        {Severity.NOTE} if case.name == "service-analytics" else set()
    )


def test_what_a_blueprint_lacks_is_not_sent() -> None:
    """Port's default mapping writes a description that escalation policies do not have: the path is dropped."""
    catalog, _ = check_catalog(HERE / "pasted" / "default-mapping" / "catalog")
    assert catalog is not None
    (policies,) = [rule for rule in catalog.rules if rule.kind == "escalation_policies"]
    assert list(policies.fields) == [
        "title",
        "properties.url",
        "properties.primaryOncall",
        "properties.escalationRules",
    ]


@pytest.mark.parametrize("code", sorted(RULES))
def test_every_rule_has_a_case(code: str) -> None:
    """A rule that no catalog breaks is not known to work."""
    cases = [
        case.name for case in [*BROKEN, *PASTED] if f"[{code}]" in (case / "expected.txt").read_text(encoding="utf-8")
    ]
    assert cases != []


def test_every_code_is_in_the_table_with_its_summary() -> None:
    """What is found, by `kinds` too, is a rule of the table and says what the table says."""
    said = {(d.code, d.summary) for case in [*BROKEN, *PASTED] for d in check_catalog(case / "catalog")[1]}
    assert said <= {(rule.code, rule.summary) for rule in RULES.values()}
