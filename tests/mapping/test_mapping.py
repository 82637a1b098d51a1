"""Examples of every rule that mapping follows: selector, items, keys, fields, enrichments, searches, collisions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pdsync.errors import Severity
from pdsync.jq.program import stripped_path
from pdsync.lacking import paths_with
from pdsync.mapping import evaluate_record, expression_digest, jq_version, map_entities
from pdsync.model import EntityKey, Query, RuleCount, SearchQuery
from tests.mapping.builders import FILE, jq, record, rule, snapshot, snapshot_of

if TYPE_CHECKING:
    from pdsync.model import DesiredEntities, MappingRule


def _codes(desired: DesiredEntities) -> list[str]:
    return [diagnostic.code for diagnostic in desired.diagnostics]


def _one(mapping: MappingRule, content: Any) -> DesiredEntities:
    return map_entities([mapping], snapshot(content))


# --- selector --------------------------------------------------------------------------------------------------


def test_selector_takes_and_leaves() -> None:
    """True takes the record, false leaves it, and neither is worth a word."""
    desired = map_entities([rule(selector=".n > 1")], snapshot(*({"id": f"s{n}", "n": n} for n in range(4))))
    assert [key.identifier for key in desired.entities] == ["s2", "s3"]
    assert {f"{FILE}#services[0]": RuleCount(records=4, selected=2, entities=2)} == desired.counts
    assert (desired.diagnostics, desired.failed) == ((), {})


@pytest.mark.parametrize(
    ("selector", "code", "reason"),
    [
        (".missing", "PD210", "it is null"),
        ('"true"', "PD210", 'it is text: "true"'),
        ("1", "PD210", "it is a number: 1"),
        ("0", "PD210", "it is a number: 0"),
        ("empty", "PD210", "it gives no value"),
        ("true, true", "PD210", "it gives several values"),
        ("false, error(1)", "PD210", "it gives several values"),
        (".id.x", "PD201", "Cannot index string"),
        ("env | true", "PD202", "`env` is not available"),
        ("True", "PD206", "True/0 is not defined"),
    ],
)
def test_selector_that_is_no_boolean(selector: str, code: str, reason: str) -> None:
    """Anything but one true or false fails the record: nobody can say whether it counts."""
    desired = _one(rule(selector=selector), {"id": "a"})
    assert [code] == _codes(desired)
    assert desired.entities == {}
    assert list(desired.failed) == ["services/P0"]
    assert desired.failed["services/P0"].startswith("selector: ")
    assert reason in desired.failed["services/P0"]


def test_fields_of_records_that_are_left_are_not_evaluated() -> None:
    """An error in a record that does not count is no error."""
    assert _one(rule({"title": "error(1)"}, selector="false"), {"id": "a"}).diagnostics == ()


# --- identifier and blueprint ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "identifier"),
    [
        ("PX1", "PX1"),
        ("a@b_c.d+e:f\\g/h=i-9", "a@b_c.d+e:f\\g/h=i-9"),
        (12345, "12345"),
        (-7, "-7"),
        (1.0, "1"),
        ("e\u0301", "\u00e9"),
        ("日本", "日本"),
        ("...", "..."),
        ("x" * 1000, "x" * 1000),
    ],
)
def test_identifier(value: Any, identifier: str) -> None:
    """Text in composed form is the identifier; whole numbers become text."""
    assert [EntityKey("service", identifier)] == list(_one(rule(), {"id": value}).entities)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "it is null"),
        ("", "it is empty"),
        (False, "it is false"),
        (1.5, "it is a number"),
        (9007199254740993, "too large a number to be exact"),
        (["a"], "it is a list"),
        ({}, "it is an object"),
        ("my service", '"my service" holds " "'),
        ("a#b", 'holds "#"'),
        ("a\n", 'holds "\\n"'),
        (".", "is reserved"),
        ("..", "is reserved"),
        ("x" * 1001, "it has 1001 characters, 1000 is the most"),
    ],
)
def test_unusable_identifier(value: Any, reason: str) -> None:
    """What Port would refuse fails the record, with the value and the reason."""
    desired = _one(rule(), {"id": value})
    assert (_codes(desired), desired.entities) == (["PD212"], {})
    assert reason in desired.failed["services/P0"]
    assert reason in desired.diagnostics[0].detail


def test_missing_identifier_output() -> None:
    """No output is no identifier; the first of several is one."""
    desired = map_entities([rule(identifier=".ids[]")], snapshot({"ids": []}, {"ids": ["a", "b"]}))
    assert desired.failed == {"services/P0": "identifier: it is null"}
    assert [key.identifier for key in desired.entities] == ["a"]
    assert _codes(desired) == ["PD212", "PD207"]


@pytest.mark.parametrize(
    ("blueprint", "reason"), [(".none", "it is null"), ('""', "it is empty"), ("3", "it is a number")]
)
def test_unusable_blueprint(blueprint: str, reason: str) -> None:
    """A blueprint is a non-empty text."""
    desired = _one(rule(blueprint=blueprint), {"id": "a"})
    assert (["PD213"], {"services/P0": f"blueprint: {reason}"}) == (_codes(desired), desired.failed)


def test_blueprint_may_differ_by_record() -> None:
    """The blueprint is an expression like any other."""
    desired = map_entities([rule(blueprint=".b")], snapshot({"id": "a", "b": "x"}, {"id": "a", "b": "y"}))
    assert [EntityKey("x", "a"), EntityKey("y", "a")] == list(desired.entities)


# --- fields ------------------------------------------------------------------------------------------------------


def test_null_clears_and_error_keeps() -> None:
    """Null and no output are a null; an error is unknown, with its place, and costs no other field."""
    fields = {
        "title": ".t",
        "properties.n": ".x",
        "properties.e": "empty",
        "properties.bad": ".t.u",
        "relations.r": ".l",
    }
    desired = _one(rule(fields), {"id": "a", "t": "T", "l": ["x", "y"]})
    [entity] = desired.entities.values()
    assert entity.fields == {"title": "T", "properties.n": None, "properties.e": None, "relations.r": ["x", "y"]}
    assert list(entity.unknown) == ["properties.bad"]
    [problem] = desired.diagnostics
    assert (problem.severity, problem.code, problem.records) == (Severity.ERROR, "PD201", ("services/P0",))
    assert problem.origin is not None
    assert (problem.origin.file, problem.origin.line, problem.origin.text) == (FILE, 7, ".t.u")


def test_first_of_several_is_used_and_told() -> None:
    """Several outputs: the first counts, as in Port, and a warning says so."""
    desired = _one(rule({"properties.x": ".l[]"}), {"id": "a", "l": [1, 2]})
    assert [entity.fields for entity in desired.entities.values()] == [{"properties.x": 1}]
    assert [(d.code, d.severity) for d in desired.diagnostics] == [("PD207", Severity.WARNING)]


@pytest.mark.parametrize(
    ("path", "good", "bad"),
    [
        ("title", ["x", "", None], [1, True, ["x"], {}]),
        ("icon", ["x", None], [1, False, []]),
        ("team", ["x", ["x", "y"], [], None], [1, {}, ["x", 1], [None]]),
        ("properties.any", [1, True, None, [], {"a": [1]}, "x"], []),
        ("relations.any", ["x", ["x"], None], []),
    ],
)
def test_types(path: str, good: list[Any], bad: list[Any]) -> None:
    """Title and icon are text, a team is text or a list of texts; what is not is unknown."""
    mapping = rule({path: ".v", "properties.other": ".id"})
    for value in good:
        [entity] = _one(mapping, {"id": "a", "v": value}).entities.values()
        assert ({path: value, "properties.other": "a"}, {}) == (entity.fields, entity.unknown)
    for value in bad:
        desired = _one(mapping, {"id": "a", "v": value})
        [entity] = desired.entities.values()
        assert ({"properties.other": "a"}, [path]) == (entity.fields, list(entity.unknown))
        assert _codes(desired) == ["PD214"]


def test_equal_problems_are_one_message() -> None:
    """Thousands of equal errors are one diagnostic with their number, five records and the first value."""
    contents = [{"id": f"bad {n}", "t": n} for n in range(1200)]
    desired = map_entities([rule({"title": ".t"})], snapshot(*contents))
    wrong, unusable = desired.diagnostics
    assert (wrong.code, unusable.code) == ("PD214", "PD212")
    assert (tuple(f"services/P{n}" for n in range(5)), 1195) == (unusable.records, unusable.more_records)
    assert f'identifier of {FILE}#services[0]: "bad 0" holds " " (first of 1,200 records)' == unusable.detail
    assert len(desired.failed) == 1200


def test_bad_expression_costs_its_field_only() -> None:
    """An expression that jq does not compile is named once; the other fields have their values."""
    desired = map_entities([rule({"title": ".id", "properties.x": ".a |"})], snapshot({"id": "a"}, {"id": "b"}))
    assert [entity.fields for entity in desired.entities.values()] == [{"title": "a"}, {"title": "b"}]
    [problem] = desired.diagnostics
    assert problem.code == "PD206"
    assert "syntax error" in problem.detail
    assert "line" not in problem.detail


def test_value_that_cannot_be_told_costs_its_field_only() -> None:
    """A value that cannot be handed over, nested too deeply, is an error of its field in its record."""
    mapping = rule({"title": ".id", "properties.deep": "reduce range(.n) as $i (1; [.])"})
    desired = map_entities([mapping], snapshot({"id": "a", "n": 1}, {"id": "b", "n": 3000}))
    assert [(list(entity.fields), list(entity.unknown)) for entity in desired.entities.values()] == [
        (["title", "properties.deep"], []),
        (["title"], ["properties.deep"]),
    ]
    assert [(d.code, d.records) for d in desired.diagnostics] == [("PD201", ("services/P1",))]


def test_unreadable_record_fails_alone() -> None:
    """A record that is no JSON fails; those around it are mapped."""
    desired = map_entities([rule()], snapshot({"id": "a"}, b'{"id": ', {"id": "c"}))
    assert [key.identifier for key in desired.entities] == ["a", "c"]
    assert list(desired.failed) == ["services/P1"]
    assert _codes(desired) == ["PD240"]


# --- itemsToParse --------------------------------------------------------------------------------------------------


def test_items() -> None:
    """One entity per element; the record is there beside the element, without the list."""
    mapping = rule(
        {"title": ".item.n", "properties.of": ".id", "properties.list": ".l", "properties.rest": ".x.b"},
        items=".l",
        identifier='.id + "-" + .item.n',
    )
    desired = _one(mapping, {"id": "a", "l": [{"n": "1"}, {"n": "2"}], "x": {"b": 5}})
    rest = {"properties.of": "a", "properties.list": None, "properties.rest": 5}
    assert {"a-1": {"title": "1", **rest}, "a-2": {"title": "2", **rest}} == {
        key.identifier: entity.fields for key, entity in desired.entities.items()
    }
    assert {"services/P0"} == {entity.source for entity in desired.entities.values()}
    assert [RuleCount(records=1, selected=2, entities=2)] == list(desired.counts.values())


def test_items_name_and_no_strip() -> None:
    """The element's name can be chosen, and the list can be kept."""
    mapping = rule({"properties.n": ".l | length"}, items=".l", items_name="row", items_strip=False, identifier=".row")
    desired = _one(mapping, {"l": ["a", "b"]})
    assert {key.identifier: e.fields["properties.n"] for key, e in desired.entities.items()} == {"a": 2, "b": 2}


