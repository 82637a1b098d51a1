"""A saved plan is exactly the plan, or it is refused."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pdsync.errors import StateError
from pdsync.model import FieldChange, FieldChanges
from pdsync.plan import Facts
from pdsync.plan.document import FORMAT_VERSION, encoded, parse_plan, plan_document, read_plan
from tests.builders import blueprint, catalog, desired, existing, ledger, plan, rule, want

SERVICE = blueprint()
MADE = plan(
    Facts(
        catalog([SERVICE], [rule(paths=("properties.tags",))]),
        desired(want("a", tags=[{"z": 1, "a": {"y": [1.5, None], "b": "\u2028"}}])),
        existing([SERVICE], {}),
        ledger({}, [SERVICE]),
    )
)


def test_nested_values_keep_the_fingerprint() -> None:
    """The order of keys inside a value does not count: what was saved can be applied."""
    assert parse_plan(plan_document(MADE)) == MADE


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
    max_leaves=5,
)
FIELDS = st.builds(
    FieldChange,
    path=st.text(max_size=4),
    before=JSON,
    after=JSON,
    cause=st.sampled_from(["catalog", "source"]),
    origin=st.text(max_size=3),
    drift=st.booleans(),
    deferred=st.booleans(),
    moved_from=st.text(max_size=3),
    replace=st.booleans(),
    note=st.text(max_size=3),
    causes=st.sampled_from([(), ("catalog",), ("source", "drift")]),
)


NEEDED = {"path", "before", "after", "cause"}


@given(st.lists(FIELDS, max_size=4))
def test_fields_are_written_as_what_they_are(fields: list[FieldChange]) -> None:
    """Whatever is done for speed: each field is an object with sorted keys, what is usual left out, and comes back."""
    written = encoded(FieldChanges(fields))
    objects = msgspec.json.decode(written)
    assert written == msgspec.json.encode(objects, order="sorted")
    assert objects == [
        {name: value for name, value in told.items() if name in NEEDED or value not in (False, "", [])}
        for told in msgspec.json.decode(msgspec.json.encode(fields))
    ]
    assert msgspec.json.decode(written, type=list[FieldChange]) == fields


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_an_edited_plan_is_refused(data: st.DataObject) -> None:
    """Any byte of it, also of what its changes do not say: its base, what was seen, what nobody has looked at yet."""
    document = plan_document(MADE)
    at = data.draw(st.integers(0, len(document) - 2))
    edited = document[:at] + bytes([document[at] ^ 1]) + document[at + 1 :]
    with pytest.raises(StateError):
        parse_plan(edited)
    with pytest.raises(StateError):
        parse_plan(document[:at] + document[at + 1 :])


def test_an_edited_plan_can_be_shown() -> None:
    """It is only not applied; nor is one whose checksum was taken out, but for a format that had none."""
    document = plan_document(MADE)
    edited = document.replace(b"[1.5,", b"[2.5,")
    assert read_plan(edited) != MADE
    for other in (edited, document.replace(b'"serial":', b'"serial":1'), document.partition(b',"checksum"')[0] + b"}"):
        with pytest.raises(StateError, match="the plan was edited"):
            parse_plan(other)
    older = (document.partition(b',"checksum"')[0] + b"}").replace(
        b'"format_version":"%b"' % FORMAT_VERSION.encode(), b'"format_version":"1.0"'
    )
    assert parse_plan(older) == MADE


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"{", "not a plan"),
        (b"[]", "not a plan"),
        (b'{"format_version":"1.0"}', "not a plan"),
        (b'{"format_version":"2.0"}', "plan of another format"),
    ],
)
def test_what_is_no_plan_is_named(data: bytes, words: str) -> None:
    """Anything else is refused with what is wrong with it."""
    with pytest.raises(StateError, match=words):
        parse_plan(data)
