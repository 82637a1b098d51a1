"""Places where state can be kept, each with its real protocol: what the contract of backends is tried on."""

from __future__ import annotations

import base64
import subprocess
import sys
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

from pdsync.sealing import Keyring, parse_key
from pdsync.state.backends import Backend
from pdsync.state.backends.patience import Patience
from pdsync.state.backends.remote import RemoteBackend
from pdsync.state.backends.sealed import SealedBackend
from pdsync.state.open import Surroundings, open_backend
from tests.state.servers import S3, Azure, Gcs, Shelf, Web, serving

if TYPE_CHECKING:
    from collections.abc import Iterator


SECRET = base64.b64encode(b"not a real key, 32 bytes long...").decode()
assert len(base64.b64decode(SECRET)) == 32
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "AKIAEXAMPLE",
    "AWS_SECRET_ACCESS_KEY": SECRET,
    "AWS_REGION": "eu-west-1",
    "GOOGLE_BEARER_TOKEN": SECRET,
    "AZURE_STORAGE_ACCOUNT_KEY": SECRET,
    "PDSYNC_STATE_HTTP_TOKEN": SECRET,
}
"""Credentials of the cloud kinds, where each looks for them (obstore reads the process's environment itself)."""


@dataclass(frozen=True)
class Place:
    """A place for state: `open` gives a backend on it, as another process on another machine would have it.

    `shelf` is what a server of ours keeps; `breakable` whether a lock outlives its process, so that it can be broken.
    """

    url: str
    open: Callable[[], Backend]
    breakable: bool = True
    shelf: Shelf = field(default_factory=Shelf)


class Clock:
    """Time that only sleeping makes pass."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    def patience(self, **parts: Any) -> Patience:
        return Patience(sleep=self.sleep, clock=lambda: self.now, **parts)


def impatient(backend: Backend) -> Backend:
    """The backend with pauses that take no time."""
    if isinstance(backend, RemoteBackend):
        backend._patience = Clock().patience(total=8.0)
    return backend


def _served(url: str, environment: dict[str, str], folder: Path, shelf: Shelf | None = None) -> Place:
    around = Surroundings(folder / "catalog", {**ENVIRONMENT, **environment})
    return Place(url, lambda: impatient(open_backend(url, around)), shelf=shelf or Shelf())


@contextmanager
def local(folder: Path) -> Iterator[Place]:
    path = (folder / "state").as_posix()
    yield Place(path, lambda: open_backend(path, Surroundings(folder / "catalog")), breakable=False)


@contextmanager
def git(folder: Path) -> Iterator[Place]:
    """A bare repository; every backend has a clone of its own."""
    from tests.state.test_git_backend import clone, run

    bare = folder / "remote.git"
    bare.mkdir()
    run(bare, "init", "--bare", "--quiet", "--initial-branch=main")
    seed = clone(bare, folder / "seed")
    (seed / "catalog.txt").write_text("one")
    run(seed, "add", ".")
    run(seed, "commit", "--quiet", "-m", "one")
    run(seed, "push", "--quiet", "origin", "HEAD:main")
    numbers = count()
    url = "git+branch://pdsync-state"
    yield Place(url, lambda: open_backend(url, Surroundings(clone(bare, folder / f"clone-{next(numbers)}"))))


@contextmanager
def moto(folder: Path) -> Iterator[Place]:
    """Moto's S3, a process of its own."""
    code = Path(__file__).with_name("moto_process.py")
    with subprocess.Popen([sys.executable, str(code)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        try:
            assert process.stdout is not None
            address = f"http://127.0.0.1:{int(process.stdout.readline())}"
            signed = {"authorization": "AWS4-HMAC-SHA256 Credential=a/20260101/us-east-1/s3/aws4_request"}
            httpx.put(f"{address}/acme-pdsync", headers=signed, trust_env=False, timeout=60).raise_for_status()
            yield _served("s3://acme-pdsync/production?region=us-east-1", {"AWS_ENDPOINT_URL": address}, folder)
        finally:
            process.kill()


@contextmanager
def s3(folder: Path) -> Iterator[Place]:
    with serving(S3(), "acme-pdsync") as (address, shelf):
        yield _served("s3://acme-pdsync/production", {"AWS_ENDPOINT_URL_S3": address}, folder, shelf)


@contextmanager
def gcs(folder: Path) -> Iterator[Place]:
    with serving(Gcs(), "acme-pdsync") as (address, shelf):
        shelf.token = SECRET
        yield _served("gs://acme-pdsync/production", {"GOOGLE_BASE_URL": address}, folder, shelf)


@contextmanager
def azure(folder: Path) -> Iterator[Place]:
    with serving(Azure(), "pdsync") as (address, shelf):
        yield _served("az://acmestate/pdsync/production", {"AZURE_STORAGE_ENDPOINT": address}, folder, shelf)


@contextmanager
def web(folder: Path) -> Iterator[Place]:
    with serving(Web(), "pdsync") as (address, shelf):
        shelf.token = f"Bearer {SECRET}"
        yield _served(f"{address}/pdsync/production", {}, folder, shelf)


@contextmanager
def sealed(folder: Path) -> Iterator[Place]:
    """Encrypted in front of a server."""
    ring = Keyring(parse_key(SECRET, "test"))
    with web(folder) as place:
        yield replace(place, open=lambda: SealedBackend(place.open(), ring))


PLACES = {"local": local, "git": git, "moto": moto, "s3": s3, "gs": gcs, "az": azure, "https": web, "sealed": sealed}
SERVED = {"s3": s3, "gs": gcs, "az": azure, "https": web}
"""Those whose server is ours, and so can be made to fail."""
