"""What is found for search queries, by Port's reader and by our own reckoning, is what a strict Port finds."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pdsync.searching import MOST, Question, Searched, holds, refusal
from tests.target.running import running_port

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.target.running import Port

TEXTS = st.sampled_from(["a", "b", "ab", "A", "", "é"])
LISTS = st.lists(TEXTS, max_size=3)
NAMES = st.sampled_from(["text", "list", "$identifier", "$title"])
RULES = st.one_of(
    st.fixed_dictionaries({"property": NAMES, "operator": st.just("="), "value": TEXTS | st.none() | st.just(1)}),
    st.fixed_dictionaries({"property": NAMES, "operator": st.sampled_from(["in", "containsAny"]), "value": LISTS}),
    st.fixed_dictionaries({"property": NAMES, "operator": st.just("contains"), "value": TEXTS | LISTS}),
)


def groups(rules: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    combinators = st.sampled_from(["and", "or"])
    return st.fixed_dictionaries({"combinator": combinators, "rules": st.lists(rules, min_size=1, max_size=3)})


QUERIES = groups(RULES | groups(RULES))
THINGS = {
    f"t{n}": (text, some)
    for n, (text, some) in enumerate([("a", ["a"]), ("b", ["a", "b"]), ("ab", []), ("A", None), (None, ["é"])])
}


@pytest.fixture(scope="module")
def port() -> Iterator[Port]:
    with running_port() as running:
        properties = {"text": {"type": "string"}, "list": {"type": "array"}}
        running.store.create_blueprint({"identifier": "thing", "title": "T", "schema": {"properties": properties}})
        for identifier, (text, some) in THINGS.items():
            given_ = {name: value for name, value in {"text": text, "list": some}.items() if value is not None}
            running.store.put_entity("thing", {"identifier": identifier, "title": identifier[0], "properties": given_})
        yield running


@settings(max_examples=25)
@given(queries=st.lists(QUERIES, min_size=1, max_size=6))
def test_reader_and_reckoning_find_what_port_finds(port: Port, queries: list[Any]) -> None:
    """Asked alone or many at once, and reckoned from the values: the same."""
    assert [refusal(query) for query in queries] == [""] * len(queries)
    questions = [Question("thing", Searched.of(query).query) for query in queries]
    told = port.read(lambda reader: reader.found(questions))
    for query, question in zip(queries, questions, strict=True):
        expected = sorted(e.identifier for e in port.store.search(query) if e.blueprint == "thing")
        reckoned = [i for i in THINGS if holds(query, lambda name, i=i: value_of(i, name))]  # type: ignore[misc]
        assert (list(told[question]), reckoned) == (expected, expected)


def value_of(identifier: str, name: str) -> Any:
    text, some = THINGS[identifier]
    return {"text": text, "list": some, "$identifier": identifier, "$title": identifier[0]}[name]


def equal(text: str) -> Question:
    rule = {"property": "text", "operator": "=", "value": text}
    return Question("thing", json.dumps({"combinator": "and", "rules": [rule]}))


def test_many_alike_are_one_request(port: Port) -> None:
    port.box.log.clear()
    told = port.read(lambda reader: reader.found([equal(text) for text in ("a", "b", "x")]))
    assert [*told.values()] == [("t0",), ("t1",), ()]
    assert [r.path for r in port.box.log.all("port") if "search" in r.path] == ["/v1/blueprints/thing/entities/search"]


def test_what_port_refuses_is_said_of_that_query_alone(port: Port) -> None:
    """A query that Port does not take leaves the others answered."""
    bad = Question("thing", '{"combinator":"and","rules":[{"property":"text","operator":"~","value":"a"}]}')
    told = port.read(lambda reader: reader.found([bad, equal("a")]))
    assert told[equal("a")] == ("t0",)
    assert isinstance(told[bad], str)
    assert "Port does not answer" in told[bad]


def test_no_more_is_read_than_a_relation_takes(port: Port) -> None:
    for n in range(MOST + 5):
        port.store.put_entity("thing", {"identifier": f"many{n}", "properties": {"text": "many"}})
    try:
        [found] = port.read(lambda reader: reader.found([equal("many")])).values()
        assert len(found) > MOST
    finally:
        for n in range(MOST + 5):
            port.store.delete_entity("thing", f"many{n}")
