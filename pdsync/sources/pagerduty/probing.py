"""What the credentials can read: a cheap request for each kind."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal
from urllib.parse import quote

from pdsync.errors import Interrupted, PdsyncError, SourceError
from pdsync.kinds import KINDS, PARENT, Kind, Parent
from pdsync.recordfile import splice
from pdsync.sources.pagerduty.auth import shuts_out
from pdsync.sources.pagerduty.moments import Params, body_of, wire_params
from pdsync.sources.pagerduty.nested import reference
from pdsync.sources.pagerduty.records import FieldReader, PageReader
from pdsync.sources.pagerduty.tasks import together
from pdsync.transport import ApiError, Unreachable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from pdsync.sources.pagerduty.listing import Asker
    from pdsync.sources.pagerduty.run import Grants

ProbeStatus = Literal["readable", "forbidden", "unavailable", "failed"]

_STATUSES: dict[int, ProbeStatus] = {401: "forbidden", 403: "forbidden", 402: "unavailable", 404: "unavailable"}

_REFUSALS = 2
"""So many kinds that the credentials are refused for mean all; one may have a reason of its own."""


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """Whether a kind can be read.

    `forbidden`: the credentials may not (`scope` is what an OAuth app needs); `unavailable`: the account's plan does
    not have it, or it is not there; `failed`: it could not be found out.  `detail` says more.
    """

    kind: str
    status: ProbeStatus
    detail: str
    scope: str


@dataclass(frozen=True, slots=True)
class _Found:
    """The outcome of one request: the first record, if there is any; `shut` is what may hold for all others, too."""

    result: ProbeResult
    first: bytes | None = None
    shut: PdsyncError | None = None


class Prober:
    """Asks for one record of each kind, and of the kinds that it is listed under."""

    def __init__(self, asker: Asker, now: datetime, grants: Grants) -> None:
        self._asker = asker
        self._now = now
        self._grants = grants
        self._found: dict[str, asyncio.Task[_Found]] = {}

    async def probe(self, kinds: Sequence[str]) -> list[ProbeResult]:
        """A result for each kind; none where nobody is let in at all, which is found out with one or two.

        Raises:
            SourceError: the credentials are refused, or PagerDuty cannot be reached.
            Interrupted: the client was stopped.
        """
        first = [kind for kind in kinds if not KINDS[kind].parents][:_REFUSALS]
        for kind in first:
            if not (shut := (await self._probe(kind)).shut):
                break
            if isinstance(shut, Unreachable) or kind == first[-1]:
                raise SourceError(*shut.diagnostics)
        return [found.result for found in await together(self._probe(kind) for kind in kinds)]

    async def _probe(self, kind: str) -> _Found:
        """A kind is asked for once, whether for itself or for what is listed under it."""
        if kind not in self._found:
            self._found[kind] = asyncio.ensure_future(self._ask(KINDS[kind]))
        return await self._found[kind]

    async def _ask(self, kind: Kind) -> _Found:
        if not kind.parents:
            return await self._first(kind, kind.path, kind.rows)
        parent = kind.parents[0]
        if not parent.kind:
            return await self._under(kind, parent, b"{}")
        above = await self._probe(parent.kind)
        if above.result.status != "readable":
            detail = f"listed under {parent.kind}, which is {above.result.status}: {above.result.detail}"
            return _Found(replace(above.result, kind=kind.name, detail=detail))
        if kind.inside:
            return _Found(replace(above.result, kind=kind.name))
        if above.first is None:
            detail = f"{parent.kind} can be read, but there is none to try it with"
            return _Found(ProbeResult(kind.name, "readable", detail, kind.scope))
        return await self._under(kind, parent, above.first)

    async def _under(self, kind: Kind, parent: Parent, raw: bytes) -> _Found:
        """The first record of a nested list; it refers to its parent, for what is listed under it in turn."""
        filled = FieldReader(path for _, path in parent.fill).read(raw)
        values = {name: str(value) for (name, _), value in zip(parent.fill, filled, strict=True)} | dict(parent.fixed)
        path, rows = kind.path, kind.rows
        for name, value in values.items():
            path = path.replace(f"{{{name}}}", quote(value, safe=""))
            rows = rows.replace(f"{{{name}}}", value)
        found = await self._first(kind, path, rows)
        if found.first is None or not parent.kind:
            return found
        return replace(found, first=splice(found.first, {PARENT: reference(parent.kind, raw)}))

    async def _first(self, kind: Kind, path: str, rows: str) -> _Found:
        try:
            page = PageReader(kind, rows).read(await self._answer(kind, path))
        except Interrupted:
            raise
        except PdsyncError as failure:
            return _Found(self._failed(kind, failure), shut=failure if shuts_out(failure) else None)
        return _Found(ProbeResult(kind.name, "readable", "", kind.scope), page.raws[0] if page.raws else None)

    async def _answer(self, kind: Kind, path: str) -> bytes:
        params = wire_params(kind, self._least(kind), self._now)
        headers = dict(kind.headers)
        if kind.method == "POST":
            body = body_of(kind, params) | ({"limit": 1} if kind.page_size else {})
            return (await self._asker.send("POST", path, body=body, headers=headers)).content
        limit = (("limit", "1"),) if kind.page_size else ()
        return (await self._asker.send("GET", path, params=(*params, *limit), headers=headers)).content

    def _least(self, kind: Kind) -> Params:
        """The narrowest question: a day where there is time, and something for what must be given."""
        day = {"since": "-1d", "until": "now"}
        bounds = {kind.window.since, kind.window.until} if kind.window else set()
        return tuple(
            (param.wire, day.get(param.type, "none")) for param in kind.params if param.required or param.wire in bounds
        )

    def _failed(self, kind: Kind, failure: PdsyncError) -> ProbeResult:
        cause = failure.diagnostics[0]
        status = _STATUSES.get(failure.status, "failed") if isinstance(failure, ApiError) else "failed"
        detail = f"{cause.summary}: {cause.detail}" + (
            f"; {cause.hint}" if status != "unavailable" and cause.hint else ""
        )
        if status == "forbidden" and (missing := self._grants.lacking({kind.scope} - {""})):
            detail = f"the app was not granted {' and '.join(missing)}"
        return ProbeResult(kind.name, status, detail, kind.scope)
