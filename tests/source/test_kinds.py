"""What a selector may say, and what becomes of it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pdsync.errors import Severity
from pdsync.kinds import KINDS, Kind, Param, read_selector, scopes_for
from pdsync.kinds.guesses import ANY_LIST, hint_for
from pdsync.model import Query


def read(kind: str, selector: dict[str, Any]) -> Query:
    """The query of a selector that is fine."""
    query, problems = read_selector(kind, selector)
    assert problems == ()
    assert query is not None
    return query


def found(kind: str, selector: dict[str, Any]) -> list[tuple[str, tuple[str | int, ...]]]:
    """Code and path of what is wrong with a selector."""
    return [(problem.code, problem.path) for problem in read_selector(kind, selector)[1]]


QUERIES: list[tuple[str, dict[str, Any], tuple[tuple[str, str], ...], tuple[tuple[str, str], ...]]] = [
    ("services", {}, (), (("__analytics", "3"), ("__oncall_user", ""))),
    ("services", {"serviceAnalytics": False}, (), (("__oncall_user", ""),)),
    (
        "services",
        {"serviceAnalytics": "true", "analyticsMonthsPeriod": "6", "includeCustomFields": "yes"},
        (),
        (("__analytics", "6"), ("__custom_fields", ""), ("__oncall_user", "")),
    ),
    (
        "services",
        {"serviceAnalytics": "off", "apiQueryParams": {"team_ids": ["PB", "PA"], "include": ["teams"]}},
        (("include[]", "teams"), ("team_ids[]", "PA"), ("team_ids[]", "PB")),
        (("__oncall_user", ""),),
    ),
    ("incidents", {}, (), ()),
    (
        "incidents",
        {"incidentAnalytics": True, "includeCustomFields": 1},
        (),
        (("__analytics", ""), ("__custom_fields", "")),
    ),
    (
        "incidents",
        {"apiQueryParams": {"statuses": ["triggered", "acknowledged"], "date_range": "all", "urgencies": ["high"]}},
        (("date_range", "all"), ("statuses[]", "acknowledged"), ("statuses[]", "triggered"), ("urgencies[]", "high")),
        (),
    ),
    (
        "incidents",
        {
            "apiQueryParams": {
                "since": "2026-01-01T00:00:00Z",
                "until": "-24h",
                "sort_by": "created_at:asc, urgency:desc",
            }
        },
        (("since", "2026-01-01T00:00:00Z"), ("until", "-1d"), ("sort_by", "created_at:asc,urgency:desc")),
        (),
    ),
    (
        "schedules",
        {"apiQueryParams": {"since": 1, "until": 2}},
        (("since", "-30d"), ("until", "+60d")),
        (("__email", ""),),
    ),
    ("schedules", {"apiQueryParams": {"since": 0}}, (), (("__email", ""),)),
    ("oncalls", {}, (), ()),
    ("oncalls", {"apiQueryParams": {}}, (("include[]", "users"), ("until", "+90d")), ()),
    ("oncalls", {"apiQueryParams": {"include": [], "until": 1}}, (("until", "+30d"),), ()),
    ("escalation_policies", {}, (), (("__oncall_users", ""),)),
    ("escalation_policies", {"attachOncallUsers": "No"}, (), ()),
    (
        "users",
        {"apiQueryParams": {"include": ["teams", "contact_methods"]}},
        (("include[]", "contact_methods"), ("include[]", "teams")),
        (),
    ),
    ("incidents", {"apiQueryParams": {"since": 3}}, (("since", "-90d"),), ()),
    ("incidents", {"apiQueryParams": {"statuses[]": ["resolved"]}}, (("statuses[]", "resolved"),), ()),
    ("teams", {"apiQueryParams": None}, (), ()),
    ("audit/records", {"apiQueryParams": {"since": "2w"}}, (("since", "-14d"),), ()),
    ("teams/{id}/members", {"apiQueryParams": {"include": ["users"]}}, (("include[]", "users"),), (("__parent", ""),)),
    (
        "incidents.notes",
        {"parents": {"apiQueryParams": {"statuses": ["triggered"], "since": "1y"}}},
        (("parents.since", "-365d"), ("parents.statuses[]", "triggered")),
        (("__parent", ""),),
    ),
    (
        "status_pages.posts.post_updates",
        {
            "parents": {
                "apiQueryParams": {"post_type": "incident"},
                "parents": {"apiQueryParams": {"status_page_type": "public"}},
            }
        },
        (("parents.post_type", "incident"), ("parents.parents.status_page_type", "public")),
        (("__parent", ""),),
    ),
    ("entity_tags", {"apiQueryParams": {"entity_type": ["teams"]}}, (("{entity_type}", "teams"),), (("__parent", ""),)),
    (
        "analytics.metrics.incidents.teams",
        {
            "apiQueryParams": {
                "months": 6,
                "major": "yes",
                "min_ackowledgements": 2,
                "team_ids": ["PT"],
                "aggregate_unit": "week",
            }
        },
        (
            ("filters.created_at_start", "-180d"),
            ("filters.major", "true"),
            ("filters.min_ackowledgements", "2"),
            ("filters.team_ids[]", "PT"),
            ("aggregate_unit", "week"),
        ),
        (),
    ),
    (
        "analytics.metrics.responders.all",
        {"apiQueryParams": {"date_range_start": "2026-01-01", "until": "now"}},
        (("filters.date_range_start", "2026-01-01"), ("filters.date_range_end", "now")),
        (),
    ),
    ("priorities", {}, (), ()),
]


@pytest.mark.parametrize(("kind", "selector", "params", "enrich"), QUERIES)
def test_a_selector_becomes_the_query_it_asks_for(
    kind: str, selector: dict[str, Any], params: tuple[tuple[str, str], ...], enrich: tuple[tuple[str, str], ...]
) -> None:
    """Defaults, aliases and spellings of Port's integration lead to one query."""
    assert read(kind, selector) == Query(KINDS[kind].name, params, enrich)


