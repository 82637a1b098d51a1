"""What of a longer list belongs to a shorter one, and in which form: records as bytes."""

from __future__ import annotations

from collections import defaultdict
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from pdsync.kinds import ADDED, INCLUDES, KINDS, PERHAPS, SAME_ROWS
from pdsync.sources.pagerduty.moments import moment_told
from pdsync.sources.pagerduty.records import FieldReader, array
from pdsync.sources.pagerduty.shares import INCLUDE, bounds_of, is_of_first, local_filters, near_filters

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from pdsync.model import Query
    from pdsync.sources.pagerduty.listing import ListKey

    Test = Callable[[bytes], bool]
    Change = Callable[[bytes], bytes]

_Object = dict[str, msgspec.Raw]
_REFERENCE = ("id", "type", "summary", "self", "html_url")
"""What a reference has (PagerDuty REST API, References)."""

_SUFFIX = "_reference"


def picker(key: ListKey, whole: ListKey, now: datetime) -> Test:
    """Whether a record of the whole list belongs to this one."""
    tests = [*_by_local(key, whole), *_by_near(key, whole), *_by_time(key, whole, now)]
    return tests[0] if len(tests) == 1 else lambda raw: all(test(raw) for test in tests)


def own_test(query: Query, now: datetime) -> Test | None:
    """Whether a record belongs to a list by what it says; None where there is a filter that it tells nothing of.

    One that says something odd may belong to any.
    """
    key, kind = (query.kind, query.params), KINDS[query.kind]
    bounds = {kind.window.since, kind.window.until, *(kind.window.everything or ())[:1]} if kind.window else set()
    told = {*local_filters(kind.name), *near_filters(kind.name), *bounds}
    others = {name for name, _ in query.params if name.removesuffix("[]") not in SAME_ROWS} - told
    if others or is_of_first(key) or (bounds and bounds_of(key, now) is None):
        return None
    nothing = (kind.name, ())
    tests = [*_by_local(key, nothing), *_by_near(key, nothing), *_within(key, now)]

    def belongs(raw: bytes) -> bool:
        try:
            return all(test(raw) for test in tests)
        except msgspec.MsgspecError:
            return True

    return belongs


def _given(key: ListKey, name: str) -> frozenset[str]:
    return frozenset(value for wire, value in key[1] if wire == name)


def _narrower(key: ListKey, whole: ListKey, filters: dict[str, str]) -> dict[str, frozenset[str]]:
    """The values that a list is about, by field, where the whole is about others, too."""
    wishes = {field: (_given(key, name), _given(whole, name)) for name, field in filters.items()}
    return {field: mine for field, (mine, its) in wishes.items() if mine and mine != its}


def _by_local(key: ListKey, whole: ListKey) -> Iterator[Test]:
    if wishes := _narrower(key, whole, local_filters(key[0])):
        reader, wanted = FieldReader(wishes), [*wishes.values()]
        yield lambda raw: all(value in values for value, values in zip(reader.read(raw), wanted, strict=True))


def _by_near(key: ListKey, whole: ListKey) -> Iterator[Test]:
    for field, values in _narrower(key, whole, near_filters(key[0])).items():
        yield partial(_has_any, field.split("."), values)


def _has_any(steps: list[str], values: frozenset[str], raw: bytes) -> bool:
    return not values.isdisjoint(_leaves(steps, raw))


def _leaves(steps: list[str], raw: bytes | msgspec.Raw) -> Iterator[str]:
    """The texts at the end of a path, `[]` meaning each item of a list."""
    if not steps:
        value: Any = msgspec.json.decode(raw)
        yield str(value)
        return
    found = (_parts(raw) or {}).get(steps[0].removesuffix("[]"), msgspec.Raw(b"null"))
    if steps[0].endswith("[]"):
        for item in msgspec.json.decode(found, type=list[msgspec.Raw] | None) or ():
            yield from _leaves(steps[1:], item)
    else:
        yield from _leaves(steps[1:], found)


def _by_time(key: ListKey, whole: ListKey, now: datetime) -> Iterator[Test]:
    if bounds_of(key, now) != bounds_of(whole, now):
        yield from _within(key, now)


def _within(key: ListKey, now: datetime) -> Iterator[Test]:
    window, bounds = KINDS[key[0]].window, bounds_of(key, now)
    if window and bounds:
        since, until = (end.replace(microsecond=0) for end in bounds)
        if window.period:
            yield _touching(_period_reader(window.period), since, until)
        else:
            reader = FieldReader([window.field])
            yield lambda raw: (at := moment_told(reader.read(raw)[0])) is not None and since <= at < until


