"""The laws of the normal form."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from unicodedata import normalize

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pdsync.model import Blueprint, Fields, Json
from pdsync.normal import (
    LARGEST_EXACT_INTEGER,
    blueprint_definition,
    blueprint_fields,
    desired_normaliser,
    desired_row,
    entity_body,
    entity_fields,
    normal_entity,
    normal_instant,
    normal_json,
    normal_number,
    same,
    set_blueprint_path,
)

PROPERTIES: dict[str, Json] = {
    "text": {"type": "string"},
    "url": {"type": "string", "format": "url"},
    "email": {"type": "string", "format": "email"},
    "choice": {"type": "string", "enum": ["a", "b"]},
    "when": {"type": "string", "format": "date-time"},
    "timer": {"type": "string", "format": "timer"},
    "number": {"type": "number"},
    "boolean": {"type": "boolean"},
    "object": {"type": "object"},
    "list": {"type": "array"},
    "moments": {"type": "array", "items": {"type": "string", "format": "date-time"}},
    "numbers": {"type": "array", "items": {"type": "number"}},
}
BLUEPRINT = Blueprint(
    "thing",
    {
        "identifier": "thing",
        "schema": {"properties": PROPERTIES},
        "relations": {
            "one": {"target": "other", "many": False, "required": False},
            "many": {"target": "other", "many": True, "required": False},
        },
    },
)
PATHS = [
    "title",
    "icon",
    "team",
    *(f"properties.{name}" for name in PROPERTIES),
    "properties.unheard_of",
    "relations.one",
    "relations.many",
    "relations.unheard_of",
]

texts = st.text(max_size=8)
numbers = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
json_values: st.SearchStrategy[Json] = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
instants = st.integers(-(10**15), 10**16).map(lambda n: datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=n))
offsets = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))


def normal(path: str, value: Json) -> Json:
    return normal_entity({path: value}, BLUEPRINT)[path]


def canonical(value: Json) -> str:
    """Sorted JSON text: tells 1 from 1.0 and from true."""
    return json.dumps(value, sort_keys=True)


# --- any value -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PATHS)
@given(value=json_values | instants.map(datetime.isoformat))
def test_idempotent(path: str, value: Json) -> None:
    """The normal form of a normal form is itself, whatever the value, types included."""
    once = normal(path, value)
    assert same(once, normal(path, once))
    assert repr(once) == repr(normal(path, once))


@pytest.mark.parametrize("path", PATHS)
def test_null_stays(path: str) -> None:
    """None means to be empty, and stays so for every path."""
    assert normal(path, None) is None


@given(value=json_values)
def test_input_is_not_edited(value: Json) -> None:
    """Normalising builds new values and leaves the given ones alone."""
    before = repr(value)
    normal_entity(dict.fromkeys(PATHS, value), BLUEPRINT)
    assert before == repr(value)


@given(value=json_values)
def test_unheard_of_paths_stay_as_they_are(value: Json) -> None:
    """A path that the blueprint does not have is passed through."""
    fields = {"properties.unheard_of": value, "relations.unheard_of": value}
    assert normal_entity(fields, BLUEPRINT) == fields


# --- what Port may answer ---------------------------------------------------------------------------------------


@given(value=numbers)
def test_number_survives_port(value: float) -> None:
    """A number that went through Port's doubles, and through JSON in either spelling, compares equal."""
    written = normal("properties.number", value)
    try:
        held = float(written)
    except OverflowError:
        return  # no double, so Port could not hold it either
    assert written == normal("properties.number", held)
    assert written == normal("properties.number", json.loads(json.dumps(held)))


@given(moment=instants, zone=offsets)
def test_instant_survives_port(moment: datetime, zone: timezone) -> None:
    """One instant is one text, in whatever zone and spelling it comes back."""
    written = normal("properties.when", moment.isoformat())
    local = moment.astimezone(zone)
    for spelling in (local.isoformat(), local.isoformat(sep=" "), moment.isoformat().replace("+00:00", "z")):
        assert written == normal("properties.when", spelling)
        assert written == normal("properties.timer", spelling)
    assert [written] == normal("properties.moments", [local.isoformat()])


@given(one=instants, other=instants)
def test_instants_are_told_apart(one: datetime, other: datetime) -> None:
    """Two instants have the same normal form only if they are the same to the microsecond."""
    assert (one == other) == (normal_instant(one.isoformat()) == normal_instant(other.isoformat()))


