"""State in a store that others reach too: compare-and-swap by a condition on every write.

A `Bucket` does single requests: one that answers "the condition does not hold" raises `Conflict`, one that may succeed
when it is sent again raises `NoAnswer`.  `RemoteBackend` makes a backend of it:

- blobs are gzipped (`ledger.jsonl` becomes the object `ledger.jsonl.gz`), equal blobs to equal bytes;
- requests are sent again with growing, random pauses until the patience is spent;
- a write whose answer was lost may have taken effect: when its repetition meets a conflict, what is kept is read, and
  if it is what was to be written, the write counts;
- before the first write of a process the store is put to the test: one that takes a write in spite of a condition that
  does not hold is refused, because on it two runs would overwrite each other without notice.
"""

from __future__ import annotations

import gzip
import zlib
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeVar

from pdsync.errors import StalePlan, StateError, error, warning
from pdsync.sealing import is_sealed
from pdsync.state.backends import HEARTBEAT, Stored
from pdsync.state.backends.locks import LOCK, break_lock, hold, read_lock
from pdsync.state.backends.patience import SILENCE, NoAnswer, Patience, telling

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from pdsync.errors import Diagnostic
    from pdsync.state.backends import Beat, LockInfo

T = TypeVar("T")

PROBE = "pdsync-probe"
"""The object that conditions are tried on.  It stays: finding it there is half of the next test."""

PROBE_TEXT = b"pdsync tries here whether this store honours conditions on a write; it may be removed.\n"
REMOVED = b""
"""What is left of a removed object: stores know no condition for removing.  A gzipped blob is never empty."""


class Conflict(Exception):
    """The object does not have the version that was expected; nothing was written."""


class Seen(NamedTuple):
    """An object, looked at."""

    version: str
    size: int


class Bucket(Protocol):
    """Objects by name, as one server keeps them.  Every method is one request."""

    stale_version: str
    """A version as this server writes them, that no object of ours ever has."""

    def get(self, name: str) -> Stored | None:
        """The object, None when the server says that there is none.  Raises `NoAnswer` or `StateError`."""
        ...

    def look(self, name: str) -> Seen | None:
        """Version and size of the object, without its bytes.  Raises as `get` does."""
        ...

    def put(self, name: str, data: bytes, expected: str | None) -> str:
        """Write the object if its version is `expected` (None: there is none); the new version.

        Raises `Conflict` when it is not, `NoAnswer` or `StateError`.
        """
        ...

    def keeps_older(self, name: str) -> bool | None:
        """Whether older versions of this object are kept, by what the server tells; None when it never does."""
        ...

    def remove(self, name: str, expected: str) -> None:
        """Remove the object, or leave it empty, if its version is `expected`.  Raises as `put` does."""
        ...


