"""Whose an entity is, by what the state, the mapping, Port and the journals say of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from pdsync.errors import warning
from pdsync.model import Change, RunNote, Surroundings
from pdsync.plan import Facts
from pdsync.plan.account import Account, LastChange, Live, account_of, last_change
from tests.builders import blueprint, catalog, desired, entry, existing, have, key, ledger, plan, relation, rule, want

NOTE = RunNote("20260601T120000Z-abcdef", "2026-06-01T12:00:00Z", "apply", 3, who="ana@laptop", commit="c0ffee")
HELD = Live({"title": "A", "properties.tier": "1"})


def facts(*, owned: str = "", wanted: bool = True, there: bool = True, **policy: object) -> Facts:
    """One service: in the ledger with this origin, made by the mapping, held by Port."""
    return Facts(
        catalog([blueprint()], [rule()], **policy),
        desired(*([want("a", title="A", tier="1")] if wanted else [])),
        existing([blueprint()], {"service/a": have(title="A", tier="1")} if there else {}),
        ledger({"service/a": entry(owned, title="A", tier="1")} if owned else {}, [blueprint()]),
    )


def account(of: Facts, *, live: Live | None = HELD, last: LastChange | None = None) -> Account:
    return account_of(key("service/a"), of, plan(of, only=("service/a",)), live, last)


def ended(action: str, status: str = "done") -> LastChange:
    """What a journal tells of the entity."""
    change = Change(1, "entity", action, "service", "a", "A", (), "unmapped", "catalog")  # type: ignore[arg-type]
    return last_change(NOTE, change, status, "")


@pytest.mark.parametrize(
    ("of", "last", "standing", "why"),
    [
        (facts(owned="created"), None, "managed", "pdsync made it"),
        (facts(owned="adopted"), None, "managed", "somebody else had made it"),
        (facts(owned="integration"), None, "managed", "Port's own PagerDuty integration"),
        (facts(owned="created", protect=("service/a",)), None, "protected", "`policy.protect` names it"),
        (facts(there=False), None, "new", "Port does not have it yet"),
        (facts(), None, "to adopt", "Port has it, the mapping makes it"),
        (facts(wanted=False), None, "foreign", "pdsync never touches it"),
        (facts(wanted=False), ended("release"), "released", f"in {NOTE.run}"),
        (facts(wanted=False), ended("forget"), "released", f"in {NOTE.run}"),
        (facts(wanted=False), ended("release", "failed"), "foreign", "pdsync never touches it"),
        (facts(wanted=False, there=False), ended("delete"), "gone", f"deleted in {NOTE.run}"),
        (facts(owned="created", wanted=False, protect=("service",)), None, "withheld", "protected"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_standing_and_why(of: Facts, last: LastChange | None, standing: str, why: str) -> None:
    """The weightiest one first, with its reason; what else holds is told beside."""
    told = account(of, last=last)
    assert told.standing == standing
    assert told.why.startswith(why) or why in told.why
    assert (told.origin is None) == ("service/a" not in map(str, of.ledger.entities))


@pytest.mark.parametrize(
    ("around", "policy", "before"),
    [
        (Surroundings(), {}, "somebody else wrote it before; once nothing makes it any more it is released"),
        (
            Surroundings(),
            {"on_remove": "delete"},
            "somebody else wrote it before; once nothing makes it any more it is d",
        ),
        (Surroundings(by_integration=frozenset([key("service/a")])), {}, "Port's own PagerDuty integration wrote it"),
        (Surroundings(diagnostics=(warning("PD620", "not told"),)), {}, "Port does not tell whether its own PagerDuty"),
    ],
    ids=["somebody", "deleted in the end", "the integration", "not told"],
)
def test_who_wrote_what_is_taken_over(around: Surroundings, policy: dict[str, Any], before: str) -> None:
    """Whoever it was decides what becomes of an entity in the end, so both are said before it is taken over."""
    told = account(replace(facts(**policy), around=around))
    assert told.standing == "to adopt"
    assert f"takes it over; {before}" in told.why


def test_what_was_protected_stays_so() -> None:
    """The ledger remembers a protection that has left the policy."""
    of = facts(owned="created")
    kept = {key("service/a"): replace(of.ledger.entities[key("service/a")], protect=True)}
    told = account(replace(of, ledger=replace(of.ledger, entities=kept)))
    assert (told.standing, told.also) == ("protected", ("managed: pdsync made it",))


def test_what_is_held_says_why() -> None:
    """A value that Port would refuse holds the entity; the values stand side by side."""
    of = facts(owned="created")
    wanted = desired(want("a", title="A", size="many"))
    of = replace(of, desired=wanted, catalog=catalog([blueprint()], [rule(paths=("title", "properties.size"))]))
    told = account(of)
    assert told.standing == "held"
    assert "properties.size" in told.why
    size = told.fields["properties.size"]
    assert (size.desired, size.applied, size.live) == ("many", None, None)


def test_what_is_held_is_not_said_to_be_made_by_no_record() -> None:
    """Records claim it; also where something points at it."""
    incident = blueprint("incident", service=relation("service"))
    pointing = want("i", "incident", title="I", service="a", rules=("mappings/test.yaml#incidents[0]",))
    of = facts(owned="created")
    of = replace(
        of,
        desired=desired(pointing, held={key("service/a"): "claimed by services/a, services/b"}),
        catalog=catalog(
            [blueprint(), incident], [rule(), rule("incident", ("title", "relations.service"), "incidents")]
        ),
    )
    told = account(of)
    assert (told.standing, [each.partition(":")[0] for each in told.also]) == ("held", ["managed"])
