"""The comment and the summary: what they say, that they fit, and that no data gets out of its code."""

from __future__ import annotations

from dataclasses import replace
from html.parser import HTMLParser

import pytest
from cmarkgfm import github_flavored_markdown_to_html
from cmarkgfm.cmark import Options
from hypothesis import given, settings
from hypothesis import strategies as st

from pdsync.errors import Diagnostic, Origin, Severity, error
from pdsync.github.body import (
    COMMENT_BYTES,
    COMMENT_UNITS,
    Page,
    Review,
    comment_body,
    record_of,
    review_line,
    summary_body,
)
from pdsync.github.events import Event, Mode
from pdsync.github.record import Record, comment_key, read_marker
from pdsync.github.report import Report
from pdsync.github.settings import read_settings
from pdsync.github.text import fit, fits, utf16_units
from pdsync.model import Outcome, Plan
from tests.github.plans import change, plan
from tests.github.strategies import BREAK_OUTS, hostile

KEY = comment_key("", "catalog", "")
SIGN = "§data§"
RUN = {
    "GITHUB_REPOSITORY": "acme/catalog",
    "GITHUB_RUN_ID": "42",
    "GITHUB_SERVER_URL": "https://github.example",
    "PDSYNC_ACTION_ENVIRONMENT": "production",
}
ALLOWED = {"h3", "p", "strong", "code", "pre", "details", "summary", "ul", "li", "sub", "a"} | {
    *("table", "thead", "tbody", "tr", "th", "td")
}


def page(found: Plan | None, mode: Mode = Mode.PLAN, **parts: object) -> Page:
    report = Report(mode=mode, why="pull request 7", at="2026-01-02T03:04:05Z", comment_on=7, **parts)  # type: ignore[arg-type]
    event = Event("pull_request", number=7, head_sha="abcdef0123456789", sha="merge", base_sha="base")
    return Page(report, found, read_settings(RUN), event)


class Seen(HTMLParser):
    """Elements, links and text of rendered Markdown, with where each text stands."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: set[str] = set()
        self.links: set[str] = set()
        self.loose: list[str] = []
        self.stack: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.add(tag)
        self.links |= {value or "" for name, value in attrs if name in {"href", "src"}}
        self.stack.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.stack.pop() == tag, f"{tag} closes what it did not open"

    def handle_data(self, data: str) -> None:
        if not {"code", "pre"} & set(self.stack):
            self.loose.append(data)


def seen(body: str) -> Seen:
    options = Options.CMARK_OPT_UNSAFE | Options.CMARK_OPT_GITHUB_PRE_LANG
    return Seen(github_flavored_markdown_to_html(body, options))


def marked(text: str) -> str:
    return f"{SIGN}{text}{SIGN}"


@settings(max_examples=80, deadline=None)
@given(texts=st.lists(hostile, min_size=5, max_size=5), withheld=st.integers(0, 2))
def test_no_data_gets_out_of_its_code(texts: list[str], withheld: int) -> None:
    """Whatever entities, values, problems and answers say: only our elements, our links, and no data outside code."""
    identifier, title, value, problem, message = (marked(text) for text in texts)
    found = plan(
        change("create", identifier, title=title, after=value),
        change("update", identifier, title=title, before=value, after={"a": [value]}),
        change("delete", identifier, title=title),
        withheld=withheld,
    )
    diagnostic = Diagnostic(Severity.ERROR, "PD1", problem, detail=problem, origin=Origin(problem, 1))
    outcomes = (Outcome(1, "failed", message), Outcome(2, "done"), Outcome(3, "skipped", message))
    for shown in (
        page(found, diagnostics=(diagnostic,)),
        page(found, Mode.APPLY, outcomes=outcomes, diagnostics=(diagnostic,)),
        page(None, diagnostics=(diagnostic,), fails=True),
    ):
        for body in (comment_body(shown, KEY), summary_body(shown)):
            html = seen(body)
            assert html.elements <= ALLOWED
            assert html.links <= {"https://github.example/acme/catalog/actions/runs/42/attempts/1"}
            assert not [text for text in html.loose if SIGN in text]
            assert html.stack == []


@pytest.mark.parametrize("text", BREAK_OUTS)
def test_each_known_way_out_is_closed(text: str) -> None:
    """The fixtures one by one, so that one that opens again is named."""
    html = seen(comment_body(page(plan(change("delete", marked(text), title=marked(text)))), KEY))
    assert (html.elements <= ALLOWED, [found for found in html.loose if SIGN in found]) == (True, [])


@settings(max_examples=20, deadline=None)
@given(
    count=st.integers(0, 800),
    text=st.sampled_from(["a", "😀", "é", "`", "\u202e", "漢"]),
    length=st.integers(1, 400),
    problems=st.integers(0, 60),
)
def test_a_comment_always_fits(count: int, text: str, length: int, problems: int) -> None:
    """Any number of entities, of any script, with any number of problems: within GitHub's limits, marker first."""
    changes = [change("update", f"P{n}{text * 20}", title=text * length, after=text * length) for n in range(count)]
    diagnostics = (error("PD1", text * length, detail=text * length),) * problems
    shown = page(plan(*changes), diagnostics=diagnostics)
    body = comment_body(shown, KEY)
    assert (fits(body, units=COMMENT_UNITS, size=COMMENT_BYTES), utf16_units(body) <= 65_536) == (True, True)
    marker = read_marker(body)
    assert marker is not None
    assert marker[1] == record_of(shown)


