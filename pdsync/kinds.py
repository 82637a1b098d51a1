"""What can be asked of PagerDuty: one row per kind, and the reader that turns a mapping's selector into a `Query`.

A row says where a kind is listed, how it is paged, what makes a record's id, which parameters and switches a
selector may hold, and which enrichments follow from them (PagerDuty REST API reference; the selector keys and the
names of enrichments are those of Port's own PagerDuty integration, so that its mappings can be pasted).

Moments in a query are either absolute (ISO 8601) or relative to the fetch: `-90d`, `+90d`.  Whoever fetches
resolves them, so that a query means the same tomorrow.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from difflib import get_close_matches
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, NamedTuple

from pdsync.errors import Severity
from pdsync.model import Json, Query

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

DAYS_PER_MONTH = 30
"""Months in a selector are blocks of this many days, as in Port's integration."""

RELATIVE_MOMENT = re.compile(r"[+-]\d{1,5}d")
"""A moment relative to the fetch, in days."""

ParamType = Literal["text", "texts", "choice", "choices", "sorting", "moment", "months_ago", "months_ahead", "flag"]
Paging = Literal["classic", "cursor", "none"]


@dataclass(frozen=True, slots=True)
class Param:
    """A key under `apiQueryParams` and the query parameter it becomes.

    `default` is sent when `apiQueryParams` is there but the key is not; `minimum` and `maximum` bound numbers
    (below is an error, above a warning: PagerDuty would refuse or cut it).
    """

    name: str
    wire: str
    type: ParamType
    allowed: tuple[str, ...] = ()
    default: tuple[str, ...] = ()
    minimum: int = 0
    maximum: int | None = None


@dataclass(frozen=True, slots=True)
class Option:
    """A key beside `apiQueryParams` that switches or tunes an enrichment."""

    name: str
    type: Literal["flag", "count"]
    default: str
    maximum: int | None = None


@dataclass(frozen=True, slots=True)
class Enrichment:
    """Something fetched besides and put into each record under `name`.

    It is wanted when the option `when` is on (empty: always); its argument is the value of the option `argument`.
    """

    name: str
    when: str = ""
    argument: str = ""


@dataclass(frozen=True, slots=True)
class Window:
    """A kind that is listed by time, and so can be read in slices of time.

    Without bounds the list reaches from `back_days` before now to `ahead_days` after it (a day more than it needs
    costs nothing); no list may span more than `widest_days`.  `everything` is the parameter that lifts the bounds,
    and `field` the moment in a record that they are about.
    """

    widest_days: int
    back_days: int
    ahead_days: int
    field: str = ""
    everything: tuple[str, str] | None = None
    since: str = "since"
    until: str = "until"


@dataclass(frozen=True, slots=True)
class Kind:
    """A PagerDuty record type.

    `id` are dotted paths whose values joined by `-` name a record; `a.b|word` stands for `word` where the path is
    null, a null path without a word is left out.  `unless_given` are parameters sent when the query has none of
    that name: they make a listing stable without changing which records it holds.
    """

    name: str
    path: str
    rows: str
    paging: Paging = "classic"
    id: tuple[str, ...] = ("id",)
    params: tuple[Param, ...] = ()
    options: tuple[Option, ...] = ()
    enrichments: tuple[Enrichment, ...] = ()
    unless_given: tuple[tuple[str, str], ...] = ()
    window: Window | None = None


_BY_NAME = ("name", "name:asc", "name:desc")
_UTC = ("time_zone", "UTC")


def _include(*allowed: str, default: tuple[str, ...] = ()) -> Param:
    return Param("include", "include[]", "choices", allowed, default)


def _ids(name: str) -> Param:
    return Param(name, f"{name}[]", "texts")


def _text(name: str) -> Param:
    return Param(name, name, "text")


