"""The lists of analytics: asked for with POST, which only reads (PagerDuty REST API, Analytics)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pdsync.kinds.shape import DAYS_PER_MONTH, PARENT, Enrichment, Kind, Param, Window
from pdsync.kinds.writing import under

if TYPE_CHECKING:
    from pdsync.kinds.shape import Paging, ParamType

_SCOPE = "analytics.write"
"""What the API reference asks for, although nothing is written."""

_PREFIX = "filters."
_YEAR = 12
_RAW_PAGE = 1000
_USUAL = f"-{3 * DAYS_PER_MONTH}d"

_INCIDENTS: tuple[tuple[str, ParamType], ...] = (
    ("major", "flag"),
    ("min_ackowledgements", "number"),  # spelt so by PagerDuty
    ("min_timeout_escalations", "number"),
    ("min_manual_escalations", "number"),
    ("team_ids[]", "texts"),
    ("service_ids[]", "texts"),
    ("escalation_policy_ids[]", "texts"),
    ("priority_ids[]", "texts"),
    ("priority_names[]", "texts"),
)
_METRICS: tuple[tuple[str, ParamType], ...] = (*_INCIDENTS, ("pd_advance_used", "flag"))
_RAW: tuple[tuple[str, ParamType], ...] = (
    ("major", "flag"),
    ("team_ids[]", "texts"),
    ("service_ids[]", "texts"),
    ("priority_ids[]", "texts"),
    ("priority_names[]", "texts"),
    ("incident_type_ids[]", "texts"),
)
_RESPONDERS: tuple[tuple[str, ParamType], ...] = (
    ("team_ids[]", "texts"),
    ("responder_ids[]", "texts"),
    ("priority_ids[]", "texts"),
    ("priority_names[]", "texts"),
)
_USERS: tuple[tuple[str, ParamType], ...] = (("team_ids[]", "texts"), ("user_ids[]", "texts"), ("role_ids[]", "texts"))

_URGENCY = Param("urgency", "filters.urgency", "choice", ("high", "low"))
_ORDER = Param("order", "order", "choice", ("asc", "desc"))
_ZONE = Param("time_zone", "time_zone", "zone")
_UNIT = Param("aggregate_unit", "aggregate_unit", "choice", ("day", "week", "month"))
_ANY_COLUMN = Param("order_by", "order_by", "text")


def _bounds(start: str, end: str, *, sliced: bool) -> tuple[Param, Param]:
    """From when to when; `months` counts back from now, as `analyticsMonthsPeriod` does.

    PagerDuty refuses more than a year at once.
    """
    most = None if sliced else _YEAR
    since = Param("since", _PREFIX + start, "since", maximum=most, also=("months", start))
    until = Param("until", _PREFIX + end, "until", past=True, also=(end,))
    return since, until


def _in_filters(*names: tuple[str, ParamType]) -> tuple[Param, ...]:
    return tuple(Param(name.removesuffix("[]"), _PREFIX + name, type_) for name, type_ in names)


def _analytics(
    name: str,
    path: str,
    paging: Paging,
    id_: tuple[str, ...],
    params: tuple[Param, ...],
    *,
    bounds: Literal["created_at", "date_range"] = "created_at",
    field: str = "",
    always: bool = True,
    parent: str = "",
) -> Kind:
    """A row; `always` says that bounds are sent even if none are given, for there is no default that is written."""
    since, until = _bounds(f"{bounds}_start", f"{bounds}_end", sliced=always and paging == "post")
    return Kind(
        f"analytics.{name}",
        f"/analytics/{path}",
        "data",
        paging,
        id_,
        (since, until, *params),
        enrichments=(Enrichment(PARENT, kinds=(parent,)),) if parent else (),
        unless_given=((since.wire, _USUAL), (until.wire, "now")) if always else (),
        window=Window(365, 0, 0, field=field, since=since.wire, until=until.wire) if always else None,
        scope=_SCOPE,
        parents=under(parent, responder_id="id") if parent else (),
        in_parent=bool(parent),
        method="POST",
        page_size=_RAW_PAGE if paging == "post" else 0,
        counted=False,
        daily=True,
    )


def _metrics(by: str, id_: tuple[str, ...]) -> Kind:
    params = (*_in_filters(*_METRICS), _URGENCY, _ZONE, _ORDER, _ANY_COLUMN, _UNIT)
    return _analytics(f"metrics.incidents.{by}", f"metrics/incidents/{by.replace('.', '/')}", "none", id_, params)


def _responders(by: str, id_: tuple[str, ...]) -> Kind:
    params = (*_in_filters(*_RESPONDERS), _URGENCY, _ZONE, _ORDER, _ANY_COLUMN)
    return _analytics(f"metrics.responders.{by}", f"metrics/responders/{by}", "none", id_, params, bounds="date_range")


def _raw(name: str, path: str, id_: str, columns: tuple[str, ...], *more: Param, parent: str = "") -> Kind:
    order_by = Param("order_by", "order_by", "choice", columns)
    params = (*more, *_in_filters(*_RAW), _URGENCY, _ZONE, _ORDER, order_by)
    return _analytics(f"raw.{name}", f"raw/{path}", "post", (id_,), params, field=columns[0], parent=parent)


_TOTAL = ("range_start|all",)

ANALYTICS: tuple[Kind, ...] = (
    _metrics("all", _TOTAL),
    _metrics("services", ("service_id", "range_start")),
    _metrics("services.all", _TOTAL),
    _metrics("teams", ("team_id", "range_start")),
    _metrics("teams.all", _TOTAL),
    _metrics("escalation_policies", ("escalation_policy_id", "range_start")),
    _metrics("escalation_policies.all", _TOTAL),
    _responders("all", ("responder_id",)),
    _responders("teams", ("responder_id", "team_id")),
    _analytics(
        "metrics.users.all",
        "metrics/users/all",
        "none",
        _TOTAL,
        (*_in_filters(*_USERS), _ZONE, _ORDER, _ANY_COLUMN, _UNIT),
        always=False,
    ),
    _analytics(
        "metrics.pd_advance_usage.features",
        "metrics/pd_advance_usage/features",
        "none",
        ("feature_id|all",),
        (
            *_in_filters(("incident_created_at_start", "since"), ("incident_created_at_end", "until"), *_INCIDENTS),
            _URGENCY,
            _ZONE,
        ),
    ),
    _raw(
        "incidents",
        "incidents",
        "id",
        ("created_at", "seconds_to_resolve"),
        *_in_filters(("updated_after", "since")),
    ),
    _raw(
        "responders.incidents",
        "responders/{responder_id}/incidents",
        "incident_id",
        ("incident_created_at",),
        parent="users",
    ),
    _analytics(
        "raw.users",
        "raw/users",
        "post",
        ("id", "team_id"),
        (*_in_filters(*_USERS), _ZONE, _ORDER, _ANY_COLUMN, _UNIT),
        always=False,
    ),
)
"""The lists that are had with POST."""
