"""A GitHub on loopback for each test that asks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.github.fake_github import FakeGitHub, serving

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def github() -> Iterator[FakeGitHub]:
    """An empty repository on a GitHub of its own."""
    with serving(FakeGitHub()) as running:
        yield running
