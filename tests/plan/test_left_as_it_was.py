"""Causes of what is left as it was: refused by Port, kept for its age, or withheld."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from pdsync.commands import expressions
from pdsync.model import Blueprint, Expression, Lifecycle, Query
from pdsync.plan import Facts
from pdsync.plan.cause import Past, records_behind, with_causes
from tests.builders import HERE, blueprint, catalog, desired, entry, existing, have, ledger, plan, rule, want

if TYPE_CHECKING:
    from pdsync.model import Catalog, Change, MappingRule, Plan

SERVICE = Blueprint(
    "service",
    {
        "identifier": "service",
        "title": "Service",
        "schema": {"properties": {"size": {"type": "number"}, "tier": {"type": "string"}}, "required": ["tier"]},
    },
)
WRONG = {"size": "x", "tier": "t"}
RIGHT = {"size": 1, "tier": "t"}


def _mapped(text: str, policy: str) -> Catalog:
    made = rule(paths=("properties.size", "properties.tier"))
    fields = {**made.fields, "properties.size": Expression(text, HERE)}
    return replace(catalog([SERVICE], [replace(made, fields=fields)], invalid=policy), tree=text)


def _corrected(policy: str, then: dict[str, Any], now: dict[str, Any], applied: dict[str, Any] | None) -> Plan:
    """The plan after another expression for the size was committed; the records are as they were."""
    before, after = _mapped(".then", policy), _mapped(".now", policy)
    last = {} if applied is None else {"a": entry(**applied)}
    owned = ledger(last, [SERVICE], expressions=expressions(before.rules), catalog=before.tree, tool="jq")
    facts = Facts(
        after,
        desired(want("a", **now)),
        existing([SERVICE], {key: have(**(applied or {})) for key in last}),
        owned,
        expressions=expressions(after.rules),
        tool="jq",
    )
    was = desired(want("a", **then))
    return with_causes(plan(facts), facts, Past(before, owned.expressions, was, facts.desired, was))


@pytest.mark.parametrize(
    ("policy", "then", "applied", "paths"),
    [
        ("hold", WRONG, None, {"properties.size", "properties.tier"}),
        ("hold", {"size": 1}, None, {"properties.size", "properties.tier"}),
        ("hold", WRONG, {"tier": "s"}, {"properties.size", "properties.tier"}),
        ("drop-field", WRONG, {"tier": "t"}, {"properties.size"}),
        ("drop-field", WRONG, {"tier": "t", "size": 7}, {"properties.size"}),
        ("drop-field", {"size": 1}, None, {"properties.size", "properties.tier"}),
    ],
)
def test_what_was_refused_comes_by_the_catalog_that_puts_it_right(
    policy: str, then: dict[str, Any], applied: dict[str, Any] | None, paths: set[str]
) -> None:
    """The catalog of then gave nothing that could be written, so that of now is the cause, and that is exact."""
    made = _corrected(policy, then, RIGHT, applied)
    (change,) = made.changes
    assert (made.inexact, change.cause, change.causes) == ("", "catalog", ("catalog",))
    assert {field.path: field.causes for field in change.fields} == dict.fromkeys(paths, ("catalog",))


def _incidents(days: int) -> MappingRule:
    made = rule("incident", ("properties.url",), "incidents", lifecycle=Lifecycle(retention=timedelta(days=days)))
    fields = {"properties.url": Expression(".created_at", HERE)}
    return replace(made, query=Query("incidents", (("since", "-3d"),)), fields=fields)


def _aged(then: int, now: int, at: str) -> Change:
    """The removal of an incident of the first of May, under a retention of then and one of now; applied on the tenth."""
    incident = blueprint("incident")
    old, new = (replace(catalog([incident], [_incidents(days)]), tree=str(days)) for days in (then, now))
    last = entry(url="2026-05-01T00:00:00Z", source="incidents/i", rules=("mappings/test.yaml#incidents[0]",))
    facts = Facts(
        replace(new, tree="new"),
        desired(),
        existing([incident], {"incident/i": have(url="2026-05-01T00:00:00Z")}),
        ledger({"incident/i": last}, [incident], expressions=expressions(old.rules), catalog="old", tool="jq"),
        expressions=expressions(new.rules),
        tool="jq",
        taken_at=at,
    )
    past = Past(old, facts.ledger.expressions, desired(), desired(), desired(), "2026-05-10T00:00:00Z")
    made = with_causes(plan(facts), facts, past)
    assert made.inexact == ""
    (change,) = made.changes
    return change


@pytest.mark.parametrize(
    ("then", "now", "at", "causes"),
    [
        (365, 6, "2026-05-11T00:00:00Z", ("catalog",)),
        (20, 20, "2026-06-01T00:00:00Z", ("source",)),
        (20, 6, "2026-06-01T00:00:00Z", ("catalog", "source")),
    ],
)
def test_what_was_kept_for_its_age_goes_by_the_retention_or_by_time(
    then: int, now: int, at: str, causes: tuple[str, ...]
) -> None:
    """A shorter retention is the catalog's doing, a record that grew too old for it is the source's."""
    change = _aged(then, now, at)
    assert (change.action, change.reason, change.causes) == ("delete", "left-window", causes)


@pytest.mark.parametrize(
    ("by_source", "by_catalog", "why"),
    [((), ("a",), "gone-from-source"), (("a",), (), "unmapped"), ((), (), "unmapped")],
)
def test_what_is_withheld_says_why_it_would_go(by_source: Any, by_catalog: Any, why: str) -> None:
    """Its record is gone, or the catalog no longer takes it: the expressions that changed do not tell which."""
    before, after = (replace(catalog([SERVICE], [rule()], protect=("service/a",)), tree=tree) for tree in ("x", "y"))
    now = replace(after.rules[0], selector=Expression(".on", HERE))
    after = replace(after, rules=(now,))
    owned = ledger(
        {"a": entry(tier="t", source="services/a")},
        [SERVICE],
        expressions=expressions(before.rules),
        catalog="x",
        tool="jq",
    )
    digests = expressions(after.rules)
    there = existing([SERVICE], {"a": have(tier="t")})
    facts = Facts(after, desired(), there, owned, expressions=digests, tool="jq")
    made = plan(facts)
    assert records_behind(made, facts) == {"services/a"}
    source, by, then = (desired(*(want(name, tier="t") for name in names)) for names in (by_source, by_catalog, "a"))
    (item,) = with_causes(made, facts, Past(before, owned.expressions, source, by, then)).withheld
    assert (item.reason, item.why) == ("protected", why)