_ROWS = (
    Kind(
        name="services",
        path="/services",
        rows="services",
        params=(
            _include("escalation_policies", "teams", "integrations", "auto_pause_notifications_parameters"),
            Param("sort_by", "sort_by", "choice", _BY_NAME),
            _ids("team_ids"),
            _text("time_zone"),
            _text("query"),
            _text("name"),
        ),
        options=(
            Option("serviceAnalytics", "flag", "true"),
            Option("analyticsMonthsPeriod", "count", "3", maximum=12),
            Option("includeCustomFields", "flag", "false"),
        ),
        enrichments=(
            Enrichment("__analytics", when="serviceAnalytics", argument="analyticsMonthsPeriod"),
            Enrichment("__custom_fields", when="includeCustomFields"),
            Enrichment("__oncall_user"),
        ),
        unless_given=(_UTC,),
    ),
    Kind(
        name="incidents",
        path="/incidents",
        rows="incidents",
        params=(
            Param("date_range", "date_range", "choice", ("all",)),
            _text("incident_key"),
            _include(
                "acknowledgers",
                "agents",
                "assignees",
                "conference_bridge",
                "escalation_policies",
                "first_trigger_log_entries",
                "priorities",
                "services",
                "teams",
                "users",
            ),
            _ids("service_ids"),
            _ids("team_ids"),
            _ids("user_ids"),
            Param("since", "since", "moment"),
            Param("until", "until", "moment"),
            Param("sort_by", "sort_by", "sorting", ("incident_number", "created_at", "resolved_at", "urgency")),
            Param("statuses", "statuses[]", "choices", ("triggered", "acknowledged", "resolved")),
            Param("urgencies", "urgencies[]", "choices", ("high", "low")),
            _text("time_zone"),
        ),
        options=(Option("incidentAnalytics", "flag", "false"), Option("includeCustomFields", "flag", "false")),
        enrichments=(
            Enrichment("__analytics", when="incidentAnalytics"),
            Enrichment("__custom_fields", when="includeCustomFields"),
        ),
        # Newest last: incidents that come in while paging do not shift the rows before them.
        unless_given=(_UTC, ("sort_by", "incident_number:asc")),
        window=Window(180, back_days=30, ahead_days=1, field="created_at", everything=("date_range", "all")),
    ),
    Kind(
        name="schedules",
        path="/schedules",
        rows="schedules",
        params=(
            _include("schedule_layers", "final_schedule", "overrides_subschedule"),
            Param("since", "since", "months_ago"),
            Param("until", "until", "months_ahead"),
            _text("time_zone"),
            _text("query"),
            _ids("team_ids"),
        ),
        enrichments=(Enrichment("__email"),),
        unless_given=(_UTC,),
    ),
    Kind(
        name="oncalls",
        path="/oncalls",
        rows="oncalls",
        id=("escalation_policy.id", "escalation_level", "schedule.id|direct", "user.id", "start"),
        params=(
            _include("users", "escalation_policies", "schedules", default=("users",)),
            Param("since", "since", "months_ago"),
            Param("until", "until", "months_ahead", default=("3",), minimum=1, maximum=3),
            _text("time_zone"),
            _ids("user_ids"),
            _ids("escalation_policy_ids"),
            _ids("schedule_ids"),
            Param("earliest", "earliest", "flag"),
        ),
        unless_given=(_UTC,),
        window=Window(90, back_days=0, ahead_days=0),
    ),
    Kind(
        name="escalation_policies",
        path="/escalation_policies",
        rows="escalation_policies",
        params=(
            _include("services", "teams", "targets", "escalation_rule_assignment_strategies"),
            _ids("team_ids"),
            _ids("user_ids"),
            _text("query"),
            Param("sort_by", "sort_by", "choice", _BY_NAME),
        ),
        options=(Option("attachOncallUsers", "flag", "true"),),
        enrichments=(Enrichment("__oncall_users", when="attachOncallUsers"),),
    ),
    Kind(
        name="users",
        path="/users",
        rows="users",
        params=(
            _include("contact_methods", "notification_rules", "teams", "subdomains"),
            _ids("team_ids"),
            _text("query"),
        ),
    ),
    Kind(name="teams", path="/teams", rows="teams", params=(_text("query"),)),
    Kind(name="priorities", path="/priorities", rows="priorities"),
    Kind(name="business_services", path="/business_services", rows="business_services"),
    Kind(name="vendors", path="/vendors", rows="vendors"),
)

