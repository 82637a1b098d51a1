"""Refs of a git repository, of its remote's or its own, that are moved by compare-and-swap.

Working tree, index, HEAD and the user's branches stay as they are: only objects are written, and private refs below
`refs/pdsync/`.  git is called through GitPython, without a shell, prompts or hooks.
"""

from __future__ import annotations

import os
import re
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import git

from pdsync.errors import StateError, error
from pdsync.state.backends.patience import SILENCE, NoAnswer, Patience, telling

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

IDENTITY = ("pdsync", "pdsync@pdsync.invalid")
NO_COMMIT = "0" * 40
LONGEST = 180.0
"""Seconds after which a call that talks to the remote is ended."""

PASSING = re.compile(
    r"resolve host|Failed to connect|Connection (?:timed out|reset|refused|closed)|[Tt]imed out|Empty reply|early EOF"
    r"|unexpected disconnect|hung up unexpectedly|returned error: (?:429|5\d\d)|RPC failed|SSL_ERROR_SYSCALL"
    r"|Operation too slow|did not complete in"
)
"""What git says when the network, or a server that is overloaded, is in the way; its words are English (LC_ALL=C)."""

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

    def __init__(
        self,
        folder: Path,
        remote: str,
        environment: Mapping[str, str],
        *,
        notify: Callable[[str], None] | None = None,
        patience: Patience | None = None,
    ) -> None:
        self._git = _open(folder)
        self._notify = notify
        self._patience = patience or Patience()
        self._answered = False
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
        answer = self._ask("ls-remote", self.remote, ref)
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
        answer = self._ask("fetch", *options, str(self.remote), f"+{ref}:{kept}")
        if answer.status:
            raise self._unreadable(ref, answer)
        return self.run("rev-parse", "--verify", kept)

    def is_shallow(self) -> bool:
        """Whether the repository has only a part of its history."""
        return self.run("rev-parse", "--is-shallow-repository") == "true"

    def move(self, ref: str, old: str | None, new: str | None, *, lease: bool = False) -> Move:
        """Move a ref from one commit to another (None: it does not exist), if it still is at the first one.

        Without `lease` the new commit must stand on the old one.  What the network has prevented is tried again.
        Raises `StateError` when the remote cannot be asked.
        """
        with telling(self._notify, f"waiting for git to move {ref}"):
            try:
                return self._patience.insist(lambda: self._try_move(ref, old, new, lease=lease), self._say)
            except NoAnswer as problem:
                raise self._silent(ref, problem) from None

    def _try_move(self, ref: str, old: str | None, new: str | None, *, lease: bool) -> Move:
        answer = self._push(ref, old, new, lease=lease) if self.remote else self._update(ref, old, new)
        if answer.status == 0:
            return Move("done", answer)
        now = self.peek(ref)
        if now == new:
            return Move("done", answer)
        if now == old:
            if PASSING.search(answer.problem):
                raise NoAnswer(answer.problem)
            return Move("forbidden", answer)
        return Move("refused" if not self.remote or _says_refused(answer.text) else "unknown", answer)

    def _push(self, ref: str, old: str | None, new: str | None, *, lease: bool) -> Answer:
        options = ["--porcelain", "--no-verify", "--no-follow-tags", "--recurse-submodules=no"]
        options += [f"--force-with-lease={ref}:{old or ''}"] if lease else []
        return self._over_the_network("push", *options, str(self.remote), f"{new or ''}:{ref}")

    def _update(self, ref: str, old: str | None, new: str | None) -> Answer:
        if new is None:
            return self.call("update-ref", "-d", ref, old or NO_COMMIT)
        return self.call("update-ref", "-m", "pdsync", ref, new, old or NO_COMMIT)

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

    def _ask(self, *arguments: str) -> Answer:
        """Ask the remote, again while it is only the network that fails; whatever it ended with."""
        answer = Answer(1, b"", "")

        def attempt() -> Answer:
            nonlocal answer
            answer = self._over_the_network(*arguments)
            if answer.status and PASSING.search(answer.problem):
                raise NoAnswer(answer.problem)
            return answer

        patience = self._patience if self._answered else self._patience.with_a_stranger()
        with telling(self._notify, f"waiting for git to {arguments[0]}"), suppress(NoAnswer):
            patience.insist(attempt, self._say)
            self._answered = True
        return answer

    def _over_the_network(self, *arguments: str) -> Answer:
        return self.call("-c", "http.lowSpeedLimit=1000", "-c", "http.lowSpeedTime=30", *arguments, timeout=LONGEST)

    def _say(self, seconds: float, problem: NoAnswer) -> None:
        if self._notify and seconds > SILENCE:
            self._notify(f"git: {problem}; trying again in {seconds:.0f} s")

    def call(
        self,
        *arguments: str,
        given: bytes = b"",
        environment: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> Answer:
        """Call git; whatever it ended with.  After `timeout` seconds it is ended, where the system can."""
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
                kill_after_timeout=timeout if os.name == "posix" else None,
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

    def _silent(self, ref: str, problem: NoAnswer) -> StateError:
        detail = f"to move {ref}, tried for {self._patience.total:.0f} s: {problem}"
        hint = "Check the network and the host's health, then run it again."
        return StateError(error("PD550", "the state's remote does not answer", detail=detail, hint=hint))

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