PROBLEMS: list[tuple[str, dict[str, Any], list[tuple[str, tuple[str | int, ...]]], bool]] = [
    ("servces", {}, [("PD140", ())], False),
    ("services", {"serviceAnalitycs": True}, [("PD141", ("serviceAnalitycs",))], True),
    ("oncalls", {"apiQueryParams": {"inducer": ["users"]}}, [("PD141", ("apiQueryParams", "inducer"))], True),
    ("oncalls", {"include": ["users"]}, [("PD142", ("include",))], True),
    (
        "services",
        {"apiQueryParams": {"serviceAnalytics": False}},
        [("PD142", ("apiQueryParams", "serviceAnalytics"))],
        True,
    ),
    (
        "services",
        {"apiQueryParams": {"include": ["teams", "nope"]}},
        [("PD143", ("apiQueryParams", "include", 1))],
        False,
    ),
    ("services", {"apiQueryParams": {"include": "teams"}}, [("PD143", ("apiQueryParams", "include"))], False),
    ("services", {"apiQueryParams": ["teams"]}, [("PD143", ("apiQueryParams",))], False),
    ("incidents", {"apiQueryParams": {"statuses": ["open"]}}, [("PD143", ("apiQueryParams", "statuses", 0))], False),
    ("incidents", {"apiQueryParams": {"since": "yesterday"}}, [("PD143", ("apiQueryParams", "since"))], False),
    ("incidents", {"apiQueryParams": {"sort_by": "title"}}, [("PD143", ("apiQueryParams", "sort_by"))], False),
    ("incidents", {"apiQueryParams": {"sort_by": "urgency:"}}, [("PD143", ("apiQueryParams", "sort_by"))], False),
    ("oncalls", {"apiQueryParams": {"until": 0}}, [("PD143", ("apiQueryParams", "until"))], False),
    ("oncalls", {"apiQueryParams": {"until": 4}}, [("PD145", ("apiQueryParams", "until"))], True),
    ("schedules", {"apiQueryParams": {"since": 1.5}}, [("PD143", ("apiQueryParams", "since"))], False),
    ("services", {"serviceAnalytics": "maybe"}, [("PD143", ("serviceAnalytics",))], False),
    ("services", {"analyticsMonthsPeriod": 13}, [("PD143", ("analyticsMonthsPeriod",))], False),
    ("services", {"analyticsMonthsPeriod": "24"}, [("PD143", ("analyticsMonthsPeriod",))], False),
    ("services", {"analyticsMonthsPeriod": 0}, [("PD143", ("analyticsMonthsPeriod",))], False),
    ("services", {"analyticsMonthsPeriod": -1}, [("PD143", ("analyticsMonthsPeriod",))], False),
    ("services", {"analyticsMonthsPeriod": 1.5}, [("PD143", ("analyticsMonthsPeriod",))], False),
    ("services", {"analyticsMonthsPeriod": "abc"}, [("PD143", ("analyticsMonthsPeriod",))], False),
    ("services", {"analyticsMonthsPeriod": ""}, [("PD143", ("analyticsMonthsPeriod",))], False),
    ("services", {"analyticsMonthsPeriod": True}, [("PD143", ("analyticsMonthsPeriod",))], False),
    ("services", {"analyticsMonthsPeriod": []}, [("PD143", ("analyticsMonthsPeriod",))], False),
    ("services", {"analyticsMonthsPeriod": None}, [("PD147", ("analyticsMonthsPeriod",))], True),
    ("services", {"serviceAnalytics": None}, [("PD147", ("serviceAnalytics",))], True),
    (
        "services",
        {"serviceAnalytics": "false", "analyticsMonthsPeriod": 6},
        [("PD147", ("analyticsMonthsPeriod",))],
        True,
    ),
    ("services", {"serviceAnalytics": "true", "analyticsMonthsPeriod": 6}, [], True),
    ("services", {"apiQueryParams": {"team_ids": []}}, [("PD147", ("apiQueryParams", "team_ids"))], True),
    ("services", {"apiQueryParams": {"team_ids": "PT1,PT2"}}, [("PD143", ("apiQueryParams", "team_ids"))], False),
    ("services", {"apiQueryParams": {"name": None}}, [("PD147", ("apiQueryParams", "name"))], True),
    ("oncalls", {"apiQueryParams": {"include": []}}, [], True),
    ("services", {"exportEnvVariables": ["HOME"]}, [("PD146", ("exportEnvVariables",))], True),
    (
        "incidents",
        {"apiQueryParams": {"date_range": "all", "since": "-9d"}},
        [("PD147", ("apiQueryParams", "since"))],
        True,
    ),
    (
        "incidents",
        {"apiQueryParams": {"date_range": "all", "since": "2020-02-01", "until": "2020-01-01"}},
        [("PD147", ("apiQueryParams", "since")), ("PD147", ("apiQueryParams", "until"))],
        True,
    ),
    ("notifications", {}, [("PD149", ())], False),
    ("schedules.overrides", {"apiQueryParams": {"since": "3d"}}, [("PD149", ("apiQueryParams",))], False),
    ("standards.scores", {"apiQueryParams": {"ids": []}}, [("PD149", ("apiQueryParams",))], False),
    ("schedules.overrides", {"apiQueryParams": {"since": 1, "until": 0}}, [], True),
    ("incidents", {"apiQueryParams": {"until": "3d"}}, [("PD145", ("apiQueryParams", "until"))], True),
    ("incidents", {"apiQueryParams": {"since": "2w", "until": "-3w"}}, [("PD143", ("apiQueryParams", "until"))], False),
    (
        "audit.records",
        {"apiQueryParams": {"since": "2026-02-01T01:00:00+02:00", "until": "2026-01-31T22:59:59"}},
        [("PD143", ("apiQueryParams", "until"))],
        False,
    ),
    ("audit.records", {"apiQueryParams": {"since": "2026-02-01", "until": "-1d"}}, [], True),
    ("incidents", {"apiQueryParams": {"since": "+3mo"}}, [("PD143", ("apiQueryParams", "since"))], False),
    ("log_entries", {"apiQueryParams": {"since": "now"}}, [("PD143", ("apiQueryParams", "since"))], False),
    ("oncalls", {"apiQueryParams": {"since": "+1d"}}, [], True),
    ("schedules", {"apiQueryParams": {"since": 1, "until": 1}}, [], True),
    ("oncalls", {"apiQueryParams": {"until": "13w"}}, [("PD145", ("apiQueryParams", "until"))], True),
    ("incidents", {"apiQueryParams": {"since": "0d"}}, [("PD143", ("apiQueryParams", "since"))], False),
    ("analytics.raw.incidents", {"apiQueryParams": {"since": "2y"}}, [], True),
    ("analytics.metrics.incidents.all", {"apiQueryParams": {"since": "1y"}}, [], True),
    (
        "analytics.metrics.incidents.all",
        {"apiQueryParams": {"since": 13}},
        [("PD143", ("apiQueryParams", "since"))],
        False,
    ),
    (
        "analytics.raw.incidents",
        {"apiQueryParams": {"since": "1y", "months": 3}},
        [("PD147", ("apiQueryParams", "months"))],
        True,
    ),
    ("incidents", {"apiQueryParams": {"since": 20000}}, [("PD143", ("apiQueryParams", "since"))], False),
    ("schedules", {"apiQueryParams": {"time_zone": "Berlin"}}, [("PD145", ("apiQueryParams", "time_zone"))], True),
    ("schedules", {"apiQueryParams": {"time_zone": "Asia/Kolkata"}}, [], True),
    ("rulesets", {}, [("PD148", ())], True),
    ("users.sessions", {}, [("PD148", ())], True),
    ("teams", {"parents": {}}, [("PD141", ("parents",))], True),
    ("entity_tags", {"parents": {}}, [("PD141", ("parents",))], True),
    ("teams.members", {"parents": ["PT"]}, [("PD143", ("parents",))], False),
    (
        "teams.members",
        {"parents": {"apiQueryParams": {"query": 1.5, "nmae": "x"}}},
        [
            ("PD143", ("parents", "apiQueryParams", "query")),
            ("PD141", ("parents", "apiQueryParams", "nmae")),
        ],
        False,
    ),
]


