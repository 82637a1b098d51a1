"""What the Port target makes of answers that are odd, refusing or missing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from itertools import pairwise
from operator import methodcaller
from typing import TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pdsync.errors import Interrupted, TargetError
from pdsync.model import Blueprint, EntityKey, Fields, Json
from pdsync.targets import EntityWrite, WriteResult
from pdsync.targets.port import PortReader, PortWriter, open_port_reader, open_port_writer
from pdsync.targets.port.chunks import chunks
from tests.target.scripted import Answer, Request, ScriptedPort, scripted_port

T = TypeVar("T")
Script = Callable[[Request], Answer]

THING: dict[str, Json] = {
    "identifier": "thing",
    "title": "Thing",
    "schema": {"properties": {"n": {"type": "number"}, "w": {"type": "string", "format": "date-time"}}},
    "relations": {"r": {"target": "thing", "many": True, "required": False}},
    "calculationProperties": {"c": {"calculation": ".x", "type": "string"}},
}


def reading(port: ScriptedPort, work: Callable[[PortReader], Awaitable[T]]) -> T:
    async def run() -> T:
        async with open_port_reader(port.url, "id", "very-secret", user_agent="test") as reader:
            return await work(reader)

    return asyncio.run(run())


def writing(port: ScriptedPort, work: Callable[[PortWriter], Awaitable[T]]) -> T:
    async def run() -> T:
        async with open_port_writer(port.url, "id", "very-secret", user_agent="test") as writer:
            return await work(writer)

    return asyncio.run(run())


TOO_DEEP = b'{"entities": [{"identifier": "a", "properties": {"n": %b}}]}' % (b"[" * 1100 + b"]" * 1100)


def catalog_of(*answers: Answer, count: int = -1, organization: Json = None) -> Script:
    """A Port with the blueprint `thing`, whose searches get the given answers in turn."""
    pages = list(answers)

    def script(request: Request) -> Answer:
        match request.method, request.path:
            case "GET", "/v1/organization":
                return Answer(200, organization or {"ok": True, "organization": {"id": "org1", "name": "Org"}})
            case "GET", "/v1/blueprints":
                return Answer(200, {"ok": True, "blueprints": [THING]})
            case "POST", "/v1/blueprints/thing/entities/search":
                return pages.pop(0) if len(pages) > 1 else pages[0]
            case "GET", "/v1/blueprints/thing/entities-count":
                return Answer(200, {"ok": True, "count": count})
        return Answer(404, {"ok": False, "error": "not_found", "message": request.path})

    return script


def page(*identifiers: str, following: str = "") -> Answer:
    entities = [{"identifier": identifier, "properties": {}} for identifier in identifiers]
    return Answer(200, {"ok": True, "entities": entities, **({"next": following} if following else {})})


def refusing(status: int, code: str = "refused", message: str = "because") -> Script:
    return lambda _: Answer(status, {"ok": False, "error": code, "message": message})


def told(problem: TargetError) -> str:
    return " | ".join(f"{d.code} {d.summary} {d.detail} {d.hint}" for d in problem.diagnostics)


# --- reading ---------------------------------------------------------------------------------------------------


def test_read_asks_for_the_wanted_paths_alone() -> None:
    """Computed properties and paths that Port's blueprint lacks are not asked for, and never come back."""
    entity = {
        "identifier": "a",
        "title": "A",
        "team": [],
        "properties": {"n": 1.0, "c": "computed", "other": 1},
        "relations": {"r": ["b", "a"]},
        "updatedAt": "2026-01-01T00:00:00Z",
        "updatedBy": "somebody",
        "scorecards": {},
    }
    wanted = ["title", "team", "properties.n", "properties.w", "properties.c", "properties.later", "relations.r"]
    with scripted_port(catalog_of(Answer(200, {"ok": True, "entities": [entity]}))) as port:
        existing = reading(port, lambda reader: reader.read({"thing": wanted, "absent": ["title"]}))
    found = existing.entities[EntityKey("thing", "a")]
    expected: Fields = {
        "title": "A",
        "team": None,
        "properties.n": 1,
        "properties.w": None,
        "relations.r": ["a", "b"],
    }
    assert expected == found.fields
    assert (found.updated_at, found.updated_by) == ("2026-01-01T00:00:00Z", "somebody")
    assert (existing.org_id, existing.org_name) == ("org1", "Org")
    (search,) = port.sent("POST", "/v1/blueprints")
    assert search.body == {
        "limit": 1000,
        "include": ["identifier", "title", "team", "properties.n", "properties.w", "relations.r"],
    }


