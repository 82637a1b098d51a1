"""Answering search queries: the identifiers that each finds now.

Queries that only ask for a property being equal to a text are asked many at once, as Port documents `in`, and told
apart by the values that come back.  Where these are not the texts that were asked for, each query is asked by itself.
"""

from __future__ import annotations

import json
from collections import defaultdict
from typing import TYPE_CHECKING, Protocol

from pdsync.errors import TargetError
from pdsync.searching import MOST, Question, single
from pdsync.targets.port.around import in_parts
from pdsync.targets.port.requests import refused, tasks

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence

    from pdsync.model import Json

    Pages = Callable[[str, Mapping[str, Json]], AsyncIterator[Sequence["Entity"]]]


class Entity(Protocol):
    """What is read of an entity that a search finds."""

    identifier: str
    title: Json
    properties: dict[str, Json] | None


_META = {"$identifier": "identifier", "$title": "title"}


async def answers(pages: Pages, questions: Collection[Question]) -> dict[Question, tuple[str, ...] | str]:
    """What each question finds, sorted; one more than `MOST` where there are more; or why Port does not answer it.

    `pages` gives the entities of a blueprint that a query finds.  Raises `TargetError` when Port cannot be reached.
    """
    grouped, alone = _grouped(questions)
    found: dict[Question, tuple[str, ...] | str] = {}
    async with tasks() as group:
        together = [group.create_task(_together(pages, *where, part)) for where, part in _parts(grouped)]
    for task in together:
        told, unclear = task.result()
        found |= told
        alone += unclear
    async with tasks() as group:
        asked = {question: group.create_task(_alone(pages, question)) for question in alone}
    return found | {question: task.result() for question, task in asked.items()}


def _grouped(
    questions: Collection[Question],
) -> tuple[dict[tuple[str, str], dict[str, list[Question]]], list[Question]]:
    """By blueprint and property, the questions by text; and those that are asked alone."""
    grouped: defaultdict[tuple[str, str], dict[str, list[Question]]] = defaultdict(lambda: defaultdict(list))
    alone = []
    for question in sorted(questions):
        asked = single(json.loads(question.query))
        if asked and asked[1] and (asked[0] in _META or not asked[0].startswith("$")):
            grouped[question.blueprint, asked[0]][asked[1]].append(question)
        else:
            alone.append(question)
    few = [where for where, by_text in grouped.items() if len(by_text) == 1]
    alone += [question for where in few for some in grouped.pop(where).values() for question in some]
    return dict(grouped), alone


def _parts(
    grouped: Mapping[tuple[str, str], dict[str, list[Question]]],
) -> list[tuple[tuple[str, str], dict[str, list[Question]]]]:
    return [
        (where, {text: by_text[text] for text in texts})
        for where, by_text in grouped.items()
        for texts in in_parts(by_text)
    ]


async def _together(
    pages: Pages, blueprint: str, name: str, asked: Mapping[str, list[Question]]
) -> tuple[dict[Question, tuple[str, ...] | str], list[Question]]:
    """What the questions about one property find; or the questions, where that cannot be told from the answer."""
    every = [question for some in asked.values() for question in some]
    rule = {"property": name, "operator": "in", "value": list(asked)}
    query = {"combinator": "and", "rules": [rule]}
    path = _META.get(name, f"properties.{name}")
    by_text: defaultdict[str, list[str]] = defaultdict(list)
    try:
        async for page in pages(blueprint, {"query": query, "include": sorted({"identifier", path})}):
            for entity in page:
                value = getattr(entity, path) if name in _META else (entity.properties or {}).get(name)
                if not isinstance(value, str) or value not in asked:
                    return {}, every
                by_text[value].append(entity.identifier)
    except TargetError as problem:
        if refused(problem) is None:
            raise
        return {}, every
    found = {text: tuple(sorted(by_text[text])) for text in asked}
    return {question: found[text] for text, some in asked.items() for question in some}, []


async def _alone(pages: Pages, question: Question) -> tuple[str, ...] | str:
    found: list[str] = []
    try:
        async for page in pages(question.blueprint, {"query": json.loads(question.query), "include": ["identifier"]}):
            found += [entity.identifier for entity in page]
            if len(found) > MOST:
                break
    except TargetError as problem:
        answer = refused(problem)
        if answer is None:
            raise
        return f"Port does not answer {question.query}: {problem}"
    return tuple(sorted(found))
