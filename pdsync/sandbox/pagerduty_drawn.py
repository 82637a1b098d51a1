"""The lists of kinds that are drawn from schemas: their filters, their windows, their includes.

Every filter of the specification is checked (`read_query`).  What it selects is worked out where a row tells: a
parameter that is named like a field is compared with it, one that is named like a kind (`service_ids[]`, `team_id`)
with the identifiers that the row holds, `query` and its like with the row's names, and `_FILTERS` has the rest.
A filter that nothing in a row answers to (`reviewed_status` of posts) selects nothing out.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from pdsync.sandbox.pagerduty_generic import TABLE_OF, singular
from pdsync.sandbox.pagerduty_lists import LISTS, parents
from pdsync.sandbox.pagerduty_page import PAGING, Served, listing
from pdsync.sandbox.pagerduty_query import ApiError, seconds, window

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from pdsync.model import Json
    from pdsync.sandbox.pagerduty_page import Find, Show, View
    from pdsync.sandbox.pagerduty_query import Asked
    from pdsync.sandbox.pagerduty_records import Records

Row = dict[str, Any]

# Kind: the field that since and until are about, and how many days they may be apart.
_WINDOWS: Mapping[str, tuple[str, int | None]] = {
    "change_events": ("timestamp", None),
    "notifications": ("started_at", 92),
}
_TEXT_FILTERS = frozenset({"query", "keyword", "name"})
_NAMED = ("name", "label", "title", "summary", "display_name", "keyword")
_IGNORED = PAGING | {"since", "until", "sort_by"}


def drawn(kind: str) -> Find:
    """Finds the rows of a kind that is drawn: those that pass the filters, sorted as asked."""

    def find(view: View, asked: Asked) -> Sequence[Row]:
        rows = view.generic.rows(kind, [asked.path[name] for name, _ in parents(asked.operation.path)])
        return filtered(kind, rows, asked)

    return find


def filtered(kind: str, rows: Sequence[Row], asked: Asked) -> list[Row]:
    """The rows within the window that pass every filter.  Raises `ApiError` 400 for a window that cannot be."""
    given = {**_UNLESS_GIVEN.get(kind, {}), **asked.values}
    checks = [(name, frozenset(values)) for name, values in given.items() if name not in _IGNORED]
    found = [row for row in rows if all(_passes(kind, name, values, row, asked.now) for name, values in checks)]
    if kind in _WINDOWS:
        field, days = _WINDOWS[kind]
        _check_utc(kind, asked)
        start, end = window(asked, days)
        found = [row for row in found if start <= seconds(row[field], field) <= end]
    return _sorted(found, asked.one("sort_by"))


def _check_utc(kind: str, asked: Asked) -> None:
    """Change events take times in UTC only (PagerDuty REST API, Change events)."""
    for name in ("since", "until"):
        given = asked.one(name)
        if kind == "change_events" and given is not None and not given.endswith(("Z", "+00:00")):
            raise ApiError(400, f"{name} must be in UTC: {given}", code=2004)


def _passes(kind: str, name: str, values: frozenset[str], row: Row, now: int) -> bool:
    special = _FILTERS.get((kind, name))
    field = name.removesuffix("[]")
    if special is not None:
        return special(row, next(iter(values)), now)
    if name in _TEXT_FILTERS:
        wanted = next(iter(values)).casefold()
        return any(wanted in str(row.get(at, "")).casefold() for at in _NAMED)
    if field in row and not isinstance(row[field], (dict, list)):
        told = row[field]
        return (str(told).lower() if isinstance(told, bool) else str(told)) in values
    if field.endswith(("id", "ids")):
        return not values.isdisjoint(_identifiers(row, own=field == "ids"))
    return True


def _identifiers(row: Row, *, own: bool) -> set[str]:
    """The identifiers that a row holds: its own, or those it refers to."""
    return {row["id"]} if own else set(_inner_ids(row)) - {row.get("id")}


def _inner_ids(value: Any) -> Iterator[str]:
    if isinstance(value, list):
        for each in value:
            yield from _inner_ids(each)
    elif isinstance(value, dict):
        for name, each in value.items():
            if isinstance(each, str) and (name == "id" or name.endswith("_id")):
                yield each
            else:
                yield from _inner_ids(each)


def _is_at(row: Row, wanted: str, now: int) -> bool:
    """Whether a maintenance window is past, future or ongoing; open is either of the latter."""
    start, end = seconds(row["start_time"], "start_time"), seconds(row["end_time"], "end_time")
    state = "past" if end < now else "future" if start > now else "ongoing"
    return wanted in {"all", state} or (wanted == "open" and state != "past")


_FILTERS: Mapping[tuple[str, str], Callable[[Row, str, int], bool]] = {
    ("addons", "filter"): lambda row, wanted, _: row["type"].startswith(wanted),
    ("automation_actions.actions", "classification"): lambda row, wanted, _: row["action_classification"] == wanted,
    ("automation_actions.invocations", "invocation_state"): lambda row, wanted, _: row["state"] == wanted,
    ("automation_actions.invocations", "not_invocation_state"): lambda row, wanted, _: row["state"] != wanted,
    ("maintenance_windows", "filter"): _is_at,
    ("notifications", "filter"): lambda row, wanted, _: row["type"] == wanted,
    ("sre_agent.memories", "type"): lambda row, wanted, _: row["attributes"]["type"] == wanted,
    ("webhook_subscriptions", "filter_type"): lambda row, wanted, _: row["filter"]["type"] == f"{wanted}_reference",
    ("webhook_subscriptions", "filter_id"): lambda row, wanted, _: row["filter"].get("id") == wanted,
    ("incident_workflows.triggers", "workflow_name_contains"): lambda row, wanted, _: (
        wanted.casefold() in row["workflow"]["name"].casefold()
    ),
    ("workflows.integrations", "include_deprecated"): lambda row, wanted, _: (
        wanted == "true" or not row["is_deprecated"]
    ),
}
"""Filters that are not named like what they are about: (row, value, now) -> whether the row stays."""


_UNLESS_GIVEN: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "workflows.integrations": {"include_deprecated": ("false",)}
}
"""Filters that hold although nobody asked."""


def _sorted(rows: list[Row], sort_by: str | None) -> list[Row]:
    """Sorted by a field of that name, if rows have it: `name`, `name:desc`, `workflow_id asc`."""
    field, direction, *_ = [*re.split("[: ]", sort_by or ""), ""]
    if not rows or field not in rows[0]:
        return rows
    return sorted(rows, key=lambda row: (str(type(row[field])), row[field] or 0), reverse=direction == "desc")


def expanded(records: Records, row: Row, asked: Asked) -> Json:
    """A row with the objects that `include[]` names in the places of their references, where the world has them."""
    tables = {f"{singular(word)}_reference": TABLE_OF[word] for word in asked.many("include[]") if word in TABLE_OF}

    def full(value: Any) -> Any:
        if isinstance(value, list):
            return [full(each) for each in value]
        table = tables.get(str(value.get("type"))) if isinstance(value, dict) else None
        return value if table is None else records.pick(table, value["id"], full=True)

    return {name: full(value) for name, value in row.items()} if tables else row


def related(records: Records, row: Row, asked: Asked) -> Json:
    """A related incident: in short, or whole with `additional_details[]`."""
    position = records.world.incidents.position(row["incident"]["id"])
    assert position is not None
    one = records.world.incidents.record(position)
    whole = "incident" in asked.many("additional_details[]")
    shown = records.incident_at(position) if whole else records.head("incidents", one.id, one.title)
    return {"incident": shown, "relationships": row["relationships"]}


_SHOWN: Mapping[str, Show] = {"incidents.related_incidents": related}

DRAWN: tuple[Served, ...] = tuple(
    listing(row.kind, drawn(row.kind), _SHOWN.get(row.kind, expanded)) for row in LISTS if row.rows is not None
)
"""Every kind that is drawn."""
