"""The same record under another identifier: which is whose successor, and what a plan makes of it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from pdsync.commands import expressions
from pdsync.model import Expression, Lifecycle, Portion
from pdsync.plan import Facts
from pdsync.plan.rename import TO_NOTHING, successors
from pdsync.plan.verdict import refusal
from tests.builders import (
    HERE,
    blueprint,
    catalog,
    desired,
    entry,
    existing,
    have,
    key,
    ledger,
    plan,
    relation,
    rule,
    want,
)

if TYPE_CHECKING:
    from pdsync.model import Change, Plan, Removal

MAIN = ("properties.tier", "title")
SERVICE = blueprint()
INCIDENT = blueprint("incident", service=relation("service"))


def facts(rules: Any = None, **sides: Any) -> Facts:
    made = rules or [rule()]
    known = expressions(made)
    return Facts(
        catalog([SERVICE, INCIDENT], made, **sides.get("policy", {})),
        desired(*sides["desired"], **sides.get("more", {})),
        existing([SERVICE, INCIDENT], sides["existing"]),
        ledger(sides["ledger"], [SERVICE, INCIDENT], expressions=known),
        expressions=known,
        unproven=sides.get("unproven", {}),
    )


def renamed(**more: Any) -> Facts:
    """`old` becomes `new`: the same record of the same rule."""
    sides = {
        "desired": [want("new", tier="1", source="services/PX1")],
        "existing": {"old": have(tier="1", url="by hand")},
        "ledger": {"old": entry(tier="1", source="services/PX1")},
    }
    return facts(**{**sides, **more})


def changes(made: Plan) -> dict[str, Change]:
    return {str(c.key): c for c in made.changes}


def test_the_two_halves_are_one_change() -> None:
    """Created with all that the old one holds, removed after it, counted as one rename and as nothing else."""
    made = plan(renamed())
    new, old = changes(made)["service/new"], changes(made)["service/old"]
    assert (new.action, new.twin, old.action, old.twin) == ("create", "old", "delete", "new")
    assert {f.path: (f.before, f.after) for f in new.fields} == {
        "properties.tier": ("1", "1"),
        "properties.url": ("by hand", "by hand"),
    }
    assert new.ledger is not None
    assert new.ledger.fields == {"properties.tier": "1"}
    assert old.after == (new.n,)
    assert made.renames == {new.n: old.n}
    assert (made.summary.rename, made.summary.create, made.summary.delete) == (1, 0, 0)


def test_a_rename_is_no_loss_to_any_guard() -> None:
    """Neither an incomplete list nor a limit stands in its way: the record is there."""
    assert plan(renamed(unproven={rule().id: "cut"})).summary.rename == 1
    names = [f"s{n}" for n in range(40)]
    many = facts(
        desired=[want(f"new-{n}", tier="1", source=f"services/{n}") for n in names],
        existing={n: have(tier="1") for n in names},
        ledger={n: entry(tier="1", source=f"services/{n}") for n in names},
    )
    made = plan(many)
    assert (made.summary.rename, made.withheld) == (40, ())


def test_a_protected_entity_stays_and_its_successor_comes_beside_it() -> None:
    """Then it is no rename: the plan shows a create, and the delete as withheld."""
    made = plan(renamed(policy={"protect": ("service/old",)}))
    assert [(c.action, c.twin, [f.before for f in c.fields]) for c in made.changes] == [("create", "", [None, None])]
    assert ([w.reason for w in made.withheld], made.summary.create, made.summary.rename) == (["protected"], 1, 0)


def test_without_deletes_there_is_no_rename() -> None:
    """`--no-delete` holds for the old half too."""
    made = plan(renamed(), no_delete=True)
    assert ([c.action for c in made.changes], len(made.withheld)) == (["create"], 1)


def test_what_somebody_else_requires_is_not_renamed_away() -> None:
    """A foreign entity that requires the old one keeps it, by name."""
    needs = blueprint("incident", service=relation("service", required=True))
    given = renamed(existing={"old": have(tier="1"), "incident/theirs": have(to_service="old")})
    given = replace(given, catalog=catalog([SERVICE, needs], [rule()]))
    given = replace(given, existing=replace(given.existing, blueprints={"service": SERVICE, "incident": needs}))
    made = plan(given)
    assert [w.reason for w in made.withheld] == ["required by incident/theirs"]
    assert made.summary.rename == 0
    (told,) = refusal(made)
    assert (told.code, told.detail) == ("PD632", "service/old is required by incident/theirs")


def test_what_a_person_made_is_released_and_not_deleted() -> None:
    """The old one stays in Port without what we set, once the new one is there."""
    made = plan(renamed(ledger={"old": entry("adopted", tier="1", source="services/PX1")}))
    new, old = changes(made)["service/new"], changes(made)["service/old"]
    assert (new.action, old.action, old.twin, old.after) == ("create", "release", "new", (new.n,))
    assert made.summary.rename == 0


def test_a_successor_that_is_there_already_makes_a_proven_delete() -> None:
    """As after a crash between the two halves: the old one goes, by no limit, though its list is not whole."""
    names = [f"s{n}" for n in range(40)]
    both = [*names, *(f"new-{n}" for n in names)]
    given = facts(
        desired=[want(f"new-{n}", tier="1", source=f"services/{n}") for n in names],
        existing={n: have(tier="1") for n in both},
        ledger={n: entry(tier="1", source=f"services/{n.removeprefix('new-')}") for n in both},
        unproven={rule().id: "cut"},
    )
    made = plan(given)
    assert (made.summary.delete, made.withheld) == (40, ())


def test_the_old_one_waits_for_a_successor_that_is_held() -> None:
    """A successor that must not be touched (policy.adopt is refuse) keeps the old one from going."""
    made = plan(renamed(existing={"old": have(tier="1"), "new": have(tier="theirs")}, policy={"adopt": "refuse"}))
    assert made.changes == ()
    assert {str(h.key): h.reason for h in made.held} == {
        "service/new": "it exists in Port, is not ours and differs; policy.adopt is refuse",
        "service/old": "its record makes service/new now, which is held",
    }


def test_out_of_scope_the_old_half_does_not_happen_alone() -> None:
    """`--only service/old` does not delete what its successor, out of scope, does not replace."""
    assert plan(renamed(), only=("service/old",)).changes == ()
    assert [c.action for c in plan(renamed(), only=("service/new",)).changes] == ["create"]


def test_what_is_ours_and_not_listed_follows() -> None:
    """An incident of ours that could not be mapped points at the new service; somebody else's is not touched."""
    incidents = rule("incident", ("relations.service",), kind="incidents")
    given = facts(
        [rule(), incidents],
        desired=[want("new", tier="1", source="services/PX1")],
        existing={
            "old": have(tier="1"),
            "incident/ours": have(to_service="old"),
            "incident/theirs": have(to_service="old"),
        },
        ledger={
            "old": entry(tier="1", source="services/PX1"),
            "incident/ours": entry(to_service="old", source="incidents/i", rules=(incidents.id,)),
        },
        more={"failed": {"incidents/i": "broken"}},
    )
    made = plan(given)
    follows, old = changes(made)["incident/ours"], changes(made)["service/old"]
    assert (follows.action, follows.reason) == ("update", "follows")
    assert [(f.path, f.before, f.after) for f in follows.fields] == [("relations.service", "old", "new")]
    assert follows.ledger is not None
    assert follows.ledger.fields == {"relations.service": "new"}
    assert old.after == tuple(sorted((changes(made)["service/new"].n, follows.n)))
    assert "incident/theirs" not in changes(made)