@pytest.mark.parametrize(
    ("organization", "expected"),
    [
        ({"organization": {"id": "o", "name": "N"}}, ("o", "N")),
        ({"id": "o", "name": "N"}, ("o", "N")),
        ({"organization": {"name": "N"}}, ("N", "N")),
        ({"organization": {"id": "o"}}, ("o", "")),
    ],
)
def test_organization_in_several_shapes(organization: Json, expected: tuple[str, str]) -> None:
    """The undocumented answer about the organization is taken in any likely shape."""
    with scripted_port(catalog_of(organization=organization)) as port:
        existing = reading(port, lambda reader: reader.read({}))
    assert expected == (existing.org_id, existing.org_name)


def test_pages_are_followed_to_the_end() -> None:
    """Pages are read until none follows, an empty last one included; entities come sorted."""
    with scripted_port(catalog_of(page("b", following="1"), page("a", following="2"), page())) as port:
        existing = reading(port, lambda reader: reader.read({"thing": ["title"]}))
    assert [EntityKey("thing", "a"), EntityKey("thing", "b")] == list(existing.entities)
    assert [r.body.get("from") for r in port.sent("POST", "/v1/blueprints")] == [None, "1", "2"]
    assert port.sent("GET", "/v1/blueprints/thing/entities-count") == []


def test_moved_rows_are_counted() -> None:
    """A row seen twice is fine when the count says that none was missed."""
    with scripted_port(catalog_of(page("a", "b", following="1"), page("b", "c"), count=3)) as port:
        existing = reading(port, lambda reader: reader.read({"thing": ["title"]}))
    assert [key.identifier for key in existing.entities] == ["a", "b", "c"]


def test_missed_rows_are_read_again() -> None:
    """When rows moved and the count differs, everything is read anew until it fits."""
    again = [page("a", "b", following="1"), page("b", "c"), page("a", "b", following="1"), page("c", "d")]
    with scripted_port(catalog_of(*again, count=4)) as port:
        existing = reading(port, lambda reader: reader.read({"thing": ["title"]}))
    assert [key.identifier for key in existing.entities] == ["a", "b", "c", "d"]


def test_rows_that_keep_moving_are_an_error() -> None:
    """A part is never passed off as the whole."""
    restless = [page("a", following="1"), page("a")] * 3
    with scripted_port(catalog_of(*restless, count=4)) as port, pytest.raises(TargetError) as caught:
        reading(port, lambda reader: reader.read({"thing": ["title"]}))
    assert "PD413" in told(caught.value)


@pytest.mark.parametrize(
    "answer",
    [
        Answer(200, b"<html>sign in</html>"),
        Answer(200, {"ok": True}),
        Answer(200, {"entities": [{"title": "no identifier"}]}),
        Answer(200, {"entities": None}),
        Answer(200, TOO_DEEP),
        Answer(204, b""),
    ],
)
def test_unreadable_page(answer: Answer) -> None:
    """An answer of another shape is an error, not an empty catalog."""
    with scripted_port(catalog_of(answer)) as port, pytest.raises(TargetError) as caught:
        reading(port, lambda reader: reader.read({"thing": ["title"]}))
    assert "PD412" in told(caught.value)


@pytest.mark.parametrize("broken", [b"", b'{"ok": true, "enti', TOO_DEEP])
def test_a_page_that_cannot_be_read_once_is_asked_for_again(broken: bytes) -> None:
    """As one of PagerDuty is."""
    answers = [page("a", following="1"), Answer(200, broken), page("b")]
    with scripted_port(catalog_of(*answers)) as port:
        existing = reading(port, lambda reader: reader.read({"thing": ["title"]}))
    assert [key.identifier for key in existing.entities] == ["a", "b"]


@pytest.mark.parametrize("path", ["/v1/organization", "/v1/blueprints"])
def test_what_is_only_read_is_asked_for_again(path: str) -> None:
    """Where a single answer broke off."""
    usual, broken = catalog_of(), [Answer(200, b'{"ok": tr')]
    with scripted_port(lambda r: broken.pop() if broken and r.path == path else usual(r)) as port:
        assert reading(port, lambda reader: reader.read({})).org_id == "org1"


def test_some_empty_pages_may_lead_on() -> None:
    """What follows them is read."""
    answers = [page(following="1"), page(following="2"), page("a", following="3"), page(following="4"), page("b")]
    with scripted_port(catalog_of(*answers)) as port:
        existing = reading(port, lambda reader: reader.read({"thing": ["title"]}))
    assert [key.identifier for key in existing.entities] == ["a", "b"]


