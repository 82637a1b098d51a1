"""Faults in what this process does with files, for `pdsync selftest --faults`; imported only when they are asked for.

The variable `PDSYNC_FAULT` is internal and read in one place, at the start of the process.  It holds JSON:

    {"effect": "kill", "at": 7, "folder": "/home/you/project/state", "trace": "/home/you/points.txt"}

Every operation on a file below `folder` that pdsync means to last is a *point*, numbered from 1 in the order in which
they come, and named in the file `trace`.  `kill` ends the process by SIGKILL right before the operation at that number;
a write has a second point, in the middle of it.  `full` leaves no room on the disk from the one at that number on: only
operations that take room are points then.  With `at` 0 the points are only named.
"""

from __future__ import annotations

import errno
import json
import os
import re
import signal
import stat
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Callable

    Call = Callable[..., Any]

WRITING = os.O_WRONLY | os.O_RDWR
KILL = getattr(signal, "SIGKILL", signal.SIGTERM)

_RANDOM = re.compile(r"[0-9]{8}T[0-9]{6}Z-[0-9a-f]+|(?<=\.jsonl)\.[a-z0-9_]{8}$")
"""Parts of file names that are drawn anew in each run."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What `PDSYNC_FAULT` asks for."""

    effect: Literal["kill", "full"]
    at: int
    folder: str
    trace: str


def install(text: str) -> None:
    """Put the points into the `os` of this process.  Raises `ValueError`, `TypeError` for what cannot be read."""
    points = _Points(Wanted(**json.loads(text)))
    for name, make in _AROUND.items():
        if hasattr(os, name):
            setattr(os, name, make(points, name, getattr(os, name)))


class _Points:
    """The points that have passed, and the files that were opened, by device and inode: "" for those elsewhere."""

    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted
        self._folder = Path(wanted.folder).resolve()
        self._passed = 0
        self._opened: dict[tuple[int, int], str] = {}
        self._lock = threading.Lock()
        self._write = os.write
        self._trace = os.open(wanted.trace, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def name_of(self, path: object) -> str:
        """How a path below the folder is named; empty for any other."""
        if not isinstance(path, str | os.PathLike):
            return ""
        absolute = Path(path).absolute()
        if not absolute.is_relative_to(self._folder):
            return ""
        return _RANDOM.sub("", absolute.relative_to(self._folder).as_posix()) or "."

    def opened(self, handle: int, name: str) -> None:
        """Remember what a handle is of; a file elsewhere may be where one of the folder was that is gone."""
        self._opened[_inode(handle)] = name

    def name_by(self, handle: int) -> str:
        """How the file of a handle is named; empty for one that is not of the folder."""
        return self._opened.get(_inode(handle), "")

    def pass_by(self, what: str, *, takes_room: bool) -> None:
        """One more point, unless it is none of this effect's.  Raises `OSError` where there is no room for it."""
        full = self._wanted.effect == "full"
        if full and not takes_room:
            return
        with self._lock:
            self._passed += 1
            self._write(self._trace, f"{what}\n".encode())
            if not self._wanted.at or self._passed < self._wanted.at:
                return
            if full:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.kill(os.getpid(), KILL)


def _inode(handle: int) -> tuple[int, int]:
    found = os.fstat(handle)
    return found.st_dev, found.st_ino


# --- around the operations -------------------------------------------------------------------------------------


def _open(points: _Points, _name: str, call: Call) -> Call:
    """Opening to write is a point; opening a folder to sync it is not, the sync is."""

    def wrapped(path: Any, flags: int, *args: Any, **options: Any) -> int:
        name = points.name_of(path)
        if name and flags & WRITING:
            points.pass_by(f"open {name}", takes_room=bool(flags & os.O_CREAT) and not Path(path).exists())
        handle: int = call(path, flags, *args, **options)
        points.opened(handle, name)
        return handle

    return wrapped


def _write(points: _Points, _name: str, call: Call) -> Call:
    def wrapped(handle: int, data: Any) -> int:
        name = points.name_by(handle)
        if not name:
            return int(call(handle, data))
        points.pass_by(f"write {name}", takes_room=True)
        half = memoryview(data)[: len(data) // 2]
        done = int(call(handle, half))
        points.pass_by(f"write the rest of {name}", takes_room=True)
        return done + int(call(handle, memoryview(data)[done:]))

    return wrapped


def _sync(points: _Points, name: str, call: Call) -> Call:
    def wrapped(handle: int) -> None:
        if file := points.name_by(handle):
            points.pass_by(f"{name} {file}", takes_room=stat.S_ISREG(os.fstat(handle).st_mode))
        call(handle)

    return wrapped


def _cut(points: _Points, name: str, call: Call) -> Call:
    def wrapped(handle: int, length: int) -> None:
        if file := points.name_by(handle):
            points.pass_by(f"{name} {file}", takes_room=False)
        call(handle, length)

    return wrapped


def _on_paths(*, takes_room: bool) -> Callable[[_Points, str, Call], Call]:
    def around(points: _Points, name: str, call: Call) -> Call:
        def wrapped(path: Any, *args: Any, **options: Any) -> Any:
            made = args[0] if args and isinstance(args[0], str | os.PathLike) else path
            if named := points.name_of(made):
                points.pass_by(f"{name} {named}", takes_room=takes_room and not Path(made).exists())
            return call(path, *args, **options)

        return wrapped

    return around


_AROUND: dict[str, Callable[[_Points, str, Call], Call]] = {
    "open": _open,
    "write": _write,
    "fsync": _sync,
    "fdatasync": _sync,
    "ftruncate": _cut,
    "mkdir": _on_paths(takes_room=True),
    "link": _on_paths(takes_room=True),
    "replace": _on_paths(takes_room=False),
    "rename": _on_paths(takes_room=False),
    "unlink": _on_paths(takes_room=False),
    "remove": _on_paths(takes_room=False),
}
"""The operations that pdsync's files are made by (`pdsync.files`, the local state), and what is put around each."""
