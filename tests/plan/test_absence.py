"""What is said of a record that makes an entity no more: that it is gone only where that is known."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from pdsync.causes import Evidence, told_causes
from pdsync.commands import expressions
from pdsync.model import Collection, Expression, Query, Record, Snapshot, Withheld
from pdsync.plan import Facts, fingerprint
from pdsync.plan.absence import GONE, Seen, absent, with_absences
from tests.builders import HERE, blueprint, catalog, desired, entry, existing, have, ledger, plan, rule

if TYPE_CHECKING:
    from pdsync.model import MappingRule

INCIDENT = blueprint("incident")
RECORD = "incidents/i"
NOW, YOUNG, OLD = "2026-06-01T12:00:00Z", "2026-05-20T12:00:00Z", "2026-04-20T12:00:00Z"
EVER, MONTH, OPEN = ("date_range", "all"), ("since", "-30d"), ("statuses[]", "triggered")


def incidents(*params: tuple[str, str], n: int = 0) -> MappingRule:
    """A rule that reads some incidents, and does not map when they were made."""
    made = rule("incident", ("properties.url",), kind="incidents", id=f"mappings/test.yaml#incidents[{n}]")
    return replace(made, query=Query("incidents", params), fields={"properties.url": Expression(".html_url", HERE)})


def facts_of(*rules: MappingRule, **more: Any) -> Facts:
    last = entry(source=RECORD, rules=(rules[0].id,), url="u")
    return Facts(
        catalog([INCIDENT], rules),
        desired(),
        existing([INCIDENT], {"incident/i": have(url="u")}),
        ledger({"incident/i": last}, [INCIDENT], expressions=expressions(rules)),
        expressions=expressions(rules),
        taken_at=NOW,
        **more,
    )


TOLD: list[tuple[list[MappingRule], list[int], str, str]] = [
    ([incidents(EVER)], [], "", GONE),
    ([incidents(EVER, ("include[]", "teams"))], [], "", GONE),
    ([incidents(MONTH)], [], YOUNG, GONE),
    ([incidents()], [], YOUNG, GONE),
    ([incidents(MONTH)], [], OLD, "left-window"),
    ([incidents()], [], OLD, "left-window"),
    ([incidents(MONTH)], [], "", "not-listed"),
    ([incidents(MONTH)], [], "yesterday", "not-listed"),
    ([incidents(EVER, OPEN)], [], YOUNG, "not-listed"),
    ([incidents(MONTH, OPEN)], [], OLD, "left-window"),
    ([incidents(EVER, OPEN), incidents(EVER, n=1)], [], "", GONE),
    ([incidents(EVER, OPEN), incidents(EVER, n=1)], [1], "", "not-listed"),
    ([incidents(MONTH), incidents(EVER, n=1)], [1], OLD, "left-window"),
    ([incidents(EVER), incidents(EVER, OPEN, n=1)], [0], "", "not-selected"),
    ([incidents(MONTH, OPEN)], [0], YOUNG, "not-selected"),
]


@pytest.mark.parametrize(("rules", "having", "made", "word"), TOLD)
def test_gone_is_what_a_list_of_all_has_no_more(
    rules: list[MappingRule], having: list[int], made: str, word: str
) -> None:
    """Of anything else it is said that it is not listed, that it is too old, or that its mapping leaves it out."""
    facts = facts_of(*rules)
    before = plan(facts)
    stays = Withheld("incident", "i", "I", "protected", why=GONE)
    seen = Seen({rules[n].query: {RECORD} for n in having}, {RECORD: made} if made else {})
    after = with_absences(replace(before, withheld=(stays,)), facts, seen)
    assert ([change.reason for change in after.changes], [item.why for item in after.withheld]) == ([word], [word])
    assert (set(absent(before, facts)), fingerprint(after.changes)) == ({RECORD}, before.fingerprint)


@dataclass
class Kept:
    """A store that has the records of the last apply, if any."""

    applied: Snapshot | None

    def load_applied(self, _digest: str, _kinds: object) -> Snapshot | None:
        return self.applied


@pytest.mark.parametrize(
    ("made", "word"), [(YOUNG, GONE), (OLD, "left-window"), (None, "not-listed"), ("", "not-listed")]
)
def test_how_old_a_record_was_the_last_apply_tells(made: str | None, word: str) -> None:
    """The mapping need not write it; where the records of then are not kept, nobody knows."""
    (read,) = rules = [incidents(MONTH)]
    facts = facts_of(*rules)
    collection = Collection(read.query, (Record("i", orjson.dumps({"created_at": made} if made else {})),))
    applied = Snapshot("s", OLD, {read.query: collection}) if made is not None else None
    now = Snapshot("s", NOW, {read.query: Collection(read.query, ())})
    found = Evidence(facts, now, Kept(applied), Kept(applied), lambda *_: desired(), expressions)  # type: ignore[arg-type]
    (change,) = asyncio.run(told_causes(plan(facts), found, None)).changes
    assert (change.reason, change.cause) == (word, "source")


def test_a_list_that_did_not_come_whole_proves_nothing_here_either() -> None:
    """Another rule's list of all there are may lack what it lacks."""
    rules = [incidents(EVER, OPEN), incidents(EVER, n=1)]
    facts = facts_of(*rules, unproven={rules[1].id: "it broke off"})
    made = with_absences(plan(facts_of(*rules)), facts, Seen({}, {}))
    assert [change.reason for change in made.changes] == ["not-listed"]
