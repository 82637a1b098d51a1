"""Whose an entity is, and what that means for its end."""

from __future__ import annotations

from pdsync.model import Surroundings
from pdsync.plan import Facts
from pdsync.plan.ownership import to_adopt
from tests.builders import blueprint, catalog, desired, entry, existing, have, key, ledger, plan, rule, want

SERVICE = blueprint()


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
