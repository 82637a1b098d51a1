"""State in a folder: atomic, exclusive, private - tried with real processes."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from pdsync.errors import Locked, StalePlan, StateError
from pdsync.state.backends import LockInfo
from pdsync.state.backends.local import LocalBackend

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

INFO = LockInfo("id1", "apply", "me@here, pid 7", "2026-06-01T12:00:00Z", "https://ci.example/run/9")
POSIX = pytest.mark.skipif(os.name == "nt", reason="file modes and signals of POSIX")


@pytest.fixture
def backend(tmp_path: Path) -> LocalBackend:
    return LocalBackend(tmp_path / "state")


def python(code: str, *args: str, **options: int) -> subprocess.Popen[bytes]:
    """A Python process that runs `code` with `args` as sys.argv[1:]."""
    return subprocess.Popen([sys.executable, "-c", code, *args], **options)  # type: ignore[call-overload,no-any-return]


def test_what_is_stored_is_loaded(backend: LocalBackend) -> None:
    """A blob comes back with the version that storing it returned; one that is not there is None."""
    assert backend.load("ledger.jsonl") is None
    version = backend.store("ledger.jsonl", b"one\n", None)
    held = backend.load("ledger.jsonl")
    assert held is not None
    assert (held.data, held.version) == (b"one\n", version)


def test_a_deleted_blob_is_gone_and_may_be_deleted_again(backend: LocalBackend) -> None:
    """Deleting what is not there is fine."""
    backend.store("ledger.jsonl", b"one\n", None)
    backend.delete("ledger.jsonl")
    backend.delete("ledger.jsonl")
    assert backend.load("ledger.jsonl") is None


@pytest.mark.parametrize("expected", [None, "0123"], ids=["none", "another"])
def test_a_store_with_another_version_is_refused(backend: LocalBackend, expected: str | None) -> None:
    """Whoever does not know the version that is kept writes nothing."""
    backend.store("ledger.jsonl", b"one\n", None)
    with pytest.raises(StalePlan) as caught:
        backend.store("ledger.jsonl", b"two\n", expected)
    held = backend.load("ledger.jsonl")
    assert (caught.value.exit_code, held and held.data) == (4, b"one\n")


def test_a_store_over_what_is_gone_is_refused(backend: LocalBackend) -> None:
    """A ledger that vanished is not silently made anew."""
    version = backend.store("ledger.jsonl", b"one\n", None)
    backend.delete("ledger.jsonl")
    with pytest.raises(StalePlan):
        backend.store("ledger.jsonl", b"two\n", version)


COUNTER = """
import sys
from pathlib import Path
from pdsync.errors import StalePlan
from pdsync.state.backends.local import LocalBackend
backend, done = LocalBackend(Path(sys.argv[1])), 0
while done < int(sys.argv[2]):
    held = backend.load("n")
    try:
        backend.store("n", b"%d" % (int(held.data) + 1), held.version)
    except StalePlan:
        continue
    done += 1
"""


def test_racing_processes_lose_no_update(backend: LocalBackend) -> None:
    """Of two stores on one version one wins: counting in several processes at once comes to the sum."""
    backend.store("n", b"0", None)
    racers = [python(COUNTER, str(backend.folder), "40") for _ in range(3)]
    assert [racer.wait() for racer in racers] == [0, 0, 0]
    held = backend.load("n")
    assert held is not None
    assert held.data == b"120"


SIZE = 500_000
WRITER = """
import sys
from pathlib import Path
from pdsync.state.backends.local import LocalBackend
backend = LocalBackend(Path(sys.argv[1]))
held = backend.load("ledger.jsonl")
version, number = (held.version, held.data[0]) if held else (None, 0)
print("ready", flush=True)
while True:
    number = (number + 1) % 256
    version = backend.store("ledger.jsonl", bytes([number]) * int(sys.argv[2]), version)
