"""What is fetched besides a list and put into its records: `__oncall_user`, `__analytics`, `__email` and the like.

An enrichment that could not be read never stands in a record as null or empty: it is left out and the record says
why, so that nobody takes "could not be read" for "there is none".  Names and shapes are those of Port's own
PagerDuty integration.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import msgspec

from pdsync.errors import Diagnostic, Interrupted, PdsyncError, some_of, warning
from pdsync.kinds import DAYS_PER_MONTH, KINDS
from pdsync.recordfile import KeptRecords, splice
from pdsync.sources.pagerduty.leaps import Ahead, Ground, Leaps
from pdsync.sources.pagerduty.leaps import Rows as AnalyticsRows
from pdsync.sources.pagerduty.listing import Asker, Listing, Tally
from pdsync.sources.pagerduty.moments import Params, in_utc, moment_told
from pdsync.sources.pagerduty.problems import ENOUGH_TROUBLE, is_trouble, not_again
from pdsync.sources.pagerduty.records import FieldReader, Malformed, array, decode, malformed, replace, understood
from pdsync.sources.pagerduty.shelf import Rows, Shelf
from pdsync.sources.pagerduty.tasks import each, together
from pdsync.transport import ApiError, read_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence


_POLICIES_PER_REQUEST = 50
_SERVICES_PER_REQUEST = 500
"""How many ids one analytics request names.  Few requests matter: some accounts have a daily budget of ten."""

_FEWEST_PER_REQUEST = 50
_METRICS = msgspec.json.Decoder(AnalyticsRows)

_AHEAD = timedelta(days=1)
"""By so much somebody else's clock may be fast."""

_AT_ONCE = 16
_FORBIDDEN = 403
_VERDICTS = frozenset({401, 402, 429})
"""Answers that hold for every further request of the same sort."""

_ENOUGH_CLOSED = 3
"""So many 403 without a good answer hold for the rest, too: some records may be closed to us, and others open."""

_ENOUGH_ODD = 3
"""So many answers that are none, without a good one, hold for the rest, too."""

Raws = Mapping[str, bytes]
"""Records as bytes, by id."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What an enrichment has to work with.

    `listing` reads a list, each only once however often it is asked for; `params` are those the records were
    listed with, `argument` is the enrichment's own; `tally` counts records as they are enriched; `shelf` is where what
    is large is put; `given` tells the records for which it had something before; `ground` is what is learnt from parts
    of them for others.  `ahead` says how they are read early.
    """

    asker: Asker
    listing: Callable[[str, Params], Awaitable[Listing]]
    now: datetime
    kind: str
    params: Params
    argument: str
    tally: Tally
    shelf: Shelf
    given: Callable[[], AbstractSet[str]] = frozenset
    ground: Ground = field(default_factory=Ground)
    ahead: Ahead = field(default_factory=Ahead)


@dataclass(slots=True)
class Extra:
    """What was found: JSON bytes by record id, and why there are none for the others.

    Of some, `stale` says why they could not be read again, and when what there is was read.
    """

    values: MutableMapping[str, bytes] = field(default_factory=dict)
    unavailable: dict[str, str] = field(default_factory=dict)
    stale: dict[str, tuple[str, str]] = field(default_factory=dict)

    def of(self, rows: Rows) -> Extra:
        """What there is of it for some records."""
        values = self.values if isinstance(self.values, Rows) else rows.shelf.rows() | self.values
        reasons = {id_: self.unavailable[id_] for id_ in rows if id_ in self.unavailable}
        return Extra(values.only(id_ for id_ in rows if id_ in values), reasons)

    def without(self, ids: Iterable[str], reason: str) -> None:
        """There is nothing for these, and this is why."""
        self.unavailable.update(dict.fromkeys(ids, reason))


Reading = Callable[[Setting, Raws], Awaitable[Extra]]
"""Reads an enrichment of some records."""


@dataclass(frozen=True, slots=True)
class Enricher:
    """How an enrichment is read, under which key of the record its values go (empty: its own name), what it needs.

    `needs` are lists, by kind and parameters, that it will ask for.  `early` reads the values of some records of a list
    while others are still to come: of as many as fill their pages, which takes no request more than reading all of
    them together, and of a very long list a few.  `narrowed` are the parameters of a list that narrow what is asked for
    about its records as well.
    """

    read: Reading
    key: str = ""
    needs: tuple[tuple[str, Params], ...] = ()
    early: Reading | None = None
    narrowed: tuple[str, ...] = ()


