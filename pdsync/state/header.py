"""The first line of a state file: what it is, before anything else of it is believed."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import orjson

from pdsync.errors import StateError, error

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

RESTORE = "restore it from a backup; an empty ledger would mean that nothing is owned"
AGAIN = "`pdsync snapshot` takes a new one"
CUT = "its checksum does not match: it was cut or edited"


def read_header(head: bytes, name: str, *, form: str, versions: Collection[int], hint: str = RESTORE) -> dict[str, Any]:
    """The header of the state file `name`, once its form and version are known ones.

    Raises `StateError`, with the `hint` when it is damaged.
    """
    try:
        header = orjson.loads(head)
    except orjson.JSONDecodeError as e:
        raise damaged(name, "its first line is not JSON", hint) from e
    if not isinstance(header, dict) or header.get("format") != form:
        raise damaged(name, f"it does not begin with a {form} header", hint)
    if not head.endswith(b"\n"):
        raise damaged(name, "it ends within its first line", hint)
    version = header.get("version")
    if not isinstance(version, int) or version not in versions:
        *older, newest = map(str, sorted(versions))
        known = f"{', '.join(older)} and {newest}" if older else newest
        detail = f"{name} has version {version}, this pdsync reads version {known}"
        hint = "use the pdsync that wrote it, or a newer one"
        raise StateError(error("PD502", "state of another version", detail=detail, hint=hint))
    return header


@contextmanager
def damage(name: str, hint: str = RESTORE) -> Iterator[None]:
    """Parts that are missing or of another shape, in spite of a right checksum, are damage to the file `name`."""
    try:
        yield
    except (LookupError, TypeError, ValueError) as e:
        raise damaged(name, f"a part of it is missing or of another shape: {e}", hint) from e


def damaged(name: str, why: str, hint: str = RESTORE) -> StateError:
    """The file `name` cannot be used, and why."""
    return StateError(error("PD501", "state file is damaged", detail=f"{name}: {why}", hint=hint))
