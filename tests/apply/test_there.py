"""What somebody else makes between our look and our write is not ours, over HTTP against the sandbox's Port."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pdsync.apply import TAKEN_OVER, THERE
from pdsync.render.result_text import render_result
from pdsync.sandbox.http import Fault
from tests.apply.killing import killed_at
from tests.apply.running import create_blueprints
from tests.apply.test_apply import NODE, NODES, SERVICE, SERVICES, do, messages, ours, statuses
from tests.builders import catalog, desired, want

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pdsync.model import Change, Plan
    from pdsync.sight import Watch
    from pdsync.targets import TargetReader
    from tests.apply.running import Here

NOTHING = desired()


def meanwhile(act: Callable[[], object]) -> Callable[[Plan, TargetReader], Watch]:
    """Somebody does this once, right before the first write of an entity."""
    left = [act]

    def watching(_plan: Plan, _reader: TargetReader) -> Watch:
        async def look(changes: Sequence[Change]) -> Mapping[int, str]:
            if left and any(change.target == "entity" for change in changes):
                left.pop()()
            return {}

        return look

    return watching


def by_hand(here: Here, name: str = "a", blueprint: str = "service") -> Callable[[], object]:
    return lambda: here.port.put_entity(blueprint, {"identifier": name, "properties": {"url": "theirs"}})


def test_what_somebody_made_meanwhile_is_taken_over_and_never_deleted(here: Here) -> None:
    """It is told; the other entity of the same request is ours.  Once nothing makes it, it stays with what it has."""
    create_blueprints(here, SERVICE)
    plan = here.plan(SERVICES, desired(want("a", tier="1"), want("b", tier="1")))
    result = here.apply(plan, watching=meanwhile(by_hand(here)))
    assert result.whole
    assert ours(here) == {"service": "adopted", "service/a": "adopted", "service/b": "created"}
    assert messages(plan, result) == {"service/a": TAKEN_OVER}
    assert f'There already (1)\n  #2 + service/a "a"\n       {TAKEN_OVER}' in render_result(
        plan, result.outcomes, serial=1
    )
    again, _ = do(here, SERVICES, NOTHING)
    assert {str(c.key): c.action for c in again.changes} == {"service/a": "release", "service/b": "delete"}
    assert here.port.entities("service")["a"]["properties"]["url"] == "theirs"


def test_after_a_crash_it_is_still_somebody_elses(here: Here) -> None:
    """The journal tells what the ledger could not be told any more."""
    create_blueprints(here, SERVICE)
    plan = here.plan(SERVICES, desired(want("a", tier="1"), want("b", tier="1")))
    with killed_at("^before replace$") as moments:
        here.apply(plan, watching=meanwhile(by_hand(here)))
    assert moments.dead
    assert ours(here) == {"service": "adopted", "service/a": "adopted", "service/b": "created"}


def test_the_half_of_a_circle_that_was_there_stays_so_when_it_is_resumed(here: Here) -> None:
    """Its second write is refused, and done by another run."""
    create_blueprints(here, NODE)
    plan = here.plan(NODES, desired(want("a", "node", to_next="b"), want("b", "node", to_next="a")))
    refusal = {"ok": False, "error": "invalid_request", "message": "not now"}
    here.box.faults.add(
        Fault("answer", api="port", path="/entities/bulk$", method="POST", skip=2, status=422, body=refusal)
    )

    def act() -> None:
        for name in "ab":
            here.port.put_entity("node", {"identifier": name, "title": "Theirs"})

    result = here.apply(plan, watching=meanwhile(act))
    assert not result.whole
    here.box.faults.clear()
    assert here.resume().whole
    assert ours(here) == {"node": "adopted", "node/a": "adopted", "node/b": "adopted"}


@pytest.mark.parametrize("ends", ["adopted", "created"])
def test_what_was_ours_before_is_so_after(here: Here, ends: str) -> None:
    """Port left it out of an answer, so that it was to be made again: it was there already, and whose it was it is."""
    create_blueprints(here, SERVICE)
    if ends == "adopted":
        by_hand(here)()
    world = desired(want("a", tier="1"))
    do(here, SERVICES, world)
    body = dict(here.port.entities("service")["a"])
    entry = here.ledger().entities
    here.port.delete_entity("service", "a")
    plan = here.plan(SERVICES, world)
    assert [(c.action, c.reason) for c in plan.changes] == [("create", "gone-from-port")]

    def back() -> None:
        here.port.put_entity("service", {"identifier": "a", "properties": body["properties"]})

    result = here.apply(plan, watching=meanwhile(back))
    assert messages(plan, result) == {"service/a": THERE}
    assert here.ledger().entities == entry


def test_a_request_that_was_repeated_proves_nothing(here: Here) -> None:
    """The first one may have made it: ours, as before."""
    create_blueprints(here, SERVICE)
    plan = here.plan(SERVICES, desired(want("a", tier="1")))
    here.box.faults.add(Fault("drop", api="port", path="/entities/bulk$", when="after"))
    result = here.apply(plan)
    assert (result.whole, messages(plan, result)) == (True, {})
    assert ours(here)["service/a"] == "created"


def made_meanwhile(here: Here) -> Callable[[Plan, TargetReader], Watch]:
    """Somebody makes the very blueprint that is planned, right before its first write."""

    def watching(_plan: Plan, _reader: TargetReader) -> Watch:
        async def look(changes: Sequence[Change]) -> Mapping[int, str]:
            if changes[0].target == "blueprint":
                create_blueprints(here, SERVICE)
            return {}

        return look

    return watching


def test_a_blueprint_that_somebody_made_meanwhile_is_not_ours(here: Here) -> None:
    """Even where it is as planned: it is told, its entities wait, `resume` leaves it, and the next plan adopts it."""
    world = desired(want("a", tier="1"))
    plan = here.plan(SERVICES, world)
    result = here.apply(plan, watching=made_meanwhile(here))
    assert statuses(plan, result) == {"service": "failed", "service/a": "skipped"}
    assert "Port has this already" in messages(plan, result)["service"]
    assert statuses(plan, here.resume()) == {"service": "skipped", "service/a": "skipped"}
    assert ours(here) == {}
    assert do(here, SERVICES, world)[1].whole
    assert ours(here) == {"service": "adopted", "service/a": "created"}
    assert do(here, catalog([], []), NOTHING)[1].whole
    assert here.port.blueprint("service") is not None


def test_a_blueprint_that_a_repeat_finds_is_ours(here: Here) -> None:
    """The first request had made it, and its answer was lost."""
    here.box.faults.add(Fault("drop", api="port", path="/v1/blueprints$", method="POST", when="after"))
    assert do(here, SERVICES, NOTHING)[1].whole
    assert ours(here) == {"service": "created"}


def test_what_an_older_run_may_have_made_proves_nothing(here: Here) -> None:
    """It died with a create in flight: the resumed one is not told from its own."""
    create_blueprints(here, SERVICE)
    plan = here.plan(SERVICES, desired(want("a", tier="1")))
    with killed_at("before POST .*/entities/bulk"):
        here.apply(plan)
    assert here.resume().whole
    assert ours(here)["service/a"] == "created"
