"""Whatever goes wrong while a list is read: the plan deletes nothing of what is still there.

Every way of paging, every fault, once or for good, through the whole of it: source, judgement, decision.  What the
source makes of all three together is in `test_faults`; here are all pairs of them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from pdsync.commands import unproven
from pdsync.completeness import Seen, judged
from pdsync.errors import SourceError
from pdsync.kinds import KINDS
from pdsync.plan import Facts
from pdsync.sandbox.world import World
from tests.builders import blueprint, catalog, desired, entry, existing, have, ledger, plan, rule, want
from tests.source.asking import fetch, only, query
from tests.source.loopback import Stage, Tape, serving
from tests.source.served import Lists
from tests.source.test_faults import LASTING, PASSING, Change, Told, doubled, emptied, promising, refused, silent

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pdsync.model import Collection, Plan, Snapshot

KIND_OF = {
    "classic": "vendors",
    "cursor": "incident_workflows.actions",
    "after": "alert_grouping_settings",
    "post": "analytics.raw.users",
    "none": "licenses",
}
"""A kind that is paged in each of the ways."""


def shrinking(told: Told) -> None:
    """The count is less on every page."""
    if told.rest.get("total") is not None:
        told.rest["total"] -= int(told.rest.get("offset") or 0) // 5 + 1


LISTS = Lists()
FAULTS: dict[str, Change] = {
    **PASSING,
    **LASTING,
    "401": refused(401),
    "empty page": emptied,
    "there is always more": promising,
    "there is never more": silent,
    "shrinking total": shrinking,
    "doubled rows": doubled,
}
SCHEDULES = {
    "always": range(9999),
    "the first time": range(1),
    "from then on": range(1, 9999),
}


@dataclass
class Spoiling:
    """An application whose answers to some requests are spoilt on their way."""

    app: Any
    change: Change = lambda _: None
    when: range = field(default_factory=lambda: range(0))
    answers: int = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        number, self.answers = self.answers, self.answers + 1
        if number not in self.when:
            await self.app(scope, receive, send)
            return
        parts: list[bytes] = []

        async def take(message: Any) -> None:
            parts.append(message.get("body", b""))

        await self.app(scope, receive, take)
        answer = json.loads(b"".join(parts))
        key = next(name for name, value in answer.items() if isinstance(value, list))
        told = Told(answer.pop(key), answer, key=key)
        self.change(told)
        await told(scope, receive, send)


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    tape = Tape(Spoiling(LISTS))
    with serving(tape) as url:
        yield Stage(World(services=1, incidents=0), tape, url)


@pytest.fixture(scope="module")
def whole(stage: Stage) -> dict[str, Collection]:
    """Every list as it is."""
    return {kind: only(fetch(stage, query(kind))) for kind in KIND_OF.values()}


def planned(before: Collection, now: Snapshot) -> Plan:
    """The plan once every record of before is owned and `now` is what PagerDuty says."""
    kind = before.query.kind
    ids = [record.id for record in before.records]
    service, mapping = blueprint(), rule(kind=kind)
    seen = {before.query: Seen(len(ids), len(ids), suspicious=False)}
    snapshot = judged(now, seen, timedelta(hours=1))
    facts = Facts(
        catalog([service], [mapping]),
        desired(*(want(record.id, source=f"{kind}/{record.id}") for record in only(snapshot).records)),
        existing([service], {id_: have() for id_ in ids}),
        ledger({id_: entry(source=f"{kind}/{id_}", rules=(mapping.id,)) for id_ in ids}, [service]),
        unproven([mapping], snapshot),
    )
    return plan(facts)


def in_pairs() -> Iterator[tuple[str, str, str]]:
    """Each way of paging with each fault, and each of both with each schedule."""
    schedules = list(SCHEDULES)
    for row, paging in enumerate(KIND_OF):
        for column, fault in enumerate(FAULTS):
            yield paging, fault, schedules[(row + column) % len(schedules)]


@pytest.mark.parametrize(("paging", "fault", "schedule"), list(in_pairs()))
def test_no_fault_deletes_anything(
    stage: Stage, whole: dict[str, Collection], paging: str, fault: str, schedule: str
) -> None:
    """The snapshot is complete with every record, or names why it is not; no delete is planned either way."""
    before = whole[KIND_OF[paging]]
    assert (KINDS[before.query.kind].paging, before.complete, len(before.records) > 2) == (paging, True, True)
    stage.tape.app = Spoiling(LISTS, FAULTS[fault], SCHEDULES[schedule])
    try:
        now = fetch(stage, before.query)
    except SourceError:  # nobody is let in, or nobody answers: the command ends with an error, and without a plan
        assert fault in {"401", "dropped"}
        return
    made = planned(before, now)
    read = {record.id for record in only(now).records}
    lost = {record.id for record in before.records} - read
    assert (made.summary.delete, made.summary.withheld) == (0, len(lost))
    assert not lost or [guard.name for guard in made.guards] in (["absence-unproven"], ["delete-limit"])