def test_selector_sees_the_item() -> None:
    """Items come before the selector."""
    desired = _one(rule(items=".l", selector='.item != "b"', identifier=".item"), {"l": ["a", "b", "c"]})
    assert [key.identifier for key in desired.entities] == ["a", "c"]


def test_no_items_no_entities() -> None:
    """An empty list is a list."""
    desired = _one(rule(items=".l"), {"l": []})
    assert (desired.entities, desired.failed, desired.diagnostics) == ({}, {}, ())


@pytest.mark.parametrize(
    ("items", "code", "reason"),
    [
        (".missing", "PD211", "items: it is null"),
        (".id", "PD211", 'items: it is text: "a"'),
        (".l[]", "PD211", "items: it gives several values"),
        ("empty", "PD211", "items: it gives no value"),
        (".id.x", "PD201", "items: Cannot index string"),
        ("inputs", "PD202", "items: `inputs` is not available in mappings"),
        (".l |", "PD206", "items: syntax error"),
    ],
)
def test_items_that_are_no_list(items: str, code: str, reason: str) -> None:
    """What is no list fails the record instead of dropping it silently."""
    desired = _one(rule(items=items, identifier=".item"), {"id": "a", "l": ["x", "y"]})
    assert ([code], {}) == (_codes(desired), desired.entities)
    assert desired.failed["services/P0"].startswith(reason)


