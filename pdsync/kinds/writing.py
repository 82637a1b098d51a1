"""How a row of the table is written: filters as short texts, `name[]:type=value|value`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pdsync.kinds.shape import PARENT, Enrichment, Kind, Param, Parent, Window

if TYPE_CHECKING:
    from pdsync.kinds.shape import Paging, ParamType

UTC = (("time_zone", "UTC"),)
"""Moments are rendered in UTC unless the query says otherwise, so that two snapshots agree."""


def filters(*texts: str) -> tuple[Param, ...]:
    """Parameters from their short form.

    `name` takes a text, `name[]` several, `name=a|b` one of these, `name[]=a|b` some of these, `name:flag` and
    `name:number` what they say.  `since` and `until` are moments, `time_zone` is a zone; an `until` of what only lies
    in the past is written `until<`.  A leading `!` marks what must be given.  `@field` ends a filter that is `local`,
    `~field` one that is `near`.
    """
    return tuple(map(_filter, texts))


def _filter(text: str) -> Param:
    text, _, near = text.partition("~")
    text, _, local = text.partition("@")
    left, _, values = text.removeprefix("!").partition("=")
    wire, _, type_ = left.removesuffix("<").partition(":")
    name = wire.removesuffix("[]")
    allowed = tuple(values.split("|")) if values else ()
    return Param(
        name,
        wire,
        _type(name, type_, several=wire.endswith("[]"), listed=bool(allowed)),
        allowed,
        required=text.startswith("!"),
        past=left.endswith("<"),
        local=local,
        near=near,
    )


def _type(name: str, written: str, *, several: bool, listed: bool) -> ParamType:
    if name == "since":
        return "since"
    if name == "until":
        return "until"
    if name == "time_zone":
        return "zone"
    if written:
        return "flag" if written == "flag" else "number"
    if several:
        return "choices" if listed else "texts"
    return "choice" if listed else "text"


def listed(name: str, path: str, rows: str, paging: Paging, *texts: str, **parts: Any) -> Kind:
    """A kind; `texts` are its filters, `parts` the other fields of `Kind`, `params` those that no text can say."""
    params = (*parts.pop("params", ()), *filters(*texts))
    enrichments = parts.pop("enrichments", ())
    parents: tuple[Parent, ...] = parts.get("parents", ())
    if any(parent.kind for parent in parents):
        kinds = tuple(dict.fromkeys(parent.kind for parent in parents))
        enrichments = (*enrichments, Enrichment(PARENT, kinds=kinds))
    if paging == "none":
        parts.setdefault("page_size", 0)
    return Kind(name, path, rows, paging, params=params, enrichments=enrichments, **parts)


def under(kind: str, **fill: str) -> tuple[Parent, ...]:
    """Listed under each record of `kind`, whose fields fill the path; its id fills `{id}` unless said otherwise."""
    return (Parent(kind, tuple(fill.items()) or (("id", "id"),)),)


AUDIT = Window(31, back_days=1, ahead_days=0, field="execution_time")
"""A list of audit records spans 31 days at most, and the last one unless asked (Audit Records API)."""

HISTORY = Window(3650, back_days=None, ahead_days=1, field="created_at")
"""A list with bounds that may be set anywhere."""
