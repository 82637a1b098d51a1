"""Where inside two nested values the difference is: every place, no other, and by key where objects have one."""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pdsync.diff import Place, changed_lines, inside
from pdsync.normal import same

SCALARS = st.none() | st.booleans() | st.integers(-2, 2) | st.sampled_from(["", "a", "b"])
NAMES = st.sampled_from(["id", "name", "a", "b"])
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3), max_leaves=8
)
OBJECTS = st.dictionaries(NAMES, VALUES, min_size=1, max_size=3)
KEYED = st.dictionaries(st.sampled_from("pqrst"), VALUES, min_size=1).map(
    lambda of: [{"id": name, "value": value} for name, value in of.items()]
)


@settings(max_examples=80)
@given(OBJECTS, OBJECTS)
@example({"a": [1, 1]}, {"a": [True, 1]})
@example({"a": [{"b": 1, "a": 2}]}, {"a": [{"a": 2, "b": 1}]})
@example({"a": None, "b": 1}, {"b": 1})
def test_there_is_a_place_exactly_where_they_differ(before: Any, after: Any) -> None:
    """No place for equal values, some for others, and what each place shows differs."""
    places = inside(before, after)
    assert (places == []) is same(before, after)
    assert all(place.only in ("added", "removed") or not same(place.before, place.after) for place in places)


@settings(max_examples=80)
@given(KEYED | st.lists(VALUES, min_size=1), st.randoms(use_true_random=False))
@example([1, 2, 2, True], Random(1))
def test_order_only_is_reordered(elements: list[Any], order: Random) -> None:
    """Whatever the elements, their order, and that of keys within them."""
    moved = [dict(reversed(each.items())) if isinstance(each, dict) else each for each in elements]
    order.shuffle(moved)
    expected = [] if same(elements, moved) else [Place("", elements, moved, "reordered")]
    assert inside(elements, moved) == expected


@settings(max_examples=80)
@given(KEYED, st.randoms(use_true_random=False))
def test_one_changed_element_is_shown_as_that_element(elements: list[Any], order: Random) -> None:
    """Wherever it stands now, and whatever else it holds."""
    changed = [dict(element) for element in elements]
    one = order.choice(changed)
    before, one["value"] = one["value"], "changed"
    order.shuffle(changed)
    places = [place for place in inside(elements, changed) if place.only != "reordered"]
    assert places == [Place(f"[id={one['id']}].value", before, "changed")]


SETS = st.sets(st.sampled_from("abcde"), min_size=1).map(sorted)


@settings(max_examples=40)
@given(SETS, SETS)
def test_of_sets_the_members_that_go_and_come_are_told(before: list[str], after: list[str]) -> None:
    """Each once, without a place; what both have is no difference."""
    told = {(place.only, place.before or place.after) for place in inside(before, after, as_sets=True)}
    gone, new = set(before) - set(after), set(after) - set(before)
    assert told == {("removed", value) for value in gone} | {("added", value) for value in new}


def test_null_is_told_from_absent() -> None:
    """In an object as in a list."""
    assert inside({"a": None, "z": 1}, {"z": 1}) == [Place(".a", None, None, "removed")]
    assert inside({"z": [1]}, {"z": [1, None]}) == [Place(".z[1]", None, None, "added")]


LINES = st.lists(st.sampled_from(["a", "b", "-- a", "++ b", "--- a", "@@ x", ""]), max_size=6)


@given(LINES, LINES)
def test_every_line_that_goes_or_comes_is_told(before: list[str], after: list[str]) -> None:
    """Also one that looks like the head of a diff."""
    told = changed_lines("\n".join([*before, "end", ""]), "\n".join([*after, "end", ""]))
    for sign, of, other in (("-", before, after), ("+", after, before)):
        lines = [line[1:] for line in told if line.startswith(sign)]
        assert Counter(lines) >= Counter(of) - Counter(other)
        assert Counter(lines) <= Counter(of)


@pytest.mark.parametrize(
    ("before", "after", "only"),
    [
        ('{"a": "x y"}', '{ "a":"x y" }\n', "spacing"),
        ('{"a": 1, "b": 2}', '{"b": 2, "a": 1}', "spelling"),
        ('{"a": 1.0}', '{"a": 1}', "spelling"),
        ('["\\u00e9"]', '["\u00e9"]', "spelling"),
        ('{"a": "x\\" : y"}', '{"a":"x\\" : y"}', "spacing"),
    ],
)
def test_texts_of_the_same_json_differ_in_how_it_is_written(before: str, after: str, only: str) -> None:
    """White space counts as such only outside of strings; all else is not said to be white space."""
    assert inside(before, after) == [Place("", before, after, only)]
