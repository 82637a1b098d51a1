"""`lifecycle` of a resource: what becomes of its entities, which Port's own mapping format has no word for."""

from __future__ import annotations

from datetime import timedelta
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from pdsync.catalog.nodes import Scalar, Sequence, find
from pdsync.catalog.rules import found
from pdsync.model import Lifecycle

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pdsync.catalog.mappings import Resource
    from pdsync.errors import Diagnostic
    from pdsync.kinds import Window

FOREVER = "forever"


def make_lifecycle(resource: Resource) -> Lifecycle:
    """The lifecycle of a resource without errors."""
    ended = find(resource.node, "lifecycle", "on_remove")
    listed = find(resource.node, "lifecycle", "ignore_changes")
    return Lifecycle(
        on_remove=ended.value if isinstance(ended, Scalar) else None,
        ignore_changes=tuple(item.value for item in _texts(listed)),
        retention=_retention(find(resource.node, "lifecycle", "retention")),
    )


def check_lifecycle(resource: Resource) -> Iterator[Diagnostic]:
    """What the shape does not say: paths that are not mapped, a retention that cannot be kept or changes nothing."""
    yield from _check_ignored(resource)
    node = find(resource.node, "lifecycle", "retention")
    if isinstance(node, Scalar) and isinstance(node.value, str):
        place = resource.document.value((*resource.path, "lifecycle", "retention"))
        if _retention(node) is None:
            detail = f'"{node.value}" is not a stretch of time'
            yield found("PD114", place, detail, f'such as "90d", "12w", "6mo", "1y" or {FOREVER}')
        else:
            yield from _check_retention(resource, node)


def _check_ignored(resource: Resource) -> Iterator[Diagnostic]:
    paths = [part.role for part in resource.fields()]
    for index, item in enumerate(_texts(find(resource.node, "lifecycle", "ignore_changes"))):
        if not any(fnmatchcase(path, item.value) for path in paths):
            place = resource.document.value((*resource.path, "lifecycle", "ignore_changes", index))
            meant = next((path for path in paths if path.rpartition(".")[2] == item.value), "")
            whole = next((path for path in paths if item.value.startswith(f"{path}.")), "")
            hint = "name a path that is mapped here, such as title or properties.url"
            if meant or whole:
                hint = f'write "{meant or whole}"' + (": a value is left alone as a whole" if whole else "")
            yield found("PD172", place, f'nothing is mapped to "{item.value}"', hint)


def _check_retention(resource: Resource, node: Scalar) -> Iterator[Diagnostic]:
    from pdsync.kinds import KINDS

    row = KINDS.get(resource.kind)
    place = resource.document.value((*resource.path, "lifecycle", "retention"))
    if row is None or resource.query is None:
        return
    if row.window is None or not _is_bounded(row.window, resource):
        detail = f"these {resource.kind} are listed whatever their age"
        yield found("PD172", place, detail, "remove it: what is not listed any more is gone")
    elif not row.window.field or not _maps(resource, row.window.field):
        yield found("PD173", place, f"no property is mapped from .{row.window.field}", _map_it(row.window.field))
    elif (reach := _reach(row.window, resource)) and (kept := _retention(node)) and kept <= reach:
        detail = f"the list itself goes back {_days(reach)}"
        yield found("PD172", place, detail, f"take more than {_days(reach)}, or remove it")


def _is_bounded(window: Window, resource: Resource) -> bool:
    assert resource.query is not None
    given = dict(resource.query.params)
    if window.everything and given.get(window.everything[0]) == window.everything[1]:
        return False
    return window.since in given or window.back_days is not None


def _reach(window: Window, resource: Resource) -> timedelta | None:
    """How far back the list goes; None when it begins at a date."""
    from pdsync.kinds import RELATIVE_MOMENT

    assert resource.query is not None
    since = dict(resource.query.params).get(window.since)
    if since is None:
        return timedelta(days=window.back_days or 0)
    if not RELATIVE_MOMENT.fullmatch(since) or since == "now":
        return None
    return timedelta(hours=-int(since[:-1]) * (24 if since.endswith("d") else 1))


def _maps(resource: Resource, field: str) -> bool:
    return any(
        (slot := resource.slot(part.role)) is not None and slot.text.strip() == f".{field}"
        for part in resource.fields()
    )


def _map_it(field: str) -> str:
    return f"map .{field} as it is onto a property of format date-time: that tells how old a record is"


def _days(span: timedelta) -> str:
    return f"{span.days} days" if span.days else f"{int(span.total_seconds() // 3600)} hours"


def _retention(node: object) -> timedelta | None:
    from pdsync.kinds import hours_in

    if not isinstance(node, Scalar) or not isinstance(node.value, str):
        return None
    if node.value.strip() == FOREVER:
        return timedelta.max
    hours = hours_in(node.value)
    return timedelta(hours=hours) if hours else None


def _texts(node: object) -> list[Scalar]:
    items = node.items if isinstance(node, Sequence) else ()
    return [item for item in items if isinstance(item, Scalar) and isinstance(item.value, str)]
