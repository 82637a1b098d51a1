"""The plan as a page: all of it is there, nothing in it can become more than text, and it loads nothing."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings

from pdsync.model import Held
from pdsync.plan.branch import base_fields, parts
from pdsync.render.html import digest, render_plan_html
from pdsync.render.html_page import SCRIPT, STYLE
from pdsync.render.plan_text import render_plan
from tests.render.cases import case_files, load, plan_of
from tests.render.strategies import HOSTILE, hostile_plans

if TYPE_CHECKING:
    from pathlib import Path

    from pdsync.model import Plan

OWN = {
    "html",
    "head",
    "meta",
    "title",
    "style",
    "body",
    "header",
    "h1",
    "h2",
    "p",
    "ul",
    "li",
    "b",
    "main",
    "noscript",
    "code",
    "div",
    "input",
    "select",
    "option",
    "span",
    "button",
    "script",
}


class Page(HTMLParser):
    """Elements, attributes and the texts of a page."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.texts: dict[str, list[str]] = {}
        self.comments: list[str] = []
        self._stack: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        self.attributes += attrs
        if tag not in ("meta", "input"):
            self._stack.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._stack.pop() == tag

    def handle_comment(self, data: str) -> None:
        self.comments.append(data)

    def handle_data(self, data: str) -> None:
        self.texts.setdefault(self._stack[-1] if self._stack else "", []).append(data)


def page(plan: Plan, title: str = "test") -> Page:
    return Page(render_plan_html(plan, title=title))


@settings(max_examples=40, deadline=None)
@given(hostile_plans(), HOSTILE)
def test_data_is_text_and_nothing_else(plan: Plan, title: str) -> None:
    """Whatever stands in names and values: no element, attribute, comment or address that the frame does not have."""
    seen, frame = page(plan, title), page(plan_of(load(_case("no-changes"))))
    assert set(seen.elements) <= OWN
    assert seen.comments == []
    assert [pair for pair in seen.attributes if pair not in frame.attributes and pair != ("class", "notes")] == []
    assert seen.elements.count("script") == 2


@settings(max_examples=40, deadline=None)
@given(hostile_plans())
def test_every_change_is_there(plan: Plan) -> None:
    """What the branch changes first; deletes, then in the order of doing; each with all of its fields."""
    changes = json.loads(page(plan).texts["script"][0])["changes"]
    mine, rest = parts(plan)
    whose = ("this branch", "the rest") if plan.branch else ("", "")
    base = {each.n: each.base for each in plan.branch.otherwise} if plan.branch else {}
    listed = [
        (c.n, c.action, len(c.fields) + len(base_fields(c, base[c.n]) if c.n in base else ()), name)
        for part, name in ((mine, whose[0]), (rest, whose[1]))
        for removed in (True, False)
        for c in part.changes
        if (c.action == "delete") is removed
    ]
    gone = [(0, c.action, len(c.fields), "only the base") for c in (plan.branch.gone if plan.branch else ())]
    assert [(row[0], row[1], len(row[7]), row[8]) for row in changes] == [*listed, *gone]


def test_a_change_is_found_by_each_of_its_causes() -> None:
    """Not by the words that several of them make together."""
    plan = plan_of(load(_case("causes")))
    rows = json.loads(page(plan).texts["script"][0])["changes"]
    told = {c.n: {*c.causes, *(cause for f in c.fields for cause in f.causes)} for c in plan.changes}
    assert {row[0]: set(row[9]) for row in rows} == told
    assert any(len(causes) > 1 for causes in told.values())


@pytest.mark.parametrize("name", ["hostile", "hostile-deletes", "hostile-nested", "guards"])
def test_it_runs_and_loads_nothing_but_its_own(name: str) -> None:
    """The policy names the digests of the style and the script that are there; there is no address in it."""
    html = render_plan_html(plan_of(load(_case(name))), title="<script>alert(1)</script>")
    seen = Page(html)
    policy = next(value for key, value in seen.attributes if key == "content" and value and "default-src" in value)
    assert (f"style-src {digest(STYLE)};" in policy, f"script-src {digest(SCRIPT)};" in policy) == (True, True)
    assert (seen.texts["style"], seen.texts["script"][1]) == ([STYLE], SCRIPT)
    assert not re.search(r"(?:src|href)\s*=", html.replace(policy, ""))


def test_what_was_kept_back_is_told_above_the_changes() -> None:
    """Guards with what lifts them, deletes that are withheld, and what is left alone."""
    seen = page(plan_of(load(_case("guards"))))
    assert any("--allow-breaking service.old=1" in text for text in seen.texts["li"])


def _case(name: str) -> Path:
    return next(path for path in case_files() if path.stem == name)


def test_a_part_that_stays_has_no_values() -> None:
    """What is only let go of stands there with the reason alone."""
    rows = json.loads(page(plan_of(load(_case("blueprint-parts")))).texts["script"][0])["changes"]
    fields = [field for row in rows for field in row[7] if field[0] == "schema.properties.tags"]
    assert [(field[1], field[2], "released" in field[4]) for field in fields] == [("", "", True), ("", "", True)]


def test_what_differs_inside_a_value_is_told_as_in_the_text() -> None:
    """Lines of a text, members of a value: the page has what the text has."""
    made = plan_of(load(_case("nested-texts")))
    rows = json.loads(page(made).texts["script"][0])["changes"]
    told = {field[0]: field[5] for row in rows for field in row[7]}
    assert told["properties.json"] == ['.region  "us" -> "eu"']
    text = render_plan(made)
    assert [line for lines in told.values() for line in lines if f"         {line}\n" not in text] == []


def test_many_notes_are_closed() -> None:
    """What is left as it is does not push the changes out of sight."""
    held = tuple(Held("service", f"s{n}", f"because of {n}") for n in range(40))
    seen = page(replace(plan_of(load(_case("held"))), held=held))
    assert [text for text in seen.texts["h2"] if "(" in text] == ["Left as they are (40)"]
