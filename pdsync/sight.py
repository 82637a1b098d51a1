"""Looking at Port around a run: what will be deleted is seen before it goes, what is not known is looked up after."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pdsync.plan.saved import moved_since, parts_moved_since, paths_seen
from pdsync.plan.settle import losses_of, settled

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from pdsync.model import Change, Image, Plan
    from pdsync.plan.settle import Found
    from pdsync.targets import TargetReader

    Watch = Callable[[Sequence[Change]], Awaitable[Mapping[int, str]]]
    """Asked before the first write of changes: number of one that is not to be done any more -> why."""


async def look_at(reader: TargetReader, changes: Sequence[Change]) -> dict[int, Image | None]:
    """By number of a change: all that its entity or blueprint is at this moment, None when it is not there.

    Raises `TargetError`.
    """
    keys = [change.key for change in changes if change.target == "entity"]
    entities = await reader.whole(keys) if keys else {}
    named = any(change.target == "blueprint" for change in changes)
    blueprints = (await reader.read({})).blueprints if named else {}
    return {
        change.n: entities.get(change.key)
        if change.target == "entity"
        else dict(blueprints[change.blueprint].definition)
        if change.blueprint in blueprints
        else None
        for change in changes
    }


def watch(plan: Plan, reader: TargetReader) -> Watch:
    """For `apply`: looks at what is about to be written for the first time, and names what the plan did not see so."""

    async def look(changes: Sequence[Change]) -> Mapping[int, str]:
        blueprints = [change for change in changes if change.target == "blueprint"]
        told = parts_moved_since(blueprints, (await reader.read({})).blueprints) if blueprints else {}
        entities = [change for change in changes if change.target == "entity"]
        wanted = {change.key: paths_seen(change) for change in entities}
        return told | (moved_since(plan, entities, await reader.look(wanted)) if wanted else {})

    return look


def watch_present(plan: Plan, reader: TargetReader) -> Watch:
    """As `watch`, but entities to be created are not asked about: for a plan that was made only just now.

    There may be very many; and of one that is there after all the write itself tells (`WriteResult.there`).
    """
    ask = watch(plan, reader)

    async def look(changes: Sequence[Change]) -> Mapping[int, str]:
        present = [change for change in changes if change.target == "blueprint" or change.action != "create"]
        return await ask(present) if present else {}

    return look


async def look_up(
    reader: TargetReader, plan: Plan, changes: Sequence[Change], prints: Mapping[int, str]
) -> dict[int, Found]:
    """By number of a change: what became of it; `prints` are those of what was to be deleted.  Raises `TargetError`."""
    now = await look_at(reader, changes) if changes else {}
    losses = losses_of(plan)
    return {c.n: settled(plan, c, now[c.n], prints.get(c.n, ""), losses) for c in changes}
