"""Reading the value of one selector key: the texts that are sent for it, and what is wrong with it."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from pdsync.errors import Severity
from pdsync.kinds.names import suggest
from pdsync.kinds.shape import DAYS_PER_MONTH, RELATIVE_MOMENT, Param
from pdsync.kinds.zones import zones

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pdsync.kinds.shape import ParamType
    from pdsync.model import Json

_TRUE = frozenset({"true", "t", "yes", "y", "on", "1"})
_FALSE = frozenset({"false", "f", "no", "n", "off", "0"})
_SHORT = 60
_SORTED_BY = 2

_HOURS: Mapping[str, int] = MappingProxyType({"h": 1, "d": 24, "w": 7 * 24, "mo": DAYS_PER_MONTH * 24, "y": 365 * 24})
_DURATION = re.compile(r"([+-]?)\s*(\d{1,5})\s*(h|d|w|mo|y)")
_LONGEST = 100 * _HOURS["y"]


class Finding(NamedTuple):
    """A value that does not fit: where in it, what was wrong, what to do."""

    path: tuple[str | int, ...]
    detail: str
    hint: str = ""
    severity: Severity = Severity.ERROR


Values = tuple[tuple[str, ...], list[Finding]]


def name_of(value: Json) -> str:
    """The value's type in words of JSON, with the value itself where that is short."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case int() | float():
            return f"the number {value}"
        case str():
            return f'"{value}"' if len(value) <= _SHORT else "a long text"
        case list():
            return "a list"
        case _:
            return "an object"


def _text(value: Json, _param: Param) -> Values:
    if isinstance(value, str) and value.strip():
        return (value,), []
    if isinstance(value, int) and not isinstance(value, bool):
        return (str(value),), []
    return (), [Finding((), f"expected a text, not {name_of(value)}")]


def _zone(value: Json, param: Param) -> Values:
    """A time zone; one that is not known is sent all the same, as zones are made anew."""
    texts, findings = _text(value, param)
    if not texts or texts[0] in zones():
        return texts, findings
    return texts, [Finding((), f"{name_of(value)} is no known time zone", _zone_hint(texts[0]), Severity.WARNING)]


def _zone_hint(text: str) -> str:
    """The zone that was probably meant; a city without its area is one."""
    city = text.rpartition("/")[2].replace(" ", "_").casefold()
    same = sorted(name for name in zones() if name.rpartition("/")[2].casefold() == city)
    if same:
        return f'did you mean "{same[0]}"?'
    return suggest(text, zones()) or 'use a name such as "Europe/Berlin" or "UTC"'


def _choice(value: Json, param: Param) -> Values:
    if isinstance(value, str) and value in param.allowed:
        return (value,), []
    hint = suggest(value, param.allowed) if isinstance(value, str) else ""
    allowed = f"one of {', '.join(param.allowed)}" if len(param.allowed) > 1 else f'"{param.allowed[0]}"'
    return (), [Finding((), f"expected {allowed}, not {name_of(value)}", hint if "did you" in hint else "")]


def _several(value: Json, param: Param, one: Callable[[Json, Param], Values]) -> Values:
    """A list of `one`; the same wishes in another order are the same query, so they are sorted."""
    if not isinstance(value, list):
        hint = f"write a list: [{value}]" if isinstance(value, str) else ""
        return (), [Finding((), f"expected a list, not {name_of(value)}", hint)]
    texts: set[str] = set()
    findings = []
    for index, item in enumerate(value):
        read, found = one(item, param)
        texts.update(read)
        findings += [finding._replace(path=(index, *finding.path)) for finding in found]
    return tuple(sorted(texts)), findings


def _texts(value: Json, param: Param) -> Values:
    return _several(value, param, _text)


def _choices(value: Json, param: Param) -> Values:
    return _several(value, param, _choice)


def _sorting(value: Json, param: Param) -> Values:
    """Up to two fields with a direction, parted by a comma (PagerDuty REST API, List incidents)."""
    parts = [part.strip() for part in value.split(",")] if isinstance(value, str) else []
    fields = [part.partition(":") for part in parts]
    if 1 <= len(parts) <= _SORTED_BY and all(
        field in param.allowed and direction in {"", "asc", "desc"} and bool(direction) == bool(colon)
        for field, colon, direction in fields
    ):
        return (",".join(parts),), []
    detail = f"expected up to two of {', '.join(param.allowed)}, each with :asc or :desc, not {name_of(value)}"
    return (), [Finding((), detail, "such as created_at:desc")]