@pytest.mark.parametrize(("kind", "selector", "problems", "usable"), PROBLEMS)
def test_a_selector_that_is_wrong_is_told_where_and_why(
    kind: str, selector: dict[str, Any], problems: list[tuple[str, tuple[str | int, ...]]], usable: bool
) -> None:
    """Every trap of the incumbent has a code and points at the key; only errors cost the query."""
    query, told = read_selector(kind, selector)
    assert [(problem.code, problem.path) for problem in told] == problems
    assert (query is not None) == usable
    assert usable == all(problem.severity is not Severity.ERROR for problem in told)


@pytest.mark.parametrize(
    ("kind", "selector", "hint"),
    [
        ("servces", {}, 'did you mean "services"?'),
        ("EscalationPolicies", {}, 'did you mean "escalation_policies"?'),
        ("services", {"service_analytics": True}, 'did you mean "serviceAnalytics"?'),
        ("oncalls", {"apiQueryParams": {"includes": ["users"]}}, 'did you mean "include"?'),
        ("services", {"include": ["teams"]}, 'move "include" under apiQueryParams'),
        ("incidents", {"apiQueryParams": {"statuses": ["triggred"]}}, 'did you mean "triggered"?'),
        ("incidents", {"apiQueryParams": {"statuses": "triggered"}}, "write a list: [triggered]"),
        ("audit_record", {}, 'did you mean "audit.records"?'),
        ("teamMembers", {}, 'did you mean "teams.members"?'),
        ("incident/notes", {}, 'did you mean "incidents.notes"?'),
        ("integrations", {}, "integrations are listed by service: services.integrations"),
        ("services/{id}/integration", {}, 'did you mean "services.integrations"?'),
        ("alerts", {}, "alerts are listed by incident: incidents.alerts"),
        ("web-hooks", {}, "webhooks are the kind webhook_subscriptions"),
        ("override", {}, "overrides are listed by schedule: schedules.overrides, schedules_v3.overrides"),
        ("invocations", {}, 'did you mean "automation_actions.invocations"?'),
        (
            "policies",
            {},
            (
                "perhaps escalation_policies or escalation_policies.audit.records or "
                "analytics.metrics.incidents.escalation_policies"
            ),
        ),
        ("response_plays", {}, ANY_LIST),
        ("rulesets", {}, "use event_orchestrations"),
        ("notifications", {"apiQueryParams": {"until": "now"}}, "apiQueryParams: {since: 30d}"),
        ("incidents", {"apiQueryParams": {"until": "3d"}}, 'write "-3d" for a moment ago'),
        ("services", {"apiQueryParams": {"time_zone": "new york"}}, 'did you mean "America/New_York"?'),
        ("oncalls", {"apiQueryParams": {"time_zone": "Europe/Berlim"}}, 'did you mean "Europe/Berlin"?'),
        ("oncalls", {"apiQueryParams": {"time_zone": "PST"}}, 'use a name such as "Europe/Berlin" or "UTC"'),
    ],
)
def test_hints_name_what_was_probably_meant(kind: str, selector: dict[str, Any], hint: str) -> None:
    """A misspelt or misplaced word comes with the right one."""
    assert [problem.hint for problem in read_selector(kind, selector)[1]] == [hint]


