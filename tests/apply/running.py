"""A Port on loopback, a state in a folder, and plans of what a test says shall be there."""

from __future__ import annotations

import asyncio
import secrets
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

from pdsync.apply import ApplyResult, apply_plan
from pdsync.around import look_around
from pdsync.commands import expressions
from pdsync.model import EntityKey, PlanBase
from pdsync.needed import wanted_paths, with_values_at_stake
from pdsync.plan import Facts, Scope, make_plan
from pdsync.plan.blueprints import blueprints_after
from pdsync.plan.order import relation_targets
from pdsync.plan.saved import moved, paths_to_read
from pdsync.resume import find_run, resume
from pdsync.revert import find_done, plan_revert
from pdsync.sandbox.server import PORT_CLIENT_ID, PORT_CLIENT_SECRET, Sandbox
from pdsync.sandbox.world import World
from pdsync.state.backends.local import LocalBackend
from pdsync.state.store import StateStore
from pdsync.targets.port import PortAuth, PortReader, PortWriter
from pdsync.transport import PORT_LIMITS, ApiClient
from tests.builders import catalog

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator
    from pathlib import Path

    from pdsync.model import (
        Blueprint,
        Catalog,
        DesiredEntities,
        Existing,
        ExistingEntity,
        Ledger,
        Plan,
        RunNote,
        RunRecord,
    )
    from pdsync.sandbox.port_store import PortStore
    from pdsync.sight import Watch

    Progress = Callable[[str, int, int | None], None]

T = TypeVar("T")


class Here:
    """A running Port and the state of a catalog; `patience` is how long a failing request is repeated, in seconds."""

    def __init__(self, box: Sandbox, folder: Path, patience: float = 5.0) -> None:
        self.box = box
        self.port = box.store
        self.folder = folder
        self.patience = patience

    def kept(self) -> Callable[[], None]:
        """Keep Port and the state as they are now; what is returned brings them back, as often as it is called."""
        checkpoint = self.port.checkpoint()
        files = {path: path.read_bytes() for path in self.folder.rglob("*") if path.is_file()}

        def back() -> None:
            self.port.restore(checkpoint)
            for path in self.folder.rglob("*"):
                if path.is_file() and path not in files:
                    path.unlink()
            for path, data in files.items():
                path.write_bytes(data)

        return back

    def store(self) -> StateStore:
        """The state, as one run opens it."""
        local = LocalBackend(self.folder)
        return StateStore(
            local,
            journals=self.folder / "journal",
            snapshots=local,
            now=lambda: datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            new_id=lambda: secrets.token_hex(8),
        )

    def ledger(self) -> Ledger:
        """What is owned, runs that were cut short included."""
        return self.store().load()

    def plan(self, of: Catalog, world: DesiredEntities, **scope: Any) -> Plan:
        """What would make Port as `of` and `world` say; `scope` are arguments of `Scope`."""

        async def work(reader: PortReader) -> Plan:
            ledger = self.store().load()
            existing = await reader.read(wanted_paths(of, ledger))
            facts = Facts(of, world, existing, ledger, expressions=expressions(of.rules), tool="jq")
            facts = replace(facts, existing=await with_values_at_stake(facts, reader))
            known = await reader.known(_outside(facts))
            facts = await look_around(_knowing(facts, known), reader)
            return make_plan(facts, _base(ledger, existing), Scope(**scope))

        return self.reading(work)

    async def look(self, key: EntityKey, paths: Collection[str]) -> ExistingEntity | None:
        """One entity as it is now."""
        async with self.client() as client:
            return (await PortReader(client).look({key: paths})).get(key)

    def apply(
        self,
        plan: Plan,
        *,
        stop_after: int | None = None,
        watching: Callable[[Plan, PortReader], Watch] | None = None,
        looking: bool = True,
        progress: Progress = lambda *_: None,
    ) -> ApplyResult:
        """Do a plan; with `stop_after` a stop is asked for once so many changes have ended.

        `looking`: what is not known is looked up.  `watching`: makes what
        looks at changes before their write, as of a saved plan.
        """
        store = self.store()
        store.load()

        async def work() -> ApplyResult:
            stop = asyncio.Event()

            def count(what: str, done: int, total: int | None) -> None:
                progress(what, done, total)
                if stop_after is not None and done >= stop_after:
                    stop.set()

            async with self.client() as client:
                reader = PortReader(client)
                return await apply_plan(
                    plan,
                    PortWriter(client),
                    store,
                    reader=reader if looking else None,
                    watch=watching(plan, reader) if watching else None,
                    stop=stop,
                    progress=count,
                )

        return asyncio.run(work())

    def resume(
        self, run: str | None = None, record: Callable[[RunRecord], RunRecord] = lambda record: record
    ) -> ApplyResult:
        """Go on with a run, or with the last one that did not come to its end; `record` may change what is found."""
        store = self.store()
        with store.lock("resume", over=True):
            ledger = store.load()
            found = record(find_run(store, ledger, run))

            async def work() -> ApplyResult:
                async with self.client() as client:
                    return await resume(found, ledger, PortWriter(client), PortReader(client), store)

            return asyncio.run(work())

    def revert(self, run: str | None = None, **scope: Any) -> Plan:
        """What would put back a run, or the last one."""
        store = self.store()
        ledger = store.load()
        record = find_done(store, run or store.history()[-1].run)
        return self.reading(
            lambda reader: plan_revert(record, catalog([], []), reader, ledger, target="port", scope=Scope(**scope))
        )

    def history(self) -> list[RunNote]:
        """All runs, oldest first."""
        store = self.store()
        store.load()
        return store.history()

    def moved(self, plan: Plan) -> dict[str, tuple[str, ...]]:
        """What is no longer as the plan saw it."""
        return self.reading(lambda reader: _moved(plan, reader))

    def reading(self, work: Callable[[PortReader], Awaitable[T]]) -> T:
        async def run() -> T:
            async with self.client() as client:
                return await work(PortReader(client))

        return asyncio.run(run())

    @asynccontextmanager
    async def client(self) -> AsyncIterator[ApiClient]:
        """Port, as one run talks to it."""
        url = self.box.port_url
        async with ApiClient(
            url,
            name="Port",
            auth=PortAuth(url, PORT_CLIENT_ID, PORT_CLIENT_SECRET),
            user_agent="test",
            limits=PORT_LIMITS,
            patience=self.patience,
            codes="PD40",
        ) as client:
            yield client


