"""Records as bytes: pages are cut into records, ids are read, enrichments spliced in; nothing is parsed whole."""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from pdsync.errors import SourceError, error
from pdsync.recordfile import one_line

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

    from pdsync.kinds import Kind, Paging
    from pdsync.sources.pagerduty.shelf import Kept, Shelf

T = TypeVar("T")

ITSELF = (".",)
"""What `Kind.id` is for records that are plain texts."""


class Page:
    """One answer of a list: ids and bytes of its records in order, and what it says about the rest.

    `more`, `total` and `limit` are None where the server does not tell; `next` is what the next page is asked for with.
    `places` is where the bytes are: the bytes themselves until they are put on a shelf.
    """

    __slots__ = ("ids", "limit", "more", "next", "places", "raws", "total")

    def __init__(
        self,
        ids: list[str],
        raws: list[bytes],
        *,
        more: bool | None,
        total: int | None,
        following: str,
        limit: int | None = None,
    ) -> None:
        self.ids = ids
        self.raws = raws
        self.places: Sequence[Kept] = raws
        self.more = more
        self.total = total
        self.next = following
        self.limit = limit

    def put_on(self, shelf: Shelf) -> Page:
        """The same, its bytes on a shelf."""
        self.places = list(map(shelf.put, self.ids, self.raws))
        self.raws = []
        return self


_NEXT: Mapping[Paging, str] = MappingProxyType({"after": "after", "post": "last"})
"""The key of an answer that names where to go on; `next_cursor` elsewhere."""


class PageReader:
    """Cuts the pages of one kind; `rows` is the key of the rows where it is not the kind's."""

    def __init__(self, kind: Kind, rows: str = "") -> None:
        self.kind = kind
        self._page = msgspec.json.Decoder(
            msgspec.defstruct(
                "Page",
                [
                    ("rows", list[msgspec.Raw], msgspec.field(name=rows or kind.rows)),
                    ("more", bool | None, None),
                    ("total", int | None, None),
                    ("limit", int | None, None),
                    (
                        "following",
                        str | int | None,
                        msgspec.field(name=_NEXT.get(kind.paging, "next_cursor"), default=None),
                    ),
                ],
            )
        )
        self._own = kind.id == ITSELF
        self._named = FieldReader(path.partition("|")[0] for path in kind.id)
        self._instead = [path.partition("|")[2] for path in kind.id]

    def read(self, content: bytes) -> Page:
        """The page in an answer.  Raises `Malformed` if it is not what the kind's list should be."""
        try:
            page: Any = decode(self._page, content)
        except msgspec.DecodeError as problem:
            raise malformed(self.kind, f"{problem}") from None
        raws = [one_line(bytes(row)) for row in page.rows]
        ids = [self.id_of(raw) for raw in raws]
        following = "" if page.following is None else str(page.following)
        return Page(ids, raws, more=page.more, total=page.total, following=following, limit=page.limit)

    def id_of(self, raw: bytes) -> str:
        """The id of a record.  Raises `Malformed` if it has none."""
        try:
            values = [msgspec.json.decode(raw, type=str)] if self._own else self._named.read(raw)
        except msgspec.DecodeError as problem:
            raise malformed(self.kind, f"{problem}") from None
        parts = [instead if value is None else str(value) for value, instead in zip(values, self._instead, strict=True)]
        if not parts[0]:
            raise malformed(self.kind, "a record has no id")
        return "-".join(part for part in parts if part)


_SURROGATES = re.compile(
    rb"""(?P<kept> \\\\ | \\u[dD][89abAB][0-9a-fA-F]{2} \\u[dD][c-fC-F][0-9a-fA-F]{2} )
       | \\u[dD][89a-fA-F][0-9a-fA-F]{2}""",
    re.VERBOSE,
)


def decode(decoder: msgspec.json.Decoder[Any], content: bytes) -> Any:
    """The decoded page; half a surrogate pair, as a cut text may end with, becomes U+FFFD (as jq reads it)."""
    try:
        return decoder.decode(content)
    except msgspec.DecodeError:
        whole = _SURROGATES.sub(lambda match: match["kept"] or rb"\ufffd", content)
        if whole == content:
            raise
        return decoder.decode(whole)


class Malformed(SourceError):
    """An answer is not what it should be."""


async def understood(read: Callable[[], Awaitable[T]]) -> T:
    """What `read` makes of an answer; one that is not what it should be, as if it broke off, is asked for once more."""
    try:
        return await read()
    except (Malformed, msgspec.DecodeError):
        return await read()


def malformed(kind: Kind, what: str) -> Malformed:
    """An answer is not what the kind's list should be."""
    return Malformed(
        error(
            "PD311",
            "an answer of PagerDuty cannot be understood",
            detail=f"{kind.method} {kind.path}: {what}",
            hint="check that the base URL is PagerDuty's",
        )
    )


_Leaf = str | int | float | bool | None


class FieldReader:
    """Reads some fields of records, named by dotted paths, and skips over everything else."""

    def __init__(self, paths: Iterable[str]) -> None:
        steps = [path.split(".") for path in paths]
        self._decoder = msgspec.json.Decoder(_shape(steps))
        self._attributes = [[_attribute(step) for step in path] for path in steps]

    def read(self, raw: bytes) -> list[Any]:
        """The values in the order of the paths; None where there is none.  Raises `msgspec.DecodeError`."""
        record = self._decoder.decode(raw)
        return [_follow(record, path) for path in self._attributes]


def _shape(paths: list[list[str]]) -> Any:
    """A type with just these fields, each of which may be missing or null."""
    inner: dict[str, list[list[str]]] = {}
    for head, *rest in paths:
        inner.setdefault(head, []).extend([rest] if rest else [])
    fields = [
        (_attribute(head), (_shape(rests) | None) if rests else _Leaf, msgspec.field(name=head, default=None))
        for head, rests in inner.items()
    ]
    return msgspec.defstruct("Record", fields)


def _attribute(name: str) -> str:
    return "f_" + name


def _follow(record: Any, path: list[str]) -> Any:
    for attribute in path:
        if record is None:
            return None
        record = getattr(record, attribute)
    return record


def replace(raw: bytes, key: str, value: bytes) -> bytes:
    """The JSON object `raw` with another value under one of its keys; the order of keys stays."""
    parts: dict[str, msgspec.Raw] = msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
    parts[key] = msgspec.Raw(value)
    return msgspec.json.encode(parts)


def array(values: Iterable[bytes]) -> bytes:
    """A JSON array of JSON bytes."""
    return b"[" + b",".join(values) + b"]"


def taken_apart(raw: bytes, names: Iterable[str]) -> tuple[bytes, dict[str, bytes]]:
    """The JSON object `raw` without some of its keys, and what stood under those that it had."""
    parts: dict[str, msgspec.Raw] = msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
    found = {name: bytes(parts.pop(name)) for name in names if name in parts}
    return (msgspec.json.encode(parts) if found else raw), found
