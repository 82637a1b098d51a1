"""What a plan asks of Port beyond the entities that it reads whole, for what it is about to adopt or to remove.

All of it only adds to a plan: where Port does not answer, or answers what nobody has promised, it is not known, and
the plan says so.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from pdsync.errors import TargetError
from pdsync.model import EntityKey, Scorecard
from pdsync.targets.port.chunks import chunks
from pdsync.targets.port.paths import SEARCH, scorecards_path
from pdsync.targets.port.problems import unreadable
from pdsync.targets.port.requests import ask_object, refused, tasks

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from pdsync.model import Json
    from pdsync.targets import Progress
    from pdsync.transport import ApiClient

INTEGRATION: Final = "port-ocean/pagerduty/"
"""What the datasource of an entity begins with that Port's PagerDuty integration wrote last (Ocean, user agents)."""

AT_ONCE: Final = 200
BYTES: Final = 512 * 1024
_NOT_TAKEN: Final = frozenset({HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND, HTTPStatus.UNPROCESSABLE_ENTITY})


async def by_integration(
    client: ApiClient, keys: Collection[EntityKey], progress: Progress | None = None
) -> frozenset[EntityKey] | None:
    """Those of `keys` that Port's own PagerDuty integration wrote last; None when Port does not tell.

    The integration itself asks so, by a search over all blueprints, but no document of Port's speaks of `$datasource`.
    So nothing is concluded from a refusal, nor from an answer that cannot be meant: an entity that both has and has not
    this datasource.
    """
    parts = [(name, part) for name, some in by_blueprint(keys).items() for part in in_parts(some)]
    done = 0

    async def written(name: str, part: tuple[str, ...]) -> set[str]:
        nonlocal done
        found = await _written(client, name, part, "contains")
        done += len(part)
        if progress:
            progress("who wrote what is adopted", done, len(keys))
        return found

    try:
        async with tasks() as group:
            asked = [group.create_task(written(name, part)) for name, part in parts]
        found = [task.result() for task in asked]
        first = next((n for n, some in enumerate(found) if some), None)
        if first is not None and await _written(client, parts[first][0], sorted(found[first]), "doesNotContains"):
            return None
    except TargetError as problem:
        if not is_refusal(problem):
            raise
        return None
    return frozenset(EntityKey(name, i) for (name, _), some in zip(parts, found, strict=True) for i in some)


async def _written(client: ApiClient, blueprint: str, identifiers: Iterable[str], operator: str) -> set[str]:
    asked = list(identifiers)
    rules = [
        {"property": "$blueprint", "operator": "=", "value": blueprint},
        {"property": "$identifier", "operator": "in", "value": asked},
        {"property": "$datasource", "operator": operator, "value": INTEGRATION},
    ]
    params = (("exclude_calculated_properties", "true"), ("include", "identifier"), ("include", "blueprint"))
    answer = await ask_object(client, "POST", SEARCH, params=params, body={"combinator": "and", "rules": rules})
    return {identifier for identifier in _identifiers(answer) if identifier in asked}


def is_refusal(problem: TargetError) -> bool:
    """Whether it is the question that Port does not take, and not the moment or who asks."""
    answer = refused(problem)
    return answer is not None and answer.status in _NOT_TAKEN


async def scorecards(client: ApiClient, blueprint: str) -> tuple[Scorecard, ...] | None:
    """The scorecards of a blueprint; None when the credentials may not read them, or the answer holds none.

    No document says how they are returned: the first list of objects in the answer is taken for them.
    """
    try:
        answer = await ask_object(client, "GET", scorecards_path(blueprint))
    except TargetError as problem:
        reply = refused(problem)
        if reply is None or reply.status not in _NOT_TAKEN | {HTTPStatus.FORBIDDEN}:
            raise
        return None
    lists = [part for part in answer.values() if isinstance(part, list) and all(isinstance(e, dict) for e in part)]
    return tuple(_scorecard(body) for body in lists[0]) if lists else None


def _scorecard(body: dict[str, Json]) -> Scorecard:
    return Scorecard(str(body.get("identifier") or ""), frozenset(_read_by([body.get("filter"), body.get("rules")])))


def _read_by(part: Json) -> Iterator[str]:
    """The properties and relations that conditions speak of, however deep."""
    if isinstance(part, list):
        for inner in part:
            yield from _read_by(inner)
    elif isinstance(part, dict):
        yield from (str(part[key]) for key in ("property", "relation") if isinstance(part.get(key), str))
        for inner in part.values():
            yield from _read_by(inner)


def _identifiers(answer: dict[str, Json]) -> list[str]:
    entities = answer.get("entities")
    if not isinstance(entities, list) or not all(isinstance(e, dict) and "identifier" in e for e in entities):
        raise unreadable(f"POST {SEARCH}", "no entities in it")
    return [str(entity["identifier"]) for entity in entities]


def by_blueprint(keys: Collection[EntityKey]) -> dict[str, list[str]]:
    """Identifiers by blueprint, both sorted."""
    grouped: dict[str, list[str]] = {}
    for key in sorted(set(keys)):
        grouped.setdefault(key.blueprint, []).append(key.identifier)
    return grouped


def in_parts(identifiers: Iterable[str]) -> list[tuple[str, ...]]:
    """As many identifiers as one search is asked for."""
    return chunks(identifiers, most=AT_ONCE, size=lambda text: len(text.encode()), budget=BYTES, key=str)
