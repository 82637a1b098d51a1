"""What Port takes as a value: one check per path of a blueprint, compiled once.

A check gives why a value would be refused, in words, or the empty text.  It is as strict as Port's reference is, where
that says anything (Port API reference, Properties, Relations); what only Port knows is left to `--validate-remote`.
"""

from __future__ import annotations

import ast
import ipaddress
import json
import re
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import regex  # type: ignore[import-untyped]

from pdsync.plan.wording import in_words

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from collections.abc import Set as AbstractSet

    from pdsync.model import Blueprint, Json

    Check = Callable[[Json], str]
    Measure = Callable[[str], int]

_KEYWORDS: Final = (
    "type",
    "enum",
    "items",
    "pattern",
    "minLength",
    "maxLength",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "minItems",
    "maxItems",
    "uniqueItems",
    "format",
    "properties",
    "patternProperties",
    "additionalProperties",
    "required",
    "anyOf",
    "allOf",
    "oneOf",
    "not",
)
"""What of a property's definition is about its values; titles, icons and colours are not."""

_ATOM: Final = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LABEL: Final = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
_EMAIL: Final = regex.compile(rf"{_ATOM}(?:\.{_ATOM})*@{_LABEL}(?:\.{_LABEL})+")
_IDN_EMAIL: Final = regex.compile(r"[^\s@]+@[^\s@.]+(?:\.[^\s@.]+)+")
_INSTANT: Final = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(?:\.\d+)?(?:[Zz]|[+-]\d\d:\d\d)", re.ASCII)
_DAY: Final = regex.compile(r"\d{4}-\d\d-\d\d", regex.ASCII)
PLAIN_URL: Final = re.compile(r"https?://[A-Za-z0-9][A-Za-z0-9.-]*(?:/[!-~]*)?")
"""What nearly every URL is; nothing that a closer look would refuse."""

_PLAIN_DAY: Final = (
    r"[1-9]\d{3}-(?:(?:0[1-9]|1[0-2])-(?:0[1-9]|1\d|2[0-8])|(?:0[13-9]|1[0-2])-(?:29|30)|(?:0[13578]|1[02])-31)"
)
PLAIN_INSTANT: Final = re.compile(_PLAIN_DAY + r"T(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\dZ", re.ASCII)
"""What nearly every instant is; none that is on no calendar."""

_IDENTIFIER: Final = regex.compile(r"(?!\.{1,2}\Z)[\p{L}0-9@_.+:\\/=-]{1,1000}")


def checks_of(blueprint: Blueprint) -> dict[str, Check]:
    """The check of each path that an entity of the blueprint may have."""
    checks: dict[str, Check] = {"title": _text, "icon": _text, "team": _team}
    checks |= {f"properties.{name}": property_check(part) for name, part in blueprint.properties.items()}
    checks |= {f"relations.{name}": relation_check(part) for name, part in blueprint.relations.items()}
    return checks


def classes_of(blueprint: Blueprint) -> dict[str, type]:
    """The paths of which every value of one class is fit -> that class."""
    paths: dict[str, type] = {"title": str, "icon": str}
    for name, part in blueprint.properties.items():
        said = part.keys() & set(_KEYWORDS)
        if said == {"type"} and isinstance(part["type"], str) and part["type"] in _CLASSES:
            paths[f"properties.{name}"] = _CLASSES[part["type"]]
    return paths


def patterns_of(blueprint: Blueprint) -> dict[str, re.Pattern[str]]:
    """The paths of which nearly every value is a text of one sort -> what matches these, and nothing unfit."""
    paths: dict[str, re.Pattern[str]] = {}
    for name, part in blueprint.properties.items():
        pattern = _PATTERNS.get(str(part.get("format")))
        if pattern and part.get("type") == "string" and part.keys() & set(_KEYWORDS) == {"type", "format"}:
            paths[f"properties.{name}"] = pattern
    return paths


def doubts_of(blueprint: Blueprint) -> dict[str, Check]:
    """The `length_check` of each path that has one."""
    found = ((f"properties.{name}", length_check(part)) for name, part in blueprint.properties.items())
    return {path: check for path, check in found if check is not None}


def required_paths(blueprint: Blueprint) -> dict[str, bool]:
    """The paths that must have a value -> whether Port fills in a default when an entity is created without."""
    properties = blueprint.properties
    paths = {f"properties.{name}": "default" in properties.get(name, {}) for name in blueprint.required}
    return paths | {f"relations.{name}": False for name, part in blueprint.relations.items() if part.get("required")}