def _flag(value: Json, _param: Param) -> Values:
    text = str(value).strip().lower() if isinstance(value, bool | int | str) else ""
    if text in _TRUE or text in _FALSE:
        return ("true" if text in _TRUE else "false",), []
    return (), [Finding((), f"expected true or false, not {name_of(value)}")]


def _whole(value: Json) -> int | None:
    if isinstance(value, str) and re.fullmatch(r"[+-]?\d{1,6}", value.strip()):
        return int(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def read_count(value: Json, param: Param) -> Values:
    """A whole number within the bounds of `param`."""
    number = _whole(value)
    if number is None:
        return (), [Finding((), f"expected a whole number, not {name_of(value)}")]
    if number < param.minimum or (param.maximum is not None and number > param.maximum):
        bounds = f"{param.minimum} or more" if param.maximum is None else f"{param.minimum} to {param.maximum}"
        return (), [Finding((), f"expected {bounds}, not {number}")]
    return (str(number),), []


# --- moments ---------------------------------------------------------------------------------------------------


def _since(value: Json, param: Param) -> Values:
    return _moment(value, param, "-")


def _until(value: Json, param: Param) -> Values:
    texts, findings = _moment(value, param, "+")
    if param.past and texts and texts[0].startswith("+"):
        detail = f"{name_of(value)} is after now, and nothing is listed from there"
        findings = [*findings, Finding((), detail, f'write "-{texts[0][1:]}" for a moment ago', Severity.WARNING)]
    return texts, findings


def _moment(value: Json, param: Param, sign: str) -> Values:
    """A moment: months as a number, a stretch of time before (`since`) or after (`until`) now, or a date.

    Zero months are the same as not asking, as in Port's integration; where something must be asked, they are now.
    """
    if _whole(value) is not None:
        texts, findings = read_count(value, param._replace(maximum=None))
        hours = int(texts[0]) * _HOURS["mo"] if texts else 0
        if hours > _LONGEST:
            return (), [Finding((), f"expected a number of months, not {name_of(value)}", 'such as 3, or "90d"')]
        sent = (_relative(sign, hours),) if hours or (texts and param.required) else ()
        return sent, [*findings, *_too_far(value, param, hours)]
    text = value.strip() if isinstance(value, str) else ""
    if text == "now":
        return ("now",), []
    if (found := _DURATION.fullmatch(text)) and (hours := int(found[2]) * _HOURS[found[3]]) <= _LONGEST:
        return (_relative(found[1] or sign, hours),), _too_far(value, param, hours)
    if _is_iso(text):
        return (text,), []
    detail = f"expected a stretch of time, a number of months or a date, not {name_of(value)}"
    return (), [Finding((), detail, 'such as "30d", "12h", "2w", "3mo", "1y", now, or "2026-01-31T00:00:00Z"')]


def hours_in(text: str) -> int | None:
    """The hours in a stretch of time such as `12h`, `30d`, `2w`, `3mo`, `1y`; None when it is none of these."""
    found = _DURATION.fullmatch(text.strip())
    if found is None or found[1]:
        return None
    hours = int(found[2]) * _HOURS[found[3]]
    return hours if 0 < hours <= _LONGEST else None


def _relative(sign: str, hours: int) -> str:
    """One spelling for equal stretches, so that equal wishes give equal queries."""
    text = f"{sign}{hours // 24}d" if hours % 24 == 0 else f"{sign}{hours}h"
    assert RELATIVE_MOMENT.fullmatch(text)
    return text if hours else "now"


def _too_far(value: Json, param: Param, hours: int) -> list[Finding]:
    # A year is the widest window of what takes twelve months.
    slack = 5 * 24 if param.maximum == 12 else 0  # noqa: PLR2004
    if param.maximum is None or hours <= param.maximum * _HOURS["mo"] + slack:
        return []
    detail = f"PagerDuty takes up to {param.maximum} months, not {name_of(value)}"
    severity = Severity.WARNING if param.cuts else Severity.ERROR
    return [Finding((), detail, f"use {param.maximum}mo or less", severity)]


_FIRST_YEAR = 1000
"""Of four digits, as a year is written."""


def _is_iso(text: str) -> bool:
    """Whether a text is a date, or a moment, that can be sent: in UTC."""
    try:
        at = datetime.fromisoformat(text)
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC).year >= _FIRST_YEAR
    except (ValueError, OverflowError):
        return False


READERS: Mapping[ParamType, Callable[[Json, Param], Values]] = MappingProxyType(
    {
        "text": _text,
        "texts": _texts,
        "choice": _choice,
        "choices": _choices,
        "sorting": _sorting,
        "since": _since,
        "until": _until,
        "zone": _zone,
        "flag": _flag,
        "number": read_count,
    }
)
"""How each type of value is read."""