KINDS: Mapping[str, Kind] = MappingProxyType({row.name: row for row in _ROWS})
"""Every kind by its name."""


@dataclass(frozen=True, slots=True)
class SelectorProblem:
    """Something about a selector: `path` leads from the selector to the key or value; the rest as in `Diagnostic`.

    An empty path is about the kind itself.
    """

    path: tuple[str | int, ...]
    code: str
    summary: str
    detail: str = ""
    hint: str = ""
    severity: Severity = Severity.ERROR


class _Finding(NamedTuple):
    """A value that does not fit: where in it, what was wrong, what to do."""

    path: tuple[str | int, ...]
    detail: str
    hint: str = ""
    severity: Severity = Severity.ERROR


_TRUE = frozenset({"true", "t", "yes", "y", "on", "1"})
_FALSE = frozenset({"false", "f", "no", "n", "off", "0"})
_FEW = 15
_PARAMS = "apiQueryParams"
_ENVIRONMENT = "exportEnvVariables"


def read_selector(kind: str, selector: Mapping[str, Json]) -> tuple[Query | None, tuple[SelectorProblem, ...]]:
    """The query that a mapping's selector asks for, and everything that is wrong with the selector.

    `selector` is the selector object without its `query`.  The query is None only when a problem is an error.
    Equal wishes give equal queries, whatever their order and spelling.
    """
    row = KINDS.get(kind)
    if row is None:
        return None, (_unknown_kind(kind),)
    written = selector.get(_PARAMS)
    problems = [*_check_names(row, selector)]
    params, found = _read_params(row, written)
    problems += found
    options, found = _read_options(row, selector)
    problems += found
    problems += _ignored_bounds(row, params)
    if any(problem.severity is Severity.ERROR for problem in problems):
        return None, tuple(problems)
    return Query(kind, params, _wanted(row, options)), tuple(problems)


def _unknown_kind(kind: str) -> SelectorProblem:
    return SelectorProblem((), "PD140", "unknown kind", f'"{kind}" is not a kind of PagerDuty', _suggest(kind, KINDS))


def _suggest(word: str, known: Iterable[str]) -> str:
    names = sorted(known)
    folded = {re.sub(r"[^a-z0-9]", "", name.lower()): name for name in names}
    close = get_close_matches(re.sub(r"[^a-z0-9]", "", word.lower()), folded, n=1, cutoff=0.7)
    if close:
        return f'did you mean "{folded[close[0]]}"?'
    return f"known are {', '.join(names)}" if 0 < len(names) <= _FEW else ""


# --- names of keys ---------------------------------------------------------------------------------------------


def _check_names(row: Kind, selector: Mapping[str, Json]) -> Iterator[SelectorProblem]:
    """Keys that the selector or its `apiQueryParams` should not hold; each is ignored, as Port's integration does."""
    outer = {_PARAMS, *(option.name for option in row.options)}
    inner = {param.name for param in row.params}
    for key in selector:
        if key == _ENVIRONMENT:
            yield _environment()
        elif key not in outer:
            yield _misplaced(key, (key,), f"under {_PARAMS}") if key in inner else _unknown_key(key, (key,), outer)
    written = selector.get(_PARAMS)
    for key in written if isinstance(written, dict) else ():
        path = (_PARAMS, str(key))
        if key not in inner:
            yield _misplaced(key, path, f"beside {_PARAMS}") if key in outer else _unknown_key(str(key), path, inner)


def _environment() -> SelectorProblem:
    return SelectorProblem(
        (_ENVIRONMENT,),
        "PD146",
        "environment variables are never exported",
        f"{_ENVIRONMENT} is accepted but has no effect: mappings cannot see the environment",
        "remove the key",
        Severity.WARNING,
    )


def _misplaced(key: str, path: tuple[str | int, ...], place: str) -> SelectorProblem:
    return SelectorProblem(
        path,
        "PD142",
        "selector key at the wrong level",
        f'"{key}" has no effect here',
        f'move "{key}" {place}',
        Severity.WARNING,
    )


