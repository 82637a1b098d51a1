"""PagerDuty as a `Source`: every list once, each proven whole or said not to be, with its enrichments."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import blake2b
from typing import TYPE_CHECKING

import msgspec

from pdsync import __version__
from pdsync.errors import SourceError
from pdsync.kinds import KINDS, scopes_for
from pdsync.model import Snapshot, digests_of
from pdsync.privacy import Cleaner
from pdsync.sources import Reuse
from pdsync.sources.pagerduty.auth import ClientCredentials, in_words, make_auth, refused_hint, shuts_out
from pdsync.sources.pagerduty.earlier import Earlier
from pdsync.sources.pagerduty.moments import in_utc
from pdsync.sources.pagerduty.probing import Prober, ProbeResult
from pdsync.sources.pagerduty.problems import too_early
from pdsync.sources.pagerduty.run import Everything, Run
from pdsync.spool import NOWHERE, Aside
from pdsync.transport import PAGERDUTY_LIMITS, ApiClient, ApiError, Timing, Unreachable, check_url

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Sequence

    from pdsync.model import Collection, Query, Record
    from pdsync.sources import Came, Progress
    from pdsync.transport import Exchange

ACCEPT = "application/vnd.pagerduty+json;version=2"
"""The version of the REST API that pdsync speaks."""

_HINTS = {
    400: "PagerDuty refuses what is asked for: see the selector of the mapping that reads it",
    **dict.fromkeys((500, 502, 503, 504), "PagerDuty is in trouble: run it again later"),
}


class PagerDuty:
    """Reads PagerDuty.

    Args:
        client: sends the requests.
        now: gives the time that relative moments refer to.
        login: an OAuth app's credentials, if it is those that the client has.
        aside: where records are put aside.
        credentials: what sort of credentials the client has, in words.
    """

    name = "PagerDuty"

    def __init__(
        self,
        client: ApiClient,
        *,
        now: Callable[[], datetime],
        login: ClientCredentials | None = None,
        aside: Aside = NOWHERE,
        credentials: str = "",
    ) -> None:
        self.credentials = credentials
        self._client = client
        self._now = now
        self._login = login
        self._aside = aside

    async def fetch(
        self,
        queries: Sequence[Query],
        progress: Progress | None = None,
        reuse: Reuse | None = None,
        cleaner: Cleaner | None = None,
        came: Came | None = None,
    ) -> Snapshot:
        """Read every query (each once) into one snapshot.

        Args:
            queries: what to read.
            progress: told of records as they come in.
            reuse: what need not be read again; incidents that were resolved in that snapshot settle with age.
            cleaner: takes private fields out of records before they are put anywhere; by default all there are.
            came: told of records of long lists while the rest is still read.

        Raises:
            SourceError: nothing at all could be read: the credentials were refused, or PagerDuty not reached.
            Interrupted: the client was stopped.
        """
        wanted = list(dict.fromkeys(queries))
        self._ask_for([query for query in wanted if query.kind in KINDS])
        base_url = self._client.base_url
        now = self._now()
        earlier = Earlier(reuse or Reuse(), base_url, wanted, now)
        run = Run(
            self._client,
            self._login or Everything(),
            progress,
            earlier,
            cleaner=cleaner or Cleaner(()),
            aside=self._aside,
            came=came,
        )
        outcomes = await run.collect(wanted)
        failures = [failure for collection, failure in outcomes if failure or not collection.as_of.get("")]
        if failures and all(map(shuts_out, failures)):
            raise _nothing(failures)
        read = (_held_to_the_clock(collection, self._client.behind) for collection, _ in outcomes)
        collections = {collection.query: collection for collection in read}
        leaned = await run.leaned_on(wanted)
        told = digest(collections.values())
        return Snapshot(base_url, in_utc(now), collections, told, leaned, run.read, earlier.notes)

    async def probe(self, kinds: Iterable[str]) -> list[ProbeResult]:
        """Whether each of these kinds can be read, found out with a request or two each.

        Raises:
            SourceError: the credentials were refused, or PagerDuty not reached, so that nothing more was asked.
            Interrupted: the client was stopped.
        """
        wanted = list(dict.fromkeys(KINDS[kind].name for kind in kinds))
        self._ask_for(wanted)
        return await Prober(self._client, self._now(), self._login or Everything()).probe(wanted)

    @property
    def granted(self) -> tuple[str, ...] | None:
        """The scopes that an app's token has, the account left out; None where there is none, or it does not say."""
        return self._login.granted if self._login else None

    def _ask_for(self, kinds: Sequence[str | Query]) -> None:
        """Have the app's token ask for the scopes of these kinds; for all there are, too, if that cannot be told."""
        if self._login:
            rows = [KINDS[kind if isinstance(kind, str) else kind.kind] for kind in kinds]
            self._login.want(scopes_for(kinds), () if all(row.scope for row in rows) else scopes_for(KINDS))

    def stop(self) -> None:
        """Send no more requests; a `fetch` under way raises `Interrupted`."""
        self._client.stop()


_AN_HOUR, _A_DAY = 3600, 86400


def _held_to_the_clock(collection: Collection, behind: float) -> Collection:
    """A list that goes by time is not proven where so much of it may have been made after what is now here."""
    kind = KINDS.get(collection.query.kind)
    if kind is None or kind.window is None or collection.problem:
        return collection
    spared = max(_AN_HOUR, kind.window.ahead_days * _A_DAY)
    return replace(collection, problem=too_early(kind, behind)) if behind > spared else collection


def _nothing(failures: Iterable[Exception | None]) -> SourceError:
    """One error for many that say the same."""
    told = [failure.diagnostics[0] for failure in failures if isinstance(failure, ApiError | Unreachable)]
    return SourceError(*{(each.summary, each.hint): each for each in reversed(told)}.values())


def digest(collections: Iterable[Collection]) -> str:
    """A digest of what was asked and what was said, whatever the order of either."""
    whole = blake2b(digest_size=16)
    for collection in sorted(collections, key=lambda each: each.query.kind + repr(each.query)):
        query = collection.query
        whole.update(msgspec.json.encode([query.kind, query.params, query.enrich, collection.complete]))
        whole.update(b"".join(sorted(digests_of(collection.records, _lacking))))
    return whole.hexdigest()


def _lacking(record: Record) -> bytes:
    """A digest of one record that lacks something."""
    return blake2b(record.digest + msgspec.json.encode(sorted(record.unavailable)), digest_size=16).digest()


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
    on_wait: Callable[[str, float], None] | None = None,
    on_exchange: Callable[[Exchange], None] | None = None,
    allow_plain_http: bool = False,
    token_url: str | None = None,
    concurrency: int = 10,
    patience: float = 300.0,
    now: Callable[[], datetime] = utc_now,
    timing: Timing | None = None,
    aside: Aside = NOWHERE,
) -> AsyncIterator[PagerDuty]:
    """PagerDuty at `base_url`, with a token or an app's client credentials (see `pdsync.transport.ApiClient`).

    Records are put `aside`.

    Raises:
        UsageError: there are no credentials, or the base URL cannot be used.
    """
    check_url(base_url, PagerDuty.name, allow_plain_http=allow_plain_http)
    app = {"client_id": client_id, "client_secret": client_secret, "subdomain": subdomain, "token_url": token_url}
    auth = make_auth(base_url, token=token, **app)
    login = auth if isinstance(auth, ClientCredentials) else None
    key = None if login else token
    async with ApiClient(
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
        hints={401: refused_hint(base_url, key), **_HINTS},
        timing=timing,
    ) as client:
        yield PagerDuty(client, now=now, login=login, credentials=in_words(key), aside=aside)
