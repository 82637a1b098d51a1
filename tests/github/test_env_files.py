"""Output files, read back by the runner's rules."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pdsync.github.env_files import output_lines, write_outputs, write_summary
from tests.github.composite import read_env_file

if TYPE_CHECKING:
    from pathlib import Path

values = st.one_of(
    st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=40),
    st.lists(st.sampled_from(["a=b", "x<<EOF", "EOF", "\n", "\r\n", "ghadelimiter_1", "="]), max_size=6).map("".join),
)


@given(outputs=st.dictionaries(st.from_regex(r"[a-z][a-z-]{0,8}", fullmatch=True), values, max_size=4))
def test_any_value_is_read_back_and_sets_nothing_else(outputs: dict[str, str]) -> None:
    """Line ends inside arrive as line feeds, whichever they were, first and last ones too."""
    text = "".join(
        output_lines(name, value, f"ghadelimiter_r4nd0m{n}") for n, (name, value) in enumerate(outputs.items())
    )
    expected = {name: value.replace("\r\n", "\n").replace("\r", "\n") for name, value in outputs.items()}
    assert read_env_file(text) == expected


def test_a_value_with_the_delimiter_is_refused() -> None:
    """Should chance ever be broken, nothing is written rather than something injected."""
    with pytest.raises(ValueError, match="delimiter"):
        output_lines("a", "x\nD\nb=1", "D")


@pytest.mark.parametrize("name", ["", "a b", "a=b", "a\nb", "-a"])
def test_only_names_are_names(name: str) -> None:
    """A name is never made from data."""
    with pytest.raises(ValueError, match="not the name"):
        output_lines(name, "x", "D")


def test_files_grow_and_are_optional(tmp_path: Path) -> None:
    """A step may write several times; off the runner there is no file and nothing happens."""
    path = tmp_path / "out"
    write_outputs(str(path), {"a": "1"}, lambda: "r")
    write_outputs(str(path), {"b": "x\ny"}, lambda: "r")
    write_outputs("", {"c": "3"}, lambda: "r")
    write_summary("", "nothing")
    assert path.read_bytes() == b"a=1\nb<<ghadelimiter_r\nx\ny\nghadelimiter_r\n"
