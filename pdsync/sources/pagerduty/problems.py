"""Why a list is not known to be complete, in words."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from pdsync.errors import Diagnostic, PdsyncError, error, some_of, warning
from pdsync.kinds import SAME_ROWS
from pdsync.transport import ApiError, Unreachable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pdsync.kinds import Kind

REACH = 10_000
"""Rows of one list that can be reached."""

_UNPROVEN = "what came is used, and nothing is deleted for being missing"


def unreadable(kind: Kind, failure: PdsyncError) -> Diagnostic:
    """A request for it failed for good."""
    cause = failure.diagnostics[0]
    detail = f"{kind.name}: {cause.summary}: {cause.detail}"
    return error("PD320", "a list could not be read completely", detail=detail, hint=cause.hint)


def too_long(kind: Kind, total: int | None) -> Diagnostic:
    """It has more rows than can be reached, as far as anybody tells, and no time to cut it by."""
    counted = {None: "more records", REACH: f"{REACH} records or more"}.get(total, f"{total} records")
    detail = f"{kind.name}: {counted}, PagerDuty gives the first {REACH}"
    return error("PD321", "a list is too long to be read", detail=detail, hint=_narrowing(kind))


def moved(kind: Kind, got: int, total: int | None) -> Diagnostic:
    """Its pages do not fit together, however often it is read."""
    counted = "" if total is None else f", PagerDuty counts {total}"
    detail = f"{kind.name}: {got} records came{counted}, rows moved between the pages, also when it was read again"
    hint = f"plan again when less changes in PagerDuty; should that be of no use, ask its support; {_UNPROVEN}"
    return error("PD322", "a list kept changing while it was read", detail=detail, hint=hint)


def miscounted(kind: Kind, got: int, total: int, gone: int = 0) -> Diagnostic:
    """Not as many came as PagerDuty counts, those left out that seem to have `gone` meanwhile."""
    meanwhile = f", {gone} of them seem to have gone meanwhile" if gone else ""
    detail = f"{kind.name}: {got} records came{meanwhile}, PagerDuty counts {total}"
    hint = f"should that last, it counts what these credentials do not see, or wrongly: ask its support; {_UNPROVEN}"
    return error("PD326", "a list is not as long as PagerDuty counts", detail=detail, hint=hint)


def repeated(kind: Kind, got: int, again: int) -> Diagnostic:
    """Rows came twice, and nobody knows in whose place."""
    detail = f"{kind.name}: {got} records came, and {again} rows that had come before, also when it was read again"
    hint = f"should that last, ask PagerDuty's support; {_UNPROVEN}"
    return error("PD327", "a list repeats what it gave before", detail=detail, hint=hint)


def cut_short(kind: Kind, why: str) -> Diagnostic:
    """There is no way to its end."""
    detail = f"{kind.name}: {why}"
    return error("PD323", "a list could not be read to its end", detail=detail, hint=_narrowing(kind))


def _narrowing(kind: Kind) -> str:
    """What makes a list shorter, if anything does."""
    names = " or ".join(param.name for param in kind.params if param.name not in SAME_ROWS)
    return f"ask for less with apiQueryParams: {names}; {_UNPROVEN}" if names else _UNPROVEN


ENOUGH_TROUBLE = 3
"""So many requests of one sort in a row that nobody answered, for as long as patience lasts, speak for the rest."""


def is_trouble(failure: Exception | None) -> bool:
    """Whether a failure is that of a server which was asked until patience was at its end."""
    status = failure.status if isinstance(failure, ApiError) else 0
    return (
        isinstance(failure, Unreachable)
        or status == HTTPStatus.REQUEST_TIMEOUT
        or status >= HTTPStatus.INTERNAL_SERVER_ERROR
    )


def some_missing(kind: Kind, failed: Sequence[tuple[str, Diagnostic]], unasked: int, count: int) -> Diagnostic:
    """Some of the many requests that make it up failed: the first of them, and how many there are."""
    name, cause = failed[0]
    others = len(failed) + unasked - 1
    more = f" (and {others} more of {count})" if others else ""
    detail = f"{kind.name} of {name}: {cause.detail.removeprefix(f'{kind.name}: ')}{more}"
    names = some_of(name for name, _ in failed)
    return error("PD324", "some parts of a list could not be read", detail=detail, hint=cause.hint, **names)


def too_early(kind: Kind, behind: float) -> Diagnostic:
    """It was read up to a time that PagerDuty has long left behind."""
    detail = f"{kind.name}: by PagerDuty's answers it is {round(behind / 3600):,} hours later than by this machine"
    hint = f"set the clock of this machine; {_UNPROVEN}"
    return error("PD328", "the clock is too slow for a list that goes by time", detail=detail, hint=hint)


def not_granted(kind: Kind, scopes: Sequence[str]) -> Diagnostic:
    """The OAuth app lacks scopes for it."""
    named = " and ".join(scopes)
    detail = f"{kind.name}: the app was not granted {named}"
    return error("PD325", "an OAuth scope is missing", detail=detail, hint=f"grant {named} to the app in PagerDuty")


NOT_AGAIN = "PD332"


def not_again(what: str, why: str, read_at: str) -> Diagnostic:
    """Analytics were to be read once more on the same day, and could not be."""
    hint = f"what was read at {read_at} is used"
    return warning(NOT_AGAIN, "analytics could not be read again", detail=f"{what}: {why}", hint=hint)
