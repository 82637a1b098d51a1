"""Do a plan, in its order, remembering every step.

Blueprints first: all new ones bare, then relations, then what is computed through relations.  Then entities in waves
along their waits, then the relations that were put off because they close a cycle, then releases, deletes, and last the
blueprints to delete.  No write starts before its *begin* is in the journal, none counts before its *end* is.  What
depends on a change that failed is skipped; the rest goes on.  A stop lets what is in flight end and starts nothing.

Before anything is written, what will be deleted is kept in the journal.  At the end, writes that got no answer are
looked up: those that were done count as done.  A run that goes on with an older one begins with that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import groupby, islice
from typing import TYPE_CHECKING

from pdsync.errors import Interrupted, StateError, TargetError
from pdsync.model import Blueprint, Image, Ledger, Outcome, Plan
from pdsync.normal import blueprint_definition
from pdsync.plan.parts import RELEASED, stays
from pdsync.plan.settle import losses_of, print_of
from pdsync.sight import look_at, look_up
from pdsync.targets import EntityWrite

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Sequence

    from pdsync.model import Change, Fields, Json
    from pdsync.plan.settle import Found
    from pdsync.sight import Watch
    from pdsync.state.journal import Journal
    from pdsync.state.store import Finished, StateStore
    from pdsync.targets import TargetReader, TargetWriter, WriteResult

    Progress = Callable[[str, int, int | None], None]

STOPPED = (TargetError, Interrupted)
"""What a request to the target ends with when it does not end well."""

THERE = "it was there already"
TAKEN_OVER = f"{THERE}: made by somebody else in the meantime; taken over, not ours to delete"

IN_FLIGHT = 8  # batches; the client slows itself further when the API asks for it
DELETE_BATCH = 100  # Port API: identifiers in one bulk delete
STAGES = (
    ("what is computed and goes, or is made anew",),
    ("title", "description", "icon", "schema", "changelogDestination"),
    ("properties made anew",),
    ("relations",),
    ("mirrorProperties", "calculationProperties", "aggregationProperties", "ownership"),
)
"""What is written of blueprints one after the other."""
CLEAR, BARE, ANEW = range(3)
COMPUTED = STAGES[-1]
"""Parts that read others: they go before those, and before what takes their name, and come after them."""


@dataclass(frozen=True, slots=True)
class ApplyResult:
    """What became of a plan: an outcome for each change in its order, and the ledger as it is now.

    `run` names the journal; `problem` is why the state is not `saved`, or why the run could not go on.
    """

    plan: Plan
    outcomes: tuple[Outcome, ...]
    ledger: Ledger
    interrupted: bool = False
    run: str = ""
    problem: StateError | None = None
    saved: bool = True

    def count(self, status: str) -> int:
        """How many changes ended so."""
        return sum(outcome.status == status for outcome in self.outcomes)

    @property
    def whole(self) -> bool:
        """Whether everything was done."""
        return self.count("done") == len(self.outcomes)

    @property
    def resumable(self) -> bool:
        """Whether going on with the run may do more; not where it skipped all that is left, as Port has moved."""
        cut_short = self.interrupted or not self.saved or self.problem is not None
        return cut_short or self.count("failed") + self.count("unknown") > 0


@dataclass(frozen=True, slots=True)
class Resuming:
    """What a run goes on with: the older run and its plan.

    `unknown` are changes that the older run may have done: those that turn out not to be are to be done.  `written` are
    changes that it did and no ledger holds: those that are still so are only to be entered.  `images` are what was to
    be deleted, as the older run saw it.
    """

    run: str = ""
    plan: Plan | None = None
    unknown: frozenset[int] = frozenset()
    written: frozenset[int] = frozenset()
    images: Mapping[int, Image] = field(default_factory=dict)


async def apply_plan(
    plan: Plan,
    writer: TargetWriter,
    store: StateStore,
    *,
    reader: TargetReader | None = None,
    operation: str = "apply",
    resuming: Resuming | None = None,
    watch: Watch | None = None,
    stop: asyncio.Event | None = None,
    progress: Progress | None = None,
) -> ApplyResult:
    """Write a plan to the target and its outcome to the state.

    With `reader`, what is deleted can be brought back, and writes without an answer are looked up.  With `watch`,
    entities and blueprints are looked at once more right before their first write, and those that have moved are
    skipped.  Raises `StalePlan`, before anything is written, when the plan was made on another ledger, `StateError`
    when there can be no journal, `TargetError` when what will be deleted cannot be looked at.  The journal is entered
    into the ledger however the writing ends.
    """
    if not plan.changes:
        return ApplyResult(plan, (), store.settle(plan))
    journal = store.begin(plan, operation=operation, resumes=resuming.run if resuming else "")
    run = _Run(
        plan,
        writer,
        journal,
        reader=reader,
        resuming=resuming or Resuming(),
        watch=watch or _unwatched,
        stop=stop or asyncio.Event(),
        progress=_both(progress, store),
    )
    finished = await _carried_out(run, store)
    return ApplyResult(
        plan,
        tuple(_outcome(c.n, journal) for c in plan.changes),
        finished.ledger,
        run.stop.is_set() and run.problem is None,
        journal.run,
        finished.problem or run.problem,
        finished.problem is None,
    )


async def _carried_out(run: _Run, store: StateStore) -> Finished:
    """Do all of a run, or what can be until it is stopped, and enter it into the ledger."""
    store.when_lock_lost(run.tell_lost(asyncio.get_running_loop()))
    heeding = asyncio.create_task(run.heed_stop())
    try:
        await run.everything()
    except STOPPED:
        if not run.stop.is_set():  # else what was to be looked at before the first write got no answer in time
            raise
    finally:
        heeding.cancel()
        finished = await asyncio.to_thread(store.finish, run.journal)
    return finished


def _both(progress: Progress | None, store: StateStore) -> Progress:
    """Tells how far a run is to who asked for it, and to who finds the lock taken."""

    def tell(what: str, done: int, total: int | None) -> None:
        store.progress(done, total or 0)
        if progress:
            progress(what, done, total)

    return tell


def _outcome(number: int, journal: Journal) -> Outcome:
    if number in journal.outcomes:
        return journal.outcomes[number]
    if number in journal.begun:
        return Outcome(number, "unknown", "stopped before it was whole")
    return Outcome(number, "skipped", "stopped before it began")


async def _unwatched(_changes: Sequence[Change]) -> Mapping[int, str]:
    return {}


class _Run:
    """One apply under way: every change ends in one outcome, entered into the journal.

    `problem` is why nothing more may be begun: the journal cannot be written, or the lock is lost.
    """

    def __init__(
        self,
        plan: Plan,
        writer: TargetWriter,
        journal: Journal,
        *,
        reader: TargetReader | None,
        resuming: Resuming,
        watch: Watch,
        stop: asyncio.Event,
        progress: Progress,
    ) -> None:
        self.plan = plan
        self.writer = writer
        self.journal = journal
        self.reader = reader
        self.resuming = resuming
        self.watch = watch
        self.stop = stop
        self.progress = progress
        self.problem: StateError | None = None
        self._seen = self.resuming.unknown | self.resuming.written | self.resuming.images.keys()
        self.prints: dict[int, str] = {}
        self.looked_up: set[int] = set()
        self.first_done: set[int] = set()
        self.parts_done: dict[int, frozenset[str]] = {}

    async def everything(self) -> None:
        """All phases, in order."""
        entity = [c for c in self.plan.changes if c.target == "entity"]
        blueprint = [c for c in self.plan.changes if c.target == "blueprint"]
        await self._keep_images([c for c in self.plan.changes if c.action == "delete"])
        await self._take_up()
        noted = [c for c in self.plan.changes if _only_in_the_ledger(c)]
        await self._end([Outcome(c.n, "done") for c in self._open(noted) if not c.after])
        await self._blueprints([self._left_of(c) for c in blueprint if c.action in ("create", "update", "delete")])
        await self._end([Outcome(c.n, "done") for c in await self._startable(noted)])
        await self._look_up_unknown()
        written = [c for c in entity if c.action in ("create", "update")]
        await self._waves([c for c in written if c.n not in self.first_done], _first_write)
        await self._waves([c for c in entity if _deferred(c)], _second_write)
        await self._waves([c for c in entity if c.action == "release"], _first_write)
        deletes = [c for c in entity if c.action == "delete"]
        await self._waves(_before_deletes(deletes), _in_between)
        await self._waves(deletes, None)
        await self._blueprint_deletes([c for c in blueprint if c.action == "delete"])
        await self._look_up_unknown()

    # --- before and after

    async def _keep_images(self, deletes: list[Change]) -> None:
        """Put into the journal what will be deleted, as it is now, or as the run that is resumed saw it."""
        losses, blueprints = losses_of(self.resuming.plan or self.plan), {c.n: c.blueprint for c in deletes}
        for start in range(0, len(deletes), DELETE_BATCH) if self.reader else ():
            assert self.reader is not None
            part = deletes[start : start + DELETE_BATCH]
            known = {c.n: self.resuming.images.get(c.n) for c in part if c.n in self._seen}
            now = await look_at(self.reader, [c for c in part if c.n not in known])
            images = {n: image for n, image in {**now, **known}.items() if image is not None}
            self.prints |= {n: print_of(image, blueprints[n], losses) for n, image in images.items()}
            await self.journal.keep(images)

    async def _take_up(self) -> None:
        """Look up what the run that is resumed has left open, before anything is written.  Raises `TargetError`."""
        if self.reader is None or self.resuming.plan is None:
            return
        left = self.resuming.unknown | self.resuming.written
        listed = [c for c in self.plan.changes if c.n in left or (c.target == "blueprint" and c.action != "create")]
        found = await look_up(self.reader, self.resuming.plan, listed, self.prints)
        self.first_done = {c.n for c in listed if found[c.n].first}
        self.parts_done = {n: each.parts for n, each in found.items() if each.parts}
        begun = [c for c in listed if found[c.n].begun and c.n not in self.resuming.written]
        if begun:
            await self._begin(begun)
        await self._end([o for c in listed if (o := _taken_up(c, found[c.n], self.resuming)) is not None])

    async def _look_up_unknown(self) -> None:
        """Look up the writes that got no answer, each once."""
        doubtful = {n for n, outcome in self.journal.outcomes.items() if outcome.status == "unknown"} - self.looked_up
        if self.reader is None or self.stop.is_set() or not doubtful:
            return
        self.looked_up |= doubtful
        unknown = [c for c in self.plan.changes if c.n in doubtful]
        with suppress(*STOPPED):  # they stay unknown, and are told to be
            found = await look_up(self.reader, self.resuming.plan or self.plan, unknown, self.prints)
            outcomes = self.journal.outcomes
            await self._end([o for c in unknown if (o := _looked_up(c, found[c.n], outcomes)) is not None])

    # --- stopping

    async def heed_stop(self) -> None:
        """Once a stop is asked for, let nothing more be sent, nor asked."""
        await self.stop.wait()
        self.writer.stop()
        if self.reader is not None:
            self.reader.stop()

    def tell_lost(self, loop: asyncio.AbstractEventLoop) -> Callable[[StateError], None]:
        """What another thread calls when the lock of this run is found broken."""
        return lambda problem: _soon(loop, self._give_up, problem)

    def _give_up(self, problem: StateError) -> None:
        """Begin nothing more: what is in flight is finished."""
        self.problem = self.problem or problem
        self.stop.set()

    # --- writing

    async def _blueprint_deletes(self, deletes: list[Change]) -> None:
        """What stands between blueprints that go first, then they themselves."""
        between = [_with_fields(change, deferred=True) for change in deletes]
        for stage in (CLEAR, BARE):
            await self._stage(between, stage)
        for change in deletes:
            await self._step(change, partial(self.writer.delete_blueprint, change.blueprint), last=True)

    def _left_of(self, change: Change) -> Change:
        """The change without what a run before this one has done of it: made anew again, a part would lose values."""
        done = self.parts_done.get(change.n, frozenset())
        fields = tuple(each for each in change.fields if each.moved_from or each.path not in done)
        return replace(change, fields=fields) if done else change

    async def _blueprints(self, changes: list[Change]) -> None:
        """Readers go, parts are renamed, new blueprints come bare; then what is missing of each, stage by stage.

        Readers go in blueprints, too, that will be deleted once they hold nothing any more, which is not waited for.
        """
        await self._clear({change.n: change for change in changes})
        changes = [change for change in changes if change.action != "delete"]
        there = [c.n for c in changes if c.action == "create" and c.n in self.journal.begun]  # by an older run
        for change in changes:
            for rename in (each for each in change.fields if each.moved_from):
                move = partial(self.writer.rename_part, change.blueprint, rename.moved_from, rename.path)
                await self._step(change, move, last=False)
            if change.action == "create" and change.n not in there:
                bare = Blueprint(change.blueprint, blueprint_definition(change.blueprint, _part(change, BARE)))
                await self._step(change, partial(self.writer.create_blueprint, bare), last=_last_stage(change) == BARE)
        await self._stage([c for c in changes if c.action == "update" or c.n in there], BARE)
        for stage in range(ANEW, len(STAGES)):
            await self._stage(changes, stage)

    async def _clear(self, changes: Mapping[int, Change]) -> None:
        """Take away what goes before all else, in the order that the plan tells."""
        told = ((changes[n], _cleared(changes[n], paths)) for n, paths in self.plan.clearing if n in changes)
        steps = [(change, part) for change, part in told if part]
        final = {change.n: step for step, (change, _) in enumerate(steps)}
        for step, (change, part) in enumerate(steps):
            write = partial(self.writer.change_blueprint, change.blueprint, part)
            going = change.action == "delete"
            last = not going and _last_stage(change) == CLEAR and final[change.n] == step
            await self._step(replace(change, after=()) if going else change, write, last=last)

    async def _stage(self, changes: list[Change], stage: int) -> None:
        for change in changes:
            if part := _part(change, stage):
                write = partial(self.writer.change_blueprint, change.blueprint, part)
                last = change.action != "delete" and _last_stage(change) == stage
                await self._step(change, write, last=last)

    async def _step(self, change: Change, write: Callable[[], Awaitable[None]], *, last: bool) -> None:
        """One of the writes that a blueprint change takes, if it may go on; it is done with its last one."""
        again = self._begun([change])
        if not (await self._startable([change]) and await self._unmoved([change]) and await self._begin([change])):
            return
        try:
            await write()
        except STOPPED as e:
            await self._end([_failed(change, e, again)])
        else:
            await self._end([Outcome(change.n, "done")] if last else [])

    async def _waves(self, changes: list[Change], write: Callable[[Change], EntityWrite] | None) -> None:
        """Write (or with no `write` delete) the changes, each once those it waits for are done."""
        rest = {change.n: change for change in changes}
        while rest and not self.stop.is_set():
            ready = [c for c in rest.values() if not any(n in rest for n in c.after)]
            for change in ready:
                del rest[change.n]
            await self._all_at_once(self._batches(await self._startable(ready), write), write)
            await self._look_up_unknown()

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
        fresh = [change for change in changes if not self._known_half_way(change)]
        try:
            moved = {**await self.watch(fresh), **await self._made_anew(fresh)} if fresh else {}
        except STOPPED as e:
            moved = {change.n: f"could not be looked at before it was written: {e}" for change in fresh}
        await self._end([Outcome(n, "skipped", why) for n, why in moved.items()])
        return [change for change in changes if change.n not in moved]

    def _known_half_way(self, change: Change) -> bool:
        """Whether a part of it may be done; what an older run left of a blueprint was looked at as it was taken up."""
        return change.n in self.journal.begun or (change.target == "blueprint" and change.n in self.resuming.unknown)

    async def _made_anew(self, changes: list[Change]) -> Mapping[int, str]:
        """Of deletes that an older run has left: what is not as it was when that run began."""
        deletes = [c for c in changes if c.action == "delete" and c.n in self.resuming.images]
        if self.reader is None or not deletes:
            return {}
        found = await look_up(self.reader, self.resuming.plan or self.plan, deletes, self.prints)
        return {n: each.why for n, each in found.items() if each.state == "other"}

    async def _batch(self, changes: list[Change], write: Callable[[Change], EntityWrite] | None) -> None:
        blueprint = changes[0].blueprint
        again = self._begun(changes)
        if not await self._begin(changes):
            return
        try:
            if write is None:
                results = await self.writer.delete(blueprint, [c.identifier for c in changes])
            else:
                results = await self.writer.upsert(blueprint, [write(c) for c in changes])
        except STOPPED as e:
            await self._end([_failed(c, e, again) for c in changes])
        else:
            await self._found([c.n for c, result in zip(changes, results, strict=True) if result.there])
            outcomes = [
                self._told(c, _outcome_of(c, result, again))
                for c, result in zip(changes, results, strict=True)
                if result.error or write is _second_write or not (_deferred(c) or write is _in_between)
            ]
            await self._end(outcomes)

    async def _found(self, numbers: Iterable[int]) -> None:
        """Put into the journal what was there already; what an older run may have made proves nothing."""
        try:
            await self.journal.found(n for n in numbers if n not in self.resuming.unknown)
        except StateError as problem:
            self._give_up(problem)

    def _told(self, change: Change, outcome: Outcome) -> Outcome:
        """The outcome, with what there is to say of an entity that was there already."""
        if outcome.status != "done" or change.n not in self.journal.there:
            return outcome
        ours = change.reason == "gone-from-port"
        return Outcome(change.n, "done", THERE if ours else TAKEN_OVER, there=not ours)

    def _begun(self, changes: list[Change]) -> set[int]:
        """Of changes that take several writes, those of which one is done already."""
        return self.journal.begun.intersection(c.n for c in changes)

    async def _begin(self, changes: list[Change]) -> bool:
        """Put the begin into the journal; False, and the end of this run, when that cannot be."""
        try:
            await self.journal.begin(c.n for c in changes)
        except StateError as problem:
            self._give_up(problem)
            return False
        return True

    async def _end(self, outcomes: list[Outcome]) -> None:
        if outcomes:
            try:
                await self.journal.end(outcomes)
            except StateError as problem:  # how they went is known here, and will be in the ledger if that can be saved
                self._give_up(problem)
            self.progress("apply", len(self.journal.outcomes), len(self.plan.changes))

    def _open(self, changes: Iterable[Change]) -> list[Change]:
        """Those that have not ended."""
        return [change for change in changes if change.n not in self.journal.outcomes]

    async def _startable(self, changes: list[Change]) -> list[Change]:
        """Those to go on with: not ended, not stopped, and nothing that they wait for has failed."""
        if self.stop.is_set():
            return []
        in_the_way = {c.n: n for c in self._open(changes) if (n := self._unmet(c)) is not None}
        await self._end([Outcome(n, "skipped", f"waits for #{of}, which was not done") for n, of in in_the_way.items()])
        return self._open(changes)

    def _unmet(self, change: Change) -> int | None:
        """The number of a change that this one waits for and that was not done."""
        for n in change.after:
            outcome = self.journal.outcomes.get(n)
            if outcome.status != "done" if outcome else n not in self.journal.begun:
                return n
        return None


def _soon(loop: asyncio.AbstractEventLoop, call: Callable[[StateError], None], problem: StateError) -> None:
    with suppress(RuntimeError):  # the run has ended, and its loop with it
        loop.call_soon_threadsafe(call, problem)


def _taken_up(change: Change, found: Found, resuming: Resuming) -> Outcome | None:
    """What is known at once of a change that an older run has left; None of what is to be done."""
    if found.state == "done":
        return Outcome(change.n, "done", "was done already")
    if change.n in resuming.written:
        return Outcome(change.n, "skipped", "Port no longer holds what was written")
    return Outcome(change.n, "skipped", found.why) if found.state == "other" else None


def _looked_up(change: Change, found: Found, outcomes: Mapping[int, Outcome]) -> Outcome | None:
    """What is known of a write that got no answer, once it was looked up; None when that is no more than before."""
    message = outcomes[change.n].message
    if found.state == "done":
        return Outcome(change.n, "done", f"looked up: it was done ({message})")
    if found.state == "undone" and not found.begun:
        return Outcome(change.n, "failed", f"{message}; looked up: it was not done")
    return None


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
    return change.action in ("adopt", "forget") or (change.action == "release" and all(stays(f) for f in change.fields))


def _deferred(change: Change) -> bool:
    return any(each.deferred for each in change.fields)


def _with_fields(change: Change, *, deferred: bool) -> Change:
    return replace(change, fields=tuple(each for each in change.fields if each.deferred is deferred))


def _before_deletes(deletes: Iterable[Change]) -> list[Change]:
    """The deletes of which something is written before any is done, without waiting for one another."""
    numbers = {change.n for change in deletes}
    return [replace(c, after=tuple(n for n in c.after if n not in numbers)) for c in deletes if c.meanwhile]


def _first_write(change: Change) -> EntityWrite:
    create = change.action == "create"
    wanted = (f for f in change.fields if not f.deferred and not (f.after is None if create else f.note == RELEASED))
    fields = {f.path: f.after for f in wanted} | dict(change.meanwhile)
    return EntityWrite(change.identifier, fields, create=create)


def _in_between(change: Change) -> EntityWrite:
    return EntityWrite(change.identifier, dict(change.meanwhile))


def _second_write(change: Change) -> EntityWrite:
    return EntityWrite(change.identifier, {f.path: f.after for f in change.fields if f.deferred})


def _part(change: Change, stage: int) -> Fields:
    """What one stage writes of a blueprint change; what is removed goes first, and what reads it before that."""
    return {path: value for at, path, value in _writes(change) if at == stage}


def _cleared(change: Change, paths: Collection[str]) -> Fields:
    """What one step takes away of a blueprint before all else; of one that goes, not what goes with it."""
    part = _part(_with_fields(change, deferred=False), CLEAR)
    return {path: value for path, value in part.items() if path in paths}


def _writes(change: Change) -> Iterator[tuple[int, str, Json]]:
    """The stage, path and value of each write that the fields take; a part that is made anew goes before it comes."""
    for each in (each for each in change.fields if not stays(each)):
        gone = CLEAR if each.path.split(".", 1)[0] in COMPUTED and change.action != "create" else BARE
        if each.replace:
            yield gone, each.path, None
        come = max(_stage_of(each.path), ANEW if each.replace else BARE)
        yield gone if each.after is None else come, each.path, each.after


def _stage_of(path: str) -> int:
    return next(n for n, parts in enumerate(STAGES) if path.split(".", 1)[0] in parts)


def _last_stage(change: Change) -> int:
    return max(stage for stage, _, _ in _writes(change))
