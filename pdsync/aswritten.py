"""The target as we last wrote it: what stands in its place where it is not asked.

Every entity of ours counts as there, with what the ledger says we wrote, and every blueprint as the catalog has it; of
what somebody else made or changed nothing is known.
"""

from __future__ import annotations

from operator import itemgetter
from types import MappingProxyType
from typing import TYPE_CHECKING

from pdsync.model import Blueprint, Existing, ExistingEntity
from pdsync.plan.decide import constant_blueprint
from pdsync.searching import LATER

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from pdsync.model import Catalog, EntityKey, Fields, Json, Ledger, LedgerEntry, Scorecard
    from pdsync.searching import Question
    from pdsync.targets import Edit, Progress

_SYSTEM = ("_team", "_user")


class AsWritten:
    """A `TargetReader` that reads the ledger; what only the target can tell, it does not tell."""

    name = ""

    def __init__(self, catalog: Catalog, ledger: Ledger) -> None:
        self._ledger = ledger
        self._blueprints = _blueprints(catalog, ledger)

    def stop(self) -> None:
        """See `TargetReader.stop`: nothing is ever under way."""

    async def read(
        self,
        wanted: Mapping[str, Collection[str]],
        _progress: Progress | None = None,
        _like: Mapping[EntityKey, LedgerEntry] = MappingProxyType({}),
    ) -> Existing:
        """See `TargetReader.read`."""
        held = {
            key: ExistingEntity(_fields(entry, wanted[key.blueprint]))
            for key, entry in self._ledger.entities.items()
            if key.blueprint in wanted
        }
        return Existing(self._ledger.org_id, "", self._blueprints, held)

    async def look(self, wanted: Mapping[EntityKey, Collection[str]]) -> dict[EntityKey, ExistingEntity]:
        """See `TargetReader.look`."""
        ours = self._ledger.entities
        return {key: ExistingEntity(_fields(ours[key], paths)) for key, paths in wanted.items() if key in ours}

    async def whole(self, keys: Collection[EntityKey]) -> dict[EntityKey, ExistingEntity]:
        """See `TargetReader.whole`."""
        return await self.look({key: self._ledger.entities[key].fields for key in keys if key in self._ledger.entities})

    async def known(self, keys: Collection[EntityKey]) -> frozenset[EntityKey]:
        """All of them: none of them is known to be missing."""
        return frozenset(keys)

    async def edits(self, _keys: Collection[EntityKey]) -> dict[EntityKey, Edit]:
        """Nobody is known to have written anything."""
        return {}

    async def pointing_at(self, _blueprint: str, _relation: str, _targets: Collection[str]) -> None:
        """It is not told."""

    async def found(self, questions: Collection[Question]) -> dict[Question, tuple[str, ...] | str]:
        """None of them is answered."""
        return dict.fromkeys(questions, LATER)

    async def scorecards(self, _blueprint: str) -> tuple[Scorecard, ...] | None:
        """They are not told."""
        return None

    async def by_integration(
        self, _keys: Collection[EntityKey], _progress: Progress | None = None
    ) -> frozenset[EntityKey] | None:
        """It is not told."""
        return None


def _fields(entry: LedgerEntry, paths: Iterable[str]) -> dict[str, Json]:
    return {path: entry.fields.get(path) for path in paths}


def _blueprints(catalog: Catalog, ledger: Ledger) -> dict[str, Blueprint]:
    """The catalog's, with the parts that others must have put there: what is mapped or was written, and its targets."""
    parts: dict[str, dict[str, Json]] = {name: {} for name in (*catalog.blueprints, *_SYSTEM)}
    for rule in catalog.rules:
        if name := constant_blueprint(rule):
            parts.setdefault(name, {}).update(dict.fromkeys(rule.fields))
    for key, entry in ledger.entities.items():
        parts.setdefault(key.blueprint, {}).update(entry.fields)
    found = {name: _with(catalog.blueprints.get(name), name, some) for name, some in sorted(parts.items())}
    pointed = {str(relation["target"]) for each in found.values() for relation in each.relations.values()}
    return {name: Blueprint(name, {"identifier": name}) for name in sorted(pointed - {""})} | found


def _with(blueprint: Blueprint | None, name: str, fields: Fields) -> Blueprint:
    """A blueprint with the parts that such fields need, of which no more is known."""
    known = blueprint or Blueprint(name, {"identifier": name})
    properties, relations = dict(known.properties), dict(known.relations)
    for path, value in sorted(fields.items(), key=itemgetter(0)):
        part, _, own = path.partition(".")
        if part == "properties":
            properties.setdefault(own, {})
        elif part == "relations":
            relations.setdefault(own, {"target": "", "many": isinstance(value, list)})
    schema = {**(known.definition.get("schema") or {}), "properties": properties}
    return Blueprint(name, {**known.definition, "schema": schema, "relations": relations})
