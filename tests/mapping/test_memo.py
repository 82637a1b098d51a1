"""The memo saves work and changes nothing else: whatever is in it, mapping gives what it gives without."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pdsync.errors import MappingError
from pdsync.jq.pool import JqLimits
from pdsync.mapping import map_entities
from pdsync.memo import Memo, dump_memo, fingerprint, parse_memo, record_digest
from pdsync.model import Query, SearchQuery
from pdsync.searching import Answer, Asked
from tests.mapping.builders import HEAVY, jq, record, rule, snapshot, snapshot_of, too_slow, too_slow_together
from tests.mapping.strategies import CONTENTS, EXPRESSIONS

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from pdsync.model import DesiredEntities, DesiredEntity, EntityKey, Json, MappingRule, Record, Snapshot

_SETTINGS = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

# --- worlds ----------------------------------------------------------------------------------------------------

_calm = st.sampled_from(
    [".id", "null", '"x"', ".a?", ".a | tojson", "[.b]", "1.0", '{"é": .c}', ". == .", ".__analytics"]
)
_searches = st.builds(
    lambda one, other: SearchQuery(
        {
            "combinator": "and",
            "rules": [{"property": "$title", "operator": "=", "value": jq(one)}, jq(other)],
        },
        rule().origin,
    ),
    _calm | EXPRESSIONS,
    _calm,
)
_fields = st.dictionaries(
    st.sampled_from(["title", "icon", "team", "properties.p", "properties.q", "relations.r"]),
    _calm | _calm | EXPRESSIONS,
    max_size=4,
)
_searched = st.dictionaries(st.sampled_from(["team", "relations.r"]), _searches, max_size=1)
_texts = st.builds(lambda texts, searched: {**texts, **searched}, _fields, _searched)
_rules = st.builds(
    rule,
    _texts,
    kind=st.sampled_from(["services", "users"]),
    identifier=st.sampled_from([".id", ".id", ".id", '"one"', ".a", '.id + "/" + (.item | tostring)']) | _searches,
    blueprint=st.sampled_from(['"service"', '"service"', ".b"]),
    selector=st.sampled_from(["true", "true", ".a != null", ".a"]),
    items=st.sampled_from([None, None, None, "[.a, .b]", ".c"]),
)
_lacking = st.sampled_from([{}, {}, {}, {"__analytics": "quota"}, {"__email": "no"}])
_content = st.builds(lambda content, **more: {**content, **more}, CONTENTS, id=st.sampled_from("abcdef"))
_raw = st.builds(lambda content: json.dumps(content).encode(), _content) | st.sampled_from([b"{", b'{"id":"\\ud800"}'])


@st.composite
def worlds(draw: st.DrawFn) -> tuple[list[MappingRule], Snapshot]:
    rules = [replace(drawn, id=f"rule {n}") for n, drawn in enumerate(draw(st.lists(_rules, min_size=1, max_size=3)))]
    return rules, snapshot_of({Query(kind): draw(_some_records()) for kind in ("services", "users")})


@st.composite
def _some_records(draw: st.DrawFn) -> list[Record]:
    names = draw(st.lists(st.sampled_from("ABCDEFG"), unique=True, max_size=4))
    return [record(draw(_raw), name=name, unavailable=draw(_lacking)) for name in names]


@st.composite
def _later(draw: st.DrawFn, before: tuple[list[MappingRule], Snapshot]) -> tuple[list[MappingRule], Snapshot]:
    """The same world with some rules, records and failures exchanged for others."""
    others, elsewhere = draw(worlds())
    by_id = {other.id: other for other in others}
    rules = [by_id.get(own.id, own) if draw(st.booleans()) else own for own in before[0]]
    collections = {
        query: replace(collection, records=draw(_mixed(collection.records, elsewhere.collections[query].records)))
        for query, collection in before[1].collections.items()
    }
    return rules, replace(before[1], collections=collections)


@st.composite
def _mixed(draw: st.DrawFn, one: Sequence[Record], other: Sequence[Record]) -> tuple[Record, ...]:
    found = {kept.id: kept for kept in (*one, *(new for new in other if draw(st.booleans())))}
    return tuple(draw(st.permutations(list(found.values()))))


def _told(rules: Sequence[MappingRule], world: Snapshot, memo: Memo | None = None, **more: Any) -> tuple[object, ...]:
    """All that mapping says and asks, orders and the types of numbers included."""
    progress: list[tuple[object, ...]] = []
    questions: list[object] = []

    def lookup(asked: Collection[Asked], desired: Mapping[EntityKey, DesiredEntity]) -> dict[Asked, Answer]:
        questions.append((sorted(asked), repr(desired)))
        return {each: _answer(each) for each in asked}

    desired = map_entities(rules, world, memo=memo, progress=lambda *step: progress.append(step), lookup=lookup, **more)
    return desired, repr(desired), progress, questions


def _answer(asked: Asked) -> Answer:
    """What a search finds: by its text found, nothing, or not told."""
    value = asked.query[-9:].strip("[]{}") or "x"
    return (Answer("found", value), Answer("none", told="nothing"), Answer("unknown", told="no"))[len(asked.query) % 3]


def _stored(memo: Memo) -> Memo:
    """The memo as the next run has it."""
    return parse_memo(b"".join(dump_memo(memo)))


def _learnt(rules: Sequence[MappingRule], world: Snapshot, **more: Any) -> Memo:
    memo = Memo()
    map_entities(rules, world, memo=memo, **more)
    return _stored(memo)


def _count(memo: Memo) -> int:
    return sum(len(outcomes) for outcomes in memo.kept.values())


# --- the law ---------------------------------------------------------------------------------------------------


@_SETTINGS
@given(st.data())
def test_with_and_without(data: st.DataObject) -> None:
    """With a memo of this world, of an earlier one or of none at all the outcome is the very same."""
    before = data.draw(worlds())
    later = data.draw(_later(before))
    expected = _told(*later)
    memo = _learnt(*before)
    assert expected == _told(*later, memo)
    assert expected == _told(*later, _stored(memo))
    assert expected == _told(*later, Memo())


def _world(changed: frozenset[int] = frozenset()) -> tuple[list[MappingRule], Snapshot]:
    """Several batches, with errors, collisions, failures, several values and items among what is calm."""
    contents = [
        {"id": f"s{n}" if n % 50 else f"s {n}", "n": n, "l": [n, n + 1] if n % 3 else n, "t": f"t{n % 7}"}
        for n in range(1000)
    ]
    for n in changed:
        contents[n]["t"] = "new"
    rules = [
        rule({"title": ".t", "properties.n": ".n", "properties.l": ".l[]?"}, selector=".n % 5 != 0"),
        rule({"icon": ".t", "properties.x": ".l | tojson"}, identifier='if .n < 900 then .id else "s1" end', number=1),
        rule({"title": ".t"}, items="[.n, .t]", identifier='"\\(.n)-\\(.item)"', number=2),
    ]
    return rules, snapshot(*contents)


def test_some_records_changed() -> None:
    """Records that are recalled and records that are evaluated stand in the outcome in their old order."""
    changed = frozenset({0, 1, 130, 131, 500, 950, 999})
    memo = _learnt(*_world())
    expected = _told(*_world(changed))
    assert expected == _told(*_world(changed), memo, workers=2)
    assert expected != _told(*_world())


def test_what_is_known_starts_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """No process is started for records that have not changed, and for one that has one is."""
    rules = [rule({"title": ".t"}, selector=".n != 1"), rule({"icon": ".t"}, number=1)]
    contents = [{"id": f"s{n}", "t": "T", "n": n} for n in range(5)]
    expected, memo = _told(rules, snapshot(*contents)), _learnt(rules, snapshot(*contents))
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    assert expected == _told(rules, snapshot(*contents), memo)
    contents[3]["t"] = "new"
    with pytest.raises(MappingError):
        map_entities(rules, snapshot(*contents), memo=memo)


def test_two_catalogs_of_one_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """What one mapping found out the next one has at once, and what either used is kept: a branch and its base."""
    rules, world = [rule({"title": ".t"}), rule({"icon": ".t"}, number=1)], snapshot({"id": "a", "t": "1"}, {"id": "b"})
    expected, memo = _told(rules[:1], world), Memo()
    map_entities(rules, world, memo=memo)
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    assert _told(rules[:1], world, memo) == expected
    assert _count(_stored(memo)) == 4


def test_a_search_is_asked_anew_and_not_evaluated_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is remembered is the query: what it finds may be another thing each time."""
    query = SearchQuery({"combinator": "and", "rules": [jq(".t")]}, rule().origin)
    rules, world = [rule({"relations.r": query, "title": ".t"})], snapshot({"id": "a", "t": "T"}, {"id": "b", "t": "U"})
    memo = _learnt(rules, world)
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    for value in ("one", "other"):
        asked: list[Asked] = []

        def lookup(
            some: Collection[Asked], _: object, asked: list[Asked] = asked, value: str = value
        ) -> dict[Asked, Answer]:
            asked += some
            return {each: Answer("found", value) for each in some}

        desired = map_entities(rules, world, memo=memo, lookup=lookup)
        assert [each.query for each in asked] == [f'{{"combinator":"and","rules":["{t}"]}}' for t in "TU"]
        assert {each.fields["relations.r"] for each in desired.entities.values()} == {value}


