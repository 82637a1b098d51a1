"""Shift-based schedules: read from their own list and made to look like the others.

A schedule that was upgraded leaves `/schedules` and is only listed under `/v3/schedules`, as a reference (PagerDuty
developer documentation, upgrade of schedules).  It keeps its id, so that to a mapping it is the schedule it was.

Their list is asked for in every snapshot, one request where there are none: nothing else tells of a schedule that no
escalation policy leads to, and one that was upgraded would look as if it were gone.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import msgspec

from pdsync.errors import warning
from pdsync.kinds import KINDS
from pdsync.recordfile import splice
from pdsync.sources.pagerduty.records import FieldReader, array
from pdsync.sources.pagerduty.records import replace as replace_key
from pdsync.transport import ApiError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pdsync.errors import Diagnostic
    from pdsync.sources.pagerduty.listing import Listing
    from pdsync.sources.pagerduty.moments import Params
    from pdsync.sources.pagerduty.shelf import Shelf

V3 = "schedules_v3"
POLICIES = "escalation_policies"

_NOT_THERE = frozenset({400, 404})
"""An account that has no shift-based schedules may answer so."""

_CLOSED = frozenset({402, 403})
"""Not allowed, or not in the plan: whether there are any has to be found out another way."""

_RENDERED = (("include[]", "final_schedule"),)


class _Target(msgspec.Struct):
    """A schedule, or what an escalation policy leads to."""

    type: str | None = None


class _Rule(msgspec.Struct):
    targets: list[_Target] | None = None


class _Policy(msgspec.Struct):
    escalation_rules: list[_Rule] | None = None


def detail_params(params: Params) -> Params:
    """What a query of schedules means for a shift-based one that is shown alone, as it is sent."""
    if _RENDERED[0] not in params:
        return ()
    kept = {"since", "until", "time_zone"}
    return _RENDERED + tuple(pair for pair in params if pair[0] in kept)


def refused(listing: Listing) -> int:
    """The status with which PagerDuty does not give the list of shift-based schedules; 0 when that was not it."""
    status = listing.failure.status if isinstance(listing.failure, ApiError) else 0
    return status if status in _NOT_THERE | _CLOSED else 0


def is_not_there(failure: Exception | None) -> bool:
    """Whether PagerDuty has no such thing, of a shift-based schedule or for accounts without them."""
    return isinstance(failure, ApiError) and failure.status in _NOT_THERE


def is_closed(status: int) -> bool:
    """Whether there may be some although they are not given."""
    return status in _CLOSED


def is_one(raw: bytes) -> bool:
    """Whether a schedule is a shift-based one."""
    return msgspec.json.decode(raw, type=_Target).type == "schedule_v3"


def in_use(policies: Listing, status: int) -> bool:
    """Whether an escalation policy leads to a shift-based schedule, or that cannot be told.

    `status` is what the list of these was answered with: where it is not there, and policies may not be read, it is
    believed.
    """
    decoder = msgspec.json.Decoder(_Policy)
    if policies.problem:
        return is_closed(status) or not refused(policies)
    rules = (rule for raw in policies.records.values() for rule in decoder.decode(raw).escalation_rules or ())
    return any((target.type or "").startswith("schedule_v3") for rule in rules for target in rule.targets or ())


def unseen(status: int) -> Diagnostic:
    """The note that shift-based schedules were not read, which there may be, or were."""
    return warning(
        "PD331",
        "shift-based schedules were not read",
        detail=f"schedules: PagerDuty answered {status} for {KINDS[V3].path}, and no escalation policy leads to one",
        hint="give the credentials access to them if the account has any",
    )


def merged(layered: Listing, shifted: Listing, params: Params, users: Mapping[str, bytes], shelf: Shelf) -> Listing:
    """Both sorts of schedules as one list, on a shelf; a schedule in both was upgraded meanwhile."""
    wanted = {id_: _with_users(raw, users) for id_, raw in shifted.records.items() if _fits(raw, params)}
    records = shelf.rows() | layered.records | wanted
    problem = layered.problem or shifted.problem
    return replace(layered, records=records, counted=None, problem=problem, upgraded=frozenset(wanted))


class _Team(msgspec.Struct):
    id: str | None = None


class _Shown(msgspec.Struct):
    name: str | None = None
    teams: list[_Team] | None = None


def _fits(raw: bytes, params: Params) -> bool:
    """Whether the filters of a query take a shift-based schedule; its list is not known to have filters."""
    shown = msgspec.json.decode(raw, type=_Shown)
    words = [value.casefold() for name, value in params if name == "query"]
    teams = {value for name, value in params if name == "team_ids[]"}
    named = all(word in (shown.name or "").casefold() for word in words)
    return named and (not teams or any(team.id in teams for team in shown.teams or ()))


def _with_users(raw: bytes, users: Mapping[str, bytes]) -> bytes:
    """The schedule with its `users`, taken from its rotations where it does not name them itself."""
    record: dict[str, Any] = msgspec.json.decode(raw)
    if record.get("users"):
        return raw
    members = [
        member.get("user_id")
        for rotation in record.get("rotations") or ()
        for event in rotation.get("events") or ()
        for member in (event.get("assignment_strategy") or {}).get("members") or ()
    ]
    return replace_key(raw, "users", array(_user(id_, users.get(id_)) for id_ in dict.fromkeys(filter(None, members))))


def _user(id_: str, known: bytes | None) -> bytes:
    """A reference to a user, as a schedule has it."""
    plain = msgspec.json.encode({"id": id_, "type": "user_reference"})
    if known is None:
        return plain
    fields = ("summary", "self", "html_url")
    values = FieldReader(fields).read(known)
    return splice(plain, {name: msgspec.json.encode(value) for name, value in zip(fields, values, strict=True)})
