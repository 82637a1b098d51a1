"""State in a folder: whole files, replaced atomically, under a lock that dies with its process.

After a crash either the old or the new file is there, whole (`pdsync.files`).  The lock is on a file of its own, so
that locking and replacing do not get in each other's way.
"""

from __future__ import annotations

import hashlib
import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import msgspec

from pdsync import files
from pdsync.errors import StalePlan, StateError, error
from pdsync.spool import Held, open_file
from pdsync.state.backends import HEARTBEAT, LockInfo, Stored
from pdsync.state.backends.locks import locked

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from io import FileIO
    from pathlib import Path

    from pdsync.errors import Diagnostic
    from pdsync.spool import Readable
    from pdsync.state.backends import Beat

LOCK = "lock"
LOCK_SIZE = 1024
"""Bytes of the file that says who holds the lock; longer when there is more to say."""

OUT_OF_THE_WAY = 1 << 30
"""The byte that is locked on Windows, where nobody else can read what is locked."""

LOOKS = 4
A_LOOK = 0.02
"""How often, and how many seconds apart, a lock is tried that somebody may only be looking at."""

SWAP = ".swap"
"""Held while one store compares and replaces, so that of two at the same moment one sees the other's."""


class LocalBackend:
    """Blobs as files in `folder` (made when needed, readable by the owner only)."""

    heartbeat = HEARTBEAT
    lock_ends = True

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.url = folder.as_posix()

    def load(self, name: str) -> Stored | None:
        """See `Backend.load`."""
        path = self._path(name)
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as e:
            raise _failed("read", path, e) from e
        return Stored(data, _version(data))

    def version(self, name: str) -> str | None:
        """See `Backend.version`: a digest, so all is read."""
        held = self.load(name)
        return held.version if held else None

    def open(self, name: str) -> Readable | None:
        """The blob, to be read bit by bit, as it is now whatever becomes of it; None when there is none."""
        path = self._path(name)
        try:
            # Windows does not let a file be replaced while it is open.
            return Held(path.read_bytes()) if os.name == "nt" else open_file(path)
        except FileNotFoundError:
            return None
        except OSError as e:
            raise _failed("read", path, e) from e

    def store(self, name: str, data: bytes, expected: str | None) -> str:
        """See `Backend.store`."""
        with self._open(SWAP) as file:
            _wait_for_lock(file.fileno())
            held = self.load(name)
            if (held.version if held else None) != expected:
                detail = f"{name} in {self.url} was changed by somebody else while this run was at work"
                raise StalePlan(error("PD520", "state has moved", detail=detail, hint="plan again"))
            self.replace(name, [data])
        return _version(data)

    def replace(self, name: str, chunks: Iterable[bytes]) -> None:
        """Replace a blob whatever it was, whole or not at all.  Raises `StateError`."""
        path = self._path(name)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            files.replace(path, chunks)
        except OSError as e:
            raise _failed("write", path, e) from e

    def keep(self, name: str, under: str) -> None:
        """Keep a blob as it is now under another name as well; copied only if need be.  Raises `StateError`."""
        path = self._path(under)
        try:
            files.keep(self._path(name), path)
        except OSError as e:
            raise _failed("write", path, e) from e

    def first_line(self, name: str) -> bytes:
        """The first line of a blob, without reading the rest; empty when there is none.  Raises `StateError`."""
        path = self._path(name)
        try:
            with path.open("rb") as file:
                return file.readline()
        except FileNotFoundError:
            return b""
        except OSError as e:
            raise _failed("read", path, e) from e

    def delete(self, name: str) -> None:
        """See `Backend.delete`."""
        path = self._path(name)
        try:
            files.remove(path)
        except OSError as e:
            raise _failed("remove", path, e) from e

    def sweep(self) -> list[str]:
        """Remove what writers that were killed have left behind; the names of the files."""
        return files.sweep(self.folder)

    def prove(self) -> tuple[Diagnostic, ...]:
        """See `Backend.prove`: a file can be written there, and is taken away again."""
        name = f"{files.TEMPORARY}probe"
        self.replace(name, [b"pdsync tries here whether it may write.\n"])
        self.delete(name)
        return ()

    def runs(self) -> LocalBackend:
        """See `Backend.runs`."""
        return self

    @contextmanager
    def lock(self, info: LockInfo) -> Iterator[Beat]:
        """See `Backend.lock`."""
        with self._open(LOCK) as file:
            if not _try_patiently(file.fileno()):
                raise locked(_said(self._path(LOCK)))
            _say(file, self._path(LOCK), info)
            try:
                yield lambda now: _say(file, self._path(LOCK), now)
            finally:
                file.truncate(0)

    def holder(self) -> LockInfo | None:
        """See `Backend.holder`."""
        path = self._path(LOCK)
        if not path.exists():
            return None
        with self._open(LOCK) if os.access(path, os.W_OK) else path.open("rb", buffering=0) as file:
            if _try_lock(file.fileno()):
                return None
        return _said(path) or LockInfo("", "at work", "another process", "a moment ago")

    def unlock(self, lock_id: str) -> None:
        """See `Backend.unlock`: a local lock ends with its process, so there is never one to break."""
        held = self.holder()
        if held is None:
            raise StateError(error("PD523", "nothing is locked", detail=f"{self.url} (asked for {lock_id})"))
        raise locked(held)

    def _open(self, name: str) -> FileIO:
        """A file to lock, made when needed.  Raises `StateError`."""
        path = self._path(name)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            return os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+b", buffering=0)
        except OSError as e:
            raise _failed("lock", path, e) from e

    def _path(self, name: str) -> Path:
        path = self.folder / name
        if path.is_symlink():
            raise StateError(error("PD524", "state file is a symbolic link", detail=str(path)))
        return path


def _version(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def _try_lock(handle: int) -> bool:
    """Take an exclusive lock that the system drops when the process ends; False when another process holds it."""
    try:
        if os.name == "nt":
            import msvcrt

            os.lseek(handle, OUT_OF_THE_WAY, os.SEEK_SET)
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore]
        else:
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _wait_for_lock(handle: int) -> None:
    """Take an exclusive lock for the moment of one store, once another process has done its own."""
    if os.name == "nt":
        import msvcrt

        os.lseek(handle, OUT_OF_THE_WAY, os.SEEK_SET)
        msvcrt.locking(handle, msvcrt.LK_LOCK, 1)  # type: ignore[attr-defined,unused-ignore]
    else:
        import fcntl

        fcntl.flock(handle, fcntl.LOCK_EX)


def _try_patiently(handle: int) -> bool:
    """`_try_lock`, again for a moment: who only looks whether it is held holds it as long as that takes."""
    for _ in range(LOOKS):
        if _try_lock(handle):
            return True
        time.sleep(A_LOOK)
    return _try_lock(handle)


def _say(file: FileIO, path: Path, info: LockInfo) -> None:
    """Write who holds the lock, in one write over what stood there, so that a reader never sees a part.

    Raises `StateError`.
    """
    try:
        said = msgspec.json.encode(info).ljust(LOCK_SIZE)
        file.seek(0)
        file.write(said)
        file.truncate(len(said))
    except OSError as e:
        raise _failed("lock", path, e) from e


def _said(path: Path) -> LockInfo | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=LockInfo)
    except (OSError, msgspec.DecodeError):  # the holder has taken the lock but not yet written who it is
        return None


def _failed(verb: str, path: Path, cause: OSError) -> StateError:
    hint = "see that the folder is there, that you may write in it, and that it has room"
    detail = f"{path}: {cause.strerror or cause}"
    return StateError(error("PD503", f"cannot {verb} the state", detail=detail, hint=hint))