def test_empty_pages_without_end() -> None:
    """Pages that say there is more and give nothing, each with a new cursor, are not followed for ever."""
    empty = (page(following=str(number)) for number in range(99))
    with scripted_port(catalog_of(*empty)) as port, pytest.raises(TargetError) as caught:
        reading(port, lambda reader: reader.read({"thing": ["title"]}))
    assert "50 pages in a row are empty and say that there is more" in told(caught.value)
    assert len(port.sent("POST", "/v1/blueprints")) == 50


def test_cursor_in_a_circle() -> None:
    """A cursor that comes a second time ends the reading with an error instead of never."""
    circle = [page("a", following="1"), page("b", following="2"), page("a", following="1")]
    with scripted_port(catalog_of(*circle)) as port, pytest.raises(TargetError) as caught:
        reading(port, lambda reader: reader.read({"thing": ["title"]}))
    assert "PD412" in told(caught.value)


@pytest.mark.parametrize("path", ["/v1/organization", "/v1/blueprints"])
@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b"<html>", TOO_DEEP])
def test_unreadable_organization_or_blueprints(path: str, body: bytes) -> None:
    """An answer without an organization or a list of blueprints is an error."""
    usual = catalog_of()
    with scripted_port(lambda request: Answer(200, body) if request.path == path else usual(request)) as port:
        with pytest.raises(TargetError) as caught:
            reading(port, lambda reader: reader.read({}))
        assert "PD412" in told(caught.value)


@pytest.mark.parametrize(
    ("status", "code"), [(401, "PD402"), (403, "PD415"), (404, "PD404"), (422, "PD407"), (418, "PD400")]
)
def test_refused_reading_says_what_to_do(status: int, code: str) -> None:
    """A refusal carries Port's code and message, the route, the trace id and a hint; never a secret."""
    with scripted_port(refusing(status)) as port, pytest.raises(TargetError) as caught:
        reading(port, lambda reader: reader.read({}))
    text = told(caught.value)
    for part in (code, "refused: because", f"({status})", "trace-1"):
        assert part in text
    assert all(d.hint for d in caught.value.diagnostics)
    assert "token-" not in text + repr(caught.value)
    assert "very-secret" not in text + repr(caught.value)


@pytest.mark.parametrize("path", ["/v1/auth/access_token", "/v1/organization", "/v1/blueprints"])
def test_what_does_not_know_what_every_port_has_is_not_port(path: str) -> None:
    """Whatever it says: nobody has removed that, but the base URL is one of something else."""
    usual, lost = catalog_of(), Answer(404, {"statusCode": 404, "message": f"Cannot GET {path}", "error": "Not Found"})
    with scripted_port(lambda request: lost if request.path == path else usual(request)) as port:
        port.token = lost if "auth" in path else None
        with pytest.raises(TargetError) as caught:
            reading(port, lambda reader: reader.read({}))
    (problem,) = caught.value.diagnostics
    assert (problem.code, problem.summary) == ("PD404", "Port is not there")
    assert ("PORT_BASE_URL" in problem.hint, "plan" in problem.hint) == (True, False)


def test_an_answer_that_leads_elsewhere_says_where_and_is_not_followed() -> None:
    """The token is for the one server."""
    answer = Answer(307, {}, "https://elsewhere.test/v1/blueprints")
    with scripted_port(lambda _: answer) as port, pytest.raises(TargetError) as caught:
        reading(port, lambda reader: reader.read({}))
    text = told(caught.value)
    assert "https://elsewhere.test/v1/blueprints" in text
    assert "PORT_BASE_URL" in text


def test_known_in_chunks() -> None:
    """Keys are looked up 200 at a time; of an unknown blueprint none is known, nor anything that was not asked for."""

    def script(request: Request) -> Answer:
        if "/thing/" not in request.path:
            return Answer(404, {"ok": False, "error": "not_found", "message": "no such blueprint"})
        asked = request.body["query"]["rules"][0]["value"]
        return page("never-asked-for", *(identifier for identifier in asked if not identifier.endswith("7")))

    keys = [EntityKey("thing", f"e{n}") for n in range(450)] + [EntityKey("absent", "e1")]
    with scripted_port(script) as port:
        known = reading(port, lambda reader: reader.known(keys))
    assert {key for key in keys if key.blueprint == "thing" and not key.identifier.endswith("7")} == known
    sizes = [len(r.body["query"]["rules"][0]["value"]) for r in port.sent("POST", "/v1/blueprints/thing")]
    assert sorted(sizes) == [50, 200, 200]


def test_nothing_is_known_of_nothing() -> None:
    """No keys, no requests."""
    with scripted_port(refusing(500)) as port:
        assert frozenset() == reading(port, lambda reader: reader.known([]))
    assert port.requests == []