@given(teams=st.lists(texts, min_size=1, max_size=4), data=st.data())
def test_team_survives_port(teams: list[str], data: st.DataObject) -> None:
    """Teams are a set; one team may be given bare and comes back in a list; none comes back as an empty one."""
    shuffled = data.draw(st.permutations(teams * 2))
    assert normal("team", teams) == normal("team", shuffled)
    assert normal("team", teams[0]) == normal("team", [teams[0]])
    assert normal("team", []) is None


@given(targets=st.lists(texts, max_size=4), data=st.data())
def test_relation_survives_port(targets: list[str], data: st.DataObject) -> None:
    """A relation to many is a set of identifiers in composed Unicode; the empty one is none."""
    shuffled = [normalize("NFD", target) for target in data.draw(st.permutations(targets * 2))]
    assert normal("relations.many", targets) == normal("relations.many", shuffled)
    assert (normal("relations.many", targets) is None) == (not targets)


@given(target=texts)
def test_single_relation_is_composed(target: str) -> None:
    """A relation to one compares in composed Unicode."""
    assert normal("relations.one", normalize("NFD", target)) == normal("relations.one", normalize("NFC", target))


@pytest.mark.parametrize("name", ["text", "url", "email", "choice", "boolean"])
@given(value=json_values)
def test_plain_properties_are_taken_as_given(name: str, value: Json) -> None:
    """Strings - URLs and addresses too - and booleans are neither composed nor converted."""
    assert normal(f"properties.{name}", value) is value


@given(value=st.lists(texts, max_size=4))
def test_array_keeps_its_order(value: list[str]) -> None:
    """An array is a list: order, duplicates and emptiness count."""
    assert normal("properties.list", value) == value
    assert normal("properties.list", []) == []


def test_object_normalises_numbers_only() -> None:
    """Inside an object numbers compare by value; text that looks like a date stays text."""
    given_ = {"a": [1.0, {"b": -0.0}], "when": "2026-01-01T00:00:00+02:00"}
    expected = {"a": [1, {"b": 0}], "when": "2026-01-01T00:00:00+02:00"}
    assert repr(expected) == repr(normal("properties.object", given_))


# --- shapes ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z"),
        ("2026-01-01T00:00:00.000Z", "2026-01-01T00:00:00Z"),
        ("2026-01-01T00:00:00.5Z", "2026-01-01T00:00:00.500Z"),
        ("2026-01-01T00:00:00.000001Z", "2026-01-01T00:00:00.000001Z"),
        ("2026-01-01T00:00:00.1234567Z", "2026-01-01T00:00:00.123456Z"),
        ("2026-01-01T02:00:00+0200", "2026-01-01T00:00:00Z"),
        ("2025-12-31t19:00:00-05:00", "2026-01-01T00:00:00Z"),
    ],
)
def test_instant_spellings(text: str, expected: str) -> None:
    """Zone and case are spelling; a fraction is kept to the microsecond."""
    assert expected == normal_instant(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "soon",
        "2026-01-01",
        "2026-01-01T00:00:00",
        "2026-02-31T00:00:00+01:00",
        "2026-01-01T24:00:00Z",
        "2026-01-01T00:00:60+01:00",
        "2026-01-01T00:00:00+01:99",
        "0001-01-01T00:00:00+02:00",
        "٢٠٢٦-01-01T00:00:00Z",
        "2026-W01-1T00:00:00Z",
    ],
)
def test_what_is_no_instant_stays(text: str) -> None:
    """Text without an offset, or that names no instant, is left for the checks to see - on every Python."""
    assert text == normal_instant(text)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("relations.one", ["a"]),
        ("relations.one", 1),
        ("relations.many", "a"),
        ("relations.many", ["b", None]),
        ("team", {"combinator": "and", "rules": []}),
        ("properties.number", "1.0"),
        ("properties.number", True),
        ("properties.when", 1767225600),
        ("properties.list", "a"),
        ("properties.boolean", "true"),
    ],
)
def test_wrong_shapes_stay(path: str, value: Json) -> None:
    """A value that the blueprint would refuse is not repaired; of what Port holds, none is taken for another."""
    assert normal(path, value) is value


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("e\u0301", ["\u00e9"]),
        (["b", "a", "b"], ["a", "b"]),
        (None, None),
        ([], None),
        ("", ""),
        (5, 5),
        ({"id": "a"}, {"id": "a"}),
        (["b", None], ["b", None]),
    ],
)
def test_one_text_that_shall_be_is_a_list_of_it_in_a_relation_to_many(value: Json, expected: Json) -> None:
    """As Port's default mapping gives it; the empty text, a number or an object is no identifier and stays."""
    path = "relations.many"
    assert desired_normaliser(BLUEPRINT)({path: value, "relations.one": "a"}) == {path: expected, "relations.one": "a"}
    assert desired_row(BLUEPRINT, [path])({path: value}) == (expected,)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1.0, "1"),
        (-0.0, "0"),
        (1.5, "1.5"),
        (True, "True"),
        (LARGEST_EXACT_INTEGER, "9007199254740992"),
        (LARGEST_EXACT_INTEGER + 1, "9007199254740992"),
        (2**60, "1.152921504606847e+18"),
        (1e300, "1e+300"),
        (10**400, str(10**400)),
    ],
)
def test_number_spellings(value: Json, expected: str) -> None:
    """Integers where doubles are exact, doubles above; what no double holds is left alone."""
    assert expected == repr(normal_number(value))