@contextmanager
def running(folder: Path, port: PortStore | None = None, **options: Any) -> Iterator[Here]:
    """A Port of its own for the block, or this one."""
    nobody = World(services=0, users=0, teams=0, schedules=0, escalation_policies=0, incidents=0)
    with Sandbox(nobody, port_store=port) as box:
        yield Here(box, folder, **options)


async def _moved(plan: Plan, reader: PortReader) -> dict[str, tuple[str, ...]]:
    found = moved(plan, await reader.read(paths_to_read(plan)))
    return {name: tuple(each.path for each in of) for name, of in found.items()}


def create_blueprints(here: Here, *blueprints: Blueprint) -> None:
    """Put blueprints into Port by hand, bare first, so that they may relate to each other."""
    for blueprint in blueprints:
        here.port.create_blueprint({**blueprint.definition, "relations": {}})
    for blueprint in blueprints:
        here.port.patch_blueprint(blueprint.identifier, {"relations": dict(blueprint.relations)})


def _base(ledger: Ledger, existing: Existing) -> PlanBase:
    return PlanBase(
        ledger.lineage, ledger.serial, "t", "c", "s", "now", existing.org_id, existing.org_name, "pd", "port", "jq"
    )


def _outside(facts: Facts) -> list[EntityKey]:
    blueprints = blueprints_after(facts)
    have = facts.desired.entities.keys() | facts.existing.entities.keys()
    return [
        target
        for entity in facts.desired.entities.values()
        for _, target in relation_targets(entity.fields, blueprints.get(entity.key.blueprint))
        if target not in have
    ]


def _knowing(facts: Facts, known: frozenset[EntityKey]) -> Facts:
    return replace(facts, existing=replace(facts.existing, known_targets=known))