# --- token -----------------------------------------------------------------------------------------------------


def test_one_token_for_all() -> None:
    """Many requests at once share one token."""
    keys = [EntityKey(f"b{n}", "e") for n in range(20)]
    with scripted_port(lambda _: page()) as port:
        reading(port, lambda reader: reader.known(keys))
    (token,) = port.sent("POST", "/v1/auth/access_token")
    assert token.body == {"clientId": "id", "clientSecret": "very-secret"}
    assert {"Bearer token-1"} == {r.headers["authorization"] for r in port.requests if r is not token}


def test_refused_token_is_renewed_once() -> None:
    """On 401 a new token is fetched and the request repeated with it."""
    usual = catalog_of()

    def script(request: Request) -> Answer:
        if request.headers["authorization"] == "Bearer token-1":
            return Answer(401, {"ok": False, "error": "unauthorized"})
        return usual(request)

    with scripted_port(script) as port:
        existing = reading(port, lambda reader: reader.read({}))
    assert existing.org_id == "org1"
    assert {"Bearer token-1", "Bearer token-2"} == {
        r.headers["authorization"] for r in port.requests if "authorization" in r.headers
    }


def test_worn_token_is_replaced_before_it_ends() -> None:
    """A token with no time left is not used again; one that lasts is."""
    with scripted_port(lambda _: page(), tokens=(0, 10800)) as port:

        async def three(reader: PortReader) -> None:
            for name in ("a", "b", "c"):
                await reader.known([EntityKey(name, "e")])

        reading(port, three)
    used = [r.headers["authorization"] for r in port.requests if "authorization" in r.headers]
    assert used == ["Bearer token-1", "Bearer token-2", "Bearer token-2"]


@pytest.mark.parametrize("body", [b"", b"{}", b'{"accessToken": "sesame", "expiresIn": "soon"}'])
def test_unreadable_token(body: bytes) -> None:
    """An answer without a token is an error that does not quote it."""
    with scripted_port(refusing(500)) as port:
        port.token = Answer(200, body)
        with pytest.raises(TargetError) as caught:
            reading(port, lambda reader: reader.read({}))
    assert "PD412" in told(caught.value)
    assert "sesame" not in told(caught.value)


# --- writing entities ------------------------------------------------------------------------------------------


def bulk_answer(
    request: Request, failing: dict[str, dict[str, Json]] | None = None, made: tuple[str, ...] = ()
) -> Answer:
    """What Port says to a bulk upsert in which the entities in `failing` have these problems, and some were not there."""
    entities: list[Json] = []
    errors: list[Json] = []
    for index, entity in enumerate(request.body["entities"]):
        known = {"identifier": entity["identifier"], "index": index}
        if problem := (failing or {}).get(entity["identifier"]):
            errors.append({**known, **problem})
        else:
            entities.append({**known, "created": entity["identifier"] in made})
    return Answer(207 if errors else 200, {"ok": not errors, "entities": entities, "errors": errors})


def upsert(port: ScriptedPort, *writes: EntityWrite) -> list[WriteResult]:
    return writing(port, lambda writer: writer.upsert("thing", writes))


def numbered(count: int) -> list[EntityWrite]:
    return [EntityWrite(f"e{n}", {"properties.n": n}) for n in range(count)]


def test_bulk_upsert_merges_and_creates_nothing_else() -> None:
    """The query says merge, no related entities, no dry run; nulls are sent to existing entities."""
    with scripted_port(bulk_answer) as port:
        results = upsert(port, EntityWrite("a/b", {"properties.n": None, "relations.r": None, "title": "T"}))
    assert [WriteResult("a/b")] == results
    (call,) = port.sent("POST", "/v1/blueprints/thing")
    assert call.path == (
        "/v1/blueprints/thing/entities/bulk"
        "?upsert=true&merge=true&create_missing_related_entities=false&validation_only=false"
    )
    entity = {"identifier": "a/b", "title": "T", "properties": {"n": None}, "relations": {"r": None}}
    assert {"entities": [entity]} == call.body


def test_an_update_of_what_is_gone_is_no_success() -> None:
    """Port makes of it an entity with no more than the change: said, so that the state does not count it as whole."""
    writes = [EntityWrite("a", {"properties.n": 1}), EntityWrite("b", {"properties.n": 1})]
    new = EntityWrite("c", {"properties.n": 1}, create=True)
    with scripted_port(lambda request: bulk_answer(request, made=("b", "c"))) as port:
        a, b, c = upsert(port, *writes, new)
    assert (a, c) == (WriteResult("a"), WriteResult("c"))
    assert "deleted it while it was being written" in b.error
    assert b.doubt == ""


