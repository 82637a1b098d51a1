"""What waits for search queries to be answered -> entities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from pdsync.jq.problems import (
    SEARCHED_FIELD,
    SEARCHED_IDENTIFIER,
    SEARCHED_LATER,
    SEARCHED_NOTHING,
    SEARCHED_SEVERAL,
    Problems,
)
from pdsync.jq.program import IDENTIFIER
from pdsync.model import DesiredEntity, EntityKey, MappingRule
from pdsync.searching import Answer, Asked, Pending, Searched

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pdsync.model import Fields
    from pdsync.searching import Lookup

_CODES = {"none": SEARCHED_NOTHING, "several": SEARCHED_SEVERAL, "unknown": SEARCHED_FIELD}


@dataclass(slots=True)
class Waiting:
    """A rule, what it gave that waits for answers, and what then comes of that."""

    rule: MappingRule
    pending: Sequence[Pending]
    entities: list[DesiredEntity] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    problems: Problems = field(default_factory=Problems)


def settle(waiting: Sequence[Waiting], desired: Mapping[EntityKey, DesiredEntity], lookup: Lookup) -> None:
    """Fill in the entities, failures and problems of what waits.

    Identifiers come first, because what they name counts among the `desired` that other queries may find.
    """
    named = _named(waiting, desired, lookup)
    after = dict(desired)
    for _, key, pending in named:
        after[key] = _laid_over(after.get(key), key, pending)
    asked = {
        Asked(key.blueprint, path, value.query)
        for _, key, pending in named
        for path, value in pending.fields.items()
        if isinstance(value, Searched)
    }
    answers = lookup(sorted(asked), after) if asked else {}
    for each, key, pending in named:
        each.entities.append(_filled(each, key, pending, answers))


def _named(
    waiting: Sequence[Waiting], desired: Mapping[EntityKey, DesiredEntity], lookup: Lookup
) -> list[tuple[Waiting, EntityKey, Pending]]:
    """What has an identifier, or is found to have one."""
    asked = {
        Asked(pending.blueprint, IDENTIFIER, pending.identifier.query)
        for each in waiting
        for pending in each.pending
        if isinstance(pending.identifier, Searched)
    }
    answers = lookup(sorted(asked), desired) if asked else {}
    named = []
    for each in waiting:
        for pending in each.pending:
            identifier = _identifier(each, pending, answers)
            if identifier is not None:
                named.append((each, EntityKey(pending.blueprint, identifier), pending))
    return named


def _identifier(waiting: Waiting, pending: Pending, answers: Mapping[Asked, Answer]) -> str | None:
    if isinstance(pending.identifier, str):
        return pending.identifier
    answer = answers[Asked(pending.blueprint, IDENTIFIER, pending.identifier.query)]
    _note_later(waiting, IDENTIFIER, answer, pending.source)
    if answer.state == "found":
        return str(answer.value)
    _report(waiting, SEARCHED_IDENTIFIER, IDENTIFIER, answer, pending.source)
    waiting.failed.setdefault(pending.source, f"{IDENTIFIER}: {answer.told}")
    return None


def _laid_over(known: DesiredEntity | None, key: EntityKey, pending: Pending) -> DesiredEntity:
    """What is known so far of an entity that waits, with what other rules say of it."""
    fields = {path: value for path, value in pending.fields.items() if not isinstance(value, Searched)}
    if known is None:
        return DesiredEntity(key, fields, pending.rules, pending.source, pending.unknown)
    return DesiredEntity(key, {**known.fields, **fields}, known.rules + pending.rules, known.source, known.unknown)


def _filled(waiting: Waiting, key: EntityKey, pending: Pending, answers: Mapping[Asked, Answer]) -> DesiredEntity:
    fields: Fields = {}
    unknown = dict(pending.unknown)
    for path, value in pending.fields.items():
        if not isinstance(value, Searched):
            fields[path] = value
            continue
        answer = answers[Asked(key.blueprint, path, value.query)]
        _note_later(waiting, path, answer, pending.source)
        if code := _CODES.get(answer.state):
            _report(waiting, code, path, answer, pending.source)
        if answer.state in ("found", "none"):
            fields[path] = answer.value
        else:
            unknown[path] = answer.told
    return DesiredEntity(key, fields, pending.rules, pending.source, unknown)


def _note_later(waiting: Waiting, path: str, answer: Answer, source: str) -> None:
    if answer.later:
        told = "what this plan makes or changes may be found too, by values that only Port works out"
        _report(waiting, SEARCHED_LATER, path, replace(answer, told=told), source)


def _report(waiting: Waiting, code: str, path: str, answer: Answer, source: str) -> None:
    place = waiting.rule.identifier if path == IDENTIFIER else waiting.rule.fields[path]
    where, sort = f"{path} of {waiting.rule.id}", answer.state if code == SEARCHED_IDENTIFIER else ""
    waiting.problems.add(code, where, answer.told, place.origin, records=(source,), sort=sort)
