"""A Port of its own for each test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.apply.running import Here, running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Here]:
    with running(tmp_path / "state") as one:
        yield one
