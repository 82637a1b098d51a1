"""Random ledgers and snapshots."""

from __future__ import annotations

import msgspec
from hypothesis import strategies as st

from pdsync.errors import Diagnostic, Origin, Severity
from pdsync.model import (
    Collection,
    EntityKey,
    Ledger,
    LedgerEntry,
    Missing,
    PageRead,
    PagesRead,
    Portion,
    Query,
    Record,
    RunNote,
    Snapshot,
)

TEXT = st.text(max_size=12)
"""Any characters but surrogates: line separators, controls and quotes too."""

INTEGERS = st.integers(-(2**53), 2**53)
SCALARS = st.none() | st.booleans() | INTEGERS | st.floats(allow_nan=False, allow_infinity=False) | TEXT
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3), max_leaves=6
)
IDENTIFIERS = st.text(min_size=1, max_size=8)

NAMES = st.lists(TEXT, max_size=2).map(tuple)
ENTRIES = st.builds(
    LedgerEntry,
    fields=st.dictionaries(TEXT, JSON, max_size=4),
    origin=st.sampled_from(["created", "adopted"]),
    rules=NAMES,
    source=TEXT,
    protect=st.booleans(),
    parts=st.dictionaries(TEXT, st.sampled_from(["created", "adopted"]), max_size=2),
    portions=st.lists(st.builds(Portion, TEXT, NAMES, NAMES), max_size=2).map(tuple),
)
LEDGERS = st.builds(
    Ledger,
    lineage=TEXT,
    serial=st.integers(0, 2**40),
    parent=TEXT,
    org_id=TEXT,
    commit=TEXT,
    catalog=TEXT,
    snapshot=TEXT,
    tool=TEXT,
    expressions=st.dictionaries(TEXT, st.dictionaries(TEXT, TEXT, max_size=2), max_size=2),
    runs=st.lists(
        st.builds(RunNote, run=TEXT, started=TEXT, operation=TEXT, serial=st.integers(0, 9), who=TEXT, link=TEXT),
        max_size=2,
    ).map(tuple),
    blueprints=st.dictionaries(IDENTIFIERS, ENTRIES, max_size=3),
    entities=st.dictionaries(st.builds(EntityKey, IDENTIFIERS, IDENTIFIERS), ENTRIES, max_size=4),
)

DIAGNOSTICS = st.builds(
    Diagnostic,
    severity=st.sampled_from(Severity),
    code=TEXT,
    summary=TEXT,
    detail=TEXT,
    origin=st.none() | st.builds(Origin, file=TEXT, line=st.integers(1, 99)),
    hint=TEXT,
    records=st.lists(TEXT, max_size=2).map(tuple),
)
PAIRS = st.lists(st.tuples(TEXT, TEXT), max_size=2).map(tuple)
QUERIES = st.builds(Query, kind=TEXT, params=PAIRS, enrich=PAIRS)
RECORDS = st.builds(
    Record,
    id=TEXT,
    raw=JSON.map(msgspec.json.encode),
    unavailable=st.dictionaries(TEXT, TEXT, max_size=2),
)


def records(most: int, least: int = 0) -> st.SearchStrategy[list[Record]]:
    """Records, each id once."""
    return st.lists(RECORDS, min_size=least, max_size=most, unique_by=lambda record: record.id)


PAGES = st.builds(
    PageRead,
    kind=TEXT,
    body=st.binary(max_size=4),
    ids=st.lists(TEXT, max_size=3).map(tuple),
    records=st.binary(max_size=4),
    more=st.none() | st.booleans(),
    total=st.none() | st.integers(0, 9),
    following=TEXT,
    limit=st.none() | st.integers(0, 9),
)


@st.composite
def snapshots(draw: st.DrawFn) -> Snapshot:
    collections = {
        query: Collection(
            query,
            tuple(draw(records(3))),
            problem=draw(st.none() | DIAGNOSTICS),
            requests=draw(st.integers(0, 9)),
            seconds=draw(st.integers(0, 5000)) / 1000,
            notes=tuple(draw(st.lists(DIAGNOSTICS, max_size=2))),
            missing=draw(st.dictionaries(TEXT, st.builds(Missing, TEXT, TEXT, st.booleans()), max_size=2)),
        )
        for query in draw(st.lists(QUERIES, unique=True, max_size=3))
    }
    read = PagesRead(tuple(draw(st.lists(TEXT, max_size=2))), tuple(draw(st.lists(PAGES, max_size=2))))
    return Snapshot(draw(TEXT), draw(TEXT), collections, draw(TEXT), read=read, applies=draw(st.booleans()))
