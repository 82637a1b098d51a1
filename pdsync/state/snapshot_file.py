"""The snapshot as a file: a header with the queries, then one record a line with PagerDuty's own bytes.

    {"format":"pdsync-snapshot","version":2,"source":...,"taken_at":...,"digest":...,"collections":[...],...}
    {"c":0,"id":"PX1","u":{"__analytics":"daily quota is spent"},"r":{...}}

`c` is the index of the collection in the header.  Records are not parsed on the way in or out.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import msgspec
import orjson

from pdsync.completeness import SUSPICIOUS, Seen
from pdsync.errors import Diagnostic
from pdsync.model import Collection, Query, Record, Snapshot
from pdsync.state.ledger_file import damage, read_header

if TYPE_CHECKING:
    from collections.abc import Collection as AbstractCollection
    from collections.abc import Iterator

FORMAT = "pdsync-snapshot"
VERSION = 2


class _Line(msgspec.Struct, omit_defaults=True):
    """One record: index of its collection, id, unavailable enrichments, raw bytes."""

    c: int
    id: str
    r: msgspec.Raw
    u: dict[str, str] = {}


def dump_snapshot(snapshot: Snapshot) -> Iterator[bytes]:
    """The snapshot's lines, collections in the order of their queries; a second copy of it is never held."""
    collections = [snapshot.collections[query] for query in sorted(snapshot.collections, key=_order)]
    digest = hashlib.blake2b(digest_size=16)
    for line in _body(collections):
        digest.update(line)
    header = {
        "format": FORMAT,
        "version": VERSION,
        "source": snapshot.source,
        "taken_at": snapshot.taken_at,
        "digest": snapshot.digest,
        "checksum": digest.hexdigest(),
        "collections": [
            {
                "query": msgspec.to_builtins(collection.query),
                "count": len(collection.records),
                "problem": msgspec.to_builtins(collection.problem),
                "notes": msgspec.to_builtins(collection.notes),
                "believed": collection.believed,
                "taken": collection.taken,
                "since_full": collection.since_full,
                "as_of": dict(collection.as_of),
                "private": collection.private,
                "requests": collection.requests,
                "seconds": round(collection.seconds, 3),
            }
            for collection in collections
        ],
    }
    yield orjson.dumps(header, option=orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE)
    yield from _body(collections)


def _body(collections: list[Collection]) -> Iterator[bytes]:
    return (line for number, collection in enumerate(collections) for line in _lines(number, collection))


def parse_snapshot(data: bytes, name: str, kinds: AbstractCollection[str] | None = None) -> Snapshot:
    """Read a snapshot, of some kinds only if they are named.

    Raises `StateError` when the bytes are not a whole snapshot of a version known here.
    """
    head, _, body = data.partition(b"\n")
    header = read_header(head, body, name, form=FORMAT, version=VERSION)
    with damage(name):
        return _snapshot(header, body, kinds)


def _snapshot(header: dict[str, Any], body: bytes, kinds: AbstractCollection[str] | None) -> Snapshot:
    heads = enumerate(header["collections"])
    wanted = {n: head for n, head in heads if kinds is None or head["query"]["kind"] in kinds}
    records: dict[int, list[Record]] = {n: [] for n in wanted}
    decoder = msgspec.json.Decoder(_Line)
    starts = None if kinds is None else tuple(b'{"c":%d,' % n for n in wanted)
    for text in body.splitlines():
        if starts is None or text.startswith(starts):
            line = decoder.decode(text)
            records[line.c].append(Record(line.id, bytes(line.r), line.u))
    collections = [_collection(head, records[n]) for n, head in wanted.items()]
    return Snapshot(
        source=header["source"],
        taken_at=header["taken_at"],
        collections={collection.query: collection for collection in collections},
        digest=header["digest"],
    )


def parse_counts(head: bytes) -> dict[Query, Seen]:
    """What the header alone (the first line) says of every query; nothing when it is no snapshot's header."""
    return {msgspec.convert(item["query"], Query): _seen(item) for item in _header(head).get("collections", ())}


def parse_digest(head: bytes) -> str:
    """The snapshot's digest by the header alone (the first line); empty when it is no snapshot's header."""
    return str(_header(head).get("digest", ""))


def _header(head: bytes) -> dict[str, Any]:
    try:
        header: dict[str, Any] = orjson.loads(head)
    except orjson.JSONDecodeError:
        return {}
    return header if (header.get("format"), header.get("version")) == (FORMAT, VERSION) else {}


def _seen(header: dict[str, Any]) -> Seen:
    problem = header["problem"] or {}
    return Seen(header["count"], header["believed"], suspicious=problem.get("code") == SUSPICIOUS)


def _collection(header: dict[str, Any], records: list[Record]) -> Collection:
    return Collection(
        query=msgspec.convert(header["query"], Query),
        records=tuple(records),
        problem=msgspec.convert(header["problem"], Diagnostic | None),
        notes=msgspec.convert(header["notes"], tuple[Diagnostic, ...]),
        believed=header["believed"],
        taken=header["taken"],
        since_full=header["since_full"],
        as_of=header["as_of"],
        private=tuple(header["private"]),
        requests=header["requests"],
        seconds=header["seconds"],
    )


def _order(query: Query) -> tuple[str, tuple[tuple[str, str], ...], tuple[tuple[str, str], ...]]:
    return query.kind, query.params, query.enrich


_encoder = msgspec.json.Encoder(order="deterministic")


def _lines(number: int, collection: Collection) -> Iterator[bytes]:
    for record in collection.records:
        one_line = b"\n" not in record.raw and b"\r" not in record.raw
        raw = record.raw if one_line else msgspec.json.format(record.raw, indent=-1)
        yield _encoder.encode(_Line(number, record.id, msgspec.Raw(raw), dict(record.unavailable))) + b"\n"
