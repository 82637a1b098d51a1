"""What the sandbox's company consists of, and how it is drawn from a seed.

All chance comes from `random.Random.random()`, whose sequence Python guarantees for a seed, so equal arguments give
equal records on every platform, hash seed and Python version.  Incidents are kept as columns of numbers; a record is
made when it is asked for.  Times are whole seconds since 1970 (UTC) unless said otherwise.
"""

from __future__ import annotations

import random
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple, TypeVar

from pdsync.sandbox import pagerduty_text as text

T = TypeVar("T")

MINUTE, HOUR, DAY = 60, 3600, 86400
STATUSES = ("triggered", "acknowledged", "resolved")
URGENCIES = ("low", "high")
SERVICE_STATUSES = ("active", "warning", "critical", "maintenance", "disabled")


# --- records ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Team:
    """A team."""

    id: str
    name: str
    description: str | None


@dataclass(frozen=True, slots=True)
class User:
    """A user; `deleted_at` is set once the user is gone and lives on in references only."""

    id: str
    name: str
    email: str
    role: str
    job_title: str | None
    time_zone: str
    color: str
    description: str | None
    team_ids: tuple[str, ...]
    has_phone: bool
    via_sso: bool
    deleted_at: int | None = None


@dataclass(frozen=True, slots=True)
class Layer:
    """A rotation: users take turns of `turn` seconds from `start` on, until `end` (None: for good)."""

    id: str
    name: str
    start: int
    end: int | None
    turn: int
    user_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Schedule:
    """A schedule; `layers` are ordered, the first that covers a moment wins.

    `former_user_ids` are users that are listed although no layer has them any more.
    """

    id: str
    name: str
    description: str | None
    time_zone: str
    team_ids: tuple[str, ...]
    layers: tuple[Layer, ...]
    former_user_ids: tuple[str, ...] = ()


class Target(NamedTuple):
    """Whom a rule of an escalation policy calls: `kind` is `users` or `schedules`."""

    kind: str
    id: str


@dataclass(frozen=True, slots=True)
class Rule:
    """One level of an escalation policy; `delay` in minutes."""

    id: str
    delay: int
    targets: tuple[Target, ...]


@dataclass(frozen=True, slots=True)
class Policy:
    """An escalation policy; level 1 is the first rule."""

    id: str
    name: str
    description: str | None
    num_loops: int
    handoff: str
    rules: tuple[Rule, ...]
    team_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Integration:
    """Where events come in.  `key` is made up like everything here, but would be a secret in real life."""

    id: str
    type: str
    name: str
    vendor_id: str | None
    created: int
    key: str


@dataclass(frozen=True, slots=True)
class Service:
    """A service."""

    id: str
    name: str
    description: str | None
    status: str
    policy_id: str
    created: int
    auto_resolve: int | None
    ack_timeout: int | None
    support_hours: bool
    integrations: tuple[Integration, ...]


@dataclass(frozen=True, slots=True)
class Named:
    """A record of a small kind: priority, business service, vendor, extension, extension schema.

    `extra` holds what only its kind has, as the API names it.
    """

    id: str
    name: str
    description: str | None
    extra: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Incident:
    """An incident, made from the columns; `roll` is its own source of chance for details."""

    id: str
    number: int
    title: str
    service_id: str
    status: str
    urgency: str
    created: int
    acknowledged: int | None
    resolved: int | None
    updated: int
    priority: int | None
    channel: int
    alerts: int
    escalations: int
    auto_resolved: bool
    roll: int


