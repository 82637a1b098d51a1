"""Files against their models: JSON Schemas for editors, and problems of shape with their places."""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from pdsync.catalog.models import FILES
from pdsync.catalog.nodes import Map, Scalar, find, plain
from pdsync.catalog.rules import found

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from pdsync.catalog.nodes import Document, Path
    from pdsync.errors import Diagnostic
    from pdsync.model import Json

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_MANY = 12


def json_schemas() -> dict[str, dict[str, Any]]:
    """A JSON Schema (draft 2020-12) per file kind: project, blueprint, mapping, webhook, test."""
    return {kind: {"$schema": _DIALECT, **model.model_json_schema()} for kind, model in FILES.items()}


def check_shape(
    document: Document, kind: str, without: frozenset[str] = frozenset()
) -> tuple[dict[str, Json], list[Diagnostic]]:
    """What of a document fits the model of its kind, and everything that does not; `without` are keys to leave out.

    What fits can be checked further: a value that is there is of its type.
    """
    root = document.root
    if not isinstance(root, Map):
        return {}, [found("PD109", document.at(root), f"expected keys and values, not {describe(plain(root))}")]
    value = {key: inner for key, inner in plain(root).items() if key not in without}
    try:
        FILES[kind].model_validate(value)
    except ValidationError as problem:
        errors = problem.errors(include_url=False, include_context=True)
        for error in errors:
            _cut(value, error["loc"])
        return value, list(_problems(document, kind, errors))
    return value, []


def _cut(value: Json, path: Path) -> None:
    """Take out what stands at `path`, if anything does; a list keeps its length."""
    for step in path[:-1]:
        try:
            value = value[step]
        except (KeyError, IndexError, TypeError):
            return
    if isinstance(value, dict):
        value.pop(path[-1], None)
    elif isinstance(value, list) and isinstance(path[-1], int):
        value[path[-1]] = None


def suggest(word: str, known: Iterable[str], *, cutoff: float = 0.7) -> str:
    """The known name that is nearly `word`, empty when none is; case and punctuation do not count."""
    folded = {_fold(name): name for name in sorted(known)}
    close = get_close_matches(_fold(word), folded, n=1, cutoff=cutoff)
    return folded[close[0]] if close else ""


def _fold(name: str) -> str:
    return re.sub(r"[\W_]+", "", name).casefold()


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A hint: the name that was probably meant, else the names there are if they are few."""
    names = sorted(known)
    if close := suggest(word, names):
        return f'did you mean "{close}"?'
    return f"known are {', '.join(names)}" if 0 < len(names) <= _MANY else ""


def describe(value: Json) -> str:
    """A value in words, short."""
    match value:
        case None:
            return "nothing"
        case bool():
            return "true" if value else "false"
        case int() | float():
            return f"the number {value}"
        case str():
            return f'"{value}"' if len(value) <= 60 else "a long text"  # noqa: PLR2004
        case list():
            return "a list"
    return "keys and values"


# --- pydantic's errors in our words ----------------------------------------------------------------------------

_EXPECTED = {
    "string_type": "text",
    "bool_type": "true or false",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "list_type": "a list",
    "dict_type": "keys and values",
    "model_type": "keys and values",
}
_SECRET = re.compile(r"(?i)token|secret|password|api_?key|client_?id|credential")


def _problems(document: Document, kind: str, errors: Iterable[Mapping[str, Any]]) -> Iterator[Diagnostic]:
    errors = list(errors)
    meant = {diagnostic.hint for error in errors if (diagnostic := _unknown(document, kind, error))}
    for error in errors:
        path: Path = error["loc"]
        if unknown := _unknown(document, kind, error):
            yield unknown
        elif error["type"] == "missing":
            if f'did you mean "{path[-1]}"?' not in meant:
                yield found("PD111", document.key(path[:-1]), f'"{path[-1]}" is missing', f'add "{path[-1]}"')
        else:
            yield _wrong_value(document, error)


def _unknown(document: Document, kind: str, error: Mapping[str, Any]) -> Diagnostic | None:
    if error["type"] != "extra_forbidden":
        return None
    path: Path = error["loc"]
    name = str(path[-1])
    if _SECRET.search(name) and kind == "project":
        return secret_found(document, path)
    known = _known_keys(FILES[kind].model_json_schema(), path[:-1])
    present = find(document.root, *path[:-1])
    free = known - set(present.entries) if isinstance(present, Map) else known
    return found("PD110", document.key(path), f'"{name}" is not a key here', did_you_mean(name, free))


def secret_found(document: Document, path: Path, detail: str = "") -> Diagnostic:
    """A credential that stands in the catalog; of its line the key alone is shown, see `loading`."""
    hint = "remove it, revoke it, and give credentials in the environment"
    return found("PD116", document.key(path), detail or f'"{path[-1]}" must not be in git', hint)


def _wrong_value(document: Document, error: Mapping[str, Any]) -> Diagnostic:
    path: Path = error["loc"]
    place = document.value(path)
    value = error["input"]
    if error["type"] == "literal_error":
        allowed = [part.strip("'") for part in re.findall(r"'[^']*'", error["ctx"]["expected"])]
        detail = f"{describe(value)} is not one of {', '.join(allowed)}"
        close = suggest(value, allowed) if isinstance(value, str) else ""
        return found("PD112", place, detail, f'did you mean "{close}"?' if close else "")
    if expected := _EXPECTED.get(error["type"]):
        return found(
            "PD113", place, f"expected {expected}, not {describe(value)}", _type_hint(document, path, expected)
        )
    message = error["msg"].removeprefix("Input ").replace("String ", "text ").replace("List ", "list ")
    return found("PD114", place, message[:1].lower() + message[1:])


def _type_hint(document: Document, path: Path, expected: str) -> str:
    node = find(document.root, *path)
    if not isinstance(node, Scalar):
        return ""
    if expected == "text" and isinstance(node.value, bool | int | float):
        return f'write "{node.raw}"'
    if expected == "true or false" and node.raw.casefold() in {"yes", "no", "on", "off", "true", "false"}:
        return "write true" if node.raw.casefold() in {"yes", "on", "true"} else "write false"
    if expected == "a list" and isinstance(node.value, str):
        return f"write [{node.raw}]"
    if "number" in expected and node.style != "plain" and re.fullmatch(r"-?\d+(\.\d+)?", node.raw):
        return "remove the quotes"
    return ""


def _known_keys(schema: dict[str, Any], path: Path) -> set[str]:
    """The keys that a model allows where `path` leads to."""
    definitions = schema.get("$defs", {})
    here = _resolved(schema, definitions)
    for step in path:
        if isinstance(step, int):
            below = here.get("items", {})
        else:
            below = here.get("properties", {}).get(step) or here.get("additionalProperties")
        here = _resolved(below, definitions) if isinstance(below, dict) else {}
    return set(here.get("properties", {}))


def _resolved(schema: dict[str, Any], definitions: Mapping[str, Any]) -> dict[str, Any]:
    """A schema without references, and without the null of what is optional."""
    for option in schema.get("anyOf", ()):
        if option.get("type") != "null":
            return _resolved(option, definitions)
    reference = schema.get("$ref")
    return _resolved(definitions[reference.rpartition("/")[2]], definitions) if reference else schema
