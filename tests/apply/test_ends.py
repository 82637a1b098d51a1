"""The ends that a lifecycle gives, done over HTTP and out of a saved plan."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pdsync.model import Lifecycle
from pdsync.plan.document import parse_plan, plan_document
from tests.builders import blueprint, catalog, desired, rule, want

if TYPE_CHECKING:
    from pdsync.model import Removal
    from tests.apply.running import Here

SERVICE = blueprint()


@pytest.mark.parametrize("end", ["delete", "release", "forget"])
def test_each_end_from_a_saved_plan(here: Here, end: Removal) -> None:
    """What is in Port and in the ledger afterwards; the plan is exact until then, and a second one is empty."""
    of = catalog([SERVICE], [rule(lifecycle=Lifecycle(on_remove=end))])
    here.apply(here.plan(of, desired(want("a", title="A", tier="1"))))
    here.port.put_entity("service", {"identifier": "a", "properties": {"url": "by hand"}})
    plan = parse_plan(plan_document(here.plan(of, desired())))
    assert here.moved(plan) == {}
    assert here.apply(plan).whole
    left = here.port.entities("service").get("a")
    assert (left and (left["title"], {k: v for k, v in left["properties"].items() if v})) == {
        "delete": None,
        "release": ("A", {"url": "by hand"}),
        "forget": ("A", {"tier": "1", "url": "by hand"}),
    }[end]
    assert here.ledger().entities == {}
    assert here.plan(of, desired()).changes == ()
