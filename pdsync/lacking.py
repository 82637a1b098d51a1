"""Enrichments that could not be read, as far as somebody maps them: what a plan does not know, and why."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from pdsync.jq.reading import mention, takes_all
from pdsync.model import Expression, SearchQuery, Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pdsync.model import Collection, Json, MappingRule, Snapshot

NO_ENRICHMENT = "PD330"
"""The code of a collection's note that an enrichment could not be read."""


def unavailable_in(rules: Sequence[MappingRule], snapshot: Snapshot) -> tuple[Unavailable, ...]:
    """What could not be read although a mapping reads it, by kind, enrichment and reason."""
    records: defaultdict[tuple[str, str, str], set[str]] = defaultdict(set)
    paths: defaultdict[tuple[str, str, str], set[str]] = defaultdict(set)
    every: defaultdict[str, set[str]] = defaultdict(set)
    for rule in rules:
        collection = snapshot.collections.get(rule.query)
        if collection is None or not _has_gaps(collection):
            continue
        read = {name: paths_with(rule, name) for name, _ in rule.query.enrich}
        every[rule.kind].update(record.id for record in collection.records)
        for record in collection.records:
            for name, reason in record.unavailable.items():
                if read.get(name):
                    records[rule.kind, name, reason].add(record.id)
                    paths[rule.kind, name, reason].update(read[name])
    return tuple(
        Unavailable(kind, name, reason, len(ids), len(every[kind]), tuple(sorted(paths[kind, name, reason])))
        for (kind, name, reason), ids in sorted(records.items())
    )


def _has_gaps(collection: Collection) -> bool:
    return any(note.code == NO_ENRICHMENT for note in collection.notes)


def paths_with(rule: MappingRule, name: str) -> list[str]:
    """What of a rule reads an enrichment: paths of fields, and its own parts under `$` names."""
    own = {
        "$selector": rule.selector,
        "$identifier": rule.identifier,
        "$blueprint": rule.blueprint,
        "$items": rule.items,
    }
    found = mention(name)
    named = [path for path, part in own.items() if any(map(found.search, _texts(part)))]
    fields = rule.fields.items()
    return named + [path for path, part in fields if any(found.search(t) or takes_all(t) for t in _texts(part))]


def _texts(part: Expression | SearchQuery | Json) -> Iterator[str]:
    """The expressions in a part of a rule."""
    if isinstance(part, Expression):
        yield part.text
    elif isinstance(part, SearchQuery):
        yield from _texts(part.rules)
    elif isinstance(part, dict | list | tuple):
        for inner in part.values() if isinstance(part, dict) else part:
            yield from _texts(inner)