def property_check(definition: Mapping[str, Json]) -> Check:
    """Whether a value is one of this property.

    Port's pages do not say whether it counts a text's length in characters or in UTF-16 units, which differ beyond the
    basic plane: only what is too long or too short either way is refused (see `length_check`).
    """
    return _check_of(json.dumps({key: definition[key] for key in _KEYWORDS if key in definition}))


# Most properties of a catalog are of a few sorts, and to make a check takes longer than to check a thousand values.
@lru_cache(maxsize=4096)
def _check_of(schema: str) -> Check:
    return _compiled(json.loads(schema), most=_characters, least=_units)


def length_check(definition: Mapping[str, Json]) -> Check | None:
    """Whether a value that `property_check` takes is one however lengths are counted; None where they do not matter."""
    if not _limits_length(definition):
        return None
    strict = _compiled(definition, most=_units, least=_characters)
    return lambda value: strict(value) if _is_beyond_basic(value) else ""


def _compiled(definition: Mapping[str, Json], *, most: Measure, least: Measure) -> Check:
    import fastjsonschema

    spoken = _Spoken(most, least)
    schema = {"$schema": "http://json-schema.org/draft-07/schema#", **_schema(definition, spoken)}
    try:
        if _refers(schema):
            return lambda _: ""  # a reference is not followed: it may lead to any address
        validate = fastjsonschema.compile(schema, formats=spoken.formats, use_default=False)
    except (fastjsonschema.JsonSchemaDefinitionException, SyntaxError, TypeError, AttributeError, re.error):
        return lambda _: ""  # what Port keeps as a definition is Port's; only it can tell

    fits = _evidently({key: definition[key] for key in _KEYWORDS if key in definition})

    def check(value: Json) -> str:
        if fits(value):
            return ""
        try:
            validate(value)
        except fastjsonschema.JsonSchemaValueException as refused:
            name = str(refused.name)
            return spoken.said(str(refused.message).replace(name, _in_it(name), 1))
        return ""

    return check


def _in_it(name: str) -> str:
    """What a refusal speaks of, which is `data`, or `data[0].a` for a part of it."""
    at = re.sub(r"^\[(\d+)\]", r"item \1", name.removeprefix("data").lstrip("."))
    return f"{at} of it" if at else "it"


def _evidently(schema: Mapping[str, Json]) -> Callable[[Json], bool]:
    """What tells of nearly all values of a schema at once that they are fit, and never of one that is not."""
    kind, said = schema.get("type"), schema.keys() - {"type"}
    of = _CLASSES.get(kind) if isinstance(kind, str) else None
    if of is not None and not said:
        return lambda value: value.__class__ is of
    if of is str and said == {"format"} and isinstance(schema["format"], str) and schema["format"] in _FORMATS:
        is_so = _FORMATS[schema["format"]]
        return lambda value: value.__class__ is str and is_so(value)
    if of is str and said == {"enum"} and isinstance(schema["enum"], list):
        allowed = frozenset(each for each in schema["enum"] if isinstance(each, str))
        return lambda value: value.__class__ is str and value in allowed
    if kind == "array" and said == {"items"} and isinstance(schema["items"], dict):
        is_fit = _evidently(schema["items"])
        return lambda value: value.__class__ is list and all(map(is_fit, value))
    return lambda _: False


def relation_check(definition: Mapping[str, Json]) -> Check:
    """Whether a value is one identifier, or a list of them where the relation is to many."""
    if definition.get("many"):
        return lambda value: (
            "" if isinstance(value, list) and all(map(is_identifier, value)) else "it must be a list of identifiers"
        )
    return lambda value: "" if is_identifier(value) else "it must be one identifier"


def correction(
    definition: Mapping[str, Json], value: Json, expression: str, beside: AbstractSet[str] = frozenset()
) -> str:
    """The expression as it was probably meant; empty where that is not evident.

    `beside` are the JSON types of what it gives for other records and is right there: that has to stay as it is.
    """
    inner = f"({expression})" if "|" in expression or "," in expression else expression
    if definition.get("type") == "string" and definition.get("enum"):
        return _other_case(definition["enum"], value, inner, beside)
    plain, step = next((texts for fits, *texts in _CORRECTIONS if fits(definition, value)), ("", ""))
    if not plain or beside <= _KEEPING.get(step, frozenset()):
        return plain.format(whole=expression, inner=inner)
    kind = json_type(value)
    return "" if kind in beside else f'{inner} | if type == "{kind}" then {step} else . end'


