"""What several rules give of one entity, put together; or why that cannot be.

    several rules, of one record or of several    one entity, unless they give one path different values
    one rule, several times                       one entity if each time says the same, else the identifier is none

A value that one rule could not find out is not known at all: it might be another one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import orjson

from pdsync.jq.problems import COLLISION, DISAGREEMENT, Problems
from pdsync.model import DesiredEntity, Portion

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pdsync.errors import Diagnostic
    from pdsync.model import EntityKey, Json, MappingRule

_NAMED = 5
_MOST_SHOWN = 60


@dataclass(frozen=True, slots=True)
class Clash:
    """What claims one key and cannot be one entity.

    `repeated` is what a rule gives several times and not alike; where there is none, `disagreeing` has the paths about
    which rules disagree, each with what speaks of it.
    """

    claims: tuple[DesiredEntity, ...]
    repeated: tuple[DesiredEntity, ...]
    disagreeing: Mapping[str, Sequence[DesiredEntity]]

    @property
    def reason(self) -> str:
        """Why the entity is left as it is."""
        if self.disagreeing:
            return f"its mappings disagree about {', '.join(self.disagreeing)}"
        sources = _sources(self.repeated)
        more = f" and {len(sources) - _NAMED} more" if len(sources) > _NAMED else ""
        named = ", ".join(sources[:_NAMED]) + more
        return f"claimed by {named}" if len(sources) > 1 else f"claimed several times by {named}"


class Claims:
    """What all rules give, by key."""

    def __init__(self) -> None:
        self._first: dict[EntityKey, DesiredEntity] = {}
        self._several: dict[EntityKey, list[DesiredEntity]] = {}

    def add(self, entity: DesiredEntity) -> None:
        """Take what one rule gives."""
        first = self._first.setdefault(entity.key, entity)
        if first is not entity:
            self._several.setdefault(entity.key, [first]).append(entity)

    def joined(self) -> tuple[dict[EntityKey, DesiredEntity], dict[EntityKey, Clash]]:
        """The entities, each key once, and what clashes instead, sorted."""
        if not self._several:
            return self._first, {}
        entities, clashes = dict(self._first), {}
        for key, claims in sorted(self._several.items()):
            outcome = _joined(claims)
            if isinstance(outcome, Clash):
                clashes[key] = outcome
                del entities[key]
            else:
                entities[key] = outcome
        return entities, clashes


def _joined(claims: Sequence[DesiredEntity]) -> DesiredEntity | Clash:
    by_rule: dict[str, list[DesiredEntity]] = {}
    for claim in claims:
        by_rule.setdefault(claim.rules[0], []).append(claim)
    repeated = [said for said in by_rule.values() if any(not _alike(said[0], other) for other in said[1:])]
    distinct = [said[0] for said in by_rule.values()]
    disagreeing = {} if repeated else _disagreeing(distinct)
    if repeated or disagreeing:
        return Clash(tuple(claims), tuple(claim for said in repeated for claim in said), disagreeing)
    return distinct[0] if len(distinct) == 1 else _merged(distinct)


def _alike(one: DesiredEntity, other: DesiredEntity) -> bool:
    return one.unknown.keys() == other.unknown.keys() and _equal(one.fields, other.fields)


def _disagreeing(claims: Sequence[DesiredEntity]) -> dict[str, list[DesiredEntity]]:
    speaking: dict[str, list[DesiredEntity]] = {}
    for claim in claims:
        for path in claim.fields:
            speaking.setdefault(path, []).append(claim)
    return {
        path: [first, *others]
        for path, (first, *others) in speaking.items()
        if any(not _equal(first.fields[path], other.fields[path]) for other in others)
    }


def _merged(claims: Sequence[DesiredEntity]) -> DesiredEntity:
    """Rules that do not disagree as one entity."""
    unknown = {path: why for claim in claims for path, why in claim.unknown.items()}
    fields = {path: value for claim in claims for path, value in claim.fields.items() if path not in unknown}
    sources = sorted(_sources(claims))
    if len(sources) == 1:
        rules = tuple(claim.rules[0] for claim in claims)
        return DesiredEntity(claims[0].key, fields, rules, sources[0], unknown)
    portions = tuple(_portion(source, [claim for claim in claims if claim.source == source]) for source in sources)
    rules = tuple(rule for portion in portions for rule in portion.rules)
    return DesiredEntity(claims[0].key, fields, rules, sources[0], unknown, portions)


def _portion(source: str, claims: Iterable[DesiredEntity]) -> Portion:
    paths = {path for claim in claims for path in (*claim.fields, *claim.unknown)}
    return Portion(source, tuple(claim.rules[0] for claim in claims), tuple(sorted(paths)))


# --- what is said of a clash -------------------------------------------------------------------------------------


def problems_of(rules: Sequence[MappingRule], clashes: Mapping[EntityKey, Clash]) -> tuple[Diagnostic, ...]:
    """One diagnostic for each set of rules that clash in a blueprint, or about a path of it."""
    by_id = {rule.id: rule for rule in rules}
    problems = Problems()
    for key, clash in clashes.items():
        if clash.repeated:
            _say_collision(problems, key, clash.repeated, by_id)
        for path, claims in clash.disagreeing.items():
            _say_disagreement(problems, key, path, claims, by_id)
    return problems.diagnostics()


def _say_collision(
    problems: Problems, key: EntityKey, claims: Sequence[DesiredEntity], by_id: Mapping[str, MappingRule]
) -> None:
    ids = _rules(claims)
    first, *others = (by_id[rule].identifier.origin for rule in ids)
    place = f"{key.blueprint}, identifier of {' and '.join(sorted(ids))}"
    message = f"{key}, {_differing(claims)}"
    problems.add(COLLISION, place, message, first, records=tuple(_sources(claims)), related=tuple(others))


def _say_disagreement(
    problems: Problems,
    key: EntityKey,
    path: str,
    claims: Sequence[DesiredEntity],
    by_id: Mapping[str, MappingRule],
) -> None:
    ids, sources = _rules(claims), _sources(claims)
    first, *others = (by_id[rule].fields[path].origin for rule in ids)
    saying: dict[str, list[str]] = {}
    for claim in claims:
        saying.setdefault(_shown(claim.fields[path]), []).append(claim.source)
    # Of which record each value is, unless there is only one.
    values = [v if len(sources) == 1 else f"{v} of {' and '.join(dict.fromkeys(of))}" for v, of in saying.items()]
    place = f"{key.blueprint}, {path} of {' and '.join(sorted(ids))}"
    message = f"{key}, {' or '.join(values)}"
    problems.add(DISAGREEMENT, place, message, first, records=tuple(sources), related=tuple(others))


def _differing(claims: Sequence[DesiredEntity]) -> str:
    """In which fields claims of one rule differ."""
    one = claims[0]
    paths = dict.fromkeys(path for claim in claims for path in (*claim.fields, *claim.unknown))
    differing = [path for path in paths if any(not _equal(one.fields.get(path), c.fields.get(path)) for c in claims)]
    more = f" and {len(differing) - _NAMED} more" if len(differing) > _NAMED else ""
    return f"different {', '.join(differing[:_NAMED])}{more}"


def _rules(claims: Iterable[DesiredEntity]) -> list[str]:
    return list(dict.fromkeys(claim.rules[0] for claim in claims))


def _sources(claims: Iterable[DesiredEntity]) -> list[str]:
    return list(dict.fromkeys(claim.source for claim in claims))


def _shown(value: Json) -> str:
    text = orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}..."


def _equal(one: Json, other: Json) -> bool:
    """Equality of JSON: Python takes true for 1."""
    return one == other and orjson.dumps(one, option=orjson.OPT_SORT_KEYS) == orjson.dumps(
        other, option=orjson.OPT_SORT_KEYS
    )