def test_what_is_left_alone_keeps_its_value_under_the_new_identifier() -> None:
    """Not the mapped one, which is only written once: the entity is still the same one."""
    left = rule(lifecycle=Lifecycle(ignore_changes=("properties.tier",)))
    given = renamed(existing={"old": have(tier="by hand")}, ledger={"old": entry(source="services/PX1")}, rules=[left])
    new = changes(plan(given))["service/new"]
    assert [(f.path, f.after) for f in new.fields] == [("properties.tier", "by hand")]
    assert new.ledger is not None
    assert new.ledger.fields == {}


def test_relations_to_what_is_renamed_or_goes_are_carried_over_right() -> None:
    """What others related the old one to: to the new identifier if that is renamed, to nothing if it is deleted."""
    node = blueprint("node", next=relation("node"), many=relation("node", many=True))
    made_by = rule("node", ("title",), kind="nodes")

    def wanted(name: str) -> Any:
        return want(name.upper(), "node", title=name.upper(), source=f"nodes/{name}", rules=(made_by.id,))

    held = {
        "node/a": have(title="A", to_next="a", to_many=["a", "b", "c", "d"]),
        "node/b": have(title="B", to_next="c"),
        "node/c": have(title="C"),
        "node/d": have(title="D"),
    }
    owned = {f"node/{n}": entry(title=n.upper(), source=f"nodes/{n}", rules=(made_by.id,)) for n in "abc"}
    given = Facts(
        catalog([node], [made_by]), desired(wanted("a"), wanted("b")), existing([node], held), ledger(owned, [node])
    )
    made = changes(plan(given))
    assert {f.path: f.after for f in made["node/A"].fields} == {
        "title": "A",
        "relations.next": "A",
        "relations.many": ["A", "B", "d"],
    }
    assert {f.path: f.after for f in made["node/B"].fields} == {"title": "B"}


