"""What git knows of a catalog: how it was at an earlier commit, and which commit brought a line of it."""

from __future__ import annotations

import re
from collections import defaultdict
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from pdsync.catalog import load_catalog
from pdsync.catalog.tree import has_folder, open_repository
from pdsync.errors import CatalogError, Severity, error
from pdsync.model import Commit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from git import Repo

    from pdsync.errors import Diagnostic
    from pdsync.model import Catalog

_PLACE = re.compile(r"(?P<file>.+):(?P<line>\d+):\d+(?P<gone>@[0-9a-f]+)?")
_COMMIT = re.compile("[0-9a-f]{40}|[0-9a-f]{64}")
_NOT_COMMITTED = "0" * 40
_UNCOMMITTED = Commit("", "", "", "")


class _Place(NamedTuple):
    """A line of the catalog as changes name it; `line` is 0 when it is no longer there."""

    told: str
    line: int


class Then(NamedTuple):
    """The catalog at an earlier commit; `catalog` is None when that has no such folder."""

    commit: str
    catalog: Catalog | None


class CatalogHistory:
    """The history of the catalog in the folder `root`, under one environment."""

    def __init__(self, root: Path, environment: str | None = None) -> None:
        self._root = root
        self._environment = environment

    def catalog(self, commit: str) -> Catalog:
        """The catalog at a commit.  Raises `CatalogError` when git does not have it or it cannot be used."""
        return load_catalog(self._root, ref=commit, environment=self._environment)

    def base(self, ref: str) -> Then:
        """The catalog where what is checked out left the branch `ref`; at `ref` itself if git does not know where.

        Raises `CatalogError` when git has no such commit here, or its catalog cannot be used.
        """
        from git.exc import GitError, ODBError

        try:
            with open_repository(self._root) as repo:
                commit = _left(repo, ref)
                there = has_folder(self._root, repo, commit)
        except (GitError, ODBError, ValueError, IndexError, OSError) as problem:
            raise CatalogError(_no_base(ref)) from problem
        if not there:
            return Then(commit, None)
        try:
            return Then(commit, self.catalog(commit))
        except CatalogError as problem:
            raise CatalogError(_broken_base(ref, commit, problem.diagnostics)) from problem

    def fetch(self, commit: str, environment: Mapping[str, str]) -> None:
        """Get a commit from `origin` when it is not here, as in a shallow clone, under this environment for git.

        Raises `CatalogError` when it cannot be had.
        """
        from git.exc import GitError, ODBError

        if not _COMMIT.fullmatch(commit):
            raise CatalogError(_no_base(commit))
        try:
            with open_repository(self._root) as repo:
                if _has(repo, commit):
                    return
                shallow = repo.git.rev_parse("--is-shallow-repository") == "true"
                depth = ["--depth=1"] if shallow else []
                with repo.git.custom_environment(**environment, GIT_TERMINAL_PROMPT="0"):
                    repo.git.fetch("--quiet", "--no-tags", *depth, "origin", commit)
        except (GitError, ODBError, ValueError, OSError) as problem:
            raise CatalogError(_no_base(commit)) from problem

    def overtaken(self, applied: str, branch: str, environment: Mapping[str, str]) -> bool:
        """Whether the commit `applied` comes after what is checked out, which is no longer the last of `branch`.

        `origin` is asked, under this environment for git; False where git cannot tell.
        """
        from git.exc import GitError, ODBError

        try:
            with open_repository(self._root) as repo:
                head = repo.head.commit
                if applied == head.hexsha or not _COMMIT.fullmatch(applied):
                    return False
                with repo.git.custom_environment(**environment, GIT_TERMINAL_PROMPT="0"):
                    if str(repo.git.ls_remote("origin", f"refs/heads/{branch}")).startswith(head.hexsha):
                        return False
                    shallow = repo.git.rev_parse("--is-shallow-repository") == "true"
                    since = [f"--shallow-since={head.committed_date - 1}"] if shallow else []
                    if shallow or not _has(repo, applied):
                        repo.git.fetch("--quiet", "--no-tags", *since, "origin", applied)
                return repo.is_ancestor(head, repo.commit(applied))
        except (GitError, ODBError, ValueError, OSError):
            return False

    def lacking(self, commit: str) -> str:
        """Why git does not have a commit here, and what to do; empty where it has it, or there is no repository."""
        from git.exc import GitError

        try:
            with open_repository(self._root) as repo:
                if _has(repo, commit):
                    return ""
                shallow = repo.git.rev_parse("--is-shallow-repository") == "true"
        except (GitError, ValueError, OSError):
            return ""
        deepen = "this clone is shallow: git fetch --unshallow, or in a workflow actions/checkout with fetch-depth: 0"
        return deepen if shallow else f"git has no commit {commit}"

    def commits(self, places: Iterable[str], since: str) -> dict[str, Commit]:
        """By place (`catalog/mappings/a.yaml:3:7`) the commit after `since` that brought the line as it is.

        Where the line itself is older, the last commit after `since` that touched its file.  A commit without an id
        stands for what is not committed; places that git says nothing of are left out.
        """
        from git.exc import GitError

        by_file: defaultdict[str, list[_Place]] = defaultdict(list)
        for place in sorted(set(places)):
            if found := _PLACE.fullmatch(place):
                by_file[found["file"]].append(_Place(place, 0 if found["gone"] else int(found["line"])))
        told: dict[str, Commit] = {}
        try:
            with open_repository(self._root) as repo:
                for file, listed in by_file.items():
                    told.update(self._of_file(repo, file, listed, since))
        except (GitError, ValueError, OSError):  # it only adds to a plan: without a repository there is nothing to add
            return told
        return told

    def _of_file(self, repo: Repo, file: str, places: list[_Place], since: str) -> Iterator[tuple[str, Commit]]:
        path = str(self._root.resolve().parent / file)
        lines = [f"-L{n},{n}" for n in sorted({place.line for place in places} - {0})]
        blamed = _blamed(repo.git.blame("--porcelain", *lines, f"^{since}", "--", path)) if lines else {}
        last = _once(partial(_last_commit, repo, path, since))
        for place in places:
            if commit := blamed.get(place.line) or last():
                yield place.told, commit


