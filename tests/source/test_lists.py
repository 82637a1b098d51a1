"""Every list of PagerDuty: the table against the specification, and read from a server made from it."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from pdsync.kinds import KINDS, PARENT, Kind, Param, read_selector
from pdsync.sandbox.world import World
from pdsync.sources.pagerduty import open_pagerduty
from tests.source.asking import fetch, only
from tests.source.loopback import TOKEN, FakeTime, Tape, serving, staging
from tests.source.served import PAGING, Lists, lists

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pdsync.model import Collection, Query, Snapshot

LISTED = [kind for kind in KINDS.values() if not kind.inside]
NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)


def asked(kind: str, params: dict[str, Any] | None = None) -> Query:
    """The query of a kind with what must be given, and more."""
    required = {param.name: _example(param) for param in KINDS[kind].params if param.required}
    query, problems = read_selector(kind, {"apiQueryParams": {**required, **(params or {})}})
    assert query is not None, problems
    return query


def _example(param: Param) -> Any:
    if param.type in {"texts", "choices"}:
        return [param.allowed[0] if param.allowed else "PX1"]
    examples = {"since": "3d", "until": "-1d", "zone": "UTC", "flag": True, "number": 2, "text": "x"}
    return param.allowed[0] if param.type == "choice" else examples.get(param.type, "created_at:desc")


def read(url: str, *queries: Query) -> Snapshot:
    async def main() -> Snapshot:
        async with open_pagerduty(url, token=TOKEN, now=lambda: NOW, timing=FakeTime().timing()) as source:
            return await source.fetch(queries)

    return asyncio.run(main())


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[Lists, Tape, str]]:
    app = Lists()
    tape = Tape(app)
    with serving(tape) as url:
        yield app, tape, url


def uids(collection: Collection) -> list[str]:
    records = [json.loads(record.raw) for record in collection.records]
    return sorted(record["uid"] if isinstance(record, dict) else record for record in records)


def rows(app: Lists, kind: Kind) -> list[str]:
    """What the specification has of a kind, under all of its parents."""
    paths = [*app.paths(kind.path), *([KINDS[kind.also].path] if kind.also else [])]
    return [row["uid"] for path in paths for row in app.rows(path)]


def test_every_list_is_read_whole(served: tuple[Lists, Tape, str]) -> None:
    """All rows of every list under all of its parents, each once, as the specification has them, nothing refused."""
    app, _, url = served
    app.refusals.clear()
    snapshot = read(url, *(asked(kind.name) for kind in LISTED))
    read_ = {kind.name: snapshot.collections[asked(kind.name)] for kind in LISTED}
    assert {name: each.problem for name, each in read_.items() if each.problem} == {}
    assert app.refusals == []
    for kind in LISTED:
        assert (kind.name, uids(read_[kind.name])) == (kind.name, sorted(rows(app, kind)))
        assert (kind.name, len({r.id for r in read_[kind.name].records})) == (kind.name, len(rows(app, kind)))


@pytest.mark.parametrize("kind", [kind for kind in KINDS.values() if kind.params], ids=lambda kind: kind.name)
def test_every_filter_is_one_that_the_specification_knows(served: tuple[Lists, Tape, str], kind: Kind) -> None:
    """All selector keys at once, each with a value that it allows, are taken by a server that is strict."""
    app, _, url = served
    app.refusals.clear()
    everything = {param.name: _example(param) for param in kind.params if param.wire != "date_range"}
    collection = next(iter(read(url, asked(kind.name, everything)).collections.values()))
    assert collection.problem is None
    assert app.refusals == []


@pytest.mark.parametrize("kind", LISTED, ids=lambda kind: kind.name)
def test_the_table_says_what_the_specification_says(kind: Kind) -> None:
    """Filters and their values, required ones, headers, key of the rows, paging, scope: none missing, none made up."""
    row = lists()[kind.name]
    assert (kind.method, kind.path) == (row["method"], row["path"])
    assert kind.rows in row["rows"] or kind.rows == "{entity_type}"
    assert dict(kind.headers) == row.get("headers", {})
    assert {kind.scope} - {""} == set(row.get("scopes", ()))
    parameters = {each["name"]: each for each in row.get("parameters", ())}
    sent = {param.wire: param for param in kind.params if not param.wire.startswith("{")}
    if kind.method == "GET":
        assert sent.keys() == parameters.keys() - PAGING
        assert {name for name, param in sent.items() if param.required} == {
            name for name, each in parameters.items() if each.get("required")
        }
        for name, param in sent.items():
            assert param.type == "sorting" or sorted(param.allowed) == sorted(parameters[name].get("enum", ()))
        paged = {"classic": "offset", "cursor": "cursor", "after": "after"}.get(kind.paging)
        assert paged in parameters if paged else not {"offset", "cursor"} & parameters.keys()
        assert (kind.page_size > 0) == ("limit" in parameters)
        assert kind.counted <= ("total" in parameters) or kind.paging != "classic"
    else:
        body = row["body"]
        named = {f"filters.{name}" for name in body["filters"]} | (
            body.keys() - {"filters", "limit", "starting_after", "ending_before"}
        )
        assert {name.removesuffix("[]") for name in sent} == named
        assert (kind.paging == "post") == ("last" in row["told"] if "told" in row else False)


def test_the_table_has_every_list() -> None:
    """A hundred and twenty-one with GET, those of analytics with POST; no other is made up."""
    assert {kind.name for kind in LISTED} == lists().keys()
    assert sum(kind.method == "GET" for kind in LISTED) == 121


def test_integrations_are_read_with_their_services() -> None:
    """There is no list of them: they come in the records of services, each with its parent, in no request of their own."""
    with staging(World(services=8, users=5, incidents=0)) as stage:
        snapshot = fetch(stage, asked("services.integrations"))
        asked_for = [(request.path, request.all("include[]")) for request in stage.tape.requests]
        services = {service: [i.id for i in made.integrations] for service, made in stage.world.services.items()}
    collection = only(snapshot)
    found = {record.id: json.loads(record.raw)[PARENT] for record in collection.records}
    assert (collection.problem, asked_for) == (None, [("/services", ["integrations"])])
    assert {id_: parent["id"] for id_, parent in found.items()} == {
        id_: service for service, ids in services.items() for id_ in ids
    }
    assert {parent["kind"] for parent in found.values()} == {"services"}


def test_the_sandbox_lists_every_kind() -> None:
    """What is asked for is what the sandbox takes, strict as it is, and what it gives is understood."""
    with staging(World(services=4, users=5, incidents=6), limit_per_minute=10**7) as stage:
        snapshot = fetch(stage, *map(asked, KINDS))
    collections = {query.kind: collection for query, collection in snapshot.collections.items()}
    assert collections.keys() == KINDS.keys()
    reasons = {kind: each.problem.detail if each.problem else "" for kind, each in collections.items()}
    cut = {kind for kind, reason in reasons.items() if reason.endswith("records at most, so there may be more")}
    assert {kind for kind, reason in reasons.items() if reason} == cut
    assert cut <= {kind for kind in KINDS if KINDS[kind].most}
    assert [kind for kind, each in collections.items() if len({r.id for r in each.records}) != len(each.records)] == []


NESTED = [kind for kind in LISTED if any(parent.kind for parent in kind.parents)]


@pytest.mark.parametrize("kind", NESTED, ids=lambda kind: kind.name)
def test_every_nested_record_knows_its_parent(served: tuple[Lists, Tape, str], kind: Kind) -> None:
    """`__parent` leads up to the record whose values stand in the path, through all levels."""
    _, tape, url = served
    tape.requests.clear()
    collection = next(iter(read(url, asked(kind.name)).collections.values()))
    for record in collection.records:
        fields = json.loads(record.raw)
        parent = fields[PARENT]
        assert parent["kind"] in {each.kind for each in kind.parents}
        path = fields["uid"].rpartition(":")[0]
        above = parent
        while above:
            assert f".{above['id'].replace('/', '.')}." in f".{path}." or "url_slug" in kind.path
            above = above.get(PARENT)


def test_parents_are_listed_once_for_all_that_is_under_them(served: tuple[Lists, Tape, str]) -> None:
    """The kind itself and every kind under it, through two levels, share one listing of it."""
    app, tape, url = served
    tape.requests.clear()
    kinds = ["status_pages", "status_pages.posts", "status_pages.posts.post_updates", "status_pages.services"]
    snapshot = read(url, *map(asked, kinds))
    assert all(collection.complete for collection in snapshot.collections.values())
    paths = [request.path for request in tape.requests]
    assert sorted(paths) == sorted({path for kind in kinds for path in app.paths(KINDS[kind].path)})
