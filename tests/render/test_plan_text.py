"""A plan as text: golden cases (a file = a case), and what no data may ever do to it.

`PDSYNC_UPDATE_CASES=1 pytest tests/render/test_plan_text.py` writes what is printed now; then read the diff.
"""

from __future__ import annotations

import unicodedata
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings

from pdsync.model import Blueprint, Branch
from pdsync.plan import Facts
from pdsync.plan.branch import parts
from pdsync.plan.decide import CAUSES
from pdsync.plan.guards import GUARD_OF, MISSING, NO_DELETE, NOT_READ, PROTECTED_BEFORE
from pdsync.render.plan_text import BREAKING, REASONS, SYMBOLS, base_text, catalog_text, render_plan
from tests.builders import BASE, blueprint, catalog, desired, entry, existing, have, ledger, plan, rule, want
from tests.render.cases import case_files, expected, load, plan_of
from tests.render.strategies import hostile_plans

if TYPE_CHECKING:
    from pathlib import Path

    from pdsync.model import Plan


GUARDS = {*GUARD_OF.values(), BREAKING}
WITHHELD = (
    *GUARD_OF,
    NO_DELETE,
    NOT_READ,
    MISSING,
    PROTECTED_BEFORE,
    "required by ",
    "pointed at by ",
    "in a circle",
    "still hold",
    "relates to it",
)


@pytest.mark.parametrize("path", case_files(), ids=lambda path: path.stem)
def test_case(path: Path) -> None:
    """The case is printed as its text file says."""
    case = load(path)
    text = render_plan(plan_of(case), **(case.get("print") or {}))
    assert expected(path, text) == text


REVERTS = {"reverted", "made-by-run"}
"""Reasons that only the plan of a revert has; `tests/cases/runs` shows it."""
DESTROYS = {"destroyed"}
"""Reasons that only the plan of a destroy has; `tests/cli/test_approval.py` shows it."""

ABSENCES = {"not-listed", "not-selected"}
"""Reasons that only what was read tells; `tests/plan/test_absence.py` shows them."""


def test_there_is_a_case_for_every_symbol_cause_reason_and_guard() -> None:
    """Whatever the decision table, the causes and the guards can say is printed by some case."""
    plans = [plan_of(load(path)) for path in case_files()]
    changes = [change for plan in plans for change in plan.changes]
    assert {change.action for change in changes} == SYMBOLS.keys()
    assert any(plan.renames for plan in plans)
    assert {cause for change in changes for cause in change.causes} >= {*CAUSES}
    assert {cause for change in changes for field in change.fields for cause in field.causes} >= {*CAUSES}
    assert {change.reason for change in changes} >= REASONS.keys() - REVERTS - DESTROYS - ABSENCES
    assert {guard.name for plan in plans for guard in plan.guards} == GUARDS
    told = "\n".join(item.reason for plan in plans for item in plan.withheld)
    assert [why for why in WITHHELD if why not in told] == []


@settings(max_examples=40, deadline=None)
@given(hostile_plans())
def test_nothing_in_a_plan_steers_a_terminal(plan: Plan) -> None:
    """No control, format or separator character reaches the terminal, whatever stands in the data."""
    text = render_plan(plan, everything=True)
    assert {c for c in text if unicodedata.category(c) in {"Cc", "Cf", "Zl", "Zp", "Cs"}} <= {"\n"}


@settings(max_examples=40, deadline=None)
@given(hostile_plans())
def test_every_delete_is_named(plan: Plan) -> None:
    """Deletes and withheld deletes never fold: there is one line for each, whoever's doing they are."""
    lines = render_plan(plan).splitlines()
    for part, of in zip(parts(plan), ("", " of the rest" if plan.branch else ""), strict=True):
        deletes = [f"#{c.n} -" for c in part.changes if c.action == "delete"]
        below = lines[lines.index(f"Deletes{of} ({len(deletes)})") + 1 :] if deletes else []
        assert [" ".join(line.split()[:2]) for line in below[: len(deletes)]] == deletes
    assert sum(line.startswith("      - ") for line in lines) == len(plan.withheld)


@settings(max_examples=30, deadline=None)
@given(hostile_plans())
def test_colour_only_repeats(plan: Plan) -> None:
    """Without its escape sequences the coloured text is the plain one."""
    coloured = render_plan(plan, color=True)
    for code in (0, 1, 2, 31, 32, 33, 36):
        coloured = coloured.replace(f"\x1b[{code}m", "")
    assert coloured == render_plan(plan)


@pytest.mark.parametrize(
    ("ref", "commit", "told"),
    [
        ("main", "c0ffee" * 6 + "cafe", "main  commit c0ffeec0ff"),
        ("c0ffee" * 6 + "cafe", "c0ffee" * 6 + "cafe", "commit c0ffeec0ff"),
        ("decade" * 6 + "cafe", "c0ffee" * 6 + "cafe", "decadedeca  commit c0ffeec0ff"),
    ],
)
def test_a_base_is_told_once_and_in_short(ref: str, commit: str, told: str) -> None:
    """As a branch by its name, as a commit by its first digits, which the action gives."""
    assert base_text(Branch(ref, commit, "t")) == told


def test_the_catalog_is_told_by_its_commit_and_whether_it_differs_from_it() -> None:
    """No commit differs from nothing."""
    bases = [replace(BASE, commit=commit, dirty=dirty) for commit in ("", "c0ffee" * 6) for dirty in (False, True)]
    assert [catalog_text(base) for base in bases] == [
        "no commit",
        "no commit",
        "commit c0ffeec0ff",
        "commit c0ffeec0ff with uncommitted changes",
    ]


def test_what_differs_only_where_it_is_cut_does_not_fold() -> None:
    """Long values that begin alike are no same change."""
    names = "abc"
    made = plan(
        Facts(
            catalog([blueprint()], [rule()]),
            desired(*(want(name, tier="x" * 1000 + name) for name in names)),
            existing([blueprint()], {name: have(tier="old") for name in names}),
            ledger({name: entry(tier="old") for name in names}, [blueprint()]),
        )
    )
    assert ["the same change" in render_plan(made), render_plan(made).count(" ~ service/")] == [False, 3]


def test_a_property_by_the_name_of_an_own_field_is_told_from_it() -> None:
    """An entity has a team, and its blueprint may have a property of that name."""
    holder = Blueprint("service", {"identifier": "service", "schema": {"properties": {"team": {"type": "string"}}}})
    wanted = want("a", team=["x"])
    wanted = replace(wanted, fields={**wanted.fields, "properties.team": "y"})
    made = plan(Facts(catalog([holder], [rule()]), desired(wanted), existing([holder], {}), ledger({}, [holder])))
    told = [line.split() for line in render_plan(made).splitlines() if "team" in line]
    assert told == [["properties.team", '"y"'], ["team", '["x"]']]