"""


def whole(backend: LocalBackend) -> bool:
    """Whether what is kept was written by one store alone."""
    held = backend.load("ledger.jsonl")
    data = held.data if held else b""
    return (len(data), len(set(data))) in {(0, 0), (SIZE, 1)}


@POSIX
def test_a_reader_and_a_crash_find_a_whole_file(backend: LocalBackend) -> None:
    """While a writer replaces the blob, and whenever it is killed, the old or the new one is there, never a part."""
    for reads in range(0, 30, 3):
        with python(WRITER, str(backend.folder), str(SIZE), stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            writer.stdout.readline()
            seen = [whole(backend) for _ in range(reads)]
            writer.kill()
        assert [*seen, whole(backend)] == [True] * (reads + 1)


@POSIX
def test_the_old_file_is_never_written_over(backend: LocalBackend) -> None:
    """Who has opened the old blob reads it to its end, whatever is stored meanwhile."""
    version = backend.store("ledger.jsonl", b"old\n", None)
    with (backend.folder / "ledger.jsonl").open("rb") as reader:
        backend.store("ledger.jsonl", b"new one\n", version)
        assert reader.read() == b"old\n"


@POSIX
def test_state_is_readable_by_its_owner_alone(backend: LocalBackend) -> None:
    """Mode 0600, whatever the umask, also after a replacement."""
    before = os.umask(0)
    try:
        version = backend.store("ledger.jsonl", b"one\n", None)
        backend.store("ledger.jsonl", b"two\n", version)
        with backend.lock(INFO):
            modes = {path.name: path.stat().st_mode & 0o777 for path in backend.folder.iterdir()}
    finally:
        os.umask(before)
    assert modes == {"ledger.jsonl": 0o600, "lock": 0o600, ".swap": 0o600}


@POSIX
@pytest.mark.parametrize("call", ["load", "store", "delete", "lock"])
def test_a_symbolic_link_is_refused(backend: LocalBackend, tmp_path: Path, call: str) -> None:
    """Nothing is read from or written to where a link points."""
    target = tmp_path / "elsewhere"
    target.write_bytes(b"theirs")
    backend.folder.mkdir()
    for name in ("ledger.jsonl", "lock"):
        (backend.folder / name).symlink_to(target)
    calls: dict[str, Callable[[], object]] = {
        "load": lambda: backend.load("ledger.jsonl"),
        "store": lambda: backend.store("ledger.jsonl", b"ours", None),
        "delete": lambda: backend.delete("ledger.jsonl"),
        "lock": lambda: ExitStack().enter_context(backend.lock(INFO)),
    }
    with pytest.raises(StateError) as caught:
        calls[call]()
    assert (caught.value.diagnostics[0].code, target.read_bytes()) == ("PD524", b"theirs")


@POSIX
def test_a_failed_write_keeps_the_old_blob_and_leaves_nothing_behind(backend: LocalBackend) -> None:
    """When the new bytes cannot be produced or stored, the old blob stays and no temporary file is left."""

    def broken() -> Iterator[bytes]:
        yield b"half of"
        raise OSError(28, "No space left on device")

    backend.store("ledger.jsonl", b"one\n", None)
    with pytest.raises(StateError) as caught:
        backend.replace("ledger.jsonl", broken())
    assert "No space left on device" in str(caught.value)
    held = backend.load("ledger.jsonl")
    assert held is not None
    assert held.data == b"one\n"
    assert sorted(path.name for path in backend.folder.iterdir()) == [".swap", "ledger.jsonl"]


def test_a_folder_that_is_a_file_is_said(tmp_path: Path) -> None:
    """What the system refuses is told with the path and its reason."""
    (tmp_path / "state").write_text("a file")
    with pytest.raises(StateError) as caught:
        LocalBackend(tmp_path / "state").store("ledger.jsonl", b"one\n", None)
    assert (caught.value.diagnostics[0].code, "state" in str(caught.value)) == ("PD503", True)


def test_a_folder_that_is_a_file_cannot_be_locked(tmp_path: Path) -> None:
    """The lock, too, tells what the system refuses."""
    (tmp_path / "state").write_text("a file")
    with pytest.raises(StateError), LocalBackend(tmp_path / "state").lock(INFO):
        pass


HOLDER = """
import sys
from pathlib import Path
from pdsync.state.backends import LockInfo
from pdsync.state.backends.local import LocalBackend
info = LockInfo("id1", "apply", "me@here, pid 7", "2026-06-01T12:00:00Z", "https://ci.example/run/9")
with LocalBackend(Path(sys.argv[1])).lock(info):
    print("held", flush=True)
    sys.stdin.readline()
"""


def test_a_lock_of_another_process_names_its_holder(backend: LocalBackend) -> None:
    """Exit code 5, with who holds it, what for, since when, and the CI run."""
    with python(HOLDER, str(backend.folder), stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        with pytest.raises(Locked) as caught, backend.lock(LockInfo("id2", "plan", "you", "later")):
            pass
        with pytest.raises(Locked):
            backend.unlock("id1")
        holder.communicate(b"\n")
    assert caught.value.exit_code == 5
    told = str(caught.value)
    assert [part in told for part in ("me@here, pid 7", "apply", "2026-06-01T12:00:00Z", "run/9")] == [True] * 4
    with backend.lock(INFO):
        pass


def test_a_lock_ends_with_its_process(backend: LocalBackend) -> None:
    """A holder that was killed holds nothing."""
    with python(HOLDER, str(backend.folder), stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        holder.kill()
    with backend.lock(INFO):
        pass


def test_replacing_the_ledger_does_not_drop_the_lock(backend: LocalBackend) -> None:
    """Lock and blob are different files."""
    with backend.lock(INFO):
        backend.store("ledger.jsonl", b"one\n", None)
        with pytest.raises(Locked), LocalBackend(backend.folder).lock(INFO):
            pass


def test_nothing_to_unlock_is_said(backend: LocalBackend) -> None:
    """`unlock` without a lock is an error, not a silence."""
    for _ in range(2):
        with pytest.raises(StateError) as caught:
            backend.unlock("id1")
        assert caught.value.diagnostics[0].code == "PD523"
        with backend.lock(INFO):
            pass
