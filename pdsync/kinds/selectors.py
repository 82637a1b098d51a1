"""Reading a mapping's selector: the query that it asks for, and everything that is wrong with it.

Moments in a query are either absolute (ISO 8601) or relative to the fetch: `-90d`, `+12h`, `now`.  Whoever fetches
resolves them, so that a query means the same tomorrow.  Parameters about the list of parents of a nested kind stand
in the query under `parents.` and their name.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pdsync.errors import Severity
from pdsync.kinds.guesses import hint_for
from pdsync.kinds.moments import is_relative, moment, window_end
from pdsync.kinds.names import KINDS, suggest
from pdsync.kinds.shape import PARENT_PREFIX, Param
from pdsync.kinds.values import READERS, Finding, name_of, read_count
from pdsync.model import Json, Query

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pdsync.kinds.shape import Kind

_PARAMS = "apiQueryParams"
_ENVIRONMENT = "exportEnvVariables"
_PARENTS = "parents"

_Pairs = tuple[tuple[str, str], ...]
_Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class SelectorProblem:
    """Something about a selector: `path` leads from the selector to the key or value; the rest as in `Diagnostic`.

    An empty path is about the kind itself.
    """

    path: _Path
    code: str
    summary: str
    detail: str = ""
    hint: str = ""
    severity: Severity = Severity.ERROR


def read_selector(
    kind: str, selector: Mapping[str, Json], now: datetime | None = None
) -> tuple[Query | None, tuple[SelectorProblem, ...]]:
    """The query that a mapping's selector asks for, and everything that is wrong with the selector.

    What is wrong only at some times is said when it is known at what time it will be asked (`now`).

    `kind` may be spelt by path (`audit/records`); the query has its proper name.  `selector` is the selector object
    without its `query`.  The query is None only when a problem is an error.  Equal wishes give equal queries, whatever
    their order and spelling.
    """
    row = KINDS.get(kind)
    if row is None:
        hint = hint_for(kind)
        return None, (SelectorProblem((), "PD140", "unknown kind", f'"{kind}" is not a kind of PagerDuty', hint),)
    problems = [*_check_stage(row), *_check_names(row, selector, {option.name for option in row.options})]
    params, found = _read_list(row, selector, now)
    problems += found
    options, found = _read_options(row, selector)
    problems += found
    if any(problem.severity is Severity.ERROR for problem in problems):
        return None, tuple(problems)
    return Query(row.name, params, _wanted(row, options)), tuple(problems)


def _read_list(row: Kind, selector: Mapping[str, Json], now: datetime | None) -> tuple[_Pairs, list[SelectorProblem]]:
    """The parameters of a list and, if it is nested, of the list of its parents."""
    written = selector.get(_PARAMS)
    params, problems = _read_params(row, written)
    problems += _check_required(row, written)
    problems += _ignored_bounds(row, params)
    problems += _empty_stretch(row, params, written, now)
    problems += _since_ahead(row, params, written, now)
    above = selector.get(_PARENTS)
    if (parent := _parent_of(row)) is None or above is None:
        return params, problems
    if not isinstance(above, dict):
        return params, [*problems, _problem((_PARENTS,), Finding((), f"expected an object, not {name_of(above)}"))]
    more, found = _read_list(parent, above, now)
    found += _check_names(parent, above, set())
    problems += [replace(each, path=(_PARENTS, *each.path)) for each in found]
    return params + tuple((PARENT_PREFIX + name, value) for name, value in more), problems


def _parent_of(row: Kind) -> Kind | None:
    """The one kind that a nested kind is listed under, if it is one."""
    kinds = {parent.kind for parent in row.parents if parent.kind}
    return KINDS[kinds.pop()] if len(kinds) == 1 else None


def _check_stage(row: Kind) -> Iterator[SelectorProblem]:
    words = {"deprecated": "PagerDuty has deprecated it", "end_of_life": "PagerDuty has announced its end"}
    if row.stage in words:
        hint = f"use {row.instead}"
        yield SelectorProblem((), "PD148", "kind goes away", words[row.stage], hint, Severity.WARNING)


# --- names of keys ---------------------------------------------------------------------------------------------


def _spellings(param: Param) -> tuple[str, ...]:
    """The keys that mean a parameter: with brackets or without, and its other names."""
    return (param.name, f"{param.name}[]", *param.also)


def _check_names(row: Kind, selector: Mapping[str, Json], options: set[str]) -> Iterator[SelectorProblem]:
    """Keys that the selector or its `apiQueryParams` should not hold; each is ignored, as Port's integration does."""
    outer = {_PARAMS, *options, *([_PARENTS] if _parent_of(row) else [])}
    inner = {name for param in row.params for name in _spellings(param)}
    words = {name for param in row.params for name in (param.name, *param.also)}
    for key in map(str, selector):
        if key == _ENVIRONMENT:
            yield _environment()
        elif key not in outer:
            yield _misplaced(key, (key,), f"under {_PARAMS}") if key in inner else _unknown_key(key, (key,), outer)
    written = selector.get(_PARAMS)
    for key in map(str, written if isinstance(written, dict) else ()):
        path = (_PARAMS, key)
        if key not in inner:
            yield _misplaced(key, path, f"beside {_PARAMS}") if key in outer else _unknown_key(key, path, words)


