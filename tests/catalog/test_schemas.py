"""JSON Schemas: what editors check with, made from the same models."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest

from pdsync.catalog.loading import FOLDERS, PROJECT
from pdsync.catalog.nodes import plain, read_documents
from pdsync.catalog.schema import json_schemas, suggest
from tests.catalog.cases import HERE, STARTER

SCHEMAS = json_schemas()
FILES = [path.relative_to(STARTER).as_posix() for path in sorted(STARTER.rglob("*.yaml"))]


def _documents(path: Any) -> list[Any]:
    documents, _ = read_documents(path.name, path.read_bytes())
    return [plain(document.root) for document in documents]


def _errors(kind: str, value: Any) -> list[str]:
    found = list(jsonschema.Draft202012Validator(SCHEMAS[kind]).iter_errors(value))
    return [error.message for one in found for error in (one, *(one.context or ()))]


def test_there_is_a_schema_for_every_kind_of_file() -> None:
    """And each is a schema."""
    assert sorted(SCHEMAS) == sorted(["project", *FOLDERS.values()])
    for schema in SCHEMAS.values():
        jsonschema.Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize("name", FILES)
def test_the_starter_fits_its_schemas(name: str) -> None:
    """An editor with the schema has nothing to say about the starter."""
    kind = "project" if name == PROJECT else FOLDERS[name.partition("/")[0]]
    assert [_errors(kind, value) for value in _documents(STARTER / name)] == [[]]


@pytest.mark.parametrize("kind", ["project", "blueprint", "mapping"])
def test_the_schemas_refuse_unknown_keys_too(kind: str) -> None:
    """What `validate` would complain about, the editor shows while it is typed."""
    folder = HERE / "broken" / "unknown-keys" / "catalog"
    path = {
        "project": folder / "pdsync.yaml",
        "blueprint": folder / "blueprints/a.yaml",
        "mapping": folder / "mappings/m.yaml",
    }
    (value,) = _documents(path[kind])
    assert any("unexpected" in error for error in _errors(kind, value))


@pytest.mark.parametrize(
    ("word", "meant"),
    [("serviceAnalitycs", "serviceAnalytics"), ("Service_analytics", "serviceAnalytics"), ("xyz", ""), ("", "")],
)
def test_did_you_mean(word: str, meant: str) -> None:
    """Case and punctuation do not count; what is far away is not suggested."""
    assert suggest(word, ["serviceAnalytics", "query", "incidentAnalytics"]) == meant
