"""Lists that only give references: every record is asked for alone."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import msgspec

from pdsync.errors import Interrupted, PdsyncError
from pdsync.recordfile import one_line
from pdsync.sources.pagerduty.apart import Apart
from pdsync.sources.pagerduty.listing import Listing
from pdsync.sources.pagerduty.problems import unreadable
from pdsync.sources.pagerduty.records import decode, malformed, understood

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from pdsync.kinds import Detail, Kind
    from pdsync.sources.pagerduty.listing import Asker, Tally
    from pdsync.sources.pagerduty.moments import Params
    from pdsync.sources.pagerduty.shelf import Shelf


async def read_details(
    asker: Asker,
    kind: Kind,
    detail: Detail,
    ids: Iterable[str],
    params: Params,
    *,
    afresh: Callable[[], Awaitable[Iterable[str]]],
    tally: Tally,
    shelf: Shelf,
) -> Listing:
    """Each record alone, onto a shelf; `afresh` gives the ids that exist now, should one be gone."""
    decoder = msgspec.json.Decoder(msgspec.defstruct("Shown", [("it", msgspec.Raw, msgspec.field(name=detail.key))]))

    async def still_there() -> set[str]:
        return {f"{kind.name}/{id_}" for id_ in await afresh()}

    work = partial(_read_one, asker, kind, path=detail.path, decoder=decoder, params=params, shelf=shelf)
    return await Apart(kind, work, still_there, tally, shelf).read({f"{kind.name}/{id_}": id_ for id_ in ids})


async def _read_one(
    asker: Asker, kind: Kind, id_: str, *, path: str, decoder: msgspec.json.Decoder[Any], params: Params, shelf: Shelf
) -> Listing:
    async def shown() -> bytes:
        reply = await asker.send(
            "GET", path.replace("{id}", quote(id_, safe="")), params=params, headers=dict(kind.headers)
        )
        return one_line(bytes(decode(decoder, reply.content).it))

    try:
        return Listing(shelf.keep([(id_, await understood(shown))]))
    except Interrupted:
        raise
    except PdsyncError as failure:
        return Listing(problem=unreadable(kind, failure), failure=failure)
    except msgspec.DecodeError as failure:
        odd = malformed(kind, f"{failure}")
        return Listing(problem=unreadable(kind, odd), failure=odd)
