"""The worst bugs that engines of this sort are on record for, each as a test that ours does not have it.

Each name says what went wrong elsewhere, each docstring what holds here instead.  First come the accidents of others,
one after the other with what became of them in later versions; then defects that can be read in their code.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import os
import signal
import textwrap
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from pdsync.cli import COMMANDS
from pdsync.commands import unproven
from pdsync.completeness import Seen, judged
from pdsync.errors import Locked, PdsyncError, StalePlan, StateError
from pdsync.freshness import check_fresh
from pdsync.model import Blueprint, Collection, LedgerEntry, Query, Snapshot
from pdsync.plan import Facts, fingerprint
from pdsync.plan.verdict import plan_exit_code
from pdsync.render.plan_text import render_plan
from pdsync.sandbox.http import Fault
from pdsync.sandbox.port_rules import Behaviour
from pdsync.sandbox.port_store import PortStore
from pdsync.sandbox.server import Sandbox
from pdsync.sight import watch
from pdsync.state.backends.locks import LOCK, read_lock
from pdsync.state.runs import after_run
from pdsync.targets.port import PortReader
from tests.apply.killing import killed_at
from tests.apply.running import Here, create_blueprints, running
from tests.apply.test_elsewhere import machines
from tests.builders import blueprint, catalog, desired, entry, existing, have, key, ledger, plan, relation, rule, want
from tests.cli.workspace import MAPPING, answers_held, make_workspace, small_world, stop, until
from tests.state.test_holding import INFO, Late, Shared, leave_locked, shared_store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import click

    from pdsync.model import EntityKey, Plan
    from pdsync.sight import Watch
    from tests.apply.test_elsewhere import Machine
    from tests.cli.workspace import Workspace

SERVICE = blueprint()
INCIDENT = blueprint("incident", service=relation("service"))
SERVICES = catalog([SERVICE], [rule()])
REFUSED = {"ok": False, "error": "invalid_request", "message": "not this one"}


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workspace]:
    """A folder whose catalog is applied, and a PagerDuty and a Port."""
    with Sandbox(small_world()) as box:
        made = make_workspace(tmp_path, box, monkeypatch)
        made.ok("-q", "apply", "--auto-approve")
        box.log.clear()
        yield made


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Here]:
    """A Port, and the state of a catalog of services."""
    with running(tmp_path) as one:
        yield one


def owned(count: int, wanted: int = 0, **policy: Any) -> Facts:
    """So many services are ours and in Port, of which the mapping still makes the first `wanted`."""
    names = [f"s{n:03}" for n in range(count)]
    return Facts(
        catalog([SERVICE, INCIDENT], [rule()], **policy),
        desired(*(want(n, tier="1") for n in names[:wanted])),
        existing([SERVICE, INCIDENT], {n: have(tier="1") for n in names}),
        ledger({n: entry(tier="1", source=f"services/{n}") for n in names}, [SERVICE, INCIDENT]),
    )


def raised(tier: str, *names: str) -> Any:
    return desired(*(want(name, title=name, tier=tier) for name in names))


# --- a state was emptied


def test_an_empty_state_was_saved_after_a_plan_that_did_nothing(here: Here) -> None:
    """A ledger without entities never replaces one with some, unless that many removals explain it."""
    here.apply(here.plan(SERVICES, raised("1", "a")))
    store = here.store()
    held = store.load()
    for claimed in (0, len(held.entities) - 1):
        with pytest.raises(StateError):
            store.save(replace(held, entities={}), deletes=claimed)
    assert here.ledger().entities == held.entities


def test_a_confirmed_plan_did_nothing_and_called_itself_complete(site: Workspace) -> None:
    """What is counted as done are writes that Port took."""
    for number, service in enumerate(sorted(site.box.world.services)):
        site.box.mutate({"action": "rename_service", "id": service, "name": f"Renamed {number}"})
    ran = site.ok("apply", "--auto-approve")
    assert "Apply complete: 4 done." in ran.out
    assert {str(each["title"]).partition(" ")[0] for each in site.box.store.entities("service").values()} == {"Renamed"}


@pytest.mark.parametrize("after", [0, 1])
def test_an_interrupt_replaced_the_state_by_an_empty_one(here: Here, after: int) -> None:
    """Whenever a run is stopped, all that was owned before still is."""
    here.apply(here.plan(SERVICES, raised("1", "a", "b")))
    before = here.ledger()
    made = here.plan(SERVICES, raised("2", "a", "b", "c"))
    result = here.apply(made, stop_after=after)
    assert result.saved
    assert before.entities.keys() <= here.ledger().entities.keys()
    assert here.apply(here.plan(SERVICES, raised("2", "a", "b", "c"))).whole


def test_a_first_run_that_failed_left_a_state_that_nobody_could_read(here: Here) -> None:
    """A run in which nothing succeeded leaves a state that owns nothing, and the next one goes on from it."""
    here.box.faults.add(Fault("answer", api="port", path="/v1/blueprints", method="POST", status=422, body=REFUSED))
    assert here.apply(here.plan(SERVICES, raised("1", "a"))).count("done") == 0
    assert (here.ledger().entities, here.ledger().blueprints) == ({}, {})
    assert here.apply(here.plan(SERVICES, raised("1", "a"))).whole


# --- a catalog was pruned


def test_a_guard_against_emptying_was_passed_by_one_thing_that_looked_like_more() -> None:
    """An entity that only a relation keeps is no sign that its mapping works: the guard counts what is mapped."""
    given = owned(5)
    points = want("i", "incident", to_service="s000", rules=("m.yaml#incidents[0]",))
    rules = [rule(), rule("incident", ("relations.service",), kind="incidents", id="m.yaml#incidents[0]")]
    made = plan(replace(given, catalog=catalog([SERVICE, INCIDENT], rules), desired=desired(points)))
    assert [g.name for g in made.guards] == ["empty-desired"]
    assert (made.summary.delete, len(made.withheld)) == (0, 4)


def test_a_guard_judged_a_proxy_instead_of_the_changes_themselves() -> None:
    """What another guard holds back does not count, and the number in the flag is that of the deletes it lets through."""
    given = owned(31, wanted=10, protect=("service/s01*",))
    made = plan(given)
    assert [(g.name, g.flag) for g in made.guards] == [("delete-limit", "--allow-deletes service=11")]
    lifted = plan(given, allow_deletes={"service": 11})
    assert (lifted.summary.delete, {w.reason for w in lifted.withheld}) == (11, {"protected"})
    assert plan(owned(30, wanted=10, protect=("service/s01*",))).summary.delete == 10


def test_a_mass_delete_was_not_explained() -> None:
    """Each of many deletes is named with why, by the plan and by the text that people read, planned or withheld."""
    made = plan(owned(60, wanted=20), allow_deletes={"service": 40})
    gone = [c for c in made.changes if c.action == "delete"]
    assert len(gone) == 40
    assert {(c.reason, c.cause) for c in gone} == {("gone-from-source", "source")}
    for shown, why in (
        (made, "[source] gone from PagerDuty"),
        (plan(owned(60, wanted=20)), "gone from PagerDuty; above the delete limit"),
    ):
        about = [line for line in render_plan(shown).splitlines() if "- service/s" in line]
        assert [why in line for line in about] == [True] * 40


# --- a source said nothing, and was believed


def test_an_empty_answer_that_succeeded_deleted_everything() -> None:
    """A list that was full and is empty at once proves nothing, whatever its status: nothing of it is deleted."""
    query = Query("services")
    empty = Snapshot("pd", "2026-06-01T13:00:00Z", {query: Collection(query, ())})
    suspected = judged(empty, {query: Seen(40, 40, suspicious=False)}, timedelta(hours=1))
    assert empty.collections[query].complete
    why = unproven([rule()], suspected)
    made = plan(replace(owned(40), unproven=why))
    assert (made.summary.delete, {w.reason for w in made.withheld}) == (0, {"absence is not proven"})
    assert plan_exit_code(made, detailed=False) == 3


def test_an_empty_answer_of_the_source_ended_green(site: Workspace) -> None:
    """Over the wire: the list comes whole, with 200 and nothing in it.  Nothing is deleted, and the run says so."""
    nothing = {"services": [], "limit": 100, "offset": 0, "total": 0, "more": False}
    site.box.faults.add(Fault("answer", api="pagerduty", path="^/services$", status=200, body=nothing, count=None))
    ran = site.run("apply", "--auto-approve")
    assert ran.code in (3, 7)
    assert "a list shrank suspiciously" in ran.err
    assert site.box.log.port_writes() == []


def test_a_list_that_stayed_empty_for_days_was_believed_in_the_end() -> None:
    """Even when it is: what had entities and has none any more is not deleted before somebody names the number."""
    query = Query("services")
    seen = Seen(0, 40, suspicious=True, since="2026-06-01T13:00:00Z")
    days_later = Snapshot("pd", "2026-06-05T13:00:00Z", {query: Collection(query, ())})
    believed = judged(days_later, {query: seen}, timedelta(hours=1))
    made = plan(replace(owned(40), unproven=unproven([rule()], believed)))
    assert [(g.name, g.flag) for g in made.guards] == [("empty-desired", "--allow-deletes service=40")]
    assert (made.summary.delete, len(made.withheld)) == (0, 40)


@pytest.mark.parametrize("nothing", [".no_such_key", "{}", "empty"])
def test_a_mapping_that_gave_nothing_deleted_everything(site: Workspace, nothing: str) -> None:
    """A record that is there and yields no identifier is an error with its line; its entity stays."""
    wrong = f"""identifier: 'if .id == "{max(site.box.world.services)}" then {nothing} else .id end'"""
    site.write("catalog/mappings/pagerduty.yaml", MAPPING.replace("identifier: .id", wrong, 1))
    ran = site.ok("apply", "--auto-approve", code=1)
    assert "catalog/mappings/pagerduty.yaml:7:" in ran.err
    assert site.box.log.port_writes() == []
    assert len(site.box.store.entities("service")) == 4


# --- what is not ours


def test_something_of_others_was_replaced_because_its_name_matched() -> None:
    """Taking over is shown as such and can be refused; what is not mapped on it is not touched."""
    given = Facts(
        catalog([SERVICE], [rule()]),
        desired(want("a", tier="2")),
        existing([SERVICE], {"a": have(tier="1", url="theirs")}),
        ledger({}, [SERVICE]),
    )
    (change,) = plan(given).changes
    assert (change.action, change.reason, [f.path for f in change.fields]) == (
        "update",
        "taken-over",
        ["properties.tier"],
    )
    refused = plan(replace(given, catalog=catalog([SERVICE], [rule()], adopt="refuse")))
    assert (refused.changes, len(refused.held)) == ((), 1)


def test_a_writer_dropped_what_the_change_did_not_mention(here: Here) -> None:
    """An update writes what changes; everything else of the entity, and of the blueprint, is as it was."""
    here.apply(here.plan(SERVICES, raised("1", "a")))
    here.port.put_entity("service", {"identifier": "a", "properties": {"url": "by hand", "size": 3}})
    more = {**SERVICE.properties, "theirs": {"type": "string"}}
    here.port.patch_blueprint("service", {"schema": {"properties": more, "required": []}})
    wider = Blueprint("service", {**SERVICE.definition, "title": "Another"})
    assert here.apply(here.plan(catalog([wider], [rule()]), raised("2", "a"))).whole
    assert here.port.entities("service")["a"]["properties"] == {"tier": "2", "url": "by hand", "size": 3}
    assert "theirs" in here.port.find_blueprint("service").properties


# --- a state was not what had happened


def test_a_partial_failure_wrote_stale_values_into_the_state() -> None:
    """Each outcome is entered for its own entity: done as written, failed as before."""
    given = two_updates()
    made = plan(given)
    after = after_run(given.ledger, made, {made.changes[0].n: "done", made.changes[1].n: "failed"})
    assert {k.identifier: e.fields["properties.tier"] for k, e in after.entities.items()} == {"a": "2", "b": "1"}


def two_updates() -> Facts:
    return Facts(
        SERVICES,
        desired(want("a", tier="2"), want("b", tier="2")),
        existing([SERVICE], {"a": have(tier="1"), "b": have(tier="1")}),
        ledger({"a": entry(tier="1"), "b": entry(tier="1")}, [SERVICE]),
    )


def test_one_outcome_that_nobody_knew_dropped_the_whole_state(here: Here) -> None:
    """What is known of the others is saved; of the one without an answer it is known that it may be ours."""
    create_blueprints(here, SERVICE)
    wanted = desired(want("a", tier="1"), want("z", to_next="a", blueprint="node", source="nodes/z"))
    node = blueprint("node", next=relation("service"))
    of = catalog([SERVICE, node], [rule(), rule("node", ("relations.next",), kind="nodes")])
    here.patience = 0.2
    here.box.faults.add(Fault("drop", api="port", path="/node/entities/bulk$", when="before", count=None))
    result = here.apply(here.plan(of, wanted), looking=False)
    assert [result.count("unknown"), result.saved] == [1, True]
    assert sorted(map(str, here.ledger().entities)) == ["node/z", "service/a"]


def test_a_call_that_failed_had_been_done_and_the_state_said_otherwise(here: Here) -> None:
    """Port did the work, and the answer never came: what it holds is looked up, and that is what the state says."""
    here.apply(here.plan(SERVICES, raised("1", "a")))
    here.patience = 0.2
    here.box.faults.add(Fault("drop", api="port", path="/entities/bulk$", when="after", count=None))
    result = here.apply(here.plan(SERVICES, raised("2", "a")))
    here.box.faults.clear()
    assert (result.whole, here.ledger().entities[key("a")].fields["properties.tier"]) == (True, "2")
    assert here.plan(SERVICES, raised("2", "a")).changes == ()


# --- a plan was not what was done


def test_a_fresh_plan_violated_itself_after_writing(here: Here) -> None:
    """On a world that did not move a plan is exact, is done whole, and leaves nothing to do."""
    here.apply(here.plan(SERVICES, raised("1", "a", "b")))
    world = desired(want("a", tier="2"), want("c", tier="1"))
    made = here.plan(SERVICES, world)
    assert here.moved(made) == {}
    assert here.apply(made).whole
    assert here.plan(SERVICES, world).changes == ()


def test_an_apply_without_a_saved_plan_failed_for_everyone(site: Workspace) -> None:
    """What is planned and done in one go passes its own checks, and proves that nothing is left."""
    site.box.mutate({"action": "rename_service", "id": min(site.box.world.services), "name": "Renamed"})
    site.box.mutate({"action": "add_service", "name": "Added"})
    assert "Proven" in site.ok("apply", "--auto-approve", "--prove").out


def test_a_violated_plan_was_found_out_after_the_first_writes(site: Workspace) -> None:
    """A saved plan is checked whole before its first write, and says in words what has moved: exit code 4, not a number."""
    services = sorted(site.box.world.services)
    for number, service in enumerate(services):
        site.box.mutate({"action": "rename_service", "id": service, "name": f"Renamed {number}"})
    site.ok("-q", "plan", "--out", "saved.pdplan")
    site.box.store.put_entity("service", {"identifier": services[-1], "title": "edited meanwhile"})
    site.box.log.clear()
    ran = site.ok("apply", "saved.pdplan", code=4)
    assert site.box.log.port_writes() == []
    assert f'service/{services[-1]} (title was "' in ran.err
    assert '", is "edited meanwhile")' in ran.err
    assert "pdsync plan --rebase" in ran.err


def test_protection_vanished_with_the_block_that_it_stood_in() -> None:
    """Neither removing the policy's line nor the whole mapping takes protection, or the end that was chosen, away."""
    first = Facts(
        catalog([SERVICE], [rule()], protect=("service/a",)),
        desired(want("a", tier="1"), want("b", tier="1")),
        existing([SERVICE], {}),
        ledger({}, [SERVICE]),
    )
    made = plan(first)
    left = after_run(first.ledger, made, {c.n: "done" for c in made.changes})
    forgotten = replace(left.entities[key("b")], on_remove="forget")
    later = Facts(
        catalog([SERVICE], []),
        desired(),
        existing([SERVICE], {"a": have(tier="1"), "b": have(tier="1")}),
        replace(left, entities={**left.entities, key("b"): forgotten}),
    )
    made = plan(later)
    assert [(str(w.key), w.reason) for w in made.withheld] == [
        ("service/a", "protected by an earlier policy, until `pdsync state unprotect`")
    ]
    assert [(str(c.key), c.action) for c in made.changes] == [("service/b", "forget")]


