"""Plans for tests, made by the real types."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING

from pdsync.model import Change, FieldChange, Plan, PlanBase, Summary, Withheld

if TYPE_CHECKING:
    from pdsync.model import Action, Cause

BASE = PlanBase(
    lineage="lineage-1",
    serial=7,
    catalog="tree",
    commit="c0ffee0000",
    snapshot="snap",
    taken_at="2026-01-02T03:04:05Z",
    org_id="org_1",
    org_name="Acme",
    source="https://api.pagerduty.com",
    target="https://api.port.io",
    tool="jq 1.7",
)

REASONS = {"create": "new", "update": "changed", "delete": "gone-from-source"}


def change(
    action: Action,
    identifier: str,
    *,
    title: str = "Payments",
    before: object = None,
    after: object = "gold",
    cause: Cause = "catalog",
) -> Change:
    """One entity change of one field; its number is given by `plan`."""
    fields = () if action in {"delete", "forget"} else (FieldChange("properties.tier", before, after, cause),)
    return Change(0, "entity", action, "pagerdutyService", identifier, title, fields, REASONS[action], cause)


def plan(*changes: Change, withheld: int = 0, unchanged: int = 3) -> Plan:
    """A plan of these changes, numbered, counted and fingerprinted."""
    numbered = tuple(replace(found, n=n) for n, found in enumerate(changes, 1))
    counts = {
        action: sum(found.action == action for found in changes)
        for action in ("create", "update", "delete", "adopt", "forget", "release")
    }
    kept = tuple(Withheld("pagerdutyService", f"W{n}", "Old", "too many deletes") for n in range(withheld))
    return Plan(
        base=BASE,
        changes=numbered,
        withheld=kept,
        held=(),
        guards=(),
        summary=Summary(**counts, unchanged=unchanged, withheld=withheld),
        expressions={},
        fingerprint=hashlib.sha256(repr(numbered).encode()).hexdigest(),
    )