def _period_reader(names: tuple[str, str]) -> Callable[[bytes], Sequence[datetime | None]]:
    """Reads from when to when a record is; None where an end is open."""
    reader = FieldReader(names)
    return lambda raw: list(map(moment_told, reader.read(raw)))


def _touching(period: Callable[[bytes], Sequence[datetime | None]], since: datetime, until: datetime) -> Test:
    def touches(raw: bytes) -> bool:
        begin, end = period(raw)
        return (begin is None or begin <= until) and (end is None or end > since)

    return touches


def chooser(key: ListKey, whole: ListKey, now: datetime) -> Callable[[Mapping[str, bytes]], Iterable[str]]:
    """Which of the records that belong to a list by themselves do beside each other: all, or the first of those alike.

    Where several may be the first, none is: so there are fewer than PagerDuty counts, which knows better.  Nothing
    begins before the time that the list is of.
    """
    window, bounds = KINDS[key[0]].window, bounds_of(key, now)
    if not (window and window.first and window.period and bounds and is_of_first(key)) or is_of_first(whole):
        return iter
    read, period, since = FieldReader(window.first[1]).read, _period_reader(window.period), bounds.since

    def choose(records: Mapping[str, bytes]) -> Iterator[str]:
        alike: dict[tuple[str, ...], list[tuple[datetime, str]]] = defaultdict(list)
        for id_, raw in records.items():
            alike[tuple(map(str, read(raw)))].append((max(period(raw)[0] or since, since), id_))
        for (begin, id_), *others in map(sorted, alike.values()):
            if not others or begin < others[0][0]:
                yield id_

    return choose


def beyond(key: ListKey, now: datetime) -> tuple[Test, ...]:
    """Whether a record begins before the time of a list, and whether it ends after: there it may be told otherwise."""
    window, bounds = KINDS[key[0]].window, bounds_of(key, now)
    if not (window and window.period and bounds):
        return ()
    period, (since, until) = _period_reader(window.period), bounds

    def before(raw: bytes) -> bool:
        begin, _ = period(raw)
        return begin is not None and begin < since

    def after(raw: bytes) -> bool:
        _, end = period(raw)
        return end is not None and end > until

    return before, after


# --- includes --------------------------------------------------------------------------------------------------


def cutter(key: ListKey, whole: ListKey) -> Change | None:
    """Makes a record of the whole list into what this one has, which includes less; None when it includes the same."""
    more = _given(whole, INCLUDE) - _given(key, INCLUDE)
    if not more:
        return None
    cuts: dict[str, Any] = {}
    for value in sorted(more):
        steps = INCLUDES[key[0]][value].split(".")
        inner = cuts
        for step in steps[:-1]:
            inner = inner.setdefault(step, {})
        inner[steps[-1]] = None
    return partial(_cut, cuts)


def _cut(cuts: dict[str, Any], raw: bytes) -> bytes:
    """The object with what is at the end of some paths cut: fields taken out, objects made references."""
    parts = _parts(raw)
    if parts is None:
        return raw
    for step, below in cuts.items():
        name = step.rstrip(f"[]{ADDED}{PERHAPS}")
        if step.endswith((ADDED, PERHAPS)):
            parts.pop(name, None)
        elif name in parts:
            change = partial(_cut, below) if below else _referred
            one = partial(_each, change) if step.endswith("[]") else change
            parts[name] = msgspec.Raw(one(bytes(parts[name])))
    return msgspec.json.encode(parts)


def _each(change: Change, raw: bytes) -> bytes:
    items = msgspec.json.decode(raw, type=list[msgspec.Raw] | None)
    return raw if items is None else array(change(bytes(item)) for item in items)


def _referred(raw: bytes) -> bytes:
    """A reference to an object."""
    parts = _parts(raw)
    type_: Any = msgspec.json.decode(parts["type"]) if parts and "type" in parts else None
    if parts is None or not isinstance(type_, str) or type_.endswith(_SUFFIX):
        return raw
    parts["type"] = msgspec.Raw(msgspec.json.encode(type_ + _SUFFIX))
    return msgspec.json.encode({name: parts[name] for name in _REFERENCE if name in parts})


def _parts(raw: bytes | msgspec.Raw) -> _Object | None:
    return msgspec.json.decode(raw, type=_Object | None)
