"""The log: what is a command and what must not become one, by the runner's own rules."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pdsync.errors import Diagnostic, Origin, Severity, error, warning
from pdsync.github import log
from pdsync.plan.document import plan_document
from pdsync.render.html import render_plan_html
from pdsync.render.markdown import render_plan_markdown
from pdsync.render.plan_text import render_plan
from tests.github.runner_log import RunnerLog
from tests.github.strategies import hostile
from tests.render.cases import case_files, load, plan_of
from tests.render.html import seen
from tests.render.strategies import hostile_plans

if TYPE_CHECKING:
    from collections.abc import Callable

    from pdsync.model import Plan


def test_a_command_is_escaped() -> None:
    """Percent, line ends and, in properties, colon and comma; empty properties are left out."""
    made = log.command("error", "50% of\r\n::x", {"file": "a:b,c%.yml", "line": 3, "title": ""})
    assert made == "::error file=a%3Ab%2Cc%25.yml,line=3::50%25 of%0D%0A::x"


@given(message=hostile, title=hostile)
def test_any_text_in_a_command_comes_out_of_the_runner_as_it_went_in(message: str, title: str) -> None:
    """The runner reads back one annotation with exactly this text, and nothing else."""
    runner = RunnerLog()
    runner.read(log.command("error", message, {"title": title}))
    expected = [("error", {"title": title} if title else {}, message)]
    assert runner.annotations == expected


@given(texts=st.lists(hostile, max_size=6))
def test_guarded_text_commands_nothing(texts: list[str]) -> None:
    """Whatever entities are called: no annotation, no mask, and commands work again afterwards."""
    runner = RunnerLog()
    for line in log.guarded("\n".join(texts), "0123456789abcdef"):
        runner.read(line)
    runner.read("::error::still heard")
    assert runner.annotations == [("error", {}, "still heard")]


def test_guarded_text_stands_between_off_and_on() -> None:
    """The guard is there even though each line is harmless by itself."""
    assert log.guarded("a\nb", "t") == ["::stop-commands::t", "a", "b", "::t::"]


@given(text=hostile)
def test_a_safe_line_is_no_command_even_unguarded(text: str) -> None:
    """Both forms are broken, should the guard ever be missing."""
    runner = RunnerLog()
    for line in log.guarded(text, "t")[1:-1]:
        runner.read(line)
    assert (runner.annotations, runner.others) == ([], [])


def test_secrets_are_masked_whole_and_by_line() -> None:
    """A secret of several lines is hidden in each; what is too short would hide half the log."""
    assert log.mask("first-line\nsecond-line\nx") == [
        "::add-mask::first-line%0Asecond-line%0Ax",
        "::add-mask::first-line",
        "::add-mask::second-line",
    ]
    assert log.mask("abc") == []


def test_an_annotation_points_at_the_catalog() -> None:
    """File relative to the workspace, columns from origin and length, the hint after the text."""
    found = error(
        "PD110",
        "no such property",
        detail="'tire'",
        hint="Did you mean tier?",
        origin=Origin("catalog/m.yaml", 12, 5, 4),
    )
    assert log.annotation(found, "teams/a") == (
        "::error file=teams/a/catalog/m.yaml,line=12,endLine=12,col=5,endColumn=8,title=pdsync PD110"
        "::no such property%0A'tire'%0AFix: Did you mean tier?"
    )


@pytest.mark.parametrize("count", [0, 1, 8, 9, 50])
def test_no_level_says_more_than_github_shows(count: int) -> None:
    """At most eight of a level, worst level first; the last one counts what is not shown."""
    many: list[Diagnostic] = [warning("PD120", f"w{n}") for n in range(count)] + [error("PD110", "e")]
    lines = log.annotation_lines(many, "")
    warnings = [line for line in lines if line.startswith("::warning")]
    assert lines[0] == "::error title=pdsync PD110::e"
    assert len(warnings) == min(count, 8)
    if count > 8:
        assert warnings[-1] == f"::warning title=pdsync::and {count - 7} more, see the job summary"


def test_a_long_message_is_shortened_by_us() -> None:
    """The runner would cut it without a sign."""
    assert len(log.annotation(Diagnostic(Severity.NOTE, "PD1", "x" * 9000), "")) < 4096


def test_what_steers_a_terminal_is_told_and_not_done() -> None:
    """An annotation stands in the log as well, where escapes are obeyed; its own lines stay lines."""
    said = log.annotation(error("PD1", "a\x1b[2Jb", detail="one\r\ntwo\u202e", hint="three"), "")
    assert said == "::error title=pdsync PD1::a\\x1b[2Jb%0Aone\\r%0Atwo\\u202e%0AFix: three"


PLAN_FORMS: dict[str, Callable[[Plan], str]] = {
    "text": render_plan,
    "json": lambda plan: plan_document(plan).decode(),
    "markdown": lambda plan: render_plan_markdown(plan, budget=60_000, title="##[error]title"),
    "html": lambda plan: render_plan_html(plan, title="##[error]title"),
}


def commanded(text: str) -> list[object]:
    """What the runner obeys in a text that is printed."""
    runner = RunnerLog()
    for line in re.split(r"\r\n|\r|\n", text):
        runner.read(line)
    return [*runner.annotations, *runner.masks, *runner.others]


@pytest.mark.parametrize("form", PLAN_FORMS)
@pytest.mark.parametrize("name", ["hostile", "hostile-deletes", "hostile-nested"])
def test_no_line_of_a_plan_is_a_command(form: str, name: str) -> None:
    """The fixture of hostile names, in every format, as it is printed into the log."""
    plan = plan_of(load(next(path for path in case_files() if path.stem == name)))
    assert commanded(log.harmless(PLAN_FORMS[form](plan), form)) == []


@settings(max_examples=30, deadline=None)
@given(hostile_plans(most=4))
def test_no_line_of_any_plan_is_a_command(plan: Plan) -> None:
    """Whatever things are called; and the document that is saved holds none to begin with."""
    assert [form for form, render in PLAN_FORMS.items() if commanded(log.harmless(render(plan), form))] == []
    assert commanded(plan_document(plan).decode()) == []


@given(hostile)
def test_json_without_commands_is_the_same_json(text: str) -> None:
    """In every position of a document, indented or not."""
    value = {text: [text, {"#": f"##[{text}"}]}
    for option in (0, orjson.OPT_INDENT_2):
        told = log.harmless(orjson.dumps(value, option=option).decode(), "json")
        assert (orjson.loads(told), "##[" in told) == (value, False)


@settings(max_examples=30, deadline=None)
@given(hostile_plans(most=4))
def test_markdown_without_commands_is_made_of_the_same(plan: Plan) -> None:
    """To GitHub's parser: the same elements around the same text, but for what is shown as an escape inside code."""
    told = PLAN_FORMS["markdown"](plan)
    before, after = seen(told), seen(log.harmless(told, "markdown"))
    assert (after.elements, after.attributes, after.stack, after.loose) == (
        before.elements,
        before.attributes,
        before.stack,
        before.loose,
    )
    shown = [text.replace("##\\x5b", "##[").replace("\\x3a:", "::") for text in after.code]
    assert shown == [text.replace("##\\x5b", "##[").replace("\\x3a:", "::") for text in before.code]