def test_create_clears_nothing() -> None:
    """A new entity is sent without nulls, but for properties, whose default would come in otherwise."""
    fields: Fields = {"title": None, "icon": None, "team": None, "properties.n": None, "relations.r": None}
    with scripted_port(bulk_answer) as port:
        upsert(port, EntityWrite("a", fields, create=True))
    (call,) = port.sent("POST", "/v1/blueprints/thing")
    assert call.body == {"entities": [{"identifier": "a", "properties": {"n": None}}]}


@pytest.mark.parametrize("path", ["title", "icon", "team"])
def test_clearing_a_title_takes_a_patch(path: str) -> None:
    """Title, icon and team of an existing entity are emptied by PATCH, the rest of the batch goes in bulk, in order."""
    writes = [
        EntityWrite("a", {"properties.n": 1}),
        EntityWrite("x/y", {path: None, "properties.n": 2}),
        EntityWrite("b", {"properties.n": 3}),
    ]

    def script(request: Request) -> Answer:
        return bulk_answer(request) if request.method == "POST" else Answer(200, {"ok": True})

    with scripted_port(script) as port:
        results = upsert(port, *writes)
    assert [result.identifier for result in results] == ["a", "x/y", "b"]
    (call,) = port.sent("PATCH")
    assert call.path == "/v1/blueprints/thing/entities/x%2Fy?create_missing_related_entities=false"
    assert {path: None, "properties": {"n": 2}} == call.body


def test_results_are_matched_by_index() -> None:
    """Errors in a 207 land on their entity, one line with Port's code, message and status."""
    problem = {"statusCode": 404, "error": "not_found", "message": "no\nsuch target"}
    with scripted_port(lambda request: bulk_answer(request, {"e1": problem})) as port:
        results = upsert(port, *numbered(3))
    expected = [WriteResult("e0"), WriteResult("e1", "not_found: no such target (404)"), WriteResult("e2")]
    assert expected == results


@pytest.mark.parametrize("answer", [{}, {"entities": [{"identifier": "e0"}]}, {"entities": None, "errors": "?"}])
def test_no_result_is_an_error(answer: Json) -> None:
    """Of an entity that the answer does not speak of nobody knows whether it was written."""
    with scripted_port(lambda _: Answer(200, answer)) as port:
        results = upsert(port, *numbered(1))
    assert [WriteResult("e0", "no result for this entity in Port's answer", "unknown")] == results


SILENCES = {
    "no answer": Answer(502, b""),
    "no JSON": Answer(200, b"<html>gateway</html>"),
}