def test_given_up_in_spite_of_a_memo(monkeypatch: pytest.MonkeyPatch) -> None:
    """An expression that is given up is given up for records that are remembered, too."""
    too_slow(monkeypatch, lambda program, given: "if .bad" in program and "bad" in json.loads(given.raw))
    bad = [rule({"properties.x": "if .bad then 2 else 1 end", "title": ".id"})]
    contents: list[dict[str, Json]] = [{"id": f"s{n}"} for n in range(20)]
    memo = _learnt(bad, snapshot(*contents))
    assert _count(memo) == 20
    for n in (4, 9, 12):
        contents[n]["bad"] = True
    told = _told(bad, snapshot(*contents), memo)
    assert told == _told(bad, snapshot(*contents))
    desired: DesiredEntities = told[0]  # type: ignore[assignment]
    assert all("properties.x" in entity.unknown for entity in desired.entities.values())


# --- what is remembered ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mapping", "remembered"),
    [
        (rule({"title": ".t", "properties.no": ".x", "properties.none": "empty"}), 1),
        (rule(selector="false"), 1),
        (rule({"title": "error(1)"}, selector="false"), 1),
        (rule({"title": ".item"}, items="[]"), 1),
        (rule({"title": ".t"}, items=".l", identifier=".item | tostring"), 1),
        (rule({"title": ".t.x"}), 0),
        (rule({"title": ".l"}), 0),
        (rule({"properties.l": ".l[]"}), 0),
        (rule({"properties.e": "env"}), 0),
        (rule({"title": ".t |"}), 0),
        (rule(selector=".t"), 0),
        (rule(identifier=".l"), 0),
        (rule(blueprint="null"), 0),
        (rule(items=".t"), 0),
        (rule(items=".l, .l", identifier=".item | tostring"), 0),
        (rule(identifier='if .item == 1 then "a" else null end', items=".l"), 0),
        (rule({"relations.r": SearchQuery({"combinator": "and", "rules": [jq(".t")]}, rule().origin)}), 1),
        (rule({"relations.r": SearchQuery({"combinator": "and", "rules": [jq(".l[]")]}, rule().origin)}), 0),
        (rule(identifier=SearchQuery({"combinator": "and", "rules": [jq(".t")]}, rule().origin)), 1),
        (rule({"properties.deep": "reduce range(400) as $n (null; [.])"}), 0),
    ],
)
def test_only_what_gave_no_word_is_remembered(mapping: MappingRule, remembered: int) -> None:
    """What was reported is found out and reported each time; a record that is not taken is an outcome as well."""
    world = snapshot({"id": "a", "t": "T", "l": [1, 2]})
    memo = _learnt([mapping], world)
    assert _count(memo) == remembered
    assert _told([mapping], world, memo) == _told([mapping], world)


