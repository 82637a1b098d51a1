"""Results, state, history, drift and traces as text and JSON; and values from outside made safe."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import replace
from typing import TYPE_CHECKING

import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pdsync.diff import Difference
from pdsync.errors import error, warning
from pdsync.mapping import evaluate_record
from pdsync.model import (
    Collection,
    EntityKey,
    Ledger,
    LedgerEntry,
    Outcome,
    Query,
    Record,
    RunHead,
    RunRecord,
    Snapshot,
)
from pdsync.plan.drift import Drift
from pdsync.render.escape import LONGEST, both_texts, quoted, value_text, visible, visible_json
from pdsync.render.paint import Paint
from pdsync.render.result_text import render_result
from pdsync.render.run_text import render_history, render_run
from pdsync.render.state_text import render_drift, render_entry, render_ledger, render_snapshot, table
from pdsync.render.trace_text import render_trace
from pdsync.state.runs import note_of
from tests.mapping.builders import record, rule
from tests.render.strategies import HOSTILE, VALUES, hostile_plans
from tests.state.runs import numbers, plan_of_each

if TYPE_CHECKING:
    from pdsync.model import Plan

PLAN = plan_of_each()
N = numbers(PLAN)
HEAD = RunHead("r1", "2026-06-01T12:00:00Z", who="me@here", link="https://ci.example/9")
RECORD = RunRecord(HEAD, PLAN, {N["new"]: "done", N["old"]: "failed"}, {N["old"]: "no (422)"}, closed=2)
NOTE = note_of(HEAD, PLAN, RECORD.statuses, 2)
LEDGER = Ledger(
    "ab",
    3,
    org_id="org",
    commit="c0ffee",
    blueprints={"service": LedgerEntry({"title": "Service"}, "created"), "team": LedgerEntry({}, "adopted")},
    entities={
        EntityKey("service", "a"): LedgerEntry({"title": "A", "properties.tier": "1"}, "created", ("r",), "services/a"),
        EntityKey("service", "b"): LedgerEntry({"title": "B"}, "adopted", protect=True),
    },
)
SNAPSHOT = Snapshot(
    "https://pd",
    "2026-06-01T12:00:00Z",
    {
        Query("users"): Collection(Query("users"), (), error("PD301", "not allowed")),
        Query("services", (("include[]", "teams"),)): Collection(
            Query("services", (("include[]", "teams"),)),
            tuple(Record(str(n), b"{}") for n in range(1200)),
            requests=12,
            seconds=1.25,
        ),
    },
)


def steers(text: str) -> set[str]:
    """Characters that a terminal would obey, but for the ends of lines."""
    return {c for c in text if unicodedata.category(c) in {"Cc", "Cf", "Cs", "Zl", "Zp"}} - {"\n"}


# --- values


@given(st.text())
def test_visible_text_is_one_harmless_line(text: str) -> None:
    """Nothing invisible is left, and text without such characters is itself."""
    shown = visible(text)
    assert steers(shown) | ({"\n"} & set(shown)) == set()
    assert shown == text or steers(text) or "\n" in text


@given(VALUES, st.sampled_from([0, orjson.OPT_INDENT_2]))
def test_json_on_a_terminal_is_harmless_and_the_same_json(value: object, option: int) -> None:
    """Also what JSON itself need not escape; text without such characters is itself."""
    told = orjson.dumps(value, option=option).decode()
    shown = visible_json(told)
    assert (orjson.loads(shown), steers(shown), shown == told) == (orjson.loads(told), set(), not steers(told))


@given(VALUES)
def test_a_value_is_one_line_that_is_not_too_long(value: object) -> None:
    """However long and nested, a value is one line; what is cut is said with its length."""
    shown = value_text(value)
    assert (len(shown) <= LONGEST, shown.count("\n"), steers(shown)) == (True, 0, set())
    whole = visible(orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode())
    assert shown == whole or shown.endswith(f"({len(whole):,} characters)")


def test_short_values_are_whole_and_long_ones_cut() -> None:
    """At the limit a value is whole; one character more and it is cut."""
    assert value_text("x" * (LONGEST - 2)) == '"' + "x" * (LONGEST - 2) + '"'
    assert value_text("x" * (LONGEST - 1)).endswith("… (161 characters)")
    assert (quoted('say "hi"'), value_text({"b": None, "a": 1.0})) == ('"say \\"hi\\""', '{"a":1.0,"b":null}')


@given(st.text("xyé\n", max_size=400), st.text("xy", max_size=3), st.text("xy", max_size=300))
@example("x" * 10_000, "", "y")
@example("x" * 119, "", "y" * 100)
def test_two_values_that_differ_are_shown_to_differ(head: str, middle: str, end: str) -> None:
    """Wherever the difference is, each in a line that is not too long."""
    for before, after in ((head + middle + end, head + end), (head + end, head), ([head, end], [head, middle])):
        shown = both_texts(before, after)
        assert max(map(len, shown)) <= LONGEST
        told = [re.sub(r" \([0-9,]+ characters\)$", "", text) for text in shown]
        assert (told[0] != told[1]) == (before != after)


def test_paint_repeats_or_leaves() -> None:
    """Colour wraps text; empty text and no colour stay as they are."""
    assert (Paint(True)("red", "x"), Paint(True)("red", ""), Paint(False)("red", "x")) == ("\x1b[31mx\x1b[0m", "", "x")


# --- results


def test_a_whole_apply_is_one_line() -> None:
    """When all is done only that is said, with the serial that holds it."""
    outcomes = [Outcome(c.n, "done") for c in PLAN.changes]
    assert render_result(PLAN, outcomes, serial=4) == "Apply complete: 6 done. State saved, serial 4.\n"


def test_a_plan_that_lacks_something_is_not_all_there_was_to_do() -> None:
    """The exit code says so, and so does the text."""
    plan = replace(PLAN, diagnostics=(error("PD320", "a list could not be read completely"), warning("PD230", "so")))
    text = render_result(plan, [Outcome(c.n, "done") for c in PLAN.changes], serial=4)
    assert text.splitlines()[:-1] == ["1 problem kept a part from being planned; `pdsync plan` tells which."]
    reverting = replace(plan, base=replace(plan.base, scope={"reverts": "20261128T044306Z-f8c96c"}))
    text = render_result(reverting, [], serial=4)
    assert "; `pdsync revert 20261128T044306Z-f8c96c` tells which." in text


def test_what_was_not_done_is_named_with_its_reason() -> None:
    """Failed, skipped and unknown changes each have their entity and the message; the counts are right."""
    outcomes = [
        Outcome(N["new"], "failed", 'invalid: "tier" \x1b[31m(422)'),
        Outcome(N["old"], "skipped", "waits for #1, which was not done"),
        Outcome(N["gone"], "unknown", "Port cannot be reached"),
        *(Outcome(N[name], "done") for name in ("incident", "same", "lost")),
    ]
    text = render_result(PLAN, outcomes, serial=4)
    assert text.splitlines() == [
        "Failed (1)",
        f'  #{N["new"]} + service/new "new"',
        '       invalid: "tier" \\x1b[31m(422)',
        "Skipped (1)",
        f'  #{N["old"]} ~ service/old "old"',
        "       waits for #1, which was not done",
        "Not known to be whole (1)",
        f'  #{N["gone"]} - service/gone "gone"',
        "       Port cannot be reached",
        "Apply incomplete: 3 done, 1 failed, 1 skipped, 1 unknown. State saved, serial 4.",
    ]


@settings(max_examples=40, deadline=None)
@given(hostile_plans(), HOSTILE)
def test_results_do_not_steer(plan: Plan, message: str) -> None:
    """Messages of Port and names are data, too."""
    outcomes = [Outcome(c.n, "failed", message) for c in plan.changes]
    assert steers(render_result(plan, outcomes, serial=1)) == set()


# --- state


def test_the_ledger_is_counted() -> None:
    """How many of each blueprint are owned, how many of them were taken over, and how old the snapshot is."""
    assert render_ledger(LEDGER, SNAPSHOT, "text").splitlines() == [
        "serial 3, lineage ab, organisation org",
        "catalog commit c0ffee, snapshot 2026-06-01T12:00:00Z",
        "blueprint  entities  of them adopted",
        "service    2         1",
        "team       0         0",
    ]
    assert orjson.loads(render_ledger(LEDGER, None, "json")) == {
        "lineage": "ab",
        "serial": 3,
        "org_id": "org",
        "account": "",
        "commit": "c0ffee",
        "entities": {"service": 2},
        "blueprints": ["service", "team"],
        "snapshot": None,
    }


def test_an_empty_ledger_says_so() -> None:
    """At first there is nothing, in words."""
    assert "serial 0, lineage none yet, organisation unknown" in render_ledger(Ledger(""), None, "text")


def test_an_entry_is_shown_with_all_it_wrote() -> None:
    """Origin, source, rules and each value."""
    a, b = (LEDGER.entities[EntityKey("service", name)] for name in "ab")
    assert render_entry("service/a", a, "text").splitlines() == [
        "service/a  created",
        "  from services/a by r",
        '  properties.tier  "1"',
        '  title  "A"',
    ]
    assert render_entry("service/b", b, "text").splitlines()[0] == "service/b  adopted  protected"
    assert orjson.loads(render_entry("service/a", a, "json"))["fields"] == {"properties.tier": "1", "title": "A"}


def test_a_snapshot_is_a_line_per_list() -> None:
    """Records, requests, seconds, and whether it is complete or why not."""
    assert render_snapshot(SNAPSHOT).splitlines() == [
        "Snapshot of https://pd, taken 2026-06-01T12:00:00Z, 12 requests",
        "kind      records  requests  seconds  complete         reading",
        "services  1,200    12        1.2      yes              full",
        "  include=teams",
        "users     0        0         0.0      no: not allowed  full",
    ]


def test_lists_that_differ_in_what_is_fetched_besides_are_told_apart() -> None:
    """And only those: what is usual need not be said."""
    wishes = ((("__analytics", "6"), ("__oncall_user", "")), (), (("__custom_fields", ""),))
    queries = [Query("services", (("query", "a"),), wish) for wish in wishes]
    others = {query: Collection(query, ()) for query in (*queries, Query("users", (), (("__email", ""),)))}
    lines = render_snapshot(replace(SNAPSHOT, collections=others)).splitlines()[2:]
    assert [line.strip() for line in lines if line.startswith("  ")] == [
        "query=a  with __analytics (6), __oncall_user",
        "query=a  with nothing besides",
        "query=a  with __custom_fields",
    ]


def test_history_is_newest_first() -> None:
    """Who, for which commit, how it went, from where; a run that no ledger holds says so."""
    later = note_of(replace(HEAD, run="r2", who="", link="", resumes="r1"), PLAN, {N["new"]: "unknown"}, 0)
    assert render_history([NOTE, later], "text").splitlines() == [
        "run  started               operation  who      commit  changes  done  failed  skipped  unknown  state      from",
        (
            "r2   2026-06-01T12:00:00Z  apply      -        c0ffee  6        0     0       0        1        not saved"
            "  resumes r1"
        ),
        (
            "r1   2026-06-01T12:00:00Z  apply      me@here  c0ffee  6        1     1       0        0        2"
            "          https://ci.example/9"
        ),
    ]
    told = orjson.loads(render_history([NOTE, later], "json"))
    assert [(run["run"], run["state"], run["who"]) for run in told] == [("r2", "not saved", ""), ("r1", 2, "me@here")]
    assert render_history([], "text") == "No runs yet.\n"


def test_a_run_is_shown_change_by_change() -> None:
    """Who and from where; what ended, how, with its message; what was not begun is told."""
    lines = render_run(NOTE, RECORD, "text").splitlines()
    assert lines[:2] == [
        "r1: apply by me@here, started 2026-06-01T12:00:00Z",
        "catalog commit c0ffee, https://ci.example/9, state 2",
    ]
    assert f"  #{N['old']} update service/old  failed  no (422)" in lines
    assert f"  #{N['gone']} delete service/gone  not begun" in lines
    assert lines[-1] == "6 changes: 1 done, 1 failed, 4 not begun"
    listed = orjson.loads(render_run(NOTE, RECORD, "json"))["listed"]
    assert [item["status"] for item in listed if item["n"] == N["new"]] == ["done"]


def test_a_run_without_its_journal_is_shown_in_numbers() -> None:
    """What the ledger remembers, and where the rest is."""
    assert render_run(NOTE, None, "text").splitlines()[-1] == "Its journal, which tells every change, is not here."
    assert orjson.loads(render_run(NOTE, None, "json"))["listed"] is None


DRIFTS = (
    Drift("entity", EntityKey("service", "a"), "A", (Difference("properties.tier", "1", "2"),), "eve", "2026-06-01"),
    Drift("entity", EntityKey("service", "b"), "B", ()),
    Drift("blueprint", EntityKey("team", "team"), "Team", (Difference("title", "Team", "Teams"),)),
)


def test_drift_says_what_who_and_what_is_gone() -> None:
    """What we wrote, what Port holds, who changed it; gone things are gone."""
    assert render_drift(DRIFTS, "text").splitlines() == [
        '~ service/a "A"  by eve 2026-06-01',
        '    properties.tier  "1" -> "2"',
        '~ service/b "B"  gone',
        '~ team "Team"',
        '    title  "Team" -> "Teams"',
        "Drift: 3 changed outside.",
    ]
    assert orjson.loads(render_drift(DRIFTS, "json"))[0]["key"] == ["service", "a"]
    assert render_drift((), "text") == "No drift: Port is as we last wrote it.\n"


@given(HOSTILE, HOSTILE)
def test_state_does_not_steer(name: str, text: str) -> None:
    """Whatever stands in the state, a terminal only ever shows it."""
    key, entry = EntityKey(name, text), LedgerEntry({name: text}, "created", (text,), name)
    owned = Ledger(text, org_id=name, commit=text, blueprints={name: entry}, entities={key: entry})
    drift = Drift("entity", key, text, (Difference(name, text, [text]),), text, name)
    snapshot = Snapshot(text, "t", {Query(name): Collection(Query(name), (), error("PD1", text))})
    shown = render_ledger(owned, None, "text") + render_entry(text, entry, "text") + render_drift((drift,), "text")
    assert steers(shown + render_snapshot(snapshot)) == set()


@settings(max_examples=30, deadline=None)
@given(hostile_plans(), HOSTILE)
def test_runs_do_not_steer(plan: Plan, message: str) -> None:
    """Nor what stands in a journal."""
    head = RunHead(*[message] * 7)
    run = RunRecord(head, plan, {c.n: "failed" for c in plan.changes}, {c.n: message for c in plan.changes})
    note = note_of(head, plan, run.statuses, 0)
    assert steers(render_run(note, run, "text") + render_history([note], "text")) == set()


def test_tables_line_up() -> None:
    """Columns are as wide as their widest cell, and lines end without spaces."""
    assert table([("a", "b"), ("long", ""), ("", "x")]) == "a     b\nlong\n      x\n"


# --- traces


RULE = rule(
    {
        "title": ".name",
        "properties.tier": ".tier",
        "properties.none": "empty",
        "properties.two": ".name, .id",
        "properties.bad": '.name | error("no")',
    },
    selector='.id != "PX2"',
)


def test_a_trace_tells_every_expression_with_its_place() -> None:
    """Value, null, no output, several outputs and error are told apart, each at its line of the catalog."""
    lines = render_trace(evaluate_record(RULE, record({"id": "PX1", "name": "Pay"}))).splitlines()
    told = {
        line.split()[0]: " ".join(line.split()[1:]) for line in lines if line.startswith("  ") and line[2] not in " ="
    }
    assert told["selector"] == "true catalog/mappings/pagerduty.yaml:1:5"
    assert told["title"] == '"Pay" catalog/mappings/pagerduty.yaml:4:5'
    assert told["properties.tier"].startswith("null ")
    assert told["properties.none"].startswith("no output (null) ")
    assert told["properties.two"].startswith('"Pay" (the first of several outputs) ')
    assert told["properties.bad"].startswith("error: no")
    assert "  = service/PX1" in lines
    assert any("properties.bad  unknown: " in line for line in lines)


def test_a_record_that_is_not_selected_says_so() -> None:
    """The selector is shown, and that no entity comes of it."""
    text = render_trace(evaluate_record(RULE, record({"id": "PX2"}, name="PX2")))
    assert "not selected: no entity comes of it" in text


@pytest.mark.parametrize("identifier", [".missing", '"a b\\u0000"', "error"])
def test_a_record_that_fails_says_why(identifier: str) -> None:
    """An identifier that cannot be used is told as the failure of the record, harmlessly."""
    text = render_trace(evaluate_record(rule({"title": ".name"}, identifier=identifier), record({"id": "x"})))
    assert ("  = " in text, "identifier" in text, steers(text)) == (False, True, set())