def test_a_relation_to_nothing_is_not_carried_over_and_that_is_said() -> None:
    """Port may hold one that points at what is no longer there, and would refuse it as part of a new entity."""
    node = blueprint("node", next=relation("node"), many=relation("node", many=True), far=relation("elsewhere"))
    made_by = rule("node", ("title",), kind="nodes")
    held = {
        "node/a": have(title="A", to_next="lost", to_many=["a", "lost"], to_far="unknown"),
        "node/ours": have(to_many=["a", "lost"]),
    }
    owned = {
        "node/a": entry(title="A", source="nodes/a", rules=(made_by.id,)),
        "node/ours": entry(to_many=["a", "lost"], source="nodes/f", rules=(made_by.id,)),
    }
    given = Facts(
        catalog([node], [made_by]),
        desired(want("A", "node", title="A", source="nodes/a", rules=(made_by.id,)), failed={"nodes/f": "broken"}),
        existing([node], held),
        ledger(owned, [node]),
    )
    made = changes(plan(given))
    assert {f.path: (f.before, f.after, f.note) for f in made["node/A"].fields if f.path != "title"} == {
        "relations.far": ("unknown", "unknown", "carried over"),
        "relations.many": (["A", "lost"], ["A"], TO_NOTHING),
        "relations.next": ("lost", None, TO_NOTHING),
    }
    assert [(f.path, f.after) for f in made["node/ours"].fields] == [("relations.many", ["A"])]


# --- successors


def test_several_entities_of_one_record_are_told_apart_by_their_values() -> None:
    """Only when the expression of the identifier is another one: else an item went and another one came."""
    items = rule(items=Expression(".parts", HERE))
    tiers = {"a": "1", "b": "2", "c": "3", "d": "3"}
    given = facts(
        [items],
        desired=[want(n.upper(), tier=tiers[n], source="services/P") for n in "abc"],
        existing={n: have() for n in tiers},
        ledger={n: entry(tier=tier, source="services/P") for n, tier in tiers.items()},
    )
    assert successors(given) == {}
    now = [replace(items, identifier=Expression(".other", HERE))]
    changed = replace(given, catalog=catalog([SERVICE], now), expressions=expressions(now))
    assert successors(changed) == {key("a"): key("A"), key("b"): key("B")}


def test_another_record_rule_or_blueprint_is_no_successor() -> None:
    """Whatever the values are."""
    owned = {"old": entry(tier="1", source="services/PX1")}
    for other in (
        want("new", tier="1", source="services/PX2"),
        want("new", tier="1", source="services/PX1", rules=("mappings/test.yaml#services[1]",)),
        want("new", "incident", tier="1", source="services/PX1"),
        want("new", tier="1", source=""),
    ):
        assert successors(facts(desired=[other], existing={}, ledger=owned)) == {}


def test_a_record_in_trouble_has_no_successor() -> None:
    """What is held because records collide is not what anything becomes."""
    assert successors(renamed(desired=[], more={"held": {key("new"): "claimed by two"}})) == {}


@pytest.mark.parametrize("end", ["release", "forget", "delete", None])
@pytest.mark.parametrize("origin", ["created", "integration", "adopted"])
def test_a_rename_is_no_removal(origin: str, end: Removal | None) -> None:
    """What a lifecycle says of the end is about what no record makes any more; what others made is never deleted so."""
    left = rule(lifecycle=Lifecycle(end))
    made = plan(renamed(rules=[left], ledger={"old": entry(origin, tier="1", source="services/PX1", on_remove=end)}))
    gone = changes(made)["service/old"].action
    assert gone == ("delete" if origin != "adopted" else end or "release")
    assert made.summary.rename == (gone == "delete")
    if gone != "forget":
        (url,) = (field for field in changes(made)["service/new"].fields if field.path == "properties.url")
        assert url.after == "by hand"


def test_of_records_that_part_the_one_that_gave_most_takes_the_old_one_along() -> None:
    """What points at the old one points at that one; the plan says which it is, and what comes besides."""
    one, other = rule(), rule(paths=("properties.url",), kind="policies")
    portions = (Portion("policies/P", (other.id,), ("properties.url",)), Portion("services/S", (one.id,), MAIN))
    last = entry(title="A", tier="1", url="u", source="policies/P", rules=(other.id, one.id), portions=portions)
    points = entry(to_service="old", source="incidents/I", rules=("mappings/test.yaml#incidents[0]",), protect=True)
    given = facts(
        rules=[one, other],
        desired=[
            want("b", title="A", tier="1", source="services/S"),
            want("c", url="u", source="policies/P", rules=(other.id,)),
        ],
        existing={"old": have(title="A", tier="1", url="u"), "incident/i": have(to_service="old")},
        ledger={"old": last, "incident/i": points},
    )
    assert successors(given) == {key("old"): key("b")}
    made = plan(given)
    told = changes(made)
    assert [(f.path, f.after) for f in told["incident/i"].fields] == [("relations.service", "b")]
    assert (told["service/b"].twin, told["service/c"].twin, made.summary.rename) == ("old", "", 1)
    (problem,) = (each for each in made.diagnostics if each.code == "PD619")
    assert problem.detail == (
        "service/old becomes service/b, which gets what people set on it and what points at it; "
        "besides it comes service/c"
    )
    assert problem.records == ("policies/P", "services/S")
