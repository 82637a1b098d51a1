"""Whose an entity is, and what that means for its end."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given as given_any
from hypothesis import settings
from hypothesis import strategies as st

from pdsync.commands import expressions
from pdsync.model import DesiredEntity, ExistingEntity, Expression, Lifecycle, Query, Surroundings
from pdsync.plan import Facts
from pdsync.plan.ownership import to_adopt
from pdsync.plan.parts import stays
from pdsync.plan.saved import moved
from pdsync.state.ledger_file import dump_ledger, parse_ledger
from pdsync.state.runs import after_run
from tests.builders import HERE, blueprint, catalog, desired, entry, existing, have, key, ledger, plan, rule, want

if TYPE_CHECKING:
    from pdsync.model import Existing, Ledger, LedgerEntry, MappingRule

SERVICE = blueprint()
NOW = "2026-06-01T12:00:00Z"


def test_what_the_integration_made_is_ours_and_what_people_made_is_not() -> None:
    """Adopting remembers who made an entity; that decides between delete and release when its record goes."""
    both = {"ocean": have(tier="1"), "hand": have(tier="1")}
    base = Facts(
        catalog([SERVICE], [rule()]),
        desired(want("ocean", tier="1"), want("hand", tier="1")),
        existing([SERVICE], both),
        ledger({}, [SERVICE]),
        around=Surroundings(frozenset([key("ocean")])),
    )
    made = plan(base)
    entries = {c.identifier: c.ledger for c in made.changes if c.ledger}
    assert {name: (c.origin) for name, c in entries.items()} == {"ocean": "integration", "hand": "adopted"}
    gone = Facts(base.catalog, desired(), base.existing, ledger(entries, [SERVICE]))
    assert {c.identifier: c.action for c in plan(gone).changes} == {"ocean": "delete", "hand": "release"}


def test_an_origin_never_changes_while_an_entity_is_owned() -> None:
    """Who wrote an entity last says nothing any more once it is ours: we may have been the last ourselves."""
    given = Facts(
        catalog([SERVICE], [rule()]),
        desired(want("a", tier="2")),
        existing([SERVICE], {"a": have(tier="1")}),
        ledger({"a": entry("adopted", tier="1")}, [SERVICE]),
        around=Surroundings(frozenset([key("a")])),
    )
    (change,) = plan(given).changes
    assert change.ledger is not None
    assert change.ledger.origin == "adopted"


def test_only_what_is_about_to_be_adopted_is_asked_about() -> None:
    """Not what is ours, not what is new, not what is foreign."""
    given = Facts(
        catalog([SERVICE], [rule()]),
        desired(want("ours"), want("new"), want("there"), want("again")),
        existing([SERVICE], {"ours": have(), "there": have(), "again": have(), "foreign": have()}),
        ledger({"ours": entry(), "lost": entry()}, [SERVICE]),
    )
    assert to_adopt(given) == [key("again"), key("there")]


# --- what was there before us

PATHS = ("title", "properties.tier", "properties.url", "properties.size")
VALUES: dict[str, list[Any]] = {
    "title": ["A", "B"],
    "properties.tier": ["x", "y"],
    "properties.url": ["u", "v"],
    "properties.size": [1, 2],
}
FIELDS = st.fixed_dictionaries({}, optional={path: st.sampled_from(values) for path, values in VALUES.items()})


@settings(max_examples=100, deadline=None, derandomize=True)
@given_any(FIELDS, st.lists(FIELDS, min_size=1, max_size=4))
def test_what_an_entity_had_before_us_is_its_own_for_ever(before: dict[str, Any], steps: list[dict[str, Any]]) -> None:
    """Mappings come, change and go, and at last the record: what had a value still has one, what had none has none."""
    held, last = dict(before), ledger({}, [SERVICE])
    for mapped in steps:
        rules = [rule(paths=mapped)]
        wanted = DesiredEntity(key("a"), mapped, (rules[0].id,), "services/a")
        held, last = _applied(Facts(catalog([SERVICE], rules), desired(wanted), _there(held), last))
        assert mapped.items() <= held.items()
    held, _ = _applied(Facts(catalog([SERVICE], rules), desired(), _there(held), last))
    assert held.keys() - {"title"} == before.keys() - {"title"}, "a title that it once got is left to it"
    assert held.keys() >= before.keys()
    assert all(held[path] in (before.get(path), *(step.get(path) for step in steps)) for path in held)


def _there(held: dict[str, Any]) -> Existing:
    return existing([SERVICE], {"a": ExistingEntity(held)})


def _applied(given: Facts) -> tuple[dict[str, Any], Ledger]:
    """What Port and the ledger hold after the plan of these facts; a second plan does nothing."""
    given = replace(given, expressions=expressions(given.catalog.rules))
    made = plan(given)
    held = dict(given.existing.entities[key("a")].fields)
    for change in made.changes:
        held |= dict(change.afters())
    held = {path: value for path, value in held.items() if value is not None}
    after = after_run(given.ledger, made, dict.fromkeys((change.n for change in made.changes), "done"))
    after = parse_ledger(dump_ledger(after), "ledger")
    assert plan(replace(given, existing=_there(held), ledger=after)).changes == ()
    return held, after


def test_a_release_that_clears_nothing_is_planned_all_the_same() -> None:
    """Of an entity that had everything before us nothing is written: it is only let go of."""
    given = Facts(
        catalog([SERVICE], [rule()]),
        desired(),
        existing([SERVICE], {"a": have(title="Theirs", tier="1")}),
        ledger({"a": entry("adopted", title="Theirs", tier="1")}, [SERVICE]),
    )
    (change,) = plan(given).changes
    assert (change.action, change.fields, change.ledger) == ("release", (), None)


# --- lifecycle: on_remove

ADDED = ("properties.tier",)
ENDS: list[tuple[str, str | None, str, str]] = [
    # origin, lifecycle.on_remove, policy.on_remove, what becomes of it
    ("created", None, "release", "delete"),
    ("integration", None, "release", "delete"),
    ("adopted", None, "release", "release"),
    ("adopted", None, "delete", "delete"),
    ("created", "delete", "release", "delete"),
    ("adopted", "delete", "release", "delete"),
    ("created", "release", "delete", "release"),
    ("integration", "release", "delete", "release"),
    ("created", "forget", "delete", "forget"),
    ("adopted", "forget", "delete", "forget"),
]


@pytest.mark.parametrize(("origin", "said", "policy", "action"), ENDS)
@pytest.mark.parametrize("where", ["rule", "ledger"])
def test_the_end_of_an_entity(origin: str, said: Any, policy: str, action: str, where: str) -> None:
    """The lifecycle goes before the policy; once the mapping is gone, what the ledger kept of it holds."""
    rules = [rule(lifecycle=Lifecycle(on_remove=said))] if where == "rule" else []
    given = Facts(
        catalog([SERVICE], rules, on_remove=policy),
        desired(),
        existing([SERVICE], {"a": have(tier="1")}),
        ledger({"a": entry(origin, tier="1", on_remove=said if where == "ledger" else None, added=ADDED)}, [SERVICE]),
    )
    (change,) = plan(given).changes
    assert change.action == action
    assert (change.fields == ()) == (action == "forget")


def test_the_ledger_keeps_what_a_lifecycle_says() -> None:
    """So that removing the mapping does not change the end of what it made; the present mapping goes before it."""
    end = Lifecycle(on_remove="forget")
    given = Facts(
        catalog([SERVICE], [rule(lifecycle=end)]),
        desired(want("a", tier="1")),
        existing([SERVICE], {"a": have(tier="1")}),
        ledger({"a": entry(tier="1")}, [SERVICE]),
    )
    (change,) = plan(given).changes
    assert (change.action, change.ledger and change.ledger.on_remove) == ("adopt", "forget")
    now = replace(given, catalog=catalog([SERVICE], [rule(lifecycle=Lifecycle("delete"))]), desired=desired())
    owned = ledger({"a": entry(tier="1", on_remove="forget")}, [SERVICE])
    assert [c.action for c in plan(replace(now, ledger=owned)).changes] == ["delete"]


def test_of_several_mappings_the_mildest_end_holds() -> None:
    """Two mappings that write one entity and do not agree: nothing is lost that one of them wants to keep."""
    one = rule(id="m.yaml#services[0]", lifecycle=Lifecycle("delete"))
    two = rule(id="m.yaml#services[1]", lifecycle=Lifecycle("release"))
    given = Facts(
        catalog([SERVICE], [one, two]),
        desired(),
        existing([SERVICE], {"a": have(tier="1")}),
        ledger({"a": entry(tier="1", rules=(one.id, two.id))}, [SERVICE]),
    )
    assert [c.action for c in plan(given).changes] == ["release"]


# --- lifecycle: ignore_changes


def test_ignored_fields_are_written_once_and_then_left_alone() -> None:
    """A new entity gets them; later they differ, are not written, and are counted by path."""
    made = rule(paths=("title", "properties.tier"), lifecycle=Lifecycle(ignore_changes=("properties.*",)))
    wanted = want("a", title="A", tier="1")
    base = Facts(catalog([SERVICE], [made]), desired(wanted), existing([SERVICE], {}), ledger({}, [SERVICE]))
    base = replace(base, expressions=expressions([made]))
    (create,) = plan(base).changes
    assert {f.path for f in create.fields} == {"title", "properties.tier"}
    assert create.ledger is not None
    assert create.ledger.fields == {"title": "A"}
    edited = replace(
        base,
        existing=existing([SERVICE], {"a": have(title="A", tier="by hand")}),
        ledger=ledger({"a": create.ledger}, [SERVICE], expressions=base.expressions),
    )
    after = plan(edited)
    assert (after.changes, after.summary.ignored, after.summary.unchanged) == ((), 1, 1)
    assert [(i.blueprint, i.path, i.count) for i in after.ignored] == [("service", "properties.tier", 1)]


def test_what_is_no_longer_ignored_is_written_again() -> None:
    """The field was never forgotten by the mapping, only left alone."""
    base = Facts(
        catalog([SERVICE], [rule()]),
        desired(want("a", tier="1")),
        existing([SERVICE], {"a": have(tier="by hand")}),
        ledger({"a": entry()}, [SERVICE]),
    )
    assert [(f.path, f.after) for c in plan(base).changes for f in c.fields] == [("properties.tier", "1")]


def test_a_release_does_not_clear_what_was_left_alone() -> None:
    """It is not ours once it is written."""
    made = rule(lifecycle=Lifecycle("release", ("properties.tier",)))
    given = Facts(
        catalog([SERVICE], [made]),
        desired(),
        existing([SERVICE], {"a": have(title="A", tier="by hand", url="u")}),
        ledger({"a": entry(title="A", url="u")}, [SERVICE]),
    )
    (change,) = plan(given).changes
    assert [f.path for f in change.fields] == ["properties.url"]


# --- lifecycle: retention

INCIDENT = blueprint("incident")


def incidents(retention: int | None, since: str = "-90d", n: int = 0, expression: str = ".created_at") -> MappingRule:
    made = rule(
        "incident",
        ("properties.url",),
        kind="incidents",
        id=f"mappings/test.yaml#incidents[{n}]",
        lifecycle=Lifecycle(retention=None if retention is None else timedelta(days=retention)),
    )
    params = (("date_range", "all"),) if since == "all" else (("since", since),)
    return replace(made, query=Query("incidents", params), fields={"properties.url": Expression(expression, HERE)})


def owned(at: str | None, n: int = 0) -> LedgerEntry:
    values = {"url": at} if at else {}
    return entry(source="incidents/i", rules=(f"mappings/test.yaml#incidents[{n}]",), **values)


def outcome(rules: list[MappingRule], born: str | None, n: int = 0) -> str:
    last = owned(born, n)
    facts = Facts(
        catalog([INCIDENT], rules),
        desired(),
        existing([INCIDENT], {"incident/i": have(**({"url": born} if born else {}))}),
        ledger({"incident/i": last}, [INCIDENT], expressions=expressions(rules)),
        expressions=expressions(rules),
        taken_at=NOW,
    )
    made = plan(facts)
    if made.held:
        return "held"
    if made.summary.retained:
        return "retained"
    (change,) = made.changes
    return f"{change.action} {change.reason}"


def test_a_record_that_only_left_its_window_is_retained() -> None:
    """Older than the list goes back, younger than its retention: kept, counted, still owned."""
    year = [incidents(365)]
    assert outcome(year, "2026-05-01T00:00:00Z") == "delete gone-from-source"
    assert outcome(year, "2026-02-01T00:00:00Z") == "retained"
    assert outcome(year, "2025-05-01T00:00:00Z") == "delete left-window"


def test_without_a_retention_what_left_its_window_goes_under_that_name() -> None:
    """As ever, but the plan does not say that it is gone from PagerDuty."""
    assert outcome([incidents(None)], "2026-02-01T00:00:00Z") == "delete left-window"
    assert outcome([incidents(None)], "2026-05-01T00:00:00Z") == "delete gone-from-source"
    assert outcome([incidents(None)], None) == "delete gone-from-source"


def test_a_record_of_unknown_age_is_held_where_there_is_a_retention() -> None:
    """Its absence proves nothing."""
    assert outcome([incidents(365)], None) == "held"
    assert outcome([incidents(365)], "yesterday") == "held"
    assert outcome([incidents(365, expression=".resolved_at")], "2026-02-01T00:00:00Z") == "held"


def test_a_record_that_was_open_may_be_resolved_and_out_of_the_window_by_now() -> None:
    """The list of open incidents has no window, so its rule's entities fall under the retention of the other rule."""
    both = [incidents(None, "all", 0), incidents(365, "-90d", 1)]
    assert outcome(both, "2026-02-01T00:00:00Z", n=0) == "retained"
    assert outcome(both, "2026-05-01T00:00:00Z", n=0) == "delete gone-from-source"