# --- two at once, and the dead


def test_two_deploys_wrote_over_each_other(here: Here) -> None:
    """The state is replaced only by whoever saw the last one: of two runs the second is refused before it writes."""
    here.apply(here.plan(SERVICES, raised("1", "a")))
    slow = here.plan(SERVICES, raised("2", "a"))
    here.apply(here.plan(SERVICES, raised("3", "a", "b")))
    here.box.log.clear()
    with pytest.raises(StalePlan):
        here.apply(slow)
    assert here.box.log.port_writes() == []
    assert sorted(k.identifier for k in here.ledger().entities) == ["a", "b"]


def test_a_killed_run_left_a_lock_and_nothing_saved() -> None:
    """Another machine finds out that the holder is dead, takes over, and owns everything that was made."""
    with machines() as (one, other):
        made = one.plan(SERVICES, raised("1", "a", "b"))
        with killed_at("^after POST .*/entities/bulk") as moments, one.store().lock("apply"):
            one.apply(made)
        assert moments.dead
        leave_dead(other)
        assert sorted(one.port.entities("service")) == ["a", "b"]
        with pytest.raises(Locked, match="looks dead"), other.store().lock("apply"):
            pass
        assert other.resume().whole
        assert {str(k): e.origin for k, e in other.ledger().entities.items()} == {
            "service/a": "created",
            "service/b": "created",
        }


