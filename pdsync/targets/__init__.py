"""Where entities go: the seam that Port stands behind, split so that a plan holds no way to write."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, Protocol

from pdsync.model import Fields

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from pdsync.model import Blueprint, EntityKey, Existing, ExistingEntity, LedgerEntry, Scorecard
    from pdsync.searching import Question

    Progress = Callable[[str, int, int | None], None]
    """Called with (what, done so far, total if known): `("pagerdutyService", 1000, 4812)`."""


@dataclass(frozen=True, slots=True)
class EntityWrite:
    """One entity to create or to merge into: the paths to set, None to clear.

    `create` says that it is not in the target yet, so that there is nothing to clear.
    """

    identifier: str
    fields: Fields
    create: bool = False


@dataclass(frozen=True, slots=True)
class WriteResult:
    """How one write went: `error` is empty on success, else the target's own message (with its code).

    `doubt` is `unknown` when it may have been done in spite of the error, `unsent` when it was surely never asked for.
    `there`: what was to be created existed already, and no repeat of the request can have made it.
    """

    identifier: str
    error: str = ""
    doubt: Literal["", "unknown", "unsent"] = ""
    there: bool = False


@dataclass(frozen=True, slots=True)
class Edit:
    """Who wrote an entity last, as the target names them, and when (RFC 3339); who made it, and when."""

    by: str
    at: str
    made_by: str = ""
    made_at: str = ""


class TargetReader(Protocol):
    """Reads a target; has no method that writes."""

    name: str

    def stop(self) -> None:
        """Ask nothing any more; what is in flight has a few seconds.  To be called on the reader's event loop.

        Who asks all the same, or waits, gets `Interrupted`.
        """
        ...

    async def read(
        self,
        wanted: Mapping[str, Collection[str]],
        progress: Progress | None = None,
        like: Mapping[EntityKey, LedgerEntry] = MappingProxyType({}),
    ) -> Existing:
        """Read organisation, all blueprints, and the entities of the wanted ones.

        `wanted` maps a blueprint to the paths to read (`properties.url`, `relations.service`, `title`, ...);
        a blueprint that does not exist yields no entities.  Fields come in normal form; a text that `like` has at the
        same place may be held once for both.  Raises `TargetError` rather than return a part.
        """
        ...

    async def look(self, wanted: Mapping[EntityKey, Collection[str]]) -> Mapping[EntityKey, ExistingEntity]:
        """The wanted paths of these entities as they are at this moment; those that do not exist are absent."""
        ...

    async def whole(self, keys: Collection[EntityKey]) -> Mapping[EntityKey, ExistingEntity]:
        """All that these entities hold at this moment, with their birth; those that do not exist are absent."""
        ...

    async def known(self, keys: Collection[EntityKey]) -> frozenset[EntityKey]:
        """Those of `keys` that exist in the target."""
        ...

    async def edits(self, keys: Collection[EntityKey]) -> Mapping[EntityKey, Edit]:
        """Who wrote each of these entities last, and who made it, where the target says so."""
        ...

    async def pointing_at(
        self, blueprint: str, relation: str, targets: Collection[str]
    ) -> Mapping[EntityKey, ExistingEntity] | None:
        """The entities of a blueprint whose relation has any of these targets, with that relation; None if not told."""
        ...

    async def found(self, questions: Collection[Question]) -> Mapping[Question, tuple[str, ...] | str]:
        """The identifiers that each question finds now, sorted, or why it is not answered.

        Where it finds more than a relation takes, at least one more than that are given.
        """
        ...

    async def scorecards(self, blueprint: str) -> tuple[Scorecard, ...] | None:
        """The scorecards of a blueprint; None if not told."""
        ...

    async def by_integration(
        self, keys: Collection[EntityKey], progress: Progress | None = None
    ) -> frozenset[EntityKey] | None:
        """Those of `keys` that the target's own integration with the source wrote last; None when it cannot be told."""
        ...


class ValidatingReader(TargetReader, Protocol):
    """A reader that can also ask the target whether it would take entities; that stores nothing."""

    async def refusals(self, blueprint: str, writes: Sequence[EntityWrite]) -> Mapping[str, str]:
        """Identifier -> why, for each of these entities that the target would refuse.  Raises `TargetError`."""
        ...


class TargetWriter(Protocol):
    """Writes to a target.  Every method but `create_blueprint` may be repeated alike to the same effect.

    Any of them raises `TargetError`, which tells whether it may have taken effect all the same, or `Interrupted` when
    it was stopped before anything was sent.
    """

    def stop(self) -> None:
        """Send nothing any more; what is in flight has a few seconds.  To be called on the writer's event loop."""
        ...

    def batches(self, writes: Sequence[EntityWrite]) -> list[tuple[EntityWrite, ...]]:
        """Split writes into requests that the target takes, in order."""
        ...

    async def upsert(self, blueprint: str, batch: Sequence[EntityWrite]) -> list[WriteResult]:
        """Create or merge one batch; one result per write, in order.  Raises when all of it went the same way."""
        ...

    async def delete(self, blueprint: str, identifiers: Sequence[str]) -> list[WriteResult]:
        """Delete entities without their dependents; one that is already gone counts as deleted."""
        ...

    async def create_blueprint(self, blueprint: Blueprint) -> None:
        """Create a blueprint as given.  Raises `TargetError`, also when it is there already."""
        ...

    async def change_blueprint(self, identifier: str, changes: Fields) -> None:
        """Set (or with None remove) the given paths of a blueprint, everything else left as it is now."""
        ...

    async def rename_part(self, identifier: str, path: str, to: str) -> None:
        """Rename a property or relation of a blueprint (both paths as in its flat form); entities keep its values."""
        ...

    async def delete_blueprint(self, identifier: str) -> None:
        """Delete a blueprint; one that is already gone counts as deleted."""
        ...
