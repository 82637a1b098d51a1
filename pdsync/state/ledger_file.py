"""The ledger as a file: a header line, then one owned blueprint or entity a line, sorted.

    {"format":"pdsync-ledger","version":4,"lineage":...,"serial":...,"checksum":"blake2b-16 of all the rest"...}
    {"f":{path: value},"o":"created","b":"pagerdutyService"}
    {"f":{...},"o":"adopted","b":"service","a":{"relations.team":"created"}}
    {"f":{...},"o":"created","k":["pagerdutyService","PX1"],"r":[rule ids],"s":"services/PX1"}
    {"f":{...},"o":"created","k":["service","a"],"r":[all rule ids],"s":first,"m":[[record,[rule ids],[paths]],...]}

The header is read before anything else, so that a file of another version or one that was cut is named as such.
Equal ledgers are equal bytes; one changed entity is one changed line.

Up to version 3 an entity was made of one record alone (`m` tells of each where there are several); up to version 2 a
part of a blueprint had no origin of its own (`a`), and so has that of the blueprint: nothing is removed from what
others made.  Version 1 had a checksum of the lines alone, and knew nothing of runs.
"""

from __future__ import annotations

import hashlib
import io
import sys
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec
import orjson

from pdsync.model import (
    EntityKey,
    EntityOrigin,
    Fields,
    FieldsView,
    Ledger,
    LedgerEntry,
    Listed,
    Portion,
    Removal,
    Row,
    RunNote,
    unread,
)
from pdsync.sharing import Pool, filled
from pdsync.spool import Held, blocks, lines
from pdsync.state.header import CUT, damage, damaged, read_header

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

FORMAT = "pdsync-ledger"
VERSION = 4


class _Line(msgspec.Struct, omit_defaults=True):
    """One line: `b` or `k`, fields, origin, rules, source, protect, on_remove, origins of parts, portions."""

    f: msgspec.Raw
    o: EntityOrigin
    b: str = ""
    k: tuple[str, str] | None = None
    r: tuple[str, ...] = ()
    s: str = ""
    p: bool = False
    x: Removal | None = None
    a: dict[str, EntityOrigin] | None = None
    m: tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...] = ()


def dump_ledger(ledger: Ledger) -> bytes:
    """The ledger's canonical bytes; beside them, no second copy is held."""
    header = {
        "format": FORMAT,
        "version": VERSION,
        "lineage": ledger.lineage,
        "serial": ledger.serial,
        "parent": ledger.parent,
        "org_id": ledger.org_id,
        **({"account": ledger.account} if ledger.account else {}),
        "commit": ledger.commit,
        "catalog": ledger.catalog,
        "snapshot": ledger.snapshot,
        "tool": ledger.tool,
        "count": len(ledger.blueprints) + len(ledger.entities),
        "runs": msgspec.to_builtins(ledger.runs),
        "expressions": ledger.expressions,
        **({"listed": msgspec.to_builtins(ledger.listed)} if ledger.listed else {}),
    }
    out = io.BytesIO()
    out.write(_canonical({**header, "checksum": _whole(header, _lines(ledger))}))
    out.writelines(_lines(ledger))
    return out.getvalue()


def parse_ledger(data: bytes, name: str) -> Ledger:
    """Read a ledger.  Raises `StateError` when the bytes are not a whole ledger of a version known here."""
    held = Held(data)
    head = next(lines(held), b"")
    header = read_header(head, name, form=FORMAT, versions=tuple(_CHECKSUMS))
    whole = header.pop("checksum", None)
    if _CHECKSUMS[header["version"]](header, blocks(held, len(head))) != whole:
        raise damaged(name, CUT)
    names = ("lineage", "serial", "parent", "org_id", "commit", "tool", "expressions")
    with damage(name):
        runs = msgspec.convert(header.get("runs", ()), tuple[RunNote, ...])
        blueprints, entities = _entries(_lines_in(blocks(held, len(head))), name)
        told = {n: header[n] for n in names} | {n: header.get(n, "") for n in ("account", "catalog", "snapshot")}
        listed = msgspec.convert(header.get("listed", {}), dict[str, Listed])
        told |= {"checksum": whole}
        ledger = Ledger(**told, runs=runs, blueprints=blueprints, entities=entities, listed=listed)
    if header.get("count") != len(blueprints) + len(entities):
        raise damaged(name, f"it holds {len(blueprints) + len(entities)} entries, not {header.get('count')}")
    return ledger