def test_a_preview_made_a_real_change(site: Workspace) -> None:
    """What a plan is given to read with has nothing to write with, and what looks sends nothing but reads."""
    words = ("write", "upsert", "create", "change", "delete", "patch", "put", "post", "rename")
    assert [name for name in dir(PortReader) if any(word in name.lower() for word in words)] == []
    site.box.mutate({"action": "rename_service", "id": min(site.box.world.services), "name": "Renamed"})
    site.box.mutate({"action": "add_service", "name": "Added"})
    site.box.mutate({"action": "delete_service", "id": max(site.box.world.services)})
    before = site.box.store.snapshot()
    for command in LOOKING:
        site.run(*command)
    assert len(site.box.log.all("port")) > 0
    assert [each for each in site.box.log.port_writes() if "validation_only=true" not in each.query] == []
    assert {r.method for r in site.box.log.all("pagerduty")} <= {"GET", "POST"}
    assert site.box.store.snapshot() == before


LOOKING = (
    ["plan"],
    ["plan", "--out", "saved.pdplan", "--format", "markdown"],
    ["plan", "--offline", "--detailed-exitcode"],
    ["plan", "--validate-remote"],
    ["snapshot"],
    ["drift"],
    ["explain", "person/nobody"],
    ["show"],
    ["show", "history"],
    ["state", "list"],
    ["state", "check"],
    ["validate"],
)


