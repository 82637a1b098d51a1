"""State on a branch of the catalog's own repository: no bucket, no second credential, a readable history.

Each blob is one file on the branch and each store is one commit whose only parent is the branch's tip.  The branch
moves by a push without force (or, where the repository has no remote at all, by `git update-ref` with the old
value), so a store that was built on an old tip is refused by git itself: that refusal is the compare-and-swap.
Only objects and the private ref `refs/pdsync/<branch>` are written locally; working tree, index, HEAD and the
user's branches stay as they are.

The version of a blob is its git object id.  A store is stale when *its* blob has changed; when only another file
moved the branch (the lock, a journal), the commit is made again on the new tip.  Nothing is ever merged.

The branch keeps every state that ever was.  Git stores line-sorted text as small deltas, which is why blobs are
compressed by us only when they approach the size that hosts refuse (GitHub documentation, About large files on
GitHub: warning at 50 MiB, refusal at 100 MiB).  In a shallow clone only the tip is fetched.
"""

from __future__ import annotations

import gzip
import os
import re
import secrets
import tempfile
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple
from urllib.parse import parse_qsl, urlsplit

import git
import msgspec

from pdsync.errors import Locked, StalePlan, StateError, UsageError, error
from pdsync.state.backends import LockInfo, Stored

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

DEFAULT_BRANCH = "pdsync-state"
DEFAULT_REMOTE = "origin"
LOCK_NAME = "lock.json"
COMPRESS_ABOVE = 32 * 1024 * 1024
"""Blobs larger than this many bytes are kept gzipped, under their name with `.gz`."""

ATTEMPTS = 5
"""How often a commit is rebuilt when other files keep moving the branch."""

IDENTITY = ("pdsync", "pdsync@pdsync.invalid")
NO_COMMIT = "0" * 40
BRANCH = re.compile(r"(?!-)(?!.*(?:\.\.|//|@\{|/\.|\.lock(?:/|$)))[A-Za-z0-9._/-]*[A-Za-z0-9_-]")
REMOTE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")
CREDENTIALS = re.compile(r"(?<=://)[^/@\s]+@")


class GitLocation(NamedTuple):
    """Which branch of which remote holds the state."""

    branch: str
    remote: str


def parse_git_url(url: str) -> GitLocation:
    """The branch and remote that a state URL names.

    Both forms mean the same: `git+branch://pdsync-state`, `git:pdsync-state`.  A branch may have slashes
    (`git+branch://pdsync-state/production`); `?remote=upstream` picks another remote than `origin`; without a
    branch it is `pdsync-state`.  Raises `UsageError` for anything else.
    """
    parts = urlsplit(url)
    branch = (f"{parts.netloc}{parts.path}" if parts.scheme == "git+branch" else parts.path).strip("/")
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    remote = options.pop("remote", DEFAULT_REMOTE)
    location = GitLocation(branch or DEFAULT_BRANCH, remote)
    known = parts.scheme == "git+branch" or (parts.scheme == "git" and not parts.netloc)
    if not known or options or parts.fragment or not (BRANCH.fullmatch(location.branch) and REMOTE.fullmatch(remote)):
        raise UsageError(
            error(
                "PD540",
                "this is not a git state URL",
                detail=f"{CREDENTIALS.sub('', url)!r} was given",
                hint="Write git+branch://BRANCH or git+branch://BRANCH?remote=NAME, for example git+branch://pdsync-state.",
            )
        )
    return location


class _Answer(NamedTuple):
    status: int
    output: bytes
    problem: str

    @property
    def text(self) -> str:
        return self.output.decode("utf-8", "replace").strip()


class _Entry(NamedTuple):
    """A file on the branch: where it stands and its object id."""

    path: str
    blob: str


