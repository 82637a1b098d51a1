"""What became of one expression, told apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import orjson

from pdsync.jq.problems import DENIED, RAISED
from pdsync.jq.program import DENIED_KEY
from pdsync.model import Json

State = Literal["value", "null", "none", "several", "error", "unknown"]
"""One value, null, no output at all, several outputs (`value` is the first), an error, not to be known now."""

_SHOWN = 80
_ERROR_CELL = 3


@dataclass(frozen=True, slots=True)
class Cell:
    """The outcome of an expression; `code` and `reason` explain an error and what is unknown.

    `code` is empty when a diagnostic was given already.
    """

    state: State
    value: Json = None
    code: str = ""
    reason: str = ""


def read_cell(raw: Json) -> Cell:
    """The cell that the program wrote (see `pdsync.jq.program`); one that is a Cell already stays as it is."""
    if isinstance(raw, Cell):
        return raw
    if not raw:
        return Cell("none")
    first = raw[0]
    if len(first) == _ERROR_CELL:
        return _failed(first[2])
    if len(raw) > 1:
        return Cell("several", first[0])
    return Cell("null" if first[0] is None else "value", first[0])


def shown(value: Json) -> str:
    """A value as JSON, cut to what fits into a message."""
    text = orjson.dumps(value, default=str).decode()
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."


def _failed(error: Json) -> Cell:
    if isinstance(error, dict) and isinstance(error.get(DENIED_KEY), str):
        return Cell("error", code=DENIED, reason=f"`{error[DENIED_KEY]}` is not available in mappings")
    return Cell("error", code=RAISED, reason=error if isinstance(error, str) else shown(error))