# --- seen in the engines themselves: what a plan is bound to


def test_two_targets_shared_one_checksum(here: Here) -> None:
    """Equal work for another organisation is not what was approved: applying it there is refused before any write."""
    made = here.plan(SERVICES, raised("1", "a"))
    here.reading(lambda reader: check_fresh(made, reader, here.store(), SERVICES))
    elsewhere = replace(made, base=replace(made.base, org_id="org_other"))
    assert elsewhere.fingerprint == made.fingerprint
    with pytest.raises(StalePlan, match=r"made for Sandbox \(org_other\), not Sandbox \(org_sandbox\)"):
        here.reading(lambda reader: check_fresh(elsewhere, reader, here.store(), SERVICES))


def test_a_checksum_depended_on_the_order_of_what_was_found() -> None:
    """The same work has the same fingerprint, in whatever order it was come upon."""
    given = two_updates()
    turned = replace(
        given,
        desired=desired(*reversed(list(given.desired.entities.values()))),
        existing=replace(given.existing, entities=dict(reversed(list(given.existing.entities.items())))),
        ledger=replace(given.ledger, entities=dict(reversed(list(given.ledger.entities.items())))),
    )
    made = plan(given)
    assert made.fingerprint == plan(turned).fingerprint == fingerprint(reversed(made.changes))
    assert made.fingerprint != plan(replace(given, desired=desired(want("a", tier="2")))).fingerprint