def test_first_of_several_lists_is_used_and_told() -> None:
    """Several lists: the first counts, and a warning says so."""
    desired = _one(rule(items=".l, .m", identifier=".item"), {"l": ["a"], "m": ["b"]})
    assert [key.identifier for key in desired.entities] == ["a"]
    assert [(d.code, d.severity) for d in desired.diagnostics] == [("PD207", Severity.WARNING)]


def test_one_bad_item_fails_the_record_but_not_its_siblings() -> None:
    """The good items are mapped; the record is failed, so nothing that was made from it is deleted."""
    desired = _one(rule(items=".l", identifier=".item"), {"l": ["a", "b c", "d"]})
    assert [key.identifier for key in desired.entities] == ["a", "d"]
    assert list(desired.failed) == ["services/P0"]


@pytest.mark.parametrize(
    ("items", "path"),
    [
        (".users", ["users"]),
        (".a.b", ["a", "b"]),
        ('."a b".c', ["a b", "c"]),
        ('.["a-b"] | map(.x)', ["a-b"]),
        (".escalation_policy | [.id, .type]", ["escalation_policy"]),
        ("(.users // [])", ["users"]),
        (".users[0].teams", ["users"]),
        (".users?", ["users"]),
        ("[.users[] | .id]", None),
        (".", None),
        (".[0]", None),
        ("map(.x)", None),
    ],
)
def test_stripped_path(items: str, path: list[str] | None) -> None:
    """The list that is deleted is the path at the start; without one nothing is deleted, never everything."""
    assert path == stripped_path(items)


