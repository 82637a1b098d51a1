"""What is left of a ledger that was moved elsewhere: where to, and the ledger as it was.

    {"at":"2026-06-01T12:00:00Z","format":"pdsync-moved","to":"s3://acme-pdsync/production","version":1}
    <the ledger file>

It takes the ledger's own place, so that nobody goes on from an old copy by mistake.
"""

from __future__ import annotations

import orjson

from pdsync.errors import StateError, error

FORMAT = "pdsync-moved"
_BEGINS = b'{"at":'


def marker(ledger: bytes, to: str, at: str) -> bytes:
    """The file that says that this ledger is now kept at `to`."""
    head = {"format": FORMAT, "version": 1, "to": to, "at": at}
    return orjson.dumps(head, option=orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE) + ledger


def split_marker(data: bytes) -> tuple[str, bytes]:
    """Where the ledger of a file was moved to (empty: nowhere), and the ledger itself."""
    if not data.startswith(_BEGINS):
        return "", data
    head, _, ledger = data.partition(b"\n")
    try:
        header = orjson.loads(head)
    except orjson.JSONDecodeError:
        return "", data
    return (str(header["to"]), ledger) if header.get("format") == FORMAT and "to" in header else ("", data)


def still_here(data: bytes, where: str) -> bytes:
    """The ledger's file, if it was not moved.  Raises `StateError` naming the place that it was moved to."""
    to, ledger = split_marker(data)
    if to:
        hint = f"use --state {to}; to use this copy all the same: pdsync state reopen"
        raise StateError(error("PD571", "this state was moved", detail=f"{where} is now {to}", hint=hint))
    return ledger
