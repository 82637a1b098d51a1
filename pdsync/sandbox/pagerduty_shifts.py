"""Overrides and users of schedules, and shift-based schedules (v3).

A schedule that was upgraded keeps its identifier, is listed under /v3/schedules as a reference, and is shown there
with its rotations; what a layer is to a classic schedule, a rotation with one event is to a shift-based one.  Asking
/v3 for a classic schedule answers 400; asking /schedules for an upgraded one answers 404, which is not documented.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from pdsync.sandbox.pagerduty_company import DAY, iso_time
from pdsync.sandbox.pagerduty_page import NOT_UPGRADED, Served, listing
from pdsync.sandbox.pagerduty_query import ApiError, window
from pdsync.sandbox.pagerduty_records import API, WEB

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pdsync.model import Json
    from pdsync.sandbox.pagerduty_company import Layer, Schedule, Shift
    from pdsync.sandbox.pagerduty_page import View
    from pdsync.sandbox.pagerduty_query import Asked
    from pdsync.sandbox.pagerduty_records import Records


class Placed(NamedTuple):
    """A shift with its number among those of its schedule."""

    id: str
    schedule: Schedule
    shift: Shift


def _placed(schedule: Schedule, letter: str, shifts: Sequence[Shift], asked: Asked) -> list[Placed]:
    """The shifts that touch the window from since to until."""
    since, until = window(asked)
    numbered = [Placed(f"{schedule.id}{letter}{n}", schedule, shift) for n, shift in enumerate(shifts)]
    return [one for one in numbered if one.shift.start < until and one.shift.end > since]


def _ends(records: Records, shift: Shift, asked: Asked) -> tuple[str, str]:
    """Start and end as written: cut at the window's ends unless `overflow`."""
    since, until = window(asked)
    if asked.flag("overflow"):
        since, until = shift.start, shift.end
    return records.moment(max(shift.start, since)), records.moment(min(shift.end, until))


# --- classic -------------------------------------------------------------------------------------------------------


def override_rows(view: View, asked: Asked) -> list[Placed]:
    """The overrides of the window; with `editable` only those that are yet to end."""
    schedule = view.world.schedules[asked.path["id"]]
    found = _placed(schedule, "O", view.world.overrides(schedule), asked)
    return [one for one in found if not asked.flag("editable") or one.shift.end > asked.now]


def override(records: Records, one: Placed, asked: Asked) -> Json:
    """An override; it has an identifier only with `editable`."""
    start, end = _ends(records, one.shift, asked)
    found: dict[str, Json] = {"start": start, "end": end, "user": records.reference("users", one.shift.user_id)}
    return {"id": one.id, **found} if asked.flag("editable") else found


def users_on_call(view: View, asked: Asked) -> list[Any]:
    """The users who are on call in the window: now, unless a window is asked for."""
    world = view.world
    since, until = asked.moment("since"), asked.moment("until")
    start = asked.now if since is None else since
    end = max(start, asked.now if until is None else until)
    shifts = world.shifts(world.schedules[asked.path["id"]], start, end)
    return [world.users[user_id] for user_id in dict.fromkeys(shift.user_id for shift in shifts)]


# --- shift-based ---------------------------------------------------------------------------------------------------


def _page(schedule: Schedule, *parts: str) -> dict[str, Json]:
    path = "/".join(("schedules", schedule.id, *parts))
    return {"self": f"{API}/v3/{path}", "html_url": f"{WEB}/{path}"}


def upgraded(view: View, asked: Asked) -> list[Schedule]:
    """The shift-based schedules, of some teams or with a part of a name."""
    query, teams = (asked.one("query") or "").casefold(), asked.many("team_ids[]")
    found = [view.world.schedules[one] for one in view.world.schedules if one in view.world.upgraded]
    return [s for s in found if query in s.name.casefold() and (not teams or not teams.isdisjoint(s.team_ids))]


def reference(records: Records, schedule: Schedule, _: Asked) -> Json:
    """What the list holds of a shift-based schedule."""
    return records.reference("schedules", schedule.id)


def show(view: View, asked: Asked) -> Json:
    """GET /v3/schedules/{id}."""
    schedule = view.world.schedules.get(asked.path["id"])
    if schedule is None:
        raise ApiError(404, "the schedule does not exist")
    if schedule.id not in view.world.upgraded:
        raise ApiError(400, NOT_UPGRADED)
    records = view.records(asked.zone)
    plain = records.schedule(schedule)
    kept = ("escalation_policies", "name", "teams", "time_zone", "users")
    found: dict[str, Any] = {
        "id": schedule.id,
        "type": "schedule_v3",
        **{name: plain[name] for name in kept},
        "description": schedule.description or "",
        **_page(schedule),
        "rotations": [rotation(records, (schedule, layer), asked) for layer in schedule.layers],
        "http_cal_url": f"{WEB}/private/{schedule.id.lower()}/feed",
        "web_cal_url": f"webcal://sandbox.pagerduty.com/private/{schedule.id.lower()}/feed",
    }
    if "final_schedule" in asked.many("include[]"):
        found["final_schedule"] = _final(records, schedule, asked)
    return {"schedule": found}


