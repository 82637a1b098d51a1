"""The action never calls an apply done whose state could not be saved."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pdsync.apply import ApplyResult
from pdsync.cli import Options
from pdsync.cli.action_commands import _Operations
from pdsync.errors import StateError, error
from pdsync.github.settings import read_settings
from pdsync.model import Ledger
from tests.render.cases import case_files, load, plan_of

if TYPE_CHECKING:
    from pathlib import Path

PLAN = plan_of(load(next(path for path in case_files() if path.stem == "no-changes")))
PROBLEM = StateError(error("PD503", "cannot write the state", detail="no space left"))


@pytest.mark.parametrize(("saved", "problem"), [(False, PROBLEM), (True, None)])
def test_a_state_that_is_not_saved_fails_the_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, saved: bool, problem: StateError | None
) -> None:
    """The problem reaches the action as an error, which fails the step; a saved one is the result."""
    result = ApplyResult(PLAN, (), Ledger("lineage"), problem=problem, saved=saved)

    async def applied(*_: Any, **__: Any) -> ApplyResult:
        return result

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("pdsync.cli.plan_commands.applied", applied)
    (tmp_path / "catalog").mkdir()
    (tmp_path / "catalog" / "pdsync.yaml").write_text("name: test\n")
    env = {"PDSYNC_ACTION_STATE": str(tmp_path / "state"), "PORT_CLIENT_ID": "a", "PORT_CLIENT_SECRET": "b"}
    options = Options(tmp_path / "catalog", "", None, "never", quiet=True, verbose=False, events=None, env=env)
    operations = _Operations(options, read_settings(env), lambda _: None)
    if problem is None:
        assert operations.apply(PLAN) is result
    else:
        with pytest.raises(StateError) as raised:
            operations.apply(PLAN)
        assert raised.value is problem