def _environment() -> SelectorProblem:
    return SelectorProblem(
        (_ENVIRONMENT,),
        "PD146",
        "environment variables are never exported",
        f"{_ENVIRONMENT} is accepted but has no effect: mappings cannot see the environment",
        "remove the key",
        Severity.WARNING,
    )


def _misplaced(key: str, path: _Path, place: str) -> SelectorProblem:
    detail, hint = f'"{key}" has no effect here', f'move "{key}" {place}'
    return SelectorProblem(path, "PD142", "selector key at the wrong level", detail, hint, Severity.WARNING)


def _unknown_key(key: str, path: _Path, known: set[str]) -> SelectorProblem:
    hint = suggest(key, known) if known else "PagerDuty lists this kind without filters"
    return SelectorProblem(path, "PD141", "unknown selector key", f'"{key}" has no effect', hint, Severity.WARNING)


def _check_required(row: Kind, written: Json) -> Iterator[SelectorProblem]:
    given = written if isinstance(written, dict) else {}
    missing = [
        param.name
        for param in row.params
        if param.required and all(given.get(name) in (None, []) for name in _spellings(param))
    ]
    if missing:
        path = (_PARAMS,) if given else ()
        detail = f"PagerDuty lists {row.name} only with {' and '.join(missing)}"
        examples = _OVER if any(param.past for param in row.params if param.required) else _TO_COME
        example = ", ".join(f"{name}: {examples.get(name, '[...]')}" for name in missing)
        yield SelectorProblem(path, "PD149", "required filter is missing", detail, f"{_PARAMS}: {{{example}}}")


_OVER = {"since": "30d", "until": "now"}
_TO_COME = {"since": "now", "until": "30d"}


def _ignored_bounds(row: Kind, params: _Pairs) -> Iterator[SelectorProblem]:
    """Bounds in time that the parameter for everything switches off."""
    if row.window is None or row.window.everything is None or row.window.everything not in params:
        return
    name, value = row.window.everything
    for bound in (row.window.since, row.window.until):
        if any(wire == bound for wire, _ in params):
            detail, hint = f'"{bound}" is ignored by PagerDuty when {name} is "{value}"', f"remove {bound} or {name}"
            yield _without_effect((_PARAMS, bound), detail, hint)


def _stretches(row: Kind, params: _Pairs) -> Iterator[tuple[Param, Param]]:
    """The pairs of parameters that say from when and until when; none where all times are asked for."""
    if row.window and row.window.everything in params:
        return
    begins = {param.wire: param for param in row.params if param.type == "since"}
    for until in (param for param in row.params if param.type == "until"):
        if since := begins.get(until.wire.replace("until", "since").replace("_end", "_start")):
            yield since, until


def _as_spelled(param: Param, written: Json) -> str:
    """The key that stands for a parameter, by whichever of its names."""
    given = written if isinstance(written, dict) else {}
    return next((name for name in _spellings(param) if given.get(name) is not None), param.name)


def _empty_stretch(row: Kind, params: _Pairs, written: Json, now: datetime | None) -> Iterator[SelectorProblem]:
    """A stretch of time that ends before it begins; if nobody says when it is asked, as far as that does not matter."""
    given, sent, at = dict(params), dict(row.unless_given), now or _WHENEVER
    unsaid = "now" if row.window and row.window.period else ""
    for begin, end in _stretches(row, params):
        since, until = given.get(begin.wire) or sent.get(begin.wire, unsaid), given.get(end.wire, unsaid)
        if not (since and until) or not (now or is_relative(since) == is_relative(until)):
            continue
        end_at = moment(until, at)
        if row.window and end.wire == row.window.until and (now or is_relative(until)):
            end_at = window_end(row.window, {end.wire: until}.items(), at) or end_at
        if moment(since, at) > end_at:
            name, first = (_as_spelled(param, written) for param in (end, begin))
            detail = f"nothing lies between {since} and {until}"
            yield _problem((_PARAMS, name), Finding((), detail, f"{name} must be after {first}"))


