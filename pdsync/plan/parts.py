"""Whose the parts of a blueprint and the fields of an entity are, and what becomes of one that is named no more.

A blueprint may be shared: others made it and we add to it, or the other way round.  So each part has an origin, as
entities do:

    | the part    | once the catalog names it no more                                                      |
    |-------------|----------------------------------------------------------------------------------------|
    | created     | removed, unless that loses what others wrote (`pdsync.plan.migrate`)                     |
    | adopted     | released: it was there before us and stays, only the ledger forgets it                 |
    | in `_user`  | released: of Port's own blueprints nothing can be removed                              |

So it is with the fields of an entity that was there before us: what it had of its own is never cleared, neither when
its mapping goes nor when it is released; what we put where nothing was is.

What an older ledger says nothing of has the origin of its blueprint or entity.  `policy.renames` may give an adopted
part another name: that is asked for by name, and loses nothing.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING

from pdsync.model import under_names
from pdsync.normal import same
from pdsync.plan.decide import is_system

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pdsync.model import EntityOrigin, FieldChange, Fields, LedgerEntry

RELEASED = "released: it was in Port before pdsync, and stays"
KEPT_BY_PORT = "released: nothing can be removed from Port's own blueprints, it stays"
REQUIRED = "schema.required"
_PROPERTY = "schema.properties."


def origin_of(entry: LedgerEntry, path: str) -> EntityOrigin:
    """Where a part of ours comes from."""
    return entry.parts.get(path, entry.origin)


def was_there(entry: LedgerEntry, path: str) -> bool:
    """Whether others had made a part, or set a field, before it was ours."""
    return origin_of(entry, path) == "adopted"


def stays(field: FieldChange) -> bool:
    """Whether Port keeps a part, or what an entity has, as it is, and we only cease, or begin again, to own it."""
    is_kept = field.before is not None and same(field.before, field.after)
    return is_kept and not (field.replace or field.moved_from)


def added_to(last: LedgerEntry | None, existing: Fields, paths: Iterable[str]) -> Mapping[str, EntityOrigin]:
    """Of the fields of an entity that was there before us, those that had nothing before we set them."""
    made = (path for path in paths if existing.get(path) is None or (last and origin_of(last, path) == "created"))
    return _all_made(tuple(made))


def found_there(entry: LedgerEntry, last: LedgerEntry | None) -> LedgerEntry:
    """The entry of what was to be created and was there already: as it was ours before, else somebody else's.

    What it held before we wrote is not known then: no field of it counts as added by us.
    """
    if last is None:
        return replace(entry, origin="adopted", parts={})
    parts = {path: origin for path, origin in last.parts.items() if path in entry.fields}
    return replace(entry, origin=last.origin, parts=parts)


@lru_cache(maxsize=1024)
def _all_made(paths: tuple[str, ...]) -> Mapping[str, EntityOrigin]:
    """One for all entities that we added the same to."""
    return dict.fromkeys(paths, "created")


def with_names(entry: LedgerEntry, fields: Fields, moved: Mapping[str, str]) -> LedgerEntry:
    """The entry with these fields, which may have other names than before, and all that is told of them likewise."""
    parts = {moved.get(path, path): origin for path, origin in entry.parts.items()}
    return replace(entry, fields=fields, parts=parts, portions=under_names(entry.portions, moved))


def with_origins(entry: LedgerEntry, origins: Mapping[str, EntityOrigin]) -> LedgerEntry:
    """The entry with the origins of its parts; those that it does not have, or that go without saying, are left out."""
    told = {p: origin for p, origin in sorted(origins.items()) if p in entry.fields and origin != entry.origin}
    return replace(entry, parts=told)


def origins_of(entry: LedgerEntry | None) -> dict[str, EntityOrigin]:
    """The origin of each part that an entry has."""
    return {path: origin_of(entry, path) for path in entry.fields} if entry else {}


def origins_after(paths: Iterable[str], existing: Fields, last: LedgerEntry | None) -> dict[str, EntityOrigin]:
    """Where parts come from once they are written: what is not there is made by us, also when it was there before."""
    known = origins_of(last)
    return {path: known.get(path, "adopted") if existing.get(path) is not None else "created" for path in paths}


def released(blueprint: str, last: LedgerEntry, wanted: Fields, existing: Fields, renamed: Iterable[str]) -> set[str]:
    """The parts that the catalog names no more and that stay in Port; `renamed` are those that get another name."""
    dropped = {path for path in last.fields.keys() - wanted.keys() if existing.get(path) is not None}
    return {p for p in dropped.difference(renamed) if is_system(blueprint) or origin_of(last, p) != "created"}


def note_of(blueprint: str, last: LedgerEntry, path: str) -> str:
    """Why a part that is released stays."""
    return KEPT_BY_PORT if is_system(blueprint) and origin_of(last, path) == "created" else RELEASED


# --- the list of what is required, which is one part and speaks of many ------------------------------------------


def required_after(
    wanted: Fields, existing: Fields, last: LedgerEntry | None, going: Iterable[str]
) -> list[str] | None:
    """What Port is to require: what the catalog says of what is ours, and of all else what it requires now.

    Where the catalog says no more what is required, what we made is required no more.  `going` are parts that go.
    """
    held = existing.get(REQUIRED) or ()
    if REQUIRED in wanted:
        ours = {*wanted, *(last.fields if last else ())}
        return sorted({*wanted[REQUIRED], *(name for name in held if _PROPERTY + name not in ours)})
    spoken = last is not None and REQUIRED in last.fields
    made = {path for path, origin in origins_of(last).items() if origin == "created"} if spoken else set()
    return [name for name in held if _PROPERTY + name not in made.union(going)] or None
