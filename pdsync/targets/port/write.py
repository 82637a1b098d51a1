"""Writing to Port: entities in bulk, blueprints one by one.

Entities are merged: keys that are not sent keep their value, null clears (Port API reference, Create an entity).
Missing relation targets are never created and dependents never deleted, whatever the server's defaults are.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, Literal

import orjson

from pdsync.errors import Interrupted, PdsyncError, TargetError
from pdsync.normal import blueprint_fields, entity_body, same, set_blueprint_path
from pdsync.targets import EntityWrite, WriteResult
from pdsync.targets.port.chunks import chunks
from pdsync.targets.port.paths import (
    BLUEPRINTS,
    blueprint_path,
    bulk_delete_path,
    bulk_upsert_path,
    entity_path,
    rename_path,
)
from pdsync.targets.port.problems import (
    HAS_DEPENDENTS,
    is_about_content,
    refusal,
    say,
    unreadable,
    without_effect,
)
from pdsync.targets.port.requests import ask, ask_object, is_absent, json_object, refused, tasks

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence

    from pdsync.model import Blueprint, Fields, Json
    from pdsync.transport import ApiClient

BULK_SIZE: Final = 20
"""Port API reference, Create multiple entities: 20 at most."""

BULK_BYTES: Final = 900 * 1024
"""Encoded bytes of entities in one request; a request may have 1 MiB."""

DELETE_SIZE: Final = 100
"""Port API reference, Delete multiple entities: 100 at most."""

SETTLING_SECONDS: Final = (1.0, 2.0, 4.0)
"""Deletes of entities may take a few seconds (Port API reference, Delete a blueprint): when to ask again."""

_MERGE: Final = {
    "upsert": "true",
    "merge": "true",
    "create_missing_related_entities": "false",
    "validation_only": "false",
}
_ALONE: Final = {"delete_dependents": "false"}
_SERVER_KEYS: Final = frozenset({"id", "_id", "createdAt", "createdBy", "updatedAt", "updatedBy"})
_NULL_ONLY_BY_PATCH: Final = frozenset({"title", "icon", "team"})
_RENAMES: Final = {
    "schema.properties.": ("properties", "newPropertyName"),
    "relations.": ("relations", "newRelationIdentifier"),
}
"""Path prefix: the part of the address that renames, and the key of the new name (Port API reference, Blueprints)."""


class PortWriter:
    """A Port organization, to be written to.  Every method but `create_blueprint` may be repeated to the same effect.

    Args:
        client: what requests are sent with.
        sleep: how to wait, in seconds.
    """

    def __init__(self, client: ApiClient, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        self._client = client
        self._sleep = sleep

    def stop(self) -> None:
        """Send nothing any more; what is in flight has five seconds."""
        self._client.stop()

    # --- entities

    def batches(self, writes: Sequence[EntityWrite]) -> list[tuple[EntityWrite, ...]]:
        """Split writes into requests: 20 entities and 900 KiB at most, in order, no entity twice in one."""
        return chunks(writes, most=BULK_SIZE, size=_encoded_size, budget=BULK_BYTES, key=lambda write: write.identifier)

    async def upsert(self, blueprint: str, batch: Sequence[EntityWrite]) -> list[WriteResult]:
        """Create or merge one batch; one result per write, in order.

        An entity that Port refuses has Port's message in its result, as have those of a request that got no answer,
        with the doubt that leaves.  Raises `TargetError` or `Interrupted` when that holds for all of the batch alike.
        """
        alone = [[n] for n, write in enumerate(batch) if _needs_patch(write)]
        merged = [n for n, write in enumerate(batch) if not _needs_patch(write)]
        parts = [*alone, merged] if merged else alone
        calls = [self._write(blueprint, [batch[n] for n in part]) for part in parts]
        results = await _in_parts([[batch[n].identifier for n in part] for part in parts], calls)
        order = [n for part in parts for n in part]
        return [result for _, result in sorted(zip(order, results, strict=True), key=lambda pair: pair[0])]

    async def delete(self, blueprint: str, identifiers: Sequence[str]) -> list[WriteResult]:
        """Delete entities without their dependents; one that is already gone counts as deleted.

        One result per identifier, in order; one that others require has Port's message.  Raises as `upsert` does.
        """
        parts = chunks(identifiers, most=DELETE_SIZE, size=_identifier_size, budget=BULK_BYTES, key=str)
        return await _in_parts(parts, [self._delete_together(blueprint, part) for part in parts])

    async def _write(self, blueprint: str, writes: Sequence[EntityWrite]) -> list[WriteResult]:
        try:
            if _needs_patch(writes[0]):
                return await self._patch(blueprint, writes[0])
            return await self._bulk(blueprint, writes)
        except TargetError as problem:
            answer = refused(problem)
            if answer is None or not is_about_content(answer):
                raise
            if len(writes) == 1:
                return [WriteResult(writes[0].identifier, refusal(answer))]
        middle = len(writes) // 2
        halves = (writes[:middle], writes[middle:])
        calls = [self._write(blueprint, half) for half in halves]
        results = await _in_parts([[write.identifier for write in half] for half in halves], calls)
        return results if answer.times_sent == 1 else [replace(result, there=False) for result in results]

    async def _patch(self, blueprint: str, write: EntityWrite) -> list[WriteResult]:
        """Title, icon and team can be emptied by PATCH alone."""
        body = entity_body(write.identifier, write.fields)
        del body["identifier"]
        params = {"create_missing_related_entities": "false"}
        await ask(
            self._client,
            "PATCH",
            entity_path(blueprint, write.identifier),
            params=params,
            body=orjson.dumps(body),
        )
        return [WriteResult(write.identifier)]

    async def _bulk(self, blueprint: str, writes: Sequence[EntityWrite]) -> list[WriteResult]:
        path = bulk_upsert_path(blueprint)
        body = orjson.dumps({"entities": [_body(write) for write in writes]})
        reply = await ask(self._client, "POST", path, params=_MERGE, body=body)
        answer = json_object(reply, "POST", path)
        errors = {failed.get("index"): failed for failed in _objects(answer.get("errors"))}
        stored = {each.get("index"): each for each in _objects(answer.get("entities"))}
        results = [_result(write, errors.get(index), stored.get(index)) for index, write in enumerate(writes)]
        return results if reply.times_sent == 1 else [replace(result, there=False) for result in results]

    async def _delete_together(self, blueprint: str, identifiers: Sequence[str]) -> list[WriteResult]:
        """Delete in one request; what that leaves behind, one by one, so that each failure names its entity."""
        body = {"entities": list(identifiers)}
        try:
            answer = await ask_object(self._client, "POST", bulk_delete_path(blueprint), params=_ALONE, body=body)
            deleted = {identifier for identifier in answer.get("deletedEntities") or () if isinstance(identifier, str)}
        except TargetError as problem:
            refusing = refused(problem)
            if refusing is None or not is_about_content(refusing):
                raise
            deleted = set()
        singly = await self._delete_singly(blueprint, [i for i in identifiers if i not in deleted])
        return [singly.get(identifier) or WriteResult(identifier) for identifier in identifiers]

    async def _delete_singly(self, blueprint: str, identifiers: Sequence[str]) -> dict[str, WriteResult]:
        """Delete in the order given; the results by identifier.

        When a request gets no answer, or not from somebody who lets us delete, no more are tried.
        """
        results: dict[str, WriteResult] = {}
        for position, identifier in enumerate(identifiers):
            try:
                results[identifier] = WriteResult(identifier, await self._delete_alone(blueprint, identifier))
            except PdsyncError as problem:
                untried = {i: WriteResult(i, str(problem), "unsent") for i in identifiers[position + 1 :]}
                return {**results, identifier: _without_result(identifier, problem), **untried}
        return results

    async def _delete_alone(self, blueprint: str, identifier: str) -> str:
        """Delete one entity; why Port refuses, if it does."""
        try:
            await ask(self._client, "DELETE", entity_path(blueprint, identifier), params=_ALONE)
        except TargetError as problem:
            answer = refused(problem)
            if answer is None or not is_about_content(answer):
                raise
            return "" if is_absent(problem) else refusal(answer)
        return ""

    # --- blueprints

    async def create_blueprint(self, blueprint: Blueprint) -> None:
        """Create a blueprint as given, without a catalog page.

        One that a repeat of the request finds, with all that is given, counts as created.  Raises `TargetError`, also
        when it is there at once: then somebody else has made it, or an older run.
        """
        body = _writable({**blueprint.definition, "identifier": blueprint.identifier})
        try:
            await ask(self._client, "POST", BLUEPRINTS, params={"create_catalog_page": "false"}, body=body)
        except TargetError as problem:
            answer = refused(problem)
            if answer is None or answer.status != HTTPStatus.CONFLICT or answer.times_sent == 1:
                raise
            there = blueprint_fields(await self._blueprint(blueprint.identifier))
            given = blueprint_fields(body)
            if not all(same(there.get(path), value) for path, value in given.items()):
                raise

    async def change_blueprint(self, identifier: str, changes: Fields) -> None:
        """Set (or with None remove) paths of a blueprint; everything else stays as Port has it at this moment.

        The whole blueprint is replaced, because only that removes; a system blueprint, which cannot be, is patched
        with the parts that change.  Raises `TargetError`, also when Port keeps what was to be removed.
        """
        before = await self._blueprint(identifier)
        after = orjson.loads(orjson.dumps(before))
        for path, value in changes.items():
            set_blueprint_path(after, path, value)
        if same(blueprint_fields(before), blueprint_fields(after)):
            return
        if not identifier.startswith("_"):
            await ask(self._client, "PUT", blueprint_path(identifier), body=_writable(after))
            return
        parts = {path.partition(".")[0] for path in changes}
        body = {part: after.get(part) for part in sorted(parts)}
        await ask(self._client, "PATCH", blueprint_path(identifier), body=body)
        await self._check_removed(identifier, [path for path, value in changes.items() if value is None])

    async def rename_part(self, identifier: str, path: str, to: str) -> None:
        """Rename a property or relation; one that has the new name already, and no longer the old, counts as renamed.

        Raises `TargetError`.
        """
        prefix = next(prefix for prefix in _RENAMES if path.startswith(prefix))
        part, key = _RENAMES[prefix]
        old, new = path.removeprefix(prefix), to.removeprefix(prefix)
        try:
            await ask(self._client, "PATCH", rename_path(identifier, part, old), body={key: new})
        except TargetError as problem:
            if refused(problem) is None:
                raise
            there = blueprint_fields(await self._blueprint(identifier))
            if path in there or to not in there:
                raise

    async def delete_blueprint(self, identifier: str) -> None:
        """Delete a blueprint; one that is already gone counts as deleted.

        While its last entities are still being deleted Port refuses, so a refusal is believed after some seconds.
        Raises `TargetError`.
        """
        for pause in (*SETTLING_SECONDS, None):
            try:
                await ask(self._client, "DELETE", blueprint_path(identifier))
            except TargetError as problem:
                if is_absent(problem):
                    return
                answer = refused(problem)
                if pause is None or answer is None or answer.code != HAS_DEPENDENTS:
                    raise
                await self._sleep(pause)
            else:
                return

    async def _blueprint(self, identifier: str) -> dict[str, Json]:
        path = blueprint_path(identifier)
        found = (await ask_object(self._client, "GET", path)).get("blueprint")
        if not isinstance(found, dict):
            raise unreadable(f"GET {path}", "no blueprint in it")
        return found

    async def _check_removed(self, identifier: str, paths: Sequence[str]) -> None:
        if not paths:
            return
        there = blueprint_fields(await self._blueprint(identifier))
        if kept := [path for path in paths if path in there]:
            raise without_effect(identifier, kept)


async def _in_parts(
    parts: Sequence[Sequence[str]], calls: Sequence[Coroutine[None, None, list[WriteResult]]]
) -> list[WriteResult]:
    """Do all calls and join their results; `parts` are the identifiers that each is about.

    A call that raises is a problem of its own identifiers alone; if all raise alike, the first problem is raised.
    """
    async with tasks() as group:
        attempts = [group.create_task(_attempt(call)) for call in calls]
    outcomes = [attempt.result() for attempt in attempts]
    problems = [outcome for outcome in outcomes if isinstance(outcome, PdsyncError)]
    if len(problems) == len(outcomes) and len(set(map(_doubt, problems))) == 1:
        raise problems[0]
    return [
        result
        for part, outcome in zip(parts, outcomes, strict=True)
        for result in ([_without_result(i, outcome) for i in part] if isinstance(outcome, PdsyncError) else outcome)
    ]


async def _attempt(call: Coroutine[None, None, list[WriteResult]]) -> list[WriteResult] | PdsyncError:
    try:
        return await call
    except PdsyncError as problem:  # refusals, silence, and being stopped
        return problem


def _without_result(identifier: str, problem: PdsyncError) -> WriteResult:
    return WriteResult(identifier, str(problem), _doubt(problem))


def _doubt(problem: PdsyncError) -> Literal["", "unknown", "unsent"]:
    if isinstance(problem, Interrupted):
        return "unsent"
    return "unknown" if isinstance(problem, TargetError) and problem.doubtful else ""


def _needs_patch(write: EntityWrite) -> bool:
    return not write.create and any(write.fields.get(path, "") is None for path in _NULL_ONLY_BY_PATCH)


def _body(write: EntityWrite) -> dict[str, Json]:
    """An entity as sent in bulk.

    A new one has nothing to clear, so nulls are left out; but for properties, where a null keeps Port from filling
    in the default.
    """
    if not write.create:
        return entity_body(write.identifier, write.fields)
    said = {path: v for path, v in write.fields.items() if v is not None or path.startswith("properties.")}
    return entity_body(write.identifier, said)


def _encoded_size(write: EntityWrite) -> int:
    return len(orjson.dumps(_body(write))) + 1


def _identifier_size(identifier: str) -> int:
    return len(orjson.dumps(identifier)) + 1


def _result(write: EntityWrite, failed: Mapping[str, Json] | None, stored: Mapping[str, Json] | None) -> WriteResult:
    """What became of one entity of a bulk request; nobody knows that of one that the answer does not speak of.

    Port makes an entity that was to be changed and is not there any more, with no more than the change has; and merges
    into one that was to be made and is there, which it tells.
    """
    if failed is not None:
        problem = str(failed.get("error", "")), str(failed.get("message", ""))
        return WriteResult(write.identifier, say(failed.get("statusCode", "no status"), *problem))
    if stored is None:
        return WriteResult(write.identifier, "no result for this entity in Port's answer", "unknown")
    if stored.get("created") is False:
        return WriteResult(write.identifier, there=write.create)
    return WriteResult(write.identifier, _HALF_MADE if stored.get("created") is True and not write.create else "")


_HALF_MADE: Final = (
    "somebody deleted it while it was being written, so Port made it anew with these fields alone; "
    "plan again to complete it"
)


def _objects(value: Json) -> list[dict[str, Json]]:
    return [element for element in value if isinstance(element, dict)] if isinstance(value, list) else []


def _writable(definition: Mapping[str, Json]) -> dict[str, Json]:
    """A blueprint's JSON without what only the server writes; parts that are null are left out."""
    return {key: value for key, value in definition.items() if key not in _SERVER_KEYS and value is not None}
