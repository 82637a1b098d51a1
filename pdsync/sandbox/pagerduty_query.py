"""What may be asked of the sandbox's PagerDuty: parameters and bodies, checked against the official specification.

The sandbox is stricter than the service: a parameter or a body field the specification does not know, a value
outside an enum and a wrong type answer 400, so that a client's mistake shows at once instead of being ignored.
All problems of a request are told together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import orjson

from pdsync.sandbox.pagerduty_company import DAY
from pdsync.sandbox.pagerduty_spec import Operation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pdsync.model import Json
    from pdsync.sandbox.pagerduty_spec import Parameter

ACCEPT = "application/vnd.pagerduty+json;version=2"
DEFAULT_LIMIT, MAX_LIMIT, MAX_ROWS = 25, 100, 10_000

UTC_NAMES = frozenset({"UTC", "Etc/UTC"})

MESSAGES: Mapping[int, tuple[str, int]] = {
    400: ("Invalid Input Provided", 2001),
    401: ("Authentication Failed", 2006),
    402: ("Account does not have the abilities to perform the action", 2014),
    403: ("Access Denied", 2010),
    404: ("Not Found", 2100),
    405: ("Method Not Allowed", 2001),
    406: ("Not Acceptable", 2001),
    429: ("Rate Limit Exceeded", 2020),
}
"""Status: message and PagerDuty's error code (PagerDuty developer documentation, Errors)."""


