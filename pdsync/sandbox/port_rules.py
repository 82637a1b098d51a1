"""Words that all parts of the sandbox's Port share: a refusal, a stored entity, the open points of the real one."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from pdsync.model import Json

META_PROPERTIES = (
    "$identifier",
    "$title",
    "$team",
    "$icon",
    "$createdAt",
    "$updatedAt",
    "$createdBy",
    "$updatedBy",
    "$blueprint",
)
"""What every entity has beside its properties (Port documentation, Meta-properties)."""

SYSTEM_BLUEPRINTS = ("_user", "_team")
"""Blueprints that are always there, and whose entities are real users and teams."""


class PortRefusal(Exception):
    """An answer other than success: HTTP status, Port's code, a message for people, optional details."""

    def __init__(self, status: int, error: str, message: str, details: Mapping[str, Json] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.error = error
        self.message = message
        self.details = details

    def body(self) -> dict[str, Json]:
        """The answer's JSON (Port API reference, Errors)."""
        answer: dict[str, Json] = {"ok": False, "error": self.error, "message": self.message}
        return answer | {"details": dict(self.details)} if self.details else answer


def invalid(message: str) -> PortRefusal:
    """A body that does not fit the route's or the blueprint's schema."""
    return PortRefusal(422, "invalid_request", message)


def not_found(what: str, identifier: str) -> PortRefusal:
    """Something that is asked for or referred to does not exist."""
    return PortRefusal(404, "not_found", f'{what} with identifier "{identifier}" was not found')


def conflict(message: str) -> PortRefusal:
    """Something that should be new is there already."""
    return PortRefusal(409, "conflict", message)


@dataclass(frozen=True, slots=True)
class Behaviour:
    """Points on which Port's public documents are silent; the default is the strictest or likeliest reading.

    A client should give the same result under every combination; the tests switch them one by one.

    Attributes:
        unknown_properties: a property or relation that the blueprint lacks is refused, left out, or kept.
        cleared: a property set to null comes back as null or not at all.
        date_times: come back as sent, or as UTC with milliseconds.
        rate_limit_reset: the header holds a point in time (epoch seconds) or seconds to wait.
        defaults: a property's default is filled in on create only, on every full write, or never.
        missing_title: an entity without a title comes back with null or with its identifier.
        unknown_teams: a team that is no `_team` entity is accepted or refused.
        duplicates_in_bulk: a second entity with the same identifier in one bulk is refused, or wins.
        unknown_deletes: identifiers in a bulk delete that do not exist are ignored, or refuse the whole call.
        blocked_deletes: one entity that others require stops the whole bulk delete, or only its own.
        cascade: `delete_dependents` takes entities that require the deleted one, or all that point to it.
        patch_maps: maps of a blueprint PATCH replace the old ones, or are laid over them.
        next_on_full_last_page: a last page that is exactly full still has a cursor (to an empty page).
        has_dependents_status: HTTP status beside the code `has_dependents`.
        datasource: a search rule on `$datasource` finds what was written so, nothing, everything, or is refused.
    """

    unknown_properties: Literal["refuse", "drop", "store"] = "refuse"
    cleared: Literal["null", "absent"] = "null"
    date_times: Literal["as_sent", "normalised"] = "as_sent"
    rate_limit_reset: Literal["epoch", "seconds"] = "epoch"
    defaults: Literal["on_create", "always", "never"] = "on_create"
    missing_title: Literal["null", "identifier"] = "null"
    unknown_teams: Literal["accept", "refuse"] = "accept"
    duplicates_in_bulk: Literal["refuse", "last_wins"] = "refuse"
    unknown_deletes: Literal["ignore", "refuse"] = "ignore"
    blocked_deletes: Literal["all_or_nothing", "partial"] = "all_or_nothing"
    cascade: Literal["required", "all"] = "required"
    patch_maps: Literal["replace", "merge"] = "replace"
    next_on_full_last_page: bool = False
    has_dependents_status: int = 422
    datasource: Literal["found", "nothing", "everything", "refused"] = "found"


@dataclass(frozen=True, slots=True)
class Stamp:
    """Who and when: the four fields that Port keeps about an entity or a blueprint.

    `datasource` is the User-Agent of the last write: no field of an answer, but a property to search by, as Port's own
    integrations do.
    """

    created_at: str
    created_by: str
    updated_at: str
    updated_by: str
    datasource: str = ""

    def touched(self, at: str, by: str, datasource: str = "") -> Stamp:
        """The stamp after another write."""
        return Stamp(self.created_at, self.created_by, at, by, datasource)

    def fields(self) -> dict[str, Json]:
        """As Port returns them."""
        return {
            "createdAt": self.created_at,
            "createdBy": self.created_by,
            "updatedAt": self.updated_at,
            "updatedBy": self.updated_by,
        }


@dataclass(frozen=True, slots=True)
class Entity:
    """An entity as stored: own properties and given relations only.

    `sequence` grows with every creation: the order of listings and the meaning of a search cursor.  The maps are
    never changed in place.
    """

    blueprint: str
    identifier: str
    title: str | None
    icon: str | None
    team: tuple[str, ...]
    properties: Mapping[str, Json]
    relations: Mapping[str, Json]
    stamp: Stamp
    sequence: int


def timestamp(seconds: float) -> str:
    """Epoch seconds in Port's form: UTC, milliseconds, `Z`."""
    moment = dt.datetime.fromtimestamp(seconds, tz=dt.UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"
