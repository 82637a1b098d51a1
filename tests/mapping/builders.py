"""Small rules and snapshots, written shortly."""

from __future__ import annotations

import json
from itertools import takewhile
from typing import TYPE_CHECKING

from pdsync.errors import Origin
from pdsync.jq.pool import Stop, Worker
from pdsync.jq.problems import OUT_OF_TIME
from pdsync.model import Collection, Expression, MappingRule, Query, Record, SearchQuery, Snapshot

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import pytest

    from pdsync.model import Json

FILE = "catalog/mappings/pagerduty.yaml"


def jq(text: str, line: int = 1) -> Expression:
    return Expression(text, Origin(FILE, line, 5, len(text), text))


def rule(
    fields: Mapping[str, str | SearchQuery] | None = None,
    *,
    kind: str = "services",
    identifier: str | SearchQuery = ".id",
    blueprint: str = '"service"',
    selector: str = "true",
    number: int = 0,
    items: str | None = None,
    items_name: str = "item",
    items_strip: bool = True,
    query: Query | None = None,
) -> MappingRule:
    """A rule; each expression stands on a line of its own, so that origins differ."""
    texts = fields or {}
    return MappingRule(
        id=f"{FILE}#{kind}[{number}]",
        kind=kind,
        query=query or Query(kind),
        selector=jq(selector, 1),
        identifier=jq(identifier, 2) if isinstance(identifier, str) else identifier,
        blueprint=jq(blueprint, 3),
        fields={
            path: jq(value, line) if isinstance(value, str) else value
            for line, (path, value) in enumerate(texts.items(), start=4)
        },
        origin=Origin(FILE, 1),
        items=jq(items, 9) if items else None,
        items_name=items_name,
        items_strip=items_strip,
    )


def record(content: Json | bytes, *, name: str = "PX1", unavailable: Mapping[str, str] | None = None) -> Record:
    raw = content if isinstance(content, bytes) else json.dumps(content).encode()
    return Record(name, raw, unavailable or {})


def snapshot(*contents: Json | bytes, kind: str = "services") -> Snapshot:
    """A snapshot of one kind, records named P0, P1, ..."""
    return snapshot_of({Query(kind): [record(content, name=f"P{n}") for n, content in enumerate(contents)]})


def snapshot_of(records: Mapping[Query, Sequence[Record]]) -> Snapshot:
    collections = {query: Collection(query, tuple(found)) for query, found in records.items()}
    return Snapshot("https://pagerduty.test", "2024-01-01T00:00:00Z", collections)


HEAVY = "[.heavy]"
"""Expressions whose text holds this do not end in time where several of them are evaluated together."""


def too_slow_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stop each record over which several `HEAVY` ones run at once.

    How many take longer than any bound, while one of them never does, is the machine's.
    """
    too_slow(monkeypatch, lambda program, _: program.count(HEAVY) > 1)


def too_slow(monkeypatch: pytest.MonkeyPatch, where: Callable[[str, Record], bool]) -> None:
    """Stop programs over these records, as a worker does whose time is up."""
    run = Worker.run

    def stopping(worker: Worker, program: str, records: Sequence[Record]) -> tuple[list[bytes], Stop | None]:
        before = list(takewhile(lambda each: not where(program, each), records))
        answers, stop = run(worker, program, before) if before else ([], None)
        over = len(before) < len(records)
        return answers, stop or (Stop(OUT_OF_TIME, "stopped after 5 s") if over else None)

    monkeypatch.setattr(Worker, "run", stopping)
