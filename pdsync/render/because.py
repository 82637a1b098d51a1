"""The causes of a field, and the commit behind a line of the catalog, in a few words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pdsync.render.escape import visible

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pdsync.model import Change, Commit, FieldChange

LONGEST_NAME = 40


def cause_tag(field: FieldChange) -> str:
    """The causes of a field in brackets, the main one first."""
    drift = ("drift",) if field.drift and field.cause != "drift" else ()
    return f"[{' '.join(field.causes or (field.cause, *drift))}]"


def behind(change: Change, commits: Mapping[str, Commit]) -> str:
    """Who or what is behind a change as a whole, as far as it is known; empty where nothing is, or where it is new."""
    told = []
    if "catalog" in change.causes and change.origin:
        told.append(_placed(change.origin, commits.get(change.origin)))
    if "source" in change.causes and change.source_at and change.action != "create":
        several = change.ledger is not None and change.ledger.portions
        told.append(f"{visible(change.source) if several else 'record'} changed {visible(change.source_at)}")
    if "drift" in change.causes and (change.edited_by or change.edited_at):
        who = " ".join(part for part in (change.edited_by[:LONGEST_NAME], change.edited_at) if part)
        told.append(f"edited by {visible(who)}" if change.edited_by else f"edited {visible(who)}")
    return ", ".join(told)


def place_of(field: FieldChange, commits: Mapping[str, Commit]) -> str:
    """The place in the catalog, and the commit that brought it if the catalog is a cause; empty when there is none."""
    return _placed(field.origin, commits.get(field.origin) if "catalog" in field.causes else None)


def _placed(origin: str, commit: Commit | None) -> str:
    if commit is None:
        return visible(origin)
    by = f"{visible(commit.id[:10])} {visible(commit.author[:LONGEST_NAME])}" if commit.id else "not committed"
    return f"{visible(origin)}  {by}"