def _since_ahead(row: Kind, params: _Pairs, written: Json, now: datetime | None) -> Iterator[SelectorProblem]:
    """A beginning that is not in the past yet, of a list where nothing lies ahead and no end is given."""
    given, at = dict(params), now or _WHENEVER
    for begin, end in _stretches(row, params):
        since = given.get(begin.wire, "")
        if not since or not end.past or end.wire in given or not (now or is_relative(since)):
            continue
        if moment(since, at) >= at:
            ago = f'write "-{since[1:]}" for a moment ago' if since.startswith("+") else _AGO
            when = "this moment" if since == "now" else f'"{since}"'
            finding = Finding((), f"{when} is not over yet, and nothing is listed from there", ago)
            yield _problem((_PARAMS, _as_spelled(begin, written)), finding)


_AGO = 'write a moment ago, such as "30d"'
_WHENEVER = datetime(2000, 1, 1, tzinfo=UTC)


def _without_effect(path: _Path, detail: str, hint: str) -> SelectorProblem:
    return SelectorProblem(path, "PD147", "selector key without effect", detail, hint, Severity.WARNING)


# --- values ----------------------------------------------------------------------------------------------------


def _read_params(row: Kind, written: Json) -> tuple[_Pairs, list[SelectorProblem]]:
    """The parameters that `apiQueryParams` stands for; defaults count only when it is there at all."""
    if written is None:
        return (), []
    if not isinstance(written, dict):
        finding = Finding((), f"expected keys and values, not {name_of(written)}", f"known are {_names(row)}")
        return (), [_problem((_PARAMS,), finding)]
    pairs: list[tuple[str, str]] = []
    problems = []
    for param in row.params:
        key, *others = [name for name in _spellings(param) if written.get(name) is not None] or [""]
        values: tuple[str, ...] = ()
        findings: list[Finding] = []
        if key:
            values, findings = READERS[param.type](written[key], param)
        elif param.default:
            values, _ = READERS[param.type](_as_written(param), param)
        pairs += [(param.wire, text) for text in values]
        problems += [_problem((_PARAMS, key), finding) for finding in findings]
        problems += _says_nothing((_PARAMS,), written, param)
        problems += [_without_effect((_PARAMS, name), f"{key} says it already", f"remove {name}") for name in others]
    return tuple(pairs), problems


def _says_nothing(path: _Path, written: Mapping[str, Json], param: Param) -> Iterator[SelectorProblem]:
    """Keys that are there and say nothing: null, and an empty list where no other one is usual."""
    takes_lists = param.type in {"texts", "choices"} and not param.default
    for name in () if param.required else _spellings(param):
        if name in written and (written[name] is None or (takes_lists and written[name] == [])):
            what = "null" if written[name] is None else "an empty list"
            yield _without_effect((*path, name), f"{what} is the same as no {name} at all", f"remove {name}")


def _as_written(param: Param) -> Json:
    return list(param.default) if param.type in {"choices", "texts"} else param.default[0]


def _names(row: Kind) -> str:
    return ", ".join(param.name for param in row.params) or "none for this kind"


def _read_options(row: Kind, selector: Mapping[str, Json]) -> tuple[dict[str, str], list[SelectorProblem]]:
    values = {}
    problems = []
    for option in row.options:
        value = selector.get(option.name)
        read = READERS["flag"] if option.type == "flag" else read_count
        param = Param(option.name, "", "flag", minimum=1, maximum=option.maximum)
        texts, findings = read(option.default if value is None else value, param)
        values[option.name] = texts[0] if texts else option.default
        problems += [_problem((option.name,), finding) for finding in findings]
        problems += _says_nothing((), selector, param)
    problems += _switched_off(row, selector, values)
    return values, problems


def _switched_off(row: Kind, selector: Mapping[str, Json], values: Mapping[str, str]) -> Iterator[SelectorProblem]:
    """Options about enrichments that are not fetched."""
    for each in row.enrichments:
        if each.when and selector.get(each.argument) is not None and values[each.when] != "true":
            yield _without_effect((each.argument,), f"{each.when} is off", f"remove {each.argument} or {each.when}")


def _wanted(row: Kind, options: Mapping[str, str]) -> _Pairs:
    return tuple(
        (enrichment.name, options.get(enrichment.argument, ""))
        for enrichment in row.enrichments
        if not enrichment.when or options[enrichment.when] == "true"
    )


def _problem(path: _Path, finding: Finding) -> SelectorProblem:
    code = "PD143" if finding.severity is Severity.ERROR else "PD145"
    summary = "invalid selector value" if finding.severity is Severity.ERROR else "selector value out of range"
    return SelectorProblem((*path, *finding.path), code, summary, finding.detail, finding.hint, finding.severity)