class Shift(NamedTuple):
    """Who is on call from when to when."""

    user_id: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class OnCall:
    """One shift: `start` and `end` are None when the policy calls the user directly."""

    policy_id: str
    level: int
    schedule_id: str | None
    user_id: str
    start: int | None
    end: int | None


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One change of configuration, as the audit trail tells it."""

    id: str
    at: int
    action: str
    kind: str
    record_id: str
    summary: str
    actor_id: str | None
    fields: tuple[tuple[str, str | None, str | None], ...]


# --- chance and identifiers ------------------------------------------------------------------------------------


class Dice:
    """Reproducible chance."""

    def __init__(self, seed: int, stream: int) -> None:
        self._draw = random.Random(seed * 1_000 + stream).random

    def below(self, n: int) -> int:
        """A number from 0 to n - 1."""
        return int(self._draw() * n)

    def pick(self, options: Sequence[T]) -> T:
        """One of the options."""
        return options[self.below(len(options))]

    def chance(self, percent: int) -> bool:
        """True in so many of a hundred cases."""
        return self.below(100) < percent

    def some(self, options: Sequence[T], count: int) -> tuple[T, ...]:
        """So many different ones of the options (all, if there are fewer), in a random order."""
        left = list(options)
        return tuple(left.pop(self.below(len(left))) for _ in range(min(count, len(left))))

    def hexadecimal(self, digits: int) -> str:
        """A string of hexadecimal digits."""
        return "".join("0123456789abcdef"[self.below(16)] for _ in range(digits))


_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"


_TRIPLES = tuple(a + b + c for a in _DIGITS for b in _DIGITS for c in _DIGITS)


def _base36(value: int, width: int) -> str:
    found = ""
    for _ in range((width + 2) // 3):
        value, digits = divmod(value, len(_TRIPLES))
        found = _TRIPLES[digits] + found
    return found[-width:]


class Ids:
    """Identifiers that look random and are unique: number -> identifier is a permutation, and can be undone."""

    def __init__(self, prefix: str, width: int, offset: int) -> None:
        self._prefix = prefix
        self._width = width
        self._space = 36**width
        self._offset = offset
        self._factor = int(self._space * 0.618) // 6 * 6 + 1  # no common divisor with 36
        self._inverse = pow(self._factor, -1, self._space)

    def __getitem__(self, number: int) -> str:
        return self._prefix + _base36((number + self._offset) * self._factor % self._space, self._width)

    def number(self, identifier: str) -> int | None:
        """The number behind an identifier; None for a string that cannot be one."""
        digits = identifier.removeprefix(self._prefix)
        if len(digits) != self._width or len(identifier) == len(digits) or not set(digits) <= set(_DIGITS):
            return None
        found: int = (int(digits, 36) * self._inverse - self._offset) % self._space
        return found


def parse_time(value: str) -> int:
    """An ISO 8601 time with offset (or `Z`) as seconds.  Raises `ValueError`."""
    found = datetime.fromisoformat(value)
    if found.tzinfo is None:
        found = found.replace(tzinfo=UTC)
    return int(found.timestamp())


def iso_time(seconds: int) -> str:
    """A moment in ISO 8601, in UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


# --- incidents -------------------------------------------------------------------------------------------------

_ROLLS = (len(text.TITLES) * 4, 97, 10, 10, 4, len(text.CHANNELS), 5, 6, 600, 7)
"""Sizes of the details drawn from an incident's roll, in the order `Incidents.record` takes them."""


class Incidents:
    """All incidents, a column for each fact; position = incident number - 1, so positions are in order of creation.

    A row of a deleted service is hidden; it is no longer served.
    """

    def __init__(self, ids: Ids) -> None:
        self.ids = ids
        self.service_ids: list[str] = []
        self.service_names: list[str] = []
        self.service = array("i")
        self.created = array("q")
        self.changed = array("q")
        self.status = bytearray()
        self.urgency = bytearray()
        self.hidden = bytearray()
        self.roll = array("Q")
        self.titles: dict[int, str] = {}

    def __len__(self) -> int:
        return len(self.created)

    def append(self, *, service: int, created: int, changed: int, status: int, urgency: int, roll: int) -> int:
        """Add an incident of a service (a position in `service_ids`); returns its position."""
        self.service.append(service)
        self.created.append(created)
        self.changed.append(changed)
        self.status.append(status)
        self.urgency.append(urgency)
        self.hidden.append(0)
        self.roll.append(roll)
        return len(self.created) - 1

    def between(self, since: int, until: int) -> range:
        """Positions created from since to until, both included."""
        return range(bisect_left(self.created, since), bisect_right(self.created, until))

    def position(self, identifier: str) -> int | None:
        """Where the incident with this identifier is, if there is one to be seen."""
        found = self.ids.number(identifier)
        return found if found is not None and found < len(self) and not self.hidden[found] else None

    def rows_of(self, service_id: str) -> list[int]:
        """Positions of a service's incidents, hidden ones included."""
        if service_id not in self.service_ids:
            return []
        wanted = self.service_ids.index(service_id)
        return [row for row, service in enumerate(self.service) if service == wanted]

    def record(self, position: int) -> Incident:
        """The incident at a position."""
        roll = left = self.roll[position]
        drawn = []
        for size in _ROLLS:
            left, value = divmod(left, size)
            drawn.append(value)
        title, n, priority, acked, auto, channel, alerts, escalations, delay, _ = drawn
        created, changed, status = self.created[position], self.changed[position], self.status[position]
        touched = status == 1 or (status == 2 and acked < 7)
        return Incident(
            id=self.ids[position],
            number=position + 1,
            title=self.titles.get(position) or self._title(title, n, self.service_names[self.service[position]]),
            service_id=self.service_ids[self.service[position]],
            status=STATUSES[status],
            urgency=URGENCIES[self.urgency[position]],
            created=created,
            acknowledged=min(created + 20 + delay, changed) if touched else None,
            resolved=changed if status == 2 else None,
            updated=changed,
            priority=priority if priority < len(text.PRIORITIES) else None,
            channel=channel,
            alerts=alerts + 1,
            escalations=max(0, escalations - 3),
            auto_resolved=status == 2 and auto == 0,
            roll=roll,
        )

    def _title(self, choice: int, n: int, service: str) -> str:
        odd = len(text.TITLES) * 4 - len(text.ODD_TITLES)
        template = text.ODD_TITLES[choice - odd] if choice >= odd else text.TITLES[choice % len(text.TITLES)]
        return template.replace("{s}", service).replace("{n}", str(n + 2))