def test_bounds_in_time_are_held_against_their_own_other_end() -> None:
    """Some lists have several beginnings, and ends; each is told of by the name it was given."""
    raw = {"since": "30d", "until": "-7d", "updated_after": "1d"}
    assert read_selector("analytics.raw.incidents", {"apiQueryParams": raw})[1] == ()
    usage = {"created_at_start": "10d", "created_at_end": "-30d", "incident_created_at_start": "60d"}
    (problem,) = read_selector("analytics.metrics.pd_advance_usage.features", {"apiQueryParams": usage})[1]
    assert (problem.path, problem.hint) == (
        ("apiQueryParams", "created_at_end"),
        "created_at_end must be after created_at_start",
    )


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_kind_is_found_by_its_address_and_behind_a_slip(kind: str) -> None:
    """As the reference has it, as a browser has it, or with a letter too few."""
    path = KINDS[kind].path
    written = [f"GET {path}", f"https://api.eu.pagerduty.com{path}?limit=100", kind.upper(), kind[:4] + kind[5:]]
    for word in (each for each in written if each not in KINDS):
        assert hint_for(word) == f'did you mean "{kind}"?', word


@pytest.mark.parametrize(
    ("written", "kind"),
    [
        ("/schedules/PABC123/overrides", "schedules.overrides"),
        ("GET /v3/schedules/:id/overrides", "schedules_v3.overrides"),
        ("teams/PABC123/members", "teams.members"),
        ("https://api.pagerduty.com/users/PABC123/tags?limit=1", "entity_tags"),
    ],
)
def test_an_address_with_an_identifier_is_known_for_its_list(written: str, kind: str) -> None:
    """What was copied from a browser or a log."""
    (problem,) = read_selector(written, {})[1]
    assert problem.hint == f'did you mean "{kind}"?'


