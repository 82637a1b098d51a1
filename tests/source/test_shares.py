"""One snapshot serves all mappings: what is read together, and what it saves."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from itertools import product
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pdsync.sandbox.world import World
from pdsync.sources.pagerduty.shares import picker, shared_lists
from tests.source.asking import fetch, only, parsed, query
from tests.source.loopback import Script, staging

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pdsync.model import Query, Snapshot
    from tests.source.loopback import Stage

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
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
    shares = shared_lists(keys, NOW)
    raw = json.dumps({"status": record[0], "urgency": record[1]}).encode()

    def takes(key: tuple[str, tuple[tuple[str, str], ...]]) -> bool:
        wanted = [{value for name, value in key[1] if name == filter_} for filter_ in ("statuses[]", "urgencies[]")]
        return all(not values or word in values for values, word in zip(wanted, record, strict=True))

    for key, whole in shares.items():
        pick = picker(key, whole, NOW)
        assert takes(key) == ((pick is None or pick(raw)) and takes(whole))
    assert {takes(whole) for whole in shares.values()} <= {False} or any(takes(key) for key in keys)


def test_lists_that_differ_otherwise_stay_apart() -> None:
    """Other teams, other includes, windows that overlap or that nobody names: other lists."""
    keys = [
        ("incidents", (("statuses[]", "resolved"),)),
        ("incidents", (("team_ids[]", "PT1"), ("statuses[]", "triggered"))),
        ("incidents", (("include[]", "services"), ("statuses[]", "triggered"))),
        ("incidents", (("since", "-90d"), ("statuses[]", "triggered"))),
        ("incidents", (("since", "-120d"), ("until", "-10d"), ("statuses[]", "triggered"))),
        ("incidents", (("since", "-200d"), ("statuses[]", "acknowledged"))),
        ("services", (("query", "x"),)),
    ]
    assert shared_lists(keys, NOW) == {key: key for key in keys}


def test_so_many_services_do_not_stand_in_one_address() -> None:
    """A list can only be asked for by so many."""
    keys = [("incidents", tuple(("service_ids[]", f"PS{start + n}") for n in range(60))) for start in (0, 100)]
    assert shared_lists(keys, NOW) == {key: key for key in keys}


# --- stretches of time -----------------------------------------------------------------------------------------

EVER = query("incidents", apiQueryParams={"date_range": "all"})


@pytest.fixture(scope="module")
def history() -> Iterator[Stage]:
    with staging(World(services=6, users=10, incidents=900, incident_days=400), limit_per_minute=10**6) as staged:
        yield staged


SHORTER: list[dict[str, Any]] = [
    {"since": "30d"},
    {"since": "300d"},
    {"since": "200d", "until": "-20d"},
    {"since": "90d", "statuses": ["resolved"]},
    {"since": "90d", "urgencies": ["high"], "statuses": ["triggered"]},
]


@pytest.mark.parametrize("longer", [{"date_range": "all"}, {"since": "350d"}])
@pytest.mark.parametrize("params", SHORTER)
def test_a_shorter_time_is_taken_from_a_longer(history: Stage, params: dict[str, Any], longer: dict[str, Any]) -> None:
    """The same records as alone, for a request that counts (one for each half year), whichever mapping stands first."""
    short, long = query("incidents", apiQueryParams=params), query("incidents", apiQueryParams=longer)
    alone, _ = cost(history, short)
    _, whole = cost(history, long)
    for order in ((short, long), (long, short)):
        snapshot, requests = cost(history, *order)
        assert parsed(snapshot.collections[short]) == parsed(only(alone))
        assert snapshot.collections[short].complete
        assert requests - whole <= 2


def test_another_count_means_that_it_is_read_on_its_own(history: Stage) -> None:
    """Should PagerDuty mean something else by its bounds, what it lists is what counts."""
    short = query("incidents", apiQueryParams={"since": "30d"})
    listed = parsed(only(fetch(history, short)))
    some = dict(list(listed.items())[1:])
    body = json.dumps({"incidents": list(some.values()), "more": False, "total": len(some)}).encode()
    history.tape.before = lambda r: Script([(200, {}, body)]) if r.all("since") and not r.all("date_range") else None
    try:
        snapshot = fetch(history, short, EVER)
    finally:
        history.tape.before = lambda _: None
    assert parsed(snapshot.collections[short]) == some
    assert len(snapshot.collections[EVER].records) == 900


def test_mappings_of_other_times_share_what_is_put_into_records(history: Stage) -> None:
    """Custom fields of an incident that is in both are read once."""
    wishes = [{"since": "20d"}, {"since": "40d"}]
    history.tape.requests.clear()
    fetch(history, *(query("incidents", apiQueryParams=each, includeCustomFields=True) for each in wishes))
    values = [request.path for request in history.tape.requests if request.path.endswith("/custom_fields/values")]
    assert len(values) == len(set(values)) > 0


def test_mappings_of_some_services_share_the_list_of_all(history: Stage) -> None:
    """The service of an incident stands in it."""
    some = sorted(history.world.services)[:2]
    both = query("incidents", apiQueryParams={"date_range": "all", "service_ids": some})
    alone, _ = cost(history, both)
    _, everything = cost(history, EVER)
    snapshot, requests = cost(history, both, EVER)
    assert (parsed(snapshot.collections[both]), requests) == (parsed(only(alone)), everything)


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
