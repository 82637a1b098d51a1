"""What stands in Port at a place that is left alone is kept, and nothing else is."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pdsync.leftalone import in_the_way, kept, list_in, place_of, places_in

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pdsync.leftalone import Keys

ABSENT = "<absent>"
KEYS = st.sampled_from(["a", "b", "c"])
LEAVES = st.none() | st.integers(0, 2) | st.just([{"a": 1}])
OBJECTS = st.recursive(
    st.dictionaries(KEYS, LEAVES, max_size=3), lambda inner: st.dictionaries(KEYS, LEAVES | inner, max_size=3)
)
PLACES = st.lists(
    st.lists(KEYS | st.just("*"), min_size=1, max_size=3).map(".".join), unique=True, min_size=1, max_size=2
)


def named(*below: str) -> dict[str, Keys]:
    places = [place_of(f"properties.o.{each}") for each in below]
    return places_in("properties.o", [place for place in places if place])


def paths(*values: Any, at: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every path that one of these objects has, its own left out."""
    for key in sorted({key for value in values if isinstance(value, dict) for key in value}):
        yield (*at, key)
        yield from paths(*(v.get(key) for v in values if isinstance(v, dict)), at=(*at, key))


def get(value: Any, path: tuple[str, ...]) -> Any:
    for key in path:
        if not isinstance(value, dict) or key not in value:
            return ABSENT
        value = value[key]
    return value


def covered(path: tuple[str, ...], places: Mapping[str, Keys]) -> dict[str, tuple[str, ...]]:
    """The places that are this path, or above it, by name."""
    fit = {name: len(k) for name, k in places.items() if all(a.fullmatch(b) for a, b in zip(k, path, strict=False))}
    return {name: path[:n] for name, n in fit.items() if n <= len(path)}


def reachable(ours: Any, held: Any, path: tuple[str, ...]) -> bool:
    """Whether all that holds a path is an object in Port, and with us an object, nothing or null."""
    above = [path[:n] for n in range(len(path))]
    return all(isinstance(get(held, p), dict) for p in above) and all(
        isinstance(mine := get(ours, p), dict) or mine in (None, ABSENT) for p in above
    )


@settings(max_examples=300, deadline=None)
@given(st.none() | OBJECTS, st.none() | OBJECTS, PLACES)
def test_what_is_left_alone_is_as_in_port_and_all_else_as_mapped(ours: Any, held: Any, below: list[str]) -> None:
    """Asked of every path of both; written once, nothing is left to write; what differs is told by its name."""
    places = named(*below)
    value, differing = kept(ours, held, places)
    names = set()
    for path in paths(ours, held, value):
        left = {name for name, at in covered(path, places).items() if reachable(ours, held, at)}
        if left:
            assert get(value, path) == get(held, path)
            names |= left if get(ours, path) != get(held, path) else set()
        elif not isinstance(get(value, path), dict):
            assert get(value, path) == get(ours, path)
    assert bool(differing) is bool(names)
    assert len(below) > 1 or set(differing) == names
    assert kept(ours, value, places).value == value
    assert kept(ours, None, places) == (ours, ())


@settings(max_examples=100, deadline=None)
@given(st.none() | OBJECTS, st.none() | OBJECTS, PLACES)
def test_a_text_that_holds_json_is_as_the_object_in_it(ours: Any, held: Any, below: list[str]) -> None:
    """And what says the same is spelled as it was."""
    places = named(*below)
    mine, theirs = (None if side is None else json.dumps(side, indent=1) for side in (ours, held))
    value, differing = kept(mine, theirs, places)
    wanted = kept(ours, held, places)
    assert differing == wanted.differing
    assert (json.loads(value) if value is not None else None) == wanted.value
    assert kept(mine, value, places).value == value
    if wanted.value in (ours, held):
        assert value in (mine, theirs)


