"""Asking a sandbox PagerDuty, and looking at what came."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pdsync.kinds import read_selector
from pdsync.sources import Reuse
from pdsync.sources.pagerduty import open_pagerduty
from tests.source.loopback import TOKEN, FakeTime

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from pdsync.model import Collection, Query, Snapshot
    from pdsync.sources.pagerduty import PagerDuty, ProbeResult
    from tests.source.loopback import Stage


def query(kind: str, **selector: Any) -> Query:
    """The query of a selector."""
    found, problems = read_selector(kind, selector)
    assert found is not None, problems
    return found


def fetch(stage: Stage, *queries: Query, owned: Any = None, **others: Any) -> Snapshot:
    """A snapshot of a stage; what may be reused goes to `fetch`, the rest to `open_pagerduty`."""
    same = ("refresh_analytics", "settled_after", "again_after")
    given = {"previous": "snapshot"} | {name: name for name in same}
    reuse = Reuse(**{name: others.pop(mine) for mine, name in given.items() if mine in others})
    if owned is not None:
        reuse = replace(reuse, owned=lambda _: owned)

    async def main() -> Snapshot:
        async with _opened(stage, others) as source:
            return await source.fetch(queries, None, reuse)

    return asyncio.run(main())


def probe(stage: Stage, *kinds: str, **others: Any) -> list[ProbeResult]:
    """What can be read of a stage."""

    async def main() -> list[ProbeResult]:
        async with _opened(stage, others) as source:
            return await source.probe(kinds)

    return asyncio.run(main())


def _opened(stage: Stage, others: dict[str, Any]) -> AbstractAsyncContextManager[PagerDuty]:
    options: dict[str, Any] = {"token": TOKEN, "now": stage.now, "timing": FakeTime().timing(), **others}
    return open_pagerduty(stage.url, **options)


def only(snapshot: Snapshot) -> Collection:
    (collection,) = snapshot.collections.values()
    return collection


def parsed(collection: Collection) -> dict[str, Any]:
    return {record.id: json.loads(record.raw) for record in collection.records}
