"""A plan set beside that of a base: the branch's part and the rest are the whole, and neither is in the other."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from pdsync.errors import Origin, error, warning
from pdsync.model import Plan, Summary, renames_of
from pdsync.plan.branch import changes_nothing, parts, with_branch
from pdsync.plan.compare import _work, compare
from pdsync.plan.document import plan_document, read_plan
from pdsync.plan.verdict import plan_exit_code
from tests.builders import BASE, plan
from tests.plan.test_laws import catalogs, facts, histories, worlds


@st.composite
def branches(draw: st.DrawFn) -> tuple[Plan, Plan]:
    """The plan of a branch and that of its base, of one world that a ledger has fallen behind of."""
    of, world, port, owned = draw(histories())
    base = draw(st.just(of) | catalogs())
    then = world if base is of else draw(worlds(base))
    return plan(facts(of, world, port, owned)), plan(facts(base, then, port, owned))


@settings(max_examples=25, deadline=None)
@given(branches())
def test_both_parts_are_the_whole(both: tuple[Plan, Plan]) -> None:
    """Each change is in one of the two parts; the branch's are those that the base does not do, found by brute force."""
    made, base = both
    told = with_branch(made, base, "main", "c0ffee")
    mine, rest = parts(told)
    assert sorted([*mine.changes, *rest.changes], key=lambda c: c.n) == list(made.changes)
    does = {(c.target, c.key, _work(c)) for c in base.changes}
    own = {c.n for c in made.changes if (c.target, c.key, _work(c)) not in does}
    own |= {n for pair in renames_of(made.changes).items() if own & {*pair} for n in pair}
    assert {c.n for c in mine.changes} == own
    assert told.branch is not None
    why = {(c.target, c.key, c.action): c.cause for c in base.changes}
    assert Counter(why[c.target, c.key, c.action] for c in rest.changes) == told.branch.rest
    assert (*mine.withheld, *rest.withheld) == tuple(sorted(made.withheld, key=lambda w: w not in mine.withheld))
    planned = {(c.target, c.key) for c in made.changes}
    assert {(c.target, c.key) for c in told.branch.gone} >= {(c.target, c.key) for c in base.changes} - planned
    assert len(made.changes) + len(told.branch.gone) == len(base.changes) + len(compare(base, made).new)
    assert replace(told, branch=None) == made
    half = {c.key for c in mine.changes if (c.target, c.key, _work(c)) in does}
    there = [*rest.changes, *(each.base for each in told.branch.otherwise), *told.branch.gone]
    left = Counter((c.target, c.key, _work(c)) for c in base.changes if c.key not in half)
    assert Counter((c.target, c.key, _work(c)) for c in there if c.key not in half) == left, "the base's plan exactly"
    assert {*rest.withheld} <= {*base.withheld}
    assert {*rest.held} <= {*base.held}
    assert {*rest.guards} <= {*base.guards}


@settings(max_examples=15, deadline=None)
@given(branches())
def test_beside_itself_a_plan_changes_nothing(both: tuple[Plan, Plan]) -> None:
    """A base that is the same has no part; whatever there is to do is the rest.  The document stands still."""
    made, base = both
    told = with_branch(made, made, "main", "c0ffee")
    assert told.branch is not None
    assert changes_nothing(told.branch)
    assert parts(told)[0].changes == ()
    assert sum(told.branch.rest.values()) == len(made.changes)
    beside = plan_document(with_branch(made, base, "main", "c0ffee"))
    assert plan_document(read_plan(beside)) == beside


def test_problems_that_the_base_has_too_are_not_the_branchs() -> None:
    """An edit above it moves a line, so the place does not count; the records and what is said of them do."""
    known = error("PD201", "jq error", detail="x", origin=Origin("a.yaml", 3), records=("services/a",))
    moved = replace(known, origin=Origin("a.yaml", 9))
    more = replace(known, records=("services/b",))
    empty = Plan(BASE, (), (), (), (), Summary(), {}, "f")
    told = with_branch(
        replace(empty, diagnostics=(moved, more, warning("PD207", "several"))),
        replace(empty, diagnostics=(known,)),
        "main",
        "c0ffee",
    )
    assert told.branch is not None
    assert [d.code for d in told.branch.diagnostics] == ["PD201", "PD207"]
    assert [plan_exit_code(part, detailed=True) for part in parts(told)] == [1, 1]
    same = with_branch(replace(empty, diagnostics=(moved,)), replace(empty, diagnostics=(known,)), "main", "c0ffee")
    assert [plan_exit_code(part, detailed=True) for part in parts(same)] == [0, 1]
