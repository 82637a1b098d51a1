"""What holds for every test."""

from __future__ import annotations

import os
from typing import Any

import pytest
from hypothesis import HealthCheck, is_hypothesis_test, settings
from hypothesis import strategies as st

from pdsync.cli import progress
from pdsync.jq import ahead
from tests.never import NEVER

# No test is about time: a slow machine must not fail one.  In CI examples are fewer, and the same in every run; at home
# they vary.
settings.register_profile("home", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("home"), derandomize=True, database=None, max_examples=60)
IN_CI = bool(os.environ.get("CI"))
settings.load_profile("ci" if IN_CI else "home")


def pytest_configure() -> None:
    """Let no command say what it waits for, nor give up a process that is slow: how long that takes is the machine's."""
    progress.SILENCE = ahead.SILENCE = NEVER


AGAIN = (
    "tests/sandbox/",
    # What is done in other processes, which are not counted anyway.
    "tests/docs/test_examples.py",
    "tests/github/test_end_to_end.py",
    "tests/cli/test_interrupts.py",
    "tests/mapping/test_mapping_bounds.py",
    "tests/mapping/test_mapping_traps.py",
    # What reads the code instead of running it.
    "tests/docs/test_pages.py",
    "tests/test_layers.py",
    # Whole runs, of which others reach all but a few lines.
    "tests/apply/test_apply.py::test_a_stop_",
    "tests/apply/test_apply.py::test_null_is_",
    "tests/apply/test_circles.py",
    "tests/apply/test_elsewhere.py",
    "tests/apply/test_failures.py",
    "tests/apply/test_readers.py",
    "tests/apply/test_rename.py",
    "tests/apply/test_resume.py",
    "tests/cli/test_approval.py",
    "tests/cli/test_base.py",
    "tests/cli/test_causes.py",
    "tests/cli/test_cycle.py",
    "tests/cli/test_encryption.py",
    "tests/cli/test_erasing.py",
    "tests/cli/test_exit_codes.py",
    "tests/cli/test_explain_agrees.py",
    "tests/cli/test_output.py",
    "tests/cli/test_ownership.py",
    "tests/cli/test_pasted.py",
    "tests/cli/test_rest.py",
    "tests/cli/test_safety.py",
    "tests/cli/test_saved_plans.py",
    "tests/cli/test_searches.py::test_nothing_several_",
    "tests/cli/test_snapshots.py",
    "tests/cli/test_state_commands.py::test_what_is_no_successor_",
    # Each of many things in every way; every sort of list with every fault; thousands of records.
    "tests/apply/test_machine.py",
    "tests/github/test_body.py",
    "tests/mapping/test_memo.py",
    "tests/mapping/test_memo_store.py",
    "tests/render/test_html.py",
    "tests/render/test_plan_json.py",
    "tests/render/test_plan_text.py",
    "tests/source/test_earlier.py::test_what_is_settled_",
    "tests/source/test_earlier.py::test_what_was_put_",
    "tests/source/test_early.py",
    "tests/source/test_faults.py",
    "tests/source/test_leaps.py",
    "tests/source/test_lists.py",
    "tests/source/test_never_deletes.py",
    "tests/source/test_pagerduty.py::test_a_long_",
    "tests/source/test_pagerduty.py::test_a_burst_",
    "tests/source/test_pagerduty.py::test_a_history_",
    "tests/source/test_pagerduty.py::test_a_list_that_may_",
    "tests/source/test_pagerduty.py::test_an_enrichment_that_",
    "tests/source/test_pagerduty.py::test_every_record_",
    "tests/source/test_shares.py",
    "tests/state/test_backend_contract.py",
    "tests/state/test_git_backend.py::test_history_is_bounded",
    "tests/target/test_port_sandbox.py::test_lost_",
    "tests/target/test_port_sandbox.py::test_pages",
    "tests/test_bugs_on_record.py",
)
"""Tests that go over the same lines again and again."""

BUT = (
    "tests/cli/test_base.py::test_a_plan_with_",
    "tests/cli/test_base.py::test_port_is_asked_",
    "tests/cli/test_base.py::test_the_base_is_",
    "tests/cli/test_causes.py::test_each_cause_",
    "tests/cli/test_causes.py::test_what_the_causes_",
    "tests/source/test_shares.py::test_a_list_is_what_",
    "tests/source/test_shares.py::test_mappings_of_other_",
    "tests/source/test_shares.py::test_no_list_waits_",
    "tests/source/test_shares.py::test_on_calls_that_come_twice_",
    "tests/source/test_shares.py::test_open_and_resolved_",
    "tests/source/test_shares.py::test_the_earliest_on_calls_are_those_that_",
)
"""Those of them, one of each sort, that reach what no other test does."""


LONGEST = (
    "tests/docs/test_examples.py",
    "tests/github/test_end_to_end.py",
    "tests/sandbox/test_pagerduty.py::test_lists_of_random_worlds",
    "tests/cli/test_base.py",
    "tests/cli/test_interrupts.py",
    "tests/mapping/test_memo.py::test_with_and_without",
    "tests/plan/test_causes.py",
    "tests/plan/test_laws.py",
)
"""Tests that take seconds each.  They come first: at the end nobody waits for one."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave laws, each with its many examples, and others that repeat themselves out of the coverage.

    Counting lines doubles the time that these take; what all other tests reach is what counts.
    """
    laws = {item.nodeid: item.obj for item in items if isinstance(item, pytest.Function) and _is_law(item)}
    for item in items:
        if item.nodeid in laws or (item.nodeid.startswith(AGAIN) and not item.nodeid.startswith(BUT)):
            item.add_marker("no_cover")
    if IN_CI:
        for law in set(laws.values()):
            _with_fewer_examples(law)
    items.sort(key=lambda item: not item.nodeid.startswith(LONGEST))


def pytest_collection_finish(session: pytest.Session) -> None:
    """Where tests are only collected, for others to run them: work out which characters there are, which is kept.

    Each worker would, at the same time, and it takes seconds.
    """
    if session.config.option.collectonly:
        st.text().validate()


def _is_law(item: pytest.Function) -> bool:
    return is_hypothesis_test(item.obj)


def _with_fewer_examples(law: Any) -> None:
    """A third of many examples, two thirds of a few: where they are the same in every run, more find nothing new.

    A state machine has no settings here: its class says how many.
    """
    if given := getattr(law, "_hypothesis_internal_use_settings", None):
        many = given.max_examples
        fewer = max(many // 3, min(many * 2 // 3, 15))
        law._hypothesis_internal_use_settings = settings(given, max_examples=fewer)
