"""The worst bugs that engines of this sort are on record for, each as a test that ours does not have it.

Each name says what went wrong elsewhere.  Those about locks and kills at any moment stand with the state.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from pdsync.commands import check_fresh, unproven
from pdsync.completeness import Seen, judged
from pdsync.errors import StalePlan, StateError
from pdsync.model import Collection, LedgerEntry, Query, Snapshot
from pdsync.plan import Facts
from pdsync.plan.verdict import plan_exit_code
from pdsync.state.runs import after_run
from pdsync.targets.port import PortReader
from tests.apply.running import running
from tests.builders import blueprint, catalog, desired, entry, existing, have, key, ledger, plan, relation, rule, want

if TYPE_CHECKING:
    from pathlib import Path

SERVICE = blueprint()
INCIDENT = blueprint("incident", service=relation("service"))


def owned(count: int, wanted: int = 0, **policy: Any) -> Facts:
    """So many services are ours and in Port, of which the mapping still makes the first `wanted`."""
    names = [f"s{n:03}" for n in range(count)]
    return Facts(
        catalog([SERVICE, INCIDENT], [rule()], **policy),
        desired(*(want(n, tier="1") for n in names[:wanted])),
        existing([SERVICE, INCIDENT], {n: have(tier="1") for n in names}),
        ledger({n: entry(tier="1", source=f"services/{n}") for n in names}, [SERVICE, INCIDENT]),
    )


def test_an_empty_state_was_saved_after_a_plan_that_did_nothing(tmp_path: Path) -> None:
    """A ledger without entities never replaces one with some, unless that many removals explain it."""
    with running(tmp_path) as here:
        here.apply(here.plan(catalog([SERVICE], [rule()]), desired(want("a", tier="1"))))
        store = here.store()
        held = store.load()
        with pytest.raises(StateError):
            store.save(replace(held, entities={}), deletes=0)
        assert here.ledger().entities == held.entities


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


def test_a_writer_dropped_what_the_change_did_not_mention(tmp_path: Path) -> None:
    """An update writes the fields that change, and everything else of the entity is as it was."""
    of = catalog([SERVICE], [rule()])
    with running(tmp_path) as here:
        here.apply(here.plan(of, desired(want("a", title="A", tier="1"))))
        here.port.put_entity("service", {"identifier": "a", "properties": {"url": "by hand", "size": 3}})
        assert here.apply(here.plan(of, desired(want("a", title="A", tier="2")))).whole
        assert here.port.entities("service")["a"]["properties"] == {"tier": "2", "url": "by hand", "size": 3}


def test_a_partial_failure_wrote_stale_values_into_the_state() -> None:
    """Each outcome is entered for its own entity: done as written, failed as before."""
    given = Facts(
        catalog([SERVICE], [rule()]),
        desired(want("a", tier="2"), want("b", tier="2")),
        existing([SERVICE], {"a": have(tier="1"), "b": have(tier="1")}),
        ledger({"a": entry(tier="1"), "b": entry(tier="1")}, [SERVICE]),
    )
    made = plan(given)
    after = after_run(given.ledger, made, {made.changes[0].n: "done", made.changes[1].n: "failed"})
    assert {k.identifier: e.fields["properties.tier"] for k, e in after.entities.items()} == {"a": "2", "b": "1"}


def test_a_fresh_plan_violated_itself_after_writing(tmp_path: Path) -> None:
    """On a world that did not move a plan is exact, is done whole, and leaves nothing to do."""
    of = catalog([SERVICE], [rule()])
    with running(tmp_path) as here:
        here.apply(here.plan(of, desired(want("a", tier="1"), want("b", tier="1"))))
        world = desired(want("a", tier="2"), want("c", tier="1"))
        made = here.plan(of, world)
        assert here.moved(made) == {}
        assert here.apply(made).whole
        assert here.plan(of, world).changes == ()


def test_protection_vanished_with_the_block_that_it_stood_in() -> None:
    """Neither removing the policy's line nor the whole mapping takes protection, or the end that was chosen, away."""
    guarded = entry(tier="1", protect=True)
    kept = entry(tier="1", source="services/b", on_remove="forget")
    given = Facts(
        catalog([SERVICE], []),
        desired(),
        existing([SERVICE], {"a": have(tier="1"), "b": have(tier="1")}),
        ledger({"a": guarded, "b": kept}, [SERVICE]),
    )
    made = plan(given)
    assert [str(w.key) for w in made.withheld] == ["service/a"]
    assert [(str(c.key), c.action) for c in made.changes] == [("service/b", "forget")]


