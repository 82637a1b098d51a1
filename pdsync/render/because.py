"""The causes of a field, and the commit behind a line of the catalog, in a few words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pdsync.render.escape import visible

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pdsync.model import Commit, FieldChange

LONGEST_NAME = 40


def cause_tag(field: FieldChange) -> str:
    """The causes of a field in brackets, the main one first."""
    drift = ("drift",) if field.drift and field.cause != "drift" else ()
    return f"[{' '.join(field.causes or (field.cause, *drift))}]"


def place_of(field: FieldChange, commits: Mapping[str, Commit]) -> str:
    """The place in the catalog, and the commit that brought it if the catalog is a cause; empty when there is none."""
    commit = commits.get(field.origin) if "catalog" in field.causes else None
    if commit is None:
        return visible(field.origin)
    by = f"{visible(commit.id[:10])} {visible(commit.author[:LONGEST_NAME])}" if commit.id else "not committed"
    return f"{visible(field.origin)}  {by}"
