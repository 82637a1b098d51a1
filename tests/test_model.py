"""What the nouns hold in little room is what was put there."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from pdsync.model import Change, FieldChange, FieldChanges
from tests.state.strategies import JSON, TEXT

FIELDS = st.lists(
    st.builds(
        FieldChange,
        path=st.sampled_from(["title", "properties.a", "relations.b"]),
        before=st.none() | JSON,
        after=JSON,
        cause=st.sampled_from(["catalog", "source", "drift", "tool"]),
        origin=TEXT,
        drift=st.booleans(),
        deferred=st.booleans(),
        moved_from=TEXT,
        replace=st.booleans(),
        note=TEXT,
    ),
    max_size=5,
).map(tuple)


@given(FIELDS)
def test_the_fields_of_a_change_are_those_it_was_made_from(fields: tuple[FieldChange, ...]) -> None:
    """However one looks at them; and every part of a field change is kept."""
    change = Change(1, "entity", "update", "service", "a", "A", fields, "changed", "source")
    found = change.fields
    assert isinstance(found, FieldChanges)
    assert found == FieldChanges(fields)
    assert list(found) == list(fields)
    assert (len(found), bool(found)) == (len(fields), bool(fields))
    assert [found[n] for n in range(len(fields))] == list(fields)
    assert found[1:3] == fields[1:3]
    assert list(change.afters()) == [(field.path, field.after) for field in fields]
    assert list(change.befores()) == [(field.path, field.before) for field in fields]
    assert replace(change, n=2).fields is found
    assert replace(change, fields=found) == change
    assert (replace(change, fields=()) == change) == (not fields)


@given(FIELDS, FIELDS)
def test_other_fields_are_another_change(some: tuple[FieldChange, ...], others: tuple[FieldChange, ...]) -> None:
    """True is not 1 for people, but it is for Python: nothing here is stricter than the values themselves."""
    assert (FieldChanges(some) == FieldChanges(others)) == (some == others)
    assert FieldChanges(some) != "fields"
