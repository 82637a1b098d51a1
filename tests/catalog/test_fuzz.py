"""Whatever stands in a catalog: diagnostics come out, never an exception."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pdsync.catalog.jqcheck import LONGEST, compile_errors
from pdsync.catalog.jqtext import shape, tokens
from pdsync.catalog.nodes import plain, read_documents
from pdsync.render.diagnostics import render_diagnostics
from tests.catalog.cases import STARTER, checked, codes

PIECES = [*".abn_ |()[]{}\",:;\\'#\n$@0-=/?é\u202e", "now", "env", "if ", " end", "def ", "\\(", "//"]
JQ = st.lists(st.sampled_from(PIECES)).map("".join)
TEXT = JQ | st.text()


@given(TEXT)
@example("\0")
@example("(" * 9000)
@example(".a|" * (LONGEST // 3))
@example("x" * (LONGEST + 1))
@example('"\\(' * 2000)
@example(".a) | (.b")
@example(". as [$a] ?// $a | $a")
@settings(max_examples=150, deadline=None)
def test_any_text_as_an_expression_gives_diagnostics_at_most(text: str) -> None:
    """Of an expression that jq refuses something is said, at a place; nothing is raised."""
    resource: dict[str, Any] = {
        "kind": "services",
        "selector": {"query": text},
        "port": {"entity": {"mappings": {"identifier": text, "blueprint": text, "properties": {"url": text}}}},
    }
    written = json.dumps({"resources": [resource]})
    catalog, diagnostics = checked({"mappings/m.json": written, "mappings/n.yaml": written})
    assert (catalog is None) == any(d.severity == "error" for d in diagnostics)
    assert all(d.origin is not None for d in diagnostics)
    render_diagnostics(diagnostics, "text", color=True)


@given(TEXT)
@settings(deadline=None)
def test_tokens_lie_within_the_expression(text: str) -> None:
    """The reading that lint rules use covers any text, in order."""
    found = tokens(text)
    assert [t.start for t in found if t.kind != "string"] == sorted(t.start for t in found if t.kind != "string")
    assert all(0 <= t.start < len(text) for t in found)
    shape(found)


@given(st.lists(TEXT, max_size=6))
@settings(deadline=None)
def test_an_expression_is_refused_among_others_as_it_is_alone(texts: list[str]) -> None:
    """The two programs for all say the same as each expression by itself."""
    together = compile_errors(texts)
    assert together == {i: e[0] for i, text in enumerate(texts) if (e := compile_errors([text]))}


@given(
    st.sampled_from(["pdsync.yaml", "blueprints/a.yaml", "mappings/a.yaml", "webhooks/a.json", "tests/a.yml"]),
    st.binary(),
)
@settings(deadline=None)
def test_any_bytes_as_a_file_give_diagnostics_at_most(name: str, data: bytes) -> None:
    """Files are what people and tools leave behind."""
    catalog, diagnostics = checked({name: data})
    assert (catalog is None) == any(d.severity == "error" for d in diagnostics)


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 5)
    | st.sampled_from(["", ".id", "x", '"x"', "service", "true", "url", "a.b"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["query", "type", "x", "rules"]), inner, max_size=3)
    ),
    max_leaves=6,
)


def _documents() -> dict[str, Any]:
    names = [path.relative_to(STARTER).as_posix() for path in sorted(STARTER.rglob("*.yaml"))]
    return {name: plain(read_documents(name, (STARTER / name).read_bytes())[0][0].root) for name in names}


def _paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(below for key, one in inner for below in _paths(one, (*path, key)))]


def _replaced(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    if isinstance(value, dict):
        return {key: _replaced(one, path[1:], new) if key == path[0] else one for key, one in value.items()}
    return [_replaced(one, path[1:], new) if index == path[0] else one for index, one in enumerate(value)]


DOCUMENTS = _documents()
PLACES = [(name, path) for name, value in DOCUMENTS.items() for path in _paths(value)]


@given(st.lists(st.tuples(st.sampled_from(PLACES), VALUES), min_size=1, max_size=3))
@settings(max_examples=60, deadline=None)
def test_any_value_in_any_place_of_a_catalog_gives_diagnostics_at_most(changes: list[tuple[Any, Any]]) -> None:
    """Every check bears what the checks before it complained about."""
    documents = dict(DOCUMENTS)
    for (name, path), value in changes:
        try:
            documents[name] = _replaced(documents[name], path, value)
        except TypeError:  # an earlier change took the place away
            continue
    catalog, diagnostics = checked({name: json.dumps(value) for name, value in documents.items()})
    assert (catalog is None) == any(d.severity == "error" for d in diagnostics)
    assert len(set(diagnostics)) == len(diagnostics)


@pytest.mark.parametrize("name", ["a.yaml", "a.json"])
def test_deep_nesting_is_refused(name: str) -> None:
    """Recursion is bounded, whoever wrote the file."""
    text = '{"a":' * 3000 + "1" + "}" * 3000
    assert codes(checked({f"blueprints/{name}": text})[1]) == ["PD106"]
