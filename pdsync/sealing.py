"""Files that only the holder of a key can read, or change unnoticed: AES-256-GCM in chunks behind a readable header.

    {"format":"pdsync-sealed","version":1,"key":"9f86d081884c7d65","salt":"...","packed":"gzip"}
    <chunk 0><chunk 1>...<last chunk>

The header says that the file is encrypted and with which key, so that it is told apart before anything is read.  Each
file has a key of its own, drawn from ours and a random salt (HKDF, RFC 5869), so a nonce never repeats: it is the
number of the chunk, and whether it is the last one.  Every chunk vouches for the header as well.  Chunks that were
changed, moved, added or left out, and a file that was cut, are found out before anything of that chunk is given.
This is the STREAM construction (Hoang, Reyhanitabar, Rogaway, Vizár, 2015).

A file that grows by lines (the journal) has sealed lines instead, each with a random nonce and vouching for its number:

    {"format":"pdsync-sealed","key":...,"lines":true,"salt":...,"version":1}
    <base64 of nonce and line 0>
"""

from __future__ import annotations

import base64
import binascii
import os
import zlib
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, Any, NoReturn

import orjson

from pdsync.errors import StateError, UsageError, error
from pdsync.spool import Held

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    from pdsync.spool import Readable, Veil

FORMAT = "pdsync-sealed"
VERSION = 1
CHUNK = 64 * 1024
_AT_HAND = 3
TAG = 16
NONCE = 12
KEY_BYTES = 32
SALT_BYTES = 32
LONGEST_HEADER = 1024
MAGIC = b'{"format":"pdsync-sealed",'

KEY, KEY_FILE, FALLBACK = "PDSYNC_STATE_KEY", "PDSYNC_STATE_KEY_FILE", "PDSYNC_STATE_KEY_FALLBACK"


@dataclass(frozen=True, slots=True)
class Key:
    """A key; `id` tells it apart from others and gives nothing of it away."""

    id: str
    secret: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Keyring:
    """The key to write with, and others that may be needed to read what was written before the last change of key."""

    key: Key
    fallbacks: tuple[Key, ...] = ()

    def find(self, key_id: str) -> Key | None:
        """The key with this id, if we have it."""
        return next((key for key in (self.key, *self.fallbacks) if key.id == key_id), None)


# --- keys ------------------------------------------------------------------------------------------------------


def new_key() -> str:
    """A new key as text: 32 random bytes in base64."""
    return base64.b64encode(os.urandom(KEY_BYTES)).decode()


def parse_key(text: str, place: str) -> Key:
    """The key that `text` holds.  Raises `UsageError`, which names `place` and shows nothing of the text."""
    try:
        secret = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError):
        secret = b""
    if len(secret) != KEY_BYTES:
        detail = f"{place} does not hold the base64 of {KEY_BYTES} bytes"
        raise UsageError(error("PD563", "not a key", detail=detail, hint="make one with: pdsync state keygen"))
    return Key(_derived(secret, b"", b"pdsync key id", 8).hex(), secret)


def read_keys(environment: Mapping[str, str]) -> Keyring | None:
    """The keys that the environment names, None when there are none.  Raises `UsageError` for one that is none.

    `PDSYNC_STATE_KEY` holds the key, or `PDSYNC_STATE_KEY_FILE` names a file with it in its first line; further lines,
    and the words of `PDSYNC_STATE_KEY_FALLBACK`, are keys for reading only.
    """
    texts = [(KEY, environment[KEY])] if environment.get(KEY) else []
    if environment.get(KEY_FILE):
        if texts:
            hint = f"unset one of them; older keys belong into {FALLBACK}"
            raise UsageError(error("PD563", "two keys", detail=f"{KEY} and {KEY_FILE} are both set", hint=hint))
        path = environment[KEY_FILE]
        texts = [(f"{path}:{n}", line) for n, line in enumerate(_lines_of(path), 1) if line.strip()]
        if not texts:
            raise UsageError(error("PD563", "not a key", detail=f"{path} is empty", hint=_HOW_TO_MAKE_ONE))
    older = environment.get(FALLBACK, "").replace(",", " ").split()
    if older and not texts:
        detail = f"{FALLBACK} is set, but neither {KEY} nor {KEY_FILE}"
        raise UsageError(error("PD563", "no key to write with", detail=detail, hint=_HOW_TO_MAKE_ONE))
    keys = [parse_key(text, place) for place, text in [*texts, *((FALLBACK, text) for text in older)]]
    return Keyring(keys[0], tuple(keys[1:])) if keys else None


