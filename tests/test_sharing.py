"""Fields that share their texts are the fields that they were."""

from __future__ import annotations

import sys
from copy import deepcopy
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pdsync.sharing import MOST, Pool, filled, share
from tests.state.strategies import JSON

PATHS = st.sampled_from(["title", "properties.a", "properties.b"])
FIELDS = st.dictionaries(PATHS, JSON | st.text(max_size=1))


def made(text: str) -> str:
    """A text that is no other one, though it may be equal."""
    return text.encode().decode()


@given(st.lists(FIELDS, max_size=5), FIELDS)
def test_what_is_shared_is_equal(several: list[dict[str, Any]], like: dict[str, Any]) -> None:
    """Types, too: nothing but texts is ever put in the place of another value."""
    pool = Pool()
    for fields in several:
        before = deepcopy(fields)
        share(fields, like)
        assert pool.share(fields) is fields
        assert repr(fields) == repr(before)


def test_equal_texts_are_one() -> None:
    """Of another side at the same path, and of those seen before."""
    one, other, third = ({"title": made("ab"), "properties.a": 1} for _ in range(3))
    share(other, one)
    assert other["title"] is one["title"]
    pool = Pool()
    pool.share(one)
    assert pool.share(third)["title"] is one["title"]


def test_a_pool_does_not_grow_with_the_catalog() -> None:
    """Texts that are all different are not remembered for ever."""
    pool = Pool()
    for number in range(MOST + 10):
        pool.text(str(number))
    late = pool.text(made("late"))
    assert pool.text(made("late")) is not late


@given(FIELDS, FIELDS)
def test_filled_is_a_dict_like_any_other(fields: dict[str, Any], more: dict[str, Any]) -> None:
    """In order, in types, and when more is put into it; what another one holds is its own."""
    made_of = filled(tuple(fields), fields.values())
    other = filled(tuple(fields), [None] * len(fields))
    assert (repr(made_of), list(other.values())) == (repr(fields), [None] * len(fields))
    assert repr({**made_of, **more}) == repr(fields | more)
    made_of.update(more)
    made_of.pop("title", None)
    assert repr(made_of) == repr({path: value for path, value in (fields | more).items() if path != "title"})
    assert repr(filled(tuple(fields), fields.values())) == repr(fields)


def test_filled_takes_less_room() -> None:
    """CPython lets copies of an instance's attributes share their keys."""
    paths = tuple(f"properties.p{n}" for n in range(14))
    assert sys.getsizeof(filled(paths, paths)) * 2 < sys.getsizeof(dict(zip(paths, paths, strict=True)))