@pytest.mark.parametrize(
    ("text", "since", "until"),
    [
        ("30d", "-30d", "+30d"),
        ("12h", "-12h", "+12h"),
        ("48h", "-2d", "+2d"),
        ("2w", "-14d", "+14d"),
        ("3mo", "-90d", "+90d"),
        ("1y", "-365d", "+365d"),
        ("-6h", "-6h", "-6h"),
        ("+1d", "+1d", "+1d"),
        ("now", "now", "now"),
        ("0d", "now", "now"),
        (2, "-60d", "+60d"),
        ("2", "-60d", "+60d"),
        ("2026-01-31", "2026-01-31", "2026-01-31"),
        ("2026-01-31T08:00:00+01:00", "2026-01-31T08:00:00+01:00", "2026-01-31T08:00:00+01:00"),
    ],
)
def test_moments_are_stretches_of_time_months_or_dates(text: str | int, since: str, until: str) -> None:
    """One meaning, one spelling: since is ago, until is ahead, months are thirty days, and all of it stays relative."""
    params = read("schedules", {"apiQueryParams": {"since": text, "until": text}}).params
    assert params == (("since", since), ("until", until))


_BEYOND = ["0001-01-01", "0001-01-01T00:00:00+05:00", "9999-12-31T23:59:59-05:00"]
"""What no calendar has, or nobody writes with four digits, in UTC."""