def json_type(value: Json) -> str:
    """What jq's `type` says of a value."""
    kinds = {type(None): "null", bool: "boolean", str: "string", list: "array", dict: "object"}
    return kinds.get(type(value), "number")


def _fits_without_nulls(definition: Mapping[str, Json], value: Json) -> bool:
    """Whether nothing is wrong with a list but the nulls in it, as where something was not asked to be included."""
    if not isinstance(value, list) or None not in value:
        return False
    check = relation_check(definition) if "target" in definition else property_check(definition)
    return not check([each for each in value if each is not None])


_AS_TEXT: Final = ("{inner} | tostring", "tostring")
_KEEPING: Final = {"tostring": {"string"}, "tonumber": {"number"}, "map(values)": {"array"}}
"""The JSON types that a step leaves as they are."""
_AS_LIST: Final = ("[{whole} | values]", "[.]")
_AS_FIRST: Final = ("{inner} | first", "first")
_MOMENTS: Final = ("date-time", "timer")
_LATEST: Final = 10**11
"""Seconds since 1970 are less, milliseconds are more."""

_WITHOUT_NULLS: Final = ("{inner} | map(values)", "map(values)")
_CORRECTIONS: Final[tuple[tuple[Callable[[Mapping[str, Json], Json], bool], str, str], ...]] = (
    (lambda d, v: "target" in d and not d.get("many") and _is_reference(v), "{inner}.id", ".id"),
    (lambda d, v: bool("target" in d and d.get("many") and _are_references(v)), "[{inner}[].id]", "[.[].id]"),
    (_fits_without_nulls, *_WITHOUT_NULLS),
    (lambda d, v: "target" in d and not d.get("many") and _is_single(v), *_AS_FIRST),
    (lambda d, v: d.get("format") in _MOMENTS and _is_seconds(v), "{inner} | todate", "todate"),
    (lambda d, v: d.get("format") in _MOMENTS and _is_day(v), '{inner} + "T00:00:00Z"', '. + "T00:00:00Z"'),
    (lambda d, v: d.get("type") == "string" and d.get("format") not in _FORMATS and not isinstance(v, str), *_AS_TEXT),
    (
        lambda d, v: d.get("type") == "number" and isinstance(v, str) and _is_numeric(v),
        "{inner} | tonumber",
        "tonumber",
    ),
    (lambda d, v: d.get("type") == "boolean" and v in ("true", "false"), '{inner} == "true"', '. == "true"'),
    (lambda d, v: d.get("type") in ("array", "object") and _holds(v, str(d["type"])), "{inner} | fromjson", "fromjson"),
    (lambda d, v: d.get("type") == "array" and not isinstance(v, list), *_AS_LIST),
    (lambda d, v: d.get("type") in ("number", "boolean", "object") and _is_single(v), *_AS_FIRST),
)
"""When a definition and a value that it does not take speak for one mistake: the expression without it, and the step
that would undo it."""


def _is_reference(value: Json) -> bool:
    """Whether a value is one of PagerDuty's references, or a record: what has an id."""
    return isinstance(value, dict) and isinstance(value.get("id"), str)


def _are_references(value: Json) -> bool:
    return isinstance(value, list) and bool(value) and all(map(_is_reference, value))


def _is_seconds(value: Json) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < _LATEST


def _is_day(value: Json) -> bool:
    return isinstance(value, str) and _DAY.fullmatch(value) is not None


def _holds(value: Json, kind: str) -> bool:
    """Whether a value is the text of a JSON list or object."""
    if not isinstance(value, str):
        return False
    try:
        held = json.loads(value)
    except ValueError:
        return False
    return isinstance(held, list if kind == "array" else dict)


def _is_single(value: Json) -> bool:
    return isinstance(value, list) and len(value) == 1


def _other_case(allowed: Json, value: Json, inner: str, beside: Collection[str]) -> str:
    """An allowed value that only differs in case is what was meant."""
    if not isinstance(value, str):
        return ""
    if value.lower() in allowed and not beside:
        return f"{inner} | ascii_downcase"
    if value.upper() in allowed and not beside:
        return f"{inner} | ascii_upcase"
    meant = next((one for one in allowed if isinstance(one, str) and one.lower() == value.lower()), None)
    return f"{inner} | if . == {json.dumps(value)} then {json.dumps(meant)} else . end" if meant else ""


