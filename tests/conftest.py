"""What holds for every test."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

# No test is about time: a slow machine must not fail one.  In CI examples are fewer, and the same in every run; at home
# they vary.
settings.register_profile("home", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("home"), derandomize=True, database=None, max_examples=60)
settings.load_profile("ci" if os.environ.get("CI") else "home")
