"""One plan taken apart: the same functions that `pdsync plan` calls, one after the other and each timed.

`python -m benchmarks.phases CATALOG STATE` prints a JSON object: seconds by phase.  The command itself fetches from
PagerDuty and Port at the same time, so that its wall time is less than the sum.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.yardstick import Phases
from pdsync import commands
from pdsync.catalog import load_catalog
from pdsync.cli.session import new_id, now
from pdsync.mapping import map_entities
from pdsync.model import PlanBase
from pdsync.needed import wanted_paths
from pdsync.plan import Facts, make_plan
from pdsync.plan.document import plan_document
from pdsync.render.plan_text import render_plan
from pdsync.sources.pagerduty import open_pagerduty
from pdsync.state.open import Surroundings, open_store
from pdsync.targets.port import open_port_reader

if TYPE_CHECKING:
    from pdsync.model import Catalog, Existing, Ledger, Snapshot
    from pdsync.state.store import StateStore

_NO_BASE = PlanBase(
    lineage="",
    serial=0,
    catalog="",
    commit="",
    snapshot="",
    taken_at="",
    org_id="",
    org_name="",
    source="",
    target="",
    tool="",
)


async def _snapshot(catalog: Catalog, store: StateStore) -> Snapshot:
    async with open_pagerduty(os.environ["PAGERDUTY_API_URL"], token=os.environ["PAGERDUTY_TOKEN"]) as source:
        return await commands.take_snapshot(catalog, source, store)


async def _existing(catalog: Catalog, ledger: Ledger) -> Existing:
    credentials = os.environ["PORT_CLIENT_ID"], os.environ["PORT_CLIENT_SECRET"]
    async with open_port_reader(os.environ["PORT_BASE_URL"], *credentials, user_agent="pdsync/benchmark") as reader:
        return await reader.read(wanted_paths(catalog, ledger), None, ledger.entities)


def main(catalog_folder: Path, state: str) -> None:
    """Every phase once."""
    phases = Phases()
    catalog = load_catalog(catalog_folder)
    phases.end("catalog")
    store = open_store(state, Surroundings(catalog_folder), now=now, new_id=new_id)
    ledger = store.load()
    phases.end("load state")
    snapshot = asyncio.run(_snapshot(catalog, store))
    phases.end("fetch")
    existing = asyncio.run(_existing(catalog, ledger))
    phases.end("read Port")
    desired = map_entities(catalog.rules, snapshot)
    phases.end("map")
    facts = Facts(catalog, desired, existing, ledger, expressions=commands.expressions(catalog.rules))
    plan = make_plan(facts, _NO_BASE)
    phases.end("compare")
    render_plan(plan)
    plan_document(plan)
    phases.end("show")
    store.save_snapshot(snapshot)
    phases.end("save state")
    print(json.dumps(phases.seconds))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
