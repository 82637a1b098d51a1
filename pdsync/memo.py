"""What a mapping rule made of a record, remembered: an unchanged record under an unchanged rule never reaches jq.

The memo is a cache.  A rule is known by a fingerprint of all that decides what it makes of a record, a record by a
digest of its bytes, so that what is remembered is never wrong, only unused; and a file that is damaged, foreign or of
another version is an empty memo.  Remembered are only records that gave no word of warning: whatever has to be said is
found out anew.  What a run did not use is forgotten, so that the memo never grows beyond the records there are.

    {"format":"pdsync-memo","rules":[[fingerprint, count],...],"version":2}
    ["digest of a record",[[identifier, blueprint, value of each mapped path, ...], ...]]
    {"checksum":"blake2b-16 of rules and lines"}

A line whose list is empty stands for a record that the rule does not take.  In the place of a value that is searched
for stands the query, as text: what it finds is no record's to tell, and asked anew each time.  The lines of a rule
stand together, in the order of the header.  They are made when an outcome is noted, and from then on, in this run and
in those after it, copied as they are, many at once.
"""

from __future__ import annotations

import hashlib
from binascii import hexlify, unhexlify
from collections.abc import Mapping
from itertools import islice
from typing import TYPE_CHECKING, Protocol

import msgspec
import orjson

from pdsync.model import digests_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from pdsync.model import Json, Record

FORMAT = "pdsync-memo"
VERSION = 2

_DIGEST = 16
_HEAD = b'["'
_BETWEEN = b'",'
_LINE_END = b"]\n"
_KEY_END = len(_HEAD) + 2 * _DIGEST
_BODY_START = _KEY_END + len(_BETWEEN)


class Room(Protocol):
    """Where lines are put and read back by their places; there may be one for every record there is."""

    def append(self, data: bytes) -> int:
        """Put bytes at the end; where they begin."""
        ...

    def read(self, offset: int, size: int) -> bytes:
        """`size` bytes from `offset`."""
        ...


class InMemory:
    """A room in memory, with `data` in it."""

    def __init__(self, data: bytes = b"") -> None:
        self._data = bytearray(data)

    def append(self, data: bytes) -> int:
        """See `Room.append`."""
        offset = len(self._data)
        self._data += data
        return offset

    def read(self, offset: int, size: int) -> bytes:
        """See `Room.read`."""
        return bytes(self._data[offset : offset + size])


class Keyed(Protocol):
    """What has identifier and blueprint."""

    identifier: str
    blueprint: str


Kept = int
"""An outcome: its place in the room, its size in the lowest bits."""

Index = dict[bytes, Kept]
"""Record digest -> outcome."""

_SIZE_BITS = 24
_LARGEST = (1 << _SIZE_BITS) - 1
_AT_ONCE = 1 << 20
"""So many bytes of lines are copied at a time."""


class Outcomes(Mapping[bytes, bytes]):
    """Outcomes by record digest, read as they are looked at."""

    def __init__(self, memo: Memo, index: Index) -> None:
        self._memo = memo
        self._index = index

    def __getitem__(self, record: bytes) -> bytes:
        return self._memo.outcome(self._index[record])

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._index)

    def __len__(self) -> int:
        return len(self._index)

    def __repr__(self) -> str:
        return repr(dict(self))


