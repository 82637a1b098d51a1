"""Who and what is behind a change as a whole, in a few words."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from pdsync.model import Change, Commit
from pdsync.render.because import behind

COMMITS = {"m.yaml:3:7": Commit("0123456789abcdef", "Ana", "2026-06-01T12:00:00Z", "Shout")}
PLAIN = Change(1, "entity", "update", "service", "a", "A", (), "changed", "source")
AT = "2026-06-01T12:00:00Z"


@pytest.mark.parametrize(
    ("parts", "told"),
    [
        ({"causes": ("source",), "source_at": AT}, f"record changed {AT}"),
        ({"causes": ("source",), "source_at": AT, "action": "create"}, ""),
        ({"causes": ("drift",), "edited_by": "eve@example.com", "edited_at": AT}, f"edited by eve@example.com {AT}"),
        ({"causes": ("drift",), "edited_at": AT}, f"edited {AT}"),
        ({"causes": ("drift",), "edited_by": "x" * 99, "edited_at": AT}, f"edited by {'x' * 40} {AT}"),
        ({"causes": ("catalog",), "origin": "m.yaml:3:7"}, "m.yaml:3:7  0123456789 Ana"),
        ({"causes": ("catalog",), "origin": "other.yaml:1:1"}, "other.yaml:1:1"),
        ({"causes": ("tool",), "origin": "m.yaml:3:7", "source_at": AT, "edited_by": "eve", "edited_at": AT}, ""),
        (
            {"causes": ("source", "drift"), "source_at": AT, "edited_by": "eve\x1b[1m", "edited_at": AT},
            f"record changed {AT}, edited by eve\\x1b[1m {AT}",
        ),
    ],
)
def test_behind(parts: dict[str, Any], told: str) -> None:
    """Only what belongs to a cause that the change has; nothing that steers a terminal."""
    assert behind(replace(PLAIN, **parts), COMMITS) == told
