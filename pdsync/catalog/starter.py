"""The starter catalog: what `pdsync init` writes and the demo runs on.

Its one source is `catalog/` at the top of the repository.  `starter_files/` beside this module holds a symbolic link
to each of its files; the build puts the files themselves in their place, into the source distribution and the wheel.
"""

from __future__ import annotations

from pathlib import Path

_FOLDER = Path(__file__).parent / "starter_files"


def starter_files() -> dict[str, bytes]:
    """The starter's files by their path in the catalog folder, with forward slashes, sorted."""
    paths = sorted(path for path in _FOLDER.rglob("*") if path.is_file())
    return {path.relative_to(_FOLDER).as_posix(): path.read_bytes() for path in paths}