async def read_extra(setting: Setting, name: str, raws: Raws) -> Extra:
    """What an enrichment has for these records, or why it has not."""
    enricher = ENRICHERS.get((setting.kind, name))
    if enricher is None:
        return Extra(unavailable=dict.fromkeys(raws, f"there is no {name} for {setting.kind}"))
    return await _read_by(enricher.read, setting, raws)


def asked_with(kind: str, name: str, params: Params) -> Params | None:
    """What narrows the requests for an enrichment of records of a list; None where it is taken from another list."""
    enricher = ENRICHERS.get((kind, name))
    if enricher is None or enricher.needs:
        return None
    return tuple(pair for pair in params if pair[0] in enricher.narrowed)


def can_be_early(kind: str, name: str) -> bool:
    """Whether an enrichment can be read of some records while others are still to come."""
    enricher = ENRICHERS.get((kind, name))
    return enricher is not None and enricher.early is not None


async def read_early(setting: Setting, name: str, raws: Raws) -> Extra:
    """What an enrichment has for some of these records; of the others nothing is said."""
    early = ENRICHERS[setting.kind, name].early
    return await _read_by(early, setting, raws) if early else Extra()


async def _read_by(read: Reading, setting: Setting, raws: Raws) -> Extra:
    if not raws:
        return Extra()
    try:
        return await read(setting, raws)
    except msgspec.DecodeError as failure:
        return Extra(unavailable=dict.fromkeys(raws, _reason(failure)))


def enriched(kind: str, rows: Rows, found: Mapping[str, Extra], cleaned: Callable[[Rows], Rows]) -> KeptRecords:
    """Records with what was found for each enrichment, where all of it is kept already.

    `cleaned` gives the same bytes without what may not be in records of the kind.
    """
    values = {}
    for name, extra in found.items():
        enricher = ENRICHERS.get((kind, name))
        mine = extra.values if isinstance(extra.values, Rows) else rows.shelf.rows() | extra.values
        mine = mine.only(id_ for id_ in rows if id_ in mine)
        if enricher and enricher.key:
            rows |= {id_: replace(rows[id_], enricher.key, value) for id_, value in mine.items()}
        else:
            values[name] = cleaned(mine).block()
    reasons = {id_: why for id_ in rows if (why := _reasons(id_, found))}
    return KeptRecords(cleaned(rows).block(), values, reasons)


def _reasons(id_: str, found: Mapping[str, Extra]) -> dict[str, str]:
    return {name: extra.unavailable[id_] for name, extra in found.items() if id_ in extra.unavailable}


def shortcomings(kind: str, raws: Raws, found: Mapping[str, Extra]) -> tuple[Diagnostic, ...]:
    """What went wrong with each enrichment."""
    return tuple(note for name, extra in found.items() for note in _notes(kind, name, extra, raws))


def needed_lists(kind: str, wanted: Sequence[tuple[str, str]]) -> list[tuple[str, Params]]:
    """The lists, by kind and parameters, that the wanted enrichments will ask for; each once."""
    enrichers = [ENRICHERS[kind, name] for name, _ in wanted if (kind, name) in ENRICHERS]
    return list(dict.fromkeys(need for enricher in enrichers for need in enricher.needs))


def _notes(kind: str, name: str, extra: Extra, raws: Raws) -> Iterable[Diagnostic]:
    # In the order of the records: which answer came first is chance.
    lacking = {id_: extra.unavailable[id_] for id_ in raws if id_ in extra.unavailable}
    for reason, count in sorted(Counter(lacking.values()).items()):
        ids = [id_ for id_, why in lacking.items() if why == reason]
        yield warning(
            "PD330",
            "an enrichment could not be read",
            detail=f"{name} of {count} of {len(raws)} {kind}: {reason}",
            hint="what is mapped from it keeps the value it has in Port",
            **some_of(f"{kind}/{id_}" for id_ in ids),
        )
    older = Counter(why for id_, why in extra.stale.items() if id_ in raws)
    for (reason, read_at), count in sorted(older.items()):
        yield not_again(f"{name} of {count} of {len(raws)} {kind}", reason, read_at)