def _member(user_id: str) -> Json:
    return {"type": "user_member", "user_id": user_id}


def rotation(records: Records, row: tuple[Schedule, Layer], asked: Asked) -> Json:
    """A rotation with its event."""
    schedule, layer = row
    return {
        "id": layer.id,
        "type": "schedule_rotation",
        **_page(schedule, "rotations", layer.id),
        "events": [event(records, row, asked)],
    }


def event(records: Records, row: tuple[Schedule, Layer], _: Asked) -> Json:
    """The one event of a rotation: its first turn, repeated."""
    schedule, layer = row
    identifier = f"{layer.id}E"
    repeat = {7 * DAY: "FREQ=WEEKLY", DAY: "FREQ=DAILY"}.get(layer.turn, f"FREQ=HOURLY;INTERVAL={layer.turn // 3600}")
    users = [user_id for user_id in layer.user_ids if user_id in records.world.users]
    zoned = ({"date_time": iso_time(at), "time_zone": "UTC"} for at in (layer.start, layer.start + layer.turn))
    start, end = zoned
    return {
        "id": identifier,
        "type": "schedule_event",
        **_page(schedule, "rotations", layer.id, "events", identifier),
        "name": layer.name,
        "start_time": start,
        "end_time": end,
        "effective_since": records.moment(layer.start),
        "effective_until": records.time(layer.end),
        "recurrence": [f"RRULE:{repeat}"],
        "assignment_strategy": {
            "type": "rotating_member_assignment_strategy",
            "shifts_per_member": 1,
            "members": [_member(user_id) for user_id in users] or [{"type": "empty_member"}],
        },
    }


def _final(records: Records, schedule: Schedule, asked: Asked) -> Json:
    """Who is on call in the window (two weeks from now, unless asked)."""
    since, until = asked.moment("since"), asked.moment("until")
    start = asked.now if since is None else since
    end = start + 14 * DAY if until is None else until
    alone = [type(schedule)(schedule.id, schedule.name, None, schedule.time_zone, (), (x,)) for x in schedule.layers]
    found = [
        {
            "type": "computed_shift_assignment",
            "start_time": records.moment(shift.start if asked.flag("overflow") else max(shift.start, start)),
            "end_time": records.moment(shift.end if asked.flag("overflow") else min(shift.end, end)),
            "member": _member(shift.user_id),
            "source": {"type": "schedule_rotation", "rotation_id": one.layers[0].id},
        }
        for one in alone
        for shift in records.world.shifts(one, start, end)
        if shift.start < end and shift.end > start
    ]
    coverage = 100.0 if found else 0.0
    return {"type": "final_schedule", "rendered_coverage_percentage": coverage, "computed_shift_assignments": found}


def rotations(view: View, asked: Asked) -> list[tuple[Schedule, Layer]]:
    """The rotations of a schedule, or the one that the path names."""
    schedule = view.world.schedules[asked.path["id"]]
    wanted = asked.path.get("rotation_id")
    return [(schedule, layer) for layer in schedule.layers if wanted in {None, layer.id}]


def shift_override(records: Records, one: Placed, asked: Asked) -> Json:
    """An override of a shift-based schedule."""
    start, end = _ends(records, one.shift, asked)
    return {
        "id": one.id,
        "type": "override_shift",
        **_page(one.schedule, "overrides", one.id),
        "start_time": start,
        "end_time": end,
        "rotation_id": one.schedule.layers[0].id,
        "overridden_member": _member(one.shift.user_id),
        "overriding_member": _member(one.shift.user_id),
    }


def shift_overrides(view: View, asked: Asked) -> list[Placed]:
    """The overrides of the window."""
    schedule = view.world.schedules[asked.path["id"]]
    return _placed(schedule, "O", view.world.overrides(schedule), asked)


def custom_shifts(view: View, asked: Asked) -> list[Placed]:
    """The custom shifts of the window."""
    schedule = view.world.schedules[asked.path["id"]]
    return _placed(schedule, "C", view.world.custom_shifts(schedule), asked)


def custom_shift(records: Records, one: Placed, asked: Asked) -> Json:
    """A custom shift."""
    start, end = _ends(records, one.shift, asked)
    assignment = {"id": f"{one.id}A", "type": "shift_assignment", "member": _member(one.shift.user_id)}
    return {
        "id": one.id,
        "type": "custom_shift",
        **_page(one.schedule, "custom_shifts", one.id),
        "start_time": start,
        "end_time": end,
        "assignments": [assignment],
    }


SHIFTS: tuple[Served, ...] = (
    listing("schedules.overrides", override_rows, override),
    listing("schedules.users", users_on_call, lambda records, user, _: records.user(user)),
    listing("schedules_v3", upgraded, reference),
    listing("schedules_v3.rotations", rotations, rotation),
    listing("schedules_v3.rotations.events", rotations, event),
    listing("schedules_v3.overrides", shift_overrides, shift_override),
    listing("schedules_v3.custom_shifts", custom_shifts, custom_shift),
    Served("schedules_v3", "get", "/v3/schedules/{id}", show),
)
"""What is served about shifts."""
