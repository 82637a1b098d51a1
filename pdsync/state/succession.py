"""Which ledger may take another one's place: what is refused is a row of a table, and allowed by its name only."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from pdsync.errors import StateError, error

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from pdsync.errors import Diagnostic
    from pdsync.model import Ledger


class _Doubt(NamedTuple):
    """A reason not to put `pushed` in the place of `held`."""

    arises: Callable[[Ledger, Ledger], bool]
    summary: str
    detail: Callable[[Ledger, Ledger], str]
    code: str = "PD506"


def _serials(held: Ledger, pushed: Ledger) -> str:
    return f"it has serial {pushed.serial}, kept is serial {held.serial} with {len(held.entities)} entities"


DOUBTS = {
    "another-lineage": _Doubt(
        lambda held, pushed: held.lineage != pushed.lineage,
        "this is another state",
        lambda held, pushed: f"it is of lineage {pushed.lineage}, kept is {held.lineage}",
    ),
    "another-organization": _Doubt(
        lambda held, pushed: bool(held.org_id and pushed.org_id and held.org_id != pushed.org_id),
        "this is the state of another organization",
        lambda held, pushed: f"it is of {pushed.org_id}, kept is {held.org_id}",
    ),
    "older": _Doubt(
        lambda held, pushed: held.lineage == pushed.lineage and pushed.serial < held.serial,
        "this state is older than the one that is kept",
        _serials,
    ),
    "other-content": _Doubt(
        lambda held, pushed: (held.lineage, held.serial) == (pushed.lineage, pushed.serial) and held != pushed,
        "there are two states of the same serial",
        _serials,
    ),
    "empty": _Doubt(
        lambda held, pushed: bool(held.entities) and not pushed.entities,
        "an empty state would replace a full one",
        lambda held, _: f"{len(held.entities)} entities would be forgotten",
        "PD504",
    ),
}
"""By the name under which each is allowed.  What is kept and empty never raises a doubt."""


def successor(held: Ledger, pushed: Ledger, parent: str, allowed: Collection[str] = ()) -> Ledger:
    """The ledger to store when `pushed` is to take the place of `held`, whose checksum is `parent`.

    A successor by its own serial is stored as it is; one that is only allowed by name gets the next serial.  Raises
    `StateError` with every doubt that is not allowed.
    """
    if not held.serial or pushed == held:
        return pushed
    doubts = {name: doubt for name, doubt in DOUBTS.items() if doubt.arises(held, pushed)}
    refused = [_refusal(name, doubt, held, pushed) for name, doubt in doubts.items() if name not in allowed]
    if refused:
        raise StateError(*refused)
    if held.lineage == pushed.lineage and pushed.serial > held.serial:
        return pushed
    return replace(pushed, serial=max(held.serial, pushed.serial) + 1, parent=parent)


def _refusal(name: str, doubt: _Doubt, held: Ledger, pushed: Ledger) -> Diagnostic:
    hint = f"if you are sure, allow just that: --allow {name}"
    return error(doubt.code, doubt.summary, detail=doubt.detail(held, pushed), hint=hint)
