"""Saved plans, against the sandbox's Port over HTTP: what moves is noticed, before the first write or before its own."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pdsync.plan.document import parse_plan, plan_document
from pdsync.plan.saved import moved_since, paths_seen
from tests.apply.running import Here, running
from tests.builders import blueprint, catalog, desired, rule, want

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pdsync.model import Change, DesiredEntities, Plan

SAYS = catalog([blueprint()], [rule(paths=("title", "properties.tier"))])
NAMES = "abcdef"
EDITS: dict[str, dict[str, Any]] = {
    "ours": {"properties": {"tier": "edited"}},
    "title": {"title": "edited"},
    "foreign": {"properties": {"url": "theirs"}},
    "nothing": {},
}


def world(tiers: Mapping[str, str]) -> DesiredEntities:
    return desired(*(want(name, title=name, tier=tier) for name, tier in tiers.items()))


def saved(plan: Plan) -> Plan:
    """The plan as it comes out of its file."""
    return parse_plan(plan_document(plan))


@settings(max_examples=12, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(
    before=st.dictionaries(st.sampled_from(NAMES), st.sampled_from("12"), min_size=1),
    after=st.dictionaries(st.sampled_from(NAMES), st.sampled_from("12")),
    edits=st.dictionaries(st.sampled_from(NAMES), st.sampled_from([*EDITS, "delete"]), max_size=3),
)
def test_exactly_what_moved_is_named(before: dict[str, str], after: dict[str, str], edits: dict[str, str]) -> None:
    """An unchanged world is always as planned; of a changed one, what the plan touches and others edited is named."""
    with tempfile.TemporaryDirectory() as folder, running(Path(folder)) as here:
        assert here.apply(here.plan(SAYS, world(before))).whole
        made = saved(here.plan(SAYS, world(after)))
        assert here.moved(made) == {}
        for name, edit in edits.items():
            _edit(here, name, edit)
        touched = {str(change.key) for change in made.changes}
        expected = {f"service/{name}" for name, edit in edits.items() if _shows(name, edit, before)}
        assert here.moved(made).keys() == expected & touched


def _edit(here: Here, name: str, edit: str) -> None:
    there = name in here.port.entities("service")
    if edit == "delete":
        if there:
            here.port.delete_entity("service", name)
    elif there or EDITS[edit]:
        here.port.put_entity("service", {"identifier": name, **EDITS[edit]})


def _shows(name: str, edit: str, before: Mapping[str, str]) -> bool:
    """Whether an edit is of anything that we own, or makes or removes the entity."""
    if name not in before:
        return edit not in ("nothing", "delete")
    return edit in ("ours", "title", "delete")


def test_what_moves_between_the_check_and_its_write_is_skipped(tmp_path: Path) -> None:
    """The rest is done; the ledger does not claim what was not written."""
    with running(tmp_path) as here:
        assert here.apply(here.plan(SAYS, world({"a": "1", "b": "1", "c": "1"}))).whole
        made = saved(here.plan(SAYS, world({"a": "2", "b": "2", "new": "1"})))

        async def meddling(changes: Sequence[Change]) -> Mapping[int, str]:
            for name in ("b", "c", "new"):
                here.port.put_entity("service", {"identifier": name, "properties": {"tier": "meddled"}})
            found = {c.key: have for c in changes if (have := await here.look(c.key, paths_seen(c)))}
            return moved_since(made, changes, found)

        result = here.apply(made, watch=meddling)
        told = {change.identifier: outcome for change, outcome in zip(made.changes, result.outcomes, strict=True)}
        assert {name: outcome.status for name, outcome in told.items()} == {
            "a": "done",
            "b": "skipped",
            "c": "skipped",
            "new": "skipped",
        }
        assert "changed in Port since the plan" in told["b"].message
        assert here.port.entities("service")["b"]["properties"]["tier"] == "meddled"
        assert {key.identifier for key in result.ledger.entities} == {"a", "b", "c"}
