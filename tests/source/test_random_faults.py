"""Whatever goes wrong in whatever order while a whole snapshot is taken: what it says is true, or it says that it is not.

The company has lists of several pages, lists in slices of time, lists under parents, and all enrichments; faults strike
any requests, one after another or at once.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pdsync.completeness import Seen, doubts, judged
from pdsync.errors import SourceError
from pdsync.sandbox.world import World
from tests.source.asking import fetch, query
from tests.source.loopback import Stage, staging
from tests.source.test_faults import PASSING, Change, Told, doubled, emptied, promising, refused, silent

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pdsync.model import Query, Snapshot

QUERIES = [
    query("services"),
    query("incidents", apiQueryParams={"since": "300d", "statuses": ["resolved"]}, incidentAnalytics=True),
    query("incidents", apiQueryParams={"date_range": "all", "statuses": ["triggered", "acknowledged"]}),
    query("schedules"),
    query("escalation_policies"),
    query("teams.members"),
    query("audit.records", apiQueryParams={"since": "30d"}),
    query("licenses"),
]


def miscounted(told: Told) -> None:
    """There are fewer than there were, says the count, though they are all there."""
    if isinstance(told.rest.get("total"), int):
        told.rest["total"] -= 1


FAULTS: dict[str, Change] = {
    **PASSING,
    **{str(status): refused(status) for status in (400, 402, 403, 404)},
    "doubled": doubled,
    "promising": promising,
    "silent": silent,
    "miscounted": miscounted,
}


@dataclass
class Spoiling:
    """An application whose answers are spoilt, by number."""

    app: Any
    changes: Mapping[int, Change] = field(default_factory=dict)
    answers: int = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        number, self.answers = self.answers, self.answers + 1
        if (change := self.changes.get(number)) is None:
            await self.app(scope, receive, send)
            return
        parts: list[Any] = []

        async def take(message: Any) -> None:
            parts.append(message)

        plain = [(name, value) for name, value in scope["headers"] if name != b"accept-encoding"]
        await self.app({**scope, "headers": plain}, receive, take)
        answer = json.loads(b"".join(part.get("body", b"") for part in parts))
        key = next((name for name, value in answer.items() if isinstance(value, list)), "")
        told = Told(answer.pop(key, []), answer, parts[0]["status"], key=key or "none")
        change(told)
        await told(scope, receive, send)


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    world = World(services=105, users=110, teams=3, incidents=130, incident_days=290, schedules=4)
    with staging(world, limit_per_minute=10**6) as staged:
        yield staged


@pytest.fixture(scope="module")
def truth(stage: Stage) -> Snapshot:
    found = fetch(stage, *QUERIES)
    assert all(collection.complete for collection in found.collections.values())
    return found


def values(snapshot: Snapshot, asked: Query) -> dict[str, Any]:
    return {record.id: (json.loads(record.raw), record.unavailable) for record in snapshot.collections[asked].records}


def differing(asked: Query, true: Snapshot, now: Snapshot) -> Iterator[str]:
    """What a snapshot says of a list that is neither true nor said to be unknown."""
    collection = now.collections[asked]
    before, found = values(true, asked), values(now, asked)
    doubted = doubts(now).get(asked, {})
    if collection.complete and before.keys() != found.keys():
        yield f"{asked}: {before.keys() ^ found.keys()}"
    for id_, (raw, unavailable) in found.items():
        unknown = {*unavailable, *doubted}
        keys = {"users"} if "__email" in unknown else set()
        for name in (raw.keys() | before[id_][0].keys()) - unknown - keys:
            if raw.get(name) != before[id_][0].get(name):
                yield f"{asked} {id_} {name}: {raw.get(name)} is {before[id_][0].get(name)}"


@settings(max_examples=9, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.dictionaries(st.integers(0, 40), st.sampled_from(sorted(FAULTS)), max_size=12),
    st.sets(st.integers(0, 40), max_size=1),
)
def test_a_snapshot_is_true_or_says_that_it_is_not(
    stage: Stage, truth: Snapshot, faults: dict[int, str], empty: set[int]
) -> None:
    """Record by record, enrichment by enrichment; of empty answers there is one, for nothing tells two from the truth."""
    app = stage.tape.app
    changes = {number: FAULTS[name] for number, name in faults.items()} | dict.fromkeys(empty, emptied)
    stage.tape.app = Spoiling(app, changes)
    try:
        now = fetch(stage, *QUERIES)
    except SourceError:
        return
    finally:
        stage.tape.app = app
    counts = {asked: len(each.records) for asked, each in truth.collections.items()}
    counts |= {asked: each.count for asked, each in truth.leaned.items()}
    last = {asked: Seen(count, count, suspicious=False) for asked, count in counts.items()}
    now = judged(now, last, timedelta(hours=1))
    assert [found for asked in QUERIES for found in differing(asked, truth, now)] == []
