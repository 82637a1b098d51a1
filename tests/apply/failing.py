"""A disk on which nothing can be written from some moment on, until the block ends."""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from pdsync import files

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

WRITES = ("create", "append", "replace", "keep")


class Disk:
    """How many durable writes there were."""

    def __init__(self, first: int | None, number: int) -> None:
        self.first = first
        self.number = number
        self.count = 0

    def write(self) -> None:
        self.count += 1
        if self.first is not None and self.count >= self.first:
            raise OSError(self.number, os.strerror(self.number))


@contextmanager
def failing_from(first: int | None, number: int = errno.ENOSPC) -> Iterator[Disk]:
    """From the write with this number (from 1; None: never) on, all of them fail so."""
    disk = Disk(first, number)
    with pytest.MonkeyPatch.context() as patch:
        for name in WRITES:
            patch.setattr(files, name, _failing(disk, getattr(files, name)))
        yield disk


def _failing(disk: Disk, call: Callable[..., Any]) -> Callable[..., Any]:
    def wrapped(*args: Any, **options: Any) -> Any:
        disk.write()
        return call(*args, **options)

    return wrapped
