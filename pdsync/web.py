"""httpx without its own command line, which brings rich and pygments: a quarter of a second on a slow machine."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

__all__ = ["httpx"]

if TYPE_CHECKING or "httpx" in sys.modules:
    import httpx
else:
    # What is None here cannot be imported, and httpx does without it, as where its extra `cli` is not installed.
    sys.modules["httpx._main"] = None
    try:
        import httpx
    finally:
        del sys.modules["httpx._main"]
