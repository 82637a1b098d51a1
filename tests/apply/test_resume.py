"""Runs that did not come to their end, and `resume`: over HTTP, killed at every moment, in every way left open."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pdsync.errors import StateError, UsageError
from pdsync.model import Change, EntityKey, Plan, Summary
from pdsync.plan.settle import losses_of, print_of
from pdsync.sandbox.http import Fault
from tests.apply.killing import distinct, killed_at
from tests.apply.running import Here, create_blueprints, running
from tests.builders import BASE, blueprint, catalog, desired, have, relation, rule, want

if TYPE_CHECKING:
    from pdsync.apply import ApplyResult

SERVICE = blueprint(next=relation("service"))
TEAM = blueprint("team")
PATHS = ("title", "properties.tier", "relations.next")
SAYS = catalog([SERVICE], [rule(paths=PATHS)], deletes={})
TEAMS = ("mappings/test.yaml#teams[0]",)
ALSO_TEAMS = catalog([SERVICE, TEAM], [rule(paths=PATHS), rule("team", ("title",), "teams", id=TEAMS[0])])

BEFORE = desired(want("a", title="A", tier="1"), want("b", title="B", tier="1"), want("gone", title="G"))
AFTER = desired(
    want("a", title="A", tier="2"),
    want("b", title=None, tier="1", to_next="c"),
    want("c", title="C", to_next="b"),
    want("t", "team", title="T", rules=TEAMS),
)
"""A blueprint to create, entities to create and update (one by PATCH, two in a cycle), one to delete."""


def prepared(here: Here) -> Plan:
    assert here.apply(here.plan(SAYS, BEFORE)).whole
    return here.plan(ALSO_TEAMS, AFTER)


def state_of(here: Here) -> tuple[Any, ...]:
    """Port and the ledger, without what differs between two runs to the same end."""
    ledger = here.ledger()
    return here.port.snapshot(), ledger.blueprints, ledger.entities, ledger.commit, ledger.expressions


def statuses(plan: Plan, outcomes: Any) -> dict[str, str]:
    names = {c.n: c.blueprint if c.target == "blueprint" else c.identifier for c in plan.changes}
    return {names[outcome.n]: outcome.status for outcome in outcomes}


@pytest.fixture(scope="module")
def uninterrupted() -> tuple[list[str], tuple[Any, ...]]:
    """The moments of a run that nobody kills, and how all is in the end."""
    with tempfile.TemporaryDirectory() as folder, running(Path(folder)) as here:
        plan = prepared(here)
        with killed_at(None) as moments:
            assert here.apply(plan).whole
        return moments.names, state_of(here)


# --- killed


@pytest.mark.parametrize("part", range(4))
def test_killed_at_any_moment_it_is_resumed_to_the_same_end(
    part: int, uninterrupted: tuple[list[str], tuple[Any, ...]]
) -> None:
    """Before and after each request and each operation on a file: `resume` ends where the unbroken run does."""
    names, end = uninterrupted
    with tempfile.TemporaryDirectory() as folder, running(Path(folder)) as here:
        plan = prepared(here)
        back = here.kept()
        for fatal in distinct(names)[part::4]:
            back()
            with killed_at(fatal):
                here.apply(plan)
            finish(here, plan)
            assert state_of(here) == end, f"killed at {fatal}, {names[fatal - 1]}"
            assert here.plan(ALSO_TEAMS, AFTER).changes == ()


def finish(here: Here, plan: Plan) -> None:
    """Resume what was left open; what did not even come to have a journal is applied, what is whole is left."""
    last = here.history()[-1]
    if last.serial == plan.base.serial:
        assert here.apply(plan).whole
    elif not last.serial or last.done < last.changes:
        assert here.resume().whole


@pytest.mark.parametrize("second", [3, 7, 12, 18, 25])
def test_a_resume_that_is_killed_is_resumed(second: int, uninterrupted: tuple[list[str], tuple[Any, ...]]) -> None:
    """As often as it takes; each run knows which one it went on with."""
    names, end = uninterrupted
    with tempfile.TemporaryDirectory() as folder, running(Path(folder)) as here:
        plan = prepared(here)
        with killed_at(len(names) // 2):
            here.apply(plan)
        with killed_at(second):
            here.resume()
        finish(here, plan)
        assert state_of(here) == end
        resumed = [note for note in here.history() if note.resumes]
        assert resumed
        assert {note.resumes for note in resumed} <= {note.run for note in here.history()}


# --- partly done


def test_what_failed_is_done_by_resume_when_its_cause_is_gone(here: Here) -> None:
    """A refused entity and what waited for it: the rest of the same plan, no new one."""
    plan = prepared(here)
    refuse = Fault("answer", api="port", method="PATCH", path="/entities/b$", status=403, count=None)
    here.box.faults.add(refuse)
    result = here.apply(plan)
    here.box.faults.clear()
    assert statuses(plan, result.outcomes)["b"] == "failed"
    assert not result.whole
    resumed = here.resume(result.run)
    assert (resumed.whole, statuses(resumed.plan, resumed.outcomes)) == (True, {"b": "done"})
    assert here.plan(ALSO_TEAMS, AFTER).changes == ()
    assert [(note.operation, note.resumes) for note in here.history()][-1] == ("resume", result.run)


@pytest.mark.parametrize(
    "fault",
    [
        Fault("truncate", api="port", method="GET", path="/blueprints/service$", skip=1, count=None),
        Fault("answer", api="port", method="PUT", path="/blueprints/service$", status=403, skip=1),
    ],
    ids=["no answer", "refused"],
)
def test_a_blueprint_of_which_only_a_part_is_there_is_resumed(here: Here, fault: Fault) -> None:
    """Its properties came and its relation did not: that is our own doing, and nobody's edit."""
    of = catalog([blueprint()], [rule(paths=("title",))])
    assert here.apply(here.plan(of, desired(want("a", title="A")))).whole
    wider = blueprint(next=relation("service"))
    wider.definition["schema"]["properties"]["more"] = {"type": "string"}
    more = catalog([wider], [rule(paths=("title", "properties.more", "relations.next"))])
    world = desired(want("a", title="A", more="x", to_next="a"))
    here.box.faults.add(fault)
    result = here.apply(here.plan(more, world))
    here.box.faults.clear()
    now = here.port.blueprint("service") or {}
    assert (result.whole, "more" in now["schema"]["properties"], now["relations"]) == (False, True, {})
    assert here.resume(result.run).whole
    assert here.plan(more, world).changes == ()


