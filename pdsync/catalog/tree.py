"""The files of a catalog, from the working tree or from a git commit, and a digest over them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

from pdsync.catalog.rules import found
from pdsync.errors import CatalogError, Origin

if TYPE_CHECKING:
    from collections.abc import Iterator

    from git import Repo
    from git.objects import Blob, Tree

SUFFIXES = frozenset({".yaml", ".yml", ".json"})
"""What a catalog file ends with, in capitals or not; everything else in the folder is left alone."""


@dataclass(frozen=True, slots=True)
class Files:
    """A catalog's files by their path in the folder, sorted; `links` are symbolic links, which are not followed."""

    name: str
    contents: Mapping[str, bytes]
    links: tuple[str, ...]
    commit: str | None = None

    def digest(self) -> str:
        """SHA-256 over names and bytes."""
        total = hashlib.sha256()
        for path, data in self.contents.items():
            total.update(f"{len(path.encode())}:{len(data)}:".encode() + path.encode() + data)
        return total.hexdigest()


def read_files(root: Path, ref: str | None = None) -> Files:
    """Every catalog file under `root`, or under the same folder of the commit `ref`.  Raises `CatalogError`."""
    return _read_commit(root, ref) if ref is not None else _read_folder(root)


def _read_folder(root: Path) -> Files:
    if not root.is_dir():
        raise _unreadable(root, f"there is no folder {root}", "run pdsync init, or name the folder with --catalog")
    contents, links = {}, []
    try:
        for path in sorted(_walk(root), key=lambda path: path.relative_to(root).as_posix()):
            name = path.relative_to(root).as_posix()
            if path.is_symlink():
                links.append(name)
            elif path.suffix.lower() in SUFFIXES:
                contents[name] = path.read_bytes()
    except OSError as problem:
        raise _unreadable(root, f"{problem.filename}: {problem.strerror}", "") from problem
    return Files(root.resolve().name, contents, tuple(links))


def _walk(folder: Path) -> Iterator[Path]:
    for path in folder.iterdir():
        if path.name.startswith("."):
            continue
        if path.is_dir() and not path.is_symlink():
            yield from _walk(path)
        elif path.is_symlink() or path.is_file():
            yield path


# --- git -------------------------------------------------------------------------------------------------------

_LINK_MODE = 0o120000


def _read_commit(root: Path, ref: str) -> Files:
    from git.exc import GitError, ODBError

    name = root.resolve().name
    try:
        with open_repository(root) as repo:
            commit = repo.commit(ref)
            tree = _folder_of(commit.tree, _inside(root, repo))
            if tree is None:
                raise _unreadable(root, f"{ref} has no folder {name}", "name a commit that has the catalog")
            contents, links = _blobs(tree)
            return Files(name, contents, links, commit.hexsha)
    except (GitError, ODBError, ValueError, IndexError, OSError) as problem:
        raise _unreadable(root, _said(ref, problem), "name a commit, branch or tag of this repository") from problem


def has_folder(root: Path, repo: Repo, commit: str) -> bool:
    """Whether a commit has the catalog's folder.  Raises what git raises."""
    return _folder_of(repo.commit(commit).tree, _inside(root, repo)) is not None


def open_repository(root: Path) -> Repo:
    """The repository that a catalog's folder is in, or would be.  Raises `git.exc.GitError`."""
    from git import Repo

    return Repo(_existing(root.resolve()), search_parent_directories=True)


def _said(ref: str, problem: Exception) -> str:
    from git.exc import InvalidGitRepositoryError

    if isinstance(problem, InvalidGitRepositoryError):
        return f"{ref} was asked for, but the catalog is not in a git repository"
    return f"git has no commit {ref}"


def _existing(path: Path) -> Path:
    """The nearest folder that is there: the catalog may be in the commit only."""
    return next(folder for folder in (path, *path.parents) if folder.is_dir())


def _inside(root: Path, repo: Repo) -> PurePosixPath:
    top = repo.working_tree_dir
    if top is None:
        raise _unreadable(root, "the repository has no working tree", "")
    return PurePosixPath(root.resolve().relative_to(Path(top).resolve()).as_posix())


def _folder_of(tree: Tree, path: PurePosixPath) -> Tree | None:
    from git.objects import Tree as TreeObject

    for part in path.parts:
        try:
            below = tree / part
        except KeyError:
            return None
        if not isinstance(below, TreeObject):
            return None
        tree = below
    return tree


def _blobs(tree: Tree) -> tuple[dict[str, bytes], tuple[str, ...]]:
    contents: dict[str, bytes] = {}
    links: list[str] = []
    for path, blob in _items(tree, ""):
        if blob.mode == _LINK_MODE:
            links.append(path)
        elif PurePosixPath(path).suffix.lower() in SUFFIXES:
            contents[path] = blob.data_stream.read()
    return dict(sorted(contents.items())), tuple(sorted(links))


def _items(tree: Tree, prefix: str) -> Iterator[tuple[str, Blob]]:
    for folder in tree.trees:
        if not folder.name.startswith("."):
            yield from _items(folder, f"{prefix}{folder.name}/")
    for blob in tree.blobs:
        if not blob.name.startswith("."):
            yield f"{prefix}{blob.name}", blob


class Revision(NamedTuple):
    """The commit that a folder stands on (None outside git), and whether files in it differ from it or are new.

    `problem` is why git could not tell; else it is empty.
    """

    commit: str | None
    dirty: bool
    problem: str = ""


def revision(root: Path) -> Revision:
    """What git says of the folder `root` as it is now."""
    if not any((folder / ".git").exists() for folder in (root.resolve(), *root.resolve().parents)):
        return Revision(None, dirty=False)  # without asking git, which takes longer than all else about a catalog

    from git.exc import GitCommandError, GitError

    try:
        with open_repository(root) as repo:
            if not repo.head.is_valid():
                repo.git.rev_parse("--git-dir")  # no commit yet, or git does not let itself be asked
                return Revision(None, dirty=True)
            dirty = repo.is_dirty(path=str(root.resolve()), untracked_files=True)
            return Revision(repo.head.commit.hexsha, dirty)
    except GitCommandError as problem:
        said = str(problem.stderr).strip().removeprefix("stderr:").strip(" '\n")
        return Revision(None, dirty=False, problem=" ".join(said.split()) or f"git ended with {problem.status}")
    except (GitError, OSError) as problem:
        return Revision(None, dirty=False, problem=f"{type(problem).__name__} {problem}".strip())


def _unreadable(root: Path, detail: str, hint: str) -> CatalogError:
    return CatalogError(found("PD100", Origin(root.name or str(root)), detail, hint))
