"""The snapshot as a file: a header with the queries, then lines with PagerDuty's own bytes.

    {"format":"pdsync-snapshot","version":6,"source":...,"taken_at":...,"digest":...,"collections":[...],"leaned":[...]}
    {"digests":...,"ids":["PX1",...],"sizes":[...]}
    {"id":"PX1","r":{...}}

The lines of a collection (`pdsync.recordfile`) stand together, in the order of the header: first those of its records,
then those of the values of each enrichment, then why others are missing; before each of these blocks stands its index.
The header has for each its name, the number of lines, the sizes of index and lines, and the checksum of the index; and
as `checksum` that of all else that it says.
Last come the answers of lists that all this was read from, one a line.  Records are neither parsed nor held on the way
in or out, nor read when the file is opened.

Up to version 3 the values of enrichments stood in the records, and a line had the reasons as `u`.  Versions 1 and 2 had
one checksum for all lines, and in each line the index `c` of its collection; version 1 knew less of a collection.
"""

from __future__ import annotations

from hashlib import blake2b
from itertools import accumulate, compress, groupby, islice
from typing import TYPE_CHECKING, Any

import msgspec
import orjson

from pdsync.completeness import SUSPICIOUS, Seen
from pdsync.errors import Diagnostic
from pdsync.model import Collection, Leaned, Missing, PageRead, PagesRead, Query, Record, Snapshot
from pdsync.recordfile import (
    RECORDS,
    UNAVAILABLE,
    KeptRecords,
    RecordWriter,
    blocks_of,
    read_index,
    read_reasons,
)
from pdsync.sealing import unsealed_view
from pdsync.spool import Found, Held, Spool, blocks, lines, open_file
from pdsync.state.header import AGAIN, CUT, damage, damaged, read_header

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from collections.abc import Collection as AbstractCollection
    from pathlib import Path

    from pdsync.recordfile import Block, Lines
    from pdsync.sealing import Keyring
    from pdsync.spool import Readable

FORMAT = "pdsync-snapshot"
VERSION = 6

_encode = msgspec.json.Encoder(order="deterministic").encode
_page = msgspec.json.Decoder(PageRead)


def dump_snapshot(snapshot: Snapshot) -> Iterator[bytes]:
    """The snapshot's lines, collections in the order of their queries, in blocks of any size."""
    collections = [snapshot.collections[query] for query in sorted(snapshot.collections, key=_order)]
    header = {
        "format": FORMAT,
        "version": VERSION,
        "source": snapshot.source,
        "taken_at": snapshot.taken_at,
        **({"applies": True} if snapshot.applies else {}),
        "digest": snapshot.digest,
        "collections": [_head(collection) for collection in collections],
        "leaned": [msgspec.to_builtins(snapshot.leaned[query]) for query in sorted(snapshot.leaned, key=_order)],
        "read": {"private": snapshot.read.private, **_measured(_page_lines(snapshot))},
    }
    yield _header_line({**header, "checksum": _header_checksum(header)})
    for collection in collections:
        for _, block in blocks_of(collection.records):
            yield from block.index()
            yield from block.lines()
    yield from _page_lines(snapshot)


def _header_line(header: Mapping[str, Any]) -> bytes:
    return orjson.dumps(header, option=orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE)


def _header_checksum(header: Mapping[str, Any]) -> str:
    """Of all that a header says but its checksum."""
    return str(_measured([_header_line({**header, "checksum": ""})])["checksum"])


def _page_lines(snapshot: Snapshot) -> Iterator[bytes]:
    return (_encode(page) + b"\n" for page in snapshot.read.pages)


def _measured(found: Iterable[bytes]) -> dict[str, Any]:
    """Size and checksum of some lines, which are not held."""
    size, checksum = 0, blake2b(digest_size=16)
    for text in found:
        size += len(text)
        checksum.update(text)
    return {"size": size, "checksum": checksum.hexdigest()}


def _told(name: str, block: Lines) -> list[Any]:
    """What the header says of a block."""
    index = _measured(block.index())
    return [name, len(block), index["size"], block.size, index["checksum"]]


def _head(collection: Collection) -> dict[str, Any]:
    missing = {id_: _as_missing(each) for id_, each in collection.missing.items()}
    return {
        "query": msgspec.to_builtins(collection.query),
        "count": len(collection.records),
        "blocks": [_told(*each) for each in blocks_of(collection.records)],
        "problem": msgspec.to_builtins(collection.problem),
        "notes": msgspec.to_builtins(collection.notes),
        "believed": collection.believed,
        "short_since": collection.short_since,
        "taken": collection.taken,
        "since_full": collection.since_full,
        "as_of": dict(collection.as_of),
        "private": collection.private,
        "sharing": collection.sharing,
        **({"missing": missing} if missing else {}),
        "requests": collection.requests,
        "seconds": round(collection.seconds, 3),
    }