def _reason(failure: PdsyncError | msgspec.DecodeError) -> str:
    """Why something could not be read, in a line."""
    if isinstance(failure, PdsyncError):
        return f"{failure.diagnostics[0].summary}: {failure.diagnostics[0].detail}"
    return "PagerDuty's answer cannot be understood"


class _Attempts:
    """Requests of one sort: once one was refused for a reason that holds for all, none is sent any more.

    Nor is any after some answers that were none, of which each was asked for twice, or after so many 403 (`closed`), if
    there was no other answer; nor while a server is in trouble for longer than one has patience.
    """

    def __init__(self, closed: int = 1) -> None:
        self.verdict = ""
        self._closed = closed
        self._good = self._odd = self._forbidden = self._troubles = 0

    async def to(self, job: Callable[[], Awaitable[None]]) -> PdsyncError | msgspec.DecodeError | str | None:
        """Do `job`; what stopped it, or None when it went well.

        What holds for all is said of all in the same words, also of those that were under way.
        """
        if self.verdict:
            return self.verdict
        try:
            await job()
        except Interrupted:
            raise
        except (PdsyncError, msgspec.DecodeError) as failure:
            self._odd += isinstance(failure, Malformed | msgspec.DecodeError)
            status = failure.status if isinstance(failure, ApiError) else 0
            self._forbidden += status == _FORBIDDEN
            self._troubles += is_trouble(failure)
            alike = not self._good and (self._odd >= _ENOUGH_ODD or self._forbidden >= self._closed)
            return self._judged(failure, holds=status in _VERDICTS or alike or self._troubles >= ENOUGH_TROUBLE)
        self._good += 1
        self._troubles = 0
        return None

    def _judged(
        self, failure: PdsyncError | msgspec.DecodeError, *, holds: bool
    ) -> PdsyncError | msgspec.DecodeError | str:
        """A failure, or the verdict: that of the first one that `holds` for all."""
        self.verdict = self.verdict or (_reason(failure) if holds else "")
        return self.verdict or failure


def _said(outcome: PdsyncError | msgspec.DecodeError | str) -> str:
    return outcome if isinstance(outcome, str) else _reason(outcome)


# --- on-calls --------------------------------------------------------------------------------------------------

_EXPANDED: Params = (("include[]", "users"),)
_ON_CALLS = (("oncalls", _EXPANDED),)


async def _on_calls(policy: str, setting: Setting, raws: Raws) -> Extra:
    """Who is on call now, by escalation policy; `policy` is where a record names its own.

    One list for the whole account serves services and policies; where that is too long, lists by policy do.
    """
    policies = _policies(policy, raws)
    whole = await setting.listing("oncalls", _EXPANDED)
    if whole.problem is None:
        return _handed_out([(whole, set(policies))], policies)
    if whole.failure is not None:
        return Extra(unavailable=dict.fromkeys(raws, whole.problem.detail))
    blocks = _blocks(sorted(policies), _POLICIES_PER_REQUEST)
    lists = await together(_on_calls_of(setting, block) for block in blocks)
    return _handed_out(list(zip(lists, map(set, blocks), strict=True)), policies)


async def _on_calls_of(setting: Setting, policies: Sequence[str]) -> Listing:
    return await setting.listing("oncalls", _EXPANDED + tuple(("escalation_policy_ids[]", id_) for id_ in policies))


def _policies(path: str, raws: Raws) -> dict[str, list[str]]:
    """Record ids by the escalation policy that they name (empty: none)."""
    reader = FieldReader([path])
    policies: dict[str, list[str]] = defaultdict(list)
    for id_, raw in raws.items():
        policies[reader.read(raw)[0] or ""].append(id_)
    return policies