def test_a_long_plan_names_its_deletes_and_gives_its_counts() -> None:
    """What a reviewer must see is there however long the plan is."""
    updates = [change("update", f"P{n}", after="x" * 500) for n in range(4000)]
    body = comment_body(page(plan(*updates, change("delete", "GONE"))), KEY)
    assert "pagerdutyService/GONE" in body
    assert "4000 to update, **1 to delete**" in body


def test_the_summary_has_room_for_more() -> None:
    """What does not fit into the comment may fit into the job summary, which has its own limit."""
    found = page(plan(*[change("update", f"P{n}", after="x" * 80) for n in range(2000)]))
    comment, summary = comment_body(found, KEY), summary_body(found)
    assert "P1999" not in comment
    assert "P1999" in summary
    assert len(summary.encode()) <= 1_000_000


@given(size=st.integers(0, 5000), text=st.sampled_from(["a", "😀", "漢"]))
def test_fit_gives_what_fits_or_nothing(size: int, text: str) -> None:
    """Rendering is repeated with less until the text fits; a text that cannot is left out whole."""
    fitted = fit(lambda budget: text * min(size, budget), units=1000, size=2000)
    assert fits(fitted, units=1000, size=2000)
    assert fitted == "" if size == 0 else len(fitted) > 0
    assert fit(lambda _: "x" * 3000, units=1000, size=2000) == ""


def test_the_first_lines_say_what_has_happened() -> None:
    """Marker, heading, one sentence; then the plan."""
    lines = comment_body(page(plan(change("create", "PX1"))), KEY).splitlines()
    assert lines[1:4] == [
        "### pdsync plan for production",
        "",
        "Plan for `abcdef0123`. Merging this pull request applies it.",
    ]


REVIEWED = plan(change("create", "PX1"))
DIFFERS = (
    "**This differs from the plan that was reviewed** on pull request #7 at `feedface00`: "
    "then 0 to create, 0 to update, 2 to delete, now 1 to create, 0 to update, 0 to delete."
)


@pytest.mark.parametrize(
    ("record", "said"),
    [
        (None, "No reviewed plan was found on pull request #7."),
        (Record("failed"), "No reviewed plan was found on pull request #7."),
        (
            Record("planned", fingerprint=REVIEWED.fingerprint, head_sha="feedface00ff"),
            "This is exactly the plan that was reviewed on pull request #7 at `feedface00`.",
        ),
        (
            Record("planned", fingerprint="other", head_sha="feedface00ff", counts={"delete": 2}),
            DIFFERS,
        ),
        (
            Record("partly-applied", fingerprint=REVIEWED.fingerprint),
            "An earlier run has already applied on pull request #7; this is what was left.",
        ),
    ],
)
def test_an_apply_says_whether_it_is_what_was_reviewed(record: Record | None, said: str) -> None:
    """The fingerprint in the comment's record against the plan's own."""
    applied = page(REVIEWED, Mode.APPLY, outcomes=(Outcome(1, "done"),))
    assert review_line(replace(applied, review=Review(7, record))) == said
    assert said in comment_body(replace(applied, review=Review(7, record)), KEY)


def test_a_partial_apply_names_what_was_not_done() -> None:
    """Four outcomes counted, failures with Port's own words, and what to do next."""
    outcomes = (Outcome(1, "done"), Outcome(2, "failed", "422 no such team"), Outcome(3, "skipped", "needs 2"))
    found = plan(change("create", "PX1"), change("create", "PX2"), change("create", "PX3"))
    body = comment_body(page(found, Mode.APPLY, outcomes=outcomes, exit_code=6, fails=True, serial=8), KEY)
    assert "**Applied partly** from `abcdef0123`: 1 done, 1 failed, 1 skipped. State 8. Run this job again" in body
    assert "- failed: `pagerdutyService/PX2` `422 no such team`" in body


def test_only_web_addresses_become_links() -> None:
    """An artifact's address that is none is left out."""
    bad = replace(page(REVIEWED), artifact_url="javascript:alert(1)")
    good = replace(page(REVIEWED), artifact_url="https://github.example/a/1")
    assert ("javascript" in comment_body(bad, KEY), "https://github.example/a/1" in comment_body(good, KEY)) == (
        False,
        True,
    )


def test_an_environment_cannot_shape_the_heading() -> None:
    """Its name comes from the workflow, and is reduced to plain words all the same."""
    named = read_settings({**RUN, "PDSYNC_ACTION_ENVIRONMENT": "pro`d\n# [x](y) @z"})
    body = comment_body(replace(page(REVIEWED), settings=named), KEY)
    assert body.splitlines()[1] == "### pdsync plan for prod xy z"
