"""What Port would refuse is found while planning: values, required ones, relations; held or dropped, and said."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from datetime import date, datetime
from pathlib import Path
from typing import Any, get_args

import jq
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from pdsync.catalog.models import Format
from pdsync.errors import Severity
from pdsync.model import Blueprint, Json, Plan
from pdsync.plan import Facts
from pdsync.plan.values import (
    PLAIN_INSTANT,
    PLAIN_URL,
    correction,
    is_any_url,
    json_type,
    property_check,
    relation_check,
)
from pdsync.render.diagnostics import render_diagnostics
from pdsync.sandbox.port_schema import Compiler
from tests.apply.running import running
from tests.builders import HERE, blueprint, catalog, desired, entry, existing, have, ledger, plan, relation, rule, want

WRONG: list[tuple[dict[str, Any], Any, str]] = [
    ({"type": "string"}, 5, ".x | tostring"),
    ({"type": "string"}, {"a": 1}, ".x | tostring"),
    ({"type": "string", "enum": ["high", "low"]}, "HIGH", ".x | ascii_downcase"),
    ({"type": "string", "enum": ["HIGH"]}, "High", ".x | ascii_upcase"),
    ({"type": "string", "enum": ["High"]}, "hIGH", '.x | if . == "hIGH" then "High" else . end'),
    ({"type": "string", "enum": ["High"]}, "other", ""),
    ({"type": "string", "pattern": "^[a-z]+$"}, "A1", ""),
    ({"type": "string", "pattern": "^a$"}, "a\n", ""),
    ({"type": "string", "minLength": 2}, "a", ""),
    ({"type": "string", "maxLength": 2}, "abc", ""),
    ({"type": "string", "format": "email"}, "not an address", ""),
    ({"type": "string", "format": "user"}, "someone", ""),
    ({"type": "string", "format": "url"}, "www.example.com", ""),
    ({"type": "string", "format": "url"}, "https://a b", ""),
    ({"type": "string", "format": "date-time"}, "2026-01-01", '.x + "T00:00:00Z"'),
    ({"type": "string", "format": "date-time"}, "2026-01-01T00:00:00", ""),
    ({"type": "string", "format": "timer"}, 1767225600, ".x | todate"),
    ({"type": "string", "format": "date-time"}, 1767225600000, ""),
    ({"type": "string", "format": "markdown"}, 5, ".x | tostring"),
    ({"type": "string", "format": "timer"}, "2026-02-31T00:00:00Z", ""),
    ({"type": "string", "format": "ipv4"}, "1.2.3", ""),
    ({"type": "string", "format": "ipv6"}, "fe80::1%eth0", ""),
    ({"type": "number"}, "5", ".x | tonumber"),
    ({"type": "number"}, "five", ""),
    ({"type": "number"}, True, ""),
    ({"type": "number", "minimum": 1}, 0, ""),
    ({"type": "number", "exclusiveMaximum": 1}, 1, ""),
    ({"type": "number", "enum": [1, 2]}, 3, ""),
    ({"type": "boolean"}, "true", '.x == "true"'),
    ({"type": "boolean"}, 1, ""),
    ({"type": "object"}, [{"a": 1}], ".x | first"),
    ({"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}, {}, ""),
    ({"type": "object"}, '{"a": 1}', ".x | fromjson"),
    ({"type": "object"}, "[1]", ""),
    ({"type": "array"}, "[1]", ".x | fromjson"),
    ({"type": "array"}, "a", "[.x | values]"),
    ({"type": "array", "items": {"type": "string"}}, [1], ""),
    ({"type": "array", "items": {"type": "string", "format": "email"}}, ["a"], ""),
    ({"type": "array", "uniqueItems": True}, [1, 1], ""),
    ({"type": "array", "minItems": 1}, [], ""),
    ({"type": "array", "maxItems": 1}, [1, 2], ""),
    ({"type": "array", "items": {"type": "string", "pattern": "^P"}}, ["P1", "X"], ""),
    ({"type": "object", "properties": {"a": {"type": "string", "pattern": r"^\p{Lu}$"}}}, {"a": "a"}, ""),
    ({"type": "object", "properties": {"a": {"type": "string", "format": "markdown"}}}, {"a": 1}, ""),
    ({"type": "string", "pattern": r"^[\d_]\w$"}, "١a", ""),
    ({"type": "object", "patternProperties": {"^n": {"pattern": "^P"}}}, {"n": "X"}, ""),
    ({"type": "object", "additionalProperties": {"anyOf": [{"type": "number"}, {"format": "email"}]}}, {"a": "b"}, ""),
    ({"type": "object", "properties": {"a": {"type": "array", "items": {"pattern": "^a$"}}}}, {"a": ["b"]}, ""),
    ({"type": "object", "format": "labeled-url"}, {"displayText": "x"}, ""),
    ({"type": "object", "format": "labeled-url"}, {"url": "example"}, ""),
    ({"type": "array", "items": {"type": "string"}}, ["a", None], ".x | map(values)"),
    ({"type": "array", "items": {"type": "string"}}, [1, None], ""),
]
RIGHT: list[tuple[dict[str, Any], Any]] = [
    ({"type": "string"}, ""),
    ({"type": "string", "format": "email"}, "zoe.o'neill+x@example.co"),
    ({"type": "string", "format": "url"}, "https://user@example.com:8080/a?b#c"),
    ({"type": "string", "format": "date-time"}, "2026-01-01T00:00:00.5+02:00"),
    ({"type": "string", "format": "markdown"}, "# anything"),
    ({"type": "string", "format": "yaml"}, "a: ["),
    ({"type": "string", "format": "ipv6"}, "::1"),
    ({"type": "string", "pattern": "(unclosed"}, "what only Port can tell"),
    ({"type": "number"}, 0.5),
    ({"type": "string", "pattern": r"^\p{Lu}[\d]$"}, "Ж1"),
    ({"type": "string", "maxLength": 1, "minLength": 1}, "😀"),
    ({"type": "object"}, {}),
    ({"type": "object", "format": "labeled-url"}, {"url": "https://example.com", "displayText": "x"}),
    ({"type": "array", "items": {"type": "object"}}, [{"a": [1]}]),
    ({"type": "nonsense"}, "what only Port can tell"),
    ({"type": "object", "properties": {"a": {"$ref": "http://127.0.0.1:9/never-asked"}}}, {"a": 1}),
    ({"type": "object", "patternProperties": {"(unclosed": {}}}, {"a": 1}),
]


@pytest.mark.parametrize(("definition", "value", "meant"), WRONG)
def test_a_wrong_value_is_found_and_corrected_where_that_is_evident(
    definition: dict[str, Any], value: Any, meant: str
) -> None:
    """Every keyword, each with the expression that was probably meant."""
    assert property_check(definition)(value) != ""
    assert correction(definition, value, ".x") == meant


@pytest.mark.parametrize(("definition", "value", "meant"), [each for each in WRONG if each[2]])
@pytest.mark.parametrize("spare", [None, "high", "2026-01-01T00:00:00Z", 7, True, {"a": 1}, ["a"], {"id": "x"}])
def test_a_correction_lets_be_what_is_right_beside_it(
    definition: dict[str, Any], value: Any, meant: str, spare: Any
) -> None:
    """Tried by jq on the wrong value and on one that another record has, null included, as far as that is right."""
    check = property_check(definition)
    if spare is not None and check(spare):
        return
    told = correction(definition, value, ".x", {json_type(spare)})
    if not told:
        assert json_type(spare) == json_type(value), meant
        return
    assert check(jq.compile(told).input_value({"x": value}).first()) == ""
    assert jq.compile(told).input_value({"x": spare}).first() == spare


@pytest.mark.parametrize(("definition", "value"), RIGHT)
def test_a_right_value_passes(definition: dict[str, Any], value: Any) -> None:
    """What is not known to be refused is let through."""
    assert property_check(definition)(value) == ""


def test_a_wrong_part_is_named() -> None:
    """Where in the value it is."""
    definition = {"type": "object", "properties": {"a": {"type": "array", "items": {"pattern": "^P"}}}}
    assert property_check(definition)({"a": ["P1", "X"]}) == "a[1] of it must match ^P"


FORMATS: list[str | None] = [None, *(form for form in get_args(Format) if form != "labeled-url")]
KEYWORDS: dict[str, list[Any]] = {
    "string": ["minLength", 2, "maxLength", 3, "pattern", "^[a-z]", "enum", ["a", "ab"]],
    "number": ["minimum", 1, "maximum", 4, "exclusiveMinimum", 1, "exclusiveMaximum", 4, "enum", [1, 2]],
    "array": ["minItems", 1, "maxItems", 1, "uniqueItems", True],
}


@st.composite
def definitions(draw: st.DrawFn, *, nested: bool = True) -> dict[str, Any]:
    """A property with any type and format of Port's, and any keyword that its documentation has for the type."""
    kind = draw(st.sampled_from(["string", "number", "boolean", "object", "array"]))
    made: dict[str, Any] = {"type": kind}
    words = KEYWORDS.get(kind, [])
    made |= dict(
        draw(st.lists(st.sampled_from(list(zip(words[::2], words[1::2], strict=True))), max_size=2)) if words else ()
    )
    if kind == "string" and (form := draw(st.sampled_from(FORMATS))):
        made["format"] = form
    if nested and kind == "array" and draw(st.booleans()):
        made["items"] = draw(definitions(nested=False))
    if nested and kind == "object" and draw(st.booleans()):
        made["properties"] = {"a": draw(definitions(nested=False))}
        made["required"] = draw(st.sampled_from([[], ["a"]]))
    if nested and kind in ("object", "array") and draw(st.booleans()):
        inner = definitions(nested=False)
        word, part = draw(
            st.sampled_from([("anyOf", [..., ...]), ("allOf", [...]), ("oneOf", [..., ...]), ("not", ...)])
        )
        filled = [draw(inner) for _ in part] if isinstance(part, list) else draw(inner)
        made["items" if kind == "array" else "additionalProperties"] = {word: filled}
        if kind == "object" and draw(st.booleans()):
            made["patternProperties"] = {"^a": draw(inner)}
    return made


