"""How a world can be changed: the commands that `World.mutate` takes, by name.

A command is a function of the world and its arguments as JSON; the table says which arguments there are.  It returns
what was done, as JSON, and raises `ValueError` before it has changed anything.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

from pdsync.model import Json
from pdsync.sandbox.pagerduty_company import SERVICE_STATUSES, STATUSES, URGENCIES, Service
from pdsync.sandbox.pagerduty_lists import KINDS

if TYPE_CHECKING:
    from pdsync.sandbox.world import World

T = TypeVar("T")
Args = Mapping[str, Json]
Done = dict[str, Json]


def rename_service(world: World, args: Args) -> Done:
    """Give a service another name; incidents keep the titles they have."""
    old = _found(world.services, args["id"], "service")
    world.services[old.id] = replace(old, name=args["name"])
    world.log("update", "services", old.id, args["name"], fields=(("name", old.name, args["name"]),))
    return {"id": old.id, "before": old.name, "after": args["name"]}


def set_service_status(world: World, args: Args) -> Done:
    """Set a service's status."""
    old = _found(world.services, args["id"], "service")
    status = _one_of(SERVICE_STATUSES, args["status"], "status")
    world.services[old.id] = replace(old, status=status)
    return {"id": old.id, "before": old.status, "after": status}


def delete_service(world: World, args: Args) -> Done:
    """Delete a service, and its incidents with it unless `keep_incidents`; then they refer to what is gone.

    PagerDuty does not say in its API reference which of the two happens.
    """
    old = _found(world.services, args["id"], "service")
    rows = [] if args.get("keep_incidents") else world.incidents.rows_of(old.id)
    gone = [row for row in rows if not world.incidents.hidden[row]]
    for row in gone:
        world.incidents.hidden[row] = 1
    del world.services[old.id]
    world.former_services[old.id] = old
    world.extensions = {k: v for k, v in world.extensions.items() if v.extra["service_id"] != old.id}
    world.log("delete", "services", old.id, old.name)
    return {"id": old.id, "name": old.name, "incidents": len(gone)}


def add_service(world: World, args: Args) -> Done:
    """Create a service under an escalation policy (the first one, unless `policy_id`)."""
    name = _text(args["name"], "a service needs a name")
    if any(service.name == name for service in world.services.values()):
        raise ValueError(f"there is a service named {name!r} already")
    policy = _found(world.policies, args.get("policy_id") or next(iter(world.policies), ""), "escalation policy")
    made = Service(
        id=world.new_service_id(),
        name=name,
        description=None,
        status="active",
        policy_id=policy.id,
        created=world.clock,
        auto_resolve=14_400,
        ack_timeout=1_800,
        support_hours=False,
        integrations=(),
    )
    world.services[made.id] = made
    world.log("create", "services", made.id, name)
    return {"id": made.id, "name": name}


def trigger_incident(world: World, args: Args) -> Done:
    """Open an incident now."""
    service = _found(world.services, args["service_id"], "service")
    urgency = _one_of(URGENCIES, args.get("urgency", "high"), "urgency")
    title = _text(args["title"], "an incident needs a title")
    table = world.incidents
    if service.id not in table.service_ids:
        table.service_ids.append(service.id)
        table.service_names.append(service.name)
    row = table.append(
        service=table.service_ids.index(service.id),
        created=world.clock,
        changed=world.clock,
        status=0,
        urgency=URGENCIES.index(urgency),
        roll=int(random.Random(world.seed * 1_000_003 + len(table)).random() * 2**53),
    )
    table.titles[row] = title
    _follow_incidents(world, service.id)
    return {"id": table.ids[row], "number": row + 1, "title": title}


def acknowledge_incident(world: World, args: Args) -> Done:
    """Acknowledge a triggered incident."""
    return _set_incident(world, args["id"], 1)


def resolve_incident(world: World, args: Args) -> Done:
    """Resolve an open incident."""
    return _set_incident(world, args["id"], 2)


