"""Two clients of one state, each on a machine of its own, and everything that may happen to them, in any order.

Both plan, apply, are killed, resume, hold the lock, break it, and save over one another, while people edit PagerDuty and
Port.  The state is in a store of conditional writes (a dictionary behind the real remote backend), journals and locks
are as in real life; Port is the sandbox, over HTTP.
"""

from __future__ import annotations

import asyncio
import itertools
import tempfile
import threading
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from pdsync.errors import Locked, PdsyncError, StalePlan, StateError, UsageError
from pdsync.model import DesiredEntities, EntityKey, Ledger
from pdsync.plan.order import relation_targets
from pdsync.resume import find_run, resume
from pdsync.sandbox.server import Sandbox
from pdsync.sandbox.world import World
from pdsync.state import store as stores
from pdsync.state.backends import Stored
from pdsync.state.backends.local import LocalBackend
from pdsync.state.backends.locks import LOCK, read_lock
from pdsync.state.backends.remote import Conflict, RemoteBackend, Seen
from pdsync.state.holding import Holding, watch
from pdsync.state.ledger_file import parse_ledger
from pdsync.state.store import LEDGER, StateStore
from pdsync.targets.port import PortReader, PortWriter
from tests.apply.killing import Moments, killed_at
from tests.apply.running import Here
from tests.builders import blueprint, catalog, relation, want
from tests.builders import rule as mapping_rule

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pdsync.apply import ApplyResult
    from pdsync.model import DesiredEntity, Plan
    from pdsync.sandbox.port_store import Checkpoint
    from pdsync.state.backends import Backend, LockInfo
    from pdsync.state.holding import Verdict

SERVICE = blueprint("service", next=relation("service"), team=relation("team"))
TEAM = blueprint("team")
TEAMS = "mappings/test.yaml#teams[0]"
SAYS = catalog(
    [SERVICE, TEAM],
    [
        mapping_rule("service", ("title", "properties.tier", "relations.next", "relations.team")),
        mapping_rule("team", ("title",), "teams", id=TEAMS),
    ],
)
KEYS = [*(EntityKey("service", name) for name in "abc"), EntityKey("team", "t")]
FOREIGN = EntityKey("service", "foreign")
NOBODY = 2**31 - 1
"""No process has this number."""