class ApiError(Exception):
    """An answer that is an error."""

    def __init__(
        self, status: int, *errors: str, code: int | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(*errors)
        message, usual = MESSAGES[status]
        self.status = status
        self.headers = headers or {}
        self.body: dict[str, Json] = {
            "error": {"message": message, "code": usual if code is None else code, "errors": list(errors)}
        }


@dataclass(frozen=True, slots=True)
class Asked:
    """A checked request: the operation, parameters of path and query, body, and the clock it came at."""

    operation: Operation
    path: Mapping[str, str]
    values: Mapping[str, tuple[str, ...]]
    now: int
    body: Mapping[str, Any] = field(default_factory=dict)

    def one(self, name: str) -> str | None:
        """The value of a parameter that may be given once."""
        found = self.values.get(name)
        return found[0] if found else None

    def many(self, name: str) -> frozenset[str]:
        """The values of a list parameter."""
        return frozenset(self.values.get(name, ()))

    def flag(self, name: str) -> bool:
        """Whether a boolean parameter is true."""
        return self.one(name) == "true"

    def integer(self, name: str, default: int) -> int:
        """The value of an integer parameter."""
        found = self.one(name)
        return default if found is None else int(found)

    @property
    def zone(self) -> tzinfo:
        """`time_zone`, else UTC."""
        name = self.one("time_zone")
        return UTC if name is None or name in UTC_NAMES else ZoneInfo(name)

    def moment(self, name: str) -> int | None:
        """A time parameter in seconds; without an offset it is read in the request's time zone."""
        text = self.one(name)
        return None if text is None else seconds(text, name, self.zone)


def seconds(text: str, name: str, zone: tzinfo = UTC) -> int:
    """An ISO 8601 time as seconds.  Raises `ApiError` 400 (code 2004)."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise ApiError(400, f"{name} is not an ISO 8601 time: {text}", code=2004) from None
    return int((found if found.tzinfo else found.replace(tzinfo=zone)).timestamp())


def months_later(moment: int, months: int) -> int:
    """The same day and time so many calendar months later (the last day, where there is no such day)."""
    found = datetime.fromtimestamp(moment, UTC)
    year, month = divmod(found.year * 12 + found.month - 1 + months, 12)
    first = found.replace(year=year, month=month + 1, day=1)
    following = (first + timedelta(days=31)).replace(day=1)
    day = min(found.day, (following - timedelta(days=1)).day)
    return int(first.replace(day=day).timestamp())


# --- checking --------------------------------------------------------------------------------------------------


def read_query(operation: Operation, pairs: Iterable[tuple[str, str]]) -> dict[str, tuple[str, ...]]:
    """The query's values by name.  Raises `ApiError` 400 with everything that is wrong."""
    values: dict[str, list[str]] = {}
    for name, value in pairs:
        values.setdefault(name, []).append(value)
    wanted = [name for name, known in operation.parameters.items() if known.required and name not in values]
    errors = [f"{name} is required" for name in wanted]
    errors += [error for name, found in values.items() for error in _query_errors(operation, name, found)]
    if errors:
        raise ApiError(400, *errors)
    return {
        name: tuple(found[0].split(",")) if operation.parameters[name].commas else tuple(found)
        for name, found in values.items()
    }


def _query_errors(operation: Operation, name: str, values: list[str]) -> list[str]:
    known = operation.parameters.get(name)
    if known is None:
        return [f"{name} is not a parameter of {operation.method.upper()} {operation.path}"]
    if len(values) > 1 and not known.repeats:
        return [f"{name} is given more than once"]
    parts = values[0].split(",") if known.commas else values
    if known.most is not None and len(parts) > known.most:
        return [f"{name} takes at most {known.most} values"]
    found = (_value_error(known, value) for value in parts)
    return [f"{name} {error}: {value}" for value, error in zip(parts, found, strict=True) if error]


def _value_error(known: Parameter, value: str) -> str:
    if known.choices and value not in known.choices:
        return f"must be one of {', '.join(known.choices)}"
    checks: Mapping[str, tuple[Callable[[str], bool], str]] = {
        "integer": (_is_integer, "must be a whole number"),
        "boolean": ({"true", "false"}.__contains__, "must be true or false"),
        "tzinfo": (_is_zone, "must be a time zone"),
        "date-time": (_is_time, "must be an ISO 8601 time"),
    }
    form = "tzinfo" if known.name == "time_zone" else known.format
    check = checks.get(form) or checks.get(known.type)
    if check and not check[0](value):
        return check[1]
    low, high = known.least, known.greatest
    is_out = known.type == "integer" and not (low is None or int(value) >= low) & (high is None or int(value) <= high)
    return f"must be between {low} and {high}" if is_out else ""


def _is_integer(value: str) -> bool:
    return value.isascii() and value.removeprefix("-").isdigit() and len(value) < 10


def _is_zone(value: str) -> bool:
    if value in UTC_NAMES:
        return True
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


def _is_time(value: str) -> bool:
    try:
        datetime.fromisoformat(value)
    except ValueError:
        return False
    return True


def read_body(operation: Operation, raw: bytes) -> Mapping[str, Any]:
    """A JSON body that fits the operation's schema.  Raises `ApiError` 400 with everything that is wrong."""
    try:
        found = orjson.loads(raw) if raw else {}
    except orjson.JSONDecodeError as problem:
        raise ApiError(400, f"the body is not JSON: {problem}") from None
    errors = _body_errors(operation.body or {}, found, "body")
    if errors:
        raise ApiError(400, *errors)
    assert isinstance(found, dict)
    return found


_TYPES: Mapping[str, type | tuple[type, ...]] = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
    "integer": int,
    "number": (int, float),
}


def _body_errors(schema: Mapping[str, Any], value: Json, where: str) -> list[str]:
    if value is None and schema.get("nullable"):
        return []
    wanted = schema.get("type", "object")
    if not _has_type(value, wanted):
        return [f"{where} must be of type {wanted}"]
    if wanted == "object":
        known = schema.get("properties", {})
        unknown = [f"{where}.{name} is not known" for name in value if name not in known]
        return unknown + _inner_errors(
            (known[name], each, f"{where}.{name}") for name, each in value.items() if name in known
        )
    if wanted == "array":
        return _inner_errors((schema["items"], each, f"{where}[{n}]") for n, each in enumerate(value))
    return _range_errors(schema, value, where)


def _has_type(value: Json, wanted: str) -> bool:
    return isinstance(value, _TYPES[wanted]) and (wanted == "boolean" or not isinstance(value, bool))


def _inner_errors(parts: Iterable[tuple[Mapping[str, Any], Json, str]]) -> list[str]:
    return [error for schema, value, where in parts for error in _body_errors(schema, value, where)]


