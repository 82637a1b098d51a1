"""Do a plan, in its order, remembering every step.

Blueprints first: all new ones bare, then relations, then what is computed through relations.  Then entities in waves
along their waits, then the relations that were put off because they close a cycle, then releases, deletes, and last the
blueprints to delete.  No write starts before its *begin* is in the journal, none counts before its *end* is.  What
depends on a change that failed is skipped; the rest goes on.  A stop lets what is in flight end and starts nothing.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import partial
from itertools import groupby, islice
from typing import TYPE_CHECKING

from pdsync.errors import Interrupted, TargetError
from pdsync.model import Blueprint, Ledger, Outcome, Plan
from pdsync.normal import blueprint_definition
from pdsync.targets import EntityWrite

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence

    from pdsync.model import Change, Fields, Json
    from pdsync.state.journal import Journal
    from pdsync.state.store import StateStore
    from pdsync.targets import TargetWriter, WriteResult

    Progress = Callable[[str, int, int | None], None]
    Watch = Callable[[Sequence[Change]], Awaitable[Mapping[int, str]]]
    """Asked right before entities are written: number of a change that is not to be done any more -> why."""

STOPPED = (TargetError, Interrupted)
"""What a request to the target ends with when it does not end well."""

IN_FLIGHT = 8  # batches; the client slows itself further when the API asks for it
DELETE_BATCH = 100  # Port API: identifiers in one bulk delete
STAGES = (
    ("title", "description", "icon", "schema", "changelogDestination"),
    ("properties made anew",),
    ("relations",),
    ("mirrorProperties", "calculationProperties", "aggregationProperties", "ownership"),
)


@dataclass(frozen=True, slots=True)
class ApplyResult:
    """What became of a plan: an outcome for each change in its order, and the ledger as it is now."""

    plan: Plan
    outcomes: tuple[Outcome, ...]
    ledger: Ledger
    interrupted: bool = False

    def count(self, status: str) -> int:
        """How many changes ended so."""
        return sum(outcome.status == status for outcome in self.outcomes)

    @property
    def whole(self) -> bool:
        """Whether everything was done."""
        return self.count("done") == len(self.outcomes)


async def apply_plan(
    plan: Plan,
    writer: TargetWriter,
    store: StateStore,
    *,
    watch: Watch | None = None,
    stop: asyncio.Event | None = None,
    progress: Progress | None = None,
) -> ApplyResult:
    """Write a plan to the target and its outcome to the state.

    With `watch`, entities are looked at once more right before their own write, and those that have moved are skipped.
    Raises `StalePlan`, before anything is written, when the plan was made on another ledger.  The journal is entered
    into the ledger however the writing ends.
    """
    if not plan.changes:
        return ApplyResult(plan, (), store.settle(plan))
    journal = store.begin(plan)
    run = _Run(
        plan,
        writer,
        journal,
        watch=watch or _unwatched,
        stop=stop or asyncio.Event(),
        progress=progress or (lambda *_: None),
    )
    try:
        await run.everything()
    finally:
        ledger = store.finish(journal)
    return ApplyResult(plan, tuple(_outcome(c.n, journal) for c in plan.changes), ledger, run.stop.is_set())


def _outcome(number: int, journal: Journal) -> Outcome:
    if number in journal.outcomes:
        return journal.outcomes[number]
    if number in journal.begun:
        return Outcome(number, "unknown", "stopped before it was whole")
    return Outcome(number, "skipped", "stopped before it began")


async def _unwatched(_changes: Sequence[Change]) -> Mapping[int, str]:
    return {}


class _Run:
    """One apply under way: every change ends in one outcome, entered into the journal."""

    def __init__(
        self,
        plan: Plan,
        writer: TargetWriter,
        journal: Journal,
        *,
        watch: Watch,
        stop: asyncio.Event,
        progress: Progress,
    ) -> None:
        self.plan = plan
        self.writer = writer
        self.journal = journal
        self.watch = watch
        self.stop = stop
        self.progress = progress

    async def everything(self) -> None:
        """All phases, in order."""
        entity = [c for c in self.plan.changes if c.target == "entity"]
        blueprint = [c for c in self.plan.changes if c.target == "blueprint"]
        self._end([Outcome(c.n, "done") for c in self.plan.changes if _only_in_the_ledger(c)])
        await self._blueprints([c for c in blueprint if c.action in ("create", "update")])
        await self._waves([c for c in entity if c.action in ("create", "update")], _first_write)
        await self._waves([c for c in entity if _deferred(c)], _second_write)
        await self._waves([c for c in entity if c.action == "release"], _first_write)
        await self._waves([c for c in entity if c.action == "delete"], None)
        deletes = [c for c in blueprint if c.action == "delete"]
        for change in deletes:
            if change.fields and self._may_start(change):
                write = partial(self.writer.change_blueprint, change.blueprint, _part(change, 0))
                await self._step(change, write, last=False)
        for change in deletes:
            if self._may_start(change):
                await self._step(change, partial(self.writer.delete_blueprint, change.blueprint), last=True)

    async def _blueprints(self, changes: list[Change]) -> None:
        """Renamed parts and new blueprints bare, then what is missing of every one, stage by stage."""
        for change in changes:
            for rename in (f for f in change.fields if f.moved_from and self._may_start(change)):
                move = partial(self.writer.rename_part, change.blueprint, rename.moved_from, rename.path)
                await self._step(change, move, last=False)
            if change.action == "create" and self._may_start(change):
                bare = Blueprint(change.blueprint, blueprint_definition(change.blueprint, _part(change, 0)))
                await self._step(change, partial(self.writer.create_blueprint, bare), last=_last_stage(change) == 0)
        for stage in range(len(STAGES)):
            for change in changes:
                part = _part(change, stage)
                if part and not (stage == 0 and change.action == "create") and self._may_start(change):
                    write = partial(self.writer.change_blueprint, change.blueprint, part)
                    await self._step(change, write, last=_last_stage(change) == stage)

    async def _step(self, change: Change, write: Callable[[], Awaitable[None]], *, last: bool) -> None:
        """One of the writes that a blueprint change takes; the change is done with its last one."""
        again = self._begun([change])
        self._begin([change])
        try:
            await write()
        except STOPPED as e:
            self._end([_failed(change, e, again)])
        else:
            self._end([Outcome(change.n, "done")] if last else [])

    async def _waves(self, changes: list[Change], write: Callable[[Change], EntityWrite] | None) -> None:
        """Write (or with no `write` delete) the changes, each once those it waits for are done."""
        rest = {change.n: change for change in changes}
        while rest and not self.stop.is_set():
            ready = [c for c in rest.values() if not any(n in rest for n in c.after)]
            for change in ready:
                del rest[change.n]
            await self._all_at_once(self._batches([c for c in ready if self._may_start(c)], write), write)

    def _batches(self, changes: list[Change], write: Callable[[Change], EntityWrite] | None) -> Iterator[list[Change]]:
        """Changes that go into one request each."""
        for _, group in groupby(sorted(changes, key=lambda c: (c.blueprint, c.n)), lambda c: c.blueprint):
            listed = list(group)
            if write is None:
                yield from (listed[start : start + DELETE_BATCH] for start in range(0, len(listed), DELETE_BATCH))
            else:
                remaining = iter(listed)
                for writes in self.writer.batches([write(c) for c in listed]):
                    yield list(islice(remaining, len(writes)))

    async def _all_at_once(
        self, batches: Iterator[list[Change]], write: Callable[[Change], EntityWrite] | None
    ) -> None:
        """Work through batches with a few in flight; none is begun once a stop was asked for."""

        async def work() -> None:
            for changes in batches:
                if still := await self._unmoved(changes):
                    await self._batch(still, write)
                if self.stop.is_set():
                    return

        async with asyncio.TaskGroup() as group:
            for _ in range(IN_FLIGHT):
                group.create_task(work())

    async def _unmoved(self, changes: list[Change]) -> list[Change]:
        """Those of the changes that are still as planned; what took one write already is ours, and not asked about."""
        fresh = [change for change in changes if change.n not in self.journal.begun]
        try:
            moved = await self.watch(fresh) if fresh else {}
        except STOPPED as e:
            moved = {change.n: f"could not be looked at before it was written: {e}" for change in fresh}
        self._end([Outcome(n, "skipped", why) for n, why in moved.items()])
        return [change for change in changes if change.n not in moved]

    async def _batch(self, changes: list[Change], write: Callable[[Change], EntityWrite] | None) -> None:
        blueprint = changes[0].blueprint
        again = self._begun(changes)
        self._begin(changes)
        try:
            if write is None:
                results = await self.writer.delete(blueprint, [c.identifier for c in changes])
            else:
                results = await self.writer.upsert(blueprint, [write(c) for c in changes])
        except STOPPED as e:
            self._end([_failed(c, e, again) for c in changes])
        else:
            outcomes = [
                _outcome_of(c, result, again)
                for c, result in zip(changes, results, strict=True)
                if result.error or not _deferred(c) or c.n in again
            ]
            self._end(outcomes)

    def _begun(self, changes: list[Change]) -> set[int]:
        """Of changes that take several writes, those of which one is done already."""
        return self.journal.begun.intersection(c.n for c in changes)

    def _begin(self, changes: list[Change]) -> None:
        self.journal.begin(c.n for c in changes)

    def _end(self, outcomes: list[Outcome]) -> None:
        if outcomes:
            self.journal.end(outcomes)
            self.progress("apply", len(self.journal.outcomes), len(self.plan.changes))

    def _may_start(self, change: Change) -> bool:
        """Whether to go on with a change: not ended, not stopped, nothing it waits for has failed."""
        if self.stop.is_set() or change.n in self.journal.outcomes:
            return False
        for n in change.after:
            outcome = self.journal.outcomes.get(n)
            if (outcome is None and n not in self.journal.begun) or (outcome is not None and outcome.status != "done"):
                self._end([Outcome(change.n, "skipped", f"waits for #{n}, which was not done")])
                return False
        return True


def _failed(change: Change, problem: TargetError | Interrupted, again: set[int]) -> Outcome:
    """A write without an answer may have taken effect, unless it never left."""
    if isinstance(problem, Interrupted):
        return _unsent(change, str(problem), again)
    if problem.doubtful:
        return Outcome(change.n, "unknown", str(problem))
    return _refused(change, str(problem), again)


def _outcome_of(change: Change, result: WriteResult, again: set[int]) -> Outcome:
    if not result.error:
        return Outcome(change.n, "done")
    if result.doubt == "unknown":
        return Outcome(change.n, "unknown", result.error)
    return (_unsent if result.doubt else _refused)(change, result.error, again)


def _unsent(change: Change, message: str, again: set[int]) -> Outcome:
    """A write that was begun and stopped before it left; an earlier one of the same change may have been done."""
    return Outcome(change.n, "unknown" if change.n in again else "skipped", message)


def _refused(change: Change, message: str, again: set[int]) -> Outcome:
    """What was made by a first write is ours, though a later one was refused."""
    made = change.action == "create" and change.n in again
    return Outcome(change.n, "unknown" if made else "failed", f"made, but not whole: {message}" if made else message)


def _only_in_the_ledger(change: Change) -> bool:
    return change.action in ("adopt", "forget") or (change.action == "release" and not change.fields)


def _deferred(change: Change) -> bool:
    return any(field.deferred for field in change.fields)


def _first_write(change: Change) -> EntityWrite:
    create = change.action == "create"
    fields = {f.path: f.after for f in change.fields if not f.deferred and not (create and f.after is None)}
    return EntityWrite(change.identifier, fields, create=create)


def _second_write(change: Change) -> EntityWrite:
    return EntityWrite(change.identifier, {f.path: f.after for f in change.fields if f.deferred})


def _part(change: Change, stage: int) -> Fields:
    """What one stage writes of a blueprint change; everything that is removed goes first, at once."""
    return {path: value for at, path, value in _writes(change) if at == stage}


def _writes(change: Change) -> Iterator[tuple[int, str, Json]]:
    """The stage, path and value of each write that the fields take; a part that is made anew goes before it comes."""
    for field in change.fields:
        if field.replace:
            yield 0, field.path, None
        yield 0 if field.after is None else max(_stage_of(field.path), int(field.replace)), field.path, field.after


def _stage_of(path: str) -> int:
    return next(n for n, parts in enumerate(STAGES) if path.split(".", 1)[0] in parts)


def _last_stage(change: Change) -> int:
    return max(stage for stage, _, _ in _writes(change))
