"""Bytes put aside in a file, so that memory does not grow with what is read.

A spool is a temporary file without a name (where the system knows that, else one that goes with its last handle),
readable by its owner only: nothing is left of it, however the process ends.  What was put there is read back by
position, from any thread.  Where the state is encrypted, so is the file, with a key that only this process has.
"""

from __future__ import annotations

import os
import tempfile
import threading
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from pdsync.errors import StateError, error

if TYPE_CHECKING:
    from collections.abc import Iterator

BLOCK = 1 << 20
"""So much is written, or read in passing, at a time."""

_AHEAD = 1 << 16
"""So much is read at once where a reading before ended: records are mostly asked for in the order they stand in."""

_STREAMS = 3
"""So many places of a file are read on from at the same time: those of records, and of values that go into them."""

_BINARY = getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)


Veil = Callable[[int, bytes], bytes]
"""Makes bytes at a position unreadable, and readable again."""


class Readable(Protocol):
    """Bytes that can be read by position."""

    @property
    def size(self) -> int:
        """How many there are."""
        ...

    def read(self, offset: int, size: int) -> bytes:
        """`size` bytes from `offset`; fewer where they end before."""
        ...

    def whence(self, offset: int) -> str:
        """The file that another process wrote what stands there into; empty where this one did."""
        ...


class Held:
    """Bytes in memory, as a `Readable`."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.size = len(data)

    def read(self, offset: int, size: int) -> bytes:
        """See `Readable.read`."""
        return self._data[offset : offset + size]

    def whence(self, offset: int) -> str:  # noqa: ARG002
        """See `Readable.whence`."""
        return ""


class Found:
    """What another process wrote into the file `name`, as a `Readable`: it is to be checked before it is believed."""

    def __init__(self, source: Readable, name: str) -> None:
        self.read = source.read
        self.size = source.size
        self._name = name

    def whence(self, offset: int) -> str:  # noqa: ARG002
        """See `Readable.whence`."""
        return self._name


class OpenFile:
    """A file as a `Readable`, by a handle that it closes when nobody needs it any more.

    What is read is the file that was opened, even once another one has taken its name.
    """

    def __init__(self, handle: int) -> None:
        self._handle = handle
        self._turn = threading.Lock()
        self._near: tuple[tuple[int, bytes], ...] = ()
        self.size = os.fstat(handle).st_size
        weakref.finalize(self, os.close, handle)

    def read(self, offset: int, size: int) -> bytes:
        """See `Readable.read`.  Raises `OSError`."""
        near = self._near  # taken together, so that no thread sees one without the other
        for start, block in near:
            if start <= offset and offset + size <= start + len(block):
                return block[offset - start : offset - start + size]
        follows = [each for each in near if 0 <= offset + size - each[0] - len(each[1]) <= _AHEAD]
        more = _AHEAD if follows and size < _AHEAD else size
        block = self._read(offset, more)
        new = (offset, block) if more > size else (offset + size, b"")
        self._near = (new, *(each for each in near if each not in follows[:1]))[:_STREAMS]
        return block[:size]

    def _read(self, offset: int, size: int) -> bytes:
        if hasattr(os, "pread"):
            return os.pread(self._handle, size, offset)
        with self._turn:  # pragma: no cover  (Windows)
            os.lseek(self._handle, offset, os.SEEK_SET)
            return os.read(self._handle, size)

    def whence(self, offset: int) -> str:  # noqa: ARG002
        """See `Readable.whence`."""
        return ""


def open_file(path: Path) -> Readable:
    """What is under a path; a pipe is read at once.  Raises `OSError`."""
    return OpenFile(os.open(path, os.O_RDONLY | _BINARY)) if path.is_file() else Held(path.read_bytes())


class Spool(OpenFile):
    """A temporary file that grows.  One thread appends; what was appended may be read by all.

    It is made in `folder` (the nearest one above that there is), or where the system keeps temporary files if none is
    given or nothing can be made there: that may be in memory.  With a `veil` of its own it cannot be read there.  It
    may go on from a `base`, whose bytes then stand before its own, where they are.
    """

    def __init__(self, folder: Path | None = None, veil: Veil | None = None, base: Readable | None = None) -> None:
        super().__init__(_temporary(folder))
        self.base = base
        self._begun = self._written = self.size = base.size if base else 0
        self._veil = veil
        self._waiting = bytearray()

    def append(self, data: bytes) -> int:
        """Put bytes at the end; where they begin.  Raises `StateError` when there is no room."""
        offset = self.size
        self._waiting += data
        self.size += len(data)
        if len(self._waiting) >= BLOCK:
            self.flush()
        return offset

    def read(self, offset: int, size: int) -> bytes:
        """See `Readable.read`."""
        if self.base and offset < self._begun:
            return self.base.read(offset, min(size, self._begun - offset))
        if offset + size > self._written and self._waiting:
            self.flush()
        return super().read(offset, size)

    def whence(self, offset: int) -> str:
        """See `Readable.whence`."""
        return self.base.whence(offset) if self.base and offset < self._begun else ""

    def flush(self) -> None:
        """Write what is waiting: needed before other threads read.  Raises `StateError` when there is no room."""
        data, self._waiting = self._waiting, bytearray()
        left = memoryview(self._veil(self._written, bytes(data)) if self._veil else data)
        try:
            with self._turn:
                os.lseek(self._handle, self._written - self._begun, os.SEEK_SET)
                while left:
                    done = os.write(self._handle, left)
                    left = left[done:]
                    self._written += done
        except OSError as problem:
            raise _no_room(problem) from problem

    def _read(self, offset: int, size: int) -> bytes:
        data = super()._read(offset - self._begun, size)
        return self._veil(offset, data) if self._veil else data


@dataclass(frozen=True, slots=True)
class Aside:
    """Where bytes are put aside: in which folder, and what makes them unreadable for others (None: nothing)."""

    folder: Path | None = None
    veil: Callable[[], Veil] | None = None

    def spool(self, base: Readable | None = None) -> Spool:
        """A new temporary file, which goes on from another one if that is given."""
        return Spool(self.folder, self.veil() if self.veil else None, base)


NOWHERE = Aside()
"""Nowhere in particular: where the system keeps temporary files."""


def blocks(source: Readable, start: int = 0, end: int | None = None) -> Iterator[bytes]:
    """The bytes between two positions, block by block."""
    end = source.size if end is None else end
    while start < end:
        block = source.read(start, min(BLOCK, end - start))
        if not block:
            return
        yield block
        start += len(block)


def lines(source: Readable, start: int = 0) -> Iterator[bytes]:
    """The lines from a position on, each with its line end; the last one may lack it."""
    rest = b""
    for block in blocks(source, start):
        text, begin = rest + block, 0
        while end := text.find(b"\n", begin) + 1:
            yield text[begin:end]
            begin = end
        rest = text[begin:]
    if rest:
        yield rest


def _temporary(folder: Path | None) -> int:
    """A handle of a new temporary file.  Raises `StateError`."""
    near = next((place for place in (folder, *folder.parents) if place.is_dir()), None) if folder else None
    for place in (near, None):
        try:
            # Closing the object closes a handle of its own, the file stays for as long as the other one is open.
            with tempfile.TemporaryFile(dir=place, prefix=".pdsync-") as file:
                return os.dup(file.fileno())
        except OSError as problem:
            trouble = problem
    raise _no_room(trouble)


def _no_room(problem: OSError) -> StateError:
    return StateError(
        error(
            "PD509",
            "cannot put records aside",
            detail=f"temporary file: {problem.strerror or problem}",
            hint="free some space, or set TMPDIR to a folder that has room",
        )
    )
