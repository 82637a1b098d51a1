"""Ask the target about the few entities that a plan is about to adopt or to remove, and nothing when there are none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pdsync.errors import warning
from pdsync.model import Surroundings
from pdsync.plan.ownership import to_adopt

if TYPE_CHECKING:
    from pdsync.errors import Diagnostic
    from pdsync.plan import Facts
    from pdsync.targets import TargetReader


async def look_around(facts: Facts, reader: TargetReader) -> Surroundings:
    """What a plan from these facts needs to know besides.  Raises `TargetError`."""
    adopted = to_adopt(facts)
    by_integration = await reader.by_integration(adopted) if adopted else frozenset()
    if by_integration is None:
        return Surroundings(diagnostics=(_not_told(len(adopted)),))
    return Surroundings(by_integration)


def _not_told(count: int) -> Diagnostic:
    return warning(
        "PD620",
        "Port does not tell who wrote the entities that are adopted",
        detail=f"{count} entities: once their records are gone they are released, never deleted",
        hint="set lifecycle.on_remove: delete in their mapping if they are to be deleted",
    )