def test_a_saved_plan_was_checked_by_the_number_of_its_state_alone(here: Here) -> None:
    """The state has not moved, what it is about has: every touched entity is read again before the first write."""
    here.apply(here.plan(SERVICES, raised("1", "a", "b")))
    made = here.plan(SERVICES, raised("2", "a", "b"))
    here.port.put_entity("service", {"identifier": "b", "properties": {"tier": "by hand"}})
    assert here.ledger().serial == made.base.serial
    with pytest.raises(StalePlan, match=r"service/b"):
        here.reading(lambda reader: check_fresh(made, reader, here.store(), SERVICES))


@pytest.mark.parametrize("name", ["a", "gone", "new"])
def test_an_edit_after_the_check_was_overwritten(here: Here, name: str) -> None:
    """Each entity is looked at right before its own write; edited or made by somebody else, it is left alone and named.

    That an API tells of no conflict makes no difference, nor whether the entity was there when the plan was made.
    """
    here.apply(here.plan(SERVICES, raised("1", "a", "b", "gone")))
    made = here.plan(SERVICES, raised("2", "a", "b", "new"))

    def meddling(plan: Plan, reader: PortReader) -> Watch:
        here.port.put_entity("service", {"identifier": name, "properties": {"tier": "meddled"}})
        return watch(plan, reader)

    result = here.apply(made, watching=meddling)
    told = {change.identifier: outcome for change, outcome in zip(made.changes, result.outcomes, strict=True)}
    assert {each: outcome.status for each, outcome in told.items()} == {
        each: "skipped" if each == name else "done" for each in ("a", "b", "gone", "new")
    }
    moved = 'changed in Port since the plan: properties.tier was "1", is "meddled"'
    assert told[name].message == ("it is there already" if name == "new" else moved)
    assert here.port.entities("service")[name]["properties"]["tier"] == "meddled"
    ours = {k.identifier for k in result.ledger.entities}
    assert ours == {"a", "b", *({"gone"} & {name}), *({"new"} - {name})}