_HOW_TO_MAKE_ONE = "make one with: pdsync state keygen"


def _lines_of(path: str) -> Sequence[str]:
    try:
        with open(path, encoding="ascii", errors="replace") as file:  # noqa: PTH123  (a path is all we know here)
            return file.read().splitlines()
    except OSError as problem:
        detail = f"{path}: {problem.strerror}"
        raise UsageError(error("PD563", "the key's file cannot be read", detail=detail)) from None


# --- whole files -----------------------------------------------------------------------------------------------


def is_sealed(head: bytes) -> bool:
    """Whether a file that begins so is sealed."""
    return head.startswith(MAGIC)


def seal(chunks: Iterable[bytes], keyring: Keyring, *, packed: bool = False) -> Iterator[bytes]:
    """The sealed file of what `chunks` hold together; `packed` compresses it first, which ends random access."""
    head, cipher = _begin(keyring.key, {"packed": "gzip"} if packed else {})
    yield head
    number, pending = 0, bytearray()
    for piece in _gzipped(chunks) if packed else chunks:
        pending += piece
        while len(pending) > CHUNK:
            yield cipher.encrypt(_nonce(number, last=False), bytes(pending[:CHUNK]), head)
            number += 1
            del pending[:CHUNK]
    yield cipher.encrypt(_nonce(number, last=True), bytes(pending), head)


def unseal(blocks: Iterable[bytes], keyring: Keyring | None, name: str) -> Iterator[bytes]:
    """What a sealed file holds, in pieces; `blocks` are its bytes, cut anywhere.

    Each piece is genuine, but only the end tells that none is missing: use nothing of it before.  Raises `StateError`:
    there is no key, the file has another one, or it was changed or cut.
    """
    plain = _unsealed(blocks, keyring, name)
    packed = next(plain) == b"gzip"
    return _gunzipped(plain, name) if packed else plain


def _unsealed(blocks: Iterable[bytes], keyring: Keyring | None, name: str) -> Iterator[bytes]:
    """First how the file is packed, then what its chunks hold."""
    source = iter(blocks)
    pending = bytearray()
    for block in source:
        pending += block
        if b"\n" in block or len(pending) >= LONGEST_HEADER:
            break
    head, header = _split(bytes(pending[:LONGEST_HEADER]), name)
    del pending[: len(head)]
    cipher = _cipher(header, keyring, name)
    yield str(header.get("packed", "")).encode()
    number, size = 0, CHUNK + TAG
    for block in chain([b""], source):
        pending += block
        while len(pending) > size:
            yield _open_chunk(cipher, head, bytes(pending[:size]), _nonce(number, last=False), name)
            number += 1
            del pending[:size]
    yield _open_chunk(cipher, head, bytes(pending), _nonce(number, last=True), name)


def unsealed_view(source: Readable, keyring: Keyring | None, name: str) -> Readable:
    """A file to be read by position, whether it is sealed or not.  Raises `StateError` as `unseal` does.

    That nothing is missing at the end of a sealed one is known at once; each chunk is tried as it is read.
    """
    if not is_sealed(source.read(0, len(MAGIC))):
        return source
    head, header = _split(source.read(0, LONGEST_HEADER), name)
    if header.get("packed"):
        return Held(b"".join(unseal([source.read(0, source.size)], keyring, name)))
    return SealedView(source, head, _cipher(header, keyring, name), name)


