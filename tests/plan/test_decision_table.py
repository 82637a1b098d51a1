"""Every row of DESIGN's decision table, and the special cases that are data."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from pdsync.commands import expressions
from pdsync.model import Blueprint, Change, DesiredEntity, ExistingEntity, LedgerEntry, Lifecycle, Plan, Removal
from pdsync.plan import Facts
from pdsync.plan.verdict import refusal
from tests.builders import blueprint, catalog, desired, entry, existing, have, key, ledger, plan, relation, rule, want

SERVICE = blueprint()


def facts(
    wanted: DesiredEntity | None, held: ExistingEntity | None, applied: LedgerEntry | None, **policy: Any
) -> Facts:
    return Facts(
        catalog=catalog([SERVICE], [rule()], **policy),
        desired=desired(*([wanted] if wanted else [])),
        existing=existing([SERVICE], {"a": held} if held else {}),
        ledger=ledger({"a": applied} if applied else {}, [SERVICE]),
    )


def only(made: Plan) -> Change:
    assert len(made.changes) == 1, made.changes
    return made.changes[0]


ROWS = [
    # desired, existing, applied, action, reason
    ("new", want("a", tier="1"), None, None, "create", "new"),
    ("gone from Port", want("a", tier="1"), None, entry(tier="1"), "create", "gone-from-port"),
    ("equal, not ours", want("a", tier="1"), have(tier="1"), None, "adopt", "equal"),
    ("equal, applied differs", want("a", tier="1"), have(tier="1"), entry(tier="0"), "adopt", "caught-up"),
    ("as it should be", want("a", tier="1"), have(tier="1"), entry(tier="1"), None, ""),
    ("identifier for want of a title", want("a", title=None), have(title="a"), entry(), None, ""),
    ("another title", want("a", title=None), have(title="b"), entry(title="b"), "update", "changed"),
    ("changed", want("a", tier="2"), have(tier="1"), entry(tier="1"), "update", "changed"),
    ("differs, not ours", want("a", tier="2"), have(tier="1"), None, "update", "taken-over"),
    ("ours, unwanted", None, have(tier="1"), entry(tier="1"), "delete", "gone-from-source"),
    ("adopted, unwanted", None, have(tier="1"), entry("adopted", tier="1"), "release", "gone-from-source"),
    ("gone on both sides", None, None, entry(tier="1"), "forget", "gone-from-port"),
    ("not ours", None, have(tier="1"), None, None, ""),
]


@pytest.mark.parametrize(
    ("wanted", "held", "applied", "action", "reason"), [r[1:] for r in ROWS], ids=[r[0] for r in ROWS]
)
def test_row(
    wanted: DesiredEntity | None,
    held: ExistingEntity | None,
    applied: LedgerEntry | None,
    action: str | None,
    reason: str,
) -> None:
    """Each row gives its action and its reason."""
    given = facts(wanted, held, applied)
    made = plan(_settled_expressions(given))
    if action is None:
        assert made.changes == ()
    else:
        assert (action, reason) == (only(made).action, only(made).reason)


def _settled_expressions(given: Facts) -> Facts:
    """As after an apply: the ledger knows the expressions, so that nothing looks new."""
    known = expressions(given.catalog.rules)
    return replace(given, expressions=known, ledger=replace(given.ledger, expressions=known))


def test_a_removed_mapping_is_the_catalogs_doing() -> None:
    """An entity whose rule is gone is deleted as unmapped, by the catalog."""
    given = facts(None, have(tier="1"), entry(tier="1", rules=("mappings/old.yaml#services[0]",)))
    change = only(plan(given))
    assert (change.action, change.reason, change.cause) == ("delete", "unmapped", "catalog")


def test_drift_is_named_per_field() -> None:
    """A field that somebody edited is drift; one that PagerDuty changed is not."""
    given = facts(want("a", tier="1", url="new"), have(tier="edited", url="old"), entry(tier="1", url="old"))
    given = _settled_expressions(
        Facts(
            catalog([SERVICE], [rule(paths=("properties.tier", "properties.url"))]),
            given.desired,
            given.existing,
            given.ledger,
        )
    )
    causes = {f.path: (f.cause, f.drift) for f in only(plan(given)).fields}
    assert causes == {"properties.tier": ("drift", True), "properties.url": ("source", False)}


@pytest.mark.parametrize("held", ["theirs", "new"])
def test_what_was_in_a_field_before_it_was_mapped_is_nobodys_drift(held: str) -> None:
    """Nor is it when the mapping gives null, or just what is there."""
    for wanted in ("new", None):
        given = facts(want("a", tier="1", url=wanted), have(tier="1", url=held), entry(tier="1"))
        both = catalog([SERVICE], [rule(paths=("properties.tier", "properties.url"))])
        given = replace(given, catalog=both, expressions=expressions(both.rules))
        change = only(plan(replace(given, ledger=replace(given.ledger, expressions=expressions([rule()])))))
        assert change.causes == ("catalog",)
        assert all(field.causes == ("catalog",) and not field.drift for field in change.fields)


def test_a_new_expression_is_the_catalogs_doing() -> None:
    """A field whose expression is not the one last applied changed because of the catalog, and says where."""
    given = facts(want("a", tier="2"), have(tier="1"), entry(tier="1"))
    field = only(plan(replace(given, expressions=expressions(given.catalog.rules)))).fields[0]
    assert (field.cause, field.origin) == ("catalog", "catalog/mappings/test.yaml:3:7")


def test_null_equals_absent() -> None:
    """A mapped null and a property that Port does not hold are the same."""
    given = facts(want("a", tier="1", url=None), have(tier="1"), entry(tier="1"))
    assert plan(given).changes == ()


def test_true_is_not_one() -> None:
    """Python takes them for equal, also inside a value: a part of a blueprint is written, and the ledger catches up."""
    tags, (one, true) = rule(paths=("properties.tags",)), (_defaulting_to([value]) for value in (1, True))
    change = only(plan(Facts(catalog([true], []), desired(), existing([one], {}), ledger({}, [one]))))
    assert (change.action, [f.path for f in change.fields]) == ("update", ["schema.properties.tags"])
    assert only(plan(Facts(catalog([true], []), desired(), existing([true], {}), ledger({}, [one])))).action == "adopt"
    there, last = existing([true], {"a": have(tags=[True])}), ledger({"a": entry(tags=[1])}, [true])
    assert only(plan(Facts(catalog([true], [tags]), desired(want("a", tags=[True])), there, last))).action == "adopt"


def _defaulting_to(value: list[Any]) -> Blueprint:
    parts = {"properties": {"tags": {"type": "array", "default": value}}, "required": []}
    return Blueprint("service", {**SERVICE.definition, "schema": parts})


def test_an_unmapped_property_is_not_compared() -> None:
    """What no mapping speaks of may be anything in Port."""
    given = facts(want("a", tier="1"), have(tier="1", url="by hand"), entry(tier="1"))
    assert plan(given).changes == ()


def test_a_field_that_leaves_the_mapping_is_cleared() -> None:
    """What the same rule wrote before and writes no more is set to null."""
    given = facts(want("a", tier="1"), have(tier="1", url="ours"), entry(tier="1", url="ours"))
    assert [(f.path, f.before, f.after, f.cause) for f in only(plan(given)).fields] == [
        ("properties.url", "ours", None, "catalog")
    ]


def test_a_record_that_moved_on_to_another_rule_keeps_what_the_first_wrote() -> None:
    """A resolved incident keeps the assignees that the mapping of open incidents wrote."""
    open_rule = rule(paths=("properties.tier", "properties.url"))
    closed_rule = rule(paths=("properties.tier",), id="mappings/test.yaml#services[1]")
    wanted = want("a", tier="1", rules=(closed_rule.id,))
    given = Facts(
        catalog([SERVICE], [open_rule, closed_rule]),
        desired(wanted),
        existing([SERVICE], {"a": have(tier="1", url="kept")}),
        ledger({"a": entry(tier="1", url="kept")}, [SERVICE]),
    )
    change = only(plan(given))
    assert (change.action, change.ledger and change.ledger.fields["properties.url"]) == ("adopt", "kept")


def test_an_unknown_field_keeps_ports_value() -> None:
    """A value that could not be found out is neither written nor cleared, and stays owned."""
    wanted = want("a", tier="2", unknown={"properties.url": "quota"})
    change = only(plan(facts(wanted, have(tier="1", url="ours"), entry(tier="1", url="ours"))))
    assert [f.path for f in change.fields] == ["properties.tier"]
    assert change.ledger is not None
    assert change.ledger.fields["properties.url"] == "ours"


def test_replacing_mappings_clear_what_they_do_not_map() -> None:
    """With enableMergeEntity false every property that is not mapped is to be empty."""
    given = Facts(
        catalog([SERVICE], [rule(paths=("properties.tier",), merge=False)]),
        desired(want("a", tier="1")),
        existing([SERVICE], {"a": have(tier="1", url="by hand")}),
        ledger({"a": entry(tier="1")}, [SERVICE]),
    )
    told = [(f.path, f.after, f.note) for f in only(plan(given)).fields]
    assert told == [("properties.url", None, "not mapped, and enableMergeEntity is false")]


def test_adoption_can_be_refused() -> None:
    """With policy.adopt refuse an entity that differs and is not ours is left as it is, and named."""
    made = plan(facts(want("a", tier="2"), have(tier="1"), None, adopt="refuse"))
    assert (made.changes, [str(h.key) for h in made.held]) == ((), ["service/a"])


def test_what_was_adopted_is_deleted_only_on_request() -> None:
    """policy.on_remove delete turns a release into a delete."""
    assert only(plan(facts(None, have(tier="1"), entry("adopted", tier="1"), on_remove="delete"))).action == "delete"


def test_a_failed_record_keeps_its_entity() -> None:
    """A record that could not be mapped gives no entity, and what came from it is not deleted."""
    given = facts(None, have(tier="1"), entry(tier="1", source="services/a"))
    given = Facts(given.catalog, desired(failed={"services/a": "no identifier"}), given.existing, given.ledger)
    made = plan(given)
    assert (made.changes, made.summary.held) == ((), 1)


def test_colliding_keys_are_left_alone() -> None:
    """A key that two records claim is neither updated nor deleted."""
    given = facts(None, have(tier="1"), entry(tier="1"))
    given = Facts(given.catalog, desired(held={want("a").key: "two records"}), given.existing, given.ledger)
    made = plan(given)
    assert (made.changes, [h.reason for h in made.held]) == ((), ["two records"])


@pytest.mark.parametrize("end", [None, "release", "forget"])
def test_an_incomplete_collection_proves_nothing(end: Removal | None) -> None:
    """Whatever would end of a kind whose listing is not whole is withheld, with the reason."""
    mapped = rule(lifecycle=Lifecycle(on_remove=end))
    given = replace(
        facts(None, have(tier="1"), entry(tier="1")),
        catalog=catalog([SERVICE], [mapped]),
        unproven={mapped.id: "the listing was cut"},
    )
    made = plan(given)
    assert made.changes == ()
    assert [w.reason for w in made.withheld] == ["absence is not proven"]
    assert [(g.name, g.detail) for g in made.guards] == [("absence-unproven", "the listing was cut")]


def test_protected_entities_stay_even_when_the_policy_is_gone() -> None:
    """Protection is kept in the ledger; the plan tells which of the two it is."""
    made = plan(facts(None, have(tier="1"), entry(tier="1", protect=True)))
    assert [w.reason for w in made.withheld] == ["protected by an earlier policy, until `pdsync state unprotect`"]
    made = plan(facts(None, have(tier="1"), entry(tier="1"), protect=("service/*",)))
    assert [w.reason for w in made.withheld] == ["protected"]


def test_a_protected_blueprint_stays() -> None:
    """By its name alone, also once the policy has forgotten; `service/*` means what is in it."""
    known = ledger({}, [SERVICE])
    gone = Facts(catalog([], [], protect=("service",)), desired(), existing([SERVICE], {}), known)
    assert [w.reason for w in plan(gone).withheld] == ["protected"]
    assert [c.action for c in plan(replace(gone, catalog=catalog([], [], protect=("service/*",)))).changes] == [
        "delete"
    ]
    kept = plan(replace(gone, catalog=catalog([SERVICE], [], protect=("service",))))
    (change,) = kept.changes
    assert (change.action, change.ledger and change.ledger.protect) == ("adopt", True)
    assert change.ledger is not None
    forgot = replace(gone, catalog=catalog([], []), ledger=replace(known, blueprints={"service": change.ledger}))
    assert [w.reason for w in plan(forgot).withheld] == [
        "protected by an earlier policy, until `pdsync state unprotect`"
    ]


@pytest.mark.parametrize(("incident", "guards"), [("j", ["empty-desired"]), ("i", [])])
def test_what_replaces_all_that_is_owned_is_another_account(incident: str, guards: list[str]) -> None:
    """Where no record is left of those that all was made from, they do not go at once, whatever else there is."""
    rules = [rule(), rule("incident", kind="incidents")]
    blueprints = [SERVICE, blueprint("incident")]
    owned = {name: entry(tier="1") for name in ("a", "b", "incident/i")}
    now = want("c", tier="1"), want(incident, "incident", rules=(rules[1].id,))
    there = existing(blueprints, {name: have(tier="1") for name in owned})
    made = plan(Facts(catalog(blueprints, rules), desired(*now), there, ledger(owned, blueprints)))
    assert [guard.name for guard in made.guards] == guards
    assert len(made.withheld) == 2 * len(guards)


OURS, THEIRS = "acme.pagerduty.com", "other.pagerduty.com"


@pytest.mark.parametrize(
    ("made_from", "read", "allowed", "withheld"),
    [
        (OURS, THEIRS, None, [("another-account", "--allow-deletes service=1")]),
        (OURS, THEIRS, 1, []),
        (OURS, OURS, None, []),
        (OURS, "", None, []),
        ("", THEIRS, None, []),
    ],
)
def test_nothing_is_gone_because_another_account_does_not_have_it(
    made_from: str, read: str, allowed: int | None, withheld: list[tuple[str, str]]
) -> None:
    """Even a single delete beside much that stays waits, once both accounts are known."""
    owned = {name: entry(tier="1") for name in ("a", "b", "c")}
    there = existing([SERVICE], {name: have(tier="1") for name in owned})
    told = replace(ledger(owned, [SERVICE]), account=made_from)
    given = Facts(catalog([SERVICE], [rule()]), desired(want("b", tier="1"), want("c", tier="1")), there, told)
    made = plan(replace(given, account=read), allow_deletes={} if allowed is None else {"service": allowed})
    assert [(guard.name, guard.flag) for guard in made.guards] == withheld
    assert (len(made.withheld), made.summary.delete) == (len(withheld), 1 - len(withheld))


@pytest.mark.parametrize("kind", ["incidents", "oncalls"])
def test_what_comes_and_goes_may_all_be_replaced(kind: str) -> None:
    """The open incidents of yesterday, or who was on call then, tell nothing of the account."""
    mapped = rule(kind=kind)
    owned = {name: entry(tier="1", source=f"{kind}/{name}", rules=(mapped.id,)) for name in ("a", "b")}
    there = existing([SERVICE], {name: have(tier="1") for name in owned})
    made = plan(Facts(catalog([SERVICE], [mapped]), desired(want("c", tier="1")), there, ledger(owned, [SERVICE])))
    assert (made.guards, made.summary.delete) == ((), 2)


def test_deletes_above_both_limits_are_withheld_until_the_number_is_named() -> None:
    """Above 10 and above 2 %, deletes of a blueprint wait for --allow-deletes with their exact number."""
    names = [f"s{n}" for n in range(11)]
    given = Facts(
        catalog([SERVICE], [rule()]),
        desired(),
        existing([SERVICE], {n: have(tier="1") for n in names}),
        ledger({n: entry(tier="1") for n in names}, [SERVICE]),
    )
    made = plan(given)
    assert (made.summary.delete, made.summary.withheld, made.guards[0].flag) == (0, 11, "--allow-deletes service=11")
    assert plan(given, allow_deletes={"service": 11}).summary.delete == 11
    mistaken = plan(given, allow_deletes={"service": 12})
    assert (mistaken.summary.delete, mistaken.guards[0].detail.endswith("; 12 were allowed")) == (0, True)


def test_ten_deletes_pass() -> None:
    """The limit is above 10: ten deletes of eleven are planned."""
    names = [f"s{n}" for n in range(11)]
    given = Facts(
        catalog([SERVICE], [rule()]),
        desired(want("s10", tier="1")),
        existing([SERVICE], {n: have(tier="1") for n in names}),
        ledger({n: entry(tier="1", source=f"services/{n}") for n in names}, [SERVICE]),
    )
    assert plan(given).summary.delete == 10


def test_an_entity_that_others_require_is_not_deleted() -> None:
    """A required relation of an entity that stays withholds the delete of its target, by name."""
    incident = blueprint("incident", service=relation("service", required=True))
    given = Facts(
        catalog([SERVICE, incident], [rule()]),
        desired(),
        existing([SERVICE, incident], {"a": have(tier="1"), "incident/i": have(to_service="a")}),
        ledger({"a": entry(tier="1")}, [SERVICE, incident]),
    )
    assert [w.reason for w in plan(given).withheld] == ["required by incident/i"]


def test_a_missing_relation_target_is_created_as_a_stub_and_stays() -> None:
    """CreateMissingRelatedEntities shows each stub as its own create, before what points at it; the stub is kept."""
    incident = blueprint("incident", service=relation("service"))
    wanted = want("i", "incident", to_service="a")
    base = catalog([SERVICE, incident], [rule("incident", ("relations.service",))])
    made = plan(Facts(base, desired(wanted), existing([SERVICE, incident], {}), ledger({}, [SERVICE, incident])))
    assert [(str(c.key), c.reason, c.after) for c in made.changes] == [
        ("service/a", "stub", ()),
        ("incident/i", "new", (1,)),
    ]
    entries = {str(c.key): c.ledger for c in made.changes if c.ledger}
    again = Facts(
        base,
        desired(wanted),
        existing([SERVICE, incident], {"a": have(), "incident/i": have(to_service="a")}),
        ledger(entries, [SERVICE, incident]),
    )
    assert plan(again).changes == ()


@pytest.mark.parametrize(
    "why",
    [
        {"desired": desired(held={key("incident/i"): "claimed by two"})},
        {"desired": desired(failed={"incidents/i": "broken"})},
        {"desired": desired(want("i", "incident", source="incidents/i", unknown={"relations.service": "not read"}))},
        {"unproven": {"mappings/test.yaml#incidents[0]": "not read"}},
        {"protect": True},
    ],
    ids=["held", "failed", "unknown", "unproven", "protected"],
)
def test_a_stub_stays_while_something_that_is_left_as_it_is_points_at_it(why: dict[str, Any]) -> None:
    """Port would empty the relation of what nobody wanted to touch."""
    incident = blueprint("incident", service=relation("service"))
    made_by = rule("incident", ("relations.service",), kind="incidents")
    owned = {
        "a": entry(source="", rules=(made_by.id,)),
        "incident/i": entry(to_service="a", source="incidents/i", rules=(made_by.id,), protect="protect" in why),
    }
    port = existing([SERVICE, incident], {"a": have(), "incident/i": have(to_service="a")})
    of = catalog([SERVICE, incident], [made_by])
    book = ledger(owned, [SERVICE, incident])
    made = plan(Facts(of, why.get("desired", desired()), port, book, unproven=why.get("unproven", {})))
    assert [str(c.key) for c in made.changes if c.action == "delete"] == []
    assert "service/a" not in [str(w.key) for w in made.withheld]


def test_a_stub_stays_while_the_delete_of_what_points_at_it_is_withheld() -> None:
    """Here by number, which is known last; once that goes, the stub goes with it."""
    incident = blueprint("incident", service=relation("service"))
    made_by = rule("incident", ("relations.service",), kind="incidents")
    named = {f"incident/{n}": entry(to_service="a", source=f"incidents/{n}", rules=(made_by.id,)) for n in range(20)}
    port = {name: have(to_service="a") for name in named}
    given = Facts(
        catalog([SERVICE, incident], [made_by]),
        desired(),
        existing([SERVICE, incident], {"a": have(), **port}),
        ledger({"a": entry(source="", rules=(made_by.id,)), **named}, [SERVICE, incident]),
    )
    made = plan(given)
    assert made.changes == ()
    told = "service/a is pointed at by incident/0, incident/1, incident/10, incident/11, incident/12 and 15 more"
    assert (told, "others point at what would be deleted") in {(d.detail, d.summary) for d in refusal(made)}
    assert len(plan(given, allow_deletes={"incident": 20}).changes) == 21


def test_a_missing_target_without_stubs_is_an_error() -> None:
    """With createMissingRelatedEntities false a dangling relation is named with its record."""
    incident = blueprint("incident", service=relation("service"))
    given = Facts(
        catalog([SERVICE, incident], [rule("incident", ("relations.service",), create_missing_related=False)]),
        desired(want("i", "incident", to_service="a")),
        existing([SERVICE, incident], {}),
        ledger({}, [SERVICE, incident]),
    )
    assert [(d.code, d.records) for d in plan(given).diagnostics] == [("PD601", ("services/i",))]
    assert plan(given, only=("service",)).diagnostics == ()


def test_relation_cycles_are_written_in_two_passes() -> None:
    """Two new entities that point at each other: the first is written without its relation, which follows."""
    node = blueprint("node", next=relation("node"))
    made = plan(
        Facts(
            catalog([node], [rule("node", ("relations.next",))]),
            desired(want("a", "node", to_next="b"), want("b", "node", to_next="a")),
            existing([node], {}),
            ledger({}, [node]),
        )
    )
    assert [(str(c.key), [f.deferred for f in c.fields], c.after) for c in made.changes] == [
        ("node/a", [True], ()),
        ("node/b", [False], (1,)),
    ]


def test_deletes_go_against_relations() -> None:
    """What points is deleted before what it points at."""
    incident = blueprint("incident", service=relation("service", required=True))
    made = plan(
        Facts(
            catalog([SERVICE, incident], [rule(), rule("incident", ("relations.service",), kind="incidents")]),
            desired(),
            existing([SERVICE, incident], {"a": have(), "incident/i": have(to_service="a")}),
            ledger({"a": entry(), "incident/i": entry(to_service="a")}, [SERVICE, incident]),
        )
    )
    assert [(str(c.key), c.after) for c in made.changes] == [("incident/i", ()), ("service/a", (1,))]


def test_a_blueprint_that_would_still_hold_entities_is_not_deleted() -> None:
    """A blueprint that left the catalog goes only with its last entity."""
    given = Facts(catalog([], []), desired(), existing([SERVICE], {"x": have(tier="1")}), ledger({}, [SERVICE]))
    made = plan(given)
    assert (made.changes, [w.reason for w in made.withheld]) == ((), ["it would still hold 1 entity"])


def test_foreign_parts_of_a_blueprint_stay() -> None:
    """A property that others added to a blueprint of ours is neither compared nor removed."""
    theirs = blueprint()
    definition = dict(theirs.definition)
    definition["schema"] = {"properties": {**theirs.properties, "extra": {"type": "string"}}, "required": []}
    given = Facts(
        catalog([SERVICE], [rule()]),
        desired(),
        existing([Blueprint("service", definition)], {}),
        ledger({}, [SERVICE]),
    )
    assert plan(given).changes == ()


def test_scope_limits_what_is_planned() -> None:
    """--only and --exclude take globs over keys and blueprints."""
    given = Facts(
        catalog([SERVICE], [rule()]),
        desired(want("a", tier="1"), want("b", tier="1")),
        existing([SERVICE], {}),
        ledger({}, [SERVICE]),
    )
    assert [str(c.key) for c in plan(given, only=("service/a",)).changes] == ["service/a"]
    assert [str(c.key) for c in plan(given, exclude=("*/b",)).changes] == ["service/a"]


def test_blueprints_are_deleted_before_those_they_relate_to() -> None:
    """Port refuses to delete a blueprint that another one relates to."""
    incident = blueprint("incident", service=relation("service"))
    made = plan(Facts(catalog([], []), desired(), existing([SERVICE, incident], {}), ledger({}, [SERVICE, incident])))
    assert [(c.blueprint, c.fields) for c in made.changes] == [("incident", ()), ("service", ())]


def test_blueprints_in_a_circle_lose_their_relations_first() -> None:
    """Two blueprints that relate to each other can only go once neither does."""
    one, other = blueprint("one", to=relation("other")), blueprint("other", to=relation("one"))
    made = plan(Facts(catalog([], []), desired(), existing([one, other], {}), ledger({}, [one, other])))
    assert [[(f.path, f.after) for f in c.fields] for c in made.changes] == [[("relations.to", None)]] * 2


def test_an_unreadable_kind_leaves_what_relations_need_as_it_is() -> None:
    """When services could not be listed, a service that an incident points at is neither stub nor adopted."""
    incident = blueprint("incident", service=relation("service"))
    rules = [rule(), rule("incident", ("relations.service",), kind="incidents")]
    owned = {"a": entry(tier="1"), "incident/i": entry(to_service="a", source="incidents/i", rules=(rules[1].id,))}
    given = Facts(
        catalog([SERVICE, incident], rules),
        desired(want("i", "incident", to_service="a", source="incidents/i", rules=(rules[1].id,))),
        existing([SERVICE, incident], {"a": have(tier="1"), "incident/i": have(to_service="a")}),
        ledger(owned, [SERVICE, incident]),
        unproven={rules[0].id: "services could not be read"},
    )
    made = plan(given)
    assert (made.changes, [str(w.key) for w in made.withheld]) == ((), ["service/a"])


@pytest.mark.parametrize(
    ("last", "action"),
    [
        ({"on_remove": "forget"}, "forget"),
        ({"on_remove": "release"}, "release"),
        ({"origin": "adopted"}, "release"),
        ({"protect": True}, None),
        ({}, "update"),
    ],
    ids=["forgotten", "released", "adopted", "protected", "deleted otherwise"],
)
def test_what_stays_in_any_case_is_not_kept_as_a_stub(last: dict[str, Any], action: str | None) -> None:
    """Something points at it, but it needs nobody to keep it: only what would be deleted becomes a stub instead."""
    incident = blueprint("incident", service=relation("service"))
    made_by = rule("incident", ("relations.service",), kind="incidents")
    owned = {
        "a": entry(tier="1", rules=("gone.yaml#services[0]",), **last),
        "incident/i": entry(to_service="a", source="incidents/i", rules=(made_by.id,)),
    }
    given = Facts(
        catalog([SERVICE, incident], [made_by]),
        desired(want("i", "incident", to_service="a", source="incidents/i", rules=(made_by.id,))),
        existing([SERVICE, incident], {"a": have(tier="1"), "incident/i": have(to_service="a")}),
        ledger(owned, [SERVICE, incident]),
    )
    assert [(str(c.key), c.action) for c in plan(given).changes] == [("service/a", action)] * (action is not None)


def test_a_scope_by_identifier_leaves_the_blueprint_alone() -> None:
    """`--only service/*` means entities; the blueprint is meant by its name."""
    given = Facts(catalog([], []), desired(), existing([SERVICE], {"a": have()}), ledger({"a": entry()}, [SERVICE]))
    assert [(c.target, str(c.key)) for c in plan(given, only=("service/*",)).changes] == [("entity", "service/a")]
    assert [c.target for c in plan(given, only=("service",)).changes] == ["entity", "blueprint"]


def test_a_limited_plan_makes_the_blueprints_that_its_entities_need() -> None:
    """Of new ones also those that they relate to, and so on; no others."""
    need = [
        blueprint("incident", service=relation("service")),
        blueprint("service", team=relation("team")),
        blueprint("team", lead=relation("incident")),
        blueprint("user"),
    ]
    given = Facts(catalog(need, [rule("incident")]), desired(want("i", "incident")), existing([], {}), ledger({}))
    made = plan(given, only=("incident/*",))
    assert [c.blueprint for c in made.changes if c.target == "blueprint"] == ["incident", "service", "team"]


def test_a_blueprint_that_others_relate_to_is_not_deleted() -> None:
    """Port refuses to delete a blueprint that one that stays relates to."""
    incident = blueprint("incident", service=relation("service"))
    given = Facts(
        catalog([incident], []), desired(), existing([SERVICE, incident], {}), ledger({}, [SERVICE, incident])
    )
    assert [(str(w.key), w.reason) for w in plan(given).withheld] == [("service/service", "incident relates to it")]


def test_what_makes_an_entity_come_brings_its_values() -> None:
    """Told by the expressions alone: of one that a wider selector lets in no value is said to be PagerDuty's doing."""
    given = _settled_expressions(facts(want("a", title="A", tier="1"), None, None))
    known = given.ledger.expressions
    (of,) = known

    def causes(**then: str) -> tuple[Any, ...]:
        before = {of: {**known[of], **then}}
        change = only(plan(replace(given, ledger=replace(given.ledger, expressions=before))))
        return change.action, change.causes, {f.path: f.causes for f in change.fields}

    plain, both = ("source",), ("catalog", "source")
    assert causes() == ("create", plain, {"title": plain, "properties.tier": plain})
    all_of_it = {"title": ("catalog",), "properties.tier": ("catalog",)}
    assert causes(**{"$selector": "narrower"}) == ("create", ("catalog",), all_of_it)
    louder = ("create", ("source", "catalog"), {"title": both, "properties.tier": plain})
    assert causes(title="another") == louder


