"""Hold the table of kinds against PagerDuty's official OpenAPI file, and cut tests/source/lists.json out of it.

    python -m tests.source.derive_kinds SPEC.json [LIST_ENDPOINTS.json] [--write]

The cut is what the contract test needs to serve every list from the specification's own words: path, key of the
rows, parameters, and the fields of a row that can name it.  The table is written by hand; what it says otherwise than
the specification is a row of `KNOWN` and says why.  The second file, if given, is a list of the list endpoints that was
made by others.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pdsync.kinds import KINDS

if TYPE_CHECKING:
    from collections.abc import Iterator

OUT = Path(__file__).with_name("lists.json")

NAMING = re.compile(
    r"id|type|summary|feature|start|end|status|urgency|url_slug|user|incident|subscription|.*_id|.*_type|.*_at"
    r"|timestamp|range_start|execution_time|escalation_policy|escalation_level|schedule"
)
"""Fields of a row that may name it or tell when it was; the others are left out of the cut."""

PAGING = frozenset({"limit", "offset", "total", "cursor", "after", "before"})

KNOWN = {
    # An override has an id only while it can still be edited, so it is named by whom and when.
    "/schedules/{id}/overrides: id ('user.id', 'start', 'end'), not id",
    "/schedules/{id}/overrides: unique within account",
}


class Spec:
    """The specification, with references followed."""

    def __init__(self, document: dict[str, Any]) -> None:
        self._document = document

    def at(self, node: Any) -> Any:
        """The node that a node stands for."""
        while isinstance(node, dict) and "$ref" in node:
            found: Any = self._document
            for step in node["$ref"].lstrip("#/").split("/"):
                name = step.replace("~1", "/").replace("~0", "~")
                found = found[int(name)] if isinstance(found, list) else found[name]
            node = found
        return node

    def fields(self, schema: Any) -> dict[str, Any]:
        """The properties of a schema, through everything it is put together from."""
        schema = self.at(schema)
        found: dict[str, Any] = {}
        for part in (*schema.get("allOf", ()), *schema.get("oneOf", ()), *schema.get("anyOf", ())):
            found |= {name: value for name, value in self.fields(part).items() if name not in found}
        return {**found, **schema.get("properties", {})}

    def operation(self, method: str, path: str) -> dict[str, Any]:
        """An operation, with the parameters of its path."""
        item = self._document["paths"][path]
        operation: dict[str, Any] = item[method.lower()]
        return {**operation, "parameters": [*item.get("parameters", ()), *operation.get("parameters", ())]}

    def body(self, operation: dict[str, Any]) -> Any:
        """The schema of the answer that is hoped for."""
        return self._content(operation)["schema"]

    def _content(self, operation: dict[str, Any]) -> Any:
        answers = operation["responses"]
        answer = self.at(next(answers[status] for status in sorted(answers) if status.startswith("2")))
        return answer["content"]["application/json"]

    def parameters(self, operation: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """The parameters of the query string."""
        for parameter in map(self.at, operation["parameters"]):
            if parameter["in"] == "query":
                schema = self.at(parameter["schema"])
                items = self.at(schema.get("items", {}))
                yield _cut(
                    name=parameter["name"],
                    type="array" if parameter["name"].endswith("[]") else schema.get("type", "string"),
                    enum=schema.get("enum") or items.get("enum"),
                    required=parameter.get("required", False),
                    maximum=schema.get("maximum"),
                )

    def headers(self, operation: dict[str, Any]) -> dict[str, str]:
        """The headers without which there is no answer, but for those that every request has."""
        found = {}
        for parameter in map(self.at, operation["parameters"]):
            if parameter["in"] == "header" and parameter["name"].lower() not in {"accept", "content-type"}:
                schema = self.at(parameter["schema"])
                found[parameter["name"].lower()] = schema.get("default") or (schema.get("enum") or [""])[0]
        return found

    def row(self, schema: Any, depth: int = 2) -> Any:
        """The shape of a row: its naming fields with their types, two levels deep."""
        schema = self.at(schema)
        fields = self.fields(schema)
        if not fields or not depth:
            return schema.get("type", "object" if fields else "string")
        kept = {name: value for name, value in fields.items() if NAMING.fullmatch(name)}
        return {name: self.row(value, depth - 1) for name, value in sorted(kept.items())}

    def example_row(self, operation: dict[str, Any], field: str) -> dict[str, str]:
        """The naming fields of a row in the example, where its schema has none."""
        content = self._content(operation)
        examples = [each["value"] for each in map(self.at, content.get("examples", {}).values())]
        row: dict[str, Any] = next((example[field][0] for example in examples if example.get(field)), {})
        return {
            name: "string" for name, value in sorted(row.items()) if NAMING.fullmatch(name) and isinstance(value, str)
        }

    def request(self, operation: dict[str, Any]) -> dict[str, Any]:
        """The body of a request: names and types, filters below `filters`."""
        if "requestBody" not in operation:
            return {}
        return self._shape(self.at(operation["requestBody"])["content"]["application/json"]["schema"])

    def _shape(self, schema: Any) -> dict[str, Any]:
        shape: dict[str, Any] = {}
        for name, value in self.fields(schema).items():
            inner = self.at(value)
            shape[name] = (
                self._shape(value)
                if self.fields(value)
                else _cut(type=inner.get("type", "string"), enum=inner.get("enum"))
            )
        return shape


def _cut(**parts: Any) -> dict[str, Any]:
    return {name: value for name, value in parts.items() if value}


def derive(spec: Spec) -> dict[str, Any]:
    """The cut: for every kind what the specification says of its list."""
    cut = {}
    for name, kind in sorted(KINDS.items()):
        operation = spec.operation(kind.method, kind.path)
        body = spec.fields(spec.body(operation))
        arrays = sorted(field for field, value in body.items() if spec.at(value).get("type") == "array")
        rows = {
            field: spec.row(spec.at(body[field])["items"]) or spec.example_row(operation, field) for field in arrays
        }
        cut[name] = _cut(
            method=kind.method,
            path=kind.path,
            rows=rows,
            told=sorted({"more", "total", "next_cursor", "last", "limit", "offset"} & body.keys()),
            parameters=sorted(spec.parameters(operation), key=lambda each: str(each["name"])),
            headers=spec.headers(operation),
            body=spec.request(operation) if kind.method == "POST" else {},
            scopes=_scopes(operation),
        )
    return cut


def _scopes(operation: dict[str, Any]) -> list[str]:
    text = operation.get("description", "")
    return sorted(set(re.findall(r"Scoped OAuth requires: `([a-z_:.]+)`", text)))


def endpoints_differ(endpoints: list[dict[str, Any]]) -> Iterator[str]:
    """What a list of list endpoints made by others says otherwise."""
    ours = {kind.path: kind for kind in KINDS.values() if kind.method == "GET"}
    theirs = {each["path"]: each for each in endpoints}
    yield from (f"{path}: not in the table" for path in theirs.keys() - ours.keys())
    yield from (f"{path}: not among the list endpoints" for path in ours.keys() - theirs.keys())
    for path in ours.keys() & theirs.keys():
        kind, row = ours[path], theirs[path]
        if kind.name != row["kind"]:
            yield f"{path}: kind {kind.name}, not {row['kind']}"
        if kind.rows != row["response_key"]:
            yield f"{path}: rows {kind.rows}, not {row['response_key']}"
        if kind.scope != (row["scope"] or ""):
            yield f"{path}: scope {kind.scope}, not {row['scope']}"
        if row["id_field"] and row["id_field"] not in {each.partition("|")[0] for each in kind.id}:
            yield f"{path}: id {kind.id}, not {row['id_field']}"
        if kind.in_parent != (row["unique_within"] == "parent"):
            yield f"{path}: unique within {row['unique_within']}"


def main(arguments: list[str]) -> int:
    """Derive, compare, and with --write keep the cut."""
    write = "--write" in arguments
    paths = [Path(each) for each in arguments if not each.startswith("--")]
    cut = derive(Spec(json.loads(paths[0].read_text(encoding="utf-8"))))
    lines = [
        f"{json.dumps(name)}: {json.dumps(row, sort_keys=True, separators=(',', ':'))}" for name, row in cut.items()
    ]
    text = "{\n" + ",\n".join(lines) + "\n}\n"
    differences = []
    if len(paths) > 1:
        endpoints = json.loads(paths[1].read_text(encoding="utf-8"))["endpoints"]
        differences = sorted(set(endpoints_differ(endpoints)) - KNOWN)
    if write:
        OUT.write_text(text, encoding="utf-8")
    elif not OUT.exists() or OUT.read_text(encoding="utf-8") != text:
        differences.append(f"{OUT.name} is not what the specification gives: run again with --write")
    print("\n".join(differences) or f"{len(cut)} kinds, no differences")  # noqa: T201
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
