"""Places inside an object that are left alone, all through a plan: written, counted, owned, released, renamed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pdsync.commands import expressions
from pdsync.model import Blueprint, Change, Lifecycle
from pdsync.plan import Facts
from pdsync.plan.cause import Past, with_causes
from pdsync.plan.drift import find_drift
from pdsync.plan.saved import moved
from pdsync.state.runs import after_run
from tests.builders import blueprint, catalog, desired, entry, existing, have, ledger, plan, rule, want

if TYPE_CHECKING:
    from pdsync.model import ExistingEntity, LedgerEntry, MappingRule

PLACE = "properties.meta.owner"


def service(**definition: Any) -> Blueprint:
    plain = blueprint()
    meta = {"type": "object", **definition}
    schema = {**plain.definition["schema"], "properties": {**plain.properties, "meta": meta}}
    return replace(plain, definition={**plain.definition, "schema": schema})


SERVICE = service()


def leaving(*paths: str, **more: Any) -> MappingRule:
    return rule(paths=("title", "properties.meta"), lifecycle=Lifecycle(ignore_changes=paths, **more))


def facts(
    meta: Any, port: ExistingEntity | None, last: LedgerEntry | None, *paths: str, of: Blueprint = SERVICE
) -> Facts:
    made = leaving(*(paths or (PLACE,)))
    owned = ledger({"a": last} if last else {}, [of], expressions=expressions([made]), tool="jq")
    return Facts(
        catalog([of], [made]),
        desired(want("a", title="A", meta=meta)),
        existing([of], {"a": port} if port else {}),
        owned,
        expressions=expressions([made]),
        tool="jq",
    )


def told(change: Change) -> list[tuple[str, Any, Any]]:
    return [(field.path, field.before, field.after) for field in change.fields]


def test_a_new_entity_gets_all_of_it_and_the_ledger_says_so() -> None:
    """Nothing is in Port that could be kept."""
    (change,) = plan(facts({"tier": 1, "owner": "we"}, None, None)).changes
    assert told(change)[0] == ("properties.meta", None, {"tier": 1, "owner": "we"})
    assert change.ledger is not None
    assert change.ledger.fields["properties.meta"] == {"tier": 1, "owner": "we"}


def test_an_edit_there_changes_nothing_and_is_counted() -> None:
    """Neither the entity nor the ledger moves, and it is no drift."""
    given = facts(
        {"tier": 1, "owner": "we"},
        have(title="A", meta={"tier": 1, "owner": "they"}),
        entry(title="A", meta={"tier": 1, "owner": "we"}),
    )
    made = plan(given)
    assert (made.changes, made.summary.unchanged, made.summary.ignored) == ((), 1, 1)
    assert [(each.blueprint, each.path, each.count) for each in made.ignored] == [("service", PLACE, 1)]
    assert find_drift(given.ledger, given.existing, given.catalog.rules) == ()
    (drift,) = find_drift(given.ledger, given.existing)
    assert [field.path for field in drift.fields] == ["properties.meta"]


def test_the_rest_of_the_object_is_written_with_what_stands_there() -> None:
    """The plan shows the value that is written, whole; what was removed in Port stays removed."""
    (change,) = plan(
        facts(
            {"tier": 2, "owner": "we"},
            have(title="A", meta={"tier": 1, "owner": "they"}),
            entry(title="A", meta={"tier": 1, "owner": "we"}),
        )
    ).changes
    assert told(change) == [("properties.meta", {"tier": 1, "owner": "they"}, {"tier": 2, "owner": "they"})]
    assert (change.causes, [field.drift for field in change.fields]) == (("source",), [False])
    assert change.ledger is not None
    assert change.ledger.fields["properties.meta"] == {"tier": 2, "owner": "they"}
    (change,) = plan(
        facts(
            {"tier": 2, "owner": "we"},
            have(title="A", meta={"tier": 1}),
            entry(title="A", meta={"tier": 1, "owner": "we"}),
        )
    ).changes
    assert told(change) == [("properties.meta", {"tier": 1}, {"tier": 2})]


def test_an_edit_beside_it_is_drift() -> None:
    """And is taken back, with what is left alone kept."""
    (change,) = plan(
        facts(
            {"tier": 1, "owner": "we"},
            have(title="A", meta={"tier": 9, "owner": "they"}),
            entry(title="A", meta={"tier": 1, "owner": "we"}),
        )
    ).changes
    assert told(change) == [("properties.meta", {"tier": 9, "owner": "they"}, {"tier": 1, "owner": "they"})]
    assert change.causes == ("drift",)


def test_what_port_has_of_it_stays_when_the_mapping_gives_nothing() -> None:
    """Null clears all but that, the ledger lets go of it, and after that there is nothing left to do."""
    given = facts(
        None,
        have(title="A", meta={"tier": 1, "owner": "they"}),
        entry(title="A", meta={"tier": 1, "owner": "we"}),
    )
    made = plan(given)
    (change,) = made.changes
    assert told(change) == [("properties.meta", {"tier": 1, "owner": "they"}, {"owner": "they"})]
    port = existing([SERVICE], {"a": have(title="A", meta={"owner": "they"})})
    after = replace(given, existing=port, ledger=after_run(given.ledger, made, {1: "done"}))
    assert "properties.meta" not in next(iter(after.ledger.entities.values())).fields
    assert plan(after).changes == ()
    again = replace(after, desired=desired(want("a", title="A", meta={"tier": 3, "owner": "we"})))
    (change,) = plan(again).changes
    assert told(change) == [("properties.meta", {"owner": "they"}, {"tier": 3, "owner": "they"})]
    assert change.causes == ("source",)


def test_an_object_that_port_does_not_have_is_made_whole() -> None:
    """As a new entity is."""
    (change,) = plan(facts({"tier": 1, "owner": "we"}, have(title="A"), entry(title="A"))).changes
    assert told(change) == [("properties.meta", None, {"tier": 1, "owner": "we"})]


def test_a_field_that_leaves_the_mapping_leaves_behind_what_is_left_alone() -> None:
    """It was never ours once it was written."""
    given = facts({}, have(title="A", meta={"tier": 1, "owner": "they"}), entry(title="A", meta={"tier": 1}))
    given = replace(given, desired=desired(want("a", title="A")))
    (change,) = plan(given).changes
    assert told(change) == [("properties.meta", {"tier": 1, "owner": "they"}, {"owner": "they"})]


def test_a_release_leaves_it_too() -> None:
    """What we set is cleared, and that is not."""
    given = facts({}, have(title="A", meta={"tier": 1, "owner": "they"}), entry(title="A", meta={"tier": 1}))
    made = leaving(PLACE, on_remove="release")
    (change,) = plan(replace(given, catalog=catalog([SERVICE], [made]), desired=desired())).changes
    assert (change.action, told(change)) == (
        "release",
        [("properties.meta", {"tier": 1, "owner": "they"}, {"owner": "they"})],
    )


def test_a_rename_carries_it_along() -> None:
    """The new one has what the old one had there, and the ledger what is written."""
    given = facts({}, have(title="A", meta={"tier": 1, "owner": "they"}), entry(title="A", meta={"tier": 1}))
    given = replace(given, desired=desired(want("b", title="A", meta={"tier": 2, "owner": "we"}, source="services/a")))
    made = plan(given)
    come = next(change for change in made.changes if change.action == "create")
    assert ("properties.meta", {"tier": 1, "owner": "they"}, {"tier": 2, "owner": "they"}) in told(come)
    assert come.ledger is not None
    assert come.ledger.fields["properties.meta"] == {"tier": 2, "owner": "they"}
    port = existing([SERVICE], {"b": have(title="A", meta={"tier": 2, "owner": "they"})})
    ours = after_run(given.ledger, made, {change.n: "done" for change in made.changes})
    assert plan(replace(given, existing=port, ledger=ours)).changes == ()


def test_a_plan_is_stale_once_somebody_edits_the_place() -> None:
    """It would write what stood there when it was made."""
    given = facts({"tier": 2}, have(title="A", meta={"tier": 1, "owner": "they"}), entry(title="A", meta={"tier": 1}))
    made = plan(given)
    assert moved(made, given.existing) == {}
    edited = existing([SERVICE], {"a": have(title="A", meta={"tier": 1, "owner": "others"})})
    ((difference,),) = moved(made, edited).values()
    seen, now = ({"tier": 1, "owner": owner} for owner in ("they", "others"))
    assert difference == ("properties.meta", seen, now)


def test_the_causes_by_the_corners() -> None:
    """A line that is added or removed is told from PagerDuty, and from edits, though it writes nothing itself."""
    last, port = entry(title="A", meta={"tier": 1, "owner": "we"}), have(title="A", meta={"tier": 1, "owner": "they"})
    given = facts({"tier": 2, "owner": "we"}, port, last)
    given = replace(given, ledger=replace(given.ledger, catalog="before"))
    then = desired(want("a", title="A", meta={"tier": 1, "owner": "we"}))
    bare = catalog([SERVICE], [rule(paths=("title", "properties.meta"))])
    added = with_causes(plan(given), given, Past(bare, given.expressions, given.desired, then, then))
    assert (added.changes[0].causes, added.inexact) == (("source",), "")
    now = replace(given, catalog=bare, desired=then)
    removed = with_causes(plan(now), now, Past(given.catalog, given.expressions, then, then, then))
    assert told(removed.changes[0]) == [("properties.meta", {"tier": 1, "owner": "they"}, {"tier": 1, "owner": "we"})]
    assert (removed.changes[0].causes, removed.inexact) == (("catalog", "drift"), "")


def test_a_list_in_the_way_is_said() -> None:
    """Nothing can be left alone in it: it is written as it is mapped."""
    given = facts({"owner": [{"name": "we"}]}, have(title="A"), entry(title="A"), "properties.meta.owner.name")
    (problem,) = plan(given).diagnostics
    assert (problem.code, problem.severity.value) == ("PD618", "warning")
    assert (
        problem.detail == "properties.meta.owner.name of service/a: a list stands in the way, and is written as mapped"
    )


def test_what_the_blueprint_takes_no_more_is_said_to_come_from_port() -> None:
    """A value that would be refused for what is kept in it is held, as any other."""
    closed = service(properties={"tier": {"type": "number"}}, additionalProperties=False)
    port = have(title="A", meta={"tier": 1, "owner": "they"})
    made = plan(facts({"tier": 2}, port, entry(title="A", meta={"tier": 1}), of=closed))
    assert (made.changes, len(made.held)) == ((), 1)
    (problem,) = made.diagnostics
    assert problem.code == "PD610"
    assert "left alone" in problem.hint
