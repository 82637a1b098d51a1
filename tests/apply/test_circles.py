"""Entities that require each other and get other identifiers, over HTTP: in one plan, and whole after any end."""

from __future__ import annotations

import re
import tempfile
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hypothesis import given, settings
from hypothesis import strategies as st

from pdsync.sight import watch
from tests.apply.killing import killed_at
from tests.apply.running import Here, running
from tests.apply.test_resume import finish
from tests.builders import blueprint, catalog, desired, relation, rule, want

if TYPE_CHECKING:
    from collections.abc import Collection

    from pdsync.model import DesiredEntities

NODE = blueprint("node", needs=relation("node"), also=relation("node"), likes=relation("node"))
RULE = rule("node", ("title", "relations.needs", "relations.also", "relations.likes"), kind="nodes")
LOOSE = catalog([NODE], [RULE])
MUST = relation("node", required=True)
TIGHT = catalog([blueprint("node", needs=MUST, also=MUST, likes=relation("node"))], [RULE])
Links = dict[str, tuple[str, str, str | None]]
"""Name of a node -> the two that it needs, and the one that it likes."""


def world(links: Links, renamed: Collection[str] = ()) -> DesiredEntities:
    """The nodes; those that are `renamed` with another identifier of the same record."""

    def name(node: str) -> str:
        return f"{node}-new" if node in renamed else node

    return desired(
        *(
            want(
                name(node),
                "node",
                title=node,
                to_needs=name(needs),
                to_also=name(also),
                to_likes=likes and name(likes),
                source=f"nodes/{node}",
                rules=(RULE.id,),
            )
            for node, (needs, also, likes) in links.items()
        )
    )


def required_by_hand(here: Here, links: Links) -> None:
    """All nodes as they are, made while their relations were optional."""
    assert here.apply(here.plan(LOOSE, world(links))).whole
    assert here.apply(here.plan(TIGHT, world(links))).whole


def relations(here: Here) -> dict[str, Any]:
    return {name: dict(entity["relations"]) for name, entity in sorted(here.port.entities("node").items())}


PAIR: Any = {"a": ("b", "b", None), "b": ("a", "a", "b")}
RENAMED = {
    "a-new": {"needs": "b-new", "also": "b-new", "likes": None},
    "b-new": {"needs": "a-new", "also": "a-new", "likes": "b-new"},
}


def test_two_that_require_each_other_are_renamed(here: Here) -> None:
    """One comes pointing at the old one of the other; before the old ones go, one points at what came."""
    required_by_hand(here, PAIR)
    plan = here.plan(TIGHT, world(PAIR, "ab"))
    assert (plan.summary.rename, plan.withheld, plan.held) == (2, (), ())
    assert [(c.action, c.identifier, dict(c.meanwhile)) for c in plan.changes] == [
        ("create", "a-new", {"relations.also": "b", "relations.needs": "b"}),
        ("create", "b-new", {}),
        ("delete", "a", {}),
        ("delete", "b", {"relations.also": "a-new", "relations.needs": "a-new"}),
    ]
    assert here.apply(plan, watching=watch).whole
    assert relations(here) == RENAMED
    assert here.plan(TIGHT, world(PAIR, "ab")).changes == ()
    assert here.apply(here.revert()).whole
    assert sorted(here.port.entities("node")) == ["a", "b"]
    assert here.plan(TIGHT, world(PAIR)).changes == ()


def test_killed_after_any_write_it_is_resumed_or_planned_anew_to_the_same_end() -> None:
    """In turn the one and the other; what requires something never points at nothing on the way."""
    wrote = re.compile("after POST .*(entities/bulk|entities/delete)")
    fatal: list[int | None] = [None]
    with tempfile.TemporaryDirectory() as folder, running(Path(folder)) as here:
        required_by_hand(here, PAIR)
        plan = here.plan(TIGHT, world(PAIR, "ab"))
        back = here.kept()
        for turn in count():
            if turn == len(fatal):
                break
            back()
            with killed_at(fatal[turn]) as moments:
                here.apply(plan)
            fatal += [n for n, name in enumerate(moments.names, 1) if wrote.match(name)] if not turn else []
            assert all(each["needs"] and each["also"] for each in relations(here).values())
            if turn % 2:
                finish(here, plan)
            else:
                here.apply(here.plan(TIGHT, world(PAIR, "ab")))
            assert relations(here) == RENAMED, f"killed at {fatal[turn]}"
            assert here.plan(TIGHT, world(PAIR, "ab")).changes == ()
    assert len(fatal) > 7


NAMES = "abcd"
LINKS = st.fixed_dictionaries(
    {
        name: st.tuples(st.sampled_from(NAMES), st.sampled_from(NAMES), st.none() | st.sampled_from(NAMES))
        for name in NAMES
    }
)


@settings(max_examples=8, deadline=None)
@given(LINKS, st.sets(st.sampled_from(NAMES), min_size=1))
def test_whatever_requires_whatever_is_renamed_in_one_plan(links: Links, renamed: set[str]) -> None:
    """All of it, some of it, what requires itself: nothing is held or withheld, and nothing is left to do."""
    with tempfile.TemporaryDirectory() as folder, running(Path(folder)) as here:
        required_by_hand(here, links)
        plan = here.plan(TIGHT, world(links, renamed))
        assert (plan.summary.rename, plan.withheld, plan.held, plan.diagnostics) == (len(renamed), (), (), ())
        assert here.apply(plan, watching=watch).whole
        assert here.plan(TIGHT, world(links, renamed)).changes == ()
        assert here.apply(here.revert(), watching=watch).whole
        assert here.plan(TIGHT, world(links)).changes == ()
