"""What a mapping's `lifecycle` says to leave alone: fields of an entity, and places inside them.

A field is written when its entity is made, and never again; the ledger does not speak of it.  Inside a value, what Port
has at the place is kept in what is written (`pdsync.leftalone`).  The ledger has the whole value, as it was written; it
is read with what Port has by now at such a place, so that no edit there is a difference, or a drift.

What differs is counted, by blueprint and by path as the mapping has it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from pdsync.leftalone import Kept, in_the_way, kept, place_of, places_in
from pdsync.model import Ignored
from pdsync.normal import same

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pdsync.leftalone import Keys, Place
    from pdsync.model import EntityKey, ExistingEntity, Fields, Json, LedgerEntry, MappingRule


class LeftAlone:
    """What these rules leave alone; counts the differences of which that was asked."""

    def __init__(self, rules: Iterable[MappingRule]) -> None:
        self._said = {rule.id: rule.lifecycle.ignore_changes for rule in rules}
        self.looks_inside = any(place_of(path) for paths in self._said.values() for path in paths)
        self._left: dict[tuple[str, ...], tuple[tuple[str, ...], tuple[Place, ...]]] = {}
        self._inside: dict[tuple[tuple[str, ...], str], dict[str, Keys]] = {}
        self._counted: Counter[tuple[str, str]] = Counter()

    def without_ignored(
        self, key: EntityKey, rules: tuple[str, ...], target: Fields, have: ExistingEntity | None
    ) -> tuple[Fields, Fields]:
        """The fields to write and those to remember as ours, of what is to be; both without what is left alone.

        A new entity gets every field once.  Inside a value, what is left alone is what Port has there.
        """
        globs, places = self._left_of(rules)
        if not globs and not places:
            return target, target
        ours = {path: value for path, value in target.items() if not _covered(path, globs)}
        if have is None:
            return target, ours
        for path in target.keys() - ours.keys():
            if not same(have.fields.get(path), target[path]):
                self._counted[key.blueprint, path] += 1
        if not places:
            return ours, ours
        done = {path: self.inside(rules, path, value, have.fields.get(path)) for path, value in ours.items()}
        for each in done.values():
            self._counted.update((key.blueprint, name) for name in each.differing)
        written = {path: each.value for path, each in done.items()}
        return written, {path: value if ours[path] is not None else None for path, value in written.items()}

    def inside(self, rules: Sequence[str], path: str, ours: Json, held: Json) -> Kept:
        """What is written of a value where Port holds another one, of which places may be left alone."""
        named = self._places_of(tuple(rules), path)
        return kept(ours, held, named) if named else Kept(ours, ())

    def names(self, rules: Sequence[str], path: str) -> tuple[str, ...]:
        """The places inside a path that are left alone, as the mapping has them."""
        return tuple(self._places_of(tuple(rules), path))

    def as_left(self, last: LedgerEntry, have: ExistingEntity | None, rules: Iterable[str] = ()) -> LedgerEntry:
        """What was applied, with what Port has by now at the places that these rules, or those of then, leave alone."""
        both = tuple(dict.fromkeys((*last.rules, *rules)))
        if have is None or not self.looks_inside or not self._left_of(both)[1]:
            return last
        seen = {p: self.inside(both, p, value, have.fields.get(p)).value for p, value in last.fields.items()}
        return replace(last, fields=seen)

    def in_the_way(self, rules: Sequence[str], fields: Fields) -> Iterator[tuple[str, str, str]]:
        """Places that cannot be reached in what is to be: their path, their name, and what stands in the way."""
        for path, value in fields.items():
            for name, keys in self._places_of(tuple(rules), path).items():
                if stands := in_the_way(value, keys):
                    yield path, name, stands

    def covers(self, rules: Sequence[str], path: str) -> bool:
        """Whether the lifecycles of these rules leave a path alone once the entity is there."""
        return _covered(path, self._left_of(tuple(rules))[0])

    def ignored(self) -> tuple[Ignored, ...]:
        """What was left alone although it differs, counted by blueprint and path."""
        return tuple(Ignored(*where, count) for where, count in sorted(self._counted.items()))

    def _left_of(self, rules: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[Place, ...]]:
        """What these rules leave alone: globs over whole paths, and places inside values."""
        found = self._left.get(rules)
        if found is None:
            written = (self._said[rule] for rule in rules if rule in self._said)
            told = {text: place_of(text) for some in written for text in some}
            globs = tuple(text for text, place in told.items() if place is None)
            found = self._left[rules] = globs, tuple(place for place in told.values() if place is not None)
        return found

    def _places_of(self, rules: tuple[str, ...], path: str) -> dict[str, Keys]:
        found = self._inside.get((rules, path))
        if found is None:
            found = self._inside[rules, path] = places_in(path, self._left_of(rules)[1])
        return found


def _covered(path: str, globs: tuple[str, ...]) -> bool:
    return any(fnmatchcase(path, glob) for glob in globs)
