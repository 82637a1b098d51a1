"""A company that uses PagerDuty, made from a seed.

`World` holds what PagerDuty would know: teams, users, schedules, escalation policies, services, incidents.  Equal
arguments give equal worlds (see `pagerduty_company`).  A world of 100,000 incidents is built in well under a second.

A world changes only through its commands (`COMMANDS`), and its clock (`World.now`) only through `advance`.
Times are whole seconds since 1970 (UTC) unless said otherwise.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from zlib import crc32

from pdsync.sandbox import pagerduty_text as text
from pdsync.sandbox.pagerduty_commands import COMMANDS, run_command
from pdsync.sandbox.pagerduty_company import (
    DAY,
    HOUR,
    AuditEntry,
    Dice,
    Ids,
    Incidents,
    OnCall,
    Shift,
    fill_incidents,
    iso_time,
    make_named,
    make_policies,
    make_schedules,
    make_services,
    make_teams,
    make_users,
    parse_time,
)
from pdsync.sandbox.pagerduty_lists import KINDS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pdsync.model import Json
    from pdsync.sandbox.pagerduty_company import Policy, Schedule, Service, User

__all__ = ["COMMANDS", "KINDS", "World"]

TABLES = (
    "users",
    "teams",
    "schedules",
    "policies",
    "services",
    "business_services",
    "priorities",
    "vendors",
    "extensions",
    "extension_schemas",
)
"""Names of the tables of records by identifier."""

# --- the world -------------------------------------------------------------------------------------------------


class World:
    """What PagerDuty knows of one company.

    `now` is the clock as RFC 3339; `incidents` are spread over the `incident_days` before it.  Sizes are counts.
    Raises `ValueError` when the sizes cannot go together (services without an escalation policy).
    `version` grows with each change, so that a reader knows when to forget what it kept.
    `founded` is where the clock started, `founders` are the identifiers of the records there were then, by table, and
    `founding_incidents` the number of incidents.

    By kind (`KINDS`): `denied` answers 403, `unavailable` 402; of a kind in `shrunk` one record in so many is listed
    (0: none); the rows of a kind in `moving` change places during so many requests, `moved` counts how often they did.
    """

    def __init__(
        self,
        seed: int = 7,
        *,
        services: int = 12,
        users: int = 20,
        teams: int = 4,
        schedules: int = 6,
        escalation_policies: int = 6,
        incidents: int = 60,
        incident_days: float = 28,
        now: str = "2026-06-01T12:00:00Z",
    ) -> None:
        _check_sizes(services, users, schedules, escalation_policies, incidents)
        self.seed = seed
        self.clock = self.founded = parse_time(now)
        self.version = 0
        self.upgraded: frozenset[str] = frozenset()
        self.shrunk: dict[str, int] = {}
        self.moving: dict[str, int] = {}
        self.moved: dict[str, int] = {}
        self.denied: frozenset[str] = frozenset()
        self.unavailable: frozenset[str] = frozenset()
        self.analytics_left: int | None = None
        ids = [Ids("P", 6, (block + 1) * 20_000_000 + seed * 7_919 % 1_000_000) for block in range(11)]
        self._ids = ids
        self._small_kinds(ids)
        self.teams = {team.id: team for team in make_teams(ids[0], teams)}
        people = make_users(seed, ids[1], users, list(self.teams.values()))
        self.users = {user.id: user for user in people}
        self.former_users: dict[str, User] = {}
        groups = list(self.teams.values())
        found = make_schedules(seed, ids[2], schedules, users=people, teams=groups, now=self.clock)
        self.schedules = {schedule.id: schedule for schedule in self._with_former_user(found, users)}
        shifts = list(self.schedules.values())
        policies = make_policies(seed, ids[3], escalation_policies, users=people, schedules=shifts, teams=groups)
        self.policies = {policy.id: policy for policy in policies}
        made = make_services(
            seed, ids[4], services, policies=policies, vendors=list(self.vendors.values()), now=self.clock
        )
        self.services = {service.id: service for service in made}
        self.former_services: dict[str, Service] = {}
        self.incidents = Incidents(Ids("Q", 13, seed * 104_729 + 11))
        fill_incidents(self.incidents, seed, made, now=self.clock, count=incidents, days=incident_days)
        self._set_statuses()
        self.extensions = make_named(ids[10], self._extension_rows())
        self.audit: list[AuditEntry] = []
        self._seed_audit()
        self.founding_incidents = incidents
        self.founders: Mapping[str, tuple[str, ...]] = {table: tuple(getattr(self, table)) for table in TABLES}

    @property
    def now(self) -> datetime:
        """The clock, in UTC."""
        return datetime.fromtimestamp(self.clock, UTC)

    def _small_kinds(self, ids: list[Ids]) -> None:
        self.priorities = make_named(ids[5], [(name, words, {}) for name, words in text.PRIORITIES])
        self.vendors = make_named(ids[6], [(name, None, {"website_url": url}) for name, url in text.VENDORS])
        contacts = [(name, words, {"point_of_contact": who}) for name, words, who in text.BUSINESS_SERVICES]
        self.business_services = make_named(ids[7], contacts)
        schemas = [(label, None, {"key": key}) for key, label in text.EXTENSION_SCHEMAS]
        self.extension_schemas = make_named(ids[8], schemas)

    def _extension_rows(self) -> list[tuple[str, str | None, Mapping[str, Any]]]:
        schemas = list(self.extension_schemas)
        return [
            (f"{service.name} hook", None, {"service_id": service.id, "schema_id": schemas[n % len(schemas)]})
            for n, service in enumerate(list(self.services.values())[:5])
        ]

    def _with_former_user(self, schedules: list[Schedule], users: int) -> list[Schedule]:
        """The schedules, the first of which still lists a user that was deleted."""
        if not schedules:
            return schedules
        gone = replace(
            make_users(self.seed + 1, self._ids[1], users + 1, ())[-1],
            name="Pages O'Former",
            email="former@example.com",
            deleted_at=self.clock - 200 * DAY,
        )
        self.former_users[gone.id] = gone
        return [replace(schedules[0], former_user_ids=(gone.id,)), *schedules[1:]]

    def _set_statuses(self) -> None:
        """Services with open incidents are critical (somebody must act) or warning (somebody does)."""
        worst: dict[str, int] = {}
        table = self.incidents
        for position, status in enumerate(table.status):
            if status != 2:
                service = table.service_ids[table.service[position]]
                worst[service] = min(worst.get(service, 1), status)
        for identifier, status in worst.items():
            found = self.services[identifier]
            self.services[identifier] = replace(found, status=("critical", "warning")[status])

    def _seed_audit(self) -> None:
        dice = Dice(self.seed, 7)
        people, services = list(self.users.values()), list(self.services.values())
        for n in range(40 if people and services else 0):
            at = self.clock - 20 * DAY + n * 20 * DAY // 40 + dice.below(HOUR)
            service = dice.pick(services)
            fields = (("description", None, service.description),)
            actor = dice.pick(people).id
            self.log("update", "services", service.id, service.name, fields=fields, at=at, actor_id=actor)
        others = [
            (table, one)
            for table in ("users", "teams", "schedules", "policies")
            for one in getattr(self, table).items()
        ]
        for n, (table, (identifier, record)) in enumerate(others[:: max(1, len(others) // 20)]):
            self.log("create", table, identifier, record.name, at=self.clock - 25 * DAY + n * HOUR)

    # --- reading ---

    def shifts(self, schedule: Schedule, since: int, until: int) -> Iterator[Shift]:
        """The turns that touch the window, in order; a turn is given whole."""
        for layer in reversed(schedule.layers):
            ids = [user_id for user_id in layer.user_ids if user_id in self.users]
            first = max(layer.start, since)
            last = until if layer.end is None else min(until, layer.end - 1)
            if not ids or last < first:
                continue
            for turn in range((first - layer.start) // layer.turn, (last - layer.start) // layer.turn + 1):
                start = layer.start + turn * layer.turn
                end = start + layer.turn
                yield Shift(ids[turn % len(ids)], start, end if layer.end is None else min(end, layer.end))

    def overrides(self, schedule: Schedule) -> list[Shift]:
        """Parts of turns that were taken on by hand, up to three around the time the world was founded.

        They confirm who is on call anyway: `shifts` and `oncalls` need not know of them.
        """
        return self._confirmed(schedule, [-5 * DAY, 2 * DAY, 9 * DAY][: crc32(schedule.id.encode()) % 4])

    def custom_shifts(self, schedule: Schedule) -> list[Shift]:
        """Shifts beside the rotations, up to two; like `overrides` they confirm who is on call anyway."""
        return self._confirmed(schedule, [DAY + 3 * HOUR, 4 * DAY][: crc32(f"{schedule.id} beside".encode()) % 3])

    def _confirmed(self, schedule: Schedule, places: list[int]) -> list[Shift]:
        moments = [self.founded + place for place in places]
        found = [(at, turn) for at in moments for turn in self.shifts(schedule, at, at) if turn.end > at]
        return [Shift(turn.user_id, at, min(at + 4 * HOUR, turn.end)) for at, turn in found]

    def oncalls(self, since: int, until: int) -> Iterator[OnCall]:
        """Who is on call in the window: policies, their levels, their targets, their shifts."""
        for policy in self.policies.values():
            for level, rule in enumerate(policy.rules, 1):
                for target in rule.targets:
                    if target.kind == "users" and target.id in self.users:
                        yield OnCall(policy.id, level, None, target.id, None, None)
                    elif target.kind == "schedules":
                        for user_id, start, end in self.shifts(self.schedules[target.id], since, until):
                            yield OnCall(policy.id, level, target.id, user_id, start, end)

    def responder(self, policy: Policy, at: int, roll: int) -> str | None:
        """Who was called first about something that happened at a moment."""
        target = policy.rules[0].targets[0]
        if target.kind == "users":
            return target.id
        found = [user_id for user_id, _, _ in self.shifts(self.schedules[target.id], at, at)]
        return found[roll % len(found)] if found else None

    def summary(self) -> dict[str, Json]:
        """How big the world is, its clock, and what is switched off."""
        hidden = sum(self.incidents.hidden)
        return {
            "now": iso_time(self.clock),
            "services": len(self.services),
            "users": len(self.users),
            "teams": len(self.teams),
            "schedules": len(self.schedules),
            "escalation_policies": len(self.policies),
            "incidents": len(self.incidents) - hidden,
            "denied": sorted(self.denied),
            "unavailable": sorted(self.unavailable),
            "analytics_left": self.analytics_left,
        }

    # --- changing ---

    def change(self, action: str, **args: Json) -> dict[str, Json]:
        """`mutate`, with the arguments by name."""
        return self.mutate({"action": action, **args})

    def mutate(self, command: Mapping[str, Json]) -> dict[str, Json]:
        """Do one command, `{"action": name, argument: value, ...}`; `COMMANDS` lists them.

        Returns what was done, as JSON.  Raises `ValueError`, with nothing changed, when it cannot be done.
        """
        done = run_command(self, command)
        self.version += 1
        return done

    def new_service_id(self) -> str:
        """An identifier that no service has had."""
        return self._ids[4][10_000_000 + len(self.services) + len(self.former_services)]

    def log(
        self,
        action: str,
        kind: str,
        record_id: str,
        summary: str,
        *,
        fields: tuple[tuple[str, str | None, str | None], ...] = (),
        at: int | None = None,
        actor_id: str | None = None,
    ) -> None:
        """Write a line of the audit trail, now unless `at`."""
        entry_id = self._ids[9][len(self.audit)]
        when = self.clock if at is None else at
        self.audit.append(AuditEntry(entry_id, when, action, kind, record_id, summary, actor_id, fields))


def _check_sizes(services: int, users: int, schedules: int, policies: int, incidents: int) -> None:
    if min(services, users, schedules, policies, incidents) < 0:
        raise ValueError("sizes must not be negative")
    for needs, needed, message in (
        (services, policies, "services need an escalation policy"),
        (policies, users, "escalation policies need a user"),
        (schedules, users, "schedules need a user"),
        (incidents, services, "incidents need a service"),
    ):
        if needs and not needed:
            raise ValueError(message)
