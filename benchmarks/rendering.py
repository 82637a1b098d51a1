"""A plan of 50,000 changes in every format: seconds of CPU, bytes."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pdsync.model import Change, FieldChange, Guard, Plan, PlanBase, Summary, Withheld
from pdsync.plan import fingerprint
from pdsync.plan.document import plan_document
from pdsync.render.html import render_plan_html
from pdsync.render.markdown import render_plan_markdown
from pdsync.render.plan_text import render_plan

if TYPE_CHECKING:
    from collections.abc import Callable

    from pdsync.model import Action

GOAL = 3.0
MARKDOWN_BUDGET = 60_000
CHANGES = {"create": 25_000, "update": 20_000, "delete": 5_000}
"""So many of each action."""
_FIELDS = 12


@dataclass(frozen=True, slots=True)
class Rendered:
    """What one format of the plan takes."""

    name: str
    seconds: float
    size: int


def rendering() -> list[Rendered]:
    """The plan in every format, the fastest of three times each."""
    plan = large_plan()
    formats: dict[str, Callable[[], str | bytes]] = {
        "text": lambda: render_plan(plan),
        "text, everything": lambda: render_plan(plan, everything=True),
        "markdown": lambda: render_plan_markdown(plan, budget=MARKDOWN_BUDGET, title="benchmark"),
        "json": lambda: plan_document(plan),
        "html": lambda: render_plan_html(plan, title="benchmark"),
    }
    return [_timed(name, render) for name, render in formats.items()]


def _timed(name: str, render: Callable[[], str | bytes]) -> Rendered:
    times = []
    for _ in range(3):
        started = time.process_time()
        printed = render()
        times.append(time.process_time() - started)
    return Rendered(name, min(times), len(printed.encode() if isinstance(printed, str) else printed))


def large_plan() -> Plan:
    """Every change is another one, so that nothing folds."""
    actions: list[Action] = [action for action, count in CHANGES.items() for _ in range(count)]  # type: ignore[misc]
    changes = tuple(_change(n, action) for n, action in enumerate(actions, start=1))
    return Plan(
        base=PlanBase("lineage", 1, "t", "", "s", "2026-06-01T12:00:00Z", "org", "Org", "pd", "port", "jq"),
        changes=changes,
        withheld=tuple(Withheld("service", f"W{n}", f"Withheld {n}", "above the delete limit") for n in range(500)),
        held=(),
        guards=(Guard("delete-limit", "service", "500 of 9000 owned would be deleted"),),
        summary=Summary(**CHANGES, withheld=500),
        expressions={},
        fingerprint=fingerprint(changes),
    )


def _change(n: int, action: Action) -> Change:
    place = "catalog/mappings/pagerduty.yaml:24:21"
    created = action == "create"
    fields = tuple(
        FieldChange(f"properties.field{i}", None if created else f"before {n}", f"after {n} {i}", "source", place)
        for i in range(_FIELDS if created else 2)
    )
    fields = () if action == "delete" else fields
    return Change(n, "entity", action, "service", f"P{n:06}", f"Service number {n}", fields, "changed", "source")
