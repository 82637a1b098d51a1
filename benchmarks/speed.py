"""How fast the machine is at the moment.

Seconds of one machine say nothing of another one, nor of the same one an hour later where others work on it, too.
What any plan does, whatever its code, is to have libjq parse records: how much of that one core does in a second is
taken for the machine's speed.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import jq
import msgspec

if TYPE_CHECKING:
    from collections.abc import Sequence

_ROUNDS = 5


class _Incidents(msgspec.Struct):
    incidents: list[msgspec.Raw]


def records_of(page: bytes) -> list[str]:
    """The incidents of a page, each as it is."""
    return [bytes(raw).decode() for raw in msgspec.json.decode(page, type=_Incidents).incidents]


def speed(records: Sequence[str]) -> float:
    """Megabytes of these records that libjq parses in a second of one core, at best."""
    program = jq.compile("length")
    size = sum(len(record.encode()) for record in records) / 1e6
    return size / min(_seconds(program, records) for _ in range(_ROUNDS))


def _seconds(program: jq._Program, records: Sequence[str]) -> float:
    began = time.process_time()
    for record in records:
        program.input_text(record).first()
    return time.process_time() - began
