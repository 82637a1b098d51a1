"""Asking Port whether it would take entities, without storing any (`validation_only`; Port API reference, Bulk upsert).

Nothing here can be made to write: the parameter that keeps Port from storing is a constant of the request.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pdsync.errors import TargetError
from pdsync.normal import entity_body
from pdsync.targets.port.chunks import chunks
from pdsync.targets.port.paths import bulk_upsert_path
from pdsync.targets.port.problems import refusal, say
from pdsync.targets.port.requests import ask_object, refused, tasks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pdsync.model import Json
    from pdsync.targets import EntityWrite
    from pdsync.transport import ApiClient

AT_ONCE: Final = 20
BYTES: Final = 900 * 1024
_ONLY_ASKED: Final = {
    "upsert": "true",
    "merge": "true",
    "create_missing_related_entities": "false",
    "validation_only": "true",
}
_ABOUT_CONTENT: Final = frozenset({400, 404, 409, 413, 422})


async def refusals(client: ApiClient, blueprint: str, writes: Sequence[EntityWrite]) -> dict[str, str]:
    """Identifier -> Port's message, for each of these entities that it would refuse.  Raises `TargetError`."""
    parts = chunks(writes, most=AT_ONCE, size=_size, budget=BYTES, key=lambda write: write.identifier)
    async with tasks() as group:
        asked = [group.create_task(_asked(client, blueprint, part)) for part in parts]
    return {identifier: why for task in asked for identifier, why in task.result().items()}


async def _asked(client: ApiClient, blueprint: str, writes: Sequence[EntityWrite]) -> dict[str, str]:
    body = {"entities": [_body(write) for write in writes]}
    try:
        answer = await ask_object(client, "POST", bulk_upsert_path(blueprint), params=_ONLY_ASKED, body=body)
    except TargetError as problem:
        why = refused(problem)
        if why is None or why.status not in _ABOUT_CONTENT:
            raise
        if len(writes) == 1:
            return {writes[0].identifier: refusal(why)}
        middle = len(writes) // 2
        halves = [await _asked(client, blueprint, half) for half in (writes[:middle], writes[middle:])]
        return halves[0] | halves[1]
    errors = answer.get("errors") or []
    return {writes[one["index"]].identifier: _said(one) for one in errors if _names_one(one, len(writes))}


def _names_one(failed: Json, count: int) -> bool:
    return isinstance(failed, dict) and isinstance(failed.get("index"), int) and 0 <= failed["index"] < count


def _said(failed: dict[str, Json]) -> str:
    return say(failed.get("statusCode", "no status"), str(failed.get("error", "")), str(failed.get("message", "")))


def _body(write: EntityWrite) -> dict[str, Json]:
    """What is to be emptied is left out: some of it can be emptied in no bulk request, and none of it is refused."""
    return entity_body(write.identifier, {path: value for path, value in write.fields.items() if value is not None})


def _size(write: EntityWrite) -> int:
    return len(repr(_body(write)))