def _set_incident(world: World, identifier: str, status: int) -> Done:
    table = world.incidents
    row = table.position(identifier)
    if row is None:
        raise ValueError(f"no such incident: {identifier!r}")
    before = table.status[row]
    if before >= status:
        raise ValueError(f"incident {identifier} is {STATUSES[before]} already")
    table.status[row] = status
    table.changed[row] = max(world.clock, table.created[row])
    _follow_incidents(world, table.service_ids[table.service[row]])
    return {"id": identifier, "before": STATUSES[before], "after": STATUSES[status]}


def _follow_incidents(world: World, service_id: str) -> None:
    """Let a service's status follow its open incidents, unless it is switched off."""
    service = world.services.get(service_id)
    if service is None or service.status in {"maintenance", "disabled"}:
        return
    table = world.incidents
    states = {table.status[row] for row in table.rows_of(service_id) if not table.hidden[row]}
    status = "critical" if 0 in states else "warning" if 1 in states else "active"
    world.services[service_id] = replace(service, status=status)


def delete_user(world: World, args: Args) -> Done:
    """Delete a user: off every rotation, in references only."""
    old = _found(world.users, args["id"], "user")
    del world.users[old.id]
    world.former_users[old.id] = replace(old, deleted_at=world.clock)
    world.log("delete", "users", old.id, old.name)
    return {"id": old.id, "name": old.name}


def rename_schedule(world: World, args: Args) -> Done:
    """Give a schedule another name."""
    old = _found(world.schedules, args["id"], "schedule")
    world.schedules[old.id] = replace(old, name=args["name"])
    world.log("update", "schedules", old.id, args["name"], fields=(("name", old.name, args["name"]),))
    return {"id": old.id, "before": old.name, "after": args["name"]}


def advance(world: World, args: Args) -> Done:
    """Move the clock: on-call shifts are handed over, windows move on."""
    if args["hours"] < 0:
        raise ValueError("the clock goes forwards only")
    world.clock += int(timedelta(hours=args["hours"]).total_seconds())
    return {"now": world.summary()["now"]}


def drop_permission(world: World, args: Args) -> Done:
    """Answer 403 for a kind."""
    world.denied |= {_one_of(KINDS, args["kind"], "kind")}
    return {"kind": args["kind"], "status": 403}


def plan_missing(world: World, args: Args) -> Done:
    """Answer 402 for a kind."""
    world.unavailable |= {_one_of(KINDS, args["kind"], "kind")}
    return {"kind": args["kind"], "status": 402}


def hide_half(world: World, args: Args) -> Done:
    """List every other record of a kind, as if the rest were not there; nothing else changes."""
    world.shrunk[_one_of(KINDS, args["kind"], "kind")] = 2
    return {"kind": args["kind"], "listed": "half"}


def empty(world: World, args: Args) -> Done:
    """List no record of a kind: a success without rows."""
    world.shrunk[_one_of(KINDS, args["kind"], "kind")] = 0
    return {"kind": args["kind"], "listed": "none"}


def shuffle_while_paging(world: World, args: Args) -> Done:
    """Let a row of a kind move from the front of its list to the end at each of the next requests (3)."""
    requests = args.get("requests", 3)
    if requests < 1:
        raise ValueError("requests must be at least 1")
    world.moving[_one_of(KINDS, args["kind"], "kind")] = requests
    return {"kind": args["kind"], "requests": requests}


def restore(world: World, args: Args) -> Done:
    """Undo for a kind: drop_permission, plan_missing, hide_half, empty, shuffle_while_paging."""
    kind = _one_of(KINDS, args["kind"], "kind")
    world.denied -= {kind}
    world.unavailable -= {kind}
    for table in (world.shrunk, world.moving, world.moved):
        table.pop(kind, None)
    return {"kind": kind, "status": 200}


def upgrade_schedule(world: World, args: Args) -> Done:
    """Make a schedule shift-based: it keeps its identifier, leaves /schedules, and is listed by /v3/schedules."""
    old = _found(world.schedules, args["id"], "schedule")
    if old.id in world.upgraded:
        raise ValueError(f"schedule {old.id} is upgraded already")
    world.upgraded |= {old.id}
    world.log("update", "schedules", old.id, old.name)
    return {"id": old.id, "name": old.name}


