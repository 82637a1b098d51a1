"""A plan as a JSON document and back; `document(parse(document(plan)))` is the same bytes.

The document is a contract: `format_version` counts as major.minor, a reader takes any minor of its major.  The JSON
Schema is generated from the same types (`plan_schema`).
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import MISSING, fields
from functools import partial
from hashlib import blake2b
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

import ahocorasick_rs
import msgspec

from pdsync.errors import StateError, error
from pdsync.model import ALIKE, Change, FieldChange, Plan, Row
from pdsync.plan import fingerprint

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pdsync.errors import Diagnostic
    from pdsync.model import FieldChanges, Fields, Json

    Paths = tuple[str, ...]
    Told = tuple[tuple[Any, ...], ...]

T = TypeVar("T")

FORMAT_VERSION = "1.7"
_WITHOUT_CHECKSUM = "1.0"
_AT_ONCE = 200
_CHECKSUM = b',"checksum":"%b"}'
_digest = partial(blake2b, digest_size=16)


def plan_document(plan: Plan) -> bytes:
    """The plan as canonical JSON: sorted keys and the checksum last, no white space, one trailing newline."""
    return b"".join(plan_chunks(plan))


def plan_chunks(plan: Plan) -> Iterator[bytes]:
    """`plan_document` piece by piece: of a large plan, it is several times as much as the plan itself."""
    digest = _digest()
    with ThreadPoolExecutor(max_workers=1) as beside:  # a piece is digested while the next one is made
        digested = beside.submit(digest.update, b"")
        for chunk in map(_no_command, _unsigned(plan)):
            digested.result()
            digested = beside.submit(digest.update, chunk)
            yield chunk
    yield _CHECKSUM % digest.hexdigest().encode() + b"\n"


def _no_command(document: bytes) -> bytes:
    """The same JSON without what is a command to GitHub's runner, were it printed there: a `#` is in strings alone."""
    return document.replace(_COMMAND, b"#\\u0023[") if _commands.find_matches_as_indexes(document) else document


_COMMAND = b"##["
_commands = ahocorasick_rs.BytesAhoCorasick([_COMMAND])
"""Finds it twenty times as fast as bytes find it themselves, and all of a plan is looked through."""


def _unsigned(plan: Plan) -> Iterator[bytes]:
    """The document up to its checksum, which comes last: it is of all that stands before it."""
    values = {"format_version": FORMAT_VERSION} | {name: getattr(plan, name) for name in Plan.__dataclass_fields__}
    for number, (name, value) in enumerate(sorted(values.items())):
        yield (b"," if number else b"{") + encoded(name) + b":"
        if name == "changes":
            yield from _listed(value)
        else:
            yield encoded(value)


def _listed(changes: Sequence[Change]) -> Iterator[bytes]:
    """Changes as a list, some at a time: each piece but the first begins with a comma."""
    following = iter(changes)
    opening = b"["
    while some := list(islice(following, _AT_ONCE)):
        yield opening + encoded(some)[1:-1]
        opening = b","
    yield b"]" if changes else b"[]"


def encoded(value: Any) -> bytes:
    """Parts of a plan as JSON with sorted keys; the fields of a change are a list of what one sees of them."""
    return msgspec.json.encode(value, order="sorted", enc_hook=_written)


def _written(value: FieldChanges | Row) -> msgspec.Raw | Fields:
    """What is no type of its own in a document."""
    return value.copy() if isinstance(value, Row) else _fields(value)


def _fields(changes: FieldChanges) -> msgspec.Raw:
    """The fields of a change, without making them: there are more of them than of all else in a plan."""
    paths, befores, afters, told = changes.columns()
    if not paths:
        return msgspec.Raw(b"[]")
    # For nearly all there is, what stands around the values is the same for many changes.
    new = befores.count(None) == len(befores)
    frame = _frames.around(paths, told) if new else _around(paths, befores, told)
    return msgspec.Raw(frame % tuple(map(_encode, afters)))


def _around(paths: Paths, befores: Sequence[Json], told: Told) -> bytes:
    """A list of fields in the order of the alphabet, with a `%b` where each has its value."""
    rests = (
        b',"before":' + _encode(before) + b"," + _encode({"path": path, **_unusual(each)})[1:]
        for path, before, each in zip(paths, befores, told, strict=True)
    )
    return b"[%b]" % b",".join(b'{"after":%b' + rest.replace(b"%", b"%%") for rest in rests)


def _unusual(told: tuple[Any, ...]) -> dict[str, Any]:
    """What is said of a field besides its values, but for what holds where nothing is said: it is most of a plan."""
    return {name: value for name, value in zip(ALIKE, told, strict=True) if name not in _USUAL or value != _USUAL[name]}


_USUAL = {each.name: each.default for each in fields(FieldChange) if each.default is not MISSING}


