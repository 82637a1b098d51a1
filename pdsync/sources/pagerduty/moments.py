"""Moments and stretches of time: what a query's parameters mean when it is asked."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING

from pdsync.kinds import Kind, Window, moment, window_end, window_start

if TYPE_CHECKING:
    from pdsync.model import Json

Params = tuple[tuple[str, str], ...]

__all__ = [
    "OLDEST",
    "Params",
    "Span",
    "body_of",
    "in_utc",
    "moment",
    "moment_told",
    "span_of",
    "unbounded",
    "wire_params",
]

OLDEST = datetime(2009, 1, 1, tzinfo=UTC)
"""Nothing in PagerDuty is older: it did not exist."""


def in_utc(when: datetime) -> str:
    """RFC 3339 in UTC, to the second."""
    return when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def moment_told(told: object) -> datetime | None:
    """The moment that a record tells; None where it tells none that there can be."""
    try:
        at = datetime.fromisoformat(str(told))
    except ValueError:
        return None
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return at if at >= OLDEST else None


def wire_params(kind: Kind, params: Params, now: datetime) -> Params:
    """What is sent for the parameters of a query: moments as moments, and what is sent unless given."""
    moments = {param.wire for param in kind.params if param.type in {"since", "until"}}
    names = {name for name, _ in params}
    whole = params + tuple((name, value) for name, value in kind.unless_given if name not in names)
    sent = {name: in_utc(moment(value, now)) for name, value in whole if name in moments}
    if kind.window and (end := window_end(kind.window, whole, now)):
        sent[kind.window.until] = in_utc(end)
    return tuple((name, sent.get(name, value)) for name, value in whole)


def body_of(kind: Kind, params: Params) -> dict[str, Json]:
    """The body of a POST for parameters as they are sent: numbers, flags and lists as JSON, filters together."""
    types = {param.wire: param.type for param in kind.params}
    body: dict[str, Json] = {}
    for wire, text in params:
        group, _, name = wire.rpartition(".")
        inside = body.setdefault(group, {}) if group else body
        if types.get(wire) == "texts":
            inside.setdefault(name.removesuffix("[]"), []).append(text)
        else:
            inside[name] = _as_json(text, types.get(wire, "text"))
    return body


def _as_json(text: str, type_: str) -> Json:
    if type_ == "flag":
        return text == "true"
    return int(text) if type_ == "number" else text


_STEPS = tuple(timedelta(seconds=each) for each in (86_400, 21_600, 3_600, 600, 60, 10, 1))
"""What times at which stretches are cut are rounded to; a second at least, as finer times are not sent."""

_ZERO = datetime(2000, 1, 1, tzinfo=UTC)


def _floor(at: datetime, step: timedelta) -> datetime:
    return at - (at - _ZERO) % step


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of time."""

    since: datetime
    until: datetime

    @property
    def width(self) -> timedelta:
        """How long it is."""
        return self.until - self.since

    def cut(self, widest: timedelta, least: int = 2) -> list[Span]:
        """Parts of at most `widest` that touch each other, so many at `least` (two or more).

        They are about as wide as each other, and touch at round times: those in the middle stay the same for a while
        when the whole moves on, and so do the answers to them.
        """
        count = max(least, -(-self.width // widest))
        part = self.width / count
        step = next((each for each in _STEPS if 4 * each <= part and part + each <= widest), _STEPS[-1])
        inner = (_floor(self.since + part * number, step) for number in range(1, count))
        edges = sorted({self.since, *(edge for edge in inner if edge > self.since), self.until})
        return [Span(since, until) for since, until in pairwise(edges)]

    def as_params(self, window: Window) -> Params:
        """As parameters."""
        return ((window.since, in_utc(self.since)), (window.until, in_utc(self.until)))


def span_of(window: Window, params: Params, now: datetime) -> Span | None:
    """The time that a list is bounded to; None when it is not, or nobody says from when."""
    since, until = window_start(window, params, now), window_end(window, params, now)
    if since is None:
        return None
    return Span(since, until or now + timedelta(days=window.ahead_days))


def unbounded(window: Window, params: Params) -> Params:
    """The parameters without those that bound the list in time."""
    bounds = {window.since, window.until, *(window.everything or ())[:1]}
    return tuple(pair for pair in params if pair[0] not in bounds)