class GitBackend:
    """A `pdsync.state.backends.Backend` on one branch of the repository that `repository` lies in.

    `environment` is added to git's own for every call: this is how a token reaches git without standing in an
    argument or a file (`pdsync.github.settings.git_environment`).  `now` gives the time of commits.
    Raises `StateError` when `repository` is in no git repository.
    """

    def __init__(
        self,
        repository: Path,
        *,
        branch: str = DEFAULT_BRANCH,
        remote: str = DEFAULT_REMOTE,
        environment: Mapping[str, str] | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        compress_above: int = COMPRESS_ABOVE,
    ) -> None:
        self.url = f"git+branch://{branch}" + ("" if remote == DEFAULT_REMOTE else f"?remote={remote}")
        self._git = _open(repository)
        self._branch = branch
        self._ref = f"refs/heads/{branch}"
        self._kept = f"refs/pdsync/{branch}"
        self._environment = {"GIT_TERMINAL_PROMPT": "0", **(environment or {})}
        self._now = now
        self._compress_above = compress_above
        self._remote = self._choose_remote(remote)

    def load(self, name: str) -> Stored | None:
        """The blob at the branch's tip, or None when branch or blob does not exist.  Raises `StateError`."""
        entry = self._find(self._tip(), name)
        return entry and self._read(entry)

    def store(self, name: str, data: bytes, expected: str | None) -> str:
        """Replace the blob by a commit on the tip; see `Backend.store`."""
        entry = self._write_blob(name, data)
        self._change(name, entry, expected, lambda found: _stale(name, expected, found))
        return entry.blob

    def delete(self, name: str) -> None:
        """Remove the blob by a commit on the tip; one that is not there is fine.  Raises `StateError`."""
        for _ in range(ATTEMPTS):
            found = self._find(self._tip(), name)
            if found is None:
                return
            try:
                self._change(name, None, found.blob, lambda now: _stale(name, None, now))
            except StalePlan:
                continue
            return
        raise self._restless(name)

    @contextmanager
    def lock(self, info: LockInfo) -> Iterator[None]:
        """Hold `lock.json` on the branch for the block.  It never expires; `unlock` breaks it.

        Raises `Locked` when somebody holds it.  A lock that was broken meanwhile is not an error at the end:
        the compare-and-swap of `store` is what protects the state.
        """
        entry = self._write_blob(LOCK_NAME, msgspec.json.encode(info))
        self._change(LOCK_NAME, entry, None, lambda _: self._locked())
        try:
            yield
        except BaseException as failure:
            try:
                self._release(info.id)
            except StateError as problem:
                failure.add_note(f"The lock {info.id} could not be released either: {problem}")
            raise
        self._release(info.id)

    def unlock(self, lock_id: str) -> None:
        """Break the lock with this id.  Raises `StateError` when another lock, or none, is held."""
        held = self._holder()
        if held is None or held.id != lock_id:
            found = f"the lock {held.id} of {held.who} is held" if held else "no lock is held"
            raise StateError(error("PD544", "there is no such lock", detail=f"{found}, not {lock_id}"))
        self.delete(LOCK_NAME)

    # --- the lock ----------------------------------------------------------------------------------------------

    def _holder(self) -> LockInfo | None:
        stored = self.load(LOCK_NAME)
        if stored is None:
            return None
        try:
            return msgspec.json.decode(stored.data, type=LockInfo)
        except msgspec.MsgspecError as problem:
            raise StateError(error("PD546", "the lock file cannot be read", detail=str(problem))) from problem

    def _release(self, lock_id: str) -> None:
        held = self._holder()
        if held is not None and held.id == lock_id:
            self.delete(LOCK_NAME)

    def _locked(self) -> StateError:
        held = self._holder()
        if held is None:
            return Locked(error("PD543", "somebody took the state's lock at the same moment", hint="Run it again."))
        detail = f"{held.operation} by {held.who} since {held.since}" + (f", {held.link}" if held.link else "")
        hint = f"Wait for it, or if it is dead: pdsync unlock {held.id}"
        return Locked(error("PD543", "the state is locked", detail=detail, hint=hint))

    # --- compare and swap --------------------------------------------------------------------------------------

    def _change(
        self,
        name: str,
        entry: _Entry | None,
        expected: str | None,
        conflict: Callable[[_Entry | None], StateError],
    ) -> None:
        """Make `name` be `entry` (None: gone) if it still is `expected`; else raise what `conflict` builds."""
        doubtful = False
        for _ in range(ATTEMPTS):
            tip = self._tip()
            found = self._find(tip, name)
            if doubtful and found == entry:
                return  # the push had landed although its answer was lost
            if (found.blob if found else None) != expected:
                raise conflict(found)
            if found == entry:
                return
            outcome = self._advance(tip, self._commit(tip, name, found, entry))
            if outcome == "done":
                return
            doubtful = doubtful or outcome == "unknown"
        raise self._restless(name)

    def _advance(self, tip: str | None, commit: str) -> Literal["done", "refused", "unknown"]:
        """Move the branch from `tip` to `commit`; how that went when it has moved meanwhile.  Raises `StateError`."""
        if self._remote:
            options = ("--porcelain", "--no-verify", "--no-follow-tags", "--recurse-submodules=no")
            answer = self._call("push", *options, self._remote, f"{commit}:{self._ref}")
        else:
            answer = self._call("update-ref", "-m", "pdsync", self._ref, commit, tip or NO_COMMIT)
        now = commit if answer.status == 0 else self._peek()
        if now == commit:
            self._run("update-ref", self._kept, commit)
            return "done"
        if now == tip:
            raise self._refused(answer)
        return "refused" if not self._remote or _says_refused(answer.text) else "unknown"

    def _commit(self, tip: str | None, name: str, old: _Entry | None, new: _Entry | None) -> str:
        """A commit like no other: two writers of equal bytes in one second must not both find theirs on the branch."""
        moment = self._now().astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        tree = self._tree(tip, old, new)
        names = ("NAME", "EMAIL", "DATE")
        who = dict(zip(names, (*IDENTITY, moment), strict=True))
        identity = {f"GIT_{role}_{key}": value for role in ("AUTHOR", "COMMITTER") for key, value in who.items()}
        message = f"{'Store' if new else 'Remove'} {name} at {moment}\n\nWrite: {secrets.token_hex(8)}\n"
        parent = ("-p", tip) if tip else ()
        return self._run("commit-tree", tree, *parent, "-F", "-", given=message.encode(), environment=identity)

    def _tree(self, tip: str | None, old: _Entry | None, new: _Entry | None) -> str:
        """The tip's tree with one file replaced, built in an index of our own."""
        with tempfile.TemporaryDirectory(prefix="pdsync-") as folder:
            index = {"GIT_INDEX_FILE": str(Path(folder) / "index")}
            self._run("read-tree", tip or "--empty", environment=index)
            if old:
                self._run("update-index", "--force-remove", "--", old.path, environment=index)
            if new:
                self._run("update-index", "--add", "--cacheinfo", f"100644,{new.blob},{new.path}", environment=index)
            return self._run("write-tree", environment=index)

    # --- reading -----------------------------------------------------------------------------------------------

    def _peek(self) -> str | None:
        """The commit that the branch points at now, None when the branch is proven not to exist."""
        if not self._remote:
            answer = self._call("rev-parse", "--verify", "--quiet", f"{self._ref}^{{commit}}")
            return answer.text or None
        answer = self._call("ls-remote", "--refs", self._remote, self._ref)
        if answer.status:
            raise self._unreadable(answer)
        return answer.text.split()[0] if answer.text else None

    def _tip(self) -> str | None:
        """As `_peek`, with the commit's objects at hand."""
        tip = self._peek()
        if tip is None or not self._remote or self._call("cat-file", "-e", f"{tip}^{{commit}}").status == 0:
            return tip
        shallow = self._run("rev-parse", "--is-shallow-repository") == "true"
        depth = ("--depth=1",) if shallow else ()
        options = ("--no-tags", "--no-write-fetch-head", "--recurse-submodules=no", "--quiet", *depth)
        answer = self._call("fetch", *options, self._remote, f"+{self._ref}:{self._kept}")
        if answer.status:
            raise self._unreadable(answer)
        return self._run("rev-parse", "--verify", self._kept)

    def _find(self, tip: str | None, name: str) -> _Entry | None:
        if tip is None:
            return None
        listing = self._run("ls-tree", "-z", tip, "--", name, f"{name}.gz")
        for line in filter(None, listing.split("\0")):
            meta, path = line.split("\t", 1)
            return _Entry(path, meta.split()[2])
        return None

    def _read(self, entry: _Entry) -> Stored:
        answer = self._call("cat-file", "blob", entry.blob)
        if answer.status:
            raise self._unreadable(answer)
        try:
            data = gzip.decompress(answer.output) if entry.path.endswith(".gz") else answer.output
        except (OSError, EOFError) as problem:
            raise StateError(error("PD546", "a compressed state file is damaged", detail=entry.path)) from problem
        return Stored(data, entry.blob)

    def _write_blob(self, name: str, data: bytes) -> _Entry:
        packed = len(data) > self._compress_above
        content = gzip.compress(data, mtime=0) if packed else data
        blob = self._run("hash-object", "-w", "--stdin", given=content)
        return _Entry(f"{name}.gz" if packed else name, blob)

    # --- git ---------------------------------------------------------------------------------------------------

    def _choose_remote(self, wanted: str) -> str | None:
        """The remote to use; None only when the repository has no remote at all."""
        remotes = self._run("remote").split()
        if not remotes:
            head = self._call("symbolic-ref", "--quiet", "HEAD").text
            if head == self._ref:
                raise StateError(error("PD547", "the state's branch is checked out here", detail=self._branch))
            return None
        if wanted not in remotes:
            hint = f"Name one of them in the state URL: git+branch://{self._branch}?remote={remotes[0]}"
            raise StateError(
                error(
                    "PD547",
                    "the remote for the state does not exist",
                    detail=f"{wanted} is none of {remotes}",
                    hint=hint,
                )
            )
        return wanted

    def _call(self, *arguments: str, given: bytes = b"", environment: Mapping[str, str] | None = None) -> _Answer:
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
        return _Answer(status, _bytes(output), CREDENTIALS.sub("", said).strip())

    def _run(self, *arguments: str, given: bytes = b"", environment: Mapping[str, str] | None = None) -> str:
        answer = self._call(*arguments, given=given, environment=environment)
        if answer.status:
            detail = f"git {arguments[0]}: {answer.problem}"
            raise StateError(error("PD541", "git could not do its part", detail=detail))
        return answer.text

    # --- what went wrong ---------------------------------------------------------------------------------------

    def _unreadable(self, answer: _Answer) -> StateError:
        hint = f"Check that git can read the remote: git ls-remote {self._remote or '.'} {self._ref}"
        return StateError(error("PD541", "the state's branch cannot be read", detail=answer.problem, hint=hint))

    def _refused(self, answer: _Answer) -> StateError:
        reasons = [line.split("\t")[-1] for line in answer.text.splitlines() if line.startswith("!")]
        detail = "; ".join(filter(None, [*reasons, answer.problem]))
        hint = (
            f"The credentials must be allowed to push to {self._branch}; in a workflow: permissions: contents: write. "
            "A branch rule must not ask for reviews there."
        )
        return StateError(error("PD541", "the state could not be pushed", detail=detail, hint=hint))

    def _restless(self, name: str) -> StateError:
        detail = f"{name}: the branch {self._branch} moved {ATTEMPTS} times while it was written"
        return StateError(error("PD541", "the state's branch keeps moving", detail=detail, hint="Run it again."))


def _open(repository: Path) -> git.Git:
    try:
        found = git.Repo(os.fspath(repository), search_parent_directories=True)
    except (git.InvalidGitRepositoryError, git.NoSuchPathError) as problem:
        raise StateError(
            error(
                "PD547",
                "there is no git repository to keep the state in",
                detail=f"{repository} is not inside one",
                hint="Check out the repository first, or choose another state URL.",
            )
        ) from problem
    return found.git


def _says_refused(porcelain: str) -> bool:
    """Whether the remote has answered that it did not take the push (git-push documentation, Output)."""
    refusals = [line for line in porcelain.splitlines() if line.startswith("!")]
    return bool(refusals) and not any("[remote failure]" in line for line in refusals)


def _bytes(output: object) -> bytes:
    return output if isinstance(output, bytes) else str(output).encode("utf-8", "surrogateescape")


def _stale(name: str, expected: str | None, found: _Entry | None) -> StalePlan:
    was, now = (expected or "not there")[:12], (found.blob if found else "not there")[:12]
    return StalePlan(
        error(
            "PD542",
            "the state has moved since it was read",
            detail=f"{name} was {was} and is {now}; somebody else has applied",
            hint="Plan again and apply the new plan.",
        )
    )