def checksum_of(data: bytes) -> str:
    """The checksum that a whole ledger's header tells."""
    return str(orjson.loads(data.partition(b"\n")[0])["checksum"])


def _whole(header: Mapping[str, Any], body: Iterable[bytes]) -> str:
    """The checksum of header and lines."""
    return checksum(_canonical(header), *body)


def _lines_alone(_header: Mapping[str, Any], body: Iterable[bytes]) -> str:
    return checksum(*body)


_CHECKSUMS: Mapping[int, Callable[[Mapping[str, Any], Iterable[bytes]], str]] = {
    1: _lines_alone,
    2: _whole,
    3: _whole,
    VERSION: _whole,
}
"""What the checksum of each version covers."""


def _canonical(header: Mapping[str, Any]) -> bytes:
    return orjson.dumps(header, option=orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE)


def _lines_in(parts: Iterable[bytes]) -> Iterator[_Line]:
    """The lines of a file that comes in parts, wherever those end; each as what stands in it."""
    decoder, rest = msgspec.json.Decoder(_Line), b""
    for part in parts:
        whole, end, begun = part.rpartition(b"\n")
        if end:
            yield from decoder.decode_lines(rest + whole)
            rest = begun
        else:
            rest += begun
    if rest:
        yield decoder.decode(rest)


def _entries(body: Iterable[_Line], name: str) -> tuple[dict[str, LedgerEntry], dict[EntityKey, LedgerEntry]]:
    """The entries; the fields of each are read once they are asked for."""
    blueprints: dict[str, LedgerEntry] = {}
    entities: dict[EntityKey, LedgerEntry] = {}
    rules: dict[tuple[str, ...], tuple[str, ...]] = {}
    read, keep, nothing = partial(_fields, name), partial(_compact, Pool()), Fields()
    for line in body:
        if (data := bytes(line.f))[:1] != b"{":
            raise damaged(name, "the fields of an entry are no object")
        entry = LedgerEntry(nothing, line.o, rules.setdefault(line.r, line.r), line.s, line.p, line.x)
        if line.a:
            entry = replace(entry, parts=line.a)
        if line.m:
            entry = replace(entry, portions=tuple(Portion(*portion) for portion in line.m))
        known = len(blueprints) + len(entities)
        if line.k is None:
            blueprints[line.b] = unread(entry, read, data, keep)
        else:
            entities[EntityKey(sys.intern(line.k[0]), line.k[1])] = unread(entry, read, data, keep)
        if len(blueprints) + len(entities) == known:
            raise damaged(name, f"{'/'.join(line.k) if line.k else line.b} stands in it twice")
    return blueprints, entities


def paths_of(entry: LedgerEntry) -> Iterable[str]:
    """The paths of an entry's fields, whose values are not read for that."""
    packed = entry.packed
    return _PATHS.decode(packed[1]) if packed else entry.fields


_PATHS = msgspec.json.Decoder(dict[str, msgspec.Raw])


def _fields(name: str, data: bytes) -> Fields:
    with damage(name):
        fields: Fields = msgspec.json.decode(data)
        return fields


def _compact(pool: Pool, fields: Fields) -> Fields:
    return pool.share(filled(tuple(fields), fields.values()))


def checksum(*parts: bytes) -> str:
    """blake2b-16, hex, of all parts together."""
    whole = hashlib.blake2b(digest_size=16)
    for part in parts:
        whole.update(part)
    return whole.hexdigest()


def _lines(ledger: Ledger) -> Iterator[bytes]:
    for blueprint, entry in sorted(ledger.blueprints.items()):
        yield _line(_as_line(entry, blueprint=blueprint))
    for key, entry in sorted(ledger.entities.items()):
        yield _line(_as_line(entry, key=key))


def _as_line(entry: LedgerEntry, *, blueprint: str = "", key: EntityKey | None = None) -> _Line:
    packed = entry.packed
    return _Line(
        msgspec.Raw(packed[1] if packed else _encoder.encode(_plain(entry.fields))),
        entry.origin,
        b=blueprint,
        k=key,
        r=entry.rules,
        s=entry.source,
        p=entry.protect,
        x=entry.on_remove,
        a=dict(sorted(entry.parts.items())) or None,
        m=tuple((p.source, p.rules, p.paths) for p in entry.portions) if entry.portions else (),
    )


def _plain(fields: FieldsView) -> FieldsView:
    return fields.copy() if isinstance(fields, Row) else fields


_encoder = msgspec.json.Encoder(order="deterministic")


def _line(line: _Line) -> bytes:
    return _encoder.encode(line) + b"\n"
