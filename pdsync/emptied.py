"""What is asked for about each record, and comes empty for some that had it: believed only once that lasts.

Nothing counts such values, and a list of them that shrank by half is not believed anyhow (`pdsync.completeness`): this
is about the others.  That nothing is left is so once snapshots have said it for as long as they must of a list.

Where no snapshot is kept, the ledger tells what records had: a field that is made from it and would change now.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pdsync.completeness import is_young
from pdsync.mapping import map_entities
from pdsync.model import Collection, Snapshot, sources_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from collections.abc import Set as AbstractSet
    from datetime import timedelta

    from pdsync.model import DesiredEntity, Ledger, LedgerEntry, MappingRule
    from pdsync.recordfile import KeptRecords

_GONE = "PagerDuty gave some before, and none since "
_NOTHING_THEN = ""
_OWN = "$"
"""What the names of a rule's own parts begin with: its selector, say, which decides whether there is an entity."""


def emptied(name: str, now: KeptRecords, before: Sequence[KeptRecords], at: str, least: timedelta) -> dict[str, str]:
    """Why it is not believed `at` a moment that an enrichment has nothing for some records, by id.

    `before` are the records as the last snapshot had them; what it could not read may have been there.
    """
    empty = _empty(name, now)
    since: dict[str, str] = {}
    for each in before if empty else ():
        for id_, moment in _since(name, each, empty, at):
            since[id_] = min(moment, since.get(id_, moment))
    return {id_: f"{_GONE}{moment}" for id_, moment in since.items() if _is_young(moment, at, least)}


def _empty(name: str, now: KeptRecords) -> set[str]:
    """The records for which an enrichment has nothing."""
    values = now.values(name)
    return set(values.ids).difference(values.given(), now.lacking(name))


def losing(
    name: str, now: KeptRecords, rules: Sequence[MappingRule], paths: AbstractSet[str], ledger: Ledger
) -> set[str]:
    """The records for which an enrichment has nothing and that had something, as what they are mapped to would change.

    `rules` map these records, to `paths` with what the enrichment has; `ledger` knows what came of that.
    """
    kind, empty = (rules[0].kind, _empty(name, now)) if paths else ("", set())
    had = {key: entry for key, entry in ledger.entities.items() if empty and _is_of(entry, kind, empty, paths)}
    ids = {id_ for entry in had.values() for id_ in _ids(entry, kind)} & empty
    if not ids:
        return set()
    some = tuple(record for record in now if record.id in ids)
    snapshot = Snapshot("", "", {query: Collection(query, some) for query in {rule.query for rule in rules}})
    made = map_entities(rules, snapshot).entities
    changed = (entry for key, entry in had.items() if _would_change(entry, made.get(key), paths))
    return {id_ for entry in changed for id_ in _ids(entry, kind)} & ids


def doubted_since(since: Mapping[str, str], at: str, least: timedelta) -> dict[str, str]:
    """Why it is not believed `at` a moment that these records have nothing, by id."""
    return {id_: f"{_GONE}{moment}" for id_, moment in since.items() if is_young(moment, at, least)}


def _ids(entry: LedgerEntry, kind: str) -> list[str]:
    """The records of a kind that an entity was made of."""
    parts = (source.partition("/") for source in sources_of(entry))
    return [id_ for of, _, id_ in parts if of == kind]


def _is_of(entry: LedgerEntry, kind: str, ids: AbstractSet[str], paths: AbstractSet[str]) -> bool:
    """Whether an entity was made of some of these records, and has something that may be made from an enrichment."""
    if ids.isdisjoint(_ids(entry, kind)):
        return False
    return any(path.startswith(_OWN) or path in entry.fields for path in paths)


def _would_change(entry: LedgerEntry, made: DesiredEntity | None, paths: AbstractSet[str]) -> bool:
    return made is None or any(path in entry.fields and made.fields.get(path) != entry.fields[path] for path in paths)


def _since(name: str, before: KeptRecords, ids: set[str], at: str) -> Iterator[tuple[str, str]]:
    """Since when there has been nothing for some records, as far as these tell."""
    reasons: Mapping[str, str] = before.lacking(name)
    values = before.values(name)
    nothing = set(values.ids).difference(values.given())
    for id_ in ids.intersection(before.rows.ids):
        if (reason := reasons.get(id_, "")).startswith(_GONE):
            yield id_, reason.removeprefix(_GONE)
        else:
            yield id_, _NOTHING_THEN if id_ in nothing else at


def _is_young(moment: str, at: str, least: timedelta) -> bool:
    if moment == _NOTHING_THEN:
        return False
    return is_young(moment, at, least)
