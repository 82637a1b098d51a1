"""What a mapping rule made of a record, remembered: an unchanged record under an unchanged rule never reaches jq.

The memo is a cache.  A rule is known by a fingerprint of all that decides what it makes of a record, a record by a
digest of its bytes, so that what is remembered is never wrong, only unused; and a file that is damaged, foreign or of
another version is an empty memo.  Remembered are only records that gave no word of warning: whatever has to be said is
found out anew.  What a run did not use is forgotten, so that the memo never grows beyond the records there are.

    {"checksum":"blake2b-16 of rules and lines","format":"pdsync-memo","rules":[[fingerprint, count],...],"version":1}
    ["digest of a record",[[identifier, blueprint, value of each mapped path, ...], ...]]

A line whose list is empty stands for a record that the rule does not take.  The lines of a rule stand together, in the
order of the header, sorted.
"""

from __future__ import annotations

import hashlib
from binascii import hexlify, unhexlify
from itertools import islice
from typing import TYPE_CHECKING

import orjson

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from pdsync.model import DesiredEntity, Json, Record

FORMAT = "pdsync-memo"
VERSION = 1

_DIGEST = 16
_HEAD = b'["'
_BETWEEN = b'",'
_TAIL = b"]"
_KEY_END = len(_HEAD) + 2 * _DIGEST
_BODY_START = _KEY_END + len(_BETWEEN)


class Memo:
    """Remembered outcomes by rule fingerprint and record digest, each as JSON bytes that are read when they are needed.

    A memo that was asked about no rule at all keeps everything.
    """

    def __init__(self, remembered: Mapping[bytes, Mapping[bytes, bytes]] | None = None) -> None:
        self._remembered = remembered or {}
        self._used: dict[bytes, dict[bytes, bytes]] = {}
        self._noted = False

    def recall(self, rule: bytes, records: Iterable[bytes]) -> list[bytes | None]:
        """What is remembered of each record (digests) under a rule (fingerprint); it counts as used."""
        remembered = self._remembered.get(rule, {})
        found = [remembered.get(record) for record in records]
        used = self._used.setdefault(rule, {})
        used.update((record, kept) for record, kept in zip(records, found, strict=True) if kept is not None)
        return found

    def note(self, rule: bytes, record: bytes, outcome: bytes) -> None:
        """Remember what came of a record under a rule."""
        self._used.setdefault(rule, {})[record] = outcome
        self._noted = True

    def forget(self, rule: bytes) -> None:
        """Remember nothing of a rule: what was remembered turned out to be unusable."""
        self._used[rule] = {}

    @property
    def changed(self) -> bool:
        """Whether it is not what it was when it was made."""
        return self._noted or _sizes(self.kept) != _sizes(self._remembered)

    @property
    def kept(self) -> Mapping[bytes, Mapping[bytes, bytes]]:
        """What is worth keeping: what was recalled or noted."""
        return self._used or self._remembered


def _sizes(entries: Mapping[bytes, Mapping[bytes, bytes]]) -> dict[bytes, int]:
    return {rule: len(outcomes) for rule, outcomes in entries.items() if outcomes}


class NoRecall:
    """What is known of one rule's records without a memo: nothing, and nothing is learnt."""

    def __init__(self, records: int) -> None:
        self.found: Sequence[bytes | None] = [None] * records

    def note(self, position: int, entities: Sequence[DesiredEntity]) -> None:
        """Remember that the record at this position gave these entities, without a word."""

    def forget(self) -> None:
        """Know nothing more of these records."""
        self.found = [None] * len(self.found)


class Recall(NoRecall):
    """What a memo knows of one rule's records; `found` holds per record the remembered outcome, None for none."""

    def __init__(self, memo: Memo, rule: bytes, records: Sequence[bytes]) -> None:
        super().__init__(0)
        self.found = memo.recall(rule, records)
        self._memo = memo
        self._rule = rule
        self._records = records

    def note(self, position: int, entities: Sequence[DesiredEntity]) -> None:
        """See `NoRecall.note`."""
        try:
            written = orjson.dumps([[e.key.identifier, e.key.blueprint, *e.fields.values()] for e in entities])
        except TypeError:  # nested more deeply than orjson writes: left to jq again
            return
        # What orjson returns has room for more than it holds: a copy is a tenth of the size.
        self._memo.note(self._rule, self._records[position], bytes(memoryview(written)))

    def forget(self) -> None:
        """See `NoRecall.forget`; the memo forgets as well."""
        super().forget()
        self._memo.forget(self._rule)


def recalled_rows(outcome: bytes) -> list[list[Json]]:
    """The entities of a remembered outcome, each as identifier, blueprint and values.  Raises ValueError."""
    rows: list[list[Json]] = orjson.loads(outcome)
    return rows


def fingerprint(*parts: Json) -> bytes:
    """A digest of all that decides what a rule makes of a record; this module's format and Unicode are part of it."""
    from unicodedata import unidata_version

    text = orjson.dumps([FORMAT, VERSION, unidata_version, *parts])
    return hashlib.blake2b(text, digest_size=_DIGEST).digest()


def record_digest(record: Record) -> bytes:
    """A digest of what mapping reads of a record: its bytes, and which enrichments it lacks and why."""
    if not record.unavailable:
        return record.digest
    lacking = orjson.dumps(sorted(record.unavailable.items()))
    return hashlib.blake2b(record.digest + lacking, digest_size=_DIGEST, person=b"lacking").digest()


def dump_memo(memo: Memo) -> Iterator[bytes]:
    """What is worth keeping, as the lines of a file; equal memos give equal bytes."""
    kept = [(rule, outcomes) for rule, outcomes in sorted(memo.kept.items()) if outcomes]
    rules = [[rule.hex(), len(outcomes)] for rule, outcomes in kept]
    header = {"format": FORMAT, "version": VERSION, "checksum": _checksum(rules, _lines(kept)), "rules": rules}
    yield orjson.dumps(header, option=orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE)
    yield from _lines(kept)


def _lines(rules: Iterable[tuple[bytes, Mapping[bytes, bytes]]]) -> Iterator[bytes]:
    for _, outcomes in rules:
        for record in sorted(outcomes):
            yield b"".join((_HEAD, hexlify(record), _BETWEEN, outcomes[record], _TAIL, b"\n"))


def _checksum(rules: Json, lines: Iterable[bytes | memoryview]) -> str:
    digest = hashlib.blake2b(orjson.dumps(rules), digest_size=_DIGEST)
    for line in lines:
        digest.update(line)
    return digest.hexdigest()


def parse_memo(data: bytes) -> Memo:
    """A memo from its file; an empty one when that is not a whole memo of this version."""
    start = data.find(b"\n") + 1
    try:
        header = orjson.loads(memoryview(data)[:start])
        if (header["format"], header["version"]) != (FORMAT, VERSION):
            return Memo()
        if header["checksum"] != _checksum(header["rules"], [memoryview(data)[start:]]):
            return Memo()
        outcomes = _outcomes(data, start)
        return Memo({unhexlify(rule): dict(islice(outcomes, count)) for rule, count in header["rules"]})
    except (ValueError, TypeError, LookupError):
        return Memo()


def _outcomes(data: bytes, start: int) -> Iterator[tuple[bytes, bytes]]:
    """Digest and outcome of each line; nothing else is copied, since there may be a line for every record there is."""
    while (end := data.find(b"\n", start)) >= 0:
        yield unhexlify(data[start + len(_HEAD) : start + _KEY_END]), data[start + _BODY_START : end - len(_TAIL)]
        start = end + 1