def test_items_without_a_path_keep_the_record() -> None:
    """An expression that builds its list keeps the record whole (Ocean would skip every item)."""
    desired = _one(rule({"title": ".id"}, items="[.l[] | .n]", identifier=".item"), {"id": "a", "l": [{"n": "x"}]})
    assert [entity.fields for entity in desired.entities.values()] == [{"title": "a"}]


# --- enrichments ---------------------------------------------------------------------------------------------------


def test_unavailable_enrichment_is_unknown() -> None:
    """What speaks of an enrichment that could not be read keeps Port's value; a longer name is another name."""
    mapping = rule({"title": ".id", "properties.m": ".__analytics.mean // 0", "properties.o": ".__analytics_of"})
    lacking = record({"id": "a", "__analytics": None}, unavailable={"__analytics": "quota"})
    desired = map_entities([mapping], snapshot_of({Query("services"): [lacking, record({"id": "b"}, name="PX2")]}))
    a, b = desired.entities.values()
    assert a.fields == {"title": "a", "properties.o": None}
    assert a.unknown == {"properties.m": "__analytics could not be read: quota"}
    assert b.fields == {"title": "b", "properties.m": 0, "properties.o": None}
    assert [(d.code, d.severity, d.records) for d in desired.diagnostics] == [
        ("PD230", Severity.WARNING, ("services/PX1",))
    ]


