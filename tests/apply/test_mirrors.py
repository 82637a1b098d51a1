"""Mirrors of mirrors, in blueprints that go and that stay, against the sandbox: each goes before what it reads."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from pdsync.model import Blueprint
from pdsync.sight import watch
from tests.apply.running import running
from tests.builders import blueprint, catalog, desired, relation

if TYPE_CHECKING:
    from pdsync.model import Catalog

NAMES = "abcd"
Shape = tuple[str, bool, str, str]
"""What a blueprint relates to, whether it has a tier, and what it reads there by two mirrors ("" is nothing)."""
SHAPES = st.dictionaries(
    st.sampled_from(NAMES),
    st.tuples(
        st.sampled_from(NAMES),
        st.booleans(),
        st.sampled_from(["", "tier", "one", "two"]),
        st.sampled_from(["", "tier", "one", "two"]),
    ),
)


def makes(shapes: dict[str, Shape]) -> Catalog:
    """The blueprints, without the relations that lead nowhere and the mirrors of what is not there."""
    reads = {
        (name, mirror): read for name, shape in shapes.items() for mirror, read in zip(MIRRORS, shape[2:], strict=True)
    }
    while gone := {at for at, read in reads.items() if read and not _is_there(shapes, reads, shapes[at[0]][0], read)}:
        reads |= dict.fromkeys(gone, "")
    return catalog([_made(name, shape, shapes, reads) for name, shape in shapes.items()], [])


MIRRORS = ("one", "two")


def _is_there(
    shapes: dict[str, Shape], reads: dict[tuple[str, str], str], target: str, read: str, above: tuple[Any, ...] = ()
) -> bool:
    """Whether a mirror comes to an end: at a tier, and not at itself."""
    if target not in shapes or (target, read) in above:
        return False
    if read == "tier":
        return shapes[target][1]
    following = reads[target, read]
    return bool(following) and _is_there(shapes, reads, shapes[target][0], following, (*above, (target, read)))


def _made(name: str, shape: Shape, shapes: dict[str, Shape], reads: dict[tuple[str, str], str]) -> Blueprint:
    target = shape[0]
    plain = blueprint(name, **({"to": relation(target)} if target in shapes else {}))
    properties = {"tier": {"type": "string"}} if shape[1] else {}
    mirrors = {m: {"path": f"to.{reads[name, m]}", "title": m} for m in MIRRORS if reads[name, m]}
    schema = {"properties": properties, "required": []}
    return Blueprint(name, {**plain.definition, "schema": schema, "mirrorProperties": mirrors})


CHAIN = {"a": ("a", True, "", ""), "b": ("a", False, "tier", ""), "c": ("b", False, "one", "")}
DROPPED = {"a": ("a", False, "", ""), "b": ("a", False, "", ""), "c": ("b", False, "", "")}


@settings(max_examples=6, deadline=None)
@given(SHAPES, SHAPES)
@example(CHAIN, DROPPED)
@example(CHAIN, {"a": ("a", False, "", ""), "c": ("c", False, "", "")})
def test_what_reads_goes_before_what_it_reads(before: dict[str, Shape], after: dict[str, Shape]) -> None:
    """Port refuses nothing; where nothing stands in the way one plan does all; and the way back."""
    with tempfile.TemporaryDirectory() as folder, running(Path(folder)) as here:
        assert here.apply(here.plan(makes(before), desired())).whole
        plan = here.plan(makes(after), desired())
        result = here.apply(plan, watching=watch)
        assert result.whole, result.outcomes
        rest = here.plan(makes(after), desired())
        assert not rest.changes or plan.guards or plan.withheld
        if plan.changes and not plan.guards:
            back = here.revert()
            result = here.apply(back, watching=watch)
            assert result.whole, result.outcomes
            assert back.guards or here.plan(makes(before), desired()).changes == ()