PLAIN: list[Any] = ["", "a", "ab", "abcd", "B", "a\n", 0, 1, 2, 1.5, 9, True, False, {}]
FORMATTED = ["a@example.com", "https://example.com", "1.2.3.4", "::1", "2026-01-01T00:00:00Z", "2026-13-01T00:00:00Z"]
LEAVES = st.sampled_from([*PLAIN, *FORMATTED, "2026-01-01 00:00:00+02:00", "2026-01-01t00:00:00z"])
VALUES = LEAVES | st.lists(LEAVES, max_size=3) | st.fixed_dictionaries({"a": LEAVES | st.lists(LEAVES, max_size=2)})


@settings(max_examples=600, deadline=None)
@given(definition=definitions(), value=VALUES)
def test_the_checks_are_those_of_a_strict_port(definition: dict[str, Any], value: Any) -> None:
    """Neither more nor less is refused than the sandbox refuses, which checks by other means."""
    assert (property_check(definition)(value) == "") == (Compiler().compile(definition)(value) is None)


@pytest.mark.parametrize(
    ("many", "value", "fits", "meant"),
    [
        (False, "a", True, ""),
        (False, ["a"], False, ".x | first"),
        (False, "a b", False, ""),
        (False, 5, False, ""),
        (False, {"id": "P1", "type": "service_reference"}, False, ".x.id"),
        (True, [{"id": "P1"}, {"id": "P2"}], False, "[.x[].id]"),
        (True, ["a", "b"], True, ""),
        (True, [], True, ""),
        (True, "", False, ""),
        (True, 5, False, ""),
        (True, ["a", None], False, ".x | map(values)"),
        (True, ["a b", None], False, ""),
    ],
)
def test_relations_take_identifiers(many: bool, value: Any, fits: bool, meant: str) -> None:
    """One, or a list of them."""
    assert (relation_check(relation("service", many=many))(value) == "") == fits
    assert fits or correction(relation("service", many=many), value, ".x") == meant