# --- seen in the engines themselves: exit codes, output and options


@pytest.mark.parametrize("form", ["text", "json", "markdown", "html"])
def test_an_exit_code_was_another_in_another_format(site: Workspace, form: str) -> None:
    """Changes are 2 in each format, an error stays one, and the whole document is printed before the code is given."""
    site.box.mutate({"action": "rename_service", "id": min(site.box.world.services), "name": "Renamed"})
    ran = site.ok("plan", "--detailed-exitcode", "--format", form, code=2)
    end = {"text": "Plan: 0 to create, 1 to update", "json": "}\n", "markdown": "\n", "html": "</html>\n"}[form]
    assert "Renamed" in ran.out
    assert end in ran.out[-60:]
    assert form != "json" or ran.json["summary"]["update"] == 1
    site.write("catalog/mappings/pagerduty.yaml", MAPPING.replace("role: .role", 'role: .role | error("no")'))
    assert "Renamed" in site.ok("plan", "--detailed-exitcode", "--format", form, code=1).out


def test_machine_output_swallowed_the_error_of_an_apply(site: Workspace) -> None:
    """With events for programs a failed write ends with the same code and is in both, the text and the events."""
    site.box.mutate({"action": "rename_service", "id": min(site.box.world.services), "name": "Renamed"})
    site.box.faults.add(
        Fault("answer", api="port", method="POST", path="/entities/bulk$", status=422, body=REFUSED, count=None)
    )
    assert "not this one" in site.ok("apply", "--auto-approve", code=6).out
    ran = site.ok("--json-into", "events.ndjson", "apply", "--auto-approve", code=6)
    events = [json.loads(line) for line in (site.folder / "events.ndjson").read_text("utf-8").splitlines()]
    assert "not this one" in ran.out
    assert [e["status"] for e in events if e["type"] == "outcome"] == ["failed"]


def commands() -> Iterator[tuple[str, click.Command]]:
    """Every command, with those of groups."""
    for name, (place, _) in COMMANDS.items():
        module, _, attribute = place.partition(":")
        top = getattr(importlib.import_module(f"pdsync.cli.{module}"), attribute)
        yield name, top
        yield from ((f"{name} {each}", of) for each, of in getattr(top, "commands", {}).items())


