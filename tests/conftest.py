"""What holds for every test."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, is_hypothesis_test, settings

if TYPE_CHECKING:
    import pytest

# No test is about time: a slow machine must not fail one.  In CI examples are fewer, and the same in every run; at home
# they vary.
settings.register_profile("home", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("home"), derandomize=True, database=None, max_examples=45)
settings.load_profile("ci" if os.environ.get("CI") else "home")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave laws, each with its many examples, and the tests of the sandbox by itself out of the coverage.

    Counting lines doubles the time that these take; what all other tests reach is what counts.
    """
    for item in items:
        if is_hypothesis_test(getattr(item, "obj", None)) or item.path.parent.name == "sandbox":
            item.add_marker("no_cover")
    items.sort(key=lambda item: item.path.parent.name != "docs")  # the longest first: at the end nobody waits for one