def test_a_word_about_one_record_is_not_about_the_next() -> None:
    """A record with a problem does not keep the others of its rule from being remembered."""
    assert _count(_learnt([rule({"title": ".t"})], snapshot({"id": "a", "t": 1}, {"id": "b"}, {"id": "c"}))) == 2


def test_a_missing_enrichment_is_reported_each_time() -> None:
    """A record that lacks what an expression reads is not remembered, one that lacks something else is."""
    lacking = record({"id": "a"}, unavailable={"__analytics": "quota"})
    world = snapshot_of({Query("services"): [lacking]})
    assert _count(_learnt([rule({"properties.m": ".__analytics.m"})], world)) == 0
    assert _count(_learnt([rule({"properties.m": ".m"})], world)) == 1


def test_a_stop_without_a_culprit_is_not_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Had it been remembered, it would not count any more when the rule is given up after several stops."""
    too_slow_together(monkeypatch)
    mapping = rule({f"properties.p{n}": HEAVY for n in range(80)})
    memo = Memo()
    desired = map_entities([mapping], snapshot({"id": "a"}), memo=memo)
    assert (len(desired.entities), desired.diagnostics, _count(memo)) == (1, (), 0)


def test_collisions_are_found_each_time() -> None:
    """Two remembered records that claim one entity are held as they were at first."""
    world = snapshot({"id": "a", "t": 1}, {"id": "a", "t": 2})
    rules = [rule({"properties.t": ".t"})]
    memo = _learnt(rules, world)
    assert _count(memo) == 2
    assert _told(rules, world, memo) == _told(rules, world)
    assert map_entities(rules, world, memo=memo).held


def test_equal_rules_share_and_each_signs() -> None:
    """What one rule learnt serves another one of the same expressions, under that one's name and kind."""
    memo = _learnt([rule({"title": ".t"})], snapshot({"id": "a", "t": "T"}))
    twin = replace(rule({"title": ".t"}, kind="users"), id="moved.yaml#users[0]")
    [entity] = map_entities([twin], snapshot({"id": "a", "t": "T"}, kind="users"), memo=memo).entities.values()
    assert (entity.rules, entity.source, memo.changed) == (("moved.yaml#users[0]",), "users/P0", False)