def test_a_preview_made_a_real_change() -> None:
    """What a plan is given to read with has nothing to write with."""
    words = ("write", "upsert", "create", "change", "delete", "patch", "put", "post")
    assert [name for name in vars(PortReader) if any(word in name for word in words)] == []


# --- seen in the engines themselves


def test_two_targets_shared_one_checksum(tmp_path: Path) -> None:
    """Equal work for another organisation is not what was approved: applying it there is refused before any write."""
    of, world = catalog([SERVICE], [rule()]), desired(want("a", tier="1"))
    with running(tmp_path) as here:
        made = here.plan(of, world)
        here.reading(lambda reader: check_fresh(made, reader, here.store(), of))
        elsewhere = replace(made, base=replace(made.base, org_id="org_other"))
        assert elsewhere.fingerprint == made.fingerprint
        with pytest.raises(StalePlan, match="organisation: org_other -> org_sandbox"):
            here.reading(lambda reader: check_fresh(elsewhere, reader, here.store(), of))


def test_deletes_above_a_threshold_were_skipped_in_silence() -> None:
    """They are listed by name, a guard says how many of how many, and the command ends with 3."""
    made = plan(owned(100, wanted=50))
    assert [(g.name, g.flag) for g in made.guards] == [("delete-limit", "--allow-deletes service=50")]
    assert len({w.key for w in made.withheld}) == 50
    assert plan_exit_code(made, detailed=False) == 3


def test_a_threshold_of_ninety_percent_over_everything_let_a_whole_blueprint_go() -> None:
    """Limits count each blueprint for itself: many others that stay do not hide one that is emptied."""
    given = owned(40)
    teams = {f"incident/i{n}": have() for n in range(900)}
    entries: dict[str, LedgerEntry] = {
        f"incident/i{n}": entry(source=f"incidents/i{n}", rules=("m.yaml#incidents[0]",)) for n in range(900)
    }
    wanted = [want(f"i{n}", "incident", source=f"incidents/i{n}", rules=("m.yaml#incidents[0]",)) for n in range(900)]
    given = replace(
        given,
        desired=desired(*wanted),
        existing=replace(given.existing, entities={**given.existing.entities, **{key(k): v for k, v in teams.items()}}),
        ledger=replace(given.ledger, entities={**given.ledger.entities, **{key(k): v for k, v in entries.items()}}),
    )
    made = plan(given)
    assert (made.summary.delete, len(made.withheld)) == (0, 40)


def test_dependents_were_deleted_along(tmp_path: Path) -> None:
    """Whatever the mapping file says: what merely points at a deleted entity stays, and loses the relation."""
    of = catalog([SERVICE, INCIDENT], [rule(delete_dependents=True)])
    with running(tmp_path) as here:
        here.apply(here.plan(of, desired(want("a", tier="1"), want("b", tier="1"))))
        here.port.put_entity("incident", {"identifier": "theirs", "relations": {"service": "a"}})
        made = here.plan(of, desired(want("b", tier="1")))
        assert made.blast is not None
        assert [str(d.key) for d in made.blast.dependents] == ["incident/theirs"]
        assert here.apply(made).whole
        assert here.port.entities("incident")["theirs"]["relations"]["service"] is None