def _as_missing(record: Missing) -> list[str | bool]:
    """As few words as will do: most have not moved."""
    return [*record] if record.moved else [record.parent, record.since]


def parse_snapshot(data: bytes, name: str, kinds: AbstractCollection[str] | None = None) -> Snapshot:
    """Read a snapshot from its bytes; see `read_snapshot`."""
    return read_snapshot(Held(data), name, kinds)


def open_snapshot(path: Path, keyring: Keyring | None = None) -> Snapshot:
    """Read a snapshot from a file, which may be sealed; see `read_snapshot`."""
    try:
        return read_snapshot(unsealed_view(open_file(path), keyring, str(path)), str(path))
    except OSError as e:
        raise damaged(str(path), f"it cannot be read: {e.strerror or e}", AGAIN) from e


def read_snapshot(source: Readable, name: str, kinds: AbstractCollection[str] | None = None) -> Snapshot:
    """Read a snapshot, of some kinds only if they are named; its records stay in `source`.

    Raises `StateError` when that is not a whole snapshot of a version known here; whether each record is as it was
    written turns out when it is read.
    """
    head = next(lines(source), b"")
    header = read_header(head, name, form=FORMAT, versions=tuple(_READERS), hint=AGAIN)
    if header["version"] == VERSION and header.get("checksum") != _header_checksum(header):
        raise damaged(name, CUT, AGAIN)
    with damage(name, AGAIN):
        heads = header["collections"]
        wanted = [kinds is None or each["query"]["kind"] in kinds for each in heads]
        records = _READERS[header["version"]](source, len(head), header, wanted, name)
        found = list(zip(compress(heads, wanted), records, strict=True))
        return Snapshot(
            source=header["source"],
            taken_at=header["taken_at"],
            applies=header.get("applies", False),
            collections={collection.query: collection for collection in (_collection(*each) for each in found)},
            digest=header["digest"],
            leaned={each.query: each for each in map(_leaned, header.get("leaned", ()))},
            read=_pages(source, header.get("read"), name),
        )


def read_through(snapshot: Snapshot) -> None:
    """Read all records.  Raises `StateError` when one of them is not as it was written."""
    for collection in snapshot.collections.values():
        for record in collection.records:
            len(record.raw)


def _records(
    source: Readable, start: int, header: Mapping[str, Any], wanted: Iterable[bool], name: str
) -> Iterator[KeptRecords]:
    """The records of the wanted collections.  Raises `StateError` when the file is not as long as it was."""
    heads = header["collections"]
    *starts, end = accumulate((_size(told) for head in heads for told in head["blocks"]), initial=start)
    if end + header["read"]["size"] != source.size:
        raise damaged(name, "it is not as long as its header says", AGAIN)
    file, places = Found(source, name), iter(starts)
    for head, is_wanted in zip(heads, wanted, strict=True):
        told = list(zip(head["blocks"], places, strict=False))
        if is_wanted:
            found = {each[0]: _block(file, at, each, name) for each, at in told}
            rows, reasons = found.pop(RECORDS), found.pop(UNAVAILABLE)
            yield KeptRecords(rows, found, read_reasons(reasons))


def _size(told: Sequence[Any]) -> int:
    _, _, index, lines, _ = told
    return int(index + lines)


def _block(source: Readable, start: int, told: Sequence[Any], name: str) -> Block:
    """A block of lines, as the header tells of it.  Raises `StateError` when it is another one."""
    _, count, index, size, checksum = told
    text = source.read(start, index)
    if _measured([text])["checksum"] != checksum:
        raise damaged(name, CUT, AGAIN)
    block = read_index(source, start + index, text.splitlines())
    if (len(block), block.size) != (count, size):
        raise damaged(name, CUT, AGAIN)
    return block


def _pages(source: Readable, told: Mapping[str, Any] | None, name: str) -> PagesRead:
    """The answers of lists that it was read from; none in older versions."""
    if told is None:
        return PagesRead()
    text = source.read(source.size - told["size"], told["size"])
    if _measured([text])["checksum"] != told["checksum"]:
        raise damaged(name, CUT, AGAIN)
    return PagesRead(tuple(told["private"]), tuple(map(_page.decode, text.splitlines())))


class _OldLine(msgspec.Struct):
    """A line of versions 1 to 3."""

    id: str
    r: msgspec.Raw
    c: int = 0
    u: dict[str, str] = {}


