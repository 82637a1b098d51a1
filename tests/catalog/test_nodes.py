"""Places: where keys, values and parts of values stand, in every style of YAML and in JSON."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pdsync.catalog.nodes import Map, find, offset_of, plain, read_documents
from tests.catalog.cases import document, scalar

STYLES = {
    "plain": "x: .a | .b.c\n",
    "plain over lines": "x: .a\n   | .b\n\n   | .c\n",
    "single": "x: '.a | ''b'' | .c'\n",
    "single over lines": "x: '.a\n\n    | .c'\n",
    "double": 'x: "\\".é\\u00e9\\x41\\t\\" | .c"\n',
    "double over lines": 'x: "first \\\n   second   \n   third .c"\n',
    "surrogate pair": 'x: "\\ud83d\\ude00 .c"\n',
    "literal": "x: |\n   .a\n     | .b\n\n   | .c\n",
    "literal after a comment": "x: |- # why\n   .a | .c\n",
    "folded": "x: >\n   .a\n   | .b\n\n     .c\n",
    "folded, indented by number": "x: >2-\n     .a\n  | .c\n",
    "tagged": "x: !!str .a | .c\n",
}


@pytest.mark.parametrize("text", STYLES.values(), ids=list(STYLES))
def test_every_visible_character_is_found_where_it_stands(text: str) -> None:
    """For each character of the value, the place in the file holds it, or the escape that means it."""
    value = scalar(find(document(text).root, "x"))
    places = [(c, offset_of(text, value, i)) for i, c in enumerate(value.raw) if not c.isspace()]
    assert [text[place] if text[place] != "\\" else c for c, place in places] == [c for c, _ in places]
    assert text.rindex("c") == places[-1][1]


@given(st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1))
def test_places_hold_for_any_quoted_text(value: str) -> None:
    """As above, for any text in single quotes and in JSON's escapes."""
    for text in (
        "x: '" + value.replace("'", "''") + "'\n",
        f"x: {json.dumps(value)}\n",
        f"x: {json.dumps(value, ensure_ascii=False)}\n",
    ):
        found = scalar(find(document(text).root, "x"))
        assert found.value == value
        shown = [text[offset_of(text, found, index)] for index in range(len(value))]
        assert [s if s != "\\" else c for s, c in zip(shown, value, strict=True)] == list(value)


@pytest.mark.parametrize(
    ("text", "path", "place"),
    [
        ("a:\n  b: 1\n", ("a", "b"), (2, 6, 1)),
        ("a:\n  - x\n  - 'y z'\n", ("a", 1), (3, 5, 5)),
        ("a: {b: [1, {c: d}]}\n", ("a", "b", 1, "c"), (1, 16, 1)),
        ("a:\r\n  b: |\r\n    x\r\n", ("a", "b"), (3, 5, 1)),
        ("\ufeffa: b\n", ("a",), (1, 4, 1)),
        ("a:\n  b:\n", ("a", "b"), (2, 3, 1)),
        ("a: >\n\n   x y\n   z\n", ("a",), (3, 4, 3)),
    ],
)
def test_a_value_is_placed_by_line_column_and_length(text: str, path: tuple[str | int, ...], place: object) -> None:
    """Lines and columns count from 1; a block stands where its text begins, an absent value where its key does."""
    origin = document(text).value(path)
    assert (origin.line, origin.column, origin.length) == place


def test_a_missing_key_is_placed_at_what_is_there() -> None:
    """The nearest key on the way."""
    assert str(document("a:\n  b: 1\n").key(("a", "c", "d"))) == "catalog/x.yaml:1:1"


LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
JSON = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(st.dictionaries(st.text(), JSON), st.sampled_from([None, 2, "\t"]), st.booleans())
def test_a_json_file_is_read_as_json(value: dict[str, Any], indent: int | str | None, ascii_only: bool) -> None:
    """Tabs, escapes and separators of JSON included; control characters are refused, as everywhere."""
    text = json.dumps(value, indent=indent, ensure_ascii=ascii_only)
    try:
        data = text.encode()
    except UnicodeEncodeError:
        return
    documents, problems = read_documents("catalog/x.json", data)
    if problems:
        assert {problem.code for problem in problems} == {"PD107"}
    else:
        assert plain(documents[0].root) == json.loads(text)


@given(st.dictionaries(st.text(st.characters(min_codepoint=32, max_codepoint=126)), LEAVES | st.lists(LEAVES)))
def test_json_is_yaml(value: dict[str, Any]) -> None:
    """What json.dumps writes is read the same from a .yaml file."""
    text = json.dumps(value)
    documents, problems = read_documents("catalog/x.yaml", text.encode())
    if not problems:
        assert plain(documents[0].root) == json.loads(text)
    else:
        assert {problem.code for problem in problems} == {"PD107"}


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("yes", "yes"),
        ("on", "on"),
        ("010", 10),
        ("0o10", 8),
        ("0x1F", 31),
        ("12:30:00", "12:30:00"),
        ("1_000", "1_000"),
        ("1e3", 1000.0),
        ("+.5", 0.5),
        ("~", None),
        ("", None),
        ("True", True),
        ("-90d", "-90d"),
        (".a", ".a"),
        ('"2026-01-01"', "2026-01-01"),
        ("!!str 5", "5"),
    ],
)
def test_scalars_are_those_of_yaml_1_2(written: str, value: object) -> None:
    """The core schema of YAML 1.2: what YAML 1.1 would read as a bool, a time or octal is not."""
    assert plain(document(f"x: {written}\n").root) == {"x": value}


def test_keys_are_text() -> None:
    """JSON's keys are: enumColors of a number may be written without quotes."""
    root = document("1: red\ntrue: blue\n").root
    assert isinstance(root, Map)
    assert list(root.entries) == ["1", "true"]
