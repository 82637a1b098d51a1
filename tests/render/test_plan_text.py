"""A plan as text: golden cases (a file = a case), and what no data may ever do to it.

`PDSYNC_UPDATE_CASES=1 pytest tests/render/test_plan_text.py` writes what is printed now; then read the diff.
"""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings

from pdsync.plan.branch import parts
from pdsync.render.plan_text import render_plan
from tests.render.cases import case_files, expected, load, plan_of
from tests.render.strategies import hostile_plans

if TYPE_CHECKING:
    from pathlib import Path

    from pdsync.model import Plan


@pytest.mark.parametrize("path", case_files(), ids=lambda path: path.stem)
def test_case(path: Path) -> None:
    """The case is printed as its text file says."""
    case = load(path)
    text = render_plan(plan_of(case), **(case.get("print") or {}))
    assert expected(path, text) == text


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
