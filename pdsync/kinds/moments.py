"""What the moments and stretches of time in a query mean at a given time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from pdsync.kinds.shape import RELATIVE_MOMENT

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pdsync.kinds.shape import Window

_SKEW = timedelta(minutes=5)


def is_relative(text: str) -> bool:
    """Whether what a parameter means depends on the time it is asked."""
    return text == "now" or RELATIVE_MOMENT.fullmatch(text) is not None


def moment(text: str, now: datetime) -> datetime:
    """The moment that a parameter means: ISO 8601 (UTC unless it says otherwise) or relative, such as `-90d`.

    Moments ahead fall short by a few minutes: they are bounded, and the server's clock may be behind ours.
    """
    if text == "now":
        return now
    if RELATIVE_MOMENT.fullmatch(text):
        away = timedelta(hours=int(text[:-1]) * (24 if text.endswith("d") else 1))
        return now + away - (_SKEW if text.startswith("+") else timedelta())
    read = datetime.fromisoformat(text)
    return read if read.tzinfo else read.replace(tzinfo=UTC)


def window_start(window: Window, params: Iterable[tuple[str, str]], now: datetime) -> datetime | None:
    """From when on a list goes; None when it is not bounded, or nobody says from when."""
    given = dict(params)
    if window.everything and given.get(window.everything[0]) == window.everything[1]:
        return None
    if since := given.get(window.since):
        return moment(since, now)
    return None if window.back_days is None else now - timedelta(days=window.back_days)


def window_end(window: Window, params: Iterable[tuple[str, str]], now: datetime) -> datetime | None:
    """Until when a list goes, as far as it may look ahead; None when nobody says."""
    until = dict(params).get(window.until)
    if until is None:
        return None
    end = moment(until, now)
    return end if window.furthest_days is None else min(end, moment(f"+{window.furthest_days}d", now))
