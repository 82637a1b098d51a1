"""Records that only left the time window of their list.

PagerDuty lists incidents from a moment on: one that is older is not listed, which says nothing about whether it is
gone.  How old a record is stands in its entity, if a mapping writes the record's own moment (`.created_at` for an
incident) as it is.  So, for an entity of ours whose record is not listed any more:

    younger than the window's start            gone, as ever
    older, no rule has a retention             gone from the list, by age: the same, under its own name (left-window)
    older, and not yet as old as a retention   kept as it is
    older than every retention                 left-window
    a rule has a retention, age not known      held

Rules count that read the same kind and may write the entity's blueprint: an incident that was open when it was last
seen may be resolved by now, and too old for the list of those.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Literal

from pdsync.kinds import KINDS, window_start
from pdsync.model import Expression, sources_of
from pdsync.plan.decide import constant_blueprint

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pdsync.model import EntityKey, LedgerEntry, MappingRule

Age = Literal["listed", "left", "kept", "unknown"]
"""Young enough to be listed; older than the window; older, and kept; to be kept, but of unknown age."""

_KEEPING: tuple[Age, ...] = ("kept", "unknown", "listed", "left")

SLACK = timedelta(hours=1)
"""The list was asked for at about the time of the snapshot, not to the second."""


@dataclass(frozen=True, slots=True)
class _Windowed:
    blueprint: str | None
    start: datetime
    retention: timedelta | None
    paths: tuple[str, ...]


class Retention:
    """The windows of a catalog's rules, at the moment of a snapshot (RFC 3339; empty: there is none)."""

    def __init__(self, rules: Iterable[MappingRule], taken_at: str) -> None:
        self._now = moment_of(taken_at)
        self._by_kind: dict[str, list[_Windowed]] = {}
        if self._now is not None:
            for rule in rules:
                self._add(rule, self._now)

    def _add(self, rule: MappingRule, now: datetime) -> None:
        row = KINDS.get(rule.kind)
        if row is None or row.window is None:
            return
        if (start := window_start(row.window, rule.query.params, now)) is not None:
            blueprint, retention = constant_blueprint(rule), rule.lifecycle.retention
            windowed = _Windowed(blueprint, start + SLACK, retention, time_paths(rule))
            self._by_kind.setdefault(rule.kind, []).append(windowed)

    def age(self, key: EntityKey, last: LedgerEntry) -> Age:
        """What the age of an entity's records says about their absence: what keeps it first."""
        kinds = {source.partition("/")[0] for source in sources_of(last)}
        ages = {self.age_of(kind, key, last) for kind in kinds}
        return next((age for age in _KEEPING if age in ages), "listed")

    def age_of(self, kind: str, key: EntityKey, last: LedgerEntry) -> Age:
        """The same of a record of one kind."""
        windows = self._windows(kind, key)
        if not windows or self._now is None:
            return "listed"
        paths = dict.fromkeys(path for w in windows for path in w.paths)
        born = next((at for path in paths if (at := moment_of(last.fields.get(path)))), None)
        if born is None:
            return "unknown" if any(w.retention is not None for w in windows) else "listed"
        left = [w for w in windows if born < w.start]
        if any(w.retention is not None and self._now - born <= w.retention for w in left):
            return "kept"
        return "left" if left else "listed"

    def has_left(self, kind: str, key: EntityKey, made: datetime) -> bool:
        """Whether a record that was made at a moment is older than a window that an entity's records fall under."""
        return any(made < w.start for w in self._windows(kind, key))

    def _windows(self, kind: str, key: EntityKey) -> list[_Windowed]:
        return [w for w in self._by_kind.get(kind, ()) if w.blueprint in (None, key.blueprint)]


def time_paths(rule: MappingRule) -> tuple[str, ...]:
    """The paths onto which a rule writes, as it is, the moment in its record that the window of its list is about."""
    row = KINDS.get(rule.kind)
    field = row.window.field if row and row.window else ""
    wanted = f".{field}"
    fields = rule.fields.items() if field else ()
    return tuple(p for p, e in fields if isinstance(e, Expression) and e.text.strip() == wanted)


def moment_of(value: object) -> datetime | None:
    """A moment as records and snapshots write it; None of anything else."""
    if not isinstance(value, str) or not value:
        return None
    try:
        found = datetime.fromisoformat(value)
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