def _handed_out(lists: Sequence[tuple[Listing, set[str]]], policies: Mapping[str, list[str]]) -> Extra:
    """Each record gets the rows of its policy; those of a list with a problem get none at all."""
    reader = FieldReader(["escalation_policy.id"])
    extra = Extra()
    for listing, about in lists:
        rows: dict[str, list[bytes]] = defaultdict(list)
        for raw in listing.records.values():
            rows[reader.read(raw)[0]].append(raw)
        for policy in about:
            if listing.problem:
                extra.without(policies[policy], listing.problem.detail)
            else:
                extra.values.update(dict.fromkeys(policies[policy], array(rows[policy])))
    return extra


def _blocks(items: Sequence[str], size: int) -> list[Sequence[str]]:
    return [items[start : start + size] for start in range(0, len(items), size)]


# --- e-mail addresses ------------------------------------------------------------------------------------------


class _Users(msgspec.Struct):
    users: list[msgspec.Raw] | None = None


async def _emails(setting: Setting, raws: Raws) -> Extra:
    """Each user of a schedule with their e-mail address; a user who is no longer there gets none."""
    listing = await setting.listing("users", ())
    reader = FieldReader(["id", "email"])
    told = dict(map(reader.read, listing.records.values()))
    emails = {id_: msgspec.json.encode(email) for id_, email in told.items() if email is not None}
    decoder, names = msgspec.json.Decoder(_Users), FieldReader(["id"])
    extra = Extra()
    for id_, raw in raws.items():
        users = [(names.read(bytes(user))[0], bytes(user)) for user in decoder.decode(raw).users or ()]
        if listing.problem and any(user not in emails for user, _ in users):
            extra.without([id_], listing.problem.detail)
        elif silent := [user for user, _ in users if user in told and user not in emails]:
            extra.without([id_], f"PagerDuty lists user {silent[0]} without an address")
        elif users:
            extra.values[id_] = array(
                splice(user, {"__email": emails[name]} if name in emails else {}) for name, user in users
            )
    return extra


# --- custom fields ---------------------------------------------------------------------------------------------


_OF_ONE = re.compile(r"/[^/ ]+(/custom_fields/values)")
"""Where a reason names the record: what holds for many is said once, beside their names."""

_NONE = b"[]"
_LIST = msgspec.json.Decoder(list[msgspec.Struct])


class _CustomFields(msgspec.Struct):
    custom_fields: msgspec.Raw


async def _custom_fields(setting: Setting, raws: Raws) -> Extra:
    """The custom fields of every record, each with a request of its own."""
    extra, attempts, given = Extra(setting.shelf.rows()), _Attempts(_ENOUGH_CLOSED), setting.given()
    decoder = msgspec.json.Decoder(_CustomFields)

    async def answer(id_: str) -> bytes:
        path = f"/{setting.kind}/{quote(id_, safe='')}/custom_fields/values"
        reply = await setting.asker.send("GET", path)
        found = bytes(read_json(decoder.decode, reply.content).custom_fields)
        return found if decode(_LIST, found) else _NONE

    async def fetch(id_: str) -> None:
        found = await understood(partial(answer, id_))
        if found == _NONE and id_ in given:
            found = await understood(partial(answer, id_))  # that all of them are gone is not believed at once
        extra.values[id_] = found

    async def work(id_: str) -> None:
        if (outcome := await attempts.to(partial(fetch, id_))) is not None:
            extra.without([id_], _OF_ONE.sub("/{id}\\1", _said(outcome)))
        setting.tally.add(1)

    setting.tally.expect(len(raws))
    await each(raws, work, _AT_ONCE)
    return extra


# --- analytics -------------------------------------------------------------------------------------------------