# --- when it is not used ---------------------------------------------------------------------------------------

_BASIC = rule({"title": ".t", "icon": ".i"}, items=".l")


@pytest.mark.parametrize(
    "other",
    [
        rule({"title": ".t", "icon": ".j"}, items=".l"),
        rule({"title": ".t", "team": ".i"}, items=".l"),
        rule({"icon": ".i", "title": ".t"}, items=".l"),
        rule({"title": ".t"}, items=".l"),
        rule({"title": ".t", "icon": ".i"}),
        rule({"title": ".t", "icon": ".i"}, items=".m"),
        rule({"title": ".t", "icon": ".i"}, items=".l", items_name="x"),
        rule({"title": ".t", "icon": ".i"}, items=".l", items_strip=False),
        rule({"title": ".t", "icon": ".i"}, items=".l", selector=".x != 1"),
        rule({"title": ".t", "icon": ".i"}, items=".l", identifier=".id2"),
        rule({"title": ".t", "icon": ".i"}, items=".l", blueprint='"other"'),
    ],
)
def test_every_part_of_a_rule_counts(other: MappingRule) -> None:
    """A rule of which any expression has changed, or the order of its paths, recalls nothing."""
    world = snapshot({"id": "a", "id2": "b", "l": [1], "m": [2, 3], "t": "T"})
    memo = _learnt([_BASIC], world)
    map_entities([other], world, memo=memo)
    assert memo.changed
    assert _told([other], world, _learnt([_BASIC], world)) == _told([other], world)


def test_other_bounds_recall_nothing() -> None:
    """What was found within wider bounds is not known to be found within these."""
    world = snapshot({"id": "a"})
    memo = _learnt([rule()], world)
    map_entities([rule()], world, memo=memo, limits=JqLimits(seconds=4))
    assert memo.changed


