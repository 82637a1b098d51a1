"""From a state URL to a store: each kind of URL is a row of a table, and only what it needs is imported.

PATH, file://PATH                    a folder
git+branch://BRANCH                  a branch of the catalog's own repository
s3://BUCKET/PREFIX                   Amazon S3 and what speaks its protocol
gs://BUCKET/PREFIX                   Google Cloud Storage
az://ACCOUNT/CONTAINER/PREFIX        Azure Blob Storage
https://HOST/PATH                    a web server with ETags
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pdsync.errors import UsageError, error
from pdsync.sealing import read_keys
from pdsync.state.backends import Backend
from pdsync.state.backends.local import LocalBackend
from pdsync.state.backends.sealed import SealedBackend, SealedFolder
from pdsync.state.backends.shared import SharedFolder
from pdsync.state.carried import CarriedJournals
from pdsync.state.store import APPLIED, SNAPSHOT, StateStore


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a backend may need beside its URL.

    `catalog` is the catalog folder, `environment` the process's (credentials and endpoints), `git_environment` what
    git needs to reach the remote; `notify` is told, in words, what is being waited for; `share_snapshot` keeps the
    snapshot with the ledger instead of on this machine.
    """

    catalog: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    git_environment: Mapping[str, str] = field(default_factory=dict)
    notify: Callable[[str], None] | None = None
    share_snapshot: bool = False


@dataclass(frozen=True, slots=True)
class Places:
    """Where the parts of a state are, as they are kept, sealed or not: the ledger, and what is on this machine.

    `url` is how others would name it: with its options, and absolute.
    """

    backend: Backend
    local: LocalBackend
    url: str

    @property
    def journals(self) -> LocalBackend:
        """The journals, one file a run."""
        return LocalBackend(self.local.folder / "journal")


def open_places(url: str, around: Surroundings) -> Places:
    """The places of the state behind `url`.  Raises as `open_backend` does."""
    backend = open_backend(url, around)
    if isinstance(backend, LocalBackend):
        return Places(backend, backend, backend.folder.resolve().as_posix())
    return Places(backend, LocalBackend(_cache(backend.url, around.catalog)), url)


def open_store(
    url: str,
    around: Surroundings,
    *,
    now: Callable[[], str],
    new_id: Callable[[], str],
    who: str = "",
    link: str = "",
    pull: str = "",
) -> StateStore:
    """The store behind `url`; an empty one means `state/` beside the catalog folder.

    A remote backend keeps the ledger, the journals, and the snapshot if that is to be shared; journals and snapshot are
    in a folder of this machine, too.  All are encrypted when the environment holds a key.  Raises `UsageError` for a
    scheme that is not known, or a key that is none.
    """
    keyring = read_keys(around.environment)
    places = open_places(url, around)
    here = SealedFolder(places.local, keyring)
    share = around.share_snapshot and places.backend is not places.local
    backend = SealedBackend(places.backend, keyring)
    return StateStore(
        backend,
        journals=places.journals.folder,
        snapshots=SharedFolder(here, places.backend, (SNAPSHOT, APPLIED), around.notify) if share else here,
        now=now,
        new_id=new_id,
        who=who,
        link=link,
        pull=pull,
        keyring=keyring,
        notify=around.notify,
        carried=CarriedJournals(backend.runs()) if places.backend is not places.local else None,
    )


def open_backend(url: str, around: Surroundings) -> Backend:
    """The backend behind `url`.  Raises `UsageError` for one of an unknown kind or that names nothing."""
    scheme, _, rest = url.partition(":")
    if not rest.startswith("//") and scheme not in _OPENERS:  # a path, perhaps with a drive
        return _folder(url, around)
    if not rest.startswith("//") and scheme != "git":
        detail = f"{scheme}: is followed by two slashes"
        raise UsageError(error("PD802", "state URL of an unknown kind", detail=detail, hint=f"write {scheme}://..."))
    opener = _OPENERS.get(scheme)
    if opener is None:
        known = ", ".join(sorted(f"{name}:" for name in _OPENERS))
        hint = f"use a folder, git+branch://pdsync-state for a branch of this repository, or one of {known}"
        raise UsageError(error("PD802", "state URL of an unknown kind", detail=f"{scheme}://...", hint=hint))
    return opener(url, around)


def _folder(url: str, around: Surroundings) -> Backend:
    path = url.removeprefix("file://")
    return LocalBackend(Path(path) if path else around.catalog.resolve().parent / "state")


def _branch(url: str, around: Surroundings) -> Backend:
    from pdsync.state.backends.git import GitBackend, parse_git_url

    branch, remote = parse_git_url(url)
    return GitBackend(
        around.catalog, branch=branch, remote=remote, environment=around.git_environment, notify=around.notify
    )


def _objects(url: str, around: Surroundings) -> Backend:
    from pdsync.state.backends.objects import open_bucket, parse_object_url
    from pdsync.state.backends.remote import RemoteBackend

    location = parse_object_url(url)
    return RemoteBackend(open_bucket(location, around.environment), location.url, notify=around.notify)


def _web(url: str, around: Surroundings) -> Backend:
    from pdsync.state.backends.https import HttpBucket, parse_http_url
    from pdsync.state.backends.remote import RemoteBackend

    clean = parse_http_url(url)
    return RemoteBackend(HttpBucket(clean, around.environment), clean, notify=around.notify)


_OPENERS: dict[str, Callable[[str, Surroundings], Backend]] = {
    "file": _folder,
    "git+branch": _branch,
    "git": _branch,
    "s3": _objects,
    "gs": _objects,
    "az": _objects,
    "https": _web,
    "http": _web,
}


def _cache(url: str, catalog: Path) -> Path:
    """The folder of this machine that belongs to a remote state: in the repository's .git, else in state/.

    Each URL has its own, so that two environments do not take each other's snapshot and journal for theirs.
    """
    name = re.sub(r"[^A-Za-z0-9.-]+", "-", url).strip("-")[-40:]
    digest = hashlib.blake2b(url.encode(), digest_size=4).hexdigest()
    return _private_folder(catalog) / f"{name}-{digest}"


def _private_folder(catalog: Path) -> Path:
    for folder in catalog.resolve().parents:
        git = folder / ".git"
        if git.is_dir():
            return git / "pdsync"
        if git.is_file():  # a worktree or submodule: the file says where its .git is
            return (folder / git.read_text(encoding="utf-8").removeprefix("gitdir:").strip()) / "pdsync"
    return catalog.resolve().parent / "state"
