"""Files that are safe once a call returns: every durable file operation of pdsync is one of these.

What is replaced is written to a temporary file beside it, synced, renamed over it, and the folder is synced: after a
crash either the old or the new file is there, whole.  What is appended is there whole or not at all, too, but for the
last piece of a file that a crash has cut.  All of them raise `OSError`.
"""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_BLOCK = 1 << 20

TEMPORARY = ".pdsync-"
"""How the names of temporary files begin."""


def create(path: Path) -> int:
    """A handle on a new file, to be appended to, readable by its owner only; one that is there is refused."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | getattr(os, "O_BINARY", 0)
    return os.open(path, flags, 0o600)


def append(handle: int, pieces: Iterable[bytes]) -> None:
    """Write to the end of a file, for good.  When that fails, what was written of it is taken away again."""
    size = os.fstat(handle).st_size
    try:
        for block in _blocks(pieces):
            _write(handle, block)
        _sync_data(handle)
    except OSError:
        with suppress(OSError):
            os.ftruncate(handle, size)
        raise


def _sync_data(handle: int) -> None:
    """Make what is written durable, and the file's size; its times need not be, where the system can leave them."""
    if hasattr(os, "fdatasync"):
        os.fdatasync(handle)
    else:
        os.fsync(handle)


def _blocks(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The pieces put together, as few as may be of a size that memory does not feel."""
    waiting: list[bytes] = []
    size = 0
    for piece in pieces:
        waiting.append(piece)
        size += len(piece)
        if size >= _BLOCK:
            yield b"".join(waiting)
            waiting, size = [], 0
    if waiting:
        yield b"".join(waiting)


def _write(handle: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(handle, rest) :]


def replace(path: Path, chunks: Iterable[bytes]) -> None:
    """Replace a file whatever it was, or make it; its folder is there.  Readable by its owner only."""
    handle, temporary = _temporary(path)
    try:
        with os.fdopen(handle, "wb") as file:
            file.writelines(chunks)
            file.flush()
            os.fsync(handle)
            if _RENAMES_OPEN_FILES:  # claimed until it has its name
                temporary.replace(path)
        if not _RENAMES_OPEN_FILES:
            temporary.replace(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise
    sync_folder(path.parent)


_RENAMES_OPEN_FILES = os.name != "nt"


def _temporary(path: Path) -> tuple[int, Path]:
    """A new temporary file beside `path`, claimed."""
    while True:
        handle, name = tempfile.mkstemp(prefix=f"{TEMPORARY}{path.name}.", dir=path.parent)
        if claim(handle, otherwise=True) and os.path.exists(name):  # noqa: PTH110  (else it was swept before it could be claimed)
            return handle, Path(name)
        os.close(handle)


def keep(path: Path, under: Path) -> None:
    """Let what a file holds now be found under another name as well; copied where the system knows no links."""
    temporary = under.with_name(f"{TEMPORARY}{under.name}.{secrets.token_hex(4)}")
    try:
        try:
            temporary.hardlink_to(path)
        except OSError:
            shutil.copyfile(path, temporary)
            temporary.chmod(0o600)
        temporary.replace(under)
    finally:
        temporary.unlink(missing_ok=True)  # it stays where both names had the same file already


def remove(path: Path) -> None:
    """Remove a file; one that is not there is fine."""
    path.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Make a rename or a new file in `folder` durable; Windows has no such call and needs none."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sweep(folder: Path) -> list[str]:
    """Remove the temporary files of writers that were killed; those of writers at work are left alone.

    Returns their names.
    """
    swept = []
    for path in folder.glob(f"{TEMPORARY}*") if folder.is_dir() else ():
        with suppress(OSError), path.open("rb") as file:  # an error: it is gone already, or on Windows in use
            if claim(file.fileno(), otherwise=False):
                path.unlink()
                swept.append(path.name)
    return sorted(swept)


def claim(handle: int, *, otherwise: bool) -> bool:
    """Claim an open file until it is closed, or its process ends; False when somebody else has claimed it.

    `otherwise` is the answer where files cannot be claimed.
    """
    if os.name == "nt":  # a file that is open cannot be removed there
        return True
    import fcntl

    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # some network file systems
        return otherwise
    return True
