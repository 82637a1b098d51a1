"""Lines of progress where there is no terminal."""

from __future__ import annotations

import io
import time
from typing import TYPE_CHECKING

import pdsync.cli.progress as shown

if TYPE_CHECKING:
    import pytest


def test_a_line_names_what_moved_last_and_counts_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    """A catalog may read a hundred lists at once; what is done with is not told of."""
    monkeypatch.setattr(shown, "SILENCE", 0.01)
    stream = io.StringIO()
    with shown.Progress(stream, enabled=True, bars=False) as progress:
        for name in "abcdefg":
            progress(name, 1)
        progress("done", 5, 5)
        progress("b", 2)
        while not stream.getvalue():
            time.sleep(0.001)
    words = [part.split()[0] for part in stream.getvalue().splitlines()[-1].removeprefix("still at it: ").split(", ")]
    assert words == ["b", "g", "f", "e", "and"]
    assert "and 3 more" in stream.getvalue()