def test_the_longest_retention_holds_and_another_blueprint_has_none() -> None:
    """Of two rules that may both have listed the record, the one that keeps longer."""
    assert outcome([incidents(100, "-30d", 0), incidents(365, "-90d", 1)], "2026-01-01T00:00:00Z") == "retained"
    other = replace(incidents(365, n=1), blueprint=Expression('"other"', HERE))
    assert outcome([incidents(None), other], "2026-02-01T00:00:00Z") == "delete left-window"


def test_forever_and_dates() -> None:
    """Kept for ever, and a list that begins at a date."""
    for_ever = replace(incidents(None), lifecycle=Lifecycle(retention=timedelta.max))
    assert outcome([for_ever], "1990-01-01T00:00:00Z") == "retained"
    assert outcome([incidents(365, "2026-03-01T00:00:00Z")], "2026-02-20T00:00:00Z") == "retained"
    assert outcome([incidents(365, "2026-02-01T00:00:00Z")], "2026-02-20T00:00:00Z") == "delete gone-from-source"


# --- what was there before us and is mapped no more

THERE = entry("adopted", title="A", tier="1", url="u", added=("properties.url",))


@pytest.mark.parametrize("title", ["A", "B"])
def test_a_field_that_others_had_set_is_named_when_it_is_mapped_no_more(title: str) -> None:
    """It stays as it is, whoever has edited it since; nothing is written for it, and nobody's edit makes a plan stale."""
    given = Facts(
        catalog([SERVICE], [rule(paths=("title",))]),
        desired(want("a", title=title)),
        existing([SERVICE], {"a": have(title="A", tier="by hand")}),
        ledger({"a": THERE}, [SERVICE]),
    )
    made = plan(given)
    (change,) = made.changes
    assert change.action == ("adopt" if title == "A" else "update")
    (field,) = (field for field in change.fields if field.path == "properties.tier")
    assert (field.before, field.after, stays(field), field.drift) == ("by hand", "by hand", True, False)
    assert (field.note, field.causes) == ("released: it was in Port before pdsync, and stays", ("catalog",))
    assert change.ledger is not None
    assert "properties.tier" not in change.ledger.fields
    edited = existing([SERVICE], {"a": have(title="A", tier="by others")})
    assert moved(made, edited) == {}
    after = replace(given, ledger=ledger({"a": change.ledger}, [SERVICE]), existing=edited)
    assert [f.path for c in plan(after).changes for f in c.fields] == (["title"] if title == "B" else [])


def test_what_is_released_is_not_checked() -> None:
    """A value that Port would not take any more is not ours to mend."""
    strict = blueprint("service")
    properties = {**strict.properties, "tier": {"type": "number"}}
    strict = replace(strict, definition={**strict.definition, "schema": {"properties": properties, "required": []}})
    given = Facts(
        catalog([strict], [rule(paths=("title",))]),
        desired(want("a", title="A")),
        existing([strict], {"a": have(title="A", tier="by hand")}),
        ledger({"a": THERE}, [strict]),
    )
    made = plan(given)
    assert ([change.action for change in made.changes], made.held) == (["adopt"], ())