class _Frames:
    """What stands around the values of changes from nothing, found again by the very tuples that these share."""

    def __init__(self) -> None:
        self._made: dict[tuple[int, int], tuple[Paths, Told, bytes]] = {}

    def around(self, paths: Paths, told: Told) -> bytes:
        """`_around` where all was null."""
        where = id(paths), id(told)
        if (found := self._made.get(where)) is None:
            if len(self._made) >= _MOST_FRAMES:
                self._made.clear()
            # The tuples are held, so that no others can come to have their ids.
            found = self._made[where] = paths, told, _around(paths, (None,) * len(paths), told)
        return found[2]


_MOST_FRAMES = 4096


_encode = msgspec.json.Encoder(order="sorted").encode
_frames = _Frames()


def parse_plan(data: bytes, name: str = "plan") -> Plan:
    """Read a plan document to be applied.  Raises `StateError` as `read_plan` does, and when it was edited."""
    plan = read_plan(data, name)
    if not is_whole(data) or fingerprint(plan.changes) != plan.fingerprint:
        raise StateError(edited(name))
    return plan


def edited(name: str) -> Diagnostic:
    """That a document is not whole."""
    detail = f"{name} is not as pdsync wrote it: its checksum is of something else"
    return error("PD512", "the plan was edited", detail=detail, hint="plan again")


def is_whole(data: bytes) -> bool:
    """Whether a document ends with the checksum of all that stands before that; format 1.0 had none."""
    end = len(data) - data.endswith(b"\n")
    at = data.rfind(_CHECKSUM[:13], 0, end)
    if at < 0:
        return bool(_version(data) == _WITHOUT_CHECKSUM)
    return data[at:end] == _CHECKSUM % _digest(memoryview(data)[:at]).hexdigest().encode()


class _Versioned(msgspec.Struct):
    """What is looked at before anything else of a plan."""

    format_version: Any = None


def _version(data: bytes) -> Any:
    """The format's version, None where there is none.  Raises `msgspec.DecodeError`, `UnicodeDecodeError`."""
    try:
        return msgspec.json.decode(data, type=_Versioned).format_version
    except msgspec.ValidationError:
        return None


def read_plan(data: bytes, name: str = "plan") -> Plan:
    """Read a plan document to be shown.  Raises `StateError` when it is none, or of another major version."""
    _refuse_other_formats(_version_in(data, name), name)
    return _decoded(data, Plan, name)


class WrittenChange(msgspec.Struct):
    """A change as it is written in a document: what tells what it is about, its fields unread, and all of it."""

    n: int
    target: str
    action: str
    blueprint: str
    identifier: str
    fields: msgspec.Raw
    whole: msgspec.Raw = msgspec.Raw()


class _WrittenPlan(_Versioned, kw_only=True):
    changes: list[msgspec.Raw]


def written_changes(data: bytes, name: str = "plan") -> list[WrittenChange]:
    """The changes of a plan document, hardly read.  Raises `StateError` as `read_plan` does."""
    try:
        plan = msgspec.json.decode(data, type=_WrittenPlan)
    except (msgspec.DecodeError, UnicodeDecodeError) as e:
        _refuse_other_formats(_version_in(data, name), name)
        raise _no_plan(f"{name}: {e}") from e
    _refuse_other_formats(plan.format_version, name)
    whole = plan.changes
    changes = [_decoded(each, WrittenChange, name) for each in whole]
    for change, written in zip(changes, whole, strict=True):
        change.whole = written
    return changes


def read_change(written: WrittenChange, name: str = "plan") -> Change:
    """All of a written change.  Raises `StateError` when it is none."""
    return _decoded(written.whole, Change, name)


def _version_in(data: bytes, name: str) -> Any:
    try:
        return _version(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as e:
        raise _no_plan(f"{name} is not JSON: {e}") from e


def _no_plan(detail: str) -> StateError:
    return StateError(
        error("PD510", "not a plan", detail=detail, hint="name a file that `plan --out FILE` has written")
    )


def _refuse_other_formats(version: Any, name: str) -> None:
    if not isinstance(version, str):
        raise _no_plan(f"{name} has no format_version")
    if version.split(".")[0] != FORMAT_VERSION.split(".", maxsplit=1)[0]:
        detail = f"{name} has format {version}, this pdsync reads {FORMAT_VERSION}"
        raise StateError(error("PD511", "plan of another format", detail=detail, hint="plan again with this pdsync"))


def _decoded(data: bytes | msgspec.Raw, kind: type[T], name: str) -> T:
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as e:
        raise _no_plan(f"{name}: {e}") from e


def plan_schema() -> dict[str, Any]:
    """The JSON Schema of the document."""
    schema = msgspec.json.schema(Plan)
    plan = schema["$defs"]["Plan"]
    plan["properties"]["format_version"] = {"type": "string", "pattern": r"^1\.\d+$"}
    plan["properties"]["checksum"] = {"type": "string", "pattern": "^[0-9a-f]{32}$"}
    plan["required"] = ["checksum", "format_version", *plan["required"]]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "pdsync plan", **schema}