# --- what becomes of the entity --------------------------------------------------------------------------------

PATHS = ("title", "properties.tier", "properties.size", "relations.next")


def strict(*required: str, next_required: bool = False) -> Blueprint:
    plain = blueprint(next=relation("service", required=next_required))
    return Blueprint("service", {**plain.definition, "schema": {**plain.definition["schema"], "required": [*required]}})


def planned(schema: Blueprint, *wanted: Any, there: dict[str, Any] | None = None, **policy: Any) -> Plan:
    there = there or {}
    return plan(
        Facts(
            catalog([schema], [rule(paths=PATHS)], **policy),
            desired(*wanted),
            existing([schema], {name: have(**values) for name, values in there.items()}),
            ledger({name: entry(**values) for name, values in there.items()}, [schema]),
        )
    )


def outcome(made: Plan) -> tuple[list[str], list[str], list[str]]:
    """The changes, what is held, and the codes of errors."""
    codes = [d.code for d in made.diagnostics if d.severity is Severity.ERROR]
    return [f"{c.action} {c.identifier}" for c in made.changes], [h.identifier for h in made.held], codes


def test_one_wrong_value_holds_its_entity_alone() -> None:
    """The error names the record, the field, the value and the line; the rest of the plan goes on."""
    made = planned(strict(), want("a", tier=5), want("b", tier="1"))
    assert outcome(made) == (["create b"], ["a"], ["PD610"])
    (problem,) = [d for d in made.diagnostics if d.code == "PD610"]
    assert (problem.records, problem.origin and problem.origin.line) == (("services/a",), 3)
    assert problem.detail == "properties.tier of service/a: it must be text, it is 5"
    assert problem.hint == "try: .properties.tier | tostring"