# --- generator -------------------------------------------------------------------------------------------------


def _unique(names: set[str], wanted: str) -> str:
    """The wanted name, with a number behind it if it is taken; then taken itself."""
    found, n = wanted, 2
    while found in names:
        found, n = f"{wanted} {n}", n + 1
    names.add(found)
    return found


def make_teams(ids: Ids, count: int) -> list[Team]:
    """Teams, the first ones with names of their own."""
    names: set[str] = set()
    found = []
    for n in range(count):
        name, description = text.TEAMS[n % len(text.TEAMS)]
        found.append(Team(ids[n], _unique(names, name), description))
    return found


def make_users(seed: int, ids: Ids, count: int, teams: Sequence[Team]) -> list[User]:
    """Users; e-mail addresses are unique and ASCII."""
    dice = Dice(seed, 2)
    team_ids = [team.id for team in teams]
    emails: set[str] = set()
    found = []
    for n in range(count):
        name, address = text.PEOPLE[n % len(text.PEOPLE)]
        if n >= len(text.PEOPLE):
            family, latin = dice.pick(text.FAMILIES)
            name, address = f"{name.split(' ')[0]} {family}", f"{address.split('.')[0]}.{latin}"
        address = _unique(emails, address).replace(" ", "")
        found.append(
            User(
                id=ids[n],
                name=name,
                email=f"{address}@example.com",
                role=dice.pick(text.ROLES),
                job_title=dice.pick(text.JOBS),
                time_zone=dice.pick(text.ZONES),
                color=dice.pick(text.COLORS),
                description=dice.pick((None, None, dice.pick(text.PARAGRAPHS))),
                team_ids=dice.some(team_ids, dice.below(3)),
                has_phone=dice.chance(70),
                via_sso=dice.chance(50),
            )
        )
    return found