class RemoteBackend:
    """A `pdsync.state.backends.Backend` on a bucket.

    `url` names it in messages, without anything secret; `notify` is told, in words, what is being waited for.
    """

    heartbeat = HEARTBEAT
    lock_ends = False

    def __init__(
        self,
        bucket: Bucket,
        url: str,
        *,
        notify: Callable[[str], None] | None = None,
        patience: Patience | None = None,
    ) -> None:
        self.url = url
        self._bucket = bucket
        self._notify = notify
        self._patience = patience or Patience()
        self._proven = False
        self._answered = False

    def load(self, name: str) -> Stored | None:
        """See `Backend.load`."""
        found = self._patiently(f"read {name}", lambda: self._bucket.get(_object(name)))
        if found is None or found.data == REMOVED:
            return None
        return Stored(self._unpacked(name, found.data), found.version)

    def version(self, name: str) -> str | None:
        """See `Backend.version`."""
        seen = self._patiently(f"look at {name}", lambda: self._bucket.look(_object(name)))
        return seen.version if seen and seen.size else None

    def store(self, name: str, data: bytes, expected: str | None) -> str:
        """See `Backend.store`."""
        self._prove()
        packed = gzip.compress(data, compresslevel=0 if is_sealed(data) else 6, mtime=0)
        return self._put(name, packed, expected)

    def delete(self, name: str) -> None:
        """See `Backend.delete`."""

        def attempt() -> None:
            held = self._bucket.get(_object(name))
            if held is None or held.data == REMOVED:
                return
            try:
                self._bucket.remove(_object(name), held.version)
            except Conflict:
                raise NoAnswer("somebody else is writing it") from None

        self._prove()
        self._patiently(f"remove {name}", attempt)

    def prove(self) -> tuple[Diagnostic, ...]:
        """See `Backend.prove`: it honours conditions on a write; whether it keeps what is written over."""
        self._prove()
        keeps = self._patiently(f"look at {PROBE}", lambda: self._bucket.keeps_older(PROBE))
        return (_keeping_nothing(self.url),) if keeps is False else ()

    def runs(self) -> RemoteBackend:
        """See `Backend.runs`."""
        return self

    def lock(self, info: LockInfo) -> AbstractContextManager[Beat]:
        """See `Backend.lock`: the lock is an object of its own, which `unlock` frees when its holder is dead."""
        return hold(self, info)

    def holder(self) -> LockInfo | None:
        """See `Backend.holder`."""
        return read_lock(self.load(LOCK))

    def unlock(self, lock_id: str) -> None:
        """See `Backend.unlock`."""
        break_lock(self, lock_id)

    def _put(self, name: str, data: bytes, expected: str | None) -> str:
        """Write under the condition, as often as needed; a write that was done without our knowing it counts."""
        doubtful, condition = False, expected

        def attempt() -> str:
            nonlocal doubtful, condition
            try:
                return self._bucket.put(_object(name), data, condition)
            except NoAnswer:
                doubtful = True
                raise
            except Conflict:
                held = self._bucket.get(_object(name))
            if doubtful and held is not None and held.data == data:
                return held.version
            if condition is None and held is not None and held.data == REMOVED:
                condition = held.version
                return attempt()
            if (held.version if held else None) == condition:
                raise NoAnswer("another write was under way")  # S3 answers 409 then, and nothing may have come of it
            raise self._moved(name, expected, held)

        return self._patiently(f"write {name}", attempt)

    def _prove(self) -> None:
        """See that the store honours conditions, once in a process.  Raises `StateError` when it does not."""
        if self._proven:
            return
        if self._accepts(None) and self._accepts(None):
            raise self._careless("If-None-Match", "over an object that exists")
        if self._accepts(self._bucket.stale_version):
            raise self._careless("If-Match", "over an object of another version")
        self._proven = True

    def _accepts(self, expected: str | None) -> bool:
        def attempt() -> bool:
            try:
                self._bucket.put(PROBE, PROBE_TEXT, expected)
            except Conflict:
                return False
            return True

        return self._patiently(f"write {PROBE}", attempt)

    # --- patience ----------------------------------------------------------------------------------------------

    def _patiently(self, what: str, call: Callable[[], T]) -> T:
        """Do it, again and again while it fails for the moment only.  Raises `StateError` once patience is spent."""
        patience = self._patience if self._answered else self._patience.with_a_stranger()
        with telling(self._notify, f"waiting for {self.url} to {what}"):
            try:
                done = patience.insist(call, self._say)
            except NoAnswer as problem:
                raise self._silent(what, patience, problem) from None
        self._answered = True
        return done

    def _say(self, seconds: float, problem: NoAnswer) -> None:
        if self._notify and seconds > SILENCE:
            self._notify(f"{self.url}: {problem}; trying again in {seconds:.0f} s")

    # --- what went wrong ---------------------------------------------------------------------------------------

    def _unpacked(self, name: str, data: bytes) -> bytes:
        if is_page(data):
            raise page_in_place(f"{self.url}/{_object(name)}")
        try:
            return gzip.decompress(data)
        except (OSError, EOFError, zlib.error) as problem:
            detail = f"{self.url}/{_object(name)}: {problem}"
            hint = "restore it from a backup or an older version of the object"
            raise StateError(error("PD501", "state file is damaged", detail=detail, hint=hint)) from problem

    def _moved(self, name: str, expected: str | None, held: Stored | None) -> StalePlan:
        was, now = expected or "not there", held.version if held and held.data != REMOVED else "not there"
        return StalePlan(
            error(
                "PD542",
                "the state has moved since it was read",
                detail=f"{name} at {self.url} was {was} and is {now}; somebody else has applied",
                hint="Plan again and apply the new plan.",
            )
        )

    def _silent(self, what: str, patience: Patience, problem: NoAnswer) -> StateError:
        asked = f", it asks to wait {problem.wait:.0f} s" if problem.wait > patience.total else ""
        return StateError(
            error(
                "PD550",
                "the state's store does not answer",
                detail=f"to {what} at {self.url}, tried for {patience.total:.0f} s: {problem}{asked}",
                hint="Check the URL, the network and the store's health, then run it again.",
            )
        )

    def _careless(self, header: str, what: str) -> StateError:
        return StateError(
            error(
                "PD551",
                "this store ignores conditions",
                detail=f"{self.url} took a write with {header} {what}: two runs would overwrite each other unnoticed",
                hint="Keep the state where conditional writes are honoured, or on a branch: git+branch://pdsync-state.",
            )
        )


def is_page(data: bytes) -> bool:
    """Whether these bytes are a page or another text with tags: nothing that is kept begins like that."""
    return data[:1000].lstrip().startswith((b"<", b"\xef\xbb\xbf<"))


def page_in_place(place: str, kind: str = "") -> StateError:
    """A success that brings a page of the type `kind`, as who must log in gets from a proxy."""
    return StateError(
        error(
            "PD556",
            "a page came in place of the state",
            detail=f"{place}: HTML or XML{f' ({kind})' if kind else ''}, not what pdsync keeps there",
            hint="Most likely it is a login page or a proxy's: open the URL in a browser, then set the credentials, or "
            "let the proxy pass what is below this URL.",
        )
    )


def _keeping_nothing(url: str) -> Diagnostic:
    return warning(
        "PD553",
        "the bucket does not say that it keeps older versions of its objects",
        detail=f"{url}: who removes the state, or overwrites it by hand, has removed it for good",
        hint="switch versioning on for the bucket; a rule may remove versions that are older than some weeks",
    )


def _object(name: str) -> str:
    return name if name == PROBE else f"{name}.gz"
