"""Options that speak of nothing there is."""

from __future__ import annotations

from typing import Any

import pytest

from pdsync.plan import Facts
from tests.builders import blueprint, catalog, desired, entry, existing, have, ledger, plan, relation, rule, want

CASES: list[tuple[dict[str, Any], list[tuple[str, str]]]] = [
    ({"only": ("service",), "exclude": ("service/a*",)}, []),
    ({"only": ("servise/*",)}, [("servise/*", 'did you mean "service"?')]),
    ({"exclude": ("service/b",)}, [("service/b", "no entity of service has an identifier like that")]),
    ({"allow_deletes": {"service": 1, "my.team": 2}}, []),
    ({"allow_deletes": {"my": 1}}, [("my", "the blueprints are my.team, service")]),
    ({"allow_breaking": {"service.tier": 1, "service.required": 1, "my.team.size": 2, "service.lead": 3}}, []),
    ({"allow_breaking": {"service.teir": 1}}, [("service.teir", 'did you mean "service.tier"?')]),
    (
        {"allow_breaking": {"service.schema.required": 1, "service.schema.properties.size": 1}},
        [
            ("service.schema.required", 'did you mean "service.required"?'),
            ("service.schema.properties.size", 'did you mean "service.size"?'),
        ],
    ),
    ({"allow_breaking": {"x": 1}}, [("x", "it takes a blueprint and a part of it, as a guard names them")]),
]


@pytest.mark.parametrize(("scope", "told"), CASES)
def test_an_option_that_names_nothing_is_told(scope: dict[str, Any], told: list[tuple[str, str]]) -> None:
    """Blueprints, entities and parts are known by their names, which may have dots in them."""
    known = [blueprint(lead=relation("my.team")), blueprint("my.team")]
    facts = Facts(
        catalog(known, [rule()]),
        desired(want("a", tier="1")),
        existing(known, {"a": have(tier="1")}),
        ledger({"a": entry(tier="1")}, known),
    )
    found = [(each.detail, each.hint) for each in plan(facts, **scope).diagnostics if each.code == "PD631"]
    assert found == told