def _is_numeric(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _schema(definition: Mapping[str, Json], spoken: _Spoken) -> dict[str, Any]:
    """A property's definition as the JSON Schema of its values, without what Port says in keywords of its own."""
    schema: dict[str, Any] = spoken.of({key: definition[key] for key in _KEYWORDS if key in definition})
    return {**_LABELED_URL, **schema} if definition.get("format") == "labeled-url" else schema


_OTHERS: Final = re.compile(r"(.*) must not contain (\{.*\}) properties", re.DOTALL)
_OF_TEXTS: Final = ("format", "minLength", "maxLength", "pattern")
_ONE: Final = (
    "items",
    "additionalItems",
    "additionalProperties",
    "contains",
    "propertyNames",
    "not",
    "if",
    "then",
    "else",
)
_LISTS: Final = ("anyOf", "allOf", "oneOf", "items")
_MAPS: Final = ("properties", "patternProperties", "dependencies")
"""Where schemas stand in a schema: as the value of a keyword, in a list, under names."""


class _Spoken:
    """Schemas with all that is in them, where texts are measured and matched as `formats` of our own.

    Patterns are those of ECMA-262, which Python's are not, and lengths are counted by `most` and `least`.  Formats that
    say nothing are left out, and so are patterns that cannot be told here.
    """

    def __init__(self, most: Measure, least: Measure) -> None:
        self.formats: dict[str, Callable[[str], bool]] = dict(_FORMATS)
        self._words: dict[str, str] = {}
        self._most, self._least = most, least

    def said(self, message: str) -> str:
        """A message with our own formats in words, and with names in order: those of a set come in any."""
        start, _, name = message.rpartition(" must be ")
        if name in self._words:
            return f"{start} must {self._words[name]}"
        if others := _OTHERS.fullmatch(message):
            return f"{others[1]} must not contain {', '.join(map(repr, sorted(ast.literal_eval(others[2]))))}"
        return in_words(message)

    def of(self, schema: Json) -> Json:
        """A schema so."""
        if not isinstance(schema, dict):
            return schema
        made = {key: self._inner(key, part) for key, part in schema.items() if key not in _OF_TEXTS}
        _without_odd_names(made)
        own = [name for key in _OF_TEXTS if key in schema and (name := self._format(key, schema[key]))]
        if own:
            made["allOf"] = [*(made.get("allOf") or ()), *({"format": name} for name in own)]
        return made

    def _inner(self, key: str, part: Json) -> Json:
        if key in _LISTS and isinstance(part, list):
            return [self.of(each) for each in part]
        if key in _MAPS and isinstance(part, dict):
            return {name: self.of(each) for name, each in part.items()}
        return self.of(part) if key in _ONE else part

    def _format(self, key: str, bound: Json) -> str:
        """The name of the format that stands for a keyword about texts, "" where it says nothing."""
        if key == "format":
            return bound if isinstance(bound, str) and bound in _FORMATS else ""
        if key == "pattern":
            pattern = _pattern(bound)
            return self._own(f"match {bound}", lambda text: pattern.search(text) is not None) if pattern else ""
        if not isinstance(bound, int | float) or isinstance(bound, bool):
            return ""
        if key == "maxLength":
            return self._own(f"be at most {bound} characters long", lambda text: self._most(text) <= bound)
        return self._own(f"be at least {bound} characters long", lambda text: self._least(text) >= bound)

    def _own(self, words: str, test: Callable[[str], bool]) -> str:
        name = f"own-{len(self._words)}"  # stands in generated code, where a pattern could end its string
        self._words[name] = words
        self.formats[name] = test
        return name


def _without_odd_names(schema: dict[str, Any]) -> None:
    """Take out the patterns of names that Python does not read, and with them what is said of all other names."""
    by_pattern = schema.get("patternProperties")
    if isinstance(by_pattern, dict) and (odd := [name for name in by_pattern if not _is_plain_pattern(name)]):
        schema["patternProperties"] = {name: part for name, part in by_pattern.items() if name not in odd}
        schema.pop("additionalProperties", None)


def _is_plain_pattern(text: str) -> bool:
    try:
        re.compile(text)
    except re.error:
        return False
    return True


def _characters(text: str) -> int:
    return len(text)


def _units(text: str) -> int:
    return len(text) + sum(character > _BASIC_PLANE for character in text)


_BASIC_PLANE: Final = "\uffff"


def _limits_length(part: Json) -> bool:
    if isinstance(part, dict):
        return "maxLength" in part or "minLength" in part or any(map(_limits_length, part.values()))
    return isinstance(part, list) and any(map(_limits_length, part))


def _is_beyond_basic(value: Json) -> bool:
    """Whether any text in a value has a character that JavaScript counts as two."""
    if isinstance(value, str):
        return not value.isascii() and max(value) > _BASIC_PLANE
    if isinstance(value, dict):
        return any(map(_is_beyond_basic, [*value, *value.values()]))
    return isinstance(value, list) and any(map(_is_beyond_basic, value))


def _refers(schema: Json) -> bool:
    if isinstance(schema, dict):
        return isinstance(schema.get("$ref"), str) or any(map(_refers, schema.values()))
    return isinstance(schema, list) and any(map(_refers, schema))


def _pattern(text: Json) -> regex.Pattern[str] | None:
    """An ECMA-262 pattern; None where there is none, or none that can be told here."""
    if not isinstance(text, str):
        return None
    parts, in_class, rest = [], False, iter(text)
    for character in rest:
        if character == "\\":
            escaped = next(rest, "")
            ascii_only = _SHORTHANDS.get(escaped, "")
            parts.append(ascii_only if in_class and ascii_only else f"[{ascii_only}]" if ascii_only else f"\\{escaped}")
            continue
        in_class = character == "[" or (in_class and character != "]")
        parts.append(r"\Z" if character == "$" and not in_class else character)
    try:
        return regex.compile("".join(parts))
    except regex.error:
        return None


_SHORTHANDS: Final = {"d": "0-9", "w": "A-Za-z0-9_"}
"""What is ASCII in ECMA-262 and more in Python; letters by property are of all scripts in both."""


def _text(value: Json) -> str:
    return "" if value is None or isinstance(value, str) else "it must be text"


def _team(value: Json) -> str:
    texts = isinstance(value, list) and all(isinstance(part, str) for part in value)
    return "" if value is None or isinstance(value, str) or texts else "it must be text or a list of texts"


def is_identifier(value: Json) -> bool:
    """Whether a value can be the identifier of an entity."""
    return isinstance(value, str) and _IDENTIFIER.fullmatch(value) is not None


def _is_instant(text: str) -> bool:
    try:
        return _INSTANT.fullmatch(text) is not None and bool(datetime.fromisoformat(text.upper()))
    except ValueError:
        return False


def _is_url(text: str) -> bool:
    return PLAIN_URL.fullmatch(text) is not None or is_any_url(text)


def is_any_url(text: str) -> bool:
    """Whether a text is a URL with a host."""
    try:
        parts = urlsplit(text)
        fits = parts.scheme in ("http", "https", "ftp") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        return False
    return fits and text.split() == [text]


def _is_address(kind: type[ipaddress.IPv4Address | ipaddress.IPv6Address]) -> Callable[[str], bool]:
    def fits(text: str) -> bool:
        try:
            kind(text)
        except ValueError:
            return False
        return "%" not in text

    return fits


def _fully(pattern: regex.Pattern[str]) -> Callable[[str], bool]:
    return lambda text: pattern.fullmatch(text) is not None


_LABELED_URL: Final = {
    "properties": {"url": {"type": "string", "format": "url"}},
    "required": ["url"],
    "additionalProperties": {"type": "string"},
}
"""The value of a labeled URL; Port's pages name the key of its text in two ways, so any is taken."""

_CLASSES: Final[Mapping[str, type]] = {"string": str, "boolean": bool, "number": int, "integer": int}
"""Of each type one class whose values all are of it."""

_PATTERNS: Final[Mapping[str, re.Pattern[str]]] = {
    "date-time": PLAIN_INSTANT,
    "timer": PLAIN_INSTANT,
    "url": PLAIN_URL,
}
"""What matches nearly all texts of a format, and no others."""

_FORMATS: Final[dict[str, Callable[[str], bool]]] = {
    "date-time": _is_instant,
    "timer": _is_instant,
    "url": _is_url,
    "email": _fully(_EMAIL),
    "user": _fully(_EMAIL),
    "idn-email": _fully(_IDN_EMAIL),
    "ipv4": _is_address(ipaddress.IPv4Address),
    "ipv6": _is_address(ipaddress.IPv6Address),
}
"""Formats that say something about a text; every other one takes any."""