_old_line = msgspec.json.Decoder(_OldLine)


def _old_records(
    source: Readable, start: int, header: Mapping[str, Any], wanted: Iterable[bool], name: str
) -> Iterator[KeptRecords]:
    """The same of versions 1 and 2, put down anew."""
    checksum = blake2b(digest_size=16)
    for block in blocks(source, start):
        checksum.update(block)
    if checksum.hexdigest() != header["checksum"]:
        raise damaged(name, CUT, AGAIN)
    by_collection = groupby(map(_old_line.decode, lines(source, start)), key=lambda line: line.c)
    following = next(by_collection, None)
    for number, is_wanted in enumerate(wanted):
        found = following[1] if following and following[0] == number else ()
        if is_wanted:
            yield _put_down(found)
        if found:
            following = next(by_collection, None)


def _third_records(
    source: Readable, start: int, header: Mapping[str, Any], wanted: Iterable[bool], name: str
) -> Iterator[KeptRecords]:
    """The same of version 3, which had a checksum for each collection."""
    for head, is_wanted in zip(header["collections"], wanted, strict=True):
        if is_wanted:
            texts = list(islice(lines(source, start), head["count"]))
            if (_third_checksum(texts), sum(map(len, texts))) != (head["checksum"], head["size"]):
                raise damaged(name, CUT, AGAIN)
            yield _put_down(map(_old_line.decode, texts))
        start += head["size"]
    if start != source.size:
        raise damaged(name, CUT, AGAIN)


def _third_checksum(texts: Iterable[bytes]) -> str:
    """Of lines whose records are replaced by their digests."""
    checksum = blake2b(digest_size=16)
    for text in texts:
        raw = bytes(_old_line.decode(text).r)
        head, _, tail = text.partition(raw)
        checksum.update(head + blake2b(raw, digest_size=16).digest() + tail)
    return checksum.hexdigest()


def _put_down(found: Iterable[_OldLine]) -> KeptRecords:
    writer = RecordWriter(Spool())
    for each in found:
        writer.add(each.id, bytes(each.r), each.u)
    return writer.done()


_READERS: Mapping[int, Callable[[Readable, int, Mapping[str, Any], Iterable[bool], str], Iterator[KeptRecords]]] = {
    1: _old_records,
    2: _old_records,
    3: _third_records,
    VERSION: _records,
}
"""How the lines of each version are read."""


def parse_counts(head: bytes) -> dict[Query, Seen]:
    """What the header alone (the first line) says of every query; nothing when it is no snapshot's header."""
    header = _header(head)
    items = (*header.get("leaned", ()), *header.get("collections", ()))
    return {msgspec.convert(item["query"], Query): _seen(item) for item in items}


def parse_digest(head: bytes) -> str:
    """The snapshot's digest by the header alone (the first line); empty when it is no snapshot's header."""
    return str(_header(head).get("digest", ""))


def _header(head: bytes) -> dict[str, Any]:
    try:
        header: Any = orjson.loads(head)
    except orjson.JSONDecodeError:
        return {}
    if not isinstance(header, dict) or header.get("format") != FORMAT or header.get("version") not in _READERS:
        return {}
    is_whole = header["version"] != VERSION or header.get("checksum") == _header_checksum(header)
    return header if is_whole else {}


def _seen(header: dict[str, Any]) -> Seen:
    problem = header["problem"] or {}
    suspicious = problem.get("code") == SUSPICIOUS
    return Seen(header["count"], header.get("believed", 0), suspicious=suspicious, since=header.get("short_since", ""))


def _leaned(header: dict[str, Any]) -> Leaned:
    return msgspec.convert(header, Leaned)


def _collection(header: dict[str, Any], records: Sequence[Record]) -> Collection:
    return Collection(
        query=msgspec.convert(header["query"], Query),
        records=records,
        problem=msgspec.convert(header["problem"], Diagnostic | None),
        notes=msgspec.convert(header["notes"], tuple[Diagnostic, ...]),
        believed=header.get("believed", 0),
        # Version 1 did not say which records were taken over.
        taken=header["count"] if header.get("incremental") else header.get("taken", 0),
        since_full=header.get("since_full", 0),
        as_of=header.get("as_of", {}),
        private=tuple(header.get("private", ())),
        sharing=header.get("sharing", ""),
        missing=msgspec.convert(header.get("missing", {}), dict[str, Missing]),
        short_since=header.get("short_since", ""),
        requests=header["requests"],
        seconds=header["seconds"],
    )


def _order(query: Query) -> tuple[str, tuple[tuple[str, str], ...], tuple[tuple[str, str], ...]]:
    return query.kind, query.params, query.enrich