def test_a_part_of_a_bulk_without_an_answer_is_unknown_beside_the_rest(here: Here) -> None:
    """What got no answer is never told to have failed, nor adopted by the next run."""
    create_blueprints(here, SERVICE)
    assert here.apply(here.plan(SAYS, BEFORE)).whole
    plan = here.plan(
        SAYS, desired(want("a", title=None, tier="2"), want("b", title="B", tier="3"), want("gone", title="G"))
    )
    here.patience = 0.2
    here.box.faults.add(Fault("drop", when="after", api="port", method="PATCH", path="/entities/", count=None))
    result = here.apply(plan, looking=False)
    here.box.faults.clear()
    assert statuses(plan, result.outcomes) == {"a": "unknown", "b": "done"}
    assert here.resume().whole
    assert [(e.origin, e.fields.get("properties.tier")) for e in here.ledger().entities.values()][:2] == [
        ("created", "2"),
        ("created", "3"),
    ]


def test_a_stop_is_resumed(here: Here) -> None:
    """What had not begun is done; nothing is done twice."""
    plan = prepared(here)
    result = here.apply(plan, stop_after=2)
    assert result.interrupted
    here.box.log.clear()
    assert here.resume().whole
    done = {o.n for o in result.outcomes if o.status == "done"}
    written = " ".join(request.path for request in here.box.log.port_writes())
    assert all(f"/{c.identifier}" not in written for c in plan.changes if c.n in done and c.target == "blueprint")
    assert here.plan(ALSO_TEAMS, AFTER).changes == ()


# --- Port has moved on meanwhile

DELETE = "POST /v1/blueprints/service/bulk/entities/delete"
CREATE = "POST /v1/blueprints/service/entities/bulk"


