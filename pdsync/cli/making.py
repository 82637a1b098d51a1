"""Making a plan for a command: of the catalog, beside that of a base, of a run put back, and a saved one once more."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pdsync import commands
from pdsync.branch import Base, plan_branch_from, plan_branch_online
from pdsync.errors import UsageError, error
from pdsync.plan import Scope
from pdsync.revert import find_done, plan_revert
from pdsync.snapshots import as_of_file, as_of_then

if TYPE_CHECKING:
    from pdsync.cli.session import Session
    from pdsync.model import Plan, Snapshot


@dataclass(frozen=True, slots=True)
class Asking:
    """What a plan is asked of: PagerDuty as it is now, read as `how` says, or a snapshot that was taken before.

    That is in `file`, or (`offline`) the last one of the state; with `validate` Port is asked about every write.
    """

    file: Path | None = None
    offline: bool = False
    how: commands.Fetching | None = None
    validate: bool = False


def make_plan(session: Session, scope: Scope, asking: Asking | None = None, base: Base | None = None) -> Plan:
    """Plan from PagerDuty as it is now, or from a snapshot that was taken before; beside the plan of a base."""
    asking = asking or Asking()
    session.catalog  # noqa: B018  a broken catalog is said before anything is fetched
    taken = _kept_snapshot(session, asking.file) if asking.file or asking.offline else None
    session.need_credentials(pagerduty=taken is None)
    if base is not None:
        return session.run(_beside(session, base, taken, asking, scope))
    return session.run(_alone(session, taken, asking, scope))


def make_revert(session: Session, run: str, scope: Scope) -> Plan:
    """Plan to put back what a run did.  Raises `UsageError`, `StateError` as `find_done` does."""
    session.catalog  # noqa: B018  a broken catalog is said before anything is read
    session.need_credentials(pagerduty=False)
    ledger = session.store.load()
    record = find_done(session.store, run)

    async def work() -> Plan:
        async with session.reader() as reader:
            return await plan_revert(
                record,
                session.catalog,
                reader,
                ledger,
                target=session.port_url,
                scope=scope,
                progress=session.progress,
            )

    return session.run(work())


def make_again(session: Session, old: Plan, asking: Asking, ref: str | None = None) -> Plan:
    """What a saved plan set out to do, planned on the world of now: its scope, its run put back, beside its base.

    `ref` is another base to set it beside.  A revert reads no records and has no base.
    """
    scope = Scope.read(old.base.scope)
    if scope.reverts:
        return make_revert(session, scope.reverts, replace(scope, reverts=""))
    ref = old.branch.ref if ref is None and old.branch is not None else ref
    return make_plan(session, scope, asking, base_of(session, ref) if ref is not None else None)


def base_of(session: Session, ref: str) -> Base:
    """What a plan is compared with; where the commit has no catalog yet, an empty one.  Raises `CatalogError`."""
    session.loaded  # noqa: B018  what is wrong with this one is said first
    then = session.history.base(ref)
    catalog = session.catalog_beside(then.catalog.diagnostics if then.catalog else ())
    if then.catalog is None:
        session.progress.note(f"{ref} has no catalog yet: all of it is this branch's.")
    empty = replace(catalog, rules=(), blueprints={}, tree="", commit=then.commit)
    return Base(ref, then.commit, replace(then.catalog or empty, diagnostics=()))


async def _alone(session: Session, taken: Snapshot | None, asking: Asking, scope: Scope) -> Plan:
    async with AsyncExitStack() as stack:
        ground = await _ground(session, stack, asking, scope)
        if taken is not None:
            return await commands.plan_from(commands.Sides(session.catalog, taken), ground)
        source = await stack.enter_async_context(session.source())
        held = session.options.process.held
        made, _ = await commands.plan_online(session.catalog, source, ground, how=asking.how, held=held)
        return made


async def _beside(session: Session, base: Base, taken: Snapshot | None, asking: Asking, scope: Scope) -> Plan:
    """The plan with what it changes about that of a base."""
    async with AsyncExitStack() as stack:
        ground = await _ground(session, stack, asking, scope)
        if taken is not None:
            return await plan_branch_from(session.catalog, base, taken, ground)
        source = await stack.enter_async_context(session.source())
        return await plan_branch_online(session.catalog, base, source, ground, asking.how)


async def _ground(session: Session, stack: AsyncExitStack, asking: Asking, scope: Scope) -> commands.Ground:
    reader = await stack.enter_async_context(session.reader())
    return commands.Ground(
        reader,
        session.store,
        session.port_url,
        session.history,
        scope,
        reader if asking.validate else None,
        session.progress,
    )


def _kept_snapshot(session: Session, file: Path | None) -> Snapshot:
    from pdsync.state.snapshot_file import open_snapshot

    if file is not None:
        return as_of_file(session.catalog, session.store, open_snapshot(file, session.keyring))
    kept = session.store.load_snapshot()
    if kept is None:
        raise UsageError(error("PD804", "there is no snapshot yet", hint="run `pdsync snapshot`"))
    session.progress.note(f"Using the snapshot taken {kept.taken_at}.")
    return as_of_then(session.catalog, session.store, kept)
