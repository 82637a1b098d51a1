"""catalog/ in git -> `Catalog`, with every problem found named by file, line and column.

Importing this package is cheap: what reads YAML, jq or git is imported when it is called.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from pdsync.catalog.tree import Revision
    from pdsync.errors import Diagnostic
    from pdsync.model import Catalog


def load_catalog(
    root: Path, *, ref: str | None = None, environment: str | None = None, now: datetime | None = None
) -> Catalog:
    """The catalog in the folder `root`, or in the same folder of the git commit `ref`.

    `environment` names the part of pdsync.yaml that is laid over the rest.  Where it is to be used at a moment (`now`),
    stretches of time that hold nothing then are errors.  Raises `CatalogError` with all diagnostics when one of them is
    an error; warnings and notes are in `Catalog.diagnostics`.
    """
    from pdsync.errors import CatalogError

    catalog, diagnostics = check_catalog(root, ref=ref, environment=environment, now=now)
    if catalog is None:
        raise CatalogError(*diagnostics)
    return catalog


def check_catalog(
    root: Path, *, ref: str | None = None, environment: str | None = None, now: datetime | None = None
) -> tuple[Catalog | None, tuple[Diagnostic, ...]]:
    """As `load_catalog` without raising: the catalog (None with an error) and everything found, sorted, none twice."""
    from pdsync.catalog.loading import check

    return check(root, ref=ref, environment=environment, now=now)


def catalog_revision(root: Path) -> Revision:
    """What git says of the catalog's folder as it is now."""
    from pdsync.catalog.tree import revision

    return revision(root)