@given(st.tuples(CONTENTS, _lacking), st.tuples(CONTENTS, _lacking))
def test_digest_follows_the_record(one: tuple[Json, dict[str, str]], other: tuple[Json, dict[str, str]]) -> None:
    """Records have equal digests exactly when their bytes and what they lack are equal."""
    first, second = (record(content, unavailable=lacking) for content, lacking in (one, other))
    equal = (first.raw, first.unavailable) == (second.raw, second.unavailable)
    assert equal == (record_digest(first) == record_digest(second))


def test_order_of_what_is_lacking_does_not_matter() -> None:
    """A snapshot that was read from its file has its names sorted."""
    one = record({}, unavailable={"a": "1", "b": "2"})
    assert record_digest(one) == record_digest(record({}, unavailable={"b": "2", "a": "1"}))


@given(st.lists(st.text()), st.lists(st.text()))
def test_fingerprint_follows_its_parts(one: list[str], other: list[str]) -> None:
    """Equal parts, equal fingerprint; no two different ones run together."""
    assert (one == other) == (fingerprint(*one) == fingerprint(*other))


# --- how much it keeps -----------------------------------------------------------------------------------------


def test_only_what_was_used_is_kept() -> None:
    """Records that are gone, rules that are gone and old versions of records are forgotten."""
    rules = [rule({"title": ".t"}), rule({"icon": ".t"}, number=1)]
    memo = _learnt(rules, snapshot({"id": "a", "t": "1"}, {"id": "b", "t": "1"}, {"id": "c", "t": "1"}))
    assert _count(memo) == 6
    later = snapshot({"id": "a", "t": "1"}, {"id": "b", "t": "2"})
    map_entities(rules[:1], later, memo=memo)
    assert (_count(memo), memo.changed) == (2, True)
    assert memo.kept == _learnt(rules[:1], later).kept


def test_losing_a_record_is_a_change() -> None:
    """A memo that only lost something is to be written, too."""
    memo = _learnt([rule()], snapshot({"id": "a"}, {"id": "b"}))
    map_entities([rule()], snapshot({"id": "b"}), memo=memo)
    assert (_count(memo), memo.changed) == (1, True)


def test_unchanged_is_known_as_such() -> None:
    """A run that recalled all there is leaves the memo as it was; so does one that asked for nothing."""
    rules, world = [rule({"title": ".t"})], snapshot({"id": "a", "t": "1"}, {"id": "b", "t": "1"})
    memo = _learnt(rules, world)
    stored = b"".join(dump_memo(memo))
    map_entities(rules, world, memo=memo)
    assert (memo.changed, b"".join(dump_memo(memo))) == (False, stored)
    unasked = parse_memo(stored)
    map_entities([], snapshot(), memo=unasked)
    assert (unasked.changed, b"".join(dump_memo(unasked))) == (False, stored)


# --- the file --------------------------------------------------------------------------------------------------

_digests = st.binary(min_size=16, max_size=16)
_outcomes = st.lists(st.lists(st.text(max_size=3) | st.none() | st.floats(0, 1), max_size=3), max_size=2)
_memos = st.dictionaries(
    _digests,
    st.dictionaries(_digests, _outcomes.map(lambda rows: json.dumps(rows).encode()), min_size=1, max_size=3),
    max_size=3,
)


@given(_memos)
def test_round_trip(remembered: dict[bytes, dict[bytes, bytes]]) -> None:
    """What is kept comes back in its order; rules in any order are the same bytes, each line of them JSON."""
    data = b"".join(dump_memo(Memo(remembered)))
    kept = parse_memo(data).kept
    assert {rule: list(outcomes.items()) for rule, outcomes in kept.items()} == {
        rule: list(outcomes.items()) for rule, outcomes in remembered.items()
    }
    assert data == b"".join(dump_memo(Memo(dict(reversed(remembered.items())))))
    assert [json.loads(line) for line in data.splitlines()][1:-1] == [
        [key.hex(), json.loads(outcome)]
        for _, outcomes in sorted(remembered.items())
        for key, outcome in outcomes.items()
    ]


