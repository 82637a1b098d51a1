"""The marker: found again, never broken out of, never believed when damaged."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pdsync.github.record import Record, comment_key, marker, read_marker
from tests.github.strategies import hostile

KEY = comment_key("production", "catalog", "https://api.port.io")


@given(environment=hostile, target=hostile, counts=st.dictionaries(hostile, st.integers(0, 2**40), max_size=4))
def test_a_record_comes_back_from_its_marker(environment: str, target: str, counts: dict[str, int]) -> None:
    """Any text survives, and the marker is one line that ends only where it ends."""
    record = Record("planned", environment=environment, target=target, counts=counts, fingerprint="f")
    line = marker(KEY, record)
    assert (line.count("-->"), "\n" in line) == (1, False)
    assert read_marker(f"{line}\nrest\n{line}") == (KEY, record)


@pytest.mark.parametrize(
    "body",
    [
        "",
        "text",
        f" {marker(KEY, None)}",
        f"quoted\n{marker(KEY, None)}",
        f"{marker(KEY, None)} and more",
        "<!-- pdsync:v2 -->",
    ],
)
def test_only_a_first_line_that_is_a_marker_is_one(body: str) -> None:
    """A quoted or copied marker further down makes no comment ours."""
    assert read_marker(body) is None


@pytest.mark.parametrize("packed", ["AAAA", "e30", "A" * 9000, "", "W10"])
def test_a_damaged_record_is_no_record(packed: str) -> None:
    """The comment is still found and edited; nothing is believed of it."""
    assert read_marker(f"<!-- pdsync:v1 key={KEY} rec={packed} -->") == (KEY, None)


def test_a_record_of_another_version_is_no_record() -> None:
    """A newer pdsync may have meant something else by it."""
    assert read_marker(marker(KEY, replace(Record("planned"), v=2))) == (KEY, None)


def test_the_key_tells_apart_what_must_not_share_a_comment() -> None:
    """Environment, catalog and Port each make another key; how an address ends does not."""
    parts = [("a", "c", "u"), ("b", "c", "u"), ("a", "d", "u"), ("a", "c", "v"), ("", "ac", "u"), ("a", "c", "u/")]
    keys = [comment_key(*part) for part in parts]
    assert (len(set(keys)), keys[0] == keys[5]) == (5, True)