def _left(repo: Repo, ref: str) -> str:
    """The last commit of `ref` that what is checked out has too; the last one of `ref` where that is not known."""
    from git.exc import GitCommandError

    commit = repo.commit(ref)
    try:
        common = repo.merge_base(commit, repo.head.commit)
    except (GitCommandError, ValueError):  # a shallow clone, or no commit yet
        common = []
    return common[0].hexsha if common else commit.hexsha


def _has(repo: Repo, commit: str) -> bool:
    from git.exc import GitCommandError

    try:
        repo.git.cat_file("-e", f"{commit}^{{commit}}")
    except GitCommandError:
        return False
    return True


def _no_base(ref: str) -> Diagnostic:
    if not ref.strip():  # as from a variable that is only set in a pull request
        hint = "name a branch or a commit, such as origin/main, or leave --base out"
        return error("PD650", "the base cannot be read", detail="--base is empty", hint=hint)
    hint = f"fetch it first: `git fetch origin {ref}`; in a workflow, actions/checkout with fetch-depth: 0"
    return error("PD650", "the base cannot be read", detail=f"git has no commit {ref} here", hint=hint)


def _broken_base(ref: str, commit: str, problems: Sequence[Diagnostic]) -> Diagnostic:
    wrong = [each for each in problems if each.severity is Severity.ERROR]
    place = f"{wrong[0].origin}: " if wrong[0].origin else ""
    more = f" and {len(wrong) - 1} more" if len(wrong) > 1 else ""
    detail = f"{ref} at {commit[:10]}: {place}{wrong[0].summary}: {wrong[0].detail}".rstrip(": ") + more
    hint = (
        f"plan without --base, or name a commit whose catalog is valid; `pdsync validate --ref {commit[:10]}` says all"
    )
    return error("PD651", "the catalog of the base cannot be used", detail=detail, hint=hint)


def _once(find: Callable[[], Commit | None]) -> Callable[[], Commit | None]:
    found: list[Commit | None] = []

    def once() -> Commit | None:
        if not found:
            found.append(find())
        return found[0]

    return once


def _last_commit(repo: Repo, path: str, since: str) -> Commit | None:
    told = repo.git.log("-1", "--format=%H%n%aN%n%at%n%s", f"{since}..HEAD", "--", path)
    if not told:
        return None
    sha, author, at, summary = told.split("\n", 3)
    return Commit(sha, author, _moment(at), summary)


def _blamed(porcelain: str) -> dict[int, Commit]:
    """Line number -> the commit that brought it, for lines that are younger than the border of what was asked for."""
    told: dict[str, dict[str, str]] = {}
    lines: dict[int, str] = {}
    sha = ""
    for text in porcelain.split("\n"):
        word, _, rest = text.partition(" ")
        if re.fullmatch("[0-9a-f]{40}", word):
            sha = word
            lines[int(rest.split(" ")[1])] = sha
        elif not text.startswith("\t"):
            told.setdefault(sha, {})[word] = rest
    return {line: _commit(sha, told[sha]) for line, sha in lines.items() if "boundary" not in told[sha]}


def _commit(sha: str, told: Mapping[str, str]) -> Commit:
    if sha == _NOT_COMMITTED:
        return _UNCOMMITTED
    return Commit(sha, told["author"], _moment(told["author-time"]), told["summary"])


def _moment(seconds: str) -> str:
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
