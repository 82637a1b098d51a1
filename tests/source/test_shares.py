"""One snapshot serves all mappings: what is read together, and what it saves."""

from __future__ import annotations

import json
from itertools import product
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pdsync.sandbox.world import World
from pdsync.sources.pagerduty.shares import picker, shared_lists
from tests.source.asking import fetch, only, parsed, query
from tests.source.loopback import staging

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pdsync.model import Query, Snapshot
    from tests.source.loopback import Stage

STATUSES = ("triggered", "acknowledged", "resolved")
URGENCIES = ("high", "low")


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with staging(World(services=6, users=10, incidents=900, incident_days=28), limit_per_minute=10**6) as staged:
        yield staged


def incidents(statuses: Any, urgencies: Any, **others: Any) -> Query:
    given_ = {"statuses": statuses, "urgencies": urgencies, **others}
    return query("incidents", apiQueryParams={name: list(value) for name, value in given_.items() if value})


def cost(stage: Stage, *queries: Query) -> tuple[Snapshot, int]:
    before = len(stage.tape.requests)
    snapshot = fetch(stage, *queries)
    return snapshot, len(stage.tape.requests) - before


@pytest.fixture(scope="module")
def alone(stage: Stage) -> dict[Query, tuple[dict[str, Any], int]]:
    """What every query gives, and costs, when it is the only one."""
    found = {}
    for statuses, urgencies in product(_SETS, _URGENT):
        asked = incidents(statuses, urgencies)
        snapshot, requests = cost(stage, asked)
        found[asked] = parsed(only(snapshot)), requests
    return found


_SETS = [(), ("triggered",), ("acknowledged",), ("resolved",), ("triggered", "acknowledged"), STATUSES]
_URGENT = [(), ("high",), ("low",)]
_WISHES = st.lists(st.tuples(st.sampled_from(_SETS), st.sampled_from(_URGENT)), min_size=1, max_size=4, unique=True)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(_WISHES)
def test_reading_together_changes_nothing_and_costs_no_more(
    stage: Stage, alone: dict[Query, tuple[dict[str, Any], int]], wishes: list[tuple[Any, Any]]
) -> None:
    """Whatever filters some mappings have: each gets its own records, in no more requests than one by one."""
    queries = [incidents(*wish) for wish in wishes]
    snapshot, requests = cost(stage, *queries)
    assert [parsed(snapshot.collections[each]) for each in queries] == [alone[each][0] for each in queries]
    assert all(collection.complete for collection in snapshot.collections.values())
    assert requests <= sum(alone[each][1] for each in dict.fromkeys(queries))


def test_open_and_resolved_incidents_are_one_list(stage: Stage) -> None:
    """Two mappings that part the incidents between them cost as much as one that takes all."""
    _, everything = cost(stage, incidents(STATUSES, ()))
    _, parted = cost(stage, incidents(("triggered", "acknowledged"), ()), incidents(("resolved",), ()))
    assert parted == everything


@settings(max_examples=200)
@given(_WISHES, st.tuples(st.sampled_from(STATUSES), st.sampled_from(URGENCIES)))
def test_a_whole_holds_its_parts_and_nothing_else(wishes: list[tuple[Any, Any]], record: tuple[str, str]) -> None:
    """A record is asked for together exactly when somebody asks for it, and is picked by exactly those who do."""
    keys = [(each.kind, each.params) for each in (incidents(*wish) for wish in wishes)]
    shares = shared_lists(keys)
    raw = json.dumps({"status": record[0], "urgency": record[1]}).encode()

    def takes(key: tuple[str, tuple[tuple[str, str], ...]]) -> bool:
        wanted = [{value for name, value in key[1] if name == filter_} for filter_ in ("statuses[]", "urgencies[]")]
        return all(not values or word in values for values, word in zip(wanted, record, strict=True))

    for key, whole in shares.items():
        pick = picker(key, whole)
        assert takes(key) == ((pick is None or pick(raw)) and takes(whole))
    assert {takes(whole) for whole in shares.values()} <= {False} or any(takes(key) for key in keys)


def test_lists_that_differ_otherwise_stay_apart() -> None:
    """Other services, other windows, other includes: other lists."""
    keys = [
        ("incidents", (("statuses[]", "resolved"),)),
        ("incidents", (("service_ids[]", "PS1"), ("statuses[]", "triggered"))),
        ("incidents", (("include[]", "services"), ("statuses[]", "triggered"))),
        ("incidents", (("since", "-90d"), ("statuses[]", "triggered"))),
        ("services", (("query", "x"),)),
    ]
    assert shared_lists(keys) == {key: key for key in keys}


def test_an_enrichment_is_read_once_for_all_who_want_it() -> None:
    """Two mappings of incidents with custom fields: one request an incident, not two."""
    with staging(World(services=4, users=6, incidents=60, incident_days=20)) as stage:
        halves = [
            query("incidents", apiQueryParams={"statuses": list(part)}, includeCustomFields=True)
            for part in (("triggered", "acknowledged"), ("resolved",), STATUSES)
        ]
        snapshot = fetch(stage, *halves)
        values = [request.path for request in stage.tape.requests if request.path.endswith("/custom_fields/values")]
    assert len(values) == len(set(values)) == 60
    assert [
        all("__custom_fields" in record for record in parsed(snapshot.collections[each]).values()) for each in halves
    ] == [True] * 3