def test_more_than_is_copied_at_once() -> None:
    """Lines of many megabytes come back, whether they were noted now or stand in an earlier file, which has others."""
    outcomes = {bytes([number]) * 16: b'[["%b"]]' % (b"x" * 300_000) for number in range(12)}
    earlier = _stored(Memo({b"r" * 16: dict(list(outcomes.items())[:8]), b"s" * 16: {b"a" * 16: b"[]"}}))
    earlier.recall(b"r" * 16, list(outcomes)[:6])
    for digest, outcome in list(outcomes.items())[8:]:
        earlier.note(b"r" * 16, digest, outcome)
    del outcomes[b"\6" * 16], outcomes[b"\7" * 16]
    assert _stored(earlier).kept == {b"r" * 16: outcomes}


_SMALL = b"".join(dump_memo(Memo({b"r" * 16: {b"a" * 16: b'[["a","service",1]]', b"b" * 16: b"[]"}})))


def test_any_cut_is_an_empty_memo() -> None:
    """A file that lost its end, or all of it, holds nothing that can be used."""
    assert [parse_memo(_SMALL[:length]).kept for length in range(len(_SMALL))] == [{}] * len(_SMALL)


@given(st.integers(0, len(_SMALL) - 1), st.integers(1, 255))
def test_any_changed_byte_is_an_empty_memo(position: int, change: int) -> None:
    """One wrong byte, in the header too, and nothing of the file is believed."""
    damaged = bytearray(_SMALL)
    damaged[position] ^= change
    assert parse_memo(bytes(damaged)).kept == {}


@given(st.binary(max_size=60) | st.text(max_size=40).map(str.encode))
def test_anything_else_is_an_empty_memo(data: bytes) -> None:
    """Foreign files are no error."""
    assert parse_memo(data).kept == {}


@pytest.mark.parametrize("header", [b"[]", b"null", b"1", b'{"format":"pdsync-memo"}', b'{"format":"pdsync-ledger"}'])
def test_other_headers_are_an_empty_memo(header: bytes) -> None:
    """Nor are files whose first line is JSON of another shape."""
    assert parse_memo(header + b"\n" + _SMALL.partition(b"\n")[2]).kept == {}


def test_another_version_is_an_empty_memo() -> None:
    """A memo that another pdsync wrote in another format is not read."""
    head, _, body = _SMALL.partition(b"\n")
    header = json.loads(head)
    assert parse_memo(json.dumps(header).encode() + b"\n" + body).kept == parse_memo(_SMALL).kept
    header["version"] += 1
    assert parse_memo(json.dumps(header).encode() + b"\n" + body).kept == {}


@pytest.mark.parametrize(
    "outcome", [b"x", b"7", b"[7]", b"[[]]", b'[["a","service"]]', b'[["a","service",1,2]]', b'{"a":1}']
)
def test_outcomes_of_another_shape_are_found_out_anew(outcome: bytes) -> None:
    """A file that is sound but was not written by this program costs time, nothing else, and is replaced."""
    found_out_anew(outcome, [rule({"title": ".t"}), rule({"icon": ".t"}, number=1)])


@pytest.mark.parametrize(
    "outcome",
    [b"7", b'[["a","service"]]', b'[["a","service","no query"]]', b'[[null,"service","{}"]]', b'[["a",null,"{}"]]'],
)
def test_queries_of_another_shape_are_found_out_anew(outcome: bytes) -> None:
    """The same of a rule that searches."""
    query = SearchQuery({"combinator": "and", "rules": [jq(".t | tojson")]}, rule().origin)
    found_out_anew(outcome, [rule({"relations.r": query})])


def found_out_anew(outcome: bytes, rules: Sequence[MappingRule]) -> None:
    world = snapshot({"id": "a", "t": "T"}, {"id": "b"}, {"id": "c", "t": ["not a title"]})
    sound = _learnt(rules, world)
    records = world.collections[Query("services")].records
    foreign = Memo({own: {record_digest(record): outcome for record in records} for own in sound.kept})
    assert _told(rules, world, foreign)[:2] == _told(rules, world)[:2]
    assert foreign.kept == sound.kept
