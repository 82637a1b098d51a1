"""From a state URL to a store: `PATH` (a folder) or `git+branch://BRANCH` of the catalog's own repository."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pdsync.errors import UsageError, error
from pdsync.state.backends.local import LocalBackend
from pdsync.state.store import StateStore

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def open_store(
    url: str,
    *,
    catalog: Path,
    now: Callable[[], str],
    new_id: Callable[[], str],
    who: str = "",
    link: str = "",
    git_environment: Mapping[str, str] | None = None,
) -> StateStore:
    """The store behind `url`; an empty one means `state/` beside the catalog folder.

    A remote backend keeps the ledger; journal and snapshot stay in a folder of this machine.  Raises `UsageError` for a
    scheme that is not known.
    """
    if url.startswith(("git+branch:", "git:")):
        from git import Repo

        from pdsync.state.backends.git import GitBackend, parse_git_url

        location = parse_git_url(url)
        backend = GitBackend(catalog, branch=location.branch, remote=location.remote, environment=git_environment)
        local = LocalBackend(Path(Repo(catalog, search_parent_directories=True).git_dir) / "pdsync")
        return StateStore(
            backend,
            journals=local.folder / "journal",
            snapshots=local,
            now=now,
            new_id=new_id,
            who=who,
            link=link,
        )
    if "://" in url and not url.startswith("file://"):
        hint = "use a folder, or git+branch://pdsync-state for a branch of this repository"
        raise UsageError(error("PD802", "state URL of an unknown kind", detail=url, hint=hint))
    folder = Path(url.removeprefix("file://")) if url else catalog.resolve().parent / "state"
    local = LocalBackend(folder)
    return StateStore(local, journals=folder / "journal", snapshots=local, now=now, new_id=new_id, who=who, link=link)