@pytest.mark.parametrize("name", [name for name, _ in commands()])
def test_an_option_was_taken_and_meant_nothing(name: str) -> None:
    """What a command is given by its options it makes use of."""
    callback = dict(commands())[name].callback
    assert callback is not None
    for layer in layers(callback):
        (made,) = ast.parse(textwrap.dedent(inspect.getsource(layer.__code__))).body
        assert isinstance(made, (ast.FunctionDef, ast.AsyncFunctionDef))
        names = {each.arg for each in (*made.args.args, *made.args.kwonlyargs)}
        used = {n.id for part in made.body for n in ast.walk(part) if isinstance(n, ast.Name)}
        assert names - used == set()


def layers(function: Any) -> Iterator[Any]:
    """A command's function, and those that decorate it, from the outermost on."""
    while function is not None:
        yield function
        function = getattr(function, "__wrapped__", None)


def test_a_request_was_made_for_each_change(here: Here) -> None:
    """To plan many changes takes no more requests than to plan a few."""
    asked = []
    for count in (3, 60):
        names = [f"s{n}" for n in range(count)]
        here.apply(here.plan(SERVICES, raised("1", *names)))
        here.box.log.clear()
        assert here.plan(SERVICES, raised("2", *names, "new")).summary.update == count
        asked.append(len(here.box.log.all("port")))
    assert asked[0] == asked[1]


def test_only_secrets_that_the_tool_knew_were_hidden(site: Workspace) -> None:
    """What may be a secret of a record is in no file and no output, though nobody has said that it is one."""
    service = {"id": "PNEW123", "name": "New", "status": "active", "html_url": "https://x.example"}
    row = {**service, "integrations": [{"id": "PI1", "integration_key": "0b5cure"}], "secret": {"deep": "0b5cure"}}
    page = {"services": [row], "limit": 100, "offset": 0, "total": 1, "more": False}
    site.box.faults.add(Fault("answer", api="pagerduty", path="^/services$", status=200, body=page, count=None))
    told = [
        site.run("-v", *command)
        for command in (["plan", "--out", "p"], ["apply", "p"], ["eval", "services", "PNEW123"])
    ]
    assert "PNEW123" in site.box.store.entities("service")
    everything = [ran.out + ran.err for ran in told] + [data.decode(errors="replace") for data in site.files().values()]
    assert [text for text in everything if "0b5cure" in text] == []


# --- seen in the engines themselves: deletes


def test_deletes_above_a_threshold_were_skipped_in_silence() -> None:
    """They are listed by name, a guard says how many of how many, and the command ends with 3."""
    made = plan(owned(100, wanted=50))
    assert [(g.name, g.flag) for g in made.guards] == [("delete-limit", "--allow-deletes service=50")]
    assert len({w.key for w in made.withheld}) == 50
    assert plan_exit_code(made, detailed=False) == 3


def test_a_threshold_of_ninety_percent_over_everything_let_a_whole_blueprint_go() -> None:
    """Limits count each blueprint for itself: a thousand others that stay do not hide what one of them loses."""
    given = owned(40, wanted=25)
    names, rules = [f"i{n}" for n in range(1000)], ("m.yaml#incidents[0]",)
    stay = {key(f"incident/{name}"): want(name, "incident", source=f"incidents/{name}", rules=rules) for name in names}
    held = {key(f"incident/{name}"): have() for name in names}
    last: dict[EntityKey, LedgerEntry] = {
        key(f"incident/{name}"): entry(source=f"incidents/{name}", rules=rules) for name in names
    }
    given = replace(
        given,
        desired=replace(given.desired, entities={**given.desired.entities, **stay}),
        existing=replace(given.existing, entities={**given.existing.entities, **held}),
        ledger=replace(given.ledger, entities={**given.ledger.entities, **last}),
    )
    made = plan(given)
    assert [(g.name, g.flag) for g in made.guards] == [("delete-limit", "--allow-deletes service=15")]
    assert (made.summary.delete, len(made.withheld)) == (0, 15)


