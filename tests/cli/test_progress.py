"""Lines of progress where there is no terminal."""

from __future__ import annotations

import importlib
import io
import threading
import time
from contextlib import redirect_stderr
from typing import TYPE_CHECKING, Any

import pytest

import pdsync.cli.progress as shown
from pdsync.catalog import load_catalog
from pdsync.cli import Options, Process, run
from pdsync.cli.session import Session
from pdsync.errors import CatalogError
from tests.never import NEVER

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


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


def test_while_nothing_moves_the_last_thing_said_is_why(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wait for the rate limit may last a minute; the count from before it would explain nothing."""
    monkeypatch.setattr(shown, "SILENCE", 0.01)
    stream = io.StringIO()
    with shown.Progress(stream, enabled=True, bars=False) as progress:
        progress("a", 1)
        while not stream.getvalue():
            time.sleep(0.001)
        progress.note("PagerDuty: waiting 30 s")
        while "still at it: PagerDuty: waiting 30 s" not in stream.getvalue():
            time.sleep(0.001)


def test_what_is_left_of_a_wait_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """It counts down; what is over explains nothing any more."""
    monkeypatch.setattr(shown, "SILENCE", 0.01)
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    stream = io.StringIO()
    with shown.Progress(stream, enabled=True, bars=False) as progress:
        progress("a", 1)
        progress.wait("PagerDuty: waiting 28 s", 28.0)
        progress("b", 1)
        for at, said in ((16.0, "12 s left, PagerDuty: waiting 28 s"), (29.0, "b 1 (2/min), a 1 (2/min)")):
            clock[0] = at
            while f"still at it: {said}\n" not in stream.getvalue():
                time.sleep(0.001)


def test_what_is_slow_is_counted_by_the_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    """`0/s` would say that it stands still."""
    monkeypatch.setattr(shown, "SILENCE", 0.01)
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    stream = io.StringIO()
    with shown.Progress(stream, enabled=True, bars=False) as progress:
        progress("a", 2, 100)
        clock[0] = 20.0
        while "a" not in stream.getvalue().split():
            time.sleep(0.001)
    assert "a 2/100 (6/min, 16 min left)" in stream.getvalue().splitlines()


def test_what_cannot_be_counted_is_named_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Planning is one piece of work; before it was named, the mapping that had ended seemed to go on."""
    monkeypatch.setattr(shown, "SILENCE", 0.01)
    stream = io.StringIO()
    with shown.Progress(stream, enabled=True, bars=False) as progress:
        progress("planning", 0)
        while "planning" not in stream.getvalue():
            time.sleep(0.001)
    assert "planning" in stream.getvalue().splitlines()


def test_while_nothing_moves_what_has_not_ended_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not what was told of last: that may be done, and another list is slow."""
    monkeypatch.setattr(shown, "SILENCE", 0.01)
    stream = io.StringIO()
    with shown.Progress(stream, enabled=True, bars=False) as progress:
        progress("slow", 0)
        progress("quick", 5)
        while "slow" not in stream.getvalue():
            time.sleep(0.001)
        progress("quick", 9, 9)
        while "still at it: slow\n" not in stream.getvalue():
            time.sleep(0.001)


def test_of_several_waits_the_longest_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both servers may ask for one at the same time: the shorter one is over first."""
    monkeypatch.setattr(shown, "SILENCE", 0.01)
    stream = io.StringIO()
    with shown.Progress(stream, enabled=True, bars=False) as progress:
        progress.wait("one: waiting 900 s", 900)
        progress.wait("other: waiting 3 s", 3)
        while "still at it" not in stream.getvalue().partition("other: waiting 3 s")[2]:
            time.sleep(0.001)
    said = stream.getvalue().splitlines()
    assert said[said.index("other: waiting 3 s") + 1].endswith("left, one: waiting 900 s")


def after(line: str, stream: io.StringIO, job: Callable[..., Any]) -> Callable[..., Any]:
    """What is done once a line was said."""

    def waits(*given: Any, **named: Any) -> Any:
        while line not in stream.getvalue().splitlines():
            time.sleep(0.001)
        return job(*given, **named)

    return waits


def test_what_is_loaded_is_said_once_the_process_was_silent_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """Silence is that of the process: before the command began, most of it was over."""
    stream = io.StringIO()
    monkeypatch.setattr(importlib, "import_module", after("starting", stream, importlib.import_module))
    with redirect_stderr(stream):
        assert run(["schema", "--help"], Process(silence=shown.Silence(NEVER))) == 0
    assert stream.getvalue() == "starting\n"


def test_a_shell_that_completes_is_told_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long the command takes to be loaded: it would stand in the middle of what is being typed."""
    words = {"_PDSYNC_COMPLETE": "bash_complete", "COMP_WORDS": "pdsync schema --h", "COMP_CWORD": "2"}
    before, meanwhile, load = threading.active_count(), list[int](), importlib.import_module

    def loading(name: str) -> Any:
        meanwhile.append(threading.active_count())
        return load(name)

    monkeypatch.setattr(importlib, "import_module", loading)
    for name, value in words.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit):
        run([])
    assert {*meanwhile} == {before}


def test_that_the_catalog_is_read_is_said_if_that_lasts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of many files, on a slow disk: nothing else is shown by then."""
    stream = io.StringIO()
    slow = after("reading the catalog", stream, load_catalog)
    monkeypatch.setattr("pdsync.catalog.load_catalog", slow)
    process = Process(silence=shown.Silence(NEVER))
    options = Options(tmp_path, "", None, "never", quiet=False, verbose=False, events=None, process=process)
    with redirect_stderr(stream), pytest.raises(CatalogError):
        Session(options).catalog  # noqa: B018
    assert stream.getvalue() == "reading the catalog\n"