async def _service_analytics(setting: Setting, raws: Raws) -> Extra:
    """One row of metrics for each service over the last months; null for a service that had no incidents."""
    extra, attempts = Extra(setting.shelf.rows()), _Attempts()
    since = setting.now - timedelta(days=DAYS_PER_MONTH * int(setting.argument))
    window = {"created_at_start": in_utc(since), "created_at_end": in_utc(setting.now)}
    reader, kind = FieldReader(["service_id"]), KINDS["analytics.metrics.incidents.services"]

    async def answer(ids: Sequence[str]) -> dict[str, bytes]:
        body = {"filters": {"service_ids": list(ids), **window}}
        reply = await setting.asker.send(kind.method, kind.path, body=body)
        rows = {reader.read(bytes(row))[0]: bytes(row) for row in read_json(_METRICS.decode, reply.content).data}
        if None in rows:
            raise malformed(kind, "a row does not say which service it is of")
        return rows

    async def fetch(ids: Sequence[str]) -> None:
        ask = partial(understood, partial(answer, ids))
        rows = await ask() or await ask()  # that no service had an incident is not believed at once
        extra.values.update({id_: rows.get(id_, b"null") for id_ in ids})

    async def work(ids: Sequence[str]) -> None:
        outcome = await attempts.to(partial(fetch, ids))
        if isinstance(outcome, ApiError) and outcome.status in {400, 413} and len(ids) > _FEWEST_PER_REQUEST:
            half = len(ids) // 2
            await together([work(ids[:half]), work(ids[half:])])
        elif outcome is not None:
            extra.without(ids, _said(outcome))

    await together(work(block) for block in _blocks(list(raws), _SERVICES_PER_REQUEST))
    return extra


async def _incident_analytics(setting: Setting, raws: Raws) -> Extra:
    """The analytics row of each incident; null where PagerDuty has none (yet: they come a day late)."""

    async def all_of(leaps: Leaps) -> set[str]:
        await leaps.read()
        return set()

    return await _analytics_rows(setting, raws, all_of)


async def _full_answers(setting: Setting, raws: Raws) -> Extra:
    """The same of as many as fill their answers: the others may share one with those to come."""
    return await _analytics_rows(setting, raws, lambda leaps: leaps.read_full(setting.ahead))


async def _analytics_rows(setting: Setting, raws: Raws, read: Callable[[Leaps], Awaitable[set[str]]]) -> Extra:
    """What `read` gives, which says of whom nothing is known yet."""
    extra, attempts = Extra(setting.shelf.rows()), _Attempts()
    told = ((id_, moment_told(at)) for id_, at in _made(raws, "created_at"))
    made = {id_: at for id_, at in told if at and at < setting.now + _AHEAD}
    filters: dict[str, Any] = {}
    for name, id_ in asked_with(setting.kind, "__analytics", setting.params) or ():
        filters.setdefault(name.removesuffix("[]"), []).append(id_)
    leaps = Leaps(
        setting.asker,
        made,
        filters,
        now=setting.now,
        found=extra.values,
        tally=setting.tally,
        ground=setting.ground,
    )
    left: set[str] = set()

    async def note_left() -> None:
        left.update(await read(leaps))

    outcome = await attempts.to(note_left)
    missing = [id_ for id_ in made if id_ not in extra.values and id_ not in left]
    if outcome is not None:
        extra.without(missing, _said(outcome))
    else:
        extra.values.update(dict.fromkeys(missing, b"null"))
    extra.without((id_ for id_ in raws if id_ not in made), "it does not say when it was made")
    return extra


def _made(raws: Raws, name: str) -> Iterator[tuple[str, Any]]:
    """When each record was made: most of them were read with their ids, which is told once."""
    reader = FieldReader([name])
    if not isinstance(raws, Rows):
        return ((id_, reader.read(raw)[0]) for id_, raw in raws.items())
    told, get = raws.shelf.moments.pop, raws.shelf.get
    return ((id_, told(place, None) or reader.read(get(place))[0]) for id_, place in raws.places.items())


ENRICHERS: Mapping[tuple[str, str], Enricher] = MappingProxyType(
    {
        ("services", "__analytics"): Enricher(_service_analytics),
        ("services", "__custom_fields"): Enricher(_custom_fields),
        ("services", "__oncall_user"): Enricher(partial(_on_calls, "escalation_policy.id"), needs=_ON_CALLS),
        ("incidents", "__analytics"): Enricher(
            _incident_analytics, early=_full_answers, narrowed=("service_ids[]", "team_ids[]")
        ),
        ("incidents", "__custom_fields"): Enricher(_custom_fields),
        ("schedules", "__email"): Enricher(_emails, key="users", needs=(("users", ()),)),
        ("schedules_v3", "__email"): Enricher(_emails, key="users", needs=(("users", ()),)),
        ("escalation_policies", "__oncall_users"): Enricher(partial(_on_calls, "id"), needs=_ON_CALLS),
    }
)
"""How each enrichment of each kind is read."""