def analytics_quota(world: World, args: Args) -> Done:
    """Say how many analytics calls are left today; null lifts the quota."""
    remaining = args["remaining"]
    if remaining is not None and remaining < 0:
        raise ValueError("remaining must not be negative")
    world.analytics_left = remaining
    return {"remaining": remaining}


# --- the table -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Command:
    """A command: what does it, its arguments with their types, which of them may be left out."""

    run: Callable[..., Done]
    takes: Mapping[str, tuple[type, ...]]
    optional: frozenset[str] = frozenset()

    @property
    def says(self) -> str:
        """What it does, in one line."""
        return (self.run.__doc__ or "").split("\n", 1)[0]


_ID = {"id": (str,)}
_KIND = {"kind": (str,)}

COMMANDS: Mapping[str, Command] = {
    "acknowledge_incident": Command(acknowledge_incident, _ID),
    "add_service": Command(add_service, {"name": (str,), "policy_id": (str,)}, frozenset({"policy_id"})),
    "advance": Command(advance, {"hours": (int, float)}),
    "analytics_quota": Command(analytics_quota, {"remaining": (int, type(None))}),
    "delete_service": Command(delete_service, {**_ID, "keep_incidents": (bool,)}, frozenset({"keep_incidents"})),
    "delete_user": Command(delete_user, _ID),
    "drop_permission": Command(drop_permission, _KIND),
    "empty": Command(empty, _KIND),
    "hide_half": Command(hide_half, _KIND),
    "plan_missing": Command(plan_missing, _KIND),
    "rename_schedule": Command(rename_schedule, {**_ID, "name": (str,)}),
    "rename_service": Command(rename_service, {**_ID, "name": (str,)}),
    "resolve_incident": Command(resolve_incident, _ID),
    "restore": Command(restore, _KIND),
    "set_service_status": Command(set_service_status, {**_ID, "status": (str,)}),
    "shuffle_while_paging": Command(shuffle_while_paging, {**_KIND, "requests": (int,)}, frozenset({"requests"})),
    "trigger_incident": Command(
        trigger_incident, {"service_id": (str,), "title": (str,), "urgency": (str,)}, frozenset({"urgency"})
    ),
    "upgrade_schedule": Command(upgrade_schedule, _ID),
}
"""Every way to change a world, by name."""


def run_command(world: World, command: Mapping[str, Json]) -> Done:
    """Do one command, `{"action": name, argument: value, ...}`.

    Raises `ValueError`, with nothing changed, for an unknown action or record, and for arguments that are missing,
    unknown or of a wrong type.
    """
    name = command.get("action")
    known = COMMANDS.get(name) if isinstance(name, str) else None
    if known is None:
        raise ValueError(f"unknown action {name!r}; there are: {', '.join(COMMANDS)}")
    args = {key: value for key, value in command.items() if key != "action"}
    _check_arguments(str(name), known, args)
    return {"action": name, **known.run(world, args)}


def _check_arguments(name: str, command: Command, args: Args) -> None:
    unknown = [key for key in args if key not in command.takes]
    missing = [key for key in command.takes if key not in args and key not in command.optional]
    if unknown or missing:
        told = [("missing", missing), ("unknown", unknown)]
        problems = "; ".join(f"{word}: {', '.join(keys)}" for word, keys in told if keys)
        raise ValueError(f"{name} takes {', '.join(command.takes)}; {problems}")
    for key, value in args.items():
        types = command.takes[key]
        if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
            raise ValueError(f"{name}: {key} must be {' or '.join(t.__name__ for t in types)}, not {value!r}")


def _found(table: Mapping[str, T], identifier: str, word: str) -> T:
    if identifier not in table:
        raise ValueError(f"no such {word}: {identifier!r}")
    return table[identifier]


def _one_of(known: tuple[str, ...], value: str, word: str) -> str:
    if value not in known:
        raise ValueError(f"no such {word}: {value!r}; there are: {', '.join(known)}")
    return value


def _text(value: str, problem: str) -> str:
    if not value.strip():
        raise ValueError(problem)
    return value
