"""How the sandbox's PagerDuty answers a list: which rows, which page of them, what stands beside them.

`View` is a world with what was worked out about it; `Served` is one operation.  `listing` makes a list out of what
finds its rows and what shows one; how the list is paged is the specification's word (`x-list`): see `PAGERS`.

Paging, where the specification is silent: lists with a cursor have 25 rows on a page and 100 at most, audit records
100 and 1,000; a limit over the largest size is lowered to it.  A cursor is the identifier of the next row.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC
from typing import TYPE_CHECKING, Any, NamedTuple
from zlib import crc32

from pdsync.model import Json
from pdsync.sandbox.pagerduty_analytics import Analysed
from pdsync.sandbox.pagerduty_generic import ACCOUNT, TABLE_OF, Generic
from pdsync.sandbox.pagerduty_lists import BY_KIND, parents
from pdsync.sandbox.pagerduty_query import (
    DEFAULT_LIMIT,
    MAX_LIMIT,
    ApiError,
    Asked,
    read_limit,
    read_page,
)
from pdsync.sandbox.pagerduty_records import INCIDENT_FIELDS, INCIDENT_TYPES, SERVICE_FIELDS, Records, field_ids

if TYPE_CHECKING:
    from datetime import tzinfo

    from pdsync.sandbox.pagerduty_spec import Spec
    from pdsync.sandbox.world import World

PAGING = frozenset({"limit", "offset", "total", "cursor", "after", "before", "include[]", "time_zone"})
"""Parameters that do not say which rows a list has."""

KEPT_QUESTIONS = 16
KEPT_BYTES = 1 << 28

Fields = dict[str, Json]


# --- what is kept between requests -------------------------------------------------------------------------------


class Body(NamedTuple):
    """What is sent of an answer, and whether it is packed by gzip."""

    content: bytes
    packed: bool


class View:
    """A world with what was worked out about it; forgotten when the world changes."""

    def __init__(self, world: World, spec: Spec) -> None:
        self.world = world
        self.spec = spec
        self._seen = (world.version, world.clock)
        self._records: dict[str, Records] = {}
        self._analysed = Analysed(world)
        self._rows: OrderedDict[object, Sequence[Any]] = OrderedDict()
        self._generic = Generic(world, spec)
        self._bodies: OrderedDict[object, Body] = OrderedDict()
        self._room = KEPT_BYTES

    def _refresh(self) -> None:
        now = (self.world.version, self.world.clock)
        if now != self._seen:
            self._seen = now
            self._records.clear()
            self._analysed = Analysed(self.world)
            self._rows.clear()
            self._bodies.clear()
            self._room = KEPT_BYTES
            self._generic = Generic(self.world, self.spec)

    @property
    def generic(self) -> Generic:
        """The kinds that are drawn from schemas."""
        self._refresh()
        return self._generic

    @property
    def analysed(self) -> Analysed:
        """What analytics has."""
        self._refresh()
        return self._analysed

    def records(self, zone: tzinfo = UTC) -> Records:
        """The renderer for a time zone."""
        self._refresh()
        found = self._records.get(str(zone))
        if found is None:
            found = self._records[str(zone)] = Records(self.world, zone)
        return found

    def rows(self, key: object, make: Callable[[], Sequence[Any]]) -> Sequence[Any]:
        """The rows of a question that is asked page by page; the last questions are kept."""
        self._refresh()
        found = self._rows.get(key)
        if found is None:
            found = self._rows[key] = make()
            if len(self._rows) > KEPT_QUESTIONS:
                self._rows.popitem(last=False)
        return found

    def body(self, key: object, make: Callable[[], Body]) -> Body:
        """The body of an answer, as it was the last time where nothing has changed since; the last ones are kept.

        Records that move while they are listed do so with every question: then nothing is kept.
        """
        self._refresh()
        if self.world.moving or self.world.moved:
            return make()
        found = self._bodies.get(key)
        if found is None:
            found = self._bodies[key] = make()
            self._room -= len(found.content)
            while self._room < 0:
                self._room += len(self._bodies.popitem(last=False)[1].content)
        return found


@dataclass(frozen=True, slots=True)
class Served:
    """One operation: which kind it belongs to (for 402 and 403), where it is, how it is answered."""

    kind: str
    method: str
    path: str
    answer: Callable[[View, Asked], Json]


Find = Callable[[View, Asked], Sequence[Any]]
Show = Callable[[Records, Any, Asked], Json]


# --- makers of operations ------------------------------------------------------------------------------------------


def listing(kind: str, find: Find, show: Show) -> Served:
    """The list of a kind: `find` gives the rows that were asked for, in order, `show` the JSON of one."""
    path = BY_KIND[kind].path

    def answer(view: View, asked: Asked) -> Json:
        listed = asked.operation.listing
        assert listed is not None
        check_parents(view, asked)
        filters = tuple(sorted((name, values) for name, values in asked.values.items() if name not in PAGING))
        key = (path, tuple(asked.path.items()), filters, str(asked.zone))
        found = disturbed(view.world, kind, view.rows(key, lambda: find(view, asked)))
        page, told = PAGERS[listed.paging](kind, found, asked)
        records = view.records(asked.zone)
        rows = [show(records, row, asked) for row in page]
        known = {name: _beside(view, asked, kind, name, found) for name in listed.beside if name not in told}
        fields = {name: told[name] if name in told else known[name] for name in listed.beside}
        return {listed.rows.format(**asked.path): rows, **{k: v for k, v in fields.items() if v is not UNSAID}}

    return Served(kind, "get", path, answer)


def single(kind: str, path: str, key: str, find: Callable[[World, str], Any], show: Show) -> Served:
    """One record by its identifier; 404 when `find` gives None."""

    def answer(view: View, asked: Asked) -> Json:
        found = find(view.world, asked.path["id"])
        if found is None:
            raise ApiError(404, "the record does not exist or has been deleted")
        return {key: show(view.records(asked.zone), found, asked)}

    return Served(kind, "get", path, answer)


def as_is(_: Records, row: Any, __: Asked) -> Json:
    """Shows a row that is JSON already."""
    found: Json = row
    return found


# --- parents -------------------------------------------------------------------------------------------------------


def check_parents(view: View, asked: Asked) -> None:
    """Raise `ApiError` 404 unless every record that the path names is there.

    Below /v3/schedules a schedule that was not upgraded answers 400 instead (PagerDuty REST API, Schedules v3).
    """
    world = view.world
    outer: list[str] = []
    for name, kind in parents(asked.operation.path):
        value = asked.path[name]
        if not _exists(view, kind or asked.path["entity_type"], name, value, outer):
            if kind == "schedules_v3" and value in world.schedules:
                raise ApiError(400, NOT_UPGRADED)
            raise ApiError(404, f"there is no {name} {value}")
        outer.append(value)


def _exists(view: View, kind: str, name: str, value: str, outer: Sequence[str]) -> bool:
    world = view.world
    if kind in FINDERS:
        return FINDERS[kind](world, value, outer)
    if kind in TABLE_OF:
        return value in getattr(world, TABLE_OF[kind])
    heads = view.generic.heads(kind, outer)
    return value in {head.id.lower() if name == "url_slug" else head.id for head in heads}


NOT_UPGRADED = "the schedule is not shift-based; ask /schedules for it"

FINDERS: Mapping[str, Callable[[World, str, Sequence[str]], bool]] = {
    "incidents": lambda world, value, _: world.incidents.position(value) is not None,
    "incidents.custom_fields": lambda _, value, __: value in field_ids(INCIDENT_FIELDS),
    "incidents.types": lambda _, value, __: any(value in {one.id, one.name} for one in INCIDENT_TYPES),
    "incidents.types.custom_fields": lambda _, value, __: value in field_ids(INCIDENT_FIELDS),
    "schedules": lambda world, value, _: value in world.schedules and value not in world.upgraded,
    "schedules_v3": lambda world, value, _: value in world.schedules and value in world.upgraded,
    "schedules_v3.rotations": lambda world, value, outer: (
        value in {layer.id for layer in world.schedules[outer[0]].layers}
    ),
    "services.custom_fields": lambda _, value, __: value in field_ids(SERVICE_FIELDS),
}
"""By kind: whether there is a record with an identifier; for kinds that are not simply a table, or drawn."""


# --- rows that are hidden, rows that move --------------------------------------------------------------------------


def name_of(kind: str, row: Any) -> str:
    """What tells a row from the others of its kind: its identifier, as far as it has one."""
    if isinstance(row, dict):
        found: Any = row
        for part in BY_KIND[kind].id.split(".") if kind in BY_KIND else ("id",):
            found = found.get(part) if isinstance(found, dict) else None
        return str(row if found is None else found)
    return str(getattr(row, "id", row))


def disturbed(world: World, kind: str, rows: Sequence[Any]) -> Sequence[Any]:
    """The rows as the world's mutations leave them (`hide_half`, `empty`, `shuffle_while_paging`)."""
    share = world.shrunk.get(kind)
    if share is not None:
        left = _a_share(share, [name_of(kind, row) for row in rows])
        rows = [row for row in rows if name_of(kind, row) in left]
    if world.moving.get(kind):
        world.moving[kind] -= 1
        world.moved[kind] = world.moved.get(kind, 0) + 1
    turn = world.moved.get(kind, 0) % max(1, len(rows))
    return [*rows[turn:], *rows[:turn]] if turn else rows