def _range_errors(schema: Mapping[str, Any], value: Json, where: str) -> list[str]:
    if "enum" in schema and value not in schema["enum"]:
        return [f"{where} must be one of {', '.join(map(str, schema['enum']))}"]
    low = schema["minimum"] + bool(schema.get("exclusiveMinimum")) if "minimum" in schema else value
    if not low <= value <= schema.get("maximum", value):
        return [f"{where} must be between {low} and {schema.get('maximum')}"]
    return []


def read_limit(asked: Asked, default: int) -> int:
    """How many rows a page shall have; a list that names no default has the given one.  Raises `ApiError` 400."""
    known = asked.operation.parameters["limit"]
    limit = asked.integer("limit", default if known.default is None else known.default)
    if limit < 1:
        raise ApiError(400, "limit must be at least 1")
    return limit


def read_page(asked: Asked) -> tuple[int, int]:
    """(offset, limit) of a classic list (PagerDuty developer documentation, Pagination).  Raises `ApiError` 400.

    The API says nothing of a limit above the largest one; it is refused here, so that nobody relies on it.
    """
    limit, offset = read_limit(asked, DEFAULT_LIMIT), asked.integer("offset", 0)
    most = asked.operation.parameters["limit"].greatest or MAX_LIMIT
    errors = []
    if limit > most:
        errors.append(f"limit must be between 1 and {most}")
    if offset < 0:
        errors.append("offset must not be negative")
    if offset + limit > MAX_ROWS:
        errors.append(f"offset + limit must not be over {MAX_ROWS}")
    if errors:
        raise ApiError(400, *errors)
    return offset, limit


def window(asked: Asked, days: int | None = None) -> tuple[int, int]:
    """The moments from `since` to `until`, everything where an end is not given; so many days at most.

    Raises `ApiError` 400.
    """
    since, until = asked.moment("since"), asked.moment("until")
    start, end = 0 if since is None else since, 2**62 if until is None else until
    if start > end:
        raise ApiError(400, "since must not be after until", code=2005)
    if days is not None and end - start > days * DAY:
        raise ApiError(400, f"the window from since to until must not be over {days} days", code=2005)
    return start, end


def incident_window(asked: Asked) -> tuple[int, int]:
    """The creation times that GET /incidents covers: the last month unless asked, six months at most (API, Incidents).

    A month is 30 days.  Raises `ApiError` 400.
    """
    if asked.one("date_range") == "all":
        return 0, 2**62
    since, until = asked.moment("since"), asked.moment("until")
    end = asked.now if until is None else until
    start = end - 30 * DAY if since is None else since
    if start > end:
        raise ApiError(400, "since must not be after until", code=2005)
    if months_later(start, 6) < end:
        raise ApiError(400, "the window from since to until must not be over six months", code=2005)
    return start, end


def oncall_window(asked: Asked) -> tuple[int, int]:
    """The window of GET /oncalls: both ends are now unless asked, 90 days ahead at most (API, On-calls).

    A day more is let through: the world's clock stands still while the client's runs on.
    """
    since, until = asked.moment("since"), asked.moment("until")
    start = asked.now if since is None else since
    end = asked.now if until is None else until
    if end < start:
        raise ApiError(400, "until must not be before since", code=2005)
    if end > asked.now + 91 * DAY:
        raise ApiError(400, "until must not be over 90 days in the future", code=2005)
    return start, end


def entries_window(asked: Asked) -> tuple[int, int] | None:
    """The window of rendered schedule entries: two weeks if one end is given, None without both (API, Schedules)."""
    since, until = asked.moment("since"), asked.moment("until")
    if since is None and until is None:
        return None
    start = (until or 0) - 14 * DAY if since is None else since
    end = start + 14 * DAY if until is None else until
    if end < start:
        raise ApiError(400, "until must not be before since", code=2005)
    return start, end


def audit_window(asked: Asked) -> tuple[int, int]:
    """The window of GET /audit/records: the last day unless asked, 31 days at most (API, Audit records)."""
    until = asked.moment("until")
    end = asked.now if until is None else until
    since = asked.moment("since")
    start = end - DAY if since is None else since
    if start > end:
        raise ApiError(400, "since must not be after until", code=2005)
    if end - start > 31 * DAY:
        raise ApiError(400, "until must not be over 31 days after since", code=2005)
    return start, end
