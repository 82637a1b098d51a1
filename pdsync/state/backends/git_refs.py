"""Refs of a git repository, of its remote's or its own, that are moved by compare-and-swap.

Working tree, index, HEAD and the user's branches stay as they are: only objects are written, and private refs below
`refs/pdsync/`.  git is called through GitPython, without a shell, prompts or hooks.
"""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import git

from pdsync.errors import StateError, error

if TYPE_CHECKING:
    from collections.abc import Mapping

IDENTITY = ("pdsync", "pdsync@pdsync.invalid")
NO_COMMIT = "0" * 40
CREDENTIALS = re.compile(r"(?<=://)[^/@\s]+@")


class Answer(NamedTuple):
    """What a call of git ended with and said."""

    status: int
    output: bytes
    problem: str

    @property
    def text(self) -> str:
        """The output as text."""
        return self.output.decode("utf-8", "replace").strip()


class Move(NamedTuple):
    """How moving a ref went: it is moved; it is elsewhere now; it may have been; it may not be moved by us."""

    outcome: Literal["done", "refused", "unknown", "forbidden"]
    answer: Answer


class Entry(NamedTuple):
    """A file of a commit: where it stands and its object id."""

    path: str
    blob: str


class Repository:
    """The repository that `folder` lies in, and the remote of that name.

    `remote` is None afterwards when the repository has none at all: then the refs are its own.  `environment` is added
    to git's own for every call: this is how a token reaches git without standing in an argument or a file.  Raises
    `StateError` when there is no repository, or no remote of that name but others.
    """

    def __init__(self, folder: Path, remote: str, environment: Mapping[str, str]) -> None:
        self._git = _open(folder)
        self._environment = {"GIT_TERMINAL_PROMPT": "0", **environment}
        remotes = self.run("remote").split()
        if remotes and remote not in remotes:
            hint = f"Name one of them in the state URL: git+branch://BRANCH?remote={remotes[0]}"
            detail = f"{remote} is none of {remotes}"
            raise StateError(error("PD547", "the remote for the state does not exist", detail=detail, hint=hint))
        self.remote = remote if remotes else None

    # --- refs --------------------------------------------------------------------------------------------------

    def peek(self, ref: str) -> str | None:
        """The commit that a ref points at now, None when it is proven not to exist.  Raises `StateError`."""
        if not self.remote:
            return self.call("rev-parse", "--verify", "--quiet", f"{ref}^{{commit}}").text or None
        answer = self.call("ls-remote", self.remote, ref)
        if answer.status:
            raise self._unreadable(ref, answer)
        return next((line.split()[0] for line in answer.text.splitlines() if line.split()[1] == ref), None)

    def tip(self, ref: str, kept: str) -> str | None:
        """As `peek`, with the commit's objects at hand; `kept` is the private ref that they are fetched into."""
        tip = self.peek(ref)
        if tip is None or not self.remote or self.call("cat-file", "-e", f"{tip}^{{commit}}").status == 0:
            return tip
        return self.fetch(ref, kept, 1 if self.is_shallow() else 0)

    def fetch(self, ref: str, kept: str, depth: int) -> str:
        """Fetch what a ref of the remote points at, with so many commits (0: all); the commit."""
        options = ["--no-tags", "--no-write-fetch-head", "--recurse-submodules=no", "--quiet"]
        options += [f"--depth={depth}"] if depth else []
        answer = self.call("fetch", *options, str(self.remote), f"+{ref}:{kept}")
        if answer.status:
            raise self._unreadable(ref, answer)
        return self.run("rev-parse", "--verify", kept)

    def is_shallow(self) -> bool:
        """Whether the repository has only a part of its history."""
        return self.run("rev-parse", "--is-shallow-repository") == "true"

    def move(self, ref: str, old: str | None, new: str | None, *, lease: bool = False) -> Move:
        """Move a ref from one commit to another (None: it does not exist), if it still is at the first one.

        Without `lease` the new commit must stand on the old one.  Raises `StateError` when the remote cannot be asked.
        """
        if self.remote:
            options = ["--porcelain", "--no-verify", "--no-follow-tags", "--recurse-submodules=no"]
            options += [f"--force-with-lease={ref}:{old or ''}"] if lease else []
            answer = self.call("push", *options, self.remote, f"{new or ''}:{ref}")
        elif new is None:
            answer = self.call("update-ref", "-d", ref, old or NO_COMMIT)
        else:
            answer = self.call("update-ref", "-m", "pdsync", ref, new, old or NO_COMMIT)
        if answer.status == 0:
            return Move("done", answer)
        now = self.peek(ref)
        if now in (new, old):
            return Move("done" if now == new else "forbidden", answer)
        return Move("refused" if not self.remote or _says_refused(answer.text) else "unknown", answer)

    # --- objects -----------------------------------------------------------------------------------------------

    def find(self, commit: str | None, *paths: str) -> Entry | None:
        """The first of these files that a commit has."""
        if commit is None:
            return None
        listing = self.run("ls-tree", "-z", commit, "--", *paths)
        for line in filter(None, listing.split("\0")):
            meta, path = line.split("\t", 1)
            return Entry(path, meta.split()[2])
        return None

    def read(self, blob: str) -> bytes:
        """The bytes of a blob.  Raises `StateError`."""
        answer = self.call("cat-file", "blob", blob)
        if answer.status:
            raise self._unreadable(blob, answer)
        return answer.output

    def write(self, content: bytes) -> str:
        """A blob of these bytes; its id."""
        return self.run("hash-object", "-w", "--stdin", given=content)

    def tree(self, commit: str | None, old: Entry | None, new: Entry | None) -> str:
        """The tree of a commit (None: an empty one) with one file replaced, built in an index of our own."""
        with tempfile.TemporaryDirectory(prefix="pdsync-") as folder:
            index = {"GIT_INDEX_FILE": str(Path(folder) / "index")}
            self.run("read-tree", commit or "--empty", environment=index)
            if old:
                self.run("update-index", "--force-remove", "--", old.path, environment=index)
            if new:
                self.run("update-index", "--add", "--cacheinfo", f"100644,{new.blob},{new.path}", environment=index)
            return self.run("write-tree", environment=index)

    def commit(self, tree: str, parent: str | None, message: str, moment: str) -> str:
        """A commit of ours at this time (RFC 3339); its id."""
        who = dict(zip(("NAME", "EMAIL", "DATE"), (*IDENTITY, moment), strict=True))
        identity = {f"GIT_{role}_{key}": value for role in ("AUTHOR", "COMMITTER") for key, value in who.items()}
        parents = ("-p", parent) if parent else ()
        return self.run("commit-tree", tree, *parents, "-F", "-", given=message.encode(), environment=identity)

    def history(self, commit: str, longest: int) -> list[str]:
        """The commits that lead to this one, oldest first, not more than so many."""
        return self.run("rev-list", "--first-parent", f"--max-count={longest}", commit).split()[::-1]

    def replanted(self, commit: str, parent: str | None) -> str:
        """The same commit on another parent, or on none."""
        head, *lines = self.run("cat-file", "commit", commit).split("\n")
        own = [line for line in lines if not line.startswith("parent ")]
        text = "\n".join([head, *([f"parent {parent}"] if parent else []), *own]) + "\n"
        return self.run("hash-object", "-t", "commit", "-w", "--stdin", given=text.encode())

    # --- git ---------------------------------------------------------------------------------------------------

    def call(self, *arguments: str, given: bytes = b"", environment: Mapping[str, str] | None = None) -> Answer:
        """Call git; whatever it ended with."""
        with tempfile.TemporaryFile() as stream:
            stream.write(given)
            stream.seek(0)
            status, output, problem = self._git.execute(
                ["git", *arguments],
                istream=stream,
                with_extended_output=True,
                with_exceptions=False,
                stdout_as_string=False,
                strip_newline_in_stdout=False,
                env={**self._environment, **(environment or {})},
            )
        said = _bytes(problem).decode("utf-8", "replace")
        return Answer(status, _bytes(output), CREDENTIALS.sub("", said).strip())

    def run(self, *arguments: str, given: bytes = b"", environment: Mapping[str, str] | None = None) -> str:
        """Call git; what it printed.  Raises `StateError` when it fails."""
        answer = self.call(*arguments, given=given, environment=environment)
        if answer.status:
            detail = f"git {arguments[0]}: {answer.problem}"
            raise StateError(error("PD541", "git could not do its part", detail=detail))
        return answer.text

    # --- what went wrong ---------------------------------------------------------------------------------------

    def _unreadable(self, what: str, answer: Answer) -> StateError:
        hint = f"Check that git can read the remote: git ls-remote {self.remote or '.'} {what}"
        return StateError(error("PD541", "the state's branch cannot be read", detail=answer.problem, hint=hint))

    def refused(self, ref: str, answer: Answer) -> StateError:
        """The error of a ref that we may not move."""
        reasons = [line.split("\t")[-1] for line in answer.text.splitlines() if line.startswith("!")]
        detail = "; ".join(filter(None, [*reasons, answer.problem]))
        hint = (
            f"The credentials must be allowed to push to {ref.removeprefix('refs/heads/')}; in a workflow: "
            "permissions: contents: write. A branch rule must not ask for reviews there."
        )
        return StateError(error("PD541", "the state could not be pushed", detail=detail, hint=hint))


def _open(folder: Path) -> git.Git:
    try:
        return git.Repo(os.fspath(folder), search_parent_directories=True).git
    except (git.InvalidGitRepositoryError, git.NoSuchPathError) as problem:
        raise StateError(
            error(
                "PD547",
                "there is no git repository to keep the state in",
                detail=f"{folder} is not inside one",
                hint="Check out the repository first, or choose another state URL.",
            )
        ) from problem


def _says_refused(porcelain: str) -> bool:
    """Whether the remote has answered that it did not take the push (git-push documentation, Output)."""
    refusals = [line for line in porcelain.splitlines() if line.startswith("!")]
    return bool(refusals) and not any("[remote failure]" in line for line in refusals)


def _bytes(output: object) -> bytes:
    return output if isinstance(output, bytes) else str(output).encode("utf-8", "surrogateescape")
