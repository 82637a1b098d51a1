"""One action on one entity or blueprint, field by field."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from operator import attrgetter
from typing import Any, Literal, overload

from pdsync.model.ledger import LedgerEntry
from pdsync.model.values import Json, WithKey, many

Action = Literal["create", "update", "delete", "adopt", "release", "forget"]
Cause = Literal["catalog", "source", "drift", "tool", "revert"]


@many(frozen=True, slots=True)
class FieldChange:
    """One path that will change: before (Port's) and after, why, and the catalog line that says so.

    `causes` are all there are, the main one first, which is `cause` (see `pdsync.plan.cause`).  `drift` marks that
    Port's value is not what we last wrote, `deferred` a relation that is written in a second pass because it closes a
    cycle.  Of a blueprint, `moved_from` is the path that is renamed to this one, and `replace` says that the part is
    removed and made anew; `note` tells what that means for entities.
    """

    path: str
    before: Json
    after: Json
    cause: Cause
    origin: str = ""
    drift: bool = False
    deferred: bool = False
    moved_from: str = ""
    replace: bool = False
    note: str = ""
    causes: tuple[Cause, ...] = ()


class FieldChanges(Sequence[FieldChange]):
    """The fields of one change, made as they are looked at.

    A first plan has a field change for every value there is: kept apart from the values is only what is the same for
    many entities, once for all of them.
    """

    __slots__ = ("_afters", "_befores", "_paths", "_told")

    def __init__(self, fields: Iterable[FieldChange]) -> None:
        fields = tuple(fields)
        befores = tuple(field.before for field in fields)
        self._paths = _one_of_many(tuple(field.path for field in fields))
        self._told = _one_of_many(tuple(map(_told, fields)))
        self._befores = befores if any(before is not None for before in befores) else _one_of_many(befores)
        self._afters = tuple(field.after for field in fields)

    def from_nothing(self, afters: tuple[Json, ...]) -> FieldChanges:
        """The same paths, causes and origins, from null to these values."""
        made = FieldChanges.__new__(FieldChanges)
        made._paths, made._told, made._afters = self._paths, self._told, afters  # noqa: SLF001
        made._befores = _one_of_many((None,) * len(afters))  # noqa: SLF001
        return made

    def __len__(self) -> int:
        return len(self._paths)

    @overload
    def __getitem__(self, index: int) -> FieldChange: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[FieldChange]: ...
    def __getitem__(self, index: int | slice) -> FieldChange | Sequence[FieldChange]:
        return tuple(self)[index]

    def __iter__(self) -> Iterator[FieldChange]:
        for path, before, after, told in zip(self._paths, self._befores, self._afters, self._told, strict=True):
            yield FieldChange(path, before, after, *told)

    def __eq__(self, other: object) -> bool:
        return tuple(self) == tuple(other) if isinstance(other, Sequence) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return repr(tuple(self))

    def columns(self) -> tuple[tuple[str, ...], tuple[Json, ...], tuple[Json, ...], tuple[tuple[Any, ...], ...]]:
        """What `rows` gives, each as one tuple; paths and the rest are the same tuples for many."""
        return self._paths, self._befores, self._afters, self._told

    def rows(self) -> Iterable[tuple[str, Json, Json, tuple[Any, ...]]]:
        """Path, values before and after, and the rest of each field, which `ALIKE` names."""
        return zip(self._paths, self._befores, self._afters, self._told, strict=True)

    def afters(self) -> Iterable[tuple[str, Json]]:
        """Path and value after."""
        return zip(self._paths, self._afters, strict=True)

    def befores(self) -> Iterable[tuple[str, Json]]:
        """Path and value before."""
        return zip(self._paths, self._befores, strict=True)


ALIKE = ("cause", "origin", "drift", "deferred", "moved_from", "replace", "note", "causes")
"""What of a field change is the same for many."""

_told = attrgetter(*ALIKE)


@lru_cache(maxsize=4096)
def _one_of_many(equal: tuple[Any, ...]) -> tuple[Any, ...]:
    """The same tuple for all that are equal."""
    return equal


@many(frozen=True, slots=True)
class Change(WithKey):
    """One action on one entity or blueprint.

    `n` counts from 1 in the order of doing; `after` are the numbers of changes that must have succeeded before.
    `reason` is one word for why the action is what it is (see `pdsync.plan`).  `ledger` is what the ledger will
    say once this is done (None: the entry goes).  `seen` is a digest of the entity as the plan saw it.  `twin` is the
    identifier of the other half of a rename: on what is created that of what goes, on what goes that of what comes.
    `meanwhile` are paths and values of relations that stand in between: on what is created until the second pass, on
    what goes from right before the deletes.
    `causes` are all of its causes; `origin` is the catalog line that makes or removes the whole of it, `source_at` when
    its record was last changed as far as the record tells, `edited_by` and `edited_at` who wrote it in Port last, when
    that was not us (all times RFC 3339).
    """

    n: int
    target: Literal["entity", "blueprint"]
    action: Action
    blueprint: str
    identifier: str
    title: str
    fields: Sequence[FieldChange]
    reason: str
    cause: Cause
    after: tuple[int, ...] = ()
    source: str = ""
    ledger: LedgerEntry | None = None
    seen: str = ""
    twin: str = ""
    causes: tuple[Cause, ...] = ()
    origin: str = ""
    source_at: str = ""
    edited_by: str = ""
    edited_at: str = ""
    meanwhile: tuple[tuple[str, Json], ...] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.fields, FieldChanges):
            object.__setattr__(self, "fields", FieldChanges(self.fields))

    def afters(self) -> Iterable[tuple[str, Json]]:
        """Path and value after of each field, which is told faster than by `fields`."""
        assert isinstance(self.fields, FieldChanges)
        return self.fields.afters()

    def befores(self) -> Iterable[tuple[str, Json]]:
        """Path and value before of each field."""
        assert isinstance(self.fields, FieldChanges)
        return self.fields.befores()


def number(draft: Change, n: int, after: tuple[int, ...]) -> None:
    """Make a change of a draft, which has no place among the others yet: there may be one for every entity there is."""
    object.__setattr__(draft, "n", n)
    object.__setattr__(draft, "after", after)