@pytest.mark.parametrize(
    ("text", "known"),
    [
        (".", False),
        ("del(.id)", False),
        ("to_entries", False),
        (". | .id", True),
        ("{id}", True),
        ("select(.id)|.id", True),
        (".id # as it is", True),
        ("def id: .id; id", True),
        ("def all_of_it: .; all_of_it", False),
    ],
)
def test_what_gives_the_whole_record_is_unknown_without_an_enrichment(text: str, known: bool) -> None:
    """It would be erased from an object in Port that holds all there is; what takes a part of it has what it takes."""
    mapping = rule({"properties.raw": text}, selector=". != {}", identifier=".id")
    lacking = record({"id": "a"}, unavailable={"__analytics": "quota"})
    (entity,) = map_entities([mapping], snapshot_of({Query("services"): [lacking]})).entities.values()
    assert ("properties.raw" in entity.fields, "properties.raw" in entity.unknown) == (known, not known)
    assert (paths_with(mapping, "__analytics") == []) == known


@pytest.mark.parametrize("place", ["selector", "identifier", "blueprint", "items"])
def test_unavailable_enrichment_in_a_key_fails_the_record(place: str) -> None:
    """Nothing can be said of a record whose key hangs on what is missing."""
    mapping = rule(**{place: '.__analytics | "x"'})  # type: ignore[arg-type]
    lacking = record({"id": "a"}, unavailable={"__analytics": "quota"})
    desired = map_entities([mapping], snapshot_of({Query("services"): [lacking]}))
    assert {"services/PX1": f"{place}: __analytics could not be read: quota"} == desired.failed
    assert desired.entities == {}


def test_a_record_that_several_rules_fail_on_says_every_reason() -> None:
    """What one mapping made stays for what that one lacks, not for what another one does."""
    by = ("__analytics", "__oncall_user", "__analytics")
    rules = [rule(selector=f".{name} != {number}", number=number) for number, name in enumerate(by)]
    lacking = record({"id": "a"}, unavailable={"__analytics": "quota", "__oncall_user": "403"})
    desired = map_entities(rules, snapshot_of({Query("services"): [lacking]}))
    assert desired.failed == {
        "services/PX1": "selector: __analytics could not be read: quota; selector: __oncall_user could not be read: 403"
    }


# --- searches ------------------------------------------------------------------------------------------------------


def _search() -> SearchQuery:
    rules = {
        "combinator": jq('"and"'),
        "rules": [{"property": jq('"pd_id"'), "operator": jq('"="'), "value": jq(".id")}],
    }
    return SearchQuery(rules, jq("x", 8).origin)


def test_search_in_a_relation() -> None:
    """With nobody to ask a relation by search is unknown; the evaluated query is in the trace."""
    mapping = rule({"title": ".id", "relations.owner": _search(), "team": _search()})
    desired = _one(mapping, {"id": "a"})
    [entity] = desired.entities.values()
    reason = "Port answers it when a plan is made"
    assert ({"title": "a"}, {"relations.owner": reason, "team": reason}) == (entity.fields, entity.unknown)
    assert _codes(desired) == ["PD220", "PD220"]
    [row] = evaluate_record(mapping, record({"id": "a"})).rows
    query = {"combinator": "and", "rules": [{"property": "pd_id", "operator": "=", "value": "a"}]}
    assert {"relations.owner": query, "team": query} == row.searches


def test_search_as_identifier() -> None:
    """An identifier by search fails the record."""
    desired = _one(rule({"title": ".id"}, identifier=_search()), {"id": "a"})
    assert (_codes(desired), desired.entities) == (["PD221"], {})
    assert desired.failed == {"services/P0": "identifier: Port answers it when a plan is made"}


def test_error_in_a_leaf() -> None:
    """A leaf of a search is an expression like any other."""
    query = SearchQuery({"combinator": jq('"and"'), "rules": [{"value": jq(".id.x")}]}, jq("x").origin)
    desired = _one(rule({"relations.owner": query}), {"id": "a"})
    assert _codes(desired) == ["PD201"]
    assert "Cannot index string" in next(iter(desired.entities.values())).unknown["relations.owner"]


# --- collisions ----------------------------------------------------------------------------------------------------


