"""A plan as Markdown: within its budget, whole, and no data outside of code."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pdsync.model import Change, FieldChange, Held, Plan, Summary, Withheld
from pdsync.render.escape import visible
from pdsync.render.markdown import cell, code, fenced, render_plan_markdown
from pdsync.render.plan_text import spoken
from tests.builders import BASE
from tests.render.cases import case_files, load, plan_of
from tests.render.html import seen
from tests.render.strategies import HOSTILE, TRAPS, hostile_plans

if TYPE_CHECKING:
    from pathlib import Path

BUDGETS = st.integers(0, 20_000) | st.just(60_000)
OURS = {"h3", "p", "strong", "code", "pre", "details", "summary", "ul", "li", "sub"} | {
    *("table", "thead", "tbody", "tr", "th", "td")
}
SIGN = "§data§"


def size(text: str) -> int:
    return len(text.encode())


def marked(plan: Plan) -> Plan:
    """The plan with a sign on both sides of every text that comes from outside."""

    def sign(text: str) -> str:
        return f"{SIGN}{text}{SIGN}"

    def of(change: Change) -> Change:
        return replace(
            change,
            blueprint=sign(change.blueprint),
            identifier=sign(change.identifier),
            title=sign(change.title),
            fields=tuple(
                replace(f, path=sign(f.path), before=[f.before, SIGN], after=[SIGN, f.after]) for f in change.fields
            ),
        )

    def kept(each: Withheld) -> Withheld:
        blueprint, identifier = sign(each.blueprint), sign(each.identifier)
        return Withheld(blueprint, identifier, sign(each.title), sign(each.reason), sign(each.flag), each.target)

    def left(each: Held) -> Held:
        return replace(each, identifier=sign(each.identifier), reason=sign(each.reason))

    branch = plan.branch and replace(
        plan.branch,
        ref=sign(plan.branch.ref),
        otherwise=tuple(replace(each, base=of(each.base)) for each in plan.branch.otherwise),
        gone=tuple(map(of, plan.branch.gone)),
        withheld=tuple(map(kept, plan.branch.withheld)),
        held=tuple(map(left, plan.branch.held)),
    )
    return replace(
        plan,
        changes=tuple(map(of, plan.changes)),
        withheld=tuple(map(kept, plan.withheld)),
        held=tuple(map(left, plan.held)),
        branch=branch,
    )


@settings(max_examples=60, deadline=None)
@given(hostile_plans(), BUDGETS)
def test_the_budget_holds(plan: Plan, budget: int) -> None:
    """No more bytes than allowed, but for the summary and the counts, which are never left out."""
    least = render_plan_markdown(plan, budget=0, title="test")
    assert size(render_plan_markdown(plan, budget=budget, title="test")) <= max(budget, size(least))


@settings(max_examples=60, deadline=None)
@given(hostile_plans(), BUDGETS)
def test_data_stands_in_code_alone(plan: Plan, budget: int) -> None:
    """Rendered as on GitHub: only our elements, balanced, without attributes but `open`, and no data outside of code."""
    html = seen(render_plan_markdown(marked(plan), budget=budget, title="test"))
    assert html.elements <= OURS
    assert html.attributes <= {"open", "lang", "align"}
    assert html.stack == []
    assert SIGN not in html.loose


@pytest.mark.parametrize("trap", TRAPS, ids=lambda trap: ascii(trap)[:30])
def test_each_known_way_out_is_closed(trap: str) -> None:
    """The known tricks one by one, in every place, so that one that opens again is named."""
    field = FieldChange(trap, trap, [trap], "source", trap)
    change = Change(1, "entity", "update", trap, trap, trap, (field,), "changed", "source")
    gone = Change(2, "entity", "delete", trap, trap, trap, (), "unmapped", "catalog")
    plan = Plan(BASE, (change, gone), (Withheld(trap, trap, trap, trap, trap),), (), (), Summary(), {}, "f00d")
    html = seen(render_plan_markdown(marked(plan), budget=60_000, title="test"))
    assert (html.elements <= OURS, html.attributes <= {"open", "lang", "align"}, SIGN in html.loose) == (
        True,
        True,
        False,
    )


@given(HOSTILE)
def test_a_code_span_is_one_code_span(text: str) -> None:
    """Nothing ends a code span, whatever stands around it; a table cell stays one cell."""
    html = seen(f"a {code(text)} b")
    assert (html.elements, html.loose.split(), len(html.code)) == ({"p", "code"}, ["a", "b"], 1)
    row = seen(f"| x | y |\n|---|---|\n| {cell(text)} | b |\n")
    assert (len(row.code), row.loose.split()) == (1, ["x", "y", "b"])


@given(st.lists(HOSTILE, max_size=3))
def test_a_fence_is_one_block(lines: list[str]) -> None:
    """Nothing ends a fenced block before its own end."""
    html = seen(fenced(lines, "diff") + "\n\nafter\n")
    assert (html.elements, html.loose.split()) == ({"pre", "code", "p"}, ["after"])


def many(action: str, count: int, title: str = "Service") -> Plan:
    """A plan of one sort of change."""
    changes = tuple(
        Change(n, "entity", action, "service", f"s{n}", f"{title} {n}", (), "unmapped", "catalog")  # type: ignore[arg-type]
        for n in range(1, count + 1)
    )
    return Plan(BASE, changes, (), (), (), Summary(**{action: count}), {}, "f00d")


def test_deletes_are_the_last_to_be_shortened() -> None:
    """When something must be told with less, every delete is still named while creates are only counted."""
    creates, deletes = many("create", 400), many("delete", 100)
    plan = replace(
        creates,
        changes=(*creates.changes, *(replace(c, n=c.n + 400) for c in deletes.changes)),
        summary=Summary(create=400, delete=100),
    )
    text = render_plan_markdown(plan, budget=8000, title="test")
    assert sum(f"- service/s{n} " in text for n in range(1, 101)) == 100
    assert "**To create: 400** (`service` 400" in text


@pytest.mark.parametrize("count", [0, 1, 50, 5000])
@pytest.mark.parametrize("budget", [3000, 60_000])
def test_however_many_it_fits(count: int, budget: int) -> None:
    """From no change to thousands: within the budget, and the counts are there."""
    text = render_plan_markdown(many("delete", count, "x" * 100), budget=budget, title="test")
    assert size(text) <= budget
    assert (f"**{count} to delete**" if count else "**No changes.**") in text


def test_nothing_is_cut_in_the_middle() -> None:
    """Each budget from none to enough gives whole lines of the fullest text, or counts."""
    plan = many("update", 30)
    whole = render_plan_markdown(plan, budget=60_000, title="test")
    for budget in range(0, size(whole) + 50, 97):
        text = render_plan_markdown(plan, budget=budget, title="test")
        assert text.count("```") in (0, 2)
        assert re.findall(r"service/s\d+", text) in ([], [f"service/s{n}" for n in range(1, 31)])


def test_without_changes_the_other_counts_are_told_all_the_same() -> None:
    """What is left alone is never invisible."""
    plan = plan_of(load(next(path for path in case_files() if path.stem == "held")))
    lead = render_plan_markdown(plan, budget=60_000, title="test").split("\n")[2]
    assert lead == "**No changes.** 0 unchanged, 8 left as they are."


@pytest.mark.parametrize("path", case_files(), ids=lambda path: path.stem)
def test_what_the_text_says_the_markdown_says(path: Path) -> None:
    """Every change, why it is one, withheld delete and held entity of the golden cases is told by the Markdown, too."""
    plan = plan_of(load(path))
    shown = "\n".join(seen(render_plan_markdown(plan, budget=60_000, title="test")).code)
    named = [c.blueprint if c.target == "blueprint" else str(c.key) for c in plan.changes]
    named += [w.name for w in plan.withheld] + [str(h.key) for h in plan.held] + [str(k.key) for k in plan.kept]
    fields = [field for c in plan.changes if c.action == "update" for field in c.fields]
    named += [field.note for field in fields] + [field.moved_from for field in fields]
    told = [c for c in plan.changes if c.target == "entity" and not c.twin]
    named += [spoken(c) for c in told if c.action in ("update", "release", "delete")]
    assert [name for name in named if visible(name) not in shown] == []


def test_guards_are_told() -> None:
    """A guard that fired is named with what it counted, and what would lift it."""
    plan = plan_of(load(next(path for path in case_files() if path.stem == "guards")))
    html = seen(render_plan_markdown(plan, budget=60_000, title="test"))
    assert "old is removed: 1 entity with a value that pdsync did not write" in " ".join(html.code)


@pytest.mark.parametrize("title", ["a <b>c</b>", "[x](https://evil.example)", "@everyone", "a\n# b", "`"])
def test_the_title_is_text(title: str) -> None:
    """The project's name comes from a file that a pull request can change."""
    html = seen(render_plan_markdown(many("create", 1), budget=60_000, title=title))
    assert (html.elements <= OURS, "@everyone" in html.loose) == (True, False)


def test_a_part_that_stays_is_no_difference() -> None:
    """What is only let go of is named with the reason; no line says that its value goes or comes."""
    (case,) = (path for path in case_files() if path.stem == "blueprint-parts")
    text = render_plan_markdown(plan_of(load(case)), budget=60_000, title="t")
    lines = [line for line in text.splitlines() if "schema.properties.tags" in line]
    assert len(lines) == 2
    assert all(line.startswith("      ") and "released: it was in Port before pdsync" in line for line in lines)