def test_one_text_is_taken_for_a_relation_to_many() -> None:
    """It is written as a list of it, which is what Port then has; what is no identifier is refused, and put right."""
    schema = blueprint(next=relation("service", many=True))
    wanted = (want("a", to_next="b"), want("z", to_next=""), want("c", to_next=[{"id": "a"}]), want("d", to_next=None))
    made = planned(schema, *wanted, want("e", to_next="d"), there={"a": {"to_next": ["b"]}, "b": {}})
    assert outcome(made)[1:] == (["c", "z"], ["PD610"])
    writes = [(c.identifier, [(f.path, f.after) for f in c.fields]) for c in made.changes if c.identifier != "b"]
    assert writes == [("d", []), ("e", [("relations.next", ["d"])])]
    (problem,) = [d for d in made.diagnostics if d.code == "PD610"]
    assert problem.hint == 'try: .relations.next | if type == "array" then [.[].id] else . end'


def test_many_of_a_kind_are_one_error() -> None:
    """With the number of them."""
    made = planned(strict(), *(want(f"e{n:02}", tier=n) for n in range(20)))
    (problem,) = [d for d in made.diagnostics if d.code == "PD610"]
    told = "first of 20 entities" in problem.detail
    assert (told, len(problem.records), problem.more_records) == (True, 5, 15)
    assert " and 15 more" in render_diagnostics([problem], "text", color=False)


def test_with_drop_field_only_the_value_is_left_out() -> None:
    """Port keeps what it has there, which stays ours if it was: cleared once it leaves the mapping."""
    made = planned(strict(), want("a", tier=5, size=1), there={"a": {"tier": "old", "size": 2}}, invalid="drop-field")
    assert outcome(made) == (["update a"], [], ["PD610"])
    assert made.diagnostics[0].detail.endswith("; this value alone is left out")
    (change,) = made.changes
    assert [f.path for f in change.fields] == ["properties.size"]
    assert change.ledger is not None
    assert change.ledger.fields == {"properties.size": 1, "properties.tier": "old"}


def test_with_drop_field_what_was_never_ours_is_not_claimed() -> None:
    """What is left out of something new is not in the ledger."""
    (change,) = planned(strict(), want("a", tier=5, size=1), invalid="drop-field").changes
    assert change.ledger is not None
    assert change.ledger.fields == {"properties.size": 1}


def test_an_update_of_which_nothing_is_left_counts_as_unchanged() -> None:
    """With the error that says why."""
    made = planned(strict(), want("a", tier=5, size=1), there={"a": {"tier": "old", "size": 1}}, invalid="drop-field")
    assert (outcome(made), made.summary.unchanged) == (([], [], ["PD610"]), 1)