@pytest.mark.parametrize("silence", SILENCES)
def test_what_got_no_answer_is_unknown_beside_what_did(silence: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A part of a batch without an answer may have been written; the results of the rest are certain."""

    def script(request: Request) -> Answer:
        return bulk_answer(request) if request.method == "POST" else SILENCES[silence]

    writes = [EntityWrite("a", {"title": None}), EntityWrite("b", {"title": "B"}), EntityWrite("c", {"icon": None})]
    monkeypatch.setattr("pdsync.transport.ApiClient._back_off", lambda *_: 1000.0)
    with scripted_port(script) as port:
        results = upsert(port, *writes)
    if silence == "no JSON":  # a PATCH is answered by its status alone
        assert [result.doubt for result in results] == ["", "", ""]
    else:
        assert [(result.doubt, bool(result.error)) for result in results] == [
            ("unknown", True),
            ("", False),
            ("unknown", True),
        ]


@pytest.mark.parametrize(
    ("answer", "doubtful"), [*((answer, True) for answer in SILENCES.values()), (Answer(403), False)]
)
def test_a_batch_without_an_answer_is_doubtful(answer: Answer, doubtful: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error that holds for all of a batch tells whether it may have been done all the same."""
    monkeypatch.setattr("pdsync.transport.ApiClient._back_off", lambda *_: 1000.0)
    with scripted_port(lambda _: answer) as port:
        for work in (lambda w: w.upsert("thing", numbered(3)), lambda w: w.delete("thing", ["a", "b"])):
            with pytest.raises(TargetError) as caught:
                writing(port, work)
            assert caught.value.doubtful == doubtful


def test_a_stopped_writer_sends_nothing_and_says_so() -> None:
    """What was never asked for is not in doubt."""

    async def stopped(writer: PortWriter) -> list[WriteResult]:
        writer.stop()
        return await writer.upsert("thing", numbered(2))

    with scripted_port(bulk_answer) as port, pytest.raises(Interrupted):
        writing(port, stopped)
    assert port.sent("POST", "/v1/blueprints") == []


@pytest.mark.parametrize("status", [400, 404, 413, 422])
def test_refused_batch_is_split_until_the_culprit_is_alone(status: int) -> None:
    """One entity for which Port refuses the whole call costs nobody else anything."""

    def script(request: Request) -> Answer:
        guilty = any(entity["identifier"] == "e5" for entity in request.body["entities"])
        return Answer(status, {"ok": False, "error": "bad", "message": "no"}) if guilty else bulk_answer(request)

    with scripted_port(script) as port:
        results = upsert(port, *numbered(20))
    assert [WriteResult(f"e{n}", f"bad: no ({status})" if n == 5 else "") for n in range(20)] == results
    assert len(port.sent("POST", "/v1/blueprints")) < 11


@pytest.mark.parametrize(("status", "code"), [(401, "PD402"), (403, "PD415")])
def test_refused_caller_is_an_error(status: int, code: str) -> None:
    """What is not about the entities stops the work."""
    with scripted_port(refusing(status)) as port, pytest.raises(TargetError) as caught:
        upsert(port, *numbered(3))
    assert code in told(caught.value)


def test_half_answered_batch_keeps_its_results() -> None:
    """When a part of a batch is refused as a whole and the rest went through, only that part has failed."""

    def script(request: Request) -> Answer:
        return bulk_answer(request) if request.method == "POST" else Answer(403, {"ok": False, "error": "forbidden"})

    with scripted_port(script) as port:
        results = upsert(port, EntityWrite("a", {"title": None}), EntityWrite("b", {"title": "B"}))
    assert [result.identifier for result in results] == ["a", "b"]
    assert "forbidden" in results[0].error
    assert results[1].error == ""


def test_patch_of_a_vanished_entity_fails_alone() -> None:
    """An update of an entity that is gone is its own failure."""
    with scripted_port(refusing(404, "not_found", "gone")) as port:
        results = upsert(port, EntityWrite("a", {"title": None}))
    assert [WriteResult("a", "not_found: gone (404)")] == results


def test_empty_batch() -> None:
    """Nothing to write, nothing sent."""
    with scripted_port(refusing(500)) as port:
        assert upsert(port) == []
    assert port.requests == []


sizes = st.lists(st.tuples(st.integers(0, 30), st.integers(1, 40)), max_size=40)


@given(items=sizes, most=st.integers(1, 6), budget=st.integers(1, 60))
def test_chunks(items: list[tuple[int, int]], most: int, budget: int) -> None:
    """Chunks keep the order and the limits, hold no key twice, and are no more than needed."""
    parts = chunks(items, most=most, size=lambda i: i[1], budget=budget, key=lambda i: i[0])
    assert items == [item for part in parts for item in part]
    for part in parts:
        assert 1 <= len(part) <= most
        assert len(part) == 1 or sum(size for _, size in part) <= budget
        assert len(part) == len({key for key, _ in part})
    for part, following in pairwise(parts):
        size = sum(size for _, size in (*part, following[0]))
        assert len(part) == most or size > budget or following[0][0] in {key for key, _ in part}


def test_batches_fit_into_a_request() -> None:
    """No batch has more than 20 entities or, in encoded bytes, comes near 1 MiB - but an entity that is larger."""
    lengths = [10] * 45 + [300_000] * 7 + [2_000_000, 10]
    writes = [EntityWrite(f"e{n}", {"properties.t": "ж" * (length // 2)}) for n, length in enumerate(lengths)]
    with scripted_port(bulk_answer) as port:
        batches = writing(port, lambda writer: asyncio.sleep(0, writer.batches(writes)))
        for batch in batches:
            upsert(port, *batch)
    assert writes == [write for batch in batches for write in batch]
    bodies = [len(json.dumps(r.body, ensure_ascii=False).encode()) for r in port.sent("POST", "/v1/blueprints")]
    assert [len(batch) for batch in batches] == [20, 20, 8, 3, 1, 1, 1]
    assert sum(size > 1024 * 1024 for size in bodies) == 1


# --- deleting entities -----------------------------------------------------------------------------------------


def delete(port: ScriptedPort, *identifiers: str) -> list[WriteResult]:
    return writing(port, lambda writer: writer.delete("thing", identifiers))


def test_delete_in_bulk_without_dependents() -> None:
    """Up to 100 a call, raw identifiers in the body, dependents never."""
    names = [f"e/{n}" for n in range(150)]
    with scripted_port(lambda request: Answer(200, {"deletedEntities": request.body["entities"]})) as port:
        results = delete(port, *names)
    assert [WriteResult(name) for name in names] == results
    calls = port.sent("POST", "/v1/blueprints")
    assert {"/v1/blueprints/thing/bulk/entities/delete?delete_dependents=false"} == {call.path for call in calls}
    assert sorted(len(call.body["entities"]) for call in calls) == [50, 100]


@pytest.mark.parametrize("status", [403, 409, 422])
@pytest.mark.parametrize("whole_call", [True, False])
def test_delete_names_the_entity_that_others_need(status: int, *, whole_call: bool) -> None:
    """Whether Port refuses the whole call or leaves one out, the rest is deleted and the failure has a name."""
    needed = Answer(status, {"ok": False, "error": "has_dependents", "message": "c needs it"})

    def script(request: Request) -> Answer:
        if request.method == "POST":
            return needed if whole_call else Answer(200, {"ok": True, "deletedEntities": ["a"]})
        assert request.path.endswith("?delete_dependents=false")
        if "/b?" in request.path:
            return needed
        if "/gone?" in request.path:
            return Answer(404, {"ok": False, "error": "not_found"})
        return Answer(200, {"ok": True})

    with scripted_port(script) as port:
        results = delete(port, "a", "b", "gone")
    assert [
        WriteResult("a"),
        WriteResult("b", f"has_dependents: c needs it ({status})"),
        WriteResult("gone"),
    ] == results


def test_delete_refused_altogether() -> None:
    """Missing rights stop the work and delete nothing one by one."""
    with scripted_port(refusing(403)) as port, pytest.raises(TargetError) as caught:
        delete(port, "a", "b")
    assert "PD415" in told(caught.value)
    assert port.sent("DELETE") == []


def test_a_404_that_is_not_ports_proves_nothing() -> None:
    """A proxy's 404 is not taken for an entity that is gone, nor for keys that do not exist."""
    with scripted_port(lambda _: Answer(404, b"<h1>no such host</h1>")) as port:
        results = delete(port, "a", "b")
        with pytest.raises(TargetError) as caught:
            reading(port, lambda reader: reader.known([EntityKey("thing", "a")]))
    assert [result.identifier for result in results if "(404)" in result.error] == ["a", "b"]
    assert "PD404 Port is not there" in told(caught.value)


def test_deleting_one_by_one_stops_when_it_is_forbidden() -> None:
    """Once Port does not let us delete any more, what is left is not tried and has the reason."""

    def script(request: Request) -> Answer:
        if request.method == "POST":
            return Answer(200, {"ok": True, "deletedEntities": ["a"]})
        return Answer(403 if "/c?" in request.path else 200, {"ok": False, "error": "forbidden"})

    with scripted_port(script) as port:
        results = delete(port, "a", "b", "c", "d")
    assert [result.error == "" for result in results] == [True, True, False, False]
    assert "forbidden" in results[3].error
    assert [result.doubt for result in results] == ["", "", "", "unsent"]
    assert len(port.sent("DELETE")) == 2


# --- blueprints ------------------------------------------------------------------------------------------------


class Blueprints:
    """The blueprint routes of a Port that stores what it is sent."""

    def __init__(self, *definitions: dict[str, Json]) -> None:
        self.held = {definition["identifier"]: definition for definition in definitions}

    def __call__(self, request: Request) -> Answer:
        name = request.path.partition("?")[0].removeprefix("/v1/blueprints").strip("/")
        if request.method == "POST":
            name = request.body["identifier"]
            if name in self.held:
                return Answer(409, {"ok": False, "error": "conflict", "message": "exists"})
            self.held[name] = request.body
        elif name not in self.held:
            return Answer(404, {"ok": False, "error": "not_found"})
        elif request.method == "PUT":
            self.held[name] = request.body
        elif request.method == "PATCH":
            self.held[name] = {**self.held[name], **request.body}
        elif request.method == "DELETE":
            del self.held[name]
            return Answer(200, {"ok": True})
        return Answer(200, {"ok": True, "blueprint": {**self.held[name], "createdAt": "x", "updatedBy": "y", "id": 1}})


def test_create_blueprint() -> None:
    """A blueprint is sent as given, without server keys and nulls, and without a catalog page."""
    store = Blueprints()
    with scripted_port(store) as port:
        given_ = Blueprint("thing", {**THING, "icon": None, "createdAt": "x"})
        writing(port, lambda writer: writer.create_blueprint(given_))
    assert store.held == {"thing": THING}
    assert [r.path for r in port.sent("POST", "/v1/blueprints")] == ["/v1/blueprints?create_catalog_page=false"]


def test_create_blueprint_again() -> None:
    """What is there at once was made by somebody else, be it as given or not."""
    store = Blueprints(THING)
    bare = Blueprint("thing", {"title": "Thing", "schema": {"properties": {"n": {"type": "number"}}}})
    other = Blueprint("thing", {"title": "Thing", "schema": {"properties": {"n": {"type": "string"}}}})
    with scripted_port(store) as port:
        for each in (bare, other):
            create = methodcaller("create_blueprint", each)
            with pytest.raises(TargetError) as caught:
                writing(port, create)
            assert "PD405" in told(caught.value)
    assert store.held == {"thing": THING}


def test_change_blueprint_keeps_the_rest() -> None:
    """Only the named paths change; parts that pdsync does not know, and other people's, stay."""
    foreign = {**THING, "somethingNew": {"a": 1}, "icon": "Box"}
    store = Blueprints(foreign)
    changes: Fields = {
        "schema.properties.n": None,
        "schema.properties.m": {"type": "boolean"},
        "schema.required": ["m"],
        "relations.s": {"target": "thing", "many": False, "required": False},
        "calculationProperties.c": None,
        "title": "Things",
    }
    with scripted_port(store) as port:
        writing(port, lambda writer: writer.change_blueprint("thing", changes))
    expected = {
        **foreign,
        "title": "Things",
        "schema": {
            "properties": {"w": foreign["schema"]["properties"]["w"], "m": {"type": "boolean"}},
            "required": ["m"],
        },
        "relations": {**foreign["relations"], "s": changes["relations.s"]},
        "calculationProperties": {},
    }
    assert {"thing": expected} == store.held
    assert len(port.sent("PUT")) == 1


def test_change_blueprint_again() -> None:
    """A change that is made already sends no write."""
    with scripted_port(Blueprints(THING)) as port:
        writing(port, lambda writer: writer.change_blueprint("thing", {"title": "Thing", "relations.gone": None}))
    assert [r.method for r in port.requests if r.path.startswith("/v1/blueprints")] == ["GET"]


def test_system_blueprint_is_patched() -> None:
    """A blueprint of Port's own gets only the parts that change, each complete."""
    user = {**THING, "identifier": "_user"}
    store = Blueprints(user)
    added = {"target": "thing", "many": False, "required": False}
    with scripted_port(store) as port:
        writing(port, lambda writer: writer.change_blueprint("_user", {"relations.s": added}))
    (call,) = port.sent("PATCH")
    assert {"relations": {**user["relations"], "s": added}} == call.body
    assert port.sent("PUT") == []


def test_system_blueprint_that_keeps_what_was_removed() -> None:
    """If a patch did not remove, that is said and not taken for done."""
    user = {**THING, "identifier": "_user"}
    with scripted_port(lambda r: Answer(200, {"ok": True, "blueprint": user})) as port:
        with pytest.raises(TargetError) as caught:
            writing(port, lambda writer: writer.change_blueprint("_user", {"relations.r": None}))
        assert "PD414" in told(caught.value)
        assert "relations.r" in told(caught.value)


def test_delete_blueprint() -> None:
    """A blueprint is deleted; one that is gone is deleted too."""
    store = Blueprints(THING)
    with scripted_port(store) as port:
        writing(port, lambda writer: writer.delete_blueprint("thing"))
        writing(port, lambda writer: writer.delete_blueprint("thing"))
    assert store.held == {}


@pytest.mark.parametrize("status", [409, 422])
def test_delete_blueprint_waits_for_its_entities(status: int) -> None:
    """While entities are still being deleted the refusal is not believed, after some seconds it is."""
    refusals = [Answer(status, {"ok": False, "error": "has_dependents", "message": "2 entities"})] * 6
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    async def remove(writer: PortWriter) -> None:
        await PortWriter(writer._client, sleep).delete_blueprint("thing")

    with scripted_port(lambda _: refusals.pop() if refusals else Answer(200, {"ok": True})) as port:
        with pytest.raises(TargetError) as caught:
            writing(port, remove)
        writing(port, remove)
    assert "PD411" in told(caught.value)
    assert waits == [1.0, 2.0, 4.0, 1.0, 2.0]


def test_identifiers_are_encoded_in_paths() -> None:
    """Whatever may stand in an identifier arrives as it was."""
    odd = "a/b+c:d=e@f\\g.h-ü"
    with scripted_port(refusing(404, "not_found")) as port:
        results = writing(port, lambda writer: writer.upsert(odd, [EntityWrite(odd, {"title": None})]))
    assert results[0].error
    (call,) = port.sent("PATCH")
    encoded = "a%2Fb%2Bc%3Ad%3De%40f%5Cg.h-%C3%BC"
    assert call.path.startswith(f"/v1/blueprints/{encoded}/entities/{encoded}?")
