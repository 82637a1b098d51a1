"""PagerDuty as a `Source`: every list once, each proven whole or said not to be, with its enrichments."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from hashlib import blake2b
from typing import TYPE_CHECKING

import msgspec

from pdsync import __version__
from pdsync.errors import SourceError, error
from pdsync.kinds import KINDS
from pdsync.model import Collection, Query, Snapshot
from pdsync.sources.pagerduty.auth import TOKEN_URL, make_auth
from pdsync.sources.pagerduty.enrich import Setting, enrich, needed_lists
from pdsync.sources.pagerduty.listing import Lister, Listing, Params, Tally, in_utc, wire_params
from pdsync.sources.pagerduty.tasks import together
from pdsync.transport import PAGERDUTY_LIMITS, ApiClient, ApiError, Timing, Unreachable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Sequence

    from pdsync.model import Json
    from pdsync.sources import Progress
    from pdsync.transport import Exchange, Reply

ACCEPT = "application/vnd.pagerduty+json;version=2"
"""The version of the REST API that pdsync speaks."""


class PagerDuty:
    """Reads PagerDuty through a client; `now` gives the time that relative moments refer to."""

    name = "PagerDuty"

    def __init__(self, client: ApiClient, *, now: Callable[[], datetime]) -> None:
        self._client = client
        self._now = now

    async def fetch(self, queries: Sequence[Query], progress: Progress | None = None) -> Snapshot:
        """Read every query (each once) into one snapshot.

        Raises:
            SourceError: nothing at all could be read: the credentials were refused, or PagerDuty not reached.
            Interrupted: the client was stopped.
        """
        run = _Run(self._client, self._now, progress)
        wanted = list(dict.fromkeys(queries))
        outcomes = await together(run.collect(query) for query in wanted)
        failures = [failure for _, failure in outcomes]
        if failures and all(isinstance(failure, Unreachable) or _is_refusal(failure) for failure in failures):
            raise _nothing(failures)
        collections = {collection.query: collection for collection, _ in outcomes}
        return Snapshot(self._client.base_url, in_utc(run.now), collections, digest(collections.values()))

    def stop(self) -> None:
        """Send no more requests; a `fetch` under way raises `Interrupted`."""
        self._client.stop()


def _is_refusal(failure: Exception | None) -> bool:
    return isinstance(failure, ApiError) and failure.status == 401  # noqa: PLR2004


def _nothing(failures: Iterable[Exception | None]) -> SourceError:
    """One error for many that say the same."""
    told = [failure.diagnostics[0] for failure in failures if isinstance(failure, ApiError | Unreachable)]
    return SourceError(*{(each.summary, each.hint): each for each in reversed(told)}.values())


class _Counting:
    """A client that counts what one query costs."""

    def __init__(self, client: ApiClient) -> None:
        self._client = client
        self.requests = 0

    async def send(
        self, method: str, path: str, *, params: Sequence[tuple[str, str]] = (), body: Json | bytes | None = None
    ) -> Reply:
        self.requests += 1
        return await self._client.send(method, path, params=params, body=body)


class _Run:
    """One fetch: its moment, and the lists read so far, so that none is read twice."""

    def __init__(self, client: ApiClient, now: Callable[[], datetime], progress: Progress | None) -> None:
        self.now = now()
        self._clock = now
        self._client = client
        self._progress = progress
        self._listings: dict[tuple[str, Params], asyncio.Future[Listing]] = {}

    async def collect(self, query: Query) -> tuple[Collection, Exception | None]:
        """One query's records, and what stopped the reading of its list."""
        kind = KINDS.get(query.kind)
        if kind is None:
            problem = error("PD310", "unknown kind", detail=query.kind, hint="update pdsync")
            return Collection(query, (), problem), None
        asker = _Counting(self._client)
        # The lists that enrichments need are read while the list itself is.
        lists = [(query.kind, query.params), *needed_lists(query.kind, query.enrich)]
        listing, *_ = await together(self._listing(asker, *each) for each in lists)
        records, notes = await enrich(listing.records, query.kind, query.enrich, partial(self._setting, asker, query))
        seconds = (self._clock() - self.now).total_seconds()
        collection = Collection(query, records, listing.problem, asker.requests, seconds, notes)
        return collection, listing.failure

    def _setting(self, asker: _Counting, query: Query, name: str, argument: str) -> Setting:
        return Setting(
            asker=asker,
            listing=partial(self._listing, asker),
            now=self.now,
            kind=query.kind,
            params=query.params,
            argument=argument,
            tally=Tally(f"{query.kind} {name}", self._progress),
        )

    async def _listing(self, asker: _Counting, kind: str, params: Params) -> Listing:
        """A list, read by whoever asks first."""
        key = kind, params
        if key not in self._listings:
            self._listings[key] = asyncio.get_running_loop().create_future()
            await self._fill(self._listings[key], asker, kind, params)
        return await asyncio.shield(self._listings[key])

    async def _fill(self, listing: asyncio.Future[Listing], asker: _Counting, kind: str, params: Params) -> None:
        """Read a list; who else waits for it stops waiting when this is cancelled or interrupted."""
        row = KINDS[kind]
        lister = Lister(asker, row, wire_params(row, params, self.now), Tally(kind, self._progress))
        try:
            listing.set_result(await lister.read(self.now))
        except BaseException:
            listing.cancel()
            raise


def digest(collections: Iterable[Collection]) -> str:
    """A digest of what was asked and what was said, whatever the order of either."""
    whole = blake2b(digest_size=16)
    for collection in sorted(collections, key=lambda each: each.query.kind + repr(each.query)):
        query = collection.query
        whole.update(msgspec.json.encode([query.kind, query.params, query.enrich, collection.complete]))
        for record in sorted(collection.records, key=lambda each: each.id):
            whole.update(msgspec.json.encode([record.id, sorted(record.unavailable), len(record.raw)]))
            whole.update(record.raw)
    return whole.hexdigest()


def utc_now() -> datetime:
    """The time it is."""
    return datetime.now(UTC)


@asynccontextmanager
async def open_pagerduty(
    base_url: str,
    *,
    token: str | None = None,
    client_id: str | None = None,
    client_secret: str | None = None,
    subdomain: str | None = None,
    on_wait: Callable[[str], None] | None = None,
    on_exchange: Callable[[Exchange], None] | None = None,
    allow_plain_http: bool = False,
    token_url: str = TOKEN_URL,
    concurrency: int = 8,
    patience: float = 300.0,
    now: Callable[[], datetime] = utc_now,
    timing: Timing | None = None,
) -> AsyncIterator[PagerDuty]:
    """PagerDuty at `base_url`, with a token or an app's client credentials (see `pdsync.transport.ApiClient`).

    Raises:
        UsageError: there are no credentials, or the base URL cannot be used.
    """
    auth = make_auth(
        base_url,
        token=token,
        client_id=client_id,
        client_secret=client_secret,
        subdomain=subdomain,
        token_url=token_url,
    )
    client = ApiClient(
        base_url,
        name=PagerDuty.name,
        auth=auth,
        user_agent=f"pdsync/{__version__}",
        limits=PAGERDUTY_LIMITS,
        concurrency=concurrency,
        patience=patience,
        on_wait=on_wait,
        on_exchange=on_exchange,
        allow_plain_http=allow_plain_http,
        headers={"accept": ACCEPT},
        timing=timing,
    )
    async with client:
        yield PagerDuty(client, now=now)