class SealedView:
    """A sealed file as a `pdsync.spool.Readable` of what it holds; a few chunks are in memory.

    So many as places are read on from at the same time: records, and values that go into them.
    """

    def __init__(self, source: Readable, head: bytes, cipher: AESGCM, name: str) -> None:
        self._source = source
        self._head = head
        self._cipher = cipher
        self._name = name
        body = source.size - len(head)
        self._last = max(1, -(-body // (CHUNK + TAG))) - 1
        end = self._open(self._last)
        self._recent: tuple[tuple[int, bytes], ...] = ((self._last, end),)
        self.size = self._last * CHUNK + len(end)

    def read(self, offset: int, size: int) -> bytes:
        """See `Readable.read`.  Raises `StateError` for a chunk that was changed."""
        end = min(offset + size, self.size)
        if offset >= end:
            return b""
        first, last = offset // CHUNK, (end - 1) // CHUNK
        data = b"".join(map(self._chunk, range(first, last + 1)))
        return data[offset - first * CHUNK : end - first * CHUNK]

    def whence(self, offset: int) -> str:  # noqa: ARG002
        """See `Readable.whence`: every chunk is checked when it is opened."""
        return ""

    def _chunk(self, number: int) -> bytes:
        recent = self._recent  # taken together, so that no thread sees one without the other
        for held, data in recent:
            if held == number:
                return data
        data = self._open(number)
        self._recent = ((number, data), *recent)[:_AT_HAND]
        return data

    def _open(self, number: int) -> bytes:
        sealed = self._source.read(len(self._head) + number * (CHUNK + TAG), CHUNK + TAG)
        return _open_chunk(self._cipher, self._head, sealed, _nonce(number, last=number == self._last), self._name)


def key_of(head: bytes) -> str:
    """The id of the key that a sealed file names in its header; empty when there is none."""
    try:
        return str(orjson.loads(head.partition(b"\n")[0]).get("key", ""))
    except (orjson.JSONDecodeError, AttributeError):
        return ""


# --- lines -----------------------------------------------------------------------------------------------------


class SealedLines:
    """A file of sealed lines: `head` is its first line, line feed included; lines are numbered from 0."""

    def __init__(self, head: bytes, cipher: AESGCM, name: str) -> None:
        self.head = head
        self._cipher = cipher
        self._name = name

    def seal(self, number: int, line: bytes) -> bytes:
        """The line as it is to be written, without a line feed."""
        nonce = os.urandom(NONCE)
        return base64.b64encode(nonce + self._cipher.encrypt(nonce, line, self._bound(number)))

    def unseal(self, number: int, sealed: bytes) -> bytes:
        """The line again.  Raises `StateError` when it was changed or is not the one with this number."""
        try:
            raw = base64.b64decode(sealed, validate=True)
        except (binascii.Error, ValueError):
            _tampered(self._name)
        return _open_chunk(self._cipher, self._bound(number), raw[NONCE:], raw[:NONCE], self._name)

    def _bound(self, number: int) -> bytes:
        return self.head + number.to_bytes(8, "big")


def new_lines(keyring: Keyring, name: str) -> SealedLines:
    """A new file of sealed lines."""
    head, cipher = _begin(keyring.key, {"lines": True})
    return SealedLines(head, cipher, name)


def read_lines(head: bytes, keyring: Keyring | None, name: str) -> SealedLines:
    """The file of sealed lines that begins with `head` (line feed included).  Raises `StateError` as `unseal`."""
    line, header = _split(head, name)
    return SealedLines(line, _cipher(header, keyring, name), name)


# --- inside ----------------------------------------------------------------------------------------------------


def _begin(key: Key, traits: Mapping[str, str | bool]) -> tuple[bytes, AESGCM]:
    """The header of a new file, and what encrypts it."""
    salt = os.urandom(SALT_BYTES)
    header = {"format": FORMAT, "version": VERSION, "key": key.id, "salt": base64.b64encode(salt).decode(), **traits}
    return orjson.dumps(header, option=orjson.OPT_APPEND_NEWLINE), _aes(key, salt)


def _split(data: bytes, name: str) -> tuple[bytes, dict[str, Any]]:
    """The header's line and what it says."""
    end = data.find(b"\n", 0, LONGEST_HEADER) + 1
    head = bytes(data[:end])
    try:
        header = orjson.loads(head)
    except orjson.JSONDecodeError:
        _tampered(name)
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        _tampered(name)
    if header.get("version") != VERSION:
        detail = f"{name} is sealed in version {header.get('version')}, this pdsync reads version {VERSION}"
        raise StateError(error("PD502", "state of another version", detail=detail, hint="use a newer pdsync"))
    return head, header


def _cipher(header: Mapping[str, Any], keyring: Keyring | None, name: str) -> AESGCM:
    wanted = str(header.get("key"))
    if keyring is None:
        detail = f"{name} is encrypted with the key {wanted}"
        raise StateError(
            error("PD560", "there is no key for the state", detail=detail, hint=f"set {KEY} or {KEY_FILE}")
        )
    key = keyring.find(wanted)
    if key is None:
        have = ", ".join(k.id for k in (keyring.key, *keyring.fallbacks))
        detail = f"{name} is encrypted with the key {wanted}; given is {have}"
        hint = f"set {KEY} to that key, or after a change of key {FALLBACK}"
        raise StateError(error("PD561", "the state has another key", detail=detail, hint=hint))
    try:
        salt = base64.b64decode(header["salt"], validate=True)
    except (KeyError, TypeError, ValueError):
        _tampered(name)
    return _aes(key, salt)


def _aes(key: Key, salt: bytes) -> AESGCM:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    return AESGCM(_derived(key.secret, salt, b"pdsync-sealed 1", KEY_BYTES))


def _derived(secret: bytes, salt: bytes, purpose: bytes, length: int) -> bytes:
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    return HKDF(SHA256(), length, salt or None, purpose).derive(secret)


def _nonce(number: int, *, last: bool) -> bytes:
    return number.to_bytes(NONCE - 1, "big") + bytes([last])


def _open_chunk(cipher: AESGCM, bound: bytes, sealed: bytes, nonce: bytes, name: str) -> bytes:
    from cryptography.exceptions import InvalidTag

    try:
        return cipher.decrypt(nonce, sealed, bound)
    except (InvalidTag, ValueError):
        _tampered(name)


def _gzipped(chunks: Iterable[bytes]) -> Iterator[bytes]:
    packer = zlib.compressobj(6, zlib.DEFLATED, 31)
    for chunk in chunks:
        yield packer.compress(chunk)
    yield packer.flush()


def _gunzipped(chunks: Iterable[bytes], name: str) -> Iterator[bytes]:
    unpacker = zlib.decompressobj(31)
    try:
        for chunk in chunks:
            yield unpacker.decompress(chunk)
        yield unpacker.flush()
    except zlib.error:
        _tampered(name)
    if not unpacker.eof:
        _tampered(name)


def _tampered(name: str) -> NoReturn:
    detail = f"{name}: it was changed, or cut, by something that does not have the key"
    hint = "restore it from a backup, do not go on from this copy; of a snapshot, `pdsync snapshot` takes a new one"
    raise StateError(error("PD562", "the encrypted state is not as it was written", detail=detail, hint=hint)) from None


# --- for this process alone --------------------------------------------------------------------------------------


_AES_BLOCK = 16


def new_veil() -> Veil:
    """A veil for one temporary file: AES in counter mode, with a key that is drawn now and kept nowhere.

    Each byte of the file is to be written once only.  Nobody but this process is to read it, or could write to it
    unnoticed by the system, so nothing vouches for the bytes.
    """
    from cryptography.hazmat.primitives.ciphers import Cipher
    from cryptography.hazmat.primitives.ciphers.algorithms import AES
    from cryptography.hazmat.primitives.ciphers.modes import CTR

    key = AES(os.urandom(32))

    def veil(offset: int, data: bytes) -> bytes:
        number, before = divmod(offset, _AES_BLOCK)
        stream = Cipher(key, CTR(number.to_bytes(_AES_BLOCK, "big"))).encryptor()
        stream.update(bytes(before))
        return stream.update(data)

    return veil
