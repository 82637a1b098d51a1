"""jq read as text: quotes as Port's integration rewrites them, what is used, what is evidently given."""

from __future__ import annotations

import pytest

from pdsync.catalog.jqtext import CLOSED, closed_names, constant, enrichments_read, shape, tokens
from pdsync.catalog.quotes import double_quoted


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("'a'", '"a"'),
        (".x == 'a b'", '.x == "a b"'),
        ("'a' + 'b'", '"a" + "b"'),
        ("'a' 'b'", '"a" \'b"'),
        (".x | test('a')", ".x | test('a')"),
        (".x == '' ", '.x == "" '),
        ('"it\'s"', '"it\'s"'),
        ('"it \'s"', '"it "s"'),
        ("'\"a\"'", "'\"a\"'"),
        (" ' ", " ' "),
        ("'", '"'),
        ("'a'\n| 'b'", '"a"\n| "b"'),
        (".a", ".a"),
    ],
)
def test_single_quotes_become_double_ones_where_they_delimit(written: str, read: str) -> None:
    """One character for one, so that places stay; quotes inside words and next to brackets stay as well."""
    assert double_quoted(written) == read


@pytest.mark.parametrize(
    ("expression", "used"),
    [
        ("now", ["now"]),
        (".now", []),
        ("{now}", []),
        ("{now: 1}", []),
        ("{a: now}", ["now"]),
        ("{(now | tostring): 1}", ["now"]),
        ('"now"', []),
        ('"\\(now)"', ["now"]),
        ('"a\\("b\\(env.X)" + "c")d" | now', ["env", "now"]),
        ("$ENV.PATH", ["$ENV"]),
        ("[.a, now] # input", ["now"]),
        ("def now: 1; now", []),
        ('.["now"] | .env | has("input")', []),
        ("if now then input else halt end", ["now", "input", "halt"]),
    ],
)
def test_what_is_closed_is_found_and_nothing_else(expression: str, used: list[str]) -> None:
    """Fields, keys, strings and comments are not uses."""
    assert [token.text for token in closed_names(tokens(expression))] == used
    assert set(used) <= set(CLOSED)


@pytest.mark.parametrize(
    ("expression", "read"),
    [
        (".__analytics.x", ["__analytics"]),
        (".users[].__email", ["__email"]),
        ('.["__custom_fields"]', ["__custom_fields"]),
        ("{__email}", ["__email"]),
        (".a__b | .__X", []),
    ],
)
def test_enrichments_are_fields_that_begin_with_two_underscores(expression: str, read: list[str]) -> None:
    """However they are written."""
    assert [token.text for token in enrichments_read(tokens(expression))] == read


@pytest.mark.parametrize(
    ("expression", "given"),
    [
        (".html_url", "string"),
        (".a.b[0].email", "string"),
        (".teams", "objects"),
        (".teams[]", None),
        (".teams[0]", None),
        (".x", None),
        (".x | .name", "string"),
        (".name // 5", None),
        ("[.a, .b]", "array"),
        ("[.a] + [.b]", None),
        ("{a: .b}", "object"),
        ("{a: .b}.a", None),
        ('"a\\(.b)c"', "string"),
        ('"a" + .b', None),
        (".a | map(.b)", "array"),
        (".a | length", "number"),
        (".a == 1 and .b", "boolean"),
        ("map(.a == 1)", "array"),
        (".name, .teams", None),
        ("if .a | length then .b else .c end", None),
        ("def f: 1; .name", None),
        (".__analytics.total_incident_count", "number"),
        ("", None),
    ],
)
def test_only_what_is_evident_has_a_shape(expression: str, given: str | None) -> None:
    """A warning needs certainty: everything else has none."""
    assert shape(tokens(expression)) == given


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ('"a"', (True, "a")),
        (" [1, true] \n", (True, [1, True])),
        ("null", (True, None)),
        ('"\\(.a)"', (False, None)),
        (".a", (False, None)),
        ("NaN", (False, None)),
        ("[" * 100_000, (False, None)),
    ],
)
def test_constants_are_json(expression: str, value: object) -> None:
    """Without interpolation, fields and operators."""
    assert constant(expression) == value
