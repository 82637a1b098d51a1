"""How parent and worker talk: frames on a pipe, and the worker's exit status.

A frame is four bytes of length, big-endian, then that many bytes.
"""

from __future__ import annotations

import signal
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import BinaryIO

TIME_IS_UP = -getattr(signal, "SIGPROF", -1)
"""Exit status when one record took too long: that of the signal, or 1, with which `faulthandler` ends a process."""
OUT_OF_MEMORY = 71
"""Exit status when Python ran out of memory; libjq aborts instead."""
DEFECT = 70
"""Exit status after an unforeseen exception, which is on standard error."""

_LENGTH = struct.Struct(">I")


def write_frames(stream: BinaryIO, payloads: Iterable[bytes]) -> None:
    """Send payloads, each as one frame, and flush."""
    parts: list[bytes] = []
    for payload in payloads:
        parts += (_LENGTH.pack(len(payload)), payload)
    stream.write(b"".join(parts))
    stream.flush()


def read_frame(stream: BinaryIO) -> bytes | None:
    """The next payload; None when the other side is gone, also when it went in the middle of a frame."""
    head = stream.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        return None
    (length,) = _LENGTH.unpack(head)
    payload = stream.read(length)
    return payload if len(payload) == length else None
