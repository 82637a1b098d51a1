"""What a comment remembers: the first line of its body, hidden from readers.

    <!-- pdsync:v1 key=6b1f… rec=eyJ2… -->

`key` tells our comments apart by what they are about (environment, catalog, Port), never by what changes between
runs.  `rec` is the review record, in base64url because text may hold the `-->` that would end the comment.
The record is a courtesy to readers: whoever may edit the comment can forge it, so it proves nothing.
"""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass, field

import msgspec

VERSION = 1
LONGEST_RECORD = 8_192
"""Characters of an encoded record; a longer one is not ours."""

MARKER = re.compile(r"<!-- pdsync:v1 key=([0-9a-f]{32}) rec=([A-Za-z0-9_-]*) -->")


@dataclass(frozen=True, slots=True)
class Record:
    """What a plan was bound to when it was reviewed, and what has become of it.

    `status` is `planned`, `failed`, `applied` or `partly-applied`; `fingerprint` the plan's; `counts` its summary;
    `head_sha` the commit people looked at, `merge_sha` the one that was planned; `created_at` is RFC 3339 UTC.
    """

    status: str
    environment: str = ""
    catalog_path: str = ""
    tool: str = ""
    target: str = ""
    source: str = ""
    org_id: str = ""
    repository_id: int = 0
    pull_request: int = 0
    head_sha: str = ""
    merge_sha: str = ""
    base_sha: str = ""
    catalog: str = ""
    lineage: str = ""
    serial: int = 0
    snapshot: str = ""
    fingerprint: str = ""
    counts: dict[str, int] = field(default_factory=dict)
    created_at: str = ""
    run_id: str = ""
    run_attempt: str = ""
    v: int = VERSION


def comment_key(environment: str, catalog_path: str, port_base_url: str) -> str:
    """The key of the comments about one environment of one catalog in one Port; 32 hexadecimal digits."""
    parts = msgspec.json.encode([environment, catalog_path, port_base_url.rstrip("/")])
    return hashlib.sha256(parts).hexdigest()[:32]


def marker(key: str, record: Record | None) -> str:
    """The first line of a comment."""
    packed = base64.urlsafe_b64encode(msgspec.json.encode(record)).decode().rstrip("=") if record else ""
    return f"<!-- pdsync:v1 key={key} rec={packed} -->"


def read_marker(body: str) -> tuple[str, Record | None] | None:
    """The key and record of a comment's body; None when it is not ours, a record of None when that is unreadable."""
    matched = MARKER.fullmatch(body.split("\n", 1)[0].rstrip("\r"))
    return (matched[1], _unpack(matched[2])) if matched else None


def _unpack(packed: str) -> Record | None:
    if not packed or len(packed) > LONGEST_RECORD:
        return None
    try:
        record = msgspec.json.decode(base64.urlsafe_b64decode(packed + "=" * (-len(packed) % 4)), type=Record)
    except (ValueError, msgspec.MsgspecError):
        return None
    return record if record.v == VERSION else None
