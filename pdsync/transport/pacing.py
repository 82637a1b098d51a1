"""How fast: what a server says of the requests that it still takes, and when the next one may go."""

from __future__ import annotations

from dataclasses import dataclass

_DOUBT = 2.0
"""Seconds after which one request finds out whether a budget is spent that cannot be."""

_FEW_SENT = 25
"""So many requests more or less may be gone of a budget however small it is."""


@dataclass(frozen=True, slots=True)
class LimitHeaders:
    """Names of the headers that tell the request budget: its size, what is left, when it starts anew.

    `daily` names what is left of a longer budget that is not worth waiting for, and `renewed` when it starts anew: once
    nothing is left of it, nothing is asked for any more of what it is for.
    """

    limit: str
    remaining: str
    reset: str
    daily: str = ""
    renewed: str = ""


PAGERDUTY_LIMITS = LimitHeaders(
    "ratelimit-limit", "ratelimit-remaining", "ratelimit-reset", "daily-ratelimit-remaining", "daily-ratelimit-reset"
)
"""PagerDuty REST API, Rate limits; the daily budget is that of the analytics endpoints."""

PORT_LIMITS = LimitHeaders("x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset")
"""Port API reference, Rate limits."""


class _Budget:
    """The requests left in a window, kept between the answers that tell it.

    All but the last twentieth is there to be spent at once; that is spread evenly over the rest of the window, so
    that the client slows down before it is refused.  A spent window is waited out.

    One answer may be wrong, or somebody else's: that far more is gone than was sent is not believed before another one
    says so too, which a request is sent for soon, or a refusal.
    """

    def __init__(self, limit: int, sent: int = 0) -> None:
        self.limit = limit
        self.left: float | None = None
        self.ends = 0.0
        self._sent = sent
        self._next = 0.0
        self._ask_at: float | None = None
        self._is_sure = False

    @property
    def _much(self) -> float:
        """So many requests are not in flight, nor sent by others in a moment."""
        return max(_FEW_SENT, self.limit / 4)

    def told(self, left: float, ends: float, now: float) -> None:
        """An answer said what is left; within the same window the lower of two views that are near each other holds."""
        same_window = self.left is not None and now < self.ends and ends <= self.ends + 1.5
        if self._ask_at is not None:
            self._is_sure, self._ask_at = left <= self._much, None
        else:
            left = self._weighed(left, same_window=same_window, soon=now + _DOUBT)
        self.left, self.ends = left, ends

    def _weighed(self, left: float, *, same_window: bool, soon: float) -> float:
        """What is to be believed of one answer."""
        self._is_sure = self._is_sure and same_window
        held = self.left if same_window and self.left is not None else self.limit - self._sent
        if not self._is_sure and left <= self.limit / 20 and held - left > self._much:
            self._ask_at = soon
            return 0.0
        is_near = self._is_sure or left - held <= self._much
        return min(left, held) if same_window and is_near else left

    def refused(self, until: float) -> None:
        """A request was one too many: no answer that says otherwise is believed before that."""
        self.left, self.ends = 0.0, until
        self._is_sure, self._ask_at = True, None

    def turn(self, now: float) -> tuple[float, bool]:
        """How long to wait, and whether one may go then (else: ask again)."""
        if self.left is None or now >= self.ends:
            self.left, self._sent, self._is_sure, self._ask_at = None, 1, False, None
            return 0.0, True
        if self.left < 1:
            return self._spent(now)
        wait = 0.0
        if self.left <= self.limit / 20:
            slot = min(max(now, self._next), self.ends)  # then the window begins anew, for those who wait as well
            self._next = slot + (self.ends - now) / self.left
            wait = slot - now
        self.left -= 1
        self._sent += 1
        return wait, True

    def _spent(self, now: float) -> tuple[float, bool]:
        """The same when nothing is left, as far as is known: where that is in doubt, one goes and finds out."""
        if self._ask_at is None or self._ask_at > now:
            return min(self.ends, self._ask_at or self.ends) - now, False
        self._ask_at = now + _DOUBT
        self._sent += 1
        return 0.0, True


class Pacer:
    """Budgets by their size, and which one a part of the API draws on.

    PagerDuty reports the budget that is nearest to its end, and some endpoints have one of their own; requests
    are told apart by the first segment of their path.
    """

    def __init__(self) -> None:
        self._budgets: dict[int, _Budget] = {}
        self._used_by: dict[str, _Budget] = {}
        self._sent = 0

    def turn(self, path: str, now: float) -> tuple[float, bool]:
        """How long a request has to wait, and whether it may go then (else: ask again)."""
        budget = self._of(path)
        wait, granted = budget.turn(now) if budget else (0.0, True)
        self._sent += granted
        return wait, granted

    def told(self, path: str, limit: int, left: float, ends: float, now: float) -> None:
        """An answer said how large a budget is, what is left of it, and when it starts anew."""
        budget = self._budgets.setdefault(limit, _Budget(limit, self._sent))
        self._used_by[area(path)] = budget
        budget.told(left, ends, now)

    def refused(self, path: str, now: float, wait: float) -> None:
        """A 429: nobody who draws on the same budget goes before `wait` seconds are over."""
        budget = self._of(path) or self._budgets.setdefault(0, _Budget(0))
        self._used_by.setdefault(area(path), budget)
        budget.refused(now + wait)

    def _of(self, path: str) -> _Budget | None:
        if not self._budgets:
            return None
        return self._used_by.get(area(path)) or self._budgets[max(self._budgets)]


def area(path: str) -> str:
    """The part of the API that a path is in, for which there may be a budget of its own: its first step."""
    return "/" + path.lstrip("/").partition("/")[0]
