"""The git branch backend, against real repositories: a bare one on disk and clones of it."""

from __future__ import annotations

import hashlib
import os
import subprocess
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pdsync.errors import Locked, StalePlan, StateError, UsageError
from pdsync.state.backends import Backend, LockInfo
from pdsync.state.backends.git import GitBackend, GitLocation, parse_git_url
from pdsync.state.backends.git_refs import Answer
from tests.state.places import Clock

if TYPE_CHECKING:
    from pathlib import Path

CLEAN = {
    **{name: value for name, value in os.environ.items() if not name.startswith("GIT_")},
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_SYSTEM": os.devnull,
    "GIT_AUTHOR_NAME": "Someone",
    "GIT_AUTHOR_EMAIL": "someone@example.com",
    "GIT_COMMITTER_NAME": "Someone",
    "GIT_COMMITTER_EMAIL": "someone@example.com",
}
BRANCH = "refs/heads/pdsync-state"
INFO = LockInfo(id="lock-1", operation="apply", who="ci@runner 12", since="2026-01-02T03:04:05Z")
OTHER = LockInfo(id="lock-2", operation="plan", who="me@laptop 9", since="2026-01-02T03:05:00Z")


def run(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=folder, env=CLEAN, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def moment() -> datetime:
    return datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture
def remote(tmp_path: Path) -> Path:
    """A bare repository with two commits on main."""
    bare = tmp_path / "remote.git"
    bare.mkdir()
    run(bare, "init", "--bare", "--quiet", "--initial-branch=main")
    seed = clone(bare, tmp_path / "seed")
    for text in ("one", "two"):
        (seed / "catalog.txt").write_text(text)
        run(seed, "add", ".")
        run(seed, "commit", "--quiet", "-m", text)
    run(seed, "push", "--quiet", "origin", "HEAD:main")
    return bare


def clone(remote: Path, to: Path, *options: str) -> Path:
    run(remote.parent, "clone", "--quiet", *options, remote.as_uri(), str(to))
    return to


def backend(folder: Path, **parts: int) -> GitBackend:
    return GitBackend(folder, now=moment, **parts)  # type: ignore[arg-type]


def everything(folder: Path) -> dict[str, str]:
    """HEAD, branches, index, and every file with its digest: what a store must leave alone.

    A push lets git note where the state's own branch is on the remote; that one ref is the backend's.
    """
    files = [path for path in folder.rglob("*") if path.is_file() and ".git" not in path.relative_to(folder).parts]
    seen = {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    index = hashlib.sha256((folder / ".git" / "index").read_bytes()).hexdigest()
    refs = run(folder, "for-each-ref", "refs/heads", "refs/remotes", "refs/tags").splitlines()
    users = "\n".join(line for line in refs if not line.endswith("refs/remotes/origin/pdsync-state"))
    return {**seen, "HEAD": (folder / ".git" / "HEAD").read_text(), "index": index, "refs": users}


@pytest.fixture
def here(remote: Path, tmp_path: Path) -> Path:
    return clone(remote, tmp_path / "here")


@pytest.fixture
def there(remote: Path, tmp_path: Path) -> Path:
    return clone(remote, tmp_path / "there")


def test_what_is_stored_is_loaded_elsewhere(here: Path, there: Path) -> None:
    """A blob stored from one clone is the same bytes and version from another."""
    version = backend(here).store("ledger.jsonl", b"one\n\xff\x00\n", None)
    loaded = backend(there).load("ledger.jsonl")
    assert loaded is not None
    assert (loaded.data, loaded.version) == (b"one\n\xff\x00\n", version)


def test_nothing_stored_is_none(here: Path) -> None:
    """Neither a missing branch nor a missing file is an error."""
    missing_branch = backend(here).load("ledger.jsonl")
    backend(here).store("snapshot.jsonl", b"x", None)
    assert (missing_branch, backend(here).load("ledger.jsonl")) == (None, None)


def test_the_first_commit_is_an_orphan_and_each_store_has_one_parent(here: Path, remote: Path) -> None:
    """The branch shares no history with main and its history is a line."""
    keeper = backend(here)
    version = keeper.store("ledger.jsonl", b"1", None)
    keeper.store("ledger.jsonl", b"2", version)
    parents = [line.split()[1:] for line in run(remote, "rev-list", "--parents", BRANCH).splitlines()]
    assert [len(found) for found in parents] == [1, 0]


def test_commits_say_what_when_and_by_whom(here: Path, remote: Path) -> None:
    """Message, author and committer are fixed and name the file and the time."""
    backend(here).store("ledger.jsonl", b"1", None)
    said = run(remote, "log", "-1", "--format=%s|%an|%ae|%cn|%ce|%at|%ct", BRANCH)
    who = "pdsync|pdsync@pdsync.invalid"
    seconds = int(moment().timestamp())
    assert said == f"Store ledger.jsonl at 2026-01-02T03:04:05Z|{who}|{who}|{seconds}|{seconds}"


def test_a_store_touches_nothing_of_the_user(here: Path) -> None:
    """Working tree, index, HEAD, local branches and remote-tracking branches stay as they were."""
    (here / "catalog.txt").write_text("edited, not staged")
    (here / "new.txt").write_text("staged")
    run(here, "add", "new.txt")
    run(here, "checkout", "--quiet", "--detach")
    before = everything(here)
    keeper = backend(here)
    version = keeper.store("ledger.jsonl", b"1", None)
    keeper.store("ledger.jsonl", b"2", version)
    with keeper.lock(INFO):
        keeper.load("ledger.jsonl")
    assert everything(here) == before


def test_of_two_writers_one_is_stale(here: Path, there: Path) -> None:
    """Two stores on the same version: the second is refused and the first one's bytes stay."""
    first, second = backend(here), backend(there)
    version = first.store("ledger.jsonl", b"base", None)
    assert second.load("ledger.jsonl") == first.load("ledger.jsonl")
    first.store("ledger.jsonl", b"first", version)
    with pytest.raises(StalePlan):
        second.store("ledger.jsonl", b"second", version)
    kept = second.load("ledger.jsonl")
    assert kept is not None
    assert kept.data == b"first"


def test_of_two_first_stores_one_is_stale(here: Path, there: Path) -> None:
    """Nobody may create what somebody else has created meanwhile."""
    first, second = backend(here), backend(there)
    assert (first.load("ledger.jsonl"), second.load("ledger.jsonl")) == (None, None)
    first.store("ledger.jsonl", b"first", None)
    with pytest.raises(StalePlan):
        second.store("ledger.jsonl", b"second", None)


class Hooked(GitBackend):
    """A real backend that lets something happen between reading the tip and pushing."""

    def __init__(self, folder: Path, events: list[object]) -> None:
        super().__init__(folder, now=moment)
        self.events = events

    def _commit(self, *arguments: object) -> str:
        made = super()._commit(*arguments)  # type: ignore[arg-type]
        if self.events:
            event = self.events.pop(0)
            assert callable(event)
            event()
        return made


def test_a_race_between_reading_and_pushing_is_stale(here: Path, there: Path) -> None:
    """The push itself is the compare-and-swap: a store in the last moment makes ours stale, and is kept."""
    other = backend(there)
    version = other.store("ledger.jsonl", b"base", None)
    ours = Hooked(here, [lambda: other.store("ledger.jsonl", b"theirs", version)])
    with pytest.raises(StalePlan):
        ours.store("ledger.jsonl", b"ours", version)
    kept = ours.load("ledger.jsonl")
    assert kept is not None
    assert kept.data == b"theirs"


def test_equal_bytes_of_somebody_else_are_stale(here: Path, there: Path) -> None:
    """Two writers of the same bytes at the same second are still two: one of them has to plan again."""
    other = backend(there)
    version = other.store("ledger.jsonl", b"base", None)
    ours = Hooked(here, [lambda: other.store("ledger.jsonl", b"same", version)])
    with pytest.raises(StalePlan):
        ours.store("ledger.jsonl", b"same", version)


def test_a_race_for_the_first_store_is_stale(here: Path, there: Path) -> None:
    """Also when the branch did not exist yet: the second orphan is refused."""
    ours = Hooked(here, [lambda: backend(there).store("ledger.jsonl", b"theirs", None)])
    with pytest.raises(StalePlan):
        ours.store("ledger.jsonl", b"ours", None)


def test_another_file_in_between_does_not_matter(here: Path, there: Path, remote: Path) -> None:
    """A branch moved by another file is no conflict: both files are there and history is still a line."""
    ours = Hooked(here, [lambda: backend(there).store("journal.jsonl", b"j", None)])
    ours.store("ledger.jsonl", b"ours", None)
    names = run(remote, "ls-tree", "--name-only", BRANCH).split()
    merges = run(remote, "rev-list", "--min-parents=2", BRANCH)
    assert (names, merges) == (["journal.jsonl", "ledger.jsonl"], "")


def test_a_push_whose_answer_was_lost_counts(here: Path) -> None:
    """When the commit has landed, an error in the answer is not a failed store."""
    ours = backend(here)
    version = ours.store("ledger.jsonl", b"1", None)
    landed = ours.store("ledger.jsonl", b"2", version)
    before = run(here, "rev-parse", "refs/pdsync/pdsync-state^")
    assert ours._git.move(BRANCH, before, _tip(here)).outcome == "done"
    assert landed == ours.store("ledger.jsonl", b"2", landed)


def _tip(folder: Path) -> str:
    return run(folder, "rev-parse", "refs/pdsync/pdsync-state")


def test_equal_bytes_make_no_commit(here: Path, remote: Path) -> None:
    """Storing what is there moves nothing."""
    ours = backend(here)
    version = ours.store("ledger.jsonl", b"same", None)
    before = run(remote, "rev-parse", BRANCH)
    assert (ours.store("ledger.jsonl", b"same", version), run(remote, "rev-parse", BRANCH)) == (version, before)


@pytest.mark.parametrize("options", [("--depth=1",), ("--depth=1", "--single-branch", "--no-tags")])
def test_a_shallow_clone_works(remote: Path, here: Path, tmp_path: Path, options: tuple[str, ...]) -> None:
    """What actions/checkout leaves is enough to load and to store, and fetches the tip only."""
    full = backend(here)
    version = full.store("ledger.jsonl", b"1", None)
    version = full.store("ledger.jsonl", b"2", version)
    shallow = clone(remote, tmp_path / "shallow", *options)
    ours = backend(shallow)
    loaded = ours.load("ledger.jsonl")
    assert loaded is not None
    assert run(shallow, "rev-list", "--count", "refs/pdsync/pdsync-state") == "1"
    ours.store("ledger.jsonl", b"3", loaded.version)
    last = full.load("ledger.jsonl")
    assert last is not None
    assert (last.data, run(remote, "rev-list", "--count", BRANCH)) == (b"3", "3")


def states(repository: Path) -> list[str]:
    """What the ledger was in every commit of the branch, newest first."""
    return [run(repository, "show", f"{c}:ledger.jsonl") for c in run(repository, "rev-list", BRANCH).split()]


@pytest.mark.parametrize("options", [(), ("--depth=1",)], ids=["full", "shallow"])
def test_history_is_bounded(remote: Path, tmp_path: Path, options: tuple[str, ...]) -> None:
    """The last states stay, in a line without merges; who reads from elsewhere notices nothing."""
    ours, version = backend(clone(remote, tmp_path / "ours", *options), longest=6), None
    theirs = backend(clone(remote, tmp_path / "theirs"), longest=6)
    lengths = []
    for n in range(15):
        version = ours.store("ledger.jsonl", b"%d" % n, version)
        lengths.append(int(run(remote, "rev-list", "--count", BRANCH)))
        seen = theirs.load("ledger.jsonl")
        assert seen is not None
        assert seen.data == b"%d" % n
    assert lengths == [1, 2, 3, 4, 5, 6, 4, 5, 6, 4, 5, 6, 4, 5, 6]
    assert states(remote) == ["14", "13", "12", "11", "10", "9"]
    assert run(remote, "rev-list", "--min-parents=2", BRANCH) == ""


def test_cutting_history_is_a_compare_and_swap_too(here: Path, there: Path) -> None:
    """What somebody else stored in that very moment is not forced away."""
    other, version = backend(there, longest=2), None
    for n in range(2):
        version = other.store("ledger.jsonl", b"%d" % n, version)
    ours = Hooked(here, [lambda: backend(there, longest=9).store("ledger.jsonl", b"theirs", version)])
    ours._longest = 2
    with pytest.raises(StalePlan):
        ours.store("ledger.jsonl", b"ours", version)
    assert states(here.parent / "remote.git") == ["theirs", "1", "0"]


def test_where_nothing_may_be_forced_history_grows(here: Path, remote: Path) -> None:
    """A rule against force pushes costs room, not the state."""
    run(remote, "config", "receive.denyNonFastForwards", "true")
    ours, version = backend(here, longest=2), None
    for n in range(5):
        version = ours.store("ledger.jsonl", b"%d" % n, version)
    assert states(remote) == ["4", "3", "2", "1", "0"]


def test_a_full_clone_does_not_become_shallow(here: Path, there: Path) -> None:
    """Reading the state leaves an engineer's clone complete."""
    backend(here).store("ledger.jsonl", b"1", None)
    backend(there).load("ledger.jsonl")
    assert run(there, "rev-parse", "--is-shallow-repository") == "false"


def test_without_any_remote_the_local_branch_is_used(tmp_path: Path) -> None:
    """A repository that was never pushed keeps the state too, with the same refusal of stale stores."""
    run(tmp_path, "init", "--quiet", "--initial-branch=main")
    ours = backend(tmp_path)
    version = ours.store("ledger.jsonl", b"1", None)
    ours.store("ledger.jsonl", b"2", version)
    with pytest.raises(StalePlan):
        ours.store("ledger.jsonl", b"3", version)
    assert run(tmp_path, "show", "pdsync-state:ledger.jsonl") == "2"


def test_a_local_race_is_stale(tmp_path: Path) -> None:
    """update-ref with the old value refuses what a push would refuse."""
    run(tmp_path, "init", "--quiet", "--initial-branch=main")
    ours = Hooked(tmp_path, [lambda: backend(tmp_path).store("ledger.jsonl", b"theirs", None)])
    with pytest.raises(StalePlan):
        ours.store("ledger.jsonl", b"ours", None)


def test_the_checked_out_branch_is_refused(tmp_path: Path) -> None:
    """Moving a branch under its own working tree would make the tree look edited."""
    run(tmp_path, "init", "--quiet", "--initial-branch=pdsync-state")
    with pytest.raises(StateError, match="checked out"):
        backend(tmp_path)


def test_a_remote_that_does_not_exist_is_named(here: Path) -> None:
    """A misspelt remote never silently means the local branch."""
    with pytest.raises(StateError, match="upstream is none of"):
        GitBackend(here, remote="upstream")


def test_outside_git_is_said(tmp_path: Path) -> None:
    """Without a repository the error says so."""
    with pytest.raises(StateError, match="no git repository"):
        GitBackend(tmp_path)


def test_a_refused_push_says_why(here: Path, remote: Path) -> None:
    """A hook or branch rule is an error with its reason, not a stale plan."""
    hook = remote / "hooks" / "pre-receive"
    hook.write_text("#!/bin/sh\necho protected by a rule >&2\nexit 1\n")
    hook.chmod(0o755)
    with pytest.raises(StateError, match="protected by a rule") as caught:
        backend(here).store("ledger.jsonl", b"1", None)
    assert not isinstance(caught.value, StalePlan)


def test_an_unreachable_remote_is_not_an_empty_state(here: Path, remote: Path) -> None:
    """Absence is only believed when the remote said so."""
    remote.rename(remote.with_name("gone.git"))
    with pytest.raises(StateError, match="cannot be read"):
        backend(here).load("ledger.jsonl")


def test_credentials_in_a_url_do_not_reach_messages(here: Path) -> None:
    """An error about a remote whose URL holds a token does not show the token."""
    run(here, "remote", "set-url", "origin", "http://someone:s3cr3t@127.0.0.1:1/x.git")
    said: list[str] = []
    ours = GitBackend(here, patience=Clock().patience(), notify=said.append)
    with pytest.raises(StateError) as caught:
        ours.load("ledger.jsonl")
    assert "trying again" in said[-1]
    assert "s3cr3t" not in str(caught.value) + "".join(said)


class Shaky:
    """A network that fails as told, one call after the other: `before` git reaches the remote, or `after`."""

    def __init__(self, ours: GitBackend, *faults: str) -> None:
        self.faults = [*faults]
        self.clock = Clock()
        self.inner = ours._git._over_the_network
        ours._git._over_the_network = self  # type: ignore[method-assign]
        ours._git._patience = self.clock.patience()

    def __call__(self, *arguments: str) -> Answer:
        fault = self.faults.pop(0) if self.faults else ""
        answer = self.inner(*arguments) if fault != "before" else None
        return answer if answer and not fault else Answer(128, b"", "fatal: Connection timed out")


def test_what_only_the_network_prevents_is_tried_again(here: Path, there: Path, remote: Path) -> None:
    """Reading and storing; each store is one commit all the same."""
    ours, theirs = backend(here), backend(there)
    network = Shaky(ours, "before", "before", "", "before", "after", "before")
    version = ours.store("ledger.jsonl", b"1", None)
    assert network.faults == []
    Shaky(theirs, "before", "after", "after")
    held = theirs.load("ledger.jsonl")
    assert held is not None
    assert (held.data, held.version, run(remote, "rev-list", "--count", BRANCH)) == (b"1", version, "1")


def test_a_network_that_stays_away_ends_the_patience(here: Path) -> None:
    """An error of the state, no stale plan; sooner when the remote has never answered."""
    ours = backend(here)
    network = Shaky(ours, *["before"] * 200)
    for seconds in (20.0, 60.0):
        network.clock.now = 0.0
        with pytest.raises(StateError, match="timed out") as caught:
            ours.load("ledger.jsonl")
        assert not isinstance(caught.value, StalePlan)
        assert network.clock.now == pytest.approx(seconds)
        ours._git._answered = True


def test_the_lock_keeps_others_out_and_goes_away(here: Path, there: Path) -> None:
    """While one holds the lock the other is told who; afterwards it can have it."""
    mine: Backend = backend(here)
    theirs: Backend = backend(there)
    with mine.lock(INFO):
        with pytest.raises(Locked, match=r"apply by ci@runner 12 since 2026.*"), theirs.lock(OTHER):
            pass
        mine.store("ledger.jsonl", b"1", None)
    with theirs.lock(OTHER), pytest.raises(Locked, match="me@laptop"), mine.lock(INFO):
        pass


def test_the_lock_is_released_when_the_work_fails(here: Path) -> None:
    """An error inside the block goes through and leaves no lock."""
    ours = backend(here)
    with pytest.raises(ZeroDivisionError), ours.lock(INFO):
        raise ZeroDivisionError
    assert ours.load("lock.json") is None
    with ours.lock(OTHER):
        pass


def test_the_lock_is_a_ref_of_its_own(here: Path, remote: Path) -> None:
    """It neither lengthens the state's history nor is it a branch that workflows would run for; free, it is gone."""
    ours = backend(here)
    ours.store("ledger.jsonl", b"1", None)
    before = run(remote, "for-each-ref")
    with ours.lock(INFO):
        held = run(remote, "for-each-ref", "--format=%(refname)").split()
    assert held == ["refs/heads/main", BRANCH, "refs/pdsync/lock/pdsync-state"]
    assert run(remote, "for-each-ref") == before


def test_unlock_breaks_only_the_lock_it_names(here: Path, there: Path) -> None:
    """A wrong id is refused with the holder's; the right one frees the lock, and its holder ends quietly."""
    mine, theirs = backend(here), backend(there)
    with ExitStack() as stack:
        stack.enter_context(mine.lock(INFO))
        with pytest.raises(StateError, match="lock-1"):
            theirs.unlock("lock-9")
        theirs.unlock("lock-1")
        stack.enter_context(theirs.lock(OTHER))
    with pytest.raises(StateError, match="no lock is held"):
        mine.unlock("lock-1")


def test_delete_removes_and_is_content_with_nothing(here: Path, there: Path) -> None:
    """Deleting twice is the same as once, from anywhere."""
    ours = backend(here)
    ours.store("journal.jsonl", b"j", None)
    backend(there).delete("journal.jsonl")
    ours.delete("journal.jsonl")
    assert ours.load("journal.jsonl") is None


def test_names_may_have_folders(here: Path) -> None:
    """A journal in a folder is one blob like any other."""
    ours = backend(here)
    ours.store("journals/a.jsonl", b"a", None)
    ours.store("journals/b.jsonl", b"b", None)
    found = ours.load("journals/a.jsonl")
    assert found is not None
    assert found.data == b"a"


def test_big_blobs_are_kept_compressed_and_change_form(here: Path, remote: Path) -> None:
    """Over the size a blob is gzipped, under it plain; never both; equal bytes give equal objects."""
    ours = backend(here, compress_above=100)
    version = ours.store("ledger.jsonl", b"x" * 101, None)
    assert run(remote, "ls-tree", "--name-only", BRANCH) == "ledger.jsonl.gz"
    assert ours.store("ledger.jsonl", b"x" * 101, version) == version
    loaded = ours.load("ledger.jsonl")
    assert loaded is not None
    assert loaded.data == b"x" * 101
    ours.store("ledger.jsonl", b"x" * 100, version)
    assert run(remote, "ls-tree", "--name-only", BRANCH) == "ledger.jsonl"


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(blobs=st.lists(st.binary(max_size=200), min_size=1, max_size=3))
def test_any_bytes_survive(tmp_path_factory: pytest.TempPathFactory, blobs: list[bytes]) -> None:
    """load(store(x)) is x, for any bytes, compressed or not."""
    folder = tmp_path_factory.mktemp("any")
    run(folder, "init", "--quiet", "--initial-branch=main")
    ours = backend(folder, compress_above=100)
    version = None
    for data in blobs:
        version = ours.store("ledger.jsonl", data, version)
    loaded = ours.load("ledger.jsonl")
    assert loaded is not None
    assert (loaded.data, loaded.version) == (blobs[-1], version)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("git+branch://pdsync-state", GitLocation("pdsync-state", "origin")),
        ("git:pdsync-state", GitLocation("pdsync-state", "origin")),
        ("git+branch://pdsync-state/production", GitLocation("pdsync-state/production", "origin")),
        ("git:state?remote=upstream", GitLocation("state", "upstream")),
        ("git+branch://", GitLocation("pdsync-state", "origin")),
    ],
)
def test_urls_name_branch_and_remote(url: str, expected: GitLocation) -> None:
    """Both spellings, folders in the branch, another remote."""
    assert parse_git_url(url) == expected


@pytest.mark.parametrize(
    "url",
    [
        "file:state",
        "git://host/repository",
        "git+branch://a..b",
        "git:-x",
        "git:a?remote=--upload-pack=x",
        "git:a?depth=1",
        "git:a.lock",
        "git:a#b",
        "git:a b",
    ],
)
def test_other_urls_are_refused(url: str) -> None:
    """What git would read as something else, or we do not know, is not guessed at."""
    with pytest.raises(UsageError, match="not a git state URL"):
        parse_git_url(url)
