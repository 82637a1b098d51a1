"""A workspace for each test, over a sandbox of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pdsync.sandbox.server import Sandbox
from tests.cli.workspace import Workspace, make_workspace, small_world

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workspace]:
    with Sandbox(small_world()) as box:
        yield make_workspace(tmp_path, box, monkeypatch)


@pytest.fixture
def applied(here: Workspace) -> Workspace:
    """A workspace whose catalog is applied."""
    here.ok("-q", "apply", "--auto-approve")
    here.box.log.clear()
    return here
