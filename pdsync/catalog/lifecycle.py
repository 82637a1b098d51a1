"""`lifecycle` of a resource: what becomes of its entities, which Port's own mapping format has no word for."""

from __future__ import annotations

from datetime import timedelta
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from pdsync.catalog.nodes import Scalar, Sequence, find
from pdsync.catalog.rules import found
from pdsync.model import Lifecycle

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pdsync.catalog.mappings import Resource
    from pdsync.errors import Diagnostic, Origin
    from pdsync.kinds import Window
    from pdsync.model import Json

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
    if find(resource.node, "lifecycle", "ignore_changes") is not None:
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
    from pdsync.leftalone import list_in

    paths = [part.role for part in resource.fields()]
    for place, text in _ignored(resource):
        if any(fnmatchcase(path, text) for path in paths) or _properties_at(text, resource):
            continue
        whole = next((path for path in paths if text.startswith((f"{path}.", f"{path}["))), "")
        if whole.startswith("properties.") and (of := list_in(text)):
            yield found("PD174", place, f'"{text}" leads into a list', _WHOLE.format(of))
            continue
        meant = whole or next((path for path in paths if path.rpartition(".")[2] == text), "")
        hint = f'write "{meant}"' if meant else "name a path that is mapped here, such as title or properties.url"
        yield found("PD172", place, f'nothing is mapped to "{text}"', hint)


def check_places(resource: Resource, properties: Mapping[str, Mapping[str, Json]]) -> Iterator[Diagnostic]:
    """Places inside values that are to be left alone, against what a blueprint says of its properties."""
    for place, text in _ignored(resource):
        known = [name for name in _properties_at(text, resource) if name in properties]
        problems = [_unreachable(name, properties[name], text) for name in known]
        if problems and all(problems) and (first := problems[0]):
            yield found(first[0], place, *first[1:])


_WHOLE = "a list is left alone as a whole: {}"


def _ignored(resource: Resource) -> Iterator[tuple[Origin, str]]:
    """Each path in `ignore_changes`, with where it stands."""
    for index, item in enumerate(_texts(find(resource.node, "lifecycle", "ignore_changes"))):
        yield resource.document.value((*resource.path, "lifecycle", "ignore_changes", index)), item.value


def _properties_at(text: str, resource: Resource) -> list[str]:
    """The mapped properties inside which a path names a place."""
    from pdsync.leftalone import place_of

    place = place_of(text)
    mapped = [part.role for part in resource.fields() if part.role.startswith("properties.")]
    return [path.partition(".")[2] for path in mapped if place is not None and fnmatchcase(path, place.head)]


def _unreachable(name: str, definition: Mapping[str, Json], text: str) -> tuple[str, str, str] | None:
    """Why there is no such place in a property, as code, detail and hint; None where there may be."""
    from pdsync.leftalone import place_of

    place = place_of(text)
    at, here = f"properties.{name}", definition
    for key in place.keys if place else ():
        kind = here.get("type", "object")
        if kind == "array":
            return "PD174", f'"{text}" leads into a list: {at} is one', _WHOLE.format(at)
        if kind not in ("object", "string"):
            return "PD172", f'"{text}" leads nowhere: {at} is a {kind}', f'write "{at}"'
        known = here.get("properties") or {}
        fitting = [each for each in known if key.fullmatch(each)]
        if not fitting and here.get("additionalProperties") is False and not here.get("patternProperties"):
            return "PD172", f'"{text}" leads nowhere: {at} takes {", ".join(known) or "nothing"}', ""
        if len(fitting) != 1 or not isinstance(known[fitting[0]], dict):
            return None
        at, here = f"{at}.{fitting[0]}", known[fitting[0]]
    return None


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