# --- same ------------------------------------------------------------------------------------------------------


@given(value=json_values)
def test_same_is_reflexive(value: Json) -> None:
    """Every value is the same as a copy of it."""
    assert same(value, json.loads(json.dumps(value)))


@given(a=json_values, b=json_values)
def test_same_is_equality_of_canonical_json(a: Json, b: Json) -> None:
    """Two normal values are the same exactly when their sorted JSON text is."""
    a, b = normal_json(a), normal_json(b)
    assert same(a, b) == same(b, a) == (json.dumps(a, sort_keys=True) == json.dumps(b, sort_keys=True))


@pytest.mark.parametrize(("a", "b"), [(1, True), (0, False), ([1], [True]), ({"a": [0]}, {"a": [False]}), (None, 0)])
def test_bool_is_no_number(a: Json, b: Json) -> None:
    """Python takes True for 1; Port does not, at any depth."""
    assert not same(a, b)
    assert not same(b, a)


# --- entity JSON -----------------------------------------------------------------------------------------------

names = st.text("abcXYZ0189@_=-", min_size=1, max_size=5)
flat_fields: st.SearchStrategy[Fields] = st.dictionaries(
    st.sampled_from(["title", "icon", "team"]) | names.map("properties.{}".format) | names.map("relations.{}".format),
    json_values,
    max_size=6,
)


@given(fields=flat_fields)
def test_entity_json_round_trip(fields: Fields) -> None:
    """Flat fields written as Port's JSON read back as they were, nulls included."""
    body = entity_body("e1", fields)
    assert body["identifier"] == "e1"
    assert fields == entity_fields(body)


def test_entity_fields_leave_out_what_port_adds() -> None:
    """Only title, icon, team, properties and relations are fields."""
    entity: dict[str, Json] = {
        "identifier": "e1",
        "blueprint": "thing",
        "title": "E",
        "properties": {"a": None},
        "relations": None,
        "createdAt": "2026-01-01T00:00:00Z",
        "scorecards": {},
    }
    expected: Fields = {"title": "E", "properties.a": None}
    assert expected == entity_fields(entity)


# --- blueprints ------------------------------------------------------------------------------------------------

definitions = st.dictionaries(
    st.sampled_from(["title", "type", "format", "target", "many", "default", "enum", "enumColors", "items"]),
    json_values,
    max_size=4,
)
maps = st.none() | st.dictionaries(names, definitions, max_size=3)
blueprints: st.SearchStrategy[dict[str, Json]] = st.fixed_dictionaries(
    {},
    optional={
        "identifier": names,
        "title": texts,
        "description": st.none() | texts,
        "icon": st.none() | texts,
        "schema": st.none()
        | st.fixed_dictionaries({}, optional={"properties": maps, "required": st.none() | st.lists(names, max_size=3)}),
        "relations": maps,
        "mirrorProperties": maps,
        "calculationProperties": maps,
        "aggregationProperties": maps,
        "ownership": st.none() | definitions,
        "changelogDestination": st.none() | definitions,
        "createdAt": texts,
        "updatedBy": texts,
    },
)