@pytest.mark.parametrize(
    ("ours", "held", "written"),
    [
        ({"a": 1, "b": {"c": 1}}, {"b": {"c": 2}}, {"a": 1, "b": {"c": 2}}),
        ({"a": 1, "b": {"c": 1, "d": 1}}, {"b": {"d": 2}}, {"a": 1, "b": {"d": 1}}),
        ({"a": 1, "b": {"c": 1}}, {"a": 2}, {"a": 1, "b": {"c": 1}}),
        ({"a": 1}, {"a": 2, "b": {"c": 2, "d": 2}}, {"a": 1, "b": {"c": 2}}),
        (None, {"a": 2, "b": {"c": 2}}, {"b": {"c": 2}}),
        (None, {"a": 2}, None),
        ({}, {"a": 2}, {}),
        ({"b": None}, {"b": {"c": 2}}, {"b": {"c": 2}}),
        ({"b": None}, {"b": {"d": 2}}, {"b": None}),
        ({"b": [{"c": 1}]}, {"b": [{"c": 2}]}, {"b": [{"c": 1}]}),
        ({"b": {"c": [1]}}, {"b": {"c": [2, 3]}}, {"b": {"c": [2, 3]}}),
        ("plain", '{"b": {"c": 2}}', "plain"),
        ('{"b":{"c":1},"a":1}', '{"b": {"c": 2}}', '{"b":{"c":2},"a":1}'),
        ('{"a":1,"b":{"c":1}}', '{"b": {"c": 2}, "a": 1.0}', '{"b": {"c": 2}, "a": 1.0}'),
        ('["x"]', '{"b": {"c": 2}}', '["x"]'),
        ({"b": {"c": 1}}, '{"b": {"c": 2}}', {"b": {"c": 1}}),
    ],
)
def test_cases(ours: Any, held: Any, written: Any) -> None:
    """One row each of what a mapping says, what Port holds and what is written, with `b.c` left alone."""
    assert kept(ours, held, named("b.c")).value == written


@pytest.mark.parametrize(
    ("text", "hit", "missed"),
    [
        ("properties.o.b.c", ("b", "c"), ("b", "d")),
        ("properties.o.*.c", ("x.y", "c"), ("b", "d")),
        ('properties.o."team.id"', ("team.id",), ("teamxid",)),
        ('properties.o["*"].c', ("*", "c"), ("b", "c")),
        ("properties.o.b?", ("bb",), ("b",)),
        ("properties.[op].b", ("b",), ("c",)),
    ],
)
def test_paths(text: str, hit: tuple[str, ...], missed: tuple[str, ...]) -> None:
    """A key is a name or a glob; in quotes it is no glob, and may hold a dot."""
    place = place_of(text)
    assert place is not None
    (keys,) = places_in("properties.o", [place]).values()
    assert [all(k.fullmatch(p) for k, p in zip(keys, path, strict=True)) for path in (hit, missed)] == [True, False]
    assert places_in("properties.other", [place]) == {}


@pytest.mark.parametrize("text", ["title", "title.x", "relations.a.b", "properties.o", "properties.*", "*.o.x"])
def test_what_is_no_place_inside_a_property(text: str) -> None:
    """Whole paths, and what only properties have."""
    assert place_of(text) is None


@pytest.mark.parametrize("text", ["properties.o.b..c", 'properties.o."b', "properties.o.", "properties.o.b[0].c"])
def test_what_cannot_be_read(text: str) -> None:
    """It names no place; the lint says so."""
    assert place_of(text) is None


def test_lists() -> None:
    """An index leads into a list, a bracket with a name does not."""
    into = ["properties.o[0]", "properties.o.b[].c", 'properties.o["b[0]"].c[*]']
    assert list(map(list_in, into)) == ["properties.o", "properties.o.b", 'properties.o["b[0]"].c']
    assert [list_in(text) for text in ('properties.o["b[0]"].c', "properties.o.b")] == ["", ""]


@pytest.mark.parametrize(
    ("value", "stands"),
    [
        ({"b": {"c": [1]}}, ""),
        ({"b": [{"c": 1}]}, "list"),
        ({"b": 7}, "number"),
        ("plain", "text"),
        ('{"b": [1]}', "list"),
        ({"b": None}, ""),
        (None, ""),
    ],
)
def test_what_stands_in_the_way(value: Any, stands: str) -> None:
    """On the way to `b.c` there are objects, or nothing."""
    (keys,) = named("b.c").values()
    assert in_the_way(value, keys) == stands
