"""What changes of blueprints do to values, and what has to be left as it is: the numbers, and the words."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from pdsync.commands import expressions
from pdsync.model import Blueprint, Existing, LedgerEntry, Lifecycle
from pdsync.normal import blueprint_fields
from pdsync.plan import Facts
from pdsync.plan.verdict import refusal
from tests.builders import catalog, desired, entry, existing, have, ledger, plan, relation, rule, want

if TYPE_CHECKING:
    from pdsync.model import Plan

LIST = {"type": "array", "items": {"type": "string"}}


def service(name: str = "service", **parts: Any) -> Blueprint:
    properties = parts.pop("properties", {})
    definition = {"identifier": name, "title": name.title(), "schema": {"properties": properties, "required": []}}
    return Blueprint(name, {**definition, "relations": {}, **parts})


def test_values_of_ours_whose_mapping_is_gone_are_no_loss() -> None:
    """The type of a property changes that is mapped no more: our values go, those of others are counted or carried."""
    before, after = service(properties={"tier": {"type": "string"}}), service(properties={"tier": {"type": "number"}})
    held = {"ours": have(title="A", tier="x"), "number": have(tier="7"), "text": have(tier="gold")}
    owned = ledger({"ours": entry(title="A", tier="x")}, [before])
    now = [rule(paths=("title",))]
    wanted = desired(want("ours", title="A"))
    owned = replace(owned, expressions=expressions([rule(paths=("title", "properties.tier"))]))
    facts = Facts(catalog([after], now), wanted, existing([before], held), owned, expressions=expressions(now))
    (guard,) = plan(facts).guards
    assert guard.detail.startswith("tier changes from string to number: 1 entity would lose a value")
    assert guard.flag == "--allow-breaking service.tier=1"
    allowed = plan(facts, allow_breaking={"service.tier": 1})
    schema, *entities = allowed.changes
    assert [f.note for f in schema.fields] == [
        "made anew, 0 values written again, 1 carried over, 1 lost, 1 of ours gone with their mapping"
    ]
    carried = {c.identifier: [f.after for f in c.fields] for c in entities if c.fields}
    assert carried == {"number": [7]}
    assert all("properties.tier" not in c.ledger.fields for c in entities if c.ledger)


def test_values_of_ours_that_another_rule_keeps_are_a_loss() -> None:
    """What an earlier rule wrote and a later one leaves as it is, nobody writes again."""
    before, after = service(properties={"tier": {"type": "string"}}), service(properties={"tier": {"type": "number"}})
    rules = [rule(paths=("title", "properties.tier")), rule(paths=("title",), id="mappings/test.yaml#services[1]")]
    held = {"a": have(title="A", tier="x")}
    owned = replace(ledger({"a": entry(title="A", tier="x")}, [before]), expressions=expressions(rules))
    wanted = desired(want("a", title="A", rules=(rules[1].id,)))
    facts = Facts(catalog([after], rules), wanted, existing([before], held), owned, expressions=expressions(rules))
    assert [guard.flag for guard in plan(facts).guards] == ["--allow-breaking service.tier=1"]


def _another_type(value: Any, *, policy: str = "hold", **scope: Any) -> Plan:
    """The plan that makes a number of a text, which two entities hold, with what is mapped to one of them."""
    before, after = service(properties={"tier": {"type": "string"}}), service(properties={"tier": {"type": "number"}})
    now = [rule()]
    facts = Facts(
        catalog([after], now, invalid=policy),
        desired(want("a", title="A", tier=value), want("b", title="B", tier=2)),
        existing([before], {"a": have(title="A", tier="1"), "b": have(title="B", tier="2")}),
        ledger({"a": entry(title="A", tier="1"), "b": entry(title="B", tier="2")}, [before]),
        expressions=expressions(now),
    )
    return plan(facts, **scope)


@pytest.mark.parametrize(
    ("value", "scope"),
    [
        ("gold", {}),
        ("gold", {"policy": "drop-field"}),
        (7, {"exclude": ("service/a",)}),
    ],
)
def test_what_is_mapped_and_will_not_be_written_is_a_loss(value: Any, scope: dict[str, Any]) -> None:
    """A value that Port would refuse, or that is out of scope, does not come back: the part stays as it is."""
    made = _another_type(value, **scope)
    (guard,) = made.guards
    assert guard.detail.startswith("tier changes from string to number: 1 entity would lose a value")
    assert [c for c in made.changes if c.target == "blueprint"] == []
    allowed = _another_type(value, **scope, allow_breaking={"service.tier": 1})
    (schema,) = (change for change in allowed.changes if change.target == "blueprint")
    assert [f.note for f in schema.fields] == ["made anew, 1 value written again, 1 lost"]


@pytest.mark.parametrize(
    ("by_hand", "note", "guards"),
    [
        ("7", "made anew, 0 values written again, 1 carried over", 0),
        ("gold", "", 1),
    ],
)
def test_what_is_left_alone_is_carried_over_or_a_loss(by_hand: str, note: str, guards: int) -> None:
    """A value that somebody set, and that no mapping writes again, is theirs whatever is mapped."""
    before, after = service(properties={"tier": {"type": "string"}}), service(properties={"tier": {"type": "number"}})
    now = [rule(lifecycle=Lifecycle(ignore_changes=("properties.tier",)))]
    facts = Facts(
        catalog([after], now),
        desired(want("a", title="A", tier=1)),
        existing([before], {"a": have(title="A", tier=by_hand)}),
        ledger({"a": entry(title="A")}, [before]),
        expressions=expressions(now),
    )
    made = plan(facts)
    assert len(made.guards) == guards
    assert [f.note for c in made.changes if c.target == "blueprint" for f in c.fields] == [note][: 1 - guards]


def test_what_is_mapped_and_can_be_written_is_no_loss() -> None:
    """All of it is written again."""
    made = _another_type(7)
    assert made.guards == ()
    assert {c.identifier: [f.after for f in c.fields] for c in made.changes if c.target == "entity"} == {
        "a": [7],
        "b": [2],
    }


@pytest.mark.parametrize(("value", "policy"), [("x", "hold"), ("x", "drop-field")])
def test_what_is_mapped_and_would_be_refused_lacks_what_becomes_required(value: Any, policy: str) -> None:
    """An entity that is held, or goes without the field, would have no value: the part does not become required."""
    before = service(properties={"size": {"type": "number"}})
    after = service(schema={"properties": {"size": {"type": "number"}}, "required": ["size"]})
    now = [rule(paths=("title", "properties.size"))]
    facts = Facts(
        catalog([after], now, invalid=policy),
        desired(want("a", title="A", size=value), want("b", title="B", size=2)),
        existing([before], {"a": have(title="A"), "b": have(title="B")}),
        ledger({"a": entry(title="A"), "b": entry(title="B")}, [before]),
        expressions=expressions(now),
    )
    (guard,) = plan(facts).guards
    assert (guard.detail[:48], guard.flag) == (
        "size becomes required: 1 entity would lack a val",
        "--allow-breaking service.required=1",
    )


def _of_ports_own(before: Blueprint, after: Blueprint, *others: Blueprint, then: tuple[Blueprint, ...] = ()) -> Plan:
    """The plan that makes the one of the other, beside others that may change as well."""
    there = [before, *others]
    parts = {b.identifier: blueprint_fields(b.definition) for b in there}
    own = {name: {p: v for p, v in held.items() if p != "title" or name != "_user"} for name, held in parts.items()}
    owned = {name: LedgerEntry(fields, "created") for name, fields in own.items()}
    facts = Facts(
        catalog([after, *(then or others)], []),
        desired(),
        Existing("org", "Org", {b.identifier: b for b in there}, {}),
        replace(ledger({}), blueprints=owned),
    )
    return plan(facts)


def test_a_part_of_ports_own_blueprint_is_not_made_anew() -> None:
    """Nothing can be taken away from `_user`: the plan says so, and the rest goes on."""
    before = service("_user", properties={"level": {"type": "string"}})
    after = service("_user", properties={"level": LIST, "badge": {"type": "string"}})
    made = _of_ports_own(before, after)
    (guard,) = made.guards
    assert guard.detail.startswith("level changes from string to array of string: Port does not promise that a part of")
    assert [[f.path for f in c.fields] for c in made.changes] == [["schema.properties.badge"]]


def test_what_ports_own_blueprint_reads_is_not_made_anew() -> None:
    """A mirror of `_user` cannot be taken away and put back: what it reads stays as it is, and the guard names it."""
    user = service("_user", relations={"main": relation("service")}, mirrorProperties={"tier": {"path": "main.tier"}})
    before, after = service(properties={"tier": {"type": "string"}}), service(properties={"tier": LIST})
    made = _of_ports_own(before, after, user)
    assert made.changes == ()
    assert [guard.detail for guard in made.guards] == [
        "tier changes from string to array of string: _user.tier reads it; take that away in Port first"
    ]


def test_what_reads_a_part_in_a_blueprint_that_goes_goes_first() -> None:
    """The mirror goes before what it reads, the rest of its blueprint at the end."""
    mirror = {"mirrorProperties": {"tier": {"path": "main.tier"}}, "relations": {"main": relation("service")}}
    before, after = service(properties={"tier": {"type": "string"}}), service()
    made = _of_ports_own(before, after, service("old", **mirror), then=(after,))
    assert made.guards == ()
    assert [(c.action, c.blueprint, [f.path for f in c.fields]) for c in made.changes] == [
        ("update", "service", ["schema.properties.tier"]),
        ("delete", "old", ["mirrorProperties.tier"]),
    ]


def test_blueprints_are_made_after_what_they_read_however_many_ways_lead_there() -> None:
    """Each reads what all before it compute: there are far more ways to the first than could be gone one by one."""
    names = [f"b{n:02}" for n in range(40, 0, -1)]
    made = [service(names[0], calculationProperties={"seen": {"calculation": "1", "type": "number"}})]
    for n, name in enumerate(names[1:], start=1):
        mirrors = {f"of_{other}": {"path": f"{other}.seen"} for other in names[:n]}
        relations = {other: relation(other) for other in names[:n]}
        made.append(service(name, relations=relations, mirrorProperties={**mirrors, "seen": mirrors[f"of_{names[0]}"]}))
    facts = Facts(catalog(made, []), desired(), existing([], {}), ledger({}, []))
    assert [change.blueprint for change in plan(facts).changes] == names


def test_a_part_that_has_the_name_of_a_foreign_one_of_another_kind_does_not_come() -> None:
    """Port would refuse the blueprint as a whole; so the guard says it before, and the rest goes on."""
    theirs = service(properties={"tier": {"type": "string"}, "theirs": {"type": "string"}})
    computed = {"calculation": ".title", "type": "string"}
    after = service(
        properties={"tier": {"type": "string"}}, calculationProperties={"theirs": computed, "ours": computed}
    )
    owned = blueprint_fields(service(properties={"tier": {"type": "string"}}).definition)
    facts = Facts(
        catalog([after], []),
        desired(),
        Existing("org", "Org", {"service": theirs}, {}),
        replace(ledger({}), blueprints={"service": LedgerEntry(owned, "created")}),
    )
    made = plan(facts)
    assert [[f.path for f in c.fields] for c in made.changes] == [["calculationProperties.ours"]]
    (told,) = refusal(made)
    assert (told.code, told.detail) == ("PD633", f"service: {made.guards[0].detail}")
    assert [guard.detail for guard in made.guards] == [
        "theirs cannot be a calculation property: Port has a property of that name, which stays; take another name"
    ]
