"""Rules that stand in another place are known again, and never taken for another one that is still there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from pdsync.commands import expressions
from pdsync.plan import Facts
from pdsync.plan.moved import ledger_with, moved_rules
from pdsync.state.runs import after_run
from tests.builders import blueprint, catalog, desired, entry, existing, have, ledger, plan, rule, want

if TYPE_CHECKING:
    from collections.abc import Mapping

Expressions = dict[str, dict[str, str]]
PARTS = ("$blueprint", "$identifier", "$items", "$selector", "title")
IDS = [f"mappings/{file}.yaml#{kind}[{n}]" for file in "ab" for kind in ("services", "users") for n in range(2)]


def rules(ids: list[str]) -> st.SearchStrategy[Expressions]:
    return st.fixed_dictionaries(
        {}, optional={i: st.fixed_dictionaries({p: st.sampled_from("12") for p in PARTS}) for i in ids}
    )


def kind_of(rule: str) -> str:
    return rule.split("#")[1].split("[", maxsplit=1)[0]


@settings(max_examples=200, deadline=None)
@given(rules(IDS), rules(IDS))
def test_a_rule_is_taken_for_one_other_at_most(before: Expressions, now: Expressions) -> None:
    """Of the same kind; and no rule that is gone has the name of one that is there."""
    moved = moved_rules(before, now)
    whole = {rule: moved.get(rule, rule) for rule in before}
    assert len({*whole.values()}) == len(whole)
    for old, new in moved.items():
        assert old != new
        assert kind_of(old) == kind_of(new)
        assert new in now or (old in now and new.startswith(f"{old}@"))


@settings(max_examples=200, deadline=None)
@given(rules(IDS), st.data())
def test_rules_that_only_change_places_are_all_known_again(before: Expressions, data: st.DataObject) -> None:
    """In a file and between files, with or without others that come; of equal ones it does not matter which is which."""
    now: Expressions = {}
    for kind in ("services", "users"):
        old = [rule for rule in before if kind_of(rule) == kind]
        places = data.draw(st.permutations([rule for rule in IDS if kind_of(rule) == kind]))
        now |= {place: before[rule] for place, rule in zip(places, old, strict=False)}
    more = data.draw(rules([rule for rule in IDS if rule not in now]))
    moved = moved_rules(before, now | more)
    assert all((now | more)[moved.get(rule, rule)] == parts for rule, parts in before.items())


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_of_rules_that_change_places_one_is_edited(data: st.DataObject) -> None:
    """All others are known again, and so is that one, whatever is changed of it but the blueprint."""
    ids = [rule for rule in IDS if kind_of(rule) == "users"]
    said = st.tuples(*(st.sampled_from("12") for _ in PARTS))
    contents = data.draw(st.lists(said, unique=True, min_size=1, max_size=len(ids)))
    before = {rule: dict(zip(PARTS, content, strict=True)) for rule, content in zip(ids, contents, strict=False)}
    places = dict(zip(before, data.draw(st.permutations([*before])), strict=True))
    now = {places[rule]: parts for rule, parts in before.items()}
    edited = data.draw(st.sampled_from([*before]))
    now[places[edited]] = {**before[edited], data.draw(st.sampled_from(PARTS[1:])): "3"}
    assert moved_rules(before, now) == {old: new for old, new in places.items() if old != new}


@settings(max_examples=100, deadline=None)
@given(rules(IDS))
def test_a_file_that_is_renamed_has_the_rules_it_had(before: Expressions) -> None:
    """All of them, in their order, whatever they say; of equal ones none is lost."""
    now = {rule.replace("/a.", "/c."): parts for rule, parts in before.items()}
    moved = moved_rules(before, now)
    assert moved == {rule: rule.replace("/a.", "/c.") for rule in before if "/a." in rule}


def test_what_is_edited_on_the_way_is_known_by_what_it_makes() -> None:
    """Where two of them could be meant, neither is."""
    one: Mapping[str, str] = {"$blueprint": "s", "$identifier": "i", "title": "t"}
    other = {**one, "title": "u"}
    assert moved_rules({"a#users[0]": one}, {"b#users[0]": other}) == {"a#users[0]": "b#users[0]"}
    assert moved_rules({"a#users[0]": one}, {"b#users[0]": other, "b#users[1]": {**one, "title": "v"}}) == {}
    assert moved_rules({"a#users[0]": one}, {"b#services[0]": one}) == {}


def test_what_was_edited_most_like_it_was_is_meant() -> None:
    """Both of two that changed places; one that comes before it; one whose place another one took."""
    opened = {"$blueprint": "s", "$identifier": "i", "$selector": "open", "title": "t", "tier": "x"}
    closed = {**opened, "$selector": "closed"}
    edited = [{**closed, "title": "u"}, {**opened, "tier": "y"}]
    swapped = {"a#users[0]": "a#users[1]", "a#users[1]": "a#users[0]"}
    assert moved_rules(named(opened, closed), named(*edited)) == swapped
    assert moved_rules(named(opened), named({**opened, "$identifier": "j", "tier": "z"}, edited[1])) == {
        "a#users[0]": "a#users[1]"
    }
    moved = moved_rules(named(opened, closed), named(closed))
    assert moved["a#users[1]"] == "a#users[0]"
    assert moved["a#users[0]"].startswith("a#users[0]@")


def named(*said: Mapping[str, str]) -> dict[str, Mapping[str, str]]:
    return {f"a#users[{n}]": parts for n, parts in enumerate(said)}


def test_a_file_that_moves_and_has_its_mappings_in_another_order_changes_nothing() -> None:
    """Of an entity that several of them make: which of them comes first means nothing."""
    tier, url = ((path,) for path in ("properties.tier", "properties.url"))
    before = [rule(paths=tier, id="a.yaml#services[0]"), rule(paths=url, id="a.yaml#services[1]")]
    now = [rule(paths=url, id="b.yaml#services[0]"), rule(paths=tier, id="b.yaml#services[1]")]
    last = entry(tier="1", url="u", rules=tuple(each.id for each in before))
    moved = moved_rules(expressions(before), expressions(now))
    assert moved == {before[0].id: now[1].id, before[1].id: now[0].id}
    service = blueprint()
    given = Facts(
        catalog([service], now),
        desired(want("a", tier="1", url="u", rules=tuple(each.id for each in now))),
        existing([service], {"a": have(tier="1", url="u")}),
        ledger_with(ledger({"a": last}, [service], expressions=expressions(before)), moved),
        expressions=expressions(now),
    )
    made = plan(given)
    assert (made.changes, made.summary.unchanged) == ((), 1)


@settings(max_examples=100, deadline=None)
@given(rules(IDS), rules(IDS))
def test_a_run_that_is_entered_twice_is_entered_once(before: Expressions, now: Expressions) -> None:
    """By one that goes on with it: mappings that changed places do not change them back."""
    service = blueprint()
    owned = {f"s{n}": entry(tier="1", rules=(each,)) for n, each in enumerate(before)}
    book = ledger(owned, [service], expressions=before)
    facts = Facts(catalog([service], [rule()]), desired(want("new")), existing([service], {}), book, expressions=now)
    made = plan(facts)
    assert made.changes
    once = after_run(book, made, {})
    moved = moved_rules(before, now)
    assert [e.rules for e in once.entities.values()] == [(moved.get(each, each),) for each in before]
    assert after_run(once, made, {}) == once