def test_dependents_were_deleted_along(tmp_path: Path) -> None:
    """Whatever the mapping file says: what merely points at a deleted entity stays, and loses the relation."""
    of = catalog([SERVICE, INCIDENT], [rule(delete_dependents=True)])
    with running(tmp_path, port=PortStore(behaviour=Behaviour(cascade="all"))) as here:
        here.apply(here.plan(of, raised("1", "a", "b")))
        here.port.put_entity("incident", {"identifier": "theirs", "relations": {"service": "a"}})
        made = here.plan(of, raised("1", "b"))
        assert made.blast is not None
        assert [str(d.key) for d in made.blast.dependents] == ["incident/theirs"]
        assert here.apply(made).whole
        assert here.port.entities("incident")["theirs"]["relations"]["service"] is None


# --- seen in the engines themselves: the state and its lock


def test_a_state_that_could_not_be_opened_counted_as_saved(site: Workspace) -> None:
    """A state that is not saved is an error, and the next run knows all the same what was done."""
    site.box.mutate({"action": "add_service", "name": "Added"})
    with site.monkeypatch.context() as patch:
        patch.setattr("pdsync.files.replace", refuse_to_write)
        ran = site.run("apply", "--auto-approve")
    assert (ran.code, "error[" in ran.err, "State saved" in ran.out) == (1, True, False)
    assert len(site.box.store.entities("service")) == 5
    assert site.changes() == []
    assert "created" in site.ok("state", "show", f"service/{max(site.box.store.entities('service'))}").out


def refuse_to_write(*_: object, **__: object) -> None:
    raise PermissionError(13, "Permission denied")


def test_an_unlock_took_away_the_lock_of_another(tmp_path: Path) -> None:
    """Between looking at a lock and freeing it somebody else has taken it: theirs stays."""
    store = shared_store(tmp_path)
    leave_locked(store)
    backend = store.backend
    assert isinstance(backend, Shared)
    late = Late(backend.inner)
    theirs = replace(INFO, id="theirs")

    def take() -> None:
        backend.unlock(INFO.id)
        held.append(backend.lock(theirs))
        held[0].__enter__()

    held: list[Any] = []
    late.before = [take]
    with suppress(PdsyncError):
        late.unlock(INFO.id)
    assert backend.holder() == theirs


def test_a_writer_that_had_lost_its_lock_wrote_over_the_state(tmp_path: Path) -> None:
    """The lock is a courtesy: what protects the state is that only what was seen last is replaced."""
    one, other = shared_store(tmp_path), shared_store(tmp_path)
    start = one.load()
    other.load()
    with one.lock("apply") as held:
        assert isinstance(one.backend, Shared)
        one.backend.unlock(held.id)
        with other.lock("apply"):
            won = other.save(replace(start, commit="theirs"), deletes=0)
        with pytest.raises(StalePlan):
            one.save(replace(start, commit="mine"), deletes=0)
    assert shared_store(tmp_path).load() == won


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_an_interrupt_was_not_heeded(site: Workspace) -> None:
    """Ctrl-C: what is in flight ends, nothing more begins, the state is saved, and the next run does the rest."""
    site.box.mutate({"action": "add_service", "name": "Added"})
    added = max(site.box.world.services, key=lambda each: site.box.world.services[each].name == "Added")
    site.box.mutate({"action": "trigger_incident", "service_id": added, "title": "On fire"})
    with (
        answers_held(site.box, "service/entities/bulk$") as released,
        site.start("apply", "--auto-approve") as process,
    ):
        until(lambda: added in site.box.store.entities("service"), process)
        stop(process, signal.SIGINT)
        released.set()
        out, err = process.communicate()
    assert (process.returncode, "Traceback" in err, "Apply incomplete: 1 done" in out) == (130, False, True)
    assert f"service/{added}" in site.ok("state", "list").out
    assert [change.partition("/")[0] for change in site.changes()] == ["create incident"]


def leave_dead(machine: Machine) -> None:
    """The process that holds the lock is no more."""
    backend = machine.store().backend
    stored = backend.load(LOCK)
    held = read_lock(stored)
    assert stored is not None
    assert held is not None
    backend.store(LOCK, msgspec.json.encode(replace(held, pid=2**31 - 1)), stored.version)
