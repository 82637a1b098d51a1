"""What is read of a record, cut out of its bytes: jq spends most of its time on parsing what nobody asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable

    from pdsync.jq.reads import Wanted

UNFIT = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What decoding raises for a record that is not of the shape that is asked for, or no JSON."""


def excerpt_of(wanted: Wanted) -> Callable[[bytes], bytes] | None:
    """A function from the bytes of a record to those of what is wanted of it; None when that is all.

    Nothing but the wanted members is left, each with its own bytes.  A record of which a value that is only stepped
    through is no object (so that a step would raise) comes back whole, and so does one that is not JSON.
    """
    if wanted.whole:
        return None
    try:
        decoder = msgspec.json.Decoder(_struct(wanted))
    except ValueError:  # a name that cannot be one of a struct
        return None
    encode = msgspec.json.Encoder().encode

    def excerpt(raw: bytes) -> bytes:
        try:
            return encode(decoder.decode(raw))
        except UNFIT:
            return raw

    return excerpt


def _struct(wanted: Wanted) -> type[msgspec.Struct]:
    fields: list[tuple[str, Any, Any]] = []
    names: dict[str, str] = {}
    for number, (name, member) in enumerate(wanted.members.items()):
        whole = member.whole or not member.members
        inner: Any = msgspec.Raw if whole else _struct(member) | None
        fields.append((f"m{number}", inner | msgspec.UnsetType, msgspec.UNSET))
        names[f"m{number}"] = name
    return msgspec.defstruct("Excerpt", fields, rename=names, gc=False)
