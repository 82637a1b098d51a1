"""From files to a checked `Catalog`: read everything, check everything, and only then build."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from pdsync.catalog.blueprints import (
    Drafts,
    calculation_slots,
    check_between,
    check_blueprint,
    make_blueprint,
    read_draft,
)
from pdsync.catalog.lint import check_jq, check_resource, check_target, check_together
from pdsync.catalog.mappings import Resource, lost_indentation, make_rule, read_resources
from pdsync.catalog.nodes import Document, Scalar, Sequence, find, read_documents
from pdsync.catalog.nodes import Document as _Document
from pdsync.catalog.project import asked_for, check_project, make_project
from pdsync.catalog.rules import found
from pdsync.catalog.schema import check_shape, did_you_mean, secret_found
from pdsync.catalog.tree import read_files
from pdsync.errors import CatalogError, Diagnostic, Origin, Severity
from pdsync.model import Catalog

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from pdsync.catalog.tree import Files

PROJECT = "pdsync.yaml"
FOLDERS = {"blueprints": "blueprint", "mappings": "mapping", "webhooks": "webhook", "tests": "test"}
"""What the files of each folder are."""


@dataclass(slots=True)
class _Read:
    """What was found so far: the documents of the project, blueprints and mappings, and every problem.

    `now` is when it is to be used, if that is known; `emptied` are files of blueprints that say nothing.
    """

    now: datetime | None = None
    project: Document | None = None
    drafts: Drafts = field(default_factory=dict)
    resources: list[Resource] = field(default_factory=list)
    counts: dict[str, dict[str, int]] = field(default_factory=dict)
    problems: list[Diagnostic] = field(default_factory=list)
    emptied: list[Origin] = field(default_factory=list)


def check(
    root: Path, *, ref: str | None = None, environment: str | None = None, now: datetime | None = None
) -> tuple[Catalog | None, tuple[Diagnostic, ...]]:
    """The catalog (None with an error) and everything found in it at a time, sorted by place, none twice."""
    try:
        return check_files(read_files(root, ref), environment, now)
    except CatalogError as problem:
        return None, problem.diagnostics


def check_files(
    files: Files, environment: str | None = None, now: datetime | None = None
) -> tuple[Catalog | None, tuple[Diagnostic, ...]]:
    """As `check`, for files that are read already."""
    read = _read(files, now)
    unsent = _check(read, environment)
    problems = _sorted(_without_secrets(_once_of_aliases(read.problems)))
    if read.project is None or any(problem.severity is Severity.ERROR for problem in problems):
        return None, problems
    catalog = Catalog(
        project=make_project(read.project, environment),
        blueprints={name: make_blueprint(draft) for name, draft in sorted(read.drafts.items())},
        rules=tuple(make_rule(resource, frozenset(unsent.get(resource.id, ()))) for resource in read.resources),
        tree=files.digest(),
        commit=files.commit,
        diagnostics=problems,
    )
    return catalog, problems


def _once_of_aliases(problems: list[Diagnostic]) -> list[Diagnostic]:
    """What is wrong with an alias is that it is one; what it would stand for is not known."""
    aliases = {problem.origin for problem in problems if problem.code == "PD104"}
    return [problem for problem in problems if problem.code == "PD104" or problem.origin not in aliases]


def _without_secrets(problems: list[Diagnostic]) -> list[Diagnostic]:
    """Of a line on which a secret stands, no more is shown than what is underlined."""
    lines = {(one.origin.file, one.origin.line) for one in problems if one.code == "PD116" and one.origin}

    def blotted(origin: Origin) -> Origin:
        if (origin.file, origin.line) not in lines:
            return origin
        start = origin.column - 1
        return replace(origin, text=f"{' ' * start}{origin.text[start : start + origin.length]}")

    if not lines:
        return problems
    return [
        replace(one, origin=one.origin and blotted(one.origin), related=tuple(map(blotted, one.related)))
        for one in problems
    ]


def _sorted(problems: Iterable[Diagnostic]) -> tuple[Diagnostic, ...]:
    def place(problem: Diagnostic) -> tuple[str, int, int, str, str]:
        origin = problem.origin or Origin("")
        return origin.file, origin.line, origin.column, problem.code, problem.detail

    return tuple(sorted(dict.fromkeys(problems), key=place))


# --- reading ---------------------------------------------------------------------------------------------------


def _read(files: Files, now: datetime | None) -> _Read:
    read = _Read(now)
    for path in files.links:
        read.problems.append(found("PD108", Origin(f"{files.name}/{path}"), "symbolic links are not followed"))
    for path, data in files.contents.items():
        kind = "project" if path == PROJECT else _kind_of(path)
        if kind is None:
            read.problems.append(_stray(files.name, path))
            continue
        documents, problems = read_documents(f"{files.name}/{path}", data)
        read.problems += problems
        speaking = list(_split(kind, documents))
        for document in speaking:
            _TAKE[kind](read, path, document)
        if not speaking and not problems and kind != "project":
            _note_silence(read, kind, Origin(f"{files.name}/{path}", 1, 1))
    place = Origin(f"{files.name}/{PROJECT}")
    if read.project is None and not any(one.origin and one.origin.file == place.file for one in read.problems):
        detail = "the file is empty" if PROJECT in files.contents else "there is no such file"
        read.problems.append(found("PD118", place, detail, f"write {place.file} with a line such as name: ours"))
    return read


def _note_silence(read: _Read, kind: str, place: Origin) -> None:
    read.problems.append(found("PD176", place, hint="remove it, or bring back what it said"))
    if kind == "blueprint":
        read.emptied.append(place)


def _kind_of(path: str) -> str | None:
    folder, *rest = PurePosixPath(path).parts
    return FOLDERS.get(folder) if rest else None


def _stray(name: str, path: str) -> Diagnostic:
    folder, *rest = PurePosixPath(path).parts
    known = FOLDERS if rest else [PROJECT]
    hint = did_you_mean(folder, known)
    if "did you" not in hint:
        hint = f"files belong under {', '.join(FOLDERS)}"
    return found("PD108", Origin(f"{name}/{path}"), f"{path} is none of the catalog's files", hint)


def _split(kind: str, documents: Iterable[Document]) -> Iterator[Document]:
    """One document each: a file of blueprints may hold a list of them; an empty document says nothing."""
    for document in documents:
        if kind == "blueprint" and isinstance(document.root, Sequence):
            yield from (_Document(document.source, item) for item in document.root.items)
        elif kind == "project" or not (isinstance(document.root, Scalar) and document.root.value is None):
            yield document


def _take_project(read: _Read, _path: str, document: Document) -> None:
    read.problems += check_shape(document, "project")[1]
    if read.project is not None:
        read.problems.append(found("PD103", document.at(document.root), "there is one project per catalog"))
    read.project = read.project or document


def _take_blueprint(read: _Read, _path: str, document: Document) -> None:
    draft, problems = read_draft(document)
    read.problems += problems
    if draft is None:
        return
    before = read.drafts.get(draft.identifier)
    if before is None:
        read.drafts[draft.identifier] = draft
        return
    place, first = (one.document.value(("identifier",)) for one in (draft, before))
    detail = f'"{draft.identifier}" is defined in {first.file} already'
    read.problems.append(found("PD120", place, detail, "remove one of them", related=(first,)))


def _take_mapping(read: _Read, path: str, document: Document) -> None:
    if lost := lost_indentation(document):
        read.problems += lost
        return
    read.problems += check_shape(document, "mapping")[1]
    resources, problems = read_resources(path, document, read.counts.setdefault(path, {}), read.now)
    read.resources += resources
    read.problems += problems
    listed = find(document.root, "resources")
    if isinstance(listed, Sequence) and not listed.items:
        _note_silence(read, "mapping", document.value(("resources",)))


def _take_webhook(read: _Read, _path: str, document: Document) -> None:
    read.problems += check_shape(document, "webhook")[1]
    secret = find(document.root, "security", "secret")
    if isinstance(secret, Scalar) and isinstance(secret.value, str) and not secret.value.startswith("${"):
        read.problems.append(secret_found(document, ("security", "secret")))


def _take_test(read: _Read, _path: str, document: Document) -> None:
    read.problems += check_shape(document, "test")[1]


_TAKE = {
    "project": _take_project,
    "blueprint": _take_blueprint,
    "mapping": _take_mapping,
    "webhook": _take_webhook,
    "test": _take_test,
}


def _without_guess(problem: Diagnostic, emptied: list[Origin]) -> Diagnostic:
    """A blueprint that is not there may be what an emptied file had: no other one is proposed then."""
    return replace(problem, hint="", related=tuple(emptied)) if problem.code == "PD161" and emptied else problem


# --- checking --------------------------------------------------------------------------------------------------


def _check(read: _Read, environment: str | None) -> dict[str, set[str]]:
    """Every check beyond the shape of single files; gives per resource the roles that are not sent."""
    slots = [slot for draft in read.drafts.values() for slot in calculation_slots(draft)]
    slots += [slot for resource in read.resources for slot in resource.slots()]
    read.problems += check_jq(slots)
    if read.project is not None:
        read.problems += check_project(read.project, environment, read.drafts)
    asked = asked_for(read.project, environment) if read.project else frozenset()
    for draft in read.drafts.values():
        read.problems += check_blueprint(draft, asked)
        read.problems += check_between(draft, read.drafts)
    unsent: dict[str, set[str]] = {}
    for resource in read.resources:
        read.problems += check_resource(resource)
        for role, problem in check_target(resource, read.drafts, asked):
            read.problems.append(_without_guess(problem, read.emptied))
            unsent.setdefault(resource.id, set()).update({role} - {""})
    read.problems += check_together(read.resources, read.drafts)
    return unsent