@given(definition=blueprints)
def test_blueprint_round_trip(definition: dict[str, Json]) -> None:
    """A blueprint's normal form, written as Port's JSON, reads back as it was."""
    fields = blueprint_fields(definition)
    assert fields == blueprint_fields(blueprint_definition("b", fields))
    assert canonical(fields) == canonical(blueprint_fields(blueprint_definition("b", fields)))


@given(definition=blueprints, noise=st.dictionaries(st.sampled_from(["createdAt", "updatedBy", "id"]), texts))
def test_server_keys_do_not_count(definition: dict[str, Json], noise: dict[str, str]) -> None:
    """What only the server writes changes nothing."""
    assert blueprint_fields(definition) == blueprint_fields({**definition, **noise})


@pytest.mark.parametrize(
    ("given_", "read_back"),
    [
        ({}, {"relations": {}, "mirrorProperties": {}, "description": None, "schema": {"properties": {}}}),
        ({"schema": {"properties": {}, "required": []}}, {}),
        (
            {"schema": {"properties": {}, "required": ["b", "a"]}},
            {"schema": {"required": ["a", "b", "a"]}},
        ),
        (
            {"relations": {"r": {"target": "t"}}},
            {"relations": {"r": {"target": "t", "many": False, "required": False, "title": None}}},
        ),
        ({"ownership": {"type": "Direct"}}, {"ownership": {"type": "Direct", "title": "Owning teams"}}),
        (
            {"aggregationProperties": {"a": {"title": "A", "target": "t"}}},
            {"aggregationProperties": {"a": {"title": "A", "target": "t", "type": "number", "pathFilter": []}}},
        ),
        (
            {"calculationProperties": {"c": {"type": "string"}}},
            {"calculationProperties": {"c": {"type": "string", "colorized": False, "colors": {}}}},
        ),
        (
            {"schema": {"properties": {"p": {"type": "array"}}}},
            {"schema": {"properties": {"p": {"type": "array", "uniqueItems": False}}}},
        ),
        (
            {"schema": {"properties": {"p": {"type": "string", "enum": ["x"]}}}},
            {"schema": {"properties": {"p": {"type": "string", "enum": ["x"], "enumColors": {"x": "lightGray"}}}}},
        ),
        (
            {"schema": {"properties": {"p": {"type": "array", "items": {"type": "string", "enum": ["x", "y"]}}}}},
            {
                "schema": {
                    "properties": {
                        "p": {
                            "type": "array",
                            "items": {"type": "string", "enum": ["x", "y"], "enumColors": {"x": "lightGray"}},
                        }
                    }
                }
            },
        ),
        (
            {"schema": {"properties": {"p": {"type": "number", "minimum": 1}}}},
            {"schema": {"properties": {"p": {"type": "number", "minimum": 1.0, "icon": None}}}},
        ),
    ],
)
def test_what_port_fills_in_is_no_difference(given_: dict[str, Json], read_back: dict[str, Json]) -> None:
    """Defaults, nulls and empty parts that Port adds compare equal to their absence."""
    assert canonical(blueprint_fields(given_)) == canonical(blueprint_fields(read_back))


def test_blueprint_differences_count() -> None:
    """A chosen colour, a required relation and another order of enum values are differences."""
    plain = {"schema": {"properties": {"p": {"type": "string", "enum": ["x", "y"]}}}}
    coloured = {"schema": {"properties": {"p": {"type": "string", "enum": ["x", "y"], "enumColors": {"x": "red"}}}}}
    reordered = {"schema": {"properties": {"p": {"type": "string", "enum": ["y", "x"]}}}}
    assert blueprint_fields(plain) != blueprint_fields(coloured)
    assert blueprint_fields(plain) != blueprint_fields(reordered)
    assert blueprint_fields({"relations": {"r": {"target": "t"}}}) != blueprint_fields(
        {"relations": {"r": {"target": "t", "required": True}}}
    )


@given(definition=blueprints, other=blueprints)
def test_setting_paths_leads_from_one_blueprint_to_another(definition: dict[str, Json], other: dict[str, Json]) -> None:
    """Setting every path of another blueprint, and removing the rest, yields that blueprint."""
    before, after = blueprint_fields(definition), blueprint_fields(other)
    edited = json.loads(json.dumps(definition))
    for path in {*before, *after}:
        set_blueprint_path(edited, path, after.get(path))
    assert after == blueprint_fields(edited)
