"""Which pdsync this is, to the letter: what is remembered under one edition is not believed by another."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

from pdsync import __version__


@cache
def edition() -> str:
    """Version and digest of the code: one that was installed from a branch has the version of the last release."""
    digest = hashlib.blake2b(digest_size=16)
    package = Path(__file__).parent
    for path in sorted(package.rglob("*.py")):
        digest.update(path.relative_to(package).as_posix().encode() + b"\0")
        digest.update(hashlib.blake2b(path.read_bytes(), digest_size=16).digest())
    return f"{__version__} {digest.hexdigest()}"