@pytest.mark.parametrize("policy", ["hold", "drop-field"])
def test_what_an_entity_cannot_do_without_holds_it(policy: str) -> None:
    """A required value that is missing, or wrong in something new; whatever the policy."""
    assert outcome(planned(strict("tier"), want("a", size=1), invalid=policy))[1:] == (["a"], ["PD611"])
    assert outcome(planned(strict("tier"), want("a", tier=5), invalid=policy))[1:] == (["a"], ["PD610"])


def test_a_required_value_is_not_emptied() -> None:
    """Dropping the field keeps Port's value."""
    there = {"a": {"tier": "1", "size": 1}}
    assert outcome(planned(strict("tier"), want("a", tier=None, size=1), there=there)) == ([], ["a"], ["PD611"])
    assert outcome(planned(strict("tier"), want("a", tier=None, size=2), there=there, invalid="drop-field"))[0] == [
        "update a"
    ]


def test_what_relates_to_a_held_entity_goes_without_or_waits_with_it() -> None:
    """An optional relation is left out for now; a required one holds, and what requires that in turn."""
    chain = (want("a", tier=5), want("b", to_next="a"), want("c", to_next="b"))
    made = planned(strict(), *chain)
    assert outcome(made)[:2] == (["create b", "create c"], ["a"])
    assert [f.path for f in made.changes[0].fields] == []
    assert outcome(planned(strict(next_required=True), *chain))[:2] == ([], ["a", "b", "c"])


def test_a_relation_to_nothing_holds_its_entity() -> None:
    """Port would answer 404; with drop-field the entity goes without."""
    rules = [rule(paths=PATHS, create_missing_related=False)]

    def made(**policy: Any) -> Plan:
        of = catalog([strict()], rules, **policy)
        return plan(Facts(of, desired(want("a", to_next="gone")), existing([strict()], {}), ledger({}, [strict()])))

    assert outcome(made()) == ([], ["a"], ["PD601"])
    assert [str(d.origin) for d in made().diagnostics] == [str(HERE)]
    assert outcome(made(invalid="drop-field")) == (["create a"], [], ["PD601"])


def test_what_a_limited_plan_does_not_make_is_not_pointed_at() -> None:
    """Its relation would point at nothing: held, as an error that names what to plan as well."""
    of = catalog([strict()], [rule(paths=PATHS)])
    given = Facts(of, desired(want("a", to_next="b"), want("b")), existing([strict()], {}), ledger({}, [strict()]))
    limited = plan(given, only=("service/a",))
    assert outcome(limited) == ([], ["a"], ["PD614"])
    assert [d.hint for d in limited.diagnostics] == ["plan that, too: --only 'service/b'"]
    assert outcome(plan(given, only=("service/a", "service/b"))) == (["create b", "create a"], [], [])


# --- the law -----------------------------------------------------------------------------------------------------

SCHEMAS = st.sampled_from([definition for definition, *_ in WRONG])
SOME = st.sampled_from([value for _, value, _ in WRONG] + [value for _, value in RIGHT])


