"""State on a branch of the catalog's own repository: no bucket, no second credential, a readable history.

Each blob is one file on the branch and each store is one commit whose only parent is the branch's tip.  The branch
moves by a push without force (or, where the repository has no remote at all, by `git update-ref` with the old
value), so a store that was built on an old tip is refused by git itself: that refusal is the compare-and-swap.

The version of a blob is its git object id.  A store is stale when *its* blob has changed; when only another file
moved the branch, the commit is made again on the new tip.  Nothing is ever merged.

Git compresses what it keeps, and sorted lines against their older versions, which is why blobs are compressed by us
only when they approach the size that hosts refuse (GitHub documentation, About large files on GitHub: warning at
50 MiB, refusal at 100 MiB).  History is bounded: a commit says how many there are, and the one that would exceed
`LONGEST` is put onto copies of the last `KEPT`.  That one push is forced, but from the very tip that was read
(`--force-with-lease`), so it is a compare-and-swap like the others; where a branch rule forbids it, history grows on.
In a shallow clone only the tip is fetched.

The lock is a ref of its own, `refs/pdsync/lock/BRANCH`.  It is no branch, so that heartbeats neither lengthen the
history nor set off workflows.
"""

from __future__ import annotations

import gzip
import re
import secrets
from copy import copy
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import parse_qsl, urlsplit

from pdsync.errors import StalePlan, StateError, UsageError, error
from pdsync.state.backends import Stored
from pdsync.state.backends.git_refs import CREDENTIALS, Entry, Move, Repository
from pdsync.state.backends.locks import LOCK, break_lock, hold, read_lock

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager
    from pathlib import Path

    from pdsync.errors import Diagnostic
    from pdsync.state.backends import Beat, LockInfo
    from pdsync.state.backends.patience import Patience

DEFAULT_BRANCH = "pdsync-state"
DEFAULT_REMOTE = "origin"
COMPRESS_ABOVE = 32 * 1024 * 1024
"""Blobs larger than this many bytes are kept gzipped, under their name with `.gz`."""

KEPT, LONGEST = 50, 200
"""How many commits are left when history is cut, and how many there may be."""

RUNS_LONGEST = 20
"""How many commits the history of journals has at most: all of them are in the last one."""

ATTEMPTS = 5
"""How often a commit is rebuilt when other files keep moving the branch."""

HEARTBEAT = 30.0
"""Seconds between signs of life of who holds the lock: each is a push."""

COUNT = re.compile(r"^History: (\d+)$", re.MULTILINE)
BRANCH = re.compile(r"(?!-)(?!.*(?:\.\.|//|@\{|/\.|\.lock(?:/|$)))[A-Za-z0-9._/-]*[A-Za-z0-9_-]")
REMOTE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")


class GitLocation(NamedTuple):
    """Which branch of which remote holds the state."""

    branch: str
    remote: str