def _unknown_key(key: str, path: tuple[str | int, ...], known: set[str]) -> SelectorProblem:
    return SelectorProblem(
        path, "PD141", "unknown selector key", f'"{key}" has no effect', _suggest(key, known), Severity.WARNING
    )


def _ignored_bounds(row: Kind, params: tuple[tuple[str, str], ...]) -> Iterator[SelectorProblem]:
    """Bounds in time that the parameter for everything switches off."""
    if row.window is None or row.window.everything is None or row.window.everything not in params:
        return
    name, value = row.window.everything
    for bound in (row.window.since, row.window.until):
        if any(wire == bound for wire, _ in params):
            detail, hint = f'"{bound}" is ignored by PagerDuty when {name} is "{value}"', f"remove {bound} or {name}"
            yield SelectorProblem(
                (_PARAMS, bound), "PD147", "selector key without effect", detail, hint, Severity.WARNING
            )


# --- values ----------------------------------------------------------------------------------------------------


def _read_params(row: Kind, written: Json) -> tuple[tuple[tuple[str, str], ...], list[SelectorProblem]]:
    """The query string that `apiQueryParams` stands for; defaults count only when it is there at all."""
    if written is None:
        return (), []
    if not isinstance(written, dict):
        finding = _Finding((), f"expected keys and values, not {_name(written)}", f"known are {_names(row)}")
        return (), [_problem((_PARAMS,), finding)]
    pairs: list[tuple[str, str]] = []
    problems = []
    for param in row.params:
        value = written.get(param.name)
        values: tuple[str, ...] = ()
        findings: list[_Finding] = []
        if value is not None:
            values, findings = _READERS[param.type](value, param)
        elif param.default:
            values, _ = _READERS[param.type](_as_written(param), param)
        pairs += [(param.wire, text) for text in values]
        problems += [_problem((_PARAMS, param.name), finding) for finding in findings]
    return tuple(pairs), problems


def _as_written(param: Param) -> Json:
    return list(param.default) if param.type in {"choices", "texts"} else param.default[0]


def _names(row: Kind) -> str:
    return ", ".join(param.name for param in row.params) or "none for this kind"


def _read_options(row: Kind, selector: Mapping[str, Json]) -> tuple[dict[str, str], list[SelectorProblem]]:
    values = {}
    problems = []
    for option in row.options:
        value = selector.get(option.name)
        read = _flag if option.type == "flag" else _count
        texts, findings = read(
            option.default if value is None else value,
            Param(option.name, "", "flag", minimum=1, maximum=option.maximum),
        )
        values[option.name] = texts[0] if texts else option.default
        problems += [_problem((option.name,), finding) for finding in findings]
    return values, problems