def test_equal_entities_of_two_records_are_one() -> None:
    """Two records that say the same of one key give one entity."""
    desired = map_entities([rule({"title": ".t"})], snapshot({"id": "a", "t": 1.0}, {"id": "a", "t": 1}))
    assert {EntityKey("service", "a")} == set(desired.entities)
    assert desired.held == {}


def test_true_is_not_one() -> None:
    """1 and true are different values, whatever Python thinks."""
    desired = map_entities([rule({"properties.x": ".t"})], snapshot({"id": "a", "t": True}, {"id": "a", "t": 1}))
    assert {EntityKey("service", "a"): "claimed by services/P0, services/P1"} == desired.held


def test_different_entities_of_two_records_are_held() -> None:
    """Two records that say different things of one key: neither is right, and all are named."""
    contents = ({"id": "a", "t": "x"}, {"id": "a", "t": "y"}, {"id": "b", "t": "z"}, {"id": "a", "t": "x"})
    desired = map_entities([rule({"title": ".t"})], snapshot(*contents))
    assert [EntityKey("service", "b")] == list(desired.entities)
    assert {EntityKey("service", "a"): "claimed by services/P0, services/P1, services/P3"} == desired.held
    [problem] = desired.diagnostics
    assert (problem.code, problem.severity) == ("PD250", Severity.ERROR)
    assert problem.records == ("services/P0", "services/P1", "services/P3")
    assert "different title" in problem.detail


def test_different_items_of_one_record_are_held() -> None:
    """Items are records in this."""
    desired = _one(rule({"title": ".item"}, items=".l", identifier='"same"'), {"l": ["a", "b"]})
    assert {EntityKey("service", "same"): "claimed several times by services/P0"} == desired.held


def test_rules_share_an_entity_of_one_record() -> None:
    """Two rules may each map a part of what one record is."""
    rules = [rule({"title": ".t", "icon": ".i"}), rule({"icon": ".i", "properties.x": ".x"}, number=1)]
    desired = map_entities(rules, snapshot({"id": "a", "t": "T", "i": "I", "x": 1}))
    [entity] = desired.entities.values()
    assert entity.fields == {"title": "T", "icon": "I", "properties.x": 1}
    assert (f"{FILE}#services[0]", f"{FILE}#services[1]") == entity.rules


def test_what_one_rule_does_not_know_stays_unknown() -> None:
    """A path that one of the rules could not evaluate is unknown, even if the other could."""
    rules = [rule({"title": ".t"}), rule({"title": "error(1)", "icon": ".t"}, number=1)]
    [entity] = map_entities(rules, snapshot({"id": "a", "t": "T"})).entities.values()
    assert (entity.fields, list(entity.unknown)) == ({"icon": "T"}, ["title"])


def test_what_mappings_of_one_record_disagree_about_is_named() -> None:
    """That alone, with what each of them says and where."""
    rules = [rule({"title": ".t", "icon": ".i"}), rule({"title": '"other"', "properties.x": ".t"}, number=1)]
    desired = map_entities(rules, snapshot({"id": "a", "t": "T", "i": "I"}))
    assert desired.held == {EntityKey("service", "a"): "its mappings disagree about title"}
    [problem] = desired.diagnostics
    assert 'service/a, "T" or "other"' in problem.detail
    assert problem.origin == rules[0].fields["title"].origin


def test_same_clash_of_many_is_one_message() -> None:
    """A clash of two rules over many records is one diagnostic."""
    rules = [rule({"title": ".t"}), rule({"title": '"other"'}, number=1)]
    desired = map_entities(rules, snapshot(*({"id": f"s{n}", "t": "x"} for n in range(50))))
    [problem] = desired.diagnostics
    assert (len(desired.held), len(problem.records)) == (50, 5)
    assert problem.more_records == 45
    assert "(first of 50 records)" in problem.detail


# --- snapshot and trace --------------------------------------------------------------------------------------------


def test_query_that_is_not_in_the_snapshot() -> None:
    """A snapshot that was taken for another mapping is told from one without records."""
    desired = map_entities([rule(query=Query("users"))], snapshot({"id": "a"}))
    assert _codes(desired) == ["PD241"]
    assert map_entities([rule()], snapshot()).diagnostics == ()


