"""JSON Schema as functions: compiled once, called for every body and every property value.

The sandbox holds requests to the schemas of Port's own OpenAPI document and property values to what a blueprint says;
both are JSON Schema (the parts that occur there), so one compiler serves both.  A check returns the first `Problem`
or None; it never raises on data.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

import orjson
import regex  # type: ignore[import-untyped]

from pdsync.model import Json

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class Problem(NamedTuple):
    """Where a value breaks its schema (keys and indices from the top) and what would be right."""

    path: tuple[str | int, ...]
    message: str

    def under(self, part: str | int) -> Problem:
        """The same problem seen from one level up."""
        return Problem((part, *self.path), self.message)

    def said(self, root: str) -> str:
        """One line, the place written as `root/entities/0/title`."""
        return f"{'/'.join([root, *map(str, self.path)])} {self.message}"


Check = Callable[[Json], Problem | None]
"""Judges one value: the first problem, or None."""


def accept(_value: Json) -> None:
    """The check that takes everything."""
    return


# --- formats ---------------------------------------------------------------------------------------------------

_DATE_TIME = regex.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(?:\.\d+)?(?:[Zz]|[+-]\d\d:\d\d)")
_SPACE = regex.compile(r"\s")
_URI = regex.compile(r"[A-Za-z][A-Za-z0-9+.-]*:.")
_EMAIL_LOCAL = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*"
_EMAIL_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
_EMAIL = regex.compile(rf"{_EMAIL_LOCAL}@{_EMAIL_LABEL}(?:\.{_EMAIL_LABEL})+")
_IDN_EMAIL = regex.compile(r"[^\s@]+@[^\s@.]+(?:\.[^\s@.]+)+")


def parse_date_time(text: str) -> dt.datetime | None:
    """The instant that an RFC 3339 date-time names, None when it is not one."""
    if _DATE_TIME.fullmatch(text) is None:
        return None
    try:
        return dt.datetime.fromisoformat(text.upper())
    except ValueError:
        return None


def _is_url(text: str, schemes: tuple[str, ...] = ("http", "https", "ftp")) -> bool:
    if _SPACE.search(text):
        return False
    try:
        parts = urlsplit(text)
        return parts.scheme in schemes and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        return False


def _is_uri(text: str) -> bool:
    return _URI.match(text) is not None and _SPACE.search(text) is None


def _is_address(text: str, kind: Callable[[str], object]) -> bool:
    try:
        kind(text)
    except ValueError:
        return False
    return "%" not in text


def _is_ipv4(text: str) -> bool:
    return _is_address(text, ipaddress.IPv4Address)


def _is_ipv6(text: str) -> bool:
    return _is_address(text, ipaddress.IPv6Address)


def _is_date_time(text: str) -> bool:
    return parse_date_time(text) is not None


def _is_email(text: str) -> bool:
    return _EMAIL.fullmatch(text) is not None


def _is_idn_email(text: str) -> bool:
    return _IDN_EMAIL.fullmatch(text) is not None


FORMATS: Mapping[str, Callable[[str], bool]] = {
    "date-time": _is_date_time,
    "timer": _is_date_time,
    "url": _is_url,
    "uri": _is_uri,
    "email": _is_email,
    "user": _is_email,
    "idn-email": _is_idn_email,
    "ipv4": _is_ipv4,
    "ipv6": _is_ipv6,
}
"""Formats that say something about the text; every other one (markdown, yaml, team) takes any string."""


# --- patterns --------------------------------------------------------------------------------------------------

_SHORTHANDS = {"d": "0-9", "w": "A-Za-z0-9_"}


def compile_pattern(pattern: str) -> regex.Pattern[str]:
    """An ECMA-262 pattern with its own meaning: `$` is the very end, digits and word characters are ASCII.

    Raises `ValueError` when it is not a pattern.
    """
    parts: list[str] = []
    in_class = False
    rest = iter(pattern)
    for character in rest:
        if character == "\\":
            escaped = next(rest, "")
            shorthand = _SHORTHANDS.get(escaped)
            parts.append(f"\\{escaped}" if shorthand is None else shorthand if in_class else f"[{shorthand}]")
            continue
        if character in "[]":
            in_class = character == "["
        parts.append(r"\Z" if character == "$" and not in_class else character)
    try:
        return regex.compile("".join(parts))
    except regex.error as reason:
        raise ValueError(f"{pattern} is no pattern: {reason}") from reason


# --- keywords --------------------------------------------------------------------------------------------------


def _is_number(value: Json) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_integer(value: Json) -> bool:
    return _is_number(value) and value == int(value)


_TYPES: Mapping[str, Callable[[Json], bool]] = {
    "string": lambda value: isinstance(value, str),
    "number": _is_number,
    "integer": _is_integer,
    "boolean": lambda value: isinstance(value, bool),
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "null": lambda value: value is None,
}


def canonical(value: Json) -> bytes:
    """Bytes that are equal exactly for JSON-equal values (1 and 1.0 are, 1 and true are not)."""
    return orjson.dumps(_whole(value), option=orjson.OPT_SORT_KEYS)


def _whole(value: Json) -> Json:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [_whole(part) for part in value]
    if isinstance(value, dict):
        return {key: _whole(part) for key, part in value.items()}
    return value


def _type(_compiler: Compiler, names: Json, _schema: Json) -> Check:
    wanted = [names] if isinstance(names, str) else list(names)
    tests = [_TYPES[name] for name in wanted]
    problem = Problem((), f"must be {' or '.join(wanted)}")
    if len(tests) == 1:
        only = tests[0]
        return lambda value: None if only(value) else problem
    return lambda value: None if any(test(value) for test in tests) else problem


def _enum(_compiler: Compiler, values: Json, _schema: Json) -> Check:
    allowed = {canonical(value) for value in values}
    strings = {value for value in values if isinstance(value, str)}
    problem = Problem((), f"must be one of {orjson.dumps(values).decode()}")

    def check(value: Json) -> Problem | None:
        fits = value in strings if isinstance(value, str) else canonical(value) in allowed
        return None if fits else problem

    return check


def _const(compiler: Compiler, value: Json, schema: Json) -> Check:
    return _enum(compiler, [value], schema)


def _pattern(_compiler: Compiler, pattern: Json, _schema: Json) -> Check:
    search = compile_pattern(pattern).search
    problem = Problem((), f'must match pattern "{pattern}"')
    return lambda value: problem if isinstance(value, str) and search(value) is None else None


def _format(compiler: Compiler, name: Json, _schema: Json) -> Check:
    test = compiler.formats.get(name)
    if test is None:
        return accept
    problem = Problem((), f'must match format "{name}"')
    return lambda value: problem if isinstance(value, str) and not test(value) else None


def _utf16_length(text: str) -> int:
    """Length as JavaScript counts it."""
    return len(text) if text.isascii() else len(text.encode("utf-16-le")) // 2


def _limit(kind: str, breaks: Callable[[Any, Any], bool], says: str) -> Callable[[Compiler, Json, Json], Check]:
    """A keyword that compares one measure of a value with a bound."""
    measures: Mapping[str, Callable[[Json], float | None]] = {
        "text": lambda value: _utf16_length(value) if isinstance(value, str) else None,
        "items": lambda value: len(value) if isinstance(value, list) else None,
        "number": lambda value: value if _is_number(value) else None,
        "keys": lambda value: len(value) if isinstance(value, dict) else None,
    }
    measure = measures[kind]

    def keyword(_compiler: Compiler, bound: Json, _schema: Json) -> Check:
        problem = Problem((), says.format(bound))

        def check(value: Json) -> Problem | None:
            measured = measure(value)
            return problem if measured is not None and breaks(measured, bound) else None

        return check

    return keyword


def _required(_compiler: Compiler, names: Json, _schema: Json) -> Check:
    def check(value: Json) -> Problem | None:
        if isinstance(value, dict):
            for name in names:
                if name not in value:
                    return Problem((), f"must have required property '{name}'")
        return None

    return check


def _properties(compiler: Compiler, schemas: Json, _schema: Json) -> Check:
    checks = [(name, compiler.compile(schema)) for name, schema in schemas.items()]
    checks = [(name, check) for name, check in checks if check is not accept]

    def check(value: Json) -> Problem | None:
        if isinstance(value, dict):
            for name, part in checks:
                if name in value and (problem := part(value[name])) is not None:
                    return problem.under(name)
        return None

    return check


def _pattern_properties(compiler: Compiler, schemas: Json, _schema: Json) -> Check:
    checks = [(compile_pattern(pattern), compiler.compile(schema)) for pattern, schema in schemas.items()]

    def check(value: Json) -> Problem | None:
        for name in value if isinstance(value, dict) else ():
            for pattern, part in checks:
                if pattern.search(name) and (problem := part(value[name])) is not None:
                    return problem.under(name)
        return None

    return check


def _additional_properties(compiler: Compiler, schema: Json, whole: Json) -> Check:
    named = frozenset(whole.get("properties") or ())
    patterns = [compile_pattern(pattern) for pattern in whole.get("patternProperties") or ()]
    others = compiler.compile(schema)
    if others is accept:
        return accept

    def check(value: Json) -> Problem | None:
        for name in value if isinstance(value, dict) else ():
            if name in named or any(pattern.search(name) for pattern in patterns):
                continue
            if schema is False:
                return Problem((), f"must NOT have additional properties ('{name}')")
            if (problem := others(value[name])) is not None:
                return problem.under(name)
        return None

    return check


def _property_names(compiler: Compiler, schema: Json, _schema: Json) -> Check:
    name_check = compiler.compile(schema)

    def check(value: Json) -> Problem | None:
        for name in value if isinstance(value, dict) else ():
            if (problem := name_check(name)) is not None:
                return Problem((name,), f"is no valid name: it {problem.message}")
        return None

    return check


def _items(compiler: Compiler, schema: Json, _schema: Json) -> Check:
    item_check = compiler.compile(schema)

    def check(value: Json) -> Problem | None:
        if isinstance(value, list):
            for index, item in enumerate(value):
                if (problem := item_check(item)) is not None:
                    return problem.under(index)
        return None

    return accept if item_check is accept else check


def _unique_items(_compiler: Compiler, wanted: Json, _schema: Json) -> Check:
    problem = Problem((), "must NOT have duplicate items")

    def check(value: Json) -> Problem | None:
        if isinstance(value, list) and len({canonical(item) for item in value}) < len(value):
            return problem
        return None

    return check if wanted else accept


def _most_telling(problems: Iterable[Problem]) -> Problem:
    """Of the problems of several alternatives, the one that got deepest into the value."""
    return max(problems, key=lambda problem: len(problem.path))


def _any_of(compiler: Compiler, schemas: Json, _schema: Json) -> Check:
    checks = [compiler.compile(schema) for schema in schemas]

    def check(value: Json) -> Problem | None:
        problems: list[Problem] = []
        for part in checks:
            if (problem := part(value)) is None:
                return None
            problems.append(problem)
        return _most_telling(problems)

    return check


def _one_of(compiler: Compiler, schemas: Json, _schema: Json) -> Check:
    checks = [compiler.compile(schema) for schema in schemas]

    def check(value: Json) -> Problem | None:
        problems = [problem for part in checks if (problem := part(value)) is not None]
        fitting = len(checks) - len(problems)
        if fitting == 1:
            return None
        return _most_telling(problems) if fitting == 0 else Problem((), "must match exactly one alternative")

    return check


def _all_of(compiler: Compiler, schemas: Json, _schema: Json) -> Check:
    return _in_turn([compiler.compile(schema) for schema in schemas])


def _not(compiler: Compiler, schema: Json, _schema: Json) -> Check:
    unwanted = compiler.compile(schema)
    problem = Problem((), "must NOT be valid")
    return lambda value: problem if unwanted(value) is None else None


def _if(compiler: Compiler, condition: Json, whole: Json) -> Check:
    test = compiler.compile(condition)
    then, otherwise = compiler.compile(whole.get("then", True)), compiler.compile(whole.get("else", True))
    return lambda value: then(value) if test(value) is None else otherwise(value)


def _ref(compiler: Compiler, reference: Json, _schema: Json) -> Check:
    return compiler.referenced(reference)


def _in_turn(checks: list[Check]) -> Check:
    checks = [check for check in checks if check is not accept]
    if not checks:
        return accept
    if len(checks) == 1:
        return checks[0]

    def check(value: Json) -> Problem | None:
        for part in checks:
            if (problem := part(value)) is not None:
                return problem
        return None

    return check


KEYWORDS: Mapping[str, Callable[[Compiler, Json, Json], Check]] = {
    "$ref": _ref,
    "type": _type,
    "enum": _enum,
    "const": _const,
    "pattern": _pattern,
    "format": _format,
    "minLength": _limit("text", lambda got, bound: got < bound, "must NOT have fewer than {} characters"),
    "maxLength": _limit("text", lambda got, bound: got > bound, "must NOT have more than {} characters"),
    "minimum": _limit("number", lambda got, bound: got < bound, "must be >= {}"),
    "maximum": _limit("number", lambda got, bound: got > bound, "must be <= {}"),
    "exclusiveMinimum": _limit("number", lambda got, bound: got <= bound, "must be > {}"),
    "exclusiveMaximum": _limit("number", lambda got, bound: got >= bound, "must be < {}"),
    "minItems": _limit("items", lambda got, bound: got < bound, "must NOT have fewer than {} items"),
    "maxItems": _limit("items", lambda got, bound: got > bound, "must NOT have more than {} items"),
    "minProperties": _limit("keys", lambda got, bound: got < bound, "must NOT have fewer than {} properties"),
    "maxProperties": _limit("keys", lambda got, bound: got > bound, "must NOT have more than {} properties"),
    "required": _required,
    "propertyNames": _property_names,
    "properties": _properties,
    "patternProperties": _pattern_properties,
    "additionalProperties": _additional_properties,
    "items": _items,
    "uniqueItems": _unique_items,
    "oneOf": _one_of,
    "anyOf": _any_of,
    "allOf": _all_of,
    "not": _not,
    "if": _if,
}
"""What each keyword checks, in the order of checking; a keyword that is not here says nothing about validity."""


class Compiler:
    """Turns schemas into checks; references are looked up in `document` (an OpenAPI document)."""

    def __init__(
        self, document: Mapping[str, Json] | None = None, formats: Mapping[str, Callable[[str], bool]] = FORMATS
    ) -> None:
        self.formats = formats
        self._document = document or {}
        self._references: dict[str, Check] = {}

    def compile(self, schema: Json) -> Check:
        """The check of one schema.  Raises `ValueError` or `TypeError` when it is not a schema."""
        if schema is True:
            return accept
        if schema is False:
            refusal = Problem((), "must not be given")
            return lambda _value: refusal
        if not isinstance(schema, dict):
            raise TypeError(f"not a schema: {schema!r}")
        return _in_turn([keyword(self, schema[name], schema) for name, keyword in KEYWORDS.items() if name in schema])

    def referenced(self, reference: str) -> Check:
        """The check that a `$ref` stands for; schemas may refer to themselves."""
        found = self._references.get(reference)
        if found is not None:
            return found
        # The late look-up ends the recursion of a schema that contains itself.
        self._references[reference] = lambda value: self._references[reference](value)  # noqa: PLW0108
        schema: Json = self._document
        for part in reference.removeprefix("#/").split("/"):
            schema = schema[part]
        self._references[reference] = self.compile(schema)
        return self._references[reference]
