"""What goes wrong in the matrix: a table.  Each fault strikes at one point of a run after the other.

The points are the requests to Port, or the operations on files of the state, numbered from 1 in the order in which they
come.  A request is struck by the sandbox, a file operation by `pdsync.cli.injected` in the process itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pdsync.sandbox.http import Fault as Strike

Also = Literal["", "kill", "overtake"]
LOOK = ("plan", "--offline")
DELETES = "/entities/delete$"


@dataclass(frozen=True, slots=True)
class Fault:
    """A row of the table.

    `says` is for people; `at` what the points are.  Of requests, `strike` are the fields of the sandbox's fault, `also`
    is what happens at that very moment, and `path` says which of them count; of files, `effect` is what happens.
    `anew`: what the run had deleted until then is made again by somebody before it is resumed.  `look` must find
    nothing to do in the end.
    """

    name: str
    says: str
    at: Literal["requests", "files"]
    strike: Mapping[str, Any] = field(default_factory=dict)
    also: Also = ""
    effect: Literal["", "kill", "full"] = ""
    path: str = ""
    anew: bool = False
    look: tuple[str, ...] = LOOK

    def strike_at(self, point: int) -> Strike:
        """The fault of the sandbox that strikes the request with this number."""
        return Strike(**{"api": "port", "path": self.path, "skip": point - 1, **self.strike})

    def fits(self, path: str) -> bool:
        """Whether a request counts."""
        return re.search(self.path, path) is not None


_LOST = {"effect": "drop", "when": "after"}

FAULTS = {
    fault.name: fault
    for fault in (
        Fault("kill-before", "killed right before a request takes effect", "requests", {"effect": "drop"}, "kill"),
        Fault("kill-after", "killed right after a request took effect", "requests", _LOST, "kill"),
        Fault("kill-file", "killed before, or half-way through, an operation on a file", "files", effect="kill"),
        Fault(
            "made-anew",
            "killed right after a delete, and somebody makes again what it deleted",
            "requests",
            _LOST,
            "kill",
            path=DELETES,
            anew=True,
        ),
        Fault("no-answer", "the answer is lost after the request took effect", "requests", _LOST),
        Fault(
            "rate-limit",
            "429 three times in a row",
            "requests",
            {"effect": "answer", "status": 429, "count": 3, "headers": {"Retry-After": "0"}},
        ),
        Fault("unavailable", "503 twice, with no effect", "requests", {"effect": "answer", "status": 503, "count": 2}),
        Fault(
            "bad-gateway",
            "502 after the request took effect",
            "requests",
            {"effect": "answer", "when": "after", "status": 502},
        ),
        Fault("half-json", "half of the answer's JSON", "requests", {"effect": "truncate"}),
        Fault(
            "overtaken",
            "somebody else saves the state: the store refuses the compare-and-swap",
            "requests",
            {"effect": "delay"},
            "overtake",
            look=("apply", "--auto-approve"),
        ),
        Fault("disk-full", "no room on the disk, from an operation on a file on", "files", effect="full"),
    )
}
"""Every fault by its name."""