@settings(
    max_examples=20,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(
    definition=SCHEMAS,
    values=st.lists(st.none() | SOME, min_size=1, max_size=6),
    required=st.booleans(),
    policy=st.sampled_from(["hold", "drop-field"]),
)
def test_nothing_that_is_planned_is_refused(
    definition: dict[str, Any], values: list[Any], required: bool, policy: str
) -> None:
    """Whatever the values are, a strict Port takes all of what is left; and what was held is not in it."""
    properties = {**strict().properties, "tier": definition}
    schema = Blueprint(
        "service",
        {**strict().definition, "schema": {"properties": properties, "required": ["tier"] if required else []}},
    )
    of = catalog([schema], [rule(paths=PATHS)], invalid=policy)
    with tempfile.TemporaryDirectory() as folder, running(Path(folder)) as here:
        made = here.plan(of, desired(*(want(f"e{n}", tier=value) for n, value in enumerate(values))))
        result = here.apply(made)
        assert [o.message for o in result.outcomes if o.status != "done"] == []
        assert not {h.identifier for h in made.held} & here.port.entities("service").keys()


@given(st.from_regex(PLAIN_URL, fullmatch=True))
def test_a_url_taken_at_once_is_one(text: str) -> None:
    """What passes without a closer look passes with one."""
    assert is_any_url(text)


@given(st.from_regex(PLAIN_INSTANT, fullmatch=True))
@example("2024-02-28T23:59:59Z")
@example("2023-11-30T00:00:00Z")
@example("2023-12-31T00:00:00Z")
def test_an_instant_taken_at_once_is_one(text: str) -> None:
    """What passes without a closer look is on the calendar."""
    assert datetime.fromisoformat(text).tzinfo is not None


@given(st.dates(min_value=date(1000, 1, 1)))
@example(date(2024, 2, 29))
def test_nearly_every_instant_is_taken_at_once(day: date) -> None:
    """Only leap days take a closer look, of those that PagerDuty writes."""
    assert (PLAIN_INSTANT.fullmatch(f"{day}T12:30:00Z") is None) == ((day.month, day.day) == (2, 29))


@pytest.mark.parametrize("wrong", ["yesterday", "2026-02-30T00:00:00Z", "2026-01-01T00:00:00Z\n", 7, True])
def test_one_wrong_value_among_many_is_found(wrong: Json) -> None:
    """Values of one field are looked at together, and a wrong one among them is told all the same."""
    made = blueprint("x")
    made.definition["schema"]["properties"]["url"] = {"type": "string", "format": "timer"}
    right = [f"2026-01-{day:02}T00:00:00Z" for day in range(1, 31)]
    wants = [want(f"x{n}", "x", url=value) for n, value in enumerate([*right, wrong, *right])]
    held = plan(Facts(catalog([made], []), desired(*wants), existing([made], {}), ledger({}))).held
    assert [each.identifier for each in held] == ["x30"]


def test_real_users_and_teams_are_said_to_be_that() -> None:
    """What is made in Port's own blueprints is a warning with its number and names; what is changed there is none."""
    user = Blueprint("_user", {**blueprint("_user").definition})
    made = rule("_user", ("title",), "users")
    wanted = desired(*(want(f"u{n}", "_user", title=f"U{n}", rules=(made.id,)) for n in range(8)))
    there = existing([user], {"_user/u0": have(title="Old")})
    (told,) = plan(Facts(catalog([user], [made], system_blueprints=("_user",)), wanted, there, ledger({}))).diagnostics
    assert (told.code, told.severity) == ("PD617", Severity.WARNING)
    assert told.detail.startswith("_user: 7 to create, _user/u1, _user/u2, _user/u3, _user/u4, _user/u5 and 2 more;")


def test_what_is_required_and_not_mapped_is_to_be_mapped() -> None:
    """A property may have a default, which a relation cannot have."""
    held = blueprint(lead=relation("service", required=True))
    schema = {**held.definition["schema"], "required": ["url"]}
    held = replace(held, definition={**held.definition, "schema": schema})
    given = Facts(catalog([held], [rule()]), desired(want("a", tier="1")), existing([held], {}), ledger({}, [held]))
    hints = [each.hint for each in plan(given).diagnostics if each.code == "PD611"]
    assert hints == ["map properties.url, or give it a default", "map relations.lead"]


@pytest.mark.parametrize("scope", [{}, {"only": ("service/a",)}])
def test_a_value_that_fits_the_catalog_is_no_mistake_of_the_mapping(scope: dict[str, Any]) -> None:
    """The other type does not come into force: others would lose a value by it, or it is out of scope."""
    was, now = (
        replace(blueprint(), definition={**blueprint().definition, "schema": _of(kind)})
        for kind in ("string", "number")
    )
    given = Facts(
        catalog([now], [rule()]),
        desired(want("a", tier=7)),
        existing([was], {"a": have(tier="7"), "theirs": have(tier="gold")}),
        ledger({"a": entry(tier="7")}, [was]),
    )
    (told,) = (each for each in plan(given, **scope).diagnostics if each.code == "PD610")
    assert told.hint.startswith("the blueprint of the catalog takes it")


def _of(kind: str) -> dict[str, Any]:
    return {"properties": {"tier": {"type": kind}}, "required": []}