@pytest.mark.parametrize("moment", [f"before {DELETE}", f"after {DELETE}"])
@pytest.mark.parametrize("anew", [{"title": "G"}, {"title": "Somebody's"}])
def test_a_delete_is_not_repeated_on_what_was_made_anew(here: Here, moment: str, anew: dict[str, Any]) -> None:
    """Deleted or not, and then somebody made it again, be it the very same: it stays, and is named."""
    plan = prepared(here)
    with killed_at(moment):
        here.apply(plan)
    if "gone" in here.port.entities("service"):
        here.port.delete_entity("service", "gone")
    here.port.put_entity("service", {"identifier": "gone", **anew})
    told = told_by(here.resume())
    assert told == {"gone": ("skipped", "it was changed, or made anew, since this run began")}
    assert here.port.entities("service")["gone"]["title"] == anew["title"]
    assert EntityKey("service", "gone") in here.ledger().entities


def test_a_delete_that_had_not_begun_leaves_what_was_made_anew(here: Here) -> None:
    """What the run saw before its first write is what it may delete."""
    plan = prepared(here)
    with killed_at(f"before {CREATE}"):
        here.apply(plan)
    here.port.delete_entity("service", "gone")
    here.port.put_entity("service", {"identifier": "gone", "title": "G"})
    assert told_by(here.resume())["gone"][0] == "skipped"
    assert "gone" in here.port.entities("service")


def test_a_delete_leaves_what_somebody_has_related_meanwhile(here: Here) -> None:
    """Another relation is an edit like any other."""
    plan = prepared(here)
    with killed_at(f"before {DELETE}"):
        here.apply(plan)
    here.port.put_entity("service", {"identifier": "gone", "relations": {"next": "a"}})
    assert told_by(here.resume())["gone"] == ("skipped", "it was changed, or made anew, since this run began")
    assert here.port.entities("service")["gone"]["relations"]["next"] == "a"


def test_what_a_run_takes_from_relations_itself_is_no_edit() -> None:
    """A relation to what the run deletes may be there or be emptied; one to anything else may not change."""
    deletes = [
        Change(n, "entity", "delete", "service", name, name, (), "gone-from-source", "source")
        for n, name in enumerate(("gone", "other"), start=1)
    ]
    plan = Plan(BASE, tuple(deletes), (), (), (), Summary(delete=2), {}, "")

    def print_with(**relations: Any) -> str:
        return print_of(have(tier="1", **relations), "service", losses_of(plan))

    assert len({print_with(to_next="gone"), print_with(to_next=None), print_with()}) == 1
    assert len({print_with(to_all=["gone", "a", "other"]), print_with(to_all=["a"])}) == 1
    assert len({print_with(), print_with(to_next="a"), print_with(to_next="b"), print_with(to_all=["a", "b"])}) == 4


@pytest.mark.parametrize("moment", [f"before {CREATE}", f"after {CREATE}"])
def test_what_was_edited_meanwhile_is_left_alone(here: Here, moment: str) -> None:
    """Not written yet, and then somebody edited it: skipped and named; the rest goes on.  What is written is done."""
    plan = prepared(here)
    with killed_at(moment):
        here.apply(plan)
    written = here.port.entities("service")["a"]["properties"]["tier"] == "2"
    here.port.put_entity("service", {"identifier": "a", "title": "Edited"})
    told = told_by(here.resume())
    moved = 'skipped changed in Port since the plan: title was "A", is "Edited"'
    expected = "done was done already" if written else moved
    assert " ".join(told.pop("a", ("done", "was done already"))) == expected
    assert {status for status, _ in told.values()} == {"done"}
    assert here.port.entities("service")["a"]["title"] == "Edited"


def test_what_somebody_else_made_meanwhile_is_not_taken_over(here: Here) -> None:
    """An identifier that was free when the plan was made and is not any more."""
    plan = prepared(here)
    with killed_at("before POST /v1/blueprints$"):
        here.apply(plan)
    here.port.put_entity("service", {"identifier": "c", "title": "Theirs"})
    told = told_by(here.resume())
    assert (told["c"], told["a"][0]) == (("skipped", "it is there already"), "done")
    assert here.port.entities("service")["c"]["title"] == "Theirs"
    assert EntityKey("service", "c") not in here.ledger().entities