class Memo:
    """Remembered outcomes by rule fingerprint and record digest, each as JSON bytes that are read when they are needed.

    A memo that was asked about no rule at all keeps everything.  The lines of what is remembered are in `room`, where
    those of what is noted come to: in a first run there is one for every record, beside all else that is new.
    """

    def __init__(
        self, remembered: Mapping[bytes, Mapping[bytes, bytes]] | None = None, room: Room | None = None
    ) -> None:
        self._room = room or InMemory()
        self._remembered: dict[bytes, Index] = {
            rule: {record: self._put(record, outcome) for record, outcome in outcomes.items()}
            for rule, outcomes in (remembered or {}).items()
        }
        self._used: dict[bytes, Index] = {}
        self._foretold: dict[bytes, Index] = {}
        self._noted = False

    def remember(self, rule: bytes, outcomes: Iterable[tuple[bytes, Kept]]) -> None:
        """Remember outcomes of an earlier run, by record digest; their lines are in the room."""
        self._remembered[rule] = dict(outcomes)

    def recall(self, rule: bytes, records: Iterable[bytes]) -> list[Kept | None]:
        """What is remembered of each record (digests) under a rule (fingerprint), or was noted; None for nothing.

        It counts as used.
        """
        used = self._used.setdefault(rule, {})
        remembered = {**self._remembered.get(rule, {}), **used} if used else self._remembered.get(rule, {})
        if foretold := self._foretold.pop(rule, None):
            remembered = {**remembered, **foretold}
            self._noted = True
        found = []
        for record in records:
            kept = remembered.get(record)
            found.append(kept)
            if kept is not None:
                used[record] = kept
        return found

    def outcome(self, kept: Kept) -> bytes:
        """An outcome, as JSON."""
        return self._room.read(kept >> _SIZE_BITS, kept & _LARGEST)

    def note(self, rule: bytes, record: bytes, outcome: bytes) -> None:
        """Remember what came of a record under a rule; one that is far too large is left to jq again."""
        if len(outcome) <= _LARGEST:
            self._used.setdefault(rule, {})[record] = self._put(record, outcome)
            self._noted = True

    def foretell(self, rule: bytes, record: bytes, outcome: bytes) -> None:
        """Have what came of a record be known when it is asked for: whether it ever is remains to be seen."""
        if len(outcome) <= _LARGEST:
            self._foretold.setdefault(rule, {})[record] = self._put(record, outcome)

    def knows(self, rule: bytes) -> bool:
        """Whether anything is remembered of a rule."""
        return bool(self._remembered.get(rule))

    def _put(self, record: bytes, outcome: bytes) -> Kept:
        line = b"".join((_HEAD, hexlify(record), _BETWEEN, outcome, _LINE_END))
        return _kept(self._room.append(line), line)

    def forget(self, rule: bytes) -> None:
        """Remember nothing of a rule: what was remembered turned out to be unusable."""
        self._used[rule] = {}

    @property
    def changed(self) -> bool:
        """Whether it is not what it was when it was made."""
        return self._noted or _sizes(self._kept) != _sizes(self._remembered)

    @property
    def kept(self) -> Mapping[bytes, Mapping[bytes, bytes]]:
        """What is worth keeping: what was recalled or noted."""
        return {rule: Outcomes(self, index) for rule, index in self._kept.items()}

    def lines(self, rule: bytes) -> Iterator[bytes]:
        """The lines of what is worth keeping of a rule, in the order of the room, many at once."""
        for begin, end in _stretches(sorted(self._kept[rule].values())):
            yield self._room.read(begin, end - begin)

    @property
    def _kept(self) -> dict[bytes, Index]:
        return self._used or self._remembered


def _kept(start: int, line: bytes) -> Kept:
    """The outcome in a line that begins there.  Raises ValueError for one that is far too large."""
    size = len(line) - _BODY_START - len(_LINE_END)
    if not 0 <= size <= _LARGEST:
        raise ValueError(size)
    return (start + _BODY_START) << _SIZE_BITS | size


def _stretches(outcomes: Iterable[Kept]) -> Iterator[tuple[int, int]]:
    """From where to where the lines of sorted outcomes stand: of those that follow each other, many as one."""
    begin = end = 0
    for kept in outcomes:
        place = kept >> _SIZE_BITS
        if place - _BODY_START != end or end - begin >= _AT_ONCE:
            if end > begin:
                yield begin, end
            begin = place - _BODY_START
        end = place + (kept & _LARGEST) + len(_LINE_END)
    if end > begin:
        yield begin, end


def _sizes(entries: Mapping[bytes, Index]) -> dict[bytes, int]:
    return {rule: len(outcomes) for rule, outcomes in entries.items() if outcomes}


class NoRecall:
    """What is known of one rule's records without a memo: nothing, and nothing is learnt."""

    def __init__(self, records: int) -> None:
        self._kept: list[Kept | None] = [None] * records

    def __len__(self) -> int:
        """How many records there are."""
        return len(self._kept)

    @property
    def unknown(self) -> int:
        """Of how many records nothing is remembered."""
        return self._kept.count(None)

    def knows(self, position: int) -> bool:
        """Whether anything is remembered of the record at this position."""
        return self._kept[position] is not None

    def outcome(self, position: int) -> bytes:
        """What is remembered of the record at this position, of which something is."""
        raise LookupError(position)

    def note(self, position: int, rows: Iterable[Sequence[Json]]) -> None:
        """Remember that the record at this position gave these rows, without a word."""

    def forget(self) -> None:
        """Know nothing more of these records."""
        self._kept = [None] * len(self._kept)


class Recall(NoRecall):
    """What a memo knows of one rule's records."""

    def __init__(self, memo: Memo, rule: bytes, records: Sequence[bytes]) -> None:
        super().__init__(0)
        self._kept = memo.recall(rule, records)
        self._memo = memo
        self._rule = rule
        self._records = records

    def outcome(self, position: int) -> bytes:
        """See `NoRecall.outcome`."""
        kept = self._kept[position]
        return super().outcome(position) if kept is None else self._memo.outcome(kept)

    def note(self, position: int, rows: Iterable[Sequence[Json]]) -> None:
        """See `NoRecall.note`."""
        if (written := written_rows(rows)) is not None:
            self._memo.note(self._rule, self._records[position], written)

    def forget(self) -> None:
        """See `NoRecall.forget`; the memo forgets as well."""
        super().forget()
        self._memo.forget(self._rule)