def parse_git_url(url: str) -> GitLocation:
    """The branch and remote that a state URL names.

    Both forms mean the same: `git+branch://pdsync-state`, `git:pdsync-state`.  A branch may have slashes
    (`git+branch://state/production`); `?remote=upstream` picks another remote than `origin`; without a
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


class GitBackend:
    """A `pdsync.state.backends.Backend` on one branch of the repository that `repository` lies in.

    `environment` is added to git's own for every call (`pdsync.github.settings.git_environment` brings a token that
    way).  `notify` is told, in words, what is being waited for; `now` gives the time of commits.  Raises `StateError`
    when `repository` is in no git repository.
    """

    heartbeat = HEARTBEAT
    lock_ends = False

    def __init__(
        self,
        repository: Path,
        *,
        branch: str = DEFAULT_BRANCH,
        remote: str = DEFAULT_REMOTE,
        environment: Mapping[str, str] | None = None,
        notify: Callable[[str], None] | None = None,
        patience: Patience | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        compress_above: int = COMPRESS_ABOVE,
        longest: int = LONGEST,
    ) -> None:
        self.url = f"git+branch://{branch}" + ("" if remote == DEFAULT_REMOTE else f"?remote={remote}")
        self._git = Repository(repository, remote, environment or {}, notify=notify, patience=patience)
        self._branch = branch
        self._ref = f"refs/heads/{branch}"
        self._kept = f"refs/pdsync/{branch}"
        self._now = now
        self._compress_above = compress_above
        self._longest = longest
        self._lock = LockRef(self._git, branch, self._moment)
        if not self._git.remote and self._git.call("symbolic-ref", "--quiet", "HEAD").text == self._ref:
            raise StateError(error("PD547", "the state's branch is checked out here", detail=branch))

    def load(self, name: str) -> Stored | None:
        """The blob at the branch's tip, or None when branch or blob does not exist.  Raises `StateError`."""
        entry = self._find(self._tip(), name)
        return entry and self._read(entry)

    def version(self, name: str) -> str | None:
        """See `Backend.version`."""
        entry = self._find(self._tip(), name)
        return entry.blob if entry else None

    def store(self, name: str, data: bytes, expected: str | None) -> str:
        """Replace the blob by a commit on the tip; see `Backend.store`."""
        entry = self._written(name, data)
        self._change(name, entry, expected)
        return entry.blob

    def delete(self, name: str) -> None:
        """Remove the blob by a commit on the tip; one that is not there is fine.  Raises `StateError`."""
        for _ in range(ATTEMPTS):
            found = self._find(self._tip(), name)
            if found is None:
                return
            try:
                self._change(name, None, found.blob)
            except StalePlan:
                continue
            return
        raise self._restless(name)

    def prove(self) -> tuple[Diagnostic, ...]:
        """See `Backend.prove`: the remote answers; git itself refuses what overtakes somebody."""
        self._tip()
        return ()

    def runs(self) -> GitBackend:
        """See `Backend.runs`: a ref of its own, as for the lock, whose history tells nobody anything."""
        beside = copy(self)
        beside._ref = f"refs/pdsync/runs/{self._branch}"  # noqa: SLF001
        beside._kept = f"refs/pdsync/ran/{self._branch}"  # noqa: SLF001
        beside._longest = RUNS_LONGEST  # noqa: SLF001
        return beside

    def lock(self, info: LockInfo) -> AbstractContextManager[Beat]:
        """See `Backend.lock`."""
        return hold(self._lock, info)

    def holder(self) -> LockInfo | None:
        """See `Backend.holder`."""
        return read_lock(self._lock.load(LOCK))

    def unlock(self, lock_id: str) -> None:
        """See `Backend.unlock`."""
        break_lock(self._lock, lock_id)

    # --- compare and swap --------------------------------------------------------------------------------------

    def _change(self, name: str, entry: Entry | None, expected: str | None) -> None:
        """Make `name` be `entry` (None: gone) if it still is `expected`.  Raises `StalePlan` when it is not."""
        doubtful = False
        for _ in range(ATTEMPTS):
            tip = self._tip()
            found = self._find(tip, name)
            if doubtful and found == entry:
                return  # the push had landed although its answer was lost
            if (found.blob if found else None) != expected:
                raise _stale(name, expected, found.blob if found else None)
            if found == entry:
                return
            outcome = self._advance(tip, name, found, entry).outcome
            if outcome == "done":
                return
            doubtful = doubtful or outcome == "unknown"
        raise self._restless(name)

    def _advance(self, tip: str | None, name: str, old: Entry | None, new: Entry | None) -> Move:
        """One more commit on the branch, its history cut when it is too long and the remote lets us."""
        length = self._length(tip)
        if tip and length >= self._longest:
            kept = self._cut(tip)
            moved = self._move(tip, self._commit(kept[-1], name, old, new, len(kept) + 1), lease=True)
            if moved.outcome != "forbidden":
                return moved
        moved = self._move(tip, self._commit(tip, name, old, new, length + 1))
        if moved.outcome == "forbidden":
            raise self._git.refused(self._ref, moved.answer)
        return moved

    def _move(self, tip: str | None, commit: str, *, lease: bool = False) -> Move:
        moved = self._git.move(self._ref, tip, commit, lease=lease)
        if moved.outcome == "done":
            self._git.run("update-ref", self._kept, commit)
        return moved

    def _commit(self, tip: str | None, name: str, old: Entry | None, new: Entry | None, length: int) -> str:
        """A commit like no other: two writers of equal bytes in one second must not both find theirs on the branch."""
        moment = self._moment()
        subject = f"{'Store' if new else 'Remove'} {name} at {moment}"
        message = f"{subject}\n\nHistory: {length}\nWrite: {secrets.token_hex(8)}\n"
        return self._git.commit(self._git.tree(tip, old, new), tip, message, moment)

    def _length(self, tip: str | None) -> int:
        """How many commits the branch has, as its last one says."""
        found = COUNT.search(self._git.run("cat-file", "commit", tip)) if tip else None
        return int(found[1]) if found else 0

    def _cut(self, tip: str) -> list[str]:
        """Copies of the last commits, oldest first, on a history of their own."""
        if self._git.remote and self._git.is_shallow():
            self._git.fetch(self._ref, self._kept, KEPT)
        copies: list[str] = []
        for commit in self._git.history(tip, min(KEPT, self._longest // 2)):
            copies.append(self._git.replanted(commit, copies[-1] if copies else None))
        return copies

    # --- reading -----------------------------------------------------------------------------------------------

    def _tip(self) -> str | None:
        return self._git.tip(self._ref, self._kept)

    def _find(self, tip: str | None, name: str) -> Entry | None:
        return self._git.find(tip, name, f"{name}.gz")

    def _read(self, entry: Entry) -> Stored:
        content = self._git.read(entry.blob)
        try:
            data = gzip.decompress(content) if entry.path.endswith(".gz") else content
        except (OSError, EOFError) as problem:
            raise StateError(error("PD546", "a compressed state file is damaged", detail=entry.path)) from problem
        return Stored(data, entry.blob)

    def _written(self, name: str, data: bytes) -> Entry:
        packed = len(data) > self._compress_above
        blob = self._git.write(gzip.compress(data, mtime=0) if packed else data)
        return Entry(f"{name}.gz" if packed else name, blob)

    def _moment(self) -> str:
        return self._now().astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")

    def _restless(self, name: str) -> StateError:
        detail = f"{name}: the branch {self._branch} moved {ATTEMPTS} times while it was written"
        return StateError(error("PD541", "the state's branch keeps moving", detail=detail, hint="Run it again."))


class LockRef:
    """The lock as the only file of a commit under a ref of its own (`pdsync.state.backends.locks.Kept`)."""

    def __init__(self, repository: Repository, branch: str, moment: Callable[[], str]) -> None:
        self._git = repository
        self._ref = f"refs/pdsync/lock/{branch}"
        self._kept = f"refs/pdsync/held/{branch}"
        self._moment = moment

    def load(self, name: str) -> Stored | None:
        """See `Backend.load`; the version is the commit's id."""
        tip = self._git.tip(self._ref, self._kept)
        entry = self._git.find(tip, name)
        return Stored(self._git.read(entry.blob), tip) if tip and entry else None

    def store(self, name: str, data: bytes, expected: str | None) -> str:
        """See `Backend.store`; to keep nothing takes the ref away."""
        commit = self._commit(name, data) if data else None
        moved = self._git.move(self._ref, expected, commit, lease=True)
        if moved.outcome == "forbidden":
            raise self._git.refused(self._ref, moved.answer)
        if moved.outcome != "done":
            raise _stale(name, expected, None)
        return commit or ""

    def _commit(self, name: str, data: bytes) -> str:
        tree = self._git.tree(None, None, Entry(name, self._git.write(data)))
        return self._git.commit(tree, None, "Hold the state's lock\n", self._moment())


def _stale(name: str, expected: str | None, found: str | None) -> StalePlan:
    was, now = (expected or "not there")[:12], (found or "not there")[:12]
    return StalePlan(
        error(
            "PD542",
            "the state has moved since it was read",
            detail=f"{name} was {was} and is {now}; somebody else has applied",
            hint="Plan again and apply the new plan.",
        )
    )