def test_a_journal_that_noted_nothing_of_what_it_deleted_deletes_nothing_more(here: Here) -> None:
    """As journals of version 1, or those of a run that could not look."""
    plan = prepared(here)
    with killed_at(f"before {DELETE}"):
        here.apply(plan, looking=False)
    told = told_by(here.resume())
    assert told["gone"][0] == "skipped"
    assert "gone" in here.port.entities("service")


# --- the state has moved on meanwhile


def overtaken(here: Here, plan: Plan) -> ApplyResult:
    """Apply; while it writes, somebody else who has broken the lock saves the state."""
    other = here.store()
    held = [other.load()]

    def save(_what: str, done: int, _total: int | None) -> None:
        if held and done > 1:
            theirs = replace(held.pop(), commit="theirs", catalog="their files", snapshot="their records")
            other.save(theirs, deletes=0)

    return here.apply(plan, progress=save)


def test_a_run_that_is_overtaken_is_entered_by_resume(here: Here, uninterrupted: Any) -> None:
    """Nothing is merged, nothing forced: the state stays theirs, until `resume` has looked at each entity."""
    plan = prepared(here)
    result = overtaken(here, plan)
    assert result.problem is not None
    assert (result.saved, result.problem.exit_code) == (False, 6)
    assert here.ledger().commit == "theirs"
    assert EntityKey("service", "c") not in here.ledger().entities
    [astray] = here.history()[-1:]
    assert (astray.run, astray.serial) == (result.run, 0)
    here.box.log.clear()
    resumed = here.resume()
    stands_for = (resumed.ledger.commit, resumed.ledger.catalog, resumed.ledger.snapshot)
    assert (resumed.whole, stands_for) == (True, ("theirs", "their files", "their records"))
    assert here.box.log.port_writes() == []
    port, blueprints, entities, *_ = uninterrupted[1]
    assert (here.port.snapshot(), here.ledger().blueprints, here.ledger().entities) == (port, blueprints, entities)
    with pytest.raises(UsageError, match="nothing to resume"):
        here.resume()


def test_what_an_overtaken_run_wrote_and_others_changed_is_not_entered(here: Here) -> None:
    """Only what Port still holds as it was written."""
    plan = prepared(here)
    overtaken(here, plan)
    here.port.put_entity("service", {"identifier": "c", "title": "Edited"})
    here.port.put_entity("service", {"identifier": "gone", "title": "Back"})
    told = told_by(here.resume())
    assert {name: status for name, (status, _) in told.items() if status != "done"} == {
        "c": "skipped",
        "gone": "skipped",
    }
    assert EntityKey("service", "c") not in here.ledger().entities
    assert EntityKey("service", "gone") in here.ledger().entities


# --- which run


def test_there_is_nothing_to_resume_of_a_whole_run(here: Here) -> None:
    """Neither the last one, nor one by name; nor one that nobody knows."""
    plan = prepared(here)
    run = here.apply(plan).run
    with pytest.raises(UsageError, match="nothing to resume"):
        here.resume()
    assert here.resume(run).outcomes == ()
    with pytest.raises(UsageError, match="no such run"):
        here.resume("20260101T000000Z-abcdef")


def test_a_run_whose_journal_is_elsewhere_is_said(here: Here) -> None:
    """The ledger remembers it; its journal is on the machine that ran."""
    plan = prepared(here)
    run = here.apply(plan, stop_after=2).run
    (here.folder / "journal" / f"{run}.jsonl").unlink()
    with pytest.raises(StateError, match="not here"):
        here.resume(run)


def test_a_run_of_another_state_or_organisation_is_refused(here: Here) -> None:
    """Its entities are not those of this one."""
    plan = prepared(here)
    here.apply(plan, stop_after=2)
    with pytest.raises(StateError, match="another organisation"):
        here.resume(record=lambda r: replace(r, plan=replace(r.plan, base=replace(r.plan.base, org_id="other"))))
    (here.folder / "ledger.jsonl").unlink()
    with pytest.raises(StateError, match="another state"):
        here.resume(here.history()[-1].run)


def told_by(result: ApplyResult) -> dict[str, tuple[str, str]]:
    names = {c.n: c.blueprint if c.target == "blueprint" else c.identifier for c in result.plan.changes}
    return {names[outcome.n]: (outcome.status, outcome.message) for outcome in result.outcomes}