def written_rows(rows: Iterable[Sequence[Json]]) -> bytes | None:
    """An outcome; None for values that are nested more deeply than orjson writes: they are left to jq again."""
    try:
        return orjson.dumps(list(rows))
    except TypeError:
        return None


def rows_of(outcome: bytes) -> list[list[Json]]:
    """The entities of a remembered outcome, each as identifier, blueprint and values.  Raises ValueError."""
    rows: list[list[Json]] = orjson.loads(outcome)
    return rows


def keys_reader(values: int) -> Callable[[bytes], Sequence[Keyed]]:
    """What reads identifier and blueprint alone of the entities of an outcome.

    It raises ValueError where an entity has not so many values.
    """
    fields = [("identifier", str), ("blueprint", str), *((f"value{n}", msgspec.Raw) for n in range(values))]
    row = msgspec.defstruct("Row", fields, array_like=True, forbid_unknown_fields=True)
    decode: Callable[[bytes], Sequence[Keyed]] = msgspec.json.Decoder(list[row]).decode  # type: ignore[valid-type]
    return decode


def fingerprint(*parts: Json) -> bytes:
    """A digest of all that decides what a rule makes of a record; this module's format and Unicode are part of it."""
    from unicodedata import unidata_version

    text = orjson.dumps([FORMAT, VERSION, unidata_version, *parts])
    return hashlib.blake2b(text, digest_size=_DIGEST).digest()


def record_digest(record: Record) -> bytes:
    """A digest of what mapping reads of a record: its bytes, and which enrichments it lacks and why."""
    return _lacking(record) if record.unavailable else record.digest


def record_digests(records: Sequence[Record]) -> list[bytes]:
    """`record_digest` of each."""
    return digests_of(records, _lacking)


def _lacking(record: Record) -> bytes:
    lacking = orjson.dumps(sorted(record.unavailable.items()))
    return hashlib.blake2b(record.digest + lacking, digest_size=_DIGEST, person=b"lacking").digest()


def dump_memo(memo: Memo) -> Iterator[bytes]:
    """What is worth keeping, as the lines of a file."""
    kept = {rule: len(outcomes) for rule, outcomes in sorted(memo.kept.items()) if outcomes}
    rules = [[rule.hex(), count] for rule, count in kept.items()]
    header = {"format": FORMAT, "version": VERSION, "rules": rules}
    yield orjson.dumps(header, option=orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE)
    checksum = _checksum(rules)
    for rule in kept:
        for lines in memo.lines(rule):
            checksum.update(lines)
            yield lines
    yield _end(checksum)


def _checksum(rules: Json) -> hashlib.blake2b:
    """What all lines are to be given to."""
    return hashlib.blake2b(orjson.dumps(rules), digest_size=_DIGEST)


def _end(checksum: hashlib.blake2b) -> bytes:
    """The last line: a file that was read to there was read once."""
    return orjson.dumps({"checksum": checksum.hexdigest()}, option=orjson.OPT_APPEND_NEWLINE)


def parse_memo(data: bytes) -> Memo:
    """A memo from the bytes of its file; see `read_memo`."""
    return read_memo(data.splitlines(keepends=True), InMemory(data))


def rules_in(head: bytes) -> frozenset[bytes]:
    """The rules (fingerprints) that a memo remembers anything of, from the first line of its file."""
    try:
        header = orjson.loads(head)
        known = (header["format"], header["version"]) == (FORMAT, VERSION)
        return frozenset(unhexlify(rule) for rule, _ in header["rules"]) if known else frozenset()
    except (ValueError, TypeError, LookupError):
        return frozenset()


def read_memo(lines: Iterable[bytes], room: Room) -> Memo:
    """A memo from the lines of its file, with which `room` begins.

    An empty one unless that is a whole file of this version.
    """
    memo, following = Memo(room=room), iter(lines)
    try:
        head = next(following, b"")
        header = orjson.loads(head)
        if (header["format"], header["version"]) != (FORMAT, VERSION):
            return Memo(room=room)
        checksum, start = _checksum(header["rules"]), len(head)
        for rule, count in header["rules"]:
            outcomes, start = _outcomes(islice(following, count), start, checksum.update)
            memo.remember(unhexlify(rule), outcomes)
        is_whole = [*islice(following, 2)] == [_end(checksum)]
    except (ValueError, TypeError, LookupError):
        is_whole = False
    return memo if is_whole else Memo(room=room)


def _outcomes(
    lines: Iterable[bytes], start: int, seen: Callable[[bytes], None]
) -> tuple[list[tuple[bytes, Kept]], int]:
    """Digest and outcome of each line, and where the last one ends; `seen` is given each line."""
    found = []
    for line in lines:
        seen(line)
        found.append((unhexlify(line[len(_HEAD) : _KEY_END]), _kept(start, line)))
        start += len(line)
    return found, start
