"""The memo between runs: kept beside the snapshot, used by the next plan, never in its way."""

from __future__ import annotations

import shutil
import sys
from typing import TYPE_CHECKING

import pytest

from pdsync.mapping import map_entities
from pdsync.memo import Memo
from pdsync.plan.unchanged import parse_unchanged
from pdsync.sandbox.server import Sandbox
from pdsync.state.store import MEMO, UNCHANGED
from tests.cli.workspace import make_workspace, small_world
from tests.mapping.builders import rule, snapshot
from tests.state.runs import store_in

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.cli.workspace import Workspace

PLAN = ("-q", "plan", "--offline", "--format", "json")
"""A plan of what is in the folder and in Port: the same each time, to the byte."""


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workspace]:
    """A folder in which one plan was made."""
    with Sandbox(small_world()) as box:
        made = make_workspace(tmp_path, box, monkeypatch)
        made.plan()
        yield made


def _memo(workspace: Workspace) -> Path:
    return workspace.folder / "state" / MEMO


def _without(workspace: Workspace) -> str:
    """The plan as it is without a memo."""
    _memo(workspace).unlink()
    return workspace.ok(*PLAN).out


def test_the_next_plan_runs_no_jq(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """When nothing has changed the plan is the same without starting a process."""
    with monkeypatch.context() as patch:
        patch.setattr(sys, "executable", "/no/such/python")
        said = workspace.ok(*PLAN).out
    assert said == _without(workspace)


@pytest.mark.parametrize("content", [b"", b"\n", b"\0\xff", b'{"format":"pdsync-memo","version":99}\n', None])
def test_a_memo_that_cannot_be_used_is_replaced(workspace: Workspace, content: bytes | None) -> None:
    """An empty, foreign, newer or cut file (None) changes no plan and is written anew."""
    sound = _memo(workspace).read_bytes()
    _memo(workspace).write_bytes(sound[:-1] if content is None else content)
    said = workspace.ok(*PLAN).out
    assert _memo(workspace).read_bytes() == sound
    assert said == _without(workspace)


def test_what_needs_nothing_is_remembered(workspace: Workspace) -> None:
    """What was edited or deleted in Port since is found all the same; without the file the plan is the very same."""
    workspace.ok("apply", "--auto-approve")
    workspace.ok(*PLAN)
    cache = workspace.folder / "state" / UNCHANGED
    known = cache.read_bytes()
    assert known.count(b"\n") > 1
    edited, gone = (min(workspace.box.store.entities(name)) for name in ("service", "person"))
    workspace.box.store.put_entity("service", {"identifier": edited, "title": "By hand"})
    workspace.box.store.delete_entity("person", gone)
    said = workspace.ok(*PLAN)
    assert {("update", edited), ("create", gone)} <= {(c["action"], c["identifier"]) for c in said.json["changes"]}
    assert len(parse_unchanged(cache.read_bytes())) <= len(parse_unchanged(known))
    cache.unlink()
    assert workspace.ok(*PLAN).out == said.out


def test_a_memo_that_cannot_be_kept_is_noted(workspace: Workspace) -> None:
    """Where it can be neither read nor written the plan is made, and a note says why the next one takes as long."""
    _memo(workspace).unlink()
    _memo(workspace).mkdir()
    document = workspace.ok(*PLAN)
    assert [(d["severity"], d["code"]) for d in document.json["diagnostics"]] == [("note", "PD507")]
    assert "PD507" not in document.err
    shutil.rmtree(_memo(workspace))
    other = workspace.ok(*PLAN).json
    assert {name for name in other if other[name] != document.json[name]} == {"diagnostics", "checksum"}
    assert other["diagnostics"] == []


def test_an_unchanged_memo_is_not_written_again(workspace: Workspace) -> None:
    """A plan that learnt nothing leaves the file alone."""
    before = _memo(workspace).stat()
    workspace.ok(*PLAN)
    assert (before.st_ino, before.st_mtime_ns) == (_memo(workspace).stat().st_ino, _memo(workspace).stat().st_mtime_ns)


def test_destroying_keeps_it(workspace: Workspace) -> None:
    """A plan without any mapping forgets nothing: what was learnt serves the plan after it."""
    kept = _memo(workspace).read_bytes()
    workspace.ok("-q", "destroy", "--auto-approve")
    assert _memo(workspace).read_bytes() == kept


def test_the_store_keeps_what_was_learnt(tmp_path: Path) -> None:
    """The next run's memo is this one's; at first there is none."""
    store, memo = store_in(tmp_path), Memo()
    assert store.load_memo().kept == {}
    map_entities([rule({"title": ".t"})], snapshot({"id": "a", "t": "T"}, {"id": "b"}), memo=memo)
    assert store.save_memo(memo) is None
    assert store_in(tmp_path).load_memo().kept == memo.kept
    assert sum(map(len, memo.kept.values())) == 2
