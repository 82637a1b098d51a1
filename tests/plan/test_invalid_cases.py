"""Every kind of value that Port would refuse, as people are told of it: a file = a case.

`PDSYNC_UPDATE_CASES=1 pytest tests/plan/test_invalid_cases.py` writes what is said now; then read the diff.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pdsync.mapping import map_entities
from pdsync.render.diagnostics import render_diagnostics
from tests.mapping.builders import rule, snapshot
from tests.render.cases import FOLDER, expected, load, plan_of

if TYPE_CHECKING:
    from pathlib import Path

CASES = FOLDER.parent / "invalid"
IDENTIFIERS = [
    "",
    ".",
    "..",
    "a b",
    "é/ж:@_.+\\=-",
    "a#b",
    "x" * 1001,
    "x" * 1000,
    5,
    2**60,
    None,
    True,
    ["a"],
    {"a": 1},
]


@pytest.mark.parametrize("path", sorted(CASES.glob("*.yaml")), ids=lambda path: path.stem)
def test_case(path: Path) -> None:
    """What is held, what goes on, and what is said of each value."""
    made = plan_of(load(path))
    goes = [f"{change.action} {change.key}" for change in made.changes]
    left = [f"left {held.key}: {held.reason}" for held in made.held]
    told = render_diagnostics(made.diagnostics, "text", color=False)
    text = "\n".join([*sorted(goes), *left, "", told])
    assert expected(path, text) == text


def test_identifiers() -> None:
    """An identifier that Port would refuse gives no entity; its record is named."""
    desired = map_entities(
        [rule({"title": ".n"})], snapshot(*({"id": i, "n": str(n)} for n, i in enumerate(IDENTIFIERS)))
    )
    made = [f"made {want.fields['title']}: {key.identifier[:20]}" for key, want in desired.entities.items()]
    left = [f"{source}: {reason[:80]}" for source, reason in desired.failed.items()]
    text = "\n".join([*made, *left, "", render_diagnostics(desired.diagnostics, "text", color=False)])
    assert expected(CASES / "identifiers", text) == text