def test_a_limited_plan_leaves_the_expressions_as_they_were() -> None:
    """What `--only` leaves out is still the catalog's doing in the next plan."""
    given = facts(want("a", tier="2"), have(tier="1"), entry(tier="1"))
    given = replace(given, expressions=expressions(given.catalog.rules))
    assert plan(given, only=("other",)).expressions == given.ledger.expressions
    assert plan(given).expressions == given.expressions


@pytest.mark.parametrize(
    ("scope", "told"),
    [
        ({"only": ("service/a",)}, []),
        ({"exclude": ("serv*", "team")}, ["--exclude: team: the blueprints are service"]),
        ({"only": ("servce",)}, ['--only: servce: did you mean "service"?']),
        ({"exclude": ("service/x*",)}, ["--exclude: service/x*: no entity of service has an identifier like that"]),
        ({"allow_deletes": {"services": 3}}, ['--allow-deletes: services: did you mean "service"?']),
        ({"allow_breaking": {"service.tier": 3}}, []),
    ],
)
def test_an_option_that_names_nothing_is_said(scope: dict[str, Any], told: list[str]) -> None:
    """A plan would do more, or less, than was meant."""
    given = Facts(
        catalog([SERVICE], [rule()]), desired(want("a", tier="1")), existing([SERVICE], {}), ledger({}, [SERVICE])
    )
    found = plan(given, **scope).diagnostics
    assert [f"{d.summary.partition(' ')[0]}: {d.detail}: {d.hint}" for d in found] == told
