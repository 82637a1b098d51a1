"""What `doctor` does: ask both sides for as little as tells whether a plan could be made, and what it takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from pdsync.errors import PdsyncError, SourceError, StateError, TargetError
from pdsync.kinds import KINDS, scopes_for
from pdsync.model import Examination, Existing, KindState
from pdsync.snapshots import queries

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pdsync.model import Catalog, Query
    from pdsync.state.store import StateStore
    from pdsync.targets import Progress, TargetReader

NONE_HERE = "none here"
"""Records of another sort that belong to a kind as well, where the account does not have that sort at all."""

NOT_ASKED = "not asked"
"""Analytics have a daily quota of perhaps ten requests, which no question is worth; the rest where nobody is let in."""


class Probed(Protocol):
    """What a source says of one kind (`pdsync.sources.pagerduty.ProbeResult`)."""

    @property
    def kind(self) -> str:
        """The kind."""
        ...

    @property
    def status(self) -> str:
        """One of readable, forbidden, unavailable, failed."""
        ...

    @property
    def detail(self) -> str:
        """Why not."""
        ...

    @property
    def scope(self) -> str:
        """The OAuth scope that reads it."""
        ...


class ProbingSource(Protocol):
    """A source that can be asked cheaply whether kinds can be read, and with which credentials it is."""

    credentials: str

    @property
    def granted(self) -> tuple[str, ...] | None:
        """The scopes of an OAuth app's token, once something was asked; None where nobody says."""
        ...

    async def probe(self, kinds: Sequence[str]) -> Sequence[Probed]:
        """One small request for each kind.  Raises `SourceError` when nothing at all can be read."""
        ...


_PAGERDUTY, _PORT = "asking PagerDuty", "asking Port"


def _untold(_what: str, _done: int, _total: int | None) -> None:
    """For whom nobody wants to hear of it."""


async def examine(
    catalog: Catalog,
    source: ProbingSource,
    reader: TargetReader,
    store: StateStore,
    *,
    urls: tuple[str, str],
    every_kind: bool = False,
    progress: Progress = _untold,
) -> Examination:
    """Whether each mapped kind can be read, with its enrichments; every other kind as well, if that is wanted.

    `progress` is told who is asked.
    """
    asked = queries(catalog)
    rows = dict.fromkeys(row for query in sorted(asked, key=lambda each: each.kind) for row in _read_for(query))
    others = [name for name in KINDS if every_kind and (name, name) not in rows]
    wanted = sorted({kind for _, kind in rows} | {*others})
    progress(_PAGERDUTY, 0, None)
    probed, pagerduty_error = await _probed(source, [kind for kind in wanted if not KINDS[kind].daily])
    progress(_PAGERDUTY, 1, 1)
    granted = source.granted
    states = [_state(label, kind, probed, granted) for label, kind in rows]
    state, state_error = _kept(store)
    progress(_PORT, 0, None)
    existing, port_error = await _held(reader)
    progress(_PORT, 1, 1)
    scopes = scopes_for(asked)
    return Examination(
        catalog_blueprints=len(catalog.blueprints),
        catalog_rules=len(catalog.rules),
        pagerduty_url=urls[0],
        credentials=source.credentials,
        pagerduty_error=pagerduty_error,
        kinds=tuple(states),
        other_kinds=tuple(_state(name, name, probed, granted) for name in others),
        scopes=scopes,
        granted=granted,
        missing=() if granted is None else tuple(scope for scope in scopes if scope not in granted),
        port_url=urls[1],
        org_id=existing.org_id,
        org_name=existing.org_name,
        blueprints=len(existing.blueprints),
        port_error=port_error,
        state=state,
        state_error=state_error,
    )


async def _held(reader: TargetReader) -> tuple[Existing, str]:
    """The organisation with its blueprints; and what keeps Port from being read."""
    try:
        return await reader.read({}), ""
    except TargetError as e:
        return Existing("", "", {}, {}), _told(e)


def _kept(store: StateStore) -> tuple[str, str]:
    """Where the state is, with what is in it; and what keeps it from being read."""
    try:
        ledger = store.load()
    except StateError as e:
        return store.backend.url, _told(e)
    return f"{store.backend.url}, serial {ledger.serial}, {len(ledger.entities)} entities owned", ""


async def _probed(source: ProbingSource, kinds: Sequence[str]) -> tuple[dict[str, Probed], str]:
    """What the source says of each kind; nothing, and why, where it lets nobody in."""
    try:
        return {each.kind: each for each in await source.probe(kinds)}, ""
    except SourceError as e:
        return {}, _told(e)


def _told(problem: PdsyncError) -> str:
    """What is wrong, and what to do about it."""
    told = problem.diagnostics[0]
    return ": ".join(filter(None, (told.summary, told.detail))) + (f"; {told.hint}" if told.hint else "")


def _read_for(query: Query) -> Iterator[tuple[str, str]]:
    """What is read for a query: a name for it, and the kind."""
    row = KINDS[query.kind]
    yield row.name, row.name
    if row.also:
        yield f"{row.name}: {row.also}", row.also
    names = {name for name, _ in query.enrich}
    for enrichment in row.enrichments:
        if enrichment.name in names:
            yield from ((f"{row.name}: {enrichment.name}", kind) for kind in enrichment.kinds)


def _state(label: str, kind: str, probed: Mapping[str, Probed], granted: Sequence[str] | None) -> KindState:
    if (found := probed.get(kind)) is None:
        scope = KINDS[kind].scope
        if granted is not None and scope and scope not in granted:
            return KindState(label, "forbidden", f"the app was not granted {scope}", scope)
        return KindState(label, NOT_ASKED, "it has a small daily quota" if KINDS[kind].daily else "", scope)
    is_more = kind == KINDS[label.partition(":")[0]].also
    status = NONE_HERE if is_more and found.status == "unavailable" else found.status
    return KindState(label, status, found.detail, found.scope)
