"""Mapping ahead changes when records are mapped, never what comes of them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pdsync.jq import ahead as ahead_module
from pdsync.jq import evaluate
from pdsync.jq.pool import JqLimits, Worker
from pdsync.mapping import map_entities, mapping_ahead
from pdsync.memo import Memo
from pdsync.model import Query, SearchQuery
from tests.mapping.builders import jq, record, rule, snapshot, snapshot_of
from tests.mapping.test_memo import worlds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pdsync.model import DesiredEntities, MappingRule, Record, Snapshot

QUICK = JqLimits(seconds=0.2)


def mapped_ahead(rules: list[MappingRule], world: Snapshot, share: int, memo: Memo, few: int = 0) -> DesiredEntities:
    """What mapping gives when one record of so many has been mapped ahead."""
    with mapping_ahead(rules, memo, limits=QUICK, workers=1, few=few) as ahead:
        for query, collection in world.collections.items():
            ahead.came(query, [*collection.records][::share])
        ahead.finish()
    return map_entities(rules, world, workers=1, limits=QUICK, memo=memo)


@given(world=worlds(), share=st.integers(1, 3))
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_what_was_mapped_ahead_is_what_mapping_gives(world: tuple[list[MappingRule], Snapshot], share: int) -> None:
    """Any rules, any records, broken ones as well, all or some of them; and the memo remembers the same."""
    rules, snapshot_ = world
    memo, plain = Memo(), Memo()
    expected = map_entities(rules, snapshot_, workers=1, limits=QUICK, memo=plain)
    assert mapped_ahead(rules, snapshot_, share, memo) == expected
    assert {rule: dict(kept) for rule, kept in memo.kept.items()} == {
        rule: dict(kept) for rule, kept in plain.kept.items()
    }


@pytest.fixture
def evaluated(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The records that mapping proper had to evaluate."""
    found: list[str] = []
    answers: Callable[..., Iterator[Any]] = evaluate.answers

    def noted(pool: Any, layout: Any, faults: Any, records: Iterator[Record]) -> Iterator[Any]:
        asked = list(records)
        found.extend(each.id for each in asked)
        return answers(pool, layout, faults, asked)

    monkeypatch.setattr("pdsync.mapping.answers", noted)
    return found


PEOPLE: list[dict[str, Any]] = [{"id": str(n), "name": f"n{n}", "in": {"team": n % 3}} for n in range(300)]


def test_nothing_is_evaluated_twice(evaluated: list[str]) -> None:
    """Paths, constants and programs alike, of more records than go to the worker at once."""
    fields = {"title": ".name | ascii_upcase", "properties.team": ".in.team", "properties.of": '"x"'}
    world = snapshot_of({rule().query: [record(each, name=each["id"]) for each in PEOPLE]})
    assert len(mapped_ahead([rule(fields)], world, 1, Memo()).entities) == 300
    assert evaluated == []


@pytest.mark.parametrize(("at_a_time", "hired"), [(2, 2), (100, 1)])
def test_who_has_read_helps_with_much_that_is_left(
    evaluated: list[str], monkeypatch: pytest.MonkeyPatch, at_a_time: int, hired: int
) -> None:
    """Once nothing is read any more there is one process more, unless little is left; what comes of it is the same."""
    workers: list[Worker] = []

    class Counted(Worker):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            workers.append(self)

    monkeypatch.setattr(ahead_module, "Worker", Counted)
    monkeypatch.setattr(ahead_module, "_AT_A_TIME", at_a_time)
    world = snapshot_of({rule().query: [record(each, name=each["id"]) for each in PEOPLE]})
    assert len(mapped_ahead([rule()], world, 1, Memo()).entities) == 300
    assert (len(workers), evaluated) == (hired, [])


@pytest.mark.parametrize(("few", "left"), [(299, 0), (300, 300)])
def test_a_few_records_are_not_worth_a_process(evaluated: list[str], few: int, left: int) -> None:
    """Once more have come, all are mapped ahead, the first ones too; before that, none, and nothing is started."""
    half = len(PEOPLE) // 2
    shares = {Query("users"): PEOPLE[:half], Query("services"): PEOPLE[half:]}
    world = snapshot_of({query: [record(each, name=each["id"]) for each in some] for query, some in shares.items()})
    rules = [rule({"title": ".name | ascii_upcase"}, kind=query.kind, blueprint=f'"{query.kind}"') for query in shares]
    assert len(mapped_ahead(rules, world, 1, Memo(), few).entities) == 300
    assert len(evaluated) == left


def test_records_that_give_a_warning_are_left_to_mapping(evaluated: list[str]) -> None:
    """So that what there is to be said is said."""
    found = mapped_ahead([rule({"title": ".a"})], snapshot({"id": "a", "a": 1}, {"id": "b", "a": "x"}), 1, Memo())
    assert [diagnostic.code for diagnostic in found.diagnostics] == ["PD214"]
    assert evaluated == ["P0"]


def test_what_a_record_lacks_is_left_to_mapping(evaluated: list[str]) -> None:
    """It is not known, which is not nothing: a worker only sees that it is not there."""
    lacking = record({"id": "b"}, name="P1", unavailable={"__email": "HTTP 500"})
    world = snapshot_of({rule().query: [record({"id": "a", "__email": "a@x"}, name="P0"), lacking]})
    found = mapped_ahead([rule({"title": ".__email"})], world, 1, Memo())
    fields, unknown = zip(*((each.fields, {*each.unknown}) for each in found.entities.values()), strict=True)
    assert (fields, unknown, evaluated) == (({"title": "a@x"}, {}), (set(), {"title"}), ["P1"])


def test_a_worker_that_dies_is_the_end_of_it_and_of_nothing_else() -> None:
    """An expression without an end is given up by mapping proper, and the other rules' records are mapped."""
    rules = [rule({"title": "last(repeat(1))"}), rule({"title": ".id"}, blueprint='"other"', number=1)]
    found = mapped_ahead(rules, snapshot({"id": "a"}), 1, Memo())
    assert [diagnostic.code for diagnostic in found.diagnostics] == ["PD203"]
    assert sorted(map(str, found.entities)) == ["other/a", "service/a"]


def test_nobody_waits_for_a_worker_that_is_stuck(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its bound is ten minutes, which this test would take, too."""
    monkeypatch.setattr(ahead_module, "SILENCE", 0.1)
    endless, world = rule({"title": "last(repeat(1))"}), snapshot({"id": "a"})
    with mapping_ahead([endless], Memo(), limits=JqLimits(seconds=600), workers=1, few=0) as ahead:
        for query, collection in world.collections.items():
            ahead.came(query, collection.records)
        ahead.finish()


def test_there_is_nothing_to_do_where_something_is_remembered_or_has_to_be_searched() -> None:
    """Hardly any record is new then; and what a query finds is asked anew each time."""
    plain, world = rule({"title": ".id"}), snapshot({"id": "a"})
    memo = Memo()
    map_entities([plain], world, memo=memo)
    remembered = Memo(memo.kept)
    searching = rule({"team": SearchQuery({"combinator": "and", "rules": [jq(".id")]}, plain.origin)})
    for rules, known in (([plain], remembered), ([searching], Memo()), ([], Memo())):
        with mapping_ahead(rules, known, workers=1) as ahead:
            assert not ahead.is_of_use


def test_one_processor_maps_nothing_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would only keep the reading waiting."""
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    with mapping_ahead([rule({"title": ".id"})], Memo()) as ahead:
        assert not ahead.is_of_use
