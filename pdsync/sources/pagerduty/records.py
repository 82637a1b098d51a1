"""Records as bytes: pages are cut into records, ids are read, enrichments spliced in; nothing is parsed whole."""

from __future__ import annotations

import re
from itertools import starmap
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from pdsync.errors import SourceError, error
from pdsync.recordfile import is_one_line, one_line
from pdsync.transport import read_json

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
    `places` is where the bytes are: the bytes themselves until they are put on a shelf.  `moments` say when each was
    made, if that was to be read as well.
    """

    __slots__ = ("ids", "limit", "moments", "more", "next", "places", "raws", "total")

    def __init__(
        self,
        ids: list[str],
        raws: list[bytes],
        *,
        more: bool | None,
        total: int | None,
        following: str,
        limit: int | None = None,
        moments: Sequence[Any] = (),
    ) -> None:
        self.ids = ids
        self.raws = raws
        self.places: Sequence[Kept] = raws
        self.more = more
        self.total = total
        self.next = following
        self.limit = limit
        self.moments = moments

    def put_on(self, shelf: Shelf) -> Page:
        """The same, its bytes on a shelf."""
        self.places = list(map(shelf.put, self.ids, self.raws))
        shelf.moments.update(zip(self.places, self.moments, strict=False))
        self.raws, self.moments = [], ()
        return self


_NEXT: Mapping[Paging, str] = MappingProxyType({"after": "after", "post": "last"})
"""The key of an answer that names where to go on; `next_cursor` elsewhere."""


class PageReader:
    """Cuts the pages of one kind; `rows` is the key of the rows where it is not the kind's.

    `moment` names a field that tells when a record was made, where that is to be read with the ids.
    """

    def __init__(self, kind: Kind, rows: str = "", moment: str = "") -> None:
        self.kind = kind
        rows = rows or kind.rows
        self._page = msgspec.json.Decoder(
            msgspec.defstruct(
                "Page",
                [
                    ("rows", list[msgspec.Raw], msgspec.field(name=rows)),
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
        names = () if kind.id == ITSELF else tuple(path.partition("|")[0] for path in kind.id)
        self._told = FieldReader([*names, moment] if moment else names)
        self._rows = msgspec.json.Decoder(rows_of(self._told.shape if names else str, rows))
        self._instead = [path.partition("|")[2] for path in kind.id]
        self._has_moment = bool(moment)

    def read(self, content: bytes) -> Page:
        """The page in an answer.  Raises `Malformed` if it is not what the kind's list should be."""
        try:
            page: Any = decode(self._page, content)
            told: Any = decode(self._rows, content)
        except msgspec.DecodeError as problem:
            raise malformed(self.kind, f"{problem}") from None
        values = [[row] if row.__class__ is str else self._told.values(row) for row in told.rows]
        moments = [each.pop() for each in values] if self._has_moment else []
        raws = list(map(bytes, page.rows))
        return Page(
            list(starmap(self._id_of, enumerate(values, start=1))),
            raws if is_one_line(content) else list(map(one_line, raws)),
            more=page.more,
            total=page.total,
            following="" if page.following is None else str(page.following),
            limit=page.limit,
            moments=moments,
        )

    def _id_of(self, number: int, values: Sequence[Any]) -> str:
        """The id of the record with this number on its page.  Raises `Malformed` if it has none."""
        parts = [instead if value is None else str(value) for value, instead in zip(values, self._instead, strict=True)]
        if not parts[0]:
            raise malformed(self.kind, f"record {number} of a page has no id", _NOBODYS)
        return "-".join(part for part in parts if part)


def rows_of(row: Any, name: str) -> Any:
    """A type with such rows under a name."""
    return msgspec.defstruct("Rows", [("rows", list[row], msgspec.field(name=name))])


_SURROGATES = re.compile(
    rb"""(?P<kept> \\\\ | \\u[dD][89abAB][0-9a-fA-F]{2} \\u[dD][c-fC-F][0-9a-fA-F]{2} )
       | \\u[dD][89a-fA-F][0-9a-fA-F]{2}""",
    re.VERBOSE,
)


def decode(decoder: msgspec.json.Decoder[Any], content: bytes) -> Any:
    """The decoded page; half a surrogate pair, as a cut text may end with, becomes U+FFFD (as jq reads it).

    Raises `msgspec.DecodeError`.
    """
    try:
        return read_json(decoder.decode, content)
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


_NOBODYS = "ask PagerDuty's support what it is; until then, nothing is deleted for missing in this list"


def malformed(kind: Kind, what: str, hint: str = "check that the base URL is PagerDuty's") -> Malformed:
    """An answer is not what the kind's list should be."""
    return Malformed(
        error(
            "PD311",
            "an answer of PagerDuty cannot be understood",
            detail=f"{kind.method} {kind.path}: {what}",
            hint=hint,
        )
    )


_Leaf = str | int | float | bool | None


class FieldReader:
    """Reads some fields of records, named by dotted paths, and skips over everything else."""

    def __init__(self, paths: Iterable[str]) -> None:
        steps = [path.split(".") for path in paths]
        self.shape = _shape(steps)
        self._decoder = msgspec.json.Decoder(self.shape)
        self._attributes = [[_attribute(step) for step in path] for path in steps]

    def read(self, raw: bytes) -> list[Any]:
        """The values in the order of the paths; None where there is none.  Raises `msgspec.DecodeError`."""
        return self.values(self._decoder.decode(raw))

    def values(self, record: Any) -> list[Any]:
        """The same of what was decoded as `shape`."""
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
