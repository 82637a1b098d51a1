"""A plan as JSON: held to its published schema, and the same plan again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
import pytest
from hypothesis import given, settings
from jsonschema import Draft202012Validator

from pdsync.plan.document import plan_document, plan_schema, read_plan
from tests.render.cases import case_files, load, plan_of
from tests.render.strategies import hostile_plans

if TYPE_CHECKING:
    from pathlib import Path

    from pdsync.model import Plan

SCHEMA = plan_schema()
VALIDATOR = Draft202012Validator(SCHEMA)


def problems(document: bytes) -> list[str]:
    return [error.message for error in VALIDATOR.iter_errors(orjson.loads(document))]


def test_the_schema_is_a_schema() -> None:
    """It is valid itself and says which version of the document it is for."""
    Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["$defs"]["Plan"]["properties"]["format_version"]["pattern"] == r"^1\.\d+$"


@pytest.mark.parametrize("path", case_files(), ids=lambda path: path.stem)
def test_cases_validate(path: Path) -> None:
    """The document of every golden case fits the schema."""
    assert problems(plan_document(plan_of(load(path)))) == []


@settings(max_examples=40, deadline=None)
@given(hostile_plans())
def test_every_plan_validates_and_is_itself_again(plan: Plan) -> None:
    """Plan to JSON to plan is identity, the bytes stand still, and the schema takes them."""
    document = plan_document(plan)
    again = read_plan(document)
    assert (again, plan_document(again), problems(document)) == (plan, document, [])


SYMBOLS = orjson.loads(plan_document(plan_of(load(next(p for p in case_files() if p.stem == "symbols")))))


@pytest.mark.parametrize(
    "change",
    [
        {"format_version": "2.0"},
        {"changes": [{**SYMBOLS["changes"][0], "action": "explode"}]},
        {"changes": [{**SYMBOLS["changes"][0], "n": "1"}]},
        {"summary": None},
        {"withheld": [{}]},
    ],
    ids=["version", "action", "number", "summary", "withheld"],
)
def test_the_schema_refuses_what_is_no_plan(change: dict[str, Any]) -> None:
    """It is not so wide that anything passes."""
    assert problems(orjson.dumps({**SYMBOLS, **change})) != []
    assert problems(orjson.dumps(SYMBOLS)) == []


@pytest.mark.parametrize("key", ["format_version", "base", "changes", "withheld", "guards", "summary", "fingerprint"])
def test_the_document_has_what_is_promised(key: str) -> None:
    """The keys of DESIGN 7 are there and required."""
    assert key in SYMBOLS
    assert problems(orjson.dumps({name: value for name, value in SYMBOLS.items() if name != key})) != []