IDS = itertools.count(1)
CLIENTS = st.integers(0, 1)
BOUNDED = settings(
    max_examples=12,
    stateful_step_count=16,
    deadline=None,
    phases=(Phase.explicit, Phase.reuse, Phase.generate),  # making a failing history shorter takes minutes
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


# --- the store and who works on it


class Shared:
    """What the store of all holds: one request at a time, each under its condition."""

    stale_version = "0"

    def __init__(self) -> None:
        self.objects: dict[str, Stored] = {}
        self._versions = itertools.count(1)

    def put(self, name: str, data: bytes, expected: str | None) -> str:
        held = self.objects.get(name)
        if (held.version if held else None) != expected:
            raise Conflict
        self.objects[name] = Stored(data, str(next(self._versions)))
        return self.objects[name].version


class Line:
    """One client's line to the store; it goes dead with the client, before a request or after it took effect."""

    stale_version = Shared.stale_version

    def __init__(self, shared: Shared, moments: Moments | None = None) -> None:
        self.shared = shared
        self.moments = moments or Moments(None)

    def get(self, name: str) -> Stored | None:
        self.moments.pass_by(f"before get {name}")
        return self.shared.objects.get(name)

    def look(self, name: str) -> Seen | None:
        held = self.get(name)
        return Seen(held.version, len(held.data)) if held else None

    def put(self, name: str, data: bytes, expected: str | None) -> str:
        self.moments.pass_by(f"before put {name}")
        version = self.shared.put(name, data, expected)
        self.moments.pass_by(f"after put {name}")
        return version

    def keeps_older(self, _name: str) -> bool | None:
        return None

    def remove(self, name: str, expected: str) -> None:
        self.put(name, b"", expected)


class Client(Here):
    """Somebody who works on the shared state, with journals and snapshot of their own."""

    def __init__(self, box: Sandbox, folder: Path, shared: Shared) -> None:
        super().__init__(box, folder, patience=0.3)
        self.line = Line(shared)
        self.saved: Plan | None = None
        self._at_work: StateStore | None = None

    def store(self) -> StateStore:
        if self._at_work:
            return self._at_work
        return StateStore(
            RemoteBackend(self.line, "memory://state"),
            journals=self.folder / "journal",
            snapshots=LocalBackend(self.folder),
            now=lambda: "2026-06-01T12:00:00Z",
            new_id=lambda: f"{next(IDS):06x}".ljust(16, "0"),
        )

    @contextmanager
    def working(self, operation: str, *, over: bool = False) -> Iterator[tuple[StateStore, Holding]]:
        """Hold the lock; what is done inside is done with the same store."""
        store = self.store()
        with store.lock(operation, over=over) as holding:
            self._at_work = store
            try:
                yield store, holding
            finally:
                self._at_work = None

    def plan_and_apply(self, world: DesiredEntities, progress: Any = lambda *_: None) -> ApplyResult:
        with self.working("apply"):
            return self.apply(self.plan(SAYS, world), progress=progress)

    def apply_saved(self, plan: Plan) -> bool:
        """Apply a plan that was made earlier, if all is still as it saw it; whether it was."""
        with self.working("apply") as (store, _):
            store.load()
            if self.moved(plan):
                return False
            self.apply(plan)
            return True

    def go_on(self) -> ApplyResult:
        with self.working("resume", over=True) as (store, _):
            ledger = store.load()
            found = find_run(store, ledger, None)

            async def work() -> ApplyResult:
                async with self.client() as client:
                    return await resume(found, ledger, PortWriter(client), PortReader(client), store)

            return asyncio.run(work())


@dataclass(frozen=True)
class Held:
    """A lock that is held by somebody at work."""

    context: AbstractContextManager[Holding]
    holding: Holding

    def give_a_sign(self) -> None:
        """As its thread does every few seconds."""
        self.holding._info = replace(self.holding._info, beats=self.holding._info.beats + 1)
        self.holding._beat(self.holding._info)


# --- the machine


class Machine(RuleBasedStateMachine):
    """Whatever happens in whatever order, nobody loses anything, and in the end there is nothing left to do."""

    def __init__(self, box: Sandbox, beginning: Checkpoint, patch: pytest.MonkeyPatch) -> None:
        super().__init__()
        self.port = box.store
        self.log = box.log
        self.port.restore(beginning)
        self.folder = tempfile.TemporaryDirectory()
        self.shared = Shared()
        self.clients = [Client(box, Path(self.folder.name) / name, self.shared) for name in ("one", "two")]
        self.source: dict[EntityKey, DesiredEntity] = {}
        self.by_hand = {FOREIGN}
        self.before = Ledger("")
        self.holder: Held | None = None
        patch.setattr(stores, "watch", self._watch)

    def teardown(self) -> None:
        """Everybody resumes, one applies: Port is as PagerDuty says, all of it is owned, nobody has more to do."""
        with self.folder:
            if self.holder is not None:
                self.let_go()
            for who in (0, 1, 0, 1):
                self.resume(who)
            self.apply(0)
            left = [client.plan(SAYS, self._world()) for client in self.clients]
            assert [plan.changes for plan in left] == [(), ()]
            withheld = {EntityKey(each.blueprint, each.identifier) for each in left[0].withheld}
            assert self._ledger().entities.keys() - withheld == self.source.keys() | self._stubs()
            self.what_others_made_is_there()
            self.the_ledger_loses_nothing()

    # --- what people do

    @rule(key=st.sampled_from(KEYS), tier=st.sampled_from("xyz"), to=st.sampled_from([*"abc", None]))
    def edit_pagerduty(self, key: EntityKey, tier: str, to: str | None) -> None:
        if key.blueprint == "team":
            self.source[key] = want(key.identifier, "team", title=tier, rules=(TEAMS,), source="teams/t")
        else:
            self.source[key] = want(key.identifier, title=tier, tier=tier, to_next=to, to_team="t")

    @rule(key=st.sampled_from(KEYS))
    def delete_in_pagerduty(self, key: EntityKey) -> None:
        self.source.pop(key, None)

    @rule(key=st.sampled_from([*KEYS, FOREIGN]), tier=st.sampled_from("uvw"))
    def edit_port(self, key: EntityKey, tier: str) -> None:
        """Changes what is there; makes what is not, as theirs, unless one of us ever claimed it."""
        if not self._is_there(key):
            if any(key in client.ledger().entities for client in self.clients):
                return
            self.by_hand.add(key)
        body = {"identifier": key.identifier, "properties": {"tier": tier, "url": "by hand"}}
        self.port.put_entity(key.blueprint, body)

    @rule(key=st.sampled_from(KEYS))
    def delete_in_port(self, key: EntityKey) -> None:
        if self._is_there(key):
            self.port.delete_entity(key.blueprint, key.identifier)
            self.by_hand.discard(key)

    # --- what the clients do

    @rule(who=CLIENTS)
    def plan(self, who: int) -> None:
        self.clients[who].saved = self.clients[who].plan(SAYS, self._world())

    @rule(who=CLIENTS)
    def apply(self, who: int) -> None:
        with self._unless_locked():
            result = self.clients[who].plan_and_apply(self._world())
            assert [o for o in result.outcomes if o.status != "done"] == []
            assert result.saved

    @rule(who=CLIENTS)
    def apply_saved(self, who: int) -> None:
        """Refused when the state has moved since, or Port."""
        client = self.clients[who]
        plan, client.saved = client.saved, None
        if plan is not None:
            with suppress(StalePlan), self._unless_locked():
                client.apply_saved(plan)

    @rule(who=CLIENTS, moment=st.integers(1, 60))
    def die(self, who: int, moment: int) -> None:
        """An apply is killed at a request, to Port or to the store, or at an operation on a file.

        Whatever it had made by then is ours by its journal, be the answer lost or not.
        """
        client = self.clients[who]
        events = len(self.port.events())
        with suppress(Locked), killed_at(moment) as moments:
            client.line = Line(self.shared, moments)
            try:
                client.plan_and_apply(self._world())
            finally:
                client.line = Line(self.shared)
        if moments.dead and self.holder is None:
            self._bury()
        made = [e["context"] for e in self.port.events()[: -events or None] if e["action"] == "CREATE"]
        assert {EntityKey(each["blueprint"], each["entity"]) for each in made} <= client.ledger().entities.keys()

    @rule(who=CLIENTS)
    def resume(self, who: int) -> None:
        """There may be nothing to resume, or its journal is with the other client."""
        with suppress(UsageError, StateError), self._unless_locked():
            self.clients[who].go_on()

    @rule()
    def overtake(self) -> None:
        """In the middle of the first client's apply the second one, who takes it for dead, applies as well."""
        threads: list[threading.Thread] = []
        wrong: list[str] = []

        def during(_what: str, done: int, _total: int | None) -> None:
            if done and not threads:
                threads.append(threading.Thread(target=self._take_over, args=(wrong,)))
                threads[0].start()
                threads[0].join()

        with self._unless_locked():
            self.clients[0].plan_and_apply(self._world(), progress=during)
        assert wrong == []

    def _take_over(self, wrong: list[str]) -> None:
        try:
            self._bury()
            self.unlock(1)
            self.clients[1].plan_and_apply(self._world())
        except PdsyncError as problem:
            wrong.append(str(problem))

    # --- the lock

    @precondition(lambda self: self.holder is None)
    @rule(who=CLIENTS)
    def hold(self, who: int) -> None:
        with self._unless_locked():
            context = self.clients[who].store().lock("apply")
            self.holder = Held(context, context.__enter__())

    @precondition(lambda self: self.holder is not None)
    @rule()
    def let_go(self) -> None:
        assert self.holder is not None
        self.holder.context.__exit__(None, None, None)
        self.holder = None

    @rule(who=CLIENTS)
    def unlock(self, who: int) -> None:
        """Refused while its holder lives; the lock of a dead one is free then."""
        store = self.clients[who].store()
        held = store.backend.holder()
        if held is not None and self.holder is not None:
            with pytest.raises(Locked, match="alive"):
                store.unlock(held.id)
        elif held is not None:
            store.unlock(held.id)
            assert store.backend.holder() is None

    @contextmanager
    def _unless_locked(self) -> Iterator[None]:
        """While somebody holds the lock nobody else gets in, and nothing is sent to Port; a dead one is told as dead."""
        alive, held = self.holder is not None, self.clients[0].store().backend.holder()
        writes = len(self.log.port_writes())
        try:
            yield
        except Locked as locked:
            self._expect_locked(str(locked), held, alive=alive)
            assert len(self.log.port_writes()) == writes
        else:
            assert not alive

    def _expect_locked(self, said: str, held: LockInfo | None, *, alive: bool) -> None:
        assert held is not None
        assert ("alive" in said, "looks dead" in said) == (alive, not alive)

    def _bury(self) -> None:
        """Whoever holds the lock is dead: there is no process of its number."""
        backend = self.clients[0].store().backend
        if (stored := backend.load(LOCK)) is not None and (held := read_lock(stored)) is not None:
            backend.store(LOCK, msgspec.json.encode(replace(held, pid=NOBODY)), stored.version)

    def _watch(self, backend: Backend, held: LockInfo, notify: Callable[[str], None]) -> Verdict:
        """The real thing, on a clock that runs only while somebody waits, and the holder gives signs of life on it."""
        passed = [0.0]

        def sleep(seconds: float) -> None:
            passed[0] += seconds
            if self.holder is not None:
                self.holder.give_a_sign()

        return watch(backend, held, notify, sleep=sleep, clock=lambda: passed[0])

    # --- what always holds

    @invariant()
    def what_others_made_is_there(self) -> None:
        assert [key for key in self.by_hand if not self._is_there(key)] == []

    @invariant()
    def the_ledger_loses_nothing(self) -> None:
        """It can be read, grows by its serial, and an entry only goes with its entity, or is released."""
        before, now = self.before, self._ledger()
        assert now.serial >= before.serial
        assert before.lineage in ("", now.lineage)
        gone = before.entities.keys() - now.entities.keys()
        assert [key for key in gone if self._is_there(key) and before.entities[key].origin == "created"] == []
        self.before = now

    # --- looking

    def _world(self) -> DesiredEntities:
        return DesiredEntities(dict(self.source))

    def _stubs(self) -> set[EntityKey]:
        """What is pointed at and nothing else: made by us so that it can be, unless somebody else had made it."""
        targets = {target for entity in self.source.values() for _, target in relation_targets(entity.fields, SERVICE)}
        owned = self._ledger().entities.keys()
        return {key for key in targets - self.source.keys() if key in owned or key not in self.by_hand}

    def _is_there(self, key: EntityKey) -> bool:
        return key.identifier in self.port.entities(key.blueprint)

    def _ledger(self) -> Ledger:
        held = RemoteBackend(Line(self.shared), "memory://state").load(LEDGER)
        return parse_ledger(held.data, LEDGER) if held else Ledger("")


def test_two_clients_of_one_state_lose_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any order of edits, plans, applies, deaths, resumes, locks and overtaking."""
    nobody = World(services=0, users=0, teams=0, schedules=0, escalation_policies=0, incidents=0)
    with Sandbox(nobody) as box:
        for part in (SERVICE, TEAM):
            box.store.create_blueprint({**part.definition, "relations": {}})
        box.store.patch_blueprint("service", {"relations": dict(SERVICE.relations)})
        box.store.put_entity(FOREIGN.blueprint, {"identifier": FOREIGN.identifier, "title": "Theirs"})
        make: Any = partial(Machine, box, box.store.checkpoint(), monkeypatch)
        run_state_machine_as_test(make, settings=BOUNDED)