def make_schedules(
    seed: int, ids: Ids, count: int, *, users: Sequence[User], teams: Sequence[Team], now: int
) -> list[Schedule]:
    """Schedules: a rotation of two to five users; every third has an older rotation that has ended."""
    dice = Dice(seed, 3)
    user_ids = [user.id for user in users]
    monday = (now // DAY - (now // DAY + 3) % 7 - 20 * 7) * DAY + 9 * HOUR
    found = []
    for n in range(count):
        team = teams[n % len(teams)] if teams else None
        turn = (7 * DAY, DAY, 12 * HOUR)[n % 3]
        word = ("Weekly", "Daily", "Follow the sun")[n % 3]
        layers = [Layer(ids[count + 2 * n], "Layer 1", monday, None, turn, dice.some(user_ids, 2 + dice.below(4)))]
        if n % 3 == 2:
            before = monday - 300 * DAY
            layers.append(Layer(ids[count + 2 * n + 1], "Layer 2", before, monday, 7 * DAY, tuple(user_ids[:2])))
        found.append(
            Schedule(
                id=ids[n],
                name=f"{team.name if team else 'Company'} - {word} rotation {n + 1}",
                description=dice.pick((None, "", dice.pick(text.PARAGRAPHS))),
                time_zone=dice.pick(text.ZONES),
                team_ids=(team.id,) if team and dice.chance(70) else (),
                layers=tuple(layers),
            )
        )
    return found


def make_policies(
    seed: int, ids: Ids, count: int, *, users: Sequence[User], schedules: Sequence[Schedule], teams: Sequence[Team]
) -> list[Policy]:
    """Escalation policies: schedules on the first levels, a user called directly on the last."""
    dice = Dice(seed, 4)
    found = []
    for n in range(count):
        direct = Target("users", dice.pick(users).id)
        first = Target("schedules", schedules[n % len(schedules)].id) if schedules else direct
        levels: list[tuple[Target, ...]] = [(first,)]
        if schedules and dice.chance(60):
            second = Target("schedules", dice.pick(schedules).id)
            levels.append((second, direct) if dice.chance(25) else (second,))
        levels.append((Target("users", dice.pick(users).id),))
        rules = tuple(Rule(ids[count + 4 * n + i], 5 * (i + 2), targets) for i, targets in enumerate(levels))
        team = teams[n % len(teams)] if teams else None
        found.append(
            Policy(
                id=ids[n],
                name=f"{team.name if team else 'Company'} escalation {n + 1}",
                description=dice.pick((None, dice.pick(text.PARAGRAPHS))),
                num_loops=dice.below(4),
                handoff=dice.pick(("if_has_services", "always")),
                rules=rules,
                team_ids=(team.id,) if team else (),
            )
        )
    return found


def make_services(
    seed: int, ids: Ids, count: int, *, policies: Sequence[Policy], vendors: Sequence[Named], now: int
) -> list[Service]:
    """Services, the first dozen with names of their own; names are unique."""
    dice = Dice(seed, 5)
    names: set[str] = set()
    found = []
    for n in range(count):
        name, description = _service_words(dice, n)
        created = now - DAY * (40 + dice.below(3000)) - dice.below(DAY)
        found.append(
            Service(
                id=ids[n],
                name=_unique(names, name),
                description=description,
                status=dice.pick(("active",) * 14 + ("maintenance", "disabled")),
                policy_id=policies[n % len(policies)].id if n < len(policies) else dice.pick(policies).id,
                created=created,
                auto_resolve=dice.pick((None, 14_400, 86_400)),
                ack_timeout=dice.pick((None, 600, 1_800)),
                support_hours=dice.chance(20),
                integrations=tuple(
                    _integration(dice, ids[count + 3 * n + i], vendors, created) for i in range(dice.below(4))
                ),
            )
        )
    return found


def _service_words(dice: Dice, n: int) -> tuple[str, str | None]:
    if n < len(text.SERVICES):
        return text.SERVICES[n]
    name = " ".join(filter(None, (dice.pick(text.SUBJECTS), dice.pick(text.PARTS), dice.pick(text.PLACES))))
    kind = dice.below(10)
    if kind < 2:
        return name, None
    long = kind == 9
    return name, ("\n\n" if long else " ").join(dice.pick(text.PARAGRAPHS) for _ in range(15 if long else 1 + kind % 3))


def _integration(dice: Dice, identifier: str, vendors: Sequence[Named], created: int) -> Integration:
    kind, name = dice.pick(text.INTEGRATION_TYPES)
    vendor = dice.pick(vendors).id if dice.chance(60) else None
    return Integration(identifier, kind, name, vendor, created + HOUR, dice.hexadecimal(32))


def fill_incidents(
    table: Incidents, seed: int, services: Sequence[Service], *, now: int, count: int, days: float
) -> None:
    """Spread incidents evenly over the last days, in order; the last two are open."""
    table.service_ids.extend(service.id for service in services)
    table.service_names.extend(service.name for service in services)
    draw = random.Random(seed * 1_000 + 6).random
    span = days * DAY
    for n in range(count):
        created = int(now - span + span * (n + draw()) / count)
        length = draw()
        # four in five within two hours, most others within a day, one in twenty-five is still open
        duration = 90 + int(length * 9_000 if length < 0.8 else (length - 0.8) * 432_000)
        end = created + duration
        is_open = end > now or length > 0.96 or n >= count - 2
        roll = int(draw() * 2**53)
        acknowledged = (roll >> 50 & 1 or n == count - 2) and n != count - 1
        status = 2 if not is_open else 1 if acknowledged else 0
        changed = (created, min(created + 300, now), end)[status]
        table.append(
            service=int(draw() * len(services)),
            created=created,
            changed=changed,
            status=status,
            urgency=draw() < 0.6,
            roll=roll,
        )


def make_named(ids: Ids, rows: Sequence[tuple[str, str | None, Mapping[str, Any]]]) -> dict[str, Named]:
    """Records of a small kind, by identifier."""
    return {ids[n]: Named(ids[n], name, words, extra) for n, (name, words, extra) in enumerate(rows)}
