"""Catalog and snapshot -> the entities that shall be.

The same rules and the same snapshot give the same `DesiredEntities`, whatever the number of workers; nothing is read
but the records, and what is found for search queries.  Nothing that goes wrong in an expression stops the work or
becomes a silent null:

    a field that raises, cannot be known or has the wrong type    the field is `unknown`: it keeps Port's value
    items, selector, identifier or blueprint that are unusable    the record is in `failed`
    a rule that gives two entities one key, or several rules
    that give one entity different values of a field              the key is in `held`, the records in `failed`

Each is a Diagnostic that names records and the place in the catalog.  jq itself runs in worker processes with bounds
on time and memory (`pdsync.jq`).  Numbers are jq's: integers beyond 2^53 lose digits unless `tostring` takes them
first, and 1.0 is 1.

What a record gave without a word of warning may be remembered in a `Memo`: that changes how long it takes, never what
comes out.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING

import orjson

from pdsync import __version__
from pdsync.jq.ahead import FEW, Ahead
from pdsync.jq.evaluate import RULE, GivenUp, answers, blocked, faults_of, source_of
from pdsync.jq.joining import Claims, problems_of
from pdsync.jq.pool import JqLimits, Pool, default_workers
from pdsync.jq.problems import NOT_IN_SNAPSHOT, Problems
from pdsync.jq.program import BLUEPRINT, IDENTIFIER, ITEMS, SELECTOR, layout_of
from pdsync.jq.reading import Reader
from pdsync.jq.searched import Waiting, settle
from pdsync.jq.tracing import RecordTrace, RowTrace, SlotTrace, trace
from pdsync.memo import NoRecall, Recall, fingerprint, record_digests
from pdsync.model import DesiredEntities, DesiredEntity, EntityKey, Expression, RuleCount, ids_of, unpack
from pdsync.searching import unanswered
from pdsync.sharing import share

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from pdsync.errors import Diagnostic
    from pdsync.jq.evaluate import Fault
    from pdsync.jq.program import Layout
    from pdsync.jq.reading import Reading
    from pdsync.memo import Memo
    from pdsync.model import Json, LedgerEntry, MappingRule, Query, Record, SearchQuery, Snapshot
    from pdsync.searching import Lookup, Pending

    Progress = Callable[[str, int, int | None], None]

__all__ = [
    "JqLimits",
    "RecordTrace",
    "RowTrace",
    "SlotTrace",
    "all_remembered",
    "evaluate_record",
    "expression_digest",
    "jq_version",
    "map_entities",
    "mapping_ahead",
]

_PROGRESS_EVERY = 500


def map_entities(
    rules: Sequence[MappingRule],
    snapshot: Snapshot,
    *,
    workers: int | None = None,
    limits: JqLimits | None = None,
    progress: Progress | None = None,
    memo: Memo | None = None,
    like: Mapping[EntityKey, LedgerEntry] = MappingProxyType({}),
    lookup: Lookup = unanswered,
) -> DesiredEntities:
    """Evaluate every rule on the records of its query.

    `workers` are processes (default: as many as the records are worth, at most four); `progress` is called with the
    rule's id, records done and records in all.  Records that `memo` knows are not evaluated (no process is started when
    it knows all), and what can be remembered of the others is noted there.  A text that `like` has at the same place is
    held once for both.  `lookup` answers the search queries of all rules, in two rounds at most.  Raises
    `MappingError` when jq cannot be run at all.
    """
    limits = limits or JqLimits()
    works = _works(rules, snapshot, limits, memo)
    claims = Claims()
    outcomes: list[_RuleOutcome] = []
    with Pool(workers or default_workers(sum(work.unknown for work in works)), limits) as pool:
        for work in works:
            outcome = _map_rule(pool, work, progress or _silent, like)
            for entity in outcome.entities:
                claims.add(entity)
            outcome.entities.clear()
            outcomes.append(outcome)
    _settle(rules, outcomes, claims, lookup)
    return _result(rules, outcomes, claims)


def mapping_ahead(
    rules: Sequence[MappingRule],
    memo: Memo,
    *,
    limits: JqLimits | None = None,
    workers: int | None = None,
    few: int = FEW,
) -> Ahead:
    """What maps records by these rules while others are still read, for `map_entities` to find them in the memo.

    Left out are rules of which anything is remembered: there, hardly any record is new.  See `Ahead` for the rest.
    """
    limits = limits or JqLimits()
    named = {_fingerprint(rule, limits): rule for rule in rules}
    return Ahead({name: rule for name, rule in named.items() if not memo.knows(name)}, memo, limits, workers, few)


def all_remembered(rules: Sequence[MappingRule], known: Collection[bytes]) -> bool:
    """Whether something is remembered of each rule; `known` are the fingerprints of those of which anything is."""
    limits = JqLimits()
    return all(_fingerprint(rule, limits) in known for rule in rules)


def _settle(rules: Sequence[MappingRule], outcomes: Sequence[_RuleOutcome], claims: Claims, lookup: Lookup) -> None:
    """Have the queries answered of what waits for that, and join what comes of it to the rest."""
    waits = [(Waiting(rule, outcome.pending), outcome) for rule, outcome in zip(rules, outcomes, strict=True)]
    waits = [(waiting, outcome) for waiting, outcome in waits if waiting.pending]
    if waits:
        settle([waiting for waiting, _ in waits], claims.joined()[0], lookup)
    for waiting, outcome in waits:
        for entity in waiting.entities:
            claims.add(entity)
        outcome.mapped += len(waiting.entities)
        outcome.diagnostics += waiting.problems.diagnostics()
        for source, reason in waiting.failed.items():
            outcome.failed.setdefault(source, reason)


def evaluate_record(rule: MappingRule, record: Record, *, limits: JqLimits | None = None) -> RecordTrace:
    """What every expression of a rule gives for one record, and the entities that result."""
    with Pool(1, limits or JqLimits()) as pool:
        return trace(pool, layout_of(rule), record)


@cache
def jq_version() -> str:
    """The version of jq, as the package that brings libjq names itself: part of the fingerprint of a mapping."""
    from importlib.metadata import version

    return f"jq.py {version('jq')}"


def expression_digest(rule: MappingRule) -> dict[str, str]:
    """A digest of the expression of each mapped path, and of `selector`, `identifier`, `blueprint` and `items`.

    Equal texts have equal digests, in every run and on every system.
    """
    expressions: dict[str, Json] = {SELECTOR: rule.selector, IDENTIFIER: rule.identifier, BLUEPRINT: rule.blueprint}
    digests = {path: _digest(_text(value)) for path, value in {**expressions, **rule.fields}.items()}
    if rule.items:
        digests[ITEMS] = _digest([rule.items.text, rule.items_name, rule.items_strip])
    return digests


class _RuleOutcome:
    """What a rule gave; built up record by record."""

    def __init__(self, count: int) -> None:
        self.records = count
        self.selected = 0
        self.mapped = 0
        self.entities: list[DesiredEntity] = []
        self.pending: list[Pending] = []
        self.failed: dict[str, str] = {}
        self.diagnostics: tuple[Diagnostic, ...] = ()

    @property
    def count(self) -> RuleCount:
        return RuleCount(self.records, self.selected, self.mapped)


class _Work:
    """One rule, its records (None: the snapshot does not have them), and what is remembered of each."""

    def __init__(self, rule: MappingRule, records: Sequence[Record] | None, recall: NoRecall) -> None:
        self.rule = rule
        self.records = records or ()
        self.missing = records is None
        self.recall = recall

    @property
    def unknown(self) -> int:
        """Of how many records nothing is remembered."""
        return self.recall.unknown


def _works(rules: Sequence[MappingRule], snapshot: Snapshot, limits: JqLimits, memo: Memo | None) -> list[_Work]:
    """Each rule with its records; what mapping reads of a record is digested once for all rules."""
    digests: dict[Query, list[bytes]] = {}
    works = []
    for rule in rules:
        records = _records(rule, snapshot)
        recall = NoRecall(len(records or ()))
        if memo is not None and records:
            if rule.query not in digests:
                digests[rule.query] = record_digests(records)
            recall = Recall(memo, _fingerprint(rule, limits), digests[rule.query])
        works.append(_Work(rule, records, recall))
    return works


def _fingerprint(rule: MappingRule, limits: JqLimits) -> bytes:
    """A digest of all that decides, beside a record, what a rule makes of it; the order of the paths is part of it."""
    bounds = [limits.seconds, limits.memory]
    return fingerprint(__version__, jq_version(), bounds, list(expression_digest(rule).items()))


def _map_rule(pool: Pool, work: _Work, progress: Progress, like: Mapping[EntityKey, LedgerEntry]) -> _RuleOutcome:
    """Map one rule; from the start again without an expression that had to be given up."""
    if not work.records:
        return _nothing(work.rule, missing=work.missing)
    layout = layout_of(work.rule)
    faults = faults_of(pool, layout) if work.unknown else {}
    while True:
        try:
            return _attempt(pool, layout, faults, work, progress, like=like)
        except GivenUp as given_up:
            faults[given_up.name] = given_up.fault
        except _Unusable:
            work.recall.forget()
            faults = faults_of(pool, layout)


class _Unusable(Exception):
    """What was remembered is not what this rule gives: a memo that is sound as a file, but not ours."""


def _attempt(
    pool: Pool,
    layout: Layout,
    faults: Mapping[str, Fault],
    work: _Work,
    progress: Progress,
    *,
    like: Mapping[EntityKey, LedgerEntry],
) -> _RuleOutcome:
    problems = Problems()
    reader = Reader(layout, faults, problems)
    count = len(work.records)
    outcome = _RuleOutcome(count)
    if blocked(faults):
        name = next(name for name in (ITEMS, SELECTOR, RULE) if name in faults)
        reason = f"{name}: {faults[name].reason}"
        outcome.failed = {source_of(layout, id_): reason for id_ in ids_of(work.records)}
    else:
        # What is new will be asked for: beside the bytes that it is read from it would take twice the room.
        recalled = reader.recalled if like else reader.recalled_whole
        readings = _readings(pool, reader, layout, faults, work, recalled=recalled)
        for done, (id_, reading) in enumerate(readings, start=1):
            outcome.selected += reading.selected
            outcome.entities += reading.entities
            outcome.pending += reading.pending
            for entity in reading.entities:
                if (known := like.get(entity.key)) is None:
                    unpack(entity)
                elif entity.packed is None:
                    share(entity.fields, known.fields)
            if reading.failure:
                outcome.failed[source_of(layout, id_)] = reading.failure
            if done % _PROGRESS_EVERY == 0:
                progress(layout.rule.id, done, count)
    progress(layout.rule.id, count, count)
    outcome.mapped = len(outcome.entities)
    outcome.diagnostics = problems.diagnostics()
    return outcome


def _readings(
    pool: Pool,
    reader: Reader,
    layout: Layout,
    faults: Mapping[str, Fault],
    work: _Work,
    *,
    recalled: Callable[[str, bytes], Reading],
) -> Iterator[tuple[str, Reading]]:
    """The id of every record with what it gives, in order: recalled, or found out and noted.

    Raises `GivenUp`, `_Unusable`.
    """
    # What is remembered is what the whole rule gave: of no use once an expression is left out.
    recall = NoRecall(len(work.records)) if faults else work.recall
    fresh = answers(pool, layout, faults, _unknown(work.records, recall))
    for position, id_ in enumerate(ids_of(work.records)):
        if recall.knows(position):
            try:
                reading = recalled(id_, recall.outcome(position))
            except (ValueError, TypeError, LookupError) as problem:
                raise _Unusable from problem
            yield id_, reading
            continue
        answered = next(fresh)
        reading = reader.read(answered.record, answered.answer)
        if answered.freely and reading.silent:
            recall.note(position, reading.rows)
        yield id_, reading


def _unknown(records: Sequence[Record], recall: NoRecall) -> Iterator[Record]:
    """The records of which nothing is remembered."""
    return (records[position] for position in range(len(records)) if not recall.knows(position))


def _result(rules: Sequence[MappingRule], outcomes: list[_RuleOutcome], claims: Claims) -> DesiredEntities:
    entities, clashes = claims.joined()
    # Several mappings may fail on one record, each for a reason of its own.
    failed: defaultdict[str, dict[str, None]] = defaultdict(dict)
    for outcome in outcomes:
        for record, reason in outcome.failed.items():
            failed[record][reason] = None
    for key, clash in clashes.items():
        for entity in clash.claims:
            if entity.source not in failed:
                failed[entity.source][f"it claims {key}, as others do"] = None
    diagnostics = [diagnostic for outcome in outcomes for diagnostic in outcome.diagnostics]
    return DesiredEntities(
        entities={key: entities[key] for key in sorted(entities)},
        held={key: clash.reason for key, clash in clashes.items()},
        failed={record: "; ".join(reasons) for record, reasons in sorted(failed.items())},
        diagnostics=(*diagnostics, *problems_of(rules, clashes)),
        counts={rule.id: outcome.count for rule, outcome in zip(rules, outcomes, strict=True)},
    )


def _nothing(rule: MappingRule, *, missing: bool) -> _RuleOutcome:
    outcome = _RuleOutcome(0)
    if missing:
        problems = Problems()
        problems.add(NOT_IN_SNAPSHOT, rule.id, f"it has no collection for {rule.query}", rule.origin)
        outcome.diagnostics = problems.diagnostics()
    return outcome


def _records(rule: MappingRule, snapshot: Snapshot) -> Sequence[Record] | None:
    collection = snapshot.collections.get(rule.query)
    return None if collection is None else collection.records


def _text(value: Expression | SearchQuery | Json) -> Json:
    if isinstance(value, Expression):
        return value.text
    rules = getattr(value, "rules", value)
    if isinstance(rules, dict):
        return {name: _text(part) for name, part in rules.items()}
    return [_text(part) for part in rules] if isinstance(rules, list | tuple) else rules


def _digest(value: Json) -> str:
    return hashlib.blake2b(orjson.dumps(value, option=orjson.OPT_SORT_KEYS), digest_size=16).hexdigest()


def _silent(_what: str, _done: int, _total: int | None) -> None:
    return
