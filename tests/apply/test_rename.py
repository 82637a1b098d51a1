"""A rename done over HTTP, and cut short at every point: nothing is lost, and the next run ends it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pdsync.sight import watch
from tests.apply.running import create_blueprints
from tests.builders import blueprint, catalog, desired, relation, rule, want

if TYPE_CHECKING:
    from pdsync.model import DesiredEntities
    from tests.apply.running import Here

SERVICE = blueprint()
INCIDENT = blueprint("incident", service=relation("service", required=True))
DEPLOYMENT = blueprint("deployment", service=relation("service"))
RULES = [rule(), rule("incident", ("title", "relations.service"), kind="incidents")]
BOTH = catalog([SERVICE, INCIDENT], RULES)


def world(suffix: str) -> DesiredEntities:
    """Three services under identifiers with a suffix, and an incident of each."""
    services = [want(f"{n}{suffix}", title=n, tier="1", source=f"services/{n}") for n in "abc"]
    incidents: list[Any] = [
        want(f"i-{n}", "incident", title=n, to_service=f"{n}{suffix}", source=f"incidents/{n}", rules=(RULES[1].id,))
        for n in "abc"
    ]
    return desired(*services, *incidents)


def furnished(here: Here) -> None:
    here.apply(here.plan(BOTH, world("")))
    create_blueprints(here, DEPLOYMENT)
    here.port.put_entity("service", {"identifier": "a", "properties": {"url": "by hand", "size": 3}})
    here.port.put_entity("deployment", {"identifier": "d", "relations": {"service": "a"}})


def test_a_rename_keeps_everything(here: Here) -> None:
    """Values that nobody maps, and what is ours and required; a second plan is empty."""
    furnished(here)
    plan = here.plan(BOTH, world("-api"))
    assert (plan.summary.rename, plan.summary.create, plan.summary.delete, plan.summary.update) == (3, 0, 0, 3)
    assert here.apply(plan).whole
    services = here.port.entities("service")
    assert sorted(services) == ["a-api", "b-api", "c-api"]
    assert services["a-api"]["properties"] == {"tier": "1", "url": "by hand", "size": 3}
    assert {e["relations"]["service"] for e in here.port.entities("incident").values()} == set(services)
    assert sorted(str(key) for key in here.ledger().entities if key.blueprint == "service") == [
        "service/a-api",
        "service/b-api",
        "service/c-api",
    ]
    assert here.plan(BOTH, world("-api")).changes == ()


def test_a_rename_that_was_cut_short_is_ended_by_the_next_run(here: Here) -> None:
    """Wherever it stops, no value is gone, no relation is empty, and the next run leaves nothing to do."""
    furnished(here)
    back = here.kept()
    for done in range(1, 9):
        back()
        here.apply(here.plan(BOTH, world("-api")), stop_after=done)
        held = [e["properties"] for e in here.port.entities("service").values()]
        assert {"tier": "1", "url": "by hand", "size": 3} in held, done
        assert all(e["relations"]["service"] for e in here.port.entities("incident").values()), done
        again = here.plan(BOTH, world("-api"))
        assert again.withheld == (), done
        here.apply(again)
        assert sorted(here.port.entities("service")) == ["a-api", "b-api", "c-api"], done
        assert here.port.entities("service")["a-api"]["properties"] == {"tier": "1", "url": "by hand", "size": 3}, done
        assert here.plan(BOTH, world("-api")).changes == (), done


def test_a_value_that_somebody_sets_meanwhile_keeps_the_old_one(here: Here) -> None:
    """The old half is only removed as the plan saw it: what came after is not carried over, so it is not lost."""
    furnished(here)
    plan = here.plan(BOTH, world("-api"))
    here.port.put_entity("service", {"identifier": "a", "properties": {"url": "set meanwhile"}})
    assert list(here.moved(plan)) == ["service/a"]

    result = here.apply(plan, watching=watch)
    assert result.count("skipped") == 1
    assert here.port.entities("service")["a"]["properties"]["url"] == "set meanwhile"
    assert sorted(here.port.entities("service")) == ["a", "a-api", "b-api", "c-api"]