def _a_share(share: int, names: Sequence[str]) -> set[str]:
    """One in so many of some names, or fewer, and hardly others when one is added; none of them for 0."""
    in_order = sorted(names, key=lambda name: (crc32(name.encode()), name))
    return set(in_order[: len(names) // share]) if share else set()


# --- pages ---------------------------------------------------------------------------------------------------------

UNSAID = object()
Page = tuple[Sequence[Any], dict[str, Any]]


def _classic(_: str, rows: Sequence[Any], asked: Asked) -> Page:
    offset, limit = read_page(asked)
    more = offset + limit < len(rows)
    total = len(rows) if asked.flag("total") else None
    return rows[offset : offset + limit], {"limit": limit, "offset": offset, "more": more, "total": total}


def _cursor(kind: str, rows: Sequence[Any], asked: Asked) -> Page:
    default, most = (100, 1_000) if kind.endswith("audit.records") else (DEFAULT_LIMIT, MAX_LIMIT)
    limit = min(read_limit(asked, default), asked.operation.parameters["limit"].greatest or most)
    start = _place(kind, rows, asked, "cursor")
    following = rows[start + limit : start + limit + 1]
    next_cursor = name_of(kind, following[0]) if following else None
    return rows[start : start + limit], {"limit": limit, "next_cursor": next_cursor, "more": bool(following)}


def _after(kind: str, rows: Sequence[Any], asked: Asked) -> Page:
    """A cursor is the identifier of the last row before the page, or with `before` of the first one behind it."""
    limit = min(read_limit(asked, DEFAULT_LIMIT), MAX_LIMIT)
    if asked.one("after") is not None and asked.one("before") is not None:
        raise ApiError(400, "after and before exclude each other")
    start = _place(kind, rows, asked, "after") + (asked.one("after") is not None)
    if asked.one("before") is not None:
        start = max(0, _place(kind, rows, asked, "before") - limit)
    page = rows[start : start + limit]
    more = start + limit < len(rows)
    after = name_of(kind, page[-1]) if page and more else None
    return page, {"after": after, "before": name_of(kind, page[0]) if page and start else None}


def _place(kind: str, rows: Sequence[Any], asked: Asked, name: str) -> int:
    wanted = asked.one(name)
    if wanted is None:
        return 0
    found = next((n for n, row in enumerate(rows) if name_of(kind, row) == wanted), None)
    if found is None:
        raise ApiError(400, f"{name} is not known: {wanted}")
    return found


def _whole(_: str, rows: Sequence[Any], asked: Asked) -> Page:
    """Everything at once; where the specification has a limit, so many rows without a way to the rest."""
    limit = read_limit(asked, MAX_LIMIT) if "limit" in asked.operation.parameters else max(MAX_LIMIT, len(rows))
    total = len(rows) if asked.flag("total") or "total" not in asked.operation.parameters else UNSAID
    more = len(rows) > limit
    return rows[:limit], {"limit": limit, "offset": 0, "more": more, "total": total, "next_cursor": None}


PAGERS: Mapping[str, Callable[[str, Sequence[Any], Asked], Page]] = {
    "classic": _classic,
    "cursor": _cursor,
    "after": _after,
    "none": _whole,
}
"""By way of paging: the rows of the page asked for, and the fields that tell where it stands."""


def _beside(view: View, asked: Asked, kind: str, name: str, rows: Sequence[Any]) -> Any:
    """A field beside the rows that is no paging: known by its name, or drawn from its schema."""
    if name in BESIDE:
        return BESIDE[name](asked, rows)
    assert asked.operation.listing is not None
    return view.generic.beside(kind, asked.operation.listing.beside[name], name)


def _nothing(_: Asked, __: Sequence[Any]) -> Any:
    return UNSAID


def _impacted(asked: Asked, rows: Sequence[Any]) -> Any:
    wanted = "total_impacted_count" in asked.many("additional_fields[]")
    return {"total_impacted_count": sum(row["status"] == "impacted" for row in rows)} if wanted else UNSAID


BESIDE: Mapping[str, Callable[[Asked, Sequence[Any]], Any]] = {
    "account_id": lambda _, __: ACCOUNT,
    "additional_fields": _impacted,
    "incident_id": lambda asked, _: asked.path["id"],
    "migrated_at": _nothing,
    "migrated_by": _nothing,
    "migrated_status": _nothing,
    "migrated_to": _nothing,
    "migrated_via": _nothing,
    "order": lambda _, __: "asc",
    "order_by": lambda _, __: "requested_at",
    "resource_id": lambda asked, _: asked.path["id"],
    "resource_type": lambda _, __: "technical_service",
    "response_metadata": lambda _, __: {"messages": None},
    "schema_id": lambda asked, _: asked.path["schema_id"],
    "score": lambda _, rows: {"passing": sum(row["pass"] for row in rows), "total": len(rows)},
    "time_zone": lambda _, __: "Etc/UTC",
}
"""Fields beside the rows, by name: from the request and all rows."""
