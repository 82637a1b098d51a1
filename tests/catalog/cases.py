"""Catalogs for the tests: on disk, and in memory."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pdsync.catalog.loading import check_files
from pdsync.catalog.nodes import Document, Scalar, read_documents
from pdsync.catalog.tree import Files

if TYPE_CHECKING:
    from pdsync.errors import Diagnostic
    from pdsync.model import Catalog

HERE = Path(__file__).parent
STARTER = HERE.parent.parent / "catalog"

SERVICE = """\
identifier: service
title: Service
schema:
  properties:
    url: {type: string, format: url}
    count: {type: number}
"""

MAPPING = """\
resources:
  - kind: services
    selector:
      query: 'true'
    port:
      entity:
        mappings:
          identifier: .id
          blueprint: '"service"'
"""


def checked(files: dict[str, str | bytes], environment: str | None = None) -> tuple[Catalog | None, list[Diagnostic]]:
    """What `check` says of a catalog with these files; pdsync.yaml and the blueprint `service` unless given."""
    whole = {"pdsync.yaml": "name: ours\n", "blueprints/service.yaml": SERVICE, **files}
    contents = {name: text.encode() if isinstance(text, str) else text for name, text in sorted(whole.items())}
    catalog, diagnostics = check_files(Files("catalog", contents, ()), environment)
    return catalog, list(diagnostics)


def loaded(files: dict[str, str | bytes], environment: str | None = None) -> Catalog:
    """The catalog with these files, which has no error."""
    catalog, diagnostics = checked(files, environment)
    assert catalog is not None, diagnostics
    return catalog


def codes(diagnostics: list[Diagnostic]) -> list[str]:
    return [diagnostic.code for diagnostic in diagnostics]


def mapping(**parts: str) -> str:
    """A mapping file with one resource of services and these further lines under mappings, as written."""
    lines = [f"          {key}: {value}\n" for key, value in parts.items()]
    return MAPPING + "".join(lines)


def document(text: str, name: str = "catalog/x.yaml") -> Document:
    """The one document of a text that is well-formed."""
    documents, problems = read_documents(name, text.encode())
    assert problems == ()
    (only,) = documents
    return only


def scalar(found: Any) -> Scalar:
    assert isinstance(found, Scalar)
    return found
