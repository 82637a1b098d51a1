"""Mapping of records while others are still read: what comes of each is foretold to the memo.

Whether a record is in the snapshot in the end, and just so, is found out by its digest: as with anything that a memo
knows, that changes how long mapping takes, never what comes of it.  A worker that dies over a record, or cannot be
started, ends it for good: mapping proper finds out what there is to be said.
"""

from __future__ import annotations

import os
import threading
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from functools import partial
from queue import SimpleQueue
from typing import TYPE_CHECKING, Self

import msgspec

from pdsync.errors import MappingError
from pdsync.jq.pool import Worker
from pdsync.jq.rule_worker import Outcomes, told_of
from pdsync.memo import record_digest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from types import TracebackType

    from pdsync.jq.pool import JqLimits
    from pdsync.memo import Memo
    from pdsync.model import MappingRule, Query, Record

FEW = 200
"""So many records mapping proper is done with before a process has started, which the end of reading waited for."""

_MOST_WORKERS = 3
_AT_A_TIME = 256
_BYTES_AT_A_TIME = 4 << 20

_WORTH_ONE_MORE = 3
"""More batches than so many for each worker take longer than to start one."""

SILENCE = 1.0
"""Seconds without an answer after which nobody waits for a worker any more: a full batch takes a tenth of that."""

_outcomes = msgspec.msgpack.Decoder(Outcomes)


class Ahead:
    """Maps the records that it is given, in other processes; use it as a context manager.

    Args:
        rules: what may be mapped, by the fingerprint under which a memo knows it.
        memo: is told what comes of it.
        limits: bounds on the evaluation of one record.
        workers: processes, and one more when reading ends with much left; by default one for each processor but that
            which reads.
        few: so many records are left to mapping proper, unless more come.
    """

    def __init__(
        self,
        rules: Mapping[bytes, MappingRule],
        memo: Memo,
        limits: JqLimits,
        workers: int | None = None,
        few: int = FEW,
    ) -> None:
        told = [(rule, name, spelled) for name, rule in rules.items() if (spelled := told_of(rule))]
        self._memo = memo
        self._names = [name for _, name, _ in told]
        self._by_query: dict[Query, list[int]] = {}
        for number, (rule, _, _) in enumerate(told):
            self._by_query.setdefault(rule.query, []).append(number)
        self._count = min(_MOST_WORKERS, (os.cpu_count() or 1) - 1) if workers is None else workers
        settings = {"rules": [spelled for _, _, spelled in told]}
        self._new_worker = partial(Worker, limits, "pdsync.jq.rule_worker", settings)
        self._workers: list[Worker] = []
        self._idle: SimpleQueue[Worker] = SimpleQueue()
        for _ in range(self._count):
            self._hire()
        self._threads = ThreadPoolExecutor(self._count + 1, thread_name_prefix="ahead")
        self._turn = threading.Lock()
        self._under_way: set[Future[None]] = set()
        self._waiting: list[tuple[list[int], list[Record]]] = []
        self._left = few
        self._over = False

    @property
    def is_of_use(self) -> bool:
        """Whether there is anything to map, and anybody to do it."""
        return bool(self._names and self._workers)

    def came(self, query: Query, records: Sequence[Record]) -> None:
        """Map these records of a query, some time.

        Of one that lacks an enrichment a worker would take what is not known for nothing: it is left to mapping proper.
        """
        if numbers := self._by_query.get(query):
            whole = [record for record in records if not record.unavailable]
            self._left -= len(whole)
            self._waiting.append((numbers, whole))
        if self._left < 0:
            for numbers, waiting in self._waiting:
                for some in _batches(waiting):
                    self._under_way.add(self._threads.submit(self._map, numbers, some))
            self._waiting.clear()

    def finish(self) -> None:
        """Wait until all is mapped that came, or no worker says anything: mapping proper then does the rest.

        The processor that has read until now takes its share of much that is left.
        """
        if sum(not each.done() for each in self._under_way) > _WORTH_ONE_MORE * self._count:
            self._hire()
        while self._under_way:
            done, self._under_way = wait(self._under_way, SILENCE, FIRST_COMPLETED)
            for each in done:
                each.result()
            if not done:
                self._abandon()
                return

    def _hire(self) -> None:
        self._workers.append(worker := self._new_worker())
        self._idle.put(worker)

    def _abandon(self) -> None:
        """Map nothing any more."""
        self._over = True
        for worker in self._workers:
            worker.kill()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._abandon()
        self._threads.shutdown(wait=True, cancel_futures=True)
        for worker in self._workers:
            worker.close()

    def _map(self, numbers: list[int], records: Sequence[Record]) -> None:
        if self._over:
            return
        worker = self._idle.get()
        try:
            request = msgspec.msgpack.encode((numbers, [record.raw for record in records]))
            answers, stop = worker.ask((request,), 1)
        except MappingError:  # it cannot run: mapping proper says so
            self._over = True
            return
        finally:
            self._idle.put(worker)
        if stop is None:
            self._foretell(numbers, records, _outcomes.decode(answers[0]))
        else:
            self._over = True

    def _foretell(self, numbers: Iterable[int], records: Sequence[Record], outcomes: Outcomes) -> None:
        digests = [record_digest(record) for record in records]
        with self._turn:
            for number, found in zip(numbers, outcomes, strict=True):
                for digest, outcome in zip(digests, found, strict=True):
                    if outcome is not None:
                        self._memo.foretell(self._names[number], digest, outcome)


def _batches(records: Iterable[Record]) -> Iterator[list[Record]]:
    """Records as they are sent to a worker: not many at a time, and not much."""
    batch: list[Record] = []
    size = 0
    for record in records:
        if batch and (len(batch) >= _AT_A_TIME or size + record.size > _BYTES_AT_A_TIME):
            yield batch
            batch, size = [], 0
        batch.append(record)
        size += record.size
    if batch:
        yield batch