def test_progress_ends_at_the_total() -> None:
    """Progress is told per rule, grows, and ends with all records."""
    told: list[tuple[str, int, int | None]] = []
    world = snapshot(*({"id": f"s{n}"} for n in range(1100)))
    map_entities([rule()], world, progress=lambda *step: told.append(step))
    name = f"{FILE}#services[0]"
    assert [(name, 500, 1100), (name, 1000, 1100), (name, 1100, 1100)] == told


def test_trace_shows_every_value() -> None:
    """The trace has each expression with its place, state and value, and the entity that results."""
    mapping = rule(
        {"title": ".t", "icon": ".i", "properties.l": ".l[]", "properties.e": ".t.x", "properties.n": "empty"}
    )
    traced = evaluate_record(mapping, record({"id": "a", "t": "T", "l": [1, 2]}))
    assert (f"{FILE}#services[0]", "services/PX1", "") == (traced.rule, traced.record, traced.failure)
    [row] = traced.rows
    assert (row.selected, row.selector.state, row.selector.value) == (True, "value", True)
    assert [(slot.name, slot.state, slot.value) for slot in row.slots] == [
        ("identifier", "value", "a"),
        ("blueprint", "value", "service"),
        ("title", "value", "T"),
        ("icon", "null", None),
        ("properties.l", "several", 1),
        ("properties.e", "error", None),
        ("properties.n", "none", None),
    ]
    assert row.slots[5].reason == 'Cannot index string with string ("x")'
    assert row.slots[5].expression.origin.line == 7
    assert traced.entities == tuple(
        map_entities(
            [mapping], snapshot_of({Query("services"): [record({"id": "a", "t": "T", "l": [1, 2]})]})
        ).entities.values()
    )


def test_trace_of_what_is_left_or_fails() -> None:
    """The trace says why there is no entity."""
    left = evaluate_record(rule(selector="false"), record({"id": "a"}))
    assert (left.entities, left.failure, [row.selected for row in left.rows]) == ((), "", [False])
    failed = evaluate_record(rule(items=".x"), record({"id": "a"}))
    assert (failed.failure, failed.rows) == ("items: it is null", ())
    assert failed.items is not None
    assert failed.items.state == "null"
    broken = evaluate_record(rule(selector=".a |"), record({"id": "a"}))
    assert broken.failure.startswith("selector: syntax error")


def test_digests_cover_searches_and_items() -> None:
    """Whatever changes what is mapped changes a digest: a leaf of a search, the items and how they are taken."""
    plain = rule({"team": _search()}, items=".l")
    other_leaf = SearchQuery({**_search().rules, "combinator": jq('"or"')}, _search().origin)
    assert expression_digest(plain) == expression_digest(rule({"team": _search()}, items=".l"))
    assert _differing(plain, rule({"team": other_leaf}, items=".l")) == {"team"}
    assert _differing(plain, rule({"team": _search()}, items=".m")) == {"items"}
    assert _differing(plain, rule({"team": _search()}, items=".l", items_strip=False)) == {"items"}
    assert _differing(plain, rule({"team": _search()})) == {"items"}


def _differing(one: MappingRule, other: MappingRule) -> set[str]:
    return {path for path, _ in expression_digest(one).items() ^ expression_digest(other).items()}


def test_many_different_texts() -> None:
    """Sharing equal texts in memory changes no value, also when a path has a new one for every record."""
    contents = [{"id": f"s{n}", "t": f"t{n}", "u": f"u{n % 3}"} for n in range(2500)]
    desired = map_entities([rule({"title": ".t", "properties.u": ".u"})], snapshot(*contents))
    assert {c["id"]: {"title": c["t"], "properties.u": c["u"]} for c in contents} == {
        key.identifier: entity.fields for key, entity in desired.entities.items()
    }


def test_jq_version_is_told() -> None:
    """The fingerprint of a mapping holds the version of jq."""
    assert jq_version().startswith("jq.py 1.")