@pytest.mark.parametrize(
    "text", ["3 days", "d", "-d", "5m", "", "999999y", "tomorrow", True, [], {"d": 3}, "1.5d", *_BEYOND]
)
def test_what_is_no_moment_is_refused(text: Any) -> None:
    """Nothing is guessed."""
    assert found("schedules", {"apiQueryParams": {"since": text}}) == [("PD143", ("apiQueryParams", "since"))]


@pytest.mark.parametrize("row", KINDS.values(), ids=lambda row: row.name)
def test_a_kind_is_found_by_its_path_too(row: Kind) -> None:
    """As the API reference writes it, with or without the slash, and with other words in the braces."""
    assert {KINDS[row.path], KINDS[row.path.strip("/")], KINDS[row.path.replace("{id}", "{the_id}")]} == {row}


@pytest.mark.parametrize(
    ("spelling", "name"),
    [
        ("teams/members", "teams.members"),
        ("services/custom_fields", "services.custom_fields"),
        ("incidents/notes", "incidents.notes"),
        ("v3/schedules", "schedules_v3"),
        ("status_dashboards/url_slugs/service_impacts", "status_dashboards.by_slug.service_impacts"),
        ("tags", "tags"),
        ("workflows/integrations/connections", "workflows.integrations.connections"),
    ],
)
def test_a_kind_is_found_by_its_path_without_braces(spelling: str, name: str) -> None:
    """Short forms lead to what they look like, and a kind's own name never to another one."""
    assert KINDS[spelling].name == name


def test_every_kind_has_its_scopes() -> None:
    """With parents and enrichments; of a query only the enrichments that it asks for."""
    assert scopes_for(["teams.members"]) == ("teams.read",)
    assert scopes_for(["status_pages.posts.post_updates", "incidents.notes"]) == ("incidents.read", "status_pages.read")
    assert scopes_for(["schedules"]) == ("schedules.read", "users.read")
    assert scopes_for(["services"]) == ("analytics.write", "oncalls.read", "services.read")
    assert scopes_for([read("services", {"serviceAnalytics": False})]) == ("oncalls.read", "services.read")


def test_all_problems_come_at_once() -> None:
    """One bad key hides no other."""
    selector = {"include": [], "apiQueryParams": {"sort_by": "x", "teams": []}, "analyticsMonthsPeriod": "many"}
    assert sorted(code for code, _ in found("services", selector)) == ["PD141", "PD142", "PD143", "PD143"]


@pytest.mark.parametrize("word", [True, "true", "True", "t", "yes", "Y", "on", "ON", "1", 1])
def test_true_is_spelt_in_many_ways(word: bool | str | int) -> None:
    """Strings that Port's integration takes for true are true."""
    assert read("incidents", {"incidentAnalytics": word}).enrich == (("__analytics", ""),)


@pytest.mark.parametrize("word", [False, "false", "f", "no", "N", "off", "0", 0])
def test_false_is_spelt_in_many_ways(word: bool | str | int) -> None:
    """Strings that Port's integration takes for false are false."""
    assert read("incidents", {"incidentAnalytics": word}).enrich == ()


def _values(param: Param) -> st.SearchStrategy[Any]:
    words = st.sampled_from(param.allowed) if param.allowed else st.text("abc", min_size=1, max_size=3)
    strategies: dict[str, st.SearchStrategy[Any]] = {
        "text": words,
        "texts": st.lists(words),
        "choice": words,
        "choices": st.lists(words),
        "sorting": words.map(lambda word: f"{word}:asc"),
        "since": st.integers(1, 80).map(lambda days: f"{days}d") | st.integers(max(1, param.minimum), 3),
        "until": st.sampled_from(["now", "-1d"]) | st.integers(max(1, param.minimum), 3),
        "zone": st.sampled_from(["UTC", "Europe/Berlin", "US/Pacific"]),
        "number": st.integers(0, 9),
        "flag": st.booleans(),
    }
    return strategies[param.type]


