"""Schemas as functions agree with `jsonschema`, on schemas of the document and on random ones."""

from __future__ import annotations

import copy
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from pdsync.sandbox.port_schema import FORMATS, Compiler, Problem, compile_pattern
from tests.sandbox.port_client import DOCUMENT, official

WITHOUT_FORMATS: dict[str, Any] = {}

# --- random schemas ---

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.sampled_from([0.5, 1.0, -2.0]),
    st.sampled_from(["", "a", "ab", "b\n", "é"]),
)
NAMES = st.sampled_from(["a", "b", "c"])
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3), max_leaves=6
)
TYPES = st.sampled_from(["string", "number", "integer", "boolean", "object", "array", "null"])
SMALL = st.integers(0, 2)


def _keywords(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(
        {},
        optional={
            "type": TYPES | st.lists(TYPES, min_size=1, max_size=2, unique=True),
            "enum": st.lists(VALUES, min_size=1, max_size=3),
            "const": VALUES,
            "pattern": st.sampled_from(["^a", "b$", "^[ab]+$"]),
            "minLength": SMALL,
            "maxLength": SMALL,
            "minimum": SMALL,
            "exclusiveMaximum": SMALL,
            "minItems": SMALL,
            "maxItems": SMALL,
            "minProperties": SMALL,
            "maxProperties": SMALL,
            "uniqueItems": st.booleans(),
            "required": st.lists(NAMES, unique=True, max_size=2),
            "properties": st.dictionaries(NAMES, inner, max_size=2),
            "patternProperties": st.dictionaries(st.sampled_from(["^a", "b|c"]), inner, max_size=1),
            "additionalProperties": st.booleans() | inner,
            "propertyNames": inner,
            "items": inner,
            "oneOf": st.lists(inner, min_size=1, max_size=2),
            "anyOf": st.lists(inner, min_size=1, max_size=2),
            "allOf": st.lists(inner, min_size=1, max_size=2),
            "not": inner,
            "if": inner,
            "then": inner,
            "else": inner,
        },
    )


SCHEMAS = st.recursive(st.booleans() | _keywords(st.booleans()), _keywords, max_leaves=4)


@settings(max_examples=150, deadline=None)
@given(schema=SCHEMAS, value=VALUES)
def test_a_compiled_schema_takes_exactly_what_the_schema_takes(schema: Any, value: Any) -> None:
    check = Compiler(formats=WITHOUT_FORMATS).compile(schema)
    # ECMA's `$` is the very end, Python's is not: the other validator gets a schema of the same meaning.
    assert (check(value) is None) == official_or_plain(schema).is_valid(value)


def official_or_plain(schema: Any) -> Any:
    return official(schema) if isinstance(schema, dict) else Draft202012Validator(schema)


# --- the document's own schemas ---

BODIES = [
    (f"{method} {template}", operation["requestBody"]["content"]["application/json"]["schema"])
    for template, methods in sorted(DOCUMENT["paths"].items())
    for method, operation in methods.items()
    if "requestBody" in operation
]
RULES: list[Any] = [
    {"property": "a", "operator": "=", "value": 1},
    {"property": "$title", "operator": "in", "value": ["a"]},
    {"relation": "r", "operator": "isEmpty"},
    {"operator": "relatedTo", "blueprint": "b", "value": "x", "direction": "upstream"},
    {"property": "$createdAt", "operator": "between", "value": {"preset": "today"}},
    {"combinator": "or", "rules": []},
]
QUERY = {"combinator": "and", "rules": RULES}
EXAMPLES: list[Any] = [
    {"clientId": "a", "clientSecret": "b"},
    {"identifier": "a", "title": "t", "icon": None, "team": ["x"], "properties": {"p": 1}, "relations": {"r": ["b"]}},
    {"entities": [{"identifier": "a"}, {"identifier": {"combinator": "and", "rules": RULES[:1]}}]},
    {"entities": ["a", "b"]},
    {"query": QUERY, "limit": 10, "include": ["title"], "from": "x"},
    QUERY,
    {"func": "count", "query": QUERY, "calculationBy": "entities"},
    {
        "identifier": "b",
        "title": "B",
        "schema": {"properties": {"p": {"type": "string", "format": "url", "title": "P"}}, "required": ["p"]},
        "relations": {"r": {"target": "b", "many": False, "required": True}},
        "mirrorProperties": {"m": {"path": "r.$title"}},
        "calculationProperties": {"c": {"calculation": ".x", "type": "number", "colors": {"1": "red"}}},
        "aggregationProperties": {
            "g": {"title": "G", "target": "b", "calculationSpec": {"func": "count", "calculationBy": "entities"}}
        },
        "ownership": {"type": "Direct"},
    },
    {"newPropertyName": "p"},
    {"newMirrorName": "p"},
    {"newRelationIdentifier": "p"},
]


def _spots(value: Any) -> list[tuple[Any, Any]]:
    """Every container in a value with each of its keys."""
    if isinstance(value, dict):
        return [(value, key) for key in value] + [spot for part in value.values() for spot in _spots(part)]
    if isinstance(value, list):
        return [(value, index) for index in range(len(value))] + [spot for part in value for spot in _spots(part)]
    return []


@st.composite
def damaged(draw: st.DrawFn) -> Any:
    """An example with something replaced, taken out, added or renamed, or left as it is."""
    value = copy.deepcopy(draw(st.sampled_from(EXAMPLES)))
    for _ in range(draw(st.integers(0, 2))):
        spots = _spots(value)
        if not spots:
            break
        container, key = draw(st.sampled_from(spots))
        match draw(st.sampled_from(["replace", "remove", "rename", "add"])):
            case "replace":
                container[key] = draw(VALUES | st.sampled_from(["", "x" * 101, "a b", "..", "=", 0, 1001, 1.5]))
            case "remove":
                del container[key]
            case "rename" if isinstance(container, dict):
                container[draw(st.sampled_from(["title", "a b", "x" * 101, "description"]))] = container.pop(key)
            case _ if isinstance(container, dict):
                container[draw(st.sampled_from(["extra", "title", "icon"]))] = draw(VALUES)
            case _:
                container.extend([container[key]] * 21)
    return value


@cache
def checks_of(body: int) -> tuple[Any, Any]:
    """What the sandbox makes of the schema of a body, and what the other validator does."""
    _, schema = BODIES[body]
    return Compiler(DOCUMENT, formats=WITHOUT_FORMATS).compile(schema), official(schema)


@pytest.mark.parametrize("body", range(len(BODIES)), ids=[name for name, _ in BODIES])
@settings(max_examples=60, deadline=None)
@given(value=damaged())
def test_request_bodies_are_taken_exactly_as_the_document_says(body: int, value: Any) -> None:
    check, other = checks_of(body)
    assert (check(value) is None) == other.is_valid(value)


# --- words of a refusal ---


def test_a_problem_names_the_place_and_what_would_be_right() -> None:
    schema = {"properties": {"list": {"items": {"properties": {"n": {"maximum": 3}}}}}}
    problem = Compiler().compile(schema)({"list": [{"n": 1}, {"n": 4}]})
    assert problem == Problem(("list", 1, "n"), "must be <= 3")
    assert problem.said("body") == "body/list/1/n must be <= 3"


def test_of_several_alternatives_the_one_that_came_closest_is_told() -> None:
    schema = {"anyOf": [{"type": "string"}, {"type": "object", "properties": {"a": {"type": "number"}}}]}
    assert Compiler().compile(schema)({"a": "x"}) == Problem(("a",), "must be number")


# --- formats and patterns ---

GOOD = {
    "date-time": [
        "2026-01-01T00:00:00Z",
        "2026-01-01T00:00:00+02:00",
        "2026-01-01t00:00:00.123456z",
        "2024-02-29T23:59:59Z",
    ],
    "timer": ["2026-01-01T00:00:00.000Z"],
    "url": ["https://a.example", "http://a.example:8080/x?y=1#z", "https://ü.example/ä", "ftp://a.example"],
    "uri": ["mailto:a@b.example", "https://a.example"],
    "email": ["a@b.example", "first.last+tag@sub.domain.example"],
    "user": ["a@b.example"],
    "idn-email": ["ä@ö.example", "a@b.example"],
    "ipv4": ["127.0.0.1", "255.255.255.255"],
    "ipv6": ["::1", "2001:db8::ff00:42:8329"],
}
BAD = {
    "date-time": [
        "",
        "2026-01-01",
        "2026-01-01T00:00:00",
        "2026-13-01T00:00:00Z",
        "2025-02-29T00:00:00Z",
        "now",
        "1767225600",
    ],
    "timer": ["2026-01-01"],
    "url": [
        "",
        "a.example",
        "//a.example",
        "https://",
        "javascript:alert(1)",
        "https://a b.example",
        "http://a:99999",
        "http://[::1",
    ],
    "uri": ["", "a b:c", "nothing"],
    "email": ["", "a", "a@b", "@b.example", "a@", "a b@c.example", "a@-b.example", ".a@b.example"],
    "user": ["Somebody"],
    "idn-email": ["a@b", "a b@c.d", "a@b@c.d"],
    "ipv4": ["", "1.2.3", "1.2.3.256", "01.2.3.4", "::1"],
    "ipv6": ["", "127.0.0.1", "fe80::1%eth0", "::g"],
}


def test_every_format_has_examples() -> None:
    assert FORMATS.keys() == GOOD.keys() == BAD.keys()


@pytest.mark.parametrize(("name", "text"), [(name, text) for name, texts in GOOD.items() for text in texts])
def test_a_format_takes(name: str, text: str) -> None:
    assert FORMATS[name](text) is True


@pytest.mark.parametrize(("name", "text"), [(name, text) for name, texts in BAD.items() for text in texts])
def test_a_format_refuses(name: str, text: str) -> None:
    assert FORMATS[name](text) is False


@pytest.mark.parametrize(
    ("pattern", "text", "matches"),
    [
        ("^a$", "a\n", False),
        ("a$|b", "a", True),
        ("[$]", "$", True),
        ("\\$", "$", True),
        ("^\\d$", "٣", False),
        ("^[\\d]$", "3", True),
        ("^\\w$", "é", False),
        ("^\\p{L}$", "é", True),
    ],
)
def test_patterns_mean_what_they_mean_in_javascript(pattern: str, text: str, matches: bool) -> None:
    assert (compile_pattern(pattern).search(text) is not None) is matches


@pytest.mark.parametrize("pattern", ["(", "[", "*a", "\\"])
def test_what_is_no_pattern_is_a_value_error(pattern: str) -> None:
    with pytest.raises(ValueError, match="is no pattern"):
        compile_pattern(pattern)


def test_lengths_are_counted_as_javascript_does() -> None:
    check = Compiler().compile({"maxLength": 1})
    assert check("é") is None
    assert check("😀") == Problem((), "must NOT have more than 1 characters")
