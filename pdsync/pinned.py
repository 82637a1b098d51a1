"""A reader of the target that gives every answer once: who asks the same again hears the same, whatever has changed."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence

    from pdsync.model import EntityKey, Existing, ExistingEntity, LedgerEntry, Scorecard
    from pdsync.searching import Question
    from pdsync.targets import Edit, EntityWrite, Progress, ValidatingReader


class PinnedReader:
    """A `ValidatingReader` over another one, for two plans that are to stand on one reading.

    `existing` is what was read at the beginning; what is asked for besides is asked once.
    """

    def __init__(self, reader: ValidatingReader) -> None:
        self.name = reader.name
        self._reader = reader
        self._answers: dict[object, Any] = {}
        self._known: dict[EntityKey, bool] = {}
        self._found: dict[Question, tuple[str, ...] | str] = {}

    def stop(self) -> None:
        """See `TargetReader.stop`."""
        self._reader.stop()

    async def _once(self, question: object, ask: Callable[[], Awaitable[Any]]) -> Any:
        if question not in self._answers:
            self._answers[question] = await ask()
        return self._answers[question]

    async def read(
        self,
        wanted: Mapping[str, Collection[str]],
        progress: Progress | None = None,
        like: Mapping[EntityKey, LedgerEntry] = MappingProxyType({}),
    ) -> Existing:
        """See `TargetReader`."""
        found: Existing = await self._once(("read", _paths(wanted)), lambda: self._reader.read(wanted, progress, like))
        return found

    async def look(self, wanted: Mapping[EntityKey, Collection[str]]) -> Mapping[EntityKey, ExistingEntity]:
        """See `TargetReader`."""
        found: Mapping[EntityKey, ExistingEntity]
        found = await self._once(("look", _paths(wanted)), lambda: self._reader.look(wanted))
        return found

    async def whole(self, keys: Collection[EntityKey]) -> Mapping[EntityKey, ExistingEntity]:
        """See `TargetReader`."""
        found: Mapping[EntityKey, ExistingEntity]
        found = await self._once(("whole", frozenset(keys)), lambda: self._reader.whole(keys))
        return found

    async def known(self, keys: Collection[EntityKey]) -> frozenset[EntityKey]:
        """See `TargetReader`; each key is asked for once."""
        if fresh := [key for key in keys if key not in self._known]:
            found = await self._reader.known(fresh)
            self._known.update((key, key in found) for key in fresh)
        return frozenset(key for key in keys if self._known[key])

    async def edits(self, keys: Collection[EntityKey]) -> Mapping[EntityKey, Edit]:
        """See `TargetReader`."""
        found: Mapping[EntityKey, Edit]
        found = await self._once(("edits", frozenset(keys)), lambda: self._reader.edits(keys))
        return found

    async def pointing_at(
        self, blueprint: str, relation: str, targets: Collection[str]
    ) -> Mapping[EntityKey, ExistingEntity] | None:
        """See `TargetReader`."""
        question = ("pointing_at", blueprint, relation, frozenset(targets))
        found: Mapping[EntityKey, ExistingEntity] | None
        found = await self._once(question, lambda: self._reader.pointing_at(blueprint, relation, targets))
        return found

    async def found(self, questions: Collection[Question]) -> Mapping[Question, tuple[str, ...] | str]:
        """See `TargetReader`; each question is asked once."""
        if fresh := [question for question in questions if question not in self._found]:
            self._found.update(await self._reader.found(fresh))
        return {question: self._found[question] for question in questions}

    async def scorecards(self, blueprint: str) -> tuple[Scorecard, ...] | None:
        """See `TargetReader`."""
        found: tuple[Scorecard, ...] | None
        found = await self._once(("scorecards", blueprint), lambda: self._reader.scorecards(blueprint))
        return found

    async def by_integration(self, keys: Collection[EntityKey]) -> frozenset[EntityKey] | None:
        """See `TargetReader`."""
        found: frozenset[EntityKey] | None
        found = await self._once(("by_integration", frozenset(keys)), lambda: self._reader.by_integration(keys))
        return found

    async def refusals(self, blueprint: str, writes: Sequence[EntityWrite]) -> Mapping[str, str]:
        """See `ValidatingReader`: it stores nothing, so it is asked about whatever is to be written."""
        return await self._reader.refusals(blueprint, writes)


def _paths(wanted: Mapping[Any, Collection[str]]) -> frozenset[tuple[object, frozenset[str]]]:
    return frozenset((name, frozenset(paths)) for name, paths in wanted.items())