@st.composite
def selectors(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    """A kind and values that it allows, for some of its parameters."""
    row = draw(st.sampled_from(sorted(KINDS.values(), key=lambda kind: kind.name)))
    params = [param for param in row.params if param.required or draw(st.booleans())]
    return row.name, {param.name: draw(_values(param)) for param in params}


@given(selectors(), st.randoms(use_true_random=False))
def test_order_does_not_matter(chosen: tuple[str, dict[str, Any]], random: Any) -> None:
    """Keys and list items in another order ask for the same, so they share one fetch."""
    kind, params = chosen
    shuffled = {}
    for key in random.sample(sorted(params), len(params)):
        value = params[key]
        shuffled[key] = random.sample(value, len(value)) if isinstance(value, list) else value
    assert read_selector(kind, {"apiQueryParams": shuffled})[0] == read_selector(kind, {"apiQueryParams": params})[0]


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
_KEYS = sorted({param.name for kind in KINDS.values() for param in kind.params})
_OPTIONS = sorted({option.name for kind in KINDS.values() for option in kind.options})


@given(
    st.sampled_from([*KINDS, "nonsense"]),
    st.dictionaries(
        st.sampled_from(["apiQueryParams", "exportEnvVariables", *_OPTIONS, *_KEYS, "else"]),
        _JSON | st.dictionaries(st.sampled_from([*_KEYS, *_OPTIONS]), _JSON),
    ),
)
def test_any_selector_gives_a_query_or_an_error(kind: str, selector: dict[str, Any]) -> None:
    """Whatever is written: no exception, and no query only when a problem is an error."""
    query, problems = read_selector(kind, selector)
    assert (query is None) == any(problem.severity is Severity.ERROR for problem in problems)


PAST, AHEAD = (
    "nothing lies between -30d and 2026-01-01",
    '"2026-07-01" is not over yet, and nothing is listed from there',
)


@pytest.mark.parametrize(
    ("kind", "selector", "path", "detail", "fine_at"),
    [
        ("incidents", {"since": "30d", "until": "2026-01-01"}, ("until",), PAST, "2026-01-15"),
        ("incidents.notes", {"since": 1, "until": "2026-01-01"}, ("until",), PAST, "2026-01-15"),
        (
            "notifications",
            {"since": "2026-07-01", "until": "now"},
            ("until",),
            "nothing lies between 2026-07-01 and now",
            "2026-07-02",
        ),
        ("incidents", {"since": "2026-07-01"}, ("since",), AHEAD, "2026-07-02"),
        (
            "analytics.raw.incidents",  # which is asked for with 90 days
            {"until": "2026-01-01"},
            ("until",),
            "nothing lies between -90d and 2026-01-01",
            "2026-01-15",
        ),
        (
            "oncalls",  # which PagerDuty lists from now on
            {"until": "2026-05-01"},
            ("until",),
            "nothing lies between now and 2026-05-01",
            "2026-04-30",
        ),
        (
            "oncalls",  # and no further than 90 days ahead
            {"since": "2026-09-15", "until": "2026-10-01"},
            ("until",),
            "nothing lies between 2026-09-15 and 2026-10-01",
            "2026-07-01",
        ),
    ],
)
def test_a_stretch_that_holds_nothing_now_is_an_error_where_now_is_known(
    kind: str, selector: dict[str, Any], path: tuple[str, ...], detail: str, fine_at: str
) -> None:
    """A beginning that moves comes to lie behind an end that does not: refused then, in the words for two that rest."""
    whole: dict[str, Any] = {"apiQueryParams": selector}
    above = ("parents",) if kind == "incidents.notes" else ()
    whole = {"parents": whole} if above else whole
    (problem,) = read_selector(kind, whole, datetime(2026, 6, 1, tzinfo=UTC))[1]
    assert (problem.code, problem.path, problem.detail) == ("PD143", (*above, "apiQueryParams", *path), detail)
    for at in (None, datetime.fromisoformat(f"{fine_at}T00:00:00Z")):
        assert read_selector(kind, whole, at)[1] == ()


def test_names_in_the_table_are_consistent() -> None:
    """Every row is found under its name, and what it refers to within itself is there."""
    for name, row in KINDS.items():
        options = {option.name for option in row.options}
        assert row.name == name == KINDS[row.path].name
        assert row.path.startswith("/")
        assert {each.when for each in row.enrichments} - {""} <= options
        assert {each.argument for each in row.enrichments} - {""} <= options
