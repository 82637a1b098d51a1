"""What a hint proposes can be pasted into a mapping."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from pdsync.pasting import in_yaml

LINES = st.text(st.characters(codec="ascii", exclude_categories=["C"]) | st.sampled_from(".[]{}'\":#|>&*!%@`,?- "))


@given(LINES.filter(str.strip).map(str.strip))
def test_yaml_reads_the_expression_that_was_meant(expression: str) -> None:
    """Whatever signs begin it or stand in it."""
    assert YAML(typ="safe", pure=True).load(f"key: {in_yaml(expression)}\n") == {"key": expression}


@pytest.mark.parametrize(
    ("expression", "written"),
    [
        (".service.id", ".service.id"),
        ("(.a // 1) | tostring", "(.a // 1) | tostring"),
        ("[.service.id | values]", "'[.service.id | values]'"),
        ('"P1" | ascii_downcase', "'\"P1\" | ascii_downcase'"),
        ('[.a // "it\'s"]', "'[.a // \"it''s\"]'"),
        ("if .a: b then", "'if .a: b then'"),
        ("true", "'true'"),
        ("12", "'12'"),
        (".a # b\n| .c", ".a # b\n| .c"),
    ],
)
def test_quotes_stand_only_where_they_are_needed(expression: str, written: str) -> None:
    """Most expressions are YAML's text as they are."""
    assert in_yaml(expression) == written