def _wanted(row: Kind, options: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple(
        (enrichment.name, options.get(enrichment.argument, ""))
        for enrichment in row.enrichments
        if not enrichment.when or options[enrichment.when] == "true"
    )


def _problem(path: tuple[str | int, ...], finding: _Finding) -> SelectorProblem:
    code = "PD143" if finding.severity is Severity.ERROR else "PD145"
    summary = "invalid selector value" if finding.severity is Severity.ERROR else "selector value out of range"
    return SelectorProblem((*path, *finding.path), code, summary, finding.detail, finding.hint, finding.severity)


def _name(value: Json) -> str:
    """The value's type in words of JSON, with the value itself where that is short."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case int() | float():
            return f"the number {value}"
        case str():
            return f'"{value}"' if len(value) <= 60 else "a long text"  # noqa: PLR2004
        case list():
            return "a list"
        case _:
            return "an object"


_Values = tuple[tuple[str, ...], list[_Finding]]


def _text_value(value: Json, _param: Param) -> _Values:
    if isinstance(value, str) and value.strip():
        return (value,), []
    if isinstance(value, int) and not isinstance(value, bool):
        return (str(value),), []
    return (), [_Finding((), f"expected a text, not {_name(value)}")]


def _choice(value: Json, param: Param) -> _Values:
    if isinstance(value, str) and value in param.allowed:
        return (value,), []
    hint = _suggest(value, param.allowed) if isinstance(value, str) else ""
    allowed = ", ".join(param.allowed)
    return (), [_Finding((), f"expected one of {allowed}, not {_name(value)}", hint if "did you" in hint else "")]


def _several(value: Json, param: Param, one: Callable[[Json, Param], _Values]) -> _Values:
    """A list of `one`; the same wishes in another order are the same query, so they are sorted."""
    if not isinstance(value, list):
        hint = f"write a list: [{value}]" if isinstance(value, str) else ""
        return (), [_Finding((), f"expected a list, not {_name(value)}", hint)]
    texts: set[str] = set()
    findings = []
    for index, item in enumerate(value):
        read, found = one(item, param)
        texts.update(read)
        findings += [finding._replace(path=(index, *finding.path)) for finding in found]
    return tuple(sorted(texts)), findings


def _texts(value: Json, param: Param) -> _Values:
    return _several(value, param, _text_value)


def _choices(value: Json, param: Param) -> _Values:
    return _several(value, param, _choice)


def _sorting(value: Json, param: Param) -> _Values:
    """Up to two fields with a direction, parted by a comma (PagerDuty REST API, List incidents)."""
    parts = [part.strip() for part in value.split(",")] if isinstance(value, str) else []
    fields = [part.partition(":") for part in parts]
    if 1 <= len(parts) <= 2 and all(  # noqa: PLR2004
        field in param.allowed and direction in {"", "asc", "desc"} and bool(direction) == bool(colon)
        for field, colon, direction in fields
    ):
        return (",".join(parts),), []
    return (), [
        _Finding(
            (),
            f"expected up to two of {', '.join(param.allowed)}, each with :asc or :desc, not {_name(value)}",
            "such as created_at:desc",
        )
    ]


def _moment(value: Json, _param: Param) -> _Values:
    text = value if isinstance(value, str) else ""
    if RELATIVE_MOMENT.fullmatch(text) or _is_iso(text):
        return (text,), []
    detail = f"expected a date and time or a number of days from now, not {_name(value)}"
    return (), [_Finding((), detail, "such as 2026-01-31T00:00:00Z or -90d")]


def _is_iso(text: str) -> bool:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


def _number(value: Json) -> int | None:
    if isinstance(value, str) and re.fullmatch(r"[+-]?\d{1,6}", value.strip()):
        return int(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _count(value: Json, param: Param) -> _Values:
    number = _number(value)
    if number is None:
        return (), [_Finding((), f"expected a whole number, not {_name(value)}")]
    if number < param.minimum:
        return (), [_Finding((), f"expected {param.minimum} or more, not {number}")]
    if param.maximum is not None and number > param.maximum:
        detail = f"PagerDuty takes up to {param.maximum} months, not {number}"
        return (str(number),), [_Finding((), detail, f"use {param.maximum} or less", Severity.WARNING)]
    return (str(number),), []


def _months(value: Json, param: Param, sign: str) -> _Values:
    texts, findings = _count(value, param)
    # Zero months are the same as not asking, as in Port's integration.
    return tuple(f"{sign}{int(text) * DAYS_PER_MONTH}d" for text in texts if int(text)), findings


def _months_ago(value: Json, param: Param) -> _Values:
    return _months(value, param, "-")


def _months_ahead(value: Json, param: Param) -> _Values:
    return _months(value, param, "+")


def _flag(value: Json, _param: Param) -> _Values:
    text = str(value).strip().lower() if isinstance(value, bool | int | str) else ""
    if text in _TRUE or text in _FALSE:
        return ("true" if text in _TRUE else "false",), []
    return (), [_Finding((), f"expected true or false, not {_name(value)}")]


_READERS: Mapping[ParamType, Callable[[Json, Param], _Values]] = MappingProxyType(
    {
        "text": _text_value,
        "texts": _texts,
        "choice": _choice,
        "choices": _choices,
        "sorting": _sorting,
        "moment": _moment,
        "months_ago": _months_ago,
        "months_ahead": _months_ahead,
        "flag": _flag,
    }
)
